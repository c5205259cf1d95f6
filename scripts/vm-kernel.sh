#!/usr/bin/env bash
# Fetches Debian's own kernel with its drivers for `make test-vm`, unpacked and not installed, builds a
# few more drivers from its source, and prints the folder that it lies in. Exits with 3 and one line where
# it cannot be had.
# usage: vm-kernel.sh FOLDER
set -euo pipefail
folder=${1:?where the kernels are kept}
skip() { echo "skipped: $1" >&2; exit 3; }

for program in qemu-system-x86_64 busybox cpio modprobe depmod ip apt-get dpkg make gcc xz; do
  command -v "$program" >/dev/null || skip "there is no $program"
done
package=$(apt-cache depends linux-image-amd64 2>/dev/null |
  sed -nE 's/.*Depends: (linux-image-[0-9].*-amd64)$/\1/p' | head -1)
[[ -n $package ]] || skip "no kernel linux-image-amd64 is known to apt"
release=${package#linux-image-}
kernel=$folder/$release

# Drivers that stand in for hardware and that Debian leaves out: a timer that makes motion sensors
# measure, GPIO lines, and cameras that another program feeds.
build_drivers() {
  local into=$1 work=$2 headers source series=${release%%-*} needed
  # 6.1 of 6.1.0.
  series=${series%.*}
  headers=$work/usr/src/linux-headers-$release
  mapfile -t needed < <(apt-cache depends "linux-headers-$release" |
    sed -nE 's/.*Depends: (linux-(headers|kbuild)-.*)$/\1/p')
  (cd "$work" && apt-get download -q "linux-headers-$release" "${needed[@]}" "linux-source-$series=$version" \
    v4l2loopback-dkms >/dev/null 2>&1) || skip "the source of $package cannot be fetched"
  for deb in "$work"/linux-headers-*.deb "$work"/linux-kbuild-*.deb "$work"/v4l2loopback-*.deb; do
    dpkg -x "$deb" "$work"
  done
  dpkg-deb --fsys-tarfile "$work"/linux-source-*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" |
    tar -xJ -C "$work" --strip-components=1 --wildcards '*/drivers/iio/industrialio-*.c' \
      '*/drivers/iio/trigger/iio-trig-hrtimer.c' '*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib.h' \
      '*/kernel/irq/irq_sim.c'
  source=$work/source
  mkdir "$source"
  cp "$work"/drivers/iio/industrialio-{configfs,sw-trigger}.c "$work"/drivers/iio/trigger/*.c \
    "$work"/drivers/gpio/gpio* "$work"/kernel/irq/irq_sim.c "$work"/usr/src/v4l2loopback-*/v4l2loopback*.[ch] \
    "$source"
  # A module needs a licence, and may not look a descriptor up.
  echo 'MODULE_LICENSE("GPL");' >>"$source/irq_sim.c"
  sed -i -e '1i #include <linux/module.h>' \
    -e 's/handle_simple_irq(irq_to_desc(irqnum))/generic_handle_irq(irqnum)/' "$source/irq_sim.c"
  echo "obj-m := industrialio-configfs.o industrialio-sw-trigger.o iio-trig-hrtimer.o gpio-sim.o irq_sim.o" \
    "v4l2loopback.o" >"$source/Kbuild"
  sed -i "s|/usr/src/|$work/usr/src/|" "$headers/Makefile"
  make -s -C "$headers" M="$source" CC=gcc CONFIG_IIO_CONFIGFS=y modules >"$work/log" 2>&1 || {
    tail -20 "$work/log" >&2
    echo "drivers for the tests of devices cannot be built" >&2
    exit 1
  }
  mkdir "$into"
  cp "$source"/*.ko "$into"
}

# Its name says what is in it.
if [[ ! -e $kernel/with-more-drivers ]]; then
  echo "fetching $package, and building more drivers from its source" >&2
  part=$folder/$release.part
  rm -rf "$part" && mkdir -p "$part/work"
  (cd "$part" && apt-get download -q "$package" >/dev/null 2>&1) || skip "$package cannot be fetched"
  version=$(dpkg-deb -f "$part"/linux-image-*.deb Version)
  dpkg -x "$part"/linux-image-*.deb "$part"
  rm "$part"/linux-image-*.deb
  build_drivers "$part/lib/modules/$release/extra" "$part/work"
  rm -rf "$part/work"
  depmod -b "$part" "$release"
  touch "$part/with-more-drivers"
  rm -rf "$kernel"
  mv "$part" "$kernel"
fi
echo "$kernel"
