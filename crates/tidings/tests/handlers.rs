//! How the application's functions are called, and what their answers become.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Client, blocking, serve};
use tidings::{Ack, Args, Code, CurrentUser, Data, Error, Event, Handshake, Io, Socket, State, Tidings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_each_other_unless_told_otherwise() {
    let io = Tidings::builder().build();
    io.on_connect(async |socket: Socket| {
        let gate = Arc::new(tokio::sync::Notify::new());
        let opened = Arc::clone(&gate);
        socket.on("wait", async move |Data(name): Data<String>| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(name)
        });
        socket.on_concurrent("aside", async move |socket: Socket| {
            opened.notified().await;
            socket.emit("aside", "done");
        });
        socket.on("open", async move || gate.notify_one());
    });
    let address = serve(&io).await;
    let heard = blocking(move || {
        let mut client = Client::connect(address);
        client.send("42[\"aside\"]");
        for (id, name) in ["a", "b", "c"].iter().enumerate() {
            client.send(&format!("42{id}[\"wait\",\"{name}\"]"));
        }
        client.send("42[\"open\"]");
        (0..4).map(|_| client.receive()).collect::<Vec<_>>()
    })
    .await;
    assert_eq!(
        heard,
        ["430[\"a\"]", "431[\"b\"]", "432[\"c\"]", "42[\"aside\",\"done\"]"]
    );
    io.close().await;
    assert_eq!(io.counts().tasks, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_refusals_reach_the_client_and_the_observer() {
    let io = Tidings::builder().state(40_u32).report_errors(true).build();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observed = Arc::clone(&seen);
    io.on_error(move |_, error| observed.lock().unwrap().push(error.to_string()));
    io.on(
        "add",
        async |State(base): State<u32>, Args((a, b)): Args<(u32, u32)>| Ok(base + a + b),
    );
    io.on("nothing", async || {});
    io.on("own", async || {
        Err::<(), _>(Error::with_code("full", "no seat is free").with_data(&[1, 2]))
    });
    io.on("foreign", async || Ok("x".parse::<u32>()?));
    io.on("later", async |ack: Ack| {
        tokio::spawn(async move { ack.send(Args((1, "two"))) });
    });
    io.on("relay", async |event: Event, ack: Ack| ack.send(&event));
    io.on("raw", async |event: Event| Ok(event.arguments_json().to_owned()));
    let address = serve(&io).await;
    blocking(move || {
        let mut client = Client::connect(address);
        assert_eq!(client.ask("[\"add\",1,1]"), "[42]");
        assert_eq!(client.ask("[\"nothing\"]"), "[]");
        assert_eq!(client.ask("[\"later\"]"), "[1,\"two\"]");
        assert_eq!(
            client.ask("[\"own\"]"),
            r#"[{"ok":false,"code":"full","message":"no seat is free","data":[1,2]}]"#
        );
        assert_eq!(
            client.ask("[\"foreign\"]"),
            r#"[{"ok":false,"code":"internal","message":"internal error"}]"#
        );
        assert!(client.ask("[\"add\",1]").contains("\"invalid_json\""));
        assert!(client.ask("[\"nobody\"]").contains("\"unknown_event\""));
        client.send("42[\"own\"]");
        assert_eq!(
            client.receive(),
            r#"42["tidings:error",{"code":"full","message":"no seat is free"}]"#
        );
        assert_eq!(client.ask("[\"relay\",1,{\"b\":[]} ,null]"), "[1,{\"b\":[]} ,null]");
        // What JSON can say and Rust's types can't: it passes through as sent.
        let odd = r#"{"b":1,"a":1e999,"c":"\ud800"}, 12345678901234567890123"#;
        let answer = client.ask(&format!("[\"raw\",{odd}]"));
        assert_eq!(serde_json::from_str::<[String; 1]>(&answer).unwrap(), [odd]);
    })
    .await;
    let seen = seen.lock().unwrap().join("\n");
    assert!(
        seen.contains("invalid digit"),
        "the observer sees what the client does not: {seen}"
    );
    io.close().await;
}

struct User {
    name: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_enter_is_asked_in_order_and_told_why_not() {
    let io = Tidings::builder().build();
    io.auth(async |handshake: Handshake| match handshake.token()? {
        "panic" => panic!("on purpose"),
        token => Ok(User { name: token.to_owned() }),
    });
    io.before_connect(async |socket: Socket<User>| {
        socket.join("early");
        match socket.user().name.as_str() {
            "banned" => Err(Error::coded(Code::Forbidden, "banned").with_data(&"for life")),
            _ => Ok(()),
        }
    });
    io.on_connect(async |socket: Socket<User>| {
        let first = socket.rooms().len();
        socket.on("who", async move |CurrentUser(user): CurrentUser<User>| {
            Ok((user.name.clone(), first))
        });
        socket.on("wrong", async |_: Socket<u8>| {});
    });
    // No auth of its own: that of `/` holds here too.
    let other = io.of("/other");
    other.on("who", async |socket: Socket<User>, io: Io| {
        io.to(socket.id()).emit("hello", &socket.user().name);
        Ok(())
    });
    let address = serve(&io).await;
    blocking(move || {
        let mut client = Client::open(address);
        let mut enter = |packet: &str| {
            client.send(packet);
            client.receive()
        };
        assert_eq!(
            enter("40"),
            r#"44{"message":"no token was sent","data":{"code":"unauthenticated"}}"#
        );
        assert_eq!(
            enter(r#"40{"token":"banned"}"#),
            r#"44{"message":"banned","data":"for life"}"#
        );
        assert_eq!(
            enter(r#"40{"token":"panic"}"#),
            r#"44{"message":"internal error","data":{"code":"internal"}}"#
        );
        assert!(enter("40/other,").starts_with("44/other,"));
        assert!(enter(r#"40/other,{"token":"ann"}"#).starts_with("40/other,{\"sid\""));
        assert!(enter(r#"40{"token":"bob"}"#).starts_with("40{\"sid\""));
        assert_eq!(enter("421[\"who\"]"), "431[[\"bob\",2]]");
        assert!(enter("422[\"wrong\"]").starts_with("432[{\"ok\":false,\"code\":\"internal\""));
        assert_eq!(enter("42/other,[\"who\"]"), "42/other,[\"hello\",\"ann\"]");
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn middleware_and_observers_come_before_handlers() {
    let io = Tidings::builder().build();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    io.on_connect(async move |socket: Socket| {
        let any = tell.clone();
        socket.on_any(async move |event: Event| {
            let _ = any.send(format!("any {} {}", event.name(), event.argument_count()));
        });
        socket.before_event(async |event: Event| match event.name() {
            "secret" => Err(Error::forbidden("not for you")),
            _ => Ok(()),
        });
        let handled = tell.clone();
        socket.on("open", async move || {
            let _ = handled.send("handled".to_owned());
        });
        socket.on("gone", async || Ok("still here"));
        socket.off("gone");
    });
    let address = serve(&io).await;
    blocking(move || {
        let mut client = Client::connect(address);
        assert!(client.ask("[\"secret\",1,2]").contains("\"forbidden\""));
        assert_eq!(client.ask("[\"open\"]"), "[]");
        assert!(client.ask("[\"gone\"]").contains("unknown_event"));
    })
    .await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(told.recv().await.unwrap());
    }
    assert_eq!(heard, ["any secret 2", "any open 0", "handled", "any gone 0"]);
    io.close().await;
}
