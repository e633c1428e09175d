//! The judge, the strict reader and the bookkeeping are shown results that are made up, and must catch each bad one: a
//! corpus whose checker sees nothing would pass for ever.

use super::behind::{Connection, Understood};
use super::case::{Behind, Case, expand};
use super::judge::judge;
use super::parse::{self, Answer, Stop};
use super::recorder::Item;
use super::stage::by_token;
use super::talk::{End, Talk};

const TOKEN: &str = "k0007w";

const ACCEPTED: &str = r#"
[[case]]
name = "accepted"
section = "none"
why = "made up"
send = "POST /{case} HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"
answer = [200]
line = "POST /{case} HTTP/1.1"
fields = { x-a = "1" }
absent = ["x-b"]
body = "hello"
framing = "length"
"#;

const REFUSED: &str = r#"
[[case]]
name = "refused"
section = "none"
why = "made up"
send = "GET /{case} HTTP/1.1\r\nHost : a.test\r\n\r\n"
answer = [400]
"#;

const SEEN: &str = "POST /k0007w HTTP/1.1\r\nhost: a.test\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello";
const LAST: &str = "GET /k0007w-last HTTP/1.1\r\nhost: a.test\r\n\r\n";

fn case(text: &str) -> Case {
    Case::parse("made-up.toml", text).remove(0)
}

fn whole(text: &str) -> Item {
    Item::Whole(parse::request(text.as_bytes()).expect("a request"))
}

fn cut(text: &str) -> Item {
    Item::Cut { raw: text.into() }
}

fn answer(status: u16, saw: &str) -> Answer {
    Answer { status, saw: (!saw.is_empty()).then(|| saw.to_owned()) }
}

/// What is right for [`ACCEPTED`].
fn went_on() -> Talk {
    Talk {
        interim: Vec::new(),
        answers: vec![answer(200, "POST /k0007w")],
        last: Some(answer(200, "GET /k0007w-last")),
        end: End::Open,
    }
}

/// What is right for [`REFUSED`].
fn closed() -> Talk {
    Talk { interim: Vec::new(), answers: vec![answer(400, "")], last: None, end: End::Closed }
}

fn verdict(case: &Case, talk: &Talk, items: &[Item]) -> String {
    judge(Behind::Recorder, case, TOKEN, talk, &items.iter().collect::<Vec<_>>()).join("\n")
}

#[track_caller]
fn caught(case: &Case, talk: &Talk, items: &[Item], what: &str) {
    let verdict = verdict(case, talk, items);
    assert!(verdict.contains(what), "expected to read {what:?} in: {verdict:?}");
}

#[test]
fn what_is_as_demanded_passes() {
    assert_eq!(verdict(&case(ACCEPTED), &went_on(), &[whole(SEEN), whole(LAST)]), "");
    assert_eq!(verdict(&case(REFUSED), &closed(), &[]), "");
}

#[test]
fn a_second_request_is_caught() {
    let smuggled = whole("GET /k0007w-smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n");
    caught(&case(ACCEPTED), &went_on(), &[whole(SEEN), smuggled, whole(LAST)], "2 requests, expected 1");
    caught(&case(ACCEPTED), &went_on(), &[whole(SEEN), whole(SEEN), whole(LAST)], "2 requests, expected 1");
    caught(&case(ACCEPTED), &went_on(), &[whole(SEEN), whole(LAST), whole(LAST)], "last request 2 times");
}

#[test]
fn a_request_that_never_came_is_caught() {
    caught(&case(ACCEPTED), &went_on(), &[whole(LAST)], "0 requests, expected 1");
    caught(&case(ACCEPTED), &went_on(), &[whole(SEEN)], "last request 0 times");
}

#[test]
fn a_refused_request_at_the_backend_is_caught() {
    caught(&case(REFUSED), &closed(), &[whole(SEEN)], "1 requests, expected 0");
    caught(&case(REFUSED), &closed(), &[cut("GET /k0007w HT")], "a part of a request");
    let broken = Item::Broken { why: "a bare LF".into(), raw: b"GET /k0007w\n".to_vec() };
    caught(&case(REFUSED), &closed(), &[broken], "no request: a bare LF");
}

#[test]
fn a_part_is_no_failure_where_bodies_are_passed_on() {
    let case = case(&format!("{REFUSED}reaches = 'no_whole_request'"));
    assert_eq!(verdict(&case, &closed(), &[cut("POST /k0007w HTTP/1.1\r\n")]), "");
    caught(&case, &closed(), &[whole(SEEN)], "1 requests, expected 0");
}

#[test]
fn another_meaning_at_the_backend_is_caught() {
    for (from, to, what) in [
        ("POST /k0007w ", "POST /k0007w/x ", "the request line"),
        ("hello", "hallo", "the body"),
        ("x-a: 1", "x-a: 2", "field x-a"),
        ("x-a: 1\r\n", "", "field x-a"),
        ("x-a: 1", "x-a: 1\r\nx-a: 1", "field x-a"),
        ("x-a: 1", "x-a: 1\r\nx-b: 1", "field x-b"),
        (
            "content-length: 5\r\n\r\nhello",
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "framing",
        ),
    ] {
        let seen = SEEN.replace(from, to);
        assert_ne!(seen, SEEN);
        caught(&case(ACCEPTED), &went_on(), &[whole(&seen), whole(LAST)], what);
    }
}

#[test]
fn a_wrong_answer_is_caught() {
    let (accepted, refused) = (case(ACCEPTED), case(REFUSED));
    caught(&accepted, &closed(), &[], "answered 400, expected one of [200]");
    caught(&refused, &went_on(), &[whole(SEEN), whole(LAST)], "answered 200, expected one of [400]");
    caught(&refused, &Talk { answers: Vec::new(), ..closed() }, &[], "no answer");
    let two = Talk { answers: vec![answer(400, ""), answer(200, "GET /x")], ..closed() };
    caught(&refused, &two, &[], "answers [200] to what is no request");
    let more = Talk { answers: vec![answer(200, "POST /k0007w"), answer(200, "GET /k0007w-2")], ..went_on() };
    caught(&accepted, &more, &[whole(SEEN), whole(LAST)], "answers [200] to what is no request");
    let another = Talk { answers: vec![answer(200, "GET /of-somebody-else")], ..went_on() };
    caught(&accepted, &another, &[whole(SEEN), whole(LAST)], "is one to \"GET /of-somebody-else\"");
    let told_to_go_on = Talk { interim: vec![100], ..went_on() };
    caught(&accepted, &told_to_go_on, &[whole(SEEN), whole(LAST)], "interim answers [100]");
}

#[test]
fn a_wrong_end_is_caught() {
    let (accepted, refused) = (case(ACCEPTED), case(REFUSED));
    let open = Talk { answers: vec![answer(400, "")], ..went_on() };
    caught(&refused, &open, &[whole(LAST)], "the connection was not closed");
    let silent = Talk { end: End::Silent, ..closed() };
    caught(&refused, &silent, &[], "Silent");
    let cut_off = Talk { end: End::CutOff, ..closed() };
    caught(&refused, &cut_off, &[], "CutOff");
    let garbled = Talk { end: End::Garbled("no status line".into()), ..closed() };
    caught(&refused, &garbled, &[], "no status line");
    let ended = Talk { last: None, end: End::Closed, ..went_on() };
    caught(&accepted, &ended, &[whole(SEEN)], "the connection was closed");
}

#[test]
fn a_missing_refusal_of_what_follows_is_caught() {
    let case = case(&format!("{ACCEPTED}next_answer = [400]"));
    let both = Talk { answers: vec![answer(200, "POST /k0007w"), answer(400, "")], ..closed() };
    assert_eq!(verdict(&case, &both, &[whole(SEEN)]), "");
    let one = Talk { answers: vec![answer(200, "POST /k0007w")], ..closed() };
    caught(&case, &one, &[whole(SEEN)], "no refusal of the last request");
}

#[test]
fn answers_in_another_order_are_caught() {
    let next = "GET /k0007w-2 HTTP/1.1\r\nhost: a.test\r\n\r\n";
    let case = case(&format!("{ACCEPTED}requests = 2\nnext = ['GET /{{case}}-2 HTTP/1.1']"));
    let [first, second] = ["POST /k0007w", "GET /k0007w-2"].map(|saw| answer(200, saw));
    let right = Talk { answers: vec![first.clone(), second.clone()], ..went_on() };
    // Connections have no order among themselves.
    for items in [[whole(SEEN), whole(next), whole(LAST)], [whole(next), whole(LAST), whole(SEEN)]] {
        assert_eq!(verdict(&case, &right, &items), "");
        let turned = Talk { answers: vec![second.clone(), first.clone()], ..went_on() };
        caught(&case, &turned, &items, "the request line");
        let twice = Talk { answers: vec![first.clone(), first.clone()], ..went_on() };
        caught(&case, &twice, &items, "the answer to GET /k0007w-2");
    }
}

#[test]
fn what_the_backend_refuses_must_have_reached_it_and_be_refused() {
    let case = case(&format!("{ACCEPTED}refused_by = ['nginx']"));
    let refused = Talk { answers: vec![answer(400, "")], ..went_on() };
    let verdict = |talk: &Talk, items: &[Item]| {
        judge(Behind::Nginx, &case, TOKEN, talk, &items.iter().collect::<Vec<_>>()).join("\n")
    };
    assert_eq!(verdict(&refused, &[whole(SEEN), whole(LAST)]), "");
    let changed = SEEN.replace("hello", "hallo");
    assert!(verdict(&refused, &[whole(&changed), whole(LAST)]).contains("the body"));
    assert!(verdict(&refused, &[whole(LAST)]).contains("answered 400, expected one of [200]"));
    assert!(verdict(&went_on(), &[whole(SEEN), whole(LAST)]).contains("expected a refusal by the backend"));
    caught(&case, &refused, &[whole(SEEN), whole(LAST)], "answered 400, expected one of [200]");
}

#[test]
fn another_understanding_of_the_backend_is_caught() {
    let one = |text: &str| Understood::of(&parse::request(text.as_bytes()).expect("a request"));
    let differences = |items: &[Item], understood: &[Understood], may_refuse: bool| {
        let connection = Connection { items: items.to_vec(), understood: Some(understood.to_vec()) };
        connection.differences(|_| may_refuse).join("\n")
    };
    let items = [whole(SEEN), whole(LAST)];
    assert_eq!(differences(&items, &[one(SEEN), one(LAST)], false), "");
    assert_eq!(differences(&items, &[one(LAST)], true), "", "the first was refused");
    assert_eq!(differences(&[whole(LAST), cut("POST /k0007w")], &[one(LAST)], false), "");
    for (from, to) in [("hello", "hallo"), ("POST", "PUT"), ("/k0007w", "/k0007x"), ("a.test", "b.test")] {
        let another = one(&SEEN.replace(from, to));
        assert!(differences(&items, &[another.clone(), one(LAST)], false).contains("the backend understood"));
        assert!(differences(&items, &[another, one(LAST)], true).contains("the backend understood"));
    }
    assert!(differences(&items, &[one(SEEN)], false).contains("nothing"));
    assert!(differences(&items, &[one(SEEN), one(LAST), one(LAST)], false).contains("in addition"));
    assert!(differences(&[cut("POST /k0007w")], &[one(SEEN)], false).contains("in addition"));
}

#[test]
fn either_way_must_be_right() {
    let text =
        ACCEPTED.replace("answer = [200]", "answer = [200, 400]\naccept_or_refuse = true\nafter = 'either'");
    let case = case(&text);
    assert_eq!(verdict(&case, &went_on(), &[whole(SEEN), whole(LAST)]), "");
    assert_eq!(verdict(&case, &closed(), &[]), "");
    caught(&case, &closed(), &[whole(SEEN)], "1 requests, expected 0");
    let seen = SEEN.replace("hello", "hallo");
    caught(&case, &went_on(), &[whole(&seen), whole(LAST)], "the body");
}

#[test]
fn the_strict_reader_takes_nothing_that_reads_in_two_ways() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\n";
    for bad in [
        "GET / HTTP/1.0\r\nhost: a\r\n\r\n".into(),
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        "GET / HTTP/1.1\nhost: a\r\n\r\n".into(),
        "GET / HTTP/1.1\r\n\r\n".into(),
        format!("{head}host: a\r\n\r\n"),
        format!("{head}x : 1\r\n\r\n"),
        format!("{head}x: 1\r\n 2\r\n\r\n"),
        format!("{head}x: 1\n\r\n"),
        format!("{head}x: 1\ry: 2\r\n\r\n"),
        format!("{head}x: \0\r\n\r\n"),
        format!("{head}no colon\r\n\r\n"),
        format!("{head}content-length: +5\r\n\r\nhello"),
        format!("{head}content-length: 5\r\ncontent-length: 5\r\n\r\nhello"),
        format!("{head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n1;a\r\na\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"),
    ] {
        assert!(matches!(parse::request(bad.as_bytes()), Err(Stop::Broken(_))), "{bad:?}");
    }
    for end in 1..SEEN.len() {
        assert_eq!(parse::request(&SEEN.as_bytes()[..end]).err(), Some(Stop::More), "the first {end} bytes");
    }
}

#[test]
fn what_has_no_token_belongs_to_what_it_came_behind() {
    let remains = || Item::Broken { why: "made up".into(), raw: b"0\r\n\r\n".to_vec() };
    let connections = [vec![whole(SEEN), remains()], vec![remains()]];
    let (known, stray) = by_token(connections.iter().map(Vec::as_slice));
    assert_eq!(known[TOKEN].len(), 2);
    assert_eq!(stray.len(), 1);
}

#[test]
fn placeholders_stand_for_bytes_and_other_braces_for_themselves() {
    assert_eq!(expand("/{case}{x}{", "k0001p"), b"/k0001p{x}{");
    assert_eq!(expand("{bytes:80 ff}{repeat:a: b\r\n:2}", ""), b"\x80\xffa: b\r\na: b\r\n");
    assert_eq!(expand("{bytes:zz}{repeat:a}", ""), b"{bytes:zz}{repeat:a}");
}

#[test]
fn a_case_that_contradicts_itself_is_not_taken() {
    for text in [
        REFUSED.replace("{case}", "x"),
        REFUSED.replace("[400]", "[]"),
        REFUSED.replace("[400]", "[200, 400]"),
        format!("{REFUSED}body = 'x'"),
        format!("{REFUSED}unknown = 'x'"),
        format!("{ACCEPTED}accept_or_refuse = true"),
        format!("{ACCEPTED}requests = 2"),
        ACCEPTED.replace("line = ", "# "),
    ] {
        // The panic is the refusal; its text would only look like a failure here.
        let refused = std::panic::catch_unwind(|| Case::parse("made-up.toml", &text)).is_err();
        assert!(refused, "{text}");
    }
}
