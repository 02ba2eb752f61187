# Two commands for a newcomer: `make demo` and `make test`. Both set up .venv first if it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow test-gpu lint docs bench sandbox sandbox-bench sandbox-soak setup clean

demo: setup
	$(BIN)/codeact loop configs/demo.yaml

test: setup
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-gpu: setup
	$(BIN)/python -m pytest -m gpu

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

# Builds the documentation into site/; a warning is an error. What only this needs is installed first.
docs: setup
	$(BIN)/python -m pip install -q -c constraints.txt -e .[docs]
	$(BIN)/mkdocs build

bench: setup
	$(BIN)/python benchmarks/train_throughput.py

# Whether what this machine promises about kernels holds; their speed; what thousands of them leave behind.
sandbox: setup
	$(BIN)/codeact sandbox probe
	$(BIN)/codeact sandbox battery

sandbox-bench: setup
	$(BIN)/codeact sandbox bench

sandbox-soak: setup
	$(BIN)/codeact sandbox soak

# Does nothing when .venv fits setup.py and constraints.txt already.
setup:
	@$(PYTHON) launch/install.py

clean:
	rm -rf .venv .cache
