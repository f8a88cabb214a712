#!/bin/sh
# Written by holdstill hook install azure.
exec /usr/local/sbin/holdstill hook azure pre "$@"
