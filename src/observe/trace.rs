//! Traces: what becomes of a request, step by step, for a collector that speaks OpenTelemetry. A trace goes on where a trusted
//! proxy has begun it, and goes on in the backend.
//!
//! Of a request that is not chosen, nothing is kept but a null pointer. What is kept of the others is handed over whole when the
//! last byte of the answer is through; what comes when too much waits is dropped, and counted.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceState};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData};

use super::otlp::Queue;
use crate::config::Share;

/// The field that names a trace and a span (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";
/// What vendors add to it.
pub const TRACESTATE: &str = "tracestate";

/// Begins traces, for one worker or for all.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Chosen>>);

/// What is traced, and where it goes.
#[derive(Debug)]
struct Chosen {
    share: Share,
    queue: Queue,
    scope: InstrumentationScope,
}

/// Both fields, as they came.
struct Given<'t> {
    parent: &'t str,
    state: Option<&'t str>,
}

impl Extractor for Given<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.parent),
            TRACESTATE => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

impl Tracer {
    /// Traces this share of the requests, and those that whoever is in front has chosen.
    pub fn new(share: Share, queue: Queue) -> Self {
        let scope = InstrumentationScope::builder("ghostpin").with_version(env!("CARGO_PKG_VERSION")).build();
        Self(Some(Arc::new(Chosen { share, queue, scope })))
    }

    /// A trace for a request that begins. `field` finds what a field of it says, if who sent it is believed.
    pub fn begin<'t>(&self, field: impl Fn(&str) -> Option<Cow<'t, str>>) -> Option<Box<Trace>> {
        let chosen = self.0.as_ref()?;
        let (parent, state) = (field(TRACEPARENT), field(TRACESTATE));
        let given = parent.as_deref().map(|parent| Given { parent, state: state.as_deref() });
        let given =
            given.map(|given| TraceContextPropagator::new().extract_with_context(&Context::new(), &given));
        let parent = given.map(|given| given.span().span_context().clone()).filter(SpanContext::is_valid);
        let ids = RandomIdGenerator::default();
        let (trace_id, is_wanted) = match &parent {
            Some(parent) => (parent.trace_id(), parent.is_sampled()),
            None => {
                let trace_id = ids.new_trace_id();
                (trace_id, chosen.share.is_all() || chosen.share.takes(&trace_id.to_string()))
            }
        };
        if !is_wanted {
            return None;
        }
        let state = parent.as_ref().map(|parent| parent.trace_state().clone()).unwrap_or_default();
        Some(Box::new(Trace {
            own: SpanContext::new(trace_id, ids.new_span_id(), TraceFlags::SAMPLED, false, state),
            parent: parent.map(|parent| parent.span_id()),
            began: (SystemTime::now(), Instant::now()),
            attempt: Cell::new(SpanId::INVALID),
            steps: RefCell::default(),
            chosen: chosen.clone(),
        }))
    }
}

/// The trace of one request.
#[derive(Debug)]
pub struct Trace {
    own: SpanContext,
    /// The span of whoever was in front.
    parent: Option<SpanId>,
    began: (SystemTime, Instant),
    /// The span of the attempt that is under way.
    attempt: Cell<SpanId>,
    /// What is over.
    steps: RefCell<Vec<SpanData>>,
    chosen: Arc<Chosen>,
}

/// A part of the way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Waiting at the gate.
    Held,
    /// One attempt to have an answer, of which there may be several.
    Attempt,
    /// Of an attempt: connecting to the backend.
    Connect,
    /// Of an attempt: sending the request, and waiting for the head of the answer.
    Wait,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Attempt => "attempt",
            Self::Connect => "connect",
            Self::Wait => "wait for the answer",
        }
    }
}

impl Trace {
    /// An attempt begins: what happens until [`Step::Attempt`] is over belongs to it.
    pub fn attempt_begins(&self) {
        self.attempt.set(RandomIdGenerator::default().new_span_id());
    }

    /// What the backend is told: the trace, and the attempt.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.own.trace_id(), self.attempt.get())
    }

    /// Whether what vendors have added belongs to this trace.
    pub fn is_continued(&self) -> bool {
        self.parent.is_some()
    }

    /// A step is over that began then; `failed` says why it came to nothing.
    pub fn step(&self, step: Step, began: Instant, attributes: Vec<KeyValue>, failed: Option<&str>) {
        let (span, parent) = match step {
            Step::Attempt => (self.attempt.get(), self.own.span_id()),
            Step::Held => (RandomIdGenerator::default().new_span_id(), self.own.span_id()),
            Step::Connect | Step::Wait => (RandomIdGenerator::default().new_span_id(), self.attempt.get()),
        };
        let context =
            SpanContext::new(self.own.trace_id(), span, TraceFlags::SAMPLED, false, TraceState::NONE);
        let data = SpanData {
            span_kind: if step == Step::Attempt { SpanKind::Client } else { SpanKind::Internal },
            status: failed.map_or(Status::Unset, |why| Status::error(why.to_owned())),
            ..self.span(context, parent, step.name().into(), began, attributes)
        };
        self.steps.borrow_mut().push(data);
    }

    /// The request is over.
    pub fn end(self, name: String, attributes: Vec<KeyValue>, failed: bool) {
        let parent = self.parent.unwrap_or(SpanId::INVALID);
        let data = SpanData {
            parent_span_is_remote: self.parent.is_some(),
            span_kind: SpanKind::Server,
            status: if failed { Status::error("") } else { Status::Unset },
            ..self.span(self.own.clone(), parent, name.into(), self.began.1, attributes)
        };
        let mut spans = self.steps.into_inner();
        spans.push(data);
        self.chosen.queue.put(spans);
    }

    fn span(
        &self,
        span_context: SpanContext,
        parent_span_id: SpanId,
        name: Cow<'static, str>,
        began: Instant,
        attributes: Vec<KeyValue>,
    ) -> SpanData {
        let (day, since) = self.began;
        let start_time = day + began.saturating_duration_since(since);
        SpanData {
            span_context,
            parent_span_id,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name,
            start_time,
            end_time: start_time + began.elapsed(),
            attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: self.chosen.scope.clone(),
        }
    }
}

/// A number that traces take: they know no unsigned ones.
pub fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// In milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(share: Share) -> (Tracer, std::sync::mpsc::Receiver<super::super::otlp::Message>) {
        let (queue, received) = Queue::new();
        (Tracer::new(share, queue), received)
    }

    fn begun(tracer: &Tracer, parent: Option<&str>) -> Option<Box<Trace>> {
        tracer.begin(|name| parent.filter(|_| name == TRACEPARENT).map(|parent| parent.to_owned().into()))
    }

    #[test]
    fn who_is_in_front_decides_and_the_backend_is_told() {
        let (none, all) = (tracer(Share::NONE).0, tracer(Share::ALL).0);
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let given = |flags: &str| format!("00-{id}-00f067aa0ba902b7-{flags}");
        let trace = begun(&none, Some(&given("01"))).expect("it is wanted");
        trace.attempt_begins();
        let told = trace.traceparent();
        assert!(told.starts_with(&format!("00-{id}-")) && told.ends_with("-01"), "{told}");
        assert!(!told.contains("00f067aa0ba902b7") && trace.is_continued());
        assert!(begun(&all, Some(&given("00"))).is_none(), "it is not wanted");
        for no_parent in [None, Some("00-0-0-01"), Some("nonsense")] {
            assert!(begun(&none, no_parent).is_none());
            assert!(!begun(&all, no_parent).expect("all are").is_continued());
        }
        assert!(begun(&Tracer::default(), Some(&given("01"))).is_none(), "there are no traces at all");
    }

    #[test]
    fn steps_of_an_attempt_are_below_it_and_all_is_below_the_request() {
        let (tracer, received) = tracer(Share::ALL);
        let trace = begun(&tracer, None).unwrap();
        let began = Instant::now();
        trace.step(Step::Held, began, Vec::new(), None);
        trace.attempt_begins();
        trace.step(Step::Connect, began, Vec::new(), Some("refused"));
        trace.step(Step::Attempt, began, Vec::new(), Some("refused"));
        trace.end("GET".to_owned(), Vec::new(), false);
        let Ok(super::super::otlp::Message::Spans(spans)) = received.try_recv() else {
            panic!("all at once")
        };
        let [held, connect, attempt, request] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((held.name.as_ref(), request.name.as_ref()), ("held", "GET"));
        assert_eq!(connect.parent_span_id, attempt.span_context.span_id());
        for below in [held, attempt] {
            assert_eq!(below.parent_span_id, request.span_context.span_id());
        }
        assert_eq!((request.parent_span_id, request.parent_span_is_remote), (SpanId::INVALID, false));
        assert_eq!(attempt.status, Status::error("refused"));
        assert!(spans.iter().all(|span| span.span_context.trace_id() == request.span_context.trace_id()));
    }
}
