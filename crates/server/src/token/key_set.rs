//! A set of keys (JWKS, RFC 7517 section 5) that whoever signs the tokens keeps in a file or at a URL, and changes when it likes.
//!
//! A file is looked at every few seconds, a URL every few minutes, and both when a token names a key that is not there. What
//! was read last holds until there is something better: the source being down locks nobody out.

mod fetch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Key;
use crate::url::Url;

/// The longest set that is read, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// The most keys of a set that are used: each may have to be tried for a token that names none.
const KEYS_MAX: usize = 32;

/// How many unusable keys of a set are told of.
const COMPLAINTS_MAX: usize = 5;

/// How often a file is looked at.
const FILE_EVERY: Duration = Duration::from_secs(5);

/// How often a URL is asked.
const URL_EVERY: Duration = Duration::from_secs(300);

/// How often at most a URL is asked because of tokens that name a key which is not there.
const URL_GAP: Duration = Duration::from_secs(10);

/// The same for a file.
const FILE_GAP: Duration = Duration::from_secs(1);

/// How long who shows such a token waits.
const WAIT: Duration = Duration::from_secs(5);

/// Where a set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    Url(Url),
}

/// A set as it is now.
pub(crate) struct KeySet {
    source: Source,
    /// Where what came from a URL is kept for a start at which it can't be asked.
    cache: Option<PathBuf>,
    /// None until it was read for the first time.
    keys: RwLock<Option<Arc<[Key]>>>,
    /// Somebody waits for a key that is not there.
    wanted: Notify,
    /// When it was last tried to read, and was done so.
    tried: watch::Sender<Option<Instant>>,
    /// What was wrong the last time.
    problem: Mutex<Option<String>>,
}

/// What came from a URL, as it is kept.
#[derive(Serialize, Deserialize)]
struct Cached {
    /// Keys of another issuer are of no use.
    url: String,
    set: Value,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Url(url) => url.fmt(f),
        }
    }
}

impl Source {
    const fn every(&self) -> Duration {
        match self {
            Source::File(_) => FILE_EVERY,
            Source::Url(_) => URL_EVERY,
        }
    }

    const fn gap(&self) -> Duration {
        match self {
            Source::File(_) => FILE_GAP,
            Source::Url(_) => URL_GAP,
        }
    }

    async fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Source::File(path) => {
                let path = path.clone();
                let reading = tokio::task::spawn_blocking(move || read_file(&path));
                reading.await.map_err(|error| error.to_string())?
            }
            Source::Url(url) => fetch::get(url, BYTES_MAX).await,
        }
    }
}

/// A file's bytes.
///
/// # Errors
/// When it can't be read, or is too long.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > BYTES_MAX as u64 {
        return Err(format!("it has more than {BYTES_MAX} bytes"));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

/// The keys of a set that are of use, and what is to be said of the others.
///
/// # Errors
/// When it is no set, or none of its keys is of use.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Vec<Key>, Vec<String>), String> {
    let set: Value = serde_json::from_slice(bytes).map_err(|_| "it is not JSON".to_owned())?;
    let list = set.get("keys").and_then(Value::as_array);
    let list = list.ok_or_else(|| "it is no set of keys: `{\"keys\": […]}`".to_owned())?;
    let (mut keys, mut complaints) = (Vec::new(), Vec::new());
    for (index, value) in list.iter().enumerate() {
        if keys.len() == KEYS_MAX {
            complaints.push(format!(
                "those from key {index} on are left out: {KEYS_MAX} are the most"
            ));
            break;
        }
        match Key::jwk(value) {
            Ok(key) => keys.push(key),
            Err(why) if complaints.len() < COMPLAINTS_MAX => complaints.push(format!("key {index}: {why}")),
            Err(_) => {}
        }
    }
    if keys.is_empty() {
        return Err(match complaints.is_empty() {
            true => "it has no keys".to_owned(),
            false => format!("none of its keys is of use: {}", complaints.join("; ")),
        });
    }
    Ok((keys, complaints))
}

impl KeySet {
    /// A set that is not read yet. `folder` is where what comes from a URL is kept.
    pub(crate) fn new(source: Source, folder: Option<&Path>) -> Self {
        let cache = match &source {
            Source::Url(_) => folder.map(|folder| folder.join("jwks.json")),
            Source::File(_) => None,
        };
        Self {
            source,
            cache,
            keys: RwLock::default(),
            wanted: Notify::new(),
            tried: watch::Sender::new(None),
            problem: Mutex::default(),
        }
    }

    /// The keys as they are now; none when it could never be read.
    pub(super) fn keys(&self) -> Option<Arc<[Key]>> {
        self.keys.read().clone()
    }

    /// Reads it for the first time: from where it is, or else what was kept of it. Tokens are refused while there is neither.
    pub(crate) async fn begin(&self) {
        if !self.refresh().await
            && let Some(keys) = self.cached()
        {
            tracing::warn!(source = %self.source, "the keys of tokens are those that were kept of the last time");
            *self.keys.write() = Some(keys.into());
        }
    }

    fn cached(&self) -> Option<Vec<Key>> {
        let (Some(cache), Source::Url(url)) = (&self.cache, &self.source) else {
            return None;
        };
        let cached: Cached = serde_json::from_slice(&read_file(cache).ok()?).ok()?;
        let (keys, _) = parse(cached.set.to_string().as_bytes()).ok()?;
        (cached.url == url.uri().to_string()).then_some(keys)
    }

    /// Reads it again and again, for ever.
    pub(crate) async fn follow(&self) {
        let (gap, every) = (self.source.gap(), self.source.every());
        let mut pause = if self.problem.lock().is_none() { every } else { gap };
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
            pause = match self.refresh().await {
                true => every,
                // Sooner, but not for ever: the source may be down for long.
                false => (pause * 2).clamp(gap, every),
            };
        }
    }

    /// Asks for it to be read once more; true when it was. Who asks too often is answered at once, and with false.
    pub(super) async fn look_again(&self) -> bool {
        let mut tried = self.tried.subscribe();
        let is_too_soon = tried
            .borrow_and_update()
            .is_some_and(|tried| tried.elapsed() < self.source.gap());
        if is_too_soon {
            return false;
        }
        self.wanted.notify_one();
        tokio::time::timeout(WAIT, tried.changed())
            .await
            .is_ok_and(|changed| changed.is_ok())
    }

    /// Whether it could be read.
    async fn refresh(&self) -> bool {
        let read = self.source.read().await;
        let outcome = read.and_then(|bytes| parse(&bytes).map(|(keys, complaints)| (bytes, keys, complaints)));
        let problem = match outcome {
            Ok((bytes, keys, complaints)) => {
                for complaint in complaints {
                    tracing::debug!(source = %self.source, complaint, "a key of the set is not used");
                }
                *self.keys.write() = Some(keys.into());
                self.keep(&bytes).await;
                None
            }
            Err(problem) => Some(problem),
        };
        let is_well = problem.is_none();
        let before = std::mem::replace(&mut *self.problem.lock(), problem.clone());
        match problem {
            Some(problem) if before.as_ref() != Some(&problem) => tracing::warn!(
                source = %self.source, problem,
                "the keys of tokens can't be read; those that were read before, if any, still hold"
            ),
            None if before.is_some() => tracing::info!(source = %self.source, "the keys of tokens can be read again"),
            _ => {}
        }
        self.tried.send_replace(Some(Instant::now()));
        is_well
    }

    /// Keeps what came from a URL, when it has changed.
    async fn keep(&self, bytes: &[u8]) {
        let (Some(cache), Source::Url(url)) = (self.cache.clone(), &self.source) else {
            return;
        };
        let Ok(set) = serde_json::from_slice(bytes) else { return };
        let cached = Cached {
            url: url.uri().to_string(),
            set,
        };
        let keeping = tokio::task::spawn_blocking(move || {
            let bytes = serde_json::to_vec(&cached)?;
            if std::fs::read(&cache).is_ok_and(|kept| kept == bytes) {
                return Ok(());
            }
            crate::private_file::write(&cache, &bytes)
        });
        if let Ok(Err(error)) = keeping.await {
            tracing::warn!(%error, "the keys of tokens can't be kept in `data`");
        }
    }
}
