//! `Config` as a Python class: immutable. What the environment adds is read when it is asked for (`init`, `describe`).

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::arguments::{
    Attributes, Int, Text, choice, elements, filter, list, resource_value_to_py, set, set_milliseconds,
};
use super::describe::{Arguments, attributes, propagators, set_sink, settings};
use super::sinks::{PyMetricSink, PyOtlpLogSink, PyTraceSink};
use super::sls_sink::PySlsLogSink;
use super::views::{PyRedact, PyView};
use crate::config::check;
use crate::config::{
    Config, MAX_LOG_SINKS, MAX_METRIC_SINKS, MAX_TRACE_SINKS, MIN_LANE_BYTES, ResourceValue, SlsCredentials,
};
use crate::error::Error;
use crate::generation::settings::Settings;

/// What `init` is told.
///
/// Args:
///     service_name: `service.name` of everything recorded.
///     resource_attributes: of the entity that produces telemetry (str, bool, int, float, lists of these). The
///         environment's OTEL_RESOURCE_ATTRIBUTES and detected attributes are added, arguments win.
///     console_output: None (default): log records go to the console, spans and metrics only when there are no sinks.
///         True: everything. False: nothing.
///     console_level: the least severe log records on the console: "trace", "debug", "info", "warn", "error", "fatal"
///         or "off". With a log_filter the console shows what passes both; without one it shows everything from this
///         level on, whatever RUST_LOG says. Default None: the console shows what log_filter lets pass, or RUST_LOG
///         where there is none, else "info".
///     console_format: "compact" (default), "pretty" or "json". May also stand fourth, and `sinks` fifth, as in 0.3.
///     log_filter: "info,noisy.lib=warn" by logger-name prefix, for the console and every log sink: the longest
///         prefix decides, and without a bare level all other loggers are off. Default: the environment's RUST_LOG,
///         else "info".
///     sinks: TraceSink, MetricSink, OtlpLogSink and SlsLogSink objects, any number; at most 16
///         TraceSinks, 16 MetricSinks, and 15 log sinks.
///     views: View objects: what metric streams become of the instruments they match.
///     redact: Redact objects: attributes of spans and log records that must not leave; the first that matches a key
///         decides.
///     sdk_metrics: metrics about pytracingx itself. Default False.
///     default_histogram: "explicit" (default) or "exponential", for histograms that do not choose.
///     exemplar_filter: "trace_based" (default), "always_on" or "always_off".
///     max_attribute_value_length: characters kept of a string value. Default None: all.
///     exit_timeout_ms: how long the flush at interpreter exit may take, in milliseconds. Default 2000.
///     ring_capacity: bytes of records that may wait in one thread, at least 262144. Default 8 MiB.
///     lane_budget_bytes: the same for all threads together. Default 64 MiB.
///     diagnostics: "warn" (default): lines `pytracingx: …` on stderr tell what is lost; "off": none.
///
/// Raises:
///     ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.
///
/// Configuration time: costs a microsecond or so.
#[pyclass(frozen, module = "pytracingx", name = "Config")]
pub(crate) struct PyConfig {
    core: Config,
    /// The objects behind the core's sinks: they hold what only Python can (credential callables).
    sinks: Py<PyTuple>,
}

#[pymethods]
impl PyConfig {
    #[new]
    #[pyo3(signature = (
        service_name, resource_attributes = None, console_output = None, console_level = None,
        console_format = None, log_filter = None, sinks = None, *, views = None, redact = None,
        sdk_metrics = false, default_histogram = None, exemplar_filter = None,
        max_attribute_value_length = None, exit_timeout_ms = None, ring_capacity = None,
        lane_budget_bytes = None, diagnostics = None,
    ), text_signature = "(service_name, resource_attributes=None, console_output=None, console_level=None, \
        console_format='compact', log_filter=None, sinks=None, *, views=None, redact=None, sdk_metrics=False, \
        default_histogram='explicit', exemplar_filter='trace_based', max_attribute_value_length=None, \
        exit_timeout_ms=2000, ring_capacity=8388608, lane_budget_bytes=67108864, diagnostics='warn')")]
    #[expect(clippy::too_many_arguments, reason = "they are the Python signature")]
    fn new(
        py: Python<'_>,
        service_name: Text,
        resource_attributes: Option<Attributes>,
        console_output: Option<bool>,
        console_level: Option<Text>,
        console_format: Option<Bound<'_, PyAny>>,
        log_filter: Option<Text>,
        sinks: Option<Bound<'_, PyAny>>,
        views: Option<Bound<'_, PyAny>>,
        redact: Option<Bound<'_, PyAny>>,
        sdk_metrics: bool,
        default_histogram: Option<Text>,
        exemplar_filter: Option<Text>,
        max_attribute_value_length: Option<Int>,
        exit_timeout_ms: Option<Int>,
        ring_capacity: Option<Int>,
        lane_budget_bytes: Option<Int>,
        diagnostics: Option<Text>,
    ) -> PyResult<Self> {
        check::non_empty("service_name", &service_name.0)?;
        let mut core = Config::new(&service_name.0);
        for (key, value) in resource_attributes.map(|attributes| attributes.0).unwrap_or_default() {
            // Also a `service.name` among them wins over the argument, as in 0.2 and 0.3.
            core.resource.set(&key, value);
        }
        let (level, format, sinks) = in_order(console_level, console_format, sinks)?;
        core.console_format = choice("console_format", &check::CONSOLE_FORMATS, format)?.unwrap_or_default();
        core.log_filter = filter(log_filter)?;
        if let Some(level) = choice("console_level", &check::LEVELS, level)? {
            core.set_console_level(level);
        }
        let sinks = add_sinks(py, &mut core, sinks)?;
        core.console_logs = console_output != Some(false);
        core.console_spans = console_output.unwrap_or(sinks.is_empty());
        core.console_metrics = core.console_spans;
        core.views = list("views", "View", views, |view: &Bound<'_, PyView>| view.get().0.clone())?;
        core.redact = list("redact", "Redact", redact, |rule: &Bound<'_, PyRedact>| rule.get().0.clone())?;
        core.sdk_metrics = sdk_metrics;
        core.default_histogram =
            choice("default_histogram", &check::HISTOGRAMS, default_histogram)?.unwrap_or_default();
        core.exemplar_filter =
            choice("exemplar_filter", &check::EXEMPLAR_FILTERS, exemplar_filter)?.unwrap_or_default();
        let limit = max_attribute_value_length
            .map(|limit| check::whole("max_attribute_value_length", limit.0, 0))
            .transpose()?;
        core.max_attribute_value_length = limit;
        set_milliseconds(&mut core.exit_timeout_ms, "exit_timeout_ms", exit_timeout_ms, 0)?;
        let least = MIN_LANE_BYTES as i128;
        set(&mut core.lane_budget_bytes, "lane_budget_bytes", lane_budget_bytes, least)?;
        core.ring_capacity_bytes = core.ring_capacity_bytes.min(core.lane_budget_bytes);
        set(&mut core.ring_capacity_bytes, "ring_capacity", ring_capacity, least)?;
        if core.ring_capacity_bytes > core.lane_budget_bytes {
            let Config { ring_capacity_bytes, lane_budget_bytes, .. } = core;
            return Err(Error::config(format_args!(
                "ring_capacity must be at most lane_budget_bytes ({lane_budget_bytes}), got {ring_capacity_bytes}"
            ))
            .into());
        }
        core.diagnostics = choice("diagnostics", &check::DIAGNOSTICS, diagnostics)?.unwrap_or(true);
        Ok(Self { core, sinks: sinks.unbind() })
    }

    /// What the OpenTelemetry environment variables say, with one OTLP sink per signal unless they say otherwise. A
    /// value that cannot be used is ignored, and told when a session starts.
    ///
    /// PYTRACINGX_SLS_ENDPOINT, PYTRACINGX_SLS_PROJECT and PYTRACINGX_SLS_LOGSTORE add an SLS sink, PYTRACINGX_SLS_REGION
    /// selects signature V4. It signs with ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, if set,
    /// ALIBABA_CLOUD_SECURITY_TOKEN; without a key with a role's credentials, as aliyun.from_environment() gets them, where
    /// ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN and ALIBABA_CLOUD_OIDC_TOKEN_FILE are set, or
    /// ALIBABA_CLOUD_ECS_METADATA.
    ///
    /// Configuration time: costs about ten microseconds, and the reading of the files that variables name.
    #[staticmethod]
    pub(crate) fn from_env(py: Python<'_>) -> PyResult<Self> {
        let mut core = Config::from_env(variable);
        Settings::read(variable, |line| core.warn(line));
        let sinks = PyList::empty(py);
        for sink in &core.trace_sinks {
            sinks.append(Bound::new(py, PyTraceSink(sink.clone()))?)?;
        }
        for sink in &core.metric_sinks {
            sinks.append(Bound::new(py, PyMetricSink(sink.clone()))?)?;
        }
        for sink in &core.otlp_log_sinks {
            sinks.append(Bound::new(py, PyOtlpLogSink(sink.clone()))?)?;
        }
        for sink in &core.sls_log_sinks {
            let provider = match sink.credentials {
                SlsCredentials::Static { .. } => None,
                SlsCredentials::Provider => {
                    Some(py.import("pytracingx.aliyun")?.call_method0("from_environment")?.unbind())
                }
            };
            sinks.append(Bound::new(py, PySlsLogSink { config: sink.clone(), provider })?)?;
        }
        Ok(Self { core, sinks: sinks.to_tuple().unbind() })
    }

    /// The settings in force, the environment merged: counts under `traces`, `metrics`, `otlp_logs`, `sls_logs`, each
    /// sink's settings under `sinks`, those of views and redactions, and what was odd under `warnings`. No secret and
    /// no path of an endpoint.
    ///
    /// Costs about ten microseconds.
    fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let config = self.resolve(py)?;
        let dict = PyDict::new(py);
        let service_name = config.resource.get("service.name");
        dict.set_item("service_name", service_name.map(|v| resource_value_to_py(py, v)).transpose()?)?;
        dict.set_item("resource_attributes", attributes(py, &config)?)?;
        dict.set_item("console_output", config.console_logs || config.console_spans)?;
        dict.set_item("console_spans", config.console_spans)?;
        dict.set_item("console_metrics", config.console_metrics)?;
        dict.set_item("console_logs", config.console_logs)?;
        dict.set_item("traces", config.trace_sinks.len())?;
        dict.set_item("metrics", config.metric_sinks.len())?;
        dict.set_item("otlp_logs", config.otlp_log_sinks.len())?;
        dict.set_item("sls_logs", config.sls_log_sinks.len())?;
        dict.set_item("sls_log", !config.sls_log_sinks.is_empty())?;
        dict.set_item("disabled", config.disabled)?;
        dict.set_item("propagators", propagators(&config))?;
        settings(&dict, &config)?;
        // As in 0.2, where it could not be left out.
        dict.set_item("console_level", check::LEVELS.name(config.console_level.unwrap_or_default()))?;
        let views = config.views.iter().map(|view| view.arguments(py, false));
        dict.set_item("views", views.collect::<PyResult<Vec<_>>>()?)?;
        let rules = config.redact.iter().map(|rule| rule.arguments(py, false));
        dict.set_item("redact", rules.collect::<PyResult<Vec<_>>>()?)?;
        let sinks = PyList::empty(py);
        for sink in &config.trace_sinks {
            set_sink(&sinks, "TraceSink", sink.arguments(py, false)?)?;
        }
        for sink in &config.metric_sinks {
            set_sink(&sinks, "MetricSink", sink.arguments(py, false)?)?;
        }
        for sink in &config.otlp_log_sinks {
            set_sink(&sinks, "OtlpLogSink", sink.arguments(py, false)?)?;
        }
        for sink in self.sinks.bind(py) {
            if let Ok(sink) = sink.cast::<PySlsLogSink>() {
                set_sink(&sinks, "SlsLogSink", sink.get().arguments(py, false)?)?;
            }
        }
        dict.set_item("sinks", sinks)?;
        dict.set_item("warnings", &config.warnings)?;
        Ok(dict)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let Config { trace_sinks, metric_sinks, otlp_log_sinks, sls_log_sinks, .. } = &self.core;
        let service_name = match self.core.resource.get("service.name") {
            Some(ResourceValue::Str(name)) => name,
            _ => "",
        };
        Ok(format!(
            "Config(service_name={}, traces={}, metrics={}, otlp_logs={}, sls_logs={}, console={})",
            PyString::new(py, service_name).repr()?,
            trace_sinks.len(),
            metric_sinks.len(),
            otlp_log_sinks.len(),
            sls_log_sinks.len(),
            self.core.console_logs || self.core.console_spans,
        ))
    }

    /// Constructor arguments, and beside them what only the environment can say.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let config = &self.core;
        let keywords = PyDict::new(py);
        let service_name = config.resource.get("service.name");
        keywords.set_item("service_name", service_name.map(|v| resource_value_to_py(py, v)).transpose()?)?;
        keywords.set_item("resource_attributes", attributes(py, config)?)?;
        keywords.set_item("sinks", &self.sinks)?;
        let views = config.views.iter().map(|view| Bound::new(py, PyView(view.clone())));
        keywords.set_item("views", views.collect::<PyResult<Vec<_>>>()?)?;
        let rules = config.redact.iter().map(|rule| Bound::new(py, PyRedact(rule.clone())));
        keywords.set_item("redact", rules.collect::<PyResult<Vec<_>>>()?)?;
        settings(&keywords, config)?;
        let extra = Extra {
            disabled: config.disabled,
            propagators: propagators(config),
            console: (config.console_spans, config.console_metrics, config.console_logs),
            warnings: config.warnings.clone(),
        };
        let restore = py.import("pytracingx._native")?.getattr("_restore_config")?;
        Ok((restore, (keywords, extra)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.sinks)
    }
}

impl PyConfig {
    /// Of each SLS sink, in order: its credential provider, or None.
    pub(crate) fn providers<'py>(&self, py: Python<'py>) -> Vec<Option<Bound<'py, PyAny>>> {
        let sinks = self.sinks.bind(py).iter();
        let sinks = sinks.filter_map(|sink| sink.cast_into::<PySlsLogSink>().ok());
        sinks.map(|sink| Some(sink.get().provider.as_ref()?.bind(py).clone())).collect()
    }

    /// What a session is to do: this configuration, the environment and the language runtime merged in. To be called
    /// where a session starts.
    pub(crate) fn resolve(&self, py: Python<'_>) -> PyResult<Config> {
        let mut config = self.core.clone();
        config.apply_value_limit();
        config.merge_env(variable);
        Settings::read(variable, |line| config.warn(line));
        config.warn_of_plain_text();
        let sys = py.import("sys")?;
        let implementation = sys.getattr("implementation")?;
        let version = implementation.getattr("version")?;
        let numbers = ["major", "minor", "micro"].map(|part| version.getattr(part).map(|n| n.to_string()));
        let [major, minor, micro] = numbers;
        for (key, value) in [
            ("process.runtime.name", implementation.getattr("name")?.to_string()),
            ("process.runtime.version", [major?, minor?, micro?].join(".")),
            ("process.runtime.description", sys.getattr("version")?.to_string()),
        ] {
            config.resource.add_missing(key, ResourceValue::Str(value));
        }
        Ok(config)
    }
}

/// [`restore_config`] and its arguments.
type Reduced<'py> = (Bound<'py, PyAny>, (Bound<'py, PyDict>, Extra));

/// What only the environment can say, for pickling.
#[derive(IntoPyObject, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Extra {
    disabled: bool,
    propagators: Vec<String>,
    console: (bool, bool, bool),
    warnings: Vec<String>,
}

/// Unpickles a Config.
#[pyfunction(name = "_restore_config")]
pub(crate) fn restore_config(
    py: Python<'_>,
    keywords: &Bound<'_, PyDict>,
    extra: Extra,
) -> PyResult<PyConfig> {
    let object = py.get_type::<PyConfig>().call((), Some(keywords))?;
    let PyConfig { core, sinks } = object.cast::<PyConfig>()?.get();
    let mut core = core.clone();
    core.disabled = extra.disabled;
    core.propagators = extra.propagators.iter().filter_map(|name| check::PROPAGATORS.find(name)).collect();
    (core.console_spans, core.console_metrics, core.console_logs) = extra.console;
    core.warnings = extra.warnings;
    Ok(PyConfig { core, sinks: sinks.clone_ref(py) })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

type Ordered<'py> = (Option<Text>, Option<Text>, Option<Bound<'py, PyAny>>);

/// Level, format and sinks, whichever order they came in: a format where the level belongs is 0.3's order, in which
/// the sinks come next.
fn in_order<'py>(
    level: Option<Text>,
    format: Option<Bound<'py, PyAny>>,
    sinks: Option<Bound<'py, PyAny>>,
) -> PyResult<Ordered<'py>> {
    let text = |format: Option<Bound<'py, PyAny>>| format.map(|format| format.extract::<Text>()).transpose();
    match level {
        Some(level) if check::CONSOLE_FORMATS.find(&level.0).is_some() => match (format, sinks) {
            (None, sinks) => Ok((None, Some(level), sinks)),
            (Some(list), None) if !list.is_instance_of::<PyString>() => Ok((None, Some(level), Some(list))),
            (format, sinks) => Ok((Some(level), text(format)?, sinks)),
        },
        level => Ok((level, text(format)?, sinks)),
    }
}

fn add_sinks<'py>(
    py: Python<'py>,
    core: &mut Config,
    sinks: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyTuple>> {
    let Some(sinks) = sinks else {
        return Ok(PyTuple::empty(py));
    };
    let sinks = elements("sinks", "sinks", &sinks)?.collect::<PyResult<Vec<_>>>()?;
    for (index, sink) in sinks.iter().enumerate() {
        if let Ok(sink) = sink.cast::<PyTraceSink>() {
            core.trace_sinks.push(sink.get().0.clone());
        } else if let Ok(sink) = sink.cast::<PyMetricSink>() {
            core.metric_sinks.push(sink.get().0.clone());
        } else if let Ok(sink) = sink.cast::<PyOtlpLogSink>() {
            core.otlp_log_sinks.push(sink.get().0.clone());
        } else if let Ok(sink) = sink.cast::<PySlsLogSink>() {
            core.sls_log_sinks.push(sink.get().config.clone());
        } else {
            return Err(Error::config(format_args!(
                "sinks list must contain TraceSink, MetricSink, OtlpLogSink, or SlsLogSink, got {} at index {index}",
                sink.get_type().name()?
            ))
            .into());
        }
    }
    let log_sinks = core.otlp_log_sinks.len() + core.sls_log_sinks.len();
    for (most, what, count) in [
        (MAX_TRACE_SINKS, "TraceSinks", core.trace_sinks.len()),
        (MAX_METRIC_SINKS, "MetricSinks", core.metric_sinks.len()),
        (MAX_LOG_SINKS, "OtlpLogSinks and SlsLogSinks together", log_sinks),
    ] {
        if count > most {
            return Err(
                Error::config(format_args!("sinks may hold at most {most} {what}, got {count}")).into()
            );
        }
    }
    PyTuple::new(py, sinks)
}
