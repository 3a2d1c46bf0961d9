//! The verdict: what PRODUCT's guarantees say of a record.
//!
//! What must hold, for each reader and the channels it subscribed to:
//!
//! - an answered publish reached it; one without an answer reached all readers or none (what any reader got, all must get);
//! - each content came under one id, each id with one content, ids rising, times never falling;
//! - in a channel with history on disk nothing is missing and no gap is announced;
//! - in one that is kept in memory only, an event is missing only if the server was killed after it was published, and
//!   then a gap that names the channel came before anything later;
//! - a gap names only channels in which something may have been missed, once on each connection.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::record::{
    CONNECTED, ChannelIndex, ContentId, Entry, Moment, Outcome, Publish, Reader, Record, Transport, What,
};

/// How long after its end an attempt without an answer may still have been carried out: a server that was stopped
/// for a while finds the request when it goes on.
const LATE: Moment = 30_000_000;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// An event is missing.
    Lost,
    /// A content came under two ids.
    Repeated,
    /// An event came after one with a higher id.
    Disordered,
    /// A memory-only channel lost an event, and no gap said so in time.
    Unannounced,
    /// A gap where nothing was missed.
    FalseGap,
    /// Anything else that no server may do.
    Flaw,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    pub(super) kind: Kind,
    /// The reader it happened to, as an index into the record.
    pub(super) reader: Option<usize>,
    /// When, as far as that can be told.
    pub(super) at: Moment,
    /// The id it is about.
    pub(super) seq: Option<u64>,
    pub(super) text: String,
}

/// What one transport's readers got.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(super) struct Row {
    pub(super) subscribers: u64,
    pub(super) connects: u64,
    pub(super) recovered: u64,
    pub(super) delivered: u64,
    /// Ids that came once more, which is allowed.
    pub(super) again: u64,
    /// Gaps that were announced rightly, counted by channel.
    pub(super) gaps: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) disordered: u64,
    pub(super) unannounced: u64,
    pub(super) false_gaps: u64,
    pub(super) flaws: u64,
}

/// What became of the publishes.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(super) struct Publishes {
    pub(super) contents: u64,
    pub(super) answered: u64,
    pub(super) attempts: u64,
    /// Answers that said `duplicate`.
    pub(super) duplicates: u64,
    /// Never answered, and delivered to all.
    pub(super) unanswered_to_all: u64,
    /// Never answered, and delivered to nobody.
    pub(super) unanswered_to_none: u64,
}

/// The judgement of a run.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) rows: BTreeMap<Transport, Row>,
    pub(super) publishes: Publishes,
    /// All that is wrong, the earliest first.
    pub(super) violations: Vec<Violation>,
}

impl Verdict {
    /// Whether everything held.
    pub(super) fn holds(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Judges a record.
pub(super) fn judge(record: &Record) -> Verdict {
    let mut violations: Vec<Violation> = record
        .flaws
        .iter()
        .map(|(at, text)| Violation {
            kind: Kind::Flaw,
            reader: None,
            at: *at,
            seq: None,
            text: text.clone(),
        })
        .collect();
    let facts = Facts::gather(record, &mut violations);
    facts.judge_publishes(&mut violations);
    facts.judge_placement(&mut violations);
    let mut verdict = Verdict {
        publishes: facts.count_publishes(),
        ..Verdict::default()
    };
    for (index, reader) in record.readers.iter().enumerate() {
        let mut judged = JudgedReader::new(&facts, index, reader, &mut violations);
        judged.judge_order();
        judged.judge_missing();
        judged.judge_gaps();
        let row = verdict.rows.entry(reader.transport).or_default();
        row.subscribers += 1;
        row.connects += u64::from(reader.connects);
        row.recovered += u64::from(reader.recovered);
        row.delivered += judged.received.len() as u64;
        row.again += judged.again;
        row.gaps += judged.true_gaps;
    }
    for violation in &violations {
        let Some(reader) = violation.reader else { continue };
        let row = verdict.rows.entry(record.readers[reader].transport).or_default();
        *match violation.kind {
            Kind::Lost => &mut row.lost,
            Kind::Repeated => &mut row.repeated,
            Kind::Disordered => &mut row.disordered,
            Kind::Unannounced => &mut row.unannounced,
            Kind::FalseGap => &mut row.false_gaps,
            Kind::Flaw => &mut row.flaws,
        } += 1;
    }
    violations.sort_by_key(|violation| (violation.at, violation.reader));
    verdict.violations = violations;
    verdict
}

/// An event that is known to have got its id, by an answer or because somebody got it.
struct Stored {
    content: ContentId,
    time_ms: Option<u64>,
}

/// What follows from all publishes and all readers together.
struct Facts<'a> {
    record: &'a Record,
    publishes: HashMap<ContentId, &'a Publish>,
    stored: BTreeMap<u64, Stored>,
    /// The ids of each channel, rising.
    channels: Vec<Vec<u64>>,
}

impl<'a> Facts<'a> {
    fn gather(record: &'a Record, violations: &mut Vec<Violation>) -> Self {
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

    fn is_durable(&self, publish: &Publish) -> bool {
        let durable = |channel: &ChannelIndex| self.record.channels[usize::from(*channel)].durable;
        publish.channels.iter().any(durable)
    }

    fn was_killed_between(&self, from: Moment, to: Moment) -> bool {
        self.record.kills.iter().any(|kill| (from..=to).contains(kill))
    }

    /// Whether a content may have two ids: its key was forgotten with the memory it was kept in.
    fn may_be_stored_twice(&self, publish: &Publish) -> bool {
        publish.attempts.len() > 1
            && !self.is_durable(publish)
            && self.was_killed_between(publish.began(), publish.ended())
    }

    /// What the answers say, by themselves.
    fn judge_publishes(&self, violations: &mut Vec<Violation>) {
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
    fn judge_placement(&self, violations: &mut Vec<Violation>) {
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

    fn count_publishes(&self) -> Publishes {
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
struct JudgedReader<'a> {
    facts: &'a Facts<'a>,
    index: usize,
    reader: &'a Reader,
    violations: &'a mut Vec<Violation>,
    received: HashSet<u64>,
    contents: HashMap<ContentId, u64>,
    gaps: Vec<Gap>,
    missing: BTreeSet<u64>,
    again: u64,
    true_gaps: u64,
}

impl<'a> JudgedReader<'a> {
    fn new(facts: &'a Facts<'a>, index: usize, reader: &'a Reader, violations: &'a mut Vec<Violation>) -> Self {
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
    fn judge_order(&mut self) {
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
    fn judge_missing(&mut self) {
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
    fn judge_gaps(&mut self) {
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
