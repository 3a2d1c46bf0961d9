//! The driver of one socket: runs its handlers one after another, in the order of its events.
//!
//! A handler is polled once where its event was read. Most end there, and the ack goes out with the same turn's
//! writes; what awaits something goes on as a task, and the socket's further events wait behind it.

use std::cell::{Cell as StdCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::client;
use super::extract::Event;
use super::handler;
use super::reason::Reason;
use super::socket::SocketInner;
use crate::connection::Connection;
use crate::limits::{QUEUE_BYTES_MAX, TURN_JOBS_MAX, UNSENT_BYTES_MAX};
use crate::shard::command::Command;
use crate::shard::run::{self, Cell, Task};

/// What a socket's application is to be told.
pub(crate) enum Job {
    Connect,
    Event { event: Event, ack: Option<u64> },
    End(Reason),
}

pub(crate) struct Driver {
    pub(crate) socket: Arc<SocketInner>,
    queue: RefCell<VecDeque<Job>>,
    queued_bytes: StdCell<usize>,
    is_running: StdCell<bool>,
    /// It will be driven, or waits for its connection to drain: no event needs to see to that.
    is_scheduled: StdCell<bool>,
}

impl Driver {
    pub(crate) fn new(socket: Arc<SocketInner>) -> Rc<Self> {
        Rc::new(Self {
            socket,
            queue: RefCell::default(),
            queued_bytes: StdCell::new(0),
            is_running: StdCell::new(false),
            is_scheduled: StdCell::new(false),
        })
    }

    /// Whether so much waits that the client should not be read from.
    pub(crate) fn is_behind(&self) -> bool {
        self.queued_bytes.get() > QUEUE_BYTES_MAX
    }

    /// Whether nothing waits and nothing runs: the next job need not wait in the queue either.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_running.get() && !self.is_scheduled.get() && self.queue.borrow().is_empty()
    }

    /// Notes that it will be driven; false when that was so already.
    pub(crate) fn schedule(&self) -> bool {
        !self.is_scheduled.replace(true)
    }

    pub(crate) fn push(&self, job: Job) {
        self.queued_bytes.set(self.queued_bytes.get() + bytes(&job));
        self.queue.borrow_mut().push_back(job);
    }

    fn push_first(&self, job: Job) {
        self.queued_bytes.set(self.queued_bytes.get() + bytes(&job));
        self.queue.borrow_mut().push_front(job);
    }

    fn pop(&self) -> Option<Job> {
        let mut queue = self.queue.borrow_mut();
        let job = queue.pop_front()?;
        self.queued_bytes.set(self.queued_bytes.get() - bytes(&job));
        if queue.is_empty() {
            *queue = VecDeque::new();
        }
        Some(job)
    }
}

fn bytes(job: &Job) -> usize {
    match job {
        Job::Event { event, .. } => event.bytes() + size_of::<Job>(),
        Job::Connect | Job::End(_) => 0,
    }
}

/// Runs `first`, if there is one, and what waits, unless it is running already.
pub(crate) fn drive(cell: &Rc<Cell>, driver: &Rc<Driver>, first: Option<Job>) {
    driver.is_scheduled.set(false);
    if driver.is_running.replace(true) {
        return first.into_iter().for_each(|job| driver.push_first(job));
    }
    let was_behind = driver.is_behind();
    run_jobs(cell, driver, first);
    if was_behind && !driver.is_behind() {
        client::resume(cell, driver.socket.key);
    }
}

fn run_jobs(cell: &Rc<Cell>, driver: &Rc<Driver>, mut first: Option<Job>) {
    for _ in 0..TURN_JOBS_MAX {
        let Some(job) = first.take().or_else(|| driver.pop()) else {
            return driver.is_running.set(false);
        };
        if matches!(job, Job::Event { .. }) {
            let is_sending = driver.socket.unsent() > UNSENT_BYTES_MAX;
            // Who has ended is told so, whatever waits. That takes a lock, and is seldom asked.
            if (is_sending || is_full(cell, &driver.socket)) && driver.socket.is_connected() {
                driver.push_first(job);
                if is_sending {
                    return wait_until_sent(cell, driver);
                }
                break;
            }
        }
        if let Some(rest) = run::poll_once(&cell.server, task(driver, job)) {
            let rest = run::guard(&cell.server, rest);
            let (cell, driver) = (Rc::clone(cell), Rc::clone(driver));
            tokio::task::spawn_local(async move {
                rest.await;
                driver.is_running.set(false);
                drive(&cell, &driver, None);
            });
            return;
        }
    }
    // Others are to have their turn, and what these handlers sent is to be written first.
    driver.is_running.set(false);
    driver.schedule();
    cell.state.borrow_mut().postpone(Rc::clone(driver));
}

/// Goes on when the answers that are under way have come to the outbox, which may take until the disk has what came before them.
fn wait_until_sent(cell: &Rc<Cell>, driver: &Rc<Driver>) {
    let (done, is_done) = oneshot::channel();
    cell.server.hub.send(driver.socket.key.shard, Command::Settle { done });
    let (cell, driver) = (Rc::clone(cell), Rc::clone(driver));
    let server = Arc::clone(&cell.server);
    let waiting = run::guard(&server, async move {
        let _ = is_done.await;
        driver.is_running.set(false);
        drive(&cell, &driver, None);
    });
    tokio::task::spawn_local(waiting);
}

/// Whether so much is to be written first that its client, who may not read at all, is not to be answered more.
fn is_full(cell: &Cell, socket: &SocketInner) -> bool {
    let is_full = |connection: &mut Connection| connection.is_full(cell.server.hub.limits.outbox_bytes);
    cell.state.borrow_mut().get(socket.key).is_some_and(is_full)
}

fn task(driver: &Rc<Driver>, job: Job) -> Task {
    let socket = Arc::clone(&driver.socket);
    match job {
        Job::Connect => handler::connected(socket),
        Job::Event { event, ack } => handler::event(socket, event, ack),
        Job::End(reason) => handler::ended(socket, reason),
    }
}
