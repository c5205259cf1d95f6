#!/usr/bin/env bash
# Builds the unit's program for arm64 on a machine that is not: with Debian's cross compiler, against the
# libraries of Debian 12 for arm64, which are unpacked into a folder and never installed or run.
# On an arm64 machine itself `make deb` does all this.
#
#   scripts/arm64.sh [release|dev]      then: $CARGO_TARGET_DIR/aarch64-unknown-linux-gnu/.../temoin-agent
#
# Needs root for the packages, and once some 250 MB to fetch. A crash leaves a folder NAME.new, which the next
# run removes.
set -euo pipefail
cd "$(dirname "$0")/.."

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
libraries=libc6-dev,libstdc++-12-dev,libgcc-12-dev,libopencv-dev,libasound2-dev
libraries+=,libgstreamer1.0-dev,libgstreamer-plugins-base1.0-dev
target=aarch64-unknown-linux-gnu
root=${TEMOIN_CACHE:?set by the Makefile}/arm64

missing=()
for package in gcc-aarch64-linux-gnu g++-aarch64-linux-gnu debootstrap; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
((${#missing[@]} == 0)) || apt-get install -y --no-install-recommends "${missing[@]}"
rustup target add "$target"

if [[ ! -d $root ]]; then
  rm -rf "$root.new"
  debootstrap --arch=arm64 --foreign --variant=minbase --include="$libraries" bookworm "$root.new" "$mirror"
  for package in "$root.new"/var/cache/apt/archives/*.deb; do
    dpkg-deb -x "$package" "$root.new"
  done
  # Links that begin at the root would lead to this machine's own files.
  find "$root.new" -type l -lname '/*' | while read -r link; do
    ln -snf "$(realpath -m --relative-to="$(dirname "$link")" "$root.new$(readlink "$link")")" "$link"
  done
  rm -rf "$root.new/var/cache/apt/archives"
  mv "$root.new" "$root"
fi

export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_LIBDIR=$root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++
export CFLAGS_aarch64_unknown_linux_gnu="--sysroot=$root" CXXFLAGS_aarch64_unknown_linux_gnu="--sysroot=$root"
export OPENCV_CLANG_ARGS="--target=aarch64-linux-gnu --sysroot=$root"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# OpenCV's own libraries need some that only their installation would choose (BLAS): the unit's machine has them.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=--sysroot=$root -C link-arg=-Wl,--allow-shlib-undefined"

case ${1:-release} in
  release) cargo build --release --locked --target "$target" -p temoin-agent --bin temoin-agent ;;
  dev) cargo build --locked --target "$target" -p temoin-agent --bin temoin-agent ;;
  *) echo "usage: scripts/arm64.sh [release|dev]" >&2; exit 2 ;;
esac
