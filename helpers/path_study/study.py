"""The path study: solutions, the curves that join them, posteriors on and around those, and their tables.

    study = PathStudy(CONFIG, PARTS)
    print(study.describe())
    results = study.run()  # a `log.StudyResults`

What is finished is kept, what was interrupted goes on: an ensemble and a curve at their last block of steps, chains at
their last block of draws.
"""

from pathlib import Path

from helpers import lanes, study_folder
from helpers.config import SweepConfig, resolve_device
from helpers.path_study import log
from helpers.path_study.curves import square
from helpers.path_study.settings import AXES, cells_of, study_settings
from helpers.path_study.tasks import PathWorker, about, cost_of, needs_jax, steps_of
from helpers.study_folder import StudyFolder
from helpers.usual_torch import usual_torch

WORDS = {"members": "ensembles", "run": "runs of a sweep", "curve": "curves", "line": "exact lines"}
PHASES = 4


class PathStudy:
    """A path study. Making it checks everything and loads the data, before anything is written.

    Raises ConfigError, DataError, PathError: one sentence for settings that cannot be used, a folder of another study,
    and chains that are asked for where JAX is missing.
    """

    @usual_torch()
    def __init__(self, config, parts):
        self.settings = study_settings(config, parts)
        self.folder, self.stop = Path(self.settings.save_dir).absolute(), lanes.Stop()
        study = self.settings.config
        self.device, self.cluster = resolve_device(SweepConfig.from_dict({"device": study["device"]})), study["cluster"]
        self.worker = PathWorker(self.folder, study, self.device)
        self.there = StudyFolder(self.folder, self.settings, self._check_data(), log.LAYOUT, AXES, about)
        self.there.check()
        if sampled := [plan.cell for plan in self.left if needs_jax(plan)]:
            from helpers.paths import jax_on_cpu  # noqa: F401  (says what to install where it is missing)
            from helpers.paths.networks_in_jax import network_in_jax

            for cell in {(cell.part, cell.data, cell.activation, cell.layers): cell for cell in sampled}.values():
                network_in_jax(self.worker.network(cell))

    def _check_data(self):
        """{rows: fingerprint}; the data of each part is loaded, and each of its networks made once."""
        firsts = {(cell.part, cell.data, cell.activation, cell.layers): cell for cell in cells_of(self.settings)[::-1]}
        for cell in firsts.values():
            self.worker.network(cell)
        return dict(map(self.worker.fingerprint, firsts.values()))

    @property
    def left(self):
        """The plans that are not finished, as the folder says now."""
        return self.there.left

    def problem(self, curve):
        """(network, x_train, y_train) of the curve of this name: what its loss is of."""
        plan = self._plan_of(curve)
        problem = self.worker.problem(plan.cell)
        return self.worker.network(plan.cell), problem.x_train, problem.y_train

    def square(self, curve, width=41):
        """(arc (m,), offset (m,), loss (m, m)): the training loss around the curve of this name, as `curves.square`."""
        net, plan = self.problem(curve)[0], self._plan_of(curve)
        return square(net, log.load_path(self.folder, curve), self.worker.problem(plan.cell), width)

    def _plan_of(self, curve):
        plan = next((plan for plan in self.settings.plans if plan.curve == curve), None)
        if plan is None:
            raise log.StudyError(f"the study has no curve {curve!r}; its curves are named in curves.csv")
        return plan

    # ---- running

    def describe(self):
        """What is asked for and what is finished, in two lines."""
        return study_folder.described(self, WORDS)

    def run(self):
        """Work on what is left, and return the whole study, a `log.StudyResults`.

        Interrupted, it goes on from each task's last step when it is started again. A finished study is only read.
        """
        packages = ("jax", "blackjax") if any(map(needs_jax, self.settings.plans)) else ()
        return study_folder.run(self, log.load_study, PHASES, "fewer rows, members or chains", packages)

    def cost_of(self, plan):
        return cost_of(plan, self.worker)

    def task(self, plan):
        return self.there.task(plan, steps_of(plan, self.worker), self.cost_of(plan))
