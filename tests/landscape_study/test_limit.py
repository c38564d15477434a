"""Networks that are one function, and their pictures."""

import re

import matplotlib.pyplot as plt
import pytest
import torch

from helpers.landscape_study import limit


@pytest.mark.usefixtures("one_thread")
def test_one_factor_a_layer_leaves_the_picture_and_a_factor_a_unit_does_not(digits):
    _, data = digits(precision="float32", train_size=256)
    nets = limit.same_function(data, hidden_size=16, num_epochs=1)
    x = data.x_test[:50].double()
    outputs = [net(x) for net in nets.values()]
    assert all(torch.allclose(other, outputs[0], rtol=1e-9) for other in outputs)
    picture = limit.pictures_of_one_function(nets, data.x_train[:64], data.y_train[:64], width=5, data="digits")
    assert "digits, 64 images" in picture.figure.get_suptitle()
    changes = [float(change) for change in re.findall(r"up to (\d[\d.e+]*\d|\d)", picture.sentence)]
    assert changes[0] == 1
    assert changes[1] > 1.05
    plt.close(picture.figure)
