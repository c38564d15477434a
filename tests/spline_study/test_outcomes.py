"""The spline study on made-up logs: outcomes, the theory against sampled networks, and its two questions."""

import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_logs import CLIPPED, COMMON, EDGE, GUESS, METRICS, SPLINE, diverged, first_gradients, made_up, took_off

from helpers import ROOT, networks, theory
from helpers.activations import ACTIVATIONS
from helpers.config import ConfigError
from helpers.spline_study import log as log_module
from helpers.spline_study import outcomes
from helpers.spline_study.experiments import experiments

# ---- tables


@pytest.mark.parametrize("study", ["digits", "mnist"])
def test_published_tables_are_those_of_the_logs_and_keep_what_has_no_rows(tmp_path, study):
    """Written anew from what is there, outcomes.csv and epochs.csv come out as they are, byte for byte."""
    published = ROOT / "results" / "splines" / study
    for path in [*published.glob("*_s*/experiment.json"), *published.glob("*_s?.tar.xz"), *published.glob("*.csv")]:
        (tmp_path / path.relative_to(published)).parent.mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(published))
    logs = log_module.find_logs(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.glob("*.csv")}
    assert len(logs) + len(log_module.not_kept(tmp_path)) == len([*tmp_path.glob("*/experiment.json")])
    table = outcomes.write(logs, tmp_path)
    assert len(table) == len(logs)
    assert {path.name: path.read_text() for path in tmp_path.glob("*.csv")} == before
    lines = before["epochs.csv"].splitlines()
    (tmp_path / "epochs.csv").write_text("\n".join([lines[0], *lines[-1:]]))  # of an experiment that is not kept
    outcomes.write(logs, tmp_path)
    kept = len((tmp_path / "epochs.csv").read_text().splitlines())
    assert kept == 1 + sum(len(log.epochs) for log in logs) + bool(log_module.not_kept(tmp_path))


def test_without_a_log_there_is_nothing_to_compare(tmp_path):
    with pytest.raises(ConfigError, match=r"no log of an experiment in .* can be read"):
        outcomes.write([], tmp_path)
    assert list(tmp_path.iterdir()) == []


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
    (row,) = outcomes.outcomes_of([log]).to_dict("records")
    expected = {"experiment": "spline", "seed": 4, "epochs": 4, "acc_val": 0.56, "best": 0.9, "left_at": 3}
    expected |= {"learned": True, "blown_up_at": 2, "worst_loss": 700.0, "tails": 0.03, "diverged": False}
    assert {key: row[key] for key in expected} == pytest.approx(expected)
    assert row["reach_at_birth"] == pytest.approx(0.05)


def test_reach_and_tails_are_those_of_the_epoch_before_the_takeoff():
    log = took_off("a", SPLINE, left_at=3, blown_at=None)
    first = log.metrics.parameter == "hidden.0.weight"
    log.metrics.loc[first, "norm_gradient"] = [0.1, 0.2, 0.3, 0.4, 0.5]  # the last hidden layer's are 1
    (row,) = outcomes.outcomes_of([log]).to_dict("records")
    assert (row["reach_at_birth"], row["reach_before"], row["tails"]) == pytest.approx((0.1, 0.3, 0.003))
    (row,) = outcomes.outcomes_of([took_off("a", SPLINE, left_at=None, blown_at=None)]).to_dict("records")
    assert np.isnan(row["left_at"])
    assert (row["tails"], row["reach_before"]) == pytest.approx((0.005, 0.01))


def test_a_run_that_never_leaves_never_learns():
    (row,) = outcomes.outcomes_of([made_up("a", SPLINE)]).to_dict("records")
    assert np.isnan([row["left_at"], row["blown_up_at"]]).all()
    assert row["learned"] is False


@pytest.mark.parametrize(("final", "learned"), [(0.5499, False), (0.5501, True)])
def test_what_has_learned_ends_halfway_between_guessing_and_1_in_training(final, learned):
    """Whatever it reached before, and on the validation set."""
    others = {"acc_train": [0.1, 0.9 - final, 0.9, 1.1 - final, final], "acc_val": [1.1 - final] * 5}
    (row,) = outcomes.outcomes_of([made_up("a", SPLINE, **others)]).to_dict("records")
    assert row["learned"] is learned


def test_only_a_loss_of_100_times_guessing_has_blown_up():
    logs = [made_up("a", SPLINE, worst=[2.4, 2.4, worst, 2.4, 2.4]) for worst in (10 * GUESS, EDGE - 0.1, EDGE + 0.1)]
    table = outcomes.outcomes_of(logs)
    assert list(table.blown_up_at.isna()) == [True, True, False]
    assert "blew up in 1 of its runs" in outcomes.tails_in_words(logs)


def test_a_loss_that_is_no_number_has_blown_up():
    (row,) = outcomes.outcomes_of([diverged()]).to_dict("records")
    assert (row["blown_up_at"], row["worst_loss"], row["diverged"], row["epochs"]) == (2, np.inf, True, 2)
    assert (row["left_at"], row["tails"], row["best"]) == pytest.approx((1, 0.1, 0.2))
    assert row["learned"] is False


def test_a_gradient_that_has_underflowed_has_no_reach_and_warns_nobody():
    table = outcomes.outcomes_of(
        [made_up("dead", SPLINE, weights=(0.0, 0.0, 1e-9, 1.0)), made_up("none", weights=[0] * 4)]
    )
    assert table.reach_at_birth[0] == 0
    assert np.isnan(table.reach_at_birth[1])
    assert outcomes.summary(table).reach_at_birth["dead"] == "1.0e-300"


def test_the_summary_counts_and_spans(logs):
    table = outcomes.summary(outcomes.outcomes_of(logs))
    assert list(table.index) == ["sigmoid", "spline", "clipped", "relu"]
    spline = table.loc["spline"]
    assert (spline.seeds, spline.left, spline.learned, spline.blown_up, spline.epochs) == (3, 2, 2, 2, 4)
    assert (spline.left_at, spline.blown_up_at) == ("2", "2 to 3")
    accuracies = np.array([0.8, 0.8, 0.1])
    assert spline.acc_val == f"{accuracies.mean():.3f} +- {accuracies.std(ddof=1):.3f}"
    assert (table.acc_val["sigmoid"], table.left_at["sigmoid"]) == ("0.100", "")


def test_runs_that_diverged_are_counted_beside_the_mean_of_the_others():
    def summarised(*logs):
        return outcomes.summary(outcomes.outcomes_of(logs)).acc_val.item()

    wild = [diverged("a", SPLINE, seed) for seed in (7, 8)]
    calm = [made_up("a", SPLINE, seed, acc_val=[accuracy] * 5) for seed, accuracy in enumerate((0.2, 0.5))]
    assert summarised(*calm) == f"0.350 +- {0.3 / 2**0.5:.3f}"
    assert summarised(*calm, *wild) == f"0.350 +- {0.3 / 2**0.5:.3f} (2 of 4 diverged)"
    assert summarised(calm[1], *wild) == "0.500 (2 of 3 diverged)"
    assert summarised(*wild) == "(2 of 2 diverged)"
    assert summarised(calm[0]) == "0.200"


def test_the_summary_of_reaches_is_their_geometric_mean():
    table = outcomes.outcomes_of(
        [made_up("a", SPLINE, seed, (reach, 1, 1, 1)) for seed, reach in enumerate((1e-2, 1e-6))]
    )
    assert outcomes.summary(table).reach_at_birth["a"] == "1.0e-04"


def test_all_epochs_stand_in_one_table(logs):
    table = outcomes.epochs_of([*logs, diverged()])
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
    config, run = outcomes.config_of(log), experiment.run
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
    assert (outcomes.is_published_spline(log), outcomes.is_sigmoid_like(log)) == (published, like)


def test_activations_are_those_of_the_experiments():
    found = experiments(
        COMMON, {"a": {"activation": "spline_4"}, "b": {"activation": "relu"}, "c": {"activation": "relu"}}, "x"
    )
    rows = outcomes.activations_of(found)
    assert list(rows) == ["spline_4", "relu"]
    assert rows["relu"] is ACTIVATIONS["relu"]
    assert rows["spline_4"].f.segments == 4


# ---- theory


def test_predictions_are_those_of_the_theory(digits):
    data = digits(train_size=200)[1]
    given = {"sigmoid": {"activation": "sigmoid"}, "gaussian": {"activation": "spline_4", "init": "gaussian"}}
    found = outcomes.predicted_gradients([made_up(*item) for item in given.items()], lambda config: data)
    for experiment in experiments(COMMON, given, "x"):
        profiles = theory.profiles(experiment.config.fitted_to(data), theory.input_moments(data.x_train))
        np.testing.assert_array_equal(found[experiment.name], profiles[experiment.run].gradient)


@pytest.mark.parametrize("activation", ["sigmoid", "spline_sigmoid", "learnable_published"])
def test_predictions_are_what_wide_networks_have(digits, activation):
    """||dL/dW|| over the last hidden layer's, the mean of several networks: within their scatter of the theory."""
    width, seeds = 400, range(8)
    data, given = digits(train_size=300)[1], {"activation": activation, "hidden_size": width}
    (predicted,) = outcomes.predicted_gradients([made_up("a", given)], lambda config: data).values()
    logs = []
    for seed in seeds:
        (experiment,) = experiments({**COMMON, "seeds": [seed]}, {"a": given}, "x")
        net = networks.build(experiment.config.fitted_to(data), experiment.run, torch.float64)
        loss = torch.nn.functional.cross_entropy(net(data.x_train), data.y_train)
        norms = [g.norm().item() for g in torch.autograd.grad(loss, [layer.weight for layer in net.hidden])]
        logs.append(np.log(np.array(norms) / norms[-1] / predicted))
    standard_error = np.std(logs, axis=0, ddof=1) / len(seeds) ** 0.5
    assert (np.abs(np.mean(logs, axis=0)) <= 4 * standard_error + 1e-12).all()


# ---- sentences


@pytest.mark.parametrize(
    ("splines", "ratios", "verdict"),
    [
        ((0.008, 0.009, 0.019), ("0.9 times", "(0.8 to 1.9 in 3 runs)"), "the spline does not help."),
        ((0.021, 0.03), ("2.5 times", "(2.1 to 3 in 2 runs)"), "the spline helps."),
        ((0.01, 0.04), ("2.5 times", "(1 to 4 in 2 runs)"), "the spline helps some seeds."),
    ],
)
def test_the_first_verdict_compares_with_the_sigmoid(splines, ratios, verdict):
    text = outcomes.does_it_help(first_gradients(0.01, splines))
    assert all(ratio in text for ratio in ratios)
    assert text.endswith(f"at initialisation {verdict}")


def test_the_first_verdict_without_a_sigmoid_or_a_spline_is_none():
    sigmoid, spline = first_gradients(0.01, [0.01])
    assert outcomes.does_it_help([sigmoid]) == outcomes.does_it_help([spline]) == ""
    assert outcomes.does_it_help([]) == ""


def test_a_gradient_that_has_underflowed_is_no_help():
    assert outcomes.does_it_help(first_gradients(0.0, [0.0])).endswith("the spline does not help.")


GUESSED = "a batch's loss rose above 100 times that of guessing"


def test_the_fates_of_the_spline_and_its_kin_are_counted(logs):
    """Seed 1 had taken off before its loss blew up."""
    assert outcomes.takeoffs_in_words(logs) == (
        f"spline: in 2 of 3 runs {GUESSED} (epoch 2 to 3; the largest 5.0e+03 to 7.0e+03), 2 took off (after 0 more), "
        f"2 learned; the same with clipped gradients (clipped): in 0 of 2 runs {GUESSED}, 1 took off, 1 learned. "
        "Took off: training accuracy at least 1.5 times that of guessing."
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
    text = outcomes.takeoffs_in_words([*strangers, *logs])
    assert text == outcomes.takeoffs_in_words(logs)
    parts = text.partition(". Took off: ")[0].split("; ")
    heads = ["fast", "the same with smooth tails (smooth)", "the same with tails of slope 0.5 (half)", "slow"]
    heads += ["the same with clipped gradients (slow_clipped)"]
    heads += ["the same with smooth tails and with clipped gradients (slow_both)"]
    assert [part.split(":")[0] for part in parts if ":" in part] == heads
    assert "in 2 of 2 runs" in parts[0]
    assert text.count("2 took off (after 2 to 3 more), 2 learned") == 1  # of fast
    assert f"slow: in 0 of 1 runs {GUESSED}, 0 took off, 0 learned; " in text


def test_without_the_published_spline_there_is_no_fate(logs):
    others = [log for log in logs if log.name in ("sigmoid", "relu", "clipped")]
    assert outcomes.takeoffs_in_words(others) == "None of these logs is of the published spline without clipping."
    assert outcomes.tails_in_words(others) == "No loss of the published spline without clipping blew up in these runs."
    assert outcomes.was_it_an_accident(others) == outcomes.was_it_an_accident([]) == ""
    assert outcomes.tails_in_words([]).startswith("No loss")


@pytest.mark.parametrize(
    ("runs", "counts", "verdict"),
    [
        ([(2, 2), (1, 3)], "2 runs of the published spline 2 took off, 2", "2 had.* is compatible with an acc"),
        (
            [(1, 2), (3, 2)],
            "2 runs of the published spline 2 took off, 2",
            "1 had.* is at times compatible with",
        ),
        ([(3, 2), (None, 4)], "2 runs of the published spline 2 took off, 2", "0 had.* is no accident"),
        (
            [(1, 2), (None, None)],
            "2 runs of the published spline 1 took off, 1",
            "1 had.* is compatible with an",
        ),
    ],
)
def test_the_second_verdict_asks_whether_a_blow_up_came_before(runs, counts, verdict):
    """Runs by (epoch of the blow-up, epoch of the takeoff); those of others say nothing."""
    logs = [took_off("spline", SPLINE, seed, blown_at=b, left_at=l) for seed, (b, l) in enumerate(runs)]
    text = outcomes.was_it_an_accident([*logs, took_off("c", {"activation": "relu"})])
    meant = "training accuracy at least 1.5 times that of guessing"
    assert text.startswith(f"Of {counts} learned; of those that took off ({meant}), ")
    assert re.search(verdict, text)
    assert " 0 blew up and have not taken off. " in text
    blown = sum(b is not None for b, _ in runs)
    assert ("All 2 blew up, so that a blow-up came before proves little." in text) == (blown == 2)


def fisher(a, b, c, d):
    """Two-sided: the probability of all tables with these margins that are no likelier than this one."""
    rows, left = (a + b, c + d), a + c

    def probability(x):
        return math.comb(rows[0], x) * math.comb(rows[1], left - x) / math.comb(sum(rows), left)

    possible = range(max(0, left - rows[1]), min(left, rows[0]) + 1)
    return sum(p for p in map(probability, possible) if p <= probability(a) * (1 + 1e-9))


@pytest.mark.parametrize(("left", "clipped", "smooth"), [((3, 5), (0, 5), (0, 3)), ((4, 4), (1, 6), (3, 5))])
def test_the_second_verdict_says_how_surely_its_kin_differ(left, clipped, smooth):
    """(how many took off, of how many)."""

    def runs(name, given, count, of):
        return [took_off(name, given, seed, left_at=3 if seed < count else None) for seed in range(of)]

    logs = [*runs("spline", SPLINE, *left), *runs("clip", CLIPPED, *clipped)]
    logs += runs("smooth", {"activation": "spline_smooth"}, *smooth)
    text = outcomes.was_it_an_accident(logs)
    parts = [
        f"{a} of {n} with {what} (Fisher p = {fisher(left[0], left[1] - left[0], a, n - a):.2g})"
        for (a, n), what in ((clipped, "clipped gradients"), (smooth, "smooth tails"))
    ]
    assert text.endswith(f"Of spline {left[0]} of {left[1]} took off; of the same {' and '.join(parts)}.")


def test_the_second_verdict_counts_accidents_in_vain():
    vain = [took_off("spline", SPLINE, seed, left_at=None) for seed in (1, 2)]
    text = outcomes.was_it_an_accident([took_off("spline", SPLINE, left_at=3), *vain])
    assert "the gain is compatible with an accident. 2 blew up and have not taken off. All 3 blew up" in text
    none = outcomes.was_it_an_accident(vain)
    assert none == "Of 2 runs of the published spline 0 took off, 0 learned: there is no gain here to explain."
    barely = made_up("spline", SPLINE, acc_train=[0.1, 0.1, 0.2, 0.3, 0.4])  # took off, but learned too little
    assert "1 took off, 0 learned" in outcomes.was_it_an_accident([barely])
    calm = [took_off("spline", SPLINE, seed, blown_at=None, left_at=None) for seed in (3, 4)]
    text = outcomes.was_it_an_accident([took_off("spline", SPLINE, left_at=3), *calm])
    p = f"Fisher p = {fisher(1, 0, 0, 2):.2g}"
    assert text.endswith(f"Of those that blew up 1 of 1 took off, of the others 0 of 2 ({p}).")


def test_tails_are_compared_across_the_blow_up(logs):
    """Of seed 0 epochs 0 and 2, of seed 1 epochs 1 and 3: medians of 0.001 and 0.002, and of 0.6."""
    text = outcomes.tails_in_words(logs)
    assert "blew up in 2 of its runs" in text
    assert "0.15% lie beyond +-2 two epochs before" in text
    assert "up to 60% in the three epochs" in text
    late = took_off("spline", SPLINE, blown_at=4, left_at=None)
    assert "0.30% lie beyond +-2 two epochs before" in outcomes.tails_in_words([late])
    early = took_off("spline", SPLINE, blown_at=1, left_at=None)
    assert "0.10% lie beyond +-2 two epochs before" in outcomes.tails_in_words([early])  # there is one only
    assert "10.00% lie beyond +-2 two epochs before, and up to 20%" in outcomes.tails_in_words(
        [diverged("spline", SPLINE)]
    )


def test_the_answers_are_the_sentences_and_what_stands_beside(logs):
    helps, accident, takeoffs, tails, beside = outcomes.verdicts(logs)
    # clipped runs are as good as others before training
    assert helps.endswith("(1 to 1 in 5 runs): at initialisation the spline does not help.")
    assert (helps, accident) == (outcomes.does_it_help(logs), outcomes.was_it_an_accident(logs))
    assert "the gain is at times compatible with an accident. 0 blew up and have not taken off." in accident
    assert (takeoffs, tails) == (outcomes.takeoffs_in_words(logs), outcomes.tails_in_words(logs))
    beside_it = "Beside it, validation accuracy at the last epoch: relu (lr 0.0003) learned in 1 of 1, 0.800"
    assert beside == f"{beside_it} (0.800 over the last 2)."
    swings = made_up("relu", {"activation": "relu"}, acc_val=[0.1, 0.2, 0.9, 0.7, 0.8])
    assert outcomes.verdicts([swings])[-1].endswith("learned in 0 of 1, 0.800 (0.700 to 0.800 over the last 2).")
    assert outcomes.verdicts(logs[:-1]) == [helps, accident, takeoffs, tails]
    assert outcomes.verdicts(logs[-1:]) == [
        "None of these logs is of the published spline without clipping.",
        "No loss of the published spline without clipping blew up in these runs.",
        beside,
    ]


def test_logs_from_files_are_what_was_made_up(tmp_path):
    log = took_off("spline", CLIPPED, 5)
    for name, table in (("metrics.csv", log.metrics), ("signals.csv", log.signals)):
        log_module._append(tmp_path / name, list(table), table.to_dict("records"))
    (tmp_path / "experiment.json").write_text(log_module.json.dumps(log.about))
    (read,) = log_module.find_logs(tmp_path)
    pd.testing.assert_frame_equal(outcomes.outcomes_of([read]), outcomes.outcomes_of([log]))
    pd.testing.assert_frame_equal(outcomes.epochs_of([read]), outcomes.epochs_of([log]))
