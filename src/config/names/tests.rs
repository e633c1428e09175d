//! What may be written for a name, and what is said otherwise.

use super::*;

fn host(text: &str) -> Result<String, String> {
    Host::read(text).map(|Host(host)| host)
}

#[test]
fn hosts_are_taken_as_sent_in_lower_case() {
    assert_eq!(host("Blog.Example").unwrap(), "blog.example");
    assert_eq!(host("*.Blog.Example").unwrap(), "*.blog.example");
    for text in ["localhost", "xn--bcher-kva.example", "a_b.example", "127.0.0.1", "1.2-3.x"] {
        assert_eq!(host(text).unwrap(), text);
    }
}

#[test]
fn a_refused_host_says_what_to_write() {
    for (text, hint) in [
        ("", "empty"),
        ("blog.example:8080", "write `blog.example`"),
        ("https://blog.example", "without scheme"),
        ("blog.example/", "without scheme or path"),
        ("b\u{fc}cher.example", "xn--"),
        ("blog.example.", "`blog.example`"),
        ("blog example", "' '"),
        ("[::1]", "'['"),
        ("*", "`*.domain`"),
        ("a.*.example", "`*.domain`"),
        ("*.*.example", "`*.domain`"),
        ("*blog.example", "`*.domain`"),
        ("*.", "empty"),
        (".blog", "dot"),
        ("a..b", "dots"),
        ("-a.b", "hyphen"),
        ("a-.b", "hyphen"),
    ] {
        let error = host(text).unwrap_err();
        assert!(error.contains(hint), "{text}: {error}");
    }
    assert!(host(&"a".repeat(64)).unwrap_err().contains("63"));
    assert!(host("a.".repeat(130).trim_end_matches('.')).unwrap_err().contains("253"));
}

#[test]
fn a_probe_may_name_a_port() {
    assert_eq!(ProbeHost::read("Blog.example:8080"), Ok(ProbeHost("blog.example:8080".into())));
    for text in ["*.blog.example", "blog.example:0", "blog.example:x", ""] {
        assert!(ProbeHost::read(text).is_err(), "{text}");
    }
}

#[test]
fn site_names_fit_into_paths_and_labels() {
    for text in ["blog", "a.b-c_D9", &"x".repeat(128)] {
        assert_eq!(SiteName::read(text).unwrap().as_str(), text);
    }
    for text in ["", ".", "..", "a b", "a/b", "\u{fc}", "a\"", &"x".repeat(129)] {
        assert!(SiteName::read(text).is_err(), "{text}");
    }
}

#[test]
fn backends_are_addresses_sockets_or_names() {
    let read = |text| BackendSpec::read(text).unwrap();
    assert_eq!(read("127.0.0.1:2368").to_string(), "127.0.0.1:2368");
    assert_eq!(read("[::0001]:80"), read("[::1]:80"));
    assert_eq!(read("unix:/run/ghost.sock"), BackendSpec::Instance("unix:/run/ghost.sock".parse().unwrap()));
    assert_eq!(read("Ghost-A_1:2368"), BackendSpec::Name { host: "ghost-a_1".into(), port: 2368 });
}

#[test]
fn a_refused_backend_says_what_to_write() {
    for (text, hint) in [
        ("", "no port"),
        ("127.0.0.1", "no port"),
        ("127.0.0.1:0", "port 0"),
        ("ghost:0", "port 0"),
        ("ghost:00", "port 0"),
        ("ghost:65536", "1 to 65535"),
        ("ghost:+80", "1 to 65535"),
        ("ghost:", "1 to 65535"),
        (":80", "no backend"),
        ("10.0.0.256:80", "no backend"),
        ("::1:80", "no backend"),
        ("[::1:80", "no backend"),
        ("http://127.0.0.1:80", "without a scheme"),
        ("unix:run/ghost.sock", "unix:/path"),
        ("ghost@127.0.0.1:80", "'@'"),
    ] {
        let error = BackendSpec::read(text).unwrap_err();
        assert!(error.contains(hint), "{text}: {error}");
    }
    assert!(Instance::read("ghost:80").unwrap_err().contains("is a name"));
}

#[test]
fn paths_begin_with_a_slash_and_prefixes_have_no_slash_at_the_end() {
    assert_eq!(UrlPath::read("/a?b=c"), Ok(UrlPath("/a?b=c".into())));
    for text in ["", "a", "/a b", "/\u{fc}", "/a#b", "/a\r\nX: y", "*"] {
        assert!(UrlPath::read(text).is_err(), "{text}");
    }
    assert_eq!(PathPrefix::read("/a/b/"), Ok(PathPrefix("/a/b".into())));
    for text in ["/", "//", "/a/*", "/a*b", "/a?b", "a"] {
        assert!(PathPrefix::read(text).is_err(), "{text}");
    }
}

#[test]
fn hop_by_hop_header_fields_cannot_be_set() {
    assert_eq!(<HeaderName as Written>::read("X-Site-Id").unwrap(), "x-site-id");
    for text in ["Connection", "transfer-encoding", "Upgrade", "TE", "Keep-Alive", "Host", "a b", "", "x:y"] {
        assert!(<HeaderName as Written>::read(text).is_err(), "{text}");
    }
    assert!(<HeaderValue as Written>::read("a\r\nb: c").is_err());
}

#[test]
fn statuses_are_single_or_ranges() {
    assert_eq!(Statuses::read("200"), Ok(Statuses((200, 200))));
    assert_eq!(Statuses::read("200-299"), Ok(Statuses((200, 299))));
    assert_eq!(Statuses::read_number(204), Ok(Statuses((204, 204))));
    for text in ["", "2xx", "99", "600", "299-200", "200-", "+200", "200-299-300", "0200"] {
        assert!(Statuses::read(text).is_err(), "{text}");
    }
}

#[test]
fn hooks_are_called_over_plain_http() {
    assert!(HttpUrl::read("http://127.0.0.1:9000/fence").is_ok());
    for text in ["https://a/b", "/b", "a", "", "http://", "unix:/x", "ftp://a"] {
        assert!(HttpUrl::read(text).is_err(), "{text}");
    }
}

#[test]
fn admin_listens_at_an_address_or_a_socket() {
    let tcp = ListenAddress::Tcp(([127, 0, 0, 1], 9180).into());
    assert_eq!(ListenAddress::read("127.0.0.1:9180"), Ok(tcp));
    for text in ["/run/ghostpin.sock", "unix:/run/ghostpin.sock"] {
        assert_eq!(ListenAddress::read(text), Ok(ListenAddress::Unix("/run/ghostpin.sock".into())));
    }
    assert!(ListenAddress::read("localhost:9180").is_err());
}

#[test]
fn a_log_filter_is_checked() {
    assert!(Filter::read("ghostpin=debug,info").is_ok());
    for text in ["", "loud=yes=no", "ghostpin=loud"] {
        assert!(Filter::read(text).is_err(), "{text}");
    }
}
