//! The OpenAPI document and the answers, held against each other: every operation is called, with every status that the
//! document names, and every answer has the form that the document gives it.

use std::collections::BTreeSet;
use std::fs;

use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::schema::{check, resolve};
use super::*;
use crate::admin::dashboard::WATCHERS_MAX;
use crate::admin::{DOCUMENT, routes};
use crate::control::fleet::EdgeView;
use crate::core::fleet::Revision;
use crate::core::{Epoch, SiteName};

/// What was called, and what is documented.
struct Contract {
    document: Value,
    seen: BTreeSet<(String, String, u16)>,
}

impl Contract {
    fn read() -> Self {
        Self { document: serde_json::from_str(DOCUMENT).unwrap(), seen: BTreeSet::new() }
    }

    /// Path, method and status of all that is documented.
    fn promised(&self) -> BTreeSet<(String, String, u16)> {
        let mut promised = BTreeSet::new();
        for (path, methods) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                for status in operation["responses"].as_object().unwrap().keys() {
                    promised.insert((path.clone(), method.clone(), status.parse().unwrap()));
                }
            }
        }
        promised
    }

    /// Holds an answer against the document.
    fn hold(&mut self, method: &str, path: &str, reply: &Reply) {
        let status = reply.status.as_u16();
        let body = String::from_utf8_lossy(&reply.body);
        let at = format!("{method} {path} {status}");
        let operation = &self.document["paths"][path][method];
        let mut response = &operation["responses"][status.to_string()];
        assert!(response.is_object(), "{at} is not documented: {body}");
        if let Some(reference) = response.get("$ref") {
            response = resolve(&self.document, reference).unwrap();
        }
        let media = reply.headers[CONTENT_TYPE].to_str().unwrap().split(';').next().unwrap();
        let content = &response["content"][media];
        assert!(content.is_object(), "{at} is not documented as {media}");
        let value = match media.ends_with("json") {
            true => {
                serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{at}: {error}: {body}"))
            }
            false => Value::from(body),
        };
        check(&self.document, &content["schema"], &value, &at).unwrap_or_else(|why| panic!("{why}"));
        if media == "application/problem+json" {
            assert_eq!(value["status"], status, "{at}: the status in the body");
        }
        self.seen.insert((path.to_owned(), method.to_owned(), status));
    }

    /// Calls, and holds the answer against the document. `concrete` is what follows the path's template, filled in.
    async fn call(&mut self, edge: &Edge, operation: &str, concrete: &str, body: &str, status: u16) {
        let (method, path) = operation.split_once(' ').unwrap();
        let reply = edge.send(&method.to_uppercase(), concrete, body).await;
        assert_eq!(
            reply.status,
            status,
            "{operation} at {concrete}: {}",
            String::from_utf8_lossy(&reply.body)
        );
        self.hold(method, path, &reply);
    }
}

#[test]
fn every_route_is_documented_and_the_other_way_round() {
    let promised = Contract::read().promised();
    let documented: BTreeSet<(&str, &str)> =
        promised.iter().map(|(path, method, _)| (path.as_str(), method.as_str())).collect();
    let routed: BTreeSet<(&str, &str)> =
        routes::list().into_iter().map(|(path, method, _)| (path, method)).collect();
    assert_eq!(documented, routed);
}

#[test]
fn every_documented_answer_is_given_in_the_form_that_is_documented() {
    run(async {
        let mut contract = Contract::read();
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        looks(&mut contract, &edge).await;
        wishes(&mut contract, &edge).await;
        configurations(&mut contract, &edge).await;
        fleet(&mut contract, &edge).await;

        let stopping = Edge::stopping().await;
        for (path, method, status) in contract.promised() {
            if status == 503 {
                let query = if path == "/v1/explain" { "?url=blog.example" } else { "" };
                let concrete = path.replace("{name}", "blog").replace("{id}", "none") + query;
                let body = if path.ends_with("handoff") { edge.to(1) } else { String::new() };
                contract.call(&stopping, &format!("{method} {path}"), &concrete, &body, 503).await;
            }
        }

        let locked = Edge::start("listen = \"127.0.0.1:0\"\ntoken = \"right\"").await;
        for (path, method, status) in contract.promised() {
            let concrete = path.replace("{name}", "blog").replace("{id}", "none");
            let mut request =
                locked.client.request(method.to_uppercase().parse().unwrap(), &concrete, "".into());
            match status {
                401 => drop(request.headers_mut().remove("authorization")),
                403 => drop(request.headers_mut().insert("host", "rebound.example".parse().unwrap())),
                415 => drop(request.headers_mut().insert(CONTENT_TYPE, "text/plain".parse().unwrap())),
                _ => continue,
            }
            let reply = locked.client.send(request).await.unwrap();
            assert_eq!(reply.status, status, "{method} {path}");
            contract.hold(&method, &path, &reply);
        }

        let unseen: Vec<_> = contract.promised().difference(&contract.seen).cloned().collect();
        assert_eq!(unseen, [], "documented, and never answered");
    });
}

async fn looks(contract: &mut Contract, edge: &Edge) {
    for (operation, concrete, status) in [
        ("get /", "/", 200),
        ("get /dashboard/{file}", "/dashboard/style.css", 200),
        ("get /dashboard/{file}", "/dashboard/main.js", 200),
        ("get /dashboard/{file}", "/dashboard/icon.svg", 200),
        ("get /dashboard/{file}", "/dashboard/..%2Fmod.rs", 404),
        ("get /v1/search", "/v1/search", 200),
        ("get /v1/search", "/v1/search?text=LOG&from=0&count=100", 200),
        ("get /v1/search", "/v1/search?count=101", 400),
        ("get /v1/live", "/v1/live?site=blog&seconds=0", 200),
        ("get /v1/live", "/v1/live?seconds=3601", 400),
        ("get /healthz", "/healthz", 200),
        ("get /readyz", "/readyz", 200),
        ("get /metrics", "/metrics", 200),
        ("get /metrics", "/metrics?site=blog", 200),
        ("get /metrics", "/metrics?site=nobody", 404),
        ("get /metrics", "/metrics?sites=blog", 400),
        ("get /openapi.json", "/openapi.json", 200),
        ("get /v1/status", "/v1/status", 200),
        ("get /v1/sites", "/v1/sites", 200),
        ("get /v1/sites", "/v1/sites?troubled=true&search=BLOG&order=trouble&limit=1", 200),
        ("get /v1/sites", "/v1/sites?order=color", 400),
        ("get /v1/sites/{name}", "/v1/sites/blog", 200),
        ("get /v1/sites/{name}", "/v1/sites/b%2Fl%0Ag", 404),
        ("get /v1/explain", "/v1/explain?url=https://blog.example/", 200),
        ("get /v1/explain", "/v1/explain?url=https://nobody.example/", 200),
        ("get /v1/explain", "/v1/explain?url=blog.example/.ghost/activitypub/x", 200),
        ("get /v1/explain", "/v1/explain?url=ftp://blog.example/", 400),
        ("get /v1/explain", "/v1/explain", 400),
        ("get /v1/journal", "/v1/journal?site=blog&kind=handoff&count=1", 200),
        ("get /v1/journal", "/v1/journal?count=0", 400),
        ("get /v1/journal", "/v1/journal?count=1001", 400),
        ("get /v1/journal", "/v1/journal?color=red", 400),
        ("get /v1/certificates", "/v1/certificates?problems=false&host=blog.example", 200),
        ("get /v1/certificates", "/v1/certificates", 200),
        ("get /v1/certificates", "/v1/certificates?problems=perhaps", 400),
        ("get /v1/providers", "/v1/providers", 200),
    ] {
        contract.call(edge, operation, concrete, "", status).await;
    }
    let _others = edge.dashboard.places.acquire_many(WATCHERS_MAX as u32).await.unwrap();
    contract.call(edge, "get /v1/live", "/v1/live?seconds=0", "", 429).await;
}

async fn wishes(contract: &mut Contract, edge: &Edge) {
    let handoff = "post /v1/sites/{name}/handoff";
    let (at, too_long) = ("/v1/sites/blog/handoff", " ".repeat(20_000));
    contract.call(edge, handoff, at, &edge.to(1), 200).await;
    contract.call(edge, handoff, at, &edge.to(1), 409).await;
    contract.call(edge, handoff, at, "{\"to\": \"127.0.0.1:9\"}", 422).await;
    contract.call(edge, handoff, at, "{\"too\": \"127.0.0.1:9\"}", 400).await;
    contract.call(edge, handoff, at, &too_long, 413).await;
    contract.call(edge, handoff, "/v1/sites/nobody/handoff", &edge.to(1), 404).await;

    let (hold, release) = ("post /v1/sites/{name}/hold", "post /v1/sites/{name}/release");
    contract.call(edge, hold, "/v1/sites/blog/hold", "", 200).await;
    contract.call(edge, hold, "/v1/sites/nobody/hold", "", 404).await;
    let explain = "get /v1/explain";
    contract.call(edge, explain, "/v1/explain?url=blog.example", "", 200).await;
    contract.call(edge, release, "/v1/sites/blog/release", "", 200).await;
    contract.call(edge, release, "/v1/sites/blog/release", "", 409).await;
    contract.call(edge, release, "/v1/sites/nobody/release", "", 404).await;

    // C answers probes, but not the proof: the handoff is tried, and ends where it began.
    let to_c = edge.to(2);
    let client = edge.client.clone();
    let trying = tokio::task::spawn_local(async move {
        client.send(client.request("POST".parse().unwrap(), at, to_c.into())).await.unwrap()
    });
    edge.until("is proving", |site| site["phase"] == "proving").await;
    contract.call(edge, hold, "/v1/sites/blog/hold", "", 409).await;
    let failed = trying.await.unwrap();
    assert_eq!(failed.status, 502);
    contract.hold("post", "/v1/sites/{name}/handoff", &failed);
    contract.call(edge, "get /v1/sites/{name}", "/v1/sites/blog", "", 200).await;
    contract.call(edge, "get /v1/journal", "/v1/journal", "", 200).await;
    contract.call(edge, "get /metrics", "/metrics", "", 200).await;
}

async fn fleet(contract: &mut Contract, alone: &Edge) {
    let routes = [
        ("get /v1/edges", "/v1/edges"),
        ("get /v1/controller", "/v1/controller"),
        ("post /v1/leave", "/v1/leave"),
    ];
    for (operation, path) in routes {
        contract.call(alone, operation, path, "", 404).await;
    }
    let edge = |name: &str, controller| EdgeView {
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        lease: "1f".to_owned(),
        watermark: 7,
        pending: vec!["blog".to_owned()],
        controller,
        this: !controller,
    };
    let fenced = [(SiteName::from("blog"), Epoch(3), Revision(9))];
    let sees = FleetView::new(vec![edge("a", true), edge("b", false)], fenced);
    let one_of_many = Edge::in_fleet(Ok(sees)).await;
    for (operation, path) in routes {
        contract.call(&one_of_many, operation, path, "", 200).await;
    }
    let controller = one_of_many.json("/v1/controller").await;
    assert_eq!((&controller["elected"], &controller["name"]), (&true.into(), &"a".into()));
    let text = fs::read_to_string(&one_of_many.config).unwrap();
    fs::write(&one_of_many.config, text.replace("hold.max_requests = 2", "hold.max_requests = 3")).unwrap();
    contract.call(&one_of_many, "post /v1/reload", "/v1/reload", "", 202).await;
    contract.call(&one_of_many, "get /v1/status", "/v1/status", "", 200).await;
    let status = one_of_many.json("/v1/status").await;
    assert_eq!(
        (&status["fleet"]["canary"]["says"], &status["refused_update"]),
        (&"gone".into(), &Value::Null)
    );
    let cut_off = Edge::in_fleet(Err("it does not answer".to_owned())).await;
    contract.call(&cut_off, "get /v1/edges", "/v1/edges", "", 503).await;
}

async fn configurations(contract: &mut Contract, edge: &Edge) {
    let (plan, reload) = ("post /v1/plan", "post /v1/reload");
    let text = fs::read_to_string(&edge.config).unwrap();
    let shorter = text
        .replace(&format!("\"{}\",", edge.backends[1]), "")
        .replace("hold.max", "hold.timeout = \"9s\"\nhold.max");
    fs::write(&edge.config, shorter).unwrap();
    contract.call(edge, plan, "/v1/plan", "", 200).await;
    fs::write(&edge.config, "[server").unwrap();
    contract.call(edge, plan, "/v1/plan", "", 422).await;
    contract.call(edge, reload, "/v1/reload", "", 422).await;
    contract.call(edge, "get /v1/status", "/v1/status", "", 200).await;
    contract.call(edge, "get /readyz", "/readyz", "", 200).await;
    // All sites are gone from it: that waits for somebody's word.
    let without = text.split_once("[[site]]").unwrap().0;
    let confirm = "post /v1/updates/{id}/confirm";
    contract.call(edge, confirm, "/v1/updates/none/confirm", "", 404).await;
    fs::write(&edge.config, without).unwrap();
    contract.call(edge, reload, "/v1/reload", "", 422).await;
    contract.call(edge, "get /v1/status", "/v1/status", "", 200).await;
    let waiting = edge.json("/v1/status").await["waiting_updates"][0]["id"].clone();
    let confirmed = format!("/v1/updates/{}/confirm", waiting.as_str().unwrap());
    fs::write(&edge.config, "[server").unwrap();
    contract.call(edge, confirm, &confirmed, "", 422).await;
    fs::write(&edge.config, without).unwrap();
    contract.call(edge, confirm, &confirmed, "", 200).await;
    fs::write(&edge.config, text).unwrap();
    contract.call(edge, reload, "/v1/reload", "", 200).await;
}

#[test]
fn a_service_has_the_form_that_is_documented() {
    let view = crate::provider::merge::ServiceView {
        service: "blog".to_owned(),
        site: String::new(),
        problems: vec!["label ghostpin.port: is missing".to_owned()],
        candidate: String::new(),
        rivals: vec!["blog.1.x".to_owned()],
        moving: true,
    };
    let (document, view) = (Contract::read().document, serde_json::to_value(view).unwrap());
    let documented = &document["components"]["schemas"]["Service"];
    check(&document, documented, &view, "a service").unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(documented["properties"].as_object().unwrap().len(), view.as_object().unwrap().len());
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        for (method, path, status) in
            [("GET", "/v1/site", 404), ("DELETE", "/v1/sites/blog", 405), ("GET", "/v1/reload", 405)]
        {
            let reply = edge.send(method, path, "").await;
            assert_eq!(reply.status, status, "{method} {path}");
            assert_eq!(reply.headers[CONTENT_TYPE], "application/problem+json", "{method} {path}");
            let problem: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(problem["status"], status);
        }
    });
}
