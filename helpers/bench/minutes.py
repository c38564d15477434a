"""How many minutes do the notebooks take with the settings that they come with?

    python -m helpers.bench.minutes [study ...] [--save results/local/bench]

One after another, each as a batch into an empty folder, so that everything is trained. The sweeps
of `he_factor` and `sigmoid` come with the settings that are published, and say themselves how long they took.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
import yaml

from helpers import ROOT
from helpers.batch import run
from helpers.batch.parameters import notebook_parameters
from helpers.bench import measured

# study: the notebook that it comes with
NOTEBOOKS = {
    "digits": "run.ipynb",
    "signal": "notebooks/signal.ipynb",
    "splines": "notebooks/splines.ipynb",
    "landscapes": "notebooks/landscapes.ipynb",
    "paths": "notebooks/paths.ipynb",
    "stitching": "notebooks/stitching.ipynb",
    "scale": "notebooks/scale.ipynb",
}


def main(arguments=None):
    """Measure, print and keep: minutes.csv has a row a study; rows of other studies stay."""
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.minutes", description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="*", help=f"of {', '.join(NOTEBOOKS)}; all where left out")
    parser.add_argument("--save", default="results/local/bench", help="folder for minutes.csv and manifest.json")
    options = parser.parse_args(arguments)
    if unknown := [study for study in options.study if study not in NOTEBOOKS]:
        parser.error(f"study is {unknown[0]!r}; allowed is one of {', '.join(NOTEBOOKS)}")
    for study in options.study or NOTEBOOKS:
        minutes = measure(ROOT / NOTEBOOKS[study])
        print(f"{NOTEBOOKS[study]}: {minutes:.1f} minutes", flush=True)
        rows = with_row(read(Path(options.save) / "minutes.csv"), study, minutes)
        measured.keep(options.save, "minutes", torch.device("cpu"), rows.to_dict("records"))


def measure(notebook):
    """Minutes of wall time that a notebook takes as a batch, kernel, training and figures included.

    Raises RuntimeError where it does not end well.
    """
    given = notebook_parameters(notebook)
    with tempfile.TemporaryDirectory() as folder:
        if "CONFIG" in given:
            given["CONFIG"] = {**given["CONFIG"], "save_dir": f"{folder}/results"}
        else:
            given["save_dir"] = f"{folder}/results"
        asked = Path(folder) / "asked.yaml"
        asked.write_text(yaml.safe_dump({"notebook": str(notebook), **given}), encoding="utf-8")
        started = time.perf_counter()
        code = run.main([str(asked)])
        took = (time.perf_counter() - started) / 60
    if code:
        raise RuntimeError(f"{notebook} ended with exit code {code}, so its time says nothing")
    return took


def read(path):
    """The table of minutes, columns study, minutes; without rows where there is none."""
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["study", "minutes"])


def with_row(table, study, minutes):
    """The table with the row of a study, in place of the one that it may have; rows stand in the order of NOTEBOOKS."""
    rows = {**dict(zip(table.study, table.minutes, strict=True)), study: minutes}
    order = sorted(rows, key=[*NOTEBOOKS].index)
    return pd.DataFrame({"study": order, "minutes": [rows[name] for name in order]})


if __name__ == "__main__":
    main()
