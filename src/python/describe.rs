//! Configuration back as Python values: to pickle it, with its secrets, and to describe it, without.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::arguments::resource_value_to_py;
use super::sls_sink::PySlsLogSink;
use crate::config::check;
use crate::config::{
    BatchConfig, Config, Endpoint, LogFilter, MetricSinkConfig, OtlpLogSinkConfig, ProxyChoice, Secret,
    SlsCredentials, SlsFieldNames, TlsFiles, TraceSinkConfig, TransportConfig,
};

/// What `__getnewargs_ex__` returns.
pub(super) type NewArguments<'py> = (Bound<'py, PyTuple>, Bound<'py, PyDict>);

pub(super) fn new_arguments<'py>(
    py: Python<'py>,
    keywords: Bound<'py, PyDict>,
) -> PyResult<NewArguments<'py>> {
    Ok((PyTuple::empty(py), keywords))
}

/// The keyword arguments that construct an equal object; without `expose`, secrets and paths are `***` and `/…`.
pub(super) trait Arguments {
    /// See the trait.
    fn arguments<'py>(&self, py: Python<'py>, expose: bool) -> PyResult<Bound<'py, PyDict>>;
}

/// A call with these keyword arguments, as `repr` shows it.
pub(super) fn call(class: &str, arguments: &Bound<'_, PyDict>) -> PyResult<String> {
    let shown = arguments.iter().map(|(name, value)| Ok(format!("{name}={}", value.repr()?)));
    Ok(format!("{class}({})", shown.collect::<PyResult<Vec<_>>>()?.join(", ")))
}

/// A sink as `repr` shows it.
pub(super) fn repr(sink: &str, transport: &TransportConfig) -> String {
    let protocol = check::PROTOCOLS.name(transport.protocol);
    format!("{sink}(endpoint='{}', protocol='{protocol}')", transport.endpoint)
}

/// Adds a described sink to a list, its class under `kind`.
pub(super) fn set_sink<'py>(list: &Bound<'py, PyList>, kind: &str, sink: Bound<'py, PyDict>) -> PyResult<()> {
    sink.set_item("kind", kind)?;
    list.append(sink)
}

fn shown_or_exposed(secret: &Secret, expose: bool) -> &str {
    if expose { secret.expose() } else { "***" }
}

fn endpoint(endpoint: &Endpoint, expose: bool) -> String {
    if expose { endpoint.expose() } else { endpoint.to_string() }
}

impl Arguments for TransportConfig {
    fn arguments<'py>(&self, py: Python<'py>, expose: bool) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("endpoint", endpoint(&self.endpoint, expose))?;
        dict.set_item("protocol", check::PROTOCOLS.name(self.protocol))?;
        let headers = PyDict::new(py);
        for (name, value) in &self.headers {
            headers.set_item(name, shown_or_exposed(value, expose))?;
        }
        dict.set_item("headers", headers)?;
        dict.set_item("timeout_ms", self.timeout_ms)?;
        dict.set_item("compression", check::COMPRESSIONS.name(self.compression))?;
        let TlsFiles { ca_file, client_cert_file, client_key_file } = &self.tls;
        dict.set_item("ca_file", ca_file.as_ref().map(|path| path.as_os_str()))?;
        dict.set_item("client_cert_file", client_cert_file.as_ref().map(|path| path.as_os_str()))?;
        dict.set_item("client_key_file", client_key_file.as_ref().map(|path| path.as_os_str()))?;
        dict.set_item("max_queue_bytes", self.max_queue_bytes)?;
        dict.set_item("proxy", proxy(&self.proxy, expose))?;
        Ok(dict)
    }
}

/// As `proxy=` has it; `None` as long as the environment has not been asked.
fn proxy(choice: &ProxyChoice, expose: bool) -> Option<String> {
    match choice {
        ProxyChoice::Environment => None,
        ProxyChoice::Direct => Some(String::new()),
        ProxyChoice::Via(proxy) if expose => Some(proxy.expose()),
        ProxyChoice::Via(proxy) => Some(proxy.to_string()),
    }
}

fn batch_arguments(dict: &Bound<'_, PyDict>, batch: &BatchConfig) -> PyResult<()> {
    dict.set_item("batch_max_export", batch.max_export)?;
    dict.set_item("batch_schedule_delay_ms", batch.schedule_delay_ms)
}

/// `None` for the value that means "no limit".
fn value_length(limit: u32) -> Option<u32> {
    (limit != u32::MAX).then_some(limit)
}

impl Arguments for TraceSinkConfig {
    fn arguments<'py>(&self, py: Python<'py>, expose: bool) -> PyResult<Bound<'py, PyDict>> {
        let dict = self.transport.arguments(py, expose)?;
        let (sampler, sampler_arg) = check::sampler_name(self.sampler);
        dict.set_item("sampler", sampler)?;
        dict.set_item("sampler_arg", sampler_arg)?;
        dict.set_item("batch_max_queue", self.batch.max_queue)?;
        batch_arguments(&dict, &self.batch)?;
        dict.set_item("max_export_timeout_ms", self.transport.max_export_timeout_ms)?;
        dict.set_item("max_attributes_per_span", self.limits.attributes)?;
        dict.set_item("max_events_per_span", self.limits.events)?;
        dict.set_item("max_links_per_span", self.limits.links)?;
        dict.set_item("max_attributes_per_event", self.limits.attributes_per_event)?;
        dict.set_item("max_attributes_per_link", self.limits.attributes_per_link)?;
        dict.set_item("max_attribute_value_length", value_length(self.limits.value_length))?;
        Ok(dict)
    }
}

impl Arguments for MetricSinkConfig {
    fn arguments<'py>(&self, py: Python<'py>, expose: bool) -> PyResult<Bound<'py, PyDict>> {
        let dict = self.transport.arguments(py, expose)?;
        dict.set_item("export_interval_ms", self.export_interval_ms)?;
        dict.set_item("export_timeout_ms", self.transport.max_export_timeout_ms)?;
        dict.set_item("temporality", check::TEMPORALITIES.name(self.temporality))?;
        Ok(dict)
    }
}

impl Arguments for OtlpLogSinkConfig {
    fn arguments<'py>(&self, py: Python<'py>, expose: bool) -> PyResult<Bound<'py, PyDict>> {
        let dict = self.transport.arguments(py, expose)?;
        dict.set_item("batch_max_queue", self.batch.max_queue)?;
        batch_arguments(&dict, &self.batch)?;
        dict.set_item("max_export_timeout_ms", self.transport.max_export_timeout_ms)?;
        dict.set_item("log_filter", self.filter.as_ref().map(LogFilter::to_string))?;
        dict.set_item("sample_ratio", self.sample_ratio)?;
        dict.set_item("max_attributes_per_record", self.limits.attributes)?;
        dict.set_item("max_attribute_value_length", value_length(self.limits.value_length))?;
        Ok(dict)
    }
}

impl Arguments for PySlsLogSink {
    fn arguments<'py>(&self, py: Python<'py>, expose: bool) -> PyResult<Bound<'py, PyDict>> {
        let config = &self.config;
        let dict = PyDict::new(py);
        dict.set_item("endpoint", endpoint(&config.endpoint, expose))?;
        dict.set_item("project", &config.project)?;
        dict.set_item("logstore", &config.logstore)?;
        match &config.credentials {
            SlsCredentials::Static { ak_id, ak_secret, security_token } => {
                let token = security_token.as_ref().map(|token| shown_or_exposed(token, expose));
                dict.set_item("ak_id", shown_or_exposed(ak_id, expose))?;
                dict.set_item("ak_secret", shown_or_exposed(ak_secret, expose))?;
                dict.set_item("security_token", token)?;
            }
            SlsCredentials::Provider if expose => dict.set_item("credentials", &self.provider)?,
            SlsCredentials::Provider => dict.set_item("credentials", "***")?,
        }
        dict.set_item("topic", &config.topic)?;
        dict.set_item("source", &config.source)?;
        dict.set_item("region", &config.region)?;
        dict.set_item("compression", check::SLS_COMPRESSIONS.name(config.compression))?;
        batch_arguments(&dict, &config.batch)?;
        dict.set_item("timeout_ms", config.timeout_ms)?;
        dict.set_item("max_export_timeout_ms", config.max_export_timeout_ms)?;
        dict.set_item("proxy", proxy(&config.proxy, expose))?;
        dict.set_item("tags", pairs(py, &config.tags)?)?;
        dict.set_item("attributes", check::SLS_ATTRIBUTES.name(config.attributes))?;
        match &config.field_names {
            SlsFieldNames::V0_3 => dict.set_item("field_names", "0.3")?,
            SlsFieldNames::Renamed(names) => dict.set_item("field_names", pairs(py, names)?)?,
        }
        dict.set_item("max_queue_bytes", config.max_queue_bytes)?;
        dict.set_item("log_filter", config.filter.as_ref().map(LogFilter::to_string))?;
        dict.set_item("sample_ratio", config.sample_ratio)?;
        Ok(dict)
    }
}

fn pairs<'py>(py: Python<'py>, pairs: &[(String, String)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in pairs {
        dict.set_item(key, value)?;
    }
    Ok(dict)
}

/// The settings that are constructor arguments of the same name.
pub(super) fn settings(dict: &Bound<'_, PyDict>, config: &Config) -> PyResult<()> {
    dict.set_item("console_level", config.console_level.map(|level| check::LEVELS.name(level)))?;
    dict.set_item("console_format", check::CONSOLE_FORMATS.name(config.console_format))?;
    dict.set_item("log_filter", config.log_filter.as_ref().map(LogFilter::to_string))?;
    dict.set_item("sdk_metrics", config.sdk_metrics)?;
    dict.set_item("default_histogram", check::HISTOGRAMS.name(config.default_histogram))?;
    dict.set_item("exemplar_filter", check::EXEMPLAR_FILTERS.name(config.exemplar_filter))?;
    dict.set_item("max_attribute_value_length", config.max_attribute_value_length)?;
    dict.set_item("exit_timeout_ms", config.exit_timeout_ms)?;
    dict.set_item("ring_capacity", config.ring_capacity_bytes)?;
    dict.set_item("lane_budget_bytes", config.lane_budget_bytes)?;
    dict.set_item("diagnostics", check::DIAGNOSTICS.name(config.diagnostics))
}

pub(super) fn attributes<'py>(py: Python<'py>, config: &Config) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in &config.resource.attributes {
        dict.set_item(key, resource_value_to_py(py, value)?)?;
    }
    Ok(dict)
}

pub(super) fn propagators(config: &Config) -> Vec<String> {
    config.propagators.iter().map(|propagator| check::PROPAGATORS.name(*propagator).to_owned()).collect()
}
