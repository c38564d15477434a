"""Fuzz: what people and broken disks can put into CONFIG, YAML, and every file that is read, drawn by hypothesis.

Each target takes a drawn case and returns what is wrong with the answer, "" for nothing. All that is allowed is one
of our errors, one sentence that names the file or the key, or a right answer.
"""

import copy
import datetime
import decimal
import fractions
import io
import json
import math
import re
import shutil
import signal
import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import nbformat
import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from PIL import Image

from helpers import data as datasets
from helpers import files, records
from helpers.batch import jobs
from helpers.batch.run import Watch
from helpers.config import CHECKS, SweepConfig
from helpers.data import DataError
from helpers.data.downloads import IDX_FILES
from helpers.data.tables import TABLES, read_rows
from helpers.landscape_study.settings import study_settings
from helpers.spline_study.experiments import experiments
from helpers.spline_study.log import read_log
from helpers.sweep import Sweep
from helpers.sweep.tables import cells

from . import child, small
from .damage import WRONG, halfway_sweep, places_of, replaced
from .small import small_folder
from .table import SENTENCES, fault, no_sentence, told

CASES = 2000
LIMIT = 20  # seconds that a case may take

# ---- drawing


def odd(**methods):
    """An object of a class of its own with these methods."""
    return type("Odd", (), methods)()


def raising(*given):
    raise RuntimeError("of a stranger's class")


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


FIXED = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**12, 10**400, -(10**400), 0.0, -0.0, 1e-320, 1e308),
    *(float("inf"), float("-inf"), float("nan"), 1j, "", " ", "\0", "\ud800", "é", "relu", "RELU", "1e-2", "auto"),
    *("x" * 10_000, "a\nb", "../..", "/", "~", "~nosuchuser/x", "C:\\x", b"", b"relu", bytearray(b"x")),
    *((), [], {}, set(), frozenset(), range(0), range(3), range(10**6), [1, 1], [True, 1], [1, 1.0], [[1]], (5,)),
    *({1: 2}, {None: 1}, {"": 1}, {(1, 2): 3}, [{}], [None], [float("nan")] * 2, nested(50)),
    *(np.float32(0.1), np.float64(0.1), np.int64(3), np.bool_(True), np.str_("relu"), np.array(3), np.array([1, 2])),
    *(np.array([[1, 2], [3, 4]]), np.array(["relu", "tanh"]), np.array([]), np.float32("nan"), np.datetime64("now")),
    *(torch.tensor(3), torch.tensor([1, 2]), torch.tensor(0.1), torch.float32, torch.device("cpu"), torch.relu),
    *(decimal.Decimal("0.1"), fractions.Fraction(1, 3), datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)),
    *(
        odd(),
        type(odd()),
        odd(__repr__=raising),
        odd(__eq__=raising, __hash__=None),
        odd(__repr__=lambda _: "x\n" * 5000),
    ),
    *(lambda x: x, len, NotImplemented, ..., Path("x"), Path(".")),
    *(iter([1, 2]), (i for i in range(3)), {}.keys(), {"a": 1}.values(), json, Exception("x"), object()),
]
NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(-3, 20))
# by its number: some have no repr
ODD = st.integers(0, len(FIXED)).map(lambda i: FIXED[i] if i < len(FIXED) else nested(20_000))
ANYTHING = st.recursive(
    st.one_of(ODD, NUMBERS, st.text(max_size=20), st.binary(max_size=5), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=8), st.sampled_from(sorted(CHECKS))), inner, max_size=4),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS.filter(lambda x: x == x), st.text(max_size=10), st.sampled_from(WRONG)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=5,
)
LEGAL = {
    "dataset": "digits",
    "layers_list": [1, 2],
    "init_types": ["he_normal", "mine"],
    "activations": ["relu", "calibrated_sigmoid"],
    "init_params": {"mine": {"init": "he_normal", "factor": 1.5}, "trunc_normal": {"a": -1.0, "b": 1.0}},
    "activation_params": {"calibrated_sigmoid": {"activation": "calibrated", "base": "sigmoid"}},
    "hidden_size": [8, 16],
    "num_epochs": 2,
    "lr": [0.1, 0.2],
    "batch_size": 16,
    "optimizer": ["sgd", "momentum"],
    "momentum": 0.9,
    "weight_decay": 0.0,
    "seeds": [0, 1],
    "normalize": False,
    "train_size": 50,
    "test_size": 20,
    "device": "cpu",
    "precision": "float32",
    "stack_size": 2,
    "save_dir": "results/local/x",
    "cluster": None,
    "resume": True,
    "keep_state": False,
}


@dataclass(frozen=True, repr=False)
class Changed:
    """Some JSON-like content after some changes; its repr has the changes only."""

    content: object
    steps: tuple

    def __repr__(self):
        return "; ".join(self.steps)


@st.composite
def mutated(draw, content, values=PLAIN):
    """The Changed of some content: one to three of its places replaced, taken away or renamed."""
    content, steps = copy.deepcopy(content), []
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(list(places_of(content))))
        how = draw(st.sampled_from(("replaced by", "replaced by", "replaced by", "lost", "renamed")))
        place = "/".join(map(str, where)) or "all"
        if how == "replaced by" or not where:
            value = draw(values)
            content = replaced(content, where, value)
            steps.append(f"{place} replaced by {shown(value)}")
            continue
        parent = content
        for key in where[:-1]:
            parent = parent[key]
        value = parent.pop(where[-1])
        if how == "renamed" and isinstance(parent, dict):
            name = draw(st.text(max_size=8))
            parent[name] = value
            how = f"renamed {name!r}"
        steps.append(f"{place} {how}")
    return Changed(content, tuple(steps))


@dataclass(frozen=True, repr=False)
class Damaged:
    """The bytes of a file after some damage; its repr says what was done."""

    content: bytes
    done: object

    def __repr__(self):
        return repr(self.done)


def damaged(text):
    """The Damaged of some bytes."""
    return MUTATIONS.map(lambda mutations: Damaged(with_mutations(text, mutations), mutations))


def damaged_json(text, values=PLAIN):
    """The same of some JSON, whose bytes or whose content are changed."""
    changed = mutated(json.loads(text), values)
    return st.one_of(damaged(text), changed.map(lambda case: Damaged(json.dumps(case.content).encode(), case)))


TOKENS = [*b'nan inf -1 7.5 1e999 , 0x10 1_0 " -- \xff'.split(), b"", b"\n", b"\r", b"\x00", b" "]
MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(("flip", "cut", "insert", "lose", "twice", "zero", "token")),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 40),
        st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(TOKENS)),
    ),
    min_size=1,
    max_size=3,
)


def with_mutations(content, mutations):
    """Bytes with some damage done to them."""
    content = bytearray(content)
    for how, place, length, payload in mutations:
        at = int(place * len(content))
        match how:
            case "flip" if content:
                content[at] ^= 1 << (length % 8)
            case "cut":
                del content[at:]
            case "insert":
                content[at:at] = payload
            case "lose":
                del content[at : at + length]
            case "twice":
                content[at:at] = content[at : at + length]
            case "zero":
                content[at : at + length] = bytes(len(content[at : at + length]))
            case "token":  # one number becomes something else
                tokens = list(re.finditer(rb"[^,\s]+", bytes(content)))
                if tokens:
                    token = tokens[int(place * len(tokens))]
                    content[token.start() : token.end()] = payload
    return bytes(content)


# ---- running it


REFUSED = "refused in a sentence"


def refusal(error, *names, allowed=SENTENCES):
    """What is wrong with an error, or REFUSED."""
    return no_sentence(error, *names, allowed=allowed) or REFUSED


class Hang(BaseException):
    """A case took longer than LIMIT."""


@contextmanager
def limited():
    """Raise Hang in what takes too long."""

    def hang(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(tally, strategy, check, cases, seed=None):
    """Give `check` so many drawn cases. Of each kind of wrong answer the shortest case is kept.

    seed  None draws the same cases every time, with no limit of time, as tests want it
    """
    shortest, counts = {}, Counter()

    def one(case):
        try:
            with (
                limited() if seed is not None else nullcontext(),
                redirect_stdout(io.StringIO()),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")  # of Pillow, NumPy and pandas about what is damaged
                wrong = check(case)
        except Hang:
            wrong = f"takes longer than {LIMIT} s"
        except SENTENCES as error:
            wrong = no_sentence(error) or REFUSED
        except Exception as error:
            wrong = told(error)
        if not wrong or wrong is REFUSED:
            tally.well("one sentence" if wrong else "a right answer")
            return
        kind = re.sub(r"'[^']*'|\"[^\"]*\"|\d+|/\S+", "*", str(wrong))[:70]
        counts[kind] += 1
        text = shown(case)
        if kind not in shortest or len(text) < len(shortest[kind][0]):
            shortest[kind] = text, wrong

    settings = hypothesis.settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=seed is None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run = settings(hypothesis.given(strategy)(one))
    (run if seed is None else hypothesis.seed(seed)(run))()
    for kind, (text, wrong) in shortest.items():
        tally.bad(f"{counts[kind]} cases: {wrong}; the shortest: {text}", counts[kind])


def shown(case):
    try:
        text = repr(case)
    except RecursionError:
        return "a nesting too deep to print"
    except Exception:
        return "something unprintable"
    return text if len(text) < 300 else f"{text[:150]}...{text[-140:]}"


TARGETS = {}  # name -> function: folder -> (strategy, check)
STARTS = ("manifest.json", "runs.json", "summary.csv", "a run's CSV, started again", "a state")  # a case starts a sweep


def target(name, strategy=None):
    """Put a function into TARGETS: in a folder it makes what a check needs, and the strategy where none is given."""

    def put(make):
        def made(folder):
            return make(folder) if strategy is None else (strategy, make(folder))

        def run(tally, rng, tries):
            with small_folder() as folder:
                fuzz(tally, *made(folder), tries, rng.randrange(2**32))

        TARGETS[name] = made
        fault(f"fuzz: {name}", CASES)(run)
        return make

    return put


# ---- CONFIG


def config_answer(given, names=()):
    try:
        config = SweepConfig.from_dict(given)
    except SENTENCES as error:
        return refusal(error, *names)
    plain = config.to_dict()
    again = json.loads(json.dumps(plain, allow_nan=False))
    if SweepConfig.from_dict(again).to_dict() != plain:
        return "what to_dict gives is another CONFIG"
    if len(config.seeds) * len(config.layers_list) < 1000:
        runs = config.runs()
        axes = (records.axis_values(again, axis) for axis in records.AXES)
        if not len({run.name for run in runs}) == len(runs) == math.prod(map(len, axes)):
            return "runs of one name"
    return ""


@target("CONFIG, any Python object", ANYTHING)
def any_config(folder):
    return lambda given: config_answer(given)


@st.composite
def near_config(draw):
    config = copy.deepcopy(LEGAL)
    keys = draw(st.lists(st.sampled_from(sorted(LEGAL)), min_size=1, max_size=2))
    for key in keys:
        value = config[key]
        if isinstance(value, list | dict) and draw(st.booleans()):
            config[key] = draw(mutated(value, ANYTHING)).content
        else:
            config[key] = draw(ANYTHING)
    return config


@target("CONFIG, a legal one with one or two values changed", near_config())
def legal_config(folder):
    return lambda given: config_answer(given, [*CHECKS, "CONFIG"])


@target("EXPERIMENTS and COMMON", st.tuples(mutated({**small.STUDY}, ANYTHING), mutated(small.EXPERIMENTS, ANYTHING)))
def any_experiments(folder):
    def check(given):
        try:
            experiments(*(part.content for part in given), str(folder / "study"))
        except SENTENCES as error:
            return refusal(error)
        return ""

    return check


PARTS = small.LANDSCAPES, small.LANDSCAPE_NETWORKS, small.LANDSCAPE_SURFACES
LANDSCAPES = st.one_of(
    st.tuples(*(mutated(part, ANYTHING) if i == j else st.just(Changed(part, ())) for i, part in enumerate(PARTS)))
    for j in range(len(PARTS))
)


@target("CONFIG, NETWORKS and SURFACES", LANDSCAPES)
def any_landscapes(folder):
    def check(given):
        try:
            found = study_settings(*(part.content for part in given))
        except SENTENCES as error:
            return refusal(error)
        if len({plan.key for plan in found.plans}) < len(found.plans):
            return "files of one name"
        json.dumps([found.given, *(plan.to_dict() for plan in found.plans)], allow_nan=False)
        return ""

    return check


# ---- YAML

YAML = """notebook: {notebook}
CONFIG:
  activations: [relu, tanh]
  layers_list: [1, 2]
  lr: 0.01
  seeds: [0]
  save_dir: {out}
"""
ODD_LINES = """lr: 0.1
  lr: 0.1
  lr: 1e-2
  lr: 010
  lr: 1:30
  lr: .nan
  lr: 1,000
\tlr: 1
  hidden_size: 0x10
  hidden_size: 0o10
  seeds: [0, 0]
  seeds: [1_0]
  - 1
each:
  a: {}
each: {a: {CONFIG: {lr: 1}}}
&a [*a]
  x: &x [1]
  y: *x
  <<: *x
  !!python/object:os.x {}
? {a: b}
  ? [1]
[1]: 2
1: 2
null: 3
  resume: yes
  resume: 'no'
---
...
%YAML 1.1
  save_dir: ~
  save_dir: 2026-01-01
  activations: {relu}
  activations: relu
# a
  'a: b
notebook: run.ipynb
notebook: 3
notebook: .
CONFIG: []
CONFIG: ~
  init_types: [null]
  cluster: on""".splitlines()
LINES = st.lists(st.one_of(st.sampled_from(ODD_LINES), st.text(max_size=20)), min_size=1, max_size=4)


@target("YAML", st.tuples(LINES, st.one_of(st.none(), MUTATIONS), st.booleans()))
def any_yaml(folder):
    notebook = folder / "small.ipynb"
    cell = nbformat.v4.new_code_cell("CONFIG = {}", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    begin = YAML.format(notebook=notebook, out=folder / "out")
    path = folder / "given.yaml"

    def check(case):
        lines, mutations, alone = case
        content = ("" if alone else begin) + "\n".join(lines)
        content = content.encode("utf-8", "surrogatepass")
        path.write_bytes(with_mutations(content, mutations) if mutations else content)
        try:
            found = jobs.read_jobs(path)
        except SENTENCES as error:
            return refusal(error, path, "given.yaml")
        return "" if found else "no job and no word"

    return check


# ---- what lies in a results folder


@contextmanager
def one_data():
    """The digits loaded once: what is fuzzed is not they."""
    load, known = datasets.load, {}

    def cached(config, *given):
        key = (config.dataset, config.normalize, config.train_size, config.test_size, *map(str, given))
        if key not in known:
            known[key] = load(config, *given)
        return known[key]

    datasets.load = cached
    try:
        yield
    finally:
        datasets.load = load


class Folder:
    """A finished sweep, to be damaged, started again and restored."""

    def __init__(self, folder, make=None):
        self.made, self.folder = folder / "made", folder / "sweep"
        with redirect_stdout(io.StringIO()):
            (make or (lambda place: Sweep(small.sweep_in(place)).run(child.quiet)))(self.folder)
        shutil.copytree(self.folder, self.made)

    def restored(self):
        shutil.rmtree(self.folder)
        shutil.copytree(self.made, self.folder)
        return self.folder


def started_again(folder, expected, *names):
    """Start the small sweep in a folder; what is wrong with the answer."""
    try:
        with one_data():
            Sweep(small.sweep_in(folder)).run(child.quiet)
    except SENTENCES as error:
        return refusal(error, *names)
    return small.difference(small.digits_of(folder), expected)


def read_by_us(folder, *names):
    """Read a sweep back, and what figures take from it."""
    try:
        results = records.load_sweep(folder)
    except (ValueError, FileNotFoundError) as error:
        return None, refusal(error, *names, allowed=(ValueError, FileNotFoundError))
    cells(results)
    return results, ""


def of_a_file(name, file, read=None):
    """A target: one file of a finished sweep is damaged, and the sweep is read, then started again.

    read  (folder) -> what is wrong with what a reader gets, REFUSED or ""
    """

    @target(name)
    def made_of(folder):
        made = Folder(folder)
        expected = small.digits_of(made.folder)
        path = next(iter(sorted(made.folder.glob(file))))
        text = path.read_bytes()

        def check(case):
            place = made.restored()
            path.write_bytes(case.content)
            wrong = read(place) if read else ""
            return wrong if wrong and wrong is not REFUSED else started_again(place, expected, path.name, place)

        return damaged_json(text) if path.suffix == ".json" else damaged(text), check


def read_with_manifest(place):
    records.is_finished(place)
    records.find_sweeps(place.parent)
    return read_by_us(place, "manifest.json", "summary.csv", place)[1]


def read_with_summary(place):
    results, wrong = read_by_us(place, "summary.csv", place)
    whole = records.load_sweep(place.with_name("made")).summary
    if results is not None and not results.summary.equals(whole):
        return "load_sweep believes it: numbers differ in silence"
    return wrong


of_a_file("manifest.json", "manifest.json", read_with_manifest)
of_a_file("runs.json", "runs.json")
of_a_file("summary.csv", "summary.csv", read_with_summary)
of_a_file("a run's CSV, started again", "runs/*.csv")


@target("a run's CSV")
def run_csv(folder):
    """One that is read with no checksum beside it: impossible values are not believed."""
    made = Folder(folder)
    path = sorted((made.folder / "runs").glob("*.csv"))[0]
    text = path.read_bytes()

    def check(case):
        path.write_bytes(case.content)
        try:
            history = records.read_run(path)
        except ValueError as error:
            return refusal(error, path, path.name, allowed=(ValueError,))
        accuracies, losses = (history[[f"train_{kind}", f"test_{kind}"]].to_numpy() for kind in ("acc", "loss"))
        if (accuracies < 0).any() or (accuracies > 1).any() or (losses < 0).any():
            return "believes an accuracy beyond 0 to 1, or a loss below 0"
        return ""

    return damaged(text), check


def _tensors_as_lists(value):
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, dict):
        return {key: _tensors_as_lists(entry) for key, entry in value.items()}
    return [_tensors_as_lists(entry) for entry in value] if isinstance(value, list | tuple) else value


WRONG_TYPES = st.sampled_from(
    [None, "x", [], {}, [1], {"a": 1}, -5, 10**6, torch.zeros(3), torch.zeros(0), torch.zeros(2, 2, dtype=torch.int64)]
)


@target("a state")
def state(folder):
    whole = folder / "whole"
    Sweep(small.sweep_in(whole)).run(child.quiet)
    expected = small.digits_of(whole)
    made = Folder(folder, lambda place: halfway_sweep(place, folder))
    path = sorted(made.folder.glob("state/*.pt"))[0]
    text = path.read_bytes()
    content, about = files.read_state(path)
    content = _tensors_as_lists(content)

    def check(case):
        place = made.restored()
        if isinstance(case, Damaged):
            path.write_bytes(case.content)
        else:
            files.write_state(path, *(part.content for part in case))
        return started_again(place, expected, path.name, path.stem, place)

    same = st.just(Changed(content, ())), st.just(Changed(about, ()))
    odd = mutated(content, WRONG_TYPES), mutated(about)
    pairs = st.one_of(st.tuples(*odd), st.tuples(odd[0], same[1]), st.tuples(same[0], odd[1]))
    return st.one_of(damaged(text), pairs), check


# ---- a spline study's log


def _study_made(place):
    end = child.start(child.study, {**small.STUDY, "num_epochs": 1}, {"plain": {}}, str(place), log=f"{place}.log")
    assert end.code == 0, end.text


@target(
    "a spline study's log", st.tuples(st.sampled_from(("experiment.json", "metrics.csv", "signals.csv")), MUTATIONS)
)
def study_log(folder):
    made = Folder(folder, _study_made)
    place = made.folder / "plain_s0"

    def check(case):
        name, mutations = case
        made.restored()
        (place / name).write_bytes(with_mutations((place / name).read_bytes(), mutations))
        try:
            found = read_log(place)
            found.epochs  # noqa: B018
            found.gradients("weight")
            found.signal("pre_std")
        except (*SENTENCES, ValueError) as error:
            return refusal(error, place, name, allowed=(*SENTENCES, ValueError))
        return ""

    return check


# ---- executed notebooks


@target("an executed notebook")
def executed(folder):
    notebook, out = folder / "small.ipynb", folder / "out"
    cell = nbformat.v4.new_code_cell("CONFIG = {}", id="p", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    given = folder / "given.yaml"
    given.write_text(yaml.safe_dump({"notebook": str(notebook), "CONFIG": {"save_dir": str(out)}}))
    out.mkdir()
    (job,) = jobs.read_jobs(given)
    origin = jobs.made_from(job)
    copied = nbformat.read(notebook, as_version=4)
    copied.cells[0].metadata["papermill"] = {"duration": 1.0, "start_time": "x", "status": "completed"}
    copied.metadata["papermill"] = {"output_path": str(job.executed)}
    copied.metadata["plumbline"] = {"made_from": origin, "seconds": 1.0, "finished": files.now()}
    text = nbformat.writes(copied).encode()

    def check(case):
        job.executed.write_bytes(case.content)
        (found,) = jobs.read_jobs(given)
        if not isinstance(jobs.why_run(found, origin), str):
            return "why_run gives no text"
        watch = Watch(found)
        watch.eta()
        str(watch)
        return ""

    return damaged_json(text), check


# ---- data


MODES = {
    "png": ("L", "RGB", "RGBA", "LA", "P", "1", "I;16"),
    "jpeg": ("L", "RGB", "CMYK"),
    "bmp": ("L", "RGB", "P", "1"),
    "ppm": ("L", "RGB", "1"),
    "gif": ("L", "P"),
    "tiff": ("L", "RGB", "RGBA", "I;16", "F", "CMYK"),
}


def picture(form, mode):
    """The bytes of a small picture."""
    pixels = np.arange(64).reshape(8, 8) * 3
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray((pixels * 250).astype(kind))
    else:
        image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


PICTURES = [(form, mode) for form, modes in MODES.items() for mode in modes]


def data_answer(config, *names):
    """Load a data set; what is wrong with the answer."""
    try:
        found = datasets.load(SweepConfig.from_dict(config))
    except DataError as error:
        return refusal(error, *names)
    for x, y in ((found.x_train, found.y_train), (found.x_test, found.y_test)):
        if not torch.isfinite(x).all() or x.min() < 0 or x.max() > 1:
            return f"pixels from {x.min()} to {x.max()}"
        if len(x) != len(y) or (len(y) and not 0 <= y.min() <= y.max() < found.classes):
            return f"{len(x)} images with {len(y)} labels from {y.min()} to {y.max()} of {found.classes} classes"
    return ""


@target("a picture", st.tuples(st.sampled_from(PICTURES), st.one_of(MUTATIONS, st.just([]))))
def any_picture(folder):
    root = folder / "pictures"
    known = {kind: picture(*kind) for kind in PICTURES}
    for part in ("train", "test"):
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            (root / part / name / "0.png").write_bytes(known["png", "L"])
    place = root / "train" / "a"

    def check(case):
        (form, mode), mutations = case
        suffix = {"jpeg": "jpg", "tiff": "tif"}.get(form, form)
        path = place / f"1.{suffix}"
        path.write_bytes(with_mutations(known[form, mode], mutations))
        try:
            return data_answer({"dataset": f"folder:{root}", "device": "cpu"}, path, place)
        finally:
            path.unlink()

    return check


def idx(array):
    array = np.asarray(array, np.uint8)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


@target("IDX files of MNIST", st.tuples(st.sampled_from(IDX_FILES), MUTATIONS, st.booleans()))
def any_idx(folder):
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    whole = {}
    for name in IDX_FILES:
        shape = (6, 28, 28) if "images" in name else (6,)
        whole[name] = idx(rng.integers(0, 256 if "images" in name else 10, shape))
        (raw / name).write_bytes(whole[name])
    config = {"dataset": "mnist", "data_dir": str(folder), "device": "cpu", "batch_size": 2}

    def check(case):
        name, mutations, head = case
        content = whole[name]
        damaged = with_mutations(content[:16], mutations) + content[16:] if head else with_mutations(content, mutations)
        (raw / name).write_bytes(damaged)
        try:
            return data_answer(config, raw, folder)
        finally:
            (raw / name).write_bytes(content)

    return check


@target("a table of numbers")
def any_table(folder):
    path = folder / "yacht.data"
    rows = "\n".join(" ".join(f"{i * j + 0.5:.3f}" for j in range(7)) for i in range(14)).encode()

    def check(case):
        path.write_bytes(case.content)
        try:
            found = read_rows(path, TABLES["yacht"])
        except DataError as error:
            return refusal(error, path)
        return "" if np.isfinite(found).all() and found.shape[1] == 7 else f"gives {found.shape}"

    return damaged(rows), check


ARRAYS = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(
            st.just("right"),
            st.tuples(
                st.sampled_from(("u1", "i8", "f4", "f8", "?", "c8", "U3", "O", "f2", "u2", "M8[s]")),
                st.lists(st.integers(0, 9), max_size=4),
                st.sampled_from((0, 1, -1, 255, float("nan"), float("inf"))),
            ),
        )
        for name in ("x_train", "y_train", "x_test", "y_test")
    },
)


@target("arrays in an .npz", st.tuples(ARRAYS, st.one_of(st.just([]), MUTATIONS)))
def any_npz(folder):
    path = folder / "mine.npz"
    right = {
        "x_train": np.ones((6, 4)) / 2,
        "y_train": np.arange(6) % 2,
        "x_test": np.ones((4, 4)),
        "y_test": np.arange(4) % 2,
    }

    def check(case):
        given, mutations = case
        arrays = {}
        for name, what in given.items():
            if what == "right":
                arrays[name] = right[name]
                continue
            kind, shape, value = what
            try:
                arrays[name] = np.full(shape, value).astype(kind)
            except (ValueError, OverflowError, TypeError, RuntimeWarning):
                arrays[name] = np.zeros(shape)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        path.write_bytes(with_mutations(buffer.getvalue(), mutations))
        try:
            config = SweepConfig.from_dict({"dataset": f"arrays:{path}", "device": "cpu", "batch_size": 2})
        except SENTENCES as error:  # arrays: is not there yet, or the path is refused
            return refusal(error)
        try:
            found = datasets.load(config)
        except DataError as error:
            return refusal(error, path)
        if (
            not torch.isfinite(found.x_train).all()
            or not 0 <= found.y_train.min() <= found.y_train.max() < found.classes
        ):
            return "believes numbers that are none, or classes that are none"
        return ""

    return check
