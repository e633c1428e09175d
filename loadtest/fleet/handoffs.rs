//! Handoffs under load that no other fault disturbs: ordered ones, and those that follow the death of an instance.

use std::io;
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use ghostpin_loadtest::report::{Report, millis};
use tokio::time::sleep;

use crate::Settings;
use crate::pulse::{Pulse, cutovers};
use crate::scenarios::{judged, no_read_fails, plan};
use crate::stage::{Plan, SITE, Stage, joined};

pub async fn planned(settings: &Settings) -> io::Result<Report> {
    let count = if settings.quick { 20 } else { 200 };
    let mut report = Report::new(format!("planned: {count} handoffs, asked of three edges in turn"));
    let stage = Stage::up(plan(settings)).await?;
    let time = Duration::from_millis(150) * count + Duration::from_secs(3);
    let readers = stage.readers(50, time);
    let pulses: Vec<Pulse> = (0..3).map(|edge| Pulse::start(stage.http(edge))).collect();
    sleep(Duration::from_secs(1)).await;
    let mut refused = 0;
    for n in 0..count as usize {
        refused += usize::from(stage.handoff(n % 3, (n + 1) % 2).await? != 200);
        sleep(Duration::from_millis(50)).await;
    }
    let mut beats = Vec::new();
    for pulse in pulses {
        beats.push(pulse.stop().await?);
    }
    let cutovers = cutovers(&beats);
    for edge in 0..3 {
        let told = handoffs_told(&stage, edge).await?;
        let what = format!("edge {edge}'s journal has every handoff: {told} of {count}");
        report.promise(told >= count as usize, what);
    }
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    no_read_fails(&mut report, &records);
    let at = |part: usize| cutovers[(cutovers.len() * part / 100).min(cutovers.len() - 1)];
    report.figure("handoffs that were refused", refused);
    report.figure(
        "cutover p50 / p99, from silent to served by all",
        format!("{} / {} of {}", millis(at(50)), millis(at(99)), cutovers.len()),
    );
    report.promise(refused == 0, "every handoff succeeds");
    report.promise(cutovers.len() + 2 >= count as usize, "the readers saw every epoch");
    let [half, most] = [at(50) <= Duration::from_millis(25), at(99) <= Duration::from_millis(100)];
    report.pace(settings.quick, half, "half of the cutovers take no longer than 25 ms");
    report.pace(settings.quick, most, "99 of 100 cutovers take no longer than 100 ms");
    Ok(report)
}

/// How many switches an edge's journal has, whoever decided them.
async fn handoffs_told(stage: &Stage, edge: usize) -> io::Result<usize> {
    let journal = stage.ask(edge, &format!("/v1/journal?site={SITE}&kind=handoff&count=1000")).await?;
    let entries = journal.as_array().map_or(&[][..], Vec::as_slice);
    Ok(entries.iter().filter(|entry| entry["outcome"] == "switched").count())
}

pub async fn slow(settings: &Settings) -> io::Result<Report> {
    let count = if settings.quick { 10 } else { 50 };
    let mut report = Report::new(format!("slow: {count} handoffs while answers of 300 ms are on their way"));
    let stage = Stage::up(Plan { delay: Duration::from_millis(300), ..plan(settings) }).await?;
    let readers = stage.readers(50, Duration::from_secs(count + 2));
    sleep(Duration::from_secs(1)).await;
    let mut refused = Vec::new();
    for n in 0..count as usize {
        let status = stage.handoff(n % 3, (n + 1) % 2).await?;
        refused.extend((status != 200).then_some((n, status)));
        sleep(Duration::from_millis(200)).await;
    }
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    no_read_fails(&mut report, &records);
    report.figure("handoffs that were refused", format!("{refused:?}"));
    report.promise(refused.is_empty(), "every handoff succeeds");
    Ok(report)
}

pub async fn crash(settings: &Settings) -> io::Result<Report> {
    let rounds = if settings.quick { 4 } else { 20 };
    let mut report = Report::new(format!(
        "crash: the pinned instance is killed {rounds} times; half the time the other one is there, half the time it comes 1 s later"
    ));
    let mut stage = Stage::up(plan(settings)).await?;
    let readers = stage.readers(200, Duration::from_secs(6) * rounds);
    let mut longest = [Duration::ZERO; 2];
    for round in 0..rounds as usize {
        let is_late = round % 2 == 1;
        sleep(Duration::from_secs(1)).await;
        let pinned = usize::from(stage.pin(0).await?.1 == stage.app(1).to_string());
        let other = 1 - pinned;
        if is_late {
            stage.apps[other].kill().await?;
            sleep(Duration::from_millis(500)).await;
        }
        let killed = Moment::now();
        stage.apps[pinned].kill().await?;
        if is_late {
            sleep(Duration::from_secs(1)).await;
            stage.start_app(other).await?;
        }
        let to = stage.app(other).to_string();
        let moved = || async {
            let pins = [stage.pin(0).await, stage.pin(1).await, stage.pin(2).await];
            pins.iter().all(|pin| pin.as_ref().is_ok_and(|(_, at, phase)| *at == to && phase == "serving"))
        };
        stage.until("all edges serve the other instance", moved).await?;
        longest[usize::from(is_late)] = longest[usize::from(is_late)].max(Moment::now().since(killed));
        stage.start_app(pinned).await?;
    }
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    no_read_fails(&mut report, &records);
    let [there, late] = longest.map(millis);
    report.figure(
        "longest from the kill to served by the other",
        format!("{there}, and {late} where it was late"),
    );
    report.promise(longest[0] < Duration::from_secs(1), "served within a second by one that is there");
    Ok(report)
}
