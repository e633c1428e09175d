//! Dynamic configurations of Traefik whose meaning could be changed without a word: none of it is.

use super::*;

/// What routers and middlewares become, with one service.
#[track_caller]
fn traefik(routers: &str, middlewares: &str) -> String {
    let service =
        "  services:\n    a:\n      loadBalancer:\n        servers:\n          - url: http://10.0.0.1:1\n";
    let text = format!("http:\n  routers:\n{routers}  middlewares:\n{middlewares}{service}");
    good(Format::Traefik, &text)
}

fn router(more: &str) -> String {
    format!("    a:\n      rule: Host(`a.example`)\n      service: a\n      {more}\n")
}

const REDIRECT: &str = "    redirect:\n      redirectScheme: {scheme: https, permanent: true}\n";
const STRIP: &str = "    strip:\n      stripPrefix:\n        prefixes: [/x]\n";

#[test]
fn entry_points_that_are_not_those_of_the_web_are_told_of() {
    let made = traefik(&router("entryPoints: [web, internal]"), REDIRECT);
    has(
        &made,
        &["line 6: `entryPoints: internal` of the router `a`: ghostpin answers for it at every address"],
    );
    assert!(!made.contains("`entryPoints: web`"), "{made}");
    let made = traefik(&router("entryPoints: [websecure]"), REDIRECT);
    has(&made, &["line 6: `entryPoints: websecure` of the router `a`: without `tls`"]);
    let made = traefik(&router("entryPoints: [websecure]\n      tls: {}"), REDIRECT);
    assert!(!made.contains("entryPoints"), "{made}");
}

#[test]
fn a_chain_that_changes_the_path_does_so_whatever_follows() {
    for links in ["[strip, redirect]", "[redirect, strip]"] {
        let chain = format!("    all:\n      chain:\n        middlewares: {links}\n{REDIRECT}{STRIP}");
        let made = traefik(&router("middlewares: [all]"), &chain);
        has(&made, &["the router `a`: a middleware changes what is asked for"]);
        assert!(!made.contains("[[site]]"), "{made}");
    }
}

#[test]
fn a_redirect_to_another_port_and_a_host_for_the_backend_are_told_of() {
    let made = traefik(
        &router("middlewares: [redirect, host]"),
        "    redirect:\n      redirectScheme: {scheme: https, port: 8443}\n    host:\n      headers:\n        customRequestHeaders:\n          Host: b.example\n",
    );
    has(
        &made,
        &[
            "`redirectScheme.port: 8443` of the middleware `redirect`",
            "`Host` of the middleware `host`",
            "\n[[site]]",
        ],
    );
}

/// These routers, with services `a`, `b` and `none`, which has no server.
#[track_caller]
fn routed(routers: &[(&str, &str)], middlewares: &str) -> String {
    let routers: String = routers.iter().map(|(name, rest)| format!("    {name}: {{{rest}}}\n")).collect();
    let text = format!(
        "http:\n  routers:\n{routers}  middlewares: {{{middlewares}}}\n  services:\n    a: {{loadBalancer: {{servers: [{{url: \"http://10.0.0.1:1\"}}]}}}}\n    b: {{loadBalancer: {{servers: [{{url: \"http://10.0.0.2:2\"}}]}}}}\n    none: {{loadBalancer: {{servers: []}}}}\n"
    );
    good(Format::Traefik, &text)
}

const WILD: &str = "rule: 'HostRegexp(`^.+\\.example\\.com$`)', service: a";

#[test]
fn a_path_without_a_usable_service_is_told_of() {
    let made = routed(
        &[
            ("all", "rule: Host(`a.example`), service: a"),
            ("gone", "rule: Host(`a.example`) && PathPrefix(`/admin`), service: none"),
        ],
        "",
    );
    has(
        &made,
        &["line 4: `/admin` had nothing that could be taken over: its requests go to the site's backend"],
    );
}

#[test]
fn a_path_of_a_host_that_has_no_site_is_told_with_who_answers_for_it() {
    let path = "rule: Host(`b.example.com`) && PathPrefix(`/v1`), service: b";
    let made = routed(&[("sub", path), ("wild", WILD)], "");
    has(
        &made,
        &[
            "`b.example.com` has a block of its own, which proxies nothing; here `*.example.com` stands for it, too",
            "(b.example.com) was left out",
            "line 3: `/v1` goes to 10.0.0.2:2",
        ],
    );
    assert!(!made.contains("nothing answers"), "{made}");
    let made = routed(
        &[
            ("all", "rule: Host(`a.example`) || Host(`c.example`), service: a"),
            ("sub", "rule: Host(`a.example`) && PathPrefix(`/v1`), service: b"),
        ],
        "",
    );
    has(&made, &["line 4: `/v1` is for a.example only; here it holds for all of the site"]);
}

#[test]
fn a_host_whose_router_changes_what_is_asked_for_is_told_with_who_answers_for_it() {
    let www = "rule: Host(`www.example.com`), service: a, middlewares: [r]";
    let made = routed(&[("www", www), ("all", WILD)], "r: {redirectRegex: {regex: x, replacement: y}}");
    has(
        &made,
        &[
            "the router `www`: a middleware changes what is asked for",
            "(www.example.com) was left out",
            "`www.example.com` has a block of its own, which proxies nothing; here `*.example.com` stands for it, too",
        ],
    );
}

#[test]
fn a_router_without_a_rule_is_told_of() {
    has(&routed(&[("idle", "service: a")], ""), &["line 3: the router `idle` has no rule"]);
}

#[test]
fn a_redirect_to_tls_that_no_router_has_is_told_of() {
    let made = traefik(&router("middlewares: [redirect]"), REDIRECT);
    has(&made, &["the router `a` sends clear text to TLS, but no router has `tls`"]);
    lacks(&made, &["https.redirect"]);
}

#[test]
fn a_container_that_no_label_gives_a_router_is_told_of() {
    let made = good(
        Format::Traefik,
        "services:\n  app:\n    labels:\n      - traefik.enable=true\n  web:\n    labels:\n      - traefik.http.services.web.loadbalancer.server.port=80\n",
    );
    has(&made, &["line 4: `app`: no label gives it a router", "line 7: `web`: no label gives it a router"]);
}

#[test]
fn of_two_routers_of_one_name_the_second_is_left_out_and_told_of() {
    let service = |name: &str, host: &str| {
        format!(
            "  {name}:\n    labels:\n      - traefik.http.routers.r.rule=Host(`{host}`)\n      - traefik.http.routers.r.service=s\n      - traefik.http.services.s.loadbalancer.server.port=80\n"
        )
    };
    let made = good(
        Format::Traefik,
        &format!("services:\n{}{}", service("one", "a.example"), service("two", "b.example")),
    );
    has(
        &made,
        &[
            "hosts = [\"a.example\"]",
            "line 9: `routers.r` of `two`: it is there already, with another meaning",
        ],
    );
    lacks(&made, &["b.example"]);
    // What says the same is the same.
    let made = good(
        Format::Traefik,
        &format!("services:\n{}{}", service("one", "a.example"), service("two", "a.example")),
    );
    assert!(!made.contains("already"), "{made}");
}
