"""Networks trained one by one, with a log of every parameter's gradient: what the spline study is made of.

<save_dir>/<experiment>_s<seed>/metrics.csv   a row an epoch and parameter, written as it goes
                               signals.csv    a row an epoch and hidden layer
                               training.log   a line an epoch
                               experiment.json  what it is, and where it came from

An experiment is one network, a `DeepMLP` trained by autograd and torch.optim; a sweep, which keeps to sizes of layers
instead, is faster by far.
"""

import dataclasses
import io
import json
import os
import re
import threading
import time
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from helpers import data as datasets
from helpers import files, networks
from helpers.config import CHECKS, ConfigError, SweepConfig, resolve_device
from helpers.progress import duration
from helpers.sweep.stack import MOMENTUM
from helpers.sweep.sweep import DAMAGED, Lanes, SweepError, data_type, epoch_order, locked, open_lock

# as published, but for the data set and what suits it
DEFAULTS = {
    "activation": "sigmoid",
    "init": "xavier_uniform",
    "layers": 16,
    "hidden_size": 512,
    "optimizer": "adam",
    "lr": 3e-4,
    "clip": None,
    "seeds": [0],
}
# what an experiment calls otherwise than a sweep, which has lists of them
LISTS = {"activation": "activations", "init": "init_types", "layers": "layers_list"}
KEYS = (
    *LISTS,
    "clip",
    *(key for key in CHECKS if key not in (*LISTS.values(), "save_dir", "stack_size", "keep_state")),
)
OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=MOMENTUM),
    "adam": torch.optim.Adam,
}
METRICS = ["epoch", "parameter", "mean_abs_gradient", "norm_gradient"]
METRICS += ["loss_train", "loss_val", "acc_train", "acc_val", "train_time"]
SIGNALS = ["epoch", "layer", "pre_std", "share_beyond", "worst_loss", "worst_norm"]
BEYOND = 2.0  # the published spline's limit: the share of |z| beyond it is logged, whatever the activation
EVAL_CHUNK = 2048
SAVE_EVERY = 30.0  # seconds between two states on disk


@dataclass(frozen=True)
class Experiment:
    """One network to train.

    config  a SweepConfig of a single run, which says everything but `clip`
    clip    the largest norm of the whole gradient; None for no limit
    folder  where its log goes
    """

    name: str
    config: SweepConfig
    clip: float | None
    folder: Path

    @property
    def run(self):
        return self.config.runs()[0]

    def to_dict(self):
        """What decides its numbers, as plain JSON."""
        fixed = ("data_dir", "save_dir", "device", "resume", "stack_size", "keep_state", "input_square")
        plain = {key: value for key, value in self.config.to_dict().items() if key not in fixed}
        own = {"activation": self.run.activation, "init": self.run.init}
        plain["activation_params"] = plain["activation_params"].get(own["activation"], {})
        plain["init_params"] = plain["init_params"][own["init"]]
        return {**plain, "clip": self.clip}


def experiments(common, given, save_dir):
    """All experiments, one a name and seed. Raises ConfigError, one sentence, for what cannot be trained.

    common  {key: value} for all of them; DEFAULTS where left out
    given   {name: {key: value}}, where that differs
    """
    if not isinstance(given, dict) or not given:
        raise ConfigError("EXPERIMENTS is a dict from a name to what differs in it, with at least one entry")
    if not isinstance(save_dir, str | Path) or not str(save_dir):
        raise ConfigError(f"save_dir is {save_dir!r}; allowed is a path")
    found = []
    for name, own in given.items():
        for part, where in ((common, "COMMON"), (own, f"EXPERIMENTS[{name!r}]")):
            if not isinstance(part, dict):
                raise ConfigError(f"{where} is {part!r}; allowed is a dict")
            unknown = [key for key in part if key not in KEYS]
            if unknown:
                raise ConfigError(f"{where} has no key {unknown[0]!r} (allowed: {', '.join(KEYS)})")
        for key in ("device", "data_dir"):
            if key in own:
                raise ConfigError(
                    f"EXPERIMENTS[{name!r}] has {key!r}, which is the same for all; it belongs into COMMON"
                )
        if not str(name).replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise ConfigError(f"an experiment's name is made of letters, digits, dots, - and _; got {name!r}")
        settings = {**DEFAULTS, **common, **own}
        clip = settings.pop("clip")
        if clip is not None:
            clip = CHECKS["input_square"]("clip", clip)  # a finite number above 0
        for key, many in LISTS.items():
            settings[many] = [settings.pop(key)]
        for seed in CHECKS["seeds"]("seeds", settings["seeds"]):
            folder = Path(save_dir) / f"{name}_s{seed}"
            config = SweepConfig.from_dict({**settings, "seeds": [seed], "save_dir": str(folder)})
            if config.precision not in ("float32", "float64") or isinstance(config.lr, tuple):
                raise ConfigError(
                    f"EXPERIMENTS[{name!r}]: precision is {config.precision!r} and lr is {config.lr}; allowed are "
                    "float32 or float64, and one number"
                )
            found.append(Experiment(str(name), config, clip, folder))
    return found


# ---- training


class Trainer:
    """One experiment on its way; `advance` is one epoch, and `epoch` the last that is complete."""

    def __init__(self, experiment, data, device):
        self.experiment, self.data, self.device = experiment, data, device
        self.config = experiment.config.fitted_to(data)
        self.net = networks.build(self.config, experiment.run, data_type(self.config)).to(device)
        self.optimizer = OPTIMIZERS[self.config.optimizer](self.net.parameters(), self.config.lr)
        self.epoch, self.diverged = -1, False

    def advance(self, stop):
        """Train and measure one epoch; the first call only measures. Returns (metrics, signals), None when stopped."""
        started, epoch, config = time.perf_counter(), self.epoch + 1, self.config
        x, y, log = self.data.x_train, self.data.y_train, _EpochLog(self.net)
        if epoch == 0:
            self._backward(x[self.data.probe], y[self.data.probe], log)
            train = self._evaluate(x, y)
        else:
            for index in epoch_order(config.seeds[0], epoch, len(y)).to(self.device).split(config.batch_size):
                if stop.is_set():
                    return None
                self._backward(x[index], y[index], log)
                self.optimizer.step()
            train = float(log.loss) / len(y), int(log.correct) / len(y)
        seconds = time.perf_counter() - started
        figures = [*train, *self._evaluate(self.data.x_test, self.data.y_test)]
        self.diverged = not np.isfinite([figures[0], figures[2]]).all()
        if self.diverged:
            figures[1] = figures[3] = np.nan  # what was guessed by outputs that are no numbers
        self.epoch = epoch
        loss_train, acc_train, loss_val, acc_val = figures
        metrics = log.gradients().assign(epoch=epoch, train_time=seconds, loss_train=loss_train, acc_train=acc_train)
        signals = self._signals().assign(epoch=epoch, worst_loss=log.worst_loss, worst_norm=log.worst_norm)
        return metrics.assign(loss_val=loss_val, acc_val=acc_val)[METRICS], signals[SIGNALS]

    def _backward(self, x, y, log):
        self.optimizer.zero_grad()
        logits = self.net(x)
        loss = functional.cross_entropy(logits, y)
        (loss + self.net.penalty()).backward()
        log.count(loss.detach(), logits.detach(), y)
        if self.experiment.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.experiment.clip)

    @torch.no_grad()
    def _evaluate(self, x, y):
        """(mean loss, accuracy)."""
        loss, correct = 0.0, 0
        for part, labels in zip(x.split(EVAL_CHUNK), y.split(EVAL_CHUNK), strict=True):
            logits = self.net(part)
            loss += functional.cross_entropy(logits, labels, reduction="sum").item()
            correct += (logits.argmax(1) == labels).sum().item()
        return loss / len(x), correct / len(x)

    @torch.no_grad()
    def _signals(self):
        """Deviation of pre-activations of each hidden layer, and the share beyond +-BEYOND, on the probe."""
        rows, x = [], self.data.x_train[self.data.probe]
        for l, (layer, phi) in enumerate(zip(self.net.hidden, self.net.activations, strict=True)):
            z = layer(x)
            share = torch.where(z.isnan(), z, (z.abs() > BEYOND).to(z)).to(_wide(z)).mean().item()  # NaN in, NaN out
            rows.append({"layer": l, "pre_std": z.to(_wide(z)).std(correction=0).item(), "share_beyond": share})
            x = phi(z)
        return pd.DataFrame(rows)

    # ---- state on disk

    def save(self, path):
        buffer = io.BytesIO()
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "epoch": self.epoch}
        torch.save(state, buffer)
        part = path.with_name(path.name + ".part")
        try:
            part.write_bytes(buffer.getbuffer())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def load(self, path):
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]


def _first_difference(there, here):
    """The first key of an experiment in which it differs from that of a log; None for none."""
    there = there if isinstance(there, dict) else {}
    return next((key for key in here if there.get(key, DEFAULTS.get(key)) != here[key]), None)


class _EpochLog:
    """Sums over the batches of an epoch, kept on the device; gradients are read before they are clipped."""

    def __init__(self, net):
        self.parameters = dict(net.named_parameters())
        self.sums, self.batches, self.losses, self.norms = 0, 0, [], []
        self.loss, self.correct = 0, 0

    def count(self, loss, logits, y):
        gradients = [parameter.grad for parameter in self.parameters.values()]
        # In double precision: the squares of a gradient that fades over 16 layers underflow in float32.
        wide = _wide(loss)
        both = [[torch.linalg.vector_norm(g, order, dtype=wide) for g in gradients] for order in (1, 2)]
        both = torch.stack([torch.stack(norms) for norms in both])
        self.sums, self.batches = self.sums + both, self.batches + 1
        self.losses.append(loss)
        self.norms.append(both[1].norm())
        self.loss += loss.to(wide) * len(y)
        self.correct += (logits.argmax(1) == y).sum()

    def gradients(self):
        """mean |g| and ||g|| of each parameter, averaged over the batches."""
        total, norms = (self.sums / self.batches).cpu().numpy()
        sizes = np.array([parameter.numel() for parameter in self.parameters.values()])
        names = list(self.parameters)
        return pd.DataFrame({"parameter": names, "mean_abs_gradient": total / sizes, "norm_gradient": norms})

    @property
    def worst_loss(self):
        return torch.stack(self.losses).max().item()

    @property
    def worst_norm(self):
        return torch.stack(self.norms).max().item()


def _wide(tensor):
    """The number type for sums: double precision where the device has it."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


class Study:
    """Some experiments, trained side by side; what is finished is kept, what was interrupted goes on.

    Making it checks everything and loads the data, before anything is written. Raises ConfigError, DataError, or
    ConfigError for a folder that holds the log of another experiment.
    """

    def __init__(self, found):
        self.experiments, self.stop = found, threading.Event()
        self.device = resolve_device(found[0].config)
        self._data, self._trained = {}, set()
        for experiment in found:
            networks.check_births(experiment.config.fitted_to(self.data_of(experiment.config)))
            there = _read_json(experiment.folder / "experiment.json")
            if there is not None and (key := _first_difference(there.get("experiment"), experiment.to_dict())):
                raise ConfigError(
                    f"{experiment.folder} holds the log of another experiment: {key} differs; choose another save_dir, "
                    "or another name"
                )

    @property
    def left(self):
        """The experiments that are not finished, as their folders say now."""
        return [experiment for experiment in self.experiments if self._is_left(experiment)]

    def _is_left(self, experiment):
        anew = not experiment.config.resume and experiment.folder not in self._trained
        return anew or not is_finished(experiment.folder)

    def data_of(self, config):
        # Without data_dir, which a log does not keep: what it names is found where this study has found it.
        key = tuple(getattr(config, name) for name in ("dataset", "normalize", "train_size", "test_size", "precision"))
        if key not in self._data:
            self._data[key] = datasets.load(config, self.device, data_type(config))
        return self._data[key]

    def describe(self):
        names = list(dict.fromkeys(e.name for e in self.experiments))
        return (
            f"{len(self.experiments)} networks: {len(names)} experiments ({', '.join(names)}); "
            f"{len(self.experiments) - len(self.left)} are finished\n"
            f"on {files.device_name(self.device)}, {Lanes(self.device, len(self.left)).count} at a time"
        )

    def run(self):
        """Train what is left. After an interrupt a start goes on from each network's last state.

        States are written every SAVE_EVERY seconds, and where an epoch is complete when the interrupt comes.
        """
        started, done, todo = time.perf_counter(), 0, self.left
        self.stop.clear()
        lanes = Lanes(self.device, max(1, len(todo)))
        with lanes as pool:
            futures = {pool.submit(self._train, experiment): experiment for experiment in todo}
            try:
                for future in as_completed(futures):
                    said = future.result()
                    done += 1
                    left = (time.perf_counter() - started) / done * (len(todo) - done)
                    print(f"{done:>4}/{len(todo)} finished, ETA {duration(left):<12} | {said}", flush=True)
            finally:
                self.stop.set()

    def _train(self, experiment):
        folder = experiment.folder
        try:
            with locked(open_lock(folder), folder):
                if not self._is_left(experiment):  # another process has finished it meanwhile
                    return f"{folder.name}: was finished meanwhile"
                said = self._train_in(folder, experiment)
                self._trained.add(folder)
                return said
        except OSError as error:
            raise SweepError(
                f"the log cannot be written to {folder} ({error.strerror or error}); finished experiments are kept: "
                "mend that, and start again to go on"
            ) from error

    def _train_in(self, folder, experiment):
        trainer = Trainer(experiment, self.data_of(experiment.config), self.device)
        state, last = folder / "state.pt", experiment.config.num_epochs
        if experiment.config.resume and state.exists():
            try:
                trainer.load(state)
            except DAMAGED as error:
                print(f"{state} cannot be read ({type(error).__name__}); {folder.name} is trained from its start")
                trainer = Trainer(experiment, trainer.data, self.device)
        _keep_epochs(folder, trainer.epoch)
        origin = {"name": experiment.name, "seed": experiment.run.seed, "experiment": experiment.to_dict()}
        origin |= {
            "classes": trainer.data.classes,
            **files.provenance(self.device),
            "started": files.now(),
            "finished": None,
        }
        files.write_whole(folder / "experiment.json", json.dumps(origin, indent=1) + "\n")
        saved, said = time.monotonic(), ""
        while trainer.epoch < last and not trainer.diverged:
            if self.stop.is_set() and trainer.epoch >= 0:
                trainer.save(state)
            tables = trainer.advance(self.stop)
            if tables is None:  # stopped in mid-epoch: the next start goes on from the last state
                return f"{folder.name}: stopped after epoch {trainer.epoch}"
            for name, table in zip(("metrics.csv", "signals.csv"), tables, strict=True):
                _append(folder / name, table)
            said = _sentence(tables[0], last)
            with (folder / "training.log").open("a") as log:
                log.write(f"{files.now()} {said}\n")
            if time.monotonic() - saved > SAVE_EVERY:
                trainer.save(state)
                saved = time.monotonic()
        end = {"finished": files.now(), "diverged": bool(trainer.diverged)}
        files.write_whole(folder / "experiment.json", json.dumps({**origin, **end}, indent=1) + "\n")
        state.unlink(missing_ok=True)
        return f"{folder.name}: {said}"


def _sentence(metrics, last):
    row = metrics.iloc[0]
    end = "" if np.isfinite(row.loss_train) else ", diverged"
    return (
        f"epoch {row.epoch}/{last} loss {row.loss_train:.4f} accuracy {row.acc_train:.4f} | validation loss "
        f"{row.loss_val:.4f} accuracy {row.acc_val:.4f} | {row.train_time:.1f} s{end}"
    )


def _append(path, table):
    """Add rows, with the header where the file is new: six significant digits for losses, four for gradients."""
    digits = dict.fromkeys(("mean_abs_gradient", "norm_gradient", "pre_std", "share_beyond", "worst_norm"), 4)
    lines = [] if path.exists() else [",".join(table)]
    for row in table.itertuples(index=False):
        cells = zip(table, row, strict=True)
        lines.append(",".join(f"{v:.{digits.get(c, 6)}g}" if isinstance(v, float) else str(v) for c, v in cells))
    with path.open("a") as file:
        file.write("\n".join(lines) + "\n")


def _keep_epochs(folder, epoch):
    """Cut the log back to what a state knows of."""
    for name in ("metrics.csv", "signals.csv"):
        path = folder / name
        if not path.exists():
            continue
        header, *rows = path.read_text().splitlines() or [""]
        whole = [row for row in rows if row.count(",") == header.count(",")]  # a kill leaves half a row
        rows = [row for row in whole if row.split(",")[0].isdigit() and int(row.split(",")[0]) <= epoch]
        if rows:
            files.write_whole(path, "\n".join([header, *rows]) + "\n")
        else:
            path.unlink()
    log = folder / "training.log"
    if log.exists():
        found = [(line, re.search(r" epoch (\d+)/", line)) for line in log.read_text().splitlines()]
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
    about = _read_json(Path(folder) / "experiment.json")
    return about is not None and bool(about.get("finished"))


def _read_json(path):
    try:
        about = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise ConfigError(f"{path} cannot be read; move it away, and its folder is trained anew")
    return about


def read_log(folder):
    """The GradientLog of a folder. Raises ValueError, one sentence, when it cannot be read."""
    folder = Path(folder)
    try:
        about = json.loads((folder / "experiment.json").read_text())
        metrics, signals = (pd.read_csv(folder / name) for name in ("metrics.csv", "signals.csv"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no whole log of an experiment ({error})") from error
    known = isinstance(about, dict) and {"name", "seed", "experiment", "classes"} <= set(about)
    if list(metrics) != METRICS or list(signals) != SIGNALS or not (known and isinstance(about["experiment"], dict)):
        raise ValueError(f"{folder} holds no log of an experiment as it is written today")
    return GradientLog(folder, about, metrics, signals)


def find_logs(root):
    """All logs below a folder, finished or not, in the order of their names; one that cannot be read is told.

    Where one name stands for several experiments, as on several data sets, it says which.
    """
    logs = []
    for path in sorted(Path(root).rglob("experiment.json")):
        if _has_rows(path.parent):
            try:
                logs.append(read_log(path.parent))
            except ValueError as error:
                print(f"left out: {error}")
    return _told_apart(logs)


def _told_apart(logs):
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
    return (folder / "metrics.csv").exists() and (folder / "signals.csv").exists()


def by_name(logs):
    """{experiment: its logs, by seed}, in the order in which they come."""
    found = {}
    for log in logs:
        found.setdefault(log.name, []).append(log)
    return {name: sorted(mine, key=lambda log: log.seed) for name, mine in found.items()}
