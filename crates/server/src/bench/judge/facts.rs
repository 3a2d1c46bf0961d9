//! What follows from all publishes and all readers together: which events there are, where, and whether each was answered rightly.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::record::{ChannelIndex, ContentId, Moment, Outcome, Publish, Record, What};
use super::{Kind, Publishes, Violation};

/// How long after its end an attempt without an answer may still have been carried out: a server that was stopped
/// for a while finds the request when it goes on.
pub(super) const LATE: Moment = 30_000_000;

/// An event that is known to have got its id, by an answer or because somebody got it.
pub(super) struct Stored {
    pub(super) content: ContentId,
    pub(super) time_ms: Option<u64>,
}

/// What follows from all publishes and all readers together.
pub(super) struct Facts<'a> {
    pub(super) record: &'a Record,
    pub(super) publishes: HashMap<ContentId, &'a Publish>,
    pub(super) stored: BTreeMap<u64, Stored>,
    /// The ids of each channel, rising.
    pub(super) channels: Vec<Vec<u64>>,
}

impl<'a> Facts<'a> {
    pub(super) fn gather(record: &'a Record, violations: &mut Vec<Violation>) -> Self {
        let mut facts = Facts {
            record,
            publishes: record
                .publishes
                .iter()
                .map(|publish| (publish.content, publish))
                .collect(),
            stored: BTreeMap::new(),
            channels: vec![Vec::new(); record.channels.len()],
        };
        for publish in &record.publishes {
            for attempt in &publish.attempts {
                if let Outcome::Answered { seq, .. } = attempt.outcome {
                    facts.note(seq, publish.content, None, None, attempt.ended, violations);
                }
            }
        }
        for (index, reader) in record.readers.iter().enumerate() {
            for entry in &reader.entries {
                if let What::Event {
                    seq, content, time_ms, ..
                } = entry.what
                {
                    // What nobody published is told when the reader is judged.
                    if facts.publishes.contains_key(&content) {
                        facts.note(seq, content, Some(time_ms), Some(index), entry.at, violations);
                    }
                }
            }
        }
        for (seq, stored) in &facts.stored {
            for channel in &facts.publishes[&stored.content].channels {
                facts.channels[usize::from(*channel)].push(*seq);
            }
        }
        facts
    }

    fn note(
        &mut self,
        seq: u64,
        content: ContentId,
        time_ms: Option<u64>,
        reader: Option<usize>,
        at: Moment,
        violations: &mut Vec<Violation>,
    ) {
        let known = self.stored.entry(seq).or_insert(Stored { content, time_ms });
        let mut flaw = |text| {
            violations.push(Violation {
                kind: Kind::Flaw,
                reader,
                at,
                seq: Some(seq),
                text,
            });
        };
        if known.content != content {
            flaw(format!(
                "the id stands for {content} here and for {} elsewhere",
                known.content
            ));
            return;
        }
        match (known.time_ms, time_ms) {
            (Some(known), Some(time)) if known != time => {
                flaw(format!("its time is {time} here and {known} elsewhere"));
            }
            (None, Some(_)) => known.time_ms = time_ms,
            _ => {}
        }
    }

    pub(super) fn is_durable(&self, publish: &Publish) -> bool {
        let durable = |channel: &ChannelIndex| self.record.channels[usize::from(*channel)].durable;
        publish.channels.iter().any(durable)
    }

    pub(super) fn was_killed_between(&self, from: Moment, to: Moment) -> bool {
        self.record.kills.iter().any(|kill| (from..=to).contains(kill))
    }

    /// Whether a content may have two ids: its key was forgotten with the memory it was kept in.
    pub(super) fn may_be_stored_twice(&self, publish: &Publish) -> bool {
        publish.attempts.len() > 1
            && !self.is_durable(publish)
            && self.was_killed_between(publish.began(), publish.ended())
    }

    /// What the answers say, by themselves.
    pub(super) fn judge_publishes(&self, violations: &mut Vec<Violation>) {
        for publish in self.publishes.values() {
            let durable = self.is_durable(publish);
            let mut first: Option<(u64, Moment)> = None;
            for (number, attempt) in publish.attempts.iter().enumerate() {
                let Outcome::Answered {
                    seq,
                    duplicate,
                    durability,
                } = &attempt.outcome
                else {
                    continue;
                };
                let mut flaw = |kind, text| {
                    violations.push(Violation {
                        kind,
                        reader: None,
                        at: attempt.ended,
                        seq: Some(*seq),
                        text: format!("{}: {text}", publish.content),
                    });
                };
                if number == 0 && *duplicate {
                    flaw(Kind::Flaw, "the first attempt was called a duplicate".to_owned());
                }
                if durability
                    .as_deref()
                    .is_some_and(|level| durable == (level == "memory"))
                {
                    flaw(Kind::Flaw, format!("its durability is not {durability:?}"));
                }
                match first {
                    Some((known, since))
                        if !self.may_be_stored_twice(publish) || !self.was_killed_between(since, attempt.ended) =>
                    {
                        if known != *seq {
                            flaw(Kind::Repeated, format!("the key was answered with seq {known} before"));
                        } else if !duplicate {
                            flaw(Kind::Flaw, "a repeated key was not called a duplicate".to_owned());
                        }
                    }
                    Some(_) => {}
                    None => first = Some((*seq, attempt.began)),
                }
            }
        }
    }

    /// What was answered before the other was begun has the lower id; a higher id has no earlier time.
    pub(super) fn judge_placement(&self, violations: &mut Vec<Violation>) {
        let mut begun: Vec<(Moment, u64, ContentId)> = Vec::new();
        let mut answered: Vec<(Moment, u64, ContentId)> = Vec::new();
        for publish in self.publishes.values() {
            let answer = publish.attempts.iter().find_map(|attempt| match attempt.outcome {
                Outcome::Answered { seq, .. } => Some((attempt.ended, seq, publish.content)),
                Outcome::Unanswered => None,
            });
            if let Some(answer) = answer {
                begun.push((publish.began(), answer.1, publish.content));
                answered.push(answer);
            }
        }
        begun.sort_unstable();
        answered.sort_unstable();
        let mut answered = answered.into_iter().peekable();
        let mut highest = (
            0,
            ContentId {
                publisher: 0,
                number: 0,
            },
        );
        for (began, seq, content) in begun {
            while let Some((_, seq, content)) = answered.next_if(|(ended, ..)| *ended < began) {
                highest = highest.max((seq, content));
            }
            if seq < highest.0 {
                let text = format!(
                    "{content} was published when {} had been answered with seq {} and has a lower id",
                    highest.1, highest.0
                );
                violations.push(Violation {
                    kind: Kind::Disordered,
                    reader: None,
                    at: began,
                    seq: Some(seq),
                    text,
                });
            }
        }
        let mut latest = 0;
        for (seq, stored) in &self.stored {
            let Some(time_ms) = stored.time_ms else { continue };
            if time_ms < latest {
                violations.push(Violation {
                    kind: Kind::Flaw,
                    reader: None,
                    at: self.publishes[&stored.content].began(),
                    seq: Some(*seq),
                    text: format!("its time {time_ms} is before that of an event with a lower id, {latest}"),
                });
            }
            latest = latest.max(time_ms);
        }
    }

    pub(super) fn count_publishes(&self) -> Publishes {
        let delivered: HashSet<ContentId> = self.stored.values().map(|stored| stored.content).collect();
        let mut counts = Publishes::default();
        for publish in self.publishes.values() {
            counts.contents += 1;
            counts.attempts += publish.attempts.len() as u64;
            let duplicate = |outcome: &Outcome| matches!(outcome, Outcome::Answered { duplicate: true, .. });
            counts.duplicates += publish
                .attempts
                .iter()
                .filter(|attempt| duplicate(&attempt.outcome))
                .count() as u64;
            if publish.answered().is_some() {
                counts.answered += 1;
            } else if delivered.contains(&publish.content) {
                counts.unanswered_to_all += 1;
            } else {
                counts.unanswered_to_none += 1;
            }
        }
        counts
    }
}
