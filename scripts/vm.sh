#!/usr/bin/env bash
# Tests the unit's devices against real Linux drivers in an emulated machine (`tests/vm`). Needs no
# rights and no KVM. Where the machine cannot be had, it says so in a line and is no failure.
# Arguments go to `temoin-vm run`: `--only camera` for a part of it.
set -euo pipefail
cd "$(dirname "$0")/.."

kernel=$(scripts/vm-kernel.sh "${TEMOIN_CACHE:?set by the Makefile}/vm") || {
  (($? == 3)) && exit 0
  exit 1
}
cargo build --locked --workspace --bin temoin-vm
exec "$CARGO_TARGET_DIR/debug/temoin-vm" run --kernel "$kernel" --out target/vm "$@"
