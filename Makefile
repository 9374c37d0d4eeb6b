# `make` alone lists what there is. Only python3 (3.11 or newer), pip and make are needed.
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOLDERS := runtime actors providers telemetry
CHECKED := $(FOLDERS) tests benchmarks examples docs

# Every process of Ray imports these files; without byte-code each start compiles them again.
unexport PYTHONDONTWRITEBYTECODE
export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test on-ray actors-off-ray others-off-ray check lint types layers format docs bench faults soak simulate phoenix weights browser clean

help:  ## List what can be made
	@awk -F ':.*  ## ' '/^[a-z]+:.*  ## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/stamp  ## Three sessions on a real local model, a tool call, events, and the trace of it
	$(BIN)/llmgine models install smollm2
	$(BIN)/llmgine demo

test: check weights $(if $(CI),browser)  ## Check, then run the whole test suite
	@$(MAKE) --no-print-directory -j 3 on-ray actors-off-ray others-off-ray

# Three at a time on two cores: tests on Ray wait for its processes most of the time, others for disks.
# Of the first only files that say so are read: to collect all the others' tests takes 18 seconds of a core.
on-ray:
	$(BIN)/python -m pytest -q --durations 12 --durations-min 3 -m cluster \
		$$(grep -rl --include='test_*.py' -E 'mark\.cluster|on_ray' tests | sort)

actors-off-ray:
	$(BIN)/python -m pytest -q --durations 12 --durations-min 3 -m "not cluster" tests/actors tests/simulation

others-off-ray:
	$(BIN)/python -m pytest -q --durations 12 --durations-min 3 -m "not cluster" --ignore=tests/actors --ignore=tests/simulation

check: lint types layers  ## Lint, types and layers

lint: $(VENV)/stamp  ## Style and common mistakes
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: $(VENV)/stamp  ## Type-check through a link tree that mirrors the installed layout
	@rm -rf build/types && mkdir -p build/types/llmgine
	@for folder in $(FOLDERS); do cp -rs "$(CURDIR)/$$folder" build/types/llmgine/$$folder; done
	$(BIN)/mypy

layers: $(VENV)/stamp  ## Imports run one way, and pure code never reaches Ray
	$(BIN)/lint-imports

format: $(VENV)/stamp  ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

docs: $(VENV)/stamp  ## Write docs/settings.md and docs/command.md from what describes itself
	$(BIN)/python docs/write_settings.py
	$(BIN)/python docs/write_commands.py

bench: $(VENV)/stamp  ## All benchmarks, beside what could be used instead
	$(BIN)/python -m benchmarks all

# In CI the tests of the local model must run; at home they skip where the weights cannot be fetched.
weights: $(VENV)/stamp
	@$(BIN)/llmgine models install smollm2 \
		|| { test -z "$${CI:-}" && echo "the tests of the local model will be skipped" >&2; }

browser:  ## Install the browser that the page's tests drive, which skip without it: Debian's chromium, as root
	@command -v chromium >/dev/null || { apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }

faults: $(VENV)/stamp  ## Kill routers, handlers, sessions, provider actors, stores and everything under load, at full size
	$(BIN)/python -m tests.faults faults

soak: $(VENV)/stamp  ## Ten minutes at 10,000 events a second, with a flat line of memory
	$(BIN)/python -m tests.faults soak

simulate: $(VENV)/stamp  ## Simulate bus and sessions under faults; N schedules of each from SEED on
	$(BIN)/python -m tests.simulation $(or $(N),2000) $(or $(SEED),0)
	$(BIN)/python -m tests.simulation.sessions $(or $(N),500) $(or $(SEED),0)

phoenix: $(VENV)/stamp  ## A session's trace in Arize Phoenix, which is installed under build/ (850 MB) at the first use
	$(BIN)/python -m tests.phoenix

clean:  ## Remove what was built, the virtual environment included
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: llmgine needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo "error: $(PYTHON) cannot make a virtual environment; install its venv and pip modules" >&2; exit 1; }
	@echo "installing into $(VENV); the first time this takes about two minutes"
	@$(BIN)/python -m pip install -qq --upgrade pip
	@$(BIN)/python -m pip install -qq -e ".[dev]"
	@touch $@
