//! Many values of a histogram in one call: what goes along is converted once. Against the C API, as [`super::instrument`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::ptr;

use arrayvec::ArrayVec;
use pyo3::ffi;

use super::fastcall::{Raised, Signature, entry, none};
use super::given_attributes::GivenAttributes;
use super::instrument::{
    HISTOGRAM, InstrumentObject, MAX_ATTRIBUTES, at_this_point, is_allowed, refuse, unregistered, word,
};
use super::number;
use crate::emit::{self, Measurement};
use crate::record::Number;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// Values that are converted before they are recorded.
const CHUNK: usize = 128;

pub(super) unsafe extern "C" fn record_many(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<2, 1, 2> = Signature::new("record_many", ["values", "attributes"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [values, attributes] = SIGNATURE.parse(args, count, names)?;
            record_all(this.cast(), values, attributes)?;
        }
        Ok(none())
    })
}

pub(super) unsafe extern "C" fn record_many_bound(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<1, 1, 1> = Signature::new("record_many", ["values"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [values] = SIGNATURE.parse(args, count, names)?;
            record_all(this.cast(), values, ptr::null_mut())?;
        }
        Ok(none())
    })
}

/// Many values of a histogram, whose attributes are converted once, in the span and at the time of the call.
unsafe fn record_all(
    object: *mut InstrumentObject,
    values: Object,
    attributes: Object,
) -> Result<(), Raised> {
    // SAFETY: attached, alive; nothing Python runs inside `emit::with`.
    unsafe {
        let session = emit::session();
        if session == 0 {
            return Ok(());
        }
        let word = word(object, session);
        if word.instrument() == 0 {
            return Ok(());
        }
        let mut given = GivenAttributes::default();
        given.fill(attributes, session, MAX_ATTRIBUTES)?;
        let mut items = unregistered(object, word).to_vec();
        emit::with(session, |thread| given.put(&mut items, MAX_ATTRIBUTES, thread));
        let any = at_this_point(word, Number::Int(0), false);
        let mut chunk = ArrayVec::<Number, CHUNK>::new();
        let flush = |chunk: &mut ArrayVec<Number, CHUNK>| {
            emit::with(session, |thread| {
                for value in chunk.drain(..) {
                    thread.measure(&Measurement { value, ..any }, &items);
                }
            });
            chunk.clear();
        };
        let read = number::numbers(values, |value| {
            match value.filter(|value| is_allowed::<HISTOGRAM>(*value)) {
                Some(value) => chunk.push(value),
                None => refuse::<HISTOGRAM>(value, session),
            }
            if chunk.is_full() {
                flush(&mut chunk);
            }
        });
        flush(&mut chunk);
        read
    }
}
