"""The data of the spline study's view: gradients over epoch and layer, and learning curves, an experiment each.

Curves are of all seeds, from epochs.csv; maps of those whose rows were kept, which is the first seed of what is
published.
"""

from pathlib import Path

import pandas as pd

from helpers.page.packing import folders_of, packed_log, packed_share, rounded
from helpers.progress import say
from helpers.spline_study.log import by_name, find_logs, read_about
from helpers.spline_study.outcomes import BEYOND, epochs_of

CURVES = ("loss_train", "loss_val", "acc_train", "acc_val", "worst_loss", "share_beyond")
MAPS = {  # statistic: (of a log, the table by epoch and layer)
    "mean_abs_gradient": lambda log: log.gradients("weight"),
    "norm_gradient": lambda log: log.gradients("weight", "norm_gradient"),
    "pre_std": lambda log: log.signal("pre_std"),
    "share_beyond": lambda log: log.signal("share_beyond"),
}
PER_DECADE = 100  # steps of a map's logarithm: colours span twenty decades, and a number is off by at most 1.2 %
DIGITS = {"acc_train": 4, "acc_val": 4}  # of curves; the others have three


def find(root):
    """The parts that the page shows, see `helpers.page`."""
    found = []
    for folder in folders_of(Path(root), "splines"):
        try:
            content = data_of(folder)
        except ValueError as error:  # ConfigError, DamagedError: one sentence each
            say(f"left out: {error}")
            continue
        if content:
            key, title = f"splines.{folder.name}", content["data"]
            found.append({"key": key, "study": "splines", "kind": "gradients", "title": title, "content": content})
    return found


def data_of(folder):
    """The data of one folder of experiments; None where it holds none. Raises ConfigError, DamagedError."""
    folder = Path(folder)
    about = [read_about(path.parent) for path in sorted(folder.glob("*/experiment.json"))]
    if not about:
        return None
    logs = find_logs(folder)
    curves = _curves(folder, logs)
    maps = {name: mine[0] for name, mine in by_name(logs).items()}
    first = {}
    for one in about:
        first.setdefault(one["name"], one)
    experiments = [_experiment(about, curves[curves.experiment == name], maps) for name, about in first.items()]
    one = about[0]
    return {
        "data": _in_words(one["experiment"]["dataset"]),
        "classes": one["classes"],
        "beyond": BEYOND,
        "experiments": experiments,
        "csv": f"splines/{folder.name}/epochs.csv",
    }


def _curves(folder, logs):
    """A row an epoch of every run: what epochs.csv says, which also has the runs whose rows were not kept."""
    path = folder / "epochs.csv"
    return pd.read_csv(path) if path.exists() else epochs_of(logs)


def _experiment(about, curves, maps):
    s = about["experiment"]
    seeds = sorted(int(seed) for seed in curves.seed.unique())
    runs = [curves[curves.seed == seed] for seed in seeds]
    log = maps.get(about["name"])
    return {
        "name": about["name"],
        "activation": s["activations"][0],
        "init": s["init_types"][0],
        "layers": s["layers_list"][0],
        "width": s["hidden_size"],
        "lr": s["lr"],
        "optimizer": s["optimizer"],
        "batch_size": s["batch_size"],
        "clip": s.get("clip"),
        "seeds": seeds,
        "curves": {name: [rounded(run[name].to_numpy(), DIGITS.get(name, 3)) for run in runs] for name in CURVES},
        "map_seed": None if log is None else log.seed,
        "maps": None if log is None else {name: _map(name, table(log)) for name, table in MAPS.items()},
    }


def _map(name, table):
    """{"layers", "epochs", and the values}: layer by layer, within it epoch by epoch."""
    values = table.to_numpy(float).T
    packed = packed_share(values) if name == "share_beyond" else packed_log(values, PER_DECADE)
    return {"layers": len(values), "epochs": values.shape[1], **packed}


def _in_words(dataset):
    return {"mnist": "MNIST"}.get(dataset, dataset)
