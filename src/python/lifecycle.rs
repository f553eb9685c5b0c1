//! `init`, `shutdown`, `force_flush`, `stats`: thin over [`crate::session`]. The interpreter is released while waiting,
//! and asked for signals in between, so Ctrl-C ends a wait.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::config::PyConfig;
use super::propagation;
use crate::session;
use crate::stats::{DropCounts, DropReason, SinkStats};

/// Starts recording.
///
/// Args:
///     config: A Config; None reads the environment (Config.from_env()).
///
/// Raises:
///     ConfigError: already initialized, or a certificate file that cannot be used.
///
/// A forked child records into a session of its own without calling this; its first init() replaces that session. At
/// interpreter exit everything is flushed within `exit_timeout_ms`.
#[pyfunction]
#[pyo3(signature = (config = None))]
pub(super) fn init(py: Python<'_>, config: Option<Py<PyConfig>>) -> PyResult<()> {
    let config = match config {
        Some(config) => config.bind(py).get().resolve(py)?,
        None => PyConfig::from_env(py)?.resolve(py)?,
    };
    let propagators = propagation::bits(&config);
    py.detach(|| session::init(config))?;
    propagation::set_propagators(propagators);
    // Imported here, not at import of the package: it registers handlers.
    py.import("pytracingx._exit")?.call_method0("install")?;
    Ok(())
}

/// Stops recording: sends what was recorded, ends the exporter thread.
///
/// Args:
///     timeout_ms: Returns within this time and a tenth of a second, whatever the endpoints do.
///
/// Returns:
///     True if everything accepted was delivered or finally refused by its server. What could not be sent is counted
///     in stats() as dropped for `shutdown`.
///
/// Called again, it waits for the same end and returns the same; init() may follow, with another configuration. Releases the GIL; Ctrl-C ends the wait.
#[pyfunction]
#[pyo3(signature = (timeout_ms = 5000))]
pub(super) fn shutdown(py: Python<'_>, timeout_ms: u64) -> PyResult<bool> {
    wait(py, |should_stop| session::shutdown(Duration::from_millis(timeout_ms), should_stop))
}

/// Sends all that any thread recorded before the call.
///
/// Args:
///     timeout_ms: Returns within this time and a tenth of a second, whatever the endpoints do.
///
/// Returns:
///     True if all of it was delivered or finally refused. What could not be sent in time stays queued.
///
/// Releases the GIL; Ctrl-C ends the wait.
#[pyfunction]
#[pyo3(signature = (timeout_ms = 5000))]
pub(super) fn force_flush(py: Python<'_>, timeout_ms: u64) -> PyResult<bool> {
    wait(py, |should_stop| session::force_flush(Duration::from_millis(timeout_ms), should_stop))
}

/// What the exit handlers call: shutdown() within `exit_timeout_ms`; two refused connections end a sink's wait.
#[pyfunction]
pub(super) fn _shutdown_at_exit(py: Python<'_>) -> PyResult<bool> {
    wait(py, |should_stop| session::shutdown_at_exit(should_stop))
}

/// Runs a waiting call without the interpreter lock; a signal handler that raises ends it with its exception.
fn wait(py: Python<'_>, call: impl FnOnce(&mut dyn FnMut() -> bool) -> bool + Send) -> PyResult<bool> {
    let mut raised = None;
    let verdict = py.detach(|| {
        call(&mut || {
            raised = Python::attach(|py| py.check_signals()).err();
            raised.is_some()
        })
    });
    raised.map_or(Ok(verdict), Err)
}

/// Whether there is a session: between init() and shutdown(), also in a child forked in between.
#[pyfunction]
pub(super) fn is_initialized() -> bool {
    session::is_initialized()
}

/// Counters of the current session, by signal and sink; after shutdown() of the one that ended, until the next init(). An
/// empty dict before the first.
///
/// Counts behind the lanes are as of the exporter's last turn, at most 250 ms ago; after force_flush() they hold all of
/// it. For every sink, exactly: wanted = exported + the sum of dropped + held_records.
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
    let sinks = PyList::empty(py);
    for sink in &stats.trace_sinks {
        sinks.append(sink_stats(py, sink)?)?;
    }
    out.set_item("trace_sinks", sinks)?;
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
