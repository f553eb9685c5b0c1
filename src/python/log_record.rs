//! What [`super::logger`] and [`super::stdlib_logging`] share: where a logger's records go, and a log record whose parts
//! are all converted on its way into the lane. Nothing here blocks; nothing here runs Python code but [`Body::of`] and
//! [`exception_of`], whose callers are not inside `emit::with`.
#![expect(unsafe_code, reason = "written against the C API")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_int;

use foldhash::fast::RandomState;
use pyo3::exceptions::{PyBaseException, PyException};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::convert::Encoder;
use super::exceptions;
use super::fastcall::{Raised, given};
use super::given_attributes::GivenAttributes;
use super::objects::{Owned, swallow, text_of};
use super::simple::{Limited, each_simple, simple};
use super::strings::{Name, utf8};
use crate::attrs::{self, Value, tag};
use crate::emit::{self, LogRecord, SpanIds, Thread};
use crate::intern::Scope;
use crate::record::severity_name;
use crate::stats::DropReason;

type Object = *mut ffi::PyObject;

/// OpenTelemetry's largest severity number (FATAL4).
const MAX_SEVERITY: u8 = 24;
/// Logger names of one thread that are remembered; beyond, all are looked up again.
const MAX_ROUTES: usize = 1024;
/// A larger body's memory is sized for it beforehand: grown to twice its size it would be copied again.
const LARGE_BODY_BYTES: usize = 32 * 1024;

/// Where a logger's records go in one session.
#[derive(Clone, Copy)]
pub(super) struct Route {
    /// Index of its scope.
    pub(super) scope: u16,
    /// Lower severity numbers are wanted by nobody.
    pub(super) threshold: u8,
}

type Routes = HashMap<Box<[u8]>, Route, RandomState>;

impl Route {
    /// A logger's, registered with its session. Takes a lock: not for hot calls.
    pub(super) fn of(scope: &Scope, session: u64) -> Option<Self> {
        emit::with(session, |thread| Self {
            scope: thread.intake.strings.scope_index(scope),
            threshold: thread.intake.log_routes.threshold(&scope.name),
        })
    }

    /// That of a logger that is known by name only, remembered per thread.
    pub(super) fn of_name(name: &[u8], session: u64) -> Option<Self> {
        thread_local! {
            static ROUTES: RefCell<(u64, Routes)> = RefCell::default();
        }
        let route = |routes: &RefCell<(u64, Routes)>| {
            let (known_session, routes) = &mut *routes.borrow_mut();
            if *known_session != session || routes.len() > MAX_ROUTES {
                routes.clear();
                *known_session = session;
            }
            if let Some(route) = routes.get(name) {
                return Some(*route);
            }
            let scope = Scope { name: String::from_utf8_lossy(name).into_owned(), ..Scope::default() };
            let route = Self::of(&scope, session)?;
            routes.insert(name.into(), route);
            Some(route)
        };
        ROUTES.try_with(route).ok().flatten()
    }
}

/// What a record says.
pub(super) enum Body<'a> {
    Simple(Value<'a>),
    /// One element, see [`Encoder::element`].
    Encoded(Encoder),
}

impl Body<'_> {
    /// Of any object: what can be an attribute's value keeps its type, anything else becomes text.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; `object` is alive as long as the result is used.
    #[inline]
    pub(super) unsafe fn of(object: Object) -> Result<Self, Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            match simple(object) {
                Some(value) => Ok(Self::Simple(value)),
                None => Self::of_unusual(object),
            }
        }
    }

    #[cold]
    unsafe fn of_unusual(object: Object) -> Result<Self, Raised> {
        // SAFETY: attached, alive.
        unsafe {
            if object == ffi::Py_None() {
                return Ok(Self::Simple(Value::Str(b"None")));
            }
            let mut encoder = Encoder::default();
            encoder.element(object)?;
            Ok(Self::Encoded(encoder))
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(Value::Str(text)) => put_text(out, text),
            Self::Simple(value) => {
                if let Value::Bytes(bytes) = value {
                    reserve_for(out, bytes);
                }
                attrs::put_body(out, *value);
            }
            Self::Encoded(encoder) => attrs::put_body_element(out, encoder.items()),
        }
    }
}

/// A log record whose parts are all converted.
pub(super) struct Converted<'a> {
    /// At most [`MAX_SEVERITY`].
    pub(super) severity_number: u8,
    pub(super) scope: u16,
    pub(super) span: SpanIds,
    /// When it happened; `None`: now.
    pub(super) unix_nano: Option<u64>,
    /// Empty: OpenTelemetry's.
    pub(super) severity_text: &'a [u8],
    pub(super) body: &'a Body<'a>,
    /// Come before the attributes.
    pub(super) fields: &'a [(Name<'a>, Value<'a>)],
    pub(super) attributes: &'a GivenAttributes<'a>,
}

impl Converted<'_> {
    /// Records it, or counts it as lost.
    #[inline]
    pub(super) fn record(&self, session: u64) {
        emit::with(session, |thread| {
            let mut items = thread.take_items();
            self.put(&mut items, thread);
            let log = LogRecord {
                severity_number: self.severity_number,
                scope: self.scope,
                span: self.span,
                unix_nano: self.unix_nano,
            };
            thread.log(&log, items);
        });
    }

    /// The body last: it may be large, and by then what is there is all that comes with it.
    #[inline]
    fn put(&self, items: &mut Vec<u8>, thread: &Thread) {
        let limit = thread.intake.log_limits.attributes;
        let kept = self.fields.len().min(limit as usize);
        for (key, value) in &self.fields[..kept] {
            attrs::put_attribute(items, key.resolve(thread), *value);
        }
        let cut = (self.fields.len() - kept) as u32 + self.attributes.put(items, limit - kept as u32, thread);
        if cut > 0 {
            attrs::put_dropped(items, cut, 0, 0);
        }
        if !self.severity_text.is_empty()
            && self.severity_text != severity_name(self.severity_number).as_bytes()
        {
            attrs::put_text_item(items, tag::SEVERITY_TEXT, self.severity_text);
        }
        self.body.put(items);
    }
}

/// The message if it is an exact `str`, as nearly every one is.
///
/// # Safety
/// Attached; `message` is alive as long as the result is used.
#[inline]
pub(super) unsafe fn plain_text<'a>(message: Object) -> Option<&'a [u8]> {
    // SAFETY: attached, and alive as long as the call.
    unsafe { if ffi::PyUnicode_CheckExact(message) != 0 { utf8(message) } else { None } }
}

/// Records a message with its attributes, if all are simple. False: it takes the general way.
///
/// # Safety
/// Attached, not inside `emit::with`; `attributes` is alive or null.
#[inline(always)]
pub(super) unsafe fn record_text(log: LogRecord, text: &[u8], attributes: Object, session: u64) -> bool {
    // SAFETY: as promised by the caller. The thread's state is not referenced while attributes are converted, and where all
    // were simple nothing ran that could have moved it.
    unsafe {
        let Some(thread) = emit::thread(session) else { return true };
        if !given(attributes) && text.len() <= attrs::SHORT_BYTES {
            (*thread).log_short_text(log, text);
            return true;
        }
        let room = (&*thread).intake.log_limits.attributes;
        let mut limited = Limited { items: (*thread).take_items(), room, cut: 0 };
        if given(attributes) {
            if ffi::PyDict_CheckExact(attributes) == 0 || !each_simple(attributes, session, &mut limited) {
                emit::with(session, |thread| thread.return_items(limited.items));
                return false;
            }
            if limited.cut > 0 {
                attrs::put_dropped(&mut limited.items, limited.cut, 0, 0);
            }
        }
        put_text(&mut limited.items, text);
        (*thread).log(&log, limited.items);
    }
    true
}

/// The body last: it may be large, and by then what is there is all that comes with it.
#[inline(always)]
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    reserve_for(out, text);
    attrs::put_body(out, Value::Str(text));
}

#[inline(always)]
fn reserve_for(out: &mut Vec<u8>, body: &[u8]) {
    if body.len() > LARGE_BODY_BYTES {
        // An item's word, a tag and a length.
        out.reserve_exact(body.len() + 9);
    }
}

/// How many attributes of a record are kept.
pub(super) fn attribute_limit(session: u64) -> u32 {
    emit::with(session, |thread| thread.intake.log_limits.attributes).unwrap_or(0)
}

/// A record that was made while this thread was inside our own code.
#[cold]
pub(super) fn count_reentrant(session: u64) {
    emit::with(session, |thread| thread.intake.counters.logs_dropped.add(DropReason::Reentrant, 1));
}

/// A severity number within OpenTelemetry's range; 0 (unspecified) for what is no int.
///
/// # Safety
/// Attached; `object` is alive.
#[inline]
pub(super) unsafe fn severity_number(object: Object) -> u8 {
    // SAFETY: attached, alive; an int (or a subclass) converts without running Python code.
    unsafe { int(object) }.map_or(0, |number| number.clamp(0, MAX_SEVERITY.into()) as u8)
}

/// An int's value, saturated; `None` for anything else.
///
/// # Safety
/// Attached; `object` is alive.
pub(super) unsafe fn int(object: Object) -> Option<i64> {
    let mut overflow: c_int = 0;
    // SAFETY: attached, alive; an int (or a subclass) converts without running Python code.
    unsafe {
        if ffi::PyLong_Check(object) == 0 {
            return None;
        }
        let value = ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow);
        Some(match overflow {
            0 => value,
            1.. => i64::MAX,
            _ => i64::MIN,
        })
    }
}

/// The number of a severity's name in any case, stdlib's names included.
fn severity_of_name(name: &[u8]) -> Option<u8> {
    const NAMES: [(&[u8], u8); 8] = [
        (b"trace", 1),
        (b"debug", 5),
        (b"info", 9),
        (b"warn", 13),
        (b"warning", 13),
        (b"error", 17),
        (b"fatal", 21),
        (b"critical", 21),
    ];
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}

/// A severity number, as such or as the value of an enumeration's member (OpenTelemetry's `SeverityNumber`), or that of a
/// level's name; `None` for anything else.
///
/// # Safety
/// Attached, not inside `emit::with`; `object` is alive.
pub(super) unsafe fn level(object: Object) -> Result<Option<u8>, Raised> {
    // SAFETY: as promised by the caller.
    unsafe {
        if ffi::PyLong_Check(object) != 0 {
            return Ok(Some(severity_number(object)));
        }
        if ffi::PyUnicode_Check(object) != 0 {
            return Ok(severity_of_name(&text_of(object)?));
        }
        let value = Owned(ffi::PyObject_GetAttrString(object, c"value".as_ptr()));
        if value.0.is_null() {
            swallow()?;
            return Ok(None);
        }
        Ok((ffi::PyLong_Check(value.0) != 0).then(|| severity_number(value.0)))
    }
}

/// The `exc_info` argument as stdlib's logging takes it, converted together with `attributes`, which win over it.
///
/// # Safety
/// Attached, not inside `emit::with`; the objects are alive or null, and alive as long as `out` is used.
#[cold]
pub(super) unsafe fn fill_with_exception(
    out: &mut GivenAttributes<'_>,
    exc_info: Object,
    attributes: Object,
    session: u64,
) -> Result<(), Raised> {
    // SAFETY: attached, alive.
    unsafe {
        let limit = attribute_limit(session);
        match exception_of(&Bound::from_borrowed_ptr(Python::assume_attached(), exc_info))? {
            None => out.fill(attributes, session, limit),
            Some(exception) => {
                let (described, _) = exceptions::describe(&exception, None)?;
                out.fill_over(described, attributes, limit)
            }
        }
    }
}

/// What is meant by `exc_info`: an exception, a tuple as of `sys.exc_info()`, or anything true, for the exception that
/// is being handled.
pub(super) fn exception_of<'py>(exc_info: &Bound<'py, PyAny>) -> Result<Option<Bound<'py, PyAny>>, Raised> {
    let py = exc_info.py();
    let found = || -> PyResult<Option<Bound<'py, PyAny>>> {
        let is_exception = |object: &Bound<'py, PyAny>| object.is_instance_of::<PyBaseException>();
        if is_exception(exc_info) {
            return Ok(Some(exc_info.clone()));
        }
        let tuple = match exc_info.cast::<PyTuple>() {
            Ok(tuple) => tuple.clone(),
            Err(_) if exc_info.is_truthy()? => py.import("sys")?.getattr("exc_info")?.call0()?.cast_into()?,
            Err(_) => return Ok(None),
        };
        Ok(tuple.get_item(1).ok().filter(is_exception))
    };
    match found() {
        Ok(exception) => Ok(exception),
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An optional argument's attributes, none of which is an exception's.
///
/// # Safety
/// As [`GivenAttributes::fill`].
#[inline]
pub(super) unsafe fn fill(
    out: &mut GivenAttributes<'_>,
    attributes: Object,
    session: u64,
) -> Result<(), Raised> {
    if !given(attributes) {
        return Ok(());
    }
    // SAFETY: as promised by the caller.
    unsafe { out.fill(attributes, session, attribute_limit(session)) }
}
