//! Caddyfiles whose meaning could be changed without a word: none of it is.

use super::*;

/// What a Caddyfile becomes, once it is accepted.
#[track_caller]
fn caddyfile(text: &str) -> String {
    let made = made(Format::Caddy, text).unwrap();
    accepted(&made).unwrap_or_else(|why| panic!("{why}\n{made}"));
    made
}

#[track_caller]
fn has(made: &str, all: &[&str]) {
    for part in all {
        assert!(made.contains(part), "no {part:?} in\n{made}");
    }
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
