//! `ghostpin drain-edge`

use clap::Args;

use super::access::Access;
use super::failure::Failure;
use super::print::print;

/// Take the asked ghostpin out of its fleet: it lets nobody in any more, and is left when its last request has ended.
#[derive(Args, Clone, Debug)]
pub struct DrainEdgeArgs {
    #[command(flatten)]
    access: Access,
}

impl DrainEdgeArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = self.access.client()?.post("/v1/leave", None).await?;
        print(&match self.access.json {
            true => String::from_utf8_lossy(&body).into_owned(),
            false => "this edge has left the fleet and serves nothing: stop it, or start it again to have it join\n".to_owned(),
        });
        Ok(())
    }
}
