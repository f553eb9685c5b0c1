//! The columns of a log in SLS: today's, 0.3's, renamed, and those that cannot be.

use std::sync::Arc;

use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::config::Resource;
use pytracingx::encode::Lookup;
use pytracingx::encode::chunk::Part;
use pytracingx::encode::sls::{Envelope, FieldCounts, Layout, LogGroupEncoder, sls_request};
use pytracingx::intern::Interner;
use pytracingx::limits::LogLimits;

use crate::model::Value;
use crate::sls_model::{self, LogModel, config, pair, resource};
use crate::sls_rig::{attribute, contents, encode, published, renamed, request};

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

fn sample() -> LogModel {
    let attributes = vec![
        attribute("user", Value::Str("ü".into())),
        attribute("n", Value::Int(-3)),
        attribute("ok", Value::Bool(true)),
        attribute("x", Value::Double(2.0)),
        attribute("list", Value::Array(vec![Value::Int(1), Value::Str("a\n".into()), Value::Empty])),
        attribute("map", Value::Map(vec![attribute("k", Value::Double(f64::NAN))])),
        attribute("raw", Value::Bytes(vec![0, 255])),
    ];
    let model = LogModel::new(21, "boom", attributes);
    LogModel { severity_text: "CRITICAL".into(), scope: 1, ids: Some(([0xab; 16], [0x0c; 8])), ..model }
}

#[test]
fn columns_of_today() {
    let (chunk, counts) = encode(&[sample()], &config(), &LogLimits::default());
    let group = request(chunk, &config());
    let log = &group.logs[0];
    assert_eq!((log.time, log.time_ns), (1_709_622_489, Some(123_456_789)));
    let contents: Vec<_> = log.contents.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
    let expected = pairs([
        ("level", "FATAL"),
        ("message", "boom"),
        ("logger_name", "app.db"),
        ("service.name", "svc"),
        ("traceID", "abababababababababababababababab"),
        ("spanID", "0c0c0c0c0c0c0c0c"),
        ("severity_text", "CRITICAL"),
        ("user", "ü"),
        ("n", "-3"),
        ("ok", "true"),
        ("x", "2.0"),
        ("list", r#"[1,"a\n",null]"#),
        ("map", r#"{"k":"NaN"}"#),
        ("raw", "00ff"),
    ]);
    assert_eq!(contents, expected);
    assert_eq!(counts, FieldCounts::default());
    let tags = [
        pair("host.name", "h1"),
        pair("process.pid", "42"),
        pair("ratio", "1.0"),
        pair("list", r#"[1,true,"a\"b"]"#),
        pair("__pack_id__", "P-0"),
    ];
    assert_eq!((group.topic, group.source.as_deref()), (None, Some("host-1")));
    assert_eq!(group.log_tags, tags);
}

/// As the published 0.3.0 wrote it: its columns, its levels, no nanoseconds, no tags, no source of its own.
#[test]
fn columns_of_0_3() {
    let (chunk, _) = encode(&[sample()], &published(), &LogLimits::default());
    let group = request(chunk, &published());
    let log = &group.logs[0];
    assert_eq!((log.time, log.time_ns), (1_709_622_489, None));
    let contents: Vec<_> = log.contents.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
    let attributes =
        r#"{"user":"ü","n":-3,"ok":true,"x":2.0,"list":[1,"a\n",null],"map":{"k":"NaN"},"raw":"00ff"}"#;
    let expected = pairs([
        ("level", "ERROR"),
        ("message", "boom"),
        ("logger_name", "app.db"),
        ("service.name", "svc"),
        ("trace_id", "abababababababababababababababab"),
        ("span_id", "0c0c0c0c0c0c0c0c"),
        ("attributes", attributes),
    ]);
    assert_eq!(contents, expected);
    assert_eq!((group.topic, group.source), (None, None));
    assert_eq!(group.log_tags, [pair("__pack_id__", "P-0")]);
}

#[test]
fn columns_and_attributes_are_renamed_as_the_user_says() {
    let names = [("level", "severity"), ("user", "who"), ("traceID", "traceId"), ("n", "level")];
    let attributes = vec![
        attribute("severity", Value::Int(1)),
        attribute("user", Value::Int(2)),
        attribute("n", Value::Int(3)),
        attribute("traceID", Value::Int(4)),
    ];
    let (contents, counts) = contents(LogModel::new(9, "m", attributes), &renamed(&names));
    let expected = pairs([
        ("severity", "INFO"),
        ("message", "m"),
        ("logger_name", "pytracingx"),
        ("service.name", "svc"),
        ("attr_severity", "1"),
        ("who", "2"),
        ("level", "3"),
        ("traceID", "4"),
    ]);
    assert_eq!(contents, expected);
    assert_eq!(
        counts,
        FieldCounts { renamed_keys: 1, ..FieldCounts::default() },
        "only what the user did not ask for"
    );
}

#[test]
fn names_that_cannot_be_are_refused() {
    let long = "x".repeat(129);
    for (names, why) in [
        (&[("level", "")][..], "1 to 128 bytes"),
        (&[("level", &*long)], "1 to 128 bytes"),
        (&[("user", "__time__")], "keeps that name"),
        (&[("user", "__tag__:u")], "keeps that name"),
        (&[("level", "message")], "another column"),
        (&[("user", "message")], "another column"),
        (&[("a", "c"), ("b", "c")], "another field"),
    ] {
        let error = Layout::new(&renamed(names), &resource()).expect_err(why).to_string();
        assert!(error.starts_with("field_names: ") && error.contains(why), "{error}");
    }
    let swapped = renamed(&[("level", "message"), ("message", "level")]);
    assert!(Layout::new(&swapped, &resource()).is_ok());
}

#[test]
fn a_record_without_anything_still_has_a_content() {
    let model = LogModel { body: None, scope: 2, ..LogModel::new(0, "", vec![]) };
    let (chunk, _) = encode(&[model], &config(), &LogLimits::default());
    assert_eq!(
        request(chunk, &config()).logs[0].contents,
        [pair("message", ""), pair("service.name", "svc")]
    );
}

#[test]
fn unwanted_records_are_left_out_and_nothing_is_never_sent() {
    let strings = Interner::default();
    let mut batch = Batch::default();
    for number in 0..4 {
        sls_model::push(&mut batch, &strings, &LogModel::new(9, &number.to_string(), vec![]));
    }
    let timeline = Timeline::identity();
    let lookup = Lookup { strings: &strings, timeline: &timeline };
    let mut encoder = LogGroupEncoder::new(Layout::new(&config(), &Resource::default()).unwrap());
    let chunk = encoder.encode(&batch, |index| index % 2 == 1, &LogLimits::default(), lookup);
    let messages: Vec<_> =
        request(chunk, &config()).logs.into_iter().map(|log| log.contents[1].value.clone()).collect();
    assert_eq!(messages, ["1", "3"]);
    let none = encoder.encode(&batch, |_| false, &LogLimits::default(), lookup);
    assert!(none.is_empty() && none.bytes.is_empty());
    let envelope = Envelope::new(&config(), &resource(), "h").unwrap();
    let mut body = vec![1];
    sls_request(&envelope, &[Part { chunk: Arc::new(none), records: 0..0 }], "P-0", &mut body);
    assert!(body.is_empty());
}
