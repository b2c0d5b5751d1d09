# `make help` lists the targets. All but `help` and `clean` first see to it that .venv is set up.

PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
STACKS_VENV := .venv-stacks
STACKS_STAMP := $(STACKS_VENV)/.installed
PINNED_VENV := .venv-pinned
PINNED_STAMP := $(PINNED_VENV)/.installed

# An environment that is already there decides the Python version; otherwise PYTHON does.
interpreter := $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
version := $(shell $(interpreter) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
lock_file := $(wildcard locks/py$(subst .,,$(version)).txt)

# Twice quiet: a download of some hundred megabytes need not list its eighty packages.
PIP_INSTALL := -m pip --disable-pip-version-check install -qq
EDITABLE := --no-deps --no-build-isolation --editable .
TEST_EXTRAS := dev,envpool,frames,tensorboard,mujoco,box2d,dm-control,mjx,pybullet,ray,tune,video
comma := ,

# File by file, in the order that tests/conftest.py gives. The first process that crashes ends the run:
# pytest-xdist 3.8 may wait for ever for the tests of one that it has replaced.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-all test-integrations test-stacks soak lint format bench bench-stacks build lock clean clean-all

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv with the locked dependencies (PYTHON=python3.12 chooses the Python)

# Pythons newer than the newest lock get unpinned dependencies, without Box2D, which may have no
# wheel for them yet.
$(STAMP): pyproject.toml $(lock_file)
	@$(interpreter) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "robustpo needs Python 3.11 or newer, but '$(interpreter)' is $(or $(version),not a Python);" \
	        "choose another with: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing $(or $(lock_file),unpinned dependencies (no lock for this Python)) into $(VENV)" \
	    "(about 3.5 GB, one to three minutes)"
ifneq ($(lock_file),)
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r $(lock_file)
	@$(BIN)/python $(PIP_INSTALL) $(EDITABLE)
else
	@$(BIN)/python $(PIP_INSTALL) --editable '.[$(subst $(comma)box2d,,$(TEST_EXTRAS))]'
endif
	@touch $@

# Pendulum-v1 because the published effect is large there (8M steps: PPO -1142, RPO -151), so that
# five seeds and a tenth of the steps show it.
demo: $(STAMP)  ## compare PPO and RPO on Pendulum-v1, a task of large published effect: runs/demo
	$(BIN)/robustpo compare Pendulum-v1 --methods ppo rpo --seeds 0:5 --steps 800000 \
	    --out runs/demo

test: $(STAMP)  ## run the quick tests, a process per core (PYTEST_ARGS="-x" is passed on)
	$(BIN)/pytest -m "not slow and not soak and not stacks" $(PARALLEL) $(PYTEST_ARGS)

test-slow: $(STAMP)  ## run the tests that take minutes
	$(BIN)/pytest -m "slow and not soak and not stacks" $(PARALLEL) $(PYTEST_ARGS)

test-all: $(STAMP)  ## run the quick and the slow tests in one go, which trains some things once less
	$(BIN)/pytest -m "not soak and not stacks" $(PARALLEL) $(PYTEST_ARGS)

soak: $(STAMP)  ## kill, corrupt and fuzz for long, train 50M steps and every cell (two hours)
	ROBUSTPO_KILLS=50 ROBUSTPO_FUZZ_EXAMPLES=250000 $(BIN)/pytest -s tests/faults $(PYTEST_ARGS)
	$(BIN)/pytest -m "slow or soak" tests/studies/test_cells.py $(PYTEST_ARGS)

# Without this, pyright's wrapper asks the package index for a newer version at every run.
lint: export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
lint: $(STAMP)  ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(STAMP)  ## fix style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The peers need PyTorch, hence an environment of their own. They are locked for Python 3.11.
BENCH_PYTHON ?= $(if $(filter 3.11,$(version)),$(interpreter),python3.11)

bench: $(STAMP) $(BENCH_STAMP)  ## measure speed against peers (BENCH_ARGS is passed on)
	$(BENCH_VENV)/bin/python benchmarks/run.py $(BENCH_ARGS)

# Other people's stacks: Stable-Baselines3, rsl_rl, TorchRL and skrl share one environment, and
# RLlib and mjlab another, because they pin what others need newer; Brax is in ours.
test-integrations: $(STAMP) $(STACKS_STAMP)  ## check types and run the tests of RPO in other stacks
	$(BIN)/pyright --pythonpath $(STACKS_VENV)/bin/python -p tests/pyright-stacks.json
	$(STACKS_VENV)/bin/python -m pytest tests/integrations $(PARALLEL) $(PYTEST_ARGS)

# RLlib, mjlab and TensorFlow Probability import what warns of its own end. Ray forks, which JAX of
# Distrax in the same process warns of.
test-stacks: test-integrations $(PINNED_STAMP)  ## the same, and Brax, RLlib, mjlab, Distrax (10 minutes)
	$(BIN)/pytest -m stacks $(PARALLEL) $(PYTEST_ARGS)
	$(BIN)/pyright --pythonpath $(PINNED_VENV)/bin/python -p tests/pyright-pinned.json
	$(PINNED_VENV)/bin/python -m pytest tests/rllib_ppo tests/mjlab_ppo \
	    -W ignore::DeprecationWarning $(PYTEST_ARGS)
	$(PINNED_VENV)/bin/python -m pytest tests/distrax_log_prob \
	    -W ignore::DeprecationWarning $(PYTEST_ARGS)

$(BENCH_STAMP) $(STACKS_STAMP) $(PINNED_STAMP): .venv-%/.installed: pyproject.toml locks/%-py311.txt
	@$(BENCH_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	    echo "locks/$*-py311.txt is for Python 3.11, and '$(BENCH_PYTHON)' is not that;" \
	        "point to one with: make $@ BENCH_PYTHON=/path/to/python3.11" >&2; exit 1; }
	@.venv-$*/bin/python -m pip --version >/dev/null 2>&1 || $(BENCH_PYTHON) -m venv --clear .venv-$*
	@echo "Installing locks/$*-py311.txt into .venv-$*"
	@.venv-$*/bin/python $(PIP_INSTALL) -r locks/$*-py311.txt
	@.venv-$*/bin/python $(PIP_INSTALL) $(EDITABLE)
	@touch $@

bench-stacks: $(STAMP) $(STACKS_STAMP) $(PINNED_STAMP)  ## compare PPO and RPO in all stacks (2 hours)
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/stacks/run.py $(BENCH_ARGS)

build: $(STAMP)  ## build the wheel and the source archive into dist/
	$(BIN)/python -m build --no-isolation

# LOCK_ARGS=--upgrade moves every pin to its newest release; without it only what pyproject.toml
# asks for changes. The benchmark lock leaves out the CUDA libraries: torch pins its own, and its
# CPU build needs none. It has no hashes, so that either build may serve.
COMPILE := $(BIN)/uv pip compile --quiet --no-annotate --only-binary :all: --python-platform linux \
    --custom-compile-command "make lock"

lock: $(STAMP)  ## resolve pyproject.toml anew into locks/
	@$(BIN)/python $(PIP_INSTALL) uv
	@mkdir -p locks
	for minor in 11 12 13; do \
	    $(COMPILE) --python-version 3.$$minor --generate-hashes $(LOCK_ARGS) \
	        $(patsubst %,--extra %,$(subst $(comma), ,$(TEST_EXTRAS))) \
	        --output-file locks/py3$$minor.txt pyproject.toml || exit 1; \
	done
	printf 'torch==2.13.0\nhatchling\n' | $(COMPILE) --python-version 3.11 \
	    --extra envpool --extra sb3 --extra mujoco --extra box2d --constraint locks/py311.txt pyproject.toml - \
	    | grep -vE '^(nvidia-|cuda-|triton)' > locks/bench-py311.txt
	printf '%s\n' torch==2.13.0 hatchling hypothesis pytest pytest-xdist \
	    | $(COMPILE) --python-version 3.11 --extra sb3 --extra rsl-rl --extra torchrl --extra skrl \
	        --constraint locks/py311.txt pyproject.toml - \
	    | grep -vE '^(nvidia-|cuda-|triton)' > locks/stacks-py311.txt
	printf '%s\n' torch==2.13.0 distrax hatchling mjlab pytest pytest-xdist \
	    | $(COMPILE) --python-version 3.11 --extra rllib pyproject.toml - \
	    | grep -vE '^(nvidia-|cuda-|triton)' > locks/pinned-py311.txt

clean:  ## remove build products and caches
	rm -rf dist .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

clean-all: clean  ## remove the environments too
	rm -rf $(VENV) $(BENCH_VENV) $(STACKS_VENV) $(PINNED_VENV)
