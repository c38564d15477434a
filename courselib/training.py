"""Mini-batch training, and what is measured in it."""

import numpy as np

from courselib.data import batches
from courselib.losses import softmax_cross_entropy

# A network that explodes is told by its loss, which is then inf or nan, and not by warnings.
quietly = np.errstate(over="ignore", invalid="ignore")


@quietly
def evaluate(net, x, y, size=1000):
    """Mean loss and accuracy of a network as it is, in parts of `size` samples."""
    loss = correct = 0.0
    for part, labels in batches(x, y, size, np.arange(len(y))):
        logits = net.forward(part)
        loss += softmax_cross_entropy(logits, labels)[0] * len(labels)
        correct += (logits.argmax(1) == labels).sum()
    return loss / len(y), correct / len(y)


@quietly
def train_epoch(net, optimizer, x, y, batch_size, order):
    """One pass over the training set.

    order    the order of the samples, a permutation of range(len(y))
    returns  loss and accuracy averaged over the epoch, each batch as it was before its own step
    """
    loss = correct = 0.0
    for part, labels in batches(x, y, batch_size, order):
        logits = net.forward(part)
        batch_loss, gradient = softmax_cross_entropy(logits, labels)
        net.backward(gradient)
        optimizer.step(net.parameters, net.gradients)
        loss += batch_loss * len(labels)
        correct += (logits.argmax(1) == labels).sum()
    return loss / len(order), correct / len(order)


def train(net, optimizer, x_train, y_train, x_test, y_test, epochs, batch_size, rng):
    """Train for some epochs, each in an order of its own.

    returns  one dict an epoch: epoch, train_loss, train_acc, test_loss, test_acc; it ends early when the loss is no
             longer finite
    """
    history = []
    for epoch in range(1, epochs + 1):
        train_loss, train_acc = train_epoch(net, optimizer, x_train, y_train, batch_size, rng.permutation(len(y_train)))
        row = {"epoch": epoch, "train_loss": train_loss, "train_acc": train_acc}
        if not np.isfinite(train_loss):
            return [*history, row | {"test_loss": np.nan, "test_acc": np.nan}]
        test_loss, test_acc = evaluate(net, x_test, y_test)
        history.append(row | {"test_loss": test_loss, "test_acc": test_acc})
    return history
