"""CONFIG: from the dict at the top of a notebook to a frozen, validated `SweepConfig`.

Every mistake is one sentence: which key, what came, what is allowed, and for a misspelt name which was meant.
"""

import copy
import dataclasses
import itertools
import math
import os
import re
from dataclasses import dataclass
from functools import cache, cached_property

import torch

from helpers import elsewhere
from helpers.activations import ACTIVATIONS, FAMILIES, row_of_family
from helpers.activations import ELSEWHERE as ACTIVATIONS_ELSEWHERE
from helpers.axes import SETTINGS, WITH_MOMENTUM, columns, in_name
from helpers.checks import (
    MOST_BYTES,
    ConfigError,
    apart,
    checked,
    flag,
    folded,
    list_of,
    name_in,
    non_negative,
    number,
    one_of,
    optional,
    own_name,
    path,
    positive,
    refuse,
    shown,
    whole,
)
from helpers.data import DATASETS, FROM_PATHS, source_of
from helpers.initializers import ELSEWHERE as INITS_ELSEWHERE
from helpers.initializers import INITIALIZERS, registered_inits

PRECISIONS = {
    "float64": torch.float64,
    "float32": torch.float32,
    "tf32": torch.float32,  # float32 numbers whose products are rounded to 10 bits, on CUDA
    "bf16": torch.bfloat16,  # products and activations; the weights themselves stay in float32
}
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw")
MOMENTUM = 0.9  # the default of CONFIG["momentum"]
STACK_SETTINGS = tuple(setting for setting in SETTINGS if setting != "lr")  # a stack has one of each
BUILT_IN_INITS = tuple(INITIALIZERS)
# what is asked for beyond these cannot be had: each epoch is a row of a table in memory, each layer a matrix
MOST_RUNS, MOST_EPOCHS, MOST_LAYERS, MOST_UNITS, MOST_SEGMENTS = 100_000, 1_000_000, 10_000, 100_000, 100_000
MOST_MEASURED = 2**26  # numbers in the table of one run, half a GiB
LEAST_SIZE, MOST_SIZE = 1e-30, 1e30  # of a parameter and a learning rate
# bytes of a file's name that follow a run's own: "+191.pt" of a state, and while it is written ".4194304.part"
ENDINGS = 40
DEVICES = ("auto", "cuda", "mps", "cpu")
ROWS_ELSEWHERE = {"init": INITS_ELSEWHERE, "activation": ACTIVATIONS_ELSEWHERE}
PUBLISHED_INITS = (
    "he_normal",
    "he_uniform",
    "xavier_normal",
    "xavier_uniform",
    "normal",
    "zero",
    "orthogonal",
    "trunc_normal",
)


@dataclass(frozen=True, order=True)
class Run:
    """One network, from its first weights to its last epoch: a cell of the sweep's grid.

    lr, hidden_size, batch_size, optimizer
            its own settings; None, as of a run that is only named or drawn, stands for what CONFIG gives for all
    varied  ((setting, value), ...) of those of which CONFIG has a list: they are in its name
    """

    init: str
    activation: str
    layers: int
    seed: int
    lr: float | None = dataclasses.field(default=None, compare=False)
    hidden_size: int | None = dataclasses.field(default=None, compare=False)
    batch_size: int | None = dataclasses.field(default=None, compare=False)
    optimizer: str | None = dataclasses.field(default=None, compare=False)
    varied: tuple = ()

    @property
    def name(self):
        """Its own among all runs of a sweep: that of its files."""
        return self._name_with(joined(self.init, self.activation))

    @property
    def earlier_name(self):
        """What earlier versions called it, and maybe another run of its sweep, too."""
        return self._name_with(f"{self.init}_{self.activation}")

    def _name_with(self, both):
        marks = "".join(f"_{MARKS[setting]}{in_name(value)}" for setting, value in self.varied)
        return f"{both}_{self.layers}L{marks}_s{self.seed}"


# how a run's name says which of several settings it has: "_lr0.1", "_h64", "_b32", "_adam"
MARKS = {"lr": "lr", "hidden_size": "h", "batch_size": "b", "optimizer": ""}


@cache
def joined(init, activation):
    """Two names as one from which both can be read again: joined by _ where `split` finds them, else by --.

    Neither has -- in it. Names of one sweep differ by more than upper and lower case, and so do joined ones.
    """
    text = f"{init}_{activation}"
    return text if split(text) == (init, activation) else f"{init}--{activation}"


def split(text):
    """(init, activation) of two names joined by _: the first _ before a letter parts them, beyond a built-in init."""
    inits = [len(init) for init in BUILT_IN_INITS if folded(text[: len(init)]) == init]
    parting = re.compile(r"_(?=[^\W\d_])").search(text, max(inits, default=0))
    return (text[: parting.start()], text[parting.end() :]) if parting else None


@dataclass(frozen=True)
class SweepConfig:
    """One sweep, complete: every key of CONFIG with its value. `from_dict` makes it."""

    dataset: str = "digits"
    data_dir: str = "data"
    layers_list: tuple = (5, 10, 20, 30, 40, 50)
    init_types: tuple = PUBLISHED_INITS
    activations: tuple = ("relu", "tanh", "sigmoid", "gelu")
    init_params: dict = dataclasses.field(default_factory=dict)
    activation_params: dict = dataclasses.field(default_factory=dict)
    hidden_size: int | tuple = 128  # a tuple where it is an axis, and so the others of SETTINGS
    input_size: int | None = None
    input_square: float | None = None
    output_size: int | None = None
    num_epochs: int | None = None
    lr: float | tuple | None = None
    batch_size: int | tuple | None = None
    optimizer: str | tuple = "sgd"
    momentum: float | None = None  # of an optimizer that has one
    weight_decay: float = 0.0
    seeds: tuple = (0,)
    normalize: bool = False
    train_size: int | None = None
    test_size: int | None = None
    device: str = "auto"
    precision: str = "float32"
    stack_size: int | str = "auto"
    save_dir: str | None = None
    cluster: str | None = None
    resume: bool | str = True
    keep_state: bool = False
    # the functions behind the names of `activations`, as the table had them when this CONFIG was made
    rows: dict = dataclasses.field(default_factory=dict, compare=False, repr=False)
    init_rows: dict = dataclasses.field(default_factory=dict, compare=False, repr=False)  # likewise, of `init_types`

    def __getstate__(self):
        """Without the functions, many of which cannot be pickled: another process finds them in its tables."""
        return {**self.__dict__, "rows": {}, "init_rows": {}}

    @classmethod
    def from_dict(cls, config, what="CONFIG"):
        """Validate CONFIG and fill in what it leaves out. Raises ConfigError, one sentence with its name, `what`."""
        return _from_dict(cls, config, what)

    def to_dict(self):
        """The completed CONFIG, as plain lists, numbers and strings: `from_dict` of it gives the same again."""
        plain = {key: copy.deepcopy(getattr(self, key)) for key in CHECKS}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @property
    def lrs(self):
        """All learning rates of the sweep, mostly one."""
        return self.values_of("lr")

    def values_of(self, setting):
        """The values of one of SETTINGS, mostly one."""
        value = getattr(self, setting)
        return value if isinstance(value, tuple) else (value,)

    def of(self, run):
        """The same config with the width, batch size and optimizer of one run, where it has several."""
        if not any(isinstance(getattr(self, setting), tuple) for setting in STACK_SETTINGS):
            return self
        own = {setting: getattr(run, setting) for setting in STACK_SETTINGS}
        own = {setting: value for setting, value in own.items() if value is not None}
        if not _has_momentum(own.get("optimizer", self.optimizer)):
            own["momentum"] = None
        key = tuple(own.items())
        if key not in self._narrowed:
            self._narrowed[key] = dataclasses.replace(self, **own)
        return self._narrowed[key]

    @cached_property
    def _narrowed(self):
        return {}

    def runs(self):
        """All runs of the sweep, in the order of CONFIG."""
        return list(self.named.values())

    def axes(self):
        """The values along each axis of the grid, in the order of a Run's fields."""
        return self.init_types, self.activations, self.layers_list, self.seeds, *map(self.values_of, SETTINGS)

    @cached_property
    def named(self):
        """{name: run}, all runs of the sweep in the order of CONFIG."""
        lists = [(i, setting) for i, setting in enumerate(SETTINGS, 4) if isinstance(getattr(self, setting), tuple)]
        cells = itertools.product(*self.axes())
        runs = (Run(*cell, varied=tuple((setting, cell[i]) for i, setting in lists)) for cell in cells)
        return {run.name: run for run in runs}

    def row_of(self, init):
        """The row of INITIALIZERS behind a name in `init_types`: the name itself, or that of which it is a variant."""
        return self.init_params[init].get("init", init)

    def activation(self, name):
        """The row behind a name in `activations`: of the table, or of a family with this CONFIG's parameters.

        One that is registered anew under the name changes nothing here: a sweep trains what it was made with.
        """
        if name in self.rows:
            return self.rows[name]
        if name not in self.activation_params:
            return ACTIVATIONS[name]
        params = dict(self.activation_params[name])
        return row_of_family(params.pop("activation", name), params)

    def fitted_to(self, data):
        """The same config with `input_size`, `output_size` and `input_square`, the mean of the squared inputs.

        Raises ConfigError where the sizes disagree.
        """
        for key, actual in (("input_size", data.input_size), ("output_size", data.output_size)):
            given = getattr(self, key)
            if given is not None and given != actual:
                raise ConfigError(
                    f"{key} is {given}, but {self.dataset} has {actual}; allowed is {actual}, or to leave it out"
                )
        if (largest := max(self.values_of("batch_size"))) > data.train_size:
            raise ConfigError(
                f"batch_size is {largest}, but there are only {data.train_size} training samples; "
                f"allowed is 1 to {data.train_size}"
            )
        sizes = {"input_size": data.input_size, "output_size": data.output_size}
        return dataclasses.replace(self, **sizes, input_square=float(f"{data.input_square:.6g}"))


# ---- the checks of each key


def _dataset(key, value):
    kind, _, where = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind in FROM_PATHS and where.strip():
        found = path(key, where.strip())
        return f"{kind}:{found if where.strip().startswith('~') else where.strip().rstrip('/') or '/'}"
    return name_in((*DATASETS, "folder:<path>", "arrays:<file.npz>"), elsewhere.DATASETS)(key, value)


def _momentum(key, value):
    value = non_negative(key, value)
    if value >= 1:
        refuse(key, value, "a number from 0 up to, but not, 1")
    return value


def _stack_size(key, value):
    if isinstance(value, str) and value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        refuse(key, value, '"auto" or a whole number from 1 up')
    return min(value, MOST_RUNS)


def _sized(check):
    """A number of some size: products and squares of others are no numbers any more."""

    def check_size(key, value):
        kept = check(key, value)
        if kept != 0 and not LEAST_SIZE <= abs(kept) <= MOST_SIZE:
            refuse(key, value, f"a number whose size is between {LEAST_SIZE:g} and {MOST_SIZE:g}, or 0")
        return kept

    return check_size


PARAMETERS = {
    "factor": _sized(positive),
    "mode": one_of("fan_in", "fan_out"),
    "gain": _sized(positive),
    "scale": _sized(positive),
    "mean": _sized(number),
    "std": _sized(non_negative),
    "a": number,
    "b": number,
    "sigma_w2": _sized(non_negative),
    "sigma_b2": _sized(non_negative),
}


def _cluster(key, value):
    """Where stacks train: None, here; "local", in worker processes of this machine; or a Dask scheduler's address."""
    if value != "local" and not (isinstance(value, str) and re.fullmatch(r"(tcp|tls)://\S+:\d+", value)):
        refuse(key, value, 'None, "local", or the address of a Dask scheduler, like "tcp://host:8786"')
    return value


def _init_params(key, value):
    """Per init the parameters that are given, completed with the defaults of its row.

    A name that is no row of the table is a variant: {"init": its row, and parameters that differ from the defaults}.
    """
    if not isinstance(value, dict):
        refuse(key, value, "a dict from an init to its parameters")
    params = {init: _params_of(f"{key}[{init!r}]", init, value.get(init, {})) for init in INITIALIZERS}
    for name in value:
        if name not in INITIALIZERS:
            params[name] = _variant(key, name, value[name], "init", INITIALIZERS, _params_of)
    return params


def _variant(key, name, given, kind, table, params_of):
    """Parameters under a name of their own; the entry `kind` of `given` names the row that they are of."""
    if not isinstance(given, dict) or kind not in given:
        name_in(table, ROWS_ELSEWHERE[kind])(
            f"{key} (a variant of an {kind} under a name of its own says which: {{{kind!r}: ...}})", name
        )
    where = f"{key}[{name!r}]"
    own_name(f"the name of {where}", name)
    row = name_in(table, ROWS_ELSEWHERE[kind])(f"{where}[{kind!r}]", given[kind])
    return {kind: row, **params_of(where, row, {k: v for k, v in given.items() if k != kind})}


def _params_of(where, init, given):
    defaults = INITIALIZERS[init].defaults
    if given and not defaults:
        raise ConfigError(f"{where} is {shown(given)}, but {init} has no parameters; allowed is to leave it out")
    choices = {name: one_of(*values) for name, values in INITIALIZERS[init].choices.items()}
    checks = {name: choices.get(name) or PARAMETERS[name] for name in defaults}
    params = {**defaults, **checked(given, checks, where, within=True, elsewhere=elsewhere.PARAMETERS)}
    if init == "trunc_normal" and params["a"] >= params["b"]:
        raise ConfigError(f"{where} cuts at a = {params['a']} and b = {params['b']}; a must lie below b")
    if init == "trunc_normal" and (params["a"] > 8 or params["b"] < -8):
        raise ConfigError(f"{where} cuts at a = {params['a']} and b = {params['b']}; allowed is a <= 8 and b >= -8")
    return params


def _activation_params(key, value):
    """Per family of activations its parameters, completed, and variants of them: as `_init_params` for inits."""
    if not isinstance(value, dict):
        refuse(key, value, "a dict from an activation to its parameters")
    params = {name: _family_params(f"{key}[{name!r}]", name, value.get(name, {})) for name in FAMILIES}
    for name in value:
        if name in FAMILIES:
            continue
        if name in ACTIVATIONS:
            raise ConfigError(f"{key} names {name!r}, which has no parameters; those that have: {', '.join(FAMILIES)}")
        params[name] = _variant(key, name, value[name], "activation", FAMILIES, _family_params)
    return params


def _family_params(where, family, given):
    defaults = FAMILIES[family].defaults
    plain = {name: _like(value) for name, value in defaults.items()}
    params = {**defaults, **checked(given, plain, where, within=True)}
    try:
        row_of_family(family, params)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    return params


def _like(default):
    """A plain value; whether it is in the family's range, the family knows."""

    def check(key, value):
        if not isinstance(value, str | bool | int | float):
            refuse(key, value, f"a value like {default!r}")
        if type(default) is int and type(value) is int and value > MOST_SEGMENTS:
            refuse(key, value, f"a whole number up to {MOST_SEGMENTS:,}")
        if type(value) is float and math.isfinite(value):  # the family says what else a number must be
            return _sized(number)(key, value)
        return value

    return check


def _resume(key, value):
    """True goes on, False trains everything again, "force" goes on although the data or the code has changed."""
    if not isinstance(value, bool) and value != "force":
        refuse(key, value, 'True, False or "force"')
    return value


def _one_or_list(check):
    """A value, or a list of values: then the setting is an axis of the sweep."""
    return lambda key, value: list_of(check)(key, value) if isinstance(value, list) else check(key, value)


def _name_beside(table):
    """A name of a row or of a variant, which is looked up later, where both are known."""
    return lambda key, value: value if isinstance(value, str) else name_in(table)(key, value)


# the check of one value of each of SETTINGS
ONE = {
    "lr": _sized(positive),
    "hidden_size": whole(1, MOST_UNITS),
    "batch_size": whole(1),
    "optimizer": name_in(OPTIMIZERS, elsewhere.OPTIMIZERS),
}
# the keys of CONFIG; where one is optional, None stands for what suits the data
CHECKS = {
    "dataset": _dataset,
    "data_dir": path,
    "layers_list": list_of(whole(1, MOST_LAYERS)),
    "init_types": list_of(_name_beside(INITIALIZERS)),
    "activations": list_of(_name_beside(ACTIVATIONS)),
    "init_params": _init_params,
    "activation_params": _activation_params,
    "hidden_size": _one_or_list(ONE["hidden_size"]),
    "input_size": optional(whole(1)),
    "input_square": optional(positive),
    "output_size": optional(whole(2)),
    "num_epochs": optional(whole(1, MOST_EPOCHS)),
    "lr": optional(_one_or_list(ONE["lr"])),
    "batch_size": optional(_one_or_list(ONE["batch_size"])),
    "optimizer": _one_or_list(ONE["optimizer"]),
    "momentum": optional(_momentum),
    "weight_decay": _sized(non_negative),
    "seeds": list_of(whole(0)),
    "normalize": flag,
    "train_size": optional(whole(1)),
    "test_size": optional(whole(1)),
    "device": name_in(DEVICES, elsewhere.DEVICES),
    "precision": name_in(PRECISIONS, elsewhere.PRECISIONS),
    "stack_size": _stack_size,
    "save_dir": optional(path),
    "cluster": optional(_cluster),
    "resume": _resume,
    "keep_state": flag,
}


def with_later_keys(config):
    """A completed CONFIG of an earlier Plumbline, or a part of one, with the keys and parameters that came later.

    Each at the value that it stood for then.
    """
    later = {"momentum": MOMENTUM if _has_momentum(config.get("optimizer")) else None, "weight_decay": 0.0}
    completed = {"activation_params": {}, **later, **config}
    tables = {"init": INITIALIZERS, "activation": FAMILIES}
    for kind, table in tables.items():
        params = completed.get(f"{kind}_params")
        if isinstance(params, dict):
            completed[f"{kind}_params"] = {name: _with_later(name, of, kind, table) for name, of in params.items()}
    return completed


def _has_momentum(optimizer):
    """Whether an optimizer, or one of several, has CONFIG["momentum"]."""
    return any(name in WITH_MOMENTUM for name in (optimizer if isinstance(optimizer, list | tuple) else [optimizer]))


def _with_later(name, params, kind, table):
    if not isinstance(params, dict):
        return params
    row = params.get(kind, name)
    return {**(table[row].defaults if isinstance(row, str) and row in table else {}), **params}


def save_dir_of(config):
    """Where the results of a CONFIG go, before it has been validated. Raises ConfigError for what is no path."""
    given = config if isinstance(config, dict) else {}
    dataset = given.get("dataset", "digits")
    save_dir = optional(path)("save_dir", given.get("save_dir"))
    return save_dir or default_save_dir(dataset if isinstance(dataset, str) else "digits")


def default_save_dir(dataset):
    """A folder named like the data set, like the folder that it lies in, or like the file of its arrays."""
    kind, colon, where = dataset.partition(":")
    return (
        f"results/local/{os.path.basename(os.path.abspath(where)).removesuffix('.npz') or kind if colon else dataset}"
    )


def _from_dict(cls, config, what):
    values = {
        key: value
        for key, value in checked(config, CHECKS, what, elsewhere=elsewhere.KEYS).items()
        if value is not None
    }
    values.setdefault("init_params", _init_params("init_params", {}))
    values.setdefault("activation_params", _activation_params("activation_params", {}))
    for init in values.get("init_types", ()):
        name_in(values["init_params"], INITS_ELSEWHERE)("init_types", init)
    for activation in values.get("activations", ()):
        # the table as it is now: the reader may have registered an activation since
        name_in({**ACTIVATIONS, **values["activation_params"]}, ACTIVATIONS_ELSEWHERE)("activations", activation)
    optimizer = values.get("optimizer", cls.optimizer)
    if _has_momentum(optimizer):
        values.setdefault("momentum", MOMENTUM)
    elif "momentum" in values:
        raise ConfigError(
            f"momentum is {values['momentum']}, but optimizer is {optimizer!r}, which has none; "
            "allowed is optimizer 'momentum' or 'nesterov', or to leave momentum out"
        )
    dataset = values.get("dataset", "digits")
    suited = {**source_of(dataset).defaults, "save_dir": default_save_dir(dataset)}
    settings = cls(**{**suited, **values})
    _check_runs(settings, what)
    bases = [params["base"] for params in settings.activation_params.values() if "base" in params]
    settings.rows.update({name: settings.activation(name) for name in settings.activations})
    settings.rows.update({name: ACTIVATIONS[name] for name in bases})
    settings.init_rows.update({name: INITIALIZERS[settings.row_of(name)] for name in settings.init_types})
    for name in registered_inits():
        if name not in map(settings.row_of, settings.init_types):
            settings.init_params.pop(name)  # or a reader without it could not read this CONFIG
    resolve_device(settings)
    return settings


def _check_runs(config, what):
    """Raise ConfigError where the runs are too many or too long, or their files would not be files everywhere."""
    runs = math.prod(map(len, config.axes()))
    if runs > MOST_RUNS:
        raise ConfigError(f"{what} asks for {runs:,} runs; allowed are up to {MOST_RUNS:,}: shorten a list")
    deepest = max(config.layers_list)
    most = MOST_MEASURED // len(columns(deepest)) - 1
    if config.num_epochs > most:
        raise ConfigError(
            f"num_epochs is {config.num_epochs}, which is more than a table holds that has all layers of networks with "
            f"{deepest}; allowed is a whole number from 1 to {most:,}"
        )
    apart("init_types", config.init_types)
    apart("activations", config.activations)
    longest = max((name.encode() for name in config.named), key=len)
    if len(longest) > MOST_BYTES - ENDINGS:
        raise ConfigError(
            f"the run {shown(longest.decode())} has a name of {len(longest)} bytes, which is too long for a file's; "
            f"allowed are {MOST_BYTES - ENDINGS}: shorten the names in init_types and activations"
        )


def resolve_device(config, trains=True):
    """The torch.device that config.device stands for on this machine. Raises ConfigError where it is not to be had.

    trains  whether networks are trained there: what was trained with tf32 can be looked at anywhere
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    device = config.device
    if device == "auto":
        device = next(name for name in here if here[name])
        if device == "mps" and config.precision == "float64":
            device = "cpu"
    if not here[device]:
        found = ", ".join(name for name in here if here[name])
        raise ConfigError(f"device is {device!r}, which torch does not find on this machine; here there is {found}")
    if trains and config.precision == "tf32" and device != "cuda":
        raise ConfigError(f"precision is 'tf32', which only a CUDA device has; on {device} allowed is float32 or bf16")
    if config.precision == "float64" and device == "mps":
        raise ConfigError("precision is 'float64', which an MPS device does not have; allowed there is float32 or bf16")
    return torch.device(device)
