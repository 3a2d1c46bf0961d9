//! Connecting: clients that come by the dozen, and stay.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::kernel::Accounts;
use crate::latency::Latencies;
use crate::link::Link;
use crate::protocol::{ENTER_WAIT, Heard, Place, Protocol, Speaker};
use crate::round::{Connects, Figures, Round};
use crate::sequence::Faults;
use crate::server::Server;
use crate::workload::DATA_BYTES;

const SCRATCH_BYTES: usize = 64 * 1024;
const READY_MAX: usize = 128;
/// How many are on their way at a time.
const ENTERING: usize = 64;

struct Client {
    link: Link,
    speaker: Box<dyn Speaker>,
    begun: Instant,
    entered: bool,
}

struct Door {
    protocol: &'static dyn Protocol,
    address: SocketAddr,
    clients: Vec<Client>,
    entered: usize,
    epoll: Epoll,
    ready: Vec<EpollEvent>,
    scratch: Vec<u8>,
    out: Vec<u8>,
    times: Latencies,
    faults: Faults,
}

/// Lets in `warm_up` clients, and then those that are measured. All stay to the end.
pub(crate) fn run(
    protocol: &'static dyn Protocol,
    server: &Server,
    warm_up: usize,
    connections: usize,
) -> Result<Round> {
    let mut door = Door {
        protocol,
        address: server.address,
        clients: Vec::new(),
        entered: 0,
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        ready: vec![EpollEvent::empty(); READY_MAX],
        scratch: vec![0; SCRATCH_BYTES],
        out: Vec::new(),
        times: Latencies::new(),
        faults: Faults::default(),
    };
    door.let_in(warm_up)?;
    door.times.clear();
    let begun = Accounts::now(server.pid())?;
    door.let_in(warm_up + connections)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    let figures = Connects::new(connections, &door.times, &usage);
    Ok(Round::new(Figures::Connects(figures), &usage, door.faults))
}

impl Door {
    /// Turns until so many clients are in their room.
    fn let_in(&mut self, count: usize) -> Result<()> {
        let mut deadline = Instant::now() + ENTER_WAIT;
        while self.entered < count {
            while self.clients.len() < count && self.clients.len() - self.entered < ENTERING {
                self.begin()?;
            }
            let before = self.entered;
            self.turn()?;
            if self.entered > before {
                deadline = Instant::now() + ENTER_WAIT;
            }
            ensure!(Instant::now() < deadline, "entering took too long");
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        let index = self.clients.len();
        let place = Place {
            address: self.address,
            room: 0,
            data_bytes: DATA_BYTES,
            channels: 1,
        };
        let begun = Instant::now();
        let mut link = Link::connect(self.address)?;
        link.stop_waiting()?;
        let mut speaker = self.protocol.member_with_token(place, index);
        self.out.clear();
        speaker.begin(&mut self.out, &mut |_| {});
        link.send(&self.out)?;
        self.epoll
            .add(&link.stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        self.clients.push(Client {
            link,
            speaker,
            begun,
            entered: false,
        });
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let wait = EpollTimeout::from(Duration::from_millis(100).as_millis() as u16);
        let count = match self.epoll.wait(&mut self.ready, wait) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for ready in 0..count {
            let client = &mut self.clients[self.ready[ready].data() as usize];
            self.out.clear();
            let before = client.entered;
            let faults = &mut self.faults;
            let open = client.link.read(&mut self.scratch, |bytes| {
                let entered = &mut client.entered;
                client.speaker.take(bytes, &mut self.out, &mut |heard| match heard {
                    Heard::Entered => *entered = true,
                    Heard::Closed => faults.cut += 1,
                    Heard::Event(_) | Heard::Answer(_) => faults.garbled += 1,
                })
            })?;
            ensure!(open, "the server closed the connection");
            if client.entered && !before {
                self.entered += 1;
                self.times.record(client.begun.elapsed().as_nanos() as u64);
            }
            client.link.send(&self.out)?;
        }
        Ok(())
    }
}
