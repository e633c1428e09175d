//! The rule: ghostpin may refuse what hyper accepts, but what ghostpin accepts hyper accepts as well, with the same
//! method, target, host, fields and body, and as the same number of requests. Every exception has a name and a reason here.

use std::collections::{BTreeMap, BTreeSet};

use ghostpin::http1::{Fields, Known, RequestHead};
use http::{HeaderMap, Method, Version};

use super::ours::{self, Accepted, End};
use super::theirs::{self, Seen};

/// Where the two may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Allowed {
    /// RFC 9112, 3.2: `<`, `>`, `` ` `` and `"` may not stand in a target, but clients send them, no server takes them
    /// for an end of anything, and ghostpin passes a target on as it came. hyper refuses the first three, and the last in
    /// a query; with other characters in their places it accepts the target.
    TargetCharacter,
    /// RFC 9112, 3.2.4: OPTIONS for an absolute target without a path is for all the server, `*`. hyper says `/`.
    OptionsOfAll,
    /// RFC 9110, 8.6: a length may be any number. hyper takes the two largest of 64 bits for marks of its own, and refuses
    /// them; no such body ever comes to its end.
    LargestLength,
    /// RFC 9112, 7.1.1: a recipient limits the extensions of chunks as it likes. hyper takes 16 KiB a body, ghostpin more.
    Extensions,
    /// RFC 9110, 5.5: a byte above 0x7f in `Connection` is opaque. ghostpin reads the other members of the list beside
    /// it, hyper reads none; so a client of HTTP/1.0 that asks to go on goes on with ghostpin only.
    OpaqueKeepAlive,
}

/// Compares what both have read of the same bytes. Returns the exceptions that were needed.
pub(crate) fn compare(ours: &ours::Reading, theirs: &theirs::Reading) -> Result<Vec<Allowed>, String> {
    let mut needed = Vec::new();
    for (number, accepted) in ours.requests.iter().enumerate() {
        let Some(seen) = theirs.requests.get(number) else {
            let before = number.checked_sub(1).map(|before| &ours.requests[before].head);
            needed.push(unseen(accepted, before, theirs).map_err(|why| format!("request {number}: {why}"))?);
            return Ok(needed);
        };
        if let Some(exception) =
            same_request(accepted, seen).map_err(|why| format!("request {number}: {why}"))?
        {
            needed.push(exception);
            if exception == Allowed::Extensions {
                return Ok(needed);
            }
        }
    }
    let goes_on = theirs.requests.len() > ours.requests.len();
    // Who refuses, and who takes the last request for the last, may see less; who only finds the end may not.
    if goes_on && ours.end == End::Closed {
        return Err(format!(
            "ghostpin has read {} requests to the end of the connection, and hyper {}",
            ours.requests.len(),
            theirs.requests.len()
        ));
    }
    Ok(needed)
}

/// Why hyper has not seen a request that ghostpin has.
fn unseen(
    accepted: &Accepted,
    before: Option<&RequestHead>,
    theirs: &theirs::Reading,
) -> Result<Allowed, String> {
    let head = &accepted.head;
    let refused = theirs.refused.as_deref().unwrap_or_default();
    let (target, odd) = (head.path_and_query(), ['<', '>', '`', '"']);
    let is_else_fine = || target.replace(odd, "x").parse::<http::Uri>().is_ok();
    // If the preface of HTTP/2 happens to follow, hyper blames that.
    let is_blamed = refused.contains("invalid URI") || refused.contains("HTTP2 preface");
    if is_blamed && target.contains(odd) && is_else_fine() {
        return Ok(Allowed::TargetCharacter);
    }
    let largest = |length: &[u8]| {
        std::str::from_utf8(length).ok().and_then(|length| length.parse().ok()) >= Some(u64::MAX - 1)
    };
    if !accepted.is_whole && head.fields.get(Known::ContentLength).is_some_and(largest) {
        return Ok(Allowed::LargestLength);
    }
    if let Some(before) = before
        && before.version == Version::HTTP_10
        && before.fields.all(Known::Connection).any(|value| !value.is_ascii())
        && theirs.refused.is_none()
    {
        return Ok(Allowed::OpaqueKeepAlive);
    }
    Err(format!(
        "ghostpin accepts {} {} for {}, and hyper does not ({})",
        head.method,
        head.path_and_query(),
        head.host(),
        theirs.refused.as_deref().unwrap_or("it closes")
    ))
}

fn same_request(accepted: &Accepted, seen: &Seen) -> Result<Option<Allowed>, String> {
    let mut needed = None;
    let (head, uri) = (&accepted.head, seen.head.uri());
    let differ = |what: &str, ours: &str, theirs: &str| {
        if ours == theirs {
            Ok(())
        } else {
            Err(format!("{what} is {ours:?} to ghostpin and {theirs:?} to hyper"))
        }
    };
    differ("the method", head.method.as_str(), seen.head.method().as_str())?;
    differ("the version", &format!("{:?}", head.version), &format!("{:?}", seen.head.version()))?;
    // `http` keeps `?q` of an absolute target without a path, and calls its path `/` (RFC 3986, 6.2.3).
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    let target = &format!("{}{query}", uri.path());
    if head.path_and_query() == "*"
        && head.method == Method::OPTIONS
        && uri.authority().is_some()
        && target == "/"
    {
        needed = Some(Allowed::OptionsOfAll);
    } else {
        differ("the target", head.path_and_query(), target)?;
    }
    // hyper takes what it is given; that all who look for a host find the same one is ghostpin's promise.
    let hosts = seen.head.headers().get_all(http::header::HOST);
    let hosts: Vec<String> = hosts.iter().map(|host| escaped(host.as_bytes())).collect();
    let asked = uri.authority().map(|authority| authority.as_str().to_owned());
    let named: BTreeSet<_> = asked.iter().chain(&hosts).map(|host| host.to_ascii_lowercase()).collect();
    if named.len() != 1 || hosts.len() > 1 {
        return Err(format!("it names the hosts {asked:?} and {hosts:?}"));
    }
    differ("the host", head.host(), asked.as_ref().unwrap_or_else(|| &hosts[0]))?;
    differ("the list of fields", &of_fields(&head.fields), &of_map(seen.head.headers()))?;

    if !accepted.is_whole || !seen.is_whole {
        let broken = seen.broken.as_deref().unwrap_or("it does not say why");
        let (short, long) =
            if accepted.is_whole { (&seen.body, &accepted.body) } else { (&accepted.body, &seen.body) };
        // What has come of it may have gone to a backend already.
        if !(long.starts_with(short) || short.starts_with(long)) {
            differ("the beginning of the body", &escaped(&accepted.body), &escaped(&seen.body))?;
        }
        if !accepted.is_whole {
            return Ok(needed);
        }
        if broken.contains("chunk extensions over limit") {
            return Ok(Some(Allowed::Extensions));
        }
        return Err(format!("the body has an end to ghostpin, and none to hyper ({broken})"));
    }
    differ("the body", &escaped(&accepted.body), &escaped(&seen.body))?;
    let mut trailers = seen.trailers.clone().unwrap_or_default();
    // RFC 9110, 6.5.1: ghostpin drops from trailers what has no place there.
    let names: Vec<_> = trailers.keys().cloned().collect();
    for name in names.iter().filter(|name| Known::of(name.as_str().as_bytes()) != Known::Other) {
        trailers.remove(name);
    }
    let kept = accepted.trailers.as_ref().map(of_fields).unwrap_or_default();
    differ("the list of trailers", &kept, &of_map(&trailers))?;
    Ok(needed)
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

type Listed = BTreeMap<String, Vec<String>>;

fn of_fields(fields: &Fields) -> String {
    let mut listed = Listed::new();
    for field in fields.iter() {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        listed.entry(name).or_default().push(escaped(field.value));
    }
    text(&listed)
}

fn of_map(map: &HeaderMap) -> String {
    let mut listed = Listed::new();
    for (name, value) in map {
        listed.entry(name.as_str().to_owned()).or_default().push(escaped(value.as_bytes()));
    }
    text(&listed)
}

fn text(listed: &Listed) -> String {
    if listed.is_empty() { String::new() } else { format!("{listed:?}") }
}
