//! Measures the store through the library's public API: events of 200 bytes in 1,000 channels, as `emit(..).receipt()`.
//!
//! `bench-store [--folder F] [--seconds S] [--events N]`: appends for S seconds each way (5), then a store of N events (1,000,000):
//! its size, reads, and how long it takes to open, closed in order and killed. One machine's figures; compare, don't quote.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tidings::{Durability, EventId, Io, Raw, Retention, Tidings};

const CHANNELS: u64 = 1_000;
const EVENT_BYTES: usize = 200;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut folder = None;
    let mut seconds = 5;
    let mut events = 1_000_000;
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--folder" => folder = Some(PathBuf::from(value)),
            "--seconds" => seconds = value.parse()?,
            "--events" => events = value.parse()?,
            // What this program starts itself as, to be killed.
            "--fill" => return runtime()?.block_on(fill_until_killed(Path::new(&value), events)),
            _ => anyhow::bail!("unknown argument {argument}"),
        }
    }
    let temporary = tempfile::tempdir()?;
    let folder = folder.unwrap_or_else(|| temporary.path().to_owned());
    println!(
        "| durability | in flight | appends a second | p50 | p99 | worst |\n| --- | --- | --- | --- | --- | --- |"
    );
    for durability in [Durability::Process, Durability::Power] {
        for in_flight in [1, 64, 1_024] {
            let folder = folder.join(format!("appends-{durability:?}-{in_flight}"));
            runtime()?.block_on(appends(&folder, durability, in_flight, Duration::from_secs(seconds)))?;
        }
    }
    println!();
    retention(&folder.join("retention"), events)?;
    large(&folder.join("large"), events)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(2).enable_all().build()?)
}

fn open(folder: &Path, durability: Durability, retention: Retention) -> Result<Io> {
    let builder = Tidings::builder().shards(1).store(folder).durability(durability);
    Ok(builder.history(move |_| Some(retention)).try_build()?)
}

fn channel(number: u64) -> String {
    format!("room:{}", number % CHANNELS)
}

/// Publishes `count` events, or until the deadline, with so many in flight. Returns how long each took, sorted.
async fn publish(io: &Io, in_flight: u64, count: u64, deadline: Instant) -> Result<Vec<Duration>> {
    let next = Arc::new(AtomicU64::new(0));
    let text = format!("\"{}\"", "x".repeat(EVENT_BYTES - 2));
    let publishers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (io, next, text) = (io.clone(), Arc::clone(&next), text.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let begin = Instant::now();
                    if number >= count || begin >= deadline {
                        return Ok::<_, tidings::Error>(took);
                    }
                    let raw = Raw::from_json(&text, 0)?;
                    io.to(channel(number)).emit("message", raw).receipt().await?;
                    took.push(begin.elapsed());
                }
            })
        })
        .collect();
    let mut took = Vec::new();
    for publisher in publishers {
        let outcome = publisher.await?;
        took.extend(outcome.map_err(|error| anyhow::anyhow!("{error}"))?);
    }
    took.sort_unstable();
    Ok(took)
}

async fn appends(folder: &Path, durability: Durability, in_flight: u64, time: Duration) -> Result<()> {
    let io = open(folder, durability, Retention::new())?;
    let begin = Instant::now();
    let took = publish(&io, in_flight, u64::MAX, begin + time).await?;
    let rate = took.len() as f64 / begin.elapsed().as_secs_f64();
    println!(
        "| {durability:?} | {in_flight} | {rate:.0} | {:.1?} | {:.1?} | {:.1?} |",
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1]
    );
    io.close().await;
    Ok(())
}

/// What the disk holds where channels keep little of much.
fn retention(folder: &Path, events: u64) -> Result<()> {
    let runtime = runtime()?;
    let io = open(folder, Durability::Process, Retention::new().keep(100))?;
    let begin = Instant::now();
    runtime.block_on(publish(&io, 256, events, begin + Duration::from_secs(3_600)))?;
    println!(
        "{events} events with keep = 100: {:.0} a second; {} MiB on disk for {} MiB that are kept; peak memory {} MiB",
        events as f64 / begin.elapsed().as_secs_f64(),
        disk_mib(folder)?,
        ((CHANNELS * 100).min(events) * EVENT_BYTES as u64) >> 20,
        memory_mib()?,
    );
    runtime.block_on(async { io.close().await });
    Ok(())
}

/// A store of many events, that a process is killed over.
fn large(folder: &Path, events: u64) -> Result<()> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(program)
        .args(["--events", &events.to_string(), "--fill"])
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("the child has an output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line == "kill me" {
            break;
        }
        println!("{line}");
    }
    child.kill()?;
    child.wait()?;
    println!("{events} events: {} MiB on disk", disk_mib(folder)?);
    let runtime = runtime()?;
    for how in ["after kill -9", "closed in order", "closed in order"] {
        let begin = Instant::now();
        let io = open(folder, Durability::Process, Retention::new())?;
        println!(
            "opened in {:.0?} ({how}), peak memory {} MiB",
            begin.elapsed(),
            memory_mib()?
        );
        runtime.block_on(async {
            read(&io, events).await?;
            io.close().await;
            Ok::<_, anyhow::Error>(())
        })?;
    }
    Ok(())
}

async fn fill_until_killed(folder: &Path, events: u64) -> Result<()> {
    let io = open(folder, Durability::Process, Retention::new())?;
    let begin = Instant::now();
    publish(&io, 256, events, begin + Duration::from_secs(3_600)).await?;
    println!(
        "filled with 256 in flight: {:.0} a second, peak memory {} MiB",
        events as f64 / begin.elapsed().as_secs_f64(),
        memory_mib()?
    );
    println!("kill me");
    // More is on its way while the end comes.
    publish(&io, 256, u64::MAX, begin + Duration::from_secs(3_600)).await?;
    Ok(())
}

/// Pages of 50 somewhere in the middle of channels.
async fn read(io: &Io, events: u64) -> Result<()> {
    let newest = io.history(channel(0)).limit(1).await;
    let newest = newest.map_err(|error| anyhow::anyhow!("{error}"))?;
    let epoch = newest.events.first().context("the store is empty")?.id.epoch();
    let mut took = Vec::new();
    let mut found = 0;
    for number in 0..2_000_u64 {
        let seq = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % events;
        let after: EventId = format!("{}-{seq}", epoch.as_str()).parse()?;
        let begin = Instant::now();
        let page = io.history(channel(number)).after(after).limit(50).await;
        took.push(begin.elapsed());
        found += page.map_err(|error| anyhow::anyhow!("{error}"))?.events.len();
    }
    took.sort_unstable();
    println!(
        "2000 reads of 50 after an id: p50 {:.0?}, p99 {:.0?}, worst {:.0?}; {found} events",
        took[1_000], took[1_980], took[1_999]
    );
    Ok(())
}

fn disk_mib(folder: &Path) -> Result<u64> {
    // Journals are made larger than what they hold, so blocks are what counts.
    let output = Command::new("du").arg("-sm").arg(folder).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().next().context("du says a number")?.parse()?)
}

fn memory_mib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("a peak")?
        .parse()?;
    Ok(kib >> 10)
}
