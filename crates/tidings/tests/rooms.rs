//! Who gets what, once and in one order.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use support::{Client, blocking, eventually, serve};
use tidings::{Args, Data, Io, Socket, Tidings};

/// A server whose clients enter the rooms they name, and a client in each of `rooms`.
async fn in_rooms(rooms: &[&[&str]]) -> (Io, SocketAddr, Vec<Client>) {
    let io = Tidings::builder().shards(3).build();
    io.on_connect(async |socket: Socket| {
        socket.on("join", async |socket: Socket, Data(room): Data<String>| {
            socket.try_join(room)
        });
        socket.on(
            "to",
            async |socket: Socket, Args((room, text)): Args<(String, String)>| {
                socket.to(room).emit("e", text);
            },
        );
    });
    let address = serve(&io).await;
    let rooms: Vec<Vec<String>> = rooms
        .iter()
        .map(|rooms| rooms.iter().map(ToString::to_string).collect())
        .collect();
    let clients = blocking(move || {
        let connect = |rooms: &Vec<String>| {
            let mut client = Client::connect(address);
            for room in rooms {
                assert_eq!(client.ask(&format!("[\"join\",\"{room}\"]")), "[]");
            }
            client
        };
        rooms.iter().map(connect).collect()
    })
    .await;
    (io, address, clients)
}

/// What an event `e` carries.
fn told(text: &str) -> Option<String> {
    Some(text.strip_prefix("42[\"e\",")?.strip_suffix(']')?.to_owned())
}

/// What each client got before the event `end`.
async fn received(io: &Io, clients: Vec<Client>) -> Vec<Vec<String>> {
    io.emit("end", ());
    blocking(move || {
        let until_end = |mut client: Client| {
            let mut texts = Vec::new();
            loop {
                let text = client.receive();
                if text == "42[\"end\"]" {
                    return texts;
                }
                texts.push(told(&text).unwrap());
            }
        };
        clients.into_iter().map(until_end).collect()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_socket_of_a_set_is_reached_once() {
    let (io, _, clients) = in_rooms(&[&["a"], &["a", "b"], &["b", "c"], &[]]).await;
    let first = clients[0].id.clone();
    io.to("a").emit("e", 1);
    io.to("a").to("b").emit("e", 2);
    io.to("a").to("b").except("c").emit("e", 3);
    io.except("b").emit("e", 4);
    io.to(&first).emit("e", 5);
    io.to("a").except(&first).emit("e", 6);
    io.local().emit("e", 7);
    io.to("nobody").emit("e", 8);
    io.to("/").emit("e", 9).await.unwrap_err();
    let got = received(&io, clients).await;
    assert_eq!(
        got,
        [
            &["1", "2", "3", "4", "5", "7"][..],
            &["1", "2", "3", "6", "7"],
            &["2", "7"],
            &["4", "7"]
        ]
    );
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_of_sockets_are_found_joined_left_and_disconnected() {
    let (io, _, clients) = in_rooms(&[&["a"], &["a", "b"], &["b"]]).await;
    let ids: Vec<String> = clients.iter().map(|client| client.id.clone()).collect();
    let mut found: Vec<String> = io
        .to("a")
        .sockets::<()>()
        .await
        .iter()
        .map(|socket| socket.id().to_owned())
        .collect();
    found.sort();
    let mut expected = ids[..2].to_vec();
    expected.sort();
    assert_eq!(found, expected);
    assert!(io.sockets::<u32>().await.is_empty(), "nobody's user is a number");

    io.to("a").join("d");
    io.to("d").emit("e", 1);
    let socket = io.to(&ids[1]).sockets::<()>().await.remove(0);
    io.to("b").leave("d").await;
    assert!(!socket.is_in("d") && socket.is_in("b"));
    io.to("d").emit("e", 2);
    let socket = io.to(&ids[0]).sockets::<()>().await.remove(0);
    assert!(socket.is_in("d") && socket.rooms().len() == 3);
    io.to("b").except("a").disconnect(true);
    eventually("one is gone", || io.socket_count() == 2).await;
    let mut clients = clients;
    let gone = clients.remove(2);
    assert_eq!(received(&io, clients).await, [&["1", "2"][..], &["1"]]);
    blocking(move || {
        let mut gone = gone;
        assert_eq!(gone.receive(), "41");
        assert_eq!(gone.closed(), None);
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishers_and_all_subscribers_see_one_order() {
    let rooms: Vec<&[&str]> = vec![&["a"]; 9];
    let (io, address, clients) = in_rooms(&rooms).await;
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let io = io.clone();
            tokio::spawn(async move {
                for i in 0..500 {
                    io.to("a").emit("e", publisher * 1_000 + i);
                    if i % 50 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    // And one who publishes as a client.
    blocking(move || {
        let mut client = Client::connect(address);
        for i in 0..500 {
            client.ask(&format!("[\"to\",\"a\",\"{i}\"]"));
        }
    })
    .await;
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let got = received(&io, clients).await;
    assert_eq!(got[0].len(), 2_500);
    assert!(
        got.iter().all(|texts| *texts == got[0]),
        "two clients saw different orders"
    );
    for publisher in 0..4 {
        let own = got[0]
            .iter()
            .filter_map(|text| text.parse::<u32>().ok())
            .filter(|number| number / 1_000 == publisher);
        assert!(
            own.eq((0..500).map(|i| publisher * 1_000 + i)),
            "a publisher's own order is kept"
        );
    }
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_emitted_after_a_join_arrives_and_before_it_does_not() {
    let io = Tidings::builder().shards(2).build();
    io.on_connect(async |socket: Socket| {
        socket.on("go", async |socket: Socket, io: Io| {
            for i in 0..100 {
                let room = format!("r{i}");
                io.to(&room).emit("e", "early");
                socket.join(&room);
                io.to(&room).emit("e", i);
                socket.emit("e", i);
                socket.leave(&room);
                io.to(&room).emit("e", "late");
            }
        });
    });
    let address = serve(&io).await;
    let mut client = blocking(move || Client::connect(address)).await;
    client.send("42[\"go\"]");
    let expected: Vec<String> = (0..100).flat_map(|i| [i.to_string(), i.to_string()]).collect();
    let got = blocking(move || (0..200).map(|_| client.receive()).collect::<Vec<_>>()).await;
    assert_eq!(
        got,
        expected
            .iter()
            .map(|text| format!("42[\"e\",{text}]"))
            .collect::<Vec<_>>()
    );
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcast_acks_give_partial_results_and_leave_nothing() {
    let (io, _, clients) = in_rooms(&[&["a"], &["a"], &["a"]]).await;
    let answering = tokio::task::spawn_blocking(move || {
        let mut clients = clients;
        for (number, client) in clients.iter_mut().enumerate().take(2) {
            let ask = client.receive();
            let id = ask
                .strip_prefix("42")
                .and_then(|rest| rest.strip_suffix("[\"ask\"]"))
                .unwrap()
                .to_owned();
            client.send(&format!("43{id}[{number}]"));
        }
        clients
    });
    let asked = io
        .to("a")
        .timeout(Duration::from_millis(700))
        .emit_with_ack("ask", ())
        .await;
    let error = asked.unwrap_err();
    let mut answers: Vec<u32> = error.responses.iter().map(|reply| reply.data().unwrap()).collect();
    answers.sort_unstable();
    assert_eq!((answers, error.expected), (vec![0, 1], 3));
    let clients = answering.await.unwrap();
    eventually("no ack is owed", || io.counts().acks == 0).await;
    assert!(
        io.to("nobody")
            .timeout(Duration::from_secs(5))
            .emit_with_ack("ask", ())
            .await
            .unwrap()
            .is_empty()
    );

    let socket = Arc::new(io.to(&clients[2].id).sockets::<()>().await.remove(0));
    let asking = tokio::spawn({
        let socket = Arc::clone(&socket);
        async move {
            socket
                .timeout(Duration::from_secs(60))
                .emit_with_ack("ask", ())
                .await
                .map(drop)
        }
    });
    eventually("an ack is owed", || io.counts().acks == 1).await;
    socket.disconnect(false);
    assert!(asking.await.unwrap().unwrap_err().to_string().contains("disconnected"));
    assert_eq!(io.counts().acks, 0);
    io.close().await;
}

/// More than are written to in one go: answers come between, and each client still sees one order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_room_sees_one_order_while_clients_ask() {
    const CLIENTS: usize = 1_300;
    let io = Tidings::builder().shards(1).build();
    io.on_connect(async |socket: Socket| {
        socket.on("join", async |socket: Socket| socket.try_join("a"));
        socket.on("say", async |socket: Socket, io: Io, Data(text): Data<String>| {
            io.to("a").emit("e", &text);
            socket.emit("mine", &text);
            tidings::Result::Ok(text)
        });
    });
    let address = serve(&io).await;
    let mut clients = blocking(move || {
        let connect = |_| {
            let mut client = Client::connect(address);
            assert_eq!(client.ask("[\"join\"]"), "[]");
            client
        };
        (0..CLIENTS).map(connect).collect::<Vec<_>>()
    })
    .await;
    // The first and the last that are written to, and one between.
    let askers: Vec<Client> = [CLIENTS - 1, CLIENTS / 2, 0].map(|index| clients.remove(index)).into();
    let asking: Vec<_> = (0..)
        .zip(askers)
        .map(|(number, mut client)| {
            tokio::task::spawn_blocking(move || {
                let mut heard = Vec::new();
                for i in 0..40 {
                    let text = format!("{number}-{i}");
                    client.send(&format!("420[\"say\",\"{text}\"]"));
                    let answer = format!("430[\"{text}\"]");
                    let mut own = Vec::new();
                    loop {
                        let text = client.receive();
                        if text == answer {
                            break;
                        }
                        own.push(text);
                    }
                    // What its handler sent is in the handler's order.
                    let event = format!("42[\"e\",\"{text}\"]");
                    let mine = format!("42[\"mine\",\"{text}\"]");
                    let at = |wanted: &str| own.iter().position(|text| text == wanted);
                    assert!(at(&event) < at(&mine) && at(&event).is_some(), "{text}: {own:?}");
                    heard.extend(own.iter().filter_map(|text| told(text)));
                }
                (client, heard)
            })
        })
        .collect();
    let mut heard: Vec<Vec<String>> = Vec::new();
    for asked in asking {
        let (client, own) = asked.await.unwrap();
        clients.push(client);
        heard.push(own);
    }
    let mut got = received(&io, clients).await;
    for (rest, heard) in got[CLIENTS - 3..].iter_mut().zip(heard) {
        *rest = heard.into_iter().chain(std::mem::take(rest)).collect();
    }
    assert_eq!(got[0].len(), 120);
    assert!(got.iter().all(|texts| *texts == got[0]));
    io.close().await;
}
