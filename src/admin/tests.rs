//! The real routes over real sockets, with a real reconciler and a real store behind them.

mod contract;
mod dashboard;
mod ending;
mod guarded;
mod schema;
mod told;
mod wished;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, Uri};
use serde_json::Value;
use tokio::task::LocalSet;

use super::{Bound, Context, Doors, Guard, Serving, spawn};
use crate::admin::dashboard::Shared;
use crate::app::Reload;
use crate::certs::{Certificates, Sources};
use crate::cli::client::{Client, Place, Reply};
use crate::clock::Clock;
use crate::config::{self, Config, ListenAddress};
use crate::control::fleet::{Command, FleetParts, FleetView, HasLeft};
use crate::control::outside::System;
use crate::control::reconciler::{self, Message, Parts, Reconciler};
use crate::control::store::PinStore;
use crate::control::writer::Writer;
use crate::core::fleet::edge::Terms;
use crate::gate::HoldBudget;
use crate::lifeline::Lifeline;
use crate::observe::metrics::WorkerMetrics;
use crate::provider::swarm;
use crate::proxy::answer::Refusal;
use crate::published::{Published, Publisher, Reader};
use crate::workers::Workers;

/// Longer than anything here may take on a busy machine; only waited for in full by what fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tables of an edge whose updates are tried by another one.
const ONE_OF_MANY: &str =
    "listen = '127.0.0.1:0'\n[guard]\ncanary = 'a'\n[cluster]\netcd = ['http://127.0.0.1:1']\nname = 'b'";

/// A ghostpin without a data plane, and its applications: A and B are well; C answers, but can't be proved.
struct Edge {
    client: Client,
    config: PathBuf,
    backends: [SocketAddr; 3],
    reader: Reader,
    dashboard: Arc<Shared>,
    serving: Serving,
    _folder: tempfile::TempDir,
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// Answers as told: `well` for its proof.
async fn application(well: bool) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().fallback(move |uri: Uri| async move {
        if well || uri.path() != "/" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    });
    tokio::task::spawn_local(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

/// One that is good, and one that isn't.
fn certificates(folder: &std::path::Path) -> Arc<Certificates> {
    let made = rcgen::generate_simple_self_signed(["blog.example".to_owned()]).unwrap();
    fs::write(folder.join("blog.pem"), made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("bad.pem"), "nothing").unwrap();
    let sources = Sources { folder: Some(folder.to_owned()), ..Sources::default() };
    Certificates::open(sources.survey().unwrap())
}

impl Edge {
    /// With `admin` in its `[admin]` table, pinned to A, and with all candidates looked at.
    async fn start(admin: &str) -> Self {
        Self::start_with(admin, true, None).await
    }

    /// One of many, before it has a lease. `sees` is what its store says of the fleet.
    async fn in_fleet(sees: Result<FleetView, String>) -> Self {
        let (commands, mut received) = tokio::sync::mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Some(command) = received.recv().await {
                match command {
                    Command::Look(answer) => drop(answer.send(sees.clone())),
                    Command::SayLeft(asked) => {
                        for asked in asked {
                            let _ = asked.send(Some(HasLeft::Told));
                        }
                    }
                    _ => {}
                }
            }
        });
        let terms = Terms { margin: Duration::from_secs(1), cut_max: Duration::from_secs(5) };
        let fleet = FleetParts { terms, commands, lifeline: Arc::new(Lifeline::over()) };
        Self::start_with(ONE_OF_MANY, true, Some(fleet)).await
    }

    /// One whose reconciler has gone already.
    async fn stopping() -> Self {
        Self::start_with("listen = \"127.0.0.1:0\"", false, None).await
    }

    async fn start_with(admin: &str, alive: bool, fleet: Option<FleetParts>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backends = [application(true).await, application(true).await, application(false).await];
        let path = folder.path().join("ghostpin.toml");
        fs::write(&path, Self::text(admin, backends)).unwrap();
        let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));

        let opened = PinStore::open(&config.server.state, false).unwrap();
        let publisher = Publisher::new(Published::without_sites(&config));
        let reader = publisher.reader();
        let (controller, messages, received) = reconciler::channel();
        let (reports, reported) = tokio::sync::mpsc::unbounded_channel();
        let for_writer = messages.clone();
        let report = move |all| drop(for_writer.send(Message::Committed(all)));
        let writer = Writer::start(opened.store, report).unwrap();
        let parts = Parts {
            budget: Arc::new(HoldBudget::new(config.hold_total.max_requests)),
            config: config.clone(),
            pins: Default::default(),
            first_epoch: opened.first_epoch,
            writer,
            workers: Workers::new(Vec::new()),
            publisher,
            clock: Clock::start(),
            reports,
            outside: Rc::new(System::start().unwrap()),
            seed: 1,
            fleet,
            elder: None,
        };
        let is_alone = parts.fleet.is_none();
        let reconciler = Reconciler::new(parts, messages);
        if alive {
            tokio::task::spawn_local(reconciler.run(received, reported));
        }
        let dashboard = Arc::<Shared>::default();
        let labels = Refusal::all().map(|refusal| refusal.words().label).collect();
        let doors: Vec<ListenAddress> = config.listen.all().map(|one| one.address.clone()).collect();
        let shut = tokio::sync::watch::Sender::new(false);
        let context = Context {
            reload: Reload::new(&path, controller, Some(certificates(folder.path()))),
            listening: [].into(),
            doors: Arc::new(Doors::new(&config, &doors, 443)),
            metrics: [Arc::new(WorkerMetrics::new(labels))].into(),
            reader: reader.clone(),
            swarm: Some(swarm::Watched::new(&config::provider::Swarm {
                managers: vec![config::provider::Manager::Unix(folder.path().join("none"))],
                tls: None,
                interval: PATIENCE,
                held_interval: PATIENCE,
                timeout: PATIENCE,
            })),
            dashboard: dashboard.clone(),
            guard: Guard { token: config.admin.token.clone(), listen: config.admin.listen.clone() },
            stopping: Arc::default(),
            stalls: Arc::default(),
            traced: Default::default(),
            logs: Default::default(),
            shut: shut.subscribe(),
        };
        let (bound, place) = match &config.admin.listen {
            ListenAddress::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address).unwrap();
                listener.set_nonblocking(true).unwrap();
                let place = Place::Tcp(listener.local_addr().unwrap().to_string());
                (Bound::Tcp(listener), place)
            }
            ListenAddress::Unix(path) => {
                let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
                listener.set_nonblocking(true).unwrap();
                (Bound::Unix(listener), Place::Unix(path.clone()))
            }
        };
        let serving = spawn(bound, context, shut).unwrap();
        let client = Client {
            place,
            told_by: "the test".to_owned(),
            token: config.admin.token,
            actor: "ann@desk".to_owned(),
            patience: PATIENCE,
        };
        let edge = Self { client, config: path, backends, reader, dashboard, serving, _folder: folder };
        if alive && is_alone {
            edge.until("is settled", |site| {
                let candidates = site["candidates"].as_array().unwrap();
                site["phase"] == "serving" && candidates.iter().all(|candidate| candidate["health"] == "well")
            })
            .await;
        }
        edge
    }

    fn text(admin: &str, [a, b, c]: [SocketAddr; 3]) -> String {
        format!(
            r#"
            [server]
            state = "./state"
            [listen]
            http = ["127.0.0.1:80"]
            https = ["127.0.0.1:443"]
            [tls]
            certificates = "."
            [https]
            redirect = false
            [admin]
            {admin}
            [handoff]
            drain_timeout = "30s"
            prove_timeout = "1s"
            [health]
            interval = "200ms"
            timeout = "30s"
            [[site]]
            name = "blog"
            hosts = ["blog.example", "*.blog.example"]
            backends = ["{a}", "{b}", "{c}"]
            hold.max_requests = 2
            [[site.route]]
            path = "/.ghost/activitypub"
            upstream = "127.0.0.1:1"
            "#
        )
    }

    /// Polls the site until it is as wanted.
    async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let site = self.json("/v1/sites/blog").await;
            if is_so(&site) {
                return site;
            }
            assert!(began.elapsed() < PATIENCE, "the site never {what}: {site}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Reply {
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        let request = self.client.request(method.parse().unwrap(), path, body);
        self.client.send(request).await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let body = self.client.get(path).await.unwrap_or_else(|failure| panic!("{path}: {failure}"));
        serde_json::from_slice(&body).unwrap()
    }

    fn to(&self, backend: usize) -> String {
        format!("{{\"to\": \"{}\"}}", self.backends[backend])
    }

    fn gate(&self) -> Arc<crate::gate::Gate> {
        self.reader.clone().load().routes.lookup("blog.example").unwrap().gate.clone()
    }
}
