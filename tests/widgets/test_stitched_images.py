"""The sliders under the image grid, set as a page sets them; the title of a picture is in its PNG."""

import io
import re
from types import SimpleNamespace

import pytest
from made_up_pairs import autoencoder, digits
from PIL import Image

from helpers.stitching import choose, evaluate_many, fit, pair_of
from helpers.widgets.stitched_images import stitched_images


class WithShape(SimpleNamespace):
    """Halves of a network that says its image's shape, as a Cut does."""

    net = SimpleNamespace(image_shape=(1, 8, 8))


@pytest.fixture(scope="module")
def pairs():
    """(pool of 300 images, the zeros and ones of 100 held out) of two autoencoders."""
    cuts = [WithShape(**halves._asdict(), decode_many=halves.decode_many) for halves in map(autoencoder, (0, 1))]
    x, y = digits()
    held_out = pair_of(*cuts, x[300:400], y[300:400])
    return pair_of(*cuts, x[:300], y[:300]), held_out[held_out.labels < 2]  # columns of the picture take the time


class Panel:
    """The widget, and what it shows."""

    def __init__(self, pairs, **settings):
        self.image, self.box, self.note = stitched_images(*pairs, settings).children
        self.sliders = {slider.description: slider for slider in self.box.children}

    @property
    def title(self):
        return Image.open(io.BytesIO(self.image.value)).text["Description"] if self.image.layout.display is None else ""


def test_the_numbers_are_those_of_a_map_fitted_by_hand(pairs):
    pool, held_out = pairs
    panel = Panel(pairs, anchors=[100, 20], lams=[0.1, "gcv"], maps=["kernel"], sampling=["random"])
    assert [slider.options for slider in panel.sliders.values()] == [(20, 100), ("gcv", 0.1)]
    for number, lam in ((20, "gcv"), (20, 0.1), (100, 0.1), (100, "gcv")):
        panel.sliders["anchors"].value, panel.sliders["lambda"].value = number, lam
        anchors = pool[choose("random", number, latents=pool.source)]
        map = fit("kernel", anchors.source, anchors.target, lam)
        error = evaluate_many(held_out, [map])[0]["mse_stitched"]
        assert panel.title.startswith(f"kernel, {number} anchors, lambda {map.lam:.3g}")
        assert f"squared error {error:.4f} a pixel" in panel.title
        assert ("by GCV" in panel.title) == (lam == "gcv")


def test_maps_have_the_settings_of_their_part(pairs):
    titles = [Panel(pairs, maps=["mlp"], map_settings={"mlp": {"steps": steps}}).title for steps in (1, 30)]
    errors = [float(re.search(r"squared error ([\d.]+)", title)[1]) for title in titles]
    assert errors[1] < errors[0]


def test_what_has_one_value_has_no_slider(pairs):
    panel = Panel(pairs, anchors=[20, 1000], lams=[0.1])
    assert panel.sliders == {}
    assert "20 anchors, lambda 0.1:" in panel.title
    assert "300 anchors" in Panel(pairs, anchors=[1000]).title  # all that there are


def test_a_map_without_lambda_has_no_slider_for_it(pairs):
    panel = Panel(pairs, maps=["orthogonal"], lams=["gcv", 0.0])
    assert "lambda" not in panel.title
    assert panel.sliders["lambda"].layout.display == "none"


def test_what_cannot_be_fitted_and_what_is_not_fixed_is_a_sentence(pairs):
    panel = Panel(pairs, anchors=[5, 20], lams=["gcv", 0.0])  # equally: one of each class
    assert "5 anchors are fewer than the 10 classes" in panel.note.value
    assert panel.title == ""
    panel.sliders["anchors"].value = 20
    assert panel.title
    assert panel.note.value == ""
    panel.sliders["lambda"].value = 0.0
    assert "singular: 20 anchors fix 19 of the 30 directions" in panel.note.value
