//! What takes longer to find out: requests in flight over all sites, certificates with a problem, the fleet's edges. It
//! is looked at every few seconds, once for all who watch and beside the admin thread, and told of as it was last.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::Context;
use super::locked;
use crate::certs::{CertificateView, Summary};
use crate::control::fleet::{EdgeView, FleetView};

/// Time between the end of a look and the next one.
const PACE: Duration = Duration::from_secs(2);
/// The fleet's store may be what is in trouble: nothing else waits for it longer than this.
const FLEET_PATIENCE: Duration = Duration::from_secs(1);
/// Certificates with a problem that are told of.
const CERTIFICATES_MAX: usize = 20;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Facts {
    known: Mutex<Option<(Instant, Arc<Fact>)>>,
    is_looking: AtomicBool,
}

/// What was found out.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    /// Requests under way to pinned backends.
    in_flight: u64,
    /// Counted, if there are any.
    certificates: Option<Counted>,
    /// Managers of the swarm that answer, and all of them, if one is watched.
    managers: Option<(usize, usize)>,
    /// The edges of the fleet, if this is one of many.
    edges: Option<Vec<EdgeLine>>,
    /// Why they are not known.
    fleet_error: Option<String>,
}

/// Certificates.
#[derive(Debug, Serialize)]
struct Counted {
    serving: usize,
    unread: usize,
    problems: usize,
    first_end_s: u64,
    /// The first of those with a problem.
    bad: Vec<CertificateView>,
}

/// An edge, without the names of the sites that it has.
#[derive(Debug, Serialize)]
struct EdgeLine {
    name: String,
    version: String,
    lease: String,
    watermark: u64,
    /// Sites with requests of an epoch that is fenced.
    pending: usize,
    /// Sites whose handoffs wait for it.
    waited_for: usize,
    controller: bool,
    this: bool,
}

impl Facts {
    /// What was found out last. Has somebody look again if that is old; nobody waits for it.
    pub(super) fn known(context: &Context) -> Option<Arc<Fact>> {
        let facts = &context.dashboard.facts;
        let known = locked(&facts.known).clone();
        let is_old = known.as_ref().is_none_or(|(at, _)| at.elapsed() > PACE);
        if is_old && !facts.is_looking.swap(true, Ordering::AcqRel) {
            let context = context.clone();
            tokio::spawn(async move {
                let found = look(&context).await;
                let facts = &context.dashboard.facts;
                if let Some(found) = found {
                    *locked(&facts.known) = Some((Instant::now(), Arc::new(found)));
                }
                facts.is_looking.store(false, Ordering::Release);
            });
        }
        known.map(|(_, fact)| fact)
    }
}

async fn look(context: &Context) -> Option<Fact> {
    let fleet = tokio::time::timeout(FLEET_PATIENCE, context.reload.controller.fleet()).await;
    let fleet = fleet.unwrap_or_else(|_| Some(Some(Err("the fleet's store does not answer".to_owned()))))?;
    let swarm = context.swarm.as_ref().map(|swarm| swarm.view().managers);
    let answer = |state: &str| state == "answers";
    let managers = swarm.map(|all| (all.iter().filter(|one| answer(&one.state)).count(), all.len()));
    let (published, certificates) =
        (context.reader.clone().load().clone(), context.reload.certificates.clone());
    let counting = tokio::task::spawn_blocking(move || {
        let in_flight = published.routes.sites().map(|site| u64::from(site.gate.in_flight())).sum();
        let certificates = certificates.map(|all| {
            let Summary { serving, unread, problems, first_end_s } = all.summary();
            let bad = if problems > 0 { all.first_bad(CERTIFICATES_MAX) } else { Vec::new() };
            Counted { serving, unread, problems, first_end_s, bad }
        });
        (in_flight, certificates)
    });
    let (in_flight, certificates) = counting.await.ok()?;
    let (edges, fleet_error) = match fleet {
        None => (None, None),
        Some(Ok(view)) => (Some(lines(view)), None),
        Some(Err(why)) => (None, Some(why)),
    };
    Some(Fact { in_flight, certificates, managers, edges, fleet_error })
}

fn lines(view: FleetView) -> Vec<EdgeLine> {
    let mut waited_for = BTreeMap::<String, usize>::new();
    for name in view.fenced.into_iter().flat_map(|site| site.waits_for) {
        *waited_for.entry(name).or_default() += 1;
    }
    let line = |edge: &EdgeView| EdgeLine {
        waited_for: waited_for.get(&edge.called(&view.edges)).copied().unwrap_or_default(),
        pending: edge.pending.len(),
        name: edge.name.clone(),
        version: edge.version.clone(),
        lease: edge.lease.clone(),
        watermark: edge.watermark,
        controller: edge.controller,
        this: edge.this,
    };
    view.edges.iter().map(line).collect()
}
