"""Results on disk: what is written is read back, whole or not at all."""

import hashlib
import os

import numpy as np
import pandas as pd
import pytest
from made_up_results import write_sweep

from helpers import checksums, files, manifests, packed, records
from helpers.config import Run
from helpers.records import LAYER_STATS

AXES = {"activation": "activations", "init": "init_types", "layers": "layers_list", "seed": "seeds"}
DEEP = Run("he_normal", "tanh", 12, 0)  # more than ten layers: their columns sort differently as text


def random_table(run, epochs, rng):
    """A run's table of random figures over 16 decades."""
    shape = epochs + 1, len(records.columns(run.layers))
    table = np.abs(rng.standard_normal(shape)) * 10.0 ** rng.integers(-8, 8, shape)
    table[:, 3:5] = rng.random((epochs + 1, 2))  # accuracies
    table[:, 0] = np.arange(epochs + 1)
    return table


def to_digits(values, digits):
    """Rounded to significant digits, by arithmetic."""
    unit = 10.0 ** (np.floor(np.log10(np.abs(values))) - digits + 1)
    return np.round(values / unit) * unit


def history(**given):
    """A run's history with these columns, everything else 0.5; the first value is that of epoch 0."""
    epochs = len(next(iter(given.values())))
    plain = dict.fromkeys(records.EPOCH_COLUMNS, 0.5) | {"epoch": range(epochs)}
    return pd.DataFrame(plain | given)


def write_tables(folder, tables, floor=0.1):
    """A folder as a sweep leaves it, from {run: table}."""
    axes = {key: list(dict.fromkeys(getattr(run, axis) for run in tables)) for axis, key in AXES.items()}
    given = {**axes, "dataset": "mnist", "lr": 0.1}
    return write_sweep(folder, given, lambda run, config: tables.get(run), floor=floor, seconds=1.5)


# ---- one run's CSV


def test_columns_of_a_run_are_those_of_the_design():
    assert ",".join(records.columns(2)) == (
        "epoch,train_loss,test_loss,train_acc,test_acc,epoch_time,"
        "act_mean_0,act_std_0,pre_std_0,grad_norm_0,grad_mean_abs_0,"
        "act_mean_1,act_std_1,pre_std_1,grad_norm_1,grad_mean_abs_1"
    )


def test_a_run_is_named_for_its_cell(tmp_path):
    run = Run("he_normal", "relu", 5, 3)
    records.write_run(tmp_path, run, random_table(run, 1, np.random.default_rng(0)))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["he_normal_relu_5L_s3.csv"]
    assert records.run_file(tmp_path, run).read_text().startswith(",".join(records.columns(5)) + "\n0,")


def test_a_run_comes_back_with_six_digits_of_its_losses_and_four_of_its_layers(tmp_path):
    table = random_table(DEEP, 20, np.random.default_rng(0))
    back = write_tables(tmp_path, {DEEP: table}).history(DEEP.name)
    assert list(back.columns) == records.columns(12)
    assert back.epoch.tolist() == list(range(21))
    for columns, digits in ((slice(1, 6), 6), (slice(6, None), 4)):
        np.testing.assert_allclose(back.to_numpy()[:, columns], to_digits(table[:, columns], digits), rtol=1e-12)


def test_what_is_not_known_is_an_empty_cell(tmp_path):
    table = np.full((2, len(records.columns(1))), np.nan)
    table[:, 0], table[0, 2], table[1, 1] = (0, 1), 0.25, np.inf
    back = write_tables(tmp_path, {Run("zero", "relu", 1, 0): table}).history("zero_relu_1L_s0")
    lines = (tmp_path / "runs" / "zero_relu_1L_s0.csv").read_text().splitlines()
    assert lines[1:] == ["0,,0.25" + "," * 8, "1,inf" + "," * 9]
    np.testing.assert_array_equal(back.to_numpy(), table)


# ---- the summary


@pytest.mark.parametrize(
    ("final", "floor", "learned"),
    [(0.55, 0.1, True), (0.549999, 0.1, False), (0.75, 0.5, True), (0.749999, 0.5, False), (1.0, 0.1, True)],
)
def test_a_run_has_learned_from_halfway_on(final, floor, learned):
    row = records.summarise(DEEP, history(train_acc=[0.1, 0.9, final]), floor)
    assert row["learned"] is learned
    assert row["diverged"] is False
    assert row["final_train_acc"] == final


@pytest.mark.parametrize("samples", [6, 1437, 60000])
def test_halfway_is_halfway_for_a_rounded_figure_too(tmp_path, samples):
    """k of n samples in the commonest class, and (n + k) / 2 right answers, for shares with endless digits."""
    run, wrong = Run("zero", "relu", 1, 0), []
    for k in range(samples % 2 + 2, samples, samples // 40 * 2 + 2):
        table = np.full((2, len(records.columns(1))), 0.5)
        table[:, 0], table[:, 3] = (0, 1), (samples + k) / 2 / samples
        if not write_tables(tmp_path, {run: table}, floor=k / samples).summary.learned[0]:
            wrong.append(k)
    assert wrong == []


@pytest.mark.parametrize(
    ("train_acc", "epoch"),
    [
        ([0.1, 0.6, 0.94, 0.95, 1.0], 3),  # at the mark itself
        ([0.1, 0.5, 0.76, 0.78, 0.8], 2),  # of the run's own peak, not of 1
        ([0.1, 0.6, 0.9, 0.8, 0.7], 2),  # of the peak, not of the end
        ([0.9, 0.6, 0.7, 0.8, 0.9], 4),  # epochs of training, not what was measured before it
        ([0.1, 0.6], 1),
    ],
)
def test_epochs_to_95_is_the_first_epoch_near_the_peak(train_acc, epoch):
    assert records.summarise(DEEP, history(train_acc=train_acc), 0.1)["epochs_to_95"] == epoch


def test_a_run_that_never_learned_is_not_the_fastest(tmp_path):
    row = records.summarise(DEEP, history(train_acc=[0.1, 0.1, 0.1]), 0.1)
    assert row["learned"] is False
    assert row["epochs_to_95"] is pd.NA
    records.write_summary(tmp_path, [row])
    assert pd.read_csv(tmp_path / "summary.csv").epochs_to_95.isna().all()


NEVER = None
OF_THE_PLATEAU = [  # train accuracies, the epoch that left it, whether it has crashed; the mark is 0.55
    ([0.1, 0.2, 0.55, 0.9], 2, False),  # at the mark itself
    ([0.1, 0.2, 0.549999, 0.3], NEVER, False),
    ([0.1, 0.6, 0.2, 0.7], 1, False),  # back again by the end
    ([0.1, 0.2, 0.948, 0.101], 2, True),
    ([0.1, 0.2, 0.6, 0.549999], 2, True),
    ([0.1, 0.6, 0.7, np.nan], 1, True),  # diverged after it had left
    ([0.1, 0.2, np.nan, np.nan], NEVER, False),  # and before
    ([0.6, 0.2, 0.3, 0.2], NEVER, False),  # there by its random weights alone, which is not by training
    ([0.6, 0.7, 0.8, 0.9], 1, False),
]


@pytest.mark.parametrize(("train_acc", "left", "crashed"), OF_THE_PLATEAU)
def test_a_run_leaves_the_plateau_and_may_crash(train_acc, left, crashed):
    losses = {"train_loss": np.where(np.isnan(train_acc), np.nan, 1.0)}
    row = records.summarise(DEEP, history(train_acc=train_acc, **losses), 0.1)
    assert (None if row["left_plateau"] is pd.NA else row["left_plateau"]) == left
    assert row["crashed"] is crashed
    assert row["learned"] is (train_acc[-1] >= 0.55)


def sweep_of_the_plateau(folder, floor=0.1, **manifest):
    """A sweep with a run a row of OF_THE_PLATEAU; a diverged run has no losses."""
    tables = []
    for train_acc, *_ in OF_THE_PLATEAU:
        table = np.full((4, len(records.columns(1))), 0.5)
        table[:, 0], table[:, 3] = np.arange(4), train_acc
        gone = np.isnan(train_acc)
        table[gone, 1:] = np.nan
        tables.append(table)
    axes = {"layers_list": [1], "activations": ["relu"], "init_types": ["zero"], "seeds": [*range(len(tables))]}
    return write_sweep(folder, axes, lambda run, config: tables[run.seed], floor=floor, **manifest)


def as_an_earlier_version(folder):
    """Take the columns of the plateau out of a summary.csv, as text. Returns what stood there."""
    path = folder / "summary.csv"
    text = path.read_text()
    lines = [line.split(",") for line in text.splitlines()]
    gone = [lines[0].index(name) for name in ("left_plateau", "crashed")]
    path.write_text("".join(",".join(v for i, v in enumerate(line) if i not in gone) + "\n" for line in lines))
    return text


def test_what_became_of_the_plateau_comes_back(tmp_path):
    summary = sweep_of_the_plateau(tmp_path).summary
    assert (str(summary.left_plateau.dtype), str(summary.crashed.dtype)) == ("Int64", "boolean")
    assert [None if v is pd.NA else v for v in summary.left_plateau] == [left for _, left, _ in OF_THE_PLATEAU]
    assert summary.crashed.tolist() == [crashed for *_, crashed in OF_THE_PLATEAU]
    assert records.has_left(summary).tolist() == [left is not NEVER for _, left, _ in OF_THE_PLATEAU]


def test_an_earlier_summary_has_it_from_the_logs(tmp_path):
    now = sweep_of_the_plateau(tmp_path).summary
    text = as_an_earlier_version(tmp_path)
    assert "crashed" not in (tmp_path / "summary.csv").read_text()
    pd.testing.assert_frame_equal(records.load_sweep(tmp_path).summary, now)
    packed.pack(tmp_path / "runs")
    pd.testing.assert_frame_equal(records.load_sweep(tmp_path).summary, now)
    assert [list(row) for row in records.read_rows(tmp_path)] == [records.EARLIER_COLUMNS] * len(now)
    (tmp_path / "summary.csv").write_text(text)
    assert [list(row) for row in records.read_rows(tmp_path)] == [records.SUMMARY_COLUMNS] * len(now)


@pytest.mark.parametrize("what", ["gone", "damaged", "of other epochs"])
def test_without_its_log_nobody_knows_whether_an_earlier_run_had_left(tmp_path, what):
    now = sweep_of_the_plateau(tmp_path).summary
    as_an_earlier_version(tmp_path)
    for run in now.run:
        path = tmp_path / "runs" / f"{run}.csv"
        text = path.read_text()
        longer = "4," + text.splitlines()[-1].split(",", 1)[1].replace("0.5", "0.45") + "\n"
        new = {"gone": "", "damaged": text[:-9], "of other epochs": text + longer}[what]
        path.unlink() if what == "gone" else path.write_text(new)
    summary = records.load_sweep(tmp_path).summary
    unknown = ~now.diverged if what == "of other epochs" else now.learned | True  # one that has diverged stays as it is
    assert summary.crashed.isna().tolist() == unknown.tolist()
    assert summary.left_plateau[unknown].isna().all()
    left = records.has_left(summary)[unknown]
    assert left[now.learned[unknown]].all()  # what has learned had left
    assert left[~now.learned[unknown]].isna().all()
    assert not records.has_left(now).isna().any()


def test_an_earlier_summary_of_one_log_less_knows_the_others(tmp_path):
    now = sweep_of_the_plateau(tmp_path).summary
    as_an_earlier_version(tmp_path)
    (tmp_path / "runs" / f"{now.run[3]}.csv").unlink()
    summary = records.load_sweep(tmp_path).summary
    pd.testing.assert_frame_equal(summary.drop(index=3), now.drop(index=3))
    assert summary.loc[3, ["left_plateau", "crashed"]].isna().all()


@pytest.mark.parametrize("samples", [6, 1437, 60000, 300_000])
def test_the_mark_is_the_same_for_an_earlier_summary(tmp_path, samples):
    """k of n samples in the commonest class, and one right answer less than halfway, then none less; k/n is rounded."""
    rng = np.random.default_rng(samples)
    for k in {*rng.integers(1, samples, 20).tolist()}:
        table = np.full((4, len(records.columns(1))), 0.5)
        table[:, 0] = np.arange(4)
        at = -(-(samples + k) // 2)  # the least number of right answers that is halfway
        table[:, 3] = np.array([0, at - 1, at, at - 1]) / samples
        axes = {"layers_list": [1], "activations": ["relu"], "init_types": ["zero"]}
        rounded = round(k / samples, 6)
        now = write_sweep(tmp_path, axes, lambda *_, table=table: table, floor=k / samples)
        manifest = manifests.read(tmp_path)
        manifests.write(tmp_path, {**manifest, "commonest_class_share": rounded})
        as_an_earlier_version(tmp_path)
        pd.testing.assert_frame_equal(records.load_sweep(tmp_path).summary, now.summary)
        assert now.summary.left_plateau[0] == 2, k


IMPOSSIBLE = {
    "crashed and learned": {"crashed": "True", "learned": "True"},
    "crashed and had never left": {"left_plateau": "", "crashed": "True", "learned": "False"},
    "learned and had never left": {"left_plateau": "", "crashed": "False", "learned": "True"},
    "left, not learned, not crashed": {"left_plateau": "2", "crashed": "False", "learned": "False"},
    "left, not known": {"left_plateau": "2", "crashed": "", "learned": "False"},
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_a_summary_that_contradicts_itself_is_refused(tmp_path, what):
    sweep_of_the_plateau(tmp_path)
    path = tmp_path / "summary.csv"
    head, first, *others = path.read_text().splitlines()
    cells = dict(zip(head.split(","), first.split(","), strict=True)) | IMPOSSIBLE[what]
    path.write_text("\n".join([head, ",".join(cells.values()), *others]) + "\n")
    with pytest.raises(ValueError, match="says of zero_relu_1L_s0 what cannot be: that has crashed which had left"):
        records.load_sweep(tmp_path)


@pytest.mark.parametrize("column", ["train_loss", "test_loss"])
@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_marks_the_run(column, loss):
    row = records.summarise(DEEP, history(**{column: [2.3, 2.0, loss]}, train_acc=[0.1, 0.9, np.nan]), 0.1)
    assert row["diverged"] is True
    assert row["learned"] is False
    assert row["epochs_to_95"] is pd.NA


def test_a_run_without_any_test_accuracy_has_no_best():
    row = records.summarise(DEEP, history(test_acc=[np.nan, np.nan], train_loss=[np.nan, np.nan]), 0.1)
    assert np.isnan(row["best_test_acc"])
    assert row["best_epoch"] is pd.NA


def test_the_best_epoch_is_the_first_of_the_best():
    row = records.summarise(DEEP, history(test_acc=[0.1, 0.5, 0.7, 0.7, 0.6]), 0.1)
    assert (row["best_test_acc"], row["best_epoch"], row["final_test_acc"]) == (0.7, 2, 0.6)


def test_a_row_of_the_summary_names_its_run_and_adds_its_times():
    row = records.summarise(DEEP, history(epoch_time=[9.0, 1.0, 2.0], train_loss=[3.0, 2.0, 1.0]), 0.1)
    assert ",".join(row) == (
        "run,activation,init,layers,seed,final_train_loss,final_test_loss,final_train_acc,final_test_acc,"
        "best_test_acc,best_epoch,epochs_to_95,left_plateau,learned,crashed,diverged,seconds"
    )
    assert [row[axis] for axis in ("run", "activation", "init", "layers", "seed")] == [
        "he_normal_tanh_12L_s0",
        "tanh",
        "he_normal",
        12,
        0,
    ]
    assert row["final_train_loss"] == 1.0
    assert row["seconds"] == 3.0  # of training


def test_the_summary_comes_back_as_it_was(tmp_path):
    runs = [Run("zero", "relu", 1, 0), Run("he_normal", "tanh", 12, 1)]
    accuracies = [[0.1, 0.1, 0.1], [0.1, 0.8, 0.9]]
    rows = [
        records.summarise(run, history(train_acc=acc, test_acc=acc), 0.1)
        for run, acc in zip(runs, accuracies, strict=True)
    ]
    back = write_tables(tmp_path, {run: random_table(run, 1, np.random.default_rng(0)) for run in runs})
    records.write_summary(tmp_path, rows)
    back = records.load_sweep(tmp_path)
    rows = [{**row, "lr": back.config["lr"]} for row in rows]
    assert back.summary.astype(object).where(back.summary.notna(), None).to_dict("records") == [
        {key: None if value is pd.NA else value for key, value in row.items()} for row in rows
    ]
    assert back.lrs == [0.1]


# ---- read back


def test_layers_come_in_their_order_and_statistics_do_not_mix(tmp_path):
    epochs, stats = np.arange(3), len(LAYER_STATS)
    table = np.zeros((3, len(records.columns(12))))
    table[:, 0] = epochs
    # epoch e, layer l, statistic s as the number els, with l of two digits
    table[:, 6:] = (1000 * epochs[:, None, None] + 10 * np.arange(12)[:, None] + np.arange(stats)).reshape(3, -1)
    results = write_tables(tmp_path, {DEEP: table})
    for s, stat in enumerate(LAYER_STATS):
        layers = results.layers(DEEP.name, stat)
        assert list(layers.columns) == list(range(12))
        assert list(layers.index) == [0, 1, 2]
        np.testing.assert_array_equal(layers, 1000 * epochs[:, None] + 10 * np.arange(12) + s)


@pytest.mark.parametrize("stat", ["act", "grad", "epoch", "act_mean_1", "mean", ""])
def test_an_unknown_statistic_is_answered_with_the_known_ones(tmp_path, stat):
    results = write_tables(tmp_path, {DEEP: random_table(DEEP, 1, np.random.default_rng(0))})
    with pytest.raises(records.RecordsError, match=f"no layer statistic '{stat}'; allowed is act_mean, act_std"):
        results.layers(DEEP.name, stat)


def test_a_history_can_be_changed_without_changing_the_next(tmp_path):
    results = write_tables(tmp_path, {DEEP: random_table(DEEP, 1, np.random.default_rng(0))})
    mine = results.history(DEEP.name)
    mine["train_loss"] = 7
    assert (results.history(DEEP.name).train_loss != 7).all()


def test_a_sweep_that_has_grown_is_read_anew(tmp_path):
    rng = np.random.default_rng(0)
    assert len(write_tables(tmp_path, {DEEP: random_table(DEEP, 1, rng)}).history(DEEP.name)) == 2
    assert len(write_tables(tmp_path, {DEEP: random_table(DEEP, 4, rng)}).history(DEEP.name)) == 5


def test_select_takes_values_and_lists_of_them(tmp_path):
    runs = [Run(i, a, l, s) for i in ("zero", "normal") for a in ("relu", "tanh") for l in (1, 2) for s in (0, 1)]
    rng = np.random.default_rng(0)
    results = write_tables(tmp_path, {run: random_table(run, 1, rng) for run in runs})
    assert results.select(init="zero", activation="tanh", layers=2, seed=1).run.tolist() == ["zero_tanh_2L_s1"]
    assert results.select(layers=[2, 1], seed=(0,), init="normal").run.tolist() == [
        run.name for run in runs if run.init == "normal" and run.seed == 0
    ]
    assert results.select().run.tolist() == [run.name for run in runs]
    assert len(results.select(activation="gelu")) == 0


def test_a_sweep_in_a_study_of_its_name_hides_no_other(tmp_path):
    for folder in (tmp_path / "digits", tmp_path / "digits" / "digits", tmp_path / "digits" / "b"):
        write_tables(folder, {DEEP: random_table(DEEP, 1, np.random.default_rng(0))})
    found = records.find_sweeps(tmp_path)["digits"]
    assert found == {
        "b": tmp_path / "digits" / "b",
        "digits": tmp_path / "digits" / "digits",
        "digits/.": tmp_path / "digits",
    }


@pytest.mark.parametrize(
    "layers",
    [
        range(1, 3),
        np.array([1, 2]),
        {1, 2},
        pd.Series([1, 2]),
        (n for n in (1, 2)),
        {1: "a", 2: "b"}.keys(),
        (1.0, 2.0),
    ],
    ids=lambda values: type(values).__name__,
)
def test_select_takes_whatever_gives_values(tmp_path, layers):
    runs = [Run("zero", "relu", l, 0) for l in (1, 2, 3)]
    results = write_tables(tmp_path, {run: random_table(run, 1, np.random.default_rng(0)) for run in runs})
    assert results.select(layers=layers).layers.tolist() == [1, 2]
    assert results.select(layers=np.int64(3), seed=np.array(0)).layers.tolist() == [3]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"layer": 3}, "has no 'layer'; allowed is run, activation, init, layers"),
        ({"layers": range(10**12)}, "layers is too large"),
    ],
)
def test_what_cannot_be_selected_is_one_sentence(tmp_path, wanted, words):
    results = write_tables(tmp_path, {DEEP: random_table(DEEP, 1, np.random.default_rng(0))})
    with pytest.raises(ValueError, match=words) as error:
        results.select(**wanted)
    assert "\n" not in str(error.value)


NOT_TEXT = ("null", "NULL", "NA", "nan", "NaN", "None", "true", "True", "inf", "Infinity", "N.A", "e5")


def test_names_that_pandas_reads_as_something_else_stay_names(tmp_path):
    axes = {"init_types": list(NOT_TEXT[::2]), "activations": list(NOT_TEXT[1::2]), "layers_list": [1]}
    given = {
        **axes,
        "init_params": {name: {"init": "he_normal"} for name in NOT_TEXT[::2]},
        "activation_params": {name: {"activation": "affine"} for name in NOT_TEXT[1::2]},
        "optimizer": ["sgd", "adam"],
    }
    results = write_sweep(tmp_path, given)
    assert len(results.summary) == 72
    assert {*results.summary.init} == {*NOT_TEXT[::2]}
    assert {*results.summary.activation} == {*NOT_TEXT[1::2]}
    for name in NOT_TEXT[::2]:
        assert results.select(init=name, activation="NULL").run.tolist() == [
            f"{name}_NULL_1L_{optimizer}_s0" for optimizer in ("sgd", "adam")
        ]
    checksums.write(tmp_path, {})
    rows = records.read_rows(tmp_path)
    assert [row["run"] for row in rows] == results.summary.run.tolist()
    records.write_summary(tmp_path, rows)  # as a later start does
    pd.testing.assert_frame_equal(records.load_sweep(tmp_path).summary, results.summary)


def test_one_name_only_is_no_truth(tmp_path):
    """A column of nothing but `true` would be read as truths."""
    params = {"true": {"init": "zero"}}
    results = write_sweep(tmp_path, {"init_types": ["true"], "init_params": params, "layers_list": [1]})
    assert results.select(init="true").init.unique().tolist() == ["true"]


def test_an_unknown_number_stays_unknown(tmp_path):
    results = write_sweep(tmp_path, {"layers_list": [1]}, missing=())
    text = (tmp_path / "summary.csv").read_text().splitlines()
    cells = text[1].split(",")
    cells[5:12] = ["", "nan", "inf", "", "", "", ""]  # to epochs_to_95
    (tmp_path / "summary.csv").write_text("\n".join([text[0], ",".join(cells), *text[2:]]) + "\n")
    row = records.load_sweep(tmp_path).summary.iloc[0]
    assert row[["final_train_loss", "final_test_loss", "best_epoch", "epochs_to_95"]].isna().all()
    assert row.final_train_acc == np.inf
    assert results.summary.final_train_loss.dtype == float


@pytest.mark.parametrize("setting", records.SETTINGS)
def test_a_part_is_that_of_one_setting(tmp_path, setting):
    values = {"lr": [0.1, 1.0], "hidden_size": [8, 16], "batch_size": [4, 8], "optimizer": ["sgd", "adam"]}[setting]
    cells = {"layers_list": [1], "init_types": ["zero", "normal"], "activations": ["relu"]}
    results = write_sweep(tmp_path, {**cells, setting: values})
    assert results.several == {setting: values}
    part = results.at(**{setting: np.array(values)[1]})
    assert len(part.summary) == len(results.summary) / 2
    assert set(part.summary[setting]) == {values[1]}
    assert part.several == {}
    assert part.lrs == ([1.0] if setting == "lr" else results.lrs)
    assert results.first().summary.equals(results.at(**{setting: values[0]}).summary)
    assert results.at(**{other: results.config[other] for other in records.SETTINGS if other != setting}).several
    with pytest.raises(ValueError, match=f"{setting} is 3; this sweep has {values[0]}, {values[1]}"):
        results.at(**{setting: 3})
    with pytest.raises(ValueError, match="'layers' is no setting of a run; allowed is lr, hidden_size"):
        results.at(layers=1)
    results.check_one_of_each(but=(setting,))
    changed(tmp_path / "summary.csv", (f",{setting}", ",other"))
    with pytest.raises(ValueError, match=f"summary of its sweep: it lacks {setting}"):
        records.load_sweep(tmp_path)


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no sweep: there is no manifest\.json"):
        records.load_sweep(tmp_path)
    manifests.write(tmp_path, {})
    with pytest.raises(FileNotFoundError, match=r"holds no sweep: there is no summary\.csv"):
        records.load_sweep(tmp_path)
    assert manifests.read(tmp_path / "nowhere") is None


def changed(path, *pairs):
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def with_cell(folder, column, text):
    """Write a text into a column of the first row of a summary.csv."""
    head, first, *others = (folder / "summary.csv").read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index(column)] = text
    (folder / "summary.csv").write_text("\n".join([head, ",".join(cells), *others]) + "\n")


DAMAGES = {
    "empty summary": lambda folder: (folder / "summary.csv").write_text(""),
    "binary summary": lambda folder: (folder / "summary.csv").write_bytes(b"\xff\xfe" * 30),
    "a folder as summary": lambda folder: [(folder / "summary.csv").unlink(), (folder / "summary.csv").mkdir()],
    "a column less": lambda folder: changed(folder / "summary.csv", ("final_test_acc", "something")),
    "an init of another sweep": lambda folder: changed(folder / "summary.csv", ("he_normal,", "zero,")),
    "not learned, not failed": lambda folder: changed(folder / "summary.csv", ("False,False", ",")),
    "a cut row": lambda folder: os.truncate(folder / "summary.csv", 190),
    "half an epoch": lambda folder: with_cell(folder, "left_plateau", "1.5"),
    "an epoch that is none": lambda folder: with_cell(folder, "left_plateau", "--"),
    "a flag that is none": lambda folder: with_cell(folder, "crashed", "perhaps"),
    "a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "null": lambda folder: (folder / "manifest.json").write_text("null"),
    "no config": lambda folder: changed(folder / "manifest.json", ('"config"', '"confi"')),
    "part of a config": lambda folder: changed(folder / "manifest.json", ('"seeds"', '"sees"')),
    "no floor": lambda folder: changed(folder / "manifest.json", ("commonest_class_share", "something")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_sweep_is_named_in_a_sentence(tmp_path, damage):
    table = random_table(DEEP, 1, np.random.default_rng(0))
    table[:, 3:5] = 0.1
    write_tables(tmp_path, {DEEP: table})
    DAMAGES[damage](tmp_path)
    told = r"(summary\.csv|manifest\.json) (is no|has the|does not|cannot be read|is damaged)"
    with pytest.raises(ValueError, match=told) as error:
        records.load_sweep(tmp_path)
    assert "\n" not in str(error.value)


LOGS = {
    "empty": lambda path: path.write_text(""),
    "binary": lambda path: path.write_bytes(b"\xff\xfe\x00" * 50),
    "only its head": lambda path: path.write_text(path.read_text().splitlines()[0] + "\n"),
    "cut in its head": lambda path: os.truncate(path, 200),
    "a row too few": lambda path: changed(path, ("\n1,", "\n2,")),
}


@pytest.mark.parametrize("damage", LOGS)
def test_a_damaged_log_is_named_in_a_sentence(tmp_path, damage):
    results = write_tables(tmp_path, {DEEP: random_table(DEEP, 2, np.random.default_rng(0))})
    LOGS[damage](results.run_file(DEEP.name))
    with pytest.raises(ValueError, match=rf"{DEEP.name}\.csv (is damaged|cannot be read)") as error:
        results.history(DEEP.name)
    assert "\n" not in str(error.value)


def test_packed_runs_are_read_as_plain_ones(tmp_path):
    rng, runs = np.random.default_rng(0), [DEEP, Run("zero", "relu", 1, 0)]
    results = write_tables(tmp_path, {run: np.abs(random_table(run, 3, rng)) for run in runs})
    plain = [results.history(run.name) for run in runs]
    written = [checksums.of_run(tmp_path, run.name) for run in runs]
    packed.pack(tmp_path / "runs")
    results = records.load_sweep(tmp_path)
    assert records.find_sweeps(tmp_path.parent)[tmp_path.name] == {tmp_path.name: tmp_path}
    assert [checksums.of_run(tmp_path, run.name) for run in runs] == written
    for run, history in zip(runs, plain, strict=True):
        pd.testing.assert_frame_equal(results.history(run.name), history)
        assert len(results.layers(run.name, "grad_norm").columns) == run.layers
    records.write_run(tmp_path, DEEP, random_table(DEEP, 5, rng))
    assert len(records.load_sweep(tmp_path).history(DEEP.name)) == 6  # the file beside the archive is newer


def test_a_damaged_archive_is_named_in_a_sentence(tmp_path):
    results = write_tables(tmp_path, {DEEP: random_table(DEEP, 2, np.random.default_rng(0))})
    packed.pack(tmp_path / "runs")
    path = tmp_path / "runs.tar.xz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(files.DamagedError, match=rf"^{path} is damaged .*trained again$"):
        results.history(DEEP.name)


@pytest.mark.parametrize("damaged", [b"", b'{"config": {"lr"', b"\xff\xfe\x00\x81"])
def test_a_manifest_that_cannot_be_read_is_named(tmp_path, damaged):
    (tmp_path / "manifest.json").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"manifest\.json is not readable JSON"):
        manifests.read(tmp_path)


# ---- what is as it was written


def indexed_sweep(folder):
    """A folder with two runs and runs.json; returns {name: row}."""
    rng, runs = np.random.default_rng(1), [DEEP, Run("zero", "relu", 1, 0)]
    tables = {run: np.abs(random_table(run, 3, rng)) for run in runs}
    for table in tables.values():
        table[:, 3:5] = [[0.1], [0.2], [0.9], [0.95]]
    tables[runs[1]][-1, 1:5] = np.nan
    write_tables(folder, tables)
    checksums.write(folder, {run.name: (checksums.of_run(folder, run.name), 3) for run in runs})
    return {run.name: records.summarise(run, records.read_run(records.run_file(folder, run)), 0.1) for run in runs}


def test_rows_of_the_summary_come_back_as_they_were_made(tmp_path):
    made, text = indexed_sweep(tmp_path), (tmp_path / "summary.csv").read_text()
    rows = {row["run"]: row for row in records.read_rows(tmp_path)}
    assert list(rows) == list(made)
    for name, row in rows.items():
        assert list(row) == records.SUMMARY_COLUMNS
        for column, value in row.items():
            assert (value is pd.NA) == (made[name][column] is pd.NA), column
            if value is not pd.NA:
                np.testing.assert_equal(value, made[name][column], column)
    records.write_summary(tmp_path, list(rows.values()))
    assert (tmp_path / "summary.csv").read_text() == text


def test_checksums_are_those_of_the_files(tmp_path):
    made = indexed_sweep(tmp_path)
    known = checksums.read(tmp_path)
    assert set(known) == set(made)
    for name, (checksum, last) in known.items():
        content = (tmp_path / "runs" / f"{name}.csv").read_bytes()
        assert (checksum, last) == (hashlib.sha256(content).hexdigest()[:16], 3)


def test_a_summary_that_was_changed_is_not_trusted(tmp_path):
    made = indexed_sweep(tmp_path)
    changed(tmp_path / "summary.csv", ("0.95", "0.99"))
    assert not checksums.summary_is_known(tmp_path)
    assert set(checksums.read(tmp_path)) == set(made)  # the runs still are


@pytest.mark.parametrize("damaged", ["", "[]", '{"a": ', "{}", '{"a": 1}'])
def test_a_damaged_index_costs_time_only(tmp_path, damaged):
    indexed_sweep(tmp_path)
    (tmp_path / "runs.json").write_text(damaged)
    assert checksums.read(tmp_path) == {}
    assert not checksums.summary_is_known(tmp_path)
