//! What a scanned `logging.LogRecord` says without any Python code being run: where it comes from, when, in which span.
#![expect(unsafe_code, reason = "written against the C API")]

use arrayvec::ArrayVec;
use pyo3::ffi;

use super::current;
use super::objects::encode_lossy;
use super::simple::simple;
use super::stdlib_record::{self, FIELDS, MAX_EXTRAS, Scan, key, text};
use super::strings::{Name, name};
use crate::attrs::Value;
use crate::emit::SpanIds;
use crate::ids::{FLAG_SAMPLED, SpanId, TraceId};

type Object = *mut ffi::PyObject;

/// Attributes of ours, with room for as many of the user's as a scan remembers.
pub(super) type Fields<'a> = ArrayVec<(Name<'a>, Value<'a>), { FIELDS.len() + MAX_EXTRAS }>;

/// By [`FIELDS`]: a text that is no exact `str`, or not Unicode, as it can be recorded.
pub(super) type OddTexts = [Option<Vec<u8>>; FIELDS.len()];

#[cold]
pub(super) unsafe fn odd_texts(scan: &Scan) -> OddTexts {
    FIELDS.map(|(_, from)| {
        let value = scan.get(from);
        // SAFETY: attached; alive or null.
        unsafe { (is_text(value) && simple(value).is_none()).then(|| encode_lossy(value)) }
    })
}

/// Where the record comes from. Filled in place: moving the array would cost more than filling it. False: there is an odd
/// text, and `odd_texts` is not given.
#[inline]
pub(super) unsafe fn fill_fields<'a>(
    fields: &mut Fields<'a>,
    scan: &'a Scan,
    odd_texts: Option<&'a OddTexts>,
    session: u64,
) -> bool {
    for (index, (field, from)) in stdlib_record::fields().enumerate() {
        let value = scan.get(from);
        if value.is_null() {
            continue;
        }
        // SAFETY: attached; alive as long as the scan is used.
        unsafe {
            let value = match (simple(value), odd_texts) {
                (Some(value), _) => value,
                (None, None) if is_text(value) => return false,
                (None, odd) => match odd.and_then(|texts| texts[index].as_deref()) {
                    Some(text) => Value::Str(text),
                    None => continue,
                },
            };
            if let Some(name) = name(field, session) {
                fields.push((name, value));
            }
        }
    }
    true
}

pub(super) unsafe fn is_text(object: Object) -> bool {
    // SAFETY: attached; alive or null.
    unsafe { !object.is_null() && ffi::PyUnicode_Check(object) != 0 }
}

/// What the application calls a level of its own; empty when it has no name for it.
pub(super) unsafe fn level_name(scan: &Scan) -> &[u8] {
    // SAFETY: attached; held as long as the result is used.
    let name = unsafe { text(scan.get(key::LEVELNAME)) };
    if name.starts_with(b"Level ") { b"" } else { name }
}

/// The span that the record names (a `TraceContextFilter` has put it there, on the thread that logged), else the
/// current one.
pub(super) unsafe fn span_ids(scan: &Scan) -> SpanIds {
    // SAFETY: attached; held, or null.
    unsafe {
        let trace_id = scan.get(key::TRACE_ID);
        if !trace_id.is_null()
            && let Some(trace_id) = TraceId::from_hex(text(trace_id))
            && let Some(span_id) = SpanId::from_hex(text(scan.get(key::SPAN_ID)))
        {
            let flags = if scan.get(key::SAMPLED) == ffi::Py_True() { FLAG_SAMPLED } else { 0 };
            return SpanIds { trace_id, span_id, flags };
        }
        current::span_ids()
    }
}

/// When the record was made.
pub(super) unsafe fn created(scan: &Scan) -> Option<u64> {
    // SAFETY: attached; held, or null.
    let seconds = unsafe {
        let created = scan.get(key::CREATED);
        if created.is_null() || ffi::PyFloat_Check(created) == 0 {
            return None;
        }
        ffi::PyFloat_AsDouble(created)
    };
    // From 1973 on; later than 64 bits of nanoseconds go is no time either.
    (1e8..1.8e10).contains(&seconds).then_some((seconds * 1e9) as u64)
}
