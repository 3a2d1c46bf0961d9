//! The limit: what a delivery costs when there is nothing but its `write` system call.
//!
//! It answers just enough of WebSocket, Engine.IO and Socket.IO for the load generator to connect. An event from a
//! client is framed once, and the same bytes are written to each socket, one by one. It checks nothing, keeps
//! nothing and queues nothing: a socket that would block ends the process, so a figure is never bought with loss.

mod handshake;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Larger than all that one client of the generator has under way.
const READ_BYTES: usize = 64 * 1024;

/// The token of the listener in the epoll set; sockets use their descriptor.
const LISTENER: u64 = u64::MAX;
const STDIN: u64 = u64::MAX - 1;

/// Everyone who sent a CONNECT.
type Room = Vec<(RawFd, Rc<TcpStream>)>;

enum State {
    /// The request head so far.
    Handshake(Vec<u8>),
    /// The bytes of a frame that has not arrived whole.
    Open(Vec<u8>),
}

struct Connection {
    stream: Rc<TcpStream>,
    state: State,
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("ready {}", listener.local_addr()?);

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    // The load generator holds our stdin open; when it is gone, so are we.
    epoll.add(io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN, STDIN))?;

    let mut connections: HashMap<RawFd, Connection> = HashMap::new();
    let mut room: Room = Vec::new();
    let mut ready = vec![EpollEvent::empty(); 1024];
    let mut scratch = vec![0; READ_BYTES];
    loop {
        let count = match epoll.wait(&mut ready, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        for event in &ready[..count] {
            match event.data() {
                STDIN => return Ok(()),
                LISTENER => accept(&listener, &epoll, &mut connections)?,
                token => {
                    let fd = token as RawFd;
                    let mut events = Vec::new();
                    if !read(fd, &mut connections, &mut room, &mut scratch, &mut events)? {
                        connections.remove(&fd);
                        room.retain(|(member, _)| *member != fd);
                    }
                    for frame in events {
                        broadcast(&room, &frame)?;
                    }
                }
            }
        }
    }
}

fn accept(listener: &TcpListener, epoll: &Epoll, connections: &mut HashMap<RawFd, Connection>) -> io::Result<()> {
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
        connections.insert(
            fd,
            Connection {
                stream: Rc::new(stream),
                state: State::Handshake(Vec::new()),
            },
        );
    }
}

/// Reads what is there; pushes the frames to broadcast to `events`. False when the connection has ended.
fn read(
    fd: RawFd,
    connections: &mut HashMap<RawFd, Connection>,
    room: &mut Room,
    scratch: &mut [u8],
    events: &mut Vec<Vec<u8>>,
) -> io::Result<bool> {
    let Some(connection) = connections.get_mut(&fd) else {
        return Ok(true);
    };
    let count = match (&*connection.stream).read(scratch) {
        Ok(0) => return Ok(false),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
        Err(_) => return Ok(false),
    };
    match &mut connection.state {
        State::Handshake(head) => {
            head.extend_from_slice(&scratch[..count]);
            if let Some(answer) = handshake::answer(head) {
                (&*connection.stream).write_all(&answer)?;
                connection.state = State::Open(Vec::new());
            }
        }
        State::Open(partial) => {
            partial.extend_from_slice(&scratch[..count]);
            let mut rest = partial.as_mut_slice();
            while let Some((payload, length)) = handshake::client_frame(rest) {
                if payload.starts_with(b"40") {
                    (&*connection.stream).write_all(&handshake::server_frame(br#"40{"sid":"limit"}"#))?;
                    room.push((fd, Rc::clone(&connection.stream)));
                } else if payload.starts_with(b"42") {
                    events.push(handshake::server_frame(payload));
                }
                rest = &mut rest[length..];
            }
            let rest_bytes = rest.len();
            partial.drain(..partial.len() - rest_bytes);
            partial.shrink_to_fit();
        }
    }
    Ok(true)
}

/// The measured loop.
fn broadcast(room: &Room, frame: &[u8]) -> io::Result<()> {
    for (_, stream) in room {
        let written = (&**stream).write(frame)?;
        if written < frame.len() {
            return Err(io::Error::other("a socket took only part of a frame"));
        }
    }
    Ok(())
}
