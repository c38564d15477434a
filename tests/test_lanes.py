"""The engine in this process: order, states, stopping, the first error, too little memory, watchers."""

import os
import signal
import threading
import time

import pytest
import torch
from counting import CountingWorker, tasks, total

from helpers import files, lanes
from helpers.lanes import Stop

CPU = torch.device("cpu")


def run(todo, worker=None, **options):
    """All events of a run, and the results by task."""
    events, results = [], {}

    def record(event):
        events.append(event)
        if event.results is not None:
            assert event.task not in results, "recorded twice"
            results[event.task] = event.results

    lanes.run(todo, worker or CountingWorker(), record, device=CPU, **options)
    return events, results


def resumed(todo, states):
    """The tasks that are left, as a study finds them by their states."""
    found = []
    for task in todo:
        path = lanes.state_file(states, task.name)
        found.append(task._replace(done=files.read_about(path)["step"]) if path.exists() else task)
    return found


def test_each_task_goes_through_all_its_steps_and_is_recorded_once():
    todo = tasks("a", "b", "c", "d")
    events, results = run(todo)
    assert results == {task.name: total(task) for task in todo}
    for task in todo:
        mine = [event for event in events if event.task == task.name]
        assert [event.step for event in mine] == [1, 2, 3, 4, 5]
        assert [event.figures["sum"] - task.what["start"] for event in mine] == [1, 3, 6, 10, 15]
        assert [event.results is None for event in mine] == [True] * 4 + [False]


def test_the_costliest_begins_first(monkeypatch):
    monkeypatch.setitem(lanes.MOST_LANES, "cpu", 1)
    events, _ = run(tasks("a", "b", "c"))
    assert list(dict.fromkeys(event.task for event in events)) == ["c", "b", "a"]


def test_nothing_to_do_is_done_at_once():
    assert run([]) == ([], {})


# ---- stopping and going on


@pytest.mark.parametrize("how", ["now", "at_step"])
def test_what_was_stopped_goes_on_at_its_step(tmp_path, how):
    stop, todo = Stop(), tasks("a", "b", steps=50)

    def watch(event, fraction, eta):
        if event.step == 2:
            getattr(stop, how).set()

    events, results = run(todo, CountingWorker(seconds=0.01), watch=watch, states=tmp_path, stop=stop)
    assert not results
    left = resumed(todo, tmp_path)
    begun = {event.task: event.step for event in events}
    assert {task.name: task.done for task in left if task.done >= 0} == begun
    events, results = run(left, states=tmp_path)
    assert results == {task.name: total(task) for task in todo}
    first = {event.task: event.step for event in reversed(events)}
    assert first == {task.name: max(1, task.done) for task in left}  # what was saved is shown again


def test_a_stop_saves_what_was_not_saved_yet(tmp_path):
    stop, (task,) = Stop(), tasks("a")
    worker = CountingWorker(save_every=3600.0, seconds=0.01)
    run([task], worker, watch=lambda event, *_: event.step == 3 and stop.at_step.set(), states=tmp_path, stop=stop)
    assert files.read_state(tmp_path / "a.pt")[0]["step"] >= 3


def test_states_are_written_as_often_as_the_worker_asks(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(files, "write_state", lambda path, state, about: written.append(about["step"]))
    run(tasks("a"), CountingWorker(), states=tmp_path)
    run(tasks("a"), CountingWorker(save_every=3600.0), states=tmp_path)
    assert written == [1, 2, 3, 4, 5, 5]


def test_a_damaged_state_is_named_and_the_task_begins_anew(tmp_path, capsys):
    (task,) = tasks("a")
    files.write_state(tmp_path / "a.pt", {"step": 3, "sum": torch.tensor(6)}, {"step": 3})
    content = bytearray((tmp_path / "a.pt").read_bytes())
    content[-40] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    events, results = run([task._replace(done=3)], states=tmp_path)
    assert results == {"a": total(task)}
    assert events[0].step == 1
    assert f"{tmp_path / 'a.pt'} is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(tmp_path, number):
    todo, before = tasks("a", "b", steps=1000), signal.getsignal(signal.SIGTERM)

    def record(event):
        if event.step == 5:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        lanes.run(todo, CountingWorker(seconds=0.002), record, device=CPU, states=tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if "ThreadPool" in t.name]
    assert any(task.done >= 5 for task in resumed(todo, tmp_path))


# ---- errors


def test_the_first_error_stops_the_others_and_is_raised(tmp_path):
    todo = tasks("a", "b", steps=500)
    worker = CountingWorker({("b", 3): ValueError("the first")}, seconds=0.002)
    with pytest.raises(ValueError, match="the first"):
        run(todo, worker, states=tmp_path)
    left = {task.name: task.done for task in resumed(todo, tmp_path)}
    assert left["b"] == 2
    assert left["a"] < 500


def test_what_was_complete_before_an_error_is_recorded(monkeypatch):
    monkeypatch.setitem(lanes.MOST_LANES, "cpu", 1)
    recorded = []
    worker = CountingWorker({("a", 3): ValueError("the last")})
    with pytest.raises(ValueError, match="the last"):
        lanes.run(tasks("a", "b"), worker, lambda event: event.results and recorded.append(event.task), device=CPU)
    assert recorded == ["b"]


def test_an_error_in_recording_ends_the_work():
    def record(event):
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        lanes.run(tasks("a", "b"), CountingWorker(), record, device=CPU)


def test_nothing_that_watches_can_end_the_work(capsys):
    calls = []

    def watch(*news):
        calls.append(news)
        raise RuntimeError("the picture is gone")

    todo = tasks("a", "b")
    _, results = run(todo, watch=watch)
    assert results == {task.name: total(task) for task in todo}
    assert len(calls) == 1
    assert capsys.readouterr().out.count("the picture is gone") == 1


# ---- memory

NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
]


@pytest.mark.parametrize("error", NO_MEMORY)
@pytest.mark.parametrize("states", [True, False])
def test_a_task_that_does_not_fit_goes_on_as_its_halves(tmp_path, capsys, error, states):
    todo = tasks("a", "b")
    fractions = []
    worker = CountingWorker({("b", 4): error})
    events, results = run(
        todo, worker, states=tmp_path if states else None, watch=lambda event, fraction, eta: fractions.append(fraction)
    )
    assert set(results) == {"a", "b first half", "b second half"}
    assert results["b first half"] == results["b second half"] == total(todo[1])
    first = min(event.step for event in events if event.task == "b first half")
    assert first == (3 if states else 1)  # what was saved is shown again
    assert "b does not fit into memory; it goes on as two halves, b first half and b second half" in (
        capsys.readouterr().out
    )
    assert fractions == sorted(fractions)


def test_a_half_that_does_not_fit_either_is_an_error():
    worker = CountingWorker({("b", 4): MemoryError(), ("b first half", 1): MemoryError()})
    with pytest.raises(MemoryError):
        run(tasks("a", "b"), worker)


def test_other_errors_are_no_lack_of_memory():
    assert not lanes.is_out_of_memory(RuntimeError("sizes do not match"))


def test_lanes_share_the_cores():
    seen = []
    before = torch.get_num_threads()
    with lanes.Lanes(CPU, 2) as pool:
        list(pool.map(lambda _: (seen.append(torch.get_num_threads()), time.sleep(0.01)), range(4)))
    assert set(seen) == {max(1, before // 2)} if before > 1 else {1}
    assert torch.get_num_threads() == before
