# Everything sets itself up: `make demo` and `make test` need Python 3.11+, git and a package index, nothing else.
# PYTHON=python3.12 chooses an interpreter, VENV=dir another place for the environment.

VENV ?= .venv
RUN = $(VENV)/bin/python

# pip and python of the environment alone
unexport PYTHONHOME
unexport PYTHONPATH
# every command would compile agentpkg anew
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# changes with pyproject.toml and with the place of the tree, which an editable install remembers
KEY := $(shell { cat pyproject.toml; pwd; } | cksum | cut -d ' ' -f 1)
INSTALLED = $(VENV)/.installed-$(KEY)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint types format bench clean

help:
	@echo "make demo       the whole loop in a scratch repository"
	@echo "make test       the fast tests, in parallel"
	@echo "make test-all   all tests"
	@echo "make lint       ruff: rules and format        make format   put both right"
	@echo "make types      mypy --strict"
	@echo "make bench      measurements against plain git and library calls"
	@echo "make setup      only the environment          make clean    remove it and everything generated"

demo: setup
	@$(VENV)/bin/agentpkg demo

test: setup
	$(RUN) -m pytest -q -n auto --dist worksteal -m "not slow"

test-all: setup
	$(RUN) -m pytest -q -n auto

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: setup
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: setup
	$(RUN) -m mypy

bench: setup
	$(RUN) bench/run.py $(ARGS)

setup: $(INSTALLED)

$(INSTALLED):
	@python=$$(PYTHON="$(PYTHON)" sh .ci/find-python) || exit 1; \
	"$(RUN)" -c "" 2>/dev/null || { echo "making $(VENV) with $$python"; "$$python" -m venv --clear "$(VENV)"; }
	@echo "installing agentpkg and its tools into $(VENV)"
	@"$(RUN)" -m pip install -q -e ".[dev]"
	@rm -f "$(VENV)"/.installed-*
	@touch "$@"

clean:
	rm -rf .venv build dist .cache .mypy_cache .ruff_cache .pytest_cache .coverage coverage.xml
	find agentpkg tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
