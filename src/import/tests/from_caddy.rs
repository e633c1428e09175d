//! Caddyfiles whose meaning could be changed without a word: none of it is.

use super::*;

/// What a Caddyfile becomes, once it is accepted.
#[track_caller]
fn caddyfile(text: &str) -> String {
    good(Format::Caddy, text)
}

/// Without the comments.
fn said(made: &str) -> String {
    made.lines().filter(|line| !line.starts_with('#')).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn words_of_a_heredoc_are_no_directives() {
    let made = caddyfile(
        "a.example {\n\trespond /hi <<HTML\n\t\t<p class=\"x>\n\t\t}\n\t\treverse_proxy wrong:1\n\t\tHTML 200\n\treverse_proxy 10.0.0.1:1\n}\n\
         b.example {\n\trespond /bye <<HTML\n\t\t</p \">\n\t\tHTML 200\n\treverse_proxy 10.0.0.2:2\n}\n",
    );
    has(
        &made,
        &[
            "hosts = [\"a.example\"]\nbackends = [\"10.0.0.1:1\"]",
            "hosts = [\"b.example\"]\nbackends = [\"10.0.0.2:2\"]",
            "line 2: `respond /hi <p class=\"x> } reverse_proxy wrong:1 200`",
        ],
    );
    let why = super::made(Format::Caddy, "a.example {\n\trespond <<HTML\n\t\tHello\n}\n").unwrap_err();
    assert_eq!(why, "line 2: the text `<<HTML` is not ended");
}

#[test]
fn a_brace_in_quotes_opens_no_block() {
    let made = caddyfile("a.example {\n\trespond /x \"{\"\n\treverse_proxy 10.0.0.1:1\n}\n");
    has(&made, &["backends = [\"10.0.0.1:1\"]", "line 2: `respond /x {`"]);
}

#[test]
fn a_file_of_windows_is_read_as_any_other() {
    let made = caddyfile("\u{feff}a.example {\r\n\treverse_proxy \\\r\n\t\t10.0.0.1:1\r\n}\r\n");
    has(&made, &["hosts = [\"a.example\"]\nbackends = [\"10.0.0.1:1\"]\n"]);
}

#[test]
fn a_field_that_says_something_else_than_ghostpin_is_told_of() {
    let same = "header_up Host {host}\nheader_up X-Forwarded-For {remote_host}\nheader_up x-forwarded-proto {scheme}\nheader_up X-Forwarded-Host {hostport}\n";
    let made = caddyfile(&format!("a.example\nreverse_proxy 10.0.0.1:1 {{\n{same}}}\n"));
    assert!(!made.contains("header_up"), "{made}");
    for other in [
        "Host {upstream_hostport}",
        "Host other.example",
        "X-Forwarded-For {http.request.header.CF-Connecting-IP}",
        "X-Forwarded-Proto {header.X-Scheme}",
        "X-Forwarded-Host {upstream_hostport}",
    ] {
        let made = caddyfile(&format!("a.example\nreverse_proxy 10.0.0.1:1 {{\nheader_up {other}\n}}\n"));
        has(
            &made,
            &[&format!("line 3: `reverse_proxy`: `header_up {other}`: "), "backends = [\"10.0.0.1:1\"]"],
        );
        lacks(&made, &["headers."]);
    }
}

#[test]
fn a_field_of_one_path_is_not_told_to_the_backend_of_the_site() {
    for below in [
        "handle /api/* {\nreverse_proxy 10.0.0.2:2 {\nheader_up X-Only api\n}\n}\n",
        "reverse_proxy /api/* 10.0.0.2:2 {\n\nheader_up X-Only api\n}\n",
    ] {
        let made = caddyfile(&format!(
            "a.example {{\n{below}reverse_proxy 10.0.0.1:1 {{\nheader_up X-Site a\n}}\n}}\n"
        ));
        has(
            &made,
            &["line 4: `header_up X-Only api` of `/api/*`", "headers.\"X-Site\" = \"a\"", "path = \"/api\""],
        );
        lacks(&made, &["X-Only"]);
    }
    // Nor what Caddy never does, since the first one answers.
    let made =
        caddyfile("a.example\nreverse_proxy 10.0.0.1:1\nreverse_proxy 10.0.0.2:2 {\nheader_up X-Only b\n}\n");
    has(&made, &["line 4: `header_up X-Only b` in `reverse_proxy 10.0.0.2:2`"]);
    lacks(&made, &["X-Only", "10.0.0.2"]);
}

#[test]
fn a_path_that_is_changed_has_no_route() {
    for inner in
        ["uri strip_prefix /x", "rewrite * /y{uri}", "rewrite /x/* /y{uri}", "method POST", "respond 403"]
    {
        let made = caddyfile(&format!(
            "a.example {{\nhandle /x/* {{\n{inner}\nreverse_proxy 10.0.0.2:2\n}}\nreverse_proxy 10.0.0.1:1\n}}\n"
        ));
        has(
            &made,
            &[&format!("line 3: `{inner}` in `handle /x/*`"), "line 4: `reverse_proxy 10.0.0.2:2` in"],
        );
        lacks(&made, &["10.0.0.2"]);
        has(&made, &["backends = [\"10.0.0.1:1\"]"]);
    }
    let made = caddyfile(
        "a.example {\nreverse_proxy /x/* 10.0.0.2:2 {\nrewrite /y{uri}\n}\nhandle_path /z/* {\nreverse_proxy 10.0.0.3:3\n}\nreverse_proxy 10.0.0.1:1\n}\n",
    );
    has(
        &made,
        &["line 3: `reverse_proxy`: `rewrite", "line 6: `reverse_proxy 10.0.0.3:3` in `handle_path /z/*`"],
    );
    lacks(&made, &["10.0.0.2", "10.0.0.3"]);
}

#[test]
fn a_site_whose_paths_are_changed_is_left_out() {
    for block in [
        "rewrite * /app{uri}\nreverse_proxy 10.0.0.1:1\n",
        "uri strip_prefix /app\nhandle {\nreverse_proxy 10.0.0.1:1\n}\n",
        "handle {\nrewrite * /app{uri}\nreverse_proxy 10.0.0.1:1\n}\nreverse_proxy 10.0.0.1:1\n",
        "redir https://other.example{uri}\nreverse_proxy 10.0.0.1:1\n",
    ] {
        let made = caddyfile(&format!("a.example {{\n{block}}}\n"));
        has(&made, &["(a.example) was left out", "`reverse_proxy 10.0.0.1:1`"]);
        lacks(&made, &["10.0.0.1"]);
    }
    // What is for one path only is told of, and no more.
    let made = caddyfile("a.example {\nredir /old /new\nrewrite /a /b\nreverse_proxy 10.0.0.1:1\n}\n");
    has(&made, &["line 2: `redir /old /new`", "line 3: `rewrite /a /b`", "backends = [\"10.0.0.1:1\"]"]);
}

#[test]
fn a_backend_that_speaks_no_clear_http_is_none() {
    for transport in [
        "transport http {\ntls\n}",
        "transport http {\ntls_insecure_skip_verify\n}",
        "transport http {\ntls_server_name b.example\n}",
        "transport http {\nversions h2c\n}",
        "transport http {\nproxy_protocol v1\n}",
        "transport fastcgi {\nroot /srv\n}",
    ] {
        let made = caddyfile(&format!("a.example\nreverse_proxy 10.0.0.1:1 {{\n{transport}\n}}\nlog\n"));
        has(&made, &["`10.0.0.1:1` is no backend that ghostpin could have", "(a.example) was left out"]);
        lacks(&made, &["10.0.0.1"]);
    }
    let made = caddyfile("a.example\nreverse_proxy 10.0.0.1:1 {\ntransport http {\nread_buffer 4096\n}\n}\n");
    has(&made, &["line 4: `read_buffer 4096` in `transport http`", "backends = [\"10.0.0.1:1\"]"]);
}

#[test]
fn variables_are_no_names_of_files_or_addresses() {
    let made = caddyfile(
        "{\nemail {$ACME_EMAIL}\n}\na.example {\ntls {$CERT} {$KEY}\nreverse_proxy /{$API}/* 10.0.0.2:2\nreverse_proxy 10.0.0.1:1\n}\n",
    );
    has(
        &made,
        &[
            "line 2: `email {$ACME_EMAIL}`",
            "line 5: `tls {$CERT} {$KEY}`",
            "`/{$API}/*`: a path is a plain prefix",
        ],
    );
    lacks(&made, &["{$", "[acme]"]);
}

#[test]
fn certificates_are_ordered_where_caddy_ordered_them_or_not_at_all() {
    let site = "a.example {\nreverse_proxy 10.0.0.1:1\n}\n";
    let staging = "https://acme-staging-v02.api.letsencrypt.org/directory";
    let made = caddyfile(&format!("{{\nacme_ca {staging}\n}}\n{site}"));
    has(&said(&made), &[&format!("[acme]\ndirectory = \"{staging}\"\n"), "https = [\"0.0.0.0:443\"]"]);
    for option in
        ["local_certs", "auto_https off", "auto_https disable_certs", "acme_ca {$CA}", "cert_issuer internal"]
    {
        let made = caddyfile(&format!("{{\n{option}\n}}\n{site}"));
        has(&made, &[&format!("line 2: `{option}`"), "\n# [acme]\n# directory = "]);
        lacks(&made, &["[acme]", "https = "]);
    }
    for tls in [
        "tls internal",
        "tls {\nca https://ca.example/directory\n}",
        "tls {\nissuer acme {\ndir https://ca.example/directory\n}\n}",
    ] {
        let made = caddyfile(&format!("a.example {{\n{tls}\nreverse_proxy 10.0.0.1:1\n}}\n"));
        has(&made, &["line 2: `tls ", "\n# [acme]\n", "backends = [\"10.0.0.1:1\"]"]);
        if tls.contains("ca.example") {
            has(&made, &["https://ca.example/directory` in `"]);
        }
        lacks(&made, &["[acme]"]);
    }
}

#[test]
fn what_a_snippet_says_is_told_of_wherever_it_is_imported() {
    let made = caddyfile(
        "(closed) {\nbasic_auth {\nbob hash\n}\n}\n(outer) {\nimport closed\nheader X-From {args[0]}\n}\n(up) {\nreverse_proxy {args[0]}:{args.1}\n}\n\
         a.example {\nhandle {\nimport outer a\nimport up 10.0.0.1 1\n}\n}\n(unused) {\nrequest_body {\nmax_size 1MB\n}\n}\n",
    );
    has(
        &made,
        &[
            "line 2: `basic_auth { ... }`",
            "line 3: `bob hash` in `basic_auth`",
            "line 8: `header X-From a`",
            "backends = [\"10.0.0.1:1\"]",
            "line 19: `(unused) { ... }`: no site imports it",
            "line 21: `max_size 1MB` in `request_body`",
        ],
    );
    let made =
        caddyfile("(site) {\n{args[0]} {\nreverse_proxy {args[1]}\n}\n}\nimport site a.example 10.0.0.1:1\n");
    has(&made, &["hosts = [\"a.example\"]\nbackends = [\"10.0.0.1:1\"]"]);
    let why = super::made(Format::Caddy, "(s) {\nimport s\n}\na.example {\nimport s\n}\n").unwrap_err();
    assert!(why.starts_with("line 2: snippets that import each other"), "{why}");
}

#[test]
fn one_prefix_is_one_route() {
    let made = caddyfile(
        "a.example {\n@admin path /admin /admin/*\nreverse_proxy @admin 10.0.0.2:2\nreverse_proxy 10.0.0.1:1\n}\n",
    );
    assert_eq!(made.matches("path = \"/admin\"").count(), 1, "{made}");
    assert!(!made.contains("a route is"), "all below it was meant\n{made}");
}

#[test]
fn a_host_that_is_served_more_widely_than_before_is_told_of() {
    let made = caddyfile(
        "http://a.example {\nreverse_proxy 10.0.0.1:1\n}\nb.example {\nreverse_proxy 10.0.0.2:2\n}\n",
    );
    has(
        &made,
        &[
            "line 1: `http://a.example` was served at port 80 only in clear text: ghostpin answers for it at every address",
        ],
    );
    let made = caddyfile(
        "https://a.example:8443 {\nreverse_proxy 10.0.0.1:1\n}\nb.example {\nreverse_proxy 10.0.0.2:2\n}\n",
    );
    has(&made, &["line 1: `https://a.example:8443` was served at port 8443 only: ghostpin"]);
    let made = caddyfile(
        "http://a.example {\nredir https://{host}{uri}\n}\na.example {\nreverse_proxy 10.0.0.1:1\n}\n[::1] {\nreverse_proxy 10.0.0.2:2\n}\n",
    );
    assert!(!made.contains("was served"), "{made}");
    has(&made, &["https.redirect = true"]);
    has(&made, &["this host is none that a site can have: `[::1]`"]);
}

#[test]
fn a_certificate_of_ones_own_is_taken_with_whatever_else_is_said_of_tls() {
    let made =
        caddyfile("a.example {\ntls /c.crt /c.key {\nprotocols tls1.3\n}\nreverse_proxy 10.0.0.1:1\n}\n");
    has(&made, &["certificate = \"/c.crt\"\nkey = \"/c.key\"", "line 3: `tls`: `protocols tls1.3`"]);
}

#[test]
fn a_path_without_a_usable_backend_is_told_of() {
    let made = good(
        Format::Caddy,
        "a.example {\n reverse_proxy /x/* https://10.0.0.2\n handle /y/* {\n  reverse_proxy https://10.0.0.2\n }\n reverse_proxy 10.0.0.1:1\n}\n",
    );
    for path in ["/x", "/y"] {
        let told =
            format!("`{path}` had nothing that could be taken over: its requests go to the site's backend");
        assert!(made.contains(&told), "{made}");
    }
}

#[test]
fn all_paths_are_the_whole_site() {
    for block in ["reverse_proxy /* 10.0.0.1:1", "handle /* {\n reverse_proxy 10.0.0.1:1\n}"] {
        let made = good(Format::Caddy, &format!("a.example {{\n{block}\n}}\n"));
        assert!(made.contains("\nbackends = [\"10.0.0.1:1\"]\n"), "{made}");
    }
    let made = good(Format::Caddy, "a.example {\nreverse_proxy 10.0.0.1:1\nrespond /* 404\n}\n");
    assert!(!made.contains("\n[[site]]") && made.contains("it answers before a backend is asked"), "{made}");
}
