//! Each mistake is refused, in the line where it stands, with what to do about it.

use super::*;

/// All that is said about `text`.
fn errors(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err(text);
    errors
        .to_string()
        .lines()
        .map(|line| line.strip_prefix("/etc/ghostpin/ghostpin.toml:").expect("the file").to_owned())
        .collect()
}

/// Asserts that `text` has one mistake, said in a line that begins with `begins` and has `hint` in it.
#[track_caller]
fn refused(text: &str, begins: &str, hint: &str) {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].starts_with(begins), "{}", errors[0]);
    assert!(errors[0].contains(hint), "{}", errors[0]);
}

/// Asserts it about a site with `line` added, as line 6 unless it begins with an empty line.
#[track_caller]
fn refused_in_site(line: &str, begins: &str, hint: &str) {
    refused(&format!("{SITE}{line}\n"), begins, hint);
}

#[test]
fn unknown_keys_are_refused_and_the_near_one_is_named() {
    refused("[server]\nthread = 2", "2: server.thread: ", "did you mean `threads`?");
    refused("[sever]\nthreads = 2", "1: sever: ", "did you mean `server`?");
    refused("[[sites]]\nname = \"a\"", "1: sites: ", "did you mean `site`?");
    refused("[log]\nxyzzyx = 1", "2: log.xyzzyx: ", "known here: format, level, access, access_to");
    refused_in_site("host = []", "6: site.host: ", "did you mean `hosts`?");
    refused_in_site("hold.timeot = \"1s\"", "6: site.hold.timeot: ", "did you mean `timeout`?");
    refused_in_site(
        "[site.hooks]\nfence = { comand = [\"x\"], command = [\"x\"] }",
        "7: site.hooks.fence.comand: ",
        "did you mean `command`?",
    );
    refused_in_site(
        "[[site.route]]\npath = \"/a\"\nupstream = \"1.2.3.4:5\"\nweight = 1",
        "9: site.route.weight: ",
        "known here",
    );
    refused("[log]\naccess = true\ninclude = \"a\"", "3: log.include: ", "above the first table");
}

#[test]
fn all_mistakes_are_said_at_once_in_the_order_of_the_file() {
    let text = "[server]\nthread = 2\nshutdown_timeout = 30\n[hold]\ntimeout = \"1h\"\n[[site]]\nname = \"a\"\n\
                hosts = [\"a:80\", \"b c\"]\nbackends = [\"x\"]\nfall = 1\n[[site]]\nname = \"b\"\n";
    let errors = errors(text);
    let keys: Vec<String> =
        errors.iter().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        keys,
        [
            "2: server.thread",
            "3: server.shutdown_timeout",
            "5: hold.timeout",
            "8: site.hosts",
            "8: site.hosts",
            "9: site.backends",
            "10: site.fall",
            "11: site.hosts",
            "11: site.backends",
        ],
        "{errors:#?}"
    );
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let errors = errors("[server]\nthreads = = 1\n[hold\n");
    assert!(errors[0].starts_with("2: not TOML: "), "{errors:#?}");
    assert!(errors.iter().all(|error| error.contains("not TOML")), "{errors:#?}");
    refused("[server]\nthreads = 1\nthreads = 2", "3: not TOML: ", "duplicate");
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    refused("[server]\nthreads = \"two\"", "2: server.threads: ", "without quotes");
    refused("[server]\nthreads = 1.5", "2: server.threads: ", "a whole number");
    refused("server = 1", "1: server: ", "invalid type");
    refused("[log]\naccess = \"yes\"", "2: log.access: ", "boolean");
    refused("[log]\nformat = \"xml\"", "2: log.format: ", "human or json");
    refused("[log]\nformat = 1", "2: log.format: ", "must be a word in quotes");
    refused("[listen]\nhttp = \"127.0.0.1:80\"", "2: listen.http: ", "a list, such as");
    refused("[site]\nname = \"blog\"", "1: site: ", "[[site]]");
    refused_in_site("app = \"wordpress\"", "6: site.app: ", "ghost or generic");
    refused_in_site("warm_standby = true", "6: site.warm_standby: ", "");
    refused("[log]\nlevel = \"loud=yes=no\"", "2: log.level: ", "no filter");
}

#[test]
fn durations_and_sizes_without_units_are_refused() {
    refused("[hold]\ntimeout = 15", "2: hold.timeout: ", r#"write "15s""#);
    refused("[hold]\ntimeout = \"15\"", "2: hold.timeout: ", "is no duration");
    refused("[limits]\nmax_head = 65536", "2: limits.max_head: ", r#""65536B""#);
    refused("[limits]\nmax_head = \"64KB\"", "2: limits.max_head: ", "KiB");
}

#[test]
fn absurd_bounds_are_refused() {
    for (table, line, bounds) in [
        ("health", "fall = 0", "between 1 and"),
        ("health", "rise = 0", "between 1 and"),
        ("health", "rise = -1", "between 1 and"),
        ("health", "interval = \"9ms\"", "between 10ms and"),
        ("health", "timeout = \"0s\"", "between 10ms and"),
        ("hold", "timeout = \"0s\"", "between 10ms and 10m"),
        ("hold", "timeout = \"11m\"", "between 10ms and 10m"),
        ("hold", "max_requests = 0", "between 1 and 1000000"),
        ("hold", "max_requests = 1000001", "between 1 and 1000000"),
        ("hold", "max_requests_total = 0", "between 1 and"),
        ("server", "threads = 1025", "between 0 and 1024"),
        ("limits", "max_connections = 0", "between 1 and"),
        ("limits", "max_head = \"1KiB\"", "between 8KiB and 1MiB"),
        ("limits", "head_timeout = \"1d\"", "between 10ms and 10m"),
        ("handoff", "prove_timeout = \"0s\"", "between 10ms and 1h"),
        ("upstream", "connect_timeout = \"0s\"", "between 10ms and 5m"),
    ] {
        let key = line.split(' ').next().unwrap();
        refused(&format!("[{table}]\n{line}"), &format!("2: {table}.{key}: "), bounds);
    }
    refused("[health]\nexpect = []", "2: health.expect: ", "empty");
    refused_in_site("health.expect = []", "6: site.health.expect: ", "empty");
    refused_in_site("health.expect = [200, \"2xx\"]", "6: site.health.expect: ", "no status");
    refused_in_site("hold.max_requests = 0", "6: site.hold.max_requests: ", "between 1 and");
}

#[test]
fn hosts_that_no_reader_can_send_are_refused() {
    let site = |hosts: &str| SITE.replace("[\"blog.example\"]", hosts);
    refused(&site("[\"blog.example:8080\"]"), "4: site.hosts: ", "write `blog.example`");
    refused(&site("[\"b\u{fc}cher.example\"]"), "4: site.hosts: ", "xn--");
    refused(&site("[\"a.*.example\"]"), "4: site.hosts: ", "`*.domain`");
    refused(&site("[]"), "4: site.hosts: ", "at least one host");
    refused(&site("[\n\"a.example\",\n\"A.Example\"]"), "6: site.hosts: ", "twice");
    refused(&site("[\"*.example\"]"), "2: site.health.host: ", "wildcards");
}

#[test]
fn a_host_of_two_sites_is_refused_naming_both_with_their_lines() {
    let other = SITE.replace("\"blog\"", "\"shop\"").replace("blog.example", "BLOG.example");
    refused(
        &format!("{SITE}{other}"),
        "9: site.hosts: `blog.example` of site `shop` already belongs to site `blog` at /etc/ghostpin/ghostpin.toml:4",
        "remove",
    );
}

#[test]
fn a_conflict_names_both_files() {
    let folder = tempfile::tempdir().unwrap();
    let (main, other) = (folder.path().join("main.toml"), folder.path().join("other.toml"));
    fs::write(&main, format!("include = \"other.toml\"{SITE}")).unwrap();
    fs::write(&other, SITE.replace("\"blog\"", "\"shop\"")).unwrap();
    let error = Config::load(&main).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:4: site.hosts: ", other.display())), "{error}");
    assert!(error.contains(&format!("`blog` at {}:4", main.display())), "{error}");
}

#[test]
fn two_sites_of_one_name_are_refused() {
    let other = SITE.replace("blog.example", "shop.example");
    refused(&format!("{SITE}{other}"), "8: site.name: ", "at /etc/ghostpin/ghostpin.toml:3");
}

#[test]
fn a_site_without_its_parts_is_refused() {
    refused("[[site]]\nhosts = [\"a\"]\nbackends = [\"1.2.3.4:5\"]", "1: site.name: ", "missing");
    refused("[[site]]\nname = \"a\"\nbackends = [\"1.2.3.4:5\"]", "1: site.hosts: ", "missing");
    refused("[[site]]\nname = \"a\"\nhosts = [\"a\"]", "1: site.backends: ", "missing");
    refused(
        "[[site]]\nname = \"a b\"\nhosts = [\"a\"]\nbackends = [\"1.2.3.4:5\"]",
        "2: site.name: ",
        "no name",
    );
}

#[test]
fn backends_that_cannot_be_reached_are_refused() {
    let site = |backends: &str| SITE.replace("[\"127.0.0.1:2368\"]", backends);
    refused(&site("[]"), "5: site.backends: ", "at least one backend");
    refused(&site("[\"127.0.0.1:0\"]"), "5: site.backends: ", "port 0");
    refused(&site("[\"127.0.0.1\"]"), "5: site.backends: ", "no port");
    refused(&site("[\"unix:run/a.sock\"]"), "5: site.backends: ", "unix:/path");
    refused(&site("[\"[::1]:80\",\n\"[0::1]:80\"]"), "6: site.backends: ", "twice");
    refused(&site("[\"Ghost:80\", \"ghost:80\"]"), "5: site.backends: ", "twice");
}

#[test]
fn a_listener_that_is_a_table_has_an_address_and_known_keys() {
    let listener = |table: &str| format!("[listen]\nhttp = [{{ {table} }}]");
    refused(&listener("limits.head_timeout = '1s'"), "2: listen.http.address: is missing", "0.0.0.0:80");
    refused(&listener("address = '127.0.0.1:1', limit = {}"), "2: listen.http", "did you mean `limits`?");
    refused(&listener("address = '127.0.0.1:1', limits.head_timeout = 5"), "2: listen.http", "5s");
    refused(&listener("address = 'localhost:1'"), "2: listen.http", "neither an address");
}

#[test]
fn tls_without_certificates_is_refused() {
    refused("[listen]\nhttps = [\"127.0.0.1:443\"]", "2: listen.https: ", "certificates = \"certs/\"");
    refused("[tls]\ncertificates = \"/not/there\"", "2: tls.certificates: ", "can't be read as a folder");
    let site = "[[site]]\nname = \"a\"\nhosts = [\"a.example\"]\nbackends = [\"127.0.0.1:1\"]\n";
    refused(&format!("{site}key = \"a.key\""), "5: site.key: ", "certificate = \"...\"");
}

#[test]
fn listeners_that_would_meet_are_refused() {
    refused("[listen]\nhttp = [\"127.0.0.1:80\", \"127.0.0.1:80\"]", "2: listen.http: ", "twice");
    refused("[listen]\nhttp = []", "2: listen.http: ", "way in");
    refused("[listen]\nhttp = [\"localhost:80\"]", "2: listen.http: ", "neither an address");
    refused("[admin]\nlisten = \"127.0.0.1:8080\"", "2: admin.listen: ", "another port");
    let both = |http: &str, https: &str| {
        let acme = "[acme]\ndirectory = \"https://ca.example/directory\"";
        format!("[listen]\nhttp = [\"{http}\"]\nhttps = [\"{https}\"]\n{acme}")
    };
    refused(&both("127.0.0.1:80", "127.0.0.1:80"), "3: listen.https: ", "`127.0.0.1:80` is listed twice");
    refused(&both("./front", "unix:./front"), "3: listen.https: ", "front` is listed twice");
}

#[test]
fn a_fleet_that_no_edge_can_join_is_refused() {
    refused("[cluster]\nname = \"a\"", "1: cluster.etcd: ", "etcd = [");
    let cluster = |line: &str| format!("[cluster]\netcd = [\"http://10.0.0.1:2379\"]\nname = \"a\"\n{line}");
    refused(&cluster("prefix = \"ghostpin\""), "4: cluster.prefix: ", "begin it with a slash");
    refused(&cluster("lease_ttl = \"1s\""), "4: cluster.lease_ttl: ", "");
    refused(&cluster("user = \"a\""), "4: cluster.user: ", "password_file");
    refused("[cluster]\nname = \"a\"\netcd = [\"10.0.0.1:2379\"]", "3: cluster.etcd: ", "https://host:2379");
}

#[test]
fn a_canary_of_no_fleet_is_refused() {
    refused("[guard]\ncanary = \"a\"", "2: guard.canary: ", "there is no [cluster]");
    refused("[guard]\ncanary_time = \"9s\"", "2: guard.canary_time: ", "stands alone; add canary");
    refused("[guard]\ncanary = \"edge 1\"", "2: guard.canary: ", "is no name");
}

#[test]
fn a_detour_that_no_edge_can_take_is_refused() {
    let cluster = |detour: &str| {
        format!("[cluster]\netcd = [\"http://10.0.0.1:2379\"]\nname = \"a\"\ndetour = \"{detour}\"\n")
    };
    refused(&cluster("0.0.0.0:7080"), "4: cluster.detour: ", "by which other edges reach this one");
    refused(&cluster("[::]:7080"), "4: cluster.detour: ", "by which other edges reach this one");
    refused(&cluster("edge-1:7080"), "4: cluster.detour: ", "IP:port");
    refused(&cluster("127.0.0.1:8080"), "4: cluster.detour: ", "is in [listen] too");
    let admin = cluster("127.0.0.1:9180") + "[admin]\nlisten = \"127.0.0.1:9180\"";
    refused(&admin, "6: admin.listen: ", "is in cluster.detour too");
}

#[test]
fn an_admin_api_open_to_others_needs_a_token() {
    for address in ["0.0.0.0:9180", "[::]:9180", "10.0.0.1:9180"] {
        refused(&format!("[admin]\nlisten = \"{address}\""), "2: admin.listen: ", "token_file");
    }
    refused("[admin]\ntoken = \"\"", "2: admin.token: ", "at least one");
    refused("[admin]\ntoken = \"a\"\ntoken_file = \"b\"", "3: admin.token_file: ", "one of them");
    refused("[admin]\ntoken_file = \"/none/token\"", "2: admin.token_file: ", "/none/token");
}

#[test]
fn a_token_is_not_part_of_an_error() {
    for line in
        ["token = \"s3cret s3cret\"", "token = [\"s3cret\"]", "token = \"s3cret\"\ntoken_file = \"x\""]
    {
        let errors = errors(&format!("[admin]\n{line}"));
        assert!(!errors.concat().contains("s3cret"), "{errors:#?}");
    }
}

#[test]
fn a_restart_without_a_start_hook_is_refused() {
    refused_in_site("warm_standby = \"restart\"", "6: site.warm_standby: ", "`start` hook");
    good(&format!("{SITE}warm_standby = \"restart\"\nhooks.start.command = [\"ghostctl\", \"restart\"]\n"));
}

#[test]
fn hooks_that_can_do_nothing_are_refused() {
    refused_in_site("hooks.fence = { command = [] }", "6: site.hooks.fence: ", "empty `command`");
    refused_in_site("hooks.fence = { command = [\"\"] }", "6: site.hooks.fence: ", "empty `command`");
    refused_in_site("hooks.fence = { command = [\"a\\u0000\"] }", "6: site.hooks.fence: ", "NUL");
    refused_in_site("hooks.fence = { timeout = \"1s\" }", "6: site.hooks.fence: ", "does nothing");
    refused_in_site("hooks.fence = { url = \"https://a/\" }", "6: site.hooks.fence.url: ", "plain HTTP");
    refused_in_site(
        "hooks.fence = { url = \"http://a/\", command = [\"a\"] }",
        "6: site.hooks.fence: ",
        "one of them",
    );
}

#[test]
fn header_fields_of_the_connection_are_refused() {
    refused_in_site("[site.headers]\nConnection = \"close\"", "7: site.headers.Connection: ", "can't be set");
    refused_in_site("[site.headers]\n\"a b\" = \"c\"", "7: site.headers.a b: ", "name of a header field");
    refused_in_site("[site.headers]\nX-A = \"\\n\"", "7: site.headers.X-A: ", "visible ASCII");
    refused_in_site("[site.headers]\nX-A = \"1\"\nx-a = \"2\"", "6: site.headers: ", "written twice");
}

#[test]
fn routes_that_would_pass_by_the_pin_or_each_other_are_refused() {
    let route = |path: &str| format!("[[site.route]]\npath = \"{path}\"\nupstream = \"1.2.3.4:5\"\n");
    refused_in_site(&route("/"), "7: site.route.path: ", "past the pin");
    refused_in_site(&route("/a/*"), "7: site.route.path: ", "write `/a`");
    refused_in_site(&(route("/a") + &route("/a/")), "9: site.route.path: ", "there twice");
    refused_in_site("[[site.route]]\npath = \"/a\"", "6: site.route: ", "needs both");
    let named = "[[site.route]]\npath = \"/a\"\nupstream = \"name:80\"";
    refused_in_site(named, "8: site.route.upstream: ", "must be an address");
}

#[test]
fn files_that_are_not_there_are_named() {
    let error = Config::load(Path::new("/none/ghostpin.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/none/ghostpin.toml: can't be read: "), "{error}");
    refused("include = \"/none/site.toml\"", "1: include: ", "/none/site.toml");
    refused("include = \"/none/*/site-?.toml\"", "1: include: ", "folder");
    refused("[pages]\nunavailable = \"/none/wait.html\"", "2: pages.unavailable: ", "/none/wait.html");
}

#[test]
fn included_files_hold_sites_only() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.toml"), "include = [\"a.toml\"]").unwrap();
    let included = folder.path().join("a.toml");
    fs::write(&included, format!("{SITE}[health]\nfall = 3\n")).unwrap();
    let error = Config::load(&folder.path().join("main.toml")).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:6: health: ", included.display())), "{error}");
    assert!(error.contains("[[site]] only"), "{error}");
}

#[test]
fn a_flood_of_mistakes_is_counted_not_printed() {
    let text = "[[site]]\nnam = \"a\"\n".repeat(1_000);
    let errors = parse(&text).unwrap_err();
    assert_eq!(errors.count(), 1_000);
    assert_eq!(errors.iter().count(), MAX_ERRORS);
    assert!(errors.to_string().ends_with("... and 900 more"), "{errors}");
}

#[test]
fn traces_want_a_collector() {
    refused("[traces]\nshare = 0.5", "1: traces.endpoint: ", "/v1/traces");
    refused("[traces]\nendpoint = 'localhost:4317'", "2: traces.endpoint: ", "http://");
    refused("[traces]\nendpoint = 'http://127.0.0.1:4318'", "2: traces.endpoint: ", "with its path");
}

#[test]
fn a_place_or_a_share_of_the_access_log_that_is_none_is_refused() {
    refused("[log]\naccess_to = 'journal'", "2: log.access_to: ", "\"journald\"");
    refused("[log]\naccess_share = 2", "2: log.access_share: ", "between 0 and 1");
    refused("[log]\naccess_format = 'combined'", "2: log.access_format: ", "a file");
    refused("[log]\naccess_to = 'stdout'\naccess_format = 'xml'", "3: log.access_format: ", "combined");
}
