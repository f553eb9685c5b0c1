//! What a drain copied out.

use bytemuck::Zeroable;
use pytracingx::batch::Batch;
use pytracingx::record::{Header, flag, kind};

#[test]
fn an_oversized_payload_waits_for_its_record() {
    let mut batch = Batch::default();
    let header = Header { kind: kind::SPAN, flags: flag::OVERSIZE, ..Header::zeroed() };
    batch.push(header, &1_u64.to_ne_bytes());
    batch.add_oversize(2, Box::from(&b"second"[..]));
    batch.add_oversize(1, Box::from(&b"first"[..]));
    assert_eq!(batch.spans().next().unwrap().payload, b"first");
    batch.clear();
    batch.shrink();
    batch.push(header, &2_u64.to_ne_bytes());
    assert_eq!(batch.spans().next().unwrap().payload, b"second");
    batch.clear();
    batch.push(header, &2_u64.to_ne_bytes());
    assert_eq!(batch.spans().next().unwrap().payload, b"", "given out once");
}
