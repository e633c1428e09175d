//! One request to the backend for all that are alike and wait at the gate.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::forward::{self, Failed};
use super::{Answer, Body};
use crate::alike::{BODY_BYTES_MAX, Shared, is_for_all};
use crate::gate::Leads;
use crate::http1::Length;

/// How long others wait for the answer to one request. It may be the one that the backend has lost; then the next one asks.
const PATIENCE: Duration = Duration::from_secs(1);

/// Gives the answer to those who wait for it as well, if it does for them. Then all of it is read first: the others are
/// not to wait until the client of this one has taken it.
pub(super) async fn for_others(
    leads: Leads,
    attempt: impl Future<Output = Result<Answer, Failed>>,
) -> Result<Answer, Failed> {
    let deadline = Instant::now() + PATIENCE;
    let mut attempt = pin!(attempt);
    let Ok(answer) = timeout_at(deadline, attempt.as_mut()).await else {
        drop(leads);
        return attempt.await;
    };
    let Answer { head, body, close } = answer?;
    let (mut relay, length) = match body {
        Body::Relayed(relay, length) if is_for_all(&head) && may_be_kept(length) => (relay, length),
        body => {
            leads.is_apart();
            return Ok(Answer { head, body, close });
        }
    };
    let Some(room) = leads.rooms().take() else {
        leads.is_apart();
        return Ok(Answer { head, body: Body::Relayed(relay, length), close });
    };
    match relay.read_ahead(room, deadline).await.map_err(|error| forward::broke_off(&error))? {
        Some(body) => leads.shares(&Arc::new(Shared::new(head.clone(), length, body))),
        None if Instant::now() < deadline => leads.is_apart(),
        None => drop(leads),
    }
    Ok(Answer { head, body: Body::Relayed(relay, length), close })
}

fn may_be_kept(length: Length) -> bool {
    match length {
        Length::Exactly(bytes) => bytes <= BODY_BYTES_MAX as u64,
        Length::Nothing | Length::Chunked => true,
        // Whether it came to its end can't be told.
        Length::UntilClose => false,
    }
}
