import copy
from math import prod

import numpy as np
import pytest
import torch
from torch import nn

from helpers.landscapes import (
    DirectionError,
    check_direction,
    difference,
    filter_normalised_directions,
    loss_surface,
    rescaled,
)
from helpers.networks import DeepMLP
from helpers.networks.convnets import resnet14, vgg11


def mlp(activation="relu", seed=0):
    torch.manual_seed(seed)
    return DeepMLP(20, 12, 5, 3, activation)


def everything():
    """A network with every kind of parameter that is told apart."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1),
        nn.BatchNorm2d(8),
        nn.ConvTranspose2d(8, 6, 3, groups=2),
        nn.LayerNorm([6, 8, 8]),
        nn.PReLU(6),
        nn.Flatten(),
        nn.Linear(384, 4),
    )


def by_hand(name, tensor, net):
    """The filters of a weight of `everything()`, one a row, by loops."""
    if name != "2.weight":
        return [tensor[k].flatten() for k in range(len(tensor))]
    rows, inputs, outputs = [], 4, 3  # a group's
    for group in range(2):
        for out in range(outputs):
            rows.append(torch.cat([tensor[group * inputs + i, out].flatten() for i in range(inputs)]))
    return rows


WEIGHTS = ("0.weight", "2.weight", "6.weight")


def test_every_filter_is_as_long_as_the_networks_and_nothing_else_moves():
    net = everything()
    for pair in filter_normalised_directions(net, 3, pairs=2):
        for direction in pair:
            assert list(direction) == [name for name, _ in net.named_parameters()]
            for name, parameter in net.named_parameters():
                if name not in WEIGHTS:
                    assert not direction[name].any(), name
                    continue
                for d, w in zip(by_hand(name, direction[name], net), by_hand(name, parameter, net), strict=True):
                    assert d.norm().item() == pytest.approx(w.norm().item(), rel=1e-6)


def test_directions_are_gaussian_and_independent():
    """Of a wide layer of ones every filter is d sqrt(n) / ||d||, n numbers: nearly d itself."""
    net = nn.Linear(4000, 30, bias=False).double()
    nn.init.ones_(net.weight)
    drawn = [v["weight"] for pair in filter_normalised_directions(net, 0, pairs=2) for v in pair]
    count = net.weight.numel()
    for d in drawn:
        assert abs(d.mean()) < 4 / count**0.5
        kurtosis = (d**4).mean() / (d**2).mean() ** 2
        assert abs(kurtosis - 3) < 4 * (24 / count) ** 0.5  # 1.8 for the uniform draw of other tools
    for i in range(4):
        for j in range(i):
            assert abs((drawn[i] * drawn[j]).mean()) < 4 / count**0.5


def test_networks_of_one_architecture_share_their_draws_and_torchs_generator_is_left_alone():
    one, other = mlp(seed=0), mlp("tanh", seed=1)
    state = torch.get_rng_state()
    a, b = (filter_normalised_directions(net, 7)[0][0] for net in (one, other))
    assert torch.equal(state, torch.get_rng_state())
    for name in a:
        if name.endswith("weight"):
            assert torch.allclose(nn.functional.normalize(a[name]), nn.functional.normalize(b[name]), atol=1e-6)
    assert not torch.allclose(filter_normalised_directions(one, 8)[0][0]["output.weight"], a["output.weight"])
    again = filter_normalised_directions(one, 7, pairs=3)[0][0]
    assert all(torch.equal(again[name], a[name]) for name in a)


def test_float64_stays_float64_and_frozen_parameters_move():
    net = mlp().double()
    net.output.weight.requires_grad_(False)
    ((v, _),) = filter_normalised_directions(net, 0)
    assert {d.dtype for d in v.values()} == {torch.float64}
    assert v["output.weight"].any()
    single = filter_normalised_directions(mlp(), 0)[0][0]
    assert torch.allclose(single["output.weight"].double(), v["output.weight"], rtol=1e-6)


@pytest.mark.parametrize("normalise", ["layer", "none"])
def test_other_normalisations(normalise):
    net = mlp()
    ((v, _),) = filter_normalised_directions(net, 0, normalise=normalise)
    for name, w in net.named_parameters():
        if name.endswith("weight"):
            expected = w.norm().item() if normalise == "layer" else prod(w.shape) ** 0.5
            margin = 1e-6 if normalise == "layer" else 4 / (2 * prod(w.shape)) ** 0.5  # of the root of a chi square
            assert v[name].norm().item() == pytest.approx(expected, rel=margin)


def test_others_move_when_asked():
    net = everything()
    for how in ("layer", "filter"):
        ((v, _),) = filter_normalised_directions(net, 0, others=how)
        for name, w in net.named_parameters():
            if name in WEIGHTS:
                continue
            assert v[name].norm().item() == pytest.approx(w.norm().item(), rel=1e-5), name
            if how == "filter" and w.dim() == 1:
                assert torch.allclose(v[name].abs(), w.abs())


@pytest.mark.parametrize(
    "net", [mlp(), everything(), resnet14(image_shape=(1, 8, 8), width=0.25)], ids=["mlp", "all", "res"]
)
def test_orthogonal_pairs_are_so_in_every_filter_and_as_long(net):
    ((v, w),) = filter_normalised_directions(net, 0, orthogonal=True)
    plain = filter_normalised_directions(net, 0)[0]
    total = sum((v[name].double() * w[name].double()).sum() for name in v)
    assert abs(total) < 1e-6 * sum(v[name].double().square().sum() for name in v)
    for name in v:
        assert torch.equal(v[name], plain[0][name])
        assert w[name].norm().item() == pytest.approx(plain[1][name].norm().item(), rel=1e-6)


def test_layers_and_filters_by_name():
    net = mlp()
    ((v, _),) = filter_normalised_directions(net, 0, layers=["hidden.1"])
    whole = filter_normalised_directions(net, 0)[0][0]
    assert [name for name in v if v[name].any()] == ["hidden.1.weight"]
    assert torch.equal(v["hidden.1.weight"], whole["hidden.1.weight"])
    ((v, _),) = filter_normalised_directions(net, 0, layers="hidden.1.weight", filters=[2, 5])
    assert v["hidden.1.weight"].any(1).nonzero().flatten().tolist() == [2, 5]
    assert torch.equal(v["hidden.1.weight"][2], whole["hidden.1.weight"][2])
    ((v, _),) = filter_normalised_directions(everything(), 0, layers="2", filters=[4])
    rows = by_hand("2.weight", v["2.weight"], None)
    assert [bool(row.any()) for row in rows] == [False] * 4 + [True, False]


def test_tied_weights_move_once():
    net = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    net[1].weight = net[0].weight
    ((v, _),) = filter_normalised_directions(net, 0)
    assert list(v) == ["0.weight", "0.bias", "1.bias"]


def test_filters_of_norm_0_do_not_move_and_are_counted(capsys):
    net = mlp()
    with torch.no_grad():
        net.hidden[0].weight[3] = 0
    ((v, _),) = filter_normalised_directions(net, 0)
    assert not v["hidden.0.weight"][3].any()
    assert "1 of 41 filters have norm 0 and do not move" in capsys.readouterr().out
    with torch.no_grad():
        for layer in net.linear_layers:
            layer.weight.zero_()
    filter_normalised_directions(net, 0)
    assert "all 41 filters have norm 0, so the direction is 0 in all of them, and the surface is flat" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "has no weights but biases or gains, which do not move, so the surface is flat"),
        ({"others": "layer"}, ""),
    ],
)
def test_what_is_flat_is_named(capsys, given, said):
    ((v, _),) = filter_normalised_directions(nn.BatchNorm1d(3), 0, **given)
    printed = capsys.readouterr().out
    assert said in printed
    assert bool(printed) == (not any(d.any() for d in v.values()))


def test_weights_of_norm_0_beside_biases_that_move_are_not_called_flat(capsys):
    net = mlp()
    for layer in net.linear_layers:
        nn.init.zeros_(layer.weight)
    ((v, _),) = filter_normalised_directions(net, 0, others="layer")
    assert v["output.bias"].any()
    assert capsys.readouterr().out == "41 of 41 filters have norm 0 and do not move\n"


def test_tied_weights_are_known_by_each_of_their_names():
    net = nn.Sequential(nn.Linear(6, 6, bias=False), nn.ReLU(), nn.Linear(6, 6, bias=False), nn.Linear(6, 2))
    net[2].weight = net[0].weight
    for name in ("2", "2.weight", "0"):
        ((v, _),) = filter_normalised_directions(net, 0, layers=name)
        assert [name for name in v if v[name].any()] == ["0.weight"]


def test_of_weight_norm_the_weights_move_and_their_lengths_do_not():
    weight_norm = nn.utils.parametrizations.weight_norm
    net = nn.Sequential(weight_norm(nn.ConvTranspose2d(8, 6, 3, groups=2)), weight_norm(nn.Linear(6, 4)))
    for normed in (net, weight_norm(nn.Linear(6, 4))):
        ((v, _),) = filter_normalised_directions(normed, 0)
        assert {name.rpartition(".")[2] for name in v if v[name].any()} == {"original1"}
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Identity(), weight_norm(nn.ConvTranspose2d(8, 6, 3, groups=2)))
    name = "2.parametrizations.weight.original1"
    d, w = filter_normalised_directions(net, 0)[0][0][name], dict(net.named_parameters())[name].detach()
    for one, other in zip(by_hand("2.weight", d, net), by_hand("2.weight", w, net), strict=True):
        assert one.norm().item() == pytest.approx(other.norm().item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_lengths_of_the_older_weight_norm_do_not_move_either():
    for net in (nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 4))), nn.utils.weight_norm(nn.Linear(6, 4))):
        ((v, _),) = filter_normalised_directions(net, 0)
        assert {name.rpartition(".")[2] for name in v if v[name].any()} == {"weight_v"}


def test_whole_numbers_of_numpy_are_seeds_too():
    one, other = (filter_normalised_directions(mlp(), seed)[0][0] for seed in (3, np.int64(3)))
    assert all(torch.equal(one[name], other[name]) for name in one)


def integers():
    net = nn.Linear(3, 3)
    net.weight = nn.Parameter(torch.ones(3, 3, dtype=torch.int64), requires_grad=False)
    return net


def spoilt(f):
    return {name: f(v) for name, v in difference(mlp(), mlp()).items()}


def clipped():
    net = mlp()
    net.phi = nn.functional.relu6
    return net


def diverged():
    net = mlp()
    net.hidden[1].weight.data[0, 0] = torch.nan
    return net


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: filter_normalised_directions(nn.Flatten(), 0), "has no parameters"),
        (lambda: filter_normalised_directions(integers(), 0), "weight holds torch.int64"),
        (lambda: filter_normalised_directions(diverged(), 0), "hidden.1.weight holds numbers that are not finite"),
        (lambda: filter_normalised_directions(mlp(), 0, layers=["hiden.1"]), "did you mean 'hidden.1'?"),
        (lambda: filter_normalised_directions(mlp(), 0, layers=["conv"]), "it has hidden, hidden.0"),
        (lambda: filter_normalised_directions(mlp(), 0, layers=[]), "layers is empty"),
        (lambda: filter_normalised_directions(mlp(), 0, layers=5), "the network has no layer 5; it has hidden"),
        (lambda: filter_normalised_directions(everything(), 0, layers="5"), "no parameters in its layer '5'"),
        (lambda: filter_normalised_directions(everything(), 0, layers="1"), "no weight but 1.bias, 1.weight"),
        (lambda: filter_normalised_directions(mlp(), 0, layers="output", filters=1.5), "filters is [1.5]"),
        (lambda: filter_normalised_directions("resnet14", 0), "the network is 'str'; allowed is an nn.Module"),
        (lambda: filter_normalised_directions(mlp(), 0, filters=[1]), "filters came with 4 weights"),
        (
            lambda: filter_normalised_directions(mlp(), 0, layers="output", filters=[5]),
            "allowed are numbers from 0 to 4",
        ),
        (lambda: filter_normalised_directions(mlp(), 0.5), "seed is 0.5"),
        (lambda: filter_normalised_directions(mlp(), 0, pairs=0), "pairs is 0"),
        (lambda: filter_normalised_directions(mlp(), 0, normalise="max"), "normalise is 'max'"),
        (lambda: filter_normalised_directions(mlp(), 0, others="all"), "others is 'all'"),
        (lambda: check_direction(mlp(), difference(mlp(), mlp()) | {"more": torch.ones(1)}), "'more' is 1 in it"),
        (lambda: check_direction(everything(), difference(mlp(), mlp())), "is of another network"),
        (lambda: filter_normalised_directions(nn.Linear(3, 3, device="meta"), 0), "weight is on the meta device"),
        (lambda: check_direction(3, {}), "the network is 'int'"),
        (lambda: difference(3, mlp()), "the network is 'int'"),
        (lambda: difference(mlp(), 3), "the network is 'int'"),
        (lambda: check_direction(mlp(), spoilt(lambda v: v * torch.nan)), "not real and finite"),
        (lambda: check_direction(mlp(), spoilt(lambda v: v + 1j)), "not real and finite"),
        (lambda: check_direction(mlp(), [1, 2]), "a direction is a dict"),
        (lambda: rescaled(mlp("tanh"), 0, 2.0), "the activation does not scale"),
        (lambda: rescaled(clipped(), 0, 2.0), "the activation does not scale"),
        (lambda: rescaled(everything(), 0, 2.0), "allowed is a DeepMLP"),
        (lambda: rescaled(mlp(), 0, "2"), "factors is '2'"),
        (lambda: rescaled(mlp(), 3, 2.0), "layer is 3; allowed is 0 to 2"),
        (lambda: rescaled(mlp(), 0, -1.0), "a number that is not positive"),
        (lambda: rescaled(mlp(), 0, [1.0, 2.0]), "factors have the shape (2,)"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, said):
    with pytest.raises(DirectionError) as error:
        call()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


# ---- what filter normalisation does not see, and what it does


def surface_of(net, width=7):
    generator = torch.Generator().manual_seed(5)
    x, y = torch.rand(40, 20, generator=generator).double(), torch.randint(5, (40,), generator=generator)
    return loss_surface(net, x, y, filter_normalised_directions(net, 0), width=width).loss


def test_one_factor_for_a_layer_leaves_the_surface_the_same():
    """theta and direction are rescaled alike, but for biases, which do not move: here they are 0."""
    net = mlp().double()
    for layer in net.linear_layers:
        nn.init.zeros_(layer.bias)
    np.testing.assert_allclose(surface_of(rescaled(net, 1, 30.0)), surface_of(net), rtol=1e-11)


def test_one_factor_a_unit_is_the_same_function_with_another_surface():
    """The honest limit of filter normalisation."""
    net = mlp().double()
    factors = torch.logspace(-1, 1, 12)
    twin = rescaled(net, 1, factors)
    x = torch.rand(50, 20).double()
    assert torch.allclose(net(x), twin(x), rtol=1e-9)
    before = copy.deepcopy(net.state_dict())
    one, other = surface_of(net), surface_of(twin)
    assert one[3, 3] == pytest.approx(other[3, 3], rel=1e-9)
    assert abs(one - other).max() > 0.05 * np.ptp(one)
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)


def test_a_network_of_9_million_weights_has_directions_too():
    net = vgg11(image_shape=(1, 8, 8))
    ((v, _),) = filter_normalised_directions(net, 0)
    assert sum(d.count_nonzero() for d in v.values()) == sum(p.numel() for p in net.parameters() if p.dim() > 1)
