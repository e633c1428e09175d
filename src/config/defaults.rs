//! Every default, with its reason beside it, and what each kind of application brings along.

use std::time::Duration;

use super::acme::Challenge;
use super::cluster::Partition;
use super::{AccessFormat, Limits, Share};

/// `server.state`: beside the configuration, so that a first try needs no rights elsewhere.
pub const DEFAULT_STATE: &str = "./state";
/// `server.threads`: 0, one per core; the workers share nothing but the gates.
pub const DEFAULT_THREADS: u32 = 0;
/// `server.shutdown_delay`: only who has a balancer before ghostpin needs it, and knows how long that takes to notice.
pub const DEFAULT_SHUTDOWN_DELAY: Duration = Duration::ZERO;
/// `server.shutdown_timeout`: below the 90 s after which systemd kills, long enough for an upload in flight.
pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// `server.upgrade_timeout`: a million sites are read in a tenth of it.
pub const DEFAULT_UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);
/// `server.upgrade_probation`: what dies young does so within a second or two.
pub const DEFAULT_UPGRADE_PROBATION: Duration = Duration::from_secs(3);
/// `server.watchdog_limit`: a disk that hangs may come back in that time; what ends here ends every reader's connection.
pub const DEFAULT_WATCHDOG_LIMIT: Duration = Duration::from_secs(30);

/// `guard.share`: what is meant is seldom more than half of all sites, and a slip mostly is all of them.
pub const DEFAULT_GUARD_SHARE: f64 = 0.5;
/// `guard.sites`: so many can be looked over by whoever changes them.
pub const DEFAULT_GUARD_SITES: u32 = 20;
/// `guard.canary_time`: longer than a handoff takes, and some hundred answers of a fleet that is worth a canary.
pub const DEFAULT_GUARD_CANARY_TIME: Duration = Duration::from_secs(30);

/// `listen.http`: loopback; nothing is open to the world unless somebody wrote that it is to be.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// `admin.listen`: loopback, where no token is needed.
pub const DEFAULT_ADMIN_LISTEN: &str = "127.0.0.1:9180";

/// `cluster.lease_ttl`: how long a handoff waits for an edge that died; an orchestrator takes as long to replace a worker.
pub const DEFAULT_CLUSTER_LEASE_TTL: Duration = Duration::from_secs(5);
/// `cluster.prefix`
pub const DEFAULT_CLUSTER_PREFIX: &str = "/ghostpin";
/// `cluster.partition`: what ghostpin is for.
pub const DEFAULT_CLUSTER_PARTITION: Partition = Partition::Fence;

/// `hold.timeout`: an orchestrator replaces a dead worker in about 5 s and a cold Ghost boots in up to 8 s; clients
/// commonly give up at 30 s.
pub const DEFAULT_HOLD_TIMEOUT: Duration = Duration::from_secs(15);
/// `hold.max_requests`: twenty seconds of work for a cold Ghost at 50 pages a second. More would wait in vain.
pub const DEFAULT_HOLD_MAX_REQUESTS: u32 = 1_000;
/// `hold.share_answers`: a thousand who wait for a front page would be twenty seconds of work.
pub const DEFAULT_HOLD_SHARE_ANSWERS: bool = true;
/// `hold.harmless_cookies`: what scripts of others leave with readers, for themselves. All that Ghost gives out change pages.
pub const DEFAULT_HOLD_HARMLESS_COOKIES: &[&str] = &[
    "_ga*",
    "_gid",
    "_gat*",
    "_gcl_*",
    "_pk_*",
    "_fbp",
    "_hj*",
    "_clck",
    "_clsk",
    "__cf_bm",
    "cf_clearance",
];
/// `hold.max_requests_total`: fifty sites at their limit at once, and still room below `limits.max_connections`.
pub const DEFAULT_HOLD_MAX_REQUESTS_TOTAL: u32 = 50_000;

/// `health.interval`: with `fall` 2 a silent death is known within 3 s; a refused connection is known at once.
pub const DEFAULT_HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// `health.held_interval`: half of the 50 ms in which a site reopens after its backend is ready.
pub const DEFAULT_HEALTH_HELD_INTERVAL: Duration = Duration::from_millis(25);
/// `health.timeout`: a loaded Ghost answers its liveness path in 17 to 62 ms; a second is long.
pub const DEFAULT_HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// `health.fall`: one lost probe is noise, two in a row are a finding.
pub const DEFAULT_HEALTH_FALL: u32 = 2;
/// `health.rise`: a promotion is proved by a page of its own, so one good probe is enough.
pub const DEFAULT_HEALTH_RISE: u32 = 1;

/// `handoff.drain_timeout`: with `prove_timeout` it makes up `hold.timeout`, so that whoever is held at the
/// beginning of a planned handoff is still there at its end.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// `handoff.prove_timeout`: the slowest first boot of a Ghost that was measured took 8.2 s.
pub const DEFAULT_PROVE_TIMEOUT: Duration = Duration::from_secs(10);

/// `site.hooks.*.timeout`: to stop or start a container takes seconds; a hook that hangs must not hang a site.
pub const DEFAULT_HOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// `site.hooks.*.required`: who writes a hook relies on it; to go on without it must be said.
pub const DEFAULT_HOOK_REQUIRED: bool = true;

/// `upstream.connect_timeout`: one lost SYN is sent again after 1 s.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// `upstream.first_byte_timeout`: generous, for imports and themes take minutes; probes find a dead backend earlier.
pub const DEFAULT_FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(300);
/// `upstream.body_timeout`: an answer that stands still for a minute will not go on.
pub const DEFAULT_UPSTREAM_BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// `upstream.tunnel_timeout`: WebSocket applications ping every minute or so; an hour of silence is nobody.
pub const DEFAULT_TUNNEL_TIMEOUT: Duration = Duration::from_secs(3_600);

/// `limits.max_connections`: a connection on either side makes two open files each, and systemd lets a service raise its
/// limit to 524,288.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 65_536;
/// `limits.max_connections_per_client`: a quarter of all. Behind a routing mesh (Docker Swarm's, for one) or a carrier's
/// translation thousands of readers come from one address; nobody alone takes what all need.
pub const DEFAULT_MAX_CONNECTIONS_PER_CLIENT: u32 = 16_384;
/// `limits.max_head`: twice what Node itself takes.
pub const DEFAULT_MAX_HEAD_BYTES: u64 = 32 << 10;
/// `limits.max_headers`: far more than browsers send, and what is parsed without an allocation.
pub const DEFAULT_MAX_HEADERS: u32 = 100;
/// `limits.head_timeout`: slowloris gets ten seconds, a phone in a tunnel as well.
pub const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// `limits.body_timeout`: an upload may be slow, but not stand still.
pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// `limits.write_timeout`: a reader may be slow, but not asleep.
pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// `limits.keep_alive_timeout`: long enough to read a post before going on to the next.
pub const DEFAULT_CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(75);

/// `resolver.timeout`: a resolver nearby answers in milliseconds, and a lost packet is sent again well within this time.
pub const DEFAULT_RESOLVER_TIMEOUT: Duration = Duration::from_secs(2);

/// `acme.on_demand`: thousands of hosts of which few are ever asked for cost few orders.
pub const DEFAULT_ACME_ON_DEMAND: bool = true;
/// `acme.wait`: an authority takes some seconds over an order, and browsers give up a handshake after half a minute.
pub const DEFAULT_ACME_WAIT: Duration = Duration::from_secs(20);
/// `acme.challenges`: on port 443 nothing but the listener itself is needed; port 80 is the second try.
pub const DEFAULT_ACME_CHALLENGES: &[Challenge] = &[Challenge::TlsAlpn01, Challenge::Http01];

/// `provider.swarm.interval`: tasks emit no events, so this is how old news may be; a manager answers in milliseconds.
pub const DEFAULT_SWARM_INTERVAL: Duration = Duration::from_millis(500);
/// `provider.swarm.held_interval`: a task answers up to 0.8 s after it is said to run, so this is not what readers wait for.
pub const DEFAULT_SWARM_HELD_INTERVAL: Duration = Duration::from_millis(250);
/// `provider.swarm.timeout`: a manager without a leader hangs for 20 s; the next one is asked long before.
pub const DEFAULT_SWARM_TIMEOUT: Duration = Duration::from_secs(2);

/// `log.level`: handoffs and refusals, not each probe.
pub const DEFAULT_LOG_LEVEL: &str = "info";
/// `log.access`: one line a request, with its epoch and backend, is the evidence after an incident.
pub const DEFAULT_LOG_ACCESS: bool = true;
/// `log.access_format`: what programs read without a mistake.
pub const DEFAULT_LOG_ACCESS_FORMAT: AccessFormat = AccessFormat::Json;
/// `log.access_share`: all of them, until that is too much for somebody.
pub const DEFAULT_LOG_ACCESS_SHARE: Share = Share::ALL;

/// `traces.share`: one of a hundred shows what most are like, and costs nothing that is noticed.
pub const DEFAULT_TRACES_SHARE: Share = Share::HUNDREDTH;

/// What a kind of application brings along; every line can be overridden.
pub(crate) struct Profile {
    /// `health.path`
    pub(crate) health_path: &'static str,
    /// `health.proof_path`
    pub(crate) proof_path: &'static str,
    /// `health.forwarded_proto`
    pub(crate) forwarded_proto: &'static str,
    /// `health.expect`
    pub(crate) expect: (u16, u16),
    /// `upstream.keep_alive`
    pub(crate) keep_alive: Duration,
    /// Requests that are answered 503 at once while the gate is shut.
    pub(crate) never_hold: &'static [&'static str],
}

/// Node closes idle connections after 5 s; a request that starts just then is lost. Many other servers do the same.
const BELOW_NODES_KEEP_ALIVE: Duration = Duration::from_secs(4);

/// Ghost, as it was measured.
pub(crate) const GHOST: Profile = Profile {
    // Alive, without a look at the database: stays 200 in 2 ms while the database is slow.
    health_path: "/ghost/api/admin/site/",
    // A page needs the database, the settings and the theme.
    proof_path: "/",
    // Ghost answers 301 to plain HTTP if its `url` is https; a 301 proves nothing.
    forwarded_proto: "https",
    // 503 is a Ghost that boots or migrates, 301 one that was asked in the wrong way.
    expect: (200, 200),
    keep_alive: BELOW_NODES_KEEP_ALIVE,
    // Two that Ghost asks of itself, by its own public URL. Its scheduler tries again after a 503, but drops the post after
    // 5 s of waiting. A site without a logo measures its icon while it renders any page, the proof too; held, the proof would
    // wait for the gate and the gate for the proof. Given a 503 it renders the page without, and measures again for the next.
    never_hold: &["/ghost/api/admin/schedules/", "/favicon.ico"],
};

/// Anything else.
pub(super) const GENERIC: Profile = Profile {
    health_path: "/",
    proof_path: "/",
    forwarded_proto: "http",
    // The front page of an application is often a redirect to its login.
    expect: (200, 399),
    keep_alive: BELOW_NODES_KEEP_ALIVE,
    never_hold: &[],
};

/// `[limits]`, if nothing is said.
pub const DEFAULT_LIMITS: Limits = Limits {
    max_connections: DEFAULT_MAX_CONNECTIONS as usize,
    max_connections_per_client: DEFAULT_MAX_CONNECTIONS_PER_CLIENT as usize,
    max_head_bytes: DEFAULT_MAX_HEAD_BYTES as usize,
    max_headers: DEFAULT_MAX_HEADERS as usize,
    head_timeout: DEFAULT_HEAD_TIMEOUT,
    body_timeout: DEFAULT_BODY_TIMEOUT,
    write_timeout: DEFAULT_WRITE_TIMEOUT,
    keep_alive_timeout: DEFAULT_CLIENT_KEEP_ALIVE,
};
