//! What Python sees of a `Span`: methods, in the vectorcall form.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{CStr, c_void};
use std::ptr;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::capi::MethodDef;
use super::convert::GivenName;
use super::fastcall::{Raised, Signature, bool, entry, given, none};
use super::given_attributes::GivenAttributes;
use super::objects::text_of;
use super::span::{self, SpanObject};
use super::span_context::SpanContext;
use super::span_parts::{self, Place};
use super::{activation, exceptions, time};
use crate::emit::{self, Parent, StatusUpdate};
use crate::record::StatusCode;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

pub(super) const DOC: &CStr =
    c"A span that has begun. Made by start_span(); ends with end(), or by leaving `with` or `async with`.

May be used and ended on any thread or task. No method raises for odd values; what cannot be kept is counted. After the
end, and when no sink wants it, calls do nothing. Unreferenced and unended it is ended when collected, and counted.

Leaving `with` on an exception records it and sets status error, unless a status was set; KeyboardInterrupt, SystemExit
and GeneratorExit do not count, asyncio.CancelledError leaves an event `cancelled`.

As OpenTelemetry's Span.";

pub(super) static TABLE: [MethodDef; 16] = [
    MethodDef::no_args(c"__enter__", enter, c"__enter__($self, /)
--

The span itself."),
    MethodDef::fast(c"__exit__", exit, c"__exit__($self, /, exc_type, exc_val, exc_tb)
--

Ends the span; records the exception, if there is one, and lets it pass."),
    MethodDef::no_args(c"__aenter__", async_enter, c"__aenter__($self, /)\n--\n\nThe span itself, for `async with`."),
    MethodDef::fast(c"__aexit__", async_exit, c"__aexit__($self, /, exc_type, exc_val, exc_tb)\n--\n\nAs __exit__, for `async with`."),
    MethodDef::fast(c"set_attribute", set_attribute, c"set_attribute($self, /, key, value)
--

Sets an attribute; the last value for a key wins.

Args:
    key: The name; an empty one is dropped and counted.
    value: str, bool, int, float, bytes, or a list, tuple or dict of these. None is dropped; ints beyond 64 bits and other
        objects become text (at most 4 KiB), tensors and arrays their type's name.

Some 40 nanoseconds for numbers and short texts."),
    MethodDef::fast(c"set_attributes", set_attributes, c"set_attributes($self, /, attributes)
--

Sets several attributes.

Args:
    attributes: A mapping; keys and values as for set_attribute(). Anything else is counted.

Costs what as many set_attribute() calls cost; attributes given to start_span() cost less."),
    MethodDef::fast(c"set_status", set_status, c"set_status($self, /, code, description=None)
--

Sets the status.

Args:
    code: 'ok' (final: later ones are ignored), 'error' or 'unset' (ignored), in any case.
    description: Kept with 'error' only.

Raises:
    ValueError: unknown code.

Some 70 nanoseconds."),
    MethodDef::fast(c"update_name", update_name, c"update_name($self, /, name)
--

Replaces the name. Sampling is not decided again.

Args:
    name: As for start_span().

Some 30 nanoseconds."),
    MethodDef::fast(c"add_event", add_event, c"add_event($self, /, name, attributes=None, timestamp=None)
--

Adds an event. 128 are kept unless the sinks say otherwise.

Args:
    name: What happened.
    attributes: Mapping, as for set_attribute(); 128 are kept.
    timestamp: Integer Unix nanoseconds (see now()); default now. Anything else is counted and replaced by now.

Some 50 nanoseconds, and 40 an attribute."),
    MethodDef::fast(c"add_link", add_link, c"add_link($self, /, context, attributes=None)
--

Links another span, of this or another trace. 128 are kept unless the sinks say otherwise.

Args:
    context: A SpanContext or a Span; anything else, and one without ids, is ignored.
    attributes: Mapping, as for set_attribute(); 128 are kept.

Some 70 nanoseconds, and 40 an attribute."),
    MethodDef::fast(c"record_exception", record_exception, c"record_exception($self, /, exception, escaped=False, *, attributes=None, timestamp=None)
--

Adds an event `exception` (type, message, stacktrace) and sets status error with the message.

The same exception leaving `with` afterwards is not recorded twice.

Args:
    exception: The exception.
    escaped: What `exception.escaped` says: whether it left the span's scope.
    attributes: Mapping of further attributes of the event; they win over its own.
    timestamp: Integer Unix nanoseconds (see now()); default now.

Ten microseconds and more: the traceback is formatted, by Python's own `traceback`."),
    MethodDef::fast(c"end", end, c"end($self, /, end_time=None)
--

Ends the span and makes current again what was before it, if it is current itself.

Args:
    end_time: Integer Unix nanoseconds (see now()); default now. One before the start counts as equal to it.

A second call does nothing. Half of what start_span() says a span costs."),
    MethodDef::no_args(c"trace_id", trace_id, c"trace_id($self, /)
--

The trace id: 32 lower-case hexadecimal digits, also after the end; None before init().

Costs tens of nanoseconds."),
    MethodDef::no_args(c"span_id", span_id, c"span_id($self, /)
--

The span id: 16 lower-case hexadecimal digits, also after the end; None before init().

Costs tens of nanoseconds."),
    MethodDef::no_args(c"is_recording", is_recording, c"is_recording($self, /)
--

Whether what is set on the span is kept: it has not ended, and some sink wants it.

Costs tens of nanoseconds."),
    MethodDef::END,
];

/// `PyGetSetDef`, whose pointers keep it from being a static otherwise.
#[repr(transparent)]
pub(super) struct GetSet([ffi::PyGetSetDef; 2]);

// SAFETY: holds pointers to statics only.
unsafe impl Sync for GetSet {}

pub(super) static GETSET: GetSet = GetSet([
    ffi::PyGetSetDef {
        name: c"context".as_ptr(),
        get: Some(context),
        set: None,
        doc: c"The span's SpanContext: immutable, picklable; the same after the end.".as_ptr(),
        closure: ptr::null_mut(),
    },
    ffi::PyGetSetDef { name: ptr::null(), get: None, set: None, doc: ptr::null(), closure: ptr::null_mut() },
]);

unsafe extern "C" fn enter(this: Object, _: Object) -> Object {
    // SAFETY: alive, attached.
    unsafe { ffi::Py_INCREF(this) };
    this
}

unsafe extern "C" fn exit(this: Object, args: Args, count: ffi::Py_ssize_t, _: Object) -> Object {
    entry(|| {
        // SAFETY: the interpreter calls with a live span; the second argument is the exception or None.
        unsafe {
            let exception = if count > 1 { *args.add(1) } else { ptr::null_mut() };
            let raised = if given(exception) { leave(this.cast(), exception) } else { Ok(()) };
            span::end(this.cast(), None);
            raised?;
        }
        Ok(bool(false))
    })
}

#[cold]
unsafe fn leave(span: *mut SpanObject, exception: Object) -> Result<(), Raised> {
    // SAFETY: attached; borrowed for the call.
    unsafe {
        let exception = Bound::from_borrowed_ptr(Python::assume_attached(), exception);
        exceptions::leaving(span, &exception)
    }
}

unsafe extern "C" fn async_enter(this: Object, _: Object) -> Object {
    entry(|| {
        // SAFETY: attached; borrowed for the call.
        let value = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), this) };
        Ok(activation::Ready::object(&value)?)
    })
}

unsafe extern "C" fn async_exit(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    // SAFETY: as called.
    let result = unsafe { exit(this, args, count, names) };
    if result.is_null() {
        return result;
    }
    entry(|| {
        // SAFETY: attached; a new reference.
        let value = unsafe { Bound::from_owned_ptr(Python::assume_attached(), result) };
        Ok(activation::Ready::object(&value)?)
    })
}

/// The span behind a method's object.
unsafe fn place(this: Object) -> Place {
    // SAFETY: the interpreter calls methods with live objects of their type.
    unsafe { Place::of(this.cast()) }
}

/// What it began with, and keeps.
unsafe fn inherited<'a>(this: Object) -> &'a Parent {
    // SAFETY: as above.
    unsafe { &(*this.cast::<SpanObject>()).live.context }
}

unsafe extern "C" fn set_attribute(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<2, 2, 2> = Signature::new("set_attribute", ["key", "value"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [key, value] = SIGNATURE.parse(args, count, names)?;
            span_parts::set_attribute(place(this), key, value)?;
        }
        Ok(none())
    })
}

unsafe extern "C" fn set_attributes(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<1, 1, 1> = Signature::new("set_attributes", ["attributes"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [attributes] = SIGNATURE.parse(args, count, names)?;
            if given(attributes) {
                span_parts::set_attributes(place(this), attributes)?;
            }
        }
        Ok(none())
    })
}

unsafe extern "C" fn set_status(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<2, 1, 2> = Signature::new("set_status", ["code", "description"]);
    entry(|| {
        // SAFETY: as called; the span is not referenced while arguments are converted.
        unsafe {
            let [code, description] = SIGNATURE.parse(args, count, names)?;
            let code = status_code(code)?;
            let description = if given(description) { text_of(description)? } else { Vec::new() };
            let update = StatusUpdate { code, description: &description };
            place(this)
                .with(|live| emit::with(live.context.session, |thread| live.set_status(thread, update)));
        }
        Ok(none())
    })
}

/// A status code by name.
pub(super) unsafe fn status_code(code: Object) -> Result<StatusCode, Raised> {
    // SAFETY: attached, alive.
    let text = unsafe { text_of(code)? };
    match text.to_ascii_lowercase().as_slice() {
        b"ok" => Ok(StatusCode::Ok),
        b"error" => Ok(StatusCode::Error),
        b"unset" => Ok(StatusCode::Unset),
        _ => Err(PyValueError::new_err(format!(
            "unknown status code '{}', expected 'ok' | 'error' | 'unset'",
            String::from_utf8_lossy(&text)
        ))
        .into()),
    }
}

unsafe extern "C" fn update_name(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<1, 1, 1> = Signature::new("update_name", ["name"]);
    entry(|| {
        // SAFETY: as called; the span is not referenced while arguments are converted.
        unsafe {
            let [name] = SIGNATURE.parse(args, count, names)?;
            let session = inherited(this).session;
            let name = GivenName::of(name, session)?;
            emit::with(session, |thread| {
                let name = name.resolve(thread);
                place(this).with(|live| live.update_name(thread, name));
            });
        }
        Ok(none())
    })
}

unsafe extern "C" fn add_event(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<3, 1, 3> = Signature::new("add_event", ["name", "attributes", "timestamp"]);
    entry(|| {
        // SAFETY: as called; the span is not referenced while arguments are converted.
        unsafe {
            let [name, attributes, timestamp] = SIGNATURE.parse(args, count, names)?;
            let place = place(this);
            if !place.is_recording() {
                return Ok(none());
            }
            let session = place.session();
            let name = GivenName::of(name, session)?;
            let time = time::given_unix_nano(timestamp, session)?;
            let limit = span_parts::limits(session).attributes_per_event;
            let mut given = GivenAttributes::default();
            given.fill(attributes, session, limit)?;
            emit::with(session, |thread| {
                let mut items = thread.take_items();
                let dropped = given.put(&mut items, limit, thread);
                let name = name.resolve(thread);
                place.with(|live| live.add_event(thread, name, time, &items, dropped));
                thread.return_items(items);
            });
        }
        Ok(none())
    })
}

unsafe extern "C" fn add_link(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<2, 1, 2> = Signature::new("add_link", ["context", "attributes"]);
    entry(|| {
        // SAFETY: as called; the span is not referenced while arguments are converted.
        unsafe {
            let [context, attributes] = SIGNATURE.parse(args, count, names)?;
            let place = place(this);
            if place.is_recording() {
                span_parts::link(place, context, attributes)?;
            }
        }
        Ok(none())
    })
}

unsafe extern "C" fn record_exception(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<4, 1, 2> =
        Signature::new("record_exception", ["exception", "escaped", "attributes", "timestamp"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [exception, escaped, attributes, timestamp] = SIGNATURE.parse(args, count, names)?;
            let escaped = given(escaped) && ffi::PyObject_IsTrue(escaped) > 0;
            ffi::PyErr_Clear();
            let time = time::given_unix_nano(timestamp, inherited(this).session)?;
            let attributes = if given(attributes) { attributes } else { ptr::null_mut() };
            let exception = Bound::from_borrowed_ptr(Python::assume_attached(), exception);
            exceptions::record(this.cast(), &exception, escaped, attributes, time)?;
        }
        Ok(none())
    })
}

unsafe extern "C" fn end(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<1, 0, 1> = Signature::new("end", ["end_time"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [end_time] = SIGNATURE.parse(args, count, names)?;
            let time = time::given_unix_nano(end_time, inherited(this).session)?;
            span::end(this.cast(), time);
        }
        Ok(none())
    })
}

unsafe extern "C" fn trace_id(this: Object, _: Object) -> Object {
    entry(|| {
        // SAFETY: alive.
        let id = unsafe { inherited(this).trace_id };
        Ok(if id.is_valid() { text(&id.to_hex()) } else { none() })
    })
}

unsafe extern "C" fn span_id(this: Object, _: Object) -> Object {
    entry(|| {
        // SAFETY: alive.
        let id = unsafe { inherited(this).span_id };
        Ok(if id.is_valid() { text(&id.to_hex()) } else { none() })
    })
}

/// A new `str`.
fn text(text: &[u8]) -> Object {
    // SAFETY: attached; ASCII. Null with an exception set when out of memory, which is passed on.
    unsafe { ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as ffi::Py_ssize_t) }
}

unsafe extern "C" fn is_recording(this: Object, _: Object) -> Object {
    // SAFETY: alive, attached.
    unsafe { bool(place(this).is_recording() && inherited(this).session == crate::sys::fork::session()) }
}

unsafe extern "C" fn context(this: Object, _: *mut c_void) -> Object {
    entry(|| {
        // SAFETY: alive, attached.
        unsafe { Ok(Py::new(Python::assume_attached(), SpanContext::of(inherited(this)))?.into_ptr()) }
    })
}

pub(super) unsafe extern "C" fn repr(this: Object) -> Object {
    entry(|| {
        // SAFETY: alive, attached.
        let (is_recording, Parent { trace_id, span_id, .. }) =
            unsafe { (place(this).is_recording(), inherited(this)) };
        let state = if is_recording { "recording" } else { "not recording" };
        Ok(text(format!("<Span trace_id={trace_id:?} span_id={span_id:?} {state}>").as_bytes()))
    })
}
