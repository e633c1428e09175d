//! `ghostpin handoff`

use clap::Args;

use super::access::Access;
use super::failure::Failure;
use super::progress::Waiting;
use super::wish;

/// Move a site to another of its backends: hold, drain, fence, prove, switch, release. Returns when it has ended.
///
/// To stop waiting does not stop the handoff.
#[derive(Args, Clone, Debug)]
pub struct HandoffArgs {
    /// The name of the site.
    #[arg(value_name = "SITE")]
    site: String,
    /// The candidate to move it to.
    #[arg(long, value_name = "BACKEND")]
    to: String,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    access: Access,
}

impl HandoffArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = serde_json::json!({ "to": self.to });
        wish::send(&self.access, &self.waiting, &self.site, "handoff", Some(body), "is pinned to").await
    }
}
