//! `ghostpin top --json`: each look is one line, for as long as somebody reads.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::client::{Client, read};
use super::super::failure::Failure;
use super::super::print::tell;
use super::super::watch::Stop;

/// As many sites as a tall terminal shows.
const SITES: usize = 50;

/// Looks again and again. Who can't be reached at first is a failure; later, it is told, and may come back.
pub(super) async fn run(client: &Client, every: Duration) -> Result<(), Failure> {
    let mut stop = Stop::new();
    let mut line = look(client).await?;
    loop {
        if tell(&line.to_string())?.is_break() {
            return Ok(());
        }
        line = loop {
            let next = async {
                sleep(every).await;
                look(client).await
            };
            let looked = tokio::select! {
                looked = next => looked,
                () = stop.wanted() => return Ok(()),
            };
            match looked {
                Ok(line) => break line,
                Err(silent @ Failure::Unreachable(_)) => silent.tell(),
                Err(refused) => return Err(refused),
            }
        };
    }
}

async fn look(client: &Client) -> Result<Value, Failure> {
    let status: Value = read(&client.get("/v1/status").await?)?;
    let sites: Value = read(&client.get(&format!("/v1/sites?order=trouble&limit={SITES}")).await?)?;
    let edges = match client.get("/v1/edges").await {
        Ok(edges) => read(&edges)?,
        Err(Failure::Absent(_)) => Value::Null,
        Err(other) => return Err(other),
    };
    Ok(json!({ "status": status, "sites": sites, "edges": edges }))
}
