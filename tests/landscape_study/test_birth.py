"""The grid at birth: rows against a network looked at by hand, counts against loops and scikit-learn."""

import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from known_sweep import CELLS, sweep_of
from sklearn.metrics import roc_auc_score
from tiny_sweep import TINY
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from helpers import data, files, networks
from helpers.config import ConfigError, SweepConfig
from helpers.landscape_study import birth, birth_figures
from helpers.sweep import SweepError, rebuild, tables

SMALL = {**TINY, "hidden_size": 4, "layers_list": [1, 2], "init_types": ["he_normal", "zero"], "activations": ["tanh"]}
SETTINGS = {"width": 5, "samples": 16, "hessian": True}


@pytest.fixture(scope="module")
def grid(tmp_path_factory, one_thread):
    """(path, table) of the smallest grid."""
    path = tmp_path_factory.mktemp("grid") / "birth.csv"
    return path, birth.birth(SMALL, path, watch=lambda progress: None, **SETTINGS)


def first_network(config=SMALL, run=None):
    """A run before training, and what it is looked at with."""
    config = SweepConfig.from_dict(config)
    loaded = data.load(config, dtype=torch.float64)
    config = config.fitted_to(loaded)
    run = config.runs()[0] if run is None else config.named[run]
    chosen = loaded.probe[: SETTINGS["samples"]]
    return run, networks.build(config, run, torch.float64), loaded.x_train[chosen], loaded.y_train[chosen]


# ---- the rows


def test_the_grid_has_a_row_a_run(grid):
    _, table = grid
    assert [*table.run] == [run.name for run in SweepConfig.from_dict(SMALL).runs()]
    assert (table.finite == 1).all()


def test_the_loss_is_the_networks_own(grid):
    _, table = grid
    run, net, x, y = first_network()
    row = table[table.run == run.name].iloc[0]
    assert row.centre_loss == pytest.approx(cross_entropy(net(x), y).item(), rel=1e-5)


def test_the_eigenvalue_is_that_of_the_whole_hessian(grid):
    _, table = grid
    run, net, x, y = first_network()
    names, sizes = [*dict(net.named_parameters())], [p.shape for p in net.parameters()]

    def loss(flat):
        parts = flat.split([size.numel() for size in sizes])
        parameters = {name: part.view(size) for name, part, size in zip(names, parts, sizes, strict=True)}
        return cross_entropy(functional_call(net, parameters, (x,)), y)

    flat = torch.cat([p.detach().flatten() for p in net.parameters()])
    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat, vectorize=True)).numpy()
    expected = values[np.argmax(np.abs(values))]
    assert table[table.run == run.name].top_eigenvalue.item() == pytest.approx(expected, rel=1e-3)


def test_weights_of_zero_have_a_constant_surface(grid):
    _, table = grid
    dead = table[table.init == "zero"]
    assert (dead.sharpness == 0).all()
    assert np.allclose(dead.centre_loss, np.log(10), rtol=1e-5)
    assert (table[table.init != "zero"].sharpness > 0).all()


def test_a_surface_that_overflows_has_a_row():
    config = {**SMALL, "activations": ["relu"], "init_types": ["normal"], "init_params": {"normal": {"std": 1e29}}}
    config |= {"layers_list": [12]}
    table = birth.birth(config, watch=lambda progress: None, **{**SETTINGS, "hessian": False})
    assert len(table) == 1
    assert table.finite[0] < 1


def test_what_is_there_is_not_computed_again(grid, tmp_path, monkeypatch):
    there, table = grid
    path, begun, begin = tmp_path / "birth.csv", [], birth.BirthWorker.begin
    path.write_text("".join(there.read_text().splitlines(keepends=True)[:-1]))
    about = json.loads(there.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({k: v for k, v in about.items() if k != "checksum"}))
    monkeypatch.setattr(birth.BirthWorker, "begin", lambda self, task: begun.append(task.name) or begin(self, task))
    pd.testing.assert_frame_equal(birth.birth(SMALL, path, watch=lambda progress: None, **SETTINGS), table)
    assert begun == [table.run.iloc[-1]]


def test_what_is_finished_is_not_written_again(grid, tmp_path):
    there, table = grid
    path = tmp_path / "birth.csv"
    for suffix in (".csv", ".json"):
        path.with_suffix(suffix).write_bytes(there.with_suffix(suffix).read_bytes())
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    pd.testing.assert_frame_equal(birth.birth(SMALL, path, **SETTINGS), table)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_rows_of_other_runs_stay_and_are_not_taken_for_those_that_are_asked_for(grid, tmp_path):
    """As many runs as are there, but others: another depth."""
    there, table = grid
    path = tmp_path / "birth.csv"
    for suffix in (".csv", ".json"):
        path.with_suffix(suffix).write_bytes(there.with_suffix(suffix).read_bytes())
    deeper = {**SMALL, "layers_list": [3, 4]}
    found = birth.birth(deeper, path, watch=lambda progress: None, **SETTINGS)
    assert set(found.layers) == {*deeper["layers_list"]}
    assert set(birth.read_birth(path)[0].run) == {*found.run, *table.run}
    pd.testing.assert_frame_equal(birth.birth(SMALL, path, **SETTINGS), table)


def test_rows_are_those_of_the_sweep_that_they_stand_beside(grid):
    config = SweepConfig.from_dict(SMALL)
    assert birth.read_birth(grid[0], config)[0].equals(grid[1])
    for key, value in {"hidden_size": 5, "train_size": 99, "normalize": True}.items():
        with pytest.raises(ConfigError, match=f"holds the grid of other {key}"):
            birth.read_birth(grid[0], SweepConfig.from_dict({**SMALL, key: value}))


def test_a_full_disk_is_one_sentence(grid, tmp_path, monkeypatch):
    def full(path, *_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "write_whole", full)
    with pytest.raises(SweepError, match=r"cannot be written to .*birth.json \(No space left on device\)"):
        birth.birth(SMALL, tmp_path / "birth.csv", **SETTINGS)


@pytest.mark.parametrize("changed", [{"width": 7}, {"max_step": 0.1}])
def test_rows_of_other_settings_are_refused(grid, changed):
    path, _ = grid
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="other settings"):
        birth.birth(SMALL, path, **{**SETTINGS, **changed})
    assert path.read_bytes() == before


def test_rows_of_other_networks_are_refused(grid):
    with pytest.raises(ConfigError, match="other hidden_size"):
        birth.birth({**SMALL, "hidden_size": 5}, grid[0], **SETTINGS)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"widht": 9}, "no key 'widht'.*width"),
        ({"width": 8}, "width is 8; allowed is an odd number"),
        ({"pairs": 0}, "pairs is 0"),
        ({"samples": 600}, "samples is 600.*512"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong, sentence):
    with pytest.raises(ConfigError, match=sentence):
        birth.birth(SMALL, **wrong)


def test_a_changed_file_is_refused(grid, tmp_path):
    path = tmp_path / "birth.csv"
    path.write_text(grid[0].read_text().replace("tanh", "relu", 1))
    path.with_suffix(".json").write_text(grid[0].with_suffix(".json").read_text())
    with pytest.raises(files.DamagedError, match="another checksum"):
        birth.read_birth(path)


# ---- who learned


MADE_UP = ("truth", "opposite", "noise")


def made_up(seed=0, cells=24, seeds=3):
    """Runs of which one number is the truth, one its opposite, one noise, and the forecast right in three of four."""
    rng, rows = np.random.default_rng(seed), []
    for i, (activation, init, layers) in enumerate(itertools.product("ab", "xyz", (1, 2, 3, 4))):
        for s in range(seeds):
            learned = layers <= (1 if activation == "a" else 2) or (i + s) % 11 == 0
            rows.append({
                "run": f"{i} {s}", "activation": activation, "init": init, "layers": layers, "seed": s,
                "truth": learned + 0.1 * rng.random(), "opposite": -float(learned), "noise": rng.normal(),
                "learned": learned, "trainable": learned ^ (rng.random() < 0.25), "backward": rng.random(),
                "sharpness": 1.0, "finite": 1.0,
            })  # fmt: skip
    return pd.DataFrame(rows[: cells * seeds])


@pytest.mark.parametrize("seed", range(5))
def test_auc_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    values, learned = rng.integers(0, 9, 80).astype(float), rng.random(80) < 0.4
    values[:3] = [np.inf, -np.inf, 1e300]
    ordered = np.unique(values, return_inverse=True)[1]  # scikit-learn takes no inf
    assert birth.auc(values, learned) == pytest.approx(roc_auc_score(learned, ordered))
    unknown = rng.random(80) < 0.2
    assert birth.auc(np.where(unknown, np.nan, values), learned) == pytest.approx(
        roc_auc_score(learned[~unknown], ordered[~unknown])
    )


def test_auc_of_one_kind_is_not_known():
    assert np.isnan(birth.auc(np.arange(4.0), np.ones(4, bool)))


def test_what_tells_all_and_what_tells_nothing():
    told = birth.telling(made_up(), MADE_UP)
    assert told.auc["truth"] == 1
    assert told.auc["opposite"] == 0
    assert told.right["opposite"] == 1
    assert told.right["truth"] > 0.95
    assert told.unknown["noise"] == 0
    assert np.isnan(told.auc["forecast"])
    assert told.gain["opposite"] == pytest.approx(1 - told.right["forecast"], abs=0.03)
    assert told.gain["noise"] < told.gain["opposite"]
    assert told.right["noise"] < 0.8
    assert told.right["all numbers"] == 1


def test_noise_tells_nothing_in_the_mean():
    """The AUC of n0 x n1 pairs without ties has the variance (n0 + n1 + 1) / (12 n0 n1)."""
    tables = [made_up(seed) for seed in range(20)]
    aucs = [birth.auc(table.noise.to_numpy(), table.learned.to_numpy()) for table in tables]
    yes, no = tables[0].learned.sum(), (~tables[0].learned).sum()
    assert abs(np.mean(aucs) - 0.5) < 4 * np.sqrt((yes + no + 1) / (12 * yes * no) / len(tables))


def test_halves_keep_the_seeds_of_a_cell_together():
    found = made_up()
    for half in tables.halves(found, 6, seed=1):
        assert half.sum() == len(found) // 2
        assert (found.assign(half=half).groupby(tables.CELL).half.nunique() == 1).all()


def test_counts_of_the_other_half_against_loops():
    found = made_up(3)
    told = birth.telling(found, MADE_UP, halves=4, seed=7)
    depth, forecast, commonest, noise = [], [], [], []
    for half in tables.halves(found, 4, seed=7):
        fitted, other = found[half], found[~half]
        cuts = {}
        for activation, rows in fitted.groupby("activation"):
            right = {cut: sum(row.learned == (row.layers <= cut) for row in rows.itertuples()) for cut in range(5)}
            cuts[activation] = max(right, key=lambda cut, right=right: (right[cut], -cut))
        depth.append(np.mean([row.learned == (row.layers <= cuts[row.activation]) for row in other.itertuples()]))
        forecast.append(np.mean([row.learned == row.trainable for row in other.itertuples()]))
        commonest.append(
            np.mean([row.learned == (fitted.learned.sum() * 2 > len(fitted)) for row in other.itertuples()])
        )
        place = {value: i for i, value in enumerate(sorted(found.noise))}
        there = sorted(place[value] for value in fitted.noise)
        edges = [-1, *((a + b) / 2 for a, b in itertools.pairwise(there)), len(place)]
        known = [(place[row.noise], row.learned) for row in fitted.itertuples()]
        best = max(
            (sum((there[i] <= v <= there[j]) == yes for v, yes in known), i, j)
            for i, j in itertools.combinations_with_replacement(range(len(there)), 2)
        )
        low, high = edges[best[1]], edges[best[2] + 1]
        noise.append(np.mean([(low <= place[row.noise] <= high) == row.learned for row in other.itertuples()]))
    assert told.right["depth"] == pytest.approx(np.mean(depth))
    assert told.right["forecast"] == pytest.approx(np.mean(forecast))
    assert told.right["commonest"] == pytest.approx(np.mean(commonest))
    assert told.right["noise"] == pytest.approx(np.mean(noise))
    assert told.right_std["noise"] == pytest.approx(np.std(noise, ddof=1))
    mine = found[found.trainable]
    assert told.auc_yes["noise"] == pytest.approx(roc_auc_score(mine.learned, mine.noise))


def test_within_groups_is_a_rule_for_each():
    found = made_up(5)
    learned, groups = found.learned.to_numpy(), found.activation.to_numpy()
    half = next(tables.halves(found, 1, seed=2))
    called = birth._within(tables.called_by_range(found.noise.to_numpy()), groups)(half, learned)
    for group in "ab":
        mine = groups == group
        alone = np.where(mine, found.noise, np.nan)  # the others have no rank
        expected = tables.called_by_range(alone)(half, learned)
        fitted = mine & half
        assert np.array_equal(called[fitted], expected[fitted])
        assert (called == learned)[fitted].mean() >= learned[fitted].mean()  # which calling all of them would reach


def test_a_number_that_is_not_known_is_called_dead():
    found = made_up()
    lost = found.learned & (found.layers == 1)
    told = birth.telling(found.assign(truth=found.truth.where(~lost)), MADE_UP)
    assert told.unknown["truth"] == lost.sum()
    assert told.auc["truth"] == 1
    assert told.right["truth"] == pytest.approx(1 - lost.mean(), abs=0.1)


def test_the_sentences_have_the_counts():
    found = made_up()
    told = birth.telling(found, MADE_UP)
    text = " ".join(birth.sentences(found, told))
    wrong = (found.learned != found.trainable).sum()
    assert f"Of {len(found)} runs {found.learned.sum()} had learned at the last epoch" in text
    assert f"The forecast is wrong in {wrong} of {len(found)} runs" in text
    assert "truth 1.00 +- 0" in text
    assert f"{100 * told.right['forecast']:.1f} +- " in text


def test_what_held_of_the_expectations():
    found = made_up().assign(regime=lambda t: np.where(t.trainable, "trainable", "vanishing"))
    found = found.assign(sharpness=found.truth, roughness=-found.truth, convex_share=found.noise)
    numbers = ("sharpness", "roughness", "convex_share")
    table = birth.held(found, birth.telling(found, numbers))
    assert [*table.held[:3]] == [True, False, False]  # an AUC of 1 is no 0.8, and one of 0 ranks as well
    assert table.held[3] == (birth.auc(found.noise.to_numpy(), found.learned.to_numpy()) < 0.5)
    assert [*table.held[4:]] == [False, False]
    swapped = found.assign(regime=np.where(found.trainable, "vanishing", "trainable"), learned=~found.learned)
    assert not birth.held(swapped, birth.telling(swapped, numbers)).held[0]


# ---- a dead run and a living one


def test_a_dead_run_and_a_living_one(tmp_path):
    cells = {**CELLS, ("tanh", "xavier_normal", 12): (0.1, 0.1), ("relu", "xavier_normal", 3): (0.1, 0.1)}
    cells |= {("relu", "xavier_normal", 12): (0.97, 0.97), ("tanh", "xavier_normal", 3): (0.1, 0.1)}
    results = sweep_of(tmp_path, cells)
    dead, living = birth.dead_and_living(results)
    rows = results.summary.set_index("run")
    assert not rows.learned[dead]
    assert rows.learned[living]
    alike = ["activation", "layers", "seed"]
    assert (rows.loc[dead, alike] == rows.loc[living, alike]).all()
    assert rows.layers[dead] == 12
    assert birth.dead_and_living(results, layers=3)[0].startswith("xavier_normal_")
    with pytest.raises(ConfigError, match="no two runs"):
        birth.dead_and_living(results, layers=4)


def test_before_and_after_is_the_run_itself():
    config, run = {**SMALL, "num_epochs": 2}, "he_normal_tanh_2L_s0"
    before, after = birth.before_and_after(config, run, width=5, samples=16)
    _, net, x, y = first_network(config, run)
    assert before.centre == pytest.approx(cross_entropy(net(x), y).item())
    assert after.centre == pytest.approx(cross_entropy(rebuild(config, run)(x), y).item())
    assert np.array_equal(before.steps, after.steps)
    assert after.centre < before.centre


# ---- pictures


def test_maps_show_medians_and_shares():
    found = made_up().assign(regime="trainable")
    config = SweepConfig.from_dict({**SMALL, "layers_list": [1, 2, 3, 4]})
    object.__setattr__(config, "init_types", ("x", "y", "z"))
    rows = found[found.activation == "a"]
    cell = rows[(rows.init == "y") & (rows.layers == 3)]
    assert birth_figures._grid_of(rows, "noise", config)[1, 2] == sorted(cell.noise)[1]
    assert birth_figures._grid_of(rows, "learned", config)[1, 2] == cell.learned.sum() / 3


def test_pictures_say_their_numbers(grid):
    _, table = grid
    config = SweepConfig.from_dict(SMALL)
    found = table.assign(learned=table.init != "zero", diverged=False, regime="vanishing", trainable=False)
    picture = birth_figures.birth_maps(found, config)
    assert (
        f"{found[found.learned].sharpness.median():.3g} in {found.learned.sum()} runs that learned" in picture.sentence
    )
    said = f"{len(config.runs())} MLPs of {config.hidden_size} units a layer before training"
    assert picture.figure.get_suptitle().replace("\n", "").startswith(f"digits, {said}")
    plt.close(picture.figure)
    told = birth.telling(made_up(), MADE_UP)
    picture = birth_figures.telling_bars(told, config)
    assert picture.figure.get_suptitle() == birth_figures.networks_in_words(config)
    assert f"{told.right['forecast']:.3f}" in picture.sentence
    plt.close(picture.figure)


def test_the_pair_is_drawn(grid):
    pair = birth.before_and_after({**SMALL, "num_epochs": 1}, "he_normal_tanh_1L_s0", width=5, samples=16)
    picture = birth_figures.before_and_after_maps({"one": pair})
    assert f"{pair[0].centre:.4g} (+ {pair[0].loss.max() - pair[0].centre:.3g})" in picture.sentence
    plt.close(picture.figure)
