//! The configuration: a TOML file, the environment over it, the flags over both.
//!
//! A key that is not known, or not yet, is an error and never ignored. Errors come all at once, each with its place,
//! its key, what was given and what is meant; none shows a secret.

mod api;
mod auth;
mod channels;
mod dev;
mod document;
mod given;
mod history;
mod hooks;
mod keys;
mod limits;
mod listen;
mod network;
mod on;
mod origin;
mod pace;
mod password;
mod problem;
mod secret;
mod section;
#[cfg(test)]
mod tests;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidings::Durability;

pub(crate) use api::Api;
pub(crate) use auth::Auth;
pub(crate) use document::Environment;
pub(crate) use given::Given;
pub(crate) use limits::Limits;
pub(crate) use listen::Listen;
pub(crate) use network::Network;
pub(crate) use origin::{is_loopback_host, is_loopback_origin};
pub(crate) use problem::{ConfigError, Problem, Problems};

use tidings::Tls;

use crate::console::Password;
use crate::hooks::Settings;
use crate::on::On;
use crate::rules::Rules;
use crate::token::{Secret, SecretError};
use document::{Node, Origin, Table, Value};
use secret::Places;
use section::{Section, duration, parsed, text, texts};

/// Where the server listens unless it is told otherwise.
const LISTEN: Listen = Listen::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080));

/// Where health is answered unless it is told otherwise.
pub(crate) const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9080);

/// How long clients have to leave unless it is told otherwise.
const DRAIN: Duration = Duration::from_secs(20);

/// Where the configuration comes from.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    /// The file, if any.
    pub(crate) file: Option<PathBuf>,
    /// The environment.
    pub(crate) environment: Environment,
    /// `--listen`.
    pub(crate) listen: Option<String>,
    /// `--data`.
    pub(crate) data: Option<String>,
    /// `--dev`.
    pub(crate) dev: bool,
}

/// All that can be set, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Whether it is for trying out: loopback only, with a key of its own if none was given.
    pub(crate) dev: bool,
    /// Where clients connect.
    pub(crate) listen: Listen,
    /// How long clients have to leave before the server ends.
    pub(crate) drain: Duration,
    /// The origins that pass beside the own host, as browsers send them. With `dev`, [`is_loopback_origin`] passes too.
    pub(crate) allowed_origins: Vec<String>,
    /// The proxies whose `X-Forwarded-For` counts.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The folder of the store; without one, everything is in memory.
    pub(crate) data: Option<PathBuf>,
    /// What an event in a channel with history survives once it is answered: of account only with `data`.
    pub(crate) durability: Durability,
    /// Who is let in.
    pub(crate) auth: Auth,
    /// Who may use the server API.
    pub(crate) api: Api,
    /// Where health is answered apart from clients; none when it is off.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// What opens the console.
    pub(crate) console_password: Option<Password>,
    /// Who may do what in which channel.
    pub(crate) rules: Rules,
    /// What clients' events do.
    pub(crate) on: Vec<On>,
    /// What the back end is asked, if anything.
    pub(crate) hooks: Option<Settings>,
    /// What a client may cost.
    pub(crate) limits: Limits,
    /// How clients are spoken to over TLS; none is for plain HTTP. The admin address is plain always.
    pub(crate) tls: Option<Tls>,
    /// Which keys were set, and where.
    pub(crate) given: Given,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// When the file can't be read, or with all that is wrong in it, in the environment and in the flags.
    pub(crate) fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let file = sources.file.as_deref();
        let text = match file {
            Some(file) => std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
                file: file.to_path_buf(),
                source,
            })?,
            None => String::new(),
        };
        Self::read(&text, sources)
    }

    /// As [`Config::load`], of a file's text and nothing else.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Result<Self, ConfigError> {
        Self::read(text, &Sources::default())
    }

    /// As [`Config::load`], of a file's text.
    fn read(text: &str, sources: &Sources) -> Result<Self, ConfigError> {
        let file = sources.file.as_deref();
        let mut table = document::parse(text).map_err(|problem| Problems::new(file, vec![problem]))?;
        let mut problems = Vec::new();
        document::overlay(&mut table, &sources.environment, &mut problems);
        let flags = [
            ("--listen", "listen", &sources.listen),
            ("--data", "data", &sources.data),
        ];
        for (flag, key, value) in flags {
            if let Some(value) = value {
                let node = Node {
                    value: Value::Text(value.clone()),
                    origin: Origin::Flag(flag),
                };
                document::insert(&mut table, &[key], node);
            }
        }
        let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let made = if sources.dev {
            dev::give_keys(&mut table)?
        } else {
            dev::Made::default()
        };
        let mut config = Self::of_table(table, folder, sources, &mut problems);
        if !problems.is_empty() {
            return Err(Problems::new(file, problems).into());
        }
        made.keep(&mut config)?;
        Ok(config)
    }

    fn of_table(table: Table, folder: &Path, sources: &Sources, problems: &mut Vec<Problem>) -> Self {
        let dev = sources.dev;
        let data_is_given = table.contains_key("data");
        let given = Given::of(&table);
        let mut top = Section::new("", &keys::TOP, table, problems);
        let listen = top.read_placed("listen", |node| {
            listen::loopback_if(dev, node, listen::listen(node, folder)?)
        });
        let drain = top.read("drain", duration);
        let allowed_origins = top.read("allowed_origins", |node| origins(dev, node));
        let trusted_proxies = top.read("trusted_proxies", parsed);
        let data = top.read("data", |node| data_folder(node, folder));
        let durability = top.read("durability", |node| match durability(node)? {
            _ if !data_is_given => Err(format!(
                "{node} given, but no `data`: without a folder to keep events in, none survives the process"
            )),
            durability => Ok(durability),
        });
        let (auth, api, admin, limits) = (
            top.table("auth"),
            top.table("api"),
            top.table("admin"),
            top.table("limits"),
        );
        let tls = top.table("tls");
        let channels = top.tables("channels");
        let on = top.tables("on");
        let hooks = top.placed_table("hooks");
        top.finish();

        let mut section = Section::new("admin.", &keys::ADMIN, admin, problems);
        let admin_listen = section.read("listen", |node| match &node.value {
            Value::Text(text) if text == "off" => Ok(None),
            _ => {
                let address = listen::address(node)?;
                let clients = listen.as_ref().map_or(&LISTEN, |(listen, _)| listen);
                if address.port() != 0 && *clients == Listen::Tcp(address) {
                    return Err(format!("{node} is where clients are listened to; take another port"));
                }
                listen::loopback_if(dev, node, Listen::Tcp(address)).map(|_| Some(address))
            }
        });
        let console_password = section.read("password", |node| password::read(node, folder, &sources.environment));
        section.finish();

        let rules = channels::read(channels, dev || data_is_given, problems);
        let places = Places {
            folder,
            environment: &sources.environment,
        };
        let in_use = if dev && rules.is_empty() { Rules::dev() } else { rules };
        let on = on::read(on, &in_use, problems);
        let tls = tls::read(tls, folder, problems);
        let listen = match listen {
            Some((listen @ Listen::Unix(_), origin)) if tls.is_some() => {
                let message =
                    "`listen`: a Unix socket has no TLS, which the proxy in front of it speaks: leave `[tls]` out";
                problems.push(Problem::new(origin, message.to_owned()));
                listen
            }
            listen => listen.map_or(LISTEN, |(listen, _)| listen),
        };
        Self {
            dev,
            listen,
            drain: drain.unwrap_or(DRAIN),
            allowed_origins: allowed_origins.unwrap_or_default(),
            trusted_proxies: trusted_proxies.unwrap_or_default(),
            data,
            durability: durability.unwrap_or_default(),
            auth: Auth::read(auth, places, problems),
            api: Api::read(api, places, problems),
            admin_listen: admin_listen.unwrap_or(Some(ADMIN_LISTEN)),
            console_password,
            rules: in_use,
            hooks: hooks::read(hooks, places, &on, problems),
            on,
            limits: Limits::read(limits, problems),
            tls,
            given,
        }
    }

    /// A complete example with a comment for every key, and a secret made just now.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub(crate) fn example() -> Result<String, SecretError> {
        let text = |secret: Secret| String::from_utf8_lossy(secret.bytes()).into_owned();
        // As a hash it is one of a key that nobody knows.
        let (secret, hash) = (text(Secret::random()?), text(Secret::random()?));
        let example = include_str!("config/example.toml");
        Ok(example.replace("{secret}", &secret).replace("{hash}", &hash))
    }
}

/// The folder of the store. In the file its name begins where the file is.
fn data_folder(node: &Node, folder: &Path) -> Result<PathBuf, String> {
    let name = text(node)?;
    if name.is_empty() {
        return Err(format!(
            "{node} is no folder; leave it out to keep everything in memory"
        ));
    }
    Ok(if node.is_plain() {
        PathBuf::from(name)
    } else {
        folder.join(name)
    })
}

fn durability(node: &Node) -> Result<Durability, String> {
    match text(node)?.as_str() {
        "process" => Ok(Durability::Process),
        "power" => Ok(Durability::Power),
        _ => Err(format!(
            "{node} given; it is \"process\" (what is answered survives the end of the process) or \"power\" (also a loss of power)"
        )),
    }
}

fn origins(dev: bool, node: &Node) -> Result<Vec<String>, String> {
    let origins: Vec<String> = texts(node)?
        .iter()
        .map(|text| origin::normalise(text))
        .collect::<Result<_, _>>()?;
    match origins.iter().find(|origin| dev && !is_loopback_origin(origin)) {
        Some(origin) => Err(format!(
            "{origin:?} is not of this machine; with --dev only pages of loopback can connect"
        )),
        None => Ok(origins),
    }
}
