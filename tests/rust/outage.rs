//! What becomes of records while an endpoint is away, and of the endpoint when it is back, in simulated time.

use std::time::{Duration, Instant};

use pytracingx::config::{MAX_EXPORT_TIMEOUT_MS, MAX_QUEUE_BYTES};
use pytracingx::exporter::request::{Now, Scratch, Settings};
use pytracingx::exporter::sink::Sink;
use pytracingx::stats::{DropReason, SinkStats};
use pytracingx::transport::{Exchange, Failure, Interest, Request, Response};

use crate::pending::part;
use crate::sink_rig::settings;

const MINUTE: Duration = Duration::from_secs(60);
/// Bytes of each record.
const RECORD: usize = 100;

/// How an endpoint is away.
#[derive(Debug, Clone, Copy)]
enum Away {
    Refusing,
    Silent,
    /// Answers with this status and these seconds of `Retry-After`.
    Busy(u16, Option<&'static str>),
}

/// Away from the start until a time, then healthy.
struct Endpoint {
    away: Away,
    back_at: Instant,
    request: Option<Request>,
    /// When each request began.
    begun: std::sync::Arc<parking_lot::Mutex<Vec<Instant>>>,
}

impl Exchange for Endpoint {
    fn begin(&mut self, request: Request, now: Instant) {
        self.begun.lock().push(now);
        self.request = Some(request);
    }

    fn step(&mut self, now: Instant) -> Option<Result<Response, Failure>> {
        let request = self.request.take()?;
        let respond = |status, headers| Ok(Response { status, headers, body: Vec::new() });
        let mut headers = http::HeaderMap::new();
        Some(match self.away {
            _ if now >= self.back_at => respond(200, headers),
            Away::Refusing => Err(Failure::Connect("refused".to_owned())),
            Away::Silent if now < request.deadline => {
                self.request = Some(request);
                return None;
            }
            Away::Silent => Err(Failure::Timeout("receive")),
            Away::Busy(status, retry_after) => {
                let value = retry_after.map(http::HeaderValue::from_static);
                value.map(|value| headers.insert(http::header::RETRY_AFTER, value));
                respond(status, headers)
            }
        })
    }

    fn interest(&self, now: Instant) -> Interest {
        let silent = matches!(self.away, Away::Silent) && now < self.back_at;
        let answers_at = |request: &Request| if silent { request.deadline } else { now };
        let wake_at = self.request.as_ref().map(answers_at);
        Interest { wake_at, ..Interest::default() }
    }

    fn last_phase(&self) -> &'static str {
        "connect"
    }

    fn cancel(&mut self) {
        self.request = None;
    }
}

struct Rig {
    sink: Sink,
    begun: std::sync::Arc<parking_lot::Mutex<Vec<Instant>>>,
    now: Instant,
    scratch: Scratch,
}

impl Rig {
    fn new(settings: Settings, away: Away, outage: Duration) -> Self {
        let now = Instant::now();
        let begun = std::sync::Arc::default();
        let endpoint =
            Endpoint { away, back_at: now + outage, request: None, begun: std::sync::Arc::clone(&begun) };
        Self { sink: Sink::new(settings, Ok(Box::new(endpoint))), begun, now, scratch: Scratch::default() }
    }

    fn push(&mut self, records: usize) {
        self.sink.expect(records as u64);
        self.sink.push(&part(0, &vec![RECORD; records], records), self.now);
    }

    /// Steps whenever the sink wants it, until `end`.
    fn run_until(&mut self, end: Instant) {
        loop {
            self.sink.step(Now { instant: self.now, unix_nano: 0 }, false, &mut self.scratch);
            let stats = self.sink.stats();
            assert_eq!(stats.wanted, stats.exported + stats.dropped.total() + stats.held_records);
            let due = self.sink.interest(self.now).wake_at.unwrap_or(end);
            if due.max(self.now) >= end {
                self.now = end;
                return;
            }
            self.now = due.max(self.now);
        }
    }

    fn stats(&mut self) -> SinkStats {
        self.sink.stats().clone()
    }
}

/// As a session configures a trace sink.
fn defaults() -> Settings {
    let mut settings = settings();
    settings.batch.max_export = 512;
    settings.max_export_timeout = Duration::from_millis(MAX_EXPORT_TIMEOUT_MS);
    settings.max_queue_bytes = MAX_QUEUE_BYTES;
    settings
}

const WAYS: [Away; 5] = [
    Away::Refusing,
    Away::Silent,
    Away::Busy(503, None),
    Away::Busy(429, Some("45")),
    Away::Busy(503, Some("86400")),
];

/// A thousand records a second for two minutes, then a quiet endpoint that is back.
fn two_minutes(settings: Settings, away: Away) -> Rig {
    let mut rig = Rig::new(settings, away, 2 * MINUTE);
    let end = rig.now + 2 * MINUTE;
    while rig.now < end {
        rig.push(100);
        let next = rig.now + Duration::from_millis(100);
        rig.run_until(next);
    }
    rig
}

#[test]
fn what_came_during_two_minutes_is_delivered_when_the_endpoint_is_back() {
    for away in WAYS {
        let mut rig = two_minutes(defaults(), away);
        let stats = rig.stats();
        assert_eq!((stats.held_records, stats.dropped.total(), stats.exported), (120_000, 0, 0), "{away:?}");
        // The longest wait is 30 s, or what a server asks for: five minutes are believed, and that is all the first
        // batch is given.
        let asked = matches!(away, Away::Busy(_, Some("86400")));
        rig.run_until(rig.now + if asked { 4 * MINUTE } else { MINUTE });
        let stats = rig.stats();
        let given_up = if asked { 512 } else { 0 };
        assert_eq!(stats.dropped.get(DropReason::RetryTimeout), given_up, "{away:?}");
        assert_eq!((stats.exported, stats.held_records), (120_000 - given_up, 0), "{away:?}");
        assert_eq!((stats.failures_in_a_row, stats.dropped.total()), (0, given_up), "{away:?}");
    }
}

#[test]
fn what_does_not_fit_is_the_newest_and_counted() {
    const FITS: u64 = 50_000;
    for away in WAYS {
        let mut rig = two_minutes(Settings { max_queue_bytes: FITS as usize * RECORD, ..defaults() }, away);
        let stats = rig.stats();
        assert_eq!((stats.held_records, stats.held_bytes), (FITS, FITS * RECORD as u64), "{away:?}");
        assert_eq!(stats.dropped.get(DropReason::QueueFull), 120_000 - FITS, "{away:?}");
        rig.run_until(rig.now + 4 * MINUTE);
        let stats = rig.stats();
        let given_up = stats.dropped.get(DropReason::RetryTimeout);
        assert_eq!((stats.exported, stats.held_records), (FITS - given_up, 0), "{away:?}");
        assert!(given_up == 0 || given_up == 512, "{away:?}");
    }
}

/// The largest distance between the values' distribution and the uniform one on 0..1.
fn distance_from_uniform(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len() as f64;
    let distance = |(index, value): (usize, &f64)| {
        (value - index as f64 / count).abs().max(((index + 1) as f64 / count - value).abs())
    };
    values.iter().enumerate().map(distance).fold(0.0, f64::max)
}

#[test]
fn clients_that_are_asked_for_the_same_time_do_not_come_back_together() {
    let waits = (0..1000).map(|seed| {
        let settings = Settings { seed, ..defaults() };
        let mut rig = Rig::new(settings, Away::Busy(503, Some("45")), 5 * MINUTE);
        rig.push(512);
        rig.run_until(rig.now + MINUTE);
        let begun = rig.begun.lock();
        ((begun[1] - begun[0]).as_secs_f64() - 45.0) / 4.5
    });
    let distance = distance_from_uniform(waits.collect());
    assert!(distance < 0.061, "a tenth more at most: {distance}");
}

#[test]
fn a_thousand_clients_that_fail_together_do_not_come_back_together() {
    const CLIENTS: usize = 1000;
    let clients: Vec<(Instant, Vec<Instant>)> = (0..CLIENTS)
        .map(|seed| {
            let mut rig = Rig::new(Settings { seed: seed as u64, ..defaults() }, Away::Refusing, 5 * MINUTE);
            let start = rig.now;
            rig.push(512);
            rig.run_until(start + 2 * MINUTE);
            let begun = rig.begun.lock().clone();
            (start, begun)
        })
        .collect();
    for (attempt, longest_s) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 16.0), (6, 30.0)] {
        // Each wait is uniform in its upper half; 0.061 is what chance exceeds once in a thousand times.
        let wait = |begun: &Vec<Instant>| (begun[attempt] - begun[attempt - 1]).as_secs_f64() / longest_s;
        let waits = clients.iter().map(|(_, begun)| 2.0 * wait(begun) - 1.0).collect();
        let distance = distance_from_uniform(waits);
        assert!(distance < 0.061, "attempt {attempt}: {distance}");
    }
    let mut times: Vec<Duration> = clients
        .iter()
        .flat_map(|(start, begun)| begun.iter().map(move |at| at.duration_since(*start)))
        .collect();
    times.sort_unstable();
    let most_in_100_ms = |from: Duration| {
        let late = &times[times.partition_point(|at| *at < from)..];
        let within = |first: Duration| late.partition_point(|at| *at < first + Duration::from_millis(100));
        late.iter().enumerate().map(|(index, first)| within(*first) - index).max().unwrap_or(0)
    };
    assert!(
        most_in_100_ms(Duration::from_millis(1)) < CLIENTS / 4,
        "the second attempt is spread over 500 ms"
    );
    assert!(most_in_100_ms(MINUTE) < CLIENTS / 40, "later ones over ever longer times");
}
