//! HTTP/1.1 by random inputs: what ghostpin reads is compared with what hyper reads, what it writes is read again, and
//! bodies are cut in every way. `checks/` says what must hold; here are the inputs, from the strictness corpus and from a
//! grammar. The fuzzers in `fuzz/` give other inputs to the same checks.
//!
//! `GHOSTPIN_SEED=N` repeats a run, `GHOSTPIN_CASES=N` makes a longer one.

// A loader of cases needs some of their keys only.
#[allow(dead_code)]
#[path = "../strict/case.rs"]
mod case;
mod checks;
mod grammar;
mod mutate;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use checks::compare::Allowed;
use checks::dice::Dice;
use checks::{Found, compare, ours, parse, pipe::Manner, theirs};

type Check = fn(&[u8]) -> Result<Found, String>;

const CHECKS: [(&str, Check); 7] = [
    ("request", checks::request),
    ("response", checks::response),
    ("chunked", checks::chunked),
    ("config", checks::config),
    ("differential", checks::differential),
    ("proxied", checks::proxied),
    ("forwarded", checks::forwarded),
];

/// Cases of one test if nobody says otherwise: some seconds on a slow machine.
const CASES: u64 = 60_000;

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|why| panic!("{name}={value}: {why}")))
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    since.as_nanos() as u64
}

/// Gives many inputs to a check. Some must be accepted and some not, or they say nothing.
fn run(check: Check, make: impl Fn(&mut Dice) -> Vec<u8>) {
    let seed = from_environment("GHOSTPIN_SEED").unwrap_or_else(now);
    let cases = from_environment("GHOSTPIN_CASES").unwrap_or(CASES);
    println!("seed {seed}");
    let (began, mut accepted, mut allowed) = (std::time::Instant::now(), 0, BTreeSet::new());
    for number in 0..cases {
        let data = make(&mut Dice::new(seed.wrapping_add(number)));
        let found = checked(check, &data).unwrap_or_else(|why| {
            panic!("{why}\nGHOSTPIN_SEED={seed}, case {number}:\n{}", data.escape_ascii())
        });
        accepted += found.accepted;
        allowed.extend(found.allowed);
    }
    let took = began.elapsed();
    println!("{cases} cases in {took:.1?}, {accepted} accepted, needed {allowed:?}");
    assert!(accepted > 0, "nothing was ever accepted");
}

/// A panic is wrong as well, and is nothing without the bytes that led to it.
fn checked(check: Check, data: &[u8]) -> Result<Found, String> {
    catch_unwind(AssertUnwindSafe(|| check(data))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        Err(format!("it panics: {text}"))
    })
}

/// The texts of the strictness corpus.
fn seeds() -> Vec<Vec<u8>> {
    let expand = |case: &case::Case| case::expand(&case.send, "x").to_vec();
    // A few are about sizes. They are cut, or nearly all time would go into copying them.
    let seeds: Vec<Vec<u8>> = case::corpus("http").iter().map(expand).collect();
    seeds.into_iter().filter(|seed| seed.len() < 3000).collect()
}

fn connection(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    if dice.one_in(2) {
        return mutate::mutated(seeds, dice);
    }
    let made = grammar::requests(dice);
    if dice.one_in(2) { made } else { mutate::mutated(&[made], dice) }
}

fn an_answer(dice: &mut Dice) -> Vec<u8> {
    let made = [grammar::answer(dice), grammar::answer(dice)];
    if dice.one_in(3) { made.concat() } else { mutate::mutated(&made, dice) }
}

/// As [`checks::chunked`] takes it: the pieces, and then the chunks.
fn a_body(dice: &mut Dice) -> Vec<u8> {
    let count = dice.roll(20);
    let mut data = vec![count as u8];
    data.extend((0..count).map(|_| dice.roll(40) as u8));
    let large = if dice.one_in(50) { 20_000 } else { 60 };
    let text: Vec<u8> = (0..dice.roll(large)).map(|_| dice.next() as u8).collect();
    let made = grammar::chunks(&text, dice);
    data.extend(if dice.one_in(2) { made } else { mutate::mutated(&[made], dice) });
    data
}

/// A header of the PROXY protocol, and what a client says behind it.
fn a_header(dice: &mut Dice) -> Vec<u8> {
    let words =
        ["TCP4", "TCP6", "UNKNOWN", "192.0.2.7", "2001:db8::7", "10.1.2.3", "::1", "1", "65535", "é", ""];
    let mut data = if dice.one_in(2) {
        let count = if dice.one_in(2) { 5 } else { dice.roll(30) };
        let mut line: Vec<&str> = vec!["PROXY"];
        line.extend((0..count).map(|_| dice.pick(&words)));
        if dice.one_in(2) {
            line = vec![
                "PROXY",
                dice.pick(&["TCP4", "TCP6"]),
                dice.pick(&words[3..7]),
                dice.pick(&words[3..7]),
                "1",
                "2",
            ];
        }
        line.join(" ").into_bytes()
    } else {
        let bytes = dice.roll(60);
        let (kind, family) =
            (dice.pick(&[&[0x20][..], &[0x21], &[0x22]])[0], dice.pick(&[&[0x11][..], &[0x21], &[0]])[0]);
        let mut data = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        data.extend([kind, family, 0, bytes as u8]);
        data.extend((0..bytes).map(|_| dice.next() as u8));
        data
    };
    data.extend(b"\r\nGET / HTTP/1.1\r\n\r\n");
    if dice.one_in(2) { data } else { mutate::mutated(&[data], dice) }
}

/// A request that says much about who asks.
fn forwarded(dice: &mut Dice) -> Vec<u8> {
    let names = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "Forwarded",
        "Host",
        "Connection",
        "X-Request-Id",
        "X-A",
    ];
    let values = [
        "192.0.2.9",
        "10.9.9.9",
        "10.9.9.9:80",
        "[fd00::9]:80",
        "fd00::9",
        "unknown",
        "a.test",
        "https",
        "for=192.0.2.9",
        "x-forwarded-for",
        "é",
        ",",
    ];
    let mut text = String::from(if dice.one_in(3) {
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
    } else {
        "GET / HTTP/1.1\r\nHost: a.test\r\n"
    });
    for _ in 0..dice.roll(8) {
        let value: Vec<&str> = (0..dice.roll(4)).map(|_| dice.pick(&values)).collect();
        text += &format!("{}: {}\r\n", dice.pick(&names), value.join(dice.pick(&[", ", ",", " "])));
    }
    let made = format!("{text}\r\n").into_bytes();
    if dice.one_in(2) { made } else { mutate::mutated(&[made], dice) }
}

#[test]
fn a_header_of_the_proxy_protocol_names_one_client_in_whatever_pieces_it_comes() {
    run(checks::proxied, a_header);
}

#[test]
fn who_asks_is_said_once_and_by_nobody_who_is_not_believed() {
    run(checks::forwarded, forwarded);
}

#[test]
fn what_ghostpin_accepts_hyper_reads_the_same_way() {
    let seeds = seeds();
    run(checks::differential, |dice| connection(&seeds, dice));
}

#[test]
fn what_is_accepted_is_written_as_exactly_one_request() {
    let seeds = seeds();
    run(checks::request, |dice| connection(&seeds, dice));
}

#[test]
fn an_answer_is_written_so_that_every_client_finds_its_end() {
    run(checks::response, an_answer);
}

#[test]
fn a_body_is_the_same_in_whatever_pieces_it_comes_and_goes() {
    run(checks::chunked, a_body);
}

/// Inputs that once broke a promise.
#[test]
fn what_was_once_found_holds() {
    for (name, check) in CHECKS {
        for file in files(&repo().join("fuzz/regressions").join(name)) {
            let data = std::fs::read(&file).expect("a file of the repository");
            if let Err(why) = checked(check, &data) {
                panic!("{}: {why}", file.display());
            }
        }
    }
}

/// A rule that sees nothing would hold for ever.
#[test]
fn the_comparison_sees_each_difference() {
    let read = |text: &str| {
        let (data, limits) = (text.as_bytes(), ours::USUAL);
        (ours::read(data, Manner::Whole, limits), theirs::read(data, Manner::Whole, limits))
    };
    let first = "POST /a HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\nab";
    let (ours, theirs) = read(first);
    assert_eq!(compare::compare(&ours, &theirs), Ok(Vec::new()));
    for other in [
        "",
        "PUT /a HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /b HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /a HTTP/1.0\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /a HTTP/1.1\r\nHost: b\r\nX: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /a HTTP/1.1\r\nHost: a\r\nX: 2\r\nContent-Length: 2\r\n\r\nab",
        "POST /a HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\nac",
        "POST /a HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\na",
        "POST /a HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let (_, theirs) = read(other);
        assert!(compare::compare(&ours, &theirs).is_err(), "{other:?}");
    }
    for hosts in ["Host: a\r\nHost: b", "Host: a\r\nHost: a"] {
        let (_, theirs) = read(&first.replace("Host: a", hosts));
        assert!(compare::compare(&ours, &theirs).is_err(), "{hosts:?}");
    }
    let extended = format!("1;{}\r\na\r\n", "x".repeat(900)).repeat(20);
    let extended =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{extended}0\r\n\r\n");
    for (text, exception) in [
        ("GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n", Allowed::TargetCharacter),
        ("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", Allowed::OptionsOfAll),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\nabc",
            Allowed::LargestLength,
        ),
        (
            "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, é\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            Allowed::OpaqueKeepAlive,
        ),
        (&extended, Allowed::Extensions),
    ] {
        let (ours, theirs) = read(text);
        assert_eq!(compare::compare(&ours, &theirs), Ok(vec![exception]), "{text:?}");
    }
}

/// Not a test: `scripts/fuzz` lets the fuzzers begin with what is known.
#[test]
#[ignore = "writes fuzz/corpus/, for scripts/fuzz"]
fn write_the_seeds_of_the_fuzzers() {
    let mut dice = Dice::new(1);
    let made = |make: &dyn Fn(&mut Dice) -> Vec<u8>, dice: &mut Dice| (0..200).map(|_| make(dice)).collect();
    let mut connections = seeds();
    connections.extend((0..200).map(|_| grammar::requests(&mut dice)));
    let example = std::fs::read(repo().join("config/ghostpin.toml")).expect("the example");
    let mut configs: Vec<Vec<u8>> = example.split(|byte| *byte == b'[').map(<[u8]>::to_vec).collect();
    configs.push(example);
    for (name, seeds) in [
        ("request", connections.clone()),
        ("differential", connections),
        ("response", made(&grammar::answer, &mut dice)),
        ("chunked", made(&a_body, &mut dice)),
        ("config", configs),
        ("proxied", made(&a_header, &mut dice)),
        ("forwarded", made(&forwarded, &mut dice)),
    ] {
        let folder = repo().join("fuzz/corpus").join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:04}")), seed).expect("a file");
        }
    }
}

fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// In the order of their names; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}
