use super::*;

fn table(sites: &[(&str, &[&str])]) -> Result<RouteTable<String>, TableError> {
    let owned: Vec<(SiteName, Vec<Box<str>>)> = sites
        .iter()
        .map(|(name, hosts)| (SiteName::from(*name), hosts.iter().map(|host| Box::from(*host)).collect()))
        .collect();
    RouteTable::build(owned.iter().map(|(name, hosts)| (name.clone(), hosts.as_slice(), name.to_string())))
}

fn found<'a>(table: &'a RouteTable<String>, host: &str) -> Option<&'a str> {
    table.lookup(host).map(String::as_str)
}

#[test]
fn every_host_of_a_site_leads_to_it_and_no_other_does() {
    let table = table(&[("a", &["a.example", "www.a.example"]), ("b", &["b.example"])]).unwrap();
    assert_eq!(found(&table, "a.example"), Some("a"));
    assert_eq!(found(&table, "www.a.example"), Some("a"));
    assert_eq!(found(&table, "b.example"), Some("b"));
    for unknown in ["", ".", "example", "x.a.example", "a.example.x", "xa.example", ":80", "[", "[]:", "]"] {
        assert_eq!(found(&table, unknown), None, "{unknown}");
    }
}

#[test]
fn case_port_and_trailing_dot_make_no_difference() {
    let table =
        table(&[("a", &["Blog.Example."]), ("v6", &["[2001:DB8::1]"]), ("w", &["*.Wild.Example"])]).unwrap();
    for host in ["blog.example", "BLOG.example", "blog.example:8080", "Blog.Example.:80", "blog.example:"] {
        assert_eq!(found(&table, host), Some("a"), "{host}");
    }
    for host in ["[2001:db8::1]", "[2001:DB8::1]:443", "[2001:db8::1]:"] {
        assert_eq!(found(&table, host), Some("v6"), "{host}");
    }
    assert_eq!(found(&table, "A.B.WILD.example.:1"), Some("w"));
}

#[test]
fn what_is_no_port_is_not_ignored() {
    let table = table(&[("a", &["a.example", "[::1]"])]).unwrap();
    for host in
        ["a.example:x", "a.example:80:80", "a.example:80@b.example", "[::1]x", "[::1]:x", "a.example.."]
    {
        assert_eq!(found(&table, host), None, "{host}");
    }
}

#[test]
fn an_exact_host_wins_then_the_longest_wildcard() {
    let table = table(&[
        ("wide", &["*.example"]),
        ("deep", &["*.a.example"]),
        ("exact", &["b.a.example"]),
        ("domain", &["a.example"]),
    ])
    .unwrap();
    assert_eq!(found(&table, "b.a.example"), Some("exact"));
    assert_eq!(found(&table, "c.a.example"), Some("deep"));
    assert_eq!(found(&table, "d.c.b.a.example"), Some("deep"));
    assert_eq!(found(&table, "a.example"), Some("domain"));
    assert_eq!(found(&table, "z.example"), Some("wide"));
}

#[test]
fn a_wildcard_does_not_stand_for_its_own_domain() {
    let table = table(&[("a", &["*.a.example"])]).unwrap();
    assert_eq!(found(&table, "a.example"), None);
    assert_eq!(found(&table, ".a.example"), None);
    assert_eq!(found(&table, "xa.example"), None);
}

#[test]
fn two_sites_with_one_host_are_refused_and_both_named() {
    for hosts in [["x.example", "X.Example."], ["*.x.example", "*.X.example"]] {
        let error = table(&[("one", &["one.example", hosts[0]]), ("two", &[hosts[1]])]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, TableError::Conflict { .. }), "{text}");
        assert!(text.contains("`one`") && text.contains("`two`") && text.contains("x.example"), "{text}");
    }
}

#[test]
fn a_host_written_twice_in_one_site_is_no_conflict() {
    let table = table(&[("a", &["a.example", "A.example"])]).unwrap();
    assert_eq!(found(&table, "a.example"), Some("a"));
}

#[test]
fn a_host_and_the_wildcard_of_its_name_are_no_conflict() {
    let table = table(&[("a", &["a.example"]), ("b", &["*.a.example"])]).unwrap();
    assert_eq!(found(&table, "a.example"), Some("a"));
    assert_eq!(found(&table, "x.a.example"), Some("b"));
}

#[test]
fn what_could_never_be_asked_for_is_refused() {
    let long = format!("{}.example", "a".repeat(HOST_BYTES_MAX));
    for host in ["", "*", "*.", "a.*.example", "*.*.example", ".a.example", "a.example:x", &long] {
        let error = table(&[("a", &[host])]).unwrap_err();
        assert!(matches!(error, TableError::NotAHost { .. }), "{host}: {error}");
    }
}

#[test]
fn the_longest_host_is_found_in_upper_case_and_a_longer_one_is_not() {
    let longest = "a".repeat(HOST_BYTES_MAX);
    let table = table(&[("a", &[&longest])]).unwrap();
    assert_eq!(found(&table, &longest.to_ascii_uppercase()), Some("a"));
    assert_eq!(found(&table, &"A".repeat(HOST_BYTES_MAX + 1)), None);
}

#[test]
fn of_100_000_sites_every_host_is_found() {
    let sites: Vec<(SiteName, Vec<Box<str>>)> = (0..100_000)
        .map(|n| {
            let hosts = vec![
                format!("blog-{n}.example").into(),
                format!("www.customer-{n}.example").into(),
                format!("*.c{n}.example").into(),
            ];
            (SiteName::from(format!("site-{n}").as_str()), hosts)
        })
        .collect();
    let table = RouteTable::build(
        sites.iter().enumerate().map(|(n, (name, hosts))| (name.clone(), hosts.as_slice(), n)),
    )
    .unwrap();
    assert_eq!(table.sites().len(), 100_000);
    for (n, (_, hosts)) in sites.iter().enumerate() {
        for host in hosts {
            let asked = host.replace('*', "Any.Name");
            assert_eq!(table.lookup(&asked), Some(&n), "{asked}");
        }
    }
    assert_eq!(table.lookup("blog-100000.example"), None);
}
