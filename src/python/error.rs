//! `ConfigError`: the one exception of this package's own.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{IntoPyDict, PyType};

use crate::error::Error;

/// `pytracingx.ConfigError`, both a `ValueError` and a `RuntimeError` (earlier versions raised either).
pub(crate) fn config_error(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = TYPE.get_or_try_init(py, || {
        let bases = (py.get_type::<PyValueError>(), py.get_type::<PyRuntimeError>());
        let body = [
            ("__module__", "pytracingx"),
            (
                "__doc__",
                "A setting that is not allowed. The text names the argument, the value and what is allowed.",
            ),
        ];
        let class = py.get_type::<PyType>().call1(("ConfigError", bases, body.into_py_dict(py)?))?;
        PyResult::Ok(class.cast_into::<PyType>()?.unbind())
    })?;
    Ok(class.bind(py))
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        Python::attach(|py| match config_error(py) {
            Ok(class) => Self::from_type(class.clone(), error.to_string()),
            Err(raised) => raised,
        })
    }
}
