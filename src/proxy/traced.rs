//! What the trace of a request says of it, in the words of OpenTelemetry's conventions where there are any.

use std::time::{Duration, Instant};

use http::StatusCode;
use opentelemetry::KeyValue;

use crate::core::Pin;
use crate::gate::ReasonInWords;
use crate::http1::RequestHead;
use crate::observe::trace::{Step, Trace, Tracer, millis, number};

use super::headers::Peer;
use super::line::said;

/// A trace that has not ended, and what it is going to say.
#[derive(Debug)]
pub struct Traced {
    /// Its steps.
    pub trace: Box<Trace>,
    method: String,
    attributes: Vec<KeyValue>,
    failed: bool,
    /// Body bytes of the answer, so far.
    pub bytes: u64,
}

impl Traced {
    /// Begins one, if the request is chosen.
    pub fn begin(tracer: &Tracer, head: &RequestHead, peer: &Peer) -> Option<Box<Self>> {
        // Who asks for a trace has it made: that is for those who are believed.
        let trace = tracer.begin(|name| peer.is_trusted().then(|| said(head, name)).flatten())?;
        let method = head.method.as_str().to_owned();
        let attributes = vec![
            KeyValue::new("http.request.method", method.clone()),
            KeyValue::new("server.address", head.host().to_owned()),
            KeyValue::new("url.path", head.path().to_owned()),
            KeyValue::new("client.address", peer.address().to_string()),
        ];
        Some(Box::new(Self { trace, method, attributes, failed: false, bytes: 0 }))
    }

    /// It has waited at the gate.
    pub fn held(&self, began: Instant, before: ReasonInWords, after: ReasonInWords, failed: Option<&str>) {
        let mut attributes = vec![
            KeyValue::new("ghostpin.phase", before.phase),
            KeyValue::new("ghostpin.phase_after", after.phase),
        ];
        attributes.extend(after.cause.map(|cause| KeyValue::new("ghostpin.cause", cause)));
        self.trace.step(Step::Held, began, attributes, failed);
    }

    /// An attempt is over.
    pub fn attempted(&self, began: Instant, attempt: u32, backend: String, failed: Option<&str>) {
        let attributes = vec![
            KeyValue::new("ghostpin.attempt", i64::from(attempt)),
            KeyValue::new("ghostpin.backend", backend),
        ];
        self.trace.step(Step::Attempt, began, attributes, failed);
    }

    /// There is an answer.
    pub fn answered(&mut self, status: StatusCode, refusal: Option<&'static str>, held: Duration) {
        self.failed = status.is_server_error();
        self.attributes.extend([
            KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
            KeyValue::new("ghostpin.held_ms", millis(held)),
        ]);
        self.attributes.extend(refusal.map(|refusal| KeyValue::new("ghostpin.refusal", refusal)));
    }

    /// Whose request it is, and who has answered it.
    pub fn belongs_to(&mut self, request_id: &str, site: Option<&str>, pin: Option<&Pin>) {
        self.attributes.push(KeyValue::new("ghostpin.request_id", request_id.to_owned()));
        self.attributes.extend(site.map(|site| KeyValue::new("ghostpin.site", site.to_owned())));
        if let Some(pin) = pin {
            self.attributes.push(KeyValue::new("ghostpin.epoch", number(pin.epoch.0)));
            self.attributes.push(KeyValue::new("ghostpin.backend", pin.backend.to_string()));
        }
    }

    /// It is over.
    pub fn end(self, broken_off: bool) {
        let Self { trace, method, mut attributes, failed, bytes } = self;
        attributes.push(KeyValue::new("http.response.body.size", number(bytes)));
        if broken_off {
            attributes.push(KeyValue::new("ghostpin.broken_off", true));
        }
        trace.end(method, attributes, failed || broken_off);
    }
}
