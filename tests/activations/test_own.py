import math
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers import theory
from helpers.activations import ACTIVATIONS, name_of, phi_of, register_activation
from helpers.checks import ConfigError
from helpers.config import Run, SweepConfig
from helpers.quadrature import expectation
from helpers.sweep.origin import own_activations
from helpers.sweep.stack import Stack

Z = torch.linspace(-4, 4, 160, dtype=torch.float64)


@pytest.fixture(autouse=True)
def own_names():
    """Takes what a test registers out of the table again."""
    before = dict(ACTIVATIONS)
    yield
    ACTIVATIONS.clear()
    ACTIVATIONS.update(before)


def softsign(z):
    return z / (1 + z.abs())


def softsign_slope(z):
    return 1 / (1 + z.abs()) ** 2


def tanh_by_numpy(z):
    return torch.from_numpy(np.tanh(z.numpy()))


def tanh_slope(z):
    return 1 - torch.tanh(z) ** 2


# ---- what is taken


@pytest.mark.parametrize(
    ("f", "df"), [(softsign, None), (softsign, softsign_slope), (tanh_by_numpy, tanh_slope)], ids=["f", "df", "numpy"]
)
def test_own_function_trains_as_a_lone_network_does(digits, f, df):
    register_activation("own", f, df)
    config, data = digits(activations=["own"])
    stack = Stack(config, [Run("he_normal", "own", layers, 0, 0.05) for layers in (3, 1)])
    nets = [stack.network(r) for r in range(2)]
    index = torch.arange(32).view(1, -1)
    for _ in range(5):
        stack.train_batch(data.x_train, data.y_train, index)
    for r, net in enumerate(nets):
        optimizer = torch.optim.SGD(net.parameters(), 0.05)
        for _ in range(5):
            optimizer.zero_grad()
            functional.cross_entropy(net(data.x_train[:32]), data.y_train[:32]).backward()
            optimizer.step()
        for ours, theirs in zip(stack.network(r).parameters(), net.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-15)


def test_own_function_can_be_replaced():
    register_activation("mine", torch.sin)
    register_activation("mine", torch.cos)
    torch.testing.assert_close(ACTIVATIONS["mine"].f(Z), torch.cos(Z))
    torch.testing.assert_close(ACTIVATIONS["mine"].df(Z), -torch.sin(Z))


def test_a_family_follows_its_base_when_that_is_replaced():
    values = []
    for function in (torch.sin, torch.cos):
        register_activation("own", function)
        config = SweepConfig.from_dict({"activation_params": {"mine": {"activation": "affine", "base": "own"}}})
        values.append(config.activation("mine").f(Z))
    torch.testing.assert_close(values[0], 4 * (torch.sin(Z) - 0.5))
    torch.testing.assert_close(values[1], 4 * (torch.cos(Z) - 0.5))


@pytest.mark.parametrize("name", ["own", "variant"])
def test_a_sweep_that_was_made_before_keeps_the_function_that_it_was_made_with(name):
    """Or its later stacks would train another function than its first, under one name."""
    variant = {"variant": {"activation": "affine", "base": "own", "scale": 1.0, "shift": 0.0}}
    given = {"activations": [name], "activation_params": variant}
    register_activation("own", torch.sin)
    config = SweepConfig.from_dict(given)
    known = own_activations(config)
    register_activation("own", torch.cos)
    torch.testing.assert_close(config.activation(name).f(Z), torch.sin(Z))
    assert own_activations(config) == known
    assert own_activations(SweepConfig.from_dict(given)) != known


GOOD = {
    "tanh": (torch.tanh, ()),
    "relu6": (functional.relu6, (0, 6)),
    "a module": (nn.Hardtanh(), (-1, 1)),
    "hardswish": (functional.hardswish, (-3, 3)),
    "only the curvature jumps": (lambda z: torch.where(z > 0.3, (z - 0.3) ** 2, 0 * z) + z, (0.3,)),
    "at a third": (lambda z: torch.where(z > 1 / 3, z, 0.1 * z + 0.3), (1 / 3,)),
    "the value jumps": (functional.hardshrink, (-0.5, 0.5)),
    "a staircase": (torch.sign, (0,)),
    "abs": (torch.abs, (0,)),
    "grows": (torch.exp, ()),
    "cube": (lambda z: z**3, ()),
    "steep": (lambda z: torch.tanh(5 * z), ()),
    "itself": (lambda z: z, ()),
}


@pytest.mark.parametrize("case", GOOD)
def test_kinks_are_found(case, capsys):
    f, kinks = GOOD[case]
    register_activation("mine", f)
    assert ACTIVATIONS["mine"].kinks == pytest.approx(kinks, abs=1e-10)
    assert ("slope 0 everywhere" if case == "a staircase" else "") in capsys.readouterr().out


def test_kinks_that_are_told_are_taken():
    register_activation("mine", functional.relu6, kinks=(0, 6))
    assert ACTIVATIONS["mine"].kinks == (0.0, 6.0)


def test_theory_of_own_function_is_as_exact_as_with_its_kinks():
    """E[f^2] of a step at 0.3 in closed form: it is a normal probability."""
    register_activation("mine", lambda z: (z > 0.3).to(z.dtype) + 0 * z)
    row = ACTIVATIONS["mine"]
    found = expectation(lambda u: row.value(u) ** 2, 2.0, kinks=row.kinks)
    assert found == pytest.approx(0.5 * math.erfc(0.3 / 2.0), abs=1e-12)


@pytest.mark.parametrize("f", [torch.tanh, torch.exp, torch.sign, torch.floor, lambda z: z + 100])
def test_every_function_that_is_taken_has_a_forecast(f):
    """No warning, which is an error here, and a regime for each run; of tanh that of Plumbline's own."""
    register_activation("mine", f)
    sizes = {"input_size": 20, "hidden_size": 30, "output_size": 5, "layers_list": [12]}
    inits = {"init_types": ["he_normal", "torch_default", "zero"]}
    config = SweepConfig.from_dict({**sizes, **inits, "activations": ["mine", "tanh"]})
    found = theory.profiles(config, theory.InputMoments(1.0, 0.2))
    regimes = [theory.regime_of(profile) for profile in found.values()]
    assert len(regimes) == 6
    if f is torch.tanh:
        mine, own = ([p for run, p in found.items() if run.activation == name] for name in ("mine", "tanh"))
        for profile, other in zip(mine, own, strict=True):
            np.testing.assert_allclose(profile, other, rtol=1e-7, atol=1e-12)  # six nodes a panel
    assert theory.prescribe("mine", 5, 30, "digits", 100, 32).reason


def test_what_the_forecast_cannot_resolve_is_told(capsys):
    register_activation("mine", lambda z: torch.sin(30 * z))
    text = capsys.readouterr().out
    assert "mine" in text
    assert "forecast" in text
    assert text.count("\n") == 1


# ---- a function that is handed to theory


def hardtanh_by_numpy(u):
    return np.clip(u, -1, 1)


HANDED_IN = {
    "hardtanh": (functional.hardtanh, (-1, 1)),
    "hardtanh by NumPy": (hardtanh_by_numpy, (-1, 1)),
    "relu by NumPy": (lambda u: np.maximum(u, 0), (0,)),
    "the value jumps": (functional.hardshrink, (-0.5, 0.5)),
    "a staircase": (lambda z: torch.floor(z / 40), (-80, -40, 0, 40, 80)),
    "tanh": (torch.tanh, ()),
    "a module": (nn.ReLU6(), (0, 6)),
}


@pytest.mark.parametrize("case", HANDED_IN)
def test_kinks_of_a_function_that_is_handed_to_theory_are_found(case):
    f, kinks = HANDED_IN[case]
    assert phi_of(f).kinks == pytest.approx(kinks, abs=1e-8)


def test_kinks_may_be_handed_in_with_it():
    class WithKinks:
        kinks = (-1, 1)

        def __call__(self, z):
            return functional.hardtanh(z)

    assert phi_of(functional.hardtanh, kinks=(-1, 1)).kinks == (-1.0, 1.0)
    assert phi_of(functional.hardtanh, kinks=2).kinks == (2.0,)
    assert phi_of(WithKinks()).kinks == (-1.0, 1.0)
    for given, words in (
        ((functional.hardtanh, ("a",)), "kinks of hardtanh has 'a'"),
        (("relu", (1,)), "of a function"),
    ):
        with pytest.raises(ConfigError, match=words):
            phi_of(*given)


def test_a_function_without_a_hash_is_refused_in_a_sentence():
    class Compared:
        def __eq__(self, other):
            return True

        def __call__(self, z):
            return z

    with pytest.raises(ConfigError, match="Compared, which has no hash"):
        phi_of(Compared())


def test_slopes_by_differences_reach_over_no_kink():
    u = np.array([-2.0, -1.005, -1.0001, -0.9999, -0.995, 0.3, 0.9999, 1.0001])
    np.testing.assert_allclose(phi_of(hardtanh_by_numpy).slope(u), np.abs(u) < 1, atol=1e-11)
    bent = phi_of(lambda u: np.where(u > 0.3, np.sin(u), np.exp(u)))
    u = np.array([-1.0, 0.2, 0.2999, 0.3001, 0.31, 2.0])
    np.testing.assert_allclose(bent.slope(u), np.where(u > 0.3, np.cos(u), np.exp(u)), rtol=1e-9)


def test_messages_name_an_activation():
    register_activation("mine", torch.sin)
    rows = [
        "tanh",
        ACTIVATIONS["mine"],
        phi_of(hardtanh_by_numpy),
        phi_of(functional.mish),
        functional.mish,
        nn.ReLU6(),
    ]
    assert [name_of(row) for row in rows] == ["tanh", "mine", "hardtanh_by_numpy", "mish", "mish", "ReLU6"]


# ---- what is refused


class PassedThrough(torch.autograd.Function):
    """A sign with the slope 1, as some train binary networks."""

    @staticmethod
    def forward(ctx, z):
        return torch.sign(z)

    @staticmethod
    def backward(ctx, grad):
        return grad


@torch.no_grad()
def without_gradient(z):
    return torch.tanh(z)


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, z):
        self.calls += 1
        return z * self.calls


THREAD = threading.current_thread()
REFUSED = {
    # not elementwise
    "softmax": ((lambda z: torch.softmax(z, -1),), "not elementwise"),
    "softmax of the samples": ((lambda z: torch.softmax(z, 0),), "not elementwise"),
    "centred": ((lambda z: z - z.mean(),), "not elementwise"),
    "scaled by the largest": ((lambda z: z / z.detach().abs().max(),), "not elementwise"),
    "sorted": ((lambda z: z.sort(-1).values,), "not elementwise"),
    "summed up": ((lambda z: z.cumsum(-1),), "not elementwise"),
    "of its place": ((lambda z: z * torch.arange(1, 1 + z.shape[-1]).to(z.dtype),), "not elementwise"),
    "of the size": ((lambda z: z / z.shape[-1],), "not elementwise"),
    "a little of the mean": ((lambda z: z + 1e-4 * z.mean(),), "not elementwise"),
    "normalised": ((lambda z: functional.layer_norm(z, z.shape[-1:]),), "not elementwise"),
    "slope of all": ((torch.sin, lambda z: torch.cos(z) + z.mean()), "df of the activation 'mine' is not elementwise"),
    # not of the input alone
    "random": ((lambda z: z + torch.randn_like(z),), "random numbers"),
    "random by NumPy": ((lambda z: z * float(np.random.default_rng().random()),), "second call"),
    "rrelu": ((nn.RReLU(),), "random numbers"),
    "rrelu, evaluated": ((nn.RReLU().eval(),), "in training"),
    "dropout": ((nn.Dropout(0.1),), "random numbers"),
    "seeded": ((lambda z: (torch.manual_seed(0), z * torch.rand(()))[1],), "random numbers"),
    "counts": ((Counting(),), "second call"),
    "has a parameter": ((nn.PReLU(),), "parameters of its own"),
    "of the thread": ((lambda z: z * (1 + (threading.current_thread() is THREAD)),), "another thread"),
    "of the mode": ((lambda z: z * (1 + torch.is_grad_enabled()),), "where gradients are on"),
    "changes its input": ((torch.relu_,), "in place"),
    "changes its input, kindly": ((lambda z: functional.relu(z, inplace=True),), "in place"),
    # no number, no shape, no type
    "sums": ((torch.sum,), "()"),
    "widens": ((torch.Tensor.double,), "float64"),
    "a number": ((lambda z: 1.0,), "made float"),
    "None": ((lambda z: None,), "made NoneType"),
    "complex": ((lambda z: z + 1j,), "complex64"),
    "whole": ((lambda z: z.int(),), "int32"),
    "an array": ((lambda z: z.numpy(),), "made ndarray"),
    "slope sums": ((torch.sin, torch.sum), "df of"),
    "no function": ((3,), "is 3"),
    "raises": ((math.tanh,), "fails on a float32 tensor"),
    "asks": ((lambda z: z if z > 0 else 0.1 * z,), "fails on a float32 tensor"),
    "two arguments": ((lambda z, y: z,), "TypeError"),
    "wants contiguous": ((lambda z: z.view(-1).tanh().view(z.shape),), "fails on"),
    "wants samples": ((lambda z: z - 0 * z.max(),), "fails on a float64 tensor of shape (0, 15)"),
    "narrow": ((lambda z: torch.tanh(z.float()).to(z.dtype),), "narrower"),
    "constant": ((lambda z: torch.full_like(z, 3.0),), "is 3 for every input"),
    # not finite
    "pole at 0": ((lambda z: 1 / z,), "value inf at z = 0"),
    "pole between": ((lambda z: 1 / (z - 0.3123),), "grows without end near z = 0.3123"),
    "poles": ((torch.tan,), "grows without end near z = 1.57"),
    "log": ((torch.log,), "at z = 0"),
    "root": ((torch.sqrt,), "nan"),
    "slope at 0": ((lambda z: torch.sign(z) * z.abs().sqrt(),), "slope"),
    "slope between": ((lambda z: (z - 0.3123).abs() ** 0.5,), "0.3123"),
    "overflows": ((lambda z: torch.log(1 + torch.exp(z)),), "slope nan"),
    "overflows below": ((lambda z: 1 / (1 + torch.exp(-z)),), "slope nan"),
    # another slope
    "wrong slope": ((torch.sin, torch.sin), "by differences"),
    "twice the slope": ((torch.sin, lambda z: 2 * torch.cos(z)), "by differences"),
    "slope wrong far out": ((torch.sin, lambda z: torch.where(z > 5, 0 * z, torch.cos(z))), "by differences"),
    "step elsewhere": ((torch.relu, lambda z: (z > 0.5).to(z.dtype)), "by differences"),
    "detached": ((lambda z: torch.tanh(z.detach()),), "autograd does not follow"),
    "softmax of many": ((lambda z: torch.softmax(z, -1) if z.numel() > 10_000 else torch.tanh(z),), "among many"),
    "nan of the other branch": ((lambda z: torch.where(z > -0.5, torch.log1p(z), z),), "clamp its input"),
    "on another device": ((lambda z: z.to("meta"),), "on meta"),
    "partly detached": ((lambda z: z * torch.sigmoid(z).detach(),), "by differences"),
    "no gradient": ((without_gradient,), "autograd does not follow"),
    "NumPy": ((tanh_by_numpy,), "autograd cannot follow"),
    "NumPy's own": ((np.tanh,), "autograd cannot follow"),
    "passed through": ((PassedThrough.apply,), "by differences"),
    # kinks and names
    "kink of text": ((torch.relu, None, ("a",)), "kinks"),
    "kink at nan": ((torch.relu, None, (0, math.nan)), "kinks"),
}


@pytest.mark.filterwarnings("ignore:.*array_wrap:DeprecationWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_register_refuses(case):
    given, words = REFUSED[case]
    before, drawn = dict(ACTIVATIONS), torch.get_rng_state()
    with pytest.raises(ConfigError) as error:
        register_activation("mine", *given)
    assert "activation 'mine'" in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert before == ACTIVATIONS
    assert torch.equal(drawn, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *(("my own", "letters"), ("tanh", "another"), ("affine", "another"), (3, "3")),
        *(("a--b", "no --"), ("_x", "a letter"), ("x\n", "a letter")),
    ],
)
def test_register_refuses_a_name(name, words):
    with pytest.raises(ConfigError, match=words):
        register_activation(name, torch.sin)


@pytest.mark.parametrize(
    ("name", "first"),
    [("torch", "import torch first"), ("np", "import numpy as np first"), ("slop", "define slop first")],
)
def test_a_name_that_is_not_defined_is_said_in_a_sentence(name, first):
    """What the README shows, pasted where torch is not imported."""
    line = f'register_activation("mine", lambda z: z * {name}.tanh(z))'
    with pytest.raises(ConfigError) as error:
        exec(line, {"register_activation": register_activation})
    assert str(error.value) == (
        f"f of the activation 'mine' uses the name {name!r}, which is not defined where it was written; {first}"
    )


@pytest.mark.parametrize("f", [torch.sign, torch.floor, lambda z: (z > 0).to(z.dtype)], ids=["sign", "floor", "step"])
def test_a_slope_of_0_everywhere_is_printed(f, capsys):
    register_activation("flat", f)
    assert "slope 0 everywhere" in capsys.readouterr().out
    register_activation("flat", torch.relu)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "f", [lambda z: torch.softmax(z, -1), lambda u: u / (1 + np.abs(u).max())], ids=["torch", "NumPy"]
)
def test_theory_refuses_what_is_not_elementwise(f):
    with pytest.raises(ConfigError, match="not elementwise"):
        theory.chi1(f, 1.0, 1.0)
