# Everything a developer does here. Needs only Python >= 3.11 with pip, and make.

PYTHON ?= python3
TOOLS := .tools
UV := $(TOOLS)/bin/uv
RUN := .venv/bin/
WORKERS ?= auto
export UV_LINK_MODE ?= copy

.PHONY: run test check unit bench chaos million forecast-report fuzz sbom clean

run: .venv/.demo  ## the gateway on 127.0.0.1:4000 with a real local model behind it
	@$(RUN)jobgate demo

test: .venv/.all check unit  ## every check that CI runs

check: .venv/.all
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy
	$(RUN)lint-imports

unit: .venv/.all
	$(RUN)python -m pytest -n $(WORKERS) --dist loadfile --cov=gateway --cov-report=term:skip-covered

bench: .venv/.all  ## against a bare pass-through, in one run
	$(RUN)python -m tests.bench

million: .venv/.all  ## a million random entries, added up by the ledger, the roll-ups and decimals
	$(RUN)python -m tests.bench.million

forecast-report: .venv/.all  ## how good forecasts are, over the synthetic years of five seeds
	$(RUN)python -m tests.bench.forecast_report

chaos: .venv/.all  ## kills, outages and faults for two minutes, then the ledger beside the bill
	$(RUN)python -m tests.chaos $(CHAOS)

fuzz: .venv/.all  ## ten thousand requests by the API document and against it, every check on
	$(RUN)python -m tests.security.fuzzing $(FUZZ)

sbom: .venv/.demo  ## the bill of materials, as CycloneDX, in jobgate.cdx.json
	$(RUN)python -I deploy/sbom.py > jobgate.cdx.json

clean:
	rm -rf .venv $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* var

$(UV): .ci/uv.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes \
		--target $(TOOLS) --upgrade -r .ci/uv.txt
	@touch $(UV)

.venv/.demo: $(UV) pyproject.toml uv.lock
	$(UV) sync --quiet --frozen --inexact --no-default-groups --extra demo
	@touch $@

.venv/.all: $(UV) pyproject.toml uv.lock
	$(UV) sync --quiet --frozen --all-extras --all-groups
	@touch $@ .venv/.demo
