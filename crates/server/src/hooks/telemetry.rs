//! What the metrics tell of the calls of the back end.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds: from a back end beside the server to one that takes its whole time.
const BOUNDS_S: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How a call went.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// With an answer that could be used, also where it was a no.
    Answered,
    /// Without one, or with one that could not be used.
    Failed,
    /// It was not made: too many were under way.
    NoPlace,
    /// It was not made: the back end had failed too often just before.
    HeldBack,
}

/// Counts and times of calls.
#[derive(Clone)]
pub(super) struct Telemetry {
    calls: Family<[(&'static str, &'static str); 2], Counter>,
    seconds: Family<[(&'static str, &'static str); 1], Histogram>,
}

impl Telemetry {
    pub(super) fn new() -> Self {
        Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BOUNDS_S)),
        }
    }

    /// Notes a call that took so long, if it was made.
    pub(super) fn note(&self, hook: &'static str, outcome: Outcome, took: Duration) {
        let label = outcome.label();
        self.calls.get_or_create(&[("hook", hook), ("outcome", label)]).inc();
        if matches!(outcome, Outcome::Answered | Outcome::Failed) {
            let took = took.as_secs_f64();
            self.seconds.get_or_create(&[("hook", hook)]).observe(took);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Calls of the back end, by how they went";
        registry.register("tidings_hook_calls", help, self.calls.clone());
        let help = "What a call of the back end took, from when there was a place for it to its answer or its end";
        registry.register("tidings_hook_seconds", help, self.seconds.clone());
    }
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::NoPlace => "no_place",
            Self::HeldBack => "held_back",
        }
    }
}
