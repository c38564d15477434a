"""The experiments of the spline study: what is asked for, and training it, one network each, with its gradient log.

An experiment is one network, a `DeepMLP` trained by autograd and torch.optim; a sweep, which measures layers once an
epoch instead, is faster by far.
"""

import dataclasses
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from helpers import elsewhere, files, lanes, networks, sources
from helpers.axes import AXES
from helpers.checks import ConfigError, checked, folded, name_in, optional, path, positive, shown, whole
from helpers.config import CHECKS, ONE, SweepConfig, resolve_device
from helpers.lanes import Task
from helpers.loading import Loading
from helpers.progress import Lines, Progress, Watched, say
from helpers.spline_study import log
from helpers.sweep import origin
from helpers.sweep.folder import FORCE, explained
from helpers.sweep.plan import parameters
from helpers.training import TORCH_OPTIMIZERS, Recipe, Training, data_type
from helpers.usual_torch import usual_torch

# as published, but for the data set and what suits it
DEFAULTS = {
    "activation": "sigmoid",
    "init": "xavier_uniform",
    "layers": 16,
    "hidden_size": 512,
    "optimizer": "adam",
    "lr": 3e-4,
    "clip": None,
    "seeds": [0],
}
# what an experiment calls otherwise than a sweep, which has lists of them
LISTS = {axis: AXES[axis] for axis in ("activation", "init", "layers")}
SWEEPS_OWN = ("save_dir", "stack_size", "keep_state", "momentum", "weight_decay")
# the keys of COMMON and of an entry of EXPERIMENTS: a sweep's, but for these
EXPERIMENT_CHECKS = {
    "activation": lambda key, value: value,  # a row or a variant: looked up by SweepConfig, which knows both
    "init": lambda key, value: value,
    "layers": whole(1),
    "clip": optional(positive),
    **{key: CHECKS[key] for key in CHECKS if key not in (*LISTS.values(), *SWEEPS_OWN)},
    **ONE,
    **{key: optional(ONE[key]) for key in ("lr", "batch_size")},
    "optimizer": name_in(TORCH_OPTIMIZERS, elsewhere.OPTIMIZERS),
    "precision": name_in(("float32", "float64")),
}
SAVE_EVERY = 30.0  # seconds between two states on disk
MOST = 10_000  # networks of a study, each of which has a folder of its own
LONGEST = 200  # bytes of a folder's name: beside it lie files of longer ones, and most systems end at 255


@dataclass(frozen=True)
class Experiment:
    """One network to train.

    config  a SweepConfig of a single run, which says everything but `clip`
    clip    the largest norm of the whole gradient; None for no limit
    folder  where its log goes
    """

    name: str
    config: SweepConfig
    clip: float | None
    folder: Path

    @property
    def run(self):
        return self.config.runs()[0]

    def to_dict(self):
        """What decides its numbers, as plain JSON."""
        fixed = (
            "momentum",
            "weight_decay",
            "data_dir",
            "save_dir",
            "device",
            "resume",
            "stack_size",
            "keep_state",
            "input_square",
            "cluster",
        )
        plain = {key: value for key, value in self.config.to_dict().items() if key not in fixed}
        own = {"activation": self.run.activation, "init": self.run.init}
        plain["activation_params"] = plain["activation_params"].get(own["activation"], {})
        plain["init_params"] = plain["init_params"][own["init"]]
        return {**plain, "clip": self.clip}


def experiments(common, given, save_dir):
    """All experiments, one a name and seed. Raises ConfigError, one sentence, for what cannot be trained.

    common  {key: value} for all of them; DEFAULTS where left out
    given   {name: {key: value}}, where that differs
    """
    if not isinstance(given, dict) or not given:
        raise ConfigError("EXPERIMENTS is a dict from a name to what differs in it, with at least one entry")
    save_dir, common, found = path("save_dir", save_dir), checked(common, EXPERIMENT_CHECKS, "COMMON"), []
    for name, own in given.items():
        own = checked(own, EXPERIMENT_CHECKS, f"EXPERIMENTS[{name!r}]", within=True)
        for key in ("device", "data_dir", "cluster"):
            if key in own:
                raise ConfigError(
                    f"EXPERIMENTS[{name!r}] has {key!r}, which is the same for all; it belongs into COMMON"
                )
        _check_name(name)
        settings = {**DEFAULTS, **common, **own}
        clip = settings.pop("clip")
        for key, many in LISTS.items():
            settings[many] = [settings.pop(key)]
        seeds = settings["seeds"]
        if len(found) + len(seeds) > MOST:
            raise ConfigError(f"EXPERIMENTS with their seeds are more than {MOST:,} networks; allowed are so many")
        config = SweepConfig.from_dict({**settings, "seeds": seeds[:1]})
        for seed in seeds:
            folder = Path(save_dir).absolute() / f"{name}_s{seed}"  # also after os.chdir
            its = dataclasses.replace(config, seeds=(seed,), save_dir=str(folder))
            found.append(Experiment(str(name), its, clip, folder))
    _check_folders(found)
    return found


def _check_name(name):
    if not isinstance(name, str | int):
        raise ConfigError(f"an experiment's name is a text; got {shown(name)}")
    plain = str(name).replace("_", "").replace("-", "").replace(".", "")
    if not plain.isalnum() or str(name)[0] == ".":
        raise ConfigError(
            f"an experiment's name is made of letters, digits, dots, - and _, and begins with no dot; got {shown(name)}"
        )


def _check_folders(found):
    """No two experiments share a folder, on any system: some take a and A for one, or both ways to write an accent."""
    seen = {}
    for experiment in found:
        name = experiment.folder.name
        if len(name.encode()) > LONGEST:
            raise ConfigError(f"an experiment's name and seed are {shown(name)}; allowed are {LONGEST} bytes")
        other = seen.setdefault(folded(name), experiment)
        if other is not experiment:
            raise ConfigError(
                f"EXPERIMENTS has {other.folder.name!r} and {name!r}, which are one folder on some systems; give one "
                "of them another name"
            )


# ---- training


def training_of(experiment, data, device):
    """The Training of one experiment, with its gradient log."""
    config = experiment.config.fitted_to(data)
    net = networks.build(config, experiment.run, data_type(config)).to(device)
    recipe = Recipe(
        config.optimizer, experiment.run.lr, config.batch_size, config.num_epochs, experiment.clip, experiment.run.seed
    )
    return Training(net, data, recipe, [log.GradientObserver()])


class ExperimentWorker:
    """Trains experiments; the worker of `lanes.py`. It can be sent to another process, which loads the data itself."""

    save_every = SAVE_EVERY

    def __init__(self, device=None):
        self.loading = Loading(device)

    def begin(self, task):
        experiment = task.what["experiment"]
        return training_of(experiment, self.loading.data_of(experiment.config), self.loading.device)

    def about(self, task):
        return {"experiment": task.what["experiment"].to_dict(), "training": task.what["training"], "code": of_code()}

    def halve(self, task, state):
        return None  # one network has no halves


class Study:
    """Some experiments, trained side by side; what is finished is kept, what was interrupted goes on.

    Making it checks everything and loads the data, before anything is written; what lies in the folders is checked
    again when it runs, since another study may have been there meanwhile. Raises ConfigError, DataError, or
    ConfigError for a folder that holds the log of another experiment.
    """

    @usual_torch()
    def __init__(self, found):
        self.experiments, self.stop = found, lanes.Stop()
        self.folder = found[0].folder.parent
        self.device, self.cluster = resolve_device(found[0].config), found[0].config.cluster
        self.worker, self._trained = ExperimentWorker(self.device), set()
        self._origins, self._useless = {}, set()  # of each Data; states that were said to be of no use
        for config in {experiment.name: experiment.config for experiment in found}.values():
            networks.check_inits(config.fitted_to(self.data_of(config)))
        self._check_folders()

    @property
    def states(self):
        return self.folder / "state"

    @property
    def left(self):
        """The experiments that are not finished, as their folders say now."""
        return [experiment for experiment in self.experiments if self._is_left(experiment)]

    def _is_left(self, experiment):
        anew = not experiment.config.resume and experiment.folder not in self._trained
        return anew or not log.is_finished(experiment.folder)

    def _check_folders(self):
        """Raise ConfigError for a folder that holds another experiment, or what cannot be read."""
        for experiment in self.experiments:
            there = log.read_about(experiment.folder)
            try:
                log.has_rows(experiment.folder)
            except files.DamagedError as error:
                raise ConfigError(str(error)) from error
            if there is not None and (key := _first_difference(there.get("experiment"), experiment.to_dict())):
                raise ConfigError(
                    f"{experiment.folder} holds the log of another experiment: {key} differs; choose another save_dir, "
                    "or another name"
                )
            if there is not None and experiment.config.resume != "force":
                self._check_origin(experiment, there)

    def _check_origin(self, experiment, there):
        """Raise ConfigError for a log of other data or functions, or a state that other code has trained."""
        here = self._origin(experiment)
        own = there.get("own_activations")
        for name, mark in own.items() if isinstance(own, dict) else ():
            if here["own_activations"].get(name, mark) != mark:
                raise ConfigError(
                    f"{experiment.folder} holds the log of another function that was registered as {name!r}; choose "
                    "another save_dir, or register the new one under another name"
                )
        data = there.get("data")
        if isinstance(data, dict) and (changed := origin.data_changed(data, here["data"])):
            raise ConfigError(
                f"{experiment.folder} holds the log of other data: {changed} differ; put the data back, choose another "
                f"save_dir, or continue anyway with {FORCE}"
            )
        path = lanes.state_file(self.states, experiment.folder.name)
        code = self._about_state(path, experiment, there).get("code")
        if experiment.config.resume and isinstance(code, dict) and (changed := sources.changed(code, of_code())):
            raise ConfigError(
                f"{path} was trained by other code: {changed} differs; choose another save_dir, train anew with "
                f'"resume": False, or continue anyway with {FORCE}'
            )

    def _origin(self, experiment):
        """What decides the numbers beside the settings and the code: the data, and the reader's own functions."""
        config, data = experiment.config, self.data_of(experiment.config)
        if id(data) not in self._origins:
            self._origins[id(data)] = origin.of_data(data, config.normalize)
        return {"data": self._origins[id(data)], "own_activations": origin.own_activations(config)}

    def _about_state(self, path, experiment, there):
        """What the state of this very training says of itself; an empty dict where there is none. Tells why."""
        try:
            about = files.read_about(path)
        except FileNotFoundError:
            return {}
        except (files.DamagedError, OSError) as error:
            self._say(path, f"{error}; {experiment.folder.name} is trained from its start")
            return {}
        if there is None:
            self._say(path, f"{path} has no log beside it; {experiment.folder.name} is trained from its start")
            return {}
        ours = isinstance(about, dict) and not _first_difference(about.get("experiment"), experiment.to_dict())
        ours = ours and about.get("training") == there.get("training")
        if not ours or about.get("step") not in range(experiment.config.num_epochs + 1):
            self._say(path, f"{path} belongs to another experiment; it is not used")
            return {}
        return about

    def _say(self, path, sentence):
        """Say once what is wrong with a state."""
        if path not in self._useless:
            self._useless.add(path)
            say(sentence)

    def data_of(self, config):
        """The Data of a SweepConfig, as the experiments of this study have it."""
        return self.worker.loading.data_of(config)

    def describe(self):
        names, left = list(dict.fromkeys(e.name for e in self.experiments)), len(self.left)
        return (
            f"{len(self.experiments)} networks: {len(names)} experiments ({', '.join(names)}); "
            f"{len(self.experiments) - left} are finished\n" + lanes.where(self.device, self.cluster, left)
        )

    def run(self):
        """Train what is left. After an interrupt a start goes on from each network's last state.

        States are written every SAVE_EVERY seconds, and where an epoch is complete when the interrupt comes.
        """
        self.stop.clear()
        smaller = "fewer layers or a smaller hidden_size"
        with explained("the log", self.folder, "an experiment", smaller), files.locked(self.folder):
            self._check_folders()
            self._run(self.left)

    def _run(self, left):
        tasks, begun = [], {}
        for experiment in left:
            self._set_aside(experiment)
            task = self._task(experiment)
            about = {"classes": self.data_of(experiment.config).classes, "training": task.what["training"]}
            about |= self._origin(experiment)
            tasks.append(task)
            begun[task.name] = log.begin(experiment, about, self.device, task.done)
        lines, finished = Watched(Lines(_news, unit="networks")), []

        def record(event):
            folder = self.folder / event.task
            log.append(folder, event)
            if event.results is not None:
                log.finish(folder, begun[event.task], event.results)
                lanes.state_file(self.states, event.task).unlink(missing_ok=True)
                self._trained.add(folder)
                finished.append(event.task)

        def watch(event, fraction, eta):
            lines(Progress(event, len(finished), len(tasks), fraction, eta))

        try:
            run = self._engine()
            run(tasks, self.worker, record, watch, device=self.device, states=self.states, stop=self.stop)
        finally:
            lines.close()
        if self.states.is_dir() and not any(self.states.iterdir()):
            self.states.rmdir()

    def _engine(self):
        if self.cluster is None:
            return lanes.run
        from helpers import cluster  # Dask takes its time to import

        return partial(cluster.run, address=self.cluster)

    def _set_aside(self, experiment):
        """Set rows aside that nobody vouches for, where the reader has not asked for a training anew."""
        if not experiment.config.resume:
            return
        about, why = log.read_about(experiment.folder), None
        if about is None and log.has_rows(experiment.folder):
            why = f"{experiment.folder} holds rows without an experiment.json"
        elif about is not None and about.get("finished"):
            why = log.doubt(experiment.folder)
        if why:
            say(f"{why}; it is trained anew, and what was there is now {log.set_aside(experiment.folder)}")

    def _task(self, experiment):
        """The task of an experiment, at the epoch that its saved state has reached.

        A state goes on in the log of its own training alone. Where that was moved away, the experiment begins anew.
        """
        config = experiment.config
        data = self.data_of(config)
        cost = parameters(config.fitted_to(data), experiment.run.layers) * data.train_size * config.num_epochs
        task = Task(experiment.folder.name, {"experiment": experiment}, cost, config.num_epochs)
        there = log.read_about(experiment.folder)
        about = self._about_state(lanes.state_file(self.states, task.name), experiment, there) if config.resume else {}
        training = there.get("training") if about else log.new_training()
        return task._replace(done=about.get("step", -1), what={**task.what, "training": training})


@cache
def of_code():
    """{path: fingerprint} of the code that decides an experiment's numbers, as it was when this process first asked."""
    modules = ("helpers.training", "helpers.networks", "helpers.data", "helpers.spline_study.log")
    found = {}
    for module in modules:
        found |= sources.fingerprints(module, origin.BESIDE)
    return found


def _news(events):
    return [f"{event.task}: {log.sentence(event.figures['history'][-1], event.steps)}" for event in events]


def _first_difference(there, here):
    """The first key of an experiment in which it differs from that of a log; None for none.

    A log may be older than a key, or than a parameter: it was trained with what is the default today.
    """
    there = there if isinstance(there, dict) else {}
    return next((key for key in here if _completed(there, key) != _completed(here, key)), None)


def _completed(there, key):
    """A value of an experiment as its log has it, with the defaults of today where it has none."""
    return log.with_parameters({**PLAIN, **DEFAULTS, **there}).get(key)


# the defaults of a sweep, as JSON has them
PLAIN = {field.name: field.default for field in dataclasses.fields(SweepConfig)}
PLAIN = {key: list(value) if isinstance(value, tuple) else value for key, value in PLAIN.items()}
