"""Softmax regression, a network without a hidden layer: the floor that a deep network must beat to have gained anything
by its depth.
"""

import numpy as np

from courselib.networks import MLP
from courselib.optimizers import Adam
from courselib.training import train


def softmax_regression(x_train, y_train, x_test, y_test, classes, rng, epochs=20, lr=0.01, batch_size=128):
    """Train p = softmax(x W' + b); returns the network and its history.

    The loss is convex: there is one valley, so W starts at 0 and no init has to be chosen.
    """
    net = MLP([np.zeros((classes, x_train.shape[1]))])
    history = train(net, Adam(lr), x_train, y_train, x_test, y_test, epochs, batch_size, rng)
    return net, history
