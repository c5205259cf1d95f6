#!/usr/bin/env bash
# Builds the Debian package of the unit, target/temoin-agent_VERSION_ARCH.deb: the program, its service,
# the rules for its devices, the inference runtime and the models. `make deb` sets the cache, the runtime
# and the models.
# usage: deb.sh release|dev
set -euo pipefail
cd "$(dirname "$0")/.."

for program in dpkg-deb dpkg-shlibdeps; do
  command -v "$program" >/dev/null || { echo "deb: $program is missing: install dpkg-dev" >&2; exit 1; }
done
case ${1:?release or dev} in
  release) built=release; cargo build --release --locked -p temoin-agent --bin temoin-agent ;;
  # As the tests have built it.
  dev) built=debug; cargo build --locked --workspace --bins ;;
esac

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
arch=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/debian/temoin-agent
put() { # MODE FILE INTO
  install -D -m "$1" "$2" "$root$3"
}
put 0755 "$CARGO_TARGET_DIR/$built/temoin-agent" /usr/bin/temoin-agent
strip --strip-unneeded "$root/usr/bin/temoin-agent"
put 0644 packaging/temoin-agent.service /lib/systemd/system/temoin-agent.service
put 0644 packaging/temoin-power-off.path /lib/systemd/system/temoin-power-off.path
put 0644 packaging/temoin-power-off.service /lib/systemd/system/temoin-power-off.service
put 0644 packaging/60-temoin.rules /lib/udev/rules.d/60-temoin.rules
put 0640 packaging/agent.toml /etc/temoin/agent.toml
put 0644 "$ORT_DYLIB_PATH" /usr/lib/temoin/libonnxruntime.so
for model in "$TEMOIN_MODELS"/*.onnx; do
  # Without the pack the unit falls back, and says what it cannot see.
  [[ -e $model ]] && put 0644 "$model" "/usr/share/temoin/models/${model##*/}"
done
for vehicle in vehicles/*; do
  put 0644 "$vehicle" "/usr/share/temoin/vehicles/${vehicle##*/}"
done
docs=/usr/share/doc/temoin-agent
put 0644 docs/configuration.md $docs/configuration.md
put 0644 models/README.md $docs/models.md
put 0644 models/pack.toml $docs/models.toml
{
  cat LICENSE
  echo
  echo "/usr/lib/temoin/libonnxruntime.so: Copyright Microsoft Corporation, MIT License."
  echo "/usr/share/temoin/models: each as models.toml beside this file says."
} >"$work/copyright"
put 0644 "$work/copyright" $docs/copyright

# What the program is linked with, as Debian calls it.
cat >"$work/debian/control" <<'CONTROL'
Source: temoin

Package: temoin-agent
Architecture: any
Description: x
CONTROL
needed=$(cd "$work" && dpkg-shlibdeps -O debian/temoin-agent/usr/bin/temoin-agent 2>/dev/null |
  sed -n 's/^shlibs:Depends=//p')
mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: temoin-agent
Version: $version
Architecture: $arch
Section: misc
Priority: optional
Maintainer: The Temoin developers <temoin@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $needed, adduser, opencv-data, gstreamer1.0-plugins-base, gstreamer1.0-plugins-good, gstreamer1.0-plugins-bad, gstreamer1.0-plugins-ugly
Recommends: gstreamer1.0-libav
Description: dashcam that watches road and driver, and protects the driver's pictures
 Detects speeding, harsh driving, distraction and drowsiness on the device, keeps
 unflagged video in memory only, and uploads flagged clips, sealed.
CONTROL
echo /etc/temoin/agent.toml >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
  install -m 0755 "packaging/$script" "$root/DEBIAN/$script"
done
mkdir -p target
package=target/temoin-agent_${version}_$arch.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package"
