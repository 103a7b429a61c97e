#!/bin/sh
# Installs requirements.txt for Lambda's arm64 python3.13 into FOLDER, with any Python and pip (or
# uv) of this machine. All requirements are pure Python wheels, so nothing has to be compiled.
# Usage: install-requirements.sh FOLDER
set -eu
folder=$1

has_pip() {
  "$1" -c 'import sys, pip; sys.exit(int(pip.__version__.split(".")[0]) < 22)' 2>/dev/null
}

install_with_pip() {
  PIP_ROOT_USER_ACTION=ignore "$1" -m pip install --quiet --disable-pip-version-check --no-input \
    --require-hashes --no-deps --only-binary=:all: --no-compile --target "$folder" \
    --platform manylinux2014_aarch64 --implementation cp --python-version 3.13 \
    -r requirements.txt
}

install_with_uv() {
  uv pip install --quiet --require-hashes --no-deps --only-binary :all: --target "$folder" \
    --python-platform aarch64-manylinux2014 --python-version 3.13 -r requirements.txt
}

installed=
for python in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
  if has_pip "$python"; then
    install_with_pip "$python"
    installed=yes
    break
  fi
done
if [ -z "$installed" ]; then
  if ! command -v uv >/dev/null; then
    echo "error: building the layer needs a Python 3 with pip 22 or later, or uv; install one" >&2
    exit 1
  fi
  install_with_uv
fi

# The layer keeps METADATA, which Amazon Inspector and importlib.metadata read, and the licences.
find "$folder" -path '*.dist-info/*' -type f \
  ! -name METADATA ! -iname '*licen[cs]e*' ! -iname '*notice*' -delete
find "$folder" -path '*.dist-info/*' -type d -empty -delete
rm -rf "$folder/bin" "$folder/.lock"
