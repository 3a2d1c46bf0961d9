//! Calls that nobody waits for: they are made in the background, and tried again for a while when they fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::answer;
use super::call::{Call, Caller};
use super::queue::{Queue, Tries};

/// Such calls at once: most places are for those that somebody waits for.
const WORKERS: usize = 8;

/// How long to wait between tries while the server ends.
const PAUSE_AT_END: Duration = Duration::from_millis(500);

/// For every so many that are dropped the log has a line.
const DROPPED_TOLD: u64 = 1_000;

/// What is to be told when there is time.
pub(super) struct Late {
    queue: Mutex<Queue<(Call, Tries)>>,
    arrived: Notify,
    /// Those that were taken out of the queue and are under way.
    working: AtomicUsize,
    is_ending: watch::Sender<bool>,
}

impl Late {
    /// Begins to make calls, for as long as the process lives.
    pub(super) fn start(caller: &Arc<Caller>) -> Arc<Self> {
        let late = Arc::new(Self {
            queue: Mutex::new(Queue::new()),
            arrived: Notify::new(),
            working: AtomicUsize::new(0),
            is_ending: watch::Sender::new(false),
        });
        for _ in 0..WORKERS {
            let (late, caller) = (Arc::clone(&late), Arc::clone(caller));
            tokio::spawn(async move { late.work(&caller).await });
        }
        late
    }

    /// Notes what is to be told. It never waits.
    pub(super) fn tell(&self, call: Call) {
        let dropped = self.queue.lock().push((call, Tries::new(Instant::now())));
        if let Some(dropped) = dropped.filter(|dropped| dropped % DROPPED_TOLD == 1) {
            tracing::warn!(
                dropped,
                "the back end is behind: the oldest of what it was to be told is dropped"
            );
        }
        self.arrived.notify_one();
    }

    /// How many were dropped since there were too many.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.lock().dropped()
    }

    /// Makes what calls are left, until then at the latest. How many could not be made.
    pub(super) async fn end(&self, deadline: Instant) -> usize {
        self.is_ending.send_replace(true);
        while self.left() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.left()
    }

    /// How many are waiting or under way.
    pub(super) fn left(&self) -> usize {
        // Under the lock, under which they are taken.
        let queue = self.queue.lock();
        queue.len() + self.working.load(Ordering::Acquire)
    }

    async fn work(&self, caller: &Arc<Caller>) {
        loop {
            let (call, tries) = self.next().await;
            self.make(caller, call, tries).await;
            self.working.fetch_sub(1, Ordering::AcqRel);
        }
    }

    async fn next(&self) -> (Call, Tries) {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut queue = self.queue.lock();
                if let Some(next) = queue.pop() {
                    self.working.fetch_add(1, Ordering::AcqRel);
                    if queue.len() > 0 {
                        // One that was told may stand for several that came.
                        self.arrived.notify_one();
                    }
                    return next;
                }
            }
            arrived.await;
        }
    }

    async fn make(&self, caller: &Arc<Caller>, call: Call, mut tries: Tries) {
        let mut is_ending = self.is_ending.subscribe();
        while caller.call(call.clone(), answer::disconnect).await.is_err() {
            let Some(pause) = tries.pause(Instant::now(), rand::random_range(0.0..=1.0)) else {
                let Call { hook, id, .. } = call;
                return tracing::warn!(hook, id, "the back end could not be told for ten minutes: given up");
            };
            if *is_ending.borrow_and_update() {
                tokio::time::sleep(PAUSE_AT_END).await;
            } else {
                // It wakes where the server ends meanwhile.
                let _ = tokio::time::timeout(pause, is_ending.changed()).await;
            }
        }
    }
}
