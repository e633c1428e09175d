//! All metrics: those of the workers, of the reconciler, of the process; or those of one site.

use crate::certs::Summary;
use crate::control::view::{FleetStatus, SiteView, Status};
use crate::core::handoff::Phase;
use crate::observe::catalogue::*;
use crate::observe::text::Text;
use crate::observe::{metrics, process};

use super::Context;

/// Phases, in the words of the views.
const PHASES: [&str; 5] = Phase::NAMES;

/// What may be said of a manager.
const MANAGER_STATES: [&str; 4] = ["answers", "refused", "fails", "unknown"];

/// Everything that has no site.
pub(super) fn of_the_process(context: &Context, status: &Status) -> String {
    let mut text = Text::default();
    metrics::render(&context.metrics, &mut text);
    let phases = &status.phases;
    let counts = [phases.vacant, phases.proving, phases.serving, phases.draining, phases.fencing];
    let mut sites = text.family(&SITES);
    for (phase, count) in PHASES.iter().zip(counts) {
        sites.add(&[phase], count);
    }
    text.one(&HELD, status.held);
    text.one(&HELD_MAX, status.held_max);
    text.one(&IN_FLIGHT, status.in_flight);
    text.one(&CONFLICTS, status.conflicts);
    let seconds = |millis: Option<u64>| millis.unwrap_or(0) as f64 / 1e3;
    let mut handoffs = text.family(&HANDOFFS);
    for kind in &status.handoffs_by {
        handoffs.add(&[&kind.cause, &kind.outcome], kind.count);
    }
    text.one(&LONGEST_HANDOFF, seconds(Some(status.longest_handoff_ms)));
    text.one(&PROBES, status.probes);
    text.one(&COMMITS_FAILED, status.commits_failed);
    text.one(&LATE_ANSWERS, status.late_answers);
    text.one(&UPDATE_REFUSED, u8::from(status.refused_update.is_some()));
    text.one(&UPDATES_WAITING, status.waiting_updates.len());
    text.one(&RELOADS, status.reloads);
    text.one(&LAST_RELOAD, seconds(status.last_reload_ms));
    text.one(&LAST_REFUSED_UPDATE, seconds(status.refused_update_ms));
    let certificates = context.reload.certificates.as_ref().map(|all| all.summary());
    let Summary { serving, unread, problems, first_end_s } = certificates.unwrap_or_default();
    text.one(&CERTIFICATES, serving);
    text.one(&CERTIFICATES_UNREAD, unread);
    text.one(&CERTIFICATES_WITH_PROBLEMS, problems);
    text.one(&CERTIFICATES_END, first_end_s);
    let ordering = context.reload.authority().map(|authority| authority.status()).unwrap_or_default();
    let mut orders = text.family(&ORDERS);
    orders.add(&["issued"], ordering.issued);
    orders.add(&["failed"], ordering.failed);
    text.one(&ORDERS_QUEUED, ordering.queued);
    text.one(&ORDERS_UNDER_WAY, ordering.under_way);
    let left_alone = ordering.authorities.iter().filter(|authority| authority.backoff_until.is_some());
    text.one(&AUTHORITIES_LEFT_ALONE, left_alone.count());
    let FleetStatus { lease_s, fenced, controller, watermark, pending, unreachable, detours, .. } =
        status.fleet.clone().unwrap_or_default();
    text.one(&FLEET_LEASE, lease_s);
    text.one(&FLEET_FENCED, u8::from(fenced));
    text.one(&FLEET_CONTROLLER, u8::from(controller));
    text.one(&FLEET_WATERMARK, watermark);
    text.one(&FLEET_PENDING, pending);
    text.one(&FLEET_UNREACHABLE, unreachable);
    text.one(&FLEET_DETOURS, detours);
    let swarm = context.swarm_view().unwrap_or_default();
    let mut managers = text.family(&SWARM_MANAGERS);
    for state in MANAGER_STATES {
        managers.add(&[state], swarm.managers.iter().filter(|manager| manager.state == state).count());
    }
    text.one(&SWARM_ANSWERS, swarm.answers);
    text.one(&SWARM_REFUSED, swarm.refused);
    text.one(&SWARM_FAILURES, swarm.failures);
    text.one(&SWARM_AGE, seconds(swarm.age_ms));
    text.one(&SWARM_INDEX, swarm.index);
    let mut services = text.family(&SWARM_SERVICES);
    for (is, count) in ["taken", "with_problems", "in_conflict"].iter().zip(swarm.counts()) {
        services.add(&[is], count);
    }
    context.logs.render(&mut text);
    context.traced.render(&mut text);
    text.one(&WORKERS_STALLED, context.stalls.now());
    text.one(&WORKER_STALLS, context.stalls.total());
    text.family(&BUILD).add(&[&status.version], 1);
    process::render(&mut text);
    text.into_string()
}

/// One site, with a label for each of its candidates.
pub(super) fn of_a_site(site: &SiteView) -> String {
    let mut text = Text::default();
    let name = site.summary.name.as_str();
    text.family(&SITE_EPOCH).add(&[name], site.summary.epoch);
    let mut phases = text.family(&SITE_PHASE);
    for phase in PHASES {
        phases.add(&[name, phase], u8::from(phase == site.summary.phase));
    }
    text.family(&SITE_HELD).add(&[name], site.summary.held);
    text.family(&SITE_IN_FLIGHT).add(&[name], site.summary.in_flight);
    let mut by_candidate = |family, is: fn(&crate::control::view::CandidateView) -> bool| {
        let mut series = text.family(family);
        for candidate in &site.candidates {
            series.add(&[name, &candidate.address], u8::from(is(candidate)));
        }
    };
    by_candidate(&SITE_PINNED, |candidate| candidate.pinned);
    by_candidate(&SITE_WELL, |candidate| candidate.health == "well");
    by_candidate(&SITE_CONFLICT, |candidate| candidate.conflict);
    text.into_string()
}
