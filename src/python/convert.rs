//! Python values to attribute items, by the table in the package's documentation ("Attribute values").
//!
//! Two ways. [`simple`] handles exact `str`, `int`, `float`, `bool` and `bytes`: it runs no Python code, copies
//! nothing, and is nearly every attribute. [`Encoder`] handles the rest into a buffer of its own: it may run Python
//! code (`str(obj)`), so whoever calls it must not be inside `emit::with` nor hold a span's storage. Neither raises:
//! an `Exception` out of user code is swallowed, a `BaseException` (KeyboardInterrupt) is passed on as [`Raised`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::collections::HashSet;
use std::ffi::c_int;
use std::ptr;

use arrayvec::ArrayVec;
use pyo3::ffi;

use super::fastcall::Raised;
use super::strings::{self, Name, name, utf8};
use crate::attrs::{self, MAX_DEPTH, Text, Value, tag};
use crate::emit::Thread;

/// Characters of `str(obj)` are cut at this many bytes.
const MAX_STR_BYTES: usize = 4096;
/// Elements of one value, over all levels. Bounds what a cyclic or self-similar structure can cost.
const MAX_ELEMENTS: u32 = 65_536;
/// No further elements once a value is this large: it would not fit a request, and one large text can be an element
/// many times over.
const MAX_VALUE_BYTES: usize = 64 << 20;

/// A value that converts without running Python code; `None` otherwise. Borrows from the object.
///
/// # Safety
/// Attached; `object` is alive as long as the result is used.
#[inline]
pub(super) unsafe fn simple<'a>(object: *mut ffi::PyObject) -> Option<Value<'a>> {
    // SAFETY: attached, alive; each conversion is for the exact type checked before it.
    unsafe {
        if ffi::PyUnicode_CheckExact(object) != 0 {
            return utf8(object).map(Value::Str);
        }
        if ffi::PyLong_CheckExact(object) != 0 {
            let mut overflow: c_int = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow);
            return (overflow == 0).then_some(Value::Int(value));
        }
        if ffi::PyFloat_CheckExact(object) != 0 {
            return Some(Value::Double(ffi::PyFloat_AsDouble(object)));
        }
        if object == ffi::Py_True() {
            return Some(Value::Bool(true));
        }
        if object == ffi::Py_False() {
            return Some(Value::Bool(false));
        }
        if ffi::PyBytes_CheckExact(object) != 0 {
            let len = ffi::PyBytes_Size(object) as usize;
            return Some(Value::Bytes(std::slice::from_raw_parts(ffi::PyBytes_AsString(object).cast(), len)));
        }
        None
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
                let Some(value) = simple(value) else { return false };
                if self.0.try_push((key, value)).is_err() {
                    return false;
                }
            }
        }
        true
    }

    #[inline]
    pub(super) fn entries(&self) -> &[(Name<'a>, Value<'a>)] {
        &self.0
    }
}

/// Converts any value. Holds what it has encoded so far; inline keys only (`Thread` is not at hand here), which the
/// span interns when it takes the items over.
#[derive(Default)]
pub(super) struct Encoder {
    items: Vec<u8>,
    /// Top-level attributes encoded.
    count: u32,
    /// Attributes that were given and cannot be kept (empty key, beyond the limit).
    dropped: u32,
    /// Of the attribute being encoded: elements so far, and where it begins.
    elements: u32,
    start: usize,
}

impl Encoder {
    /// Attribute items.
    pub(super) fn items(&self) -> &[u8] {
        &self.items
    }

    /// Attributes given and not kept.
    pub(super) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Encodes a mapping's entries as attributes, at most `limit`. What is no mapping counts as one dropped.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; `mapping` is alive.
    pub(super) unsafe fn mapping(&mut self, mapping: *mut ffi::PyObject, limit: u32) -> Result<(), Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            let Some(entries) = Entries::of(mapping)? else {
                self.dropped += 1;
                return Ok(());
            };
            for (key, value) in entries.pairs() {
                if self.count >= limit || self.items.len() > MAX_VALUE_BYTES {
                    self.dropped += u32::from(value != ffi::Py_None());
                    continue;
                }
                self.attribute(key, value)?;
            }
            Ok(())
        }
    }

    /// Encodes one attribute; `None` is skipped.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; both objects are alive.
    pub(super) unsafe fn attribute(
        &mut self,
        key: *mut ffi::PyObject,
        value: *mut ffi::PyObject,
    ) -> Result<(), Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            if value == ffi::Py_None() {
                return Ok(());
            }
            let key = text_of(key)?;
            if key.is_empty() {
                self.dropped += 1;
                return Ok(());
            }
            self.elements = 0;
            self.start = self.items.len();
            let raised = self.value(value, Some(Text::Inline(&key)), 0);
            match raised {
                Ok(()) => self.count += 1,
                // Containers that were being filled are not closed.
                Err(_) => self.items.truncate(self.start),
            }
            raised
        }
    }

    /// Encodes a value as an attribute (with a key) or as an element of the array that is open.
    unsafe fn value(
        &mut self,
        object: *mut ffi::PyObject,
        key: Option<Text<'_>>,
        depth: usize,
    ) -> Result<(), Raised> {
        // SAFETY: as promised by the caller; children of containers are kept alive by `Entries` and `Elements`.
        unsafe {
            if let Some(value) = simple(object) {
                self.put(key, value);
                return Ok(());
            }
            if object == ffi::Py_None() {
                self.put(key, Value::Empty);
                return Ok(());
            }
            let is_dict = ffi::PyDict_Check(object) != 0;
            if !is_dict && ffi::PyList_Check(object) == 0 && ffi::PyTuple_Check(object) == 0 {
                return self.scalar(object, key);
            }
            if depth < MAX_DEPTH {
                if !is_dict {
                    return self.array(&Elements::of(object), key, depth);
                }
                if let Some(entries) = Entries::of(object)? {
                    return self.map(&entries, key, depth);
                }
            }
            // Not as text: that of a structure which contains one thing several times can be of any length.
            let text = type_name(object);
            self.put(key, Value::Str(&text));
            Ok(())
        }
    }

    unsafe fn map(&mut self, entries: &Entries, key: Option<Text<'_>>, depth: usize) -> Result<(), Raised> {
        let open = match key {
            Some(key) => attrs::open_map(&mut self.items, key),
            None => attrs::open_element(&mut self.items, tag::MAP),
        };
        // SAFETY: as promised by the caller.
        let keys = unsafe { entries.keys()? };
        for ((_, value), key) in entries.pairs().zip(&keys) {
            let Some(key) = key else { continue };
            if !self.may_add() {
                break;
            }
            // SAFETY: as promised by the caller.
            unsafe { self.value(value, Some(Text::Inline(key)), depth + 1)? };
        }
        attrs::close(&mut self.items, open);
        Ok(())
    }

    unsafe fn array(
        &mut self,
        elements: &Elements,
        key: Option<Text<'_>>,
        depth: usize,
    ) -> Result<(), Raised> {
        let open = match key {
            Some(key) => attrs::open_array(&mut self.items, key),
            None => attrs::open_element(&mut self.items, tag::ARRAY),
        };
        for index in 0..elements.len {
            if !self.may_add() {
                break;
            }
            // SAFETY: as promised by the caller.
            unsafe { self.value(elements.get(index), None, depth + 1)? };
        }
        attrs::close(&mut self.items, open);
        Ok(())
    }

    fn may_add(&mut self) -> bool {
        self.elements += 1;
        self.elements <= MAX_ELEMENTS && self.items.len() - self.start <= MAX_VALUE_BYTES
    }

    fn put(&mut self, key: Option<Text<'_>>, value: Value<'_>) {
        match key {
            Some(key) => attrs::put_attribute(&mut self.items, key, value),
            None => attrs::put_element(&mut self.items, value),
        }
    }

    /// What is neither simple nor a container: subclasses of the simple types, numpy scalars, foreign objects.
    unsafe fn scalar(&mut self, object: *mut ffi::PyObject, key: Option<Text<'_>>) -> Result<(), Raised> {
        // SAFETY: attached, alive; each conversion is for the type checked before it.
        unsafe {
            if ffi::PyUnicode_Check(object) != 0 {
                let text = encode_lossy(object);
                self.put(key, Value::Str(&text));
            } else if ffi::PyLong_Check(object) != 0 {
                let mut overflow: c_int = 0;
                let value = ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow);
                if overflow == 0 {
                    self.put(key, Value::Int(value));
                } else {
                    let text = int_text(object);
                    self.put(key, Value::Str(&text));
                }
            } else if ffi::PyFloat_Check(object) != 0 {
                self.put(key, Value::Double(ffi::PyFloat_AsDouble(object)));
            } else if ffi::PyBytes_Check(object) != 0 {
                let len = ffi::PyBytes_Size(object) as usize;
                let bytes = std::slice::from_raw_parts(ffi::PyBytes_AsString(object).cast(), len);
                self.put(key, Value::Bytes(bytes));
            } else if ffi::PyByteArray_Check(object) != 0 {
                let len = ffi::PyByteArray_Size(object) as usize;
                let bytes = std::slice::from_raw_parts(ffi::PyByteArray_AsString(object).cast(), len);
                self.put(key, Value::Bytes(bytes));
            } else if is_tensor(object) {
                let text = type_name(object);
                self.put(key, Value::Str(&text));
            } else if let Some(number) = numpy_scalar(object)? {
                match simple(number.0) {
                    Some(value) => self.put(key, value),
                    None => self.put(key, Value::Str(&str_of(object)?)),
                }
            } else {
                let text = str_of(object)?;
                self.put(key, Value::Str(&text));
            }
        }
        Ok(())
    }
}

/// A text for a name, key, description or message: any object. Never raises for an `Exception`.
///
/// # Safety
/// Attached, not inside `emit::with`; `object` is alive.
pub(super) unsafe fn text_of(object: *mut ffi::PyObject) -> Result<Vec<u8>, Raised> {
    // SAFETY: as promised by the caller.
    unsafe { if ffi::PyUnicode_Check(object) != 0 { Ok(encode_lossy(object)) } else { str_of(object) } }
}

/// A `str` as UTF-8, lone surrogates replaced by U+FFFD.
unsafe fn encode_lossy(object: *mut ffi::PyObject) -> Vec<u8> {
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
unsafe fn str_of(object: *mut ffi::PyObject) -> Result<Vec<u8>, Raised> {
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

/// An int beyond 64 bits in decimal; in hexadecimal where Python refuses (its limit on digits).
unsafe fn int_text(object: *mut ffi::PyObject) -> Vec<u8> {
    // SAFETY: attached, an int.
    unsafe {
        let mut text = Owned(ffi::PyObject_Str(object));
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
unsafe fn type_name(object: *mut ffi::PyObject) -> Vec<u8> {
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
unsafe fn is_tensor(object: *mut ffi::PyObject) -> bool {
    // SAFETY: attached, alive.
    unsafe { type_has(object, c"__dlpack__") || type_has(object, c"__cuda_array_interface__") }
}

unsafe fn type_has(object: *mut ffi::PyObject, attribute: &std::ffi::CStr) -> bool {
    // SAFETY: attached, alive.
    unsafe {
        let found = Owned(ffi::PyObject_GetAttrString(ffi::Py_TYPE(object).cast(), attribute.as_ptr()));
        if found.0.is_null() {
            ffi::PyErr_Clear();
        }
        !found.0.is_null()
    }
}

/// `numpy.generic.item()`: the Python number of a numpy scalar.
unsafe fn numpy_scalar(object: *mut ffi::PyObject) -> Result<Option<Owned>, Raised> {
    // SAFETY: attached, alive.
    unsafe {
        if !(type_has(object, c"__array_interface__")
            && type_has(object, c"item")
            && type_has(object, c"dtype"))
        {
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

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: we own the reference; values never leave the attached thread.
        unsafe { ffi::Py_XDECREF(self.0) }
    }
}

/// The first elements of a list or tuple, copied: user code that runs between may change the list. A subclass is read
/// as what it holds, whatever its `__iter__` says.
struct Elements {
    copy: Owned,
    is_list: bool,
    len: ffi::Py_ssize_t,
}

impl Elements {
    unsafe fn of(sequence: *mut ffi::PyObject) -> Self {
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
    unsafe fn get(&self, index: ffi::Py_ssize_t) -> *mut ffi::PyObject {
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
    unsafe fn keys(&self) -> Result<Vec<Option<Vec<u8>>>, Raised> {
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

/// A name given by the caller: by the identity cache if it is an exact `str`, else as text of any object.
pub(super) enum GivenName<'a> {
    Known(Name<'a>),
    Text(Vec<u8>),
}

impl<'a> GivenName<'a> {
    /// # Safety
    /// Attached, not inside `emit::with`; `object` is alive as long as the result is used.
    #[inline]
    pub(super) unsafe fn of(object: *mut ffi::PyObject, session: u64) -> Result<Self, Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            match strings::name(object, session) {
                Some(known) => Ok(Self::Known(known)),
                None => text_of(object).map(Self::Text),
            }
        }
    }

    /// What goes into the record. Inside `emit::with`.
    #[inline]
    pub(super) fn resolve(&self, thread: &Thread) -> Text<'_> {
        match self {
            Self::Known(known) => known.resolve(thread),
            Self::Text(text) => Name::inline(text).resolve(thread),
        }
    }
}
