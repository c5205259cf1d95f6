#!/usr/bin/env bash
# The build folder lies outside the checkout, so that a second clone need not build the
# dependencies anew. Cargo gives the project's own crates the same names in every clone, though,
# and would take those of another clone for this one's. So they are removed when another clone
# was the last to build.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${CARGO_TARGET_DIR:?set by the Makefile}
stamp=$folder/.checkout
if [[ -d $folder && $(cat "$stamp" 2>/dev/null) != "$PWD" ]]; then
  echo "another checkout was built here last: the project's own crates are built anew"
  for profile in dev release; do
    cargo clean --quiet --workspace --profile "$profile"
  done
fi
mkdir -p "$folder"
printf '%s\n' "$PWD" >"$stamp"
