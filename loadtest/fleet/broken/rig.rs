//! One etcd for all runs, and for each of them a fleet of its own: another prefix, nothing on any disk, and lines to
//! etcd that a run can do bad things to.

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use ghostpin::broken::Rule;
use ghostpin::demo::readers::Readers;
use tokio::time::{sleep, timeout};

use super::signals::noticed;
use super::{Run, runs};
use crate::Settings;
use crate::line::Line;
use crate::scenarios::plan;
use crate::stage::{Plan, Stage, joined, names};

/// How long readers would go on, if they were not stopped.
const READERS: Duration = Duration::from_secs(60);
/// How long a run may wait for what is bound to happen.
const PATIENCE: Duration = Duration::from_secs(15);

pub struct Rig {
    settings: Settings,
    pub stage: Stage,
    /// One for each edge.
    pub lines: Vec<Line>,
    pub prefix: String,
    /// The members of etcd, their leader first.
    pub members: [usize; 3],
    readers: Vec<Readers>,
    runs: usize,
}

impl Rig {
    pub async fn up(settings: &Settings) -> io::Result<Self> {
        let stage = Stage::without_edges(plan(settings)).await?;
        Ok(Self {
            settings: settings.clone(),
            stage,
            lines: Vec::new(),
            prefix: String::new(),
            members: [0, 1, 2],
            readers: Vec::new(),
            runs: 0,
        })
    }

    /// What is noticed in a run of edges that break these rules.
    pub async fn tried(&mut self, run: Run, rules: &[Rule]) -> io::Result<Vec<String>> {
        let failed = |error| io::Error::other(format!("{run:?}, rules broken: [{}]: {error}", names(rules)));
        self.begin(run, rules).await.map_err(failed)?;
        runs::happens(self, run).await.map_err(failed)?;
        let records = joined(std::mem::take(&mut self.readers)).await;
        let epochs: BTreeSet<u64> = records.iter().filter_map(|record| record.answer()?.epoch).collect();
        if epochs.len() < 2 {
            return Err(io::Error::other(format!(
                "{run:?} {rules:?}: readers saw no other epoch than {epochs:?}"
            )));
        }
        noticed(&mut self.stage, &self.prefix, &records).await
    }

    async fn begin(&mut self, run: Run, rules: &[Rule]) -> io::Result<()> {
        self.runs += 1;
        self.prefix = format!("/run{}", self.runs);
        let cluster = format!("prefix = {:?}\n", self.prefix);
        let mut plan = Plan { cluster, broken: rules.to_vec(), ..plan(&self.settings) };
        runs::set_up(run, &mut plan);
        self.stage.begin_anew(plan).await?;
        let leader = self.stage.etcd_leader().await?;
        self.members = [leader, (leader + 1) % 3, (leader + 2) % 3];
        self.lines.clear();
        for _ in 0..3 {
            self.lines.push(self.line(self.members).await?);
        }
        Ok(())
    }

    /// A line to these members of etcd.
    pub async fn line(&self, members: [usize; 3]) -> io::Result<Line> {
        Line::to(members.map(|member| (self.stage.etcd[member].node.ip, 2379).into())).await
    }

    /// An edge's configuration, with its line for the way to etcd.
    pub fn config(&self, at: usize) -> String {
        let text = self.stage.config(at);
        let lines = text.lines().map(|line| match line.starts_with("etcd = ") {
            true => format!("etcd = {:?}\n", self.lines[at].urls),
            false => format!("{line}\n"),
        });
        lines.collect()
    }

    /// Starts these edges, and waits until they serve.
    pub async fn start(&mut self, edges: &[usize]) -> io::Result<()> {
        for &at in edges {
            let config = self.config(at);
            self.stage.run_edge(at, &config)?;
        }
        self.stage.until_served().await
    }

    /// Sends readers to an edge, so many a second, whose answers take so long in the instance.
    pub fn read(&mut self, at: usize, rate: u32, delay: Duration) {
        self.readers.push(self.stage.readers_at(at, rate, READERS, delay));
    }

    /// Starts these edges with readers at each; tells which one is the controller, and one that is not.
    pub async fn start_with_readers(&mut self, edges: &[usize]) -> io::Result<(usize, usize)> {
        self.start(edges).await?;
        edges.iter().for_each(|&at| self.read(at, 50, Duration::ZERO));
        let controller = self.controller().await?;
        let other = edges.iter().rfind(|&&at| at != controller).copied();
        sleep(Duration::from_millis(300)).await;
        Ok((controller, other.ok_or_else(|| io::Error::other("one edge is no fleet"))?))
    }

    /// The edge that says of itself that it decides, as soon as it may move the site.
    pub async fn controller(&self) -> io::Result<usize> {
        for at in (0..3).filter(|&at| self.stage.edges[at].is_running()) {
            if self.stage.ask(at, "/v1/status").await?["fleet"]["controller"] == true {
                self.stage.until_well(at).await?;
                return Ok(at);
            }
        }
        Err(io::Error::other("nobody decides"))
    }

    /// Moves the site by a wish at this edge.
    pub async fn moves(&self, at: usize, to: usize) -> io::Result<()> {
        is_done(self.stage.handoff(at, to).await?)
    }
}

/// A wish must have come true.
pub fn is_done(status: u16) -> io::Result<()> {
    if status == 200 {
        Ok(())
    } else {
        Err(io::Error::other(format!("a handoff was answered with {status}")))
    }
}

/// What is bound to happen.
pub async fn bound<T>(what: &str, happens: impl Future<Output = T>) -> io::Result<T> {
    timeout(PATIENCE, happens).await.map_err(|_| io::Error::other(format!("not in time: {what}")))
}

/// Runs a program, which must succeed.
pub async fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let output = tokio::process::Command::new(program).args(arguments).stdin(Stdio::null()).output().await?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(io::Error::other(format!("{program}: {}", said()))) }
}
