#!/bin/sh
# Puts the weights that models/pack.toml names into a folder, each checked by its SHA-256.
#
#   scripts/models.sh [FOLDER]      default: $TEMOIN_CACHE/models (~/.cache/temoin/models)
#
# They come from ../shared/models where that lies beside the checkout, else from upstream.
# A file is written beside its place and renamed: a crash leaves a `.part` file and no half model.
# Run again at will; what is there and right is left alone.
# Exit code: 0 with everything there that can be had, 1 where a file is wrong or out of reach.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
pack=$root/models/pack.toml
beside=$root/../shared/models
target=${1:-${TEMOIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/temoin}/models}
failed=0

say() { printf '%s\n' "models: $*" >&2; }
hash_of() { sha256sum -- "$1" | cut -d' ' -f1; }

# place SOURCE NAME WANTED: checks and renames into place.
place() {
    found=$(hash_of "$1")
    if [ "$found" != "$3" ]; then
        say "refused $2: sha256 is $found, but models/pack.toml says $3"
        return 1
    fi
    mv -f -- "$1" "$target/$2"
}

fetch() { # NAME SHA256 BYTES UPSTREAM CONVERSION
    name=$1 wanted=$2 bytes=$3 upstream=$4 conversion=$5
    part=$target/.$name.part
    if [ -f "$target/$name" ]; then
        if [ "$(hash_of "$target/$name")" = "$wanted" ]; then return 0; fi
        say "$target/$name has a wrong hash: getting it again"
    fi
    if [ -f "$beside/$name" ]; then
        say "$name from $beside"
        cp -- "$beside/$name" "$part" && chmod u+w "$part"
    elif [ -n "$conversion" ]; then
        say "$name is not to be had ready-made: upstream is $upstream, converted with $conversion"
        say "  the unit runs without it and says so; models/README.md tells how to make it"
        return 0
    else
        say "$name from $upstream ($bytes bytes)"
        if ! command -v curl >/dev/null; then
            say "curl is missing: install it, or put $name into $target"
            return 1
        fi
        # Twice the known size is enough for any file that can still be the right one.
        if ! curl --fail --location --silent --show-error --proto '=https' --connect-timeout 20 \
            --max-time 600 --retry 2 --max-filesize $((bytes * 2)) --output "$part" "$upstream"; then
            rm -f -- "$part"
            say "$name could not be fetched: check the network, or put it into $target"
            return 1
        fi
    fi
    if ! place "$part" "$name" "$wanted"; then
        rm -f -- "$part"
        return 1
    fi
}

mkdir -p -- "$target"
# One line a model: file|sha256|bytes|upstream|conversion. `file` opens an entry of pack.toml.
list=$(awk -F' = ' '
    function value(s) { gsub(/^"|"$/, "", s); return s }
    function flush() { if (file != "") print file "|" sha "|" bytes "|" up "|" conv }
    $1 == "file" { flush(); file = value($2); sha = bytes = up = conv = "" }
    $1 == "sha256" { sha = value($2) }
    $1 == "bytes" { bytes = $2 }
    $1 == "upstream" { up = value($2) }
    $1 == "conversion" { conv = value($2) }
    END { flush() }' "$pack")
while IFS='|' read -r file sha bytes up conv; do
    fetch "$file" "$sha" "$bytes" "$up" "$conv" || failed=1
done <<LIST
$list
LIST
if [ "$failed" -eq 0 ]; then say "ready in $target"; fi
exit "$failed"
