# Every command that a person or CI runs. `make help` lists them.
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
# Number of processes of `make test`; each takes one test file at a time. The labs mostly wait, so
# one process more than a small machine has cores is faster.
WORKERS ?= 3
# Number of jobs of `make check`, `make quick` and `make lint`.
JOBS ?= 2
LINTERS := lint-types lint-templates lint-style lint-rest
BENCH_OPTIONS ?=
STACK ?=
REGION ?=
DRILL_OPTIONS ?=
COST_OPTIONS ?=
MUTANTS_OPTIONS ?=

# The tests start many Python processes, which would compile every module without bytecode.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest
CFN_LINT := $(BIN)/cfn-lint --include-checks I --regions us-east-1 eu-west-1 ap-northeast-1 --
SAM := PATH="$(CURDIR)/$(BIN):$$PATH" SAM_CLI_TELEMETRY=0 $(BIN)/sam

.PHONY: help setup demo drill lab test check quick quick-tests lint lint-types lint-templates lint-style lint-rest browser screenshots docs histories build build-fleet bench bench-fleet bench-cold bench-warm cost break-rules mutants lock audit format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## Install the locked tools into .venv; the other targets do this too
	@tools/bootstrap.sh

demo: setup ## Show the main job in the lab: deploy, two failovers, drift, resync, delete
	@$(PY) -m lab demo $(LAB_OPTIONS)

drill: setup ## Fail over the database of a deployed stack, after a question; STACK=… REGION=… DRILL_OPTIONS="--observe"
	@PYTHONPATH=layers/target_sync:. $(PY) -m drill --stack "$(STACK)" $(if $(REGION),--region "$(REGION)") $(DRILL_OPTIONS)

lab: setup ## Run every scenario in the lab; SCENARIOS="failover-watch failover-serving-standby" runs two
	@$(PY) -m lab run $(SCENARIOS) $(LAB_OPTIONS)

test: setup browser ## Run everything that CI runs: lint, and all tests with coverage
	@$(MAKE) --no-print-directory lint
	@tools/in_memory.sh $(PYTEST) --numprocesses $(WORKERS) --no-loadscope-reorder \
	  --dist loadfile --cov --cov-report=term

check: setup ## Run the fast part: lint, and the tests that start no servers
	@$(MAKE) --no-print-directory --jobs $(JOBS) --output-sync=target \
	  $(addprefix check-,contract functional unit properties template) $(LINTERS)

check-%:
	@$(PYTEST) -q --no-header -m "not lab" tests/$*

quick: setup ## Run the checks of every edit, in seconds: style, types, the planner, the loop and the failovers
	@$(MAKE) --no-print-directory --jobs $(JOBS) quick-tests lint-types lint-style

quick-tests:
	@$(PYTEST) -q tests/unit/reconcile/test_planner.py tests/unit/reconcile/test_loop.py \
	  tests/functional/test_failover_scenarios.py

lint: setup ## Check code, types, architecture, templates and spelling
	@$(MAKE) --no-print-directory --jobs $(JOBS) $(LINTERS)

lint-style:
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

lint-types:
	@$(BIN)/mypy

lint-rest:
	@PYTHONPATH=layers/target_sync:. $(BIN)/lint-imports
	@git ls-files -z | xargs -0 $(BIN)/codespell

# cfn-lint needs half a minute, so it runs only after a change.
lint-templates: build/linted-templates

build/linted-templates: template.yaml fleet.yaml requirements/dev.txt Makefile
	@$(CFN_LINT) template.yaml fleet.yaml
	@mkdir -p build && touch $@

browser: setup ## Install the Chromium and the axe-core that the widget's tests use
	@$(PY) tools/browser/fetch.py

screenshots: browser ## Make the pictures of the widget in docs/widget
	@PYTHONPATH=layers/target_sync:. $(PY) -m tests.browser

docs: setup ## Write the tables of the pages that repeat the code, the templates and the lab
	@PYTHONPATH=layers/target_sync:. $(PY) -m tools.generate_docs

histories: setup ## Run many more random histories than the tests run; HISTORIES=1000000 SEED=1
	@PYTHONPATH=layers/target_sync:. $(PY) -m tests.properties --histories $(HISTORIES) --seed $(SEED)

build: setup ## Build the stack for one database into .aws-sam/build
	@$(SAM) build

build-fleet: setup ## Build the fleet stack into .aws-sam/fleet/build
	@$(SAM) build --config-env fleet

bench: setup ## Simulate failovers with every strategy, and the fleet; writes docs/bench; BENCH_OPTIONS="--failovers 1000" is faster
	@PYTHONPATH=layers/target_sync:. $(PY) -m bench.failover $(BENCH_OPTIONS)
	@$(MAKE) --no-print-directory bench-fleet BENCH_OPTIONS=

bench-fleet: setup ## Simulate the fleet only: up to 5,000 target groups, and 200 failovers at the same time
	@PYTHONPATH=layers/target_sync:. $(PY) -m bench.fleet $(BENCH_OPTIONS)
	@PYTHONPATH=layers/target_sync:. $(PY) -m cost

bench-cold: build ## Count the instructions of each cold start with valgrind; writes docs/bench/cold.*
	@$(PY) -m bench.cold

bench-warm: build build-fleet ## Measure memory over 1,000 runs in one container; writes docs/bench/warm.*
	@PYTHONPATH=layers/target_sync:. $(PY) -m bench.warm

cost: setup ## Compute the monthly costs; writes docs/cost.md; COST_OPTIONS="--databases 40 --set gb=500" prints yours
	@PYTHONPATH=layers/target_sync:. $(PY) -m cost $(COST_OPTIONS)

break-rules: setup ## Break each rule of the design, and check that a test fails
	@$(PY) tools/break_rules.py

mutants: setup ## Mutate the code, and check that a test fails each time; MUTANTS_OPTIONS="status --sample 100 --seed 7"
	@$(PY) tools/mutate.py $(MUTANTS_OPTIONS)

lock: setup ## Compile the locked requirements from pyproject.toml again
	@tools/lock.sh

audit: setup ## Report the known vulnerabilities of the locked dependencies
	@$(BIN)/uv venv --quiet --clear build/audit
	@$(BIN)/uv pip install --quiet --python build/audit --require-hashes -r requirements/audit.txt
	@build/audit/bin/pip-audit --disable-pip --require-hashes --progress-spinner off \
	  $(foreach lock,layers/target_sync/requirements.txt $(addprefix requirements/,dev.txt mutation.txt npm.txt audit.txt),-r $(lock))

format: setup ## Format the code and apply the automatic fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove everything that the other targets made
	@rm -rf .venv .aws-sam .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build drill-report.html lab-report.html
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
