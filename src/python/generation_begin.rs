//! `generation()`: what a request begins with. Against the C API for the same reasons as [`super::tracer`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::capi::MethodDef;
use super::convert::GivenName;
use super::current;
use super::fastcall::{Raised, Signature, entry, given};
use super::generation;
use super::given_attributes::GivenAttributes;
use super::instrument::{COUNTER, refuse};
use super::number;
use super::objects::{Owned, text_of};
use super::strings::utf8;
use super::time::given_unix_nano;
use super::tracer::span_kind;
use crate::attrs::Text;
use crate::config::check::Choice;
use crate::emit::{self, Start};
use crate::generation::names::NAMES;
use crate::generation::settings::{Content, Settings};
use crate::generation::{Begin, Detail, Generation, scope};
use crate::record::{Number, SpanKind};

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// `detail`.
const DETAILS: Choice<Option<Detail>> = Choice {
    names: &[("none", None), ("array", Some(Detail::Array)), ("events", Some(Detail::Events))],
    aliases: &[],
};

pub(super) static GENERATION: MethodDef = MethodDef::fast(c"generation", generation, c"generation(name='chat', *, model=None, provider=None, input_tokens=None, parent=None, start_time=None, attributes=None, kind='server', operation=None, detail='none', detail_if_slower_than_ms=None, semconv=None, capture_content=None)
--

Begins the life of one LLM request.

Args:
    name: The operation as the GenAI conventions call it ('chat', 'text_completion', 'embeddings'); the span is called
        '{name} {model}', or `name` alone where `operation` is given.
    model: The model that was asked for.
    provider: The provider as the conventions call it ('openai', 'anthropic'), or the engine's name.
    input_tokens: Tokens of the prompt, if known yet.
    parent: A Span, SpanContext or Generation instead of the current span.
    start_time: When the request arrived, in integer Unix nanoseconds (see now() and from_monotonic()); default now.
        Anything else is counted and replaced by now.
    attributes: Mapping of further attributes, as for start_span().
    kind: 'server' (default) where the model runs, 'client' for its callers, which choose the metrics; or any other kind.
    operation: Default `name`.
    detail: Times of single tokens on the span, at most 512: 'array' (microseconds since the start, one attribute), 'events'
        (as many as the sinks' limits allow), or 'none'. Of more tokens every second, fourth, … is kept; count and stride
        are attributes.
    detail_if_slower_than_ms: Keeps them only when the request took at least so long, or failed; 'array' unless `detail` says
        otherwise.
    semconv: 'latest' (OpenTelemetry's GenAI conventions of 1.42, status Development), 'legacy' (what vLLM and SGLang emit)
        or 'both'; default PYTRACINGX_GEN_AI_SEMCONV, else 'latest'.
    capture_content: Whether end(prompt=…, completion=…) records them: a bool, or the share of traces, 0 to 1. Default: off,
        unless OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says true (then PYTRACINGX_GEN_AI_CONTENT_SAMPLE_RATIO is
        the share). The environment is read once per process.

Returns:
    A Generation. Before init() one that does nothing.

Raises:
    ValueError: unknown kind, detail or semconv. Values of odd types do not raise: they degrade.

The span has gen_ai.operation.name, gen_ai.provider.name, gen_ai.request.model, gen_ai.usage.input_tokens and output_tokens,
gen_ai.response.finish_reasons, time_to_first_chunk, time_per_output_token, inter_token_latency.p50, .p99 and .max (seconds)
and tokens_per_second. Whether or not it is sampled, it feeds gen_ai.server.time_to_first_token, time_per_output_token and
inter_token_latency (if it succeeded), request.duration, input_tokens and output_tokens; of kind 'client'
gen_ai.client.operation.time_to_first_chunk, time_per_output_chunk and duration; of both gen_ai.client.token.usage.
Never blocks; two microseconds with its end, and some nanoseconds a token.");

/// A text argument; empty where not given.
///
/// # Safety
/// Attached, not inside `emit::with`; `object` is null, or alive as long as the result is used.
pub(super) unsafe fn given_text<'a>(object: Object) -> Result<Cow<'a, [u8]>, Raised> {
    // SAFETY: as promised by the caller.
    unsafe {
        if !given(object) {
            return Ok(Cow::Borrowed(b""));
        }
        let known = if ffi::PyUnicode_CheckExact(object) != 0 { utf8(object) } else { None };
        known.map_or_else(|| text_of(object).map(Cow::Owned), |text| Ok(Cow::Borrowed(text)))
    }
}

/// A count that may be given; one that is negative or no int is counted and ignored.
///
/// # Safety
/// Attached, not inside `emit::with`; `object` is null or alive.
pub(super) unsafe fn given_count(object: Object, session: u64) -> Result<Option<u64>, Raised> {
    if !given(object) {
        return Ok(None);
    }
    // SAFETY: as promised by the caller.
    let count = match unsafe { number::number(object)? } {
        Some(Number::Int(count)) if count >= 0 => return Ok(Some(count as u64)),
        Some(Number::Double(_)) => None,
        negative => negative,
    };
    refuse::<COUNTER>(count, session);
    Ok(None)
}

/// A real number that may be given; what is none is counted and ignored.
unsafe fn given_number(object: Object, session: u64) -> Result<Option<f64>, Raised> {
    if !given(object) {
        return Ok(None);
    }
    // SAFETY: attached, not inside `emit::with`, alive.
    let number = unsafe { number::number(object)? };
    if number.is_none() {
        refuse::<COUNTER>(None, session);
    }
    Ok(number.map(Number::as_f64))
}

/// The value of a name that may be given.
///
/// # Safety
/// Attached, not inside `emit::with`; `object` is null or alive.
pub(super) unsafe fn given_choice<T: Copy + PartialEq>(
    argument: &str,
    names: &Choice<T>,
    object: Object,
) -> Result<Option<T>, Raised> {
    if !given(object) {
        return Ok(None);
    }
    // SAFETY: attached, alive.
    let text = unsafe { text_of(object)? };
    names
        .parse(argument, &String::from_utf8_lossy(&text))
        .map(Some)
        .map_err(|error| PyErr::from(error).into())
}

/// What the environment says, as of the first generation.
pub(super) fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| Settings::read(|name| std::env::var(name).ok(), |_| {}))
}

/// The index of the scope of all generations and steps in the session, registered at its first use there.
pub(super) fn scope_index(session: u64) -> u16 {
    /// Session in the high 48 bits, index in the low 16. Relaxed: one word, complete in itself.
    static INDEX: AtomicU64 = AtomicU64::new(0);
    let known = INDEX.load(Ordering::Relaxed);
    if known >> 16 == session & 0xffff_ffff_ffff {
        return known as u16;
    }
    let index = emit::with(session, |thread| scope(thread)).unwrap_or(0);
    INDEX.store(session << 16 | u64::from(index), Ordering::Relaxed);
    index
}

unsafe extern "C" fn generation(
    _module: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    static SIGNATURE: Signature<13, 0, 1> = Signature::new(
        "generation",
        [
            "name",
            "model",
            "provider",
            "input_tokens",
            "parent",
            "start_time",
            "attributes",
            "kind",
            "operation",
            "detail",
            "detail_if_slower_than_ms",
            "semconv",
            "capture_content",
        ],
    );
    entry(|| {
        // SAFETY: as called; nothing Python runs inside `emit::with`, and nobody else has the new object.
        unsafe {
            let [
                name,
                model,
                provider,
                input_tokens,
                parent,
                start_time,
                attributes,
                kind,
                operation,
                detail,
                slower_than_ms,
                names,
                content,
            ] = SIGNATURE.parse(args, count, names)?;
            let kind = if given(kind) { span_kind(kind)? } else { SpanKind::Server };
            let detail = given_choice("detail", &DETAILS, detail)?;
            let names = given_choice("semconv", &NAMES, names)?.unwrap_or(settings().names);
            let session = emit::session();
            let object = generation::allocate()?;
            let owned = Owned(object.cast());
            if session == 0 {
                std::mem::forget(owned);
                return Ok(object.cast());
            }
            (*object).names = names;
            (*object).content = given_content(content, session)?;
            let slower_than_ms = given_number(slower_than_ms, session)?;
            let operation_given = given_text(operation)?;
            let name_text = if given(name) { given_text(name)? } else { Cow::Borrowed(&b"chat"[..]) };
            let (model, provider) = (given_text(model)?, given_text(provider)?);
            let input_tokens = given_count(input_tokens, session)?;
            let start_unix_nano = given_unix_nano(start_time, session)?;
            let ambient = if given(parent) { Owned(std::ptr::null_mut()) } else { current::SPAN.get() };
            let limit = emit::with(session, |thread| thread.intake.limits.attributes).unwrap_or(0);
            let mut further = GivenAttributes::default();
            further.fill(attributes, session, limit)?;
            let known = if given(name) { Some(GivenName::of(name, session)?) } else { None };
            let scope = scope_index(session);
            let parent = current::as_parent(if given(parent) { parent } else { ambient.0 });
            emit::with(session, |thread| {
                let mut items = thread.take_items();
                if !given(operation) && !model.is_empty() {
                    items.extend_from_slice(&name_text);
                    items.push(b' ');
                    items.extend_from_slice(&model);
                }
                let span_name = match &known {
                    _ if !items.is_empty() => by_text(thread, &items),
                    Some(known) => known.resolve(thread),
                    None => by_text(thread, &name_text),
                };
                let begin = Begin {
                    start: Start { name: span_name, kind, scope, parent, start_unix_nano, ids: None },
                    operation: if operation_given.is_empty() { &name_text } else { &operation_given },
                    provider: &provider,
                    model: &model,
                    input_tokens,
                    names,
                    detail: detail.unwrap_or(slower_than_ms.map(|_| Detail::Array)),
                    // Saturates; NaN is 0.
                    detail_if_slower_than_nano: (slower_than_ms.unwrap_or(0.0) * 1e6) as u64,
                };
                let core = Generation::begin(thread, &begin);
                (*object).core = core;
                items.clear();
                let dropped = further.put(&mut items, limit, thread);
                (*object).core.span.set_items(thread, &items);
                (*object).core.span.drop_attributes(thread, dropped);
                thread.return_items(items);
            });
            std::mem::forget(owned);
            Ok(object.cast())
        }
    })
}

/// A name that is no Python object, as it goes into records.
fn by_text<'a>(thread: &emit::Thread, text: &'a [u8]) -> Text<'a> {
    thread.intake.strings.intern(text).map_or(Text::Inline(text), Text::Id)
}

/// `capture_content`: a bool or a share of traces.
unsafe fn given_content(content: Object, session: u64) -> Result<Content, Raised> {
    if !given(content) {
        return Ok(settings().content);
    }
    // SAFETY: attached, not inside `emit::with`, alive.
    let share = unsafe { given_number(content, session)? };
    Ok(share.map_or(Content::NONE, Content::of_ratio))
}
