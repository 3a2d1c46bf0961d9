//! `tidings bench`: load on a server with loss, repeats and order checked, and the proof of the promises with faults.
//!
//! Subscribers and publishers write down what they see ([`record`]); when all is over, the [`judge`] compares that with
//! what the guarantees say. With `--verify` the run starts its own server and makes trouble from a seed meanwhile.

mod content;
mod crowd;
mod faults;
mod history;
mod http;
mod judge;
mod keys;
mod load;
mod options;
mod plan;
mod process;
mod proxy;
mod publish;
mod read;
mod record;
mod recorder;
mod report;
mod stock;
mod verify;

pub(crate) use options::Bench;

use crate::cli::{Exit, Failure};

/// Runs what was asked for.
///
/// # Errors
/// When it can't be run, and when something did not hold.
pub(crate) fn bench(options: &Bench) -> Result<(), Failure> {
    let failed = |message: String| Failure {
        exit: Exit::Failed,
        message,
    };
    let outcome = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            runtime.block_on(async {
                if options.verify {
                    verify::verify(options).await
                } else {
                    load::load(options).await
                }
            })
        });
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) => Err(failed("something did not hold".to_owned())),
        Err(error) => Err(match error.downcast() {
            Ok(failure) => failure,
            Err(error) => failed(format!("{error:#}")),
        }),
    }
}
