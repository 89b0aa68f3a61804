# Every target makes the virtual environment it needs; nothing has to be installed before but Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A process more than there are cores, since tests wait for a quarter of the time, up to what is worth collecting them for.
ONE_MORE = import os; print(min(8, 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())))
SIDE_BY_SIDE = --numprocesses $(shell $(BIN)/python -c '$(ONE_MORE)') --dist worksteal
READY := $(VENV)/.ready-test

# The tests start hundreds of programs: where nothing may be written beside sources, each reads all of them anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check warm-up slow bench bench-chain docs clean

help:
	@echo "make demo   simulate frames, index them, and leave a stream and a picture in demo-output/"
	@echo "make test   all checks and tests (make check: without tests; make slow: the long tests)"
	@echo "make bench  measure every stage on this machine, and the whole chain (CHAIN=--full: all of it, for hours)"
	@echo "make docs   write the generated pages anew, and build the site in docs/_build/html"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# One environment serves all targets; it is made anew when what the project needs has changed.
$(READY): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: $(READY)
	$(BIN)/streamajig demo --output demo-output

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry pipeline stages
	$(BIN)/python -m pytest -q tests/house

warm-up: $(READY)
	$(BIN)/streamajig warm-up

# What checks take of one core, the compiler leaves.
test: $(READY)
	$(MAKE) --no-print-directory -j 2 check warm-up
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --ignore tests/house

slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout 1200 --hypothesis-profile=default

bench: $(READY)
	$(BIN)/python -m pytest tests/bench -m bench --benchmark-only --benchmark-columns=min,median,mean,rounds --benchmark-sort=name --timeout 600
	$(MAKE) --no-print-directory bench-chain

# From a sender in another process to a stream on disk; CHAIN holds options of the study.
bench-chain: $(READY)
	$(BIN)/python docs/studies/chain/study.py $(CHAIN)

docs: $(READY)
	$(BIN)/python -m stages.commands.index.reference > docs/reference-options.md
	$(BIN)/python -m stages.commands.index.beside_crystfel > docs/reference-indexamajig.md
	$(BIN)/python docs/site/list_of_pages.py
	$(BIN)/python docs/site/sources.py docs/_build/source
	$(BIN)/sphinx-build -q -W --keep-going -c docs/site docs/_build/source docs/_build/html
	@echo "the site: docs/_build/html/index.html"

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-output build docs/_build stages/compute/portable_code *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
