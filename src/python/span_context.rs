//! `SpanContext`: what identifies a span across processes, and how one is had from whatever stands for a span.
#![expect(unsafe_code, reason = "written against the C API")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::activation::ExtractedContext;
use super::arguments::Text;
use super::generation;
use super::span::as_span;
use crate::context;
use crate::emit::{Parent, Thread};
use crate::ids::{FLAG_RANDOM, FLAG_SAMPLED, SpanId, TraceId};

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
///
/// Costs a quarter of a microsecond.
#[pyclass(module = "pytracingx", name = "SpanContext", frozen)]
#[derive(Clone)]
pub(super) struct SpanContext {
    /// The sampling decision is there in contexts drawn in this process.
    pub(super) context: Parent,
    /// For contexts drawn in advance.
    parent_span_id: SpanId,
    parent_is_remote: bool,
}

impl SpanContext {
    pub(super) const INVALID: &'static Self =
        &Self { context: Parent::NONE, parent_span_id: SpanId::NONE, parent_is_remote: false };

    /// The one without ids, which all calls that record nothing share.
    pub(super) fn invalid(py: Python<'_>) -> PyResult<Py<Self>> {
        static SHARED: PyOnceLock<Py<SpanContext>> = PyOnceLock::new();
        SHARED.get_or_try_init(py, || Py::new(py, Self::INVALID.clone())).map(|shared| shared.clone_ref(py))
    }

    /// A new reference to a context whose caller mostly lets go of it at once, as that of `record_span`, and the place of its
    /// value, which is [`SpanContext::INVALID`]: to be written before anybody else has the object. The object is kept, and is
    /// the next one's if nobody else has it then: making and freeing one would be half of what recording a span costs.
    #[inline(always)]
    pub(super) fn reused(py: Python<'_>) -> PyResult<(*mut ffi::PyObject, *mut Self)> {
        /// Relaxed: changed and looked at under the interpreter's lock only.
        static SPARE: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());
        // Relaxed: see `SPARE`.
        let spare = SPARE.load(Ordering::Relaxed);
        // SAFETY: attached; null, or a `SpanContext` that `SPARE` has a reference to. If that is the only one nobody looks at
        // it now.
        unsafe {
            if !cfg!(Py_GIL_DISABLED) && !spare.is_null() && ffi::Py_REFCNT(spare) == 1 {
                ffi::Py_INCREF(spare);
                let place = Self::place(py, spare);
                *place = Self::INVALID.clone();
                return Ok((spare, place));
            }
        }
        Self::make_spare(py, &SPARE)
    }

    #[cold]
    #[inline(never)]
    fn make_spare(
        py: Python<'_>,
        spare: &AtomicPtr<ffi::PyObject>,
    ) -> PyResult<(*mut ffi::PyObject, *mut Self)> {
        let object = Py::new(py, Self::INVALID.clone())?;
        if !cfg!(Py_GIL_DISABLED) {
            // Relaxed: see `SPARE`.
            let before = spare.swap(object.clone_ref(py).into_ptr(), Ordering::Relaxed);
            // SAFETY: attached; the reference was the static's.
            drop(unsafe { Bound::from_owned_ptr_or_opt(py, before) });
        }
        let object = object.into_ptr();
        // SAFETY: a new object, which nobody else has.
        Ok((object, unsafe { Self::place(py, object) }))
    }

    /// Where the value of a context is. Not from a reference to it, which would forbid writing there.
    ///
    /// # Safety
    /// `object` is an alive `SpanContext`.
    unsafe fn place(py: Python<'_>, object: *mut ffi::PyObject) -> *mut Self {
        // SAFETY: as promised by the caller.
        unsafe {
            let value = Borrowed::from_ptr(py, object).cast_unchecked::<Self>().get() as *const Self as usize;
            object.byte_add(value - object as usize).cast()
        }
    }

    /// Of a span of this process.
    pub(super) fn of(context: &Parent) -> Self {
        Self { context: context.clone(), ..Self::INVALID.clone() }
    }

    /// Ids and decision of a span to be recorded later.
    pub(super) fn drawn(thread: &mut Thread, parent: Option<&Parent>) -> Self {
        let trace_id = parent.map_or_else(|| thread.ids.trace_id(), |parent| parent.trace_id);
        let mask = match parent {
            Some(parent) => parent.mask(&thread.intake),
            None => thread.intake.sampler.decide(trace_id, None),
        };
        let random = parent.map_or(FLAG_RANDOM, |parent| parent.trace_flags & FLAG_RANDOM);
        let context = Parent {
            trace_id,
            span_id: thread.ids.span_id(),
            trace_state: parent.and_then(|parent| parent.trace_state.clone()),
            session: thread.intake.session,
            mask,
            trace_flags: random | if mask == 0 { 0 } else { FLAG_SAMPLED },
            is_remote: false,
        };
        Self {
            context,
            parent_is_remote: parent.is_some_and(|parent| parent.is_remote),
            parent_span_id: parent.map_or(SpanId::NONE, |parent| parent.span_id),
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.context.trace_id.is_valid() && self.context.span_id.is_valid()
    }

    /// What a span with these ids inherits; `parent` only counts within the same trace.
    pub(super) fn as_drawn(&self, parent: Option<&Parent>) -> Parent {
        let parent = parent.filter(|parent| parent.trace_id == self.context.trace_id);
        let decided = parent.filter(|_| self.context.session == 0).unwrap_or(&self.context);
        Parent {
            span_id: parent.map_or(self.parent_span_id, |parent| parent.span_id),
            is_remote: parent.map_or(self.parent_is_remote, |parent| parent.is_remote),
            session: decided.session,
            mask: decided.mask,
            ..self.context.clone()
        }
    }

    /// Its ids.
    pub(super) fn ids(&self) -> (TraceId, SpanId) {
        (self.context.trace_id, self.context.span_id)
    }

    /// The `flags` field of an OTLP link.
    pub(super) fn otlp_flags(&self) -> u32 {
        u32::from(self.context.trace_flags) | 0x100 | if self.context.is_remote { 0x200 } else { 0 }
    }

    pub(super) fn traceparent_text(&self) -> String {
        let Parent { trace_id, span_id, trace_flags, .. } = self.context;
        let text = context::format_traceparent(trace_id, span_id, trace_flags);
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(super) fn state_text(&self) -> &str {
        self.context.trace_state.as_deref().unwrap_or("")
    }

    fn identity(&self) -> (TraceId, SpanId, u8, &str, bool) {
        let Parent { trace_id, span_id, trace_flags, is_remote, .. } = self.context;
        (trace_id, span_id, trace_flags, self.state_text(), is_remote)
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
        let context = Parent {
            trace_id: TraceId::from_hex(trace_id.to_ascii_lowercase().as_bytes())
                .ok_or_else(|| hexadecimal("trace_id", trace_id, 32))?,
            span_id: SpanId::from_hex(span_id.to_ascii_lowercase().as_bytes())
                .ok_or_else(|| hexadecimal("span_id", span_id, 16))?,
            trace_flags: u8::try_from(trace_flags).map_err(|_| {
                PyValueError::new_err(format!("trace_flags must be 0 to 255, got {trace_flags}"))
            })?,
            trace_state: shared(context::parse_tracestate([trace_state.as_bytes()])),
            is_remote,
            ..Parent::NONE
        };
        Ok(Self { context, ..Self::INVALID.clone() })
    }

    /// 32 lower-case hexadecimal digits.
    #[getter]
    pub(super) fn trace_id(&self) -> String {
        String::from_utf8_lossy(&self.context.trace_id.to_hex()).into_owned()
    }

    /// 16 lower-case hexadecimal digits.
    #[getter]
    pub(super) fn span_id(&self) -> String {
        String::from_utf8_lossy(&self.context.span_id.to_hex()).into_owned()
    }

    /// W3C trace flags.
    #[getter]
    fn trace_flags(&self) -> u8 {
        self.context.trace_flags
    }

    /// W3C tracestate, empty when there is none.
    #[getter]
    fn trace_state(&self) -> &str {
        self.state_text()
    }

    /// Whether it came from another process.
    #[getter]
    fn is_remote(&self) -> bool {
        self.context.is_remote
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
    ///
    /// Costs a quarter of a microsecond.
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
            self.context.trace_id,
            self.context.span_id,
            self.context.trace_flags,
            self.state_text(),
            if self.context.is_remote { "True" } else { "False" }
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (String, String, u8, String, bool)) {
        let this = slf.get();
        let arguments = (
            this.trace_id(),
            this.span_id(),
            this.trace_flags(),
            this.state_text().to_owned(),
            this.is_remote(),
        );
        (slf.get_type().into_any(), arguments)
    }
}

/// Empty is none.
fn shared(text: String) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| Arc::from(text))
}

/// The context of a `Span`, a `Generation`, a `SpanContext` or an `ExtractedContext`; `None` for anything else and for invalid
/// ones.
///
/// # Safety
/// Attached; `object` is alive or null.
pub(super) unsafe fn context_of(object: *mut ffi::PyObject) -> Option<SpanContext> {
    // SAFETY: as promised by the caller.
    unsafe {
        let parent = parent_of(object)?;
        let object = Borrowed::from_ptr(Python::assume_attached(), object);
        // What was drawn in advance knows more than what children inherit.
        let whole = object.cast::<SpanContext>().ok().map(|context| context.get().clone());
        Some(whole.unwrap_or_else(|| SpanContext { context: parent.clone(), ..SpanContext::INVALID.clone() }))
    }
}

/// [`context_of`], as far as children inherit it.
///
/// # Safety
/// Attached; `object` is alive or null, and alive as long as the result is used.
pub(super) unsafe fn parent_of<'a>(object: *mut ffi::PyObject) -> Option<&'a Parent> {
    if object.is_null() {
        return None;
    }
    // SAFETY: attached, alive; what is lent lies in objects that `object` keeps alive, and changes only while attached.
    let parent = unsafe {
        if let Some(span) = as_span(object) {
            &(*span).live.context
        } else if let Some(live) = generation::span_of(object) {
            &live.context
        } else {
            let object = Borrowed::from_ptr(Python::assume_attached(), object);
            let context: *const SpanContext = match object.cast::<ExtractedContext>() {
                Ok(extracted) => extracted.get().span_context.as_ref()?.get(),
                Err(_) => object.cast::<SpanContext>().ok()?.get(),
            };
            &(*context).context
        }
    };
    (parent.trace_id.is_valid() && parent.span_id.is_valid()).then_some(parent)
}

/// A remote context from header values, by W3C Trace Context level 2.
pub(super) fn remote_context(traceparents: &[Vec<u8>], tracestates: &[Vec<u8>]) -> Option<SpanContext> {
    let [traceparent] = traceparents else { return None };
    let (trace_id, span_id, trace_flags) = context::parse_traceparent(traceparent)?;
    let trace_state = shared(context::parse_tracestate(tracestates.iter().map(Vec::as_slice)));
    let context = Parent { trace_id, span_id, trace_state, trace_flags, is_remote: true, ..Parent::NONE };
    Some(SpanContext { context, ..SpanContext::INVALID.clone() })
}
