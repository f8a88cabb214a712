#!/bin/bash
# The service of one lab server: start, stop, kill, pid. Written by the lab, which uses nothing else, and made to stand in for a
# real service manager in Holdstill's configuration. The lines above this one set: server admin conf errors socket env enter.
set -u

pids() { # by looking, so that no stale pid file can lie: our option file in argv, and the server's program, not a client's
  local p
  for p in $(grep -lszxF -e "--defaults-file=$conf" /proc/[0-9]*/cmdline); do
    p=${p#/proc/} p=${p%/cmdline}
    if [ "$(readlink "/proc/$p/exe")" = "$server" ]; then echo "$p"; fi
  done
}
# A killed orphan stays a zombie until PID 1 gets to it, and a zombie leader may still have threads that hold the files.
gone() { ! grep -qs '^State:.[^ZX]' "/proc/$1/status" && [ "$(ls "/proc/$1/task" 2>/dev/null | wc -l)" -le 1 ]; }
answers() { [ -S "$socket" ] && "$admin" --defaults-file="$conf" --connect-timeout=1 ping >/dev/null 2>&1; }
wait_gone() { local i; for i in $(seq 6000); do gone "$1" && return; sleep 0.02; done; echo "process $1 does not end" >&2; exit 1; }

# the errors last: a shutdown in good order writes a page of notes after the one line that matters
why() { tail -n 8 "$errors.out"; tail -n 4 "$errors"; grep -F '[ERROR]' "$errors" | tail -n 5; }

launch() {
  # MySQL takes the zombie of a killed server for a living one that owns the socket, and gives up
  rm -f "$socket" "$socket.lock"
  : >>"$errors"; chown mysql: "$errors"
  # setsid and the redirections: the server outlives us, and holds neither our terminal nor our caller's pipe
  setsid "${enter[@]}" env "${env[@]}" "$server" --defaults-file="$conf" </dev/null >>"$errors.out" 2>&1 &
  pid=$!
}

start() {
  local i pid
  pid=$(pids)
  [ -n "$pid" ] || launch
  for i in $(seq 3000); do
    answers && return
    gone "$pid" && { echo "the server ended while it started:" >&2; why >&2; exit 1; }
    sleep 0.02
  done
  echo "the server does not answer:" >&2; why >&2; exit 1
}

stop() {
  local p; p=$(pids)
  [ -n "$p" ] || return 0
  "$admin" --defaults-file="$conf" --connect-timeout=5 shutdown || exit 1
  wait_gone "$p"
}

end() { local p; for p in $(pids); do kill -9 "$p"; wait_gone "$p"; done; }

case ${1:-} in
start) start ;;
stop) stop ;;
kill) end ;;
pid) pids ;;
*) echo "usage: $0 start|stop|kill|pid" >&2; exit 64 ;;
esac
