//! One reader at one edge who asks again as soon as he is answered: a switch is seen to the millisecond.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::stage::HOST;

/// When the head of an answer came, and under which epoch.
pub type Beat = (Moment, u64);

/// A reader at work.
pub struct Pulse {
    stop: Arc<AtomicBool>,
    task: JoinHandle<io::Result<Vec<Beat>>>,
}

impl Pulse {
    pub fn start(edge: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        Self { task: tokio::spawn(beat(edge, stop.clone())), stop }
    }

    /// What was seen, in its order.
    pub async fn stop(self) -> io::Result<Vec<Beat>> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.map_err(io::Error::other)?
    }
}

async fn beat(edge: SocketAddr, stop: Arc<AtomicBool>) -> io::Result<Vec<Beat>> {
    let mut stream = TcpStream::connect(edge).await?;
    stream.set_nodelay(true)?;
    let request = format!("HEAD / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let (mut beats, mut buffer) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(request.as_bytes()).await?;
        buffer.clear();
        while !buffer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = String::from_utf8_lossy(&buffer);
        let epoch = head.lines().find_map(|line| line.strip_prefix("x-ghostpin-epoch: ")?.parse().ok());
        let epoch = epoch.ok_or_else(|| io::Error::other(format!("an answer without an epoch: {head}")))?;
        beats.push((Moment::now(), epoch));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(beats)
}

/// For each epoch after the first: from the last answer of the one before it, at the first edge that fell silent, to the
/// first answer under it at the last edge.
pub fn cutovers(pulses: &[Vec<Beat>]) -> Vec<Duration> {
    let newest = pulses.iter().filter_map(|beats| beats.last()).map(|(_, epoch)| *epoch).min().unwrap_or(0);
    let oldest = pulses.iter().filter_map(|beats| beats.first()).map(|(_, epoch)| *epoch).max().unwrap_or(0);
    let mut all: Vec<Duration> = (oldest + 1..=newest)
        .filter_map(|epoch| {
            let last_before = |beats: &Vec<Beat>| beats.iter().rfind(|(_, e)| *e < epoch).map(|(at, _)| *at);
            let first_after = |beats: &Vec<Beat>| beats.iter().find(|(_, e)| *e >= epoch).map(|(at, _)| *at);
            let silent = pulses.iter().filter_map(last_before).min()?;
            Some(pulses.iter().filter_map(first_after).max()?.since(silent))
        })
        .collect();
    all.sort_unstable();
    all
}
