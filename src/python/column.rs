//! What an argument of a batch call is: one value for all rows, or a column (a list, a tuple, memory of numbers). Asked
//! of the type where that is enough; where the object's own code has to run (array interfaces, tensors), callers are not
//! inside `emit::with`. Nothing raises for an `Exception`: what shows no elements is one value.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::c_int;

use pyo3::ffi;

use super::buffer::{Found, Numbers};
use super::fastcall::Raised;
use super::layout;
use super::objects::{Owned, is_numpy_scalar, swallow, type_has};
use super::simple::simple;
use super::small_int::small_int;
use crate::emit::SpanRows;

type Object = *mut ffi::PyObject;

/// What an argument is.
pub(super) enum Column {
    /// One value for all rows.
    Scalar,
    /// The same, got from an object that holds one.
    Value(Owned),
    Sequence(Sequence),
    Numbers(Numbers),
}

impl Column {
    /// # Safety
    /// Attached, not inside `emit::with`; `object` is alive as long as the result is used.
    #[inline]
    pub(super) unsafe fn of(object: Object) -> Result<Self, Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            if ffi::PyList_Check(object) != 0 || ffi::PyTuple_Check(object) != 0 {
                return Ok(Self::Sequence(Sequence(Owned::new(object))));
            }
            if simple(object).is_some() {
                return Ok(Self::Scalar);
            }
            Self::unusual(object)
        }
    }

    /// How many values a list, a tuple or memory of numbers has. `None` for anything else: one value, or values that would
    /// have to be got first.
    ///
    /// # Safety
    /// As [`of`](Self::of).
    pub(super) unsafe fn len_at_hand(object: Object) -> Result<Option<usize>, Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            if ffi::PyList_Check(object) != 0 || ffi::PyTuple_Check(object) != 0 {
                return Ok(Some(Sequence(Owned::new(object)).len()));
            }
            if simple(object).is_some() || is_value(object) {
                return Ok(None);
            }
            match Numbers::of(object)? {
                Found::Numbers(numbers) if numbers.dimensions == 1 => Ok(Some(numbers.len)),
                Found::Numbers(_) | Found::Others | Found::Nothing => Ok(None),
            }
        }
    }

    #[inline(never)]
    unsafe fn unusual(object: Object) -> Result<Self, Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            if is_value(object) {
                return Ok(Self::Scalar);
            }
            match Numbers::of(object)? {
                Found::Numbers(numbers) if numbers.dimensions == 1 => Ok(Self::Numbers(numbers)),
                Found::Numbers(_) | Found::Others => {
                    let elements = Owned(ffi::PySequence_Tuple(object));
                    if elements.0.is_null() {
                        swallow()?;
                        return Ok(Self::Scalar);
                    }
                    Ok(Self::Sequence(Sequence(elements)))
                }
                Found::Nothing if is_processor_tensor(object)? => {
                    let elements = call(object, c"tolist")?;
                    Ok(match elements.0 {
                        list if list.is_null() => Self::Scalar,
                        list if ffi::PyList_Check(list) != 0 => Self::Sequence(Sequence(elements)),
                        _ => Self::Value(elements),
                    })
                }
                Found::Nothing => Ok(Self::Scalar),
            }
        }
    }
}

/// Of a type that may show memory, or none, and is one value all the same.
unsafe fn is_value(object: Object) -> bool {
    // SAFETY: attached, alive.
    unsafe {
        ffi::PyUnicode_Check(object) != 0
            || ffi::PyLong_Check(object) != 0
            || ffi::PyFloat_Check(object) != 0
            || ffi::PyBytes_Check(object) != 0
            || ffi::PyByteArray_Check(object) != 0
            || ffi::PyDict_Check(object) != 0
            || is_numpy_scalar(object)
    }
}

/// A tensor whose elements are in the processor's memory: there is nothing to wait for.
unsafe fn is_processor_tensor(object: Object) -> Result<bool, Raised> {
    /// DLPack's `kDLCPU`.
    const PROCESSOR: std::ffi::c_long = 1;
    // SAFETY: attached, alive; exact types are checked before they are read.
    unsafe {
        if !type_has(object, c"__dlpack_device__") || !type_has(object, c"tolist") {
            return Ok(false);
        }
        let device = call(object, c"__dlpack_device__")?;
        if device.0.is_null() || ffi::PyTuple_Check(device.0) == 0 || ffi::PyTuple_Size(device.0) != 2 {
            return Ok(false);
        }
        let kind = ffi::PyTuple_GetItem(device.0, 0);
        if ffi::PyLong_Check(kind) == 0 {
            return Ok(false);
        }
        let kind = ffi::PyLong_AsLong(kind);
        if !ffi::PyErr_Occurred().is_null() {
            swallow()?;
        }
        Ok(kind == PROCESSOR)
    }
}

/// What a method without arguments returns; null when it raised.
unsafe fn call(object: Object, method: &std::ffi::CStr) -> Result<Owned, Raised> {
    // SAFETY: attached, alive.
    unsafe {
        let method = Owned(ffi::PyObject_GetAttrString(object, method.as_ptr()));
        let result = if method.0.is_null() {
            std::ptr::null_mut()
        } else {
            ffi::PyObject_CallObject(method.0, std::ptr::null_mut())
        };
        if result.is_null() {
            swallow()?;
        }
        Ok(Owned(result))
    }
}

/// A list or tuple, or a subclass, which is read as what it holds.
pub(super) struct Sequence(pub(super) Owned);

impl Sequence {
    #[inline]
    unsafe fn is_list(&self) -> bool {
        // SAFETY: attached, alive.
        unsafe { ffi::PyList_Check(self.0.0) != 0 }
    }

    #[inline]
    pub(super) unsafe fn len(&self) -> usize {
        // SAFETY: attached; a list or tuple.
        unsafe {
            if self.is_list() {
                ffi::PyList_Size(self.0.0) as usize
            } else {
                ffi::PyTuple_Size(self.0.0) as usize
            }
        }
    }

    /// One that nobody can change.
    pub(super) unsafe fn frozen(self) -> Result<Self, Raised> {
        // SAFETY: attached; a list or tuple.
        unsafe {
            if !self.is_list() {
                return Ok(self);
            }
            let copy = Owned(ffi::PyList_AsTuple(self.0.0));
            if copy.0.is_null() {
                swallow()?;
                return Ok(Self(Owned(ffi::PyTuple_New(0))));
            }
            Ok(Self(copy))
        }
    }

    /// Appends the rows' numbers if all are exact ints within 64 bits, or all exact floats; then says which. Runs no
    /// Python code. `None`, appending nothing, otherwise.
    #[inline]
    pub(super) unsafe fn numbers(&self, rows: &mut SpanRows) -> Option<bool> {
        // Another thread may change a list while we read it: such builds take the general way.
        if cfg!(Py_GIL_DISABLED) {
            return None;
        }
        // SAFETY: attached; a list or tuple, which does not change while no Python code runs.
        unsafe {
            if self.is_list() {
                append(|index| layout::list_item(self.0.0, index), self.len(), rows)
            } else {
                append(|index| ffi::PyTuple_GetItem(self.0.0, index), self.len(), rows)
            }
        }
    }
}

/// See [`Sequence::numbers`].
#[inline(always)]
unsafe fn append(item: impl Fn(ffi::Py_ssize_t) -> Object, len: usize, rows: &mut SpanRows) -> Option<bool> {
    let (mut indices, numbers) = rows.indices_and_numbers();
    let from = numbers.len();
    let first = indices.clone().next().filter(|index| *index < len)?;
    // SAFETY: attached; `item` gives objects that are alive, as indices are in range, and each conversion is for the
    // exact type checked before it.
    unsafe {
        let is_double = ffi::PyFloat_CheckExact(item(first as ffi::Py_ssize_t)) != 0;
        let complete = indices.all(|index| {
            if index >= len {
                return false;
            }
            let item = item(index as ffi::Py_ssize_t);
            if is_double {
                let is_exact = ffi::PyFloat_CheckExact(item) != 0;
                numbers.push(if is_exact { ffi::PyFloat_AsDouble(item).to_bits() } else { 0 });
                return is_exact;
            }
            if let Some(number) = small_int(item) {
                numbers.push(number as u64);
                return true;
            }
            if ffi::PyLong_CheckExact(item) == 0 {
                return false;
            }
            let mut overflow: c_int = 0;
            numbers.push(ffi::PyLong_AsLongLongAndOverflow(item, &mut overflow) as u64);
            overflow == 0
        });
        if !complete {
            numbers.truncate(from);
            return None;
        }
        Some(is_double)
    }
}
