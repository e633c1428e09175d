//! What a stand-in application did, written down by itself, and what must be true of it.
//!
//! Readers see what was delivered; only the backends know what was handed to them. The account of a killed
//! instance ends where it was killed: each line is written before the instance goes on.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::clock::Moment;

/// One line of a stand-in's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The instance began to listen. Its requests are numbered from 1 again.
    Listening {
        /// When.
        at: Moment,
    },
    /// A request's head arrived.
    Begun {
        /// Number of the request in this instance.
        request: u64,
        /// What the reader called it (`X-Reader-Request`); probes have none.
        reader: Option<u64>,
        /// Its method.
        method: String,
        /// When.
        at: Moment,
    },
    /// The instance was done with a request.
    Ended {
        /// Number of the request in this instance.
        request: u64,
        /// Whether it was answered; otherwise its connection was cut before.
        answered: bool,
        /// When.
        at: Moment,
    },
}

/// The file that a stand-in writes its account to.
#[derive(Debug)]
pub struct Account(File);

impl Account {
    /// Opens the file, to go on at its end.
    ///
    /// # Errors
    /// If it can't be opened or created.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Adds one event, by one write, so that a kill leaves whole lines.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn add(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

/// A request that was handed to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What the reader called it; probes have none.
    pub reader: Option<u64>,
    /// Its method.
    pub method: String,
    /// When its head arrived.
    pub begun: Moment,
    /// When the instance was done with it; none if it was killed before.
    pub ended: Option<Moment>,
}

/// All that one address's instances did, over their restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// When each instance began to listen.
    pub listening: Vec<Moment>,
    /// The requests in the order of their arrival.
    pub requests: Vec<Deed>,
}

impl Deeds {
    /// Reads an account back.
    ///
    /// # Errors
    /// If the file can't be read, or a line is none of [`Event`]'s.
    pub fn read(path: &Path) -> io::Result<Self> {
        BufReader::new(File::open(path)?)
            .lines()
            .map(|line| Ok(serde_json::from_str(&line?)?))
            .collect::<io::Result<Vec<Event>>>()
            .map(Self::from_events)
    }

    /// Puts events together, in the order in which they were written.
    pub fn from_events(events: impl IntoIterator<Item = Event>) -> Self {
        let mut deeds = Self::default();
        let mut open = HashMap::new();
        for event in events {
            match event {
                Event::Listening { at } => {
                    open.clear();
                    deeds.listening.push(at);
                }
                Event::Begun { request, reader, method, at } => {
                    open.insert(request, deeds.requests.len());
                    deeds.requests.push(Deed { reader, method, begun: at, ended: None });
                }
                Event::Ended { request, at, .. } => {
                    if let Some(index) = open.remove(&request) {
                        deeds.requests[index].ended = Some(at);
                    }
                }
            }
        }
        deeds
    }

    /// The requests that came from readers.
    pub fn from_readers(&self) -> impl Iterator<Item = &Deed> {
        self.requests.iter().filter(|deed| deed.reader.is_some())
    }
}

/// How many readers' requests `old` still had in its hands when `new` was first given one.
///
/// A request without an end counts as being in hand for ever, unless its instance was killed before: pass the
/// deeds of instances that were alive throughout.
pub fn overlapping(old: &Deeds, new: &Deeds) -> usize {
    let Some(first) = new.from_readers().map(|deed| deed.begun).min() else { return 0 };
    old.from_readers().filter(|deed| deed.ended.is_none_or(|ended| ended > first)).count()
}

/// The readers' POSTs that were handed to the application more than once, by whatever instances.
pub fn handed_over_twice<'a>(accounts: impl IntoIterator<Item = &'a Deeds>) -> Vec<u64> {
    let mut times: HashMap<u64, usize> = HashMap::new();
    for deed in accounts.into_iter().flat_map(Deeds::from_readers).filter(|deed| deed.method == "POST") {
        *times.entry(deed.reader.unwrap_or_default()).or_default() += 1;
    }
    let mut twice: Vec<u64> = times.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect();
    twice.sort_unstable();
    twice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(reader: u64, method: &str, begun: u64, ended: Option<u64>) -> Deed {
        Deed { reader: Some(reader), method: method.into(), begun: Moment(begun), ended: ended.map(Moment) }
    }

    fn deeds(requests: Vec<Deed>) -> Deeds {
        Deeds { listening: vec![], requests }
    }

    #[test]
    fn old_requests_that_end_before_the_first_new_one_do_not_overlap() {
        let old = deeds(vec![deed(1, "GET", 10, Some(20)), deed(2, "GET", 15, Some(30))]);
        assert_eq!(overlapping(&old, &deeds(vec![deed(3, "GET", 30, Some(40))])), 0);
        assert_eq!(overlapping(&old, &deeds(vec![])), 0);
    }

    #[test]
    fn an_old_request_in_hand_when_a_new_one_begins_is_an_overlap() {
        let old =
            deeds(vec![deed(1, "GET", 10, Some(20)), deed(2, "GET", 15, Some(30)), deed(3, "GET", 16, None)]);
        assert_eq!(overlapping(&old, &deeds(vec![deed(4, "GET", 29, Some(40))])), 2);
    }

    #[test]
    fn probes_are_no_overlap() {
        let probe = Deed { reader: None, ..deed(0, "GET", 25, Some(26)) };
        let old = deeds(vec![deed(1, "GET", 10, Some(20)), probe.clone()]);
        let new = deeds(vec![Deed { begun: Moment(5), ..probe }, deed(2, "GET", 21, Some(22))]);
        assert_eq!(overlapping(&old, &new), 0);
    }

    #[test]
    fn a_post_handed_to_two_instances_is_found_and_a_get_may_be() {
        let a = deeds(vec![deed(1, "POST", 1, Some(2)), deed(2, "POST", 3, None), deed(3, "GET", 3, None)]);
        let b = deeds(vec![deed(2, "POST", 9, Some(10)), deed(3, "GET", 9, Some(10))]);
        assert_eq!(handed_over_twice([&a, &b]), [2]);
        assert!(handed_over_twice([&a]).is_empty());
    }

    #[test]
    fn an_account_goes_on_over_a_restart() {
        let path = std::env::temp_dir().join(format!("ghostpin-account-{}", std::process::id()));
        let begun =
            |request, reader, at| Event::Begun { request, reader, method: "GET".into(), at: Moment(at) };
        let lives = [
            vec![Event::Listening { at: Moment(1) }, begun(1, Some(7), 2)],
            vec![
                Event::Listening { at: Moment(5) },
                begun(1, Some(8), 6),
                Event::Ended { request: 1, answered: true, at: Moment(8) },
            ],
        ];
        for events in &lives {
            let mut account = Account::open(&path).unwrap();
            events.iter().for_each(|event| account.add(event).unwrap());
        }
        let read = Deeds::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.listening, [Moment(1), Moment(5)]);
        assert_eq!(read.requests, [deed(7, "GET", 2, None), deed(8, "GET", 6, Some(8))]);
    }
}
