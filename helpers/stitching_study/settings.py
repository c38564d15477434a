"""The settings of a stitching study: which networks are trained, which pairs are stitched, by which maps and anchors.

    CONFIG    where things are, and defaults for all parts
    STITCHES  {name: {"what": a kind of DEFAULTS, and what differs}}

`study_settings` holds both against tables of checks and returns `Settings`; every mistake is one sentence.

    autoencoders  of data sets: every ordered pair of models, encoder of one to decoder of the other
    classifiers   the same, each cut at named layers: layers to the head
    sweep         of the runs of a sweep, trained again: every layer of one to every layer of the other
"""

import itertools
import json
import re
from dataclasses import dataclass

from helpers import files
from helpers.activations import ACTIVATIONS
from helpers.activations import ELSEWHERE as ACTIVATIONS_ELSEWHERE
from helpers.checks import (
    ConfigError,
    checked,
    list_of,
    name_in,
    non_negative,
    one_of,
    optional,
    path,
    positive,
    refuse,
    text,
    whole,
)
from helpers.config import CHECKS
from helpers.data import DATASETS
from helpers.initializers import ELSEWHERE as INITS_ELSEWHERE
from helpers.initializers import INITIALIZERS
from helpers.landscape_study.log import agrees
from helpers.path_study.settings import CHOICES, SWEEP_DEFAULTS, sweep_of
from helpers.path_study.settings import PART_CHECKS as PATH_CHECKS
from helpers.stitching.anchors import STRATEGIES
from helpers.stitching.maps import KINDS as MAPS
from helpers.stitching.maps import LAM
from helpers.stitching_study.log import MODELS, RECIPE
from helpers.study_settings import Allowed, Settings, completed, each_once, save_dir_or

AUTOENCODERS, CLASSIFIERS = ("conv", "vae"), ("mlp", "resnet14", "vgg11", "small_convnet", "vit")
ALL = "all"
PAIRS = (ALL, "neighbours", "close")
SWEEP_PAIRS = ("seeds", "inits", "activations", "self")

# what all kinds share: maps, and the images on which they are fitted and measured
STITCH_DEFAULTS = {
    "maps": ["affine"],
    "lams": ["gcv"],
    "map_settings": {},
    "anchors": [20, 50, 100],
    "sampling": ["equally"],
    "draws": 5,
    "anchor_classes": ALL,
    "pool_size": 5000,
    "eval_size": 1000,
}
# models trained here
MODEL_DEFAULTS = {
    "datasets": ["digits"],
    "train_size": None,
    "test_size": None,
    "activations": ["relu"],
    "init_types": ["he_normal"],
    "seeds": [0, 1],
    "classes": [ALL],
    "models": None,
    "pairs": ALL,
    "control_draws": None,
    "num_epochs": 20,
    "lr": 1e-3,
    "batch_size": 64,
}
DEFAULTS = {
    "autoencoders": {
        **STITCH_DEFAULTS, **MODEL_DEFAULTS, "networks": ["conv"], "latents": [30], "base": 8, "beta": 0.05,
    },
    "classifiers": {
        **STITCH_DEFAULTS, **MODEL_DEFAULTS, "networks": ["mlp"], "layers_list": [5], "hidden_size": 128,
        "layers": None, "width": 1.0,
    },
    "sweep": {
        **STITCH_DEFAULTS, "anchors": [500], "sampling": ["random"], "draws": 1,
        **SWEEP_DEFAULTS, "layers": None,
    },
}  # fmt: skip
LISTS = ("networks", "latents", "layers_list", "activations", "init_types", "seeds", "classes")  # they are multiplied
OF_A_MODEL = ("network", "latent", "layers", "activation", "init", "seed", "classes")  # one entry of each, in `models`
OF_PAIRS = (*STITCH_DEFAULTS, "control_draws", "layers", "pairs")  # these do not change a model
OF_TRAINING = ("train_size", "test_size", "num_epochs", "lr", "batch_size")  # and a size of some networks
SIZES = {"conv": ("base",), "vae": ("beta",), "mlp": ("hidden_size",)}
SIZES |= dict.fromkeys(("resnet14", "vgg11", "small_convnet"), ("width",))
GROW = ("maps", "map_settings", "lams", "anchors", "sampling", "draws")  # what is made of them, a pair keeps
ALIKE = ("eval_size", "pool_size", "control_draws", "anchor_classes")  # the same for all pairs of a part in the tables
# keys that a later start may change: models and pairs are added, and of a pair what GROW adds; what is asked for no
# more stays in the tables, but for pairs of another ALIKE. Where another of OF_PAIRS differs, as eval_size, or a map's
# settings, that is made anew
AXES = ("datasets", *LISTS, "models", *OF_PAIRS, *CHOICES)


def _classes(key, value):
    """ "all", or a list of classes."""
    if isinstance(value, str):
        return one_of(ALL)(key, value)
    return tuple(sorted(list_of(whole(0, 100_000))(key, value)))


def _models(key, value):
    """A list of dicts, each with some of OF_A_MODEL; what one leaves out is multiplied as in the part."""
    if not isinstance(value, list) or not value:
        refuse(key, value, f"a list of dicts with some of {', '.join(OF_A_MODEL)}")
    return [checked(own, MODEL_CHECKS, f"{key}[{i}]") for i, own in enumerate(value)]


def _layers(key, value):
    """Names of layers, or {network: names of its layers}."""
    named = list_of(lambda key, name: text(key, str(name) if type(name) is int else name))
    if isinstance(value, dict):
        return checked(value, dict.fromkeys(CLASSIFIERS, named), key)
    return named(key, value)


def _lams(key, value):
    """A list of lambdas that six digits, as tables have them, tell apart."""
    lams = list_of(LAM)(key, value)
    list_of(text)(f"{key}, to six digits,", [lam if isinstance(lam, str) else f"{lam:.6g}" for lam in lams])
    return lams


def _map_settings(key, value):
    """{map: its own settings}."""
    if not isinstance(value, dict):
        refuse(key, value, "a dict from a map to its settings, as {'mlp': {'steps': 500}}")
    for kind in value:
        name_in(MAPS)(key, kind)
    return {kind: checked(own, MAPS[kind].settings, f"{key}[{kind!r}]") for kind, own in value.items()}


def _pairs(key, value):
    """How models are paired, or a list of how runs of a sweep are."""
    return list_of(one_of(*SWEEP_PAIRS))(key, value) if isinstance(value, list) else one_of(*PAIRS)(key, value)


MODEL_CHECKS = {
    "network": name_in((*AUTOENCODERS, *CLASSIFIERS)),
    "latent": whole(1, 10_000),
    "layers": whole(1, 1000),
    "activation": name_in(ACTIVATIONS, ACTIVATIONS_ELSEWHERE),
    "init": name_in(INITIALIZERS, INITS_ELSEWHERE),
    "seed": whole(0),
    "classes": _classes,
}
PART_CHECKS = {
    "maps": list_of(name_in(MAPS)),
    "lams": _lams,
    "map_settings": _map_settings,
    "anchors": list_of(whole(1)),
    "sampling": list_of(name_in(STRATEGIES)),
    "draws": whole(1, 10_000),
    "anchor_classes": one_of(ALL, "shared"),
    "pool_size": optional(whole(1)),
    "eval_size": whole(2),
    "control_draws": optional(whole(0)),
    "datasets": list_of(CHECKS["dataset"]),
    "train_size": CHECKS["train_size"],
    "test_size": CHECKS["test_size"],
    "networks": list_of(MODEL_CHECKS["network"]),
    "latents": list_of(MODEL_CHECKS["latent"]),
    "activations": list_of(MODEL_CHECKS["activation"]),
    "init_types": list_of(MODEL_CHECKS["init"]),
    "seeds": CHECKS["seeds"],
    "classes": list_of(_classes),
    "models": optional(_models),
    "pairs": _pairs,
    "num_epochs": whole(1, 1_000_000),
    "lr": positive,
    "batch_size": whole(1),
    "base": whole(1, 1000),
    "beta": non_negative,
    "layers_list": CHECKS["layers_list"],
    "hidden_size": whole(1, 10_000),
    "layers": optional(_layers),
    "width": positive,
    "sweep": PATH_CHECKS["sweep"],
}
STUDY_DEFAULTS = {"data_dir": "data", "save_dir": "results/local/stitching", "device": "cpu", "resume": True}
STUDY_CHECKS = {**{key: CHECKS[key] for key in ("data_dir", "resume", "cluster", "device")}, "save_dir": optional(path)}
# CONFIG speaks of models that are trained here; a sweep has its own
OWN = (*CHOICES, "pairs", "layers")
ALLOWED = Allowed("STITCHES", DEFAULTS, PART_CHECKS, STUDY_CHECKS, STUDY_DEFAULTS, OWN)


# ---- plans


def data_name(dataset):
    """What a data set is called in names of files and in tables."""
    if dataset in DATASETS:
        return dataset
    plain_part = re.sub(r"[^a-z0-9_]+", "-", dataset.rpartition("/")[2].lower()).strip("-")
    return f"{dataset.partition(':')[0]}-{plain_part[:30]}-{files.checksum(dataset)[:6]}"


@dataclass(frozen=True)
class Model:
    """A network that is trained, and the settings of a part that uses it.

    part      name in STITCHES; models of several parts that agree in what decides their weights are one
    settings  completed, a dict
    data      as CONFIG names it
    latent    of an autoencoder; layers, hidden_size: of an mlp; None for others
    classes   (c, ...) that it is trained on, None for all
    run       the name of a sweep's run that is trained again; None for a model of its own
    """

    part: str
    settings: dict
    data: str
    network: str
    latent: int | None
    layers: int | None
    hidden_size: int | None
    activation: str
    init: str
    seed: int
    classes: tuple | None = None
    run: str | None = None

    @property
    def name(self):
        if self.run:
            return self.run
        size = self.latent or (f"{self.layers}L" if self.layers else "")
        classes = [] if self.classes is None else [f"c{'-'.join(map(str, self.classes))}"]
        return "--".join([f"{self.network}{size}", self.activation, self.init, *classes, f"s{self.seed}"])

    @property
    def recipe(self):
        """What decides its weights beside its name and data; `sweep` of a sweep's run."""
        names = ("sweep",) if self.run else (*OF_TRAINING, *SIZES.get(self.network, ()))
        return {name: self.settings[name] for name in names}

    @property
    def key(self):
        mark = files.checksum(json.dumps([self.data, self.recipe], sort_keys=True, default=str))[:6]
        return "--".join([MODELS, data_name(self.data), self.name, mark])

    @property
    def last_layer(self):
        """Where it is cut if nothing is said."""
        if self.network in AUTOENCODERS:
            return "latent"
        return str(self.layers - 1) if self.layers else "features"

    @property
    def cuts(self):
        """The layers where it is cut."""
        given = self.settings.get("layers")
        given = given.get(self.network) if isinstance(given, dict) else given
        return list(given) if given and self.network not in AUTOENCODERS else [self.last_layer]

    def differs_from(self, other):
        """The settings that are not the same in both."""
        return [name for name in OF_A_MODEL if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True)
class Plan:
    """A task: a "model" to train, a "pair" to stitch at one layer each, or at all "layers"."""

    do: str
    model1: Model
    model2: Model | None = None
    layer1: str | None = None
    layer2: str | None = None

    @property
    def part(self):
        return self.model1.part

    @property
    def settings(self):
        return self.model1.settings

    @property
    def key(self):
        if self.do == "model":
            return self.model1.key
        marks = [f"at-{layer}" if layer not in (None, "latent") else "to" for layer in (self.layer1, self.layer2)]
        both = [self.part, data_name(self.model1.data), self.model1.name, marks[0], self.model2.name]
        return "--".join([*both, "layers"] if self.do == "layers" else both + [m for m in marks[1:] if m != "to"])

    @property
    def needs(self):
        """The keys of the plans whose weights this one takes."""
        return () if self.do == "model" else tuple(dict.fromkeys((self.model1.key, self.model2.key)))

    @property
    def phase(self):
        return 0 if self.do == "model" else 1

    def columns(self, table):
        """The columns that each row of it begins with."""
        a, b = self.model1, self.model2
        if table == "models":
            own = {name: getattr(a, name) for name in ("network", "latent", "layers", "hidden_size", "activation")}
            own |= {"init": a.init, "seed": a.seed, "classes": classes_in_words(a.classes)}
            own |= {name: value for name, value in a.recipe.items() if name in RECIPE}
            return {"dataset": data_name(a.data), "model": a.name, **own}
        first = {"part": a.part, "dataset": data_name(a.data), "model1": a.name, "model2": b.name}
        for name in ("network", "latent", "activation", "init", "seed"):
            first |= {f"{name}1": getattr(a, name), f"{name}2": getattr(b, name)}
        first |= {"layer1": self.layer1, "layer2": self.layer2, "differ": ", ".join(a.differs_from(b)) or "nothing"}
        return first | {"anchor_classes": self.settings["anchor_classes"]}

    def to_dict(self):
        """What decides its numbers, as plain JSON."""
        if self.do == "model":
            return {"do": self.do, "key": self.key}  # which has a checksum of its settings
        own = {key: value for key, value in self.settings.items() if key not in AXES}
        in_key = ("pairs", "layers") if self.do == "pair" else ("pairs",)
        maps = {key: self.settings[key] for key in OF_PAIRS if key in self.settings and key not in in_key}
        return {"do": self.do, "key": self.key, "settings": own, "maps": maps}


def maps_alike(before, now):
    """The kinds of maps that had the same settings before, whether the part had them or not."""
    both = before["map_settings"], now["map_settings"]
    return [kind for kind in MAPS if both[0].get(kind) == both[1].get(kind)]


def covers(there, here):
    """Whether what was made, as `Plan.to_dict` says it, is at least what is asked for now."""
    before, now = there.get("maps"), here.get("maps")
    if before and now:
        fewer = [{*now[key]} <= {*before[key]} for key in ("maps", "lams", "anchors", "sampling")]
        fewer += [now["draws"] <= before["draws"], {*now["maps"]} <= {*maps_alike(before, now)}]
        if not all(fewer):
            return False
        here = {**here, "maps": {key: value for key, value in now.items() if key not in GROW}}
    return agrees(there, here)


def classes_in_words(classes):
    return ALL if classes is None else " ".join(map(str, classes))


def models_of(settings):
    """The models that a study trains, each once, whatever parts use it."""
    return [plan.model1 for plan in settings.plans if plan.do == "model"]


def save_dir_of(config):
    """Where the results of a CONFIG go, before it has been checked. Raises ConfigError for what is no path."""
    return save_dir_or(config, STUDY_DEFAULTS["save_dir"])


def study_settings(config, parts):
    """The Settings of CONFIG and STITCHES. Raises ConfigError, one sentence, for what cannot be done."""
    study, parts = completed(ALLOWED, config, parts, _check_part)
    plans = [plan for name, own in parts.items() for plan in _plans(name, own, study)]
    paired = {plan.part for plan in plans if plan.do != "model"}
    if lone := [name for name in parts if name not in paired]:
        raise ConfigError(
            f"STITCHES[{lone[0]!r}] asks for no pair of models; allowed are two models or more of a data set, as by a "
            "list of seeds"
        )
    return Settings(study, parts, each_once(plans, ALLOWED.name))


def _check_part(where, what, own):
    """Raise ConfigError for settings that do not go together."""
    if (what == "sweep") != isinstance(own["pairs"], list):
        allowed = f"a list of {', '.join(SWEEP_PAIRS)}" if what == "sweep" else " or ".join(map(repr, PAIRS))
        refuse(f"{where}['pairs']", own["pairs"], f"{allowed} for {what}")
    if what == "sweep":
        if isinstance(own["layers"], dict):
            refuse(f"{where}['layers']", own["layers"], "a list of layers, as [0, 5, 9], for a sweep")
        return
    allowed = AUTOENCODERS if what == "autoencoders" else CLASSIFIERS
    models, nets = own["models"] or [], own["networks"]
    for network in [*nets, *(model["network"] for model in models if "network" in model)]:
        if network not in allowed:
            raise ConfigError(f"{where} has the network {network!r}, which is none of the {what}: {', '.join(allowed)}")
    size = "latent" if what == "classifiers" else "layers"
    if strange := [model for model in models if size in model]:
        raise ConfigError(f"{where}['models'] has {strange[0]}, with {size!r}, which {what} have not; leave it out")
    used = {network for model in models or [{}] for network in ([model["network"]] if "network" in model else nets)}
    if what == "classifiers" and isinstance(own["layers"], list) and len(used) > 1:
        raise ConfigError(
            f"{where} has one list of layers for several networks, which name them otherwise; allowed is a dict, as "
            "{'resnet14': ['features'], 'vit': ['block1', 'features']}"
        )


def _plans(name, own, study):
    if own["what"] == "sweep":
        yield from _sweep_plans(name, own, study)
        return
    for data in own["datasets"]:
        models = list(_models_of(name, own, data))
        yield from (Plan("model", model) for model in models)
        for a, b in _paired(models, own["pairs"]):
            layers = itertools.product(a.cuts, b.cuts)
            if a.network == b.network and len(a.cuts) == len(b.cuts):
                layers = zip(a.cuts, b.cuts, strict=True)
            yield from (Plan("pair", a, b, *both) for both in layers)


def _models_of(name, own, data):
    """The models of a part and a data set, each once."""
    singular = dict(zip(LISTS, ("network", "latent", "layers", "activation", "init", "seed", "classes"), strict=True))
    found = {}
    for chosen in own["models"] or [{}]:
        lists = {one: [chosen[one]] if one in chosen else own.get(many, [None]) for many, one in singular.items()}
        for values in itertools.product(*lists.values()):
            of = dict(zip(lists, values, strict=True))
            is_mlp = of["network"] == "mlp"
            of["layers"], of["hidden_size"] = (of["layers"], own.get("hidden_size")) if is_mlp else (None, None)
            of["classes"] = None if of["classes"] == ALL else tuple(of["classes"])
            model = Model(name, own, data, **of)
            found[model.key] = model
    return found.values()


def _paired(models, pairs):
    """Ordered pairs of different models."""
    both = itertools.permutations(models, 2)
    if pairs == "neighbours":
        return [pair for a, b in itertools.pairwise(models) for pair in ((a, b), (b, a))]
    if pairs == "close":
        return [(a, b) for a, b in both if len({*a.differs_from(b)} - {"seed"}) <= 1]
    return list(both)


def _sweep_plans(name, own, study):
    config, made = sweep_of(own, study), []
    for run in config.runs():
        width = run.hidden_size or config.hidden_size
        sizes = (None, run.layers, width, run.activation, run.init, run.seed)
        made.append((run, Model(name, own, config.dataset, "mlp", *sizes, None, run.name)))
    yield from (Plan("model", model) for _, model in made)
    for pair in own["pairs"]:
        if pair == "self":
            yield from (Plan("layers", model, model) for _, model in made)
            continue
        groups = {}
        for run, model in made:
            settings = {"seeds": run.seed, "inits": run.init, "activations": run.activation, "layers": run.layers}
            del settings[pair]
            groups.setdefault((*settings.values(), run.varied), []).append(model)
        for models in groups.values():
            both = itertools.pairwise(models)
            yield from (Plan("layers", *pair) for a, b in both for pair in ((a, b), (b, a)))
