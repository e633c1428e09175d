//! One line a request: who answered it, under which epoch, and how long it was held.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use crate::core::{Pin, SiteName};

/// A line in the making. It is written when the answer's last byte is through.
#[derive(Debug)]
pub struct Record {
    /// Who asked.
    pub client: IpAddr,
    /// How.
    pub method: Method,
    /// For what: the host as sent.
    pub host: Box<str>,
    /// For what: the path. Queries stay out of the log, for they carry keys and sign-in tokens.
    pub path: Box<str>,
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
}

impl Record {
    /// Writes the line.
    pub fn write(&self) {
        tracing::info!(
            target: "ghostpin::access",
            client = %self.client,
            method = %self.method,
            host = %self.host,
            path = %self.path,
            status = self.status.as_u16(),
            bytes = self.bytes,
            ms = self.began.elapsed().as_millis() as u64,
            held_ms = self.held.as_millis() as u64,
            attempts = self.attempts,
            site = self.site.as_ref().map(SiteName::as_str),
            epoch = self.pin.as_ref().map(|pin| pin.epoch.0),
            backend = self.pin.as_ref().map(|pin| tracing::field::display(&pin.backend)),
            refusal = self.refusal,
            broken_off = self.broken_off,
            request_id = %self.request_id,
            "access"
        );
    }
}
