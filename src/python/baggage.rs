//! Baggage: text that travels with a trace, read and set. It lives in the context as the header that carries it. Nothing
//! here raises an `Exception`; what no header can hold is left out and counted.
#![expect(unsafe_code, reason = "written against the C API")]

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyMapping, PyString};

use super::activation::{Activation, Activations};
use super::arguments::Text;
use super::current::BAGGAGE;
use super::propagation::quiet;
use crate::context::{self, BaggageEntry};
use crate::emit;

/// The current header; empty for none.
fn header(py: Python<'_>) -> String {
    // SAFETY: attached.
    let current = unsafe { BAGGAGE.get() };
    // SAFETY: attached; null, or owned by `current`.
    let text = unsafe { Bound::from_borrowed_ptr_or_opt(py, current.0) };
    text.and_then(|text| text.extract::<Text>().ok()).map_or_else(String::new, |text| text.0)
}

/// The baggage of the current context: what extract_headers() found and baggage() set.
///
/// Returns:
///     A new dict of str to str, percent-decoded. Of several entries with one key the last; their properties are not
///     in it, but travel on.
///
/// Costs tens of nanoseconds.
#[pyfunction]
pub(super) fn get_baggage(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for entry in context::parse_baggage([header(py).as_bytes()]) {
        dict.set_item(entry.key, entry.value)?;
    }
    Ok(dict)
}

/// Adds to the baggage of the current context while a `with` block runs: inject_headers() sends it.
///
/// Args:
///     mapping: Keys and values. A key must be a token: letters, digits and !#$%&'*+-.^_`|~.
///     entries: The same as keyword arguments; they win.
///
/// An entry replaces one of the same key. A value is a str; int, float and bool become text, None is left out. What is
/// not like this, or does not fit in 180 entries and 8192 bytes, is left out and counted as `baggage_left_out` in
/// stats(). May be entered again, also while entered. Never raises.
///
/// Costs about a microsecond.
#[pyclass(module = "pytracingx", name = "baggage", frozen)]
pub(super) struct Baggage {
    entries: Vec<BaggageEntry>,
    activations: Activations,
}

#[pymethods]
impl Baggage {
    #[new]
    #[pyo3(signature = (mapping = None, /, **entries))]
    fn new(mapping: Option<&Bound<'_, PyAny>>, entries: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut baggage = Self { entries: Vec::new(), activations: Activations::default() };
        let mut unusable = 0;
        for given in mapping.into_iter().chain(entries.map(|entries| entries.as_any())) {
            if let Err(error) = baggage.read(given, &mut unusable) {
                unusable += 1;
                quiet(given.py(), Err(error))?;
            }
        }
        count_left_out(unusable);
        Ok(baggage)
    }

    /// Sets the entries; gives itself back.
    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        let (this, py) = (slf.get(), slf.py());
        let (text, left_out) = context::merge_baggage(&header(py), this.entries.iter().cloned());
        count_left_out(left_out);
        let value = if text.is_empty() { py.None() } else { PyString::new(py, &text).into_any().unbind() };
        this.activations.enter(Activation::new(&BAGGAGE, value));
        slf.clone()
    }

    /// Makes current again what was before; lets exceptions pass.
    #[pyo3(text_signature = "($self, exc_type, exc_val, exc_tb, /)")]
    fn __exit__(
        &self,
        _exc_type: &Bound<'_, PyAny>,
        _exc_val: &Bound<'_, PyAny>,
        _exc_tb: &Bound<'_, PyAny>,
    ) -> bool {
        self.activations.leave();
        false
    }
}

impl Baggage {
    fn read(&mut self, given: &Bound<'_, PyAny>, unusable: &mut usize) -> PyResult<()> {
        for entry in given.cast::<PyMapping>()?.items()? {
            let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = entry.extract()?;
            if value.is_none() {
                continue;
            }
            match (key.extract::<Text>(), text(&value)?) {
                (Ok(Text(key)), Some(value)) => self.entries.push(BaggageEntry::new(key, value)),
                _ => *unusable += 1,
            }
        }
        Ok(())
    }
}

/// `None` for what is not like this.
fn text(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let is_number = value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>();
    let text = match is_number.then(|| value.str()) {
        Some(Err(error)) => return quiet(value.py(), Err(error)).map(|()| None),
        Some(Ok(text)) => text.into_any(),
        None => value.clone(),
    };
    Ok(text.extract::<Text>().ok().map(|text| text.0))
}

fn count_left_out(count: usize) {
    if count > 0 {
        emit::with(emit::session(), |thread| thread.intake.counters.baggage_left_out.add(count as u64));
    }
}
