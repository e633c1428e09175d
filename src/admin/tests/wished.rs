//! Wishes, plans and reloads.

use std::fs;

use super::*;

/// What the times of an entry are of.
fn named<'e>(times: &'e Value, key: &str) -> Vec<&'e str> {
    times.as_array().unwrap().iter().map(|time| time[key].as_str().unwrap()).collect()
}

#[test]
fn a_handoff_is_answered_when_it_has_ended_and_the_journal_has_it_whole() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let lease = edge.gate().enter().unwrap();
        let (client, to_b) = (edge.client.clone(), serde_json::from_str(&edge.to(1)).unwrap());
        let wished = tokio::task::spawn_local(async move {
            client.post("/v1/sites/blog/handoff", Some(to_b)).await.unwrap()
        });
        let site = edge.until("drains", |site| site["phase"] == "draining").await;
        assert!(!wished.is_finished(), "a request is still in flight");
        assert!(site["waiting_for"].as_str().unwrap().contains("1 requests in flight"), "{site}");
        drop(lease);
        let stands: Value = serde_json::from_slice(&wished.await.unwrap()).unwrap();
        let (a, b) = (edge.backends[0].to_string(), edge.backends[1].to_string());
        assert_eq!(stands, serde_json::json!({"site": "blog", "epoch": 2, "backend": b}));

        let entry = &edge.json("/v1/journal?site=blog&kind=handoff").await[0];
        assert_eq!(entry["cause"], "planned");
        assert_eq!(entry["outcome"], "switched");
        assert_eq!(entry["from"], serde_json::json!({"epoch": 1, "backend": a}));
        assert_eq!(entry["to"], serde_json::json!({"epoch": 2, "backend": b}));
        let by = entry["wished_by"].as_str().unwrap();
        assert!(by.starts_with("ann@desk (admin API, 127.0.0.1:"), "{by}");
        assert_eq!(named(&entry["phases"], "phase"), ["draining", "proving"], "{entry}");
        assert_eq!(named(&entry["steps"], "step"), ["drain", "prove", "switch"], "{entry}");
        assert_eq!(entry["late_answers"], 0);
        assert_eq!(edge.json("/v1/journal?site=nobody").await, serde_json::json!([]));
    });
}

#[test]
fn the_steps_of_a_hold_can_be_followed_and_end_when_the_last_one_held_was_let_go() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        assert_eq!(edge.json("/v1/sites/blog").await["under_way"], Value::Null);
        edge.client.post("/v1/sites/blog/hold", None).await.unwrap();
        let held = edge.gate().enter_or_hold(None, 1, None).unwrap();
        let under_way = edge.json("/v1/sites/blog").await["under_way"].clone();
        assert_eq!(named(&under_way["steps"], "step"), ["hold"], "{under_way}");
        assert_eq!(under_way["outcome"], Value::Null);
        edge.client.post("/v1/sites/blog/release", None).await.unwrap();
        let site = edge.until("has let go", |site| site["handoffs"][0]["released"] == 1).await;
        assert_eq!(named(&site["handoffs"][0]["steps"], "step"), ["hold", "release"], "{site}");
        assert_eq!(site["under_way"], Value::Null);
        drop(held);
    });
}

#[test]
fn who_stops_waiting_does_not_stop_the_handoff() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let lease = edge.gate().enter().unwrap();
        let (client, to_b) = (edge.client.clone(), serde_json::from_str(&edge.to(1)).unwrap());
        let wished =
            tokio::task::spawn_local(
                async move { drop(client.post("/v1/sites/blog/handoff", Some(to_b)).await) },
            );
        edge.until("drains", |site| site["phase"] == "draining").await;
        wished.abort();
        assert!(wished.await.unwrap_err().is_cancelled(), "the connection is closed");
        drop(lease);
        let site = edge.until("serves again", |site| site["phase"] == "serving").await;
        assert_eq!(site["backend"], edge.backends[1].to_string());
        assert_eq!(site["epoch"], 2);
    });
}

#[test]
fn a_plan_says_what_the_reload_then_does() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let nothing = edge.client.post("/v1/plan", None).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&nothing).unwrap()["text"], "nothing changes");

        let [a, b, _] = edge.backends.map(|backend| backend.to_string());
        let text = fs::read_to_string(&edge.config).unwrap();
        let text = text
            .replace(&format!("\"{a}\","), "")
            .replace("30s\"\n            prove", "20s\"\n            prove");
        let more = format!("[[site]]\nname = \"shop\"\nhosts = [\"shop.example\"]\nbackends = [\"{b}\"]\n");
        fs::write(&edge.config, text.replace("state = ", "threads = 7\nstate = ") + &more).unwrap();
        let plan: Value = serde_json::from_slice(&edge.client.post("/v1/plan", None).await.unwrap()).unwrap();
        assert_eq!(plan["added"], serde_json::json!(["shop"]));
        let keys = serde_json::json!(["backends", "handoff.drain_timeout"]);
        assert_eq!(plan["changed"], serde_json::json!([{"site": "blog", "keys": keys}]));
        assert_eq!(plan["handed_off"], serde_json::json!([{"site": "blog", "from": a}]));
        assert_eq!(plan["needs_restart"], serde_json::json!(["server.threads"]));
        assert_eq!(edge.json("/v1/sites/blog").await["epoch"], 1, "a plan changes nothing");

        let applied: Value =
            serde_json::from_slice(&edge.client.post("/v1/reload", None).await.unwrap()).unwrap();
        assert_eq!(applied["added"], plan["added"]);
        assert_eq!(applied["changed"], serde_json::json!(["blog"]));
        assert_eq!(applied["needs_restart"], plan["needs_restart"]);
        let site = edge.until("is handed off", |site| site["phase"] == "serving" && site["epoch"] == 2).await;
        assert_eq!(site["backend"], b);
        let after: Value =
            serde_json::from_slice(&edge.client.post("/v1/plan", None).await.unwrap()).unwrap();
        assert_eq!(after["needs_restart"], plan["needs_restart"], "it still does");
        assert_eq!(after["changed"], serde_json::json!([]));
    });
}

#[test]
fn a_refused_update_is_seen_everywhere_until_one_is_accepted() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let good = fs::read_to_string(&edge.config).unwrap();
        fs::write(&edge.config, good.replace("hosts", "hostess")).unwrap();
        let refused = edge.client.post("/v1/reload", None).await.unwrap_err().to_string();
        assert!(refused.contains("hostess") && refused.contains("ghostpin.toml:"), "{refused}");
        assert!(edge.json("/v1/status").await["refused_update"].as_str().unwrap().contains("hostess"));
        let ready = edge.send("GET", "/readyz", "").await;
        assert_eq!(ready.status, 200, "the last good state is in force");
        assert!(String::from_utf8_lossy(&ready.body).contains("refused"));
        let metrics = edge.send("GET", "/metrics", "").await;
        assert!(String::from_utf8_lossy(&metrics.body).contains("\nghostpin_update_refused 1\n"));
        assert_eq!(edge.json("/v1/journal?kind=refused_update").await.as_array().unwrap().len(), 1);

        fs::write(&edge.config, good).unwrap();
        edge.client.post("/v1/reload", None).await.unwrap();
        assert_eq!(edge.json("/v1/status").await["refused_update"], Value::Null);
        assert_eq!(edge.send("GET", "/readyz", "").await.body, "ready\n");
    });
}
