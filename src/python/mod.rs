//! The Python extension module `pytracingx._native`: a list of what it holds. Everything below converts arguments and
//! calls the core; the only place that names `pyo3`, and nothing imports it.
//!
//! Two kinds of code live here. What a user calls once per process or request is written with PyO3. What is called per
//! record is written against the C API: `capi` (calls outside the limited API), `types`, `fastcall` (arguments), `strings`
//! (identity cache), `convert`, `objects`, `number` and `given_attributes` (values), `current` (context); for spans
//! `span`, `methods` (the `Span` type), `span_chain`, `tracer`, `span_template` and `span_calls`, for batches of them `record_spans`,
//! `parent_set`, `columns`, `column` and `buffer`; for measurements `instrument` and `instrument_types`, for logs
//! `log_record`, `logger`, `stdlib_record` and `stdlib_logging`; for the observable instruments `observable`; for LLM
//! requests `generation`, `generation_begin` and `generation_end`, for scheduler steps `step_recorder` and `step`, for those of
//! an engine's scheduler `request_steps`, `request_table` and `scheduler_step`.
#![allow(rustdoc::invalid_rust_codeblocks, reason = "docstrings are indented as Python wants them")]

mod activation;
mod arguments;
mod baggage;
mod buffer;
mod capi;
mod column;
mod columns;
mod config;
mod convert;
mod credentials;
mod current;
mod describe;
mod error;
mod exceptions;
mod fastcall;
mod freelist;
mod generation;
mod generation_begin;
mod generation_end;
mod given_attributes;
mod instrument;
mod instrument_add;
mod instrument_many;
mod instrument_types;
mod instrument_with;
mod instrument_word;
mod interpreter;
mod layout;
mod lifecycle;
mod log_call;
mod log_record;
mod logger;
mod meter;
mod methods;
mod number;
mod objects;
mod observable;
mod parent_set;
mod propagation;
mod record_spans;
mod reentry;
mod request_steps;
mod request_table;
mod scheduler_step;
mod simple;
mod sinks;
mod sls_sink;
mod small_int;
mod span;
mod span_calls;
mod span_chain;
mod span_context;
mod span_parts;
mod span_template;
mod stdlib_fields;
mod stdlib_handler;
mod stdlib_logging;
mod stdlib_record;
mod step;
mod step_recorder;
mod strings;
mod time;
mod traced;
mod tracer;
mod types;
mod views;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::interpreter::main_only; // first, hence set apart: rustfmt sorts the others

    #[pymodule_export]
    use super::activation::{
        ExtractedContext, UseSpan, current_span, current_trace_context, restore_context,
    };
    #[pymodule_export]
    use super::baggage::{Baggage, get_baggage};
    #[pymodule_export]
    use super::config::{PyConfig, restore_config};
    #[pymodule_export]
    use super::credentials::{_credentials, _fetch, CredentialRequests};
    #[pymodule_export]
    use super::lifecycle::{
        _capture, _captured, _shutdown_at_exit, check, force_flush, init, is_initialized, shutdown, stats,
    };
    #[pymodule_export]
    use super::logger::get_logger;
    #[pymodule_export]
    use super::meter::{Meter, get_meter};
    #[pymodule_export]
    use super::observable::{_observer, _runs_callbacks, Observation, Observer};
    #[pymodule_export]
    use super::parent_set::{ParentSet, parent_set};
    #[pymodule_export]
    use super::propagation::{extract_context, extract_headers, inject_headers};
    #[pymodule_export]
    use super::request_steps::RequestSteps;
    #[pymodule_export]
    use super::sinks::{PyMetricSink, PyOtlpLogSink, PyRawOtlp, PyTraceSink};
    #[pymodule_export]
    use super::sls_sink::PySlsLogSink;
    #[pymodule_export]
    use super::span_context::SpanContext;
    #[pymodule_export]
    use super::stdlib_handler::_hasten_handler;
    #[pymodule_export]
    use super::stdlib_logging::{_severity_for, _trace_context};
    #[pymodule_export]
    use super::time::{from_monotonic, now};
    #[pymodule_export]
    use super::traced::{_span_kind, Body};
    #[pymodule_export]
    use super::tracer::{get_tracer, new_context};
    #[pymodule_export]
    use super::views::{PyRedact, PyView};
    use super::*;

    #[pymodule_init]
    fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
        capi::resolve(module.py())?;
        small_int::check(module.py())?;
        current::prepare(module.py())?;
        span::prepare(module)?;
        tracer::prepare(module)?;
        span_template::prepare(module)?;
        logger::prepare(module)?;
        stdlib_logging::prepare(module)?;
        instrument_types::prepare(module)?;
        generation::prepare(module)?;
        step_recorder::prepare(module)?;
        scheduler_step::prepare(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("ConfigError", error::config_error(module.py())?)
    }
}
