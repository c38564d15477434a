"""The networks, one at a time and readable."""

from helpers.networks.autoencoders import VAE, ConvAutoencoder, as_reconstruction, conv_autoencoder, vae
from helpers.networks.convnets import NETWORKS, SmallConvNet, resnet14, resnet14_torchvision, small_convnet, vgg11
from helpers.networks.cuts import Cut, cut, layers_of
from helpers.networks.gaussian import GaussianMLP, gaussian_nll
from helpers.networks.mlp import DeepMLP, build, check_inits, draw_parameters, drawn, probe
from helpers.networks.vit import ViT, vit

__all__ = [
    "NETWORKS", "VAE", "ConvAutoencoder", "Cut", "DeepMLP", "GaussianMLP", "SmallConvNet", "ViT", "as_reconstruction",
    "build", "check_inits", "conv_autoencoder", "cut", "draw_parameters", "drawn", "gaussian_nll", "layers_of", "probe",
    "resnet14", "resnet14_torchvision", "small_convnet", "vae", "vgg11", "vit",
]  # fmt: skip
