//! What every log has to do, whatever it keeps its events in. A new log adds itself to [`Kind`].
//!
//! In these tests channels whose names begin with `s` are stored where there is a store; others never are.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use smallvec::smallvec;
use tempfile::TempDir;

use super::local::{LocalLog, Options};
use super::memory::MemoryLog;
use super::restore::boot_id;
use super::retention::Retention;
use super::tail::Bounds;
use super::*;
use crate::event::{Message, PublishKey};

/// The logs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Memory,
    Process,
    Power,
}

/// What a log is opened with, again and again.
pub(super) struct Fixture {
    pub(super) kind: Kind,
    pub(super) folder: TempDir,
    pub(super) bounds: Bounds,
    pub(super) retention: Retention,
    pub(super) boot: Option<String>,
}

const ROOMY: Bounds = Bounds {
    time: Duration::from_secs(120),
    channel_bytes: 1 << 20,
    bytes: 1 << 22,
};
pub(super) const ALL: PageLimit = PageLimit {
    events: usize::MAX,
    bytes: usize::MAX,
};

impl Fixture {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            folder: TempDir::new().unwrap(),
            bounds: ROOMY,
            retention: Retention::new(),
            boot: boot_id(),
        }
    }

    pub(super) fn has_store(&self) -> bool {
        self.kind != Kind::Memory
    }

    pub(super) fn open(&self) -> Box<dyn Log> {
        if self.has_store() {
            Box::new(self.open_local())
        } else {
            Box::new(MemoryLog::new(self.bounds))
        }
    }

    pub(super) fn open_local(&self) -> LocalLog {
        LocalLog::open(self.options()).unwrap()
    }

    pub(super) fn options(&self) -> Options {
        let retention = self.retention;
        Options {
            path: self.folder.path().to_owned(),
            durability: self.durability(),
            history: Arc::new(move |name| name.starts_with('s').then_some(retention)),
            bounds: self.bounds,
            wake: Box::new(|| {}),
            boot: self.boot.clone(),
        }
    }

    /// Of a stored channel.
    fn durability(&self) -> Durability {
        match self.kind {
            Kind::Memory => Durability::Memory,
            Kind::Process => Durability::Process,
            Kind::Power => Durability::Power,
        }
    }

    /// The folder as `kill -9` would leave it now, for another log to open.
    pub(super) fn killed(&self) -> Self {
        let folder = TempDir::new().unwrap();
        copy(self.folder.path(), folder.path());
        Self {
            folder,
            boot: self.boot.clone(),
            ..*self
        }
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            copy_file(&entry.path(), &to);
        }
    }
}

/// Journals are mostly holes, which begin where what was written ends.
fn copy_file(from: &Path, to: &Path) {
    let mut from = std::fs::File::open(from).unwrap();
    let mut to = std::fs::File::create(to).unwrap();
    to.set_len(from.metadata().unwrap().len()).unwrap();
    let zeros = vec![0; 1 << 20];
    let mut bytes = zeros.clone();
    loop {
        let count = from.read(&mut bytes).unwrap();
        if count == 0 || bytes[..count] == zeros[..count] {
            return;
        }
        to.write_all(&bytes[..count]).unwrap();
    }
}

pub(crate) fn channel(name: &str) -> Channel {
    Channel::room("/", name).unwrap()
}

pub(crate) fn draft(channels: &[&str], arguments: &str) -> Draft {
    Draft {
        channels: channels.iter().map(|name| channel(name)).collect(),
        except: smallvec![],
        message: Message {
            name: Arc::from("e"),
            arguments: Bytes::from(arguments.to_owned()),
            attachments: Vec::new(),
        },
        user: None,
        key: None,
    }
}

pub(super) fn keyed(mut draft: Draft, publisher: &str, key: &str) -> Draft {
    draft.key = Some(PublishKey {
        publisher: Arc::from(publisher),
        key: Arc::from(key),
    });
    draft
}

pub(super) fn wait(appending: Appending) -> Result<Receipt> {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(appending)
}

fn wait_all(waiting: &mut Vec<Appending>) {
    for appending in waiting.drain(..) {
        wait(appending).unwrap();
    }
}

pub(super) fn append(log: &dyn Log, draft: Draft) -> u64 {
    wait(log.append(draft)).unwrap().id.seq()
}

pub(super) fn cursors(channels: &[(&str, u64)]) -> Vec<Cursor> {
    let cursor = |(name, after): &(&str, u64)| Cursor {
        channel: channel(name),
        after: *after,
    };
    channels.iter().map(cursor).collect()
}

pub(super) fn seqs(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

/// All pages of what cursors still have to get: seqs with the index of the cursor, and the cursors that had a gap.
pub(super) fn read(log: &dyn Log, channels: &[(&str, u64)], limit: PageLimit) -> (Vec<(usize, u64)>, Vec<usize>) {
    let until = log.position();
    let mut cursors = cursors(channels);
    let mut events = Vec::new();
    let mut gaps: Vec<usize> = Vec::new();
    loop {
        let page = log.read(&cursors, until, limit).unwrap();
        if let Some(memory) = log.read_tail(&cursors, until, limit) {
            let seqs =
                |page: &Page| -> Vec<_> { page.events.iter().map(|(index, event)| (*index, event.seq)).collect() };
            assert_eq!(
                (seqs(&memory), memory.next, &memory.gaps),
                (seqs(&page), page.next, &page.gaps)
            );
        }
        assert!(page.events.len() <= limit.events);
        events.extend(page.events.iter().map(|(index, event)| (*index, event.seq)));
        gaps.extend(page.gaps);
        assert!(page.next <= until && (page.next == until || !page.events.is_empty()));
        for cursor in &mut cursors {
            cursor.after = cursor.after.max(page.next);
        }
        if page.next >= until {
            gaps.sort_unstable();
            gaps.dedup();
            return (events, gaps);
        }
    }
}

/// All pages of a channel's history, backward and forward, which have to be the same.
fn history(log: &dyn Log, name: &str, limit: PageLimit) -> Vec<u64> {
    let channel = channel(name);
    let mut backward = Vec::new();
    let mut from = From::Newest;
    loop {
        let page = log.history(&channel, from, limit).unwrap();
        assert!(page.events.len() <= limit.events);
        let mut seqs = seqs(&page.events);
        seqs.append(&mut backward);
        backward = seqs;
        if !page.more {
            break;
        }
        from = From::Before(backward[0]);
    }
    let mut forward = Vec::new();
    loop {
        let after = forward.last().copied().unwrap_or(0);
        let page = log.history(&channel, From::After(after), limit).unwrap();
        forward.extend(seqs(&page.events));
        if !page.more {
            break;
        }
    }
    assert_eq!(backward, forward);
    assert!(forward.is_sorted_by(|a, b| a < b));
    backward
}

fn indexed(seqs: &[u64]) -> Vec<(usize, u64)> {
    seqs.iter().map(|seq| (0, *seq)).collect()
}

/// One test for each log.
macro_rules! conformance {
    ($($(#[$meta:meta])* fn $name:ident($fixture:ident: $type:ty) $body:block)*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                fn run($fixture: $type) $body

                #[test]
                fn memory() {
                    run(Fixture::new(Kind::Memory));
                }

                #[test]
                fn process() {
                    run(Fixture::new(Kind::Process));
                }

                #[test]
                fn power() {
                    run(Fixture::new(Kind::Power));
                }
            }
        )*
    };
}

conformance! {
    fn events_come_out_as_they_went_in(fixture: Fixture) {
        let log = fixture.open();
        let mut sent = draft(&["s1", "m1"], r#"{"a":1},{"_placeholder":true,"num":0}"#);
        sent.except.push(channel("s9"));
        sent.message.attachments.push(Bytes::from_static(&[0, 255, 7]));
        sent.user = Some(Arc::from("ann"));
        let seq = append(&*log, sent.clone());
        append(&*log, draft(&["s1", "s1"], "2"));
        let check = |event: &Event| {
            assert_eq!((event.seq, event.draft.message.arguments()), (seq, sent.message.arguments()));
            assert_eq!(event.draft.channels, sent.channels);
            assert_eq!(event.draft.except, sent.except);
            assert_eq!(event.draft.user, sent.user);
            assert_eq!(event.draft.message.attachments, sent.message.attachments);
        };
        let mut out = Vec::new();
        log.tail(log.position() - 2, 10, &mut out);
        check(&out[0]);
        assert_eq!(out.len(), 2);
        check(&log.read(&cursors(&[("s1", 0)]), 9, ALL).unwrap().events[0].1);
        check(&log.history(&channel("s1"), From::Newest, ALL).unwrap().events[0]);
        assert_eq!(history(&*log, "s1", ALL).len(), 2, "a channel that is named twice has the event once");
        if fixture.has_store() {
            drop(log);
            let log = fixture.open();
            check(&log.read(&cursors(&[("s1", 0)]), 9, ALL).unwrap().events[0].1);
            check(&log.history(&channel("s1"), From::Newest, ALL).unwrap().events[0]);
        }
    }

    fn there_is_one_order_for_all(fixture: Fixture) {
        let log: Arc<dyn Log> = Arc::from(fixture.open());
        let begin = log.position();
        let publishers: Vec<_> = (0..4)
            .map(|publisher| {
                let log = Arc::clone(&log);
                std::thread::spawn(move || {
                    let mut given = Vec::new();
                    for number in 0..100 {
                        let name = format!("{}{}", if number % 3 == 0 { "m" } else { "s" }, number % 2);
                        let before = log.assigned();
                        let receipt = wait(log.append(draft(&[&name], &publisher.to_string()))).unwrap();
                        // Answered means kept and visible.
                        assert!(before < receipt.id.seq() && receipt.id.seq() <= log.position());
                        given.push(receipt.id.seq());
                    }
                    assert!(given.is_sorted_by(|a, b| a < b));
                    given
                })
            })
            .collect();
        let mut all: Vec<u64> = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
        all.sort_unstable();
        let mut out = Vec::new();
        let mut at = begin;
        while at < log.position() {
            let tail = log.tail(at, 7, &mut out);
            assert!(!tail.missed && tail.position > at && tail.position <= at + 7);
            at = tail.position;
        }
        assert_eq!(seqs(&out), all);
        assert_eq!((log.position(), log.assigned()), (at, at));
        assert!(out.is_sorted_by(|a, b| a.time_ms <= b.time_ms));
        let (page, gaps) = read(&*log, &[("s0", 0), ("s1", 0), ("m0", 0), ("m1", 0)], PageLimit { events: 9, bytes: 5_000 });
        assert_eq!((page.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), gaps), (all, vec![]));
    }

    fn a_page_has_each_event_once_in_order_and_ends_at_its_limit(fixture: Fixture) {
        let log = fixture.open();
        let seq: Vec<u64> = [&["sa"][..], &["mb"], &["sa", "mb"], &["sc"], &["mb", "sa"]]
            .iter()
            .map(|channels| append(&*log, draft(channels, "1")))
            .collect();
        let both = [("sa", 0), ("mb", 0)];
        let one = PageLimit { events: 1, bytes: 1 };
        let expected = [(0, seq[0]), (1, seq[1]), (0, seq[2]), (0, seq[4])];
        for limit in [ALL, one, PageLimit { events: 2, bytes: 9_999 }, PageLimit { events: 99, bytes: 1 }] {
            assert_eq!(read(&*log, &both, limit), (expected.to_vec(), vec![]));
        }
        let page = log.read(&cursors(&[("sa", 0), ("mb", seq[1])]), seq[3], one).unwrap();
        assert_eq!((page.events.len(), page.next), (1, seq[0]));
        let page = log.read(&cursors(&[("sa", 0), ("mb", seq[1])]), seq[3], ALL).unwrap();
        assert_eq!((page.events.len(), page.next), (2, seq[3]), "nothing above `until`");
        assert_eq!(read(&*log, &[("nobody", 0), ("snobody", 0)], ALL), (vec![], vec![]));
        assert_eq!((log.last(&channel("sa")), log.last(&channel("mb")), log.last(&channel("sz"))), (seq[4], seq[4], 0));
    }

    fn history_is_read_in_both_directions(fixture: Fixture) {
        let log = fixture.open();
        let published: Vec<u64> = (0..25).map(|_| {
            append(&*log, draft(&["other", "sother"], "0"));
            append(&*log, draft(&["sa"], "1"))
        }).collect();
        for events in [1, 2, 7, 25, 26] {
            assert_eq!(history(&*log, "sa", PageLimit { events, bytes: usize::MAX }), published);
        }
        assert_eq!(history(&*log, "sa", PageLimit { events: 9, bytes: 1 }), published, "one event always fits");
        let three = PageLimit { events: 3, bytes: usize::MAX };
        let page = log.history(&channel("sa"), From::Before(published[4]), three).unwrap();
        assert_eq!((seqs(&page.events), page.more), (published[1..4].to_vec(), true));
        let page = log.history(&channel("sa"), From::After(published[21]), three).unwrap();
        assert_eq!((seqs(&page.events), page.more), (published[22..].to_vec(), false));
        for (from, name) in [
            (From::Before(published[0]), "sa"),
            (From::After(published[24]), "sa"),
            (From::After(u64::MAX), "sa"),
            (From::Before(0), "sa"),
            (From::Newest, "sz"),
            (From::After(0), "nobody"),
        ] {
            let page = log.history(&channel(name), from, three).unwrap();
            assert!(page.events.is_empty() && !page.more, "{from:?} {name}");
        }
    }

    fn what_is_counted_is_what_others_have_in_history(fixture: Fixture) {
        let mut fixture = fixture;
        fixture.retention = Retention::new().keep(30);
        // Memory has less than the store.
        fixture.bounds.channel_bytes = 5_000;
        let log = fixture.open();
        for by in [None, Some("ann"), Some("bob")].into_iter().cycle().take(60) {
            let mut sent = draft(&["s1", "m1"], "1");
            sent.user = by.map(Arc::from);
            append(&*log, sent);
        }
        let check = |log: &dyn Log, name: &str, after: u64, user: &str| {
            let history = log.history(&channel(name), From::After(after), ALL).unwrap().events;
            let events = history.iter().filter(|event| event.draft.user.as_deref() != Some(user)).count();
            let counted = Counted { events, more: false };
            assert_eq!(log.count(&channel(name), after, user).unwrap(), counted, "{name} after {after} for {user}");
            let in_memory = log.count_tail(&channel(name), after, user);
            assert!(in_memory.is_none_or(|in_memory| in_memory == counted), "{in_memory:?}");
            in_memory.is_some()
        };
        let killed = fixture.has_store().then(|| fixture.killed());
        let again = killed.as_ref().map(Fixture::open);
        for log in [Some(&log), again.as_ref()].into_iter().flatten() {
            for name in ["s1", "m1", "nobody"] {
                for user in ["ann", "bob", "eve"] {
                    for after in (0..=60).step_by(3) {
                        check(&**log, name, after, user);
                    }
                }
            }
        }
        assert!(check(&*log, "s1", log.position() - 3, "ann"), "memory has the newest");
        assert_eq!(check(&*log, "s1", 0, "ann"), !fixture.has_store());
    }

    fn a_key_is_published_once(fixture: Fixture) {
        let log = fixture.open();
        let first = wait(log.append(keyed(draft(&["s1"], "1"), "ann", "k"))).unwrap();
        assert_eq!((first.duplicate, first.durability), (false, fixture.durability()));
        let again = wait(log.append(keyed(draft(&["s1"], "1"), "ann", "k"))).unwrap();
        assert_eq!(again, Receipt { duplicate: true, ..first });
        let error = wait(log.append(keyed(draft(&["s1"], "2"), "ann", "k"))).unwrap_err();
        assert_eq!(error.code(), "key_conflict");
        let other = wait(log.append(keyed(draft(&["m1"], "1"), "ann", "k"))).unwrap();
        assert_eq!((other.duplicate, other.durability), (false, Durability::Memory));
        // Tried again before the first was answered.
        let many: Vec<_> = (0..20).map(|_| log.append(keyed(draft(&["s1"], "3"), "ann", "many"))).collect();
        let conflict = log.append(keyed(draft(&["s1"], "4"), "ann", "many"));
        assert_eq!(wait(conflict).unwrap_err().code(), "key_conflict");
        let receipts: Vec<Receipt> = many.into_iter().map(|appending| wait(appending).unwrap()).collect();
        assert!(receipts.iter().all(|receipt| receipt.id == receipts[0].id));
        assert_eq!(receipts.iter().filter(|receipt| !receipt.duplicate).count(), 1);
        assert_eq!(history(&*log, "s1", ALL), [first.id.seq(), receipts[0].id.seq()]);
        if fixture.has_store() {
            for closed in [false, true] {
                let fixture = if closed { log.close(); fixture.killed() } else { fixture.killed() };
                let log = fixture.open();
                let again = wait(log.append(keyed(draft(&["s1"], "1"), "ann", "k"))).unwrap();
                assert_eq!(again, Receipt { duplicate: true, ..first });
                let error = wait(log.append(keyed(draft(&["s1"], "2"), "ann", "k"))).unwrap_err();
                assert_eq!(error.code(), "key_conflict");
            }
        }
    }

    fn cursors_are_known_or_not(fixture: Fixture) {
        let log = fixture.open();
        let epoch = log.epoch();
        assert_eq!(log.check(EventId::new(epoch, 0)), Since::Known(0));
        let seq = append(&*log, draft(&["s1"], "1"));
        append(&*log, draft(&["m1"], "1"));
        assert!((seq..=log.position()).contains(&log.newest(&channel("s1"))));
        assert_eq!(log.check(EventId::new(epoch, seq)), Since::Known(seq));
        assert_eq!(log.check(EventId::new(epoch, seq + 1)), Since::Known(seq + 1));
        assert_eq!(log.check(EventId::new(epoch, seq + 2)), Since::Unknown, "from the future");
        assert_eq!(log.check(EventId::new(epoch, u64::MAX)), Since::Unknown);
        assert_eq!(log.check(EventId::new(Epoch::random(), seq)), Since::Unknown, "of another log");
        let fixture = fixture.killed();
        let log = fixture.open();
        assert_eq!(log.epoch() == epoch, fixture.has_store());
        if fixture.has_store() {
            assert_eq!(log.check(EventId::new(epoch, seq)), Since::Known(seq));
            assert_eq!(log.check(EventId::new(epoch, log.position())), Since::Known(log.position()));
            assert!(append(&*log, draft(&["s1"], "2")) > seq);
        }
    }

    fn what_memory_has_let_go_of_is_a_gap_for_who_missed_it(fixture: Fixture) {
        let log = Fixture { bounds: Bounds { channel_bytes: 2_000, ..ROOMY }, ..fixture }.open();
        let seq: Vec<u64> = (0..50).map(|_| append(&*log, draft(&["m1"], "1"))).collect();
        let (events, gaps) = read(&*log, &[("m1", 0)], ALL);
        assert_eq!(gaps, [0]);
        let first = events[0].1;
        assert!(first > seq[0] && first < seq[49]);
        assert_eq!(read(&*log, &[("m1", first - 1)], ALL), (events, vec![]));
    }

    fn after_its_end_nothing_is_appended(fixture: Fixture) {
        let log = fixture.open();
        let waiting: Vec<_> = (0..50).map(|_| log.append(draft(&["s1"], "1"))).collect();
        log.close();
        let kept: Vec<u64> = waiting.into_iter().map(|appending| wait(appending).unwrap().id.seq()).collect();
        if fixture.has_store() {
            assert_eq!(wait(log.append(draft(&["s1"], "1"))).unwrap_err().code(), "draining");
            drop(log);
            let log = fixture.open();
            assert_eq!(history(&*log, "s1", ALL), kept);
            assert_eq!(log.position(), kept[49], "an end in order leaves no ids out");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Whatever the bounds, and however often it is opened again: all that is retained is read, and what is not is a gap.
    #[test]
    fn nothing_is_lost_silently_and_nothing_announced_falsely(
        kind in prop_oneof![Just(Kind::Memory), Just(Kind::Process), Just(Kind::Power)],
        steps in prop::collection::vec((0_usize..12, 0_usize..6, 0_usize..6, 1_usize..2_000), 1..120),
        channel_bytes in 1_000_usize..10_000,
        bytes in 1_000_usize..30_000,
        keep in prop::option::of(1_u64..40),
        stored_bytes in prop::option::of(1_u64..20_000),
        page_events in 1_usize..10,
        afters in prop::collection::vec((0_usize..6, 0.0_f64..1.0, 0_u64..2), 1..5),
    ) {
        const NAMES: [&str; 6] = ["s0", "s1", "s2", "m3", "m4", "m5"];
        let mut fixture = Fixture::new(kind);
        fixture.bounds = Bounds { channel_bytes, bytes, ..ROOMY };
        fixture.retention.keep = keep;
        fixture.retention.bytes = stored_bytes;
        let mut log = fixture.open();
        let mut published: Vec<Vec<u64>> = vec![Vec::new(); NAMES.len()];
        let mut waiting = Vec::new();
        for (what, first, second, size) in steps {
            match what {
                0 if fixture.has_store() => {
                    wait_all(&mut waiting);
                    fixture = fixture.killed();
                    log = fixture.open();
                }
                1 if fixture.has_store() => {
                    drop(log);
                    log = fixture.open();
                }
                2 => log.expire(),
                _ => {
                    waiting.push(log.append(draft(&[NAMES[first], NAMES[second]], &"1".repeat(size))));
                    let seq = log.assigned();
                    published[first].push(seq);
                    if first != second {
                        published[second].push(seq);
                    }
                }
            }
        }
        wait_all(&mut waiting);
        let position = log.position();
        let limit = PageLimit { events: page_events, bytes: usize::MAX };
        // Just before an event, or just at it.
        let afters: Vec<(usize, u64)> = afters
            .iter()
            .map(|(index, part, before)| {
                let published = &published[*index];
                let at = published.get((published.len() as f64 * part) as usize);
                (*index, at.map_or(position, |seq| seq - before))
            })
            .collect();
        for (index, after) in afters.iter().copied().chain((0..NAMES.len()).map(|index| (index, 0))) {
            let missed: Vec<u64> = published[index].iter().copied().filter(|seq| *seq > after).collect();
            let (events, gaps) = read(&*log, &[(NAMES[index], after)], limit);
            prop_assert!(log.newest(&channel(NAMES[index])) >= published[index].last().copied().unwrap_or(0));
            let retained = log.history(&channel(NAMES[index]), From::After(after), ALL).unwrap().events.len();
            prop_assert_eq!(log.count(&channel(NAMES[index]), after, "").unwrap().events, retained);
            prop_assert!(indexed(&missed).ends_with(&events), "{} after {after}: {events:?} of {missed:?}", NAMES[index]);
            prop_assert_eq!(!gaps.is_empty(), events.len() < missed.len(), "{} after {}", NAMES[index], after);
            if index < 3 && fixture.has_store() {
                // The store has what its own limits say.
                let history = history(&*log, NAMES[index], limit);
                prop_assert!(published[index].ends_with(&history));
                if stored_bytes.is_none() {
                    let keep = usize::try_from(keep.unwrap_or(u64::MAX)).unwrap();
                    prop_assert_eq!(history.len(), published[index].len().min(keep));
                } else {
                    prop_assert!(published[index].is_empty() || !history.is_empty());
                }
                prop_assert_eq!(log.last(&channel(NAMES[index])), published[index].last().copied().unwrap_or(0));
            }
        }
        // Several channels at once are the same as one after the other.
        let both: Vec<(&str, u64)> = afters.iter().map(|(index, after)| (NAMES[*index], *after)).collect();
        let (events, gaps) = read(&*log, &both, limit);
        let mut expected: Vec<u64> = Vec::new();
        for (at, cursor) in both.iter().enumerate() {
            let (events, is_gap) = read(&*log, &[*cursor], ALL);
            expected.extend(events.iter().map(|(_, seq)| *seq));
            prop_assert_eq!(gaps.contains(&at), !is_gap.is_empty());
        }
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(events.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), expected);
        prop_assert!(log.retained().bytes <= bytes || log.retained().events == 1);
    }
}
