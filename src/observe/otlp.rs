//! Sends what was traced to a collector: OTLP over HTTP, many spans at a time, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::KeyValue;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::catalogue::{SPANS_DROPPED, SPANS_SENT};
use super::text::Text;
use super::trace::Tracer;
use crate::config::Traces;

/// Requests that wait to be sent: some megabytes.
const WAITING_MAX: usize = 2_048;
/// Spans that are sent at a time.
const BATCH_MAX: usize = 512;
/// How long the first of them waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// A collector that takes longer is given up, with what it was to take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of the process waits for what is still to be sent.
const END_WAIT: Duration = Duration::from_secs(1);
/// Time between two lines that say why nothing could be sent.
const SILENCE: Duration = Duration::from_secs(60);

/// What the thread is handed.
#[derive(Debug)]
pub enum Message {
    /// All spans of one request.
    Spans(Vec<SpanData>),
    /// Send what there is, and answer.
    End(SyncSender<()>),
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub struct Queue {
    messages: SyncSender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Queue {
    /// A way, and its other end.
    pub fn new() -> (Self, Receiver<Message>) {
        let (messages, received) = mpsc::sync_channel(WAITING_MAX);
        (Self { messages, counts: Arc::default() }, received)
    }

    /// Hands over what there is to tell of one request, or drops it.
    pub fn put(&self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        if self.messages.try_send(Message::Spans(spans)).is_err() {
            self.counts.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// What is sent, for those who look after it. By default, nothing is.
#[derive(Clone, Debug, Default)]
pub struct Traced(Option<Queue>);

impl Traced {
    /// Has what waits sent, or gives that up after a second.
    pub fn end(&self) {
        let Some(queue) = &self.0 else { return };
        let (done, is_done) = mpsc::sync_channel(1);
        if queue.messages.try_send(Message::End(done)).is_ok() {
            let _ = is_done.recv_timeout(END_WAIT);
        }
    }

    /// Writes the metrics.
    pub fn render(&self, text: &mut Text) {
        let of = |count: fn(&Counts) -> &AtomicU64| {
            self.0.as_ref().map_or(0, |queue| count(&queue.counts).load(Ordering::Relaxed))
        };
        text.one(&SPANS_SENT, of(|counts| &counts.sent));
        text.one(&SPANS_DROPPED, of(|counts| &counts.dropped));
    }
}

/// Begins to send, if that is configured.
///
/// # Errors
/// What is needed for it can't be had, in words.
pub fn start(traces: Option<&Traces>) -> Result<(Tracer, Traced), String> {
    let Some(traces) = traces else { return Ok(Default::default()) };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = HttpsConnectorBuilder::new().with_provider_and_platform_verifier(provider);
    let connector = tls.map_err(|error| error.to_string())?.https_or_http().enable_http1().build();
    let builder = SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::new(connector, TIMEOUT, None))
        .with_endpoint(traces.endpoint.to_string())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT);
    let mut exporter = builder.build().map_err(|error| error.to_string())?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    exporter.set_resource(
        &Resource::builder_empty().with_service_name("ghostpin").with_attribute(version).build(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let (queue, received) = Queue::new();
    let counts = queue.counts.clone();
    let sender = Sender { exporter, runtime, counts, said: None };
    let thread = thread::Builder::new().name("traces".to_owned());
    thread.spawn(move || sender.run(&received)).map_err(|error| error.to_string())?;
    Ok((Tracer::new(traces.share, queue.clone()), Traced(Some(queue))))
}

struct Sender {
    exporter: SpanExporter,
    runtime: tokio::runtime::Runtime,
    counts: Arc<Counts>,
    /// When it was said last that nothing could be sent.
    said: Option<Instant>,
}

impl Sender {
    fn run(mut self, received: &Receiver<Message>) {
        while let Ok(first) = received.recv() {
            let mut batch = Vec::new();
            let mut next = Ok(first);
            let until = Instant::now() + BATCH_WAIT;
            let asked = loop {
                match next {
                    Ok(Message::Spans(spans)) => batch.extend(spans),
                    Ok(Message::End(done)) => break Some(done),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break None,
                }
                if batch.len() >= BATCH_MAX {
                    break None;
                }
                next = received.recv_timeout(until.saturating_duration_since(Instant::now()));
            };
            self.send(batch);
            if let Some(done) = asked {
                let _ = done.send(());
            }
        }
    }

    fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        if count == 0 {
            return;
        }
        match self.runtime.block_on(self.exporter.export(batch)) {
            Ok(()) => drop(self.counts.sent.fetch_add(count, Ordering::Relaxed)),
            Err(error) => {
                self.counts.dropped.fetch_add(count, Ordering::Relaxed);
                if self.said.is_none_or(|said| said.elapsed() >= SILENCE) {
                    self.said = Some(Instant::now());
                    tracing::warn!(%error, spans = count, "[traces] endpoint: the collector takes nothing; what was to be sent is dropped");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Share;

    #[test]
    fn a_collector_that_takes_nothing_keeps_nobody_waiting_and_what_it_misses_is_counted() {
        let (queue, _never_read) = Queue::new();
        let tracer = Tracer::new(Share::ALL, queue.clone());
        for _ in 0..WAITING_MAX + 10 {
            tracer.begin(|_| None).expect("all are traced").end("GET".to_owned(), Vec::new(), false);
        }
        let mut text = Text::default();
        Traced(Some(queue)).render(&mut text);
        let text = text.into_string();
        assert!(text.contains("ghostpin_trace_spans_dropped_total 10\n"), "{text}");
    }
}
