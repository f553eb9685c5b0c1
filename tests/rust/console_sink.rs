//! What reaches stderr, in which order, and what becomes of it when stderr is slow, full or cut off. Stderr belongs to
//! the process, so each test looks at that of a process of its own.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pytracingx::accumulate::ExplicitHistogram;
use pytracingx::aggregate::{Data, Metric, Point, Value};
use pytracingx::attrs;
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::config::ConsoleFormat;
use pytracingx::encode::Lookup;
use pytracingx::exporter::console::{Console, Layout, MAX_BYTES, Shown};
use pytracingx::intern::Interner;
use pytracingx::record::{Header, Number, SpanKind, StatusCode, StrId, flag, kind};

use crate::console_logs;

const ALL: Shown = Shown { spans: true, metrics: true, logs: true };
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test of this file that is ignored otherwise.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = format!("console_sink::{test}");
    command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1", &name]);
    command.stdout(Stdio::null());
    command
}

/// What the child writes, read as it comes.
fn written_by(test: &str) -> String {
    let output = child(test).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

/// What the child writes into a file.
fn filed_by(test: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
    let status = child(test).stderr(File::create(&path).unwrap()).status().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(status.success(), "{:?}", text.lines().last());
    text
}

fn console(shown: Shown, format: ConsoleFormat) -> Console {
    Console::new(shown, Layout { format, color: false })
}

/// Writes until nothing waits, or nobody reads.
fn flush(console: &mut Console) {
    let begun = Instant::now();
    loop {
        let now = Instant::now();
        console.step(now);
        if console.is_flushed(now) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "it never ended");
        thread::sleep(console.due(now).unwrap_or(now).saturating_duration_since(now));
    }
}

fn with_lookup<T>(body: impl FnOnce(Lookup<'_>) -> T) -> T {
    let (strings, timeline) = (Interner::default(), Timeline::identity());
    body(Lookup { strings: &strings, timeline: &timeline })
}

fn push_span(batch: &mut Batch, record_kind: u8, name: &str, start: u64, end: u64) {
    let header = Header {
        kind: record_kind,
        detail: Header::span_detail(SpanKind::Internal, StatusCode::Unset),
        name: StrId::NONE,
        flags: flag::START_IS_UNIX_NANO | flag::END_IS_UNIX_NANO,
        end,
        ..console_logs::header(0, start)
    };
    let mut items = Vec::new();
    attrs::put_text_item(&mut items, attrs::tag::NAME, name.as_bytes());
    batch.push(header, &items);
}

fn push_log(batch: &mut Batch, message: &str, time: u64) {
    let mut items = Vec::new();
    attrs::put_body(&mut items, attrs::Value::Str(message.as_bytes()));
    batch.push(console_logs::header(9, time), &items);
}

/// Log records of about this many bytes each.
fn logs(count: usize, bytes: usize) -> Batch {
    let mut batch = Batch::default();
    (0..count).for_each(|number| push_log(&mut batch, &format!("{number:0bytes$}"), 1));
    batch
}

/// An outer span with an inner one and three log records, lanes in no order; the second log record is not wanted.
fn add_mixed(console: &mut Console) {
    let mut batch = Batch::default();
    push_log(&mut batch, "in inner", 25);
    push_log(&mut batch, "unwanted", 26);
    push_span(&mut batch, kind::SPAN, "outer", 10, 40);
    push_span(&mut batch, kind::SPAN, "inner", 20, 30);
    push_log(&mut batch, "before all", 5);
    push_span(&mut batch, kind::SPAN_BEGIN, "inner", 20, 0);
    push_span(&mut batch, kind::SPAN_BEGIN, "outer", 10, 0);
    with_lookup(|lookup| console.add_records(&batch, |index| index != 1, lookup));
}

fn add_metric(console: &mut Console) {
    let histogram = ExplicitHistogram {
        boundaries: [1.0].into(),
        counts: vec![1, 0],
        count: 1,
        sum: 0.5,
        min: 0.5,
        max: 0.5,
    };
    let point =
        |value| Point { attributes: &[], start_unix_nano: 0, time_unix_nano: 50_000, value, exemplars: &[] };
    let metric = |data, points| Metric { scope: 0, name: "m", description: "", unit: "", data, points };
    let histogram = point(Value::Explicit(&histogram));
    with_lookup(|lookup| {
        console.add_metric(&metric(Data::Histogram { delta: false }, vec![histogram]), lookup);
        let points = [1, 2].map(|number| point(Value::Number(Number::Int(number))));
        console.add_metric(&metric(Data::Gauge, points.into()), lookup);
    });
}

/// Lines without their times.
fn untimed(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_once("pytracingx: ").map_or(line, |(_, rest)| rest)).collect()
}

#[test]
fn all_signals_in_the_order_of_their_times() {
    assert_eq!(
        untimed(&written_by("shows_all")),
        [
            "before all",
            "span_begin outer",
            "span_begin inner",
            "in inner",
            "span_end inner duration_ms=0.000",
            "span_end outer duration_ms=0.000",
            "metric m histogram count=1 sum=0.5 min=0.5 max=0.5 p50≈0.5 p99≈0.5",
            "metric m gauge value=1",
            "metric m gauge value=2",
        ]
    );
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn shows_all() {
    let mut console = console(ALL, ConsoleFormat::Compact);
    assert!(console.shows_spans() && console.shows_logs() && console.shows_metrics());
    add_mixed(&mut console);
    add_metric(&mut console);
    assert_eq!((console.stats().entries, console.stats().dropped), (9, 0));
    flush(&mut console);
}

#[test]
fn only_what_is_asked_for() {
    assert_eq!(untimed(&written_by("shows_logs")), ["before all", "in inner"]);
    assert_eq!(untimed(&written_by("shows_metrics")).len(), 3);
    assert_eq!(written_by("shows_nothing"), "pytracingx: a warning\n");
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn shows_logs() {
    shows(Shown { logs: true, ..Shown::default() }, 2);
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn shows_metrics() {
    shows(Shown { metrics: true, ..Shown::default() }, 3);
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn shows_nothing() {
    let mut console = console(Shown::default(), ConsoleFormat::Compact);
    add_mixed(&mut console);
    add_metric(&mut console);
    console.say(format_args!("pytracingx: a warning"));
    assert_eq!(console.stats().entries, 1);
    flush(&mut console);
}

fn shows(shown: Shown, entries: u64) {
    let mut console = console(shown, ConsoleFormat::Compact);
    add_mixed(&mut console);
    add_metric(&mut console);
    assert_eq!(console.stats().entries, entries);
    flush(&mut console);
}

/// One drain gives ten times what may wait, and then an entry that alone is three times as long.
#[test]
fn a_burst_into_a_file_arrives_whole() {
    let text = filed_by("bursts");
    let messages: Vec<_> = untimed(&text).into_iter().map(|line| line.trim_start_matches('0')).collect();
    let expected: Vec<_> = (0..MAX_BYTES / 100).map(|number| number.to_string()).collect();
    assert_eq!(messages[0], "", "number 0");
    assert_eq!(messages[1..expected.len()], expected[1..]);
    assert_eq!(messages[expected.len()..], ["x".repeat(3 * MAX_BYTES)]);
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn bursts() {
    let mut console = console(ALL, ConsoleFormat::Compact);
    let count = MAX_BYTES / 100;
    let mut batch = logs(count, 1000);
    push_log(&mut batch, &"x".repeat(3 * MAX_BYTES), 2);
    with_lookup(|lookup| console.add_records(&batch, |_| true, lookup));
    flush(&mut console);
    assert_eq!((console.stats().entries, console.stats().dropped), (count as u64 + 1, 0));
}

#[test]
fn what_waits_for_a_reader_is_bounded_and_the_rest_counted() {
    let mut child = child("floods").stderr(Stdio::piped()).spawn().unwrap();
    let mut unread = child.stderr.take().unwrap();
    assert!(child.wait().unwrap().success());
    // What the pipe took is the oldest.
    let mut text = String::new();
    unread.read_to_string(&mut text).unwrap();
    assert!(untimed(&text)[1].ends_with("0001"));
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn floods() {
    const PIPE_BYTES: u64 = 1024 * 1024; // the largest that an unprivileged process gets
    let mut console = console(ALL, ConsoleFormat::Compact);
    let batch = logs(10_000, 1000);
    with_lookup(|lookup| console.add_records(&batch, |_| true, lookup));
    flush(&mut console);
    let stats = console.stats();
    assert_eq!(stats.entries + stats.dropped, 10_000);
    assert!(stats.dropped > 0 && stats.entries * 1000 < MAX_BYTES as u64 + PIPE_BYTES, "{stats:?}");
    // Longer than all that may wait, and something waits.
    let mut long = Batch::default();
    push_log(&mut long, &"x".repeat(MAX_BYTES), 1);
    with_lookup(|lookup| console.add_records(&long, |_| true, lookup));
    assert_eq!(console.stats().dropped, stats.dropped + 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_costs_what_was_to_be_written() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert!(child("finds_the_disk_full").stderr(full).status().unwrap().success());
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn finds_the_disk_full() {
    let mut console = console(ALL, ConsoleFormat::Pretty);
    for round in 1..=2 {
        add_mixed(&mut console);
        add_metric(&mut console);
        console.say(format_args!("pytracingx: a warning"));
        assert_eq!(console.stats().entries, 10);
        flush(&mut console);
        assert!(console.due(Instant::now()).is_none());
        assert_eq!((console.stats().entries, console.stats().dropped), (0, 10 * round));
    }
}

#[cfg(unix)]
mod limited {
    #![expect(unsafe_code, reason = "limits the size of files")]

    use super::*;

    /// As when a disk fills up and somebody makes room again.
    #[test]
    fn a_line_that_was_cut_off_is_ended() {
        let text = filed_by("limited::is_cut_off");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].ends_with(&"0".repeat(100)));
        assert_eq!(lines[0].len() + 1 + lines[1].len(), 200);
        assert_eq!(lines[2..], ["pytracingx: room again", "pytracingx: and more"]);
    }

    #[test]
    #[ignore = "run by the test above in a process of its own"]
    fn is_cut_off() {
        // SAFETY: sets limits and the disposition of a signal of this process, which runs this test alone.
        let limit = |bytes| unsafe {
            let mut limit = std::mem::zeroed::<libc::rlimit>();
            assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit), 0);
            limit.rlim_cur = bytes;
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            limit.rlim_max
        };
        let mut console = console(ALL, ConsoleFormat::Compact);
        let most = limit(200);
        with_lookup(|lookup| console.add_records(&logs(5, 100), |_| true, lookup));
        flush(&mut console);
        assert_eq!((console.stats().entries, console.stats().dropped), (1, 4));
        limit(most);
        console.say(format_args!("pytracingx: room again"));
        flush(&mut console);
        console.say(format_args!("pytracingx: and more"));
        flush(&mut console);
        assert_eq!((console.stats().entries, console.stats().dropped), (3, 4));
    }
}
