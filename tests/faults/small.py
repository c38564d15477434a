"""A sweep and two studies as small as can be, and what is compared of them: every digit but the times."""

import csv
import io
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path

from helpers import packed
from helpers.landscapes import load_surface

# Four stacks of two networks, four measurements each: a start takes a tenth of a second.
SWEEP = {
    "layers_list": [2, 1],
    "init_types": ["he_normal", "orthogonal"],
    "activations": ["relu", "tanh"],
    "hidden_size": 8,
    "num_epochs": 3,
    "lr": 0.1,
    "batch_size": 32,
    "train_size": 100,
    "test_size": 50,
    "precision": "float64",
    "device": "cpu",
    "stack_size": 2,
}
RUNS, EPOCHS, LANES = 8, 3, 2
STEPS = 4 * (EPOCHS + 1)  # of all stacks, the measurement before training among them

STUDY = {
    "dataset": "digits",
    "train_size": 100,
    "test_size": 50,
    "layers": 2,
    "hidden_size": 8,
    "batch_size": 32,
    "num_epochs": 3,
    "lr": 0.01,
    "precision": "float64",
    "device": "cpu",
}
EXPERIMENTS = {"plain": {}, "mine": {"activation": "learnable_spline"}, "clipped": {"clip": 1.0, "seeds": [0, 1]}}
STUDY_STEPS = 4 * (EPOCHS + 1)

LANDSCAPES = {
    "layers_list": [2],
    "hidden_size": 8,
    "num_epochs": 2,
    "epochs": [0, 2],
    "batch_size": 32,
    "samples": 32,
    "train_size": 100,
    "test_size": 50,
    "width": 5,
    "pairs": 1,
    "batches": 2,
    "eigenvalues": 1,
    "probes": 2,
    "precision": "float64",
    "device": "cpu",
}
LANDSCAPE_NETWORKS = {"mlp": {"activations": ["relu", "tanh"]}}
LANDSCAPE_SURFACES = {
    "random": {},
    "path": {"directions": "trajectory", "activations": ["tanh"], "width": 3, "batches": 1},
}
# two networks, nine surfaces, the curvature of both at two epochs
LANDSCAPE_STEPS = 2 * (2 + 1) + 8 * (5 + 1) + (3 + 1) + 4 * 2
TIMES = {"epoch_time", "train_time", "seconds"}


@contextmanager
def small_folder():
    """A temporary folder, its links resolved."""
    with tempfile.TemporaryDirectory(prefix="faults", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def sweep_in(folder, **changes):
    """The CONFIG of the small sweep in a folder."""
    return {**SWEEP, "save_dir": str(folder), **changes}


def without_times(text):
    """The rows of a CSV but for what the clock says."""
    rows = list(csv.reader(io.StringIO(text)))
    kept = [i for i, name in enumerate(rows[0]) if name not in TIMES] if rows else []
    return [[row[i] for i in kept] for row in rows]


def csvs(folder):
    """{name: text} of the CSVs of a folder of logs, plain or packed."""
    folder = Path(folder)
    names = {path.name for path in folder.glob("*.csv")}
    names |= {name for name in packed.packed_names(folder) if name.endswith(".csv")}
    return {name: packed.read(folder / name).decode() for name in sorted(names)}


def digits_of(folder):
    """All numbers that a sweep's folder holds, but times: {file: rows}."""
    found = {name: without_times(text) for name, text in csvs(Path(folder) / "runs").items()}
    found["summary.csv"] = without_times((Path(folder) / "summary.csv").read_text())
    return found


def study_digits_of(folder):
    """The same of a spline study."""
    found = {}
    for path in sorted(Path(folder).glob("[!.]*/experiment.json")):  # by a dot it is known what was set aside
        finished = bool(json.loads(path.read_text()).get("finished"))
        tables = {name: without_times(text) for name, text in csvs(path.parent).items()}
        found[path.parent.name] = (finished, tables)
    return found


def landscape_digits_of(folder):
    """The same of a landscape study; of its manifest what is known of networks and their curvature."""
    folder = Path(folder)
    found = {name: without_times(text) for name, text in csvs(folder / "networks").items()}
    for name in {path.name for path in folder.glob("surfaces/*.npz")} | {*packed.packed_names(folder / "surfaces")}:
        surface = load_surface(folder / "surfaces" / name)
        found[name] = (surface.loss.tolist(), surface.accuracy.tolist(), surface.settings)
    found["measures.csv"] = without_times((folder / "measures.csv").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    found["curvature"] = manifest["curvature"]
    found["weights"] = {name: about["weights"] for name, about in manifest["networks"].items()}
    return found


def difference(found, expected):
    """The first difference of two of these, in words; an empty text for none."""
    if found == expected:
        return ""
    if set(found) != set(expected):
        return f"other files: {sorted(set(found) ^ set(expected))}"
    name = next(name for name in expected if found[name] != expected[name])
    return f"the numbers of {name} differ"


def bytes_of(folder, pattern="runs/*.csv"):
    """{file: its bytes} of what a folder holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).glob(pattern))
        if path.is_file()
    }


def rewritten(before, folder, pattern="runs/*.csv"):
    """Which finished files a later start has written again or lost, in words; an empty text for none."""
    after = bytes_of(folder, pattern)
    gone = [name for name in before if name not in after]
    again = [name for name in before if name in after and after[name] != before[name]]
    return "; ".join(
        f"{word}: {', '.join(names[:3])}" for word, names in (("gone", gone), ("trained again", again)) if names
    )
