//! A circuit breaker: when call after call fails, no more are made for a while, so that nobody waits for a back end that
//! is down, and it is not overrun when it comes back. A pure state machine: who uses it brings the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many failures in a row …
const FAILURES: usize = 5;

/// … within this time open it.
const WITHIN: Duration = Duration::from_secs(10);

/// How long it is open at first; each failed trial doubles that.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long it is open at the most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long it is open at the most because the back end asks for it.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// A trial takes less: it is longer than the longest timeout.
const TRIAL: Duration = Duration::from_secs(120);

/// Whether calls are made.
#[derive(Debug)]
pub(super) struct Breaker(State);

#[derive(Debug)]
enum State {
    /// They are. These are the latest failures in a row.
    Closed(VecDeque<Instant>),
    /// They are refused until then.
    Open { until: Instant, pause: Duration },
    /// One is being made, to see whether it goes well.
    Trying { since: Instant, pause: Duration },
}

/// That a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// As any other.
    Plain,
    /// By its outcome it is decided how things go on.
    Trial,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    Failed,
    /// The back end asks to be left alone for so long.
    PutOff(Duration),
}

/// What has changed, for the log: once for each time that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Calls are refused from now on.
    Opened(Duration),
    /// Calls are made again.
    Closed,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self(State::Closed(VecDeque::new()))
    }

    /// Whether calls are refused now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        match self.0 {
            State::Closed(_) => false,
            State::Open { until, .. } => now < until,
            State::Trying { .. } => true,
        }
    }

    /// Whether a call may be made now.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Pass> {
        match self.0 {
            State::Closed(_) => Some(Pass::Plain),
            State::Open { until, pause } if now >= until => {
                self.0 = State::Trying { since: now, pause };
                Some(Pass::Trial)
            }
            // Whoever made it has never said how it went.
            State::Trying { since, pause } if now - since > TRIAL => {
                self.0 = State::Trying { since: now, pause };
                Some(Pass::Trial)
            }
            State::Open { .. } | State::Trying { .. } => None,
        }
    }

    /// Notes how a call ended. One that began before the others failed decides nothing any more.
    pub(super) fn note(&mut self, pass: Pass, outcome: Outcome, now: Instant) -> Option<Change> {
        match (&mut self.0, pass, outcome) {
            (State::Closed(failures), _, Outcome::Good) => {
                failures.clear();
                None
            }
            (State::Closed(failures), _, Outcome::Failed) => {
                failures.push_back(now);
                if failures.len() > FAILURES {
                    failures.pop_front();
                }
                let is_open =
                    failures.len() == FAILURES && failures.front().is_some_and(|first| now - *first <= WITHIN);
                is_open.then(|| self.open(now, FIRST_PAUSE, FIRST_PAUSE))
            }
            (State::Closed(_), _, Outcome::PutOff(time)) => Some(self.open(now, asked(time), FIRST_PAUSE)),
            (State::Trying { .. }, Pass::Trial, Outcome::Good) => {
                *self = Self::new();
                Some(Change::Closed)
            }
            (State::Trying { pause, .. }, Pass::Trial, Outcome::Failed) => {
                let pause = (*pause * 2).min(LONGEST_PAUSE);
                self.open(now, pause, pause);
                None
            }
            (State::Trying { pause, .. }, Pass::Trial, Outcome::PutOff(time)) => {
                let pause = *pause;
                self.open(now, asked(time), pause);
                None
            }
            (State::Open { until, .. }, _, Outcome::PutOff(time)) => {
                *until = (*until).max(now + asked(time));
                None
            }
            (State::Open { .. } | State::Trying { .. }, ..) => None,
        }
    }

    fn open(&mut self, now: Instant, time: Duration, pause: Duration) -> Change {
        self.0 = State::Open {
            until: now + time,
            pause,
        };
        Change::Opened(time)
    }
}

fn asked(time: Duration) -> Duration {
    time.clamp(FIRST_PAUSE, LONGEST_ASKED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// One that has failed so often, each 10 ms after the other.
    fn failed(times: u64) -> (Breaker, Instant) {
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        for time in 0..times {
            let now = start + ms(10 * time);
            assert_eq!(breaker.ask(now), Some(Pass::Plain), "{time}");
            let change = breaker.note(Pass::Plain, Outcome::Failed, now);
            let expected = (time == 4).then_some(Change::Opened(FIRST_PAUSE));
            assert_eq!(change, expected, "{time}");
        }
        (breaker, start + ms(10 * (times - 1)))
    }

    #[test]
    fn the_fifth_failure_in_a_row_opens_it() {
        let (mut breaker, now) = failed(5);
        assert_eq!(breaker.ask(now), None);
        assert_eq!(breaker.ask(now + ms(999)), None);
        assert_eq!(breaker.ask(now + ms(1_000)), Some(Pass::Trial));
        assert_eq!(breaker.ask(now + ms(1_000)), None, "one trial at a time");
        let later = now + TRIAL + ms(1_001);
        assert_eq!(breaker.ask(later), Some(Pass::Trial), "one that is lost is made up for");
        assert_eq!(breaker.ask(later), None);
    }

    #[test]
    fn a_call_that_goes_well_begins_the_count_anew() {
        let (mut breaker, now) = failed(4);
        assert_eq!(breaker.note(Pass::Plain, Outcome::Good, now), None);
        for _ in 0..4 {
            assert_eq!(breaker.note(Pass::Plain, Outcome::Failed, now), None);
        }
        assert_eq!(breaker.ask(now), Some(Pass::Plain));
    }

    #[test]
    fn failures_that_are_far_apart_do_not_open_it() {
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        for time in 0..20 {
            let now = start + ms(2_501 * time);
            assert_eq!(breaker.note(Pass::Plain, Outcome::Failed, now), None, "{time}");
        }
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        for time in 0..5 {
            let change = breaker.note(Pass::Plain, Outcome::Failed, start + ms(2_500 * time));
            assert_eq!(change.is_some(), time == 4);
        }
    }

    #[test]
    fn each_failed_trial_doubles_the_pause_up_to_a_most() {
        let (mut breaker, mut now) = failed(5);
        for pause_s in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(breaker.ask(now + ms(1_000 * pause_s - 1)), None, "{pause_s}");
            now += ms(1_000 * pause_s);
            assert_eq!(breaker.ask(now), Some(Pass::Trial), "{pause_s}");
            assert_eq!(breaker.note(Pass::Trial, Outcome::Failed, now), None);
        }
        now += LONGEST_PAUSE;
        assert_eq!(breaker.ask(now), Some(Pass::Trial));
        assert_eq!(breaker.note(Pass::Trial, Outcome::Good, now), Some(Change::Closed));
        assert_eq!(breaker.ask(now), Some(Pass::Plain));
        for time in 0..5 {
            let change = breaker.note(Pass::Plain, Outcome::Failed, now);
            assert_eq!(change, (time == 4).then_some(Change::Opened(FIRST_PAUSE)), "anew");
        }
    }

    #[test]
    fn what_began_before_decides_nothing_any_more() {
        let (mut breaker, now) = failed(5);
        assert_eq!(breaker.note(Pass::Plain, Outcome::Good, now), None);
        assert_eq!(breaker.note(Pass::Plain, Outcome::Failed, now + ms(900)), None);
        assert_eq!(breaker.ask(now + ms(1_000)), Some(Pass::Trial));
        assert_eq!(breaker.note(Pass::Plain, Outcome::Good, now), None);
        assert_eq!(breaker.ask(now + ms(1_000)), None, "the trial is still under way");
    }

    #[test]
    fn a_back_end_that_asks_for_it_is_left_alone() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        let change = breaker.note(Pass::Plain, Outcome::PutOff(ms(7_000)), now);
        assert_eq!(change, Some(Change::Opened(ms(7_000))));
        assert_eq!(breaker.note(Pass::Plain, Outcome::PutOff(ms(8_000)), now), None);
        assert_eq!(breaker.ask(now + ms(7_999)), None);
        let now = now + ms(8_000);
        assert_eq!(breaker.ask(now), Some(Pass::Trial));
        assert_eq!(breaker.note(Pass::Trial, Outcome::PutOff(ms(86_400_000)), now), None);
        assert_eq!(breaker.ask(now + LONGEST_ASKED - ms(1)), None);
        assert_eq!(breaker.ask(now + LONGEST_ASKED), Some(Pass::Trial), "not for ever");
        assert_eq!(breaker.note(Pass::Trial, Outcome::Good, now), Some(Change::Closed));
    }
}
