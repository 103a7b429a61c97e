# Everything a person or CI runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
PY := $(BIN)/python
LAB_OPTIONS ?=
SCENARIOS ?= all
HISTORIES ?= 1000000
SEED ?= 1
# How many processes `make test` plays the tests in; each takes a file at a time. The labs wait
# more than they work, so there is one more than a small machine has cores.
WORKERS ?= 3
BENCH_OPTIONS ?=
STACK ?=
REGION ?=
DRILL_OPTIONS ?=
COST_OPTIONS ?=

.PHONY: help setup demo drill lab test check browser screenshots histories build build-fleet bench bench-fleet bench-cold bench-warm cost break-rules mutants lock format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## Install the locked tools into .venv (every other target does it too)
	@tools/bootstrap.sh

demo: setup ## Run the main job in the lab: deploy, two failovers, drift, resync, delete
	@$(PY) -m lab demo $(LAB_OPTIONS)

drill: setup ## Fail over the database of a deployed stack, after asking; STACK=… REGION=… DRILL_OPTIONS="--observe"
	@PYTHONPATH=layers/target_sync:. $(PY) -m drill --stack "$(STACK)" $(if $(REGION),--region "$(REGION)") $(DRILL_OPTIONS)

lab: setup ## Play every scenario; SCENARIOS="failover-watch failover-serving-standby" plays these
	@$(PY) -m lab run $(SCENARIOS) $(LAB_OPTIONS)

test: setup browser ## Run everything: lint, types, architecture, all tests with coverage
	@$(MAKE) --no-print-directory lint
	@tools/in_memory.sh $(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile \
	  --no-loadscope-reorder --cov --cov-report=term

check: setup ## Run the fast part: lint, types, architecture, tests without servers
	@$(MAKE) --no-print-directory lint
	@$(PY) -m pytest tests/unit tests/contract tests/functional tests/template tests/properties -m "not lab"

browser: setup ## Fetch the Chromium and the axe-core that the tests of the widget take
	@$(PY) tools/browser/fetch.py

screenshots: browser ## Draw the pictures of the widget in docs/widget
	@PYTHONPATH=layers/target_sync:. $(PY) -m tests.browser

histories: setup ## Play many more histories than the tests do; HISTORIES=1000000 SEED=1
	@PYTHONPATH=layers/target_sync:. $(PY) -m tests.properties --histories $(HISTORIES) --seed $(SEED)

.PHONY: lint
lint:
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=layers/target_sync:. $(BIN)/lint-imports

build: setup ## Build the deployable stack into .aws-sam/build
	@PATH="$(CURDIR)/$(BIN):$$PATH" SAM_CLI_TELEMETRY=0 $(BIN)/sam build

build-fleet: setup ## Build the deployable fleet into .aws-sam/fleet/build
	@PATH="$(CURDIR)/$(BIN):$$PATH" SAM_CLI_TELEMETRY=0 $(BIN)/sam build --config-env fleet

bench: setup ## Simulate failovers for every strategy, and the fleet; writes docs/bench; BENCH_OPTIONS="--failovers 1000" is a quick look
	@PYTHONPATH=layers/target_sync:. $(PY) -m bench.failover $(BENCH_OPTIONS)
	@$(MAKE) --no-print-directory bench-fleet BENCH_OPTIONS=

bench-fleet: setup ## The fleet alone: up to 5,000 simulated target groups, and 200 failovers at once
	@PYTHONPATH=layers/target_sync:. $(PY) -m bench.fleet $(BENCH_OPTIONS)
	@PYTHONPATH=layers/target_sync:. $(PY) -m cost

bench-cold: build ## Measure the cold start of the built artifact against a bare client
	@$(PY) -m bench.cold

bench-warm: build build-fleet ## See that memory stays flat over 1,000 runs in one container; writes docs/bench/warm.*
	@PYTHONPATH=layers/target_sync:. $(PY) -m bench.warm

cost: setup ## Compute what it costs a month; writes docs/cost.md; COST_OPTIONS="--databases 40 --set gb=500" prints yours
	@PYTHONPATH=layers/target_sync:. $(PY) -m cost $(COST_OPTIONS)

break-rules: setup ## Break each rule of the design on purpose and see that a test fails
	@$(PY) tools/break_rules.py

mutants: setup ## Change the planner and the state machine in every small way and see that a test fails
	@$(PY) tools/mutate.py

lock: setup ## Compile the locked requirements anew from pyproject.toml
	@tools/lock.sh

format: setup ## Format and fix what can be fixed by a tool
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove what the targets above made
	@rm -rf .venv .aws-sam .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build drill-report.html lab-report.html
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
