#!/bin/bash
# Memory and race checkers over the core: each passes the tests as they are, and finds a bug that is seeded for it
# (SEEDED_BUG, see build.rs), or it has proven nothing and this fails. `make sanitize`, or: tests/sanitize.sh CHECKER...
#
#   address   AddressSanitizer and LeakSanitizer (nightly): out_of_bounds, leak
#   thread    ThreadSanitizer, with a standard library built for it (nightly and its rust-src): unordered
#   memcheck  valgrind over the core's tests: out_of_bounds, leak
#   python    valgrind over a short run of the extension: leak
#
# What is not installed is named and left out.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
python=$(realpath -s "${PYTHON:-python3}")
log=target/sanitize/log
mkdir -p target/sanitize
# Instructions cost ten times as much here.
export PROPTEST_CASES=${PROPTEST_CASES:-16}

# The lanes and the recording side, which need no C code.
core=(--no-default-features --test core --target "$host")
with_sanitizer() {
  local sanitizer=$1
  shift
  RUSTFLAGS="-Zsanitizer=$sanitizer" CARGO_TARGET_DIR=target/sanitize/$sanitizer cargo +nightly test --quiet "${core[@]}" "$@"
}

# valgrind runs one thread at a time and each of them 30 times slower, so the tests of throughput are left out.
under_valgrind() {
  local runner=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$host")_RUNNER
  env "$runner=valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite" \
    CARGO_TARGET_DIR=target/sanitize/memcheck cargo test --quiet "${core[@]}" -- batch lane:: tally "$@"
}

extension() {
  CARGO_TARGET_DIR=target/sanitize/memcheck PYO3_PYTHON=$python cargo build --quiet --features python
  local package=target/sanitize/package/pytracingx
  rm -rf "$package" && mkdir -p "$package"
  cp -r python/pytracingx/. "$package" && rm -f "$package"/_native*.so
  cp target/sanitize/memcheck/debug/libpytracingx.so "$package/_native.so"
  # The interpreter itself leaks and reads ahead: an error is one that has a frame of ours.
  PYTHONPATH=target/sanitize/package PYTHONMALLOC=malloc valgrind --leak-check=full --show-leak-kinds=definite \
    --log-file=target/sanitize/valgrind "$python" tests/python/memcheck_run.py
  ! awk -v RS='==[0-9]+== \n' '/pytracingx/ && /(lost in loss record|Invalid|uninitialised)/ { print; found = 1 } END { exit !found }' \
    target/sanitize/valgrind
}

# finds BUG TEXT COMMAND...: with the bug, the command must fail and say TEXT.
finds() {
  local bug=$1 text=$2
  shift 2
  if SEEDED_BUG=$bug "$@" >"$log" 2>&1 || ! grep -q "$text" "$log"; then
    tail -40 "$log" >&2
    echo "$bug: not found by $1 $2" >&2
    exit 1
  fi
  echo "  $bug: found"
}

address() {
  with_sanitizer address --test no_alloc -- --skip layering
  finds out_of_bounds 'ERROR: AddressSanitizer: .*overflow' with_sanitizer address -- lane::
  finds leak 'ERROR: LeakSanitizer: detected memory leaks' with_sanitizer address -- lane::
}

thread() {
  if ! test -d "$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library"; then
    echo "  no source of the standard library, left out: rustup component add rust-src --toolchain nightly"
    return
  fi
  with_sanitizer thread -Zbuild-std -- --skip layering
  finds unordered 'WARNING: ThreadSanitizer: data race' with_sanitizer thread -Zbuild-std -- lane_threads
}

memcheck() {
  under_valgrind
  finds out_of_bounds 'Invalid read' under_valgrind
  finds leak 'definitely lost' under_valgrind
}

python() {
  extension
  finds leak 'definitely lost' extension
}

for checker in "$@"; do
  echo "$checker"
  case $checker in
    address | thread) command=(rustc +nightly --version) missing='nightly compiler: rustup toolchain install nightly' ;;
    *) command=(valgrind --version) missing=valgrind ;;
  esac
  if "${command[@]}" >/dev/null 2>&1; then
    SECONDS=0
    $checker
    echo "  ${SECONDS} s"
  else
    echo "  left out, there is no $missing"
  fi
done
