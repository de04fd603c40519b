# Two commands do everything on a fresh machine: `make lesson-3` and `make test`.
# Each says what it is about to install and asks; YES=1 means no questions.

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help test lesson-% notebook check unit kernel tui lessons notebooks bench pictures lock setup setup-dev

help:
	@echo "make lesson-3   set up what is missing and start the lesson"
	@echo "make notebook   set up what is missing and open the notebooks in JupyterLab"
	@echo "make test       set up and run all tests"
	@echo "make check      format, lint, types, layers, unit tests: the loop while writing"
	@echo "make bench      measure; ratios within one run"
	@echo "make pictures   make the README's pictures again"

setup:
	@scripts/setup run

setup-dev:
	@scripts/setup dev

lesson-%: setup
	@$(BIN)/kplab start $@

notebook:
	@scripts/setup notebook
	@$(BIN)/kplab notebook

test: setup-dev
	$(PYTEST) tests

check: setup-dev
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache
	$(PYTEST) -m unit -q

unit kernel tui lessons notebooks: setup-dev
	$(PYTEST) -m $@

bench:
	@scripts/setup bench
	$(BIN)/python -m benchmarks

pictures: setup-dev
	$(BIN)/python scripts/make_pictures.py
	KPLAB_PICTURES=docs/pictures $(PYTEST) -q tests/browser/test_jupyterlab.py

lock:
	uv pip compile -q --no-header --no-annotate --no-emit-index-url --python-version 3.11 pyproject.toml -o requirements/run.txt
	uv pip compile -q --no-header --no-annotate --no-emit-index-url --python-version 3.11 pyproject.toml --extra notebook -o requirements/notebook.txt
	uv pip compile -q --no-header --no-annotate --no-emit-index-url --python-version 3.11 pyproject.toml --extra notebook --group dev -o requirements/dev.txt
