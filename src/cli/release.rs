//! `ghostpin release`

use clap::Args;

use super::access::Access;
use super::failure::Failure;
use super::progress::Waiting;
use super::wish;

/// End a hold: those who wait are let go, first come, first served.
#[derive(Args, Clone, Debug)]
pub struct ReleaseArgs {
    /// The name of the site.
    #[arg(value_name = "SITE")]
    site: String,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    access: Access,
}

impl ReleaseArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        wish::send(
            &self.access,
            &self.waiting,
            &self.site,
            "release",
            None,
            "is no longer on hold, its pin is on",
        )
        .await
    }
}
