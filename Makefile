# make            says what there is
# make run        the study on the embedded digits, into results/local/digits/
# make test       the tests
#
# Every target makes the environment it needs by itself, in .venv/, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN = .venv/bin

.DEFAULT_GOAL = help
.PHONY: help setup run all mnist digits test test-browser test-processors faults chromium lint lab browse gallery pack unpack bench prescriptions

# files of tests side by side, a process a core: most tests keep one core busy; in the order of tests/conftest.py
SIDE_BY_SIDE = -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
TRAINING = $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m training

# of the tries of `make faults`, and the words that name some of its faults
SHARE ?= 1
WORDS ?=

# the browsers that the tests can drive
AS_ROOT = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
CHROMIUM = { command -v chromium || command -v chromium-browser || command -v google-chrome; }

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make setup    the environment in .venv/, from requirements.txt
setup: .venv/ready

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python is $(PYTHON); needed is 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

## make paths    JAX and BlackJAX into .venv/, with which notebooks/paths.ipynb samples: 395 MB that sweeps do without
.PHONY: paths
paths: setup .venv/paths

.venv/paths: requirements-paths.txt .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-paths.txt
	@touch $@

## make run      run.ipynb on the embedded digits, into results/local/digits/
run: setup
	$(BIN)/python -m helpers.batch run.ipynb

## make mnist    the sweep that is published in results/mnist/, 192 networks x 50 epochs of MNIST, three seeds; resumable
mnist: setup
	$(BIN)/python -m helpers.batch notebooks/parameters/mnist_published.yaml

## make digits   the sweep that is published in results/digits/, three seeds; resumable
digits: setup
	$(BIN)/python -m helpers.batch notebooks/parameters/digits_published.yaml

## make all      every batch: notebooks/parameters/*.yaml and sigmoid/parameters.yaml; what is unchanged is skipped
all: setup paths
	$(BIN)/python -m helpers.batch

## make test     ruff and the tests; those that open a browser only where a Chromium is installed
test: setup paths lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)
	@$(CHROMIUM) > /dev/null || echo "No Chromium here, so the tests that open a browser were skipped: see make test-browser"

## make test-browser  the tests that open a browser; installs Debian's chromium where there is none
test-browser: setup chromium
	$(BIN)/python -m pytest tests/page tests/widgets/test_browser_lab.py tests/widgets/test_browser_results_page.py \
	  tests/widgets/test_browser_stitched.py tests/landscapes/test_browser_interactive.py

chromium:
	@$(CHROMIUM) > /dev/null || { $(AS_ROOT) apt-get update -qq && \
	  $(AS_ROOT) apt-get install -y -qq --no-install-recommends chromium > /dev/null; } || \
	  { echo "No Chromium could be installed: put chromium or google-chrome on the PATH"; exit 1; }

## make test-processors  the tests of training as other processors round: older instructions, weights times 1 + 1e-6 noise
test-processors: setup paths
	ATEN_CPU_CAPABILITY=default $(TRAINING)
	ATEN_CPU_CAPABILITY=avx2 $(TRAINING)
	MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell $(TRAINING)
	$(TRAINING) --perturb 1e-6
	$(TRAINING) --perturb 1e-6 --perturb-seed 1

## make faults   kills, full disks, damaged files, odd settings and fuzz: fault / tries / lost / how it showed; long; SHARE=0.1 for a tenth, WORDS="kills fuzz" for some
faults: setup paths
	$(BIN)/python -m tests.faults --share $(SHARE) $(WORDS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

## make bench    the stack against the loop that people write, on this machine: minutes; more turns with FULL=--full
bench: setup
	$(BIN)/python -m helpers.bench $(FULL)

## make rivals   the stack and the chains' gradients against JAX and torch.func, surfaces against loss-landscapes, maps between latents against latentis; their environment is .venv-rivals/
.PHONY: rivals
rivals: setup paths .venv-rivals/ready
	$(BIN)/python -m helpers.bench.rivals
	$(BIN)/python -m helpers.bench.landscapes
	$(BIN)/python -m helpers.bench.paths
	$(BIN)/python -m helpers.bench.stitching

.venv-rivals/ready: requirements-rivals.txt
	$(PYTHON) -m venv .venv-rivals
	.venv-rivals/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-rivals.txt
	@touch $@

## make prescriptions  init and learning rate by theory against PyTorch's default with SGD, Adam and a range test: 60 combinations, half an hour with MNIST in data/
prescriptions: setup
	$(BIN)/python -m helpers.prescriptions run

## make gallery  results/README.md, the page of every study and results/index.html, from what is in results/
gallery: setup
	$(BIN)/python -m helpers.gallery
	$(BIN)/python -m helpers.bench.page
	$(BIN)/python -m helpers.page

## make pack     published logs as archives, notebooks with links to their pictures, as the batches leave them; make unpack: logs as files; FOLDER=results/digits for one
pack unpack: setup
	$(BIN)/python -m helpers.packed $@ $(FOLDER)

## make lab      JupyterLab with run.ipynb
lab: setup
	$(BIN)/jupyter lab $$([ "$$(id -u)" = 0 ] && echo --allow-root) run.ipynb

## make browse   results/index.html from a server on 127.0.0.1: no training, no data set, no GPU; a double click on it does as well
browse: setup
	$(BIN)/python -m helpers.page.server
