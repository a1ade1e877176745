# `make pipeline`: raw text to an aligned model and its report.  `make family`: the systems of the literature, compared.
# `make alignment`: PPO and its baselines, compared.  `make test`: the tests.  Each installs what it needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: pipeline family alignment results test test-slow lint ui lock

pipeline: $(INSTALLED)
	@$(BIN)/python -m flows.pipeline

family: $(INSTALLED)
	@$(BIN)/python -m flows.family

alignment: $(INSTALLED)
	@$(BIN)/python -m flows.alignment

# docs/results.md and README's headline, from what benchmarks.seeds, family and profiles left.
results: $(INSTALLED)
	@$(BIN)/python -m benchmarks.results

test: $(INSTALLED)
	@$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile --no-loadscope-reorder

test-slow: $(INSTALLED)
	@$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright

# What every run logged: http://127.0.0.1:5000, for this machine alone, or where MLFLOW_TRACKING_URI says.
ui: $(INSTALLED)
	@$(BIN)/python -m jokbo.ui

# torch comes first and unhashed: which build is right (CPU, CUDA) is the machine's affair. The lock holds the rest.
$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11, 7) <= sys.version_info < (3, 13))' 2>/dev/null \
		|| { echo "jokbo needs Python 3.11.7 or later, or 3.12: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --no-deps -e .
	@touch $@

lock: $(INSTALLED)
	$(BIN)/pip install --quiet pip-tools
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --no-annotate --strip-extras \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --extra dev \
		--no-allow-unsafe --unsafe-package torch --output-file requirements.lock pyproject.toml
	@! grep -nE '://|^(nvidia|triton|cuda)' requirements.lock
