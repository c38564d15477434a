"""What all figures share: pictures on disk, scales, styles."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import LogNorm
from PIL import Image

from helpers import figures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_picture_is_written_with_its_sentence_in_few_colours_and_shown(tmp_path, monkeypatch):
    shown, before = [], plt.get_fignums()
    monkeypatch.setattr("IPython.display.display", lambda *parts: shown.extend(parts))
    figure, axes = plt.subplots()
    axes.imshow(np.random.default_rng(0).random((50, 50, 3)))
    figures.show(figures.Picture("noise", figure, "Noise ≥ 0."), tmp_path)
    (file,) = (tmp_path / "figures").iterdir()
    with Image.open(file) as image:
        assert image.info["Description"] == "Noise ≥ 0."
        assert len(image.getcolors()) <= 256
    assert shown[0].data == file.read_bytes()
    assert shown[1].data == "Noise ≥ 0."
    assert plt.get_fignums() == before


def test_styles_differ_up_to_the_length_of_both_lists():
    names = list(range(16))
    assert len({tuple(figures.style_of(names, name).values()) for name in names}) == 16
    assert len({tuple(figures.line_style(i).values()) for i in range(24)}) == 24


def test_a_scale_covers_all_arrays_and_leaves_out_what_is_not_finite():
    arrays = [np.array([[1e-3, np.nan]]), np.array([[0.0, 5.0]])]
    linear, logarithmic = (figures.colour_scale(arrays, flag) for flag in (False, True))
    assert (linear.vmin, linear.vmax) == (0, 5)
    assert isinstance(logarithmic, LogNorm)
    assert (logarithmic.vmin, logarithmic.vmax) == pytest.approx((1e-3, 5), rel=1e-3)
    assert figures.colour_scale([np.array([1e-30, 1.0])], True).vmin == pytest.approx(1e-12)


@pytest.mark.parametrize(("values", "scale"), [([0.0, 2.0], "log"), ([0.0, np.nan], "linear"), ([], "linear")])
def test_an_axis_is_logarithmic_only_where_something_can_be_drawn_on_it(values, scale):
    figure, axes = figures.grid_of_subplots(1, 1)
    axes[0].plot(values)
    figures.log_scale(axes)
    assert axes[0].get_yscale() == scale
    figure.canvas.draw()


def test_a_band_has_the_colour_of_its_line():
    _, (axes,) = figures.grid_of_subplots(1, 1)
    figures.line_with_band(axes, [0, 1], [1.0, 2.0], [0.5, 1.0], [1.5, 4.0], color=figures.COLOURS[3])
    (band,) = axes.collections
    assert plt.matplotlib.colors.to_hex(band.get_facecolor()[0]).upper() == figures.COLOURS[3]
    assert band.get_paths()[0].get_extents().bounds == (0, 0.5, 1, 3.5)


def test_a_long_name_stands_in_lines_and_a_short_one_as_it_is():
    assert figures.wrapped("xavier_uniform") == "xavier_uniform"
    name = "a_name_of_many_words_that_goes_on_and_on"
    assert figures.wrapped(name, 12) == "a_name_of_\nmany_words_\nthat_goes_\non_and_on"
    assert figures.wrapped("x" * 30, 12) == "\n".join(["x" * 12, "x" * 12, "x" * 6])


def test_a_figure_that_cannot_be_drawn_is_closed_as_well(tmp_path):
    figure, axes = plt.subplots()
    axes.set_title("$x_{$")
    with pytest.raises(ValueError, match="x_"):
        figures.save(figures.Picture("p", figure, "It cannot be drawn."), tmp_path)
    assert figure.number not in plt.get_fignums()
