//! What must always hold, for all edges together: judged by looking back at the history, one judge for each law.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::history::{Event, Under, What};

/// How long after the last fault each edge has to serve each site.
pub(crate) const REST_MAX: Duration = Duration::from_secs(40);

/// A law, and how it was broken for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) law: &'static str,
    pub(crate) at: Duration,
    pub(crate) why: String,
}

type Judge = fn(&[Event]) -> Result<(), (Duration, String)>;

/// The laws.
pub(crate) const LAWS: [(&str, Judge); 7] = [
    ("G1 nothing is handed over once a newer epoch has begun", one_backend),
    ("G1 two epochs never have requests at once", one_epoch_out),
    ("G2 no answer of an older epoch after one of a newer", no_going_back),
    ("G5 epochs grow, and each has one backend", epochs_grow),
    ("G5 a pin is durable before it is served", durable_first),
    ("all sites are served everywhere when the faults are over", comes_to_rest),
    ("nobody is given an answer that was asked for before he came", shared_forward),
];

/// All that are broken.
pub(crate) fn judge(history: &[Event]) -> Vec<Broken> {
    let broken =
        |(law, judge): (&'static str, Judge)| judge(history).err().map(|(at, why)| Broken { law, at, why });
    LAWS.into_iter().filter_map(broken).collect()
}

fn one_backend(history: &[Event]) -> Result<(), (Duration, String)> {
    let mut begun: BTreeMap<&str, &Under> = BTreeMap::new();
    for event in history {
        match &event.what {
            What::Written { under, serves: true } | What::Opened(under) => {
                let newest = begun.entry(&under.site).or_insert(under);
                if newest.epoch < under.epoch {
                    *newest = under;
                }
            }
            What::Handed(under) | What::Carried(under) => {
                let newest = begun.get(under.site.as_str()).filter(|newest| newest.epoch > under.epoch);
                if let Some(newest) = newest {
                    return Err((event.at, format!("edge {:?}: {under:?} after {newest:?}", event.edge)));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn one_epoch_out(history: &[Event]) -> Result<(), (Duration, String)> {
    let mut out: BTreeMap<&str, BTreeMap<Option<usize>, u64>> = BTreeMap::new();
    for event in history {
        let What::Out { site, epoch } = &event.what else { continue };
        let out = out.entry(site).or_default();
        match epoch {
            Some(epoch) => drop(out.insert(event.edge, *epoch)),
            None => drop(out.remove(&event.edge)),
        }
        if out.values().collect::<BTreeSet<_>>().len() > 1 {
            return Err((event.at, format!("{site}: {out:?}")));
        }
    }
    Ok(())
}

fn no_going_back(history: &[Event]) -> Result<(), (Duration, String)> {
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    for event in history {
        let What::Delivered { under, .. } = &event.what else { continue };
        let newest = newest.entry(&under.site).or_default();
        if under.epoch < *newest {
            return Err((event.at, format!("edge {:?}: {under:?} after epoch {newest}", event.edge)));
        }
        *newest = under.epoch;
    }
    Ok(())
}

fn epochs_grow(history: &[Event]) -> Result<(), (Duration, String)> {
    let mut newest: BTreeMap<&str, &Under> = BTreeMap::new();
    for event in history {
        let What::Written { under, .. } = &event.what else { continue };
        let before = newest.insert(&under.site, under);
        let goes_back = |before: &&Under| {
            before.epoch > under.epoch || before.epoch == under.epoch && before.backend != under.backend
        };
        if let Some(before) = before.filter(goes_back) {
            return Err((event.at, format!("{under:?} after {before:?}")));
        }
    }
    Ok(())
}

fn durable_first(history: &[Event]) -> Result<(), (Duration, String)> {
    let mut written: BTreeSet<(&str, u64, &str)> = BTreeSet::new();
    for event in history {
        match &event.what {
            What::Written { under, serves: true } => {
                written.insert((&under.site, under.epoch, &under.backend));
            }
            What::Opened(under) | What::Handed(under) | What::Carried(under)
                if !written.contains(&(&under.site, under.epoch, &under.backend)) =>
            {
                return Err((event.at, format!("edge {:?}: {under:?} was never written", event.edge)));
            }
            _ => {}
        }
    }
    Ok(())
}

fn shared_forward(history: &[Event]) -> Result<(), (Duration, String)> {
    let is_older = |event: &&Event| matches!(event.what, What::Shared { made, asked } if made < asked);
    history.iter().find(is_older).map_or(Ok(()), |event| Err((event.at, format!("{:?}", event.what))))
}

/// What came after the last fault.
pub(crate) struct Rest<'a> {
    pub(crate) since: Duration,
    /// Which edges still have to serve which sites.
    pub(crate) missing: BTreeSet<(usize, &'a str)>,
    /// When the last one has begun to.
    pub(crate) last: Duration,
}

/// `None` if the faults are not over.
pub(crate) fn rest(history: &[Event]) -> Option<Rest<'_>> {
    let mut rest: Option<Rest<'_>> = None;
    for event in history {
        match (&event.what, &mut rest) {
            (What::Rest { edges, sites }, _) => {
                let all = (0..*edges).flat_map(|edge| sites.iter().map(move |site| (edge, site.as_str())));
                rest = Some(Rest { since: event.at, missing: all.collect(), last: event.at });
            }
            (What::Delivered { under, asked }, Some(rest)) if *asked >= rest.since => {
                let Some(edge) = event.edge else { continue };
                if rest.missing.remove(&(edge, &under.site)) {
                    rest.last = event.at;
                }
            }
            _ => {}
        }
    }
    rest
}

fn comes_to_rest(history: &[Event]) -> Result<(), (Duration, String)> {
    let Some(Rest { since, missing, last }) = rest(history) else {
        return Err((Duration::ZERO, "the faults never ended".to_owned()));
    };
    match missing.is_empty() && last <= since + REST_MAX {
        true => Ok(()),
        false => Err((last, format!("not within {REST_MAX:?} since {since:?}: {missing:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn under(epoch: u64, backend: &str) -> Under {
        Under { site: "blog".to_owned(), epoch, backend: backend.to_owned() }
    }

    fn written(epoch: u64, backend: &str) -> What {
        What::Written { under: under(epoch, backend), serves: true }
    }

    fn delivered(epoch: u64, backend: &str) -> What {
        What::Delivered { under: under(epoch, backend), asked: Duration::ZERO }
    }

    fn out(epoch: Option<u64>) -> What {
        What::Out { site: "blog".to_owned(), epoch }
    }

    fn faults_are_over() -> What {
        What::Rest { edges: 2, sites: ["blog".to_owned()].into() }
    }

    /// One thing a second.
    fn history(all: &[(usize, What)]) -> Vec<Event> {
        let event = |(second, (edge, what)): (u64, &(usize, What))| Event {
            at: Duration::from_secs(second),
            edge: Some(*edge),
            what: what.clone(),
        };
        (0..).zip(all).map(event).collect()
    }

    /// A whole story in which all is well, with something in the middle of it.
    fn with(middle: &[(usize, What)]) -> Vec<Event> {
        let late = What::Delivered { under: under(2, "b"), asked: Duration::from_secs(3600) };
        let mut all = history(
            &[
                &[
                    (0, written(1, "a")),
                    (0, What::Opened(under(1, "a"))),
                    (0, out(Some(1))),
                    (0, What::Handed(under(1, "a"))),
                    (0, delivered(1, "a")),
                    (0, out(None)),
                    (0, What::Written { under: under(1, "a"), serves: false }),
                    (0, written(2, "b")),
                    (1, What::Opened(under(2, "b"))),
                    (1, out(Some(2))),
                    (1, What::Handed(under(2, "b"))),
                    (1, delivered(2, "b")),
                ][..],
                middle,
                &[(0, faults_are_over()), (0, late.clone()), (1, late)],
            ]
            .concat(),
        );
        let begin = all.len() - 3;
        for event in &mut all[begin..] {
            event.at = Duration::from_secs(3600);
        }
        all
    }

    fn breaks(history: &[Event]) -> Vec<&'static str> {
        judge(history).into_iter().map(|broken| broken.law).collect()
    }

    #[test]
    fn a_history_in_which_all_is_well_breaks_no_law() {
        assert_eq!(breaks(&with(&[])), [""; 0]);
    }

    #[test]
    fn a_request_that_is_handed_over_under_an_old_epoch_is_seen() {
        assert_eq!(breaks(&with(&[(0, What::Handed(under(1, "a")))])), [LAWS[0].0]);
        assert_eq!(breaks(&with(&[(0, What::Carried(under(1, "a")))])), [LAWS[0].0]);
    }

    #[test]
    fn two_epochs_with_requests_at_once_are_seen() {
        assert_eq!(breaks(&with(&[(0, out(Some(1)))])), [LAWS[1].0]);
    }

    #[test]
    fn an_old_answer_after_a_new_one_is_seen() {
        assert_eq!(breaks(&with(&[(0, delivered(1, "a"))])), [LAWS[2].0]);
    }

    #[test]
    fn an_answer_that_is_older_than_its_reader_is_seen() {
        let shared = |made, asked| {
            let second = Duration::from_secs;
            vec![(0, What::Shared { made: second(made), asked: second(asked) })]
        };
        assert_eq!(breaks(&with(&shared(3, 3))), [""; 0]);
        assert_eq!(breaks(&with(&shared(2, 3))), [LAWS[6].0]);
    }

    #[test]
    fn an_epoch_that_falls_or_has_two_backends_is_seen() {
        assert_eq!(breaks(&with(&[(0, written(1, "a"))])), [LAWS[3].0]);
        assert_eq!(breaks(&with(&[(0, written(2, "a"))])), [LAWS[3].0]);
    }

    #[test]
    fn a_pin_that_is_served_before_it_is_written_is_seen() {
        assert_eq!(breaks(&with(&[(0, What::Opened(under(3, "a")))])), [LAWS[4].0]);
        assert_eq!(breaks(&with(&[(0, What::Handed(under(2, "a")))])), [LAWS[4].0]);
    }

    #[test]
    fn an_edge_that_does_not_serve_when_all_is_over_is_seen() {
        let mut one_is_missing = with(&[]);
        one_is_missing.pop();
        assert_eq!(breaks(&one_is_missing), [LAWS[5].0]);
        let mut too_late = with(&[]);
        too_late.last_mut().unwrap().at += REST_MAX + Duration::from_secs(1);
        assert_eq!(breaks(&too_late), [LAWS[5].0]);
    }
}
