//! `ghostpin drain-edge`

use clap::Args;
use serde::Deserialize;

use super::access::Access;
use super::client::{Client, read};
use super::failure::Failure;
use super::print::{plural, print, print_json};
use super::progress::{Stage, Waiting};
use crate::control::view::Status;

/// Take the asked ghostpin out of its fleet: it lets nobody in any more, and is left when its last request has ended.
#[derive(Args, Clone, Debug)]
pub struct DrainEdgeArgs {
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Deserialize)]
struct Left {
    /// One of an older version does not say it.
    #[serde(default = "yes")]
    told: bool,
}

fn yes() -> bool {
    true
}

impl DrainEdgeArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.access.client()?;
        let leaving = client.post("/v1/leave", None);
        let how_to_look = "`ghostpin sites` says which sites still have requests in flight";
        let body = self.waiting.on(leaving, async || look(&client).await, how_to_look).await?;
        if self.access.json {
            return print_json(&body);
        }
        let Left { told } = read(&body)?;
        let how = if told { "" } else { " (etcd could not be told, and its lease has run out)" };
        print(&format!(
            "this edge has left the fleet{how} and serves nothing: stop it, or start it again to have it join"
        ))
    }
}

async fn look(client: &Client) -> Option<Stage> {
    let status: Status = read(&client.get("/v1/status").await.ok()?).ok()?;
    let requests = usize::try_from(status.in_flight).unwrap_or(usize::MAX);
    let detail = format!("waits for {} in flight to end", plural(requests, "request"));
    Some(Stage { phase: "this edge is leaving".to_owned(), detail })
}
