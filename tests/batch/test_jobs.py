import json

import nbformat
import pytest
from damaging import changed, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_results import write_sweep
from small_notebooks import write_notebook, write_yaml

from helpers import files, records
from helpers.batch.jobs import damage, made_from, read_jobs, set_aside, why_run
from helpers.batch.parameters import BatchError
from helpers.batch.run import Watch, main, planned
from helpers.notebooks import links, read_notebook

NOW = {"cells": "1", "parameters": "2", "code": {"helpers/a.py": "3", "helpers/b.py": "4"}}


def test_what_a_copy_is_made_from(folder):
    """Cells and parameters change it; outputs, empty cells and metadata do not."""

    def now(*cells, **metadata):
        write_notebook(folder / "one.ipynb", "save_dir = 'out'\nn = 1", *cells, **metadata)
        return made_from(read_jobs("given.yaml")[0], folder)

    write_notebook(folder / "one.ipynb", "save_dir = 'out'\nn = 1")
    write_yaml(folder / "given.yaml", notebook="one.ipynb", n=2)
    first = now("1 + 1")
    assert now("1 + 1", "  ", kernelspec={"name": "another", "display_name": "another"}) == first
    notebook = nbformat.read("one.ipynb", as_version=4)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    notebook.cells[1].metadata.collapsed = True
    nbformat.write(notebook, "one.ipynb")
    assert made_from(read_jobs("given.yaml")[0], folder) == first
    assert now("1 + 2") == {**first, "cells": now("1 + 2")["cells"]} != first
    write_yaml(folder / "given.yaml", notebook="one.ipynb", n=3)
    assert now("1 + 1") == {**first, "parameters": now("1 + 1")["parameters"]} != first


def write_copy(job, **origin):
    job.folder.mkdir(exist_ok=True)
    write_notebook(job.executed, "", papermill={}, plumbline={"seconds": 1, "finished": "2025", **origin})


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ({}, ""),
        ({"cells": "0"}, "cells changed"),
        ({"cells": "0", "parameters": "0"}, "cells and parameters changed"),
        ({"code": {"helpers/a.py": "0", "helpers/b.py": "4"}}, "helpers/a.py changed"),
        ({"code": {"helpers/b.py": "4"}}, "helpers/a.py changed"),
        ({"code": {"helpers/a.py": "3", "helpers/b.py": "0", "helpers/c.py": "0"}}, "helpers/b.py changed, and 1 more"),
    ],
)
def test_why_a_job_must_run(folder, before, why):
    (job,) = read_jobs(write_notebook(folder / "one.ipynb", "save_dir = 'out'"))
    assert why_run(job, NOW) == "new"
    job.folder.mkdir()
    assert why_run(job, NOW) == "not finished yet"
    write_copy(job, made_from={**NOW, **before})
    assert why_run(job, NOW) == why


def test_a_copy_of_the_time_before_is_not_said_to_have_changed(folder):
    (job,) = read_jobs(write_notebook(folder / "one.ipynb", "save_dir = 'out'"))
    write_copy(job, key="of all code there was")
    assert why_run(job, NOW) == "made by an earlier version of the code"


def test_a_run_that_failed_later_is_no_reason_to_skip(folder):
    (job,) = read_jobs(write_notebook(folder / "one.ipynb", "save_dir = 'out'"))
    write_copy(job, made_from=NOW)
    write_notebook(job.failed, "", papermill={})  # somebody's own
    assert why_run(job, NOW) == ""
    write_notebook(job.failed, "", papermill={}, plumbline={"failed": "2026", "error": "no"})
    assert why_run(job, NOW) == "failed when it ran last"


def test_a_sweep_whose_results_are_gone_is_run_again(folder):
    (job,) = read_jobs(write_notebook(folder / "one.ipynb", "CONFIG = {'save_dir': 'out', 'layers_list': [1]}"))
    results = write_sweep(job.folder, {"layers_list": [1], "activations": ["relu"], "save_dir": "out"})
    write_copy(job, made_from=NOW)
    assert why_run(job, NOW) == ""
    write_sweep(job.folder, {"layers_list": [1], "activations": ["relu"]}, missing=[results.summary.run[0]])
    assert why_run(job, NOW) == "results are not complete"  # it was stopped
    (job.folder / "summary.csv").unlink()
    assert why_run(job, NOW) == "results are not complete"


# ---- setting results aside


def test_results_that_are_set_aside_are_all_there_and_no_results_any_more(folder):
    (job,) = read_jobs(write_notebook(folder / "one.ipynb", "CONFIG = {'save_dir': 'results/study/out'}"))
    assert set_aside(job) is None
    write_sweep(job.folder, {"layers_list": [1], "activations": ["relu"], "save_dir": "out"})
    write_copy(job, made_from=NOW)
    before = {path.relative_to(job.folder): path.read_bytes() for path in job.folder.rglob("*") if path.is_file()}
    assert list(records.find_sweeps()) == ["study"]
    aside = set_aside(job)
    assert not job.folder.exists()
    assert aside.parent == job.folder.parent
    assert {path: (aside / path).read_bytes() for path in before} == before
    assert records.find_sweeps() == {}
    assert why_run(job, NOW) == "new"


@pytest.mark.parametrize("other", ["other.ipynb", "inner/other.ipynb", "inner/manifest.json"])
def test_a_folder_that_holds_others_results_is_not_set_aside(folder, other):
    (job,) = read_jobs(write_notebook(folder / "one.ipynb", "save_dir = 'out'"))
    write_copy(job, made_from=NOW)
    path = job.folder / other
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({}))
    with pytest.raises(BatchError, match="holds more than this notebook's results"):
        set_aside(job)
    assert path.exists()


def test_the_folder_in_which_one_works_is_not_set_aside(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("elsewhere") / "one.ipynb"
    (job,) = read_jobs(write_notebook(path, f"save_dir = '{folder}'"))
    with pytest.raises(BatchError, match="holds more than this notebook's results"):
        set_aside(job)


def test_a_folder_in_which_somebody_trains_is_not_set_aside(folder):
    (job,) = read_jobs(write_notebook(folder / "one.ipynb", "save_dir = 'out'"))
    with files.locked(job.folder), pytest.raises(BatchError, match="another process is training in out"):
        set_aside(job)
    assert job.folder.exists()


# ---- damaged executed copies

COPY = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {
        "papermill": {"duration": 1.5},
        "plumbline": {"made_from": NOW, "seconds": 1.5, "finished": "2025"},
    },
    "cells": [
        {"cell_type": "markdown", "source": ["# One", "two"], "metadata": {}},
        {
            "cell_type": "code",
            "source": "1",
            "metadata": {"tags": ["parameters"], "papermill": {"duration": 0.5}},
            "outputs": [{"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": ["a"]}}],
        },
    ],
}


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ((), []),
        (("metadata",), [1]),
        (("metadata", "plumbline"), "x"),
        (("metadata", "plumbline", "seconds"), "x"),
        (("metadata", "plumbline", "seconds"), float("nan")),
        (("metadata", "papermill"), []),
        (("cells",), ...),
        (("cells",), {}),
        (("cells", 0), 3),
        (("cells", 1, "metadata"), []),
        (("cells", 1, "metadata", "papermill"), 3),
        (("cells", 1, "source"), [1]),
        (("cells", 1, "source"), "\ud800"),
        (("cells", 1, "outputs"), {}),
        (("cells", 1, "outputs", 0), []),
        (("cells", 1, "outputs", 0, "data"), []),
        (("cells", 1, "outputs", 0, "data", "image/png"), 3),
        (("nbformat",), "4"),
    ],
)
def test_a_copy_with_something_wrong_inside_is_made_again(folder, at, value):
    (job,) = read_jobs(write_notebook(folder / "one.ipynb", "save_dir = 'out'", "1"))
    job.folder.mkdir()
    job.executed.write_text(json.dumps(COPY))
    assert damage(job) is None
    assert why_run(job, NOW) == ""
    job.executed.write_text(json.dumps(changed(COPY, at, value)))
    assert str(job.executed) in damage(job)
    assert "\n" not in damage(job)
    assert why_run(job, NOW) == "its executed copy is damaged"
    assert read_jobs(job.file) == [job]  # it is not refused


@settings(derandomize=True, deadline=None, max_examples=150, database=None)
@given(damaged(COPY), st.booleans())
def test_no_damage_of_a_copy_ends_the_look_at_it(tmp_path_factory, text, failed):
    folder = tmp_path_factory.mktemp("jobs")
    path = write_notebook(folder / "one.ipynb", f"save_dir = '{folder}/out'", "1")
    try:
        (job,) = read_jobs(path)
        job.folder.mkdir()
        (job.failed if failed else job.executed).write_text(text)
        (job,) = read_jobs(path)
        assert planned(job).outcome.startswith(("to run: ", "unchanged"))
        Watch(job).eta()
    except BatchError as error:
        assert "no executed copy" in str(error)  # noqa: PT017


# ---- links of an executed copy


def test_links_of_an_executed_copy_hold_where_it_lies(folder):
    (folder / "notes").mkdir()
    for name in ("notes/other.md", "notes/a b.png", "top.md"):
        (folder / name).write_text("")
    text = (
        '[a](other.md#part) ![b](a%20b.png) [c](../top.md) <img src="other.md"> [`d`](../notes/) [e](nowhere.md) '
        "[f](https://a.b/c.md) [g](#here) [h](/top.md) `[i](other.md)`\n\n[j]: other.md\n"
    )
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("save_dir = 'results/deep/out'", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_markdown_cell(text),
        ]
    )
    nbformat.write(notebook, folder / "notes/one.ipynb")
    assert main(["notes/one.ipynb"]) == 0
    copy = read_notebook(folder / "results/deep/out/one.ipynb")["cells"][1]["source"]
    assert links(copy) == [
        "../../../notes/other.md#part", "../../../notes/a%20b.png", "../../../top.md", "../../../notes/other.md",
        "../../../notes/", "nowhere.md", "https://a.b/c.md", "#here", "/top.md", "../../../notes/other.md",
    ]  # fmt: skip
    assert "`[i](other.md)`" in copy
    assert read_notebook(folder / "notes/one.ipynb")["cells"][1]["source"] == text
    assert main(["--list", "notes/one.ipynb"]) == 0
    (job,) = read_jobs("notes/one.ipynb")
    assert why_run(job, made_from(job)) == ""  # another text of its copy is no change of its cells
