//! `ghostpin hold`

use clap::Args;

use super::access::Access;
use super::failure::Failure;
use super::progress::Waiting;
use super::wish;

/// Shut a site's gate: requests are held until `release`, each no longer than `hold.timeout`.
#[derive(Args, Clone, Debug)]
pub struct HoldArgs {
    /// The name of the site.
    #[arg(value_name = "SITE")]
    site: String,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    access: Access,
}

impl HoldArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        wish::send(&self.access, &self.waiting, &self.site, "hold", None, "is on hold, its pin stays on")
            .await
    }
}
