"""The engine in this process: order, states, signals, cores. test_cluster.py holds both engines to their contract."""

import os
import signal
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from counting import CountingWorker, collected, resumed, tasks, total

from helpers import files, lanes, signals

CPU = torch.device("cpu")


def run(todo, worker=None, **options):
    """All events of a run in this process, and the results by task."""
    return collected(partial(lanes.run, device=CPU), todo, worker or CountingWorker(), **options)


def test_the_costliest_begins_first(monkeypatch):
    monkeypatch.setitem(lanes.MOST_LANES, "cpu", 1)
    events, _ = run(tasks("a", "b", "c"))
    assert list(dict.fromkeys(event.task for event in events)) == ["c", "b", "a"]


# ---- stopping and going on


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_cleanly(tmp_path, number):
    todo, before = tasks("a", "b", steps=1000), [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]

    def record(event):
        if event.step == 5:
            os.kill(os.getpid(), number)

    with pytest.raises((KeyboardInterrupt, SystemExit)) as ended:
        lanes.run(todo, CountingWorker(seconds=0.002), record, device=CPU, states=tmp_path)
    assert getattr(ended.value, "code", 130) == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if "ThreadPool" in t.name]
    assert any(task.done >= 5 for task in resumed(todo, tmp_path))


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.terminable() as came:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        todo = tasks("a", "b")
        lanes.run(todo, CountingWorker(), lambda event: os.kill(os.getpid(), signal.SIGHUP), device=CPU)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert came == []


# ---- errors


def test_what_was_complete_before_an_error_is_recorded(monkeypatch):
    monkeypatch.setitem(lanes.MOST_LANES, "cpu", 1)
    recorded = []
    worker = CountingWorker({("a", 3): ValueError("the last")})
    with pytest.raises(ValueError, match="the last"):
        lanes.run(tasks("a", "b"), worker, lambda event: event.results and recorded.append(event.task), device=CPU)
    assert recorded == ["b"]


# ---- memory, cores


def test_other_errors_are_no_lack_of_memory():
    assert not lanes.is_out_of_memory(RuntimeError("sizes do not match"))


def test_lanes_share_the_cores():
    seen = []
    before = torch.get_num_threads()
    with lanes.Lanes(CPU, 2) as pool:
        list(pool.map(lambda _: (seen.append(torch.get_num_threads()), time.sleep(0.01)), range(4)))
    assert set(seen) == {max(1, before // 2)} if before > 1 else {1}
    assert torch.get_num_threads() == before


# ---- subnormal numbers


def share_of_zeros(product):
    return (product == 0).float().mean().item()


def subnormal_products():
    """Shares of zeros in what float32 rounds to 1e-40: elementwise, large enough for all threads of torch; a product
    of matrices; one in NumPy."""
    small = torch.full((1 << 20,), 1e-30)
    matrix = torch.full((8, 32, 32), 1e-20)
    return [
        share_of_zeros(small * 1e-10),
        share_of_zeros(torch.bmm(matrix, matrix / 32)),
        share_of_zeros(torch.from_numpy(small.numpy() * np.float32(1e-10))),
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_subnormal_numbers_are_zero_in_lanes_and_nowhere_else(count, flushes):
    if not flushes:
        pytest.skip("this processor cannot flush subnormal numbers")
    with lanes.Lanes(CPU, count) as pool:
        inside = list(pool.map(lambda _: subnormal_products(), range(count)))
    assert inside == [[1.0, 1.0, 1.0]] * count
    assert subnormal_products() == [0.0, 0.0, 0.0]


def test_a_processor_that_keeps_subnormal_numbers_has_lanes_too(monkeypatch):
    monkeypatch.setattr(torch, "set_flush_denormal", lambda flush: False)
    with lanes.Lanes(CPU, 1) as pool:
        assert pool.submit(subnormal_products).result() == [0.0, 0.0, 0.0]
    assert run(tasks("a"))[1] == {"a": total(*tasks("a"))}


class Large(CountingWorker):
    """Its works hold on to a tensor, and the first one finds no memory."""

    def __init__(self):
        super().__init__()
        self.held = []

    def begin(self, task):
        work = super().begin(task)
        work.tensor = torch.zeros(10)
        self.held.append(weakref.ref(work.tensor))
        return work

    def before_step(self, task, step):
        if task.name == "a":
            raise MemoryError
        if task.name.endswith("half"):
            assert self.held[0]() is None, "the whole still holds its memory"


def test_what_did_not_fit_lets_go_of_its_memory():
    _, results = run(tasks("a"), Large())
    assert set(results) == {"a first half", "a second half"}


def test_a_state_that_is_not_to_be_used_goes(tmp_path):
    """Or the halves of a task that does not fit would take it up."""
    (task,) = tasks("a")
    files.write_state(tmp_path / "a.pt", {"step": 4, "sum": torch.tensor(1000)}, {"step": 4})
    _, results = run([task], CountingWorker({("a", 1): MemoryError()}), states=tmp_path)
    assert set(results.values()) == {total(task)}


def test_a_task_that_ends_early_is_an_error():
    class Silent:
        def __init__(self):
            self.begun = []

        def room(self, going):
            return True

        def begin(self, task):
            self.begun.append(task)

        def news(self):
            return lanes.Ended(self.begun.pop())

        def settle(self):
            pass

    todo = tasks("a", "b")
    with pytest.raises(lanes.ClusterError, match="has ended before its last step"):
        lanes.attend(Silent(), todo, CountingWorker(), todo.append, None, None, lanes.Stop(), None)


@pytest.mark.parametrize(
    "words", ["not enough memory: you tried to", "MPS backend out of memory", "can't allocate memory"]
)
def test_other_systems_have_other_words_for_it(words):
    assert lanes.is_out_of_memory(RuntimeError(words))
