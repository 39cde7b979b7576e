# operatorkit: what a newcomer types. Each target sets up what it needs; nothing is installed outside .venv
# (and, for test-real, a cache of Kubernetes binaries under the XDG cache directory).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
# A real control plane is three programs for each worker: with more of them, two cores are the limit. They are written in
# Go, whose garbage collector takes less of the time (and more memory: an API server gets about a gigabyte) with 300.
WORKERS ?= 3
REAL_WORKERS ?= 2
test-real: export GOGC ?= 300

.DEFAULT_GOAL := help
.PHONY: help demo test test-real test-pythons test-lowest coverage quarantine bench soak lint constraints clean

help: ## show this
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "operatorkit needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": set PYTHON=/path/to/python3.11")'
	@echo "==> creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# The package is installed in place (editable), its dependencies exactly as pinned, each with its hash.
$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "==> installing the runtime dependencies (about a minute with a cold cache)"
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/.runtime
	@echo "==> installing the development dependencies"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.runtime ## the bundled operators at work on the embedded control plane (KEEP=1 leaves it up)
	@exec $(BIN)/operatorkit demo $(if $(KEEP),--keep)

test: $(VENV)/.dev ## the suite, on the embedded control plane: no Go, no docker
	@exec $(BIN)/python -m pytest tests/unit tests/scenarios tests/contracts -m "not real and not quarantine" -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

test-real: $(VENV)/.dev ## the scenarios on a real kube-apiserver, and kubectl against both; needs Go once, to build
	@if command -v go >/dev/null || $(BIN)/python -m operatorkit.controlplane.real find >/dev/null 2>&1; then \
		$(BIN)/python -m operatorkit.controlplane.real install && \
		$(BIN)/python -m pytest tests/unit -m "real and not quarantine" -n $(REAL_WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS) && \
		exec $(BIN)/python -m pytest tests/scenarios tests/real -m "not quarantine" --controlplane=real -n $(REAL_WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS); \
	else \
		echo "make test-real: skipped: no Kubernetes binaries (KUBEBUILDER_ASSETS) and no Go toolchain to build them with"; \
	fi

test-pythons: $(VENV)/.dev ## the suite on each of Python 3.11 to 3.14 that is found, with the pinned versions
	@exec $(BIN)/python tools/pythons.py $(PYTEST_ARGS)

test-lowest: $(VENV)/.dev ## the suite on the oldest Python, with the oldest versions that pyproject.toml allows
	@exec $(BIN)/python tools/pythons.py --lowest $(PYTEST_ARGS)

coverage: $(VENV)/.dev ## the unit tests with coverage, which must not fall below the floor in pyproject.toml
	@rm -f .coverage*
	@$(BIN)/python -m coverage run -m pytest tests/unit -m "not real and not quarantine" -q $(PYTEST_ARGS)
	@$(BIN)/python -m coverage combine -q
	@exec $(BIN)/python -m coverage report

quarantine: $(VENV)/.dev ## the tests that are not understood yet (docs/known-issues.md): reported, never failing the build
	@$(BIN)/python -m pytest tests/unit tests/scenarios tests/contracts tests/real -m quarantine -p no:randomly $(PYTEST_ARGS); \
	code=$$?; \
	if [ $$code -eq 5 ]; then echo "make quarantine: no test is in quarantine"; \
	elif [ $$code -eq 1 ]; then echo "make quarantine: tests in quarantine failed, see docs/known-issues.md"; \
	elif [ $$code -ne 0 ]; then exit $$code; fi

bench: $(VENV)/.dev ## the engine beside plain kopf, in ratios; writes docs/reference/performance.md (ONLY=name for a part; SIZES=3,30,300 for petset)
	@exec env PYTHONPATH=tests $(BIN)/python -m bench $(ONLY)

soak: $(VENV)/.dev ## random histories of the engine (SEEDS=1000 FIRST=0); without SEEDS, mutants, certificates, requests, PetSets and MariaDB shards too
	@env PYTHONPATH=tests $(BIN)/python -m soak --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0)
	@if [ -z "$(SEEDS)" ]; then \
		env PYTHONPATH=tests $(BIN)/python -m soak.reviews && \
		env PYTHONPATH=tests $(BIN)/python -m soak.mutants --each $(or $(MUTANTS),10000) && \
		env PYTHONPATH=tests $(BIN)/python -m soak.certificates --count 1000 && \
		env PYTHONPATH=tests $(BIN)/python -m soak.certificate_mutants --count 50000 && \
		env PYTHONPATH=tests $(BIN)/python -m soak.attestation_mutants --count $(or $(ATTESTATION_MUTANTS),100000) && \
		env PYTHONPATH=tests $(BIN)/python -m soak.petset_histories --steps $(or $(PETSET_STEPS),100000) && \
		env PYTHONPATH=tests $(BIN)/python -m soak.mysql_histories --steps $(or $(MYSQL_STEPS),300000) && \
		env PYTHONPATH=tests $(BIN)/python -m soak.replicas && \
		env PYTHONPATH=tests $(BIN)/python -m soak.mysql_kills && \
		env PYTHONPATH=tests $(BIN)/python -m soak.mysql_reshard && \
		env KILL_EVERY=1 $(BIN)/python -m pytest tests/scenarios/pki/test_pki_killed.py; \
	fi
	@if [ -z "$(SEEDS)" ] && $(BIN)/python -m operatorkit.controlplane.real find >/dev/null 2>&1; then \
		exec env SEQUENCES=$(or $(SEQUENCES),40) $(BIN)/python -m pytest tests/real/test_random_requests.py; \
	fi

lint: $(VENV)/.dev ## ruff, mypy, pyright, import contracts, spelling, the wheel's contents, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@rm -rf build/typed && $(PIP) install --no-deps --no-build-isolation --target build/typed .
	cd build && PYTHONPATH=$(CURDIR)/build/typed ../$(BIN)/pyright --pythonpath $(CURDIR)/$(BIN)/python --verifytypes operatorkit --ignoreexternal
	@rm -rf build/wheel && $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(BIN)/check-wheel-contents build/wheel
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell
	$(BIN)/python tools/audit.py

constraints: $(VENV)/.dev ## pin the newest versions again (needs pip-tools: pip install pip-tools)
	pip-compile --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--no-header --annotation-style=line --upgrade --extra attestation --extra mysql \
		pyproject.toml requirements/build.in -o requirements/runtime.txt
	pip-compile --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--no-header --annotation-style=line --upgrade --extra petset --extra petset --extra pki --extra attestation --extra mysql --extra metrics --extra speed --extra testing \
		pyproject.toml requirements/build.in requirements/dev.in -c requirements/runtime.txt -o requirements/dev.txt

clean: ## remove everything that was generated
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
