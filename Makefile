# Every target makes what it needs. `make` alone explains.
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that run tests; each has servers of its own.
WORKERS ?= 2
PIP_ENV := PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
PROTOS := $(shell find protos -name '*.proto') protos/generate.py

.DEFAULT_GOAL := help
.PHONY: help manifests run test check proto bench soak planted starters clean format

help:  ## Show this help
	@if [ -t 1 ]; then bold=$$(printf '\033[1m') plain=$$(printf '\033[0m'); fi; \
	  awk -F':.*## ' -v bold="$$bold" -v plain="$$plain" \
	    '/^[a-z]+:.*## / {printf "  %s%-10s%s %s\n", bold, $$1, plain, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@echo "==> making the environment in $(VENV) (about two minutes the first time)"
	@$(PY) -m venv $(VENV)
	@$(PIP_ENV) $(BIN)/pip install --progress-bar on -q -e '.[dev]'
	@touch $(STAMP)

gen/zoo/descriptors.binpb: $(STAMP) $(PROTOS)
	@$(BIN)/python protos/generate.py

run: $(STAMP) gen/zoo/descriptors.binpb  ## Start the cluster, publish the ready starter models and run each of them (ONCE=1: then stop)
	@$(BIN)/python -m zoo_local.first_light $(if $(ONCE),--once)

test: $(STAMP) gen/zoo/descriptors.binpb  ## Run every test against real servers, on two processes (WORKERS=0: on one)
	@HF_HUB_OFFLINE=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile $(PYTEST)

check: $(STAMP) gen/zoo/descriptors.binpb  ## Format, lint, types, import direction, protos: what CI runs before the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/buf lint
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/kubectl kustomize k8s | cmp - k8s/zoo.yaml || (echo "k8s/zoo.yaml is stale: make manifests" && false)
	@for overlay in k8s k8s/overlays/*; do \
	  rendered=$$($(BIN)/kubectl kustomize $$overlay) \
	  && echo "$$rendered" | $(BIN)/kubernetes-validate --strict --quiet - || exit 1; done

format: $(STAMP)  ## Format and mend what can be mended automatically
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

proto: $(STAMP)  ## Generate the Python stubs of protos/ into gen/
	@$(BIN)/python protos/generate.py

manifests: $(STAMP)  ## Render k8s/zoo.yaml, which kubectl apply -f k8s/ takes
	@$(BIN)/kubectl kustomize k8s > k8s/zoo.yaml

bench: $(STAMP) gen/zoo/descriptors.binpb  ## Measure against peers in the same run and write docs/benchmarks.md
	@$(BIN)/python -m benchmarks

soak: $(STAMP) gen/zoo/descriptors.binpb  ## Random kills and faults under load (SECONDS=60 SEED=1)
	@ZOO_SOAK_SECONDS=$(or $(SECONDS),60) ZOO_SOAK_SEED=$(or $(SEED),1) $(BIN)/pytest tests/soak -s

planted: $(STAMP) gen/zoo/descriptors.binpb  ## Put known bugs into copies of the sources, one by one; the tests must notice each
	@$(BIN)/python tests/planted/plant.py

starters: $(STAMP) gen/zoo/descriptors.binpb  ## Publish all starter models to ZOO_URL, or to a local cluster that stays up; its jobs train some
	@[ -n "$$ZOO_URL" ] || { $(BIN)/zoo up --detach && set -a && eval "$$($(BIN)/zoo env)"; } && $(BIN)/zoo starters publish --all

clean:  ## Remove the environment, generated code and local clusters' data
	@rm -rf $(VENV) gen .run .pytest_cache .ruff_cache .hypothesis dist build
