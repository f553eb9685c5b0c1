//! What a span is given, converted and put on it: attributes and links. On a [`LiveSpan`] by address, of an object or on
//! the stack of a call: converting may run Python code, so the span is not referenced meanwhile.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::convert::Encoder;
use super::fastcall::Raised;
use super::given_attributes::GivenAttributes;
use super::objects::{Entries, swallow};
use super::simple::{Put, Simple, each_simple, put_simple};
use super::span_context;
use super::strings::name;
use crate::attrs::{Items, Link, Text, Value};
use crate::emit::{self, FirstAttributes, LiveSpan};
use crate::limits::SpanLimits;

type Object = *mut ffi::PyObject;

/// Sets the attributes of a mapping. What is no mapping is counted.
///
/// # Safety
/// Attached, not inside `emit::with`; both are alive.
#[inline]
pub(super) unsafe fn set_attributes(live: *mut LiveSpan, attributes: Object) -> Result<(), Raised> {
    // SAFETY: attached, alive; `live` is not referenced while values are converted.
    unsafe {
        let session = (*live).context.session;
        if !(*live).is_recording() {
            return Ok(());
        }
        let mut simple = Simple::default();
        if ffi::PyDict_CheckExact(attributes) != 0 && simple.fill(attributes, session) {
            let live = &mut *live;
            emit::with(session, |thread| {
                for (key, value) in simple.entries() {
                    live.set_attribute(thread, key.resolve(thread), *value);
                }
            });
            return Ok(());
        }
        let Some(entries) = Entries::of(attributes)? else {
            let live = &mut *live;
            emit::with(session, |thread| live.drop_attributes(thread, 1));
            return Ok(());
        };
        // One by one: what the limits do not let in is freed at once.
        for (key, value) in entries.pairs() {
            set_attribute(live, key, value)?;
        }
        Ok(())
    }
}

/// Sets the attributes of a mapping on a span that has none, and that nobody else can reach.
///
/// # Safety
/// As [`set_attributes`].
#[inline(always)]
pub(super) unsafe fn set_first_attributes(live: *mut LiveSpan, attributes: Object) -> Result<(), Raised> {
    // SAFETY: as promised by the caller.
    unsafe {
        if ffi::PyDict_CheckExact(attributes) != 0 {
            let session = (*live).context.session;
            let Some(thread) = emit::thread(session) else { return Ok(()) };
            let Some(mut first) = (*live).first_attributes(&mut *thread) else { return Ok(()) };
            if each_simple(attributes, session, &mut first) {
                return Ok(());
            }
            first.undo();
        }
        set_attributes(live, attributes)
    }
}

/// Takes over what an encoder converted.
unsafe fn adopt(live: *mut LiveSpan, encoder: &Encoder) {
    // SAFETY: alive, attached.
    let live = unsafe { &mut *live };
    emit::with(live.context.session, |thread| {
        live.set_items(thread, encoder.items());
        live.drop_attributes(thread, encoder.dropped());
    });
}

impl<'v> Put<'v> for FirstAttributes<'_> {
    #[inline(always)]
    fn put(&mut self, key: Text<'_>, value: Value<'v>) {
        self.add(key, value);
    }
}

/// A span that nobody references while a value is converted.
struct OnSpan {
    live: *mut LiveSpan,
    session: u64,
}

impl<'v> Put<'v> for OnSpan {
    #[inline(always)]
    fn put(&mut self, key: Text<'_>, value: Value<'v>) {
        if let Some(thread) = emit::thread(self.session) {
            // SAFETY: both are alive, and this calls nothing that could have another reference.
            unsafe { (*self.live).set_attribute(&mut *thread, key, value) };
        }
    }
}

/// Sets one attribute.
///
/// # Safety
/// Attached, not inside `emit::with`; all are alive.
#[inline]
pub(super) unsafe fn set_attribute(live: *mut LiveSpan, key: Object, value: Object) -> Result<(), Raised> {
    // SAFETY: attached, alive; `live` is not referenced while values are converted.
    unsafe {
        let session = (*live).context.session;
        if !(*live).is_recording() {
            return Ok(());
        }
        if let Some(key) = name(key, session)
            && !key.is_empty()
        {
            let key = key.resolve_in(session);
            if put_simple(&mut OnSpan { live, session }, key, value) {
                return Ok(());
            }
        }
        let mut encoder = Encoder::default();
        let raised = encoder.attribute(key, value);
        adopt(live, &encoder);
        raised
    }
}

/// What is kept of a span in this session.
pub(super) fn limits(session: u64) -> SpanLimits {
    emit::with(session, |thread| thread.intake.limits).unwrap_or_default()
}

/// Adds a link to a `SpanContext` or a `Span`; anything else, and an invalid context, is ignored.
pub(super) unsafe fn link(live: *mut LiveSpan, context: Object, attributes: Object) -> Result<(), Raised> {
    // SAFETY: attached, alive; `live` is not referenced while arguments are converted.
    unsafe {
        let session = (*live).context.session;
        let limit = limits(session).attributes_per_link;
        let mut given = GivenAttributes::default();
        given.fill(attributes, session, limit)?;
        let Some(context) = span_context::context_of(context) else {
            return Ok(());
        };
        let live = &mut *live;
        emit::with(session, |thread| {
            let mut items = thread.take_items();
            let dropped = given.put(&mut items, limit, thread);
            live.add_link(
                thread,
                &Link {
                    trace_id: context.context.trace_id,
                    span_id: context.context.span_id,
                    flags: context.otlp_flags(),
                    dropped_attributes: dropped,
                    trace_state: context.state_text().as_bytes(),
                    attributes: Items::new(&items),
                },
            );
            thread.return_items(items);
        });
        Ok(())
    }
}

/// Adds the links of `start_span(links=…)`: an iterable of contexts, spans, or (context, attributes) pairs.
///
/// # Safety
/// Attached, not inside `emit::with`; both are alive.
#[cold]
pub(super) unsafe fn add_links(live: *mut LiveSpan, links: Object) -> Result<(), Raised> {
    // SAFETY: attached, alive.
    unsafe {
        let py = Python::assume_attached();
        let links = Bound::from_borrowed_ptr(py, links);
        let Ok(iterator) = links.try_iter() else {
            return Ok(());
        };
        for entry in iterator {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    error.restore(py);
                    return swallow();
                }
            };
            match entry.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>() {
                Ok((context, attributes)) => link(live, context.as_ptr(), attributes.as_ptr())?,
                Err(_) => link(live, entry.as_ptr(), ptr::null_mut())?,
            }
        }
    }
    Ok(())
}
