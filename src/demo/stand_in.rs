//! A small application that may run only one instance, to stand in for a real one.
//!
//! It keeps its state in its own memory, as Ghost keeps its settings and routes: a POST changes what this
//! instance shows, and no other instance ever learns of it. Every answer names the instance, so a reader can
//! tell whether two of them are being shown. It answers on any path, and has no safeguards of its own: it must
//! listen on loopback addresses only.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};

use super::cli::{StandInArgs, duration};
use super::clock::Moment;
use super::deeds::{Account, Event};
use super::websocket;
use crate::cli::print::complain;

/// Names the instance in every answer.
pub const INSTANCE: &str = "x-instance";

/// What a reader calls its request; goes into the account of what was done.
pub const READER_REQUEST: &str = "x-reader-request";

/// The epoch that a proxy has named; told in the answer.
pub const EPOCH: &str = "x-ghostpin-epoch";

/// The longest delay and the largest body that a request may ask for.
const MOST_DELAY: Duration = Duration::from_secs(60);
const MOST_BYTES: usize = 64 << 20;

/// Runs a stand-in until its process is ended.
///
/// Prints `listening on ADDRESS` as soon as it does. Must be called within a [`tokio::task::LocalSet`].
///
/// # Errors
/// If it can't listen, or its account can't be written.
pub async fn run(args: StandInArgs) -> io::Result<()> {
    if !args.listen.ip().is_loopback() && !args.anywhere {
        return Err(io::Error::other("a stand-in listens on loopback addresses only"));
    }
    let account = args.record.as_deref().map(Account::open).transpose()?;
    let listener = listen(args.listen)?;
    let address = listener.local_addr()?;
    let instance = Rc::new(Instance {
        header: HeaderValue::from_str(&args.name).map_err(io::Error::other)?,
        args,
        account: RefCell::new(account),
        requests: Cell::new(0),
        version: Cell::new(0),
        turn: tokio::sync::Mutex::new(()),
    });
    instance.write_down(&Event::Listening { at: Moment::now() });
    let mut out = io::stdout();
    writeln!(out, "listening on {address}")?;
    out.flush()?;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file descriptors, or a client that left already: neither is a reason to end.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let instance = instance.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                let instance = instance.clone();
                async move { Ok::<_, Infallible>(instance.answer(request).await) }
            });
            // A client that breaks off is its own business.
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
        });
    }
}

/// With as long a queue as the system allows: one process may stand in for the instances of thousands of sites.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(65_535)
}

/// The application's memory, gone with its process.
struct Instance {
    args: StandInArgs,
    header: HeaderValue,
    account: RefCell<Option<Account>>,
    requests: Cell<u64>,
    version: Cell<u64>,
    /// Whose turn it is to be worked for.
    turn: tokio::sync::Mutex<()>,
}

impl Instance {
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.headers().contains_key(UPGRADE) {
            return self.talk(request);
        }
        let mut in_hand = InHand::begin(&self, &request);
        let (head, body) = request.into_parts();
        if body.collect().await.is_err() {
            return Response::new(Full::default());
        }
        if head.method == Method::POST {
            self.version.set(self.version.get() + 1);
        }
        let wish = Wish::of(&self.args, head.uri.query().unwrap_or_default());
        let html = head
            .headers
            .get(ACCEPT)
            .is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")));
        let text = self.page(in_hand.number, html, wish.size);
        if !self.args.busy.is_zero() && head.headers.contains_key(READER_REQUEST) {
            let _turn = self.turn.lock().await;
            tokio::time::sleep(self.args.busy).await;
        }
        if !wish.delay.is_zero() {
            tokio::time::sleep(wish.delay).await;
        }
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = wish.status;
        response.headers_mut().insert(INSTANCE, self.header.clone());
        if let Some(epoch) = head.headers.get(EPOCH) {
            response.headers_mut().insert(EPOCH, epoch.clone());
        }
        let kind = if html { "text/html; charset=utf-8" } else { "application/json" };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        in_hand.answered = true;
        response
    }

    /// Says of each text who has got it.
    fn talk(self: Rc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let name = self.args.name.clone();
        tokio::task::spawn_local(async move {
            let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
            let mut stream = TokioIo::new(upgraded);
            while let Ok(Some(text)) = websocket::read(&mut stream).await {
                if websocket::write(&mut stream, &format!("{name} {text}"), None).await.is_err() {
                    break;
                }
            }
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in
            [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_ACCEPT, websocket::ACCEPT)]
        {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn page(&self, number: u64, html: bool, size: usize) -> String {
        let (name, version) = (&self.args.name, self.version.get());
        let mut text = if html {
            format!(
                "<!doctype html><title>{name}</title><h1>Instance {name}</h1><p>version {version}, request {number}</p>\n"
            )
        } else {
            format!("{{\"instance\":\"{name}\",\"version\":{version},\"request\":{number}}}\n")
        };
        // White space at the end is allowed in both forms.
        text.extend(std::iter::repeat_n(' ', size.saturating_sub(text.len())));
        text
    }

    fn write_down(&self, event: &Event) {
        if let Some(account) = self.account.borrow_mut().as_mut()
            && let Err(error) = account.add(event)
        {
            // An account with holes would prove nothing.
            complain(&format!("the account can't be written: {error}"));
            std::process::exit(1);
        }
    }
}

/// A request from its arrival to its end, however it ends: dropped with its connection, too.
struct InHand {
    instance: Rc<Instance>,
    number: u64,
    answered: bool,
}

impl InHand {
    fn begin(instance: &Rc<Instance>, request: &Request<Incoming>) -> Self {
        let number = instance.requests.get() + 1;
        instance.requests.set(number);
        let reader = request.headers().get(READER_REQUEST).and_then(|id| id.to_str().ok()?.parse().ok());
        let method = request.method().to_string();
        instance.write_down(&Event::Begun { request: number, reader, method, at: Moment::now() });
        Self { instance: instance.clone(), number, answered: false }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let (request, answered) = (self.number, self.answered);
        self.instance.write_down(&Event::Ended { request, answered, at: Moment::now() });
    }
}

/// How a request is to be answered: as the command line says, unless its query says otherwise.
#[derive(Debug, PartialEq)]
struct Wish {
    delay: Duration,
    size: usize,
    status: StatusCode,
}

impl Wish {
    fn of(args: &StandInArgs, query: &str) -> Self {
        let mut wish = Self { delay: args.delay, size: args.size, status: args.status };
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "delay" => wish.delay = duration(value).unwrap_or(wish.delay),
                "size" => wish.size = value.parse().unwrap_or(wish.size),
                "status" => wish.status = value.parse().unwrap_or(wish.status),
                _ => {}
            }
        }
        Self { delay: wish.delay.min(MOST_DELAY), size: wish.size.min(MOST_BYTES), ..wish }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_ask_for_its_own_delay_size_and_status() {
        let args = StandInArgs {
            busy: Duration::ZERO,
            listen: "127.0.0.1:0".parse().unwrap(),
            name: "A".into(),
            delay: Duration::from_millis(5),
            size: 100,
            status: StatusCode::OK,
            record: None,
            anywhere: false,
        };
        let usual = Wish { delay: Duration::from_millis(5), size: 100, status: StatusCode::OK };
        assert_eq!(Wish::of(&args, ""), usual);
        assert_eq!(Wish::of(&args, "delay=soon&size=&status=x"), usual);
        let own =
            Wish { delay: Duration::from_millis(700), size: 9, status: StatusCode::SERVICE_UNAVAILABLE };
        assert_eq!(Wish::of(&args, "delay=700ms&size=9&status=503"), own);
        assert_eq!(Wish::of(&args, "delay=900s").delay, MOST_DELAY);
    }
}
