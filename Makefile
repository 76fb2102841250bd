# Every target works on a fresh checkout: it makes .venv, installs what it needs, and does so again
# only when pyproject.toml or constraints.txt change. PYTHON names the interpreter (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
REQUIREMENTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check format wheel docs bench

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

demo: $(VENV)/.installed  ## the first hour in minutes: inspect, plan, train in three stages, compare, report
	$(BIN)/burnish demo

test: $(VENV)/.installed  ## run the tests, one process per core
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

check: $(VENV)/.installed  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed  ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel:  ## build the wheel, install it alone in a fresh environment, and run every verb there
	.ci/bare $(PYTHON)

docs: $(VENV)/.installed  ## build the site of docs/ with its API reference into build/site
	@$(PIP) -e ".[docs]"
	$(BIN)/zensical build --strict

bench: $(VENV)/.installed  ## coverage of architectures, speed against TRL, share of the machine's limit
	$(BIN)/python -m benchmarks.coverage
	$(BIN)/python -m benchmarks.vs_trl dpo
	$(BIN)/python -m benchmarks.vs_trl reward
	$(BIN)/python -m benchmarks.vs_trl sft
	$(BIN)/python -m benchmarks.roofline dpo

# The pinned torch goes in first: no later requirement then asks the index for another build of it.
$(VENV)/.installed: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit("Burnish needs Python 3.11 or newer; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@echo "Installing into $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch
	@$(PIP) -e ".[dev,gguf,bench,quantization]"
	@touch $@
