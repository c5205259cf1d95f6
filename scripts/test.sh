#!/usr/bin/env bash
# Everything that CI checks, in the order in which it fails fastest. Called by `make test`, which
# sets the cache, the runtime and the models.
set -euo pipefail

step() { printf '\n== %s  (%s s)\n' "$1" "$SECONDS"; }

step "format"
cargo fmt --all --check

step "manifest of the built-in networks"
scripts/builtin-manifest.sh --check

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

step "dependencies and licences"
cargo deny --log-level error check licenses bans sources
# The advisory database is fetched from the network; without it, it is said and not passed over.
if ! cargo deny check advisories 2>target-advisories.log; then
  if grep -qiE 'failed to (fetch|clone|open|load)|unable to|could not' target-advisories.log; then
    echo "advisories: NOT CHECKED, the advisory database cannot be fetched here"
  else
    cat target-advisories.log >&2
    exit 1
  fi
fi
rm -f target-advisories.log

step "build the programs"
(cd tests/browser && npm ci --no-audit --no-fund --silent) || echo "browser: npm failed, so the browser test will be skipped"
cargo build --workspace --bins --locked

step "tests"
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --locked --no-fail-fast
else
  cargo test --workspace --locked --no-fail-fast
fi
cargo test --workspace --doc --locked --quiet

step "the unit's package"
scripts/packaging-test.sh

step "devices, against real drivers in an emulated machine"
scripts/vm.sh

step "done"
