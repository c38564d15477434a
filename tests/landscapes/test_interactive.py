"""The interactive surface as it is written: its data, its library, and names that cannot end one of its elements."""

import base64
import gzip
import json
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers.landscapes import interactive
from helpers.vendored import PLOTLY

STEPS = np.linspace(-1, 1, 5)
A, B = np.meshgrid(STEPS, STEPS, indexing="ij")
WILD = "</script><!--<script><img src=x onerror=alert(1)>&amp; \"'\u2028 $x$"


@pytest.fixture(autouse=True)
def close_figures():
    yield
    assert not plt.get_fignums()
    plt.close("all")


def surface(loss, **settings):
    return SimpleNamespace(loss=loss, accuracy=np.exp(-np.abs(loss)), steps=STEPS, settings=settings)


class Elements(HTMLParser):
    """The elements of a page in their order, [(tag, attributes, text)], as a browser's parser ends them."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append([tag, dict(attributes), ""])

    def handle_data(self, data):
        if self.found:
            self.found[-1][2] += data

    def of(self, name):
        return [each for each in self.found if name in (each[0], each[1].get("class"))]


def data_of(text):
    """What the script of a page reads; strict: NaN is no JSON."""
    ((_, _, content),) = Elements(text).of("loss-surfaces-data")
    return json.loads(content, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_data_has_every_point_and_says_which_are_not_finite():
    loss = 1 + A + B**2
    loss[0, 0], loss[4, 1], loss[2, 3] = np.nan, np.inf, -np.inf
    data = data_of(interactive.surface_html(surface(loss)))
    ((frame,),) = [network["checkpoints"] for network in data["networks"]]
    back = np.array(frame["loss"], float)  # None becomes NaN
    lost = ~np.isfinite(loss)
    assert np.isnan(back[lost]).all()
    np.testing.assert_allclose(back[~lost], loss[~lost], rtol=1e-5)
    np.testing.assert_allclose(np.array(frame["accuracy"], float)[~lost], np.exp(-loss[~lost]), rtol=1e-3)
    assert frame["steps"] == list(STEPS)
    assert "3 of 25 points have a loss that is not finite" in frame["words"]
    assert (data["lowest"], data["highest"]) == (loss[~lost].min(), loss[~lost].max())


def test_surfaces_of_networks_and_checkpoints_share_a_range():
    surfaces = {"relu": {"epoch 0": surface(1 + A**2), "epoch 9": surface(50 + A)}, "tanh": {"epoch 9": surface(3 + B)}}
    data = data_of(interactive.surface_html(surfaces, library=False))
    names = [(network["name"], [frame["name"] for frame in network["checkpoints"]]) for network in data["networks"]]
    assert names == [("relu", ["epoch 0", "epoch 9"]), ("tanh", ["epoch 9"])]
    assert (data["lowest"], data["highest"], data["logarithmic"]) == (1, 51, True)
    assert not data_of(interactive.surface_html(surfaces, "linear", library=False))["logarithmic"]


def test_several_surfaces_are_a_mean_with_its_deviation():
    several = [surface(1 + A**2 + k) for k in (0, 1, 5)]
    ((frame,),) = [n["checkpoints"] for n in interactive.plain_data({"epoch 0": several})["networks"]]
    np.testing.assert_allclose(frame["loss"], 3 + A**2, rtol=1e-5)
    np.testing.assert_allclose(frame["deviation"], np.full(A.shape, np.std([0, 1, 5], ddof=1)), rtol=1e-2)


@pytest.mark.parametrize("loss", [np.nan, 0.0, 1e300])
def test_a_surface_without_a_span_is_written(loss):
    data = data_of(interactive.surface_html(surface(np.full_like(A, loss)), library=False))
    assert all(np.isfinite([data["lowest"], data["highest"], data["smallest"]]))
    assert data["smallest"] > 0


def test_names_end_no_element_and_begin_none(tmp_path):
    plain = {"a": {"b": surface(1 + A, data="d")}}
    wild = {WILD: {WILD: surface(1 + A, data=WILD)}}
    path = interactive.save_html(tmp_path / "wild.html", wild, title=WILD)
    page = path.read_text(encoding="utf-8")
    expected = interactive.save_html(tmp_path / "plain.html", plain, title="t").read_text(encoding="utf-8")
    assert [each[0] for each in Elements(page).found] == [each[0] for each in Elements(expected).found]
    ((_, _, title),) = Elements(page).of("title")
    assert title.strip() == WILD
    (network,) = data_of(page)["networks"]
    assert network["name"] == network["checkpoints"][0]["name"] == WILD
    assert WILD in Elements(page).of("img")[0][1]["alt"]
    assert not set("<>&") & set(interactive.as_script({WILD: WILD}))  # a browser ends a script at "</script " too


def test_the_page_carries_its_library_once_and_needs_nothing_beside_it(tmp_path):
    surfaces = {f"epoch {e}": surface(1 + e + A) for e in range(3)}
    found = Elements(interactive.save_html(tmp_path / "page.html", surfaces).read_text(encoding="utf-8"))
    ((_, attributes, packed),) = found.of("loss-surfaces-library")
    assert gzip.decompress(base64.b64decode(packed)) == PLOTLY.path.read_bytes()
    assert attributes["data-version"] == data_of(interactive.surface_html(surfaces))["library"]
    assert not [
        each for each in found.found if each[1].get("href") or not each[1].get("src", "data:").startswith("data:")
    ]
    without = Elements(interactive.surface_html(surfaces, library=False))
    assert not without.of("loss-surfaces-library")
    assert without.of("img")[0][1]["src"].startswith("data:image/png;base64,")


def test_the_same_surfaces_are_the_same_bytes_and_a_notebook_gets_html():
    surfaces = {"epoch 0": surface(1 + A)}
    once = interactive.surface_html(surfaces)
    assert interactive.view(surfaces).data == once


def test_a_page_that_cannot_be_made_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        interactive.save_html(tmp_path / "page.html", {})
    assert not list(tmp_path.iterdir())
