//! Why a URL goes where it goes: the same lookups that a request would meet, told in sentences.
//!
//! Nothing is sent and nobody is held for it: it looks, and says what it saw.

mod advice;
mod arrival;

use std::time::{Duration, SystemTime};

use serde::Serialize;

pub use arrival::Doors;

use crate::certs::{CertificateView, Certificates};
use crate::config::PathRoute;
use crate::control::view::{CandidateView, SiteView};
use crate::core::retry;
use crate::observe::journal::Entry;
use crate::published::{Published, PublishedSite};

/// The answer.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Explanation {
    url: String,
    host: String,
    path: String,
    /// `enter`, `hold`, `refuse`, `aside` or `redirect`.
    verdict: &'static str,
    /// Of the answer that ghostpin would give itself.
    status: Option<u16>,
    /// Where a request in clear text is sent, over TLS.
    redirect: Option<String>,
    /// The certificate that a handshake for the host is made with.
    certificate: Option<CertificateView>,
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
    /// What a request that changes nothing would meet now, and one that may change something.
    get: Option<Met>,
    post: Option<Met>,
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
    /// Since when, in milliseconds since 1970 (UTC), as far as the journal goes back.
    since_ms: Option<u64>,
    /// Why it was pinned, in the words of the journal.
    cause: Option<&'static str>,
    /// Who wished it.
    wished_by: Option<String>,
    /// Where it was before.
    #[serde(skip)]
    from: Option<String>,
}

/// What a request meets.
#[derive(Clone, Debug, Serialize)]
struct Met {
    /// `go`, `hold` or `refuse`.
    does: &'static str,
    /// What becomes of it if the backend gives no answer: `sent_again`, or `outcome_unknown` (502).
    unanswered: &'static str,
}

const GO_ON: &str = "go";

/// A URL that can be explained.
#[derive(Clone, Debug)]
pub(super) struct Url {
    text: String,
    is_secure: bool,
    host: String,
    port: Option<u16>,
    path: String,
}

impl Url {
    /// From what an operator pastes: with or without a scheme.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let no_url = |why: &str| format!("`{text}` {why}: write `https://blog.example/path`");
        if let Some((scheme @ ("http" | "https"), rest)) = text.split_once(':')
            && !rest.starts_with("//")
        {
            // It would be the host of that name.
            return Err(no_url(&format!("lacks the `//` behind `{scheme}:`")));
        }
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri =
            with_scheme.parse().map_err(|_| no_url("is no URL; names beyond ASCII are `xn--...` here"))?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(no_url("has no host that ghostpin could look up"));
        };
        let host = authority.host();
        if host.is_empty() {
            return Err(no_url("has no host that ghostpin could look up"));
        }
        // What stands there may be no number of a port, and then isn't one to the parser.
        let port = authority.as_str().rsplit('@').next().and_then(|rest| rest.strip_prefix(host));
        if port.is_some_and(|port| !port.is_empty()) && uri.port_u16().is_none() {
            return Err(no_url("has a port that is none: they are numbers up to 65535"));
        }
        Ok(Self {
            is_secure: scheme == "https",
            host: host.trim_end_matches('.').to_ascii_lowercase(),
            port: uri.port_u16(),
            path: uri.path().to_owned(),
            text: with_scheme,
        })
    }
}

/// The site that answers for a URL, by the route table in force.
pub(super) fn lookup<'p>(published: &'p Published, url: &Url) -> Option<&'p PublishedSite> {
    published.routes.lookup(&url.host).map(AsRef::as_ref)
}

/// Where requests come in, and what is shown there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entrance<'a> {
    pub(super) doors: &'a Doors,
    pub(super) certificates: Option<&'a Certificates>,
}

/// Nobody answers for it.
pub(super) fn unknown(published: &Published, entrance: Entrance<'_>, url: Url) -> Explanation {
    let mut told = Vec::new();
    let mut answer = Explanation::of(&url, Vec::new());
    answer.come_in(entrance, &url, None, &mut told);
    told.push(format!("No site has the host `{}`, nor a wildcard that it is below.", url.host));
    told.push("A request would be answered 404 at once, with a plain page.".to_owned());
    let near = match url.host.strip_prefix("www.") {
        Some(bare) => bare.to_owned(),
        None => format!("www.{}", url.host),
    };
    if let Some(site) = published.routes.lookup(&near) {
        told.push(format!("`{near}` belongs to site `{}`: maybe it lacks `{}`.", site.name(), url.host));
    }
    told.push(advice::for_an_unknown_host(&url.host));
    Explanation { verdict: "refuse", status: Some(404), redirect: None, sentences: told, ..answer }
}

/// A site answers for it, or would.
pub(super) fn known(
    site: &PublishedSite,
    view: SiteView,
    held: (usize, usize),
    entrance: Entrance<'_>,
    url: Url,
) -> Explanation {
    let mut told = Vec::new();
    let mut answer = Explanation::of(&url, Vec::new());
    let sent_to_tls = answer.come_in(entrance, &url, Some(site), &mut told);
    answer.matched = matched(&site.config.hosts, &url.host);
    told.push(match &answer.matched {
        Some(host) if host.starts_with("*.") => {
            format!(
                "`{}` is below `{host}`, a host of site `{}`; no site has it itself.",
                url.host,
                site.name()
            )
        }
        _ => format!("`{}` is a host of site `{}`.", url.host, site.name()),
    });
    answer.site = Some(site.name().to_string());
    answer.phase = Some(view.summary.phase.clone());
    answer.never_hold = site.config.hold.never.to_vec();
    if let Some(route) = site.config.routes.iter().find(|route| route.matches(&answer.path)) {
        answer.go_aside(route, &mut told);
    } else {
        answer.go_to_the_pin(site, &view, held, &mut told);
        answer.tell_methods(site, &view, &mut told);
    }
    answer.tell_candidates(&view, &mut told);
    told.extend(advice::for_a_site(&answer, &view));
    if sent_to_tls {
        (answer.verdict, answer.status) = ("redirect", Some(301));
    }
    answer.candidates = view.candidates;
    answer.conflicts = view.summary.conflicts;
    answer.sentences = told;
    answer
}

impl Explanation {
    fn of(url: &Url, sentences: Vec<String>) -> Self {
        let Url { text, host, path, .. } = url.clone();
        Self { url: text, host, path, sentences, ..Self::default() }
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
            let pin = Pin::of(view.summary.epoch, &view.summary.backend, &view.handoffs);
            told.push(format!(
                "The pin store has it on {} under epoch {}{}; the order in the configuration does not matter any more.",
                pin.backend,
                pin.epoch,
                pin.history()
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
            let since = summary.handoff.as_ref().map_or_else(String::new, |handoff| {
                format!(" since {}", in_seconds(Duration::from_millis(handoff.phase_for_ms)))
            });
            told.push(format!("The gate is shut, phase `{}`{since}.", summary.phase));
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

    /// The two kinds of requests, for they end differently if the backend fails them.
    fn tell_methods(&mut self, site: &PublishedSite, view: &SiteView, told: &mut Vec<String>) {
        let does = match self.verdict {
            "enter" => GO_ON,
            other => other,
        };
        self.get = Some(Met { does, unanswered: "sent_again" });
        self.post = Some(Met { does, unanswered: "outcome_unknown" });
        let begin = match does {
            GO_ON => format!("go to {} at once", view.summary.backend),
            "hold" => format!("wait, {} at most", in_seconds(site.config.hold.timeout)),
            _ => return,
        };
        told.push(format!(
            "A GET would {begin}; if the backend then gives no answer, it goes back to the gate, and is sent again, \
             {} times in all.",
            retry::HANDED_MAX
        ));
        told.push(format!(
            "A POST would {begin}, its body unread until a backend takes it; it is handed to one backend once, and if \
             that gives no answer, 502 says that the outcome is unknown."
        ));
    }

    fn tell_candidates(&self, view: &SiteView, told: &mut Vec<String>) {
        for candidate in &view.candidates {
            let CandidateView { address, health, pinned, .. } = candidate;
            let mut sentence =
                format!("Candidate {address}{} is {health}", if *pinned { " (pinned)" } else { "" });
            if let Some(probe) = &candidate.last_probe {
                let ago = Duration::from_millis(probe.ago_ms);
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

impl Pin {
    /// The one that stands, with what the newest of `entries` say of it.
    fn of(epoch: u64, backend: &str, entries: &[Entry]) -> Self {
        // Newest first: the one that led here is the last of those that ended with this epoch.
        let led_here = |entry: &&Entry| {
            entry.to.as_ref().is_some_and(|to| to.epoch == epoch)
                && entry.from.as_ref().is_none_or(|from| from.epoch != epoch)
        };
        let entry = entries.iter().find(led_here);
        Self {
            epoch,
            backend: backend.to_owned(),
            source: "store",
            since_ms: entry.map(|entry| entry.at_ms),
            cause: entry.and_then(|entry| entry.cause),
            wished_by: entry.and_then(|entry| entry.wished_by.clone()),
            from: entry.and_then(|entry| Some(entry.from.as_ref()?.backend.clone())),
        }
    }

    /// Since when, and why.
    fn history(&self) -> String {
        let Some(since) = self.since_ms else {
            return ", which happened before the last handoffs that the journal still has".to_owned();
        };
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(since));
        let from = self.from.as_ref().map_or_else(String::new, |from| format!(", from {from}"));
        let why = match self.cause {
            Some("first") => "it was its first backend that was proved",
            Some("planned") => "a planned handoff",
            Some("unwell") => "the backend before was unwell",
            Some("removed") => "the backend before was removed from the configuration",
            Some("suspicion") => "the backend before refused a connection",
            Some("hold") => "it was on hold",
            _ => "another edge decided so",
        };
        let by = self.wished_by.as_ref().map_or_else(String::new, |by| format!(", wished by {by}"));
        format!(" since {date} ({why}{from}{by})")
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

fn in_seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::journal::{Journal, PinText};

    #[test]
    fn a_url_is_taken_as_it_is_meant_or_refused() {
        let parsed = |text: &str| Url::parse(text).map(|url| (url.is_secure, url.host, url.port));
        for (text, is_secure, host, port) in [
            ("blog.example/x", false, "blog.example", None),
            ("blog.example:8080", false, "blog.example", Some(8080)),
            ("https://ann@Blog.example.:8443/", true, "blog.example", Some(8443)),
            ("http://[::1]:80/", false, "[::1]", Some(80)),
        ] {
            assert_eq!(parsed(text), Ok((is_secure, host.to_owned(), port)), "{text}");
        }
        for (text, why) in [
            ("blog.example:99999", "a port that is none"),
            ("https://blog.example:99999/", "a port that is none"),
            ("https:blog.example", "lacks the `//` behind `https:`"),
            ("ftp://blog.example", "no host that ghostpin could look up"),
        ] {
            let refused = parsed(text).unwrap_err();
            assert!(refused.contains(why) && refused.contains("https://blog.example/path"), "{refused}");
        }
    }

    #[test]
    fn what_happens_in_the_same_millisecond_is_not_taken_for_what_led_here() {
        let mut journal = Journal::default();
        let mut entry = |kind| Entry { at_ms: 7, ..journal.begin(&"blog".into(), kind) };
        let pin = |epoch, backend: &str| Some(PinText { epoch, backend: backend.to_owned() });
        let (moved, conflict) = (entry("handoff"), entry("conflict"));
        let moved = Entry { from: pin(1, "a:1"), to: pin(2, "b:1"), cause: Some("planned"), ..moved };
        let history = Pin::of(2, "b:1", &[conflict, moved]).history();
        assert!(history.ends_with("(a planned handoff, from a:1)"), "{history}");
    }
}
