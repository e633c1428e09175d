//! Measures concurrent maps side by side, as a route table (host -> site) would use them.
//!
//! It is for decisions about ghostpin, not part of it. It does not say which map is best at everything: the work is
//! random lookups of hosts that exist, from one and two threads, with and without a writer that replaces one entry
//! every 10 ms; then what it takes to build the map, to keep it and to change one entry.

mod candidates;

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::candidates::{CHash, Candidate, Dash, Floor, Host, Papaya, Persistent, Routes, Site, Snapshot};

/// Counts bytes, so that the memory of a map is what it asked for, and not what the kernel had left over.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const WRITER_PAUSE: Duration = Duration::from_millis(10);

/// Measures concurrent maps as a route table would use them; prints markdown.
#[derive(Parser)]
struct Arguments {
    /// Entries of the maps.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000")]
    entries: Vec<usize>,
    /// Also one million entries (about 1 GB of memory at the worst moment).
    #[arg(long)]
    million: bool,
    /// Rounds of each measurement, taken in turn; the best is printed, being the one that others disturbed least.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Length of one round in milliseconds.
    #[arg(long, default_value_t = 200)]
    millis: u64,
}

fn main() {
    let mut arguments = Arguments::parse();
    if arguments.million {
        arguments.entries.push(1_000_000);
    }
    let round = Duration::from_millis(arguments.millis);
    for &count in &arguments.entries {
        let entries: Vec<(Host, Arc<Site>)> =
            (0..count).map(|i| (host(i).into(), Arc::new(Site::new(i, &host(i))))).collect();
        // The hosts of requests are other strings than those of the table.
        let hosts: Vec<String> = (0..count).map(host).collect();
        let work = Work { entries: &entries, hosts: &hosts, round };
        let mut results = [
            Measured::of::<Floor>(),
            Measured::of::<Routes>(),
            Measured::of::<Snapshot>(),
            Measured::of::<Persistent>(),
            Measured::of::<Dash>(),
            Measured::of::<Papaya>(),
            Measured::of::<CHash>(),
        ];
        // In turn, so that a busy moment of the machine hits all of them alike.
        for _ in 0..arguments.rounds {
            for result in &mut results {
                (result.round)(result, &work);
            }
        }
        print(count, &results);
    }
}

fn host(i: usize) -> String {
    format!("blog-{i}.customer-{}.example", i % 977)
}

/// What all maps of one size are given.
struct Work<'a> {
    entries: &'a [(Host, Arc<Site>)],
    hosts: &'a [String],
    round: Duration,
}

impl Work<'_> {
    /// Nanoseconds of CPU that one lookup takes one of `readers` threads.
    fn lookup<C: Candidate>(&self, map: &C, readers: usize, writer: bool) -> f64 {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            if writer {
                scope.spawn(|| self.write(map, &stop));
            }
            let readers: Vec<_> = (0..readers)
                .map(|reader| {
                    let stop = &stop;
                    scope.spawn(move || self.read(map, reader as u64 + 1, stop))
                })
                .collect();
            thread::sleep(self.round);
            stop.store(true, Relaxed);
            let count = readers.len() as f64;
            readers.into_iter().map(|reader| reader.join().expect("a reader failed")).sum::<f64>() / count
        })
    }

    fn read<C: Candidate>(&self, map: &C, seed: u64, stop: &AtomicBool) -> f64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (mut done, start) = (0_u64, thread_cpu());
        while !stop.load(Relaxed) {
            for _ in 0..64 {
                // xorshift64: short, and the same hosts for every map.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let host = &self.hosts[random as usize % self.hosts.len()];
                let site = map.get(host).expect("a host of the table was not found");
                black_box(site.number);
            }
            done += 64;
        }
        (thread_cpu() - start) as f64 / done as f64
    }

    fn write<C: Candidate>(&self, map: &C, stop: &AtomicBool) {
        for (host, site) in self.entries.iter().cycle() {
            if stop.load(Relaxed) {
                return;
            }
            map.replace(Arc::clone(host), Arc::new(site.again()));
            thread::sleep(WRITER_PAUSE);
        }
    }

    /// Seconds that one replacement takes while nobody reads.
    fn replace<C: Candidate>(&self, map: &C) -> f64 {
        let (mut done, start) = (0_u32, Instant::now());
        for (host, site) in self.entries.iter().cycle() {
            map.replace(Arc::clone(host), Arc::new(site.again()));
            done += 1;
            if start.elapsed() >= self.round {
                break;
            }
        }
        start.elapsed().as_secs_f64() / f64::from(done)
    }
}

/// One map, one size. Lookups in nanoseconds, the rest in seconds and bytes; one value a round.
struct Measured {
    name: &'static str,
    round: fn(&mut Self, &Work<'_>),
    lookups: [Vec<f64>; 4],
    build: Vec<f64>,
    change: Vec<f64>,
    bytes_per_entry: f64,
}

impl Measured {
    fn of<C: Candidate>() -> Self {
        Self {
            name: C::NAME,
            round: Self::round::<C>,
            lookups: Default::default(),
            build: Vec::new(),
            change: Vec::new(),
            bytes_per_entry: 0.0,
        }
    }

    fn round<C: Candidate>(&mut self, work: &Work<'_>) {
        let (before, start) = (live_bytes(), Instant::now());
        let map = C::build(work.entries);
        self.build.push(start.elapsed().as_secs_f64());
        self.bytes_per_entry = (live_bytes() - before) as f64 / work.entries.len() as f64;
        let kinds = [(1, false), (1, true), (2, false), (2, true)];
        for (values, (readers, writer)) in self.lookups.iter_mut().zip(kinds) {
            values.push(work.lookup(&map, readers, writer));
        }
        self.change.push(work.replace(&map));
    }
}

/// Nanoseconds that this thread has run. On a machine that isn't quiet this says more than the time on the wall; what it
/// does not see is a reader asleep at a lock.
fn thread_cpu() -> u64 {
    let stat =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says how long a thread has run");
    stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("schedstat begins with a number")
}

fn live_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

fn print(count: usize, results: &[Measured]) {
    println!("\n**{count} entries** (lookups: ns of CPU each; writer: one replacement every 10 ms)\n");
    println!(
        "| map | 1 thread | 1 thread + writer | 2 threads | 2 threads + writer | build | bytes/entry | one change |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for result in results {
        let [one, one_written, two, two_written] = result.lookups.each_ref().map(|values| best(values));
        println!(
            "| {} | {one:.0} | {one_written:.0} | {two:.0} | {two_written:.0} | {} | {:.0} | {} |",
            result.name,
            seconds(best(&result.build)),
            result.bytes_per_entry,
            seconds(best(&result.change)),
        );
    }
}

fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn seconds(value: f64) -> String {
    match value {
        v if v >= 1e-3 => format!("{:.1} ms", v * 1e3),
        v if v >= 1e-6 => format!("{:.1} us", v * 1e6),
        v => format!("{:.0} ns", v * 1e9),
    }
}
