//! An exchange without a network: keeps each request, and answers from a script (tests of what drives exchanges) or
//! always the same (a session that a test captures). Clones share requests and script, so one is kept and another
//! given away. Nothing bounds what is kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::{Exchange, Failure, Interest, Request, Response};

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Result<Response, Failure>>,
    /// When there are no more answers.
    otherwise: Option<Response>,
    requests: Vec<Request>,
    cancelled: usize,
}

/// See the module. A request for which the script has no answer (yet) waits for one until its deadline.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    script: Arc<Mutex<Script>>,
    deadline: Option<Instant>,
}

impl Memory {
    /// Answers every request with 200, at once.
    pub fn accepting() -> Self {
        let script = Script { otherwise: Some(with_status(200)), ..Script::default() };
        Self { script: Arc::new(Mutex::new(script)), deadline: None }
    }

    /// Adds the answer to the next unanswered request.
    pub fn answer(&self, result: Result<Response, Failure>) {
        self.script.lock().answers.push_back(result);
    }

    /// [`Memory::answer`] with a status and an empty body.
    pub fn answer_status(&self, status: u16) {
        self.answer(Ok(with_status(status)));
    }

    /// All requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.script.lock().requests.clone()
    }

    /// How many requests were given up with [`Exchange::cancel`].
    pub fn cancelled(&self) -> usize {
        self.script.lock().cancelled
    }
}

impl Exchange for Memory {
    fn begin(&mut self, request: Request, _now: Instant) {
        self.deadline = Some(request.deadline);
        self.script.lock().requests.push(request);
    }

    fn step(&mut self, now: Instant) -> Option<Result<Response, Failure>> {
        let deadline = self.deadline?;
        let mut script = self.script.lock();
        let result = match script.answers.pop_front().or_else(|| script.otherwise.clone().map(Ok)) {
            None if now < deadline => return None,
            None => Err(Failure::Timeout("receive")),
            Some(answer) => answer,
        };
        drop(script);
        self.deadline = None;
        Some(result)
    }

    fn interest(&self, now: Instant) -> Interest {
        let script = self.script.lock();
        let ready = !script.answers.is_empty() || script.otherwise.is_some();
        Interest {
            wake_at: self.deadline.map(|deadline| if ready { now } else { deadline }),
            ..Interest::default()
        }
    }

    fn last_phase(&self) -> &'static str {
        "receive"
    }

    fn cancel(&mut self) {
        self.script.lock().cancelled += usize::from(self.deadline.take().is_some());
    }
}

fn with_status(status: u16) -> Response {
    Response { status, headers: http::HeaderMap::new(), body: Vec::new() }
}
