"""Alignment: planted permutations come back, functions stay, and the best assignment is that of trying all."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from helpers.activations.splines import SplineShape
from helpers.activations.table import ACTIVATIONS, Activation
from helpers.networks import DeepMLP, GaussianMLP, gaussian_nll
from helpers.paths import PathError, align, barrier, sort_biases
from helpers.paths.alignment import permuted

pytestmark = pytest.mark.usefixtures("one_thread")


def network(seed=0, inputs=4, width=12, outputs=3, layers=3, activation="relu", dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DeepMLP(inputs, width, outputs, layers, activation).to(dtype)


def learnable(per):
    row = ACTIVATIONS["tanh"]
    return Activation(row.f, row.df, learns=SplineShape("tanh", segments=4, per=per))


def drawn_permutations(net, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.permutation(len(layer.bias)) for layer in net.hidden]


def inputs_of(net, n=50):
    weight = net.hidden[0].weight
    return torch.randn(n, weight.shape[1], generator=torch.Generator().manual_seed(1), dtype=weight.dtype)


@torch.no_grad()
def noisy(net, share, seed=5):
    """Each parameter with noise of a share of its own spread."""
    generator = torch.Generator().manual_seed(seed)
    for p in net.parameters():
        p.add_(share * p.std() * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return net


def same_weights(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


SHAPES = [(1, 1, 4), (1, 2, 64), (4, 3, 12), (2, 8, 16), (16, 20, 8)]  # inputs, layers, width


@pytest.mark.parametrize(("inputs", "layers", "width"), SHAPES)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_planted_permutation_comes_back(inputs, layers, width, noise):
    a = network(inputs=inputs, layers=layers, width=width)
    planted = drawn_permutations(a)
    b = noisy(permuted(a, planted), noise)
    aligned, found = align(a, b, restarts=0 if noise == 0 else 3)  # an exact copy needs no luck
    for p, q in zip(planted, found, strict=True):
        np.testing.assert_array_equal(p[q], np.arange(width))
    assert noise or same_weights(aligned, a)
    x = inputs_of(a)
    torch.testing.assert_close(aligned(x), b(x), rtol=1e-12, atol=1e-12)


def distance(a, b):
    return sum(((p - q) ** 2).sum().item() for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_of_two_strangers_the_nearest_of_all_permutations_is_found():
    orders = [list(order) for order in itertools.permutations(range(4))]
    for seed in range(5):
        a, b = network(2 * seed, width=4, layers=2), network(2 * seed + 1, width=4, layers=2)
        with torch.no_grad():
            for layer in (*a.hidden, *b.hidden):
                layer.bias.mul_(4)  # so that they have a say
        (w0, c0, w1, c1, w2, _), (v0, d0, v1, d1, v2, _) = (
            [p.detach().numpy() for p in n.parameters()] for n in (a, b)
        )
        nearest = min(
            ((w0 - v0[p]) ** 2).sum() + ((c0 - d0[p]) ** 2).sum() + ((w1 - v1[q][:, p]) ** 2).sum()
            + ((c1 - d1[q]) ** 2).sum() + ((w2 - v2[:, q]) ** 2).sum()
            for p, q in itertools.product(orders, repeat=2)
        )  # fmt: skip
        aligned, _ = align(a, b, restarts=30)
        outputs = ((a.output.bias - b.output.bias) ** 2).sum().item()
        assert distance(a, aligned) - outputs == pytest.approx(nearest)


def test_alignment_depends_on_its_seed_alone_and_leaves_both_networks_alone():
    a, b = network(0), network(1)
    before = [p.clone() for p in (*a.parameters(), *b.parameters())]
    one, two = align(a, b, seed=3), align(a, b, seed=3)
    assert same_weights(one[0], two[0])
    assert distance(a, one[0]) < distance(a, b)
    assert all(torch.equal(p, q) for p, q in zip(before, (*a.parameters(), *b.parameters()), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_type_stays(dtype):
    a = network(dtype=dtype)
    aligned, _ = align(a, permuted(a, drawn_permutations(a)))
    assert same_weights(aligned, a)
    assert aligned.output.weight.dtype == dtype


@pytest.mark.parametrize("per", ["unit", "layer"])
def test_learnable_splines_move_with_their_units(per):
    a = noisy(network(activation=learnable(per)), 0.2)
    b = permuted(a, drawn_permutations(a))
    x = inputs_of(a)
    torch.testing.assert_close(b(x), a(x), rtol=1e-12, atol=1e-12)
    assert same_weights(align(a, b)[0], a)
    torch.testing.assert_close(sort_biases(a)(x), a(x), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_units_that_differ_in_their_splines_alone_are_told_apart():
    a = noisy(network(layers=2, activation=learnable("unit")), 0.2)
    for layer in a.hidden:
        layer.weight.fill_(0.1)
        layer.bias.fill_(0.2)
    a.output.weight.fill_(0.3)
    assert same_weights(align(a, permuted(a, drawn_permutations(a)))[0], a)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "elu", "sin"])
def test_sorted_biases_ascend_and_the_function_stays(name):
    net = network(activation=name, layers=4)
    ordered = sort_biases(net)
    assert all((layer.bias.diff() > 0).all() for layer in ordered.hidden)
    assert not same_weights(ordered, net)
    x = inputs_of(net)
    torch.testing.assert_close(ordered(x), net(x), rtol=1e-12, atol=1e-12)
    shuffled = permuted(net, drawn_permutations(net))
    assert same_weights(sort_biases(shuffled), ordered)


class Wrapped(nn.Module):
    """A DeepMLP with a parameter of its own beside it."""

    def __init__(self, mlp):
        super().__init__()
        self.log_sd = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        self.mlp = mlp

    def forward(self, x):
        mean = self.mlp(x)
        return torch.cat([mean, self.log_sd.expand_as(mean)], -1)


def test_a_network_inside_another_is_aligned_where_it_is():
    a = Wrapped(network())
    b = permuted(a, drawn_permutations(a.mlp))
    aligned, _ = align(a, b)
    assert isinstance(aligned, Wrapped)
    assert same_weights(aligned, a)


def test_a_network_with_its_own_noise_is_aligned_and_has_a_barrier():
    a = GaussianMLP(4, 12, 2, "tanh").double()
    b = permuted(a, drawn_permutations(a))
    x = inputs_of(a)
    y = a(x)[:, :1].detach()
    assert barrier(a, a, b, x, y, loss=gaussian_nll).height > 1e-3
    aligned, _ = align(a, b)
    assert same_weights(aligned, a)
    assert barrier(a, a, aligned, x, y, loss=gaussian_nll).height == pytest.approx(0, abs=1e-12)
    assert same_weights(sort_biases(b), sort_biases(a))


# ---- barriers


def test_alignment_takes_the_barrier_away():
    a = network(inputs=4, width=24, outputs=3, layers=2)
    copied = [3 * p for p in a.parameters()]  # apart enough for classes
    a, x = copy_of(a, copied), inputs_of(a, 200)
    y = a(x).argmax(1)
    b = noisy(permuted(a, drawn_permutations(a)), 0.02)
    before, after = barrier(a, a, b, x, y), barrier(a, a, align(a, b)[0], x, y)
    assert before.height > 0.05
    assert 0 <= after.height < before.height / 50
    # the ends are the networks themselves
    ends = [nn.functional.cross_entropy(net(x), y).item() for net in (a, b)]
    np.testing.assert_allclose(before.loss[[0, -1]], ends, rtol=1e-12)
    middle = copy_of(a, [(p + q) / 2 for p, q in zip(a.parameters(), b.parameters(), strict=True)])
    assert before.t[12] == 0.5
    np.testing.assert_allclose(before.loss[12], nn.functional.cross_entropy(middle(x), y).item(), rtol=1e-12)
    by_hand = max(before.loss - ((1 - before.t) * before.loss[0] + before.t * before.loss[-1]))
    assert before.height == pytest.approx(by_hand)


@torch.no_grad()
def copy_of(net, parameters):
    other = permuted(net, [np.arange(len(layer.bias)) for layer in net.hidden])
    for p, new in zip(other.parameters(), parameters, strict=True):
        p.copy_(new)
    return other


def test_a_barrier_of_a_line_on_which_the_loss_is_known():
    """One weight w from -1 to 3, loss (w x - y)^2 at x = 1, y = 0: w^2, whose chord lies above it."""
    net = nn.Linear(1, 1, bias=False).double()
    ends = torch.tensor([[-1.0], [3.0]], dtype=torch.float64)
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    found = barrier(net, *ends, x, y, points=9)
    np.testing.assert_allclose(found.loss, (-1 + 4 * found.t) ** 2)
    assert found.height == 0

    def upside_down(outputs, y, reduction="mean"):
        return -nn.functional.mse_loss(outputs, y, reduction=reduction)

    assert barrier(net, *ends, x, y, points=9, loss=upside_down).height == pytest.approx(4)  # in the middle: 5 - 1
    assert barrier(net, ends[0], ends[0], x, y).height == 0


# ---- bad input


def test_what_cannot_be_aligned_is_refused_in_one_sentence():
    a = network()
    gated = network(activation=Activation(lambda z: z * torch.arange(z.shape[-1], dtype=z.dtype), torch.ones_like))
    broken = network()
    with torch.no_grad():
        broken.hidden[1].weight[0, 0] = torch.nan
    cases = {
        r"Sequential' with 0 DeepMLPs inside; allowed is": (nn.Sequential(nn.Linear(4, 3)),) * 2,
        r"'int' with 0 DeepMLPs": (3, a),
        r"hidden\.0\.weight has the shape": (a, network(width=8)),
        r"hidden\.3\.weight has the shape": (a, network(layers=4)),
        r"different activations": (a, network(activation="tanh")),
        r"not the same function for every unit": (gated, gated),
        r"net_b has weights that are not finite": (a, broken),
    }
    for sentence, nets in cases.items():
        with pytest.raises(PathError, match=rf"^[^\n]*{sentence}[^\n]*$"):
            align(*nets)
    with pytest.raises(PathError, match="0 DeepMLPs"):
        sort_biases(nn.Linear(2, 2))
    with pytest.raises(PathError, match="not finite"):
        sort_biases(broken)
    with pytest.raises(PathError, match=r"restarts is -1; allowed is a whole number from 0 up"):
        align(a, a, restarts=-1)
    with pytest.raises(PathError, match=r"permutations are .*; allowed is one for each hidden layer"):
        permuted(a, [np.zeros(12, int)] * 3)
    with pytest.raises(PathError, match=r"b has the shape \(3,\); allowed is"):
        barrier(a, a, [0.0] * 3, inputs_of(a), torch.zeros(50, dtype=torch.long))
    with pytest.raises(PathError, match=r"points is 1; allowed is a whole number from 3 up"):
        barrier(a, a, a, inputs_of(a), torch.zeros(50, dtype=torch.long), points=1)
