//! A gate: through a throttled or debounced channel one event goes at a time.

use std::time::{Duration, Instant};

use super::{Edge, Form};
use crate::event::Draft;

/// What a gate lets through, or keeps waiting.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) draft: Draft,
    pub(super) is_volatile: bool,
}

impl Held {
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.draft.message.bytes()
    }
}

#[derive(Debug)]
pub(super) struct Gate {
    form: Form,
    every: Duration,
    until: Instant,
    held: Option<Held>,
}

impl Gate {
    /// A gate that nothing has gone through lately, with the first event, which may go through at once.
    pub(super) fn new(form: Form, every: Duration, event: Held, now: Instant) -> (Self, Option<Held>) {
        let (held, passed) = match form {
            Form::Throttle(Edge::Leading | Edge::Both) => (None, Some(event)),
            Form::Throttle(Edge::Trailing) | Form::Debounce | Form::Conflate => (Some(event), None),
        };
        let until = now + every;
        let gate = Self {
            form,
            every,
            until,
            held,
        };
        (gate, passed)
    }

    /// Takes an event before the gate's time: it waits in place of the one that waited, or is dropped.
    pub(super) fn take(mut self, event: Held, now: Instant) -> Self {
        match self.form {
            Form::Throttle(Edge::Leading) => {}
            Form::Throttle(Edge::Trailing | Edge::Both) | Form::Conflate => self.held = Some(event),
            Form::Debounce => {
                self.held = Some(event);
                self.until = now + self.every;
            }
        }
        self
    }

    /// The gate's time has come: what waits goes through. None for a gate that is no longer needed.
    pub(super) fn tick(mut self, now: Instant) -> Option<(Self, Held)> {
        let passed = self.held.take()?;
        self.until = now + self.every;
        Some((self, passed))
    }

    /// What waits.
    pub(super) fn into_held(self) -> Option<Held> {
        self.held
    }

    /// Whether its time has come.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    pub(super) fn due(&self) -> Instant {
        self.until
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, Held::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::conformance::draft;

    const EVERY: Duration = Duration::from_millis(100);

    /// What goes through when events come at these times, each with the time at which it does.
    fn trial(form: Form, comes: &[u64]) -> Vec<(u64, u64)> {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let event = |ms: u64| Held {
            draft: draft(&["c"], &ms.to_string()),
            is_volatile: false,
        };
        let number = |held: &Held| held.draft.message.arguments().trim_matches('"').parse().unwrap();
        let mut gate: Option<Gate> = None;
        let mut passed = Vec::new();
        for ms in 0..2_000 {
            if let Some(over) = gate.take_if(|gate| gate.is_over(at(ms)))
                && let Some((next, held)) = over.tick(at(ms))
            {
                passed.push((number(&held), ms));
                gate = Some(next);
            }
            for ms in comes.iter().copied().filter(|come| *come == ms) {
                gate = Some(match gate {
                    Some(gate) => gate.take(event(ms), at(ms)),
                    None => {
                        let (new, first) = Gate::new(form, EVERY, event(ms), at(ms));
                        passed.extend(first.map(|held| (number(&held), ms)));
                        new
                    }
                });
            }
        }
        assert!(gate.is_none(), "a gate that nobody comes through goes away");
        passed
    }

    #[test]
    fn each_edge_lets_through_what_it_says() {
        let comes = [0, 10, 90, 150, 500, 900, 950];
        for (edge, passed) in [
            (Edge::Leading, &[(0, 0), (150, 150), (500, 500), (900, 900)][..]),
            (Edge::Trailing, &[(90, 100), (150, 200), (500, 600), (950, 1_000)]),
            (
                Edge::Both,
                &[(0, 0), (90, 100), (150, 200), (500, 500), (900, 900), (950, 1_000)],
            ),
        ] {
            assert_eq!(trial(Form::Throttle(edge), &comes), passed, "{edge:?}");
        }
    }

    #[test]
    fn a_debounced_event_waits_for_quiet() {
        assert_eq!(
            trial(Form::Debounce, &[0, 50, 140, 239, 500, 700]),
            [(239, 339), (500, 600), (700, 800)]
        );
    }
}
