//! `init`, `shutdown`, `force_flush`, `stats`: thin over [`crate::session`]. The interpreter is released while waiting,
//! and asked for signals in between, so Ctrl-C ends a wait.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::arguments::Int;
use super::config::PyConfig;
use super::{credentials, observable, propagation};
use crate::config::Config;
use crate::config::check::milliseconds;
use crate::limits::FieldCounts;
use crate::session;
use crate::stats::{DropCounts, DropReason, MeasurementStats, SinkStats};
use crate::transport::memory::Memory;

/// Starts recording.
///
/// Args:
///     config: A Config; None reads the environment (Config.from_env()).
///
/// Raises:
///     ConfigError: already initialized, or a certificate file that cannot be used.
///
/// A forked child records into a session of its own without calling this; its first init() replaces that session. At
/// interpreter exit everything is flushed within `exit_timeout_ms`, in multiprocessing children too; whoever leaves by
/// os._exit or is killed by a signal flushes nothing.
///
/// Costs a few milliseconds: the exporter's thread and its sinks are made here.
#[pyfunction]
#[pyo3(signature = (config = None))]
pub(super) fn init(py: Python<'_>, config: Option<Py<PyConfig>>) -> PyResult<()> {
    let config =
        config.map_or_else(|| Bound::new(py, PyConfig::from_env(py)?), |config| Ok(config.into_bound(py)))?;
    start(py, config.get().resolve(py)?, config.get().providers(py))
}

/// init(), but whatever the config's OTLP sinks would send stays in memory, for pytracingx.testing.
#[pyfunction]
pub(super) fn _capture(py: Python<'_>, config: &Bound<'_, PyConfig>) -> PyResult<()> {
    start(py, Config { capture: true, disabled: false, ..config.get().resolve(py)? }, Vec::new())
}

/// The bodies of the trace, metric and log requests that a session begun by _capture() would have sent; None if that
/// is not the last that was begun.
#[pyfunction]
pub(super) fn _captured(py: Python<'_>) -> Option<[Vec<Py<PyBytes>>; 3]> {
    let captured = py.detach(session::captured)?;
    let bodies = |memory: &Memory| {
        memory.requests().iter().map(|request| PyBytes::new(py, &request.body).unbind()).collect()
    };
    Some([&captured.traces, &captured.metrics, &captured.logs].map(bodies))
}

fn start(py: Python<'_>, config: Config, providers: Vec<Option<Bound<'_, PyAny>>>) -> PyResult<()> {
    let propagators = propagation::bits(&config);
    py.detach(|| session::init(config))?;
    propagation::set_propagators(propagators);
    // Imported here, not at import of the package: it registers handlers.
    py.import("pytracingx._exit")?.call_method0("install")?;
    credentials::session_began(py, providers)?;
    observable::session_began(py)
}

/// Stops recording: sends what was recorded, ends the exporter thread.
///
/// Args:
///     timeout_ms: Milliseconds, default 5000. Returns within this time and a tenth of a second, whatever the
///         endpoints do.
///
/// Returns:
///     True if everything accepted was delivered or finally refused by its server. What could not be sent is counted
///     in stats() as dropped for `shutdown`.
///
/// Raises:
///     ConfigError: a negative timeout. TypeError: one that is no int.
///
/// Called again, it waits for the same end and returns the same; init() may follow, with another configuration.
/// Releases the GIL; Ctrl-C ends the wait.
///
/// Costs the caller its wait, `timeout_ms` at most.
#[pyfunction]
#[pyo3(signature = (timeout_ms = Int(5000)), text_signature = "(timeout_ms=5000)")]
pub(super) fn shutdown(py: Python<'_>, timeout_ms: Int) -> PyResult<bool> {
    let timeout = duration(timeout_ms)?;
    wait(py, |should_stop| session::shutdown(timeout, should_stop))
}

/// Sends all that any thread recorded before the call.
///
/// Args:
///     timeout_ms: Milliseconds, default 5000. Returns within this time and a tenth of a second, whatever the
///         endpoints do.
///
/// Returns:
///     True if all of it was delivered or finally refused. What could not be sent in time stays queued.
///
/// Raises:
///     ConfigError: a negative timeout. TypeError: one that is no int.
///
/// Releases the GIL; Ctrl-C ends the wait.
///
/// Costs the caller its wait, `timeout_ms` at most.
#[pyfunction]
#[pyo3(signature = (timeout_ms = Int(5000)), text_signature = "(timeout_ms=5000)")]
pub(super) fn force_flush(py: Python<'_>, timeout_ms: Int) -> PyResult<bool> {
    let timeout = duration(timeout_ms)?;
    wait(py, |should_stop| session::force_flush(timeout, should_stop))
}

/// What the exit handlers call: shutdown() within `exit_timeout_ms`; two refused connections end a sink's wait.
#[pyfunction]
pub(super) fn _shutdown_at_exit(py: Python<'_>) -> PyResult<bool> {
    wait(py, |should_stop| session::shutdown_at_exit(should_stop))
}

/// Sends one record named `pytracingx.check` (a span, a gauge's point or a log record) to every sink, and says what came
/// of each: for start-up checks.
///
/// Args:
///     timeout_ms: Milliseconds, default 3000. Returns within this time; a sink's own `timeout_ms`, if shorter, ends
///         its attempt.
///
/// Returns:
///     A dict for each sink: those of traces, of metrics, of logs (OTLP before SLS), each in the order of the
///     configuration. An empty list before init(). Its keys:
///
///     signal: 'traces', 'metrics' or 'logs'.
///     endpoint: `scheme://host:port/…`.
///     protocol: 'http/protobuf', 'grpc' or 'sls'.
///     ok: Whether the server took the record.
///     phase: How far it came: 'resolve', 'connect', 'proxy', 'tls', 'send', 'receive', or 'done' with a complete
///         answer, whatever that said. None if nothing could be tried.
///     status: HTTP status, or None without an answer.
///     latency_ms: From the beginning of name resolution to the answer or the failure.
///     clock_skew_s: Seconds that this machine's clock is ahead of the server's by its Date header, which has whole
///         seconds only; 0.0 when the two may agree, None without an answer that has one.
///     error: What was wrong, one line without secrets, or None. With ok, what the server remarked.
///
/// Raises:
///     ConfigError: a negative timeout. TypeError: one that is no int.
///
/// All sinks at once, over connections of their own: the exporter's are not touched. Sampling, views and filters do not
/// apply. Releases the GIL; Ctrl-C ends the wait.
///
/// Costs the caller its wait, `timeout_ms` at most.
#[pyfunction]
#[pyo3(signature = (timeout_ms = Int(3000)), text_signature = "(timeout_ms=3000)")]
pub(super) fn check(py: Python<'_>, timeout_ms: Int) -> PyResult<Bound<'_, PyList>> {
    let timeout = duration(timeout_ms)?;
    let reports = wait(py, |should_stop| session::check(timeout, should_stop))?;
    let out = PyList::empty(py);
    for report in reports {
        let dict = PyDict::new(py);
        dict.set_item("signal", report.signal.name())?;
        dict.set_item("endpoint", report.endpoint)?;
        dict.set_item("protocol", report.protocol.name())?;
        dict.set_item("ok", report.ok)?;
        dict.set_item("phase", report.phase)?;
        dict.set_item("status", report.status)?;
        dict.set_item("latency_ms", report.latency.map(|latency| latency.as_micros() as f64 / 1e3))?;
        dict.set_item("clock_skew_s", report.clock_skew_s)?;
        dict.set_item("error", report.error)?;
        out.append(dict)?;
    }
    Ok(out)
}

/// A `timeout_ms`; one that is too large for a clock means the longest there is.
fn duration(timeout_ms: Int) -> PyResult<Duration> {
    Ok(Duration::from_millis(milliseconds("timeout_ms", timeout_ms.0, 0)?))
}

/// Runs a waiting call without the interpreter lock; a signal handler that raises ends it with its exception. Each
/// question takes the lock, for who must know that the calls which were under way are over.
fn wait<T: Send>(py: Python<'_>, call: impl FnOnce(&mut dyn FnMut() -> bool) -> T + Send) -> PyResult<T> {
    let mut raised = None;
    let verdict = py.detach(|| {
        call(&mut || {
            // Asked again after it said yes, by a later part of the call, it must not forget why.
            Python::attach(|py| raised = raised.take().or_else(|| py.check_signals().err()));
            raised.is_some()
        })
    });
    raised.map_or(Ok(verdict), Err)
}

/// Whether there is a session: between init() and shutdown(), also in a child forked in between.
///
/// Costs tens of nanoseconds.
#[pyfunction]
pub(super) fn is_initialized() -> bool {
    session::is_initialized()
}

/// Counters of the current session, by signal and sink.
///
/// Returns:
///     An empty dict before the first init(); after shutdown() the counters of the session that ended. The keys:
///
///     spans: `recorded`, those that were to be exported; `dropped` before they reached the exporter, by reason;
///         `abandoned`, collected without having been ended (they are recorded).
///     logs: The same of log records: `recorded`, `dropped`.
///     measurements: `recorded`; of these `folded` because the thread's ring was full, or many came at once (none is lost),
///         `overflowed` into the series otel.metric.overflow=true, and lost: `internal`, by a bug of pytracingx, and
///         `shutdown`, too late for the last collection. Not recorded: `negative`, `not_finite`, `not_a_number`.
///         `conflicts`, instruments made again with another definition. Of observable instruments:
///         `late_observations`, collections that did not wait for all of them, and `callback_errors`.
///     unusable_times: Times that were not integer Unix nanoseconds and were replaced by now.
///     baggage_left_out: Entries that baggage() left out: they did not fit, or were no text under a valid key.
///     trace_sinks: For each sink `endpoint`, `state` (idle, sending, backing_off, circuit_open, unsupported), `wanted`
///         (its sampler's yes), `exported`, `dropped` by reason, `held_records` and `held_bytes` with their `_max`,
///         `requests`, `retried`, `body_bytes` before compression, `sent_bytes`, `failures_in_a_row`, `last_error`.
///     metric_sinks: The same; their records are data points.
///     log_sinks: The same, those of OTLP first. Those of SLS have what its limits changed too: `renamed_keys` (reserved),
///         `cut_keys`, `cut_values`, `omitted_fields`.
///     console: `entries` written to stderr, `dropped`.
///     lanes: How many `lanes`, `bytes`, `bytes_max`.
///     exporter_restarts: After a bug of ours.
///
/// Counts behind the lanes are as of the exporter's last turn, at most 250 ms ago; after force_flush() they hold all of
/// it. For every sink, exactly: wanted = exported + the sum of dropped + held_records.
///
/// Reasons of `dropped` on the way to the exporter: `ring_full` (the thread's lane was full), `oversize_full` (too many large
/// records at once), `reentrant` (a log record made by what another one ran), `thread_exit`, `other_session` (ended in
/// another session than begun in), `inherited` (not among `recorded`, and no loss: a span that a forked child ended is
/// its parent's to record). Of a sink:
/// `queue_full`, `refused` (a final answer), `rejected` (of a request that was taken in part), `too_large` (for the server),
/// `retry_timeout`, `shutdown` (its time was up), `unsupported` (it cannot send: see `last_error`). Of either: `internal`, a
/// bug of pytracingx.
#[pyfunction]
pub(super) fn stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    let Some(stats) = py.detach(session::stats) else { return Ok(out) };
    let spans = PyDict::new(py);
    spans.set_item("recorded", stats.spans_recorded)?;
    spans.set_item("dropped", drops(py, &stats.spans_dropped)?)?;
    spans.set_item("abandoned", stats.spans_abandoned)?;
    out.set_item("spans", spans)?;
    out.set_item("unusable_times", stats.unusable_times)?;
    out.set_item("baggage_left_out", stats.baggage_left_out)?;
    let logs = PyDict::new(py);
    logs.set_item("recorded", stats.logs_recorded)?;
    logs.set_item("dropped", drops(py, &stats.logs_dropped)?)?;
    out.set_item("logs", logs)?;
    out.set_item("measurements", measurements(py, &stats.measurements)?)?;
    let sinks = [("trace", &stats.trace_sinks), ("metric", &stats.metric_sinks), ("log", &stats.log_sinks)];
    for (signal, sinks) in sinks {
        let sinks = sinks.iter().map(|sink| sink_stats(py, sink)).collect::<PyResult<Vec<_>>>()?;
        out.set_item(format!("{signal}_sinks"), sinks)?;
    }
    let console = PyDict::new(py);
    console.set_item("entries", stats.console.entries)?;
    console.set_item("dropped", stats.console.dropped)?;
    out.set_item("console", console)?;
    let lanes = PyDict::new(py);
    lanes.set_item("lanes", stats.lanes.lanes)?;
    lanes.set_item("bytes", stats.lanes.bytes)?;
    lanes.set_item("bytes_max", stats.lanes.bytes_max)?;
    out.set_item("lanes", lanes)?;
    out.set_item("exporter_restarts", stats.exporter_restarts)?;
    Ok(out)
}

fn measurements<'py>(py: Python<'py>, stats: &MeasurementStats) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("recorded", stats.recorded)?;
    out.set_item("folded", stats.folded)?;
    out.set_item("overflowed", stats.overflowed)?;
    out.set_item("internal", stats.internal)?;
    out.set_item("shutdown", stats.shutdown)?;
    out.set_item("negative", stats.negative)?;
    out.set_item("not_finite", stats.not_finite)?;
    out.set_item("not_a_number", stats.not_a_number)?;
    out.set_item("conflicts", stats.conflicts)?;
    out.set_item("late_observations", stats.late_observations)?;
    out.set_item("callback_errors", stats.callback_errors)?;
    Ok(out)
}

fn sink_stats<'py>(py: Python<'py>, sink: &SinkStats) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("endpoint", &*sink.endpoint)?;
    out.set_item("state", sink.state.name())?;
    out.set_item("wanted", sink.wanted)?;
    out.set_item("exported", sink.exported)?;
    out.set_item("dropped", drops(py, &sink.dropped)?)?;
    out.set_item("held_records", sink.held_records)?;
    out.set_item("held_records_max", sink.held_records_max)?;
    out.set_item("held_bytes", sink.held_bytes)?;
    out.set_item("held_bytes_max", sink.held_bytes_max)?;
    out.set_item("requests", sink.requests)?;
    out.set_item("retried", sink.retried)?;
    out.set_item("body_bytes", sink.body_bytes)?;
    out.set_item("sent_bytes", sink.sent_bytes)?;
    out.set_item("failures_in_a_row", sink.failures_in_a_row)?;
    out.set_item("last_error", sink.last_error.as_deref())?;
    if let Some(FieldCounts { renamed_keys, cut_keys, cut_values, omitted_fields }) = sink.fields {
        out.set_item("renamed_keys", renamed_keys)?;
        out.set_item("cut_keys", cut_keys)?;
        out.set_item("cut_values", cut_values)?;
        out.set_item("omitted_fields", omitted_fields)?;
    }
    Ok(out)
}

/// Only the reasons that happened.
fn drops<'py>(py: Python<'py>, counts: &DropCounts) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    for reason in DropReason::ALL {
        if counts.get(reason) > 0 {
            out.set_item(reason.name(), counts.get(reason))?;
        }
    }
    Ok(out)
}
