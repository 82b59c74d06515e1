# make demo: ULMFiT with and without pretraining, on the bundled texts.  make test: the tests.  Both set up .venv if it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint
demo: .venv/ready
	$(BIN)/python scripts/demo.py

test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one with: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "installing the pinned packages into .venv: a minute or two"
	@$(BIN)/pip install -qq --disable-pip-version-check --no-compile -r requirements.lock  # Python compiles what is imported
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
