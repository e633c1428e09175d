//! The judge is shown results that are made up, and must catch each bad one.

use super::super::case::Behind;
use super::super::parse;
use super::super::recorder::Item;
use super::case::StreamCase;
use super::judge::judge;
use super::talk::{Outcome, Talk};

const TOKEN: &str = "k0007w";

const ACCEPTED: &str = r#"
[[case]]
name = "accepted"
section = "none"
why = "made up"
method = "POST"
send = [["x-a", "1"]]
data = ["hello"]
answer = [200]
line = "POST /{case} HTTP/1.1"
fields = { x-a = "1" }
body = "hello"
"#;

const REFUSED: &str = r#"
[[case]]
name = "refused"
section = "none"
why = "made up"
send = [["X-A", "1"]]
answer = [400]
"#;

const SEEN: &str = "POST /k0007w HTTP/1.1\r\nhost: a.test\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const LAST: &str = "GET /k0007w-last HTTP/1.1\r\nhost: a.test\r\n\r\n";

fn case(text: &str) -> StreamCase {
    StreamCase::parse("made-up.toml", text).remove(0)
}

fn whole(text: &str) -> Item {
    Item::Whole(parse::request(text.as_bytes()).expect("a request"))
}

fn answered(status: u16, body: &str) -> Outcome {
    Outcome::Answered { status, body: body.into() }
}

fn talk(first: Outcome) -> Talk {
    Talk { case: first, last: Some(answered(200, "GET /k0007w-last")) }
}

fn verdict(case: &StreamCase, talk: &Talk, items: &[Item]) -> String {
    judge(Behind::Recorder, case, TOKEN, talk, &items.iter().collect::<Vec<_>>()).join("\n")
}

#[track_caller]
fn caught(case: &StreamCase, talk: &Talk, items: &[Item], what: &str) {
    let verdict = verdict(case, talk, items);
    assert!(verdict.contains(what), "expected to read {what:?} in: {verdict:?}");
}

#[test]
fn a_stream_as_demanded_passes() {
    assert_eq!(
        verdict(&case(ACCEPTED), &talk(answered(200, "POST /k0007w")), &[whole(SEEN), whole(LAST)]),
        ""
    );
    let refused = case(REFUSED);
    assert_eq!(verdict(&refused, &talk(answered(400, "no")), &[whole(LAST)]), "");
    assert_eq!(verdict(&refused, &talk(Outcome::Reset(1)), &[whole(LAST)]), "");
    assert_eq!(verdict(&refused, &Talk { case: Outcome::GoAway(1), last: None }, &[]), "");
}

#[test]
fn a_stream_that_is_refused_and_reaches_the_backend_is_caught() {
    let refused = case(REFUSED);
    let reset = talk(Outcome::Reset(1));
    caught(&refused, &reset, &[whole(SEEN), whole(LAST)], "1 requests, expected 0");
    let cut = Item::Cut { raw: b"POST /k0007w".to_vec() };
    caught(&refused, &reset, &[cut.clone(), whole(LAST)], "a part of a request");
    let broken = Item::Broken { why: "made up".into(), raw: b"POST /k0007w".to_vec() };
    caught(&refused, &reset, &[broken, whole(LAST)], "no request: made up");
    let passed_on = case(&format!("{REFUSED}reaches = 'no_whole_request'"));
    assert_eq!(verdict(&passed_on, &reset, &[cut, whole(LAST)]), "");
}

#[test]
fn what_was_announced_is_answered_early_in_pieces_alone() {
    let early = format!("{REFUSED}reaches = 'what_was_announced'\nline = 'GET /{{case}} HTTP/1.1'\n");
    let seen = |token: &str| [whole(&format!("GET /{token} HTTP/1.1\r\nhost: a.test\r\n\r\n"))];
    let verdict = |text: &str, token: &str| {
        let talk = Talk { case: answered(200, &format!("GET /{token}")), last: None };
        let wrong = judge(Behind::Recorder, &case(text), token, &talk, &seen(token).each_ref());
        wrong.into_iter().filter(|line| line.starts_with("answered")).collect::<Vec<_>>().join("\n")
    };
    assert!(verdict(&early, "k0007p").contains("answered 200"));
    let early = format!("{early}answered_early = true");
    assert!(verdict(&early, "k0007w").contains("answered 200"));
    assert_eq!(verdict(&early, "k0007p"), "");
}

#[test]
fn what_was_announced_may_reach_the_backend_and_nothing_else() {
    let announced =
        "method = 'POST'\nreaches = 'what_was_announced'\nline = 'POST /{case} HTTP/1.1'\nbody = 'hello'";
    let case = case(&format!("{REFUSED}{announced}"));
    let reset = talk(Outcome::Reset(1));
    assert_eq!(verdict(&case, &reset, &[whole(LAST)]), "");
    assert_eq!(verdict(&case, &reset, &[whole(SEEN), whole(LAST)]), "");
    caught(&case, &reset, &[whole(SEEN), whole(SEEN), whole(LAST)], "2 requests, expected 0");
    caught(&case, &reset, &[whole(&SEEN.replace("hello", "hallo")), whole(LAST)], "the body");
}

#[test]
fn a_stream_that_became_two_requests_or_another_is_caught() {
    let (accepted, right) = (case(ACCEPTED), talk(answered(200, "POST /k0007w")));
    let smuggled = whole("GET /k0007w-smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n");
    caught(&accepted, &right, &[whole(SEEN), smuggled, whole(LAST)], "2 requests, expected 1");
    for (from, to, what) in [("hello", "hallo", "the body"), ("x-a: 1", "x-a: 2", "field x-a")] {
        caught(&accepted, &right, &[whole(&SEEN.replace(from, to)), whole(LAST)], what);
    }
    caught(&accepted, &talk(answered(200, "GET /else")), &[whole(SEEN), whole(LAST)], "is one to GET /else");
}

#[test]
fn a_wrong_end_of_a_stream_is_caught() {
    let (accepted, refused) = (case(ACCEPTED), case(REFUSED));
    caught(&accepted, &talk(Outcome::Reset(1)), &[whole(SEEN), whole(LAST)], "Reset(1), expected");
    caught(&accepted, &talk(answered(400, "")), &[whole(LAST)], "answered 400");
    caught(&refused, &talk(answered(200, "")), &[whole(LAST)], "answered 200");
    caught(&refused, &talk(Outcome::Reset(0)), &[whole(LAST)], "Reset(0)");
    for end in [Outcome::Closed, Outcome::Silent, Outcome::Garbled("x".into()), Outcome::GoAway(0)] {
        let told = format!("{end:?}");
        caught(&refused, &Talk { case: end, last: None }, &[], &told);
    }
    let harmed = Talk { last: Some(Outcome::Closed), ..talk(Outcome::Reset(1)) };
    caught(&refused, &harmed, &[], "the stream behind it");
    caught(&refused, &talk(Outcome::Reset(1)), &[], "saw the last request 0 times");
}
