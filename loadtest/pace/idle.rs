//! Connections that have had an answer and wait: what they cost is looked at from outside.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn run(target: SocketAddr, request: &str, connections: usize) -> io::Result<()> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = TcpStream::connect(target).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; 16 * 1024];
        let read = stream.read(&mut answer).await?;
        if !answer[..read].starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer[..read]).into_owned()));
        }
        open.push(stream);
    }
    println!("{} open", open.len());
    // The caller's end of the pipe: until it is closed, all of them stay.
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()))
        .await
        .map_err(io::Error::other)??;
    Ok(())
}
