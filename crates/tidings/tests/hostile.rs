//! Whatever bytes arrive, on a WebSocket or in a POST: the process does not panic, others are served, nothing is left.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Client, blocking, eventually, serve};
use tidings::{Event, Socket, Tidings};

/// What well-behaved clients send; attacks are made from it.
const PACKETS: &[&str] = &[
    "40",
    "40{\"token\":1}",
    "40/n1,{}",
    "41",
    "42[\"echo\",1,{\"a\":[]}]",
    "4212[\"echo\"]",
    "42/n1,[\"echo\"]",
    "430[]",
    "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]",
    "461-0[{\"_placeholder\":true,\"num\":0}]",
    "2",
    "3",
    "2probe",
    "5",
    "6",
    "1",
    "bAQID",
    "4",
    "",
    "44{}",
    "42[\"\\ud800\"]",
    "450-[]",
    "40/,",
    "42[\"connect\"]",
    "4299999999999999999999[\"echo\"]",
];

/// Xorshift: repeatable from the seed that a failure prints.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn packet(&mut self) -> Vec<u8> {
        let mut packet = PACKETS[self.below(PACKETS.len())].as_bytes().to_vec();
        for _ in 0..self.below(3) {
            let byte = u8::try_from(self.below(256)).unwrap();
            match (self.below(3), packet.len()) {
                (0, 1..) => packet.truncate(self.below(packet.len())),
                (1, 1..) => {
                    let at = self.below(packet.len());
                    packet[at] = byte;
                }
                _ => packet.push(byte),
            }
        }
        packet
    }

    /// A masked frame (mask zero), sometimes a wrong one.
    fn frame(&mut self) -> Vec<u8> {
        let payload = self.packet();
        let opcode = if self.below(4) > 0 {
            1
        } else {
            u8::try_from(self.below(16)).unwrap()
        };
        let fin = if self.below(8) > 0 { 0x80 } else { 0 };
        let mut frame = vec![fin | opcode, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(&payload);
        if self.below(10) == 0 {
            let at = self.below(frame.len());
            frame[at] = u8::try_from(self.below(256)).unwrap();
        }
        frame
    }
}

fn websocket(address: SocketAddr, random: &mut Random) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..random.below(12) {
        if stream.write_all(&random.frame()).is_err() {
            break; // the server has had enough
        }
    }
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let _ = stream.read(&mut [0; 512]);
}

fn polling(address: SocketAddr, random: &mut Random) {
    let exchange = |method: &str, query: &str, body: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "{method} /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let _ = stream.write_all(body);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response);
        String::from_utf8_lossy(&response).into_owned()
    };
    let opened = exchange("GET", "", b"");
    let Some((_, rest)) = opened.split_once("\"sid\":\"") else {
        panic!("no handshake: {opened}")
    };
    let sid = format!("&sid={}", &rest[..20]);
    for _ in 0..=random.below(3) {
        let body: Vec<u8> = (0..=random.below(4))
            .map(|_| random.packet())
            .collect::<Vec<_>>()
            .join(&0x1e);
        let response = exchange("POST", &sid, &body);
        assert!(
            response.starts_with("HTTP/1.1 2") || response.starts_with("HTTP/1.1 4"),
            "{response}"
        );
    }
    exchange("POST", &sid, b"1");
    // A session that the server has ended waits for its client to hear of it.
    while exchange("GET", &sid, b"").starts_with("HTTP/1.1 200") {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_traffic_harms_nobody() {
    let seed = std::env::var("TIDINGS_FUZZ_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap_or(1) | 1
    });
    println!("TIDINGS_FUZZ_SEED={seed}");
    let io = Tidings::builder().shards(2).build();
    let echo = async |socket: Socket| {
        socket.on("echo", async |event: Event| Ok(event.argument_count()));
    };
    io.on_connect(echo);
    io.of("/n1").on_connect(echo);
    let address = serve(&io).await;
    blocking(move || {
        let mut bystander = Client::connect(address);
        let mut random = Random(seed);
        for round in 0..400 {
            match round % 4 {
                0 => polling(address, &mut random),
                _ => websocket(address, &mut random),
            }
            assert_eq!(bystander.ask("[\"echo\",1,2]"), "[2]", "round {round}");
        }
        assert_eq!(Client::connect(address).ask("[\"echo\"]"), "[0]");
    })
    .await;
    let left = || {
        let counts = io.counts();
        [
            counts.connections,
            counts.sockets,
            counts.subscriptions,
            counts.acks,
            counts.tasks,
        ]
    };
    eventually("all is gone", || left() == [0; 5]).await;
    io.close().await;
}
