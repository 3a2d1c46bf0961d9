//! All rounds of one server under one workload.

use crate::round::{Allocations, Connects, Delivery, Figures, Growth, Publishes, Return, Round, Spread, Stalled};
use crate::sequence::Faults;

#[derive(Debug, Default)]
pub(crate) struct Series {
    /// By their numbers: those of one number ran within a minute or so of each other.
    rounds: Vec<(usize, Round)>,
    /// What kept a round from ending.
    pub(crate) failures: Vec<String>,
}

impl Series {
    pub(crate) fn push(&mut self, number: usize, round: Round) {
        self.rounds.push((number, round));
    }

    /// This one's and another one's quiet rounds of the same numbers, each alone.
    pub(crate) fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (Self, Self)> + 'a {
        let alone = |number: usize, round: &Round| Self {
            rounds: vec![(number, round.clone())],
            failures: Vec::new(),
        };
        let quiet = self.rounds.iter().filter(|(_, round)| round.quiet());
        quiet.filter_map(move |(number, round)| {
            let same = |(other, round): &&(usize, Round)| other == number && round.quiet();
            let (_, with) = other.rounds.iter().find(same)?;
            Some((alone(*number, round), alone(*number, with)))
        })
    }

    /// Rounds in which nothing else ran.
    pub(crate) fn quiet_count(&self) -> usize {
        self.rounds.iter().filter(|(_, round)| round.quiet()).count()
    }

    /// The quiet rounds, or all of them where none was quiet.
    fn counted(&self) -> impl Iterator<Item = &Round> {
        let none_quiet = self.quiet_count() == 0;
        let rounds = self.rounds.iter().map(|(_, round)| round);
        rounds.filter(move |round| none_quiet || round.quiet())
    }

    pub(crate) fn spread(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.counted().filter_map(figure))
    }

    pub(crate) fn delivery(&self, figure: impl Fn(&Delivery) -> f64) -> Option<Spread> {
        self.spread(|round| match &round.figures {
            Figures::Delivery(delivery) => Some(figure(delivery)),
            _ => None,
        })
    }

    pub(crate) fn growth(&self, figure: impl Fn(&Growth) -> f64) -> Option<Spread> {
        self.spread(|round| match &round.figures {
            Figures::Growth(growth) => Some(figure(growth)),
            _ => None,
        })
    }

    pub(crate) fn stalled(&self, figure: impl Fn(&Stalled) -> f64) -> Option<Spread> {
        self.spread(|round| match &round.figures {
            Figures::Stalled(stalled) => Some(figure(stalled)),
            _ => None,
        })
    }

    pub(crate) fn connects(&self, figure: impl Fn(&Connects) -> f64) -> Option<Spread> {
        self.spread(|round| match &round.figures {
            Figures::Connects(connects) => Some(figure(connects)),
            _ => None,
        })
    }

    pub(crate) fn allocations(&self, figure: impl Fn(&Allocations) -> f64) -> Option<Spread> {
        self.spread(|round| match &round.figures {
            Figures::Allocations(allocations) => Some(figure(allocations)),
            _ => None,
        })
    }

    pub(crate) fn idle_kib(&self) -> Option<Spread> {
        self.spread(|round| match round.figures {
            Figures::IdleKib(kib) => Some(kib),
            _ => None,
        })
    }

    pub(crate) fn publishes(&self, figure: impl Fn(&Publishes) -> f64) -> Option<Spread> {
        self.spread(|round| match &round.figures {
            Figures::Publishes(publishes) => Some(figure(publishes)),
            _ => None,
        })
    }

    pub(crate) fn comeback(&self, figure: impl Fn(&Return) -> f64) -> Option<Spread> {
        self.spread(|round| match &round.figures {
            Figures::Return(comeback) => Some(figure(comeback)),
            _ => None,
        })
    }

    /// Of every round, quiet or not: a fault is a fault.
    pub(crate) fn faults(&self) -> Faults {
        let mut sum = Faults::default();
        for (_, round) in &self.rounds {
            sum.add(round.faults);
        }
        sum
    }

    /// How many rounds count, how many were dropped, and whether any was quiet.
    pub(crate) fn rounds_cell(&self) -> String {
        let quiet = self.quiet_count();
        match self.rounds.len() - quiet {
            0 => quiet.to_string(),
            noisy if quiet == 0 => format!("{noisy}, **none quiet**"),
            dropped => format!("{quiet}, {dropped} dropped"),
        }
    }
}
