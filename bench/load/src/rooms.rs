//! The load of rooms: clients in one or many of them, driven by one loop, and the check of what reaches them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::timerfd::TimerFd;

use crate::event::Event;
use crate::latency::Latencies;
use crate::link::Link;
use crate::protocol::{self, Heard, Place, Protocol, Speaker};
use crate::sequence::{Faults, Sequence};
use crate::workload::{DRAIN, SETTLE};

/// Shared by all clients; what does not fit comes with the next read.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Sockets handled between two looks at the timer.
const READY_MAX: usize = 128;
/// Connections made between two looks at those that are open already, whose pings want an answer.
const CONNECTS_IN_A_ROW: usize = 500;

/// In the epoll set, members have their index, publishers theirs from here on.
const PUBLISHERS: u64 = 1 << 32;
const TIMER: u64 = u64::MAX;

/// How many clients there are and what they do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) clients: usize,
    /// Over which they are spread evenly.
    pub(crate) rooms: usize,
    /// What an event carries.
    pub(crate) data_bytes: usize,
    /// One in so many is ready to stop reading; none with 0.
    pub(crate) stalled_each: usize,
    /// To how many channels each is subscribed. Nothing is published but to the one that is its room.
    pub(crate) channels: usize,
}

/// What reached the clients since it was last cleared.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) deliveries: u64,
    /// Reads that brought at least one event.
    pub(crate) reads: u64,
    pub(crate) latencies: Latencies,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            deliveries: 0,
            reads: 0,
            latencies: Latencies::new(),
        }
    }
}

/// Clients in rooms. The first in each room is also its publisher, where the protocol lets it.
pub(crate) struct Rooms {
    protocol: &'static dyn Protocol,
    address: SocketAddr,
    crowd: Crowd,
    rooms: Vec<Room>,
    members: Vec<Member>,
    /// One for each room, or none.
    publishers: Vec<(Link, Box<dyn Speaker>)>,
    epoll: Epoll,
    ready: Vec<EpollEvent>,
    scratch: Vec<u8>,
    out: Vec<u8>,
    clock: Instant,
    published: u64,
    complete: u64,
    faults: Faults,
    pub(crate) tally: Tally,
}

#[derive(Default)]
struct Room {
    listeners: u32,
    /// For each published event, how many have not had it.
    awaited: Vec<u32>,
}

struct Member {
    /// None once it was closed.
    link: Option<Link>,
    speaker: Box<dyn Speaker>,
    room: usize,
    sequence: Sequence,
    reads: bool,
}

impl Rooms {
    /// Rooms in which nobody is yet.
    pub(crate) fn new(protocol: &'static dyn Protocol, address: SocketAddr, crowd: Crowd) -> Result<Self> {
        Ok(Self {
            protocol,
            address,
            crowd,
            rooms: (0..crowd.rooms).map(|_| Room::default()).collect(),
            members: Vec::new(),
            publishers: Vec::new(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            ready: vec![EpollEvent::empty(); READY_MAX],
            scratch: vec![0; SCRATCH_BYTES],
            out: Vec::new(),
            clock: Instant::now(),
            published: 0,
            complete: 0,
            faults: Faults::default(),
            tally: Tally::new(),
        })
    }

    /// Rooms with their whole crowd.
    pub(crate) fn with_all(protocol: &'static dyn Protocol, address: SocketAddr, crowd: Crowd) -> Result<Self> {
        let mut rooms = Self::new(protocol, address, crowd)?;
        rooms.connect(crowd.clients)?;
        rooms.connect_publishers()?;
        rooms.rest(SETTLE)?;
        Ok(rooms)
    }

    /// Adds clients, one after another. Only before the first event.
    pub(crate) fn connect(&mut self, count: usize) -> Result<()> {
        ensure!(self.published == 0, "events are under way");
        for made in 1..=count {
            let index = self.members.len();
            let room = index % self.rooms.len();
            let mut speaker = self.protocol.member(self.place(room));
            let link = Link::connect(self.address)?;
            if self.may_stall(index) {
                link.narrow()?;
            }
            let link = protocol::enter(link, &mut *speaker, &mut self.scratch)?;
            self.watch_link(&link, index as u64)?;
            self.rooms[room].listeners += 1;
            self.members.push(Member {
                link: Some(link),
                speaker,
                room,
                sequence: Sequence::default(),
                reads: true,
            });
            if made % CONNECTS_IN_A_ROW == 0 {
                self.turn(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    pub(crate) fn connect_publishers(&mut self) -> Result<()> {
        for room in 0..self.rooms.len() {
            let Some(mut speaker) = self.protocol.publisher(self.place(room)) else {
                return Ok(());
            };
            let link = protocol::enter(Link::connect(self.address)?, &mut *speaker, &mut self.scratch)?;
            self.watch_link(&link, PUBLISHERS + room as u64)?;
            self.publishers.push((link, speaker));
        }
        Ok(())
    }

    fn place(&self, room: usize) -> Place {
        Place {
            address: self.address,
            room,
            data_bytes: self.crowd.data_bytes,
            channels: self.crowd.channels,
        }
    }

    /// Never the publishers.
    fn may_stall(&self, index: usize) -> bool {
        let each = self.crowd.stalled_each;
        each > 0 && index % each == each - 1 && index >= self.rooms.len()
    }

    fn watch_link(&self, link: &Link, token: u64) -> Result<()> {
        Ok(self
            .epoll
            .add(&link.stream, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Has the loop wake at the timer's ticks until the timer is dropped.
    pub(crate) fn watch(&self, timer: &TimerFd) -> Result<()> {
        Ok(self.epoll.add(timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?)
    }

    /// From now on those that may stall read nothing more, and nothing is expected of them. All events have arrived.
    pub(crate) fn stall(&mut self) -> Result<()> {
        for index in (0..self.members.len())
            .filter(|index| self.may_stall(*index))
            .collect::<Vec<_>>()
        {
            let member = &mut self.members[index];
            if let Some(link) = &member.link {
                self.epoll.delete(&link.stream)?;
                self.rooms[member.room].listeners -= 1;
                member.reads = false;
            }
        }
        Ok(())
    }

    /// Publishes an event for each of `due`: to the rooms in turn, and in one write where there is only one room.
    pub(crate) fn publish(&mut self, due: impl Iterator<Item = Instant>) -> Result<()> {
        self.out.clear();
        let mut last_room = None;
        for due in due {
            let index = (self.published % self.rooms.len() as u64) as usize;
            if last_room.is_some_and(|last| last != index) {
                self.send(last_room)?;
            }
            let room = &mut self.rooms[index];
            let event = Event {
                seq: room.awaited.len() as u64,
                at_ns: due.duration_since(self.clock).as_nanos() as u64,
            };
            room.awaited.push(room.listeners);
            self.published += 1;
            let speaker = match self.publishers.get_mut(index) {
                Some((_, speaker)) => speaker,
                None => &mut self.members[index].speaker,
            };
            speaker.say(&event.encode(self.crowd.data_bytes), &mut self.out);
            last_room = Some(index);
        }
        self.send(last_room)
    }

    /// Sends what has gathered, as the publisher of that room.
    fn send(&mut self, room: Option<usize>) -> Result<()> {
        let Some(room) = room else {
            return Ok(());
        };
        let link = match self.publishers.get_mut(room) {
            Some((link, _)) => link,
            // The first members of the rooms were spread first.
            None => self.members[room]
                .link
                .as_mut()
                .context("the publisher's connection was closed")?,
        };
        link.send(&self.out)?;
        self.out.clear();
        Ok(())
    }

    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    /// How many events have reached everyone in their room.
    pub(crate) fn complete(&self) -> u64 {
        self.complete
    }

    pub(crate) fn clear_tally(&mut self) {
        self.tally = Tally::new();
    }

    /// Turns until every event has arrived everywhere, or for [`DRAIN`].
    pub(crate) fn drain(&mut self) -> Result<()> {
        let deadline = Instant::now() + DRAIN;
        while self.complete < self.published && Instant::now() < deadline {
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
        let expecting = self.members.iter().filter(|member| member.reads);
        let lost = expecting.map(|member| member.sequence.lost(self.rooms[member.room].awaited.len() as u64));
        Faults {
            lost: lost.sum(),
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
                publisher @ PUBLISHERS.. => self.hear((publisher - PUBLISHERS) as usize)?,
                member => self.read(member as usize)?,
            }
        }
        Ok(ticked)
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        let Some(link) = &mut member.link else {
            return Ok(());
        };
        let now_ns = self.clock.elapsed().as_nanos() as u64;
        let room = &mut self.rooms[member.room];
        let published = room.awaited.len() as u64;
        let (mut deliveries, mut closed) = (0, false);
        self.out.clear();
        let mut listener = |heard: Heard<'_>| {
            let event = match heard {
                Heard::Event(data) => Event::decode(data, self.crowd.data_bytes),
                Heard::Closed => {
                    closed = true;
                    return;
                }
                Heard::Entered | Heard::Answer(_) => None,
            };
            let Some(event) = event.filter(|event| event.seq < published) else {
                self.faults.garbled += 1;
                return;
            };
            if !member.sequence.arrive(event.seq, &mut self.faults) {
                return;
            }
            deliveries += 1;
            self.tally.latencies.record(now_ns.saturating_sub(event.at_ns));
            let awaited = &mut room.awaited[event.seq as usize];
            *awaited -= 1;
            self.complete += u64::from(*awaited == 0);
        };
        let open = link.read(&mut self.scratch, |bytes| {
            member.speaker.take(bytes, &mut self.out, &mut listener)
        })?;
        self.tally.deliveries += deliveries;
        self.tally.reads += u64::from(deliveries > 0);
        if !open || closed {
            self.faults.cut += 1;
            member.link = None;
        } else if !self.out.is_empty() {
            link.send(&self.out)?;
        }
        Ok(())
    }

    /// What a publisher is told; only that it is still wanted matters.
    fn hear(&mut self, index: usize) -> Result<()> {
        let (link, speaker) = &mut self.publishers[index];
        self.out.clear();
        let mut closed = false;
        let open = link.read(&mut self.scratch, |bytes| {
            speaker.take(bytes, &mut self.out, &mut |heard| closed |= heard == Heard::Closed)
        })?;
        if !open || closed {
            bail!("a publisher's connection was closed");
        }
        link.send(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::protocol::SocketIo;

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
        frame(&[br#"42["event","#, &Event { seq, at_ns: 1 }.encode(128)[..], b"]"].concat())
    }

    #[test]
    fn what_a_server_does_wrong_is_counted() {
        let garbled = frame(b"42[\"event\",{}]");
        // Never published.
        let invented = event(9);
        let address = serve_one(vec![event(0), event(2), event(2), event(1), garbled, invented]);
        let crowd = Crowd {
            clients: 1,
            rooms: 1,
            data_bytes: 128,
            stalled_each: 0,
            channels: 1,
        };
        let mut room = Rooms::with_all(&SocketIo, address, crowd).expect("a connection");
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
