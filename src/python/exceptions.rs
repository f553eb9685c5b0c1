//! Exceptions on spans: the event, the status, and which ones do not count. Cold; runs Python code.
#![expect(unsafe_code, reason = "written against the C API")]

use pyo3::exceptions::{PyException, PyGeneratorExit, PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use super::convert::Encoder;
use super::fastcall::Raised;
use super::objects::{lossy, text_of};
use super::span::{self, SpanObject};
use super::span_parts::Place;
use crate::attrs::{self, Text, Value};
use crate::emit::{self, AttributeList, LiveSpan, StatusUpdate};
use crate::record::StatusCode;

/// `span.record_exception(…)`: an `exception` event with type, message, stacktrace and `exception.escaped`, then the
/// caller's attributes (which win), and status error with the message.
///
/// # Safety
/// Attached, not inside `emit::with`; `span` is alive.
pub(super) unsafe fn record(
    span: *mut SpanObject,
    exception: &Bound<'_, PyAny>,
    escaped: bool,
    attributes: *mut ffi::PyObject,
    time_unix_nano: Option<u64>,
) -> Result<(), Raised> {
    // SAFETY: alive, attached; `live` is not referenced while Python code runs.
    unsafe {
        let place = Place::of(span);
        let session = place.session();
        if !place.is_recording() {
            return Ok(());
        }
        let (mut event, message) = describe(exception, None)?;
        let limit = emit::with(session, |thread| thread.intake.limits.attributes_per_event).unwrap_or(0);
        let mut set = |key: Text<'_>, value: Value<'_>| event.set(key, value, u32::MAX, None);
        set(Text::Inline(b"exception.escaped"), Value::Bool(escaped));
        let mut given = Encoder::default();
        if !attributes.is_null() {
            given.mapping(attributes, limit)?;
        }
        for item in attrs::Items::new(given.items()) {
            if let attrs::Item::Attribute(attribute) = item {
                set(attribute.key, attribute.value);
            }
        }
        let (items, cut) = event.within(limit);
        let dropped = cut + given.dropped();
        let put = |live: &mut LiveSpan| {
            emit::with(session, |thread| {
                live.add_event(thread, Text::Inline(b"exception"), time_unix_nano, items, dropped);
                live.set_status(thread, StatusUpdate { code: StatusCode::Error, description: &message });
            })
        };
        place.with(put);
        // The same exception leaving `with` later is not recorded twice.
        span::remember(span, exception.as_ptr());
        Ok(())
    }
}

/// Type, message and stacktrace (as given, or as `traceback` formats it) as attributes with inline keys, and the message.
///
/// # Safety
/// Attached, not inside `emit::with`.
pub(super) unsafe fn describe(
    exception: &Bound<'_, PyAny>,
    formatted: Option<Vec<u8>>,
) -> Result<(AttributeList, Vec<u8>), Raised> {
    // SAFETY: attached, alive.
    let message = unsafe { text_of(exception.as_ptr())? };
    let stacktrace = match formatted {
        Some(text) => Some(text),
        None => stacktrace(exception)?.map(String::into_bytes),
    };
    let mut list = AttributeList::default();
    let mut set = |key: &[u8], value: &[u8]| list.set(Text::Inline(key), Value::Str(value), u32::MAX, None);
    set(b"exception.type", type_name(exception).as_bytes());
    set(b"exception.message", &message);
    if let Some(stacktrace) = &stacktrace {
        set(b"exception.stacktrace", stacktrace);
    }
    Ok((list, message))
}

/// Leaving `with` on an exception. An explicit status is not overwritten.
///
/// # Safety
/// Attached, not inside `emit::with`; `span` is alive.
pub(super) unsafe fn leaving(span: *mut SpanObject, exception: &Bound<'_, PyAny>) -> Result<(), Raised> {
    // SAFETY: alive, attached.
    unsafe {
        let place = Place::of(span);
        if !place.is_recording() || span::has_recorded(span, exception.as_ptr()) {
            return Ok(());
        }
        if is_no_failure(exception) {
            return Ok(());
        }
        if is_cancellation(exception) {
            let cancelled = |live: &mut LiveSpan| {
                emit::with(live.context.session, |thread| {
                    live.add_event(thread, Text::Inline(b"cancelled"), None, &[], 0)
                })
            };
            place.with(cancelled);
            return Ok(());
        }
        let explicit = place.with(|live| live.status());
        if explicit != StatusCode::Unset {
            return record_without_status(span, exception, explicit);
        }
        record(span, exception, true, std::ptr::null_mut(), None)
    }
}

unsafe fn record_without_status(
    span: *mut SpanObject,
    exception: &Bound<'_, PyAny>,
    explicit: StatusCode,
) -> Result<(), Raised> {
    // SAFETY: alive, attached.
    unsafe {
        let place = Place::of(span);
        let description = place.with(|live| live.status_description().to_vec());
        record(span, exception, true, std::ptr::null_mut(), None)?;
        let update = StatusUpdate { code: explicit, description: &description };
        place.with(|live| emit::with(live.context.session, |thread| live.set_status(thread, update)));
    }
    Ok(())
}

/// Somebody wants the program, or the generator, to stop.
pub(super) fn is_no_failure(exception: &Bound<'_, PyAny>) -> bool {
    exception.is_instance_of::<PyKeyboardInterrupt>()
        || exception.is_instance_of::<PySystemExit>()
        || exception.is_instance_of::<PyGeneratorExit>()
}

/// `asyncio.CancelledError`, without importing asyncio.
pub(super) fn is_cancellation(exception: &Bound<'_, PyAny>) -> bool {
    let cancelled = || {
        let modules = exception.py().import("sys")?.getattr("modules")?;
        let asyncio = modules.get_item("asyncio.exceptions")?;
        exception.is_instance(&asyncio.getattr("CancelledError")?)
    };
    cancelled().unwrap_or(false)
}

/// Module and qualified name, as OpenTelemetry has it; builtins without their module.
pub(super) fn type_name(exception: &Bound<'_, PyAny>) -> String {
    let kind = exception.get_type();
    let name =
        kind.qualname().map_or_else(|_| "Exception".into(), |name| name.to_string_lossy().into_owned());
    match kind.module() {
        Ok(module) if module.to_string_lossy() != "builtins" => {
            format!("{}.{name}", module.to_string_lossy())
        }
        _ => name,
    }
}

/// As `traceback.format_exception` gives it; `None` when that raises an `Exception`.
fn stacktrace(exception: &Bound<'_, PyAny>) -> Result<Option<String>, Raised> {
    let py = exception.py();
    let format = || -> PyResult<String> {
        let traceback = exception.getattr("__traceback__")?;
        let lines = py.import("traceback")?.getattr("format_exception")?.call1((
            exception.get_type(),
            exception,
            traceback,
        ))?;
        let text = PyString::new(py, "").call_method1("join", (lines.cast::<PyList>()?,))?;
        Ok(lossy(text.cast::<PyString>()?))
    };
    match format() {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
