//! Passes on what PyO3 knows of the Python that is built for (`Py_LIMITED_API`, `Py_GIL_DISABLED`, versions), and which
//! bug to seed: to the models (`make test-loom-seeded`, `make test-shuttle`) and to builds for other checkers
//! (`make sanitize`, `make fuzz`), which are debug builds. No other build can have one.

use std::env;

fn main() {
    println!("cargo::rerun-if-env-changed=LOOM_SEEDED_BUG");
    if let (Some(_), Ok(bug)) = (env::var_os("CARGO_CFG_LOOM"), env::var("LOOM_SEEDED_BUG")) {
        println!("cargo::rustc-cfg=loom_seeded_bug=\"{bug}\"");
    }
    println!("cargo::rerun-if-env-changed=SEEDED_BUG");
    let may_have_one = env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    if let (true, Ok(bug)) = (may_have_one, env::var("SEEDED_BUG")) {
        println!("cargo::rustc-cfg=seeded_bug=\"{bug}\"");
    }
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
