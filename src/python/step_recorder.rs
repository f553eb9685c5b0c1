//! `StepRecorder`: what the steps of one loop have in common. Against the C API for the same reasons as [`super::span`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{CStr, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::capi::{self, METH_FASTCALL, MethodDef};
use super::convert::Encoder;
use super::fastcall::{Raised, Signature, entry, exclusively, from_tuple_and_dict, given, none};
use super::generation_begin::{self, given_choice, given_text};
use super::instrument::MAX_ATTRIBUTES;
use super::instrument_types::canonical;
use super::log_record::int;
use super::objects::text_of;
use super::{step, types};
use crate::attrs::{self, Text, Value};
use crate::emit;
use crate::generation::names::{Key, NAMES, Names};
use crate::generation::step::{FIELDS, Fields, Known, Loop, Step, Turn};
use crate::sys::ticks;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// A Python `StepRecorder`.
#[repr(C)]
pub(super) struct RecorderObject {
    base: ffi::PyObject,
    /// [`call`]: the interpreter finds it through `__vectorcalloffset__`.
    call: types::VectorCall,
    pub(super) state: Recorder,
}

pub(super) struct Recorder {
    pub(super) turn: Loop,
    /// Of every span.
    name: Vec<u8>,
    /// Every so many steps have a span.
    spans: u64,
    /// Of the metrics, as bindings want them.
    attributes: Box<[u8]>,
    names: Names,
    /// What the latest session says of them.
    known: Option<Arc<Known>>,
}

/// `StepRecorder`. Relaxed: stored at import, before anybody has the module.
static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

static STEP_RECORDER: MethodDef = MethodDef::fast(c"step_recorder", step_recorder, c"step_recorder(name, *, spans=1, attributes=None, semconv=None)
--

Records the steps of a scheduler's loop.

Args:
    name: What a step is ('decode'): the name of its span, and the attribute `llm.engine.step.name`.
    spans: Every so many steps have a span, a root of its own that sinks sample as any other; 1 (default) is every step,
        0 none. Metrics are fed by all.
    attributes: Mapping of the metrics' attributes ({'engine': 0}), converted now.
    semconv: As for generation().

Returns:
    A StepRecorder. May be called before init(); it works in every session. Make one for each loop and keep it.

Raises:
    ValueError: unknown semconv, or spans that are not an integer from 0 on.

    step = ptx.step_recorder('decode')
    while True:
        with step(waiting=len(queue)) as s:
            batch = schedule()
            s.set(batch_size=len(batch), scheduled_tokens=batch.tokens)
            run(batch)

Costs about half a microsecond, once.");

const DOC: &CStr = c"Records the steps of one scheduler loop. Made by step_recorder(); works before init() and in every session.

Feeds llm.engine.step.duration and llm.engine.step.gap (from the end of a step to the beginning of the next: what an
accelerator waited for), and what a step is told: batch_size, requests_running, scheduled_tokens, kv_cache_usage,
requests_waiting, preemptions, prefix_cache.queries, prefix_cache.hits and prefix_cache.hit_rate.";

const STEP_DOC: &CStr = c"step($self, /, *, batch_size=None, scheduled_tokens=None, kv_cache_usage=None, preemptions=None, prefix_cache_queries=None, prefix_cache_hits=None, waiting=None)
--

A step, to be entered with `with`; what is not known yet can be set on it.

Args:
    batch_size: Requests in the step.
    scheduled_tokens: Tokens scheduled in it.
    kv_cache_usage: Share of the KV cache in use, 0 to 1.
    preemptions: Requests put back in this step.
    prefix_cache_queries: Tokens looked up in the prefix cache in this step.
    prefix_cache_hits: Tokens found there.
    waiting: Requests that wait.

Values that are no numbers, negative, NaN or infinite are ignored, and counted in stats(). A few tenths of a microsecond
with its end.";

const RECORD_DOC: &CStr = c"record($self, start_time, /, *, batch_size=None, scheduled_tokens=None, kv_cache_usage=None, preemptions=None, prefix_cache_queries=None, prefix_cache_hits=None, waiting=None)
--

Records a step that is over, in one call: for loops whose steps overlap, or begin and end in different places.

Args:
    start_time: Integer Unix nanoseconds (see now()). Anything else is counted and replaced by now.
    batch_size: As for step().
    scheduled_tokens: As for step().
    kv_cache_usage: As for step().
    preemptions: As for step().
    prefix_cache_queries: As for step().
    prefix_cache_hits: As for step().
    waiting: As for step().

Lasts until now; a step of the wall clock meanwhile counts. Half of what `with` costs.";

const CALL_DOC: &CStr = c"__call__($self, /, *, batch_size=None, scheduled_tokens=None, kv_cache_usage=None, preemptions=None, prefix_cache_queries=None, prefix_cache_hits=None, waiting=None)
--

As step().";

static METHODS: [MethodDef; 5] = [
    MethodDef::fast(c"step", step, STEP_DOC),
    MethodDef::fast(c"record", record, RECORD_DOC),
    // Beside the slot, which has no signature to show.
    MethodDef {
        flags: METH_FASTCALL | ffi::METH_KEYWORDS | ffi::METH_COEXIST,
        ..MethodDef::fast(c"__call__", step, CALL_DOC)
    },
    MethodDef::no_args(
        c"idle",
        idle,
        c"idle($self, /)\n--\n\nNothing to run: what passes until the next step begins is no gap.\n\nCosts tens of nanoseconds.",
    ),
    MethodDef::END,
];

/// Makes the types and the function. At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let members = types::vectorcall_at(offset_of!(RecorderObject, call));
    let recorder = [
        (ffi::Py_tp_new, capi::no_new as *mut c_void),
        (ffi::Py_tp_dealloc, dealloc_recorder as *mut c_void),
        (ffi::Py_tp_call, call_with_tuple as *mut c_void),
        (ffi::Py_tp_members, (&raw const members).cast_mut().cast()),
        (ffi::Py_tp_methods, (&raw const METHODS).cast_mut().cast()),
        (ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
    ];
    let (name, size) = (c"pytracingx.StepRecorder", size_of::<RecorderObject>());
    // SAFETY: the slots of `RecorderObject`, static but for the members.
    let made = unsafe { types::add_type(module, name, size, types::HAVE_VECTORCALL, &recorder)? };
    TYPE.store(made, Ordering::Relaxed);
    step::prepare(module)?;
    module.add("step_recorder", STEP_RECORDER.function(module)?)
}

unsafe extern "C" fn step_recorder(
    _module: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<4, 1, 1> =
        Signature::new("step_recorder", ["name", "spans", "attributes", "semconv"]);
    entry(|| {
        // SAFETY: as called; the fields are written before anybody else sees the object.
        unsafe {
            let [name, spans, attributes, names] = SIGNATURE.parse(args, count, names)?;
            let names = given_choice("semconv", &NAMES, names)?.unwrap_or(generation_begin::settings().names);
            let spans = if given(spans) { every(spans)? } else { 1 };
            let name = given_text(name)?;
            let mut encoder = Encoder::default();
            if given(attributes) {
                encoder.mapping(attributes, MAX_ATTRIBUTES)?;
            }
            let mut items = encoder.items().to_vec();
            let key = Text::Inline(Key::StepName.name(names).as_bytes());
            attrs::put_attribute(&mut items, key, Value::Str(&name));
            let object = ffi::PyType_GenericAlloc(TYPE.load(Ordering::Relaxed), 0).cast::<RecorderObject>();
            if object.is_null() {
                return Err(Raised);
            }
            (&raw mut (*object).call).write(call);
            (&raw mut (*object).state).write(Recorder {
                turn: Loop::default(),
                name: name.into_owned(),
                spans,
                attributes: canonical(&items),
                names,
                known: None,
            });
            Ok(object.cast())
        }
    })
}

/// Of how many steps one has a span.
unsafe fn every(spans: Object) -> Result<u64, Raised> {
    // SAFETY: attached, alive.
    unsafe {
        if let Some(spans) = int(spans).and_then(|spans| u64::try_from(spans).ok()) {
            return Ok(spans);
        }
        let text = String::from_utf8_lossy(&text_of(spans)?).into_owned();
        Err(PyValueError::new_err(format!("spans: {text} is not an integer from 0 on")).into())
    }
}

unsafe extern "C" fn dealloc_recorder(object: Object) {
    // SAFETY: called once with the last reference gone.
    unsafe {
        let recorder = object.cast::<RecorderObject>();
        ptr::drop_in_place(&raw mut (*recorder).state);
        types::free(object);
    }
}

unsafe extern "C" fn step(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<{ FIELDS.len() }, 0, 0> = step::signature("step");
    // SAFETY: as called.
    entry(|| unsafe { step::new(this, SIGNATURE.parse(args, count, names)?) })
}

unsafe extern "C" fn record(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<{ FIELDS.len() }, 0, 0> = step::signature("record");
    entry(|| {
        // SAFETY: as called; what follows the first argument is given by name.
        unsafe {
            if count != 1 {
                let text = format!("record() takes 1 positional argument ({count} given)");
                return Err(PyTypeError::new_err(text).into());
            }
            let fields = SIGNATURE.parse(args.add(1), 0, names)?;
            step::record(this, *args, fields)?;
        }
        Ok(none())
    })
}

/// `recorder(…)` as the interpreter calls it.
unsafe extern "C" fn call(this: Object, args: Args, count: usize, names: Object) -> Object {
    // SAFETY: as called.
    unsafe { step(this, args, types::argument_count(count), names) }
}

/// The same for callers that know no vectorcall.
unsafe extern "C" fn call_with_tuple(this: Object, args: Object, keywords: Object) -> Object {
    static SIGNATURE: Signature<{ FIELDS.len() }, 0, 0> = step::signature("step");
    // SAFETY: as called.
    entry(|| unsafe {
        from_tuple_and_dict(args, keywords, |args, count, names| {
            step::new(this, SIGNATURE.parse(args, count, names)?)
        })
    })
}

unsafe extern "C" fn idle(this: Object, _: Object) -> Object {
    // SAFETY: alive, attached.
    unsafe { exclusively(this, |recorder: &mut RecorderObject| recorder.state.turn.idle()) };
    none()
}

/// The recorder of an object, if it is a `StepRecorder`. To be accessed by [`exclusively`] only.
///
/// # Safety
/// `object` is alive.
pub(super) unsafe fn is_recorder(object: Object) -> bool {
    // SAFETY: as promised by the caller; nobody can derive from the type.
    unsafe { ffi::Py_TYPE(object) == TYPE.load(Ordering::Relaxed) }
}

impl Recorder {
    /// A step that began at this monotonic time, or begins now: its turn, and what the session says of the loop. That is
    /// made in the session's first step, whose time it must not count as.
    #[inline(always)]
    pub(super) fn begin(&mut self, thread: &mut emit::Thread, started: Option<u64>) -> (Turn, Arc<Known>) {
        let known = match &self.known {
            Some(known) if known.session == thread.intake.session => known.clone(),
            _ => self.know(thread),
        };
        (self.turn.begin(self.spans, started.unwrap_or_else(ticks::monotonic_nano)), known)
    }

    #[cold]
    fn know(&mut self, thread: &mut emit::Thread) -> Arc<Known> {
        self.turn = Loop::default();
        let known = Known::of(thread, &self.name, self.names, &self.attributes);
        self.known.insert(known).clone()
    }

    /// A step that began then and ends now.
    pub(super) fn record(&mut self, thread: &mut emit::Thread, began_unix_nano: Option<u64>, fields: Fields) {
        let (now_unix_nano, now) = (ticks::unix_nano(), ticks::monotonic_nano());
        let began = began_unix_nano.unwrap_or(now_unix_nano);
        let started = now.saturating_sub(now_unix_nano.saturating_sub(began));
        let (turn, known) = self.begin(thread, Some(started));
        let mut step = Step::NONE;
        step.fields = fields;
        step.begin(thread, turn, known, Some(began));
        step.end(thread, now, None);
        self.turn.end(now);
    }
}
