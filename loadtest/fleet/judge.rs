//! What must be true of one history that all edges have written together. One function a guarantee.

use std::collections::{BTreeMap, BTreeSet};

use ghostpin::demo::deeds::{Deeds, handed_over_twice};
use ghostpin::demo::history::{Answer, Record};

/// What is wrong with a history; all of it empty if nothing is. Requests are named by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// G1: an epoch under which two instances have answered.
    pub shared_epochs: Vec<u64>,
    /// G2: answers of an epoch whose head came after the first head of a newer one, at any edge.
    pub late_heads: Vec<u64>,
    /// G2, as readers notice it: they began after somebody had seen the newer state, and were shown the older one.
    pub two_state_reads: Vec<u64>,
    /// G3: writes that were handed to an instance twice, or to two of them.
    pub handed_over_twice: Vec<u64>,
    /// G5: requests that were let through under an epoch after a newer one had been given out.
    pub epochs_back: Vec<u64>,
}

impl Verdict {
    /// Nothing is wrong.
    #[cfg(test)]
    fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// Judges what readers saw and what instances did.
pub fn judge(records: &[Record], deeds: &[Deeds]) -> Verdict {
    Verdict {
        shared_epochs: shared_epochs(records),
        late_heads: late_heads(records),
        two_state_reads: two_state_reads(records),
        handed_over_twice: handed_over_twice(deeds),
        epochs_back: epochs_back(records),
    }
}

fn told(records: &[Record]) -> Vec<(&Record, &Answer, u64)> {
    let mut told: Vec<_> = records
        .iter()
        .filter_map(|record| {
            let answer = record.answer()?;
            Some((record, answer, answer.epoch?))
        })
        .collect();
    told.sort_by_key(|(_, answer, _)| answer.head);
    told
}

fn shared_epochs(records: &[Record]) -> Vec<u64> {
    let mut by_epoch: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for (_, answer, epoch) in told(records) {
        by_epoch.entry(epoch).or_default().extend(answer.instance.as_deref());
    }
    by_epoch.into_iter().filter(|(_, instances)| instances.len() > 1).map(|(epoch, _)| epoch).collect()
}

fn late_heads(records: &[Record]) -> Vec<u64> {
    let (mut newest, mut late) = (0, Vec::new());
    for (record, _, epoch) in told(records) {
        if epoch < newest {
            late.push(record.number);
        }
        newest = newest.max(epoch);
    }
    late
}

/// What is known of an old head: which one, and the first of a newer epoch before it.
pub fn told_late(records: &[Record], number: u64) -> Option<(&Record, &Record)> {
    let told = told(records);
    let (late, answer, epoch) = told.iter().find(|(record, ..)| record.number == number)?;
    let newer = told.iter().find(|(_, before, newer)| newer > epoch && before.head <= answer.head);
    newer.map(|(newer, ..)| (*late, *newer))
}

fn two_state_reads(records: &[Record]) -> Vec<u64> {
    let told = told(records);
    let shown_older = |(record, _, epoch): &(&Record, &Answer, u64)| {
        let seen_before = told.iter().take_while(|(_, answer, _)| answer.head < record.started);
        seen_before.map(|(_, _, epoch)| *epoch).max().is_some_and(|newest| newest > *epoch)
    };
    // The newest epoch before each moment grows with it, so only those that are late at all need the long look.
    let late: BTreeSet<u64> = late_heads(records).into_iter().collect();
    told.iter()
        .filter(|(record, ..)| late.contains(&record.number))
        .filter(|one| shown_older(one))
        .map(|(record, ..)| record.number)
        .collect()
}

fn epochs_back(records: &[Record]) -> Vec<u64> {
    // Whoever ended before another began was let through before it.
    let mut ends: Vec<(&Record, u64)> =
        told(records).into_iter().map(|(record, _, epoch)| (record, epoch)).collect();
    let mut begins = ends.clone();
    ends.sort_by_key(|(record, _)| record.ended);
    begins.sort_by_key(|(record, _)| record.started);
    let (mut ended, mut newest, mut back) = (ends.into_iter().peekable(), 0, Vec::new());
    for (record, epoch) in begins {
        while let Some((_, before)) = ended.next_if(|(before, _)| before.ended < record.started) {
            newest = newest.max(before);
        }
        if epoch < newest {
            back.push(record.number);
        }
    }
    back
}

#[cfg(test)]
mod tests {
    use ghostpin::demo::clock::Moment;
    use ghostpin::demo::deeds::Event;
    use ghostpin::demo::history::{Kind, Outcome};

    use super::*;

    /// A request that began, had its head, and ended then, from this instance under this epoch.
    fn read(number: u64, [started, head, ended]: [u64; 3], instance: &str, epoch: u64) -> Record {
        let answer = Answer {
            head: Moment(head),
            status: 200,
            instance: Some(instance.to_owned()),
            epoch: Some(epoch),
            retry_after: None,
            complaint: String::new(),
        };
        let (started, ended) = (Moment(started), Moment(ended));
        Record {
            number,
            kind: Kind::Read,
            intended: started,
            started,
            ended,
            outcome: Outcome::Answered(answer),
        }
    }

    #[test]
    fn a_history_that_moves_on_is_clean() {
        let records = [
            read(1, [0, 5, 6], "A", 1),
            read(2, [1, 7, 30], "A", 1),
            read(3, [8, 9, 10], "B", 2),
            read(4, [11, 12, 13], "A", 3),
        ];
        assert!(judge(&records, &[]).is_clean());
    }

    #[test]
    fn two_instances_under_one_epoch_are_found() {
        let records = [read(1, [0, 5, 6], "A", 1), read(2, [1, 7, 8], "B", 1)];
        assert_eq!(judge(&records, &[]).shared_epochs, [1]);
    }

    #[test]
    fn an_old_head_after_a_new_one_is_found_though_its_reader_began_before() {
        let records = [read(1, [0, 9, 10], "A", 1), read(2, [1, 5, 6], "B", 2)];
        let verdict = judge(&records, &[]);
        assert_eq!((verdict.late_heads, verdict.two_state_reads), (vec![1], vec![]));
        assert_eq!(told_late(&records, 1), Some((&records[0], &records[1])));
        assert_eq!(told_late(&records, 2), None);
    }

    #[test]
    fn a_reader_who_is_shown_an_older_state_than_one_that_was_seen_before_is_found() {
        let records = [read(1, [0, 5, 6], "B", 2), read(2, [7, 8, 9], "A", 1)];
        let verdict = judge(&records, &[]);
        assert_eq!(
            (verdict.late_heads, verdict.two_state_reads, verdict.epochs_back),
            (vec![2], vec![2], vec![2])
        );
    }

    #[test]
    fn a_write_that_two_instances_were_given_is_found() {
        let given = |request| Event::Begun {
            request,
            reader: Some(7),
            method: "POST".to_owned(),
            at: Moment(request),
        };
        let deeds = [Deeds::from_events([given(1)]), Deeds::from_events([given(2)])];
        assert_eq!(judge(&[], &deeds).handed_over_twice, [7]);
    }
}
