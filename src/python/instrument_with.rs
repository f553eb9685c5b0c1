//! A measurement with attributes of its own. Against the C API, as [`super::instrument`].
#![expect(unsafe_code, reason = "written against the C API")]

use pyo3::ffi;

use super::fastcall::Raised;
use super::given_attributes::GivenAttributes;
use super::instrument::{MAX_ATTRIBUTES, at_this_point};
use super::instrument_word::Word;
use super::simple::{Limited, each_simple};
use crate::emit::{self, Measurement};
use crate::record::Number;

type Object = *mut ffi::PyObject;

/// With attributes. Apart, because what they are converted into is large. `value`: see [`Number::to_bits`].
#[inline(never)]
pub(super) unsafe fn record_with(
    word: Word,
    (detail, bits): (u8, u64),
    timed: bool,
    attributes: Object,
    session: u64,
) -> Result<(), Raised> {
    // SAFETY: attached, not inside `emit::with`. The thread's state is not referenced while attributes are converted, and
    // where all were simple nothing ran that could have moved it.
    unsafe {
        let measurement = at_this_point(word, Number::from_bits(detail, bits), timed);
        let Some(thread) = emit::thread(session) else { return Ok(()) };
        if ffi::PyDict_CheckExact(attributes) != 0 {
            let mut given = Limited { items: (*thread).take_items(), room: MAX_ATTRIBUTES, cut: 0 };
            if each_simple(attributes, session, &mut given) {
                (*thread).measure(&measurement, &given.items);
                (*thread).return_items(given.items);
                return Ok(());
            }
            emit::with(session, |thread| thread.return_items(given.items));
        }
        record_generally(&measurement, attributes, session)
    }
}

#[cold]
#[inline(never)]
unsafe fn record_generally(
    measurement: &Measurement,
    attributes: Object,
    session: u64,
) -> Result<(), Raised> {
    let mut given = GivenAttributes::default();
    // SAFETY: attached, not inside `emit::with`; alive as long as the call.
    unsafe { given.fill(attributes, session, MAX_ATTRIBUTES)? };
    emit::with(session, |thread| {
        let mut items = thread.take_items();
        given.put(&mut items, MAX_ATTRIBUTES, thread);
        thread.measure(measurement, &items);
        thread.return_items(items);
    });
    Ok(())
}
