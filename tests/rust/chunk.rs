//! Chunks and parts: records are cut and joined without touching a byte of them.

use std::sync::Arc;

use pytracingx::encode::chunk::{Chunk, Part, ScopeBytes};

fn scope(name: &str) -> Arc<ScopeBytes> {
    Arc::new(ScopeBytes { scope: name.into(), schema_url: String::new() })
}

/// Records `aa`, `b`, `ccc`, `d`, `ee`; scope x for the first two, y for the third, z for the rest.
fn chunk() -> Arc<Chunk> {
    Arc::new(Chunk {
        bytes: b"aabcccdee".to_vec(),
        ends: vec![2, 3, 6, 7, 9],
        points: vec![],
        runs: vec![(0, scope("x")), (2, scope("y")), (3, scope("z"))],
    })
}

fn runs(part: &Part) -> Vec<String> {
    let run = |(scope, bytes): (&ScopeBytes, &[u8])| {
        format!("{}:{}", String::from_utf8_lossy(&scope.scope), String::from_utf8_lossy(bytes))
    };
    part.runs().map(run).collect()
}

#[test]
fn any_range_of_records_is_a_slice() {
    let chunk = chunk();
    assert_eq!(chunk.len(), 5);
    assert_eq!(chunk.slice(0..5), b"aabcccdee");
    assert_eq!(chunk.slice(1..4), b"bcccd");
    assert_eq!(chunk.slice(3..3), b"");
    assert_eq!(chunk.size_of(2..3), 3);
}

#[test]
fn parts_know_the_scopes_of_their_records() {
    let chunk = chunk();
    let part = |records| Part { chunk: chunk.clone(), records };
    assert_eq!(runs(&part(0..5)), ["x:aab", "y:ccc", "z:dee"]);
    assert_eq!(runs(&part(1..4)), ["x:b", "y:ccc", "z:d"]);
    assert_eq!(runs(&part(2..3)), ["y:ccc"]);
    assert_eq!(runs(&part(4..5)), ["z:ee"]);
    assert_eq!(runs(&part(3..3)), [""; 0]);
    assert_eq!(runs(&Part { chunk: Arc::default(), records: 0..0 }), [""; 0]);
    assert_eq!(part(1..4).bytes(), 5);
}

#[test]
fn metric_messages_count_as_their_points() {
    let chunk = chunk();
    assert_eq!((chunk.count(1..4), chunk.count(3..3)), (3, 0));
    let points = vec![7, 1, 2, u32::MAX, u32::MAX];
    let chunk =
        Arc::new(Chunk { bytes: chunk.bytes.clone(), ends: chunk.ends.clone(), points, runs: vec![] });
    assert_eq!((chunk.count(0..3), chunk.count(3..3)), (10, 0));
    assert_eq!(Part { chunk, records: 2..5 }.count(), 2 + 2 * u64::from(u32::MAX));
}
