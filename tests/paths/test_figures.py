"""The pictures of paths and posteriors: what is drawn where, what has not converged, and on which scale."""

import made_up_paths
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import LogNorm

from helpers.figures import COLOURS, MARKERS, style
from helpers.paths import figures

CURVES = made_up_paths.curves()
LENGTHS = CURVES[CURVES.part == "lengths"]
POSTERIORS = made_up_paths.posteriors()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def subplots(picture):
    return [axes for axes in picture.figure.axes if axes.get_label() != "<colorbar>"]


def texts(picture):
    picture.figure.canvas.draw()
    return [text.get_text() for text in picture.figure.findobj(plt.Text)]


def test_a_line_is_the_mean_over_seeds_and_its_band_all_of_them():
    picture = figures.along(made_up_paths.along(), "s", quantities=("train_loss",))
    (axes,) = subplots(picture)
    middle = axes.lines[0].get_ydata()[5]
    assert middle == pytest.approx(0.1 + 2)  # of the straight line, heights 1, 2 and 3
    band = axes.collections[0].get_paths()[0].vertices
    at_middle = band[np.isclose(band[:, 0], 0.5), 1]
    assert (at_middle.min(), at_middle.max()) == pytest.approx((1.1, 3.1))
    assert axes.get_yscale() == "log"  # from 0.1 to 3.1
    assert {"straight line", "straight, aligned", "curve"} <= set(texts(picture))
    assert picture.sentence == "s"


def test_bands_of_three_k_that_lie_upon_each_other_are_not_drawn():
    one = made_up_paths.along().query("line == 'curve'")
    every = pd.concat([one.assign(k=k) for k in (2, 4, 8)])
    assert [len(axes.collections) for axes in subplots(figures.along(every, "s", by="k"))] == [0, 0]
    two = every[every.k < 8]
    assert [len(axes.collections) for axes in subplots(figures.along(two, "s", by="k"))] == [2, 2]


def test_a_quantity_that_is_nowhere_known_is_left_out_and_a_gap_stays_a_gap():
    table = made_up_paths.along()
    table.loc[(table.line == "curve") & (table.seed == 0) & (table.arc == 0.5), "train_loss"] = np.inf
    picture = figures.along(table, "s", quantities=("train_loss", "test_acc"))
    (axes,) = subplots(picture)
    assert np.isnan(axes.lines[2].get_ydata()[5])


def test_lengths_have_a_line_a_depth_and_the_fitted_power():
    fits = {3: (0.45, 0.8), 10: (0.6, 0.7)}
    left, right = subplots(figures.lengths(LENGTHS, fits, "s"))
    drawn = {line.get_label(): line.get_xydata() for line in left.lines}
    np.testing.assert_allclose(drawn["3 hidden layers"][:, 1], 1.1 * np.array([1, 2, 4]) ** 0.45)
    dotted = [line.get_xydata() for line in left.lines if line.get_ls() == ":" and len(line.get_xdata())]
    assert [line[0] for line in dotted] == [pytest.approx([2, 0.8 * 2**0.45]), pytest.approx([2, 0.7 * 2**0.6])]
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0.2, 0.4, 0.8])


def test_settings_are_compared_from_low_to_high_and_each_seed_is_seen():
    rows = CURVES[CURVES.part == "activations"].copy()
    rows.loc[rows.activation == "elu", "roughness"] = np.nan
    picture = figures.compared(rows, "roughness", "activation", "s")
    (axes,) = subplots(picture)
    picture.figure.canvas.draw()
    assert [text.get_text() for text in axes.get_yticklabels()] == ["tanh", "relu", "elu"]
    seeds = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(seeds[0].get_xdata(), [0.1, 0.11, 0.12])
    assert "not finite" in texts(picture)


def test_panels_around_curves_share_one_scale_and_hatch_what_is_not_finite():
    arc, offset = np.linspace(0, 1, 5), np.linspace(-1, 1, 3)
    loss = np.full((3, 5), 0.1)
    loss[0], loss[1, 1] = 10, np.nan
    picture = figures.around({"relu": (arc, offset, loss), "tanh": (arc, offset, np.ones((3, 5)))}, "s")
    first, second = (axes.collections[0] for axes in subplots(picture)[:2])
    assert isinstance(first.norm, LogNorm)
    assert first.norm is second.norm
    assert np.ma.getmaskarray(first.get_array()).sum() == 1
    assert subplots(picture)[0].patch.get_hatch()


def test_one_steep_corner_leaves_colours_for_the_rest():
    arc, offset = np.linspace(0, 1, 10), np.linspace(-1, 1, 11)
    loss = np.linspace(1, 2, 110).reshape(11, 10)
    loss[0, 0] = 1e6
    picture = figures.around({"relu": (arc, offset, loss)}, "s")
    norm = subplots(picture)[0].collections[0].norm
    assert norm.vmax == pytest.approx(np.quantile(loss, 0.98))
    assert norm.vmax < 2


def test_frames_have_a_panel_each_with_the_normals_from_the_curve():
    points = np.stack([np.linspace(0, 10, 40), np.zeros(40), np.zeros(40)], 1)
    across = np.tile([[0, 1, 0], [0, 0, 1]], (40, 1, 1))
    picture = figures.frames({"one": (points, across), "other": (points, -across)}, "s", every=10)
    one, other = picture.figure.axes
    assert len(one.lines) == 1 + 2 * (1 + 4) + 1  # the curve, of each normal the tips and 4 of 40, the start
    tips = np.stack(one.lines[1].get_data_3d())
    np.testing.assert_allclose(tips[1], 0.14 * 10)
    np.testing.assert_allclose(np.stack(other.lines[1].get_data_3d())[1], -0.14 * 10)


def test_folds_show_how_far_a_tunnel_reaches():
    arc = np.linspace(0, 1, 11)
    room = 1 + arc
    room[0] = np.inf  # a straight place
    picture = figures.folds(arc, room, {"radius 0.1, three deviations": 0.3}, "s")
    (axes,) = subplots(picture)
    curve, reach = axes.lines[:2]
    np.testing.assert_allclose(curve.get_ydata()[1:], room[1:])
    assert np.isfinite(curve.get_ydata()).all()
    assert set(reach.get_ydata()) == {0.3}
    low, high = axes.get_ylim()
    assert low < 0.3 < 2 < high


def test_folds_of_a_straight_line_can_be_drawn():
    (axes,) = subplots(figures.folds(np.linspace(0, 1, 5), np.full(5, np.inf), {"radius 0.1": 0.1}, "s"))
    assert np.isfinite(axes.get_ylim()).all()


def test_bands_are_side_by_side_on_one_scale_and_hatched_where_not_converged():
    table = made_up_paths.bands()
    unsure = POSTERIORS[(POSTERIORS.data == "yacht") & (POSTERIORS.seed == 1)]
    samples = (np.array([-2.0, 2.0]), np.array([-1.0, 1.0]))
    picture = figures.bands(table[table.seed == 0], samples, "s", posteriors=unsure)
    by_title = {axes.get_title(): axes for axes in subplots(picture)}
    assert set(by_title) == {"line", "tunnel", "volume", "full space: not converged", "deep ensemble"}
    assert len({axes.get_ylim() for axes in by_title.values()}) == 1
    inner = {title: axes.collections[1] for title, axes in by_title.items()}
    assert {title for title, band in inner.items() if band.get_hatch()} == {"full space: not converged"}
    vertices = inner["tunnel"].get_paths()[0].vertices
    assert np.ptp(vertices[np.isclose(vertices[:, 0], 0), 1]) == pytest.approx(2 * 0.2 * 3)  # in the gap
    assert figures.HATCHED in texts(picture)
    sure = figures.bands(table[table.seed == 0], samples, "s")
    assert figures.HATCHED not in texts(sure)


def markers(axes):
    """(colour, filled) of each marker of a subplot, from top to bottom."""
    drawn = [line for line in axes.lines if line.get_marker() in list(MARKERS)]
    return [
        (line.get_color(), line.get_mfc() != "white") for line in sorted(drawn, key=lambda line: line.get_ydata()[0])
    ]


def test_scores_have_a_marker_a_space_and_it_is_hollow_where_any_seed_has_not_converged():
    picture = figures.scores(POSTERIORS, "lppd", "s")
    yacht, energy = subplots(picture)
    assert (yacht.get_title(), energy.get_title()) == ("yacht", "energy")
    filled = [full for _, full in markers(yacht)]
    # solution, line 2 and 20, tunnel 2 and 20, volume 2 and 20, full, ensemble, mile
    assert filled == [True, True, True, True, True, True, False, False, True, True]
    assert [full for _, full in markers(energy)] == [True] * 6 + [False] + [True] * 3
    assert markers(yacht)[1][0] == style(figures.SPACES.index("line"))["color"] in COLOURS
    assert figures.HOLLOW in texts(picture)


def test_a_space_that_a_data_set_lacks_leaves_a_gap():
    some = POSTERIORS[(POSTERIORS.data != "energy") | (POSTERIORS.space != "mile")]
    yacht, energy = subplots(figures.scores(some, "lppd", "s"))
    assert (len(markers(yacht)), len(markers(energy))) == (10, 9)


def test_against_k_a_point_with_a_seed_that_has_not_converged_is_hollow():
    rows = POSTERIORS[POSTERIORS.data == "yacht"]
    picture = figures.by_k(rows, ["lppd", "accuracy"], "s")
    axes = subplots(picture)[0]
    hollow = [line.get_xdata() for line in axes.lines if line.get_mfc() == "white" and len(line.get_xdata())]
    assert [list(x) for x in hollow] == [[20]]  # of the volume
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["line"].get_ydata(), [1, 1.1])
    assert lines["full space"].get_ls() == ":"  # has not converged
    assert lines["MILE"].get_ls() == "--"


def test_a_number_that_is_nowhere_known_has_no_subplot():
    rows = POSTERIORS[POSTERIORS.data == "yacht"].assign(accuracy=None)
    assert len(subplots(figures.by_k(rows, ["lppd", "accuracy"], "s"))) == 1


def test_joined_pairs_show_both_barriers_and_which_end_is_dead():
    curves = LENGTHS.assign(ends=np.where(LENGTHS.layers == 3, "two seeds", "two inits"), dead=LENGTHS.seed == 2)
    curves["barrier_curve"] = np.where(curves.k == 2, 0.0, curves.barrier_curve)
    picture = figures.joined(curves, "ends", "s", dead="dead")
    (axes,) = subplots(picture)
    points = [line for line in axes.lines if line.get_marker() in list(MARKERS) and len(line.get_xdata())]
    assert sum(len(line.get_xdata()) for line in points) == len(curves)
    assert sum(len(line.get_xdata()) for line in points if line.get_mfc() == "white") == curves.dead.sum()
    assert min(line.get_ydata().min() for line in points) == 0  # no barrier is on the axis, and drawn


def test_no_barrier_at_all_can_be_drawn():
    curves = LENGTHS.assign(ends="two seeds", barrier_straight=0.0, barrier_curve=0.0)
    (axes,) = subplots(figures.joined(curves, "ends", "s"))
    assert np.isfinite(axes.get_xlim()).all()


def test_seeds_whose_curve_begins_next_to_0_are_averaged_with_the_others():
    rows = [{"arc": arc, "train_loss": 1.0 + seed, "k": 2, "seed": seed} for seed in (0, 1) for arc in (0.0, 0.5, 1.0)]
    table = pd.DataFrame(rows)
    table.loc[3, "arc"] = 1e-17
    figure = figures.along(table, "", quantities=("train_loss",), by="k").figure
    (line,) = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) > 2]
    assert line.get_xdata().tolist() == [0, 0.5, 1]
    assert line.get_ydata().tolist() == [1.5, 1.5, 1.5]


def test_a_steep_panel_leaves_the_others_their_colours():
    arc, offset = np.linspace(0, 1, 5), np.linspace(-1, 1, 5)
    flat = np.linspace(0, 1, 25).reshape(5, 5)
    figure = figures.around(
        {"a": (arc, offset, flat), "b": (arc, offset, flat), "steep": (arc, offset, 100 * flat)}, ""
    ).figure
    norms = [ax.collections[0].norm for ax in figure.axes[:3]]
    assert {norm.vmax for norm in norms} == {norms[0].vmax}
    assert norms[0].vmax <= 1
