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

mod facts;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::record::{Moment, Record, Transport};
use facts::Facts;
use reader::JudgedReader;

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
