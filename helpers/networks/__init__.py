"""The networks, one at a time and readable."""

from helpers.networks.convnets import NETWORKS, SmallConvNet, resnet14, resnet14_torchvision, small_convnet, vgg11
from helpers.networks.gaussian import GaussianMLP, gaussian_nll
from helpers.networks.mlp import DeepMLP, build, check_inits, draw_parameters, drawn, probe

__all__ = [
    "NETWORKS", "DeepMLP", "GaussianMLP", "SmallConvNet", "build", "check_inits", "draw_parameters", "drawn",
    "gaussian_nll", "probe", "resnet14", "resnet14_torchvision", "small_convnet", "vgg11",
]  # fmt: skip
