"""Gradient logs: what an experiment of the spline study writes down while it trains, and reading it back.

<save_dir>/<experiment>_s<seed>/metrics.csv      a row an epoch and parameter, written as it goes
                               signals.csv      a row an epoch and hidden layer
                               training.log     a line an epoch
                               experiment.json  what it is, where it came from, and at the end checksums of the CSVs

Of what is published the CSVs are packed in <experiment>_s<seed>.tar.xz, see packed.py.
"""

import dataclasses
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers import files, packed
from helpers.activations import FAMILIES
from helpers.config import ConfigError
from helpers.initializers import INITIALIZERS
from helpers.records import RecordsError
from helpers.training import sum_type

METRICS = ["epoch", "parameter", "mean_abs_gradient", "norm_gradient"]
METRICS += ["loss_train", "loss_val", "acc_train", "acc_val", "train_time"]
SIGNALS = ["epoch", "layer", "pre_std", "share_beyond", "worst_loss", "worst_norm"]
TABLES = {"metrics.csv": METRICS, "signals.csv": SIGNALS}
NOT_KEPT = "not kept"  # what experiment.json says of the rows, where it is published without them
BEYOND = 2.0  # the published spline's limit: the share of |z| beyond it is logged, whatever the activation


# ---- what is measured


class GradientObserver:
    """An observer of `training.Training`: every parameter's gradient in every step, and the signals of each layer.

    Sums over the batches of an epoch are kept on the device; gradients are read before they are clipped.
    """

    needed = True

    def begin_epoch(self, training):
        self.parameters = dict(training.net.named_parameters())
        self.sums, self.batches, self.losses, self.norms = 0, 0, [], []

    def after_backward(self, training, loss, outputs, targets):
        gradients = [parameter.grad for parameter in self.parameters.values()]
        # In double precision: the squares of a gradient that fades over 16 layers underflow in float32.
        wide = sum_type(loss)
        both = [[torch.linalg.vector_norm(g, order, dtype=wide) for g in gradients] for order in (1, 2)]
        both = torch.stack([torch.stack(norms) for norms in both])  # (2, parameters): sums of |g|, and norms
        self.sums, self.batches = self.sums + both, self.batches + 1
        self.losses.append(loss)
        self.norms.append(both[1].norm())

    def end_epoch(self, training):
        """{"gradients": a dict a parameter, "signals": a dict a hidden layer}, averages over the batches."""
        total, norms = (self.sums / self.batches).cpu().tolist()
        gradients = [
            {"parameter": name, "mean_abs_gradient": t / parameter.numel(), "norm_gradient": norm}
            for (name, parameter), t, norm in zip(self.parameters.items(), total, norms, strict=True)
        ]
        worst = {
            "worst_loss": torch.stack(self.losses).max().item(),
            "worst_norm": torch.stack(self.norms).max().item(),
        }
        layers = signals(training.net, training.data.x_train[training.data.probe])
        return {"gradients": gradients, "signals": [{**layer, **worst} for layer in layers]}


@torch.no_grad()
def signals(net, x):
    """Deviation of pre-activations of each hidden layer, and the share beyond +-BEYOND, on a batch."""
    rows = []
    for l, (layer, phi) in enumerate(zip(net.hidden, net.activations, strict=True)):
        z = layer(x)
        wide = sum_type(z)
        share = torch.where(z.isnan(), z, (z.abs() > BEYOND).to(z)).to(wide).mean().item()  # NaN in, NaN out
        rows.append({"layer": l, "pre_std": z.to(wide).std(correction=0).item(), "share_beyond": share})
        x = phi(z)
    return rows


# ---- writing


def begin(experiment, about, device, done):
    """Say what an experiment is in its folder, and cut its log back to the epoch `done` that its state has reached.

    A log that is packed becomes files again, to which epochs can be added. Returns what experiment.json holds.

    about  what belongs to it beside its settings: classes, fingerprints; `training`, which tells one training of an
           experiment from another, where it goes on
    """
    packed.unpack(experiment.folder)
    keep_epochs(experiment.folder, done)
    origin = {"name": experiment.name, "seed": experiment.run.seed, "experiment": experiment.to_dict()}
    origin |= {**about, **files.provenance(device), "started": files.now(), "finished": None}
    files.write_json(experiment.folder / "experiment.json", origin)
    return origin


def new_training():
    """What tells one training of an experiment from another: a state goes on in the log of its own training alone."""
    return secrets.token_hex(8)


def set_aside(folder):
    """Rename a log, packed or not, to .<folder>.<time>, where nobody looks for it. Returns its new folder."""
    folder = Path(folder)
    aside = plain = folder.with_name(f".{folder.name}.{datetime.now():%Y-%m-%d_%H%M%S}")
    count = 1
    while aside.exists() or packed.is_packed(aside):
        count += 1
        aside = plain.with_name(f"{plain.name}_{count}")
    for old, new in ((folder, aside), *zip(*map(packed.packs_of, (folder, aside)), strict=True)):
        if old.exists():
            old.rename(new)
    return aside


def append(folder, event):
    """Add the epochs that an event of `training.Training` brings to the log.

    Epochs that are there already, from a training that lost its state, are written anew.
    """
    history = event.figures["history"]
    if history and history[0]["epoch"] <= last_epoch(folder):
        keep_epochs(folder, history[0]["epoch"] - 1)
    for figures in history:
        _append_epoch(folder, figures, event.steps)


def _append_epoch(folder, figures, last):
    for name, rows in zip(TABLES, _rows_of(figures), strict=True):
        _append(folder / name, TABLES[name], rows)
    with (folder / "training.log").open("a", encoding="utf-8") as log:
        log.write(f"{files.now()} {sentence(figures, last)}\n")


def _rows_of(figures):
    """The rows of metrics.csv and of signals.csv of one epoch."""
    epoch = {"epoch": figures["epoch"]}
    row = {"loss_train": figures["train_loss"], "loss_val": figures["test_loss"], "acc_train": figures["train_acc"]}
    row |= {"acc_val": figures["test_acc"], "train_time": figures["seconds"]}
    metrics = [{**epoch, **row, **gradient} for gradient in figures["gradients"]]
    return metrics, [{**epoch, **signal} for signal in figures["signals"]]


def finish(folder, origin, results):
    """Write the CSVs once more, whole, and note in experiment.json that the log is complete, with their checksums.

    origin   what `begin` returned
    results  of the training, {"history", "diverged"}: what somebody has removed meanwhile is written again
    """
    rows = [_rows_of(figures) for figures in results["history"]]
    for name, at in (("metrics.csv", 0), ("signals.csv", 1)):
        lines = _lines(TABLES[name], [row for epoch in rows for row in epoch[at]])
        files.write_whole(folder / name, "".join(f"{line}\n" for line in [",".join(TABLES[name]), *lines]))
    end = {"finished": files.now(), "diverged": bool(results["diverged"])}
    checksums = {name: packed.checksum(folder / name) for name in TABLES}
    files.write_json(folder / "experiment.json", {**origin, **end, "checksums": checksums})


def sentence(figures, last):
    """How far an experiment of so many epochs is, and how well it does."""
    f = figures
    end = "" if np.isfinite(f["train_loss"]) else ", diverged"
    return (
        f"epoch {f['epoch']}/{last} loss {f['train_loss']:.4f} accuracy {f['train_acc']:.4f} | validation loss "
        f"{f['test_loss']:.4f} accuracy {f['test_acc']:.4f} | {f['seconds']:.1f} s{end}"
    )


DIGITS = dict.fromkeys(("mean_abs_gradient", "norm_gradient", "pre_std", "share_beyond", "worst_norm"), 4)


def _append(path, columns, rows):
    """Add rows, with the header where the file is new."""
    lines = [] if path.exists() else [",".join(columns)]
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join([*lines, *_lines(columns, rows)]) + "\n")


def _lines(columns, rows):
    """Rows as text: six significant digits for losses, four for gradients."""
    for row in rows:
        values = ((column, row[column]) for column in columns)
        yield ",".join(f"{v:.{DIGITS.get(c, 6)}g}" if isinstance(v, float) else str(v) for c, v in values)


def last_epoch(folder):
    """The last epoch in a log, -1 where there is none."""
    path = folder / "signals.csv"
    if not path.exists():
        return -1
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        last = file.read().splitlines()[-1:]
    epoch = b"".join(last).split(b",")[0]
    return int(epoch) if epoch.isdigit() else -1


def keep_epochs(folder, epoch):
    """Cut a log back to an epoch: what a kill left half written, or a state does not know of, goes."""
    for name in TABLES:
        path = folder / name
        if not path.exists():
            continue
        header, *rows = _text(path.read_bytes()).splitlines() or [""]
        whole = [row for row in rows if row.count(",") == header.count(",")]  # a kill leaves half a row
        rows = [row for row in whole if row.split(",")[0].isdecimal() and int(row.split(",")[0]) <= epoch]
        if rows:
            files.write_whole(path, "\n".join([header, *rows]) + "\n")
        else:
            path.unlink()
    log = folder / "training.log"
    if log.exists():
        found = [(line, re.search(r" epoch (\d+)/", line)) for line in _text(log.read_bytes()).splitlines()]
        kept = [line for line, known in found if known and int(known[1]) <= epoch]
        files.write_whole(log, "".join(f"{line}\n" for line in kept))


def _text(content):
    """Bytes as text, whatever a damage has made of them."""
    return content.decode(errors="replace")


# ---- reading


@dataclass(frozen=True, eq=False)
class GradientLog:
    """The log of one experiment.

    about    experiment.json
    metrics  a DataFrame, a row an epoch and parameter
    signals  a DataFrame, a row an epoch and hidden layer
    """

    folder: Path
    about: dict
    metrics: pd.DataFrame
    signals: pd.DataFrame

    @property
    def name(self):
        return self.about["name"]

    @property
    def seed(self):
        return self.about["seed"]

    @property
    def epochs(self):
        """One row an epoch: losses, accuracies and times."""
        return self.metrics.drop_duplicates("epoch").set_index("epoch")[METRICS[4:]]

    def gradients(self, kind, statistic="mean_abs_gradient"):
        """One statistic of all weights, biases or spline shapes by epoch (rows) and layer; the output layer last.

        kind  "weight", "bias" or "shape"
        """
        rows = self.metrics[self.metrics.parameter.str.endswith(f".{kind}")]
        table = rows.pivot_table(index="epoch", columns="parameter", values=statistic, dropna=False)
        return table[sorted(table, key=_layer)]

    def signal(self, statistic):
        """One of the signals by epoch (rows) and hidden layer."""
        return self.signals.pivot_table(index="epoch", columns="layer", values=statistic, dropna=False)


def _layer(parameter):
    part = parameter.split(".")[1]
    return int(part) if part.isdigit() else np.inf


def is_finished(folder):
    """Whether a folder holds the whole log of an experiment. Raises ConfigError as `read_about`, DamagedError."""
    about = read_about(folder)
    return about is not None and bool(about.get("finished")) and doubt(folder) is None


def doubt(folder):
    """Why a log that is called finished is not believed, as a sentence; None where it is. Raises DamagedError.

    Some that are published say themselves that their rows were not kept; of them epochs.csv has what a study takes.
    """
    try:
        if (read_about(folder) or {}).get("rows") == NOT_KEPT and not has_rows(folder):
            return None
        read_log(folder)
    except files.DamagedError:  # the archive, which holds too much to be trained again unasked
        raise
    except ValueError as error:
        return str(error)
    return None


def not_kept(root):
    """What experiment.json holds of those logs below a folder whose rows were not kept."""
    found = [(path.parent, read_about(path.parent)) for path in sorted(Path(root).glob("*/experiment.json"))]
    return [about for folder, about in found if about.get("rows") == NOT_KEPT and not has_rows(folder)]


def has_rows(folder):
    """Whether a folder has rows of a log, plain or packed, whatever they are. Raises DamagedError."""
    names = packed.packed_names(folder)
    return any(name in names or (Path(folder) / name).exists() for name in TABLES)


def read_about(folder):
    """experiment.json of a folder, None where there is none. Raises ConfigError, one sentence, for anything else."""
    path = Path(folder) / "experiment.json"
    try:
        about = files.read_json(path)
    except (files.DamagedError, OSError, RecursionError):
        about = False
    if about is not None and not isinstance(about, dict):
        raise ConfigError(f"{path} cannot be read; move it away, and its folder is trained anew")
    return about


def read_log(folder):
    """The GradientLog of a folder; of one that is not finished, the epochs that are complete.

    Raises ValueError, one sentence, when it cannot be read, or is not what was written there.
    """
    folder = Path(folder)
    try:
        about = _known(read_about(folder))
        metrics, signals = (_table(folder / name, about) for name in TABLES)
        epochs = _complete_epochs(about, metrics, signals)
        _check_values(about, metrics, signals)
    except files.DamagedError:  # of the archive, or of experiment.json: its sentence says it all
        raise
    except (OSError, ValueError) as error:
        raise RecordsError(f"{folder} holds no whole log of an experiment ({' '.join(str(error).split())})") from error
    return GradientLog(folder, about, *(table[table.epoch < epochs] for table in (metrics, signals)))


def _known(about):
    """What experiment.json holds, if it is of an experiment. Raises ValueError."""
    types = {"name": str, "seed": int, "experiment": dict, "classes": int}
    if not isinstance(about, dict) or not all(isinstance(about.get(key), kind) for key, kind in types.items()):
        raise ValueError("experiment.json describes no experiment")
    given = about["experiment"]
    depth, epochs = given.get("layers_list"), given.get("num_epochs")
    if not (isinstance(depth, list) and [type(n) for n in depth] == [int] and type(epochs) is int):
        raise ValueError("experiment.json does not say how many layers and epochs it has")
    return about


def _table(path, about):
    """A CSV of a log as a DataFrame. Raises ValueError, OSError.

    The last row of a log that grows may be half written: it is left out.
    """
    content = packed.read(path)
    written = about.get("checksums")
    if about.get("finished") and isinstance(written, dict) and written.get(path.name) != files.checksum(content):
        raise ValueError(f"{path.name} is damaged: its checksum is not the one in experiment.json")
    (header, *rows), columns = content.decode().split("\n"), TABLES[path.name]
    if header != ",".join(columns):
        raise ValueError(f"{path.name} has other columns than it is written with today")
    torn = rows.pop() if rows else ""
    if torn and about.get("finished"):
        raise ValueError(f"the last row of {path.name} is not whole")
    cells = [row.split(",") for row in rows]
    if not cells or any(len(row) != len(columns) for row in cells):
        raise ValueError(f"{path.name} has no rows, or some that are not whole")
    table = pd.DataFrame(cells, columns=columns)
    kinds = {"epoch": int, "layer": int, "parameter": str}
    return table.astype({column: kinds.get(column, float) for column in columns})


def _complete_epochs(about, metrics, signals):
    """How many epochs have all their parameters and layers, each row where it should stand. Raises ValueError.

    A log that is not finished may end within an epoch.
    """
    (layers,), last = about["experiment"]["layers_list"], about["experiment"]["num_epochs"]
    parameters = list(metrics.parameter[metrics.epoch == 0])
    weights = [*(f"hidden.{l}.weight" for l in range(layers)), "output.weight"]
    named = [name for name in parameters if name.endswith(".weight")]
    if len(set(parameters)) < len(parameters) or named != weights:
        raise ValueError(f"metrics.csv does not have the parameters of {layers} hidden layers, each once")
    epochs = []
    for name, table, column, expected in (
        ("metrics.csv", metrics, "parameter", parameters),
        ("signals.csv", signals, "layer", list(range(layers))),
    ):
        count = len(table) // len(expected)
        rest = len(table) % len(expected)
        where = (np.arange(len(table)) // len(expected) == table.epoch).all()
        what = np.array_equal(table[column], (expected * (count + 1))[: len(table)])
        if not (where and what) or (rest and about.get("finished")):
            raise ValueError(f"rows of {name} are missing, or stand in another order")
        epochs.append(count)
    if min(epochs) == 0:
        raise ValueError("none of its epochs is complete")
    if about.get("finished"):
        end = last if not about.get("diverged") else epochs[0] - 1
        if epochs != [end + 1] * 2 or not 0 <= end <= last:
            raise ValueError(f"it is called finished, and has {min(epochs)} epochs where it should have {last + 1}")
    return min(epochs)


# what a column can hold; losses and gradients of a training that diverges may be infinite or no number at its end
RANGES = {**dict.fromkeys((*METRICS[2:], *SIGNALS[2:]), (0.0, np.inf))}
RANGES |= dict.fromkeys(("acc_train", "acc_val", "share_beyond"), (0.0, 1.0))


def _check_values(about, metrics, signals):
    """Every value is one that can be measured. Raises ValueError."""
    for name, table in (("metrics.csv", metrics), ("signals.csv", signals)):
        for column in table:
            low, high = RANGES.get(column, (-np.inf, np.inf))
            if column != "parameter" and ((table[column] < low) | (table[column] > high)).any():
                raise ValueError(f"{name} has a {column} that is not between {low:g} and {high:g}")
        of_epoch = [column for column in (*METRICS[4:], *SIGNALS[4:]) if column in table]
        if (table.groupby("epoch")[of_epoch].nunique(dropna=False) > 1).any(axis=None):
            raise ValueError(f"{name} has several values of {', '.join(of_epoch)} in one epoch")
    unknown = ~np.isfinite(metrics[METRICS[4:]]).all(axis=1)
    if about.get("finished") and not about.get("diverged") and unknown.any():
        raise ValueError("it did not diverge, and has losses or accuracies that are no numbers")
    if (unknown & (metrics.epoch < metrics.epoch.max())).any():
        raise ValueError("it goes on behind a loss that is no number")


def find_logs(root):
    """All logs below a folder, finished or not, in the order of their names; prints which one cannot be read.

    Where one name stands for several experiments, as on several data sets, it says which.
    """
    logs = []
    for path in sorted(Path(root).rglob("experiment.json")):
        hidden = any(part[0] == "." for part in path.relative_to(root).parts)  # set aside
        if not hidden and _has_rows(path.parent):
            try:
                logs.append(read_log(path.parent))
            except ValueError as error:
                print(f"left out: {error}")
    return _distinct(logs)


def _distinct(logs):
    """The same logs, with names that stand for one experiment each, whatever its seeds."""
    kinds = {}
    for log in logs:
        given = with_parameters(log.about["experiment"])
        same = {key: value for key, value in given.items() if key != "seeds"}
        kinds.setdefault(log.name, {}).setdefault(json.dumps(same, sort_keys=True), []).append(log)
    named = []
    for log in logs:
        versions = list(kinds[log.name].values())
        if len(versions) > 1:
            (number,) = [i for i, version in enumerate(versions, 1) if log in version]
            sets = [version[0].about["experiment"]["dataset"] for version in versions]
            mark = sets[number - 1] if len(set(sets)) == len(sets) else str(number)
            log = dataclasses.replace(log, about={**log.about, "name": f"{log.name} ({mark})"})
        named.append(log)
    return named


def with_parameters(given):
    """An experiment as its log has it, with all parameters of its init and activation.

    A log may be older than a parameter, or than writing those that nobody had given: it was trained with what is the
    default today.
    """
    found = dict(given)
    for key, axis, kind, table in PARAMETERS:
        value, names = given.get(key), given.get(axis)
        if isinstance(value, dict):
            name = value.get(kind, names[0] if isinstance(names, list) and names else None)
            row = table.get(name) if isinstance(name, str) else None
            found[key] = {**(row.defaults if row else {}), **value}
    return found


# key of an experiment, the axis that names its row, the key by which a variant names it, the rows
PARAMETERS = (
    ("init_params", "init_types", "init", INITIALIZERS),
    ("activation_params", "activations", "activation", FAMILIES),
)


def _has_rows(folder):
    try:
        return all(packed.exists(folder / name) for name in TABLES)
    except files.DamagedError:  # which `read_log` then says
        return True


def by_name(logs):
    """{experiment: its logs, by seed}, in the order in which they come."""
    found = {}
    for log in logs:
        found.setdefault(log.name, []).append(log)
    return {name: sorted(mine, key=lambda log: log.seed) for name, mine in found.items()}
