#!/bin/sh
# Compiles every module under FOLDER for Lambda's python3.13. The folder is read-only in Lambda, so
# each cold start would compile the modules again. The bytecode is "unchecked": Lambda unpacks the
# zip with its own file times, which would make checked bytecode stale.
# Usage: compile-bytecode.sh FOLDER FOLDER_IN_LAMBDA
set -eu
folder=$1
folder_in_lambda=$2
unset PYTHONPYCACHEPREFIX # would send the bytecode to another folder

is_cpython_313() {
  "$1" -c 'import sys
sys.exit(sys.implementation.cache_tag != "cpython-313" or sys.version_info.releaselevel != "final")
' 2>/dev/null
}

find "$folder" -name __pycache__ -type d -prune -exec rm -rf {} +
for python in python3.13 python3 "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.13*/bin/python3.13 \
  "$(uv python find --no-python-downloads 3.13 2>/dev/null || echo none)"; do
  if is_cpython_313 "$python"; then
    # A fixed seed, so that the same source gives the same bytes.
    PYTHONHASHSEED=0 "$python" -m compileall -q --invalidation-mode unchecked-hash \
      -s "$folder" -p "$folder_in_lambda" "$folder"
    exit 0
  fi
done
# SAM shows standard output, and drops the standard error of a build that succeeds.
echo "WARNING: no CPython 3.13 was found, so no bytecode is shipped: each cold start compiles" \
  "every module and takes longer. Install Python 3.13 and build again."
