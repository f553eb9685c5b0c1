//! Gives each target a `main` of its own where libFuzzer is not there, so that targets build on stable and run as tests.
//!
//! ```text
//! <target> [--seconds N] [--seed N] [--artifacts DIRECTORY] [FILE | DIRECTORY]…
//! ```
//!
//! With paths it replays those files. Without, it runs random inputs for N seconds (default 1), the same ones for the
//! same seed (default 0); an input that panics is written to `artifacts/<target>/`, or where `--artifacts` says, and the
//! process fails.

/// Declares a target: `fuzz_target!(function)`, where the function takes any bytes and panics on a defect.
#[macro_export]
macro_rules! fuzz_target {
    ($run:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $run(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            shim::main(env!("CARGO_BIN_NAME"), $run)
        }
    };
}

#[cfg(not(fuzzing))]
pub use standalone::main;

#[cfg(not(fuzzing))]
mod standalone {
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;
    use std::time::{Duration, Instant};

    /// Longest random input.
    const MAX_BYTES: u64 = 4096;

    pub fn main(target: &str, run: fn(&[u8])) -> ExitCode {
        let (mut seconds, mut seed, mut paths) = (1, 0, Vec::new());
        let mut artifacts = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(target);
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if argument == "--artifacts" {
                artifacts = arguments.next().expect("--artifacts takes a directory").into();
                continue;
            }
            let mut number = || arguments.next().and_then(|text| text.parse().ok());
            match argument.as_str() {
                "--seconds" => seconds = number().expect("--seconds takes a number"),
                "--seed" => seed = number().expect("--seed takes a number"),
                _ => paths.push(PathBuf::from(argument)),
            }
        }
        if paths.is_empty() {
            random(target, run, Duration::from_secs(seconds), seed, &artifacts)
        } else {
            replay(run, &paths)
        }
    }

    fn random(target: &str, run: fn(&[u8]), time: Duration, seed: u64, artifacts: &Path) -> ExitCode {
        let started = Instant::now();
        let mut inputs = 0;
        while started.elapsed() < time {
            let input = input(seed, inputs);
            if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
                let file = artifacts.join(format!("seed-{seed}-{inputs}"));
                fs::create_dir_all(artifacts)
                    .and_then(|()| fs::write(&file, &input))
                    .expect("a writable directory");
                eprintln!("{target}: input {inputs} of seed {seed} fails, kept as {}", file.display());
                return ExitCode::FAILURE;
            }
            inputs += 1;
        }
        println!("{target}: {inputs} inputs of seed {seed}, no failure");
        ExitCode::SUCCESS
    }

    fn replay(run: fn(&[u8]), paths: &[PathBuf]) -> ExitCode {
        for path in paths {
            if path.is_dir() {
                let entries = fs::read_dir(path).expect("a readable directory");
                let inner: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
                replay(run, &inner);
            } else {
                println!("{}", path.display());
                run(&fs::read(path).expect("a readable file"));
            }
        }
        ExitCode::SUCCESS
    }

    /// The `index`-th input: short ones more often than long ones, zero and small bytes more often than others, since
    /// lengths, tags and choices are small numbers.
    fn input(seed: u64, index: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index;
        let mut next = || {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        };
        let len = next() % (MAX_BYTES >> (next() % 10));
        let mut byte = || {
            let word = next();
            let byte = (word >> 8) as u8;
            if word & 3 == 0 { byte & 0x0f } else { byte }
        };
        (0..len).map(|_| byte()).collect()
    }
}
