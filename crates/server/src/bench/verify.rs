//! `tidings bench --verify`: the whole run, from the seed to the verdict.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::crowd::Crowd;
use super::faults::{Faults, Until};
use super::keys::Keys;
use super::options::Bench;
use super::plan::Plan;
use super::process::Process;
use super::proxy::{Mode, Proxy};
use super::publish::{Api, Line, Publisher, WebSocket};
use super::record::{ChannelIndex, Transport};
use super::recorder::Recorder;
use super::stock::Stock;
use super::{history, judge, report};

/// How long a server may take to end by itself.
const DRAIN: Duration = Duration::from_secs(30);

/// The one that publishes before all others and after them: what it publishes has no faults around it.
const HERALD: u16 = 0;

/// The other publishers, and of how many publishes each has one: what is left gets the rate.
const PUBLISHERS: [(&str, PublisherKind); 5] = [
    ("publisher-api-1", PublisherKind::Api),
    ("publisher-api-2", PublisherKind::Api),
    ("publisher-ws-1", PublisherKind::WebSocket),
    ("publisher-ws-2", PublisherKind::WebSocket),
    ("publisher-socketio", PublisherKind::Stock),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PublisherKind {
    Api,
    WebSocket,
    Stock,
}

/// Runs it; gives whether all promises held.
///
/// # Errors
/// When the run itself fails: no server, no subscriber that begins.
pub(super) async fn verify(options: &Bench) -> anyhow::Result<bool> {
    let seed = options.seed.unwrap_or_else(|| rand::random_range(0..1 << 32));
    eprintln!("seed {seed}");
    let folder = std::env::temp_dir().join(format!("tidings-verify-{}-{seed}", std::process::id()));
    let outcome = run(options, seed, &folder).await;
    match outcome {
        Ok(true) => std::fs::remove_dir_all(&folder)?,
        _ => eprintln!("the server's folder and log are kept in {}", folder.display()),
    }
    outcome
}

async fn run(options: &Bench, seed: u64, folder: &Path) -> anyhow::Result<bool> {
    let mut plan = Plan::new(seed, options.channels.into());
    let keys = Keys::new()?;
    let users = users();
    let recorder = Recorder::new(plan.channels.clone(), users);
    let stock = start_stock(options, &recorder).await?;
    let mut transports = options.transports();
    transports.retain(|transport| stock.is_some() || !transport.is_stock());

    let mut server = Process::start(folder, &keys.config(&options.durability)).await?;
    let api = Arc::new(Api::new(&server.address.to_string(), &keys.api));
    let herald = Publisher {
        number: HERALD,
        line: Line::Api(Arc::clone(&api)),
        recorder: Arc::clone(&recorder),
        channels: Vec::new(),
        every: Duration::MAX,
        keyed_percent: 100,
        tease: false,
    };
    // Every channel has a past before anybody subscribes: nobody may be told that it missed it.
    let all: Vec<ChannelIndex> = (0..).zip(&plan.channels).map(|(index, _)| index).collect();
    for channel in &all {
        herald.publish((*channel).into(), vec![*channel], true).await;
    }

    let mut crowd = Crowd::new(&recorder, stock.clone());
    let mut proxies = Vec::new();
    for planned in plan.readers(&transports, options.clients.into()) {
        let proxy = Proxy::start(server.address).await?;
        let token = keys.token(&format!("reader-{}", planned.name))?;
        crowd.add(planned, proxy.address.to_string(), token);
        proxies.push(proxy);
    }
    let subscribers = proxies.len();
    crowd.all_begun().await?;

    let (stop, stopped) = watch::channel(false);
    let mut publishers = JoinSet::new();
    for (number, (name, kind)) in (HERALD + 1..).zip(PUBLISHERS) {
        let proxy = Proxy::start(server.address).await?;
        let address = proxy.address.to_string();
        let token = keys.token(name)?;
        let line = match (kind, &stock) {
            (PublisherKind::Api, _) => Line::Api(Arc::new(Api::new(&address, &keys.api))),
            (PublisherKind::WebSocket, _) => Line::WebSocket(WebSocket::new(address, token)),
            (PublisherKind::Stock, None) => continue,
            (PublisherKind::Stock, Some(stock)) => {
                stock.connect(name, &address, &token);
                Line::Stock(Arc::clone(stock), name.to_owned())
            }
        };
        proxies.push(proxy);
        let publisher = Publisher {
            number,
            line,
            recorder: Arc::clone(&recorder),
            channels: plan.busy.iter().chain(&plan.busy_memory).copied().collect(),
            every: Duration::from_secs(PUBLISHERS.len() as u64) / options.rate,
            // Without a key there is no second attempt: all get it, or nobody.
            keyed_percent: if number == 1 { 100 } else { 70 },
            tease: kind == PublisherKind::Api,
        };
        publishers.spawn(publisher.run(stopped.clone()));
    }
    // Seldom enough that a gap without a loss stands out.
    let rare = Publisher {
        number: RARE,
        line: Line::Api(Arc::clone(&api)),
        recorder: Arc::clone(&recorder),
        channels: vec![plan.rare],
        every: Duration::from_secs(7),
        keyed_percent: 100,
        tease: false,
    };
    publishers.spawn(rare.run(stopped));
    let progress = tokio::spawn(progress(Arc::clone(&recorder)));
    let _progress = AbortOnDrop(progress);

    let until = Until {
        time: options.time(),
        kills: options.kills,
        keep_going: options.keep_going,
    };
    let mut faults = Faults {
        plan: &mut plan,
        recorder: &recorder,
        server: &mut server,
        proxies: &proxies,
        subscribers,
    };
    tokio::select! {
        faults = faults.run(until, &mut crowd) => faults?,
        _ = tokio::signal::ctrl_c() => {
            recorder.deed("interrupted");
            server.kill().await;
            server.spawn().await?;
        }
    }
    for proxy in &proxies {
        proxy.mode(Mode::Pass);
    }
    let _ = stop.send(true);
    while publishers.join_next().await.is_some() {}

    // All must come to the same end: the herald's last word in each channel, in the quiet ones after the others.
    let quiet = plan.quiet;
    let (last, last_quiet): (Vec<_>, Vec<_>) = all.iter().copied().partition(|channel| !quiet.contains(channel));
    for channels in [last, last_quiet] {
        let mut words = Vec::new();
        for channel in channels {
            let number = 1_000 + u32::from(channel);
            words.push((channel, herald.publish(number, vec![channel], true).await));
        }
        crowd.all_have(&words).await;
    }
    let mut books = crowd.leave();
    // The first id that there was is in the epoch of all others.
    if let Some(start) = recorder.start() {
        for channel in all
            .iter()
            .filter(|channel| recorder.channels[usize::from(**channel)].durable)
        {
            match history::read(&api, &recorder, *channel, &start).await {
                Ok(book) => books.push(book),
                Err(error) => recorder.flaw(format!("{error:#}")),
            }
        }
    }
    end(&mut server, &recorder).await;

    if let (Some(kills), None) = (options.kills, options.seconds)
        && recorder.kills() < kills
    {
        recorder.flaw(format!("of {kills} kills there were {}", recorder.kills()));
    }

    let record = recorder.record(&books);
    let verdict = judge::judge(&record);
    if options.json {
        let more = json!({ "seed": seed, "durability": options.durability });
        println!("{}", report::json(&record, &verdict, more));
    } else {
        println!("{}", report::table(&verdict));
        println!("seed {seed}, {} kills, {}", record.kills.len(), options.durability);
    }
    if !verdict.holds() {
        eprint!("{}", report::violations(&record, &verdict));
        std::fs::write(folder.join("record.txt"), format!("{record:#?}"))?;
    }
    eprintln!(
        "{}",
        if verdict.holds() {
            "all promises held"
        } else {
            "NOT all promises held"
        }
    );
    Ok(verdict.holds())
}

/// The publisher of the rare channel.
const RARE: u16 = HERALD + 1 + PUBLISHERS.len() as u16;

/// Who publishes, as events show it.
fn users() -> Vec<Option<String>> {
    let mut users = vec![None];
    users.extend(PUBLISHERS.map(|(name, kind)| (kind != PublisherKind::Api).then(|| name.to_owned())));
    users.push(None);
    users
}

pub(super) async fn start_stock(options: &Bench, recorder: &Arc<Recorder>) -> anyhow::Result<Option<Arc<Stock>>> {
    if !options.transports().into_iter().any(Transport::is_stock) {
        return Ok(None);
    }
    match Stock::start(&options.stock, recorder).await {
        Ok(stock) => Ok(Some(stock)),
        Err(error) if options.require_stock => Err(error.context("no stock Socket.IO clients")),
        Err(error) => {
            eprintln!("no stock Socket.IO clients, going on without them: {error:#}");
            Ok(None)
        }
    }
}

/// SIGTERM must end the server in order, and nowhere in the run may it have panicked.
async fn end(server: &mut Process, recorder: &Recorder) {
    if let Some(ended) = server.ended() {
        recorder.flaw(ended);
    } else {
        match server.stop(DRAIN).await {
            Ok(status) if status.success() => {}
            Ok(status) => recorder.flaw(format!("on SIGTERM the server ended with {status}")),
            Err(error) => recorder.flaw(format!("{error:#}")),
        }
    }
    for panic in server.panics() {
        recorder.flaw(format!("the server panicked: {panic}"));
    }
}

async fn progress(recorder: Arc<Recorder>) {
    loop {
        sleep(Duration::from_secs(10)).await;
        eprintln!(
            "{:>5} s: {} kills, {} published, {} delivered",
            recorder.now() / 1_000_000,
            recorder.kills(),
            recorder.publishes(),
            recorder.delivered.load(Ordering::Relaxed)
        );
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
