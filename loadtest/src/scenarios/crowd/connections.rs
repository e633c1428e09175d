//! Readers with a connection of HTTP/1.1 each.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

use ghostpin_loadtest::harness::HOST;

use super::{Crowd, PATIENCE, address};

/// Files that are something else, at most.
const OTHER_FILES: u64 = 1_000;

/// How many there can be: each has a file here and one at ghostpin, which may have as many as this process.
pub fn most() -> u64 {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    files.saturating_sub(OTHER_FILES).max(1)
}

/// None of them is read from yet.
pub struct Connections(Vec<TcpStream>);

impl Crowd for Connections {
    const NAME: &str = "HTTP/1.1";

    async fn ask(target: SocketAddr, count: u64) -> io::Result<Self> {
        (0..count).map(|number| ask(target, number)).collect::<io::Result<_>>().map(Self)
    }

    async fn answered(self) -> io::Result<u64> {
        let count = || self.0.into_iter().filter_map(answer).count();
        Ok(tokio::task::spawn_blocking(count).await? as u64)
    }
}

fn ask(target: SocketAddr, number: u64) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&address(number).into())?;
    socket.connect(&target.into())?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes())?;
    Ok(stream)
}

/// Its answer, if it is one of the new instance.
fn answer(mut stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    (text.starts_with("HTTP/1.1 200") && text.contains("x-instance: B")).then_some(())
}
