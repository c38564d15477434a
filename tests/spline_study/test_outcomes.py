"""The spline study on made-up logs: outcomes, the theory against sampled networks, sentences, and figures."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from helpers import networks, theory
from helpers.activations import ACTIVATIONS
from helpers.spline_study import figures as gradient_plots
from helpers.spline_study import log as gradient_log
from helpers.spline_study import outcomes as spline_study
from helpers.spline_study.experiments import experiments
from helpers.spline_study.log import METRICS, SIGNALS, GradientLog

GUESS = np.log(10)  # the loss of guessing among 10 classes
EDGE = 100 * GUESS  # a loss above it has blown up
COMMON = {
    "dataset": "digits",
    "layers": 3,
    "hidden_size": 8,
    "num_epochs": 4,
    "precision": "float64",
    "activation_params": {
        "as_published": {"activation": "spline_sigmoid"},
        "spline_smooth": {"activation": "spline_sigmoid", "tail_slope": "smooth"},
        "spline_4": {"activation": "spline_sigmoid", "segments": 4},
        "centred_sigmoid": {"activation": "affine", "scale": 4.0, "shift": 0.5},
        "learnable_tanh": {"activation": "learnable_spline", "base": "tanh"},
        "learnable_published": {"activation": "learnable_spline", "base": "spline_sigmoid"},
        "calibrated_spline": {"activation": "learnable_spline", "calibrated": True},
    },
}
# a run that stays on its plateau: by epoch, and by layer what its gradients are times
FLAT = {"acc_train": [0.1] * 5, "acc_val": [0.1] * 5, "worst": [2.4] * 5, "share": [0.01] * 5}
SHAPES = {"weight": (0.01, 0.1, 1.0, 5.0), "bias": (0.1, 0.2, 0.3, 1.0), "shape": (0.5, 1.0, 2.0)}


def made_up(name, given=None, seed=0, weights=SHAPES["weight"], scale=None, seconds=0.5, about=None, **by_epoch):
    """A GradientLog of three layers.

    by_epoch  what differs from FLAT
    weights   norms of the weight gradients by layer, the output layer last
    scale     factor on all of them, by epoch
    seconds   of every epoch of training, or by epoch
    """
    (experiment,) = experiments({**COMMON, "seeds": [seed]}, {name: given or {}}, "nowhere")
    values = {**FLAT, **by_epoch}
    epochs = len(values["acc_train"])
    scale = np.ones(epochs) if scale is None else scale
    seconds = [99.0] + [seconds] * (epochs - 1) if np.isscalar(seconds) else seconds
    kinds = {**SHAPES, "weight": weights}
    if experiment.config.activation(experiment.run.activation).learns is None:
        del kinds["shape"]
    metrics, signals = [], []
    for epoch in range(epochs):
        acc_train, acc_val = values["acc_train"][epoch], values["acc_val"][epoch]
        figures = (3 - 2 * acc_train, 3 - 2 * acc_val, acc_train, acc_val, seconds[epoch])
        for kind, norms in kinds.items():
            parts = [f"hidden.{l}.{kind}" for l in range(3)] + [f"output.{kind}"]
            if kind == "shape":
                parts = [f"splines.{l}.{kind}" for l in range(3)]
            for parameter, norm in zip(parts, norms, strict=True):
                metrics.append([epoch, parameter, norm * scale[epoch] / 10, norm * scale[epoch], *figures])
        for layer, factor in enumerate((0.5, 1.0, 1.5)):  # the mean over layers is what is given
            share = values["share"][epoch] * factor
            signals.append([epoch, layer, 0.7, share, values["worst"][epoch], 1.5])
    text = {"name": name, "seed": seed, "experiment": experiment.to_dict(), "classes": 10, **(about or {})}
    frames = pd.DataFrame(metrics, columns=METRICS), pd.DataFrame(signals, columns=SIGNALS)
    return GradientLog(experiment.folder, text, *frames)


def took_off(name, given, seed=0, blown_at=2, left_at=2, worst=5000.0, **more):
    """A run whose loss blows up in one epoch and that leaves its plateau in another; None for never."""
    losses, shares = [2.4] * 5, [0.001, 0.002, 0.003, 0.004, 0.005]
    if blown_at is not None:
        losses[blown_at], shares[blown_at] = worst, 0.6
    rises = [0.1 if left_at is None or epoch < left_at else 0.8 for epoch in range(5)]
    return made_up(name, given, seed, acc_train=rises, acc_val=rises, worst=losses, share=shares, **more)


def diverged(name="wild", given=None, seed=0):
    """A run that ended in epoch 2 with numbers that are none."""
    nan, given = np.nan, given or {"activation": "relu"}
    rows = {
        "acc_train": [0.1, 0.3, nan],
        "acc_val": [0.1, 0.2, nan],
        "worst": [2.4, 3.0, nan],
        "share": [0.1, 0.2, nan],
    }
    return made_up(name, given, seed, scale=[1.0, 2.0, nan], about={"diverged": True}, **rows)


SPLINE, CLIPPED = {"activation": "spline_sigmoid"}, {"activation": "spline_sigmoid", "clip": 1.0}


@pytest.fixture
def logs():
    return [
        made_up("sigmoid", {"activation": "sigmoid"}),
        took_off("spline", SPLINE, 0, blown_at=2, left_at=2),
        took_off("spline", SPLINE, 1, blown_at=3, left_at=2, worst=7000.0),
        took_off("spline", SPLINE, 2, blown_at=None, left_at=None),
        took_off("clipped", CLIPPED, 0, blown_at=None, left_at=4),
        took_off("clipped", CLIPPED, 1, blown_at=None, left_at=None),
        took_off("relu", {"activation": "relu"}, 0, blown_at=None, left_at=1),
    ]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# ---- tables


def test_outcomes_follow_from_the_numbers():
    log = made_up(
        "spline",
        SPLINE,
        4,
        acc_train=[0.5, 0.1, 0.149, 0.151, 0.9],  # before training nothing is left
        acc_val=[0.1, 0.54, 0.56, 0.9, 0.56],
        worst=[999.0, EDGE - 0.01, EDGE + 0.01, 700.0, 3.0],
        share=[0.01, 0.02, 0.03, 0.5, 0.6],
        weights=(0.02, 0.1, 0.4, 5.0),
    )
    (row,) = spline_study.outcomes([log]).to_dict("records")
    expected = {"experiment": "spline", "seed": 4, "epochs": 4, "acc_val": 0.56, "best": 0.9, "left_at": 3}
    expected |= {"learned": True, "blown_up_at": 2, "worst_loss": 700.0, "tails": 0.03, "diverged": False}
    assert {key: row[key] for key in expected} == pytest.approx(expected)
    assert row["reach_at_birth"] == pytest.approx(0.05)


def test_reach_and_tails_are_those_of_the_epoch_before_the_takeoff():
    log = took_off("a", SPLINE, left_at=3, blown_at=None)
    first = log.metrics.parameter == "hidden.0.weight"
    log.metrics.loc[first, "norm_gradient"] = [0.1, 0.2, 0.3, 0.4, 0.5]  # the last hidden layer's are 1
    (row,) = spline_study.outcomes([log]).to_dict("records")
    assert (row["reach_at_birth"], row["reach_before"], row["tails"]) == pytest.approx((0.1, 0.3, 0.003))
    (row,) = spline_study.outcomes([took_off("a", SPLINE, left_at=None, blown_at=None)]).to_dict("records")
    assert np.isnan(row["left_at"])
    assert (row["tails"], row["reach_before"]) == pytest.approx((0.005, 0.01))


def test_a_run_that_never_leaves_never_learns():
    (row,) = spline_study.outcomes([made_up("a", SPLINE)]).to_dict("records")
    assert np.isnan([row["left_at"], row["blown_up_at"]]).all()
    assert row["learned"] is False


@pytest.mark.parametrize(("final", "learned"), [(0.5499, False), (0.5501, True)])
def test_what_has_learned_ends_halfway_between_guessing_and_1_in_training(final, learned):
    """Whatever it reached before, and on the validation set."""
    others = {"acc_train": [0.1, 0.9 - final, 0.9, 1.1 - final, final], "acc_val": [1.1 - final] * 5}
    (row,) = spline_study.outcomes([made_up("a", SPLINE, **others)]).to_dict("records")
    assert row["learned"] is learned


def test_only_a_loss_of_100_times_guessing_has_blown_up():
    logs = [made_up("a", SPLINE, worst=[2.4, 2.4, worst, 2.4, 2.4]) for worst in (10 * GUESS, EDGE - 0.1, EDGE + 0.1)]
    table = spline_study.outcomes(logs)
    assert list(table.blown_up_at.isna()) == [True, True, False]
    assert "blew up in 1 of its runs" in spline_study.about_tails(logs)


def test_a_loss_that_is_no_number_has_blown_up():
    (row,) = spline_study.outcomes([diverged()]).to_dict("records")
    assert (row["blown_up_at"], row["worst_loss"], row["diverged"], row["epochs"]) == (2, np.inf, True, 2)
    assert (row["left_at"], row["tails"], row["best"]) == pytest.approx((1, 0.1, 0.2))
    assert row["learned"] is False


def test_a_gradient_that_has_underflowed_has_no_reach_and_warns_nobody():
    table = spline_study.outcomes(
        [made_up("dead", SPLINE, weights=(0.0, 0.0, 1e-9, 1.0)), made_up("none", weights=[0] * 4)]
    )
    assert table.reach_at_birth[0] == 0
    assert np.isnan(table.reach_at_birth[1])
    assert spline_study.summary(table).reach_at_birth["dead"] == "1.0e-300"


def test_the_summary_counts_and_spans(logs):
    table = spline_study.summary(spline_study.outcomes(logs))
    assert list(table.index) == ["sigmoid", "spline", "clipped", "relu"]
    spline = table.loc["spline"]
    assert (spline.seeds, spline.left, spline.learned, spline.blown_up, spline.epochs) == (3, 2, 2, 2, 4)
    assert (spline.left_at, spline.blown_up_at) == ("2", "2 to 3")
    accuracies = np.array([0.8, 0.8, 0.1])
    assert spline.acc_val == f"{accuracies.mean():.3f} +- {accuracies.std(ddof=1):.3f}"
    assert (table.acc_val["sigmoid"], table.left_at["sigmoid"]) == ("0.100", "")


def test_runs_that_diverged_are_counted_beside_the_mean_of_the_others():
    def said(*logs):
        return spline_study.summary(spline_study.outcomes(logs)).acc_val.item()

    wild = [diverged("a", SPLINE, seed) for seed in (7, 8)]
    calm = [made_up("a", SPLINE, seed, acc_val=[accuracy] * 5) for seed, accuracy in enumerate((0.2, 0.5))]
    assert said(*calm) == f"0.350 +- {0.3 / 2**0.5:.3f}"
    assert said(*calm, *wild) == f"0.350 +- {0.3 / 2**0.5:.3f} (2 of 4 diverged)"
    assert said(calm[1], *wild) == "0.500 (2 of 3 diverged)"
    assert said(*wild) == "(2 of 2 diverged)"
    assert said(calm[0]) == "0.200"


def test_the_summary_of_reaches_is_their_geometric_mean():
    table = spline_study.outcomes(
        [made_up("a", SPLINE, seed, (reach, 1, 1, 1)) for seed, reach in enumerate((1e-2, 1e-6))]
    )
    assert spline_study.summary(table).reach_at_birth["a"] == "1.0e-04"


def test_all_epochs_stand_in_one_table(logs):
    table = spline_study.epochs_of([*logs, diverged()])
    assert list(table) == ["experiment", "seed", "epoch", *METRICS[4:], "share_beyond", "worst_loss", "worst_norm"]
    assert len(table) == 7 * 5 + 3
    (row,) = table[(table.experiment == "spline") & (table.seed == 1) & (table.epoch == 3)].to_dict("records")
    seen = (row["acc_val"], row["share_beyond"], row["worst_loss"], row["loss_train"])
    assert seen == pytest.approx((0.8, 0.6, 7000.0, 3 - 2 * 0.8))


# ---- what an experiment is


@pytest.mark.parametrize(
    "given",
    [
        {"activation": "relu", "init": "mine", "init_params": {"mine": {"init": "he_normal", "factor": 3.0}}},
        {"activation": "spline_4", "init": "gaussian", "init_params": {"gaussian": {"sigma_w2": 2.0, "sigma_b2": 0.3}}},
        {"activation": "learnable_published", "clip": 0.5, "normalize": True},
        {"activation": "spline_sigmoid", "optimizer": "sgd", "lr": 0.2},
    ],
)
def test_a_log_gives_its_config_back(digits, given):
    """Both draw the same network, with the same function in it."""
    log = made_up("a", given, seed=3)
    (experiment,) = experiments({**COMMON, "seeds": [3]}, {"a": given}, "nowhere")
    config, run = spline_study.config_of(log), experiment.run
    assert config.runs() == [run]
    data = digits(train_size=100)[1]
    nets = [networks.build(c.fitted_to(data), run, torch.float64) for c in (config, experiment.config)]
    assert all(torch.equal(*pair) for pair in zip(*(net.state_dict().values() for net in nets), strict=True))
    z = torch.linspace(-5, 5, 24, dtype=torch.float64).view(-1, 8)
    assert torch.equal(nets[0].activations[0](z), nets[1].activations[0](z))
    for key in ("lr", "optimizer", "num_epochs", "normalize", "batch_size", "precision"):
        assert getattr(config, key) == getattr(experiment.config, key)


@pytest.mark.parametrize(
    ("activation", "published", "like"),
    [
        ("sigmoid", False, True),
        ("spline_sigmoid", True, True),
        ("as_published", True, True),
        ("spline_smooth", False, True),
        ("spline_4", False, True),
        ("learnable_spline", False, True),
        ("learnable_published", False, True),
        ("learnable_tanh", False, False),
        ("calibrated_spline", False, False),
        ("calibrated", False, False),
        ("centred_sigmoid", False, False),
        ("affine", False, False),
        ("relu", False, False),
    ],
)
def test_kinds_are_told_apart(activation, published, like):
    log = made_up("a", {"activation": activation})
    assert (spline_study.is_published_spline(log), spline_study.is_sigmoid_like(log)) == (published, like)


def test_activations_are_those_of_the_experiments():
    found = experiments(
        COMMON, {"a": {"activation": "spline_4"}, "b": {"activation": "relu"}, "c": {"activation": "relu"}}, "x"
    )
    rows = spline_study.activations_of(found)
    assert list(rows) == ["spline_4", "relu"]
    assert rows["relu"] is ACTIVATIONS["relu"]
    assert rows["spline_4"].f.segments == 4


# ---- theory


def test_predictions_are_those_of_the_theory(digits):
    data = digits(train_size=200)[1]
    given = {"sigmoid": {"activation": "sigmoid"}, "gaussian": {"activation": "spline_4", "init": "gaussian"}}
    found = spline_study.predicted_gradients([made_up(*item) for item in given.items()], lambda config: data)
    for experiment in experiments(COMMON, given, "x"):
        profiles = theory.profiles(experiment.config.fitted_to(data), theory.input_moments(data.x_train))
        np.testing.assert_array_equal(found[experiment.name], profiles[experiment.run].gradient)


UNKNOWN = {"activation": "tanh", "init": "normal", "init_params": {"normal": {"mean": 0.1}}}  # there is no theory of it


def test_an_experiment_without_theory_is_left_out_and_missed_by_nobody(digits):
    data = digits(train_size=200)[1]
    logs = [made_up("shifted", UNKNOWN, weights=(0.02, 0.1, 1.0, 1.0)), made_up("sigmoid", {"activation": "sigmoid"})]
    predicted = spline_study.predicted_gradients(logs, lambda config: data)
    assert list(predicted) == ["sigmoid"]
    assert spline_study.predicted_gradients(logs[:1], lambda config: data) == {}

    said = spline_study.about_birth(logs, {"sigmoid": np.array([0.03, 0.1, 1.0])})
    assert "is 2.0e-02 (shifted), 1.0e-02 (sigmoid) (medians of the seeds); theory is off by a factor of 3 at" in said
    assert spline_study.about_birth(logs[:1], {}).endswith("is 2.0e-02 (shifted) (medians of the seeds).")

    (axes,) = drawn(gradient_plots.gradients_at_birth(logs, predicted))
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    np.testing.assert_allclose(dots[0].get_ydata(), [0.02, 0.1, 1.0])
    curves = {line.get_label(): line.get_ydata() for line in axes.lines if line.get_linestyle() != "None"}
    assert {name: len(curve) for name, curve in curves.items()} == {"shifted": 0, "sigmoid": 3}


@pytest.mark.parametrize("activation", ["sigmoid", "spline_sigmoid", "learnable_published"])
def test_predictions_are_what_wide_networks_have(digits, activation):
    """||dL/dW|| over the last hidden layer's, the mean of several networks: within their scatter of the theory."""
    width, seeds = 400, range(8)
    data, given = digits(train_size=300)[1], {"activation": activation, "hidden_size": width}
    (predicted,) = spline_study.predicted_gradients([made_up("a", given)], lambda config: data).values()
    logs = []
    for seed in seeds:
        (experiment,) = experiments({**COMMON, "seeds": [seed]}, {"a": given}, "x")
        net = networks.build(experiment.config.fitted_to(data), experiment.run, torch.float64)
        loss = torch.nn.functional.cross_entropy(net(data.x_train), data.y_train)
        norms = [g.norm().item() for g in torch.autograd.grad(loss, [layer.weight for layer in net.hidden])]
        logs.append(np.log(np.array(norms) / norms[-1] / predicted))
    standard_error = np.std(logs, axis=0, ddof=1) / len(seeds) ** 0.5
    assert (np.abs(np.mean(logs, axis=0)) <= 4 * standard_error + 1e-12).all()


def test_chi1_in_the_sentence_is_an_integral_over_the_slopes():
    z = np.linspace(-12, 12, 200_001)
    weights = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    q = 1.0
    for _ in range(200):
        q = (1 / (1 + np.exp(-np.sqrt(q) * z))) ** 2 @ weights
    sigmoid = 1 / (1 + np.exp(-np.sqrt(q) * z))
    expected = (sigmoid * (1 - sigmoid)) ** 2 @ weights
    said = spline_study.about_activations({name: ACTIVATIONS[name] for name in ("sigmoid", "linear")})
    assert f"sigmoid {expected:.3g}, linear 1." in said


# ---- sentences


def births(sigmoid, splines):
    """Logs of a sigmoid and of published splines whose first gradients are so many times the last hidden layer's."""
    found = [made_up("spline", SPLINE, seed, (reach, 0.1, 1.0, 1.0)) for seed, reach in enumerate(splines)]
    return [made_up("sigmoid", {"activation": "sigmoid"}, weights=(sigmoid, 0.1, 1.0, 1.0)), *found]


@pytest.mark.parametrize(
    ("splines", "ratios", "verdict"),
    [
        ((0.008, 0.009, 0.019), ("0.9 times", "(0.8 to 1.9 in 3 runs)"), "the spline does not help."),
        ((0.021, 0.03), ("2.5 times", "(2.1 to 3 in 2 runs)"), "the spline helps."),
        ((0.01, 0.04), ("2.5 times", "(1 to 4 in 2 runs)"), "the spline helps some seeds."),
    ],
)
def test_the_first_verdict_compares_with_the_sigmoid(splines, ratios, verdict):
    said = spline_study.does_it_help(births(0.01, splines))
    assert all(ratio in said for ratio in ratios)
    assert said.endswith(f"at initialisation {verdict}")


def test_the_first_verdict_without_a_sigmoid_or_a_spline_is_none():
    sigmoid, spline = births(0.01, [0.01])
    assert spline_study.does_it_help([sigmoid]) == spline_study.does_it_help([spline]) == ""
    assert spline_study.does_it_help([]) == ""


def test_a_gradient_that_has_underflowed_is_no_help():
    assert spline_study.does_it_help(births(0.0, [0.0])).endswith("the spline does not help.")


def test_theory_is_off_by_the_worst_of_all_runs():
    splines = (0.008, 0.009, 0.019)
    predicted = {"sigmoid": np.array([0.02, 0.2, 1.0]), "spline": np.array([0.04, 0.2, 1.0])}
    said = spline_study.about_birth(births(0.01, splines), predicted)
    assert "is 1.0e-02 (sigmoid), 9.0e-03 (spline) (medians" in said
    assert said.endswith(f"theory is off by a factor of {0.04 / 0.008:.2g} at most.")
    dead = spline_study.about_birth(births(0.0, []), predicted)
    assert dead.endswith("by a factor of inf at most.")


GUESSED = "a batch's loss rose above 100 times that of guessing"


def test_the_fates_of_the_spline_and_its_kin_are_counted(logs):
    """Seed 1 had left its plateau before its loss blew up."""
    assert spline_study.about_takeoffs(logs) == (
        f"spline: in 2 of 3 runs {GUESSED} (epoch 2 to 3; the largest 5.0e+03 to 7.0e+03), 2 left the plateau "
        f"(after 0 more), 2 learned; the same with clipped gradients (clipped): in 0 of 2 runs {GUESSED}, 1 left the "
        "plateau, 1 learned."
    )


def test_fates_are_told_setting_by_setting():
    """Others differ in more than clipping and tails, or are no such spline: they are kin of none."""
    slow, gentle = {"lr": 0.01}, {"activation": "spline_smooth"}
    tails = {"activation": "bent", "activation_params": {"bent": {"activation": "spline_sigmoid", "tail_slope": 0.5}}}
    logs = [
        took_off("fast", SPLINE, 0, blown_at=1, left_at=4),
        took_off("slow", SPLINE | slow, 0, blown_at=None, left_at=None),
        took_off("fast", SPLINE, 1, blown_at=1, left_at=3),
        took_off("slow_clipped", CLIPPED | slow, 4),
        took_off("smooth", gentle, 0),
        took_off("slow_both", gentle | slow | {"clip": 2.0}),
        took_off("half", tails, 0, left_at=None),
    ]
    strangers = [
        took_off("finer", {"activation": "spline_4"}),
        took_off("deeper", CLIPPED | {"layers": 3, "hidden_size": 9}),
        took_off("learnable", {"activation": "learnable_published"}),
        took_off("relu", {"activation": "relu"}),
    ]
    said = spline_study.about_takeoffs([*strangers, *logs])
    assert said == spline_study.about_takeoffs(logs)
    parts = said.removesuffix(".").split("; ")
    heads = ["fast", "the same with smooth tails (smooth)", "the same with tails of slope 0.5 (half)", "slow"]
    heads += ["the same with clipped gradients (slow_clipped)"]
    heads += ["the same with smooth tails and with clipped gradients (slow_both)"]
    assert [part.split(":")[0] for part in parts if ":" in part] == heads
    assert "in 2 of 2 runs" in parts[0]
    assert said.count("2 left the plateau (after 2 to 3 more), 2 learned") == 1  # of fast
    assert f"slow: in 0 of 1 runs {GUESSED}, 0 left the plateau, 0 learned; " in said


def test_without_the_published_spline_there_is_no_fate(logs):
    others = [log for log in logs if log.name in ("sigmoid", "relu", "clipped")]
    assert spline_study.about_takeoffs(others) == "None of these logs is of the published spline without clipping."
    assert spline_study.about_tails(others) == "No loss of the published spline without clipping blew up in these runs."
    assert spline_study.was_it_an_accident(others) == spline_study.was_it_an_accident([]) == ""
    assert spline_study.about_tails([]).startswith("No loss")


@pytest.mark.parametrize(
    ("runs", "counts", "verdict"),
    [
        ([(2, 2), (1, 3)], "2 runs of the published spline 2 left the plateau, 2", "2 had.* an accident's, every time"),
        ([(1, 2), (3, 2)], "2 runs of the published spline 2 left the plateau, 2", "1 had.* at times an accident's"),
        ([(3, 2), (None, 4)], "2 runs of the published spline 2 left the plateau, 2", "0 had.* no accident's"),
        ([(1, 2), (None, None)], "2 runs of the published spline 1 left the plateau, 1", "1 had.* every time"),
    ],
)
def test_the_second_verdict_asks_whether_a_blow_up_came_before(runs, counts, verdict):
    """Runs by (epoch of the blow-up, epoch of the takeoff); the clipped ones, and those of others, say nothing."""
    logs = [took_off("spline", SPLINE, seed, blown_at=b, left_at=l) for seed, (b, l) in enumerate(runs)]
    said = spline_study.was_it_an_accident([*logs, took_off("clipped", CLIPPED), took_off("c", {"activation": "relu"})])
    assert said.startswith(f"Of {counts} learned; of those that left it, ")
    assert re.search(f"{verdict}. 0 blew up and have not left it.$", said)


def test_the_second_verdict_counts_accidents_in_vain():
    vain = [took_off("spline", SPLINE, seed, left_at=None) for seed in (1, 2)]
    said = spline_study.was_it_an_accident([took_off("spline", SPLINE, left_at=3), *vain])
    assert said.endswith("the gain is an accident's, every time. 2 blew up and have not left it.")
    none = spline_study.was_it_an_accident(vain)
    assert none == "Of 2 runs of the published spline 0 left the plateau, 0 learned: there is no gain here to explain."
    barely = made_up("spline", SPLINE, acc_train=[0.1, 0.1, 0.2, 0.3, 0.4])  # left it, but learned too little
    assert "1 left the plateau, 0 learned" in spline_study.was_it_an_accident([barely])


def test_tails_are_compared_across_the_blow_up(logs):
    """Of seed 0 epochs 0 and 2, of seed 1 epochs 1 and 3: medians of 0.001 and 0.002, and of 0.6."""
    said = spline_study.about_tails(logs)
    assert "blew up in 2 of its runs" in said
    assert "0.15% lie beyond +-2 two epochs before" in said
    assert "up to 60% in the three epochs" in said
    late = took_off("spline", SPLINE, blown_at=4, left_at=None)
    assert "0.30% lie beyond +-2 two epochs before" in spline_study.about_tails([late])
    early = took_off("spline", SPLINE, blown_at=1, left_at=None)
    assert "0.10% lie beyond +-2 two epochs before" in spline_study.about_tails([early])  # there is one only
    assert "10.00% lie beyond +-2 two epochs before, and up to 20%" in spline_study.about_tails(
        [diverged("spline", SPLINE)]
    )


def test_the_answers_are_the_sentences_and_what_stands_beside(logs):
    birth, accident, takeoffs, tails, beside = spline_study.verdicts(logs)
    # clipped runs are as good as others before training
    assert birth.endswith("(1 to 1 in 5 runs): at initialisation the spline does not help.")
    assert (birth, accident) == (spline_study.does_it_help(logs), spline_study.was_it_an_accident(logs))
    assert accident.endswith("so the gain is at times an accident's. 0 blew up and have not left it.")
    assert (takeoffs, tails) == (spline_study.about_takeoffs(logs), spline_study.about_tails(logs))
    assert beside == "Beside it: relu (lr 0.0003) learned in 1 of 1, 0.800."
    assert spline_study.verdicts(logs[:-1]) == [birth, accident, takeoffs, tails]
    assert spline_study.verdicts(logs[-1:]) == [
        "None of these logs is of the published spline without clipping.",
        "No loss of the published spline without clipping blew up in these runs.",
        beside,
    ]


def test_decades_are_those_between_the_output_and_the_first_layer():
    log = made_up("a", SPLINE, weights=(1e-7, 1e-4, 1e-2, 1e-1))
    log.metrics.loc[(log.metrics.epoch == 4) & (log.metrics.parameter == "hidden.0.weight"), "norm_gradient"] = 1e2
    said = spline_study.about_maps([log], "norm_gradient", "weight")
    assert "a -6 and 3; none has underflowed." in said
    dead = made_up("dead", SPLINE, weights=(0.0, 0.0, 1.0, 1.0))
    assert "dead -inf and -inf; 10 values are exactly 0" in spline_study.about_maps([dead], "norm_gradient", "weight")
    assert "nan" not in spline_study.about_maps([log], "norm_gradient", "shape")


def test_curves_and_times_are_compared():
    logs = [made_up("a", SPLINE, seed, seconds=s) for seed, s in enumerate((1.0, 2.0, 9.0))]
    logs.append(made_up("b", SPLINE, seconds=0.8))
    assert spline_study.about_times(logs).endswith("fastest experiment: a 2.5, b 1.0.")  # the median seed
    assert "a 0.100 +- 0.000, b 0.100." in spline_study.about_curves(spline_study.outcomes(logs))


def test_an_epoch_takes_what_the_fastest_tenth_take():
    """Of 11 epochs of training one lies below, and what else ran beside the slow ones is no matter."""
    flat = {key: values[:1] * 12 for key, values in FLAT.items()}
    busy = made_up("busy", SPLINE, seconds=[0.1, 50.0, 9.0, 2.0, 70.0, 1.0, 8.0, 90.0, 6.0, 5.0, 4.0, 3.0], **flat)
    assert busy.epoch_seconds == pytest.approx(2.0)
    assert spline_study.about_times([busy, made_up("b", seconds=0.5)]).endswith(": busy 4.0, b 1.0.")
    (axes,) = drawn(gradient_plots.train_times([busy]))
    assert [bar.get_width() for bar in axes.patches] == [pytest.approx(2.0)]


# ---- figures


def drawn(figure):
    """The figure's panels, once it has been drawn: warnings are errors."""
    figure.canvas.draw()
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def images(axes):
    """(the map, what has underflowed) of a panel."""
    return [collection for collection in axes.collections if hasattr(collection, "norm")]


def test_gradient_maps_share_one_scale(logs):
    logs.append(made_up("weak", SPLINE, weights=(1e-9, 1e-5, 1.0, 1.0)))
    figure = gradient_plots.gradient_maps(logs, "norm_gradient", "weight")
    panels = drawn(figure)
    assert [axes.get_title() for axes in panels] == ["sigmoid", "spline", "clipped", "relu", "weak"]
    norms = {id(images(axes)[0].norm) for axes in panels}
    assert len(norms) == 1
    norm = images(panels[0])[0].norm
    assert (norm.vmin, norm.vmax) == (pytest.approx(-9), pytest.approx(np.log10(5)))
    shown = np.ma.getdata(images(panels[-1])[0].get_array()).reshape(4, 5)
    np.testing.assert_allclose(shown, np.log10([[1e-9] * 5, [1e-5] * 5, [1.0] * 5, [1.0] * 5]), atol=1e-12)
    assert figure.legends == []


def test_what_has_underflowed_is_black_and_explained():
    scale = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    logs = [made_up("dead", SPLINE, scale=scale), made_up("alive", SPLINE)]
    figure = gradient_plots.gradient_maps(logs)
    dead, alive = drawn(figure)
    gone = ~np.ma.getmaskarray(images(dead)[1].get_array()).reshape(4, 5)
    assert (gone == (scale == 0)).all()
    assert np.ma.getmaskarray(images(dead)[0].get_array()).reshape(4, 5)[:, 3:].all()
    assert (images(dead)[1].cmap(0) == plt.matplotlib.colors.to_rgba_array(gradient_plots.UNDERFLOWED)).all()
    assert np.ma.getmaskarray(images(alive)[1].get_array()).all()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["underflowed"]
    drawn(gradient_plots.gradient_maps([made_up("all", SPLINE, weights=[0.0] * 4)]))


def test_what_is_unknown_is_neither_drawn_nor_black(logs):
    wild = diverged()
    (axes,) = drawn(gradient_plots.gradient_maps([wild]))
    for image, epochs in zip(images(axes), (2, 0), strict=True):
        assert (~np.ma.getmaskarray(image.get_array())).reshape(4, 3).sum() == 4 * epochs
    (axes,) = drawn(gradient_plots.tail_maps([wild]))
    assert (~np.ma.getmaskarray(images(axes)[0].get_array())).sum() == 3 * 2


@pytest.mark.parametrize(
    ("figure", "panels"),
    [
        (gradient_plots.gradient_maps, 5),
        (gradient_plots.tail_maps, 5),
        (gradient_plots.learning_curves, 4),
        (gradient_plots.train_times, 1),
        (gradient_plots.takeoffs, 15),
    ],
)
def test_runs_that_diverged_or_are_shorter_break_no_figure(logs, figure, panels):
    short = {key: values[:2] for key, values in FLAT.items()}
    logs += [diverged(), made_up("sigmoid", {"activation": "sigmoid"}, 1, **short)]
    assert len(drawn(figure(logs))) == panels


def test_tail_maps_show_shares_of_everything(logs):
    figure = gradient_plots.tail_maps(logs)
    for axes in drawn(figure):
        assert (images(axes)[0].norm.vmin, images(axes)[0].norm.vmax) == (0, 1)
    shown = np.ma.getdata(images(figure.axes[1])[0].get_array()).reshape(3, 5)
    np.testing.assert_allclose(shown[1], [0.001, 0.002, 0.6, 0.004, 0.005])  # of the first seed


def test_curves_are_means_and_spans_over_seeds(logs):
    figure = gradient_plots.learning_curves(logs)
    panels = {axes.get_title(): axes for axes in drawn(figure)}
    accuracy = panels["validation accuracy"]
    line = dict(zip(("sigmoid", "spline", "clipped", "relu"), accuracy.lines, strict=True))["spline"]
    np.testing.assert_allclose(line.get_ydata(), [0.1, 0.1, *[(0.8 + 0.8 + 0.1) / 3] * 3])
    span = accuracy.collections[1].get_paths()[0].vertices
    assert (span[:, 1].min(), span[:, 1].max()) == (pytest.approx(0.1), pytest.approx(0.8))
    losses = panels["training loss"]
    assert losses.get_yscale() == "log"
    np.testing.assert_allclose(losses.lines[3].get_ydata(), [2.8, 1.4, 1.4, 1.4, 1.4])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sigmoid", "spline", "clipped", "relu"]


def test_curves_go_on_to_the_end_of_the_longest_seed():
    """Means and spans are over the seeds that are still there."""
    long = made_up("a", None, 1, acc_val=[0.1, 0.3, 0.5, 0.7, 0.9])
    short = made_up("a", **{key: values[:3] for key, values in FLAT.items()})
    panels = drawn(gradient_plots.learning_curves([short, long, made_up("b")]))
    assert [len(line.get_xdata()) for line in panels[0].lines] == [5, 5]
    (accuracy,) = [axes for axes in panels if axes.get_title() == "validation accuracy"]
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [0.1, 0.2, 0.3, 0.7, 0.9])
    span = accuracy.collections[0].get_paths()[0].vertices
    for epoch, (low, high) in enumerate([(0.1, 0.1), (0.1, 0.3), (0.1, 0.5), (0.7, 0.7), (0.9, 0.9)]):
        heights = span[span[:, 0] == epoch, 1]
        assert (heights.min(), heights.max()) == pytest.approx((low, high))


def test_times_are_those_of_training_epochs():
    logs = [made_up("a", SPLINE, seed, seconds=s) for seed, s in enumerate((1.0, 2.0, 9.0))]
    (axes,) = drawn(gradient_plots.train_times([*logs, made_up("b", seconds=0.5)]))
    assert [bar.get_width() for bar in axes.patches] == [2.0, 0.5]  # epoch 0, which trains nothing, took 99
    assert sorted(axes.lines[0].get_xdata()) == [1.0, 2.0, 9.0]


def test_gradients_at_birth_stand_beside_their_prediction(logs):
    logs.append(made_up("sigmoid", {"activation": "sigmoid"}, 1, weights=(0.04, 0.4, 4.0, 7.0)))
    predicted = {
        name: np.array([0.02, 0.2, 1.0]) * (i + 1) for i, name in enumerate(("sigmoid", "spline", "clipped", "relu"))
    }
    (axes,) = drawn(gradient_plots.gradients_at_birth(logs, predicted))
    lines = {line.get_label(): line for line in axes.lines if line.get_linestyle() != "None"}
    assert list(lines) == list(predicted)
    for name, line in lines.items():
        np.testing.assert_array_equal(line.get_ydata(), predicted[name])
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert len(dots) == len(logs)
    for line in dots:
        np.testing.assert_allclose(line.get_ydata(), [0.01, 0.1, 1.0])


def test_takeoffs_show_every_seed_in_a_colour_of_its_own(logs):
    figure = gradient_plots.takeoffs(logs)
    panels = np.reshape(drawn(figure), (3, 4))
    assert [axes.get_title() for axes in panels[0]] == ["sigmoid", "spline", "clipped", "relu"]
    assert [len(axes.lines) for axes in panels[0]] == [1, 3, 2, 1]
    np.testing.assert_allclose(panels[0, 1].lines[1].get_ydata(), [0.1, 0.1, 0.8, 0.8, 0.8])
    np.testing.assert_allclose(panels[1, 1].lines[1].get_ydata(), [2.4, 2.4, 2.4, 7000.0, 2.4])
    np.testing.assert_allclose(panels[2, 1].lines[1].get_ydata(), [0.001, 0.002, 0.003, 0.6, 0.005])
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["seed 0", "seed 1", "seed 2"]
    colours = {line.get_label(): line.get_color() for line in legend.get_lines()}
    assert len(set(colours.values())) == 3
    assert {line.get_color() == colours[line.get_label()] for axes in panels.ravel() for line in axes.lines} == {True}


def test_where_no_log_is_such_a_figure_says_so():
    """Of relu alone there is nothing to compare with the sigmoid, and nothing has spline shapes."""
    for figure in (gradient_plots.takeoffs([]), gradient_plots.gradient_maps([made_up("a")], kind="shape")):
        (axes,) = drawn(figure)
        assert axes.texts[0].get_text() == "no such log"
    (axes,) = drawn(
        gradient_plots.gradient_maps([made_up("a"), made_up("b", {"activation": "learnable_spline"})], kind="shape")
    )
    assert axes.get_title() == "b"
    assert np.ma.getdata(images(axes)[0].get_array()).shape in ((3, 5), (15,))


def test_activations_are_drawn_with_their_slopes():
    rows = {name: ACTIVATIONS[name] for name in ("sigmoid", "spline_sigmoid")}
    values, slopes = drawn(gradient_plots.activations_drawn(rows))
    for axes in (values, slopes):
        assert len(axes.lines) == 2
    z, phi = values.lines[1].get_data()
    np.testing.assert_allclose(slopes.lines[1].get_ydata()[1:-1], np.gradient(phi, z)[1:-1], atol=0.6)  # a kink at 2
    smooth = np.abs(np.abs(z) - 2) > 0.05
    np.testing.assert_allclose(slopes.lines[1].get_ydata()[smooth][1:-1], np.gradient(phi, z)[smooth][1:-1], atol=1e-3)


def test_logs_from_files_are_what_was_made_up(tmp_path):
    log = took_off("spline", CLIPPED, 5)
    for name, table in (("metrics.csv", log.metrics), ("signals.csv", log.signals)):
        gradient_log._append(tmp_path / name, list(table), table.to_dict("records"))
    (tmp_path / "experiment.json").write_text(gradient_log.json.dumps(log.about))
    (read,) = gradient_log.find_logs(tmp_path)
    pd.testing.assert_frame_equal(spline_study.outcomes([read]), spline_study.outcomes([log]))
    pd.testing.assert_frame_equal(spline_study.epochs_of([read]), spline_study.epochs_of([log]))
