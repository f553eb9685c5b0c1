//! Objects that are not ours: their text, their kind, their elements, references to them. May run Python code where it
//! says so, so callers are not inside `emit::with`; what user code changes meanwhile is never read again. Nothing
//! raises: see [`super::convert`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::collections::HashSet;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use super::fastcall::Raised;
use super::strings::utf8;

/// Elements of one value, over all levels. Bounds what a cyclic or self-similar structure can cost.
pub(super) const MAX_ELEMENTS: u32 = 65_536;
/// Characters of `str(obj)` are cut at this many bytes.
const MAX_STR_BYTES: usize = 4096;

/// A text for a name, key, description or message: any object. Never raises for an `Exception`.
///
/// # Safety
/// Attached, not inside `emit::with`; `object` is alive.
pub(super) unsafe fn text_of(object: *mut ffi::PyObject) -> Result<Vec<u8>, Raised> {
    // SAFETY: as promised by the caller.
    unsafe { if ffi::PyUnicode_Check(object) != 0 { Ok(encode_lossy(object)) } else { str_of(object) } }
}

/// A `str`, each lone surrogate replaced by one U+FFFD.
pub(super) fn lossy(text: &Bound<'_, PyString>) -> String {
    // SAFETY: a str, attached, alive.
    String::from_utf8_lossy(&unsafe { encode_lossy(text.as_ptr()) }).into_owned()
}

/// An int's text, see [`int_text`].
pub(super) fn digits(int: &Bound<'_, PyInt>) -> String {
    // SAFETY: an int, attached, alive.
    String::from_utf8_lossy(&unsafe { int_text(int.as_ptr()) }).into_owned()
}

/// A `str` as UTF-8, lone surrogates replaced by U+FFFD.
pub(super) unsafe fn encode_lossy(object: *mut ffi::PyObject) -> Vec<u8> {
    // SAFETY: a str, attached.
    unsafe {
        if let Some(text) = utf8(object) {
            return text.to_vec();
        }
        let encoded =
            Owned(ffi::PyUnicode_AsEncodedString(object, c"utf-8".as_ptr(), c"surrogatepass".as_ptr()));
        if encoded.0.is_null() {
            ffi::PyErr_Clear();
            return Vec::new();
        }
        let len = ffi::PyBytes_Size(encoded.0) as usize;
        let mut text =
            std::slice::from_raw_parts(ffi::PyBytes_AsString(encoded.0).cast::<u8>(), len).to_vec();
        // A surrogate is ED A0..BF xx; well-formed text has only 80..9F after ED.
        let mut at = 0;
        while let Some(found) = text[at..].windows(3).position(|w| w[0] == 0xED && w[1] >= 0xA0) {
            at += found;
            text[at..at + 3].copy_from_slice("\u{FFFD}".as_bytes());
            at += 3;
        }
        text
    }
}

/// `str(object)` cut at [`MAX_STR_BYTES`]; the type's name when that raises.
pub(super) unsafe fn str_of(object: *mut ffi::PyObject) -> Result<Vec<u8>, Raised> {
    // SAFETY: attached, alive.
    unsafe {
        let text = Owned(ffi::PyObject_Str(object));
        if text.0.is_null() {
            swallow()?;
            return Ok(type_name(object));
        }
        let mut bytes = encode_lossy(text.0);
        if bytes.len() > MAX_STR_BYTES {
            let mut end = MAX_STR_BYTES;
            while bytes[end] & 0xC0 == 0x80 {
                end -= 1;
            }
            bytes.truncate(end);
        }
        Ok(bytes)
    }
}

/// An int beyond 64 bits in decimal; in hexadecimal where Python refuses (its limit on digits). Of a subclass the number
/// that it holds, whatever its `__str__` says.
pub(super) unsafe fn int_text(object: *mut ffi::PyObject) -> Vec<u8> {
    // SAFETY: attached, an int.
    unsafe {
        let mut text = Owned(ffi::PyNumber_ToBase(object, 10));
        if text.0.is_null() {
            ffi::PyErr_Clear();
            text = Owned(ffi::PyNumber_ToBase(object, 16));
        }
        if text.0.is_null() {
            ffi::PyErr_Clear();
            return type_name(object);
        }
        encode_lossy(text.0)
    }
}

/// The type's name without its module, which needs no code of the type.
pub(super) unsafe fn type_name(object: *mut ffi::PyObject) -> Vec<u8> {
    // SAFETY: attached, alive.
    unsafe {
        let name = Owned(ffi::PyObject_GetAttrString(ffi::Py_TYPE(object).cast(), c"__name__".as_ptr()));
        if name.0.is_null() || ffi::PyUnicode_Check(name.0) == 0 {
            ffi::PyErr_Clear();
            return b"object".to_vec();
        }
        encode_lossy(name.0)
    }
}

/// Arrays and tensors, whose text or number could mean waiting for a GPU. Asked of the type, never of the object.
pub(super) unsafe fn is_tensor(object: *mut ffi::PyObject) -> bool {
    // SAFETY: attached, alive.
    unsafe { type_has(object, c"__dlpack__") || type_has(object, c"__cuda_array_interface__") }
}

pub(super) unsafe fn type_has(object: *mut ffi::PyObject, attribute: &std::ffi::CStr) -> bool {
    // SAFETY: attached, alive.
    unsafe {
        let found = Owned(ffi::PyObject_GetAttrString(ffi::Py_TYPE(object).cast(), attribute.as_ptr()));
        if found.0.is_null() {
            ffi::PyErr_Clear();
        }
        !found.0.is_null()
    }
}

/// A numpy scalar, which is no tensor. Asked of the type.
pub(super) unsafe fn is_numpy_scalar(object: *mut ffi::PyObject) -> bool {
    // SAFETY: attached, alive.
    unsafe {
        type_has(object, c"__array_interface__")
            && type_has(object, c"item")
            && type_has(object, c"dtype")
            && !is_tensor(object)
    }
}

/// `numpy.generic.item()`: the Python number of a numpy scalar.
pub(super) unsafe fn numpy_scalar(object: *mut ffi::PyObject) -> Result<Option<Owned>, Raised> {
    // SAFETY: attached, alive.
    unsafe {
        if !is_numpy_scalar(object) {
            return Ok(None);
        }
        let item = Owned(ffi::PyObject_GetAttrString(object, c"item".as_ptr()));
        let number = if item.0.is_null() {
            ptr::null_mut()
        } else {
            ffi::PyObject_CallObject(item.0, ptr::null_mut())
        };
        if number.is_null() {
            swallow()?;
            return Ok(None);
        }
        Ok(Some(Owned(number)))
    }
}

/// Clears an `Exception`; leaves any other `BaseException` set.
///
/// # Safety
/// Attached.
pub(super) unsafe fn swallow() -> Result<(), Raised> {
    // SAFETY: attached.
    unsafe {
        if ffi::PyErr_ExceptionMatches(ffi::PyExc_Exception) != 0 {
            ffi::PyErr_Clear();
            Ok(())
        } else {
            Err(Raised)
        }
    }
}

/// A strong reference or null.
pub(super) struct Owned(pub(super) *mut ffi::PyObject);

impl Owned {
    /// Another reference to what `object` refers to.
    ///
    /// # Safety
    /// Attached; `object` is alive or null.
    pub(super) unsafe fn new(object: *mut ffi::PyObject) -> Self {
        // SAFETY: as promised by the caller.
        unsafe { ffi::Py_XINCREF(object) };
        Self(object)
    }

    /// The reference is the caller's.
    pub(super) fn into_raw(self) -> *mut ffi::PyObject {
        let object = self.0;
        std::mem::forget(self);
        object
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: we own the reference; values never leave the attached thread.
        unsafe { ffi::Py_XDECREF(self.0) }
    }
}

/// What another object refers to, while it is looked at: the interpreter's lock keeps it there, or where there is none a
/// reference of our own.
pub(super) struct Held(pub(super) *mut ffi::PyObject);

impl Held {
    /// # Safety
    /// Attached; `object` is alive or null.
    #[inline(always)]
    pub(super) unsafe fn new(object: *mut ffi::PyObject) -> Self {
        if cfg!(Py_GIL_DISABLED) {
            // SAFETY: as promised by the caller.
            unsafe { ffi::Py_XINCREF(object) };
        }
        Self(object)
    }
}

impl Drop for Held {
    #[inline(always)]
    fn drop(&mut self) {
        if cfg!(Py_GIL_DISABLED) {
            // SAFETY: taken in `new`; values never leave the attached thread.
            unsafe { ffi::Py_XDECREF(self.0) }
        }
    }
}

/// Whether the caller has the only reference to an object.
///
/// # Safety
/// Attached; `object` is alive.
#[inline(always)]
pub(super) unsafe fn is_only_ours(object: *mut ffi::PyObject) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(Py_GIL_DISABLED)]
        return ffi::PyUnstable_Object_IsUniquelyReferenced(object) != 0;
        #[cfg(not(Py_GIL_DISABLED))]
        return ffi::Py_REFCNT(object) == 1;
    }
}

/// The first elements of a list or tuple, copied: user code that runs between may change the list. A subclass is read
/// as what it holds, whatever its `__iter__` says.
pub(super) struct Elements {
    copy: Owned,
    is_list: bool,
    pub(super) len: ffi::Py_ssize_t,
}

impl Elements {
    pub(super) unsafe fn of(sequence: *mut ffi::PyObject) -> Self {
        // SAFETY: attached; a list or tuple. Slices of either are exact lists and tuples that only we change.
        unsafe {
            let is_list = ffi::PyList_Check(sequence) != 0;
            let end = MAX_ELEMENTS as ffi::Py_ssize_t;
            let copy = Owned(if is_list {
                ffi::PyList_GetSlice(sequence, 0, end)
            } else {
                ffi::PyTuple_GetSlice(sequence, 0, end)
            });
            if copy.0.is_null() {
                ffi::PyErr_Clear();
                return Self { copy, is_list, len: 0 };
            }
            let len = if is_list { ffi::PyList_Size(copy.0) } else { ffi::PyTuple_Size(copy.0) };
            Self { copy, is_list, len }
        }
    }

    /// Borrowed; `index` is below `len`.
    pub(super) unsafe fn get(&self, index: ffi::Py_ssize_t) -> *mut ffi::PyObject {
        // SAFETY: in range, and nobody else has the copy.
        unsafe {
            if self.is_list {
                ffi::PyList_GetItem(self.copy.0, index)
            } else {
                ffi::PyTuple_GetItem(self.copy.0, index)
            }
        }
    }
}

/// The entries of a mapping, with a reference to each: user code that runs between may change it.
pub(super) struct Entries(Vec<*mut ffi::PyObject>);

impl Entries {
    /// `None` when the object is no mapping.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; `mapping` is alive.
    pub(super) unsafe fn of(mapping: *mut ffi::PyObject) -> Result<Option<Self>, Raised> {
        // SAFETY: attached, alive. A dict's copy is private to us, so nothing changes it while we read.
        unsafe {
            let copy = if ffi::PyDict_CheckExact(mapping) != 0 {
                Owned(ffi::PyDict_Copy(mapping))
            } else {
                let copy = Owned(ffi::PyDict_New());
                if copy.0.is_null() || ffi::PyDict_Update(copy.0, mapping) != 0 {
                    swallow()?;
                    return Ok(None);
                }
                copy
            };
            if copy.0.is_null() {
                swallow()?;
                return Ok(None);
            }
            let mut entries = Self(Vec::new());
            let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
            while ffi::PyDict_Next(copy.0, &mut position, &mut key, &mut value) != 0 {
                ffi::Py_INCREF(key);
                ffi::Py_INCREF(value);
                entries.0.extend([key, value]);
            }
            Ok(Some(entries))
        }
    }

    /// The keys as text. `None` for all but the last of those that are the same then (`1` and `'1'`).
    pub(super) unsafe fn keys(&self) -> Result<Vec<Option<Vec<u8>>>, Raised> {
        let mut texts = Vec::with_capacity(self.0.len() / 2);
        let mut may_repeat = false;
        for (key, _) in self.pairs() {
            // SAFETY: attached; kept alive by us.
            unsafe {
                may_repeat |= ffi::PyUnicode_CheckExact(key) == 0 || utf8(key).is_none();
                texts.push(Some(text_of(key)?));
            }
        }
        if may_repeat {
            let mut seen = HashSet::with_capacity(texts.len());
            for text in texts.iter_mut().rev() {
                if text.as_ref().is_some_and(|text| seen.contains(text)) {
                    *text = None;
                }
                seen.extend(text.clone());
            }
        }
        Ok(texts)
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.0.len() / 2
    }

    /// Keys and values, borrowed.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (*mut ffi::PyObject, *mut ffi::PyObject)> {
        self.0.chunks_exact(2).map(|pair| (pair[0], pair[1]))
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        for object in &self.0 {
            // SAFETY: taken in `of`.
            unsafe { ffi::Py_DECREF(*object) };
        }
    }
}
