# The table of contents. `make demo` and `make test` work on a fresh clone with Python and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# What a user gets is the base install; what the demo, and what development needs on top of it.
DEMO   := $(VENV)/.installed-demo
DEV    := $(VENV)/.installed-dev

.PHONY: help demo test lint bench docs format cli-docs clean

help:
	@echo "make demo   embed a little free music and find neighbours (MUSIC=folder for your own)"
	@echo "make test   run the tests with coverage"
	@echo "make lint   ruff, mypy, import-linter, codespell"
	@echo "make bench  speed and memory beside the alternatives (QUICK=1 for a short run)"
	@echo "make docs   build the documentation site into site/"

demo: $(DEMO)
	$(BIN)/python runs/demo.py $(if $(MUSIC),--music "$(MUSIC)")

test: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --cov --cov-report=term:skip-covered $(PYTEST)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python docs/generate_cli.py --check

bench: $(DEV)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

cli-docs: $(DEV)
	$(BIN)/python docs/generate_cli.py

clean:
	rm -rf $(VENV) build demo dist site .coverage .mypy_cache .pytest_cache .ruff_cache

$(VENV):
	$(PYTHON) -m venv $(VENV)

$(DEMO): pyproject.toml constraints.txt | $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[eval]'
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(DEMO)
