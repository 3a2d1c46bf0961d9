//! When a connection ends, everything of it ends.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::time::Duration;

use support::{Client, blocking, cycles, eventually, resident_kib, serve};
use tidings::{Ack, Reason, Socket, Tidings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycles_leave_nothing_and_memory_is_flat() {
    let io = Tidings::builder().build();
    io.on_connect(async |socket: Socket| {
        socket.join("room");
        socket.set_state(vec![0_u8; 1_000]);
        let own = socket.clone(); // a cycle that the end must break
        socket.on("echo", async move |value: tidings::Data<u32>| {
            let _ = own.id();
            Ok(value.0)
        });
        // An ack that never comes, from a task of the application's.
        tokio::spawn(async move {
            let _ = socket.timeout(Duration::from_secs(60)).emit_with_ack("ask", ()).await;
        });
    });
    let address = serve(&io).await;
    let connect = async |count: usize| {
        blocking(move || {
            for i in 0..count {
                let mut client = Client::connect(address);
                if i % 3 == 0 {
                    client.ask("[\"echo\",1]");
                }
                // Cut, without any goodbye.
            }
        })
        .await;
    };
    let all = cycles(1_000);
    connect(all / 5).await;
    eventually("the first are gone", || io.counts().connections == 0).await;
    let before = resident_kib();
    connect(all - all / 5).await;
    eventually("all are gone", || {
        let counts = io.counts();
        [
            counts.connections,
            counts.sockets,
            counts.channels,
            counts.subscriptions,
            counts.acks,
            counts.tasks,
        ] == [0; 6]
    })
    .await;
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "memory grew by {grown} KiB over {all} connections");
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_hear_of_the_end_last_and_rooms_are_still_there() {
    let io = Tidings::builder().build();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let of_all = tell.clone();
    io.on_disconnect(async move |socket: Socket, reason| {
        let _ = of_all.send(format!("of all {reason} {}", socket.is_connected()));
    });
    io.on_connect(async move |socket: Socket| {
        socket.join("room");
        let event = tell.clone();
        socket.on("slow", async move || {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = event.send("event".to_owned());
        });
        let disconnecting = tell.clone();
        socket.on_disconnecting(async move |socket, reason: Reason| {
            let _ = disconnecting.send(format!("disconnecting {reason} {}", socket.rooms().len()));
        });
        let disconnect = tell.clone();
        socket.on_disconnect(async move |socket, reason| {
            let _ = disconnect.send(format!(
                "disconnect {reason} {} {}",
                socket.rooms().len(),
                socket.is_connected()
            ));
        });
    });
    let address = serve(&io).await;
    blocking(move || {
        let mut client = Client::connect(address);
        client.send("42[\"slow\"]");
        client.send("41");
        assert!(Client::connect(address).ask("[\"nobody\"]").contains("unknown_event"));
    })
    .await;
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let text = told.recv().await.unwrap();
        if !text.contains("transport") {
            heard.push(text);
        }
    }
    assert_eq!(
        heard,
        [
            "event",
            "disconnecting client namespace disconnect 2",
            "disconnect client namespace disconnect 0 false",
            "of all client namespace disconnect false"
        ]
    );
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_its_handler_alone() {
    let io = Tidings::builder().shards(1).build();
    io.on_connect(async |socket: Socket| {
        socket.on("panic", async |_: Ack| -> () { panic!("on purpose") });
        socket.on("echo", async |value: tidings::Data<u32>| Ok(value.0));
    });
    let address = serve(&io).await;
    let answer = blocking(move || {
        let mut client = Client::connect(address);
        client.send("42[\"panic\"]");
        client.ask("[\"echo\",7]")
    })
    .await;
    assert_eq!(answer, "[7]");
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_tells_every_socket_and_refuses_new_ones() {
    let io = Tidings::builder().build();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    io.on_connect(async move |socket: Socket| {
        let tell = tell.clone();
        socket.on_disconnect(async move |_, reason: Reason| {
            let _ = tell.send(reason);
        });
    });
    let address = serve(&io).await;
    let client = blocking(move || Client::connect(address)).await;
    let closed = tokio::task::spawn_blocking(move || client.closed());
    io.close().await;
    assert_eq!(told.recv().await, Some(Reason::ServerShuttingDown));
    assert_eq!(
        closed.await.unwrap(),
        None,
        "a close frame without a code: the client comes back"
    );
    let refused = blocking(move || {
        let stream = std::net::TcpStream::connect(address).unwrap();
        tungstenite::client(format!("ws://{address}/socket.io/?EIO=4&transport=websocket"), stream).is_err()
    })
    .await;
    assert!(refused);
}
