//! Numbers in memory of others: whatever shows a buffer (`array.array`, numpy, `memoryview`) or numpy's array interface.
//! Both are memory of the processor, so there is no GPU to wait for. May run Python code of the object, so callers are
//! not inside `emit::with`; nothing raises for an `Exception`.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::CStr;
use std::ptr;

use pyo3::ffi;

use super::capi::Buffer;
use super::fastcall::Raised;
use super::objects::{Owned, swallow, type_has};
use super::strings::utf8;

type Object = *mut ffi::PyObject;

/// One element.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    Bool(bool),
    Int(i64),
    /// Beyond `i64`.
    Large(u64),
    Double(f64),
}

#[derive(Clone, Copy, PartialEq)]
enum Element {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
}

/// Elements in the memory that an object shows: read at once, before other code runs, and given back when dropped (which
/// may run Python code). Another thread that writes there meanwhile, as numpy does without the interpreter lock, changes
/// what is read and nothing else.
pub(super) struct Numbers {
    owner: Owner,
    address: *const u8,
    pub(super) len: usize,
    /// Bytes from one element to the next.
    stride: isize,
    element: Element,
    /// In the other byte order.
    swapped: bool,
    /// Of the original, whose elements are in C order here; 0 is one number by itself.
    pub(super) dimensions: usize,
}

enum Owner {
    Buffer(Buffer),
    /// The address is good as long as these are: `bytes`, or an array interface (and the array, which the caller holds).
    Objects(#[expect(dead_code, reason = "keeps it alive")] Owned),
}

impl Drop for Numbers {
    fn drop(&mut self) {
        if let Owner::Buffer(buffer) = &mut self.owner {
            // SAFETY: attached, as when it was got; once.
            unsafe { buffer.release() };
        }
    }
}

/// What an object is, as a column of numbers.
pub(super) enum Found {
    Numbers(Numbers),
    /// A buffer whose elements are something else (or numbers of an unusual kind).
    Others,
    /// It shows no memory.
    Nothing,
}

impl Numbers {
    /// # Safety
    /// Attached, not inside `emit::with`; `object` is alive.
    pub(super) unsafe fn of(object: Object) -> Result<Found, Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            if let Some(buffer) = Buffer::of(object) {
                return Ok(Self::of_buffer(object, buffer)?.map_or(Found::Others, Found::Numbers));
            }
            swallow()?;
            if !type_has(object, c"__array_interface__") {
                return Ok(Found::Nothing);
            }
            let interface = attribute(object, c"__array_interface__")?;
            Ok(Self::of_interface(interface)?.map_or(Found::Others, Found::Numbers))
        }
    }

    unsafe fn of_buffer(object: Object, mut buffer: Buffer) -> Result<Option<Self>, Raised> {
        // SAFETY: attached, alive; the buffer is as its exporter filled it in: a shape and strides of as many dimensions.
        unsafe {
            let format = if buffer.format.is_null() { c"B" } else { CStr::from_ptr(buffer.format) };
            let Some((element, swapped)) = element(format.to_bytes(), buffer.item_bytes as usize) else {
                buffer.release();
                return Ok(None);
            };
            let dimensions = buffer.dimensions.max(0) as usize;
            if dimensions > 1 {
                buffer.release();
                return Self::of_matrix(object, element, swapped, dimensions);
            }
            let is_row = dimensions == 1 && !buffer.shape.is_null();
            let len = if is_row { (*buffer.shape).max(0) as usize } else { 1 };
            let stride =
                if is_row && !buffer.strides.is_null() { *buffer.strides } else { buffer.item_bytes };
            let address = buffer.address.cast_const().cast();
            Ok(Some(Self {
                owner: Owner::Buffer(buffer),
                address,
                len,
                stride,
                element,
                swapped,
                dimensions,
            }))
        }
    }

    /// More dimensions, as one: copied.
    #[cold]
    unsafe fn of_matrix(
        object: Object,
        element: Element,
        swapped: bool,
        dimensions: usize,
    ) -> Result<Option<Self>, Raised> {
        // SAFETY: attached; a memoryview, whose methods are the interpreter's own, gives exact `bytes`.
        unsafe {
            let view = Owned(ffi::PyMemoryView_FromObject(object));
            let to_bytes =
                if view.0.is_null() { Owned(ptr::null_mut()) } else { attribute(view.0, c"tobytes")? };
            let bytes = if to_bytes.0.is_null() {
                Owned(ptr::null_mut())
            } else {
                Owned(ffi::PyObject_CallObject(to_bytes.0, ptr::null_mut()))
            };
            if bytes.0.is_null() {
                swallow_if_set()?;
                return Ok(None);
            }
            let address = ffi::PyBytes_AsString(bytes.0).cast_const().cast();
            let (len, stride) =
                (ffi::PyBytes_Size(bytes.0) as usize / element.bytes(), element.bytes() as isize);
            let owner = Owner::Objects(bytes);
            Ok(Some(Self { owner, address, len, stride, element, swapped, dimensions }))
        }
    }

    /// One dimension of numpy's array interface, version 3. That its address is good is the object's promise, as it is to
    /// numpy.
    unsafe fn of_interface(dict: Owned) -> Result<Option<Self>, Raised> {
        let interface = dict.0;
        // SAFETY: attached; exact types are checked before their contents are read, and what is borrowed is kept alive by
        // the dict, which nothing changes meanwhile: no Python code runs.
        unsafe {
            if interface.is_null() || ffi::PyDict_CheckExact(interface) == 0 {
                return Ok(None);
            }
            let get = |key: &CStr| {
                let value = ffi::PyDict_GetItemString(interface, key.as_ptr());
                if value.is_null() || value == ffi::Py_None() { None } else { Some(value) }
            };
            let (Some(kind), Some(shape), Some(data)) = (get(c"typestr"), get(c"shape"), get(c"data")) else {
                return Ok(None);
            };
            let Some(typestr) = text(kind) else { return Ok(None) };
            let Some((element, swapped)) = element_of_typestr(typestr) else { return Ok(None) };
            if !is_tuple(shape, 1) || !is_tuple(data, 2) {
                return Ok(None);
            }
            let (Some(len), Some(address)) =
                (size(ffi::PyTuple_GetItem(shape, 0))?, size(ffi::PyTuple_GetItem(data, 0))?)
            else {
                return Ok(None);
            };
            let item_bytes = element.bytes();
            let stride = match get(c"strides") {
                None => item_bytes as isize,
                Some(strides) if is_tuple(strides, 1) => {
                    let stride = ffi::PyTuple_GetItem(strides, 0);
                    if ffi::PyLong_CheckExact(stride) == 0 {
                        return Ok(None);
                    }
                    let stride = ffi::PyLong_AsSsize_t(stride);
                    swallow_if_set()?;
                    stride
                }
                Some(_) => return Ok(None),
            };
            let whole = len.checked_mul(item_bytes).and_then(|bytes| isize::try_from(bytes).ok());
            if whole.is_none() || address == 0 && len > 0 {
                return Ok(None);
            }
            let owner = Owner::Objects(dict);
            let address = ptr::with_exposed_provenance(address);
            Ok(Some(Self { owner, address, len, stride, element, swapped, dimensions: 1 }))
        }
    }

    /// The element; zero beyond the end.
    pub(super) fn get(&self, index: usize) -> Cell {
        let size = self.element.bytes();
        let mut bytes = [0; 8];
        if index >= self.len {
            return Cell::Int(0);
        }
        let from = self.address.wrapping_offset(self.stride.wrapping_mul(index as isize));
        // SAFETY: an element of the memory that the owner keeps; no element is larger than 8 bytes.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), size) };
        if self.swapped {
            bytes[..size].reverse();
        }
        macro_rules! number {
            ($type:ty) => {
                <$type>::from_ne_bytes(*bytes.first_chunk().expect("no number has more than 8 bytes"))
            };
        }
        match self.element {
            Element::Bool => Cell::Bool(bytes[0] != 0),
            Element::I8 => Cell::Int(number!(i8).into()),
            Element::I16 => Cell::Int(number!(i16).into()),
            Element::I32 => Cell::Int(number!(i32).into()),
            Element::I64 => Cell::Int(number!(i64)),
            Element::U8 => Cell::Int(number!(u8).into()),
            Element::U16 => Cell::Int(number!(u16).into()),
            Element::U32 => Cell::Int(number!(u32).into()),
            Element::U64 => i64::try_from(number!(u64)).map_or(Cell::Large(number!(u64)), Cell::Int),
            Element::F32 => Cell::Double(number!(f32).into()),
            Element::F64 => Cell::Double(number!(f64)),
        }
    }

    /// Whether all elements are doubles, or all are ints within 64 bits; `None` when they are neither.
    pub(super) fn are_doubles(&self) -> Option<bool> {
        match self.element {
            Element::F32 | Element::F64 => Some(true),
            Element::Bool => None,
            Element::U64 if (0..self.len).any(|index| matches!(self.get(index), Cell::Large(_))) => None,
            _ => Some(false),
        }
    }

    /// Appends the bits of the elements at `indices`, widened to `i64` or `f64`. Those beyond the end are zero.
    pub(super) fn widen(&self, indices: impl Iterator<Item = usize>, out: &mut Vec<u64>) {
        let (address, len) = (self.address, self.len);
        macro_rules! widen {
            ($type:ty, $wide:expr) => {
                out.extend(indices.map(|index| {
                    if index >= len {
                        return 0;
                    }
                    // SAFETY: an element of the memory that the owner keeps, one behind the other.
                    $wide(unsafe { address.cast::<$type>().add(index).read_unaligned() })
                }))
            };
        }
        let bits = |cell| match cell {
            Cell::Double(number) => number.to_bits(),
            Cell::Int(number) => number as u64,
            Cell::Large(number) => number,
            Cell::Bool(truth) => u64::from(truth),
        };
        match self.element {
            _ if self.swapped || self.stride != self.element.bytes() as isize => {
                out.extend(indices.map(|index| bits(self.get(index))))
            }
            Element::I64 | Element::U64 | Element::F64 => widen!(u64, |number| number),
            Element::I32 => widen!(i32, |number| i64::from(number) as u64),
            Element::U32 => widen!(u32, u64::from),
            Element::F32 => widen!(f32, |number| f64::from(number).to_bits()),
            _ => out.extend(indices.map(|index| bits(self.get(index)))),
        }
    }
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    fn int(is_signed: bool, bytes: usize) -> Option<Self> {
        Some(match (is_signed, bytes) {
            (true, 1) => Self::I8,
            (true, 2) => Self::I16,
            (true, 4) => Self::I32,
            (true, 8) => Self::I64,
            (false, 1) => Self::U8,
            (false, 2) => Self::U16,
            (false, 4) => Self::U32,
            (false, 8) => Self::U64,
            _ => return None,
        })
    }
}

/// Whether this mark of byte order (of the module `struct`, or of numpy) is the other than this machine's.
fn is_swapped(order: u8) -> Option<bool> {
    match order {
        b'@' | b'=' | b'|' => Some(false),
        b'<' => Some(cfg!(target_endian = "big")),
        b'>' | b'!' => Some(cfg!(target_endian = "little")),
        _ => None,
    }
}

/// An element of this format of the module `struct`.
fn element(format: &[u8], item_bytes: usize) -> Option<(Element, bool)> {
    let (kind, swapped) = match format {
        [kind] => (*kind, false),
        [order, kind] => (*kind, is_swapped(*order)?),
        _ => return None,
    };
    let element = match kind {
        b'b' | b'h' | b'i' | b'l' | b'q' | b'n' => Element::int(true, item_bytes)?,
        b'B' | b'H' | b'I' | b'L' | b'Q' | b'N' => Element::int(false, item_bytes)?,
        b'?' => Element::Bool,
        b'f' => Element::F32,
        b'd' => Element::F64,
        _ => return None,
    };
    (element.bytes() == item_bytes).then_some((element, swapped))
}

/// An element as numpy's array interface writes it.
fn element_of_typestr(text: &[u8]) -> Option<(Element, bool)> {
    let [order, kind, size] = text else { return None };
    let size = usize::from(size.checked_sub(b'0')?);
    let element = match (kind, size) {
        (b'i' | b'u', _) => Element::int(*kind == b'i', size)?,
        (b'b', 1) => Element::Bool,
        (b'f', 4) => Element::F32,
        (b'f', 8) => Element::F64,
        _ => return None,
    };
    Some((element, is_swapped(*order)?))
}

/// An attribute, or null.
unsafe fn attribute(object: Object, name: &CStr) -> Result<Owned, Raised> {
    // SAFETY: attached, alive.
    let value = Owned(unsafe { ffi::PyObject_GetAttrString(object, name.as_ptr()) });
    if value.0.is_null() {
        // SAFETY: attached.
        unsafe { swallow()? };
    }
    Ok(value)
}

/// The text of an exact `str`.
unsafe fn text<'a>(object: Object) -> Option<&'a [u8]> {
    // SAFETY: attached; alive or null.
    unsafe { if object.is_null() || ffi::PyUnicode_CheckExact(object) == 0 { None } else { utf8(object) } }
}

/// An exact `int` that is a size.
unsafe fn size(object: Object) -> Result<Option<usize>, Raised> {
    // SAFETY: attached; alive or null.
    unsafe {
        if object.is_null() || ffi::PyLong_CheckExact(object) == 0 {
            return Ok(None);
        }
        let size = ffi::PyLong_AsSize_t(object);
        if size == usize::MAX && !ffi::PyErr_Occurred().is_null() {
            swallow()?;
            return Ok(None);
        }
        Ok(Some(size))
    }
}

unsafe fn is_tuple(object: Object, len: ffi::Py_ssize_t) -> bool {
    // SAFETY: attached, alive.
    unsafe { ffi::PyTuple_CheckExact(object) != 0 && ffi::PyTuple_Size(object) == len }
}

unsafe fn swallow_if_set() -> Result<(), Raised> {
    // SAFETY: attached.
    unsafe { if ffi::PyErr_Occurred().is_null() { Ok(()) } else { swallow() } }
}
