"""The experiments of the spline study: what is asked for, and training it, one network each, with its gradient log.

An experiment is one network, a `DeepMLP` trained by autograd and torch.optim; a sweep, which measures layers once an
epoch instead, is faster by far.
"""

import dataclasses
import unicodedata
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from helpers import data as datasets
from helpers import files, lanes, networks
from helpers.activations import ACTIVATIONS, FAMILIES, registered
from helpers.checks import ConfigError, checked, name_in, optional, path, positive, whole
from helpers.config import CHECKS, SweepConfig, resolve_device
from helpers.initializers import INITIALIZERS
from helpers.lanes import Task
from helpers.progress import Lines, Progress
from helpers.records import AXES
from helpers.spline_study import log
from helpers.sweep.folder import SweepError, own_activations
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
    "lr": optional(positive),
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
            folder = Path(save_dir) / f"{name}_s{seed}"
            its = dataclasses.replace(config, seeds=(seed,), save_dir=str(folder))
            found.append(Experiment(str(name), its, clip, folder))
    _check_folders(found)
    return found


def _check_name(name):
    if not isinstance(name, str | int) or len(str(name)) > LONGEST:
        shown = f"{str(name)[:40]!r}..." if len(str(name)) > LONGEST else repr(name)
        raise ConfigError(f"an experiment's name is a text of up to {LONGEST} letters; got {shown}")
    plain = str(name).replace("_", "").replace("-", "").replace(".", "")
    if not plain.isalnum() or str(name)[0] == ".":
        raise ConfigError(
            f"an experiment's name is made of letters, digits, dots, - and _, and begins with no dot; got {name!r}"
        )


def _check_folders(found):
    """No two experiments share a folder, on any system: some take a and A for one, or both ways to write an accent."""
    seen = {}
    for experiment in found:
        name = experiment.folder.name
        if len(name.encode()) > LONGEST:
            raise ConfigError(f"an experiment's name and seed are {name[:40]!r}...; allowed are {LONGEST} bytes")
        other = seen.setdefault(unicodedata.normalize("NFKC", name).casefold(), experiment)
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
        return {"experiment": task.what["experiment"].to_dict(), "training": task.what["training"]}

    def halve(self, task, state):
        return None  # one network has no halves


class Study:
    """Some experiments, trained side by side; what is finished is kept, what was interrupted goes on.

    Making it checks everything and loads the data, before anything is written; what lies in the folders is checked
    again when it runs, since another study may have been there meanwhile. Raises ConfigError, DataError, or
    ConfigError for a folder that holds the log of another experiment.
    """

    def __init__(self, found):
        self.experiments, self.stop = found, lanes.Stop()
        self.folder = found[0].folder.parent
        self.device, self.cluster = resolve_device(found[0].config), found[0].config.cluster
        self.worker, self._trained = ExperimentWorker(self.device), set()
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
            if there is not None and (what := _other(there.get("fingerprints"), self._fingerprints(experiment))):
                raise ConfigError(
                    f"{experiment.folder} holds the log of an experiment with other {what}; choose another save_dir, "
                    "or move that folder away to train it anew"
                )

    def _fingerprints(self, experiment):
        """What decides the numbers beside the settings, by {what it is: its fingerprint}."""
        data = self.data_of(experiment.config)
        own = {f"values of {name!r}": mark for name, mark in own_activations(experiment.config).items()}
        known = getattr(data, "fingerprint", None)
        return {**own, **({} if known is None else {"data": known})}

    def data_of(self, config):
        """The Data of a SweepConfig, as the experiments of this study have it."""
        return self.worker.data_of(config)

    def describe(self):
        names, left = list(dict.fromkeys(e.name for e in self.experiments)), len(self.left)
        return (
            f"{len(self.experiments)} networks: {len(names)} experiments ({', '.join(names)}); "
            f"{len(self.experiments) - left} are finished\n"
            f"on {files.device_name(self.device)}, "
            + (f"{lanes.Lanes(self.device, left).count} at a time" if self.cluster is None else self.cluster)
        )

    def run(self):
        """Train what is left. After an interrupt a start goes on from each network's last state.

        States are written every SAVE_EVERY seconds, and where an epoch is complete when the interrupt comes.
        """
        self.stop.clear()
        try:
            with files.locked(self.folder):
                self._check_folders()
                self._run(self.left)
        except (files.LockedError, files.DamagedError, lanes.ClusterError) as error:
            raise SweepError(str(error)) from error
        except OSError as error:
            raise SweepError(
                f"the log cannot be written to {error.filename or self.folder} ({error.strerror or error}); finished "
                "experiments are kept: mend that, and start again to go on"
            ) from error
        except (RuntimeError, MemoryError) as error:
            if not lanes.is_out_of_memory(error):
                raise
            said = str(error).splitlines()[:1] or [type(error).__name__]
            raise SweepError(
                f"an experiment does not fit into memory ({said[0]}); finished experiments are kept: choose fewer "
                "layers or a smaller hidden_size, and start again to go on"
            ) from error

    def _run(self, left):
        tasks, origins = [], {}
        for experiment in left:
            self._set_aside(experiment)
            task = self._task(experiment)
            about = {"classes": self.data_of(experiment.config).classes, "training": task.what["training"]}
            about["fingerprints"] = self._fingerprints(experiment)
            tasks.append(task)
            origins[task.name] = log.begin(experiment, about, self.device, task.done)
        lines, finished = Lines(_news, unit="networks"), []

        def record(event):
            folder = self.folder / event.task
            log.append(folder, event)
            if event.results is not None:
                log.finish(folder, origins[event.task], event.results)
                lanes.state_file(self.states, event.task).unlink(missing_ok=True)
                self._trained.add(folder)
                finished.append(event.task)

        def watch(event, fraction, eta):
            lines(Progress(event, len(finished), len(tasks), fraction, eta))

        try:
            run = self._engine()
            run(tasks, self.worker, record, watch, device=self.device, states=self.states, stop=self.stop)
        finally:
            lanes.Watched(lines.close)()  # which can end nothing either
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
            print(
                f"{why}; it is trained anew, and what was there is now {log.set_aside(experiment.folder)}", flush=True
            )

    def _task(self, experiment):
        """The task of an experiment, at the epoch that its saved state has reached.

        A state goes on in the log of its own training alone. Where that was moved away, the experiment begins anew.
        """
        config = experiment.config
        data = self.data_of(config)
        cost = parameters(config.fitted_to(data), experiment.run.layers) * data.train_size * config.num_epochs
        what = {"experiment": experiment, "training": log.new_training()}
        task = Task(experiment.folder.name, what, cost, config.num_epochs)
        path, there = lanes.state_file(self.states, task.name), log.read_about(experiment.folder)
        if not config.resume or not path.exists():
            return task
        try:
            about = files.read_about(path)
        except files.DamagedError as error:
            print(f"{error}; {task.name} is trained from its start")
            return task
        if there is None:
            print(f"{path} has no log beside it; {task.name} is trained from its start")
            return task
        ours = isinstance(about, dict) and not _first_difference(about.get("experiment"), experiment.to_dict())
        if not ours or about.get("training") != there.get("training") or not 0 <= about["step"] <= task.steps:
            print(f"{path} belongs to another experiment; it is not used")
            return task
        return task._replace(done=about["step"], what={**what, "training": there.get("training")})


def _news(events):
    return [f"{event.task}: {log.sentence(event.figures['history'][-1], event.steps)}" for event in events]


def _first_difference(there, here):
    """The first key of an experiment in which it differs from that of a log; None for none.

    A log may be older than a key, or than a parameter: it was trained with what is the default today.
    """
    there = there if isinstance(there, dict) else {}
    return next((key for key in here if _completed(there, key) != here[key]), None)


def _completed(there, key):
    """A value of an experiment as its log has it, with the defaults of today where it has none."""
    tables = {"init_params": ("init_types", "init", INITIALIZERS, lambda row: row.defaults)}
    tables["activation_params"] = ("activations", "activation", FAMILIES, lambda row: row.defaults)
    value = there.get(key, {**PLAIN, **DEFAULTS}.get(key))
    if key in tables and isinstance(value, dict):
        axis, kind, table, defaults = tables[key]
        names = there.get(axis)
        name = value.get(kind, names[0] if isinstance(names, list) and names else None)
        if isinstance(name, str) and name in table:
            return {**defaults(table[name]), **value}
    return value


# the defaults of a sweep, as JSON has them
PLAIN = {field.name: field.default for field in dataclasses.fields(SweepConfig)}
PLAIN = {key: list(value) if isinstance(value, tuple) else value for key, value in PLAIN.items()}


def _other(there, here):
    """The first thing that has another fingerprint there; None for none, and for what was not noted there."""
    there = there if isinstance(there, dict) else {}
    return next((what for what, mark in here.items() if there.get(what, mark) != mark), None)
