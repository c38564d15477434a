"""The engine on Dask, with real worker processes: the same as in this process, and what only there can go wrong."""

import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from contextlib import contextmanager, suppress
from functools import partial

import dask
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from counting import CountingWorker, await_shown, collected, resumed, shown, tasks, total
from distributed import Client
from tiny_sweep import TINY, assert_same, quiet

from helpers import ROOT, cluster, files, lanes, records
from helpers.cluster import ClusterError
from helpers.config import ConfigError, SweepConfig
from helpers.landscape_study.study import Study as LandscapeStudy
from helpers.lanes import Stop
from helpers.networks import mlp_kernel
from helpers.spline_study.experiments import Study, experiments
from helpers.spline_study.log import read_log
from helpers.sweep import Sweep, SweepError, training
from helpers.sweep import sweep as sweeps

CPU = torch.device("cpu")
WORKERS = 2  # each takes seconds to start, at first and after every kill


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with WORKERS workers, which gives a task up that has ended as many of them."""
    given_up = {"distributed.scheduler.allowed-failures": WORKERS - 1}
    with dask.config.set(given_up), cluster.local_cluster(WORKERS, 1) as here:
        yield here.scheduler_address


@pytest.fixture(params=["lanes", "cluster"])
def engine(request):
    """`run` of one of the two engines, (tasks, worker, record, watch, states=..., stop=...)."""

    def run(todo, worker, record, watch=None, **options):
        if request.param == "lanes":
            lanes.run(todo, worker, record, watch, device=CPU, **options)
        else:
            address = request.getfixturevalue("scheduler")
            cluster.run(todo, worker, record, watch, address=address, device=CPU, **options)

    return run


# ---- what both engines do


class Underflowing(CountingWorker):
    """Fails at a step in which float32 still has numbers below 1.2e-38."""

    def before_step(self, task, step):
        assert not underflow().any()


def underflow():
    return torch.full((1000,), 1e-30) * 1e-10


def test_subnormal_numbers_are_zero_within_tasks_and_nowhere_else(engine, tmp_path, scheduler, flushes):
    if not flushes:
        pytest.skip("this processor cannot flush subnormal numbers")
    collected(engine, tasks("a", "b"), Underflowing(), states=tmp_path)
    assert underflow().all()
    with Client(scheduler, set_as_default=False) as client:
        left = client.gather([client.submit(underflow, pure=False) for _ in range(8)])
    assert torch.cat(left).all()


@pytest.mark.parametrize("states", [True, False])
def test_each_task_goes_through_all_its_steps_and_is_recorded_once(engine, tmp_path, states):
    todo, fractions = tasks("a", "b", "c", "d", "e", "f"), []
    states = tmp_path / "states" if states else None

    def watch(event, fraction, eta):
        fractions.append(fraction)

    events, results = collected(engine, todo, CountingWorker(), watch=watch, states=states)
    assert results == {task.name: total(task) for task in todo}
    for task in todo:
        mine = [event for event in events if event.task == task.name]
        assert [event.step for event in mine] == [1, 2, 3, 4, 5]
        assert [event.figures["sum"] - task.what["start"] for event in mine] == [1, 3, 6, 10, 15]
        assert [event.results is None for event in mine] == [True] * 4 + [False]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert not states or not list(states.glob("*.part"))


def test_a_watcher_that_fails_ends_nothing_and_is_called_on(engine, tmp_path, capsys):
    todo, seen = tasks("a", "b"), []

    def watch(event, fraction, eta):
        seen.append(event.step)
        raise ValueError(f"cannot draw step {event.step}")

    _, results = collected(engine, todo, CountingWorker(), watch=watch, states=tmp_path)
    assert results == {task.name: total(task) for task in todo}
    assert sorted(seen) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert capsys.readouterr().out.count("ValueError: cannot draw step") == 1


def test_nothing_to_do_is_done_at_once(engine):
    assert collected(engine, [], CountingWorker(), states=None) == ([], {})


@pytest.mark.parametrize("how", ["now", "at_step"])
def test_what_was_stopped_goes_on_at_its_step(engine, tmp_path, how):
    stop, todo = Stop(), tasks("a", "b", steps=200)

    def watch(event, fraction, eta):
        if event.step == 2:
            getattr(stop, how).set()

    events, results = collected(engine, todo, CountingWorker(seconds=0.02), watch=watch, states=tmp_path, stop=stop)
    assert not results
    left = resumed(todo, tmp_path)
    begun = {event.task: event.step for event in events}
    assert {task.name: task.done for task in left if task.done >= 0} == begun
    events, results = collected(engine, left, CountingWorker(), states=tmp_path)
    assert results == {task.name: total(task) for task in todo}
    first = {event.task: event.step for event in reversed(events)}
    assert first == {task.name: max(1, task.done) for task in left}  # what was saved is shown again


def test_a_stop_saves_what_was_not_saved_yet(engine, tmp_path):
    stop, todo = Stop(), tasks("a", steps=200)
    worker = CountingWorker(save_every=3600.0, seconds=0.02)

    def watch(event, *_):
        if event.step == 3:
            stop.at_step.set()

    collected(engine, todo, worker, watch=watch, states=tmp_path, stop=stop)
    assert 3 <= files.read_state(tmp_path / "a.pt")[0]["step"] < 200


def test_a_state_that_a_task_does_not_go_on_from_is_not_used(engine, tmp_path):
    """Of another CONFIG, or where CONFIG says not to resume: only the task's `done` decides."""
    (task,) = tasks("a")
    files.write_state(tmp_path / "a.pt", {"step": 3, "sum": torch.tensor(1000)}, {"step": 3})
    events, results = collected(engine, [task], CountingWorker(), states=tmp_path)
    assert results == {"a": total(task)}
    assert [event.step for event in events] == [1, 2, 3, 4, 5]


def test_a_work_that_was_complete_before_its_results_were_written_says_them_again(engine, tmp_path):
    (task,) = tasks("a")
    files.write_state(tmp_path / "a.pt", {"step": 5, "sum": torch.tensor(15)}, {"step": 5})
    events, results = collected(engine, [task._replace(done=5)], CountingWorker(), states=tmp_path)
    assert results == {"a": 15}
    assert [(event.step, event.figures) for event in events] == [(5, {"sum": 15})]


def test_the_first_error_stops_the_others_and_is_raised(engine, tmp_path):
    todo = tasks("a", "b", steps=500)
    worker = CountingWorker({("b", 3): ValueError("the first")}, seconds=0.01)
    with pytest.raises(ValueError, match="the first"):
        collected(engine, todo, worker, states=tmp_path)
    left = {task.name: task.done for task in resumed(todo, tmp_path)}
    assert left["b"] == 2
    assert left["a"] < 500


def test_an_error_in_recording_ends_the_work(engine, tmp_path):
    def record(event):
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        engine(tasks("a", "b", steps=500), CountingWorker(seconds=0.01), record, states=tmp_path)
    assert all(task.done < 500 for task in resumed(tasks("a", "b", steps=500), tmp_path))


class Alone(CountingWorker):
    """Fails where an earlier work of its process still lives when the next one begins, in one lane."""

    def begin(self, task):
        gc.disable()
        left = [ref for ref in LIVING if ref() is not None]
        assert not left, f"{len(left)} finished works are still there"
        work = super().begin(task)
        LIVING.append(weakref.ref(work))
        return work


LIVING = []


def test_a_finished_work_is_freed_before_the_next_one_begins(engine, tmp_path, monkeypatch):
    monkeypatch.setitem(lanes.MOST_LANES, "cpu", 1)
    todo = tasks("a", "b", "c", "d", "e", "f")
    try:
        _, results = collected(engine, todo, Alone(), states=tmp_path)
    finally:
        gc.enable()
    assert len(results) == 6


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
]


@pytest.mark.parametrize("error", NO_MEMORY)
@pytest.mark.parametrize("states", [True, False])
def test_a_task_that_does_not_fit_goes_on_as_its_halves(engine, tmp_path, capsys, error, states):
    todo = tasks("a", "b")
    fractions, worker, states = [], CountingWorker({("b", 4): error}), tmp_path if states else None
    events, results = collected(
        engine, todo, worker, states=states, watch=lambda event, fraction, eta: fractions.append(fraction)
    )
    assert set(results) == {"a", "b first half", "b second half"}
    assert results["b first half"] == results["b second half"] == total(todo[1])
    assert min(event.step for event in events if event.task == "b first half") == (3 if states else 1)
    words = "b does not fit into memory; it goes on as two halves, b first half and b second half"
    assert words in capsys.readouterr().out
    assert fractions == sorted(fractions)


def test_a_half_that_does_not_fit_either_is_an_error(engine, tmp_path):
    worker = CountingWorker({("b", 4): MemoryError(), ("b first half", 1): MemoryError()})
    with pytest.raises(MemoryError):
        collected(engine, tasks("a", "b"), worker, states=None)


# ---- what only processes do


def run(todo, worker, record, address, **options):
    cluster.run(todo, worker, record, address=address, device=CPU, **options)


@pytest.mark.parametrize("save_every", [0.0, 3600.0])
def test_a_process_that_is_killed_loses_its_last_step_alone(scheduler, tmp_path, capsys, save_every):
    todo = tasks("a", "b", "c", "d", "e", "f", steps=8)
    worker = CountingWorker({("c", 5): "kill"}, save_every, seconds=0.01, folder=tmp_path)
    events, results = collected(
        run, todo, worker, watch=lambda event, *_: shown(tmp_path, event.task, event.step).touch(),
        address=scheduler, states=tmp_path / "states",
    )  # fmt: skip
    assert (tmp_path / "killed in c").exists()
    assert results == {task.name: total(task) for task in todo}
    for task in todo:
        assert [event.step for event in events if event.task == task.name] == list(range(1, 9))  # each once
    after = 4 if save_every == 0 else 0
    assert f"c has lost its process; it goes on in another one, after step {after}" in capsys.readouterr().out


def test_a_task_that_ends_every_process_is_one_sentence(scheduler, tmp_path):
    worker = CountingWorker({("a", 2): "kill again"}, folder=tmp_path)
    with pytest.raises(ClusterError, match=rf"^a has ended {WORKERS} worker processes, .* its last state is kept$"):
        collected(run, tasks("a"), worker, address=scheduler, states=tmp_path / "states")
    assert files.read_about(tmp_path / "states" / "a.pt")["step"] == 1


def test_a_value_that_is_lost_with_its_process_is_made_again_and_recorded_once(scheduler, tmp_path, monkeypatch):
    """The process dies when the task is complete and its value not yet taken."""
    take, killed = cluster.Crew._take, []

    def late(crew, task, future):
        if not killed:
            killed.append(task.name)
            process = crew.client.who_has([future])[future.key][0]
            crew.client.run(lambda: os.kill(os.getpid(), signal.SIGKILL), workers=[process], on_error="ignore")
        take(crew, task, future)

    monkeypatch.setattr(cluster.Crew, "_take", late)
    todo = tasks("a", "b", "c")
    events, results = collected(run, todo, CountingWorker(), address=scheduler, states=tmp_path)
    assert killed
    assert results == {task.name: total(task) for task in todo}
    assert [event.step for event in events if event.task == killed[0]] == [1, 2, 3, 4, 5]


class Stubborn(Exception):
    """Cannot be sent: no process unpickles it."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def unpickled_nowhere():
    raise ImportError("no such thing here")


class Unlucky(CountingWorker):
    def before_step(self, task, step):
        raise Stubborn("this", "that")


class Unwelcome(CountingWorker):
    def __reduce__(self):
        return unpickled_nowhere, ()


@pytest.mark.parametrize(
    ("worker", "kind", "words"),
    [
        (Unlucky(), RuntimeError, "Stubborn: this and that"),
        (Unwelcome(), ImportError, "no such thing here"),
    ],
)
def test_what_cannot_be_unpickled_is_an_error_and_no_endless_wait(scheduler, tmp_path, worker, kind, words):
    with pytest.raises(kind, match=words) as error:
        collected(run, tasks("a"), worker, address=scheduler, states=tmp_path)
    assert "In a worker process:" in error.value.__notes__[0]


def test_workers_that_do_not_share_the_folder_are_named(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_whole", lambda path, content: None)  # as if written on another disk
    with pytest.raises(ClusterError, match=f"does not see {tmp_path}; all must share that folder"):
        collected(run, tasks("a"), CountingWorker(), address=scheduler, states=tmp_path)


def test_workers_with_other_code_are_named(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_code_of", lambda module: {"helpers/training.py": "0" * 16})
    with pytest.raises(ClusterError, match=r"has other code .*: helpers/training\.py; bring the repository there to"):
        collected(partial(cluster.run, address=scheduler, device=CPU), tasks("a"), CountingWorker(), states=tmp_path)


def test_a_folder_that_is_renamed_under_the_workers_is_not_made_again(scheduler, tmp_path):
    states, seen = tmp_path / "study" / "states", []

    def record(event):
        seen.append(event)
        if len(seen) == 3:
            (tmp_path / "study").rename(tmp_path / "elsewhere")

    with pytest.raises((OSError, ClusterError)):
        cluster.run(
            tasks("a", "b", steps=500),
            CountingWorker(seconds=0.01),
            record,
            address=scheduler,
            device=CPU,
            states=states,
        )
    assert len(seen) < 200
    assert not (tmp_path / "study").exists()


def test_a_scheduler_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with pytest.raises(ClusterError, match="no Dask scheduler answers at tcp://127"):
        cluster.workers("tcp://127.0.0.1:9", CPU)


def test_a_scheduler_without_workers_is_one_sentence(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with cluster.local_cluster(0, 1) as empty, pytest.raises(ClusterError, match="has no workers; start some: dask"):
        cluster.workers(empty.scheduler_address, CPU)


def test_a_cluster_that_loses_all_its_processes_for_good_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ALONE", 0.5)
    monkeypatch.setattr(cluster, "SETTLE", 0.5)
    with cluster.local_cluster(1, 1) as here:

        def end(event):
            here.scale(0)

        worker = CountingWorker(seconds=0.02)
        with pytest.raises(ClusterError, match=r"^there has been no worker process for 0 s; .* kept, and states$"):
            run(tasks("a", steps=10_000), worker, end, address=here.scheduler_address, states=tmp_path)


def in_time(condition, seconds=60):
    """Whether something comes to hold: processes start and end when they can."""
    until = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < until:
        time.sleep(0.1)
    return holds


def test_workers_are_counted(scheduler):
    assert in_time(lambda: cluster.workers(scheduler, CPU) == WORKERS)  # those that tests before killed start again
    assert cluster.workers("local", CPU) >= 1


@pytest.mark.parametrize(
    ("cores", "count"), [(1, 1), (2, 2), (8, 8), (12, 12), (16, 8), (24, 8), (32, 8), (64, 16), (128, 32)]
)
def test_a_worker_has_few_cores(monkeypatch, cores, count):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert cluster.workers("local", CPU) == count


SCRIPT = """
import os, sys
from pathlib import Path
import torch
from counting import CountingWorker, collected, resumed, tasks, total
from helpers import cluster

def record(event):
    print(event.task, event.step, flush=True)

if __name__ == "__main__":
    address, folder, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    before, threads = dict(os.environ), torch.get_num_threads()
    worker = CountingWorker(seconds=0.02)
    try:
        todo = tasks("a", "b", steps=steps)
        cluster.run(todo, worker, record, address=address, device=torch.device("cpu"), states=folder)
    except (KeyboardInterrupt, SystemExit):
        print("interrupted", flush=True)
    print("same" if (before, threads) == (dict(os.environ), torch.get_num_threads()) else "changed", flush=True)
"""


@contextmanager
def script(folder, address, steps):
    """A process of its own group that runs SCRIPT, in its third step or later."""
    (folder / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    child = subprocess.Popen(
        [sys.executable, str(folder / "script.py"), address, str(folder / "states"), str(steps)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        while (line := child.stdout.readline()) and not line.endswith(" 3\n"):
            pass
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def left_in_group(child):
    """The processes of a script's session that are still there."""
    return [p.pid for p in psutil.process_iter() if _session(p.pid) == child.pid and p.status() != "zombie"]


def _session(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


@pytest.mark.parametrize("how", ["Ctrl-C, which all processes get", "SIGTERM"])
def test_signals_end_a_local_cluster_cleanly(tmp_path, how):
    with script(tmp_path, "local", 10_000) as child:
        if how == "SIGTERM":
            child.send_signal(signal.SIGTERM)
        else:
            os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert out.split("\n")[-3:] == ["interrupted", "same", ""], out + err
        assert (child.returncode, err) == (0, "")
        assert in_time(lambda: left_in_group(child) == [])
    assert 3 <= max(task.done for task in resumed(tasks("a", "b"), tmp_path / "states")) < 10_000
    assert not list((tmp_path / "states").glob("*.part"))


def test_a_caller_that_is_killed_leaves_its_workers_free(scheduler, tmp_path):
    with script(tmp_path, scheduler, 10_000) as child:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    with Client(scheduler, set_as_default=False) as client:
        assert in_time(lambda: not any(client.run(lambda dask_worker: dask_worker.state.executing_count).values()))
    left = resumed(tasks("a", "b", steps=10_000), tmp_path / "states")
    assert 3 <= max(task.done for task in left) < 10_000


def test_a_scheduler_that_goes_is_one_sentence(tmp_path):
    def end(event):
        here.close()

    with cluster.local_cluster(1, 1) as here:
        worker = CountingWorker(seconds=0.02)
        with pytest.raises(ClusterError, match=r"scheduler .* state"):
            run(tasks("a", steps=10_000), worker, end, address=here.scheduler_address, states=tmp_path)


# ---- the sweep: on one process, on worker processes, with one killed


def sweep(folder, **changes):
    return Sweep({**TINY, "save_dir": str(folder), **changes})


@pytest.fixture(scope="module")
def in_process(tmp_path_factory):
    """TINY trained in this process, on one core: as many as a worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return sweep(tmp_path_factory.mktemp("in_process")).run(quiet)
    finally:
        torch.set_num_threads(threads)


def events_of(sweep):
    """Train a sweep; returns its results, and the steps that were shown of each stack."""
    steps = {}
    results = sweep.run(lambda progress: steps.setdefault(progress.event.task, []).append(progress.event.step))
    return results, steps


def test_the_digits_on_workers_are_those_of_one_process(in_process, scheduler, tmp_path):
    results, steps = events_of(sweep(tmp_path, cluster=scheduler))
    assert_same(results, in_process)
    assert list(steps.values()) == [[0, 1, 2, 3]] * 4
    assert results.manifest["finished"]
    assert results.config["cluster"] == scheduler
    assert not (tmp_path / "state").exists()


def test_a_worker_killed_in_mid_epoch_changes_nothing(in_process, scheduler, tmp_path, monkeypatch, capsys):
    """It dies within the second epoch of a stack, which goes on after its first."""
    marker = tmp_path / "killed"

    class Dying(training.StackWorker):
        def begin(self, task):
            work = super().begin(task)
            train_batches, batches = work.stack.train_batches, []
            mlp_kernel.STEPS_OF_A_CALL = 1  # in the worker's process, which ends with the test

            def train_batches_or_die(*given):
                batches.append(given)
                dies = task.name.endswith("tanh_3L_s0+2") and work.epoch == 1 and len(batches) == 10
                if dies and not marker.exists():
                    await_shown(tmp_path, task.name, 1)
                    marker.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                train_batches(*given)

            work.stack.train_batches = train_batches_or_die
            return work

    monkeypatch.setattr(sweeps, "StackWorker", Dying)
    written = []
    run_text = records.run_text
    monkeypatch.setattr(records, "run_text", lambda *run: (written.append(run[0].name), run_text(*run))[1])
    steps = {}

    def progress(news):
        steps.setdefault(news.event.task, []).append(news.event.step)
        shown(tmp_path, news.event.task, news.event.step).touch()

    results = sweep(tmp_path / "sweep", cluster=scheduler).run(progress)
    assert marker.exists()
    assert_same(results, in_process)
    assert sorted(written) == sorted(results.summary.run)  # each once
    assert list(steps.values()) == [[0, 1, 2, 3]] * 4
    assert "has lost its process; it goes on in another one, after step 1" in capsys.readouterr().out
    assert not (tmp_path / "sweep" / "state").exists()


@pytest.mark.parametrize("first", ["cluster", "in process"])
def test_what_one_engine_leaves_the_other_goes_on_with(scheduler, tmp_path, first):
    """Sixty epochs: three would be over before the word to stop has reached the other process."""
    engines = [scheduler, None] if first == "cluster" else [None, scheduler]
    many = {"num_epochs": 60}
    begun = sweep(tmp_path / "halves", cluster=engines[0], **many)

    def stop(progress):
        if progress.event.step == 1:
            begun.stop.at_step.set()

    begun.run(stop)
    left = sweep(tmp_path / "halves", cluster=engines[1], **many)
    reached = {task.name: task.done for task in left.todo() if task.done >= 0}
    assert reached, left.describe()
    assert "go on where they stopped" in left.describe()
    results, steps = events_of(left)
    assert_same(results, events_of(sweep(tmp_path / "whole", **many))[0])
    assert {name: steps[name][0] for name in reached} == reached
    assert not (tmp_path / "halves" / "state").exists()


OWN_ACTIVATION = """
import sys
import torch
from helpers.activations import register_activation
from helpers.sweep import Sweep

if __name__ == "__main__":
    factor = 1.5
    register_activation("mine", lambda z: factor * torch.sin(z) * torch.sigmoid(z))
    small = {"layers_list": [2, 1], "init_types": ["he_normal"], "activations": ["mine"], "hidden_size": 8}
    small |= {"num_epochs": 2, "train_size": 200, "stack_size": 1, "precision": "float64", "device": "cpu"}
    torch.set_num_threads(1)
    for folder, cluster in (("here", None), ("there", sys.argv[2])):
        Sweep({**small, "save_dir": f"{sys.argv[1]}/{folder}", "cluster": cluster}).run(lambda progress: None)
"""


def test_an_activation_of_the_readers_own_reaches_the_workers(scheduler, tmp_path):
    """A lambda of a script or a notebook, which no worker can import."""
    (tmp_path / "script.py").write_text(OWN_ACTIVATION)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), scheduler]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert_same(*(records.load_sweep(tmp_path / folder) for folder in ("there", "here")))


def test_workers_with_other_data_are_refused(scheduler, tmp_path):
    sweep = Sweep({**TINY, "save_dir": str(tmp_path / "sweep"), "cluster": scheduler})
    sweep.data.y_test[3] = (sweep.data.y_test[3] + 1) % 10
    if hasattr(sweep.data, "fingerprint"):
        object.__setattr__(sweep.data, "fingerprint", "another")
    with pytest.raises(SweepError, match=r"a worker process finds other data in data than .*: the test labels differ"):
        sweep.run(lambda progress: None)


def test_a_sweep_says_where_it_runs(scheduler, tmp_path):
    several = sweep(tmp_path, cluster=scheduler)
    assert in_time(lambda: f"{WORKERS} at a time" in several.describe())
    assert f"on the workers of {scheduler} in float64" in several.describe()
    assert "on worker processes of this machine (cpu)" in sweep(tmp_path, cluster="local").describe()


def test_the_forecast_divides_by_the_workers(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(Sweep, "_time_steps", lambda *_: (1.0, 1.0))  # seconds of a unit of cost
    several, alone = sweep(tmp_path, cluster=scheduler), sweep(tmp_path)
    assert in_time(lambda: several.side_by_side(4) == WORKERS)
    whole = alone.forecast() * lanes.Lanes(CPU, 4).count
    assert several.forecast() == pytest.approx(whole / WORKERS)


def test_a_sweep_whose_scheduler_is_not_there_is_one_sentence_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with pytest.raises(SweepError, match=r"^no Dask scheduler .*; nothing was trained$"):
        sweep(tmp_path / "new", cluster="tcp://127.0.0.1:9").run(lambda progress: None)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("bad", ["here", "tcp://host", "host:8786", "", 8786, True, ["local"]])
def test_a_cluster_is_local_or_an_address(bad):
    with pytest.raises(
        ConfigError, match=r'^cluster is .*; allowed is None, "local", or the address of a Dask scheduler'
    ):
        SweepConfig.from_dict({"cluster": bad})


@pytest.mark.parametrize("good", [None, "local", "tcp://10.0.0.1:8786", "tls://host.example:8786", "tcp://[::1]:8786"])
def test_a_cluster_is_kept_as_it_is_given(good):
    assert SweepConfig.from_dict({"cluster": good}).to_dict()["cluster"] == good


def test_the_spline_study_trains_there_as_it_does_here(scheduler, tmp_path):
    """Logs are equal but for the times, a diverging network's among them, and no state is left."""
    common = {"train_size": 200, "test_size": 100, "layers": 2, "hidden_size": 8, "num_epochs": 3, "device": "cpu"}
    given = {"a": {"seeds": [0, 1]}, "wild": {"activation": "linear", "optimizer": "sgd", "lr": 1e9, "layers": 3}}
    for folder, where in (("here", None), ("there", scheduler)):
        study = Study(experiments({**common, "cluster": where}, given, tmp_path / folder))
        study.run()
        assert study.left == []
        assert not (tmp_path / folder / "state").exists()
    for name in ("a_s0", "a_s1", "wild_s0"):
        here, there = (read_log(tmp_path / folder / name) for folder in ("here", "there"))
        pd.testing.assert_frame_equal(here.metrics.drop(columns="train_time"), there.metrics.drop(columns="train_time"))
        pd.testing.assert_frame_equal(here.signals, there.signals)
        assert here.about["experiment"] == there.about["experiment"]
        assert there.about["diverged"] == (name == "wild_s0")


def test_the_landscape_study_draws_there_as_it_does_here(scheduler, tmp_path):
    config = {"layers_list": [2], "hidden_size": 8, "train_size": 128, "test_size": 99, "batch_size": 64, "width": 5}
    config |= {"num_epochs": 2, "epochs": [0, 2], "samples": 32, "pairs": 1, "batches": 2, "eigenvalues": 1}
    config |= {"probes": 2, "device": "cpu"}
    found = []
    for folder, where in (("here", None), ("there", scheduler)):
        own = {**config, "cluster": where, "save_dir": str(tmp_path / folder)}
        study = LandscapeStudy(own, {"mlp": {}}, {"random": {}})
        found.append(study.run())
        assert study.left == []
    here, there = (results.surfaces() for results in found)
    assert here.keys() == there.keys()
    for key, surface in here.items():
        np.testing.assert_allclose(there[key].loss, surface.loss, rtol=1e-5)
    numbers = ["sharpness", "eigenvalue_1", "trace"]
    np.testing.assert_allclose(*(results.measures[numbers] for results in found), rtol=1e-3)


def test_a_study_whose_scheduler_is_gone_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    study = Study(experiments({"cluster": "tcp://127.0.0.1:9", "layers": 1, "hidden_size": 4}, {"a": {}}, tmp_path))
    with pytest.raises(SweepError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        study.run()
