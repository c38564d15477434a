"""The vision transformer: against torch's encoder layer with the same weights, patches cut by hand, and counting."""

import pytest
import torch
from torch import nn

from helpers.activations import ACTIVATIONS, FAMILIES, row_of_family
from helpers.checks import ConfigError
from helpers.networks import vit
from helpers.training import Recipe, Training, train

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"dim": 12, "depth": 2, "heads": 3}


def shaken(net, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for value in net.double().state_dict().values():
        if value.dim() < 2:
            value.normal_(0.3, 0.5, generator=generator)
    return net.eval()


def images(n, shape, dtype=torch.float64):
    return torch.rand(n, *shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def torchs_block(block, phi):
    """nn.TransformerEncoderLayer with the weights of one of ours."""
    hidden, dim = block.linear1.weight.shape
    theirs = nn.TransformerEncoderLayer(
        dim, block.attention.heads, hidden, 0.0, phi, batch_first=True, norm_first=True, dtype=torch.float64
    )
    renamed = {
        name.replace("attention.in_proj.", "self_attn.in_proj_").replace("attention.out_proj", "self_attn.out_proj"): v
        for name, v in block.state_dict().items()
    }
    theirs.load_state_dict(renamed)
    return theirs


@pytest.mark.parametrize("activation", ["gelu", "tanh"])
@pytest.mark.parametrize(("shape", "patch"), [((1, 8, 8), 4), ((3, 4, 6), 2)])
def test_it_is_torchs_encoder_layers_between_patches_and_a_linear_layer(activation, shape, patch):
    net, x = shaken(vit(activation, classes=5, image_shape=shape, patch=patch, **SMALL)), images(3, shape)
    kernel = net.embed.weight.flatten(1)
    tokens = []
    for top in range(0, shape[1], patch):
        for left in range(0, shape[2], patch):
            pixels = x[:, :, top : top + patch, left : left + patch].flatten(1)
            tokens.append(pixels @ kernel.T + net.embed.bias + net.position[len(tokens)])
    a = torch.stack(tokens, 1)
    torch.testing.assert_close(net.tokens(x), a)
    for block in net.blocks:
        theirs = torchs_block(block, ACTIVATIONS[activation].f).train()  # not its fast path, which is another one
        torch.testing.assert_close(block(a), theirs(a))
        a = theirs(a)
    mean = a.mean(1)
    normed = (mean - mean.mean(1, keepdim=True)) / (mean.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    features = normed * net.norm.weight + net.norm.bias
    torch.testing.assert_close(net(x), features @ net.fc.weight.T + net.fc.bias)
    torch.testing.assert_close(net(x.permute(0, 2, 3, 1).flatten(1)), net(x))


def test_patches():
    sides = {(1, 28, 28): 7, (1, 8, 8): 4, (3, 32, 32): 4, (3, 64, 64): 4, (1, 5, 9): 1, (1, 12, 18): 6}
    assert {shape: vit(image_shape=shape, **SMALL).patch for shape in sides} == sides
    assert vit(**SMALL).image_shape == (1, 28, 28)
    assert vit(channels=3, **SMALL).image_shape == (3, 28, 28)


@pytest.mark.parametrize(("dim", "depth", "heads", "classes", "shape", "patch"), [
    (64, 4, 4, 10, (1, 28, 28), 7), (12, 1, 3, 2, (3, 4, 6), 2),
])  # fmt: skip
def test_it_has_as_many_parameters_as_the_formula_says(dim, depth, heads, classes, shape, patch):
    """12 d^2 + 13 d a block, and the patches, the places, the last norm and the linear layer."""
    tokens = shape[1] * shape[2] // patch**2
    around = dim * (shape[0] * patch**2 + 1) + tokens * dim + 2 * dim + (dim + 1) * classes
    net = vit(image_shape=shape, patch=patch, dim=dim, depth=depth, heads=heads, classes=classes)
    assert sum(p.numel() for p in net.parameters()) == around + depth * (12 * dim**2 + 13 * dim)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_the_table_trains(activation):
    net, x = vit(activation, image_shape=(1, 4, 4), patch=2, **SMALL), images(5, (1, 4, 4), torch.float32)
    nn.functional.cross_entropy(net(x), torch.arange(5)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_a_spline_has_its_units_at_the_end_of_a_token():
    unit = row_of_family("learnable_spline", {**FAMILIES["learnable_spline"].defaults, "per": "unit", "penalty": 0.2})
    net = shaken(vit(unit, image_shape=(1, 4, 4), patch=2, **SMALL))
    block, seen = net.blocks[0], []
    block.phi.spline.shape.data.normal_(0, 0.7, generator=torch.Generator().manual_seed(0))
    block.linear1.register_forward_hook(lambda module, inputs, z: seen.append(z))
    block.linear2.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    net(images(2, (1, 4, 4)))
    z, a = seen
    for token in range(4):
        assert torch.equal(block.phi.spline(z[:, token]), a[:, token])
    assert net.penalty() > 0
    assert vit(**SMALL).penalty() == 0


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(0)
    net = vit(seed=3, **SMALL)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    twin = vit("tanh", seed=3, **SMALL)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, net.state_dict().values(), twin.state_dict().values()))
    other = vit(seed=4, **SMALL)
    drawn = [(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True) if p.dim() > 1]
    assert not any(torch.equal(p, q) for p, q in drawn)
    assert len({tuple(p.flatten()[:9].tolist()) for p, _ in drawn}) == len(drawn)


def test_places_start_with_their_deviation():
    position = vit(patch=2).position
    assert abs(position.std().item() / 0.02 - 1) < 5 / (2 * position.numel()) ** 0.5


def test_it_trains_through_training(digits):
    _, loaded = digits(train_size=128, test_size=40, precision="float32")
    net = vit(image_shape=loaded.image_shape, patch=4, **SMALL)
    history = train(Training(net, loaded, Recipe("adam", 3e-3, 32, 2)))
    assert history[-1]["train_loss"] < history[0]["train_loss"]


WRONG = {
    "activation is 'tahn'": {"activation": "tahn"},
    "classes is 0": {"classes": 0},
    "patch is 5; allowed is a divisor of both sides of the image: 1, 2, 4, 7, 14, 28": {"patch": 5},
    "patch is 2.0": {"patch": 2.0},
    "dim is 64 and heads is 5; allowed is a dim that is a multiple of heads": {"heads": 5},
    "depth is 0": {"depth": 0},
    "image_shape is (8, 8)": {"image_shape": (8, 8)},
    "channels is 3, but image_shape has 1": {"channels": 3, "image_shape": (1, 8, 8)},
}


@pytest.mark.parametrize("sentence", WRONG)
def test_arguments_that_are_not_allowed_are_one_sentence(sentence):
    with pytest.raises(ConfigError) as error:
        vit(**WRONG[sentence])
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)
