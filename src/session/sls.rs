//! SLS sinks of a session: the way there, what requests look like.

use std::time::Duration;

use super::CONTENT_TYPE;
use super::sinks::MaybeExchange;
use crate::config::{Protocol, Resource, SlsSinkConfig, TransportConfig};
use crate::encode::sls::{self, Envelope, Layout};
use crate::error::Error;
use crate::exporter::LogForm;
use crate::exporter::dialect::{Dialect, Otlp};
use crate::exporter::request::Settings;
use crate::exporter::sink::Sink;
use crate::exporter::sls::Sls;
use crate::ids::IdGenerator;
use crate::limits::{FieldCounts, LogLimits};
use crate::resource;
use crate::transport::sls::SlsDestination;
use crate::transport::sls_credentials::Credentials;
use crate::transport::{Http1, SLS_USER_AGENT};

/// The connection; `Host` is each request's own.
///
/// # Errors
/// [`Error::Config`] for what SLS would refuse or no request can carry.
pub(super) fn http(sink: &SlsSinkConfig) -> Result<Http1, Error> {
    sls::check(sink)?;
    let endpoint = SlsDestination::new(sink).endpoint;
    let proxy = sink.proxy.clone();
    let transport = TransportConfig { proxy, ..TransportConfig::new(endpoint, Protocol::HttpProtobuf) };
    Http1::new(&transport, CONTENT_TYPE, SLS_USER_AGENT)
}

/// The columns of a sink, and how its requests are made. `resource`: complete.
///
/// # Errors
/// As of [`http()`].
pub(super) fn dialect(
    sink: &SlsSinkConfig,
    resource: &Resource,
    credentials: Credentials,
) -> Result<(Layout, Sls), Error> {
    let host_name = resource::host_name().unwrap_or_default();
    let envelope = Envelope::new(sink, resource, &host_name)?;
    let dialect = Sls::new(SlsDestination::new(sink), envelope, sink.compression, credentials, random());
    Ok((Layout::new(sink, resource)?, dialect))
}

/// A sink that sends.
pub(super) fn sink(
    config: &SlsSinkConfig,
    resource: &Resource,
    credentials: Credentials,
    exchange: MaybeExchange,
) -> (LogForm, Sink) {
    match dialect(config, resource, credentials) {
        Ok((layout, dialect)) => {
            let mut sink = Sink::new(settings(config, Box::new(dialect)), exchange);
            sink.count_fields(FieldCounts::default());
            (LogForm::Sls(layout), sink)
        }
        Err(error) => unsent(config, Otlp::default(), Err(error.to_string())),
    }
}

/// A sink whose records are kept as OTLP, or not at all.
pub(super) fn unsent(config: &SlsSinkConfig, otlp: Otlp, exchange: MaybeExchange) -> (LogForm, Sink) {
    (LogForm::Otlp(LogLimits::default()), Sink::new(settings(config, Box::new(otlp)), exchange))
}

fn settings(sink: &SlsSinkConfig, dialect: Box<dyn Dialect>) -> Settings {
    Settings {
        endpoint: sink.endpoint.to_string().into(),
        batch: sink.batch.clone(),
        timeout: Duration::from_millis(sink.timeout_ms),
        max_export_timeout: Duration::from_millis(sink.max_export_timeout_ms),
        max_queue_bytes: sink.max_queue_bytes,
        dialect,
        seed: random(),
    }
}

fn random() -> u64 {
    IdGenerator::from_entropy().trace_id().low64()
}
