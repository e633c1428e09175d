//! Readers who share connections of HTTP/2, in clear text, as those of a balancer in front of ghostpin do.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use ghostpin::demo::stand_in::INSTANCE;
use ghostpin::proxy::http2::STREAMS_MAX;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout_at};

use ghostpin_loadtest::harness::HOST;

use super::{Crowd, PATIENCE, address};

type Asked = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>;

/// As many on each connection as ghostpin allows.
pub struct Streams {
    asked: Vec<Asked>,
    /// Without them, the connections would end.
    _connections: Vec<SendRequest<Empty<Bytes>>>,
}

impl Crowd for Streams {
    const NAME: &str = "HTTP/2";

    async fn ask(target: SocketAddr, count: u64) -> io::Result<Self> {
        let (mut asked, mut connections) = (Vec::<Asked>::new(), Vec::new());
        for number in 0..count.div_ceil(u64::from(STREAMS_MAX)) {
            let mut connection = connect(target, number).await?;
            for _ in 0..u64::from(STREAMS_MAX).min(count - asked.len() as u64) {
                let request = Request::get(format!("http://{HOST}/")).body(Empty::new());
                asked.push(Box::pin(connection.send_request(request.map_err(io::Error::other)?)));
            }
            connections.push(connection);
        }
        Ok(Self { asked, _connections: connections })
    }

    async fn answered(self) -> io::Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        let mut answered = 0;
        for asked in self.asked {
            let is_well = timeout_at(deadline, answer(asked)).await;
            answered += u64::from(is_well.is_ok_and(|is_well| is_well.is_some()));
        }
        Ok(answered)
    }
}

async fn connect(target: SocketAddr, number: u64) -> io::Result<SendRequest<Empty<Bytes>>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(address(number))?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, driver) = handshake.await.map_err(io::Error::other)?;
    tokio::spawn(driver);
    Ok(sender)
}

/// All of an answer, if it is one of the new instance.
async fn answer(asked: Asked) -> Option<()> {
    let (head, body) = asked.await.ok()?.into_parts();
    body.collect().await.ok()?;
    (head.status.is_success() && head.headers.get(INSTANCE)? == "B").then_some(())
}
