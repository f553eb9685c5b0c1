//! Passes on what PyO3 knows of the Python that is built for (`Py_LIMITED_API`, `Py_GIL_DISABLED`, versions), and to the
//! loom models which bug to seed (`make test-loom-seeded`).

use std::env;

fn main() {
    println!("cargo::rerun-if-env-changed=LOOM_SEEDED_BUG");
    if let (Some(_), Ok(bug)) = (env::var_os("CARGO_CFG_LOOM"), env::var("LOOM_SEEDED_BUG")) {
        println!("cargo::rustc-cfg=loom_seeded_bug=\"{bug}\"");
    }
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
