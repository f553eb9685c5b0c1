//! Contexts that cross a process: `SpanContext`, headers in and out, and what makes a context current without a span.
#![expect(unsafe_code, reason = "written against the C API")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::exceptions::{PyException, PyStopIteration, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::arguments::Text;
use super::current::{BAGGAGE, SPAN, Variable};
use super::span::{as_span, is_below};
use crate::config::Propagator;
use crate::context;
use crate::emit::{LiveSpan, Parent, Thread};
use crate::ids::{FLAG_RANDOM, FLAG_SAMPLED, SpanId, TraceId};

/// Bits of [`PROPAGATORS`].
pub(super) const TRACE_CONTEXT: u8 = 1;
pub(super) const W3C_BAGGAGE: u8 = 2;

/// Which headers are read and written: `OTEL_PROPAGATORS`, set by `init`.
static PROPAGATORS: AtomicU8 = AtomicU8::new(TRACE_CONTEXT | W3C_BAGGAGE);

pub(super) fn set_propagators(bits: u8) {
    // Relaxed: a setting by itself.
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

/// What identifies a span across processes: immutable, hashable, picklable. As in the OpenTelemetry API.
///
/// Args:
///     trace_id: 32 hexadecimal digits.
///     span_id: 16 hexadecimal digits.
///     trace_flags: W3C flags, 0 to 255; 1 (default) is "sampled".
///     trace_state: W3C tracestate header value, default empty. A malformed one counts as empty.
///     is_remote: Whether it came from another process; default True.
///
/// Raises:
///     ValueError: an id that is not hexadecimal digits of that length, or flags out of range. All zeros are allowed for
///         both ids together: the invalid context.
#[pyclass(module = "pytracingx", name = "SpanContext", frozen)]
#[derive(Clone)]
pub(super) struct SpanContext {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) flags: u8,
    pub(super) trace_state: Option<Arc<str>>,
    remote: bool,
    /// The sampling decision and its session, for contexts drawn in this process.
    decision: Option<(u64, u16)>,
    /// For contexts drawn in advance.
    parent_span_id: SpanId,
    parent_is_remote: bool,
}

impl SpanContext {
    pub(super) const INVALID: &'static Self = &Self {
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        flags: 0,
        trace_state: None,
        remote: false,
        decision: None,
        parent_span_id: SpanId::NONE,
        parent_is_remote: false,
    };

    /// Of a span of this process.
    pub(super) fn of(live: &LiveSpan) -> Self {
        Self {
            trace_id: live.trace_id,
            span_id: live.span_id,
            flags: live.trace_flags(),
            trace_state: live.trace_state.clone(),
            decision: Some((live.session, live.mask)),
            ..Self::INVALID.clone()
        }
    }

    /// Ids and decision of a span to be recorded later.
    pub(super) fn drawn(thread: &mut Thread, parent: Option<&Parent>) -> Self {
        let trace_id = parent.map_or_else(|| thread.ids.trace_id(), |parent| parent.trace_id);
        let mask = match parent {
            Some(parent) => parent.mask(thread),
            None => thread.intake.sampler.decide(trace_id, None),
        };
        let random = parent.map_or(FLAG_RANDOM, |parent| parent.trace_flags & FLAG_RANDOM);
        Self {
            trace_id,
            span_id: thread.ids.span_id(),
            flags: random | if mask == 0 { 0 } else { FLAG_SAMPLED },
            trace_state: parent.and_then(|parent| parent.trace_state.clone()),
            decision: Some((thread.intake.session, mask)),
            parent_is_remote: parent.is_some_and(|parent| parent.is_remote),
            parent_span_id: parent.map_or(SpanId::NONE, |parent| parent.span_id),
            ..Self::INVALID.clone()
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.trace_id.is_valid() && self.span_id.is_valid()
    }

    pub(super) fn as_parent(&self) -> Parent {
        Parent {
            trace_id: self.trace_id,
            span_id: self.span_id,
            trace_flags: self.flags,
            decision: self.decision,
            is_remote: self.remote,
            trace_state: self.trace_state.clone(),
        }
    }

    /// What a span with these ids inherits; `parent` only counts within the same trace.
    pub(super) fn as_drawn(&self, parent: Option<Parent>) -> Parent {
        let parent = parent.filter(|parent| parent.trace_id == self.trace_id);
        Parent {
            span_id: parent.as_ref().map_or(self.parent_span_id, |parent| parent.span_id),
            is_remote: parent.as_ref().map_or(self.parent_is_remote, |parent| parent.is_remote),
            decision: self.decision.or_else(|| parent.as_ref().and_then(|parent| parent.decision)),
            ..self.as_parent()
        }
    }

    /// The `flags` field of an OTLP link.
    pub(super) fn otlp_flags(&self) -> u32 {
        u32::from(self.flags) | 0x100 | if self.remote { 0x200 } else { 0 }
    }

    fn traceparent_text(&self) -> String {
        let text = context::format_traceparent(self.trace_id, self.span_id, self.flags);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn state_text(&self) -> &str {
        self.trace_state.as_deref().unwrap_or("")
    }

    fn identity(&self) -> (TraceId, SpanId, u8, &str, bool) {
        (self.trace_id, self.span_id, self.flags, self.state_text(), self.remote)
    }
}

#[pymethods]
impl SpanContext {
    #[new]
    #[pyo3(signature = (trace_id, span_id, trace_flags = 1, trace_state = "", is_remote = true))]
    fn new(
        trace_id: &str,
        span_id: &str,
        trace_flags: i64,
        trace_state: &str,
        is_remote: bool,
    ) -> PyResult<Self> {
        let hexadecimal = |name: &str, value: &str, digits: usize| {
            PyValueError::new_err(format!(
                "{name} must be {digits} hexadecimal digits, not all zero, got '{value}'"
            ))
        };
        if [trace_id, span_id].map(|id| id.bytes().all(|digit| digit == b'0')) == [true; 2]
            && (trace_id.len(), span_id.len()) == (32, 16)
        {
            return Ok(Self::INVALID.clone());
        }
        Ok(Self {
            trace_id: TraceId::from_hex(trace_id.to_ascii_lowercase().as_bytes())
                .ok_or_else(|| hexadecimal("trace_id", trace_id, 32))?,
            span_id: SpanId::from_hex(span_id.to_ascii_lowercase().as_bytes())
                .ok_or_else(|| hexadecimal("span_id", span_id, 16))?,
            flags: u8::try_from(trace_flags).map_err(|_| {
                PyValueError::new_err(format!("trace_flags must be 0 to 255, got {trace_flags}"))
            })?,
            trace_state: shared(context::parse_tracestate([trace_state.as_bytes()])),
            remote: is_remote,
            ..Self::INVALID.clone()
        })
    }

    /// 32 lower-case hexadecimal digits.
    #[getter]
    fn trace_id(&self) -> String {
        String::from_utf8_lossy(&self.trace_id.to_hex()).into_owned()
    }

    /// 16 lower-case hexadecimal digits.
    #[getter]
    fn span_id(&self) -> String {
        String::from_utf8_lossy(&self.span_id.to_hex()).into_owned()
    }

    /// W3C trace flags.
    #[getter]
    fn trace_flags(&self) -> u8 {
        self.flags
    }

    /// W3C tracestate, empty when there is none.
    #[getter]
    fn trace_state(&self) -> &str {
        self.state_text()
    }

    /// Whether it came from another process.
    #[getter]
    fn is_remote(&self) -> bool {
        self.remote
    }

    /// Whether both ids are there.
    #[getter(is_valid)]
    fn valid(&self) -> bool {
        self.is_valid()
    }

    /// The W3C traceparent header value.
    #[getter]
    fn traceparent(&self) -> String {
        self.traceparent_text()
    }

    /// Parses header values, by W3C Trace Context level 2.
    ///
    /// Args:
    ///     traceparent: The header's value.
    ///     trace_state: The tracestate header's value, default none. A malformed one counts as empty.
    ///
    /// Returns:
    ///     A remote SpanContext, or None when the traceparent is malformed.
    #[staticmethod]
    #[pyo3(signature = (traceparent, trace_state = None))]
    fn from_traceparent(traceparent: Text, trace_state: Option<Text>) -> Option<Self> {
        let trace_state = trace_state.map(|Text(text)| text.into_bytes());
        remote_context(&[traceparent.0.into_bytes()], trace_state.as_slice())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().identity() == self.identity())
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.identity().hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        format!(
            "SpanContext(trace_id='{:?}', span_id='{:?}', trace_flags={}, trace_state={:?}, is_remote={})",
            self.trace_id,
            self.span_id,
            self.flags,
            self.state_text(),
            if self.remote { "True" } else { "False" }
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (String, String, u8, String, bool)) {
        let this = slf.get();
        let arguments =
            (this.trace_id(), this.span_id(), this.flags, this.state_text().to_owned(), this.remote);
        (slf.get_type().into_any(), arguments)
    }
}

/// The context of a `Span` or `SpanContext`; `None` for anything else and for invalid ones.
///
/// # Safety
/// Attached; `object` is alive or null.
pub(super) unsafe fn context_of(object: *mut ffi::PyObject) -> Option<SpanContext> {
    if object.is_null() {
        return None;
    }
    // SAFETY: attached, alive.
    let context = unsafe {
        if let Some(span) = as_span(object) {
            SpanContext::of(&(*span).live)
        } else {
            let object = Bound::from_borrowed_ptr(Python::assume_attached(), object);
            match object.cast::<ExtractedContext>() {
                Ok(extracted) => extracted.borrow().span_context.clone()?,
                Err(_) => object.cast::<SpanContext>().ok()?.get().clone(),
            }
        }
    };
    context.is_valid().then_some(context)
}

/// A remote context from header values, by W3C Trace Context level 2.
fn remote_context(traceparents: &[Vec<u8>], tracestates: &[Vec<u8>]) -> Option<SpanContext> {
    let [traceparent] = traceparents else { return None };
    let (trace_id, span_id, flags) = context::parse_traceparent(traceparent)?;
    Some(SpanContext {
        trace_id,
        span_id,
        flags,
        trace_state: shared(context::parse_tracestate(tracestates.iter().map(Vec::as_slice))),
        remote: true,
        ..SpanContext::INVALID.clone()
    })
}

/// Empty is none.
fn shared(text: String) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| Arc::from(text))
}

// ---------------------------------------------------------------------------------------------- headers in

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
        for entry in entries.try_iter()? {
            let entry = entry?;
            let pair = || Some((bytes(&entry.get_item(0).ok()?)?, entry.get_item(1).ok()?));
            let Some((name, value)) = pair() else { continue };
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
fn quiet(py: Python<'_>, result: PyResult<()>) -> PyResult<()> {
    result.or_else(|error| if error.is_instance_of::<PyException>(py) { Ok(()) } else { Err(error) })
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
#[pyfunction]
pub(super) fn extract_headers(py: Python<'_>, carrier: &Bound<'_, PyAny>) -> PyResult<ExtractedContext> {
    let headers = Headers::read(carrier)?;
    let span_context = if propagates(TRACE_CONTEXT) {
        remote_context(&headers.traceparent, &headers.tracestate)
    } else {
        None
    };
    let current = match &span_context {
        Some(context) => Py::new(py, context.clone())?.into_any(),
        None => py.None(),
    };
    let baggage = context::forward_baggage(headers.baggage.iter().map(Vec::as_slice));
    let baggage = if propagates(W3C_BAGGAGE) && !baggage.is_empty() {
        PyString::new(py, &baggage).into_any().unbind()
    } else {
        py.None()
    };
    Ok(ExtractedContext {
        span: Activation::new(&SPAN, current),
        baggage: Activation::new(&BAGGAGE, baggage),
        span_context,
    })
}

/// A value made current, and what was current before.
struct Activation {
    variable: &'static Variable,
    value: Py<PyAny>,
    /// Token and previous value; `None` once restored.
    before: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
}

impl Activation {
    fn new(variable: &'static Variable, value: Py<PyAny>) -> Self {
        // SAFETY: attached (a `Py` is at hand); the references are new ones.
        let before = unsafe {
            let py = Python::assume_attached();
            let mut previous = variable.get();
            let token = variable.set(value.as_ptr());
            let previous =
                Bound::from_owned_ptr_or_opt(py, std::mem::replace(&mut previous.0, std::ptr::null_mut()));
            Bound::from_owned_ptr_or_opt(py, token).map(|token| (token.unbind(), previous.map(Bound::unbind)))
        };
        Self { variable, value, before }
    }

    /// Restores, if the value is still the current one or below it: what else is current was made so by somebody who
    /// restores after us.
    fn restore(&mut self) {
        let Some((token, previous)) = self.before.take() else {
            return;
        };
        // SAFETY: attached (called from Python only).
        unsafe {
            let current = self.variable.get();
            let is_ours = current.0 == self.value.as_ptr() || is_below(self.value.as_ptr(), current.0);
            if is_ours && !self.variable.reset(token.as_ptr()) {
                // A copy of the context that the token belongs to.
                self.variable.replace(previous.map_or(std::ptr::null_mut(), |previous| previous.as_ptr()));
            }
        }
    }

    /// Restores at the end of a block, whatever was made current in it.
    fn leave(&mut self) {
        // SAFETY: attached (called from Python only).
        let is_reset =
            self.before.as_ref().is_some_and(|(token, _)| unsafe { self.variable.reset(token.as_ptr()) });
        if is_reset { self.before = None } else { self.restore() }
    }
}

/// What extract_headers() made current. A context manager: leaving it is restore().
#[pyclass(module = "pytracingx", name = "ExtractedContext")]
pub(super) struct ExtractedContext {
    span: Activation,
    baggage: Activation,
    span_context: Option<SpanContext>,
}

#[pymethods]
impl ExtractedContext {
    /// The remote SpanContext, or None.
    #[getter]
    fn span_context(&self) -> Option<SpanContext> {
        self.span_context.clone()
    }

    /// Whether the headers named a context.
    #[getter]
    fn is_valid(&self) -> bool {
        self.span_context.is_some()
    }

    /// Makes current again what was before. A second call does nothing.
    fn restore(&mut self) {
        self.baggage.restore();
        self.span.restore();
    }

    /// The context itself.
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// As restore(); lets exceptions pass.
    #[pyo3(text_signature = "($self, exc_type, exc_val, exc_tb, /)")]
    fn __exit__(
        &mut self,
        _exc_type: &Bound<'_, PyAny>,
        _exc_val: &Bound<'_, PyAny>,
        _exc_tb: &Bound<'_, PyAny>,
    ) -> bool {
        self.restore();
        false
    }
}

/// Makes current again what was before extract_headers().
///
/// Args:
///     token: What extract_headers() returned. Anything else is ignored, a second call does nothing.
#[pyfunction]
pub(super) fn restore_context(token: &Bound<'_, PyAny>) {
    if let Ok(extracted) = token.cast::<ExtractedContext>() {
        if let Ok(mut extracted) = extracted.try_borrow_mut() {
            extracted.restore();
        }
        return;
    }
    // SAFETY: attached, alive; whatever is no token of ours is refused by the interpreter.
    unsafe { SPAN.reset(token.as_ptr()) };
}

/// Makes a Span or SpanContext current while a `with` block runs, without ending it: for executors and callbacks.
///
/// Args:
///     span: What spans started in the block get as their parent. `with` gives it back.
///
/// May be entered again, also while entered. Never raises.
#[pyclass(module = "pytracingx", name = "use_span")]
pub(super) struct UseSpan {
    value: Py<PyAny>,
    activations: Vec<Activation>,
}

#[pymethods]
impl UseSpan {
    #[new]
    #[pyo3(signature = (span, /))]
    fn new(span: Py<PyAny>) -> Self {
        Self { value: span, activations: Vec::new() }
    }

    /// Makes it current; gives it back.
    fn __enter__(&mut self, py: Python<'_>) -> Py<PyAny> {
        self.activations.push(Activation::new(&SPAN, self.value.clone_ref(py)));
        self.value.clone_ref(py)
    }

    /// Makes current again what was before; lets exceptions pass.
    #[pyo3(text_signature = "($self, exc_type, exc_val, exc_tb, /)")]
    fn __exit__(
        &mut self,
        _exc_type: &Bound<'_, PyAny>,
        _exc_val: &Bound<'_, PyAny>,
        _exc_tb: &Bound<'_, PyAny>,
    ) -> bool {
        if let Some(mut activation) = self.activations.pop() {
            activation.leave();
        }
        false
    }
}

// ---------------------------------------------------------------------------------------------- headers out

/// Writes `traceparent` (and `tracestate`, `baggage` if there are any) of the current context into a carrier.
///
/// Args:
///     carrier: A mutable mapping, or a list that gets (name, value) pairs appended (bytes pairs if it holds such).
///     context: A Span or SpanContext instead of the current one.
///
/// Without a current context it writes nothing. W3C Trace Context level 2 and W3C Baggage. Never raises.
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
            if first.is_ok_and(|name| name.is_instance_of::<PyBytes>()) {
                list.append((PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value.as_bytes())))
            } else {
                list.append((name, value))
            }
        }
    };
    quiet(py, put)
}

// ---------------------------------------------------------------------------------------------- what is current

/// The current span of this task or thread, never None: without one, a shared span that records nothing.
///
/// Under a remote context (extract_headers()) that is this shared one too; current_trace_context() has its ids.
#[pyfunction]
pub(super) fn current_span(py: Python<'_>) -> Bound<'_, PyAny> {
    // SAFETY: attached; both branches give a new reference.
    unsafe {
        let current = SPAN.get();
        if !current.0.is_null() && as_span(current.0).is_some() {
            let span = current.0;
            std::mem::forget(current);
            return Bound::from_owned_ptr(py, span);
        }
        Bound::from_owned_ptr(py, super::span::non_recording())
    }
}

/// Ids of the current span or remote context, for log records and messages.
///
/// Returns:
///     Always a dict with `trace_id` (32 hexadecimal digits) and `span_id` (16), both None when nothing is current.
#[pyfunction]
pub(super) fn current_trace_context(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    // SAFETY: attached.
    let context = unsafe { context_of(SPAN.get().0) };
    let dict = PyDict::new(py);
    dict.set_item("trace_id", context.as_ref().map(SpanContext::trace_id))?;
    dict.set_item("span_id", context.as_ref().map(SpanContext::span_id))?;
    Ok(dict)
}

/// An awaitable that has its result already, for `async with span`.
#[pyclass(module = "pytracingx", name = "_Ready", frozen)]
pub(super) struct Ready(Py<PyAny>);

impl Ready {
    /// A new reference to a `Ready` of `value`.
    pub(super) fn object(value: &Bound<'_, PyAny>) -> PyResult<*mut ffi::PyObject> {
        Ok(Py::new(value.py(), Self(value.clone().unbind()))?.into_ptr())
    }
}

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<()> {
        // A tuple would be taken apart by `StopIteration(*args)`.
        Err(PyStopIteration::new_err(PyTuple::new(py, [&self.0])?.unbind()))
    }
}
