use super::*;

#[derive(Clone, Debug)]
struct Site(SiteName, Vec<Box<str>>);

impl Hosted for Site {
    fn name(&self) -> &SiteName {
        &self.0
    }

    fn hosts(&self) -> &[Box<str>] {
        &self.1
    }
}

fn site(name: &str, hosts: &[&str]) -> Site {
    Site(name.into(), hosts.iter().map(|host| Box::from(*host)).collect())
}

fn table(sites: &[(&str, &[&str])]) -> Result<RouteTable<Site>, TableError> {
    RouteTable::build(sites.iter().map(|(name, hosts)| site(name, hosts)))
}

fn found<'a>(table: &'a RouteTable<Site>, host: &str) -> Option<&'a str> {
    table.lookup(host).map(|site| site.0.as_str())
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
        table(&[("a", &["blog.example"]), ("v6", &["[2001:db8::1]"]), ("w", &["*.wild.example"])]).unwrap();
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
    for hosts in [["x.example", "x.example"], ["*.x.example", "*.x.example"]] {
        let error = table(&[("one", &["one.example", hosts[0]]), ("two", &[hosts[1]])]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, TableError::Conflict { .. }), "{text}");
        assert!(text.contains("`one`") && text.contains("`two`") && text.contains("x.example"), "{text}");
    }
}

#[test]
fn a_host_written_twice_in_one_site_is_no_conflict() {
    let table = table(&[("a", &["a.example", "a.example"])]).unwrap();
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
    for host in
        ["", "*", "*.", "a.*.example", "*.*.example", ".a.example", "a.example:x", "A.example", "a.", &long]
    {
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
    let sites: Vec<Site> = (0..100_000)
        .map(|n| {
            let hosts =
                [format!("blog-{n}.example"), format!("www.customer-{n}.example"), format!("*.c{n}.example")];
            site(&format!("site-{n}"), &hosts.each_ref().map(String::as_str))
        })
        .collect();
    let table = RouteTable::build(sites.iter().cloned()).unwrap();
    assert_eq!(table.sites().count(), 100_000);
    for site in &sites {
        for host in &site.1 {
            let asked = host.replace('*', "Any.Name");
            assert_eq!(found(&table, &asked), Some(site.0.as_str()), "{asked}");
        }
    }
    assert_eq!(found(&table, "blog-100000.example"), None);
}

#[test]
fn a_table_made_out_of_another_is_the_one_that_would_be_built_anew() {
    (0..8).for_each(walk);
}

fn walk(seed: u64) {
    let mut random = seed;
    let mut below = |most: u64| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (random >> 33) % most
    };
    let all: Vec<String> =
        (0..40).flat_map(|n| [format!("h{n}.example"), format!("*.h{n}.example")]).collect();
    let mut sites: Vec<Site> = Vec::new();
    let mut table = RouteTable::default();
    let (mut made, mut refused) = (0, 0);
    while made < 250 {
        let mut gone: Vec<SiteName> = Vec::new();
        let mut put: Vec<Site> = Vec::new();
        for number in 0..12 {
            let name = format!("s{number}");
            match below(6) {
                0 => gone.push(name.as_str().into()),
                1 => {
                    let hosts: Vec<&str> =
                        (0..=below(3)).map(|_| all[below(all.len() as u64) as usize].as_str()).collect();
                    put.push(site(&name, &hosts));
                }
                _ => {}
            }
        }
        let named = |name: &SiteName| gone.contains(name) || put.iter().any(|site| site.0 == *name);
        let stay = sites.iter().filter(|site| !named(&site.0)).cloned();
        let wanted: Vec<Site> = stay.chain(put.iter().cloned()).collect();
        match (table.with(&gone, put.clone()), RouteTable::build(wanted.clone())) {
            (Ok(next), Ok(anew)) => {
                for host in &all {
                    let host = host.replace('*', "below");
                    assert_eq!(found(&next, &host), found(&anew, &host), "{host}, seed {seed}");
                }
                for number in 0..12 {
                    let name = SiteName::from(format!("s{number}").as_str());
                    let hosts = |table: &RouteTable<Site>| table.site(&name).map(|site| site.1.clone());
                    assert_eq!(hosts(&next), hosts(&anew), "{name}, seed {seed}");
                }
                assert_eq!(next.sites().count(), wanted.len());
                (table, sites, made) = (next, wanted, made + 1);
            }
            (Err(_), Err(_)) => refused += 1,
            (next, anew) => panic!("{:?} and {:?}, seed {seed}", next.err(), anew.err()),
        }
    }
    assert!(refused > 10, "{refused} of {made} were refused, seed {seed}");
}

#[test]
fn a_host_may_move_from_one_site_to_another_in_one_step() {
    let before = table(&[("a", &["a.example", "x.example"]), ("b", &["b.example"])]).unwrap();
    let after =
        before.with(&[], [site("b", &["b.example", "x.example"]), site("a", &["a.example"])]).unwrap();
    assert_eq!(found(&after, "x.example"), Some("b"));
    assert_eq!(found(&before, "x.example"), Some("a"), "what is in force is not touched");
}
