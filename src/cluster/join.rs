//! From one edge to many: the pins of a store on disk are brought into the fleet's store, with their epochs.

use std::collections::BTreeMap;

use super::store::{Put, Store, StoreError};
use super::values;
use crate::config::Cluster;
use crate::core::fleet::{Fence, Record, RecordPhase, Revision, goes_back};
use crate::core::{Pin, SiteName};

/// Records in one transaction.
const BATCH_MAX: usize = 100;

/// What became of the pins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// There was nothing of the site: its pin stands in the fleet's store now, and serves.
    pub written: usize,
    /// The fleet had an older pin. Its controller goes on from the newer one.
    pub raised: usize,
    /// The fleet has this pin already, or a newer one.
    pub known: usize,
}

/// Brings them there. Whoever served by the store on disk must have stopped.
///
/// # Errors
/// If etcd does not answer, or somebody else writes at the same time; to do it again is safe.
pub async fn join(cluster: &Cluster, pins: &BTreeMap<SiteName, Pin>) -> Result<Joined, StoreError> {
    let store = Store::new(cluster.clone());
    let key = store.key("sites/");
    // Once, so that who waits is told if nobody answers.
    store.once(|mut client| async move { client.get(key, None).await }).await?;
    let (_, [found]) = store.list(["sites/"]).await;
    let found: BTreeMap<SiteName, (Record, Revision)> =
        found.iter().filter_map(values::record).map(|(site, record, at)| (site, (record, at))).collect();
    let (puts, joined) = plan(pins, &found);
    for batch in puts.chunks(BATCH_MAX) {
        if store.write(batch, None).await?.is_none() {
            return Err(StoreError::Busy);
        }
    }
    Ok(joined)
}

fn plan(
    pins: &BTreeMap<SiteName, Pin>,
    found: &BTreeMap<SiteName, (Record, Revision)>,
) -> (Vec<Put>, Joined) {
    let (mut puts, mut joined) = (Vec::new(), Joined::default());
    for (site, pin) in pins {
        let (phase, guard) = match found.get(site) {
            None => {
                joined.written += 1;
                (RecordPhase::Serve, Revision(0))
            }
            // Edges may serve by the older one: they let go of it before anything else is opened.
            Some((record, at)) if goes_back(Some(pin), Some(&record.pin)) => {
                joined.raised += 1;
                (RecordPhase::Fence(Fence { cut: true, ..Fence::default() }), *at)
            }
            Some(_) => {
                joined.known += 1;
                continue;
            }
        };
        let value = values::record_bytes(&Record { pin: pin.clone(), phase });
        puts.push(Put { key: format!("sites/{site}"), value, guard, lease: None });
    }
    (puts, joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Epoch;

    fn pin(epoch: u64, port: u16) -> Pin {
        Pin { epoch: Epoch(epoch), backend: format!("10.0.0.5:{port}").parse().unwrap() }
    }

    fn planned(pin: Pin, found: Option<Record>) -> (Option<(String, Revision)>, Joined) {
        let blog = SiteName::from("blog");
        let found = found.map(|record| (blog.clone(), (record, Revision(9)))).into_iter().collect();
        let (puts, joined) = plan(&[(blog, pin)].into(), &found);
        let put = puts.into_iter().next().map(|put| (String::from_utf8(put.value).unwrap(), put.guard));
        (put, joined)
    }

    #[test]
    fn a_pin_that_the_fleet_does_not_have_keeps_its_epoch_and_serves() {
        let (put, joined) = planned(pin(7, 1), None);
        let (value, guard) = put.unwrap();
        assert_eq!(value, r#"{"epoch":7,"backend":"10.0.0.5:1","phase":"serve"}"#);
        assert_eq!((guard, joined), (Revision(0), Joined { written: 1, ..Joined::default() }));
    }

    #[test]
    fn an_older_pin_of_the_fleet_is_fenced_first() {
        let older = Record { pin: pin(3, 2), phase: RecordPhase::Serve };
        let (put, joined) = planned(pin(7, 1), Some(older));
        let (value, guard) = put.unwrap();
        assert_eq!(value, r#"{"epoch":7,"backend":"10.0.0.5:1","phase":"fence","cut":true}"#);
        assert_eq!((guard, joined), (Revision(9), Joined { raised: 1, ..Joined::default() }));
    }

    #[test]
    fn a_newer_pin_of_the_fleet_is_not_touched() {
        for newer in [pin(8, 2), pin(7, 1)] {
            let newer = Record { pin: newer, phase: RecordPhase::Serve };
            assert_eq!(planned(pin(7, 1), Some(newer)), (None, Joined { known: 1, ..Joined::default() }));
        }
    }
}
