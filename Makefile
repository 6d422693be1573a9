# Two commands do everything: `make demo` and `make test`. Both build the environment first.
PYTHON ?= python3.11
VENV   ?= .venv
OUT    ?= demo-out
BIN    := $(VENV)/bin
TORCH  := torch==2.13.0

.PHONY: env demo test test-fast check format bench bench-env clean

env: $(VENV)/.ready

# torch is named in the same command as all that needs it: otherwise pip may fetch a CUDA build of several GB.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(TORCH) -e '.[demo,radical,ray,dev]'
	touch $@

demo: env
	$(BIN)/deeprc demo --out $(OUT)

test: env check
	$(BIN)/pytest

test-fast: env
	$(BIN)/pytest -m 'not slow'

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Systems that benchmarks compare with, each in an environment of its own: their pins and ours do not fit together.
bench-env:
	for file in benchmarks/requirements-*.txt; do \
	  name=$${file#benchmarks/requirements-}; \
	  venv=.venv-bench-$${name%.txt}; \
	  $(PYTHON) -m venv $$venv && $$venv/bin/pip install --quiet --disable-pip-version-check -r $$file || exit 1; \
	done

bench: env
	$(BIN)/deeprc bench pipeline --json benchmarks/pipeline.json
	$(BIN)/deeprc bench tasks --json benchmarks/tasks.json
	$(BIN)/python benchmarks/fill_tables.py

clean:
	rm -rf $(VENV) $(OUT) deeprc-runs
