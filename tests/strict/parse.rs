//! A strict little reader of HTTP/1.1 for the two ends of the proxy. It shares no code with ghostpin, so that the
//! two can't be wrong in the same way, and it knows no leniency: whatever could be read in two ways is an error.

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes end before the message does.
    More,
    /// No further byte can make it a message.
    Broken(String),
}

/// Names in lower case, and values.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What says where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Framing {
    None,
    Length,
    Chunked,
}

/// A whole request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: Vec<u8>,
    pub(crate) fields: Fields,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) raw: Vec<u8>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// What the recorder says it was asked for; nothing if the proxy answers by itself.
    pub(crate) saw: Option<String>,
}

/// Fields that frame, route, control or attribute a message (RFC 9110, 6.5.1).
const BELONG_IN_HEADS: [&[u8]; 13] = [
    b"connection",
    b"content-length",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"te",
    b"transfer-encoding",
    b"upgrade",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-real-ip",
];

fn broken<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Broken(why.into()))
}

/// The request that `bytes` begin with. It is as long as its `raw`.
pub(crate) fn request(bytes: &[u8]) -> Result<Request, Stop> {
    let mut cursor = Cursor { bytes, at: 0 };
    let line = cursor.line()?.to_vec();
    check_request_line(&line)?;
    let fields = cursor.fields()?;
    let hosts = values(&fields, "host").count();
    if hosts != 1 {
        return broken(format!("{hosts} Host fields"));
    }
    let framing = framing(&fields)?;
    let body = cursor.body(framing, &fields)?;
    Ok(Request { line, fields, framing, body, raw: bytes[..cursor.at].to_vec() })
}

/// The answer that `bytes` begin with, and its length. `to_head` is about a request whose answer has no body;
/// `is_all` says that nothing follows, so that a body without a length has its end.
pub(crate) fn answer(bytes: &[u8], to_head: bool, is_all: bool) -> Result<(usize, Answer), Stop> {
    let (length, status, fields, _) = whole_answer(bytes, to_head, is_all)?;
    let saw = values(&fields, "x-saw").next().map(|saw| String::from_utf8_lossy(saw).into_owned());
    Ok((length, Answer { status, saw }))
}

/// The same, with all that can be said of it: its length, its status, its fields and its body.
pub(crate) fn whole_answer(
    bytes: &[u8],
    to_head: bool,
    is_all: bool,
) -> Result<(usize, u16, Fields, Vec<u8>), Stop> {
    let mut cursor = Cursor { bytes, at: 0 };
    let line = cursor.line()?;
    let status = match line.get(..12) {
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', status @ ..]) => {
            std::str::from_utf8(status).ok().and_then(|status| status.parse().ok())
        }
        _ => None,
    };
    let Some(status) = status else {
        return broken(format!("no status line: {}", line.escape_ascii()));
    };
    let fields = cursor.fields()?;
    let mut body = Vec::new();
    if !(to_head || matches!(status, 100..=199 | 204 | 304)) {
        body = match framing(&fields)? {
            Framing::None if is_all => cursor.exactly(bytes.len() - cursor.at)?.to_vec(),
            Framing::None => return Err(Stop::More),
            framing => cursor.body(framing, &fields)?,
        }
    }
    Ok((cursor.at, status, fields, body))
}

/// The values of all fields of a name.
pub(crate) fn values<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |(other, _)| other == name.as_bytes()).map(|(_, value)| value.as_slice())
}

fn is_token(bytes: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(legal)
}

fn check_request_line(line: &[u8]) -> Result<(), Stop> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words.as_slice() else {
        return broken("a request line that is not three words");
    };
    let in_target = |byte: &u8| *byte > b' ' && *byte != 0x7f && *byte != b'#';
    if !is_token(method) {
        return broken("a method that is no token");
    }
    if target.is_empty() || !target.iter().all(in_target) {
        return broken("a target with what no target may have");
    }
    if *version != b"HTTP/1.1" {
        return broken("a version other than HTTP/1.1");
    }
    Ok(())
}

fn framing(fields: &Fields) -> Result<Framing, Stop> {
    let codings: Vec<_> = values(fields, "transfer-encoding").collect();
    let lengths: Vec<_> = values(fields, "content-length").collect();
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => Ok(Framing::None),
        ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => Ok(Framing::Length),
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        _ => broken("a framing that could be read in two ways"),
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Up to a CRLF, which is taken as well.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).ok_or(Stop::More)?;
        match &rest[end..] {
            [b'\r', b'\n', ..] => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            [b'\r'] => Err(Stop::More),
            [b'\r', ..] => broken("a bare CR"),
            _ => broken("a bare LF"),
        }
    }

    fn exactly(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let taken = self.bytes[self.at..].get(..count).ok_or(Stop::More)?;
        self.at += count;
        Ok(taken)
    }

    /// Up to the empty line, which is taken as well.
    fn fields(&mut self) -> Result<Fields, Stop> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                return broken(format!("a field line without a colon: {}", line.escape_ascii()));
            };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if !is_token(name) {
                return broken(format!("a field name that is no token: {}", name.escape_ascii()));
            }
            let in_value = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
            if !value.iter().all(in_value) {
                return broken(format!("a field value with a control: {}", value.escape_ascii()));
            }
            fields.push((name.to_ascii_lowercase(), trim(value).to_vec()));
        }
    }

    fn body(&mut self, framing: Framing, fields: &Fields) -> Result<Vec<u8>, Stop> {
        match framing {
            Framing::None => Ok(Vec::new()),
            Framing::Length => {
                let length = values(fields, "content-length").next().unwrap_or_default();
                match std::str::from_utf8(length).ok().and_then(|length| length.parse().ok()) {
                    Some(length) => Ok(self.exactly(length)?.to_vec()),
                    None => broken("a length that is none"),
                }
            }
            Framing::Chunked => self.chunked(),
        }
    }

    fn chunked(&mut self) -> Result<Vec<u8>, Stop> {
        let mut body = Vec::new();
        loop {
            // Extensions concern one connection, so none may come through the proxy.
            let line = self.line()?;
            if line.is_empty() || line.len() > 16 || !line.iter().all(u8::is_ascii_hexdigit) {
                return broken(format!("a chunk size that is none: {}", line.escape_ascii()));
            }
            let size = line.iter().fold(0_usize, |size, digit| {
                size.saturating_mul(16).saturating_add((*digit as char).to_digit(16).unwrap_or(0) as usize)
            });
            if size == 0 {
                let trailers = self.fields()?;
                // Some readers merge trailers with the fields of the head.
                return match trailers.iter().find(|(name, _)| BELONG_IN_HEADS.contains(&name.as_slice())) {
                    Some((name, _)) => broken(format!("{} as a trailer", name.escape_ascii())),
                    None => Ok(body),
                };
            }
            body.extend_from_slice(self.exactly(size)?);
            if !self.line()?.is_empty() {
                return broken("a chunk that goes on behind its end");
            }
        }
    }
}

/// Without the white space that may surround a value: only SP and HTAB are.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
