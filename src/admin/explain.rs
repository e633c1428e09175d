//! Why a URL goes where it goes: the same lookups that a request would meet, told in sentences.
//!
//! Nothing is sent and nobody is held for it: it looks, and says what it saw.

use serde::Serialize;

use crate::config::PathRoute;
use crate::control::view::{CandidateView, SiteView};
use crate::published::{Published, PublishedSite};

/// The answer.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Explanation {
    url: String,
    host: String,
    path: String,
    /// `enter`, `hold`, `refuse` or `aside`.
    verdict: &'static str,
    /// Of the answer that ghostpin would give itself.
    status: Option<u16>,
    site: Option<String>,
    /// The host of the site that matched.
    matched: Option<String>,
    route: Option<Route>,
    pin: Option<Pin>,
    phase: Option<String>,
    waiting_for: Option<String>,
    /// Requests that wait before this one would.
    ahead: Option<usize>,
    /// How long it would wait at most, in milliseconds.
    wait_at_most_ms: Option<u64>,
    never_hold: Vec<String>,
    candidates: Vec<CandidateView>,
    conflicts: Vec<String>,
    /// All of it, to be read from the top.
    sentences: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Route {
    path: String,
    upstream: String,
}

#[derive(Clone, Debug, Serialize)]
struct Pin {
    epoch: u64,
    backend: String,
    source: &'static str,
}

/// A URL that can be explained.
#[derive(Clone, Debug)]
pub(super) struct Url {
    text: String,
    host: String,
    path: String,
}

impl Url {
    /// From what an operator pastes: with or without a scheme.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri = with_scheme.parse().map_err(|_| {
            format!("`{text}` is no URL: write `https://blog.example/path`, names beyond ASCII as `xn--...`")
        })?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                Ok(Self { text: with_scheme, host, path: uri.path().to_owned() })
            }
            _ => Err(format!(
                "`{text}` has no host that ghostpin could look up: write `https://blog.example/path`"
            )),
        }
    }
}

/// The site that answers for a URL, by the route table in force.
pub(super) fn lookup<'p>(published: &'p Published, url: &Url) -> Option<&'p PublishedSite> {
    published.routes.lookup(&url.host).map(AsRef::as_ref)
}

/// Nobody answers for it.
pub(super) fn unknown(published: &Published, url: Url) -> Explanation {
    let mut sentences =
        vec![format!("No site has the host `{}`, nor a wildcard that it is below.", url.host)];
    let near = match url.host.strip_prefix("www.") {
        Some(bare) => bare.to_owned(),
        None => format!("www.{}", url.host),
    };
    if let Some(site) = published.routes.lookup(&near) {
        sentences.push(format!("`{near}` belongs to site `{}`: maybe it lacks `{}`.", site.name(), url.host));
    }
    sentences.push("A request would be answered 404 at once, with a plain page.".to_owned());
    Explanation { verdict: "refuse", status: Some(404), ..Explanation::of(url, sentences) }
}

/// A site answers for it, or would.
pub(super) fn known(site: &PublishedSite, view: SiteView, held: (usize, usize), url: Url) -> Explanation {
    let matched = matched(&site.config.hosts, &url.host);
    let mut told = vec![match &matched {
        Some(host) if host.starts_with("*.") => {
            format!(
                "`{}` is below `{host}`, a host of site `{}`; no site has it itself.",
                url.host,
                site.name()
            )
        }
        _ => format!("`{}` is a host of site `{}`.", url.host, site.name()),
    }];
    let mut answer = Explanation {
        site: Some(site.name().to_string()),
        matched,
        phase: Some(view.summary.phase.clone()),
        never_hold: site.config.hold.never.to_vec(),
        ..Explanation::of(url, Vec::new())
    };
    if let Some(route) = site.config.routes.iter().find(|route| route.matches(&answer.path)) {
        answer.go_aside(route, &mut told);
    } else {
        answer.go_to_the_pin(site, &view, held, &mut told);
    }
    answer.tell_candidates(&view, &mut told);
    answer.candidates = view.candidates;
    answer.conflicts = view.summary.conflicts;
    answer.sentences = told;
    answer
}

impl Explanation {
    fn of(url: Url, sentences: Vec<String>) -> Self {
        Self { url: url.text, host: url.host, path: url.path, sentences, ..Self::default() }
    }

    fn go_aside(&mut self, route: &PathRoute, told: &mut Vec<String>) {
        let (path, upstream) = (route.path.clone(), route.upstream.to_string());
        told.push(format!("Its path is at or below the route `{path}`, which goes to {upstream}."));
        told.push(
            "Routes are not pinned: the request is sent there at once, whatever the phase of the site."
                .to_owned(),
        );
        self.verdict = "aside";
        self.route = Some(Route { path, upstream });
    }

    fn go_to_the_pin(
        &mut self,
        site: &PublishedSite,
        view: &SiteView,
        (held_in_all, held_in_all_max): (usize, usize),
        told: &mut Vec<String>,
    ) {
        let summary = &view.summary;
        if summary.epoch == 0 {
            told.push(
                "The site has never been pinned: its first candidate that is proved will be.".to_owned(),
            );
        } else {
            let pin = Pin { epoch: summary.epoch, backend: summary.backend.clone(), source: "store" };
            told.push(format!(
                "The pin store has it on {} under epoch {}; the order in the configuration does not matter any more.",
                pin.backend, pin.epoch
            ));
            self.pin = Some(pin);
        }
        if site.gate.is_open() {
            self.verdict = "enter";
            told.push(format!(
                "The gate is open: a request enters at once, beside {} under way.",
                plural(summary.in_flight, "request")
            ));
            return;
        }
        let never = site.config.hold.never.iter().find(|prefix| self.path.starts_with(prefix.as_str()));
        if summary.phase == "serving" {
            told.push(
                "The gate is open for those who have waited: they go first, in the order of their arrival."
                    .to_owned(),
            );
            if let Some(prefix) = never {
                self.verdict = "enter";
                told.push(format!("A request enters past them, for `{prefix}` is among `hold.never`."));
                return;
            }
        } else {
            told.push(format!("The gate is shut, phase `{}`.", summary.phase));
        }
        if !view.waiting_for.is_empty() {
            told.push(format!("The site waits for {}.", view.waiting_for));
            self.waiting_for = Some(view.waiting_for.clone());
        }
        let (hold, ahead) = (&site.config.hold, summary.held);
        let refusal = if let Some(prefix) = never {
            Some(format!("`{prefix}` is among `hold.never`, for the application's own timer comes again"))
        } else if ahead >= hold.max_requests {
            Some(format!("{ahead} requests are held, as many as `hold.max_requests` of the site allows"))
        } else if held_in_all >= held_in_all_max {
            Some(format!(
                "{held_in_all} requests are held at all gates, as many as `hold.max_requests_total` allows"
            ))
        } else {
            None
        };
        if let Some(why) = refusal {
            self.verdict = "refuse";
            self.status = Some(503);
            told.push(format!("A request would be answered 503 at once, with Retry-After: {why}."));
            return;
        }
        self.verdict = "hold";
        self.ahead = Some(ahead);
        self.wait_at_most_ms = Some(hold.timeout.as_millis() as u64);
        told.push(format!(
            "A request would be held behind {}, for {} at most; then it would be answered 503 with Retry-After.",
            plural(ahead as u64, "other"),
            in_seconds(hold.timeout)
        ));
    }

    fn tell_candidates(&self, view: &SiteView, told: &mut Vec<String>) {
        for candidate in &view.candidates {
            let CandidateView { address, health, pinned, .. } = candidate;
            let mut sentence =
                format!("Candidate {address}{} is {health}", if *pinned { " (pinned)" } else { "" });
            if let Some(probe) = &candidate.last_probe {
                let ago = std::time::Duration::from_millis(probe.ago_ms);
                sentence += &format!("; the last probe, {} ago, saw: {}", in_seconds(ago), probe.result);
            }
            told.push(sentence + ".");
        }
        for beside in view.candidates.iter().filter(|candidate| candidate.conflict) {
            let address = &beside.address;
            told.push(format!(
                "CONFLICT: {address} answers although the pin is elsewhere; stop one of the two instances."
            ));
        }
        for name in &view.names {
            let (known, addresses) = (&name.name, name.addresses.join(", "));
            if name.conflict {
                told.push(format!("CONFLICT: the name {known} has several addresses, {addresses}; the pin stays where it is."));
            }
            if let Some(why) = &name.error {
                told.push(format!(
                    "The name {known} could not be looked up: {why}; what was known stays ({addresses})."
                ));
            }
        }
    }
}

/// The host of a site that a lookup of `host` met: the exact one, or else the longest wildcard.
fn matched(hosts: &[Box<str>], host: &str) -> Option<String> {
    let exact = hosts.iter().find(|known| known.eq_ignore_ascii_case(host));
    let below = || {
        let is_below = |known: &str| {
            let domain = known.strip_prefix('*').map(str::to_ascii_lowercase);
            domain.is_some_and(|domain| host.len() > domain.len() && host.ends_with(&domain))
        };
        hosts.iter().filter(|known| is_below(known)).max_by_key(|known| known.len())
    };
    exact.or_else(below).map(ToString::to_string)
}

fn plural(count: impl Into<u64> + Copy, noun: &str) -> String {
    let count: u64 = count.into();
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn in_seconds(time: std::time::Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
