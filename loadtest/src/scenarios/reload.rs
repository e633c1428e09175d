//! The configuration is read again and again at random moments, a third of the time a broken one: readers notice
//! nothing, and the last valid configuration is in force.

use std::io;
use std::time::Duration;

use fastrand::Rng;
use ghostpin::demo::client;
use ghostpin::demo::history::Turns;
use ghostpin::demo::readers::{Load, Readers};
use tokio::time::sleep;

use ghostpin_loadtest::harness::{Edge, HOST, Pair, SITE, Settings, site};
use ghostpin_loadtest::report::{Report, Seen};

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let count = if settings.quick { 100 } else { 1_000 };
    let mut report =
        Report::new(format!("reload: {count} SIGHUPs at random moments (--seed {})", settings.seed));
    let mut random = Rng::with_seed(settings.seed);
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    pair.b.start().await?;
    let mut edge = Edge::new(settings)?;
    edge.write(&valid(&edge, &pair, &mut random, None))?;
    edge.start().await?;

    // Bounded by the stop below; the time is only a limit.
    let limit = Duration::from_secs(300);
    let readers = Readers::start(Load::of_readers(edge.http(), HOST, limit));
    let slow = Load { path: "/?delay=300ms".into(), rate: 20, ..Load::of_readers(edge.http(), HOST, limit) };
    let slow = Readers::start(slow);
    let mut broken = 0;
    for number in 0..count {
        if number % 3 == 2 {
            let text = valid(&edge, &pair, &mut random, None);
            edge.write(&break_it(text, &mut random))?;
            broken += 1;
        } else {
            edge.write(&valid(&edge, &pair, &mut random, None))?;
        }
        edge.reload()?;
        sleep(Duration::from_micros(random.u64(0..60_000))).await;
    }
    readers.stop();
    slow.stop();

    let mark = format!("mark-{}.example", random.u32(..));
    edge.write(&valid(&edge, &pair, &mut random, Some(&mark)))?;
    edge.reload()?;
    report.promise(answers(&edge, &mark).await, "a valid configuration comes into force");
    edge.write("this is no configuration")?;
    edge.reload()?;
    sleep(Duration::from_millis(200)).await;
    report.promise(answers(&edge, &mark).await, "a broken configuration changes nothing");

    let mut records = readers.finish().await;
    records.extend(slow.finish().await);
    let seen = Seen::of(&records, &Turns::once_each(&["A"]));
    report.figure("SIGHUPs / with a broken file", format!("{count} / {broken}"));
    report.seen(&seen);
    report.no_failure(&seen);
    report.promise(seen.order.late_heads.is_empty(), "a reload moves no site");
    let by_a = |record: &ghostpin::demo::history::Record| {
        record.answer().and_then(|a| a.instance.as_deref()) == Some("A")
    };
    report.promise(records.iter().all(by_a), "all answers come from the one pinned instance");
    Ok(report)
}

/// Whether the host is answered soon.
async fn answers(edge: &Edge, host: &str) -> bool {
    for _ in 0..100 {
        if client::get(edge.http(), host, "/").await.is_ok_and(|reply| reply.status.is_success()) {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}

/// The readers' site among others that come and go, under limits that change.
fn valid(edge: &Edge, pair: &Pair, random: &mut Rng, mark: Option<&str>) -> String {
    let hold = format!("[hold]\nmax_requests = {}", random.u32(500..2_000));
    let mut sites: Vec<String> = (0..random.usize(0..20))
        .map(|number| {
            let host = format!("other-{number}-{}.example", random.u8(..));
            site(&format!("other-{number}"), &[&host], &pair.addresses())
        })
        .collect();
    let mut hosts = vec![HOST, "www.blog.example"];
    hosts.truncate(random.usize(1..=2));
    sites.push(site(SITE, &hosts, &pair.addresses()));
    sites.extend(mark.map(|mark| site("mark", &[mark], &pair.addresses())));
    random.shuffle(&mut sites);
    edge.config(&hold, &sites.concat())
}

/// One thing wrong, whichever.
fn break_it(text: String, random: &mut Rng) -> String {
    match random.u8(0..5) {
        0 => text.replace("hosts", "hots"),
        1 => text + "[[site]]\nname = \"thief\"\nhosts = [\"blog.example\"]\nbackends = [\"127.0.0.1:1\"]\n",
        2 => text.replace("max_requests = ", "max_requests = -"),
        3 => text[..text.len() - 3].to_owned(),
        _ => String::from_utf8_lossy(&[0xff, 0xfe, 0]).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ghostpin::config::Config;

    use super::*;

    #[test]
    fn what_is_called_valid_is_taken_and_what_is_called_broken_is_refused() {
        let settings = Settings { ghostpin: "ghostpin".into(), log: None, quick: true, seed: 0 };
        let (edge, pair) = (Edge::new(&settings).unwrap(), Pair::new(&settings).unwrap());
        for seed in 0..200 {
            let random = &mut Rng::with_seed(seed);
            let text = valid(&edge, &pair, random, Some("mark.example"));
            let taken = Config::parse(&text, Path::new("valid.toml"));
            assert!(taken.is_ok(), "seed {seed}: {}", taken.unwrap_err());
            let broken = break_it(text, random);
            assert!(Config::parse(&broken, Path::new("broken.toml")).is_err(), "seed {seed}:\n{broken}");
        }
    }
}
