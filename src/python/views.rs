//! `View` and `Redact` as Python classes: immutable, checked when constructed, without side effects.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::arguments::{Int, Real, Text, choice};
use super::describe::{Arguments, NewArguments, call, new_arguments};
use crate::config::check;
use crate::config::{RedactAction, RedactRule, View, ViewAggregation};
use crate::error::Error;

/// What metric streams become of the instruments it matches. What is None matches everything, or changes nothing. An
/// instrument that several views match has a stream for each; one that none matches has its own.
///
/// Args:
///     instrument_name: the instrument's, in any case; `*` stands for any text, `?` for one character.
///     meter_name: the meter's.
///     instrument_kind: "counter", "up_down_counter", "histogram", "gauge", "observable_counter",
///         "observable_up_down_counter" or "observable_gauge".
///     unit: the instrument's.
///     name: the stream's instead of the instrument's; needs an `instrument_name` without `*` and `?`.
///     attribute_keys: the only attributes that are kept; series that then are equal are added up.
///     aggregation: "default" (None), "sum", "last_value", "explicit", "exponential" or "drop".
///     boundaries: of the buckets of aggregation "explicit", ascending. Alone they mean it. Default: the instrument's.
///     drop: nothing is recorded; the same as aggregation "drop".
///     cardinality_limit: attribute sets, before the rest share one series. Default 2000.
///     max_size: buckets on each side of zero of aggregation "exponential", at least 2. Default 160.
///
/// Raises:
///     ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.
///
/// Configuration time: costs less than a microsecond.
#[pyclass(frozen, eq, module = "pytracingx", name = "View")]
#[derive(PartialEq)]
pub(crate) struct PyView(pub(super) View);

#[pymethods]
impl PyView {
    #[new]
    #[pyo3(signature = (
        instrument_name = None, meter_name = None, instrument_kind = None, unit = None, name = None,
        attribute_keys = None, aggregation = None, boundaries = None, drop = false, cardinality_limit = None,
        max_size = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are the Python signature")]
    fn new(
        instrument_name: Option<Text>,
        meter_name: Option<Text>,
        instrument_kind: Option<Text>,
        unit: Option<Text>,
        name: Option<Text>,
        attribute_keys: Option<Bound<'_, PyAny>>,
        aggregation: Option<Text>,
        boundaries: Option<Vec<Real>>,
        drop: bool,
        cardinality_limit: Option<Int>,
        max_size: Option<Int>,
    ) -> PyResult<Self> {
        let boundaries = boundaries.map(|values| values.iter().map(|value| value.0).collect());
        let named = aggregation.as_ref().map(|name| &*name.0).or(drop.then_some("drop"));
        let aggregation = ViewAggregation::parse(named, boundaries, max_size.map(|size| size.0))?;
        if drop && aggregation != ViewAggregation::Drop {
            let name = aggregation.name();
            return Err(Error::config(format_args!("drop=True is an aggregation, got '{name}' too")).into());
        }
        let view = View {
            instrument_name: instrument_name.map(|text| text.0),
            meter_name: meter_name.map(|text| text.0),
            instrument_kind: choice("instrument_kind", &check::INSTRUMENT_KINDS, instrument_kind)?,
            unit: unit.map(|text| text.0),
            name: name.map(|text| text.0),
            attribute_keys: attribute_keys.as_ref().map(keys).transpose()?,
            aggregation,
            cardinality_limit: cardinality_limit
                .map(|limit| check::whole("cardinality_limit", limit.0, 1))
                .transpose()?,
        };
        view.check()?;
        Ok(Self(view))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        call("View", &self.0.arguments(py, true)?)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<NewArguments<'py>> {
        new_arguments(py, self.0.arguments(py, true)?)
    }
}

/// Any iterable of `str`, as a set: in order, each once. A `str` by itself would be taken for its letters.
fn keys(keys: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if keys.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("attribute_keys must be a list of str, got str"));
    }
    let mut keys = keys.try_iter()?.map(|key| Ok(key?.extract::<Text>()?.0)).collect::<PyResult<Vec<_>>>()?;
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

impl Arguments for View {
    /// Those that were given.
    fn arguments<'py>(&self, py: Python<'py>, _expose: bool) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let texts = [
            ("instrument_name", self.instrument_name.as_deref()),
            ("meter_name", self.meter_name.as_deref()),
            ("instrument_kind", self.instrument_kind.map(|kind| check::INSTRUMENT_KINDS.name(kind))),
            ("unit", self.unit.as_deref()),
            ("name", self.name.as_deref()),
        ];
        for (argument, text) in texts {
            text.map_or(Ok(()), |text| dict.set_item(argument, text))?;
        }
        if let Some(keys) = &self.attribute_keys {
            dict.set_item("attribute_keys", keys)?;
        }
        match &self.aggregation {
            ViewAggregation::Default => {}
            ViewAggregation::Drop => dict.set_item("drop", true)?,
            ViewAggregation::Explicit(Some(boundaries)) => dict.set_item("boundaries", boundaries)?,
            other => dict.set_item("aggregation", other.name())?,
        }
        if let ViewAggregation::Exponential { max_size } = self.aggregation {
            dict.set_item("max_size", max_size)?;
        }
        if let Some(limit) = self.cardinality_limit {
            dict.set_item("cardinality_limit", limit)?;
        }
        Ok(dict)
    }
}

/// Hides attributes of spans, their events and links, and log records, before anything leaves the process. The first
/// rule that matches a key decides; keys inside dicts count too, those of a log record's body among them. A text has no
/// keys: messages, names, status descriptions and `exception.message` stay (unless a rule names that attribute).
///
/// Args:
///     key: the attribute's key; `*` stands for any text, `?` for one character.
///     action: "drop" (default): left out, and counted in dropped_attributes_count. "hash": "sha256:" and the SHA-256
///         of the value's text in hexadecimal. "truncate": the first `length` characters.
///     length: characters (of bytes: bytes) that "truncate" keeps.
///
/// Raises:
///     ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.
///
/// Configuration time: costs less than a microsecond.
#[pyclass(frozen, eq, module = "pytracingx", name = "Redact")]
#[derive(PartialEq)]
pub(crate) struct PyRedact(pub(super) RedactRule);

#[pymethods]
impl PyRedact {
    #[new]
    #[pyo3(signature = (key, action = None, length = None), text_signature = "(key, action='drop', length=None)")]
    fn new(key: Text, action: Option<Text>, length: Option<Int>) -> PyResult<Self> {
        check::non_empty("key", &key.0)?;
        let action = action.as_ref().map_or("drop", |action| &action.0);
        let action = RedactAction::parse(action, length.map(|length| length.0))?;
        Ok(Self(RedactRule { key: key.0, action }))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        call("Redact", &self.0.arguments(py, true)?)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<NewArguments<'py>> {
        new_arguments(py, self.0.arguments(py, true)?)
    }
}

impl Arguments for RedactRule {
    fn arguments<'py>(&self, py: Python<'py>, _expose: bool) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("key", &self.key)?;
        let (action, length) = match self.action {
            RedactAction::Truncate(length) => (RedactAction::Truncate(0), Some(length)),
            action => (action, None),
        };
        dict.set_item("action", check::REDACT_ACTIONS.name(action))?;
        length.map_or(Ok(()), |length| dict.set_item("length", length))?;
        Ok(dict)
    }
}
