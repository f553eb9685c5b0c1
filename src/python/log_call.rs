//! What a `Logger`'s call does with its arguments once somebody wants the record. A text with simple attributes, which nearly
//! every one is, goes straight to the lane; anything else may run Python code first.
#![expect(unsafe_code, reason = "written against the C API")]

use pyo3::ffi;

use super::current;
use super::fastcall::{Raised, given, none};
use super::given_attributes::GivenAttributes;
use super::log_record::{self, Body, Converted, Route};
use super::reentry::Entered;
use crate::emit::LogRecord;

type Object = *mut ffi::PyObject;

/// Records a message with its attributes and its exception, if given.
///
/// # Safety
/// Attached, not inside `emit::with`; the arguments are alive or null.
#[inline]
pub(super) unsafe fn record(
    session: u64,
    route: Route,
    severity_number: u8,
    [message, attributes, exc_info]: [Object; 3],
) -> Result<Object, Raised> {
    if Entered::is_inside() {
        log_record::count_reentrant(session);
        return Ok(none());
    }
    // SAFETY: as promised by the caller.
    unsafe {
        let span = current::span_ids();
        // Handed on by value: one that is lent stays in memory, and is copied from there as it is not written.
        let log = LogRecord { severity_number, scope: route.scope, span, unix_nano: None };
        if !given(exc_info)
            && let Some(text) = log_record::plain_text(message)
            && log_record::record_text(log, text, attributes, session)
        {
            return Ok(none());
        }
        record_generally(session, log, [message, attributes, exc_info])
    }
}

/// Anything but a text with simple attributes: may run Python code, which may log.
///
/// # Safety
/// As [`record`].
#[cold]
#[inline(never)]
unsafe fn record_generally(
    session: u64,
    log: LogRecord,
    [message, attributes, exc_info]: [Object; 3],
) -> Result<Object, Raised> {
    let _entered = Entered::begin();
    // SAFETY: as promised by the caller.
    unsafe {
        let body = Body::of(message)?;
        let mut converted = GivenAttributes::default();
        if given(exc_info) {
            log_record::fill_with_exception(&mut converted, exc_info, attributes, session)?;
        } else {
            log_record::fill(&mut converted, attributes, session)?;
        }
        let converted = Converted {
            severity_number: log.severity_number,
            scope: log.scope,
            span: log.span,
            unix_nano: None,
            severity_text: b"",
            body: &body,
            fields: &[],
            attributes: &converted,
        };
        converted.record(session);
    }
    Ok(none())
}
