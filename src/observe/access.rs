//! One line a request: who answered it, under which epoch, and how long it was held.
//!
//! Lines go to the log with everything else, or to a place of their own. Either way a worker hands them over and goes on.

pub mod form;
pub mod out;

use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Version};
use tracing_appender::non_blocking::NonBlocking;

use crate::config::Share;
use crate::core::{Pin, SiteName};
use form::Form;

/// A line in the making. It is written when the answer's last byte is through.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who asked.
    pub client: IpAddr,
    /// How.
    pub method: Method,
    /// For what: the host as sent.
    pub host: Box<str>,
    /// For what: the path. Queries stay out of the log, for they carry keys and sign-in tokens.
    pub path: Box<str>,
    /// In which version of HTTP.
    pub version: Version,
    /// From which page, if that is logged: its address without the query.
    pub referer: Option<Box<str>>,
    /// With which program, if that is logged.
    pub user_agent: Option<Box<str>>,
    /// The request's id.
    pub request_id: Box<str>,
    /// The site, if the host belongs to one.
    pub site: Option<SiteName>,
    /// Who answered.
    pub pin: Option<Arc<Pin>>,
    /// What was answered.
    pub status: StatusCode,
    /// Why ghostpin answered itself, if it did.
    pub refusal: Option<&'static str>,
    /// Body bytes of the answer.
    pub bytes: u64,
    /// When the request came.
    pub began: Instant,
    /// How long it was held at the gate.
    pub held: Duration,
    /// How often it left the gate.
    pub attempts: u32,
    /// The answer did not go through to its end.
    pub broken_off: bool,
    /// Of those that are like nearly all others, how many leave a line.
    pub share: Share,
}

impl Record {
    /// Whether it is more than one of many: those leave a line in any case.
    fn is_notable(&self) -> bool {
        self.status.as_u16() >= 400
            || self.refusal.is_some()
            || !self.held.is_zero()
            || self.attempts > 1
            || self.broken_off
    }
}

/// Where lines go. Each worker has its own.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Option<Own>);

/// A place of their own.
#[derive(Clone, Debug)]
struct Own {
    form: Form,
    lines: RefCell<NonBlocking>,
}

impl AccessLog {
    /// To a place of their own; by default, they go to the log.
    pub fn new(form: Form, lines: NonBlocking) -> Self {
        Self(Some(Own { form, lines: RefCell::new(lines) }))
    }

    /// Whether lines say from which page and with which program.
    pub fn tells_more(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a line over, if it is wanted.
    pub fn write(&self, record: &Record) {
        if !record.is_notable() && !record.share.takes(&record.request_id) {
            return;
        }
        match &self.0 {
            Some(own) => {
                // It never fails: what there is no room for is counted.
                let _ = own.lines.borrow_mut().write_all(&own.form.write(record));
            }
            None => to_the_log(record),
        }
    }
}

fn to_the_log(record: &Record) {
    tracing::info!(
        target: "ghostpin::access",
        client = %record.client,
        method = %record.method,
        host = %record.host,
        path = %form::Readable(&record.path),
        status = record.status.as_u16(),
        bytes = record.bytes,
        ms = record.began.elapsed().as_millis() as u64,
        held_ms = record.held.as_millis() as u64,
        attempts = record.attempts,
        site = record.site.as_ref().map(SiteName::as_str),
        epoch = record.pin.as_ref().map(|pin| pin.epoch.0),
        backend = record.pin.as_ref().map(|pin| tracing::field::display(&pin.backend)),
        refusal = record.refusal,
        broken_off = record.broken_off,
        request_id = %record.request_id,
        "access"
    );
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of many.
    pub(crate) fn record(status: u16) -> Record {
        Record {
            client: IpAddr::from([192, 0, 2, 1]),
            method: Method::GET,
            host: "blog.example".into(),
            path: "/".into(),
            version: Version::HTTP_11,
            referer: None,
            user_agent: None,
            request_id: "id".into(),
            site: None,
            pin: None,
            status: StatusCode::from_u16(status).unwrap(),
            refusal: None,
            bytes: 7,
            began: Instant::now(),
            held: Duration::ZERO,
            attempts: 1,
            broken_off: false,
            share: Share::NONE,
        }
    }

    #[test]
    fn errors_and_what_was_held_retried_or_broken_off_always_leave_a_line() {
        assert!(!record(200).is_notable() && !record(304).is_notable());
        for notable in [
            record(404),
            record(502),
            Record { refusal: Some("left"), ..record(200) },
            Record { held: Duration::from_millis(1), ..record(200) },
            Record { attempts: 2, ..record(200) },
            Record { broken_off: true, ..record(200) },
        ] {
            assert!(notable.is_notable(), "{notable:?}");
        }
    }
}
