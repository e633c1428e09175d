//! What goes wrong in an order that the dice seldom give.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::faults::Faults;
use super::sites;

/// Longer than a lease, and what comes after it.
const LONG: Duration = Duration::from_secs(10);

/// The controller is frozen while a new site comes, is given its first pin by another one, and goes. Then the first one
/// learns of the site, wants to pin it, and learns that it has gone; and in the end it is the controller again, and so is
/// the site.
pub(crate) async fn a_site_comes_and_goes_while_its_controller_is_frozen(all: Rc<Faults>) {
    all.begin();
    sleep(LONG).await;
    let first = all.etcd.elected().expect("a controller");
    all.edges[first].frozen.set(true);
    for sites in [sites::USUAL + 1, sites::USUAL] {
        all.world.sites.set(sites);
        (0..all.edges.len()).for_each(|edge| all.reload(edge));
        sleep(LONG).await;
    }
    assert_ne!(all.etcd.elected(), Some(first), "another one is the controller");
    all.edges[first].frozen.set(false);
    sleep(LONG).await;
    for other in (0..all.edges.len()).filter(|other| *other != first) {
        all.edges[other].on.set(false);
    }
    sleep(LONG).await;
    assert_eq!(all.etcd.elected(), Some(first), "it is the controller again");
    all.world.sites.set(sites::USUAL + 1);
    all.end().await;
}
