//! Loggers: the `Logger` type and `emit_log_record`. Against the C API for the same reasons as [`super::tracer`]. A call
//! below the threshold costs two loads: no argument is looked at.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::arguments::Text;
use super::capi::{self, MethodDef};
use super::fastcall::{Raised, Signature, bool, entry, given, none};
use super::given_attributes::GivenAttributes;
use super::log_record::{self, Body, Converted, Route};
use super::objects::text_of;
use super::reentry::Entered;
use super::{current, log_call, time};
use crate::emit;
use crate::intern::Scope;
use crate::log_routes::NOTHING;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// OpenTelemetry's severity number.
const ERROR: u8 = 17;

/// A Python `Logger`: an instrumentation scope, and its route in the session it was last used in.
#[repr(C)]
struct LoggerObject {
    base: ffi::PyObject,
    /// Never null once constructed.
    scope: *mut Scope,
    /// Session in the high 40 bits, threshold in 8, scope index in the low 16; 0 before the first use. Relaxed: one word,
    /// complete in itself.
    route: AtomicU64,
}

/// `Logger`. Relaxed: stored at import, before anybody has the module.
static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

macro_rules! level_doc {
    ($name:literal, $what:literal) => {
        match CStr::from_bytes_with_nul(
            concat!(
                $name,
                "($self, /, message, *, attributes=None, exc_info=None)\n--\n\nRecords a log record of severity ",
                $what,
                ".\n\nArgs:\n    message: The body: a str, or a dict, list, number or bytes, which keep their type; any ",
                "other object becomes text.\n    attributes: Mapping, as for start_span(); 128 are kept unless the sinks ",
                "say otherwise.\n    exc_info: An exception, a tuple as of sys.exc_info(), or True for the exception being ",
                "handled: adds\n        exception.type, exception.message and exception.stacktrace.\n\n",
                "Never raises for odd values, never blocks. Below every destination's `log_filter` nothing is looked at.\n\n",
                "Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.\0"
            )
            .as_bytes(),
        ) {
            Ok(doc) => doc,
            Err(_) => panic!("the doc lacks its end"),
        }
    };
}

static METHODS: [MethodDef; 12] = [
    MethodDef::fast(c"trace", at_level::<0>, level_doc!("trace", "TRACE (1)")),
    MethodDef::fast(c"debug", at_level::<1>, level_doc!("debug", "DEBUG (5)")),
    MethodDef::fast(c"info", at_level::<2>, level_doc!("info", "INFO (9)")),
    MethodDef::fast(c"warn", at_level::<3>, level_doc!("warn", "WARN (13)")),
    MethodDef::fast(c"warning", at_level::<3>, level_doc!("warning", "WARN (13), as warn()")),
    MethodDef::fast(c"error", at_level::<4>, level_doc!("error", "ERROR (17)")),
    MethodDef::fast(c"fatal", at_level::<5>, level_doc!("fatal", "FATAL (21)")),
    MethodDef::fast(c"critical", at_level::<5>, level_doc!("critical", "FATAL (21), as fatal()")),
    MethodDef::fast(c"exception", exception, c"exception($self, /, message, *, attributes=None, exc_info=True)
--

Records a log record of severity ERROR (17) with the exception being handled, as error() with exc_info=True.

Args:
    message: As for info().
    attributes: As for info().
    exc_info: As for info().

Costs some microseconds: the stack trace becomes text."),
    MethodDef::fast(c"log", log, c"log($self, /, severity_number, message, *, attributes=None, exc_info=None)
--

Records a log record of any severity.

Args:
    severity_number: OpenTelemetry's, 1 (TRACE) to 24 (FATAL4), which are not logging's: 20 is ERROR4; 0 is none, and counts
        as lowest. Or a member of its SeverityNumber, or a level's name, as for enabled(). Anything else counts as ERROR (17).
    message: As for info().
    attributes: As for info().
    exc_info: As for info().

Costs about 50 nanoseconds, and as much again for an attribute; less below the filter."),
    MethodDef::fast(c"enabled", enabled, c"enabled($self, /, level)
--

Whether a record of this severity goes anywhere: some destination's `log_filter` takes it from this logger.

Args:
    level: 'trace', 'debug', 'info', 'warn' ('warning'), 'error' or 'fatal' ('critical'), in any case, or OpenTelemetry's
        severity number.

Returns:
    False before init() and after shutdown() too.

Raises:
    ValueError: unknown level.

Costs tens of nanoseconds."),
    MethodDef::END,
];

const DOC: &CStr = c"Records log records under one instrumentation scope. Made by get_logger(); works before init() and in every session.

Records carry the ids of the current span, and the time of the call. As OpenTelemetry's Logger.";

static EMIT_LOG_RECORD: MethodDef = MethodDef::fast(c"emit_log_record", emit_log_record, c"emit_log_record(name, message, *, severity_number, severity_text, attributes=None, timestamp=None, body=None)
--

Records a log record under a logger's name, for bridges from other logging libraries.

Args:
    name: The logger's name: the instrumentation scope, and what `log_filter` goes by.
    message: The body, as for Logger.info().
    severity_number: OpenTelemetry's, 1 (TRACE) to 24 (FATAL4); 0 is none, and counts as lowest.
    severity_text: The source's own name of the severity; None or '' is OpenTelemetry's.
    attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
    timestamp: When it happened, in integer Unix nanoseconds (see now()); default now. Anything else is counted and
        replaced by now.
    body: The body instead of the message, of any type an attribute can have.

Never raises for odd values, never blocks.");

/// Makes the type and the module-level function. At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let slots = [
        slot(ffi::Py_tp_new, capi::no_new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_methods, (&raw const METHODS).cast_mut().cast()),
        slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"pytracingx.Logger".as_ptr(),
        basicsize: size_of::<LoggerObject>() as c_int,
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as _,
        slots: (&raw const slots).cast_mut().cast(),
    };
    // SAFETY: attached; name, methods and doc are statics, the slots are copied.
    let logger_type = unsafe { ffi::PyType_FromSpec(&mut spec) };
    if logger_type.is_null() {
        return Err(PyErr::fetch(module.py()));
    }
    // SAFETY: a new reference; the static keeps another for ever.
    let logger_type = unsafe { Bound::from_owned_ptr(module.py(), logger_type) };
    TYPE.store(logger_type.clone().into_ptr().cast(), Ordering::Relaxed);
    module.add("Logger", &logger_type)?;
    module.add("emit_log_record", EMIT_LOG_RECORD.function(module)?)
}

/// A logger whose records carry an instrumentation scope of their own.
///
/// Args:
///     name: Usually the module's or library's name; what `log_filter` goes by.
///     version: Its version; default none.
///
/// Returns:
///     A Logger. May be called before init(); it works in every session. Make it once and keep it.
///
/// Raises:
///     TypeError: what is no str.
///
/// Costs a tenth of a microsecond or two: make it once and keep it.
#[pyfunction]
#[pyo3(signature = (name, version = None))]
pub(super) fn get_logger<'py>(
    py: Python<'py>,
    name: Text,
    version: Option<Text>,
) -> PyResult<Bound<'py, PyAny>> {
    let scope = Scope {
        name: name.0,
        version: version.map_or_else(String::new, |version| version.0),
        schema_url: String::new(),
    };
    // SAFETY: attached; the fields are written before anybody else sees the object.
    unsafe {
        let logger = ffi::PyType_GenericAlloc(TYPE.load(Ordering::Relaxed), 0);
        if logger.is_null() {
            return Err(PyErr::fetch(py));
        }
        let object = logger.cast::<LoggerObject>();
        (&raw mut (*object).scope).write(Box::into_raw(Box::new(scope)));
        (&raw mut (*object).route).write(AtomicU64::new(0));
        Ok(Bound::from_owned_ptr(py, logger))
    }
}

unsafe extern "C" fn dealloc(object: Object) {
    // SAFETY: called once with the last reference gone; `scope` came from `Box::into_raw`.
    unsafe {
        let logger = object.cast::<LoggerObject>();
        if !(*logger).scope.is_null() {
            drop(Box::from_raw((*logger).scope));
        }
        let logger_type = ffi::Py_TYPE(object);
        let free: unsafe extern "C" fn(*mut c_void) =
            std::mem::transmute(ffi::PyType_GetSlot(logger_type, ffi::Py_tp_free));
        free(object.cast());
        ffi::Py_DECREF(logger_type.cast());
    }
}

/// The logger's route in the session, registered at its first use there.
#[inline]
unsafe fn route(logger: *mut LoggerObject, session: u64) -> Route {
    // SAFETY: alive. Relaxed: the word carries all there is.
    let word = unsafe { (*logger).route.load(Ordering::Relaxed) };
    if word >> 24 == session & 0xff_ffff_ffff {
        return Route { scope: word as u16, threshold: (word >> 16) as u8 };
    }
    // SAFETY: alive.
    unsafe { register(logger, session) }
}

#[cold]
unsafe fn register(logger: *mut LoggerObject, session: u64) -> Route {
    // SAFETY: alive; the scope is never changed.
    unsafe {
        let Some(route) = Route::of(&*(*logger).scope, session) else {
            return Route { scope: 0, threshold: NOTHING };
        };
        let word = session << 24 | u64::from(route.threshold) << 16 | u64::from(route.scope);
        (*logger).route.store(word, Ordering::Relaxed);
        route
    }
}

/// `trace` to `fatal`: severity 1, 5, … 21.
unsafe extern "C" fn at_level<const LEVEL: usize>(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    const fn signature(function: &'static str) -> Signature<3, 1, 1> {
        Signature::new(function, ["message", "attributes", "exc_info"])
    }
    static SIGNATURES: [Signature<3, 1, 1>; 6] = [
        signature("trace"),
        signature("debug"),
        signature("info"),
        signature("warn"),
        signature("error"),
        signature("fatal"),
    ];
    entry(|| {
        let severity_number = 1 + 4 * LEVEL as u8;
        // SAFETY: as called; arguments are borrowed from the caller.
        unsafe {
            // Also when nothing is recorded: a call that is wrong must not wait for a lower threshold to raise.
            let [message, attributes, exc_info] = SIGNATURES[LEVEL].parse(args, count, names)?;
            record(this, severity_number, [message, attributes, exc_info])
        }
    })
}

#[inline(always)]
unsafe fn record(this: Object, severity_number: u8, arguments: [Object; 3]) -> Result<Object, Raised> {
    let session = emit::session();
    if session == 0 {
        return Ok(none());
    }
    // SAFETY: of a method that was called with these arguments.
    unsafe {
        let route = route(this.cast(), session);
        if severity_number < route.threshold {
            return Ok(none());
        }
        log_call::record(session, route, severity_number, arguments)
    }
}

unsafe extern "C" fn log(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<4, 2, 2> =
        Signature::new("log", ["severity_number", "message", "attributes", "exc_info"]);
    entry(|| {
        // SAFETY: as called; arguments are borrowed from the caller.
        unsafe {
            let [severity_number, message, attributes, exc_info] = SIGNATURE.parse(args, count, names)?;
            if emit::session() == 0 {
                return Ok(none());
            }
            // What is no level is a mistake that no usual filter should hide.
            let severity_number = log_record::level(severity_number)?.unwrap_or(ERROR);
            record(this, severity_number, [message, attributes, exc_info])
        }
    })
}

unsafe extern "C" fn exception(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<3, 1, 1> = Signature::new("exception", ["message", "attributes", "exc_info"]);
    entry(|| {
        // SAFETY: as called; arguments are borrowed from the caller.
        unsafe {
            let [message, attributes, exc_info] = SIGNATURE.parse(args, count, names)?;
            let exc_info = if exc_info.is_null() { ffi::Py_True() } else { exc_info };
            record(this, ERROR, [message, attributes, exc_info])
        }
    })
}

unsafe extern "C" fn enabled(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<1, 1, 1> = Signature::new("enabled", ["level"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [level] = SIGNATURE.parse(args, count, names)?;
            let severity_number = known_level(level)?;
            let session = emit::session();
            Ok(bool(session != 0 && severity_number >= route(this.cast(), session).threshold))
        }
    })
}

unsafe fn known_level(object: Object) -> Result<u8, Raised> {
    // SAFETY: attached, alive.
    unsafe {
        if let Some(level) = log_record::level(object)? {
            return Ok(level);
        }
        Err(PyValueError::new_err(format!(
            "unknown level '{}', expected 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' or a severity number",
            String::from_utf8_lossy(&text_of(object)?)
        ))
        .into())
    }
}

unsafe extern "C" fn emit_log_record(
    _module: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<7, 4, 2> = Signature::new(
        "emit_log_record",
        ["name", "message", "severity_number", "severity_text", "attributes", "timestamp", "body"],
    );
    entry(|| {
        // SAFETY: as called; arguments are borrowed from the caller.
        unsafe {
            let [name, message, severity_number, severity_text, attributes, timestamp, body] =
                SIGNATURE.parse(args, count, names)?;
            let session = emit::session();
            if session == 0 {
                return Ok(none());
            }
            let Some(_entered) = Entered::begin() else {
                log_record::count_reentrant(session);
                return Ok(none());
            };
            let severity_number = log_record::severity_number(severity_number);
            let Some(route) = Route::of_name(&text_of(name)?, session) else { return Ok(none()) };
            if severity_number < route.threshold {
                return Ok(none());
            }
            let span = current::span_ids();
            let severity_text = if given(severity_text) { text_of(severity_text)? } else { Vec::new() };
            let unix_nano = time::given_unix_nano(timestamp, session)?;
            let body = Body::of(if given(body) { body } else { message })?;
            let mut converted = GivenAttributes::default();
            log_record::fill(&mut converted, attributes, session)?;
            let converted = Converted {
                severity_number,
                scope: route.scope,
                span,
                unix_nano,
                severity_text: &severity_text,
                body: &body,
                fields: &[],
                attributes: &converted,
            };
            converted.record(session);
        }
        Ok(none())
    })
}
