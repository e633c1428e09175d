//! What operators are told of certificates. No key is part of it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::folder::Source;
use super::store::{Certificates, Known, Look, locked};
use super::{Certificate, Place};

/// One certificate, or what should be one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CertificateView {
    /// The file.
    pub file: String,
    /// The file of its key.
    pub key: String,
    /// `site`, `folder` or `acme`.
    pub source: String,
    /// The site that names it; empty if none does.
    pub site: String,
    /// Whether handshakes are made with it, or with the last good one of this file.
    pub serving: bool,
    /// Whether the file was read: they are read in the background.
    pub read: bool,
    /// The names that it is for.
    pub names: Vec<String>,
    /// Who has signed it.
    pub issuer: String,
    /// From when on it is valid, in ms since 1970; 0 if there is none.
    pub not_before_ms: u64,
    /// Until when it is valid, in ms since 1970; 0 if there is none.
    pub not_after_ms: u64,
    /// What is wrong with what is in the file now; empty if nothing is.
    pub problem: String,
}

/// Which of them are told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    /// Only those with a problem.
    pub problems: bool,
    /// Only those for this host.
    pub host: Option<String>,
}

/// All of them, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// With which handshakes are made.
    pub serving: usize,
    /// Not read yet.
    pub unread: usize,
    /// With a problem; some of them are served in spite of it.
    pub problems: usize,
    /// When the first of those that are served runs out, in seconds since 1970; 0 if there is none.
    pub first_end_s: u64,
}

impl Certificates {
    /// Those that are wanted, in the order of their sources and files.
    pub fn views(&self, wanted: &Wanted) -> Vec<CertificateView> {
        let host = wanted.host.as_ref().map(|host| host.to_ascii_lowercase());
        let now = SystemTime::now();
        self.first(usize::MAX, now, |place, known| {
            let is_for = |host: &String| match &known.certificate {
                Some(certificate) => certificate.covers(host),
                None => place.expected().contains(host),
            };
            host.as_ref().is_none_or(is_for) && (!wanted.problems || known.problem_at(now).is_some())
        })
    }

    /// The first of those with a problem, so many at most, in the same order.
    pub fn first_bad(&self, most: usize) -> Vec<CertificateView> {
        let now = SystemTime::now();
        self.first(most, now, |_, known| known.problem_at(now).is_some())
    }

    fn first(
        &self,
        most: usize,
        now: SystemTime,
        is_wanted: impl Fn(&Place, &Known) -> bool,
    ) -> Vec<CertificateView> {
        let known = locked(&self.known);
        let mut wanted: Vec<_> = known.iter().filter(|(place, known)| is_wanted(place, known)).collect();
        wanted.sort_by_key(|(place, _)| *place);
        wanted.into_iter().take(most).map(|(place, known)| view(place, known, now)).collect()
    }

    /// Why there is none for this host, as far as files tell: what is wrong with one that is for it, or else with the first of
    /// those whose names are not known.
    pub fn why_none(&self, host: &str) -> Option<String> {
        let for_it = self.views(&Wanted { problems: true, host: Some(host.to_owned()) });
        for_it.into_iter().chain(self.first_bad(1)).map(|view| view.problem).next()
    }

    /// The one that a handshake for this host is made with now, or that will be once its file is read.
    pub fn shown_for(&self, host: &str) -> Option<CertificateView> {
        let place = match self.look(host) {
            Look::Found(certificate) => certificate.place.clone(),
            Look::Unread(places) => places.first()?.clone(),
            Look::Unknown => return None,
        };
        locked(&self.known).get(&place).map(|known| view(&place, known, SystemTime::now()))
    }

    /// All of them, counted.
    pub fn summary(&self) -> Summary {
        let now = SystemTime::now();
        let known = locked(&self.known);
        let mut summary = Summary::default();
        let mut first_end = None;
        for known in known.values() {
            summary.unread += usize::from(known.is_unread);
            summary.problems += usize::from(known.problem_at(now).is_some());
            let Some(certificate) = &known.certificate else { continue };
            summary.serving += 1;
            first_end = Some(first_end.map_or(certificate.not_after, |end| certificate.not_after.min(end)));
        }
        summary.first_end_s = first_end.map_or(0, millis) / 1000;
        summary
    }
}

impl Known {
    /// What is wrong with it, in words: one that has run out while it was served is served on, for there is no better one.
    fn problem_at(&self, now: SystemTime) -> Option<String> {
        let ran_out = |certificate: &Certificate| {
            let date = httpdate::fmt_http_date(certificate.not_after);
            format!("{}: it has expired on {date}; renew it", certificate.place.certificate.display())
        };
        let served = self.certificate.as_ref().filter(|certificate| now >= certificate.not_after);
        self.problem.as_ref().map(ToString::to_string).or_else(|| served.map(|served| ran_out(served)))
    }
}

fn view(place: &Place, known: &Known, now: SystemTime) -> CertificateView {
    let certificate = known.certificate.as_deref();
    let (source, site) = match &place.source {
        Source::Site { site, .. } => ("site", &**site),
        Source::Folder => ("folder", ""),
        Source::Acme => ("acme", ""),
    };
    CertificateView {
        file: place.certificate.display().to_string(),
        key: place.key().display().to_string(),
        source: source.to_owned(),
        site: site.to_owned(),
        serving: certificate.is_some(),
        read: !known.is_unread,
        names: match certificate {
            Some(certificate) => certificate.names.iter().map(ToString::to_string).collect(),
            None => place.expected(),
        },
        issuer: certificate.map_or_else(String::new, |certificate| certificate.issuer.to_string()),
        not_before_ms: certificate.map_or(0, |certificate| millis(certificate.not_before)),
        not_after_ms: certificate.map_or(0, |certificate| millis(certificate.not_after)),
        problem: known.problem_at(now).unwrap_or_default(),
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
