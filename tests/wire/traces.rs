//! What a collector of traces is told, and what backends are.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::harness::{Backend, Config, Proxy, until};

/// Takes what is sent to it.
struct Collector {
    backend: Backend,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn new() -> Self {
        let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let taken = bodies.clone();
        let backend = Backend::with("collector", move |head, conn| {
            taken.lock().unwrap().push(conn.body(head));
            conn.answer_with(200, "content-type: application/x-protobuf\r\n", "");
        });
        Self { backend, bodies }
    }

    /// Of one site, with `share` of its requests traced.
    fn config(&self, a: &Backend, share: f32, server: &str) -> Config {
        let mut config = Config::of(&[a]);
        config.server = format!("threads = 1\n{server}");
        let address = &self.backend.address;
        config.log = format!("[traces]\nendpoint = 'http://{address}/v1/traces'\nshare = {share}");
        config
    }

    fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies.lock().unwrap();
        let requests = bodies.iter().map(|body| ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
        let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|one| one.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The spans of one request, as soon as it was told of. There is no other one.
    #[track_caller]
    fn of_the_request(&self) -> Vec<Span> {
        until("the collector is told", || !self.spans().is_empty());
        let spans = self.spans();
        assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id), "{spans:#?}");
        spans
    }
}

#[track_caller]
fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "two of {name} in {spans:#?}");
    span
}

fn lasted(span: &Span) -> Duration {
    Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano)
}

fn said(span: &Span, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.clone()
}

fn text(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_held_request_is_told_with_how_long_it_was_held_and_why() {
    let (a, collector) = (Backend::named("A"), Collector::new());
    let proxy = Proxy::start(&collector.config(&a, 1.0, ""));
    proxy.hold();
    let asked = Instant::now();
    let held = proxy.get_meanwhile("/held?key=secret");
    until("it is held", || proxy.held() == 1);
    let seen = Instant::now();
    until("it was held for a while", || seen.elapsed() > Duration::from_millis(50));
    let at_least = seen.elapsed();
    proxy.release();
    assert_eq!(held.join().unwrap().status, 200);
    let at_most = asked.elapsed();

    let spans = collector.of_the_request();
    let request = named(&spans, "GET");
    assert!(request.parent_span_id.is_empty());
    assert_eq!(said(request, "ghostpin.site"), text("a"));
    assert_eq!(said(request, "url.path"), text("/held"));
    assert_eq!(said(request, "http.response.status_code"), Some(Value::IntValue(200)));
    let held = named(&spans, "held");
    assert!((at_least..=at_most).contains(&lasted(held)), "{at_least:?}, {:?}, {at_most:?}", lasted(held));
    let Some(Value::DoubleValue(held_ms)) = said(request, "ghostpin.held_ms") else { panic!("{request:#?}") };
    assert!(held_ms >= at_least.as_secs_f64() * 1e3, "{held_ms}");
    assert_eq!(said(held, "ghostpin.cause"), text("hold"));
    assert_eq!(said(held, "ghostpin.phase_after"), text("serving"));
    assert!(matches!(said(held, "ghostpin.phase"), Some(Value::StringValue(phase)) if phase != "serving"));

    let attempt = named(&spans, "attempt");
    assert_eq!(said(attempt, "ghostpin.backend"), text(&a.address));
    for (below, above) in [(held, request), (attempt, request)] {
        assert_eq!(below.parent_span_id, above.span_id);
    }
    for part in ["connect", "wait for the answer"] {
        assert_eq!(named(&spans, part).parent_span_id, attempt.span_id, "{part}");
    }
    let told = format!("00-{}-{}-01", hex(&request.trace_id), hex(&attempt.span_id));
    assert_eq!(a.only_request().field("traceparent"), Some(told.as_str()), "the backend goes on with it");
    let bodies = collector.bodies.lock().unwrap();
    assert!(!bodies.iter().any(|body| String::from_utf8_lossy(body).contains("secret")), "queries stay here");
}

#[test]
fn an_attempt_that_came_to_nothing_is_told_beside_the_one_that_had_an_answer() {
    let (a, collector) = (Backend::named("A"), Collector::new());
    let proxy = Proxy::start(&collector.config(&a, 1.0, ""));
    let first = Mutex::new(true);
    a.does(move |_, conn| match std::mem::take(&mut *first.lock().unwrap()) {
        true => conn.close(),
        false => conn.answer(200, "well"),
    });
    assert_eq!(proxy.get("/").text(), "well");
    let spans = collector.of_the_request();
    let mut attempts: Vec<&Span> = spans.iter().filter(|span| span.name == "attempt").collect();
    attempts.sort_by_key(|span| span.start_time_unix_nano);
    let [lost, well] = attempts.as_slice() else { panic!("{spans:#?}") };
    let why = |span: &Span| span.status.as_ref().map(|status| status.message.clone()).unwrap_or_default();
    assert_eq!((why(lost).as_str(), why(well).as_str()), ("it closed the connection", ""));
    assert_eq!(said(well, "ghostpin.attempt"), Some(Value::IntValue(2)));
}

#[test]
fn a_trace_of_a_trusted_proxy_goes_on() {
    let (a, collector) = (Backend::named("A"), Collector::new());
    let proxy = Proxy::start(&collector.config(&a, 0.0, "trusted_proxies = ['127.0.0.1']"));
    let mut client = proxy.client();
    assert_eq!(client.get("a.test", "/not-chosen").status, 200);
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    client.send(format!(
        "GET /chosen HTTP/1.1\r\nHost: a.test\r\nTraceparent: 00-{trace}-{parent}-01\r\nTracestate: v=1\r\n\r\n"
    ));
    assert_eq!(client.response().status, 200);
    let spans = collector.of_the_request();
    let request = named(&spans, "GET");
    assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (trace.to_owned(), parent.to_owned()));
    let [not_chosen, chosen] = &a.requests()[..] else { panic!("two requests") };
    assert_eq!(not_chosen.field("traceparent"), None);
    let told = chosen.field("traceparent").expect("one");
    assert_eq!(chosen.count("traceparent"), 1);
    assert!(told.starts_with(&format!("00-{trace}-")) && !told.contains(parent), "{told}");
    assert_eq!(chosen.field("tracestate"), Some("v=1"));
}

#[test]
fn a_stranger_neither_chooses_nor_names_a_trace() {
    let (a, collector) = (Backend::named("A"), Collector::new());
    let proxy = Proxy::start(&collector.config(&a, 1.0, ""));
    let mut client = proxy.client();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\nTraceparent: 00-{trace}-00f067aa0ba902b7-00\r\nTracestate: v=1\r\n\r\n"
    ));
    assert_eq!(client.response().status, 200);
    let spans = collector.of_the_request();
    assert_ne!(hex(&named(&spans, "GET").trace_id), trace);
    let seen = a.only_request();
    assert_eq!((seen.count("traceparent"), seen.count("tracestate")), (1, 0));
    assert!(!seen.field("traceparent").unwrap().contains(trace));
}

#[test]
fn where_nothing_is_traced_the_fields_pass_as_they_came() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nTraceparent: as-it-came\r\nTracestate: v=1\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let seen = a.only_request();
    assert_eq!((seen.field("traceparent"), seen.field("tracestate")), (Some("as-it-came"), Some("v=1")));
}

#[test]
fn a_collector_that_is_not_there_keeps_no_reader_waiting() {
    let (a, mut collector) = (Backend::named("A"), Collector::new());
    let proxy = Proxy::start(&collector.config(&a, 1.0, ""));
    collector.backend.stop();
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
    until("what was to be sent is counted as dropped", || {
        proxy.metric("ghostpin_trace_spans_dropped_total") >= 10
    });
    assert_eq!(proxy.metric("ghostpin_trace_spans_sent_total"), 0);
}
