//! Arguments of constructors. A value of the wrong type raises `TypeError` here; whether the value is allowed is the
//! core's to say, so numbers of any size and texts with lone surrogates get that far.

use pyo3::PyClass;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyIterator, PyList, PyMapping, PyString, PyTuple};

use super::objects::{digits, lossy};
use crate::config::check::{self, Choice};
use crate::config::{BatchConfig, LogFilter, ResourceValue};
use crate::error::Error;

/// A `str`; lone surrogates are replaced.
pub(super) struct Text(pub(super) String);

impl<'py> FromPyObject<'_, 'py> for Text {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(lossy(&obj.to_owned().cast_into::<PyString>()?)))
    }
}

/// An `int`; beyond 128 bits the nearest that fits.
#[derive(Clone, Copy)]
pub(super) struct Int(pub(super) i128);

impl<'py> FromPyObject<'_, 'py> for Int {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match obj.extract::<i128>() {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.is_instance_of::<PyOverflowError>(obj.py()) => {
                Ok(Self(if obj.lt(0)? { i128::MIN } else { i128::MAX }))
            }
            Err(error) => Err(error),
        }
    }
}

/// A `float` or `int`; beyond a double's range infinite.
#[derive(Clone, Copy)]
pub(super) struct Real(pub(super) f64);

impl<'py> FromPyObject<'_, 'py> for Real {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match obj.extract::<f64>() {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.is_instance_of::<PyOverflowError>(obj.py()) => {
                Ok(Self(if obj.lt(0)? { f64::NEG_INFINITY } else { f64::INFINITY }))
            }
            Err(error) => Err(error),
        }
    }
}

/// A mapping of `str` to `str`, in its order.
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<'py> FromPyObject<'_, 'py> for Pairs {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut pairs = Vec::new();
        for item in obj.cast::<PyMapping>()?.items()? {
            let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            let (Ok(Text(name)), Ok(Text(text))) = (key.extract(), value.extract()) else {
                // A key may be told, a value never: it may be a secret.
                let (name, of, to) = (key.repr()?, key.get_type().name()?, value.get_type().name()?);
                let message =
                    format!("expected a mapping of str to str, got {name} ({of}) with a value of {to}");
                return Err(PyTypeError::new_err(message));
            };
            pairs.push((name, text));
        }
        Ok(Self(pairs))
    }
}

/// A mapping of `str` to resource attribute values.
pub(super) struct Attributes(pub(super) Vec<(String, ResourceValue)>);

impl<'py> FromPyObject<'_, 'py> for Attributes {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut attributes = Vec::new();
        for item in obj.cast::<PyMapping>()?.items()? {
            let (Text(key), value): (_, Bound<'_, PyAny>) = item.extract()?;
            if key.is_empty() {
                return Err(Error::config("resource_attributes: a key must not be empty").into());
            }
            if !value.is_none() {
                let value = resource_value(&key, &value, true)?;
                attributes.push((key, value));
            }
        }
        Ok(Self(attributes))
    }
}

fn resource_value(key: &str, value: &Bound<'_, PyAny>, lists: bool) -> PyResult<ResourceValue> {
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(ResourceValue::Bool(value.is_true()));
    }
    if let Ok(value) = value.cast::<PyInt>() {
        // Beyond 64 bits an int becomes its digits, as everywhere.
        return Ok(value.extract().map_or_else(|_| ResourceValue::Str(digits(value)), ResourceValue::Int));
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(ResourceValue::Double(value.extract()?));
    }
    if let Ok(Text(value)) = value.extract() {
        return Ok(ResourceValue::Str(value));
    }
    if lists && (value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>()) {
        let elements = value.try_iter()?.map(|element| resource_value(key, &element?, false));
        return Ok(ResourceValue::Array(elements.collect::<PyResult<_>>()?));
    }
    Err(PyTypeError::new_err(format!(
        "resource_attributes['{}'] must be str, bool, int, float or a list of these, got {}",
        check::shown(key),
        value.get_type().name()?
    )))
}

/// A resource attribute's value as Python's.
pub(super) fn resource_value_to_py<'py>(
    py: Python<'py>,
    value: &ResourceValue,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        ResourceValue::Str(value) => PyString::new(py, value).into_any(),
        ResourceValue::Int(value) => value.into_pyobject(py)?.into_any(),
        ResourceValue::Double(value) => PyFloat::new(py, *value).into_any(),
        ResourceValue::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        ResourceValue::Array(values) => {
            let values: Vec<_> =
                values.iter().map(|value| resource_value_to_py(py, value)).collect::<PyResult<_>>()?;
            PyList::new(py, values)?.into_any()
        }
    })
}

// ---------------------------------------------------------------------------------------------- into settings

/// The elements of an argument that must be a list.
pub(super) fn elements<'py>(
    argument: &str,
    class: &str,
    objects: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyIterator>> {
    match objects.try_iter() {
        Err(error) if error.is_instance_of::<PyTypeError>(objects.py()) => Err(PyTypeError::new_err(
            format!("{argument} must be a list of {class}, got {}", objects.get_type().name()?),
        )),
        elements => elements,
    }
}

/// What the objects of a list of one class hold; nothing if no list was given.
pub(super) fn list<T: PyClass, C>(
    argument: &str,
    class: &str,
    objects: Option<Bound<'_, PyAny>>,
    core: impl Fn(&Bound<'_, T>) -> C,
) -> PyResult<Vec<C>> {
    let Some(objects) = objects else {
        return Ok(Vec::new());
    };
    let object = |(index, object): (usize, PyResult<Bound<'_, PyAny>>)| {
        let object = object?;
        object.cast::<T>().map(&core).or_else(|_| {
            let found = object.get_type().name()?;
            let text = format!("{argument} list must contain {class}, got {found} at index {index}");
            Err(Error::Config(text).into())
        })
    };
    elements(argument, class, &objects)?.enumerate().map(object).collect()
}

/// The value of a name, if one was given.
pub(super) fn choice<T: Copy + PartialEq>(
    argument: &str,
    names: &Choice<T>,
    text: Option<Text>,
) -> Result<Option<T>, Error> {
    text.map(|text| names.parse(argument, &text.0)).transpose()
}

/// A number of at least `min`, if one was given.
pub(super) fn set<T: TryFrom<i128> + check::Bounded>(
    field: &mut T,
    argument: &str,
    value: Option<Int>,
    min: i128,
) -> Result<(), Error> {
    if let Some(value) = value {
        *field = check::whole(argument, value.0, min)?;
    }
    Ok(())
}

/// A duration of at least `min`, if one was given.
pub(super) fn set_milliseconds(
    field: &mut u64,
    argument: &str,
    value: Option<Int>,
    min: i128,
) -> Result<(), Error> {
    if let Some(value) = value {
        *field = check::milliseconds(argument, value.0, min)?;
    }
    Ok(())
}

/// A `log_filter`, if one was given.
pub(super) fn filter(text: Option<Text>) -> Result<Option<LogFilter>, Error> {
    text.map(|text| LogFilter::parse("log_filter", &text.0)).transpose()
}

/// Batching; a batch is never larger than its queue.
pub(super) fn batch(
    mut batch: BatchConfig,
    max_queue: Option<Int>,
    max_export: Option<Int>,
    schedule_delay_ms: Option<Int>,
) -> Result<BatchConfig, Error> {
    let max_queue = max_queue.map(|records| check::whole::<usize>("batch_max_queue", records.0, 1));
    batch.max_queue = max_queue.transpose()?;
    set(&mut batch.max_export, "batch_max_export", max_export, 1)?;
    set_milliseconds(&mut batch.schedule_delay_ms, "batch_schedule_delay_ms", schedule_delay_ms, 0)?;
    batch.max_export = batch.max_export.min(batch.max_queue.unwrap_or(usize::MAX));
    Ok(batch)
}
