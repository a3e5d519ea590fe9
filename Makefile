# `make quickstart` and `make test` need Python 3.11 or newer and make: they bring everything else themselves.
PYTHON ?= python3
# Options for pytest: make test ARGS="tests/data -k table"
ARGS ?=

# Where this is set, every process compiles all that it imports anew: seconds for each command that a test starts.
export PYTHONDONTWRITEBYTECODE :=

UV := .tools/bin/uv
BIN := .venv/bin
STAMP := .venv/.set-up
PLAYGROUND := quickstart

# Files in their order: by their number of tests, as xdist has it, the long ones would come last, one after the other.
PYTEST = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-all soak bench bench-peers lint types format schema notebook docs site pictures clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install everything into .venv

$(UV):
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'

$(STAMP): pyproject.toml | $(UV)
	$(UV) sync --quiet --extra all --python $(PYTHON) --no-python-downloads
	@touch $@

quickstart: private export PATH := $(CURDIR)/$(BIN):$(PATH)
quickstart: $(STAMP) ## Search, train and draw on real images of digits, in the folder quickstart/
	rm -rf $(PLAYGROUND)
	mkdir $(PLAYGROUND)
	cd $(PLAYGROUND) && python -m mlframework.data.samples digits data/digits
	cd $(PLAYGROUND) && ml-init-config data/digits --optuna --yes
	cd $(PLAYGROUND) && ml-search --config configs/digits_config.yaml --n-trials 12
	cd $(PLAYGROUND) && ml-train --config runs/optuna_studies/digits_optimization/best_config.yaml
	cd $(PLAYGROUND) && ml-visualise --mode search --study-name digits_optimization
	@echo
	@echo 'Now look at:'
	@printf '  %-52s %s\n' \
		'$(PLAYGROUND)/configs/digits_config.yaml' 'what was searched, with a comment on every line' \
		'$(PLAYGROUND)/runs/optuna_studies/digits_optimization/' 'the trials; report.html and plots/*.html open in a browser' \
		'$(BIN)/tensorboard --logdir $(PLAYGROUND)/runs' 'the curves of every trial and of the final run'

# One thread a process, and none that spins while it waits: processes that fight for the cores are ten times slower.
test: $(STAMP) ## Run the tests; one that fails is run once more, and told of
	$(PYTEST) --reruns 1 --rerun-show-tracebacks $(ARGS)

test-all: $(STAMP) ## Run the tests and their long forms
	$(PYTEST) -m '' $(ARGS)

soak: $(STAMP) ## Run the long forms of the tests of faults and of odd input, and print their counts
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m '' tests/faults tests/fuzz $(ARGS)

# Every side is a process of its own on one thread; `bench` takes --case NAME, --rounds N and --peers.
bench: $(STAMP) ## Measure ours beside scripts by hand: make bench ARGS="--case resnet18"
	$(BIN)/python benchmarks/suite.py $(ARGS)

bench-peers: $(UV) ## Install the other frameworks into .tools/peers, for make bench ARGS=--peers
	$(UV) venv --quiet --allow-existing --python $(PYTHON) --no-python-downloads .tools/peers
	$(UV) pip install --quiet --python .tools/peers --requirements benchmarks/requirements-peers.txt --overrides benchmarks/overrides-peers.txt

lint: $(STAMP) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## Check types
	$(BIN)/mypy

format: $(STAMP) ## Mend formatting, and what else can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(STAMP) ## Renew configs/schema.json, by which editors check configs
	$(BIN)/python -m mlframework.cli.schema_file configs

notebook: $(STAMP) ## Run notebooks/optuna_tuning.ipynb, and keep what it shows
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python scripts/notebook.py

docs: $(STAMP) ## Renew the generated pages, and build the documentation into site/
	$(BIN)/python scripts/reference.py
	$(MAKE) --no-print-directory site

site: $(UV) ## Build the documentation into site/, from the pages as they are
	UV_PROJECT_ENVIRONMENT=.tools/docs $(UV) sync --quiet --only-group docs --python $(PYTHON) --no-python-downloads
	NO_MKDOCS_2_WARNING=1 .tools/docs/bin/mkdocs build --strict --quiet

pictures: $(STAMP) ## Make the pictures of docs/images again, from real runs; one: make pictures ARGS=search
	$(BIN)/python scripts/pictures.py $(ARGS)

clean: ## Remove caches, builds and the quickstart; runs, data and .venv stay
	rm -rf $(PLAYGROUND) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
