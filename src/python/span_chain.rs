//! Spans that were current when others started, one below the other: which of them is current again when one above ends.
//! Walked, not recursed, and each is held while it is looked at: other threads may end it meanwhile.
#![expect(unsafe_code, reason = "written against the C API")]

use std::sync::atomic::Ordering;

use pyo3::ffi;

use super::fastcall::exclusively;
use super::objects::Held;
use super::span::{SpanObject, as_span};

/// The object as a span, if it is one.
///
/// # Safety
/// `object` is alive or null.
pub(super) unsafe fn as_span_or_null(object: *mut ffi::PyObject) -> Option<*mut SpanObject> {
    if object.is_null() {
        return None;
    }
    // SAFETY: alive, as it is not null.
    unsafe { as_span(object) }
}

/// What was current when `span` started.
///
/// # Safety
/// Attached; `span` is alive.
#[inline(always)]
pub(super) unsafe fn previous(span: *mut SpanObject) -> Held {
    // SAFETY: alive, attached.
    unsafe { exclusively(span.cast(), |span: &mut SpanObject| Held::new(span.previous)) }
}

/// Whether `previous`, below `span`, is passed over when `span` ends.
///
/// # Safety
/// Both are alive.
pub(super) unsafe fn is_skipped(previous: *mut SpanObject, span: *mut SpanObject) -> bool {
    // SAFETY: both are alive. Relaxed: see the field.
    unsafe { (*previous).ended_out_of_order.load(Ordering::Relaxed) && !(*span).previous_had_ended }
}

/// Whether `value` is what was current when `above`, or a span below it, started.
///
/// # Safety
/// Attached; both are alive or null.
pub(super) unsafe fn is_below(value: *mut ffi::PyObject, above: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's, and then each that is looked at, is alive.
    unsafe {
        let mut above = Held::new(above);
        while let Some(span) = as_span_or_null(above.0) {
            above = previous(span);
            if above.0 == value {
                return true;
            }
        }
        false
    }
}

/// The nearest ancestor that has not ended out of order (or had ended when its child started); null for none.
///
/// # Safety
/// Attached; `span` is alive.
pub(super) unsafe fn nearest_open(span: *mut SpanObject) -> Held {
    // SAFETY: the caller's, and then each that is looked at, is alive.
    unsafe {
        let mut above = Held::new(span.cast());
        loop {
            let below = previous(above.0.cast());
            match as_span_or_null(below.0) {
                Some(span) if is_skipped(span, above.0.cast()) => above = below,
                _ => return below,
            }
        }
    }
}
