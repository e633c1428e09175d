//! What damage and kill -9 leave behind.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

const CHILD_STATE: &str = "GHOSTPIN_TEST_STORE_CHILD_STATE";

/// A seed for this run, printed, or the one to replay.
fn seed() -> u64 {
    let seed = match std::env::var("GHOSTPIN_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1,
    };
    println!("GHOSTPIN_SEED={seed}");
    seed
}

/// xorshift64
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// Opens a store whose files were tampered with: it says so, or it has lost nothing.
fn says_so_or_has_lost_nothing(state: &Path, newest: &[(SiteName, Pin)], what: &str) -> bool {
    match PinStore::open(state, false) {
        Err(StoreError::Damaged { .. }) => {
            // It does not become well by itself: redb may have repaired something.
            let again = PinStore::open(state, false);
            assert!(matches!(again, Err(StoreError::Damaged { .. })), "{what}: {again:?}");
            true
        }
        Err(error) => panic!("{what}: {error}"),
        Ok(mut opened) => {
            assert_eq!(opened.origin, Origin::Found, "{what}");
            assert!(
                opened.store.read_all().unwrap() == newest.iter().cloned().collect(),
                "{what}: pins were lost"
            );
            false
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_does_no_harm() {
    const HEADER_BYTES: usize = 320;
    let mut seed = seed();
    let home = tempfile::tempdir().unwrap();
    for cleanly in [true, false] {
        let state = home.path().join(format!("state {cleanly}"));
        let newest = used_store(&state, cleanly);
        let good = fs::read(state.join("pins.redb")).unwrap();
        let seal = fs::read(state.join("pins.seal")).unwrap();
        // The first bytes decide which commit counts: each bit of those that say so, one of every other.
        let header = (0..HEADER_BYTES * 8).filter(|bit| bit / 8 < 16 || bit % 8 == bit / 8 % 8);
        let elsewhere: Vec<usize> =
            (0..200).map(|_| random(&mut seed, good.len() as u64 * 8) as usize).collect();
        let used = (0..200).map(|_| random(&mut seed, 1 << 30) as usize);
        let written: Vec<usize> = (HEADER_BYTES..good.len()).filter(|&at| good[at] != 0).collect();
        let used = used.map(|n| written[n % written.len()] * 8 + n % 8);
        let (mut noticed, mut harmless) = (0, 0);
        for bit in header.chain(elsewhere).chain(used) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(state.join("pins.redb"), bad).unwrap();
            fs::write(state.join("pins.seal"), &seal).unwrap();
            match says_so_or_has_lost_nothing(&state, &newest, &format!("bit {bit} of {cleanly} store")) {
                true => noticed += 1,
                false => harmless += 1,
            }
        }
        println!("closed cleanly: {cleanly}; flips noticed: {noticed}, harmless: {harmless}");
        assert!(noticed > 50 && harmless > 50);
    }
}

#[test]
fn a_truncated_or_padded_file_is_an_error_or_does_no_harm() {
    let home = tempfile::tempdir().unwrap();
    for cleanly in [true, false] {
        let state = home.path().join(format!("state {cleanly}"));
        let newest = used_store(&state, cleanly);
        let good = fs::read(state.join("pins.redb")).unwrap();
        let mut noticed = 0;
        let lengths =
            [0, 1, 8, 9, 10, 63, 64, 319, 320, 4095, 4096, 4097, 8192, good.len() / 2, good.len() - 4096];
        for length in lengths.into_iter().chain([good.len() - 1, good.len() + 1, good.len() + 4096]) {
            let mut bad = good.clone();
            bad.resize(length, 0);
            fs::write(state.join("pins.redb"), bad).unwrap();
            let what = format!("{length} bytes of {}", good.len());
            noticed += u32::from(says_so_or_has_lost_nothing(&state, &newest, &what));
        }
        assert!(noticed >= 14, "{noticed}");
    }
}

/// What the tests below kill: run by them as a process of its own, it does nothing otherwise.
#[test]
#[ignore = "the process that the kill tests start"]
fn child() {
    let Some(state) = std::env::var_os(CHILD_STATE) else { return };
    let mut opened = open(Path::new(&state));
    let mut out = std::io::stdout();
    let mut epoch = opened.store.read_all().unwrap().values().map(|pin| pin.epoch.0).max().unwrap_or(0);
    writeln!(out, "open {epoch}").unwrap();
    loop {
        epoch += 1;
        let backend = format!("127.0.0.1:{}", 1 + epoch % 60_000);
        let pins: Vec<(SiteName, Pin)> =
            (0..20).map(|n| (site(&format!("s{n}")), pin(epoch, &backend))).collect();
        assert!(opened.store.commit(&pins).unwrap().iter().all(|outcome| *outcome == Outcome::Durable));
        writeln!(out, "durable {epoch}").unwrap();
        out.flush().unwrap();
    }
}

/// Starts the child, kills it after this time, and returns the newest epoch that it called durable.
fn run_and_kill(state: &Path, after: Duration) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "control::store::tests::crash::child", "--ignored", "--nocapture"])
        .env(CHILD_STATE, state)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let lines = lines.map_while(Result::ok);
        lines.filter_map(|line| line.rsplit_once("durable ").and_then(|(_, epoch)| epoch.parse().ok())).last()
    });
    std::thread::sleep(after);
    assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn kill_9_at_any_moment_loses_no_acknowledged_pin() {
    let mut seed = seed();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let (mut acknowledged, mut unacknowledged) = (0, 0);
    // Twice as long whenever the child did not come to a commit: the machine may be busy.
    let mut longest_us = 50_000;
    for _ in 0..40 {
        let durable = run_and_kill(&state, Duration::from_micros(10_000 + random(&mut seed, longest_us)));
        if durable.is_none() {
            longest_us = (longest_us * 2).min(1_000_000);
        }
        let durable = durable.unwrap_or(acknowledged);
        assert!(durable >= acknowledged);
        let mut opened = match state.exists() {
            true => open(&state),
            false => continue,
        };
        let pins = opened.store.read_all().unwrap();
        let epochs: BTreeSet<u64> = pins.values().map(|pin| pin.epoch.0).collect();
        assert!(epochs.len() <= 1, "half a commit: {epochs:?}");
        let newest = epochs.last().copied().unwrap_or(0);
        assert!(newest == durable || newest == durable + 1, "durable {durable}, found {newest}");
        unacknowledged += u32::from(newest > durable);
        acknowledged = newest;
    }
    println!("newest epoch {acknowledged}, killed between the commit and its word {unacknowledged} times");
    assert!(acknowledged > 0);
}

#[test]
fn kill_9_in_a_first_start_leaves_nothing_or_a_whole_store() {
    let mut seed = seed();
    let home = tempfile::tempdir().unwrap();
    let (mut nothing, mut whole, mut leftovers) = (0, 0, 0);
    // However fast this machine is now: the longest time to a kill goes to where it is even whether there is a store.
    let mut longest_us = 10_000;
    for n in 0..80 {
        let parent = home.path().join(n.to_string());
        let state = parent.join("state");
        fs::create_dir(&parent).unwrap();
        run_and_kill(&state, Duration::from_micros(random(&mut seed, longest_us)));
        let had_folder = state.exists();
        leftovers += u32::from(names_in(&parent).iter().any(|name| name.starts_with(".state.new-")));
        let opened = open(&state);
        match had_folder {
            true => (whole, longest_us) = (whole + 1, longest_us * 4 / 5),
            false => (nothing, longest_us) = (nothing + 1, longest_us * 5 / 4),
        }
        let expected = if had_folder { Origin::Found } else { Origin::FirstStart };
        assert_eq!(opened.origin, expected);
        if !had_folder {
            assert_eq!(names_in(&parent), ["state"], "leftovers stay");
        }
    }
    println!("nothing {nothing}, whole {whole}, half-made folders cleared {leftovers}");
    assert!(nothing > 0 && whole > 0);
}
