//! The `attributes` argument of everything that takes its attributes at once (events, links, log records,
//! measurements): converted before the thread's state is touched, then appended as items. The common case (an exact
//! dict of at most 16 simple values) copies and allocates nothing until then.
#![expect(unsafe_code, reason = "written against the C API")]

use pyo3::ffi;

use super::convert::Encoder;
use super::fastcall::{Raised, given};
use super::simple::Simple;
use crate::attrs::{self, Items};
use crate::emit::{AttributeList, Thread};

/// Filled in place, see [`Simple`].
#[derive(Default)]
pub(super) struct GivenAttributes<'a> {
    simple: Simple<'a>,
    /// What took the general way; then `simple` is not looked at.
    encoded: Option<(AttributeList, u32)>,
}

impl GivenAttributes<'_> {
    /// Converts an optional mapping, at most `limit` of its entries. What is no mapping counts as one dropped.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; `attributes` is alive or null, and alive as long as `self` is used.
    #[inline]
    pub(super) unsafe fn fill(
        &mut self,
        attributes: *mut ffi::PyObject,
        session: u64,
        limit: u32,
    ) -> Result<(), Raised> {
        if !given(attributes) {
            return Ok(());
        }
        // SAFETY: as promised by the caller.
        unsafe {
            if ffi::PyDict_CheckExact(attributes) != 0 && self.simple.fill(attributes, session) {
                return Ok(());
            }
            self.fill_generally(attributes, limit)
        }
    }

    #[cold]
    #[inline(never)]
    unsafe fn fill_generally(&mut self, attributes: *mut ffi::PyObject, limit: u32) -> Result<(), Raised> {
        // SAFETY: as promised by the caller.
        unsafe { self.fill_over(AttributeList::default(), attributes, limit) }
    }

    /// Converts an optional mapping, whose entries win over attributes (with inline keys) that are there already.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; `attributes` is alive or null.
    pub(super) unsafe fn fill_over(
        &mut self,
        mut list: AttributeList,
        attributes: *mut ffi::PyObject,
        limit: u32,
    ) -> Result<(), Raised> {
        let mut encoder = Encoder::default();
        if given(attributes) {
            // SAFETY: as promised by the caller.
            unsafe { encoder.mapping(attributes, limit)? };
        }
        list.set_all(Items::new(encoder.items()), limit);
        self.encoded = Some((list, encoder.dropped()));
        Ok(())
    }

    /// Appends the first `limit` attributes as items. Returns how many were given beyond. Inside `emit::with`.
    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>, limit: u32, thread: &Thread) -> u32 {
        match &self.encoded {
            None => {
                let entries = self.simple.entries();
                let kept = entries.len().min(limit as usize);
                for (key, value) in &entries[..kept] {
                    attrs::put_attribute(out, key.resolve(thread), *value);
                }
                (entries.len() - kept) as u32
            }
            Some(_) => self.put_encoded(out, limit, thread),
        }
    }

    #[cold]
    fn put_encoded(&self, out: &mut Vec<u8>, limit: u32, thread: &Thread) -> u32 {
        let Some((list, dropped)) = &self.encoded else { return 0 };
        let (items, cut) = list.within(limit);
        for attribute in Items::new(items).attributes() {
            let key = match attribute.key {
                attrs::Text::Inline(text) => {
                    thread.intake.strings.intern(text).map_or(attribute.key, attrs::Text::Id)
                }
                known @ attrs::Text::Id(_) => known,
            };
            attrs::put_attribute(out, key, attribute.value);
        }
        cut + dropped
    }
}
