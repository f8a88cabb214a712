#!/bin/bash
# The reaper of one lab: takes back everything that was made in it, when its maker is gone. It holds only a pipe to the maker, which
# the kernel closes whatever happens to the maker: return, panic or kill -9.
#   reaper.sh DIR <pipe       waits for the pipe's end, then cleans; the word "keep" on the pipe makes it leave everything as it is
#   reaper.sh DIR </dev/null  cleans now
# What carries DIR in its name is found by looking at the world (mounts, loops, servers), so that things count too which a test
# made behind the lab's back. What does not is listed in DIR/reaper.list, before it is made: "netns NAME", "process PID STARTTIME".
# Exit status: 0 all clean, 1 something is left (see DIR/reaper.left), 3 kept, 75 another reaper holds this lab.
trap '' HUP INT TERM PIPE # a ^C at the terminal is for the maker; it ends us by closing the pipe
cd / || exit 1

dir=$1 list=$1/reaper.list
case $dir in /?*/?*) ;; *) echo "reaper: not a lab: $dir" >&2; exit 64 ;; esac
[ -f "$list" ] || { echo "reaper: not a lab, reaper.list is missing: $dir" >&2; exit 64; }

mounts() { # last mounted first; mountinfo writes a space as \040
  local m
  awk -v d="$dir" '$5 == d || index($5, d "/") == 1 { print $5 }' /proc/self/mountinfo | tac | while IFS= read -r m; do printf '%b\n' "$m"; done
}
loops() { grep -lsF -e "$dir/" /sys/block/loop*/loop/backing_file | sed 's|^/sys/block/\([^/]*\)/.*|/dev/\1|'; }
listed() { sed -n "s/^$1 //p" "$list" | tac; }

# Every server of the lab has its option file below DIR. A zombie's command line is empty, so the dead are not found again.
# The daemon behind a disk has that disk's image below DIR.
servers() { grep -lsz -e "^--defaults-file=${dir//./\\.}/" -e "^filename=${dir//./\\.}/" /proc/[0-9]*/cmdline | cut -d/ -f3; }
started() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
processes() {
  servers
  listed process | while read -r pid start; do [ "$(started "$pid")" = "$start" ] && echo "$pid"; done # else the pid was used again
  local ns
  listed netns | while read -r ns; do ip netns pids "$ns" 2>/dev/null; done
}

# A process that touched a frozen file system cannot die before the thaw, and an unmounted one stays frozen: so thaw first.
# A stuck freeze is waited for by the thaw, hence the limit.
thaw() { timeout 20 fsfreeze -u "$1" 2>/dev/null; }
thaw_all() { mounts | while IFS= read -r m; do thaw "$m"; done; }

kill_all() { # again until none is left: a start command may be on its way
  local i pids
  for i in $(seq 100); do
    pids=$(processes)
    [ -n "$pids" ] || return 0
    kill -9 $pids 2>/dev/null
    sleep 0.05
    [ $((i % 20)) = 0 ] && thaw_all
  done
}

# A frozen file system that somebody unmounted lives on without a path and pins its loop: give it one, thaw it, take the path away.
thaw_hidden() {
  local at=$dir/.thaw
  grep -q "^[^ ]* [^ ]* [^ ]* [^ ]* [^ ]* .* $1 " /proc/self/mountinfo && return
  mkdir -p "$at" && timeout 20 mount "$1" "$at" 2>/dev/null || return
  thaw "$at"; umount "$at"
}

# An image may lie on a volume that lies on an image: unmount and detach in rounds until nothing is left. Loops go away some time
# after their last user (autoclear), so a round may fail without harm.
unmount_all() {
  local i m l
  for i in $(seq 40); do
    mounts | while IFS= read -r m; do thaw "$m"; umount "$m" 2>/dev/null; done
    for l in $(loops); do
      [ "$i" -gt 2 ] && thaw_hidden "$l"
      losetup -d "$l" 2>/dev/null
    done
    [ -n "$(mounts)$(loops)" ] || return 0
    sleep 0.1
  done
  # somebody sits in there (an operator's shell): out of sight now, and gone with its last user. We do not kill what we did not start.
  mounts | while IFS= read -r m; do umount -l "$m"; done
}

left() {
  mounts | sed 's/^/mount /'
  for l in $(loops); do echo "loop $l: $(cat "/sys/block/${l#/dev/}/loop/backing_file")"; done
  processes | sed 's/^/process /'
  for ns in $(listed netns); do [ -e "/run/netns/$ns" ] && echo "netns $ns"; done
}

main() {
  exec 9<"$list"
  flock -n 9 || { echo "reaper: $dir is in use" >&2; exit 75; }
  echo ready; exec >/dev/null # the maker waits for this: from here on nobody else can reap the lab
  while read -r word; do [ "$word" = keep ] && exit 3; done
  thaw_all
  kill_all
  unmount_all
  listed netns | while read -r ns; do ip netns del "$ns" 2>/dev/null; done
  what=$(left)
  # never rm through a mount: what is mounted here may be anybody's
  [ -n "$what" ] || { rm -rf "$dir" 2>"/dev/null"; [ -e "$dir" ] || exit 0; what="directory $dir: $(ls -A "$dir" | head -5 | tr '\n' ' ')"; }
  echo "$what" >"$dir/reaper.left"
  exit 1
}
main
