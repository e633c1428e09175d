//! Thousands of sites lose their instance at once.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use ghostpin_loadtest::report::{Report, millis};
use tokio::time::sleep;

use crate::Settings;
use crate::scenarios::plan;
use crate::stage::{Plan, Stage};

/// How long there is no instance at all, where the other one is not ready yet: about what Docker Swarm takes.
const WITHOUT: Duration = Duration::from_secs(5);

/// First the other instance is ready when one dies; then it has died, too, and comes back later.
pub async fn many(settings: &Settings) -> io::Result<Report> {
    let count = if settings.quick { 1_000 } else { 10_000 };
    let mut report = Report::new(format!("many: {count} sites lose their instance at once, three edges"));
    let mut stage = Stage::up(Plan { others: count, ..plan(settings) }).await?;
    let sites = count + 1;
    all_served(&stage, sites, 0, 1).await?;
    // So many standbys are looked at for the first time, at a thousand a second: the fleet has run for a while.
    sleep(Duration::from_secs(3 + count as u64 / 1_000)).await;

    let before = Spent::until_now(&stage).await?;
    let killed = Moment::now();
    stage.apps[0].kill().await?;
    let took = all_served(&stage, sites, 1, 2).await?.since(killed);
    report.figure("from the kill to all served by the standby", millis(took));
    let spent = Spent::until_now(&stage).await?.since(&before);
    spent.tell(&mut report);
    let looks = count as u64 * 2 + (took.as_secs_f64() * 3_000.0) as u64;
    report.promise(
        spent.probes.values().sum::<u64>() < looks,
        "a site that moves is looked at twice, beside those that nobody waits for",
    );
    report.promise(
        spent.revisions < count as u64 / 4,
        "the writes grow with batches and edges, not with sites",
    );

    stage.apps[1].kill().await?;
    sleep(WITHOUT).await;
    let before = Spent::until_now(&stage).await?;
    stage.start_app(0).await?;
    let listens = Moment::now();
    let took = all_served(&stage, sites, 0, 3).await?.since(listens);
    report.figure("after 5 s without any: from when one listens to all served by it", millis(took));
    Spent::until_now(&stage).await?.since(&before).tell(&mut report);
    Ok(report)
}

/// Waits until all sites have been handed over so many times, and are served by this instance at every edge. Tells when that
/// was seen: before what the edges say was gone through, which takes a while with ten thousand sites.
async fn all_served(stage: &Stage, sites: usize, app: usize, times: usize) -> io::Result<Moment> {
    let app = stage.app(app).to_string();
    // A list of ten thousand sites is work for those who are watched: first numbers that say when to look.
    let controller = stage.controller().await?;
    let through = || async {
        let Ok(status) = stage.ask(controller, "/v1/status").await else { return false };
        status["handoffs"].as_u64().unwrap_or(0) >= (sites * times) as u64
            && status["phases"]["serving"] == sites
    };
    stage.until("the controller is through", through).await?;
    for at in 0..stage.edges.len() {
        let through = || async {
            stage.ask(at, "/v1/status").await.is_ok_and(|status| status["phases"]["serving"] == sites)
        };
        stage.until("an edge is through", through).await?;
    }
    let seen = Cell::new(Moment::now());
    let everywhere = || async {
        let listed = |at| async move { stage.client(at).get("/v1/sites").await };
        let (one, two, three) = tokio::join!(listed(0), listed(1), listed(2));
        seen.set(Moment::now());
        [one, two, three].iter().all(|body| body.as_ref().is_ok_and(|body| served_by(body, &app) == sites))
    };
    stage.until("every site is served by every edge", everywhere).await?;
    Ok(seen.get())
}

/// How many sites an instance serves, of those that an edge lists.
fn served_by(listed: &[u8], app: &str) -> usize {
    let listed: serde_json::Value = serde_json::from_slice(listed).unwrap_or_default();
    let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    listed.iter().filter(|site| site["open"] == true && site["backend"] == app).count()
}

/// What it has cost.
#[derive(Debug, Default)]
struct Spent {
    /// etcd's revision, which counts transactions.
    revisions: u64,
    /// How often each kind of key was written.
    keys: BTreeMap<String, u64>,
    /// Probes.
    probes: BTreeMap<&'static str, u64>,
    /// Processor time.
    cpu: BTreeMap<&'static str, Duration>,
}

impl Spent {
    async fn until_now(stage: &Stage) -> io::Result<Self> {
        let mut spent = Self::default();
        let controller = stage.controller().await?;
        for (at, edge) in stage.edges.iter().enumerate() {
            let role = if at == controller { "controller" } else { "other edges" };
            *spent.cpu.entry(role).or_default() += edge.cpu()?;
            let probes = stage.ask(at, "/v1/status").await?["probes"].as_u64().unwrap_or(0);
            *spent.probes.entry(role).or_default() += probes;
        }
        for member in &stage.etcd {
            *spent.cpu.entry("etcd").or_default() += member.cpu()?;
        }
        let text = stage.etcdctl(0, &["get", "--prefix", "/ghostpin/", "--write-out=fields"]).await?;
        let mut folder = String::new();
        for line in text.lines() {
            let (key, value) = line.split_once(" : ").unwrap_or_default();
            match key {
                "\"Revision\"" => spent.revisions = value.parse().unwrap_or(0),
                "\"Key\"" => folder = value.split('/').nth(2).unwrap_or_default().to_owned(),
                "\"Version\"" => {
                    *spent.keys.entry(folder.clone()).or_default() += value.parse::<u64>().unwrap_or(0)
                }
                _ => {}
            }
        }
        Ok(spent)
    }

    fn since(self, before: &Self) -> Self {
        let keys = |(folder, count): (String, u64)| {
            let written = count - before.keys.get(&folder).unwrap_or(&0);
            (folder, written)
        };
        Self {
            revisions: self.revisions - before.revisions,
            keys: self.keys.into_iter().map(keys).collect(),
            probes: self.probes.into_iter().map(|(who, count)| (who, count - before.probes[who])).collect(),
            cpu: self.cpu.into_iter().map(|(who, time)| (who, time - before.cpu[who])).collect(),
        }
    }

    fn tell(&self, report: &mut Report) {
        let keys = self.keys.iter().map(|(folder, count)| format!("{folder} {count}"));
        report.figure("  keys written", keys.collect::<Vec<_>>().join(", "));
        report.figure("  etcd's revisions for it", self.revisions);
        let probes = self.probes.iter().map(|(who, count)| format!("{who} {count}"));
        report.figure("  probes meanwhile", probes.collect::<Vec<_>>().join(", "));
        let cpu = self.cpu.iter().map(|(who, time)| format!("{who} {}", millis(*time)));
        report.figure("  processor time, that of looking on included", cpu.collect::<Vec<_>>().join(", "));
    }
}
