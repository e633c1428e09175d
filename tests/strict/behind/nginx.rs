//! nginx, and a recorder behind it: what nginx has understood is what it asks in turn.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use tempfile::TempDir;

use super::super::harness::until;
use super::super::parse::{Request, values};
use super::super::recorder::{Item, Recorder};
use super::tap::{Tap, To};
use super::{Connection, Process, Understood, connections, program};

/// The running server.
pub(crate) struct Nginx {
    process: Process,
    recorder: Recorder,
    pub(super) tap: Tap,
    folder: TempDir,
}

impl Nginx {
    pub(super) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("gp").tempdir().expect("a folder");
        let recorder = Recorder::start();
        let (path, backend) = (folder.path().display(), recorder.address);
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
            .concat();
        // One process, so that nothing is left when it is killed. It listens on a file, for it takes no port 0.
        let config = format!(
            "daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log {path}/errors;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\naccess_log off;\n{temporary}client_max_body_size 0;\nlarge_client_header_buffers 8 64k;\n\
             keepalive_requests 1000000;\nserver {{\nlisten unix:{path}/socket proxy_protocol;\nlocation / {{\n\
             proxy_pass http://{backend};\nproxy_http_version 1.1;\nproxy_ignore_client_abort on;\n\
             proxy_set_header Host $http_host;\nproxy_set_header X-Connection $proxy_protocol_port;\n\
             proxy_set_header X-Nth $connection_requests;\n}}\n}}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).expect("a file");
        let log = File::create(folder.path().join("log")).expect("a file");
        let mut command = program("nginx", "nginx-light");
        command.arg("-c").arg(&file).arg("-p").arg(folder.path()).stdin(Stdio::null()).stderr(log);
        let process = Process(command.spawn().expect("nginx starts"));
        let socket = folder.path().join("socket");
        let tap = Tap::start(To::Unix(socket.clone()));
        let mut nginx = Self { process, recorder, tap, folder };
        until("nginx listens", || {
            if let Some(status) = nginx.process.0.try_wait().expect("a child") {
                panic!("nginx has ended with {status}: {}", nginx.said());
            }
            UnixStream::connect(&socket).is_ok()
        });
        nginx
    }

    fn said(&self) -> String {
        let read = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("log") + &read("errors")
    }

    pub(super) fn finish(mut self) -> Vec<Connection> {
        assert_eq!(self.process.0.try_wait().expect("a child"), None, "nginx has ended: {}", self.said());
        let Self { process, recorder, tap, folder } = self;
        let passed = tap.finish();
        // It closes a connection when it has read all that came over it, and asks nothing more then.
        drop(process);
        drop(folder);
        let mut asked: Vec<(u16, u64, Understood)> = Vec::new();
        for item in recorder.finish().into_iter().flatten() {
            match item {
                Item::Whole(request) => {
                    asked.push((
                        number(&request, "x-connection") as u16,
                        number(&request, "x-nth"),
                        Understood::of(&request),
                    ));
                }
                // With request buffering nginx asks for nothing that it hasn't read to its end.
                other => panic!("nginx has sent what is no request: {}", other.raw().escape_ascii()),
            }
        }
        asked.sort_by_key(|(connection, nth, _)| (*connection, *nth));
        connections(passed, |number| {
            let of_it = asked.iter().filter(|(connection, ..)| *connection == number);
            of_it.map(|(.., understood)| understood.clone()).collect()
        })
    }
}

fn number(request: &Request, name: &str) -> u64 {
    let value = values(&request.fields, name).last().unwrap_or_default();
    std::str::from_utf8(value)
        .ok()
        .and_then(|value| value.parse().ok())
        .expect("a number that nginx has written")
}
