//! The native side of observable instruments, whose Python is in `_worker.py`: what its thread waits for, records and
//! answers. Cold: once per collection. Waits only with the interpreter released.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use super::arguments::Text;
use super::instrument;
use super::reentry::Entered;
use crate::emit;
use crate::observe::{Observations, Request};

/// It then looks again: the same as waiting on.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// One value of an observable instrument, as its callback gives it. As OpenTelemetry's Observation.
///
/// Args:
///     value: An int or float.
///     attributes: Mapping, as for start_span(); default none.
///
/// Costs about the creation of two small objects.
#[pyclass(module = "pytracingx", name = "Observation", frozen)]
pub(super) struct Observation {
    /// The int or float.
    #[pyo3(get)]
    value: Py<PyAny>,
    /// The mapping, or None.
    #[pyo3(get)]
    attributes: Option<Py<PyAny>>,
}

#[pymethods]
impl Observation {
    #[new]
    #[pyo3(signature = (value, attributes = None))]
    fn new(value: Py<PyAny>, attributes: Option<Py<PyAny>>) -> Self {
        Self { value, attributes }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let value = self.value.bind(py).repr()?;
        let Some(attributes) = &self.attributes else { return Ok(format!("Observation({value})")) };
        Ok(format!("Observation({value}, {})", attributes.bind(py).repr()?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.value)?;
        visit.call(&self.attributes)
    }
}

/// Gives an observable instrument a callback, and the session a worker.
pub(super) fn add(instrument: &Bound<'_, PyAny>, callback: &Bound<'_, PyAny>) -> PyResult<()> {
    // Imported with the first one: it needs `threading`.
    let worker = instrument.py().import("pytracingx._worker")?;
    worker.call_method1("add", (instrument, callback)).map(|_| ())
}

/// Gives a new session its worker, if there are observable instruments.
pub(super) fn session_began(py: Python<'_>) -> PyResult<()> {
    let modules = py.import("sys")?.getattr("modules")?;
    match modules.cast::<PyDict>()?.get_item("pytracingx._worker")? {
        Some(worker) => worker.call_method0("start").map(|_| ()),
        None => Ok(()),
    }
}

/// What a worker of one session uses.
#[pyclass(module = "pytracingx._native", name = "_Observer", frozen)]
pub(super) struct Observer {
    session: u64,
    observations: Arc<Observations>,
}

/// For the worker of the current session. None: nobody wants its metrics, it has a worker already, or there is no session.
#[pyfunction]
pub(super) fn _observer() -> Option<Observer> {
    let session = emit::session();
    let intake = emit::with(session, |thread| thread.intake.clone())?;
    let observations = &intake.observations;
    (intake.metrics && !observations.is_attended())
        .then(|| Observer { session, observations: observations.clone() })
}

/// From now on what this thread logs does not come back to us: it runs callbacks.
#[pyfunction]
pub(super) fn _runs_callbacks() {
    std::mem::forget(Entered::begin());
}

#[pymethods]
impl Observer {
    /// From now on the exporter asks.
    fn attend(&self) {
        self.observations.attend();
    }

    /// Waits for a question; the number to answer with. None: the session has ended.
    fn wait(&self, py: Python<'_>) -> Option<u64> {
        loop {
            match py.detach(|| self.observations.wait(LOOK_AGAIN)) {
                Request::Observe(round) => return Some(round),
                Request::End => return None,
                Request::Nothing => {}
            }
        }
    }

    /// Records what a callback gave.
    fn record(
        &self,
        instrument: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        attributes: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        instrument::observe(instrument, value, attributes, self.session)
    }

    /// A callback gave nothing usable. `warning`, if any, is told.
    fn failed(&self, warning: Option<Text>) {
        emit::with(self.session, |thread| thread.intake.counters.callback_errors.add(1));
        let Some(Text(warning)) = warning else { return };
        emit::with(self.session, |thread| thread.intake.instruments.tell(warning));
    }

    /// All that there is has been recorded.
    fn answer(&self, round: u64) {
        self.observations.answer(round);
        emit::with(self.session, |thread| thread.intake.lanes.waker().wake());
    }
}
