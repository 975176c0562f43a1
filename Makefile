# The two commands: `make demo` and `make test`. Each sets up what it needs in .venv.
#
#   make demo     train, quantise, compile, emulate and measure a small network; see build/demo/
#   make tiny     the same in miniature, in seconds
#   make test     every test
#   make lint     format, lint and types
#   make check    lint and test: what CI runs
#   make bench    count kernels, networks and boards, as emulated; writes docs/results and the README
#   make clean    remove what was built (not .venv)
#
# PYTHON       which Python makes the environment, 3.11 or newer
# TORCH_INDEX  package index for torch alone, e.g. the CPU-only builds:
#              make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet
TORCH  := $(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)
JOBS   ?= 2
C_FILES = $(shell git ls-files '*.c' '*.h' ':!tests/golden')

KINDS   = --toolchain zig --toolchain gcc
CORES   = --target emulator --target qemu:mps3-an547 $(KINDS)

.PHONY: demo tiny test lint check format bench clean

demo: $(VENV)/.ready
	$(BIN)/tesla-embed demo --out build/demo

tiny: $(VENV)/.ready
	$(BIN)/tesla-embed demo --out build/tiny --set max_epochs=2 --regions 25,50,100 \
		--device-samples 2

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@test -n "$(C_FILES)" || { echo "git lists no C files; lint in a git checkout"; exit 2; }
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)

check: lint test

format: $(VENV)/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(C_FILES)

bench: $(VENV)/.ready
	$(BIN)/tesla-embed bench kernels $(CORES) --no-portable --out docs/results/kernels
	$(BIN)/tesla-embed bench models $(CORES) --no-portable --out docs/results/models
	$(BIN)/tesla-embed bench boards $(KINDS) --toolchain clang --out docs/results/boards
	$(BIN)/python -m tesla_host.bench.summary README.md docs/results

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch comes first and on its own: the tested version, else the newest that fits.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12"; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(TORCH) "torch==2.13.0" || $(TORCH) "torch>=2.6"
	$(PIP) --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(PIP) --constraint constraints.txt --editable '.[all,dev]'
	@touch $@
