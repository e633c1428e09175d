//! An open-loop recording client.
//!
//! It sends at a fixed rate whatever happens: a slow answer never delays the next request, and waits are counted
//! from the moment at which a request was meant to be sent. It is bounded in count and time, never sends a
//! request twice, and hides nothing: what a reader would have seen as an error is recorded as one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use super::clock::{Moment, Pace};
use super::history::{Answer, Kind, Outcome, Record};
use super::stand_in::{EPOCH, INSTANCE, READER_REQUEST};

/// How much of an unwanted answer's body is kept.
const MOST_COMPLAINT: usize = 2_048;

/// What readers do.
#[derive(Clone, Debug)]
pub struct Load {
    /// The proxy.
    pub target: SocketAddr,
    /// The sites that they ask for, in turn; at least one.
    pub hosts: Vec<String>,
    /// The path, with its query.
    pub path: String,
    /// Requests a second; at least 1.
    pub rate: u32,
    /// Requests in total.
    pub count: u64,
    /// The number of the first: several groups of readers count apart.
    pub first: u64,
    /// Every so-manieth request is a POST; 0 for none.
    pub write_every: u64,
    /// A request without a whole answer after this has failed.
    pub timeout: Duration,
    /// Idle connections that are kept for the next requests; others are opened as needed.
    pub keep: usize,
}

impl Load {
    /// Readers of one site: 200 requests a second, one in ten a POST, for `time`.
    pub fn of_readers(target: SocketAddr, host: &str, time: Duration) -> Self {
        let rate = 200;
        Self {
            target,
            hosts: vec![host.to_owned()],
            path: "/".into(),
            rate,
            count: (time.as_secs_f64() * f64::from(rate)).round() as u64,
            first: 0,
            write_every: 10,
            timeout: Duration::from_secs(30),
            keep: 32,
        }
    }

    /// The site that this one asks for.
    pub fn host(&self, number: u64) -> &str {
        &self.hosts[(number % self.hosts.len() as u64) as usize]
    }
}

/// Readers at work.
#[derive(Debug)]
pub struct Readers {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Readers {
    /// Sends the readers out on the current runtime, over HTTP/1.1.
    pub fn start(load: Load) -> Self {
        Self::start_by(load, Http1::default())
    }

    /// The same, by another way of asking.
    pub fn start_by(load: Load, way: impl Way) -> Self {
        let shared = Arc::new(Shared {
            load,
            records: Mutex::default(),
            stop: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            writes_in_flight: AtomicUsize::new(0),
        });
        Self { task: tokio::spawn(send_out(shared.clone(), Arc::new(way))), shared }
    }

    /// Looks at the records so far.
    pub fn look<T>(&self, at: impl FnOnce(&[Record]) -> T) -> T {
        at(&lock(&self.shared.records))
    }

    /// Requests that have begun and have no end yet.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Those of them that are POSTs.
    pub fn writes_in_flight(&self) -> usize {
        self.shared.writes_in_flight.load(Ordering::Relaxed)
    }

    /// Waits for a moment without a POST in flight, for at most a second.
    ///
    /// A POST that is inside an instance when it is killed has an unknown outcome, and no proxy can repair
    /// that. A run that demands that no POST fails kills between two of them.
    pub async fn no_write_in_flight(&self) {
        let limit = Moment::now() + Duration::from_secs(1);
        while self.writes_in_flight() > 0 && Moment::now() < limit {
            tokio::task::yield_now().await;
        }
    }

    /// Sends nothing more; what is in flight goes on.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until everything was sent and has ended; all records, in the order of their numbers.
    pub async fn finish(self) -> Vec<Record> {
        if let Err(error) = self.task.await {
            std::panic::resume_unwind(error.into_panic());
        }
        let mut records = std::mem::take(&mut *lock(&self.shared.records));
        records.sort_unstable_by_key(|record| record.number);
        records
    }
}

#[derive(Debug)]
struct Shared {
    load: Load,
    records: Mutex<Vec<Record>>,
    stop: AtomicBool,
    in_flight: AtomicUsize,
    writes_in_flight: AtomicUsize,
}

/// How a request is made.
pub trait Way: Send + Sync + 'static {
    /// Asks once, and waits for the whole answer; or says in a few words what a reader would have seen instead.
    fn ask(
        &self,
        load: &Load,
        number: u64,
        kind: Kind,
    ) -> impl Future<Output = Result<Answer, String>> + Send;
}

/// Over kept connections, one request at a time on each.
#[derive(Debug, Default)]
struct Http1 {
    idle: Mutex<Vec<Connection>>,
}

type Connection = SendRequest<Full<Bytes>>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send_out(shared: Arc<Shared>, way: Arc<impl Way>) {
    let load = &shared.load;
    let mut pace = Pace::start(load.rate, load.count);
    let mut requests = JoinSet::new();
    let mut number = load.first;
    while let Some(intended) = pace.next().await {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        requests.spawn(one(shared.clone(), way.clone(), number, intended));
        number += 1;
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

async fn one(shared: Arc<Shared>, way: Arc<impl Way>, number: u64, intended: Moment) {
    let load = &shared.load;
    let kind = match load.write_every {
        0 => Kind::Read,
        every if number % every == every - 1 => Kind::Write,
        _ => Kind::Read,
    };
    let writing = usize::from(kind == Kind::Write);
    shared.in_flight.fetch_add(1, Ordering::Relaxed);
    shared.writes_in_flight.fetch_add(writing, Ordering::Relaxed);
    let started = Moment::now();
    let attempt = tokio::time::timeout(load.timeout, way.ask(load, number, kind)).await;
    let outcome = match attempt {
        Ok(Ok(answer)) => Outcome::Answered(answer),
        Ok(Err(reason)) => Outcome::Failed(reason),
        Err(_) => Outcome::Failed(format!("no answer within {:?}", load.timeout)),
    };
    lock(&shared.records).push(Record { number, kind, intended, started, ended: Moment::now(), outcome });
    shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    shared.writes_in_flight.fetch_sub(writing, Ordering::Relaxed);
}

impl Way for Http1 {
    async fn ask(&self, load: &Load, number: u64, kind: Kind) -> Result<Answer, String> {
        let host = load.host(number);
        let request = Request::builder().uri(&load.path).header(HOST, host);
        let mut request = of_kind(request, number, kind)?;
        loop {
            let mut connection = self.connection(load).await?;
            let response = match connection.try_send_request(request).await {
                Ok(response) => response,
                // An idle connection that turned out to be closed: nothing was sent, so this is no second attempt.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => {
                        request = unsent;
                        continue;
                    }
                    None => return Err(reason(&error.into_error())),
                },
            };
            let answer = whole(response).await?;
            self.keep(load, connection);
            return Ok(answer);
        }
    }
}

impl Http1 {
    /// An idle connection that is still open, or a fresh one.
    async fn connection(&self, load: &Load) -> Result<Connection, String> {
        loop {
            let idle = lock(&self.idle).pop();
            let Some(mut idle) = idle else { break };
            if idle.ready().await.is_ok() {
                return Ok(idle);
            }
        }
        let stream =
            TcpStream::connect(load.target).await.map_err(|error| format!("connect: {}", error.kind()))?;
        let _ = stream.set_nodelay(true);
        let (connection, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| reason(&error))?;
        // Its errors are told to the request in flight.
        tokio::spawn(driver);
        Ok(connection)
    }

    fn keep(&self, load: &Load, connection: Connection) {
        let mut idle = lock(&self.idle);
        if idle.len() < load.keep && !connection.is_closed() {
            idle.push(connection);
        }
    }
}

/// A request of this kind, with its number; where it goes is said already.
///
/// # Errors
/// If that can't be said in a request.
pub fn of_kind(
    request: http::request::Builder,
    number: u64,
    kind: Kind,
) -> Result<Request<Full<Bytes>>, String> {
    let (method, body) = match kind {
        Kind::Read => (Method::GET, Bytes::new()),
        Kind::Write => (Method::POST, Bytes::from_static(b"change=1")),
    };
    let request = request.method(method).header(READER_REQUEST, number).body(Full::new(body));
    request.map_err(|error| format!("not a request: {error}"))
}

/// An answer whose head has just come, when all of it has.
///
/// # Errors
/// If it breaks off.
pub async fn whole(response: http::Response<Incoming>) -> Result<Answer, String> {
    let arrived = Moment::now();
    let (head, mut body) = response.into_parts();
    let mut complaint = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "the answer's body broke off".to_owned())?;
        if let Ok(data) = frame.into_data()
            && !head.status.is_success()
        {
            let room = MOST_COMPLAINT - complaint.len();
            complaint.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(Answer {
        head: arrived,
        status: head.status.as_u16(),
        instance: text(&head.headers, INSTANCE),
        epoch: text(&head.headers, EPOCH).and_then(|epoch| epoch.parse().ok()),
        retry_after: text(&head.headers, RETRY_AFTER.as_str()),
        complaint: String::from_utf8_lossy(&complaint).into_owned(),
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// What a reader would have seen of an error.
pub fn reason(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() {
        "connection closed without an answer".into()
    } else if error.is_parse() {
        "not HTTP".into()
    } else {
        use std::error::Error;
        let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
        cause.map_or_else(|| error.to_string(), |cause| format!("connection: {}", cause.kind()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::history::{Waits, failures};
    use super::super::processes::Reserved;
    use super::*;

    /// Answers every request after `delay`; says how many connections it has had.
    async fn answers_after(delay: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut request = [0; 4_096];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        tokio::time::sleep(delay).await;
                        let answer = b"HTTP/1.1 200 OK\r\nX-Instance: A\r\nContent-Length: 2\r\n\r\nok";
                        stream.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        (address, connections)
    }

    fn load(target: SocketAddr) -> Load {
        Load { rate: 500, count: 50, ..Load::of_readers(target, "blog.example", Duration::ZERO) }
    }

    #[tokio::test]
    async fn a_slow_answer_never_delays_the_next_request() {
        let (target, _) = answers_after(Duration::from_millis(400)).await;
        let records = Readers::start(load(target)).finish().await;
        assert_eq!(records.len(), 50);
        let first_end = records.iter().map(|record| record.ended).min().unwrap();
        // 50 requests at 500 a second take 100 ms to send: all have begun before the first has ended.
        assert!(records.iter().all(|record| record.started < first_end));
        assert!(Waits::of(&records).percentile(1.0) >= Duration::from_millis(400));
    }

    #[tokio::test]
    async fn connections_are_kept_and_one_in_ten_is_a_post() {
        let (target, connections) = answers_after(Duration::ZERO).await;
        let records = Readers::start(load(target)).finish().await;
        let (reads, writes) = (failures(&records, Kind::Read), failures(&records, Kind::Write));
        assert_eq!((reads.of, reads.count(), writes.of, writes.count()), (45, 0, 5, 0));
        assert!(connections.load(Ordering::Relaxed) < 50);
        let instance = |record: &Record| record.answer().and_then(|answer| answer.instance.clone());
        assert!(records.iter().all(|record| instance(record).as_deref() == Some("A")));
    }

    #[tokio::test]
    async fn a_request_that_nobody_answers_is_a_recorded_failure() {
        let unused = Reserved::any().unwrap();
        let records = Readers::start(load(unused.address)).finish().await;
        assert_eq!(failures(&records, Kind::Read).to_string(), "45 of 45 (45 x connect: connection refused)");

        let (slow, _) = answers_after(Duration::from_secs(60)).await;
        let load = Load { count: 1, timeout: Duration::from_millis(50), ..load(slow) };
        let records = Readers::start(load).finish().await;
        assert_eq!(failures(&records, Kind::Read).to_string(), "1 of 1 (1 x no answer within 50ms)");
    }

    #[tokio::test]
    async fn stopped_readers_send_nothing_more_and_end_what_they_began() {
        let (target, _) = answers_after(Duration::from_millis(20)).await;
        let readers = Readers::start(Load { count: u64::MAX, ..load(target) });
        while readers.look(<[Record]>::is_empty) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        readers.stop();
        let records = readers.finish().await;
        assert!(records.iter().all(Record::succeeded));
    }
}
