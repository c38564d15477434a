"""The grid of a sweep before its training: the numbers of every run's surface, and whether they tell who will learn.

`birth` draws a small surface of every run and keeps a row of numbers of it; `telling` counts how well each number tells
who learned, beside the forecast and beside two rules that look at nothing. The pictures are in `birth_figures.py`.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.tree import DecisionTreeClassifier

from helpers import data as datasets
from helpers import files, lanes, networks, words
from helpers.checks import ConfigError, checked, flag, positive, refuse, shown, whole
from helpers.config import SweepConfig, resolve_device
from helpers.data import PROBE_SIZE
from helpers.landscape_study import log
from helpers.landscape_study.folder import data_in_words
from helpers.landscapes import curvature, directions, shape, surfaces
from helpers.lanes import Task
from helpers.progress import Lines, Progress, Watched
from helpers.sweep import origin, rebuild
from helpers.sweep.folder import explained
from helpers.sweep.plan import parameters
from helpers.sweep.tables import called_by_depth, called_by_range, called_commonest
from helpers.sweep.tables import halves as halved
from helpers.usual_torch import usual_torch


def odd(key, value):
    """A whole number from 3 up that is odd: a point of the grid is then the network itself."""
    if whole(3, 1001)(key, value) % 2 == 0:
        refuse(key, value, "an odd number: a point of the grid is then the network itself")
    return int(value)


# written down before the first surface of a sweep was computed (the forecast was then said to be fitted to nothing:
# its number of depth scales had been measured, by others and on other networks)
EXPECTED = (
    "Expected: what theory calls vanishing or collapsed stands on a plain, sharpness near 0, roughness near 0, most of "
    "it convex; what it calls exploding stands in ragged mountains; what learns lies between. So sharpness ranks who "
    "learned with an AUC of 0.7 to 0.9, and better between two thresholds than above one; roughness and the convex "
    "share rank worse, the convex share the other way round. No number of the surface calls as many runs right as the "
    "forecast, which is not fitted to these runs, and together with the forecast each gains less than 3 % of the runs."
)

AXES = ["run", "activation", "init", "layers", "seed"]
SETTINGS = {"width": 9, "max_step": 1.0, "pairs": 1, "samples": 64, "direction_seed": 0, "hessian": False}
CHECKS = {
    "width": odd,
    "max_step": positive,
    "pairs": whole(1, 1000),
    "samples": whole(1, PROBE_SIZE),
    "direction_seed": whole(0),
    "hessian": flag,
}
# the keys of CONFIG that decide a network before training, and what it sees
DECIDES = ("dataset", "normalize", "train_size", "hidden_size", "input_size", "output_size")
# the numbers of a surface that are asked whether they tell who learns; of both axes, and of ends, there is one
NUMBERS = (
    "centre_loss", "sharpness", "roughness", "convex_share", "width_twice", "curvature_1", "anisotropy", "barrier",
    "basins", "basin_depth", "top_eigenvalue",
)  # fmt: skip
HALVES = 20  # times that the cells are halved by chance
TOLERANCE = 1e-2  # of the eigenvalue's residual: the value is then good to about 1e-4
SAVE_EVERY = 30.0  # seconds between two states of one run on disk: less than that is done again


# ---- the numbers, one row a run


@usual_torch()
def birth(config, path=None, *, watch=None, **settings):
    """The numbers of the surface of every run of a sweep before training: a DataFrame, one row a run.

    config    a SweepConfig, or a CONFIG as a manifest holds it
    path      a CSV to keep the rows in, with a JSON of their settings and origin beside it: runs that are there
              already are not computed again; None keeps them in memory alone
    settings  width (odd), max_step, pairs, samples (of the probe, its first), direction_seed, hessian
              (whether its largest eigenvalue is computed as well); SETTINGS where left out

    columns: run, activation, init, layers, seed; finite, the share of the points whose loss is finite; the others of
    `shape.measures`, means over the pairs; top_eigenvalue, the Hessian's of largest size.

    Networks are in float64: a plain differs from rounding only there. One seed of directions serves all of them, scaled
    by the weights of each. Weights that are all 0 give a direction of 0, and a surface that is constant: its row says
    so by a sharpness of exactly 0. Raises ConfigError for settings that cannot be used, and for a path that holds the
    rows of other ones.
    """
    config = config if isinstance(config, SweepConfig) else SweepConfig.from_dict(config)
    settings = {**SETTINGS, **checked(settings, CHECKS, "the grid at birth")}
    device = resolve_device(config)
    device = torch.device("cpu") if device.type == "mps" else device  # which knows no float64
    data = datasets.load(config, device, torch.float64)
    config = config.fitted_to(data)
    made_from = {"settings": settings, **_decides(config), "data": origin.in_short(origin.of_data(data))}
    if path is None:
        return _computed(config, data, settings, device, {}, lambda rows: None, watch)
    path = Path(path)
    rows = _rows_there(path, made_from)
    if all(run.name in rows for run in config.runs()) and "checksum" in files.read_json(_about(path)):
        return _table(config, rows)
    return _kept(config, data, settings, device, made_from, path, watch)


def _kept(config, data, settings, device, made_from, path, watch):
    """The rows of a sweep, those that are computed kept in a CSV, where those of other runs stay. Raises SweepError."""
    with explained("the grid at birth", path, "a surface", "fewer samples"), files.locked(path.parent):
        rows = _rows_there(path, made_from)
        about = {**made_from, "started": files.now(), **files.provenance(device)}
        files.write_json(_about(path), about)

        def write(rows):
            files.write_whole(path, _as_csv(_all(config, rows)))

        _computed(config, data, settings, device, rows, write, watch)
        text = _as_csv(_all(config, rows))
        files.write_whole(path, text)
        files.write_json(_about(path), {**about, "finished": files.now(), "checksum": files.checksum(text)})
    return _table(config, _rows_there(path, made_from))


def _decides(config):
    plain = config.to_dict()
    return {key: plain[key] for key in (*DECIDES, "init_params", "activation_params") if key in plain}


def _computed(config, data, settings, device, rows, write, watch):
    """All rows as a table: those of `rows`, {name of a run: row}, and the others computed, written one by one."""
    runs = {run.name: run for run in config.runs()}
    costs = {name: parameters(config.of(run), run.layers) for name, run in runs.items()}
    steps = settings["pairs"] + bool(settings["hessian"])
    tasks = [Task(name, {"run": run}, costs[name], steps) for name, run in runs.items() if name not in rows]
    lines = Watched(watch or Lines(_news, unit="surfaces"))

    def record(event):
        if event.results is not None:
            rows[event.task] = event.results
            write(rows)

    def tell(event, fraction, eta):
        lines(Progress(event, len(rows), len(runs), fraction, eta))

    try:
        whole = sum(costs.values())
        lanes.run(tasks, BirthWorker(config, data, settings), record, tell, device=device, whole=whole)
    finally:
        lines.close()
    return _table(config, rows)


def _news(events):
    return [f"latest {events[-1].task}"]


def _table(config, rows):
    """{name of a run: row} as a DataFrame, in the order of the sweep."""
    return pd.DataFrame([rows[run.name] for run in config.runs() if run.name in rows])


def _all(config, rows):
    """The same, and behind them the rows of runs that an earlier start asked for."""
    asked = {run.name for run in config.runs()}
    others = pd.DataFrame([row for name, row in rows.items() if name not in asked])
    return pd.concat([_table(config, rows), others]) if len(others) else _table(config, rows)


def _as_csv(table):
    """Six digits, an empty cell for what is not known, and inf for what is infinite."""
    return table.to_csv(index=False, float_format="%.6g")


def _about(path):
    return Path(path).with_suffix(".json")


def _rows_there(path, made_from):
    """{name of a run: row} of a file that was begun before. Raises ConfigError where it is of other settings."""
    about = files.read_json(_about(path))
    if about is None:
        if path.exists():
            raise ConfigError(f"{path} has no {_about(path).name} beside it that says what it is of; move it away")
        return {}
    _check_made_from(path, about, made_from)
    return {row["run"]: row for row in read_birth(path)[0].to_dict("records")} if path.exists() else {}


def _check_made_from(path, about, made_from):
    """Raise ConfigError for rows that were made from something else."""
    for key, value in made_from.items():
        there = about.get(key) if isinstance(about, dict) else None
        if not log.agrees(there, value):
            raise ConfigError(
                f"{path} holds the grid of other {key} ({shown(there)} there, {shown(value)} here); move it away or "
                "give another path"
            )


def read_birth(path, config=None):
    """(table, what it was made from) as `birth` kept them.

    config  a SweepConfig whose networks and data they must be of; None takes them as they are
    Raises DamagedError; ConfigError for rows of another sweep: one sentence each.
    """
    path, about = Path(path), files.read_json(_about(path))
    try:
        text = path.read_text(encoding="utf-8")
        table = pd.read_csv(path, dtype=dict.fromkeys(["run", "activation", "init"], str), keep_default_na=False,
                            na_values=[""])  # fmt: skip
    except (ValueError, OSError) as error:  # no text, no rows, no file
        raise files.DamagedError(f"{path} cannot be read as CSV ({' '.join(str(error).split())})") from error
    if missing := [name for name in AXES if name not in table]:
        raise files.DamagedError(f"{path} is no grid at birth: it has no column {missing[0]!r}")
    if not isinstance(about, dict) or about.get("checksum") not in (None, files.checksum(text)):
        raise files.DamagedError(f"{path} is damaged: {_about(path).name} has another checksum, or none can be read")
    if config is not None:
        open_sizes = {key for key in ("input_size", "output_size") if getattr(config, key) is None}  # the data's
        _check_made_from(path, about, {key: own for key, own in _decides(config).items() if key not in open_sizes})
    return table, about


class BirthWorker:
    """Begins the surfaces of one run; a worker of `lanes.py`."""

    save_every = SAVE_EVERY

    def __init__(self, config, data, settings):
        self.config, self.settings = config, settings
        chosen = data.probe[: settings["samples"]]
        self.x, self.y = data.x_train[chosen], data.y_train[chosen]

    def begin(self, task):
        return BirthWork(self, task.what["run"])

    def about(self, task):
        return {"run": task.name}

    def halve(self, task, state):
        return None


class BirthWork:
    """The numbers of one run: a step a pair of directions, and one for the Hessian."""

    def __init__(self, worker, run):
        self.worker, self.run, self.step, self.found = worker, run, 0, []
        self.net = networks.build(worker.config, run, torch.float64).to(worker.x.device)

    def advance(self, stop=None):
        of = self.worker.settings
        if self.step < of["pairs"]:
            self.found.append(self._surface(of, self.step))
        else:
            self.found.append({"top_eigenvalue": self._top_eigenvalue()})
        self.step += 1
        return True

    def _surface(self, of, pair):
        given = self.net, of["direction_seed"], of["pairs"]
        drawn = directions.filter_normalised_directions(*given, note=lambda text: None)[pair]
        surface = surfaces.loss_surface(
            self.net, self.worker.x, self.worker.y, drawn, width=of["width"], max_step=of["max_step"]
        )
        found = shape.measures(surface)
        return {"finite": 1 - found.pop("diverged"), **found}

    def _top_eigenvalue(self):
        """The eigenvalue of the largest size; NaN where it cannot be had, as of a loss that is not finite."""
        try:
            (value,), _ = curvature.top_eigenpairs(
                self.net, self.worker.x, self.worker.y, k=1, which="magnitude", tol=TOLERANCE
            )
        except curvature.CurvatureError:
            return np.nan
        return float(value)

    def figures(self):
        return {}

    def state(self):
        return {"step": self.step, "found": self.found}

    def load(self, state):
        self.step, self.found = state["step"], list(state["found"])

    def results(self):
        """The row of the run."""
        axes = {name: getattr(self.run, name) for name in AXES[1:]}
        means = pd.DataFrame(self.found).mean()  # over the pairs; of the eigenvalue, which is known once, itself
        return {"run": self.run.name, **axes, **means.to_dict()}


# ---- who learned


def joined(table, summary, expected=None):
    """The rows of `birth` with what became of the runs: learned, diverged, final_train_acc; and the forecast's columns
    regime and backward, where `expected` (from `theory.forecast`) is given. Runs of both alone.

    trainable  the call of `theory.regime_of`, which sees the network before training alone, as the surface does: the
               forecast's own call knows the learning rate as well
    """
    found = table.merge(summary[["run", "learned", "diverged", "final_train_acc"]], on="run")
    if expected is None:
        return found
    found = found.merge(expected[["run", "regime", "backward"]], on="run")
    return found.assign(trainable=found.regime == "trainable")


def auc(values, learned):
    """The probability that a run that learned has the higher value of two, of which one learned and one did not.

    Ties count half (Mann and Whitney 1947); runs whose value is not known are left out; NaN where one kind is missing.
    """
    known = ~np.isnan(values)
    values, learned = np.asarray(values, float)[known], np.asarray(learned, bool)[known]
    places = pd.Series(values).rank().to_numpy()
    yes, no = learned.sum(), (~learned).sum()
    return (places[learned].sum() - yes * (yes + 1) / 2) / (yes * no) if yes and no else np.nan


def telling(found, numbers=NUMBERS, halves=HALVES, seed=0):
    """How well each number tells who learned: a DataFrame, one row a number or rule.

    found    from `joined`, with the forecast
    numbers  of its columns; those that are missing, or the same throughout, are left out
    halves   how often the cells (activation, init, layers) are halved by chance: thresholds are fitted on the one half
             and counted on the other; all seeds of a cell lie in the same half

    auc, auc_std          of all runs (`auc`; below 0.5 smaller values learned), and its deviation over the seeds
    right, right_std      share of the runs of the other half that are called right, mean and deviation over the
                          halves: by "low <= number <= high"; for the forecast, which is fitted nowhere here, by itself
    by_activation         the same with two thresholds for each activation
    gain, gain_std        the same rule within what the forecast calls trainable and within the rest, minus the share
                          that the forecast alone calls right, in the same half
    auc_yes, auc_no       the AUC among the runs that the forecast expects to train, and among the others: whether the
                          number sees where the forecast is wrong
    unknown               runs in which the number is not known; they are called not to learn

    The rows beside the numbers: "forecast"; "backward", its share of the gradient, with thresholds that are fitted as
    the numbers' are; "all numbers" of the surface at once, by a decision tree of three questions; "depth", the deepest
    that is called to learn, for each activation; "commonest", who are more.
    """
    surface = [name for name in numbers if name in found and found[name].nunique(dropna=False) > 1]
    numbers = [*surface, "backward"]
    learned, trainable = found.learned.to_numpy(bool), found.trainable.to_numpy(bool)
    values = {name: found[name].to_numpy(float) for name in numbers}
    calls = {name: called_by_range(values[name]) for name in numbers}
    calls |= {"all numbers": _called_by_tree(found[surface])}
    with_forecast = {name: _within(call, trainable) for name, call in calls.items()}
    by_activation = {name: _within(call, found.activation.to_numpy()) for name, call in calls.items()}
    calls |= {"forecast": lambda half, learned: trainable}
    calls |= {"depth": called_by_depth(found), "commonest": called_commonest}
    right, gain, known = ({name: [] for name in rules} for rules in (calls, with_forecast, by_activation))
    for half in halved(found, halves, seed):
        other = ~half
        counted = {name: (call(half, learned) == learned)[other].mean() for name, call in calls.items()}
        for name, share in counted.items():
            right[name].append(share)
        for name, call in with_forecast.items():
            gain[name].append((call(half, learned) == learned)[other].mean() - counted["forecast"])
        for name, call in by_activation.items():
            known[name].append((call(half, learned) == learned)[other].mean())
    rows = {}
    for name in calls:
        row = {"right": np.mean(right[name]), "right_std": np.std(right[name], ddof=1)}
        if name in numbers:
            row |= _ranking(values[name], learned, trainable, found.seed.to_numpy())
        if name in gain:
            row |= {"gain": np.mean(gain[name]), "gain_std": np.std(gain[name], ddof=1)}
            row |= {"by_activation": np.mean(known[name])}
        rows[name] = row
    columns = [
        "auc",
        "auc_std",
        "right",
        "right_std",
        "by_activation",
        "gain",
        "gain_std",
        "auc_yes",
        "auc_no",
        "unknown",
    ]
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)


def _ranking(values, learned, trainable, seeds):
    by_seed = [auc(values[seeds == seed], learned[seeds == seed]) for seed in np.unique(seeds)]
    return {
        "auc": auc(values, learned),
        "auc_std": np.std(by_seed, ddof=1) if len(by_seed) > 1 else np.nan,
        "auc_yes": auc(values[trainable], learned[trainable]),
        "auc_no": auc(values[~trainable], learned[~trainable]),
        "unknown": int(np.isnan(values).sum()),
    }


def _called_by_tree(numbers):
    """The same by a tree that asks three questions, one after the other, about the ranks of all numbers."""
    ranks = numbers.rank(na_option="top").to_numpy()

    def call(half, learned):
        if not half.any():
            return np.zeros(len(ranks), bool)
        tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(ranks[half], learned[half])
        return tree.predict(ranks)

    return call


def _within(call, groups):
    """A rule fitted in each group of runs alone."""

    def called(half, learned):
        found = np.zeros(len(learned), bool)
        for group in np.unique(groups):
            mine = groups == group
            found[mine] = call(half & mine, learned)[mine]
        return found

    return called


# ---- in words


def sentences(found, told):
    """What was counted, one sentence a finding.

    found  from `joined`
    told   from `telling`
    """
    learned = int(found.learned.sum())
    numbers = told[told.auc.notna()].drop(index="backward")
    best = numbers.right.idxmax()
    yield (
        f"Of {len(found)} runs {learned} had learned at the last epoch. Called right of those of half of the cells: "
        f"{_right(told, 'forecast')} by the forecast (six depth scales, as Schoenholz et al. 2017 measured); "
        f"{_right(told, 'depth')} by a depth for each activation, fitted on the other half; "
        f"{_right(told, 'commonest')} by what is commoner there (mean of {HALVES} halvings, +- over them)."
    )
    ranks = ", ".join(
        f"{name} {words.mean(row.auc, row.auc_std, '.2f')}" for name, row in numbers.sort_values("auc").iterrows()
    )
    yield f"AUC of the numbers of the surface before training (0.5: they tell nothing; +- over the seeds): {ranks}."
    yield (
        f"Between two thresholds fitted on the other half, the best of them, {best}, calls {_right(told, best)} right, "
        f"all of them together in a tree of three questions {_right(told, 'all numbers')}, the forecast's own share of "
        f"the gradient {_right(told, 'backward')}; {words.share(numbers.right > told.right['forecast'])} numbers call "
        f"more right than the forecast."
    )
    known = numbers.by_activation.idxmax()
    yield (
        f"With thresholds for each activation, the best number, {known}, calls {numbers.by_activation[known]:.1%} "
        f"right, the depth {told.right['depth']:.1%}; {words.share(numbers.by_activation > told.right['depth'])} "
        "numbers call more right than the depth."
    )
    most = told.gain.drop("backward").idxmax()
    wrong = int((found.trainable != found.learned).sum())
    yield (
        f"The forecast is wrong in {wrong} of {len(found)} runs. With what adds most to it, {most}, "
        f"{words.mean(100 * told.gain[most], 100 * told.gain_std[most], '+.1f', '.1f')} % of the runs more are called "
        f"right; its own share of the gradient, fitted, adds "
        f"{words.mean(100 * told.gain['backward'], 100 * told.gain_std['backward'], '+.1f', '.1f')} %."
    )
    flat = found[found.sharpness == 0]
    yield (
        f"{len(flat)} surfaces are constant to rounding within the radius of sharpness "
        f"({words.names(flat.init) or 'none'}), {int((found.finite < 1).sum())} have points whose loss is not finite."
    )


def held(found, told):
    """EXPECTED, part by part: a DataFrame of what was expected, what was seen, and whether it held."""
    regimes = found.groupby("regime").sharpness.median()
    plains = regimes[[name for name in ("vanishing", "collapsed") if name in regimes]]
    auc, top, most = told.auc, told.right[told.auc.notna()].drop("backward"), told.gain.drop("backward")
    away = {name: abs(auc[name] - 0.5) for name in ("sharpness", "roughness", "convex_share")}
    rows = [
        (
            "vanishing and collapsed: less sharp than trainable",
            ", ".join(f"{name} {words.number(value, '.2g')}" for name, value in regimes.items()),
            bool((plains < regimes.get("trainable", np.inf)).all()),
        ),
        ("AUC of sharpness 0.7 to 0.9", f"{auc['sharpness']:.2f}", 0.7 <= auc["sharpness"] <= 0.9),
        (
            "roughness and the convex share rank worse than sharpness",
            f"{auc['roughness']:.2f} and {auc['convex_share']:.2f}",
            max(away["roughness"], away["convex_share"]) < away["sharpness"],
        ),
        ("convex share: smaller where it learns", f"AUC {auc['convex_share']:.2f}", auc["convex_share"] < 0.5),
        (
            "no number calls as many right as the forecast",
            f"best {top.idxmax()} {top.max():.1%}, forecast {told.right['forecast']:.1%}",
            top.max() < told.right["forecast"],
        ),
        (
            "no number adds 3 % to the forecast",
            f"most {most.idxmax()} {100 * most.max():+.1f} %",
            most.max() < 0.03,
        ),
    ]
    return pd.DataFrame(rows, columns=["expected", "seen", "held"])


def _right(told, name):
    return words.mean(100 * told.right[name], 100 * told.right_std[name], ".1f") + " %"


# ---- a run by its name, before and after training


def dead_and_living(results, layers=None):
    """(name of a run that never learned, name of one that did): alike but for the init, as deep as there are two.

    layers  of this depth alone, where given
    """
    results.check_one_of_each()
    rows = results.summary[~results.summary.diverged]
    rows = rows if layers is None else rows[rows.layers == layers]
    for _, alike in sorted(rows.groupby(["layers", "activation", "seed"], sort=False), key=lambda pair: -pair[0][0]):
        dead, living = alike[~alike.learned & (alike.init != "zero")], alike[alike.learned]
        if len(dead) and len(living):
            return dead.run.iloc[0], living.loc[living.final_train_acc.idxmax()].run
    raise ConfigError(f"{results.folder} has no two runs that differ in the init alone, of which one learned")


@usual_torch()
def before_and_after(config, run, epoch=None, *, width=15, max_step=1.0, samples=128, direction_seed=0):
    """(surface before training, surface after it) of one run of a sweep, which is trained again.

    config  a SweepConfig, or a CONFIG as a manifest holds it
    run     a Run, or its name
    epoch   after which epoch; the last where left out

    One seed of directions and one scale serve both, and every run that is compared. Raises as `sweep.rebuild` does.
    """
    config = config if isinstance(config, SweepConfig) else SweepConfig.from_dict(config)
    data = datasets.load(config, resolve_device(config), torch.float64)
    chosen = data.probe[:samples]
    x, y = data.x_train[chosen], data.y_train[chosen]
    about, drawn = {"data": data_in_words(config), "images": len(y), "direction_seed": direction_seed}, []
    for at in (0, epoch):
        net = rebuild(config, run, at).to(x.device, x.dtype)
        (pair,) = directions.filter_normalised_directions(net, direction_seed)
        surface = surfaces.loss_surface(net, x, y, pair, width=width, max_step=max_step)
        drawn.append(dataclasses.replace(surface, settings=surface.settings | about))
    return tuple(drawn)
