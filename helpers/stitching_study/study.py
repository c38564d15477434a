"""The stitching study: models, the maps between their latents, what the stitched networks do, and their tables.

    study = StitchingStudy(CONFIG, STITCHES)
    print(study.describe())
    results = study.run()  # a `log.StudyResults`

What is finished is kept, what was interrupted goes on: a training at its last epoch, a pair at its last draw. A later
start may ask for more models, pairs, maps, lambdas, anchors, samplings and draws: what is new is made, no row twice,
and what is asked for no more stays. Another eval_size, pool_size, control_draws or anchor_classes makes pairs anew, and
those of the part that are asked for no more are left out of the tables: no part mixes two. Other settings of a map make
its rows anew; what decides weights, as lr, cannot change in a folder.
"""

from pathlib import Path

from helpers import lanes, study_folder
from helpers.config import SweepConfig, resolve_device
from helpers.stitching_study import log
from helpers.stitching_study.settings import ALIKE, AXES, covers, models_of, study_settings
from helpers.stitching_study.tasks import StitchWorker, about
from helpers.study_folder import StudyFolder
from helpers.usual_torch import usual_torch

WORDS = {"model": "models", "pair": "pairs", "layers": "pairs of runs, layer by layer"}


class StitchingStudy:
    """A stitching study. Making it checks everything and loads the data, before anything is written.

    Raises ConfigError, DataError: one sentence for settings that cannot be used, and for a folder of another study.
    """

    @usual_torch()
    def __init__(self, config, parts):
        self.settings = study_settings(config, parts)
        self.folder, self.stop = Path(self.settings.save_dir).absolute(), lanes.Stop()
        study = self.settings.config
        self.device, self.cluster = resolve_device(SweepConfig.from_dict({"device": study["device"]})), study["cluster"]
        self.worker = StitchWorker(self.folder, study, self.device)
        self.there = StudyFolder(self.folder, self.settings, self._check_data(), log.LAYOUT, AXES, about, covers, ALIKE)
        self.there.check()

    def _check_data(self):
        """{rows: fingerprint}; the data of each part is loaded, each kind of network made once, and anchors chosen."""
        networks, marks, plans = {}, {}, {}
        for model in models_of(self.settings):
            kind = (model.part, model.data, model.network, model.latent, model.layers, model.activation, model.init)
            networks.setdefault(kind, model)
            marks.setdefault((model.part, model.data), model)
        for model in networks.values():
            self.worker.network(model)
        for plan in self.settings.plans:
            models = [model for model in (plan.model1, plan.model2) if model is not None]
            of = [(model.network, model.layers, model.classes) for model in models]
            plans.setdefault((plan.do, plan.part, models[0].data, plan.layer1, plan.layer2, *of), plan)
        for plan in plans.values():
            self.worker.check(plan)
        return dict(map(self.worker.fingerprint, marks.values()))

    @property
    def left(self):
        """The plans that are not finished, as the folder says now."""
        return self.there.left

    def pair(self, part, model1, model2, layer1=None, layer2=None):
        """(Pair of the pool of anchors, Pair of the images to measure by) of two models, by their names in the tables.

        A Pair is what `stitching.fit` and `stitching.evaluate_many` take. Where models are stitched at several layers,
        the first ones are taken if none are named. Raises StudyError for models that the study does not pair, and
        where their weights are not kept, as in a folder that is published.
        """
        for plan in self.settings.plans:
            here = plan.do == "pair" and (plan.part, plan.model1.name, plan.model2.name) == (part, model1, model2)
            if here and layer1 in (None, plan.layer1) and layer2 in (None, plan.layer2):
                return self._checked_pair(plan)
        raise log.StudyError(
            f"the study has no pair {model1!r}, {model2!r} in part {part!r} at these layers; see pairs.csv.bz2"
        )

    def _checked_pair(self, plan):
        for model in self.settings.plans:
            if model.key in plan.needs and (why := self.there.doubt(model)):
                raise log.StudyError(f"{why}; get it back, or run the study in another save_dir")
        return self.worker.pairs(plan)

    # ---- running

    def describe(self):
        """What is asked for and what is finished, in two lines."""
        return study_folder.described(self, WORDS)

    def run(self):
        """Work on what is left, and return the whole study, a `log.StudyResults`.

        Interrupted, it goes on from each task's last step when it is started again. A finished study is only read.
        """
        smaller = "a smaller pool_size, eval_size or batch_size, or layers of fewer units"
        return study_folder.run(self, log.load_study, 2, smaller)

    def cost_of(self, plan):
        return self.worker.cost_of(plan)

    def task(self, plan):
        return self.there.task(plan, self.worker.steps_of(plan), self.cost_of(plan))
