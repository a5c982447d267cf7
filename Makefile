# Every target sets up what it needs in .venv; nothing else has to be installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two processes; PYTEST_ARGS="-n 0" for one, as a debugger needs.
TESTS := $(BIN)/python -m pytest -n 2
PYTEST_ARGS ?=

.PHONY: demo test test-all lint format docs benchmarks versions release clean

demo: $(READY)  ## the main job, end to end, on a simulated recording
	$(BIN)/nap-nuclr demo

test: $(READY)  ## the tests and the examples in the docstrings
	$(TESTS) -m "not slow" $(PYTEST_ARGS)

test-all: $(READY)  ## the slow ones too, and what they cover; writes docs/stress_tests.md
	$(TESTS) --cov --tally=docs/stress_tests.md $(PYTEST_ARGS)

# mypy and pylint take half a minute each, side by side; either may fail.
lint: $(READY)  ## style, types, the direction of imports, and repeated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy & types=$$!; $(BIN)/pylint pynapple_nuclr benchmarks; \
	repeated=$$?; wait $$types && exit $$repeated

format: $(READY)  ## fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## the documentation, into docs/_build/html; its notebooks run
	$(BIN)/python -m sphinx -b html -W --keep-going docs docs/_build/html

benchmarks: $(READY)  ## measure on real recordings; writes docs/benchmarks.md, real_recordings.md, speed.md
	$(BIN)/python benchmarks/identity.py
	$(BIN)/python benchmarks/real_recordings.py --seeds 0 1 2 --write
	$(BIN)/python benchmarks/throughput.py

versions: $(READY)  ## the oldest and newest of what is allowed; writes docs/versions.md
	$(BIN)/nox

release: $(READY)  ## build what is uploaded, check it, and use it where nothing else is
	$(BIN)/nox -s release

clean:  ## what was built and cached; .venv stays
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .nox .coverage
	rm -rf docs/_build docs/api docs/tutorials
	find pynapple_nuclr tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed again when the dependencies change. The stamp file is written last, so that an
# interrupted installation is repeated.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@
