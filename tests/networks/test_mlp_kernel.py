"""The compiled kernel in float32, at odd sizes, with other instructions. `test_stack.py` has lone networks beside it.

float32 is held against the same file in float64, which in turn is held against autograd.
"""

import ctypes
import json
import os

import numpy as np
import pytest
import torch
from by_torch import without_kernel
from torch.nn import functional

from helpers import ROOT, compiled, networks
from helpers.activations import ACTIVATIONS, Activation, register_activation
from helpers.config import OPTIMIZERS, WITH_MOMENTUM, Run, SweepConfig
from helpers.networks import mlp_kernel
from helpers.sweep.stack import Stack

pytest_plugins = ["warm_processes"]
pytestmark = [
    pytest.mark.training,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(mlp_kernel.library(torch.float32) is None, reason="needs a C compiler"),
]
COMPILED = [name for name, row in ACTIVATIONS.items() if row.in_c]  # with those that are made of another


def value_and_slope(row, z):
    """phi(z) and phi'(z) by the C file; z of any length."""
    phi, scale, shift, input_scale = row.in_c
    affine = (scale, shift, input_scale) != (1, 0, 1)
    numbers = {"scale": scale, "shift": shift, "input_scale": input_scale}
    call = mlp_kernel.Call(phi=mlp_kernel.IN_C.index(phi), affine=affine, **numbers)
    a = functional.pad(z, (0, -len(z) % 64))
    slope = torch.empty_like(a)
    addresses = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (a, slope)]
    mlp_kernel.library(z.dtype).phi_and_slope(ctypes.byref(call), *addresses, ctypes.c_int64(len(a)))
    return a[: len(z)], slope[: len(z)]


GRID = torch.cat([torch.linspace(-30, 30, 60_001), *(s * torch.logspace(-30, 1.4, 20_000) for s in (-1, 1))])


@pytest.mark.parametrize("name", COMPILED)
def test_float32_functions_are_those_of_float64_up_to_rounding(name):
    """Within 6 roundings of what a value is made of: |phi| and |z phi'|, times 1 + z^2 / 2 for those of e^(-z^2/2).

    Signals that fade must stay exact, so values have no absolute error; slopes have that of a (1 - a) or 1 - a^2, by
    which those of a saturated unit are computed.
    """
    row = ACTIVATIONS[name]
    z = GRID.double()
    a, slope = (found.double() for found in value_and_slope(row, GRID))
    # by expm1 and erfc, since f itself cancels in float64 too where |z| is large
    exact = {"gelu": lambda z: 0.5 * z * torch.erfc(-z * 0.5**0.5), "elu": lambda z: torch.where(z > 0, z, z.expm1())}
    want, want_slope = exact.get(name, row.f)(z), row.df(z)
    eps = 2.0**-24
    terms = want.abs() + (z * want_slope).abs()
    if row.in_c[1:] != (1, 0, 1):  # phi - shift is a difference
        terms = terms + abs(row.in_c[1] * row.in_c[2])
    assert ((a - want).abs() <= 6 * eps * (1 + z * z / 2) * terms + 2.0**-126).all()
    terms = want_slope.abs() * (1 + z * z) + 4 * want_slope.abs().max()
    assert ((slope - want_slope).abs() <= 4 * eps * terms).all()


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_nan_stays_one_and_the_infinities_are_those_of_torch(name, dtype):
    z = torch.tensor([torch.nan, torch.inf, -torch.inf], dtype=dtype)
    found, _ = value_and_slope(ACTIVATIONS[name], z)
    want = ACTIVATIONS[name].f(z)
    assert found[0].isnan()
    if name not in ("gelu", "silu", "softplus"):  # where 0 times infinity is 0 or no number
        torch.testing.assert_close(found, want, equal_nan=True)


# ---- training, at sizes of all kinds


SIZES = [(1, 1, 2), (7, 3, 2), (33, 5, 17), (100, 30, 10), (128, 64, 10), (130, 17, 33), (16, 785, 40), (31, 8, 200)]


def trained(sizes, batch, dtype=torch.float64, optimizer="sgd", activation="gelu", **further):
    """What six steps leave: (the stack's tensors, its figures, an evaluation, a probe), all as arrays."""
    hidden, inputs, classes = sizes
    given = {"hidden_size": hidden, "input_size": inputs, "output_size": classes, "optimizer": optimizer, **further}
    precision = str(dtype).removeprefix("torch.")
    config = SweepConfig.from_dict({"dataset": "mnist", "device": "cpu", "precision": precision, **given})
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(200, inputs, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(classes, (200,), generator=generator)
    runs = [Run("he_normal", activation, layers, seed, 0.01) for layers in (1, 3, 2) for seed in (0, 1)]
    stack = Stack(config, runs)
    for _ in range(6):
        stack.train_batch(x, y, torch.stack([torch.randperm(200, generator=generator)[:batch] for _ in range(2)]))
    figures, evaluation = stack.train_figures(), stack.evaluate(x, y)
    probe = stack.probe(x[: batch + 1], y[: batch + 1])
    return [tensor.numpy() for tensor in stack.state()["tensors"]], figures, evaluation, list(probe.values())


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("batch", [1, 15, 32, 37, 128])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_size_trains_as_by_torch(sizes, batch, optimizer):
    """(hidden, inputs, classes) and batches that fill no vector, one, several, and some more."""
    by_kernel = trained(sizes, batch, optimizer=optimizer)
    with without_kernel():
        by_torch = trained(sizes, batch, optimizer=optimizer)
    for ours, theirs in zip(by_kernel, by_torch, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            scale = np.nanmax(np.abs(other), initial=0)
            np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-9 * scale + 1e-14)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("sizes", SIZES[::2], ids=str)
def test_momentum_and_weight_decay_are_those_of_torch(sizes, optimizer):
    further = {"weight_decay": 0.03, **({"momentum": 0.7} if optimizer in WITH_MOMENTUM else {})}
    by_kernel = trained(sizes, 37, optimizer=optimizer, **further)
    with without_kernel():
        by_torch = trained(sizes, 37, optimizer=optimizer, **further)
    for mine, other in zip(by_kernel[0], by_torch[0], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-9 * np.abs(other).max() + 1e-14)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "softplus", "calibrated"])
@pytest.mark.parametrize("sizes", [(100, 30, 10), (128, 64, 10)], ids=str)
def test_float32_trains_as_float64_within_its_rounding(sizes, activation):
    """6 steps of sums over up to 128 products, each rounded by 2^-24, through three layers forward and back."""
    narrow, wide = (trained(sizes, 37, dtype, activation=activation) for dtype in (torch.float32, torch.float64))
    for ours, theirs in zip(narrow[0], wide[0], strict=True):
        assert np.linalg.norm(ours - theirs) <= 6 * 6 * 128 * 2**-24 * max(np.linalg.norm(theirs), 1e-3)
    np.testing.assert_allclose(narrow[1][0], wide[1][0], rtol=6 * 6 * 128 * 2**-24)


def test_adam_is_as_exact_in_float32_as_by_torch():
    """Its 1 - 0.999 is that of double precision: in float32 alone it is off by 1.3e-5."""
    exact, ours = (trained((48, 20, 10), 32, dtype, "adam") for dtype in (torch.float64, torch.float32))
    with without_kernel():
        theirs = trained((48, 20, 10), 32, torch.float32, "adam")
    places = 2 * 4  # weights and biases; their moments follow, a first and a second each
    for k in range(places + 1, len(exact[0]), 2):  # the second moments
        errors = [np.abs(found[0][k] / exact[0][k] - 1) for found in (ours, theirs)]
        assert np.median(errors[0]) < 4 * np.median(errors[1]) + 1e-7


def stack_of(runs, **given):
    config = SweepConfig.from_dict(
        {"dataset": "mnist", "device": "cpu", "input_size": 20, "output_size": 10, "hidden_size": 48, **given}
    )
    stack = Stack(config, runs)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(90, 20, generator=generator), torch.randint(10, (90,), generator=generator)
    for _ in range(4):
        stack.train_batch(x, y, torch.randperm(90, generator=generator)[None, :33])
    return stack, x, y


RUNS = [Run(init, "gelu", layers, 0, 0.05) for init in ("he_normal", "orthogonal") for layers in (2, 9, 4)]


def test_a_network_is_the_same_bit_for_bit_alone_in_any_company_and_on_any_number_of_threads():
    together, *_ = stack_of(RUNS)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    on_threads, *_ = stack_of(RUNS[::-1])
    torch.set_num_threads(before)
    for run in RUNS:
        alone = stack_of([run])[0].network(0)
        for other in (together, on_threads):
            found = other.network(other.runs.index(run))
            assert all(map(torch.equal, alone.parameters(), found.parameters())), run


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_several_steps_in_a_call_are_the_same_bit_for_bit_as_one_by_one(optimizer):
    """With a smaller last batch; the steps that Adam counts go on from call to call."""
    runs = [Run("he_normal", "gelu", layers, seed, 0.01) for layers in (2, 5) for seed in (0, 1)]
    ends = []
    for calls in ([3 * 33 + 20, 2 * 33], [33, 33, 33, 20, 33, 33]):
        stack, x, y = stack_of(runs[::2], optimizer=optimizer)
        stack = Stack(stack.config, runs)
        generator = torch.Generator().manual_seed(4)
        order = torch.stack([torch.randint(90, (sum(calls),), generator=generator) for _ in range(2)])
        for index in order.split(calls, dim=1):
            stack.train_batches(x, y, index, 33)
        ends.append([*stack.state()["tensors"], stack.loss_sum, stack.correct, torch.tensor(stack.state()["steps"])])
    assert all(map(torch.equal, *ends))


def test_a_signal_that_fades_to_nothing_changes_only_what_it_reaches():
    """At std 1e-9 the gradient is below every float after some layers: the weights there keep their bits."""
    given = {"init_params": {"normal": {"std": 1e-9}}}
    run = Run("normal", "tanh", 9, 0, 0.05)
    stack, x, y = stack_of([run], **given)
    start, _ = networks.draw_parameters(stack.config, run)
    moved = [not torch.equal(weight[0].T, old.float()) for weight, old in zip(stack.weights, start, strict=True)]
    assert moved == [False] * 9 + [True]  # the last hidden layer's bias learns, and with it what reads that layer
    probe = stack.probe(x, y)
    assert probe["grad_norm"][0, 0] == 0
    assert probe["act_std"][0, 0] > 0


def test_the_callers_own_subnormal_numbers_are_left_alone():
    tiny = torch.tensor([2.0**-126])
    stack_of(RUNS[:1])
    assert (tiny / 4 > 0).all()


# ---- where it is used, and where not


def test_whatever_the_kernel_has_not_trains_by_torch(monkeypatch):
    register_activation("of_the_tests_own", lambda z: z * torch.tanh(z))
    try:
        own = stack_of([Run("he_normal", "of_the_tests_own", 2, 0, 0.05)])[0]
    finally:
        del ACTIVATIONS["of_the_tests_own"]
    assert own.kernel is None
    monkeypatch.setitem(ACTIVATIONS, "a_new_row", Activation(torch.nn.functional.mish, ACTIVATIONS["silu"].df))
    assert stack_of([Run("he_normal", "a_new_row", 2, 0, 0.05)])[0].kernel is None
    assert stack_of([Run("he_normal", "learnable_spline", 2, 0, 0.05)])[0].kernel is None
    assert stack_of([Run("he_normal", "relu", 2, 0, 0.05)])[0].kernel is not None


def test_without_a_compiler_it_says_so_once_and_trains_by_torch(monkeypatch, tmp_path):
    by_kernel = stack_of(RUNS)[0]
    monkeypatch.setenv("CC", str(tmp_path / "no-such-program"))
    monkeypatch.setattr(mlp_kernel, "SOURCE", tmp_path / "mlp_kernel.c")
    (tmp_path / "mlp_kernel.c").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"networks train .* here, since mlp_kernel.c could not be compiled") as said:
        by_torch = [stack_of(RUNS)[0] for _ in range(2)]
    assert len(said) == 1
    for ours, theirs in zip(by_kernel.weights, by_torch[0].weights, strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


def test_tensors_that_it_would_misread_are_refused():
    stack, x, y = stack_of(RUNS)
    for samples in (x.double(), x.T.contiguous().T, x[:, :-1].contiguous(), x.flatten()):
        with pytest.raises(ValueError, match=r"samples are .*; allowed is contiguous torch\.float32, 20 numbers each"):
            stack.evaluate(samples, y)
    for labels in (y.int(), y[:-1], torch.stack([y, y], 1)[:, 0]):
        with pytest.raises(ValueError, match=r"labels are .*; allowed is contiguous torch\.int64, one a sample"):
            stack.evaluate(x, labels)
    for index in (torch.arange(9, dtype=torch.int32)[None], torch.zeros(0, 9, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"index is .*; allowed is torch\.int64, rows: 1, one a seed"):
            stack.train_batch(x, y, index)


TRAIN = """
import json, torch
from helpers.config import OPTIMIZERS, WITH_MOMENTUM, Run, SweepConfig
from helpers.sweep.stack import Stack
torch.set_num_threads(1)
config = SweepConfig.from_dict({"dataset": "mnist", "device": "cpu", "input_size": 20, "output_size": 10})
stack = Stack(config, [Run("he_normal", name, 3, 0, 0.05) for name in ("gelu", "gelu")])
assert stack.kernel
generator = torch.Generator().manual_seed(1)
x, y = torch.rand(90, 20, generator=generator), torch.randint(10, (90,), generator=generator)
for _ in range(20):
    stack.train_batch(x, y, torch.randperm(90, generator=generator)[None, :33])
taken = torch.backends.cpu.get_cpu_capability()
print(json.dumps([taken, *stack.evaluate(x, y)[0].tolist(), *stack.probe(x, y)["grad_norm"][0].tolist()]))
"""


def test_older_instructions_give_the_same_up_to_rounding(warm_python):
    """AVX2, and whatever the compiler takes without being asked (SSE2 on a PC): other vectors, other panels."""
    found = {}
    for torch_has in ("", "avx2", "default"):
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": torch_has}
        done = warm_python(TRAIN, env=environment, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        taken, *found[torch_has] = json.loads(done.stdout)
        assert taken == {"": taken, "avx2": "AVX2", "default": "DEFAULT"}[torch_has]
    for others in found.values():  # 20 steps of 2 * 4 products, each a sum of up to 128 roundings
        np.testing.assert_allclose(others, found[""], rtol=20 * 8 * 128 * 2**-24)


def test_torch_kept_to_older_instructions_takes_the_compiler_along(monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert compiled.instructions() == []
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert compiled.instructions() == ["-march=native", "-mno-avx512f"]
    monkeypatch.delenv("ATEN_CPU_CAPABILITY")
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "AVX2")
    assert compiled.instructions() == ["-march=native", "-mno-avx512f"]
    monkeypatch.delenv("MKL_ENABLE_INSTRUCTIONS")
    assert compiled.instructions() == ["-march=native"]
