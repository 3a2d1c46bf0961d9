//! The server under test: this very executable, killed and started again on the same folder and port.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How long a start may take, on a busy machine and with a large store.
const START: Duration = Duration::from_secs(60);

/// A server in a folder of its own.
pub(super) struct Process {
    pub(super) address: SocketAddr,
    folder: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Writes the configuration and starts it.
    ///
    /// # Errors
    /// When the folder can't be written or the server does not come up.
    pub(super) async fn start(folder: &Path, config: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let mut process = Self {
            address: free_address()?,
            folder: folder.to_owned(),
            child: None,
        };
        let config = format!(
            "listen = \"{}\"\ndata = {:?}\n{config}",
            process.address,
            folder.join("data").display().to_string()
        );
        std::fs::write(process.config(), config)?;
        process.spawn().await?;
        Ok(process)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("tidings.toml")
    }

    /// What it wrote to stderr.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it ends or does not say that it is ready.
    pub(super) async fn spawn(&mut self) -> anyhow::Result<()> {
        let log: File = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        // The configuration is all that counts, whatever is set for the server that somebody uses.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("TIDINGS_")) {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn().context("the server can't be started")?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("the server has no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("tidings ready") {
                    return Ok(true);
                }
            }
            io::Result::Ok(false)
        };
        let ready = tokio::time::timeout(START, ready).await;
        self.child = Some(child);
        match ready {
            Ok(Ok(true)) => {}
            Ok(_) => bail!("the server ended as it started; it says: {}", self.last_words()),
            Err(_) => bail!(
                "the server was not ready after {START:?}; it says: {}",
                self.last_words()
            ),
        }
        // Nothing more is expected on stdout; whatever comes must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// How it ended, if it did so by itself.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(format!(
            "the server ended by itself, {status}; it says: {}",
            self.last_words()
        ))
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Gone already is as good.
            let _ = child.kill().await;
        }
    }

    /// SIGSTOP or SIGCONT.
    pub(super) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id);
        if let Some(pid) = id.and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
            // It may be gone; then there is nothing to stop.
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGTERM; gives how it ended.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) async fn stop(&mut self, patience: Duration) -> anyhow::Result<std::process::ExitStatus> {
        self.signal(Signal::TERM);
        let mut child = self.child.take().ok_or_else(|| anyhow!("the server does not run"))?;
        match tokio::time::timeout(patience, child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                let _ = child.kill().await;
                bail!("the server did not end within {patience:?} of SIGTERM")
            }
        }
    }

    /// The lines of its log that tell of a panic.
    pub(super) fn panics(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let panics = log.lines().filter(|line| line.contains("panicked at"));
        panics.map(str::to_owned).collect()
    }
}

/// A port that is free now, and that no outgoing connection gets while the server is down: below those that systems
/// give out by themselves.
fn free_address() -> anyhow::Result<SocketAddr> {
    for _ in 0..1_000 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(10_000..30_000)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free")
}
