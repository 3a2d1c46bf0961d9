//! The driver of one socket: runs its handlers one after another, in the order of its events.
//!
//! A handler is polled once where its event was read. Most end there, and the ack goes out with the same turn's
//! writes; what awaits something goes on as a task, and the socket's further events wait behind it.

use std::cell::{Cell as StdCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::client;
use super::extract::Event;
use super::handler;
use super::reason::Reason;
use super::socket::SocketInner;
use crate::limits::QUEUE_BYTES_MAX;
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
}

impl Driver {
    pub(crate) fn new(socket: Arc<SocketInner>) -> Rc<Self> {
        Rc::new(Self {
            socket,
            queue: RefCell::default(),
            queued_bytes: StdCell::new(0),
            is_running: StdCell::new(false),
        })
    }

    /// Whether so much waits that the client should not be read from.
    pub(crate) fn is_behind(&self) -> bool {
        self.queued_bytes.get() > QUEUE_BYTES_MAX
    }

    pub(crate) fn push(&self, job: Job) {
        self.queued_bytes.set(self.queued_bytes.get() + bytes(&job));
        self.queue.borrow_mut().push_back(job);
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

/// Runs what waits, unless it is running already.
pub(crate) fn drive(cell: &Rc<Cell>, driver: &Rc<Driver>) {
    if driver.is_running.replace(true) {
        return;
    }
    while let Some(job) = driver.pop() {
        if let Some(rest) = run::poll_once(&cell.server, task(driver, job)) {
            let cell = Rc::clone(cell);
            let driver = Rc::clone(driver);
            let gauge = cell.state.borrow().gauge_tasks();
            tokio::task::spawn_local(async move {
                go_on(&cell, &driver, rest).await;
                drop(gauge);
            });
            return;
        }
    }
    driver.is_running.set(false);
}

async fn go_on(cell: &Rc<Cell>, driver: &Rc<Driver>, first: Task) {
    let mut next = Some(first);
    while let Some(task) = next {
        let gauge = cell.state.borrow().gauge_tasks();
        run::Guarded {
            server: Arc::clone(&cell.server),
            task,
            _gauge: gauge,
        }
        .await;
        let was_behind = driver.is_behind();
        next = driver.pop().map(|job| self::task(driver, job));
        if was_behind && !driver.is_behind() {
            client::resume(cell, driver.socket.key);
        }
    }
    driver.is_running.set(false);
}

fn task(driver: &Rc<Driver>, job: Job) -> Task {
    let socket = Arc::clone(&driver.socket);
    match job {
        Job::Connect => handler::connected(socket),
        Job::Event { event, ack } => handler::event(socket, event, ack),
        Job::End(reason) => handler::ended(socket, reason),
    }
}
