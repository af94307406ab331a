# Every target sets itself up in .venv: a fresh Debian needs python3-venv and make, nothing else.
# `make demo` installs what khealth needs to run; the other targets add what tests and checks need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/run-ready
DEV_READY := $(VENV)/ready

.PHONY: help demo test coverage check e2e fmt lock generate draw render golden screenshots clean

help: ## list the targets
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# One word for the shell, whatever is in it. ARGS is meant to be several.
quoted = '$(subst ','\'',$(1))'

# --no-compile: most of the files are never imported, and Python compiles each when it first is.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

$(RUN_READY): requirements/run.txt requirements/build.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'khealth needs Python 3.11 or newer: make PYTHON=python3.12 …' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --require-hashes -r requirements/run.txt -r requirements/build.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(DEV_READY): $(RUN_READY) requirements/dev.txt
	$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	touch $@

demo: $(RUN_READY) ## run khealth against a simulated cluster: make demo FAULT=scheduler-stalled; FAULT=list lists them
	$(BIN)/khealth demo $(if $(FAULT),--fault $(call quoted,$(FAULT))) $(if $(LISTEN),--listen $(call quoted,$(LISTEN)))

test: $(DEV_READY) ## unit and integration tests; no cluster needed
	$(BIN)/pytest --numprocesses=3 --dist=worksteal $(ARGS)

coverage: $(DEV_READY) ## make test, slower: prints branch coverage, which has a floor
	$(BIN)/pytest --numprocesses=3 --dist=worksteal --cov --cov-report= $(ARGS)

# The first line is what may share the cluster, the second what may not. By name, files that take long come early.
# pytest's 5 says that ARGS selected no such test.
e2e: $(DEV_READY) ## end-to-end tests on the cluster that KUBECONFIG names
	$(BIN)/pytest tests/e2e -m 'not alone' --numprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS) || test $$? -eq 5
	$(BIN)/pytest tests/e2e -m alone $(ARGS) || test $$? -eq 5

check: $(DEV_READY) ## linters, types, layers, spelling, English, and whether generated files are up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/hadolint Dockerfile
	$(BIN)/python tests/conventions.py
	$(BIN)/python tests/prose.py
	$(BIN)/python dashboards/generate.py --check
	$(BIN)/python deploy/generate.py --check
	$(BIN)/python docs/generate.py --check

fmt: $(DEV_READY) ## format the code, and apply automatic fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

generate: $(DEV_READY) ## regenerate dashboards, the runbook page, tables, docs pages, and the generated files of the chart
	$(BIN)/python dashboards/generate.py
	$(BIN)/python deploy/generate.py
	$(BIN)/python docs/generate.py

draw: $(DEV_READY) ## draw a dashboard from a Prometheus: make draw PROMETHEUS=http://127.0.0.1:9090 OUT=khealth.png; needs npm, chromium
	$(BIN)/python dashboards/draw/draw.py --prometheus $(call quoted,$(PROMETHEUS)) --out $(call quoted,$(or $(OUT),khealth.png)) $(ARGS)

render: $(DEV_READY) ## render deploy/khealth.yaml from the chart; needs helm
	$(BIN)/python deploy/render.py

golden: $(DEV_READY) ## regenerate the golden files
	$(BIN)/pytest tests/unit/core/test_golden.py --write-golden

screenshots: $(DEV_READY) ## draw the status page in docs/pictures; with FOLDER=… in all its states; needs chromium
	$(BIN)/python tests/screenshots.py $(if $(FOLDER),$(call quoted,$(FOLDER)))

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock: $(DEV_READY) ## compile requirements/ from pyproject.toml
	$(PIP_INSTALL) uv
	$(COMPILE) pyproject.toml -o requirements/run.txt
	$(COMPILE) --all-extras --constraints requirements/run.txt pyproject.toml -o requirements/dev.txt
	printf 'hatchling\neditables\n' | $(COMPILE) --constraints requirements/dev.txt - -o requirements/build.txt

clean: ## remove what was set up
	rm -rf $(VENV) .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
