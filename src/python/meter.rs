//! `Meter`: makes instruments. Cold: once per instrument and process. Only here anything raises; instruments are made
//! known to a session at their first use in it.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::arguments::{Int, Real, Text, elements};
use super::instrument_types;
use super::observable;
use crate::config::check::{self, HISTOGRAMS};
use crate::config::{DEFAULT_BOUNDARIES, HistogramAggregation, SECONDS_BOUNDARIES};
use crate::error::Error;
use crate::instruments::Definition;
use crate::intern::Scope;
use crate::record::InstrumentKind;

/// More would be more than any range of values needs.
const MAX_EXPONENTIAL_BUCKETS: u32 = 16_384;

/// Makes instruments of one instrumentation scope. Made by get_meter(); works before init() and in every session.
///
/// As OpenTelemetry's Meter. The same name twice gives the same instrument; when unit, description or anything else
/// differs, that is counted in stats() and warned about once.
#[pyclass(module = "pytracingx", name = "Meter", frozen)]
pub(super) struct Meter {
    scope: Scope,
}

/// A meter, whose metrics carry an instrumentation scope of their own.
///
/// Args:
///     name: Usually the instrumented library's name.
///     version: Its version; default none.
///     schema_url: Of the semantic conventions that its metrics follow; default none.
///
/// Returns:
///     A Meter. May be called before init(); it works in every session.
///
/// Raises:
///     TypeError: what is no str.
///
/// Costs a tenth of a microsecond or two: make it once and keep it.
#[pyfunction]
#[pyo3(signature = (name, version = None, schema_url = None))]
pub(super) fn get_meter(name: Text, version: Option<Text>, schema_url: Option<Text>) -> Meter {
    Meter { scope: Scope { name: name.0, version: or_empty(version), schema_url: or_empty(schema_url) } }
}

fn or_empty(text: Option<Text>) -> String {
    text.map_or_else(String::new, |text| text.0)
}

impl Meter {
    fn define(
        &self,
        kind: InstrumentKind,
        name: Text,
        unit: Option<Text>,
        description: Option<Text>,
    ) -> Result<Definition, Error> {
        if name.0.is_empty() {
            return Err(Error::config("name must not be empty"));
        }
        Ok(Definition {
            scope: self.scope.clone(),
            name: name.0,
            unit: or_empty(unit),
            description: or_empty(description),
            kind,
            boundaries: None,
            exponential_max_size: None,
        })
    }

    fn plain<'py>(
        &self,
        py: Python<'py>,
        kind: InstrumentKind,
        name: Text,
        unit: Option<Text>,
        description: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        instrument_types::new(py, Arc::new(self.define(kind, name, unit, description)?), None)
    }

    fn observable<'py>(
        &self,
        kind: InstrumentKind,
        name: Text,
        callback: &Bound<'py, PyAny>,
        unit: Option<Text>,
        description: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let instrument = self.plain(callback.py(), kind, name, unit, description)?;
        observable::add(&instrument, callback)?;
        Ok(instrument)
    }
}

#[pymethods]
impl Meter {
    /// A sum that only grows: requests, tokens, bytes.
    ///
    /// Args:
    ///     name: As OpenTelemetry names metrics ('http.server.requests'); any text that is not empty.
    ///     unit: UCUM unit ('s', 'By', '{request}'); default none.
    ///     description: For people; default none.
    ///
    /// Raises:
    ///     ConfigError: an empty name.
    ///
    /// Costs a tenth of a microsecond or two: make it once and keep it.
    #[pyo3(signature = (name, *, unit = None, description = None))]
    fn counter<'py>(
        &self,
        py: Python<'py>,
        name: Text,
        unit: Option<Text>,
        description: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.plain(py, InstrumentKind::Counter, name, unit, description)
    }

    /// A sum: queue lengths, requests in flight.
    ///
    /// Args:
    ///     name: As for counter().
    ///     unit: As for counter().
    ///     description: As for counter().
    ///
    /// Raises:
    ///     ConfigError: an empty name.
    ///
    /// Costs a tenth of a microsecond or two: make it once and keep it.
    #[pyo3(signature = (name, *, unit = None, description = None))]
    fn up_down_counter<'py>(
        &self,
        py: Python<'py>,
        name: Text,
        unit: Option<Text>,
        description: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.plain(py, InstrumentKind::UpDownCounter, name, unit, description)
    }

    /// A distribution of values: durations, sizes.
    ///
    /// Args:
    ///     name: As for counter().
    ///     unit: As for counter(). For 's' the default boundaries go from 0.005 to 10 seconds.
    ///     description: As for counter().
    ///     boundaries: Ascending finite numbers, each the last value of its bucket. Default OpenTelemetry's, 0 to 10,000.
    ///     aggregation: 'explicit' (those boundaries) or 'exponential' (base-2 buckets that find their scale
    ///         themselves); default that of Config(default_histogram=…).
    ///     max_size: Exponential buckets on each side of zero, 2 to 16,384; default 160.
    ///
    /// Raises:
    ///     ConfigError: an empty name, boundaries that do not ascend or are not finite, boundaries of an exponential
    ///         histogram, an unknown aggregation, max_size out of range. TypeError: boundaries that are no numbers.
    ///
    /// Costs a tenth of a microsecond or two: make it once and keep it.
    #[pyo3(signature = (name, *, unit = None, description = None, boundaries = None, aggregation = None, max_size = Int(160)),
        text_signature = "($self, name, *, unit=None, description=None, boundaries=None, aggregation=None, max_size=160)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn histogram<'py>(
        &self,
        py: Python<'py>,
        name: Text,
        unit: Option<Text>,
        description: Option<Text>,
        boundaries: Option<&Bound<'py, PyAny>>,
        aggregation: Option<Text>,
        max_size: Int,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut definition = self.define(InstrumentKind::Histogram, name, unit, description)?;
        definition.boundaries = boundaries.map(given_boundaries).transpose()?;
        let aggregation = aggregation.map(|text| HISTOGRAMS.parse("aggregation", &text.0)).transpose()?;
        let max_size = exponential_buckets(max_size)?;
        match (aggregation, &definition.boundaries) {
            (Some(HistogramAggregation::Exponential), Some(_)) => {
                return Err(Error::config("boundaries must be None when aggregation is 'exponential'").into());
            }
            (Some(HistogramAggregation::Exponential), None) => {
                definition.exponential_max_size = Some(max_size);
            }
            // Said, so that it holds where the session's default is another.
            (Some(HistogramAggregation::Explicit), None) => {
                let default =
                    if definition.unit == "s" { &SECONDS_BOUNDARIES[..] } else { &DEFAULT_BOUNDARIES };
                definition.boundaries = Some(default.to_vec());
            }
            _ => {}
        }
        instrument_types::new(py, Arc::new(definition), None)
    }

    /// A value that is set: temperatures, cache use.
    ///
    /// Args:
    ///     name: As for counter().
    ///     unit: As for counter().
    ///     description: As for counter().
    ///
    /// Raises:
    ///     ConfigError: an empty name.
    ///
    /// Costs a tenth of a microsecond or two: make it once and keep it.
    #[pyo3(signature = (name, *, unit = None, description = None))]
    fn gauge<'py>(
        &self,
        py: Python<'py>,
        name: Text,
        unit: Option<Text>,
        description: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.plain(py, InstrumentKind::Gauge, name, unit, description)
    }

    /// A growing total that is asked for at each collection: CPU time, bytes read.
    ///
    /// Args:
    ///     name: As for counter(). The same instrument may be made several times, each with a callback of its own.
    ///     callback: A function of no argument, or of one (an object whose `timeout_millis` says how long it may take).
    ///         It returns a number, an Observation or a (value, attributes) pair, or yields or returns any number of these;
    ///         OpenTelemetry's Observation will do too, and a generator that is sent that one argument.
    ///     unit: As for counter().
    ///     description: As for counter().
    ///
    /// Raises:
    ///     ConfigError: an empty name. TypeError: callback is not callable, or needs other arguments.
    ///
    /// Callbacks run in a thread of ours, one after the other, just before a collection. One that raises, or takes longer
    /// than `timeout_millis`, costs its own data only: counted in stats(), warned about once. The instrument and its
    /// callback live as long as the process.
    #[pyo3(signature = (name, callback, *, unit = None, description = None))]
    fn observable_counter<'py>(
        &self,
        name: Text,
        callback: &Bound<'py, PyAny>,
        unit: Option<Text>,
        description: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.observable(InstrumentKind::ObservableCounter, name, callback, unit, description)
    }

    /// A total that is asked for at each collection: memory in use, items in a pool.
    ///
    /// Args:
    ///     name: As for observable_counter().
    ///     callback: As for observable_counter().
    ///     unit: As for counter().
    ///     description: As for counter().
    ///
    /// Raises:
    ///     ConfigError: an empty name. TypeError: callback is not callable, or needs other arguments.
    ///
    /// Costs a tenth of a microsecond or two: make it once and keep it.
    #[pyo3(signature = (name, callback, *, unit = None, description = None))]
    fn observable_up_down_counter<'py>(
        &self,
        name: Text,
        callback: &Bound<'py, PyAny>,
        unit: Option<Text>,
        description: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.observable(InstrumentKind::ObservableUpDownCounter, name, callback, unit, description)
    }

    /// A value that is asked for at each collection: temperatures, ages.
    ///
    /// Args:
    ///     name: As for observable_counter().
    ///     callback: As for observable_counter().
    ///     unit: As for counter().
    ///     description: As for counter().
    ///
    /// Raises:
    ///     ConfigError: an empty name. TypeError: callback is not callable, or needs other arguments.
    ///
    /// Costs a tenth of a microsecond or two: make it once and keep it.
    #[pyo3(signature = (name, callback, *, unit = None, description = None))]
    fn observable_gauge<'py>(
        &self,
        name: Text,
        callback: &Bound<'py, PyAny>,
        unit: Option<Text>,
        description: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.observable(InstrumentKind::ObservableGauge, name, callback, unit, description)
    }

    fn __repr__(&self) -> String {
        format!("<Meter '{}'>", check::shown(&self.scope.name))
    }
}

fn given_boundaries(boundaries: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let mut out: Vec<f64> = Vec::new();
    for boundary in elements("boundaries", "numbers", boundaries)? {
        let boundary = boundary?;
        let Real(boundary) = boundary.extract().map_err(|error: PyErr| match boundary.get_type().name() {
            Ok(found) if error.is_instance_of::<PyTypeError>(boundary.py()) => {
                PyTypeError::new_err(format!("boundaries must be a list of numbers, got {found} in it"))
            }
            _ => error,
        })?;
        if !boundary.is_finite() {
            return Err(
                Error::config(format_args!("boundaries must be finite numbers, got {boundary}")).into()
            );
        }
        if let Some(last) = out.last().filter(|last| **last >= boundary) {
            let text = format_args!("boundaries must ascend, got {boundary} after {last}");
            return Err(Error::config(text).into());
        }
        out.push(boundary);
    }
    Ok(out)
}

fn exponential_buckets(max_size: Int) -> Result<u32, Error> {
    u32::try_from(max_size.0).ok().filter(|size| (2..=MAX_EXPONENTIAL_BUCKETS).contains(size)).ok_or_else(
        || {
            let allowed = format_args!("2 to {MAX_EXPONENTIAL_BUCKETS}");
            Error::config(format_args!("max_size must be {allowed}, got {}", max_size.0))
        },
    )
}
