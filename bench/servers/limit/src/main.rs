//! The limit: what a delivery costs when there is nothing but its `write` system call.
//!
//! It answers just enough of WebSocket for the load generator to connect. A message on `/room/NAME` is framed once, and
//! the same bytes are written to each socket there, one by one; one on `/echo` comes back. With a number as its argument,
//! so many messages of a room go into one write. It checks nothing, keeps nothing and queues nothing: a socket that would
//! block ends the process, so a figure is never bought with loss.

mod handshake;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Larger than most of what one client of the generator has under way.
const READ_BYTES: usize = 64 * 1024;
/// A batch that nothing has been added to for so long is written as it is: no more will come.
const SILENCE_MS: u16 = 5;

/// The token of the listener in the epoll set; sockets use their descriptor.
const LISTENER: u64 = u64::MAX;
const STDIN: u64 = u64::MAX - 1;

/// Everyone at one address, and the frames that wait to become a batch.
#[derive(Default)]
struct Room {
    members: Vec<(RawFd, Rc<TcpStream>)>,
    frames: Vec<u8>,
    count: usize,
}

/// What a connection is there for.
enum Purpose {
    /// Unknown: the request head so far.
    Handshake(Vec<u8>),
    Echo,
    /// One of [`Limit::rooms`].
    Room(usize),
}

struct Connection {
    stream: Rc<TcpStream>,
    purpose: Purpose,
    /// The bytes of a frame that has not arrived whole.
    partial: Vec<u8>,
}

struct Limit {
    batch: usize,
    connections: HashMap<RawFd, Connection>,
    rooms: Vec<Room>,
    /// Where each path's room is.
    paths: HashMap<String, usize>,
    scratch: Vec<u8>,
}

fn main() -> io::Result<()> {
    let batch = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("ready {}", listener.local_addr()?);

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    // The load generator holds our stdin open; when it is gone, so are we.
    epoll.add(io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN, STDIN))?;

    let mut limit = Limit {
        batch,
        connections: HashMap::new(),
        rooms: Vec::new(),
        paths: HashMap::new(),
        scratch: vec![0; READ_BYTES],
    };
    let mut ready = vec![EpollEvent::empty(); 1024];
    loop {
        let waiting = batch > 1 && limit.rooms.iter().any(|room| room.count > 0);
        let timeout = if waiting {
            EpollTimeout::from(SILENCE_MS)
        } else {
            EpollTimeout::NONE
        };
        let count = match epoll.wait(&mut ready, timeout) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        if count == 0 {
            for room in &mut limit.rooms {
                room.write()?;
            }
        }
        for event in &ready[..count] {
            match event.data() {
                STDIN => return Ok(()),
                LISTENER => limit.accept(&listener, &epoll)?,
                token => limit.read(token as RawFd)?,
            }
        }
    }
}

impl Limit {
    fn accept(&mut self, listener: &TcpListener, epoll: &Epoll) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let fd = stream.as_raw_fd();
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, fd as u64))?;
            let connection = Connection {
                stream: Rc::new(stream),
                purpose: Purpose::Handshake(Vec::new()),
                partial: Vec::new(),
            };
            self.connections.insert(fd, connection);
        }
    }

    /// Reads what is there and does what it asks for.
    fn read(&mut self, fd: RawFd) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&fd) else {
            return Ok(());
        };
        let stream = Rc::clone(&connection.stream);
        let count = match (&*stream).read(&mut self.scratch) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(0) | Err(_) => {
                self.leave(fd);
                return Ok(());
            }
            Ok(count) => count,
        };
        let bytes = &self.scratch[..count];
        match &mut connection.purpose {
            Purpose::Handshake(head) => {
                head.extend_from_slice(bytes);
                if let Some(upgrade) = handshake::upgrade(head) {
                    (&*stream).write_all(&upgrade.answer)?;
                    connection.purpose = if upgrade.path == "/echo" {
                        Purpose::Echo
                    } else {
                        let room = *self.paths.entry(upgrade.path).or_insert(self.rooms.len());
                        self.rooms.resize_with(self.rooms.len().max(room + 1), Room::default);
                        self.rooms[room].members.push((fd, stream));
                        Purpose::Room(room)
                    };
                }
            }
            Purpose::Echo => connection.take(bytes, |frame| write(&stream, frame))?,
            Purpose::Room(room) => {
                let (room, batch) = (&mut self.rooms[*room], self.batch);
                connection.take(bytes, |frame| room.take(frame, batch))?;
            }
        }
        Ok(())
    }

    fn leave(&mut self, fd: RawFd) {
        if let Some(Connection {
            purpose: Purpose::Room(room),
            ..
        }) = self.connections.remove(&fd)
        {
            self.rooms[room].members.retain(|(member, _)| *member != fd);
        }
    }
}

impl Connection {
    /// Goes through the whole messages, each framed anew.
    fn take(&mut self, bytes: &[u8], mut on_frame: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.partial.extend_from_slice(bytes);
        let mut rest = self.partial.as_mut_slice();
        while let Some((payload, length)) = handshake::client_frame(rest) {
            on_frame(&handshake::server_frame(payload))?;
            rest = &mut rest[length..];
        }
        let rest_bytes = rest.len();
        self.partial.drain(..self.partial.len() - rest_bytes);
        self.partial.shrink_to_fit();
        Ok(())
    }
}

impl Room {
    /// Adds a frame to the batch, and writes it when it is complete.
    fn take(&mut self, frame: &[u8], batch: usize) -> io::Result<()> {
        self.frames.extend_from_slice(frame);
        self.count += 1;
        if self.count >= batch { self.write() } else { Ok(()) }
    }

    /// The measured loop.
    fn write(&mut self) -> io::Result<()> {
        if self.count > 0 {
            for (_, stream) in &self.members {
                write(stream, &self.frames)?;
            }
        }
        self.frames.clear();
        self.count = 0;
        Ok(())
    }
}

fn write(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let written = stream.write(bytes)?;
    if written < bytes.len() {
        return Err(io::Error::other("a socket took only part of a frame"));
    }
    Ok(())
}
