//! An exchange without a network, for tests of what drives exchanges: records requests, answers from a script.
//! Clones share one script, so a test keeps one and gives the other away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::{Exchange, Failure, Interest, Request, Response};

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Result<Response, Failure>>,
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
    /// Adds the answer to the next unanswered request.
    pub fn answer(&self, result: Result<Response, Failure>) {
        self.script.lock().answers.push_back(result);
    }

    /// [`Memory::answer`] with a status and an empty body.
    pub fn answer_status(&self, status: u16) {
        self.answer(Ok(Response { status, headers: http::HeaderMap::new(), body: Vec::new() }));
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
        let result = match self.script.lock().answers.pop_front() {
            None if now < deadline => return None,
            None => Err(Failure::Timeout("receive")),
            Some(answer) => answer,
        };
        self.deadline = None;
        Some(result)
    }

    fn interest(&self, now: Instant) -> Interest {
        let ready = !self.script.lock().answers.is_empty();
        Interest {
            wake_at: self.deadline.map(|deadline| if ready { now } else { deadline }),
            ..Interest::default()
        }
    }

    fn cancel(&mut self) {
        self.script.lock().cancelled += usize::from(self.deadline.take().is_some());
    }
}
