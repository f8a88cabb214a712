#!/bin/sh
# The QEMU guest agent runs this with "freeze" before it freezes the file systems, and with "thaw" after it has thawed them.
# Written by "holdstill hook install qemu"; "holdstill hook uninstall qemu" puts back what was here before.
#
# It runs the executable files of fsfreeze-hook.d: in order for freeze, in reverse for thaw. When one cannot freeze, those that were
# told to, itself too, are told to thaw, since the agent will not, and the freeze fails. The dispatcher that comes with the agent
# ends with 0 whatever its hooks say.

dir=${0%/*}/fsfreeze-hook.d
log=/var/log/qga-fsfreeze-hook.log

# The agent has no output for us. The file is opened once, here: a hook may freeze its file system.
if [ ! -t 2 ] && (: >>"$log") 2>/dev/null; then
	exec >>"$log" 2>&1
fi

say() { echo "$(date '+%Y-%m-%d %H:%M:%S') fsfreeze-hook: $*"; }

is_hook() {
	case $1 in
	*~ | *.bak | *.orig | *.rpmnew | *.rpmorig | *.rpmsave | *.sample | *.dpkg-*) return 1 ;;
	esac
	[ -f "$1" ] && [ -x "$1" ]
}

# thaw runs the files it is given, stops for nothing, and fails if one of them did. It writes nothing of its own before all have run:
# what a hook has frozen by itself may hold the log.
thaw() {
	failed=
	for hook; do
		"$hook" thaw || failed="$failed $hook ($?)"
	done
	[ -z "$failed" ] || say "thaw failed:$failed"
	[ -z "$failed" ]
}

case $1 in
freeze)
	say "freeze"
	frozen=
	for hook in "$dir"/*; do
		is_hook "$hook" || continue
		# The list is the arguments, the last one first: names may hold anything.
		if [ -z "$frozen" ]; then set -- "$hook"; frozen=1; else set -- "$hook" "$@"; fi
		"$hook" freeze && continue
		code=$?
		culprit=$hook
		thaw "$@"
		say "freeze failed, and was taken back: $culprit ($code)"
		exit 1
	done
	;;
thaw)
	set --
	for hook in "$dir"/*; do
		is_hook "$hook" && set -- "$hook" "$@"
	done
	thaw "$@" || exit 1
	say "thawed"
	;;
*)
	say "say freeze or thaw, not '$1'"
	exit 2
	;;
esac
