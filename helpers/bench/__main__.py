"""The bench, in minutes: the stack against the loop that people write, the live panel, the splines and the forecast.

python -m helpers.bench [--full] [--rounds 3] [--device auto] [--save results/local/bench]

The rivals (`helpers.bench.rivals`, `landscapes`, `paths`, `stitching`) and the whole sweep against another checkout
(`helpers.bench.sweep`) have commands of their own, and save into the same folder.
"""

import argparse
import time

from helpers import files
from helpers.bench import measured, panel, splines, stack
from helpers.progress import duration

# How often: rounds of the stack are an option. Quick ones show an order of magnitude, full ones are for publishing.
QUICK = {"repeats": 1, "panel": 1, "panel_epochs": 4, "splines": 3}
FULL = {"repeats": 3, "panel": 4, "panel_epochs": 4, "splines": 15}


def main(arguments=None):
    """Measure, print what each part found, and keep it: see `measured.py`."""
    parser = argparse.ArgumentParser(prog="python -m helpers.bench", description=__doc__.splitlines()[0])
    stack.add_options(parser)
    parser.add_argument("--full", action="store_true", help="more turns of everything: a quarter of an hour and more")
    parser.add_argument("--save", default="results/local/bench", help="folder for the CSVs and manifest.json")
    options, device = stack.read_options(parser, arguments)
    often, started = FULL if options.full else QUICK, time.perf_counter()
    origin = files.provenance(device)
    print(f"{origin['device']} on {origin['machine']}, torch {origin['versions']['torch']}", flush=True)

    def part(name, found, sentence):
        print(sentence(found), flush=True)
        measured.keep(options.save, name, device, **found)

    part("stack", stack.measure(options.rounds, device, often["repeats"]), stack.sentence)
    part("panel", panel.measure(often["panel"], {"num_epochs": often["panel_epochs"]}), panel.sentence)
    part("splines", splines.measure(often["splines"]), splines.sentence)
    took = {"seconds": round(time.perf_counter() - started), "peak_memory_gib": measured.peak_gib()}
    part("bench", took, sentence)
    print(f"saved in {options.save}")


def sentence(took):
    """What the bench itself took, in words."""
    memory = took["peak_memory_gib"]
    return f"the bench took {duration(took['seconds'])}" + (f" and {memory:.2f} GiB of memory" if memory else "")


if __name__ == "__main__":
    main()
