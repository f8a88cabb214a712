#!/bin/sh
exec /usr/local/sbin/holdstill --config /etc/holdstill/holdstill.yaml hook azure post "$@"
