//! Bytes from a server to a response, without a socket: feeds `ureq-proto`'s parser and keeps the limits. Whatever the
//! bytes are, it answers with an error or a response, holds at most the limits below plus one read, and never panics.

use ureq_proto::BodyMode;
use ureq_proto::client::state::{RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvBodyResult, RecvResponseResult};

use super::{Failure, Response, one_line};

/// Status lines and headers, those of 1xx answers included.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Body after removal of chunk framing. Nothing else is decoded, for no `accept-encoding` is ever sent.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The answer to one request.
pub(super) struct Answer {
    state: State,
    header_bytes: usize,
    body: Vec<u8>,
}

enum State {
    Headers(Box<Call<RecvResponse>>),
    Body { call: Box<Call<RecvBody>>, head: http::Response<()> },
    Over,
}

/// A complete answer.
pub(super) struct Finished {
    pub(super) response: Response,
    /// The framing allows another request on this connection.
    pub(super) reusable: bool,
}

impl Answer {
    pub(super) fn new(call: Call<RecvResponse>) -> Self {
        Self { state: State::Headers(Box::new(call)), header_bytes: 0, body: Vec::new() }
    }

    /// Takes what it can use off the front of `input`. `Some` ends the answer.
    pub(super) fn feed(&mut self, input: &mut Vec<u8>) -> Result<Option<Finished>, Failure> {
        if let State::Headers(call) = &mut self.state {
            let Some(head) = read_head(call, input, &mut self.header_bytes)? else {
                return Ok(None);
            };
            let State::Headers(call) = std::mem::replace(&mut self.state, State::Over) else {
                return Ok(None);
            };
            match call.proceed() {
                Some(RecvResponseResult::RecvBody(call)) => {
                    if matches!(call.body_mode(), BodyMode::LengthDelimited(length) if length > MAX_BODY_BYTES as u64)
                    {
                        return Err(Failure::Oversized("a body of more than 4 MiB"));
                    }
                    self.state = State::Body { call: Box::new(call), head };
                }
                Some(RecvResponseResult::Redirect(call)) => {
                    return Ok(Some(self.finish(head, !call.must_close_connection())));
                }
                Some(RecvResponseResult::Cleanup(call)) => {
                    return Ok(Some(self.finish(head, !call.must_close_connection())));
                }
                None => return Err(Failure::Protocol("incomplete headers".to_owned())),
            }
        }
        self.feed_body(input)
    }

    fn feed_body(&mut self, input: &mut Vec<u8>) -> Result<Option<Finished>, Failure> {
        let State::Body { call, .. } = &mut self.state else {
            return Ok(None);
        };
        let filled = self.body.len();
        // Framing only shrinks: what comes out is never longer than what goes in.
        self.body.resize(filled + input.len(), 0);
        let (used, made) = call.read(input, &mut self.body[filled..]).map_err(protocol)?;
        self.body.truncate(filled + made);
        input.drain(..used);
        if self.body.len() > MAX_BODY_BYTES {
            return Err(Failure::Oversized("a body of more than 4 MiB"));
        }
        if call.body_mode() != BodyMode::CloseDelimited && call.can_proceed() {
            return self.end_body().map(Some);
        }
        // Data never stays behind, so this is a chunk size or trailer that does not end.
        if input.len() > MAX_HEADER_BYTES {
            return Err(Failure::Protocol("chunk framing without end".to_owned()));
        }
        Ok(None)
    }

    /// The peer has closed: complete if the framing leaves the end to that.
    pub(super) fn end(&mut self) -> Result<Finished, Failure> {
        match &self.state {
            State::Body { call, .. } if call.body_mode() == BodyMode::CloseDelimited => self.end_body(),
            // The last chunk is there and only the empty line after it is not.
            State::Body { call, .. } if call.is_ended_chunked() => self.end_body(),
            State::Body { .. } => Err(Failure::Io("closed in the middle of an answer".to_owned())),
            State::Headers(_) | State::Over => Err(Failure::Io("closed before an answer".to_owned())),
        }
    }

    fn end_body(&mut self) -> Result<Finished, Failure> {
        let State::Body { call, head } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(Failure::Protocol("no body".to_owned()));
        };
        let complete = call.can_proceed();
        let reusable = complete
            && match call.proceed() {
                Some(RecvBodyResult::Redirect(call)) => !call.must_close_connection(),
                Some(RecvBodyResult::Cleanup(call)) => !call.must_close_connection(),
                None => false,
            };
        Ok(self.finish(head, reusable))
    }

    fn finish(&mut self, head: http::Response<()>, reusable: bool) -> Finished {
        self.state = State::Over;
        let (head, ()) = head.into_parts();
        // Two framings at once: whoever sent that and we may disagree on where the next answer starts.
        let one_framing = !(head.headers.contains_key(http::header::CONTENT_LENGTH)
            && head.headers.contains_key(http::header::TRANSFER_ENCODING));
        let body = std::mem::take(&mut self.body);
        Finished {
            response: Response { status: head.status.as_u16(), headers: head.headers, body },
            reusable: reusable && one_framing,
        }
    }
}

/// The final head, past any number of 1xx answers within the limit. `None`: not all there yet.
pub(super) fn read_head(
    call: &mut Call<RecvResponse>,
    input: &mut Vec<u8>,
    header_bytes: &mut usize,
) -> Result<Option<http::Response<()>>, Failure> {
    loop {
        let (used, head) = call.try_response(input, false).map_err(protocol)?;
        input.drain(..used);
        *header_bytes += used;
        let unfinished = if head.is_none() && used == 0 { input.len() } else { 0 };
        if *header_bytes + unfinished > MAX_HEADER_BYTES {
            return Err(Failure::Oversized("headers of more than 64 KiB"));
        }
        if head.is_some() || used == 0 {
            return Ok(head);
        }
    }
}

pub(super) fn protocol(error: ureq_proto::Error) -> Failure {
    Failure::Protocol(one_line(&error.to_string(), 200))
}
