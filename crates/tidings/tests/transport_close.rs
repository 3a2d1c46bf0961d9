//! Closing the transport under a client, which then comes back by itself: a stock client does so after that, and
//! never after a CONNECT_ERROR or a DISCONNECT.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Client, blocking, eventually, serve};
use tidings::{Code, Error, Handshake, Reason, Socket, Tidings};
use tungstenite::Message;

/// The code of the close frame that must come next.
fn next_is_close(mut client: Client) -> Option<u16> {
    match client.socket.read() {
        Ok(Message::Close(frame)) => frame.map(|frame| frame.code.into()),
        other => panic!("not a close frame: {other:?}"),
    }
}

#[tokio::test]
async fn a_socket_closes_its_transport_with_a_code_and_no_packet() {
    let io = Tidings::builder().build();
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reasons);
    io.on_connect(async move |socket: Socket| {
        let seen = Arc::clone(&seen);
        socket.on_disconnect(async move |_: Socket, reason: Reason| seen.lock().unwrap().push(reason));
        socket.close_transport(4401);
    });
    let address = serve(&io).await;
    let code = blocking(move || next_is_close(Client::connect(address))).await;
    assert_eq!(code, Some(4401));
    eventually("it hears why", || *reasons.lock().unwrap() == [Reason::ForcedClose]).await;
}

#[tokio::test]
async fn what_may_be_otherwise_in_a_moment_is_no_connect_error() {
    for (error_code, close_code) in [
        (Code::TooManyConnections, 4429),
        (Code::RateLimited, 4429),
        (Code::Draining, 1012),
        (Code::Unavailable, 1012),
    ] {
        let io = Tidings::builder().build();
        io.auth(async move |_: Handshake| Err::<(), _>(Error::coded(error_code, "not now")));
        let address = serve(&io).await;
        let code = blocking(move || {
            let mut client = Client::open(address);
            client.send("40");
            next_is_close(client)
        });
        assert_eq!(code.await, Some(close_code), "{error_code}");
    }
}

#[tokio::test]
async fn what_is_final_is_a_connect_error_and_leaves_the_transport() {
    let io = Tidings::builder().build();
    io.auth(async |_: Handshake| Err::<(), _>(Error::forbidden("not you")));
    let address = serve(&io).await;
    let answers = blocking(move || {
        let mut client = Client::open(address);
        [(); 2].map(|()| {
            client.send("40");
            client.receive()
        })
    });
    let expected = r#"44{"message":"not you","data":{"code":"forbidden"}}"#;
    assert_eq!(answers.await, [expected, expected]);
}

/// Also where pings would come more often than a client may take to answer one.
#[tokio::test]
async fn who_answers_no_ping_is_closed() {
    let io = Tidings::builder()
        .ping_interval(Duration::from_millis(100))
        .ping_timeout(Duration::from_millis(500))
        .build();
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reasons);
    io.on_connect(async move |socket: Socket| {
        let seen = Arc::clone(&seen);
        socket.on_disconnect(async move |_: Socket, reason: Reason| seen.lock().unwrap().push(reason));
    });
    let address = serve(&io).await;
    let pings = blocking(move || {
        let mut client = Client::connect(address);
        let mut pings = 0;
        while let Ok(message) = client.socket.read() {
            pings += usize::from(message == Message::text("2"));
        }
        pings
    });
    assert_eq!(pings.await, 1);
    eventually("it is closed", || *reasons.lock().unwrap() == [Reason::PingTimeout]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_each_is_told_to_come_back_when_the_server_ends() {
    let io = Tidings::builder().build();
    let address = serve(&io).await;
    let many = blocking(move || (0..600).map(|_| Client::connect(address)).collect::<Vec<_>>()).await;
    assert_eq!(io.counts().connections, 600);
    io.close().await;
    blocking(move || {
        many.into_iter()
            .for_each(|client| assert_eq!(next_is_close(client), None))
    })
    .await;
    assert_eq!((io.counts().connections, io.counts().sockets), (0, 0));
}
