//! `tidings completions` and `tidings man`: what a shell and `man` want to know of the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Exit, Failure};

/// The script with which a shell completes the command line.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidings", &mut script);
    String::from_utf8_lossy(&script).trim_end().to_owned()
}

/// The manual page, with a section for each command.
///
/// # Errors
/// When it can't be written, which memory does not refuse.
pub(crate) fn man() -> Result<String, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let mut write = || {
        clap_mangen::Man::new(command.clone()).render(&mut page)?;
        for sub in command
            .get_subcommands()
            .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        {
            let man = clap_mangen::Man::new(sub.clone());
            page.extend_from_slice(format!(".SH \"TIDINGS {}\"\n", sub.get_name().to_uppercase()).as_bytes());
            let mut part = Vec::new();
            man.render_synopsis_section(&mut part)?;
            man.render_description_section(&mut part)?;
            man.render_options_section(&mut part)?;
            // They are sections of a page of their own; here they are parts of one.
            let part = String::from_utf8_lossy(&part).replace(".SH ", ".SS ");
            page.extend_from_slice(part.as_bytes());
        }
        std::io::Result::Ok(())
    };
    write().map_err(|error| Failure {
        exit: Exit::Failed,
        message: error.to_string(),
    })?;
    Ok(String::from_utf8_lossy(&page).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_shell_is_told_every_command() {
        for shell in Shell::value_variants() {
            let script = completions(*shell);
            for word in ["serve", "subscribe", "publish", "config"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn the_manual_page_has_every_command_and_its_options() {
        let page = man().unwrap();
        assert!(page.contains(".TH tidings 1"));
        for part in [
            "TIDINGS SERVE",
            "TIDINGS BENCH",
            "\\-\\-config",
            "\\-\\-since",
            "Exit codes",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }
}
