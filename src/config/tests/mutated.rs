//! Whatever is in the file, it is read or refused: nothing panics.

use super::*;

const ROUNDS: u32 = 2_000;

/// A small generator (xorshift64*), so that a seed alone repeats a run.
pub(in crate::config) struct Dice(u64);

impl Dice {
    pub(in crate::config) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }
}

/// `GHOSTPIN_SEED=N` repeats a run.
#[test]
fn a_mutated_example_never_panics() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/ghostpin.toml");
    let example = fs::read_to_string(&path).unwrap();
    let mut dice = seeded();
    let (mut read, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let mut text: Vec<char> = example.chars().collect();
        for _ in 0..=dice.roll(4) {
            mutate(&mut text, &mut dice);
        }
        let text: String = text.into_iter().collect();
        match Config::parse(&text, &path) {
            Ok(_) => read += 1,
            Err(errors) => {
                assert!(!errors.to_string().is_empty());
                refused += 1;
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 0 && refused > 0, "mutations that all end alike test nothing");
}

/// By `GHOSTPIN_SEED`, or else another one each time; it is printed.
pub(in crate::config) fn seeded() -> Dice {
    let seed = std::env::var("GHOSTPIN_SEED").ok().map_or_else(now, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    Dice(seed.max(1))
}

pub(in crate::config) fn mutate(text: &mut Vec<char>, dice: &mut Dice) {
    const ODD: [char; 16] =
        ['"', '[', ']', '{', '}', '=', '\n', '.', ',', '\0', '-', '9', '*', '\u{fc}', '\u{1F47B}', ' '];
    if text.is_empty() {
        return;
    }
    let at = dice.roll(text.len());
    let end = (at + dice.roll(40)).min(text.len());
    match dice.roll(5) {
        0 => text[at] = ODD[dice.roll(ODD.len())],
        1 => text.insert(at, ODD[dice.roll(ODD.len())]),
        2 => drop(text.drain(at..end)),
        3 => {
            let copy = text[at..end].to_vec();
            let to = dice.roll(text.len());
            text.splice(to..to, copy);
        }
        _ => {
            // Whole lines change places, so that keys come under other tables.
            let mut lines: Vec<&[char]> = text.split(|c| *c == '\n').collect();
            let (a, b) = (dice.roll(lines.len()), dice.roll(lines.len()));
            lines.swap(a, b);
            *text = lines.join(&'\n');
        }
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_nanos() as u64
}
