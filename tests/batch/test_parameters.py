import os
from pathlib import Path

import pytest
from small_notebooks import write_notebook, write_yaml

from helpers import ROOT
from helpers.batch.jobs import read_jobs
from helpers.batch.parameters import KINDS, BatchError, imported, kind_of, notebook_parameters, read_parameters
from helpers.notebooks import read_notebook


def test_parameters_of_the_notebook_are_its_literals():
    config = notebook_parameters(ROOT / "run.ipynb")["CONFIG"]
    assert config["dataset"] == "digits"
    assert config["init_params"]["trunc_normal"]["b"] == 2.0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.parameters[0])
def test_what_the_table_names_is_there(kind):
    for function in filter(None, (kind.check, kind.save_dir, kind.is_finished)):
        assert callable(imported(function))


def test_every_notebook_that_trains_has_a_check():
    paths = [ROOT / "run.ipynb", *(ROOT / "notebooks").glob("*.ipynb"), ROOT / "sigmoid" / "sigmoid.ipynb"]
    without = [path.stem for path in paths if kind_of(notebook_parameters(path)) is None]
    assert without == ["browse"]


@pytest.mark.parametrize(
    ("cell", "allowed"),
    [("register_activation('mine', abs)", True), ("# register_activation('mine', abs)", False), ("1", False)],
)
def test_an_activation_of_the_readers_own_is_left_to_the_notebook_that_registers_it(folder, cell, allowed):
    path = write_notebook(folder / "own.ipynb", "CONFIG = {'activations': ['mine', 'relu']}", cell)
    if allowed:
        assert read_jobs(path)[0].parameters == {}
    else:
        with pytest.raises(BatchError, match="'mine' is not known"):
            read_jobs(path)
    twice = write_notebook(folder / "twice.ipynb", "CONFIG = {'activations': ['relu', 'relu']}", cell)
    with pytest.raises(BatchError, match="twice"):
        read_jobs(twice)


@pytest.mark.parametrize(
    ("cell", "where"),
    [
        ("CONFIG = {'save_dir': 'here'}; save_dir = 'there'", "here"),
        ("CONFIG = {'dataset': 'mnist'}", "results/local/mnist"),
        ("save_dir = 'there'", "there"),
        ("RESULTS = 'results'", "results/local/one"),
        ("save_dir = None", "results/local/one"),
        ("save_dir = '~/there'", os.path.expanduser("~/there")),
        ("CONFIG = {'save_dir': '~/here'}", os.path.expanduser("~/here")),
    ],
)
def test_where_the_results_go(folder, cell, where):
    (job,) = read_jobs(write_notebook(folder / "one.ipynb", cell))
    assert str(job.executed) == f"{where}/one.ipynb"


# ---- several batches in one file


def write_three(folder):
    """A file with the batches a, b and c of one notebook."""
    write_notebook(folder / "one.ipynb", "SIZES = {}\nn = 0\nsave_dir = 'out'", "1")
    each = {name: {"SIZES": {"width": width}, "save_dir": name} for name, width in (("a", 1), ("b", 2), ("c", 3))}
    return write_yaml(folder / "three.yaml", notebook="one.ipynb", SIZES={"depth": 9, "width": 0}, n=5, each=each)


def test_batches_of_one_file_share_what_they_do_not_give_themselves(folder):
    found = read_parameters(write_three(folder))
    assert [Path(name).name for name, _, _ in found] == ["three.yaml:a", "three.yaml:b", "three.yaml:c"]
    assert [given["SIZES"] for _, _, given in found] == [{"depth": 9, "width": width} for width in (1, 2, 3)]
    assert [given["n"] for _, _, given in found] == [5, 5, 5]
    assert [given["save_dir"] for _, _, given in found] == ["a", "b", "c"]


def test_one_batch_of_a_file_is_chosen_by_its_name(folder):
    ((name, notebook, given),) = read_parameters(f"{write_three(folder)}:b")
    assert (Path(name).name, notebook, given["save_dir"]) == ("three.yaml:b", Path("one.ipynb"), "b")
    with pytest.raises(BatchError, match="no batch 'd' under `each` \\(it has a, b, c\\)"):
        read_parameters(f"{folder}/three.yaml:d")


@pytest.mark.parametrize(
    ("each", "word"),
    [
        ([1], "is a mapping"),
        ({}, "at least one"),
        ({"a": 3}, "is a mapping"),
        ({"a": {"m": 1}}, "gives a parameter 'm'"),
    ],
)
def test_a_bad_each_is_one_sentence(folder, each, word):
    write_notebook(folder / "one.ipynb", "n = 0")
    with pytest.raises(BatchError, match=word):
        read_parameters(write_yaml(folder / "bad.yaml", notebook="one.ipynb", each=each))


# ---- notebooks as plain data


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"nbformat": 3}', "allowed is 4"),
        ('{"nbformat": 4}', "cells"),
    ],
)
def test_what_is_no_notebook_is_refused(folder, text, word):
    (folder / "no.ipynb").write_text(text)
    with pytest.raises(ValueError, match=word):
        read_notebook(folder / "no.ipynb")
    with pytest.raises(BatchError, match=word):
        read_parameters(folder / "no.ipynb")
