//! The entries of a `logging.LogRecord`'s `__dict__` by name: which are stdlib's, which become attributes of ours, and
//! one pass over them that runs no Python code.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use arrayvec::ArrayVec;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::fastcall::Raised;
use super::objects::{Owned, swallow};
use super::strings::utf8;

type Object = *mut ffi::PyObject;

/// What a `LogRecord` has of its own, in the order in which it is set, then what formatters and filters add.
const KEYS: [&str; 26] = [
    "name",
    "msg",
    "args",
    "levelname",
    "levelno",
    "pathname",
    "filename",
    "module",
    "exc_info",
    "exc_text",
    "stack_info",
    "lineno",
    "funcName",
    "created",
    "msecs",
    "relativeCreated",
    "thread",
    "threadName",
    "processName",
    "process",
    "taskName",
    "message",
    "asctime",
    "otelTraceID",
    "otelSpanID",
    "otelTraceSampled",
];

/// The place of a key in [`KEYS`].
pub(super) mod key {
    pub(in crate::python) const NAME: usize = 0;
    pub(in crate::python) const MSG: usize = 1;
    pub(in crate::python) const ARGS: usize = 2;
    pub(in crate::python) const LEVELNAME: usize = 3;
    pub(in crate::python) const LEVELNO: usize = 4;
    pub(in crate::python) const PATHNAME: usize = 5;
    pub(in crate::python) const EXC_INFO: usize = 8;
    pub(in crate::python) const EXC_TEXT: usize = 9;
    pub(in crate::python) const STACK_INFO: usize = 10;
    pub(in crate::python) const LINENO: usize = 11;
    pub(in crate::python) const FUNC_NAME: usize = 12;
    pub(in crate::python) const CREATED: usize = 13;
    pub(in crate::python) const THREAD: usize = 16;
    pub(in crate::python) const THREAD_NAME: usize = 17;
    pub(in crate::python) const PROCESS: usize = 19;
    pub(in crate::python) const TRACE_ID: usize = 23;
    pub(in crate::python) const SPAN_ID: usize = 24;
    pub(in crate::python) const SAMPLED: usize = 25;
}

/// Other entries that a [`Scan`] remembers.
pub(super) const MAX_EXTRAS: usize = 16;

/// Our attributes of a record, and where in it they come from.
pub(super) const FIELDS: [(&str, usize); 7] = [
    ("logger.name", key::NAME),
    ("code.filepath", key::PATHNAME),
    ("code.function", key::FUNC_NAME),
    ("code.lineno", key::LINENO),
    ("thread.id", key::THREAD),
    ("thread.name", key::THREAD_NAME),
    ("process.pid", key::PROCESS),
];

/// Interned strings, made at import, alive until the process ends. Relaxed: stored before anybody has the module.
static KEY_OBJECTS: [AtomicPtr<ffi::PyObject>; KEYS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; KEYS.len()];
static FIELD_OBJECTS: [AtomicPtr<ffi::PyObject>; FIELDS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; FIELDS.len()];

/// At import.
pub(super) fn prepare(py: Python<'_>) {
    // Relaxed: see KEY_OBJECTS.
    for (object, key) in KEY_OBJECTS.iter().zip(KEYS) {
        object.store(PyString::intern(py, key).into_ptr(), Ordering::Relaxed);
    }
    for (object, (key, _)) in FIELD_OBJECTS.iter().zip(FIELDS) {
        object.store(PyString::intern(py, key).into_ptr(), Ordering::Relaxed);
    }
}

/// The names in [`FIELDS`] as interned strings, which live for ever, and the places of their values.
#[inline]
pub(super) fn fields() -> impl Iterator<Item = (Object, usize)> {
    // Relaxed: see KEY_OBJECTS.
    FIELD_OBJECTS.iter().zip(FIELDS).map(|(object, (_, from))| (object.load(Ordering::Relaxed), from))
}

/// A record's `__dict__`, read.
pub(super) struct Scan {
    /// By [`KEYS`]; null where missing or `None`.
    pub(super) values: [Object; KEYS.len()],
    /// Other entries, but for those that are `None`.
    pub(super) extras: ArrayVec<(Object, Object), MAX_EXTRAS>,
    /// There are more of them.
    pub(super) has_more_extras: bool,
}

impl Scan {
    /// # Safety
    /// Attached; `dict` is a dict that only this thread changes. What is found is borrowed from it.
    #[inline]
    pub(super) unsafe fn of(dict: Object) -> Self {
        let mut scan =
            Self { values: [ptr::null_mut(); KEYS.len()], extras: ArrayVec::new(), has_more_extras: false };
        let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        // Entries mostly come in the order of KEYS.
        let mut expected = 0;
        // SAFETY: a dict; nothing in the loop runs Python code.
        unsafe {
            while ffi::PyDict_Next(dict, &mut position, &mut key, &mut value) != 0 {
                if let Some(index) = standard_key(key, expected) {
                    expected = index + 1;
                    if value != ffi::Py_None() {
                        scan.values[index] = value;
                    }
                } else if value != ffi::Py_None() && scan.extras.try_push((key, value)).is_err() {
                    scan.has_more_extras = true;
                }
            }
        }
        scan
    }

    /// References to what was found.
    ///
    /// # Safety
    /// Attached; what was found is alive.
    #[inline]
    pub(super) unsafe fn hold(&self) -> [Owned; KEYS.len()] {
        // SAFETY: as promised by the caller.
        self.values.map(|value| unsafe { Owned::new(value) })
    }

    /// Null where missing or `None`.
    #[inline]
    pub(super) fn get(&self, key: usize) -> Object {
        self.values[key]
    }

    /// The message is `msg` as it is, and making it so runs no code of anybody's.
    ///
    /// # Safety
    /// Attached; what was found is alive.
    #[inline]
    pub(super) unsafe fn is_plain_text(&self) -> bool {
        let (message, args) = (self.get(key::MSG), self.get(key::ARGS));
        // SAFETY: attached, alive.
        unsafe {
            let is_missing = |key| self.get(key).is_null() || self.get(key) == ffi::Py_False();
            is_missing(key::EXC_INFO)
                && is_missing(key::EXC_TEXT)
                && is_missing(key::STACK_INFO)
                && (args.is_null() || ffi::PyTuple_CheckExact(args) != 0 && ffi::PyTuple_Size(args) == 0)
                && !message.is_null()
                && ffi::PyUnicode_CheckExact(message) != 0
        }
    }

    /// Whether it is there and true: for what stdlib puts there, without running Python code.
    pub(super) unsafe fn is_true(&self, key: usize) -> Result<bool, Raised> {
        let value = self.get(key);
        // SAFETY: attached, alive.
        unsafe {
            if value.is_null() || value == ffi::Py_False() {
                return Ok(false);
            }
            match ffi::PyObject_IsTrue(value) {
                -1 => swallow().map(|()| false),
                truth => Ok(truth != 0),
            }
        }
    }
}

/// The place in [`KEYS`]: of the key that is expected by identity (names in byte code are interned), else by text.
#[inline]
pub(super) unsafe fn standard_key(object: Object, expected: usize) -> Option<usize> {
    if expected < KEYS.len() && KEY_OBJECTS[expected].load(Ordering::Relaxed) == object {
        return Some(expected);
    }
    // SAFETY: attached, alive.
    let text = unsafe { text(object) };
    if FINGERPRINTS & fingerprint(text) == 0 {
        return None;
    }
    KEYS.iter().position(|key| key.as_bytes() == text)
}

/// Whether an extra of that name would hide an attribute of ours.
#[inline]
pub(super) fn is_taken(name: &[u8], has_exception: bool) -> bool {
    FINGERPRINTS & fingerprint(name) != 0
        && (FIELDS.iter().any(|(field, _)| field.as_bytes() == name)
            || has_exception && EXCEPTION.iter().any(|attribute| attribute.as_bytes() == name))
}

/// What describes an exception.
const EXCEPTION: [&str; 3] = ["exception.type", "exception.message", "exception.stacktrace"];

/// One bit of 128, the same for equal names.
#[inline]
const fn fingerprint(name: &[u8]) -> u128 {
    match name {
        [] => 0,
        [first, ..] => 1 << ((*first as usize + 5 * name[name.len() - 1] as usize + 11 * name.len()) % 128),
    }
}

/// Those of every name that means something here: most extras' names need no comparison.
const FINGERPRINTS: u128 = {
    let (mut all, mut index) = (0, 0);
    while index < KEYS.len() {
        all |= fingerprint(KEYS[index].as_bytes());
        index += 1;
    }
    index = 0;
    while index < FIELDS.len() {
        all |= fingerprint(FIELDS[index].0.as_bytes());
        index += 1;
    }
    index = 0;
    while index < EXCEPTION.len() {
        all |= fingerprint(EXCEPTION[index].as_bytes());
        index += 1;
    }
    all
};

/// An exact `str`; of anything else nothing.
pub(super) unsafe fn text<'a>(object: Object) -> &'a [u8] {
    // SAFETY: attached; alive or null, and alive as long as the result is used.
    unsafe {
        if object.is_null() || ffi::PyUnicode_CheckExact(object) == 0 {
            return b"";
        }
        utf8(object).unwrap_or_default()
    }
}
