//! Where it listens: an address and a port, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::document::{Node, Value};

/// In front of the path of a Unix socket.
const UNIX: &str = "unix:";

/// A path that is longer can't be named to the system.
const PATH_BYTES_MAX: usize = 107;

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Either of both. Paths are of `folder`, unless they come with a flag or a variable.
pub(super) fn listen(node: &Node, folder: &Path) -> Result<Listen, String> {
    let path = match &node.value {
        Value::Text(text) => text.strip_prefix(UNIX),
        _ => None,
    };
    let Some(path) = path else {
        return address(node).map(Listen::Tcp);
    };
    if path.ends_with('/') || Path::new(path).file_name().is_none() {
        return Err(format!(
            "{node} names no socket; write its path, as in \"unix:/run/tidings/tidings.sock\""
        ));
    }
    let path = if node.is_plain() {
        PathBuf::from(path)
    } else {
        folder.join(path)
    };
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(format!(
            "{node} is too long: the path of a Unix socket has {PATH_BYTES_MAX} bytes at the most, and {} has more",
            path.display()
        ));
    }
    Ok(Listen::Unix(path))
}

/// An IP address and a port.
pub(super) fn address(node: &Node) -> Result<SocketAddr, String> {
    let text = match &node.value {
        Value::Text(text) => text.as_str(),
        _ => {
            return Err(format!(
                "{node} given; it is an address and a port in quotes, as in \"127.0.0.1:8080\""
            ));
        }
    };
    let in_numbers = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    in_numbers.parse().map_err(|_| {
        format!("{node} is no address with a port; write one as in \"127.0.0.1:8080\", or \"0.0.0.0:8080\" for all of this machine's")
    })
}

/// Refuses with `--dev` what others can reach: its rules and its token are for nobody else.
pub(super) fn loopback_if(dev: bool, node: &Node, listen: Listen) -> Result<Listen, String> {
    let is_loopback = match &listen {
        Listen::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Listen::Unix(_) => false,
    };
    if dev && !is_loopback {
        return Err(format!(
            "{node} can be reached from elsewhere; with --dev only loopback is allowed, as in \"127.0.0.1:8080\""
        ));
    }
    Ok(listen)
}
