#!/bin/bash
# Installs the Debian packages that the demo (or the tests) need, and nothing that is already there.
#   scripts/prereqs.sh [demo|test|vm]
# Quiet, and done in well under a second when nothing is missing, so that every target of the build may call it.
set -euo pipefail

want=(mariadb-server mariadb-client btrfs-progs xfsprogs e2fsprogs iproute2 util-linux wamerican)
case ${1:-demo} in
demo) ;;
# patchelf, libaio1 and libnuma1 make servers of other distributions run here: see fetch-server.sh. qemu-system-common has the disk whose power
# can be cut; qemu-guest-agent is a host that calls us. openssh-server is a store of restore points, over SFTP.
test)
  want+=(mariadb-backup patchelf libaio1 libnuma1 qemu-utils qemu-system-common qemu-guest-agent openssh-server openssh-client)
  command -v npm >/dev/null || want+=(npm) # mysql-5.7 and azurite come from there, and node runs azurite
  ;;
# the servers run inside of the machine
vm) want=(qemu-system-x86 qemu-utils mmdebstrap debian-archive-keyring e2fsprogs iproute2 util-linux) ;;
*) echo "usage: $0 [demo|test|vm]" >&2; exit 64 ;;
esac

command -v dpkg-query >/dev/null || { echo "prereqs: this needs Debian or Ubuntu (no dpkg here); install by hand: ${want[*]}" >&2; exit 1; }

have=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "${want[@]}" 2>/dev/null || true)
missing=()
for p in "${want[@]}"; do
  grep -qx "ii $p" <<<"$have" || missing+=("$p")
done
if [ ${#missing[@]} = 0 ]; then echo "prereqs: all ${#want[@]} packages are installed"; exit 0; fi
[ "$(id -u)" = 0 ] || { echo "prereqs: missing ${missing[*]}: run as root: $0 ${1:-demo}" >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
had_policy=0; [ -e $policy ] && had_policy=1
cleanup() { [ $had_policy = 1 ] || rm -f $policy; rm -f "$log"; }
trap cleanup EXIT
# 101 tells invoke-rc.d not to start anything: we want the programs, not a MariaDB on port 3306
[ $had_policy = 1 ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; }

quietly() { "$@" >"$log" 2>&1 || { echo "prereqs: failed: $*" >&2; tail -15 "$log" >&2; exit 1; }; }
echo "prereqs: installing ${missing[*]}"
# another apt may hold the lock for a while (a second checkout, unattended-upgrades)
quietly apt-get -qq -o DPkg::Lock::Timeout=120 update
quietly apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
echo "prereqs: installed ${#missing[@]} packages"
