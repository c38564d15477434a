"""The folder of a landscape study: what lies there, whether it is believed, and what is left to do."""

from functools import cached_property
from pathlib import Path

from helpers import files, lanes, manifests, packed, sources
from helpers.checks import ConfigError, shown
from helpers.landscape_study import log
from helpers.landscape_study.settings import CurvePlan, Network, SurfacePlan, surface_key
from helpers.landscape_study.tasks import about, checksum_of, of_code
from helpers.landscape_study.work import to_make_anew
from helpers.progress import Once, say
from helpers.sweep import origin
from helpers.sweep.folder import FORCE
from helpers.training import checkpoint_file

KEY = ("kind", "epoch", "pair", "batch")  # what the name of a surface says, beside its network
DECIDES = {"network", "weights", *KEY}  # without these a surface is of no study


class StudyFolder:
    """What lies in the folder of a study, and what is written there.

    path      absolute
    settings  a `settings.Settings`
    data      the Data that its networks are trained on
    """

    def __init__(self, path, settings, data):
        self.path, self.settings, self.data, self.manifest = path, settings, data, {}
        self._say, self._whole = Once(), {}  # surfaces that were read and are whole: of which weights
        self._anew = to_make_anew(settings)

    @property
    def states(self):
        return self.path / "state"

    # ---- checks before anything is written

    def check(self):
        """Raise ConfigError for a folder that holds another study, or what cannot be read."""
        self.manifest = there = manifests.of_study(log.read_manifest, self.path)
        self._whole.clear()  # another process may have been here
        if not there:
            return
        record = self._record()
        for part in ("networks", "surfaces"):
            for name, own in record[part].items():
                before = there["settings"].get(part, {}).get(name, own)
                if key := next((key for key in own if not log.agrees(before, {key: own[key]})), None):
                    raise ConfigError(
                        f"{self.path} holds another study: {key} of {name} is {shown(before.get(key))} there and "
                        f"{shown(own[key])} here; choose another save_dir, or another name in {part.upper()}"
                    )
        own = self._own_functions
        for name, mark in there.get("own_functions", {}).items():
            if own.get(name, mark) != mark:
                raise ConfigError(
                    f"{self.path} holds a study of another function that was registered as {name!r}; choose another "
                    "save_dir, or register the new one under another name"
                )
        if self.settings.resume == "force":
            return
        if changed := origin.data_changed(there.get("data", {}), self._data_origin):
            raise ConfigError(
                f"{self.path} holds a study of other data: {changed} differ; put the data back, choose another "
                f"save_dir, or continue anyway with {FORCE}"
            )
        self._check_states()

    def _check_states(self):
        """Raise ConfigError for a state from which this study would go on, and which other code has made."""
        changed = {}
        for plan in self.settings.plans:
            code = self.about_state(plan).get("code")
            if isinstance(code, dict) and (differs := sources.changed(code, of_code())):
                changed[plan.key] = differs
        left = {plan.key for plan in self.left} if changed else ()  # a kill may leave the state of what is finished
        for key, differs in changed.items():
            if key in left:
                path = lanes.state_file(self.states, key)
                raise ConfigError(
                    f"{path} was made by other code: {differs} differs; choose another save_dir, begin anew with "
                    f'"resume": False, or continue anyway with {FORCE}'
                )

    def _record(self):
        """What manifest.json has of the settings, by which a later start knows whether this is the same study."""
        kinds = {plan.kind: plan.settings for plan in self.settings.surfaces}
        return {"networks": {network.key: network.to_dict() for network in self.settings.networks}, "surfaces": kinds}

    @cached_property
    def _data_origin(self):
        return origin.of_data(self.data, self.settings.networks[0].config.normalize)

    @cached_property
    def _own_functions(self):
        found = {}
        for network in self.settings.networks:
            found |= origin.own_activations(network.config) | origin.own_inits(network.config)
        return found

    # ---- what is left

    @property
    def left(self):
        """The plans that are not finished, as the folder says now: networks, surfaces and curvatures."""
        drawn = [plan for plan in self.settings.drawn if self.is_to_be_drawn(plan)]
        return [*self.to_train(drawn), *drawn]

    def is_to_be_drawn(self, plan):
        return plan.key in self._anew or not (self.cannot_be_drawn(plan) or self._is_done(plan))

    def cannot_be_drawn(self, plan):
        """Whether a network has diverged before the epoch: its weights are no numbers, and no checkpoint is there."""
        about = self.manifest.get("networks", {}).get(plan.network.key)
        return plan.network.key not in self._anew and bool(about and about["diverged"] and plan.epoch >= about["last"])

    def _is_done(self, plan):
        """Whether what is asked for lies there, made of the weights that the network has now."""
        part = "curvature" if isinstance(plan, CurvePlan) else "failed"
        there = self.manifest.get(part, {}).get(plan.key)
        if there is not None and log.agrees(there["plan"], plan.to_dict()):
            return self._has_these_weights(plan, there["weights"])
        if isinstance(plan, CurvePlan) or not log.has_surface(self.path, plan.key):
            return False
        if plan.key not in self._whole:
            surface, why = log.read_surface(self.path, plan.key)
            known = surface is not None and {*surface.settings} >= DECIDES
            if not why and not (known and log.agrees(surface.settings, plan.to_dict())):
                why = f"{log.surface_file(self.path, plan.key)} holds another surface"
            if why:
                self._say(f"{why}; it is drawn again")
                return False
            self._whole[plan.key] = surface.settings["weights"]
        return self._has_these_weights(plan, self._whole[plan.key])

    def _has_these_weights(self, plan, weights):
        about = self.manifest.get("networks", {}).get(plan.network.key, {})
        same = about.get("weights", {}).get(str(plan.epoch), weights) == weights
        if not same:
            self._say(f"{plan.network.key} has other weights than before; what was drawn of it is drawn again")
        return same

    def to_train(self, drawn):
        """The networks to train: those that are not finished, or lack a checkpoint that something is drawn from."""
        needed = {}
        for plan in drawn:
            needed.setdefault(plan.network.key, set()).update(self._checkpoints_of(plan))
        found = []
        for network in self.settings.networks:
            about = self.manifest.get("networks", {}).get(network.key)
            if about is None or network.key in self._anew:
                found.append(network)
            elif why := self._doubt(network, about, needed.get(network.key, ())):
                self._say(f"{why}; {network.key} is trained again")
                found.append(network)
        return found

    def _checkpoints_of(self, plan):
        trajectory = isinstance(plan, SurfacePlan) and plan.settings["directions"] == "trajectory"
        return range(plan.network.config.num_epochs + 1) if trajectory else [plan.epoch]

    def _doubt(self, network, about, epochs):
        """Why a training that is finished does not do, as a sentence; an empty text where it does."""
        path = log.history_file(self.path, network.key)
        try:
            if packed.checksum(path) != about["checksum"]:
                return f"{path} is damaged: its checksum is not the one in manifest.json"
            for epoch in sorted(epochs):
                path = checkpoint_file(self.states / network.key, epoch)
                if checksum_of(files.read_state(path)[0]) != about["weights"].get(str(epoch)):
                    return f"{path} holds other weights than those that were trained"
        except FileNotFoundError:
            return f"{path} is not there"
        except (files.DamagedError, OSError) as error:
            return str(error)
        return ""

    def about_state(self, plan):
        """What the saved state of a plan says of itself; an empty dict where there is none that can be used."""
        if plan.key in self._anew or (there := lanes.about_state(self.states, plan.key, self._say)) is None:
            return {}
        path = lanes.state_file(self.states, plan.key)
        of = {key: there.get(key) for key in ("do", "of")} if isinstance(there, dict) else None
        if of is None or of != log.as_json(about(self.what(plan))):
            self._say(f"{path} belongs to another study; it is not used")
            return {}
        return there

    # ---- writing

    def begin(self, device):
        """Write the manifest before anything else: what is asked for, and where it comes from."""
        before, record = self.manifest, self._record()
        known = before.get("settings", {})
        settings = {part: {**known.get(part, {}), **own} for part, own in record.items()}
        manifest = {"networks": {}, "curvature": {}, "started": files.now(), **before, "settings": settings}
        manifest |= {"data": self._data_origin, "own_functions": self._own_functions}
        if settings != known or "versions" not in before:
            manifest |= {**files.provenance(device), "finished": None}
        self._write_manifest(manifest)
        states = (path for path in self.states.glob("*") if path.is_dir())
        for folder in (self.path, self.path / "networks", self.path / "surfaces", self.states, *states):
            files.remove_parts(folder)

    def _write_manifest(self, manifest):
        if manifest != self.manifest:
            log.write_manifest(self.path, manifest)
            self.manifest = manifest

    def what(self, plan):
        """What a worker is to do, plain data and settings."""
        if isinstance(plan, Network):
            return {"do": "train", "network": plan, "epochs": self.settings.epochs_of(plan)}
        return {"do": "curve" if isinstance(plan, CurvePlan) else "draw", "network": plan.network, "plan": plan}

    def record_results(self, plan, results):
        """Write what a task has given, and forget its state."""
        self._write_results(plan, results)
        lanes.state_file(self.states, plan.key).unlink(missing_ok=True)
        self._anew.discard(plan.key)

    def _write_results(self, plan, results):
        if "failed" in results:
            say(f"{plan.key}: {results['failed']}")
        if isinstance(plan, SurfacePlan) and "failed" not in results:
            about = {**plan.to_dict(), **results["about"], **self._words_of(plan)}
            parts = (results[name] for name in ("loss", "accuracy", "steps"))
            log.write_surface(self.path, plan.key, *parts, about)
            self._whole[plan.key] = about["weights"]
            return
        manifest = dict(self.manifest)
        if not isinstance(plan, Network):
            part = "curvature" if isinstance(plan, CurvePlan) else "failed"
            manifest[part] = {**manifest.get(part, {}), plan.key: {"plan": plan.to_dict(), **results}}
        else:
            history = results["history"]
            own = {"settings": plan.to_dict(), "diverged": results["diverged"], "last": history[-1]["epoch"]}
            own |= {"weights": results["weights"], "checksum": log.write_history(self.path, plan.key, history)}
            own["finished"] = files.now()
            manifest["networks"] = {**manifest["networks"], plan.key: own}
        self._write_manifest(manifest)

    def _words_of(self, plan):
        """What figures say of a surface's samples, and where they come from."""
        n = {"train": self.data.train_size, "test": self.data.test_size}.get(plan.batch, plan.settings["samples"])
        name = self.settings.given["config"]["data_name"] or data_in_words(plan.network.config)
        return {"data": name, "images": n, "fingerprint": self._data_origin["all"]}

    @property
    def is_finished(self):
        return bool(self.manifest.get("finished")) and log.damage_of_measures(self.path, self.manifest) is None

    def finish(self, complete=True):
        """Write measures.csv, and into the manifest that all is done, where it is."""
        for plan in self.settings.surfaces:
            if self.cannot_be_drawn(plan):
                self._say(f"{plan.network.key} diverged; it has no surface at epoch {plan.epoch} and later")
        # a kill between the two leaves a table without a checksum, and not one with that of another
        self._write_manifest({key: value for key, value in self.manifest.items() if key != "measures"})
        measures = self.write_measures()
        self._write_manifest({**self.manifest, "measures": measures, "finished": files.now() if complete else None})

    def write_measures(self):
        """Write measures.csv of all surfaces in the folder, those of earlier settings too. Returns its checksum."""
        rows = []
        for key in log.surface_names(self.path):
            surface, why = log.read_surface(self.path, key)
            if why := why or self._not_of_this_study(key, surface):
                self._say(f"left out: {why}")
                continue
            network, epoch = log.network_of(key), surface.settings["epoch"]
            found = self.manifest["curvature"].get(f"{network}--e{epoch}--b0--curvature", {})
            rows.append(log.row_of(key, surface, found))
        return log.write_measures(self.path, rows)

    def _not_of_this_study(self, key, surface):
        """Why the file of a surface is not believed, as a sentence; an empty text where it is."""
        path, settings, network = log.surface_file(self.path, key), surface.settings, log.network_of(key)
        if not {*settings} >= DECIDES or key != surface_key(network, **{name: settings[name] for name in KEY}):
            return f"{path} holds another surface"
        about = self.manifest["networks"].get(network)
        if about is None:  # of a manifest that was moved away
            return ""
        if not log.agrees(settings["network"], about["settings"]):
            return f"{path} holds another surface"
        if about["weights"].get(str(settings["epoch"]), settings["weights"]) != settings["weights"]:
            return f"{path} was drawn of other weights than {network} has now"
        return ""


NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "tiny_imagenet": "Tiny ImageNet"}


def data_in_words(config):
    """The data set as figures name it."""
    kind, _, where = config.dataset.partition(":")
    return f"{Path(where).stem.replace('_', ' ')} ({kind})" if where else NAMES.get(kind, kind)
