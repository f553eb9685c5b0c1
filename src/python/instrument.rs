//! What instruments do: `add`, `record` and `record_many`, of themselves and of bound handles, and the recording of
//! observations. Against the C API for the same reasons as [`super::span`]: a call converts its arguments, then pushes
//! one record; what only adds a small int to a counter, bound or without attributes, adds it to a tally instead. With
//! nobody who wants the measurement it looks at neither value nor attributes. Nothing here raises but for calls with the
//! wrong arguments. The types are in [`super::instrument_types`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::ffi;
use pyo3::prelude::*;

use super::fastcall::{Raised, Signature, entry, given, none};
use super::instrument_add::ALONE;
use super::instrument_types::is_of_kind;
use super::instrument_with::record_with;
use super::instrument_word::Word;
use super::{current, number};

use crate::emit::{self, Intake, Measurement, SpanIds};
use crate::ids::FLAG_SAMPLED;
use crate::instruments::{Definition, Exemplars};
use crate::record::{InstrumentKind, Number};
use crate::sys::ticks;
use crate::tally::Tally;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

pub(super) const COUNTER: u8 = InstrumentKind::Counter as u8;
pub(super) const UP_DOWN_COUNTER: u8 = InstrumentKind::UpDownCounter as u8;
pub(super) const HISTOGRAM: u8 = InstrumentKind::Histogram as u8;
pub(super) const GAUGE: u8 = InstrumentKind::Gauge as u8;
pub(super) const OBSERVABLE_COUNTER: u8 = InstrumentKind::ObservableCounter as u8;
pub(super) const OBSERVABLE_UP_DOWN_COUNTER: u8 = InstrumentKind::ObservableUpDownCounter as u8;
pub(super) const OBSERVABLE_GAUGE: u8 = InstrumentKind::ObservableGauge as u8;

/// Attributes of a measurement; further ones are left out.
pub(super) const MAX_ATTRIBUTES: u32 = 128;

/// A Python instrument, or a bound handle of one.
#[repr(C)]
pub(super) struct InstrumentObject {
    base: ffi::PyObject,
    /// A [`Word`]; 0 at first. Relaxed: one word, complete in itself.
    pub(super) word: AtomicU64,
    /// From `Box::into_raw`. Never null once constructed, never changed.
    pub(super) source: *mut Source,
    /// From `Arc::into_raw`, or null: of the session that the instrument was used in last and had one.
    pub(super) tally: AtomicPtr<Tally>,
}

pub(super) struct Source {
    pub(super) definition: Arc<Definition>,
    /// Of a bound handle: canonical items with inline keys.
    pub(super) attributes: Option<Box<[u8]>>,
    /// Tallies that calls under way may still look at; only where calls run side by side.
    retired: Mutex<Vec<Arc<Tally>>>,
}

/// What the session says of the instrument, asked at its first use there.
#[inline]
pub(super) unsafe fn word(object: *mut InstrumentObject, session: u64) -> Word {
    // SAFETY: alive. Relaxed: the word carries all there is.
    let word = Word(unsafe { (*object).word.load(Ordering::Relaxed) });
    if word.is_of(session) {
        return word;
    }
    // SAFETY: alive.
    unsafe { register(object, session) }
}

#[cold]
#[inline(never)]
unsafe fn register(object: *mut InstrumentObject, session: u64) -> Word {
    // SAFETY: alive; the source is never changed.
    unsafe {
        let source = &*(*object).source;
        let Some((word, tally)) = emit::with(session, |thread| source.register(&thread.intake)) else {
            return Word::NOTHING;
        };
        if let Some(tally) = tally {
            let tally = Arc::into_raw(tally).cast_mut();
            // AcqRel: whoever loads the pointer, here too, sees what it points to.
            source.retire((*object).tally.swap(tally, Ordering::AcqRel));
        }
        (*object).word.store(word.0, Ordering::Relaxed);
        word
    }
}

impl Source {
    pub(super) fn new(definition: Arc<Definition>, attributes: Option<Box<[u8]>>) -> Self {
        Self { definition, attributes, retired: Mutex::default() }
    }

    /// Lets go of an earlier session's tally, which may be null.
    unsafe fn retire(&self, tally: *mut Tally) {
        if tally.is_null() {
            return;
        }
        // SAFETY: from `Arc::into_raw`, and the object's no more.
        let tally = unsafe { Arc::from_raw(tally) };
        if !ALONE {
            self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(tally);
        }
    }

    fn register(&self, intake: &Intake) -> (Word, Option<Arc<Tally>>) {
        let nothing = (Word::new(intake.session, 0, Exemplars::Off, 0), None);
        if !intake.metrics {
            return nothing;
        }
        match intake.instruments.register(&self.definition) {
            Some(instrument) if !instrument.streams.is_empty() => {
                let attributes = self.attributes.as_deref().filter(|items| !items.is_empty());
                let bound = attributes.map(|items| intake.instruments.bind(instrument.id, items));
                // What is bound beyond the limits sends its attributes with each measurement.
                let binding = bound.unwrap_or(Some(0));
                let tally = binding
                    .filter(|_| instrument.only_adds())
                    .map(|binding| intake.tallies.get(intake.session, instrument.id, binding));
                let (session, binding) = (intake.session, binding.unwrap_or(0));
                (Word::new(session, instrument.id, instrument.exemplars, binding), tally)
            }
            _ => nothing,
        }
    }
}

// -------------------------------------------------------------------------------------------------- recording

/// The value of what is no exact number, or not allowed; `None`, counted, when such an instrument does not take it.
#[cold]
#[inline(never)]
unsafe fn unusual<const KIND: u8>(value: Object, session: u64) -> Result<Option<Number>, Raised> {
    // SAFETY: attached, not inside `emit::with`, alive.
    let value = unsafe { number::number(value)? };
    if value.is_some_and(is_allowed::<KIND>) {
        return Ok(value);
    }
    refuse::<KIND>(value, session);
    Ok(None)
}

#[inline(always)]
pub(super) fn is_allowed<const KIND: u8>(value: Number) -> bool {
    let non_negative = matches!(KIND, COUNTER | HISTOGRAM | OBSERVABLE_COUNTER);
    match value {
        Number::Int(value) => value >= 0 || !non_negative,
        Number::Double(_) if matches!(KIND, GAUGE | OBSERVABLE_GAUGE) => true,
        Number::Double(value) => value.is_finite() && (value >= 0.0 || !non_negative),
    }
}

#[cold]
#[inline(never)]
pub(super) fn refuse<const KIND: u8>(value: Option<Number>, session: u64) {
    emit::with(session, |thread| {
        let counters = &thread.intake.counters;
        match value {
            None => counters.not_numbers.add(1),
            Some(Number::Double(value)) if !value.is_finite() => counters.not_finite_measurements.add(1),
            Some(_) => counters.negative_measurements.add(1),
        }
    });
}

/// The latest measurement counts, so each has its time.
const fn has_time<const KIND: u8>() -> bool {
    matches!(KIND, GAUGE | OBSERVABLE_COUNTER | OBSERVABLE_UP_DOWN_COUNTER | OBSERVABLE_GAUGE)
}

/// Without attributes; time and span only where somebody asks for them.
#[inline(always)]
pub(super) unsafe fn at_this_point(word: Word, value: Number, timed: bool) -> Measurement {
    let mut measurement = Measurement {
        instrument: word.instrument(),
        binding: word.binding(),
        value,
        span: SpanIds::default(),
        ticks: 0,
    };
    if timed {
        measurement.ticks = ticks::now();
    }
    if !word.wants(Exemplars::Off) {
        // SAFETY: attached, not inside `emit::with`.
        unsafe { note_span(&mut measurement, word.wants(Exemplars::All)) };
    }
    measurement
}

#[inline(never)]
unsafe fn note_span(measurement: &mut Measurement, always: bool) {
    // SAFETY: attached; what is current is kept alive by `current`.
    let current = unsafe { current::SPAN.get() };
    // SAFETY: as above.
    let parent = unsafe { current::as_parent(current.0) };
    let parent = parent.filter(|parent| always || parent.trace_flags & FLAG_SAMPLED != 0);
    if always || parent.is_some() {
        measurement.ticks = ticks::now();
    }
    if let Some(parent) = parent {
        measurement.span = parent.ids();
    }
}

#[inline]
unsafe fn record_any<const KIND: u8>(
    object: *mut InstrumentObject,
    value: Object,
    attributes: Object,
    session: u64,
) -> Result<(), Raised> {
    // SAFETY: attached, not inside `emit::with`, alive.
    unsafe {
        let word = word(object, session);
        if word.instrument() == 0 {
            return Ok(());
        }
        let value = match number::exact(value) {
            Some(value) if is_allowed::<KIND>(value) => value,
            _ => match unusual::<KIND>(value, session)? {
                Some(value) => value,
                None => return Ok(()),
            },
        };
        if given(attributes) {
            return record_with(word, value.to_bits(), has_time::<KIND>(), attributes, session);
        }
        record_without::<KIND>(word, value, &[], session);
        Ok(())
    }
}

/// A measurement whose attributes are known. What most instruments need is apart from the rest, so that the compiler
/// keeps it in registers.
#[inline(always)]
unsafe fn record_without<const KIND: u8>(word: Word, value: Number, items: &[u8], session: u64) {
    if word.wants(Exemplars::Off) && items.is_empty() {
        let (span, ticks) = (SpanIds::default(), if has_time::<KIND>() { ticks::now() } else { 0 });
        let (instrument, binding) = (word.instrument(), word.binding());
        if let Some(thread) = emit::thread(session) {
            // SAFETY: the only reference until the call's end, which calls nothing else.
            let thread = unsafe { &mut *thread };
            thread.measure(&Measurement { instrument, binding, value, span, ticks }, &[]);
        }
    } else {
        // SAFETY: attached, not inside `emit::with`.
        unsafe { record_at_length::<KIND>(word, value, items, session) };
    }
}

#[inline(never)]
unsafe fn record_at_length<const KIND: u8>(word: Word, value: Number, items: &[u8], session: u64) {
    // SAFETY: attached, not inside `emit::with`.
    let measurement = unsafe { at_this_point(word, value, has_time::<KIND>()) };
    emit::with(session, |thread| thread.measure(&measurement, items));
}

#[inline(never)]
pub(super) unsafe extern "C" fn record<const KIND: u8>(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static ADD: Signature<2, 1, 2> = Signature::new("add", ["value", "attributes"]);
    static RECORD: Signature<2, 1, 2> = Signature::new("record", ["value", "attributes"]);
    entry(|| {
        // SAFETY: as called: `count` positional arguments.
        unsafe {
            let [value, attributes] = match (names.is_null(), count) {
                (true, 1) => [*args, ptr::null_mut()],
                (true, 2) => [*args, *args.add(1)],
                _ if matches!(KIND, HISTOGRAM | GAUGE) => RECORD.parse(args, count, names)?,
                _ => ADD.parse(args, count, names)?,
            };
            let session = emit::session();
            if session != 0 {
                record_any::<KIND>(this.cast(), value, attributes, session)?;
            }
        }
        Ok(none())
    })
}

/// The same of a bound handle.
#[inline(never)]
pub(super) unsafe extern "C" fn record_bound<const KIND: u8>(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static ADD: Signature<1, 1, 1> = Signature::new("add", ["value"]);
    static RECORD: Signature<1, 1, 1> = Signature::new("record", ["value"]);
    entry(|| {
        // SAFETY: as called: `count` positional arguments.
        unsafe {
            let value = match (names.is_null(), count) {
                (true, 1) => *args,
                _ if matches!(KIND, HISTOGRAM | GAUGE) => RECORD.parse(args, count, names)?[0],
                _ => ADD.parse(args, count, names)?[0],
            };
            let session = emit::session();
            if session == 0 {
                return Ok(none());
            }
            let object = this.cast::<InstrumentObject>();
            let word = word(object, session);
            if word.instrument() == 0 {
                return Ok(none());
            }
            let value = match number::exact(value) {
                Some(value) if is_allowed::<KIND>(value) => value,
                _ => match unusual::<KIND>(value, session)? {
                    Some(value) => value,
                    None => return Ok(none()),
                },
            };
            record_without::<KIND>(word, value, unregistered(object, word), session);
        }
        Ok(none())
    })
}

/// What a bound handle sends along: nothing, unless the session has no room for another binding.
#[inline]
pub(super) unsafe fn unregistered<'a>(object: *mut InstrumentObject, word: Word) -> &'a [u8] {
    if word.binding() != 0 {
        return &[];
    }
    // SAFETY: alive for the call under way; the source is never changed.
    unsafe { (*(*object).source).attributes.as_deref().unwrap_or_default() }
}

/// Records what the callback of an observable instrument gave; of anything else nothing.
///
/// # Errors
/// A `BaseException` out of the value's or the attributes' code.
pub(super) fn observe(
    instrument: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
    attributes: &Bound<'_, PyAny>,
    session: u64,
) -> PyResult<()> {
    let object = instrument.as_ptr();
    let (value, attributes) = (value.as_ptr(), attributes.as_ptr());
    // SAFETY: attached, not inside `emit::with`; all are alive.
    let done = unsafe {
        if is_of_kind(object, OBSERVABLE_COUNTER) {
            record_any::<OBSERVABLE_COUNTER>(object.cast(), value, attributes, session)
        } else if is_of_kind(object, OBSERVABLE_UP_DOWN_COUNTER) {
            record_any::<OBSERVABLE_UP_DOWN_COUNTER>(object.cast(), value, attributes, session)
        } else if is_of_kind(object, OBSERVABLE_GAUGE) {
            record_any::<OBSERVABLE_GAUGE>(object.cast(), value, attributes, session)
        } else {
            Ok(())
        }
    };
    done.map_err(|Raised| PyErr::fetch(instrument.py()))
}
