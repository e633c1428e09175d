//! What the kernel says of this process.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::catalogue::{CPU, MAX_FDS, OPEN_FDS, RESIDENT, STARTED, THREADS, VIRTUAL};
use super::text::Text;

/// This process, as it is now. What can't be read is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// User and system CPU time.
    pub cpu: Duration,
    /// Threads.
    pub threads: u64,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// When it began, as time since the machine did.
    pub began_after_boot: Duration,
}

impl Process {
    /// Asks the kernel.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// From the line in `/proc/PID/stat`.
    fn parse(stat: &str) -> Option<Self> {
        // The name, in parentheses, may have blanks and parentheses of its own. Numbers are those of proc(5).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = |ticks: u64| {
            Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
        };
        Some(Self {
            cpu: ticks(field(14)? + field(15)?),
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * rustix::param::page_size() as u64,
            began_after_boot: ticks(field(22)?),
        })
    }
}

/// Writes all that is known.
pub fn render(text: &mut Text) {
    if let Some(process) = Process::now() {
        text.one(&CPU, process.cpu.as_secs_f64());
        text.one(&RESIDENT, process.resident_bytes);
        text.one(&VIRTUAL, process.virtual_bytes);
        text.one(&THREADS, process.threads);
        if let Some(boot) = booted() {
            text.one(&STARTED, (boot + process.began_after_boot).as_secs_f64());
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.one(&OPEN_FDS, open.count());
    }
    if let Some(max) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        text.one(&MAX_FDS, max);
    }
}

/// When the machine began, since 1970.
fn booted() -> Option<Duration> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let seconds = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    SystemTime::now().duration_since(UNIX_EPOCH).ok()?.checked_sub(Duration::try_from_secs_f64(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_no_trouble() {
        let line = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 200 100 13 14 15 16 4 18 300 4096 2 rest";
        let process = Process::parse(line).unwrap();
        assert_eq!((process.threads, process.virtual_bytes), (4, 4096));
        assert_eq!(process.cpu, process.began_after_boot, "200 + 100 ticks each");
        assert_eq!(process.resident_bytes % 4096, 0);
        assert_eq!(Process::parse("7 (a"), None);
    }

    #[test]
    fn this_process_began_in_the_past_and_has_memory() {
        let now = Process::now().unwrap();
        assert!(now.resident_bytes > 100_000 && now.threads > 0);
        assert!(
            booted().unwrap() + now.began_after_boot < SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
        );
    }
}
