"""The data of the path study's view: losses along curves and straight lines, and bands of predictions."""

from pathlib import Path

import numpy as np

from helpers.files import DamagedError
from helpers.page.packing import folders_of, rounded
from helpers.path_study.log import StudyError, load_study
from helpers.progress import say

LINES = ("straight", "aligned", "curve")
QUANTITIES = ("train_loss", "test_loss", "train_acc", "test_acc")
NUMBERS = ("length", "straight_length", "barrier_straight", "barrier_aligned", "barrier_curve", "curvature_mean")
TEXTS = ("part", "data", "activation", "ends", "run_a", "run_b")
BANDS = ("mean", "low", "high", "low_mean", "high_mean")
EVERY = 2  # of the points of a band one in so many is kept


def find(root):
    """The parts that the page shows, see `helpers.page`."""
    found = []
    for folder in folders_of(Path(root), "paths"):
        try:
            content = data_of(folder)
        except (StudyError, DamagedError) as error:
            say(f"left out: {error}")
            continue
        key = f"paths.{folder.name}"
        found.append({"key": key, "study": "paths", "kind": "paths", "title": folder.name, "content": content})
    return found


def data_of(folder):
    """The data of one path study. Raises StudyError, DamagedError."""
    results = load_study(folder)
    along = dict(list(results.along.groupby("curve", sort=False)))
    grids, curves = [], []
    for row in results.curves.to_dict("records"):
        if row["curve"] in along:
            curves.append(_curve(row, along[row["curve"]], grids))
    return {
        "grids": grids,
        "curves": curves,
        "bands": [_band(rows) for _, rows in results.bands.groupby(["task", "space"], sort=False)],
        "csv": f"paths/{Path(folder).name}/curves.csv",
        "logs": f"paths/{Path(folder).name}/along.csv.bz2",
    }


def _curve(row, table, grids):
    found = {name: row[name] or "" for name in TEXTS} | {"curve": row["curve"]}
    found |= {name: _whole(row[name]) for name in ("layers", "hidden_size", "seed", "k")}
    found |= {name: rounded(row[name], 6) for name in NUMBERS} | {"dead": bool(row["dead"])}
    lines = {}
    for line in LINES:
        mine = table[table.line == line]
        if mine.empty:
            continue
        arc = rounded(mine.arc.to_numpy())
        if arc not in grids:
            grids.append(arc)
        known = {q: mine[q].to_numpy(float) for q in QUANTITIES}
        lines[line] = {q: rounded(values, 3) for q, values in known.items() if np.isfinite(values).any()}
        found["grid"] = grids.index(arc)
    return found | {"lines": lines}


def _band(rows):
    first = rows.iloc[0]
    found = {name: first[name] or "" for name in ("part", "data", "activation", "space")}
    found |= {name: _whole(first[name]) for name in ("layers", "hidden_size", "seed", "k")}
    thin = rows.iloc[::EVERY]
    return found | {"x": rounded(thin.x.to_numpy(), 3)} | {name: rounded(thin[name].to_numpy(), 3) for name in BANDS}


def _whole(value):
    return int(value) if np.isfinite(value) else None
