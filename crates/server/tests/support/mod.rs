//! A server of its own for a test, and what it takes to talk to it: raw HTTP over a socket, and the binary's own commands.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tidings");
pub(crate) const TOKEN_KEY: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const API_KEY: &str = "fedcba9876543210fedcba9876543210";

/// Waits for something to come true: with an error that says for what it waited in vain.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder that is gone when the test ends.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidings-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with the test.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command of the binary to its end, with no other environment than `variables`.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)], stdin: &str) -> Output {
    let mut child = Command::new(BINARY)
        .env_clear()
        .envs(variables.iter().copied())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who does not read it closes it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `tidings serve`.
pub(crate) struct Server {
    process: Process,
    folder: Folder,
    pub(crate) address: String,
    /// What `--dev` prints before the ready line.
    pub(crate) lines: Vec<String>,
    arguments: Vec<String>,
}

impl Server {
    /// A server with this configuration; keys, `data` and a free port are added. `tables` begins within `[auth]`.
    pub(crate) fn configured(name: &str, head: &str, tables: &str) -> Self {
        let folder = Folder::new(name);
        let config =
            format!("data = \"data\"\n{head}\n[admin]\nlisten = \"off\"\n[auth]\nhs256 = \"{TOKEN_KEY}\"\n{tables}\n");
        let file = folder.file("tidings.toml", &config);
        Self::start(folder, &["--config", file.to_str().unwrap()])
    }

    /// `--dev`, with the folder's `data`.
    pub(crate) fn dev(name: &str) -> Self {
        let folder = Folder::new(name);
        let data = folder.0.join("data");
        Self::start(folder, &["--dev", "--data", data.to_str().unwrap()])
    }

    fn start(folder: Folder, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (process, lines) = spawn(&folder, &arguments, "127.0.0.1:0");
        Self {
            process,
            address: address(&lines),
            folder,
            lines,
            arguments,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.0.join("data")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.0.join("tidings.toml")
    }

    /// The rest of the line of `--dev` that begins with this word.
    pub(crate) fn printed(&self, word: &str) -> &str {
        let line = self.lines.iter().find_map(|line| line.strip_prefix(word));
        line.unwrap().trim()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        let (process, lines) = spawn(&self.folder, &self.arguments, &self.address);
        (self.process, self.lines) = (process, lines);
    }

    /// A token of a user of this server.
    pub(crate) fn token(&self, user: &str, subscribe: &[&str], publish: &[&str]) -> String {
        let mut arguments = vec!["token", "--user", user];
        for (flag, patterns) in [("--subscribe", subscribe), ("--publish", publish)] {
            for pattern in patterns {
                arguments.extend([flag, pattern]);
            }
        }
        let output = run(&arguments, &[("TIDINGS_AUTH__HS256", TOKEN_KEY)], "");
        text(&output.stdout).trim().to_owned()
    }

    /// A request with a bearer token or key, unless that is empty, and a body.
    pub(crate) fn request(&self, method: &str, path: &str, bearer: &str, body: &[u8]) -> Answer {
        let authorization = match bearer {
            "" => String::new(),
            bearer => format!("Authorization: Bearer {bearer}\r\n"),
        };
        self.request_with(method, path, &authorization, body)
    }

    /// As [`Server::request`], with header lines.
    pub(crate) fn request_with(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::parse(&answer)
    }

    /// Publishes with the API key.
    pub(crate) fn publish(&self, body: &str) -> Answer {
        self.request("POST", "/api/v1/publish", API_KEY, body.as_bytes())
    }
}

fn spawn(folder: &Folder, arguments: &[String], listen: &str) -> (Process, Vec<String>) {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.0.join("log"))
        .unwrap();
    let mut child = Command::new(BINARY)
        .env_clear()
        .arg("serve")
        .args(arguments)
        .args(["--listen", listen])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let process = Process(child);
    let mut lines = Vec::new();
    for line in stdout.lines() {
        let line = line.unwrap();
        let is_ready = line.starts_with("tidings ready ");
        lines.push(line);
        if is_ready {
            return (process, lines);
        }
    }
    let log = std::fs::read_to_string(folder.0.join("log")).unwrap();
    panic!("the server did not start:\n{log}");
}

fn address(lines: &[String]) -> String {
    let ready = lines.last().unwrap();
    ready.rsplit_once("://").unwrap().1.to_owned()
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = text(&bytes[..end]);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// The first header of that name, in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(header, _)| *header == name);
        values.next().map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status and the code of a problem document; the empty code when all went well.
    pub(crate) fn outcome(&self) -> (u16, String) {
        if self.status < 400 {
            return (self.status, String::new());
        }
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }
}

/// All lines that a file has by now.
pub(crate) fn lines_of(path: &Path) -> Vec<String> {
    let content = std::fs::read_to_string(path).unwrap();
    // What is not ended by a line end is still being written.
    let whole = content.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(str::to_owned).collect()
}
