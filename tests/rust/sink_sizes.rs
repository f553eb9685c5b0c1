//! What one sink makes requests of: how large they are, what they hold, and what its queue has no room for.

use std::time::Duration;

use http::HeaderValue;
use pytracingx::config::{BatchConfig, Compression};
use pytracingx::exporter::dialect::Otlp;
use pytracingx::exporter::request::{Now, Scratch, Settings};
use pytracingx::exporter::sink::Sink;
use pytracingx::stats::{DropReason, SinkState};

use crate::pending::metrics;
use crate::sink_rig::{RECORD, Rig, answer, plain_envelope, settings};

#[test]
fn too_large_is_halved_until_it_fits_or_is_alone() {
    let mut rig = Rig::new(settings());
    let mut sizes = [1000; 30];
    sizes[17] = 400_000;
    rig.push_sized(&sizes);
    rig.sink.flush(rig.now);
    // The server takes 4500 bytes.
    for _ in 0..200 {
        rig.step();
        let sent = rig.peer.requests().last().map_or(0, |request| request.body.len());
        if rig.stats().state == SinkState::Sending {
            rig.peer.answer_status(if sent > 4500 { 413 } else { 200 });
        }
    }
    let stats = rig.stats();
    assert_eq!((stats.exported, rig.dropped(DropReason::TooLarge), stats.held_records), (29, 1, 0));
    assert_eq!((stats.undelivered(), stats.retried), (0, 0));
    let sizes: Vec<usize> = rig.peer.requests().iter().map(|request| request.body.len()).collect();
    let accepted: usize = sizes.iter().filter(|size| **size <= 4500).sum();
    assert_eq!(accepted, 29 * 1000, "each exactly once: {sizes:?}");
    assert!(sizes.len() <= 15, "a known limit is kept to: {sizes:?}");
}

#[test]
fn metrics_count_as_their_data_points() {
    let mut rig = Rig::new(settings());
    let push = |rig: &mut Rig, points: &[u32]| {
        rig.sink.expect(points.iter().map(|points| u64::from(*points)).sum());
        rig.sink.push(&metrics(0, points), rig.now);
    };
    // Too many points for a batch, but one message cannot be cut: it goes alone, and is dropped when that is too large.
    push(&mut rig, &[500]);
    rig.peer.answer_status(413);
    rig.step();
    assert_eq!((rig.peer.requests().len(), rig.dropped(DropReason::TooLarge)), (1, 500));

    push(&mut rig, &[6, 4, 7]);
    let rejected = b"\x0a\x02\x08\x03"; // partial_success: rejected_data_points = 3
    rig.peer.answer(answer(200, &[], rejected));
    rig.step();
    let stats = rig.stats();
    assert_eq!((stats.exported, rig.dropped(DropReason::Rejected), stats.held_records), (7, 3, 7));

    let mut without = Rig::new(settings());
    without.sink = Sink::new(settings(), Err("not here".into()));
    push(&mut without, &[6, 4]);
    assert_eq!(without.dropped(DropReason::Unsupported), 10);
    without.check_books();
}

#[test]
fn requests_stay_below_four_mebibytes_but_a_lone_record_may_not() {
    const MIB: usize = 1024 * 1024;
    let mut rig = Rig::new(Settings { max_queue_bytes: 200 * MIB, ..settings() });
    rig.push_sized(&[MIB, MIB, MIB, MIB, MIB, 5 * MIB, MIB, 65 * MIB, MIB]);
    rig.sink.flush(rig.now);
    (0..9).for_each(|_| rig.peer.answer_status(200));
    rig.step();
    let sizes: Vec<usize> = rig.peer.requests().iter().map(|request| request.body.len() / MIB).collect();
    assert_eq!(sizes, [3, 2, 5, 1, 1]);
    assert_eq!((rig.stats().exported, rig.dropped(DropReason::TooLarge)), (8, 1));
}

#[test]
fn a_turn_builds_few_bodies_for_all_sinks_together() {
    const LARGE: usize = 600 * 1024;
    let batch = BatchConfig { max_export: 1, ..settings().batch };
    let mut rigs = [(); 2]
        .map(|()| Rig::new(Settings { batch: batch.clone(), max_queue_bytes: 16 << 20, ..settings() }));
    let mut scratch = Scratch::default();
    for rig in &mut rigs {
        rig.push_sized(&[LARGE; 4]);
        (0..4).for_each(|_| rig.peer.answer_status(200));
    }
    // Room for a mebibyte: the first sink's first body, and a second one that exceeds it.
    for (first, second) in [(2, 0), (4, 0), (4, 2), (4, 4)] {
        scratch.begin_turn();
        for rig in &mut rigs {
            rig.sink.step(Now { instant: rig.now, unix_nano: 0 }, false, &mut scratch);
        }
        let sent = [&rigs[0], &rigs[1]].map(|rig| rig.peer.requests().len());
        assert_eq!(sent, [first, second]);
        if second < 4 {
            assert_eq!(
                rigs[1].sink.interest(rigs[1].now).wake_at,
                Some(rigs[1].now),
                "at once, in the next turn"
            );
        }
    }
}

#[test]
fn a_full_queue_drops_the_newest() {
    let batch = BatchConfig { max_queue: Some(15), ..settings().batch };
    let mut rig = Rig::new(Settings { batch, ..settings() });
    rig.push(12);
    rig.step();
    rig.push(12);
    assert_eq!((rig.dropped(DropReason::QueueFull), rig.stats().undelivered()), (9, 9));
    rig.peer.answer_status(200);
    rig.peer.answer_status(200);
    rig.step();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.requests(), [(0..10).collect::<Vec<_>>(), (10..15).collect()]);
}

#[test]
fn bodies_are_compressed_and_say_so() {
    let dialect = Otlp { envelope: plain_envelope, compression: Compression::Gzip, ..Otlp::default() };
    let mut rig = Rig::new(Settings { dialect: Box::new(dialect), ..settings() });
    rig.push(10);
    rig.peer.answer_status(200);
    rig.step();
    let request = &rig.peer.requests()[0];
    assert_eq!(request.headers[0], (http::header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
    let stats = rig.stats();
    assert_eq!((stats.body_bytes, stats.sent_bytes), (1000, request.body.len() as u64));
    assert!(stats.sent_bytes < 300);
}

#[test]
fn a_queue_smaller_than_a_batch_is_sent_before_it_is_full() {
    let mut rig = Rig::new(Settings { max_queue_bytes: 8 * RECORD, ..settings() });
    rig.push(3);
    rig.step();
    assert_eq!(rig.requests().len(), 0, "neither old nor half full");
    rig.push(1);
    rig.step();
    assert_eq!(rig.requests(), [[0, 1, 2, 3]]);
    rig.push(4);
    rig.step();
    assert_eq!(rig.dropped(DropReason::QueueFull), 0, "there was room while the first was under way");
    rig.peer.answer_status(200);
    rig.peer.answer_status(200);
    rig.step();
    assert_eq!((rig.stats().exported, rig.requests().len()), (8, 2));

    let mut rig = Rig::new(Settings { max_queue_bytes: 1, ..settings() });
    rig.step();
    assert_eq!((rig.requests().len(), rig.sink.interest(rig.now).wake_at), (0, None));
}
