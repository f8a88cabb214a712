#!/bin/sh
status=0
for file in /etc/qemu/fsfreeze-hook.d/*; do
    "$file" "$@"
    rc=$?
    [ $rc -eq 0 ] || status=$rc
done
exit $status
