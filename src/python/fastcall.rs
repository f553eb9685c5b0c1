//! Arguments of the hot functions, taken from the vectorcall form without building a tuple or a dict. Nothing here
//! runs Python code or allocates except to raise.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::layout;
use super::objects::Owned;

/// Names and order of a function's `N` parameters, of which the first `POSITIONAL` may be given by position and the first
/// `REQUIRED` must be given. The numbers are types, so that what nearly every call is, arguments by position, unrolls to a
/// few loads in registers: a third of the instructions of a loop over counts in memory.
pub(super) struct Signature<const N: usize, const REQUIRED: usize, const POSITIONAL: usize> {
    /// For error texts.
    function: &'static str,
    names: [&'static str; N],
    /// The names as objects, once a call has given an argument by name. Relaxed: addresses that are only compared.
    interned: [AtomicPtr<ffi::PyObject>; N],
}

impl<const N: usize, const REQUIRED: usize, const POSITIONAL: usize> Signature<N, REQUIRED, POSITIONAL> {
    pub(super) const fn new(function: &'static str, names: [&'static str; N]) -> Self {
        const { assert!(POSITIONAL <= N && REQUIRED <= N) }
        Self { function, names, interned: [const { AtomicPtr::new(ptr::null_mut()) }; N] }
    }

    /// The arguments by parameter, borrowed from the caller; null where not given. `Err`: a Python exception is set.
    ///
    /// # Safety
    /// Attached; `args` and `names` are what the interpreter passed to a `METH_FASTCALL | METH_KEYWORDS` function.
    #[inline(always)]
    pub(super) unsafe fn parse(
        &self,
        args: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> Result<[*mut ffi::PyObject; N], Raised> {
        let count = count as usize;
        let argument = |index| {
            if index >= count.min(POSITIONAL) {
                return ptr::null_mut();
            }
            // SAFETY: the interpreter passes `count` positional arguments.
            unsafe { *args.add(index) }
        };
        if !names.is_null() || count > POSITIONAL || count < REQUIRED {
            // SAFETY: as promised by the caller.
            if let Some(arguments) = unsafe { self.parse_with_one_name(args, count, names, argument) } {
                return Ok(arguments);
            }
            let mut arguments = std::array::from_fn(argument);
            // SAFETY: as promised by the caller.
            unsafe { self.parse_by_name(&mut arguments, args, count, names)? };
            return Ok(arguments);
        }
        Ok(std::array::from_fn(argument))
    }

    /// One argument by a name that is known, the others by position: nearly every call that gives names. In registers, as
    /// [`Signature::parse`].
    #[inline(always)]
    unsafe fn parse_with_one_name(
        &self,
        args: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
        argument: impl Fn(usize) -> *mut ffi::PyObject,
    ) -> Option<[*mut ffi::PyObject; N]> {
        // SAFETY: a tuple of str, whose values follow the positional arguments.
        let (name, value) = unsafe {
            if names.is_null() || layout::tuple_size(names) != 1 || count > POSITIONAL || count < REQUIRED {
                return None;
            }
            (layout::tuple_item(names, 0), *args.add(count))
        };
        let mut is_known = false;
        let arguments = std::array::from_fn(|index| {
            // Relaxed: addresses that are only compared.
            if index < count || self.interned[index].load(Ordering::Relaxed) != name {
                return argument(index);
            }
            is_known = true;
            value
        });
        is_known.then_some(arguments)
    }

    /// Adds the arguments that are given by name. In place: an array that is returned is read in other pieces than it was
    /// written in, which stalls the processor.
    #[inline(never)]
    unsafe fn parse_by_name(
        &self,
        out: &mut [*mut ffi::PyObject; N],
        args: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
    ) -> Result<(), Raised> {
        if count > POSITIONAL {
            return Err(self.too_many(count));
        }
        // SAFETY: attached by the caller's promise; `names` is null or a tuple of str.
        let (py, given) = unsafe {
            (Python::assume_attached(), if names.is_null() { 0 } else { layout::tuple_size(names) })
        };
        for position in 0..given {
            // SAFETY: in range; borrowed from the tuple, which outlives the call. The values follow the positional
            // arguments.
            let (name, value) =
                unsafe { (layout::tuple_item(names, position), *args.add(count + position as usize)) };
            let index = match self.by_identity(name) {
                Some(index) => index,
                None => self.by_text(py, name)?,
            };
            if !out[index].is_null() {
                return Err(self.twice(index));
            }
            out[index] = value;
        }
        if out[..REQUIRED].iter().any(|argument| argument.is_null()) {
            return Err(self.missing(out));
        }
        Ok(())
    }

    /// Keyword names in byte code are interned, so identity nearly always decides.
    #[inline]
    fn by_identity(&self, name: *mut ffi::PyObject) -> Option<usize> {
        // Relaxed: addresses that are only compared.
        self.interned.iter().position(|known| known.load(Ordering::Relaxed) == name)
    }

    #[cold]
    fn by_text(&self, py: Python<'_>, name: *mut ffi::PyObject) -> Result<usize, Raised> {
        // SAFETY: a keyword name is a str, borrowed for the call.
        let name = unsafe { Bound::from_borrowed_ptr(py, name) };
        let text = name.to_string();
        let Some(index) = self.names.iter().position(|known| *known == text) else {
            return Err(raise(format!("{}() got an unexpected keyword argument '{text}'", self.function)));
        };
        // Found at once from now on. The reference is kept for ever; racing calls store the same address.
        self.interned[index].store(PyString::intern(py, &text).into_ptr(), Ordering::Relaxed);
        Ok(index)
    }

    #[cold]
    fn too_many(&self, count: usize) -> Raised {
        let plural = if POSITIONAL == 1 { "" } else { "s" };
        let by_name = match self.names[POSITIONAL..].join(", ") {
            names if names.is_empty() => names,
            names => format!("; by name: {names}"),
        };
        raise(format!(
            "{}() takes at most {POSITIONAL} positional argument{plural} ({count} given){by_name}",
            self.function
        ))
    }

    #[cold]
    fn missing(&self, out: &[*mut ffi::PyObject; N]) -> Raised {
        let index = out.iter().position(|argument| argument.is_null()).unwrap_or(0);
        raise(format!("{}() missing required argument: '{}'", self.function, self.names[index]))
    }

    #[cold]
    fn twice(&self, index: usize) -> Raised {
        raise(format!("{}() got multiple values for argument '{}'", self.function, self.names[index]))
    }
}

/// Calls a function in the vectorcall form with the arguments of `tp_call` and `tp_new`: a tuple, and a dict or null.
///
/// # Safety
/// Attached; the objects are alive.
pub(super) unsafe fn from_tuple_and_dict<R>(
    args: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
    call: impl FnOnce(*const *mut ffi::PyObject, ffi::Py_ssize_t, *mut ffi::PyObject) -> Result<R, Raised>,
) -> Result<R, Raised> {
    // SAFETY: attached; the tuple keeps the arguments alive, and what calls us keeps the dict unchanged.
    unsafe {
        let count = ffi::PyTuple_Size(args);
        let mut all: Vec<_> = (0..count).map(|index| ffi::PyTuple_GetItem(args, index)).collect();
        if keywords.is_null() {
            return call(all.as_ptr(), count, ptr::null_mut());
        }
        let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        let names = Owned(ffi::PyTuple_New(ffi::PyDict_Size(keywords)));
        if names.0.is_null() {
            return Err(Raised);
        }
        let mut index = 0;
        while ffi::PyDict_Next(keywords, &mut position, &mut key, &mut value) != 0 {
            ffi::Py_INCREF(key);
            ffi::PyTuple_SetItem(names.0, index, key);
            index += 1;
            all.push(value);
        }
        call(all.as_ptr(), count, names.0)
    }
}

/// A Python exception is set.
#[derive(Debug)]
pub(super) struct Raised;

impl From<PyErr> for Raised {
    fn from(error: PyErr) -> Self {
        // SAFETY: a `PyErr` is only made while attached, and every caller here is.
        let py = unsafe { Python::assume_attached() };
        error.restore(py);
        Self
    }
}

#[cold]
fn raise(text: String) -> Raised {
    pyo3::exceptions::PyTypeError::new_err(text).into()
}

/// The frame of every hot entry: a panic becomes `None` (a bug in telemetry must not reach the host), an exception is
/// passed on.
#[inline]
pub(super) fn entry(body: impl FnOnce() -> Result<*mut ffi::PyObject, Raised>) -> *mut ffi::PyObject {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(Ok(object)) => object,
        Ok(Err(Raised)) => ptr::null_mut(),
        Err(_) => none(),
    }
}

/// A new reference to `None`.
#[inline]
pub(super) fn none() -> *mut ffi::PyObject {
    // SAFETY: `None` is immortal or counted, in both cases always there; callers are attached.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        none
    }
}

/// A new reference to `True` or `False`.
#[inline]
pub(super) fn bool(value: bool) -> *mut ffi::PyObject {
    // SAFETY: callers are attached.
    unsafe {
        let truth = if value { ffi::Py_True() } else { ffi::Py_False() };
        ffi::Py_INCREF(truth);
        truth
    }
}

/// Whether an optional argument was given as something else than `None`.
#[inline]
pub(super) fn given(argument: *mut ffi::PyObject) -> bool {
    // SAFETY: compares addresses.
    !argument.is_null() && argument != unsafe { ffi::Py_None() }
}

/// Runs `body` with an object to itself: attached is enough, except on a free-threaded build.
///
/// # Safety
/// Attached; `this` is alive and of the layout `T`; `body` runs no Python code, and calls nothing of the interpreter that
/// could wait: the object would be another thread's meanwhile.
#[inline(always)]
pub(super) unsafe fn exclusively<T, R>(this: *mut ffi::PyObject, body: impl FnOnce(&mut T) -> R) -> R {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(Py_GIL_DISABLED)]
        {
            let object = Borrowed::from_ptr(Python::assume_attached(), this);
            pyo3::sync::critical_section::with_critical_section(&object, || body(&mut *this.cast()))
        }
        #[cfg(not(Py_GIL_DISABLED))]
        body(&mut *this.cast())
    }
}
