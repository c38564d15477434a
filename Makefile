# make            says what there is
# make run        the study on the embedded digits, into results/local/digits/
# make test       the tests
#
# Every target makes the environment it needs by itself, in .venv/, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN = .venv/bin

.DEFAULT_GOAL = help
.PHONY: help setup run mnist digits test lint lab bench

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

## make run      run.ipynb on the embedded digits, into results/local/digits/
run: setup
	$(BIN)/python -m helpers.batch run.ipynb

## make mnist    the published sweep, 192 networks x 50 epochs of MNIST, into results/mnist/; resumable
mnist: setup
	$(BIN)/python -m helpers.batch notebooks/parameters/mnist_published.yaml

## make digits   the sweep that is published in results/digits/, three seeds; resumable
digits: setup
	$(BIN)/python -m helpers.batch notebooks/parameters/digits_published.yaml

## make test     ruff and the tests
test: setup lint
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

## make bench    the stack against the loop that people write, on this machine
bench: setup
	$(BIN)/python -m helpers.bench

## make lab      JupyterLab with run.ipynb
lab: setup
	$(BIN)/jupyter lab run.ipynb
