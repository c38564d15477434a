"""The networks, one at a time and readable."""

from helpers.networks.convnets import NETWORKS, resnet14, resnet14_torchvision, vgg11
from helpers.networks.mlp import DeepMLP, build, check_inits, draw_parameters, probe

__all__ = [
    "NETWORKS", "DeepMLP", "build", "check_inits", "draw_parameters", "probe", "resnet14", "resnet14_torchvision",
    "vgg11",
]  # fmt: skip
