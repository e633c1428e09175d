use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::*;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn asker(method: Method, accept: &str) -> Asker {
    let head = format!("{method} / HTTP/1.1\r\nHost: a.example\r\nAccept: {accept}\r\n\r\n");
    Asker::of(&RequestHead::parse(head.as_bytes(), 100).unwrap())
}

fn body(answer: &Answer) -> &[u8] {
    match &answer.body {
        Body::Whole(bytes) => bytes,
        Body::Relayed(..) | Body::Tunnel(_) => panic!("it comes from nowhere else"),
    }
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(body(answer)).unwrap()
}

fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let field = answer.head.fields.iter().find(|field| field.name == name.as_bytes());
    field.map(|field| std::str::from_utf8(field.value).unwrap())
}

fn to_browser(refusal: Refusal, pages: &Pages) -> String {
    text(&refusal.answer(asker(Method::GET, BROWSER), pages, "id-1")).to_owned()
}

#[test]
fn every_refusal_has_its_own_label_and_says_something() {
    let labels: BTreeSet<&str> = Refusal::all().map(|refusal| refusal.words().label).collect();
    assert_eq!(labels.len(), Refusal::all().count());
    for refusal in Refusal::all() {
        let words = refusal.words();
        assert!(words.label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{refusal:?}");
        assert!(!words.title.is_empty() && words.message.ends_with('.'), "{refusal:?}");
        assert!(words.status.is_client_error() || words.status.is_server_error(), "{refusal:?}");
    }
}

#[test]
fn whatever_was_not_carried_out_for_want_of_a_backend_may_come_again() {
    for refusal in Refusal::all() {
        let words = refusal.words();
        assert_eq!(
            words.status == StatusCode::SERVICE_UNAVAILABLE,
            words.retry_after_s.is_some(),
            "{refusal:?}"
        );
        let answer = refusal.answer(asker(Method::GET, "*/*"), &Pages::default(), "id");
        let field = field(&answer, "retry-after").map(|value| value.parse().unwrap());
        assert_eq!(field, words.retry_after_s, "{refusal:?}");
    }
    for (refusal, status) in [
        (Refusal::UnknownHost, 404),
        (Refusal::HeldTooLong, 503),
        (Refusal::TooManyHeld, 503),
        (Refusal::GateShut, 503),
        (Refusal::NoBackend, 503),
        (Refusal::OutcomeUnknown, 502),
        (Refusal::OutcomeUnknownWillRepeat, 503),
        (Refusal::BackendBroken, 502),
        (Refusal::FirstByteTimeout, 504),
        (Refusal::BodyTimeout, 408),
        (Refusal::BadRequest(BadRequest::TwoHosts), 400),
        (Refusal::Stopping, 503),
    ] {
        assert_eq!(refusal.words().status, status, "{refusal:?}");
    }
}

#[test]
fn an_unknown_outcome_is_called_so_to_whoever_asks() {
    for refusal in [Refusal::OutcomeUnknown, Refusal::OutcomeUnknownWillRepeat] {
        for accept in [BROWSER, "application/json"] {
            let answer = refusal.answer(asker(Method::POST, accept), &Pages::default(), "id");
            assert!(text(&answer).contains("may or may not have taken effect"), "{refusal:?}");
        }
    }
    let mute = Pages { bad_gateway: Some("<p>Sorry</p>".into()), ..Pages::default() };
    assert!(to_browser(Refusal::OutcomeUnknown, &mute).contains("may or may not have taken effect"));
    assert_eq!(to_browser(Refusal::BackendBroken, &mute), "<p>Sorry</p>");
}

#[test]
fn a_browser_gets_a_page_and_everybody_else_a_problem_document() {
    for (accept, html) in [
        (BROWSER, true),
        ("application/json, text/HTML;level=1", true),
        ("*/*", false),
        ("text/*", false),
        ("application/json", false),
        ("text/html;q=0, application/json", false),
        ("text/html;level=1; q=0.0", false),
        ("image/avif,image/webp,*/*;q=0.8", false),
        ("", false),
    ] {
        for refusal in Refusal::all() {
            let answer = refusal.answer(asker(Method::GET, accept), &Pages::default(), "id \"1\" <x>");
            assert_eq!(field(&answer, "cache-control"), Some("no-store"));
            if html {
                assert_eq!(field(&answer, "content-type"), Some("text/html; charset=utf-8"), "{accept}");
                assert!(text(&answer).contains("id &quot;1&quot; &lt;x&gt;"), "{refusal:?}");
                for outside in ["{{", "//", "src=", "url(", "@import"] {
                    assert!(!text(&answer).contains(outside), "{outside} in {}", text(&answer));
                }
            } else {
                assert_eq!(field(&answer, "content-type"), Some("application/problem+json"), "{accept}");
                let problem: Value = serde_json::from_str(text(&answer)).unwrap();
                assert_eq!(problem["status"], refusal.words().status.as_u16());
                assert_eq!(problem["code"], refusal.words().label);
                assert_eq!(problem["request_id"], "id \"1\" <x>");
                assert_eq!(problem.get("retry_after").is_some(), refusal.words().retry_after_s.is_some());
            }
        }
    }
    let head = RequestHead::parse(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 100);
    let nobody = Asker::of(&head.unwrap());
    let answer = Refusal::UnknownHost.answer(nobody, &Pages::default(), "id");
    assert_eq!(field(&answer, "content-type"), Some("application/problem+json"));
}

#[test]
fn a_page_reloads_itself_only_if_it_was_asked_for_by_a_method_that_changes_nothing() {
    let reloads = |refusal: Refusal, method| {
        let answer = refusal.answer(asker(method, BROWSER), &Pages::default(), "id");
        let refresh = text(&answer).contains("http-equiv=\"refresh\" content=\"5\"");
        assert_eq!(refresh, text(&answer).contains("location.reload"));
        refresh
    };
    assert!(reloads(Refusal::HeldTooLong, Method::GET));
    assert!(!reloads(Refusal::HeldTooLong, Method::POST));
    assert!(!reloads(Refusal::UnknownHost, Method::GET));
    assert!(!reloads(Refusal::OutcomeUnknown, Method::GET));
}

#[test]
fn an_answer_to_head_has_the_fields_of_its_body_and_no_body() {
    for accept in [BROWSER, "*/*"] {
        let [head, get] = [Method::HEAD, Method::GET]
            .map(|method| Refusal::HeldTooLong.answer(asker(method, accept), &Pages::default(), "id"));
        assert!(body(&head).is_empty());
        assert_eq!(field(&head, "content-length"), Some(body(&get).len().to_string().as_str()));
        assert_eq!(field(&head, "content-type"), field(&get, "content-type"));
    }
}

#[test]
fn a_connection_whose_next_bytes_nobody_can_trust_is_closed() {
    let bad = Refusal::from(BadRequest::LengthAndCoding);
    let closes = |refusal: Refusal| refusal.answer(Asker::unknown(), &Pages::default(), "id").close;
    assert!(closes(bad) && !closes(Refusal::HeldTooLong));
}

#[test]
fn an_operators_template_is_filled_and_nothing_in_it_is_filled_twice() {
    let template = "{{title}}|{{ message }}|{{retry_after}}|{{request_id}}|{{unknown}}|{{reload}}|{{|}}";
    let pages = Pages { unavailable: Some(Arc::from(template)), ..Pages::default() };
    let answer = Refusal::GateShut.answer(asker(Method::GET, BROWSER), &pages, "{{title}}&<");
    let words = Refusal::GateShut.words();
    let expected = format!(
        "{}|{}|5|{{{{title}}}}&amp;&lt;|{{{{unknown}}}}|{{{{reload}}}}|{{{{|}}}}",
        words.title, words.message
    );
    assert_eq!(text(&answer), expected);
    let json = Refusal::GateShut.answer(asker(Method::GET, "*/*"), &pages, "id");
    assert_eq!(field(&json, "content-type"), Some("application/problem+json"));
}

#[test]
fn each_template_stands_for_its_own_statuses() {
    let pages = Pages {
        unavailable: Some("503 {{message}}".into()),
        unknown_host: Some("404 {{message}}".into()),
        bad_gateway: Some("502 {{message}}".into()),
    };
    for refusal in Refusal::all() {
        let page = to_browser(refusal, &pages);
        let own =
            page.split_once(' ').map(|(status, _)| status).filter(|status| status.parse::<u16>().is_ok());
        let expected = match refusal {
            Refusal::UnknownHost | Refusal::SiteRemoved => Some("404"),
            Refusal::OutcomeUnknown | Refusal::BackendBroken | Refusal::FirstByteTimeout => Some("502"),
            Refusal::OutcomeUnknownWillRepeat
            | Refusal::Misdirected
            | Refusal::BadRequest(_)
            | Refusal::BodyTimeout => None,
            _ => Some("503"),
        };
        assert_eq!(own, expected, "{refusal:?}");
    }
}
