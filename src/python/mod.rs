//! The Python extension module `pytracingx._native`: a list of what it holds. Everything below converts arguments and
//! calls the core; nothing in the core knows of Python.

mod arguments;
mod config;
mod describe;
mod error;
mod sinks;
mod sls_sink;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::config::{PyConfig, restore_config};
    #[pymodule_export]
    use super::sinks::{PyMetricSink, PyOtlpLogSink, PyRawOtlp, PyTraceSink};
    #[pymodule_export]
    use super::sls_sink::PySlsLogSink;
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("ConfigError", error::config_error(module.py())?)
    }
}
