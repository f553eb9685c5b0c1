//! Python objects to measured values. Exact `int`, `float` and `bool` run no Python code; the rest may (`__float__`), so
//! callers are not inside `emit::with`. Nothing raises for an `Exception`: what gives no number is `None`. Tensors are
//! not asked, since that could wait for a GPU.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::c_int;

use pyo3::ffi;

use super::buffer::{Cell, Found, Numbers};
use super::fastcall::Raised;
use super::layout;
use super::objects::{Owned, is_tensor, numpy_scalar, swallow, type_has};
use super::small_int::small_int;
use crate::record::Number;

type Object = *mut ffi::PyObject;

/// The value of an exact `int`, `float` or `bool`.
///
/// # Safety
/// Attached; `object` is alive.
#[inline(always)]
pub(super) unsafe fn exact(object: Object) -> Option<Number> {
    // SAFETY: attached, alive; each conversion is for the exact type checked before it.
    unsafe {
        if let Some(value) = small_int(object) {
            return Some(Number::Int(value));
        }
        if ffi::PyLong_CheckExact(object) != 0 {
            return Some(int(object));
        }
        if ffi::PyFloat_CheckExact(object) != 0 {
            return Some(Number::Double(layout::float(object)));
        }
        let is_true = object == ffi::Py_True();
        (is_true || object == ffi::Py_False()).then(|| Number::Int(i64::from(is_true)))
    }
}

/// The value of any object that is a number.
///
/// # Safety
/// Attached, not inside `emit::with`; `object` is alive.
#[inline]
pub(super) unsafe fn number(object: Object) -> Result<Option<Number>, Raised> {
    // SAFETY: as promised by the caller.
    unsafe {
        match exact(object) {
            None => general(object),
            number => Ok(number),
        }
    }
}

/// An int (or a subclass, whose methods are not asked); beyond 64 bits a double, beyond a double's range infinite.
#[inline]
unsafe fn int(object: Object) -> Number {
    let mut overflow: c_int = 0;
    // SAFETY: attached, an int.
    unsafe {
        let value = ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow);
        if overflow == 0 { Number::Int(value) } else { Number::Double(large_int(object, overflow)) }
    }
}

#[cold]
unsafe fn large_int(object: Object, sign: c_int) -> f64 {
    // SAFETY: attached, an int.
    unsafe {
        let value = ffi::PyLong_AsDouble(object);
        if ffi::PyErr_Occurred().is_null() {
            return value;
        }
        ffi::PyErr_Clear();
        f64::INFINITY.copysign(f64::from(sign))
    }
}

#[cold]
#[inline(never)]
unsafe fn general(object: Object) -> Result<Option<Number>, Raised> {
    // SAFETY: attached, alive; each conversion is for the type checked before it.
    unsafe {
        if let Some(known) = subclass(object) {
            return Ok(Some(known));
        }
        if is_tensor(object) {
            return Ok(None);
        }
        if let Some(item) = numpy_scalar(object)? {
            let known = exact(item.0).or_else(|| subclass(item.0));
            // A long double gives itself. Others are no numbers (complex ones, times, text), whatever `__float__` says.
            if known.is_some() || ffi::Py_TYPE(item.0) != ffi::Py_TYPE(object) {
                return Ok(known);
            }
        }
        let converted = if type_has(object, c"__index__") {
            Owned(ffi::PyNumber_Index(object))
        } else if type_has(object, c"__float__") {
            Owned(ffi::PyNumber_Float(object))
        } else {
            return Ok(None);
        };
        if converted.0.is_null() {
            swallow()?;
            return Ok(None);
        }
        Ok(exact(converted.0).or_else(|| subclass(converted.0)))
    }
}

unsafe fn subclass(object: Object) -> Option<Number> {
    // SAFETY: attached, alive; both read the number that the object holds, whatever its methods say.
    unsafe {
        if ffi::PyLong_Check(object) != 0 {
            Some(int(object))
        } else if ffi::PyFloat_Check(object) != 0 {
            Some(Number::Double(ffi::PyFloat_AsDouble(object)))
        } else {
            None
        }
    }
}

/// Gives `each` the value of every element: of a buffer of numbers (`array.array`, numpy, `memoryview`), or of any
/// iterable. What is neither counts as one element that is no number.
///
/// # Safety
/// Attached, neither the caller nor `each` inside `emit::with` when it returns; `values` is alive.
pub(super) unsafe fn numbers(values: Object, mut each: impl FnMut(Option<Number>)) -> Result<(), Raised> {
    // SAFETY: as promised by the caller.
    unsafe {
        if ffi::PyList_CheckExact(values) == 0 && ffi::PyTuple_CheckExact(values) == 0 {
            match Numbers::of(values)? {
                Found::Numbers(column) => {
                    for index in 0..column.len {
                        each(Some(of_cell(column.get(index))));
                    }
                    return Ok(());
                }
                Found::Nothing if is_tensor(values) => {
                    each(None);
                    return Ok(());
                }
                Found::Nothing | Found::Others => {}
            }
        }
        // A copy: code of the elements may change a list.
        let elements = Owned(ffi::PySequence_Tuple(values));
        if elements.0.is_null() {
            swallow()?;
            each(None);
            return Ok(());
        }
        for index in 0..ffi::PyTuple_Size(elements.0) {
            each(number(ffi::PyTuple_GetItem(elements.0, index))?);
        }
        Ok(())
    }
}

fn of_cell(cell: Cell) -> Number {
    match cell {
        Cell::Bool(truth) => Number::Int(i64::from(truth)),
        Cell::Int(number) => Number::Int(number),
        Cell::Large(number) => Number::Double(number as f64),
        Cell::Double(number) => Number::Double(number),
    }
}
