//! Every metric: its name, its labels and what it means, in one list.
//!
//! Labels come from lists that the program knows (phases, reasons, causes). No metric has a label for the site, the
//! host or the path: with 100,000 sites that would be a load of its own. [`OF_A_SITE`] is told of one site at a time,
//! and only when asked for.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// A metric, with all its series.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// The labels of its series, without `le`.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Histogram, labels: &[], help }
}

// The data plane.

/// In the order of [`super::metrics::Count`].
pub const COUNTS: [Family; 18] = [
    counter("ghostpin_connections_accepted_total", &[], "Client connections accepted."),
    counter(
        "ghostpin_connections_refused_total",
        &[],
        "Client connections refused, for there were too many.",
    ),
    counter(
        "ghostpin_connections_of_one_client_refused_total",
        &[],
        "Client connections refused, for their client had too many.",
    ),
    counter(
        "ghostpin_proxy_headers_refused_total",
        &[],
        "Connections refused, for they should have begun with a PROXY header.",
    ),
    counter("ghostpin_tls_without_name_total", &[], "TLS handshakes refused, for they named no host (SNI)."),
    counter(
        "ghostpin_tls_unknown_name_total",
        &[],
        "TLS handshakes refused, for there is no certificate for the host that they named.",
    ),
    counter(
        "ghostpin_tls_failed_total",
        &[],
        "TLS handshakes that failed otherwise, or were left by the client.",
    ),
    counter("ghostpin_tls_slow_total", &[], "TLS handshakes ended for taking too long."),
    counter("ghostpin_connections_ended_total", &[], "Client connections that have ended."),
    counter("ghostpin_slow_heads_total", &[], "Client connections ended for being too slow with a head."),
    counter("ghostpin_slow_readers_total", &[], "Answers, or client connections, ended for not being read."),
    counter("ghostpin_requests_held_total", &[], "Requests that had to wait at a gate."),
    counter(
        "ghostpin_answers_shared_total",
        &[],
        "Requests that waited at a gate and were given an answer that another one had asked for.",
    ),
    counter("ghostpin_retries_total", &[], "Attempts that had no answer and went back to the gate."),
    counter("ghostpin_backend_connects_total", &[], "Connections made to backends."),
    counter("ghostpin_requests_cut_total", &[], "Requests in flight that were cut by a handoff."),
    counter(
        "ghostpin_detours_taken_total",
        &[],
        "Connections made to backends through another edge, one for each request.",
    ),
    counter("ghostpin_detours_given_total", &[], "Connections made to backends for other edges."),
];
/// By the first digit of their status.
pub const ANSWERS: Family =
    counter("ghostpin_answers_total", &["class"], "Answers, by the first digit of their status.");
/// By reason.
pub const REFUSALS: Family =
    counter("ghostpin_refusals_total", &["reason"], "Answers that ghostpin made itself, by reason.");
/// Until an answer begins.
pub const HEAD_SECONDS: Family =
    histogram("ghostpin_head_seconds", "From the coming of a request to the head of its answer.");
/// At a gate.
pub const HELD_SECONDS: Family =
    histogram("ghostpin_held_seconds", "Time at a gate, of the requests that had to wait.");

// The control plane.

/// By phase.
pub const SITES: Family = gauge("ghostpin_sites", &["phase"], "Sites, by phase.");
/// At all gates, now.
pub const HELD: Family = gauge("ghostpin_held_requests", &[], "Requests that wait at a gate now.");
/// At all gates, at most.
pub const HELD_MAX: Family =
    gauge("ghostpin_held_requests_max", &[], "Requests that may wait at all gates together.");
/// Leases that are out.
pub const IN_FLIGHT: Family =
    gauge("ghostpin_in_flight_requests", &[], "Requests under way to pinned backends now.");
/// Of all sites.
pub const CONFLICTS: Family = gauge(
    "ghostpin_conflicts",
    &[],
    "Backends that answer beside the pinned one, names with several addresses, and tasks beside the one that is meant.",
);
/// By cause and outcome.
pub const HANDOFFS: Family = counter(
    "ghostpin_handoffs_total",
    &["cause", "outcome"],
    "Handoffs that have ended, by cause and outcome.",
);
/// Of backends.
pub const PROBES: Family = counter("ghostpin_probes_total", &[], "Probes of backends.");
/// Of those that have not ended.
pub const LONGEST_HANDOFF: Family = gauge(
    "ghostpin_longest_handoff_seconds",
    &[],
    "For how long the handoff has been going on that has lasted longest, holds of operators included; 0 if there is none.",
);
/// That handoffs wait for.
pub const COMMITS_FAILED: Family = counter(
    "ghostpin_pin_commits_failed_total",
    &[],
    "Pins that could not be made durable, so that no gate was opened under them.",
);
/// 0 while G1 and G2 hold.
pub const LATE_ANSWERS: Family = counter(
    "ghostpin_late_answers_total",
    &[],
    "Answers that were kept from clients because their epoch was over; 0 while the guarantees hold.",
);
/// 0 or 1.
pub const UPDATE_REFUSED: Family = gauge(
    "ghostpin_update_refused",
    &[],
    "1 if the last update was refused, so that an older configuration is in force than is written.",
);
/// 0 to 2: one of the file, one of a provider.
pub const UPDATES_WAITING: Family = gauge(
    "ghostpin_updates_waiting",
    &[],
    "Updates that wait: for somebody's word, because they touch too many sites at once, or for the canary's.",
);
/// The first one included.
pub const RELOADS: Family = counter(
    "ghostpin_reloads_total",
    &[],
    "Configurations put in force, the first one and changes of providers included.",
);
/// When it was.
pub const LAST_RELOAD: Family = gauge(
    "ghostpin_last_reload_timestamp_seconds",
    &[],
    "When a configuration was put in force last, in seconds since 1970.",
);
/// When it was.
pub const LAST_REFUSED_UPDATE: Family = gauge(
    "ghostpin_last_refused_update_timestamp_seconds",
    &[],
    "When an update was refused last, in seconds since 1970; 0 if none was.",
);

// Certificates, where there is TLS.

/// That are served.
pub const CERTIFICATES: Family = gauge("ghostpin_certificates", &[], "Certificates that are served.");
/// In files that were not read yet.
pub const CERTIFICATES_UNREAD: Family =
    gauge("ghostpin_certificates_unread", &[], "Certificates that are still to be read.");
/// Served or not.
pub const CERTIFICATES_WITH_PROBLEMS: Family = gauge(
    "ghostpin_certificates_with_problems",
    &[],
    "Certificates with a problem; see `ghostpin certs --problems`.",
);
/// The first of all.
pub const CERTIFICATES_END: Family = gauge(
    "ghostpin_certificates_first_end_timestamp_seconds",
    &[],
    "When the first certificate that is served runs out, in seconds since 1970; 0 if none is served.",
);

/// By how they ended.
pub const ORDERS: Family = counter(
    "ghostpin_acme_orders_total",
    &["outcome"],
    "Orders of certificates that have ended, by outcome.",
);
/// Not begun yet.
pub const ORDERS_QUEUED: Family =
    gauge("ghostpin_acme_queued_orders", &[], "Names that wait for their turn to be ordered a certificate.");
/// Begun.
pub const ORDERS_UNDER_WAY: Family =
    gauge("ghostpin_acme_orders_under_way", &[], "Orders of certificates that are under way.");
/// After failures.
pub const AUTHORITIES_LEFT_ALONE: Family = gauge(
    "ghostpin_acme_authorities_left_alone",
    &[],
    "Certificate authorities that nothing is ordered at for now: down, or asked too often.",
);

// The swarm, where one is watched.

/// By state.
pub const SWARM_MANAGERS: Family = gauge(
    "ghostpin_swarm_managers",
    &["state"],
    "Managers of the swarm, by what came of asking them last; `refused` ones answer, and are not believed.",
);
/// Believed.
pub const SWARM_ANSWERS: Family =
    counter("ghostpin_swarm_answers_total", &[], "Answers of managers that were believed.");
/// Not believed.
pub const SWARM_REFUSED: Family = counter(
    "ghostpin_swarm_answers_refused_total",
    &[],
    "Answers of managers that were not believed, for they were old or the manager was cut off.",
);
/// None.
pub const SWARM_FAILURES: Family =
    counter("ghostpin_swarm_failures_total", &[], "Managers that did not answer when they were asked.");
/// Since.
pub const SWARM_AGE: Family = gauge(
    "ghostpin_swarm_answer_age_seconds",
    &[],
    "How old the last answer is that was believed, in seconds; 0 before the first one.",
);
/// Believed.
pub const SWARM_INDEX: Family =
    gauge("ghostpin_swarm_index", &[], "The newest index of what is believed of the swarm.");
/// By what became of them.
pub const SWARM_SERVICES: Family = gauge(
    "ghostpin_swarm_services",
    &["state"],
    "Services that have a site; that have problems; that run several tasks. One may be counted in several.",
);

// Logs.

/// By log.
pub const LOG_DROPPED: Family = counter(
    "ghostpin_log_lines_dropped_total",
    &["log"],
    "Lines that were not written, for the log could not keep up or its place took no more.",
);

// Traces.

/// To a collector.
pub const SPANS_SENT: Family =
    counter("ghostpin_trace_spans_sent_total", &[], "Spans that a collector has taken.");
/// None.
pub const SPANS_DROPPED: Family = counter(
    "ghostpin_trace_spans_dropped_total",
    &[],
    "Spans that were dropped, for the collector did not take them or too many waited for it.",
);

// The workers.

/// Now.
pub const WORKERS_STALLED: Family = gauge(
    "ghostpin_stalled_workers",
    &[],
    "Worker threads that stand still now, and with them all of their connections.",
);
/// Since the start.
pub const WORKER_STALLS: Family =
    counter("ghostpin_worker_stalls_total", &[], "Times that a worker thread has stood still for a second.");

// The process. Names are those that Prometheus' client libraries use.

/// Which ghostpin this is.
pub const BUILD: Family = gauge("ghostpin_build_info", &["version"], "Always 1.");
/// Processor time.
pub const CPU: Family =
    counter("process_cpu_seconds_total", &[], "User and system CPU time spent, in seconds.");
/// Resident memory.
pub const RESIDENT: Family = gauge("process_resident_memory_bytes", &[], "Resident memory size, in bytes.");
/// Virtual memory.
pub const VIRTUAL: Family = gauge("process_virtual_memory_bytes", &[], "Virtual memory size, in bytes.");
/// Open file descriptors.
pub const OPEN_FDS: Family = gauge("process_open_fds", &[], "Open file descriptors.");
/// Their limit.
pub const MAX_FDS: Family = gauge("process_max_fds", &[], "File descriptors that may be open.");
/// Threads.
pub const THREADS: Family = gauge("process_threads", &[], "Threads of the process.");
/// When the process began.
pub const STARTED: Family =
    gauge("process_start_time_seconds", &[], "Start of the process, in seconds since 1970.");

// One site, on demand.

/// Of its pin.
pub const SITE_EPOCH: Family =
    gauge("ghostpin_site_epoch", &["site"], "The epoch of the site's pin; 0 if it was never pinned.");
/// By phase.
pub const SITE_PHASE: Family = gauge(
    "ghostpin_site_phase",
    &["site", "phase"],
    "1 for the phase that the site is in, 0 for the others.",
);
/// At its gate.
pub const SITE_HELD: Family =
    gauge("ghostpin_site_held_requests", &["site"], "Requests that wait at the site's gate now.");
/// To its pinned backend.
pub const SITE_IN_FLIGHT: Family =
    gauge("ghostpin_site_in_flight_requests", &["site"], "Requests under way to the site's backend now.");
/// By candidate.
pub const SITE_PINNED: Family =
    gauge("ghostpin_site_candidate_pinned", &["site", "backend"], "1 for the candidate that has the pin.");
/// By candidate.
pub const SITE_WELL: Family =
    gauge("ghostpin_site_candidate_well", &["site", "backend"], "1 for a candidate that is well.");
/// By candidate.
pub const SITE_CONFLICT: Family = gauge(
    "ghostpin_site_candidate_conflict",
    &["site", "backend"],
    "1 for a candidate that answers although the pin is elsewhere.",
);

/// Of one of many edges.
pub const FLEET_LEASE: Family = gauge(
    "ghostpin_fleet_lease_seconds",
    &[],
    "For how long this edge may act if its lease is not heard of again; 0 if that is over, or it is alone.",
);
/// Of one of many edges.
pub const FLEET_FENCED: Family =
    gauge("ghostpin_fleet_fenced", &[], "1 while this edge holds its sites for want of a lease, else 0.");
/// Of one of many edges.
pub const FLEET_CONTROLLER: Family =
    gauge("ghostpin_fleet_controller", &[], "1 while this edge decides about the fleet's pins, else 0.");
/// Of one of many edges.
pub const FLEET_WATERMARK: Family = gauge(
    "ghostpin_fleet_watermark",
    &[],
    "The revision of etcd up to which this edge has applied everything.",
);
/// Of one of many edges.
pub const FLEET_PENDING: Family = gauge(
    "ghostpin_fleet_pending_sites",
    &[],
    "Sites with requests of an epoch that is fenced: their handoffs wait for this edge.",
);
/// Of one of many edges.
pub const FLEET_UNREACHABLE: Family = gauge(
    "ghostpin_fleet_unreachable_sites",
    &[],
    "Sites whose backend this edge can't reach: it holds them, or has another edge bring their requests there.",
);
/// Of one of many edges.
pub const FLEET_DETOURS: Family = gauge(
    "ghostpin_fleet_detour_sites",
    &[],
    "Sites whose requests go through another edge, for this one can't reach their backend.",
);

/// What is told of the whole process, besides [`COUNTS`].
pub const OF_THE_PROCESS: [Family; 54] = [
    ANSWERS,
    REFUSALS,
    HEAD_SECONDS,
    HELD_SECONDS,
    SITES,
    HELD,
    HELD_MAX,
    IN_FLIGHT,
    CONFLICTS,
    HANDOFFS,
    LONGEST_HANDOFF,
    PROBES,
    COMMITS_FAILED,
    LATE_ANSWERS,
    UPDATE_REFUSED,
    UPDATES_WAITING,
    RELOADS,
    LAST_RELOAD,
    LAST_REFUSED_UPDATE,
    CERTIFICATES,
    CERTIFICATES_UNREAD,
    CERTIFICATES_WITH_PROBLEMS,
    CERTIFICATES_END,
    ORDERS,
    ORDERS_QUEUED,
    ORDERS_UNDER_WAY,
    AUTHORITIES_LEFT_ALONE,
    FLEET_LEASE,
    FLEET_FENCED,
    FLEET_CONTROLLER,
    FLEET_WATERMARK,
    FLEET_PENDING,
    FLEET_UNREACHABLE,
    FLEET_DETOURS,
    SWARM_MANAGERS,
    SWARM_ANSWERS,
    SWARM_REFUSED,
    SWARM_FAILURES,
    SWARM_AGE,
    SWARM_INDEX,
    SWARM_SERVICES,
    LOG_DROPPED,
    SPANS_SENT,
    SPANS_DROPPED,
    WORKERS_STALLED,
    WORKER_STALLS,
    BUILD,
    CPU,
    RESIDENT,
    VIRTUAL,
    OPEN_FDS,
    MAX_FDS,
    THREADS,
    STARTED,
];
/// What is told of one site.
pub const OF_A_SITE: [Family; 7] =
    [SITE_EPOCH, SITE_PHASE, SITE_HELD, SITE_IN_FLIGHT, SITE_PINNED, SITE_WELL, SITE_CONFLICT];
