//! A sink that speaks SLS: what each attempt carries, and what it does while it cannot sign. Scripted answers, a clock of
//! the test's own; the same machine as `sink` tests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use pytracingx::config::{BatchConfig, Resource, Secret, SlsCompression, SlsCredentials, SlsSinkConfig};
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::encode::sls::Envelope;
use pytracingx::exporter::request::{Now, Scratch, Settings};
use pytracingx::exporter::sink::{Progress, Sink};
use pytracingx::exporter::sls::Sls;
use pytracingx::stats::{DropReason, SinkState, SinkStats};
use pytracingx::transport::memory::Memory;
use pytracingx::transport::sls::SlsDestination;
use pytracingx::transport::sls_credentials::Credentials;
use pytracingx::transport::sls_sign::AccessKey;
use pytracingx::transport::{Request, Response};

const UNIX_SECONDS: u64 = 1_709_622_489;
/// Bytes of each record.
const RECORD: usize = 100;

fn key(id: &str) -> AccessKey {
    AccessKey { id: Secret::new(id), secret: Secret::new("secret"), security_token: None }
}

/// Records as SLS's encoder leaves them: without runs of scopes.
fn part(records: usize, bytes: usize) -> Part {
    let chunk = Chunk {
        bytes: vec![b'x'; records * bytes],
        ends: (1..=records).map(|record| record * bytes).collect(),
        ..Chunk::default()
    };
    Part { chunk: Arc::new(chunk), records: 0..records }
}

struct Rig {
    sink: Sink,
    peer: Memory,
    credentials: Credentials,
    began: Instant,
    now: Instant,
    scratch: Scratch,
}

impl Rig {
    fn new(credentials: Credentials, max_queue_bytes: usize) -> Self {
        let config = SlsSinkConfig::new(
            ["endpoint", "project", "logstore"],
            "cn-hangzhou.log.aliyuncs.com",
            "project".to_owned(),
            "logstore".to_owned(),
            SlsCredentials::Provider,
        )
        .unwrap();
        let envelope = Envelope::new(&config, &Resource::default(), "host").unwrap();
        let to = SlsDestination::new(&config);
        let dialect = Sls::new(to, envelope, SlsCompression::None, credentials.clone(), 7);
        let settings = Settings {
            endpoint: "sls".into(),
            batch: BatchConfig { max_export: 10, schedule_delay_ms: 3000, max_queue: None },
            timeout: Duration::from_secs(10),
            max_export_timeout: Duration::from_secs(300),
            max_queue_bytes,
            dialect: Box::new(dialect),
            seed: 1,
        };
        let peer = Memory::default();
        let sink = Sink::new(settings, Ok(Box::new(peer.clone())));
        let began = Instant::now();
        Self { sink, peer, credentials, began, now: began, scratch: Scratch::default() }
    }

    fn with_key() -> Self {
        Self::new(Credentials::fixed(key("first-key")), 1 << 20)
    }

    fn push(&mut self, records: usize) {
        self.sink.expect(records as u64);
        self.sink.push(&part(records, RECORD), self.now);
    }

    fn step(&mut self) {
        let passed = self.now.duration_since(self.began);
        let unix_nano = UNIX_SECONDS * 1_000_000_000 + passed.as_nanos() as u64;
        self.sink.step(Now { instant: self.now, unix_nano }, false, &mut self.scratch);
        let stats = self.stats();
        assert_eq!(stats.wanted, stats.exported + stats.dropped.total() + stats.held_records, "{stats:?}");
    }

    fn pass_until_due(&mut self) -> Duration {
        let due = self.sink.interest(self.now).wake_at.expect("something is due");
        let wait = due.saturating_duration_since(self.now);
        self.now += wait;
        self.step();
        wait
    }

    fn answer(&self, status: u16, code: &str, headers: &[(&'static str, &str)]) {
        let body = format!(r#"{{"errorCode":"{code}","errorMessage":"of first-key"}}"#);
        let known = [("x-log-requestid", "R1")];
        let headers: HeaderMap = known
            .iter()
            .chain(headers)
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        self.peer.answer(Ok(Response { status, headers, body: body.into_bytes() }));
    }

    fn stats(&mut self) -> SinkStats {
        self.sink.stats().clone()
    }
}

fn header(request: &Request, wanted: &str) -> String {
    let found = request.headers.iter().find(|(name, _)| name == wanted);
    found.unwrap_or_else(|| panic!("no {wanted}")).1.to_str().unwrap().to_owned()
}

#[test]
fn each_attempt_is_the_same_batch_signed_anew() {
    let mut rig = Rig::with_key();
    rig.answer(500, "InternalServerError", &[]);
    rig.answer(200, "", &[]);
    rig.push(10);
    rig.step();
    rig.credentials.set(key("other-key"), None);
    let wait = rig.pass_until_due();
    assert!(wait >= Duration::from_millis(500), "{wait:?}");
    let requests = rig.peer.requests();
    let [first, second] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!(first.body, second.body);
    assert!(first.body.windows(18).any(|window| window == b"0000000000000007-0"), "its pack id");
    assert!(header(first, "authorization").starts_with("LOG first-key:"));
    assert!(header(second, "authorization").starts_with("LOG other-key:"));
    assert_eq!(header(first, "date"), "Tue, 05 Mar 2024 07:08:09 GMT");
    let stats = rig.stats();
    assert_eq!((stats.exported, stats.requests, stats.retried), (10, 2, 1));
    assert!(!stats.last_error.unwrap().contains("first-key"), "the key is no word of ours");
}

#[test]
fn records_without_scopes_are_cut_like_others() {
    let mut rig = Rig::with_key();
    for _ in 0..3 {
        rig.answer(200, "", &[]);
    }
    rig.push(25);
    rig.step();
    rig.sink.flush(rig.now);
    rig.step();
    let sizes: Vec<_> =
        rig.peer.requests().iter().map(|request| header(request, "x-log-bodyrawsize")).collect();
    assert_eq!(rig.stats().exported, 25);
    assert_eq!(sizes.len(), 3);
    assert!(sizes[0] == sizes[1] && sizes[1] != sizes[2], "{sizes:?}");
}

#[test]
fn too_large_is_halved_into_batches_of_their_own() {
    let mut rig = Rig::with_key();
    rig.answer(413, "PostBodyTooLarge", &[]);
    for _ in 0..4 {
        rig.answer(200, "", &[]);
    }
    rig.push(10);
    rig.step();
    rig.sink.flush(rig.now);
    rig.step();
    assert_eq!(rig.stats().exported, 10);
    assert!(rig.peer.requests().len() >= 3);
}

#[test]
fn a_clock_that_is_wrong_is_put_right_at_once_and_for_good() {
    let mut rig = Rig::with_key();
    rig.answer(400, "RequestTimeExpired", &[("x-log-time", "1709626089")]);
    rig.answer(200, "", &[]);
    rig.answer(200, "", &[]);
    rig.push(20);
    rig.step();
    let dates: Vec<_> = rig.peer.requests().iter().map(|request| header(request, "date")).collect();
    let right = "Tue, 05 Mar 2024 08:08:09 GMT";
    assert_eq!(dates, ["Tue, 05 Mar 2024 07:08:09 GMT", right, right]);
}

#[test]
fn without_a_key_nothing_is_taken_and_nothing_runs_out() {
    let mut rig = Rig::new(Credentials::provided(), 50 * RECORD);
    rig.push(20);
    rig.step();
    assert_eq!(rig.sink.interest(rig.now).wake_at, None, "who brings a key wakes it");
    rig.now += Duration::from_secs(3600);
    rig.step();
    let stats = rig.stats();
    assert_eq!((stats.state, stats.requests, stats.held_records), (SinkState::BackingOff, 0, 20));
    assert_eq!((stats.in_flight_records, stats.failures_in_a_row), (0, 0));
    assert_eq!(stats.last_error.as_deref(), Some("waiting for credentials"));
    assert!(rig.credentials.is_refresh_wanted());

    rig.push(40);
    assert_eq!(rig.stats().dropped.get(DropReason::QueueFull), 10, "bounded all the same");
    let mark = rig.sink.flush(rig.now);
    rig.step();
    assert_eq!(rig.sink.progress(mark, rig.now + Duration::from_secs(1)), Progress::Pending);
    rig.credentials.set(key("first-key"), None);
    (0..5).for_each(|_| rig.answer(200, "", &[]));
    rig.step();
    assert_eq!(rig.stats().exported, 50);
    assert_eq!(rig.sink.progress(mark, rig.now), Progress::Done);
}

#[test]
fn a_key_that_ends_while_a_batch_is_retried_is_waited_for() {
    let mut rig = Rig::new(Credentials::provided(), 1 << 20);
    rig.credentials.set(key("first-key"), Some(UNIX_SECONDS + 1));
    rig.answer(503, "ServerBusy", &[]);
    rig.push(10);
    rig.step();
    rig.now += Duration::from_secs(2);
    rig.step();
    assert_eq!((rig.stats().requests, rig.stats().in_flight_records), (1, 10));
    let give_up = rig.began + Duration::from_secs(300);
    assert_eq!(rig.sink.interest(rig.now).wake_at, Some(give_up), "the batch's own end, and no timer before");
    rig.credentials.set(key("other-key"), Some(UNIX_SECONDS + 1000));
    rig.answer(200, "", &[]);
    rig.step();
    assert!(header(&rig.peer.requests()[1], "authorization").starts_with("LOG other-key:"));
    assert_eq!((rig.stats().exported, rig.stats().retried), (10, 1));
}

#[test]
fn a_batch_that_waits_for_a_key_too_long_is_given_up() {
    let mut rig = Rig::new(Credentials::provided(), 1 << 20);
    rig.credentials.set(key("first-key"), Some(UNIX_SECONDS + 1));
    rig.answer(503, "ServerBusy", &[]);
    rig.push(10);
    rig.step();
    rig.now += Duration::from_secs(2);
    rig.step();
    assert_eq!(rig.pass_until_due(), Duration::from_secs(298));
    assert_eq!(rig.stats().dropped.get(DropReason::RetryTimeout), 10);
    assert_eq!((rig.stats().state, rig.sink.interest(rig.now).wake_at), (SinkState::Idle, None));
    // What comes later has its own time.
    rig.push(10);
    rig.step();
    assert_eq!((rig.stats().state, rig.stats().held_records), (SinkState::BackingOff, 10));
    rig.credentials.set(key("other-key"), None);
    rig.answer(200, "", &[]);
    rig.step();
    assert_eq!(rig.stats().exported, 10);
}

#[test]
fn a_refused_key_is_asked_for_again_and_given_up_after_five_tries() {
    let mut rig = Rig::new(Credentials::provided(), 1 << 20);
    rig.credentials.set(key("first-key"), None);
    let soon = Duration::from_secs(1);
    assert!(rig.credentials.wanted_in().unwrap() > soon);
    rig.push(20);
    (0..6).for_each(|_| rig.answer(401, "Unauthorized", &[]));
    rig.step();
    assert!(rig.credentials.wanted_in().unwrap() <= soon);
    let began = rig.now;
    for _ in 0..5 {
        assert_eq!(rig.stats().dropped.total(), 0);
        rig.pass_until_due();
    }
    assert!(rig.now - began > Duration::from_secs(60), "slowly");
    assert_eq!(rig.stats().dropped.get(DropReason::Refused), 10);
    rig.answer(200, "", &[]);
    rig.step();
    assert_eq!(rig.stats().exported, 10, "the next batch has its own tries");
}

#[test]
fn a_storm_of_quota_errors_is_waited_out_gently() {
    let mut rig = Rig::with_key();
    (0..8).for_each(|_| rig.answer(403, "ShardWriteQuotaExceed", &[]));
    rig.answer(200, "", &[]);
    rig.push(10);
    rig.step();
    let waits: Vec<_> = (0..8).map(|_| rig.pass_until_due().as_secs_f64()).collect();
    for (wait, longest) in waits.iter().zip([3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0, 60.0]) {
        assert!((longest / 2.0..=longest).contains(wait), "{waits:?}");
    }
    let stats = rig.stats();
    assert_eq!((stats.exported, stats.retried, stats.dropped.total()), (10, 8, 0));

    rig.push(10);
    rig.answer(403, "WriteQuotaExceed", &[]);
    rig.answer(200, "", &[]);
    rig.step();
    assert!(rig.pass_until_due() <= Duration::from_secs(3), "after a success it begins anew");
    assert_eq!(rig.stats().exported, 20);
}
