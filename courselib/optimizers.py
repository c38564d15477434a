"""The optimisers: each turns gradients into a step, in place."""

import numpy as np


class SGD:
    """v <- momentum v + g;  w <- w - lr v.  Without momentum: w <- w - lr g."""

    def __init__(self, lr, momentum=0.0):
        self.lr, self.momentum = lr, momentum
        self.v = None

    def step(self, parameters, gradients):
        if self.momentum:
            gradients = self._remembered(gradients)
        for w, g in zip(parameters, gradients, strict=True):
            w -= self.lr * g

    def _remembered(self, gradients):
        self.v = self.v or [np.zeros_like(g) for g in gradients]
        for v, g in zip(self.v, gradients, strict=True):
            v *= self.momentum
            v += g
        return self.v


class Adam:
    """w <- w - lr m / (sqrt(v) + eps), with m and v running means of g and g^2 (Kingma & Ba 2015).

    Both start at 0 and would be too small at first, by the factor 1 - beta^t after t steps; that is divided out.
    """

    def __init__(self, lr, beta1=0.9, beta2=0.999, eps=1e-8):
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.m, self.v, self.t = None, None, 0

    def step(self, parameters, gradients):
        self.m = self.m or [np.zeros_like(g) for g in gradients]
        self.v = self.v or [np.zeros_like(g) for g in gradients]
        self.t += 1
        unbias_m, unbias_v = 1 - self.beta1**self.t, 1 - self.beta2**self.t
        for w, g, m, v in zip(parameters, gradients, self.m, self.v, strict=True):
            m += (1 - self.beta1) * (g - m)
            v += (1 - self.beta2) * (g * g - v)
            w -= self.lr * (m / unbias_m) / (np.sqrt(v / unbias_v) + self.eps)


OPTIMIZERS = {"sgd": SGD, "momentum": lambda lr: SGD(lr, momentum=0.9), "adam": Adam}
