# Two commands need nothing but Linux, Python 3.9 or later with venv, Rust 1.88 or later, and a C compiler:
#
#   make demo    build and install the package into .venv, and run the main job against the embedded collector
#   make test    every test: Rust, loom, Python, fuzz targets for a while each, stubs and Python lints
#
# PYTHON=python3.13 VENV=.venv-3.13 chooses another interpreter. `make help` lists the other targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
FUZZ_SECONDS ?= 8
LOOM_PREEMPTIONS ?= 3

bin := $(VENV)/bin
python_sources := python examples tests bench/python
fuzz_targets = $(shell sed -n '/^\[\[bin\]\]/,/^$$/s/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml)

# need COMMAND,WHAT IS MISSING: stop with one line unless the command succeeds.
need = $(if $(shell { $(1); } >/dev/null 2>&1 && echo yes),,$(error $(2)))
need_rust = $(call need,cargo --version | awk '{ split($$2, v, "."); exit !(v[1] > 1 || v[2] >= 88) }' && rustc --version,Rust 1.88 or later is missing: install it from https://rustup.rs)
need_cc = $(call need,$(CC) --version,a C compiler ($(CC)) is missing: install gcc or clang$(comma) on Debian: apt install build-essential)
need_python = $(call need,$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3$(comma) 9))',Python 3.9 or later ($(PYTHON)) is missing: install it$(comma) on Debian: apt install python3 python3-venv)
need_venv = $(call need,$(PYTHON) -c 'import venv$(comma) ensurepip',the venv module of $(PYTHON) is missing: install it$(comma) on Debian: apt install python3-venv)
comma := ,

##@ The two commands

.PHONY: demo
demo: install ## build, install, and trace a small LLM server into the embedded collector
	$(bin)/python examples/demo.py

.PHONY: test
test: test-rust test-loom test-loom-seeded test-shuttle targets test-python fuzz stubs lint-python ## every test

.PHONY: example
example: install ## NAME=fastapi_middleware: build, install, and run an example into the embedded collector
	$(bin)/python examples/run.py $(NAME)

##@ Parts of the tests

.PHONY: test-rust
test-rust: tools ## the core, without Python
	cargo test

# Without LTO: loom explores for seconds, and links in seconds.
cargo_loom = LOOM_MAX_PREEMPTIONS=$(LOOM_PREEMPTIONS) RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
  cargo test --release --no-default-features --test loom

.PHONY: test-loom
test-loom: tools ## the models of ring, lanes and their hand-overs, under every interleaving
	$(cargo_loom)

seeded_bugs = $(shell sed -n 's/.*loom_seeded_bug = "\([^"]*\)".*/\1/p' src/lane/*.rs)

.PHONY: test-loom-seeded
test-loom-seeded: tools ## the models find each bug that can be seeded
	for bug in $(seeded_bugs); do \
	  LOOM_SEEDED_BUG=$$bug $(cargo_loom) --no-run --quiet; \
	  if LOOM_SEEDED_BUG=$$bug $(cargo_loom) --quiet >target/loom/seeded.log 2>&1; then \
	    echo "$$bug: not found by the models" >&2; exit 1; \
	  fi; \
	  grep -q '^test result: FAILED' target/loom/seeded.log || { cat target/loom/seeded.log >&2; exit 1; }; \
	  echo "$$bug: found by $$(sed -n 's/^    \([a-z_]*\)$$/\1/p' target/loom/seeded.log | sort -u | paste -sd' ')"; \
	done

SHUTTLE_ITERATIONS ?= 10000
shuttle_bugs = $(shell sed -n 's/.*seeded_bug = "\(torn_lock\|early_word\)".*/\1/p' src/sys/fork.rs src/emit/current.rs)
cargo_shuttle = SHUTTLE_ITERATIONS=$(SHUTTLE_ITERATIONS) RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle \
  cargo test --quiet --no-default-features --test shuttle

.PHONY: test-shuttle
test-shuttle: tools ## init, shutdown, fork and first records under random schedules, then with bugs that these find; =1000000 for long
	$(cargo_shuttle)
	for bug in $(shuttle_bugs); do \
	  SEEDED_BUG=$$bug $(cargo_shuttle) --no-run; \
	  if SEEDED_BUG=$$bug $(cargo_shuttle) >target/shuttle/seeded.log 2>&1 || \
	    ! grep -q '^test result: FAILED' target/shuttle/seeded.log; \
	  then tail -40 target/shuttle/seeded.log >&2; echo "$$bug: not found by the models" >&2; exit 1; fi; \
	  echo "$$bug: found by $$(sed -n 's/^    \([a-z_]*\)$$/\1/p' target/shuttle/seeded.log | sort -u | paste -sd' ')"; \
	done

.PHONY: sanitize
sanitize: venv tools ## AddressSanitizer, LeakSanitizer, ThreadSanitizer and valgrind, each with a bug to find: about ten minutes
	PYTHON=$(bin)/python tests/sanitize.sh address thread memcheck python

.PHONY: test-python
test-python: install ## the package, against real sockets and the official decoder
	$(bin)/python -m pytest tests/python --timeout 120 -q $(PYTEST_ARGS)

SOAK_FLAGS ?= --exits 10000 --threads 100000 --forks 10000

.PHONY: soak
soak: install ## 10 000 exits, 100 000 threads, 10 000 forks: about three quarters of an hour on two cores
	$(bin)/python tests/python/soak.py $(SOAK_FLAGS)

.PHONY: fuzz
fuzz: tools ## each fuzz target for FUZZ_SECONDS, and two against bugs that they find
	for target in $(fuzz_targets); do \
	  cargo run --release --quiet --manifest-path fuzz/Cargo.toml --bin $$target -- --seconds $(FUZZ_SECONDS); \
	done
	cargo run --release --quiet --manifest-path fuzz/Cargo.toml --bin traceparent -- fuzz/seeds/traceparent
	for seeded in short_varint:otlp_differential one_member_more:traceparent; do \
	  bug=$${seeded%:*} target=$${seeded#*:} log=fuzz/target/seeded.log; \
	  if SEEDED_BUG=$$bug cargo run --quiet --no-default-features --manifest-path fuzz/Cargo.toml --target-dir fuzz/target/seeded \
	    --bin $$target -- --seconds 60 --artifacts fuzz/target/seeded >$$log 2>&1 || ! grep -q "$$target: input .* fails" $$log; \
	  then cat $$log >&2; echo "$$bug: not found by $$target" >&2; exit 1; fi; \
	  echo "$$bug: found by $$target"; \
	done

.PHONY: stubs
stubs: install ## _native.pyi says what the module has; mypy and pyright understand it, and pass the examples
	$(bin)/python -m mypy.stubtest pytracingx._native
	$(bin)/mypy tests/typing
	$(bin)/pyright --pythonpath $(bin)/python tests/typing examples

.PHONY: reference
reference: venv ## docs/reference.md, from the docstrings
	$(bin)/python tests/reference_page.py

.PHONY: lint-python
lint-python: install ## ruff and mypy
	$(bin)/ruff check $(python_sources)
	$(bin)/ruff format --check $(python_sources)
	$(bin)/mypy python/pytracingx
	$(bin)/mypy examples

.PHONY: lint-rust
lint-rust: tools ## formatting, clippy and rustdoc, all warnings denied
	cargo fmt --check
	cargo fmt --check --manifest-path bench/Cargo.toml
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --all-targets -- -D warnings
	cargo clippy --all-targets --features python -- -D warnings
	cargo clippy --all-targets --manifest-path bench/Cargo.toml -- -D warnings
	cargo clippy --all-targets --manifest-path fuzz/Cargo.toml -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --features python

# The core alone: what has sockets needs a C compiler for the target (ring's assembly).
other_targets := x86_64-pc-windows-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin

.PHONY: targets
targets: tools ## type-check the core for the other platforms whose standard library is installed (rustup target add)
	for target in $(other_targets); do \
	  if test -d "$$(rustc --print sysroot)/lib/rustlib/$$target/lib"; \
	  then cargo check --quiet --no-default-features --target $$target && echo "$$target: ok"; \
	  else echo "$$target: not installed, not checked"; fi; \
	done

.PHONY: lint
lint: lint-python lint-rust ## all lints

.PHONY: format
format: tools venv ## rewrite everything as the lints want it
	cargo fmt
	cargo fmt --manifest-path bench/Cargo.toml
	cargo fmt --manifest-path fuzz/Cargo.toml
	$(bin)/ruff check --fix $(python_sources)
	$(bin)/ruff format $(python_sources)

##@ Compatibility with what was published before

.PHONY: compat-0.3
compat-0.3: install ## the tests that ship with pytracingx 0.3.0, unmodified, against this package
	test -f .cache/compat/pytracingx-0.3.0.tar.gz || PATH="$(abspath $(bin)):$$PATH" $(bin)/python -m pip download --quiet \
	  --no-deps --no-build-isolation --no-binary pytracingx --dest .cache/compat pytracingx==0.3.0
	tar -xzf .cache/compat/pytracingx-0.3.0.tar.gz -C .cache/compat
	cd .cache/compat/pytracingx-0.3.0 && \
	  $(abspath $(bin))/python -m pytest -q -p no:cacheprovider -c /dev/null --rootdir . tests

.PHONY: behaviour
behaviour: venv ## record again what 0.2.0 and 0.3.0 do: tests/behaviour/*.json
	for version in 0.2.0 0.3.0; do \
	  test -x .cache/behaviour/$$version/bin/python || $(PYTHON) -m venv .cache/behaviour/$$version; \
	  .cache/behaviour/$$version/bin/python -m pip install -q pytracingx==$$version; \
	  $(bin)/python tests/behaviour/record.py --python .cache/behaviour/$$version/bin/python --version $$version \
	    > .cache/behaviour/$$version.json; \
	  mv .cache/behaviour/$$version.json tests/behaviour/$$version.json; \
	done

##@ Benchmarks

# An interpreter built with profile-guided optimisation, as users have: the system's own where there is one.
BENCH_PYTHON ?= $(if $(CHECK),$(PYTHON),$(if $(shell /usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null && echo yes),/usr/bin/python3,$(PYTHON)))
bench_flags = $(if $(CHECK),--check) $(if $(OUT),--out bench/results/$(OUT)) $(if $(RESUME),--resume)

.PHONY: bench
bench: tools venv ## all benchmarks; CHECK=1: tiny sizes, own asserts only; OUT=NAME: write bench/results/NAME
	BENCH_PYTHON="$(BENCH_PYTHON)" $(bin)/python bench/python/run.py $(bench_flags) $(BENCH_ARGS)

.PHONY: faults
faults: tools install ## each fault, opentelemetry-sdk beside us: about 15 minutes; CHECK=1: a few; OUT=NAME: bench/results/NAME/faults.md
	BENCH_PYTHON="$(BENCH_PYTHON)" $(bin)/python bench/python/faults_report.py $(bench_flags) $(FAULTS)

.PHONY: bench-record
bench-record: ## every table and chart into bench/results/OUT (default: today), then the README's; goes on where it was stopped
	$(MAKE) bench RESUME=1 OUT=$(or $(OUT),$(shell date +%F))
	$(MAKE) bench-readme

.PHONY: bench-readme
bench-readme: venv ## write the README's figures anew, from the newest of bench/results
	$(bin)/python bench/python/readme.py

.PHONY: guard
guard: install ## instructions an operation takes, against bench/guard.json; UPDATE=1: record them; CI=1: fail without valgrind
	if ! valgrind --version >/dev/null 2>&1 && test "$$(id -u)" = 0 && apt-get --version >/dev/null 2>&1; then \
	  { apt-get update -q && apt-get install -yq --no-install-recommends valgrind; } >/dev/null 2>&1 || true; fi
	if valgrind --version >/dev/null 2>&1; then \
	  cargo build --release --quiet --manifest-path bench/Cargo.toml; \
	  $(bin)/python bench/python/guard.py $(if $(UPDATE),--update); \
	else echo "valgrind is missing, instructions are not counted: on Debian: apt install valgrind"; $(if $(CI),exit 1;) fi

.PHONY: stalls
stalls: venv tools ## loads that wait for stores, by source line: what neither instruction counts nor the source show
	VIRTUAL_ENV=$(abspath $(VENV)) CARGO_PROFILE_RELEASE_STRIP=none $(bin)/maturin develop --release --quiet
	$(bin)/python bench/python/stalls.py

##@ Building

.PHONY: install
install: tools venv ## build with full optimisation and install into the venv, editable
	VIRTUAL_ENV=$(abspath $(VENV)) $(bin)/maturin develop --release --quiet

# Linked by zig against glibc 2.28, whatever this machine has. Panics name source files: not those of this machine. In a
# folder of its own, for these flags concern every crate.
wheel_flags = --release --locked --strip --compression-level 9 --out dist $(if $(filter Linux,$(shell uname -s)),--zig --compatibility manylinux_2_28)
# As .cargo/config.toml has it, whose flags RUSTFLAGS replaces.
inlining = -Cllvm-args=-inline-threshold=60
remapped = --remap-path-prefix=$(abspath .)=/pytracingx --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo

.PHONY: wheel
wheel: wheel-tools tools ## two wheels, in dist/: for CPython 3.9 and later, and for this Python, which is faster there
	rm -f dist/*.whl
	for features in "--features abi3-py39" ""; do \
	  PATH="$(abspath $(bin)):$$PATH" CARGO_TARGET_DIR=target/wheel RUSTFLAGS="$(inlining) $(remapped)" \
	    $(bin)/maturin build $(wheel_flags) $$features --interpreter $(bin)/python; \
	done

.PHONY: wheel-check
wheel-check: wheel ## tags, symbols, sizes, crates, paths; then three signals, fork and exit on every CPython (PYTHONS=…)
	$(bin)/python tests/wheel/check.py dist $(PYTHONS)

.PHONY: wheel-tools
wheel-tools: $(VENV)/.installed-wheel

$(VENV)/.installed-wheel: tests/requirements-wheel.txt $(VENV)/.installed
	$(bin)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -r tests/requirements-wheel.txt
	touch $@

.PHONY: sdist-check
sdist-check: venv tools ## the source distribution builds from its lock file, without a network
	rm -rf target/sdist && $(bin)/maturin sdist --out target/sdist
	cd target/sdist && tar -xzf *.tar.gz && cd pytracingx-*/ && cargo fetch --locked --quiet && \
	  CARGO_NET_OFFLINE=true CARGO_TARGET_DIR=../build cargo build --locked --quiet --features python && echo "sdist: ok"

.PHONY: deny
deny: ## licences, advisories and sources of every crate (cargo install cargo-deny)
	if cargo deny --version >/dev/null 2>&1; then cargo deny check; else echo "cargo-deny is not installed, not checked"; fi

.PHONY: venv
venv: $(VENV)/.installed

# Free-threaded Pythons have no wheels of gevent and grpcio, whose tests are skipped there; lz4 and zstandard are compiled.
is_free_threaded = $(PYTHON) -c 'import sys, sysconfig; sys.exit(not sysconfig.get_config_var("Py_GIL_DISABLED"))'
requirements = $(if $(shell $(is_free_threaded) && echo yes),--no-binary lz4$(comma)zstandard -r <(sed '/^g\(event\|rpcio\)=/d' $(1)),-r $(1))

$(VENV)/.installed: tests/requirements.txt tests/requirements-sls.txt tests/requirements-rotel.txt
	@$(need_python)$(need_venv):
	$(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: $(call requirements,tests/requirements.txt)
	$(bin)/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/requirements-sls.txt
	$(bin)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r tests/requirements-rotel.txt \
	  || echo "rotel is not installed: test_collectors.py tells whether this platform has none"
	touch $@

.PHONY: tools
tools:
	@$(need_rust)$(need_cc):

.PHONY: clean
clean: ## remove all that make made
	rm -rf $(VENV) .cache dist target bench/target fuzz/target

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { print "\n" substr($$0, 5) } /^[a-z0-9.-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' \
	  $(firstword $(MAKEFILE_LIST))
