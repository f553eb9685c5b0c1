//! What a batch makes of the records it is given, and keeps from drain to drain: spans and measurements that share a record,
//! oversized payloads whose record is still to come.

use std::collections::HashSet;

use bytemuck::Zeroable;
use pytracingx::attrs;
use pytracingx::batch::Batch;
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::record::shared::{CountedSpan, MEASURED_MAX, Measured};
use pytracingx::record::{Header, Number, SLOT_BYTES, StrId, flag, kind};

fn add_record(batch: &mut Batch, ticket: u64) {
    let header = Header { kind: kind::SPAN, flags: flag::OVERSIZE, ..Header::zeroed() };
    batch.push(header, &ticket.to_ne_bytes());
}

#[test]
fn a_payload_waits_for_its_record() {
    let mut batch = Batch::default();
    batch.add_oversize(7, Box::from(*b"later"));
    batch.add_oversize(8, Box::from(*b"now"));
    add_record(&mut batch, 8);
    assert_eq!(batch.span(0).payload, b"now");

    batch.clear();
    batch.shrink();
    assert_eq!((batch.is_empty(), batch.byte_len()), (true, b"later".len()));
    add_record(&mut batch, 7);
    add_record(&mut batch, 8);
    let payloads: Vec<_> = batch.spans().map(|span| span.payload).collect();
    assert_eq!(payloads, [&b"later"[..], b""]);

    batch.clear();
    assert_eq!(batch.byte_len(), 0);
}

#[test]
fn payloads_that_nobody_claims_are_bounded_and_the_newest_stay() {
    let mut batch = Batch::default();
    for ticket in 0..10_000 {
        batch.add_oversize(ticket, Box::from([1; 10]));
        batch.clear();
    }
    assert_eq!(batch.byte_len(), 256 * 10);
    add_record(&mut batch, 9_999);
    add_record(&mut batch, 9_000);
    assert_eq!(batch.span(0).payload, [1; 10]);
    assert_eq!(batch.span(1).payload, b"");
}

/// As a lane hands it out.
fn run_of(records: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut run = Vec::new();
    for (header, payload) in records {
        let end = run.len() + SLOT_BYTES * Header::slots_for(payload.len());
        run.extend(bytemuck::bytes_of(&Header { payload_bytes: payload.len() as u32, ..*header }));
        run.extend(payload);
        run.resize(end, 0);
    }
    run
}

fn counted_spans(count: u8, key: StrId) -> (Header, Vec<u8>) {
    let span = |index| CountedSpan {
        trace_id: TraceId([index; 16]),
        parent_span_id: SpanId([index; 8]),
        number: -i64::from(index),
    };
    let spans: Vec<CountedSpan> = (1..=count).map(span).collect();
    let mut header = Header {
        kind: kind::COUNTED_SPANS,
        mask: 5,
        name: StrId(9),
        flags: 1,
        span_id: SpanId([key.0 as u8 + 1; 8]),
        start: 10,
        end: 20,
        ..Header::zeroed()
    };
    CountedSpan::set_key(&mut header, key);
    (header, bytemuck::cast_slice(&spans).to_vec())
}

#[test]
fn spans_that_share_a_record_become_records_of_their_own_behind_the_others() {
    let (numbered, plain) = (StrId(77), StrId::NONE);
    let alone = Header { kind: kind::SPAN, end: 1, ..Header::zeroed() };
    let mut batch = Batch::default();
    batch.extend(&run_of(&[
        (alone, vec![7; 3]),
        counted_spans(3, numbered),
        (alone, Vec::new()),
        counted_spans(2, plain),
    ]));
    assert_eq!(batch.span_count(), 7);
    assert_eq!((batch.span(0).payload, batch.span(1).payload), (&[7; 3][..], &[][..]));
    assert_eq!((batch.span(0).header.end, batch.span(1).header.end), (1, 1));
    let mut ids = HashSet::new();
    for (at, index, key) in
        [(2, 1, numbered), (3, 2, numbered), (4, 3, numbered), (5, 1, plain), (6, 2, plain)]
    {
        let span = batch.span(at);
        let header = span.header;
        assert_eq!((header.kind, header.mask, header.flags), (kind::SPAN, 5, 1));
        assert_eq!((header.name, header.start, header.end), (StrId(9), 10, 20));
        assert_eq!((header.trace_id.0, header.parent_span_id.0), ([index; 16], [index; 8]));
        assert!(header.span_id.is_valid() && ids.insert(header.span_id.0));
        let number = attrs::number_item(numbered, Number::Int(-i64::from(index)));
        assert_eq!(span.payload, if key == plain { &[][..] } else { &number });
    }
}

#[test]
fn measurements_that_share_a_record_become_records_of_their_own() {
    let row = |instrument, bits| Measured { instrument, binding: instrument + 100, bits };
    let rows = [row(1, 5), row(2, 0.5_f64.to_bits()), row(3, 7), row(4, 2.0_f64.to_bits())];
    let (doubles, timed, in_span) = (0b1010, 0b1100, 0b1000);
    let header = Header {
        kind: kind::MEASUREMENTS,
        mask: doubles,
        name: StrId(timed | in_span << MEASURED_MAX),
        flags: 1,
        trace_id: TraceId([3; 16]),
        span_id: SpanId([4; 8]),
        start: 99,
        ..Header::zeroed()
    };
    let mut batch = Batch::default();
    batch.extend(&run_of(&[(header, bytemuck::cast_slice(&rows).to_vec())]));
    let found: Vec<_> = batch
        .measurements()
        .map(|found| {
            assert_eq!(found.payload, b"");
            let Header { name, start, flags, trace_id, span_id, parent_span_id, .. } = *found.header;
            let binding = u64::from_ne_bytes(parent_span_id.0);
            (name.0, binding, found.header.number(), start, (flags, trace_id, span_id))
        })
        .collect();
    let (nowhere, here) = ((0, TraceId::NONE, SpanId::NONE), (1, TraceId([3; 16]), SpanId([4; 8])));
    let expected = [
        (1, 101, Number::Int(5), 0, nowhere),
        (2, 102, Number::Double(0.5), 0, nowhere),
        (3, 103, Number::Int(7), 99, nowhere),
        (4, 104, Number::Double(2.0), 99, here),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_record_that_is_left_out_says_how_many_it_held() {
    let mut batch = Batch::default();
    let (header, payload) = counted_spans(3, StrId(77));
    batch.copy(&run_of(&[(header, payload)]));
    assert_eq!(batch.skip().map(|header| header.count()), Some(3));
    assert!(!batch.has_more() && batch.skip().is_none());
}
