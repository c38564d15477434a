"""The loss of a classifier: softmax, then cross-entropy."""

import numpy as np


def log_softmax(logits):
    """log(exp(s_c) / sum_k exp(s_k)), (n, C) -> (n, C); the largest score is taken off first, so no exp overflows."""
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def softmax_cross_entropy(logits, y):
    """L = -mean_i log p_i[y_i] with p = softmax(logits), and its gradient.

    logits   (n, C)
    y        (n,) classes from 0 to C - 1
    returns  L, and dL/dlogits = (p - onehot(y)) / n, (n, C)
    """
    log_p = log_softmax(logits)
    right = np.arange(len(y)), y
    gradient = np.exp(log_p)
    gradient[right] -= 1
    gradient /= len(y)
    return -log_p[right].mean(), gradient
