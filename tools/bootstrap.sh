#!/usr/bin/env bash
# Creates .venv with every locked dependency. It needs a Python (3.13, else 3.11 or later) and a
# package index. It does nothing if .venv has the current lock.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.locked
lock_digest=$(cat requirements/dev.txt layers/target_sync/requirements.txt tools/bootstrap.sh | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$lock_digest" ] && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi

usable() { "$1" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

python=
for candidate in "${PYTHON:-}" python3.13 python3 python3.12 python3.11 /usr/bin/python3; do
  if [ -n "$candidate" ] && usable "$candidate"; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "error: no Python 3.11 or later with the venv module was found; install Python 3.13" \
       "(or set PYTHON to its path) and run this again" >&2
  exit 1
fi

echo "Setting up .venv with $("$python" --version) ..." >&2
rm -rf .venv
"$python" -m venv .venv
# The version and the hashes of uv are those of the lock.
sed -n '/^uv==/,/[^\\]$/p' requirements/dev.txt > .venv/uv.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
# Bytecode is compiled once here. Under PYTHONDONTWRITEBYTECODE each process of the lab would
# otherwise compile every module again.
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes \
  -r requirements/dev.txt
echo "$lock_digest" > "$stamp"
