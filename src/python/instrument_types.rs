//! The types `Counter`, `UpDownCounter`, `Histogram` and `Gauge`, those of their bound handles, and the observable ones,
//! which have no methods. All are one object: a definition, and what the current session says of it. They hold no
//! Python object, so no collector needs to know them.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::capi;
use super::convert::Encoder;
use super::fastcall::{Signature, entry, given};
use super::instrument::{
    COUNTER, GAUGE, HISTOGRAM, InstrumentObject, MAX_ATTRIBUTES, OBSERVABLE_COUNTER, OBSERVABLE_GAUGE,
    OBSERVABLE_UP_DOWN_COUNTER, Source, UP_DOWN_COUNTER, record, record_bound,
};
use super::instrument_add::{add, add_bound};
use super::instrument_many::{record_many, record_many_bound};
use crate::attrs::{self, Attribute, Items, Text};
use crate::emit::AttributeList;
use crate::instruments::Definition;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

const KINDS: usize = OBSERVABLE_GAUGE as usize;
/// By kind (instruments, then bound handles). Relaxed: stored at import, before anybody has the module.
static TYPES: [AtomicPtr<ffi::PyTypeObject>; 2 * KINDS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; 2 * KINDS];

/// Whether the object is an instrument of this kind.
///
/// # Safety
/// `object` is alive.
pub(super) unsafe fn is_of_kind(object: Object, kind: u8) -> bool {
    // SAFETY: alive.
    unsafe { ffi::Py_TYPE(object) == TYPES[kind as usize - 1].load(Ordering::Relaxed) }
}

const COUNTER_DOC: &CStr =
    c"A sum that only grows. Made by Meter.counter(); works before init() and in every session.

As OpenTelemetry's Counter.";

const UP_DOWN_COUNTER_DOC: &CStr =
    c"A sum. Made by Meter.up_down_counter(); works before init() and in every session.

As OpenTelemetry's UpDownCounter.";

const HISTOGRAM_DOC: &CStr =
    c"A distribution of values. Made by Meter.histogram(); works before init() and in every session.

As OpenTelemetry's Histogram.";

const GAUGE_DOC: &CStr =
    c"A value that is set: the last one is exported. Made by Meter.gauge(); works before init() and in every session.

As OpenTelemetry's Gauge.";

const BOUND_DOC: &CStr = c"An instrument with its attributes: a call pays for the value only. Made by bind(); works before init() and in
every session. Keep it: each session keeps what it knows of up to 65,536 bound attribute sets.

A call takes some tens of nanoseconds, and what it is given is judged as by the instrument: it never raises, blocks or
loses a value.";

const OBSERVABLE_DOC: &CStr =
    c"An instrument whose values a callback gives at each collection. Made by a Meter; lives as long as the process.";

const ADD: &CStr = c"add($self, /, value, attributes=None)
--

Adds to the sum.

Args:
    value: An int or float, not negative. Ints stay ints until a float is added.
    attributes: Mapping, as for start_span(); 128 are kept. Each distinct set is a series of its own.

Never raises, blocks or loses a value: what is no number, negative, NaN or infinite is ignored, and counted in stats().

Costs tens of nanoseconds without attributes, about a hundred with one.";

const ADD_ANY: &CStr = c"add($self, /, value, attributes=None)
--

Adds to the sum.

Args:
    value: An int or float. Ints stay ints until a float is added.
    attributes: Mapping, as for start_span(); 128 are kept. Each distinct set is a series of its own.

Never raises, blocks or loses a value: what is no number, NaN or infinite is ignored, and counted in stats().

Costs tens of nanoseconds without attributes, about a hundred with one.";

const RECORD: &CStr = c"record($self, /, value, attributes=None)
--

Records a value of the distribution.

Args:
    value: An int or float, not negative.
    attributes: Mapping, as for start_span(); 128 are kept. Each distinct set is a series of its own.

Never raises, blocks or loses a value: what is no number, negative, NaN or infinite is ignored, and counted in stats().
Inside a sampled span the value may be exported as an exemplar, with the span's ids.

Costs tens of nanoseconds without attributes, about a hundred with one.";

const RECORD_MANY: &CStr = c"record_many($self, /, values, attributes=None)
--

Records many values in one call; their attributes are converted once.

Args:
    values: A buffer of numbers (array.array, numpy, memoryview), which is fastest, or any iterable of them.
    attributes: As for record().

As that many calls of record(): never raises, blocks or loses a value.

Costs one call and a nanosecond or two for each value.";

const SET: &CStr = c"record($self, /, value, attributes=None)
--

Sets the value.

Args:
    value: An int or float, also NaN and infinities.
    attributes: Mapping, as for start_span(); 128 are kept. Each distinct set is a series of its own.

Never raises or blocks: what is no number is ignored, and counted in stats().

Costs tens of nanoseconds without attributes, about a hundred with one.";

const SET_TOO: &CStr = c"set($self, /, value, attributes=None)
--

As record().

Args:
    value: An int or float, also NaN and infinities.
    attributes: As for record().

Never raises or blocks, as record(), and costs the same.";

const BIND: &CStr = c"bind($self, /, attributes)
--

A handle for these attributes, whose calls pay for the value only.

Args:
    attributes: Mapping, as for start_span(), converted now; 128 are kept. None is the empty set.

Returns:
    The handle. Make it once and keep it: what converts the attributes is paid here.

Never raises: attributes that cannot be converted are left out, as in the instrument's own calls.

Costs less than a microsecond, once; what it returns pays for no attributes again.";

const BOUND_ADD: &CStr = c"add($self, /, value)
--

Adds to the sum.

Args:
    value: As for Counter.add().

Costs tens of nanoseconds: no attributes to convert.";

const BOUND_ADD_ANY: &CStr = c"add($self, /, value)
--

Adds to the sum.

Args:
    value: As for UpDownCounter.add().

Costs tens of nanoseconds: no attributes to convert.";

const BOUND_RECORD: &CStr = c"record($self, /, value)
--

Records a value of the distribution.

Args:
    value: As for Histogram.record().

Costs tens of nanoseconds: no attributes to convert.";

const BOUND_RECORD_MANY: &CStr = c"record_many($self, /, values)
--

Records many values in one call.

Args:
    values: As for Histogram.record_many().

Costs one call and a nanosecond or two for each value.";

const BOUND_SET: &CStr = c"record($self, /, value)
--

Sets the value.

Args:
    value: As for Gauge.record().

Costs tens of nanoseconds: no attributes to convert.";

const BOUND_SET_TOO: &CStr = c"set($self, /, value)
--

As record().

Args:
    value: As for Gauge.record().

Costs tens of nanoseconds: no attributes to convert.";

/// Makes the types. At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    use capi::MethodDef as Def;
    static METHODS: [[Def; 4]; 8] = [
        [Def::fast(c"add", add::<COUNTER>, ADD), Def::fast(c"bind", bind, BIND), Def::END, Def::END],
        [
            Def::fast(c"add", add::<UP_DOWN_COUNTER>, ADD_ANY),
            Def::fast(c"bind", bind, BIND),
            Def::END,
            Def::END,
        ],
        [
            Def::fast(c"record", record::<HISTOGRAM>, RECORD),
            Def::fast(c"record_many", record_many, RECORD_MANY),
            Def::fast(c"bind", bind, BIND),
            Def::END,
        ],
        [
            Def::fast(c"record", record::<GAUGE>, SET),
            Def::fast(c"set", record::<GAUGE>, SET_TOO),
            Def::fast(c"bind", bind, BIND),
            Def::END,
        ],
        [Def::fast(c"add", add_bound::<COUNTER>, BOUND_ADD), Def::END, Def::END, Def::END],
        [Def::fast(c"add", add_bound::<UP_DOWN_COUNTER>, BOUND_ADD_ANY), Def::END, Def::END, Def::END],
        [
            Def::fast(c"record", record_bound::<HISTOGRAM>, BOUND_RECORD),
            Def::fast(c"record_many", record_many_bound, BOUND_RECORD_MANY),
            Def::END,
            Def::END,
        ],
        [
            Def::fast(c"record", record_bound::<GAUGE>, BOUND_SET),
            Def::fast(c"set", record_bound::<GAUGE>, BOUND_SET_TOO),
            Def::END,
            Def::END,
        ],
    ];
    static NO_METHODS: [Def; 1] = [Def::END];
    let bound = |kind: u8| KINDS + kind as usize - 1;
    let types: [(&CStr, &CStr, usize, &'static [Def]); 11] = [
        (c"pytracingx.Counter", COUNTER_DOC, COUNTER as usize - 1, &METHODS[0]),
        (c"pytracingx.UpDownCounter", UP_DOWN_COUNTER_DOC, UP_DOWN_COUNTER as usize - 1, &METHODS[1]),
        (c"pytracingx.Histogram", HISTOGRAM_DOC, HISTOGRAM as usize - 1, &METHODS[2]),
        (c"pytracingx.Gauge", GAUGE_DOC, GAUGE as usize - 1, &METHODS[3]),
        (c"pytracingx.BoundCounter", BOUND_DOC, bound(COUNTER), &METHODS[4]),
        (c"pytracingx.BoundUpDownCounter", BOUND_DOC, bound(UP_DOWN_COUNTER), &METHODS[5]),
        (c"pytracingx.BoundHistogram", BOUND_DOC, bound(HISTOGRAM), &METHODS[6]),
        (c"pytracingx.BoundGauge", BOUND_DOC, bound(GAUGE), &METHODS[7]),
        (c"pytracingx.ObservableCounter", OBSERVABLE_DOC, OBSERVABLE_COUNTER as usize - 1, &NO_METHODS),
        (
            c"pytracingx.ObservableUpDownCounter",
            OBSERVABLE_DOC,
            OBSERVABLE_UP_DOWN_COUNTER as usize - 1,
            &NO_METHODS,
        ),
        (c"pytracingx.ObservableGauge", OBSERVABLE_DOC, OBSERVABLE_GAUGE as usize - 1, &NO_METHODS),
    ];
    for (name, doc, index, methods) in types {
        let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
        let slots = [
            slot(ffi::Py_tp_new, capi::no_new as *mut c_void),
            slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
            slot(ffi::Py_tp_repr, repr as *mut c_void),
            slot(ffi::Py_tp_methods, methods.as_ptr().cast_mut().cast()),
            slot(ffi::Py_tp_doc, doc.as_ptr().cast_mut().cast()),
            slot(0, ptr::null_mut()),
        ];
        let mut spec = ffi::PyType_Spec {
            name: name.as_ptr(),
            basicsize: size_of::<InstrumentObject>() as c_int,
            itemsize: 0,
            flags: ffi::Py_TPFLAGS_DEFAULT as _,
            slots: (&raw const slots).cast_mut().cast(),
        };
        // SAFETY: attached; name, methods and doc are statics, the slots are copied.
        let made = unsafe { ffi::PyType_FromSpec(&mut spec) };
        if made.is_null() {
            return Err(PyErr::fetch(module.py()));
        }
        // SAFETY: a new reference; the static keeps another for ever.
        let made = unsafe { Bound::from_owned_ptr(module.py(), made) };
        TYPES[index].store(made.clone().into_ptr().cast(), Ordering::Relaxed);
        module.add(made.getattr("__name__")?.extract::<String>()?.as_str(), &made)?;
    }
    Ok(())
}

/// An instrument; with attributes, a bound handle.
pub(super) fn new(
    py: Python<'_>,
    definition: Arc<Definition>,
    attributes: Option<Box<[u8]>>,
) -> PyResult<Bound<'_, PyAny>> {
    let index = definition.kind as usize - 1 + if attributes.is_some() { KINDS } else { 0 };
    // SAFETY: attached; the fields are written before anybody else sees the object.
    unsafe {
        let object = ffi::PyType_GenericAlloc(TYPES[index].load(Ordering::Relaxed), 0);
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        let instrument = object.cast::<InstrumentObject>();
        (&raw mut (*instrument).word).write(AtomicU64::new(0));
        (&raw mut (*instrument).source).write(Box::into_raw(Box::new(Source::new(definition, attributes))));
        (&raw mut (*instrument).tally).write(AtomicPtr::new(ptr::null_mut()));
        Ok(Bound::from_owned_ptr(py, object))
    }
}

unsafe extern "C" fn dealloc(object: Object) {
    // SAFETY: called once with the last reference gone; `source` came from `Box::into_raw`, `tally` from `Arc::into_raw`.
    unsafe {
        let instrument = object.cast::<InstrumentObject>();
        if !(*instrument).source.is_null() {
            drop(Box::from_raw((*instrument).source));
            // Relaxed: nobody else has the object any more.
            let tally = (*instrument).tally.load(Ordering::Relaxed);
            drop((!tally.is_null()).then(|| Arc::from_raw(tally)));
        }
        let instrument_type = ffi::Py_TYPE(object);
        let free: unsafe extern "C" fn(*mut c_void) =
            std::mem::transmute(ffi::PyType_GetSlot(instrument_type, ffi::Py_tp_free));
        free(object.cast());
        ffi::Py_DECREF(instrument_type.cast());
    }
}

unsafe extern "C" fn repr(this: Object) -> Object {
    entry(|| {
        // SAFETY: alive, attached; the source is never changed.
        unsafe {
            let py = Python::assume_attached();
            let definition = &(*(*this.cast::<InstrumentObject>()).source).definition;
            let class = Bound::from_borrowed_ptr(py, ffi::Py_TYPE(this).cast()).getattr("__name__")?;
            let text = format!("<{class} {:?} of meter {:?}>", definition.name, definition.scope.name);
            Ok(text.into_pyobject(py).map_err(PyErr::from)?.into_ptr())
        }
    })
}

unsafe extern "C" fn bind(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<1, 1, 1> = Signature::new("bind", ["attributes"]);
    entry(|| {
        // SAFETY: as called; nothing Python runs while the source is borrowed.
        unsafe {
            let [attributes] = SIGNATURE.parse(args, count, names)?;
            let mut encoder = Encoder::default();
            if given(attributes) {
                encoder.mapping(attributes, MAX_ATTRIBUTES)?;
            }
            let items = canonical(encoder.items());
            let definition = (*(*this.cast::<InstrumentObject>()).source).definition.clone();
            Ok(new(Python::assume_attached(), definition, Some(items))?.into_ptr())
        }
    })
}

/// Attribute items with inline keys, sorted by key, the last value of each.
pub(super) fn canonical(items: &[u8]) -> Box<[u8]> {
    let mut unique = AttributeList::default();
    unique.set_all(Items::new(items), u32::MAX);
    let (unique, _) = unique.within(u32::MAX);
    let mut attributes: Vec<_> = Items::new(unique).attributes().collect();
    let key = |attribute: &Attribute<'_>| match attribute.key {
        Text::Inline(key) => key.to_vec(),
        Text::Id(_) => Vec::new(),
    };
    attributes.sort_by_key(key);
    let mut sorted = Vec::with_capacity(unique.len());
    for attribute in attributes {
        attrs::put_attribute(&mut sorted, attribute.key, attribute.value);
    }
    sorted.into()
}
