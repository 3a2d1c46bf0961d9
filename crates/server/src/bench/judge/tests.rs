//! Records with one thing wrong each: the judge must find it, and must find nothing in those that are right.

use super::facts::LATE;
use super::*;
use crate::bench::record::{
    Attempt, CONNECTED, Channel, ChannelIndex, ContentId, Entry, Moment, Outcome, Publish, Reader, Record, Transport,
    What,
};

const DURABLE: ChannelIndex = 0;
const MEMORY: ChannelIndex = 1;
const OTHER: ChannelIndex = 2;

fn content(number: u32) -> ContentId {
    ContentId { publisher: 0, number }
}

fn answered(began: Moment, seq: u64) -> Attempt {
    Attempt {
        began,
        ended: began + 5,
        outcome: Outcome::Answered {
            seq,
            duplicate: false,
            durability: None,
        },
    }
}

fn duplicate(began: Moment, seq: u64) -> Attempt {
    let mut attempt = answered(began, seq);
    if let Outcome::Answered { duplicate, .. } = &mut attempt.outcome {
        *duplicate = true;
    }
    attempt
}

fn unanswered(began: Moment) -> Attempt {
    Attempt {
        began,
        ended: began + 5,
        outcome: Outcome::Unanswered,
    }
}

fn publish(number: u32, channel: ChannelIndex, attempts: Vec<Attempt>) -> Publish {
    Publish {
        content: content(number),
        channels: vec![channel],
        attempts,
    }
}

fn event(at: Moment, seq: u64, number: u32, channel: ChannelIndex) -> Entry {
    let what = What::Event {
        seq,
        content: content(number),
        channel,
        time_ms: 1_000 + seq,
    };
    Entry { at, what }
}

fn gap(at: Moment, channels: &[ChannelIndex]) -> Entry {
    let channels = channels.to_vec();
    Entry {
        at,
        what: What::Gap { channels },
    }
}

fn reader(transport: Transport, channels: &[ChannelIndex], entries: Vec<Entry>) -> Reader {
    Reader {
        name: transport.to_string(),
        transport,
        channels: channels.to_vec(),
        from: Some(0),
        left: false,
        entries,
        connects: 1,
        recovered: 0,
    }
}

/// Three events in the durable channel at 100, 200, 300, one in the memory-only one at 250; two readers that got all.
fn right() -> Record {
    let channel = |name: &str, durable| Channel {
        name: name.to_owned(),
        durable,
    };
    let all = || {
        vec![
            event(110, 1, 1, DURABLE),
            event(210, 2, 2, DURABLE),
            event(260, 3, 3, MEMORY),
            event(310, 4, 4, DURABLE),
        ]
    };
    Record {
        channels: vec![
            channel("durable", true),
            channel("memory", false),
            channel("other", false),
        ],
        publishes: vec![
            publish(1, DURABLE, vec![answered(100, 1)]),
            publish(2, DURABLE, vec![answered(200, 2)]),
            publish(3, MEMORY, vec![answered(250, 3)]),
            publish(4, DURABLE, vec![answered(300, 4)]),
        ],
        readers: vec![
            reader(Transport::Sse, &[DURABLE, MEMORY], all()),
            reader(Transport::WebSocket, &[DURABLE, MEMORY, OTHER], all()),
        ],
        ..Record::default()
    }
}

/// What is wrong, with the ids and the readers it is told of.
fn found(record: &Record) -> Vec<(Kind, Option<usize>, Option<u64>)> {
    let verdict = judge(record);
    assert_eq!(verdict.holds(), verdict.violations.is_empty());
    verdict.violations.iter().map(|v| (v.kind, v.reader, v.seq)).collect()
}

fn holds(record: &Record) {
    let verdict = judge(record);
    assert!(verdict.holds(), "{:?}", verdict.violations);
}

#[test]
fn a_right_record_holds_and_is_counted() {
    let verdict = judge(&right());
    assert!(verdict.holds(), "{:?}", verdict.violations);
    let row = &verdict.rows[&Transport::Sse];
    assert_eq!((row.subscribers, row.delivered, row.again, row.lost), (1, 4, 0, 0));
    assert_eq!((verdict.publishes.contents, verdict.publishes.answered), (4, 4));
}

#[test]
fn an_answered_event_that_one_reader_lacks_is_lost() {
    for position in [0, 1, 3] {
        let mut record = right();
        record.readers[1].entries.remove(position);
        let seq = position as u64 + 1;
        assert_eq!(found(&record), [(Kind::Lost, Some(1), Some(seq))]);
        // A kill is no excuse where there is history on disk.
        record.kills.push(305);
        assert_eq!(found(&record), [(Kind::Lost, Some(1), Some(seq))]);
        assert_eq!(judge(&record).rows[&Transport::WebSocket].lost, 1);
    }
}

#[test]
fn an_answered_event_that_nobody_got_is_lost_to_all() {
    let mut record = right();
    record.publishes.push(publish(5, DURABLE, vec![answered(400, 5)]));
    let lost = |reader| (Kind::Lost, Some(reader), Some(5));
    assert_eq!(found(&record), [lost(0), lost(1)]);
}

#[test]
fn an_unanswered_event_reaches_all_or_none() {
    let mut record = right();
    record.publishes.push(publish(5, DURABLE, vec![unanswered(400)]));
    holds(&record);
    assert_eq!(judge(&record).publishes.unanswered_to_none, 1);
    record.readers[0].entries.push(event(410, 5, 5, DURABLE));
    assert_eq!(found(&record), [(Kind::Lost, Some(1), Some(5))]);
    record.readers[1].entries.push(event(410, 5, 5, DURABLE));
    holds(&record);
    assert_eq!(judge(&record).publishes.unanswered_to_all, 1);
}

#[test]
fn what_came_before_the_cursor_or_after_leaving_is_not_due() {
    let mut record = right();
    record.readers[1].from = Some(2);
    record.readers[1].entries.drain(..2);
    holds(&record);
    record.readers[1].left = true;
    record.readers[1].entries.pop();
    holds(&record);
    // But what lies before the last that it got is.
    record.publishes.push(publish(5, DURABLE, vec![answered(400, 5)]));
    record.readers[0].entries.push(event(410, 5, 5, DURABLE));
    record.readers[1].entries.push(event(410, 5, 5, DURABLE));
    assert_eq!(found(&record), [(Kind::Lost, Some(1), Some(4))]);
}

#[test]
fn a_reader_without_a_cursor_is_told() {
    let mut record = right();
    record.readers[0].from = None;
    assert_eq!(found(&record), [(Kind::Flaw, Some(0), None)]);
}

#[test]
fn an_event_from_before_the_cursor_is_a_flaw() {
    let mut record = right();
    record.readers[0].from = Some(1);
    assert_eq!(found(&record), [(Kind::Flaw, Some(0), Some(1))]);
}

#[test]
fn an_id_that_comes_again_is_counted_and_allowed() {
    let mut record = right();
    let again = record.readers[0].entries[1].clone();
    record.readers[0].entries.push(again);
    holds(&record);
    assert_eq!(judge(&record).rows[&Transport::Sse].again, 1);
    assert_eq!(judge(&record).rows[&Transport::Sse].delivered, 4);
}

#[test]
fn a_content_under_two_ids_is_repeated() {
    let mut record = right();
    for reader in &mut record.readers {
        reader.entries.push(event(410, 5, 2, DURABLE));
    }
    let repeated = |reader| (Kind::Repeated, Some(reader), Some(5));
    assert_eq!(found(&record), [repeated(0), repeated(1)]);
}

#[test]
fn a_retried_key_is_stored_once() {
    let mut record = right();
    record.publishes[1].attempts = vec![unanswered(200), duplicate(240, 2)];
    holds(&record);
    // The first attempt was not stored.
    record.publishes[1].attempts = vec![unanswered(195), answered(200, 2)];
    holds(&record);
    // Asked once more though it was answered.
    record.publishes[1].attempts = vec![answered(200, 2), duplicate(400, 2)];
    holds(&record);
    record.publishes[1].attempts = vec![answered(200, 2), answered(400, 2)];
    assert_eq!(found(&record), [(Kind::Flaw, None, Some(2))]);
    // Stored anew: the answers differ, and what was answered is missing.
    record.publishes[1].attempts = vec![answered(200, 2), answered(400, 5)];
    let lost = |reader| (Kind::Lost, Some(reader), Some(5));
    assert_eq!(found(&record), [lost(0), lost(1), (Kind::Repeated, None, Some(5))]);
    record.publishes[1].attempts = vec![duplicate(200, 2)];
    assert_eq!(found(&record), [(Kind::Flaw, None, Some(2))]);
}

#[test]
fn a_key_kept_in_memory_is_forgotten_with_the_server_only() {
    let mut record = right();
    record.publishes[2].attempts = vec![answered(250, 3), answered(450, 5)];
    for reader in &mut record.readers {
        reader.entries.push(event(460, 5, 3, MEMORY));
    }
    assert!(found(&record).contains(&(Kind::Repeated, None, Some(5))));
    record.kills.push(400);
    holds(&record);
}

#[test]
fn a_lower_id_after_a_higher_one_is_disordered() {
    let mut record = right();
    record.readers[0].entries.swap(1, 2);
    assert_eq!(found(&record), [(Kind::Disordered, Some(0), Some(2))]);
    assert_eq!(judge(&record).rows[&Transport::Sse].disordered, 1);
}

#[test]
fn an_answer_that_came_first_has_the_lower_id() {
    let mut record = right();
    // 1 was answered at 105 and 2 begun at 200, and yet 2 has the lower id.
    record.publishes[0].attempts = vec![answered(100, 2)];
    record.publishes[1].attempts = vec![answered(200, 1)];
    for reader in &mut record.readers {
        reader.entries[0] = event(110, 1, 2, DURABLE);
        reader.entries[1] = event(210, 2, 1, DURABLE);
    }
    assert_eq!(found(&record), [(Kind::Disordered, None, Some(1))]);
    // At the same time either may be first.
    record.publishes[1].attempts[0].began = 103;
    holds(&record);
}

#[test]
fn what_nobody_published_is_found() {
    let mut record = right();
    record.readers[0].entries.push(event(410, 5, 77, DURABLE));
    assert_eq!(found(&record), [(Kind::Flaw, Some(0), Some(5))]);
}

#[test]
fn an_id_has_one_content_one_time_and_one_channel() {
    let mut record = right();
    record.publishes.push(publish(5, DURABLE, vec![unanswered(400)]));
    record.readers[0].entries[1] = event(210, 2, 5, DURABLE);
    assert_eq!(found(&record), [(Kind::Flaw, Some(0), Some(2))]);

    let mut record = right();
    if let What::Event { time_ms, .. } = &mut record.readers[1].entries[1].what {
        *time_ms += 1;
    }
    assert_eq!(found(&record), [(Kind::Flaw, Some(1), Some(2))]);

    let mut record = right();
    record.readers[1].entries[1] = event(210, 2, 2, MEMORY);
    assert_eq!(found(&record), [(Kind::Flaw, Some(1), Some(2))]);
}

#[test]
fn times_never_fall() {
    let mut record = right();
    for reader in &mut record.readers {
        if let What::Event { time_ms, .. } = &mut reader.entries[3].what {
            *time_ms = 900;
        }
    }
    assert_eq!(found(&record), [(Kind::Flaw, None, Some(4))]);
}

#[test]
fn an_event_of_several_channels_comes_once_as_of_the_first() {
    let mut record = right();
    record.publishes[1].channels = vec![OTHER, DURABLE];
    // The second reader is in both: to it, it is one of the first.
    assert_eq!(found(&record), [(Kind::Flaw, Some(1), Some(2))]);
    record.readers[1].entries[1] = event(210, 2, 2, OTHER);
    holds(&record);
}

#[test]
fn a_memory_only_loss_needs_a_kill_and_a_gap_in_time() {
    let lossy = |entries: Vec<Entry>, kills: &[Moment]| {
        let mut record = right();
        record.readers[0].entries = entries;
        record.kills = kills.to_vec();
        record
    };
    let (one, two, four) = (
        event(110, 1, 1, DURABLE),
        event(210, 2, 2, DURABLE),
        event(310, 4, 4, DURABLE),
    );

    holds(&lossy(
        vec![one.clone(), two.clone(), gap(290, &[MEMORY]), four.clone()],
        &[280],
    ));
    let announced_early = lossy(
        vec![one.clone(), gap(290, &[MEMORY]), two.clone(), four.clone()],
        &[280],
    );
    holds(&announced_early);

    let no_gap = lossy(vec![one.clone(), two.clone(), four.clone()], &[280]);
    assert_eq!(found(&no_gap), [(Kind::Unannounced, Some(0), Some(3))]);
    let too_late = lossy(
        vec![one.clone(), two.clone(), four.clone(), gap(320, &[MEMORY])],
        &[280],
    );
    assert_eq!(
        found(&too_late),
        [
            (Kind::Unannounced, Some(0), Some(3)),
            (Kind::FalseGap, Some(0), Some(4))
        ]
    );
    let other_channel = lossy(
        vec![one.clone(), two.clone(), gap(290, &[DURABLE]), four.clone()],
        &[280],
    );
    assert_eq!(
        found(&other_channel),
        [
            (Kind::Unannounced, Some(0), Some(3)),
            (Kind::FalseGap, Some(0), Some(2))
        ]
    );
    // A gap from before it was published can't be about it.
    let before = lossy(
        vec![one.clone(), two.clone(), gap(240, &[MEMORY]), four.clone()],
        &[230, 280],
    );
    assert_eq!(
        found(&before),
        [
            (Kind::FalseGap, Some(0), Some(2)),
            (Kind::Unannounced, Some(0), Some(3))
        ]
    );
    // A gap for an earlier loss does not hide the one that is about this.
    let entries = vec![
        one.clone(),
        two.clone(),
        gap(260, &[MEMORY]),
        gap(290, &[MEMORY]),
        four.clone(),
    ];
    let mut twice = lossy(entries, &[248, 280]);
    twice.publishes.push(publish(5, MEMORY, vec![unanswered(247)]));
    holds(&twice);
    let no_kill = lossy(vec![one, two, gap(290, &[MEMORY]), four], &[]);
    assert_eq!(
        found(&no_kill),
        [(Kind::Lost, Some(0), Some(3)), (Kind::FalseGap, Some(0), Some(2))]
    );
}

#[test]
fn a_gap_where_nothing_was_missed_is_false() {
    for channel in [DURABLE, MEMORY, OTHER] {
        let mut record = right();
        record.kills = vec![270];
        record.readers[1].entries.insert(3, gap(290, &[channel]));
        assert_eq!(found(&record), [(Kind::FalseGap, Some(1), Some(3))], "{channel}");
        assert_eq!(judge(&record).rows[&Transport::WebSocket].false_gaps, 1);
    }
}

#[test]
fn a_gap_is_told_once_on_a_connection() {
    let mut record = right();
    record.kills = vec![270];
    let entries = &mut record.readers[0].entries;
    entries.remove(2);
    entries.insert(2, gap(290, &[MEMORY]));
    entries.insert(3, gap(292, &[MEMORY]));
    assert_eq!(found(&record), [(Kind::FalseGap, Some(0), Some(2))]);
    // A client that lost its connection before it could go on is told again.
    let connected = Entry {
        at: 291,
        what: What::Note(CONNECTED),
    };
    record.readers[0].entries.insert(3, connected);
    holds(&record);
}

#[test]
fn a_gap_may_tell_of_what_was_never_answered() {
    let mut record = right();
    record.publishes.push(publish(5, MEMORY, vec![unanswered(262)]));
    record.kills = vec![270];
    record.readers[1].entries.insert(3, gap(290, &[MEMORY]));
    holds(&record);
    assert_eq!(judge(&record).rows[&Transport::WebSocket].gaps, 1);
    // Not of one that a kill came before,
    record.kills = vec![255];
    assert_eq!(found(&record), [(Kind::FalseGap, Some(1), Some(3))]);
    // nor of one that is long past.
    record.kills = vec![270];
    record
        .publishes
        .push(publish(6, DURABLE, vec![answered(LATE + 300, 6)]));
    for reader in &mut record.readers {
        reader.entries.push(event(LATE + 310, 6, 6, DURABLE));
    }
    holds(&record);
    record.readers[1].entries.push(gap(LATE + 320, &[MEMORY]));
    assert_eq!(found(&record), [(Kind::FalseGap, Some(1), Some(6))]);
}

#[test]
fn a_gap_in_a_channel_without_a_subscription_or_in_none_is_a_flaw() {
    let mut record = right();
    record.readers[0].entries.push(gap(320, &[OTHER]));
    record.readers[0].entries.push(gap(321, &[]));
    assert_eq!(
        found(&record),
        [(Kind::Flaw, Some(0), None), (Kind::Flaw, Some(0), None)]
    );
}

#[test]
fn durability_is_told_as_it_is() {
    let level = |record: &mut Record, index: usize, level: &str| {
        if let Outcome::Answered { durability, .. } = &mut record.publishes[index].attempts[0].outcome {
            *durability = Some(level.to_owned());
        }
    };
    let mut record = right();
    level(&mut record, 0, "process");
    level(&mut record, 2, "memory");
    holds(&record);
    level(&mut record, 0, "memory");
    assert_eq!(found(&record), [(Kind::Flaw, None, Some(1))]);
    level(&mut record, 0, "power");
    level(&mut record, 2, "process");
    assert_eq!(found(&record), [(Kind::Flaw, None, Some(3))]);
}

#[test]
fn what_a_reader_saw_amiss_and_what_the_server_did_count() {
    let mut record = right();
    record.readers[0].entries.push(Entry {
        at: 400,
        what: What::Flaw("no JSON".to_owned()),
    });
    record.flaws.push((500, "the server panicked".to_owned()));
    assert_eq!(found(&record), [(Kind::Flaw, Some(0), None), (Kind::Flaw, None, None)]);
}
