#!/bin/bash
# Fetches Google's guest agent, as Debian has it, beside the system, for tests. It is only unpacked: installed, it would look after
# the users, the keys and the network of this machine.
#   scripts/fetch-agent.sh [DIR]
# DIR defaults to $HOLDSTILL_SERVERS, else /var/cache/holdstill/servers; it lands in DIR/google-guest-agent (20 MB).
set -euo pipefail

tree=${1:-${HOLDSTILL_SERVERS:-/var/cache/holdstill/servers}}/google-guest-agent
die() { echo "fetch-agent: $*" >&2; exit 1; }
if [ -e "$tree/.complete" ]; then echo "fetch-agent: google-guest-agent is in $tree"; exit 0; fi
[ "$(uname -sm)" = "Linux x86_64" ] || die "only tried on x86_64 Linux"
command -v apt-get dpkg-deb >/dev/null || die "needs apt-get and dpkg-deb (Debian or Ubuntu)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# the system's own suite: the program needs nothing but its libc. The user _apt cannot write here.
download() { apt-get -qq -o APT::Sandbox::User=root download google-guest-agent >log 2>&1; }
download || { apt-get -qq -o DPkg::Lock::Timeout=120 update >log 2>&1 && download; } || { tail -15 log >&2; die "cannot be fetched"; }
rm -rf "$tree"
mkdir -p "$tree"
dpkg-deb -x ./*.deb "$tree" # -x: no maintainer script runs
[ -x "$tree/usr/bin/google_guest_agent" ] || die "the package has no usr/bin/google_guest_agent any more"
ls ./*.deb >"$tree/.complete"
echo "fetch-agent: $(cat "$tree/.complete")"
