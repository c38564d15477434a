"""The limit of filter-normalised pictures: networks that are one function, with another picture each."""

import numpy as np
import torch

from helpers import initializers, words
from helpers.figures import Picture
from helpers.landscapes import figures
from helpers.landscapes.directions import filter_normalised_directions, rescaled
from helpers.landscapes.surfaces import loss_surface
from helpers.networks import DeepMLP
from helpers.training import Recipe, Training, train
from helpers.usual_torch import usual_torch

AS_TRAINED, OF_A_LAYER, OF_A_UNIT = "as trained", "one factor for the layer", "a factor a unit"


@usual_torch()
def same_function(data, hidden_size=32, num_epochs=3, factor=10.0, seed=0):
    """{title: network} of a relu network of two hidden layers, trained, and twins that are the same function.

    One twin has all units of its first layer times `factor`, and what reads them over it; the other a factor a unit,
    log-uniform between 1 / factor and factor. In float64.
    """
    net = DeepMLP(data.input_size, hidden_size, data.classes, 2, "relu")
    net.set_weights(
        *initializers.draw_parameters("he_normal", {"factor": 2.0, "mode": "fan_in"}, 2, hidden_size, data.input_size,
                                      data.classes, seed)
    )  # fmt: skip
    train(Training(net.to(data.x_train.device), data, Recipe("adam", 1e-3, 64, num_epochs, seed=seed)))
    generator = initializers.generator_for("rescaled", seed)
    factors = factor ** (2 * torch.rand(hidden_size, generator=generator, dtype=torch.float64) - 1)
    net = net.double()
    return {AS_TRAINED: net, OF_A_LAYER: rescaled(net, 0, factor), OF_A_UNIT: rescaled(net, 0, factors)}


def pictures_of_one_function(nets, x, y, width=15, data=""):
    """Their surfaces side by side, on the same samples, with the same draws of directions and the same scale.

    data  the name of the data, for the title

    The sentence has the largest difference of their outputs, and by how much their surfaces differ.
    """
    x = x.to(next(nets[AS_TRAINED].parameters()))
    surfaces = {
        title: loss_surface(net, x, y, filter_normalised_directions(net, 0), width=width) for title, net in nets.items()
    }
    for surface in surfaces.values():
        surface.settings.update(data=data, images=len(y))
    with torch.no_grad():
        outputs = [net(x) for net in nets.values()]
    apart = max(float((other - outputs[0]).abs().max() / outputs[0].abs().max()) for other in outputs[1:])
    of_a_layer, of_a_unit = (
        words.number(_change(surfaces[AS_TRAINED], surfaces[title])) for title in (OF_A_LAYER, OF_A_UNIT)
    )
    picture = figures.maps(surfaces, name="one_function")
    return Picture(
        picture.name,
        picture.figure,
        f"Three networks whose outputs differ by {apart:.1e} of the largest: with one factor for the layer the loss of "
        f"a point changes by a factor of up to {of_a_layer}, with a factor a unit by up to {of_a_unit}.",
    )


def _change(surface, other):
    """The largest factor between the losses of two surfaces at one point."""
    ratio = np.log(np.asarray(other.loss) / np.asarray(surface.loss))
    return float(np.exp(np.abs(ratio[np.isfinite(ratio)]).max()))
