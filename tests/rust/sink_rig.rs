//! One sink whose server's answers are scripted and whose clock is the test's own.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use pytracingx::config::BatchConfig;
use pytracingx::encode::chunk::Part;
use pytracingx::exporter::dialect::Otlp;
use pytracingx::exporter::request::{Now, Scratch, Settings};
use pytracingx::exporter::sink::Sink;
use pytracingx::stats::{DropReason, SinkStats};
use pytracingx::transport::memory::Memory;
use pytracingx::transport::{Failure, Response};

use crate::pending::part;

/// Bytes of each record.
pub(crate) const RECORD: usize = 100;

/// A request's body is its records, one after the other.
pub(crate) fn plain_envelope(_resource: &[u8], parts: &[Part], out: &mut Vec<u8>) {
    out.clear();
    parts.iter().for_each(|part| out.extend_from_slice(part.chunk.slice(part.records.clone())));
}

pub(crate) fn settings() -> Settings {
    Settings {
        endpoint: "http://collector:4318/…".into(),
        batch: BatchConfig { max_export: 10, schedule_delay_ms: 1000, max_queue: None },
        timeout: Duration::from_secs(10),
        max_export_timeout: Duration::from_secs(300),
        max_queue_bytes: 1 << 20,
        dialect: Box::new(Otlp { envelope: plain_envelope, ..Otlp::default() }),
        seed: 1,
    }
}

pub(crate) struct Rig {
    pub(crate) sink: Sink,
    pub(crate) peer: Memory,
    pub(crate) now: Instant,
    pub(crate) scratch: Scratch,
    pub(crate) pushed: u32,
}

impl Rig {
    pub(crate) fn new(settings: Settings) -> Self {
        let peer = Memory::default();
        let sink = Sink::new(settings, Ok(Box::new(peer.clone())));
        Self { sink, peer, now: Instant::now(), scratch: Scratch::default(), pushed: 0 }
    }

    pub(crate) fn push(&mut self, records: usize) {
        self.push_sized(&vec![RECORD; records]);
    }

    pub(crate) fn push_sized(&mut self, sizes: &[usize]) {
        self.sink.expect(sizes.len() as u64);
        self.sink.push(&part(self.pushed, sizes, 100), self.now);
        self.pushed += sizes.len() as u32;
    }

    pub(crate) fn step(&mut self) {
        let now = Now { instant: self.now, unix_nano: 1_700_000_000_000_000_000 };
        self.sink.step(now, false, &mut self.scratch);
        self.check_books();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step();
    }

    /// Goes to when the sink wants to be stepped next, and steps it.
    pub(crate) fn pass_until_due(&mut self) -> Duration {
        let due = self.sink.interest(self.now).wake_at.expect("something is due");
        let wait = due.saturating_duration_since(self.now);
        self.pass(wait);
        wait
    }

    pub(crate) fn stats(&mut self) -> SinkStats {
        self.sink.stats().clone()
    }

    pub(crate) fn dropped(&mut self, reason: DropReason) -> u64 {
        self.stats().dropped.get(reason)
    }

    pub(crate) fn check_books(&mut self) {
        let stats = self.stats();
        assert_eq!(stats.wanted, stats.exported + stats.dropped.total() + stats.held_records, "{stats:?}");
    }

    /// Numbers of the records of each request.
    pub(crate) fn requests(&self) -> Vec<Vec<u32>> {
        let number = |record: &[u8]| u32::from_le_bytes(record[..4].try_into().unwrap());
        let numbers = |body: &[u8]| body.chunks_exact(RECORD).map(number).collect();
        self.peer.requests().iter().map(|request| numbers(&request.body)).collect()
    }
}

pub(crate) fn answer(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &[u8],
) -> Result<Response, Failure> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    Ok(Response { status, headers, body: body.to_vec() })
}

pub(crate) fn refused() -> Result<Response, Failure> {
    Err(Failure::Connect("refused".to_owned()))
}
