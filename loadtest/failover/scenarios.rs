//! What happens to the instances, the lines to them and the proxies, while readers come.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use ghostpin::demo::history::Record;
use ghostpin::demo::processes::Signal;
use ghostpin::demo::readers::{Load, Readers};
use ghostpin_loadtest::harness::{HOST, Pair, Settings};
use tokio::time::sleep;

use crate::adapter::{Adapter, Front, Ground};
use crate::line::{Line, State};
use ghostpin_loadtest::clients::{Http2, WebSockets};

/// One of them.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// What happens, in a line.
    pub what: &'static str,
    /// What readers ask for.
    path: &'static str,
    /// Both instances are there from the beginning.
    both: bool,
    /// How many proxies stand side by side.
    fronts: usize,
    /// Who comes to each.
    readers: &'static [Protocol],
    /// What readers may meet however good the proxy is, and is not counted against it.
    pub excuses: Excuses,
    happens: fn(&mut Stage) -> Happening<'_>,
}

/// Answers of more bytes than a line lets through that cuts them in half.
const SIZE: [&str; 2] = ["--size", "4000"];
/// How long readers would go on, if they were not stopped.
const READERS: Duration = Duration::from_secs(120);

type Happening<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

/// What no proxy can spare its readers in a scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct Excuses {
    /// A POST that was in an instance when that died or fell silent: nobody knows what became of it.
    pub lost_posts: bool,
    /// An answer whose head was delivered when the rest of it was lost.
    pub half_answers: bool,
}

const NONE: Excuses = Excuses { lost_posts: false, half_answers: false };
const LOST_POSTS: Excuses = Excuses { lost_posts: true, half_answers: false };

/// All, in the order in which they are run.
pub const ALL: [Scenario; 11] = [
    Scenario {
        name: "planned",
        what: "an operator moves the site while answers of 0.5 s are on their way",
        path: "/?delay=500ms",
        both: true,
        fronts: 1,
        readers: &[Protocol::Http1],
        excuses: NONE,
        happens: |stage| Box::pin(planned(stage)),
    },
    Scenario {
        name: "crash",
        what: "A is killed, B starts 4 s later",
        path: "/",
        both: false,
        fronts: 1,
        readers: &[Protocol::Http1],
        excuses: NONE,
        happens: |stage| Box::pin(crash(stage)),
    },
    Scenario {
        name: "frozen",
        what: "A stands still for 6 s and goes on; B is well",
        path: "/",
        both: true,
        fronts: 1,
        readers: &[Protocol::Http1],
        excuses: LOST_POSTS,
        happens: |stage| Box::pin(frozen(stage)),
    },
    Scenario {
        name: "comeback",
        what: "A is killed and back 3 s later; B is well",
        path: "/",
        both: true,
        fronts: 1,
        readers: &[Protocol::Http1],
        excuses: NONE,
        happens: |stage| Box::pin(comeback(stage)),
    },
    Scenario {
        name: "flapping",
        what: "A is killed and back after a second, four times; B is well",
        path: "/",
        both: true,
        fronts: 1,
        readers: &[Protocol::Http1],
        excuses: LOST_POSTS,
        happens: |stage| Box::pin(flapping(stage)),
    },
    Scenario {
        name: "lines",
        what: "the line to A refuses connections, resets them, and is silent, with a second of peace between; B is well",
        path: "/",
        both: true,
        fronts: 1,
        readers: &[Protocol::Http1],
        excuses: Excuses { lost_posts: true, half_answers: true },
        happens: |stage| Box::pin(lines(stage)),
    },
    Scenario {
        name: "half",
        what: "A's answers break off in the middle for half a second, then it is gone; B is well",
        path: "/",
        both: true,
        fronts: 1,
        readers: &[Protocol::Http1],
        excuses: Excuses { lost_posts: true, half_answers: true },
        happens: |stage| Box::pin(half(stage)),
    },
    Scenario {
        name: "restart",
        what: "A stands still, the proxy is killed 4 s later and started again, and A goes on; B is well",
        path: "/",
        both: true,
        fronts: 1,
        readers: &[Protocol::Http1],
        excuses: LOST_POSTS,
        happens: |stage| Box::pin(restart(stage)),
    },
    Scenario {
        name: "two",
        what: "two proxies side by side; A stands still for 6 s and goes on; B is well",
        path: "/",
        both: true,
        fronts: 2,
        readers: &[Protocol::Http1],
        excuses: LOST_POSTS,
        happens: |stage| Box::pin(frozen(stage)),
    },
    Scenario {
        name: "http2",
        what: "readers over HTTP/2 and TLS, on four connections; A stands still for 6 s and goes on; B is well",
        path: "/",
        both: true,
        fronts: 1,
        readers: &[Protocol::Http2],
        excuses: LOST_POSTS,
        happens: |stage| Box::pin(frozen(stage)),
    },
    Scenario {
        name: "websocket",
        what: "readers, and open pages with a WebSocket each; A stands still for 6 s and goes on; B is well",
        path: "/",
        both: true,
        fronts: 1,
        readers: &[Protocol::Http1, Protocol::WebSocket],
        excuses: LOST_POSTS,
        happens: |stage| Box::pin(frozen(stage)),
    },
];

/// So many addresses of A are tried, where a proxy chooses by address.
const LINES_TRIED: usize = 300;

/// What readers speak.
#[derive(Clone, Copy, Debug)]
enum Protocol {
    Http1,
    /// Over TLS.
    Http2,
    WebSocket,
}

/// Everything that takes part.
struct Stage {
    pair: Pair,
    line: Line,
    ground: Ground,
    fronts: Vec<Front>,
    readers: Vec<Readers>,
    /// All waits are half as long.
    quick: bool,
    away: Option<[Moment; 2]>,
    marks: Vec<Mark>,
}

/// What was done, and when.
pub type Mark = (Moment, &'static str);

/// What was seen.
pub struct History {
    pub records: Vec<Record>,
    pub pair: Pair,
    /// The requests that A was given, or was to be.
    pub given_to_a: BTreeSet<u64>,
    /// When readers began to come.
    pub began: Moment,
    /// When the proxy was killed, and there again.
    pub away: Option<[Moment; 2]>,
    pub marks: Vec<Mark>,
}

impl Scenario {
    /// Runs it with one kind of proxy.
    pub async fn run(&self, adapter: &Adapter, settings: &Settings) -> io::Result<History> {
        let mut pair = Pair::new(settings)?;
        pair.a.start_with(&SIZE).await?;
        if self.both {
            pair.b.start_with(&SIZE).await?;
        }
        let (line, ground, fronts) = self.set_up(adapter, settings, &pair).await?;
        let began = Moment::now();
        let groups =
            fronts.iter().flat_map(|front| self.readers.iter().map(move |protocol| (front, *protocol)));
        // They count apart.
        let readers: io::Result<Vec<Readers>> = groups
            .zip((0..).step_by(1_000_000))
            .map(|((front, protocol), first)| self.send_out(&ground, front, protocol, first))
            .collect();
        let readers = readers?;
        let mut stage = Stage {
            pair,
            line,
            ground,
            fronts,
            readers,
            quick: settings.quick,
            away: None,
            marks: Vec::new(),
        };
        stage.waits(2.0).await;
        (self.happens)(&mut stage).await?;
        stage.readers.iter().for_each(Readers::stop);
        let mut records = Vec::new();
        for readers in stage.readers.drain(..) {
            records.extend(readers.finish().await);
        }
        let given_to_a = stage.line.given();
        Ok(History { records, pair: stage.pair, given_to_a, began, away: stage.away, marks: stage.marks })
    }

    /// Starts the proxies, so that A is the one that they have chosen.
    async fn set_up(
        &self,
        adapter: &Adapter,
        settings: &Settings,
        pair: &Pair,
    ) -> io::Result<(Line, Ground, Vec<Front>)> {
        for _ in 0..LINES_TRIED {
            let line = Line::to(pair.a.address())?;
            let mut ground = Ground::new(adapter, &settings.ghostpin)?;
            let mut fronts = Vec::new();
            for number in 0..self.fronts {
                let instances = [line.address(), pair.b.address()];
                match Front::start(&mut ground, number, instances).await {
                    Ok(front) if !adapter.chooses_by_address || front.is_answered_by("A").await => {
                        fronts.push(front);
                    }
                    Err(error) if !adapter.chooses_by_address => return Err(error),
                    // It has chosen B, which may not even be there.
                    Ok(_) | Err(_) => break,
                }
            }
            if fronts.len() == self.fronts {
                return Ok((line, ground, fronts));
            }
        }
        Err(io::Error::other(format!("{} did not choose A at any of {LINES_TRIED} addresses", adapter.name)))
    }

    fn send_out(
        &self,
        ground: &Ground,
        front: &Front,
        protocol: Protocol,
        first: u64,
    ) -> io::Result<Readers> {
        let path = self.path.to_owned();
        let load = Load { first, path, keep: 512, ..Load::of_readers(front.http(), HOST, READERS) };
        Ok(match protocol {
            Protocol::Http1 => Readers::start(load),
            Protocol::Http2 => {
                let way = Http2::new(ground.authority()).map_err(io::Error::other)?;
                Readers::start_by(Load { target: front.https(), ..load }, way)
            }
            Protocol::WebSocket => Readers::start_by(Load { write_every: 0, ..load }, WebSockets::default()),
        })
    }
}

impl Stage {
    async fn waits(&self, seconds: f64) {
        sleep(Duration::from_secs_f64(if self.quick { seconds / 2.0 } else { seconds })).await;
    }

    fn marks(&mut self, what: &'static str) {
        self.marks.push((Moment::now(), what));
    }

    /// Between two POSTs: what becomes of one inside a killed instance, nobody knows.
    async fn kills_a(&mut self) -> io::Result<()> {
        for readers in &self.readers {
            readers.no_write_in_flight().await;
        }
        self.marks("A is killed");
        self.line.be(State::Absent)?;
        self.pair.a.kill().await
    }

    async fn starts_a(&mut self) -> io::Result<()> {
        self.pair.a.start_with(&SIZE).await?;
        self.line.be(State::Well)?;
        self.marks("A is back");
        Ok(())
    }

    fn is(&mut self, state: State, what: &'static str) -> io::Result<()> {
        self.marks(what);
        self.line.be(state)
    }
}

async fn planned(stage: &mut Stage) -> io::Result<()> {
    stage.marks("switch");
    let Stage { fronts, ground, .. } = stage;
    fronts[0].switch(ground).await?;
    stage.marks("switched");
    stage.waits(4.0).await;
    match stage.fronts[0].is_answered_by("B").await {
        true => Ok(()),
        // Nothing can be said of a switch that was none.
        false => Err(io::Error::other("the site was not moved")),
    }
}

async fn crash(stage: &mut Stage) -> io::Result<()> {
    stage.kills_a().await?;
    stage.waits(4.0).await;
    stage.pair.b.start_with(&SIZE).await?;
    stage.marks("B is there");
    stage.waits(4.0).await;
    Ok(())
}

async fn frozen(stage: &mut Stage) -> io::Result<()> {
    stage.marks("A stands still");
    stage.pair.a.signal(Signal::STOP)?;
    // Never shorter: peers have to have moved to B by then.
    sleep(Duration::from_secs(6)).await;
    stage.marks("A goes on");
    stage.pair.a.signal(Signal::CONT)?;
    // nginx looks at a server that has failed every 3 s, all in all.
    sleep(Duration::from_secs(5)).await;
    Ok(())
}

async fn comeback(stage: &mut Stage) -> io::Result<()> {
    stage.kills_a().await?;
    stage.waits(3.0).await;
    stage.starts_a().await?;
    sleep(Duration::from_secs(4)).await;
    Ok(())
}

async fn flapping(stage: &mut Stage) -> io::Result<()> {
    for _ in 0..if stage.quick { 2 } else { 4 } {
        stage.kills_a().await?;
        sleep(Duration::from_secs(1)).await;
        stage.starts_a().await?;
        sleep(Duration::from_secs(1)).await;
    }
    stage.waits(4.0).await;
    Ok(())
}

async fn lines(stage: &mut Stage) -> io::Result<()> {
    let bad = [(State::Refuses, "refused", 1), (State::Resets, "reset", 1), (State::Silent, "silent", 3)];
    for (state, what, seconds) in bad {
        stage.is(state, what)?;
        sleep(Duration::from_secs(seconds)).await;
        stage.is(State::Well, "well")?;
        sleep(Duration::from_secs(1)).await;
    }
    stage.waits(4.0).await;
    Ok(())
}

async fn half(stage: &mut Stage) -> io::Result<()> {
    stage.is(State::Halves, "answers break off")?;
    sleep(Duration::from_millis(500)).await;
    stage.is(State::Refuses, "A is gone")?;
    stage.waits(4.0).await;
    Ok(())
}

async fn restart(stage: &mut Stage) -> io::Result<()> {
    stage.marks("A stands still");
    stage.pair.a.signal(Signal::STOP)?;
    sleep(Duration::from_secs(4)).await;
    stage.marks("the proxy is killed");
    let killed = Moment::now();
    let Stage { fronts, ground, .. } = stage;
    fronts[0].kill().await?;
    fronts[0].begin(ground).await?;
    stage.away = Some([killed, Moment::now()]);
    stage.marks("the proxy is back");
    stage.waits(2.0).await;
    stage.marks("A goes on");
    stage.pair.a.signal(Signal::CONT)?;
    sleep(Duration::from_secs(5)).await;
    Ok(())
}
