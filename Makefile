# make              this list
# PYTHON=python3.12 another interpreter for the environment
# PIP_EXTRA=...     more options for pip, such as an index with CPU-only builds of PyTorch (see README.md)
# WORKERS=4         processes that the tests run in

PYTHON ?= python3
PIP_EXTRA ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help venv quickstart test line lint check format docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

venv: $(INSTALLED) ## Make the environment in .venv and install segdec with all its tools

# --clear: an installation that was cut off half-way starts anew
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "segdec needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install $(PIP_EXTRA) -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: $(INSTALLED) ## Make example data, train, evaluate and predict on it
	$(BIN)/segdec quickstart

# One thread per process: the processes share the cores already
test: $(INSTALLED) ## Run the whole default test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS)

# Builds an environment of its own with pip, so it is not part of `make test`
line: $(INSTALLED) ## Install without PyTorch in a fresh environment, and predict there
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow tests/test_without_torch.py

lint: $(INSTALLED) ## Format, style, types and layers, without changing a file
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

check: lint line test ## Everything that CI checks

format: $(INSTALLED) ## Format the code and mend what can be mended by itself
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(INSTALLED) ## Write docs/reference/configuration.md anew from the code
	$(BIN)/python docs/reference/configuration.py

clean: ## Remove the environment, caches and build output; runs/ stays
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
