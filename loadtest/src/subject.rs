//! The proxies that the failover scenarios can be run against: ghostpin, and two well-known peers set up as their
//! manuals suggest for a main and a backup server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ghostpin::demo::client;
use ghostpin::demo::processes::{Reserved, Scratch, start};
use tokio::process::{Child, Command};

use crate::harness::{Edge, HOST, SITE, Settings, site};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    Ghostpin,
    Nginx,
    Haproxy,
}

/// At 200 requests a second, a pause of 5 s fills the usual hold budget of 1,000; so it is larger here.
pub const TABLES: &str = r#"
[hold]
max_requests = 5000
[health]
interval = "500ms"
timeout = "1s"
fall = 2
"#;

/// A running subject, in front of A (first) and B.
#[derive(Debug)]
pub enum Front {
    Ghostpin(Edge),
    Peer { _child: Child, http: Reserved, _scratch: Scratch },
}

impl Front {
    /// Starts it and waits until it passes on an answer of A, which must be running.
    pub async fn start(subject: Subject, settings: &Settings, backends: [SocketAddr; 2]) -> io::Result<Self> {
        let front = match subject {
            Subject::Ghostpin => {
                let mut edge = Edge::new(settings)?;
                edge.write(&edge.config(TABLES, &site(SITE, &[HOST], &backends)))?;
                edge.start().await?;
                Self::Ghostpin(edge)
            }
            Subject::Nginx => Self::peer("nginx", nginx_config, &["-e", "stderr", "-c"], backends)?,
            Subject::Haproxy => Self::peer("haproxy", haproxy_config, &["-db", "-q", "-f"], backends)?,
        };
        for _ in 0..500 {
            if client::get(front.http(), HOST, "/").await.is_ok_and(|reply| reply.status.is_success()) {
                return Ok(front);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(io::Error::other(format!("{subject:?} passes nothing on")))
    }

    fn peer(
        program: &str,
        config: fn(SocketAddr, [SocketAddr; 2], &Scratch) -> String,
        arguments: &[&str],
        backends: [SocketAddr; 2],
    ) -> io::Result<Self> {
        let (scratch, http) = (Scratch::new()?, Reserved::any()?);
        let file = scratch.path("config");
        std::fs::write(&file, config(http.address, backends, &scratch))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg(file)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let child = start(&mut command).map_err(|error| io::Error::other(format!("{program}: {error}")))?;
        Ok(Self::Peer { _child: child, http, _scratch: scratch })
    }

    pub fn http(&self) -> SocketAddr {
        match self {
            Self::Ghostpin(edge) => edge.http(),
            Self::Peer { http, .. } => http.address,
        }
    }
}

fn nginx_config(http: SocketAddr, [a, b]: [SocketAddr; 2], scratch: &Scratch) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", scratch.path(kind).display()))
        .concat();
    format!(
        "daemon off; master_process off; user root; pid {};
        events {{ worker_connections 4096; }}
        http {{
          access_log off; {temporary}
          upstream site {{
            server {a} max_fails=1 fail_timeout=1s;
            server {b} backup max_fails=1 fail_timeout=1s;
            keepalive 32;
          }}
          server {{
            listen {http};
            location / {{
              proxy_pass http://site; proxy_http_version 1.1;
              proxy_set_header Connection \"\"; proxy_set_header Host $host;
              proxy_connect_timeout 1s; proxy_read_timeout 1s;
              proxy_next_upstream error timeout http_502 http_503 http_504;
            }}
          }}
        }}\n",
        scratch.path("pid").display()
    )
}

fn haproxy_config(http: SocketAddr, [a, b]: [SocketAddr; 2], _scratch: &Scratch) -> String {
    format!(
        "global
  maxconn 4096
defaults
  mode http
  timeout client 30s
  timeout connect 1s
  timeout server 30s
  option redispatch 1
  retries 20
  retry-on all-retryable-errors
  option httpchk GET /ghost/api/admin/site/
  default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
frontend readers
  bind {http}
  default_backend site
backend site
  server a {a}
  server b {b} backup\n"
    )
}
