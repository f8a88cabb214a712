#!/bin/sh
# Goes to a node of the demo that lives in $dir: on NODE [COMMAND [ARGUMENT...]]; without a command it is a shell there.
usage() { echo "usage: $0 node-a|node-b|node-c [COMMAND [ARGUMENT...]]" >&2; exit 64; }
case ${1:-} in node-a | node-b | node-c) node=$1 ;; *) usage ;; esac
shift
[ -e "/run/netns/$node" ] || { echo "$0: $node does not run: start it with holdstill demo --keep" >&2; exit 1; }
export HOLDSTILL_DEMO_NODE="$node" HOLDSTILL_STATE="$dir/state" HOLDSTILL_RUN="$dir/run" PATH="$dir/bin:$PATH"
[ $# -gt 0 ] || { export PS1="$node# "; set -- bash --norc -i; }
# not `ip netns exec`: that makes a mount namespace too, where mounts and unmounts are not the machine's
exec nsenter --net="/run/netns/$node" -- "$@"
