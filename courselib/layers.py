"""The two kinds of layer: an affine map, and a function applied to every number.

`forward` keeps what `backward` will need. `backward` is handed dL/d(output) and returns dL/d(input), the chain rule.
A batch is a matrix, one sample a row.
"""

import numpy as np


class Dense:
    """z = x W' + b.

    weight  (fan_out, fan_in)
    bias    (fan_out,), 0 at birth

    dL/dW = dz' x,  dL/db = sum of dz over the batch,  dL/dx = dz W
    """

    def __init__(self, weight):
        self.weight, self.bias = weight, np.zeros(len(weight))
        self.parameters = [self.weight, self.bias]
        self.gradients = [np.zeros_like(p) for p in self.parameters]  # written over in every step, never made anew

    def forward(self, x):  # (n, fan_in) -> (n, fan_out)
        self.x = x
        z = x @ self.weight.T
        z += self.bias
        return z

    def backward(self, dz, wants_dx=True):  # (n, fan_out) -> (n, fan_in)
        np.matmul(dz.T, self.x, out=self.gradients[0])
        np.sum(dz, axis=0, out=self.gradients[1])
        return dz @ self.weight if wants_dx else None


class Elementwise:
    """a = phi(z), with phi a row of ACTIVATIONS; it has nothing to learn.

    dL/dz = dL/da phi'(z)
    """

    parameters = gradients = ()

    def __init__(self, phi):
        self.phi = phi

    def forward(self, z):
        self.z, self.a = z, self.phi.f(z)
        return self.a

    def backward(self, da):
        dz = self.phi.df(self.z, self.a)
        dz *= da
        return dz
