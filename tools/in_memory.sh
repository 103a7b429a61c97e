#!/usr/bin/env bash
# Runs a command with a TMPDIR of its own, which is gone afterwards: in memory where there is room
# for it, because the labs of the tests make thousands of small files.
set -euo pipefail

memory=/dev/shm
room_kib=$((4 * 1024 * 1024))

free_kib() { df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }'; }

# The lab starts its copies of PostgreSQL's programs from there.
may_execute() {
  local program
  program=$(mktemp "$1/XXXXXX") || return 1
  printf '#!/bin/sh\n' > "$program"
  chmod +x "$program"
  "$program" 2>/dev/null
  local status=$?
  rm -f "$program"
  return "$status"
}

parent=${TMPDIR:-/tmp}
free=$(free_kib "$memory" || true)
if [ "${free:-0}" -ge "$room_kib" ] && [ -w "$memory" ] && may_execute "$memory"; then
  parent=$memory
fi
TMPDIR=$(mktemp -d "$parent/privatelink-tests-XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
# PostgreSQL runs as another user where the tests run as root.
chmod 711 "$TMPDIR"
"$@"
