//! Encoding for SLS: the log records of `encode_logs`, from ring record to a finished `LogGroup`, against the structs of
//! the official schema built from the same records, encoded by prost, and dropped. Both make the same columns.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use prost::Message;
use pytracingx::attrs::{Item, Items, Text, Value};
use pytracingx::batch::RecordRef;
use pytracingx::config::{Resource, ResourceValue, SlsCredentials, SlsSinkConfig};
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::encode::sls::{Envelope, Layout, LogGroupEncoder, sls_request};
use pytracingx::limits::LogLimits;
use pytracingx::record::severity_name;

use crate::encode::{BODY, ENCODE, PROST, count};
use crate::measure::{Candidate, Options, Report, compare};
use crate::records::{self, Session, Source};
use crate::structs::string;

const PACK_ID: &str = "5C9B2A7D1E3F4A6B-1F";
const HOST: &str = "bench-host";

#[derive(Clone, PartialEq, prost::Message)]
struct Pair {
    #[prost(string, required, tag = "1")]
    key: String,
    #[prost(string, required, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Log {
    #[prost(uint32, required, tag = "1")]
    time: u32,
    #[prost(message, repeated, tag = "2")]
    contents: Vec<Pair>,
    #[prost(fixed32, optional, tag = "4")]
    time_ns: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LogGroup {
    #[prost(message, repeated, tag = "1")]
    logs: Vec<Log>,
    #[prost(string, optional, tag = "3")]
    topic: Option<String>,
    #[prost(string, optional, tag = "4")]
    source: Option<String>,
    #[prost(message, repeated, tag = "6")]
    log_tags: Vec<Pair>,
}

/// Log records.
pub fn run(options: Options) -> Report {
    let logs = count(options);
    let session = Session::new();
    let source = RefCell::new(Source::new(records::logs(logs, &session, true)));
    let record = || source.borrow_mut().record();
    let drain = || source.borrow_mut().drain();
    let limits = LogLimits::default();
    let config = SlsSinkConfig::new(
        ["endpoint", "project", "logstore"],
        "cn-hangzhou.log.aliyuncs.com",
        "project".into(),
        "logstore".into(),
        SlsCredentials::Provider,
    )
    .expect("a valid place");
    let service = ResourceValue::Str("bench".into());
    let resource = Resource { attributes: vec![("service.name".into(), service)] };
    let envelope = Envelope::new(&config, &resource, HOST).expect("an envelope");
    let layout = Layout::new(&config, &resource).expect("columns");
    let encoder = RefCell::new(LogGroupEncoder::new(layout));
    let encode = || encoder.borrow_mut().encode(&source.borrow().batch, |_| true, &limits, session.lookup());
    let request = |chunk: Chunk, body: &mut Vec<u8>| {
        let records = 0..chunk.len();
        sls_request(&envelope, &[Part { chunk: Arc::new(chunk), records }], PACK_ID, body);
    };
    let logger = session.strings.scope(0).name;
    let structs = || LogGroup {
        logs: source.borrow().batch.logs().map(|record| build_log(record, &session, &logger)).collect(),
        topic: None,
        source: Some(HOST.into()),
        log_tags: vec![pair("__pack_id__".into(), PACK_ID.into())],
    };

    let mut body = Vec::new();
    record();
    drain();
    request(encode(), &mut body);
    let decoded = LogGroup::decode(&*body).expect("our request decodes");
    assert!(decoded == structs(), "both paths say the same");
    assert_eq!(body, structs().encode_to_vec(), "byte by byte");

    let mut rival = Vec::new();
    let candidates = vec![
        Candidate::new(ENCODE, || {
            black_box(encode());
        }),
        Candidate::after(record, BODY, || {
            drain();
            request(encode(), &mut body);
            black_box(&body);
        }),
        Candidate::after(record, PROST, || {
            drain();
            let group = structs();
            rival.clear();
            group.encode(&mut rival).expect("a Vec grows");
            black_box(&rival);
        }),
    ];
    compare("log", logs, options, candidates, (BODY, PROST, 4.0))
}

fn build_log(record: RecordRef<'_>, session: &Session, logger: &str) -> Log {
    let header = record.header;
    let mut contents = Vec::with_capacity(10);
    contents.push(pair("level".into(), severity_name(header.detail).into()));
    for item in Items::new(record.payload) {
        if let Item::Body(Value::Str(text)) = item {
            contents.push(pair("message".into(), string(text)));
        }
    }
    if !logger.is_empty() {
        contents.push(pair("logger_name".into(), logger.into()));
    }
    contents.push(pair("service.name".into(), "bench".into()));
    contents.push(pair("traceID".into(), string(&header.trace_id.to_hex())));
    contents.push(pair("spanID".into(), string(&header.span_id.to_hex())));
    for item in Items::new(record.payload) {
        if let Item::Attribute(attribute) = item {
            let key = match attribute.key {
                Text::Id(id) => string(session.strings.resolve(id)),
                Text::Inline(bytes) => string(bytes),
            };
            let value = match attribute.value {
                Value::Str(text) => string(text),
                Value::Int(number) => number.to_string(),
                Value::Double(number) => format!("{number:?}"),
                other => unreachable!("the items hold no {other:?}"),
            };
            contents.push(pair(key, value));
        }
    }
    let nanoseconds = Some((header.start % 1_000_000_000) as u32);
    Log { time: (header.start / 1_000_000_000) as u32, contents, time_ns: nanoseconds }
}

fn pair(key: String, value: String) -> Pair {
    Pair { key, value }
}
