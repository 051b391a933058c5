# `make` or `make help` lists the targets. Each installs what it needs into .venv by itself.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
LOCALE := pingboard/web/locale
# What is quick: no real homeserver, browser or PostgreSQL, no second type check, no random walk.
QUICK := tests/test_sample_blocks.py tests/ranking tests/render tests/store tests/test_edition_schedule.py \
  tests/test_servername.py tests/test_settings.py tests/model \
  tests/matrix/test_pongs.py tests/matrix/test_protocol.py tests/matrix/test_verify.py
EXTRACT := -F pyproject.toml -k mark -w 100 --no-location --omit-header

.DEFAULT_GOAL := help
.PHONY: help setup run check test soak lint format openapi strings screenshots bench faults clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything, tests and lab included

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pingboard needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1);" \
	       "for example: make PYTHON=python3.12"; exit 2; }
	@echo "Installing into .venv: about 350 MB, a minute or two the first time."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable '.[lab,dev]'
	@# It asks for an older typer than ours, for a command line that works with this one too.
	$(BIN)/pip install --constraint constraints.txt --no-deps openapi-python-client
	@touch $@

run: $(READY) ## run pingboard; with nothing configured on a local network of its own
	@$(BIN)/pingboard run

check: lint ## lint and the quick tests, in under a minute
	$(BIN)/python -m pytest -q --numprocesses 2 --ignore tests/ranking/test_new_board.py \
	  --ignore tests/store/test_differential.py -k 'not postgresql' \
	  $(QUICK)

test: $(READY) ## run all tests, end to end against real homeservers included
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(READY) ## compare the store with a plain model of events for long: --seeds 200
	$(BIN)/python -m tests.differential $(ARGS)

lint: $(READY) ## ruff, mypy --strict, the import directions and the spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

format: $(READY) ## let ruff format the code and fix what it can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

openapi: $(READY) ## rewrite openapi.json and its examples, after an intended change of the interface
	$(BIN)/python -m tests.web.write_examples
	$(BIN)/python -c 'from pingboard.web.app import describe; print(describe(), end="")' > openapi.json

strings: $(READY) ## bring the catalogue of strings in step with the pages; then translate
	$(BIN)/pybabel -q extract $(EXTRACT) -o $(LOCALE)/messages.pot pingboard/web
	@for catalogue in $(LOCALE)/*.po; do \
	  $(BIN)/pybabel -q update -l $$(basename $$catalogue .po) -i $(LOCALE)/messages.pot -o $$catalogue \
	    -w 100 --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date || exit; \
	done

screenshots: $(READY) ## retake the pictures of the pages in docs/screenshots
	$(BIN)/python -m tests.browser.screenshots

bench: $(READY) ## measure, as pairs within one run
	$(BIN)/python -m bench $(ARGS)

faults: $(READY) ## prove on real homeservers that worker and API survive faults and abuse
	$(BIN)/python -m faults $(ARGS)

clean: ## remove .venv and the tools' caches, never the database
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
