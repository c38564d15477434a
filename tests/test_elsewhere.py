"""What is offered for a name of another library, and for one that is misspelt."""

import pytest
import torch

from helpers import activations, elsewhere, initializers
from helpers.checks import ConfigError, meant
from helpers.config import CHECKS, DEVICES, OPTIMIZERS, PRECISIONS, SweepConfig
from helpers.data import DATASETS

# (a key of CONFIG, what came): what is offered, None for nothing
OFFERS = {
    "activations": {
        "swish": "silu", "SiLU": "silu", "ReLU": "relu", "leakyrelu": "leaky_relu", "LeakyReLU": "leaky_relu",
        "logistic": "sigmoid", "identity": "linear", "Tanh": "tanh", "tahn": "tanh", "gleu": "gelu", "rellu": "relu",
        "hard_tanh": None, "Hardtanh": None, "relu6": None, "prelu": None, "celu": None, "logsigmoid": None,
        "softmax": None, "softsign": None, "mish": None, "tan": None, "nothing of the kind": None,
        "torch.nn.ReLU": "relu", "jax.nn.swish": "silu", "hyperbolic_tangent": "tanh", "cosine": None, "telu": None,
        "bent_identity": None, "logit": None,
    },
    "init_types": {
        "glorot_uniform": "xavier_uniform", "glorot_normal": "xavier_normal", "GlorotUniform": "xavier_uniform",
        "kaiming_normal": "he_normal", "kaiming_uniform_": "he_uniform", "HeNormal": "he_normal",
        "lecunnormal": "lecun_normal", "xavier_normal_": "xavier_normal", "kaimng_normal": "he_normal",
        "zeros": "zero", "truncated_normal": "trunc_normal", "orthogonl": "orthogonal", "pytorch": "torch_default",
        "xavier": "xavier_normal' or 'xavier_uniform", "he": "he_normal' or 'he_uniform",
        "identity": None, "ones": None, "sparse_normal": None, "dirac_": None,
        "torch.nn.init.xavier_uniform_": "xavier_uniform", "glorot_uniform_initializer": "xavier_uniform",
        "xavier_init": "xavier_normal' or 'xavier_uniform", "flax_default": "lecun_normal", "ReZero": None,
        "OnesInitializer": None,
    },
    "optimizer": {
        "SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "adm": "adam", "nag": "nesterov", "nadam": None, "radam": None,
        "rmsprop": None, "tf.keras.optimizers.Adam": "adam", "asgd": None, "SGDOptimizer": "sgd",
    },
    "dataset": {
        "fashionmnist": "fashion_mnist", "FashionMNIST": "fashion_mnist", "cifar-10": "cifar10", "CIFAR10": "cifar10",
        "minst": "mnist", "tiny-imagenet-200": "tiny_imagenet", "cifar100": None, "kmnist": None, "imagenet": None,
        "tfds/mnist": "mnist", "data/mine.npz": "arrays:<file.npz>", "notMNIST": None,
    },
    "precision": {"fp32": "float32", "bfloat16": "bf16", "half": "bf16", "double": "float64", "Float32": "float32"},
    "device": {"gpu": "cuda", "cuda:0": "cuda", "GPU": "cuda", "metal": "mps", "tpu": None},
}  # fmt: skip
KEYS = {
    "learning_rate": "lr", "learningRate": "lr", "LR": "lr", "epochs": "num_epochs", "width": "hidden_size",
    "depth": "layers_list", "num_layers": "layers_list", "inits": "init_types", "activation": "activations",
    "seed": "seeds", "optimiser": "optimizer", "wd": "weight_decay", "batchsize": "batch_size",
    "hiden_size": "hidden_size",
    "dtype": "precision", "gpu": "device", "dropout": None, "lr_scheduler": None, "early_stopping": None,
    "hidden_layer_sizes": "layers_list' or 'hidden_size", "nesterov": "optimizer", "betas": None, "beta1": None,
    "steps": None,
}  # fmt: skip


def offer(config):
    with pytest.raises(ConfigError) as error:
        SweepConfig.from_dict(config)
    text = str(error.value)
    assert "allowed" in text
    return text.partition("did you mean ")[2].partition("?")[0].strip("'") or None


@pytest.mark.parametrize(("key", "given"), [(key, given) for key, offers in OFFERS.items() for given in offers])
def test_the_right_value_is_offered_or_none(key, given):
    value = [given] if key in ("activations", "init_types") else given
    assert offer({key: value}) == OFFERS[key][given]


@pytest.mark.parametrize("given", [torch.nn.ReLU, torch.nn.ReLU(), torch.relu, torch.nn.functional.relu])
def test_what_stands_for_a_name_in_code_is_offered_its_name(given):
    assert offer({"activations": [given]}) == "relu"


@pytest.mark.parametrize(
    ("init", "given", "ours"),
    [
        ("normal", "stddev", "std"),
        ("he_normal", "scale", "factor"),
        ("variance_scaling", "gain", "scale"),
        ("trunc_normal", "loc", "mean"),
        ("xavier_normal", "scale", "gain"),
        ("he_normal", "nonlinearity", None),
    ],
)
def test_the_right_parameter_of_an_init_is_offered_or_none(init, given, ours):
    assert offer({"init_params": {init: {given: 1}}}) == ours


@pytest.mark.parametrize("given", KEYS)
def test_the_right_key_is_offered_or_none(given):
    assert offer({given: 1}) == KEYS[given]


def test_a_variant_names_its_row_as_the_table_does():
    assert offer({"init_params": {"mine": {"init": "kaiming_normal"}}}) == "he_normal"
    assert offer({"activation_params": {"mine": {"activation": "Affine"}}}) == "affine"


@pytest.mark.parametrize(
    ("table", "theirs"),
    [
        (activations.ACTIVATIONS, activations.ELSEWHERE),
        (initializers.INITIALIZERS, initializers.ELSEWHERE),
        (CHECKS, elsewhere.KEYS),
        ((*DATASETS, "folder:<path>", "arrays:<file.npz>"), elsewhere.DATASETS),
        (OPTIMIZERS, elsewhere.OPTIMIZERS),
        (PRECISIONS, elsewhere.PRECISIONS),
        (DEVICES, elsewhere.DEVICES),
    ],
    ids=["activations", "inits", "keys", "datasets", "optimizers", "precisions", "devices"],
)
def test_every_offer_is_a_name_of_the_table_and_none_is_called_otherwise(table, theirs):
    for name, ours in theirs.items():
        assert name not in table
        assert {ours} <= set(table) if isinstance(ours, str) else set(ours) <= set(table)


@pytest.mark.parametrize("name", [*activations.ACTIVATIONS, *initializers.INITIALIZERS, *CHECKS])
def test_every_name_is_known_again_in_other_writing(name):
    """As other libraries write them: CamelCase, UPPER_CASE, with - for _."""
    names = {**activations.ACTIVATIONS, **initializers.INITIALIZERS, **CHECKS}
    for other in (name.upper(), name.title().replace("_", ""), name.replace("_", "-"), f"{name}_"):
        assert meant(other, names) == f"; did you mean {name!r}?"
