//! One edge of a fleet in virtual time: what its store says is told to it, and what it says is looked at.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::pin::Pin as Pinned;

use http::StatusCode;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::*;
use crate::control::fleet::FleetParts;
use crate::control::reconciler::channel;
use crate::control::view::WaitingUpdate;
use crate::core::fleet::edge::Terms;
use crate::core::fleet::{Moment, Record, RecordPhase, Revision};

/// `canary_time`, and some looks at the clock.
const TRIED: Duration = Duration::from_millis(10_500);
const LEASE: LeaseId = LeaseId(7);
const BACKEND: &str = "10.0.0.5:2368";

/// The sites of `words`; a letter behind a name stands for another configuration.
fn config(edge: &str, words: &str) -> Config {
    let mut text = format!(
        "[server]\nstate = '/nowhere'\n[cluster]\netcd = ['http://127.0.0.1:2379']\nname = '{edge}'\n\
         [guard]\ncanary = 'a'\ncanary_time = '10s'\n"
    );
    for word in words.split_whitespace() {
        let (name, other) = word.split_at(1);
        let timeout = 3 + other.len();
        text += &format!(
            "[[site]]\nname = '{name}'\nhosts = ['{name}.example']\nbackends = ['{BACKEND}']\nhold.timeout = '{timeout}s'\n"
        );
    }
    Config::parse(&text, Path::new("/etc/ghostpin.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Backends that are well, but for some sites.
#[derive(Default)]
struct Backends(RefCell<BTreeSet<&'static str>>);

impl Outside for Backends {
    fn ask<'a>(
        &'a self,
        _: &'a Way,
        site: &'a Arc<config::Site>,
        _: Question,
    ) -> Pinned<Box<dyn Future<Output = Seen> + 'a>> {
        let is_unwell = self.0.borrow().contains(site.name.as_str());
        Box::pin(async move { if is_unwell { Seen::Status(500) } else { Seen::Well } })
    }

    fn end(&self, _: i32) {}
}

struct Edge {
    name: &'static str,
    controller: Controller,
    messages: mpsc::UnboundedSender<Message>,
    backends: Rc<Backends>,
    worker: Arc<WorkerMetrics>,
    told: Rc<RefCell<Option<Says>>>,
    revision: Cell<u64>,
}

impl Edge {
    /// One that serves these sites, as its store says.
    async fn serving(name: &'static str, sites: &str) -> Self {
        let edge = Self::start(name, sites);
        edge.served(sites, RecordPhase::Serve);
        edge.settle().await;
        edge
    }

    /// One whose store knows of no site.
    fn start(name: &'static str, sites: &str) -> Self {
        let config = config(name, sites);
        let publisher = Publisher::new(Published::without_sites(&config));
        let (controller, messages, received) = channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let (commands, mut commanded) = mpsc::unbounded_channel();
        let began = Instant::now();
        let clock = move || Moment(Duration::from_secs(1_000) + began.elapsed());
        let (backends, told) = (Rc::new(Backends::default()), Rc::<RefCell<Option<Says>>>::default());
        let parts = Parts {
            budget: Arc::new(HoldBudget::new(10)),
            config,
            pins: BTreeMap::new(),
            first_epoch: Epoch(1),
            writer: Writer::to(|_| {}),
            workers: Workers::new(Vec::new()),
            publisher,
            clock: Clock::start(),
            reports,
            outside: backends.clone(),
            seed: 1,
            fleet: Some(FleetParts {
                terms: Terms { margin: Duration::from_secs(1), cut_max: Duration::from_secs(5) },
                commands,
                lifeline: Arc::new(Lifeline::over_by(clock)),
            }),
            elder: None,
        };
        let worker = Arc::new(WorkerMetrics::new(vec!["no_backend"]));
        let reconciler = Reconciler::new(parts, messages.clone()).counting([worker.clone()]);
        tokio::task::spawn_local(reconciler.run(received, reported));
        let hears = told.clone();
        tokio::task::spawn_local(async move {
            while let Some(command) = commanded.recv().await {
                if let Command::SayTried { lease: LEASE, says } = command {
                    hears.replace(says);
                }
            }
        });
        let edge = Self { name, controller, messages, backends, worker, told, revision: Cell::new(1) };
        edge.tell(edge::Input::Granted { lease: LEASE, sent: clock(), ttl: Duration::from_secs(86_400) });
        edge.tell(edge::Input::Registered { lease: LEASE });
        edge.tell(edge::Input::Listed { lease: LEASE, revision: Revision(1), sites: Vec::new() });
        edge
    }

    fn tell(&self, input: edge::Input) {
        self.messages.send(Message::Fleet(News::Edge(input))).unwrap();
    }

    /// The store says this of these sites.
    fn served(&self, sites: &str, phase: RecordPhase) {
        self.revision.set(self.revision.get() + 1);
        let record = Record { pin: Pin { epoch: Epoch(1), backend: BACKEND.parse().unwrap() }, phase };
        let sites = sites.split_whitespace().map(|word| (SiteName::from(&word[..1]), Some(record.clone())));
        let revision = Revision(self.revision.get());
        self.tell(edge::Input::Changed { lease: LEASE, revision, sites: sites.collect() });
    }

    /// The canary says this of these sites.
    fn canary_says(&self, sites: &str, standing: Standing, why: &str) {
        let fingerprint = fingerprint::of(&config("a", sites));
        let says = Says { edge: "a".to_owned(), fingerprint, standing, why: why.to_owned() };
        self.messages.send(Message::Fleet(News::Canaries(vec![says]))).unwrap();
    }

    /// Lets all be done that is to be done at once.
    async fn settle(&self) {
        sleep(Duration::from_millis(200)).await;
    }

    /// Gets these sites; returns what they wait for.
    async fn apply(&self, sites: &str) -> Option<String> {
        let applied = self.controller.apply(config(self.name, sites)).await;
        applied.unwrap_or_else(|why| panic!("{why}")).waits
    }

    async fn waiting(&self) -> Vec<WaitingUpdate> {
        self.controller.status().await.unwrap().waiting_updates
    }

    async fn hold_timeout_of(&self, site: &str) -> Option<u64> {
        let site = self.controller.site(SiteName::from(site)).await.unwrap()?;
        Some(site.terms.hold_timeout_ms)
    }

    /// What the store was told last.
    fn says(&self) -> (Standing, String) {
        let says = self.told.borrow().clone().expect("it is the canary");
        (says.standing, says.why)
    }

    /// So many requests were answered, and so many of them by an error of ghostpin's own.
    fn answered(&self, all: u64, own_errors: u64) {
        for number in 0..all {
            let (status, refusal) = match number < own_errors {
                true => (StatusCode::SERVICE_UNAVAILABLE, Some("no_backend")),
                false => (StatusCode::OK, None),
            };
            self.worker.answered(status, Duration::ZERO, refusal);
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

// Where it waits.

#[test]
fn an_update_waits_until_the_canary_has_found_it_good() {
    run(async {
        let edge = Edge::serving("b", "x y").await;
        let waits = edge.apply("xx y").await.expect("it is tried first");
        assert!(waits.contains("change 1 of 2 sites") && waits.contains("that edge is not there"), "{waits}");
        let controller = edge.controller.clone();
        let good = tokio::task::spawn_local(async move { controller.until_good().await });
        for (sites, standing, why) in [
            ("x y", Standing::Good, "has other sites in force"),
            ("xx y", Standing::Trying, "that edge tries it"),
        ] {
            edge.canary_says(sites, standing, "");
            edge.settle().await;
            let [waiting] = &edge.waiting().await[..] else { panic!("it waits") };
            assert!(waiting.waits_for == "canary" && waiting.why.contains(why), "{waiting:?}");
            assert!(!good.is_finished());
        }
        assert_eq!(edge.hold_timeout_of("x").await, Some(3_000));
        edge.canary_says("xx y", Standing::Good, "");
        assert!(good.await.unwrap());
        assert_eq!(edge.apply("xx y").await, None);
        assert_eq!((edge.hold_timeout_of("x").await, edge.waiting().await), (Some(4_000), Vec::new()));
    });
}

#[test]
fn an_update_that_is_bad_waits_for_a_word() {
    run(async {
        let edge = Edge::serving("b", "x y").await;
        edge.canary_says("x", Standing::Bad, "y is gone");
        edge.settle().await;
        let waits = edge.apply("x").await.expect("a removal is tried first, too");
        assert!(waits.contains("has found it bad (y is gone)"), "{waits}");
        let id = edge.waiting().await[0].id.clone();
        assert!(waits.contains(&format!("ghostpin confirm {id}")), "{waits}");
        assert_eq!(edge.controller.confirm(id).await, Some(Some(Source::File)));
        assert_eq!(edge.apply("x").await, None);
        assert_eq!((edge.hold_timeout_of("y").await, edge.waiting().await), (None, Vec::new()));
    });
}

#[test]
fn what_only_adds_sites_waits_for_nobody() {
    run(async {
        let edge = Edge::serving("b", "x").await;
        assert_eq!(edge.apply("x y").await, None);
        assert_eq!(edge.hold_timeout_of("y").await, Some(3_000));
    });
}

#[test]
fn what_a_provider_says_waits_for_nobody() {
    run(async {
        let edge = Edge::serving("b", "x y").await;
        let applied = edge.controller.provide(config("b", "xx y")).await.unwrap();
        assert_eq!((applied.changed, applied.waits), (vec!["x".to_owned()], None));
    });
}

#[test]
fn a_newer_update_takes_the_place_of_the_one_that_waits() {
    run(async {
        let edge = Edge::serving("b", "x y").await;
        edge.apply("xx y").await.expect("it waits");
        let controller = edge.controller.clone();
        let older = tokio::task::spawn_local(async move { controller.until_good().await });
        edge.settle().await;
        edge.apply("xxx y").await.expect("it waits");
        assert!(!older.await.unwrap(), "nobody waits for that any more");
        edge.canary_says("xx y", Standing::Good, "");
        edge.settle().await;
        let [waiting] = &edge.waiting().await[..] else { panic!("one waits") };
        assert!(waiting.why.contains("has other sites in force"), "{waiting:?}");
        assert_eq!(edge.apply("x y").await, None, "who takes it back waits for nothing");
        assert_eq!(edge.waiting().await, []);
        assert!(!edge.controller.until_good().await);
    });
}

#[test]
fn an_update_waits_for_the_canary_only_once_it_has_the_word_that_guard_wants() {
    run(async {
        let many: Vec<String> = ('a'..='z').map(String::from).collect();
        let edge = Edge::serving("b", &many.join(" ")).await;
        edge.canary_says("a", Standing::Good, "");
        edge.settle().await;
        let refused = edge.controller.apply(config("b", "a")).await.unwrap_err();
        assert!(refused.contains("more than [guard] allows"), "{refused}");
        assert_eq!(edge.waiting().await[0].waits_for, "word");
        assert!(!edge.controller.until_good().await, "the canary can't give it");
    });
}

// Where it is tried.

#[test]
fn the_canary_has_an_update_at_once_and_says_what_comes_of_it() {
    run(async {
        let edge = Edge::serving("a", "x y").await;
        assert_eq!(edge.says().0, Standing::Trying, "what it has started with is tried as well");
        sleep(TRIED).await;
        assert_eq!(edge.says(), (Standing::Good, String::new()));
        assert_eq!(edge.apply("xx y").await, None);
        assert_eq!(edge.hold_timeout_of("x").await, Some(4_000));
        edge.settle().await;
        assert_eq!(edge.says().0, Standing::Trying);
        sleep(TRIED).await;
        assert_eq!(edge.says().0, Standing::Good);
        let told = edge.told.borrow().clone().unwrap();
        assert_eq!(told.fingerprint, fingerprint::of(&config("b", "xx y")), "the others know it by that");
    });
}

#[test]
fn a_site_that_does_not_answer_by_its_new_settings_is_bad_until_the_update_is_mended() {
    run(async {
        let edge = Edge::serving("a", "x y").await;
        sleep(TRIED).await;
        edge.backends.0.borrow_mut().insert("x");
        edge.apply("xx y").await;
        sleep(TRIED + TRIED).await;
        let (standing, why) = edge.says();
        assert!(standing == Standing::Bad && why.contains("1 (x)"), "{why}");
        edge.apply("xx yy").await;
        sleep(TRIED + TRIED).await;
        assert_eq!(edge.says().0, Standing::Bad, "another update hides nothing");
        edge.backends.0.borrow_mut().clear();
        edge.apply("xx yy").await;
        sleep(TRIED).await;
        assert_eq!(edge.says(), (Standing::Good, String::new()), "the same file is tried again");
    });
}

#[test]
fn a_site_that_was_served_before_and_is_not_is_bad() {
    run(async {
        let edge = Edge::serving("a", "x y").await;
        sleep(TRIED).await;
        edge.apply("xx y").await;
        edge.served("x", RecordPhase::Fence(Default::default()));
        sleep(TRIED).await;
        let (standing, why) = edge.says();
        assert!(standing == Standing::Bad && why.contains("1 (x)"), "{why}");
    });
}

#[test]
fn a_site_that_was_not_served_before_is_not_held_against_an_update() {
    run(async {
        let edge = Edge::serving("a", "x y").await;
        edge.served("x", RecordPhase::Fence(Default::default()));
        sleep(TRIED).await;
        edge.apply("xx y").await;
        sleep(TRIED).await;
        assert_eq!(edge.says(), (Standing::Good, String::new()));
    });
}

#[test]
fn more_errors_of_its_own_than_before_are_bad() {
    run(async {
        let edge = Edge::serving("a", "x y").await;
        edge.answered(1_000, 10);
        sleep(TRIED).await;
        edge.apply("xx y").await;
        edge.answered(1_000, 10);
        sleep(TRIED).await;
        assert_eq!(edge.says(), (Standing::Good, String::new()));
        edge.apply("xxx y").await;
        edge.answered(1_000, 30);
        sleep(TRIED).await;
        let (standing, why) = edge.says();
        assert!(standing == Standing::Bad && why.starts_with("30 of 1000 answers"), "{why}");
    });
}

#[test]
fn where_nothing_is_served_it_goes_on_trying() {
    run(async {
        let edge = Edge::start("a", "x");
        sleep(TRIED * 10).await;
        assert_eq!(edge.says().0, Standing::Trying);
        edge.served("x", RecordPhase::Serve);
        sleep(TRIED).await;
        assert_eq!(edge.says().0, Standing::Good);
    });
}

#[test]
fn what_only_adds_sites_is_as_good_as_what_was_there() {
    run(async {
        let edge = Edge::serving("a", "x").await;
        sleep(TRIED).await;
        let before = edge.told.borrow().clone().unwrap();
        edge.apply("x y").await;
        edge.settle().await;
        let now = edge.told.borrow().clone().unwrap();
        assert_eq!((before.standing, now.standing), (Standing::Good, Standing::Good));
        assert_ne!(before.fingerprint, now.fingerprint);
    });
}

#[test]
fn a_canary_that_is_no_longer_one_says_nothing() {
    run(async {
        let edge = Edge::serving("a", "x").await;
        edge.settle().await;
        assert!(edge.told.borrow().is_some());
        let mut config = config("a", "x");
        config.guard.canary = None;
        edge.controller.apply(config).await.unwrap();
        let silent = async {
            while edge.told.borrow().is_some() {
                edge.settle().await;
            }
        };
        timeout(TRIED, silent).await.expect("it takes back what it has said");
    });
}
