# Every command of this repository. It needs only Python 3.11 or newer and pip: .venv is created when it is needed.
#   make test PYTHON=python3.12     the interpreter for .venv
#   make test ARGS="-k store"       arguments that are passed on to the command

PYTHON ?=
ARGS ?=
MINUTES ?= 30
export PYTHON
# Otherwise every start of the program in the tests would compile it again, which takes a second.
unexport PYTHONDONTWRITEBYTECODE

bin := .venv/bin
python := $(bin)/python
# `make check` has reported these already.
told := --ignore tests/deploy/test_kubernetes.py --ignore tests/deploy/test_helm.py
pure := monitor/domain/*,monitor/providers/*

MAKEFLAGS += --no-builtin-rules --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help site demo test browser observe bench faults soak peers mutants check fix lock image image-check sbom deploy-tools venv venv-dev
.PHONY: format lint types layers dependencies locks sizes dockerfile compose kubernetes rules alerts dashboards dashboards-check messages pictures

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
	  printf '  make %-12s %s\n' "$$name" "$$text"; done
	@printf '\n  ARGS="…" is passed on to demo, test, faults, image and image-check; PYTHON=python3.12 chooses the interpreter.\n'

demo: venv ## a simulated provider, the monitor, and its notifications in this terminal
	@$(python) -m monitor demo $(ARGS)

test: venv-dev ## the tests, which take some minutes; in CI with coverage
	@$(python) -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m "not slow and not bench" $(told) $(if $(CI),--cov --cov-report=) $(ARGS)
	@$(if $(CI),$(bin)/coverage report --fail-under=95)
	@$(if $(CI),$(bin)/coverage report --fail-under=100 --include="$(pure)")

browser: venv-dev ## the tests in a real browser: light, dark, phone, without scripts (needs Chromium)
	@$(python) -m pytest -n0 tests/browser $(ARGS)

bench: venv-dev ## speed against its targets and against a simple script (ARGS=--quick: five minutes; ARGS="--only P12"); on an idle machine
	@$(python) -m tests.bench $(ARGS)
	@$(if $(ARGS),,$(python) -m pytest -n0 -s -q -m bench tests/web)

observe: venv-dev ## real Prometheus and Alertmanager on the demo: every panel has data, alerts reach a receiver (needs both)
	@$(python) -m pytest -n0 -m slow tests/deploy/test_panels.py tests/deploy/test_alerts_fire.py $(ARGS)

faults: venv-dev ## the whole fault catalogue, and a campaign of 200 kills: about a quarter of an hour
	@$(python) -m tests.faults.kill_campaign 200 >.campaign.log 2>&1 & campaign=$$!; \
	$(python) -m pytest --numprocesses 2 --dist worksteal -m slow $(told) --timeout 900 $(ARGS); tests=$$?; \
	wait $$campaign; kills=$$?; cat .campaign.log; exit $$((tests || kills))

soak: venv-dev ## MINUTES=30 of mixed faults at high speed; fails on growth and on loss
	@$(python) -m tests.soak $(MINUTES)

peers: venv-dev ## watches other servers for real: moto, LiteLLM's proxy and aimock (needs npm; installs them once)
	@.ci/peers
	@$(python) -m pytest -n0 -m slow tests/peers $(ARGS)

mutants: venv-dev ## breaks the rules of domain and providers on purpose; tests must notice at least 85 % of the mutants
	@rm -rf mutants
	@$(bin)/mutmut run --max-children 2 $(ARGS) && $(bin)/mutmut export-cicd-stats
	@$(python) -c 'import json; s = json.load(open("mutants/mutmut-cicd-stats.json")); print(s); raise SystemExit(s["survived"] + s["no_tests"] > 0.15 * s["total"])'

check: format lint types layers dependencies locks dockerfile compose kubernetes rules alerts dashboards-check sizes ## everything that can be checked without the tests

fix: venv-dev ## formats the code, fixes what can be fixed automatically, and writes generated files
	@.ci/kubernetes
	@$(python) -m tests.providers.capabilities
	@$(bin)/ruff format .
	@$(bin)/ruff check --fix .

lock: venv-dev ## compiles the three lock files (ARGS=--upgrade raises versions)
	@.ci/lock $(ARGS)

image: ## the container image, with docker, podman or buildah
	@.ci/image $(ARGS)

image-check: ## builds the image and runs it as intended: read-only, without root (needs root and buildah)
	@.ci/image-check $(ARGS)

sbom: venv-dev ## the image's bill of materials, CycloneDX JSON on the terminal: make --silent sbom >sbom.json
	@.ci/sbom

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
	@$(bin)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml deploy/compose.own.yaml deploy/compose.postgres.yaml

deploy-tools: venv-dev
	@.ci/deploy-tools

kubernetes: deploy-tools ## renders the manifests and the chart, and validates them against the schemas of Kubernetes
	@.ci/kubernetes --check
	@$(python) -m pytest --quiet tests/deploy/test_kubernetes.py tests/deploy/test_helm.py --timeout 300 $(ARGS)

rules:
	@.ci/tool promtool check config deploy/prometheus/prometheus.yml
	@.ci/tool promtool test rules deploy/prometheus/tests.yaml

alerts:
	@.ci/tool amtool check-config deploy/alertmanager/alertmanager.yml

dashboards: venv-dev ## writes Grafana's dashboards from deploy/grafana/boards
	@$(python) -m deploy.grafana.boards

dashboards-check: venv-dev
	@$(python) -m deploy.grafana.boards --check

site: venv-dev ## the documentation as a site, in site/; every link in it is checked
	@NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs --quiet build --strict $(ARGS)

messages: venv-dev ## renders every message in every channel, in docs/messages (Chromium; ARGS=slack for one of them)
	@$(python) -m tests.pictures $(ARGS)

pictures: venv-dev ## renders docs/*.png from an hour of the demo: its pages, and the dashboards with Grafana's libraries (npm, Chromium, Prometheus)
	@$(python) -m tests.deploy.pictures
