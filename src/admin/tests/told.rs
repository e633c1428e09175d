//! What is told: explanations and metrics.

use super::*;
use crate::gate::Entry;
use crate::observe::catalogue::{COUNTS, Family, Kind, OF_A_SITE, OF_THE_PROCESS};
use crate::observe::text::strict::parse;

async fn explained(edge: &Edge, url: &str) -> (Value, String) {
    let answer = edge.json(&format!("/v1/explain?url={}", crate::cli::client::encoded(url))).await;
    let sentences = answer["sentences"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    let text = sentences.collect::<Vec<_>>().join("\n");
    (answer, text)
}

#[test]
fn explain_says_what_a_request_would_meet() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let a = edge.backends[0];

        let (answer, text) = explained(&edge, "https://BLOG.example:8443/a-post/?x=1").await;
        assert_eq!(answer["verdict"], "enter");
        let pin = &answer["pin"];
        assert_eq!(
            (&pin["epoch"], &pin["backend"], &pin["cause"]),
            (&1.into(), &a.to_string().into(), &"first".into())
        );
        assert!(
            text.starts_with("It comes in over TLS, at 127.0.0.1:443; nothing here listens on port 8443"),
            "{text}"
        );
        assert!(text.contains("blog.pem, which"), "{text}");
        assert_eq!(answer["certificate"]["names"], serde_json::json!(["blog.example"]));
        assert!(text.contains("`blog.example` is a host of site `blog`."), "{text}");
        assert!(text.contains("(it was its first backend that was proved)"), "{text}");
        assert!(text.contains(&format!("A GET would go to {a} at once; if")), "{text}");
        assert!(
            text.contains("A POST would") && text.contains("502 says that the outcome is unknown"),
            "{text}"
        );
        let moving = format!("`ghostpin handoff blog --to {}|{}`", edge.backends[1], edge.backends[2]);
        assert!(text.contains(&moving), "{text}");
        assert!(text.contains(&format!("on {a} under epoch 1")), "{text}");
        assert!(text.contains("enters at once, beside 0 requests under way"), "{text}");
        assert!(text.contains(&format!("Candidate {a} (pinned) is well; the last probe")), "{text}");
        assert!(text.contains(&format!("CONFLICT: {} answers", edge.backends[1])), "{text}");

        let (answer, text) = explained(&edge, "deep.in.blog.example").await;
        assert_eq!(answer["matched"], "*.blog.example");
        assert!(
            text.starts_with("It comes in in clear text, at 127.0.0.1:80.\n`deep.in.blog.example` is below"),
            "{text}"
        );

        let (answer, text) = explained(&edge, "http://blog.example/.ghost/activitypub/inbox").await;
        assert_eq!(answer["verdict"], "aside");
        assert_eq!(answer["pin"], Value::Null, "routes have none");
        assert!(text.contains("goes to 127.0.0.1:1"), "{text}");

        let (answer, text) = explained(&edge, "www.nobody.example").await;
        assert_eq!((&answer["verdict"], &answer["status"]), (&"refuse".into(), &404.into()));
        assert!(text.contains("No site has the host `www.nobody.example`"), "{text}");
        assert!(text.ends_with("and then `ghostpin reload`."), "{text}");

        edge.client.post("/v1/sites/blog/hold", None).await.unwrap();
        let gate = edge.gate();
        let hold = || match gate.enter_or_hold(None, 2, None) {
            Ok(Entry::Held(held)) => held,
            other => panic!("{other:?}"),
        };
        let _first = hold();
        let (answer, text) = explained(&edge, "blog.example").await;
        assert_eq!((&answer["verdict"], &answer["ahead"]), (&"hold".into(), &1.into()));
        assert!(text.contains("The gate is shut, phase `draining` since 0."), "{text}");
        assert!(text.contains("A POST would wait, 15.0 s at most, its body unread"), "{text}");
        assert!(text.contains("To let requests in again: `ghostpin release blog`."), "{text}");
        assert!(text.contains("waits for an operator: the site is on hold"), "{text}");
        assert!(text.contains("held behind 1 other, for 15.0 s at most"), "{text}");
        let (answer, text) = explained(&edge, "blog.example/ghost/api/admin/schedules/posts/1").await;
        assert_eq!((&answer["verdict"], &answer["status"]), (&"refuse".into(), &503.into()));
        assert!(text.contains("`/ghost/api/admin/schedules/` is among `hold.never`"), "{text}");

        let _second = hold();
        let (answer, text) = explained(&edge, "blog.example").await;
        assert_eq!((&answer["verdict"], &answer["status"]), (&"refuse".into(), &503.into()));
        assert!(
            text.contains("2 requests are held, as many as `hold.max_requests` of the site allows"),
            "{text}"
        );

        // Released, with both of them not yet done: new arrivals queue behind, the application's own timer does not.
        let _more: Vec<_> = (0..1000).map(|_| gate.enter_or_hold(None, 2000, None).unwrap()).collect();
        edge.client.post("/v1/sites/blog/release", None).await.unwrap();
        assert!(gate.held() > 0, "more wait than are let go at once");
        let (_, text) = explained(&edge, "blog.example").await;
        assert!(text.contains("they go first, in the order of their arrival"), "{text}");
        let (answer, text) = explained(&edge, "blog.example/ghost/api/admin/schedules/posts/1").await;
        assert_eq!(answer["verdict"], "enter");
        assert!(text.contains("enters past them"), "{text}");
    });
}

#[test]
fn explain_says_what_a_handshake_is_shown_and_who_is_sent_to_it() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let (answer, text) = explained(&edge, "https://bad.blog.example/").await;
        assert_eq!(answer["certificate"], Value::Null);
        assert!(
            text.contains("There is no certificate for `bad.blog.example`: the handshake ends"),
            "{text}"
        );

        let wanted =
            std::fs::read_to_string(&edge.config).unwrap().replace("redirect = false", "redirect = true");
        std::fs::write(&edge.config, wanted).unwrap();
        edge.client.post("/v1/reload", None).await.unwrap();
        let (answer, text) = explained(&edge, "http://blog.example/a-post/").await;
        assert_eq!((&answer["verdict"], &answer["status"]), (&"redirect".into(), &301.into()));
        assert_eq!(answer["redirect"], "https://blog.example/a-post/");
        assert!(
            text.contains(
                "It is sent to https://blog.example/a-post/ (301; 308 for a POST), for `https.redirect`"
            ),
            "{text}"
        );
        let (answer, _) = explained(&edge, "http://blog.example/.well-known/acme-challenge/x").await;
        assert_eq!(answer["verdict"], "enter", "what a CA asks for stays in clear text");

        edge.client
            .post("/v1/sites/blog/handoff", Some(serde_json::from_str(&edge.to(1)).unwrap()))
            .await
            .unwrap();
        let (answer, text) = explained(&edge, "https://blog.example/").await;
        assert_eq!((&answer["pin"]["epoch"], &answer["pin"]["cause"]), (&2.into(), &"planned".into()));
        let from = format!("(a planned handoff, from {}, wished by ann@desk", edge.backends[0]);
        assert!(text.contains(&from), "{text}");
    });
}

fn check_families(families: &[Family], kinds: &std::collections::BTreeMap<String, String>) {
    let listed: std::collections::BTreeMap<String, String> = families
        .iter()
        .map(|family| {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            (family.name.to_owned(), kind.to_owned())
        })
        .collect();
    assert_eq!(listed.len(), families.len(), "a name twice in the list");
    assert_eq!(*kinds, listed, "what is told is what is listed");
}

#[test]
fn metrics_are_those_of_the_list_and_a_strict_reader_takes_them() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        edge.client
            .post("/v1/sites/blog/handoff", Some(serde_json::from_str(&edge.to(1)).unwrap()))
            .await
            .unwrap();
        let reply = edge.send("GET", "/metrics", "").await;
        assert_eq!(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        let parsed = parse(&text).unwrap_or_else(|why| panic!("{why}"));
        let all: Vec<Family> = COUNTS.into_iter().chain(OF_THE_PROCESS).collect();
        check_families(&all, &parsed.kinds);
        assert_eq!(parsed.value("ghostpin_sites{phase=\"serving\"}"), 1.0);
        assert_eq!(parsed.value("ghostpin_sites{phase=\"fencing\"}"), 0.0);
        assert_eq!(parsed.value("ghostpin_handoffs_total{cause=\"first\",outcome=\"switched\"}"), 1.0);
        assert_eq!(parsed.value("ghostpin_handoffs_total{cause=\"planned\",outcome=\"switched\"}"), 1.0);
        assert_eq!(parsed.value("ghostpin_conflicts"), 2.0, "A and C answer beside B");
        assert_eq!(parsed.value("ghostpin_late_answers_total"), 0.0);
        assert_eq!(parsed.value("ghostpin_reloads_total"), 1.0);
        assert!(parsed.value("ghostpin_probes_total") >= 3.0);
        assert!(parsed.value("process_resident_memory_bytes") > 100_000.0);
        let started = parsed.value("process_start_time_seconds");
        assert!(parsed.value("ghostpin_last_reload_timestamp_seconds") > started - 1.0);
        assert!(!text.contains("blog"), "no label names a site: there may be 100,000");
    });
}

#[test]
fn one_site_is_told_when_asked_for() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let [a, b, _] = edge.backends;
        let reply = edge.send("GET", "/metrics?site=blog", "").await;
        let parsed = parse(std::str::from_utf8(&reply.body).unwrap()).unwrap_or_else(|why| panic!("{why}"));
        check_families(&OF_A_SITE, &parsed.kinds);
        assert_eq!(parsed.value("ghostpin_site_epoch{site=\"blog\"}"), 1.0);
        assert_eq!(parsed.value("ghostpin_site_phase{site=\"blog\",phase=\"serving\"}"), 1.0);
        assert_eq!(
            parsed.value(&format!("ghostpin_site_candidate_pinned{{site=\"blog\",backend=\"{a}\"}}")),
            1.0
        );
        assert_eq!(
            parsed.value(&format!("ghostpin_site_candidate_conflict{{site=\"blog\",backend=\"{b}\"}}")),
            1.0
        );
    });
}

#[test]
fn every_metric_is_in_the_manual() {
    let manual = include_str!("../../../docs/admin-api.md");
    for family in COUNTS.iter().chain(&OF_THE_PROCESS).chain(&OF_A_SITE) {
        assert!(
            manual.contains(&format!("| `{}` |", family.name)),
            "docs/admin-api.md lacks {}",
            family.name
        );
    }
}

#[test]
fn every_operation_is_in_the_manual() {
    let manual = include_str!("../../../docs/admin-api.md");
    for (path, method, _) in crate::admin::routes::list() {
        let line = format!("| `{} {path}` |", method.to_uppercase());
        assert!(manual.contains(&line), "docs/admin-api.md lacks {line}");
    }
}
