//! Edges that are stopped and started again, one after the other, behind a balancer that looks at `/readyz`: what every
//! upgrade of a fleet does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ghostpin::cli::client::Place;
use ghostpin::demo::clock::Moment;
use ghostpin::demo::history::{Kind, failures};
use ghostpin::demo::processes::Signal;
use ghostpin::demo::readers::{Load, Readers};
use ghostpin_loadtest::balancer::{Balancer, Edge};
use ghostpin_loadtest::report::{Report, millis};
use tokio::time::sleep;

use crate::Settings;
use crate::scenarios::{TTL, handoff_when_led, judged, plan};
use crate::stage::{HOST, Plan, Stage, joined};

/// Where the balancer is: at the end of the readers' street.
const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 254);
/// Readers' requests a second.
const RATE: u32 = 200;

pub async fn stops(settings: &Settings) -> io::Result<Report> {
    let stops = if settings.quick { 6 } else { 50 };
    let mut report = Report::new(format!(
        "stops: {stops} times, one of two edges behind a balancer is stopped (SIGTERM) and started again"
    ));
    let plan = Plan {
        server: "shutdown_delay = \"1s\"\n".to_owned(),
        delay: Duration::from_millis(20),
        ..plan(settings)
    };
    let mut stage = Stage::without_edges(plan).await?;
    for at in [0, 1] {
        stage.start_edge(at)?;
    }
    stage.until_served().await?;
    let edges = [0, 1].map(|at| Edge { door: stage.http(at), admin: Place::Unix(stage.socket(at)) });
    let balancer = Balancer::start(SocketAddr::from((BALANCER, 0)), edges).await?;
    stage.until("the balancer has seen both", || async { balancer.ready() == [true, true] }).await?;
    let load = Load::of_readers(balancer.address, HOST, Duration::from_secs(8) * stops);
    let readers = Readers::start(Load { rate: RATE, path: "/?delay=20ms".to_owned(), ..load });
    let (mut longest_stop, mut longest_handoff) = (Duration::ZERO, Duration::ZERO);
    for n in 0..stops as usize {
        // By turns, so that it is the controller's turn as well.
        let (stopped, other) = (n % 2, (n + 1) % 2);
        sleep(Duration::from_millis(500)).await;
        let asked = Moment::now();
        stage.edges[stopped].signal(Signal::TERM)?;
        let code = stage.edges[stopped].ended().await?;
        report.promise(code == Some(0), format!("an edge that is stopped ends well, not with {code:?}"));
        let stopped_at = Moment::now();
        longest_stop = longest_stop.max(stopped_at.since(asked));
        let to = usize::from(stage.pin(other).await?.1 == stage.app(0).to_string());
        // Who has just become the controller looks at instances before it moves anything to them.
        stage.until_well(other).await?;
        let (status, _) = handoff_when_led(&stage, other, to).await?;
        longest_handoff = longest_handoff.max(Moment::now().since(stopped_at));
        report.promise(status == 200, "a handoff right after a stop succeeds");
        stage.start_edge(stopped)?;
        stage.until_served().await?;
        stage.until("the balancer has seen it", || async { balancer.ready() == [true, true] }).await?;
    }
    let records = joined(vec![readers]).await;
    judged(&mut report, &stage, &records)?;
    report.figure("connections given to each edge", format!("{:?}", balancer.given()));
    report.figure("longest from SIGTERM to the end of the process", millis(longest_stop));
    report.figure("longest from there to the end of a handoff", millis(longest_handoff));
    let failed = failures(&records, Kind::Read).count() + failures(&records, Kind::Write).count();
    report.promise(failed == 0, "nothing fails, POSTs neither");
    report.promise(longest_handoff < TTL / 2, "no handoff waits for the lease of who was stopped");
    Ok(report)
}
