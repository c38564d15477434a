"""The experiments of the spline study: what is asked for, and training it, one network each, with its gradient log.

An experiment is one network, a `DeepMLP` trained by autograd and torch.optim; a sweep, which measures layers once an
epoch instead, is faster by far.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from helpers import data as datasets
from helpers import files, lanes, networks
from helpers.activations import ACTIVATIONS, registered
from helpers.checks import ConfigError, checked, name_in, optional, path, positive, whole
from helpers.config import CHECKS, ONE, SweepConfig, resolve_device
from helpers.lanes import Task
from helpers.progress import Lines, Progress, Watched, say
from helpers.records import AXES
from helpers.spline_study import log
from helpers.sweep.folder import SweepError
from helpers.sweep.plan import parameters
from helpers.training import Recipe, Training, data_type

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
# the keys of COMMON and of an entry of EXPERIMENTS: a sweep's, but for these
EXPERIMENT_CHECKS = {
    "activation": lambda key, value: value,  # a row or a variant: looked up by SweepConfig, which knows both
    "init": lambda key, value: value,
    "layers": whole(1),
    "clip": optional(positive),
    **{key: CHECKS[key] for key in CHECKS if key not in (*LISTS.values(), "save_dir", "stack_size", "keep_state")},
    **ONE,
    **{key: optional(ONE[key]) for key in ("lr", "batch_size")},
    "precision": name_in(("float32", "float64")),
}
SAVE_EVERY = 30.0  # seconds between two states on disk


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
        fixed = ("data_dir", "save_dir", "device", "resume", "stack_size", "keep_state", "input_square", "cluster")
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
        if not str(name).replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise ConfigError(f"an experiment's name is made of letters, digits, dots, - and _; got {name!r}")
        settings = {**DEFAULTS, **common, **own}
        clip = settings.pop("clip")
        for key, many in LISTS.items():
            settings[many] = [settings.pop(key)]
        for seed in settings["seeds"]:
            folder = Path(save_dir) / f"{name}_s{seed}"
            config = SweepConfig.from_dict({**settings, "seeds": [seed], "save_dir": str(folder)})
            found.append(Experiment(str(name), config, clip, folder))
    return found


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
        self.device, self._data = device, {}

    def __getstate__(self):
        return {"own_activations": registered()}

    def __setstate__(self, sent):
        ACTIVATIONS.update(sent["own_activations"])
        self.__init__()

    def data_of(self, config):
        """The Data of a SweepConfig, loaded once."""
        self.device = self.device or resolve_device(config)
        # Without data_dir, which a log does not keep: what it names is found where this study has found it.
        key = tuple(getattr(config, name) for name in ("dataset", "normalize", "train_size", "test_size", "precision"))
        if key not in self._data:
            self._data[key] = datasets.load(config, self.device, data_type(config))
        return self._data[key]

    def begin(self, task):
        experiment = task.what["experiment"]
        return training_of(experiment, self.data_of(experiment.config), self.device)

    def about(self, task):
        return {"experiment": task.what["experiment"].to_dict()}

    def halve(self, task, state):
        return None  # one network has no halves


class Study:
    """Some experiments, trained side by side; what is finished is kept, what was interrupted goes on.

    Making it checks everything and loads the data, before anything is written. Raises ConfigError, DataError, or
    ConfigError for a folder that holds the log of another experiment.
    """

    def __init__(self, found):
        self.experiments, self.stop = found, lanes.Stop()
        self.folder = found[0].folder.parent
        self.device, self.cluster = resolve_device(found[0].config), found[0].config.cluster
        self.worker, self._trained = ExperimentWorker(self.device), set()
        for experiment in found:
            networks.check_inits(experiment.config.fitted_to(self.data_of(experiment.config)))
            there = log.read_about(experiment.folder)
            if there is not None and (key := _first_difference(there.get("experiment"), experiment.to_dict())):
                raise ConfigError(
                    f"{experiment.folder} holds the log of another experiment: {key} differs; choose another save_dir, "
                    "or another name"
                )

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

    def data_of(self, config):
        """The Data of a SweepConfig, as the experiments of this study have it."""
        return self.worker.data_of(config)

    def describe(self):
        names = list(dict.fromkeys(e.name for e in self.experiments))
        return (
            f"{len(self.experiments)} networks: {len(names)} experiments ({', '.join(names)}); "
            f"{len(self.experiments) - len(self.left)} are finished\n"
            f"on {files.device_name(self.device)}, "
            + (f"{lanes.Lanes(self.device, len(self.left)).count} at a time" if self.cluster is None else self.cluster)
        )

    def run(self):
        """Train what is left. After an interrupt a start goes on from each network's last state.

        States are written every SAVE_EVERY seconds, and where an epoch is complete when the interrupt comes.
        """
        self.stop.clear()
        try:
            with files.locked(self.folder):
                self._run(self.left)
        except (files.LockedError, files.DamagedError, lanes.ClusterError) as error:
            raise SweepError(str(error)) from error
        except OSError as error:
            raise SweepError(
                f"the log cannot be written to {error.filename or self.folder} ({error.strerror or error}); finished "
                "experiments are kept: mend that, and start again to go on"
            ) from error

    def _run(self, left):
        tasks = [self._task(experiment) for experiment in left]
        for experiment, task in zip(left, tasks, strict=True):
            log.begin(experiment, self.data_of(experiment.config).classes, self.device, task.done)
        lines, finished = Watched(Lines(_news, unit="networks")), []

        def record(event):
            folder = self.folder / event.task
            log.append(folder, event)
            if event.results is not None:
                log.finish(folder, event.results["diverged"])
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

    def _task(self, experiment):
        """The task of an experiment, at the epoch that its saved state has reached."""
        config = experiment.config
        data = self.data_of(config)
        cost = parameters(config.fitted_to(data), experiment.run.layers) * data.train_size * config.num_epochs
        task = Task(experiment.folder.name, {"experiment": experiment}, cost, config.num_epochs)
        path = lanes.state_file(self.states, task.name)
        if not config.resume or not path.exists():
            return task
        try:
            about = files.read_about(path)
        except files.DamagedError as error:
            say(f"{error}; {task.name} is trained from its start")
            return task
        if {key: about.get(key) for key in self.worker.about(task)} != self.worker.about(task):
            say(f"{path} belongs to another experiment; it is not used")
            return task
        return task._replace(done=about["step"])


def _news(events):
    return [f"{event.task}: {log.sentence(event.figures['history'][-1], event.steps)}" for event in events]


def _first_difference(there, here):
    """The first key of an experiment in which it differs from that of a log; None for none."""
    there = there if isinstance(there, dict) else {}
    return next((key for key in here if there.get(key, DEFAULTS.get(key)) != here[key]), None)
