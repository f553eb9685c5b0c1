//! `_RequestSteps.step`: all that an integration records of a scheduler's step, by one call, from the engine's own table of its
//! batch: no column is built, no span looked at, and a batch that changed by few requests costs those few.
//!
//! It comes a few hundred times a second, after milliseconds of other code: whatever it touches, its own instructions too, is
//! in no cache, and each line costs more than the arithmetic on it. So what does not change from step to step lies in one
//! place ([`Known`]), and the function is called without [`pyo3`]'s wrapping.
#![expect(unsafe_code, reason = "written against the C API")]

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::capi::MethodDef;
use super::convert::GivenName;
use super::fastcall::{Raised, Signature, entry, exclusively, given};
use super::request_steps::RequestSteps;
use super::request_table::Requests;
use super::span_template::template;
use super::step_recorder::RecorderObject;
use super::{layout, step, time};
use crate::attrs::Text;
use crate::emit::{self, CountedBatch, Thread};
use crate::generation::step::{FIELDS, Fields};
use crate::record::{Number, SpanKind, StrId};
use crate::sys::ticks;

type Object = *mut ffi::PyObject;

static STEP: MethodDef = MethodDef::fast(c"step", step, c"step($self, batch, start_time, end_time=None, tokens=None, scheduled_tokens=None, waiting=None, kv_cache_usage=None, preemptions=None, /)
--

A step of these requests is over: each that is known gets a span, until end_time, and the recorder a step, until now.

Args:
    batch: Dict of names to numbers of tokens, or a list of names.
    start_time: Integer Unix nanoseconds.
    end_time: As start_time; None is now.
    tokens: With a list: of all, a list of each, or None.
    scheduled_tokens: As for StepRecorder.step(), and so are those that follow.
    waiting: As scheduled_tokens.
    kv_cache_usage: As scheduled_tokens.
    preemptions: As scheduled_tokens.

Returns:
    How many spans of requests were recorded.");

/// Places in [`FIELDS`] of what follows `tokens`, and of the batch's size.
const GIVEN: [usize; 4] =
    [place("scheduled_tokens"), place("waiting"), place("kv_cache_usage"), place("preemptions")];
const BATCH_SIZE: usize = place("batch_size");

const fn place(name: &str) -> usize {
    let mut index = 0;
    while !equal(FIELDS[index].0.as_bytes(), name.as_bytes()) {
        index += 1;
    }
    index
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    let mut same = a.len() == b.len();
    let mut index = 0;
    while same && index < a.len() {
        same = a[index] == b[index];
        index += 1;
    }
    same
}

/// What the spans of requests have in common in a session.
#[derive(Default, Clone, Copy)]
pub(super) struct Known {
    session: u64,
    name: StrId,
    kind: SpanKind,
    scope: u16,
    key: Option<StrId>,
}

/// Adds the method to the class. At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<RequestSteps>();
    // SAFETY: attached; the definition is static, and `PyMethodDef` has its layout.
    let method = unsafe {
        let method = std::ptr::from_ref(&STEP).cast_mut().cast();
        Bound::from_owned_ptr_or_err(module.py(), ffi::PyDescr_NewMethod(class.as_type_ptr(), method))?
    };
    class.setattr("step", method)
}

unsafe extern "C" fn step(
    this: Object,
    args: *const Object,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<8, 2, 8> = Signature::new(
        "step",
        [
            "batch",
            "start_time",
            "end_time",
            "tokens",
            "scheduled_tokens",
            "waiting",
            "kv_cache_usage",
            "preemptions",
        ],
    );
    entry(|| {
        // SAFETY: as called: a method of the class, whose objects are no others.
        unsafe {
            let [batch, start, end, tokens, known @ ..] = SIGNATURE.parse(args, count, names)?;
            let slf = Borrowed::from_ptr(Python::assume_attached(), this).cast_unchecked::<RequestSteps>();
            let tokens = if given(tokens) { tokens } else { std::ptr::null_mut() };
            let recorded = record(&slf, batch, tokens, [start, end], known)?;
            Ok(ffi::PyLong_FromSize_t(recorded))
        }
    })
}

/// # Safety
/// Attached, not inside `emit::with`; all are null or alive, `batch` alive.
unsafe fn record(
    slf: &Bound<'_, RequestSteps>,
    batch: Object,
    tokens: Object,
    [start, end]: [Object; 2],
    fields_given: [Object; GIVEN.len()],
) -> Result<usize, Raised> {
    // SAFETY: as promised by the caller. Inside `emit::with` nothing runs Python code, so neither dict nor lists change; on a
    // build without the interpreter's lock they are copies.
    unsafe {
        let batch = Batch::of(slf.py(), batch, tokens)?;
        let session = emit::session();
        if session == 0 {
            return Ok(0);
        }
        let [start, end] = [time::given_unix_nano(start, session)?, time::given_unix_nano(end, session)?];
        let mut arguments = [std::ptr::null_mut(); FIELDS.len()];
        for (place, given) in GIVEN.into_iter().zip(fields_given) {
            arguments[place] = given;
        }
        let mut fields = Fields::default();
        step::read(&mut fields, &arguments)?;
        fields[BATCH_SIZE] = Some(Number::Int(batch.len() as i64));
        let known = RequestSteps::with(slf, |requests| requests.known);
        let now = ticks::unix_nano();
        let times = [start.unwrap_or(now), end.unwrap_or(now)];
        let recorded = if known.session == session {
            emit::with(session, |thread| slf.get().record_rows(slf, thread, &batch, &known.batch(times)))
        } else {
            slf.get().record_first(slf, session, &batch, times)?
        };
        exclusively(slf.get().recorder.as_ptr(), |recorder: &mut RecorderObject| {
            emit::with(session, |thread| recorder.state.record(thread, start, fields));
        });
        Ok(recorded.unwrap_or(0))
    }
}

impl Known {
    fn batch(&self, [start, end]: [u64; 2]) -> CountedBatch<'static> {
        let &Self { name, kind, scope, key, .. } = self;
        CountedBatch { name: Text::Id(name), kind, scope, start, end, constants: None, key }
    }
}

impl RequestSteps {
    /// # Safety
    /// Attached, inside `emit::with`; what the batch holds does not change meanwhile.
    #[inline(always)]
    unsafe fn record_rows(
        &self,
        slf: &Bound<'_, Self>,
        thread: &mut Thread,
        batch: &Batch<'_>,
        spans: &CountedBatch<'_>,
    ) -> usize {
        Self::with(slf, |known: &mut Requests| {
            known.inherit(&thread.intake);
            // SAFETY: as promised by the caller.
            unsafe {
                match batch {
                    Batch::Dict(dict) => thread.record_counted(spans, known.parents(entries(dict.as_ptr()))),
                    Batch::List(list, tokens) => {
                        let each = tokens.as_ref().filter(|tokens| tokens.is_instance_of::<PyList>());
                        let all = tokens.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr);
                        let row = |index| {
                            let tokens = each.map_or(all, |each| layout::list_item(each.as_ptr(), index));
                            (layout::list_item(list.as_ptr(), index), tokens)
                        };
                        // Code that ran since they were compared may have shortened one.
                        let len = each.map_or(usize::MAX, |each| each.cast_unchecked::<PyList>().len());
                        let rows = (0..list.len().min(len) as ffi::Py_ssize_t).map(row);
                        thread.record_counted(spans, known.parents(rows))
                    }
                }
            }
        })
    }

    /// In a session that the template is not known in yet, or with a template that has attributes or no room for its name.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; what the batch holds does not change meanwhile.
    #[cold]
    #[inline(never)]
    unsafe fn record_first(
        &self,
        slf: &Bound<'_, Self>,
        session: u64,
        batch: &Batch<'_>,
        [start, end]: [u64; 2],
    ) -> Result<Option<usize>, Raised> {
        // SAFETY: as promised by the caller; alive.
        unsafe {
            let Some(call) = template(self.step.as_ptr()).and_then(|source| source.call(session)) else {
                return Ok(None);
            };
            let column = GivenName::of(self.column.as_ptr(), session)?;
            Ok(emit::with(session, |thread| {
                let key = match column.resolve(thread) {
                    Text::Id(id) => Some(id),
                    Text::Inline(text) => thread.intake.strings.intern_now(text),
                };
                let (kind, scope, constants) = (call.kind, call.scope, call.constants);
                let is_plain = constants.is_none_or(|all| all.items().is_empty() && all.dropped() == 0);
                if let Text::Id(name) = call.name
                    && is_plain
                {
                    Self::with(slf, |requests| requests.known = Known { session, name, kind, scope, key });
                }
                let spans = CountedBatch { name: call.name, kind, scope, start, end, constants, key };
                self.record_rows(slf, thread, batch, &spans)
            }))
        }
    }
}

/// A batch as the engine has it.
enum Batch<'py> {
    Dict(Bound<'py, PyDict>),
    /// With the tokens of all, of each, or of none.
    List(Bound<'py, PyList>, Option<Bound<'py, PyAny>>),
}

impl<'py> Batch<'py> {
    /// `tokens` is null or alive.
    ///
    /// # Errors
    /// `TypeError`: another type. `ValueError`: lists of different lengths.
    ///
    /// # Safety
    /// Attached; `batch` is alive.
    unsafe fn of(py: Python<'py>, batch: Object, tokens: Object) -> PyResult<Self> {
        // SAFETY: as promised by the caller.
        let (batch, tokens) =
            unsafe { (Bound::from_borrowed_ptr(py, batch), Bound::from_borrowed_ptr_or_opt(py, tokens)) };
        let batch = match batch.cast_into_exact::<PyDict>() {
            Ok(dict) => return Ok(Self::Dict(if cfg!(Py_GIL_DISABLED) { dict.copy()? } else { dict })),
            Err(other) => other.into_inner(),
        };
        let mine = |list: Bound<'py, PyList>| {
            if cfg!(Py_GIL_DISABLED) { list.as_sequence().to_list() } else { Ok(list) }
        };
        let list = mine(batch.cast_into_exact::<PyList>()?)?;
        let Some(tokens) = tokens else { return Ok(Self::List(list, None)) };
        let tokens = match tokens.cast_into_exact::<PyList>() {
            Ok(each) if each.len() != list.len() => {
                return Err(PyValueError::new_err("batch and tokens are not of one length"));
            }
            Ok(each) => mine(each)?.into_any(),
            Err(other) => other.into_inner(),
        };
        Ok(Self::List(list, Some(tokens)))
    }

    fn len(&self) -> usize {
        match self {
            Self::Dict(dict) => dict.len(),
            Self::List(list, _) => list.len(),
        }
    }
}

/// Keys and values of a dict that does not change meanwhile, borrowed.
///
/// # Safety
/// Attached; a dict that outlives the iterator.
unsafe fn entries(dict: Object) -> impl Iterator<Item = (Object, Object)> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: as promised by the caller.
        (unsafe { ffi::PyDict_Next(dict, &mut position, &mut key, &mut value) } != 0).then_some((key, value))
    })
}
