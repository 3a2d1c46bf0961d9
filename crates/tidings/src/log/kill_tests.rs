//! Processes that are killed while they publish, and what their stores hold afterwards.
//!
//! A test starts this test program again as a child that runs only [`child`], which appends and says on its output what was
//! answered. `TIDINGS_KILLS` says how often each is killed (20), `TIDINGS_KILL_SEED` repeats a run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::conformance::{ALL, Fixture, Kind, channel, copy, draft, keyed, seqs, wait};
use super::local::LocalLog;
use super::retention::Retention;
use super::*;

const FOLDER: &str = "TIDINGS_TEST_STORE";
const PUBLISHERS: u64 = 4;
const KEEP: u64 = 200;

/// Appends until it is killed. Each line is `publisher number seq duplicate channel`: what was answered.
#[test]
#[ignore = "is started by the other tests"]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let mut words = folder.split(' ');
    let folder = words.next().unwrap();
    let durability = words.next().unwrap();
    let run: u64 = words.next().unwrap().parse().unwrap();
    let kind = if durability == "power" {
        Kind::Power
    } else {
        Kind::Process
    };
    let mut options = fixture(kind).options();
    options.path = folder.into();
    let log: Arc<dyn Log> = Arc::new(LocalLog::open(options).unwrap());
    say(&format!("open {}", log.position()));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || publish(&*log, publisher, run))
        })
        .collect();
    for publisher in publishers {
        publisher.join().unwrap();
    }
}

fn publish(log: &dyn Log, publisher: u64, run: u64) {
    let mut number = 0;
    loop {
        // Several at once, so that some wait while others are written.
        let mut waiting = Vec::new();
        for _ in 0..(publisher * 3 + 1) {
            number += 1;
            let text = format!("{run}.{publisher}.{number}");
            let names: &[&str] = match number % 4 {
                0 => &["s0", "m0"],
                1 => &["s1"],
                2 => &["m0"],
                _ => &["s0", "s1"],
            };
            let mut draft = draft(
                names,
                &format!("\"{text}\"{}", " ".repeat(usize::try_from(number % 500).unwrap())),
            );
            if number % 3 == 0 {
                draft = keyed(draft, "ann", &text);
            }
            waiting.push((number, log.append(draft)));
        }
        for (number, appending) in waiting {
            match wait(appending) {
                Ok(receipt) => say(&format!("{publisher} {number} {}", receipt.id.seq())),
                Err(error) => {
                    say(&format!("{publisher} {number} {}", error.code()));
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    // Nobody listens any more when the test has failed.
    if writeln!(output, "child {line}").and_then(|()| output.flush()).is_err() {
        std::process::exit(1);
    }
}

fn fixture(kind: Kind) -> Fixture {
    let mut fixture = Fixture::new(kind);
    fixture.retention = Retention::new().keep(KEEP);
    fixture.bounds.channel_bytes = 20_000;
    fixture
}

/// The child that appends to this folder, started by these words before it (`sh -c …`) if there are any.
fn start(wrapper: &[&str], folder: &Path, kind: Kind, run: u64) -> (Child, impl Iterator<Item = String> + use<>) {
    let program = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    let durability = if kind == Kind::Power { "power" } else { "process" };
    let mut child = command
        .args([
            "--exact",
            "log::kill_tests::child",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, format!("{} {durability} {run}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, said(lines))
}

/// What a child says, without what the test harness says.
fn said(lines: BufReader<ChildStdout>) -> impl Iterator<Item = String> {
    let lines = lines.lines().map_while(|line| line.ok());
    // The harness's own words may be on the line before.
    lines.filter_map(|line| line.split_once("child ").map(|(_, words)| words.to_owned()))
}

/// What was answered, over all runs: seq by what was published.
#[derive(Default)]
struct Answered {
    seqs: HashMap<String, u64>,
    highest: u64,
}

impl Answered {
    fn add(&mut self, run: u64, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["open", position] => {
                assert!(
                    position.parse::<u64>().unwrap() >= self.highest,
                    "ids go on above all that were given"
                );
            }
            [publisher, number, seq] => {
                let Ok(seq) = seq.parse::<u64>() else { return };
                self.highest = self.highest.max(seq);
                let before = self.seqs.insert(format!("{run}.{publisher}.{number}"), seq);
                assert_eq!(before, None);
            }
            _ => {} // cut off by the kill
        }
    }
}

/// Looks at the store after a kill: all that was answered and is to be kept is there, once, in order.
fn check(log: &dyn Log, answered: &Answered, seen: &mut BTreeMap<u64, String>) {
    for (name, others) in [("s0", [0, 3]), ("s1", [1, 3])] {
        let history = log.history(&channel(name), From::Newest, ALL).unwrap();
        assert!(history.events.len() as u64 <= KEEP);
        let kept: Vec<u64> = seqs(&history.events);
        assert!(kept.is_sorted_by(|a, b| a < b));
        let oldest = kept.first().copied().unwrap_or(u64::MAX);
        let is_full = kept.len() as u64 == KEEP;
        let texts: HashSet<&str> = history.events.iter().map(|event| text(event)).collect();
        assert_eq!(texts.len(), kept.len(), "nothing is there twice");
        let is_here = |number: &str| {
            let number: u64 = number.rsplit('.').next().unwrap().parse().unwrap();
            others.contains(&(number % 4))
        };
        let mut missing: Vec<_> = answered
            .seqs
            .iter()
            .filter(|(number, seq)| is_here(number) && !kept.contains(seq) && (!is_full || **seq >= oldest))
            .collect();
        missing.sort();
        assert!(missing.is_empty(), "answered and lost in {name}: {missing:?}");
        for event in &history.events {
            if let Some(seq) = answered.seqs.get(text(event)) {
                assert_eq!(*seq, event.seq, "the event has the id that was answered");
            }
            let before = seen.insert(event.seq, text(event).to_owned());
            assert!(before.is_none_or(|before| before == text(event)), "no id is used twice");
        }
        // What was trimmed is a gap, and only that.
        let cursor = |after| Cursor {
            channel: channel(name),
            after,
        };
        let page = log
            .read(&[cursor(0), cursor(oldest.saturating_sub(1))], log.position(), ALL)
            .unwrap();
        assert_eq!(page.gaps, if is_full { vec![0] } else { vec![] });
        assert_eq!(page.events.len(), kept.len());
    }
    // What was answered in the memory-only channel alone is gone, and its clients hear of it.
    let in_memory = answered
        .seqs
        .iter()
        .filter(|(number, _)| !number.ends_with(['1', '3', '5', '7', '9']));
    if let Some(last) = in_memory.map(|(_, seq)| *seq).max() {
        let cursor = Cursor {
            channel: channel("m0"),
            after: last - 1,
        };
        assert_eq!(log.read(&[cursor], log.position(), ALL).unwrap().gaps, [0]);
    }
}

fn text(event: &Event) -> &str {
    event.draft.message.arguments().trim_end().trim_matches('"')
}

/// A small generator is enough to vary moments; its seed tells them all.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % end
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

fn kill_loop(kind: Kind) {
    let kills = number("TIDINGS_KILLS", 20);
    let seed = number("TIDINGS_KILL_SEED", u64::from(std::process::id()));
    println!("TIDINGS_KILL_SEED={seed} TIDINGS_KILLS={kills}");
    let mut random = Random(seed);
    let fixture = fixture(kind);
    let mut answered = Answered::default();
    let mut seen = BTreeMap::new();
    for run in 0..kills {
        let (mut child, mut lines) = start(&[], fixture.folder.path(), kind, run);
        // Sometimes at once, while the store is opened; mostly after some answers.
        let lines_before = if random.below(8) == 0 { 0 } else { 1 + random.below(400) };
        for line in lines.by_ref().take(usize::try_from(lines_before).unwrap()) {
            answered.add(run, &line);
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it ended.
        lines.for_each(|line| answered.add(run, &line));
        if random.below(3) == 0 {
            continue; // and once more without having been opened in between
        }
        let log = fixture.open_local();
        check(&log, &answered, &mut seen);
        if random.below(2) == 0 {
            log.close();
        } else {
            drop(log);
        }
    }
    let log = fixture.open_local();
    check(&log, &answered, &mut seen);
    println!(
        "{kills} kills, {} answers, {} different events seen afterwards",
        answered.seqs.len(),
        seen.len()
    );
    assert!(answered.seqs.len() as u64 > kills);
}

#[test]
fn what_was_answered_survives_kill_9() {
    kill_loop(Kind::Process);
}

#[test]
fn what_was_answered_survives_kill_9_with_power() {
    kill_loop(Kind::Power);
}

/// The child may write files of 1 MiB only, as on a disk that is full; then there is room again.
#[test]
fn a_full_disk_is_told_and_survived() {
    let fixture = fixture(Kind::Process);
    // The journal of a new store is made larger than that.
    fixture.open_local().close();
    let shell = ["sh", "-c", r#"trap "" XFSZ; ulimit -S -f 2048; exec "$0" "$@""#];
    let (mut child, mut lines) = start(&shell, fixture.folder.path(), Kind::Process, 1);
    let mut answered = Answered::default();
    let mut refused = 0;
    let begin = Instant::now();
    let mut is_lifted = false;
    let mut after = 0;
    for line in lines.by_ref() {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{} answers, {refused} refusals",
            answered.seqs.len()
        );
        match line.rsplit(' ').next() {
            Some("store_full") => refused += 1,
            Some("unavailable") => panic!("{line}"),
            _ if is_lifted => after += 1,
            _ => {}
        }
        answered.add(1, &line);
        if refused == 50 && !is_lifted {
            is_lifted = true;
            let pid = child.id().to_string();
            let lifted = Command::new("prlimit")
                .args(["--pid", &pid, "--fsize=unlimited:"])
                .status();
            assert!(lifted.unwrap().success());
        }
        if after == 500 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lines.for_each(|line| answered.add(1, &line));
    assert!(
        is_lifted && after == 500,
        "{} answers, {refused} refusals, {after} afterwards",
        answered.seqs.len()
    );
    check(&fixture.open_local(), &answered, &mut BTreeMap::new());
}

/// As after a loss of power that comes when it can do most harm: nothing is there but what was synced.
#[test]
fn a_store_cut_off_at_its_last_sync_has_all_that_was_answered_with_power() {
    let fixture = fixture(Kind::Power);
    let log = fixture.open_local();
    let last_sync = Arc::new(Mutex::new(Arc::new(fixture.killed())));
    let from = fixture.folder.path().to_owned();
    let to = Arc::clone(&last_sync);
    let store = log.shared().store.read().clone().unwrap();
    // On the writer's thread, so nothing is written meanwhile.
    *store.synced.lock() = Some(Box::new(move || {
        let mut cut = super::kill_tests::fixture(Kind::Power);
        cut.boot = Some("another".to_owned());
        copy(&from, cut.folder.path());
        *to.lock() = Arc::new(cut);
    }));
    let mut answered = Vec::new();
    let mut cuts = Vec::new();
    for number in 0..40 {
        if number % 3 == 0 {
            // What is in no stored channel is not synced.
            wait(log.append(draft(&["m0"], "1"))).unwrap();
            continue;
        }
        let waiting: Vec<_> = (0..number % 4 + 1).map(|_| log.append(draft(&["s0"], "1"))).collect();
        answered.extend(waiting.into_iter().map(|appending| wait(appending).unwrap().id.seq()));
        if number % 5 < 2 {
            cuts.push((Arc::clone(&last_sync.lock()), answered.clone()));
        }
    }
    *store.synced.lock() = None;
    for (cut, answered) in cuts {
        let log = cut.open_local();
        let kept = seqs(&log.history(&channel("s0"), From::Newest, ALL).unwrap().events);
        // Of what was not yet answered there may be some.
        assert!(kept.starts_with(&answered), "{kept:?} {answered:?}");
        assert!(log.position() > *answered.last().unwrap());
    }
}
