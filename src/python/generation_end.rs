//! How a `Generation` ends: by `end()`, by leaving `with`, on an exception; and where its prompt and completion go if they
//! are wanted. Cold but for `end()`, once per request; runs Python code before the generation is touched.
#![expect(unsafe_code, reason = "written against the C API")]

use std::borrow::Cow;
use std::ffi::CStr;
use std::ptr;

use pyo3::exceptions::PyBaseException;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::fastcall::{Raised, Signature, bool, entry, exclusively, given, none};
use super::generation::{GenerationObject, end_elsewhere};
use super::generation_begin::{given_count, given_text};
use super::given_attributes::GivenAttributes;
use super::log_record::{self, Body, Converted, Route};
use super::reentry::Entered;
use super::time::given_unix_nano;
use super::{activation, exceptions};
use crate::attrs::{Text, Value};
use crate::emit::{self, AttributeList};
use crate::generation::End;
use crate::generation::names::{CONTENT_EVENT, CONTENT_LOGGER, Key};

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

pub(super) const END_DOC: &CStr = c"end($self, /, finish_reason=None, *, attributes=None, end_time=None, error=None, input_tokens=None, output_tokens=None, prompt=None, completion=None)
--

Ends the request: feeds the metrics, ends the span.

Args:
    finish_reason: Why the model stopped ('stop', 'length', 'tool_calls', 'abort').
    attributes: Mapping of further attributes, as for start_span(); they win over ours.
    end_time: Integer Unix nanoseconds (see now()); default now. One before the start counts as equal to it.
    error: An exception (its type is `error.type`, and it is recorded as an event), the class of the error as text, or True.
        asyncio.CancelledError is no error but leaves an event `cancelled`; KeyboardInterrupt, SystemExit and GeneratorExit
        leave nothing.
    input_tokens: Instead of what generation() was told.
    output_tokens: Instead of what was counted: of a client, whose chunks are not tokens.
    prompt: What was asked, of any type an attribute can have; looked at only if `capture_content` wants it. Then it goes,
        with `completion`, into a log record (INFO) of the logger 'pytracingx.llm.content', in the trace of this request.
    completion: What was answered.

A second call does nothing.";

pub(super) const EXIT_DOC: &CStr = c"__exit__($self, /, exc_type, exc_val, exc_tb)
--

Ends the generation, with the exception as error if there is one, and lets it pass.";

/// An `error` argument, or the exception that leaves `with`.
#[derive(Default)]
struct GivenError<'a> {
    class: Cow<'a, [u8]>,
    message: Vec<u8>,
    event: Option<AttributeList>,
    cancelled: bool,
}

/// OpenTelemetry's fallback of `error.type`.
const OTHER: &[u8] = b"_OTHER";

impl<'a> GivenError<'a> {
    /// # Safety
    /// Attached, not inside `emit::with`; `error` is null, or alive as long as the result is used.
    unsafe fn of(error: Object) -> Result<Self, Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            if !given(error) || error == ffi::Py_False() {
                return Ok(Self::default());
            }
            let exception = Bound::from_borrowed_ptr(Python::assume_attached(), error);
            if !exception.is_instance_of::<PyBaseException>() {
                let class = if error == ffi::Py_True() { Cow::Borrowed(OTHER) } else { given_text(error)? };
                let class = if class.is_empty() { Cow::Borrowed(OTHER) } else { class };
                return Ok(Self { class, ..Self::default() });
            }
            if exceptions::is_no_failure(&exception) {
                return Ok(Self::default());
            }
            if exceptions::is_cancellation(&exception) {
                return Ok(Self { cancelled: true, ..Self::default() });
            }
            let (event, message) = exceptions::describe(&exception, None)?;
            let class = exceptions::type_name(&exception).into_bytes().into();
            Ok(Self { class, message, event: Some(event), cancelled: false })
        }
    }
}

pub(super) unsafe extern "C" fn end(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<8, 0, 1> = Signature::new(
        "end",
        [
            "finish_reason",
            "attributes",
            "end_time",
            "error",
            "input_tokens",
            "output_tokens",
            "prompt",
            "completion",
        ],
    );
    entry(|| {
        // SAFETY: as called.
        unsafe { finish_at_any_rate(this, SIGNATURE.parse(args, count, names)?)? };
        Ok(none())
    })
}

/// An interrupt that arrives while arguments are converted passes, but does not leave the generation open.
///
/// # Safety
/// Attached, not inside `emit::with`; the arguments are null or alive.
unsafe fn finish_at_any_rate(this: Object, arguments: [Object; 8]) -> Result<(), Raised> {
    // SAFETY: as promised by the caller; without arguments no Python code runs.
    unsafe {
        finish(this, arguments).inspect_err(|_| {
            let _ = finish(this, [ptr::null_mut(); 8]);
        })
    }
}

unsafe fn finish(
    this: Object,
    [reason, attributes, end_time, error, input_tokens, output_tokens, prompt, completion]: [Object; 8],
) -> Result<(), Raised> {
    // SAFETY: as promised by the caller; no Python code runs while the generation is borrowed.
    unsafe {
        let (is_open, session) = exclusively(this, |generation: &mut GenerationObject| {
            (generation.core.is_open(), generation.core.span.context.session)
        });
        if !is_open {
            return Ok(());
        }
        let unix_nano = given_unix_nano(end_time, session)?;
        let reason = given_text(reason)?;
        let error = GivenError::of(error)?;
        let (input_tokens, output_tokens) =
            (given_count(input_tokens, session)?, given_count(output_tokens, session)?);
        let limits = emit::with(session, |thread| thread.intake.limits).unwrap_or_default();
        let mut further = GivenAttributes::default();
        further.fill(attributes, session, limits.attributes)?;
        let content = if given(prompt) || given(completion) {
            content(this, session, prompt, completion, unix_nano)
        } else {
            Ok(())
        };
        exclusively(this, |GenerationObject { core, .. }: &mut _| {
            let ended = emit::with(session, |thread| {
                let mut items = thread.take_items();
                let dropped_attributes = further.put(&mut items, limits.attributes, thread);
                if let Some(event) = &error.event {
                    let (event, dropped) = event.within(limits.attributes_per_event);
                    core.span.add_event(thread, Text::Inline(b"exception"), unix_nano, event, dropped);
                }
                let end = End {
                    unix_nano,
                    finish_reason: &reason,
                    error_type: &error.class,
                    error_message: &error.message,
                    cancelled: error.cancelled,
                    input_tokens,
                    output_tokens,
                    attributes: &items,
                    dropped_attributes,
                };
                core.end(thread, &end);
                thread.return_items(items);
            });
            if ended.is_none() {
                end_elsewhere(core);
            }
        });
        content
    }
}

/// Records prompt and completion, if they are wanted and some destination takes them.
#[cold]
unsafe fn content(
    this: Object,
    session: u64,
    prompt: Object,
    completion: Object,
    unix_nano: Option<u64>,
) -> Result<(), Raised> {
    const INFO: u8 = 9;
    // SAFETY: attached, not inside `emit::with`; the objects are null or alive. The generation is read, not kept.
    unsafe {
        let (wanted, names, span) =
            exclusively(this, |GenerationObject { content, names, core, .. }: &mut _| {
                let span = core.span.context.ids();
                (content.has(span.trace_id), *names, span)
            });
        if !wanted {
            return Ok(());
        }
        let Some(route) = Route::of_name(CONTENT_LOGGER.as_bytes(), session) else { return Ok(()) };
        let Some(_entered) = Entered::begin() else {
            log_record::count_reentrant(session);
            return Ok(());
        };
        if INFO < route.threshold {
            return Ok(());
        }
        let py = Python::assume_attached();
        let texts = PyDict::new(py);
        for (key, object) in [(Key::Prompt, prompt), (Key::Completion, completion)] {
            for name in key.names(names).filter(|_| given(object)) {
                texts.set_item(name, Bound::from_borrowed_ptr(py, object))?;
            }
        }
        let mut attributes = GivenAttributes::default();
        log_record::fill(&mut attributes, texts.as_ptr(), session)?;
        let record = Converted {
            severity_number: INFO,
            scope: route.scope,
            span,
            unix_nano,
            severity_text: b"",
            body: &Body::Simple(Value::Str(CONTENT_EVENT.as_bytes())),
            fields: &[],
            attributes: &attributes,
        };
        record.record(session);
    }
    Ok(())
}

pub(super) unsafe extern "C" fn exit(this: Object, args: Args, count: ffi::Py_ssize_t, _: Object) -> Object {
    entry(|| {
        // SAFETY: the interpreter calls with a live generation; the second argument is the exception or None.
        unsafe {
            let exception = if count > 1 { *args.add(1) } else { ptr::null_mut() };
            let mut arguments = [ptr::null_mut(); 8];
            arguments[3] = exception;
            finish_at_any_rate(this, arguments)?;
        }
        Ok(bool(false))
    })
}

pub(super) unsafe extern "C" fn async_enter(this: Object, _: Object) -> Object {
    entry(|| {
        // SAFETY: attached; borrowed for the call.
        let value = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), this) };
        Ok(activation::Ready::object(&value)?)
    })
}

pub(super) unsafe extern "C" fn async_exit(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
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
