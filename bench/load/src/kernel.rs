//! What the kernel accounts: CPU of a process, memory of a process, what a core did.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The core of the server under test.
pub(crate) const SERVER_CORE: usize = 0;
/// The core of the load generator.
pub(crate) const LOAD_CORE: usize = 1;

/// `/proc/stat` counts hundredths of a second, whatever the kernel's tick.
const STAT_TICK: Duration = Duration::from_millis(10);

/// The time a process has run so far, user and system, all its threads: the scheduler's own count in nanoseconds.
pub(crate) fn process_cpu(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.try_into()?))?;
    Ok(clock_gettime(clock)?.into())
}

/// The same of the generator itself.
pub(crate) fn own_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse().ok())
        .context("no Rss in smaps_rollup")
}

/// From here on, [`peak_kib`] is the most that a process has from now.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// The most resident memory that a process has had, in KiB.
pub(crate) fn peak_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
        .context("no VmHWM in status")
}

/// Writes out a folder's files and has the kernel forget what it holds of them, so that they are read from the disk.
pub(crate) fn forget_files(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget_files(&path)?;
        } else {
            let file = fs::File::open(&path)?;
            file.sync_all()?;
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        }
    }
    Ok(())
}

/// How long a core has been idle since boot. A tickless kernel keeps this exactly, unlike its counts of busy ticks.
fn core_idle(core: usize) -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let ticks: u32 = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cpu{core} ")))
        .context("no such core in /proc/stat")?
        .split_whitespace()
        .skip(3)
        .take(2)
        .map(|field| field.parse::<u32>())
        .sum::<Result<u32, _>>()?;
    Ok(STAT_TICK * ticks)
}

/// How long the generator, which has one thread, has been ready to run while something else had its core.
fn own_delay() -> Result<Duration> {
    let text = fs::read_to_string("/proc/self/schedstat")?;
    let waited_ns = text
        .split_whitespace()
        .nth(1)
        .context("no waiting time in /proc/self/schedstat")?;
    Ok(Duration::from_nanos(waited_ns.parse()?))
}

/// A moment in the kernel's accounts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accounts {
    at: Instant,
    server: Duration,
    load: Duration,
    load_delay: Duration,
    server_core_idle: Duration,
}

/// What happened between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    /// CPU of the server.
    pub(crate) server: Duration,
    /// CPU of the generator.
    pub(crate) load: Duration,
    /// Share (0 to 1) of the server's core that went to anything but the server.
    pub(crate) server_core_foreign: f64,
    /// Share of the time in which the generator waited for its core.
    pub(crate) load_delay: f64,
}

impl Accounts {
    pub(crate) fn now(server_pid: u32) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: process_cpu(server_pid)?,
            load: own_cpu()?,
            load_delay: own_delay()?,
            server_core_idle: core_idle(SERVER_CORE)?,
        })
    }

    pub(crate) fn until(self, end: Self) -> Usage {
        let wall = end.at - self.at;
        let server = end.server.saturating_sub(self.server);
        let load = end.load.saturating_sub(self.load);
        let server_core_idle = end.server_core_idle.saturating_sub(self.server_core_idle);
        let foreign = wall.saturating_sub(server_core_idle).saturating_sub(server);
        Usage {
            wall,
            server,
            load,
            server_core_foreign: foreign.div_duration_f64(wall),
            load_delay: end.load_delay.saturating_sub(self.load_delay).div_duration_f64(wall),
        }
    }
}

/// Keeps this process, and whatever it starts from now on, on one core.
pub(crate) fn run_on(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .with_context(|| format!("running on core {core}: the benchmark needs two"))
}

/// Raises the limit on open files to what is allowed, here and for what this process starts; gives the limit.
pub(crate) fn raise_open_files() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}
