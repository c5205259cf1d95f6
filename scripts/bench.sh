#!/usr/bin/env bash
# Measures: the parts with criterion, then the whole line. Called by `make bench`, which sets the
# cache, the runtime and the models.
#
#   scripts/bench.sh [--repeat N] [--views N]      options go to temoin-bench
#
# Writes target/bench.json and benches/RESULTS.md; criterion's own reports lie in the build folder.
# A crash leaves nothing but those: the fleet that is measured lies in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s  (%s s)\n' "$1" "$SECONDS"; }
# The same packages each time: others would switch on other features and build everything anew.
packages=(-p temoin-keys -p temoin-decoder -p temoin-server -p temoin-witness -p temoin-agent -p temoin-tests -p temoin-benches)

step "build (release; the first time takes many minutes)"
cargo build --release --locked "${packages[@]}" --bins

step "parts"
cargo bench --locked "${packages[@]}" --bench parts

step "devices, in an emulated machine"
rm -f target/vm/vm.json
scripts/vm.sh || echo "not all went well: the figures say how many"

step "the whole line (about 5 minutes)"
"${CARGO_TARGET_DIR:-target}/release/temoin-bench" "$@"
