//! One sink's state machine: when it sends, what answers mean to it, and that its books balance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use pytracingx::config::Protocol;
use pytracingx::exporter::dialect::Otlp;
use pytracingx::exporter::request::Settings;
use pytracingx::exporter::sink::{Progress, Sink};
use pytracingx::stats::{DropReason, SinkState};
use pytracingx::transport::Failure;

use crate::pending::part;
use crate::sink_rig::{RECORD, Rig, answer, plain_envelope, refused, settings};

#[test]
fn a_full_batch_goes_at_once_the_rest_when_it_is_old() {
    let mut rig = Rig::new(settings());
    rig.push(25);
    rig.peer.answer_status(200);
    rig.peer.answer_status(200);
    rig.step();
    assert_eq!(rig.requests(), [(0..10).collect::<Vec<_>>(), (10..20).collect()]);
    rig.peer.answer_status(200);
    rig.pass(Duration::from_millis(999));
    assert_eq!(rig.requests().len(), 2);
    assert_eq!(rig.pass_until_due(), Duration::from_millis(1));
    assert_eq!(rig.requests()[2], (20..25).collect::<Vec<_>>());
    let stats = rig.stats();
    assert_eq!((stats.exported, stats.requests, stats.retried, stats.held_records), (25, 3, 0, 0));
    assert_eq!((stats.body_bytes, stats.sent_bytes, stats.held_records_max), (2500, 2500, 25));
    assert_eq!(rig.sink.interest(rig.now).wake_at, None, "an idle sink wants nothing");
}

#[test]
fn nothing_is_sent_for_nothing() {
    let mut rig = Rig::new(settings());
    rig.pass(Duration::from_secs(100));
    let mark = rig.sink.flush(rig.now);
    rig.step();
    assert_eq!(rig.sink.progress(mark, rig.now), Progress::Done);
    assert_eq!(rig.requests().len(), 0);
}

#[test]
fn each_answer_has_its_meaning() {
    let ok = Some((10, None));
    let lost = |reason| Some((0, Some((reason, 10))));
    // A partial success of OTLP: field 1 { rejected (1) = 4, message (2) = "no" }.
    let partial = answer(200, &[("content-type", "application/x-protobuf")], b"\x0a\x06\x08\x04\x12\x02no");
    let cases = [
        (answer(200, &[], b""), ok),
        (answer(202, &[], b""), ok),
        (partial, Some((6, Some((DropReason::Rejected, 4))))),
        (answer(302, &[], b""), lost(DropReason::Refused)),
        (answer(400, &[], b""), lost(DropReason::Refused)),
        (answer(401, &[], b""), lost(DropReason::Refused)),
        (answer(500, &[], b""), lost(DropReason::Refused)),
        (answer(429, &[], b""), None),
        (answer(502, &[], b""), None),
        (answer(503, &[], b""), None),
        (answer(504, &[], b""), None),
        (refused(), None),
        (Err(Failure::Resolve("host".to_owned())), None),
        (Err(Failure::Io("reset".to_owned())), None),
        (Err(Failure::Timeout("receive")), None),
        (Err(Failure::Oversized("4 MiB")), lost(DropReason::Refused)),
    ];
    for (reply, settled) in cases {
        let mut rig = Rig::new(settings());
        rig.peer.answer(reply.clone());
        rig.push(10);
        rig.step();
        let stats = rig.stats();
        if let Some((exported, dropped)) = settled {
            assert_eq!((stats.exported, stats.held_records), (exported, 0), "{reply:?}");
            let expected = dropped.map_or(0, |(reason, count)| {
                assert_eq!(stats.dropped.get(reason), count, "{reply:?}");
                count
            });
            assert_eq!(stats.dropped.total(), expected);
            assert_eq!((stats.state, stats.undelivered()), (SinkState::Idle, 0));
        } else {
            assert_eq!((stats.held_records, stats.state), (10, SinkState::BackingOff), "{reply:?}");
            assert!(stats.last_error.is_some());
        }
        assert_eq!(rig.requests().len(), 1);
    }
}

#[test]
fn a_retry_sends_the_same_bytes_after_growing_waits() {
    let mut rig = Rig::new(settings());
    rig.push(10);
    (0..5).for_each(|_| rig.peer.answer_status(503));
    rig.peer.answer_status(200);
    rig.step();
    let mut longest = 1000;
    for request in 2..=6 {
        rig.push(10); // a full batch more changes nothing
        rig.step();
        assert_eq!(rig.requests().len(), request - 1, "waiting");
        let wait = rig.pass_until_due().as_millis();
        assert!((longest / 2..=longest).contains(&wait), "{wait} ms, not {longest}");
        longest *= 2;
    }
    let requests = rig.peer.requests();
    assert!(requests[1..6].iter().all(|request| Arc::ptr_eq(&request.body, &requests[0].body)));
    assert_eq!((rig.stats().retried, rig.stats().failures_in_a_row), (5, 0));
}

#[test]
fn the_circuit_opens_probes_and_closes() {
    let mut rig = Rig::new(settings());
    rig.push(500);
    rig.step(); // no answer: the request times out
    for failures in 1..=7 {
        rig.peer.answer(refused());
        rig.pass_until_due();
        let expected = if failures < 5 { SinkState::BackingOff } else { SinkState::CircuitOpen };
        assert_eq!((rig.stats().state, rig.stats().failures_in_a_row), (expected, failures));
        assert_eq!(rig.requests().len(), failures as usize, "one probe each");
    }
    (0..50).for_each(|_| rig.peer.answer_status(200));
    for _ in 0..10 {
        rig.pass_until_due();
        if rig.stats().exported == 500 {
            break;
        }
    }
    assert_eq!((rig.stats().state, rig.stats().exported), (SinkState::Idle, 500));
}

#[test]
fn a_batch_is_given_up_but_the_wait_goes_on() {
    let short = Settings { max_export_timeout: Duration::from_millis(1200), ..settings() };
    let mut rig = Rig::new(short);
    rig.push(15);
    rig.peer.answer(answer(503, &[("retry-after", "60")], b""));
    rig.step();
    assert_eq!(rig.pass_until_due(), Duration::from_millis(1200));
    assert_eq!((rig.dropped(DropReason::RetryTimeout), rig.stats().held_records), (10, 5));
    rig.peer.answer_status(200);
    let rest = rig.pass_until_due().as_millis();
    assert!((58_800..=64_800).contains(&rest), "the server asked for a minute, a tenth more is ours: {rest}");
    assert_eq!((rig.stats().exported, rig.requests().len()), (5, 2));
}

#[test]
fn a_request_has_a_deadline() {
    let mut rig = Rig::new(settings());
    rig.push(10);
    rig.step();
    assert_eq!(rig.peer.requests()[0].deadline, rig.now + Duration::from_secs(10));
    assert_eq!(rig.pass_until_due(), Duration::from_secs(10));
    assert_eq!(rig.stats().last_error.as_deref(), Some("timed out (receive)"));
}

#[test]
fn retry_after_binds_a_flush_but_not_the_last_one() {
    let mut rig = Rig::new(settings());
    rig.push(10);
    rig.peer.answer(answer(429, &[("retry-after", "20")], b""));
    rig.step();
    let mark = rig.sink.flush(rig.now);
    rig.step();
    assert_eq!(rig.requests().len(), 1);
    assert_eq!(rig.sink.progress(mark, rig.now + Duration::from_secs(5)), Progress::GivenUp);
    assert_eq!(rig.sink.progress(mark, rig.now + Duration::from_secs(21)), Progress::Pending);
    let mark = rig.sink.flush_finally(rig.now, false);
    rig.peer.answer_status(200);
    rig.step();
    assert_eq!((rig.requests().len(), rig.sink.progress(mark, rig.now)), (2, Progress::Done));
}

#[test]
fn a_flush_sends_what_is_there_past_the_wait() {
    let mut rig = Rig::new(settings());
    rig.push(3);
    let mark = rig.sink.flush(rig.now);
    rig.peer.answer(refused());
    rig.step();
    let far = rig.now + Duration::from_secs(3600);
    assert_eq!(rig.sink.progress(mark, rig.now), Progress::GivenUp, "the next try is after the deadline");
    assert_eq!(rig.sink.progress(mark, far), Progress::Pending);
    rig.push(2);
    let later = rig.sink.flush(rig.now);
    rig.peer.answer_status(200);
    rig.step();
    assert_eq!(
        (rig.sink.progress(mark, far), rig.sink.progress(later, far)),
        (Progress::Done, Progress::Pending)
    );
    rig.peer.answer_status(200);
    rig.step();
    assert_eq!(rig.sink.progress(later, far), Progress::Done);
    assert_eq!(rig.requests(), [vec![0, 1, 2], vec![0, 1, 2], vec![3, 4]]);
    rig.push(1);
    rig.step();
    assert_eq!(rig.requests().len(), 3, "what came after a flush waits for its batch");
}

#[test]
fn at_exit_two_refused_connections_are_enough() {
    let mut rig = Rig::new(settings());
    rig.push(3);
    let far = rig.now + Duration::from_secs(3600);
    let mark = rig.sink.flush_finally(rig.now, true);
    rig.peer.answer(refused());
    rig.step();
    assert_eq!(rig.sink.progress(mark, far), Progress::Pending);
    rig.peer.answer(refused());
    assert!(rig.pass_until_due() <= Duration::from_millis(200));
    assert_eq!(rig.sink.progress(mark, far), Progress::GivenUp);
    rig.sink.abandon(DropReason::Shutdown);
    rig.check_books();
    assert_eq!(rig.dropped(DropReason::Shutdown), 3);
}

#[test]
fn abandoning_gives_up_the_request_under_way() {
    let mut rig = Rig::new(settings());
    rig.push(13);
    rig.step();
    rig.sink.abandon(DropReason::Shutdown);
    rig.check_books();
    assert_eq!(
        (rig.peer.cancelled(), rig.dropped(DropReason::Shutdown), rig.stats().held_records),
        (1, 13, 0)
    );
    assert_eq!(rig.stats().undelivered(), 13);
}

#[test]
fn a_sink_that_is_not_available_drops_everything_and_says_so() {
    let mut sink = Sink::new(settings(), Err("no such thing".to_owned()));
    sink.expect(3);
    sink.push(&part(0, &[RECORD; 3], 100), Instant::now());
    let stats = sink.stats();
    assert_eq!((stats.wanted, stats.dropped.get(DropReason::Unsupported)), (3, 3));
    assert_eq!((stats.state, stats.last_error.as_deref()), (SinkState::Unsupported, Some("no such thing")));
}

#[test]
fn a_server_that_does_not_know_the_signal_is_left_in_peace() {
    let dialect = Otlp { protocol: Protocol::Grpc, envelope: plain_envelope, ..Otlp::default() };
    let mut rig = Rig::new(Settings { dialect: Box::new(dialect), ..settings() });
    let unknown = [("grpc-status", "12"), ("grpc-message", "unknown service")];
    rig.push(25);
    rig.peer.answer(answer(200, &unknown, b""));
    rig.step();
    assert_eq!((rig.requests().len(), rig.dropped(DropReason::Refused)), (1, 25), "with all that waited");
    assert_eq!(rig.stats().state, SinkState::Unsupported);
    assert_eq!(rig.stats().last_error.as_deref(), Some("gRPC UNIMPLEMENTED (12): unknown service"));
    rig.pass(Duration::from_secs(299));
    rig.push(10);
    let mark = rig.sink.flush(rig.now);
    rig.step();
    assert_eq!((rig.requests().len(), rig.dropped(DropReason::Refused)), (1, 35));
    assert_eq!(rig.sink.progress(mark, rig.now), Progress::Done);
    rig.pass(Duration::from_secs(2));
    rig.peer.answer(answer(200, &[("grpc-status", "0")], b""));
    rig.push(10);
    rig.step();
    assert_eq!((rig.stats().exported, rig.stats().state), (10, SinkState::Idle), "it has learnt");
}

#[test]
fn after_a_panic_the_books_still_balance() {
    let mut rig = Rig::new(settings());
    rig.push(12);
    rig.step();
    rig.sink.expect(5); // encoding these panicked
    rig.sink.recover();
    rig.check_books();
    assert_eq!(
        (rig.dropped(DropReason::Internal), rig.stats().held_records, rig.peer.cancelled()),
        (15, 2, 1)
    );
}

#[derive(Debug, Clone)]
enum Event {
    Push(Vec<usize>),
    Pass(u64),
    Answer(u16),
    Reject(u8),
    Break,
    Flush,
    Abandon,
    Recover,
}

fn event() -> impl Strategy<Value = Event> {
    let statuses = prop_oneof![4 => Just(200), 1 => Just(413), 1 => Just(503), 1 => Just(400)];
    prop_oneof![
        6 => proptest::collection::vec(4_usize..300, 1..30).prop_map(Event::Push),
        6 => (0_u64..40_000).prop_map(Event::Pass),
        8 => statuses.prop_map(Event::Answer),
        1 => any::<u8>().prop_map(Event::Reject),
        2 => Just(Event::Break),
        2 => Just(Event::Flush),
        1 => Just(Event::Abandon),
        1 => Just(Event::Recover),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: no record is lost without a count (checked at every step), nothing is held beyond the bound,
    /// and while something is held the sink wants to be stepped some time.
    #[test]
    fn conserves_records(events in proptest::collection::vec(event(), 1..80)) {
        let bound = 20_000;
        let mut rig = Rig::new(Settings {
            max_queue_bytes: bound,
            max_export_timeout: Duration::from_secs(60),
            ..settings()
        });
        for event in events {
            match event {
                Event::Push(sizes) => rig.push_sized(&sizes),
                Event::Pass(ms) => rig.now += Duration::from_millis(ms),
                Event::Answer(status) => rig.peer.answer_status(status),
                Event::Reject(count) => {
                    let body = [0x0a, 3, 0x08, count | 0x80, 1];
                    rig.peer.answer(answer(200, &[], &body));
                }
                Event::Break => rig.peer.answer(Err(Failure::Io("reset".to_owned()))),
                Event::Flush => { rig.sink.flush(rig.now); }
                Event::Abandon => rig.sink.abandon(DropReason::Shutdown),
                Event::Recover => rig.sink.recover(),
            }
            rig.step();
            let stats = rig.stats();
            prop_assert!(stats.held_bytes <= bound as u64);
            let wants = rig.sink.interest(rig.now).wake_at.is_some();
            prop_assert!(stats.held_records == 0 || wants, "{:?}", stats);
        }
    }
}
