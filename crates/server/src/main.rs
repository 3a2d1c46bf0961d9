//! The `tidings` binary.

mod access;
mod api;
mod bench;
mod cli;
mod client;
mod config;
mod connect;
mod console;
mod demo;
mod embedded;
mod event_stream;
mod events;
mod health;
mod hooks;
mod journal;
mod log;
mod loopback;
mod members;
mod metrics;
mod on;
mod private_file;
mod problem;
mod process;
mod reload;
mod revocations;
mod rules;
mod serve;
mod setup;
mod swap;
mod template;
mod token;
mod unix_socket;
mod url;

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, ConfigCommand, Exit};
use config::Environment;

/// Many small allocations of one thread are freed by another: that is what it is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let answer = match Cli::parse().command {
        Command::Serve(options) => serve::serve(&options, environment).map(|()| None),
        Command::Publish(options) => cli::publish(&options).map(|()| None),
        Command::Subscribe(options) => cli::subscribe(options).map(|()| None),
        Command::Bench(options) => bench::bench(&options).map(|()| None),
        Command::Token(token) => cli::issue(&token, environment).map(Some),
        Command::Config(ConfigCommand::Check(check)) => cli::check(&check, environment).map(Some),
        Command::Config(ConfigCommand::Example) => cli::example().map(Some),
        Command::Completions { shell } => Ok(Some(cli::completions(shell))),
        Command::Man => cli::man().map(Some),
    };
    match answer {
        Ok(None) => Exit::Done.into(),
        Ok(Some(line)) => match writeln!(std::io::stdout(), "{line}") {
            // Who reads no further has what it wanted.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                log::say(format!("stdout can't be written: {error}"));
                Exit::Failed.into()
            }
            Ok(()) | Err(_) => Exit::Done.into(),
        },
        Err(failure) => {
            log::say(failure.to_string());
            failure.exit.into()
        }
    }
}
