//! What is written to a backend: exactly one request, read the same by whoever reads it.

use std::net::IpAddr;
use std::sync::Arc;

use ghostpin::http1::{Length, RequestHead};
use ghostpin::proxy::headers::{Additions, Peer, write_request};
use ghostpin::proxy::outbox::Outbox;
use http::{HeaderName, HeaderValue, Version};
use ipnet::IpNet;

use super::bodies::{Given, send};
use super::compare::compare;
use super::dice::Dice;
use super::ours::{self, Accepted};
use super::parse::{self, Framing, Stop};
use super::pipe::Manner;
use super::theirs;

/// Fields that belong to one connection (RFC 9110, 7.6.1).
pub(crate) const OF_CONNECTION: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// Fields that ghostpin writes itself, whatever was sent.
const OWN: [&str; 10] = [
    "host",
    "expect",
    "cookie",
    "content-length",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

const READER: &str = "192.0.2.7";

/// A peer that is believed or not, and the fields of a site.
struct Scene {
    peer: Peer,
    fixed: Vec<(HeaderName, HeaderValue)>,
}

impl Scene {
    fn any(dice: &mut Dice) -> Self {
        let trusted: Arc<[IpNet]> = Arc::new(["10.0.0.0/8".parse().expect("a network")]);
        let address: IpAddr = dice.pick(&[READER, "10.1.2.3"]).parse().expect("an address");
        let fixed = HeaderName::from_static("x-site-id");
        let fixed = dice.one_in(2).then(|| (fixed, HeaderValue::from_static("42")));
        Self { peer: Peer::new(address, dice.one_in(2), &trusted), fixed: fixed.into_iter().collect() }
    }
}

pub(crate) fn check_written(accepted: &Accepted, dice: &mut Dice) -> Result<(), String> {
    let scene = Scene::any(dice);
    let mut head = Vec::new();
    let additions =
        Additions { peer: &scene.peer, fixed: &scene.fixed, request_id: "own-id", epoch: None, trace: None };
    write_request(&mut head, &accepted.head, &additions);
    let (written, body) = if accepted.is_whole {
        let (body, length) = (&accepted.body, accepted.head.length);
        let mut source = Given::new(body, body.len(), accepted.trailers.clone(), Manner::any(dice));
        let (written, sent) = send(Outbox::request(head, length), &mut source, Manner::any(dice));
        sent.map_err(|stopped| format!("a whole body is not written whole: {stopped:?}"))?;
        (written, body.as_slice())
    } else {
        (head, &[][..])
    };
    let fail = |why: String| format!("{why}\nwritten: {}", written.escape_ascii());
    let request = match parse::request(&written) {
        Ok(request) => request,
        // What of the body is missing, the backend never gets.
        Err(Stop::More) if !accepted.is_whole => return Ok(()),
        Err(why) => return Err(fail(format!("what is written is no request: {why:?}"))),
    };
    if !accepted.is_whole {
        return Err(fail("half a request is written as a whole one".into()));
    }
    if request.raw.len() != written.len() {
        return Err(fail(format!("what is written is more than a request of {} bytes", request.raw.len())));
    }
    check_head(&accepted.head, &request, &scene).map_err(fail)?;
    if request.body != body {
        return Err(fail(format!("the body is written as {}", request.body.escape_ascii())));
    }
    // And the other two readers agree.
    let again = ours::read(&written, Manner::any(dice), ours::ROOMY);
    let hyper = theirs::read(&written, Manner::any(dice), ours::ROOMY);
    compare(&again, &hyper).map_err(fail)?;
    let same = again.requests.len() == 1 && again.requests[0].body == body && again.requests[0].is_whole;
    if !same {
        return Err(fail(format!("ghostpin reads what it writes as {:?}", again.requests)));
    }
    Ok(())
}

fn check_head(head: &RequestHead, request: &parse::Request, scene: &Scene) -> Result<(), String> {
    let line = format!("{} {} HTTP/1.1", head.method, head.path_and_query());
    if request.line != line.as_bytes() {
        return Err(format!("the line is not {line}"));
    }
    let framing = match head.length {
        Length::Chunked => request.framing == Framing::Chunked,
        Length::Exactly(_) => request.framing == Framing::Length,
        Length::Nothing | Length::UntilClose => {
            request.framing != Framing::Chunked && request.body.is_empty()
        }
    };
    if !framing {
        return Err(format!("a body of {:?} is framed as {:?}", head.length, request.framing));
    }
    let values = |name: &str| parse::values(&request.fields, name).collect::<Vec<_>>();
    let only = |name: &str, value: &[u8]| {
        let found = values(name);
        if found == [value] { Ok(()) } else { Err(format!("{name} is not only {}", value.escape_ascii())) }
    };
    only("host", head.host().as_bytes())?;
    if !scene.peer.is_trusted() {
        only("x-forwarded-for", READER.as_bytes())?;
        only("x-forwarded-host", head.host().as_bytes())?;
        values("forwarded").is_empty().then_some(()).ok_or("a stranger's Forwarded is passed on")?;
    }
    let sent = head.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"x-real-ip"));
    let sent: Vec<&[u8]> = sent.map(|field| field.value).collect();
    let passes = scene.peer.is_trusted() && sent.len() == 1;
    let expected = if passes { sent } else { Vec::new() };
    (values("x-real-ip") == expected)
        .then_some(())
        .ok_or("X-Real-IP is not that of a trusted proxy alone")?;
    only("x-request-id", b"own-id")?;
    // ghostpin answers it itself; a backend that did so as well would answer twice.
    values("expect").is_empty().then_some(()).ok_or("an expectation is passed on")?;
    for (name, value) in &scene.fixed {
        only(name.as_str(), value.as_bytes())?;
    }
    check_connection(head, values)?;

    // What is of no concern to a proxy passes as it came.
    let lists = Lists::of(head);
    for field in head.fields.iter() {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        if OF_CONNECTION.contains(&name.as_str()) || OWN.contains(&name.as_str()) || name == "x-site-id" {
            continue;
        }
        let sent = head.fields.iter().filter(|other| other.name.eq_ignore_ascii_case(field.name));
        let sent: Vec<&[u8]> = sent.map(|other| other.value).collect();
        let expected = if lists.connection.contains(&name) { Vec::new() } else { sent };
        if values(&name) != expected {
            return Err(format!("{name} does not come as it was sent"));
        }
    }
    Ok(())
}

/// Nothing of the client's connection gets to the backend's, but for what ghostpin says anew.
fn check_connection<'a>(head: &RequestHead, values: impl Fn(&str) -> Vec<&'a [u8]>) -> Result<(), String> {
    let lists = Lists::of(head);
    let found = OF_CONNECTION.map(values);
    let [connection, keep_alive, proxy_connection, te, coding, upgrade] = &found;
    let upgrades = !lists.upgrade.is_empty()
        && lists.connection.contains(&"upgrade".to_owned())
        && head.version == Version::HTTP_11
        && head.length == Length::Nothing;
    let takes_trailers = lists.te.contains(&"trailers".to_owned());
    let is_right = match (connection.as_slice(), te.as_slice(), upgrade.as_slice()) {
        ([], [], []) => true,
        ([b"te"], [b"trailers"], []) => takes_trailers,
        ([b"upgrade"], [], [protocol]) => {
            let protocol = String::from_utf8_lossy(protocol).to_ascii_lowercase();
            upgrades && lists.upgrade == [protocol.clone()] && !protocol.starts_with("h2")
        }
        _ => false,
    };
    let coded = head.length == Length::Chunked;
    if !is_right
        || !keep_alive.is_empty()
        || !proxy_connection.is_empty()
        || coding.len() > usize::from(coded)
    {
        return Err("something of the client's connection is written to the backend's".into());
    }
    Ok(())
}

/// The lists of a head, in lower case, read without ghostpin's help.
struct Lists {
    connection: Vec<String>,
    upgrade: Vec<String>,
    te: Vec<String>,
}

impl Lists {
    fn of(head: &RequestHead) -> Self {
        let list = |name: &str| {
            let values = head.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
            let texts: Vec<String> =
                values.map(|field| String::from_utf8_lossy(field.value).into_owned()).collect();
            let members = texts.iter().flat_map(|text| text.split(','));
            let members = members.map(|member| member.trim_matches([' ', '\t']).to_ascii_lowercase());
            members.filter(|member| !member.is_empty()).collect::<Vec<_>>()
        };
        Self { connection: list("connection"), upgrade: list("upgrade"), te: list("te") }
    }
}

/// What a reader that knows no leniency takes for a request, ghostpin takes for the same one. `data` begins with what
/// `reading` has read first.
pub(crate) fn check_strict(data: &[u8], reading: &ours::Reading) -> Result<(), String> {
    let mut data = data;
    while let [b'\r', b'\n', rest @ ..] = data {
        data = rest;
    }
    let (Ok(strict), Some(first)) = (parse::request(data), reading.requests.first()) else { return Ok(()) };
    let line = format!("{} {} HTTP/1.1", first.head.method, first.head.path_and_query());
    // A target in absolute form is written in another way, and compared with hyper.
    let is_path = matches!(strict.line.split(|byte| *byte == b' ').nth(1), Some([b'/' | b'*', ..]));
    let fields =
        first.head.fields.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    let fields: Vec<_> = fields.collect();
    // Of what is not whole, ghostpin has refused the rest by a limit of its own.
    let same_body = strict.body == first.body || !first.is_whole && strict.body.starts_with(&first.body);
    if is_path && strict.line != line.as_bytes() || strict.fields != fields || !same_body {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        return Err(format!(
            "a strict reader reads {:?} with the body {:?}\nand ghostpin {line:?} with {:?}, or other fields",
            text(&strict.line),
            text(&strict.body),
            text(&first.body)
        ));
    }
    Ok(())
}
