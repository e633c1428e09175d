//! Header fields as they came: one piece of text and where each field lies in it. Nothing is copied twice, and the
//! names that a proxy must know are recognised once, while reading.

/// Names that mean something to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "they are the names of fields")]
pub enum Known {
    Other,
    Accept,
    Connection,
    ContentLength,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    KeepAlive,
    ProxyConnection,
    Te,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRealIp,
    XRequestId,
}

impl Known {
    /// Which one a name is, in any case.
    pub fn of(name: &[u8]) -> Self {
        // Nearly every name that is none of them is told by its length and its first letter.
        let first = name.first().map_or(0, u8::to_ascii_lowercase);
        let (known, text) = match (name.len(), first) {
            (2, b't') => (Self::Te, "te"),
            (4, b'h') => (Self::Host, "host"),
            (4, b'd') => (Self::Date, "date"),
            (6, b'a') => (Self::Accept, "accept"),
            (6, b'c') => (Self::Cookie, "cookie"),
            (6, b'e') => (Self::Expect, "expect"),
            (7, b'u') => (Self::Upgrade, "upgrade"),
            (9, b'f') => (Self::Forwarded, "forwarded"),
            (9, b'x') => (Self::XRealIp, "x-real-ip"),
            (10, b'c') => (Self::Connection, "connection"),
            (10, b'k') => (Self::KeepAlive, "keep-alive"),
            (12, b'x') => (Self::XRequestId, "x-request-id"),
            (14, b'c') => (Self::ContentLength, "content-length"),
            (15, b'x') => (Self::XForwardedFor, "x-forwarded-for"),
            (16, b'x') => (Self::XForwardedHost, "x-forwarded-host"),
            (16, b'p') => (Self::ProxyConnection, "proxy-connection"),
            (17, b't') => (Self::TransferEncoding, "transfer-encoding"),
            (17, b'x') => (Self::XForwardedProto, "x-forwarded-proto"),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(text.as_bytes()) { known } else { Self::Other }
    }

    fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which one it is, if it is one of those.
    pub known: Known,
    /// Its name, as sent.
    pub name: &'a [u8],
    /// Its value, without white space around it.
    pub value: &'a [u8],
    /// Both as one line, if they came written as plainly as [`write`] would write them.
    line: Option<&'a [u8]>,
}

impl Field<'_> {
    /// Writes it as it goes over the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.line {
            // Nearly always: one copy instead of four.
            Some(line) => out.extend_from_slice(line),
            None => write(out, self.name, self.value),
        }
    }
}

/// A part of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    at: u32,
    length: u32,
}

impl Span {
    /// Where `part`, a slice of it, lies in `whole`.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Self {
        let at = part.as_ptr() as usize - whole.as_ptr() as usize;
        debug_assert!(at + part.len() <= whole.len());
        Self { at: at as u32, length: part.len() as u32 }
    }

    fn next(text: &mut Vec<u8>, part: &[u8]) -> Self {
        let at = text.len() as u32;
        text.extend_from_slice(part);
        Self { at, length: part.len() as u32 }
    }

    fn in_text(self, text: &[u8]) -> &[u8] {
        &text[self.at as usize..][..self.length as usize]
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    known: Known,
    name: Span,
    value: Span,
}

/// The fields of a message.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    text: Vec<u8>,
    places: Vec<Place>,
    /// One bit for each [`Known`] name that is there.
    seen: u32,
    /// One bit for each that is there more than once.
    repeated: u32,
}

impl Fields {
    /// Fields that lie in `head`, of which a copy is made.
    pub(super) fn parsed(head: &[u8], headers: &[httparse::Header<'_>]) -> Self {
        let mut fields = Self { places: Vec::with_capacity(headers.len()), ..Self::of_text(head) };
        for header in headers {
            let name = header.name.as_bytes();
            fields.place(Known::of(name), Span::of(name, head), Span::of(header.value, head));
        }
        fields
    }

    /// No fields, but a text for other parts of the head.
    pub(super) fn of_text(text: &[u8]) -> Self {
        Self { text: text.to_vec(), ..Self::default() }
    }

    fn place(&mut self, known: Known, name: Span, value: Span) {
        self.repeated |= self.seen & known.bit();
        self.seen |= known.bit();
        self.places.push(Place { known, name, value });
    }

    /// Makes room for so many fields with so many bytes in all.
    pub(super) fn reserve(&mut self, fields: usize, bytes: usize) {
        self.places.reserve(fields);
        self.text.reserve(bytes);
    }

    /// Adds a field, written as plainly as [`write`] writes it. The caller knows that name and value are fit to be sent.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let name = name.as_bytes();
        let line = self.text.len() as u32;
        write(&mut self.text, name, value);
        let name_at = Span { at: line, length: name.len() as u32 };
        let value_at = Span { at: line + name_at.length + 2, length: value.len() as u32 };
        self.place(Known::of(name), name_at, value_at);
    }

    /// Adds a text that is no field.
    pub(super) fn keep(&mut self, part: &[u8]) -> Span {
        Span::next(&mut self.text, part)
    }

    pub(super) fn text(&self, span: Span) -> &[u8] {
        span.in_text(&self.text)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.places.iter().map(|place| Field {
            known: place.known,
            name: self.text(place.name),
            value: self.text(place.value),
            line: self.line(place),
        })
    }

    /// Name and value as one line, if that is how they lie in the text.
    fn line(&self, place: &Place) -> Option<&[u8]> {
        let colon = (place.name.at + place.name.length) as usize;
        let (value, end) = (place.value.at as usize, (place.value.at + place.value.length) as usize);
        let is_plain = value == colon + 2
            && self.text[colon..value] == *b": "
            && self.text.get(end..end + 2).is_some_and(|end| end == b"\r\n");
        is_plain.then(|| &self.text[place.name.at as usize..end + 2])
    }

    /// Whether there is one of this name.
    pub fn has(&self, known: Known) -> bool {
        self.seen & known.bit() != 0
    }

    /// Whether there is more than one of this name.
    pub fn has_several(&self, known: Known) -> bool {
        self.repeated & known.bit() != 0
    }

    /// The first value of this name.
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        self.all(known).next()
    }

    /// All values of this name.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let places = if self.has(known) { &self.places[..] } else { &[] };
        places.iter().filter(move |place| place.known == known).map(|place| self.text(place.value))
    }

    /// The members of the comma-separated lists in all values of this name. What is no text is left out.
    pub fn members(&self, known: Known) -> impl Iterator<Item = &str> {
        self.all(known).flat_map(members)
    }

    /// Whether the lists of this name have this member, in any case.
    pub fn lists(&self, known: Known, member: &str) -> bool {
        let is_it = |listed: &[u8]| trimmed(listed).eq_ignore_ascii_case(member.as_bytes());
        self.all(known).any(|value| value.split(|&byte| byte == b',').any(is_it))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// What a member of a list is read as that is no text: it is there, and nothing that anybody knows.
pub const NO_TEXT: &str = "\u{fffd}";

/// A member of a list, without white space around it.
fn trimmed(mut member: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = member {
        member = rest;
    }
    member
}

/// The members of a comma-separated list.
pub fn members(value: &[u8]) -> impl Iterator<Item = &str> {
    let members = value.split(|&byte| byte == b',').map(trimmed).filter(|member| !member.is_empty());
    members.map(|member| std::str::from_utf8(member).unwrap_or(NO_TEXT))
}

/// Writes one field as it goes over the wire.
pub fn write(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
