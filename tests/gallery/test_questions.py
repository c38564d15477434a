"""The answers: each counted again from the files of its study, by another way."""

import csv
import math
import re
from statistics import fmean, median, stdev
from types import SimpleNamespace

import pandas as pd
import pytest
from scipy.stats import t

from helpers import ROOT
from helpers.gallery import questions
from helpers.gallery.studies import read_studies

RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def answers():
    """{study: (short, answer)} of what is published."""
    studies = read_studies(RESULTS)
    assert [study.damaged for study in studies if study.damaged] == []
    return {study.name: (study.short, study.answer) for study in studies}


def rows_of(name):
    with open(RESULTS / name, newline="") as file:
        return list(csv.DictReader(file))


def share(flags):
    flags = list(flags)
    return f"{sum(flags)} of {len(flags)}"


def test_every_published_study_has_a_question_and_a_short_answer(answers):
    assert list(answers) == list(questions.QUESTIONS)
    for name, (short, answer) in answers.items():
        assert questions.QUESTIONS[name].title.endswith("?")
        assert 0 < len(short.split()) <= 15, name
        assert answer.endswith("."), name
        assert (ROOT / questions.QUESTIONS[name].notebook).exists()


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_the_reach_of_an_activation_is_its_deepest_cell_that_always_learned(answers, name):
    learned = {}
    for row in rows_of(f"{name}/summary.csv"):
        cell = (row["activation"], row["init"], int(row["layers"]))
        learned[cell] = learned.get(cell, True) and row["learned"] == "True"
    depths = sorted({layers for *_, layers in learned})
    reach = {}
    for activation, init, _ in learned:
        at = [learned[activation, init, layers] for layers in depths]
        own = depths[at.index(False) - 1] if False in at else depths[-1]
        reach.setdefault(activation, {})[init] = own if at[0] else 0
    short, answer = answers[name]
    rate = {"digits": "0.05", "mnist": "0.01"}[name]
    assert short.startswith(f"Layers at lr {rate}, every seed: ")
    for activation, by_init in reach.items():
        deepest = max(by_init.values())
        assert f"{activation} {deepest}" in short if deepest else f"{activation} none" in short
        if deepest:
            first = next(init for init, depth in by_init.items() if depth == deepest)
            assert f"{activation} down to {deepest} layers with {first}" in answer


def test_gelu_with_critical_is_counted(answers):
    own, others, accuracies = [], [], []
    for name in ("digits", "mnist"):
        rows = [r for r in rows_of(f"critical/{name}/summary.csv") if (r["activation"], r["layers"]) == ("gelu", "50")]
        ours = [r for r in rows if r["init"] == "critical"]
        own += [r["learned"] == "True" for r in ours]
        others += [r["learned"] == "True" for r in rows if r["init"] != "critical"]
        values = [float(r["final_test_acc"]) for r in ours]
        accuracies.append(f"(test accuracy {fmean(values):.2f} +- {stdev(values):.2f})")
    short, answer = answers["critical"]
    assert short == f"Yes at lr 0.01: {share(own)} learned; with the published inits {share(others)}"
    assert all(text in answer for text in accuracies)


def test_calls_and_prescriptions_are_counted(answers):
    calls = [
        r for r in rows_of("signal/calls.csv") if r["rule"] == "fitted elsewhere" and r["set"] != "mnist, 10 epochs"
    ]
    right, of = (sum(float(r[key]) for r in calls) for key in ("right", "of"))
    learned = {}
    for row in rows_of("signal/prescriptions/runs.csv"):
        learned.setdefault(row["competitor"], []).append(row["learned"] == "True")
    short, answer = answers["signal"]
    table = (ROOT / "docs/found.md").read_text()  # whose rows a test of their own counts
    rows = re.findall(r"^\| \*\*these \d+, .*?\|\s*\| (\d+) \| (\d+) \(", table, re.MULTILINE)
    new, theirs = (sum(map(int, column)) for column in zip(*rows, strict=True))
    assert len(rows) == 2
    assert f"calls {100 * right / of:.0f}% of runs right, {100 * theirs / new:.0f}% elsewhere; " in short
    assert short.endswith(f"prescriptions trained {share(learned['prescription'])}")
    assert f"{theirs:,} of {new:,} on other data" in answer
    assert f"{right:,.0f} of {of:,.0f} runs" in answer
    assert f"{share(learned['default_adam'])} with PyTorch's default" in answer


def test_sigmoids_that_left_are_counted(answers):
    with open(ROOT / "sigmoid/summary.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["lr"]) == 1]
    left = [float(row["left"]) for row in rows if row["left"]]
    said = f"Yes: {len(left)} of {len(rows)} inits at lr 1, the first after {min(left):.0f} epochs"
    assert answers["sigmoid"][0] == said


def test_splines_that_learned_are_counted(answers):
    learned = {}
    for row in rows_of("splines/digits/outcomes.csv"):
        learned.setdefault(row["experiment"], []).append(row["learned"] == "True")
    spline = share([*learned["spline"], *learned["spline_control"]])
    centred = share([*learned["centred_sigmoid"], *learned["centred_slow"]])
    assert answers["splines"][0] == f"No ({spline} learned); centred sigmoids of slope 1 did in {centred}"
    calibrated, slow = share(learned["calibrated_sigmoid"]), share(learned["calibrated_sigmoid_slow"])
    said = f"calibrated to chi1 = 1 in {calibrated} and, at the spline's learning rate, in {slow}."
    assert said in answers["splines"][1]


def test_tunnels_that_beat_the_line_are_counted_by_a_paired_test(answers):
    table = pd.read_csv(RESULTS / "paths/uci/posteriors.csv")
    table = table[table.k.notna() & table.space.isin(["line", "tunnel"])]
    table.loc[table.converged.astype(str) == "False", "lppd"] = math.nan
    verdicts = []
    for _, own in table.groupby(["data", "k"]):
        pairs = own.pivot(index="seed", columns="space", values="lppd").dropna()
        difference = pairs.tunnel - pairs.line
        reach = t.ppf(0.975, len(pairs) - 1) * difference.std(ddof=1) / len(pairs) ** 0.5
        verdicts.append(0 if abs(difference.mean()) <= reach else math.copysign(1, difference.mean()))
    better, worse = verdicts.count(1), verdicts.count(-1)
    short, answer = answers["paths"]
    assert f"a tunnel helps in {better} of {len(verdicts)}, hurts in {worse}" in short
    curves = rows_of("paths/uci/curves.csv")
    straight, bent = ([float(row[name]) for row in curves] for name in ("barrier_straight", "barrier_curve"))
    assert f"Curves do ({share(a < b for a, b in zip(bent, straight, strict=True))});" in short
    assert f"(medians {median(bent):.2g} and {median(straight):.3g} nats a row)" in answer


def test_what_a_map_costs_is_what_pairs_of_seeds_say(answers):
    pairs = pd.read_csv(RESULTS / "stitching/mnist/pairs.csv.bz2")
    chosen = {"mapping": "affine", "sampling": "equally", "num_samples": 500, "differ": "seed", "part": "seeds"}
    for name, value in {**chosen, "lambda": "gcv"}.items():
        pairs = pairs[pairs[name] == value]
    times = (pairs.mse_stitched / pairs.mse_2).mean()
    (more,) = re.findall(r"costs (\d+)% more error", answers["stitching"][0])
    assert abs(times - 1 - int(more) / 100) < 0.02


def test_basins_that_training_deepened_are_counted(answers):
    deeper, sharper = [], []
    for folder in sorted((RESULTS / "landscapes").glob("*/measures.csv")):
        table = pd.read_csv(folder)
        table = table[(table.kind == "random") & (table.activation == "relu")]
        network = "mlp" if "mlp" in set(table.network) else "resnet14"
        by_epoch = table[table.network == network].groupby("epoch")[["centre_loss", "sharpness"]].mean()
        first, last = by_epoch.iloc[0], by_epoch.iloc[-1]
        deeper.append(last.centre_loss < first.centre_loss)
        sharper.append(last.sharpness > first.sharpness)
    said = f"Training deepens the basin on {share(deeper)} data sets, and sharpens it on {sum(sharper)}"
    assert answers["landscapes"][0] == said


def test_smooth_activations_are_judged_around_each_network(answers):
    flags = {}
    for folder in sorted((RESULTS / "landscapes").glob("*/measures.csv")):
        table = pd.read_csv(folder)
        table = table[(table.kind == "random") & (table.epoch == table.epoch.max())]
        network = "mlp" if "mlp" in set(table.network) else "resnet14"
        rough = table[table.network == network].groupby("activation").roughness.mean()
        flags.setdefault(network, []).append(rough.tanh > rough.relu)
    for network, own in flags.items():
        assert f"{share(own)} data sets around {network}" in answers["landscapes"][1]


@pytest.mark.parametrize(
    ("rough", "said"),
    [
        ({"a": ("mlp", 1, 2), "b": ("resnet", 1, 2)}, "A smooth activation makes a smoother surface"),
        ({"a": ("mlp", 2, 1), "b": ("resnet", 2, 1)}, "A smooth activation makes no smooth surface"),
        ({"a": ("mlp", 1, 2), "b": ("resnet", 2, 1)}, "depends on the network"),
        ({"a": ("mlp", 1, 2), "b": ("mlp", 2, 1)}, "depends on the data set"),
    ],
)
def test_what_is_said_of_smooth_activations_is_what_was_counted(rough, said):
    values = {name: (network, pd.Series([tanh]), pd.Series([relu])) for name, (network, tanh, relu) in rough.items()}
    assert questions._smoother(values).endswith(said)


def test_sigmoids_that_never_left_have_no_epoch():
    runs = pd.DataFrame({"left": ["", ""], "lr": ["1", "0.1"], "final_test_acc": ["0.1", "0.11"], "seed": ["0", "0"]})
    said = questions._sigmoid(SimpleNamespace(csvs={"one": runs}))
    assert said[0] == "No: 0 of 1 inits at lr 1"
    assert said[1].endswith("at lr 1 0 of 1 inits leave the plateau (best test accuracy 0.100).")


@pytest.mark.parametrize(("flags", "said"), [([True], "Yes"), ([True, False], "In part"), ([False, False], "No")])
def test_a_verdict_follows_its_runs(flags, said):
    assert questions._yes(flags) == said


def test_the_loop_is_as_slow_as_was_measured(answers):
    times = [
        float(row["times_faster_than_loop"]) for row in rows_of("bench/amd_epyc/stack.csv") if row["way"] == "stack"
    ]
    assert (
        answers["bench"][0] == f"The usual loop takes {min(times):.1f} to {max(times):.1f} times as long on two cores"
    )


def test_the_fastest_factor_is_the_first_to_the_common_loss(answers):
    """In whole epochs, so that factors which are close may change places."""
    from helpers.records import load_sweep

    results = load_sweep(RESULTS / "he_factor")
    for layers, own in results.summary.groupby("layers"):
        level = own.final_train_loss[own.learned].max()
        epochs = {}
        for row in own.itertuples():
            losses = results.history(row.run).train_loss
            epochs.setdefault(row.init, []).append((losses <= level).idxmax() if row.learned else math.inf)
        best = min(fmean(values) for values in epochs.values())
        near = [name for name, values in epochs.items() if fmean(values) <= best + 1]
        factors = {results.config["init_params"][name]["factor"] for name in near}
        said = re.search(rf"([\d.]+(?: or [\d.]+)*) at {layers} layers", answers["he_factor"][0])[1].split(" or ")
        assert float(said[0]) in factors
        assert set(map(float, said)) <= factors


def test_an_answer_whose_files_are_damaged_is_left_out(tmp_path):
    (tmp_path / "results/splines/digits").mkdir(parents=True)
    (tmp_path / "results/splines/answers.csv").write_text("a\n1\n")
    (study,) = read_studies(tmp_path / "results")
    assert (study.short, study.answer) == ("", "")
    assert "its answer is left out" in study.damaged[0]


def test_minutes_come_from_the_bench_and_from_the_sweeps_themselves(tmp_path):
    folder = tmp_path / "amd_epyc"
    folder.mkdir()
    (folder / "minutes.csv").write_text("study,minutes\na,1.04\nb,140\n")

    def sweep(seconds, shares, **manifest):
        return SimpleNamespace(manifest={"seconds": seconds, **manifest}, summary=pd.DataFrame({"seconds": shares}))

    def said(name, *sweeps):
        return questions.minutes(SimpleNamespace(name=name, sweeps=dict(enumerate(sweeps))), tmp_path)

    resumed = sweep(60.0, [600.0, 600.0], machine="some processor, 2 cores, 8 GiB")  # two at a time, ten minutes
    assert said("a") == "1"
    assert said("a", resumed) == "1; 10 for 2 networks"
    assert said("b", sweep(30.0, [1.0])) == "140"  # seconds are no second number
    assert said("c", sweep(240.0, [600.0], machine="4 cores", device="some card")) == "4 on some card"
    assert said("c") == ""
