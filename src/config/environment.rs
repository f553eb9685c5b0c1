//! OpenTelemetry's environment variables, and `RUST_LOG`. Pure in the variables it is handed. Empty means unset; a value that cannot be
//! used is told once ([`Config::warnings`]) and ignored as if unset, so no environment can make `init` fail. Warnings
//! name the variable, and show the value only where it cannot be a secret.

use super::check;
use super::variables::{Environment, specific};
use super::{
    BatchConfig, Config, Endpoint, LogFilter, MetricSinkConfig, OtlpLogSinkConfig, PathRule, Propagator,
    Protocol, Resource, ResourceValue, SamplerConfig, Secret, Signal, SlsCredentials, SlsSinkConfig,
    TraceSinkConfig, TransportConfig, UNKNOWN_SERVICE,
};
#[cfg(feature = "net")]
use super::{TlsFiles, certificates};
use crate::limits::{LogLimits, SpanLimits};

const ACCESS_KEY: [&str; 2] = ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"];
const OIDC_ROLE: [&str; 3] =
    ["ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE"];
/// A RAM role of this instance.
const ECS_ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";

impl Config {
    /// What the environment alone says. Log records go to the console unless `OTEL_LOGS_EXPORTER` is set and leaves it
    /// out; spans and metrics only when their exporter variable names `console`.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        const HISTOGRAM: &str = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
        let mut env = Environment { variable: &variable, warnings: Vec::new() };
        let mut config = Self { resource: Resource::default(), ..Self::default() };

        let traces = env.exporters("OTEL_TRACES_EXPORTER");
        config.console_spans = traces.is_some_and(|to| to.console);
        if traces.is_none_or(|to| to.otlp) {
            config.trace_sinks.push(env.trace_sink());
        }
        let metrics = env.exporters("OTEL_METRICS_EXPORTER");
        config.console_metrics = metrics.is_some_and(|to| to.console);
        if metrics.is_none_or(|to| to.otlp) {
            config.metric_sinks.push(env.metric_sink());
        }
        let logs = env.exporters("OTEL_LOGS_EXPORTER");
        config.console_logs = logs.is_none_or(|to| to.console);
        if logs.is_none_or(|to| to.otlp) {
            config.otlp_log_sinks.push(env.log_sink());
        }
        config.sls_log_sinks.extend(env.sls_sink());
        if let Some(filter) = env.choice("OTEL_METRICS_EXEMPLAR_FILTER", &check::EXEMPLAR_FILTERS) {
            config.exemplar_filter = filter;
        }
        if let Some(histogram) = env.choice(HISTOGRAM, &check::HISTOGRAMS) {
            config.default_histogram = histogram;
        }

        env.warnings.into_iter().for_each(|line| config.warn(line));
        config.merge_env(variable);
        config.warn_of_plain_text();
        config
    }

    /// What the environment adds to an explicit configuration: resource attributes that have no argument,
    /// `OTEL_SDK_DISABLED`, `OTEL_PROPAGATORS`, `RUST_LOG` where no filter is given, `OTEL_METRIC_EXPORT_INTERVAL` for
    /// the console where there is no metric sink, and [`Proxies`](super::Proxies) of sinks that name none. Merging twice changes nothing.
    pub fn merge_env(&mut self, variable: impl Fn(&str) -> Option<String>) {
        let mut env = Environment { variable: &variable, warnings: Vec::new() };
        if let Some(name) = env.text("OTEL_SERVICE_NAME") {
            self.resource.add_missing("service.name", ResourceValue::Str(name));
        }
        for (key, value) in env.pairs("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default() {
            self.resource.add_missing(&key, ResourceValue::Str(value));
        }
        self.resource.add_missing("service.name", ResourceValue::Str(UNKNOWN_SERVICE.to_owned()));
        self.disabled |= env.boolean("OTEL_SDK_DISABLED").unwrap_or(false);
        if let Some(propagators) = env.propagators() {
            self.propagators = propagators;
        }
        if self.log_filter.is_none() {
            self.log_filter = env.rust_log();
        }
        if let Some(interval_ms) = env.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 1) {
            self.metric_interval_ms = interval_ms;
        }
        self.settle_proxies(&mut env);
        env.warnings.into_iter().for_each(|line| self.warn(line));
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Exporters {
    otlp: bool,
    console: bool,
}

impl Environment<'_> {
    fn trace_sink(&mut self) -> TraceSinkConfig {
        let mut transport = self.transport(Signal::Traces);
        let batch = self.batch("BSP", &mut transport);
        TraceSinkConfig { transport, batch, sampler: self.sampler(), limits: self.span_limits() }
    }

    fn metric_sink(&mut self) -> MetricSinkConfig {
        const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let mut transport = self.transport(Signal::Metrics);
        transport.max_export_timeout_ms =
            self.milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", 1).unwrap_or(super::METRIC_EXPORT_TIMEOUT_MS);
        MetricSinkConfig {
            transport,
            export_interval_ms: self
                .milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 1)
                .unwrap_or(super::METRIC_EXPORT_INTERVAL_MS),
            temporality: self.choice(TEMPORALITY, &check::TEMPORALITIES).unwrap_or_default(),
        }
    }

    fn log_sink(&mut self) -> OtlpLogSinkConfig {
        let mut transport = self.transport(Signal::Logs);
        let batch = self.batch("BLRP", &mut transport);
        let (attributes, value_length) = self.attribute_limits("LOGRECORD");
        let limits = LogLimits { attributes, value_length };
        OtlpLogSinkConfig { transport, batch, limits, filter: None, sample_ratio: 1.0 }
    }

    fn sls_sink(&mut self) -> Option<SlsSinkConfig> {
        const PLACE: [&str; 3] =
            ["PYTRACINGX_SLS_ENDPOINT", "PYTRACINGX_SLS_PROJECT", "PYTRACINGX_SLS_LOGSTORE"];
        let place = PLACE.map(|name| self.text(name));
        if place.iter().all(Option::is_none) {
            return None;
        }
        let ([Some(endpoint), Some(project), Some(logstore)], Some(credentials)) =
            (place, self.sls_credentials())
        else {
            let lacking = self.sls_lacking(&PLACE);
            self.warn(format!("the SLS sink lacks {lacking}; ignored"));
            return None;
        };
        match SlsSinkConfig::new(PLACE, &endpoint, project, logstore, credentials) {
            Ok(sink) => Some(SlsSinkConfig { region: self.text("PYTRACINGX_SLS_REGION"), ..sink }),
            Err(error) => {
                self.warn(format!("{error}; ignored"));
                None
            }
        }
    }

    /// A key, or else a role that a provider looks after: `pytracingx.aliyun.from_environment()`.
    fn sls_credentials(&self) -> Option<SlsCredentials> {
        if let [Some(ak_id), Some(ak_secret)] = ACCESS_KEY.map(|name| self.text(name)) {
            return Some(SlsCredentials::Static {
                ak_id: Secret::new(ak_id),
                ak_secret: Secret::new(ak_secret),
                security_token: self.text("ALIBABA_CLOUD_SECURITY_TOKEN").map(Secret::new),
            });
        }
        let has_role =
            OIDC_ROLE.iter().all(|name| self.text(name).is_some()) || self.text(ECS_ROLE).is_some();
        has_role.then_some(SlsCredentials::Provider)
    }

    /// The variables that an SLS sink waits for, and what would do instead of those of credentials.
    fn sls_lacking(&self, place: &[&'static str]) -> String {
        let unset = |names: &[&'static str]| -> Vec<_> {
            names.iter().copied().filter(|name| self.text(name).is_none()).collect()
        };
        let mut lacking = unset(place);
        if self.sls_credentials().is_some() {
            return lacking.join(", ");
        }
        let is_role = unset(&OIDC_ROLE).len() < OIDC_ROLE.len() && unset(&ACCESS_KEY) == ACCESS_KEY;
        let (what, other) = if is_role {
            lacking.extend(unset(&OIDC_ROLE));
            ("this role", ACCESS_KEY.join(", "))
        } else {
            lacking.extend(unset(&ACCESS_KEY));
            ("a key", OIDC_ROLE.join(", "))
        };
        format!("{} (instead of {what}: {other}, or {ECS_ROLE})", lacking.join(", "))
    }

    fn transport(&mut self, signal: Signal) -> TransportConfig {
        let protocol = self
            .of_signal(signal, "PROTOCOL", |env, name| env.choice(name, &check::PROTOCOLS))
            .unwrap_or(Protocol::HttpProtobuf);
        let insecure = self.of_signal(signal, "INSECURE", Self::boolean);
        let endpoint = self.endpoint(signal, protocol, insecure);
        let mut transport = TransportConfig::new(endpoint, protocol);
        transport.headers = self.of_signal(signal, "HEADERS", Self::headers).unwrap_or_default();
        if let Some(timeout_ms) = self.of_signal(signal, "TIMEOUT", Self::timeout) {
            transport.timeout_ms = timeout_ms;
        }
        transport.compression = self
            .of_signal(signal, "COMPRESSION", |env, name| env.choice(name, &check::COMPRESSIONS))
            .unwrap_or_default();
        #[cfg(feature = "net")]
        {
            transport.tls = self.tls_files(signal);
        }
        transport
    }

    #[cfg(feature = "net")]
    fn tls_files(&mut self, signal: Signal) -> TlsFiles {
        let mut files = TlsFiles {
            ca_file: self.of_signal(signal, "CERTIFICATE", |env, name| env.file(name, certificates::roots)),
            client_cert_file: self
                .of_signal(signal, "CLIENT_CERTIFICATE", |env, name| env.file(name, certificates::chain)),
            client_key_file: self
                .of_signal(signal, "CLIENT_KEY", |env, name| env.file(name, certificates::key)),
        };
        if let Err(error) = certificates::client(&files) {
            self.warn(format!("OTEL_EXPORTER_OTLP_CLIENT_…: {error}; ignored"));
            (files.client_cert_file, files.client_key_file) = (None, None);
        }
        files
    }

    fn endpoint(&mut self, signal: Signal, protocol: Protocol, insecure: Option<bool>) -> Endpoint {
        let mut read = |name: &str, rule| {
            let text = self.text(name)?;
            match Endpoint::parse(name, &text, Some(protocol), insecure, rule) {
                Ok((endpoint, _)) => Some(endpoint),
                Err(error) => {
                    self.warn(format!("{error}; ignored"));
                    None
                }
            }
        };
        read(&specific(signal, "ENDPOINT"), PathRule::AsIs)
            .or_else(|| read("OTEL_EXPORTER_OTLP_ENDPOINT", PathRule::Base(signal)))
            .unwrap_or_else(|| {
                let (port, path) = match protocol {
                    Protocol::HttpProtobuf => (4318, signal.path()),
                    Protocol::Grpc => (4317, "/"),
                };
                Endpoint { tls: false, host: "localhost".to_owned(), port, path: path.to_owned() }
            })
    }

    /// The four variables of a batch processor, `BSP` or `BLRP`.
    fn batch(&mut self, processor: &str, transport: &mut TransportConfig) -> BatchConfig {
        let name = |suffix: &str| format!("OTEL_{processor}_{suffix}");
        let mut batch = BatchConfig::default();
        if let Some(delay_ms) = self.milliseconds(&name("SCHEDULE_DELAY"), 0) {
            batch.schedule_delay_ms = delay_ms;
        }
        if let Some(timeout_ms) = self.milliseconds(&name("EXPORT_TIMEOUT"), 1) {
            transport.max_export_timeout_ms = timeout_ms;
        }
        if let Some(records) = self.whole(&name("MAX_EXPORT_BATCH_SIZE"), 1) {
            batch.max_export = records;
        }
        batch.max_queue = self.whole(&name("MAX_QUEUE_SIZE"), 1);
        batch.max_export = batch.max_export.min(batch.max_queue.unwrap_or(usize::MAX));
        batch
    }

    fn sampler(&mut self) -> SamplerConfig {
        const ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
        let named = self.choice("OTEL_TRACES_SAMPLER", &check::SAMPLERS);
        let sampler = named.unwrap_or(SamplerConfig::ParentBased(true));
        let (name, Some(_)) = check::sampler_name(sampler) else {
            return sampler;
        };
        let Some(text) = self.text(ARG) else {
            return sampler;
        };
        match text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)) {
            Some(ratio) => check::sampler(Some(name), Some(ratio)).unwrap_or(sampler),
            None => {
                self.bad(ARG, &text, "a number from 0 to 1");
                sampler
            }
        }
    }

    fn span_limits(&mut self) -> SpanLimits {
        let default = SpanLimits::default();
        let (attributes, value_length) = self.attribute_limits("SPAN");
        let mut count = |name| self.whole(name, 0);
        SpanLimits {
            attributes,
            events: count("OTEL_SPAN_EVENT_COUNT_LIMIT").unwrap_or(default.events),
            links: count("OTEL_SPAN_LINK_COUNT_LIMIT").unwrap_or(default.links),
            attributes_per_event: count("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT")
                .unwrap_or(default.attributes_per_event),
            attributes_per_link: count("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT")
                .unwrap_or(default.attributes_per_link),
            value_length,
        }
    }

    /// Count and value length, of the record's own variables or else the general ones.
    fn attribute_limits(&mut self, record: &str) -> (u32, u32) {
        let mut limit = |suffix: &str| {
            self.whole(&format!("OTEL_{record}_{suffix}"), 0)
                .or_else(|| self.whole(&format!("OTEL_{suffix}"), 0))
        };
        let count = limit("ATTRIBUTE_COUNT_LIMIT").unwrap_or(128);
        (count, limit("ATTRIBUTE_VALUE_LENGTH_LIMIT").unwrap_or(u32::MAX))
    }

    fn exporters(&mut self, name: &str) -> Option<Exporters> {
        let text = self.text(name)?;
        let (mut exporters, mut none, mut known) = (Exporters::default(), false, false);
        for exporter in text.split(',').map(str::trim) {
            match exporter.to_ascii_lowercase().as_str() {
                "otlp" => exporters.otlp = true,
                "console" => exporters.console = true,
                "none" => none = true,
                _ => {
                    self.bad(name, exporter, "one of otlp, console, none");
                    continue;
                }
            }
            known = true;
        }
        if none && (exporters.otlp || exporters.console) {
            self.warn(format!("{name}: 'none' beside another exporter; nothing is exported"));
        }
        known.then_some(if none { Exporters::default() } else { exporters })
    }

    fn rust_log(&mut self) -> Option<LogFilter> {
        const NAME: &str = "RUST_LOG";
        let text = self.text(NAME)?;
        LogFilter::from_rust_log(&text, |part| self.bad(NAME, part, "a level, target or target=level"))
    }

    fn propagators(&mut self) -> Option<Vec<Propagator>> {
        const NAME: &str = "OTEL_PROPAGATORS";
        let text = self.text(NAME)?;
        let (mut propagators, mut known) = (Vec::new(), false);
        for name in text.split(',').map(str::trim) {
            let propagator = match name.to_ascii_lowercase().as_str() {
                "none" => None,
                name => match check::PROPAGATORS.find(name) {
                    Some(propagator) => Some(propagator),
                    None => {
                        self.bad(NAME, name, "one of tracecontext, baggage, none");
                        continue;
                    }
                },
            };
            known = true;
            propagators.extend(propagator.filter(|propagator| !propagators.contains(propagator)));
        }
        known.then_some(propagators)
    }
}
