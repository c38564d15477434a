"""The study of the plane: grids against single points, sampled networks, trainable depths of made-up sweeps."""

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_results import write_sweep

from helpers import phase, theory
from helpers.config import ConfigError, SweepConfig
from helpers.data import Data


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_the_plane_is_made_of_single_points(activation):
    w, b = np.array([0.8, 1.5, 2.6]), np.array([0.05, 0.3])
    found = phase.plane(activation, w, b)
    for i, sigma_b2 in enumerate(b):
        for j, sigma_w2 in enumerate(w):
            point = theory.fixed_point(activation, sigma_w2, sigma_b2)
            assert found["q"][i, j] == pytest.approx(point.q, rel=1e-5)
            if np.isfinite(point.q):
                scales = theory.depth_scales(activation, sigma_w2, sigma_b2)
                assert found["chi1"][i, j] == pytest.approx(theory.chi1(activation, point.q, sigma_w2), rel=1e-4)
                assert found["xi_c"][i, j] == pytest.approx(scales.xi_c, rel=5e-3)
                assert found["c"][i, j] == pytest.approx(scales.c, abs=1e-3)
            else:
                assert np.isnan(found["xi_c"][i, j])


def test_the_plane_where_signals_fade_away():
    """Without biases, below sigma_w2 = 1: each layer multiplies what two small inputs differ by with sigma_w2."""
    found = phase.plane("tanh", np.array([0.1, 0.5, 0.8]), np.array([0.0]))
    np.testing.assert_allclose(found["q"], 0, atol=1e-30)
    np.testing.assert_allclose(found["xi_c"][0], -1 / np.log([0.1, 0.5, 0.8]), rtol=1e-4)
    np.testing.assert_array_equal(found["c"], 1)


@pytest.mark.parametrize("activation", [torch.sign, torch.nn.functional.hardtanh], ids=["sign", "hardtanh"])
def test_the_plane_of_functions_with_kinks_and_jumps(activation):
    found = phase.plane(activation, np.array([1.5, 2.6]), np.array([0.05]))
    for j, sigma_w2 in enumerate((1.5, 2.6)):
        scales = theory.depth_scales(activation, sigma_w2, 0.05)
        assert found["q"][0, j] == pytest.approx(theory.fixed_point(activation, sigma_w2, 0.05).q, rel=1e-5)
        assert (found["xi_c"][0, j], found["c"][0, j]) == pytest.approx((scales.xi_c, scales.c), rel=5e-3)


def test_the_scales_in_words_are_those_of_the_iterated_map():
    w, b, q = 1.2, 0.3, 1.0
    for _ in range(200):
        q = float(theory.variance_map("tanh", q, w, b))
    slope = (theory.variance_map("tanh", q + 1e-4, w, b) - theory.variance_map("tanh", q - 1e-4, w, b)) / 2e-4
    xi_q, xi_c = -1 / np.log(slope), -1 / np.log(theory.chi1("tanh", q, w))
    assert phase.scales_in_words("tanh", w, b) == (
        f"q* = {q:.4g} (stable, chi_parallel {slope:.4g}); xi_q = {xi_q:.4g}, xi_c = {xi_c:.4g}; "
        "two inputs arrive at a correlation of 1"
    )


def test_what_is_computed_is_what_was_published():
    table = phase.published()
    off = (table.computed / table.published - 1).abs()
    assert (off < 10.0 ** -table.published.map(lambda v: len(f"{v:.9g}".replace(".", "").strip("0")) - 1)).all()


def test_the_table_names_stable_unstable_and_none():
    table = phase.critical_table(["tanh", "gelu", "softplus", "relu"], [0.0, 0.1])["fixed point"]
    assert table["tanh", 0.1] == "stable"
    assert table["gelu", 0.1] == "unstable"
    assert table["softplus", 0.1] == "none"
    assert table["relu", 0.0] == "neutral"


def test_a_sampled_network_has_the_predicted_signal():
    inputs = torch.randn(16, 800, generator=torch.Generator().manual_seed(0)) + 0.5
    predicted = phase.predicted("tanh", 1.5, 0.1, 10, theory.input_moments(inputs))
    measured = phase.sampled("tanh", 1.5, 0.1, 10, 800, inputs)
    np.testing.assert_allclose(measured["q"], predicted["q"], rtol=0.2)
    np.testing.assert_allclose(measured["distance"], predicted["distance"], rtol=0.35)
    share = np.exp(0.5 * np.cumsum(np.log(predicted["chi"][:-1][::-1])))[::-1]
    np.testing.assert_allclose(np.log(measured["backward"][:-1]), np.log(share), atol=0.3)


@pytest.fixture
def study(tmp_path):
    """Networks that learn down to 4 layers at sigma_w2 = 1, down to 8 at 1.76, never at 3."""
    variants = {f"w{w:g}": {"init": "gaussian", "sigma_w2": w, "sigma_b2": 0.05} for w in (1.76, 1.0, 3.0)}
    given = {"activations": ["tanh"], "layers_list": [4, 8, 12], "init_types": list(variants), "init_params": variants}
    results = write_sweep(tmp_path, given)
    deepest = results.summary.init.map({"w1": 4, "w1.76": 8, "w3": 0})
    results.summary["learned"] = results.summary.layers <= deepest
    return results


def test_trainable_depth_stands_beside_xi_c(study):
    table = phase.trainable_against_scale(study)
    assert list(table.index) == ["w1", "w1.76", "w3"]  # by sigma_w2
    assert list(table.depth) == [4, 8, 0]
    assert table.xi_c["w1"] == pytest.approx(theory.depth_scales("tanh", 1.0, 0.05).xi_c)
    picture = phase.depth_map(study, table)
    figure = picture.figure
    assert (picture.name, picture.sentence[:7]) == ("depth_map", "Too few")
    (image,) = [c for c in figure.axes[0].collections if hasattr(c, "get_array") and c.get_array() is not None]
    grid = study.summary.pivot_table(index="layers", columns="init", values="final_train_acc")
    np.testing.assert_allclose(np.ravel(image.get_array()), grid[["w1", "w1.76", "w3"]].to_numpy().ravel())
    np.testing.assert_allclose(figure.axes[0].lines[-1].get_ydata(), 6 * table.xi_c)


def test_sentences_about_the_map():
    rows = [(f"w{i}", 1.0, 0.05, 2.0 * i, 1.0, 8 * i) for i in range(1, 5)]
    table = pd.DataFrame(rows, columns=["init", "sigma_w2", "sigma_b2", "xi_c", "c", "depth"]).set_index("init")
    sentence = phase.depth_in_scales(table, 80)
    assert "4.0 xi_c deep" in sentence
    assert "4.0 to 4.0; 1 seed each)" in sentence
    assert "; 3 seeds each)" in phase.depth_in_scales(table, 80, 3)
    assert "correlation of 1.00" in sentence
    assert "Too few" in phase.depth_in_scales(table, 20)  # the map ends before the networks do


def test_every_figure_draws_what_it_is_given():
    w, b = np.linspace(0.5, 2.6, 7), np.linspace(0, 0.5, 3)
    picture = phase.plane_maps("tanh", w, b)
    ordered = np.mean([theory.chi1("tanh", theory.fixed_point("tanh", x, y).q, x) < 1 for x in w for y in b])
    assert picture.name == "plane"
    assert f"on {ordered:.0%} of this plane" in picture.sentence
    for axes in picture.figure.axes[:3]:
        (line,) = axes.lines
        x, y = line.get_data()
        assert (np.abs(np.interp(0.05, y, x) - 1.76) < 0.02).all()
    signals = {"one": phase.predicted("tanh", 1.0, 0.05, 5, theory.InputMoments(1.0, 0.3))}
    variance, correlation, gradient = phase.draw_signals(signals).axes
    np.testing.assert_allclose(variance.lines[0].get_ydata(), signals["one"]["q"])
    np.testing.assert_allclose(correlation.lines[0].get_ydata(), 1 - signals["one"]["distance"])
    assert gradient.lines[0].get_ydata()[0] == pytest.approx(np.prod(signals["one"]["chi"][:4]) ** 0.5)


def test_samples_are_drawn_over_the_theory():
    picture = phase.sampled_signals("tanh", (1.0, 2.0), 0.05, 6, 40)
    assert picture.name == "profiles"
    off = []
    for line, dots in zip(*[iter(picture.figure.axes[0].lines)] * 2, strict=True):
        off += [np.abs(np.log(dots.get_ydata() / line.get_ydata())).max()]
    assert f"off by {np.expm1(max(off)):.0%} at most" in picture.sentence


def test_the_gaussian_init_draws_biases():
    from helpers.config import Run
    from helpers.networks import draw_parameters

    given = {"init_types": ["gaussian"], "init_params": {"gaussian": {"sigma_w2": 1.7, "sigma_b2": 0.3}}}
    config = SweepConfig.from_dict({**given, "hidden_size": 500, "input_size": 200, "output_size": 4})
    weights, biases = draw_parameters(config, Run("gaussian", "tanh", 3, 0))
    for weight in weights:
        assert weight.var().item() * weight.shape[1] == pytest.approx(1.7, rel=5 * (2 / weight.numel()) ** 0.5)
    for bias in biases[:-1]:
        assert bias.var().item() == pytest.approx(0.3, rel=5 * (2 / 500) ** 0.5)
    assert not torch.equal(biases[0], biases[1])
    assert not biases[-1].any()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"activations": ["tanh", "relu"]}, "activations is"),
        ({"init_types": ["gaussian", "zero"]}, "init_types has zero"),
    ],
)
def test_a_sweep_that_has_no_one_depth_scale_is_refused(tmp_path, change, word):
    given = {"activations": ["tanh"], "init_types": ["gaussian"], "layers_list": [2, 4], **change}
    results = write_sweep(tmp_path, {**given, "input_size": 8, "hidden_size": 16, "output_size": 10})
    with pytest.raises(ConfigError, match=word) as error:
        phase.trainable_against_scale(results)
    assert "\n" not in str(error.value)


def digits_like(seed=0):
    """Data of four classes, each around a centre of its own."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(200) % 4
    x = torch.rand(4, 20, generator=generator)[y] + 0.3 * torch.randn(200, 20, generator=generator)
    return Data("made up", x, y, x, y, torch.arange(32), 4)


def test_a_point_of_the_plane_is_a_run_of_a_sweep():
    """The sentence of the sliders against `theory.forecast` of a sweep with the same gaussian weights."""
    data = digits_like()
    for lr, limit in (
        (1e-4, "No: too slow by a factor of "),
        (0.05, "Fine: leaves the p"),
        (5.0, "No: steps too large"),
    ):
        given = {"sigma_w2": 1.8, "sigma_b2": 0.05}
        axes = {"activations": ["tanh"], "init_types": ["g"], "init_params": {"g": {"init": "gaussian", **given}}}
        axes |= {"layers_list": [8], "hidden_size": 50, "lr": lr, "batch_size": 20, "num_epochs": 30}
        row = theory.forecast(SweepConfig.from_dict(axes), data).iloc[0]
        training = {"inputs": 20, "hidden_size": 50, "lr": lr, "steps": 300, "batch_size": 20}
        moments = theory.class_moments(data.x_train, data.y_train)
        sentence, seen = phase.in_training("tanh", 1.8, 0.05, 8, moments, training)
        assert sentence.startswith(limit)
        assert row.reason in sentence
        assert seen.probability == pytest.approx(row.probability, rel=1e-9)
        assert f"(probability {row.probability:.2f}: " in sentence
    most = float(sentence.split("at most lr ")[1].split(" ")[0])
    at_most = phase.in_training("tanh", 1.8, 0.05, 8, moments, {**training, "lr": most})[1].probability
    assert at_most == pytest.approx(0.5, abs=0.05)  # two digits of the rate, of a grid
    assert phase.in_training("relu", 1e30, 0.05, 40, moments, training)[0].startswith(
        "No: signals grow beyond all floats"
    )


def test_the_curve_is_that_of_the_prescription():
    prescription = theory.prescribe("tanh", 6, 50, digits_like(), 300, 20)
    picture = phase.prescription_curve(prescription, most=3)
    (axes,) = picture.figure.axes
    labels = [line.get_label() for line in axes.lines]
    chosen, marked = axes.lines[0], next(line for line in axes.lines if "prescribed" in line.get_label())
    assert len([label for label in labels if label in set(prescription.curve.init)]) == 3
    lr, probability = chosen.get_data()
    # the drawn curve has its top, and crosses 1/2, where the prescription says
    assert probability.max() == pytest.approx(prescription.probability)
    likely = lr[probability >= 0.5]
    np.testing.assert_allclose(prescription.lr_range, (likely.min(), likely.max()), rtol=0.06)
    assert marked.get_xdata()[0] == prescription.lr
    (band,) = axes.patches
    np.testing.assert_allclose((band.get_x(), band.get_x() + band.get_width()), prescription.lr_range)
    assert picture.name == "prescription"
    assert picture.sentence == f"tanh: {prescription.reason}."


def test_where_nothing_will_train_the_curve_marks_nothing():
    prescription = theory.prescribe("sigmoid", 60, 50, digits_like(), 10, 20)
    assert prescription.init is None
    picture = phase.prescription_curve(prescription)
    (axes,) = picture.figure.axes
    assert len(axes.patches) == 0
    assert not [line for line in axes.lines if "prescribed" in line.get_label()]
    assert "nothing that was tried" in picture.sentence
