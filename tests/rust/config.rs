//! Endpoints, samplers, headers, certificates and the resource: what is accepted, what it becomes, what is refused and
//! in which words.

use pytracingx::config::check;
use pytracingx::config::{
    Config, Endpoint, Level, LogFilter, PathRule, Protocol, Resource, ResourceValue, SamplerConfig, Secret,
    Signal, SlsCredentials, SlsSinkConfig, TransportConfig,
};
use pytracingx::resource;

const CANARY: &str = "c4n4ry";
const TRACES: PathRule = PathRule::Signal(Signal::Traces);

fn url(text: &str, protocol: Option<Protocol>, insecure: Option<bool>) -> String {
    let (endpoint, protocol) = Endpoint::parse("endpoint", text, protocol, insecure, TRACES).unwrap();
    let Endpoint { tls, host, port, path } = &endpoint;
    let scheme = if *tls { "https" } else { "http" };
    format!("{protocol:?} {scheme} {host} {port} {path}")
}

#[test]
fn endpoints_become() {
    use Protocol::{Grpc, HttpProtobuf as Http};
    let table: &[(&str, Option<Protocol>, Option<bool>, &str)] = &[
        // The protocol follows from the path or port 4318 unless it is said.
        ("https://collector:4317", None, None, "Grpc https collector 4317 /"),
        ("http://a", None, None, "Grpc http a 80 /"),
        ("http://a/", None, None, "Grpc http a 80 /"),
        ("https://a", None, None, "Grpc https a 443 /"),
        ("http://a:4318", None, None, "HttpProtobuf http a 4318 /v1/traces"),
        ("http://a:4318/", None, None, "HttpProtobuf http a 4318 /v1/traces"),
        ("http://a/x/y?k=v", None, None, "HttpProtobuf http a 80 /x/y?k=v"),
        ("http://a?k=v", None, None, "HttpProtobuf http a 80 /?k=v"),
        ("http://a:4317", Some(Http), None, "HttpProtobuf http a 4317 /v1/traces"),
        ("http://a/?", Some(Http), None, "HttpProtobuf http a 80 /"),
        ("http://a:4318/v1/traces", Some(Grpc), None, "Grpc http a 4318 /"),
        // Without a scheme: TLS unless loopback or insecure; the protocol's port.
        ("x", None, None, "Grpc https x 4317 /"),
        ("x:4318", None, None, "HttpProtobuf https x 4318 /v1/traces"),
        ("x", Some(Http), Some(true), "HttpProtobuf http x 4318 /v1/traces"),
        ("localhost", None, None, "Grpc http localhost 4317 /"),
        ("api.localhost:9", None, None, "Grpc http api.localhost 9 /"),
        ("127.9.9.9", None, None, "Grpc http 127.9.9.9 4317 /"),
        ("[::1]:4317", None, None, "Grpc http ::1 4317 /"),
        ("http://[FE80::1%25eth0.1]:4317", None, None, "Grpc http fe80::1%eth0.1 4317 /"),
        ("[fe80::1%eth0]:4317", None, None, "Grpc https fe80::1%eth0 4317 /"),
        ("[::1%1]:4317", None, None, "Grpc http ::1%1 4317 /"),
        ("localhost", None, Some(false), "Grpc https localhost 4317 /"),
        ("10.0.0.1:1", None, Some(true), "Grpc http 10.0.0.1 1 /"),
        // With one it decides.
        ("https://a", None, Some(true), "Grpc https a 443 /"),
        ("HTTP://Host_1.Example.:65535", None, None, "Grpc http host_1.example. 65535 /"),
        ("https://[2001:DB8::1]/p", None, None, "HttpProtobuf https 2001:db8::1 443 /p"),
    ];
    for (text, protocol, insecure, expected) in table {
        assert_eq!(url(text, *protocol, *insecure), *expected, "{text}");
    }
}

#[test]
fn endpoints_are_refused_in_words_that_hold_no_secret() {
    let table = [
        ("", "endpoint must not be empty"),
        ("ftp://a", "must begin with http:// or https://"),
        ("http:/a/c4n4ry", "with both slashes"),
        ("HTTPS:a", "with both slashes"),
        ("http://", "must name a host"),
        ("http:///v1/traces", "must name a host"),
        ("http://:4318", "must name a host"),
        ("http://a:0", "port from 1 to 65535"),
        ("http://a:65536", "port from 1 to 65535"),
        ("http://a:+80", "port from 1 to 65535"),
        ("http://a:", "port from 1 to 65535"),
        ("http://a:x/c4n4ry", "port from 1 to 65535"),
        ("::1", "IPv6 address in brackets"),
        ("[::1]x", "[IPv6]:port, nothing else"),
        ("[fe80::1%25]:1", "IPv6 address in its brackets"),
        ("[fe80::1%et h0]:1", "no space"),
        ("[fe80::1%et/h0]:1", "IPv6"),
        ("[10.0.0.1%eth0]", "IPv6 address in its brackets"),
        ("http://[::1", "IPv6 address in brackets"),
        ("http://user:c4n4ry@a:4318", "must not hold a user or password"),
        ("http://c4n4ry@a", "must not hold a user or password"),
        ("https://u:c4n4ry/more@a", "port from 1 to 65535"),
        ("http://a\r\nx-evil: c4n4ry", "must not hold '\\r'"),
        ("http://a/c4n4ry\0", "must not hold '\\0'"),
        ("http://a b", "must not hold ' '"),
        ("http://bücher.example/c4n4ry", "'xn--' form"),
        ("http://a/c4n4ry/ü", "percent-encoded path"),
        ("http://a/x#c4n4ry", "must not hold a fragment"),
        ("http://a..b", "letters, digits, '-' and '.'"),
        ("http://a$b", "letters, digits, '-' and '.'"),
    ];
    for (text, expected) in table {
        let error = Endpoint::parse("endpoint", text, None, None, TRACES).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("endpoint"), "{error}");
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains(CANARY), "{error}");
        assert!(!error.contains(['\r', '\n', '\0']), "{error:?}");
    }
}

#[test]
fn an_endpoint_prints_no_path_and_reads_back() {
    for text in [
        "https://[::1]:9/c4n4ry?t=c4n4ry",
        "https://[fe80::1%25eth0]:9/c4n4ry",
        "http://h:4318/?",
        "http://h:4318",
        "h",
    ] {
        for rule in [TRACES, PathRule::AsIs, PathRule::Base(Signal::Logs)] {
            let (endpoint, protocol) =
                Endpoint::parse("endpoint", text, Some(Protocol::HttpProtobuf), None, rule).unwrap();
            assert!(!format!("{endpoint} {endpoint:?}").contains(CANARY));
            let again = Endpoint::parse("endpoint", &endpoint.expose(), Some(protocol), None, TRACES);
            assert_eq!(again, Ok((endpoint, protocol)), "{text}");
        }
    }
    let (endpoint, _) = Endpoint::parse("endpoint", "https://[::1]:9/x", None, None, TRACES).unwrap();
    assert_eq!(endpoint.to_string(), "https://[::1]:9/…");
}

#[test]
fn samplers_have_our_names_and_opentelemetrys() {
    use SamplerConfig::{AlwaysOff, AlwaysOn, ParentBased, ParentBasedTraceIdRatio, TraceIdRatio};
    let table = [
        (None, None, ParentBasedTraceIdRatio(1.0)),
        (None, Some(0.5), ParentBasedTraceIdRatio(0.5)),
        (Some("always_on"), Some(0.5), AlwaysOn),
        (Some("always_off"), None, AlwaysOff),
        (Some("parent_based_traceid_ratio"), Some(0.25), ParentBasedTraceIdRatio(0.25)),
        (Some("traceidratio"), Some(0.25), TraceIdRatio(0.25)),
        (Some("parentbased_always_on"), None, ParentBased(true)),
        (Some("parentbased_always_off"), None, ParentBased(false)),
        (Some("ParentBased_TraceIdRatio"), Some(0.0), ParentBasedTraceIdRatio(0.0)),
        (Some("traceidratio"), Some(7.0), TraceIdRatio(1.0)),
        (Some("traceidratio"), Some(-0.1), TraceIdRatio(0.0)),
    ];
    for (name, arg, expected) in table {
        let sampler = check::sampler(name, arg).unwrap();
        assert_eq!(sampler, expected);
        let (name, arg) = check::sampler_name(sampler);
        assert_eq!(check::sampler(Some(name), arg), Ok(sampler), "the name builds it again");
    }
    let unknown = check::sampler(Some("custom"), None).unwrap_err().to_string();
    assert!(unknown.starts_with(
        "unknown sampler 'custom', expected 'always_on' | 'always_off' | 'parent_based_traceid_ratio'"
    ));
    assert!(check::sampler(None, Some(f64::NAN)).is_err());
}

#[test]
fn choices_name_the_argument_the_value_and_the_rest() {
    let text = check::PROTOCOLS.parse("protocol", "thrift").unwrap_err().to_string();
    assert_eq!(text, "unknown protocol 'thrift', expected 'grpc' or 'http/protobuf'");
    assert_eq!(check::PROTOCOLS.find("HTTP"), Some(Protocol::HttpProtobuf));
    let long = check::PROTOCOLS.parse("protocol", &format!("\n{}", "x".repeat(200))).unwrap_err().to_string();
    assert!(long.contains("'\\nxxx") && long.contains("…'") && long.len() < 200, "{long}");
}

#[test]
fn numbers_have_a_least_value_and_saturate() {
    assert_eq!(check::whole::<u32>("n", i128::MAX, 0), Ok(u32::MAX));
    assert_eq!(check::whole::<usize>("n", 1, 1), Ok(1));
    assert_eq!(check::whole::<u64>("n", 0, 1).unwrap_err().to_string(), "n must be at least 1, got 0");
    assert_eq!(check::milliseconds("n", i128::MAX, 0), Ok(365 * 86_400_000));
    assert!(check::ratio("r", 1.5).is_err() && check::ratio("r", f64::NAN).is_err());
}

#[test]
fn a_header_error_names_the_key_never_the_value() {
    let pair = |name: &str, value: &str| check::headers([(name.to_owned(), value.to_owned())]);
    assert_eq!(pair("X-Api-Key", "ü b"), Ok(vec![("X-Api-Key".to_owned(), Secret::new("ü b"))]));
    for (name, value) in [
        ("api-key", "c4n4ry\r\nx: y"),
        ("api-key", "c4n4ry\n"),
        ("api-key", "c4n4ry\0"),
        ("bad name", CANARY),
        ("bad\r\nname", CANARY),
        ("", CANARY),
        ("ü", CANARY),
        ("Content-Length", CANARY),
    ] {
        let text = pair(name, value).unwrap_err().to_string();
        assert!(text.starts_with("headers: ") && !text.contains(CANARY) && !text.contains('\n'), "{text:?}");
        assert!(text.contains(&check::shown(name)), "{text}");
    }
}

#[test]
fn secrets_print_as_stars() {
    let (endpoint, protocol) = Endpoint::parse("endpoint", "http://h/c4n4ry", None, None, TRACES).unwrap();
    let mut transport = TransportConfig::new(endpoint.clone(), protocol);
    transport.headers = check::headers([("k".to_owned(), CANARY.to_owned())]).unwrap();
    let credentials = SlsCredentials::Static {
        ak_id: Secret::new(CANARY),
        ak_secret: Secret::new(CANARY),
        security_token: Some(Secret::new(CANARY)),
    };
    let sls = SlsSinkConfig::new(["e", "p", "l"], "h.example", "p".into(), "l".into(), credentials).unwrap();
    assert_eq!(sls.endpoint.to_string(), "https://h.example:443/…");
    let debug = format!("{transport:?} {sls:?}");
    assert!(debug.contains("***") && debug.contains("http://h:80/…") && !debug.contains(CANARY), "{debug}");
}

#[test]
fn sls_names_become_host_and_path_and_must_fit_there() {
    let sink = |endpoint: &str, project: &str, logstore: &str| {
        SlsSinkConfig::new(
            ["endpoint", "project", "logstore"],
            endpoint,
            project.to_owned(),
            logstore.to_owned(),
            SlsCredentials::Provider,
        )
        .map_err(|error| error.to_string())
    };
    assert!(sink("http://127.0.0.1:8080", "p-1", "l_1").is_ok());
    assert_eq!(sink("e", "", "l").unwrap_err(), "project must not be empty");
    assert!(sink("e", "p", "l/../x").unwrap_err().starts_with("logstore must be letters"));
    assert!(sink("e", "p.evil.example", "l").unwrap_err().starts_with("project must be letters"));
    assert!(sink("https://e/c4n4ry", "p", "l").unwrap_err().ends_with("must not have a path"));
}

#[test]
fn log_filters_parse_and_print() {
    let filter = LogFilter::parse("log_filter", " info, noisy.lib = WARNING,a=b=off").unwrap();
    assert_eq!(
        filter.directives,
        [(String::new(), Level::Info), ("noisy.lib".to_owned(), Level::Warn), ("a=b".to_owned(), Level::Off)]
    );
    assert_eq!(filter.to_string(), "info,noisy.lib=warn,a=b=off");
    for text in ["", "info,", "loud", "lib=loud", "=info", "lib=", "*=info", "info;lib=warn"] {
        let error = LogFilter::parse("log_filter", text).unwrap_err().to_string();
        assert!(error.starts_with("log_filter: '") && error.contains("'trace' | 'debug'"), "{error}");
    }
}

#[test]
fn credentials_in_the_clear_are_warned_about_once() {
    let sink = |text: &str| {
        let mut config = Config::from_env(|name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(text.to_owned()),
            "OTEL_EXPORTER_OTLP_HEADERS" => Some(format!("k={CANARY}")),
            _ => None,
        });
        config.warn_of_plain_text();
        config.warnings
    };
    assert_eq!(sink("http://far:4318"), ["headers for http://far:4318/… are sent without encryption"]);
    assert_eq!(sink("https://far:4318"), [""; 0]);
    assert_eq!(sink("http://localhost:4318"), [""; 0]);
}

// ---------------------------------------------------------------------------------------------- resource

#[test]
fn what_was_said_wins_over_what_is_detected() {
    let said = Resource {
        attributes: vec![
            ("service.name".to_owned(), ResourceValue::Str("svc".to_owned())),
            ("process.pid".to_owned(), ResourceValue::Int(7)),
        ],
    };
    let variable = |name: &str| match name {
        "RANK" => Some("3".to_owned()),
        "WORLD_SIZE" => Some("eight".to_owned()),
        _ => None,
    };
    let resource = resource::complete(&said, variable);
    let text = |key: &str| match resource.get(key) {
        Some(ResourceValue::Str(text)) => text.clone(),
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!(text("service.name"), "svc");
    assert_eq!(resource.get("process.pid"), Some(&ResourceValue::Int(7)));
    assert_eq!(text("telemetry.sdk.name"), "pytracingx");
    assert_eq!(text("telemetry.sdk.language"), "python");
    assert_eq!(text("telemetry.sdk.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(Some(text("host.name")), resource::host_name());
    assert_eq!(resource.get("process.rank"), Some(&ResourceValue::Int(3)));
    assert_eq!(resource.get("process.world_size"), None);

    let mut keys: Vec<_> = resource.attributes.iter().map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), resource.attributes.len(), "keys are unique");
}

#[test]
fn every_detection_has_its_own_instance_id() {
    let id = || match resource::complete(&Resource::default(), |_| None).get("service.instance.id") {
        Some(ResourceValue::Str(id)) => id.clone(),
        other => panic!("{other:?}"),
    };
    let (first, second) = (id(), id());
    assert_ne!(first, second);
    let parts: Vec<_> = first.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert_eq!(first.as_bytes()[14], b'4');
    assert!(b"89ab".contains(&first.as_bytes()[19]));
    let resource = resource::complete(&Resource::default(), |_| None);
    assert_eq!(resource.get("service.name"), Some(&ResourceValue::Str("unknown_service:python".to_owned())));
    assert_eq!(resource.get("process.pid"), Some(&ResourceValue::Int(i64::from(std::process::id()))));
}

#[test]
fn a_container_is_recognised_by_cgroup_or_mount() {
    let id = "a1b2".repeat(16);
    for line in [
        format!("12:devices:/docker/{id}"),
        format!("1:name=systemd:/kubepods/besteffort/pod1/{id}"),
        format!("0::/system.slice/docker-{id}.scope"),
        format!("0::/kubepods.slice/cri-containerd-{id}.scope"),
        format!("3:cpu:/kubepods/pod2:cri-containerd:{id}"),
    ] {
        let text = format!("13:pids:/\n{line}\n");
        assert_eq!(resource::container_id_from_cgroup(&text), Some(id.as_str()), "{line}");
    }
    assert_eq!(resource::container_id_from_cgroup("0::/\n"), None);
    assert_eq!(resource::container_id_from_cgroup(&format!("0::/docker/{}g", &id[1..])), None);

    let mounts = format!(
        "1 2 0:1 / / rw - overlay overlay rw\n\
         3 4 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
    );
    assert_eq!(resource::container_id_from_mountinfo(&mounts), Some(id.as_str()));
    assert_eq!(resource::container_id_from_mountinfo("3 4 8:1 /x /etc/hostname rw"), None);
    assert_eq!(resource::container_id_from_mountinfo("3"), None);
}
