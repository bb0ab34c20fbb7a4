# `make run` and `make test` are the two commands; both set everything up first.
PYTHON ?= python3
BIN := .venv/bin
WIRE ?= ../shared/wire/check_wire.py
STAMP := .venv/.ready
# In the order of the directories: files of few and long tests would all come last otherwise.
PYTEST_FLAGS ?= -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: setup run test lint check wire bench compare deb clean

setup: $(STAMP)

$(STAMP): pyproject.toml requirements/dev.txt hatch_build.py $(wildcard proto/*.proto proto/*/*.proto)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup
	@$(BIN)/gitaly demo var

# Tests start thousands of nodes, clients and hooks. Each would compile the package for itself where
# PYTHONDONTWRITEBYTECODE is set.
test: setup
	@$(BIN)/python -m compileall -q gitaly
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy packaging/debian/build.py packaging/debian/texts.py

wire: setup
	@if [ -f $(WIRE) ]; then $(BIN)/python $(WIRE) proto; \
		else echo "wire: the contract's tables are not beside this tree, the check is left out"; fi

check: lint test wire

bench: setup
	$(BIN)/python -m bench

# Sends the same reads to Gitaly and to this node: make compare GITALY_REFERENCE=/path/to/gitaly
compare: setup
	@GITALY_REFERENCE="$(GITALY_REFERENCE)" GITALY_COMPARE_STORAGE="$(GITALY_COMPARE_STORAGE)" \
		$(BIN)/python -m tests.compare

# The package is for the distribution whose Python this is; its path appears in dist/.
DEB_PYTHON ?= /usr/bin/python3

deb: setup
	@$(BIN)/python packaging/debian/build.py --output dist --python $(DEB_PYTHON)

clean:
	rm -rf .venv var dist build gitaly/_pb gitaly/linguist/_data .mypy_cache .ruff_cache .pytest_cache
