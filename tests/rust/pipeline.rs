//! From a recording thread to a collector on a socket, decoded by the official protobuf code. Sessions and forks are
//! process-wide, so each test runs alone in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytemuck::Zeroable;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use pytracingx::attrs::{Text, Value};
use pytracingx::config::{Config, ConsoleFormat, SamplerConfig};
use pytracingx::emit::{self, LiveSpan, Start};
use pytracingx::encode::chunk::Part;
use pytracingx::encode::otlp;
use pytracingx::exporter::console::{Console, Layout, Shown};
use pytracingx::exporter::dialect::Otlp;
use pytracingx::exporter::flush::Goal;
use pytracingx::exporter::request::Settings;
use pytracingx::exporter::sink::Sink;
use pytracingx::exporter::{self, Shared, Sinks};
use pytracingx::ids::SpanId;
use pytracingx::lane::Lanes;
use pytracingx::limits::SpanLimits;
use pytracingx::log_routes::LogRoutes;
use pytracingx::record::{Header, SpanKind, kind};
use pytracingx::session;
use pytracingx::stats::{DropReason, SinkState, SinkStats, Snapshot};
use pytracingx::transport::memory::Memory;

use crate::pipeline_rig::{
    Collector, LONG, alone, closed_port, config, flush, record, record_named, run_alone, shutdown, sink,
    stats, wait_until,
};

macro_rules! alone {
    ($($name:ident $body:block)*) => {
        $(
            #[test]
            fn $name() {
                run_alone(concat!("pipeline::in_own_process::", stringify!($name)));
            }
        )*
        mod in_own_process {
            use super::*;
            $(
                #[test]
                #[ignore = "run by the test of the same name in a process of its own"]
                fn $name() $body
            )*
        }
    };
}

alone! {
    every_span_of_every_thread_arrives_once {
        let collector = Collector::start();
        session::init(config(vec![collector.sink()])).unwrap();
        thread::scope(|scope| {
            for first in 0..4 {
                scope.spawn(move || record(first * 10_000..(first + 1) * 10_000));
            }
        });
        assert!(flush(LONG));
        assert_eq!(collector.numbers(), (0..40_000).collect::<Vec<_>>());
        let stats = stats();
        assert_eq!((stats.spans_recorded, stats.spans_dropped.total()), (40_000, 0));
        assert_eq!((stats.trace_sinks[0].exported, stats.trace_sinks[0].held_bytes), (40_000, 0));
        assert!(stats.trace_sinks[0].requests >= 40_000 / 512);
        let ids: std::collections::HashSet<_> =
            collector.spans.lock().unwrap().iter().map(|span| span.span_id.clone()).collect();
        assert_eq!(ids.len(), 40_000);
        assert!(shutdown(LONG));
    }

    spans_are_sent_without_being_asked_for {
        let collector = Collector::start();
        let mut sink = collector.sink();
        sink.batch.schedule_delay_ms = 20;
        session::init(config(vec![sink])).unwrap();
        record(0..3);
        wait_until(|| collector.numbers().len() == 3);
    }

    an_endpoint_that_hangs_delays_nobody_else {
        let hanging = TcpListener::bind("127.0.0.1:0").unwrap(); // accepts, never reads
        let collector = Collector::start();
        let hung = sink(hanging.local_addr().unwrap().port());
        session::init(config(vec![hung, collector.sink()])).unwrap();
        record(0..2000);
        wait_until(|| collector.numbers().len() >= 1536);
        let start = Instant::now();
        assert!(!flush(Duration::from_millis(300)));
        assert!(start.elapsed() < Duration::from_millis(1300));
        assert_eq!(collector.numbers().len(), 2000);
        let stats = stats();
        assert_eq!((stats.trace_sinks[0].held_records, stats.trace_sinks[0].state), (2000, SinkState::Sending));
        assert!(!shutdown(Duration::from_millis(100)));
    }

    an_outage_costs_nothing_once_it_is_over {
        let port = closed_port();
        session::init(config(vec![sink(port)])).unwrap();
        record(0..100);
        assert!(!flush(Duration::from_millis(200)));
        assert_eq!(stats().trace_sinks[0].held_records, 100);
        let collector = Collector::on(TcpListener::bind(("127.0.0.1", port)).unwrap());
        assert!(flush(LONG), "tried at once, past its wait");
        assert_eq!(collector.numbers(), (0..100).collect::<Vec<_>>());
        assert!(shutdown(LONG));
    }

    what_cannot_be_sent_by_shutdown_is_counted {
        session::init(config(vec![sink(closed_port())])).unwrap();
        record(0..100);
        let start = Instant::now();
        assert!(!session::shutdown_at_exit(&mut || false));
        assert!(start.elapsed() < Duration::from_millis(2000), "two refused connections are enough");
        assert!(!session::is_initialized());
        assert_eq!(stats().trace_sinks[0].dropped.get(DropReason::Shutdown), 100);
        assert!(!shutdown(LONG), "the same end");
        assert!(flush(LONG), "nothing to do any more");
        record(0..100);
    }

    a_final_refusal_counts_as_dealt_with {
        let collector = Collector::start();
        collector.answers.lock().unwrap().push_back(401);
        session::init(config(vec![collector.sink()])).unwrap();
        record(0..5);
        assert!(flush(LONG));
        assert_eq!(stats().trace_sinks[0].dropped.get(DropReason::Refused), 5);
        assert_eq!(stats().trace_sinks[0].last_error.as_deref(), Some("HTTP 401"));
        assert!(shutdown(LONG));
    }

    a_full_queue_makes_a_flush_false {
        let port = closed_port();
        let mut small = sink(port);
        small.batch.max_queue = Some(60);
        session::init(config(vec![small])).unwrap();
        record(0..100);
        assert!(!flush(Duration::from_millis(100)));
        let collector = Collector::on(TcpListener::bind(("127.0.0.1", port)).unwrap());
        assert!(flush(LONG));
        assert_eq!(collector.numbers(), (0..60).collect::<Vec<_>>());
        assert_eq!(stats().trace_sinks[0].dropped.get(DropReason::QueueFull), 40);
        assert!(shutdown(LONG));
    }

    each_sink_gets_what_it_wants_cut_to_its_limits {
        let (all, none, cut) = (Collector::start(), Collector::start(), Collector::start());
        let mut without = none.sink();
        without.sampler = SamplerConfig::AlwaysOff;
        let mut limited = cut.sink();
        limited.limits.attributes = 1;
        session::init(config(vec![all.sink(), without, limited])).unwrap();
        let start = Start {
            name: Text::Inline(b"1"),
            kind: SpanKind::Server,
            scope: 0,
            parent: None,
            start_unix_nano: None,
            ids: None,
        };
        emit::with(emit::session(), |thread| {
            let mut span = LiveSpan::start(thread, &start);
            span.set_attribute(thread, Text::Inline(b"a"), Value::Int(1));
            span.set_attribute(thread, Text::Inline(b"b"), Value::Int(2));
            span.end(thread, None);
        });
        assert!(flush(LONG));
        let counts = |collector: &Collector| {
            let spans = collector.spans.lock().unwrap();
            spans.iter().map(|span| (span.attributes.len(), span.dropped_attributes_count)).collect::<Vec<_>>()
        };
        assert_eq!((counts(&all), counts(&none), counts(&cut)), (vec![(2, 0)], vec![], vec![(1, 1)]));
        let wanted: Vec<u64> = stats().trace_sinks.iter().map(|sink| sink.wanted).collect();
        assert_eq!(wanted, [1, 0, 1]);
        assert!(shutdown(LONG));
    }

    oversized_records_arrive_whole {
        let collector = Collector::start();
        session::init(config(vec![collector.sink()])).unwrap();
        let name = vec![b'x'; 6 << 20];
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    record_named(&name);
                    record_named(b"small");
                });
            }
        });
        assert!(flush(LONG));
        let mut lengths: Vec<usize> = collector.spans.lock().unwrap().iter().map(|span| span.name.len()).collect();
        lengths.sort_unstable();
        assert_eq!(lengths, [5, 5, 6 << 20, 6 << 20]);
        assert!(shutdown(LONG));
    }

    a_session_follows_another {
        let (first, second) = (Collector::start(), Collector::start());
        session::init(config(vec![first.sink()])).unwrap();
        assert!(session::init(config(vec![])).is_err(), "already initialized");
        record(0..10);
        assert!(shutdown(LONG));
        record(10..20);
        session::init(config(vec![second.sink()])).unwrap();
        record(20..30);
        assert!(shutdown(LONG));
        assert_eq!((first.numbers(), second.numbers()), ((0..10).collect(), (20..30).collect()));
    }

    sessions_leave_nothing_behind {
        let collector = Collector::start();
        let count = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
            + std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let mut before = 0;
        for round in 0..50 {
            session::init(config(vec![sink(closed_port())])).unwrap();
            record(0..1);
            shutdown(Duration::ZERO);
            wait_until(|| round < 5 || count() <= before);
            if round == 4 {
                before = count();
            }
        }
        drop(collector);
    }

    flushes_of_many_threads_are_all_answered {
        let collector = Collector::start();
        session::init(config(vec![collector.sink()])).unwrap();
        thread::scope(|scope| {
            for thread in 0..8 {
                let collector = &collector;
                scope.spawn(move || {
                    for number in 0..20 {
                        let number = thread * 100 + number;
                        record(number..number + 1);
                        assert!(flush(LONG));
                        assert!(collector.numbers().contains(&number), "it was recorded before the call");
                    }
                });
            }
        });
        assert!(shutdown(LONG));
    }

    a_caller_can_stop_waiting {
        let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
        session::init(config(vec![sink(hanging.local_addr().unwrap().port())])).unwrap();
        record(0..1);
        let mut asked = 0;
        let stopped = session::force_flush(LONG * 10, &mut || {
            asked += 1;
            asked == 2
        });
        assert!(!stopped && asked == 2);
        assert!(!session::shutdown(LONG * 10, &mut || true));
        assert!(!session::is_initialized());
    }

    a_disabled_session_does_nothing {
        session::init(Config { disabled: true, ..config(vec![sink(closed_port())]) }).unwrap();
        assert!(session::is_initialized() && emit::session() == 0);
        assert!(flush(LONG));
        assert_eq!(stats().trace_sinks.len(), 1);
        assert!(shutdown(LONG));
    }

    a_panic_costs_the_records_in_hand_only {
        let bare = Bare::start(1, |_, _, out| {
            static CALLS: AtomicUsize = AtomicUsize::new(0);
            assert!(CALLS.fetch_add(1, Ordering::Relaxed) > 0, "a bug of ours, once");
            out.clear();
        });
        let mut producer = bare.shared.lanes.attach();
        for expected in [false, true] {
            for _ in 0..3 {
                producer.push(&Header { kind: kind::SPAN, mask: 1, ..Header::zeroed() }, &[]).unwrap();
            }
            assert_eq!(bare.ask(Goal::Flush), Some(expected));
        }
        let stats = bare.shared.stats();
        assert_eq!((stats.exporter_restarts, stats.spans_recorded), (1, 6));
        let sink = &stats.trace_sinks[0];
        assert_eq!((sink.wanted, sink.exported, sink.dropped.get(DropReason::Internal)), (6, 3, 3));
        assert_eq!(bare.ask(Goal::Shutdown), Some(true));
        assert_eq!(bare.ask(Goal::Flush), Some(true), "the last word stands");
        bare.thread.join().unwrap();
    }

    any_mix_of_sinks_gets_its_spans {
        const SINKS: usize = 8;
        // Few distinct masks in the first round, more in the second than are told apart.
        let bare = Bare::start(SINKS, otlp::request);
        let mut producer = bare.shared.lanes.attach();
        let masks: [&[u8]; 2] = [&[0, 1, 0x81, 0xff], &std::array::from_fn::<u8, 256, _>(|mask| mask as u8)];
        for masks in masks {
            for (number, mask) in (0_u64..).zip(masks) {
                let header = Header {
                    kind: kind::SPAN,
                    mask: (*mask).into(),
                    span_id: SpanId(number.to_be_bytes()),
                    ..Header::zeroed()
                };
                producer.push(&header, &[]).unwrap();
            }
            assert_eq!(bare.ask(Goal::Flush), Some(true));
            for (bit, peer) in bare.peers.iter().enumerate() {
                let body = peer.requests().last().unwrap().body.clone();
                let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
                let spans = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                let arrived: Vec<u64> = spans
                    .flat_map(|scope| &scope.spans)
                    .map(|span| u64::from_be_bytes(span.span_id[..].try_into().unwrap()))
                    .collect();
                let wanted = (0..).zip(masks).filter(|(_, mask)| *mask >> bit & 1 == 1);
                assert_eq!(arrived, wanted.map(|(number, _)| number).collect::<Vec<u64>>());
            }
        }
        assert_eq!(bare.ask(Goal::Shutdown), Some(true));
    }
}

/// An exporter without a session, whose sinks accept everything.
struct Bare {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<()>,
    peers: Vec<Memory>,
}

impl Bare {
    fn start(sinks: usize, envelope: fn(&[u8], &[Part], &mut Vec<u8>)) -> Self {
        let lanes = Lanes::new(1 << 20, 1 << 20).unwrap();
        let peers: Vec<Memory> = (0..sinks).map(|_| Memory::default()).collect();
        let exchanges = peers.clone();
        let trace_sink = move |peer: Memory| -> (SpanLimits, Sink) {
            (0..10).for_each(|_| peer.answer_status(200));
            let config = sink(1);
            let settings = Settings {
                endpoint: "memory".into(),
                batch: config.batch,
                timeout: LONG,
                max_export_timeout: LONG,
                max_queue_bytes: config.transport.max_queue_bytes,
                dialect: Box::new(Otlp { envelope, ..Otlp::default() }),
                seed: 1,
            };
            (SpanLimits::default(), Sink::new(settings, Ok(Box::new(peer))))
        };
        let parts = exporter::Parts {
            drainer: lanes.drainer().unwrap(),
            strings: Arc::default(),
            counters: Arc::default(),
            recorded: exporter::Recorded {
                tallies: Arc::default(),
                instruments: Arc::default(),
                observations: Arc::default(),
                folds: Arc::default(),
            },
            sinks: Box::new(move || Sinks {
                traces: exchanges.into_iter().map(trace_sink).collect(),
                ..Sinks::default()
            }),
            log_routes: LogRoutes::default(),
            redactor: None,
            console: Console::new(Shown::default(), Layout { format: ConsoleFormat::Compact, color: false }),
            console_interval: LONG,
            sdk_metrics: false,
            diagnostics: false,
            warnings: vec![],
            probe: None,
        };
        let empty = Snapshot { trace_sinks: vec![SinkStats::default(); sinks], ..Snapshot::default() };
        let shared = Arc::new(Shared::new(lanes, empty));
        Self { thread: exporter::start(parts, shared.clone()).unwrap(), shared, peers }
    }

    fn ask(&self, goal: Goal) -> Option<bool> {
        let ticket = self.shared.asks.ask(goal, Instant::now() + LONG);
        self.shared.lanes.waker().wake();
        self.shared.asks.wait(&ticket, Instant::now() + LONG)
    }
}

#[test]
fn spans_appear_on_the_console_by_themselves() {
    let mut child =
        alone("pipeline::shows_spans").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines: Vec<String> =
        BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok).collect();
    let _ = child.wait();
    assert!(lines.iter().any(|line| line.contains("one")), "{lines:?}");
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("pytracingx: odd setting")).count(),
        1,
        "{lines:?}"
    );
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn shows_spans() {
    let mut config = Config { console_spans: true, ..config(vec![]) };
    config.warn("odd setting".to_owned());
    session::init(config).unwrap();
    record_named(b"one");
    wait_until(|| stats().console.entries == 3 && stats().spans_recorded == 1);
    // Neither flushed nor shut down: whatever is seen was shown in passing.
    thread::sleep(Duration::from_millis(50));
    std::process::exit(0);
}

#[test]
fn a_stderr_that_nobody_reads_stalls_nothing() {
    let mut child =
        alone("pipeline::floods_stderr").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let unread = child.stderr.take();
    assert!(child.wait().unwrap().success());
    drop(unread);
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn floods_stderr() {
    let collector = Collector::start();
    session::init(Config { console_spans: true, ..config(vec![collector.sink()]) }).unwrap();
    for round in 0..10 {
        record(round * 1000..(round + 1) * 1000);
        assert!(flush(LONG));
    }
    assert_eq!(collector.numbers().len(), 10_000);
    assert!(stats().console.dropped > 0, "more than the pipe and the buffer hold");
    assert!(shutdown(LONG));
}
