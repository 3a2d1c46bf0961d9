//! What the operating system says of this process, under the names that Prometheus' own clients use.

use std::fmt;
use std::fs;

use crate::metrics::{Page, count};

/// What was read; see `proc(5)`.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) open_files: u64,
    pub(crate) started_seconds: f64,
}

impl Process {
    /// Nothing where there is no `/proc`.
    pub(crate) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = count(rustix::param::clock_ticks_per_second());
        let page_bytes = u64::try_from(rustix::param::page_size()).ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot_seconds: u64 = boot
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .parse()
            .ok()?;
        Some(Self {
            cpu_seconds: count(field(14)? + field(15)?) / ticks,
            resident_bytes: field(24)? * page_bytes,
            // One of them reads the folder.
            open_files: u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1)).ok()?,
            started_seconds: count(boot_seconds) + count(field(22)?) / ticks,
        })
    }

    pub(crate) fn tell(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter_of_seconds("process_cpu_seconds", "CPU time, of user and system", self.cpu_seconds)?;
        page.gauge(
            "process_resident_memory_bytes",
            "Memory that is in use",
            count(self.resident_bytes),
        )?;
        page.gauge("process_open_fds", "Open file descriptors", count(self.open_files))?;
        page.gauge(
            "process_start_time_seconds",
            "When it began, Unix time",
            self.started_seconds,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_files_and_a_beginning() {
        let process = Process::read().unwrap();
        assert!(
            process.resident_bytes > 1 << 20 && process.open_files >= 3,
            "{process:?}"
        );
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        assert!(process.started_seconds <= now.as_secs_f64() + 2.0, "{process:?}");
    }
}
