# Each command does its own set-up in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: train example-gpt test lint types docs look picture bench facts fuzz names versions clean

train: $(VENV)/.demo  ## train a small network on handwritten digits with Lion
	@echo 'Training on handwritten digits; results go to runs/digits-lion.'
	$(BIN)/optimzoo train examples/digits/lion.toml

example-gpt: $(VENV)/.demo  ## train a small GPT with Muon and AdamW, and with AdamW alone, over three seeds (minutes)
	$(BIN)/python examples/gpt/compare.py

test: $(VENV)/.dev  ## run the whole test suite, in two processes
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.dev  ## build the site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

look: docs  ## photograph every page of the site in Chromium, wide and narrow, light and dark, into site-pictures/
	$(BIN)/python docs/look.py site site-pictures

picture: $(VENV)/.dev  ## draw the picture of README anew, into docs/curves.png
	$(BIN)/python docs/pictures.py docs curves

bench: $(VENV)/.bench  ## measure against other libraries, and write docs/benchmarks.md
	$(BIN)/python -m bench

facts: $(VENV)/.dev  ## measure every bundled optimizer anew (a quarter of an hour), and write what is found
	$(BIN)/python -m optimzoo_plugins.facts

fuzz: $(VENV)/.dev  ## try 20 000 configs with something wrong in them (a quarter of an hour), each time others
	OPTIMZOO_FUZZ=20000 $(BIN)/python -m pytest -q --timeout 0 tests/fuzz

versions: $(VENV)/.dev  ## run the tests on every Python and torch that can be had, and write docs/versions.md
	$(BIN)/python -m bench.versions

names: $(VENV)/.dev  ## read the names, versions and licences of the libraries that are installed
	$(BIN)/python -W ignore -m tests.plugins.names

clean:
	rm -rf $(VENV) build dist site site-pictures runs

$(VENV)/.demo $(VENV)/.dev $(VENV)/.bench: $(VENV)/.%: pyproject.toml constraints.txt
	@echo 'Setting up $(VENV), which downloads PyTorch and takes minutes the first time ...'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[$*]'
	touch $@
