//! What a worker's thread is at, for whoever watches from another one: a beat each round, and the request whose turn it is.
//!
//! The worker alone writes, with plain stores: once what the request is, and then two stores a turn. Nothing is locked, and
//! nothing is allocated but room for more requests at a time than there ever were.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};
use std::sync::{Arc, OnceLock};

/// Words of eight bytes that a request has: the first says how long each of its texts is.
const WORDS: usize = 32;
/// Places in the first hall; each further one has twice as many.
const FIRST_HALL: usize = 64;
/// Together they have room for a hundred million requests at a time.
const HALLS: usize = 21;

/// What is kept of a request, and how many bytes of each at most; the path has what is left.
const TEXTS: usize = 4;
const BYTES_MAX: [usize; TEXTS] = [16, 64, 104, WORDS * 8];

/// The beats of a thread that has ended as it should.
const ENDED: u64 = u64::MAX;

type Place = [AtomicU64; WORDS];

/// The shared side: one for each worker.
pub struct Pulse {
    beats: AtomicU64,
    /// Whose turn it is: the number of its place, from 1, and above it how many requests had begun by then. 0: nobody's.
    turn: AtomicU64,
    halls: [OnceLock<Box<[Place]>>; HALLS],
}

/// A request, as the access log names it. What is very long has been cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its host, as sent.
    pub host: String,
    /// Its path, without the query.
    pub path: String,
    /// Its id.
    pub id: String,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { beats: AtomicU64::new(0), turn: AtomicU64::new(0), halls: [const { OnceLock::new() }; HALLS] }
    }
}

impl Pulse {
    /// The thread has turned its loop once more.
    pub fn beat(&self) {
        self.beats.store(self.beats.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The thread ends, and is not to be waited for.
    pub fn end(&self) {
        self.beats.store(ENDED, Relaxed);
    }

    /// How often it has beaten; `None` if it has ended.
    pub fn beats(&self) -> Option<u64> {
        Some(self.beats.load(Relaxed)).filter(|beats| *beats != ENDED)
    }

    /// The request whose turn it is; `None` if it is nobody's, or was over before all of it was read.
    pub fn request(&self) -> Option<Request> {
        let turn = self.turn.load(Acquire);
        let number = (turn as u32).checked_sub(1)?;
        let place = self.place(number)?;
        let lengths = lengths_of(place[0].load(Acquire));
        let mut texts = ranges(lengths).map(|range| read(place, range));
        fence(Acquire);
        let [method, id, host, path] = texts.each_mut().map(std::mem::take);
        (self.turn.load(Relaxed) == turn && !method.is_empty()).then_some(Request { method, host, path, id })
    }

    fn place(&self, number: u32) -> Option<&Place> {
        let (hall, seat) = seat(number);
        self.halls.get(hall)?.get()?.get(seat)
    }

    /// Makes room for a place of this number.
    fn build(&self, number: u32) {
        let (hall, _) = seat(number);
        if let Some(hall_of) = self.halls.get(hall) {
            hall_of.get_or_init(|| (0..FIRST_HALL << hall).map(|_| Place::default()).collect());
        }
    }
}

impl std::fmt::Debug for Pulse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pulse").field("beats", &self.beats).finish_non_exhaustive()
    }
}

/// Its hall, and where it is there.
fn seat(number: u32) -> (usize, usize) {
    let from_first = number as usize + FIRST_HALL;
    let hall = (from_first / FIRST_HALL).ilog2() as usize;
    (hall, from_first - (FIRST_HALL << hall))
}

fn lengths_of(word: u64) -> [usize; TEXTS] {
    [0, 16, 32, 48].map(|shift| usize::from((word >> shift) as u16))
}

/// Where each text is, in words; and how many bytes of it there was room for.
fn ranges(lengths: [usize; TEXTS]) -> [(Range<usize>, usize); TEXTS] {
    let mut next = 1;
    let mut texts = lengths.into_iter().zip(BYTES_MAX);
    std::array::from_fn(|_| {
        let (length, max) = texts.next().expect("as many as there are texts");
        let bytes = length.min(max).min((WORDS - next) * 8);
        let words = next..next + bytes.div_ceil(8);
        next = words.end;
        (words, bytes)
    })
}

fn read(place: &Place, (words, bytes): (Range<usize>, usize)) -> String {
    let mut text: Vec<u8> = place[words].iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
    text.truncate(bytes);
    String::from_utf8_lossy(&text).into_owned()
}

/// The worker's side: which places are free.
#[derive(Debug)]
pub struct Places {
    pulse: Arc<Pulse>,
    free: RefCell<Vec<u32>>,
    made: Cell<u32>,
    begun: Cell<u32>,
}

impl Places {
    /// Those of a worker that has not begun.
    pub fn new(pulse: Arc<Pulse>) -> Rc<Self> {
        Rc::new(Self { pulse, free: RefCell::default(), made: Cell::new(0), begun: Cell::new(0) })
    }

    /// The thread has turned its loop once more.
    pub fn beat(&self) {
        self.pulse.beat();
    }

    /// A place for a request that begins.
    pub fn take(self: &Rc<Self>) -> Named {
        let number = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let number = self.made.replace(self.made.get() + 1);
            self.pulse.build(number);
            number
        });
        let begun = self.begun.get().wrapping_add(1);
        self.begun.set(begun);
        if let Some(place) = self.pulse.place(number) {
            place[0].store(0, Relaxed);
        }
        Named { places: self.clone(), turn: u64::from(begun) << 32 | u64::from(number + 1) }
    }
}

/// A request that can be named from outside whenever it has its turn, until this is dropped.
#[derive(Debug)]
pub struct Named {
    places: Rc<Places>,
    turn: u64,
}

impl Named {
    /// What it is called.
    pub fn is(&self, method: &str, host: &str, path: &str, id: &str) {
        let Some(place) = self.places.pulse.place(self.number()) else { return };
        let texts = [method, id, host, path];
        let lengths = texts.map(|text| text.len().min(usize::from(u16::MAX)));
        // Who still reads what was here before sees that it is over.
        fence(Release);
        for (text, (words, bytes)) in texts.into_iter().zip(ranges(lengths)) {
            for (word, bytes) in place[words].iter().zip(text.as_bytes()[..bytes].chunks(8)) {
                let mut padded = [0; 8];
                padded[..bytes.len()].copy_from_slice(bytes);
                word.store(u64::from_le_bytes(padded), Relaxed);
            }
        }
        let [a, b, c, d] = lengths.map(|length| length as u64);
        place[0].store(a | b << 16 | c << 32 | d << 48, Release);
    }

    /// Gives it its turn.
    pub fn turn<T>(&self, work: impl FnOnce() -> T) -> T {
        let turn = &self.places.pulse.turn;
        turn.store(self.turn, Release);
        let done = work();
        turn.store(0, Relaxed);
        done
    }

    /// Drives `work`, turn by turn.
    pub async fn drive<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|cx| self.turn(|| work.as_mut().poll(cx))).await
    }

    fn number(&self) -> u32 {
        self.turn as u32 - 1
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // A panic may have ended its turn.
        let turn = &self.places.pulse.turn;
        if turn.load(Relaxed) == self.turn {
            turn.store(0, Relaxed);
        }
        self.places.free.borrow_mut().push(self.number());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> (Arc<Pulse>, Rc<Places>) {
        let pulse = Arc::new(Pulse::default());
        (pulse.clone(), Places::new(pulse))
    }

    #[test]
    fn a_request_is_named_while_it_has_its_turn_and_no_longer() {
        let (pulse, places) = places();
        let named = places.take();
        named.is("GET", "blog.example", "/a-post/", "0123456789abcdef0123456789abcdef");
        assert_eq!(pulse.request(), None);
        let seen = named.turn(|| pulse.request()).unwrap();
        assert_eq!((seen.method.as_str(), seen.host.as_str()), ("GET", "blog.example"));
        assert_eq!((seen.path.as_str(), seen.id.as_str()), ("/a-post/", "0123456789abcdef0123456789abcdef"));
        assert_eq!(pulse.request(), None);
    }

    #[test]
    fn a_place_is_used_again_and_says_nothing_of_who_had_it() {
        let (pulse, places) = places();
        let first = places.take();
        first.is("GET", "a.example", "/first", "1");
        drop(first);
        let second = places.take();
        assert_eq!(second.number(), 0);
        assert_eq!(second.turn(|| pulse.request()), None, "it has not said what it is called");
        second.is("POST", "b.example", "/", "2");
        assert_eq!(second.turn(|| pulse.request()).unwrap().method, "POST");
    }

    #[test]
    fn each_of_many_at_a_time_has_a_place_of_its_own() {
        let (pulse, places) = places();
        let all: Vec<Named> = (0..5_000).map(|_| places.take()).collect();
        for (number, named) in all.iter().enumerate() {
            named.is("GET", "a.example", &format!("/{number}"), "id");
        }
        for (number, named) in all.iter().enumerate() {
            assert_eq!(named.turn(|| pulse.request()).unwrap().path, format!("/{number}"));
        }
    }

    #[test]
    fn what_is_very_long_is_cut_and_what_follows_is_not_lost() {
        let (pulse, places) = places();
        let named = places.take();
        let (host, path) = ("h".repeat(300), format!("/{}", "p".repeat(100_000)));
        named.is("GET", &host, &path, &"i".repeat(128));
        let seen = named.turn(|| pulse.request()).unwrap();
        assert_eq!((seen.host.as_str(), seen.id.len()), (&host[..104], 64));
        assert_eq!(seen.path, path[..(WORDS - 1) * 8 - 8 - 104 - 64]);
    }

    #[test]
    fn a_turn_that_a_panic_has_ended_is_over() {
        let (pulse, places) = places();
        let named = places.take();
        named.is("GET", "a.example", "/", "id");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let named = named;
            named.turn(|| panic!("on purpose"))
        }));
        assert!(panicked.is_err());
        assert_eq!(pulse.turn.load(Relaxed), 0);
    }
}
