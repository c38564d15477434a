"""The landscape study: trains networks, keeps their checkpoints, and draws the surfaces around them.

    study = Study(CONFIG, NETWORKS, SURFACES)
    print(study.describe())
    results = study.run()  # a `log.StudyResults`

What is finished is kept, what was interrupted goes on: a training at its last epoch, a surface at its last row.
"""

from pathlib import Path

from helpers import files, lanes, networks
from helpers.checks import ConfigError
from helpers.config import resolve_device
from helpers.landscape_study import log
from helpers.landscape_study.folder import StudyFolder
from helpers.landscape_study.settings import MLP, CurvePlan, Network, study_settings
from helpers.landscape_study.tasks import LandscapeWorker, build, multiplications, samples_of
from helpers.landscape_study.work import work_on
from helpers.landscapes.directions import DirectionError, filter_normalised_directions
from helpers.lanes import Task
from helpers.sweep.folder import SweepError, explained
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
        first = self.settings.networks[0].config
        self.device, self.cluster = resolve_device(first, trains=False), self.settings.given["config"]["cluster"]
        self.worker = LandscapeWorker(self.folder / "state", self.device)
        self.data = self.worker.loading.data_of(first)
        self.there = StudyFolder(self.folder, self.settings, self.data)
        self._check_networks()
        self.there.check()

    @property
    def left(self):
        """The plans that are not finished, as the folder says now: networks, surfaces and curvatures."""
        return self.there.left

    def samples(self, batch):
        """(x, y) of a mini-batch by its number, or of "train" or "test", as the surfaces are drawn on."""
        return samples_of(self.data, batch, self.settings.given["config"]["samples"])

    def _check_networks(self):
        """Raise ConfigError for a network that cannot be built or does not fit the data, or layers that it lacks."""
        self._cost, nets = {}, {}
        for network in self.settings.networks:
            config = network.config.fitted_to(self.data)
            if network.model["network"] == MLP:
                networks.check_inits(config)
            cell = (network.name, network.run.activation, network.run.init, network.run.layers)
            if cell not in nets:
                nets[cell] = self._built(network)
            self._cost[network.key] = multiplications(nets[cell], self.data.x_train[:1].cpu())
        for plan in {(p.network.key, p.kind): p for p in self.settings.surfaces if p.settings["layers"]}.values():
            run = plan.network.run
            net = nets[plan.network.name, run.activation, run.init, run.layers]
            try:
                given = {key: plan.settings[key] for key in ("others", "layers")}
                filter_normalised_directions(net, 0, **given, note=lambda text: None)
            except DirectionError as error:
                raise ConfigError(f"SURFACES[{plan.kind!r}] with {plan.network.name}: {error}") from error
        for plan in self.settings.surfaces:
            size, n = plan.settings["samples"], self.data.train_size
            if isinstance(plan.batch, int) and (plan.batch + 1) * size > n:
                raise ConfigError(
                    f"SURFACES[{plan.kind!r}] asks for {plan.batch + 1} mini-batches of samples = {size}, but there "
                    f"are only {n} training samples; allowed are batches x samples up to {n}"
                )

        if self.settings.curves and (size := self.settings.curves[0].samples) > self.data.train_size:
            raise ConfigError(
                f"samples is {size:,} in CONFIG, on which the curvature is measured, but there are only "
                f"{self.data.train_size:,} training samples; allowed are up to so many"
            )

    def _built(self, network):
        """A network of the study. Raises ConfigError where it does not fit into memory."""
        try:
            return build(network, self.data)
        except (RuntimeError, MemoryError) as error:
            if not lanes.is_out_of_memory(error):
                raise
            raise ConfigError(
                f"NETWORKS[{network.name!r}] does not fit into memory; allowed is what does: choose fewer channels or "
                "units"
            ) from error

    # ---- running

    def describe(self):
        """What is asked for and what is finished, in three lines."""
        s, left = self.settings, self.left
        kinds = {}
        for plan in s.surfaces:
            kinds[plan.kind] = kinds.get(plan.kind, 0) + 1
        names = list(dict.fromkeys(network.name for network in s.networks))
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        count = len(self.settings.plans)
        return (
            f"{len(s.networks)} networks ({', '.join(names)}), {len(s.surfaces)} surfaces ({listed}), "
            f"{len(s.curves)} curvatures; {count - len(left)} of {count} are finished\n"
            + lanes.where(self.device, self.cluster, len(left))
        )

    def run(self):
        """Train and draw what is left, and return the whole study, a `log.StudyResults`.

        Interrupted, it goes on from each task's last step when it is started again. A finished study is only read
        where nothing can be written.
        """
        self.stop.clear()
        smaller = "fewer samples or narrower networks"
        try:
            with explained("the study", self.folder, "a network", smaller), files.locked(self.folder):
                self.there.check()
                self._run()
        except SweepError as error:
            nothing_is_left = self.there.is_finished and not self.left
            if not nothing_is_left or not isinstance(error.__cause__, OSError):
                raise
        return log.load_study(self.folder)

    def _run(self):
        self.there.begin(self.device)
        drawn = [plan for plan in self.settings.drawn if self.there.is_to_be_drawn(plan)]
        trained = self.there.to_train(drawn)
        if not (drawn or trained) and self.there.is_finished:
            return
        if trained:
            resolve_device(self.settings.networks[0].config)
        work_on(self, trained, _news, later=sum(map(self._cost_of, drawn)))
        if not self.stop.is_set():
            work_on(self, [plan for plan in self.settings.drawn if self.there.is_to_be_drawn(plan)], _news)
        self.there.finish(complete=not self.left)

    def task(self, plan):
        steps = {Network: lambda: plan.config.num_epochs, CurvePlan: lambda: 1}
        steps = steps.get(type(plan), lambda: plan.settings["width"])()
        done = self.there.about_state(plan).get("step", -1)
        done = done if isinstance(done, int) and done <= steps else -1
        return Task(plan.key, self.there.what(plan), self._cost_of(plan), steps, done)

    def _cost_of(self, plan):
        """Multiplications of a plan, about."""
        if isinstance(plan, Network):
            return self._cost[plan.key] * self.data.train_size * plan.config.num_epochs * BACKWARD
        one = self._cost[plan.network.key]
        if isinstance(plan, CurvePlan):
            return one * plan.samples * (PRODUCTS * bool(plan.eigenvalues) + plan.probes) * 2 * BACKWARD
        n = {"train": self.data.train_size, "test": self.data.test_size}.get(plan.batch, plan.settings["samples"])
        return one * n * plan.settings["width"] ** 2


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
