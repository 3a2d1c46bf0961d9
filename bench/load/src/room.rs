//! The load: clients in one room, driven by one loop, and the check of what reaches them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::timerfd::TimerFd;

use crate::client::Client;
use crate::event::Event;
use crate::latency::Latencies;
use crate::sequence::{Faults, Sequence};

/// Shared by all clients; what does not fit comes with the next read.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Sockets handled between two looks at the timer.
const READY_MAX: usize = 128;
/// Connections made between two looks at those that are open already, whose pings want an answer.
const CONNECTS_IN_A_ROW: usize = 500;

const TIMER: u64 = u64::MAX;

/// What reached the clients since it was last cleared.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) deliveries: u64,
    /// Reads that brought at least one event.
    pub(crate) reads: u64,
    pub(crate) latencies: Latencies,
}

/// Clients in one room. The first is also the publisher.
pub(crate) struct Room {
    clients: Vec<Option<Member>>,
    epoll: Epoll,
    ready: Vec<EpollEvent>,
    scratch: Vec<u8>,
    clock: Instant,
    /// For each published event, how many clients have not had it.
    awaited: Vec<u32>,
    complete: u64,
    faults: Faults,
    pub(crate) tally: Tally,
}

struct Member {
    client: Client,
    sequence: Sequence,
}

impl Room {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            clients: Vec::new(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            ready: vec![EpollEvent::empty(); READY_MAX],
            scratch: vec![0; SCRATCH_BYTES],
            clock: Instant::now(),
            awaited: Vec::new(),
            complete: 0,
            faults: Faults::default(),
            tally: Tally {
                deliveries: 0,
                reads: 0,
                latencies: Latencies::new(),
            },
        })
    }

    /// Adds clients, one after another. Only before the first event.
    pub(crate) fn connect(&mut self, address: SocketAddr, count: usize) -> Result<()> {
        ensure!(self.awaited.is_empty(), "events are under way");
        for made in 1..=count {
            let client = Client::connect(address)?;
            self.epoll.add(
                &client.stream,
                EpollEvent::new(EpollFlags::EPOLLIN, self.clients.len() as u64),
            )?;
            self.clients.push(Some(Member {
                client,
                sequence: Sequence::default(),
            }));
            if made % CONNECTS_IN_A_ROW == 0 {
                self.turn(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// Has the loop wake at the timer's ticks until the timer is dropped.
    pub(crate) fn watch(&self, timer: &TimerFd) -> Result<()> {
        Ok(self.epoll.add(timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?)
    }

    /// Publishes an event for each of `due`, in one write.
    pub(crate) fn publish(&mut self, due: impl Iterator<Item = Instant>) -> Result<()> {
        let clients = u32::try_from(self.clients.len())?;
        let packets: Vec<Vec<u8>> = due
            .map(|due| {
                let seq = self.awaited.len() as u64;
                self.awaited.push(clients);
                let at_ns = due.duration_since(self.clock).as_nanos() as u64;
                Event { seq, at_ns }.encode()
            })
            .collect();
        match self.clients.first_mut() {
            Some(Some(publisher)) => publisher.client.send(&packets),
            _ => anyhow::bail!("the publisher's connection was closed"),
        }
    }

    pub(crate) fn published(&self) -> u64 {
        self.awaited.len() as u64
    }

    /// How many events have reached every client.
    pub(crate) fn complete(&self) -> u64 {
        self.complete
    }

    pub(crate) fn clear_tally(&mut self) {
        self.tally.deliveries = 0;
        self.tally.reads = 0;
        self.tally.latencies.clear();
    }

    /// Turns until every event has arrived everywhere, or for `wait`.
    pub(crate) fn drain(&mut self, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        while self.complete < self.published() && Instant::now() < deadline {
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Turns for `wait`, whatever comes.
    pub(crate) fn rest(&mut self, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            self.turn(left.min(Duration::from_millis(100)))?;
        }
        Ok(())
    }

    /// Everything that was wrong, with what has not arrived by now as lost.
    pub(crate) fn faults(&self) -> Faults {
        let published = self.published();
        let lost: u64 = self
            .clients
            .iter()
            .flatten()
            .map(|member| member.sequence.lost(published))
            .sum();
        Faults {
            lost: self.faults.lost + lost,
            ..self.faults
        }
    }

    /// One turn of the loop: waits up to `wait`, then reads what came. True when a watched timer has ticked.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<bool> {
        let timeout = EpollTimeout::from(wait.as_millis().min(60_000) as u16);
        let count = match self.epoll.wait(&mut self.ready, timeout) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        let mut ticked = false;
        for index in 0..count {
            match self.ready[index].data() {
                TIMER => ticked = true,
                client => self.read(client as usize)?,
            }
        }
        Ok(ticked)
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let Some(Some(member)) = self.clients.get_mut(index) else {
            return Ok(());
        };
        let now_ns = self.clock.elapsed().as_nanos() as u64;
        let published = self.awaited.len() as u64;
        let mut deliveries = 0;
        let open = member.client.read(&mut self.scratch, |packet| {
            let Some(event) = Event::decode(packet).filter(|event| event.seq < published) else {
                self.faults.garbled += 1;
                return;
            };
            if !member.sequence.arrive(event.seq, &mut self.faults) {
                return;
            }
            deliveries += 1;
            let latency_ns = now_ns.saturating_sub(event.at_ns);
            self.tally.latencies.record(latency_ns);
            let awaited = &mut self.awaited[event.seq as usize];
            *awaited -= 1;
            self.complete += u64::from(*awaited == 0);
        })?;
        self.tally.deliveries += deliveries;
        self.tally.reads += u64::from(deliveries > 0);
        if !open {
            self.faults.cut += 1;
            self.faults.lost += member.sequence.lost(published);
            self.clients[index] = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// An unmasked text frame.
    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81, 126];
        frame.extend((payload.len() as u16).to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// Lets one client in, answers its first events with `answer`, and closes when the client does.
    fn serve_one(answer: Vec<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut heard = [0; 4096];
            let mut talk = |answer: Vec<u8>| {
                assert!(stream.read(&mut heard).expect("the client") > 0);
                stream.write_all(&answer).expect("the client");
            };
            let mut open = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
            open.extend(frame(b"0{}"));
            talk(open);
            talk(frame(b"40{}"));
            talk(answer.concat());
            while stream.read(&mut heard).is_ok_and(|count| count > 0) {}
        });
        address
    }

    fn event(seq: u64) -> Vec<u8> {
        frame(&Event { seq, at_ns: 1 }.encode())
    }

    #[test]
    fn what_a_server_does_wrong_is_counted() {
        let garbled = frame(b"42[\"event\",{}]");
        // Never published.
        let invented = event(9);
        let address = serve_one(vec![event(0), event(2), event(2), event(1), garbled, invented]);
        let mut room = Room::new().expect("epoll");
        room.connect(address, 1).expect("a connection");
        room.publish((0..4).map(|_| Instant::now())).expect("a publish");
        let deadline = Instant::now() + Duration::from_secs(10);
        while room.faults.garbled < 2 && Instant::now() < deadline {
            room.turn(Duration::from_millis(10)).expect("a turn");
        }
        assert_eq!(
            room.faults(),
            Faults {
                lost: 1,
                repeated: 1,
                reordered: 1,
                garbled: 2,
                cut: 0
            }
        );
        assert_eq!((room.complete(), room.tally.deliveries), (3, 3));
    }
}
