"""The rivals of the stack: that all train the same networks, and how the figures come about."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.bench import rivals

SHAPE = (3, 16, 20)  # layers, batch, inputs
WAYS = ["stack", "torch.func", "torch.func, core each"]
needs_jax = pytest.mark.skipif(not rivals.JAX_PYTHON.exists(), reason="`make rivals` installs JAX")


@pytest.fixture
def problem():
    return rivals.Problem(*SHAPE)


def lone_losses(problem, r):
    """The losses of network r alone, by autograd and torch.optim: (STEPS,)."""
    net = problem.stack(r + 1).network(r)
    optimizer = torch.optim.SGD(net.parameters(), problem.config.lrs[0])
    losses = []
    for chosen in problem.index:
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(problem.x[chosen]), problem.y[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", WAYS)
def test_a_way_trains_what_lone_networks_train(problem, name):
    """Losses are near 2.3 in float32: five steps of rounding stay below 1e-5 of them."""
    losses = rivals.ways_of(problem, "", {})[name].losses(8)
    assert losses.shape == (rivals.STEPS, 8)
    for r in (0, 7):
        np.testing.assert_allclose(losses[:, r], lone_losses(problem, r), rtol=1e-5)
    assert np.ptp(losses[0]) > 0  # eight networks, not one eight times


@needs_jax
def test_jax_trains_what_the_stack_trains(problem, tmp_path):
    problem.save(tmp_path / "problem.npz")
    ours = rivals.ways_of(problem, "", {})["stack"].losses(8)
    with rivals.jax_children() as (versions, crews):
        assert versions["jax"]
        ways = {name: rivals.Jax(tmp_path / "problem.npz", children) for name, children in crews.items()}
        for way in ways.values():
            for setting in way.settings:
                np.testing.assert_allclose(way.losses(**setting), ours, rtol=1e-5)
                assert way.seconds(0.01, **setting) > 0


def test_a_limit_of_the_instructions_is_the_rivals_too(monkeypatch):
    for name in rivals.measured.LIMITS:
        monkeypatch.delenv(name, raising=False)
    assert rivals.limited({"PATH": "/bin"}) == {"PATH": "/bin"}
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "AVX2")
    assert rivals.limited({"XLA_FLAGS": "--own"}) == {"XLA_FLAGS": "--own --xla_cpu_max_isa=AVX2"}


def test_without_its_environment_jax_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(rivals, "JAX_PYTHON", tmp_path / "python")
    for name in ("SECONDS", "TRIAL"):
        monkeypatch.setattr(rivals, name, 0.001)
    found = rivals.measure(rounds=1, shapes=[SHAPE])
    assert [row["way"] for row in found["rows"]] == WAYS
    assert {(row["layers"], row["batch"], row["inputs"]) for row in found["rows"]} == {SHAPE}
    assert found["rows"][0]["times_as_long_as_stack"] == 1
    assert "JAX is left out" in rivals.sentence(found)


def test_who_trains_something_else_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(rivals, "JAX_PYTHON", tmp_path / "python")

    def faster(problem, networks, steps=rivals.func_steps):
        problem = rivals.Problem(*SHAPE)
        problem.index = problem.index.flip(0)  # other batches
        return steps(problem, networks)

    monkeypatch.setattr(rivals, "func_steps", faster)
    with pytest.raises(RuntimeError, match=r"losses differ from the stack's by .*torch.func.*; allowed is 0.001"):
        rivals.measure(rounds=1, shapes=[SHAPE])


def test_lanes_add_their_rates(problem, monkeypatch):
    """Two lanes of 8 networks, 1 s and 3 s a step: 8 + 8 / 3 networks a second."""
    times = iter([1.0, 3.0])
    monkeypatch.setattr(rivals, "seconds_of_call", lambda step, seconds, device: next(times))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    way = rivals.Torch(problem, rivals.func_steps, 8)
    assert way.seconds(0.1, networks=8) == pytest.approx(1 / (8 + 8 / 3))


class MadeUp:
    """A way whose times are known."""

    settings = ({"networks": 8, "layers": "unrolled"}, {"networks": 8, "layers": "scan"})

    def seconds(self, seconds, networks, layers):
        times = {(8, "unrolled"): 3, (8, "scan"): 2, (16, "unrolled"): 0, (16, "scan"): 1, (32, "scan"): 4}
        return times[networks, layers]


def test_a_rival_chooses_what_is_fastest():
    """First how its layers run, then how many networks: (16, "unrolled") is not tried."""
    assert rivals.fastest(MadeUp()) == {"networks": 16, "layers": "scan"}


def test_figures_are_medians_over_rounds_and_ratios_within_them():
    times = [{"stack": 1e-3, "JAX": 3e-3}, {"stack": 2e-3, "JAX": 4e-3}, {"stack": 4e-3, "JAX": 4e-3}]
    row = rivals._row(SHAPE, "JAX", {"networks": 16, "layers": "scan"}, times)
    assert (row["layers"], row["batch"], row["inputs"], row["networks"], row["hidden_layers"]) == (*SHAPE, 16, "scan")
    milliseconds = row["ms_per_network_step"], row["ms_least"], row["ms_most"]
    assert milliseconds == pytest.approx((4, 3, 4))
    assert (row["times_as_long_as_stack"], row["ratio_least"], row["ratio_most"]) == pytest.approx((2, 1, 3))


def test_the_command_keeps_what_was_found(monkeypatch, tmp_path, capsys):
    row = rivals._row(SHAPE, "stack", {"networks": 8}, [{"stack": 1e-3}])
    found = {"rows": [row], "jax": None, "difference": 1e-7, "rounds": 4}
    monkeypatch.setattr(rivals, "measure", lambda rounds: {**found, "rounds": rounds})
    rivals.main(["--rounds", "4", "--save", str(tmp_path)])
    assert "the losses of stack differ by 1.0e-07 at most" in capsys.readouterr().out
    assert json.loads((tmp_path / "manifest.json").read_text())["parts"]["rivals"]["rounds"] == 4
    assert (tmp_path / "rivals.csv").read_text().splitlines()[1].startswith("3,16,20,stack,8,,1,1,1,1,1,1,1")
    with pytest.raises(SystemExit):
        rivals.main(["--rounds", "0"])
    assert "--rounds is 0; allowed is a whole number from 1 up" in capsys.readouterr().err
