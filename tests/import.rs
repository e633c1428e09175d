//! `ghostpin import`: files as they are in the world. Whoever made them takes them, and so does `ghostpin check` what
//! becomes of them; and nothing that they say is left out silently.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(name)
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

fn ghostpin() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ghostpin"))
}

/// What becomes of a file, once `ghostpin check` has accepted it.
fn imported(file: &Path) -> String {
    let (code, text, error) = run(ghostpin().arg("import").arg(file));
    assert_eq!((code, error.as_str()), (0, ""), "{}", file.display());
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("ghostpin.toml");
    // Where a checked file keeps its pins must be there to be made.
    let state = format!("[server]\nstate = \"{}\"\n", folder.path().join("state").display());
    fs::write(&made, format!("{text}\n{state}")).unwrap();
    let (code, _, error) = run(ghostpin().args(["check", "--admin", "/nowhere", "--config"]).arg(&made));
    assert_eq!(code, 0, "{error}\n{text}");
    text
}

#[track_caller]
fn has(text: &str, all: &[&str]) {
    for part in all {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

/// Each directive of a sample is taken over, or told of: its line is named, or one of these stands for it.
#[track_caller]
fn told(text: &str, lines: &[(usize, &str)]) {
    for (line, word) in lines {
        let is_told = |comment: &str| {
            comment.starts_with('#') && comment.contains(&format!("line {line}:")) && comment.contains(word)
        };
        assert!(text.lines().any(is_told), "line {line}, {word}, is not told of in\n{text}");
    }
}

#[test]
fn what_nginx_proxies_becomes_sites_and_the_rest_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["nginx.conf", "sites-enabled/blog.conf", "sites-enabled/shop.conf"] {
        let to = folder.path().join("etc").join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(sample("nginx").join(name), to).unwrap();
    }
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).unwrap();
    let made = rcgen::generate_simple_self_signed(["blog.example".to_owned()]).unwrap();
    fs::write(certs.join("blog.example.crt"), made.cert.pem()).unwrap();
    fs::write(certs.join("blog.example.key"), made.signing_key.serialize_pem()).unwrap();
    let file = folder.path().join("etc/nginx.conf");
    let (code, _, error) =
        run(Command::new("/usr/sbin/nginx").arg("-t").arg("-p").arg(folder.path()).arg("-c").arg(&file));
    assert_eq!(code, 0, "nginx itself: {error}");

    let text = imported(&file);
    has(
        &text,
        &[
            "http = [\"0.0.0.0:18080\", \"[::1]:18080\"]",
            "https = [\"0.0.0.0:18443\"]",
            "name = \"blog.example\"\nhosts = [\"blog.example\", \"www.blog.example\"]\nbackends = [\"127.0.0.1:2368\"]\n",
            "https.redirect = true\nheaders.\"X-Site-Id\" = \"4711\"\n[[site.route]]\npath = \"/.ghost/activitypub\"\nupstream = \"127.0.0.1:8081\"\n",
            "hosts = [\"shop.example\", \"*.shop.example\"]\n# Never balanced: 127.0.0.1:4001 is pinned first, the others stand by.\nbackends = [\"127.0.0.1:4001\", \"127.0.0.1:4002\", \"127.0.0.1:4003\"]\n",
            "(static.example) was left out: nothing in it is proxied as a whole",
            "(cdn.example) was left out",
        ],
    );
    assert_eq!(text.matches("\n[[site]]").count(), 2, "{text}");
    has(&text, &[&format!("certificate = \"{}", folder.path().display())]);
    told(
        &text,
        &[
            (2, "worker_processes auto"),
            (23, "least_conn"),
            (24, "the parameters of it"),
            (27, "is said to be down"),
            (28, "keepalive 16"),
            (7, "location ~ /.well-known"),
            (22, "ssl_protocols"),
            (27, "X-Real-IP $remote_addr`: ghostpin passes it only from a trusted proxy"),
            (30, "X-Country"),
            (32, "add_header"),
            (34, "a path is a plain prefix, no pattern"),
            (41, "it changes the path"),
            (43, "client_max_body_size"),
            (3, "~^(?<user>.+)\\.shop\\.test$"),
            (19, "server_name _"),
            (25, "root /var/www/static"),
            (31, "clear text to backends"),
        ],
    );
}

#[test]
fn what_caddy_proxies_becomes_sites_and_the_rest_is_told_of() {
    let text = imported(&sample("Caddyfile"));
    has(
        &text,
        &[
            "http = [\"0.0.0.0:80\"]\nhttps = [\"0.0.0.0:443\"]",
            "[acme]\ndirectory = \"https://acme-v02.api.letsencrypt.org/directory\"\ncontact = [\"mailto:ops@example.org\"]\n",
            "hosts = [\"blog.example\", \"www.blog.example\"]\n# Never balanced: localhost:2368 is pinned first, the others stand by.\nbackends = [\"localhost:2368\", \"localhost:2369\"]\n",
            "headers.\"X-Site-Id\" = \"4711\"\n",
            "path = \"/.ghost/activitypub\"\nupstream = \"127.0.0.1:8081\"\n",
            "path = \"/.well-known/webfinger\"\n",
            "hosts = [\"plain.example\"]\nbackends = [\"localhost:3000\"]\napp = \"generic\"\nhttps.redirect = false\n[[site.route]]\npath = \"/api\"\nupstream = \"unix:/run/api.sock\"\n",
            "name = \"all.shop.example\"\nhosts = [\"*.shop.example\"]\nbackends = [\"127.0.0.1:4001\"]\napp = \"generic\"\n# All of its hosts are wildcards. Probes ask for this one:\nhealth.host = \"www.shop.example\"\n",
            "certificate = \"/etc/certs/shop.crt\"\nkey = \"/etc/certs/shop.key\"\n",
            "(static.example) was left out",
        ],
    );
    assert_eq!(text.matches("\n[[site]]").count(), 3, "{text}");
    told(
        &text,
        &[
            (3, "servers { ... }"),
            (9, "encode zstd gzip"),
            (10, "header -Server"),
            (17, "a route is a prefix"),
            (22, "lb_policy first"),
            (23, "health_uri /health"),
            (25, "log { ... }"),
            (37, "handle_path /old/* { ... }"),
            (40, "over HTTP/1.1"),
            (45, "file_server"),
        ],
    );
}

#[test]
fn what_haproxy_proxies_becomes_sites_and_the_rest_is_told_of() {
    let file = sample("haproxy.cfg");
    let (code, _, error) = run(Command::new("/usr/sbin/haproxy").args(["-c", "-q", "-f"]).arg(&file));
    assert_eq!(code, 0, "HAProxy itself: {error}");
    let text = imported(&file);
    has(
        &text,
        &[
            "http = [\"0.0.0.0:18081\", \"127.0.0.1:18444\"]",
            "hosts = [\"blog.example\", \"www.blog.example\"]\n# Never balanced: 127.0.0.1:2368 is pinned first, the others stand by.\nbackends = [\"127.0.0.1:2368\", \"127.0.0.1:2369\"]\n",
            "headers.\"X-Site-Id\" = \"4711\"\n[[site.route]]\npath = \"/.ghost/activitypub\"\nupstream = \"127.0.0.1:8081\"\n",
            "hosts = [\"*.shop.example\"]\n",
        ],
    );
    assert_eq!(text.matches("\n[[site]]").count(), 2, "{text}");
    told(
        &text,
        &[
            (1, "`global`"),
            (5, "`defaults`"),
            (18, "only hosts and beginnings of paths"),
            (23, "is_mobile"),
            (24, "default_backend rest"),
            (27, "option httpchk"),
            (36, "balance roundrobin"),
            (37, "inter 2s"),
            (40, "no host leads to it"),
        ],
    );
}

#[test]
fn what_traefik_proxies_becomes_sites_and_the_rest_is_told_of() {
    let text = imported(&sample("traefik.yml"));
    has(
        &text,
        &[
            "http = [\"0.0.0.0:80\"]\nhttps = [\"0.0.0.0:443\"]",
            "[acme]\ndirectory = \"https://acme-v02.api.letsencrypt.org/directory\"\n",
            "hosts = [\"blog.example\", \"www.blog.example\"]\n# Never balanced: 127.0.0.1:2368 is pinned first, the others stand by.\nbackends = [\"127.0.0.1:2368\", \"127.0.0.1:2369\"]\n",
            "https.redirect = true\nheaders.\"X-Site-Id\" = \"4711\"\n[[site.route]]\npath = \"/.ghost/activitypub\"\nupstream = \"127.0.0.1:8081\"\n",
            "path = \"/.well-known/webfinger\"\n",
            "hosts = [\"*.shop.example\"]\nbackends = [\"shop.internal:80\"]\napp = \"generic\"\n",
            "health.host = \"www.shop.example\"\nhttps.redirect = false\n",
            "(split.example) was left out",
        ],
    );
    assert_eq!(text.matches("\n[[site]]").count(), 2, "{text}");
    told(
        &text,
        &[
            (18, "a route is a prefix"),
            (20, "`priority: 100` of the router `federation`"),
            (23, "became `*.shop.example`"),
            (26, "`observability.accessLogs: false` of the router `shop`"),
            (27, "a middleware changes what is asked for"),
            (32, "`HeadersRegexp(...)`: only hosts"),
            (35, "is for any host (/ping)"),
            (36, "is Traefik's own"),
            (46, "a field that is removed"),
            (47, "stsSeconds: 31536000"),
            (49, "`compress` of the middleware `compress`"),
            (54, "`stripPrefix.prefixes: /old`"),
            (55, "the middleware `nobody`: no router leads to it"),
            (66, "`servers.weight: 2`"),
            (67, "backends are spoken to in clear text"),
            (69, "`healthCheck.path: /health` of the service `blog`"),
            (70, "healthCheck.interval: 10s"),
            (78, "sticky.cookie"),
            (82, "`weighted` of the service `split`"),
            (86, "`tcp`: only HTTP is proxied"),
            (91, "put it and its key into the folder"),
            (95, "minVersion: VersionTLS12"),
        ],
    );

    let text = imported(&sample("traefik.toml"));
    has(
        &text,
        &[
            "http = [\"0.0.0.0:80\"]\n\n[[site]]  # line 1\n",
            "backends = [\"127.0.0.1:3000\"]\napp = \"generic\"\n[[site.route]]\npath = \"/api\"\nupstream = \"127.0.0.1:3001\"\n",
        ],
    );
    assert!(text.contains("path = \"/tagged\"") && !text.contains("path = \"/old\""), "{text}");
    told(
        &text,
        &[
            (11, "passHostHeader: false"),
            (20, "`serversTransports.slow.maxIdleConnsPerHost: 7`"),
            (22, "a middleware changes what is asked for"),
            (27, "`X-Tag` of the router `tagged`: a route has no header fields of its own"),
            (36, "`stripPrefix.prefixes: /old` of the middleware `strip`"),
        ],
    );
}

#[test]
fn what_labels_of_traefik_say_in_a_compose_file_becomes_sites() {
    let text = imported(&sample("compose.yml"));
    has(
        &text,
        &[
            "hosts = [\"blog.example\"]\nbackends = [\"ghost:2368\"]\n",
            "headers.\"X-Site-Id\" = \"4711\"\n",
            "hosts = [\"*.shop.example\"]\nbackends = [\"shop:3000\"]\napp = \"generic\"\n",
            "[acme]\n",
            "(forgotten.example) was left out",
        ],
    );
    assert_eq!(text.matches("\n[[site]]").count(), 2, "{text}");
    assert!(!text.contains("private.example"), "what is not to be proxied stays out\n{text}");
    told(
        &text,
        &[
            (3, "traefik.docker.network=front"),
            (6, "`traefik`: it has no label of Traefik's"),
            (18, "`ratelimit.average: 10` of the middleware `limit`"),
            (29, "no label says at which port it listens"),
            (31, "it is not to be proxied"),
        ],
    );
}

#[test]
fn a_file_that_is_none_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.conf");
    fs::write(&file, "http {\n  server {\n").unwrap();
    let (code, out, error) = run(ghostpin().arg("import").arg(&file));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(error.contains("a.conf: line 2: the block of `server` is not ended"), "{error}");
    fs::write(folder.path().join("a"), "hello").unwrap();
    let (code, _, error) = run(ghostpin().arg("import").arg(folder.path().join("a")));
    assert!(code == 2 && error.contains("say so with --from"), "{error}");
    let (code, _, error) = run(ghostpin().arg("import").arg(folder.path().join("none.conf")));
    assert!(code == 2 && error.contains("none.conf: can't be read"), "{error}");
}
