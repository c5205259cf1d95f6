#!/bin/sh
# Writes models/builtin.toml, the manifest of the networks that are part of the program.
#
#   scripts/builtin-manifest.sh            write it anew
#   scripts/builtin-manifest.sh --check    exit 1 where it is not what would be written
#
# Each models/builtin/NAME.onnx has its contract beside it, models/builtin/NAME.toml (role, licence,
# input, outputs). The manifest is these contracts with the name, SHA-256 and size of each file.
# Run it after a network was trained; no code changes. It is written beside its place and renamed.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
manifest=$root/models/builtin.toml
part=$root/models/.builtin.toml.part
trap 'rm -f -- "$part"' EXIT

cat >"$part" <<'HEAD'
# The built-in pack: networks of the project's own that are part of the program, so that a unit sees
# without any download. The same schema as pack.toml, and checked in the same way.
#
# Written by scripts/builtin-manifest.sh: change models/builtin/NAME.toml and run it again.
schema = "temoin.models/1"
name = "builtin-1"
HEAD

for model in "$root"/models/builtin/*.onnx; do
    [ -e "$model" ] || continue
    contract=${model%.onnx}.toml
    if [ ! -f "$contract" ]; then
        printf 'builtin-manifest: %s has no contract: write %s (role, required, licence, upstream, input, outputs)\n' \
            "$model" "$contract" >&2
        exit 1
    fi
    {
        printf '\n[[model]]\nfile = "%s"\n' "$(basename -- "$model")"
        printf 'sha256 = "%s"\n' "$(sha256sum -- "$model" | cut -d' ' -f1)"
        printf 'bytes = %s\n' "$(wc -c <"$model" | tr -d ' ')"
        cat -- "$contract"
    } >>"$part"
done

if [ "${1:-}" = --check ]; then
    if cmp -s -- "$part" "$manifest"; then exit 0; fi
    printf 'builtin-manifest: %s is not up to date: run scripts/builtin-manifest.sh\n' "$manifest" >&2
    exit 1
fi
mv -f -- "$part" "$manifest"
