//! What the configuration promises to whoever writes it.

use std::fs;
use std::path::Path;

use super::*;

pub(crate) mod documented;
pub(super) mod mutated;
mod refused;

/// The contract that users rely on, as it stands in the first pages of the documentation.
const CONTRACT: &str = r#"
[server]
state = "./state"                 # folder of the pin store
threads = 0                       # 0: one per core
[listen]
http = ["127.0.0.1:8080"]
[admin]
listen = "127.0.0.1:9180"         # or a path: Unix socket
[hold]
timeout = "15s"
max_requests = 1000               # per site
[health]
path = "/ghost/api/admin/site/"
interval = "1s"
timeout = "1s"
fall = 2
rise = 1
[[site]]
name = "blog"
hosts = ["blog.example", "www.blog.example"]
backends = ["127.0.0.1:2368", "127.0.0.1:2369"]
"#;

/// A site that says no more than it must.
const SITE: &str = r#"
[[site]]
name = "blog"
hosts = ["blog.example"]
backends = ["127.0.0.1:2368"]
"#;

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("/etc/ghostpin/ghostpin.toml"))
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"))
}

fn site(text: &str) -> Arc<Site> {
    good(text).sites.into_iter().next().unwrap()
}

#[test]
fn the_contract_is_read_as_written() {
    let config = good(CONTRACT);
    assert_eq!(config.server.state, Path::new("/etc/ghostpin/./state"));
    assert_eq!(config.server.threads, std::thread::available_parallelism().unwrap().get());
    assert_eq!(config.listen.http[0].address, ListenAddress::Tcp("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(config.admin.listen, ListenAddress::Tcp("127.0.0.1:9180".parse().unwrap()));
    assert_eq!(config.admin.token, None);
    let site = &config.sites[0];
    assert_eq!(site.name.as_str(), "blog");
    assert_eq!(*site.hosts, ["blog.example", "www.blog.example"].map(Box::from));
    assert_eq!(site.backends[1], BackendSpec::Instance("127.0.0.1:2369".parse().unwrap()));
    assert_eq!(site.hold.timeout, Duration::from_secs(15));
    assert_eq!(site.hold.max_requests, 1000);
    assert_eq!((site.health.fall, site.health.rise), (2, 1));
    assert_eq!(site.probe_host(), "blog.example");
    assert_eq!(
        (site.app, site.failover, site.warm_standby),
        (App::Ghost, Failover::Auto, WarmStandby::Allow)
    );
}

#[test]
fn an_empty_file_is_a_proxy_without_sites_on_loopback() {
    let config = good("");
    assert_eq!(config.sites, []);
    assert!(
        matches!(config.listen.http[0].address, ListenAddress::Tcp(address) if address.ip().is_loopback())
    );
    assert!(config.server.threads >= 1);
}

#[test]
fn ghost_is_the_profile_unless_another_is_named() {
    let ghost = site(SITE);
    assert_eq!(ghost.health.path, "/ghost/api/admin/site/");
    assert_eq!(ghost.health.proof_path, "/");
    assert_eq!(ghost.health.forwarded_proto, "https");
    assert_eq!(ghost.health.expect, [(200, 200)]);
    assert_eq!(ghost.hold.never, ["/ghost/api/admin/schedules/", "/favicon.ico"]);
    assert_eq!(ghost.upstream.keep_alive, Duration::from_secs(4));
    assert_eq!(site(&format!("{SITE}app = \"ghost\"")), ghost);

    let generic = site(&format!("{SITE}app = \"generic\""));
    assert_eq!((generic.health.path.as_str(), generic.health.proof_path.as_str()), ("/", "/"));
    assert_eq!(generic.health.forwarded_proto, "http");
    assert_eq!(generic.hold.never, [] as [&str; 0]);
}

#[test]
fn a_key_of_the_site_beats_the_table_beats_the_profile() {
    let top = "[health]\npath = \"/top\"\nfall = 5\n[upstream]\nkeep_alive = \"2s\"\n";
    let own = "[site.health]\npath = \"/own\"\n[site.hold]\ntimeout = \"3s\"\n";
    let with_top = site(&format!("{top}{SITE}"));
    assert_eq!(with_top.health.path, "/top");
    assert_eq!(with_top.health.proof_path, "/");
    assert_eq!(with_top.upstream.keep_alive, Duration::from_secs(2));
    let with_both = site(&format!("{top}{SITE}{own}"));
    assert_eq!(with_both.health.path, "/own");
    assert_eq!(with_both.health.fall, 5);
    assert_eq!(with_both.hold.timeout, Duration::from_secs(3));
    let generic = site(&format!("{top}{SITE}app = \"generic\""));
    assert_eq!(generic.health.path, "/top");
}

#[test]
fn everything_a_site_can_say_is_read() {
    let site = site(
        r#"
        [[site]]
        name = "blog"
        hosts = ["Blog.Example", "*.blog.example"]
        backends = ["ghost-a:2368", "[::1]:2368", "unix:/run/ghost.sock"]
        failover = "manual"
        warm_standby = "restart"
        [site.health]
        host = "probe.example"
        expect = ["200", "300-302", 404]
        [site.hooks]
        fence = { command = ["hooks/stop.sh", "a/b"], timeout = "20s" }
        start = { url = "http://127.0.0.1:9000/start", required = false }
        [site.headers]
        X-Site-Id = "42"
        [[site.route]]
        path = "/.ghost/activitypub/"
        upstream = "127.0.0.1:8081"
        [[site.route]]
        path = "/.ghost/activitypub/inbox"
        upstream = "unix:/run/inbox.sock"
        "#,
    );
    assert_eq!(*site.hosts, ["blog.example", "*.blog.example"].map(Box::from));
    assert_eq!(site.backends[0], BackendSpec::Name { host: "ghost-a".into(), port: 2368 });
    assert_eq!((site.failover, site.warm_standby), (Failover::Manual, WarmStandby::Restart));
    assert_eq!(site.probe_host(), "probe.example");
    assert_eq!(site.health.expect, [(200, 200), (300, 302), (404, 404)]);
    let fence = site.hooks.fence.as_ref().unwrap();
    let words = ["/etc/ghostpin/hooks/stop.sh", "a/b"].map(str::to_owned).to_vec();
    assert_eq!(fence.action, HookAction::Command(words));
    assert_eq!((fence.timeout, fence.required), (Duration::from_secs(20), true));
    let start = site.hooks.start.as_ref().unwrap();
    assert_eq!(start.action, HookAction::Url("http://127.0.0.1:9000/start".parse().unwrap()));
    assert!(!start.required);
    assert_eq!(site.headers[0].0, "x-site-id");
    let paths: Vec<&str> = site.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/.ghost/activitypub/inbox", "/.ghost/activitypub"]);
}

#[test]
fn one_expected_status_needs_no_list() {
    for expect in ["\"204\"", "204", "[204]"] {
        assert_eq!(site(&format!("{SITE}health.expect = {expect}")).health.expect, [(204, 204)]);
    }
    let range = site(&format!("{SITE}health.expect = \"200-299\""));
    assert_eq!(range.health.expect, [(200, 299)]);
}

#[test]
fn included_sites_follow_in_the_order_of_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("ghostpin.toml");
    fs::create_dir(folder.path().join("sites.d")).unwrap();
    for name in ["b", "a"] {
        let text = SITE.replace("blog", name);
        fs::write(folder.path().join(format!("sites.d/{name}.toml")), text).unwrap();
    }
    for include in [r#""sites.d/*.toml""#, r#"["sites.d/a.toml", "sites.d/*.toml", "none.d/*.toml"]"#] {
        fs::write(&main, format!("include = {include}\n{SITE}")).unwrap();
        let config = Config::load(&main).unwrap();
        let names: Vec<&str> = config.sites.iter().map(|site| site.name.as_str()).collect();
        assert_eq!(names, ["blog", "a", "b"]);
    }
}

#[test]
fn pages_and_tokens_are_read_from_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wait.html"), "<p>soon</p>").unwrap();
    fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    let main = folder.path().join("ghostpin.toml");
    let text =
        "[pages]\nunavailable = \"wait.html\"\n[admin]\nlisten = \"0.0.0.0:9180\"\ntoken_file = \"token\"\n";
    fs::write(&main, text).unwrap();
    let config = Config::load(&main).unwrap();
    assert_eq!(config.pages.unavailable.as_deref(), Some("<p>soon</p>"));
    assert_eq!(config.admin.token.as_ref().unwrap().expose(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn the_admin_api_may_listen_at_a_path() {
    let config = good("[admin]\nlisten = \"run/ghostpin.sock\"");
    assert_eq!(config.admin.listen, ListenAddress::Unix("/etc/ghostpin/run/ghostpin.sock".into()));
    good("[admin]\nlisten = \"[::1]:9180\"");
    good("[admin]\nlisten = \"0.0.0.0:9180\"\ntoken = \"abc\"");
}

#[test]
fn the_way_in_is_found_wherever_it_stands_and_whatever_is_wrong_below() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("ghostpin.toml");
    let admin = "[admin]\nlisten = '127.0.0.1:7'\n";
    for text in [
        format!("{admin}{SITE}"),
        format!("{SITE}{admin}"),
        format!("{admin}{SITE}nope = 1\n"),
        format!("{admin}{SITE}app = [\n"),
    ] {
        fs::write(&main, &text).unwrap();
        let found = Config::load_admin(&main).unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"));
        assert_eq!(found.listen, ListenAddress::Tcp("127.0.0.1:7".parse().unwrap()));
    }
    fs::write(&main, format!("[admin]\nlisten = 7\n{SITE}")).unwrap();
    assert!(Config::load_admin(&main).unwrap_err().to_string().contains("ghostpin.toml:2: admin.listen"));
}

#[test]
fn several_listeners_on_free_ports_are_no_conflict() {
    good("[listen]\nhttp = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"");
}

/// 100,000 in release; a debug build reads 20,000 to stay quick.
#[test]
fn a_hundred_thousand_sites_load() {
    use std::fmt::Write;
    let sites = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    let mut text = String::new();
    for i in 0..sites {
        writeln!(
            text,
            "[[site]]\nname = \"site-{i}\"\nhosts = [\"site-{i}.example\", \"www.site-{i}.example\"]\n\
             backends = [\"10.0.{}.{}:2368\", \"10.1.{}.{}:2368\"]\n[site.headers]\nX-Site-Id = \"{i}\"",
            i / 256 % 256,
            i % 256,
            i / 256 % 256,
            i % 256
        )
        .unwrap();
    }
    let start = std::time::Instant::now();
    let config = good(&text);
    println!("{sites} sites, {} bytes: {:?}", text.len(), start.elapsed());
    assert_eq!(config.sites.len(), sites);
    assert_eq!(*config.sites[sites - 1].hosts[0], *format!("site-{}.example", sites - 1));
}

#[test]
fn the_example_shows_the_defaults() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let example = Config::load(&folder.join("ghostpin.toml")).unwrap();
    let blog = &example.sites[0];
    let text = "[[site]]\nname = \"blog\"\nhosts = [\"blog.example\", \"www.blog.example\"]\n\
                backends = [\"127.0.0.1:2368\", \"127.0.0.1:2369\"]";
    let silent = Config::parse(text, &folder.join("ghostpin.toml")).unwrap();
    assert_eq!(blog, &silent.sites[0]);
    assert_eq!(Config { sites: Vec::new(), ..example }, Config { sites: Vec::new(), ..silent });
}

#[test]
fn every_file_in_the_config_folder_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut loaded = 0;
    for folder in [folder.clone(), folder.join("sites.d")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
                assert!(!config.sites.is_empty(), "{} shows no site", path.display());
                loaded += 1;
            }
        }
    }
    assert!(loaded >= 2, "the example and what it includes");
}

#[test]
fn a_listener_overrides_what_holds_for_all_key_by_key() {
    let config = parse(
        "[limits]\nhead_timeout = '3s'\nmax_headers = 50\n\
         [listen]\nproxy_protocol = { from = ['10.0.0.0/8'] }\n\
         http = ['127.0.0.1:1', { address = './front', proxy_protocol = { from = [] }, limits = { head_timeout = '1s' } }]",
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let [first, second] = &config.listen.http[..] else { panic!("two listeners") };
    let seconds = std::time::Duration::from_secs;
    assert_eq!((first.settings.limits.head_timeout, first.settings.limits.max_headers), (seconds(3), 50));
    assert_eq!((second.settings.limits.head_timeout, second.settings.limits.max_headers), (seconds(1), 50));
    assert_eq!((first.settings.proxy_protocol_from.len(), second.settings.proxy_protocol_from.len()), (1, 0));
    assert!(matches!(&second.address, ListenAddress::Unix(path) if path.ends_with("front")));
}
