"""The tasks of a stitching study, for `lanes.py` and `cluster.py`: who makes their works, their steps, their cost.

A model is trained an epoch a step (`models`); a pair is stitched with one draw of anchors a step, runs of a sweep one
layer a step (`stitches`). A kill loses one step.
"""

from functools import cache
from pathlib import Path

from helpers import files, sources
from helpers.checks import ConfigError
from helpers.config import SweepConfig
from helpers.landscape_study.log import as_json
from helpers.loading import Loading
from helpers.networks import build, cut, layers_of
from helpers.path_study.settings import sweep_of
from helpers.stitching import StitchError, choose
from helpers.stitching_study.models import RunTrained, Trained, data_of, images_of, network_of
from helpers.stitching_study.settings import AUTOENCODERS, GROW, data_name, maps_alike
from helpers.stitching_study.stitches import Layers, Stitching, diverged, of_maps, pairs_of, steps_of
from helpers.study_tables import StudyError, read_rows_of, read_weights, rows_file, weights_file

LEAST = 4  # images to measure by: unbiased CKA is of no fewer


class StitchWorker:
    """Makes the works of a study; the worker of `lanes.py`. Sent to another process, it loads the data there itself.

    folder  of the study, in whose state/ weights lie
    study   the keys of `settings.STUDY_CHECKS`
    """

    save_every = 10.0  # seconds between two states

    def __init__(self, folder, study, device=None):
        self.folder, self.study, self.loading = Path(folder), study, Loading(device)

    def config_of(self, model):
        """The SweepConfig that names the data of a model; of a sweep's run the sweep's own."""
        if model.run:
            return sweep_of(model.settings, self.study)
        given = {key: model.settings[key] for key in ("train_size", "test_size") if model.settings[key]}
        beside = {"data_dir": self.study["data_dir"], "device": self.study["device"]}
        return SweepConfig.from_dict({"dataset": model.data, **beside, **given})

    def data(self, model):
        """The Data of a model, with all classes, loaded once."""
        return self.loading.data_of(self.config_of(model))

    def fingerprint(self, model):
        """(which rows, their fingerprint)."""
        config = self.config_of(model)
        sizes = [f"{key} {getattr(config, key)}" for key in ("train_size", "test_size") if getattr(config, key)]
        return ", ".join([data_name(model.data), *sizes]), self.data(model).fingerprint

    def network(self, model):
        """The network of a model before training."""
        data = self.data(model)
        if model.run:
            config = self.config_of(model).fitted_to(data)
            net = build(config, config.named[model.run])
        else:
            net = network_of(model, data)
        net.gives = "images" if model.network in AUTOENCODERS else "classes"  # an mlp alone does not know
        return net

    def trained(self, model):
        """The network of a model with the weights of its training. Raises StudyError, DamagedError."""
        net = self.network(model)
        weights = read_weights(self.folder, model.key)
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise StudyError(
                f"{weights_file(self.folder, model.key)} holds the weights of another network than {model.name}; get "
                "its own back, or run the study in another save_dir"
            ) from error
        return net.to(self.data(model).x_train.device).eval()

    def layers(self, model):
        """The names of the layers at which a run of a sweep, an MLP, is cut: no network is drawn to know them."""
        names = [str(layer) for layer in range(model.layers)]
        return [str(name) for name in model.settings["layers"] or names if str(name) in names]

    def images(self, plan):
        """(indices of the pool of anchors, of the test images) of a plan of two models."""
        return images_of(self.data(plan.model1), plan.settings, anchor_classes(plan))

    def pairs(self, plan):
        """(Pair of the pool of anchors, Pair of the images to measure by) of two models that are trained."""
        cuts = [cut(self.trained(plan.model1), plan.layer1), cut(self.trained(plan.model2), plan.layer2)]
        return pairs_of(self.data(plan.model1), cuts, self.images(plan))

    def kept(self, task):
        """{table: rows} of a pair from a start with other lists (GROW), but of maps with other settings.

        None of a table that was made before there were all columns: the pair is made anew.
        """
        plan, file = task.what["plan"], rows_file(self.folder, task.what["plan"].key)
        record = read_rows_of(file) if self.study["resume"] and file.exists() else {}
        of, asked = record.get("of", {}), as_json(plan.to_dict())
        before, now = ({**those.get("settings", {}), **those.get("maps", {})} for those in (of, asked))
        if record.get("from") != task.what["from"] or any(before.get(key) != now[key] for key in {*now} - {*GROW}):
            return {}
        return of_maps(record["rows"], maps_alike(before, now))

    def begin(self, task):
        plan, known = task.what["plan"], task.what["known"]
        data = self.data(plan.model1)
        if plan.do == "model" and plan.model1.run:
            config = self.config_of(plan.model1).fitted_to(data)
            return RunTrained(config, data, [config.named[plan.model1.run]], data.x_train.device)
        if plan.do == "model":
            return Trained(plan.model1, data)
        both = plan.model1, plan.model2
        if lost := [model.name for model in both if known[model.key]["diverged"]]:
            return diverged(plan, lost[0], steps_of(plan, self.layers_of_plan(plan)))
        nets = [self.trained(model) for model in both]
        untrained = self.network(plan.model1).to(data.x_train.device).eval()
        if plan.do == "layers":
            learned = [known[model.key]["learned"] for model in both]
            layers = [self.layers(model) for model in both]
            return Layers(plan, data, nets, layers, self.images(plan), untrained, learned, self.kept(task))
        cuts = [cut(net, layer) for net, layer in zip(nets, (plan.layer1, plan.layer2), strict=True)]
        return Stitching(plan, data, cuts, self.images(plan), cut(untrained, plan.layer1), self.kept(task))

    def layers_of_plan(self, plan):
        return self.layers(plan.model1) if plan.do == "layers" else None

    def about(self, task):
        return about(task.what)

    def halve(self, task, state):
        return None

    def steps_of(self, plan):
        """The number of the last step of a plan's work."""
        if plan.do != "model":
            return steps_of(plan, self.layers_of_plan(plan))
        return self.config_of(plan.model1).num_epochs if plan.model1.run else plan.settings["num_epochs"]

    def cost_of(self, plan):
        """How long a plan takes, about: rows that go forward through a network."""
        s, data = plan.settings, self.data(plan.model1)
        if plan.do == "model":
            return 3 * data.train_size * self.steps_of(plan)
        maps = len(s["maps"]) * len(s["lams"]) * len(s["anchors"]) * len(s["sampling"]) * s["draws"]
        held_out = min(s["eval_size"], data.test_size)
        if plan.do == "layers":
            return 0.75 * held_out * maps * len(self.layers(plan.model1)) * len(self.layers(plan.model2))
        share = 1 if s["control_draws"] is None else min(1, s["control_draws"] / s["draws"])
        return 3 * min(s["pool_size"] or data.train_size, data.train_size) + held_out * maps * (1 + 5 * share)

    # ---- checks before anything is written

    def check(self, plan):
        """Raise ConfigError, DataError for a plan that cannot be done."""
        where, data = f"STITCHES[{plan.part!r}]", self.data(plan.model1)
        if plan.do == "model":
            if not plan.model1.run:
                data_of(plan.model1, data)
            return
        for model, layer in ((plan.model1, plan.layer1), (plan.model2, plan.layer2)):
            if layer is not None:
                try:
                    cut(self.network(model), layer)
                except ConfigError as error:
                    raise ConfigError(f"{where}['layers']: {error}") from error
            elif not self.layers(model):
                raise ConfigError(
                    f"{where}['layers'] is {model.settings['layers']}, none of which {model.name} has; allowed are "
                    f"{', '.join(layers_of(self.network(model)))}"
                )
        pool, held_out = self.images(plan)
        if len(held_out) < LEAST:
            raise ConfigError(
                f"{where}: eval_size is {plan.settings['eval_size']} and there are {data.test_size} test images; "
                f"allowed are {LEAST} or more of both"
            )
        if len(pool) == 0:
            raise ConfigError(
                f"{where}: {plan.model1.name} and {plan.model2.name} have no class in common; allowed is "
                "anchor_classes 'all'"
            )
        labels = data.y_train[pool].cpu()
        for sampling in plan.settings["sampling"]:
            asks = sampling if sampling not in ("convex_hull", "furthest_away") else "random"
            given = {"labels": labels, "errors": labels.double(), "latents": labels[:, None].double()}
            try:
                choose(asks, max(plan.settings["anchors"]), **given)
                choose(asks, min(plan.settings["anchors"]), **given)
            except StitchError as error:
                raise ConfigError(f"{where}, sampling {sampling!r}: {error}") from error


def anchor_classes(plan):
    """Whose images may be anchors: None for all."""
    both = [model.classes for model in (plan.model1, plan.model2) if model.classes is not None]
    if plan.settings["anchor_classes"] == "all" or not both:
        return None
    return sorted(set.intersection(*map(set, both)))


def about(what):
    """What a state says of its task, as plain JSON."""
    return {"of": what["plan"].to_dict(), "from": what["from"], "code": code_mark()}


@cache
def code_mark():
    """16 digits of the code that decides numbers, as it was when this process first asked."""
    return files.checksum(repr(sorted(sources.fingerprints("helpers.stitching_study.tasks").items())))
