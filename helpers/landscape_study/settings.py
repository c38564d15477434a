"""The settings of a landscape study: which networks are trained, and which surfaces are drawn around them.

    CONFIG    what holds for all: data, training, and the defaults of surfaces
    NETWORKS  {name: what differs}, each with its activations, inits and depths, once a seed
    SURFACES  {name: what differs}, each drawn around all networks, or those that it names, after each of its epochs

`study_settings` holds all three against tables of checks and returns `Settings`; every mistake is one sentence.
"""

import itertools
from dataclasses import dataclass, replace

from helpers import elsewhere
from helpers.checks import (
    MOST_BYTES,
    ConfigError,
    apart,
    checked,
    flag,
    list_of,
    name_in,
    non_negative,
    one_of,
    optional,
    own_name,
    path,
    positive,
    refuse,
    shown,
    text,
    whole,
)
from helpers.config import CHECKS, ENDINGS, ONE, SweepConfig, default_save_dir
from helpers.networks import NETWORKS as CONVNETS
from helpers.networks.convnets import width_factor
from helpers.training import TORCH_OPTIMIZERS

MLP = "mlp"
MOST_TASKS = 100_000  # networks and surfaces of a study, each of which has a file of its own
MOST_WIDTH = 1001
DEFAULTS = {
    "dataset": "digits",
    "seeds": [0],
    "activations": ["relu"],
    "init_types": ["he_normal"],
    "layers_list": [3],
    "hidden_size": 128,
    "optimizer": "adam",
    "lr": 1e-3,
    "batch_size": 256,
    "num_epochs": 9,
    "eigenvalues": 3,
    "probes": 30,
}
SURFACE_DEFAULTS = {
    "epochs": [0, 1, 9],
    "width": 41,
    "max_step": 1.0,
    "pairs": 3,
    "batches": 3,
    "samples": 256,
    "directions": "random",
    "normalise": "filter",
    "others": "none",
    "orthogonal": False,
    "layers": None,
    "batch_norm": "frozen",
    "dropout": "off",
}


def _odd(key, value):
    width = whole(3, MOST_WIDTH)(key, value)
    if width % 2 == 0:
        refuse(key, value, "an odd number, so that a point of the grid is the network itself")
    return width


def _batches(key, value):
    return value if value in ("train", "test") else whole(1, 1000)(key, value)


def _probes(key, value):
    probes = whole(0, 10_000)(key, value)
    if probes == 1:
        refuse(key, value, "0, or a whole number from 2 up: the error bar needs two")
    return probes


def _share(key, value):
    if non_negative(key, value) >= 1:
        refuse(key, value, "a number from 0 up to, but not, 1")
    return float(value)


# how a surface is drawn
SURFACE_CHECKS = {
    "epochs": list_of(whole(0)),
    "width": _odd,
    "max_step": positive,
    "pairs": whole(1, 1000),
    "batches": _batches,
    "samples": whole(1),
    "directions": one_of("random", "hessian", "trajectory"),
    "normalise": one_of("filter", "layer", "none"),
    "others": one_of("none", "layer"),
    "orthogonal": flag,
    "layers": optional(list_of(text)),
    "batch_norm": one_of("frozen", "recomputed"),
    "dropout": one_of("off", "on"),
}
# the grid of networks
GRID_CHECKS = {key: CHECKS[key] for key in ("activations", "init_types", "layers_list", "seeds")}
TRAINING_CHECKS = {
    "hidden_size": ONE["hidden_size"],
    "optimizer": name_in(TORCH_OPTIMIZERS, elsewhere.OPTIMIZERS),
    "lr": ONE["lr"],
    "batch_size": ONE["batch_size"],
    "num_epochs": whole(1, 100_000),
}
DATA_KEYS = ("dataset", "data_dir", "normalize", "train_size", "test_size", "device", "init_params")
CONFIG_CHECKS = {
    **{key: CHECKS[key] for key in (*DATA_KEYS, "activation_params", "cluster", "resume")},
    "precision": name_in(("float32", "tf32", "float64")),  # of training; surfaces never have rounded products
    "data_name": optional(text),  # what figures call the data, where the name of its folder does not say it
    "save_dir": optional(path),
    **GRID_CHECKS,
    **TRAINING_CHECKS,
    **SURFACE_CHECKS,
    "eigenvalues": whole(0, 20),
    "probes": _probes,
}
# what a network has beside its training: arguments of `helpers.networks`
MODEL_CHECKS = {
    "network": name_in((MLP, *CONVNETS)),
    "width": width_factor,
    "batch_norm": flag,
    "dropout": _share,
}
MODEL_OF = {MLP: (), "vgg11": ("width", "batch_norm", "dropout")}  # which of them it takes; others take the width alone
NETWORK_CHECKS = {**GRID_CHECKS, **TRAINING_CHECKS, **MODEL_CHECKS}
CHOICES = {"networks": list_of(own_name), **GRID_CHECKS}  # around which networks a surface is drawn
ENTRY_CHECKS = {**SURFACE_CHECKS, **CHOICES}


@dataclass(frozen=True)
class Network:
    """One network to train.

    name    of its entry in NETWORKS
    model   {"network": "mlp" or a name of `helpers.networks.NETWORKS`, and arguments of that}
    config  a SweepConfig of a single run, which says everything else
    """

    name: str
    model: dict
    config: SweepConfig

    @property
    def run(self):
        return self.config.runs()[0]

    @property
    def key(self):
        """Its own name in the study, which its files have."""
        depth = [f"{self.run.layers}L"] if self.model["network"] == MLP else []
        return "--".join([self.name, self.run.activation, self.run.init, *depth, f"s{self.run.seed}"])

    def to_dict(self):
        """What decides its numbers, as plain JSON."""
        config, run, mlp = self.config, self.run, self.model["network"] == MLP
        plain = {"name": self.name, **self.model, "activation": run.activation, "init": run.init, "seed": run.seed}
        plain |= {"layers": run.layers, "hidden_size": config.hidden_size} if mlp else {}
        plain["activation_params"] = config.activation_params.get(run.activation, {})
        plain["init_params"] = config.init_params[run.init]
        keys = ("optimizer", "lr", "batch_size", "num_epochs", "dataset", "normalize", "train_size", "test_size")
        return {**plain, **{key: getattr(config, key) for key in (*keys, "precision")}}


@dataclass(frozen=True)
class SurfacePlan:
    """One surface to draw: which network at which epoch, which pair of directions, which samples.

    kind      of its entry in SURFACES
    settings  {key of SURFACE_DEFAULTS: value}, without epochs, pairs and batches
    pair      number of the pair of directions
    batch     number of the mini-batch, or "train" or "test"
    """

    network: Network
    kind: str
    settings: dict
    epoch: int
    pair: int
    batch: int | str

    @property
    def key(self):
        return surface_key(self.network.key, self.kind, self.epoch, self.pair, self.batch)

    def to_dict(self):
        """What decides its numbers, as plain JSON."""
        own = {"kind": self.kind, **self.settings, "epoch": self.epoch, "pair": self.pair, "batch": self.batch}
        return {"network": self.network.to_dict(), **own}


def surface_key(network, kind, epoch, pair, batch):
    """The name of a surface in the study, which its file has; `network` is the key of its network."""
    return f"{network}--{kind}--e{epoch}--p{pair}--{batch if isinstance(batch, str) else f'b{batch}'}"


@dataclass(frozen=True)
class CurvePlan:
    """The curvature of one network at one epoch: the Hessian's largest eigenvalues, and its trace by so many probes."""

    network: Network
    epoch: int
    batch: int
    samples: int
    eigenvalues: int
    probes: int

    @property
    def key(self):
        return f"{self.network.key}--e{self.epoch}--b{self.batch}--curvature"

    def to_dict(self):
        """What decides its numbers, as plain JSON."""
        own = {key: getattr(self, key) for key in ("epoch", "batch", "samples", "eigenvalues", "probes")}
        return {"network": self.network.to_dict(), **own}


@dataclass(frozen=True)
class Settings:
    """A study, complete.

    given     {"config", "networks", "surfaces"}: what was asked for, completed, as plain data
    networks  all Networks of which a surface is drawn
    surfaces  all SurfacePlans
    curves    all CurvePlans: of each network at each epoch at which surfaces are drawn, on the first mini-batch
    """

    given: dict
    networks: list
    surfaces: list
    curves: list

    @property
    def drawn(self):
        """All that is drawn or measured of trained networks."""
        return [*self.surfaces, *self.curves]

    @property
    def plans(self):
        return [*self.networks, *self.drawn]

    @property
    def save_dir(self):
        return self.given["config"]["save_dir"]

    @property
    def resume(self):
        return self.given["config"]["resume"]

    def epochs_of(self, network):
        """The epochs after which a network's weights are kept: those of its surfaces; all of them for a trajectory."""
        mine = [plan for plan in self.surfaces if plan.network.key == network.key]
        if any(plan.settings["directions"] == "trajectory" for plan in mine):
            return list(range(network.config.num_epochs + 1))
        return sorted({plan.epoch for plan in mine})


def save_dir_of(config):
    """Where the results of a CONFIG go, before it has been checked. Raises ConfigError for what is no path."""
    given = config if isinstance(config, dict) else {}
    dataset = given.get("dataset", DEFAULTS["dataset"])
    save_dir = optional(path)("save_dir", given.get("save_dir"))
    folder = default_save_dir(dataset if isinstance(dataset, str) else DEFAULTS["dataset"])
    return save_dir or folder.replace("results/local/", "results/local/landscapes_")


def study_settings(config, networks, surfaces):
    """The Settings of CONFIG, NETWORKS and SURFACES. Raises ConfigError, one sentence, for what cannot be done."""
    config = {**DEFAULTS, **SURFACE_DEFAULTS, **checked(config, CONFIG_CHECKS, "CONFIG", elsewhere=elsewhere.KEYS)}
    config = {"resume": True, "cluster": None, "data_name": None, **config, "save_dir": save_dir_of(config)}
    networks = {name: _entry("NETWORKS", name, own, NETWORK_CHECKS) for name, own in _dict("NETWORKS", networks)}
    surfaces = {name: _entry("SURFACES", name, own, ENTRY_CHECKS) for name, own in _dict("SURFACES", surfaces)}
    apart("NETWORKS", networks)
    apart("SURFACES", surfaces)
    found = [network for name, own in networks.items() for network in _networks(name, own, config)]
    apart("NETWORKS", [network.key for network in found])
    plans = [plan for kind, own in surfaces.items() for plan in _plans(kind, own, config, found, networks)]
    _check(plans)
    drawn = {plan.network.key for plan in plans}
    given = {"config": config, "networks": networks, "surfaces": surfaces}
    measured = {(plan.network.key, plan.epoch): plan.network for plan in plans}
    asked = [config[key] for key in ("samples", "eigenvalues", "probes")]
    curves = [CurvePlan(network, epoch, 0, *asked) for (_, epoch), network in measured.items() if any(asked[1:])]
    return Settings(given, [network for network in found if network.key in drawn], plans, curves)


def _dict(what, given):
    if not isinstance(given, dict) or not given:
        refuse(what, given, "a dict from a name to what differs in it, with at least one entry")
    return given.items()


def _entry(what, name, own, table):
    own_name(f"a name in {what}", name)
    return checked(own, table, f"{what}[{name!r}]", within=True, elsewhere=elsewhere.KEYS)


def _networks(name, own, config):
    """The Networks of an entry, one a cell of its grid."""
    where = f"NETWORKS[{name!r}]"
    model = {key: own[key] for key in MODEL_CHECKS if key in own}
    model.setdefault("network", name)
    MODEL_CHECKS["network"](f"{where} has no 'network', so its name is one; {name}", model["network"])
    allowed = MODEL_OF.get(model["network"], ("width",))
    if wrong := [key for key in model if key not in ("network", *allowed)]:
        raise ConfigError(
            f"{where} has {wrong[0]!r}, which {model['network']} does not take; allowed beside its training are "
            f"{', '.join(('network', *allowed))}"
        )
    if model["network"] != MLP and (wrong := [key for key in ("layers_list", "hidden_size") if key in own]):
        raise ConfigError(f"{where} has {wrong[0]!r}, which only {MLP} takes; leave it out")
    both = {**config, **own}
    depths = both["layers_list"] if model["network"] == MLP else [1]
    shared = {key: both[key] for key in (*DATA_KEYS, *TRAINING_CHECKS, "activation_params", "precision") if key in both}
    shared |= {"save_dir": config["save_dir"]}
    for cell in itertools.product(both["activations"], both["init_types"], depths, both["seeds"]):
        one = dict(zip(("activations", "init_types", "layers_list", "seeds"), ([value] for value in cell), strict=True))
        yield Network(name, model, _sweep_config({**shared, **one}))


def _sweep_config(given):
    """A SweepConfig, also one of tf32 where there is no CUDA: what was trained elsewhere can be looked at. Whoever
    trains asks `resolve_device` again.
    """
    if given.get("precision") != "tf32":
        return SweepConfig.from_dict(given)
    return replace(SweepConfig.from_dict({**given, "precision": "float32"}), precision="tf32")


def _plans(kind, own, config, networks, names):
    """The SurfacePlans of an entry. Raises ConfigError for one that names what there is not."""
    where = f"SURFACES[{kind!r}]"
    for name in own.get("networks", ()):
        name_in(names)(f"{where}['networks']", name)
    settings = {key: own.get(key, config[key]) for key in SURFACE_DEFAULTS}
    epochs, pairs, batches = (settings.pop(key) for key in ("epochs", "pairs", "batches"))
    settings["layers"] = settings["layers"] and list(settings["layers"])
    if settings["directions"] != "random":
        if "pairs" in own and pairs != 1:
            raise ConfigError(f"{where} has pairs = {pairs}, but there is one plane of {settings['directions']}")
        if settings["layers"]:
            raise ConfigError(f"{where} has layers, which only random directions take; leave them out")
        pairs = 1
    chosen = [network for network in networks if _is_chosen(network, own)]
    if not chosen:
        raise ConfigError(f"{where} chooses no network; NETWORKS has {', '.join(network.key for network in networks)}")
    numbers = range(batches) if isinstance(batches, int) else [batches]
    for network in chosen:
        last = network.config.num_epochs
        if settings["directions"] == "trajectory":
            if last < 2:
                raise ConfigError(
                    f"{where}: {network.name} is trained for num_epochs = {last}, which is a line; allowed are 2 and "
                    "more for a trajectory's plane"
                )
            epochs = [last]
        if wrong := [epoch for epoch in epochs if epoch > last]:
            raise ConfigError(
                f"{where}: epochs has {wrong[0]}, but {network.name} is trained for num_epochs = {last}; allowed are 0 "
                f"to {last}"
            )
        for epoch, pair, batch in itertools.product(epochs, range(pairs), numbers):
            yield SurfacePlan(network, kind, settings, epoch, pair, batch)


def _is_chosen(network, own):
    run, mlp = network.run, network.model["network"] == MLP
    values = {"networks": network.name, "activations": run.activation, "init_types": run.init, "seeds": run.seed}
    values |= {"layers_list": run.layers} if mlp else {}
    return all(values[key] in own[key] for key in CHOICES if key in own and key in values)


def _check(plans):
    """Raise ConfigError for surfaces that are too many, drawn twice, or have too long a name."""
    if len(plans) > MOST_TASKS:
        raise ConfigError(f"SURFACES ask for {len(plans):,} surfaces; allowed are up to {MOST_TASKS:,}: shorten a list")
    seen = {}
    for plan in plans:
        if len(plan.key.encode()) > MOST_BYTES - ENDINGS:
            raise ConfigError(
                f"the surface {shown(plan.key)} has a name of {len(plan.key.encode())} bytes, which is too long for a "
                f"file's; allowed are {MOST_BYTES - ENDINGS}: shorten the names in NETWORKS and SURFACES"
            )
        own = (plan.network.key, plan.epoch, plan.pair, plan.batch, repr(sorted(plan.settings.items())))
        other = seen.setdefault(own, plan)
        if other is not plan:
            raise ConfigError(
                f"SURFACES[{other.kind!r}] and SURFACES[{plan.kind!r}] draw the same surface of {plan.network.key}; "
                "one of them is enough"
            )
