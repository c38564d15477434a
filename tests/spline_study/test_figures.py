"""The pictures of the spline study on made-up logs: what is drawn, and the numbers in the sentences."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up_logs import FLAT, SPLINE, diverged, first_gradients, made_up

from helpers.activations import ACTIVATIONS
from helpers.spline_study import figures, outcomes


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# ---- figures


def drawn(picture):
    """The axes of a picture, once it has been drawn: warnings are errors."""
    picture.figure.canvas.draw()
    return [axes for axes in picture.figure.axes if axes.get_label() != "<colorbar>"]


def images(axes):
    """(the map, what has underflowed) of a subplot."""
    return [collection for collection in axes.collections if hasattr(collection, "norm")]


def test_gradient_maps_share_one_scale(logs):
    logs.append(made_up("weak", SPLINE, weights=(1e-9, 1e-5, 1.0, 1.0)))
    picture = figures.gradient_maps(logs, "norm_gradient", "weight")
    subplots = drawn(picture)
    assert picture.name == "norm_gradient_weight"
    assert [axes.get_title() for axes in subplots] == ["sigmoid", "spline", "clipped", "relu", "weak"]
    norms = {id(images(axes)[0].norm) for axes in subplots}
    assert len(norms) == 1
    norm = images(subplots[0])[0].norm
    assert (norm.vmin, norm.vmax) == (pytest.approx(-9), pytest.approx(np.log10(5)))
    shown = np.ma.getdata(images(subplots[-1])[0].get_array()).reshape(4, 5)
    np.testing.assert_allclose(shown, np.log10([[1e-9] * 5, [1e-5] * 5, [1.0] * 5, [1.0] * 5]), atol=1e-12)
    assert picture.figure.legends == []


def test_what_has_underflowed_is_black_and_explained():
    scale = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    logs = [made_up("dead", SPLINE, scale=scale), made_up("alive", SPLINE)]
    picture = figures.gradient_maps(logs)
    dead, alive = drawn(picture)
    gone = ~np.ma.getmaskarray(images(dead)[1].get_array()).reshape(4, 5)
    assert (gone == (scale == 0)).all()
    assert np.ma.getmaskarray(images(dead)[0].get_array()).reshape(4, 5)[:, 3:].all()
    assert (images(dead)[1].cmap(0) == plt.matplotlib.colors.to_rgba_array(figures.UNDERFLOWED)).all()
    assert np.ma.getmaskarray(images(alive)[1].get_array()).all()
    assert [text.get_text() for text in picture.figure.legends[0].get_texts()] == ["underflowed"]
    drawn(figures.gradient_maps([made_up("all", SPLINE, weights=[0.0] * 4)]))


def test_what_is_unknown_is_neither_drawn_nor_black(logs):
    wild = diverged()
    (axes,) = drawn(figures.gradient_maps([wild]))
    for image, epochs in zip(images(axes), (2, 0), strict=True):
        assert (~np.ma.getmaskarray(image.get_array())).reshape(4, 3).sum() == 4 * epochs
    (axes,) = drawn(figures.tail_maps([wild]))
    assert (~np.ma.getmaskarray(images(axes)[0].get_array())).sum() == 3 * 2


@pytest.mark.parametrize(
    ("draw", "subplots"),
    [
        (figures.gradient_maps, 5),
        (figures.tail_maps, 5),
        (figures.learning_curves, 4),
        (figures.takeoffs, 9),
    ],
)
def test_runs_that_diverged_or_are_shorter_break_no_figure(logs, draw, subplots):
    short = {key: values[:2] for key, values in FLAT.items()}
    logs += [diverged(), made_up("sigmoid", {"activation": "sigmoid"}, 1, **short)]
    assert len(drawn(draw(logs))) == subplots


def test_tail_maps_show_shares_of_everything(logs):
    picture = figures.tail_maps(logs)
    for axes in drawn(picture):
        assert (images(axes)[0].norm.vmin, images(axes)[0].norm.vmax) == (0, 1)
    shown = np.ma.getdata(images(picture.figure.axes[1])[0].get_array()).reshape(3, 5)
    np.testing.assert_allclose(shown[1], [0.001, 0.002, 0.6, 0.004, 0.005])  # of the first seed


def test_curves_are_means_and_spans_over_seeds(logs):
    picture = figures.learning_curves(logs)
    subplots = {axes.get_title(): axes for axes in drawn(picture)}
    accuracy = subplots["validation accuracy"]
    line = dict(zip(("sigmoid", "spline", "clipped", "relu"), accuracy.lines, strict=True))["spline"]
    np.testing.assert_allclose(line.get_ydata(), [0.1, 0.1, *[(0.8 + 0.8 + 0.1) / 3] * 3])
    span = accuracy.collections[1].get_paths()[0].vertices
    assert (span[:, 1].min(), span[:, 1].max()) == (pytest.approx(0.1), pytest.approx(0.8))
    losses = subplots["training loss"]
    assert losses.get_yscale() == "log"
    np.testing.assert_allclose(losses.lines[3].get_ydata(), [2.8, 1.4, 1.4, 1.4, 1.4])
    assert [text.get_text() for text in picture.figure.legends[0].get_texts()] == [
        "sigmoid",
        "spline",
        "clipped",
        "relu",
    ]


def test_curves_go_on_to_the_end_of_the_longest_seed():
    """Means and spans are over the seeds that are still there."""
    long = made_up("a", None, 1, acc_val=[0.1, 0.3, 0.5, 0.7, 0.9])
    short = made_up("a", **{key: values[:3] for key, values in FLAT.items()})
    subplots = drawn(figures.learning_curves([short, long, made_up("b")]))
    assert [len(line.get_xdata()) for line in subplots[0].lines] == [5, 5]
    (accuracy,) = [axes for axes in subplots if axes.get_title() == "validation accuracy"]
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [0.1, 0.2, 0.3, 0.7, 0.9])
    span = accuracy.collections[0].get_paths()[0].vertices
    for epoch, (low, high) in enumerate([(0.1, 0.1), (0.1, 0.3), (0.1, 0.5), (0.7, 0.7), (0.9, 0.9)]):
        heights = span[span[:, 0] == epoch, 1]
        assert (heights.min(), heights.max()) == pytest.approx((low, high))


def test_first_gradients_stand_beside_their_prediction(logs):
    logs.append(made_up("sigmoid", {"activation": "sigmoid"}, 1, weights=(0.04, 0.4, 4.0, 7.0)))
    predicted = {
        name: np.array([0.02, 0.2, 1.0]) * (i + 1) for i, name in enumerate(("sigmoid", "spline", "clipped", "relu"))
    }
    (axes,) = drawn(figures.gradients_before_training(logs, predicted))
    lines = {line.get_label(): line for line in axes.lines if line.get_linestyle() != "None"}
    assert list(lines) == list(predicted)
    for name, line in lines.items():
        np.testing.assert_array_equal(line.get_ydata(), predicted[name])
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert len(dots) == len(logs)
    for line in dots:
        np.testing.assert_allclose(line.get_ydata(), [0.01, 0.1, 1.0])


def test_takeoffs_show_every_seed_in_a_colour_of_its_own(logs):
    picture = figures.takeoffs(logs)
    subplots = np.reshape(drawn(picture), (3, 3))
    assert [axes.get_title() for axes in subplots[0]] == ["sigmoid", "spline", "clipped"]  # relu is no spline
    assert [len(axes.lines) for axes in subplots[0]] == [1, 3, 2]
    np.testing.assert_allclose(subplots[0, 1].lines[1].get_ydata(), [0.1, 0.1, 0.8, 0.8, 0.8])
    np.testing.assert_allclose(subplots[1, 1].lines[1].get_ydata(), [2.4, 2.4, 2.4, 7000.0, 2.4])
    np.testing.assert_allclose(subplots[2, 1].lines[1].get_ydata(), [0.001, 0.002, 0.003, 0.6, 0.005])
    legend = picture.figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["seed 0", "seed 1", "seed 2"]
    colours = {line.get_label(): line.get_color() for line in legend.get_lines()}
    assert len(set(colours.values())) == 3
    assert {line.get_color() == colours[line.get_label()] for axes in subplots.ravel() for line in axes.lines} == {True}


def test_where_no_log_is_such_a_figure_says_so():
    """Of relu alone there is nothing to compare with the sigmoid, and nothing has spline shapes."""
    relu = made_up("relu", {"activation": "relu"})
    for picture in (figures.takeoffs([relu]), figures.gradient_maps([made_up("a")], kind="shape")):
        (axes,) = drawn(picture)
        assert axes.texts[0].get_text() == "no such log"
    (axes,) = drawn(
        figures.gradient_maps([made_up("a"), made_up("b", {"activation": "learnable_spline"})], kind="shape")
    )
    assert axes.get_title() == "b"
    assert np.ma.getdata(images(axes)[0].get_array()).shape in ((3, 5), (15,))


def test_activations_are_drawn_with_their_slopes():
    rows = {name: ACTIVATIONS[name] for name in ("sigmoid", "spline_sigmoid")}
    values, slopes = drawn(figures.activations(rows))
    for axes in (values, slopes):
        assert len(axes.lines) == 2
    z, phi = values.lines[1].get_data()
    np.testing.assert_allclose(slopes.lines[1].get_ydata()[1:-1], np.gradient(phi, z)[1:-1], atol=0.6)  # a kink at 2
    smooth = np.abs(np.abs(z) - 2) > 0.05
    np.testing.assert_allclose(slopes.lines[1].get_ydata()[smooth][1:-1], np.gradient(phi, z)[smooth][1:-1], atol=1e-3)


# ---- the sentences


def test_chi1_in_the_sentence_is_an_integral_over_the_slopes():
    z = np.linspace(-12, 12, 200_001)
    weights = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    q = 1.0
    for _ in range(200):
        q = (1 / (1 + np.exp(-np.sqrt(q) * z))) ** 2 @ weights
    sigmoid = 1 / (1 + np.exp(-np.sqrt(q) * z))
    expected = (sigmoid * (1 - sigmoid)) ** 2 @ weights
    sentence = figures.activations({name: ACTIVATIONS[name] for name in ("sigmoid", "linear")}).sentence
    assert f"sigmoid {expected:.3g}, linear 1." in sentence


def test_theory_is_off_by_the_worst_of_all_runs():
    splines = (0.008, 0.009, 0.019)
    predicted = {"sigmoid": np.array([0.02, 0.2, 1.0]), "spline": np.array([0.04, 0.2, 1.0])}
    sentence = figures.gradients_before_training(first_gradients(0.01, splines), predicted).sentence
    assert "is 1.0e-02 (sigmoid), 9.0e-03 (spline) (medians" in sentence
    assert sentence.endswith(f"factor by which theory is off: {0.04 / 0.008:.2g} at most.")
    dead = figures.gradients_before_training(first_gradients(0.0, []), predicted).sentence
    assert dead.endswith("off: inf at most.")


UNKNOWN = {"activation": "tanh", "init": "normal", "init_params": {"normal": {"mean": 0.1}}}  # there is no theory of it


def test_an_experiment_without_theory_is_left_out_and_missed_by_nobody(digits):
    data = digits(train_size=200)[1]
    logs = [made_up("shifted", UNKNOWN, weights=(0.02, 0.1, 1.0, 1.0)), made_up("sigmoid", {"activation": "sigmoid"})]
    predicted = outcomes.predicted_gradients(logs, lambda config: data)
    assert list(predicted) == ["sigmoid"]
    assert outcomes.predicted_gradients(logs[:1], lambda config: data) == {}

    sentence = figures.gradients_before_training(logs, {"sigmoid": np.array([0.03, 0.1, 1.0])}).sentence
    assert (
        "is 2.0e-02 (shifted), 1.0e-02 (sigmoid) (medians of the seeds); factor by which theory is off: 3 at"
        in sentence
    )
    assert figures.gradients_before_training(logs[:1], {}).sentence.endswith("theory is off: unknown.")

    (axes,) = drawn(figures.gradients_before_training(logs, predicted))
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    np.testing.assert_allclose(dots[0].get_ydata(), [0.02, 0.1, 1.0])
    curves = {line.get_label(): line.get_ydata() for line in axes.lines if line.get_linestyle() != "None"}
    assert {name: len(curve) for name, curve in curves.items()} == {"shifted": 0, "sigmoid": 3}


def test_decades_are_those_between_the_output_and_the_first_layer():
    log = made_up("a", SPLINE, weights=(1e-7, 1e-4, 1e-2, 1e-1))
    log.metrics.loc[(log.metrics.epoch == 4) & (log.metrics.parameter == "hidden.0.weight"), "norm_gradient"] = 1e2
    sentence = figures.gradient_maps([log], "norm_gradient", "weight").sentence
    assert "a -6 and 3; 0 values are exactly 0" in sentence
    dead = made_up("dead", SPLINE, weights=(0.0, 0.0, 1.0, 1.0))
    assert (
        "dead -inf and -inf; 10 values are exactly 0"
        in figures.gradient_maps([dead], "norm_gradient", "weight").sentence
    )
    assert "nan" not in figures.gradient_maps([log], "norm_gradient", "shape").sentence


def test_accuracies_are_compared():
    logs = [made_up("a", SPLINE, seed) for seed in range(3)]
    logs.append(made_up("b", SPLINE))
    assert "a 0.100 +- 0, b 0.100." in figures.learning_curves(logs).sentence
