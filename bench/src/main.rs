//! Benchmarks of the core in Rust, each against a named rival and each checking its own result.
//!
//! ```text
//! cargo run --release -- [NAME…] [--check] [--json]
//! cargo run --release -- --count
//! ```
//!
//! Without names all of them run. `--check` uses tiny sizes: it proves that the benchmarks work, its figures mean
//! nothing. `--count` is for bench/python/guard.py, see [`count`]. `--json` prints one object per line instead of tables. Exits non-zero when a result is wrong or, without
//! `--check`, when a promised ratio is missed.

mod aggregate;
mod count;
mod drain;
mod emit;
mod encode;
mod encode_sls;
mod measure;
mod records;
mod ring;
mod structs;

use std::process::ExitCode;

use measure::{Options, Report};

type Benchmark = (&'static str, fn(Options) -> Report);

/// In the order they run.
const BENCHMARKS: &[Benchmark] = &[
    ("ring", ring::run),
    ("drain", drain::run),
    ("emit", emit::run),
    ("aggregate", aggregate::run),
    ("encode", encode::run),
    ("encode_logs", encode::run_logs),
    ("encode_plain_logs", encode::run_plain_logs),
    ("encode_points", encode::run_points),
    ("encode_sls", encode_sls::run),
];

fn main() -> ExitCode {
    let mut options = Options::default();
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--check" => options.check = true,
            "--json" => options.json = true,
            "--count" => {
                count::run();
                return ExitCode::SUCCESS;
            }
            name if BENCHMARKS.iter().any(|(known, _)| *known == name) => names.push(argument),
            other => {
                let known: Vec<_> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
                eprintln!(
                    "unknown argument {other:?}; expected --check, --json, --count or one of {known:?}"
                );
                return ExitCode::from(2);
            }
        }
    }
    let mut met = true;
    for (name, run) in BENCHMARKS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let report = run(options);
            report.print(name, options);
            met &= options.check || report.promise_met();
        }
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
