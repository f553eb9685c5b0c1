//! Log records to `LogGroup`s: the machine-made vectors, the official schema read by prost, columns, keys and limits.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use pytracingx::config::{ResourceValue, SlsAttributes, SlsFieldNames, SlsSinkConfig};
use pytracingx::encode::chunk::Part;
use pytracingx::encode::sls::{
    Envelope, FieldCounts, MAX_GROUP_BYTES, MAX_LOG_BYTES, PackIds, log_group, sls_request,
};
use pytracingx::limits::LogLimits;
use serde_json::Value as Json;

use crate::model::{Name, Value};
use crate::sls_model::{LogGroup, LogModel, config, expected, pair, resource};
use crate::sls_rig::{attribute, contents, encode, json, published, renamed, request, unhex};
use crate::strategies;

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
