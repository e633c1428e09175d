//! What a reload would do: pure, so that `ghostpin check` and the reload itself see the same.

use std::collections::HashMap;
use std::fmt;

use super::*;
use crate::core::guard::Rule;

/// The way from one configuration to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sites that are new.
    pub added: Vec<SiteName>,
    /// Sites that are gone.
    pub removed: Vec<SiteName>,
    /// Sites that stay with other keys, and which keys, such as `hold.timeout`.
    pub changed: Vec<(SiteName, Vec<&'static str>)>,
    /// Sites that stay while the backend that they are pinned to is no longer among theirs.
    pub handed_off: Vec<(SiteName, Backend)>,
    /// Keys outside of sites that take effect at once.
    pub settings: Vec<&'static str>,
    /// Keys that take effect after a restart only.
    pub needs_restart: Vec<&'static str>,
    /// Nothing of it is put in force at first: what it waits for, and what to do. The running process knows.
    pub waits: Option<String>,
}

impl Plan {
    /// Compares `old`, which runs, with `new`; `pin` tells the backend that a site is pinned to.
    pub fn between(old: &Config, new: &Config, pin: impl Fn(&SiteName) -> Option<Backend>) -> Self {
        let mut plan = Self::default();
        let before: HashMap<&SiteName, &Arc<Site>> =
            old.sites.iter().map(|site| (&site.name, site)).collect();
        let after: HashMap<&SiteName, &Arc<Site>> = new.sites.iter().map(|site| (&site.name, site)).collect();
        plan.removed = names(&old.sites, |name| !after.contains_key(name));
        plan.added = names(&new.sites, |name| !before.contains_key(name));
        for site in &new.sites {
            let Some(old) = before.get(&site.name) else { continue };
            let keys = site_keys(old, site);
            if !keys.is_empty() {
                plan.changed.push((site.name.clone(), keys));
            }
            // Asked of every site, not only of the changed ones: the pin may have been elsewhere already.
            if let Some(pinned) = pin(&site.name).filter(|pinned| !site.has_backend(pinned)) {
                plan.handed_off.push((site.name.clone(), pinned));
            }
        }
        plan.settings = settings(old, new);
        plan.needs_restart = restart_keys(old, new);
        plan
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changes");
        }
        write!(
            f,
            "{} added, {} removed, {} changed, {} handed off",
            self.added.len(),
            self.removed.len(),
            self.changed.len(),
            self.handed_off.len()
        )?;
        for name in &self.added {
            write!(f, "\nadd       {name}")?;
        }
        for name in &self.removed {
            write!(f, "\nremove    {name}")?;
        }
        for (name, keys) in &self.changed {
            write!(f, "\nchange    {name}: {}", keys.join(", "))?;
        }
        for (name, backend) in &self.handed_off {
            write!(f, "\nhand off  {name}: pinned to {backend}, which is no longer among its backends")?;
        }
        for key in &self.settings {
            write!(f, "\nset       {key}")?;
        }
        for key in &self.needs_restart {
            write!(f, "\nrestart   {key} takes effect after a restart")?;
        }
        if let Some(why) = &self.waits {
            write!(f, "\nwaits     a reload leaves all as it is at first, for this is {why}")?;
        }
        Ok(())
    }
}

impl Site {
    /// Whether `backend` is one of the site's, or an address that one of its names was resolved to.
    pub fn has_backend(&self, backend: &Backend) -> bool {
        self.backends.iter().any(|spec| match spec {
            BackendSpec::Instance(instance) => instance == backend,
            BackendSpec::Name { .. } => backend.name().is_some_and(|name| name == spec.to_string()),
        })
    }
}

fn names(sites: &[Arc<Site>], wanted: impl Fn(&SiteName) -> bool) -> Vec<SiteName> {
    sites.iter().map(|site| &site.name).filter(|name| wanted(name)).cloned().collect()
}

/// Pushes the key of each field in which two values of a struct differ. All fields have to be listed, so that a new one
/// can't be forgotten: the pattern would not compile. A field without a key is compared elsewhere.
macro_rules! differing {
    ($keys:ident, $type:ident, $old:expr, $new:expr, [$($field:ident = $key:literal),* $(,)?] $(, $elsewhere:ident)*) => {{
        let ($type { $($field,)* $($elsewhere: _,)* }, new): (&$type, &$type) = ($old, $new);
        $( if *$field != new.$field { $keys.push($key); } )*
    }};
}

fn site_keys(old: &Arc<Site>, new: &Arc<Site>) -> Vec<&'static str> {
    let mut keys = Vec::new();
    differing!(
        keys,
        Site,
        old,
        new,
        [
            hosts = "hosts",
            backends = "backends",
            app = "app",
            failover = "failover",
            warm_standby = "warm_standby",
            partition = "partition",
            certificate = "certificate",
            https = "https",
            tell_epoch = "tell_epoch",
            headers = "headers",
            routes = "route",
        ],
        name,
        unfit,
        provided,
        found_by,
        hold,
        health,
        hooks,
        handoff,
        upstream
    );
    differing!(
        keys,
        Hold,
        &*old.hold,
        &*new.hold,
        [
            timeout = "hold.timeout",
            max_requests = "hold.max_requests",
            never = "hold.never",
            share_answers = "hold.share_answers",
            harmless_cookies = "hold.harmless_cookies",
        ]
    );
    differing!(
        keys,
        Health,
        &*old.health,
        &*new.health,
        [
            path = "health.path",
            proof_path = "health.proof_path",
            host = "health.host",
            forwarded_proto = "health.forwarded_proto",
            expect = "health.expect",
            interval = "health.interval",
            held_interval = "health.held_interval",
            timeout = "health.timeout",
            fall = "health.fall",
            rise = "health.rise",
        ]
    );
    differing!(keys, Hooks, &*old.hooks, &*new.hooks, [fence = "hooks.fence", start = "hooks.start"]);
    differing!(
        keys,
        Handoff,
        &*old.handoff,
        &*new.handoff,
        [drain_timeout = "handoff.drain_timeout", prove_timeout = "handoff.prove_timeout",]
    );
    differing!(
        keys,
        Upstream,
        &*old.upstream,
        &*new.upstream,
        [
            connect_timeout = "upstream.connect_timeout",
            first_byte_timeout = "upstream.first_byte_timeout",
            body_timeout = "upstream.body_timeout",
            keep_alive = "upstream.keep_alive",
            tunnel_timeout = "upstream.tunnel_timeout",
        ]
    );
    keys
}

fn settings(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    differing!(keys, Rule, &old.guard.rule, &new.guard.rule, [share = "guard.share", sites = "guard.sites"]);
    let canary = |config: &Config| config.guard.canary.clone();
    if canary(old).map(|one| one.edge) != canary(new).map(|one| one.edge) {
        keys.push("guard.canary");
    }
    if canary(old).map(|one| one.time) != canary(new).map(|one| one.time) {
        keys.push("guard.canary_time");
    }
    differing!(keys, HoldTotal, &old.hold_total, &new.hold_total, [max_requests = "hold.max_requests_total"]);
    differing!(
        keys,
        Resolver,
        &old.resolver,
        &new.resolver,
        [servers = "resolver.servers", timeout = "resolver.timeout"]
    );
    differing!(
        keys,
        Limits,
        &old.limits,
        &new.limits,
        [
            max_connections = "limits.max_connections",
            max_connections_per_client = "limits.max_connections_per_client",
            max_head_bytes = "limits.max_head",
            max_headers = "limits.max_headers",
            head_timeout = "limits.head_timeout",
            body_timeout = "limits.body_timeout",
            write_timeout = "limits.write_timeout",
            keep_alive_timeout = "limits.keep_alive_timeout",
        ]
    );
    differing!(
        keys,
        Server,
        &old.server,
        &new.server,
        [trusted_proxies = "server.trusted_proxies"],
        state,
        threads,
        shutdown_delay,
        shutdown_timeout,
        upgrade_timeout,
        upgrade_probation,
        watchdog
    );
    differing!(
        keys,
        Listen,
        &old.listen,
        &new.listen,
        [proxy_protocol_from = "listen.proxy_protocol.from"],
        http,
        https,
        edges
    );
    // What holds for all of them was told by its own key.
    let by_itself =
        old.limits == new.limits && old.listen.proxy_protocol_from == new.listen.proxy_protocol_from;
    for (key, old, new) in listeners(&old.listen, &new.listen) {
        if by_itself && listeners_in_force(old, new) != *old {
            keys.push(key);
        }
    }
    differing!(keys, Tls, &old.tls, &new.tls, [certificates = "tls.certificates"], public_port);
    differing!(
        keys,
        Log,
        &old.log,
        &new.log,
        [access = "log.access", access_share = "log.access_share"],
        format,
        level,
        access_to,
        access_format
    );
    differing!(
        keys,
        Pages,
        &old.pages,
        &new.pages,
        [
            unavailable = "pages.unavailable",
            unknown_host = "pages.unknown_host",
            bad_gateway = "pages.bad_gateway",
        ]
    );
    keys
}

/// Keys in which `new` differs from `old`, and that take effect after a restart only.
pub fn restart_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    differing!(
        keys,
        Server,
        &old.server,
        &new.server,
        [
            state = "server.state",
            threads = "server.threads",
            shutdown_delay = "server.shutdown_delay",
            shutdown_timeout = "server.shutdown_timeout",
            upgrade_timeout = "server.upgrade_timeout",
            upgrade_probation = "server.upgrade_probation",
            watchdog = "server.watchdog",
        ],
        trusted_proxies
    );
    differing!(
        keys,
        Log,
        &old.log,
        &new.log,
        [
            format = "log.format",
            level = "log.level",
            access_to = "log.access_to",
            access_format = "log.access_format",
        ],
        access,
        access_share
    );
    let addresses =
        |list: &[Listener]| list.iter().map(|listener| listener.address.clone()).collect::<Vec<_>>();
    for (key, old, new) in listeners(&old.listen, &new.listen) {
        if addresses(old) != addresses(new) {
            keys.push(key);
        }
    }
    differing!(keys, Tls, &old.tls, &new.tls, [public_port = "tls.public_port"], certificates);
    differing!(keys, Admin, &old.admin, &new.admin, [listen = "admin.listen", token = "admin.token"]);
    if old.traces != new.traces {
        keys.push("traces");
    }
    if old.swarm != new.swarm {
        keys.push("provider.swarm");
    }
    match (&old.acme, &new.acme) {
        (Some(old), Some(new)) => differing!(
            keys,
            Acme,
            old,
            new,
            [
                authorities = "acme.directory, acme.fallback",
                contact = "acme.contact",
                on_demand = "acme.on_demand",
                ask = "acme.ask",
                wait = "acme.wait",
                challenges = "acme.challenges",
            ]
        ),
        (None, None) => {}
        _ => keys.push("acme"),
    }
    match (&old.cluster, &new.cluster) {
        (Some(old), Some(new)) => differing!(
            keys,
            Cluster,
            old,
            new,
            [
                etcd = "cluster.etcd",
                name = "cluster.name",
                prefix = "cluster.prefix",
                lease_ttl = "cluster.lease_ttl",
                tls = "cluster.tls",
                user = "cluster.user, cluster.password_file",
            ],
            partition
        ),
        (None, None) => {}
        _ => keys.push("cluster"),
    }
    keys
}

/// The lists of listeners, old and new, by their keys.
fn listeners<'a>(old: &'a Listen, new: &'a Listen) -> [(&'static str, &'a [Listener], &'a [Listener]); 3] {
    [
        ("listen.http", &old.http, &new.http),
        ("listen.https", &old.https, &new.https),
        ("cluster.detour", old.edges.as_slice(), new.edges.as_slice()),
    ]
}

/// The listeners that there are, with what is said of them now.
fn listeners_in_force(old: &[Listener], new: &[Listener]) -> Vec<Listener> {
    let now = |old: &Listener| new.iter().find(|new| new.address == old.address).unwrap_or(old).clone();
    old.iter().map(now).collect()
}

/// `new` as it takes effect in a process that was started with `old`: what needs a restart stays as it was.
pub fn in_force(old: &Config, new: Config) -> Config {
    Config {
        server: Server { trusted_proxies: new.server.trusted_proxies, ..old.server.clone() },
        listen: Listen {
            http: listeners_in_force(&old.listen.http, &new.listen.http),
            https: listeners_in_force(&old.listen.https, &new.listen.https),
            edges: listeners_in_force(old.listen.edges.as_slice(), new.listen.edges.as_slice()).pop(),
            proxy_protocol_from: new.listen.proxy_protocol_from,
        },
        tls: Tls { certificates: new.tls.certificates, ..old.tls.clone() },
        admin: old.admin.clone(),
        acme: old.acme.clone(),
        cluster: old.cluster.clone(),
        swarm: old.swarm.clone(),
        traces: old.traces.clone(),
        log: Log { access: new.log.access, access_share: new.log.access_share, ..old.log.clone() },
        ..new
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("ghostpin.toml")).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn site(name: &str, backends: &str, more: &str) -> String {
        format!(
            "[[site]]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\nbackends = [{backends}]\n{more}\n"
        )
    }

    fn unpinned(_: &SiteName) -> Option<Backend> {
        None
    }

    #[test]
    fn an_unchanged_file_changes_nothing() {
        let config = config(&site("blog", "\"127.0.0.1:1\"", "app = \"generic\""));
        let plan = Plan::between(&config, &config.clone(), |_| "127.0.0.1:1".parse().ok());
        assert!(plan.is_empty());
        assert_eq!(plan.to_string(), "nothing changes");
    }

    #[test]
    fn the_plan_names_sites_and_keys() {
        let old = site("a", "\"127.0.0.1:1\"", "")
            + &site("b", "\"127.0.0.1:2\"", "")
            + &site("c", "\"127.0.0.1:3\"", "");
        let new = site("c", "\"127.0.0.1:4\"", "hold.timeout = \"1s\"")
            + &site("b", "\"127.0.0.1:2\"", "")
            + &site("d", "\"127.0.0.1:5\"", "");
        let old = config(&format!("[server]\nthreads = 1\n{old}"));
        let new = config(&format!("[server]\nthreads = 2\n[log]\nlevel = \"debug\"\n{new}"));
        let plan =
            Plan::between(&old, &new, |name| (name.as_str() == "c").then(|| "127.0.0.1:3".parse().unwrap()));
        assert_eq!(
            plan.to_string(),
            "1 added, 1 removed, 1 changed, 1 handed off\n\
             add       d\n\
             remove    a\n\
             change    c: backends, hold.timeout\n\
             hand off  c: pinned to 127.0.0.1:3, which is no longer among its backends\n\
             restart   server.threads takes effect after a restart\n\
             restart   log.level takes effect after a restart"
        );
    }

    #[test]
    fn a_pinned_backend_that_stays_in_any_place_is_not_handed_off() {
        let old = config(&site("a", "\"127.0.0.1:1\", \"ghost:2368\"", ""));
        let new = config(&site("a", "\"127.0.0.1:3\", \"ghost:2368\", \"127.0.0.1:1\"", ""));
        for pinned in ["127.0.0.1:1", "ghost:2368@10.0.0.5:2368"] {
            let plan = Plan::between(&old, &new, |_| pinned.parse().ok());
            assert_eq!(plan.handed_off, []);
            assert_eq!(plan.changed, [(SiteName::from("a"), vec!["backends"])]);
        }
        let pinned: Backend = "ghosts:2368@10.0.0.5:2368".parse().unwrap();
        let plan = Plan::between(&old, &new, |_| Some(pinned.clone()));
        assert_eq!(plan.handed_off, [(SiteName::from("a"), pinned)]);
    }

    #[test]
    fn a_new_default_changes_each_site_that_relies_on_it() {
        let sites = site("a", "\"127.0.0.1:1\"", "") + &site("b", "\"127.0.0.1:2\"", "health.fall = 2");
        let old = config(&sites);
        let new = config(&format!("[health]\nfall = 3\n{sites}"));
        let plan = Plan::between(&old, &new, unpinned);
        assert_eq!(plan.changed, [(SiteName::from("a"), vec!["health.fall"])]);
    }

    #[test]
    fn what_needs_a_restart_needs_it_until_the_restart() {
        let running = config("[log]\naccess = true");
        let written = config(
            "[server]\nthreads = 7\n[log]\nlevel = \"debug\"\naccess = false\naccess_to = 'stdout'\naccess_share = 0.5",
        );
        let after_a_reload = in_force(&running, written.clone());
        let plan = Plan::between(&after_a_reload, &written, unpinned);
        assert_eq!(plan.settings, [] as [&str; 0], "these were set by the reload");
        assert_eq!(plan.needs_restart, ["server.threads", "log.level", "log.access_to"]);
        assert_eq!(after_a_reload.log.access_share, written.log.access_share);
    }

    #[test]
    fn the_settings_of_a_listener_follow_its_address() {
        let running = config("[listen]\nhttp = ['127.0.0.1:1', '127.0.0.1:2']");
        let own = "{ address = '127.0.0.1:2', limits.head_timeout = '1s' }";
        let written = config(&format!("[listen]\nhttp = [{own}, '127.0.0.1:3']"));
        let plan = Plan::between(&running, &written, unpinned);
        assert_eq!((plan.settings, plan.needs_restart), (vec!["listen.http"], vec!["listen.http"]));
        let after_a_reload = in_force(&running, written.clone());
        let listeners = &after_a_reload.listen.http;
        assert_eq!(listeners[0], running.listen.http[0]);
        assert_eq!(listeners[1], written.listen.http[0]);
        let plan = Plan::between(&after_a_reload, &written, unpinned);
        assert_eq!((plan.settings, plan.needs_restart), (vec![], vec!["listen.http"]));
        let written =
            config("[limits]\nhead_timeout = '1s'\n[listen]\nhttp = ['127.0.0.1:1', '127.0.0.1:2']");
        assert_eq!(Plan::between(&running, &written, unpinned).settings, ["limits.head_timeout"]);
    }

    #[test]
    fn another_detour_needs_a_restart() {
        let with =
            |line: &str| config(&format!("[cluster]\netcd = ['http://10.0.0.1:1']\nname = 'a'\n{line}"));
        let (running, written) = (with("detour = '10.0.0.1:1'"), with("detour = '10.0.0.1:2'"));
        assert_eq!(Plan::between(&running, &written, unpinned).needs_restart, ["cluster.detour"]);
        assert_eq!(in_force(&running, written).listen.edges, running.listen.edges);
        assert_eq!(Plan::between(&with(""), &running, unpinned).needs_restart, ["cluster.detour"]);
    }

    #[test]
    fn a_plan_shows_no_secret() {
        let old = config("[admin]\ntoken = \"s3cret\"");
        let new = config("[admin]\ntoken = \"geheim\"");
        let plan = Plan::between(&old, &new, unpinned);
        assert_eq!(plan.needs_restart, ["admin.token"]);
        assert!(!format!("{plan} {plan:?}").contains("geheim"));
    }
}
