//! Which host becomes whose, whatever the order in which it was written.

use super::{good, has};
use crate::import::Format;

/// What becomes of these blocks, in this order and in the other one; it passes the check.
fn both_ways(blocks: &[&str]) -> [String; 2] {
    let there = blocks.join("\n");
    let back = blocks.iter().rev().copied().collect::<Vec<_>>().join("\n");
    [there, back].map(|text| good(Format::Nginx, &text))
}

/// The site that has these hosts.
#[track_caller]
fn site<'a>(made: &'a str, hosts: &str) -> &'a str {
    let hosts = format!("\nhosts = [{hosts}]\n");
    made.split("\n[[site]]")
        .find(|site| site.contains(&hosts))
        .unwrap_or_else(|| panic!("no {hosts} in\n{made}"))
}

fn tls(host: &str, pair: &str, rest: &str) -> String {
    format!(
        "server {{ listen 443 ssl; server_name {host}; ssl_certificate /{pair}.pem; ssl_certificate_key /{pair}.key; {rest} }}"
    )
}

fn proxied(port: u16) -> String {
    format!("location / {{ proxy_pass http://127.0.0.1:{port}; }}")
}

#[test]
fn a_block_that_only_redirects_gives_no_host_to_another_site() {
    let redirect = "server { listen 80; server_name a.example b.example www.a.example; return 301 https://$host$request_uri; }";
    let (a, b) = (tls("a.example", "a", &proxied(2001)), tls("b.example", "b", &proxied(2002)));
    for made in both_ways(&[redirect, &a, &b]) {
        has(
            site(&made, "\"a.example\""),
            &["backends = [\"127.0.0.1:2001\"]", "/a.pem", "https.redirect = true"],
        );
        has(
            site(&made, "\"b.example\""),
            &["backends = [\"127.0.0.1:2002\"]", "/b.pem", "https.redirect = true"],
        );
        has(&made, &["(www.a.example) was left out", ": clear text is sent to TLS"]);
        assert_eq!(made.matches("\n[[site]]").count(), 2, "{made}");
    }
}

#[test]
fn what_a_block_without_a_backend_says_is_told_once() {
    let redirect = "server { listen 80; server_name a.example b.example; access_log off; location /.well-known/ { proxy_pass http://127.0.0.1:88; } location / { return 301 https://$host$request_uri; } }";
    let (a, b) = (tls("a.example", "a", &proxied(2001)), tls("b.example", "b", &proxied(2002)));
    for made in both_ways(&[redirect, &a, &b]) {
        for told in ["`access_log off`", "`/.well-known` goes to 127.0.0.1:88"] {
            assert_eq!(made.matches(told).count(), 1, "{told} in\n{made}");
        }
        assert!(!made.contains("[[site.route]]"), "TLS has no such path\n{made}");
    }
}

#[test]
fn a_block_without_a_backend_that_answers_by_itself_is_told_of() {
    let files = "server { listen 80; server_name a.example; root /srv; }";
    for made in both_ways(&[files, &tls("a.example", "a", &proxied(2001))]) {
        has(&made, &["of `a.example` the site's backend answers all", "`root /srv`"]);
    }
    let www = "server { listen 80; server_name www.a.example; return 301 https://a.example$request_uri; }";
    for made in both_ways(&[www, &tls("*.a.example", "a", &proxied(2001))]) {
        has(&made, &["here `*.a.example` stands for it, too", "(www.a.example) was left out"]);
    }
}

#[test]
fn hosts_that_were_not_sent_to_tls_are_told_of_where_others_of_their_site_are() {
    let redirect = "server { listen 80; server_name a.example; return 301 https://$host$request_uri; }";
    for made in both_ways(&[redirect, &tls("a.example c.example", "a", &proxied(2001))]) {
        has(&made, &["https.redirect = true", "`c.example` was not sent from clear text to TLS"]);
    }
}

#[test]
fn no_host_is_in_two_sites_whatever_blocks_have_in_common() {
    let clear = |hosts: &str, port| format!("server {{ listen 80; server_name {hosts}; {} }}", proxied(port));
    for blocks in [
        [clear("a.example", 1), clear("b.example", 2), clear("a.example b.example", 1)],
        [clear("a.example", 1), clear("b.example", 1), clear("a.example b.example", 1)],
        [clear("a.example b.example", 1), clear("b.example c.example", 2), clear("c.example a.example", 1)],
    ] {
        both_ways(&[&blocks[0], &blocks[1], &blocks[2]]);
        both_ways(&[&blocks[2], &blocks[0], &blocks[1]]);
    }
    // The third is a twin of both.
    let made = good(
        Format::Nginx,
        &[clear("a.example", 1), clear("b.example", 1), clear("a.example b.example", 1)].concat(),
    );
    site(&made, "\"a.example\", \"b.example\"");
}

#[test]
fn a_site_keeps_its_own_certificate_and_each_other_one_is_told_of() {
    let www = tls("www.a.example a.example", "www", "return 301 http://other.example/;");
    for made in both_ways(&[&www, &tls("a.example", "blog", &proxied(2001))]) {
        has(site(&made, "\"a.example\""), &["certificate = \"/blog.pem\"\nkey = \"/blog.key\""]);
        has(&made, &["the certificate `/www.pem` with the key `/www.key`"]);
    }
    let (one, two) = (tls("a.example", "one", &proxied(1)), tls("a.example b.example", "two", &proxied(1)));
    for made in both_ways(&[&one, &two]) {
        has(&made, &["/one.pem", "/one.key", "/two.pem", "/two.key", "a site has one, and keeps that of"]);
    }
    let rsa_and_ecdsa = tls(
        "a.example",
        "rsa",
        &format!("ssl_certificate /ec.pem; ssl_certificate_key /ec.key; {}", proxied(1)),
    );
    has(
        &good(Format::Nginx, &rsa_and_ecdsa),
        &[
            "certificate = \"/rsa.pem\"\nkey = \"/rsa.key\"",
            "`ssl_certificate /ec.pem`",
            "`ssl_certificate_key /ec.key`",
        ],
    );
}

#[test]
fn a_certificate_whose_file_a_variable_decides_is_told_of() {
    for name in ["$ssl_server_name", "${ssl_server_name}"] {
        let made = good(Format::Nginx, &tls("a.example", name, &proxied(1)));
        assert!(!made.contains("\ncertificate = "), "{made}");
        has(&made, &[&format!("`/{name}.pem`"), &format!("`/{name}.key`"), "without variables"]);
    }
    let key = "server { listen 443 ssl; server_name a.example; ssl_certificate_key /a.key; location / { proxy_pass http://127.0.0.1:1; } }";
    has(&good(Format::Nginx, key), &["\n[[site]]", "`/a.key`: no certificate is with it"]);
}

#[test]
fn one_bad_route_or_field_takes_no_site_along() {
    for (rest, told) in [
        (
            "location /a { proxy_pass http://127.0.0.1:2; } location /a/ { proxy_pass http://127.0.0.1:3; }",
            "`/a` is there twice: this one, to 127.0.0.1:3, is left out",
        ),
        ("location /a { proxy_pass http://api:3000; }", "`/a` goes to api:3000: `api:3000` is a name"),
        ("location /a?b { proxy_pass http://127.0.0.1:3; }", "`/a?b` goes to 127.0.0.1:3: "),
        ("proxy_set_header X-A 1; proxy_set_header x-a 2;", "`x-a: 2`: the field is `1` already"),
        ("proxy_set_header TE trailers;", "the header field `TE: trailers`: "),
        ("proxy_set_header X-Ä 1;", "the header field `X-Ä: 1`: "),
    ] {
        let made = good(Format::Nginx, &format!("server {{ server_name a.example; {} {rest} }}", proxied(1)));
        has(&made, &["\n[[site]]", told]);
    }
    let made = good(
        Format::Nginx,
        &format!(
            "server {{ server_name a.example; {} location /a {{ proxy_pass http://localhost:5002; }} }}",
            proxied(1)
        ),
    );
    has(&made, &["path = \"/a\"\nupstream = \"127.0.0.1:5002\""]);
    let made = good(
        Format::Nginx,
        "upstream x { server 127.0.0.1:1; server 127.0.0.1:1; } server { server_name a.example; location / { proxy_pass http://x; } }",
    );
    has(&made, &["\n[[site]]", "`127.0.0.1:1` is there twice"]);
}

#[test]
fn what_only_one_of_two_twins_says_is_told_of() {
    let admin = |port| format!("{} location /admin/ {{ proxy_pass http://127.0.0.1:{port}; }}", proxied(1));
    let clear = |rest: &str| format!("server {{ listen 80; server_name a.example; {rest} }}");
    for made in both_ways(&[&clear(&admin(2)), &tls("a.example", "a", &admin(3))]) {
        has(&made, &["`/admin` is there twice"]);
        assert_eq!(made.matches("[[site.route]]").count(), 1, "{made}");
    }
    let field = |value| format!("{} proxy_set_header X-Port {value};", proxied(1));
    for made in both_ways(&[&clear(&field(80)), &tls("a.example", "a", &field(443))]) {
        has(&made, &["the field is `", "\n[[site]]"]);
    }
    for made in
        both_ways(&[&clear(&proxied(1)), &tls("a.example", "a", &(admin(2) + "proxy_set_header X-A 1;"))])
    {
        has(&made, &["the route `/admin` is said in the block of", "`X-A: 1` is said in the block of"]);
    }
}

#[test]
fn a_path_of_the_sites_backend_below_another_route_is_told_of() {
    let paths = ["/api/", "/api/v1/", "/other/"];
    let locations: Vec<String> = paths
        .iter()
        .zip([2, 1, 1])
        .map(|(path, port)| format!("location {path} {{ proxy_pass http://127.0.0.1:{port}; }}"))
        .collect();
    let made = good(
        Format::Nginx,
        &format!("server {{ server_name a.example; {} {} }}", proxied(1), locations.concat()),
    );
    has(
        &made,
        &[
            "`/api/v1` goes to the same backend as the rest, but is below `/api`: here it goes to 127.0.0.1:2",
            "`/other` goes to the same backend as the rest: it needs no route",
        ],
    );
}

#[test]
fn a_site_that_is_left_out_says_all_that_it_said() {
    let made = good(
        Format::Nginx,
        "server { listen 443 ssl; server_name a.example; ssl_certificate /a.pem; ssl_certificate_key /a.key; proxy_set_header X-A 1; location / { try_files $uri =404; } location /api/ { proxy_pass http://127.0.0.1:3000; } }",
    );
    has(
        &made,
        &[
            "(a.example) was left out",
            "`/api` goes to 127.0.0.1:3000",
            "the header field `X-A: 1`",
            "the certificate `/a.pem` with the key `/a.key`",
        ],
    );
    assert!(!made.contains("its requests go to"), "there is nobody\n{made}");
    has(
        &good(Format::Nginx, "server { location / { proxy_pass http://127.0.0.1:3000; } }"),
        &["it is proxied to 127.0.0.1:3000"],
    );
}

#[test]
fn a_site_with_fewer_listeners_than_ghostpin_has_is_told_of() {
    let private = "server { listen 127.0.0.1:8081; server_name admin.internal; location / { proxy_pass http://127.0.0.1:1; } }";
    let made = good(Format::Nginx, &format!("{private} server {{ server_name a.example; {} }}", proxied(2)));
    has(
        site(&made, "\"admin.internal\""),
        &[
            "it is answered for at 127.0.0.1:8081 only; ghostpin does so at every address that it listens at, so also at 0.0.0.0:80",
        ],
    );
    assert!(!good(Format::Nginx, private).contains("is answered for at"), "that is all");
    let redirect = "server { server_name a.example; return 301 https://$host$request_uri; }";
    let made = good(Format::Nginx, &format!("{redirect} {}", tls("a.example", "a", &proxied(1))));
    assert!(!made.contains("is answered for at"), "both are its own\n{made}");
}

#[test]
fn what_stands_against_the_whole_is_a_comment_too() {
    for text in [
        "server { listen 443 quic reuseport; listen 443 ssl; server_name a.example; location / { proxy_pass http://127.0.0.1:1; } }",
        "server { listen 443 ssl; server_name a.example; location / { proxy_pass http://127.0.0.1:1; } } server { listen 443; server_name b.example; location / { proxy_pass http://127.0.0.1:2; } }",
        "server { listen [::1]:80; listen [0:0:0:0:0:0:0:1]:80; server_name a.example; location / { proxy_pass http://127.0.0.1:1; } }",
        "server { listen unix:; server_name a.example; location / { proxy_pass http://127.0.0.1:1; } }",
    ] {
        let pair = text.replacen(
            "server_name",
            "ssl_certificate /a.pem; ssl_certificate_key /a.key; server_name",
            1,
        );
        has(&good(Format::Nginx, &pair), &["\n[[site]]"]);
    }
    let twice = format!("server {{ server_name a.example; {} }}", proxied(0));
    let made = good(
        Format::Nginx,
        &format!("{twice} {}", twice.replace("a.example", "b.example").replace(":0", ":1")),
    );
    has(
        &made,
        &[
            "can't be taken over as it is:\n#   site.backends: ",
            "# backends = [\"127.0.0.1:0\"]",
            "\nhosts = [\"b.example\"]",
        ],
    );
}

#[test]
fn a_result_without_a_site_says_so() {
    for text in [
        "events {}",
        "server { server_name a.example; root /srv; }",
        &format!("server {{ server_name a.example; {} }}", proxied(0)),
    ] {
        has(&good(Format::Nginx, text), &["# No site was taken over"]);
    }
    assert!(
        !good(Format::Nginx, &format!("server {{ server_name a.example; {} }}", proxied(1)))
            .contains("No site")
    );
}
