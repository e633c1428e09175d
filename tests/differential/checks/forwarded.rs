//! Who asks, by which way and for which host: said once to a backend, and by nobody who isn't believed.

use std::net::IpAddr;
use std::sync::Arc;

use ghostpin::http1::RequestHead;
use ghostpin::proxy::headers::{Additions, Peer, write_request};
use ipnet::IpNet;

use super::dice::Dice;
use super::parse::{self, Fields};

const STRANGERS: [&str; 2] = ["192.0.2.7", "2001:db8::7"];
const BELIEVED: [&str; 2] = ["10.1.2.3", "fd00::3"];
const NETWORKS: [&str; 2] = ["10.0.0.0/8", "fd00::/16"];

pub(crate) fn check(head: &RequestHead, dice: &mut Dice) -> Result<(), String> {
    for address in STRANGERS.iter().chain(&BELIEVED) {
        let tls = dice.one_in(2);
        let written = written(head, address, tls);
        let fail = |why: String| format!("{why}, asked by {address}: {}", written.escape_ascii());
        // The head alone is looked at here: with a body of nothing it is a request.
        let whole = [&written[..], b"0\r\n\r\n"].concat();
        let read = parse::request(&whole).or_else(|_| parse::request(&written));
        let fields = match read {
            Ok(request) => request.fields,
            // Its body is missing.
            Err(parse::Stop::More) => continue,
            Err(parse::Stop::Broken(why)) => return Err(fail(why)),
        };
        check_fields(head, &fields, address, tls).map_err(fail)?;
    }
    Ok(())
}

fn networks() -> Arc<[IpNet]> {
    NETWORKS.iter().map(|network| network.parse().expect("a network")).collect()
}

fn written(head: &RequestHead, address: &str, tls: bool) -> Vec<u8> {
    let peer = Peer::new(address.parse().expect("an address"), tls, &networks());
    let mut out = Vec::new();
    write_request(
        &mut out,
        head,
        &Additions { peer: &peer, fixed: &[], request_id: "own-id", epoch: None, trace: None },
    );
    out
}

fn check_fields(head: &RequestHead, fields: &Fields, address: &str, tls: bool) -> Result<(), String> {
    let only = |name: &str| match parse::values(fields, name).collect::<Vec<_>>().as_slice() {
        [value] => Ok(*value),
        values => Err(format!("{} times {name}", values.len())),
    };
    let sent = |name: &str| -> Vec<&[u8]> {
        let of_it = head.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        of_it.map(|field| field.value).collect()
    };
    let own = |name: &str| if name == "x-forwarded-host" { head.host() } else { scheme(tls) };
    let believed = BELIEVED.contains(&address);
    if only("host")? != head.host().as_bytes() || only("x-request-id")? != b"own-id" {
        return Err("another host or another id".into());
    }
    for name in ["x-forwarded-host", "x-forwarded-proto"] {
        // Of several, the last one is that of the peer: whoever came before it may have written the others.
        let said = if believed { sent(name).last().copied() } else { None };
        if only(name)? != said.unwrap_or(own(name).as_bytes()) {
            return Err(format!("another {name}"));
        }
    }
    let forwarded: Vec<&[u8]> = parse::values(fields, "forwarded").collect();
    let expected = if believed { sent("forwarded") } else { Vec::new() };
    let (passed, added) = forwarded.split_at(forwarded.len().min(expected.len()));
    if passed != expected || added.len() != usize::from(!expected.is_empty()) {
        return Err("another Forwarded".into());
    }
    check_chain(only("x-forwarded-for")?, &sent("x-forwarded-for"), address, believed)
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// The chain ends with the peer. Before it is what a believed peer said, from the last address on that is no proxy.
fn check_chain(chain: &[u8], sent: &[&[u8]], address: &str, believed: bool) -> Result<(), String> {
    if !believed {
        return if chain == address.as_bytes() { Ok(()) } else { Err("a stranger's chain".into()) };
    }
    let members = |value: &[u8]| -> Vec<String> {
        let members = value.split(|&byte| byte == b',').map(|member| match std::str::from_utf8(member) {
            Ok(text) => text.trim_matches([' ', '\t']).to_owned(),
            Err(_) => "unknown".to_owned(),
        });
        members.filter(|member| !member.is_empty()).collect()
    };
    let sent: Vec<String> = sent.iter().flat_map(|value| members(value)).collect();
    let mut chain = members(chain);
    if chain.pop().as_deref() != Some(address) || !sent.ends_with(&chain) {
        return Err("a chain that is none".into());
    }
    let is_proxy = |entry: &String| {
        entry
            .parse::<IpAddr>()
            .is_ok_and(|address| networks().iter().any(|network| network.contains(&address)))
    };
    // An entry with a port is a proxy as well, and may only be missing where one without is.
    let later = chain.iter().skip(1).filter(|entry| !entry.contains([':', '[']));
    let strangers = later.filter(|entry| !is_proxy(entry)).count();
    if strangers > 0 || chain.is_empty() != sent.is_empty() {
        return Err("a chain of more than a proxy has seen".into());
    }
    Ok(())
}
