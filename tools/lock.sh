#!/usr/bin/env bash
# Compiles the locked requirements from pyproject.toml, with hashes and without index URLs.
set -euo pipefail
cd "$(dirname "$0")/.."
options=(--quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate "$@")
.venv/bin/uv pip compile "${options[@]}" --python-version 3.13 --no-universal --group layer \
  -o layers/target_sync/requirements.txt pyproject.toml
.venv/bin/uv pip compile "${options[@]}" --python-version 3.11 --group dev \
  -c layers/target_sync/requirements.txt -o requirements/dev.txt pyproject.toml
.venv/bin/uv pip compile "${options[@]}" --python-version 3.11 --group mutation \
  -c requirements/dev.txt -o requirements/mutation.txt pyproject.toml
.venv/bin/uv pip compile "${options[@]}" --python-version 3.11 --group npm \
  -o requirements/npm.txt pyproject.toml
.venv/bin/uv pip compile "${options[@]}" --python-version 3.11 --group audit \
  -o requirements/audit.txt pyproject.toml
