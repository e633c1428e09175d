//! Who gets in.

use axum::http::StatusCode;

use super::*;

/// A request with these fields; an empty value takes the field away.
async fn status(edge: &Edge, method: &str, path: &str, fields: &[(&'static str, &str)]) -> StatusCode {
    let mut request = edge.client.request(method.parse().unwrap(), path, "".into());
    for (name, value) in fields {
        request.headers_mut().remove(*name);
        if !value.is_empty() {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
    }
    edge.client.send(request).await.unwrap().status
}

#[test]
fn without_the_token_only_health_is_told() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"\ntoken = \"s3cret\"").await;
        for authorization in
            ["", "s3cret", "Bearer", "Bearer s3cre", "Bearer s3cret2", "Bearer S3CRET", "Basic s3cret"]
        {
            let fields = [("authorization", authorization)];
            assert_eq!(status(&edge, "GET", "/v1/sites", &fields).await, 401, "{authorization:?}");
            assert_eq!(status(&edge, "POST", "/v1/sites/blog/hold", &fields).await, 401, "{authorization:?}");
            assert_eq!(status(&edge, "GET", "/nowhere", &fields).await, 401, "{authorization:?}");
            assert_eq!(status(&edge, "GET", "/healthz", &fields).await, 200);
            assert_eq!(status(&edge, "GET", "/readyz", &fields).await, 200);
        }
        for authorization in ["Bearer s3cret", "bearer  s3cret"] {
            assert_eq!(status(&edge, "GET", "/v1/sites", &[("authorization", authorization)]).await, 200);
        }
        assert_eq!(edge.json("/v1/sites/blog").await["on_hold"], false, "nothing was done");
    });
}

#[test]
fn a_name_that_was_made_to_lead_here_gets_nothing() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        for host in
            ["evil.example", "evil.example:9180", "localhost.evil.example", "10.0.0.1", "[::2]", "a b", "@"]
        {
            assert_eq!(status(&edge, "GET", "/v1/sites", &[("host", host)]).await, 403, "{host}");
            assert_eq!(status(&edge, "GET", "/healthz", &[("host", host)]).await, 403, "{host}");
            assert_eq!(status(&edge, "GET", "/", &[("host", host)]).await, 403, "{host}");
        }
        for host in ["", "localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]:9180"] {
            assert_eq!(status(&edge, "GET", "/v1/sites", &[("host", host)]).await, 200, "{host}");
        }
    });
}

#[test]
fn the_page_of_another_site_changes_nothing() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let own = format!("http://{}", edge.client.place);
        let hold = "/v1/sites/blog/hold";
        for fields in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:1"),
            ("origin", "http://localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(status(&edge, "POST", hold, &[fields]).await, 403, "{fields:?}");
            assert_eq!(status(&edge, "GET", "/v1/sites", &[fields]).await, 200, "looking is no change");
            assert_eq!(status(&edge, "GET", "/v1/live?seconds=0", &[fields]).await, 403, "it takes a place");
        }
        assert_eq!(edge.json("/v1/sites/blog").await["on_hold"], false);
        let own_page = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
        assert_eq!(status(&edge, "POST", hold, &own_page).await, 200);
        assert_eq!(status(&edge, "POST", "/v1/sites/blog/release", &[("sec-fetch-site", "none")]).await, 200);
    });
}

#[test]
fn a_form_changes_nothing_even_if_its_browser_tells_no_origin() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let own = format!("http://{}", edge.client.place);
        for (media, is_a_forms) in [
            ("application/x-www-form-urlencoded", true),
            ("Text/Plain; charset=utf-8", true),
            ("multipart/form-data; boundary=x", true),
            ("application/json", false),
            ("", false),
        ] {
            for path in ["/v1/sites/blog/hold", "/v1/sites/blog/release"] {
                let answered = status(&edge, "POST", path, &[("content-type", media)]).await;
                assert_eq!(answered, if is_a_forms { 415 } else { 200 }, "{media} {path}");
            }
        }
        let own_page = [("content-type", "text/plain"), ("origin", own.as_str())];
        assert_eq!(status(&edge, "POST", "/v1/sites/blog/hold", &own_page).await, 200);
    });
}

#[test]
fn no_answer_may_be_read_by_the_page_of_another_site() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        for (method, path) in
            [("GET", "/"), ("GET", "/v1/sites"), ("POST", "/v1/plan"), ("OPTIONS", "/v1/sites/blog/hold")]
        {
            let mut request = edge.client.request(method.parse().unwrap(), path, "".into());
            let foreign = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
            for (name, value) in foreign {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            let reply = edge.client.send(request).await.unwrap();
            let allowed = reply.headers.keys().find(|name| name.as_str().starts_with("access-control"));
            assert_eq!(allowed, None, "{method} {path}");
        }
    });
}

#[test]
fn through_a_port_that_is_forwarded_to_a_unix_socket_no_foreign_page_comes_in() {
    run(async {
        let edge = Edge::start("listen = \"./admin.sock\"").await;
        for host in ["evil.example", "evil.example:9180", "10.0.0.1", "[::2]"] {
            assert_eq!(status(&edge, "GET", "/v1/sites", &[("host", host)]).await, 403, "{host}");
        }
        for host in ["localhost:9180", "127.0.0.1:9180", "[::1]:9180", "ghostpin", ""] {
            assert_eq!(status(&edge, "GET", "/v1/sites", &[("host", host)]).await, 200, "{host}");
        }
    });
}

#[test]
fn over_a_unix_socket_the_journal_names_the_user() {
    run(async {
        let edge = Edge::start("listen = \"./admin.sock\"").await;
        assert_eq!(status(&edge, "POST", "/v1/sites/blog/hold", &[("host", "any")]).await, 200);
        edge.client.post("/v1/sites/blog/release", None).await.unwrap();
        let entry = &edge.json("/v1/journal?kind=handoff&count=1").await[0];
        let by = format!("ann@desk (admin API, uid {})", rustix::process::getuid().as_raw());
        assert_eq!(entry["cause"], "hold", "{entry}");
        assert_eq!(entry["wished_by"], by, "{entry}");
        assert_eq!(entry["note"], format!("released by {by}"), "{entry}");
    });
}
