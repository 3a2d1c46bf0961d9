//! A client that does not read: it costs a bounded amount of memory, delays nobody, loses nothing that is retained, and is
//! told what it lost.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::time::Duration;

use support::{Client, blocking, eventually, serve};
use tidings::{Limits, Slow, Socket, Tidings};

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.outbox_bytes = 64 << 10;
    limits
}

fn in_room(io: &tidings::Io) {
    io.on_connect(async |socket: Socket| socket.join("room"));
}

/// `42["e",17,"xxx…"]` to 17.
fn number(text: &str) -> usize {
    let number = text.strip_prefix("42[\"e\",").and_then(|rest| rest.split(',').next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("not the event: {text:.80}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lags_and_then_gets_everything_in_order() {
    let io = Tidings::builder().limits(limits()).build();
    in_room(&io);
    let address = serve(&io).await;
    let mut slow = blocking(move || Client::connect(address)).await;
    let mut quick = blocking(move || Client::connect(address)).await;
    eventually("both are in the room", || io.counts().subscriptions == 6).await;

    let padding = "x".repeat(1_000);
    let count = 12_000; // more than the kernel's buffers and the outbox hold
    for i in 0..count {
        io.to("room").emit("e", tidings::Args((i, &padding)));
    }
    // The quick one is not delayed by the slow one.
    blocking(move || (0..count).for_each(|i| assert_eq!(number(&quick.receive()), i))).await;
    // What is sent to the slow one alone comes after what was there before.
    io.emit("e", tidings::Args((count, &padding)));
    blocking(move || (0..=count).for_each(|i| assert_eq!(number(&slow.receive()), i))).await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_told_which_channels_lost_events() {
    let mut limits = limits();
    limits.tail_channel_bytes = 100 << 10;
    let io = Tidings::builder().limits(limits).build();
    io.on_connect(async |socket: Socket| {
        socket.join("noisy");
        socket.join("quiet");
    });
    let address = serve(&io).await;
    let mut slow = blocking(move || Client::connect(address)).await;
    eventually("it is in both rooms", || io.counts().subscriptions == 4).await;

    let padding = "x".repeat(1_000);
    let count = 12_000;
    for i in 0..count {
        io.to("noisy").emit("e", tidings::Args((i, &padding)));
    }
    io.to("quiet").emit("quiet", 1);
    let (gap, last) = blocking(move || {
        let mut gap: Option<String> = None;
        let mut last = None;
        let mut is_announced = false;
        loop {
            let text = slow.receive();
            if text.starts_with("42[\"gap\",") {
                gap = Some(text);
                is_announced = true;
            } else if text.starts_with("42[\"quiet\"") {
                return (gap, last);
            } else {
                let number = number(&text);
                let is_next = number == last.map_or(0, |last| last + 1);
                assert_eq!(is_next, !is_announced, "{number} came after {last:?}");
                is_announced = false;
                last = Some(number);
            }
        }
    })
    .await;
    let gap = gap.expect("a gap is announced");
    assert!(gap.contains("\"channels\":[\"noisy\"]"), "{gap}");
    assert_eq!(last, Some(count - 1), "what is retained arrives");
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_never_reads_is_not_read_from() {
    let io = Tidings::builder().limits(limits()).build();
    io.on_connect(async |socket: Socket| {
        socket.on("big", async |_: tidings::Event| Ok("x".repeat(10_000)));
    });
    let address = serve(&io).await;
    let client = blocking(move || Client::connect(address)).await;
    let mut writer = client.socket.get_ref().try_clone().unwrap();
    writer.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // Requests for 10 KB each: if the server went on reading, 200,000 of them would fill 2 GB.
    let stuck = blocking(move || {
        use std::io::Write as _;
        let request = b"42777[\"big\"]";
        let mut frame = vec![0x81, 0x80 | u8::try_from(request.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(request);
        let frames = frame.repeat(1_000);
        (0..1_000).any(|_| writer.write_all(&frames).is_err())
    })
    .await;
    assert!(stuck, "the server stopped reading");
    // Others are served meanwhile.
    let answer = blocking(move || Client::connect(address).ask("[\"big\"]")).await;
    assert_eq!(answer.len(), 10_004);
    drop(client);
    eventually("all is gone", || io.counts().connections == 0).await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_post_of_many_events_is_taken_as_fast_as_its_answers_are() {
    use std::io::{Read as _, Write as _};

    let io = Tidings::builder().limits(limits()).build();
    io.on("big", async |_: tidings::Event| Ok("x".repeat(1_000)));
    let address = serve(&io).await;
    let exchange = move |method: &str, query: &str, body: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(stream, "{method} /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let events = 40_000; // 40 MB of answers to one body of 0.6 MB
    let largest = blocking(move || {
        let opened = exchange("GET", "", "");
        let sid = format!("&sid={}", &opened.split_once("\"sid\":\"").unwrap().1[..20]);
        assert_eq!(exchange("POST", &sid, "40"), "ok");
        assert!(exchange("GET", &sid, "").starts_with("40{"));
        let body = (0..events)
            .map(|id| format!("42{id}[\"big\"]"))
            .collect::<Vec<_>>()
            .join("\u{1e}");
        let post = std::thread::spawn({
            let sid = sid.clone();
            move || exchange("POST", &sid, &body)
        });
        let (mut next, mut largest) = (0, 0);
        while next < events {
            let payload = exchange("GET", &sid, "");
            largest = largest.max(payload.len());
            for packet in payload.split('\u{1e}').filter(|packet| *packet != "2") {
                assert!(
                    packet.starts_with(&format!("43{next}[")),
                    "{packet:.20} instead of {next}"
                );
                next += 1;
            }
        }
        assert_eq!(post.join().unwrap(), "ok");
        assert_eq!(exchange("POST", &sid, "1"), "ok");
        largest
    })
    .await;
    assert!(largest < 8 << 20, "{largest} bytes waited at once");
    io.close().await;
}

fn flood(io: &tidings::Io, room: &str, count: usize) {
    let padding = "x".repeat(1_000);
    for i in 0..count {
        io.to(room).emit("e", tidings::Args((i, &padding)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_channel_drops_it_loses_what_does_not_fit_and_is_told_before_the_next() {
    let slow_of = |channel: &str| if channel == "room" { Slow::Drop } else { Slow::Lag };
    let io = Tidings::builder().limits(limits()).slow(slow_of).build();
    in_room(&io);
    let address = serve(&io).await;
    let mut slow = blocking(move || Client::connect(address)).await;
    eventually("it is in the room", || io.counts().subscriptions == 3).await;
    let count = 12_000;
    flood(&io, "room", count);
    let metrics = io.metrics().await;
    let dropped = usize::try_from(metrics.slow_dropped).unwrap();
    assert!(dropped > 0 && dropped < count && metrics.lagged == 0, "{metrics:?}");
    // It may find no room either.
    let ending = tokio::spawn({
        let io = io.clone();
        async move {
            loop {
                io.to("room").emit("last", 1);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let (numbers, gaps) = blocking(move || {
        let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
        loop {
            let text = slow.receive();
            if text.starts_with("42[\"gap\",") {
                gaps.push((numbers.last().copied(), text));
            } else if text.starts_with("42[\"last\"") {
                return (numbers, gaps);
            } else {
                numbers.push(number(&text));
            }
        }
    })
    .await;
    ending.abort();
    assert_eq!(numbers.len(), count - dropped);
    for pair in numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1) {
        assert!(pair[0] < pair[1], "{pair:?}");
        let is_told = gaps
            .iter()
            .any(|(before, text)| *before == Some(pair[0]) && text.contains("[\"room\"]"));
        assert!(is_told, "between {pair:?} there was no word of a gap: {gaps:?}");
    }
    let is_whole = numbers.last() == Some(&(count - 1));
    assert!(is_whole || gaps.iter().any(|(before, _)| *before == numbers.last().copied()));
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_channel_closes_it_is_closed() {
    let io = Tidings::builder().limits(limits()).slow(|_| Slow::Close).build();
    in_room(&io);
    let address = serve(&io).await;
    let slow = blocking(move || Client::connect(address)).await;
    let mut quick = blocking(move || Client::connect(address)).await;
    eventually("both are in the room", || io.counts().subscriptions == 6).await;
    // In steps that the quick one can follow.
    for _ in 0..2_000 {
        flood(&io, "room", 20);
        quick = blocking(move || {
            (0..20).for_each(|i| assert_eq!(number(&quick.receive()), i));
            quick
        })
        .await;
        if io.metrics().await.slow_closed == 1 {
            break;
        }
    }
    let metrics = io.metrics().await;
    assert_eq!((metrics.slow_closed, metrics.lagged, metrics.slow_dropped), (1, 0, 0));
    eventually("its socket is gone", || io.counts().sockets == 1).await;
    drop((slow, quick));
    eventually("all is gone", || io.counts().connections == 0).await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_of_the_log_does_not_grow_without_end() {
    let io = Tidings::builder().limits(limits()).build();
    in_room(&io);
    let address = serve(&io).await;
    let slow = blocking(move || Client::connect(address)).await;
    eventually("it is in the room", || io.counts().subscriptions == 3).await;
    // Joins and leaves: each some hundred bytes, for which the log has no place.
    let name = "x".repeat(250);
    let mut most = 0;
    for i in 0..200_000 {
        io.presence().enter("room", &format!("{i}{name}"), None).unwrap();
        if i % 10_000 == 0 {
            most = most.max(io.metrics().await.outbox_bytes);
            if io.counts().sockets == 0 {
                break;
            }
        }
    }
    assert_eq!(io.counts().sockets, 0, "it was closed");
    assert!(most < 1 << 20, "{most} bytes waited for it");
    drop(slow);
    io.close().await;
}

/// Sends a request for something big so many times in one write.
fn ask_at_once(client: &Client, times: usize) {
    use std::io::Write as _;

    let request = b"42777[\"big\"]";
    let mut frame = vec![0x81, 0x80 | u8::try_from(request.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(request);
    let mut writer = client.socket.get_ref().try_clone().unwrap();
    writer.write_all(&frame.repeat(times)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_much_at_once_gets_it_as_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let io = Tidings::builder().limits(limits()).store(folder.path()).build();
    io.on("big", async |_: tidings::Event| Ok("x".repeat(100_000)));
    let address = serve(&io).await;
    let client = blocking(move || Client::connect(address)).await;
    // Answers have their place behind what is on its way to the disk.
    let publishing = tokio::spawn({
        let io = io.clone();
        async move {
            loop {
                io.to("elsewhere").emit("e", 1).await.unwrap();
            }
        }
    });
    let times = 500; // 50 MB, far more than the kernel's buffers hold
    let mut client = blocking(move || {
        ask_at_once(&client, times);
        std::thread::sleep(Duration::from_millis(500));
        client
    })
    .await;
    let waiting = io.metrics().await.outbox_bytes;
    assert!(waiting < 1 << 20, "{waiting} bytes wait");
    blocking(move || {
        for _ in 0..times {
            assert_eq!(client.receive().len(), "43777[\"\"]".len() + 100_000);
        }
    })
    .await;
    publishing.abort();
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_who_does_not_read_is_told() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    let io = Tidings::builder().limits(limits()).build();
    let ended = Arc::new(AtomicUsize::new(0));
    let sockets: Arc<Mutex<Vec<Socket>>> = Arc::default();
    io.on_connect({
        let (ended, sockets) = (Arc::clone(&ended), Arc::clone(&sockets));
        async move |socket: Socket| {
            socket.on("big", async |_: tidings::Event| Ok("x".repeat(100_000)));
            let ended = Arc::clone(&ended);
            socket.on_disconnect(async move |_: Socket, _: tidings::Reason| {
                ended.fetch_add(1, Ordering::SeqCst);
            });
            sockets.lock().unwrap().push(socket);
        }
    });
    let address = serve(&io).await;
    let client = blocking(move || {
        let client = Client::connect(address);
        // The kernel takes no more for it than this, however long it waits.
        rustix::net::sockopt::set_socket_recv_buffer_size(client.socket.get_ref(), 4_096).unwrap();
        ask_at_once(&client, 500);
        client
    })
    .await;
    let before = io.metrics().await.received;
    assert!(before > 0);
    let mut written = 0;
    while written != io.metrics().await.written_bytes || io.metrics().await.outbox_bytes < 64 << 10 {
        written = io.metrics().await.written_bytes;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Its transport stays, and still holds what waits; events that it sent wait to be handled.
    let socket = sockets.lock().unwrap().pop().unwrap();
    socket.disconnect(false);
    eventually("the application was told", || ended.load(Ordering::SeqCst) == 1).await;
    drop(client);
    eventually("all is gone", || io.counts().connections == 0).await;
    io.close().await;
}
