//! Namespaces, and what the application registered for them.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicIsize, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;

use super::handler::{ErasedHandler, EventHandlers, SocketHandler};
use super::reason::Reason;
use super::socket::{SocketInner, User};
use crate::error::{Error, Result};
use crate::handshake::Handshake;

type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T>>>;
pub(crate) type Auth = Arc<dyn Fn(Handshake) -> Boxed<Result<User>> + Send + Sync>;
pub(crate) type ConnectMiddleware = Arc<dyn Fn(Arc<SocketInner>) -> Boxed<Result<()>> + Send + Sync>;
type ErrorObserver = Arc<dyn Fn(&str, &Error) + Send + Sync>;

/// A namespace that clients are in.
pub(crate) struct Namespace {
    pub(crate) path: Arc<str>,
    pub(crate) behaviour: Arc<Behaviour>,
    sockets: AtomicIsize,
}

/// What happens in a namespace, or in all namespaces of a pattern.
#[derive(Default)]
pub(crate) struct Behaviour {
    registered: RwLock<Registered>,
    /// Of a pattern: the namespaces that clients have made of it.
    children: RwLock<HashMap<Arc<str>, Weak<Namespace>>>,
}

#[derive(Default)]
struct Registered {
    auth: Option<Auth>,
    middleware: Vec<ConnectMiddleware>,
    connect: Vec<SocketHandler<()>>,
    disconnect: Vec<SocketHandler<Reason>>,
    events: EventHandlers,
    fallback: Option<ErasedHandler>,
    error: Option<ErrorObserver>,
}

impl Namespace {
    fn new(path: &str, behaviour: &Arc<Behaviour>) -> Arc<Self> {
        Arc::new(Self {
            path: Arc::from(path),
            behaviour: Arc::clone(behaviour),
            sockets: AtomicIsize::new(0),
        })
    }

    pub(crate) fn count(&self, change: isize) {
        self.sockets.fetch_add(change, Ordering::AcqRel);
    }

    pub(crate) fn socket_count(&self) -> usize {
        usize::try_from(self.sockets.load(Ordering::Acquire)).unwrap_or(0)
    }

    pub(crate) fn observe_error(&self, socket: &SocketInner, error: &Error) {
        if error.source().is_some() {
            tracing::error!(connection = %socket.key, namespace = &*self.path, socket = socket.id(), %error, "a handler failed");
        } else {
            tracing::debug!(connection = %socket.key, namespace = &*self.path, socket = socket.id(), %error, "a handler refused an event");
        }
        let observer = self.behaviour.registered.read().error.clone();
        if let Some(observer) = observer {
            observer(socket.id(), error);
        }
    }
}

impl Drop for Namespace {
    /// A namespace that a client made of a pattern goes with its last socket.
    fn drop(&mut self) {
        let mut children = self.behaviour.children.write();
        if children.get(&self.path).is_some_and(|child| child.strong_count() == 0) {
            children.remove(&self.path);
        }
    }
}

impl Behaviour {
    pub(crate) fn set_auth(&self, auth: Auth) {
        self.registered.write().auth = Some(auth);
    }

    pub(crate) fn add_middleware(&self, middleware: ConnectMiddleware) {
        self.registered.write().middleware.push(middleware);
    }

    pub(crate) fn add_connect_handler(&self, handler: SocketHandler<()>) {
        self.registered.write().connect.push(handler);
    }

    pub(crate) fn add_disconnect_handler(&self, handler: SocketHandler<Reason>) {
        self.registered.write().disconnect.push(handler);
    }

    pub(crate) fn set_error_observer(&self, observer: impl Fn(&str, &Error) + Send + Sync + 'static) {
        self.registered.write().error = Some(Arc::new(observer));
    }

    pub(crate) fn set_fallback(&self, handler: ErasedHandler) {
        self.registered.write().fallback = Some(handler);
    }

    pub(crate) fn change_events(&self, change: impl FnOnce(&mut EventHandlers)) {
        change(&mut self.registered.write().events);
    }

    pub(crate) fn with_events(&self, read: impl FnOnce(&EventHandlers)) {
        read(&self.registered.read().events);
    }

    pub(crate) fn auth(&self) -> Option<Auth> {
        self.registered.read().auth.clone()
    }

    pub(crate) fn connect_middleware(&self) -> Vec<ConnectMiddleware> {
        self.registered.read().middleware.clone()
    }

    pub(crate) fn connect_handlers(&self) -> Vec<SocketHandler<()>> {
        self.registered.read().connect.clone()
    }

    pub(crate) fn disconnect_handlers(&self) -> Vec<SocketHandler<Reason>> {
        self.registered.read().disconnect.clone()
    }

    pub(crate) fn fallback(&self) -> Option<ErasedHandler> {
        self.registered.read().fallback.clone()
    }

    /// The namespaces of a pattern that have clients.
    pub(crate) fn children(&self) -> Vec<Arc<Namespace>> {
        self.children.read().values().filter_map(Weak::upgrade).collect()
    }

    fn child(self: &Arc<Self>, path: &str) -> Arc<Namespace> {
        let mut children = self.children.write();
        if let Some(child) = children.get(path).and_then(Weak::upgrade) {
            return child;
        }
        let child = Namespace::new(path, self);
        children.insert(Arc::clone(&child.path), Arc::downgrade(&child));
        child
    }
}

/// Which namespaces of a pattern exist.
pub(crate) type Pattern = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// All namespaces of a server.
pub(crate) struct Namespaces {
    fixed: RwLock<HashMap<Arc<str>, Arc<Namespace>>>,
    patterns: RwLock<Vec<(Pattern, Arc<Behaviour>)>>,
}

impl Namespaces {
    pub(crate) fn new() -> Self {
        let namespaces = Self {
            fixed: RwLock::default(),
            patterns: RwLock::default(),
        };
        namespaces.get_or_insert("/");
        namespaces
    }

    /// The namespace an application means by a name: one that is there, be it of a pattern, else a new one.
    pub(crate) fn named(&self, path: &str) -> Arc<Namespace> {
        self.find(&with_slash(path)).unwrap_or_else(|| self.get_or_insert(path))
    }

    pub(crate) fn get_or_insert(&self, path: &str) -> Arc<Namespace> {
        let path = with_slash(path);
        let mut fixed = self.fixed.write();
        if let Some(namespace) = fixed.get(&*path) {
            return Arc::clone(namespace);
        }
        let namespace = Namespace::new(&path, &Arc::default());
        fixed.insert(Arc::clone(&namespace.path), Arc::clone(&namespace));
        namespace
    }

    pub(crate) fn add_pattern(&self, pattern: Pattern) -> Arc<Behaviour> {
        let behaviour = Arc::new(Behaviour::default());
        self.patterns.write().push((pattern, Arc::clone(&behaviour)));
        behaviour
    }

    /// The namespace a client asks for.
    pub(crate) fn find(&self, path: &str) -> Option<Arc<Namespace>> {
        if let Some(namespace) = self.fixed.read().get(path) {
            return Some(Arc::clone(namespace));
        }
        // A name with which rooms could not be told apart, or that is too long, is nobody's.
        if path.contains(',') || path.len() > crate::channel::CHANNEL_BYTES_MAX {
            return None;
        }
        let behaviour = self
            .patterns
            .read()
            .iter()
            .find(|(pattern, _)| pattern(path))
            .map(|(_, behaviour)| Arc::clone(behaviour))?;
        Some(behaviour.child(path))
    }

    /// The auth of `/`, which holds for each namespace that has none of its own.
    pub(crate) fn root_auth(&self) -> Option<Auth> {
        self.fixed.read().get("/").and_then(|root| root.behaviour.auth())
    }
}

fn with_slash(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(format!("/{path}"))
    }
}

/// The pattern `/room-{id}`: `{…}` stands for one or more characters other than `/`.
pub(crate) fn matches_braces(pattern: &str, path: &str) -> bool {
    let Some((literal, rest)) = pattern.split_once('{') else {
        return pattern == path;
    };
    let Some(path) = path.strip_prefix(literal) else {
        return false;
    };
    let Some((_, rest)) = rest.split_once('}') else {
        return false;
    };
    let ends = path
        .char_indices()
        .map(|(at, char)| (at + char.len_utf8(), char))
        .take_while(|(_, char)| *char != '/');
    let mut ends: Vec<usize> = ends.map(|(end, _)| end).collect();
    if !rest.contains('{') {
        // The last variable: what follows it must be the path's end.
        return path
            .strip_suffix(rest)
            .is_some_and(|variable| !variable.is_empty() && !variable.contains('/'));
    }
    // Names are short (255 bytes) and patterns are the application's own.
    ends.reverse();
    ends.into_iter().any(|end| matches_braces(rest, &path[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, expected) in [
            ("/room-{id}", "/room-7", true),
            ("/room-{id}", "/room-", false),
            ("/room-{id}", "/room-7/x", false),
            ("/{a}/x/{b}", "/1/x/2", true),
            ("/{a}/x/{b}", "/1/2", false),
            ("/{a}-{b}!", "/1-2-3!", true),
            ("/a", "/a", true),
        ] {
            assert_eq!(matches_braces(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_namespace_of_a_pattern_goes_with_its_last_holder() {
        let namespaces = Namespaces::new();
        let behaviour = namespaces.add_pattern(Arc::new(|path| path.starts_with("/x")));
        let first = namespaces.find("/x1").unwrap();
        assert!(Arc::ptr_eq(&first, &namespaces.find("/x1").unwrap()));
        assert_eq!(behaviour.children().len(), 1);
        drop(first);
        assert!(behaviour.children.read().is_empty());
        assert!(namespaces.find("/y").is_none() && namespaces.find("/x,a").is_none());
    }

    #[test]
    fn a_name_means_the_namespace_that_clients_enter() {
        let namespaces = Namespaces::new();
        let behaviour = namespaces.add_pattern(Arc::new(|path| path.starts_with("/x")));
        let named = namespaces.named("x1");
        assert!(Arc::ptr_eq(&named.behaviour, &behaviour));
        assert!(Arc::ptr_eq(&named, &namespaces.find("/x1").unwrap()));
        // What is registered under the name is not for the others of the pattern.
        let own = namespaces.get_or_insert("/x1");
        assert!(!Arc::ptr_eq(&own.behaviour, &behaviour));
        assert!(Arc::ptr_eq(&own, &namespaces.named("/x1")));
        assert!(Arc::ptr_eq(&namespaces.named("/y"), &namespaces.find("/y").unwrap()));
    }
}
