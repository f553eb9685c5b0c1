//! Values of exact `str`, `int`, `float`, `bool` and `bytes`, and dicts of them: nearly all attributes. Converting them runs
//! no Python code and copies nothing.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::c_int;
use std::ptr;

use arrayvec::ArrayVec;
use pyo3::ffi;

use super::layout;
use super::small_int::small_int;
use super::strings::{Name, known, name, utf8};
use crate::attrs::{self, Text, Value};

/// Where converted attributes go. A trait, because a method can be `inline(always)` and a closure cannot: each frequent kind
/// of value then has its own copy of `put`, and none is put together in memory only to be read there in other pieces, which
/// stalls the processor.
pub(super) trait Put<'v> {
    /// Takes one.
    fn put(&mut self, key: Text<'_>, value: Value<'v>);
}

/// A value that converts without running Python code; `None` otherwise. Borrows from the object.
///
/// # Safety
/// Attached; `object` is alive as long as the result is used.
#[inline]
pub(super) unsafe fn simple<'a>(object: *mut ffi::PyObject) -> Option<Value<'a>> {
    struct Kept<'a>(Option<Value<'a>>);
    impl<'a> Put<'a> for Kept<'a> {
        #[inline(always)]
        fn put(&mut self, _: Text<'_>, value: Value<'a>) {
            self.0 = Some(value);
        }
    }
    let mut kept = Kept(None);
    // SAFETY: as promised by the caller.
    unsafe { put_simple(&mut kept, Text::Inline(b""), object) };
    kept.0
}

/// Puts a value that converts without running Python code. False: it does not.
///
/// # Safety
/// As [`simple`].
#[inline(always)]
pub(super) unsafe fn put_simple<'a>(
    to: &mut impl Put<'a>,
    key: Text<'_>,
    object: *mut ffi::PyObject,
) -> bool {
    // SAFETY: attached, alive; each conversion is for the exact type checked before it.
    unsafe {
        if ffi::PyUnicode_CheckExact(object) != 0 {
            let Some(text) = utf8(object) else { return false };
            to.put(key, Value::Str(text));
        } else if let Some(value) = small_int(object) {
            to.put(key, Value::Int(value));
        } else if ffi::PyFloat_CheckExact(object) != 0 {
            to.put(key, Value::Double(layout::float(object)));
        } else if object == ffi::Py_True() || object == ffi::Py_False() {
            to.put(key, Value::Bool(object == ffi::Py_True()));
        } else if let Some(value) = less_frequent(object) {
            to.put(key, value);
        } else {
            return false;
        }
        true
    }
}

#[inline(never)]
unsafe fn less_frequent<'a>(object: *mut ffi::PyObject) -> Option<Value<'a>> {
    // SAFETY: attached, alive; each conversion is for the exact type checked before it.
    unsafe {
        if ffi::PyLong_CheckExact(object) != 0 {
            let mut overflow: c_int = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow);
            return if overflow == 0 { Some(Value::Int(value)) } else { None };
        }
        if ffi::PyBytes_CheckExact(object) != 0 {
            let len = ffi::PyBytes_Size(object) as usize;
            let bytes = std::slice::from_raw_parts(ffi::PyBytes_AsString(object).cast(), len);
            return Some(Value::Bytes(bytes));
        }
        None
    }
}

/// Puts the entries of a dict, whose keys differ (`None` values are skipped), as they are converted: nothing is kept
/// between. False: not all are simple, and the dict must take the general way, from its beginning.
///
/// # Safety
/// Attached, not inside `emit::with`; `dict` is a dict and alive. What `to` writes to is reached by nobody else: a
/// conversion that fails may have run Python code (raising allocates, and before 3.12 an allocation can run a collection).
#[inline(always)]
pub(super) unsafe fn each_simple<'a>(dict: *mut ffi::PyObject, session: u64, to: &mut impl Put<'a>) -> bool {
    // Another thread may change the dict while we read it: such builds take the general way.
    if cfg!(Py_GIL_DISABLED) {
        return false;
    }
    let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    // SAFETY: a dict; nothing in the loop runs Python code or releases the interpreter, so it does not change, except where
    // a conversion fails, and then it is not looked at again.
    unsafe {
        while ffi::PyDict_Next(dict, &mut position, &mut key, &mut value) != 0 {
            if value == ffi::Py_None() {
                continue;
            }
            let is_simple = match known(key, session) {
                Some(id) => put_simple(to, Text::Id(id), value),
                None => put_under_new_key(to, key, value, session),
            };
            if !is_simple {
                return false;
            }
        }
    }
    true
}

/// Apart: a key from either would be put together in memory, only to be read there in other pieces.
///
/// # Safety
/// As [`each_simple`].
#[inline(never)]
unsafe fn put_under_new_key<'a>(
    to: &mut impl Put<'a>,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    session: u64,
) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        match name(key, session).filter(|key| !key.is_empty()) {
            Some(key) => put_simple(to, key.resolve_in(session), value),
            None => false,
        }
    }
}

/// Attributes as items in memory of the thread's, at most so many.
pub(super) struct Limited {
    pub(super) items: Vec<u8>,
    pub(super) room: u32,
    /// Those beyond.
    pub(super) cut: u32,
}

impl<'v> Put<'v> for Limited {
    #[inline(always)]
    fn put(&mut self, key: Text<'_>, value: Value<'v>) {
        if self.room > 0 {
            self.room -= 1;
            attrs::put_attribute(&mut self.items, key, value);
        } else {
            self.cut += 1;
        }
    }
}

/// A few attributes of simple types, borrowed from the dict that the caller keeps alive. Filled in place: at 64 bytes an
/// entry, initialising or moving the array would cost more than the conversions.
#[derive(Default)]
pub(super) struct Simple<'a>(ArrayVec<(Name<'a>, Value<'a>), 16>);

impl<'a> Simple<'a> {
    /// Takes the entries of a dict (`None` values are skipped). False: there are too many, or not all are simple, and
    /// the dict must take the general way.
    ///
    /// # Safety
    /// Attached; `dict` is a dict, alive and unchanged as long as `self` is used.
    #[inline]
    pub(super) unsafe fn fill(&mut self, dict: *mut ffi::PyObject, session: u64) -> bool {
        // Another thread may change the dict while we read it: such builds take the general way.
        if cfg!(Py_GIL_DISABLED) {
            return false;
        }
        let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        // SAFETY: a dict; nothing in the loop runs Python code or releases the interpreter, so it does not change. A
        // conversion that fails may have (raising allocates, and before 3.12 an allocation can run a collection), but
        // then nothing borrowed is looked at again.
        unsafe {
            while ffi::PyDict_Next(dict, &mut position, &mut key, &mut value) != 0 {
                if value == ffi::Py_None() {
                    continue;
                }
                let Some(key) = name(key, session).filter(|key| !key.is_empty()) else { return false };
                let Some(value) = simple(value).filter(|_| !self.0.is_full()) else { return false };
                self.0.push((key, value));
            }
        }
        true
    }

    #[inline]
    pub(super) fn entries(&self) -> &[(Name<'a>, Value<'a>)] {
        &self.0
    }
}
