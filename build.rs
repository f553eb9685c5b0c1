//! Passes on what PyO3 knows of the Python that is built for (`Py_LIMITED_API`, `Py_GIL_DISABLED`, versions).

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
