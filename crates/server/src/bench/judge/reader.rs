//! One reader before the court: order, what is missing, and gaps.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::super::record::{CONNECTED, ChannelIndex, ContentId, Entry, Moment, Outcome, Reader, Transport, What};
use super::facts::{Facts, LATE};
use super::{Kind, Violation};

/// A gap as a reader got it.
struct Gap {
    at: Moment,
    /// The highest id that it had got before.
    after: u64,
    channels: Vec<ChannelIndex>,
    /// When the newest publish began of which it had got the event before.
    newest_began: Moment,
    /// How often it had connected before.
    connects: usize,
}

/// One reader before the court.
pub(super) struct JudgedReader<'a> {
    facts: &'a Facts<'a>,
    index: usize,
    reader: &'a Reader,
    violations: &'a mut Vec<Violation>,
    pub(super) received: HashSet<u64>,
    contents: HashMap<ContentId, u64>,
    gaps: Vec<Gap>,
    missing: BTreeSet<u64>,
    pub(super) again: u64,
    pub(super) true_gaps: u64,
}

impl<'a> JudgedReader<'a> {
    pub(super) fn new(
        facts: &'a Facts<'a>,
        index: usize,
        reader: &'a Reader,
        violations: &'a mut Vec<Violation>,
    ) -> Self {
        Self {
            facts,
            index,
            reader,
            violations,
            received: HashSet::new(),
            contents: HashMap::new(),
            gaps: Vec::new(),
            missing: BTreeSet::new(),
            again: 0,
            true_gaps: 0,
        }
    }

    fn violation(&mut self, kind: Kind, at: Moment, seq: Option<u64>, text: String) {
        self.violations.push(Violation {
            kind,
            reader: Some(self.index),
            at,
            seq,
            text,
        });
    }

    /// Goes through what it got, in order.
    pub(super) fn judge_order(&mut self) {
        let reader = self.reader;
        let mut highest = 0;
        let mut newest_began = 0;
        let mut connects = 0;
        for Entry { at, what } in &reader.entries {
            match what {
                What::Note(note) => connects += usize::from(*note == CONNECTED),
                What::Flaw(text) => self.violation(Kind::Flaw, *at, None, text.clone()),
                What::Gap { channels } => self.gaps.push(Gap {
                    at: *at,
                    after: highest,
                    channels: channels.clone(),
                    newest_began,
                    connects,
                }),
                What::Event {
                    seq, content, channel, ..
                } => {
                    if let Some(publish) = self.facts.publishes.get(content) {
                        newest_began = newest_began.max(publish.began());
                    }
                    self.judge_event(*at, *seq, *content, *channel, highest);
                    highest = highest.max(*seq);
                }
            }
        }
    }

    fn judge_event(&mut self, at: Moment, seq: u64, content: ContentId, channel: ChannelIndex, highest: u64) {
        let Some(publish) = self.facts.publishes.get(&content) else {
            return self.violation(Kind::Flaw, at, Some(seq), format!("{content}, which nobody published"));
        };
        let due = publish
            .channels
            .iter()
            .find(|channel| self.reader.channels.contains(channel));
        if due != Some(&channel) {
            let name = &self.facts.record.channels[usize::from(channel)].name;
            self.violation(
                Kind::Flaw,
                at,
                Some(seq),
                format!("{content} came as an event of {name}"),
            );
        }
        if !self.received.insert(seq) {
            self.again += 1;
            return;
        }
        if seq < highest {
            self.violation(
                Kind::Disordered,
                at,
                Some(seq),
                format!("{content} came after seq {highest}"),
            );
        }
        if let Some(from) = self.reader.from
            && seq <= from
        {
            self.violation(
                Kind::Flaw,
                at,
                Some(seq),
                format!("{content} is not after its cursor, seq {from}"),
            );
        }
        if let Some(other) = self.contents.insert(content, seq)
            && !self.facts.may_be_stored_twice(publish)
        {
            self.violation(
                Kind::Repeated,
                at,
                Some(seq),
                format!("{content} came as seq {other} before"),
            );
        }
    }

    /// Finds what it should have got.
    pub(super) fn judge_missing(&mut self) {
        let (facts, reader) = (self.facts, self.reader);
        let Some(from) = reader.from else {
            if !reader.left {
                let end = reader.entries.last().map_or(0, |entry| entry.at);
                self.violation(Kind::Flaw, end, None, "it never got a cursor to begin with".to_owned());
            }
            return;
        };
        let until = match reader.left {
            true => self.received.iter().copied().max().unwrap_or(0),
            false => u64::MAX,
        };
        for channel in &reader.channels {
            let seqs = &facts.channels[usize::from(*channel)];
            let first = seqs.partition_point(|seq| *seq <= from);
            let due = seqs[first..].iter().take_while(|seq| **seq < until);
            self.missing.extend(due.filter(|seq| !self.received.contains(seq)));
        }
        for seq in self.missing.clone() {
            self.judge_missing_event(seq);
        }
    }

    fn judge_missing_event(&mut self, seq: u64) {
        let facts = self.facts;
        let content = facts.stored[&seq].content;
        let publish = facts.publishes[&content];
        let began = publish.began();
        let answered = match publish.answered() {
            Some(_) => "answered",
            None => "without an answer, but delivered to others",
        };
        let channels: Vec<&str> = publish
            .channels
            .iter()
            .map(|channel| &*facts.record.channels[usize::from(*channel)].name)
            .collect();
        let text = format!("{content} of {} ({answered})", channels.join(", "));
        if facts.is_durable(publish) {
            return self.violation(Kind::Lost, began, Some(seq), text);
        }
        // An earlier gap may name the channel too, for an earlier loss.
        let announced = self.gaps.iter().any(|gap| {
            gap.after < seq
                && gap.channels.iter().any(|channel| publish.channels.contains(channel))
                && facts.was_killed_between(began, gap.at)
        });
        if announced {
            return;
        }
        if facts.was_killed_between(began, Moment::MAX) {
            self.violation(Kind::Unannounced, began, Some(seq), text);
        } else {
            self.violation(
                Kind::Lost,
                began,
                Some(seq),
                format!("{text}, and the server was not killed"),
            );
        }
    }

    /// Looks for a cause for each gap that it was told of.
    pub(super) fn judge_gaps(&mut self) {
        let gaps = std::mem::take(&mut self.gaps);
        // A poll knows nothing of the one before: each tells of what lies after its own cursor.
        let is_poll = matches!(self.reader.transport, Transport::LongPoll | Transport::ShortPoll);
        for (number, gap) in gaps.iter().enumerate() {
            let told_before = |channel: &ChannelIndex| {
                !is_poll
                    && gaps[..number].iter().any(|earlier| {
                        earlier.connects == gap.connects
                            && earlier.channels.contains(channel)
                            && !self.facts.was_killed_between(earlier.at, gap.at)
                    })
            };
            let again: Vec<&ChannelIndex> = gap.channels.iter().filter(|channel| told_before(channel)).collect();
            if gap.channels.is_empty() {
                self.violation(Kind::Flaw, gap.at, None, "a gap that names no channel".to_owned());
            }
            for channel in &gap.channels {
                let info = &self.facts.record.channels[usize::from(*channel)];
                if !self.reader.channels.contains(channel) {
                    let text = format!("a gap in {}, to which it is not subscribed", info.name);
                    self.violation(Kind::Flaw, gap.at, None, text);
                } else if again.contains(&channel) {
                    let text = format!("the gap in {} is told again on the same connection", info.name);
                    self.violation(Kind::FalseGap, gap.at, Some(gap.after), text);
                } else if info.durable || !self.has_cause(gap, *channel) {
                    self.violation(
                        Kind::FalseGap,
                        gap.at,
                        Some(gap.after),
                        format!("a gap in {}", info.name),
                    );
                } else {
                    self.true_gaps += 1;
                }
            }
        }
    }

    /// Whether something in the channel may have been missed that this gap could tell of.
    fn has_cause(&self, gap: &Gap, channel: ChannelIndex) -> bool {
        let facts = self.facts;
        let missed = |seq: &u64| {
            let publish = facts.publishes[&facts.stored[seq].content];
            publish.channels.contains(&channel)
                && publish.began() <= gap.at
                && facts.was_killed_between(publish.began(), gap.at)
        };
        if self.missing.range(gap.after + 1..).any(missed) {
            return true;
        }
        // An attempt without an answer may have been stored and lost, without anybody ever learning its id.
        facts.publishes.values().any(|publish| {
            publish.channels.contains(&channel)
                && publish.attempts.iter().any(|attempt| {
                    attempt.outcome == Outcome::Unanswered
                        && facts.was_killed_between(attempt.began, gap.at)
                        && gap.newest_began < attempt.ended.saturating_add(LATE)
                })
                && (publish.attempts.len() > 1 || !self.contents.contains_key(&publish.content))
        })
    }
}
