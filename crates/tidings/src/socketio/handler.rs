//! Handlers: the application's functions, and how they are called.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::ack::Responder;
use super::arguments::Emit;
use super::extract::{Event, EventContext, FromEvent, wrong_user};
use super::namespace::Namespace;
use super::reason::Reason;
use super::socket::{Entering, Running, Socket, SocketInner};
use crate::access::Identity;
use crate::connection::Key;
use crate::error::{Code, Error, Result};
use crate::handshake::Handshake;
use crate::server::Server;
use crate::shard::run::Task;

/// A function that handles an event: an async closure or function whose parameters are extractors
/// ([`FromEvent`]) and which returns `()` or [`Result`].
///
/// What it returns is the client's acknowledgement, if the client asked for one: `Ok(value)` gives the value, an error
/// gives `{ok: false, code, message}`, `()` an acknowledgement without arguments.
///
/// Handlers run on the thread of their client's connection, one after another for one socket. They may await whatever
/// they like; what computes for longer than a millisecond, or blocks, belongs in `tokio::task::spawn_blocking`.
///
/// ```
/// # use tidings::{Data, Io, Result, Socket};
/// # fn register(socket: Socket) {
/// socket.on("chat:message", async |socket: Socket, io: Io, Data(text): Data<String>| {
///     io.to("lobby").emit("chat:message", &text);
///     Ok(text.len())
/// });
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not an event handler",
    label = "not an event handler",
    note = "a handler is an async closure or function: `async |socket: Socket<User>, Data(message): Data<Message>| {{ … }}`",
    note = "each parameter must be an extractor: `Socket<User>`, `Data<T>`, `Args<(A, B)>`, `Ack`, `Event`, `Io`, `State<T>` or `CurrentUser<User>`, at most eight of them",
    note = "`T` in `Data<T>` and `Args<T>` must implement `serde::Deserialize` and own its data (`String`, not `&str`)",
    note = "it must return `()` or `tidings::Result<T>` where `T` can be serialised"
)]
pub trait Handler<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(self: Arc<Self>, context: EventContext) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;
}

/// What a handler returns.
#[diagnostic::on_unimplemented(
    message = "a handler can't return `{Self}`",
    note = "it must return `()` or `tidings::Result<T>` where `T` can be serialised"
)]
pub trait Answer {
    #[doc(hidden)]
    fn answer(self, to: AnswerTo);
}

/// Where an answer goes. Opaque to applications.
#[doc(hidden)]
#[derive(Debug)]
pub struct AnswerTo {
    socket: Arc<SocketInner>,
    responder: Option<Responder>,
}

impl AnswerTo {
    fn nobody(socket: &Arc<SocketInner>) -> Self {
        Self {
            socket: Arc::clone(socket),
            responder: None,
        }
    }
}

impl Answer for () {
    fn answer(self, to: AnswerTo) {
        if let Some(responder) = to.responder {
            responder.send_encoded("", Vec::new());
        }
    }
}

impl<T: Emit> Answer for Result<T> {
    fn answer(self, to: AnswerTo) {
        match (self, to.responder) {
            (Ok(value), Some(responder)) => {
                if let Err(error) = responder.send(&value) {
                    to.socket.namespace.observe_error(&to.socket, &error);
                }
            }
            (Ok(_), None) => {}
            (Err(error), responder) => refuse(&to.socket, responder, &error),
        }
    }
}

/// The client gets what it may see of an error, the application and the log all of it.
fn refuse(socket: &Arc<SocketInner>, responder: Option<Responder>, error: &Error) {
    match responder {
        Some(responder) => responder.refuse(error),
        None if socket.server.config.report_errors => socket.report(error),
        None => {}
    }
    socket.namespace.observe_error(socket, error);
}

macro_rules! handlers {
    ($($name:ident),*) => {
        #[allow(non_snake_case, unused_mut, unused_variables)]
        impl<F, R, $($name,)*> Handler<($($name,)*)> for F
        where
            F: AsyncFn($($name),*) -> R + Send + Sync + 'static,
            R: Answer,
            $($name: FromEvent + 'static,)*
        {
            fn call(self: Arc<Self>, mut context: EventContext) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
                Box::pin(async move {
                    $(
                        let $name = match $name::from_event(&mut context) {
                            Ok(parameter) => parameter,
                            Err(error) => return refuse(&context.socket, context.responder.take(), &error),
                        };
                    )*
                    let answer = (*self)($($name),*).await;
                    answer.answer(AnswerTo { responder: context.responder.take(), socket: context.socket });
                })
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A, B);
handlers!(A, B, C);
handlers!(A, B, C, D);
handlers!(A, B, C, D, E);
handlers!(A, B, C, D, E, G);
handlers!(A, B, C, D, E, G, H);
handlers!(A, B, C, D, E, G, H, I);

/// A handler whose type is forgotten.
#[derive(Clone)]
pub(crate) struct ErasedHandler {
    call: Arc<dyn Fn(EventContext) -> Task + Send + Sync>,
    is_concurrent: bool,
}

impl ErasedHandler {
    pub(crate) fn new<M>(handler: impl Handler<M>, is_concurrent: bool) -> Self {
        let handler = Arc::new(handler);
        Self {
            call: Arc::new(move |context| Arc::clone(&handler).call(context)),
            is_concurrent,
        }
    }

    fn call(&self, context: EventContext) -> Task {
        if !self.is_concurrent {
            return (self.call)(context);
        }
        let Some(running) = Running::begin(&context.socket) else {
            return (self.call)(context);
        };
        let server = Arc::clone(&context.socket.server);
        let task = (self.call)(context);
        Box::pin(async move {
            tokio::task::spawn_local(crate::shard::run::guard(&server, async move {
                task.await;
                drop(running);
            }));
        })
    }
}

type Observer = Arc<dyn Fn(Event) -> Task + Send + Sync>;
type Middleware = Arc<dyn Fn(Event) -> std::pin::Pin<Box<dyn Future<Output = Result<()>>>> + Send + Sync>;

/// What is registered for events, on a socket or on a namespace.
#[derive(Default)]
pub(crate) struct EventHandlers {
    named: Vec<(Cow<'static, str>, ErasedHandler)>,
    any: Vec<Observer>,
    before: Vec<Middleware>,
}

impl EventHandlers {
    pub(crate) fn add(&mut self, name: Cow<'static, str>, handler: ErasedHandler) {
        self.named.push((name, handler));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.named.retain(|(registered, _)| registered != name);
    }

    pub(crate) fn add_any<F, R>(&mut self, handler: F)
    where
        F: AsyncFn(Event) -> R + Send + Sync + 'static,
        R: 'static,
    {
        let handler = Arc::new(handler);
        self.any.push(Arc::new(move |event| {
            let handler = Arc::clone(&handler);
            Box::pin(async move { drop((*handler)(event).await) })
        }));
    }

    pub(crate) fn add_before<F>(&mut self, middleware: F)
    where
        F: AsyncFn(Event) -> Result<()> + Send + Sync + 'static,
    {
        let middleware = Arc::new(middleware);
        self.before.push(Arc::new(move |event| {
            let middleware = Arc::clone(&middleware);
            Box::pin(async move { (*middleware)(event).await })
        }));
    }

    fn plan(&self, name: &str, plan: &mut Plan) {
        plan.any.extend(self.any.iter().cloned());
        plan.before.extend(self.before.iter().cloned());
        plan.handlers.extend(
            self.named
                .iter()
                .filter(|(registered, _)| registered == name)
                .map(|(_, handler)| handler.clone()),
        );
    }
}

/// All that is to run for one event.
#[derive(Default)]
struct Plan {
    any: Vec<Observer>,
    before: Vec<Middleware>,
    handlers: SmallVec<[ErasedHandler; 1]>,
}

/// What runs for an event of a client.
pub(crate) fn event(socket: Arc<SocketInner>, event: Event, ack: Option<u64>) -> Task {
    let mut plan = Plan::default();
    socket
        .namespace
        .behaviour
        .with_events(|handlers| handlers.plan(event.name(), &mut plan));
    socket.with_handlers(|handlers| handlers.events.plan(event.name(), &mut plan));
    let responder = ack.map(|id| Responder {
        socket: Arc::clone(&socket),
        id,
    });
    if plan.any.is_empty()
        && plan.before.is_empty()
        && let [handler] = &plan.handlers[..]
    {
        return handler.call(EventContext {
            socket,
            event,
            responder,
        });
    }
    Box::pin(run(plan, socket, event, responder))
}

async fn run(plan: Plan, socket: Arc<SocketInner>, event: Event, mut responder: Option<Responder>) {
    for any in &plan.any {
        any(event.clone()).await;
    }
    for before in &plan.before {
        if let Err(error) = before(event.clone()).await {
            return refuse(&socket, responder, &error);
        }
    }
    if plan.handlers.is_empty() {
        if let Some(fallback) = socket.namespace.behaviour.fallback() {
            return fallback
                .call(EventContext {
                    socket,
                    event,
                    responder,
                })
                .await;
        }
        let error = Error::coded(Code::UnknownEvent, "nothing handles an event of this name");
        match responder {
            Some(responder) => responder.refuse(&error),
            None if socket.server.config.report_errors => socket.report(&error),
            None => {}
        }
        return;
    }
    for handler in &plan.handlers {
        // The first handler answers.
        let context = EventContext {
            socket: Arc::clone(&socket),
            event: event.clone(),
            responder: responder.take(),
        };
        handler.call(context).await;
    }
}

/// A handler of something that happens to a socket.
pub(crate) type SocketHandler<T> = Arc<dyn Fn(Arc<SocketInner>, T) -> Task + Send + Sync>;

pub(crate) fn socket_handler<U, T, F, R>(handler: F) -> SocketHandler<T>
where
    U: Send + Sync + 'static,
    T: 'static,
    F: AsyncFn(Socket<U>, T) -> R + Send + Sync + 'static,
    R: Answer + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |inner, value| {
        let handler = Arc::clone(&handler);
        Box::pin(async move {
            match Socket::of(&inner) {
                Some(socket) => (*handler)(socket, value).await.answer(AnswerTo::nobody(&inner)),
                None => drop(wrong_user::<U>(&inner)),
            }
        })
    })
}

pub(crate) fn connect_handler<U, F, R>(handler: F) -> SocketHandler<()>
where
    U: Send + Sync + 'static,
    F: AsyncFn(Socket<U>) -> R + Send + Sync + 'static,
    R: Answer + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |inner, ()| {
        let handler = Arc::clone(&handler);
        Box::pin(async move {
            match Socket::of(&inner) {
                Some(socket) => (*handler)(socket).await.answer(AnswerTo::nobody(&inner)),
                None => drop(wrong_user::<U>(&inner)),
            }
        })
    })
}

/// Asks the application whether a client may enter, and as whom; tells the shard.
pub(crate) fn enter(key: Key, namespace: Arc<Namespace>, handshake: Handshake) -> EnterTask {
    EnterTask {
        key,
        namespace,
        handshake,
    }
}

/// A client that wants to enter a namespace.
pub(crate) struct EnterTask {
    pub(crate) key: Key,
    pub(crate) namespace: Arc<Namespace>,
    handshake: Handshake,
}

impl EnterTask {
    /// Where the client comes from.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.handshake.address()
    }

    pub(crate) async fn decide(&self, server: &Arc<Server>) -> Result<Arc<SocketInner>> {
        let behaviour = &self.namespace.behaviour;
        let auth = behaviour.auth().or_else(|| server.namespaces.root_auth());
        let user = match auth {
            Some(auth) => auth(self.handshake.clone()).await.map_err(Error::in_auth)?,
            None => Arc::new(()),
        };
        let identity = server.identity(&user);
        let user_id = identity.as_ref().map(Identity::id);
        let recovered = super::recovery::recover(server, &self.namespace, &self.handshake, &user, user_id).await;
        let handshake = match server.config.forgets_handshakes() {
            true => self.handshake.forgotten(),
            false => self.handshake.clone(),
        };
        let entering = Entering {
            key: self.key,
            user,
            identity,
            handshake,
            recovered,
        };
        let socket = SocketInner::new(server, &self.namespace, entering)?;
        for middleware in behaviour.connect_middleware() {
            if let Err(error) = middleware(Arc::clone(&socket)).await {
                if let Some(sessions) = &server.sessions {
                    sessions.give_back(&socket);
                }
                socket.forget();
                return Err(error.in_auth());
            }
        }
        Ok(socket)
    }
}

pub(crate) fn connected(socket: Arc<SocketInner>) -> Task {
    Box::pin(async move {
        for handler in socket.namespace.behaviour.connect_handlers() {
            handler(Arc::clone(&socket), ()).await;
        }
        if let Some(sessions) = &socket.server.sessions {
            sessions.set_up(&socket);
        }
    })
}

pub(crate) fn ended(socket: Arc<SocketInner>, reason: Reason) -> Task {
    Box::pin(async move {
        for handler in socket.disconnecting_handlers() {
            handler(Arc::clone(&socket), reason).await;
        }
        let of_all = socket.namespace.behaviour.disconnect_handlers();
        for handler in socket.leave_all().into_iter().chain(of_all) {
            handler(Arc::clone(&socket), reason).await;
        }
        socket.forget();
    })
}
