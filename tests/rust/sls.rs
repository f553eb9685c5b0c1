//! Log records to `LogGroup`s: the machine-made vectors, the official schema read by prost, columns, keys and limits.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::config::{Resource, ResourceValue, SlsAttributes, SlsFieldNames, SlsSinkConfig};
use pytracingx::encode::Lookup;
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::encode::sls::{
    Envelope, FieldCounts, Layout, LogGroupEncoder, MAX_GROUP_BYTES, MAX_LOG_BYTES, PackIds, log_group,
    sls_request,
};
use pytracingx::intern::{Interner, Scope};
use pytracingx::limits::LogLimits;
use serde_json::Value as Json;

use crate::model::{Name, Value};
use crate::sls_model::{self, LOGGERS, LogGroup, LogModel, config, expected, pair, resource};
use crate::strategies;

// ---------------------------------------------------------------------------------------------- machinery

fn encode(models: &[LogModel], config: &SlsSinkConfig, limits: &LogLimits) -> (Chunk, FieldCounts) {
    let strings = Interner::default();
    for (index, name) in LOGGERS.iter().enumerate() {
        let version = if index == 0 { env!("CARGO_PKG_VERSION") } else { "" };
        let scope = Scope { name: (*name).into(), version: version.into(), ..Scope::default() };
        assert_eq!(strings.scope_index(&scope), index as u16);
    }
    let mut batch = Batch::default();
    models.iter().for_each(|model| sls_model::push(&mut batch, &strings, model));
    let timeline = Timeline::identity();
    let mut encoder = LogGroupEncoder::new(Layout::new(config, &resource()).expect("a layout"));
    let chunk = encoder.encode(&batch, |_| true, limits, Lookup { strings: &strings, timeline: &timeline });
    (chunk, encoder.counts())
}

fn request(chunk: Chunk, config: &SlsSinkConfig) -> LogGroup {
    let envelope = Envelope::new(config, &resource(), "host-1").expect("an envelope");
    let records = 0..chunk.len();
    let mut body = vec![0xff];
    sls_request(&envelope, &[Part { chunk: Arc::new(chunk), records }], "P-0", &mut body);
    let group = LogGroup::decode(&*body).expect("official code decodes it");
    assert_eq!(group.encode_to_vec(), body, "as short, and in the same order");
    group
}

fn contents(model: LogModel, config: &SlsSinkConfig) -> (Vec<(String, String)>, FieldCounts) {
    let (chunk, counts) = encode(&[model], config, &LogLimits::default());
    let log = request(chunk, config).logs.remove(0);
    (log.contents.into_iter().map(|pair| (pair.key, pair.value)).collect(), counts)
}

fn attribute(key: &str, value: Value) -> (Name, Value) {
    (Name { text: key.into(), interned: false }, value)
}

fn renamed(names: &[(&str, &str)]) -> SlsSinkConfig {
    let names = names.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
    SlsSinkConfig { field_names: SlsFieldNames::Renamed(names), ..config() }
}

fn published() -> SlsSinkConfig {
    SlsSinkConfig { field_names: SlsFieldNames::V0_3, ..config() }
}

fn json() -> SlsSinkConfig {
    SlsSinkConfig { attributes: SlsAttributes::Json, ..config() }
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

// ---------------------------------------------------------------------------------------------- vectors

/// A text, or `{"repeat": [text, n]}`.
fn vector_text(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        other => {
            let repeat = other["repeat"].as_array().expect("a text");
            repeat[0].as_str().unwrap().repeat(repeat[1].as_u64().unwrap() as usize)
        }
    }
}

fn vector_pairs(json: &Json) -> Vec<(String, String)> {
    let pairs = json.as_array().expect("pairs").iter();
    pairs.map(|pair| (vector_text(&pair[0]), vector_text(&pair[1]))).collect()
}

#[test]
fn groups_are_those_of_the_official_encoder_byte_by_byte() {
    let file: Json = serde_json::from_str(include_str!("../data/sls/loggroup.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let mut compared = 0;
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let official = unhex(case["expected"]["hex"].as_str().unwrap());
        let read = LogGroup::decode(&*official).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.encode_to_vec(), official, "{name}: the schema of these tests is the official one");
        if read.machine_uuid.is_some() {
            continue; // nothing that PutLogs clients send
        }
        let input = &case["input"];
        let mut out = Vec::new();
        for log in input["logs"].as_array().unwrap() {
            for _ in 0..log["times"].as_u64().unwrap_or(1) {
                // Too short a guess, so that lengths are moved.
                let open = log_group::open_log(&mut out, log["time"].as_u64().unwrap() as u32, 1);
                for (index, (key, value)) in vector_pairs(&log["contents"]).into_iter().enumerate() {
                    if index % 2 == 0 {
                        log_group::put_content(&mut out, key.as_bytes(), value.as_bytes());
                    } else {
                        let content = log_group::open_content(&mut out, key.as_bytes(), 24);
                        out.extend_from_slice(value.as_bytes());
                        log_group::close_content(&mut out, content);
                    }
                }
                log_group::close_log(&mut out, open, log["time_ns"].as_u64().map(|nanos| nanos as u32));
            }
        }
        log_group::put_topic_and_source(&mut out, input["topic"].as_str(), input["source"].as_str());
        for (key, value) in vector_pairs(&input["tags"]) {
            log_group::put_tag(&mut out, key.as_bytes(), value.as_bytes());
        }
        assert_eq!(out, official, "{name}");
        compared += 1;
    }
    assert_eq!(compared, cases.len() - 1);
    assert!(compared >= 15);
}

// ---------------------------------------------------------------------------------------------- properties

/// Keys that meet columns, what SLS keeps for itself, limits, and each other once they have changed.
fn keys() -> impl Strategy<Value = String> {
    let known = [
        "level",
        "attr_level",
        "attr_level_2",
        "message",
        "traceID",
        "resource",
        "attributes",
        "from",
        "to",
        "to_2",
        "__time__",
        "__tag__:x",
        "",
        "_extract_others_",
    ];
    let long =
        ["é".repeat(64) + "a", "é".repeat(64) + "b", "x".repeat(129), "x".repeat(128), "y".repeat(127) + "é"];
    let all: Vec<String> = known.iter().map(|key| (*key).to_owned()).chain(long).collect();
    prop::sample::select(all)
}

fn log() -> impl Strategy<Value = LogModel> {
    let special = (keys(), any::<bool>(), strategies::value())
        .prop_map(|(text, interned, value)| (Name { text, interned }, value));
    let attributes = (strategies::attributes(), prop::collection::vec(special, 0..6))
        .prop_map(|(plain, special)| [plain, special].concat());
    let severity = (0..=26_u8, prop_oneof![Just(String::new()), Just("INFO".to_owned()), strategies::text()]);
    let ids = prop::option::of((prop::array::uniform16(1_u8..), prop::array::uniform8(1_u8..)));
    let what =
        (prop::option::of(strategies::value()), attributes, prop_oneof![3 => Just(0_u32), 1 => any::<u32>()]);
    (severity, 0..3_u16, ids, any::<u64>(), what, any::<[bool; 2]>()).prop_map(
        |(
            (severity_number, severity_text),
            scope,
            ids,
            unix_nano,
            (body, attributes, dropped),
            [oversize, body_last],
        )| {
            LogModel {
                severity_number,
                severity_text,
                scope,
                ids,
                unix_nano,
                body,
                attributes,
                dropped,
                oversize,
                body_last,
            }
            .with_unique_keys()
        },
    )
}

fn limits() -> impl Strategy<Value = LogLimits> {
    (prop_oneof![Just(128_u32), 0..4_u32], prop_oneof![Just(u32::MAX), 0..20_u32])
        .prop_map(|(attributes, value_length)| LogLimits { attributes, value_length })
}

fn configs() -> impl Strategy<Value = SlsSinkConfig> {
    prop::sample::select(vec![
        config(),
        renamed(&[("from", "to"), ("__time__", "event_time")]),
        json(),
        published(),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_decode_to_what_was_recorded(models in prop::collection::vec(log(), 1..6), limits in limits(), config in configs()) {
        let (chunk, _) = encode(&models, &config, &limits);
        prop_assert_eq!(chunk.len(), models.len());
        let group = request(chunk, &config);
        for (decoded, model) in group.logs.iter().zip(&models) {
            prop_assert_eq!(decoded, &expected(model, &config, &limits));
            if config.attributes == SlsAttributes::Flat && config.field_names != SlsFieldNames::V0_3 {
                let mut keys: Vec<_> = decoded.contents.iter().map(|pair| &pair.key).collect();
                keys.sort();
                keys.dedup();
                prop_assert_eq!(keys.len(), decoded.contents.len(), "keys are unique");
                prop_assert!(keys.iter().all(|key| (1..=128).contains(&key.len())));
            }
        }
    }

    /// Cut anywhere, joined in order: the same logs, each once.
    #[test]
    fn requests_split_and_join_by_record(models in prop::collection::vec(log(), 1..6), cut in any::<prop::sample::Index>()) {
        let (chunk, _) = encode(&models, &config(), &LogLimits::default());
        let (chunk, cut) = (Arc::new(chunk), cut.index(models.len() + 1));
        let part = |records| Part { chunk: chunk.clone(), records };
        let envelope = Envelope::new(&config(), &resource(), "h").unwrap();
        let [mut whole, mut joined, mut left, mut right] = [const { Vec::new() }; 4];
        sls_request(&envelope, &[part(0..models.len())], "P-0", &mut whole);
        sls_request(&envelope, &[part(0..cut), part(cut..models.len())], "P-0", &mut joined);
        prop_assert_eq!(&whole, &joined);
        sls_request(&envelope, &[part(0..cut)], "P-1", &mut left);
        sls_request(&envelope, &[part(cut..models.len())], "P-2", &mut right);
        let decode = |body: &[u8]| LogGroup::decode(body).expect("a group").logs;
        prop_assert_eq!(decode(&whole), [decode(&left), decode(&right)].concat());
    }
}

// ---------------------------------------------------------------------------------------------- columns

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

// ---------------------------------------------------------------------------------------------- limits

#[test]
fn keys_and_values_beyond_the_limits_are_cut_and_counted() {
    let attributes = vec![
        attribute(&"k".repeat(200), Value::Str("é".repeat(600_000))),
        attribute("message", Value::Int(1)),
        attribute("many", Value::Array(vec![Value::Int(1_234_567); 200_000])),
    ];
    let (contents, counts) = contents(LogModel::new(9, &"m".repeat(1_100_000), attributes), &config());
    assert_eq!(counts, FieldCounts { renamed_keys: 1, cut_keys: 1, cut_values: 3, omitted_fields: 0 });
    let lengths: Vec<_> = contents.iter().map(|(key, value)| (key.len(), value.len())).collect();
    assert_eq!(contents[1].1.len(), 1 << 20);
    assert_eq!(lengths[4..], [(128, 1 << 20), ("attr_message".len(), 1), (4, 1 << 20)]);
}

/// A log that would not fit into any request loses attributes, not itself; the body comes first.
#[test]
fn no_log_is_larger_than_a_request() {
    let value = || Value::Str("v".repeat(1 << 20));
    let attributes = (0..20).map(|index| attribute(&format!("a{index}"), value())).collect();
    let model = LogModel { dropped: 5, ..LogModel::new(9, "first", attributes) };
    let (chunk, counts) = encode(&[model], &config(), &LogLimits::default());
    assert!(chunk.bytes.len() <= MAX_LOG_BYTES, "{}", chunk.bytes.len());
    assert!(chunk.bytes.len() > MAX_LOG_BYTES - (2 << 10), "{}", chunk.bytes.len());
    assert_eq!(counts.cut_values, 1);
    assert_eq!(counts.omitted_fields, 12);
    let group = request(chunk, &config());
    assert!(group.encoded_len() < MAX_GROUP_BYTES);
    let contents = &group.logs[0].contents;
    assert_eq!(contents[1], pair("message", "first"));
    assert_eq!(contents.last(), Some(&pair("dropped_attributes_count", "17")));
}

#[test]
fn envelopes_hold_what_sls_takes_and_refuse_the_rest() {
    let tags = vec![("team".into(), "db".into()), ("host.name".into(), "mine".into())];
    let config = SlsSinkConfig { topic: "t".into(), source: Some("10.0.0.1".into()), tags, ..config() };
    let group = request(encode(&[LogModel::new(9, "m", vec![])], &config, &LogLimits::default()).0, &config);
    assert_eq!((group.topic.as_deref(), group.source.as_deref()), (Some("t"), Some("10.0.0.1")));
    let keys: Vec<_> = group.log_tags.iter().map(|tag| &*tag.key).collect();
    assert_eq!(keys, ["team", "host.name", "process.pid", "ratio", "list", "__pack_id__"]);
    assert_eq!(group.log_tags[1].value, "mine");

    let long = "x".repeat(129);
    let tag = |key: &str, value: String| vec![(key.to_owned(), value)];
    let refused = [
        (
            SlsSinkConfig { topic: long.clone(), ..config.clone() },
            "topic must have at most 128 bytes, got 129",
        ),
        (
            SlsSinkConfig { source: Some(long.clone()), ..config.clone() },
            "source must have at most 128 bytes",
        ),
        (SlsSinkConfig { tags: tag("", "v".into()), ..config.clone() }, "tags: \"\" must not be empty"),
        (SlsSinkConfig { tags: tag(&long, "v".into()), ..config.clone() }, "at most 128 bytes"),
        (SlsSinkConfig { tags: tag("__pack_id__", "v".into()), ..config.clone() }, "exporter itself"),
        (SlsSinkConfig { tags: tag("k", "v".repeat(1 << 20)), ..config.clone() }, "1 MiB in all"),
        (
            SlsSinkConfig { tags: [tag("k", "".into()), tag("k", "".into())].concat(), ..config },
            "more than once",
        ),
    ];
    for (config, why) in refused {
        let error = Envelope::new(&config, &resource(), "h").expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// A request is never larger than its logs and what the envelope says it adds.
#[test]
fn envelopes_know_their_size() {
    let huge = ResourceValue::Str("r".repeat(2 << 20));
    let mut resource = resource();
    resource.set("too.large", huge);
    let envelope = Envelope::new(&config(), &resource, &"h".repeat(200)).unwrap();
    let (chunk, _) = encode(&[LogModel::new(9, "m", vec![])], &config(), &LogLimits::default());
    let logs = chunk.bytes.len();
    let mut body = Vec::new();
    let id = "F".repeat(33);
    sls_request(&envelope, &[Part { chunk: Arc::new(chunk), records: 0..1 }], &id, &mut body);
    assert_eq!(body.len(), logs + envelope.bytes());
    let group = LogGroup::decode(&*body).unwrap();
    assert_eq!(group.source, Some("h".repeat(128)));
    assert!(group.log_tags.iter().all(|tag| tag.key != "too.large"), "no room");
}

#[test]
fn pack_ids_count_up() {
    let mut ids = PackIds::new(0x5c9b);
    let all: Vec<_> = (0..12).map(|_| ids.next_id()).collect();
    assert_eq!(all[0], "0000000000005C9B-0");
    assert_eq!(all[11], "0000000000005C9B-B");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// As `std` writes them, which the model of `logs_decode_to_what_was_recorded` does for fewer.
    #[test]
    fn numbers_have_the_shortest_text(int in any::<i64>(), bits in any::<u64>(), whole in -2_000_000_000_i64..2_000_000_000, decimals in 0..9, ulps in -2_i64..3) {
        let decimal = whole as f64 / 10_f64.powi(decimals);
        let near = f64::from_bits(decimal.to_bits().wrapping_add_signed(ulps));
        let doubles = [f64::from_bits(bits), decimal, near, 0.0, -0.0, 1e-4, 1e9, 999_999_999.999_999, 0.1 + 0.2];
        let finite = || doubles.iter().filter(|number| number.is_finite());
        let ints = [int, int >> 40, 0, i64::MIN, i64::MAX];
        let mut attributes: Vec<_> =
            ints.iter().enumerate().map(|(at, number)| attribute(&format!("i{at}"), Value::Int(*number))).collect();
        attributes.extend(finite().enumerate().map(|(at, number)| attribute(&format!("d{at}"), Value::Double(*number))));
        let expected = ints.iter().map(i64::to_string).chain(finite().map(|number| format!("{number:?}")));
        let (log, _) = contents(LogModel::new(9, "", attributes), &config());
        let texts = log.iter().filter(|(key, _)| key.len() == 2).map(|(_, text)| text.clone());
        prop_assert_eq!(texts.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}
