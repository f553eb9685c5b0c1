//! What a span is given, converted and put on it: attributes and links. On a [`Place`], of an object or on the stack of a
//! call: converting may run Python code, so the span is not referenced meanwhile.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::convert::Encoder;
use super::fastcall::Raised;
#[cfg(Py_GIL_DISABLED)]
use super::fastcall::exclusively;
use super::given_attributes::GivenAttributes;
use super::objects::{Entries, swallow};
use super::simple::{Put, Simple, each_simple, put_simple};
use super::span::SpanObject;
use super::span_context;
use super::strings::{known, name};
use crate::attrs::{Items, Link, Text, Value};
use crate::emit::{self, FirstAttributes, LiveSpan};
use crate::limits::SpanLimits;

type Object = *mut ffi::PyObject;

/// Where a span is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    live: *mut LiveSpan,
    /// The `Span`; null while nobody else can reach it.
    #[cfg(Py_GIL_DISABLED)]
    object: Object,
}

impl Place {
    /// Of an object that others may have.
    ///
    /// # Safety
    /// Attached; the object is alive, also as long as the result is used.
    #[inline(always)]
    pub(super) unsafe fn of(object: *mut SpanObject) -> Self {
        Self {
            // SAFETY: as promised by the caller.
            live: unsafe { &raw mut (*object).live },
            #[cfg(Py_GIL_DISABLED)]
            object: object.cast(),
        }
    }

    /// Of a span that nobody else can reach.
    #[inline(always)]
    pub(super) fn of_call(live: *mut LiveSpan) -> Self {
        Self {
            live,
            #[cfg(Py_GIL_DISABLED)]
            object: ptr::null_mut(),
        }
    }

    /// The session that it began in.
    ///
    /// # Safety
    /// Alive.
    #[inline(always)]
    pub(super) unsafe fn session(self) -> u64 {
        // SAFETY: alive; never changes.
        unsafe { (*self.live).context.session }
    }

    /// Runs `body` with the span to itself.
    ///
    /// # Safety
    /// Attached, alive; `body` is as [`exclusively`](super::fastcall::exclusively) asks.
    #[inline(always)]
    pub(super) unsafe fn with<R>(self, body: impl FnOnce(&mut LiveSpan) -> R) -> R {
        #[cfg(Py_GIL_DISABLED)]
        if !self.object.is_null() {
            // SAFETY: as promised by the caller.
            return unsafe { exclusively(self.object, |span: &mut SpanObject| body(&mut span.live)) };
        }
        // SAFETY: as promised by the caller; attached is enough, or there is nobody else.
        body(unsafe { &mut *self.live })
    }

    /// Whether what it is given is kept.
    ///
    /// # Safety
    /// Attached, alive.
    #[inline(always)]
    pub(super) unsafe fn is_recording(self) -> bool {
        // SAFETY: as promised by the caller.
        unsafe { self.with(|live| live.is_recording()) }
    }
}

/// Sets the attributes of a mapping. What is no mapping is counted.
///
/// # Safety
/// Attached, not inside `emit::with`; both are alive.
#[inline]
pub(super) unsafe fn set_attributes(place: Place, attributes: Object) -> Result<(), Raised> {
    // SAFETY: attached, alive; the span is not referenced while values are converted.
    unsafe {
        let session = place.session();
        if !place.is_recording() {
            return Ok(());
        }
        let mut simple = Simple::default();
        if ffi::PyDict_CheckExact(attributes) != 0 && simple.fill(attributes, session) {
            let set = |live: &mut LiveSpan| {
                emit::with(session, |thread| {
                    for (key, value) in simple.entries() {
                        live.set_attribute(thread, key.resolve(thread), *value);
                    }
                })
            };
            place.with(set);
            return Ok(());
        }
        let Some(entries) = Entries::of(attributes)? else {
            place.with(|live| emit::with(session, |thread| live.drop_attributes(thread, 1)));
            return Ok(());
        };
        // One by one: what the limits do not let in is freed at once.
        for (key, value) in entries.pairs() {
            set_attribute(place, key, value)?;
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
        set_attributes(Place::of_call(live), attributes)
    }
}

/// Takes over what an encoder converted.
unsafe fn adopt(place: Place, encoder: &Encoder) {
    let adopt = |live: &mut LiveSpan| {
        emit::with(live.context.session, |thread| {
            live.set_items(thread, encoder.items());
            live.drop_attributes(thread, encoder.dropped());
        })
    };
    // SAFETY: alive, attached.
    unsafe { place.with(adopt) };
}

impl<'v> Put<'v> for FirstAttributes<'_> {
    #[inline(always)]
    fn put(&mut self, key: Text<'_>, value: Value<'v>) {
        self.add(key, value);
    }
}

/// A span that nobody references while a value is converted.
struct OnSpan {
    place: Place,
    session: u64,
}

impl<'v> Put<'v> for OnSpan {
    #[inline(always)]
    fn put(&mut self, key: Text<'_>, value: Value<'v>) {
        if let Some(thread) = emit::thread(self.session) {
            // SAFETY: both are alive, and this calls nothing that could have another reference.
            unsafe { self.place.with(|live| live.set_attribute(&mut *thread, key, value)) };
        }
    }
}

/// Sets one attribute.
///
/// # Safety
/// Attached, not inside `emit::with`; all are alive.
#[inline]
pub(super) unsafe fn set_attribute(place: Place, key: Object, value: Object) -> Result<(), Raised> {
    // SAFETY: attached, alive; the span is not referenced while values are converted.
    unsafe {
        let session = place.session();
        if !place.is_recording() {
            return Ok(());
        }
        if let Some(id) = known(key, session)
            && put_simple(&mut OnSpan { place, session }, Text::Id(id), value)
        {
            return Ok(());
        }
        set_any_attribute(place, key, value)
    }
}

/// Sets one whose key was not seen before, or whose value is not simple.
///
/// # Safety
/// As [`set_attribute`].
#[inline(never)]
unsafe fn set_any_attribute(place: Place, key: Object, value: Object) -> Result<(), Raised> {
    // SAFETY: as promised by the caller; the span is not referenced while values are converted.
    unsafe {
        let session = place.session();
        if let Some(key) = name(key, session)
            && !key.is_empty()
            && put_simple(&mut OnSpan { place, session }, key.resolve_in(session), value)
        {
            return Ok(());
        }
        let mut encoder = Encoder::default();
        let raised = encoder.attribute(key, value);
        adopt(place, &encoder);
        raised
    }
}

/// What is kept of a span in this session.
pub(super) fn limits(session: u64) -> SpanLimits {
    emit::with(session, |thread| thread.intake.limits).unwrap_or_default()
}

/// Adds a link to a `SpanContext` or a `Span`; anything else, and an invalid context, is ignored.
pub(super) unsafe fn link(place: Place, context: Object, attributes: Object) -> Result<(), Raised> {
    // SAFETY: attached, alive; the span is not referenced while arguments are converted.
    unsafe {
        let session = place.session();
        let limit = limits(session).attributes_per_link;
        let mut given = GivenAttributes::default();
        given.fill(attributes, session, limit)?;
        let Some(context) = span_context::context_of(context) else {
            return Ok(());
        };
        emit::with(session, |thread| {
            let mut items = thread.take_items();
            let link = Link {
                dropped_attributes: given.put(&mut items, limit, thread),
                trace_id: context.context.trace_id,
                span_id: context.context.span_id,
                flags: context.otlp_flags(),
                trace_state: context.state_text().as_bytes(),
                attributes: Items::new(&items),
            };
            place.with(|live| live.add_link(thread, &link));
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
pub(super) unsafe fn add_links(place: Place, links: Object) -> Result<(), Raised> {
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
                Ok((context, attributes)) => link(place, context.as_ptr(), attributes.as_ptr())?,
                Err(_) => link(place, entry.as_ptr(), ptr::null_mut())?,
            }
        }
    }
    Ok(())
}
