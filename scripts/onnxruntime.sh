#!/bin/sh
# Puts ONNX Runtime's shared library into a folder and prints its path.
#
#   scripts/onnxruntime.sh [FOLDER]   default: $TEMOIN_CACHE/onnxruntime (~/.cache/temoin/onnxruntime)
#
# It is taken out of the Python wheel `onnxruntime`, by pip, from whatever index pip is set up with;
# Python itself is used for nothing else. Both the wheel and the library are checked by SHA-256.
# A crash leaves a temporary folder and no half library. Run again at will: what is there and
# right is left alone. TEMOIN_ARCH=aarch64 or x86_64 overrides this machine's own.
set -eu

# Measured on one x86-64 core: the eyelid model takes 1.4 ms in 1.24.4 and 3.4 ms in 1.27.0 and
# 1.31.1; the others take the same. It needs glibc 2.27. The agent takes any from 1.17 on.
version=1.24.4
arch=${TEMOIN_ARCH:-$(uname -m)}
case $arch in
x86_64 | amd64)
    arch=x86_64
    wheel_sha256=e54ad52e61d2d4618dcff8fa1480ac66b24ee2eab73331322db1049f11ccf330
    library_sha256=2d518e11c7767f9fdc4413bdbeb45acf30db504ff76a82fc19d9238a3f9f6c24
    ;;
aarch64 | arm64)
    arch=aarch64
    wheel_sha256=046ff290045a387676941a02a8ae5c3ebec6b4f551ae228711968c4a69d8f6b7
    library_sha256=f373ae5fd4d878ed17ebea26e5480bd3d0a15e3bd6bc94b878e6c1b73998d22a
    ;;
*)
    echo "onnxruntime: no library is known for the processor $arch: set ORT_DYLIB_PATH to one" >&2
    exit 1
    ;;
esac

say() { printf '%s\n' "onnxruntime: $*" >&2; }
# check FILE WANTED
check() {
    found=$(sha256sum -- "$1" | cut -d' ' -f1)
    if [ "$found" != "$2" ]; then
        say "refused $1: sha256 is $found, expected $2"
        return 1
    fi
}

target=${1:-${TEMOIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/temoin}/onnxruntime}
mkdir -p -- "$target"
target=$(CDPATH='' cd -- "$target" && pwd)
library=$target/libonnxruntime.so.$version
link=$target/libonnxruntime.so

if [ ! -f "$library" ] || ! check "$library" "$library_sha256"; then
    work=$(mktemp -d "$target/.fetch.XXXXXX")
    trap 'rm -rf -- "$work"' EXIT
    trap 'exit 130' INT TERM
    python=$(command -v python3) || { say "python3 is missing: install python3 and python3-pip"; exit 1; }
    pip_version=$("$python" -m pip --version 2>/dev/null) || { say "pip is missing: install python3-pip"; exit 1; }
    say "version $version for $arch, about 20 MB (${pip_version%% from*})"
    # The wheel is unpacked, never installed: any Python will do, so the tags are fixed.
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --implementation cp --python-version 3.11 --abi cp311 \
        --platform "manylinux_2_27_$arch" --platform "manylinux_2_28_$arch" \
        --dest "$work" "onnxruntime==$version" >&2 || {
        say "pip could not fetch the wheel: check the network or pip's index settings"
        exit 1
    }
    set -- "$work"/onnxruntime-*.whl
    check "$1" "$wheel_sha256"
    "$python" -m zipfile -e "$1" "$work/wheel"
    check "$work/wheel/onnxruntime/capi/libonnxruntime.so.$version" "$library_sha256"
    cp -- "$work/wheel/onnxruntime/LICENSE" "$target/LICENSE"
    cp -- "$work/wheel/onnxruntime/ThirdPartyNotices.txt" "$target/ThirdPartyNotices.txt"
    mv -f -- "$work/wheel/onnxruntime/capi/libonnxruntime.so.$version" "$library"
fi
ln -sfn -- "libonnxruntime.so.$version" "$link"
printf '%s\n' "$link"
