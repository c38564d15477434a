"""Numbers of docs/found.md, counted again from the raw tables, without the functions of the studies."""

import base64
import gzip
import json
import re
import shutil
from statistics import fmean, median, stdev

import pandas as pd
import pytest

from helpers import ROOT, records
from helpers.gallery import damage, found, found_sweeps, marked
from helpers.gallery.studies import read_study

RESULTS = ROOT / "results"
TEXT = (ROOT / "docs/found.md").read_text(encoding="utf-8")
SWEEPS = records.find_sweeps(RESULTS)


@pytest.fixture(scope="module")
def part():
    """(name of a part) -> its text, computed anew."""
    known = {}

    def computed(name):
        study, write = marked.FOUND[name]
        if name not in known:
            known[name] = write(read_study(RESULTS / study, SWEEPS.get(study, {})))
        return known[name]

    return computed


def csv(name):
    return pd.read_csv(RESULTS / name)


def with_spread(values, digits=3):
    return f"{fmean(values):.{digits}f} +- {stdev(values):.{digits}f}"


@pytest.mark.parametrize("name", ["landscapes", "curves", "stitching", "splines"])
def test_a_section_is_short(part, name):
    """At most eight bullets of at most two sentences; a bold beginning may be one more."""
    lines = part(name).splitlines()
    assert 5 <= len(lines) <= 8
    for line in lines:
        assert line.startswith("- ")
        assert line.endswith(".")
        assert len(re.findall(r"(?<!al)\.(?= [A-Z]|$)", line.split("**", 2)[-1])) <= 2, line


def test_numbers_of_landscapes(part):
    table = csv("landscapes/cifar10/measures.csv")
    own = table[(table.network == "resnet14") & (table.activation == "relu") & (table.kind == "random")]
    loss = [own[own.epoch == epoch].groupby("seed").centre_loss.mean() for epoch in (0, 9)]
    said = " to ".join(f"{fmean(of):.3g} +- {stdev(of):.3g}" for of in loss)
    assert f"the loss at the centre goes from {said} in 9 epochs" in part("landscapes")
    digits = csv("landscapes/digits/measures.csv")
    mlp = digits[(digits.network == "mlp") & (digits.kind == "random") & (digits.epoch == digits.epoch.max())]
    rough = [mlp[mlp.activation == name].groupby("seed").roughness.mean() for name in ("tanh", "relu")]
    assert f"{' against '.join(with_spread(of, 2) for of in rough)} on digits (mlp)" in part("landscapes")


def test_numbers_of_curves(part):
    table = csv("paths/curves/curves.csv")
    own = table[(table.part == "lengths") & (table.layers == 3) & (table.k == 3)]
    said = [
        f"{fmean(own[f'barrier_{line}']):.3g} +- {stdev(own[f'barrier_{line}']):.3g}" for line in ("straight", "curve")
    ]
    assert f"{said[0]} along the straight line" in part("curves")
    assert f"{said[1]} along a curve of K = 3" in part("curves")
    sweep = csv("paths/sweep/curves.csv")
    living = sweep[(sweep.dead_a + sweep.dead_b) == 0]
    for layers, many in living.groupby("layers"):
        assert f"{sum(many.barrier_curve < 0.1)} of {len(many)} at {layers}" in part("curves")
    posteriors = csv("paths/uci/posteriors.csv")
    large = posteriors[posteriors.space.isin(["full", "mile"])]
    assert f"{(large.converged == 'True').sum()} of {len(large)} of these posteriors converged" in part("curves")
    grid = csv("paths/uci/temperatures.csv")
    hot = grid[grid.temperature == grid.temperature.max()].chosen.sum()
    assert f"{hot} of {grid.curve.nunique()} curves" in part("curves")


def test_tunnel_and_line_are_compared_with_a_t_test(part):
    """The mean difference beyond 2.776 standard errors of five seeds, seeds that did not converge left out."""
    quantile = {5: 2.776, 4: 3.182, 3: 4.303, 2: 12.706}
    table = csv("paths/uci/posteriors.csv")
    tunnel, line = (table[table.space == space].set_index(["data", "k", "seed"]) for space in ("tunnel", "line"))
    gaps = (tunnel.lppd - line.lppd)[(tunnel.converged != "False") & (tunnel.converged != False)]  # noqa: E712
    counts = {1: 0, -1: 0}
    for _, of in gaps.groupby(level=["data", "k"]):
        if abs(fmean(of)) > quantile[len(of)] * stdev(of) / len(of) ** 0.5:
            counts[1 if fmean(of) > 0 else -1] += 1
    assert f"the tunnel is better in {counts[1]} of 10 comparisons and worse in {counts[-1]}." in part("curves")


def test_numbers_of_stitching(part):
    pairs = pd.read_csv(RESULTS / "stitching/mnist/pairs.csv.bz2", dtype={"lambda": str})
    seeds = pairs[(pairs.part == "seeds") & (pairs.mapping == "affine") & (pairs["lambda"] == "gcv")]
    seeds = seeds[(seeds.num_samples == 500) & (seeds.sampling == "equally")]
    assert f"the stitched error is {seeds.mse_stitched.mean():.2g} (" in part("stitching")
    assert f"where B itself has {seeds.mse_2.mean():.2g}, the mean image {seeds.mse_mean_image.mean():.3f}" in part(
        "stitching"
    )
    assert f"{seeds.mse_stitched.mean() / seeds.mse_2.mean():.2f} times B's own at 500" in part("stitching")
    layers = pd.read_csv(RESULTS / "stitching/classifiers/pairs.csv.bz2", dtype={"lambda": str})
    layers = layers[(layers.part == "layers") & (layers.mapping == "affine") & (layers.num_samples == 1000)]
    lost = [
        f"{100 * ((of.accuracy_1 + of.accuracy_2) / 2 - of.accuracy_stitched).mean():.1f}"
        for _, of in layers.groupby("layer1")
    ]
    assert f"lose {', '.join(lost[:-1])} and {lost[-1]} points" in part("stitching")
    networks = pd.read_csv(RESULTS / "stitching/architectures/pairs.csv.bz2", dtype={"lambda": str})
    networks = networks[(networks.mapping == "affine") & (networks.num_samples == 1000)]
    across = networks[(networks.network1 == "resnet14") & (networks.network2 == "vit")]
    assert f"and {across.accuracy_stitched.mean():.3f} from ResNet" in part("stitching")


def test_numbers_of_splines(part):
    runs = csv("splines/digits/outcomes.csv")
    spline, sigmoid = (runs[runs.experiment.isin([name, f"{name}_control"])] for name in ("spline", "sigmoid"))
    reach = [*spline.reach_at_birth, *runs[runs.experiment == "spline_clipped"].reach_at_birth]
    assert f"{median(reach) / median(sigmoid.reach_at_birth):.2f} times as much" in part("splines")
    late = [left - blown for left, blown in zip(spline.left_at, spline.blown_up_at, strict=True) if left > 0]
    assert f"{len(late)} then took off, {min(late):.0f} to {max(late):.0f} epochs later" in part("splines")


RUNS = {"worst_loss": 500.0, "learned": False, "acc_val": 0.1}


@pytest.mark.parametrize(
    ("blown_up_at", "left_at", "said"),
    [
        ([None, None], [None, None], "in 0 of 2 runs {}; 0 then took off."),
        ([None, None], [4.0, 9.0], "in 0 of 2 runs {}; 0 then took off."),
        ([20.0, None], [1.0, 5.0], "in 1 of 2 runs {} (5.0e+02); 0 then"),
        ([20.0, 3.0], [1.0, 5.0], "in 2 of 2 runs {} (5.0e+02); 1 then took off, 2 epochs later."),
    ],
)
def test_take_offs_count_that_came_after_a_loss_blew_up(blown_up_at, left_at, said):
    runs = pd.DataFrame({"blown_up_at": blown_up_at, "left_at": left_at, **RUNS}, index=found.PUBLISHED, dtype=object)
    runs = runs.astype({"blown_up_at": float, "left_at": float, "worst_loss": float, "acc_val": float, "learned": bool})
    sentence = found._blow_up(runs)
    assert said.format("a batch's loss rose above 100 times that of guessing") in sentence
    assert "()" not in sentence
    assert "0 of 2 learned (validation accuracy 0.10)." in sentence


def test_exchanged_activations_make_the_opposite_sentence():
    """No word of a direction is left that the numbers do not choose."""
    measures = found.measures_of(read_study(RESULTS / "landscapes", {}))
    exchanged = {
        name: of.assign(activation=of.activation.replace({"tanh": "relu", "relu": "tanh"}))
        for name, of in measures.items()
    }
    one, other = found._smooth(measures), found._smooth(exchanged)
    assert "on 2 of 2 data sets around resnet14 and 0 of 2 data sets around mlp" in one
    assert "on 0 of 2 data sets around resnet14 and 2 of 2 data sets around mlp" in other


def test_posteriors_that_all_converged_are_not_said_to_be_doubtful(part):
    table = pd.read_csv(RESULTS / "paths/uci/posteriors.csv")
    assert "so nothing is claimed of them." in part("curves")
    *_, said = found._width(table.assign(converged=True))
    assert "of these posteriors converged" in said
    assert "nothing is claimed" not in said


def test_the_runs_elsewhere_are_described_by_their_table(part):
    table = csv("signal/elsewhere.csv")
    *first, last = table.activation.unique()
    said = f"{', '.join(first)} and {last}, {table.layers.min()} to {table.layers.max()} layers, learning rates "
    assert said + f"{table.lr.min()} to {table.lr.max()}, {table.steps.min()} to {table.steps.max()}" in part(
        "elsewhere"
    )


def test_runs_without_logs_and_runs_of_the_fit_are_counted(part):
    def without(name):
        return csv(f"{name}/summary.csv").run.size - sum(1 for _ in logs(RESULTS / name))

    fitted = sum(len(csv(path.relative_to(RESULTS))) for path in RESULTS.glob("signal/calibration/*/summary.csv"))
    assert f"fitted on {fitted:,} runs" in part("calls")
    lost = without("critical/digits") + without("critical/mnist"), without("splines/fifty_layers")
    assert f"({lost[0]} runs of critical and {lost[1]} runs of fifty layers)" in part("calls")


def logs(folder):
    from helpers import packed

    return packed.packed_names(folder / "runs") if not (folder / "runs").is_dir() else (folder / "runs").glob("*.csv")


def test_a_rule_that_is_beaten_nowhere_has_no_empty_brackets(monkeypatch):
    judged = found_sweeps._judged
    monkeypatch.setattr(found_sweeps, "_judged", lambda *of: judged(*of) | {"commonest": 0.0, "before": 0})
    said = found_sweeps.elsewhere(read_study(RESULTS / "signal", {}))
    assert "more often on 0 of 11 sets, six depth scales on 0." in said


def test_numbers_of_the_mnist_sweep():
    """As they stand on the page."""
    runs = csv("mnist/summary.csv")
    late = runs[runs.learned & (runs.left_plateau > 10)].activation.value_counts()
    assert f"{late.gelu} of gelu at 10 to 20 layers and {late.relu} of relu at 20 to 50 layers." in TEXT
    deep = runs[(runs.activation == "relu") & (runs.layers == 50) & (runs.init == "normal")]
    assert f"{with_spread(deep.final_test_acc)} with normal" in TEXT


def test_the_totals_elsewhere_are_the_sums_of_their_rows(part):
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part("elsewhere").splitlines() if "%" in line]
    ends = [i for i, row in enumerate(rows) if row[0].startswith("**")]
    assert len(ends) == 2
    assert len(rows) == 13
    for first, end in ((0, ends[0]), (ends[0] + 1, ends[1])):
        runs, right = (sum(int(row[i].split()[0]) for row in rows[first:end]) for i in (2, 3))
        assert rows[end][2:4] == [f"{runs}", f"{right} ({right / runs:.1%})"]


def test_the_networks_of_the_prescriptions_left_as_late_as_is_said(part):
    folder = "signal/prescriptions"
    drawn = {row.combination: row for row in csv(f"{folder}/prescriptions.csv").itertuples()}
    runs = [row for row in csv(f"{folder}/runs.csv").itertuples() if row.competitor == "prescription"]
    assert f"{median(row.left_epoch / drawn[row.combination].epoch for row in runs):.1f} times as late" in part("trial")
    assert f"takes {median(row.seconds for row in drawn.values()):.1g} s" in part("trial")


def test_sweeps_that_are_in_no_row_are_called_as_is_said():
    """By the forecast that the page of results shows of each run."""
    counts = {}
    for name in ("scale", "he_factor", "sigmoid"):
        script = (RESULTS / f"page/data/{name}.js").read_text(encoding="utf-8")
        sweep = json.loads(gzip.decompress(base64.b64decode(re.search(r'data\("\w+", "(.*?)"', script)[1])))
        runs = pd.DataFrame(sweep["summary"])
        left = runs.learned.astype(bool).where(runs.crashed.isna(), runs.left_plateau.notna())
        called = pd.Series(sweep["forecast"]["probability"]) >= 0.5
        counts[name] = f"{(called == left).sum()} of {len(runs)}"
        if name == "sigmoid":
            missed = runs[left & ~called & (runs.lr == 1)]
            assert len(missed) == 9
            assert not called[left & (runs.lr == 1)].any()
    assert f"`scale.ipynb` {counts['scale']} runs are called right, on He's factors {counts['he_factor']}, " in TEXT
    assert f"on the sigmoid study {counts['sigmoid']}." in TEXT


def test_a_part_whose_files_are_damaged_stays_and_is_named(tmp_path):
    """The page keeps it, and the study says in a sentence what is wrong."""
    copy = tmp_path / "results" / "splines"
    shutil.copytree(RESULTS / "splines", copy, ignore=shutil.ignore_patterns("*.tar.xz", "*.png", "*.ipynb"))
    (copy / "digits/outcomes.csv").write_text("experiment,seed\n")
    study = read_study(copy, {})
    text = "".join(f"<!-- {name} -->\nas it was\n<!-- /{name} -->\n" for name in marked.PAGES["docs/found.md"])
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/found.md").write_text(text)
    (new,) = marked.written([study], tmp_path).values()
    assert "<!-- splines -->\nas it was\n" in new
    assert "<!-- landscapes -->\nas it was\n" in new
    assert "keeps its part splines" in study.damaged[-1]


@pytest.mark.parametrize("fault", [lambda study: None + 1, lambda study: study.nonsense, lambda study: nonsense])  # noqa: F821
def test_a_fault_of_the_code_is_no_damaged_file(tmp_path, monkeypatch, fault):
    monkeypatch.setitem(marked.FOUND, "splines", ("splines", fault))
    (tmp_path / "splines").mkdir()
    with pytest.raises((TypeError, AttributeError, NameError)):
        marked._found([read_study(tmp_path / "splines", {})], "splines")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n", "has no rows"),
        ("a,b\n1,2\nx1,3\n", "column a, has 'x1' beside 1"),
        ("a,b\nTrue,2\nTrxe,3\n", "column a, has 'Trxe' beside True"),
        ("", "No columns"),
    ],
)
def test_a_table_that_is_damaged_is_refused(tmp_path, content, said):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=said):
        damage.read_table(path)


def test_a_column_that_a_table_lacks_is_its_files_fault():
    table = pd.DataFrame({"a": [1]})
    for lacking in (lambda: table.b, lambda: table["b"], lambda: table.groupby("a").b, lambda: table.iloc[3]):
        with pytest.raises(Exception) as raised:  # noqa: PT011
            lacking()
        assert damage.of_files(raised.value)
