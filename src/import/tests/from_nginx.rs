//! nginx: what a location, a field or an include says becomes that, or is told of.

use std::fs;
use std::path::Path;

use super::{accepted, good};
use crate::import::{Format, import};

fn of_locations(locations: &str) -> String {
    good(Format::Nginx, &format!("server {{ server_name a.example; {locations} }}"))
}

const WHOLE: &str = "location / { proxy_pass http://127.0.0.1:1; }";

#[test]
fn one_path_or_a_second_word_for_the_whole_takes_no_site_over() {
    for other in [
        "location = / { proxy_pass http://127.0.0.1:2; }",
        "location ^~ / { proxy_pass http://127.0.0.1:2; }",
    ] {
        for text in [format!("{WHOLE} {other}"), format!("{other} {WHOLE}")] {
            let made = of_locations(&text);
            assert!(made.contains("\nbackends = [\"127.0.0.1:1\"]\n"), "{made}");
            assert!(
                made.contains("line 1: `location") && made.contains("`proxy_pass http://127.0.0.1:2`"),
                "{made}"
            );
        }
    }
    let made = of_locations("location = / { proxy_pass http://127.0.0.1:2; }");
    assert!(made.contains("was left out") && made.contains("`proxy_pass http://127.0.0.1:2`"), "{made}");
    assert!(
        of_locations("location ^~ / { proxy_pass http://127.0.0.1:2; }")
            .contains("\nbackends = [\"127.0.0.1:2\"]")
    );
}

#[test]
fn a_location_that_changes_what_is_asked_for_is_no_route() {
    for (block, told) in [
        ("location /app/ { proxy_pass http://127.0.0.1:8/; }", "it changes the path"),
        ("location /app { proxy_pass http://127.0.0.1:8/app/; }", "it changes the path"),
        ("location /app/ { proxy_pass http://unix:/run/app.sock:/; }", "it changes the path"),
        (
            "location /app/ { rewrite ^/app/(.*)$ /$1 break; proxy_pass http://127.0.0.1:8; }",
            "it changes the path",
        ),
        ("location /app/ { internal; proxy_pass http://127.0.0.1:8; }", "no reader may ask for it"),
        ("location /app/ { return 404; proxy_pass http://127.0.0.1:8; }", "it answers by itself"),
        // To the same backend as the rest, which is not the same.
        ("location /app/ { proxy_pass http://127.0.0.1:1/; }", "it changes the path"),
    ] {
        let made = of_locations(&format!("{WHOLE} {block}"));
        assert!(made.contains(told) && made.contains("`proxy_pass"), "{made}");
        assert!(!made.contains("[[site.route]]") && !made.contains("same backend as the rest"), "{made}");
        assert!(made.contains("its requests go to the site's backend"), "{made}");
    }
    for block in [
        "location /app/ { proxy_pass http://127.0.0.1:8; }",
        "location /app/ { proxy_pass http://127.0.0.1:8/app/; }",
        "location /app/ { rewrite ^/app/old$ https://b.example/ permanent; proxy_pass http://127.0.0.1:8; }",
    ] {
        let made = of_locations(&format!("{WHOLE} {block}"));
        assert!(made.contains("path = \"/app\"\nupstream = \"127.0.0.1:8\""), "{made}");
    }
    let made = of_locations("location / { rewrite ^/(.*)$ /sub/$1 break; proxy_pass http://127.0.0.1:1; }");
    assert!(made.contains("was left out") && made.contains("it changes the path"), "{made}");
    assert!(of_locations("location / { proxy_pass http://127.0.0.1:1/; }").contains("\n[[site]]"));
}

#[test]
fn who_answers_instead_is_told_as_it_is() {
    let made = of_locations(&format!(
        "location /api/static/ {{ root /srv; }} {WHOLE} location /api/ {{ proxy_pass http://127.0.0.1:2; }} location /files/ {{ root /srv; }}"
    ));
    for told in [
        "`location /api/static/ { ... }`: proxies nowhere: its requests go to 127.0.0.1:2, as all below `/api`",
        "`location /files/ { ... }`: proxies nowhere: its requests go to the site's backend",
    ] {
        assert!(made.contains(told), "no {told} in\n{made}");
    }
    let made = of_locations(&format!(
        "return 301 https://b.example/; {WHOLE} location /api {{ proxy_pass http://127.0.0.1:2; }}"
    ));
    assert!(
        made.contains("was left out")
            && made.contains("answers all: nothing is proxied to 127.0.0.1:1, 127.0.0.1:2"),
        "{made}"
    );
}

#[test]
fn a_field_is_left_to_ghostpin_only_where_it_says_the_same() {
    for same in [
        "Host $host",
        "Host $http_host",
        "X-Forwarded-For $proxy_add_x_forwarded_for",
        "X-Forwarded-For $remote_addr",
        "X-Forwarded-Proto $scheme",
        "X-Forwarded-Host $host",
        "Upgrade $http_upgrade",
        "Connection upgrade",
        "Connection \"Upgrade\"",
        "Connection $connection_upgrade",
        "Connection \"\"",
    ] {
        let made = of_locations(&format!("{WHOLE} proxy_set_header {same};"));
        assert!(!made.contains("proxy_set_header") && !made.contains("headers."), "{same}\n{made}");
    }
    for other in [
        "Host $proxy_host",
        "Host $server_name",
        "Host other.example",
        "Host \"\"",
        "X-Forwarded-For \"\"",
        "X-Forwarded-For $http_x_forwarded_for",
        "X-Forwarded-Proto $http_x_forwarded_proto",
        "X-Forwarded-Host $server_name",
        "Connection close",
        "Upgrade h2c",
        "X-Country $country",
    ] {
        let made = of_locations(&format!("{WHOLE} proxy_set_header {other};"));
        assert!(made.contains(&format!("line 1: `proxy_set_header {other}`: ")), "{other}\n{made}");
        assert!(made.contains("\n[[site]]") && !made.contains("\nheaders."), "{other}\n{made}");
    }
    assert!(
        of_locations(&format!("{WHOLE} proxy_set_header X-Forwarded-Proto https;"))
            .contains("headers.\"X-Forwarded-Proto\" = \"https\"")
    );
    // A location with fields of its own has none of those around it.
    let made = of_locations(
        "proxy_set_header X-A 1; location / { proxy_set_header X-B 2; proxy_pass http://127.0.0.1:1; }",
    );
    assert!(
        made.contains("headers.\"X-B\"")
            && !made.contains("headers.\"X-A\"")
            && made.contains("`proxy_set_header X-A 1`"),
        "{made}"
    );
}

#[test]
fn http_3_is_told_of_and_is_no_clear_text() {
    let made = of_locations(&format!(
        "listen 443 quic reuseport; listen 8443 ssl; ssl_certificate /a.pem; ssl_certificate_key /a.key; {WHOLE}"
    ));
    assert!(made.contains("https = [\"0.0.0.0:8443\"]") && !made.contains("0.0.0.0:443"), "{made}");
    assert!(made.contains("`listen 443 quic reuseport`: ghostpin does not speak HTTP/3"), "{made}");
}

#[test]
fn clear_text_is_answered_where_nginx_does_that() {
    let tls = "ssl_certificate /a.pem; ssl_certificate_key /a.key;";
    let made = of_locations(&format!("listen 80; listen 443 ssl; {tls} {WHOLE}"));
    assert!(made.contains("https.redirect = false"), "{made}");
    assert!(!of_locations(&format!("listen 443 ssl; {tls} {WHOLE}")).contains("https.redirect"));
    assert!(!of_locations(WHOLE).contains("https.redirect"), "there is no TLS");
    let to_tls = "if ($scheme = http) { return 301 https://$host$request_uri; }";
    assert!(
        of_locations(&format!("listen 80; listen 443 ssl; {tls} {to_tls} {WHOLE}"))
            .contains("https.redirect = true")
    );
}

#[test]
fn only_a_redirect_to_the_same_over_tls_is_one() {
    for (to, is_same) in [
        ("https://$host$request_uri", true),
        ("https://$server_name$request_uri", true),
        ("https://a.example$request_uri", true),
        ("https://b.example$request_uri", false),
        ("https://$host/", false),
        ("https://$host$request_uri/new", false),
        ("http://$host$request_uri", false),
    ] {
        let text = format!(
            "server {{ server_name a.example; return 301 {to}; }} server {{ listen 443 ssl; server_name a.example; ssl_certificate /a.pem; {WHOLE} }}"
        );
        let made = good(Format::Nginx, &text);
        assert_eq!(made.contains("https.redirect = true"), is_same, "{to}\n{made}");
        assert_eq!(made.contains(&format!("`return 301 {to}`")), !is_same, "{to}\n{made}");
    }
}

/// What a folder with these files becomes; the first is imported.
fn of_files(files: &[(&str, &[u8])]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let made = import(&folder.path().join(files[0].0), Some(Format::Nginx));
    if let Ok(made) = &made {
        accepted(made).unwrap_or_else(|why| panic!("{why}\n{made}"));
    }
    made
}

#[test]
fn files_are_read_wherever_they_are_included() {
    let made = of_files(&[
        ("nginx.conf", b"http {\n include site.conf;\n include none.conf;\n include none*.conf;\n}"),
        ("site.conf", b"server {\n server_name a.example;\n include tls.inc;\n location / {\n  include proxy.inc;\n }\n}"),
        ("tls.inc", b"ssl_protocols TLSv1.3;\ndeny all;\n"),
        ("proxy.inc", b"proxy_pass http://127.0.0.1:1;\nproxy_set_header X-A 1;\nproxy_read_timeout 9s;\n"),
    ])
    .unwrap();
    for told in [
        "tls.inc line 1: `ssl_protocols TLSv1.3`",
        "tls.inc line 2: `deny all`",
        "proxy.inc line 3: `location /`: `proxy_read_timeout 9s`",
        "line 3: `include none.conf` was not read",
        "line 4: `include none*.conf`: there is no such file",
        "backends = [\"127.0.0.1:1\"]",
        "headers.\"X-A\" = \"1\"",
    ] {
        assert!(made.contains(told), "no {told} in\n{made}");
    }
}

#[test]
fn files_that_include_each_other_are_refused_with_file_and_line() {
    let text = b"# all\ninclude *.conf;\n";
    let why = of_files(&[("a.conf", text), ("b.conf", text), ("c.conf", text)]).unwrap_err();
    assert!(why.contains(".conf line 2: `include *.conf`: ") && why.contains("includes itself"), "{why}");
    // Nobody includes itself, and yet it would be ten million files.
    let names: Vec<String> = (0..8).map(|depth| format!("{depth}.conf")).collect();
    let texts: Vec<Vec<u8>> =
        (1..=8).map(|depth| format!("include {depth}.conf;\n").repeat(10).into_bytes()).collect();
    let mut files: Vec<(&str, &[u8])> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_slice())).collect();
    files.push(("8.conf", b""));
    let why = of_files(&files).unwrap_err();
    assert!(why.contains(".conf line ") && why.contains("more than"), "{why}");
}

#[test]
fn marks_of_editors_and_other_line_ends_are_no_part_of_what_is_said() {
    let text =
        format!("\u{feff}server {{\r\n  server_name a.example; # yes\r\n  {WHOLE}\r\n gzip on;\r\n}}\r\n");
    let made = of_files(&[("nginx.conf", text.as_bytes())]).unwrap();
    assert!(made.contains("\n[[site]]  # line 1\n") && made.contains("line 4: `gzip on`"), "{made}");
    assert!(!made.contains('\r') && !made.contains('\u{feff}'), "{made}");
    assert!(import(Path::new("/nowhere/nginx.conf"), None).is_err());
}

#[test]
fn an_upstream_is_found_in_whatever_case_it_is_named() {
    let made = good(
        Format::Nginx,
        &format!(
            "upstream App {{ server 127.0.0.1:7; }} server {{ server_name a.example; {} }}",
            WHOLE.replace("127.0.0.1:1", "app")
        ),
    );
    assert!(made.contains("\nbackends = [\"127.0.0.1:7\"]\n"), "{made}");
}

#[test]
fn who_answers_instead_is_told_when_all_routes_are_known() {
    let made = of_locations(&format!(
        "{WHOLE} location /a/b/ {{ proxy_pass https://10.0.0.2:80; }} location /a/ {{ proxy_pass http://10.0.0.3:80; }} \
         location /n/ {{ proxy_pass http://api:3000; }} location /n/s/ {{ root /srv; }} location /n/t/ {{ proxy_pass http://127.0.0.1:1; }}"
    ));
    for told in [
        "clear text to backends: its requests go to 10.0.0.3:80, as all below `/a`",
        "`/n` goes to api:3000: `api:3000` is a name",
        "`location /n/s/ { ... }`: proxies nowhere: its requests go to the site's backend",
        "`/n/t` goes to the same backend as the rest: it needs no route",
    ] {
        assert!(made.contains(told), "no {told} in\n{made}");
    }
    assert!(!made.contains("go to api:3000"), "{made}");
}
