//! The native side of `pytracingx.logging`: one `logging.LogRecord` to one log record of ours, read from its `__dict__` in
//! one pass. Below the threshold nothing is formatted. Runs Python code only where a message has arguments, a formatter is
//! set, or there is an exception.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ptr;

use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use super::capi::MethodDef;
use super::fastcall::{Raised, Signature, entry, none};
use super::given_attributes::GivenAttributes;
use super::log_record::{self, Body, Converted, Route};
use super::objects::{Owned, encode_lossy, is_numpy_scalar, swallow};
use super::reentry::Entered;
use super::simple::simple;
use super::stdlib_fields::{Fields, created, fill_fields, is_text, level_name, odd_texts, span_ids};
use super::stdlib_record::{Scan, is_taken, key, standard_key, text};
use super::strings::name;
use super::{current, exceptions, stdlib_record};
use crate::emit::{self, AttributeList};
use crate::ids::FLAG_SAMPLED;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

static EMIT: MethodDef = MethodDef::fast(c"_emit_stdlib", emit_stdlib, c"_emit_stdlib(handler, record, plain, /)
--

Records a logging.LogRecord. An Exception of its formatting is raised after it was recorded without its arguments.

Args:
    handler: Whose format() is called.
    record: The record.
    plain: The handler's format() is the standard one, with no formatter.");

/// At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    stdlib_record::prepare(module.py());
    module.add("_emit_stdlib", EMIT.function(module)?)
}

/// OpenTelemetry's severity number and the standard level's text for a level of stdlib's logging. Levels between the
/// standard ones get the numbers between: 21 is INFO2.
#[pyfunction]
#[pyo3(signature = (levelno, /))]
pub(super) fn _severity_for(levelno: &Bound<'_, PyAny>) -> (u8, &'static str) {
    // SAFETY: attached, alive.
    let (number, text, _) = severity(unsafe { log_record::int(levelno.as_ptr()) });
    (number, text)
}

/// What `TraceContextFilter` puts on records: trace id, span id, whether it is sampled.
#[pyfunction]
pub(super) fn _trace_context() -> (String, String, bool) {
    // SAFETY: attached.
    let span = unsafe { current::span_ids() };
    if !span.trace_id.is_valid() {
        return ("0".to_owned(), "0".to_owned(), false);
    }
    (format!("{:?}", span.trace_id), format!("{:?}", span.span_id), span.flags & FLAG_SAMPLED != 0)
}

/// The number, the standard level's text, and whether it is that level.
fn severity(level: Option<i64>) -> (u8, &'static str, bool) {
    const LEVELS: [(i64, u8, &str); 5] =
        [(50, 21, "FATAL"), (40, 17, "ERROR"), (30, 13, "WARN"), (20, 9, "INFO"), (10, 5, "DEBUG")];
    let level = level.unwrap_or(0);
    match LEVELS.iter().find(|(standard, ..)| level >= *standard) {
        Some((standard, number, text)) => {
            let above = (level - standard).min(3);
            (number + above as u8, text, above == 0)
        }
        None => (1, "TRACE", level == 0),
    }
}

unsafe extern "C" fn emit_stdlib(
    _module: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<3, 3, 3> = Signature::new("_emit_stdlib", ["handler", "record", "plain"]);
    entry(|| {
        // SAFETY: as called; arguments are borrowed from the caller.
        unsafe {
            let [handler, record, plain] = SIGNATURE.parse(args, count, names)?;
            emit_record(handler, record, plain == ffi::Py_True())?;
        }
        Ok(none())
    })
}

/// # Safety
/// Attached, not inside `emit::with`; alive.
#[inline]
pub(super) unsafe fn emit_record(handler: Object, record: Object, plain: bool) -> Result<(), Raised> {
    let session = emit::session();
    if session == 0 {
        return Ok(());
    }
    // SAFETY: as promised by the caller.
    unsafe {
        let py = Python::assume_attached();
        let record = Bound::from_borrowed_ptr(py, record);
        let dict = match record.getattr(pyo3::intern!(py, "__dict__"))?.cast_into::<PyDict>() {
            Ok(dict) => dict,
            Err(_) => return Ok(()),
        };
        // Another thread may have the record too, on its way to another handler.
        let dict = if cfg!(Py_GIL_DISABLED) { dict.copy()? } else { dict };
        convert(session, &Bound::from_borrowed_ptr(py, handler), &record, &dict, plain)
    }
}

/// # Safety
/// Attached, not inside `emit::with`.
unsafe fn convert(
    session: u64,
    handler: &Bound<'_, PyAny>,
    record: &Bound<'_, PyAny>,
    dict: &Bound<'_, PyDict>,
    plain: bool,
) -> Result<(), Raised> {
    let plain = plain && has_standard_message(record)?;
    // SAFETY: as promised by the caller; what converted values borrow from is held until they are recorded.
    unsafe {
        let scan = Scan::of(dict.as_ptr());
        let (severity_number, _, is_standard) = severity(int(scan.get(key::LEVELNO)));
        let Some(route) = route(scan.get(key::NAME), session) else { return Ok(()) };
        if severity_number < route.threshold {
            return Ok(());
        }
        let Some(_entered) = Entered::begin() else {
            log_record::count_reentrant(session);
            return Ok(());
        };
        if plain && scan.is_plain_text() && record_plain(&scan, severity_number, is_standard, route, session)
        {
            return Ok(());
        }
        // What was found above may be gone: reading a text that is no UTF-8 allocates, which may run a collection.
        let scan = Scan::of(dict.as_ptr());
        let _held = scan.hold();
        let is_plain = plain && scan.is_plain_text();
        let span = span_ids(&scan);
        let mut attributes = GivenAttributes::default();
        let (mut extras_of_user, mut formatted, mut failure) = (Owned(ptr::null_mut()), None, None);
        let mut exception_description = None;
        if !is_plain {
            let (message, error) = message(&scan, handler, record, plain)?;
            (formatted, failure) = (Some(message), error);
            exception_description = exception(&scan, dict)?;
        }
        let body = Body::of(formatted.as_ref().map_or(scan.get(key::MSG), Bound::as_ptr))?;
        if !scan.extras.is_empty() {
            extras_of_user = extras(dict, exception_description.is_some())?;
        }
        match exception_description {
            None => log_record::fill(&mut attributes, extras_of_user.0, session)?,
            Some(described) => {
                let limit = log_record::attribute_limit(session);
                attributes.fill_over(described, extras_of_user.0, limit)?;
            }
        }
        let odd_texts = odd_texts(&scan);
        let mut fields = Fields::new();
        fill_fields(&mut fields, &scan, Some(&odd_texts), session);
        let converted = Converted {
            severity_number,
            scope: route.scope,
            span,
            unix_nano: created(&scan),
            severity_text: if is_standard { b"" } else { level_name(&scan) },
            body: &body,
            fields: &fields,
            attributes: &attributes,
        };
        converted.record(session);
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Records what needs no Python code, no copy of the extras and no reference to anything: a message as it is, and at most
/// [`MAX_EXTRAS`](stdlib_record::MAX_EXTRAS) extras of simple types. False: it is not like that.
#[inline]
unsafe fn record_plain(
    scan: &Scan,
    severity_number: u8,
    is_standard: bool,
    route: Route,
    session: u64,
) -> bool {
    if scan.has_more_extras {
        return false;
    }
    // SAFETY: attached, with the dict's entries alive: nothing here runs Python code before what was read is recorded.
    unsafe {
        let Some(body) = simple(scan.get(key::MSG)) else { return false };
        let mut fields = Fields::new();
        if !fill_fields(&mut fields, scan, None, session) {
            return false;
        }
        for (key, value) in &scan.extras {
            let key_text = text(*key);
            if is_taken(key_text, false) {
                continue;
            }
            let (Some(name), Some(value)) = (name(*key, session), simple(*value)) else { return false };
            if key_text.is_empty() {
                return false;
            }
            fields.push((name, value));
        }
        let converted = Converted {
            severity_number,
            scope: route.scope,
            span: span_ids(scan),
            unix_nano: created(scan),
            severity_text: if is_standard { b"" } else { level_name(scan) },
            body: &Body::Simple(body),
            fields: &fields,
            attributes: &GivenAttributes::default(),
        };
        converted.record(session);
    }
    true
}

/// The route of the logger of that name.
unsafe fn route(name: Object, session: u64) -> Option<Route> {
    // SAFETY: attached, alive or null.
    unsafe {
        match text(name) {
            [] if is_text(name) => Route::of_name(&encode_lossy(name), session),
            text => Route::of_name(text, session),
        }
    }
}

/// An int; of anything else nothing.
unsafe fn int(object: Object) -> Option<i64> {
    // SAFETY: attached, alive or null.
    unsafe { if object.is_null() { None } else { log_record::int(object) } }
}

/// What the handler's `format()` gives, called only where it would not give the message as it is. When that raises an
/// `Exception`, the message without its arguments, and the exception.
unsafe fn message<'py>(
    scan: &Scan,
    handler: &Bound<'py, PyAny>,
    record: &Bound<'py, PyAny>,
    plain: bool,
) -> Result<(Bound<'py, PyAny>, Option<PyErr>), Raised> {
    let py = record.py();
    let unformatted = scan.get(key::MSG);
    // SAFETY: attached; held, or null.
    unsafe {
        let unformatted =
            Bound::from_borrowed_ptr_or_opt(py, unformatted).unwrap_or(py.None().into_bound(py));
        let is_alone = plain
            && !scan.is_true(key::EXC_INFO)?
            && !scan.is_true(key::EXC_TEXT)?
            && !scan.is_true(key::STACK_INFO)?;
        let formatted = if !is_alone {
            handler.call_method1(pyo3::intern!(py, "format"), (record,))
        } else if !unformatted.is_exact_instance_of::<PyString>() {
            record.call_method0(pyo3::intern!(py, "getMessage"))
        } else if scan.is_true(key::ARGS)? {
            let formatted = ffi::PyUnicode_Format(unformatted.as_ptr(), scan.get(key::ARGS));
            Bound::from_owned_ptr_or_err(py, formatted)
        } else {
            return Ok((unformatted, None));
        };
        match formatted {
            Ok(formatted) => Ok((formatted, None)),
            Err(error) if error.is_instance_of::<PyException>(py) => Ok((unformatted, Some(error))),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the record's `getMessage()` is stdlib's: `msg`, with `%` and `args` if there are any.
fn has_standard_message(record: &Bound<'_, PyAny>) -> PyResult<bool> {
    static STANDARD: PyOnceLock<Option<(Py<PyAny>, Py<PyAny>)>> = PyOnceLock::new();
    let py = record.py();
    let name = pyo3::intern!(py, "getMessage");
    let standard = STANDARD.get_or_try_init(py, || -> PyResult<_> {
        let kind = py.import("logging")?.getattr("LogRecord")?;
        let method = kind.getattr(name)?;
        let says = |attribute: &str| method.getattr(attribute).map(|text| text.to_string());
        let original = says("__module__")? == "logging" && says("__qualname__")? == "LogRecord.getMessage";
        Ok(original.then(|| (kind.unbind(), method.unbind())))
    })?;
    let Some((kind, method)) = standard else { return Ok(false) };
    Ok(record.get_type().is(kind) && record.get_type().getattr(name)?.is(method))
}

/// What describes the record's exception. Its stacktrace is the one that formatting left behind.
unsafe fn exception(scan: &Scan, dict: &Bound<'_, PyDict>) -> Result<Option<AttributeList>, Raised> {
    // SAFETY: attached, not inside `emit::with`; scan.
    unsafe {
        if !scan.is_true(key::EXC_INFO)? {
            return Ok(None);
        }
        let py = dict.py();
        let exc_info = Bound::from_borrowed_ptr(py, scan.get(key::EXC_INFO));
        let Some(exception) = log_record::exception_of(&exc_info)? else { return Ok(None) };
        let formatted = dict.get_item(pyo3::intern!(py, "exc_text"))?;
        let formatted = formatted.map(|formatted| text(formatted.as_ptr()).to_vec());
        let formatted = formatted.filter(|formatted| !formatted.is_empty());
        exceptions::describe(&exception, formatted).map(|(described, _)| Some(described))
    }
}

/// A new dict of the entries that the user added and that can be attributes as they are; ours win over them.
unsafe fn extras(dict: &Bound<'_, PyDict>, has_exception: bool) -> Result<Owned, Raised> {
    // SAFETY: attached; each entry is held while it is looked at, which may run code of its type.
    unsafe {
        let extras = Owned(ffi::PyDict_New());
        if extras.0.is_null() {
            return Err(Raised);
        }
        let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        let mut expected = 0;
        while ffi::PyDict_Next(dict.as_ptr(), &mut position, &mut key, &mut value) != 0 {
            if let Some(index) = standard_key(key, expected) {
                expected = index + 1;
                continue;
            }
            if value == ffi::Py_None() {
                continue;
            }
            let (key, value) = (Owned::new(key), Owned::new(value));
            if !is_taken(text(key.0), has_exception)
                && is_attribute_value(value.0)
                && ffi::PyDict_SetItem(extras.0, key.0, value.0) != 0
            {
                swallow()?;
            }
        }
        Ok(extras)
    }
}

/// Whether a user meant it for the record: other objects (a request, a socket) are there for other handlers.
unsafe fn is_attribute_value(object: Object) -> bool {
    // SAFETY: attached, alive.
    unsafe {
        ffi::PyUnicode_Check(object) != 0
            || ffi::PyLong_Check(object) != 0
            || ffi::PyFloat_Check(object) != 0
            || ffi::PyBytes_Check(object) != 0
            || ffi::PyList_Check(object) != 0
            || ffi::PyTuple_Check(object) != 0
            || ffi::PyDict_Check(object) != 0
            || is_numpy_scalar(object)
    }
}
