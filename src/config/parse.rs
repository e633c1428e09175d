//! From a file, and those that it includes, to a [`Config`] or to all that is wrong with it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::defaults::*;
use super::errors::{ConfigErrors, Report, Source};
use super::listener::RawListeners;
use super::quick::Loaded;
use super::raw::{
    OnStall, RawAdmin, RawFile, RawIncluded, RawLimits, RawListen, RawPages, RawProxyProtocol, RawResolver,
    RawServer, RawSite, RawTls,
};
use super::read::{Read, read};
use super::site::Sites;
use super::units::Count;
use super::written::Text;
use super::*;

/// A template is a page, not a download.
const MAX_PAGE_BYTES: usize = 1 << 20;

impl Config {
    /// Reads the file at `path` and all that it includes. Relative paths in a file start from its folder.
    ///
    /// # Errors
    /// All that is wrong, each with its file, line and key. Nothing is half-valid: one error refuses the whole.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Loaded::load(path, None).map(|loaded| loaded.config)
    }

    /// Only `[admin]` of the file at `path`, whatever is wrong with its other keys: an operator needs the way in most
    /// when something is wrong.
    ///
    /// # Errors
    /// Like [`Config::load`], for what concerns `[admin]`.
    pub fn load_admin(path: &Path) -> Result<Admin, ConfigErrors> {
        load_table(path, "admin", |top, report| admin(&top.admin, &Listen::default(), report))
    }

    /// The same of `[server]`.
    ///
    /// # Errors
    /// Like [`Config::load`], for what concerns `[server]`.
    pub fn load_server(path: &Path) -> Result<Server, ConfigErrors> {
        load_table(path, "server", |top, report| server(&top.server, report))
    }

    /// Reads `text` as if it stood in the file at `origin`, and all that it includes.
    ///
    /// # Errors
    /// Like [`Config::load`].
    pub fn parse(text: &str, origin: &Path) -> Result<Self, ConfigErrors> {
        Loaded::parse(text, origin, None).map(|loaded| loaded.config)
    }

    /// The whole way: each file is parsed at once, and all that is wrong is found. It takes some three times the memory of what
    /// comes of it, so what is right goes the [quick way](super::quick).
    pub(super) fn parse_whole(text: &str, origin: &Path) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let source = Source::new(origin, text);
        let (root, sites) = split(text, &source, &mut errors);
        let Read { value: top, whole } = read::<RawFile>(root, "", &source, &mut errors);
        let included = included(&top, &source, &mut errors);

        let mut all = Sites::default();
        all.add_all(sites, &source, &top, &mut errors);
        for (text, source) in &included {
            let (root, sites) = split(text, source, &mut errors);
            read::<RawIncluded>(root, "", source, &mut errors);
            all.add_all(sites, source, &top, &mut errors);
        }

        let report = &mut Report { source: &source, errors: &mut errors, whole };
        let config = Self::made_of(top, all.list, report);
        errors.unless_any(config)
    }

    /// The configuration of these top-level tables and sites.
    pub(super) fn made_of(top: RawFile, sites: Vec<Arc<Site>>, report: &mut Report<'_, '_>) -> Self {
        top.health.check("health", report);
        let limits = limits(&top.limits, &DEFAULT_LIMITS);
        let mut listen = listen(&top.listen, &limits, report);
        listen.edges = cluster::detour(&top.cluster, &listen, &limits, report);
        let tls = tls(&top.tls, report);
        let acme = acme::acme(&top.acme, report);
        let cluster = cluster::cluster(&top.cluster, report);
        let has_certificates = || {
            let of_a_site = || sites.iter().any(|site| site.certificate.is_some());
            tls.certificates.is_some() || acme.is_some() || of_a_site()
        };
        if let Some(key) = top.listen.https.as_ref().filter(|_| !has_certificates()) {
            let message = r#"there is no certificate to show there; add certificates = "certs/" to [tls], say, or [acme]"#;
            report.missing(key.span().start, "listen.https", message);
        }
        Self {
            server: server(&top.server, report),
            admin: admin(&top.admin, &listen, report),
            listen,
            tls,
            guard: guard::guard(&top.guard, cluster.is_some(), report),
            hold_total: HoldTotal {
                max_requests: count(top.hold.max_requests_total, DEFAULT_HOLD_MAX_REQUESTS_TOTAL),
            },
            limits,
            resolver: resolver(&top.resolver),
            acme,
            cluster,
            swarm: provider::swarm(&top.provider, report),
            log: log::log(&top.log, report),
            traces: traces::traces(&top.traces, report),
            pages: pages(&top.pages, report),
            defaults: SiteDefaults::of(top),
            sites,
        }
    }
}

impl<'a> Sites<'a> {
    pub(super) fn add_all(
        &mut self,
        sites: RawSites,
        source: &'a Source,
        top: &RawFile,
        errors: &mut ConfigErrors,
    ) {
        for (at, Read { value, whole }) in sites {
            self.add(&value, at, top, &mut Report { source, errors, whole });
        }
    }
}

/// The sites of a file, each with the offset it begins at.
pub(super) type RawSites = Vec<(usize, Read<RawSite>)>;

/// Parses a file. One that is no TOML is reported, and read as if it were empty: what a parser guesses after a slip
/// would be reported as mistakes that nobody made.
fn root<'i>(text: &'i str, source: &Source, errors: &mut ConfigErrors) -> (Range<usize>, DeTable<'i>) {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let span = root.span();
    for error in &syntax {
        let at = error.span().map_or(source.whole(), |span| source.at(span.start));
        errors.add(at, "", format!("not TOML: {}", error.message()));
    }
    (span, if syntax.is_empty() { root.into_inner() } else { DeTable::new() })
}

/// Parses a file. Its sites are taken out and read one by one, so that a mistake in one costs a second look at that one
/// only, not at all 100,000.
pub(super) fn split<'i>(
    text: &'i str,
    source: &Source,
    errors: &mut ConfigErrors,
) -> (Spanned<DeValue<'i>>, RawSites) {
    let (span, mut root) = root(text, source, errors);
    let mut sites = Vec::new();
    if let Some(value) = root.remove("site") {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Array(list) => {
                for site in list {
                    sites.push((site.span().start, read(site, "site", source, errors)));
                }
            }
            _ => errors.add(source.at(at), "site", "is a list; write `[[site]]` with two brackets"),
        }
    }
    (Spanned::new(span, DeValue::Table(root)), sites)
}

fn included(top: &RawFile, source: &Source, errors: &mut ConfigErrors) -> Vec<(String, Source)> {
    let Some(include) = &top.include else { return Vec::new() };
    let at = source.at(include.span().start);
    let mut texts = Vec::new();
    for path in include::all(&source.folder(), &include.get_ref().0) {
        let text = path.and_then(|path| match include::read_text(&path) {
            Ok(text) => Ok((Source::new(&path, &text), text)),
            Err(error) => Err(format!("`{}` can't be read: {error}", path.display())),
        });
        match text {
            Ok((source, text)) => texts.push((text, source)),
            Err(why) => errors.add(at, "include", why),
        }
    }
    texts
}

/// One table of the file at `path`, without a look at the others.
fn load_table<T>(
    path: &Path,
    table: &str,
    make: impl FnOnce(&RawFile, &mut Report<'_, '_>) -> T,
) -> Result<T, ConfigErrors> {
    let mut errors = ConfigErrors::default();
    let text = include::read_text(path).unwrap_or_else(|error| {
        errors.add(Source::new(path, "").whole(), "", format!("can't be read: {error}"));
        String::new()
    });
    // Whoever asks for one site of a million shouldn't wait for all of them, nor for one that is wrong to be mended.
    let text = pieces::above_sites(&text).unwrap_or(&text);
    let source = Source::new(path, text);
    let (span, mut root) = root(text, &source, &mut errors);
    root = root.remove_entry(table).into_iter().collect();
    let root = Spanned::new(span, DeValue::Table(root));
    let Read { value: top, whole } = read::<RawFile>(root, "", &source, &mut errors);
    let made = make(&top, &mut Report { source: &source, errors: &mut errors, whole });
    errors.unless_any(made)
}

fn server(raw: &RawServer, report: &mut Report<'_, '_>) -> Server {
    let state = raw.state.as_ref().map_or(DEFAULT_STATE, |key| key.get_ref());
    if let Some(key) = raw.state.as_ref().filter(|key| key.get_ref().is_empty()) {
        report.wrong(key.span().start, "server.state", "is empty; name a folder");
    }
    Server {
        state: report.source.folder().join(state),
        threads: match raw.threads.map_or(DEFAULT_THREADS, |key| key.0.0) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads as usize,
        },
        trusted_proxies: raw.trusted_proxies.iter().flatten().map(|key| key.0).collect(),
        shutdown_delay: raw.shutdown_delay.map_or(DEFAULT_SHUTDOWN_DELAY, |key| key.0.0),
        shutdown_timeout: raw.shutdown_timeout.map_or(DEFAULT_SHUTDOWN_TIMEOUT, |key| key.0.0),
        upgrade_timeout: raw.upgrade_timeout.map_or(DEFAULT_UPGRADE_TIMEOUT, |key| key.0.0),
        upgrade_probation: raw.upgrade_probation.map_or(DEFAULT_UPGRADE_PROBATION, |key| key.0.0),
        watchdog: Watchdog {
            restart_after: (raw.watchdog == Some(OnStall::Restart))
                .then(|| raw.watchdog_limit.map_or(DEFAULT_WATCHDOG_LIMIT, |key| key.0.0)),
        },
    }
}

fn listen(raw: &RawListen, limits: &Limits, report: &mut Report<'_, '_>) -> Listen {
    let proxy_protocol_from = balancers(raw.proxy_protocol.as_ref());
    let settings = ListenerSettings { proxy_protocol_from: proxy_protocol_from.clone(), limits: *limits };
    let mut taken = Vec::new();
    let mut listeners =
        |list: &Spanned<RawListeners>, name| listeners(list, name, &settings, &mut taken, report);
    let http = match &raw.http {
        Some(list) => listeners(list, "listen.http"),
        None => {
            let address = ListenAddress::Tcp(DEFAULT_LISTEN.parse().expect("a constant address"));
            vec![Listener { address, settings: settings.clone() }]
        }
    };
    let https = raw.https.as_ref().map(|list| listeners(list, "listen.https")).unwrap_or_default();
    if let Some(list) = raw.http.as_ref().filter(|list| list.get_ref().is_empty() && https.is_empty()) {
        let message = r#"is empty; readers need a way in, such as http = ["0.0.0.0:80"]"#;
        report.missing(list.span().start, "listen.http", message);
    }
    Listen { http, https, edges: None, proxy_protocol_from }
}

fn balancers(raw: Option<&RawProxyProtocol>) -> Vec<ipnet::IpNet> {
    raw.and_then(|raw| raw.from.as_ref()).into_iter().flatten().map(|key| key.0).collect()
}

/// The listeners of a list, none of which is where another one is already.
fn listeners(
    list: &Spanned<RawListeners>,
    name: &str,
    settings: &ListenerSettings,
    taken: &mut Vec<ListenAddress>,
    report: &mut Report<'_, '_>,
) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for key in list.get_ref() {
        let raw = key.get_ref();
        let Some(address) = &raw.address else {
            let message = r#"is missing; write address = "0.0.0.0:80", say"#;
            report.missing(key.span().start, format!("{name}.address"), message);
            continue;
        };
        let address = in_folder(address, report);
        if address.is_one_place() && taken.contains(&address) {
            let message = format!("`{address}` is listed twice; remove one of them");
            report.wrong(key.span().start, name, message);
        }
        taken.push(address.clone());
        let own = raw.settings.proxy_protocol.as_ref();
        let settings = ListenerSettings {
            proxy_protocol_from: own
                .map_or_else(|| settings.proxy_protocol_from.clone(), |own| balancers(Some(own))),
            limits: limits(&raw.settings.limits, &settings.limits),
        };
        listeners.push(Listener { address, settings });
    }
    listeners
}

fn tls(raw: &RawTls, report: &mut Report<'_, '_>) -> Tls {
    let public_port = raw.public_port.map(|key| key.0.0 as u16);
    let Some(key) = &raw.certificates else { return Tls { certificates: None, public_port } };
    let folder = report.source.folder().join(key.get_ref());
    // At a reload, too: a folder that isn't there any more is a mistake, or a disk that is not mounted.
    if let Err(error) = std::fs::read_dir(&folder) {
        let message = format!("`{}` can't be read as a folder: {error}", folder.display());
        report.wrong(key.span().start, "tls.certificates", message);
    }
    Tls { certificates: Some(folder), public_port }
}

fn admin(raw: &RawAdmin, listen: &Listen, report: &mut Report<'_, '_>) -> Admin {
    let token = token(raw, report);
    let Some(key) = &raw.listen else {
        return Admin {
            listen: ListenAddress::Tcp(DEFAULT_ADMIN_LISTEN.parse().expect("a constant address")),
            token,
        };
    };
    let at = key.span().start;
    let address = in_folder(&key.get_ref().0, report);
    let lists = [
        ("listen.http", listen.http.as_slice()),
        ("listen.https", listen.https.as_slice()),
        ("cluster.detour", listen.edges.as_slice()),
    ];
    if let Some((name, _)) = lists
        .iter()
        .find(|(_, list)| address.is_one_place() && list.iter().any(|listener| listener.address == address))
    {
        let other = if matches!(address, ListenAddress::Tcp(_)) { "port" } else { "path" };
        report.wrong(at, "admin.listen", format!("`{address}` is in {name} too; choose another {other}"));
    }
    if let ListenAddress::Tcp(tcp) = &address
        && !tcp.ip().is_loopback()
        && raw.token.is_none()
        && raw.token_file.is_none()
    {
        let message = format!(
            "`{tcp}` can be reached by others; add admin.token_file, or use a loopback address or a Unix socket"
        );
        report.wrong(at, "admin.listen", message);
    }
    Admin { listen: address, token }
}

/// Paths begin at the folder of the file that they are written in.
fn in_folder(address: &ListenAddress, report: &Report<'_, '_>) -> ListenAddress {
    match address {
        ListenAddress::Unix(path) => ListenAddress::Unix(report.source.folder().join(path)),
        ListenAddress::Tcp(address) => ListenAddress::Tcp(*address),
    }
}

impl ListenAddress {
    /// Whether it is the same place each time: port 0 is another free port.
    pub(super) fn is_one_place(&self) -> bool {
        !matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

/// The token; its text is never part of an error.
fn token(raw: &RawAdmin, report: &mut Report<'_, '_>) -> Option<Secret> {
    let (at, key, token) = match (&raw.token, &raw.token_file) {
        (None, None) => return None,
        (Some(_), Some(file)) => {
            let message = "stands beside admin.token; keep one of them";
            report.wrong(file.span().start, "admin.token_file", message);
            return None;
        }
        (Some(token), None) => (token.span().start, "admin.token", token.get_ref().clone()),
        (None, Some(file)) => {
            let at = file.span().start;
            let path = report.source.folder().join(file.get_ref());
            match include::read_text(&path) {
                Ok(text) => (at, "admin.token_file", text.trim_end().to_owned()),
                Err(error) => {
                    report.wrong(
                        at,
                        "admin.token_file",
                        format!("`{}` can't be read: {error}", path.display()),
                    );
                    return None;
                }
            }
        }
    };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        report.wrong(
            at,
            key,
            "must be visible ASCII characters without spaces, at least one; it is sent in a header",
        );
        return None;
    }
    Some(Secret(token))
}

/// What is written, or else what holds otherwise.
fn limits(raw: &RawLimits, otherwise: &Limits) -> Limits {
    Limits {
        max_connections: count_or(raw.max_connections, otherwise.max_connections),
        max_connections_per_client: count_or(
            raw.max_connections_per_client,
            otherwise.max_connections_per_client,
        ),
        max_head_bytes: raw.max_head.map_or(otherwise.max_head_bytes, |key| key.0.0 as usize),
        max_headers: count_or(raw.max_headers, otherwise.max_headers),
        head_timeout: raw.head_timeout.map_or(otherwise.head_timeout, |key| key.0.0),
        body_timeout: raw.body_timeout.map_or(otherwise.body_timeout, |key| key.0.0),
        write_timeout: raw.write_timeout.map_or(otherwise.write_timeout, |key| key.0.0),
        keep_alive_timeout: raw.keep_alive_timeout.map_or(otherwise.keep_alive_timeout, |key| key.0.0),
    }
}

fn count_or<const MIN: u32, const MAX: u32>(
    written: Option<Text<Count<MIN, MAX>>>,
    otherwise: usize,
) -> usize {
    written.map_or(otherwise, |key| key.0.0 as usize)
}

fn count<const MIN: u32, const MAX: u32>(written: Option<Text<Count<MIN, MAX>>>, default: u32) -> usize {
    written.map_or(default, |key| key.0.0) as usize
}

fn resolver(raw: &RawResolver) -> Resolver {
    Resolver {
        servers: raw.servers.iter().flatten().map(|key| key.0).collect(),
        timeout: raw.timeout.map_or(DEFAULT_RESOLVER_TIMEOUT, |key| key.0.0),
    }
}

fn pages(raw: &RawPages, report: &mut Report<'_, '_>) -> Pages {
    let mut page = |key: &str, path: &Option<Spanned<String>>| -> Option<Arc<str>> {
        let name = path.as_ref()?;
        let path = report.source.folder().join(name.get_ref());
        let why = match include::read_text(&path) {
            Ok(text) if text.len() <= MAX_PAGE_BYTES => return Some(text.into()),
            Ok(_) => "is longer than 1 MiB; a page is kept in memory".to_owned(),
            Err(error) => format!("can't be read: {error}"),
        };
        report.wrong(name.span().start, format!("pages.{key}"), format!("`{}` {why}", path.display()));
        None
    };
    Pages {
        unavailable: page("unavailable", &raw.unavailable),
        unknown_host: page("unknown_host", &raw.unknown_host),
        bad_gateway: page("bad_gateway", &raw.bad_gateway),
    }
}
