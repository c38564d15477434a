"""A results page with made-up data: the page's own files, and data files written here by what they are said to hold."""

import base64
import gzip
import json
import math
import shutil
from itertools import product
from pathlib import Path

APP = Path(__file__).parents[1] / "helpers" / "page" / "app"
EPOCHS = [0, 1, 2]  # of which layers are kept


def sweep_data(key, activations, inits, depths, seeds=(0, 1), lrs=None, epochs=5, columns=None, dataset="digits"):
    """The data of a sweep, no two runs alike: one diverged, one crashed, one has no log, and one no known plateau.

    columns  {name: function of the place of a run}: further columns of the summary
    """
    rows = [*product(activations, inits, depths, lrs or [None], seeds)]
    accuracies = [accuracy_of(i, len(rows)) for i in range(len(rows))]
    names = [
        f"{init}_{activation}_{depth}L" + (f"_lr{lr}" if lrs else "") + f"_s{seed}"
        for activation, init, depth, lr, seed in rows
    ]
    diverged = [i == 1 for i in range(len(rows))]
    crashed = [None if i == 7 else i == 2 for i in range(len(rows))]  # when the eighth left is not known
    summary = {
        "run": names,
        **{axis: [row[k] for row in rows] for k, axis in enumerate(("activation", "init", "layers"))},
        "seed": [row[4] for row in rows],
        "final_test_acc": [None if lost else value for value, lost in zip(accuracies, diverged, strict=True)],
        "left_plateau": [i % 7 or None for i in range(len(rows))],
        "learned": [
            value > 0.5 and not (lost or fell) for value, lost, fell in zip(accuracies, diverged, crashed, strict=True)
        ],
        "crashed": crashed,
        "diverged": diverged,
    }
    if lrs:
        summary["lr"] = [row[3] for row in rows]
    summary |= {name: [of(i) for i in range(len(rows))] for name, of in (columns or {}).items()}
    curves = {
        name: [
            None if i == 3 else [curve(name, i, len(rows), epoch, epochs) for epoch in range(epochs + 1)]
            for i in range(len(rows))
        ]
        for name in ("train_loss", "test_loss", "train_acc", "test_acc")
    }
    layers = {
        stat: [
            None if i == 3 else [[round(scale / (1 + layer + epoch), 4) for layer in range(row[2])] for epoch in EPOCHS]
            for i, row in enumerate(rows)
        ]
        for stat, scale in (("act_mean", 0.1), ("act_std", 1), ("pre_std", 2), ("grad_norm", 6))
    }
    return {
        "key": key,
        "study": key,
        "name": key,
        "folder": key,
        "dataset": dataset,
        "config": {"lr": lrs or 0.05, "hidden_size": 64, "batch_size": 32, "optimizer": "sgd", "num_epochs": epochs},
        "settings": f"{dataset}, {len(rows)} runs",
        "origin": "cpu, made up",
        "axes": {"activation": activations, "init": inits, "layers": depths, "seed": [*seeds]}
        | ({"lr": lrs} if lrs else {}),
        "chance": 0.1,
        "mark": 0.55,
        "summary": summary,
        "forecast": None,
        "curves": curves,
        "layers": {"epochs": EPOCHS, **layers},
        "theory": {
            "run": [0 if row[2] == depths[0] else None for row in rows],
            "pre_std": [[2.0] * depths[0]],
            "grad_norm": [[0.5] * depths[0]],
        },
        "csv": f"{key}/summary.csv",
        "logs": None,
    }


def accuracy_of(place, count):
    """The accuracy of a run: all differ, and their order is not that of the runs."""
    return round((place * 7919 % count + 0.5) / count, 5)


def curve(name, place, count, epoch, epochs):
    """What a run has after an epoch; an accuracy ends at `accuracy_of`, and run 1 diverges in its last epoch."""
    if place == 1 and epoch == epochs:
        return None
    if name.endswith("acc"):
        return round(accuracy_of(place, count) * epoch / epochs, 5)
    return round(math.exp(-epoch * accuracy_of(place, count)) + (0.1 if name == "test_loss" else 0), 5)


def script_of(data):
    """The text of a data file: a call with base64 of gzip of JSON."""
    content = base64.b64encode(gzip.compress(json.dumps(data).encode())).decode()
    return f"plumbline.data({json.dumps(data['key'])}, {json.dumps(content)});\n"


def study_of(data, **more):
    """What page/studies.js says of a study with one sweep."""
    key, summary = data["key"], data["summary"]
    sweep = {"key": key, "name": data["name"], "file": f"page/data/{key}.js", "dataset": data["dataset"]}
    sweep |= {"runs": len(summary["run"]), "learned": sum(summary["learned"]), "settings": data["settings"]}
    made = {"key": key, "title": f"What is {key}?", "question": "Is it **made up**?", "answer": f"Yes, {key} is."}
    return {**made, "sweeps": [sweep], "parts": [], "notebooks": [], "csvs": [], "pictures": [], **more}


def write_site(folder, sweeps, studies=None, own=()):
    """A folder with index.html, page/ and local/page/studies.js; returns index.html.

    sweeps   what `sweep_data` made; each is a study, unless `studies` are given
    own      studies of the reader's own
    """
    shutil.copytree(APP, folder / "page", dirs_exist_ok=True)
    (folder / "page" / "index.html").rename(folder / "index.html")
    (folder / "page" / "data").mkdir(exist_ok=True)
    for data in sweeps:
        (folder / "page" / "data" / f"{data['key']}.js").write_text(script_of(data))
    index = [study_of(data) for data in sweeps] if studies is None else studies
    (folder / "page" / "studies.js").write_text(f"plumbline.studies({json.dumps(index)});\n")
    (folder / "local" / "page").mkdir(parents=True, exist_ok=True)
    (folder / "local" / "page" / "studies.js").write_text(f"plumbline.studies({json.dumps([*own])}, {{own: true}});\n")
    return folder / "index.html"
