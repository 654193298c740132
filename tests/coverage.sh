#!/usr/bin/env bash
# Counts which lines the tests run, the spawned program's included, and prints the share of each
# module. Needs LLVM's tools of the compiler's version (`rustc -vV`; Debian: llvm-22) beside what
# tests/run.sh installs. Arguments go to the test runner, as there:
#
#   bash tests/coverage.sh -E 'test(/^(customers|notify|statistics)::/)'
#
# Its build is apart from the usual one (9 minutes on two cores).
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
for tool in "llvm-profdata-$version" "llvm-cov-$version"; do
    command -v "$tool" >/dev/null || { echo "$tool is missing; install llvm-$version" >&2; exit 2; }
done
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/coverage CARGO_INCREMENTAL=0
# Counters in a file that is mapped: a program that is killed has counted, too.
export RUSTFLAGS="-C instrument-coverage -C llvm-args=-runtime-counter-relocation"
counts=$CARGO_TARGET_DIR/counts
rm -rf "$counts"
mkdir -p "$counts"
export LLVM_PROFILE_FILE=$counts/%4m%c.profraw
bash tests/run.sh "$@"
rm -f "$counts"/*_build_script*
"llvm-profdata-$version" merge -sparse "$counts"/*.profraw -o "$counts/all.profdata"
tests=$(ls -t "$CARGO_TARGET_DIR"/debug/deps/it-* | grep -v '\.d$' | head -1)
"llvm-cov-$version" export -summary-only -instr-profile="$counts/all.profdata" \
    "$CARGO_TARGET_DIR/debug/lux" -object "$tests" | python3 tests/coverage.py
