#!/bin/bash
# Brings the programs that `make bench-repository` and `make bench-tables` compare with: restic, zstd and mydumper as the system's packages, and the stock kopia program,
# which is in no distribution, built from its module beside the system; one `rm -r` removes it.
#   scripts/fetch-peers.sh [DIR]
# DIR defaults to $HOLDSTILL_PEERS, else /var/cache/holdstill/peers; kopia lands in DIR/kopia-VERSION.
set -euo pipefail

peers=${1:-${HOLDSTILL_PEERS:-/var/cache/holdstill/peers}}
version=0.23.1 # that of the library in go.mod: the same code, so that the comparison is about what we do with it
die() { echo "fetch-peers: $*" >&2; exit 1; }

missing=()
for p in restic zstd mydumper; do command -v $p >/dev/null || missing+=($p); done
if [ ${#missing[@]} != 0 ]; then
  [ "$(id -u)" = 0 ] || die "missing ${missing[*]}: run as root"
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}" >/dev/null || die "cannot install ${missing[*]}"
fi

dir=$peers/kopia-$version
if [ -e "$dir/.complete" ]; then echo "fetch-peers: kopia $version is in $dir"; exit 0; fi
mkdir -p "$peers" || die "cannot create $peers (run as root, or pass another DIR)"
exec 9>"$peers/.lock" # two runs that start together must not build into the same place
flock -w 900 9 || die "another fetch has held $peers/.lock for a quarter of an hour"
if [ -e "$dir/.complete" ]; then echo "fetch-peers: kopia $version is in $dir"; exit 0; fi

echo "fetch-peers: building kopia $version into $dir"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CGO_ENABLED=0 GOFLAGS=-mod=mod
{ go mod init peers && go get "github.com/kopia/kopia@v$version" && go build -trimpath -o kopia github.com/kopia/kopia; } >log 2>&1 || { tail -15 log >&2; die "cannot build kopia"; }
./kopia --version >/dev/null || die "the kopia that was built does not run"
mkdir -p "$dir"
mv kopia "$dir/kopia"
touch "$dir/.complete"
echo "fetch-peers: kopia $version is in $dir"
