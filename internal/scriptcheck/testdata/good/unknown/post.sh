#!/bin/sh
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
set -euo pipefail
files=(a b)
[[ ${#files[@]} -eq 2 ]]
