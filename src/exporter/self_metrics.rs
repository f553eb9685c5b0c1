//! What the SDK says about itself (`otel.sdk.*`): instruments like any other, observed by the exporter from the books that
//! are kept anyway, so temporality and views apply to them. Names, units and attributes as in OpenTelemetry's semantic
//! conventions 1.44 (status Development).

use std::sync::Arc;
use std::time::Duration;

use super::dialect::Status;
use crate::attrs::{self, Text, Value};
use crate::batch::Batch;
use crate::ids::{SpanId, TraceId};
use crate::instruments::{Definition, Instruments};
use crate::intern::Scope;
use crate::record::{Header, InstrumentKind, StrId, kind};
use crate::stats::{DropReason, SinkProtocol, SinkStats, Snapshot};

/// A request to a sink that has ended.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    /// From the beginning of the request to its answer or failure.
    pub(super) duration: Duration,
    /// Of the answer; `None`: there was none.
    pub(super) status: Option<Status>,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct SelfMetrics {
    instruments: Arc<Instruments>,
    observed: Batch,
}

/// A signal's words in the names of its metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    signal: &'static str,
    unit: &'static str,
    http_exporter: &'static str,
    grpc_exporter: &'static str,
    /// Points go to their exporter without one.
    processor: Option<&'static str>,
}

pub(super) const SPANS: Words = Words {
    signal: "span",
    unit: "{span}",
    http_exporter: "otlp_http_span_exporter",
    grpc_exporter: "otlp_grpc_span_exporter",
    processor: Some("batching_span_processor"),
};
pub(super) const LOGS: Words = Words {
    signal: "log",
    unit: "{log_record}",
    http_exporter: "otlp_http_log_exporter",
    grpc_exporter: "otlp_grpc_log_exporter",
    processor: Some("batching_log_processor"),
};
pub(super) const POINTS: Words = Words {
    signal: "metric_data_point",
    unit: "{data_point}",
    http_exporter: "otlp_http_metric_exporter",
    grpc_exporter: "otlp_grpc_metric_exporter",
    processor: None,
};

impl Words {
    fn exporter(&self, sink: &SinkStats) -> &'static str {
        match sink.protocol {
            SinkProtocol::OtlpHttp => self.http_exporter,
            SinkProtocol::OtlpGrpc => self.grpc_exporter,
            // Not OTLP's, so the name is ours to give.
            SinkProtocol::Sls => "aliyun_sls_log_exporter",
        }
    }
}

impl SelfMetrics {
    pub(super) fn new(instruments: Arc<Instruments>) -> Self {
        Self { instruments, observed: Batch::default() }
    }

    /// Measurements of everything there is to say.
    pub(super) fn observe(&mut self, snapshot: &Snapshot) -> &Batch {
        self.observed.clear();
        let started = snapshot.spans_started;
        let result = |result: &'static str| [("otel.span.sampling_result", Value::Str(result.as_bytes()))];
        self.counter("otel.sdk.span.started", "{span}", started, &result("RECORD_AND_SAMPLE"));
        self.counter("otel.sdk.span.started", "{span}", snapshot.spans_sampled_out, &result("DROP"));
        let live = started.saturating_sub(snapshot.spans_recorded);
        self.up_down_counter("otel.sdk.span.live", "{span}", live, &result("RECORD_AND_SAMPLE"));
        self.counter("otel.sdk.log.created", "{log_record}", snapshot.logs_recorded, &[]);
        for (words, sinks) in
            [(SPANS, &snapshot.trace_sinks), (LOGS, &snapshot.log_sinks), (POINTS, &snapshot.metric_sinks)]
        {
            for (index, sink) in sinks.iter().enumerate() {
                self.sink(&words, index, sink);
            }
        }
        &self.observed
    }

    /// Measurements of requests that have ended: `otel.sdk.exporter.operation.duration`.
    pub(super) fn operations(
        &mut self,
        words: &Words,
        index: usize,
        sink: &SinkStats,
        ended: &[Operation],
    ) -> &Batch {
        self.observed.clear();
        let exporter = words.exporter(sink);
        let name = format!("{exporter}/{index}");
        for operation in ended {
            let mut attributes = component(exporter, &name, sink);
            match operation.status {
                Some(Status::Http(status)) => {
                    attributes.push(("http.response.status_code", Value::Int(status.into())));
                }
                Some(Status::Grpc(code)) => {
                    attributes.push(("rpc.response.status_code", Value::Str(code.as_bytes())));
                }
                None => {}
            }
            let error = match operation.status {
                Some(Status::Http(status)) => (status >= 400).then(|| status.to_string()),
                Some(Status::Grpc(code)) => (code != "OK").then(|| code.to_owned()),
                None => Some("no_answer".to_owned()),
            };
            if let Some(error) = &error {
                attributes.push(("error.type", Value::Str(error.as_bytes())));
            }
            let kind = InstrumentKind::Histogram;
            let seconds = operation.duration.as_secs_f64();
            self.record("otel.sdk.exporter.operation.duration", "s", kind, 1, seconds.to_bits(), &attributes);
        }
        &self.observed
    }

    /// How long a collection took: `otel.sdk.metric_reader.collection.duration`.
    pub(super) fn collection(&mut self, duration: Duration) -> &Batch {
        self.observed.clear();
        let attributes = [
            ("otel.component.type", Value::Str(b"periodic_metric_reader")),
            ("otel.component.name", Value::Str(b"periodic_metric_reader/0")),
        ];
        let (name, kind) = ("otel.sdk.metric_reader.collection.duration", InstrumentKind::Histogram);
        self.record(name, "s", kind, 1, duration.as_secs_f64().to_bits(), &attributes);
        &self.observed
    }

    fn sink(&mut self, words: &Words, index: usize, sink: &SinkStats) {
        let exporter_type = words.exporter(sink);
        let exporter_name = format!("{exporter_type}/{index}");
        let exporter = component(exporter_type, &exporter_name, sink);
        let of_exporter = |what: &str| format!("otel.sdk.exporter.{}.{what}", words.signal);
        self.up_down_counter(&of_exporter("inflight"), words.unit, sink.in_flight_records, &exporter);
        self.counter(&of_exporter("exported"), words.unit, sink.exported, &exporter);
        let mut to_exporter = sink.exported;
        for reason in DropReason::ALL {
            let dropped = sink.dropped.get(reason);
            if dropped > 0 && !is_the_processors(reason) {
                to_exporter += dropped;
                let failed = with_error(&exporter, reason.name());
                self.counter(&of_exporter("exported"), words.unit, dropped, &failed);
            }
        }
        let Some(processor) = words.processor else { return };
        let name = format!("{processor}/{index}");
        let processor = [
            ("otel.component.type", Value::Str(processor.as_bytes())),
            ("otel.component.name", Value::Str(name.as_bytes())),
        ];
        let of_processor = |what: &str| format!("otel.sdk.processor.{}.{what}", words.signal);
        let queued = sink.held_records - sink.in_flight_records.min(sink.held_records);
        self.up_down_counter(&of_processor("queue.size"), words.unit, queued, &processor);
        if let Some(capacity) = sink.queue_capacity {
            self.up_down_counter(&of_processor("queue.capacity"), words.unit, capacity, &processor);
        }
        self.counter(&of_processor("processed"), words.unit, to_exporter, &processor);
        for reason in DropReason::ALL.into_iter().filter(|reason| is_the_processors(*reason)) {
            let dropped = sink.dropped.get(reason);
            if dropped > 0 {
                let failed = with_error(&processor, error_type(reason));
                self.counter(&of_processor("processed"), words.unit, dropped, &failed);
            }
        }
    }

    fn counter(&mut self, name: &str, unit: &str, value: u64, attributes: &[(&str, Value<'_>)]) {
        self.record(name, unit, InstrumentKind::ObservableCounter, 0, value, attributes);
    }

    fn up_down_counter(&mut self, name: &str, unit: &str, value: u64, attributes: &[(&str, Value<'_>)]) {
        self.record(name, unit, InstrumentKind::ObservableUpDownCounter, 0, value, attributes);
    }

    fn record(
        &mut self,
        name: &str,
        unit: &str,
        kind: InstrumentKind,
        is_double: u8,
        bits: u64,
        attributes: &[(&str, Value<'_>)],
    ) {
        let instrument = self.instruments.register(&Definition {
            scope: Scope {
                name: "pytracingx".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                schema_url: String::new(),
            },
            name: name.to_owned(),
            unit: unit.to_owned(),
            description: String::new(),
            kind,
            boundaries: None,
            exponential_max_size: None,
        });
        let Some(instrument) = instrument else { return };
        let mut items = Vec::new();
        for (key, value) in attributes {
            attrs::put_attribute(&mut items, Text::Inline(key.as_bytes()), *value);
        }
        let header = Header {
            kind: kind::MEASUREMENT,
            detail: is_double,
            mask: 0,
            payload_bytes: 0,
            name: StrId(instrument.id),
            scope: 0,
            flags: 0,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            parent_span_id: SpanId::NONE,
            start: 0,
            end: bits,
        };
        self.observed.push(header, &items);
    }
}

/// Lost before the exporter got it.
fn is_the_processors(reason: DropReason) -> bool {
    matches!(reason, DropReason::QueueFull | DropReason::Shutdown | DropReason::Unsupported)
}

/// OpenTelemetry's words where it has some.
fn error_type(reason: DropReason) -> &'static str {
    match reason {
        DropReason::QueueFull => "queue_full",
        DropReason::Shutdown => "already_shutdown",
        other => other.name(),
    }
}

fn with_error<'a>(
    attributes: &[(&'static str, Value<'a>)],
    error: &'a str,
) -> Vec<(&'static str, Value<'a>)> {
    let mut attributes = attributes.to_vec();
    attributes.push(("error.type", Value::Str(error.as_bytes())));
    attributes
}

/// The attributes of an exporter; the endpoint is shown as `scheme://host:port/…`.
fn component<'a>(kind: &'a str, name: &'a str, sink: &'a SinkStats) -> Vec<(&'static str, Value<'a>)> {
    let mut attributes = vec![
        ("otel.component.type", Value::Str(kind.as_bytes())),
        ("otel.component.name", Value::Str(name.as_bytes())),
    ];
    let authority = sink.endpoint.split_once("://").map_or(&*sink.endpoint, |(_, rest)| rest);
    let authority = authority.split_once('/').map_or(authority, |(authority, _)| authority);
    if let Some((host, port)) = authority.rsplit_once(':') {
        attributes.push(("server.address", Value::Str(host.as_bytes())));
        if let Ok(port) = port.parse() {
            attributes.push(("server.port", Value::Int(port)));
        }
    }
    attributes
}
