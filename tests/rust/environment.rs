//! Every environment variable: unset, set, set to something unusable.

use std::collections::HashMap;

use pytracingx::config::{
    Config, ExemplarFilter, HistogramAggregation, LogFilter, Propagator, Protocol, ResourceValue,
    SamplerConfig, SlsCredentials, Temporality, TransportConfig,
};

const CANARY: &str = "c4n4ry";

fn config(variables: &[(&str, &str)]) -> Config {
    let map: HashMap<_, _> = variables.iter().copied().collect();
    Config::from_env(|name| map.get(name).map(|value| (*value).to_owned()))
}

fn metrics(config: &Config) -> &TransportConfig {
    &config.metric_sinks[0].transport
}

fn logs(config: &Config) -> &TransportConfig {
    &config.otlp_log_sinks[0].transport
}

/// What a variable changes, as text.
type Show = fn(&Config) -> String;

fn traces(config: &Config) -> &pytracingx::config::TraceSinkConfig {
    &config.trace_sinks[0]
}

/// Values and what each becomes.
type Values = &'static [(&'static str, Option<&'static str>)];

/// Name, how its effect shows, the default, and per value what it becomes; `None`: as the default, with one warning.
#[rustfmt::skip]
const TABLE: &[(&str, Show, &str, Values)] = &[
    ("OTEL_SDK_DISABLED", |c| c.disabled.to_string(), "false",
        &[("true", Some("true")), ("TRUE", Some("true")), ("false", Some("false")), ("1", None), ("yes", None)]),
    ("OTEL_SERVICE_NAME", service_name, "unknown_service:python", &[("svc", Some("svc")), (" svc ", Some("svc"))]),
    ("OTEL_RESOURCE_ATTRIBUTES", |c| format!("{:?}", c.resource.attributes), "[(\"service.name\", Str(\"unknown_service:python\"))]",
        &[("k=a%2Cb%3D%C3%BC, service.name=s,", Some("[(\"k\", Str(\"a,b=ü\")), (\"service.name\", Str(\"s\"))]")),
          ("k=v,broken", None), ("=v", None), ("k=%ff", None)]),
    ("OTEL_PROPAGATORS", |c| format!("{:?}", c.propagators), "[TraceContext, Baggage]",
        &[("tracecontext", Some("[TraceContext]")), ("baggage, TraceContext,baggage", Some("[Baggage, TraceContext]")),
          ("none", Some("[]")), ("b3", None)]),
    ("OTEL_TRACES_SAMPLER", |c| format!("{:?}", traces(c).sampler), "ParentBased(true)",
        &[("always_on", Some("AlwaysOn")), ("always_off", Some("AlwaysOff")), ("traceidratio", Some("TraceIdRatio(1.0)")),
          ("parentbased_always_on", Some("ParentBased(true)")), ("parentbased_always_off", Some("ParentBased(false)")),
          ("parentbased_traceidratio", Some("ParentBasedTraceIdRatio(1.0)")), ("xray", None)]),
    ("OTEL_BSP_SCHEDULE_DELAY", |c| traces(c).batch.schedule_delay_ms.to_string(), "1000",
        &[("5000", Some("5000")), ("0", Some("0")), ("-1", None), ("5s", None), ("1e3", None)]),
    ("OTEL_BSP_EXPORT_TIMEOUT", |c| traces(c).transport.max_export_timeout_ms.to_string(), "300000",
        &[("30000", Some("30000")), ("0", None)]),
    ("OTEL_BSP_MAX_QUEUE_SIZE", |c| format!("{:?}", traces(c).batch.max_queue), "None",
        &[("2048", Some("Some(2048)")), ("0", None)]),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", |c| traces(c).batch.max_export.to_string(), "512",
        &[("100", Some("100")), ("0", None)]),
    ("OTEL_BLRP_SCHEDULE_DELAY", |c| c.otlp_log_sinks[0].batch.schedule_delay_ms.to_string(), "1000", &[("7", Some("7")), ("x", None)]),
    ("OTEL_BLRP_EXPORT_TIMEOUT", |c| c.otlp_log_sinks[0].transport.max_export_timeout_ms.to_string(), "300000", &[("7", Some("7"))]),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", |c| format!("{:?}", c.otlp_log_sinks[0].batch.max_queue), "None", &[("700", Some("Some(700)"))]),
    ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", |c| c.otlp_log_sinks[0].batch.max_export.to_string(), "512", &[("7", Some("7"))]),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", |c| format!("{} {}", traces(c).limits.value_length, c.otlp_log_sinks[0].limits.value_length),
        "4294967295 4294967295", &[("9", Some("9 9")), ("0", Some("0 0")), ("-1", None)]),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", |c| format!("{} {}", traces(c).limits.attributes, c.otlp_log_sinks[0].limits.attributes),
        "128 128", &[("9", Some("9 9")), ("x", None)]),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", |c| traces(c).limits.value_length.to_string(), "4294967295", &[("9", Some("9")), ("x", None)]),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", |c| traces(c).limits.attributes.to_string(), "128", &[("9", Some("9"))]),
    ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", |c| c.otlp_log_sinks[0].limits.value_length.to_string(), "4294967295", &[("9", Some("9"))]),
    ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", |c| c.otlp_log_sinks[0].limits.attributes.to_string(), "128", &[("9", Some("9"))]),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", |c| traces(c).limits.events.to_string(), "128", &[("9", Some("9")), ("x", None)]),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", |c| traces(c).limits.links.to_string(), "128", &[("9", Some("9")), ("x", None)]),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", |c| traces(c).limits.attributes_per_event.to_string(), "128", &[("9", Some("9"))]),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", |c| traces(c).limits.attributes_per_link.to_string(), "128", &[("9", Some("9"))]),
    ("OTEL_TRACES_EXPORTER", |c| format!("{} {}", c.trace_sinks.len(), c.console_spans), "1 false",
        &[("otlp", Some("1 false")), ("console", Some("0 true")), ("none", Some("0 false")), ("OTLP, console", Some("1 true")), ("zipkin", None)]),
    ("OTEL_METRICS_EXPORTER", |c| format!("{} {}", c.metric_sinks.len(), c.console_metrics), "1 false",
        &[("otlp", Some("1 false")), ("console", Some("0 true")), ("none", Some("0 false")), ("prometheus", None)]),
    ("OTEL_LOGS_EXPORTER", |c| format!("{} {}", c.otlp_log_sinks.len(), c.console_logs), "1 true",
        &[("otlp", Some("1 false")), ("console", Some("0 true")), ("none", Some("0 false")), ("x", None)]),
    ("OTEL_METRIC_EXPORT_INTERVAL", |c| c.metric_interval_ms.to_string(), "60000", &[("5000", Some("5000")), ("0", None)]),
    ("OTEL_METRIC_EXPORT_INTERVAL", |c| c.metric_sinks[0].export_interval_ms.to_string(), "60000", &[("5000", Some("5000")), ("0", None)]),
    ("OTEL_METRIC_EXPORT_TIMEOUT", |c| c.metric_sinks[0].transport.max_export_timeout_ms.to_string(), "30000", &[("5000", Some("5000"))]),
    ("OTEL_METRICS_EXEMPLAR_FILTER", |c| format!("{:?}", c.exemplar_filter), "TraceBased",
        &[("always_on", Some("AlwaysOn")), ("always_off", Some("AlwaysOff")), ("trace_based", Some("TraceBased")), ("x", None)]),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", |c| format!("{:?}", c.metric_sinks[0].temporality), "Cumulative",
        &[("Delta", Some("Delta")), ("lowmemory", Some("LowMemory")), ("cumulative", Some("Cumulative")), ("x", None)]),
    ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", |c| format!("{:?}", c.default_histogram), "Explicit",
        &[("base2_exponential_bucket_histogram", Some("Exponential")), ("explicit_bucket_histogram", Some("Explicit")), ("x", None)]),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", urls, "http://localhost:4318/v1/traces http://localhost:4318/v1/metrics http://localhost:4318/v1/logs",
        &[("https://c:1", Some("https://c:1/v1/traces https://c:1/v1/metrics https://c:1/v1/logs")),
          ("http://c:1/otlp/?a=b", Some("http://c:1/otlp/v1/traces?a=b http://c:1/otlp/v1/metrics?a=b http://c:1/otlp/v1/logs?a=b")),
          ("ftp://c/c4n4ry", None), ("http://u:c4n4ry@c", None)]),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", |c| traces(c).transport.endpoint.expose(), "http://localhost:4318/v1/traces",
        &[("http://c:1", Some("http://c:1/?")), ("http://c:1/", Some("http://c:1/?")), ("http://c:1/x", Some("http://c:1/x")), ("http://c:x/c4n4ry", None)]),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", |c| c.metric_sinks[0].transport.endpoint.expose(), "http://localhost:4318/v1/metrics",
        &[("http://c:1/x", Some("http://c:1/x"))]),
    ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", |c| c.otlp_log_sinks[0].transport.endpoint.expose(), "http://localhost:4318/v1/logs",
        &[("http://c:1/x", Some("http://c:1/x"))]),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", |c| format!("{:?} {}", traces(c).transport.protocol, c.metric_sinks[0].transport.endpoint.expose()),
        "HttpProtobuf http://localhost:4318/v1/metrics",
        &[("grpc", Some("Grpc http://localhost:4317/?")), ("http/protobuf", Some("HttpProtobuf http://localhost:4318/v1/metrics")), ("http/json", None)]),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", |c| format!("{:?} {:?}", traces(c).transport.protocol, c.metric_sinks[0].transport.protocol),
        "HttpProtobuf HttpProtobuf", &[("grpc", Some("Grpc HttpProtobuf"))]),
    ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", |c| format!("{:?} {:?}", metrics(c).protocol, logs(c).protocol),
        "HttpProtobuf HttpProtobuf", &[("grpc", Some("Grpc HttpProtobuf")), ("x", None)]),
    ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", |c| format!("{:?} {:?}", metrics(c).protocol, logs(c).protocol),
        "HttpProtobuf HttpProtobuf", &[("grpc", Some("HttpProtobuf Grpc")), ("x", None)]),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", |c| format!("{} {}", metrics(c).headers.len(), logs(c).headers.len()),
        "0 0", &[("k=v", Some("1 0")), ("c4n4ry", None)]),
    ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", |c| format!("{} {}", metrics(c).headers.len(), logs(c).headers.len()),
        "0 0", &[("k=v", Some("0 1")), ("c4n4ry", None)]),
    ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", |c| format!("{:?} {:?}", metrics(c).compression, logs(c).compression),
        "None None", &[("gzip", Some("Gzip None")), ("br", None)]),
    ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", |c| format!("{:?} {:?}", metrics(c).compression, logs(c).compression),
        "None None", &[("gzip", Some("None Gzip")), ("br", None)]),
    ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", |c| format!("{} {}", metrics(c).timeout_ms, logs(c).timeout_ms),
        "10000 10000", &[("15000", Some("15000 10000")), ("x", None)]),
    ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", |c| format!("{} {}", metrics(c).timeout_ms, logs(c).timeout_ms),
        "10000 10000", &[("15000", Some("10000 15000")), ("x", None)]),
    ("RUST_LOG", |c| c.log_filter.as_ref().map_or("none".to_owned(), ToString::to_string), "none",
        &[("debug", Some("debug")), ("Warn", Some("warn")), ("warn, noisy.lib=off,", Some("warn,noisy.lib=off")),
          ("lib", Some("lib=trace")), ("lib=", Some("lib=trace")), ("2,lib=5,x=0", Some("warn,lib=trace,x=off")),
          ("pytracingx::log=debug", Some("pytracingx::log=debug")), ("pytracingx=debug", Some("pytracingx::log=debug")),
          ("lib=loud", None), ("=info", None), ("lib[span]=info", None), ("[{field=1}]", None)]),
    ("OTEL_EXPORTER_OTLP_HEADERS", |c| format!("{:?}", headers(c)), "[]",
        &[("api-key=a%20b, X-B=c=d", Some(r#"[("api-key", "a b"), ("X-B", "c=d")]"#)),
          ("c4n4ry", None), ("authorization: c4n4ry=", None), ("k=a%0d%0ac4n4ry", None)]),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", |c| format!("{:?}", headers(c)), "[]", &[("k=v", Some(r#"[("k", "v")]"#)), ("c4n4ry", None)]),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", |c| format!("{:?}", traces(c).transport.compression), "None",
        &[("gzip", Some("Gzip")), ("none", Some("None")), ("zstd", Some("Zstd")), ("br", None)]),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", |c| traces(c).transport.timeout_ms.to_string(), "10000",
        &[("601", Some("601")), ("15000", Some("15000")), ("0", None), ("ten", None)]),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", |c| format!("{} {}", traces(c).transport.timeout_ms, c.metric_sinks[0].transport.timeout_ms),
        "10000 10000", &[("15000", Some("15000 10000"))]),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", |c| format!("{:?}", traces(c).transport.tls.ca_file), "None", &[("/nonexistent/ca.pem", None)]),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", |c| format!("{:?}", traces(c).transport.tls.client_key_file), "None", &[("/nonexistent/key.pem", None)]),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", |c| format!("{:?}", traces(c).transport.tls.client_cert_file), "None", &[("/nonexistent/c.pem", None)]),
];

fn service_name(config: &Config) -> String {
    match config.resource.get("service.name") {
        Some(ResourceValue::Str(name)) => name.clone(),
        other => format!("{other:?}"),
    }
}

fn urls(config: &Config) -> String {
    let sinks = [
        &config.trace_sinks[0].transport,
        &config.metric_sinks[0].transport,
        &config.otlp_log_sinks[0].transport,
    ];
    sinks.map(|transport| transport.endpoint.expose()).join(" ")
}

fn headers(config: &Config) -> Vec<(&str, &str)> {
    let headers = &traces(config).transport.headers;
    headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

#[test]
fn every_variable() {
    let unset = config(&[]);
    assert_eq!(unset.warnings, [""; 0]);
    for (name, show, default, values) in TABLE {
        assert_eq!(show(&unset), *default, "{name} unset");
        assert_eq!(show(&config(&[(name, "")])), *default, "{name} empty");
        assert_eq!(show(&config(&[(name, "  ")])), *default, "{name} blank");
        for (value, expected) in *values {
            let config = config(&[(name, value)]);
            assert_eq!(show(&config), expected.unwrap_or(default), "{name}={value:?}");
            assert_eq!(
                config.warnings.len(),
                usize::from(expected.is_none()),
                "{name}={value:?}: {:?}",
                config.warnings
            );
            for line in &config.warnings {
                assert!(line.starts_with(name), "{line}");
                assert!(!line.contains(CANARY), "{line}");
                assert!(!line.contains(['\r', '\n']), "{line:?}");
            }
        }
    }
}

#[test]
fn a_signals_own_variable_wins_and_a_bad_one_falls_back() {
    let both = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:1/p"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://own:2/q"),
    ];
    assert_eq!(urls(&config(&both)), "http://own:2/q http://base:1/p/v1/metrics http://base:1/p/v1/logs");
    let bad = [both[0], ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nonsense:port")];
    let config = config(&bad);
    assert_eq!(traces(&config).transport.endpoint.expose(), "http://base:1/p/v1/traces");
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn insecure_matters_only_without_a_scheme() {
    let tls = |endpoint, insecure| {
        let config = config(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_INSECURE", insecure),
        ]);
        assert_eq!(traces(&config).transport.protocol, Protocol::Grpc);
        traces(&config).transport.endpoint.tls
    };
    assert!(tls("far:4317", "") && tls("far:4317", "false") && !tls("far:4317", "true"));
    assert!(tls("https://far:4317", "true") && !tls("http://far:4317", "false"));
    assert!(!tls("localhost:4317", "") && tls("localhost:4317", "false"));
    let own = config(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "far:4317"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "false"),
    ]);
    assert!(!traces(&own).transport.endpoint.tls && metrics(&own).endpoint.tls && !logs(&own).endpoint.tls);
}

#[test]
fn a_timeout_of_up_to_600_is_read_as_seconds() {
    for (value, expected_ms) in [("1", 1000), ("10", 10_000), ("600", 600_000)] {
        let config = config(&[("OTEL_EXPORTER_OTLP_TIMEOUT", value)]);
        assert_eq!(traces(&config).transport.timeout_ms, expected_ms);
        let expected = format!(
            "OTEL_EXPORTER_OTLP_TIMEOUT={value} is read as seconds; the unit is milliseconds, write {value}000"
        );
        assert_eq!(config.warnings, [expected], "told once for three signals");
    }
}

#[test]
fn sampler_arguments_belong_to_ratio_samplers() {
    let sampler = |name, arg| {
        let config = config(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
        (traces(&config).sampler, config.warnings.len())
    };
    assert_eq!(sampler("traceidratio", "0.25"), (SamplerConfig::TraceIdRatio(0.25), 0));
    assert_eq!(sampler("parentbased_traceidratio", "0"), (SamplerConfig::ParentBasedTraceIdRatio(0.0), 0));
    assert_eq!(sampler("always_on", "nonsense"), (SamplerConfig::AlwaysOn, 0));
    for bad in ["1.5", "-0.1", "nan", "half"] {
        assert_eq!(sampler("traceidratio", bad), (SamplerConfig::TraceIdRatio(1.0), 1), "{bad}");
    }
}

#[test]
fn own_limits_win_over_general_ones() {
    let config = config(&[
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "5"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "6"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "7"),
        ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8"),
    ]);
    let (spans, logs) = (&traces(&config).limits, &config.otlp_log_sinks[0].limits);
    assert_eq!((spans.attributes, spans.value_length), (6, 7));
    assert_eq!((logs.attributes, logs.value_length), (5, 8));
}

#[test]
fn what_rust_log_cannot_mean_here_leaves_the_rest_in_force() {
    let config = config(&[("RUST_LOG", "info,lib[span{a=1}]=debug,lib=warn,*=off,a;b=off")]);
    assert_eq!(config.log_filter.unwrap().to_string(), "info,lib=warn");
    assert_eq!(
        config.warnings,
        ["lib[span{a=1}]=debug", "*=off", "a;b=off"]
            .map(|part| format!("RUST_LOG: '{part}' is not a level, target or target=level; ignored"))
    );
}

#[test]
fn a_configured_filter_wins_over_rust_log() {
    let mut config = Config::new("s");
    config.log_filter = LogFilter::parse("log_filter", "error").ok();
    config.merge_env(|name| (name == "RUST_LOG").then(|| "lib=nonsense".to_owned()));
    assert_eq!((config.log_filter.unwrap().to_string().as_str(), config.warnings.len()), ("error", 0));
}

#[test]
fn a_batch_is_never_larger_than_its_queue() {
    let config = config(&[("OTEL_BSP_MAX_QUEUE_SIZE", "10")]);
    assert_eq!(traces(&config).batch.max_export, 10);
}

#[test]
fn service_name_wins_over_the_resource_attribute() {
    let both = config(&[("OTEL_SERVICE_NAME", "a"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=b,k=v")]);
    assert_eq!(service_name(&both), "a");
    assert_eq!(both.resource.get("k"), Some(&ResourceValue::Str("v".to_owned())));
}

#[test]
fn none_beside_another_exporter_is_none() {
    let config = config(&[("OTEL_TRACES_EXPORTER", "otlp,none")]);
    assert_eq!((config.trace_sinks.len(), config.warnings.len()), (0, 1));
}

#[test]
fn certificates_are_used_when_they_are_some() {
    let dir = std::env::temp_dir().join(format!("pytracingx-environment-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let signed = || rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let (own, other) = (signed(), signed());
    std::fs::write(&cert, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let other_key = dir.join("other.pem");
    std::fs::write(&other_key, other.signing_key.serialize_pem()).unwrap();
    let [cert_text, key_text, other_text] = [&cert, &key, &other_key].map(|path| path.to_str().unwrap());
    let all = config(&[
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", cert_text),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", cert_text),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key_text),
        ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", key_text),
    ]);
    let tls = &traces(&all).transport.tls;
    assert_eq!(tls.ca_file.as_ref(), Some(&cert));
    assert_eq!(tls.client_cert_file.as_ref(), Some(&cert));
    assert_eq!(tls.client_key_file.as_ref(), Some(&key));
    assert_eq!(all.warnings.len(), 1, "a key is no certificate: {:?}", all.warnings);
    let half = config(&[("OTEL_EXPORTER_OTLP_CLIENT_KEY", key_text)]);
    assert_eq!((&traces(&half).transport.tls.client_key_file, half.warnings.len()), (&None, 1));
    let mixed = config(&[
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", cert_text),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key_text),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", other_text),
    ]);
    assert_eq!(metrics(&mixed).tls, pytracingx::config::TlsFiles::default());
    assert_eq!(logs(&mixed).tls.client_key_file.as_ref(), Some(&key));
    assert!(mixed.warnings[0].contains("other.pem' does not belong to"), "{:?}", mixed.warnings);
    assert_eq!(mixed.warnings.len(), 1);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_sls_sink_needs_all_its_variables() {
    let all = [
        ("PYTRACINGX_SLS_ENDPOINT", "cn-hangzhou.log.aliyuncs.com"),
        ("PYTRACINGX_SLS_PROJECT", "p"),
        ("PYTRACINGX_SLS_LOGSTORE", "l"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "c4n4ry-id"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "c4n4ry-secret"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", "c4n4ry-token"),
    ];
    let whole = config(&all);
    let sink = &whole.sls_log_sinks[0];
    assert_eq!(sink.endpoint.to_string(), "https://cn-hangzhou.log.aliyuncs.com:443/…");
    let SlsCredentials::Static { ak_id, ak_secret, security_token: Some(token) } = &sink.credentials else {
        panic!("{:?}", sink.credentials)
    };
    assert_eq!(
        [ak_id.expose(), ak_secret.expose(), token.expose()],
        ["c4n4ry-id", "c4n4ry-secret", "c4n4ry-token"]
    );
    assert_eq!(sink.region, None, "signature V1");
    assert!(!format!("{whole:?}").contains(CANARY));
    let with_region = config(&[&all[..], &[("PYTRACINGX_SLS_REGION", "cn-hangzhou")]].concat());
    assert_eq!(with_region.sls_log_sinks[0].region.as_deref(), Some("cn-hangzhou"));
    for missing in 0..5 {
        let rest: Vec<_> = all.iter().enumerate().filter(|(i, _)| *i != missing).map(|(_, v)| *v).collect();
        let config = config(&rest);
        assert_eq!((config.sls_log_sinks.len(), config.warnings.len()), (0, 1));
        let instead = if missing < 3 { "; ignored" } else { " (instead of a key: ALIBABA_CLOUD_ROLE_ARN, " };
        let told = format!("the SLS sink lacks {}{instead}", all[missing].0);
        assert!(config.warnings[0].starts_with(&told), "{:?}", config.warnings);
    }
    assert_eq!(config(&all[3..]).warnings, [""; 0], "keys alone are somebody else's");

    // A role instead of a key; a key goes first.
    let oidc = ["ROLE_ARN", "OIDC_PROVIDER_ARN", "OIDC_TOKEN_FILE"].map(|it| format!("ALIBABA_CLOUD_{it}"));
    let oidc = oidc.each_ref().map(|name| (name.as_str(), "x"));
    let ecs = [("ALIBABA_CLOUD_ECS_METADATA", "my-role")];
    for role in [&oidc[..], &ecs] {
        let provided = config(&[&all[..3], role].concat());
        assert_eq!(provided.sls_log_sinks[0].credentials, SlsCredentials::Provider);
        assert_eq!(provided.warnings, [""; 0]);
        let fixed = config(&[&all[..], role].concat());
        assert_eq!(fixed.sls_log_sinks[0].credentials, sink.credentials);
    }
    let half = config(&[&all[..3], &oidc[..2]].concat());
    assert_eq!((half.sls_log_sinks.len(), half.warnings.len()), (0, 1));
    let told = "the SLS sink lacks ALIBABA_CLOUD_OIDC_TOKEN_FILE (instead of this role: ALIBABA_CLOUD_ACCESS_KEY_ID, ";
    assert!(half.warnings[0].starts_with(told), "{:?}", half.warnings);
    let nothing = config(&all[1..2]);
    let told = "the SLS sink lacks PYTRACINGX_SLS_ENDPOINT, PYTRACINGX_SLS_LOGSTORE, ALIBABA_CLOUD_ACCESS_KEY_ID, \
                ALIBABA_CLOUD_ACCESS_KEY_SECRET (instead of a key: ";
    assert!(nothing.warnings[0].starts_with(told), "{:?}", nothing.warnings);
}

#[test]
fn an_explicit_config_merges_little_and_wins() {
    let variables = HashMap::from([
        ("OTEL_SERVICE_NAME", "env"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=env,b=env"),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_PROPAGATORS", "baggage"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
    ]);
    let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let mut config = Config::new("argument");
    config.resource.add_missing("a", ResourceValue::Str("argument".to_owned()));
    config.merge_env(variable);
    assert_eq!(service_name(&config), "argument");
    assert_eq!(config.resource.get("a"), Some(&ResourceValue::Str("argument".to_owned())));
    assert_eq!(config.resource.get("b"), Some(&ResourceValue::Str("env".to_owned())));
    assert!(config.disabled && config.trace_sinks.is_empty());
    assert_eq!(config.propagators, [Propagator::Baggage]);
    let once = config.clone();
    config.merge_env(variable);
    assert_eq!(config, once);
}

#[test]
fn defaults_without_an_environment() {
    let config = config(&[]);
    assert_eq!(config.trace_sinks.len() + config.metric_sinks.len() + config.otlp_log_sinks.len(), 3);
    assert!(config.sls_log_sinks.is_empty() && !config.disabled);
    assert_eq!(config.metric_sinks[0].temporality, Temporality::Cumulative);
    assert_eq!(config.default_histogram, HistogramAggregation::Explicit);
    assert_eq!(config.exemplar_filter, ExemplarFilter::TraceBased);
    assert_eq!(Config::default(), Config::new("unknown_service:python"));
}
