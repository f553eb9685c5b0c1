//! The promise of the hot path: after warm-up a recording thread allocates nothing. Every allocation of the process goes
//! through the allocator below, which counts those of the recording thread.

#![expect(unsafe_code, reason = "a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use pytracingx::attrs::{self, Items, Link, Text, Value};
use pytracingx::batch::Batch;
use pytracingx::config::SamplerConfig;
use pytracingx::emit::{
    self, CountedBatch, Inherited, Intake, LiveSpan, LogRecord, Measurement, Parent, SpanBatch, SpanIds,
    Start, StatusUpdate, Thread, Times,
};
use pytracingx::generation::arrivals::{EXACT, RUN};
use pytracingx::generation::names::Names;
use pytracingx::generation::step::{Known, Loop, Step};
use pytracingx::generation::{Begin, Generation};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::instruments::Definition;
use pytracingx::intern::{Interner, Scope};
use pytracingx::lane::{Drainer, Lanes};
use pytracingx::record::{InstrumentKind, Number, SpanKind, StatusCode};
use pytracingx::sampler::Sampler;
use pytracingx::stats::DropCounts;
use pytracingx::sys::ticks;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // Fails in a thread that is past its destructors, which is none that we ask about.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: hands every call on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SESSION: u64 = 1;
const ROUNDS: usize = 20;
const TREES: usize = 500;
const BATCH: usize = 32;
const BATCHES: usize = 20;
const SPANS: usize = TREES * SPANS_OF_A_TREE + BATCHES * BATCH;
const SPANS_OF_A_TREE: usize = 5;
const MEASUREMENTS: usize = TREES * 3;
const LOGS: usize = TREES * 2;

fn with<R>(f: impl FnOnce(&mut Thread) -> R) -> R {
    emit::with(emit::session(), f).expect("there is a session")
}

/// Published with a lane for the calling threads; the other end comes back.
fn session() -> (Arc<Intake>, Drainer) {
    let lanes = Lanes::new(32 << 20, 64 << 20).unwrap();
    let drainer = lanes.drainer().unwrap();
    let intake = Arc::new(Intake {
        strings: Arc::new(Interner::default()),
        sampler: Sampler::new(&[SamplerConfig::AlwaysOn]),
        ..Intake::new(SESSION, lanes)
    });
    emit::publish(Arc::clone(&intake));
    (intake, drainer)
}

/// What the Python calls do once their arguments are converted: a request with a span inside it and three more that
/// show every other thing a span can hold. Names and keys are looked up each time.
fn record_tree(index: usize, event: &[u8]) {
    let name = |text: &'static str| match with(|thread| thread.intake.strings.intern(text.as_bytes())) {
        Some(id) => Text::Id(id),
        None => Text::Inline(text.as_bytes()),
    };
    let start = |span_name: Text<'_>, parent: Option<&Parent>| {
        let start = Start {
            name: span_name,
            kind: SpanKind::Server,
            scope: 0,
            parent,
            start_unix_nano: None,
            ids: None,
        };
        with(|thread| LiveSpan::start(thread, &start))
    };
    let set = |span: &mut LiveSpan, key: &'static str, value: Value<'_>| {
        let key = name(key);
        with(|thread| span.set_attribute(thread, key, value));
    };
    let end = |span: &mut LiveSpan| with(|thread| span.end(thread, None));

    let mut request = start(name("request"), None);
    set(&mut request, "http.request.method", Value::Str(b"POST"));
    set(&mut request, "http.response.status_code", Value::Int(200));
    let parent = request.context.clone();

    let mut decode = start(name("decode_step"), Some(&parent));
    set(&mut decode, "gen_ai.request.model", Value::Str(b"qwen3-8b"));
    set(&mut decode, "batch_size", Value::Int(index as i64));
    set(&mut decode, "kv_cache_usage", Value::Double(0.5));
    let token = name("token");
    with(|thread| decode.add_event(thread, token, None, event, 0));
    end(&mut decode);

    // Never the same twice, so always inline.
    let mut unique = *b"request 0000000000, whose name holds an id";
    for (digit, place) in (8..18).rev().enumerate() {
        unique[place] = b'0' + (index / 10_usize.pow(digit as u32) % 10) as u8;
    }
    let mut inline = start(Text::Inline(&unique), Some(&parent));
    with(|thread| inline.set_attribute(thread, Text::Inline(&unique), Value::Bool(true)));
    end(&mut inline);

    let mut failed = start(name("tool_call"), Some(&parent));
    let link = Link {
        trace_id: TraceId([7; 16]),
        span_id: SpanId([7; 8]),
        flags: 1,
        dropped_attributes: 0,
        trace_state: b"vendor=1",
        attributes: Items::new(event),
    };
    with(|thread| {
        failed.add_link(thread, &link);
        failed.update_name(thread, Text::Inline(b"tool_call, renamed"));
        failed.set_status(thread, StatusUpdate { code: StatusCode::Error, description: b"it broke" });
    });
    set(&mut failed, "prompt", Value::Str(&[b'x'; 4096]));
    set(&mut failed, "prompt", Value::Str(&[b'y'; 1024]));
    end(&mut failed);

    let mut bare = start(name("bare"), Some(&parent));
    end(&mut bare);
    end(&mut request);
}

fn counter(name: &str) -> Definition {
    let scope = Scope { name: "no_alloc".to_owned(), version: String::new(), schema_url: String::new() };
    let (unit, description) = (String::new(), String::new());
    let (kind, boundaries, exponential_max_size) = (InstrumentKind::Counter, None, None);
    Definition { scope, name: name.to_owned(), unit, description, kind, boundaries, exponential_max_size }
}

/// A measurement without attributes, with some, and of a bound handle.
fn measure(index: usize, instrument: u32, binding: u32) {
    let span = SpanIds { trace_id: TraceId([7; 16]), span_id: SpanId([7; 8]), flags: 1 };
    let value = Number::Int(index as i64);
    let measurement = Measurement { instrument, binding: 0, value, span, ticks: 1 };
    with(|thread| {
        thread.measure(&measurement, &[]);
        thread.measure(&Measurement { binding, value: Number::Double(0.5), ..measurement }, &[]);
        let key = thread.intake.strings.intern(b"http.route").map_or(Text::Inline(b"http.route"), Text::Id);
        let mut items = thread.take_items();
        attrs::put_attribute(&mut items, key, Value::Str(b"/v1/chat/completions"));
        attrs::put_attribute(&mut items, Text::Inline(b"index"), Value::Int(index as i64));
        thread.measure(&measurement, &items);
        thread.return_items(items);
    });
}

/// A batch of finished spans: numbers, texts and a constant.
fn record_batch(index: usize, parent: &Parent) {
    record_batch_of(BATCH, index, parent);
}

/// `recorded`: what has room.
fn record_batch_of(recorded: usize, index: usize, parent: &Parent) {
    let name = |thread: &Thread, text: &'static [u8]| match thread.intake.strings.intern(text) {
        Some(id) => Text::Id(id),
        None => Text::Inline(text),
    };
    with(|thread| {
        let mut rows = thread.take_rows();
        for row in 0..BATCH {
            rows.add(thread, row, parent);
        }
        if let Text::Id(tokens) = name(thread, b"tokens") {
            let (indices, numbers) = rows.indices_and_numbers();
            let from = numbers.len();
            numbers.extend(indices.map(|row| (row + index) as u64));
            rows.add_numbers(tokens, false, from);
        }
        rows.add_value(name(thread, b"gen_ai.request.model"), Value::Str(b"qwen3-8b"));
        let key = name(thread, b"text");
        let mut column = rows.item_column();
        while let Some(row) = column.next_index() {
            column.put(|items| attrs::put_attribute(items, key, Value::Str(&[b'x'; 100][..row])));
        }
        column.finish();
        let (start, end) = (Times::One(1), Times::One(2));
        let batch =
            SpanBatch { name: name(thread, b"decode"), kind: SpanKind::Internal, scope: 0, start, end };
        assert!(thread.record_rows(&batch, &mut rows) >= recorded);
        thread.return_rows(rows);
    });
}

/// A log record that is a text alone, and one with everything.
fn log(index: usize) {
    let record = LogRecord { severity_number: 9, scope: 0, span: SpanIds::default(), unix_nano: None };
    with(|thread| {
        let mut items = thread.take_items();
        attrs::put_body(&mut items, Value::Str(b"order stored"));
        thread.log(&record, items);

        let mut items = thread.take_items();
        attrs::put_text_item(&mut items, attrs::tag::SEVERITY_TEXT, b"NOTICE");
        attrs::put_body(&mut items, Value::Str(&[b'x'; 2048]));
        attrs::put_attribute(&mut items, Text::Inline(b"index"), Value::Int(index as i64));
        thread.log(&LogRecord { unix_nano: Some(1), ..record }, items);
    });
}

/// Allocations of a generation's first tokens, of many later ones, and of steps, when all has been done once.
fn generation() -> [usize; 3] {
    let start = Start {
        name: Text::Inline(b"chat"),
        kind: SpanKind::Server,
        scope: 0,
        parent: None,
        start_unix_nano: None,
        ids: None,
    };
    let begin = Begin {
        start,
        operation: b"chat",
        provider: b"vllm",
        model: b"qwen3-8b",
        input_tokens: None,
        names: Names::Latest,
        detail: None,
        detail_if_slower_than_nano: 0,
    };
    let mut generation = with(|thread| Generation::begin(thread, &begin));
    let allocations = |work: &mut dyn FnMut()| {
        let before = ALLOCATIONS.get();
        work();
        ALLOCATIONS.get() - before
    };
    let first = allocations(&mut || (0..EXACT).for_each(|_| generation.token()));
    (0..=RUN).for_each(|_| generation.token());
    let later = allocations(&mut || (0..20 * RUN).for_each(|_| generation.token()));
    assert_eq!(generation.tokens(), (EXACT + 21 * RUN + 1) as u64);
    generation.discard();

    let known = with(|thread| Known::of(thread, b"decode", Names::Latest, &[]));
    let parent = with(|thread| LiveSpan::start(thread, &begin.start).context.clone());
    let mut turns = Loop::default();
    let mut step = |_| {
        let mut step = Step::NONE;
        step.fields[0] = Some(Number::Int(8));
        let turn = turns.begin(1, ticks::monotonic_nano());
        with(|thread| {
            step.begin(thread, turn, known.clone(), None);
            let name = thread.intake.strings.intern_now(b"vllm.request.step").expect("room for names");
            let text = Text::Id(name);
            let (kind, start, end) = (SpanKind::Internal, 1, 2);
            let rows =
                CountedBatch { name: text, kind, scope: 0, start, end, constants: None, key: Some(name) };
            let inherited = Inherited::of(&parent, &thread.intake);
            thread.record_counted(&rows, (0..BATCH).map(|row| (&inherited, &parent, Some(row as i64))));
        });
        let now = ticks::monotonic_nano();
        assert!(with(|thread| step.end(thread, now, None)));
        turns.end(now);
    };
    step(0);
    [first, later, allocations(&mut || (0..100).for_each(&mut step))]
}

/// Allocations of spans, batches and log records that find the lane full, when each has done so once.
fn full(intake: &Intake, event: &[u8], parent: &Parent) -> usize {
    while DropCounts::read(&intake.counters.logs_dropped).total() == 0 {
        log(0);
    }
    let round = |index| {
        record_tree(index, event);
        log(index);
        record_batch_of(0, index, parent);
    };
    round(0);
    let before = ALLOCATIONS.get();
    (0..TREES).for_each(round);
    ALLOCATIONS.get() - before
}

fn main() {
    let (intake, mut drainer) = session();
    let instrument = intake.instruments.register(&counter("requests")).expect("room for one").id;
    let mut bound = Vec::new();
    attrs::put_attribute(&mut bound, Text::Inline(b"model"), Value::Str(b"qwen3-8b"));
    let binding = intake.instruments.bind(instrument, &bound).expect("room for one");
    let (recorded, is_recorded) = sync_channel(0);
    let (drained, is_drained) = sync_channel(0);
    let counted = Arc::clone(&intake);
    let recording = thread::spawn(move || {
        let mut event = Vec::new();
        attrs::put_attribute(&mut event, Text::Inline(b"index"), Value::Int(1));
        let parent = Parent {
            trace_id: TraceId([7; 16]),
            span_id: SpanId([7; 8]),
            trace_flags: 1,
            is_remote: true,
            trace_state: Some("vendor=1".into()),
            ..Parent::NONE
        };
        let mut counts = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let before = ALLOCATIONS.get();
            for index in 0..TREES {
                record_tree(round * TREES + index, &event);
                measure(index, instrument, binding);
                log(index);
            }
            for index in 0..BATCHES {
                record_batch(index, &parent);
            }
            counts.push(ALLOCATIONS.get() - before);
            recorded.send(()).unwrap();
            is_drained.recv().unwrap();
        }
        let of_a_generation = generation();
        let lost = [&counted.counters.spans_dropped, &counted.counters.logs_dropped]
            .map(|dropped| DropCounts::read(dropped).total());
        (counts, of_a_generation, lost, full(&counted, &event, &parent))
    });
    let mut batch = Batch::default();
    for round in 0..ROUNDS {
        is_recorded.recv().unwrap();
        let into = RefCell::new(&mut batch);
        drainer.drain(&mut |run| into.borrow_mut().extend(run), &mut |ticket, payload| {
            into.borrow_mut().add_oversize(ticket, payload);
        });
        let found = (batch.span_count(), batch.measurement_count(), batch.log_count());
        assert_eq!(found, (SPANS, MEASUREMENTS, LOGS), "recorded in round {round}");
        batch.clear();
        drained.send(()).unwrap();
    }
    let (counts, of_a_generation, lost, of_a_full_lane) = recording.join().expect("the recording thread");
    emit::retract();
    assert_eq!(lost, [0, 0], "spans or log records lost");
    assert_eq!(of_a_full_lane, 0, "allocations with a full lane");
    let (warm_up, later) = counts.split_first().expect("some rounds");
    assert!(*warm_up > 0, "the first round allocates its storage; this counter counts nothing");
    assert!(later.iter().all(|count| *count == 0), "allocations by round of {TREES} requests: {counts:?}");
    // 64, 128, … 4,096 arrivals.
    assert_eq!(of_a_generation, [7, 0, 0], "allocations of {EXACT} tokens, of 20 runs more, of 100 steps");
}
