//! The command line on a terminal: a real one, but for the person before it.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::desk::{Desk, PATIENCE, Running};

const ROWS: u16 = 16;
const COLUMNS: u16 = 130;

/// A terminal with a verb in it.
struct Terminal {
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
    verb: Running,
}

impl Terminal {
    fn with(desk: &Desk, verb: &[&str], environment: &[(&str, &str)]) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let window = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&keys, window).unwrap();
        let its = || Stdio::from(ioctl_tiocgptpeer(&keys, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
        // As a login would: the terminal is the verb's own, so that Ctrl-C reaches it.
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(env!("CARGO_BIN_EXE_ghostpin"))
            .args(verb)
            .arg("--config")
            .arg(desk.config());
        command.env_remove("NO_COLOR").env_remove("GHOSTPIN_ADMIN").env("TERM", "xterm-256color");
        command.envs(environment.iter().copied()).stdin(its()).stdout(its()).stderr(its());
        let verb = Running(command.spawn().unwrap());
        drop(command);
        let size = |count| NonZeroU16::new(count).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(ROWS), size(COLUMNS), 0)));
        let mut shown = File::from(keys.try_clone().unwrap());
        let parser = screen.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error once the verb has gone.
            while let Ok(read @ 1..) = shown.read(&mut bytes) {
                parser.lock().unwrap().process(&bytes[..read]);
            }
        });
        Self { keys: File::from(keys), screen, verb }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn rows(&self) -> Vec<String> {
        self.screen.lock().unwrap().screen().rows(0, COLUMNS).map(|row| row.trim_end().to_owned()).collect()
    }

    /// Waits until the screen is as wanted.
    fn until(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let began = Instant::now();
        loop {
            let rows = self.rows();
            if is_so(&rows) {
                return rows;
            }
            assert!(began.elapsed() < PATIENCE, "never {what}:\n{}", rows.join("\n"));
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) -> ExitStatus {
        let status = self.verb.0.wait().unwrap();
        self.until("left the other screen", |_| !self.screen.lock().unwrap().screen().alternate_screen());
        status
    }

    /// The colour of a word.
    fn color_of(&self, word: &str) -> vt100::Color {
        let rows = self.until(word, |rows| rows.iter().any(|row| row.contains(word)));
        let (row, text) = rows.iter().enumerate().find(|(_, row)| row.contains(word)).unwrap();
        let column = text.find(word).unwrap();
        let screen = self.screen.lock().unwrap();
        screen.screen().cell(u16::try_from(row).unwrap(), u16::try_from(column).unwrap()).unwrap().fgcolor()
    }
}

/// A desk with three sites, and its ghostpin.
fn three_sites() -> (Desk, Running) {
    let desk = Desk::new();
    let [a, b] = desk.backends;
    let site = |name: &str| {
        format!(
            "[[site]]\nname = \"{name}\"\napp = \"generic\"\nhosts = [\"{name}.example\"]\nbackends = [\"{a}\", \"{b}\"]\n"
        )
    };
    desk.write(&format!("{}\n{}{}", desk.text(), site("alpha"), site("zeta")));
    let running = desk.start();
    (desk, running)
}

#[test]
fn top_shows_trouble_first_finds_a_site_and_gives_the_terminal_back() {
    let (desk, _running) = three_sites();
    assert_eq!(desk.say(&["hold", "zeta"]).code, 0);
    let mut top = Terminal::with(&desk, &["top", "--every", "100ms"], &[]);
    let site_of =
        |rows: &[String], row: usize| rows[row].split_whitespace().next().unwrap_or_default().to_owned();
    let rows = top.until("on top", |rows| site_of(rows, 5) == "zeta");
    assert!(rows[2].starts_with("3 sites: 2 serving, 1 draining"), "{rows:#?}");
    assert!(rows[5].contains("draining") && rows[5].contains("hold "), "{rows:#?}");
    assert_eq!((site_of(&rows, 6), site_of(&rows, 7)), ("alpha".to_owned(), "blog".to_owned()));

    top.press("/ALPH");
    let rows = top.until("found", |rows| site_of(rows, 5) == "alpha" && rows[6].is_empty());
    assert!(rows.last().unwrap().starts_with("/ALPH_"), "{rows:#?}");
    top.press("\r\r");
    top.until("all about it", |rows| {
        rows.iter().any(|row| row.starts_with("CANDIDATE")) && rows[4].contains("alpha")
    });
    top.press("q");
    top.until("back", |rows| site_of(rows, 5) == "alpha");
    assert_eq!(desk.say(&["release", "zeta"]).code, 0);
    top.until("well again", |rows| rows[2] == "3 sites: 3 serving");
    top.press("\x1b");
    top.until("all again", |rows| site_of(rows, 7) == "zeta");
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn a_top_that_is_told_to_end_gives_the_terminal_back() {
    let (desk, _running) = three_sites();
    for word in [Signal::TERM, Signal::INT] {
        let mut top = Terminal::with(&desk, &["top"], &[]);
        let waits_for_lines =
            |top: &Terminal| tcgetattr(&top.keys).unwrap().local_modes.contains(LocalModes::ICANON);
        top.until("drawn", |rows| rows[5].starts_with("alpha") && !waits_for_lines(&top));
        kill_process(Pid::from_child(&top.verb.0), word).unwrap();
        assert_eq!(top.end().code(), Some(0));
        assert!(waits_for_lines(&top), "{word:?}: what is typed next would not be seen");
    }
}

#[test]
fn top_says_that_a_ghostpin_hangs_and_goes_on_when_it_is_back() {
    let (desk, running) = three_sites();
    let mut top = Terminal::with(&desk, &["top", "--every", "100ms"], &[]);
    top.until("drawn", |rows| rows[5].starts_with("alpha"));
    kill_process(Pid::from_child(&running.0), Signal::STOP).unwrap();
    let rows = top.until("said", |rows| rows[3].starts_with("no ghostpin answers at "));
    assert!(rows[5].starts_with("alpha"), "what was seen last stays: {rows:#?}");
    kill_process(Pid::from_child(&running.0), Signal::CONT).unwrap();
    top.until("back", |rows| rows[3].is_empty() && rows[5].starts_with("alpha"));
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn a_page_that_is_watched_is_drawn_in_place_and_stays_when_it_is_left() {
    let (desk, _running) = three_sites();
    let mut sites = Terminal::with(&desk, &["sites", "--watch", "--every", "100ms"], &[]);
    let is_whole = |rows: &[String]| rows[1].starts_with("alpha  serving") && rows[4].is_empty();
    sites.until("listed", is_whole);
    assert!(sites.screen.lock().unwrap().screen().alternate_screen());
    assert_eq!(sites.color_of("serving"), vt100::Color::Idx(2));
    assert_eq!(desk.say(&["hold", "alpha"]).code, 0);
    sites.until("redrawn", |rows| rows[1].starts_with("alpha  draining") && rows[4].is_empty());
    assert_eq!(sites.color_of("draining"), vt100::Color::Idx(3));
    sites.press("\x03");
    assert_eq!(sites.end().code(), Some(0));
    sites.until("left behind", |rows| rows.iter().any(|row| row.starts_with("alpha  draining")));
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let (desk, _running) = three_sites();
    assert_eq!(Terminal::with(&desk, &["sites"], &[]).color_of("serving"), vt100::Color::Idx(2));
    let plain = Terminal::with(&desk, &["sites"], &[("NO_COLOR", "1")]);
    assert_eq!(plain.color_of("serving"), vt100::Color::Default);
    assert!(!desk.say(&["sites"]).out.contains('\x1b'), "no terminal, no colours");
}
