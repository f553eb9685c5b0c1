//! An engine's requests under way, by its own names for them, and the order in which its latest batch had them: the next
//! batch is mostly the same one, so its requests are found by comparing addresses, in order. Names are exact `str`, each
//! with a reference of its own here; nothing runs Python code, and nothing allocates once it has grown to the batches'
//! size.
#![expect(unsafe_code, reason = "written against the C API")]

use std::collections::HashMap;

use arrayvec::ArrayVec;
use pyo3::ffi;

use super::objects::Owned;
use super::scheduler_step::Known;
use super::small_int::small_int;
use super::span_context::SpanContext;
use crate::emit::{Inherited, Intake, Parent};
use crate::record::StrId;

type Object = *mut ffi::PyObject;

/// The requests.
#[derive(Default)]
pub(super) struct Requests {
    /// By place: a reference of its own to a `str`; null at places that nobody has. What follows is by the same places.
    names: Vec<Owned>,
    /// What their steps inherit in `session`.
    inherited: Vec<Inherited>,
    /// What a step need not look at.
    begun: Vec<Begun>,
    session: u64,
    /// Places that nobody has.
    free: Vec<u32>,
    /// Places by hash of the name. Of two names with one hash the later is not traced.
    places: HashMap<ffi::Py_hash_t, u32>,
    /// Places of the latest step's batch, in its order: where the next one's are looked for.
    batch: Vec<u32>,
    /// Those of the batch before it.
    before: Vec<u32>,
    /// What the latest step's session says of the steps' spans.
    pub(super) known: Known,
    /// What a session calls the keys; none where it has no more room for names.
    pub(super) key_ids: (u64, ArrayVec<Option<StrId>, KEYS_MAX>),
}

pub(super) struct Begun {
    pub(super) context: SpanContext,
    pub(super) start_unix_nano: u64,
}

// SAFETY: references are counted attached to the interpreter only, under the lock of the object that holds them.
unsafe impl Send for Requests {}

/// How many requests may have left a batch, or been passed over in it, before the next of its order is not looked for
/// there but by its name.
const AHEAD: usize = 8;
/// Attributes that a request can get at its end.
pub(super) const KEYS_MAX: usize = 16;

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// All, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Object, &Begun)> {
        self.places.values().map(|place| (self.names[*place as usize].0, &self.begun[*place as usize]))
    }

    /// Adds a request that is not known. False: its name is no `str`, or has another's hash.
    ///
    /// # Safety
    /// Attached; `name` is alive.
    pub(super) unsafe fn add(&mut self, name: Object, begun: Begun, inherited: Inherited) -> bool {
        // SAFETY: as promised by the caller; an exact `str` hashes without Python code.
        unsafe {
            if ffi::PyUnicode_CheckExact(name) == 0 {
                return false;
            }
            let std::collections::hash_map::Entry::Vacant(vacant) =
                self.places.entry(ffi::PyObject_Hash(name))
            else {
                return false;
            };
            let name = Owned::new(name);
            let place = self.free.pop().unwrap_or(self.names.len() as u32);
            if let Some(at) = self.names.get_mut(place as usize) {
                *at = name;
                (self.inherited[place as usize], self.begun[place as usize]) = (inherited, begun);
            } else {
                self.names.push(name);
                self.inherited.push(inherited);
                self.begun.push(begun);
            }
            vacant.insert(place);
            true
        }
    }

    /// Takes a request out.
    ///
    /// # Safety
    /// Attached; `name` is alive.
    pub(super) unsafe fn remove(&mut self, name: Object) -> Option<Begun> {
        // SAFETY: as promised by the caller.
        let place = unsafe { place(&self.names, &self.places, name)? };
        // SAFETY: attached; a `str`, whose hash it keeps.
        self.places.remove(&unsafe { ffi::PyObject_Hash(name) });
        self.names[place as usize] = Owned(std::ptr::null_mut());
        self.free.push(place);
        let nothing = Begun { context: SpanContext::INVALID.clone(), start_unix_nano: 0 };
        Some(std::mem::replace(&mut self.begun[place as usize], nothing))
    }

    /// What steps inherit in this session: another has other sinks.
    #[inline]
    pub(super) fn inherit(&mut self, intake: &Intake) {
        if self.session != intake.session {
            self.inherit_anew(intake);
        }
    }

    #[cold]
    fn inherit_anew(&mut self, intake: &Intake) {
        for (inherited, begun) in self.inherited.iter_mut().zip(&self.begun) {
            *inherited = Inherited::of(&begun.context.context, intake);
        }
        self.session = intake.session;
    }

    /// What the requests of a batch that are known give their steps, in order, with their tokens. After `inherit`.
    ///
    /// # Safety
    /// Attached, inside `emit::with`; what `batch` yields is alive: names, and their tokens or null.
    #[inline(always)]
    pub(super) unsafe fn parents(
        &mut self,
        batch: impl Iterator<Item = (Object, Object)>,
    ) -> impl Iterator<Item = (&Inherited, &Parent, Option<i64>)> {
        std::mem::swap(&mut self.batch, &mut self.before);
        self.batch.clear();
        let Self { names, inherited, begun, places, batch: following, before, .. } = self;
        let (names, inherited, begun, before) = (&*names, &*inherited, &*begun, &*before);
        let mut next = 0;
        // Most have the very same int.
        let (mut latest, mut number) = (std::ptr::null_mut(), None);
        batch.filter_map(move |(name, tokens)| {
            let place = match before.get(next) {
                Some(place) if names[*place as usize].0 == name => {
                    next += 1;
                    *place
                }
                // SAFETY: attached, alive.
                _ => unsafe { further(before, &mut next, names, places, name)? },
            };
            following.push(place);
            if tokens != latest {
                latest = tokens;
                // SAFETY: attached, alive.
                number = unsafe { count(tokens) };
            }
            Some((&inherited[place as usize], &begun[place as usize].context.context, number))
        })
    }
}

/// The place of a request that is not the next of the batch before. If it is a few further on there, the next is the one
/// behind it.
///
/// # Safety
/// Attached; `name` is alive.
#[inline(never)]
unsafe fn further(
    before: &[u32],
    next: &mut usize,
    names: &[Owned],
    places: &HashMap<ffi::Py_hash_t, u32>,
    name: Object,
) -> Option<u32> {
    let is_it = |place: &u32| names[*place as usize].0 == name;
    if let Some(passed) = before.iter().skip(*next).take(AHEAD).position(is_it) {
        *next += passed + 1;
        return Some(before[*next - 1]);
    }
    // SAFETY: as promised by the caller.
    unsafe { place(names, places, name) }
}

/// The place of a request.
///
/// # Safety
/// Attached; `name` is alive.
unsafe fn place(names: &[Owned], places: &HashMap<ffi::Py_hash_t, u32>, name: Object) -> Option<u32> {
    // SAFETY: attached; exact `str` hash and compare without Python code.
    unsafe {
        if ffi::PyUnicode_CheckExact(name) == 0 {
            return None;
        }
        let place = *places.get(&ffi::PyObject_Hash(name))?;
        let same = names[place as usize].0;
        (same == name || ffi::PyUnicode_Compare(same, name) == 0).then_some(place)
    }
}

/// An exact `int` of 64 bits.
#[inline(always)]
unsafe fn count(object: Object) -> Option<i64> {
    // SAFETY: attached; alive or null.
    unsafe {
        if object.is_null() {
            return None;
        }
        small_int(object).or_else(|| {
            let mut overflow = 0;
            let value = (ffi::PyLong_CheckExact(object) != 0)
                .then(|| ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow));
            value.filter(|_| overflow == 0)
        })
    }
}
