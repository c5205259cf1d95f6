#!/usr/bin/env bash
# Checks the unit's package without installing it: its service's sandbox, its scripts, and that the program
# in it finds what came with it. Called by scripts/test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "packaging: $1" >&2; exit 1; }

for script in packaging/{postinst,prerm,postrm}; do
  sh -n "$script" || fail "$script is no script"
done
if command -v systemd-analyze >/dev/null; then
  # In tenths: 2.0.
  systemd-analyze security --offline=yes --threshold=20 --no-pager packaging/temoin-agent.service >/dev/null ||
    fail "the service's sandbox is weaker than 2.0: systemd-analyze security --offline=yes packaging/temoin-agent.service"
else
  echo "packaging: there is no systemd-analyze, so the service's sandbox is not scored"
fi

package=$(scripts/deb.sh dev | tail -1)
into=$(mktemp -d)
trap 'rm -rf "$into"' EXIT
dpkg-deb -x "$package" "$into"
dpkg-deb -f "$package" Depends | grep -q libgstreamer || fail "it does not say which libraries it needs"
# The folders are where the package is unpacked, not where it would be installed.
sed -i -e "s|/usr/lib/temoin|$into/usr/lib/temoin|; s|/var/lib/temoin|$into/var/lib/temoin|" "$into/etc/temoin/agent.toml"
sed -i "/^\[perception\]/a models_dir = \"$into/usr/share/temoin/models\"" "$into/etc/temoin/agent.toml"
# It is not enrolled, so not all is well.
said=$(env -u ORT_DYLIB_PATH -u TEMOIN_MODELS "$into/usr/bin/temoin-agent" check --config "$into/etc/temoin/agent.toml" 2>&1) &&
  fail "a unit that is not enrolled is told to be fit to drive"
grep -q '^ok *configuration' <<<"$said" || fail "its own configuration cannot be read: $said"
grep -q '^WRONG *identity' <<<"$said" || fail "a missing identity is not said: $said"
if compgen -G "$into/usr/share/temoin/models/*.onnx" >/dev/null; then
  grep -q '^ok *perception.models' <<<"$said" || fail "its own models are not found: $said"
fi
for path in $(sed -n 's/^#vehicle = "\(.*\)"/\1/p' packaging/agent.toml); do
  [[ -e $into$path ]] || fail "the configuration names $path, which is not in the package"
done
echo "packaging: $package"
