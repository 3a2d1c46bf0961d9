//! Carrying faults out.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{Fault, Plan};
use super::process::Process;
use super::proxy::{Cut, Mode, Proxy};
use super::recorder::Recorder;

/// When faults end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    pub(super) time: Option<Duration>,
    pub(super) kills: Option<usize>,
    /// Go on though something is wrong already.
    pub(super) keep_going: bool,
}

/// Who can replace a subscriber.
pub(super) trait Cast {
    /// The subscriber with this number leaves and another one comes.
    fn replace(&mut self, subscriber: usize);
}

/// Everything that faults act on.
pub(super) struct Faults<'a> {
    pub(super) plan: &'a mut Plan,
    pub(super) recorder: &'a Arc<Recorder>,
    pub(super) server: &'a mut Process,
    /// A proxy for each client, subscribers first.
    pub(super) proxies: &'a [Arc<Proxy>],
    pub(super) subscribers: usize,
}

impl Faults<'_> {
    /// Makes trouble until it is enough; afterwards the server runs and all proxies pass.
    ///
    /// # Errors
    /// When the server does not start again.
    pub(super) async fn run(&mut self, until: Until, cast: &mut dyn Cast) -> anyhow::Result<()> {
        let end = until.time.map(|time| Instant::now() + time);
        // A run without kills has the next one when it is over.
        let never = Duration::from_secs(365 * 24 * 3_600);
        let first = match until.kills {
            Some(0) => never,
            _ => self.plan.until_kill(),
        };
        let mut next_kill = Instant::now() + first;
        // Stalls and the like go on while others begin.
        let mut underway = JoinSet::new();
        let mut next_faults = Instant::now() + self.plan.until_faults();
        loop {
            let next = next_kill.min(next_faults);
            if end.is_some_and(|end| next >= end) {
                sleep_until(end.unwrap_or(next)).await;
                break;
            }
            sleep_until(next).await;
            if self.recorder.alarmed() && !until.keep_going {
                self.recorder.deed("something is wrong: no more faults");
                break;
            }
            if let Some(ended) = self.server.ended() {
                self.recorder.flaw(ended);
                self.server.spawn().await?;
            }
            if next == next_kill {
                let kill = self.plan.kill();
                self.carry_out(kill, &mut underway, cast).await?;
                if until.kills.is_some_and(|kills| self.recorder.kills() >= kills) {
                    break;
                }
                next_kill = Instant::now() + self.plan.until_kill();
            } else {
                for fault in self
                    .plan
                    .faults(self.subscribers, self.proxies.len() - self.subscribers)
                {
                    self.carry_out(fault, &mut underway, cast).await?;
                }
                next_faults = Instant::now() + self.plan.until_faults();
            }
            while underway.try_join_next().is_some() {}
        }
        while underway.join_next().await.is_some() {}
        self.recorder.deed("no more faults");
        Ok(())
    }

    async fn carry_out(&mut self, fault: Fault, underway: &mut JoinSet<()>, cast: &mut dyn Cast) -> anyhow::Result<()> {
        self.recorder.deed(fault.to_string());
        match fault {
            Fault::Cut { client, cut } => self.proxies[client].cut(cut),
            Fault::Stall { client, time } => {
                let proxy = Arc::clone(&self.proxies[client]);
                underway.spawn(async move {
                    proxy.mode(Mode::Stall);
                    sleep(time).await;
                    proxy.mode(Mode::Pass);
                });
            }
            Fault::Swallow { client, time } => {
                let proxy = Arc::clone(&self.proxies[client]);
                underway.spawn(async move {
                    proxy.mode(Mode::Swallow);
                    sleep(time).await;
                    proxy.cut(Cut::HalfOpen);
                    proxy.mode(Mode::Pass);
                });
            }
            Fault::Replace { client } => cast.replace(client),
            Fault::Stop { time } => {
                self.server.signal(Signal::STOP);
                sleep(time).await;
                self.server.signal(Signal::CONT);
            }
            Fault::Kill { stopped, down } => {
                if !stopped.is_zero() {
                    self.server.signal(Signal::STOP);
                    sleep(stopped).await;
                }
                self.server.kill().await;
                self.recorder.killed();
                sleep(down).await;
                self.server.spawn().await?;
                self.recorder.deed("the server is ready again");
            }
        }
        Ok(())
    }
}
