"""What all figures share: pictures on disk, scales, styles."""

import io
import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_rgb
from PIL import Image

from helpers import figures
from helpers.activations import ACTIVATIONS
from helpers.initializers import INITIALIZERS


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_picture_is_written_with_its_sentence_and_shown(tmp_path, monkeypatch):
    shown, before = [], plt.get_fignums()
    monkeypatch.setattr("IPython.display.display", lambda *parts: shown.extend(parts))
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    figures.show(figures.Picture("line", figure, "From 0 to 1 ≥ 0."), tmp_path)
    (file,) = (tmp_path / "figures").iterdir()
    with Image.open(file) as image:
        assert image.info["Description"] == "From 0 to 1 ≥ 0."
    assert shown[0].data == file.read_bytes()
    assert shown[1].data == "From 0 to 1 ≥ 0."
    assert plt.get_fignums() == before


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        return image.mode, np.asarray(image.convert("RGB")).astype(int)


def true_and_written(figure):
    """The pixels of a figure as matplotlib draws them, and mode and pixels of the picture that is written."""
    drawn = io.BytesIO()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # which moves things by a hair at each drawing
    figure.savefig(drawn, format="png", bbox_inches="tight", pad_inches=0.06)
    return pixels(drawn.getvalue())[1], *pixels(figures.png(figures.Picture("p", figure, "")))


def test_a_palette_keeps_every_colour_that_has_a_name_and_changes_no_other_to_the_eye():
    """Many lines with bands over a map: thousands of blended colours, among them a few pixels of each named one."""
    figure, (lines, maps) = figures.grid_of_subplots(2, 2)
    names = [*figures.INITS, "mine", "he_normal_7"]
    for i, name in enumerate(names):
        colour = figures.style_of(names, name)["color"]
        figures.line_with_band(lines, [0, 1, 2], [i, i + 1.5, i], [i - 2, i, i], [i, i + 4, i + 1], color=colour, lw=2)
    figure.colorbar(maps.imshow(np.linspace(0, 1, 400).reshape(20, 20), cmap="viridis"))
    true, mode, written = true_and_written(figure)
    assert (mode, written.shape) == ("P", true.shape)
    assert len(np.unique(true.reshape(-1, 3), axis=0)) > 1000
    for colour in {figures.style_of(names, name)["color"] for name in names}:
        there = (true == np.round(255 * np.array(to_rgb(colour)))).all(axis=-1)
        assert there.any()
        np.testing.assert_array_equal((written == true)[there], True)
        assert ((written == np.round(255 * np.array(to_rgb(colour)))).all(axis=-1) == there).mean() > 0.999
    assert np.sqrt(np.square(written - true).sum(axis=-1)).max() <= figures.OFF


def test_a_named_colour_of_one_pixel_among_thousands_of_others_is_kept():
    """Where nobody has named it, one near to it takes its place."""
    crowd = np.random.default_rng(0).integers(-30, 31, (100, 100, 3)) + np.array([120, 110, 130])
    crowd[50, 50] = named = (120, 110, 130)
    image = Image.fromarray(crowd.astype(np.uint8))
    kept, lost = (
        np.asarray(figures._few_colours(image, np.array(names).reshape(-1, 3)).convert("RGB"))[50, 50]
        for names in ([named], [])
    )
    np.testing.assert_array_equal(kept, named)
    assert (lost != named).any()


def test_where_a_palette_would_show_the_colours_stay_true():
    figure, axes = plt.subplots()
    axes.imshow(np.random.default_rng(0).random((200, 200, 3)), interpolation="none")
    true, mode, written = true_and_written(figure)
    assert mode == "RGB"
    np.testing.assert_array_equal(written, true)


def test_the_faces_of_a_surface_have_a_palette_beside_what_is_named():
    """Hundreds of colours, given face by face; all of them cannot be kept, and that of the line is."""
    figure, axes = plt.subplots(subplot_kw={"projection": "3d"})
    rows, columns = np.mgrid[:21, :21]
    colours = plt.cm.viridis(np.linspace(0, 1, 441)).reshape(21, 21, 4)
    axes.plot_surface(rows, columns, rows * columns, facecolors=colours, shade=False)
    axes.plot([0, 20], [0, 20], [400, 0], color=figures.COLOURS[1], lw=3)
    true, mode, written = true_and_written(figure)
    assert mode == "P"
    there = (true == np.round(255 * np.array(to_rgb(figures.COLOURS[1])))).all(axis=-1)
    assert there.sum() > 20
    np.testing.assert_array_equal(written[there], true[there])
    assert np.sqrt(np.square(written - true).sum(axis=-1)).max() <= figures.OFF


def test_few_colours_are_kept_exactly():
    figure, axes = plt.subplots()
    axes.imshow(np.arange(100).reshape(10, 10), interpolation="none")
    axes.set_axis_off()
    true, mode, written = true_and_written(figure)
    assert mode == "P"
    np.testing.assert_array_equal(written, true)


def test_every_init_and_activation_has_a_place_in_the_table():
    assert set(INITIALIZERS) <= set(figures.INITS)
    assert set(ACTIVATIONS) <= set(figures.ACTIVATIONS)


def looks(names):
    return {name: tuple(figures.style_of(names, name).values()) for name in names}


@pytest.mark.parametrize("table", [figures.INITS, figures.ACTIVATIONS])
def test_a_name_has_one_colour_and_marker_in_every_config(table):
    whole = looks(table)
    assert len(set(whole.values())) == len(table)
    for some in itertools.combinations(table, 2):
        assert looks(some) == {name: whole[name] for name in some}
        assert looks(some[::-1]) == looks(some)


def test_names_that_no_table_has_keep_their_looks_in_any_order_and_never_look_alike():
    mine = [f"own_{letter}" for letter in "abcdefghijklmnop"]
    together = looks([*mine, *figures.INITS])
    assert len(set(together.values())) == len(together)
    assert looks([*figures.INITS, *mine[::-1]]) == together
    assert len({figures.style_of(mine[:10], name)["color"] for name in mine[:10]}) == 10
    alone = figures.style_of(["mine"], "mine")
    assert figures.style_of(["mine", *figures.INITS[6:7]], "mine") == alone
    assert len({tuple(figures.line_style_of(mine, name).values()) for name in mine}) == 16
    assert len({tuple(figures.style(i).values()) for i in range(144)}) == 144
    assert len({tuple(figures.line_style(i).values()) for i in range(36)}) == 36


def test_names_that_differ_in_a_number_are_steps_from_dark_to_light():
    names = ["he_normal_10", "he_normal_0.5", "he_normal_2"]
    light = {name: sum(figures.style_of(names, name)["color"][:3]) for name in names}
    assert light["he_normal_0.5"] < light["he_normal_2"] < light["he_normal_10"]
    assert figures.style_of(["relu", *names], "relu") == figures.style_of(["relu"], "relu")


# Machado et al. 2009: what is seen without green and without red receptors, of linear red, green and blue
SIGHT = {
    "full": np.eye(3),
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]


def lab(colour, sight):
    """CIE 1976 L*a*b* of a colour as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.array(TO_XYZ) @ np.clip(np.array(SIGHT[sight]) @ linear, 0, 1) / (0.95047, 1, 1.08883)
    x, y, z = np.where(seen > 0.008856, np.cbrt(seen), 7.787 * seen + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_differ_to_every_eye(sight):
    """A distance of 2.3 is just seen; the yellow that was here before lay at 3 from the orange."""
    for a, b in itertools.combinations([*figures.COLOURS, "white"], 2):
        assert np.linalg.norm(lab(a, sight) - lab(b, sight)) > 15, (a, b)


def test_a_title_stands_over_the_middle_of_its_subplots():
    figure, axes = figures.grid_of_subplots(2, 2)
    axes[0].plot([0, 1], label="a long name in the legend beside it")
    figures.legend(figure, axes[0])
    figure.suptitle("title")
    figures.png(figures.Picture("p", figure, ""))
    (title,) = [text for text in figure.texts if text.get_text() == "title"]
    left, right = axes[0].get_position().x0, axes[1].get_position().x1
    assert title.get_position()[0] == pytest.approx((left + right) / 2, abs=1e-6)
    assert right < 0.9  # the legend takes the rest


def test_a_line_far_below_all_others_does_not_squeeze_them():
    _, axes = figures.grid_of_subplots(3, 3, sharey=True)
    for subplot, values in zip(axes, ([1.0, 10], [1e-2, 1], [1e-41, 1e-5]), strict=True):
        subplot.plot(values)
    figures.log_scale(axes)
    figures.leave_out_the_lowest(axes)
    assert 1e-3 < axes[0].get_ylim()[0] <= 1e-2
    assert [[text.get_text() for text in subplot.texts] for subplot in axes] == [[], [], ["down to 1e-41"]]


def test_lines_that_are_all_low_keep_their_axis():
    _, axes = figures.grid_of_subplots(2, 2, sharey=True)
    for subplot in axes:
        subplot.plot([1e-31, 1])
    figures.log_scale(axes)
    figures.leave_out_the_lowest(axes)
    assert axes[0].get_ylim()[0] < 1e-31
    assert [*axes[0].texts, *axes[1].texts] == []


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.45, 0.54, ["0.46", "0.48", "0.5", "0.52", "0.54"]),
        (0.07, 0.25, ["0.07", "0.1", "0.15", "0.2"]),
        (0.18, 4.5, ["0.2", "0.5", "1", "2"]),
        (9e-4, 11, ["0.001", "0.01", "0.1", "1", "10"]),
        (700, 9000, ["1,000", "2,000", "5,000"]),
        (2e-9, 9e-8, ["2e-09", "5e-09", "1e-08", "2e-08", "5e-08"]),
        (1.1e-5, 3.4e-5, ["1.5e-05", "2e-05", "3e-05"]),
        (5e3, 6e4, ["5e+03", "1e+04", "2e+04", "5e+04"]),
        (1e-30, 10, ["1e-28", "1e-24", "1e-20", "1e-16", "1e-12", "1e-08", "1e-04", "1e+00"]),
    ],
)
def test_a_logarithmic_axis_has_a_few_numbers_that_are_short(low, high, texts):
    """Powers of ten, and so many times one, stand here as Python writes them."""
    _, (axes,) = figures.grid_of_subplots(1, 1)
    axes.set(yscale="log", ylim=(low, high))
    figures.log_ticks(axes.yaxis, low, high)
    written = {value: text for value, text in zip(*shown(axes.yaxis), strict=True) if low <= value <= high}
    assert [as_python_writes(text) for text in written.values()] == texts


def as_python_writes(text):
    """ "2e-09" of a formula that says two times ten to the power -9; another text as it is."""
    power = re.fullmatch(r"\$\\mathdefault\{(?:([\d.]+) \\times )?10\^\{(-?\d+)\}\}\$", text)
    return f"{power[1] or 1}e{int(power[2]):+03d}" if power else text


def shown(axis):
    """The places of the numbers of an axis, and how they are written."""
    axis.figure.draw_without_rendering()
    return axis.get_majorticklocs(), [label.get_text() for label in axis.get_majorticklabels()]


def test_the_lowest_subplot_of_each_column_is_labelled():
    _, axes = figures.grid_of_subplots(5, 3, sharex=True, sharey=True)
    figures.label_outer(axes, "layer", "value")
    assert [subplot.get_xlabel() for subplot in axes] == ["", "", "layer", "layer", "layer"]
    assert [subplot.get_ylabel() for subplot in axes] == ["value", "", "", "value", ""]
    assert [subplot.xaxis.get_tick_params()["labelbottom"] for subplot in axes] == [False, False, True, True, True]


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
