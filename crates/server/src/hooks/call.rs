//! A call: signed, made within its time, once more where the connection broke, and not at all while the breaker is open.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use super::Settings;
use super::breaker::{Breaker, Change, Outcome, Pass};
use super::http::{Answer, BackEnd};
use super::signature::Signer;
use super::telemetry::{self, Telemetry};

/// Calls at once.
const CALLS_MAX: usize = 64;

/// Makes calls.
pub(super) struct Caller {
    back_end: BackEnd,
    signer: Signer,
    timeout: Duration,
    places: Semaphore,
    breaker: Mutex<Breaker>,
    pub(super) telemetry: Telemetry,
}

/// What is to be told to the back end, or asked of it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// What has happened: `connect`, say.
    pub(super) hook: &'static str,
    /// Its own name, the same however often it is tried.
    pub(super) id: Box<str>,
    /// JSON.
    pub(super) body: Bytes,
}

/// That the back end has not answered, or nothing that could be used. The log says why.
#[derive(Debug)]
pub(super) struct NoAnswer;

/// Reads what the back end said. An error says why it can't be read.
pub(super) type Read<T> = fn(StatusCode, &[u8]) -> Result<T, String>;

impl Caller {
    /// # Errors
    /// When the file of the back end's certificates can't be read.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            back_end: BackEnd::new(&settings.url, CALLS_MAX)?,
            signer: Signer::new(&settings.secret),
            timeout: settings.timeout,
            places: Semaphore::new(CALLS_MAX),
            breaker: Mutex::new(Breaker::new()),
            telemetry: Telemetry::new(),
        })
    }

    /// Makes a call. It goes on to its end also when nobody waits for it any more: what it tells of the back end counts.
    ///
    /// # Errors
    /// When there is no answer that `read` can read.
    pub(super) async fn call<T: Send + 'static>(self: &Arc<Self>, call: Call, read: Read<T>) -> Result<T, NoAnswer> {
        let caller = Arc::clone(self);
        let calling = tokio::spawn(async move { caller.try_call(&call, read).await }.in_current_span());
        calling.await.unwrap_or(Err(NoAnswer))
    }

    async fn try_call<T>(&self, call: &Call, read: Read<T>) -> Result<T, NoAnswer> {
        let Call { hook, id, .. } = call;
        let begun = Instant::now();
        let place = tokio::time::timeout(self.timeout, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            tracing::warn!(
                hook,
                id,
                "a call of the back end found no place within its time: {CALLS_MAX} are under way"
            );
            self.telemetry.note(hook, telemetry::Outcome::NoPlace, begun.elapsed());
            return Err(NoAnswer);
        };
        let Some(pass) = self.breaker.lock().ask(Instant::now()) else {
            tracing::debug!(hook, id, "the back end is not called: it failed too often just now");
            self.telemetry.note(hook, telemetry::Outcome::HeldBack, begun.elapsed());
            return Err(NoAnswer);
        };
        let asked_at = Instant::now();
        let left = self.timeout.saturating_sub(begun.elapsed());
        let asking = tokio::time::timeout(left, self.ask(call)).await;
        let asked = asking.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout)));
        let (outcome, result) = match asked {
            Ok(answer) => judge(&answer, read),
            Err(problem) => (Outcome::Failed, Err(problem)),
        };
        self.note(pass, outcome);
        let went = match &result {
            Ok(_) => telemetry::Outcome::Answered,
            Err(_) => telemetry::Outcome::Failed,
        };
        self.telemetry.note(hook, went, asked_at.elapsed());
        result.map_err(|problem| {
            tracing::warn!(hook, id, problem, "a call of the back end failed");
            NoAnswer
        })
    }

    /// Asks once, and once more where the connection broke before the answer: one that had been kept may have been ended just
    /// then.
    async fn ask(&self, call: &Call) -> Result<Answer, String> {
        match self.post(call).await {
            Err(silence) if silence.is_broken => self.post(call).await,
            outcome => outcome,
        }
        .map_err(|silence| silence.problem)
    }

    async fn post(&self, call: &Call) -> Result<Answer, super::http::Silence> {
        let signature = self.signer.sign(&call.body, SystemTime::now());
        let headers = [
            ("tidings-signature", signature.as_str()),
            ("tidings-hook", call.hook),
            ("tidings-id", &call.id),
        ];
        self.back_end.post(call.body.clone(), headers).await
    }

    /// Whether it is held to be down, and not called.
    pub(super) fn is_held_back(&self) -> bool {
        self.breaker.lock().is_open(Instant::now())
    }

    fn note(&self, pass: Pass, outcome: Outcome) {
        let change = self.breaker.lock().note(pass, outcome, Instant::now());
        match change {
            Some(Change::Opened(time)) => tracing::warn!(
                for_s = time.as_secs(),
                "the back end is not called for a while: it failed time and again, or asked for that"
            ),
            Some(Change::Closed) => tracing::info!("the back end answers again"),
            None => {}
        }
    }
}

/// What an answer is to the breaker, and to who asked.
fn judge<T>(answer: &Answer, read: Read<T>) -> (Outcome, Result<T, String>) {
    let status = answer.status;
    let puts_off = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if let Some(time) = retry_after(&answer.headers).filter(|_| puts_off) {
        let problem = format!("the answer is {status}, and to come back after {} s", time.as_secs());
        return (Outcome::PutOff(time), Err(problem));
    }
    if status.is_redirection() {
        let problem = format!("the answer is {status}: name in `url` where it leads, it is not followed");
        return (Outcome::Failed, Err(problem));
    }
    match read(status, &answer.body) {
        Ok(value) => (Outcome::Good, Ok(value)),
        // It is there: what went wrong is this call's, which says nothing of others'.
        Err(problem) if !is_overload(status) => (Outcome::Good, Err(problem)),
        Err(problem) => (Outcome::Failed, Err(problem)),
    }
}

/// Whether it is not there, or can't keep up, by its own word or by that of a proxy before it.
fn is_overload(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The seconds, or the time until a date, of `Retry-After` (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_end_says_when_to_come_back() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("soon"), None);
        assert_eq!(of("-1"), None);
        assert_eq!(of("Fri, 01 Jan 2021 00:00:00 GMT"), Some(Duration::ZERO));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(of(&later).is_some_and(|time| (98..=100).contains(&time.as_secs())));
    }

    #[test]
    fn an_answer_is_good_failed_or_puts_off() {
        let judged = |status: u16, retry: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(retry) = retry {
                headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static(retry));
            }
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: Bytes::new(),
            };
            let read: Read<()> = |status, _| status.is_success().then_some(()).ok_or_else(|| status.to_string());
            judge(&answer, read).0
        };
        assert_eq!(judged(200, Some("3")), Outcome::Good);
        for status in [302, 429, 502, 503, 504] {
            assert_eq!(judged(status, None), Outcome::Failed, "{status}");
        }
        for status in [404, 500] {
            assert_eq!(
                judged(status, Some("3")),
                Outcome::Good,
                "{status}: what one client asks must not shut out others"
            );
        }
        for status in [429, 503] {
            assert_eq!(
                judged(status, Some("3")),
                Outcome::PutOff(Duration::from_secs(3)),
                "{status}"
            );
        }
    }
}
