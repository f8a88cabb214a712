#!/bin/bash
# Builds the disk of the virtual machine that `make test-vm` boots: Debian 12 with systemd, MariaDB and the guest agent, no network.
#   scripts/vm-image.sh [DIR]
# DIR defaults to $HOLDSTILL_VM, else /var/cache/holdstill/vm. It gets vmlinuz, initrd.img and root.img (raw ext4, sparse, 1 GB of
# data), which the tests only read: they write to overlays of their own. A minute or two the first time; after that, unless
# this script has changed, it returns at once. Packages it needs: scripts/prereqs.sh vm.
set -euo pipefail

dir=${1:-${HOLDSTILL_VM:-/var/cache/holdstill/vm}}
die() { echo "vm-image: $*" >&2; exit 1; }
[ "$(uname -sm)" = "Linux x86_64" ] || die "the machine is an x86_64 one, and this is not"
[ "$(id -u)" = 0 ] || die "run as root"
recipe=$(sha256sum "$(realpath "$0")" | cut -d' ' -f1)
mkdir -p "$dir"
dir=$(realpath "$dir")
complete() { [ "$(cat "$dir/.complete" 2>/dev/null)" = "$recipe" ]; }
if complete; then echo "vm-image: the machine's disk is in $dir"; exit 0; fi
exec 9>"$dir/.lock"
flock -w 1200 9 || die "another build has held $dir/.lock for twenty minutes"
if complete; then echo "vm-image: the machine's disk is in $dir"; exit 0; fi

work=$dir/.work root=$dir/.work/root
log=$dir/build.log
rm -rf "$work" "$dir"/{.complete,vmlinuz,initrd.img,root.img}
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
quietly() { "$@" >>"$log" 2>&1 || { tail -15 "$log" >&2; die "failed: $*"; }; }
: >"$log"

mirror=${HOLDSTILL_DEBIAN_MIRROR:-$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)}
mirror=${mirror:-http://deb.debian.org/debian}
packages=(systemd-sysv udev dbus kmod procps initramfs-tools linux-image-cloud-amd64 btrfs-progs mariadb-server mariadb-client qemu-guest-agent)

# The kernel is started by qemu itself, so the initrd has one thing to do: mount the disk. These two files make it a small one from
# the first time that a package builds it; they are nobody's configuration files, so no package asks about them.
cat >"$work/early" <<'HOOK'
#!/bin/sh
set -e
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\nCOMPRESS=gzip\n' >"$1/etc/initramfs-tools/conf.d/machine"
printf 'virtio_pci\nvirtio_blk\next4\n' >"$1/usr/share/initramfs-tools/modules.d/machine"
HOOK

cat >"$work/late" <<'HOOK'
#!/bin/sh
set -e
echo machine >"$1/etc/hostname"
printf '127.0.0.1 localhost machine\n' >"$1/etc/hosts"
printf '/dev/vda / ext4 rw,noatime 0 0\n' >"$1/etc/fstab"
: >"$1/etc/machine-id"
# timers that would do their yearly work in the middle of a test
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
  getty@tty1.service systemd-timesyncd.service systemd-networkd.service; do
  ln -sf /dev/null "$1/etc/systemd/system/$unit"
done
cat >"$1/etc/mysql/mariadb.conf.d/90-machine.cnf" <<'CNF'
[mariadbd]
skip-networking
server-id = 1
log-bin = binlog
sync-binlog = 1
innodb-flush-log-at-trx-commit = 1
innodb-buffer-pool-size = 64M
performance-schema = OFF
CNF
HOOK
chmod 755 "$work/early" "$work/late"

echo "vm-image: building the machine's disk in $dir (a minute or two, once)"
# --mode=root mounts in a mount namespace of its own: nothing stays mounted here, even if we are killed. Check-Valid-Until: build
# machines have wrong clocks, and an archive snapshot is always out of date.
quietly mmdebstrap --variant=minbase --mode=root \
  --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' --aptopt='Acquire::Retries "3"' \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --include="$(IFS=,; echo "${packages[*]}")" --essential-hook="$work/early" --customize-hook="$work/late" \
  bookworm "$root" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main"

cp "$root"/boot/vmlinuz-* "$dir/vmlinuz"
cp "$root"/boot/initrd.img-* "$dir/initrd.img"
quietly truncate -s 3G "$dir/root.img"
quietly mkfs.ext4 -q -F -d "$root" "$dir/root.img"
sync "$dir/root.img"
echo "$recipe" >"$dir/.complete"
echo "vm-image: built $(du -m "$dir/root.img" | cut -f1) MB in ${SECONDS} s"
