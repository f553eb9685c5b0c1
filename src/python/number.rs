//! Python objects to measured values. Exact `int`, `float` and `bool` run no Python code; the rest may (`__float__`), so
//! callers are not inside `emit::with`. Nothing raises for an `Exception`: what gives no number is `None`. Tensors are
//! not asked, since that could wait for a GPU.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::c_int;
use std::ptr;

use pyo3::ffi;

use super::fastcall::Raised;
use super::objects::{Owned, is_tensor, numpy_scalar, swallow, type_has};
use super::small_int::small_int;
use super::strings::utf8;
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
            return Some(Number::Double(ffi::PyFloat_AsDouble(object)));
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
        if let Some(item) = numpy_scalar(object)?
            && let Some(known) = exact(item.0).or_else(|| subclass(item.0))
        {
            return Ok(Some(known));
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
            let view = Owned(ffi::PyMemoryView_FromObject(values));
            if view.0.is_null() {
                swallow()?;
                if is_tensor(values) {
                    each(None);
                    return Ok(());
                }
            } else if let Some(column) = Column::of(view.0)? {
                column.numbers().for_each(|number| each(Some(number)));
                return Ok(());
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

/// A buffer's elements, copied at once (in any build: buffers themselves are not in the limited API before 3.11).
struct Column {
    bytes: Owned,
    decode: fn(&[u8]) -> Number,
    item_bytes: usize,
}

impl Column {
    /// `None`: its elements are not numbers in this machine's format.
    unsafe fn of(view: Object) -> Result<Option<Self>, Raised> {
        // SAFETY: attached; a memoryview, whose attributes and methods are the interpreter's own.
        unsafe {
            let format = Owned(ffi::PyObject_GetAttrString(view, c"format".as_ptr()));
            let item_bytes = Owned(ffi::PyObject_GetAttrString(view, c"itemsize".as_ptr()));
            if format.0.is_null() || item_bytes.0.is_null() {
                swallow()?;
                return Ok(None);
            }
            let item_bytes = ffi::PyLong_AsSize_t(item_bytes.0);
            let Some(decode) = utf8(format.0).and_then(|format| decoder(format, item_bytes)) else {
                return Ok(None);
            };
            let to_bytes = Owned(ffi::PyObject_GetAttrString(view, c"tobytes".as_ptr()));
            let bytes = if to_bytes.0.is_null() {
                ptr::null_mut()
            } else {
                ffi::PyObject_CallObject(to_bytes.0, ptr::null_mut())
            };
            if bytes.is_null() {
                swallow()?;
                return Ok(None);
            }
            Ok(Some(Self { bytes: Owned(bytes), decode, item_bytes }))
        }
    }

    fn numbers(&self) -> impl Iterator<Item = Number> {
        // SAFETY: attached; `bytes` is an exact bytes object that we own, and lives as long as `self`.
        let bytes = unsafe {
            let len = ffi::PyBytes_Size(self.bytes.0).max(0) as usize;
            std::slice::from_raw_parts(ffi::PyBytes_AsString(self.bytes.0).cast::<u8>(), len)
        };
        bytes.chunks_exact(self.item_bytes).map(self.decode)
    }
}

/// How to read an element of this format (as of the module `struct`).
fn decoder(format: &[u8], item_bytes: usize) -> Option<fn(&[u8]) -> Number> {
    macro_rules! int {
        ($type:ty) => {
            |bytes| match i64::try_from(<$type>::from_ne_bytes(bytes.try_into().unwrap_or_default())) {
                Ok(value) => Number::Int(value),
                // Only u64 has such values.
                Err(_) => Number::Double(<$type>::from_ne_bytes(bytes.try_into().unwrap_or_default()) as f64),
            }
        };
    }
    macro_rules! float {
        ($type:ty) => {
            |bytes| Number::Double(<$type>::from_ne_bytes(bytes.try_into().unwrap_or_default()).into())
        };
    }
    let native = if cfg!(target_endian = "little") { b'<' } else { b'>' };
    let kind = match format {
        [kind] => *kind,
        [order, kind] if [b'@', b'=', native].contains(order) => *kind,
        _ => return None,
    };
    Some(match (kind, item_bytes) {
        (b'd', 8) => float!(f64),
        (b'f', 4) => float!(f32),
        (b'b' | b'h' | b'i' | b'l' | b'q' | b'n', 1) => int!(i8),
        (b'h' | b'i' | b'l' | b'q' | b'n', 2) => int!(i16),
        (b'i' | b'l' | b'q' | b'n', 4) => int!(i32),
        (b'l' | b'q' | b'n', 8) => int!(i64),
        (b'?' | b'B', 1) => int!(u8),
        (b'H', 2) => int!(u16),
        (b'I' | b'L' | b'N', 4) => int!(u32),
        (b'L' | b'Q' | b'N', 8) => int!(u64),
        _ => return None,
    })
}
