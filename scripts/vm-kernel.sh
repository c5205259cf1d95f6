#!/usr/bin/env bash
# Fetches Debian's own kernel with its drivers for `make test-vm`, unpacked and not installed, and
# prints the folder that it lies in. Exits with 3 and one line where it cannot be had.
# usage: vm-kernel.sh FOLDER
set -euo pipefail
folder=${1:?where the kernels are kept}
skip() { echo "skipped: $1" >&2; exit 3; }

for program in qemu-system-x86_64 busybox cpio modprobe depmod ip apt-get dpkg; do
  command -v "$program" >/dev/null || skip "there is no $program"
done
package=$(apt-cache depends linux-image-amd64 2>/dev/null |
  sed -nE 's/.*Depends: (linux-image-[0-9].*-amd64)$/\1/p' | head -1)
[[ -n $package ]] || skip "no kernel linux-image-amd64 is known to apt"
release=${package#linux-image-}
kernel=$folder/$release
if [[ ! -e $kernel/done ]]; then
  echo "fetching $package" >&2
  part=$folder/$release.part
  rm -rf "$part" && mkdir -p "$part"
  (cd "$part" && apt-get download -q "$package" >/dev/null 2>&1) || skip "$package cannot be fetched"
  dpkg -x "$part"/linux-image-*.deb "$part"
  rm "$part"/linux-image-*.deb
  depmod -b "$part" "$release"
  touch "$part/done"
  rm -rf "$kernel"
  mv "$part" "$kernel"
fi
echo "$kernel"
