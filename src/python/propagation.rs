//! Contexts that cross a process, as headers in and out.
#![expect(unsafe_code, reason = "written against the C API")]

use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use super::activation::{Activation, ExtractedContext};
use super::current::{BAGGAGE, SPAN};
use super::span_context::{SpanContext, context_of, remote_context};
use crate::config::Propagator;
use crate::context;

/// Bits of [`PROPAGATORS`].
pub(super) const TRACE_CONTEXT: u8 = 1;
pub(super) const W3C_BAGGAGE: u8 = 2;

/// Which headers are read and written: `OTEL_PROPAGATORS`, set by `init`. Relaxed: a setting by itself.
static PROPAGATORS: AtomicU8 = AtomicU8::new(TRACE_CONTEXT | W3C_BAGGAGE);

pub(super) fn set_propagators(bits: u8) {
    PROPAGATORS.store(bits, Ordering::Relaxed);
}

/// What a configuration asks for.
pub(super) fn bits(config: &crate::config::Config) -> u8 {
    let mut bits = 0;
    for propagator in &config.propagators {
        bits |= match propagator {
            Propagator::TraceContext => TRACE_CONTEXT,
            Propagator::Baggage => W3C_BAGGAGE,
        };
    }
    bits
}

fn propagates(bit: u8) -> bool {
    PROPAGATORS.load(Ordering::Relaxed) & bit != 0
}

// ---------------------------------------------------------------------------------------------- headers in

/// Entries of a carrier that are looked at; an iterable may be endless.
const MAX_ENTRIES: usize = 65_536;

/// The values of the headers we know.
#[derive(Default)]
struct Headers {
    traceparent: Vec<Vec<u8>>,
    tracestate: Vec<Vec<u8>>,
    baggage: Vec<Vec<u8>>,
}

impl Headers {
    /// Reads any mapping, or iterable of pairs, of `str` or `bytes`; names in any case. What cannot be read is not
    /// there.
    fn read(carrier: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut headers = Self::default();
        quiet(carrier.py(), headers.fill(carrier))?;
        Ok(headers)
    }

    fn fill(&mut self, carrier: &Bound<'_, PyAny>) -> PyResult<()> {
        let entries = match carrier.getattr_opt("items")? {
            Some(items) => items.call0()?,
            None => carrier.clone(),
        };
        for entry in entries.try_iter()?.take(MAX_ENTRIES) {
            let (name, value) = match pair(&entry?) {
                Ok(Some(pair)) => pair,
                Ok(None) => continue,
                Err(error) => {
                    quiet(carrier.py(), Err(error))?;
                    continue;
                }
            };
            let values = match name.to_ascii_lowercase().as_slice() {
                b"traceparent" => &mut self.traceparent,
                b"tracestate" => &mut self.tracestate,
                b"baggage" => &mut self.baggage,
                _ => continue,
            };
            match value.cast::<PyList>() {
                Ok(list) => values.extend(list.iter().filter_map(|value| bytes(&value))),
                Err(_) => values.extend(bytes(&value)),
            }
        }
        Ok(())
    }
}

/// Swallows an `Exception` out of a carrier; any other `BaseException` (KeyboardInterrupt) is passed on.
pub(super) fn quiet(py: Python<'_>, result: PyResult<()>) -> PyResult<()> {
    result.or_else(|error| if error.is_instance_of::<PyException>(py) { Ok(()) } else { Err(error) })
}

/// A header; `None` when its name is neither `str` nor `bytes`.
fn pair<'py>(entry: &Bound<'py, PyAny>) -> PyResult<Option<(Vec<u8>, Bound<'py, PyAny>)>> {
    let Some(name) = bytes(&entry.get_item(0)?) else { return Ok(None) };
    Ok(Some((name, entry.get_item(1)?)))
}

/// A header name or value.
fn bytes(object: &Bound<'_, PyAny>) -> Option<Vec<u8>> {
    if let Ok(text) = object.cast::<PyString>() {
        return Some(text.to_string_lossy().into_owned().into_bytes());
    }
    object.cast::<PyBytes>().ok().map(|bytes| bytes.as_bytes().to_vec())
}

/// The span context that a carrier's headers name; activates nothing.
///
/// Args:
///     carrier: A mapping, or an iterable of pairs, of str or bytes; header names in any case.
///
/// Returns:
///     A remote SpanContext, or None without exactly one valid `traceparent`.
///
/// Costs about half a microsecond.
#[pyfunction]
pub(super) fn extract_context(carrier: &Bound<'_, PyAny>) -> PyResult<Option<SpanContext>> {
    if !propagates(TRACE_CONTEXT) {
        return Ok(None);
    }
    let headers = Headers::read(carrier)?;
    Ok(remote_context(&headers.traceparent, &headers.tracestate))
}

/// Makes the context that a carrier's headers name current, at this call: spans started next continue that trace.
///
/// Args:
///     carrier: A mapping, or an iterable of pairs, of str or bytes (ASGI); header names in any case.
///
/// Returns:
///     An ExtractedContext: a context manager, whose restore() ends it too. Without either it lasts as long as the task.
///
/// W3C Trace Context level 2 and W3C Baggage. Without exactly one valid `traceparent`, what follows starts a new trace.
/// Never raises.
///
/// Costs about a microsecond.
#[pyfunction]
pub(super) fn extract_headers(py: Python<'_>, carrier: &Bound<'_, PyAny>) -> PyResult<ExtractedContext> {
    let headers = Headers::read(carrier)?;
    let span_context = if propagates(TRACE_CONTEXT) {
        remote_context(&headers.traceparent, &headers.tracestate)
    } else {
        None
    };
    let span_context = span_context.map(|context| Py::new(py, context)).transpose()?;
    let current = match &span_context {
        Some(context) => context.clone_ref(py).into_any(),
        None => py.None(),
    };
    let baggage = context::forward_baggage(headers.baggage.iter().map(Vec::as_slice));
    let baggage = if propagates(W3C_BAGGAGE) && !baggage.is_empty() {
        PyString::new(py, &baggage).into_any().unbind()
    } else {
        py.None()
    };
    let span = Activation::new(&SPAN, current);
    Ok(ExtractedContext::new(span, Activation::new(&BAGGAGE, baggage), span_context))
}

// ---------------------------------------------------------------------------------------------- headers out

/// Writes `traceparent` (and `tracestate`, `baggage` if there are any) of the current context into a carrier.
///
/// Args:
///     carrier: A mutable mapping, or a list that gets (name, value) pairs appended (bytes pairs if it holds such).
///     context: A Span or SpanContext instead of the current one.
///
/// Without a current context it writes nothing. W3C Trace Context level 2 and W3C Baggage. Never raises.
///
/// Costs a quarter of a microsecond.
#[pyfunction]
#[pyo3(signature = (carrier, context = None))]
pub(super) fn inject_headers(carrier: &Bound<'_, PyAny>, context: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    // SAFETY: attached; what is borrowed is alive for the call.
    let (span_context, baggage) = unsafe {
        let span_context = match context {
            Some(given) => context_of(given.as_ptr()),
            None => context_of(SPAN.get().0),
        };
        (span_context, BAGGAGE.get())
    };
    if propagates(TRACE_CONTEXT)
        && let Some(context) = span_context
    {
        put(carrier, "traceparent", &context.traceparent_text())?;
        if !context.state_text().is_empty() {
            put(carrier, "tracestate", context.state_text())?;
        }
    }
    if propagates(W3C_BAGGAGE) && !baggage.0.is_null() {
        // SAFETY: attached, owned by `baggage`.
        let text = unsafe { Bound::from_borrowed_ptr(carrier.py(), baggage.0) };
        if let Ok(text) = text.cast::<PyString>() {
            put(carrier, "baggage", &text.to_string_lossy())?;
        }
    }
    Ok(())
}

fn put(carrier: &Bound<'_, PyAny>, name: &str, value: &str) -> PyResult<()> {
    let py = carrier.py();
    // A carrier that refuses is the caller's affair; telemetry does not raise.
    let put = match carrier.cast::<PyList>() {
        Err(_) => carrier.set_item(name, value),
        Ok(list) => {
            let first = list.get_item(0).and_then(|pair| pair.get_item(0));
            let holds_bytes = first.map(|name| name.is_instance_of::<PyBytes>());
            if holds_bytes.or_else(|error| quiet(py, Err(error)).map(|()| false))? {
                list.append((PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value.as_bytes())))
            } else {
                list.append((name, value))
            }
        }
    };
    quiet(py, put)
}
