//! What a key is if it isn't there: the parser is asked, with every value that is a default of something. The one that makes no difference is
//! this key's own.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::code;
use crate::config::Config;
use crate::config::defaults::*;

const SOURCE: &str = include_str!("../config/defaults.rs");

/// Without it, nothing that is said of TLS makes a difference.
const TLS: &str = "listen.https = [\"127.0.0.1:1\"]\nacme.directory = \"https://ca.example/\"\n";

/// Defaults as they would be written, whatever key they are of. Where two of them mean the same on some machine (no number of
/// threads and one for each core), the earlier counts.
fn candidates() -> Vec<String> {
    let counts = [
        DEFAULT_THREADS,
        DEFAULT_GUARD_SITES,
        DEFAULT_HOLD_MAX_REQUESTS,
        DEFAULT_HOLD_MAX_REQUESTS_TOTAL,
        DEFAULT_HEALTH_FALL,
        DEFAULT_HEALTH_RISE,
        DEFAULT_MAX_CONNECTIONS,
        DEFAULT_MAX_CONNECTIONS_PER_CLIENT,
        DEFAULT_MAX_HEADERS,
    ];
    let times = [
        DEFAULT_SHUTDOWN_DELAY,
        DEFAULT_SHUTDOWN_TIMEOUT,
        DEFAULT_UPGRADE_TIMEOUT,
        DEFAULT_UPGRADE_PROBATION,
        DEFAULT_WATCHDOG_LIMIT,
        DEFAULT_GUARD_CANARY_TIME,
        DEFAULT_CLUSTER_LEASE_TTL,
        DEFAULT_HOLD_TIMEOUT,
        DEFAULT_HEALTH_INTERVAL,
        DEFAULT_HEALTH_HELD_INTERVAL,
        DEFAULT_HEALTH_TIMEOUT,
        DEFAULT_DRAIN_TIMEOUT,
        DEFAULT_PROVE_TIMEOUT,
        DEFAULT_HOOK_TIMEOUT,
        DEFAULT_CONNECT_TIMEOUT,
        DEFAULT_FIRST_BYTE_TIMEOUT,
        DEFAULT_UPSTREAM_BODY_TIMEOUT,
        DEFAULT_TUNNEL_TIMEOUT,
        GHOST.keep_alive,
        DEFAULT_HEAD_TIMEOUT,
        DEFAULT_BODY_TIMEOUT,
        DEFAULT_WRITE_TIMEOUT,
        DEFAULT_CLIENT_KEEP_ALIVE,
        DEFAULT_RESOLVER_TIMEOUT,
        DEFAULT_ACME_WAIT,
        DEFAULT_SWARM_INTERVAL,
        DEFAULT_SWARM_HELD_INTERVAL,
        DEFAULT_SWARM_TIMEOUT,
    ];
    let texts = [
        DEFAULT_STATE,
        DEFAULT_ADMIN_LISTEN,
        DEFAULT_CLUSTER_PREFIX,
        DEFAULT_LOG_LEVEL,
        GHOST.health_path,
        GHOST.proof_path,
    ];
    let lists = [&[][..], &[DEFAULT_LISTEN], DEFAULT_HOLD_HARMLESS_COOKIES, GHOST.never_hold];
    // What keys with a few words to choose from may be, and truth values: those that are no default of any key here do no harm.
    let words = [
        "ghost", "generic", "auto", "manual", "allow", "restart", "refuse", "fence", "serve", "human",
        "json", "combined", "log", "report", "abort", "http", "https", "stderr", "stdout", "journal", "200",
        "none", "off",
    ];
    let mut all = vec!["true".to_owned(), "false".to_owned()];
    all.extend(counts.map(|count| count.to_string()));
    all.extend([DEFAULT_GUARD_SHARE, 1.0, 0.01].map(|share| format!("{share:?}")));
    all.extend(times.map(|time| format!("{:?}", in_words(time))));
    all.push(format!("\"{}KiB\"", DEFAULT_MAX_HEAD_BYTES >> 10));
    all.extend(texts.iter().chain(&words).map(|text| format!("{text:?}")));
    all.extend(lists.map(|list| format!("{list:?}")));
    all.push("[\"tls-alpn-01\", \"http-01\"]".to_owned());
    all
}

fn in_words(time: Duration) -> String {
    match time.as_millis() {
        0 => "0s".to_owned(),
        millis if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        millis if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        millis if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        millis => format!("{millis}ms"),
    }
}

/// A good file in which `line` has its place: below what its table must have.
fn file(key: &str, line: &str) -> String {
    let site = "[[site]]\nname = \"a\"\nhosts = [\"a.example\"]\nbackends = [\"127.0.0.1:1\"]\n";
    if let Some(key) = key.strip_prefix("site.") {
        let needed = match key {
            key if key.starts_with("route.") => "[[site.route]]\npath = \"/x\"\nupstream = \"127.0.0.1:2\"\n",
            key if key.starts_with("hooks.fence.") => "hooks.fence.url = \"http://127.0.0.1:9/\"\n",
            key if key.starts_with("hooks.start.") => "hooks.start.url = \"http://127.0.0.1:9/\"\n",
            _ => "",
        };
        let around = if key.starts_with("https.") { TLS } else { "" };
        return format!("{around}{site}{needed}{}\n", line.replacen("route.", "", 1));
    }
    let needed = match (key.split('.').next(), key) {
        (_, "https.hsts_subdomains") => "https.hsts = \"1h\"\n",
        (_, "server.watchdog_limit") => "server.watchdog = \"restart\"\n",
        (_, "guard.canary_time") => {
            "cluster.etcd = [\"http://127.0.0.1:2379\"]\ncluster.name = \"a\"\nguard.canary = \"a\"\n"
        }
        (_, "log.access_format") => "log.access_to = \"./access.log\"\n",
        (Some("acme" | "https"), _) => TLS,
        (Some("cluster"), _) => "cluster.etcd = [\"http://127.0.0.1:2379\"]\ncluster.name = \"a\"\n",
        (Some("traces"), _) => "traces.endpoint = \"http://127.0.0.1:4318/v1/traces\"\n",
        (Some("provider"), _) => "provider.swarm.managers = [\"unix:///run/docker.sock\"]\n",
        _ => "",
    };
    format!("{needed}{line}\n{site}")
}

fn parsed(text: &str) -> Option<Config> {
    Config::parse(text, Path::new("file")).ok()
}

fn default_of(key: &str, candidates: &[String]) -> Option<String> {
    let without = parsed(&file(key, "#")).unwrap_or_else(|| panic!("{key}: the file around it is wrong"));
    let inner = key.strip_prefix("site.").unwrap_or(key);
    let taken: Vec<(&String, bool)> = candidates
        .iter()
        .filter_map(|value| Some((value, parsed(&file(key, &format!("{inner} = {value}")))? == without)))
        .collect();
    // A key that makes no difference whatever it says depends on another one.
    let tells = taken.len() == 1 || taken.iter().any(|(_, is_same)| !is_same);
    taken.iter().find(|(_, is_same)| *is_same && tells).map(|(value, _)| (*value).clone())
}

/// The default of each key, or a dash: for those without, and for tables.
pub(super) fn told(keys: &BTreeSet<String>) -> Vec<String> {
    let candidates = candidates();
    let is_table = |key: &str| keys.iter().any(|other| other.starts_with(&format!("{key}.")));
    let default = |key: &String| if is_table(key) { None } else { default_of(key, &candidates) };
    keys.iter().map(|key| code(&default(key).unwrap_or_default())).collect()
}

#[test]
fn whatever_has_a_default_in_the_code_has_it_in_the_reference() {
    let candidates = candidates();
    let named =
        SOURCE.lines().filter_map(|line| line.strip_prefix("/// `")?.split_once('`').map(|(key, _)| key));
    let keys: Vec<&str> = named.filter(|key| key.contains('.')).collect();
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        let key = key.replace('*', "fence");
        assert!(default_of(&key, &candidates).is_some(), "{key}: its default is not among the candidates");
    }
}
