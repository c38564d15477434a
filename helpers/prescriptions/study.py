"""The study on disk: every combination prescribed for, and then trained by all competitors; resumable, task by task.

    <folder>/combinations.csv        what was drawn, before anything else
             prescriptions.csv       what theory prescribes for each, before anything is trained
             runs.csv                a row a combination and competitor
             checkpoints.csv.bz2     a row a checkpoint of these
             manifest.json, state/   as of any study, see `study_folder`

Of prescriptions: init is empty where it says that nothing will train; epoch, the one in which it expects the network to
leave the plateau; seconds, what it took.

Of runs: refused, the prescription was that nothing will train, and nothing was trained by it; left_plateau, the
optimizer step of the first checkpoint whose train accuracy is halfway (`records.halfway`), empty for never, and
left_epoch the same in epochs; learned, whether it is at the last checkpoint; crashed, left and not learned. Steps count
those of a range test.
"""

import json
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pandas as pd
import torch

from helpers import files, lanes, sources, study_folder
from helpers.activations import ACTIVATIONS
from helpers.prescriptions.combinations import COLUMNS, register_own, work, written
from helpers.prescriptions.trials import CHECKPOINTS, COMPETITORS, PRESCRIPTION, RIVALS, Trial, load
from helpers.study_folder import StudyFolder
from helpers.study_settings import Settings
from helpers.study_tables import Tables
from helpers.usual_torch import usual_torch

FOLDER = "results/signal/prescriptions"
OF_RUN = ["init", "optimizer", "lr", "refused", "learned", "left_plateau", "left_epoch", "crashed"]
LAYOUT = Tables(
    study="study of prescriptions",
    first={
        "prescriptions": COLUMNS,
        "runs": ["combination", "competitor", *COLUMNS[1:]],
        "checkpoints": ["combination", "competitor", *COLUMNS[1:]],
    },
    own={
        "prescriptions": [
            *("init", "init_params", "optimizer", "lr", "lr_low", "lr_high", "epoch", "probability"),
            *("reason", "seconds"),
        ],
        "runs": [*OF_RUN, "diverged", "train_loss", "train_acc", "test_acc", "seconds"],
        "checkpoints": ["step", "train_loss", "train_acc"],
    },
    long={"checkpoints": "runs"},
    texts=("combination", "competitor", "activation", "dataset", "init", "init_params", "optimizer", "reason"),
    flags=("refused", "learned", "crashed", "diverged"),
    parts="combinations.csv",
)
WORDS = {"prescribe": "prescriptions", "train": "trainings"}
# For the order of tasks and their ETA: seconds of a core, an AMD EPYC, fitted to some steps of each combination; most
# are within a fifth of it.
BY_KERNEL, BY_TORCH = 90e9, 60e9  # floating-point operations of products a second
CALL = 2.4e-4  # what a layer's calls of torch take in a step
ADAM = 1.5  # times SGD
PRESCRIBED = 1.0


@dataclass(frozen=True, eq=False)
class StudyResults:
    """A study of prescriptions read back: its manifest, and each table as a DataFrame."""

    folder: Path
    manifest: dict
    prescriptions: pd.DataFrame
    runs: pd.DataFrame
    checkpoints: pd.DataFrame


def load_study(folder=FOLDER):
    """A study that was run. Raises StudyError, DamagedError, one sentence each."""
    manifest, tables = LAYOUT.load(folder)
    return StudyResults(Path(folder), manifest, **tables)


@dataclass(frozen=True, eq=False)
class Plan:
    """A task: the prescription for a combination, or one competitor's training, which needs it.

    rule  digits of the code that prescribes; "" of a rival
    """

    combination: dict
    competitor: str
    do: str
    rule: str = ""

    @property
    def key(self):
        return f"{self.combination['combination']}--{self.competitor if self.do == 'train' else self.do}"

    @property
    def phase(self):
        return int(self.do == "train")

    @property
    def needs(self):
        mine = self.do == "train" and self.competitor == PRESCRIPTION
        return (f"{self.combination['combination']}--prescribe",) if mine else ()

    def columns(self, table):
        return {name: self.competitor if name == "competitor" else self.combination[name] for name in self.first(table)}

    @staticmethod
    def first(table):
        return LAYOUT.first[table]

    def to_dict(self):
        return {"do": self.do, "key": self.key, "settings": {**self.combination}, "maps": {"rule": self.rule}}


class Prescribing:
    """The work that prescribes for one combination: one step."""

    def __init__(self, combination, prescribe, data):
        self.combination, self.prescribe, self.data, self.step, self.found = combination, prescribe, data, -1, None

    def advance(self, stop=None):
        c = self.combination
        register_own(c["activation"])
        started = time.perf_counter()
        of = c["activation"], c["layers"], c["hidden_size"], self.data, c["steps"], c["batch_size"]
        self.found = plain(self.prescribe(*of, optimizer="sgd"))
        self.found["seconds"] = time.perf_counter() - started
        self.step = 0
        return self.figures()

    def figures(self):
        return {"lr": self.found["lr"]} if self.found and self.found["lr"] else {}

    def state(self):
        return {"step": self.step, "found": self.found}

    def load(self, state):
        self.step, self.found = state["step"], state["found"]

    def results(self):
        return {"about": self.found, "rows": {"prescriptions": [self.found]}}


def plain(prescription):
    """A prescription as plain data, its numbers as they are written and used: six digits."""
    low, high = prescription.lr_range or (None, None)
    params = {name: _six(value) for name, value in (prescription.init_params or {}).items()}
    return {
        "init": prescription.init,
        "init_params": json.dumps(params) if params else "",
        "optimizer": prescription.optimizer,
        "lr": _six(prescription.lr),
        "lr_low": _six(low),
        "lr_high": _six(high),
        "epoch": _six(prescription.epoch),
        "probability": _six(prescription.probability),
        "reason": prescription.reason,
    }


def _six(value):
    """A number rounded to six digits, as a plain one; anything else as it is."""
    return float(f"{value:.6g}") if hasattr(value, "__float__") and not isinstance(value, bool | int) else value


# of a prescription that nothing will train, by which nothing is trained
REFUSED = {"about": {}, "rows": {"runs": [{"refused": True}], "checkpoints": []}}


class Worker:
    """Prescribes and trains; `prescribe` as `theory.prescribe` has it."""

    save_every = 30.0

    def __init__(self, data_dir, prescribe):
        self.load, self.prescribe = partial(load, data_dir=data_dir), prescribe

    def begin(self, task):
        plan, known = task.what["plan"], task.what["known"]
        data = self.load(plan.combination["dataset"])
        if plan.do == "prescribe":
            return Prescribing(plan.combination, self.prescribe, data)
        if plan.competitor != PRESCRIPTION:
            return Trial(plan.combination, RIVALS[plan.competitor], data)
        (found,) = known.values()
        if not found["init"]:
            return lanes.NothingToDo(CHECKPOINTS, REFUSED)
        recipe = {name: found[name] for name in ("init", "optimizer", "lr")}
        return Trial(plan.combination, {**recipe, "init_params": json.loads(found["init_params"] or "null")}, data)

    def about(self, task):
        return about(task.what)

    def halve(self, task, state):
        return None


def about(what):
    """What a state says of its task, as plain JSON."""
    return {"of": what["plan"].to_dict(), "from": what["from"], "code": code_mark("helpers.prescriptions.trials")}


@cache
def code_mark(module, among=""):
    """16 digits of the code of a module and of what it needs in a folder, as it was when this process first asked."""
    found = sources.fingerprints(module)
    return files.checksum(repr(sorted((path, mark) for path, mark in found.items() if path.startswith(among))))


class PrescriptionStudy:
    """The study of the combinations in a folder, which are drawn and written there first if there are none.

    prescribe  (activation, layers, hidden_size, data, steps, batch_size, optimizer) -> a prescription
    rule       digits of the code behind it: with others, prescriptions are made anew, and what they change is trained
               anew
    """

    @usual_torch()
    def __init__(self, folder=FOLDER, data_dir="data", prescribe=None, rule=None, n=60, seed=15, resume=True):
        self.folder, self.stop, self.cluster = Path(folder).absolute(), lanes.Stop(), None
        self.device = torch.device("cpu")
        if prescribe is None:
            prescribe, rule = theirs()
        combinations = {row["combination"]: row for row in written(self.folder, n, seed).to_dict("records")}
        plans = [Plan(row, PRESCRIPTION, "prescribe", rule) for row in combinations.values()]
        plans += [Plan(row, competitor, "train") for row in combinations.values() for competitor in COMPETITORS]
        self.settings = Settings({"resume": resume}, combinations, plans)
        self.worker = Worker(data_dir, prescribe)
        marks = {name: self.worker.load(name).fingerprint for name in {row["dataset"] for row in combinations.values()}}
        self.there = StudyFolder(self.folder, self.settings, marks, LAYOUT, (), about)
        self.there.check()

    @property
    def left(self):
        return self.there.left

    def cost_of(self, plan):
        """Seconds of a core, about."""
        if plan.do == "prescribe":
            return PRESCRIBED
        c = plan.combination
        register_own(c["activation"])
        by_torch = not ACTIVATIONS[c["activation"]].in_c
        seconds = work(c) / (BY_TORCH if by_torch else BY_KERNEL) + by_torch * CALL * c["layers"] * c["steps"]
        return seconds * (ADAM if plan.competitor == "default_adam" else 1.0)

    def task(self, plan):
        return self.there.task(plan, CHECKPOINTS if plan.do == "train" else 0, self.cost_of(plan))

    def describe(self):
        """What is asked for and what is finished, in two lines, and how long it takes."""
        hours = sum(map(self.cost_of, self.left)) / 3600
        return f"{study_folder.described(self, WORDS)}; about {hours:.2g} hours of a core are left"

    def run(self):
        """Work on what is left, and return the whole study, a StudyResults. A finished one is only read."""
        return study_folder.run(self, load_study, 2, "fewer tasks at a time")


def theirs():
    """(`theory.prescribe`, the digits of its code)."""
    from helpers.theory.prescribe import prescribe

    return prescribe, code_mark("helpers.theory.prescribe", "helpers/theory/")
