"""CONFIG: from the dict at the top of a notebook to a frozen, validated `SweepConfig`.

Every mistake is one sentence: which key, what came, what is allowed, and for a misspelt name which was meant.
"""

import dataclasses
import difflib
import itertools
import math
import re
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import torch

from helpers.activations import ACTIVATIONS, FAMILIES, row_of_family
from helpers.data import DATASETS
from helpers.initializers import INITIALIZERS

PRECISIONS = {
    "float64": torch.float64,
    "float32": torch.float32,
    "tf32": torch.float32,  # float32 numbers whose products are rounded to 10 bits, on CUDA
    "bf16": torch.bfloat16,  # products and activations; the weights themselves stay in float32
}
OPTIMIZERS = ("sgd", "momentum", "adam")
DEVICES = ("auto", "cuda", "mps", "cpu")
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


class ConfigError(ValueError):
    """A CONFIG that cannot be run; its text is one sentence made for the reader."""


@dataclass(frozen=True, order=True)
class Run:
    """One network from birth to its last epoch: a cell of the sweep's grid.

    lr  None where the learning rate is the same for all runs of the sweep, and so no part of the cell
    """

    init: str
    activation: str
    layers: int
    seed: int
    lr: float | None = None

    @property
    def name(self):
        lr = "" if self.lr is None else f"_lr{repr(self.lr).removesuffix('.0')}"
        return f"{self.init}_{self.activation}_{self.layers}L{lr}_s{self.seed}"


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
    hidden_size: int = 128
    input_size: int | None = None
    input_square: float | None = None
    output_size: int | None = None
    num_epochs: int | None = None
    lr: float | tuple | None = None
    batch_size: int | None = None
    optimizer: str = "sgd"
    seeds: tuple = (0,)
    normalize: bool = False
    train_size: int | None = None
    test_size: int | None = None
    device: str = "auto"
    precision: str = "float32"
    stack_size: int | str = "auto"
    save_dir: str | None = None
    cluster: str | None = None
    resume: bool = True
    keep_state: bool = False

    @classmethod
    def from_dict(cls, config):
        """Validate CONFIG and fill in what it leaves out. Raises ConfigError with one sentence."""
        return _from_dict(cls, config)

    def to_dict(self):
        """The completed CONFIG, as plain lists, numbers and strings: `from_dict` of it gives the same again."""
        plain = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    def runs(self):
        """All runs of the sweep, in the order of CONFIG."""
        lrs = self.lr if isinstance(self.lr, tuple) else [None]
        axes = itertools.product(self.init_types, self.activations, self.layers_list, self.seeds, lrs)
        return [Run(*cell) for cell in axes]

    @property
    def lrs(self):
        """All learning rates of the sweep, mostly one."""
        return self.lr if isinstance(self.lr, tuple) else (self.lr,)

    def lr_of(self, run):
        """The learning rate of one run."""
        return self.lr if run.lr is None else run.lr

    def row_of(self, init):
        """The row of INITIALIZERS behind a name in `init_types`: the name itself, or that of which it is a variant."""
        return self.init_params[init].get("init", init)

    def activation(self, name):
        """The row behind a name in `activations`: of the table, or of a family with this CONFIG's parameters."""
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
        if self.batch_size > data.train_size:
            raise ConfigError(
                f"batch_size is {self.batch_size}, but there are only {data.train_size} training samples; "
                f"allowed is 1 to {data.train_size}"
            )
        sizes = {"input_size": data.input_size, "output_size": data.output_size}
        return dataclasses.replace(self, **sizes, input_square=float(f"{data.input_square:.6g}"))


# ---- checks: each takes (key, value) and returns the value as it is kept, or raises ConfigError


def _refuse(key, value, allowed):
    raise ConfigError(f"{key} is {value!r}; allowed is {allowed}")


def _whole(least):
    def check(key, value):
        # Integral, so that a NumPy whole number does as well
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            _refuse(key, value, f"a whole number from {least} up")
        return int(value)

    return check


def _number(key, value, least=-math.inf, allowed="a finite number"):
    if isinstance(value, bool) or not isinstance(value, Real):
        if isinstance(value, str) and _reads_as_number(value):
            allowed += " (this came as text: YAML reads 1e-2 so, write 0.01 or 1.0e-2)"
        _refuse(key, value, allowed)
    try:
        value = float(value)
    except OverflowError:  # a whole number beyond all floats
        _refuse(key, value, allowed)
    if not math.isfinite(value) or value <= least:
        _refuse(key, value, allowed)
    return value


def _reads_as_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _positive(key, value):
    return _number(key, value, 0, "a finite number above 0")


def _flag(key, value):
    if not isinstance(value, bool):
        _refuse(key, value, "True or False")
    return value


def _text(key, value):
    if not isinstance(value, str | Path) or not str(value):
        _refuse(key, value, "a path")
    return str(Path(value).expanduser())


def _name(key, value, table):
    """`value`, if it is a name in `table`; otherwise a sentence that offers the nearest."""
    if not isinstance(value, str) or value not in table:
        near = difflib.get_close_matches(str(value), table, 1, 0.5)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{key}: {value!r} is not known{meant} (allowed: {', '.join(table)})")
    return value


def _one_of(table):
    return lambda key, value: _name(key, value, tuple(table))


def _list_of(check):
    def check_list(key, value):
        if isinstance(value, str) or not isinstance(value, list | tuple | range) or not value:
            _refuse(key, value, "a list with at least one entry")
        entries = tuple(check(key, entry) for entry in value)
        twice = [entry for i, entry in enumerate(entries) if entry in entries[:i]]
        if twice:
            raise ConfigError(f"{key} names {twice[0]!r} twice; each entry may stand there once")
        return entries

    return check_list


def _dataset(key, value):
    if isinstance(value, str) and value.startswith("folder:") and len(value) > len("folder:"):
        return value
    return _name(key, value, (*DATASETS, "folder:<path>"))


def _lr(key, value):
    """A number, or a list of numbers: then the learning rate is an axis of the sweep."""
    return _list_of(_positive)(key, value) if isinstance(value, list | tuple) else _positive(key, value)


def _stack_size(key, value):
    if value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse(key, value, '"auto" or a whole number from 1 up')
    return value


def _cluster(key, value):
    """Where stacks train: None, here; "local", in worker processes of this machine; or a Dask scheduler's address."""
    if value != "local" and not (isinstance(value, str) and re.fullmatch(r"(tcp|tls)://\S+:\d+", value)):
        _refuse(key, value, 'None, "local", or the address of a Dask scheduler, like "tcp://host:8786"')
    return value


def _init_params(key, value):
    """Per init the parameters that are given, completed with the defaults of its row.

    A name that is no row of the table is a variant: {"init": its row, and parameters that differ from the defaults}.
    """
    if not isinstance(value, dict):
        _refuse(key, value, "a dict from an init to its parameters")
    params = {init: _params_of(f"{key}[{init!r}]", init, value.get(init, {})) for init in INITIALIZERS}
    for name in value:
        if name not in INITIALIZERS:
            params[name] = _variant(key, name, value[name], "init", INITIALIZERS, _params_of)
    return params


def _variant(key, name, given, kind, table, params_of):
    """Parameters under a name of their own; `kind` is the key under which they say of which row they are."""
    if not isinstance(given, dict) or kind not in given:
        _name(f"{key} (a variant of an {kind} under a name of its own says which: {{{kind!r}: ...}})", name, table)
    where = f"{key}[{name!r}]"
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][\w.-]*", name):
        raise ConfigError(f"{where}: a variant's name is a letter, then letters, digits, dots, - and _")
    row = _name(f"{where}[{kind!r}]", given[kind], tuple(table))
    return {kind: row, **params_of(where, row, {k: v for k, v in given.items() if k != kind})}


def _params_of(where, init, given):
    defaults = INITIALIZERS[init].defaults
    if not isinstance(given, dict):
        _refuse(where, given, f"a dict of {', '.join(defaults) or 'nothing: this init has no parameters'}")
    for name in given:
        if not defaults:
            raise ConfigError(f"{where} names {name!r}, but {init} has no parameters")
        _name(where, name, tuple(defaults))
    params = dict(defaults)
    for name, value in given.items():
        key = f"{where}[{name!r}]"
        if name == "mode":
            params[name] = _name(key, value, ("fan_in", "fan_out"))
        elif name in ("factor", "gain"):
            params[name] = _positive(key, value)
        elif name in ("std", "sigma_w2", "sigma_b2"):
            params[name] = _number(key, value, -5e-324, "a finite number from 0 up")
        else:
            params[name] = _number(key, value)
    if init == "trunc_normal" and params["a"] >= params["b"]:
        raise ConfigError(f"{where} cuts at a = {params['a']} and b = {params['b']}; a must lie below b")
    if init == "trunc_normal" and (params["a"] > 8 or params["b"] < -8):
        raise ConfigError(f"{where} cuts at a = {params['a']} and b = {params['b']}; allowed is a <= 8 and b >= -8")
    return params


def _activation_params(key, value):
    """Per family of activations its parameters, completed, and variants of them: as `_init_params` for inits."""
    if not isinstance(value, dict):
        _refuse(key, value, "a dict from an activation to its parameters")
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
    if not isinstance(given, dict):
        _refuse(where, given, f"a dict of {', '.join(defaults)}")
    for name, entry in given.items():
        _name(where, name, tuple(defaults))
        if not isinstance(entry, str | bool | int | float):
            _refuse(f"{where}[{name!r}]", entry, f"a value like {defaults[name]!r}")
    params = {**defaults, **given}
    try:
        row_of_family(family, params)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    return params


CHECKS = {
    "dataset": _dataset,
    "data_dir": _text,
    "layers_list": _list_of(_whole(1)),
    "init_types": _list_of(lambda key, value: value),  # names of rows or variants: looked up where both are known
    "activations": _list_of(lambda key, value: value),
    "init_params": _init_params,
    "activation_params": _activation_params,
    "hidden_size": _whole(1),
    "input_size": _whole(1),
    "input_square": _positive,
    "output_size": _whole(2),
    "num_epochs": _whole(1),
    "lr": _lr,
    "batch_size": _whole(1),
    "optimizer": _one_of(OPTIMIZERS),
    "seeds": _list_of(_whole(0)),
    "normalize": _flag,
    "train_size": _whole(1),
    "test_size": _whole(1),
    "device": _one_of(DEVICES),
    "precision": _one_of(PRECISIONS),
    "stack_size": _stack_size,
    "save_dir": _text,
    "cluster": _cluster,
    "resume": _flag,
    "keep_state": _flag,
}
# where None says "as suits the data"
OPTIONAL = (
    "input_size",
    "input_square",
    "output_size",
    "num_epochs",
    "lr",
    "batch_size",
    "train_size",
    "test_size",
    "save_dir",
    "cluster",
)


def save_dir_of(config):
    """Where the results of a CONFIG go, before it has been validated."""
    if not isinstance(config, dict):
        return SweepConfig.from_dict({}).save_dir
    return str(config.get("save_dir") or default_save_dir(str(config.get("dataset", "digits"))))


def default_save_dir(dataset):
    return "results/local/" + dataset.removeprefix("folder:").rstrip("/").rsplit("/", 1)[-1]


def _from_dict(cls, config):
    if not isinstance(config, dict):
        raise ConfigError(f"CONFIG is a {type(config).__name__}; allowed is a dict")
    for key in config:
        if key not in CHECKS:
            near = difflib.get_close_matches(str(key), CHECKS, 1, 0.5)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"CONFIG has no key {key!r}{meant} (allowed: {', '.join(CHECKS)})")
    given = {key: value for key, value in config.items() if not (value is None and key in OPTIONAL)}
    values = {key: CHECKS[key](key, value) for key, value in given.items()}
    values["init_params"] = _init_params("init_params", config.get("init_params", {}))
    for init in values.get("init_types", ()):
        _name("init_types", init, tuple(values["init_params"]))
    values["activation_params"] = _activation_params("activation_params", config.get("activation_params", {}))
    for activation in values.get("activations", ()):
        # the table as it is now: the reader may have registered an activation since
        _name("activations", activation, tuple({**ACTIVATIONS, **values["activation_params"]}))
    dataset = values.get("dataset", "digits")
    suited = {**DATASETS.get(dataset, DATASETS["mnist"]).defaults, "save_dir": default_save_dir(dataset)}
    settings = cls(**{**suited, **values})
    resolve_device(settings)
    return settings


def resolve_device(config):
    """The torch.device that config.device stands for on this machine. Raises ConfigError where it is not to be had."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    device = config.device
    if device == "auto":
        device = next(name for name in here if here[name])
        if device == "mps" and config.precision == "float64":
            device = "cpu"
    if not here[device]:
        found = ", ".join(name for name in here if here[name])
        raise ConfigError(f"device is {device!r}, which torch does not find on this machine; here there is {found}")
    if config.precision == "tf32" and device != "cuda":
        raise ConfigError(f"precision is 'tf32', which only a CUDA device has; on {device} allowed is float32 or bf16")
    if config.precision == "float64" and device == "mps":
        raise ConfigError("precision is 'float64', which an MPS device does not have; allowed there is float32 or bf16")
    return torch.device(device)
