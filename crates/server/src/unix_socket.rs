//! A Unix socket to listen on: its file, whom it lets in, and what a process that was killed has left.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::UnixListener;

/// For the proxy, which is of our group or runs as root, and for nobody else.
const MODE: u32 = 0o660;

/// Listens there. A socket that nobody listens on any more is removed; anything else that lies there stays.
///
/// # Errors
/// When it can't be made, or somebody listens there.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
            fs::remove_file(path)?;
            bind(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !is_socket(path) => Err(io::Error::new(
            error.kind(),
            "something else than a socket is there; it was left alone",
        )),
        bound => bound,
    }
}

/// For nobody but those whom it lets in, from the first moment on.
fn bind(path: &Path) -> io::Result<UnixListener> {
    // The whole process's, but nothing else makes files while it starts.
    let before = umask(Mode::from_raw_mode(0o777 & !MODE));
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}

/// Nobody finds it any more.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "the socket can't be removed");
    }
}

fn is_left_over(path: &Path) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket(path) && UnixStream::connect(path).is_err_and(refused)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_left_is_replaced_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("tidings-{}-socket", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.sock");
        let first = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // As after a kill: the file stays.
        drop(first);
        let second = listen(&path).unwrap();
        drop(second);
        remove(&path);
        assert!(!path.exists());
        fs::write(&path, "something else").unwrap();
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "something else");
        fs::remove_dir_all(&folder).unwrap();
    }
}
