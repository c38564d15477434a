"""The landscape study: trains networks, keeps their checkpoints, and draws the surfaces around them.

    study = Study(CONFIG, NETWORKS, SURFACES)
    print(study.describe())
    results = study.run()  # a `log.StudyResults`

What is finished is kept, what was interrupted goes on: a training at its last epoch, a surface at its last row.
"""

from functools import cached_property, partial
from pathlib import Path

from helpers import files, lanes, networks, packed, sources
from helpers.checks import ConfigError, shown
from helpers.config import resolve_device
from helpers.landscapes import log
from helpers.landscapes.directions import DirectionError, filter_normalised_directions
from helpers.landscapes.settings import MLP, CurvePlan, Network, SurfacePlan, study_settings
from helpers.landscapes.tasks import LandscapeWorker, about, build, checksum_of, multiplications, of_code
from helpers.lanes import Task
from helpers.progress import Lines, Progress, Watched, say
from helpers.sweep import origin
from helpers.sweep.folder import FORCE, SweepError
from helpers.training import checkpoint_file
from helpers.usual_torch import usual_torch

BACKWARD = 3  # so many times a forward pass is a step of training
MOST_NEWS = 4  # tasks of which a line of progress tells
PRODUCTS = 60  # so many products with the Hessian the eigenvalues take, about


class Study:
    """A landscape study. Making it checks everything and loads the data, before anything is written.

    Raises ConfigError, DataError: one sentence for settings that cannot be used, or a folder of another study.
    """

    @usual_torch()
    def __init__(self, config, networks, surfaces):
        self.settings = study_settings(config, networks, surfaces)
        self.folder, self.stop = Path(self.settings.save_dir).absolute(), lanes.Stop()
        self._said, self._whole = set(), {}  # sentences; surfaces that were read and are whole: of which weights
        first = self.settings.networks[0].config
        self.device, self.cluster = resolve_device(first), first.cluster
        self.worker = LandscapeWorker(self.states, self.device)
        self.data = self.worker.data_of(first)
        self._anew = set() if self.settings.resume else {plan.key for plan in self._plans}  # to be made once more
        self._check_networks()
        self._check_folder()

    @property
    def states(self):
        return self.folder / "state"

    @property
    def _plans(self):
        return [*self.settings.networks, *self.settings.surfaces, *self.settings.curves]

    # ---- checks before anything is written

    def _check_networks(self):
        """Raise ConfigError for a network that cannot be built or does not fit the data, or layers that it lacks."""
        self._cost, nets = {}, {}
        for network in self.settings.networks:
            config = network.config.fitted_to(self.data)
            if network.model["network"] == MLP:
                networks.check_inits(config)
            cell = (network.name, network.run.activation, network.run.init, network.run.layers)
            if cell not in nets:
                nets[cell] = build(network, self.data)
            self._cost[network.key] = multiplications(nets[cell], self.data.x_train[:1].cpu())
        for plan in {(p.network.key, p.kind): p for p in self.settings.surfaces if p.settings["layers"]}.values():
            run = plan.network.run
            net = nets[plan.network.name, run.activation, run.init, run.layers]
            try:
                filter_normalised_directions(net, 0, layers=plan.settings["layers"])
            except DirectionError as error:
                raise ConfigError(f"SURFACES[{plan.kind!r}] with {plan.network.name}: {error}") from error
        for plan in self.settings.surfaces:
            size, n = plan.settings["samples"], self.data.train_size
            if isinstance(plan.batch, int) and (plan.batch + 1) * size > n:
                raise ConfigError(
                    f"SURFACES[{plan.kind!r}] asks for {plan.batch + 1} mini-batches of samples = {size}, but there "
                    f"are only {n} training samples; allowed are batches x samples up to {n}"
                )

    def _check_folder(self):
        """Raise ConfigError for a folder that holds another study, or what cannot be read."""
        try:
            there = log.read_manifest(self.folder)
        except (ValueError, OSError) as error:
            raise ConfigError(str(error)) from error
        self.manifest = there or {}
        if there is None:
            return
        record = self._record()
        for part in ("networks", "surfaces"):
            for name, own in record[part].items():
                before = there["settings"].get(part, {}).get(name, own)
                if key := next((key for key in own if not log.agrees(before, {key: own[key]})), None):
                    raise ConfigError(
                        f"{self.folder} holds another study: {key} of {name} is {shown(before.get(key))} there and "
                        f"{shown(own[key])} here; choose another save_dir, or another name in {part.upper()}"
                    )
        own = self._own_functions
        for name, mark in there.get("own_functions", {}).items():
            if own.get(name, mark) != mark:
                raise ConfigError(
                    f"{self.folder} holds a study of another function that was registered as {name!r}; choose another "
                    "save_dir, or register the new one under another name"
                )
        if self.settings.resume == "force":
            return
        if changed := origin.data_changed(there.get("data", {}), self._data_origin):
            raise ConfigError(
                f"{self.folder} holds a study of other data: {changed} differ; put the data back, choose another "
                f"save_dir, or go on all the same with {FORCE}"
            )
        self._check_states()

    def _check_states(self):
        """Raise ConfigError for a state of this study that other code has made."""
        for plan in self._plans:
            path = lanes.state_file(self.states, plan.key)
            code = self._about_state(plan).get("code")
            if isinstance(code, dict) and (changed := sources.changed(code, of_code())):
                raise ConfigError(
                    f"{path} was made by other code: {changed} differs; choose another save_dir, begin anew with "
                    f'"resume": False, or go on all the same with {FORCE}'
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
        drawn = [plan for plan in [*self.settings.surfaces, *self.settings.curves] if self._is_to_be_drawn(plan)]
        return [*self._to_train(drawn), *drawn]

    def _is_to_be_drawn(self, plan):
        return plan.key in self._anew or not (self._cannot_be_drawn(plan) or self._is_done(plan))

    def _cannot_be_drawn(self, plan):
        """Whether a network has diverged before the epoch: its weights are no numbers, and no checkpoint is there."""
        about = self.manifest.get("networks", {}).get(plan.network.key)
        return plan.network.key not in self._anew and bool(about and about["diverged"] and plan.epoch >= about["last"])

    def _is_done(self, plan):
        """Whether what is asked for lies there, made of the weights that the network has now."""
        part = "curvature" if isinstance(plan, CurvePlan) else "failed"
        there = self.manifest.get(part, {}).get(plan.key)
        if there is not None and log.agrees(there["plan"], plan.to_dict()):
            return self._has_these_weights(plan, there["weights"])
        if isinstance(plan, CurvePlan) or not log.has_surface(self.folder, plan.key):
            return False
        if plan.key not in self._whole:
            surface, why = log.read_surface(self.folder, plan.key)
            known = surface is not None and {"kind", "epoch", "pair", "batch", "network", "weights"} <= {
                *surface.settings
            }
            if not why and not (known and log.agrees(surface.settings, plan.to_dict())):
                why = f"{log.surface_file(self.folder, plan.key)} holds another surface"
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

    def _to_train(self, drawn):
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
        path = log.history_file(self.folder, network.key)
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

    def _about_state(self, plan):
        """What the saved state of a plan says of itself; an empty dict where there is none that can be used."""
        path = lanes.state_file(self.states, plan.key)
        if plan.key in self._anew:
            return {}
        try:
            there = files.read_about(path)
        except FileNotFoundError:
            return {}
        except (files.DamagedError, OSError) as error:
            self._say(f"{error}; {plan.key} begins anew")
            return {}
        of = {key: there.get(key) for key in ("do", "of")} if isinstance(there, dict) else None
        if of is None or of != log.as_json(about(self._what(plan))):
            self._say(f"{path} belongs to another study; it is not used")
            return {}
        return there

    def _say(self, sentence):
        """Say once what is wrong with a file."""
        if sentence not in self._said:
            self._said.add(sentence)
            say(sentence)

    # ---- running

    def describe(self):
        """What is asked for and what is finished, in three lines."""
        s, left = self.settings, self.left
        kinds = {}
        for plan in s.surfaces:
            kinds[plan.kind] = kinds.get(plan.kind, 0) + 1
        names = list(dict.fromkeys(network.name for network in s.networks))
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        count = len(self._plans)
        return (
            f"{len(s.networks)} networks ({', '.join(names)}), {len(s.surfaces)} surfaces ({listed}), "
            f"{len(s.curves)} curvatures; {count - len(left)} of {count} are finished\n"
            f"on {files.device_name(self.device)}, "
            + (f"{lanes.Lanes(self.device, len(left)).count} at a time" if self.cluster is None else self.cluster)
        )

    def run(self):
        """Train and draw what is left, and return the whole study, a `log.StudyResults`.

        Interrupted, it goes on from each task's last step when it is started again.
        """
        self.stop.clear()
        try:
            with files.locked(self.folder):
                self._whole.clear()  # another process may have been here
                self._check_folder()
                self._run()
        except (files.LockedError, files.DamagedError, lanes.ClusterError) as error:
            raise SweepError(str(error)) from error
        except OSError as error:
            raise SweepError(
                f"the study cannot be written to {error.filename or self.folder} ({error.strerror or error}); what is "
                "finished is kept: mend that, and start again to go on"
            ) from error
        except (RuntimeError, MemoryError) as error:
            if not lanes.is_out_of_memory(error):
                raise
            said = str(error).splitlines()[:1] or [type(error).__name__]
            raise SweepError(
                f"a network does not fit into memory ({said[0]}); what is finished is kept: choose fewer samples or "
                "narrower networks, and start again to go on"
            ) from error
        return log.load_study(self.folder)

    def _run(self):
        self._begin()
        if not self.left:
            if not self.manifest.get("finished") or not (self.folder / "measures.csv").exists():
                self._finish()
            return
        drawn = [plan for plan in [*self.settings.surfaces, *self.settings.curves] if self._is_to_be_drawn(plan)]
        trained = self._to_train(drawn)
        self._work(trained, sum(map(self._cost_of, drawn)))
        if self.stop.is_set():
            self._write_measures()
            return
        self._work([plan for plan in [*self.settings.surfaces, *self.settings.curves] if self._is_to_be_drawn(plan)])
        if self.stop.is_set():
            self._write_measures()
        else:
            self._finish()

    def _begin(self):
        """Write the manifest before anything else: what is asked for, and where it comes from."""
        before, record = self.manifest, self._record()
        known = before.get("settings", {})
        settings = {part: {**known.get(part, {}), **own} for part, own in record.items()}
        manifest = {"networks": {}, "curvature": {}, "started": files.now(), **before, "settings": settings}
        manifest |= {"data": self._data_origin, "own_functions": self._own_functions}
        if settings != known or "versions" not in before:
            manifest |= {**files.provenance(self.device), "finished": None}
        self._write_manifest(manifest)

    def _write_manifest(self, manifest):
        if manifest != self.manifest:
            log.write_manifest(self.folder, manifest)
            self.manifest = manifest

    def _work(self, plans, later=0.0):
        """Work on some plans, and write down what they give.

        later  cost of what comes after them, for the ETA
        """
        by_key = {plan.key: plan for plan in plans}
        tasks = [self._task(plan) for plan in plans]
        here, finished = sum(task.cost for task in tasks), []
        lines = Watched(Lines(_news, unit="tasks"))
        total = len(self._plans)
        done = total - len(self.left)

        def record(event):
            if event.results is not None:
                self._record_results(by_key[event.task], event.results)
                lanes.state_file(self.states, event.task).unlink(missing_ok=True)
                self._anew.discard(event.task)
                finished.append(event.task)

        def watch(event, fraction, eta):
            rest = here * (1 - fraction)
            eta = eta if eta is None or rest <= 0 else eta * (rest + later) / rest
            lines(Progress(event, done + len(finished), total, fraction, eta))

        try:
            run = self._engine()
            run(tasks, self.worker, record, watch, device=self.device, states=self.states, stop=self.stop)
        finally:
            lines.close()

    def _engine(self):
        if self.cluster is None:
            return lanes.run
        from helpers import cluster  # Dask takes its time to import

        return partial(cluster.run, address=self.cluster)

    def _task(self, plan):
        steps = {Network: lambda: plan.config.num_epochs, CurvePlan: lambda: 1}
        steps = steps.get(type(plan), lambda: plan.settings["width"])()
        done = self._about_state(plan).get("step", -1)
        done = done if isinstance(done, int) and done <= steps else -1
        return Task(plan.key, self._what(plan), self._cost_of(plan), steps, done)

    def _what(self, plan):
        """What a worker is to do, plain data and settings."""
        if isinstance(plan, Network):
            return {"do": "train", "network": plan, "epochs": self.settings.epochs_of(plan)}
        return {"do": "curve" if isinstance(plan, CurvePlan) else "draw", "network": plan.network, "plan": plan}

    def _cost_of(self, plan):
        """Multiplications of a plan, about."""
        if isinstance(plan, Network):
            return self._cost[plan.key] * self.data.train_size * plan.config.num_epochs * BACKWARD
        one = self._cost[plan.network.key]
        if isinstance(plan, CurvePlan):
            return one * plan.samples * (PRODUCTS * bool(plan.eigenvalues) + plan.probes) * 2 * BACKWARD
        n = {"train": self.data.train_size, "test": self.data.test_size}.get(plan.batch, plan.settings["samples"])
        return one * n * plan.settings["width"] ** 2

    def _record_results(self, plan, results):
        if "failed" in results:
            say(f"{plan.key}: {results['failed']}")
        if isinstance(plan, SurfacePlan) and "failed" not in results:
            about = {**plan.to_dict(), **results["about"], **self._words_of(plan)}
            parts = (results[name] for name in ("loss", "accuracy", "steps"))
            log.write_surface(self.folder, plan.key, *parts, about)
            self._whole[plan.key] = about["weights"]
            return
        manifest = dict(self.manifest)
        if not isinstance(plan, Network):
            part = "curvature" if isinstance(plan, CurvePlan) else "failed"
            manifest[part] = {**manifest.get(part, {}), plan.key: {"plan": plan.to_dict(), **results}}
        else:
            history = results["history"]
            own = {"settings": plan.to_dict(), "diverged": results["diverged"], "last": history[-1]["epoch"]}
            own |= {"weights": results["weights"], "checksum": log.write_history(self.folder, plan.key, history)}
            own["finished"] = files.now()
            manifest["networks"] = {**manifest["networks"], plan.key: own}
        self._write_manifest(manifest)

    def _words_of(self, plan):
        """What figures say of a surface's samples, and where they come from."""
        n = {"train": self.data.train_size, "test": self.data.test_size}.get(plan.batch, plan.settings["samples"])
        name = self.settings.given["config"]["data_name"] or data_in_words(plan.network.config)
        return {"data": name, "images": n, "fingerprint": self._data_origin["all"]}

    def _finish(self):
        """Write measures.csv, and into the manifest that all is done."""
        for plan in self.settings.surfaces:
            if self._cannot_be_drawn(plan):
                self._say(f"{plan.network.key} diverged; it has no surface at epoch {plan.epoch} and later")
        self._write_measures()
        self._write_manifest({**self.manifest, "finished": files.now()})

    def _write_measures(self):
        """Write measures.csv of all surfaces in the folder, those of earlier settings too."""
        rows = []
        for key in log.surface_names(self.folder):
            surface, why = log.read_surface(self.folder, key)
            if why:
                self._say(f"left out: {why}")
                continue
            network = key.partition(f"--{surface.settings['kind']}--e")[0]
            found = self.manifest["curvature"].get(f"{network}--e{surface.settings['epoch']}--b0--curvature", {})
            rows.append(log.row_of(key, surface, found))
        log.write_measures(self.folder, rows)


def _news(events):
    """The latest events alone: hundreds of small surfaces may be drawn between two lines."""
    return [f"{event.task}: {_sentence(event)}" for event in events[-MOST_NEWS:]]


def _sentence(event):
    f = event.figures
    if "history" in f:
        last = f["history"][-1]
        return f"epoch {event.step}/{event.steps} loss {last['train_loss']:.4f} accuracy {last['train_acc']:.4f}"
    if "row" in f:
        return f"row {event.step}/{event.steps}"
    return ", ".join(f"{key} {value:.4g}" for key, value in f.items() if isinstance(value, float)) or "eigenvalues"


NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "tiny_imagenet": "Tiny ImageNet"}


def data_in_words(config):
    """The data set as figures name it."""
    kind, _, where = config.dataset.partition(":")
    return f"{Path(where).stem.replace('_', ' ')} ({kind})" if where else NAMES.get(kind, kind)
