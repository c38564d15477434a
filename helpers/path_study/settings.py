"""The settings of a path study: which solutions are trained, which curves join them, what is sampled around those.

    CONFIG  where things are, and defaults for all parts
    PARTS   {name: {"what": a kind of DEFAULTS, and what differs}}

`study_settings` holds both against tables of checks and returns `Settings`; every mistake is one sentence.

    posteriors  of data sets: an ensemble, the curve between its first two members, and posteriors in `spaces`
    curves      of data sets: two solutions a cell, and the curve between them; no chains
    sweep       of the runs of a sweep, trained again: pairs of one depth, and the curve between them
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

from helpers import elsewhere
from helpers.activations import ACTIVATIONS
from helpers.activations import ELSEWHERE as ACTIVATIONS_ELSEWHERE
from helpers.checks import (
    ConfigError,
    flag,
    list_of,
    name_in,
    one_of,
    optional,
    path,
    plain,
    positive,
    refuse,
    shown,
    whole,
)
from helpers.config import CHECKS, SweepConfig, with_later_keys
from helpers.data import DATASETS, TABLES
from helpers.initializers import ELSEWHERE as INITS_ELSEWHERE
from helpers.initializers import INITIALIZERS
from helpers.records import load_sweep
from helpers.study_settings import Allowed, Settings, completed, each_once, save_dir_or

MOST_K = 200
SPACES = ("line", "tunnel", "volume", "full", "mile")
OF_ENSEMBLE = ("full", "mile")  # the spaces that no curve is needed for
PAIRS = ("seeds", "inits")
LEAST_PARTICLES = 8  # of a tempered population

# what all kinds share: the curve
CURVE_DEFAULTS = {
    "k": [3],
    "curve_lr": 5e-3,
    "curve_steps": 1000,
    "samples": 8,
    "points": 51,
}
# solutions trained here
SOLUTION_DEFAULTS = {
    "datasets": ["diabetes"],
    "train_size": None,
    "test_size": None,
    "seeds": [0],
    "network": "mlp",
    "activations": ["relu"],  # as the earlier study; its kinks are what NUTS has to live with, see `curves`
    "layers_list": [3],
    "hidden_size": 16,
    "init": "he_normal",
    "prior_sd": 0.3,
    "lr": 5e-3,
    "steps": 2000,
    "batch_size": None,
}
POSTERIOR_DEFAULTS = {
    "ensemble": 10,
    "spaces": ["line", "tunnel", "volume"],
    "sampler": "nuts",  # or "mclmc", or "smc": a population of `draws` particles a chain, tempered from the prior
    "full_sampler": "nuts",
    "chains": 4,
    "warmup": 1000,
    "draws": 1000,
    "thin": 10,
    "full_temperature": 1.0,
    "temperatures": [1.0, 2.154, 4.642, 10.0, 21.54, 46.42, 100.0, 215.4, 464.2],
    "radius": 0.1,
    "whiten": False,
    "volume": "speed",
}
SWEEP_DEFAULTS = {
    "sweep": {
        "dataset": "digits", "layers_list": [3, 10], "init_types": ["he_normal", "normal"], "activations": ["relu"],
        "seeds": [0, 1], "hidden_size": 32, "num_epochs": 5,
    },
    "pairs": ["seeds", "inits"],
    "activations": None,  # these four choose other values than the sweep has
    "init_types": None,
    "layers_list": None,
    "seeds": None,
}  # fmt: skip
CHOICES = ("activations", "init_types", "layers_list", "seeds")
DEFAULTS = {
    "posteriors": {**CURVE_DEFAULTS, **SOLUTION_DEFAULTS, **POSTERIOR_DEFAULTS},
    "curves": {**CURVE_DEFAULTS, **SOLUTION_DEFAULTS},
    "sweep": {**CURVE_DEFAULTS, **SWEEP_DEFAULTS},
}
AXES = (
    "datasets",
    "seeds",
    "activations",
    "layers_list",
    "k",
    "spaces",
    "pairs",
)  # lists that a later start may extend
DATA_ELSEWHERE = elsewhere.DATASETS


def _sweep(key, value):
    """A CONFIG of a sweep, or the folder of one."""
    if isinstance(value, str):
        return path(key, value)
    if not isinstance(value, dict):
        refuse(key, value, "a dict, the CONFIG of a sweep, or the folder of a sweep's results")
    _sweep_config(key, value)
    return plain(key, value)


def _sweep_config(key, value):
    """The SweepConfig of a sweep. Raises ConfigError, which begins with what the sweep is called."""
    try:
        return SweepConfig.from_dict(value, what=key)
    except ConfigError as error:
        said = str(error)
        raise ConfigError(said if said.startswith(f"{key} ") else f"{key}: {said}") from error


PART_CHECKS = {
    "k": list_of(whole(1, MOST_K)),
    "curve_lr": positive,
    "curve_steps": whole(1),
    "samples": whole(1, 10_000),
    "points": whole(3, 10_001),
    "datasets": list_of(name_in((*TABLES, *DATASETS), DATA_ELSEWHERE)),
    "train_size": CHECKS["train_size"],
    "test_size": CHECKS["test_size"],
    "seeds": CHECKS["seeds"],
    "network": one_of("mlp", "convnet"),
    "activations": list_of(name_in(ACTIVATIONS, ACTIVATIONS_ELSEWHERE)),
    "layers_list": CHECKS["layers_list"],
    "hidden_size": whole(1, 10_000),
    "prior_sd": optional(positive),
    "lr": positive,
    "steps": whole(1),
    "batch_size": optional(whole(1)),
    "ensemble": whole(2, 1000),
    "spaces": list_of(one_of(*SPACES)),
    "sampler": one_of("nuts", "mclmc", "smc"),
    "full_sampler": one_of("nuts", "mclmc"),
    "chains": whole(4, 1000),
    "warmup": whole(1),
    "draws": whole(4),
    "thin": whole(1),
    "full_temperature": positive,
    "temperatures": list_of(positive),
    "radius": positive,
    "whiten": flag,
    "volume": one_of("speed", "jacobian"),
    "sweep": _sweep,
    "pairs": list_of(one_of(*PAIRS)),
    "init": name_in(INITIALIZERS, INITS_ELSEWHERE),
    "init_types": CHECKS["init_types"],
}
STUDY_DEFAULTS = {"data_dir": "data", "save_dir": "results/local/paths", "device": "cpu", "resume": True}
STUDY_CHECKS = {**{key: CHECKS[key] for key in ("data_dir", "resume", "cluster")}, "save_dir": optional(path)}
STUDY_CHECKS["device"] = one_of("cpu")  # as JAX is held to it: networks and rows are small
# CONFIG speaks of solutions that are trained here; a sweep has its own
ALLOWED = Allowed("PARTS", DEFAULTS, PART_CHECKS, STUDY_CHECKS, STUDY_DEFAULTS, CHOICES)


# ---- plans


@dataclass(frozen=True)
class Cell:
    """Solutions that are trained together, or a pair of a sweep's runs, and the settings of their part.

    part      name in PARTS
    settings  completed, a dict
    data, activation, layers, seed   layers is None for a convnet
    hidden_size  None of a convnet
    runs      names of the two runs of a sweep; None where the solutions are members of an ensemble
    ends      what the two solutions are, in words
    """

    part: str
    settings: dict
    data: str
    activation: str
    layers: int | None
    hidden_size: int | None
    seed: int
    runs: tuple | None = None
    ends: str = "two members"

    @property
    def key(self):
        if self.runs:
            return "--".join([self.part, *self.runs])
        depth = [] if self.layers is None else [f"{self.layers}L"]
        return "--".join([self.part, self.data, self.activation, *depth, f"s{self.seed}"])

    @property
    def members(self):
        return self.settings.get("ensemble", 2)


@dataclass(frozen=True)
class Plan:
    """A task: what to `do` for a cell, and whose results it needs.

    do     "members", "run", "curve", or a space of SPACES
    k      of the curve; None where there is none
    run    name of the sweep's run to train again
    needs  keys of other plans
    """

    do: str
    cell: Cell
    k: int | None = None
    run: str | None = None

    @property
    def curve(self):
        return None if self.k is None else f"{self.cell.key}--k{self.k}"

    @property
    def key(self):
        if self.do == "run":
            return f"{self.cell.part}--{self.run}"
        if self.do == "curve":
            return self.curve
        return f"{self.curve or self.cell.key}--{self.do}"

    @property
    def needs(self):
        """The keys of the plans whose weights and numbers this one takes."""
        cell = self.cell
        if self.do in ("members", "run"):
            return ()
        ends = [Plan("run", cell, run=run).key for run in cell.runs] if cell.runs else [Plan("members", cell).key]
        if self.do == "curve" or self.k is None:
            return tuple(ends)
        line = [] if self.do == "line" else [Plan("line", cell, self.k).key]
        return (*ends, self.curve, *line)

    def columns(self, table=None):
        """The columns that each of its rows begins with, whatever the table."""
        cell = self.cell
        own = {"part": cell.part, "data": cell.data, "activation": cell.activation, "layers": cell.layers}
        return own | {"hidden_size": cell.hidden_size, "seed": cell.seed, "k": self.k, "curve": self.curve}

    def to_dict(self):
        """What decides its numbers, as plain JSON."""
        own = {key: value for key, value in self.cell.settings.items() if key not in AXES}
        return {"do": self.do, "key": self.key, "settings": own}

    @property
    def phase(self):
        """Phases are worked on one after another: solutions, curves, exact lines, chains."""
        return {"members": 0, "run": 0, "curve": 1, "line": 2}.get(self.do, 3)


def cells_of(settings):
    """The cells of a study, each once."""
    return list({plan.cell.key: plan.cell for plan in settings.plans}.values())


def save_dir_of(config):
    """Where the results of a CONFIG go, before it has been checked. Raises ConfigError for what is no path."""
    return save_dir_or(config, STUDY_DEFAULTS["save_dir"])


def study_settings(config, parts):
    """The Settings of CONFIG and PARTS. Raises ConfigError, one sentence, for what cannot be done."""
    study, parts = completed(ALLOWED, config, parts, _check_part)
    plans = (plan for name, own in parts.items() for plan in _plans(name, own, study))
    return Settings(study, parts, each_once(plans, ALLOWED.name))


def _check_part(where, what, own):
    """Raise ConfigError for settings that do not go together."""
    if what == "sweep":
        return
    images = [name for name in own["datasets"] if name not in TABLES]
    if own["network"] == "convnet" and (tables := [name for name in own["datasets"] if name in TABLES]):
        raise ConfigError(
            f"{where} has a convnet for {tables[0]}, which is a table; allowed are images, or network mlp"
        )
    if own["test_size"] and len(images) < len(own["datasets"]):
        raise ConfigError(f"{where} has a test_size, which tables do not take: their split is 70, 10 and 20 percent")
    if what == "posteriors" and own["sampler"] == "smc" and own["draws"] < LEAST_PARTICLES:
        raise ConfigError(
            f"{where} has {own['draws']} draws, the particles of each of smc's populations; allowed are "
            f"{LEAST_PARTICLES} or more"
        )
    if what == "posteriors" and "tunnel" in own["spaces"] and 1 in own["k"]:
        raise ConfigError(f"{where} asks for a tunnel around k = 1, a straight line without a normal; allowed is k > 1")


def _plans(name, own, study):
    if own["what"] == "sweep":
        yield from _sweep_plans(name, own, study)
        return
    sizes = [(layers, own["hidden_size"]) for layers in own["layers_list"]]
    sizes = sizes if own["network"] == "mlp" else [(None, None)]
    for data, activation, size, seed in itertools.product(own["datasets"], own["activations"], sizes, own["seeds"]):
        cell = Cell(name, own, data, activation, *size, seed)
        yield Plan("members", cell)
        spaces = own.get("spaces", [])
        for k in own["k"]:
            yield Plan("curve", cell, k)
            if own["what"] == "posteriors":
                yield Plan("line", cell, k)  # which the others take their temperature from
            yield from (Plan(space, cell, k) for space in spaces if space not in ("line", *OF_ENSEMBLE))
        yield from (Plan(space, cell) for space in spaces if space in OF_ENSEMBLE)


def sweep_of(own, study):
    """The SweepConfig of a part's sweep. Raises ConfigError where its folder holds none."""
    given = own["sweep"]
    if isinstance(given, str):
        try:
            given = load_sweep(Path(given)).manifest["config"]
        except (ValueError, OSError) as error:
            raise ConfigError(f"sweep is {shown(own['sweep'])}, which cannot be read: {error}") from error
    beside = {"data_dir": study["data_dir"], "device": study["device"], "cluster": None, "stack_size": "auto"}
    chosen = {key: own[key] for key in CHOICES if own[key]}
    if isinstance(own["sweep"], str):
        for key, values in chosen.items():
            if strange := [value for value in values if value not in given.get(key, values)]:
                refuse(key, strange[0], f"a choice among those of {own['sweep']}: {', '.join(map(str, given[key]))}")
    return _sweep_config("sweep", {**with_later_keys(given), **beside, **chosen})


def _sweep_plans(name, own, study):
    config, groups = sweep_of(own, study), {}
    for run in config.runs():
        for pair in own["pairs"]:
            same = (pair, run.activation, run.layers, run.varied, run.init if pair == "seeds" else run.seed)
            groups.setdefault(same, []).append(run)
    for (pair, activation, layers, *_), those in groups.items():
        for a, b in itertools.pairwise(those):
            if getattr(a, pair[:-1]) == getattr(b, pair[:-1]):
                continue
            width = a.hidden_size or config.hidden_size
            cell = Cell(name, own, config.dataset, activation, layers, width, a.seed, (a.name, b.name), f"two {pair}")
            yield from (Plan("run", cell, run=run.name) for run in (a, b))
            yield from (Plan("curve", cell, k) for k in own["k"])
