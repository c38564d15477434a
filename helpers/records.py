"""Results on disk: written whole or not at all, and read back.

results/<sweep>/manifest.json   CONFIG, versions, device, machine, timings
results/<sweep>/runs/*.csv      one run each, one row an epoch; of what is published packed in runs.zip, see packed.py
results/<sweep>/summary.csv     one row a run
results/<sweep>/runs.json       checksums: which runs are as they were written
results/<sweep>/figures/*.png
"""

import dataclasses
import json
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import files, packed

# what is measured of hidden layer i; the columns of a run's CSV are f"{stat}_{i}"
LAYER_STATS = ("act_mean", "act_std", "pre_std", "grad_norm", "grad_mean_abs")
EPOCH_COLUMNS = ["epoch", "train_loss", "test_loss", "train_acc", "test_acc", "epoch_time"]
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
    "learned",
    "diverged",
    "seconds",
]

SUMMARY_TYPES = {"best_epoch": "Int64", "epochs_to_95": "Int64"}

# The axes of a sweep: field of a Run and column of summary.csv, key of CONFIG. The map stands here only.
AXES = {"activation": "activations", "init": "init_types", "layers": "layers_list", "seed": "seeds", "lr": "lr"}


def axis_values(config, axis):
    """The values of an axis in a CONFIG as a manifest holds it, a list also where it has one number, as `lr` may."""
    values = config[AXES[axis]]
    return values if isinstance(values, list) else [values]


def columns(layers):
    """The columns of a run with this many hidden layers."""
    return EPOCH_COLUMNS + [f"{stat}_{i}" for i in range(layers) for stat in LAYER_STATS]


def write_run(folder, run, table):
    """Write one run's CSV from its (epochs + 1, columns) array; an unknown value is an empty cell.

    Six significant digits for losses, accuracies and times, four for layer statistics.
    """
    formats = ["%d"] + ["%.6g"] * (len(EPOCH_COLUMNS) - 1) + ["%.4g"] * (table.shape[1] - len(EPOCH_COLUMNS))
    lines = [",".join(columns(run.layers))]
    lines += [",".join("" if np.isnan(v) else f % v for f, v in zip(formats, row, strict=True)) for row in table]
    files.write_whole(run_file(folder, run), "\n".join(lines) + "\n")


def run_file(folder, run):
    """Where the CSV of a run lies, or would lie if it were not packed."""
    return Path(folder) / "runs" / f"{run.name}.csv"


def read_run(path):
    """One run's CSV, plain or packed, as a DataFrame. Raises ValueError, one sentence, when it is damaged."""
    try:
        text = packed.read(path).decode()
    except files.DamagedError:  # the zip: its sentence says it all
        raise
    except (ValueError, OSError) as error:  # no text, or no file
        raise ValueError(f"{path} cannot be read as CSV ({' '.join(str(error).split())})") from error
    head, _, body = text.partition("\n")
    names, lines = head.split(","), body.splitlines()
    depth = sum(name.startswith("act_mean_") for name in names)
    whole = names == columns(depth) and lines and all(line.count(",") == len(names) - 1 for line in lines)
    table = _numbers(",".join(lines)) if whole else np.empty(0)
    if not whole or table.size != len(names) * len(lines):
        raise ValueError(f"{path} is damaged: it is no whole log of a run, a row an epoch")
    table = table.reshape(-1, len(names))
    if not np.array_equal(table[:, 0], np.arange(len(lines))):
        raise ValueError(f"{path} is damaged: its epochs are not 0, 1, 2, ...")
    history = pd.DataFrame(table[:, 1:], columns=names[1:])
    history.insert(0, "epoch", np.arange(len(lines)))
    return history


def _numbers(text):
    """The numbers of a text with commas between them, NaN for an empty cell; fewer where one is no number.

    Several times as fast as pandas, which asks of each of 250 columns what it holds.
    """
    filled = f",{text},".replace(",,", ",nan,").replace(",,", ",nan,").strip(",")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what is no number; the count shows it
        return np.fromstring(filled, sep=",")


def _read_csv(path, **options):
    try:
        return pd.read_csv(path, **options)
    except (ValueError, OSError) as error:  # no text, no rows, rows of unequal length
        raise ValueError(f"{path} cannot be read as CSV ({' '.join(str(error).split())})") from error


def halfway(floor):
    """The train accuracy from which on a run has learned: halfway between always guessing the commonest class and 1.

    floor  the train accuracy of that guess. The result is rounded as accuracies on disk are.
    """
    return float(f"{(1 + floor) / 2:.6g}")


def summarise(run, history, floor):
    """One run's row of summary.csv, from its history as it is on disk.

    floor  the train accuracy of always guessing the commonest class; a run has learned when its final train accuracy
           lies at least halfway between that and 1
    """
    last, trained = history.iloc[-1], history.iloc[1:]
    threshold = halfway(floor)
    diverged = not np.isfinite(last[["train_loss", "test_loss"]].astype(float)).all()
    learned = bool(last.train_acc >= threshold) and not diverged
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
        "learned": learned,
        "diverged": diverged,
        "seconds": float(f"{trained.epoch_time.sum():.6g}"),
    }
    row = {name: values[name] for name in SUMMARY_COLUMNS}
    return {**row, "lr": repr(run.lr)} if run.lr_mark else row  # in full: it is looked up again


def read_rows(folder):
    """{name of a run: its row} of a summary.csv, as `summarise` made them.

    Empty where it cannot be read, or is not the one that was written with runs.json.
    """
    path = Path(folder) / "summary.csv"
    written, _ = _read_index(folder).get(path.name, (None, None))
    if not path.is_file() or _checksum(path) != written:
        return {}
    try:
        table = _read_csv(path, dtype=SUMMARY_TYPES | {"lr": str})
    except ValueError:  # damaged: the runs themselves are read then
        return {}
    if list(table)[: len(SUMMARY_COLUMNS)] != SUMMARY_COLUMNS:
        return {}
    unknown = dict.fromkeys(SUMMARY_TYPES, pd.NA)  # which to_dict makes None
    rows = ({**row, **{k: v for k, v in unknown.items() if row[k] is None}} for row in table.to_dict("records"))
    return {row["run"]: row for row in rows}


def write_summary(folder, rows):
    """Write summary.csv from the rows that `summarise` made; a column `lr` ends them where it is an axis."""
    table = pd.DataFrame(rows, columns=[*rows[0]] if rows else SUMMARY_COLUMNS)
    files.write_whole(Path(folder) / "summary.csv", table.to_csv(index=False, float_format="%.6g"))


# ---- which runs are as they were written, without reading their tables


def write_checksums(folder, known):
    """Write runs.json, by which a later start knows which runs, and whether the summary, are as they were written.

    known  {name of a run: (checksum of its CSV, number of its last epoch)}
    """
    summary = Path(folder) / "summary.csv"
    known = {**known, summary.name: (_checksum(summary), 0)}
    lines = [f"{json.dumps(run)}: {json.dumps(list(known[run]))}" for run in sorted(known)]  # a line a run
    files.write_whole(Path(folder) / "runs.json", "{\n" + ",\n".join(lines) + "\n}\n")


def run_checksum(folder, run):
    """The checksum of the CSV of a run of this name: 16 digits of its sha256. Raises OSError where there is none."""
    return _checksum(Path(folder) / "runs" / f"{run}.csv")


def _checksum(path):
    return packed.checksum(path)


def read_checksums(folder):
    """{name of a run: (checksum, number of its last epoch)} from runs.json; empty where it cannot be read."""
    known = _read_index(folder)
    known.pop("summary.csv", None)
    return known


def _read_index(folder):
    try:
        known = files.read_json(Path(folder) / "runs.json")
        return {run: (checksum, int(last)) for run, (checksum, last) in (known or {}).items()}
    except (ValueError, TypeError, AttributeError):  # damaged, or something else: the runs themselves are read then
        return {}


def write_manifest(folder, manifest):
    files.write_json(Path(folder) / "manifest.json", manifest)


def read_manifest(folder):
    """The manifest of a sweep's folder, or None where there is none. Raises ValueError when it cannot be read."""
    return files.read_json(Path(folder) / "manifest.json")


@dataclass(frozen=True)
class SweepResults:
    """A sweep read back from its folder.

    summary   DataFrame, one row a run; its column `lr` is there whether the file has it or not
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

    def run_file(self, run):
        """Where the CSV of a run lies, or would lie if it were kept, and not packed; `run` is its name."""
        return self.folder / "runs" / f"{run}.csv"

    def history(self, run):
        """One run's CSV as a DataFrame, one row an epoch. Raises ValueError when the file is damaged."""
        return _history(self.run_file(run)).copy()

    def layers(self, run, stat):
        """One layer statistic of a run: DataFrame (epochs x layers), indexed by epoch, columns 0 to L - 1."""
        history = self.history(run).set_index("epoch")
        depth = sum(name.startswith(f"{stat}_") and name[len(stat) + 1 :].isdigit() for name in history)
        if depth == 0:
            raise KeyError(f"{run} has no layer statistic {stat!r}; allowed is {', '.join(LAYER_STATS)}")
        table = history[[f"{stat}_{i}" for i in range(depth)]]
        return table.set_axis(range(depth), axis=1)

    def at(self, lr):
        """The part of a sweep over several learning rates that was trained with one of them."""
        if lr not in self.lrs:
            raise ValueError(f"lr is {lr!r}; this sweep has {', '.join(map(str, self.lrs))}")
        return dataclasses.replace(
            self,
            summary=self.summary[self.summary.lr == lr],
            manifest={**self.manifest, "config": {**self.config, "lr": lr}},
        )

    def select(self, **axes):
        """The rows of the summary with these values: select(activation="relu", layers=5)."""
        rows = self.summary
        for axis, value in axes.items():
            rows = rows[rows[axis].isin(value) if isinstance(value, list | tuple) else rows[axis] == value]
        return rows


@cache
def _history(path):
    return read_run(path)


def find_sweeps(root="results"):
    """What has been found so far: {study: {sweep: its folder}}, in alphabetical order, `local` last.

    A study is a folder under `root`, a sweep any folder in it that holds a summary and a manifest with a CONFIG (or a
    damaged one: `load_sweep` then says so). Where the study's own folder is the sweep, both have one name. Left out are
    folders whose name begins with a dot: `--retrain` has set them aside.
    """
    found = {}
    for manifest in Path(root).glob("**/manifest.json"):
        folder = manifest.parent
        if any(part[0] == "." for part in folder.relative_to(root).parts):
            continue
        if folder != Path(root) and (folder / "summary.csv").exists() and _may_have_config(folder):
            study, *rest = folder.relative_to(root).parts
            found.setdefault(study, {})["/".join(rest) or study] = folder
    return {
        study: dict(sorted(found[study].items())) for study in sorted(found, key=lambda name: (name == "local", name))
    }


def _may_have_config(folder):
    try:
        manifest = read_manifest(folder)
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
            raise FileNotFoundError(f"{folder} holds no sweep: there is no {name} in it")
    manifest = read_manifest(folder)
    config = manifest.get("config") if isinstance(manifest, dict) else None
    missing = [key for key in AXES.values() if key not in config] if isinstance(config, dict) else ["config"]
    if missing or "commonest_class_share" not in manifest:
        lacks = ", ".join(missing or ["commonest_class_share"])
        raise ValueError(f"{folder / 'manifest.json'} is no manifest of a sweep: it lacks {lacks}")
    _history.cache_clear()
    return SweepResults(folder, _read_summary(folder / "summary.csv", config), manifest)


def is_finished(folder):
    """Whether a folder holds a sweep that can be read and is finished."""
    try:
        return bool(load_sweep(folder).manifest.get("finished"))
    except (FileNotFoundError, ValueError):
        return False


def _read_summary(path, config):
    """summary.csv of a sweep with this CONFIG. Raises ValueError when it is damaged."""
    summary = _read_csv(path, dtype=SUMMARY_TYPES)
    missing = [name for name in SUMMARY_COLUMNS if name not in summary]
    if missing:
        raise ValueError(f"{path} is no summary of a sweep: it lacks {', '.join(missing)}")
    if "lr" not in summary:
        summary = summary.assign(lr=np.nan if isinstance(config["lr"], list) else config["lr"])
    for column in AXES:
        allowed = axis_values(config, column)
        strange = summary[column][~summary[column].isin(allowed)]
        if len(strange):
            raise ValueError(f"{path} has the {column} {strange.iloc[0]}, which is not in the CONFIG of its manifest")
    for name in ("learned", "diverged"):
        if not summary[name].isin([True, False]).all():
            raise ValueError(f"{path} does not say of every run whether it has {name}")
    return summary.astype({"learned": bool, "diverged": bool})
