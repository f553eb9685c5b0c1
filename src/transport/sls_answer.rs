//! What an SLS answer means, what would put it right, and when to try again. Pure functions of their arguments; whatever a
//! server sends, nothing here panics, and nothing of it reaches a text unsanitised. Blot the key out of the body before
//! (`AccessKey::redact`): servers quote what they refuse.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::retry::{Outcome, TLS_RETRY, retry_after};
use super::{Failure, Response, one_line};

const MAX_WORD_CHARS: usize = 64;
const MAX_MESSAGE_CHARS: usize = 256;
/// An error's body is short; a larger one is not worth parsing.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Why a request has to be repeated, which decides how soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The network, a proxy, or the server itself.
    Server,
    /// More than the project or its shards take.
    Quota,
    /// Key or token expired, unknown, or not allowed to. Ask the provider for new ones.
    Credentials,
    /// Our clock differs from the server's by more than 15 minutes.
    Clock {
        /// Seconds to add to the local clock when signing; `None` when the answer did not say.
        offset_seconds: Option<i64>,
    },
}

/// An answer's meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlsAnswer {
    /// What became of the request.
    pub outcome: Outcome,
    /// With [`Outcome::Retry`] only.
    pub cause: Option<Cause>,
}

/// The meaning of an answer to PutLogs. `now_unix` (seconds) is the local clock, uncorrected.
pub fn classify_sls(result: &Result<Response, Failure>, now_unix: u64) -> SlsAnswer {
    let response = match result {
        Ok(response) => response,
        Err(failure @ Failure::Oversized(_)) => return refused(failure.to_string()),
        Err(failure) => {
            let after = matches!(failure, Failure::Tls(_)).then_some(TLS_RETRY);
            return retry(Cause::Server, after, failure.to_string());
        }
    };
    let Some(request_id) = header(response, "x-log-requestid").filter(|id| !id.is_empty()) else {
        // Whoever answered, it was not SLS. Too large for a proxy is too large all the same.
        return match response.status {
            413 => SlsAnswer { outcome: Outcome::TooLarge, cause: None },
            status => {
                let reason = format!("HTTP {status} without a request id: not an answer of SLS");
                retry(Cause::Server, retry_after(response, now_unix), reason)
            }
        };
    };
    if (200..=299).contains(&response.status) {
        return SlsAnswer { outcome: Outcome::Delivered { rejected: 0, message: None }, cause: None };
    }
    let error = error(&response.body);
    let (code, message) = error.as_ref().map_or(("", ""), |(code, message)| (code, message));
    let reason = reason(response.status, code, message, request_id);
    match (response.status, code) {
        (413, _) | (_, "PostBodyTooLarge") => SlsAnswer { outcome: Outcome::TooLarge, cause: None },
        (_, "RequestTimeExpired" | "RequestTimeTooSkewed") => {
            let offset_seconds = server_time(response).map(|time| time.saturating_sub_unsigned(now_unix));
            retry(Cause::Clock { offset_seconds }, None, reason)
        }
        (_, code) if code.ends_with("QuotaExceed") || code == "ExceedQuota" => {
            retry(Cause::Quota, retry_after(response, now_unix), reason)
        }
        (429, _) => retry(Cause::Quota, retry_after(response, now_unix), reason),
        (401, _) => retry(Cause::Credentials, None, reason),
        (500.., _) | (408, _) | (_, "ServerBusy" | "InternalServerError" | "RequestTimeout") => {
            retry(Cause::Server, retry_after(response, now_unix), reason)
        }
        // Not in SLS's words: something in between has spoilt the answer.
        _ if error.is_none() => retry(Cause::Server, None, reason),
        _ => refused(reason),
    }
}

fn retry(cause: Cause, after: Option<Duration>, reason: String) -> SlsAnswer {
    SlsAnswer { outcome: Outcome::Retry { after, reason }, cause: Some(cause) }
}

fn refused(reason: String) -> SlsAnswer {
    SlsAnswer { outcome: Outcome::Refused { reason }, cause: None }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.get(name)?.to_str().ok()
}

/// `{"errorCode": "…", "errorMessage": "…"}`.
fn error(body: &[u8]) -> Option<(String, String)> {
    let body: Value = serde_json::from_slice(body.get(..body.len().min(MAX_ERROR_BYTES))?).ok()?;
    let word = |name| body.get(name)?.as_str();
    Some((word("errorCode")?.to_owned(), word("errorMessage")?.to_owned()))
}

fn reason(status: u16, code: &str, message: &str, request_id: &str) -> String {
    let mut line = format!("HTTP {status}");
    for (separator, text, chars) in [(" ", code, MAX_WORD_CHARS), (": ", message, MAX_MESSAGE_CHARS)] {
        let text = one_line(text, chars);
        if !text.is_empty() {
            line.push_str(separator);
            line.push_str(&text);
        }
    }
    format!("{line} (request id {})", one_line(request_id, MAX_WORD_CHARS))
}

/// Unix seconds: SLS's own header, else the date of the answer.
fn server_time(response: &Response) -> Option<i64> {
    let own = header(response, "x-log-time").and_then(|time| time.trim().parse::<u64>().ok());
    let time = own.or_else(|| {
        let date = httpdate::parse_http_date(header(response, "date")?).ok()?;
        Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
    })?;
    i64::try_from(time).ok()
}

/// How long to wait before each repetition of one batch's request, each cause by itself, with jitter: uniform in the upper
/// half of the wait.
#[derive(Debug, Default)]
pub struct SlsBackoff {
    server: u32,
    quota: u32,
    credentials: u32,
    clock: u32,
}

impl SlsBackoff {
    /// The next wait, `None` when it is time to give up: for credentials after 5 tries within about three minutes, for
    /// the clock after 3. Server: 1 s doubling to 30 s; quota: 3 s doubling to 60 s, both for as long as the batch may
    /// live. `random` is any uniformly random number.
    pub fn next_wait(&mut self, cause: Cause, random: u64) -> Option<Duration> {
        let (attempts, first, longest, tries) = match cause {
            Cause::Server => (&mut self.server, 1, 30, u32::MAX),
            Cause::Quota => (&mut self.quota, 3, 60, u32::MAX),
            Cause::Credentials => (&mut self.credentials, 5, 80, 5),
            // The right time is known now: at once.
            Cause::Clock { offset_seconds: Some(_) } => (&mut self.clock, 0, 0, 3),
            Cause::Clock { offset_seconds: None } => (&mut self.clock, 3, 30, 3),
        };
        if *attempts >= tries {
            return None;
        }
        let wait = Duration::from_secs(first << (*attempts).min(16)).min(Duration::from_secs(longest));
        *attempts = attempts.saturating_add(1);
        let half = wait / 2;
        Some(half + Duration::from_nanos(random % (half.as_nanos() as u64 + 1)))
    }

    /// After a success, or for the next batch.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}
