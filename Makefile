# Two commands for a newcomer: `make demo` and `make test`. Both set up .venv first if it is missing.
PYTHON ?= python3
BIN := .venv/bin

PYTHON312 ?= python3.12
NEXT := .venv-next

.PHONY: demo test test-slow test-gpu test-next lint types docs alfworld miniwob scienceworld bench sandbox sandbox-bench sandbox-soak setup clean

demo: setup
	$(BIN)/codeact loop configs/demo.yaml

# Processes that share the files of tests (tests/conftest.py). Some tests use two cores themselves.
TEST_PROCESSES ?= 2

test: setup
	CUDA_VISIBLE_DEVICES= $(BIN)/python -m pytest -m "not slow and not gpu" -n $(TEST_PROCESSES)

test-slow: setup
	CUDA_VISIBLE_DEVICES= $(BIN)/python -m pytest -m slow

test-gpu: setup
	$(BIN)/python -m pytest -m gpu

# The trainer's tests on Python 3.12 with the newest megatron-core. Its own environment, about 7 GB with CUDA's libraries.
test-next:
	test -x $(NEXT)/bin/python || $(PYTHON312) -m venv $(NEXT)
	grep -v '^megatron-core' constraints.txt > $(NEXT)/constraints.txt
	$(NEXT)/bin/python -m pip install -q -c $(NEXT)/constraints.txt -e .[dev] megatron-core==0.19.2
	CUDA_VISIBLE_DEVICES= $(NEXT)/bin/python -m pytest -m "not slow and not gpu" tests/codeact_train

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python -m pytest tests/test_prose.py

types: setup
	$(BIN)/mypy

# Builds the documentation into site/; a warning is an error. What only this needs is installed first.
docs: setup
	$(BIN)/python -m pip install -q -c constraints.txt -e .[docs]
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# textworld with its planner, for the games of the family alfworld. The planner is compiled: it needs CMake and g++.
alfworld: setup
	$(BIN)/python -m pip install -q -c constraints.txt -e .[alfworld]

# The pages of the family miniwob, and a browser for them: from Debian, as root, where it is not there.
miniwob: setup
	$(BIN)/python -m pip install -q -c constraints.txt -e .[miniwob]
	command -v chromedriver > /dev/null || (apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver)

# The simulator of the family scienceworld, and Java for it: from Debian, as root, where it is not there.
scienceworld: setup
	$(BIN)/python -m pip install -q -c constraints.txt -e .[scienceworld]
	command -v java > /dev/null || (apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends default-jre-headless)

bench: setup
	$(BIN)/python benchmarks/train_throughput.py

# Kernels on this machine: isolation (sandbox), speed (sandbox-bench), leftovers of thousands of starts (sandbox-soak).
sandbox: setup
	$(BIN)/codeact sandbox probe
	$(BIN)/codeact sandbox security-suite

sandbox-bench: setup
	$(BIN)/codeact sandbox bench

sandbox-soak: setup
	$(BIN)/codeact sandbox soak

# Does nothing when .venv fits setup.py and constraints.txt already.
setup:
	@$(PYTHON) launch/install.py

clean:
	rm -rf .venv .venv-next .cache
