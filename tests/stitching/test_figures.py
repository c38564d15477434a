"""The pictures of stitched networks: what is drawn where, over what a mean is taken, and which controls stand there."""

import made_up_stitches
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.stitching import StitchError, figures

PAIRS = made_up_stitches.pairs()
BY_GCV = PAIRS[PAIRS["lambda"] == "gcv"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(picture):
    return [text.get_text() for text in picture.figure.findobj(plt.Text)]


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


def test_curves_are_means_by_map_and_controls_are_named():
    picture = figures.curves(BY_GCV, "num_samples", "s")
    (axes,) = picture.figure.axes
    x, y = line(axes, "affine").get_data()
    np.testing.assert_array_equal(x, made_up_stitches.ANCHORS)
    np.testing.assert_allclose(y, 0.024 + 0.3 / x + 0.002)  # draws 0 to 4
    assert {"class means", "mean image", "no map", "shuffled anchors", "network B", "B to itself"} <= set(
        texts(picture)
    )
    assert (axes.get_xscale(), axes.get_yscale(), picture.name) == ("log", "log", "mse_stitched_num_samples")
    assert picture.sentence == "s"
    low, high = axes.get_ylim()
    assert low < 0.023 < 0.11 < high  # no control is cut off


def test_lambda_0_has_a_place_and_gcv_is_a_line_across():
    picture = figures.curves(PAIRS[PAIRS.num_samples == 30], "lambda", "s", controls=())
    (axes,) = picture.figure.axes
    x, y = line(axes, "affine").get_data()
    np.testing.assert_array_equal(x, [0, 0.01, 1])
    assert y[0] == pytest.approx(0.024 + 0.01 + 0.002 + 0.04)
    left, right = axes.get_xlim()
    assert left < 0 < 1 <= right
    across = [line for line in axes.lines if line.get_ls() == ":" and len(set(line.get_ydata())) == 1]
    assert across[0].get_ydata()[0] == pytest.approx(0.024 + 0.01 + 0.002)


def test_label_noise_stands_beside_accuracy_and_what_it_cannot_do_beside_that():
    numbers = ("accuracy_stitched", "agreement_on_errors", "latent_r2", "latent_r2_within")
    picture = figures.curves(made_up_stitches.classified(), "num_samples", "s", numbers=numbers)
    assert [axes.get_ylabel() for axes in picture.figure.axes] == [figures.LABELS[number] for number in numbers]
    assert texts(picture).count("label noise") == 2
    assert {"label noise (-5)", "label noise (-0.5)"} <= set(texts(picture))  # below axes that show the maps


def test_names_of_lines_that_end_together_lie_apart():
    picture = figures.curves(BY_GCV.assign(mse_1=0.024), "num_samples", "s")
    picture.figure.draw_without_rendering()
    names = list(picture.figure.axes[0].texts)
    heights = sorted(text.get_window_extent().y0 for text in names)
    assert len(names) == 10
    assert np.diff(heights).min() > 5


def test_a_table_without_the_number_is_one_sentence():
    with pytest.raises(StitchError, match="no number of accuracy_stitched is in the table"):
        figures.curves(PAIRS, "num_samples", "s", numbers=("accuracy_stitched",))


def test_settings_are_compared_with_the_best_on_top():
    few = BY_GCV[BY_GCV.num_samples == 10]
    (axes,) = figures.compared(few, "mse_stitched", "mapping", "s", controls=("2",)).figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["affine", "orthogonal"]
    assert line(axes, "network B").get_xdata()[0] == pytest.approx(0.024)
    table = made_up_stitches.classified()
    table.loc[table.mapping == "orthogonal", "accuracy_stitched"] += 0.01
    picture = figures.compared(table, "accuracy_stitched", "mapping", "s", panels="num_samples")
    assert [tick.get_text() for tick in picture.figure.axes[0].get_yticklabels()] == ["orthogonal", "affine"]
    assert [axes.get_title() for axes in picture.figure.axes] == [f"anchors: {n}" for n in made_up_stitches.ANCHORS]


def test_a_subplot_with_none_below_it_has_numbers_and_a_label():
    """Four in rows of three: the second and third of the upper row end their columns."""
    table = pd.concat([BY_GCV.assign(part=part) for part in "abcd"])
    axes = figures.compared(table, "mse_stitched", "mapping", "s", panels="part").figure.axes
    assert [bool(subplot.get_xlabel()) for subplot in axes] == [False, True, True, True]
    assert [subplot.xaxis.get_tick_params()["labelbottom"] for subplot in axes] == [False, True, True, True]


def test_inits_and_activations_keep_their_names_in_words():
    said = ["he_normal to orthogonal", "best_classes", "learnable_spline to relu", "self"]
    assert list(map(figures.in_words, said)) == [said[0], "best classes", said[2], "B to itself"]


def test_the_ladder_has_every_control_in_order():
    picture = figures.ladder(BY_GCV[BY_GCV.num_samples == 100], "s")
    order = [tick.get_text() for tick in picture.figure.axes[0].get_yticklabels()]
    assert order[:3] == ["network A", "network B", "B to itself"]
    assert order[-1] == "no map"
    assert len(order) == 11


def test_classes_that_a_never_saw_are_shaded():
    picture = figures.by_class(made_up_stitches.classes(), "s", seen=range(5))
    (axes,) = picture.figure.axes
    bars = {
        bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers if bars.get_label()[0] != "_"
    }
    assert bars["network A"] == pytest.approx([0.02] * 5 + [0.08] * 5)
    assert bars["stitched, A to B"] == pytest.approx([0.034] * 10)
    shaded = [patch for patch in axes.patches if patch.get_width() == 1]
    assert [patch.get_x() for patch in shaded] == [4.5, 5.5, 6.5, 7.5, 8.5]
    assert "A never saw it" in texts(picture)


@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_latents_that_a_map_moves_onto_b_are_drawn_onto_b(how):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 15)
    target = rng.standard_normal((45, 5)) + 6 * np.eye(5)[labels]
    source = target @ np.linalg.qr(rng.standard_normal((5, 5)))[0]
    picture = figures.latents(source, target, target, labels, "s", how=how)
    _, mapped, b = picture.figure.axes
    for one, other in zip(mapped.lines, b.lines, strict=True):
        near = 1e-9 if how == "pca" else 0.1 * np.ptp(b.get_xlim())
        assert np.abs(one.get_xydata() - other.get_xydata()).max() < near
    assert mapped.get_xlim() == b.get_xlim()
    with pytest.raises(StitchError, match="allowed are 'pca' and 'tsne'"):
        figures.latents(source, target, target, labels, "s", how="umap")


@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_latents_of_one_number_are_drawn_too(how):
    latents, labels = np.arange(8.0)[:, None], np.repeat([0, 1], 4)
    picture = figures.latents(latents, -latents, -latents, labels, "s", how=how)
    assert len(picture.figure.axes) == 3


def test_the_grid_shows_each_image_and_where_the_stitched_one_differs():
    first = np.zeros((3, 12))
    stitched = first + 0.5
    picture = figures.images(first, first, first + 0.25, stitched, (1, 3, 4), "s")
    shown = [axes for axes in picture.figure.axes if axes.get_label() != "<colorbar>"]
    assert len(shown) == 5 * 3
    np.testing.assert_allclose(shown[12].images[0].get_array(), 0.25)  # stitched - B
    assert shown[12].images[0].norm.vmin == -0.25
    assert {"0.000", "0.062", "0.250"} <= set(texts(picture))
    colour = np.zeros((2, 12))
    figures.images(colour, colour, colour, colour, (3, 2, 2), "s")


def test_a_rotation_has_its_eigenvalues_on_the_circle():
    q = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0]
    plane, singular, rotation, _ = figures.matrix(2 * q, "s").figure.axes
    np.testing.assert_allclose(np.hypot(*line(plane, "eigenvalues of A").get_data()), 2)
    np.testing.assert_allclose(line(singular, "singular values").get_ydata(), 2)
    np.testing.assert_allclose(rotation.images[0].get_array(), q)
    assert len(figures.matrix(q[:, :4], "s").figure.axes) == 3  # no eigenvalues between two sizes


def test_layers_are_in_the_order_of_the_table_with_a_up_and_b_across():
    table = made_up_stitches.layers(12)
    table.loc[(table.layer1 == "10") & (table.layer2 == "0"), "cka"] = np.nan
    picture = figures.layers(pd.concat([table, made_up_stitches.layers(12, dead=True)]), "s", panels="pair")
    axes = [axes for axes in picture.figure.axes if axes.get_label() != "<colorbar>"]
    assert len(axes) == 2 * 3
    grid = axes[0].images[0].get_array()
    assert np.argwhere(np.ma.getmaskarray(np.ma.masked_invalid(grid))).tolist() == [[10, 0]]
    assert grid[3, 4] == pytest.approx(1 - 1 / 12)
    assert axes[0].images[0].norm.vmax == axes[3].images[0].norm.vmax == 1
    assert axes[0].get_ylabel().startswith("living to living")


def test_a_control_has_one_line_style_in_every_subplot():
    table = made_up_stitches.classified().assign(latent_r2_label_noise=0.3)
    drawn = {"numbers": ("accuracy_stitched", "latent_r2_within", "agreement_on_errors"), "controls": ("label_noise",)}
    picture = figures.curves(table, "num_samples", "s", **drawn)
    styles = [
        {line.get_linestyle() for line in axes.lines if line.get_color() == "0.5"} for axes in picture.figure.axes
    ]
    assert len(styles) == 3
    assert styles[0] == styles[1] == styles[2] != set()


@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_a_colour_bar_is_as_high_as_the_column_of_maps_beside_it(pairs):
    tables = [made_up_stitches.layers(6).assign(pair=f"p{i}") for i in range(pairs)]
    picture = figures.layers(pd.concat(tables), "s", panels="pair", numbers=("cka", "accuracy"))
    picture.figure.draw_without_rendering()
    bars = [axes for axes in picture.figure.axes if axes.get_label() == "<colorbar>"]
    maps = [axes.get_position() for axes in picture.figure.axes if axes not in bars]
    for bar in bars:
        assert bar.get_position().y0 == pytest.approx(min(box.y0 for box in maps), abs=1e-3)
        assert bar.get_position().y1 == pytest.approx(max(box.y1 for box in maps), abs=1e-3)
        assert bar.get_position().width * picture.figure.get_figwidth() < 0.2  # inches


def test_the_same_layers_stand_above_what_has_learned_nothing():
    table = made_up_stitches.layers(10)
    table = pd.concat([table.assign(model1=f"a{i}", model2=f"b{i}", differ="seed") for i in range(3)])
    table.loc[table.model1 == "a0", "accuracy"] -= 0.03
    table = table.assign(r2_within=-3.0, r2_within_pixels=-5.0)[table.layer1 == table.layer2]
    accuracy, within = figures.by_layer(table, "s").figure.axes
    x, y = line(accuracy, "seed").get_data()
    assert list(x) == list(range(10))
    np.testing.assert_allclose(y, 0.95 - 0.01)
    grey = {tuple(np.round(one.get_ydata(), 6)) for one in accuracy.lines if one.get_label() != "seed"}
    assert tuple(np.round(0.9 - 0.02 * np.arange(10), 6)) in grey  # pixels
    assert tuple(np.round(0.85 - 0.05 * np.arange(10), 6)) in grey  # untrained
    names = [text.get_text() for text in accuracy.texts]
    assert set(names) == {"network B", "pixels", "untrained A"}
    assert [text.get_text() for text in within.texts] == ["pixels (-5)"]
    assert accuracy.get_ylim()[1] == pytest.approx(1.02)


def alike(costs):
    """Pairs of six A's with two B's, the second of which costs much more: within a B likeness falls with cost."""
    order = np.arange(6)
    made = [
        {"model1": f"a{i}", "model2": f"b{j}", "change": "seed" if i < 3 else "init", "cka": 0.9 - 0.1 * costs[i] + j,
         "procrustes_distance": 0.1 + 0.01 * i, "mutual_neighbours": 0.5, "excess": 1 + costs[i] + 5 * j, "draw": draw}
        for i in order for j in range(2) for draw in range(2)
    ]  # fmt: skip
    return pd.DataFrame(made)


def test_a_rank_correlation_is_1_where_the_more_alike_always_costs_less():
    costs = np.array([0.0, 2.0, 1.0, 4.0, 3.0, 9.0])
    table = alike(costs)
    assert figures.in_order(figures.of_same_b(table, "cka", "excess"), "cka", "excess") == pytest.approx(1)
    assert figures.in_order(table, "cka", "excess") < 0  # that a B which costs more has larger CKA says nothing of A
    within = figures.of_same_b(table, "procrustes_distance", "excess")
    expected = stats.spearmanr(np.arange(6), costs).statistic
    assert figures.in_order(within, "procrustes_distance", "excess") == pytest.approx(expected)
    assert np.isnan(figures.in_order(table, "mutual_neighbours", "excess"))  # the same for all
    assert np.isnan(figures.in_order(table[table.model1 == "a0"], "cka", "excess"))  # two pairs
    assert len(figures.of_same_b(table[table.model1 == "a0"], "cka", "excess")) == 0


def test_likeness_is_drawn_a_dot_a_pair_less_the_mean_of_its_b():
    costs = np.array([0.0, 2.0, 1.0, 4.0, 3.0, 9.0])
    picture = figures.likeness(alike(costs), "excess", "s")
    axes = picture.figure.axes
    assert [ax.get_xlabel() for ax in axes] == [
        figures.LABELS[name] for name in ("cka", "mutual_neighbours", "procrustes_distance")
    ]
    assert axes[0].get_title() == "rank correlation 1.00"
    assert axes[1].get_title() == ""
    x, y = line(axes[0], "init").get_data()
    np.testing.assert_allclose(sorted(y), np.repeat(np.sort(costs[3:] - costs.mean()), 2), atol=1e-5)
    np.testing.assert_allclose(x, -0.1 * y, atol=1e-5)
