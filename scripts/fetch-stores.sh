#!/bin/bash
# Fetches what stands in for the object stores of the clouds, beside the system, for tests: nothing is installed, nothing is started,
# and one `rm -r` removes it.
#   scripts/fetch-stores.sh [DIR]
# DIR defaults to $HOLDSTILL_STORES, else /var/cache/holdstill/stores; a store lands in DIR/NAME-VERSION (400 MB all together, most of
# it azurite's libraries). A complete one has the file .complete; then this returns at once. SFTP is the system's own sshd.
# The versions are those that internal/lab/store/programs.go looks for. Packages it needs: scripts/prereqs.sh test.
set -euo pipefail

stores=${1:-${HOLDSTILL_STORES:-/var/cache/holdstill/stores}}
die() { echo "fetch-stores: $*" >&2; exit 1; }
mkdir -p "$stores" || die "cannot create $stores (run as root, or pass another DIR)"
stores=$(realpath "$stores")

# two test runs that start together must not build into the same tree; the second waits and then finds it complete
exec 9>"$stores/.lock"
flock -w 900 9 || die "another fetch has held $stores/.lock for a quarter of an hour"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 || { tail -15 "$log" >&2; die "failed: $*"; }; }

# fetch NAME VERSION HOW WHAT PROGRAM: PROGRAM, below DIR/NAME-VERSION, is there and runs at the end
fetch() {
  local name=$1-$2 tree=$stores/$1-$2
  if [ -e "$tree/.complete" ]; then echo "fetch-stores: $name is in $tree"; return; fi
  echo "fetch-stores: fetching $name into $tree"
  rm -rf "$tree"
  mkdir -p "$tree"
  "$3" "$tree" "$4@$5$2"
  [ -e "$tree/$6" ] || die "$name has no $6 any more"
  touch "$tree/.complete"
}

# It is built in its own module, with the versions that its authors chose: our go.mod knows nothing of it. The module cache is the
# user's, as for everything that Go builds. Not `go install`: that asks the proxy for a list of versions, which not every proxy has.
with_go() {
  command -v go >/dev/null || die "needs Go to build $2: https://go.dev/dl"
  local module=${2%@*} package=. source
  case $module in */cmd/*) package=./cmd/${module#*/cmd/} module=${module%%/cmd/*} ;; esac
  (cd / && quietly go mod download -json "$module@${2#*@}")
  source=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$log")
  GOFLAGS=-buildvcs=false CGO_ENABLED=0 quietly go build -C "$source" -trimpath -ldflags '-s -w' -o "$1/" "$package"
}

# --ignore-scripts: no install script of the package, or of those below it, ever runs. What azurite says of node's version (its
# "engines") is advice: it runs on Debian 12's as well, which the tests show.
with_npm() {
  command -v npm >/dev/null || die "needs npm to fetch $2 (Debian: apt-get install npm)"
  quietly npm install --prefix "$1" --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error "$2"
}

fetch versitygw 1.8.0 with_go github.com/versity/versitygw/cmd/versitygw v versitygw
fetch fake-gcs-server 1.56.1 with_go github.com/fsouza/fake-gcs-server v fake-gcs-server
fetch azurite 3.37.0 with_npm azurite '' node_modules/azurite/dist/src/blob/main.js
# no store: the program that made the format of our repository, which has to read what we write
fetch kopia 0.23.1 with_go github.com/kopia/kopia v kopia
