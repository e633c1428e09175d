//! Files of HAProxy whose meaning could be changed without a word: none of it is.

use super::*;

/// What a file becomes, once it is accepted.
#[track_caller]
fn haproxy(text: &str) -> String {
    good(Format::Haproxy, text)
}

const WEB: &str = "frontend web\n bind :80\n use_backend a if { hdr(host) a.example }\n";

#[test]
fn a_format_is_no_fixed_value_of_a_field() {
    let made = haproxy(&format!(
        "{WEB}backend a\n http-request set-header X-Client %ci\n http-request set-header X-Name \"my blog\"\n http-request set-header Host b.example\n http-request set-header X-Var \"$NAME\"\n server a 10.0.0.1:1\n"
    ));
    has(
        &made,
        &[
            "headers.\"X-Name\" = \"my blog\"",
            "line 5: `http-request set-header X-Client %ci`",
            "line 7: ",
            "line 8: ",
        ],
    );
    lacks(&made, &["%ci"]);
    lacks(&made, &["b.example"]);
    lacks(&made, &["$NAME"]);
}

#[test]
fn a_redirect_of_some_is_none_of_all() {
    let with = |redirect: &str| {
        haproxy(&format!(
            "frontend web\n bind :80\n {redirect}\n use_backend a if {{ hdr(host) a.example }}\nbackend a\n server a 10.0.0.1:1\n"
        ))
    };
    for all in [
        "redirect scheme https",
        "http-request redirect scheme https code 301 unless { ssl_fc }",
        "redirect scheme https if !{ ssl_fc }",
    ] {
        has(&with(all), &["https.redirect = true"]);
    }
    let made = with("redirect scheme https if { hdr(host) -i only.example }");
    has(&made, &["line 3: `redirect scheme https if { hdr(host) -i only.example }`"]);
    lacks(&made, &["https.redirect"]);
}

#[test]
fn hosts_and_paths_of_one_name_are_alternatives_of_which_neither_is_taken() {
    let made = haproxy(&format!(
        "{WEB} acl mixed hdr(host) b.example\n acl mixed path_beg /m\n use_backend b if mixed\nbackend a\n server a 10.0.0.1:1\nbackend b\n server b 10.0.0.2:2\n"
    ));
    has(
        &made,
        &[
            "line 5: `acl mixed path_beg /m`: hosts and paths are alternatives",
            "line 6: `use_backend b if mixed`",
        ],
    );
    lacks(&made, &["10.0.0.2"]);
}

#[test]
fn alternatives_are_told_apart_from_what_holds_together() {
    let made = haproxy(
        "frontend web\n bind :80\n use_backend b if { hdr(host) a.example } { path_beg /b } or { hdr(host) b.example }\n use_backend a if { hdr(host) a.example }\nbackend a\n server a 10.0.0.1:1\nbackend b\n server b 10.0.0.2:2\n",
    );
    has(
        &made,
        &[
            "hosts = [\"a.example\"]\nbackends = [\"10.0.0.1:1\"]",
            "path = \"/b\"\nupstream = \"10.0.0.2:2\"",
            "hosts = [\"b.example\"]\nbackends = [\"10.0.0.2:2\"]",
        ],
    );
    let made = haproxy(&format!(
        "{WEB} use_backend b if {{ hdr(host) a.example }} {{ path_beg /b }}\nbackend a\n server a 10.0.0.1:1\nbackend b\n server b 10.0.0.2:2\n"
    ));
    has(&made, &["line 4: `/b`: the rule before it takes all of the host"]);
    lacks(&made, &["10.0.0.2"]);
}

#[test]
fn a_server_that_no_reader_was_sent_to_is_not_pinned_first() {
    let made = haproxy(&format!(
        "{WEB}backend a\n server off 10.0.0.1:1 disabled\n server idle 10.0.0.2:2 weight 0\n server on 10.0.0.3:3\n server spare 10.0.0.4:4 backup\n"
    ));
    has(
        &made,
        &[
            "backends = [\"10.0.0.3:3\", \"10.0.0.4:4\", \"10.0.0.2:2\"]",
            "line 5: `server off 10.0.0.1:1 disabled` of `backend a`: it is disabled",
            "line 6: `server idle 10.0.0.2:2 weight 0` of `backend a`: no reader was sent there",
        ],
    );
}

#[test]
fn a_server_that_speaks_no_clear_http_is_no_backend() {
    for options in ["ssl verify none", "send-proxy-v2", "proto h2"] {
        let made = haproxy(&format!("{WEB}backend a\n server a 10.0.0.1:1 {options}\n"));
        has(
            &made,
            &[
                &format!("line 5: `server a 10.0.0.1:1 {options}` of `backend a`: "),
                "(a.example) was left out",
            ],
        );
        let made = haproxy(&format!("{WEB}backend a\n default-server {options}\n server a 10.0.0.1:1\n"));
        has(&made, &["line 6: `server a 10.0.0.1:1` of `backend a`: ", "(a.example) was left out"]);
    }
}

#[test]
fn a_backend_whose_paths_are_changed_or_that_has_fields_is_no_plain_route() {
    let api = " use_backend b if { hdr(host) a.example } { path_beg /b/ }\n use_backend a if { hdr(host) a.example }\n";
    let with = |line: &str| {
        haproxy(&format!(
            "frontend web\n bind :80\n{api}backend a\n server a 10.0.0.1:1\nbackend b\n {line}\n server b 10.0.0.2:2\n"
        ))
    };
    let made = with("http-request replace-path /b(/)?(.*) /\\2");
    has(&made, &["line 8: `http-request replace-path /b(/)?(.*) /\\2` of `backend b`: it changes the path"]);
    lacks(&made, &["10.0.0.2"]);
    let made = with("http-request set-header X-Only b");
    has(
        &made,
        &[
            "line 3: `X-Only` of `backend b`: a route has no header fields of its own",
            "upstream = \"10.0.0.2:2\"",
        ],
    );
    lacks(&made, &["X-Only"]);
}

#[test]
fn a_host_that_is_served_more_widely_than_before_is_told_of() {
    let made = haproxy(&format!(
        "{WEB}frontend inside\n bind 127.0.0.1:8404\n use_backend b if {{ hdr(host) b.example }}\nfrontend tls\n bind :443 ssl\n use_backend a if {{ hdr(host) a.example }}\nbackend a\n server a 10.0.0.1:1\nbackend b\n server b 10.0.0.2:2\n"
    ));
    has(&made, &["line 6: it was served at 127.0.0.1:8404 only: ghostpin answers for it at every address"]);
    assert_eq!(made.matches("it was served at").count(), 1, "{made}");
    // Nor is what was answered in clear text sent elsewhere.
    has(&made, &["https.redirect = false"]);
    let made = haproxy(&format!(
        "{WEB}backend a\n server a 10.0.0.1:1\nlisten stats\n bind :8404\n stats enable\n server s 10.0.0.9:9\n"
    ));
    has(&made, &["`bind 0.0.0.0:8404` of `listen stats`", "line 9: `server s 10.0.0.9:9`"]);
    lacks(&made, &["8404"]);
}

#[test]
fn every_line_of_a_section_that_became_nothing_is_told_of() {
    let made = haproxy(&format!(
        "global\n maxconn 10\n  defaults\n timeout client 5s\n{WEB} option forwardfor header X-Ip\n default_backend b\nbackend a\n server a 10.0.0.1:1\nbackend b\n server b 10.0.0.2:2\n"
    ));
    has(
        &made,
        &[
            "line 2: `maxconn 10` of `global`",
            "line 4: `timeout client 5s` of `defaults`",
            "line 8: `option forwardfor header X-Ip`",
            "line 13: `server b 10.0.0.2:2` of `backend b`",
        ],
    );
}

/// A frontend with these rules, and backends `one`, `two` and `none`, which has no server.
#[track_caller]
fn ruled(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!(" use_backend {rule}\n")).collect();
    haproxy(&format!(
        "frontend f\n bind :80\n{rules}backend one\n server a 10.0.0.1:1\nbackend two\n server b 10.0.0.2:2\nbackend none\n"
    ))
}

#[test]
fn of_two_rules_the_first_takes_a_host_and_not_the_narrower_one() {
    let (wild, narrow) = ("one if { hdr_end(host) -i .example.com }", "if { hdr(host) -i api.example.com }");
    let made = ruled(&[wild, &format!("two {narrow}")]);
    has(
        &made,
        &[
            "hosts = [\"*.example.com\"]\nbackends = [\"10.0.0.1:1\"]",
            "line 4: `api.example.com`: the rule of line 3 takes it, as all of `*.example.com`",
            "line 7: `backend two`: no host leads to it",
        ],
    );
    lacks(&made, &["10.0.0.2"]);
    lacks(&made, &["api.example.com"]);
    // The other way round, and with the same backend, nothing is taken away.
    let made = ruled(&[&format!("two {narrow}"), wild]);
    has(&made, &["hosts = [\"api.example.com\"]\nbackends = [\"10.0.0.2:2\"]"]);
    assert!(!made.contains("takes it"), "{made}");
    assert!(!ruled(&[wild, &format!("one {narrow}")]).contains("takes it"));
}

#[test]
fn of_two_rules_the_first_takes_a_path_and_not_the_narrower_one() {
    let whole = "one if { hdr(host) b.example }";
    let path = |name: &str, path: &str| format!("{name} if {{ hdr(host) b.example }} {{ path_beg {path} }}");
    let made = ruled(&[&path("two", "/v/"), &path("one", "/v/1/"), whole]);
    has(&made, &["line 4: `/v/1/`: the rule before it takes it, as all that begins with `/v/`"]);
    assert_eq!(made.matches("[[site.route]]").count(), 1, "{made}");
    // Of HAProxy, `/v` is the beginning of `/v1`, too.
    let made = ruled(&[&path("two", "/v"), &path("one", "/v1"), whole]);
    has(
        &made,
        &[
            "line 4: `/v1`: the rule before it takes it, as all that begins with `/v`",
            "path = \"/v1\"\nupstream = \"10.0.0.2:2\"",
        ],
    );
    let made = ruled(&[&path("one", "/v/1/"), &path("two", "/v/"), whole]);
    assert!(!made.contains("takes it"), "{made}");
}

#[test]
fn a_path_without_a_usable_backend_is_told_of() {
    let made = ruled(&["none if { path_beg /v1 }", "two if { hdr(host) b.example }"]);
    has(
        &made,
        &["line 3: `/v1` had nothing that could be taken over: its requests go to the site's backend"],
    );
    assert!(!made.contains("a route is for"), "{made}");
    let made =
        ruled(&["none if { path_beg /v/1/ }", "one if { path_beg /v/ }", "two if { hdr(host) b.example }"]);
    has(
        &made,
        &[
            "line 3: `/v/1` had nothing that could be taken over: its requests go to 10.0.0.1:1, as all below `/v`",
        ],
    );
}

#[test]
fn a_path_of_a_host_that_has_no_site_is_told_with_who_answers_for_it() {
    let path = "one if { hdr(host) -i b.example.com } { path_beg /v1 }";
    let made = ruled(&[path, "two if { hdr_end(host) -i .example.com }"]);
    has(
        &made,
        &[
            "`b.example.com` has a block of its own, which proxies nothing; here `*.example.com` stands for it, too",
            "(b.example.com) was left out",
            "line 3: `/v1` goes to 10.0.0.1:1",
        ],
    );
    assert!(!made.contains("nothing answers"), "{made}");
    // A wildcard's path is one of each host below it.
    let made = ruled(&[
        "one if { hdr_end(host) .example.com } { path_beg /v1/ }",
        "two if { hdr(host) b.example.com c.other.example }",
    ]);
    has(
        &made,
        &[
            "path = \"/v1\"\nupstream = \"10.0.0.1:1\"",
            "`/v1/` is for *.example.com only; here it holds for all of the site",
            "(*.example.com) was left out",
        ],
    );
}

#[test]
fn a_host_whose_site_is_refused_is_told_with_who_answers_for_it() {
    let made = haproxy(
        "frontend f\n bind :80\n use_backend b if { hdr(host) b.example.com }\n use_backend all if { hdr_end(host) .example.com }\nbackend b\n server a ${APP}:80\nbackend all\n server a 10.0.0.3:80\n",
    );
    has(
        &made,
        &[
            "# The site of line 3 can't be taken over as it is:\n",
            "# As it is, `b.example.com` is answered by the site of `*.example.com`.\n",
        ],
    );
}

#[test]
fn many_hosts_of_one_rule_are_one_site_with_the_notes_of_its_backend_once() {
    let hosts: Vec<String> = (0..500).map(|number| format!("{{ hdr(host) h{number}.example }}")).collect();
    let lines: String = (0..500).map(|number| format!(" option odd{number}\n")).collect();
    let made = haproxy(&format!(
        "frontend f\n bind :80\n use_backend b if {}\nbackend b\n{lines} server a 10.0.0.1:1\n",
        hosts.join(" || ")
    ));
    assert_eq!(made.matches("\n[[site]]").count(), 1, "{made}");
    assert_eq!(made.matches("`option odd7` of").count(), 1, "{made}");
    has(&made, &["\"h0.example\", \"h1.example\"", "\"h499.example\"]"]);
}

#[test]
fn each_address_of_a_bind_is_listened_at() {
    let with = |bind: &str| {
        haproxy(&format!(
            "frontend f\n bind {bind}\n use_backend a if {{ hdr(host) a.example }}\nbackend a\n server a 10.0.0.1:1\n"
        ))
    };
    has(&with(":::443 v4v6 ssl"), &["https = [\"[::]:443\"]"]);
    has(&with("10.0.0.5:80,10.0.0.6:80"), &["http = [\"10.0.0.5:80\", \"10.0.0.6:80\"]"]);
    has(&with("[::1]:80,*:8080"), &["http = [\"0.0.0.0:8080\", \"[::1]:80\"]"]);
    let made = haproxy(&format!(
        "{WEB}frontend odd\n bind nowhere\n use_backend b if {{ hdr(host) b.example }}\nbackend a\n server a 10.0.0.1:1\nbackend b\n server b 10.0.0.2:2\n"
    ));
    has(&made, &["`bind nowhere`: no address to listen at"]);
    assert!(!made.contains("it was served at"), "{made}");
}
