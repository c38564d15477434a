"""Cuts: the two halves are the network bit by bit, and a half is what a hook sees."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from helpers.checks import ConfigError
from helpers.data import DataError
from helpers.networks import (
    Cut,
    DeepMLP,
    GaussianMLP,
    conv_autoencoder,
    cut,
    drawn,
    layers_of,
    resnet14,
    resnet14_torchvision,
    small_convnet,
    vae,
    vgg11,
    vit,
)

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = {"image_shape": (1, 8, 8)}
MADE = {
    "mlp": lambda: drawn(DeepMLP(64, 7, 3, 3, "tanh")),
    "mlp that learns its activation": lambda: drawn(DeepMLP(64, 7, 3, 2, "learnable_spline")),
    "gaussian": lambda: drawn(GaussianMLP(64, 7, 2, "tanh")),
    "resnet14": lambda: resnet14("tanh", width=0.25, **SHAPE),
    "resnet14, one channel": lambda: resnet14("relu", width=1 / 16, **SHAPE),
    "resnet14_torchvision": lambda: resnet14_torchvision(width=1 / 16, **SHAPE),
    "vgg11": lambda: vgg11("gelu", width=1 / 16, batch_norm=True, dropout=0.5, **SHAPE),
    "small_convnet": lambda: small_convnet(**SHAPE),
    "vit": lambda: vit(dim=12, depth=2, heads=3, **SHAPE),
    "conv_autoencoder": lambda: conv_autoencoder(latent=5, base=2, **SHAPE),
    "vae": lambda: vae(latent=5, **SHAPE),
    "sequential": lambda: sequential(),
}
every_network = pytest.mark.parametrize("name", MADE)


def sequential():
    """With a module that stands there twice and computes in place, batch norm, and dropout."""
    phi, draw = nn.ReLU(inplace=True), torch.Generator().manual_seed(0)
    net = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 3, 3), phi, nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3), phi,
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 4),
    )  # fmt: skip
    for parameter in net.parameters():
        parameter.data.normal_(0, 0.3, generator=draw)
    return net


def rows(n=6, seed=0):
    return torch.rand(n, 64, generator=torch.Generator().manual_seed(seed))


def trained_a_little(net):
    """The network after a batch in training, so that batch norm has statistics of its own."""
    with torch.no_grad():
        net.train()(rows(20, seed=3))
    return net


@every_network
def test_the_halves_are_the_network_bit_by_bit_at_every_layer(name):
    net, x = trained_a_little(MADE[name]()), rows()
    expected = net.eval()(x).detach()
    assert layers_of(net)
    for layer in layers_of(net):
        found = cut(net, layer)
        z = found.encode(x)
        assert z.shape == (6, found.size)
        assert z.is_contiguous()
        assert not z.requires_grad
        assert torch.equal(found.decode(z), expected), layer
        kept = z.clone()
        found.decode(z)
        assert torch.equal(z, kept)  # also where what follows computes in place
        again = cut(net, layer)
        if name != "sequential":  # decodes before it has encoded, as the second network of a pair
            assert torch.equal(again.decode(z), expected), layer
            assert again.latent_shape == found.latent_shape


@every_network
def test_a_cut_leaves_the_network_as_it_was(name):
    net = trained_a_little(MADE[name]())
    mixed = [module for module in net.modules() if not list(module.children())][::2]
    for module in mixed:
        module.eval()
    modes, before = [module.training for module in net.modules()], copy.deepcopy(net.state_dict())
    assert len(set(modes)) == 2
    for layer in layers_of(net):
        found = cut(net, layer)
        found.decode_many(found.encode(rows())[None])
        with pytest.raises((DataError, RuntimeError)):
            found.encode(rows()[:, :63])
    assert [module.training for module in net.modules()] == modes
    assert all(map(torch.equal, net.state_dict().values(), before.values()))
    assert all(parameter.grad is None for parameter in net.parameters())


# (what `layers_of` gives, shapes of the latents) of images of 8 x 8
LAYERS = {
    "mlp": {"0": (7,), "1": (7,), "2": (7,)},
    "gaussian": {"0": (7,), "1": (7,)},
    "resnet14": {
        "stem": (4, 8, 8), "stage1": (4, 8, 8), "stage2": (8, 4, 4), "stage3": (16, 2, 2), "features": (16,)
    },
    "resnet14_torchvision": {
        "stem": (4, 2, 2), "stage1": (4, 2, 2), "stage2": (8, 1, 1), "stage3": (16, 1, 1), "stage4": (32, 1, 1),
        "features": (32,),
    },
    "vgg11": {
        "stage1": (4, 4, 4), "stage2": (8, 2, 2), "stage3": (16, 1, 1), "stage4": (32, 1, 1), "stage5": (32, 1, 1),
        "features": (32,),
    },
    "small_convnet": {"stage1": (8, 4, 4), "stage2": (8, 2, 2), "stage3": (16, 1, 1), "features": (16,)},
    "vit": {"tokens": (4, 12), "block0": (4, 12), "block1": (4, 12), "features": (12,)},
    "conv_autoencoder": {"latent": (5,)},
    "vae": {"latent": (5,)},
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_the_shapes_of_their_latents(name):
    net = MADE[name]()
    assert {layer: cut(net, layer).latent_shape for layer in layers_of(net)} == LAYERS[name]


HOOKED = {  # {layer: the module whose output it is}, and that whose input the head reads
    "resnet14": ({"stem": "phi", "stage1": "layer1", "stage2": "layer2", "stage3": "layer3"}, "fc"),
    "resnet14_torchvision": ({"stem": "maxpool", "stage1": "layer1", "stage4": "layer4"}, "fc"),
    "vgg11": ({"stage1": "features.3", "stage5": "features.28"}, "fc"),
    "small_convnet": ({"stage1": "phis.0", "stage3": "phis.2"}, "fc"),
    "vit": ({"block0": "blocks.0", "block1": "blocks.1"}, "fc"),
    "conv_autoencoder": ({"latent": "to_latent"}, None),
    "vae": ({"latent": "to_mean"}, None),
    "sequential": ({"1": "1", "3": "3", "7": "7"}, "8"),
}


@pytest.mark.parametrize("name", HOOKED)
def test_latents_are_what_a_hook_sees(name):
    net, seen = trained_a_little(MADE[name]()).eval(), {}
    outputs, head = HOOKED[name]
    for layer, module in outputs.items():
        net.get_submodule(module).register_forward_hook(
            lambda module, inputs, output, layer=layer: seen.setdefault(layer, output.detach().clone())
        )
    if head:
        last = layers_of(net)[-1]
        net.get_submodule(head).register_forward_hook(
            lambda module, inputs, output: seen.setdefault(last, inputs[0].detach().clone())
        )
    net(rows())
    for layer, a in seen.items():
        assert torch.equal(cut(net, layer).encode(rows()), a.flatten(1)), layer


def test_latents_of_a_deep_mlp_are_the_activations_of_its_layers():
    net = MADE["mlp"]()
    a = rows()
    for i, layer in enumerate(net.hidden):
        a = torch.tanh(a @ layer.weight.T + layer.bias).detach()
        torch.testing.assert_close(cut(net, i).encode(rows()), a)
        torch.testing.assert_close(cut(net, np.int64(i)).encode(rows()), a)


@pytest.mark.parametrize("name", ["mlp", "resnet14", "conv_autoencoder"])
def test_chunks_and_many_sets_of_latents_change_nothing(name):
    net, x = trained_a_little(MADE[name]()), rows(23)
    found = cut(net, layers_of(net)[-1])
    z, whole = found.encode(x), found.decode(found.encode(x))
    assert found.chunk == getattr(net, "chunk", 2048)
    found.chunk = 5
    torch.testing.assert_close(found.encode(x), z)
    torch.testing.assert_close(found.decode(z), whole)
    sets = torch.stack([z, 2 * z, -z])
    many = found.decode_many(sets)
    assert many.shape == (3, *whole.shape)
    for part, expected in zip(sets, many, strict=True):
        torch.testing.assert_close(found.decode(part), expected)
    assert found.encode(x[:0]).shape == (0, found.size)
    assert found.decode(z[:0]).shape == (0, *whole.shape[1:])
    assert found.decode_many(sets[:0]).shape == (0, 23, *whole.shape[1:])


def test_numbers_of_another_type_become_the_networks():
    found = cut(MADE["resnet14"](), "stage2")
    z = found.encode(rows())
    assert torch.equal(found.encode(rows().double()), z)
    assert torch.equal(found.encode(rows().numpy()), z)
    assert torch.equal(found.decode(z.double().numpy()), found.decode(z))
    assert cut(MADE["resnet14"]().double(), "stage2").encode(rows()).dtype == torch.float64


# ---- networks of one's own


class Own(nn.Module):
    """An autoencoder whose latents are images, with dropout."""

    def __init__(self):
        super().__init__()
        self.conv, self.back, self.dropout = nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 1, 3), nn.Dropout(0.5)

    def encode(self, x):
        return self.dropout(self.conv(x))

    def decode(self, z):
        return self.back(z)

    def forward(self, x):
        return self.decode(self.encode(x))


def test_a_module_with_encode_and_decode_and_two_functions():
    net, x = Own(), rows().view(-1, 1, 8, 8)
    for found in (cut(net, "latent"), Cut.of(net.encode, net.decode), Cut.of(nn.Sequential(net.conv), net.back)):
        z = found.encode(x)
        assert z.shape == (6, 72)
        assert found.latent_shape == (2, 6, 6)
        assert torch.equal(found.decode(z), net.eval()(x))
        net.train()
    with pytest.raises(DataError, match=r"latents of 72 numbers cannot be decoded .* encode an image first"):
        cut(net, "latent").decode(z)
    halves = Cut.of(lambda x: 2 * x, lambda z: z + 1)
    assert torch.equal(halves.decode(torch.ones(3, 2)), torch.full((3, 2), 2.0))  # flat latents need no example
    assert torch.equal(halves.encode(torch.ones(3, 2)), torch.full((3, 2), 2.0))


def test_a_network_with_a_forward_pass_of_its_own_is_not_taken_for_its_parent():
    class Doubled(DeepMLP):
        def forward(self, x):
            return 2 * super().forward(x)

    class Same(DeepMLP):
        pass

    assert layers_of(drawn(Same(64, 7, 3, 2, "tanh"))) == ["0", "1"]
    with pytest.raises(ConfigError, match=r"the type Doubled has no layers with names; .* Cut\.of"):
        layers_of(drawn(Doubled(64, 7, 3, 2, "tanh")))


# ---- what is not allowed


@pytest.mark.parametrize("layer", ["3", 3, -1, "stage1", None, True, 1.0, ["0"]])
def test_a_layer_that_does_not_exist_is_one_sentence(layer):
    with pytest.raises(ConfigError) as error:
        cut(MADE["mlp"](), layer)
    assert str(error.value) == f"layer {layer!r} is not in this DeepMLP (allowed: 0, 1, 2)"


def test_a_misspelt_layer_is_offered_and_other_networks_are_named():
    with pytest.raises(ConfigError, match="did you mean 'features'"):
        cut(MADE["vit"](), "feature")
    with pytest.raises(ConfigError, match="type Linear has no layers"):
        cut(nn.Linear(2, 2), "0")
    with pytest.raises(ConfigError, match="allowed: none"):
        cut(nn.Sequential(nn.Linear(2, 2)), "0")


def test_latents_and_images_that_do_not_fit_are_one_sentence():
    found = cut(MADE["resnet14"](), "stage2")
    for z in (torch.zeros(2, 127), torch.zeros(128), torch.zeros(2, 8, 4, 4)):
        with pytest.raises(DataError, match=r"allowed is \(n, 128\)"):
            found.decode(z)
    with pytest.raises(DataError, match=r"allowed is \(m, n, d\)"):
        found.decode_many(torch.zeros(2, 128))
    with pytest.raises(DataError, match=r"torch\.uint8; allowed are floating-point"):
        found.encode(torch.zeros(2, 64, dtype=torch.uint8))
    loose = cut(resnet14(channels=1, width=0.25), "stage2")
    with pytest.raises(DataError, match="build the network with its image_shape"):
        loose.decode(torch.zeros(2, 128))
    with pytest.raises(DataError, match="encode an image first"):
        _ = loose.size
    with pytest.raises(DataError, match=r"the network does not take images of the shape \(50,\): mat1 and mat2"):
        cut(nn.Sequential(nn.Linear(64, 3), nn.Tanh(), nn.Linear(3, 2)), "1").encode(torch.zeros(2, 50))
    with pytest.raises(DataError, match=r"gives for 2 latents has 1 rows; allowed is a tensor, a row for each"):
        Cut.of(lambda x: x, lambda z: z[1:]).decode(torch.zeros(2, 3))
    with pytest.raises(DataError, match=r"gives for 2 latents has the type tuple"):
        Cut.of(lambda x: x, lambda z: (z, z)).decode(torch.zeros(2, 3))
    with pytest.raises(ConfigError, match="decode is None; allowed is a function"):
        Cut.of(lambda x: x, None)
    with pytest.raises(ConfigError, match="chunk is 0; allowed is a whole number from 1 up"):
        Cut.of(lambda x: x, lambda z: z, chunk=0)
    with pytest.raises(DataError, match=r"the type tuple; allowed is one tensor"):
        Cut.of(lambda x: (x, x), lambda z: z).encode(torch.zeros(2, 3))
