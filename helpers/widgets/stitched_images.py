"""The image grid of two stitched autoencoders with sliders for the number of anchors and lambda."""

from html import escape

import ipywidgets as widgets
import numpy as np

from helpers.figures import png
from helpers.stitching import StitchError, evaluate_many, figures
from helpers.stitching_study.again import fitted_as
from helpers.stitching_study.settings import STITCH_DEFAULTS

SHOWN = 10  # images


def stitched_images(pool, held_out, settings=None):
    """A widget: what the stitched network gives, fitted anew as the sliders move.

    pool      a `Pair` of the images among which anchors are chosen
    held_out  a `Pair` of the images to show and to measure by
    settings  of a part of a study: its first map and sampling, its `map_settings`, and all its lambdas and numbers of
              anchors, but for those above the size of the pool

    What has one value has no slider. Where a map cannot be fitted, or the anchors do not fix it, a sentence says so.
    """
    settings, own = STITCH_DEFAULTS | (settings or {}), float(held_out.errors_2.mean())
    index, shape = one_of_each(held_out), held_out.cut_b.net.image_shape
    number = _slider("anchors", sorted(n for n in settings["anchors"] if n <= len(pool)) or [len(pool)])
    lam = _slider("lambda", sorted(settings["lams"], key=lambda lam: -1 if lam == "gcv" else lam))
    # a picture in a box is stretched to the box by default
    image = widgets.Image(format="png", layout=widgets.Layout(align_self="flex-start", max_width="100%"))
    note = widgets.HTML()
    image.add_class("stitched-images")
    note.add_class("stitched-images-note")

    def draw(change=None):
        kind, sampling = settings["maps"][0], settings["sampling"][0]
        try:
            map = fitted_as(settings, pool, kind, sampling, number.value, lam.value)
            error = evaluate_many(held_out, [map])[0]["mse_stitched"]
        except StitchError as problem:  # the picture of another map would stand beside the sliders
            image.layout.display, note.value = "none", f"<p>{escape(str(problem))}</p>"
            return
        lam.layout.display = "none" if map.lam is None else None  # a map that has no lambda
        how = "" if map.lam is None else f", lambda {map.lam:.3g}" + " by GCV" * (lam.value == "gcv")
        title = f"{kind}, {number.value} anchors{how}: mean squared error {error:.4f} a pixel, B's own {own:.4f}"
        drawn = figures.reconstructions(held_out, map, index)
        image.value = bytes(png(figures.images(*drawn.values(), shape, title, title=title)))
        image.layout.display, note.value = None, f"<p>{escape(map.note)}</p>" if map.note else ""

    for slider in (number, lam):
        slider.observe(draw, "value")
    draw()
    sliders = [slider for slider in (number, lam) if len(slider.options) > 1]
    return widgets.VBox([image, widgets.HBox(sliders), note])


def _slider(name, values):
    slider = widgets.SelectionSlider(options=values, description=name, layout=widgets.Layout(width="420px"))
    slider.continuous_update = False
    slider.add_class(f"stitched-images-{name}")
    return slider


def one_of_each(pair, most=SHOWN):
    """Places of images: the first of each class, or the first ones where there are no labels."""
    if pair.labels is None:
        return np.arange(min(most, len(pair)))
    return np.unique(pair.labels.cpu().numpy(), return_index=True)[1][:most]
