//! The shard's thread: the loop of turns, and what runs between them: readers of links, and handlers.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;

use super::receive::Read;
use super::{Shard, TaskGauge};
use crate::connection::Key;
use crate::error::{Code, Error, Result};
use crate::hub;
use crate::limits::{READ_BUFFER_BYTES, TURN_EVENTS_MAX};
use crate::plain::session;
use crate::server::Server;
use crate::shard::command::{Command, Queued};
use crate::socketio::driver;
use crate::socketio::handler::EnterTask;
use crate::socketio::io::Io;

/// A future that lives on a shard's thread: a handler, or what asks the application about a client.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Makes one there.
pub(crate) type Errand = Box<dyn FnOnce() -> Task + Send>;

/// A shard's state with the way to it for tasks of its thread. Never borrowed while a handler runs.
pub(crate) struct Cell {
    pub(crate) state: RefCell<Shard>,
    pub(crate) server: Arc<Server>,
    scratch: RefCell<Box<[u8]>>,
}

/// Starts the threads of a server's shards.
///
/// # Errors
/// Those of the operating system, when it has no thread or no file descriptor left.
pub(crate) fn spawn(server: &Arc<Server>) -> std::io::Result<()> {
    for number in 0..server.hub.shards.len() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let server = Arc::clone(server);
        let number = u16::try_from(number).unwrap_or_default();
        std::thread::Builder::new()
            .name(format!("tidings-shard-{number}"))
            .spawn(move || {
                let cell = Rc::new(Cell {
                    state: RefCell::new(Shard::new(number, Arc::clone(&server))),
                    server: Arc::clone(&server),
                    scratch: RefCell::new(vec![0; READ_BUFFER_BYTES].into()),
                });
                let local = tokio::task::LocalSet::new();
                // A task like the readers and handlers, so that all have their turn one after another; but without
                // tokio's budget of 128 operations, after which every further write would seem to block.
                let ended = local.block_on(&runtime, async {
                    let turns = tokio::task::unconstrained(turns(cell));
                    tokio::task::spawn_local(turns).await
                });
                if ended.is_err() {
                    drop(local); // its clients
                    server.hub.break_down(usize::from(number));
                }
            })?;
    }
    Ok(())
}

/// The loop: wait, take, fan out, flush, sweep.
async fn turns(cell: Rc<Cell>) {
    let server = Arc::clone(&cell.server);
    let number = usize::from(cell.state.borrow().number);
    let handle = &server.hub.shards[number];
    let tick = server.config.sweep_tick();
    let mut sweep = tokio::time::interval(tick);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut expiry = tokio::time::interval(Duration::from_secs(1));
    expiry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut queue = VecDeque::new();
    // Where all threads have one core. A store's own thread does the same.
    let is_polite = !server.hub.has_store && hub::shares_core();
    loop {
        let is_idle = cell.state.borrow().is_idle();
        let mut swept = false;
        tokio::select! {
            biased;
            // First, since there may always be something to do.
            _ = sweep.tick(), if !is_idle => swept = true,
            _ = expiry.tick(), if number == 0 => {
                server.expire();
                Io::root(Arc::clone(&server)).presence().expire(Instant::now());
            }
            () = handle.woken() => {}
        }
        if is_polite && server.hub.log.position() > cell.state.borrow().position {
            // Who publishes may have more, and would get no further than this.
            std::thread::yield_now();
        }
        handle.begin_turn();
        loop {
            // Read before the commands are taken: what was sent before an event up to here is then among them.
            let position = server.hub.log.position();
            let errands = handle.take(&mut queue);
            let is_all = cell.state.borrow_mut().begin_turn(errands, &mut queue, position);
            while !cell.state.borrow_mut().flush_slice() {
                // Readers of links, and handlers, have their turn between two slices: their answers go out with the next.
                start_ready(&cell);
                tokio::task::yield_now().await;
                let errands = handle.take(&mut queue);
                cell.state.borrow_mut().go_on_with_turn(errands, &mut queue);
            }
            let is_done = cell.state.borrow_mut().end_turn() && is_all;
            start_ready(&cell);
            if is_done {
                break;
            }
            tokio::task::yield_now().await;
        }
        if swept {
            cell.state.borrow_mut().sweep();
            start_ready(&cell);
        }
        if cell.state.borrow().stopping {
            handle.stop();
            return;
        }
    }
}

impl Shard {
    /// Carries out what is queued and due, at most so much that the flush does not wait long; true when nothing is left. What
    /// comes after an event that is not yet kept stays in the queue: the log wakes this shard when it is.
    fn begin_turn(&mut self, errands: Vec<Errand>, queue: &mut VecDeque<Queued>, position: u64) -> bool {
        self.tick();
        self.is_in_turn = true;
        self.taken = 0;
        self.asked.extend(errands.into_iter().map(|errand| errand()));
        let is_all = self.take_up_to(position, queue);
        if is_all {
            self.advance(position);
        }
        is_all
    }

    /// Carries out what has come since, and has to wait for no further event.
    fn go_on_with_turn(&mut self, errands: Vec<Errand>, queue: &mut VecDeque<Queued>) {
        self.asked.extend(errands.into_iter().map(|errand| errand()));
        self.take_up_to(self.position, queue);
    }

    /// Carries out what comes after an event up to `position`; false when some of it is left to the next turn.
    fn take_up_to(&mut self, position: u64, queue: &mut VecDeque<Queued>) -> bool {
        while queue.front().is_some_and(|queued| queued.after <= position) {
            if self.taken == 4 * TURN_EVENTS_MAX {
                return false;
            }
            self.taken += 1;
            if let Some(Queued { after, command }) = queue.pop_front() {
                self.advance(after);
                self.execute(command);
            }
        }
        true
    }

    /// When all that was fanned out is flushed; true when nothing has come to be written meanwhile.
    fn end_turn(&mut self) -> bool {
        self.note_delay();
        self.resume_postponed();
        self.is_in_turn = false;
        self.dirty.first.is_empty()
    }
}

impl Shard {
    /// Counts how long the first event that this turn has fanned out was under way.
    fn note_delay(&mut self) {
        if let Some(event_ms) = self.first_event_ms.take() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.meters
                .delay
                .took(now.saturating_sub(Duration::from_millis(event_ms)));
        }
    }

    /// Lets a driver go on in the next turn, when what its handlers sent has been written.
    pub(crate) fn postpone(&mut self, driver: Rc<driver::Driver>) {
        self.postponed.push(driver);
        self.server.hub.shards[usize::from(self.number)].wake();
    }

    fn resume_postponed(&mut self) {
        let outbox_bytes_max = self.server.hub.limits.outbox_bytes;
        for driver in std::mem::take(&mut self.postponed) {
            match self.get(driver.socket.key) {
                // Of one that has ended the connection knows no more: its end would not be told.
                Some(connection) if connection.is_full(outbox_bytes_max) && driver.socket.is_connected() => {
                    connection.drivers_wait = true;
                }
                _ => self.ready.push_back((driver, None)),
            }
        }
    }
}

/// Starts what became ready while the state was borrowed: readers, the application's futures, handlers.
pub(crate) fn start_ready(cell: &Rc<Cell>) {
    loop {
        let (linking, entering, asked) = {
            let mut state = cell.state.borrow_mut();
            (
                std::mem::take(&mut state.linking),
                std::mem::take(&mut state.entering),
                std::mem::take(&mut state.asked),
            )
        };
        let mut is_done = linking.is_empty() && entering.is_empty() && asked.is_empty();
        for (key, task) in linking {
            tokio::task::spawn_local(Reader {
                cell: Rc::clone(cell),
                key,
                task,
            });
        }
        for task in entering {
            start(cell, Box::pin(enter(Rc::clone(cell), task)));
        }
        // The commonest, one by one: their queues keep their memory.
        loop {
            let next = cell.state.borrow_mut().ready.pop_front();
            let Some((driver, job)) = next else { break };
            driver::drive(cell, &driver, job);
            is_done = false;
        }
        loop {
            let next = cell.state.borrow_mut().asking.pop_front();
            let Some(key) = next else { break };
            session::drive(cell, key);
            is_done = false;
        }
        for task in asked {
            start(cell, task);
        }
        if is_done {
            return;
        }
    }
}

/// What the application decides about a client; a panic is an answer too.
pub(crate) async fn decided<T>(deciding: impl Future<Output = Result<T>>) -> Result<T> {
    let outcome = AssertUnwindSafe(deciding).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), "what decides about clients panicked");
        Err(Error::coded(Code::Internal, "internal error"))
    })
}

/// Asks the application about a client, and lets the client in or not.
async fn enter(cell: Rc<Cell>, task: EnterTask) {
    let outcome = decided(task.decide(&cell.server)).await;
    if let Err(error) = &outcome {
        cell.server.hub.refusals.note(error, task.address());
    }
    // As a command, so that it takes its place among the events.
    let EnterTask { key, namespace, .. } = task;
    cell.server.hub.send(
        key.shard,
        Command::Enter {
            key,
            namespace,
            outcome,
        },
    );
}

/// Polls a future once, here and now; what does not end at once goes on as a task of this thread.
pub(crate) fn start(cell: &Rc<Cell>, task: Task) {
    if let Some(rest) = poll_once(&cell.server, task) {
        let guard = cell.state.borrow().gauge_tasks();
        tokio::task::spawn_local(Guarded {
            server: Arc::clone(&cell.server),
            task: rest,
            _gauge: guard,
        });
    }
}

/// Polls a future once; none is left when it ended, be it by a panic.
pub(crate) fn poll_once(server: &Server, mut task: Task) -> Option<Task> {
    let mut cx = Context::from_waker(Waker::noop());
    match poll_guarded(server, &mut task, &mut cx) {
        Poll::Ready(()) => None,
        Poll::Pending => Some(task),
    }
}

/// A future of the application: it runs in the context of the application's runtime, so that what it spawns goes
/// there, and a panic ends it alone.
pub(crate) struct Guarded {
    pub(crate) server: Arc<Server>,
    pub(crate) task: Task,
    pub(crate) _gauge: TaskGauge,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { server, task, .. } = &mut *self;
        poll_guarded(server, task, cx)
    }
}

/// Makes a task of the application's that runs by itself.
pub(crate) fn guard(server: &Arc<Server>, task: impl Future<Output = ()> + 'static) -> Guarded {
    server.hub.gauges.tasks.fetch_add(1, Ordering::AcqRel);
    let gauge = TaskGauge(Arc::clone(&server.hub.gauges));
    Guarded {
        server: Arc::clone(server),
        task: Box::pin(task),
        _gauge: gauge,
    }
}

fn poll_guarded(server: &Server, task: &mut Task, cx: &mut Context<'_>) -> Poll<()> {
    let _runtime = server.application_runtime().map(tokio::runtime::Handle::enter);
    std::panic::catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))).unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), "a handler panicked");
        Poll::Ready(())
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "no message",
    }
}

/// Reads one link, for as long as it is its connection's.
struct Reader {
    cell: Rc<Cell>,
    key: Key,
    task: u32,
}

impl Future for Reader {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let read = {
            let mut scratch = self.cell.scratch.borrow_mut();
            self.cell
                .state
                .borrow_mut()
                .poll_link(self.key, self.task, cx, &mut scratch)
        };
        start_ready(&self.cell);
        match read {
            Read::Waiting => Poll::Pending,
            Read::Again => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Read::Over => Poll::Ready(()),
        }
    }
}
