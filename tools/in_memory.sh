#!/usr/bin/env bash
# Runs a command with its own TMPDIR, and removes it afterwards. The folder is in memory if there is
# enough space, because the labs of the tests create thousands of small files.
set -euo pipefail

memory=/dev/shm
room_kib=$((4 * 1024 * 1024))

free_kib() { df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }'; }

# The lab starts its copies of PostgreSQL's programs from this folder.
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
# If the tests run as root, PostgreSQL runs as another user.
chmod 711 "$TMPDIR"
"$@"
