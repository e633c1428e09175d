//! nginx: what a location, a field or an include says becomes that, or is told of.

use std::fs;
use std::path::Path;

use super::accepted;
use crate::import::{Format, import};

const WHOLE: &str = "location / { proxy_pass http://127.0.0.1:1; }";

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
