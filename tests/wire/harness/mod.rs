//! Proxy, backends and clients under full control. Threads and blocking sockets: what is written is what is sent.

mod backend;
mod client;
mod proxy;
pub(crate) mod secure;

pub(crate) use backend::{Backend, Conn};
pub(crate) use client::{Client, Response};
pub(crate) use proxy::{Config, Proxy};

use std::time::{Duration, Instant};

/// How long a condition may take on a busy machine. Nothing in the tests depends on how long it took.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Names in lower case, and values.
pub(crate) type Fields = Vec<(String, String)>;

/// A head as it came over the wire: the first line, and the fields in their order, names in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Fields,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        Self {
            line,
            fields: fields
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(other, _)| other == name).count()
    }

    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.field("content-length").map(|length| length.parse().expect("a length"))
    }
}

/// Reads heads and bodies from anything, and keeps what was read too much.
pub(crate) struct Reader<R> {
    from: R,
    ahead: Vec<u8>,
}

impl<R: std::io::Read> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, ahead: Vec::new() }
    }

    fn more(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let read = self.from.read(&mut buffer)?;
        self.ahead.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    /// Up to and without `end`; `None` if the other side closed before.
    fn up_to(&mut self, end: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|window| window == end) {
                let taken = self.ahead.drain(..at + end.len()).collect::<Vec<u8>>();
                return Ok(Some(taken[..at].to_vec()));
            }
            if self.more()? == 0 {
                return Ok(None);
            }
        }
    }

    pub(crate) fn head(&mut self) -> std::io::Result<Option<Head>> {
        let head = self.up_to(b"\r\n\r\n")?;
        Ok(head.map(|head| Head::parse(&String::from_utf8_lossy(&head))))
    }

    pub(crate) fn exactly(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        while self.ahead.len() < count {
            if self.more()? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.ahead.drain(..count).collect())
    }

    /// One chunk of a chunked body; empty for the last one, whose trailers are left.
    pub(crate) fn chunk(&mut self) -> std::io::Result<Vec<u8>> {
        let eof = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let size = self.up_to(b"\r\n")?.ok_or_else(eof)?;
        let size = String::from_utf8_lossy(&size);
        let size =
            usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16).expect("a chunk size");
        if size == 0 {
            return Ok(Vec::new());
        }
        let chunk = self.exactly(size)?;
        self.exactly(2)?;
        Ok(chunk)
    }

    /// What follows the last chunk.
    pub(crate) fn trailers(&mut self) -> std::io::Result<Fields> {
        let mut trailers = Vec::new();
        loop {
            let line = self.up_to(b"\r\n")?.unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            match line.split_once(':') {
                Some((name, value)) => trailers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => return Ok(trailers),
            }
        }
    }

    pub(crate) fn chunked(&mut self) -> std::io::Result<(Vec<u8>, Fields)> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Ok((body, self.trailers()?));
            }
            body.extend(chunk);
        }
    }

    /// Until the other side closes; an error is an end as well.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more().is_ok_and(|read| read > 0) {}
        std::mem::take(&mut self.ahead)
    }
}
