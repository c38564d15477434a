"""The data of the studies' views agree with the published files, read here without the modules that write them."""

import bz2
import csv
import io
import json
import math
import tarfile
from collections import defaultdict
from statistics import fmean

import numpy as np
import pytest

from helpers import ROOT
from helpers.page import gradients, packing, paths, stitching, surfaces
from helpers.stitching.spread import interval
from helpers.stitching_study.log import LAYOUT

RESULTS = ROOT / "results"


def unpacked(packed):
    """What views_common.js makes of packed numbers, written anew."""
    steps, total, found = packed.get("log10", packed.get("share")), 0, []
    for step in steps:
        if step is None or step is False:
            found.append(math.nan if step is None else 0.0)
            continue
        total += step
        found.append(10 ** (total / packed["per"]) if "log10" in packed else total / packed["per"])
    return np.array(found)


def rows_of(path, text=None):
    """The rows of a CSV, dicts of texts."""
    if text is None:
        text = bz2.decompress(path.read_bytes()).decode() if path.suffix == ".bz2" else path.read_text()
    return list(csv.DictReader(io.StringIO(text)))


def test_numbers_survive_their_packing():
    values = np.array([1e-30, math.nan, 0.0, 3.0, math.inf, 0.25, 7e12])
    there = unpacked(json.loads(json.dumps(packing.packed_log(values))))
    known = np.isfinite(values)
    np.testing.assert_allclose(there[known], values[known], rtol=10 ** (0.5 / packing.PER_DECADE) - 1 + 1e-12)
    assert np.isnan(there[~known]).all()
    shares = np.random.default_rng(0).random(50)
    np.testing.assert_allclose(unpacked(packing.packed_share(shares)), shares, atol=0.5 / packing.PER_ONE)


def test_rounding_keeps_the_digits_that_count():
    assert packing.rounded([[1234.567, -0.00012345], [math.inf, 2.0]], 3) == [[1230, -0.000123], [None, 2]]


@pytest.mark.parametrize("module", [gradients, surfaces, paths, stitching])
def test_parts_are_plain_json(module, small_parts):
    """JSON without NaN, which comes back as it was."""
    for part in small_parts[module]:
        text = json.dumps(part["content"], allow_nan=False)
        assert json.loads(text) == part["content"]
        assert part["key"].split(".")[0] == part["study"]


@pytest.fixture(scope="module")
def small_parts(tmp_path_factory):
    """The parts of one small published folder of each study, and beside it a folder that cannot be read."""
    root = tmp_path_factory.mktemp("results")
    chosen = {gradients: "splines/mnist", surfaces: "landscapes/cifar10", paths: "paths/toy"}
    chosen[stitching] = "stitching/architectures"
    for folder in chosen.values():
        (root / folder).parent.mkdir()
        (root / folder).symlink_to(RESULTS / folder)
        broken = (root / folder).parent / "broken"
        broken.mkdir()
        (broken / "manifest.json").write_text("{")
    return {module: module.find(root) for module in chosen}


def test_what_cannot_be_read_is_left_out(small_parts):
    assert all(len(parts) == 1 for parts in small_parts.values())


# ---- splines


def test_gradients_are_those_of_the_log(small_parts):
    (part,) = small_parts[gradients]
    one = next(e for e in part["content"]["experiments"] if e["name"] == "spline")
    with tarfile.open(RESULTS / "splines/mnist/spline_s0.tar.xz") as archive:
        metrics, signals = (
            rows_of(None, archive.extractfile(name).read().decode()) for name in ("metrics.csv", "signals.csv")
        )
    weights = [row for row in metrics if row["parameter"].endswith(".weight")]
    layers = [f"hidden.{layer}" for layer in range(one["layers"])] + ["output"]
    for statistic in ("mean_abs_gradient", "norm_gradient"):
        packed = one["maps"][statistic]
        there = unpacked(packed).reshape(packed["layers"], packed["epochs"])
        for row in weights:
            here = there[layers.index(row["parameter"].removesuffix(".weight")), int(row["epoch"])]
            assert here == pytest.approx(float(row[statistic]), rel=0.012)
    tails = one["maps"]["share_beyond"]
    there = unpacked(tails).reshape(tails["layers"], tails["epochs"])
    for row in signals:
        assert there[int(row["layer"]), int(row["epoch"])] == pytest.approx(float(row["share_beyond"]), abs=5.1e-4)


def test_curves_are_those_of_epochs_csv(small_parts):
    (part,) = small_parts[gradients]
    experiments = {e["name"]: e for e in part["content"]["experiments"]}
    rows = rows_of(RESULTS / "splines/mnist/epochs.csv")
    assert len(rows) == sum(len(run) for e in experiments.values() for run in e["curves"]["acc_val"])
    for row in rows:
        one = experiments[row["experiment"]]
        for name in gradients.CURVES:
            here = one["curves"][name][one["seeds"].index(int(row["seed"]))][int(row["epoch"])]
            assert here == pytest.approx(float(row[name]), rel=5.1e-3)


# ---- landscapes


def test_surfaces_are_means_of_the_published_ones(small_parts):
    (part,) = small_parts[surfaces]
    stacks = defaultdict(list)
    with tarfile.open(RESULTS / "landscapes/cifar10/surfaces.tar.xz") as archive:
        for member in archive:
            stored = np.load(io.BytesIO(archive.extractfile(member).read()))
            network, kind, epoch, _, _ = member.name.rsplit("--", 4)
            stacks[network, kind, int(epoch[1:])].append(stored)
    panels = part["content"]["panels"]
    assert len(panels) == len(stacks)
    for panel in panels:
        mine = stacks[panel["key"], panel["kind"], panel["epoch"]]
        assert panel["repeats"] == len(mine)
        loss = np.mean([stored["loss"].astype(float) for stored in mine], axis=0)
        accuracy = np.mean([stored["accuracy"].astype(float) for stored in mine], axis=0)
        np.testing.assert_allclose(unpacked(panel["loss"]), loss.ravel(), rtol=1.2e-3)
        np.testing.assert_allclose(unpacked(panel["accuracy"]), accuracy.ravel(), atol=5.1e-4)
        assert panel["loss"]["middle"] == pytest.approx(loss[10, 10], rel=1e-5)  # of 21 x 21
        assert panel["loss"]["span"] == pytest.approx([loss.min(), loss.max()], rel=1e-5)
        steps = part["content"]["steps"][panel["steps"]]
        np.testing.assert_allclose(steps, mine[0]["steps"], atol=1e-4)


# ---- paths


def test_lines_and_bands_are_those_of_the_tables(small_parts):
    (part,) = small_parts[paths]
    curves = {curve["curve"]: curve for curve in part["content"]["curves"]}
    table = rows_of(RESULTS / "paths/toy/curves.csv")
    of_task = {row["task"]: row["curve"] for row in table}
    seen = defaultdict(int)
    for row in rows_of(RESULTS / "paths/toy/along.csv.bz2"):
        curve = curves[of_task[row["task"]]]
        at = seen[row["task"], row["line"]]
        seen[row["task"], row["line"]] += 1
        assert part["content"]["grids"][curve["grid"]][at] == pytest.approx(float(row["arc"]), abs=1e-4)
        for name in ("train_loss", "test_loss"):
            assert curve["lines"][row["line"]][name][at] == pytest.approx(float(row[name]), rel=5.1e-3)
    for row in table:
        assert curves[row["curve"]]["barrier_curve"] == pytest.approx(float(row["barrier_curve"]), rel=5.1e-3)

    bands = rows_of(RESULTS / "paths/toy/bands.csv.bz2")
    there = part["content"]["bands"]
    first = [row for row in bands if (row["task"], row["space"]) == (bands[0]["task"], bands[0]["space"])]
    for name in ("x", *paths.BANDS):
        here = [float(row[name]) for row in first[:: paths.EVERY]]
        np.testing.assert_allclose(there[0][name], here, rtol=5.1e-3, atol=1e-9)
    assert len(there) == len({(row["task"], row["space"]) for row in bands})


# ---- stitching


def test_stitched_errors_are_means_over_pairs_of_means_over_draws(small_parts):
    (part,) = small_parts[stitching]
    values = defaultdict(list)
    for row in rows_of(RESULTS / "stitching/architectures/pairs.csv.bz2"):
        kinds = tuple(row[name].rpartition("--s")[0] for name in ("model1", "model2"))
        key = (*kinds, row["mapping"], int(row["num_samples"]))
        values[key, row["model1"], row["model2"]].append(float(row["accuracy_stitched"]))
    pairs = defaultdict(list)
    for (key, *_), draws in values.items():
        pairs[key].append(fmean(draws))
    seen = 0
    for group in part["content"]["groups"]:
        for n, (mean, low, high) in zip(group["anchors"], group["accuracy_stitched"], strict=True):
            mine = pairs[group["kind1"], group["kind2"], group["mapping"], n]
            assert mean == pytest.approx(fmean(mine), rel=1e-4)
            assert low < mean < high
            assert group["pairs"] == len(mine)
            seen += 1
    assert seen == len(pairs)


def test_intervals_are_those_of_the_study():
    table = LAYOUT.frame(RESULTS / "stitching/architectures", "pairs")
    for _, rows in table.groupby(["network1", "network2", "mapping", "num_samples"]):
        for number in ("accuracy_stitched", "latent_r2"):
            mean, low, high = stitching.interval(rows, number)
            np.testing.assert_allclose((mean, low, high), interval(rows, number), rtol=1e-9)
            assert high <= 1
            assert number == "latent_r2" or low >= 0


def test_an_interval_of_one_pair_is_not_known():
    table = LAYOUT.frame(RESULTS / "stitching/architectures", "pairs")
    one = table[(table.model1 == table.model1[0]) & (table.model2 == table.model2[0])]
    mean, low, high = stitching.interval(one, "accuracy_stitched")
    assert mean == pytest.approx(one.accuracy_stitched.mean())
    assert math.isnan(low)
    assert math.isnan(high)


def test_layer_by_layer_is_as_in_the_table():
    content = stitching.data_of(RESULTS / "stitching/sweep")
    there = {(pair["part"], pair["model1"], pair["model2"]): pair for pair in content["layers"]}
    rows = rows_of(RESULTS / "stitching/sweep/layers.csv.bz2")
    assert sum(len(pair["layers1"]) * len(pair["layers2"]) for pair in there.values()) == len(rows)
    for row in rows:
        pair = there[row["part"], row["model1"], row["model2"]]
        i, j = pair["layers1"].index(int(row["layer1"])), pair["layers2"].index(int(row["layer2"]))
        for measure in ("cka", "accuracy"):
            assert pair[measure][i][j] == (
                pytest.approx(float(row[measure]), rel=5.1e-3, abs=1e-9) if row[measure] else None
            )
