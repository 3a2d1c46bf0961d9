//! A resume storm: clients that were away come back at once, and each is to get what it missed.

mod session;
mod transport;

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use self::session::Session;
pub(crate) use self::transport::Transport;
use self::transport::{Past, Protocol};
use crate::broker::{CHANNELS, api_publish};
use crate::http;
use crate::kernel::{self, Accounts};
use crate::latency::Latencies;
use crate::link::Link;
use crate::note::Note;
use crate::round::{Figures, Return, Round};
use crate::sequence::{Faults, Sequence};
use crate::server::Server;
use crate::workload::{DRAIN, SETTLE};

const SCRATCH_BYTES: usize = 64 * 1024;
const READY_MAX: usize = 128;
/// A storm that takes longer has failed.
const STORM_WAIT: Duration = Duration::from_secs(60);
/// Each client has had the first event of its channel.
const BEFORE: u64 = 1;

/// Who comes back, and to what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storm {
    /// Dealt to the clients in turn.
    pub(crate) transports: &'static [Transport],
    pub(crate) clients: usize,
    /// Events that each missed.
    pub(crate) missed: u64,
    /// Whether the server was killed and started again meanwhile, and its files are no longer in the kernel's memory.
    pub(crate) restarted: bool,
}

struct Client {
    link: Option<Link>,
    protocol: Protocol,
    connected: bool,
    channel: usize,
    sequence: Sequence,
    count: u64,
}

/// The clients on their way back, and the loop that drives them.
struct Crowd {
    address: SocketAddr,
    clients: Vec<Client>,
    epoll: Epoll,
    ready: Vec<EpollEvent>,
    scratch: Vec<u8>,
    /// So many events of each channel were published, the first one included.
    published: u64,
    /// A client that has got so many has all it missed.
    missed: u64,
    complete: usize,
    begun: Instant,
    times: Latencies,
    faults: Faults,
}

pub(crate) fn run(server: &mut Server, storm: Storm) -> Result<Round> {
    let pasts = depart(server, storm)?;
    if storm.restarted {
        server.restart()?;
    }
    let pid = server.pid();
    let before_kib = kernel::resident_kib(pid)?;
    kernel::forget_peak(pid)?;

    let accounts = Accounts::now(pid)?;
    let mut crowd = Crowd::begin(server.address, pasts, storm.missed)?;
    let deadline = crowd.begun + STORM_WAIT;
    while crowd.complete < storm.clients && Instant::now() < deadline {
        crowd.turn(Duration::from_millis(100))?;
    }
    let time = crowd.begun.elapsed();
    let usage = accounts.until(Accounts::now(pid)?);
    let figures = Return::new(storm, time, &crowd.times, before_kib, kernel::peak_kib(pid)?, &usage);

    // One more for each, live: the storm has left them where they should be.
    publish(server.address, BEFORE + storm.missed..BEFORE + storm.missed + 1)?;
    crowd.published += 1;
    let deadline = Instant::now() + DRAIN;
    while crowd.lost() > 0 && Instant::now() < deadline {
        crowd.turn(Duration::from_millis(10))?;
    }
    let deadline = Instant::now() + SETTLE;
    while Instant::now() < deadline {
        crowd.turn(Duration::from_millis(50))?;
    }
    let faults = Faults {
        lost: crowd.lost(),
        ..crowd.faults
    };
    Ok(Round::new(Figures::Return(figures), &usage, faults))
}

/// Has all clients be there once, as far as their transport leaves a trace, lose their connection, and miss what is
/// published then.
fn depart(server: &Server, storm: Storm) -> Result<Vec<Past>> {
    let address = server.address;
    let mut sessions = Vec::new();
    for number in 0..storm.clients {
        let transport = storm.transports[number % storm.transports.len()];
        let channel = number / storm.transports.len() % CHANNELS;
        let session = match transport {
            Transport::SocketIo => Some(Session::enter(address, channel)?),
            Transport::Ws | Transport::Sse => None,
        };
        sessions.push((transport, channel, session));
    }
    let last_id = publish(address, 0..BEFORE)?;
    let mut pasts = Vec::new();
    for (transport, channel, session) in sessions {
        let (session, id) = match session {
            Some(session) => session.leave()?,
            None => (String::new(), last_id.clone()),
        };
        pasts.push(Past {
            transport,
            channel,
            id,
            session,
        });
    }
    // The server sees the connections end before the events are there.
    std::thread::sleep(SETTLE);
    publish(address, BEFORE..BEFORE + storm.missed)?;
    Ok(pasts)
}

/// Publishes these events of each channel, and gives the id of the last.
pub(crate) fn publish(address: SocketAddr, seqs: std::ops::Range<u64>) -> Result<String> {
    let mut link = Link::connect(address)?;
    let mut last_id = None;
    for seq in seqs {
        for channel in 0..CHANNELS {
            let note = Note {
                lane: channel as u32,
                seq,
                at_ns: 0,
            };
            let answer = link.ask(&api_publish(address, channel, &note.encode()), |bytes| {
                let Some((head, body)) = http::answer(bytes)? else {
                    return Ok(None);
                };
                ensure!(
                    head.status == 200,
                    "a publish was answered {} {}",
                    head.status,
                    String::from_utf8_lossy(body)
                );
                let answer: serde_json::Value = serde_json::from_slice(body)?;
                Ok(Some((head.bytes + body.len(), answer)))
            })?;
            last_id = answer["id"].as_str().map(String::from);
        }
    }
    last_id.context("a publish was answered without an id")
}

impl Crowd {
    /// Begins to connect all of them.
    fn begin(address: SocketAddr, pasts: Vec<Past>, missed: u64) -> Result<Self> {
        let mut crowd = Self {
            address,
            clients: Vec::with_capacity(pasts.len()),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            ready: vec![EpollEvent::empty(); READY_MAX],
            scratch: vec![0; SCRATCH_BYTES],
            published: BEFORE + missed,
            missed,
            complete: 0,
            begun: Instant::now(),
            times: Latencies::new(),
            faults: Faults::default(),
        };
        for past in pasts {
            let stream = begin_connecting(address)?;
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
            crowd
                .epoll
                .add(&stream, EpollEvent::new(flags, crowd.clients.len() as u64))?;
            crowd.clients.push(Client {
                link: Some(Link::of(stream)),
                channel: past.channel,
                protocol: Protocol::new(past),
                connected: false,
                sequence: Sequence::starting_at(BEFORE),
                count: 0,
            });
        }
        Ok(crowd)
    }

    fn lost(&self) -> u64 {
        self.clients
            .iter()
            .map(|client| client.sequence.lost(self.published))
            .sum()
    }

    fn turn(&mut self, wait: Duration) -> Result<()> {
        let timeout = EpollTimeout::from(wait.as_millis() as u16);
        let count = match self.epoll.wait(&mut self.ready, timeout) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for index in 0..count {
            let event = self.ready[index];
            let client = event.data() as usize;
            if !self.clients[client].connected {
                self.enter(client)?;
            }
            if event.events().contains(EpollFlags::EPOLLIN) {
                self.read(client)?;
            }
        }
        Ok(())
    }

    /// The connection is open, or failed to.
    fn enter(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        let Some(link) = &mut client.link else {
            return Ok(());
        };
        if let Some(error) = link.stream.take_error()? {
            return Err(error).context("coming back");
        }
        link.send(client.protocol.request(self.address).as_bytes())?;
        client.connected = true;
        let mut interest = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        Ok(self.epoll.modify(&link.stream, &mut interest)?)
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let Client {
            link: client_link,
            protocol,
            channel,
            sequence,
            count,
            ..
        } = &mut self.clients[index];
        let Some(link) = client_link else {
            return Ok(());
        };
        let (faults, published, before) = (&mut self.faults, self.published, *count);
        let mut out = Vec::new();
        let open = link.read(&mut self.scratch, |bytes| {
            protocol.take(bytes, &mut out, &mut |note| match note {
                Some(note) if note.lane as usize == *channel && note.seq < published => {
                    *count += u64::from(sequence.arrive(note.seq, faults));
                }
                _ => faults.garbled += 1,
            })
        })?;
        if before < self.missed && *count >= self.missed {
            self.complete += 1;
            self.times.record(self.begun.elapsed().as_nanos() as u64);
        }
        if !open {
            faults.cut += 1;
            *client_link = None;
            return Ok(());
        }
        if !out.is_empty() {
            link.send(&out)?;
        }
        Ok(())
    }
}

/// A socket on its way to the address, which never waits.
fn begin_connecting(address: SocketAddr) -> Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let SocketAddr::V4(address) = address else {
        anyhow::bail!("{address} is not IPv4");
    };
    match connect(socket.as_raw_fd(), &SockaddrIn::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error).context("coming back"),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}
