"""The stitching study: a pair worked out by hand, what is written, and going on after whatever has happened."""

import bz2
import itertools
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from helpers import data as datasets
from helpers import files, lanes, manifests, study_tables
from helpers.checks import ConfigError
from helpers.config import SweepConfig
from helpers.networks import DeepMLP, conv_autoencoder, drawn
from helpers.stitching import choose, cka, mutual_neighbours, principal_cosine, procrustes_distance
from helpers.stitching_study import log, models, stitches, tasks
from helpers.stitching_study.settings import models_of
from helpers.stitching_study.study import StitchingStudy
from helpers.training import epoch_order

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"train_size": 120, "test_size": 60, "num_epochs": 2, "batch_size": 40, "lr": 1e-2}
SMALL |= {"latents": [3], "base": 1, "hidden_size": 8, "layers_list": [2]}
SMALL |= {"maps": ["affine", "orthogonal"], "lams": ["gcv", 0.0], "anchors": [12, 40], "draws": 2}
TWO = {"toy": {"what": "autoencoders", "sampling": ["equally"], "eval_size": 50}}
A, B = (f"conv3--relu--he_normal--s{seed}" for seed in (0, 1))
THERE = f"toy--digits--{A}--to--{B}"
MLPS = {"heads": {"what": "classifiers", "layers": [0, 1], "maps": ["affine"], "lams": [0.1], "anchors": [40]}}


def study_of(folder, parts=TWO, **config):
    return StitchingStudy({**SMALL, **config, "save_dir": str(folder)}, parts)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "study"
    study_of(folder).run()
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A finished study of one's own."""
    return shutil.copytree(finished, tmp_path / "study")


def tables_of(folder):
    """All tables as texts, without what a clock gave."""
    found = {}
    for name in log.TABLES:
        rows = [row for those in log.LAYOUT.read_rows(folder, name).values() for row in those]
        found[name] = pd.DataFrame(rows, columns=log.LAYOUT.columns_of(name), dtype=str).drop(
            columns="seconds", errors="ignore"
        )
    return found


def assert_same(here, there):
    for name, table in here.items():
        pd.testing.assert_frame_equal(table.reset_index(drop=True), there[name].reset_index(drop=True))


# ---- by hand


def data():
    config = SweepConfig.from_dict({"dataset": "digits", "train_size": 120, "test_size": 60, "device": "cpu"})
    return datasets.load(config)


def by_adam(net, loss, x, seed):
    """The network after two epochs, in a loop of its own."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    net.train()
    for epoch in (1, 2):
        for index in epoch_order(seed, epoch, len(x)).split(40):
            optimizer.zero_grad()
            loss(net(x[index]), index).backward()
            optimizer.step()
    return net.eval()


def with_ones(z):
    return np.column_stack([z, np.ones(len(z))])


@torch.no_grad()
def test_a_row_is_what_two_autoencoders_give_that_are_trained_and_stitched_by_hand(finished):
    results, d = log.load_study(finished), data()
    x, test = d.x_train, study_of(finished).pair("toy", A, B)[1].x
    assert len(test) == 50
    assert all(any(torch.equal(row, other) for other in d.x_test) for row in test)
    nets = [conv_autoencoder(image_shape=(1, 8, 8), latent=3, base=1, seed=seed) for seed in (0, 1)]
    with torch.enable_grad():
        a, b = (
            by_adam(net, lambda out, index: functional.mse_loss(out, x[index]), x, seed)
            for seed, net in enumerate(nets)
        )
    index = choose("equally", 40, labels=d.y_train, seed=1)
    source, target = (net.encode(x).double().numpy() for net in (a, b))
    solution = np.linalg.lstsq(with_ones(source[index]), target[index])[0]
    mapped = with_ones(a.encode(test).double().numpy()) @ solution
    stitched = b.decode(torch.tensor(mapped, dtype=torch.float32))
    row = results.pairs[
        (results.pairs.task == THERE) & (results.pairs.mapping == "affine") & (results.pairs["lambda"] == "0")
        & (results.pairs.sampling == "equally") & (results.pairs.num_samples == 40) & (results.pairs.draw == 1)
    ].squeeze()  # fmt: skip
    for name, image in (("mse_1", a(test)), ("mse_2", b(test)), ("mse_stitched", stitched)):
        assert row[name] == pytest.approx(float((image - test).double().square().mean()), rel=1e-4)
    z = b.encode(test).double().numpy()
    r2 = 1 - ((mapped - z) ** 2).sum() / ((z - z.mean(0)) ** 2).sum()
    assert row.latent_r2 == pytest.approx(r2, rel=1e-3, abs=1e-4)
    assert row.mse_mean_image == pytest.approx(float(test.double().var(0, correction=0).mean()), rel=1e-4)
    own = results.models.set_index("model")
    assert own.train_loss.notna().all()
    assert own.test_loss[A] == pytest.approx(float((a(d.x_test) - d.x_test).square().mean()), rel=1e-4)


@torch.no_grad()
def test_rows_of_classifiers_are_what_stitching_by_hand_gives(tmp_path):
    results, d = study_of(tmp_path / "study", MLPS).run(), data()
    assert len(results.models) == 2
    assert set(results.pairs.layer1) == {"0", "1"}
    nets = [drawn(DeepMLP(64, 8, 10, 2, "relu"), seed=seed) for seed in (0, 1)]
    with torch.enable_grad():
        nets = [
            by_adam(net, lambda out, index: functional.cross_entropy(out, d.y_train[index]), d.x_train, seed)
            for seed, net in enumerate(nets)
        ]
    accuracy = [(net(d.x_test).argmax(1) == d.y_test).double().mean().item() for net in nets]
    rows = results.pairs[(results.pairs.model1.str.endswith("s0")) & (results.pairs.layer1 == "1")]
    np.testing.assert_allclose(rows[["accuracy_1", "accuracy_2"]], [accuracy] * 2, rtol=1e-4)
    h = [torch.relu(net.hidden[1](torch.relu(net.hidden[0](d.x_test)))) for net in nets]
    assert rows.latent_r2_identity.iloc[0] == pytest.approx(
        1 - float((h[0] - h[1]).square().sum() / (h[1] - h[1].mean(0)).square().sum()), rel=1e-3
    )
    identity = (nets[1].output(h[0]).argmax(1) == d.y_test).double().mean().item()
    assert rows.accuracy_identity.iloc[0] == pytest.approx(identity, rel=1e-4)
    assert rows.mse_stitched.isna().all()
    assert rows.accuracy_label_noise.notna().all()


def test_classifiers_of_as_many_classes_as_pixels_are_no_autoencoders(tmp_path):
    rng, y = np.random.default_rng(0), np.arange(40) % 4
    x = 40 * np.eye(4, dtype=np.uint8)[y].reshape(-1, 2, 2) + rng.integers(0, 20, (40, 2, 2), np.uint8)
    np.savez(tmp_path / "four.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    own = {"datasets": [f"arrays:{tmp_path / 'four.npz'}"], "train_size": None, "test_size": None, "layers": ["0"]}
    own |= {"anchors": [20], "draws": 1}
    results = study_of(tmp_path / "study", {"four": {**MLPS["heads"], **own}}, num_epochs=1).run()
    assert results.pairs.accuracy_stitched.between(0, 1).all()
    assert results.pairs.mse_1.isna().all()
    sweep = {"dataset": own["datasets"][0], "layers_list": [1], "init_types": ["he_normal"], "activations": ["relu"]}
    sweep |= {"seeds": [0, 1], "hidden_size": 6, "num_epochs": 1, "batch_size": 20}
    runs = {"runs": {"what": "sweep", "sweep": sweep, "pairs": ["seeds"], "anchors": [20], "draws": 1}}
    assert study_of(tmp_path / "runs", runs).run().layers.accuracy.between(0, 1).all()


# ---- what is written


def test_there_is_a_row_for_each_map_and_none_twice(finished):
    results = log.load_study(finished)
    key = ["task", *log.MAP]
    # affine with two lambdas, orthogonal that has none; pairs, draws, numbers of anchors
    assert len(results.pairs) == 3 * 2 * 2 * 2 == len(results.errors) == len(results.images)
    for table in (results.pairs, results.errors, results.images):
        assert not table.duplicated(key).any()
    assert len(results.classes) == 10 * len(results.pairs)
    assert not results.classes.duplicated([*key, "class"]).any()
    assert (results.pairs[results.pairs.mapping == "orthogonal"]["lambda"] == "").all()
    assert set(results.pairs[results.pairs.mapping == "affine"]["lambda"]) == {"gcv", "0"}
    assert results.classes.model1.isin([A, B]).all()  # what pairs.csv.bz2 says of the same task
    assert results.classes.groupby(key).mse_stitched.mean().between(0, 1).all()


def test_controls_stand_beside_every_number_and_bracket_it(finished):
    pairs = log.load_study(finished).pairs
    there = pairs[[f"mse_{name}" for name in ("constant", "mean_image", "class_means", *log.OF_LATENTS)]]
    assert there.notna().all(axis=None)
    assert (there.mse_class_means < there.mse_mean_image).all()
    assert (there.mse_mean_image < there.mse_constant).all()
    own = pairs[pairs["lambda"] == "0"]
    np.testing.assert_allclose(own.mse_self, own.mse_2, rtol=1e-3)  # B's latents to themselves lose nothing


def test_controls_of_fewer_draws_leave_the_others_empty(tmp_path):
    parts = {"toy": {**TWO["toy"], "sampling": ["furthest_away", "worst_classes"], "maps": ["orthogonal"]}}
    pairs = study_of(tmp_path / "study", parts, control_draws=1).run().pairs
    assert len(pairs) == 2 * 2 * 2 * 2
    assert pairs[pairs.draw == 0].mse_shuffled.notna().all()
    assert pairs[pairs.draw == 1].mse_shuffled.isna().all()
    assert pairs.mse_mean_image.notna().all()


def test_anchors_are_of_shared_classes_or_of_all_and_unseen_classes_are_measured(tmp_path):
    own = {"what": "autoencoders", "seeds": [0], "classes": ["all", [0, 1, 2, 3, 4]], "draws": 1}
    own |= {"lams": [0.0], "anchors": [20], "maps": ["affine"]}
    study = study_of(tmp_path / "study", {name: {**own, "anchor_classes": name} for name in ("all", "shared")})
    results, d = study.run(), data()
    assert set(results.pairs.differ) == {"classes"}
    assert len(results.models) == 2  # of both parts
    assert results.pairs.groupby("part").anchor_classes.unique().str.join("") .to_dict() == {
        "all": "all", "shared": "shared"
    }  # fmt: skip
    seen = results.classes[["class", "seen_1", "seen_2"]].drop_duplicates()
    assert {(c, a, b) for c, a, b in seen.itertuples(index=False)} == {
        *((c, True, True) for c in range(5)), *((c, False, True) for c in range(5, 10)),
        *((c, True, False) for c in range(5, 10)),
    }  # fmt: skip
    a, b = (study.worker.trained(model) for model in models_of(study.settings))
    for part, pool in (("all", torch.arange(120)), ("shared", torch.where(d.y_train < 5)[0])):
        assert set(study.pair(part, *results.models.model)[0].labels.tolist()) == set(d.y_train[pool].tolist())
        index = pool[choose("equally", 20, labels=d.y_train[pool], seed=0)]
        with torch.no_grad():
            source, target = (net.encode(d.x_train[index]).double().numpy() for net in (a, b))
            z = with_ones(a.encode(d.x_test).double().numpy()) @ np.linalg.lstsq(with_ones(source), target)[0]
            error = (b.decode(torch.tensor(z, dtype=torch.float32)) - d.x_test).square().mean(1)
        here = results.classes[(results.classes.part == part) & (results.classes.model1 == results.models.model[0])]
        by_class = here.set_index("class").mse_stitched
        assert set(by_class.index) == set(range(10))
        for c in range(10):
            assert by_class[c] == pytest.approx(error[d.y_test == c].mean().item(), rel=1e-3), (part, c)


def test_shared_classes_are_those_that_both_models_have_seen(tmp_path):
    parts = {"part": {**TWO["toy"], "anchor_classes": "shared", "seeds": [0], "anchors": [12]}}
    parts["part"]["classes"] = [[0, 1, 2], [1, 2, 5]]
    study = study_of(tmp_path / "study", parts)
    pool, held_out = study.worker.images(study.settings.plans[-1])
    assert set(data().y_train[pool].tolist()) == {1, 2}
    assert set(data().y_test[held_out].tolist()) == set(range(10))


SWEEP = {"dataset": "digits", "train_size": 300, "test_size": 80, "layers_list": [2], "activations": ["relu"]}
SWEEP |= {"init_types": ["he_normal", "zero"], "seeds": [0, 1], "hidden_size": 16, "lr": 0.1, "batch_size": 32}
SWEEP |= {"num_epochs": 20}
RUNS = {"what": "sweep", "sweep": SWEEP, "pairs": ["seeds", "self"], "maps": ["affine"], "draws": 1}
RUNS |= {"anchors": [60, 100]}


@pytest.fixture(scope="module")
def by_layer(tmp_path_factory):
    """(a finished study of runs stitched layer by layer, its `layers`)."""
    study = study_of(tmp_path_factory.mktemp("by_layer") / "study", {"s": {**RUNS, "lams": ["gcv", 0.1]}})
    return study, study.run().layers


def test_every_layer_of_a_run_is_stitched_to_every_layer_of_another(by_layer):
    study, layers = by_layer
    assert len(layers) == 2 * 2 * 4 * (4 + 4)
    assert not layers.duplicated(["task", "layer1", "layer2", "lambda", "num_samples"]).any()
    dead = layers.model2.str.startswith("zero")
    assert (layers.learned_2 == ~dead).all()
    assert (layers[dead].r2 == 0).all()
    assert (layers[dead][["cka", "cka_pixels", "cka_untrained", "principal_cosine"]] == 0).all(axis=None)
    living = layers[~dead & (layers.model1 == layers.model2) & (layers.layer1 == layers.layer2)]
    living = living[living["lambda"] == "gcv"]
    np.testing.assert_allclose(living[["r2", "cka", "principal_cosine"]], 1, atol=1e-4)  # onto itself
    np.testing.assert_allclose(living.accuracy, living.accuracy_2, atol=0.03)
    a, b = (study.worker.trained(model) for model in models_of(study.settings)[:2])
    x = study.worker.data(models_of(study.settings)[0]).x_test
    with torch.no_grad():
        h = [torch.relu(net.hidden[0](x)) for net in (a, b)]
    row = layers[(layers.model1 != layers.model2) & ~dead & (layers.layer1 == "0") & (layers.layer2 == "0")].iloc[:1]
    expected = [cka(*h), principal_cosine(*h), mutual_neighbours(*h, 10), procrustes_distance(*h)]
    np.testing.assert_allclose(row[log.SIMILARITY].squeeze().astype(float), expected, rtol=1e-4, atol=1e-5)


def ridge_by_hand(source, target, lam, at):
    """The affine ridge from its normal equations."""
    mean, target_mean = source.mean(0), target.mean(0)
    x = source - mean
    unit = (x**2).sum() / min(x.shape)
    return target_mean + (at - mean) @ np.linalg.solve(
        x.T @ x + lam * unit * np.eye(x.shape[1]), x.T @ (target - target_mean)
    )


@torch.no_grad()
def test_what_has_learned_nothing_is_mapped_by_hand_to_the_same_layers(by_layer):
    study, layers = by_layer
    model = models_of(study.settings)[0]
    data, net = study.worker.data(model), study.worker.trained(model)
    untrained = study.worker.network(model)
    anchors = {n: choose("random", n, latents=data.x_train, seed=0) for n in RUNS["anchors"]}

    def after(net, x, layer):
        for linear in net.hidden[: layer + 1]:
            x = torch.relu(linear(x))
        return x

    answers, labels = net(data.x_test).argmax(1), data.y_test
    rows = layers[(layers.model1 == model.run) & (layers.model2 == model.run) & (layers["lambda"] == "0.1")]
    assert len(rows) == 2 * 4
    for row in rows.itertuples():
        index = anchors[row.num_samples]
        target = [after(net, x, int(row.layer2)).double().numpy() for x in (data.x_train[index], data.x_test)]
        plain = [after(untrained, x, int(row.layer1)) for x in (data.x_train[index], data.x_test)]
        for control, (known, new) in {
            "pixels": (data.x_train[index], data.x_test),
            "untrained": plain,
        }.items():
            mapped = ridge_by_hand(known.double().numpy(), target[0], 0.1, new.double().numpy())
            h = torch.tensor(mapped, dtype=torch.float32)
            for linear in net.hidden[int(row.layer2) + 1 :]:
                h = torch.relu(linear(h))
            said = net.output(h).argmax(1)
            around = target[1] - target[1].mean(0)
            means = np.stack([target[1][labels == c].mean(0) for c in range(10)])
            left = ((mapped - target[1]) ** 2).sum()
            expected = {
                "cka": cka(new, target[1]),
                "r2": 1 - left / (around**2).sum(),
                "r2_within": 1 - left / ((target[1] - means[labels]) ** 2).sum(),
                "accuracy": (said == labels).double().mean(),
                "agreement_on_errors": (said == answers)[answers != labels].double().mean(),
            }
            for measure, value in expected.items():
                tolerance = 0.015 if "a" in measure[0] else 1e-3  # one image of 80 may fall to the other side
                assert getattr(row, f"{measure}_{control}") == pytest.approx(float(value), abs=tolerance), measure
    # what one layer2 gets out of the pixels is the same whatever layer1 is; and so it is of other networks before it
    of_pixels = layers.groupby(["model2", "layer2", "lambda", "num_samples"])[
        [f"{name}_pixels" for name in log.OF_LAYERS]
    ]
    assert (of_pixels.nunique() <= 1).all(axis=None)


def test_controls_take_one_evaluation_a_cell_and_those_of_the_pixels_are_made_once(by_layer, monkeypatch, tmp_path):
    folder = shutil.copytree(by_layer[0].folder, tmp_path / "study")
    evaluated, evaluate = [], stitches.evaluate_many
    monkeypatch.setattr(stitches, "evaluate_many", lambda p, z: (evaluated.append(len(z)), evaluate(p, z))[1])
    study_of(folder, {"s": {**RUNS, "lams": ["gcv", 0.1, 1.0]}}).run()
    # pairs: two layers of one, two of the other; its own, the untrained one's, and the pixels' when layer1 is the first
    assert evaluated == [2 * n for n in (3, 3, 2, 2)] * 8  # two numbers of anchors


def test_more_anchors_keep_the_layers_that_are_there(by_layer, tmp_path):
    folder = shutil.copytree(by_layer[0].folder, tmp_path / "study")
    longer = {"s": {**RUNS, "lams": ["gcv", 0.1], "anchors": [60, 80, 100]}}
    study_of(folder, longer).run()
    assert_same(tables_of(folder), tables_of_run(tmp_path / "whole", longer))


def older(folder, columns):
    """The study in a folder as one that was made before there were these columns, in tables and states alike."""
    for path in (folder / "state" / "rows").glob("*.json"):
        record = study_tables.read_rows_of(path)
        for rows in record["rows"].values():
            for row, name in itertools.product(rows, columns):
                row.pop(name, None)
        study_tables.write_rows_of(folder, path.stem, record)
    manifest = manifests.read(folder)
    for table in ("pairs", "layers"):
        path = log.LAYOUT.table_file(folder, table)
        frame = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=columns, errors="ignore")
        path.write_bytes(bz2.compress(frame.to_csv(index=False).encode()))
        manifest["tables"][table] = files.checksum(path.read_bytes())
    manifests.write(folder, manifest)


NEW = [*log.SIMILARITY[1:], *(f"{name}_{control}" for name in log.OF_LAYERS for control in log.UNLEARNED)]


@pytest.mark.parametrize("published", [False, True])
def test_an_older_table_of_layers_is_read_and_a_pair_that_grows_is_made_anew(published, by_layer, tmp_path):
    folder = shutil.copytree(by_layer[0].folder, tmp_path / "study")
    whole = tables_of(folder)
    older(folder, NEW)
    if published:
        shutil.rmtree(folder / "state")
    study = study_of(folder, {"s": {**RUNS, "lams": ["gcv", 0.1]}})
    assert study.left == []
    layers = study.run().layers
    assert layers[NEW].isna().all(axis=None)
    assert layers.accuracy.notna().all()
    study_of(folder, {"s": {**RUNS, "lams": ["gcv", 0.1, 1.0]}}).run()
    grown = tables_of(folder)["layers"]
    assert (grown[NEW[0]] != "").all()
    assert_same({"layers": grown[grown["lambda"] != "1"]}, whole)


def test_an_older_table_of_pairs_is_read_and_a_pair_that_grows_is_made_anew(copy):
    whole = tables_of(copy)
    older(copy, log.SIMILARITY)
    assert study_of(copy).run().pairs.cka.isna().all()
    study_of(copy, {"toy": {**TWO["toy"], "lams": ["gcv", 0.0, 1.0]}}).run()
    grown = tables_of(copy)["pairs"]
    assert_same({"pairs": grown[grown["lambda"] != "1"]}, whole)


def test_two_networks_are_as_alike_in_every_row(finished):
    pairs, test = log.load_study(finished).pairs, study_of(finished).pair("toy", A, B)[1]
    both = test.source, test.target
    expected = [cka(*both), principal_cosine(*both), mutual_neighbours(*both, 10), procrustes_distance(*both)]
    own = pairs[pairs.task == THERE][log.SIMILARITY]
    np.testing.assert_allclose(own, [expected] * len(own), rtol=1e-4)


def test_a_model_that_diverges_leaves_a_row_that_says_so(tmp_path):
    parts = {"heads": {**MLPS["heads"], "models": [{"seed": 0}, {"seed": 1}], "layers": [1]}}
    results = study_of(tmp_path / "study", parts, lr=1e30).run()
    assert results.models.diverged.all()
    assert results.pairs.note.str.endswith("diverged in its training").all()
    assert results.manifest["finished"]


def test_reading_takes_no_torch(finished):
    code = f"import sys; from helpers.stitching_study.log import load_study; load_study({str(finished)!r}); "
    code += "print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# ---- what is refused before anything is written


@pytest.mark.parametrize(
    ("config", "parts", "words"),
    [
        ({"anchors": [5]}, TWO, "sampling 'equally': 5 anchors are fewer than the 10 classes"),
        ({"anchors": [121]}, TWO, "121 anchors are more than the 120 images"),
        ({"layers": ["7"]}, {"a": {"what": "classifiers"}}, "layer '7' is not in this DeepMLP"),
        ({"classes": ["all", [3, 10]]}, TWO, "classes are [3, 10] for a model of digits"),
        ({"classes": ["all", [3]]}, {"a": {"what": "classifiers"}}, "allowed are 2 or more of 0 to 9"),
        ({"classes": [[0, 1], [2, 3]], "anchor_classes": "shared"}, TWO, "have no class in common"),
        ({"train_size": 2000}, TWO, "train_size is 2000"),
        (
            {"eval_size": 3},
            {"a": {"what": "classifiers"}},
            "eval_size is 3 and there are 60 test images; allowed are 4",
        ),
    ],
)
def test_what_would_fail_after_hours_is_refused_before_anything_is_written(config, parts, words, tmp_path):
    with pytest.raises((ConfigError, datasets.DataError)) as refused:
        study_of(tmp_path / "study", parts, **config)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "study").exists()


def test_pairs_that_are_not_there_are_refused(finished):
    with pytest.raises(log.StudyError, match=r"the study has no pair 'x', '.*' in part 'toy'"):
        study_of(finished).pair("toy", "x", B)


# ---- going on


class Killed(RuntimeError):
    pass


@pytest.mark.parametrize(("work", "at"), [(models.Trained, 3), (stitches.Stitching, 3)])
def test_a_study_that_was_killed_goes_on_to_the_same_tables(work, at, finished, tmp_path, monkeypatch):
    folder, calls, reached, advance = tmp_path / "study", [], [], work.advance

    def killed(self, stop=None):
        calls.append(self.step)
        if len(calls) == at:
            reached.append(self.step)
            raise Killed
        return advance(self, stop)

    monkeypatch.setattr(tasks.StitchWorker, "save_every", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(work, "advance", killed)
        with pytest.raises(Killed):
            study_of(folder).run()
    calls.clear()
    monkeypatch.setattr(work, "advance", lambda self, stop=None: (calls.append(self.step), advance(self, stop))[1])
    study_of(folder).run()
    assert calls[:1] == reached  # not from the start
    assert_same(tables_of(folder), tables_of(finished))


def test_a_finished_study_is_only_read(copy):
    def mtimes():
        files = [path for path in copy.rglob("*") if path.is_file() and path.name != ".lock"]
        return {path: path.stat().st_mtime_ns for path in files}

    before = mtimes()
    assert study_of(copy).run().manifest["finished"]
    assert mtimes() == before


def test_more_models_are_added_and_nothing_is_made_again(copy):
    before = tables_of(copy)
    study = study_of(copy, TWO, seeds=[0, 1, 2], pairs="neighbours")
    assert [plan.do for plan in study.left] == ["model", "pair", "pair"]
    study.run()
    for name, table in tables_of(copy).items():
        assert not table.duplicated().any()
        old = table[table.task.isin(before[name].task)]
        assert_same({name: old}, before)


def test_a_model_is_trained_once_whatever_parts_use_it(copy, monkeypatch):
    before, trained = tables_of(copy), []
    monkeypatch.setattr(tasks, "Trained", lambda model, data: trained.append(model.name) or models.Trained(model, data))
    other = {**TWO["toy"], "draws": 1, "anchors": [30]}
    first = {"first": {**other, "seeds": [0, 2]}, **TWO, "longer": {**other, "num_epochs": 3}}
    study_of(copy, first).run()
    assert sorted(trained) == [A, B, A.replace("s0", "s2")]  # those of three epochs, and one of another seed
    after = tables_of(copy)
    assert not after["models"].task.duplicated().any()
    assert after["models"].groupby("model").num_epochs.unique().map(sorted)[A] == ["2", "3"]
    assert after["pairs"].groupby("part").model1.nunique().to_dict() == {"first": 2, "longer": 2, "toy": 2}
    own = after["pairs"][after["pairs"].model1 == A].groupby("part").mse_1.unique().str[0]
    assert own["first"] == own["toy"] != own["longer"]
    for name in before:
        assert_same({name: after[name][after[name].task.isin(before[name].task)]}, before)
    assert study_of(copy, TWO).left == []  # of whatever parts were left out


MORE = {"sampling": ["equally", "random"], "draws": 3, "lams": ["gcv", 0.1, 0.0]}
MAPS = {"maps": ["affine", "kernel", "orthogonal"], "map_settings": {"kernel": {"length": 2.0}}}


@pytest.mark.parametrize("lists", [{"anchors": [12, 30, 40]}, {**MORE, **MAPS}], ids=["anchors", "others"])
def test_a_longer_list_keeps_what_is_there_and_adds_what_is_new(lists, copy, tmp_path, monkeypatch):
    parts = {"toy": {**TWO["toy"], **lists}}
    whole = tables_of_run(tmp_path / "whole", parts)
    evaluated, evaluate = [], stitches.evaluate_many
    monkeypatch.setattr(stitches, "evaluate_many", lambda p, z: (evaluated.append(len(z)), evaluate(p, z))[1])
    study_of(copy, parts).run()
    assert_same(tables_of(copy), whole)
    there = 2 * 3 * 2 * 2  # pairs, maps, draws, numbers of anchors; a number of its own, four controls, identity once
    assert sum(evaluated) == 5 * (len(whole["pairs"]) - there) + 2


def tables_of_run(folder, parts):
    study_of(folder, parts).run()
    return tables_of(folder)


def test_a_shorter_list_is_finished_and_what_is_beyond_it_stays(copy, monkeypatch):
    before, fewer = tables_of(copy), {"anchors": [40], "maps": ["orthogonal"], "draws": 1}
    assert study_of(copy, **fewer).left == []
    study_of(copy, **fewer, sampling=["equally"], lams=[0.1]).run()
    assert_same(tables_of(copy), before)
    other = {"toy": {**TWO["toy"], **fewer, "maps": ["linear"], "lams": [0.1]}}
    study_of(copy, other).run()
    pairs = tables_of(copy)["pairs"]
    assert_same({"pairs": pairs[pairs.mapping != "linear"]}, before)
    assert len(pairs) == len(before["pairs"]) + 2
    monkeypatch.setattr(stitches, "pairs_of", None)  # all rows are there
    study_of(copy).run()
    after = tables_of(copy)["pairs"]
    assert_same({"pairs": after[after.mapping != "linear"]}, before)


def test_a_pair_that_a_stopped_start_did_not_reach_is_left_though_states_are_gone(copy, monkeypatch):
    longer = {"toy": {**TWO["toy"], "draws": 3, "lams": ["gcv", 0.0, 0.5], "maps": ["orthogonal", "affine", "linear"]}}
    study, results = study_of(copy, longer), stitches.Stitching.results
    monkeypatch.setattr(lanes, "MOST_LANES", {"cpu": 1})
    monkeypatch.setattr(stitches.Stitching, "results", lambda self: (study.stop.at_step.set(), results(self))[1])
    study.run()
    shutil.rmtree(copy / "state")
    assert [plan.do for plan in study_of(copy, longer).left] == ["model", "model", "pair"]
    assert study_of(copy).left == []


@pytest.mark.parametrize("other", [{"eval_size": 40}, {"pool_size": 100}, {"control_draws": 1}])
def test_other_images_make_the_pairs_anew_and_no_model(other, copy, tmp_path):
    parts = {"toy": {**TWO["toy"], **other, "anchors": [12, 30]}}
    study = study_of(copy, parts)
    assert {plan.do for plan in study.left} == {"pair"}
    study.run()
    assert_same(tables_of(copy), tables_of_run(tmp_path / "whole", parts))


@pytest.mark.parametrize("with_states", [True, False])
def test_pairs_asked_for_no_more_are_not_mixed_with_those_on_other_images(with_states, tmp_path, capsys):
    three, two = {"seeds": [0, 1, 2], "pairs": "neighbours", "draws": 1}, {"seeds": [0, 1], "draws": 1}
    folder, other = tmp_path / "study", {"toy": {**TWO["toy"], "eval_size": 40}}
    study_of(folder, **three).run()
    before = tables_of(folder)
    if not with_states:
        shutil.rmtree(folder / "state")
    capsys.readouterr()
    study_of(folder, other, **two).run()
    said = "2 tasks of STITCHES['toy'], asked for no more, had another eval_size than 40: left out of the tables"
    assert capsys.readouterr().out.count(said) == 1
    study_of(tmp_path / "alone", other, **two).run()
    assert_same({"pairs": tables_of(folder)["pairs"]}, tables_of(tmp_path / "alone"))
    assert_same({"models": tables_of(folder)["models"]}, before)
    assert manifests.read(folder)["finished"]
    assert study_of(folder, other, **two).left == []
    # as before, two pairs are made anew: the others' rows are kept in state/
    assert {plan.do for plan in study_of(folder, **three).left} == {"pair"}
    assert len(study_of(folder, **three).left) == 2
    study_of(folder, **three).run()
    assert_same(tables_of(folder), before)
    study_of(folder, other, **two).run()
    shutil.rmtree(folder / "state")  # and with it the rows that no table has
    assert sum(plan.do == "pair" for plan in study_of(folder, **three).left) == 4


def test_maps_with_other_settings_are_fitted_again(tmp_path):
    part = {**TWO["toy"], "maps": ["affine", "mlp"], "map_settings": {"mlp": {"steps": 0}}, "draws": 1}
    study_of(tmp_path / "study", {"toy": part}).run()
    longer = {"toy": {**part, "map_settings": {"mlp": {"steps": 5}}}}
    study_of(tmp_path / "study", longer).run()
    assert_same(tables_of(tmp_path / "study"), tables_of_run(tmp_path / "whole", longer))


def test_a_published_folder_without_states_opens_and_goes_on(copy):
    shutil.rmtree(copy / "state")
    assert study_of(copy).left == []
    before = tables_of(copy)
    with pytest.raises(log.StudyError, match="weights are kept where a study was run, and not published"):
        study_of(copy).pair("toy", A, B)
    longer = {"toy": {**TWO["toy"], "anchors": [12, 30, 40]}}
    study = study_of(copy, longer)
    assert [plan.do for plan in study.left] == ["model", "model", "pair", "pair"]
    study.run()  # the models are trained again, and come out the same
    after = tables_of(copy)
    assert_same({"models": after["models"]}, before)
    assert_same({"pairs": after["pairs"][after["pairs"].num_samples != "30"]}, before)
    assert (after["pairs"].num_samples == "30").sum() == len(before["pairs"]) / 2


def test_other_settings_are_refused_with_what_differs(copy):
    with pytest.raises(
        ConfigError, match=r"lr of STITCHES\['toy'\] is 0.01 there and 0.1 here; choose another save_dir"
    ):
        study_of(copy, lr=0.1)


def test_a_folder_of_a_path_study_is_refused(copy):
    manifests.write(copy, {**manifests.read(copy), "study": "path study"})
    with pytest.raises(ConfigError, match=r"manifest.json is of no stitching study; choose another save_dir"):
        study_of(copy)


@pytest.mark.parametrize(
    "name",
    ["pairs.csv.bz2", "classes.csv.bz2", "manifest.json", f"state/rows/{THERE}.json", "state/weights/models--*.pt"],
)
def test_a_damaged_file_is_named_and_what_it_held_is_made_again(name, copy, capsys):
    before, path = tables_of(copy), min(copy.glob(name))
    path.write_bytes(path.read_bytes()[:-20])
    if name == "manifest.json":
        with pytest.raises(ConfigError, match=r"manifest.json is not readable JSON .* get it back, or move it away"):
            study_of(copy)
        path.unlink()
    if "csv" in name:
        with pytest.raises(study_tables.StudyError, match=rf"{name} is damaged: its checksum"):
            log.load_study(copy)
    if "weights" in name:  # a pair, which needs them, is to be made again
        (copy / "state/rows" / f"{THERE}.json").unlink()
        (copy / "pairs.csv.bz2").unlink()
    study_of(copy).run()
    if name.startswith("state"):
        assert path.name.rpartition(".")[0] in capsys.readouterr().out
    assert_same(tables_of(copy), before)


def other_sizes(copy, path, key):
    files.write_state(path, conv_autoencoder(image_shape=(1, 8, 8), latent=4, base=1).state_dict(), {"task": key})


def of_other_training(copy, path, key):
    weights, about = files.read_state(path)
    files.write_state(path, {name: value + 1 for name, value in weights.items()}, about)


def of_another_seed(copy, path, key):
    shutil.copy(study_tables.weights_file(copy, key.replace("--s0", "--s1")), path)


def cut_in_half(copy, path, key):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (other_sizes, "holds other weights than those that were trained"),
        (of_other_training, "holds other weights than those that were trained"),
        (of_another_seed, "holds the weights of models--digits--.*--s1"),
        (cut_in_half, "is damaged"),
        (lambda copy, path, key: path.unlink(), "there is no .*: weights are kept where a study was run"),
    ],
)
def test_no_pair_is_made_of_weights_that_are_another_networks_or_damaged(damage, words, copy):
    study = study_of(copy)
    path = study_tables.weights_file(copy, models_of(study.settings)[0].key)
    damage(copy, path, models_of(study.settings)[0].key)
    with pytest.raises(study_tables.StudyError, match=rf"{words}.*; get it back, or run the study in another save_dir"):
        study_of(copy).pair("toy", A, B)


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(log.StudyError, match="holds no stitching study"):
        log.load_study(tmp_path)
    assert not log.is_finished(tmp_path)


def test_a_map_that_cannot_be_fitted_leaves_its_reason_and_the_others_their_numbers(tmp_path, monkeypatch):
    fit_path = stitches.stitching.fit_path
    calls = itertools.count()

    def sometimes(*given, **settings):
        if next(calls) == 0:
            raise stitches.StitchError("the map is not finite")
        return fit_path(*given, **settings)

    monkeypatch.setattr(stitches.stitching, "fit_path", sometimes)
    pairs = study_of(tmp_path / "study").run().pairs
    lost = pairs[pairs.note == "the map is not finite"]
    assert len(lost) == 2
    assert lost.mse_stitched.isna().all()
    assert pairs.drop(lost.index).mse_stitched.notna().all()


def test_controls_that_cannot_be_had_leave_the_row_its_numbers(tmp_path, monkeypatch):
    def none(*given, **settings):
        raise stitches.StitchError("too few.")

    monkeypatch.setattr(stitches, "control_latents", none)
    pairs = study_of(tmp_path / "study", maps=["affine"], lams=["gcv"], draws=1).run().pairs
    assert pairs.note.str.endswith("No controls: too few.").all()
    assert pairs[["mse_stitched", "mse_mean_image"]].notna().all(axis=None)
    assert pairs.mse_self.isna().all()
