//! The `tidings` binary.

mod cli;
#[allow(dead_code, unused_imports, reason = "`serve` uses the rest")]
mod config;
#[allow(dead_code, unused_imports, reason = "`serve` uses the rest")]
mod rules;
#[allow(dead_code, unused_imports, reason = "`serve` uses the rest")]
mod token;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, ConfigCommand, Exit, Failure};
use config::Environment;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let answer = match Cli::parse().command {
        Command::Token(token) => cli::issue(&token, environment),
        Command::Config(ConfigCommand::Check(check)) => cli::check(&check, environment),
        Command::Config(ConfigCommand::Example) => cli::example(),
        Command::Serve(_) => Err(Failure {
            exit: Exit::Failed,
            message: "`serve` is not part of this build".to_owned(),
        }),
    };
    match answer {
        Ok(line) => match writeln!(std::io::stdout(), "{line}") {
            Ok(()) => Exit::Done.into(),
            Err(_) => Exit::Failed.into(),
        },
        Err(failure) => {
            // There is nobody left to tell when stderr is gone.
            let _ = writeln!(std::io::stderr(), "{failure}");
            failure.exit.into()
        }
    }
}
