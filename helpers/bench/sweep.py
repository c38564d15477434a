"""How long does the digits sweep take, against another checkout of this repository? They take turns, a process each.

    python -m helpers.bench.sweep --against PATH [--rounds 3] [--epochs 2] [--save results/local/bench]

The sweep is that of `make run`, 192 networks, with fewer epochs. Either checkout trains with its own code, from a fresh
process in the same environment, so PATH must work with the packages that are installed here. Timed are the training,
`Sweep.run`, and from the start of the process to the first epoch of a stack that is trained.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from helpers import ROOT
from helpers.bench import measured

# What either checkout runs, in its own folder: it takes only what every version of `helpers` has had. Arguments: CONFIG
# as JSON, and when the process was started. Epochs before training are left out: of the stacks in all lanes they come
# first, and there are no more lanes than threads.
PROGRAM = """
import json, sys, time
import torch
from helpers.sweep import Sweep
import helpers

if __name__ == "__main__":
    events = []
    sweep = Sweep(json.loads(sys.argv[1]))
    started = time.time()
    sweep.run(lambda progress: events.append(time.time()))
    ended = time.time()
    trained = events[min(len(events) - 1, torch.get_num_threads())] - float(sys.argv[2])
    print(json.dumps({"seconds": ended - started, "first_epoch": trained, "where": helpers.__file__}))
"""
SMALL = {"layers_list": [5], "num_epochs": 1}  # untimed: compiles what is compiled at its first use


def once(checkout, config):
    """{"seconds", "first_epoch"} of one sweep, trained by the code of a checkout in a folder that vanishes.

    Raises RuntimeError where its process fails, or imports other code.
    """
    checkout = Path(checkout).resolve()
    with tempfile.TemporaryDirectory() as folder:
        given = json.dumps({**config, "save_dir": folder})
        found = subprocess.run(
            [sys.executable, "-c", PROGRAM, given, repr(time.time())],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
        )
    if found.returncode:
        raise RuntimeError(f"the sweep of {checkout} failed: {found.stderr.strip().splitlines()[-1]}")
    answer = json.loads(found.stdout.strip().splitlines()[-1])
    if checkout not in Path(answer["where"]).resolve().parents:
        raise RuntimeError(f"{checkout} has no helpers of its own: {answer['where']} was imported")
    return answer


def measure(against, rounds=3, epochs=2, config=None):
    """{"rows", "ratio", "first_epoch", "against"}: a row a round; `ratio` is how many times as long the other takes."""
    config = {**(config or {}), "num_epochs": epochs}
    places = {"here": ROOT, "there": against}
    for place in places.values():
        once(place, {**config, **SMALL})
    rows = []
    for i in range(rounds):  # who begins changes from round to round
        order = ("here", "there") if i % 2 == 0 else ("there", "here")
        took = {which: once(places[which], config) for which in order}
        here, there = took["here"]["seconds"], took["there"]["seconds"]
        first = took["here"]["first_epoch"]
        rows.append({"round": i + 1, "here": here, "there": there, "ratio": there / here, "first_epoch": first})
    return {
        "rows": rows,
        "ratio": statistics.median(row["ratio"] for row in rows),
        "first_epoch": statistics.median(row["first_epoch"] for row in rows),
        "against": measured.commit(against),
        "rounds": rounds,
        "epochs": epochs,
    }


def sentence(found):
    """What `measure` found, in words."""
    ratios = [row["ratio"] for row in found["rows"]]
    here, there = (statistics.median(row[which] for row in found["rows"]) for which in ("here", "there"))
    return (
        f"the digits sweep with {found['epochs']} epochs takes {here:.1f} s here, {there:.1f} s at {found['against']}: "
        f"{found['ratio']:.2f} times as long there (median of {found['rounds']} rounds, {min(ratios):.2f} to "
        f"{max(ratios):.2f}); first trained epoch of a stack {found['first_epoch']:.1f} s after the process's start"
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--against", required=True, metavar="PATH", help="another checkout of this repository")
    parser.add_argument("--rounds", type=int, default=3, help="how often both take their turn (default 3)")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the sweep (default 2)")
    parser.add_argument("--save", default="results/local/bench", help="folder for sweep.csv and manifest.json")
    options = parser.parse_args(arguments)
    for name in ("rounds", "epochs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; allowed is a whole number from 1 up")
    if not (Path(options.against) / "helpers").is_dir():
        parser.error(f"--against is {options.against}; allowed is the folder of another checkout, with helpers/ in it")
    found = measure(options.against, options.rounds, options.epochs)
    print(sentence(found), flush=True)
    measured.keep(options.save, "sweep", torch.device("cpu"), **found)
    print(f"saved in {options.save}")


if __name__ == "__main__":
    main()
