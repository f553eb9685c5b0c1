//! From Python strings to interned ids, without hashing: names and keys are mostly the same string object call after
//! call. A direct-mapped cache keyed by object address answers in a few instructions. Every entry owns a reference,
//! so an address in the cache cannot come to mean another string. Only exact `str` of at most 128 bytes that the
//! interner has given an id enter it, so it is bounded in entries and bytes. Nothing here runs Python code.
#![expect(unsafe_code, reason = "written against the C API")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::ffi;

use super::{capi, layout};
use crate::attrs::Text;
use crate::emit::{self, Thread};
use crate::record::StrId;

/// Longer texts are not interned (see `Interner`).
const MAX_BYTES: usize = 128;
/// 16 KiB; the interner's 16,384 ids are far more than one program uses hot.
const ENTRIES: usize = 2048;
/// Ids fit 19 bits, and what remains of an 8-byte aligned 48-bit address 45. (Strings that the interpreter holds as
/// statics, one-letter ones among them, are not aligned to 16.)
const ID_BITS: u32 = 19;
const ALIGNMENT_BITS: u32 = 3;

/// Address and id in one word, so that no reader sees one without the other; 0 is empty. Relaxed: for the same reason.
static CACHE: [AtomicU64; ENTRIES] = [const { AtomicU64::new(0) }; ENTRIES];
/// The session whose ids the cache holds. SeqCst to change it, Relaxed to look whether it is another's.
static CACHED_SESSION: AtomicU64 = AtomicU64::new(0);

/// Without Python's global lock other threads change the cache while one looks into it.
const SIDE_BY_SIDE: bool = cfg!(Py_GIL_DISABLED);
/// Held while the cache is changed, there. Nobody waits for it.
static CHANGING: Mutex<()> = Mutex::new(());

/// A name or key on its way into a record.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    text: Text<'a>,
    /// The `str` behind an inline text, if it may be cached; else null.
    object: *mut ffi::PyObject,
}

impl<'a> Name<'a> {
    /// A text that is not a Python object.
    pub(super) fn inline(text: &'a [u8]) -> Self {
        Self { text: Text::Inline(text), object: std::ptr::null_mut() }
    }

    /// What goes into the record. Inside `emit::with`.
    #[inline]
    pub(super) fn resolve(self, thread: &Thread) -> Text<'a> {
        match self.text {
            Text::Id(_) => self.text,
            Text::Inline(text) => self.intern(text, thread),
        }
    }

    /// [`Name::resolve`] outside of `emit::with`.
    #[inline(always)]
    pub(super) fn resolve_in(self, session: u64) -> Text<'a> {
        match self.text {
            Text::Id(_) => self.text,
            Text::Inline(_) => self.look_up(session),
        }
    }

    #[inline(never)]
    fn look_up(self, session: u64) -> Text<'a> {
        emit::with(session, |thread| self.resolve(thread)).unwrap_or(self.text)
    }

    #[inline(never)]
    fn intern(self, text: &'a [u8], thread: &Thread) -> Text<'a> {
        match thread.intake.strings.intern(text) {
            None => self.text,
            Some(id) => {
                if !self.object.is_null() {
                    remember(self.object, id, thread.intake.session);
                }
                Text::Id(id)
            }
        }
    }

    /// No characters.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.text, Text::Inline([]))
    }
}

/// The name behind an exact `str`; `None` for anything else and for texts with lone surrogates.
///
/// # Safety
/// Attached; `object` is alive as long as the result is used.
#[inline(always)]
pub(super) unsafe fn name<'a>(object: *mut ffi::PyObject, session: u64) -> Option<Name<'a>> {
    match known(object, session) {
        Some(id) => Some(Name { text: Text::Id(id), object: std::ptr::null_mut() }),
        // SAFETY: attached.
        None => unsafe { uncached_name(object) },
    }
}

/// The id of a text that was seen before: a register, where a [`Name`] goes through memory.
#[inline(always)]
pub(super) fn known(object: *mut ffi::PyObject, session: u64) -> Option<StrId> {
    // Relaxed: entries are validated by the session, and both only change while attached.
    if CACHED_SESSION.load(Ordering::Relaxed) != session {
        return None;
    }
    // Acquire: a later session's entry shows that session, too.
    let entry = CACHE[slot(object)].load(if SIDE_BY_SIDE { Ordering::Acquire } else { Ordering::Relaxed });
    let is_it = entry >> ID_BITS == object as u64 >> ALIGNMENT_BITS
        && (!SIDE_BY_SIDE || CACHED_SESSION.load(Ordering::Relaxed) == session);
    is_it.then_some(StrId(entry as u32 & ((1 << ID_BITS) - 1)))
}

#[inline(never)]
unsafe fn uncached_name<'a>(object: *mut ffi::PyObject) -> Option<Name<'a>> {
    // SAFETY: attached.
    if unsafe { ffi::PyUnicode_CheckExact(object) } == 0 {
        return None;
    }
    // SAFETY: a str, attached.
    let text = unsafe { utf8(object)? };
    let cacheable = text.len() <= MAX_BYTES && (object as u64) < 1 << 48;
    Some(Name { text: Text::Inline(text), object: if cacheable { object } else { std::ptr::null_mut() } })
}

/// The UTF-8 form of a `str`, which the object caches; `None` with lone surrogates (no exception stays set).
///
/// # Safety
/// Attached; `object` is a `str` and alive as long as the result is used.
#[inline(always)]
pub(super) unsafe fn utf8<'a>(object: *mut ffi::PyObject) -> Option<&'a [u8]> {
    // SAFETY: a str; whatever its type, its bytes are where the interpreter has them.
    if let Some(text) = unsafe { layout::ascii(object) } {
        return Some(text);
    }
    let mut len = 0;
    // SAFETY: a str.
    let bytes = unsafe { capi::PyUnicode_AsUTF8AndSize(object, &mut len) };
    if bytes.is_null() {
        // SAFETY: attached.
        unsafe { ffi::PyErr_Clear() };
        return None;
    }
    // SAFETY: `len` bytes that live as long as the object.
    Some(unsafe { std::slice::from_raw_parts(bytes.cast(), len as usize) })
}

#[inline]
fn slot(object: *mut ffi::PyObject) -> usize {
    // Fibonacci hashing; the low bits of an address are nearly always zero.
    ((object as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ENTRIES.trailing_zeros())) as usize
}

#[cold]
fn remember(object: *mut ffi::PyObject, id: StrId, session: u64) {
    if id.0 >> ID_BITS != 0 {
        return;
    }
    let changing = SIDE_BY_SIDE.then(|| CHANGING.try_lock());
    if matches!(changing, Some(Err(_))) {
        return; // some other time
    }
    // SAFETY: attached (callers convert arguments), and the object is alive.
    unsafe { ffi::Py_INCREF(object) };
    let entry = (object as u64 >> ALIGNMENT_BITS) << ID_BITS | u64::from(id.0);
    let (replaced, emptied) = exchange(object, entry, session);
    drop(changing);
    forget(replaced);
    emptied.into_iter().for_each(forget);
}

/// Puts an entry into the cache. What it replaces (itself: it came too late), and what a new session put an end to.
fn exchange(object: *mut ffi::PyObject, entry: u64, session: u64) -> (u64, Vec<u64>) {
    let mut emptied = Vec::new();
    let cached = CACHED_SESSION.load(Ordering::Relaxed);
    if cached > session {
        return (entry, emptied);
    }
    if cached != session {
        // Nobody may find an old id under the new session: empty first. (Relaxed: between two SeqCst stores.)
        CACHED_SESSION.store(0, Ordering::SeqCst);
        emptied.extend(CACHE.iter().map(|entry| entry.swap(0, Ordering::Relaxed)));
        CACHED_SESSION.store(session, Ordering::SeqCst);
    }
    // Release: pairs with the look in `known`.
    (CACHE[slot(object)].swap(entry, Ordering::Release), emptied)
}

/// Releases the reference that an entry held. Freeing an exact `str` runs no Python code.
fn forget(entry: u64) {
    if entry != 0 {
        let object = ((entry >> ID_BITS) << ALIGNMENT_BITS) as *mut ffi::PyObject;
        // SAFETY: the entry owned this reference and is gone; attached.
        unsafe { ffi::Py_DECREF(object) };
    }
}
