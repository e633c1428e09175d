//! What becomes of a request whose attempt ended without a response head.
//!
//! Either it goes back to the gate of its site, or it is answered. It never goes back to an address: the gate
//! decides anew who answers for the site, and that may be nobody for a while. The rule of "at most once" lives
//! here: a request that may change something goes back only if no byte of it can have reached a backend.
//!
//! Once a response head has been delivered to the client there is nothing left to decide, and nobody asks here.

/// How often one request may leave the gate. It only stops a request from circling for ever: a refused connection
/// shuts the gate soon, and the hold timeout ends the wait before this does.
pub const ATTEMPTS_MAX: u32 = 64;

/// How often one request may be handed to a backend. A safe request that ends its backend each time (a page that
/// exhausts its memory) must not be walked through all of them.
pub const HANDED_MAX: u32 = 4;

/// One request, as the attempt that just ended leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its method promises to change nothing: GET, HEAD, OPTIONS, TRACE. See [`is_safe`].
    pub safe: bool,
    /// It has no body, or no byte of it was taken from the client, so that it can be sent from its beginning.
    pub body_untouched: bool,
    /// The lease of this attempt is still good: its epoch was neither fenced nor cut.
    pub lease_good: bool,
    /// Times the request left the gate, this one included.
    pub attempts: u32,
    /// Of these, times that some byte may have reached a backend, this one included.
    pub handed: u32,
}

/// How an attempt ended. It had no response head, or it would not be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is certain that no byte of the request reached the backend.
    NothingSent(Unsent),
    /// Some byte of it may have.
    NoAnswer {
        /// What was seen instead of an answer.
        lost: Lost,
        /// The connection had carried other requests before. If it ends under a request, then most likely
        /// because its idle time was over: that speaks neither against the request nor against the backend.
        reused_connection: bool,
    },
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The connection was refused.
    Refused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// There is no way to the address.
    Unreachable,
    /// There was a connection, but it closed before the request was written to it.
    NotDispatched,
}

/// What was seen instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The connection was reset.
    Reset,
    /// The connection was closed, or what came over it was no answer.
    Closed,
    /// The first byte did not come in time.
    TimedOut,
    /// The lease was cut by a handoff.
    Cut,
}

/// What becomes of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes back to the gate of its site.
    ToTheGate,
    /// It is answered.
    Answer(Answer),
}

/// How a request is answered that does not go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No backend was given anything of it, however often it was tried; the client may send it again.
    NoBackend,
    /// It may change something, and may have: nobody here can know.
    OutcomeUnknown,
    /// The backend broke off. The request changes nothing, but can't be sent again.
    BackendBroken,
    /// The backend is well and did not begin to answer in time.
    FirstByteTimeout,
}

/// Whether the method promises to change nothing (RFC 9110, 9.2.1).
pub fn is_safe(method: &http::Method) -> bool {
    use http::Method;
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Decides.
pub fn decide(attempt: &Attempt, outcome: Outcome) -> Verdict {
    let again = attempt.body_untouched && attempt.attempts < ATTEMPTS_MAX;
    let (lost, reused_connection) = match outcome {
        Outcome::NothingSent(_) if again => return Verdict::ToTheGate,
        Outcome::NothingSent(_) => return Verdict::Answer(Answer::NoBackend),
        Outcome::NoAnswer { lost, reused_connection } => (lost, reused_connection),
    };
    if !attempt.safe {
        return Verdict::Answer(Answer::OutcomeUnknown);
    }
    match lost {
        // A slow page of a well backend: sending it again would only make the backend slower.
        Lost::TimedOut if attempt.lease_good => return Verdict::Answer(Answer::FirstByteTimeout),
        // Not the request's doing, and each of them takes a handoff or a connection that was idle: these can't circle.
        Lost::Cut => {}
        Lost::Reset | Lost::Closed if reused_connection => {}
        Lost::Reset | Lost::Closed | Lost::TimedOut => {
            if attempt.handed >= HANDED_MAX {
                return Verdict::Answer(Answer::BackendBroken);
            }
        }
    }
    if again { Verdict::ToTheGate } else { Verdict::Answer(Answer::BackendBroken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSENT: [Unsent; 4] =
        [Unsent::Refused, Unsent::ConnectTimeout, Unsent::Unreachable, Unsent::NotDispatched];
    const LOST: [Lost; 4] = [Lost::Reset, Lost::Closed, Lost::TimedOut, Lost::Cut];

    /// Every combination there is, with the counts at, below and above their limits.
    fn every_case() -> Vec<(Attempt, Outcome)> {
        let mut outcomes: Vec<Outcome> = UNSENT.into_iter().map(Outcome::NothingSent).collect();
        for lost in LOST {
            for reused_connection in [false, true] {
                outcomes.push(Outcome::NoAnswer { lost, reused_connection });
            }
        }
        let mut cases = Vec::new();
        for flags in 0..8_u8 {
            for attempts in [1, 2, ATTEMPTS_MAX - 1, ATTEMPTS_MAX, ATTEMPTS_MAX + 1, u32::MAX] {
                for handed in [0, 1, HANDED_MAX - 1, HANDED_MAX, HANDED_MAX + 1, u32::MAX] {
                    let attempt = Attempt {
                        safe: flags & 1 != 0,
                        body_untouched: flags & 2 != 0,
                        lease_good: flags & 4 != 0,
                        attempts,
                        handed,
                    };
                    cases.extend(outcomes.iter().map(|&outcome| (attempt, outcome)));
                }
            }
        }
        assert_eq!(cases.len(), 8 * 36 * 12);
        cases
    }

    fn goes_back(attempt: &Attempt, outcome: Outcome) -> bool {
        decide(attempt, outcome) == Verdict::ToTheGate
    }

    #[test]
    fn an_unsafe_request_goes_back_only_if_no_byte_of_it_can_have_reached_a_backend() {
        let (mut back, mut unknown) = (0, 0);
        for (attempt, outcome) in every_case().into_iter().filter(|(attempt, _)| !attempt.safe) {
            match outcome {
                Outcome::NothingSent(_) => back += u32::from(goes_back(&attempt, outcome)),
                Outcome::NoAnswer { .. } => {
                    assert_eq!(
                        decide(&attempt, outcome),
                        Verdict::Answer(Answer::OutcomeUnknown),
                        "{attempt:?} {outcome:?}"
                    );
                    unknown += 1;
                }
            }
        }
        assert!(back > 0 && unknown > 0);
    }

    #[test]
    fn a_request_whose_body_was_begun_never_goes_back() {
        for (attempt, outcome) in every_case().into_iter().filter(|(attempt, _)| !attempt.body_untouched) {
            assert!(!goes_back(&attempt, outcome), "{attempt:?} {outcome:?}");
        }
    }

    #[test]
    fn a_request_of_which_nothing_was_sent_waits_for_the_next_backend_whatever_its_method() {
        for (attempt, outcome) in every_case() {
            let fresh = attempt.body_untouched && attempt.attempts < ATTEMPTS_MAX;
            if fresh && matches!(outcome, Outcome::NothingSent(_)) {
                assert!(goes_back(&attempt, outcome), "{attempt:?} {outcome:?}");
            }
        }
    }

    #[test]
    fn a_safe_request_survives_the_death_of_its_backend() {
        let attempt = Attempt { safe: true, body_untouched: true, lease_good: true, attempts: 1, handed: 1 };
        for reused_connection in [false, true] {
            for lost in [Lost::Reset, Lost::Closed, Lost::Cut] {
                assert!(goes_back(&attempt, Outcome::NoAnswer { lost, reused_connection }), "{lost:?}");
            }
        }
    }

    #[test]
    fn a_slow_answer_of_a_good_lease_is_504_and_of_a_lost_one_is_tried_again() {
        for (attempt, outcome) in every_case().into_iter().filter(|(attempt, _)| attempt.safe) {
            if !matches!(outcome, Outcome::NoAnswer { lost: Lost::TimedOut, .. }) {
                assert_ne!(decide(&attempt, outcome), Verdict::Answer(Answer::FirstByteTimeout));
            } else if attempt.lease_good {
                assert_eq!(decide(&attempt, outcome), Verdict::Answer(Answer::FirstByteTimeout));
            } else if attempt.body_untouched && attempt.attempts < ATTEMPTS_MAX && attempt.handed < HANDED_MAX
            {
                assert!(goes_back(&attempt, outcome), "{attempt:?}");
            }
        }
    }

    #[test]
    fn no_request_circles_for_ever() {
        for (attempt, outcome) in every_case() {
            let over = attempt.attempts >= ATTEMPTS_MAX;
            let walked = attempt.handed >= HANDED_MAX
                && matches!(
                    outcome,
                    Outcome::NoAnswer { lost: Lost::Reset | Lost::Closed, reused_connection: false }
                        | Outcome::NoAnswer { lost: Lost::TimedOut, .. }
                );
            if over || walked {
                assert!(!goes_back(&attempt, outcome), "{attempt:?} {outcome:?}");
            }
        }
    }

    #[test]
    fn an_answer_says_that_the_outcome_is_unknown_only_if_it_is() {
        for (attempt, outcome) in every_case() {
            let unknown = decide(&attempt, outcome) == Verdict::Answer(Answer::OutcomeUnknown);
            let can_have_changed_something = !attempt.safe && matches!(outcome, Outcome::NoAnswer { .. });
            assert_eq!(unknown, can_have_changed_something, "{attempt:?} {outcome:?}");
            let nothing_sent = matches!(outcome, Outcome::NothingSent(_));
            let no_backend = decide(&attempt, outcome) == Verdict::Answer(Answer::NoBackend);
            assert!(!no_backend || nothing_sent, "{attempt:?} {outcome:?}");
        }
    }

    #[test]
    fn only_methods_that_promise_to_change_nothing_are_safe() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(is_safe(&method.parse().unwrap()), "{method}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "PURGE", "get"] {
            assert!(!is_safe(&method.parse().unwrap()), "{method}");
        }
    }
}
