"""What a finished stack leaves behind: nothing. Counted by weak references, with the collector switched off."""

import gc
import weakref

import pytest
import torch
from made_up_results import write_sweep
from tiny_sweep import TINY

from helpers.activations import ACTIVATIONS, register_activation
from helpers.lanes import MOST_LANES
from helpers.networks import mlp_kernel
from helpers.sweep import StackTraining, Sweep, rebuild
from helpers.sweep.stack import Stack

pytestmark = pytest.mark.training
SMALL = {**TINY, "num_epochs": 1, "hidden_size": 8, "layers_list": [3, 1], "stack_size": 2}


@pytest.fixture
def no_collector():
    """What is freed in a test is freed by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(mlp_kernel, "library", lambda dtype: None)
    elif mlp_kernel.library(torch.float32) is None:
        pytest.skip("no C compiler here")


@pytest.fixture
def begun(monkeypatch):
    """Weak references to every training that is made, its stack and its tensors: [[...], ...], in their order."""
    begun, init = [], StackTraining.__init__

    def remembered(training, *arguments):
        init(training, *arguments)
        parts = [training, training.stack, *training.stack._tensors()]
        begun.append([weakref.ref(part) for part in parts])

    monkeypatch.setattr(StackTraining, "__init__", remembered)
    return begun


def alive(begun):
    return sum(ref() is not None for refs in begun for ref in refs)


COMBINATIONS = [*((activation, "sgd") for activation in (*ACTIVATIONS, "own")), ("relu", "momentum"), ("relu", "adam")]


@pytest.mark.parametrize(("activation", "optimizer"), COMBINATIONS)
def test_finished_stacks_are_freed_by_their_last_reference(
    tmp_path, monkeypatch, path, begun, no_collector, activation, optimizer
):
    if activation == "own":
        monkeypatch.setattr("helpers.activations.table.ACTIVATIONS", ACTIVATIONS)
        register_activation("own", lambda z: z * torch.tanh(z))
    save_dir = str(tmp_path)
    Sweep({**SMALL, "activations": [activation], "optimizer": optimizer, "save_dir": save_dir}).run()
    ACTIVATIONS.pop("own", None)
    assert len(begun) == 2
    assert alive(begun) == 0


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_memory_of_a_sweep_is_flat_in_the_number_of_its_stacks(
    tmp_path, monkeypatch, path, begun, no_collector, precision
):
    """One lane: when a stack begins, no other is there, whatever prints or watches."""
    monkeypatch.setitem(MOST_LANES, "cpu", 1)
    there, init = [], Stack.__init__

    def counted(stack, *arguments):
        there.append(alive(begun))
        init(stack, *arguments)

    monkeypatch.setattr(Stack, "__init__", counted)
    sweep = Sweep({**SMALL, "precision": precision, "seeds": [0, 1, 2], "save_dir": str(tmp_path)})
    sweep.run()
    assert there == [0] * len(begun)
    assert len(begun) >= 12
    there.clear()
    Sweep({**SMALL, "resume": False, "precision": precision, "seeds": [0, 1, 2], "save_dir": str(tmp_path)}).run(
        progress=[].append  # a watcher of the reader's own that keeps all it is given
    )
    assert there == [0] * len(there)


def test_a_stopped_and_a_resumed_sweep_let_go_as_well(tmp_path, path, begun, no_collector):
    sweep = Sweep({**SMALL, "num_epochs": 5, "save_dir": str(tmp_path)})

    def stop(progress):
        if progress.event.step == 2:
            sweep.stop.at_step.set()

    sweep.run(stop)
    assert alive(begun) == 0
    sweep.run()
    assert alive(begun) == 0


def test_an_error_that_is_kept_keeps_no_stack(tmp_path, monkeypatch, path, begun, no_collector):
    """A notebook keeps the last error, with its traceback, until there is another one."""
    advance = StackTraining.advance

    def fail(training, stop=None):
        if training.epoch == 0:
            raise ValueError("a network has had enough")
        return advance(training, stop)

    monkeypatch.setattr(StackTraining, "advance", fail)
    with pytest.raises(ValueError, match="had enough") as kept:
        Sweep({**SMALL, "save_dir": str(tmp_path)}).run()
    assert begun
    assert alive(begun) == 0
    assert kept.value.__traceback__ is not None


def test_the_forecast_and_a_network_that_is_rebuilt_leave_no_stack(tmp_path, path, begun, no_collector):
    sweep = Sweep({**SMALL, "save_dir": str(tmp_path)})
    sweep.forecast(0.01)
    network = rebuild(sweep.config, sweep.config.runs()[0])
    assert len(begun) >= 2
    assert sum(ref() is not None for refs in begun for ref in refs[:2]) == 0
    assert next(network.parameters()).requires_grad


def test_a_diverged_run_leaves_nothing(tmp_path, path, begun, no_collector):
    results = Sweep({**SMALL, "lr": 1e30, "num_epochs": 2, "save_dir": str(tmp_path)}).run()
    assert results.summary.diverged.any()
    assert alive(begun) == 0


def test_histories_that_were_read_are_not_kept_for_ever(tmp_path):
    from helpers import records

    results = write_sweep(tmp_path, {"layers_list": [1], "init_types": ["zero"], "activations": ["relu"]})
    results.history(results.summary.run[0])
    assert records._history.cache_info().maxsize is not None
