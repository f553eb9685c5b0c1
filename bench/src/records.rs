//! The records that benchmarks of the exporter's side begin with, in a lane as recording threads leave them there: names
//! and keys interned, values inline.

use pytracingx::attrs::{self, Text, Value};
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::encode::Lookup;
use pytracingx::ids::{IdGenerator, SpanId};
use pytracingx::intern::Interner;
use pytracingx::lane::{Drainer, Lanes, Producer};
use pytracingx::record::{Header, SpanKind, StatusCode, StrId, kind};

/// What records look things up in.
pub(crate) struct Session {
    pub(crate) strings: Interner,
    timeline: Timeline,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self { strings: Interner::default(), timeline: Timeline::identity() }
    }

    pub(crate) fn lookup(&self) -> Lookup<'_> {
        Lookup { strings: &self.strings, timeline: &self.timeline }
    }

    pub(crate) fn intern(&self, text: &str) -> StrId {
        self.strings.intern_now(text.as_bytes()).expect("room for a few texts")
    }
}

/// A record and its items.
pub(crate) type Record = (Header, Vec<u8>);

/// A lane between the records and the exporter's batch.
pub(crate) struct Source {
    records: Vec<Record>,
    producer: Producer,
    drainer: Drainer,
    pub(crate) batch: Batch,
}

impl Source {
    pub(crate) fn new(records: Vec<Record>) -> Self {
        let lanes = Lanes::new(32 << 20, 64 << 20).expect("address space");
        let drainer = lanes.drainer().expect("the first drainer");
        Self { records, producer: lanes.attach(), drainer, batch: Batch::default() }
    }

    /// What recording threads do: every record into the lane.
    pub(crate) fn record(&mut self) {
        for (header, items) in &self.records {
            self.producer.push(header, items).expect("room for a round");
        }
    }

    /// What the exporter begins with: the batch is what was in the lane.
    pub(crate) fn drain(&mut self) {
        let Self { drainer, batch, .. } = self;
        batch.clear();
        drainer.drain(&mut |run| batch.extend(run), &mut |_, _| {});
    }
}

/// Spans of one trace, each the parent of the next, with three attributes.
pub(crate) fn spans(count: usize, session: &Session) -> Vec<Record> {
    let mut ids = IdGenerator::from_seed(std::array::from_fn(|at| at as u8));
    let name = session.intern("decode_step");
    let keys = keys(session);
    let trace_id = ids.trace_id();
    let mut parent_span_id = SpanId::NONE;
    let span = |index: u64| {
        let items = three_attributes(Vec::new(), &keys, index);
        let span_id = ids.span_id();
        let header = Header {
            kind: kind::SPAN,
            detail: Header::span_detail(SpanKind::Internal, StatusCode::Unset),
            mask: 1,
            payload_bytes: items.len() as u32,
            name,
            scope: 0,
            flags: 1,
            trace_id,
            span_id,
            parent_span_id,
            start: 1_700_000_000_000_000_000 + index,
            end: 1_700_000_000_000_500_000 + index,
        };
        parent_span_id = span_id;
        (header, items)
    };
    (0..count as u64).map(span).collect()
}

/// Log records in a span, with a body and three attributes, or none.
pub(crate) fn logs(count: usize, session: &Session, with_attributes: bool) -> Vec<Record> {
    let mut ids = IdGenerator::from_seed(std::array::from_fn(|at| at as u8));
    let keys = keys(session);
    let (trace_id, span_id) = (ids.trace_id(), ids.span_id());
    let log = |index: u64| {
        let mut items = Vec::new();
        attrs::put_body(&mut items, Value::Str(b"request finished"));
        if with_attributes {
            items = three_attributes(items, &keys, index);
        }
        let header = Header {
            kind: kind::LOG,
            detail: 9,
            mask: 0,
            payload_bytes: items.len() as u32,
            name: StrId::NONE,
            scope: 0,
            flags: 1,
            trace_id,
            span_id,
            parent_span_id: SpanId::NONE,
            start: 1_700_000_000_000_000_000 + index,
            end: 1_700_000_000_000_000_000 + index,
        };
        (header, items)
    };
    (0..count as u64).map(log).collect()
}

fn keys(session: &Session) -> [Text<'static>; 3] {
    ["gen_ai.request.model", "batch_size", "kv_cache_usage"].map(|key| Text::Id(session.intern(key)))
}

fn three_attributes(mut items: Vec<u8>, keys: &[Text<'_>; 3], index: u64) -> Vec<u8> {
    attrs::put_attribute(&mut items, keys[0], Value::Str(b"qwen3-8b"));
    attrs::put_attribute(&mut items, keys[1], Value::Int(index as i64));
    attrs::put_attribute(&mut items, keys[2], Value::Double(0.5));
    items
}
