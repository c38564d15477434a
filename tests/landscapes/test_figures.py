"""The pictures of surfaces: what is drawn where, on which scale, and how what is not finite is shown."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import LogNorm, Normalize
from matplotlib.text import Annotation
from PIL import Image

from helpers.landscapes import figures

WIDTH = 7
STEPS = np.linspace(-1, 1, WIDTH)
A, B = np.meshgrid(STEPS, STEPS, indexing="ij")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def surface(loss, steps=STEPS, **settings):
    loss = np.zeros((WIDTH, WIDTH)) + loss
    return SimpleNamespace(loss=loss, accuracy=np.exp(-np.abs(loss)), steps=steps, settings=settings)


def meshes(picture):
    """The maps of a figure's panels as arrays, with their scales."""
    return [axes.collections[0] for axes in picture.figure.axes if axes.collections and axes.get_title()]


def drawn(picture):
    picture.figure.canvas.draw()
    return " ".join(text.get_text() for text in picture.figure.findobj(plt.Text))


# ---- what is drawn


def test_several_surfaces_are_drawn_as_their_mean_with_their_deviation():
    several = [surface(RNG.random((WIDTH, WIDTH))) for _ in range(4)]
    panels, _ = figures.panels_of({"x": several})
    values = np.stack([each.loss for each in several])
    np.testing.assert_allclose(panels["x"].values, values.sum(0) / 4)
    np.testing.assert_allclose(panels["x"].spread ** 2, ((values - values.mean(0)) ** 2).sum(0) / 3)
    assert "sd of 4" in drawn(figures.maps({"x": several}))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
def test_a_point_that_is_not_finite_in_one_of_several_is_drawn_as_such(bad, quantity):
    one = surface(np.ones((WIDTH, WIDTH)))
    one.loss[1, 5] = bad  # the accuracy there stays a number: of chance
    panels, _ = figures.panels_of([surface(1.0), one], quantity)
    assert np.argwhere(np.isnan(panels[""].values)).tolist() == [[1, 5]]


@pytest.mark.parametrize(
    ("surfaces", "message"),
    [
        ({}, "empty"),
        ({"x": []}, "x has no surface"),
        ({"x": [surface(1.0), surface(1.0, STEPS / 100)]}, "different steps"),
        ({"x": surface(1.0), "y": {"z": surface(1.0)}}, "mixes"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(surfaces, message):
    with pytest.raises(ValueError, match=message):
        figures.maps(surfaces)


@pytest.mark.parametrize("name", ["kind", "quantity", "scale"])
def test_an_unknown_name_says_what_is_allowed(name):
    with pytest.raises(ValueError, match=f"{name} is 'isolines'; allowed are"):
        figures.maps(surface(1.0), **{name: "isolines"})


def test_a_figure_does_not_say_dropout_twice():
    panels = [
        figures.Panel(title, None, None, None, {"dropout": dropout})
        for title, dropout in (("zoom", "off"), ("zoom, dropout on", "on"))
    ]
    figures._say_what_differs(panels)
    assert [panel.title for panel in panels] == ["zoom, dropout off", "zoom, dropout on"]


# ---- scales


def test_a_scale_is_logarithmic_where_the_loss_spans_much_unless_it_is_named():
    narrow, wide = np.array([1.0, 19]), np.array([0.0, 1, 21, np.inf])
    assert figures.scale_of([narrow]) == "linear"
    assert figures.scale_of([narrow[:1], wide]) == "log"
    assert figures.scale_of([wide], "linear") == "linear"
    assert figures.scale_of([wide], "log", "accuracy") == "linear"
    assert figures.scale_of([np.zeros(3)], "log") == "linear"  # nothing of it has a logarithm


@pytest.mark.parametrize("norm", [Normalize, LogNorm])
@pytest.mark.parametrize("decades", [1e-3, 0.1, 0.5, 1.2, 3, 5, 9, 12])
def test_levels_are_few_round_and_reach_past_both_ends(norm, decades):
    low = 0.0371
    levels = figures.levels_of(norm(low, low * 10**decades))
    assert levels[0] <= low
    assert levels[-1] >= low * 10**decades
    assert 4 <= len(levels) <= 18
    assert (np.diff(levels) > 0).all()
    if norm is LogNorm and decades > 1:
        assert all(float(f"{level:.1e}") == pytest.approx(level) for level in levels)
        inner = np.diff(np.log(levels))
        assert inner.max() < 2.5 * inner.min()  # even on the scale


def test_compared_maps_share_scale_levels_and_one_colour_bar():
    picture = figures.maps({"low": surface(1 + A**2), "high": surface(5 + B)}, kind="heat")
    low, high = meshes(picture)
    assert low.norm is high.norm
    assert (low.norm.vmin, low.norm.vmax) == (1, 6)
    assert len([axes for axes in picture.figure.axes if axes.get_ylabel() == "loss"]) == 1
    apart = figures.maps({"low": surface(1 + A**2), "high": surface(5 + B)}, kind="heat", shared=False)
    assert [(mesh.norm.vmin, mesh.norm.vmax) for mesh in meshes(apart)] == [(1, 2), (4, 6)]
    contours = figures.maps({"low": surface(1 + A**2), "high": surface(5 + B)})
    levels = [axes.collections[0].levels for axes in contours.figure.axes if axes.get_title()]
    np.testing.assert_array_equal(*levels)


# ---- maps


def test_rows_run_along_v1_which_is_the_vertical_axis():
    picture = figures.maps({"x": surface(A)}, kind="heat", labels={"x": ("one", "two")})
    axes = picture.figure.axes[0]
    mesh = axes.collections[0]
    lower_edges = mesh.get_coordinates()[:-1, :-1, 1]
    np.testing.assert_allclose(mesh.get_array().reshape(WIDTH, WIDTH), lower_edges + 1 / (WIDTH - 1), atol=1e-12)
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("one", "two")
    assert axes.get_aspect() == 1


def test_what_is_not_finite_is_hatched_counted_and_named():
    loss = 1 + A**2
    loss[:2, 3] = np.nan, np.inf
    picture = figures.maps({"x": surface(loss), "y": surface(1 + B**2)})
    text = drawn(picture)
    assert "loss not finite (2 of 98 points)" in text
    assert "2 of 98 points have a loss that is not finite" in picture.sentence
    assert picture.figure.axes[0].patch.get_hatch()
    assert "not finite" not in drawn(figures.maps(surface(1 + A**2)))
    pixels = np.asarray(picture.figure.canvas.buffer_rgba())[..., :3]
    orange = np.round(np.array(plt.matplotlib.colors.to_rgb(figures.DIVERGED["facecolor"])) * 255)
    assert (np.abs(pixels - orange).max(-1) <= 2).sum() > 50


def test_a_contour_ends_where_the_last_finite_cell_does():
    """Contours alone leave out every cell beside a point that is not finite; the map below them goes on to its edge."""
    loss = 1 + A**2
    loss[0, 0] = np.inf
    axes = figures.maps(surface(loss)).figure.axes[0]
    below = axes.collections[0].get_array()
    assert np.ma.count_masked(below) == 1
    assert axes.get_xlim()[0] == pytest.approx(-1 - 1 / (WIDTH - 1))


@pytest.mark.parametrize(("loss", "scale"), [(np.nan, None), (0.0, "log"), (1e300, "log"), (-2.0, "linear")])
def test_extreme_surfaces_are_drawn(loss, scale):
    mixed = np.where(A > 0, loss, 1.0)
    surfaces = {"all": surface(loss), "half": surface(mixed)}
    for picture in (
        figures.maps(surfaces, scale=scale),
        figures.maps(surface(loss), "heat", scale=scale),
        figures.surface_3d(surfaces, scale=scale),
        figures.cuts({name: figures.cut(each) for name, each in surfaces.items()}, scale=scale),
    ):
        picture.figure.canvas.draw()


def test_a_mean_beyond_float64_is_not_finite():
    panels, _ = figures.panels_of([surface(1.7e308), surface(1.7e308), surface(1.0)])
    assert np.isnan(panels[""].values).all()


def test_a_grid_has_rows_and_columns_and_leaves_the_place_of_a_missing_one():
    rows = {"epoch 0": {"relu": surface(1 + A**2), "tanh": surface(2 + A)}, "epoch 9": {"tanh": surface(3 + B)}}
    picture = figures.maps(rows)
    places = {axes.get_title(): axes.get_subplotspec() for axes in picture.figure.axes if axes.get_title()}
    assert {title: (at.rowspan.start, at.colspan.start) for title, at in places.items()} == {
        "epoch 0, relu": (0, 0),
        "epoch 0, tanh": (0, 1),
        "epoch 9, tanh": (1, 1),
    }


def test_settings_that_all_share_stand_above_and_others_in_their_panel():
    shared = {"data": "CIFAR-10 (JPEG copy)", "images": 2000}
    picture = figures.maps(
        {"a": surface(1 + A, **shared), "b": surface(1 + A, **shared, batch_norm="recomputed")}, title="Zoom"
    )
    assert picture.figure.get_suptitle() == "Zoom. CIFAR-10 (JPEG copy), 2,000 images, dropout off"
    titles = [axes.get_title().replace("\n", "") for axes in picture.figure.axes[:2]]
    assert titles == ["a", "b, batch norm recomputed at each point"]
    assert "dropout on" in drawn(figures.maps(surface(1 + A, dropout="on")))


def test_the_sentence_has_the_centre_and_the_largest():
    picture = figures.maps({"a": surface(2 + A), "b": surface(5 + A * B)})
    assert "loss at the centre: 2 (a), 5 (b); largest loss of the plane: 3 (a), 6 (b)" in picture.sentence


def test_an_arrow_points_in_steps_along_v1_and_v2_and_can_be_seen():
    axes = [
        figures.maps({"x": surface(1 + A)}, arrows={"x": way}).figure.axes[0]
        for way in ((0.2, -0.4), (20, 40), (0.001, -0.002))
    ]
    short, long, tiny = (each.findobj(Annotation)[0] for each in axes)
    assert tiny.xy == pytest.approx((-0.25, 0.125))
    assert [each.texts[-1].get_text() for each in axes[1:]] == [
        "arrow: 0.0175 times its length",
        "arrow: 125 times its length",
    ]
    assert short.xyann == (0, 0)
    assert short.xy == pytest.approx((-0.4, 0.2))
    assert long.xy == pytest.approx((0.7, 0.35))


def test_a_mark_stands_where_it_belongs():
    axes = figures.maps({"x": surface(1 + A)}, marks={"x": [(0.5, -0.25, "basin")]}).figure.axes[0]
    assert axes.lines[-1].get_xydata().tolist() == [[-0.25, 0.5]]
    assert "basin" in [text.get_text() for text in axes.texts]


def test_numbers_on_lines_and_bars_tell_the_levels_apart():
    """Seen from 100 times closer a loss differs in its fifth digit."""
    picture = figures.maps(
        {"x": surface(1.4 + 1e-4 * A), "y": surface(30 * A**2)}, "contour", "loss", "linear", shared=False
    )
    picture.figure.canvas.draw()
    for axes in picture.figure.axes:
        bars = [child for child in axes.child_axes if child.yaxis.get_label_text() == "loss"]
        for bar in bars:
            texts = [text.get_text() for text in bar.get_yticklabels() if text.get_text()]
            assert len(set(texts)) == len(texts) > 3
    assert figures.plain_apart([0.3, 0.5, 100, 1000])(0.5) == "0.5"
    assert figures.plain_apart([1.40001, 1.40002])(1.40001) == "1.40001"


def test_every_label_lies_within_a_ragged_figure():
    several = [surface(1 + A), surface(2 + A)]
    picture = figures.maps({"a": {"x": several}, "b": {"x": several, "y": several}}, shared=False, columns=2)
    picture.figure.canvas.draw()
    width, height = picture.figure.canvas.get_width_height()
    shown = [text for text in picture.figure.findobj(plt.Text) if text.get_text() and text.get_visible()]
    assert sum("along v1" in text.get_text() for text in shown) == 2
    for text in shown:
        if text.axes is None or text.axes.axison:
            box = text.get_window_extent()
            assert box.x0 >= -1, text.get_text()
            assert box.x1 <= width + 1, text.get_text()
            assert box.y0 >= -1, text.get_text()
            assert box.y1 <= height + 1, text.get_text()


@pytest.mark.parametrize(("n", "shape"), [(3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (9, (3, 3))])
def test_panels_stand_in_rows_of_about_one_length_and_the_last_of_a_column_has_a_label(n, shape):
    rows = {f"net {i}": {f"kind {i}": surface(1 + A)} for i in range(n)}  # a grid of n x n with n panels
    axes = [axes for axes in figures.maps(rows, shared=False).figure.axes if axes.get_title()]
    assert len(axes) == n
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == shape
    assert [bool(each.get_xlabel()) for each in axes] == [i + shape[1] >= n for i in range(n)]
    assert [bool(each.get_ylabel()) for each in axes] == [i % shape[1] == 0 for i in range(n)]


def test_the_outermost_panel_has_a_label_where_a_grid_lacks_one():
    picture = figures.maps({"a": {"x": surface(1 + A), "y": surface(2 + A)}, "b": {"y": surface(3 + A)}})
    labels = {axes.get_title(): (axes.get_xlabel(), axes.get_ylabel()) for axes in picture.figure.axes}
    assert all(labels["a, x"])
    assert not any(labels["a, y"])
    assert all(labels["b, y"])


def test_a_number_on_a_line_is_not_cut_off_by_the_edge():
    picture = figures.maps(surface(3 * A + B), labels=None)
    axes = picture.figure.axes[0]
    numbers = [text for text in axes.texts if text.get_text()]
    assert numbers
    picture.figure.canvas.draw()
    frame = axes.get_window_extent()
    for text in numbers:
        box = text.get_window_extent()
        assert frame.x0 <= (box.x0 + box.x1) / 2 - 5
        assert frame.x1 >= (box.x0 + box.x1) / 2 + 5
        assert np.abs(text.get_position()).max() <= 0.88


def test_a_spread_over_decades_has_a_logarithmic_scale():
    several = [surface(1.0), surface(1 + 10.0 ** (3 * A))]
    picture = figures.maps({"x": several, "y": [surface(1.0), surface(1.1)]})
    insets = [child for axes in picture.figure.axes for child in axes.child_axes if "sd of" in child.get_title("left")]
    assert len(insets) == 2
    assert all(isinstance(inset.collections[0].norm, LogNorm) for inset in insets)


def test_the_sentence_tells_the_centre_and_the_largest_apart():
    picture = figures.maps({"a": surface(1.4 + 1e-4 * A)})
    assert "centre: 1.4; largest loss of the plane: 1.4001" in picture.sentence


# ---- 3-D, cuts, paths, animation


def test_a_logarithmic_height_has_the_values_on_its_axis():
    picture = figures.surface_3d(surface(10.0 ** (1 + A)))
    axes = picture.figure.axes[0]
    assert axes.get_zlim() == pytest.approx((0, 2), abs=1e-3)
    values = [float(label.get_text()) for label in axes.get_zticklabels()]
    np.testing.assert_allclose(np.log10(values), axes.get_zticks())


def test_cuts_have_a_band_over_what_they_are_of_and_a_gap_where_one_is_not_finite():
    several = [surface(1 + A + k * B**2) for k in (0.0, 1.0, 2.0)]
    along = {way: [figures.cut(each, way) for each in several] for way in ("v1", "v2")}
    np.testing.assert_allclose(along["v1"][2].loss, 1 + STEPS)
    np.testing.assert_allclose(along["v2"][2].loss, 1 + 2 * STEPS**2)
    lost = figures.Cut(np.where(STEPS > 0.5, np.inf, 1.0), np.ones(WIDTH), STEPS, {})
    axes = figures.cuts({"band": along["v2"], "lost": lost}).figure.axes[0]
    low, high = (
        axes.collections[0].get_paths()[0].vertices[:, 1].min(),
        axes.collections[0].get_paths()[0].vertices[:, 1].max(),
    )
    assert (low, high) == (1, 3)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 1 + STEPS**2)
    assert np.isnan(axes.lines[1].get_ydata()).sum() == (STEPS > 0.5).sum()
    assert list(axes.lines[2].get_xdata()) == list(STEPS[STEPS > 0.5])  # the crosses
    with pytest.raises(ValueError, match="along is 'v3'"):
        figures.cut(several[0], "v3")


def test_a_surface_among_cuts_is_its_cut_along_v1():
    axes = figures.cuts({"x": [surface(2 + A), surface(4 + A)]}).figure.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 3 + STEPS)


def test_between_points_a_bilinear_surface_is_read_exactly():
    panel = figures.panels_of(surface(2 + A - 3 * B + 4 * A * B))[0][""]
    a, b = RNG.uniform(-1, 1, (2, 50))
    np.testing.assert_allclose(figures.interpolated(panel, np.c_[a, b]), 2 + a - 3 * b + 4 * a * b)
    corners = figures.interpolated(panel, [(-1, -1), (1, 1), (1.01, 0), (np.nan, 0)])
    np.testing.assert_allclose(corners[:2], [2 - 1 + 3 + 4, 2 + 1 - 3 + 4])
    assert np.isnan(corners[2:]).all()


def test_a_path_over_its_plane_says_how_far_its_loss_is_from_the_planes():
    path = np.array([(1, 0), (0.5, 0.25), (0, 0)])
    below = 2 + path[:, 0]
    picture = figures.trajectory(surface(2 + A), path, (0.7, 0.2), np.array([0, 0.5, 0]), below * [1, 3, 1])
    assert "90.0% of the path's variance" in picture.sentence
    assert "up to 0.5 away" in picture.sentence
    assert "a factor of up to 3." in picture.sentence
    axes = picture.figure.axes[0]
    assert axes.get_ylabel() == "PCA direction 1 (70.0% of the variance)"
    assert axes.collections[-1].get_offsets().tolist() == path[:, ::-1].tolist()
    with pytest.raises(ValueError, match=r"\(3, 2\), \(2,\) and \(3,\)"):
        figures.trajectory(surface(A), path, (0.7, 0.2), np.zeros(3), np.zeros(2))


@pytest.mark.parametrize("kind", ["contour", "heat", "3d"])
def test_an_animation_has_a_frame_a_checkpoint_on_one_scale(kind, tmp_path):
    checkpoints = {f"epoch {e}": surface(1 + e + A**2) for e in (0, 1, 9)}
    path = figures.animate(checkpoints, tmp_path / "x.gif", kind, seconds=0.5, dpi=50)
    with Image.open(path) as image:
        assert image.n_frames == 3
        assert image.info["loop"] == 0
        sentence = image.info["comment"].decode()
        assert (
            "loss at the centre: 1 (epoch 0), 2 (epoch 1), 10 (epoch 9); largest loss of the plane: 2 (epoch"
            in sentence
        )
        frames, lasts = [], []
        for i in range(3):
            image.seek(i)
            lasts.append(image.info["duration"])
            frames.append(np.asarray(image.convert("RGB"), int))
    assert lasts == [500, 500, 1500]
    assert len({frame.shape for frame in frames}) == 1
    # the colour bar, at the right, is the same in all; the map is not
    edge = frames[0].shape[1] * 9 // 10
    assert np.abs(frames[0][:, edge:] - frames[2][:, edge:]).max() == 0
    assert np.abs(frames[0] - frames[2]).max() > 50


def test_an_animation_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="rows"):
        figures.animate({"a": {"b": surface(A)}}, tmp_path / "x.gif")
    with pytest.raises(ValueError, match="x_"):
        figures.animate({"$x_{$": surface(A)}, tmp_path / "x.gif", dpi=50)
    assert not list(tmp_path.iterdir())
    assert not plt.get_fignums()
