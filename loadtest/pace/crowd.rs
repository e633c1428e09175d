//! A crowd that asks for one page at once, each on a connection of its own, and says when it had it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Ports of one address: connections beyond that come from another.
const OF_ONE_ADDRESS: usize = 20_000;

/// `request` has to end its connection.
pub async fn run(target: SocketAddr, request: &str, count: usize) -> io::Result<Value> {
    let mut waiting = JoinSet::new();
    for number in 0..count {
        let socket = TcpSocket::new_v4()?;
        let from = Ipv4Addr::new(127, 0, 1, 1 + (number / OF_ONE_ADDRESS) as u8);
        socket.bind(SocketAddr::from((from, 0)))?;
        let mut stream = socket.connect(target).await?;
        stream.write_all(request.as_bytes()).await?;
        waiting.spawn(answer(stream));
    }
    let asked_ms = now_ms();
    let hasher = RandomState::new();
    let (mut statuses, mut bodies) = (BTreeMap::<String, u64>::new(), BTreeSet::new());
    let (mut first_ms, mut last_ms, mut bytes) = (u64::MAX, 0, 0);
    while let Some(answered) = waiting.join_next().await {
        let (text, at_ms) = answered.map_err(io::Error::other)?;
        let status = text.get(9..12).map_or_else(|| "none".into(), String::from_utf8_lossy);
        *statuses.entry(status.into_owned()).or_default() += 1;
        let end = text.windows(4).position(|four| four == b"\r\n\r\n").map_or(text.len(), |at| at + 4);
        bodies.insert(hasher.hash_one(&text[end..]));
        bytes += text.len();
        first_ms = first_ms.min(at_ms);
        last_ms = last_ms.max(at_ms);
    }
    Ok(json!({
        "asked_ms": asked_ms, "first_ms": first_ms, "last_ms": last_ms,
        "statuses": statuses, "bodies": bodies.len(), "bytes": bytes,
    }))
}

/// All that comes until the connection ends, and when that was.
async fn answer(mut stream: TcpStream) -> (Vec<u8>, u64) {
    let mut text = Vec::new();
    // What breaks off is told by its status, or by a body that is unlike the others.
    let _ = stream.read_to_end(&mut text).await;
    (text, now_ms())
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
