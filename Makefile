# Every target sets up what it needs: `make demo` or `make test` alone works on a fresh machine.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check lint docs clean lock

VENV := .venv
RUN := $(VENV)/bin/
READY := $(VENV)/.ready
UV := .uv/bin/uv
# A file name or expression for pytest, as in `make test TESTS=tests/pipeline`.
TESTS ?=
# Processes that the tests are spread over.
WORKERS ?= 2

help:  ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make the locked environment in .venv (the other targets do it by themselves)

demo: $(READY)  ## simulate a shop, run the pipeline on it, serve the result and ask it three queries
	$(RUN)python -m pipeline.demo

test: $(READY)  ## run the tests
	$(RUN)python -m pytest -n $(WORKERS) --dist loadgroup $(TESTS)

check: $(READY)  ## lint, formatting, types and which package imports which
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy
	$(RUN)lint-imports --no-cache

lint: $(READY)  ## fix what the linter can fix, and format
	$(RUN)ruff check --fix .
	$(RUN)ruff format .

bench-%: $(READY)  ## run benchmarks/%.py and print its table, as in `make bench-ingest`
	$(RUN)python -m benchmarks.$*

bench-serving: $(READY)  ## measure index and server at a million items, beside FAISS and hnswlib
	$(UV) sync --quiet --frozen --all-extras --group bench-serving
	$(RUN)python -m benchmarks.serving

docs: $(READY)  ## write docs/configuration.md from the settings classes
	PYTHONPATH=. $(RUN)python scripts/write_config_reference.py > docs/configuration.md

lock: $(READY)  ## resolve pyproject.toml anew into uv.lock and requirements.lock
	$(UV) lock
	$(UV) export --frozen --no-dev --all-extras --no-emit-project --no-annotate --no-header --no-hashes --output-file requirements.lock > /dev/null

clean:  ## remove environments, caches and build output; runs/ stays
	rm -rf $(VENV) .uv {.,souk_client}/{build,dist,*.egg-info} .mypy_cache .ruff_cache .hypothesis .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made once for each state of the lock; an install that was broken off has no stamp and is taken up again.
$(READY): uv.lock pyproject.toml scripts/set_up scripts/install_uv.py
	@scripts/set_up
	@touch $@
