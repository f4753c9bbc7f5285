# Every command of this repository. Python 3.11 or newer and pip are all it takes: .venv is made when it is needed.
#   make test PYTHON=python3.12     which interpreter .venv is made with
#   make test ARGS="-k store"       what is passed on to the command

PYTHON ?=
ARGS ?=
MINUTES ?= 30
export PYTHON

bin := .venv/bin
python := $(bin)/python
pure := monitor/domain/*,monitor/providers/*

MAKEFLAGS += --no-builtin-rules --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help demo test faults soak mutants check fix lock image image-check venv venv-dev
.PHONY: format lint types layers dependencies locks sizes dockerfile compose rules alerts

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
	  printf '  make %-12s %s\n' "$$name" "$$text"; done
	@printf '\n  ARGS="…" is passed on to demo, test, faults, image and image-check; PYTHON=python3.12 chooses the interpreter.\n'

demo: venv ## a simulated provider, the monitor, and its notifications in this terminal
	@$(python) -m monitor demo $(ARGS)

test: venv-dev ## the tests that take minutes together; in CI with coverage
	@$(python) -m pytest --numprocesses auto --maxprocesses 4 -m "not slow" $(if $(CI),--cov --cov-report=) $(ARGS)
	@$(if $(CI),$(bin)/coverage report --fail-under=95)
	@$(if $(CI),$(bin)/coverage report --fail-under=100 --include="$(pure)")

faults: venv-dev ## the whole catalogue of faults, and 200 kills with their figures: about a quarter of an hour
	@$(python) -m tests.faults.campaign 200 >.campaign.log 2>&1 & campaign=$$!; \
	$(python) -m pytest --numprocesses 2 -m slow --timeout 900 $(ARGS); tests=$$?; \
	wait $$campaign; kills=$$?; cat .campaign.log; exit $$((tests || kills))

soak: venv-dev ## MINUTES=30 of mixed faults at speed; fails on growth and on loss
	@$(python) -m tests.soak $(MINUTES)

mutants: venv-dev ## breaks the rules of domain and providers on purpose; at most 15 % of the breaks may go unnoticed
	@rm -rf mutants
	@$(bin)/mutmut run --max-children 2 $(ARGS) && $(bin)/mutmut export-cicd-stats
	@$(python) -c 'import json; s = json.load(open("mutants/mutmut-cicd-stats.json")); print(s); raise SystemExit(s["survived"] > 0.15 * s["total"])'

check: format lint types layers dependencies locks dockerfile compose rules alerts sizes ## everything that can be told without the tests

fix: venv-dev ## formats the code, and repairs what can be repaired by machine
	@$(bin)/ruff format .
	@$(bin)/ruff check --fix .

lock: venv-dev ## compiles requirements.lock and requirements-dev.lock anew (ARGS=--upgrade moves versions)
	@.ci/lock $(ARGS)

image: ## the container image, with docker, podman or buildah
	@.ci/image $(ARGS)

image-check: ## builds the image and runs it as it is meant to be run: read-only, without root (needs root and buildah)
	@.ci/image-check $(ARGS)

venv:
	@.ci/venv run

venv-dev:
	@.ci/venv dev

format: venv-dev
	@$(bin)/ruff format --check .

lint: venv-dev
	@$(bin)/ruff check .

types: venv-dev
	@$(bin)/mypy

layers: venv-dev
	@$(bin)/lint-imports

dependencies: venv-dev
	@$(bin)/deptry .

locks: venv-dev
	@.ci/lock --check

sizes: venv-dev
	@$(python) -m pytest --quiet tests/test_repository.py

dockerfile: venv-dev
	@$(bin)/hadolint Dockerfile

compose: venv-dev
	@$(bin)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml deploy/compose.own.yaml

rules:
	@.ci/tool promtool check config deploy/prometheus/prometheus.yml
	@.ci/tool promtool test rules deploy/prometheus/tests.yaml

alerts:
	@.ci/tool amtool check-config deploy/alertmanager/alertmanager.yml
