//! What is particular to a log with a store: how it fails, what it survives, what it refuses to open.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use super::conformance::{ALL, Fixture, Kind, append, channel, cursors, draft, keyed, read, seqs, wait};
use super::local::LocalLog;
use super::retention::Retention;
use super::store::{StoreError, WRITTEN};
use super::*;

fn stored(kind: Kind) -> Fixture {
    Fixture::new(kind)
}

fn history(log: &dyn Log, name: &str) -> Vec<u64> {
    seqs(&log.history(&channel(name), From::Newest, ALL).unwrap().events)
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl LocalLog {
    /// Makes the store fail, or no longer.
    pub(crate) fn fail(&self, kind: Option<ErrorKind>) {
        let store = self.shared().store.read().clone();
        *store.unwrap().fault.lock() = kind;
    }
}

#[test]
fn when_nobody_writes_any_more_nothing_is_waited_for() {
    let log = stored(Kind::Process).open_local();
    append(&log, draft(&["s1"], "1"));
    log.shared().break_down();
    assert_eq!(wait(log.append(draft(&["s1"], "1"))).unwrap_err().code(), "internal");
    log.put(Bytes::from_static(b"key"), Some(Bytes::from_static(b"value")));
    assert_eq!(log.assigned(), log.position());
}

#[test]
fn while_the_store_fails_nothing_is_kept_and_afterwards_all_is_as_before() {
    let mut fixture = stored(Kind::Process);
    fixture.retention = Retention::new().keep(3);
    for (kind, code) in [
        (ErrorKind::StorageFull, "store_full"),
        (ErrorKind::PermissionDenied, "unavailable"),
    ] {
        let log = fixture.open_local();
        let mut kept: Vec<u64> = (0..3).map(|_| append(&log, draft(&["s1", "m1"], "1"))).collect();
        log.fail(Some(kind));
        let waiting: Vec<_> = (0..10)
            .map(|_| log.append(keyed(draft(&["s1", "s2", "m1", "m2"], "1"), "ann", "k")))
            .collect();
        log.put(Bytes::from_static(b"key"), Some(Bytes::from_static(b"value")));
        for appending in waiting {
            assert_eq!(wait(appending).unwrap_err().code(), code);
        }
        assert_eq!(log.failure().unwrap().code(), code);
        assert_eq!(
            wait(log.append(draft(&["m1"], "1"))).unwrap_err().code(),
            code,
            "in memory-only channels too"
        );
        log.put(Bytes::from_static(b"other"), Some(Bytes::from_static(b"value")));
        assert_eq!(history(&log, "s1"), kept, "what was kept can be read");
        assert_eq!(history(&log, "s2"), [] as [u64; 0]);
        // Commands that were sent after what failed are carried out all the same.
        until("all is passed over", || log.position() == log.assigned());
        let mut out = Vec::new();
        let tail = log.tail(kept[0] - 1, 100, &mut out);
        assert_eq!(
            (seqs(&out), tail.position, tail.missed),
            (kept.clone(), log.position(), false)
        );

        until("the store is opened again", || log.failure().is_none());
        let again = wait(log.append(keyed(draft(&["s1", "m1"], "1"), "ann", "k"))).unwrap();
        assert!(
            !again.duplicate && again.id.seq() > log.position() - 1,
            "what failed was not published"
        );
        kept.push(again.id.seq());
        for log in [&log as &dyn Log, &*fixture.killed().open()] {
            assert_eq!(history(log, "s1"), kept[1..]);
            assert_eq!(history(log, "s2"), [] as [u64; 0]);
            assert_eq!(log.last(&channel("s2")), 0);
            // Nobody has missed what never was.
            let after = kept[3];
            assert_eq!(
                read(log, &[("s2", 0), ("m2", 0), ("s1", after), ("m1", after)], ALL).1,
                [] as [usize; 0]
            );
            let page = log.read(&cursors(&[("s1", 0)]), after, ALL).unwrap();
            assert!(page.gaps == [0] || page.events.len() == 4, "in memory, or announced");
        }
        assert_eq!(
            fixture.killed().open().records(b"").len(),
            2,
            "records were kept in mind"
        );
        log.put(Bytes::from_static(b"key"), None);
        log.put(Bytes::from_static(b"other"), None);
        log.close();
        fixture = stored(Kind::Power);
        fixture.retention = Retention::new().keep(3);
    }
}

/// A command that is sent after a put is carried out when that is kept: a client that has its answer has its rooms.
#[test]
fn what_is_put_has_a_place_that_is_passed_when_it_is_kept() {
    let fixture = stored(Kind::Power);
    let log = fixture.open_local();
    let first = append(&log, draft(&["s1"], "1"));
    for number in 0..10_u8 {
        log.put(Bytes::from(vec![b'k', number]), Some(Bytes::from_static(b"v")));
        let place = log.assigned();
        until("it is passed", || log.position() >= place);
        let killed = fixture.killed().open_local();
        assert_eq!(killed.records(b"k").len(), usize::from(number) + 1);
    }
    let last = append(&log, draft(&["s1"], "2"));
    assert_eq!(read(&log, &[("s1", 0)], ALL), (vec![(0, first), (0, last)], vec![]));
    let mut out = Vec::new();
    let tail = log.tail(first - 1, 1_000, &mut out);
    assert_eq!(
        (seqs(&out), tail.position, tail.missed),
        (vec![first, last], last, false)
    );
    // While the store fails nobody waits for what can't be kept.
    log.fail(Some(ErrorKind::StorageFull));
    wait(log.append(draft(&["s1"], "3"))).unwrap_err();
    log.put(Bytes::from_static(b"later"), Some(Bytes::from_static(b"v")));
    until("it is passed", || log.position() >= log.assigned());
    until("the store is opened again", || log.failure().is_none());
    assert_eq!(fixture.killed().open_local().records(b"later").len(), 1);
}

#[test]
fn a_fault_of_the_writer_is_told_to_all_who_wait_and_holds_up_nobody_else() {
    let fixture = stored(Kind::Power);
    let log = fixture.open_local();
    let kept = append(&log, draft(&["s1"], "1"));
    let store = log.shared().store.read().clone().unwrap();
    *store.synced.lock() = Some(Box::new(|| panic!("a fault")));
    drop(store);
    let waiting: Vec<_> = (0..10)
        .map(|_| log.append(keyed(draft(&["s1"], "2"), "ann", "k")))
        .collect();
    for appending in waiting {
        assert!(["unavailable", "internal"].contains(&wait(appending).unwrap_err().code()));
    }
    until("it is told", || {
        log.failure().is_some_and(|failure| failure.code() == "internal")
    });
    assert_eq!(wait(log.append(draft(&["m1"], "3"))).unwrap_err().code(), "internal");
    until("nobody waits for what never comes", || log.position() == log.assigned());
    assert_eq!(history(&log, "s1"), [kept], "what was kept can be read");
    log.close();
    drop(log);
    // It may have been written before the fault.
    assert!(history(&fixture.open_local(), "s1").starts_with(&[kept]));
}

/// As if the write had got through although it was reported as failed.
#[test]
fn what_failed_is_undone_even_if_it_got_through() {
    let fixture = stored(Kind::Process);
    let log = fixture.open_local();
    let kept = append(&log, draft(&["s1", "m1"], "1"));
    log.fail(Some(WRITTEN));
    for draft in [
        draft(&["s1", "s2", "m1", "m2"], "2"),
        keyed(draft(&["s1"], "3"), "ann", "k"),
    ] {
        wait(log.append(draft)).unwrap_err();
    }
    until("the store is opened again", || log.failure().is_none());
    for log in [&log as &dyn Log, &*fixture.killed().open()] {
        assert_eq!(history(log, "s1"), [kept]);
        assert_eq!(history(log, "s2"), [] as [u64; 0]);
        let position = log.position();
        for name in ["s1", "m1"] {
            assert_eq!(read(log, &[(name, kept)], ALL), (vec![], vec![]), "{name} {position}");
        }
        for name in ["s2", "m2"] {
            assert_eq!(read(log, &[(name, 0)], ALL), (vec![], vec![]), "{name}");
        }
    }
    assert!(
        !wait(log.append(keyed(draft(&["s1"], "3"), "ann", "k")))
            .unwrap()
            .duplicate
    );
}

#[test]
fn after_a_loss_of_power_cursors_are_known_only_where_nothing_can_be_missing() {
    for kind in [Kind::Process, Kind::Power] {
        let mut fixture = stored(kind);
        let log = fixture.open_local();
        let seq = append(&log, draft(&["s1", "m1"], "1"));
        let before = log.position();
        let epoch = log.epoch();
        fixture = fixture.killed();
        drop(log);
        fixture.boot = Some("another".to_owned());
        for _ in 0..2 {
            let log = fixture.open_local();
            let is_known = kind == Kind::Power;
            for seq in [0, seq, before] {
                let expected = if is_known { Since::Known(seq) } else { Since::Unknown };
                assert_eq!(log.check(EventId::new(epoch, seq)), expected);
            }
            assert_eq!(
                log.check(EventId::new(epoch, log.position())),
                Since::Known(log.position())
            );
            let quiet = log.position();
            assert!(quiet > before);
            // In a stored channel nothing is missing; in the others, who knows.
            assert_eq!(read(&log, &[("s1", 0)], ALL), (vec![(0, seq)], vec![]));
            assert_eq!(
                read(&log, &[("s1", seq), ("m1", seq), ("m2", 0), ("s2", 0)], ALL),
                (vec![], vec![1, 2])
            );
            assert_eq!(read(&log, &[("m1", quiet), ("m2", quiet)], ALL), (vec![], vec![]));
            // It stays so after a kill without a loss of power.
            let next = fixture.killed();
            drop(log);
            fixture = next;
        }
    }
}

fn journal(fixture: &Fixture) -> File {
    let path = fixture.folder.path().join("store/db/0.jnl");
    File::options().read(true).write(true).open(path).unwrap()
}

/// What is written of the journal, without the zeros that are there for what is to come.
fn journal_bytes(fixture: &Fixture) -> usize {
    let mut bytes = Vec::new();
    journal(fixture).read_to_end(&mut bytes).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// As a loss of power leaves it: pages of a batch that was never synced are there, and others are not.
#[test]
fn a_torn_batch_that_nobody_was_told_of_leaves_the_others_as_they_are() {
    let fixture = stored(Kind::Power);
    let log = fixture.open_local();
    let kept: Vec<u64> = (0..20).map(|_| append(&log, draft(&["s1", "m1"], "1"))).collect();
    let end = journal_bytes(&fixture);
    let witness = std::fs::read(fixture.folder.path().join("store/written")).unwrap();
    append(&log, draft(&["s1"], &"7".repeat(60_000)));
    let torn_end = journal_bytes(&fixture);
    assert!(torn_end > end + 60_000);
    for page in 0..=(torn_end - end) / 4096 {
        let mut fixture = fixture.killed();
        fixture.boot = Some("another".to_owned());
        let folder = fixture.folder.path();
        std::fs::write(folder.join("store/written"), &witness).unwrap();
        let file = journal(&fixture);
        let at = (end + page * 4096).min(torn_end - 1);
        file.write_all_at(&vec![0; 4096.min(torn_end - at)], at as u64).unwrap();
        let log = fixture.open_local();
        assert_eq!(history(&log, "s1"), kept, "page {page}");
        assert_eq!(log.check(EventId::new(log.epoch(), kept[19])), Since::Known(kept[19]));
        append(&log, draft(&["s1"], "2"));
        assert_eq!(history(&fixture.killed().open_local(), "s1").len(), 21);
    }
}

/// fjall opens all of these without a word.
#[test]
fn a_journal_whose_end_is_gone_is_a_gap_for_all_who_were_there() {
    let fixture = stored(Kind::Power);
    let log = fixture.open_local();
    let begin = journal_bytes(&fixture);
    let kept: Vec<u64> = (0..5)
        .map(|number| append(&log, draft(&["s1", "m1"], &number.to_string())))
        .collect();
    append(&log, draft(&["s2"], "1"));
    let end = journal_bytes(&fixture);
    assert!(end > begin + 500, "the journal is where it was written");
    let harm = |at: usize, zeros: Option<usize>| {
        let fixture = fixture.killed();
        let file = journal(&fixture);
        match zeros {
            None => file.set_len(at as u64).unwrap(),
            Some(count) => file.write_all_at(&vec![0; count], at as u64).unwrap(),
        }
        fixture
    };
    let mut harmed = 0;
    let cuts = (begin..end).step_by(83).map(|at| harm(at, None));
    let holes = (begin..end).step_by(307).map(|at| harm(at, Some(512)));
    let bits = (begin..end).step_by(149).map(|at| harm(at, Some(1)));
    for mut fixture in cuts.chain(holes).chain(bits) {
        let log = fixture.open_local();
        if log.check(EventId::new(log.epoch(), kept[4])) != Since::Unknown {
            // It was a zero before.
            assert_eq!(history(&log, "s1"), kept);
            continue;
        }
        harmed += 1;
        for seq in &kept {
            assert_eq!(log.check(EventId::new(log.epoch(), *seq)), Since::Unknown);
        }
        let left = history(&log, "s1");
        assert_eq!(left, kept[..left.len()]);
        let seq = append(&log, draft(&["s3", "m1"], "6"));
        assert!(seq > kept[4] + 1);
        assert_eq!(
            read(&log, &[("s3", 0)], ALL).0,
            [(0, seq)],
            "it has nothing of another channel"
        );
        // It is told once: the next run knows of nothing more.
        drop(log);
        fixture = fixture.killed();
        let log = fixture.open_local();
        assert_eq!(log.check(EventId::new(log.epoch(), seq)), Since::Known(seq));
        assert_eq!(log.check(EventId::new(log.epoch(), kept[0])), Since::Unknown);
    }
    assert!(harmed > 30, "{harmed}");
    let log = fixture.killed().open_local();
    assert_eq!(
        log.check(EventId::new(log.epoch(), kept[0])),
        Since::Known(kept[0]),
        "none of it was needless"
    );
}

#[test]
fn an_end_in_order_makes_a_loss_of_power_harmless() {
    let mut fixture = stored(Kind::Process);
    let log = fixture.open_local();
    let seq = append(&log, draft(&["s1", "m1"], "1"));
    log.close();
    drop(log);
    fixture.boot = None;
    let log = fixture.open_local();
    assert_eq!(log.check(EventId::new(log.epoch(), seq)), Since::Known(seq));
    assert_eq!(
        read(&log, &[("s1", 0), ("m1", 0), ("m1", seq)], ALL),
        (vec![(0, seq)], vec![1])
    );
}

#[test]
fn what_a_memory_only_channel_lost_with_the_process_is_announced_and_nothing_else() {
    let fixture = stored(Kind::Process);
    let log = fixture.open_local();
    let lost = append(&log, draft(&["m1"], "1"));
    let other = append(&log, draft(&["s1"], "1"));
    let log = fixture.killed().open_local();
    assert_eq!(
        read(&log, &[("m1", lost - 1), ("m1", lost), ("m2", 0)], ALL),
        (vec![], vec![0])
    );
    let seq = append(&log, draft(&["m1", "m2"], "2"));
    assert_eq!(read(&log, &[("m1", lost - 1)], ALL), (vec![(0, seq)], vec![0]));
    assert_eq!(read(&log, &[("m1", other), ("m2", 0)], ALL), (vec![(0, seq)], vec![]));
}

#[test]
fn a_channel_that_begins_or_ceases_to_be_stored_has_a_gap_for_who_missed_something() {
    let fixture = stored(Kind::Process);
    let open = |is_stored: bool| {
        let mut options = fixture.options();
        options.history = Arc::new(move |_| is_stored.then(Retention::new));
        LocalLog::open(options).unwrap()
    };
    let log = open(false);
    let first = append(&log, draft(&["c"], "1"));
    drop(log);
    let log = open(true);
    assert_eq!(read(&log, &[("c", first - 1), ("c", first)], ALL), (vec![], vec![0]));
    let second = append(&log, draft(&["c"], "2"));
    assert_eq!(read(&log, &[("c", first)], ALL), (vec![(0, second)], vec![]));
    assert_eq!(read(&log, &[("c", first - 1)], ALL), (vec![(0, second)], vec![0]));
    drop(log);
    let log = open(true);
    assert_eq!(read(&log, &[("c", first - 1)], ALL), (vec![(0, second)], vec![0]));
    drop(log);
    let log = open(false);
    assert_eq!(read(&log, &[("c", first), ("c", second)], ALL), (vec![], vec![0]));
    assert_eq!(history(&log, "c"), [] as [u64; 0]);
    drop(log);
    let log = open(true);
    assert_eq!(read(&log, &[("c", first), ("c", second)], ALL), (vec![], vec![0]));
    assert_eq!((history(&log, "c"), log.last(&channel("c"))), (vec![], 0));
}

#[test]
fn what_is_over_its_time_is_gone_at_once_and_a_gap_for_who_missed_it() {
    let mut fixture = stored(Kind::Process);
    let log = fixture.open_local();
    let old: Vec<u64> = (0..100).map(|_| append(&log, draft(&["s1", "s2"], "1"))).collect();
    drop(log);
    std::thread::sleep(Duration::from_millis(300));
    fixture.retention = Retention::new().time(Duration::from_millis(200));
    let log = fixture.open_local();
    // Nobody has trimmed anything yet.
    assert_eq!(
        read(&log, &[("s1", 0), ("s1", old[98]), ("s1", old[99])], ALL),
        (vec![], vec![0, 1])
    );
    assert_eq!((history(&log, "s1"), log.last(&channel("s1"))), (vec![], 0));
    let page = log.history(&channel("s1"), From::After(old[3]), ALL).unwrap();
    assert!(page.events.is_empty() && !page.more);
    assert_eq!(log.count(&channel("s1"), old[3], "").unwrap().events, 0);
    fixture.retention = Retention::new().time(Duration::from_secs(60));
    drop(log);
    let log = fixture.open_local();
    let new = append(&log, draft(&["s1"], "2"));
    assert_eq!(
        read(&log, &[("s1", old[97])], ALL),
        (vec![(0, old[98]), (0, old[99]), (0, new)], vec![])
    );
    assert_eq!(log.count(&channel("s1"), old[97], "").unwrap().events, 3);
    // When it is trimmed, nothing changes for readers but the marks.
    fixture.retention = Retention::new().time(Duration::from_millis(1));
    drop(log);
    std::thread::sleep(Duration::from_millis(10));
    let log = fixture.open_local();
    log.expire();
    until("it is trimmed", || {
        let state = log.shared().state.lock();
        ["s1", "s2"]
            .iter()
            .all(|name| state.stored.get(name).unwrap().record.count == 0)
    });
    assert_eq!(
        read(&log, &[("s1", 0), ("s2", old[99]), ("s1", new)], ALL),
        (vec![], vec![0])
    );
    let newest = append(&log, draft(&["s2"], "3"));
    assert!(newest > new);
}

#[test]
fn records_are_there_when_it_is_opened_again_in_their_order() {
    for kind in [Kind::Process, Kind::Power] {
        let fixture = stored(kind);
        let log = fixture.open_local();
        for number in 0..10_u8 {
            log.put(Bytes::from(vec![b'a', number]), Some(Bytes::from(vec![number])));
        }
        log.put(Bytes::from_static(b"b"), Some(Bytes::from_static(b"other")));
        log.put(Bytes::from(vec![b'a', 3]), None);
        log.put(Bytes::from(vec![b'a', 4]), Some(Bytes::from_static(b"new")));
        append(&log, draft(&["m1"], "1")); // what was put before is kept with it
        let log = fixture.killed().open_local();
        let records = log.records(b"a");
        assert_eq!(records.len(), 9);
        assert!(records.is_sorted());
        assert_eq!(records[3], (Bytes::from(vec![b'a', 4]), Bytes::from_static(b"new")));
        assert_eq!(log.records(b"").len(), 10);
        assert_eq!(log.records(b"c"), []);
    }
}

#[test]
fn a_channel_keeps_what_its_rule_says_across_many_lookups() {
    let mut fixture = stored(Kind::Process);
    fixture.retention = Retention::new().keep(50);
    let log = fixture.open_local();
    let mut published = Vec::new();
    for _ in 0..8 {
        let waiting: Vec<_> = (0..100).map(|_| log.append(draft(&["s1"], "1"))).collect();
        published.extend(waiting.into_iter().map(|appending| wait(appending).unwrap().id.seq()));
        assert_eq!(history(&log, "s1"), published[published.len() - 50..]);
    }
    fixture.retention = Retention::new().keep(7);
    drop(log);
    let log = fixture.open_local();
    log.expire();
    until("a stricter rule is applied", || history(&log, "s1").len() == 7);
    assert_eq!(history(&log, "s1"), published[published.len() - 7..]);
}

#[test]
fn a_page_ends_where_it_is_told_to_also_where_only_the_store_has_it() {
    let mut fixture = stored(Kind::Process);
    fixture.bounds.channel_bytes = 1;
    let log = fixture.open_local();
    let seq: Vec<u64> = (0..10).map(|_| append(&log, draft(&["s1", "s2"], "1"))).collect();
    let one = PageLimit { events: 1, bytes: 1 };
    assert!(log.read_tail(&cursors(&[("s1", seq[2])]), seq[9], ALL).is_none());
    for (after, until, limit, events, next) in [
        (seq[3], seq[3], ALL, 0, seq[3]),
        (seq[5], seq[3], ALL, 0, seq[3]),
        (seq[3], seq[4], ALL, 1, seq[4]),
        (seq[3], seq[7], one, 1, seq[4]),
        (seq[3], u64::MAX, ALL, 6, seq[9]),
        (u64::MAX, u64::MAX, ALL, 0, seq[9]),
    ] {
        let page = log
            .read(&cursors(&[("s1", after), ("s2", after)]), until, limit)
            .unwrap();
        assert_eq!(
            (page.events.len(), page.next, page.gaps.len()),
            (events, next, 0),
            "{after} {until}"
        );
    }
}

#[test]
fn a_store_that_cant_be_opened_says_why_and_what_to_do() {
    let open = |fixture: &Fixture| LocalLog::open(fixture.options()).err().unwrap();
    let shows = |error: &StoreError, words: &[&str]| {
        for word in words {
            assert!(error.to_string().contains(word), "{error}");
        }
    };
    let fixture = stored(Kind::Process);
    let path = fixture.folder.path().to_owned();
    let shown = path.display().to_string();
    let store = path.join("store");

    std::fs::create_dir(&store).unwrap();
    std::fs::write(store.join("holiday.jpg"), "").unwrap();
    let error = open(&fixture);
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    shows(&error, &[&shown, "holiday.jpg", "empty folder"]);
    assert!(store.join("holiday.jpg").exists() && !store.join("db").exists());
    std::fs::remove_dir_all(&store).unwrap();

    let log = fixture.open_local();
    append(&log, draft(&["s1"], "1"));
    let error = open(&fixture);
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    shows(&error, &[&shown, "in use by another process", "folder of its own"]);
    drop(log);

    let format = std::fs::read_to_string(store.join("format")).unwrap();
    std::fs::write(store.join("format"), "tidings store, format 7\n").unwrap();
    let error = open(&fixture);
    assert!(matches!(error, StoreError::Newer { found: 7, .. }), "{error}");
    shows(&error, &[&shown, "format 7", "newer"]);
    std::fs::write(store.join("format"), "gibberish").unwrap();
    let error = open(&fixture);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    shows(&error, &[&shown, "damaged", "backup"]);
    std::fs::write(store.join("format"), &format).unwrap();

    // Nothing of all this has changed what is there.
    assert_eq!(history(&fixture.open_local(), "s1").len(), 1);

    for missing in ["db/version", "db/keyspaces"] {
        let fixture = fixture.killed();
        let missing = fixture.folder.path().join("store").join(missing);
        if missing.is_dir() {
            std::fs::remove_dir_all(&missing).unwrap();
        } else {
            std::fs::remove_file(&missing).unwrap();
        }
        let error = open(&fixture);
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }

    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    let error = open(&fixture);
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    shows(&error, &[&shown, "it is a file"]);
}

#[test]
fn a_folder_that_cant_be_written_is_said_to_be_so() {
    use std::os::unix::fs::PermissionsExt;

    let fixture = stored(Kind::Process);
    let mut options = fixture.options();
    // Not even root makes folders there.
    options.path = "/sys/tidings".into();
    let error = LocalLog::open(options).err().unwrap();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("/sys/tidings can't be written"), "{error}");

    drop(fixture.open_local());
    let store = fixture.folder.path().join("store");
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o555)).unwrap();
    let is_bound_by_it = std::fs::write(store.join("try"), "").is_err(); // root is not
    let outcome = LocalLog::open(fixture.options());
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o755)).unwrap();
    if is_bound_by_it {
        let error = outcome.err().unwrap();
        assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    }
}

#[test]
fn a_process_that_ended_while_it_made_the_store_leaves_nothing_in_the_way() {
    let fixture = stored(Kind::Process);
    let store = fixture.folder.path().join("store");
    std::fs::create_dir_all(store.join("db/keyspaces")).unwrap();
    std::fs::write(store.join("db/0.jnl"), "").unwrap();
    std::fs::write(store.join("format"), "tidings store, format 1, new\n").unwrap();
    append(&fixture.open_local(), draft(&["s1"], "1"));
    assert_eq!(history(&fixture.open_local(), "s1").len(), 1);
}
