//! Python values to attribute items, by the table in the package's documentation ("Attribute values").
//!
//! Two ways. [`simple`] handles exact `str`, `int`, `float`, `bool` and `bytes`: it runs no Python code, copies
//! nothing, and is nearly every attribute. [`Encoder`] handles the rest into a buffer of its own: it may run Python
//! code (`str(obj)`), so whoever calls it must not be inside `emit::with` nor hold a span's storage. Neither raises:
//! an `Exception` out of user code is swallowed, a `BaseException` (KeyboardInterrupt) is passed on as [`Raised`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::c_int;

use pyo3::ffi;

use super::fastcall::Raised;
use super::objects::{
    Elements, Entries, MAX_ELEMENTS, encode_lossy, int_text, is_tensor, numpy_scalar, str_of, text_of,
    type_name,
};
use super::simple::simple;
use super::strings::{self, Name};
use crate::attrs::{self, MAX_DEPTH, Text, Value, tag};
use crate::emit::Thread;

/// No further elements once a value is this large: it would not fit a request, and one large text can be an element
/// many times over.
const MAX_VALUE_BYTES: usize = 64 << 20;

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
            let raised = self.attribute_as(Text::Inline(&key), value);
            self.count += u32::from(raised.is_ok());
            raised
        }
    }

    /// Encodes one attribute under a key that may be interned; `None` is skipped.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; the object is alive.
    pub(super) unsafe fn attribute_as(
        &mut self,
        key: Text<'_>,
        value: *mut ffi::PyObject,
    ) -> Result<(), Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            if value == ffi::Py_None() {
                return Ok(());
            }
            self.elements = 0;
            self.start = self.items.len();
            let raised = self.value(value, Some(key), 0);
            if raised.is_err() {
                // Containers that were being filled are not closed.
                self.items.truncate(self.start);
            }
            raised
        }
    }

    /// Encodes one value without a key, and nothing else.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; the object is alive.
    pub(super) unsafe fn element(&mut self, object: *mut ffi::PyObject) -> Result<(), Raised> {
        // SAFETY: as promised by the caller.
        unsafe { self.value(object, None, 0) }
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

    /// No characters.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Known(known) => known.is_empty(),
            Self::Text(text) => text.is_empty(),
        }
    }

    /// [`GivenName::resolve`] outside of `emit::with`.
    pub(super) fn resolve_in(&self, session: u64) -> Text<'_> {
        match self {
            Self::Known(known) => known.resolve_in(session),
            Self::Text(text) => Name::inline(text).resolve_in(session),
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
