//! One `[[site]]`: the keys of the site, else those of the top-level tables, else its profile, else the defaults.

use std::collections::hash_map::{Entry, HashMap};
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;

use super::common::Kinds;
use super::defaults::*;
use super::errors::{Place, Report};
use super::names::{Instance, PathPrefix, UrlPath};
use super::raw::{Proto, RawFile, RawHealth, RawHook, RawHooks, RawHttps, RawRoute, RawSite, RawUpstream};
use super::written::Text;
use super::*;

/// The sites of all files, and what is taken already.
#[derive(Default)]
pub(super) struct Sites<'a> {
    pub(super) list: Vec<Arc<Site>>,
    /// Their backends come from elsewhere.
    provided: bool,
    common: Common,
    names: HashMap<SiteName, Place<'a>, foldhash::fast::RandomState>,
    hosts: HashMap<String, (SiteName, Place<'a>), foldhash::fast::RandomState>,
}

/// The kinds of parts that sites have in common.
#[derive(Default)]
struct Common {
    https: Kinds<Https>,
    hold: Kinds<Hold>,
    health: Kinds<Health>,
    hooks: Kinds<Hooks>,
    handoff: Kinds<Handoff>,
    upstream: Kinds<Upstream>,
    headers: Kinds<Vec<(HeaderName, HeaderValue)>>,
    routes: Kinds<Vec<PathRoute>>,
}

impl<'a> Sites<'a> {
    /// For sites whose backends a provider tells.
    pub(super) fn of_a_provider() -> Self {
        Self { provided: true, ..Self::default() }
    }

    /// Checks one site and fills in what it doesn't say. `at` is where its table begins.
    pub(super) fn add(&mut self, raw: &RawSite, at: usize, top: &RawFile, report: &mut Report<'a, '_>) {
        let Some(name) = &raw.name else {
            return report.missing(at, "site.name", r#"is missing; write name = "blog", say"#);
        };
        if raw.hosts.is_none() {
            report.missing(at, "site.hosts", r#"is missing; write hosts = ["blog.example"], say"#);
        }
        if raw.backends.is_none() && !self.provided {
            report.missing(at, "site.backends", r#"is missing; write backends = ["127.0.0.1:2368"], say"#);
        }
        let name_at = name.span().start;
        let name = name.get_ref().0.clone();
        match self.names.entry(name.clone()) {
            Entry::Occupied(first) => {
                let first = first.get();
                let message = format!("`{name}` is the name of another site at {first}; rename one of them");
                report.wrong(name_at, "site.name", message);
            }
            Entry::Vacant(entry) => {
                entry.insert(report.source.at(name_at));
            }
        }
        let hosts = self.hosts(raw, &name, report);
        let backends = backends(raw, report);
        let profile = match raw.app.unwrap_or(App::Ghost) {
            App::Ghost => &GHOST,
            App::Generic => &GENERIC,
        };
        let hooks = hooks(&raw.hooks, report);
        let warm_standby = raw.warm_standby.as_ref().map_or(WarmStandby::Allow, |key| *key.get_ref());
        if let Some(key) = &raw.warm_standby
            && warm_standby == WarmStandby::Restart
            && raw.hooks.start.is_none()
        {
            let message =
                r#""restart" runs the `start` hook; add start = { command = [...] } to [site.hooks]"#;
            report.missing(key.span().start, "site.warm_standby", message);
        }
        let certificate = certificate(raw, report);
        let routes = routes(raw, report);
        raw.health.check("site.health", report);
        let Some(health) = health(&raw.health, &top.health, profile, &hosts) else {
            if !hosts.is_empty() {
                let message = "is missing; all hosts are wildcards, so say which host probes are to ask for";
                report.missing(at, "site.health.host", message);
            }
            return;
        };
        let common = &mut self.common;
        self.list.push(Arc::new(Site {
            name,
            hosts,
            backends,
            unfit: None,
            app: raw.app.unwrap_or(App::Ghost),
            failover: raw.failover.unwrap_or(Failover::Auto),
            warm_standby,
            partition: raw
                .partition
                .or(top.cluster.as_ref().and_then(|cluster| cluster.get_ref().partition))
                .unwrap_or(DEFAULT_CLUSTER_PARTITION),
            https: common.https.one(https(&raw.https, &top.https)),
            certificate,
            hold: common.hold.one(Hold {
                timeout: raw.hold.timeout.or(top.hold.timeout).map_or(DEFAULT_HOLD_TIMEOUT, |key| key.0.0),
                max_requests: (raw.hold.max_requests.or(top.hold.max_requests))
                    .map_or(DEFAULT_HOLD_MAX_REQUESTS, |key| key.0.0) as usize,
                share_answers: (raw.hold.share_answers.or(top.hold.share_answers))
                    .unwrap_or(DEFAULT_HOLD_SHARE_ANSWERS),
                harmless_cookies: (raw.hold.harmless_cookies.as_ref())
                    .or(top.hold.harmless_cookies.as_ref())
                    .cloned()
                    .unwrap_or_default(),
                never: match &raw.hold.never {
                    Some(paths) => paths.iter().map(|path| path.0.0.clone()).collect(),
                    None => profile.never_hold.iter().map(|&path| path.to_owned()).collect(),
                },
            }),
            health: common.health.one(health),
            hooks: common.hooks.one(hooks),
            handoff: common.handoff.one(Handoff {
                drain_timeout: (raw.handoff.drain_timeout.or(top.handoff.drain_timeout))
                    .map_or(DEFAULT_DRAIN_TIMEOUT, |key| key.0.0),
                prove_timeout: (raw.handoff.prove_timeout.or(top.handoff.prove_timeout))
                    .map_or(DEFAULT_PROVE_TIMEOUT, |key| key.0.0),
            }),
            upstream: common.upstream.one(upstream(&raw.upstream, &top.upstream, profile)),
            provided: false,
            found_by: None,
            tell_epoch: raw.tell_epoch.unwrap_or(false),
            headers: common.headers.one(raw.headers.0.clone()),
            routes: common.routes.one(routes),
        }));
    }

    /// Takes the site that was added last, and forgets what it has: the next one is read as if it were alone.
    pub(super) fn take(&mut self) -> Option<Arc<Site>> {
        self.names.clear();
        self.hosts.clear();
        self.list.pop()
    }

    /// The site's hosts, each of which belongs to one site only.
    fn hosts(&mut self, raw: &RawSite, name: &SiteName, report: &mut Report<'a, '_>) -> Box<[Box<str>]> {
        let Some(list) = &raw.hosts else { return [].into() };
        if list.get_ref().is_empty() {
            report.missing(list.span().start, "site.hosts", "is empty; a site needs at least one host");
        }
        let mut hosts = Vec::with_capacity(list.get_ref().len());
        for host in list.get_ref() {
            let (at, host) = (host.span().start, &host.get_ref().0.0);
            match self.hosts.entry(host.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert((name.clone(), report.source.at(at)));
                    hosts.push(host.as_str().into());
                }
                Entry::Occupied(entry) => {
                    let (owner, first) = entry.get();
                    let message = if owner == name {
                        format!("`{host}` is listed twice, first at {first}; remove one of them")
                    } else {
                        format!(
                            "`{host}` of site `{name}` already belongs to site `{owner}` at {first}; remove one"
                        )
                    };
                    report.wrong(at, "site.hosts", message);
                }
            }
        }
        hosts.into()
    }
}

fn https(site: &RawHttps, top: &RawHttps) -> Https {
    let seconds = site.hsts.or(top.hsts).map(|key| key.0.0.as_secs());
    let below = match site.hsts_subdomains.or(top.hsts_subdomains) {
        Some(true) => "; includeSubDomains",
        _ => "",
    };
    Https {
        redirect: site.redirect.or(top.redirect),
        hsts: seconds.map(|seconds| format!("max-age={seconds}{below}")),
    }
}

/// Only where it is: what is in the files is looked at when they are read, and disables nothing else.
fn certificate(raw: &RawSite, report: &mut Report<'_, '_>) -> Option<Box<CertificateFiles>> {
    let path = |written: &Spanned<String>| report.source.folder().join(written.get_ref());
    let key = raw.key.as_ref().map(path);
    match &raw.certificate {
        Some(written) => Some(Box::new(CertificateFiles { certificate: path(written), key })),
        None => {
            if let Some(written) = &raw.key {
                let message = "stands alone; add the certificate that it belongs to: certificate = \"...\"";
                report.missing(written.span().start, "site.key", message);
            }
            None
        }
    }
}

fn backends(raw: &RawSite, report: &mut Report<'_, '_>) -> Box<[BackendSpec]> {
    let Some(list) = &raw.backends else { return [].into() };
    if list.get_ref().is_empty() {
        report.missing(list.span().start, "site.backends", "is empty; a site needs at least one backend");
    }
    let mut backends: Vec<BackendSpec> = Vec::with_capacity(list.get_ref().len());
    for key in list.get_ref() {
        let backend = &key.get_ref().0;
        if backends.contains(backend) {
            let message = format!("`{backend}` is listed twice; remove one of them");
            report.wrong(key.span().start, "site.backends", message);
        } else {
            backends.push(backend.clone());
        }
    }
    backends.into()
}

impl RawHealth {
    /// What can be said of the table by itself, wherever it stands.
    pub(super) fn check(&self, table: &str, report: &mut Report<'_, '_>) {
        if let Some(list) = self.expect.as_ref().filter(|list| list.get_ref().0.is_empty()) {
            let message = "is empty; no answer would ever be well. Write a status, such as 200";
            report.missing(list.span().start, format!("{table}.expect"), message);
        }
    }
}

/// `None` if it isn't known which host probes are to ask for.
fn health(site: &RawHealth, top: &RawHealth, profile: &Profile, hosts: &[Box<str>]) -> Option<Health> {
    let path = |site: &Option<Text<UrlPath>>, top: &Option<Text<UrlPath>>, default: &str| {
        site.as_ref().or(top.as_ref()).map_or(default, |key| key.0.0.as_str()).to_owned()
    };
    let host = site.host.as_ref().or(top.host.as_ref()).map(|key| key.0.0.clone());
    if host.is_none() && hosts.iter().all(|host| host.starts_with("*.")) {
        return None;
    }
    let forwarded_proto = match site.forwarded_proto.or(top.forwarded_proto) {
        Some(Proto::Http) => "http",
        Some(Proto::Https) => "https",
        None => profile.forwarded_proto,
    };
    let expect = match site.expect.as_ref().or(top.expect.as_ref()) {
        Some(list) => list.get_ref().0.iter().map(|statuses| statuses.0.0).collect(),
        None => vec![profile.expect],
    };
    Some(Health {
        path: path(&site.path, &top.path, profile.health_path),
        proof_path: path(&site.proof_path, &top.proof_path, profile.proof_path),
        host,
        forwarded_proto: forwarded_proto.to_owned(),
        expect,
        interval: site.interval.or(top.interval).map_or(DEFAULT_HEALTH_INTERVAL, |key| key.0.0),
        held_interval: (site.held_interval.or(top.held_interval))
            .map_or(DEFAULT_HEALTH_HELD_INTERVAL, |key| key.0.0),
        timeout: site.timeout.or(top.timeout).map_or(DEFAULT_HEALTH_TIMEOUT, |key| key.0.0),
        fall: site.fall.or(top.fall).map_or(DEFAULT_HEALTH_FALL, |key| key.0.0),
        rise: site.rise.or(top.rise).map_or(DEFAULT_HEALTH_RISE, |key| key.0.0),
    })
}

fn upstream(site: &RawUpstream, top: &RawUpstream, profile: &Profile) -> Upstream {
    Upstream {
        connect_timeout: (site.connect_timeout.or(top.connect_timeout))
            .map_or(DEFAULT_CONNECT_TIMEOUT, |key| key.0.0),
        first_byte_timeout: (site.first_byte_timeout.or(top.first_byte_timeout))
            .map_or(DEFAULT_FIRST_BYTE_TIMEOUT, |key| key.0.0),
        body_timeout: (site.body_timeout.or(top.body_timeout))
            .map_or(DEFAULT_UPSTREAM_BODY_TIMEOUT, |key| key.0.0),
        keep_alive: site.keep_alive.or(top.keep_alive).map_or(profile.keep_alive, |key| key.0.0),
        tunnel_timeout: (site.tunnel_timeout.or(top.tunnel_timeout))
            .map_or(DEFAULT_TUNNEL_TIMEOUT, |key| key.0.0),
    }
}

fn hooks(raw: &RawHooks, report: &mut Report<'_, '_>) -> Hooks {
    Hooks {
        fence: hook("site.hooks.fence", raw.fence.as_ref(), report),
        start: hook("site.hooks.start", raw.start.as_ref(), report),
    }
}

fn hook(key: &str, raw: Option<&Spanned<RawHook>>, report: &mut Report<'_, '_>) -> Option<Hook> {
    let (at, raw) = (raw?.span().start, raw?.get_ref());
    let action = match (&raw.command, &raw.url) {
        (Some(command), None) => match command_line(command, &report.source.folder()) {
            Ok(words) => HookAction::Command(words),
            Err(why) => {
                report.wrong(at, key, why);
                return None;
            }
        },
        (None, Some(url)) => HookAction::Url(url.0.0.clone()),
        (Some(_), Some(_)) => {
            report.wrong(at, key, "has both a `command` and a `url`; keep one of them");
            return None;
        }
        (None, None) => {
            let message = r#"does nothing; write command = ["program", "argument"] or url = "http://...""#;
            report.missing(at, key, message);
            return None;
        }
    };
    let timeout = raw.timeout.map_or(DEFAULT_HOOK_TIMEOUT, |key| key.0.0);
    Some(Hook { action, timeout, required: raw.required.unwrap_or(DEFAULT_HOOK_REQUIRED) })
}

/// A program with a `/` in it is a path, and starts from the file's folder; one without is looked for in `PATH`.
fn command_line(words: &[String], folder: &Path) -> Result<Vec<String>, String> {
    let Some(program) = words.first().filter(|program| !program.trim().is_empty()) else {
        return Err(r#"has an empty `command`; write command = ["program", "argument"]"#.into());
    };
    if words.iter().any(|word| word.contains('\0')) {
        return Err("has a NUL character in its `command`; no program can be given one".into());
    }
    let mut words = words.to_vec();
    if program.contains('/') {
        words[0] = folder
            .join(program)
            .into_os_string()
            .into_string()
            .map_err(|_| "has a path that is not UTF-8")?;
    }
    Ok(words)
}

fn routes(raw: &RawSite, report: &mut Report<'_, '_>) -> Vec<PathRoute> {
    let mut routes: Vec<PathRoute> = Vec::with_capacity(raw.route.len());
    for key in &raw.route {
        let (at, RawRoute { path, upstream }) = (key.span().start, key.get_ref());
        let (Some(Text(PathPrefix(path))), Some(Text(Instance(upstream)))) = (path, upstream) else {
            report.missing(at, "site.route", r#"needs both path = "/..." and upstream = "IP:port""#);
            continue;
        };
        if routes.iter().any(|other| other.path == *path) {
            report.wrong(at, "site.route.path", format!("`{path}` is there twice; remove one of them"));
        }
        routes.push(PathRoute { path: path.clone(), upstream: upstream.clone() });
    }
    // The longest prefix wins, whatever the order in the file.
    routes.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then_with(|| a.path.cmp(&b.path)));
    routes
}
