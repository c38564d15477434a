"""The work of a study on the engine: what is written, and what stays for the next start."""

import time
from types import SimpleNamespace

import pytest
import torch

from helpers import lanes
from helpers.landscape_study import work
from helpers.landscape_study.work import engine_of, work_on


class Countdown:
    """A work of three steps, whose result is its name."""

    save_every, step = 0.0, -1

    def begin(self, task):
        work = Countdown()
        work.name = task.name
        return work

    def advance(self, stop):
        if self.name == "bad":
            raise ValueError("no")
        self.step += 1
        return {}

    def figures(self):
        return {}

    def results(self):
        return self.name

    def halve(self, task, state):
        return None


def study_of(names):
    plans, written = [SimpleNamespace(key=name) for name in names], []
    there = SimpleNamespace(record_results=lambda plan, results: written.append((plan.key, results)), states=None)
    return SimpleNamespace(
        there=there, settings=SimpleNamespace(plans=plans), left=plans, worker=Countdown(), stop=lanes.Stop(),
        device=torch.device("cpu"), cluster=None, task=lambda plan: lanes.Task(plan.key, {}, 1.0, 2),
    ), written  # fmt: skip


def test_each_plan_is_written_once_and_an_error_is_raised():
    study, written = study_of(["a", "b"])
    work_on(study, study.left, lambda events: [event.task for event in events], later=3.0)
    assert sorted(written) == [("a", "a"), ("b", "b")]
    study, _ = study_of(["bad"])
    with pytest.raises(ValueError, match="no"):
        work_on(study, study.left, lambda events: [])


def test_at_the_end_of_a_phase_the_time_left_is_that_of_what_comes_later(monkeypatch):
    seen, advance = [], Countdown.advance
    monkeypatch.setattr(work, "Lines", lambda *_, **__: seen.append)
    monkeypatch.setattr(Countdown, "advance", lambda self, stop: (time.sleep(0.01), advance(self, stop))[1])
    study, _ = study_of(["a"])  # three steps of cost 1 in all
    began = time.perf_counter()
    work_on(study, study.left, None, later=5.0)
    whole = time.perf_counter() - began
    assert [progress.eta is None for progress in seen] == [True, False, False]  # its step 0 only measures
    assert 3 * 0.01 * 5 <= seen[-1].eta <= whole * 5
    seen.clear()
    work_on(study, study.left, None)
    assert seen[-1].eta == 0


def test_without_a_cluster_the_engine_is_this_process():
    assert engine_of(None) is lanes.run
    assert engine_of("local").keywords == {"address": "local"}
