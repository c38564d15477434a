"""The image grid of two stitched autoencoders with sliders for the number of anchors and lambda."""

import ipywidgets as widgets
import numpy as np

from helpers.figures import png
from helpers.stitching import choose, evaluate_many, figures, fit
from helpers.stitching.latents import StitchError

SHOWN = 10  # images


def stitched_images(pool, held_out, *, kind="affine", sampling="equally", anchors=(10, 20, 50, 100), lams=("gcv", 0)):
    """A widget: what the stitched network gives, fitted anew as the sliders move.

    pool      a `Pair` of the images among which anchors are chosen
    held_out  a `Pair` of the images to show and to measure by
    """
    index = one_of_each(held_out)
    shape = held_out.cut_b.net.image_shape

    def drawn(number, lam):
        known = {"latents": pool.source, "labels": pool.labels, "errors": pool.errors_2}
        chosen = choose(sampling, number, **{name: rows for name, rows in known.items() if rows is not None})
        map = fit(kind, pool[chosen].source, pool[chosen].target, lam=lam)
        error = evaluate_many(held_out, [map])[0]["mse_stitched"]
        title = f"{number} anchors, lambda {lam}: error {error:.4f} a pixel, B alone {held_out.errors_2.mean():.4f}"
        rows = figures.reconstructions(held_out, map, index)
        return bytes(png(figures.images(*rows.values(), shape, title, title=title)))

    def draw(change=None):
        try:
            image.value, problem.value = drawn(number.value, lam.value), ""
        except StitchError as error:
            problem.value = str(error)

    layout = widgets.Layout(width="420px")
    numbers = [n for n in anchors if n <= len(pool)]
    number = widgets.SelectionSlider(options=numbers, description="anchors", layout=layout)
    lam = widgets.SelectionSlider(options=list(lams), description="lambda", layout=layout)
    image, problem = widgets.Image(format="png"), widgets.Label()
    for slider in (number, lam):
        slider.continuous_update = False
        slider.observe(draw, "value")
    draw()
    return widgets.VBox([image, widgets.HBox([number, lam]), problem])


def one_of_each(pair, most=SHOWN):
    """Places of images: the first of each class, or the first ones where there are no labels."""
    if pair.labels is None:
        return np.arange(min(most, len(pair)))
    return np.unique(pair.labels.cpu().numpy(), return_index=True)[1][:most]
