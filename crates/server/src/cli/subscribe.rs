//! `tidings subscribe`: prints what is published, a line an event, and comes back after every loss where it was.

mod backoff;
mod poll;
mod screen;
mod session;
mod sse;
mod websocket;

use clap::{Args, ValueEnum};
use tidings::EventId;
use tokio::signal::unix::{SignalKind, signal};

use super::remote::{Remote, Server, Trouble, unreachable};
use super::{Exit, Failure};
use backoff::Backoff;
use session::Session;

/// How who subscribes shows who it is.
const CREDENTIAL: &str =
    "pass a token with --token or TIDINGS_TOKEN; `tidings token` makes one, and `tidings serve --dev` prints one";

/// `tidings subscribe`.
#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    /// The channels
    #[arg(value_name = "CHANNEL", required = true)]
    channels: Vec<String>,
    /// How to connect
    #[arg(long, value_name = "NAME", value_enum, default_value = "ws")]
    transport: Transport,
    /// First what was published after this event
    #[arg(long, value_name = "ID")]
    since: Option<EventId>,
    /// Who you are
    #[arg(long, value_name = "TOKEN", env = "TIDINGS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// How events can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// A plain WebSocket
    Ws,
    /// Server-sent events
    Sse,
    /// Long polling
    Poll,
}

/// Why a transport is at its end.
#[derive(Debug)]
enum End {
    /// Something is the matter with the connection.
    Trouble(Trouble),
    /// What was printed can't be taken.
    Output(std::io::Error),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        End::Trouble(trouble)
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        End::Output(error)
    }
}

/// Prints what comes until a signal ends it, or nobody reads any more.
///
/// # Errors
/// When there is no server from the start, or it says no for good.
pub(crate) fn subscribe(options: Subscribe) -> Result<(), Failure> {
    let failed = |message: String| Failure {
        exit: Exit::Failed,
        message,
    };
    // A variable that is set to nothing is as good as none.
    let token = options.token.as_deref().filter(|token| !token.is_empty());
    let remote = Remote::new(&options.server, token)?;
    let session = Session::new(options.channels, options.since);
    // Printing may block its own thread: this one still hears the signals.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let outcome = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed(error.to_string()))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| failed(error.to_string()))?;
        let follow = tokio::spawn(follow(remote, session, options.transport));
        tokio::select! {
            outcome = follow => outcome.unwrap_or_else(|error| Err(failed(error.to_string()))),
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    });
    runtime.shutdown_background();
    outcome
}

async fn follow(remote: Remote, mut session: Session, transport: Transport) -> Result<(), Failure> {
    let mut backoff = Backoff::default();
    loop {
        let outcome = match transport {
            Transport::Ws => websocket::read(&remote, &mut session).await,
            Transport::Sse => sse::read(&remote, &mut session).await,
            Transport::Poll => poll::read(&remote, &mut session).await,
        };
        let problem = match outcome {
            Err(End::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(End::Output(error)) => {
                return Err(Failure {
                    exit: Exit::Failed,
                    message: format!("an event can't be printed: {error}"),
                });
            }
            Err(End::Trouble(Trouble::Refused(refusal))) if !refusal.passes() => {
                return Err(refusal.failure(CREDENTIAL));
            }
            Err(End::Trouble(Trouble::Refused(refusal))) => format!("{}: {}", refusal.code, refusal.detail),
            Err(End::Trouble(Trouble::Unreachable(problem))) if !session.has_been_in() => {
                return Err(unreachable(&remote, &problem));
            }
            Err(End::Trouble(Trouble::Unreachable(problem) | Trouble::Lost(problem))) => problem,
            Ok(()) => "the server ended it".to_owned(),
        };
        if session.left() {
            backoff = Backoff::default();
        }
        let pause = backoff.next(session.retry());
        screen::note(&format!(
            "not connected ({problem}); again in {:.1} s",
            pause.as_secs_f32()
        ));
        tokio::time::sleep(pause).await;
    }
}
