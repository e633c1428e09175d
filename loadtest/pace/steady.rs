//! Requests at a fixed rate.
//!
//! A client that waits for an answer before it sends the next request stops asking just when answers are late, and never
//! learns what its readers would have felt. Here each request is due at its moment; if all connections wait, it waits for
//! one, and its wait counts from that moment.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use serde_json::{Value, json};

/// How often it is looked whether a request is due.
const LOOK: Duration = Duration::from_micros(50);
/// How long answers are waited for after the last request.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection.
struct Line {
    stream: TcpStream,
    /// When the request that it carries was due.
    due: Option<Instant>,
    head: Vec<u8>,
    /// Bytes of the body that are still to come; `None` before the head is whole.
    left: Option<u64>,
}

struct Run<'a> {
    request: &'a [u8],
    lines: Vec<Line>,
    idle: VecDeque<usize>,
    /// Whose turn it is: the one that has been idle for longest, or that has not.
    in_turn: bool,
    waiting: VecDeque<Instant>,
    waits: Vec<Duration>,
    failed: u64,
}

pub fn run(
    target: SocketAddr,
    request: &[u8],
    connections: usize,
    in_turn: bool,
    rate: u32,
    time: Duration,
) -> io::Result<Value> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut lines = Vec::with_capacity(connections);
    for number in 0..connections {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, EventData::new_u64(number as u64), EventFlags::IN)?;
        lines.push(Line { stream, due: None, head: Vec::new(), left: None });
    }
    let count = u64::from(rate) * time.as_secs();
    let mut run = Run {
        request,
        lines,
        idle: (0..connections).collect(),
        in_turn,
        waiting: VecDeque::new(),
        waits: Vec::with_capacity(count as usize),
        failed: 0,
    };
    run.drive(&poll, count, rate)?;
    Ok(run.told(count))
}

impl Run<'_> {
    fn drive(&mut self, poll: &OwnedFd, count: u64, rate: u32) -> io::Result<()> {
        let began = Instant::now();
        let due_at = |number: u64| began + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
        let until = due_at(count) + PATIENCE;
        let mut next = 0;
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 256];
        let mut space = vec![0; 256 * 1024];
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK.as_nanos() as i64 };
        while (self.waits.len() as u64 + self.failed) < count {
            let now = Instant::now();
            if now >= until {
                self.failed = count - self.waits.len() as u64;
                return Ok(());
            }
            while next < count && due_at(next) <= now {
                self.waiting.push_back(due_at(next));
                next += 1;
            }
            self.send()?;
            let ready = epoll::wait(poll, &mut events[..], Some(&look))?;
            for event in &events[..ready] {
                self.read(event.data.u64() as usize, &mut space)?;
            }
        }
        Ok(())
    }

    /// Has free connections carry what is due.
    fn send(&mut self) -> io::Result<()> {
        while let Some(due) = self.waiting.front().copied()
            && let Some(number) = if self.in_turn { self.idle.pop_front() } else { self.idle.pop_back() }
        {
            self.waiting.pop_front();
            let line = &mut self.lines[number];
            // It is small, and nothing else is on its way there.
            line.stream.write_all(self.request)?;
            line.due = Some(due);
        }
        Ok(())
    }

    fn read(&mut self, number: usize, space: &mut [u8]) -> io::Result<()> {
        let line = &mut self.lines[number];
        loop {
            let read = match line.stream.read(space) {
                Ok(0) => return Err(io::Error::other("a connection was closed")),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let Some(due) = line.due else { return Err(io::Error::other("an answer that nobody waits for")) };
            let taken = line.take(&space[..read])?;
            if taken == Some(0) {
                self.waits.push(due.elapsed());
                (line.due, line.left) = (None, None);
                self.idle.push_back(number);
                return Ok(());
            }
        }
    }

    fn told(mut self, count: u64) -> Value {
        self.waits.sort_unstable();
        let part = |part: f64| {
            let rank = (self.waits.len() as f64 * part).ceil() as usize;
            self.waits.get(rank.max(1) - 1).map_or(0.0, |wait| wait.as_secs_f64() * 1e6)
        };
        json!({
            "requests": count,
            "failed": self.failed,
            "p50_us": part(0.5),
            "p99_us": part(0.99),
            "p999_us": part(0.999),
            "longest_us": part(1.0),
        })
    }
}

impl Line {
    /// Takes in what has come; how much of the answer is still to come, once that is known.
    fn take(&mut self, bytes: &[u8]) -> io::Result<Option<u64>> {
        let body = match self.left {
            Some(left) => left - bytes.len() as u64,
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
                    return Ok(None);
                };
                let length = length(&self.head[..end + 4])?;
                let body = length - (self.head.len() - end - 4) as u64;
                self.head.clear();
                body
            }
        };
        self.left = Some(body);
        Ok(self.left)
    }
}

/// The length of the body, of an answer that is well.
fn length(head: &[u8]) -> io::Result<u64> {
    let bad = || io::Error::other(format!("an answer that isn't well: {}", String::from_utf8_lossy(head)));
    let text = std::str::from_utf8(head).map_err(|_| bad())?;
    if text.split(' ').nth(1) != Some("200") {
        return Err(bad());
    }
    let mut lengths = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    lengths.next().ok_or_else(bad)
}
