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
