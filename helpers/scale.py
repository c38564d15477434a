"""The study of `notebooks/scale.ipynb`: what a sweep of very many networks needs, from what is measured here.

A small sweep stands for the large one: its networks are trained, and what each costs is measured. A cost grows in one
of two ways with the number N of networks, which train in stacks of n:

    once      an amount a network: N
    rewritten an amount a network, and that again at every stack for all that are there: N (N/n + 1) / 2
"""

import dataclasses
import json
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import checksums, packed, records
from helpers.checks import ConfigError, checked, non_negative, refuse, whole
from helpers.config import SweepConfig
from helpers.figures import COLOURS, Picture, grid_of_subplots, legend
from helpers.lanes import Task
from helpers.sweep import plan
from helpers.sweep.plan import parameters

NUMBER = 8.5  # bytes of a number in a CSV, its comma included: "0.01234," or "1.234e-05,"
HOUR, TERABYTE = 3600.0, 1e12
MOST = 10**15  # networks or machines


# ---- before anything is trained


def asked(networks, machines, prices):
    """(networks, machines, prices) as they are kept. Raises ConfigError for what cannot be multiplied and divided."""
    found = checked({"NETWORKS": networks, "MACHINES": machines, "PRICES": prices}, CHECKS, "the plan")
    return found["NETWORKS"], found["MACHINES"], found["PRICES"]


def _count(key, value):
    kept = whole(1)(key, value)
    if kept > MOST:
        refuse(key, "a larger number", f"a whole number from 1 to {MOST:,}")
    return kept


def _prices(key, value):
    """What a machine hour and a month of a terabyte cost, both."""
    table = {"machine hour": non_negative, "terabyte month": non_negative}
    kept = checked(value, table, key, within=True)
    if missing := [name for name in table if name not in kept]:
        raise ConfigError(f"{key} has no {missing[0]!r}; it says what a {' and what a '.join(table)} cost")
    return kept


CHECKS = {"NETWORKS": _count, "MACHINES": _count, "PRICES": _prices}


def operations(config, data, layers):
    """Floating-point operations of one network from its start to its last epoch.

    W weights take 2 W operations a sample forward, twice as many backward; the test set and epoch 0 go forward only.
    """
    weights = parameters(config, layers)
    trained = config.num_epochs * (data.train_size + len(data.probe))
    evaluated = data.train_size + config.num_epochs * data.test_size
    return weights * (6 * trained + 2 * evaluated)


def estimated(sweep):
    """What a network of a sweep should need, in the mean over its runs, with nothing trained: a Series."""
    config, data = sweep.config, sweep.data
    runs = [(config.of(run), run.layers) for run in config.runs()]
    layers = np.array(config.layers_list)
    values = len(records.EPOCH_COLUMNS) + len(records.LAYER_STATS) * layers
    counted = pd.Series(
        {
            "operations": np.mean([operations(one, data, depth) for one, depth in runs]),
            "bytes of its CSV": np.mean((config.num_epochs + 1) * values * NUMBER),
            "bytes of its weights": np.mean([parameters(one, depth) for one, depth in runs]) * data.x_train.itemsize,
        }
    )
    with tempfile.TemporaryDirectory() as folder:  # so that nothing counts as finished
        fresh = type(sweep)({**sweep.given, "save_dir": folder})
        counted["seconds on this machine"] = fresh.forecast() / len(config.runs())
    return counted


# ---- measured


def measured(results):
    """What a network of a sweep has needed, in the mean over its runs: a Series.

    Raises ConfigError where no run is finished.
    """
    if len(results.summary) == 0:
        raise ConfigError(f"{results.folder} has no finished run to measure; let the sweep go on first")
    files = [results.run_file(run) for run in results.summary.run]
    sizes = [len(packed.read(path)) for path in files]
    return pd.Series(
        {
            "bytes of its CSV": np.mean(sizes),
            "seconds on this machine": results.manifest["seconds"] / len(files),
        }
    )


def packed_bytes(results):
    """Bytes of a run's CSV in an archive of all of them, in the mean."""
    contents = ((f"{run}.csv", packed.read(results.run_file(run))) for run in results.summary.run)
    return len(packed.archive(contents)) / len(results.summary)


def writing(results, rows=4000):
    """What the one process that writes results does, in seconds a network: a Series.

    rows  of a made-up summary, long enough for what is the same at any length not to count
    """
    with tempfile.TemporaryDirectory() as folder:
        named = SweepConfig.from_dict(results.config).named
        runs = [named[name] for name in results.summary.run]
        tables = [results.history(name).to_numpy(float) for name in results.summary.run]
        (Path(folder) / "runs").mkdir()
        started = time.perf_counter()
        for run, table in zip(runs, tables, strict=True):
            records.write_run(folder, run, table)
            history = records.read_run(records.run_file(folder, run))
            row = records.summarise(run, history, results.manifest["commonest_class_share"])
            checksums.of_run(folder, run.name)
        csv = (time.perf_counter() - started) / len(runs)
        many = [{**row, "run": f"{row['run']}_{i}"} for i in range(rows)]
        summary = _seconds(lambda: records.write_summary(folder, many)) / rows
        known = {row["run"]: ("0" * 16, 1) for row in many}
        index = _seconds(lambda: checksums.write(folder, known)) / rows
    return pd.Series({"CSVs": csv, "summary": summary, "checksums": index})


def listing(config, runs=20_000):
    """What each run costs by its place in the list of all runs, which is gone through at every stack: a Series.

    seconds   of looking its row up
    memory    bytes of the list
    manifest  bytes of the CONFIG there, which names each seed
    """
    cells = len(dataclasses.replace(config, seeds=(0,)).runs())
    large = dataclasses.replace(config, seeds=tuple(range(-(-runs // cells))))
    tracemalloc.start()
    count = len(large.runs())
    memory = tracemalloc.get_traced_memory()[0] / count
    tracemalloc.stop()
    rows = {run: {} for run in large.runs()}
    seconds = _seconds(lambda: [rows[run] for run in large.runs() if run in rows]) / count
    manifest = (len(json.dumps(large.to_dict())) - len(json.dumps(config.to_dict()))) / count
    return pd.Series({"seconds": seconds, "memory": memory, "manifest": manifest})


def _seconds(action, least=0.2):
    """Seconds of one call, in the mean over as many as fit."""
    calls, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < least or calls == 0:
        action()
        calls += 1
    return elapsed / calls


class Idle:
    """A work of one step that does nothing, and the worker that begins it: what is left is the cluster's own time."""

    save_every, step = 0.0, 0

    def begin(self, task):
        return Idle()

    def advance(self, stop):
        self.step = 1
        return True

    def figures(self):
        return {}

    def results(self):
        return {}


def handing_over(address, device, tasks=60):
    """Seconds until a Dask cluster has completed its first task, and seconds a task from then on: a Series."""
    from helpers import cluster  # Dask takes its time to import

    ends, started = [], time.perf_counter()
    todo = [Task(f"task {i}", {}, 1.0, 1) for i in range(tasks)]
    cluster.run(todo, Idle(), lambda _: ends.append(time.perf_counter()), address=address, device=device, states=None)
    return pd.Series({"start": ends[0] - started, "a task": (ends[-1] - ends[0]) / (tasks - 1)})


# ---- multiplied and divided


def stack_size(config, device):
    """Networks that train as one stack: the mean over the stacks of a sweep that has many of each depth."""
    sizes = [plan.stack_size(config, layers, device) for layers in config.layers_list]
    return round(len(sizes) / sum(1 / size for size in sizes))


def costs(pace, written, listed, handed, size):
    """All costs as a table: seconds a network, how they grow, and who bears them.

    pace    seconds of training a network on this machine
    written, listed, handed  from `writing`, `listing`, `handing_over`
    size    networks in a stack
    """
    rows = {
        "training": (pace, "once", "machines"),
        "handing over": (handed["a task"] / size, "once", "writer"),
        "CSVs": (written["CSVs"], "once", "writer"),
        "summary": (written["summary"], "rewritten", "writer"),
        "checksums": (written["checksums"], "rewritten", "writer"),
        "list of runs": (listed["seconds"], "rewritten", "writer"),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["seconds", "grows", "who"])


def hours(cost, networks, size, machines=1):
    """Hours of one row of `costs` for so many networks; machines share what is theirs."""
    times = networks if cost.grows == "once" else networks * (networks / size + 1) / 2
    return cost.seconds * times / HOUR / (machines if cost.who == "machines" else 1)


def walls(table, networks, size, machines):
    """Of each cost its hours, and the number of networks at which it takes as long as training does: a DataFrame.

    A cost that grows like training meets it at no number, or stands above it at all.
    """
    training = table.loc["training"].seconds / machines
    rows = []
    for name, cost in table.iterrows():
        if name == "training":
            meets = np.nan
        elif cost.grows == "once":
            meets = np.inf if cost.seconds < training else 0.0
        else:  # seconds N (N/size + 1) / 2 = training N
            meets = max(0.0, size * (2 * training / cost.seconds - 1))
        row = {"cost": name, "grows": cost.grows, "hours": hours(cost, networks, size, machines)}
        rows.append({**row, "as long as training at": meets})
    return pd.DataFrame(rows).set_index("cost")


def storage(measured_bytes, packed, listed, weights, networks, size):
    """Bytes that so many networks need, by what for: a Series."""
    return pd.Series(
        {
            "CSVs": measured_bytes * networks,
            "CSVs, packed": packed * networks,
            "states, kept after training": weights * networks,
            "manifest, all that is written of it": listed["manifest"] * networks * (networks / size + 1) / 2,
            "list of runs, in memory": listed["memory"] * networks,
        }
    )


def money(machine_hours, stored, prices):
    """What so many hours and bytes cost: a DataFrame.

    prices  {"machine hour": ..., "terabyte month": ...}, in one currency; they are yours to give
    """
    amounts = {"machine hour": machine_hours, "terabyte month": stored / TERABYTE}
    rows = [{"what": what, "amount": n, "price": prices[what], "cost": n * prices[what]} for what, n in amounts.items()]
    return pd.DataFrame(rows).set_index("what")


# ---- pictures, each with its sentence


def against_networks(table, networks, size, machines):
    """Hours of each cost against the number of networks; the sentence has the first wall."""
    figure, (axes,) = grid_of_subplots(1, 1, width=5.0, height=3.4)
    counts = np.geomspace(size, networks * 10, 60)
    for colour, (name, cost) in zip(COLOURS, table.iterrows(), strict=False):
        style = "-" if cost.grows == "once" else "--"
        axes.plot(counts, [hours(cost, n, size, machines) for n in counts], style, color=colour, label=name)
    axes.axvline(networks, color="0.6", lw=1)
    axes.set(xscale="log", yscale="log", xlabel="networks", ylabel="hours")
    legend(figure, axes)
    found = walls(table, networks, size, machines)
    rewritten = found[found.grows == "rewritten"]
    first = rewritten["as long as training at"].idxmin()
    sentence = (
        f"{networks:,} networks in stacks of {size} on {machines} machines like this one: training takes "
        f"{_short(found.hours['training'])} hours, writing their CSVs {_short(found.hours['CSVs'])}, and all that is "
        f"written again at every stack (dashed) {_short(rewritten.hours.sum())}. The first wall is the {first}: from "
        f"{_short(rewritten['as long as training at'][first])} networks on it takes longer than the training."
    )
    return Picture("against_networks", figure, sentence)


def against_machines(table, networks, size, machines):
    """Hours against the number of machines: training divides, what one process writes does not.

    The sentence has the number of machines that one process keeps up with.
    """
    figure, (axes,) = grid_of_subplots(1, 1, width=5.0, height=3.4)
    counts = np.geomspace(1, machines * 100, 60)
    training = [hours(table.loc["training"], networks, size, n) for n in counts]
    axes.plot(counts, training, color=COLOURS[0], label="training")
    for colour, grows, style in ((COLOURS[1], "once", "-"), (COLOURS[2], "rewritten", "--")):
        label = f"what one process writes, {grows}"
        axes.axhline(_writer_hours(table, networks, size, grows), color=colour, ls=style, label=label)
    axes.set(xscale="log", yscale="log", xlabel="machines like this one", ylabel="hours")
    legend(figure, axes)
    sentence = (
        f"{networks:,} networks: one process that writes each result once keeps up with "
        f"{_short(enough_machines(table))} machines like this one; what it writes again at every stack takes it "
        f"{_short(_writer_hours(table, networks, size, 'rewritten'))} hours, however many there are."
    )
    return Picture("against_machines", figure, sentence)


def enough_machines(table):
    """The number of machines that one writer keeps up with, if nothing is written again at every stack."""
    return table.loc["training"].seconds / _of_the_writer(table, "once").seconds.sum()


def verdict(table, stored, bill, networks, size, machines):
    """What was found, in sentences."""
    found = walls(table, networks, size, machines)
    rewritten = found[found.grows == "rewritten"].sort_values("as long as training at")
    training = found.hours["training"]
    yield (
        f"{networks:,} networks take {_short(training * machines)} machine hours: {_short(training)} hours on "
        f"{machines} machines, at the prices above {_short(bill.cost['machine hour'])}."
    )
    for name, wall in rewritten.iterrows():
        yield (
            f"Made again at every stack: the {name}, {_short(wall.hours)} hours of one process; from "
            f"{_short(wall['as long as training at'])} networks on longer than the training on {machines} machines."
        )
    yield (
        "Written once a network, results take one process "
        f"{_short(_writer_hours(table, networks, size, 'once'))} hours: enough for {_short(enough_machines(table))} "
        "machines."
    )
    yield (
        f"They are {_short(stored['CSVs'] / TERABYTE)} TB in {networks:,} files, packed "
        f"{_short(stored['CSVs, packed'] / TERABYTE)} TB; the list of runs alone takes "
        f"{_short(stored['list of runs, in memory'] / 1e9)} GB of memory."
    )


def _of_the_writer(table, grows):
    return table[(table.who == "writer") & (table.grows == grows)]


def _writer_hours(table, networks, size, grows):
    """Hours of the one process that writes, for what grows in one of the two ways."""
    return sum(hours(cost, networks, size) for _, cost in _of_the_writer(table, grows).iterrows())


def _short(number):
    """Three digits, with commas: 16,900."""
    return f"{float(f'{number:.3g}'):,.12g}"


def seeds_for(config, networks):
    """How many seeds make so many networks of the cells of a CONFIG."""
    config = config if isinstance(config, SweepConfig) else SweepConfig.from_dict(config)
    return -(-networks // len(dataclasses.replace(config, seeds=(0,)).runs()))
