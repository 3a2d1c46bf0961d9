//! The command line: what can be asked of `tidings`, and how it answers.

mod check;
mod issue;
mod publish;
mod remote;
mod shell;
mod subscribe;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use check::{check, example};
pub(crate) use issue::issue;
pub(crate) use publish::{Publish, publish};
pub(crate) use shell::{completions, man};
pub(crate) use subscribe::{Subscribe, subscribe};

use crate::bench::Bench;
use crate::rules::Pattern;
use crate::token::user_problem;

/// Tidings, a real-time server: publish once, and every subscriber gets it, in order.
#[derive(Debug, Parser)]
#[command(name = "tidings", bin_name = "tidings", version, about, after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
To try it out:  tidings serve --dev
Exit codes:     0 done, 1 failed, 2 wrong usage, 3 refused by the server, 4 server unreachable";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    ///
    /// It runs until SIGTERM or SIGINT and logs to stderr. To stdout it prints one line when it accepts connections,
    /// such as `tidings ready http://127.0.0.1:8080`, with the real port where port 0 was asked for.
    ///
    /// Without a key in `[auth]`, and without `anonymous` there, it does not start.
    Serve(Serve),
    /// Print a token for a user, signed with the server's key
    ///
    /// The key is `hs256` in `[auth]` of the configuration, or TIDINGS_AUTH__HS256 in the environment. Where the
    /// configuration wants an audience or an issuer, the token names the first of each.
    Token(Token),
    /// Publish an event
    ///
    /// Prints its id, whether it had been published before under its key, and what it survives: as JSON into a pipe, as
    /// a sentence on a terminal.
    Publish(Publish),
    /// Print what is published, a line an event
    ///
    /// JSON lines into a pipe, something to read on a terminal; notes about the connection go to stderr. It comes back by
    /// itself when the connection is lost, and prints what it missed, until SIGINT or SIGTERM ends it.
    Subscribe(Subscribe),
    /// Measure a server, or prove its promises: loss, repeats and order are checked
    ///
    /// Without --url it starts a server of its own. With --verify that one is killed and its clients are cut and
    /// stalled, as follows from a seed, and what each client got is compared with what was published.
    Bench(Bench),
    /// Check a configuration, or print an example of one
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what completes this command line in a shell
    ///
    /// For bash: tidings completions bash > /etc/bash_completion.d/tidings
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    ///
    /// To read it: tidings man | man -l -
    Man,
}

/// `tidings serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Try it out: a key made at random, on loopback only, and every user may use every channel
    ///
    /// Prints what it takes to connect before the ready line. The keys are kept in the folder of --data, so that tokens
    /// hold after a restart; without one they hold until the server ends. `[auth]`, `[api]` and `[[channels]]` of a
    /// configuration are used where there are some.
    #[arg(long)]
    pub(crate) dev: bool,
    /// The configuration, a TOML file (see `tidings config example`)
    ///
    /// Without one, the environment and the defaults count: TIDINGS_LISTEN, TIDINGS_AUTH__HS256,
    /// TIDINGS_LIMITS__CONNECTIONS and so on, which win over the file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where clients connect, instead of the configuration's `listen` [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// The folder to keep events in, instead of the configuration's `data`; without one everything is in memory
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<String>,
    /// Log as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `tidings token`.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// The user: the token's `sub`, 1 to 250 bytes
    #[arg(long, value_name = "USER", value_parser = user)]
    pub(crate) user: String,
    /// Channels that it may subscribe to where a rule says "claims", for example 'room:*'; can be repeated
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_parser = pattern)]
    pub(crate) subscribe: Vec<Pattern>,
    /// Channels that it may publish to where a rule says "claims"; can be repeated
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_parser = pattern)]
    pub(crate) publish: Vec<Pattern>,
    /// How long it holds, for example 90s, 15m, 1h or 30d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    pub(crate) expires: Duration,
    /// The configuration that has the key
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `tidings config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration and the environment as `serve` would read them
    ///
    /// Prints all that is wrong, one line each, with file, line and key.
    Check(Check),
    /// Print a configuration with every key and a comment for each
    ///
    /// It can be used as it is: the secret in it is made anew each time.
    Example,
}

/// `tidings config check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration, a TOML file; without one, the environment alone is checked
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The same, without the flag
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
}

/// How a command ended, as the exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: failed.
    Failed = 1,
    /// 2: wrong usage.
    Usage = 2,
    /// 3: the server refused.
    Refused = 3,
    /// 4: no server there.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What stderr says.
    pub(crate) message: String,
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        let exit = if error.is_usage() { Exit::Usage } else { Exit::Failed };
        Self {
            exit,
            message: error.to_string(),
        }
    }
}

fn user(text: &str) -> Result<String, String> {
    match user_problem(text) {
        Some(problem) => Err(format!(
            "it {problem}; a user has 1 to 250 bytes and no control characters"
        )),
        None => Ok(text.to_owned()),
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let pattern: Pattern = text
        .parse()
        .map_err(|error: crate::rules::PatternError| error.to_string())?;
    if pattern.names_user() && !pattern.user_is_unambiguous() {
        return Err("`{user}` could be several parts of one name".to_owned());
    }
    Ok(pattern)
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_secs(1) => Ok(time),
        Ok(_) => Err("a token must hold for a second at least".to_owned()),
        Err(_) => Err("it is no time; write a number and a unit, such as 90s, 15m, 1h or 30d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(std::iter::once("tidings").chain(line.split_whitespace())).map(|cli| cli.command)
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_takes_its_flags() {
        let Ok(Command::Serve(serve)) = parse("serve --dev --config a.toml --listen 127.0.0.1:0 --json") else {
            panic!("not serve");
        };
        assert!(serve.dev && serve.json);
        assert_eq!(serve.config, Some(PathBuf::from("a.toml")));
        assert_eq!(serve.listen.as_deref(), Some("127.0.0.1:0"));
    }

    #[test]
    fn bench_takes_what_belongs_together() {
        assert!(matches!(
            parse("bench --verify --seed 7 --kills 3 --transport ws sse"),
            Ok(Command::Bench(_))
        ));
        assert!(parse("bench --clients 10 --rate 1000 --seconds 5 --json").is_ok());
        assert!(parse("bench --seed 7").is_err() && parse("bench --transport history").is_err());
    }

    #[test]
    fn token_takes_patterns_both_ways() {
        let line = "token --user ann --subscribe room:* news --subscribe a --publish room:7 --expires 90s";
        let Ok(Command::Token(token)) = parse(line) else {
            panic!("not token")
        };
        let texts: Vec<_> = token.subscribe.iter().map(Pattern::as_str).collect();
        assert_eq!((token.user.as_str(), texts), ("ann", vec!["room:*", "news", "a"]));
        assert_eq!(token.expires, Duration::from_secs(90));
    }

    #[test]
    fn wrong_usage_says_what_is_wrong() {
        let long = format!("token --user {}", "x".repeat(251));
        for (line, part) in [
            ("serve --nonsense", "--nonsense"),
            ("publish a b", "<JSON>"),
            ("publish a b 1 --url localhost", "http://127.0.0.1:8080"),
            ("subscribe", "<CHANNEL>"),
            ("subscribe a --since yesterday", "not an event id"),
            ("subscribe a --transport pigeon", "ws, sse, poll"),
            ("subscribe a --url http://u:p@a", "names a user"),
            ("token", "--user"),
            (&*long, "250 bytes"),
            ("token --user ann --subscribe **", "side by side"),
            ("token --user ann --publish *:{user}", "several parts"),
            ("token --user ann --expires soon", "soon"),
            ("token --user ann --expires 10ms", "a second"),
            ("config check --config a b", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
