//! `tidings config check` and `tidings config example`, as a user runs them.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its failure")]

use std::path::PathBuf;
use std::process::{Command, Output};

/// Runs the binary with no other environment than `variables`.
fn tidings(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command
        .env_clear()
        .envs(variables.iter().copied())
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file that is gone when the test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidings-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_example_passes_the_check() {
    let example = tidings(&["config", "example"], &[]);
    assert!(example.status.success());
    assert!(example.stderr.is_empty());
    let file = File::new("example", &text(&example.stdout));
    for arguments in [
        ["config", "check", "--config", file.path()].as_slice(),
        &["config", "check", file.path()],
    ] {
        let check = tidings(arguments, &[]);
        assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
        assert!(text(&check.stdout).contains("good"));
    }
}

#[test]
fn what_is_wrong_goes_to_stderr_with_file_and_line() {
    let file = File::new("wrong", "listen = 8080\n[auth]\nhs265 = \"s3cret\"\n");
    let check = tidings(&["config", "check", "--config", file.path()], &[]);
    assert_eq!(check.status.code(), Some(1));
    assert!(check.stdout.is_empty());
    let stderr = text(&check.stderr);
    assert!(
        stderr.contains(&format!("{}:1: `listen`: 8080 given", file.path())),
        "{stderr}"
    );
    assert!(stderr.contains(&format!("{}:3: `auth.hs265`", file.path())), "{stderr}");
    assert!(!stderr.contains("s3cret"), "{stderr}");
}

#[test]
fn the_environment_is_checked_too() {
    let good = [("TIDINGS_AUTH__HS256", "0123456789abcdef0123456789abcdef")];
    assert_eq!(tidings(&["config", "check"], &good).status.code(), Some(0));
    let wrong = tidings(&["config", "check"], &[good[0], ("TIDINGS_LIMITS__CONNECTION", "1")]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("`connections`"), "{}", text(&wrong.stderr));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let check = tidings(&["config", "check", "/nowhere/tidings.toml"], &[]);
    assert_eq!(check.status.code(), Some(1));
    assert!(text(&check.stderr).contains("/nowhere/tidings.toml"));
}
