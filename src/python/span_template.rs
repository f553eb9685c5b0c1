//! `SpanTemplate`: name, kind and constant attributes of spans, converted once. The template keeps its attributes as
//! items with keys as text, and what one session makes of them (interned keys, its limits) from its first use there; a
//! forked child, being another session, makes its own. Against the C API, as [`super::span`]; called in the vectorcall
//! form in every build.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{CStr, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::capi::MethodDef;
use super::convert::Encoder;
use super::fastcall::{Raised, Signature, entry, from_tuple_and_dict, given};
use super::objects::{Owned, encode_lossy, type_name};
use super::span_calls::{self, Call, Finished};
use super::{record_spans, span, tracer, types};
use crate::attrs::{Items, Text};
use crate::emit::{self, Constants};
use crate::record::{SpanKind, StrId};

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// A Python `SpanTemplate`.
#[repr(C)]
struct TemplateObject {
    base: ffi::PyObject,
    vectorcall: types::VectorCall,
    /// From `Box::into_raw`. Never null once constructed, never changed.
    source: *mut Source,
}

pub(super) struct Source {
    /// A `Tracer`: whose scope the spans have.
    tracer: Owned,
    name: Vec<u8>,
    kind: SpanKind,
    /// Attributes, keys as text.
    items: Vec<u8>,
    /// Given and not kept.
    dropped: u32,
    /// The latest session's, or null.
    known: AtomicPtr<Known>,
}

/// What a session makes of the source. Kept until the template is freed: another thread may be using it.
struct Known {
    session: u64,
    /// NONE when the name is not interned.
    name: StrId,
    constants: Constants,
    before: *mut Known,
}

/// `SpanTemplate`. Relaxed: stored at import, before anybody has the module.
static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

const DOC: &CStr = c"SpanTemplate(name, kind='internal', attributes=None, *, tracer=None)
--

Name, kind and constant attributes of spans, converted once: each span pays only for what varies.

    decode = SpanTemplate('decode', attributes={'gen_ai.request.model': 'qwen3-8b'})
    with decode({'batch_size': 8}) as span: ...
    decode.record_spans(parents, began, ended, {'tokens': tokens})

Calling it starts a span, as start_span() does.

Args:
    name: The spans' name.
    kind: As for start_span().
    attributes: Mapping, as for start_span(), read now. An attribute of the same key given later wins.
    tracer: A Tracer whose instrumentation scope the spans have; default the module's.

Raises:
    TypeError: a name that is no str, attributes that are no mapping, a tracer that is none.
    ValueError: unknown kind.

Make it once and keep it: works before init(), in every session and in forked children.

Costs about half a microsecond, once.";

const RECORD_DOC: &CStr = c"record($self, /, start_time, end_time, attributes=None, *, parent=None, links=None, status=None, span_context=None)
--

Records a finished span, as record_span() does.

Args:
    start_time: Integer Unix nanoseconds (see now() and from_monotonic()). Anything else is counted and replaced by now.
    end_time: As start_time; one before it counts as equal to it.
    attributes: Mapping of what varies, as for start_span().
    parent: A Span or SpanContext; default the current one.
    links: As for start_span().
    status: 'ok', 'error', or a (code, description) pair; default unset.
    span_context: Ids and sampling decision drawn in advance with new_context(); default drawn now.

Returns:
    The span's SpanContext, for children and links.

Raises:
    ValueError: unknown status.";

const RECORD_SPANS_DOC: &CStr = c"record_spans($self, /, parents, start_time, end_time, attributes=None)
--

Records many finished spans in one call, as the module's record_spans() does.

Args:
    parents: Iterable of N Span, SpanContext or None, or a ParentSet.
    start_time: Integer Unix nanoseconds for all rows, or a column of N.
    end_time: As start_time.
    attributes: Mapping of what varies: columns of N, or values for all rows.

Returns:
    How many were recorded.

Raises:
    ValueError: a column that has not N values, by its name.
    TypeError: parents that cannot be iterated over.";

/// Makes the type. At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    static METHODS: [MethodDef; 3] = [
        MethodDef::fast(c"record", record, RECORD_DOC),
        MethodDef::fast(c"record_spans", record_rows, RECORD_SPANS_DOC),
        MethodDef::END,
    ];
    let members = types::vectorcall_at(offset_of!(TemplateObject, vectorcall));
    let slots = [
        (ffi::Py_tp_new, new as *mut c_void),
        (ffi::Py_tp_dealloc, dealloc as *mut c_void),
        (ffi::Py_tp_call, call_by_tuple as *mut c_void),
        (ffi::Py_tp_repr, repr as *mut c_void),
        (ffi::Py_tp_members, (&raw const members).cast_mut().cast()),
        (ffi::Py_tp_methods, (&raw const METHODS).cast_mut().cast()),
        (ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
    ];
    let (name, size) = (c"pytracingx.SpanTemplate", size_of::<TemplateObject>());
    // SAFETY: the slots of `TemplateObject`, static but for the members.
    let made = unsafe { types::add_type(module, name, size, types::HAVE_VECTORCALL, &slots)? };
    TYPE.store(made, Ordering::Relaxed);
    Ok(())
}

unsafe extern "C" fn new(_type: *mut ffi::PyTypeObject, args: Object, keywords: Object) -> Object {
    static SIGNATURE: Signature<4, 1, 3> =
        Signature::new("SpanTemplate", ["name", "kind", "attributes", "tracer"]);
    entry(|| {
        // SAFETY: as called; the fields are written before anybody else sees the object.
        unsafe {
            let [name, kind, attributes, given_tracer] =
                from_tuple_and_dict(args, keywords, |args, count, names| {
                    SIGNATURE.parse(args, count, names)
                })?;
            if ffi::PyUnicode_Check(name) == 0 {
                return Err(refuse("name", "a str", name));
            }
            let kind = tracer::span_kind(kind)?;
            let tracer = if given(given_tracer) { given_tracer } else { tracer::default_tracer() };
            if !tracer::is_tracer(tracer) {
                return Err(refuse("tracer", "a Tracer", tracer));
            }
            let mut encoder = Encoder::default();
            if given(attributes) {
                if ffi::PyMapping_Check(attributes) == 0
                    || ffi::PyObject_HasAttrString(attributes, c"keys".as_ptr()) == 0
                {
                    return Err(refuse("attributes", "a mapping", attributes));
                }
                encoder.mapping(attributes, u32::MAX)?;
            }
            let source = Source {
                tracer: Owned::new(tracer),
                name: encode_lossy(name),
                kind,
                items: encoder.items().to_vec(),
                dropped: encoder.dropped(),
                known: AtomicPtr::new(ptr::null_mut()),
            };
            let object = ffi::PyType_GenericAlloc(TYPE.load(Ordering::Relaxed), 0);
            if object.is_null() {
                return Err(Raised);
            }
            let template = object.cast::<TemplateObject>();
            (&raw mut (*template).vectorcall).write(call);
            (&raw mut (*template).source).write(Box::into_raw(Box::new(source)));
            Ok(object)
        }
    })
}

#[cold]
unsafe fn refuse(argument: &str, expected: &str, got: Object) -> Raised {
    // SAFETY: attached, alive.
    let kind = unsafe { type_name(got) };
    let kind = String::from_utf8_lossy(&kind);
    PyTypeError::new_err(format!("{argument} must be {expected}, got {kind}")).into()
}

unsafe extern "C" fn dealloc(object: Object) {
    // SAFETY: called once with the last reference gone; what it points to came from `Box::into_raw`.
    unsafe {
        let template = object.cast::<TemplateObject>();
        if !(*template).source.is_null() {
            let source = Box::from_raw((*template).source);
            // Relaxed: nobody else has it any more, and letting go of the last reference ordered what they did.
            let mut known = source.known.load(Ordering::Relaxed);
            while !known.is_null() {
                known = Box::from_raw(known).before;
            }
        }
        types::free(object);
    }
}

unsafe extern "C" fn repr(this: Object) -> Object {
    entry(|| {
        // SAFETY: alive, attached.
        unsafe {
            let source = &*(*this.cast::<TemplateObject>()).source;
            let name = String::from_utf8_lossy(&source.name);
            let text = format!("<SpanTemplate {name:?}, {}>", source.kind.name());
            Ok(text.into_pyobject(Python::assume_attached()).map_err(PyErr::from)?.into_ptr())
        }
    })
}

impl Source {
    /// What a span of it begins with in the session.
    #[inline]
    pub(super) fn call(&self, session: u64) -> Option<Call<'_>> {
        // Acquire: pairs with the update in `learn`.
        let known = self.known.load(Ordering::Acquire);
        // SAFETY: null, or from `Box::into_raw` and freed with the template only.
        let known = match unsafe { known.as_ref() }.filter(|known| known.session == session) {
            Some(known) => known,
            None => self.learn(session)?,
        };
        let name = if known.name == StrId::NONE { Text::Inline(&self.name) } else { Text::Id(known.name) };
        Some(Call {
            session,
            // SAFETY: attached; a tracer that we own a reference to.
            scope: unsafe { tracer::scope_index(self.tracer.0, session) },
            kind: self.kind,
            name,
            constants: Some(&known.constants),
        })
    }

    #[cold]
    fn learn(&self, session: u64) -> Option<&Known> {
        let (name, constants) = emit::with(session, |thread| {
            let strings = &thread.intake.strings;
            // At its second sighting a text is interned, and many are to follow.
            let name = strings.intern(&self.name).or_else(|| strings.intern(&self.name));
            let limit = thread.intake.limits.attributes;
            let constants = Constants::new(Items::new(&self.items), self.dropped, limit, strings);
            (name.unwrap_or(StrId::NONE), constants)
        })?;
        let known = Box::into_raw(Box::new(Known { session, name, constants, before: ptr::null_mut() }));
        // AcqRel: publishes what it points to. Where another thread is faster, ours goes on top of its.
        let exchange = self.known.fetch_update(Ordering::AcqRel, Ordering::Acquire, |before| {
            // SAFETY: ours until it is exchanged in.
            unsafe { (*known).before = before };
            Some(known)
        });
        debug_assert!(exchange.is_ok());
        // SAFETY: freed with the template only.
        Some(unsafe { &*known })
    }
}

/// The source of the template that is called, which is alive for the call.
unsafe fn source<'a>(this: Object) -> &'a Source {
    // SAFETY: as called; never changed.
    unsafe { &*(*this.cast::<TemplateObject>()).source }
}

/// What a `SpanTemplate` is made from; `None` for anything else.
///
/// # Safety
/// Attached; `object` is alive for as long as the result is used.
pub(super) unsafe fn template<'a>(object: Object) -> Option<&'a Source> {
    // SAFETY: as promised by the caller; nobody can derive from the type.
    unsafe { (ffi::Py_TYPE(object) == TYPE.load(Ordering::Relaxed)).then(|| source(object)) }
}

unsafe extern "C" fn call(this: Object, args: Args, count: usize, names: Object) -> Object {
    static SIGNATURE: Signature<5, 0, 1> =
        Signature::new("SpanTemplate", ["attributes", "parent", "links", "start_time", "activate"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let count = types::argument_count(count);
            let [attributes, parent, links, start_time, activate] = SIGNATURE.parse(args, count, names)?;
            let session = emit::session();
            if session == 0 {
                return Ok(span::non_recording());
            }
            match source(this).call(session) {
                Some(call) => span_calls::start(&call, attributes, parent, links, start_time, activate),
                None => Ok(span::non_recording()),
            }
        }
    })
}

unsafe extern "C" fn call_by_tuple(this: Object, args: Object, keywords: Object) -> Object {
    let called = || {
        // SAFETY: as called; what `call` returns is null with an exception set.
        unsafe {
            from_tuple_and_dict(args, keywords, |args, count, names| {
                let span = call(this, args, count as usize, names);
                if span.is_null() { Err(Raised) } else { Ok(span) }
            })
        }
    };
    entry(called)
}

unsafe extern "C" fn record(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<7, 2, 3> = Signature::new(
        "record",
        ["start_time", "end_time", "attributes", "parent", "links", "status", "span_context"],
    );
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [start_time, end_time, attributes, parent, links, status, span_context] =
                SIGNATURE.parse(args, count, names)?;
            let status = span_calls::given_status(status)?;
            let session = emit::session();
            if session == 0 {
                return span_calls::not_recorded(span_context);
            }
            let Some(call) = source(this).call(session) else {
                return span_calls::not_recorded(span_context);
            };
            let more = Finished { parent, links, status, span_context };
            span_calls::record(&call, start_time, end_time, attributes, &more)
        }
    })
}

unsafe extern "C" fn record_rows(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<4, 3, 4> =
        Signature::new("record_spans", ["parents", "start_time", "end_time", "attributes"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [parents, start_time, end_time, attributes] = SIGNATURE.parse(args, count, names)?;
            let session = emit::session();
            let mut recorded = 0;
            if session != 0
                && let Some(call) = source(this).call(session)
            {
                recorded = record_spans::record(&call, parents, start_time, end_time, attributes)?;
            }
            Ok(ffi::PyLong_FromSize_t(recorded))
        }
    })
}
