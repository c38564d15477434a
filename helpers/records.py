"""Results on disk: written whole or not at all, and read back.

results/<sweep>/manifest.json   CONFIG, versions, device, machine, timings, see manifests.py
results/<sweep>/runs/*.csv      one run each, one row an epoch; if published in runs.tar.xz, see packed.py
results/<sweep>/summary.csv     one row a run
results/<sweep>/runs.json       checksums: which runs are as they were written, see checksums.py
results/<sweep>/figures/*.png
"""

import dataclasses
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import checksums, files, manifests, packed
from helpers.axes import AXES, EPOCH_COLUMNS, LAYER_STATS, SETTINGS, WITH_MOMENTUM, axis_values, columns
from helpers.checks import in_one_sentence, plain, shown


class RecordsError(ValueError):
    """Results that cannot be read, or a question that they do not answer; the text is one sentence."""

    _render_traceback_ = in_one_sentence


class NoSweepError(FileNotFoundError):
    """A folder that holds no sweep; the text is one sentence."""

    _render_traceback_ = in_one_sentence


SUMMARY_COLUMNS = [
    "run",
    "activation",
    "init",
    "layers",
    "seed",
    "final_train_loss",
    "final_test_loss",
    "final_train_acc",
    "final_test_acc",
    "best_test_acc",
    "best_epoch",
    "epochs_to_95",
    "left_plateau",
    "learned",
    "crashed",
    "diverged",
    "seconds",
]
OF_PLATEAU = ("left_plateau", "crashed")  # which earlier versions did not write; unknown where `crashed` is empty
EARLIER_COLUMNS = [name for name in SUMMARY_COLUMNS if name not in OF_PLATEAU]

# what may be empty: whole numbers where there is none, a flag where it is not known
TYPES = {**dict.fromkeys(("best_epoch", "epochs_to_95", "left_plateau"), "Int64"), "crashed": "boolean"}
TEXTS = ("run", "activation", "init", "optimizer")  # names, which may be null or nan


def write_run(folder, run, table):
    """Write one run's CSV from its (epochs + 1, columns) array."""
    files.write_whole(run_file(folder, run), run_text(run, table))


def run_text(run, table):
    """One run's CSV from its (epochs + 1, columns) array; an unknown value is an empty cell.

    Six significant digits for losses, accuracies and times, four for layer statistics.
    """
    formats = ["%d"] + ["%.6g"] * (len(EPOCH_COLUMNS) - 1) + ["%.4g"] * (table.shape[1] - len(EPOCH_COLUMNS))
    lines = [",".join(columns(run.layers))]
    lines += [",".join("" if np.isnan(v) else f % v for f, v in zip(formats, row, strict=True)) for row in table]
    return "\n".join(lines) + "\n"


def run_file(folder, run):
    """Where the CSV of a run lies, or would lie if it were not packed."""
    return Path(folder) / "runs" / f"{run.name}.csv"


def read_run(path):
    """One run's CSV, plain or packed, as a DataFrame. Raises ValueError, one sentence, when it is damaged."""
    try:
        text = packed.read(path).decode()
    except files.DamagedError:  # the archive: its sentence says it all
        raise
    except (ValueError, OSError) as error:  # no text, or no file
        raise RecordsError(f"{path} cannot be read as CSV ({' '.join(str(error).split())})") from error
    return parse_run(text, path)


def parse_run(text, path):
    """The text of one run's CSV as a DataFrame. Raises ValueError, one sentence that names the path."""
    head, _, body = text.partition("\n")
    names, lines = head.split(","), body.splitlines()
    depth = sum(name.startswith("act_mean_") for name in names)
    whole = names == columns(depth) and lines and all(line.count(",") == len(names) - 1 for line in lines)
    whole = whole and body.endswith("\n")
    table = _numbers(",".join(lines)) if whole else np.empty(0)
    if not whole or table.size != len(names) * len(lines):
        raise RecordsError(f"{path} is damaged: it is no whole log of a run, a row an epoch")
    table = table.reshape(-1, len(names))
    if not np.array_equal(table[:, 0], np.arange(len(lines))):
        raise RecordsError(f"{path} is damaged: its epochs are not 0, 1, 2, ...")
    if wrong := _impossible(table, names):
        raise RecordsError(f"{path} is damaged: {wrong}")
    history = pd.DataFrame(table[:, 1:], columns=names[1:])
    history.insert(0, "epoch", np.arange(len(lines)))
    return history


SIGNED = ("act_mean",)  # all else that is measured is 0 or more
ROUNDING = 1e-6  # by which a loss or an accuracy may lie outside


def _impossible(table, names):
    """What a run cannot have measured, in words; None for nothing. NaN is what is not known."""
    signed = np.array([name.startswith(SIGNED) for name in names])
    low = ~signed & (table < -ROUNDING)
    high = np.zeros_like(low)
    for name in ("train_acc", "test_acc"):
        high[:, names.index(name)] = table[:, names.index(name)] > 1 + ROUNDING
    if (found := np.argwhere(low | high)).size:
        epoch, column = found[0]
        return f"{names[column]} of epoch {epoch} is {table[epoch, column]:g}"
    good = np.isfinite(table[:, 1:3]).all(axis=1)  # the losses; a run that has diverged is not measured any more
    first = len(good) if good.all() else int(np.argmin(good))
    if (unknown := ~np.isfinite(table[:first, 3:5]).all(axis=1)).any():
        return f"an accuracy of epoch {np.argmax(unknown)} is missing"
    if np.isfinite(np.delete(table[first + 1 :, 1:], names.index("epoch_time") - 1, axis=1)).any():
        return f"it goes on after epoch {first}, in which it has diverged"
    return None


def _numbers(text):
    """The numbers of a text with commas between them, NaN for an empty cell; fewer where one is no number.

    Several times as fast as pandas, which asks of each of 250 columns what it holds.
    """
    filled = f",{text},".replace(",,", ",nan,").replace(",,", ",nan,").strip(",")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what is no number; the count shows it
        try:
            return np.fromstring(filled, sep=",")
        except ValueError:  # which other versions of NumPy raise for it
            return np.empty(0)


def _read_csv(path, texts=TEXTS):
    """A summary.csv. An empty cell is unknown, but in a column of texts each cell is the text that stands there."""
    try:
        names = list(pd.read_csv(path, nrows=0))
        empty = {name: ["", "nan", "NaN", "NA"] for name in names if name not in texts}
        types = dict.fromkeys(texts, str) | TYPES
        return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=empty)
    except (ValueError, TypeError, OSError) as error:  # no text, no rows, rows of unequal length; 1.5 for a count
        raise RecordsError(f"{path} cannot be read as CSV ({' '.join(str(error).split())})") from error


def halfway(floor):
    """The train accuracy from which on a run has learned: halfway between always guessing the commonest class and 1.

    floor  the train accuracy of that guess. The result is rounded as accuracies on disk are.
    """
    return float(f"{(1 + floor) / 2:.6g}")


def left_plateau(history, mark):
    """The first epoch of training whose train accuracy is at least `mark`, from `halfway`; pd.NA where none is.

    Epochs of training count from 1. Epoch 0 is what was measured before the first step: a network that is there by its
    random weights has not left by training, and one that stays there has left after the first epoch.
    """
    trained = history.iloc[1:]
    reached = trained.epoch[trained.train_acc >= mark]
    return int(reached.iloc[0]) if len(reached) else pd.NA


def has_left(summary):
    """Whether each run of a summary has left the plateau: a nullable boolean Series, empty where it is not known.

    A run that has learned has left it, also where its log was not kept; of one that has not, and has no log, it is not
    known.
    """
    known = summary.crashed.notna() | summary.learned
    return (summary.left_plateau.notna() | summary.learned).astype("boolean").where(known)


def summarise(run, history, floor):
    """One run's row of summary.csv, from its history as it is on disk.

    floor  the train accuracy of always guessing the commonest class; a run has learned when its final train accuracy
           lies at least halfway between that and 1, has left the plateau with the first epoch whose train accuracy
           does, and has crashed when it had left the plateau and has not learned: it fell back below that mark, or
           diverged
    """
    last, trained = history.iloc[-1], history.iloc[1:]
    threshold = halfway(floor)
    diverged = not np.isfinite(last[["train_loss", "test_loss"]].astype(float)).all()
    learned = bool(last.train_acc >= threshold) and not diverged
    left = left_plateau(history, threshold)
    reached = trained.epoch[trained.train_acc >= 0.95 * trained.train_acc.max()]
    best = history.test_acc.idxmax() if history.test_acc.notna().any() else None
    values = {
        "run": run.name,
        "activation": run.activation,
        "init": run.init,
        "layers": run.layers,
        "seed": run.seed,
        "final_train_loss": last.train_loss,
        "final_test_loss": last.test_loss,
        "final_train_acc": last.train_acc,
        "final_test_acc": last.test_acc,
        "best_test_acc": np.nan if best is None else history.test_acc[best],
        "best_epoch": pd.NA if best is None else int(history.epoch[best]),
        "epochs_to_95": int(reached.iloc[0]) if learned else pd.NA,
        "left_plateau": left,
        "learned": learned,
        "crashed": left is not pd.NA and not learned,
        "diverged": diverged,
        "seconds": float(f"{trained.epoch_time.sum():.6g}"),
    }
    row = {name: values[name] for name in SUMMARY_COLUMNS}
    return {**row, **{setting: str(value) for setting, value in run.varied}}  # in full: it is looked up again


def read_rows(folder):
    """The rows of a summary.csv, a list of dicts as `summarise` made them; empty where it cannot be read.

    Those of an earlier version are as it wrote them, without the columns of OF_PLATEAU.
    """
    path = Path(folder) / "summary.csv"
    if not path.is_file():
        return []
    try:
        table = _read_csv(path, (*TEXTS, *SETTINGS))
    except ValueError:  # damaged: the runs themselves are read then
        return []
    columns = SUMMARY_COLUMNS if set(OF_PLATEAU) & set(table) else EARLIER_COLUMNS
    if list(table)[: len(columns)] != columns:
        return []
    unknown = {name: pd.NA for name in TYPES if name in columns}  # which to_dict makes None
    return [{**row, **{k: v for k, v in unknown.items() if row[k] is None}} for row in table.to_dict("records")]


def write_summary(folder, rows, known=None, runs=None):
    """Write summary.csv, and runs.json where `known` is given.

    rows   that `summarise` made; at their end those of SETTINGS that are axes
    known  as in `checksums.write`
    runs   {file: text} of CSVs to be written as well, once runs.json knows them: whatever a kill leaves of them, a
           later start can tell it from what somebody else has put there
    """
    table = pd.DataFrame(rows, columns=[*rows[0]] if rows else SUMMARY_COLUMNS)
    text, path = table.to_csv(index=False, float_format="%.6g"), Path(folder) / "summary.csv"
    if known is not None:
        before = packed.checksum(path) if path.is_file() else None
        checksums.write(folder, known, (files.checksum(text), before))
    for file, content in (runs or {}).items():
        files.write_whole(file, content)
    files.write_whole(path, text)


@dataclass(frozen=True)
class SweepResults:
    """A sweep read back from its folder.

    summary   DataFrame, one row a run; its column `lr` is there whether the file has it or not, the others of SETTINGS
              where they are axes. Where an earlier version has written it, `left_plateau` and `crashed` come from the
              runs' logs; of a run whose log was not kept both are empty, and `has_left` says what is known all the same
    manifest  dict
    """

    folder: Path
    summary: pd.DataFrame
    manifest: dict

    @property
    def config(self):
        return self.manifest["config"]

    @property
    def lrs(self):
        """The learning rates, a list also where there is one."""
        return axis_values(self.config, "lr")

    @property
    def several(self):
        """{setting: its values} of those of SETTINGS that have several."""
        return {setting: axis_values(self.config, setting) for setting in SETTINGS if self._has_several(setting)}

    def _has_several(self, setting):
        return len(axis_values(self.config, setting)) > 1

    def run_file(self, run):
        """Where the CSV of a run lies, or would lie if it were kept, and not packed; `run` is its name."""
        return self.folder / "runs" / f"{run}.csv"

    def history(self, run):
        """One run's CSV as a DataFrame, one row an epoch. Raises RecordsError: no such run, or its file is damaged."""
        try:
            return _history(self.run_file(run)).copy()
        except RecordsError as error:
            runs = [*self.summary.run]
            if error.__cause__ is None or run in runs or not runs:  # it was read, or should be there
                raise
            raise RecordsError(
                f"the sweep in {self.folder} has no run {shown(run)}; its runs are named like {runs[0]!r}"
            ) from error

    def layers(self, run, stat):
        """One layer statistic of a run: DataFrame (epochs x layers), indexed by epoch, columns 0 to L - 1."""
        history = self.history(run).set_index("epoch")
        depth = sum(name.startswith(f"{stat}_") and name[len(stat) + 1 :].isdigit() for name in history)
        if depth == 0:
            raise RecordsError(f"{run} has no layer statistic {stat!r}; allowed is {', '.join(LAYER_STATS)}")
        table = history[[f"{stat}_{i}" for i in range(depth)]]
        return table.set_axis(range(depth), axis=1)

    def at(self, lr=None, **settings):
        """The part of a sweep that was trained with one learning rate, or one value of others of SETTINGS.

        results.at(0.1), results.at(lr=0.1, hidden_size=64). Raises ValueError for a value that the sweep lacks.
        """
        settings |= {} if lr is None else {"lr": lr}
        settings = {setting: plain(setting, value) for setting, value in settings.items()}
        summary = self.summary
        for setting, value in settings.items():
            if setting not in SETTINGS:
                raise RecordsError(f"{setting!r} is no setting of a run; allowed is {', '.join(SETTINGS)}")
            if value not in axis_values(self.config, setting):
                there = ", ".join(map(str, axis_values(self.config, setting)))
                raise RecordsError(f"{setting} is {shown(value)}; this sweep has {there}")
            summary = summary[summary[setting] == value] if setting in summary else summary
        config = {**self.config, **settings}
        if settings.get("optimizer", WITH_MOMENTUM[0]) not in WITH_MOMENTUM:
            config.pop("momentum", None)
        return dataclasses.replace(self, summary=summary, manifest={**self.manifest, "config": config})

    def first(self):
        """The part of a sweep with the first value of each setting that has several: what figures can show."""
        return self.at(**{setting: values[0] for setting, values in self.several.items()})

    def check_one_of_each(self, but=()):
        """Raise ValueError, one sentence, where a setting has several values; `but` those that may."""
        for setting, values in self.several.items():
            if setting not in but:
                raise RecordsError(
                    f"this sweep has the {SETTINGS[setting]} {values}; choose one: results.at({setting}={values[0]!r})"
                )

    def select(self, **axes):
        """The rows of the summary with these values: select(activation="relu", layers=[5, 10]).

        A list, or whatever else gives values one by one, stands for all of them. Raises ValueError for a column that
        the summary lacks.
        """
        rows = self.summary
        for axis, value in axes.items():
            if axis not in rows:
                raise RecordsError(f"the sweep in {self.folder} has no {axis!r}; allowed is {', '.join(rows)}")
            value = plain(axis, value)
            values = [*value] if isinstance(value, Iterable) and not isinstance(value, str) else [value]
            rows = rows[rows[axis].isin(values)]
        return rows


@lru_cache(1000)  # some 100 MB of networks of 50 layers
def _history(path):
    """A run as it was written. Raises ValueError when it is damaged."""
    folder = path.parents[1]
    try:
        found = checksums.of_run(folder, path.stem)
    except (OSError, files.DamagedError):
        return read_run(path)  # which says what is wrong
    if _known(folder).get(path.stem, (found,))[0] != found:
        _known.cache_clear()  # the sweep may have gone on since
        if _known(folder).get(path.stem, (found,))[0] != found:
            raise RecordsError(
                f"{path} is damaged: its checksum is not the one in runs.json; start the sweep again, which trains "
                "this run again"
            )
    return read_run(path)


_known = lru_cache(100)(checksums.read)


def find_sweeps(root="results"):
    """What has been found so far: {study: {sweep: its folder}}, in alphabetical order, `local` last.

    A study is a folder under `root`, a sweep any folder in it that holds a summary and a manifest with a CONFIG (or a
    damaged one: `load_sweep` then says so). Where the study's own folder is the sweep, both have one name, or it is
    "digits/." where a sweep in it is named so, too. Left out are folders whose name begins with a dot: `--retrain` has
    set them aside.
    """
    found = {}
    for manifest in Path(root).glob("**/manifest.json"):
        folder = manifest.parent
        if any(part[0] == "." for part in folder.relative_to(root).parts):
            continue
        if folder != Path(root) and (folder / "summary.csv").exists() and _may_have_config(folder):
            study, *rest = folder.relative_to(root).parts
            own = f"{study}/." if (folder / study / manifest.name).exists() else study
            found.setdefault(study, {})["/".join(rest) or own] = folder
    return {
        study: dict(sorted(found[study].items())) for study in sorted(found, key=lambda name: (name == "local", name))
    }


def _may_have_config(folder):
    try:
        manifest = manifests.read(folder)
    except ValueError:
        return True
    return not isinstance(manifest, dict) or "config" in manifest


def load_sweep(folder):
    """Read a sweep back.

    Raises FileNotFoundError when the folder holds none, ValueError when its files are damaged; one sentence each.
    """
    folder = Path(folder)
    for name in ("manifest.json", "summary.csv"):
        if not (folder / name).exists():
            raise NoSweepError(f"{folder} holds no sweep: there is no {name} in it")
    manifest = manifests.read(folder)
    config = manifest.get("config") if isinstance(manifest, dict) else None
    keys = [key for axis, key in AXES.items() if axis not in SETTINGS or axis == "lr"]
    missing = [key for key in keys if key not in config] if isinstance(config, dict) else ["config"]
    if missing or "commonest_class_share" not in manifest:
        lacks = ", ".join(missing or ["commonest_class_share"])
        raise RecordsError(f"{folder / 'manifest.json'} is no manifest of a sweep: it lacks {lacks}")
    if wrong := manifests.wrong_kinds(manifest):
        raise RecordsError(f"{folder / 'manifest.json'} is no manifest of a sweep: {wrong}; {manifests.READER_ADVICE}")
    if damage := checksums.damage_of_summary(folder):
        raise RecordsError(f"{damage}; start the sweep again, which writes it anew from the runs")
    _history.cache_clear()
    _known.cache_clear()
    return _with_plateau(SweepResults(folder, _read_summary(folder / "summary.csv", config), manifest))


def _with_plateau(results):
    """The same results, with what an earlier version did not write of the plateau, as far as the logs were kept."""
    summary = results.summary
    rows = summary[summary.crashed.isna()]
    found = {row.Index: left for row in rows.itertuples() if (left := _left_by_log(results, row)) is not None}
    if not found:
        return results
    summary = summary.copy()
    summary.loc[[*found], "left_plateau"] = pd.array([*found.values()], "Int64")
    known = summary.loc[[*found]]
    summary.loc[[*found], "crashed"] = known.left_plateau.notna() & ~known.learned
    return dataclasses.replace(results, summary=summary)


def _left_by_log(results, row):
    """`left_plateau` of a row of the summary, from the run's log; None where that was not kept, or has other epochs."""
    try:
        history = results.history(row.run)
    except (ValueError, OSError):
        return None
    if not _is_last(row, history):
        return None
    # `halfway` for a share that the manifest rounds by up to 5e-7, and accuracies that are rounded by as much: one that
    # is at the mark lies up to 7.5e-7 below it here, and of up to 300,000 samples none that is not lies as close.
    return left_plateau(history, (1 + results.manifest["commonest_class_share"]) / 2 - 8e-7)


def _is_last(row, history):
    """Whether a row of the summary is of this history: of a run that went on a kill may leave the row behind."""
    last = history.iloc[-1]
    pairs = [(getattr(row, f"final_{name}"), last[name]) for name in EPOCH_COLUMNS[1:5]]
    return all(there == here or (np.isnan(there) and np.isnan(here)) for there, here in pairs)


def is_finished(folder):
    """Whether a folder holds a sweep that can be read and is finished."""
    try:
        return bool(load_sweep(folder).manifest.get("finished"))
    except (FileNotFoundError, ValueError):
        return False


def without_log(folder):
    """How many runs of a sweep's summary have no log in its folder, so that a sweep would train them again."""
    try:
        results = load_sweep(folder)
    except (FileNotFoundError, ValueError):  # no sweep, or none that can be read
        return 0
    return sum(not packed.exists(results.run_file(run)) for run in results.summary.run)


def _read_summary(path, config):
    """summary.csv of a sweep with this CONFIG. Raises ValueError when it is damaged."""
    summary = _read_csv(path)
    if not set(OF_PLATEAU) & set(summary) and set(EARLIER_COLUMNS) <= set(summary):
        unknown = {name: pd.array([pd.NA] * len(summary), kind) for name, kind in TYPES.items() if name in OF_PLATEAU}
        others = [name for name in summary if name not in EARLIER_COLUMNS]
        summary = summary.assign(**unknown)[[*SUMMARY_COLUMNS, *others]]
    if "run" in summary and (twice := summary.run[summary.run.duplicated()]).size:
        raise ValueError(
            f"{path} has two runs of one name, {twice.iloc[0]}, as earlier versions made them; start the sweep again, "
            "which gives them names of their own and trains them again"
        )
    missing = [name for name in SUMMARY_COLUMNS if name not in summary]
    if missing:
        raise RecordsError(f"{path} is no summary of a sweep: it lacks {', '.join(missing)}")
    for column in AXES:
        allowed = axis_values(config, column)
        if column not in summary and len(allowed) > 1 and len(summary):
            raise RecordsError(f"{path} is no summary of its sweep: it lacks {column}")
        if column == "lr" and column not in summary:
            summary = summary.assign(lr=allowed[0])
        if column not in summary:
            continue
        strange = summary[column][~summary[column].isin(allowed)]
        if len(strange):
            raise RecordsError(f"{path} has the {column} {strange.iloc[0]}, which is not in the CONFIG of its manifest")
    for name in ("learned", "diverged"):
        if not summary[name].isin([True, False]).all():
            raise RecordsError(f"{path} does not say of every run whether it has {name}")
    summary = summary.astype({"learned": bool, "diverged": bool})
    left = summary.left_plateau.notna()
    as_it_must_be = summary.crashed.eq(left & ~summary.learned) & (left | ~summary.learned)
    possible = as_it_must_be.where(summary.crashed.notna(), ~left).astype(bool)  # both are empty where it is not known
    if not possible.all():
        raise RecordsError(
            f"{path} says of {summary.run[~possible].iloc[0]} what cannot be: that has crashed which had left the "
            "plateau and has not learned, and what has learned had left it"
        )
    return summary
