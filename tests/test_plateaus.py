"""The sigmoid study: the plateau of runs made by hand, and the gradient's way down against wide random networks."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from helpers import networks, plateaus, records
from helpers.config import Run, SweepConfig
from helpers.sweep import Sweep
from helpers.sweep import figures as plots
from helpers.sweep.findings import crossing

EPOCHS = 200
LEFT_AT = {("he_normal", 0.1): 40, ("he_normal", 1.0): 10, ("xavier_normal", 1.0): 100}  # the others stay
GRADIENT = {"he_normal": 1e-2, "xavier_normal": 1e-3, "zero": 0.0}  # of the first layer at birth


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A loss that lies at log(10) and then falls by half an epoch: it is below 90 % of it within the first."""
    folder = tmp_path_factory.mktemp("plateaus")
    axes = {"activations": ["sigmoid"], "init_types": list(GRADIENT), "layers_list": [4], "lr": [0.1, 1.0]}
    config = SweepConfig.from_dict(
        {**axes, "num_epochs": EPOCHS, "input_size": 8, "hidden_size": 16, "output_size": 10}
    )
    epochs, rows = np.arange(EPOCHS + 1), []
    for run in config.runs():
        waits = LEFT_AT.get((run.init, run.lr), np.inf)
        table = np.zeros((EPOCHS + 1, len(records.columns(run.layers))))
        table[:, 0] = epochs
        table[:, 1] = table[:, 2] = (
            np.log(10) * np.exp2(-np.clip(epochs - waits, 0, 8)) if waits < EPOCHS else np.log(10)
        )
        table[:, 3] = table[:, 4] = np.where(epochs > waits, 0.9, 0.1)
        norms = GRADIENT[run.init] * 3.0 ** np.arange(run.layers)  # a third is passed on by a layer
        table[:, 6:] = np.column_stack([np.zeros(4), 0.1 * np.ones(4), np.ones(4), norms, norms]).ravel()
        records.write_run(folder, run, table)
        rows.append(records.summarise(run, records.read_run(records.run_file(folder, run)), 0.1))
    records.write_summary(folder, rows)
    manifest = {"config": config.to_dict(), "commonest_class_share": 0.1, "classes": 10}
    records.write_manifest(folder, manifest)
    return records.load_sweep(folder)


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
    """Trained for no epoch to speak of: the sweep measures a width-512 network at birth, autograd a lone one."""
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


def test_sentences_say_who_left_when_and_how_much_sooner(study):
    said = "\n".join(plateaus.verdict(study, plateaus.leaving_table(study)))
    assert "lr 0.1: 1 of 3 runs left the plateau, 1 learned, best 0.900 with he_normal" in said
    assert "lr 1: first he_normal after 10 epochs, last xavier_normal after 100, never zero" in said
    ratio = (40 - np.log2(0.9)) / (10 - np.log2(0.9))
    assert f"10 times as high, left {ratio:.2g} times as soon (he_normal)" in said
    assert "One seed" in said
    # in the order of steps 1e-2, 1e-3, 1e-3 they left after 10, 40 and 100: ranks 3, 1.5, 1.5 against 1, 2, 3
    correlation = pd.Series([3, 1.5, 1.5]).corr(pd.Series([1, 2, 3]))
    assert f"with a correlation of {correlation:.2f}" in said


def test_too_few_leavers_are_not_related_to_anything(study):
    table = plateaus.leaving_table(study)
    assert "too few" in plateaus.about_step(table[table.init != "he_normal"])
    assert plateaus.about_map(study, table[table.lr == 0.1]).startswith(f"Test accuracy after {EPOCHS} epochs.")


def test_each_figure_draws_what_it_is_given(study):
    table = plateaus.leaving_table(study)
    grid = plots.lr_map(study).axes[0]
    assert [text.get_text() for text in grid.texts] == ["0.90", "0.90", "0.10", "0.90", "0.10", "0.10"]
    loss = plots.curves_by_lr(study, level=2.07).axes[1]
    drawn = {line.get_label(): line.get_ydata() for line in loss.lines}
    np.testing.assert_allclose(drawn["he_normal"], study.history("he_normal_sigmoid_4L_lr1_s0").train_loss[1:])
    by_lr, by_step = plots.leaving(table, EPOCHS).axes[:2]
    heights = {line.get_label(): list(line.get_ydata()) for line in by_lr.lines}
    assert heights["he_normal"] == pytest.approx([40.15, 10.15], rel=1e-3)
    assert min(heights["zero"]) > EPOCHS
    assert len(by_step.lines) == 3
    panels = plots.gradients_over_epochs(study, 1.0, table).axes
    assert [axes.get_title() for axes in panels[:3]] == list(GRADIENT)
    assert len(panels[0].lines) == 4 + 1  # its layers, and the line where it left
    assert len(panels[2].lines) == 4
    plt.close("all")


def test_a_crossing_needs_a_fall():
    assert np.isnan(crossing(pd.DataFrame({"train_loss": [2.3, 2.3]}), 2.07))
