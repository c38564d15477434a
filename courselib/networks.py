"""The MLP: L hidden layers of one width, and a linear output layer whose softmax gives the classes."""

import itertools

from courselib.activations import ACTIVATIONS
from courselib.initializers import INITIALIZERS
from courselib.layers import Dense, Elementwise
from courselib.losses import softmax_cross_entropy


class MLP:
    """Dense, phi, Dense, phi, ..., Dense.

    weights     L + 1 arrays (fan_out, fan_in), first hidden layer to output layer; they are copied
    activation  a name in ACTIVATIONS; of no effect where there is one weight, and so no hidden layer

    parameters  [W_0, b_0, W_1, b_1, ...]: an optimiser changes them in place
    gradients   the same of dL/dW_0 and so on, as the last `backward` left them
    """

    def __init__(self, weights, activation="linear"):
        *hidden, output = [Dense(weight.astype(float)) for weight in weights]
        phi = ACTIVATIONS[activation]
        self.layers = [layer for dense in hidden for layer in (dense, Elementwise(phi))] + [output]
        self.parameters = [p for layer in self.layers for p in layer.parameters]
        self.gradients = [g for layer in self.layers for g in layer.gradients]

    def forward(self, x):  # (n, D) -> (n, C)
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, gradient):
        """From dL/dlogits (n, C) down to the first layer; what lies below that is data and wants no gradient."""
        first, *above = self.layers
        for layer in reversed(above):
            gradient = layer.backward(gradient)
        first.backward(gradient, wants_dx=False)

    def loss(self, x, y):
        return softmax_cross_entropy(self.forward(x), y)[0]


def build_mlp(input_size, hidden_size, output_size, layers, activation, init, rng, **params):
    """A network at birth; `params` go to the init: build_mlp(784, 128, 10, 5, "relu", "he_normal", rng, factor=1.5)."""
    sizes = [input_size] + [hidden_size] * layers + [output_size]
    draw = INITIALIZERS[init]
    return MLP([draw((fan_out, fan_in), rng, **params) for fan_in, fan_out in itertools.pairwise(sizes)], activation)
