//! One channel, every transport, nothing missing: each subscriber gets all events of its channels once and in the order of their
//! ids, however often it is cut and comes back; and what is lost is said, exactly.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use support::plain::{EventSource, Ws, channels_query, finish, get, id, seq, start};
use support::random::{Random, seed};
use support::{Client, Entered, PATIENCE, Polling, blocking, eventually, serve};
use tidings::{Args, Builder, Handshake, Io, Limits, Recovery, Retention, Socket, Tidings};

const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Ws,
    Sse,
    Poll,
    SocketIo,
    SocketIoPolling,
}

const TRANSPORTS: [Transport; 5] = [
    Transport::Ws,
    Transport::Sse,
    Transport::Poll,
    Transport::SocketIo,
    Transport::SocketIoPolling,
];

fn server(limits: Limits) -> Io {
    started(Tidings::builder().limits(limits))
}

/// A server whose Socket.IO clients name their rooms, and where they begin, in `auth`.
fn started(builder: Builder) -> Io {
    let io = builder.shards(3).recovery(Recovery::default()).build();
    io.authorize(async |_: Arc<()>, _, _| Ok(()));
    io.on_connect(async |socket: Socket| {
        #[derive(serde::Deserialize)]
        struct Start {
            rooms: Vec<String>,
            since: String,
        }
        let start = |handshake: &Handshake| handshake.auth::<Start>();
        if let (false, Ok(start)) = (socket.recovered(), start(socket.handshake())) {
            socket.join_since(start.rooms, start.since.parse().unwrap()).unwrap();
        }
    });
    io
}

/// What a subscriber was told, in the order in which it was.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Event(u64, String),
    /// That events after this seq are lost, in these channels.
    Gap(u64, Vec<String>),
}

impl Told {
    fn is_event(&self) -> bool {
        matches!(self, Told::Event(..))
    }

    fn seq(&self) -> u64 {
        match self {
            Told::Event(seq, _) | Told::Gap(seq, _) => *seq,
        }
    }

    fn gap(gap: &Value) -> Self {
        let channels = gap["channels"].as_array().unwrap().iter();
        let channels = channels.map(|channel| channel.as_str().unwrap().to_owned());
        Told::Gap(seq(gap["next"].as_str().unwrap()), channels.collect())
    }
}

/// A client that comes back until it has read the event `end`.
struct Subscriber {
    transport: Transport,
    address: SocketAddr,
    channels: Vec<String>,
    /// What it says that it has seen.
    last_id: String,
    pid: Option<String>,
    told: Vec<Told>,
    random: Random,
    /// It is cut once in so many messages; 0 is never.
    cut_one_in: u64,
    is_done: bool,
}

impl Subscriber {
    fn run(mut self) -> Self {
        while !self.is_done {
            match self.transport {
                Transport::Ws => self.ws(),
                Transport::Sse => self.sse(),
                Transport::Poll => self.poll(),
                Transport::SocketIo | Transport::SocketIoPolling => self.socket_io(),
            }
        }
        self
    }

    /// Whether the connection is cut here. Sometimes it is stalled first.
    fn is_cut(&mut self) -> bool {
        if self.cut_one_in == 0 || self.is_done {
            return self.is_done;
        }
        if self.random.one_in(self.cut_one_in) {
            std::thread::sleep(Duration::from_millis(self.random.below(30)));
        }
        self.random.one_in(self.cut_one_in)
    }

    fn event(&mut self, id: &str, channel: &Value, name: &Value) {
        self.is_done = *name == "end";
        if !self.is_done {
            let channel = channel.as_str().unwrap().to_owned();
            self.told.push(Told::Event(seq(id), channel));
        }
        self.last_id = id.to_owned();
    }

    fn ws(&mut self) {
        let mut ws = Ws::enter(self.address, "");
        ws.send(&json!({ "type": "subscribe", "id": "s", "channels": self.channels, "since": self.last_id }));
        while !self.is_cut() {
            let message = ws.receive();
            match message["type"].as_str().unwrap() {
                "ok" => assert_eq!(message["result"]["cursor"], self.last_id),
                "gap" => {
                    self.last_id = message["next"].as_str().unwrap().to_owned();
                    self.told.push(Told::gap(&message));
                }
                "event" => self.event(message["id"].as_str().unwrap(), &message["channel"], &message["event"]),
                _ => panic!("{message}"),
            }
        }
    }

    fn sse(&mut self) {
        let query = channels_query(&self.channels);
        let last_id = self.last_id.clone();
        let mut stream = match self.random.one_in(2) {
            true => EventSource::open(self.address, &format!("/sse?{query}"), &[("Last-Event-ID", &last_id)]),
            false => EventSource::open(self.address, &format!("/sse?{query}&lastEventId={last_id}"), &[]),
        };
        while !self.is_cut() {
            let block = stream.block().unwrap();
            match (&block.id, block.event.as_deref()) {
                (_, Some("gap")) => self.told.push(Told::gap(&block.json())),
                (Some(id), _) if block.data.is_some() => {
                    let event = block.json();
                    self.event(id, &event["channel"], &event["event"]);
                }
                _ => {}
            }
            // Also what moves the cursor and says nothing.
            self.last_id.clone_from(&stream.last_id);
            if self.last_id.is_empty() {
                self.last_id.clone_from(&last_id);
            }
        }
    }

    fn poll(&mut self) {
        let wait = [0, 1, 25][usize::try_from(self.random.below(3)).unwrap()];
        let limit = 1 + self.random.below(40);
        let path = format!(
            "/poll?{}&since={}&wait={wait}&limit={limit}",
            channels_query(&self.channels),
            self.last_id
        );
        let request = start(self.address, "GET", &path, &[], "");
        if self.is_cut() {
            std::thread::sleep(Duration::from_millis(self.random.below(3)));
            return;
        }
        let answer = finish(request);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        if answer["gap"] == true {
            self.told
                .push(Told::gap(&json!({ "channels": answer["gaps"], "next": self.last_id })));
        }
        for event in answer["events"].as_array().unwrap() {
            self.event(event["id"].as_str().unwrap(), &event["channel"], &event["event"]);
        }
        let next = answer["next"].as_str().unwrap();
        assert!(seq(next) >= seq(&self.last_id), "{next} after {}", self.last_id);
        self.last_id = next.to_owned();
    }

    fn socket_io(&mut self) {
        let mut auth = json!({ "rooms": self.channels, "since": self.last_id });
        if let Some(pid) = &self.pid {
            auth["pid"] = json!(pid);
            // A stock client that has seen no event has no offset.
            if self.told.iter().any(Told::is_event) {
                auth["offset"] = json!(self.last_id);
            }
        }
        let (mut receive, entered): (Box<dyn FnMut() -> String>, Entered) = match self.transport {
            Transport::SocketIoPolling => {
                let (mut client, entered) = Polling::enter(self.address, "/", &auth);
                (Box::new(move || client.receive()), entered)
            }
            _ => {
                let (mut client, entered) = Client::enter(self.address, "/", &auth);
                (Box::new(move || client.receive()), entered)
            }
        };
        let is_recovered = self.pid == entered.pid;
        assert!(is_recovered || entered.before.is_empty());
        self.pid.clone_from(&entered.pid);
        for packet in entered.before {
            self.packet(&packet);
        }
        while !self.is_cut() {
            let packet = receive();
            self.packet(&packet);
        }
    }

    /// `42["gap",{…}]`, `42["e",["a"],"xxx","<id>"]`.
    fn packet(&mut self, packet: &str) {
        let json = packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}"));
        let arguments: Vec<Value> = serde_json::from_str(json).unwrap();
        if arguments[0] == "gap" {
            return self.told.push(Told::gap(&arguments[1]));
        }
        // The first of its channels, as on the other transports.
        let channels = arguments[1].as_array().unwrap().iter();
        let mut of_both = channels.filter(|channel| self.channels.iter().any(|own| **channel == *own));
        let channel = of_both.next().unwrap().clone();
        self.event(arguments.last().unwrap().as_str().unwrap(), &channel, &arguments[0]);
    }
}

/// All that was published: which channels an event was in, by its seq.
#[derive(Clone, Default)]
struct Published(Arc<Mutex<BTreeMap<u64, Vec<&'static str>>>>);

impl Published {
    fn emit(&self, io: &Io, runtime: &tokio::runtime::Handle, channels: &[&'static str], bytes: usize) {
        let mut to = io.to(channels[0]);
        for channel in &channels[1..] {
            to = to.to(channel);
        }
        let emitted = to.emit("e", Args((channels, "x".repeat(bytes))));
        let id = runtime.block_on(async { emitted.await }).unwrap().unwrap();
        self.0.lock().unwrap().insert(id.seq(), channels.to_vec());
    }

    /// The seqs of one channel.
    fn of(&self, channel: &str) -> Vec<u64> {
        let published = self.0.lock().unwrap();
        let of_channel = published.iter().filter(|(_, channels)| channels.contains(&channel));
        of_channel.map(|(seq, _)| *seq).collect()
    }

    fn is_in_several(&self, seq: u64, channels: &[String]) -> bool {
        let published = self.0.lock().unwrap();
        let own = |channel: &&&str| channels.iter().any(|own| **own == ***channel);
        published[&seq].iter().filter(own).count() > 1
    }

    /// The seqs of all of these channels, each once.
    fn of_all(&self, channels: &[String]) -> BTreeSet<u64> {
        channels.iter().flat_map(|channel| self.of(channel)).collect()
    }

    /// Publishes to random channels from several threads.
    async fn storm(&self, io: &Io, seed: u64, publishers: u64, events: u64, bytes_max: u64) {
        let runtime = tokio::runtime::Handle::current();
        let publishing: Vec<_> = (0..publishers)
            .map(|publisher| {
                let (published, io, runtime) = (self.clone(), io.clone(), runtime.clone());
                tokio::task::spawn_blocking(move || {
                    let mut random = Random::new(seed, 1_000 + publisher);
                    for _ in 0..events {
                        let first = usize::try_from(random.below(4)).unwrap();
                        let second = usize::try_from(random.below(8)).unwrap();
                        let mut channels = vec![CHANNELS[first]];
                        if second < 4 && second != first {
                            channels.push(CHANNELS[second]);
                        }
                        let bytes = usize::try_from(random.below(bytes_max)).unwrap();
                        published.emit(&io, &runtime, &channels, bytes);
                        if random.one_in(8) {
                            std::thread::sleep(Duration::from_millis(random.below(5)));
                        }
                    }
                })
            })
            .collect();
        for publishing in publishing {
            publishing.await.unwrap();
        }
        let everywhere = io.to("a").to("b").to("c").to("d");
        everywhere.emit("end", Args((CHANNELS, ""))).await.unwrap();
    }
}

fn random_channels(random: &mut Random) -> Vec<String> {
    let mut channels: Vec<String> = Vec::new();
    while channels.is_empty() {
        let chosen = CHANNELS.iter().filter(|_| random.one_in(2));
        channels = chosen.map(ToString::to_string).collect();
    }
    channels
}

/// Starts subscribers of all transports.
fn subscribers(
    io: &Io,
    address: SocketAddr,
    seed: u64,
    each: u64,
    cut_one_in: u64,
) -> Vec<tokio::task::JoinHandle<Subscriber>> {
    let mut started = Vec::new();
    for (kind, transport) in TRANSPORTS.into_iter().enumerate() {
        for number in 0..each {
            let mut random = Random::new(seed, u64::try_from(kind).unwrap() * 100 + number);
            let subscriber = Subscriber {
                transport,
                address,
                channels: random_channels(&mut random),
                last_id: id(io, 0),
                pid: None,
                told: Vec::new(),
                random,
                cut_one_in,
                is_done: false,
            };
            started.push(tokio::task::spawn_blocking(move || subscriber.run()));
        }
    }
    started
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gets_all_of_its_channels_once_in_order_however_often_it_is_cut() {
    let seed = seed();
    let mut limits = Limits::default();
    limits.outbox_bytes = 8 << 10; // so that bursts make connections lag
    let io = server(limits);
    let address = serve(&io).await;
    let subscribers = subscribers(&io, address, seed, 3, 12);
    let published = Published::default();
    published.storm(&io, seed, 4, 250, 1_500).await;
    for subscriber in subscribers {
        let subscriber = subscriber.await.unwrap();
        let context = format!("{:?} of {:?}", subscriber.transport, subscriber.channels);
        let mut seqs = Vec::new();
        for told in &subscriber.told {
            match told {
                Told::Event(seq, channel) => {
                    assert!(
                        published.of(channel).contains(seq),
                        "{context}: {seq} is not in {channel}"
                    );
                    seqs.push(*seq);
                }
                Told::Gap(..) => panic!("{context}: {told:?}, and nothing is lost"),
            }
        }
        let expected: Vec<u64> = published.of_all(&subscriber.channels).into_iter().collect();
        assert!(seqs.is_sorted(), "{context}: out of order {seqs:?}");
        assert_eq!(seqs, expected, "{context}");
    }
    io.close().await;
}

/// What was told from a bit before `first` to a bit after `last`.
fn near(told: &[Told], first: u64, last: u64) -> &[Told] {
    let from = told.iter().position(|told| told.seq() + 10 > first).unwrap_or(0);
    let until = told.iter().rposition(|told| told.seq() <= last).unwrap_or(0);
    &told[from..=until.max(from)]
}

/// Checks that what was told is what was lost: each lost event is after a gap of its channel that was told before anything of the
/// channel that came later; and no gap is told where nothing is lost.
fn check_gaps(subscriber: &Subscriber, published: &Published) -> usize {
    let context = format!("{:?} of {:?}", subscriber.transport, subscriber.channels);
    let seqs: Vec<u64> = subscriber
        .told
        .iter()
        .filter_map(|told| match told {
            Told::Event(seq, _) => Some(*seq),
            Told::Gap(..) => None,
        })
        .collect();
    let got: BTreeSet<u64> = seqs.iter().copied().collect();
    assert!(seqs.is_sorted() && seqs.len() == got.len(), "{context}: {seqs:?}");
    let expected = published.of_all(&subscriber.channels);
    assert!(got.is_subset(&expected), "{context}: not its own");
    for channel in &subscriber.channels {
        let all = published.of(channel);
        // One that is gone here may be there by another channel: a gap is told all the same, and says nothing of its place in it.
        let of_both = |seq: &u64| published.is_in_several(*seq, &subscriber.channels);
        let mut announced: Option<u64> = None;
        let mut unseen = all.iter().copied().peekable();
        for told in &subscriber.told {
            match told {
                Told::Gap(next, channels) if channels.contains(channel) => {
                    assert!(
                        all.iter().any(|seq| seq > next && (!got.contains(seq) || of_both(seq))),
                        "{context}: a gap in {channel} after {next}, and nothing is lost there"
                    );
                    announced = Some(announced.map_or(*next, |first| first.min(*next)));
                }
                Told::Event(seq, other) if other == channel => {
                    while let Some(before) = unseen.next_if(|before| before < seq) {
                        assert!(
                            got.contains(&before) || announced.is_some_and(|next| next < before),
                            "{context}: {before} in {channel} is lost, and {seq} came after {announced:?}; {:?}",
                            near(&subscriber.told, before, *seq)
                        );
                    }
                    if !of_both(seq) {
                        announced = None;
                    }
                }
                Told::Gap(..) | Told::Event(..) => {}
            }
        }
        assert!(
            unseen.all(|seq| got.contains(&seq)) || announced.is_some(),
            "{context}: the end of {channel} is lost and nobody said so"
        );
    }
    expected.len() - got.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_is_announced_and_nothing_else() {
    let seed = seed();
    let mut limits = Limits::default();
    limits.outbox_bytes = 4 << 10;
    limits.tail_channel_bytes = 12 << 10;
    limits.tail_bytes = 40 << 10;
    let io = server(limits);
    let address = serve(&io).await;
    let subscribers = subscribers(&io, address, seed, 3, 12);
    let published = Published::default();
    published.storm(&io, seed, 4, 400, 3_000).await;
    let mut lost = HashMap::new();
    for subscriber in subscribers {
        let subscriber = subscriber.await.unwrap();
        *lost.entry(format!("{:?}", subscriber.transport)).or_insert(0) += check_gaps(&subscriber, &published);
    }
    println!("lost: {lost:?}");
    assert!(lost.values().any(|count| *count > 0), "the test tests something");
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_keeps_is_never_lost_however_little_memory_holds() {
    let seed = seed();
    let folder = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    limits.outbox_bytes = 4 << 10;
    limits.tail_channel_bytes = 12 << 10;
    limits.tail_bytes = 40 << 10;
    let stored = |channel: &str| (channel < "c").then(|| Retention::new().keep(100_000));
    let io = started(Tidings::builder().limits(limits).store(folder.path()).history(stored));
    let address = serve(&io).await;
    let subscribers = subscribers(&io, address, seed, 3, 12);
    let published = Published::default();
    published.storm(&io, seed, 4, 250, 3_000).await;
    let mut lost = 0;
    for subscriber in subscribers {
        let subscriber = subscriber.await.unwrap();
        lost += check_gaps(&subscriber, &published);
        let context = format!("{:?} of {:?}", subscriber.transport, subscriber.channels);
        let events = subscriber.told.iter().filter(|told| told.is_event());
        let got: BTreeSet<u64> = events.map(Told::seq).collect();
        for channel in subscriber.channels.iter().filter(|channel| stored(channel).is_some()) {
            for told in &subscriber.told {
                let is_gap = matches!(told, Told::Gap(_, channels) if channels.contains(channel));
                assert!(!is_gap, "{context}: {told:?}, and {channel} is stored");
            }
            let of_channel = published.of(channel).into_iter();
            let missing: Vec<u64> = of_channel.filter(|seq| !got.contains(seq)).collect();
            assert!(missing.is_empty(), "{context}: {missing:?} of {channel}");
        }
    }
    println!("lost of what is not stored: {lost}");
    io.close().await;
}

/// Ids of events with the channels that they came by.
fn events(answer: &Value) -> Vec<(u64, &str)> {
    let events = answer["events"].as_array().unwrap().iter();
    events
        .map(|event| (seq(event["id"].as_str().unwrap()), event["channel"].as_str().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_channels_from_one_cursor_may_be_cut_anywhere() {
    let io = server(Limits::default());
    let address = serve(&io).await;
    for number in 0..90_usize {
        io.to(CHANNELS[number % 3]).emit("e", number).await.unwrap();
    }
    let origin = id(&io, 0);
    blocking(move || {
        // Channel a stands at 10 for all of them: one cursor is enough.
        for count in 1..=12 {
            let mut ws_got = Vec::new();
            let mut sse_got = Vec::new();
            let mut poll_got = Vec::new();
            let (mut ws_last, mut sse_last, mut poll_last) = (origin.clone(), origin.clone(), origin.clone());
            while ws_got.len() < 90 {
                let mut ws = Ws::enter(address, "");
                let cursor = ws.subscribe(&["c", "a", "b"], Some(&ws_last)).unwrap();
                assert_eq!(cursor, json!({ "cursor": ws_last }));
                for _ in 0..(count * 3).min(90 - ws_got.len()) {
                    let event = ws.receive();
                    ws_last = event["id"].as_str().unwrap().to_owned();
                    ws_got.push(seq(&ws_last));
                }
            }
            while sse_got.len() < 90 {
                let path = "/sse?channel=b&channel=c&channel=a&format=raw";
                let mut stream = EventSource::open(address, path, &[("Last-Event-ID", &sse_last)]);
                for _ in 0..(count * 5).min(90 - sse_got.len()) {
                    sse_last = stream.event().unwrap().id.unwrap();
                    sse_got.push(seq(&sse_last));
                }
            }
            while poll_got.len() < 90 {
                let path = format!("/poll?channel=b&channel=c&channel=a&limit={count}&since={poll_last}");
                let answer = get(address, &path, &[]).json();
                let events = events(&answer);
                assert!(events.len() <= count);
                poll_got.extend(events.iter().map(|(seq, _)| *seq));
                poll_last = answer["next"].as_str().unwrap().to_owned();
            }
            let expected: Vec<u64> = (1..=90).collect();
            assert_eq!(ws_got, expected);
            assert_eq!(sse_got, expected);
            assert_eq!(poll_got, expected);
        }
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replay_of_a_gap_may_be_cut_anywhere() {
    let mut limits = Limits::default();
    limits.tail_channel_bytes = 10_000;
    let io = server(limits);
    let address = serve(&io).await;
    // 1 to 20: of a the last few are retained, of b all.
    for number in 0..20_usize {
        let padding = if number % 2 == 0 { 2_000 } else { 1 };
        let channel = ["a", "b"][number % 2];
        io.to(channel).emit("e", "x".repeat(padding)).await.unwrap();
    }
    let page = io.history("a").await.unwrap();
    let retained: Vec<u64> = page.events.iter().map(|event| event.id.seq()).collect();
    assert!((2..9).contains(&retained.len()), "{retained:?}");
    let expected: Vec<u64> = (1..=20).filter(|seq| seq % 2 == 0 || retained.contains(seq)).collect();
    let lost = retained[0] - 2; // the last of a that is gone
    let io_ids = io.clone();
    blocking(move || {
        let id = |seq| id(&io_ids, seq);
        for unknown in [false, true] {
            for cut in 0..expected.len() {
                let since = if unknown { "zzzzzzzz-5".to_owned() } else { id(0) };
                let gap = |channels: &[&str], next: u64| json!({ "channels": channels, "next": id(next) });
                let first_gap = if unknown { gap(&["a", "b"], 0) } else { gap(&["a"], 0) };

                // The client stands at `last`, and has `got` by then.
                let open = |since: &str| {
                    EventSource::open(
                        address,
                        "/sse?channel=a&channel=b&format=raw",
                        &[("Last-Event-ID", since)],
                    )
                };
                let mut stream = open(&since);
                let told = stream.event().unwrap();
                assert_eq!((told.event.as_deref(), told.json()), (Some("gap"), first_gap.clone()));
                let mut got: Vec<u64> = (0..cut).map(|_| seq(&stream.event().unwrap().id.unwrap())).collect();
                let last = stream.last_id.clone();
                let mut stream = open(&last);
                if seq(&last) < lost {
                    let told = stream.event().unwrap();
                    assert_eq!(
                        (told.event.as_deref(), told.json()),
                        (Some("gap"), gap(&["a"], seq(&last)))
                    );
                }
                got.extend((cut..expected.len()).map(|_| {
                    let event = stream.event().unwrap();
                    assert_eq!(event.event, None, "cut after {cut}");
                    seq(&event.id.unwrap())
                }));
                assert_eq!(got, expected);

                let mut ws = Ws::enter(address, "");
                ws.send(&json!({ "type": "subscribe", "id": "s", "channels": ["a", "b"], "since": since }));
                // Where the id says nothing the gap comes before the new cursor.
                let (first, second) = (ws.receive(), ws.receive());
                let (ok, told) = if unknown { (second, first) } else { (first, second) };
                assert_eq!((&ok["id"], &told["type"]), (&json!("s"), &json!("gap")));
                assert_eq!(
                    (&told["channels"], &told["next"]),
                    (&first_gap["channels"], &json!(id(0)))
                );
                let mut last = id(0);
                let mut got: Vec<u64> = Vec::new();
                for _ in 0..cut {
                    last = ws.receive()["id"].as_str().unwrap().to_owned();
                    got.push(seq(&last));
                }
                let mut ws = Ws::enter(address, "");
                ws.subscribe(&["a", "b"], Some(&last)).unwrap();
                if seq(&last) < lost {
                    assert_eq!(ws.receive()["channels"], json!(["a"]));
                }
                got.extend((cut..expected.len()).map(|_| seq(ws.receive()["id"].as_str().unwrap())));
                assert_eq!(got, expected);

                let path = |since: &str, limit| format!("/poll?channel=a&channel=b&since={since}&limit={limit}");
                let answer = get(address, &path(&since, cut + 1), &[]).json();
                assert_eq!(
                    (&answer["gap"], &answer["gaps"]),
                    (&json!(true), &first_gap["channels"])
                );
                let mut got: Vec<u64> = events(&answer).iter().map(|(seq, _)| *seq).collect();
                let next = answer["next"].as_str().unwrap();
                if got.len() < expected.len() {
                    let answer = get(address, &path(next, 1_000), &[]).json();
                    assert_eq!(answer["gap"], seq(next) < lost, "{answer}");
                    got.extend(events(&answer).iter().map(|(seq, _)| *seq));
                }
                assert_eq!(got, expected);
            }
        }
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_loss_is_told_once_to_a_connection_however_long_the_replay() {
    let mut limits = Limits::default();
    limits.tail_channel_bytes = 600_000;
    let io = server(limits);
    let address = serve(&io).await;
    for number in 0..2_500 {
        io.to("b").emit("e", number).await.unwrap();
    }
    for _ in 0..300 {
        io.to("a").emit("e", "x".repeat(3_000)).await.unwrap();
    }
    let first = io
        .history("a")
        .after(id(&io, 0).parse().unwrap())
        .limit(1)
        .await
        .unwrap();
    let first = first.events[0].id.seq();
    assert!(first > 2_510, "{first}");
    io.to("b").emit("end", 0).await.unwrap();
    let origin = id(&io, 0);
    let (ws, sse) = blocking(move || {
        let mut ws = Ws::enter(address, "");
        ws.subscribe(&["a", "b"], Some(&origin)).unwrap();
        let mut stream = EventSource::open(
            address,
            "/sse?channel=a&channel=b&named=1",
            &[("Last-Event-ID", &origin)],
        );
        let mut ws_gaps = Vec::new();
        loop {
            let message = ws.receive();
            if message["type"] == "gap" {
                ws_gaps.push(message);
            } else if message["event"] == "end" {
                break;
            }
        }
        let mut gaps = Vec::new();
        loop {
            let block = stream.event().unwrap();
            match block.event.as_deref().unwrap() {
                "gap" => gaps.push(block.json()),
                "end" => break (ws_gaps, gaps),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!((ws.len(), sse.len()), (1, 1), "{ws:?} {sse:?}");
    io.close().await;
}

/// More than the kernel's buffers and the outbox hold.
const MUCH: u64 = 12_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_gets_all_of_it_later_even_if_cut_meanwhile() {
    let mut limits = Limits::default();
    limits.outbox_bytes = 64 << 10;
    let io = server(limits);
    let address = serve(&io).await;
    let (mut ws, mut stream) = blocking(move || {
        let mut ws = Ws::enter(address, "");
        ws.subscribe(&["a", "b"], None).unwrap();
        let stream = EventSource::open(address, "/sse?channel=a&channel=b&format=raw", &[]);
        (ws, stream)
    })
    .await;
    eventually("both listen", || io.counts().subscriptions == 4).await;
    let padding = "x".repeat(1_000);
    for number in 0..MUCH {
        let channel = CHANNELS[usize::try_from(number % 2).unwrap()];
        io.to(channel).emit("e", Args((number, &padding))).await.unwrap();
    }
    let read_ws = |ws: &mut Ws, numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            assert_eq!(seq(ws.receive()["id"].as_str().unwrap()), number);
        }
    };
    let read_sse = |stream: &mut EventSource, numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            let event = stream.event().unwrap();
            assert_eq!((event.event, seq(&event.id.unwrap())), (None, number));
        }
    };
    // What is emitted while it lags comes last.
    io.to("a").emit("e", 0).await.unwrap();
    let last = MUCH + 1;
    let middle = MUCH / 2;
    let middle_id = id(&io, middle);
    blocking(move || {
        read_ws(&mut ws, 1..=middle);
        read_sse(&mut stream, 1..=middle);
        let mut back = Ws::enter(address, "");
        back.subscribe(&["a", "b"], Some(&middle_id)).unwrap();
        read_ws(&mut back, middle + 1..=last);
        let mut back = EventSource::open(address, "/sse?channel=a&channel=b", &[("Last-Event-ID", &middle_id)]);
        read_sse(&mut back, middle + 1..=last);
        // And who was not cut.
        read_ws(&mut ws, middle + 1..=last);
        read_sse(&mut stream, middle + 1..=last);
    })
    .await;
    io.close().await;
}

/// Holds the thread of a server's only shard until it is dropped.
struct Hold {
    _release: mpsc::Sender<()>,
    _client: Client,
}

async fn hold(io: &Io, address: SocketAddr) -> Hold {
    let (holding, held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    io.on("hold", async move || {
        holding.send(()).unwrap();
        // A handler must not do so; here it makes the shard fall behind.
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
    });
    blocking(move || {
        let mut client = Client::connect(address);
        client.send("42[\"hold\"]");
        held.recv_timeout(PATIENCE).unwrap();
        Hold {
            _release: release,
            _client: client,
        }
    })
    .await
}

/// A server with one shard and a poll that waits on it for so many seconds.
async fn waiting_poll(limits: Limits, wait: u64) -> (Io, SocketAddr, std::net::TcpStream) {
    let io = Tidings::builder().shards(1).limits(limits).build();
    io.authorize(async |_: Arc<()>, _, _| Ok(()));
    let address = serve(&io).await;
    let path = format!("/poll?channel=a&since={}&wait={wait}", io.cursor());
    let poll = blocking(move || start(address, "GET", &path, &[], "")).await;
    eventually("it waits", || io.counts().subscriptions == 1).await;
    (io, address, poll)
}

/// The answer has the event, or the next poll gets it.
#[track_caller]
fn assert_not_lost(answer: &Value, id: u64) {
    let events = events(answer);
    let next = seq(answer["next"].as_str().unwrap());
    assert!(events == [(id, "a")] || next < id, "{id} is lost: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_whose_time_ends_as_an_event_comes_does_not_lose_it() {
    let (io, address, poll) = waiting_poll(Limits::default(), 1).await;
    let held = hold(&io, address).await;
    let id = io.to("a").emit("e", 1).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    drop(held);
    let answer = blocking(move || finish(poll)).await;
    assert_not_lost(&answer.json(), id.seq());
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_is_drained_as_an_event_comes_does_not_lose_it() {
    let (io, address, poll) = waiting_poll(Limits::default(), 60).await;
    let held = hold(&io, address).await;
    let id = io.to("a").emit("e", 1).await.unwrap().unwrap();
    let closing = tokio::spawn({
        let io = io.clone();
        async move { io.close().await }
    });
    eventually("it drains", || io.is_closing()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(held);
    let answer = blocking(move || finish(poll)).await;
    assert_not_lost(&answer.json(), id.seq());
    closing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_whose_shard_fell_behind_is_told_what_is_lost() {
    let mut limits = Limits::default();
    limits.tail_channel_bytes = 10_000;
    let (io, address, poll) = waiting_poll(limits, 60).await;
    let held = hold(&io, address).await;
    for _ in 0..30 {
        io.to("a").emit("e", "x".repeat(1_000)).await.unwrap();
    }
    drop(held);
    let retained = io.history("a").await.unwrap().events.len();
    assert!(retained < 30);
    blocking(move || {
        let mut answer = finish(poll).json();
        if answer["gap"] == false {
            assert_eq!((events(&answer).len(), seq(answer["next"].as_str().unwrap())), (0, 0));
            let path = format!("/poll?channel=a&since={}", answer["next"].as_str().unwrap());
            answer = get(address, &path, &[]).json();
        }
        assert_eq!(answer["gaps"], json!(["a"]), "{answer}");
        assert_eq!(events(&answer).len(), retained, "{answer}");
    })
    .await;
    io.close().await;
}
