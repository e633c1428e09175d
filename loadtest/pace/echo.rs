//! Messages there and back over upgraded connections. After the upgrade a proxy sees bytes and no messages, so these are
//! bytes of a fixed number.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, timeout_at};

const MESSAGE_BYTES: usize = 1024;
// Question and answer of RFC 6455, 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Messages over so many connections, for so long.
pub async fn messages(
    target: SocketAddr,
    host: &str,
    connections: usize,
    time: Duration,
) -> io::Result<Value> {
    let done = Rc::new(Cell::new(0_u64));
    let local = LocalSet::new();
    local
        .run_until(async {
            let mut lines = Vec::new();
            for _ in 0..connections {
                lines.push(upgraded(target, host).await?);
            }
            let until = Instant::now() + time;
            let talking = lines.into_iter().map(|line| spawn_local(talk(line, until, done.clone())));
            for talk in talking.collect::<Vec<_>>() {
                talk.await.map_err(io::Error::other)??;
            }
            io::Result::Ok(())
        })
        .await?;
    Ok(json!({ "messages": done.get() }))
}

async fn upgraded(target: SocketAddr, host: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let head = head(&mut stream).await?;
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(io::Error::other(format!("no upgrade: {}", String::from_utf8_lossy(&head)))),
    }
}

/// Reads up to an empty line, and no byte more.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

async fn talk(mut line: TcpStream, until: Instant, done: Rc<Cell<u64>>) -> io::Result<()> {
    let (message, mut answer) = ([7; MESSAGE_BYTES], [0; MESSAGE_BYTES]);
    let talking = async {
        loop {
            line.write_all(&message).await?;
            line.read_exact(&mut answer).await?;
            done.set(done.get() + 1);
        }
    };
    timeout_at(until, talking).await.unwrap_or(Ok(()))
}

/// Sends back what it is sent, until it is ended.
pub async fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let local = LocalSet::new();
    local
        .run_until(async {
            loop {
                let (mut stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                spawn_local(async move {
                    let head = head(&mut stream).await?;
                    // Whoever looks whether it is well asks for no upgrade.
                    if !head.windows(9).any(|word| word.eq_ignore_ascii_case(b"websocket")) {
                        return stream
                            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                            .await;
                    }
                    let answer = format!(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
                    );
                    stream.write_all(answer.as_bytes()).await?;
                    let mut bytes = [0; 16 * 1024];
                    loop {
                        match stream.read(&mut bytes).await? {
                            0 => return Ok(()),
                            read => stream.write_all(&bytes[..read]).await?,
                        }
                    }
                });
            }
        })
        .await
}
