"""The sigmoid study: the plateau of runs made by hand, and the gradient's way down against wide random networks."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from made_up_results import table_of, write_sweep
from torch.nn import functional

from helpers import networks, plateaus
from helpers.config import Run, SweepConfig
from helpers.sweep import Sweep
from helpers.sweep.tables import crossing

EPOCHS = 200
LEFT_AT = {("he_normal", 0.1): 40, ("he_normal", 1.0): 10, ("xavier_normal", 1.0): 100}  # the others stay
GRADIENT = {"he_normal": 1e-2, "xavier_normal": 1e-3, "zero": 0.0}  # of the first layer before training


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A loss that lies at log(10) and then falls by half an epoch: it is below 90 % of it within the first."""
    axes = {"activations": ["sigmoid"], "init_types": list(GRADIENT), "layers_list": [4], "lr": [0.1, 1.0]}
    sizes = {"num_epochs": EPOCHS, "input_size": 8, "hidden_size": 16, "output_size": 10}
    epochs = np.arange(EPOCHS + 1)

    def history(run, config):
        waits = LEFT_AT.get((run.init, run.lr), np.inf)
        loss = np.log(10) * np.exp2(-np.clip(epochs - waits, 0, 8)) if waits < EPOCHS else np.log(10)
        norms = GRADIENT[run.init] * 3.0 ** np.arange(run.layers)  # a third is passed on by a layer
        layers = {
            "act_std": np.where(epochs > waits, 0.3, 0.1)[:, None],
            "pre_std": 1.0,
            "grad_norm": norms,
            "grad_mean_abs": norms,
        }
        return table_of(run, EPOCHS, loss=loss, acc=np.where(epochs > waits, 0.9, 0.1), **layers)

    return write_sweep(tmp_path_factory.mktemp("plateaus"), {**axes, **sizes}, history, classes=10)


def test_a_run_has_left_when_its_loss_is_a_tenth_below_guessing(study):
    table = plateaus.leaving_table(study)
    for row in table.itertuples():
        if (row.init, row.lr) in LEFT_AT:  # 0.9 = 2^-0.152
            assert row.left == pytest.approx(LEFT_AT[row.init, row.lr] - np.log2(0.9), abs=1e-3)
        else:
            assert np.isnan(row.left)
        assert row.first_gradient == pytest.approx(GRADIENT[row.init])
        assert row.step == pytest.approx(row.lr * GRADIENT[row.init])


def test_the_measured_factor_is_that_of_the_layers_between(study):
    factors = plateaus.gradient_factors(study, 0.1)
    assert factors.measured["he_normal"] == pytest.approx(1 / 3, rel=1e-3)
    assert np.isnan(factors.measured["zero"])
    assert factors.predicted["zero"] == 0


@pytest.mark.parametrize(("init", "sigma_w2"), [("he_normal", 2.0), ("xavier_uniform", 1.0), ("orthogonal", 1.0)])
def test_the_predicted_factor_is_that_of_a_wide_network_with_autograd(tmp_path, init, sigma_w2):
    """Trained for no epoch to speak of: the sweep measures a width-512 network before training, autograd a lone one."""
    given = {"activations": ["sigmoid"], "layers_list": [6], "init_types": [init], "lr": [0.1], "hidden_size": 512}
    sweep = Sweep({**given, "num_epochs": 1, "train_size": 128, "test_size": 16, "save_dir": str(tmp_path)})
    factors = plateaus.gradient_factors(sweep.run(lambda event: None), 0.1)
    net = networks.build(sweep.config, Run(init, "sigmoid", 6, 0), torch.float64)
    x, y = (part[sweep.data.probe] for part in (sweep.data.x_train, sweep.data.y_train))
    functional.cross_entropy(net(x.double()), y).backward()
    norms = [layer.weight.grad.norm().item() for layer in net.hidden]
    assert factors.measured[init] == pytest.approx((norms[1] / norms[-1]) ** 0.25, rel=1e-3)
    assert factors.predicted[init] == pytest.approx(factors.measured[init], rel=0.05)
    # at sigma_w2 = 1 the published chi1 of sigmoid is 0.0557, at q = its fixed point
    assert factors.predicted[init] == pytest.approx((sigma_w2 * 0.0557) ** 0.5, rel=0.06)


@pytest.mark.parametrize("std", [0.0, 0.3, 1.0, 2.5])
def test_mean_square_against_sampling(std):
    z = std * torch.randn(2_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    samples = torch.cos(z) ** 2
    error = samples.std().item() / len(z) ** 0.5
    assert abs(plateaus.mean_square(torch.cos, std) - samples.mean().item()) <= 5 * error + 1e-12
    # E[cos^2(std Z)] = (1 + exp(-2 std^2)) / 2
    assert plateaus.mean_square(torch.cos, std) == pytest.approx((1 + np.exp(-2 * std**2)) / 2, rel=1e-12)


def test_what_was_found_says_who_left_when_and_how_much_sooner(study):
    found = "\n".join(plateaus.verdict(study, plateaus.leaving_table(study)))
    assert "lr 0.1: 1 of 3 runs left the plateau, 1 learned, best 0.900 with he_normal" in found
    assert "lr 1: first he_normal after 10 epochs, last xavier_normal after 100, never zero" in found
    ratio = (40 - np.log2(0.9)) / (10 - np.log2(0.9))
    assert f"10 times as high, left {ratio:.2g} times as soon (he_normal)" in found
    assert "One seed" in found
    # in the order of steps 1e-2, 1e-3, 1e-3 they left after 10, 40 and 100: ranks 3, 1.5, 1.5 against 1, 2, 3
    correlation = pd.Series([3, 1.5, 1.5]).corr(pd.Series([1, 2, 3]))
    assert f"with a correlation of {correlation:.2f}" in found


def test_too_few_leavers_are_not_related_to_anything(study):
    table = plateaus.leaving_table(study)
    assert "too few" in plateaus.first_step(table[table.init != "he_normal"])
    assert plateaus.who_learned(study, table[table.lr == 0.1]).startswith(
        f"Test accuracy at the last of {EPOCHS} epochs (1 seed)."
    )


def test_each_picture_has_its_numbers_in_figure_and_sentence(study):
    table = plateaus.leaving_table(study)
    picture = plateaus.accuracy_map(study, table)
    assert [text.get_text() for text in picture.figure.axes[0].texts] == [
        "0.90",
        "0.90",
        "0.10",
        "0.90",
        "0.10",
        "0.10",
    ]
    assert (picture.name, picture.sentence) == ("accuracy_map", plateaus.who_learned(study, table))

    picture = plateaus.curves_by_lr(study, table)
    loss = picture.figure.axes[1]
    drawn = {line.get_label(): line.get_ydata() for line in loss.lines}
    np.testing.assert_allclose(drawn["he_normal"], study.history("he_normal_sigmoid_4L_lr1_s0").train_loss[1:])
    assert loss.lines[-1].get_ydata() == pytest.approx([0.9 * np.log(10)] * 2)
    assert (picture.name, picture.sentence) == ("train_loss", plateaus.who_left(table))

    picture = plateaus.leaving(table, EPOCHS)
    by_lr, by_step = picture.figure.axes[:2]
    heights = {line.get_label(): list(line.get_ydata()) for line in by_lr.lines}
    assert heights["he_normal"] == pytest.approx([40.15, 10.15], rel=1e-3)
    assert min(heights["zero"]) > EPOCHS
    assert len(by_step.lines) == 3
    assert (picture.name, picture.sentence) == ("leaving", plateaus.first_step(table))

    picture = plateaus.gradients_over_epochs(study, 1.0, table)
    subplots = picture.figure.axes
    assert [axes.get_title() for axes in subplots[:3]] == list(GRADIENT)
    assert len(subplots[0].lines) == 4 + 1  # its layers, and the line where it left
    assert len(subplots[2].lines) == 4
    assert picture.name == "gradients_lr1"
    assert "he_normal 1.0e-02 (leaves after 10), xavier_normal 1.0e-03 (leaves after 100)" in picture.sentence
    assert "zero 0.0e+00 (stays)" in picture.sentence

    picture = plateaus.deviations(study, 0.1, table)
    assert picture.name == "deviations_lr0.1"
    assert "where it left, 0.1 before training and 0.3 at the end; where it stayed, 0.1 before" in picture.sentence
    plt.close("all")


def test_a_crossing_needs_a_fall():
    assert np.isnan(crossing(pd.DataFrame({"train_loss": [2.3, 2.3]}), 2.07))


@pytest.mark.parametrize("there", ["none", "all but one", "one"])
def test_a_sweep_that_was_stopped_is_drawn_as_far_as_it_is(tmp_path, there):
    """Every picture and sentence of the study, of what is there."""
    axes = {"activations": ["sigmoid"], "init_types": ["he_normal", "zero"], "layers_list": [4], "lr": [0.1, 1.0]}
    given = {**axes, "input_size": 8, "hidden_size": 16, "output_size": 10}
    names = [run.name for run in SweepConfig.from_dict(given).runs()]
    missing = {"none": names, "all but one": names[:1], "one": names[1:]}[there]
    results = write_sweep(tmp_path, given, missing=missing, classes=10)
    table = plateaus.leaving_table(results)
    assert len(table) == len(names) - len(missing)
    assert len(plateaus.gradient_factors(results, 0.1)) == {"none": 0, "all but one": 1, "one": 1}[there]
    pictures = [
        plateaus.accuracy_map(results, table),
        plateaus.curves_by_lr(results, table),
        plateaus.leaving(table, 6),
        plateaus.gradients_over_epochs(results, 0.1, table),
        plateaus.deviations(results, 0.1, table),
    ]
    assert all(picture.sentence for picture in pictures)
    assert list(plateaus.verdict(results, table))
    plt.close("all")
