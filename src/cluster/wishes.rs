//! An operator's wish at an edge that is not the controller: it is put into the store, and the answer is waited for there.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::timeout;

use super::edge;
use super::store::Store;
use super::values::{self, WishValue};
use crate::control::{Wanted, WishError};
use crate::core::fleet::{Moment, Revision};
use crate::core::{Pin, SiteName};

/// How long a wish is waited for. A handoff with slow hooks takes minutes; a wish that nobody has answered by then is
/// forgotten.
const ANSWER_MAX: Duration = Duration::from_secs(15 * 60);
/// How long it takes to be heard at all.
const HEARD_MAX: Duration = Duration::from_secs(3);

/// Puts it before the controller, and waits until it is done or refused.
pub async fn ask(
    store: &Store,
    now: Moment,
    site: SiteName,
    wish: Wanted,
    by: String,
) -> Result<Option<Pin>, WishError> {
    let standing = timeout(HEARD_MAX, store.list(["controller/"])).await;
    let (stands, [standing]) = standing.map_err(|_| WishError::NoController)?;
    let Some(controller) = values::oldest(&standing).and_then(|stored| values::lease(&stored.name)) else {
        return Err(WishError::NoController);
    };
    // Not to be guessed, nor to be taken twice: the time since the start of a machine, and what its process began with.
    let id = format!("{:x}-{:x}", now.0.as_nanos(), RandomState::new().hash_one(&by));
    let (key, value) =
        (store.key(&format!("wishes/{id}")), values::to_bytes(&WishValue::new(&site, &wish, by)));
    // It goes with the controller that it is put before: the next one doesn't know what became of it.
    let written = store.once(|mut client| async move {
        let options = etcd_client::PutOptions::new().with_lease(controller.0);
        client.put(key, value, Some(options)).await
    });
    written.await.map_err(|_| WishError::NoController)?;
    let answered = timeout(ANSWER_MAX, answer(store, &id, Revision(stands.0 + 1), &site)).await;
    for folder in ["wishes", "answers"] {
        let key = store.key(&format!("{folder}/{id}"));
        // If that fails, it goes with the controller's lease.
        let _ = store.once(|mut client| async move { client.delete(key, None).await }).await;
    }
    answered.unwrap_or(Err(WishError::NewController))
}

async fn answer(store: &Store, id: &str, from: Revision, site: &SiteName) -> Result<Option<Pin>, WishError> {
    let (answer, wish) = (format!("answers/{id}"), format!("wishes/{id}"));
    let mut result = Err(WishError::NewController);
    let mut next = from;
    // Both lie below the prefix, and few things are written there that don't concern a handoff.
    edge::follow(store, "", &mut next, |_, told| {
        for event in told.events() {
            let Some((rest, stored)) = event.kv().and_then(|kv| store.stored(kv)) else { continue };
            if rest == answer && event.event_type() == etcd_client::EventType::Put {
                result = values::answer(&stored.value, site);
                return false;
            }
            if rest == wish && event.event_type() == etcd_client::EventType::Delete {
                return false;
            }
        }
        true
    })
    .await;
    result
}
