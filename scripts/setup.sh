#!/usr/bin/env bash
# Installs what is missing on Debian 12 or Ubuntu, as root or with sudo, without questions.
# usage: setup.sh demo|test|vm|eval
#   demo: what building and running needs; test: browser and tools for the tests as well;
#   vm: what the tests of devices need;
#   eval: gpsd and its decoder, which receivers' logs are read through and compared with
set -euo pipefail

what=${1:-demo}
cache=${TEMOIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/temoin}
mkdir -p "$cache"

packages=(
  build-essential pkg-config clang libclang-dev nasm curl ca-certificates git
  libopencv-dev opencv-data libasound2-dev
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav
)
command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || packages+=(python3 python3-pip)
if [[ $what == test ]]; then
  packages+=(ffmpeg fonts-dejavu-core faketime tzdata softhsm2 systemd dpkg-dev)
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
  # Ubuntu's `chromium-browser` is only a stub for a snap; Debian has the real package.
  if apt-cache show chromium >/dev/null 2>&1 || [[ -r /etc/debian_version && ! -e /etc/lsb-release ]]; then
    packages+=(chromium)
  fi
  command -v node >/dev/null || packages+=(nodejs)
  command -v npm >/dev/null || packages+=(npm)
fi

if [[ $what == test || $what == vm ]]; then
  # An emulated machine for the tests of devices.
  packages+=(qemu-system-x86 busybox-static kmod cpio iproute2 dmsetup e2fsprogs f2fs-tools i2c-tools xz-utils
    systemd udev)
fi

if [[ $what == eval ]]; then
  packages+=(gpsd gpsd-clients)
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  as_root=()
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || {
      echo "setup: these packages are missing and neither root nor sudo is there: ${missing[*]}" >&2
      exit 1
    }
    as_root=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

export PATH="$cache/tools/bin:$HOME/.cargo/bin:$PATH"
need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
have=$(cargo --version 2>/dev/null | sed -E 's/^cargo ([0-9]+\.[0-9]+).*/\1/' || true)
if [[ -z $have || $(printf '%s\n%s\n' "$need" "$have" | sort -V | head -1) != "$need" ]]; then
  echo "setup: Rust $need or newer is needed (found: ${have:-none}); installing it with rustup"
  if command -v rustup >/dev/null; then
    rustup toolchain install stable --profile minimal -c clippy -c rustfmt
    rustup default stable
  else
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c clippy -c rustfmt
  fi
fi

if [[ $what == test ]]; then
  if ! command -v cargo-deny >/dev/null; then
    echo "setup: building cargo-deny (some minutes, once)"
    CARGO_TARGET_DIR="$cache/tools/target" cargo install cargo-deny --version '^0.20' --locked --root "$cache/tools"
    rm -rf "$cache/tools/target"
  fi
fi

if [[ $what == test ]]; then
  # A server with the APIs of S3 and KMS for two tests, which say so in a line where it cannot be
  # had.
  if [[ ! -x $cache/tools/moto/bin/moto_server ]]; then
    echo "setup: installing moto, a test server with the APIs of S3 and KMS"
    if ! { python3 -m venv "$cache/tools/moto" &&
      "$cache/tools/moto/bin/pip" install --quiet --disable-pip-version-check 'moto[server]>=5.1,<6'; }; then
      rm -rf "$cache/tools/moto"
      echo "setup: moto could not be installed; its tests will be skipped"
    fi
  fi
fi

scripts/onnxruntime.sh "$cache/onnxruntime" >/dev/null
