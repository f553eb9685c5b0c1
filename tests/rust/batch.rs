//! What a batch keeps from drain to drain: oversized payloads whose record is still to come.

use bytemuck::Zeroable;
use pytracingx::batch::Batch;
use pytracingx::record::{Header, flag, kind};

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
