"""Gradient logs: what an experiment of the spline study writes down while it trains, and reading it back.

<save_dir>/<experiment>_s<seed>/metrics.csv      a row an epoch and parameter, written as it goes
                               signals.csv      a row an epoch and hidden layer
                               training.log     a line an epoch
                               experiment.json  what it is, and where it came from

Of what is published the CSVs are packed in <experiment>_s<seed>.zip, see packed.py.
"""

import dataclasses
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers import files, packed
from helpers.config import ConfigError
from helpers.training import sum_type

METRICS = ["epoch", "parameter", "mean_abs_gradient", "norm_gradient"]
METRICS += ["loss_train", "loss_val", "acc_train", "acc_val", "train_time"]
SIGNALS = ["epoch", "layer", "pre_std", "share_beyond", "worst_loss", "worst_norm"]
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


def begin(experiment, classes, device, done):
    """Say what an experiment is in its folder, and cut its log back to the epoch `done` that its state has reached.

    A log that is packed becomes files again, to which epochs can be added.
    """
    packed.unpack(experiment.folder)
    keep_epochs(experiment.folder, done)
    origin = {"name": experiment.name, "seed": experiment.run.seed, "experiment": experiment.to_dict()}
    origin |= {"classes": classes, **files.provenance(device), "started": files.now(), "finished": None}
    files.write_json(experiment.folder / "experiment.json", origin)


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
    epoch = figures["epoch"]
    row = {"epoch": epoch, "loss_train": figures["train_loss"], "loss_val": figures["test_loss"]}
    row |= {"acc_train": figures["train_acc"], "acc_val": figures["test_acc"], "train_time": figures["seconds"]}
    _append(folder / "metrics.csv", METRICS, [{**row, **gradient} for gradient in figures["gradients"]])
    _append(folder / "signals.csv", SIGNALS, [{"epoch": epoch, **signal} for signal in figures["signals"]])
    with (folder / "training.log").open("a", encoding="utf-8") as log:
        log.write(f"{files.now()} {sentence(figures, last)}\n")


def finish(folder, diverged):
    """Note that an experiment is complete."""
    about = read_about(folder)
    files.write_json(folder / "experiment.json", {**about, "finished": files.now(), "diverged": bool(diverged)})


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
    """Add rows, with the header where the file is new: six significant digits for losses, four for gradients."""
    lines = [] if path.exists() else [",".join(columns)]
    for row in rows:
        values = ((column, row[column]) for column in columns)
        lines.append(",".join(f"{v:.{DIGITS.get(c, 6)}g}" if isinstance(v, float) else str(v) for c, v in values))
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def last_epoch(folder):
    """The last epoch in a log, -1 where there is none."""
    path = folder / "signals.csv"
    if not path.exists():
        return -1
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        epoch = file.read().decode().splitlines()[-1].split(",")[0]
    return int(epoch) if epoch.isdigit() else -1


def keep_epochs(folder, epoch):
    """Cut a log back to an epoch: what a kill left half written, or a state does not know of, goes."""
    for name in ("metrics.csv", "signals.csv"):
        path = folder / name
        if not path.exists():
            continue
        header, *rows = path.read_text(encoding="utf-8").splitlines() or [""]
        whole = [row for row in rows if row.count(",") == header.count(",")]  # a kill leaves half a row
        rows = [row for row in whole if row.split(",")[0].isdigit() and int(row.split(",")[0]) <= epoch]
        if rows:
            files.write_whole(path, "\n".join([header, *rows]) + "\n")
        else:
            path.unlink()
    log = folder / "training.log"
    if log.exists():
        found = [(line, re.search(r" epoch (\d+)/", line)) for line in log.read_text(encoding="utf-8").splitlines()]
        kept = [line for line, known in found if known and int(known[1]) <= epoch]
        files.write_whole(log, "".join(f"{line}\n" for line in kept))


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
    def epoch_seconds(self):
        """What an epoch of training takes when nothing else disturbs it: the fastest tenth of the epochs."""
        return float(self.epochs.train_time.iloc[1:].quantile(0.1))

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
    about = read_about(folder)
    return about is not None and bool(about.get("finished"))


def read_about(folder):
    """experiment.json of a folder, None where there is none. Raises ConfigError, one sentence, for anything else."""
    path = Path(folder) / "experiment.json"
    try:
        about = files.read_json(path)
    except files.DamagedError:
        about = False
    if about is not None and not isinstance(about, dict):
        raise ConfigError(f"{path} cannot be read; move it away, and its folder is trained anew")
    return about


def read_log(folder):
    """The GradientLog of a folder. Raises ValueError, one sentence, when it cannot be read."""
    folder = Path(folder)
    try:
        about = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
        metrics, signals = (
            pd.read_csv(io.BytesIO(packed.read(folder / name))) for name in ("metrics.csv", "signals.csv")
        )
    except files.DamagedError:  # the zip: its sentence says it all
        raise
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no whole log of an experiment ({error})") from error
    known = isinstance(about, dict) and {"name", "seed", "experiment", "classes"} <= set(about)
    if list(metrics) != METRICS or list(signals) != SIGNALS or not (known and isinstance(about["experiment"], dict)):
        raise ValueError(f"{folder} holds no log of an experiment as it is written today")
    return GradientLog(folder, about, metrics, signals)


def find_logs(root):
    """All logs below a folder, finished or not, in the order of their names; prints which one cannot be read.

    Where one name stands for several experiments, as on several data sets, it says which.
    """
    logs = []
    for path in sorted(Path(root).rglob("experiment.json")):
        if _has_rows(path.parent):
            try:
                logs.append(read_log(path.parent))
            except ValueError as error:
                print(f"left out: {error}")
    return _distinct(logs)


def _distinct(logs):
    """The same logs, with names that stand for one experiment each, whatever its seeds."""
    kinds = {}
    for log in logs:
        same = {key: value for key, value in log.about["experiment"].items() if key != "seeds"}
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


def _has_rows(folder):
    try:
        return packed.exists(folder / "metrics.csv") and packed.exists(folder / "signals.csv")
    except files.DamagedError:  # which `read_log` then says
        return True


def by_name(logs):
    """{experiment: its logs, by seed}, in the order in which they come."""
    found = {}
    for log in logs:
        found.setdefault(log.name, []).append(log)
    return {name: sorted(mine, key=lambda log: log.seed) for name, mine in found.items()}
