//! The verdict in words: a table for people, JSON for programs, and what led to a violation.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::judge::{Verdict, Violation};
use super::record::{Entry, Moment, Record, What};

/// How many violations are told in full.
const TOLD_MAX: usize = 8;

/// How much around a violation is told.
const AROUND: Moment = 4_000_000;

/// How many lines a timeline has.
const LINES_MAX: usize = 40;

/// One line a transport.
pub(super) fn table(verdict: &Verdict) -> String {
    let mut text = String::new();
    let heads = [
        "subs",
        "connects",
        "recovered",
        "delivered",
        "again",
        "gaps",
        "lost",
        "repeated",
        "disorder",
        "unannounced",
        "false gaps",
        "other",
    ];
    let _ = write!(text, "{:<17}", "");
    for head in heads {
        let _ = write!(text, " {head:>width$}", width = width(head));
    }
    for (transport, row) in &verdict.rows {
        let numbers = [
            row.subscribers,
            row.connects,
            row.recovered,
            row.delivered,
            row.again,
            row.gaps,
            row.lost,
            row.repeated,
            row.disordered,
            row.unannounced,
            row.false_gaps,
            row.flaws,
        ];
        let _ = write!(text, "\n{transport:<17}");
        for (head, number) in heads.iter().zip(numbers) {
            let _ = write!(text, " {number:>width$}", width = width(head));
        }
    }
    let counts = &verdict.publishes;
    let _ = write!(
        text,
        "\n\npublished {}: answered {} ({} attempts, {} called duplicates), unanswered {} (to all {}, to none {})",
        counts.contents,
        counts.answered,
        counts.attempts,
        counts.duplicates,
        counts.unanswered_to_all + counts.unanswered_to_none,
        counts.unanswered_to_all,
        counts.unanswered_to_none
    );
    text
}

fn width(head: &str) -> usize {
    head.len().max(6)
}

/// What is wrong, each with what happened around it.
pub(super) fn violations(record: &Record, verdict: &Verdict) -> String {
    let mut text = String::new();
    for violation in verdict.violations.iter().take(TOLD_MAX) {
        let _ = writeln!(text, "{}", line(record, violation));
        for (at, event) in timeline(record, violation) {
            let _ = writeln!(text, "    {:>9.3} s  {event}", seconds(at));
        }
    }
    let more = verdict.violations.len().saturating_sub(TOLD_MAX);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    text
}

fn line(record: &Record, violation: &Violation) -> String {
    let reader = violation.reader.map_or("", |reader| &record.readers[reader].name);
    let seq = violation.seq.map(|seq| format!(" seq {seq}")).unwrap_or_default();
    format!(
        "{:?} at {:.3} s {reader}{seq}: {}",
        violation.kind,
        seconds(violation.at),
        violation.text
    )
}

/// What the checker did and what the reader saw around that time and that id.
fn timeline(record: &Record, violation: &Violation) -> Vec<(Moment, String)> {
    let mut lines: Vec<(Moment, String)> = Vec::new();
    let mut near = (violation.at.saturating_sub(AROUND), violation.at.saturating_add(AROUND));
    if let Some(reader) = violation.reader {
        let entries = &record.readers[reader].entries;
        if let Some(seq) = violation.seq {
            // The neighbours of what is missing may have come much later.
            let is_event = |entry: &&Entry| matches!(entry.what, What::Event { .. });
            let seq_of = |entry: &Entry| match entry.what {
                What::Event { seq, .. } => seq,
                _ => 0,
            };
            let before = entries.iter().filter(is_event).rfind(|entry| seq_of(entry) <= seq);
            let after = entries.iter().filter(is_event).find(|entry| seq_of(entry) > seq);
            for neighbour in before.into_iter().chain(after) {
                near = (near.0.min(neighbour.at), near.1.max(neighbour.at));
                lines.push((neighbour.at, format!("it got {}", told(record, &neighbour.what))));
            }
        }
        let notes = entries.iter().filter(|entry| !matches!(entry.what, What::Event { .. }));
        lines.extend(notes.map(|entry| (entry.at, format!("it got {}", told(record, &entry.what)))));
    }
    let about = |client: &str| match violation.reader {
        Some(reader) => client.contains(&format!("client {reader} ")) || !client.contains("client"),
        None => !client.contains("client"),
    };
    lines.extend(
        record
            .deeds
            .iter()
            .filter(|(_, text)| about(&format!("{text} ")))
            .cloned(),
    );
    lines.extend(record.kills.iter().map(|at| (*at, "the server was killed".to_owned())));
    if let Some(publish) = violation.seq.and_then(|seq| {
        let answers_seq = |publish: &&super::record::Publish| publish.answered() == Some(seq);
        record.publishes.iter().find(answers_seq)
    }) {
        for attempt in &publish.attempts {
            lines.push((
                attempt.began,
                format!("an attempt to publish {} began", publish.content),
            ));
            lines.push((attempt.ended, format!("it ended: {:?}", attempt.outcome)));
        }
    }
    lines.retain(|(at, _)| (near.0..=near.1).contains(at));
    lines.sort();
    lines.dedup();
    if lines.len() > LINES_MAX {
        let excess = lines.len() - LINES_MAX;
        lines.drain(LINES_MAX / 2..LINES_MAX / 2 + excess);
    }
    lines
}

fn told(record: &Record, what: &What) -> String {
    match what {
        What::Event {
            seq, content, channel, ..
        } => {
            format!(
                "seq {seq}, {content} of {}",
                record.channels[usize::from(*channel)].name
            )
        }
        What::Gap { channels } => {
            let names: Vec<&str> = channels
                .iter()
                .map(|channel| &*record.channels[usize::from(*channel)].name)
                .collect();
            format!("a gap in {}", names.join(", "))
        }
        What::Flaw(text) => text.clone(),
        What::Note(note) => (*note).to_owned(),
    }
}

/// The same for programs.
pub(super) fn json(record: &Record, verdict: &Verdict, more: Value) -> Value {
    let violations: Vec<Value> = verdict
        .violations
        .iter()
        .take(1_000)
        .map(|violation| {
            json!({
                "kind": format!("{:?}", violation.kind),
                "reader": violation.reader.map(|reader| &record.readers[reader].name),
                "seq": violation.seq,
                "at_s": seconds(violation.at),
                "text": violation.text,
            })
        })
        .collect();
    let transports: serde_json::Map<String, Value> = verdict
        .rows
        .iter()
        .map(|(transport, row)| (transport.to_string(), json!(row)))
        .collect();
    let mut result = json!({
        "holds": verdict.holds(),
        "kills": record.kills.len(),
        "publishes": verdict.publishes,
        "transports": transports,
        "violations": violations,
        "violations_count": verdict.violations.len(),
    });
    if let (Some(result), Value::Object(more)) = (result.as_object_mut(), more) {
        result.extend(more);
    }
    result
}

#[allow(clippy::cast_precision_loss, reason = "a run is not that long")]
fn seconds(at: Moment) -> f64 {
    at as f64 / 1e6
}
