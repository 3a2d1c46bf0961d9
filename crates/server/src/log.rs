//! The log: to stderr, so that stdout stays what scripts read.
//!
//! Whoever reads it may be slow, stuck or gone, and nothing else waits for that: a thread of its own writes, and lines that it
//! can't take any more are dropped and counted.

use std::backtrace::Backtrace;
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

/// What is logged unless `RUST_LOG` says otherwise: of the store's insides only what may be wrong.
const FILTER: &str = "info,fjall=warn,lsm_tree=warn";

/// Lines that may wait for who reads them.
const LINES_MAX: usize = 4_096;

/// How long the end waits for who reads the log.
const PATIENCE: Duration = Duration::from_secs(1);

/// The log of this process, once it is started.
static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

/// Where lines are put that are to be written.
struct Lines {
    queue: SyncSender<Vec<u8>>,
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// Starts it, one JSON object a line if asked for.
pub(crate) fn start(json: bool) {
    let (lines, queued) = Lines::new(LINES_MAX);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Arc::clone(&lines))
        .with_ansi(io::stderr().is_terminal());
    if json {
        log.json().flatten_event(true).init();
    } else {
        log.init();
    }
    let writing = Arc::clone(&lines);
    // Without a thread for it there is no log; the server goes on.
    let _ = thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writing.write_to(&mut io::stderr(), queued));
    let _ = LINES.set(lines);
    // The usual hook would write to stderr itself, and wait for who reads it.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let thread = thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(thread, %backtrace, "panicked: {panic}");
        flush();
    }));
}

/// Lines that nobody took, since the start.
pub(crate) fn dropped() -> u64 {
    LINES.get().map_or(0, |lines| lines.dropped.load(Ordering::Relaxed))
}

/// Waits until all lines are written, but not for long.
pub(crate) fn flush() {
    let deadline = Instant::now() + PATIENCE;
    while LINES
        .get()
        .is_some_and(|lines| lines.waiting.load(Ordering::Acquire) > 0)
        && Instant::now() < deadline
    {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Says a last word on stderr, and does not wait for long for who reads it.
pub(crate) fn say(text: String) {
    let (done, is_done) = channel();
    thread::spawn(move || {
        // There is nobody left to tell when stderr is gone.
        let _ = writeln!(io::stderr(), "{text}");
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(PATIENCE);
}

impl Lines {
    fn new(max: usize) -> (Arc<Self>, Receiver<Vec<u8>>) {
        let (queue, queued) = sync_channel(max);
        let lines = Self {
            queue,
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        };
        (Arc::new(lines), queued)
    }

    /// Writes what comes, for as long as the process is there.
    fn write_to(&self, out: &mut impl Write, queued: impl IntoIterator<Item = Vec<u8>>) {
        let mut told = 0;
        for line in queued {
            // What can't be written is lost: there is no other place to say so.
            let _ = out.write_all(&line);
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            let dropped = self.dropped.load(Ordering::Relaxed);
            // Once for all of them, when there is room again.
            if dropped > told && self.waiting.load(Ordering::Acquire) == 0 {
                tracing::warn!(
                    lines = dropped - told,
                    "log lines were dropped: who reads the log is too slow"
                );
                told = dropped;
            }
        }
    }
}

/// One line each time, and never an error.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(line.to_vec()).is_err() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_logs_waits_for_nobody() {
        let (lines, queued) = Lines::new(2);
        for line in ["a\n", "b\n", "c\n"] {
            (&*lines).write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(lines.waiting.load(Ordering::Relaxed), 2);
        assert_eq!(lines.dropped.load(Ordering::Relaxed), 1);
        let waiting: Vec<Vec<u8>> = queued.try_iter().collect();
        assert_eq!(waiting, [b"a\n", b"b\n"]);
        drop(queued);
        (&*lines).write_all(b"d\n").unwrap();
        assert_eq!(lines.dropped.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_nobody_reads_is_written_off() {
        struct Gone(usize);
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (lines, queued) = Lines::new(8);
        (&*lines).write_all(b"a\n").unwrap();
        (&*lines).write_all(b"b\n").unwrap();
        let mut gone = Gone(0);
        lines.write_to(&mut gone, queued.try_iter());
        assert_eq!((gone.0, lines.waiting.load(Ordering::Relaxed)), (2, 0));
    }
}
