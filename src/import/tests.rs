//! Text that is none: whatever is read, there is an answer, and what is written passes the check.

mod from_caddy;
mod from_haproxy;
mod from_nginx;
mod from_traefik;
mod sites;

use std::path::Path;

use super::*;
use crate::config::Config;

const SAMPLES: [(Format, &str); 6] = [
    (Format::Nginx, include_str!("../../tests/import/nginx/sites-enabled/blog.conf")),
    (Format::Caddy, include_str!("../../tests/import/Caddyfile")),
    (Format::Haproxy, include_str!("../../tests/import/haproxy.cfg")),
    (Format::Traefik, include_str!("../../tests/import/traefik.yml")),
    (Format::Traefik, include_str!("../../tests/import/traefik.toml")),
    (Format::Traefik, include_str!("../../tests/import/compose.yml")),
];
const ROUNDS: usize = 400;

fn made(format: Format, text: &str) -> Result<String, String> {
    let draft = match format {
        Format::Nginx => nginx::read(text, Path::new("/nowhere")),
        Format::Caddy => caddy::read(text),
        Format::Haproxy => haproxy::read(text),
        Format::Traefik => traefik::read(text),
    };
    draft.map(|draft| written::toml(draft, "a file"))
}

fn accepted(text: &str) -> Result<(), String> {
    Config::parse(text, Path::new("made")).map(drop).map_err(|errors| errors.to_string())
}

/// What a file becomes, once it is accepted.
#[track_caller]
fn good(format: Format, text: &str) -> String {
    let made = made(format, text).unwrap();
    accepted(&made).unwrap_or_else(|why| panic!("{why}\n--- from\n{text}\n--- made\n{made}"));
    made
}

#[track_caller]
fn has(made: &str, all: &[&str]) {
    for part in all {
        assert!(made.contains(part), "no {part:?} in\n{made}");
    }
}

/// Nothing but comments has them.
#[track_caller]
fn lacks(made: &str, all: &[&str]) {
    for part in all {
        let is_said = made.lines().any(|line| !line.starts_with('#') && line.contains(part));
        assert!(!is_said, "{part:?} in\n{made}");
    }
}

#[test]
fn a_file_that_was_cut_shuffled_or_overwritten_gives_a_good_one_or_a_reason() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_127_u64);
    println!("SEED={seed}");
    let mut state = seed;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let odd = [
        "{",
        "}",
        ";",
        "\"",
        "'",
        "`",
        "\\",
        "\n",
        "$",
        "\u{1b}[31m",
        "é",
        "\0",
        "[[site]]",
        "\"\"\"",
        "*.",
        "#",
        "@",
    ];
    let mut taken = 0;
    for round in 0..ROUNDS {
        for (format, sample) in SAMPLES {
            let mut lines: Vec<String> = sample.lines().map(str::to_owned).collect();
            for _ in 0..=next(3) {
                if lines.is_empty() {
                    break;
                }
                let (a, b) = (next(lines.len()), next(lines.len()));
                match next(5) {
                    0 => lines.swap(a, b),
                    1 => drop(lines.remove(a)),
                    2 => lines[a] += odd[next(odd.len())],
                    3 => lines[a] = odd[next(odd.len())].repeat(next(40)),
                    _ => lines.truncate(a + 1),
                }
            }
            let text = lines.join("\n");
            match made(format, &text) {
                Ok(made) => {
                    taken += 1;
                    accepted(&made).unwrap_or_else(|why| {
                        panic!("round {round}: {why}\n--- from\n{text}\n--- made\n{made}")
                    });
                }
                Err(why) => assert!(why.starts_with("line "), "round {round}: {why}"),
            }
        }
    }
    assert!(taken > ROUNDS, "most of them can be read: {taken}");
}

#[test]
fn whose_file_it_is_is_told_by_its_name_or_its_words() {
    let nginx = "http {\n server {\n listen 80;\n server_name a.example;\n }\n}\n";
    let haproxy = "frontend a\n bind :80\nbackend b\n server b 127.0.0.1:1\n";
    let traefik = "[http.routers.a]\nrule = \"\"\n";
    for (name, text, format) in [
        ("nginx.conf", nginx, Some(Format::Nginx)),
        ("site", nginx, Some(Format::Nginx)),
        ("nginx.conf", "events {}\n", Some(Format::Nginx)),
        ("haproxy.cfg", haproxy, Some(Format::Haproxy)),
        ("haproxy.conf", haproxy, Some(Format::Haproxy)),
        ("Caddyfile", "", Some(Format::Caddy)),
        ("site", "a.example\nreverse_proxy b:1\n", Some(Format::Caddy)),
        ("compose.yaml", "", Some(Format::Traefik)),
        ("dynamic.toml", traefik, Some(Format::Traefik)),
        ("ghostpin.toml", "[listen]\n", None),
    ] {
        assert_eq!(Format::guess(Path::new(name), text), format, "{name}: {text}");
    }
}

#[test]
fn what_the_check_would_refuse_is_a_comment_with_the_reason() {
    let text = "server { listen 80; server_name a.example; location / { proxy_pass http://300.1.1.1:1; } }";
    let made = made(Format::Nginx, text).unwrap();
    assert!(
        made.contains("can't be taken over as it is:") && made.contains("# backends = [\"300.1.1.1:1\"]"),
        "{made}"
    );
    accepted(&made).unwrap();
}

#[test]
fn a_host_belongs_to_one_site_and_names_are_told_apart() {
    let site = |host: &str, port: u16| {
        format!("server {{ server_name {host}; location / {{ proxy_pass http://127.0.0.1:{port}; }} }}\n")
    };
    let text = [site("a.example", 1), site("a.example b.example", 2), site("b.example", 2)].concat();
    let made = made(Format::Nginx, &text).unwrap();
    assert!(
        made.contains("`a.example` is a host of the site of line 1 already, with other backends"),
        "{made}"
    );
    assert_eq!(made.matches("\n[[site]]").count(), 2, "{made}");
    accepted(&made).unwrap();
}

#[test]
fn tls_without_certificates_is_a_comment_that_says_what_is_missing() {
    let text = "frontend a\n bind :443 ssl crt /certs/a.pem\n use_backend b if { hdr(host) a.example }\nbackend b\n server b 127.0.0.1:1\n";
    let made = made(Format::Haproxy, text).unwrap();
    assert!(
        made.contains("# https = [\"0.0.0.0:443\"]\n# [tls]\n") && made.contains("`crt /certs/a.pem`"),
        "{made}"
    );
    accepted(&made).unwrap();
}
