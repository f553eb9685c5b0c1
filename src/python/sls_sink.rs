//! The SLS sink as a Python class: immutable, checked when constructed, without side effects, as the OTLP sinks.

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::arguments::{Int, Pairs, Real, Text, batch, choice, filter, set, set_milliseconds};
use super::describe::{Arguments, NewArguments, new_arguments};
use crate::config::check;
use crate::config::{ProxyChoice, Secret, SlsCredentials, SlsFieldNames, SlsSinkConfig};
use crate::encode::sls;
use crate::error::Error;

const SLS_PLACE: [&str; 3] = ["SlsLogSink endpoint", "SlsLogSink project", "SlsLogSink logstore"];

/// Sends log records to an Aliyun SLS logstore.
///
/// Args:
///     endpoint: regional endpoint such as "cn-hangzhou.log.aliyuncs.com", `https` unless it says otherwise.
///     project, logstore: where, both of letters, digits, "-" and "_".
///     ak_id, ak_secret: access key pair; never printed.
///     topic: of every log group. Default "".
///     source: of every log group. Default: the host name.
///     credentials: callable, instead of a key pair, that returns `(ak_id, ak_secret, security_token)`, the same with
///         `expires_unix_seconds`, or an object with the attributes `access_key_id`, `access_key_secret` and
///         `security_token`. Called on a thread of its own, again before they expire and after a 401; if it raises, again
///         after 1 second, then 2, up to 60. `pytracingx.aliyun` has some.
///     security_token: STS token that belongs to the key pair.
///     region: selects signature V4. Default: V1.
///     compression: "lz4" (default), "zstd", "deflate" or "none".
///     batch_max_export: records in one request at most. Default 4096.
///     batch_schedule_delay_ms: a record waits at most this long, in milliseconds. Default 3000.
///     timeout_ms: one request, in milliseconds. Default 10000.
///     max_export_timeout_ms: a batch with its retries, in milliseconds. Default 300000.
///     tags: of every log group.
///     attributes: "flat" (default), each under its own key, or "json", all in one field.
///     field_names: renames columns; "0.3" restores the columns of pytracingx 0.3.
///     max_queue_bytes: bytes of encoded records that may wait. Default 64 MiB.
///     log_filter: "info,noisy.lib=warn" by logger-name prefix. Default: Config's.
///     sample_ratio: share of traces whose records are sent, 0 to 1. Default 1.0.
///     proxy: as TraceSink's. Requests to STS and other providers of `credentials` follow the environment.
///
/// Raises:
///     ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.
///
/// Costs a few microseconds, once.
#[pyclass(frozen, module = "pytracingx", name = "SlsLogSink")]
pub(crate) struct PySlsLogSink {
    pub(crate) config: SlsSinkConfig,
    /// Asked by the Python worker when `config.credentials` is [`SlsCredentials::Provider`].
    pub(crate) provider: Option<Py<PyAny>>,
}

#[pymethods]
impl PySlsLogSink {
    #[new]
    #[pyo3(signature = (
        endpoint, project, logstore, ak_id = None, ak_secret = None, topic = None, source = None, *,
        credentials = None, security_token = None, region = None, compression = None, batch_max_export = None,
        batch_schedule_delay_ms = None, timeout_ms = None, max_export_timeout_ms = None, tags = None, attributes = None,
        field_names = None, max_queue_bytes = None, log_filter = None, sample_ratio = Real(1.0), proxy = None,
    ), text_signature = "(endpoint, project, logstore, ak_id=None, ak_secret=None, topic='', source='', *, \
        credentials=None, security_token=None, region=None, compression='lz4', batch_max_export=4096, \
        batch_schedule_delay_ms=3000, timeout_ms=None, max_export_timeout_ms=None, tags=None, attributes='flat', \
        field_names=None, max_queue_bytes=None, log_filter=None, sample_ratio=1.0, proxy=None)")]
    #[expect(clippy::too_many_arguments, reason = "they are the Python signature")]
    fn new(
        endpoint: Text,
        project: Text,
        logstore: Text,
        ak_id: Option<Text>,
        ak_secret: Option<Text>,
        topic: Option<Text>,
        source: Option<Text>,
        credentials: Option<Bound<'_, PyAny>>,
        security_token: Option<Text>,
        region: Option<Text>,
        compression: Option<Text>,
        batch_max_export: Option<Int>,
        batch_schedule_delay_ms: Option<Int>,
        timeout_ms: Option<Int>,
        max_export_timeout_ms: Option<Int>,
        tags: Option<Pairs>,
        attributes: Option<Text>,
        field_names: Option<Bound<'_, PyAny>>,
        max_queue_bytes: Option<Int>,
        log_filter: Option<Text>,
        sample_ratio: Real,
        proxy: Option<Text>,
    ) -> PyResult<Self> {
        let filled = |text: Option<Text>| text.map(|text| text.0).filter(|text| !text.is_empty());
        let security_token = filled(security_token);
        if credentials.is_some() && security_token.is_some() {
            return Err(Error::config(
                "SlsLogSink security_token belongs to ak_id and ak_secret; credentials returns its own",
            )
            .into());
        }
        let provided = match (filled(ak_id), filled(ak_secret), &credentials) {
            (None, None, Some(provider)) if provider.is_callable() => SlsCredentials::Provider,
            (_, _, Some(provider)) => {
                let kind = provider.get_type().name()?;
                return Err(Error::config(format!(
                    "SlsLogSink credentials must be a callable and stand instead of ak_id and ak_secret, got {kind}",
                ))
                .into());
            }
            (Some(ak_id), Some(ak_secret), None) => SlsCredentials::Static {
                ak_id: Secret::new(ak_id),
                ak_secret: Secret::new(ak_secret),
                security_token: security_token.map(Secret::new),
            },
            _ => {
                // The place is checked first, so that an error names the first bad argument.
                SlsSinkConfig::new(SLS_PLACE, &endpoint.0, project.0, logstore.0, SlsCredentials::Provider)?;
                return Err(Error::config(
                    "SlsLogSink ak_id and ak_secret must not be empty (or give credentials=callable)",
                )
                .into());
            }
        };
        let mut config = SlsSinkConfig::new(SLS_PLACE, &endpoint.0, project.0, logstore.0, provided)?;
        config.topic = topic.map(|topic| topic.0).unwrap_or_default();
        config.source = filled(source);
        config.region = filled(region);
        config.compression =
            choice("compression", &check::SLS_COMPRESSIONS, compression)?.unwrap_or_default();
        config.batch = batch(config.batch, None, batch_max_export, batch_schedule_delay_ms)?;
        set_milliseconds(&mut config.timeout_ms, "timeout_ms", timeout_ms, 1)?;
        set_milliseconds(
            &mut config.max_export_timeout_ms,
            "max_export_timeout_ms",
            max_export_timeout_ms,
            1,
        )?;
        config.proxy = ProxyChoice::parse("SlsLogSink proxy", proxy.as_ref().map(|text| &*text.0))?;
        config.tags = tags.map(|tags| tags.0).unwrap_or_default();
        config.attributes = choice("attributes", &check::SLS_ATTRIBUTES, attributes)?.unwrap_or_default();
        if let Some(names) = field_names {
            config.field_names = match names.extract::<Text>() {
                Ok(version) if version.0 == "0.3" => SlsFieldNames::V0_3,
                Ok(other) => {
                    let other = check::shown(&other.0);
                    let text = format!("unknown field_names '{other}', expected '0.3' or a dict of renames");
                    return Err(Error::Config(text).into());
                }
                Err(_) => SlsFieldNames::Renamed(names.extract::<Pairs>()?.0),
            };
        }
        set(&mut config.max_queue_bytes, "max_queue_bytes", max_queue_bytes, 1)?;
        config.filter = filter(log_filter)?;
        config.sample_ratio = check::ratio("sample_ratio", sample_ratio.0)?;
        sls::check(&config)?;
        Ok(Self { config, provider: credentials.map(Bound::unbind) })
    }

    fn __repr__(&self) -> String {
        let SlsSinkConfig { endpoint, project, logstore, .. } = &self.config;
        format!("SlsLogSink(endpoint='{endpoint}', project='{project}', logstore='{logstore}')")
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<NewArguments<'py>> {
        new_arguments(py, self.arguments(py, true)?)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.provider)
    }
}
