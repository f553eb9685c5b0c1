//! How a sink speaks to an Aliyun SLS logstore: one `LogGroup` a request, which keeps its pack id over all attempts, each
//! of them signed anew with the key of that moment, for the server's time as far as the server has told it.

use std::sync::Arc;
use std::time::Duration;

use super::dialect::{Body, Dialect, Headers};
use super::request::Scratch;
use crate::config::SlsCompression;
use crate::encode::chunk::Part;
use crate::encode::sls::{Envelope, MAX_GROUP_BYTES, PackIds, sls_request};
use crate::stats::SinkProtocol;
use crate::transport::retry::Outcome;
use crate::transport::sls::{SlsDestination, compress_sls};
use crate::transport::sls_answer::{Cause, SlsAnswer, SlsBackoff, classify_sls};
use crate::transport::sls_credentials::Credentials;
use crate::transport::sls_sign::AccessKey;
use crate::transport::{Failure, Response};

/// A request holds fewer bytes before compression: the server's limit with room. One record and the largest envelope
/// still fit.
pub const REQUEST_BYTES: usize = MAX_GROUP_BYTES - (1 << 20);

/// See the module.
#[derive(Debug)]
pub struct Sls {
    destination: SlsDestination,
    envelope: Envelope,
    compression: SlsCompression,
    credentials: Credentials,
    pack_ids: PackIds,
    backoff: SlsBackoff,
    /// Seconds by which the server's clock is ahead of ours.
    clock_offset: i64,
    /// Of the last answer.
    cause: Option<Cause>,
    /// What the request under way is signed with, or the next one will be.
    key: Option<AccessKey>,
}

impl Sls {
    /// `producer`: any number that no other producer has, at random.
    pub fn new(
        destination: SlsDestination,
        envelope: Envelope,
        compression: SlsCompression,
        credentials: Credentials,
        producer: u64,
    ) -> Self {
        Self {
            destination,
            envelope,
            compression,
            credentials,
            pack_ids: PackIds::new(producer),
            backoff: SlsBackoff::default(),
            clock_offset: 0,
            cause: None,
            key: None,
        }
    }
}

impl Dialect for Sls {
    fn protocol(&self) -> SinkProtocol {
        SinkProtocol::Sls
    }

    fn request_bytes(&self) -> usize {
        REQUEST_BYTES
    }

    fn envelope_bytes(&self) -> usize {
        self.envelope.bytes()
    }

    fn prepare(&mut self, now_unix_seconds: u64) -> Result<(), String> {
        self.key = self.credentials.current(now_unix_seconds);
        match (&self.key, self.credentials.last_error()) {
            (Some(_), _) => Ok(()),
            (None, None) => Err("waiting for credentials".to_owned()),
            (None, Some(error)) => Err(format!("waiting for credentials: {error}")),
        }
    }

    fn build(&mut self, parts: &[Part], scratch: &mut Scratch) -> Body {
        sls_request(&self.envelope, parts, &self.pack_ids.next_id(), &mut scratch.plain);
        let encoding = compress_sls(self.compression, &scratch.plain, &mut scratch.body);
        Body { bytes: Arc::from(&scratch.body[..]), plain_bytes: scratch.plain.len(), encoding }
    }

    fn headers(&mut self, body: &Body, now_unix_seconds: u64) -> Result<Headers, String> {
        let key = self.key.as_ref().ok_or("waiting for credentials")?;
        let at = now_unix_seconds.saturating_add_signed(self.clock_offset);
        self.destination.headers(key, &body.bytes, body.plain_bytes, body.encoding, at).map_err(|_| {
            self.credentials.ask_refresh();
            "waiting for credentials: these have characters that no header can carry".to_owned()
        })
    }

    fn classify(&mut self, result: &mut Result<Response, Failure>, now_unix_seconds: u64) -> Outcome {
        if let (Ok(response), Some(key)) = (result.as_mut(), &self.key) {
            key.redact(&mut response.body);
        }
        let SlsAnswer { outcome, cause } = classify_sls(result, now_unix_seconds);
        match cause {
            Some(Cause::Clock { offset_seconds: Some(offset) }) => self.clock_offset = offset,
            Some(Cause::Credentials) => self.credentials.ask_refresh(),
            _ => {}
        }
        self.cause = cause;
        outcome
    }

    fn next_wait(&mut self, random: u64) -> Option<Duration> {
        self.backoff.next_wait(self.cause.unwrap_or(Cause::Server), random)
    }

    fn hint(&self) -> Option<String> {
        match self.cause? {
            Cause::Credentials => Some("the server refused the access key or its signature".to_owned()),
            Cause::Clock { offset_seconds: Some(offset) } => {
                let direction = if offset < 0 { "ahead of" } else { "behind" };
                let seconds = offset.unsigned_abs();
                Some(format!("this machine's clock is {seconds} s {direction} the server's"))
            }
            Cause::Clock { offset_seconds: None } => {
                Some("this machine's clock is too far from the server's".to_owned())
            }
            Cause::Quota => Some("more than the project or its shards take".to_owned()),
            Cause::Server => None,
        }
    }

    fn reset(&mut self) {
        self.backoff.reset();
    }
}
