"""The batch on small notebooks made for the test, run by papermill as the real ones are."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import nbformat
import pytest
from made_up_results import write_sweep
from page_reader import index_of
from small_notebooks import write_notebook, write_yaml

from helpers import ROOT, packed
from helpers.batch import jobs, run
from helpers.batch.parameters import notebook_parameters
from helpers.batch.run import Line, Watch, main, read_jobs
from helpers.page import own

pytest_plugins = ["warm_processes"]
pytestmark = pytest.mark.usefixtures("warm_kernels")


def outputs(path):
    return [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- what is refused before anything runs


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("CONFIG: [1", "cannot be read as YAML"),
        ("CONFIG: {}", "names its notebook"),
        ("- 1", "names its notebook"),
        ("notebook: nowhere.ipynb", "which is not there"),
        ("notebook: run.ipynb\nCONFG: {}", "'CONFG'"),
        ("notebook: run.ipynb\nCONFIG: {layer_list: [5]}", "did you mean 'layers_list'"),
        ("notebook: run.ipynb\nCONFIG: 3", "allowed is a dict"),
        ("a: \x00", "cannot be read as YAML"),
    ],
)
def test_bad_yaml_is_one_sentence_and_stops_the_batch_before_it_begins(folder, monkeypatch, capsys, text, word):
    good = write_notebook(folder / "good.ipynb", "save_dir = 'out'", "1")
    path = folder / "bad.yaml"
    path.write_text(text.replace("run.ipynb", str(ROOT / "run.ipynb")))
    assert main([good, str(path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert word in output.err
    assert str(path) in output.err
    assert output.err.count("\n") == 1
    assert files_in(folder) == ["bad.yaml", "good.ipynb"]


def test_absent_file(folder, capsys):
    assert main(["nowhere.yaml"]) == 2
    assert main([]) == 2
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize("cell", ["CONFIG = dict(range(3))", "CONFIG['lr'] = 1"])
def test_a_parameters_cell_that_cannot_be_read_is_refused(folder, capsys, cell):
    assert main([write_notebook(folder / "odd.ipynb", cell)]) == 2
    output = capsys.readouterr().err
    assert "plain values" in output
    assert output.count("\n") == 1


def test_a_parameter_file_moves_the_results(folder):
    write_notebook(folder / "one.ipynb", "CONFIG = {'save_dir': 'here'}")
    write_notebook(folder / "two.ipynb", "save_dir = 'here'")
    given = write_yaml(folder / "one.yaml", notebook="one.ipynb", CONFIG={"dataset": "mnist"})
    assert str(read_jobs([given])[0].log) == "results/local/mnist/one.log"  # CONFIG is replaced as a whole
    given = write_yaml(folder / "two.yaml", notebook="two.ipynb", save_dir="there")
    assert str(read_jobs([given])[0].failed) == "there/two.failed.ipynb"


def test_two_jobs_for_one_copy_are_refused(folder, capsys):
    write_notebook(folder / "one.ipynb", "save_dir = 'a'", "1")
    first = write_yaml(folder / "first.yaml", notebook="one.ipynb", save_dir="b")
    second = write_yaml(folder / "second.yaml", notebook="one.ipynb", save_dir="x/../b")
    assert main([first, second]) == 2
    assert "first.yaml and" in capsys.readouterr().err
    assert main(["--list", first, "one.ipynb"]) == 0


def test_neither_the_notebook_nor_a_foreign_file_is_written_over(folder, capsys):
    path = write_notebook(folder / "one.ipynb", "save_dir = '.'", "1")
    assert main([path]) == 2
    assert "would replace" in capsys.readouterr().err
    (folder / "a").mkdir()
    foreign = write_notebook(folder / "a" / "one.ipynb", "mine = 1")
    given = write_yaml(folder / "given.yaml", notebook="one.ipynb", save_dir="a")
    assert main([given]) == 2
    assert "no executed copy" in capsys.readouterr().err
    assert notebook_parameters(foreign) == {"mine": 1}


# ---- a batch


def test_the_last_lines_say_where_the_page_shows_what_was_made(folder, monkeypatch, capsys):
    results = folder / "results"
    monkeypatch.setattr(own, "RESULTS", results)
    monkeypatch.setattr(packed, "PUBLISHED", results)
    given = {"dataset": "arrays:own.npz", "activations": ["relu"], "init_types": ["zero"], "layers_list": [2]}
    jobs_there = []
    for i, place in enumerate(("local/mine", "local/mine", "public")):
        notebook = write_notebook(folder / f"n{i}.ipynb", f"save_dir = 'results/{place}'", "1")
        jobs_there += [notebook]
    own.add(write_sweep(results / "local" / "mine", given), base=results)
    assert main(jobs_there) == 0
    *_, said, published = capsys.readouterr().out.split("\n\n")
    head, place = said.splitlines()  # once, though two notebooks share it
    assert head.endswith("make browse")
    assert place.strip() == f"{(results / 'index.html').as_uri()}#study=local.mine"
    assert published.startswith("make gallery")
    assert published.strip().endswith("results/public")
    studies, _ = index_of(results / "local" / "page" / "studies.js")
    assert studies[0]["notebooks"] == [f"local/mine/n{i}.ipynb" for i in (0, 1)]


def test_ctrl_c_while_the_page_is_written_takes_nothing_from_the_batch(folder, monkeypatch, capsys):
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "where_to_look", stopped)
    assert main([write_notebook(folder / "one.ipynb", "save_dir = 'out'", "1")]) == 0
    output = capsys.readouterr()
    assert "ran" in output.out
    assert output.err == "stopped before the page of results was brought up to date; the same command does that\n"


def test_a_batch_from_beginning_to_end(folder, monkeypatch, capsys):
    monkeypatch.setattr(run, "EVERY", 1000)  # a first and a last line are all there is
    print_progress = "for i in range(3):\n    print(f' {i}/2 rows finished, ETA {2 - i} s | so far {n}')"
    write_notebook(folder / "good.ipynb", "save_dir = 'out'\nn = 1", print_progress, "", "21 * 2")
    good = write_yaml(folder / "good.yaml", notebook="good.ipynb", n=7)
    bad = write_notebook(
        folder / "bad.ipynb", "save_dir = 'out'", "print('hello')", "open('mended').close()", "print(1)"
    )
    dead = write_notebook(
        folder / "dead.ipynb", "save_dir = 'out'", "print('bye', flush=True)", "import os; os._exit(3)"
    )
    last = write_notebook(folder / "last.ipynb", "save_dir = 'elsewhere'", "1")
    out = folder / "out"
    out.mkdir()
    (out / "bad.txt").write_text("not the batch's")

    assert main([good, bad, dead, last]) == 1
    output = capsys.readouterr()
    table = [line.split() for line in output.out.split("\n\n")[1].splitlines()]
    assert table[0] == ["file", "outcome", "took", "executed", "copy"]
    assert [(row[0], row[1], row[-1]) for row in table[1:]] == [
        (good, "ran", "out/good.ipynb"),
        (bad, "failed", "out/bad.failed.ipynb"),
        (dead, "failed", "out/dead.failed.ipynb"),
        (last, "ran", "elsewhere/last.ipynb"),
    ]
    assert all(row[3] == "s" for row in table[1:])
    errors = output.err.splitlines()
    assert len(errors) == 2
    assert "FileNotFoundError" in errors[0]
    assert "its kernel died" in errors[1]
    lines = [line.split() for line in output.out.split("\n\n")[0].splitlines()]
    files = [good, bad, dead, last]
    assert [line[:2] for line in lines] == [[f"[{i}/4]", file] for i, file in enumerate(files, 1) for _ in range(2)]
    assert "4/4 cells, 2/2 rows finished" in output.out  # one of the cells is papermill's, with n = 7

    assert files_in(out) == [
        "bad.failed.ipynb", "bad.log", "bad.txt", "dead.failed.ipynb", "dead.log", "good.ipynb", "good.log",
    ]  # fmt: skip
    assert files_in(folder / "elsewhere") == ["last.ipynb"]  # it printed nothing
    assert (out / "good.log").read_text() == "".join(
        f" {i}/2 rows finished, ETA {2 - i} s | so far 7\n" for i in range(3)
    )
    assert (out / "bad.log").read_text().startswith("hello\nFileNotFoundError")
    assert "bye\n" in (out / "dead.log").read_text()
    assert outputs(out / "good.ipynb")[-1].data["text/plain"] == "42"
    assert [output.ename for output in outputs(out / "bad.failed.ipynb") if output.output_type == "error"] == [
        "FileNotFoundError"
    ]
    assert outputs(out / "dead.failed.ipynb")[-1].evalue == jobs.DEATH
    done = nbformat.read(out / "good.ipynb", as_version=4).metadata
    assert set(done.plumbline) == {"made_from", "seconds", "finished"}
    assert done.papermill.output_path == "out/good.ipynb"

    # what was finished is skipped; what failed is run again, and its failed copy goes when it succeeds
    (folder / "mended").write_text("")
    before = (out / "good.ipynb").stat().st_mtime_ns
    assert main(["--list", good, bad]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["outcome", "unchanged", "to"]
    assert main([good, bad]) == 0
    output = capsys.readouterr().out
    assert "[1/2] " + good + "  unchanged, skipped" in output
    assert [line.split()[1] for line in output.split("\n\n")[1].splitlines()] == ["outcome", "unchanged", "ran"]
    assert (out / "good.ipynb").stat().st_mtime_ns == before
    assert files_in(out) == [
        "bad.ipynb",
        "bad.log",
        "bad.txt",
        "dead.failed.ipynb",
        "dead.log",
        "good.ipynb",
        "good.log",
    ]

    assert main(["--force", good]) == 0
    assert (out / "good.ipynb").stat().st_mtime_ns > before
    assert "finished runs in out are kept and only read" in capsys.readouterr().out

    # --retrain sets all of a folder aside, but not one with another notebook's results
    assert main(["--retrain", good, last]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"{good}: out holds more than this notebook's results (out/bad.ipynb)")
    (aside,) = folder.glob(".elsewhere.*")
    assert f"trains anew; elsewhere is now {aside.name}" in output.out
    assert files_in(aside) == [".lock", "last.ipynb"]
    assert files_in(folder / "elsewhere") == ["last.ipynb"]


@pytest.mark.parametrize(("name", "code", "kept"), [("DataError", 2, []), ("SweepError", 1, ["out"])])
def test_what_the_notebook_refuses_is_a_sentence_and_leaves_nothing(folder, capsys, name, code, kept):
    shown = "lambda error: ['one sentence']"
    cells = f"class {name}(Exception): _render_traceback_ = {shown}", f"raise {name}('there is no folder nowhere')"
    path = write_notebook(folder / "one.ipynb", "save_dir = 'out'", *cells)
    assert main([path]) == code
    assert f"{path}: there is no folder nowhere" in (output := capsys.readouterr().err)
    assert output.count("\n") == 1
    assert files_in(folder) == ["one.ipynb", *kept]


def test_the_logs_of_what_is_published_are_packed_when_its_notebook_has_run(folder, monkeypatch, capsys):
    monkeypatch.setattr(packed, "PUBLISHED", (folder / "results").resolve())
    cell = (
        "import pathlib\nruns = pathlib.Path(save_dir) / 'runs'\nruns.mkdir(parents=True, exist_ok=True)\n"
        "(runs.parent / 'manifest.json').write_text('{}')\n(runs / f'{name}.csv').write_text('1')"
    )
    notebook = write_notebook(folder / "a.ipynb", "save_dir = 'out'\nname = 'x'", cell)
    for name, save_dir in (("published", "results/a"), ("own", "results/local/a")):
        assert main([write_yaml(folder / f"{name}.yaml", notebook=notebook, save_dir=save_dir)]) == 0
    assert (folder / "results" / "local" / "a" / "runs" / "x.csv").exists()
    assert packed.packed_names(folder / "results" / "a" / "runs") == ["x.csv"]
    assert not (folder / "results" / "a" / "runs").exists()
    (folder / "results" / "a" / "runs.tar.xz").write_bytes(b"PK")
    capsys.readouterr()
    given = write_yaml(folder / "published.yaml", notebook=notebook, save_dir="results/a", name="y")
    assert main([given]) == 0  # nothing is lost
    error = capsys.readouterr().err
    assert "its logs are not packed" in error
    assert "runs.tar.xz is damaged" in error
    assert error.count("\n") == 1
    assert (folder / "results" / "a" / "runs" / "y.csv").exists()


@pytest.mark.parametrize("where", ["results/mine", "results/local/mine"])
def test_force_does_not_train_published_runs_again_whose_logs_are_gone(folder, monkeypatch, capsys, where):
    monkeypatch.setattr(packed, "PUBLISHED", (folder / "results").resolve())
    given = {"layers_list": [1, 2], "init_types": ["he_normal"], "activations": ["tanh"], "save_dir": where}
    results = write_sweep(folder / where, given)
    cell = "import pathlib\n(pathlib.Path(CONFIG['save_dir']) / 'summary.csv').write_text('trained anew')"
    notebook = write_notebook(folder / "a.ipynb", f"CONFIG = {given!r}", cell)
    before = (folder / where / "summary.csv").read_text()
    results.run_file(results.summary.run[0]).unlink()
    published = "local" not in where
    assert main(["--force", notebook]) == (2 if published else 0)
    output = capsys.readouterr()
    assert "1 finished runs in results/mine have no log" in output.err if published else "1 have no log" in output.out
    assert ((folder / where / "summary.csv").read_text() == before) == published
    if published:  # nor does `make all`
        assert main([notebook]) == 0
        assert "kept: 1 published runs have no logs here; --retrain trains them anew" in capsys.readouterr().out
        assert (folder / where / "summary.csv").read_text() == before


@pytest.mark.parametrize("cell", ["1", "print('for the log')"])
def test_a_results_folder_that_cannot_be_made_is_one_sentence(folder, capsys, cell):
    (folder / "file").write_text("")
    path = write_notebook(folder / "one.ipynb", "save_dir = 'file/out'", cell)
    assert main([path]) == 1
    assert "nothing can be written to file/out" in capsys.readouterr().err


def test_without_a_name_all_parameter_files_are_meant_in_alphabetical_order(folder, capsys):
    write_notebook(folder / "one.ipynb", "save_dir = 'a'", "1")
    for name in ("notebooks/parameters/b", "sigmoid/parameters", "notebooks/parameters/a"):
        write_yaml(folder / f"{name}.yaml", notebook="one.ipynb", save_dir=name)
    assert main(["--list"]) == 0
    files = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert files == ["notebooks/parameters/a.yaml", "notebooks/parameters/b.yaml", "sigmoid/parameters.yaml"]
    assert not (folder / "notebooks/parameters/a").exists()


def test_ctrl_c_stops_the_notebook_and_keeps_the_log(folder):
    slow = "import os, time\nprint('begun', os.getpid(), flush=True)\ntime.sleep(100)"
    path = write_notebook(folder / "slow.ipynb", "save_dir = 'out'", slow)
    after = write_notebook(folder / "after.ipynb", "save_dir = 'out'", "print(1)")
    command = [sys.executable, "-m", "helpers.batch", path, after]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    log = folder / "out" / "slow.log"
    deadline = time.monotonic() + 300
    while not (log.exists() and log.read_text().endswith("\n")):  # the log is written as it goes
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors == f"{path}: stopped; the same command goes on where it was\n"
    assert "stopped | 1/2 cells" in output
    assert "after" not in output
    assert files_in(folder / "out") == ["slow.log"]
    kernel = int(log.read_text().split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)


def test_a_ctrl_c_that_was_dropped_comes_again(monkeypatch):
    monkeypatch.setattr(run, "REPEAT_AFTER", 0.2)
    before, arrived = signal.getsignal(signal.SIGINT), []
    with run.repeated_ctrl_c():
        for _ in range(2):
            try:
                if not arrived:
                    os.kill(os.getpid(), signal.SIGINT)
                time.sleep(60)  # passed only where none comes
            except KeyboardInterrupt:
                arrived.append(time.monotonic())
    assert arrived[1] - arrived[0] > 0.1
    assert signal.getsignal(signal.SIGINT) is before
    time.sleep(0.4)  # none comes afterwards


# ---- lines and ETA


class Clock:
    """A clock that the test winds."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(run.time, "monotonic", lambda: self.now)


DONE = {"content": {"status": "ok"}}


def watched(folder, took=None):
    """The Watch of a notebook of three cells, and its last finished run with these seconds per cell."""
    path = write_notebook(folder / "one.ipynb", "save_dir = 'out'", "1", "2")
    if took is not None:
        (folder / "out").mkdir(exist_ok=True)
        copy = nbformat.read(path, as_version=4)
        copy.metadata.update(papermill={}, plumbline={"made_from": {}, "seconds": sum(took), "finished": "2025"})
        for cell, seconds in zip(copy.cells, took, strict=True):
            cell.metadata["papermill"] = {"duration": seconds}
        nbformat.write(copy, folder / "out" / "one.ipynb")
    return Watch(*read_jobs([path]))


def test_eta_without_an_earlier_run_is_what_the_cell_printed(folder, monkeypatch):
    clock = Clock(monkeypatch)
    watch = watched(folder)
    assert watch.eta() is None
    watch.write("nothing of note\n  64/192 runs finished, ETA 2 min 10 s  | relu 5 lay")
    assert watch.eta() is None  # the line is not complete
    watch.write("ers\n")
    clock.now += 30
    assert watch.eta() == pytest.approx(100)
    assert str(watch) == "0/3 cells, 64/192 runs finished"
    watch.write(" 65/192 runs finished, ETA unknown      | \n")
    assert watch.eta() is None
    assert str(watch) == "0/3 cells, 65/192 runs finished"
    watch.write("3 rows, ETA 5 s\n")
    clock.now += 6
    assert watch.eta() is None  # overdue
    watch.write("4 rows, ETA 5 s\n")
    watch.cell_has_run(execute_reply=DONE, cell_index=0)
    assert watch.eta() is None  # what the first cell printed holds no more
    watch.cell_has_run(execute_reply={"content": {"status": "error"}})
    assert str(watch) == "1/3 cells, 4 rows"
    watch.close()


def test_eta_with_an_earlier_run(folder, monkeypatch):
    clock = Clock(monkeypatch)
    watch = watched(folder, [1.0, 20.0, 300.0])
    assert watch.eta() == pytest.approx(321)
    watch.cell_has_run(execute_reply=DONE)
    clock.now += 15
    assert watch.eta() == pytest.approx(305)
    watch.write("half, ETA 1 h 00 min | \n")
    assert watch.eta() == pytest.approx(3600 + 300)
    watch.cell_has_run(execute_reply=DONE)
    clock.now += 301
    assert watch.eta() is None  # it takes longer than it did
    assert watch.elapsed() == 316
    watch.close()


class Counted:
    """A Watch of which every look is another."""

    looks = 0

    def elapsed(self):
        self.looks += 1
        return self.looks

    def eta(self):
        return None

    def __str__(self):
        return "cells"

    def wait_for(self, looks):
        while self.looks < looks:
            time.sleep(0.01)


def test_elsewhere_than_on_a_terminal_each_line_is_printed_once(monkeypatch, capsys):
    waits = []

    class Over(threading.Event):
        def wait(self, seconds):
            waits.append(seconds)
            return super().wait(0.01)

    monkeypatch.setattr(run, "threading", SimpleNamespace(Event=Over, Thread=threading.Thread))
    watch = Counted()
    line = Line("one", watch)
    watch.wait_for(3)
    line.end("ran")
    printed = capsys.readouterr().out.splitlines()
    assert printed[:-1] == [f"one  {i} s, ETA unknown | cells" for i in range(1, len(printed))]
    assert printed[-1] == f"one  {len(printed)} s, ran | cells"
    assert waits == [run.EVERY] * (len(printed) - 1)  # one after each, but for the last
    assert len(printed) >= 4


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_the_line_is_rewritten_in_place(monkeypatch):
    monkeypatch.setattr(run, "EVERY_IN_PLACE", 0.02)
    monkeypatch.setenv("COLUMNS", "24")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    watch = Counted()
    line = Line("one", watch)
    watch.wait_for(3)
    line.end("ran")
    shown = terminal.getvalue()
    assert shown.endswith("\n")
    assert shown.count("\n") == 1
    frames = shown.rstrip("\n").split("\r")[1:]
    assert frames[0] == "one  1 s, ETA unknown |"  # one less than the terminal is wide
    assert frames[-1] == f"one  {len(frames)} s, ran | cells".ljust(23)[:23]  # covers the longer one before it
    assert len(frames) == watch.looks


# ---- one damaged file among many


def test_a_damaged_copy_among_many_is_made_again_and_kept(folder, capsys):
    paths = [write_notebook(folder / f"{name}.ipynb", f"save_dir = 'out/{name}'", "1") for name in "abc"]
    assert main(paths) == 0
    (folder / "out/b/b.ipynb").write_text('{"nbformat": 4, "metadata": [], "cells": []}')
    (folder / "out/c/c.ipynb").write_text((folder / "out/c/c.ipynb").read_text()[:500])
    capsys.readouterr()
    assert main(["--list", *paths]) == 0
    outcomes = [line.split()[1:3] for line in capsys.readouterr().out.splitlines()[1:]]
    assert [words[0] for words in outcomes] == ["unchanged", "to", "to"]
    assert main(paths) == 0
    out, err = capsys.readouterr()
    assert [line.split()[1] for line in out.split("\n\n")[1].splitlines()[1:]] == ["unchanged", "ran", "ran"]
    assert err.count("\n") == 2  # a sentence each
    assert "out/b/b.ipynb cannot be read as a notebook: its metadata is list" in err
    assert "it is made again, and kept as out/c/c.ipynb.damaged" in err
    assert files_in(folder / "out/b") == ["b.ipynb", "b.ipynb.damaged"]
    assert main(["--list", *paths]) == 0
    assert capsys.readouterr().out.count("unchanged") == 3


def test_a_notebook_that_is_no_copy_stops_its_own_job_alone(folder, capsys):
    first, second = (write_notebook(folder / f"{n}.ipynb", f"save_dir = 'out/{n}'", "1") for n in "ab")
    (folder / "out/a").mkdir(parents=True)
    write_notebook(folder / "out/a/a.ipynb", "mine = 1")
    assert main(["--list", first, second]) == 0
    assert "refused: " in capsys.readouterr().out
    assert main([first, second]) == 2
    out, err = capsys.readouterr()
    assert [line.split()[1] for line in out.split("\n\n")[1].splitlines()[1:]] == ["refused", "ran"]
    assert err.count("\n") == 1
    assert notebook_parameters(folder / "out/a/a.ipynb") == {"mine": 1}


def test_of_all_files_those_run_that_can(folder, capsys):
    """Who names files has all of them checked before anything runs; who means all gets those that can be run."""
    write_notebook(folder / "one.ipynb", "save_dir = 'a'", "1")
    for name in "abc":
        write_yaml(folder / f"notebooks/parameters/{name}.yaml", notebook="one.ipynb", save_dir=f"out/{name}")
    (folder / "notebooks/parameters/b.yaml").write_bytes(b"notebook: \xff")
    assert main(["--list"]) == 2
    out, err = capsys.readouterr()
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["to", "to", "refused"]
    assert err.count("\n") == 1
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert [line.split()[1] for line in out.split("\n\n")[1].splitlines()[1:]] == ["ran", "ran", "refused"]
    assert err.count("\n") == 1
    assert "notebooks/parameters/b.yaml cannot be read as YAML: line 1: byte 0xff" in err


def test_a_notebook_that_papermill_cannot_take_does_not_end_the_batch(folder, capsys):
    bad = write_notebook(folder / "bad.ipynb", "save_dir = 'out'", "1")
    text = (folder / "bad.ipynb").read_text()
    (folder / "bad.ipynb").write_text(text.replace('"nbformat_minor"', '"nbformat_minr"'))
    good = write_notebook(folder / "good.ipynb", "save_dir = 'out'", "1")
    assert main([bad, good]) == 1
    out, err = capsys.readouterr()
    assert [line.split()[1] for line in out.split("\n\n")[1].splitlines()[1:]] == ["failed", "ran"]
    assert err.count("\n") == 1


# ---- signals


def begun(log, process):
    """The kernel's process id, once the notebook has printed it."""
    deadline = time.monotonic() + 300
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    return int(log.read_text().split()[1])


def gone(process_id):
    for _ in range(300):
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


SAVES = (
    "import os, time\nprint('begun', os.getpid(), flush=True)\n"
    "try:\n    time.sleep(100)\nfinally:\n    time.sleep(1)\n    open('saved', 'w').close()"
)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_interrupts_the_notebook_which_saves_its_work(folder, name, code):
    path = write_notebook(folder / "slow.ipynb", "save_dir = 'out'", SAVES)
    after = write_notebook(folder / "after.ipynb", "save_dir = 'out'", "print(1)")
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers.batch", path, after], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    kernel = begun(folder / "out" / "slow.log", process)
    process.send_signal(getattr(signal, name))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == code
    assert errors == f"{path}: stopped; the same command goes on where it was\n"
    assert "stopped | 1/2 cells" in output
    assert "after" not in output
    assert (folder / "saved").exists()
    assert gone(kernel)


AWAITS = (
    "import os\nfrom helpers.sweep import Sweep\nfrom helpers.widgets import live\n"
    "sweep = Sweep(CONFIG)\n"
    "def begin(*_):\n    print('begun', os.getpid(), flush=True)\n"
    "live.Lines = lambda _: begin  # after the first epoch\n"
    "await live.train(sweep)"
)


def test_a_signal_stops_a_sweep_that_a_cell_awaits(folder):
    """Of a cell with `await` the kernel cancels what is awaited, in place of interrupting what runs."""
    endless = {"layers_list": [1], "init_types": ["he_normal"], "activations": ["relu"], "hidden_size": 8}
    endless |= {"num_epochs": 100_000, "train_size": 100, "test_size": 100, "device": "cpu", "save_dir": "out"}
    path = write_notebook(folder / "slow.ipynb", f"CONFIG = {endless!r}", AWAITS)
    once = f"import sys\nfrom helpers.batch import run\nrun.REPEAT_AFTER_NOTEBOOK = 1e6\nsys.exit(run.main([{path!r}]))"
    process = subprocess.Popen([sys.executable, "-c", once], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    kernel = begun(folder / "out" / "slow.log", process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130, output + errors
    assert errors == f"{path}: stopped; the same command goes on where it was\n"
    assert list((folder / "out" / "state").iterdir())  # from which it goes on
    assert gone(kernel)


def test_a_second_signal_ends_a_kernel_that_does_not_listen(folder):
    deaf = "import os, signal, time\nprint('begun', os.getpid(), flush=True)\n"
    deaf += "signal.signal(signal.SIGINT, lambda *_: 0)\ntime.sleep(100)"
    path = write_notebook(folder / "deaf.ipynb", "save_dir = 'out'", deaf)
    process = subprocess.Popen([sys.executable, "-m", "helpers.batch", path], stderr=subprocess.DEVNULL)
    kernel = begun(folder / "out" / "deaf.log", process)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert gone(kernel)


def test_no_kernel_outlives_a_batch_that_was_killed(folder):
    path = write_notebook(folder / "slow.ipynb", "save_dir = 'out'", SAVES)
    process = subprocess.Popen([sys.executable, "-m", "helpers.batch", path], stderr=subprocess.DEVNULL)
    kernel = begun(folder / "out" / "slow.log", process)
    process.kill()
    process.wait()
    assert gone(kernel)


def test_a_closed_terminal_ends_nothing(folder):
    path = write_notebook(folder / "one.ipynb", "save_dir = 'out'", "print(1)")
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers.batch", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=300) == 0
    assert (folder / "out" / "one.ipynb").exists()


def test_an_ascii_locale_ends_nothing_and_files_are_utf_8(folder):
    name = "größe ± \u00d7"
    write_notebook(folder / "one.ipynb", "save_dir = 'out'\nname = ''", f"print(name + '{name}')", "1 / 0 # ±")
    for save_dir in ("kept", name):
        text = f"notebook: one.ipynb\nsave_dir: {save_dir}\nname: {name}\n"
        (folder / f"{save_dir[0]}.yaml").write_text(text, encoding="utf-8")
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "helpers.batch"]
    done = subprocess.run([*command, "k.yaml"], capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert done.stderr == "k.yaml: ZeroDivisionError: division by zero; kept as kept/one.failed.ipynb\n"
    assert name + name in (folder / "kept/one.log").read_text(encoding="utf-8")
    assert name + name in (folder / "kept/one.failed.ipynb").read_text(encoding="utf-8")
    done = subprocess.run([*command, "g.yaml"], capture_output=True, text=True, env=env)
    assert done.returncode == 2
    assert "which cannot be a path where texts are ascii; set PYTHONUTF8=1" in done.stderr
    assert done.stderr.count("\n") == 1
    done = subprocess.run([*command, "g.yaml"], capture_output=True, env={**env, "PYTHONUTF8": "1"})  # as it advises
    assert done.returncode == 1
    assert (folder / name / "one.failed.ipynb").exists()
