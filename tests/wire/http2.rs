//! Cleartext HTTP/2 from clients who know that it is spoken here, HTTP/1.1 to backends.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Mutex, mpsc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::harness::{Backend, Config, PATIENCE, Proxy, until};

pub(crate) type Body = BoxBody<Bytes, std::convert::Infallible>;

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

type Connected = (SendRequest<Body>, tokio::task::JoinHandle<hyper::Result<()>>);

async fn connect(proxy: &Proxy) -> Connected {
    connect_at(proxy.address).await
}

pub(crate) async fn connect_at(address: SocketAddr) -> Connected {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

/// A client that takes no more of an answer than this many bytes, until it reads them.
pub(crate) async fn connect_with_window(address: SocketAddr, bytes: u32) -> SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) =
        builder.initial_stream_window_size(bytes).handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://a.test{path}")).body(Empty::new().boxed()).unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[test]
fn a_request_of_http_2_reaches_the_backend_as_one_of_http_1_1() {
    let a = Backend::with("A", |_, conn| {
        conn.answer_with(200, "x-field: back\r\nconnection: keep-alive\r\n", "body")
    });
    let proxy = Proxy::start(&Config::of(&[&a]));
    run(async {
        let (mut sender, _) = connect(&proxy).await;
        let mut request = get("/path?query");
        request.headers_mut().append("cookie", "a=1".parse().unwrap());
        request.headers_mut().append("cookie", "b=2".parse().unwrap());
        request.headers_mut().append("x-field", "there".parse().unwrap());
        let response = sender.send_request(request).await.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 200));
        assert_eq!(response.headers()["x-field"], "back");
        assert_eq!(text(response).await, "body");
    });
    let seen = a.only_request();
    assert_eq!(seen.line, "GET /path?query HTTP/1.1");
    assert_eq!((seen.field("host"), seen.count("host")), (Some("a.test"), 1));
    assert_eq!((seen.field("cookie"), seen.count("cookie")), (Some("a=1; b=2"), 1));
    assert_eq!(seen.field("x-field"), Some("there"));
}

#[test]
fn bodies_and_trailers_of_http_2_pass_both_ways() {
    let a = Backend::with("A", |_, conn| {
        let (body, trailers) = conn.reader.chunked().unwrap();
        let sum = trailers.iter().find(|(name, _)| name == "x-sum").map_or("none", |(_, value)| value);
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-echo\r\n\r\n");
        conn.send(format!("{:x}\r\n", body.len()));
        conn.send(&body);
        conn.send(format!("\r\n0\r\nx-echo: {sum}\r\n\r\n"));
    });
    let proxy = Proxy::start(&Config::of(&[&a]));
    run(async {
        let (mut sender, _) = connect(&proxy).await;
        let sent = Bytes::from(vec![b'x'; 300_000]);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        let frames = [Frame::data(sent.clone()), Frame::trailers(trailers)];
        let body = Frames(frames.into_iter()).boxed();
        let request = Request::post("http://a.test/").header("trailer", "x-sum").header("te", "trailers");
        let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(
            collected.trailers().map(|trailers| trailers["x-echo"].clone()),
            Some("42".parse().unwrap())
        );
        assert_eq!(collected.to_bytes(), sent);
    });
}

/// A body of frames that are all there.
struct Frames<I>(I);

impl<I: Iterator<Item = Frame<Bytes>> + Unpin> hyper::body::Body for Frames<I> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.next().map(Ok))
    }
}

#[test]
fn many_streams_of_one_connection_are_served_at_once() {
    let a = Backend::with("A", |head, conn| {
        let path = head.path().to_owned();
        conn.answer(200, &path);
    });
    let proxy = Proxy::start(&Config::of(&[&a]));
    run(async {
        let (sender, _) = connect(&proxy).await;
        let mut all = tokio::task::JoinSet::new();
        for number in 0..300 {
            let mut sender = sender.clone();
            all.spawn(async move {
                sender.ready().await.unwrap();
                let response = sender.send_request(get(&format!("/{number}"))).await.unwrap();
                assert_eq!(text(response).await, format!("/{number}"));
            });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap();
        }
    });
    until("no lease is left", || proxy.in_flight() == 0);
}

#[test]
fn a_stream_that_is_reset_while_held_is_forgotten_and_the_others_stay() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).limits("keep_alive_timeout = '400ms'"));
    proxy.hold();
    run(async {
        let (mut sender, connection) = connect(&proxy).await;
        let stays = tokio::spawn(sender.send_request(get("/stays")));
        let leaves = tokio::spawn(sender.send_request(get("/leaves")));
        let body = Full::new(Bytes::from(vec![b'x'; 200_000])).boxed();
        let upload = Request::post("http://a.test/upload").body(body).unwrap();
        let upload = tokio::spawn(sender.send_request(upload));
        until_held(&proxy, 3).await;
        leaves.abort();
        until_held(&proxy, 2).await;
        upload.abort();
        until_held(&proxy, 1).await;
        proxy.release();
        assert_eq!(text(stays.await.unwrap().unwrap()).await, "A GET 0");
        // Nothing that was reset keeps the connection from being idle.
        connection.await.unwrap().unwrap();
    });
    assert_eq!(a.only_request().path(), "/stays");
}

async fn until_held(proxy: &Proxy, count: u64) {
    while proxy.held() != count {
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
}

#[test]
fn a_get_of_http_2_is_held_and_answered_by_the_new_backend() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    proxy.until_well(&b);
    proxy.hold();
    run(async {
        let (mut sender, _) = connect(&proxy).await;
        let answer = tokio::spawn(sender.send_request(get("/")));
        until_held(&proxy, 1).await;
        assert_eq!(proxy.handoff(&b).0, 200);
        assert_eq!(text(answer.await.unwrap().unwrap()).await, "B GET 0");
    });
}

#[test]
fn a_stop_says_goaway_and_lets_streams_under_way_end() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let a = Backend::with("A", move |_, conn| {
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        conn.answer(200, "finished");
    });
    let mut proxy = Proxy::start(&Config::of(&[&a]));
    run(async {
        let (mut sender, connection) = connect(&proxy).await;
        let answer = tokio::spawn(sender.send_request(get("/")));
        while a.count() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        proxy.signal(Signal::TERM);
        until("it is stopping", || std::net::TcpStream::connect(proxy.address).is_err());
        go_on.send(()).unwrap();
        assert_eq!(text(answer.await.unwrap().unwrap()).await, "finished");
        // This side would keep the connection: it ends because the other side has said that it is over.
        connection.await.unwrap().unwrap();
        drop(sender);
    });
    until("it has ended", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success());
}

#[test]
fn goaway_is_said_before_the_door_is_shut() {
    let a = Backend::named("A");
    let mut config = Config::of(&[&a]);
    config.server = "shutdown_delay = '10m'".into();
    let proxy = Proxy::start(&config);
    run(async {
        let (mut sender, connection) = connect(&proxy).await;
        assert_eq!(text(sender.send_request(get("/")).await.unwrap()).await, "A GET 0");
        proxy.signal(Signal::TERM);
        // This side would keep the connection.
        tokio::time::timeout(PATIENCE, connection).await.expect("it ends in time").unwrap().unwrap();
        let (mut sender, _connection) = connect(&proxy).await;
        assert_eq!(
            text(sender.send_request(get("/")).await.unwrap()).await,
            "A GET 0",
            "who comes is served"
        );
    });
}

/// Asks for a stream that is a WebSocket (RFC 8441).
pub(crate) fn websocket(host: &str) -> Request<Body> {
    let request = Request::connect(format!("http://{host}/ws"));
    let mut request = request.body(Empty::new().boxed()).unwrap();
    request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request
}

pub(crate) async fn say(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut said = vec![0; text.len()];
    stream.read_exact(&mut said).await.unwrap();
    String::from_utf8(said).unwrap()
}

#[test]
fn a_stream_becomes_a_websocket_of_a_backend_of_http_1_1_until_its_epoch_ends() {
    let (a, b) = (Backend::with("A", crate::tunnel::echo), Backend::with("B", crate::tunnel::echo));
    let config = Config::of(&[&a, &b]).handoff("drain_timeout = '100ms'\nprove_timeout = '5s'");
    let proxy = Proxy::start(&config);
    run(async {
        let (mut sender, _) = connect(&proxy).await;
        let response = sender.send_request(websocket("a.test")).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        assert_eq!(say(&mut stream, "hello").await, "HELLO");
        let seen = a.only_request();
        assert_eq!(
            (seen.line.as_str(), seen.field("sec-websocket-version")),
            ("GET /ws HTTP/1.1", Some("13"))
        );
        assert_eq!(seen.field("sec-websocket-key").map(str::len), Some(24));
        assert_eq!(proxy.in_flight(), 1);

        proxy.until_well(&b);
        let (status, _) = proxy.handoff(&b);
        assert_eq!(status, 200);
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{ended:?}: nothing comes from the old one any more");
        // The connection goes on, and with it the next WebSocket: to the new backend.
        let response = sender.send_request(websocket("a.test")).await.unwrap();
        let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        assert_eq!(say(&mut stream, "again").await, "AGAIN");
        assert_eq!((a.count(), b.count()), (1, 1));
    });
    until("the client has left, and no lease with it", || proxy.in_flight() == 0);
}

#[test]
fn a_page_is_not_taken_for_a_websocket() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    run(async {
        let (mut sender, _) = connect(&proxy).await;
        let response = sender.send_request(websocket("a.test")).await.unwrap();
        assert_eq!(response.status(), 501);
        let mut other = Request::connect("http://a.test/").body(Empty::new().boxed()).unwrap();
        other.extensions_mut().insert(hyper::ext::Protocol::from_static("connect-udp"));
        assert_eq!(sender.send_request(other).await.unwrap().status(), 400);
        assert_eq!(text(sender.send_request(get("/")).await.unwrap()).await, "A GET 0");
    });
}
