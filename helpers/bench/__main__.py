"""The bench, all parts in turn.

python -m helpers.bench [--rounds 5] [--device auto] [--save results/local/bench]
"""

import argparse
from pathlib import Path

import pandas as pd

from helpers import files, records
from helpers.bench import panel, splines, stack


def main(arguments=None):
    """Measure, print what each part found, and write bench.csv and manifest.json."""
    parser = argparse.ArgumentParser(prog="python -m helpers.bench", description=stack.__doc__.splitlines()[0])
    stack.add_options(parser)
    parser.add_argument("--save", default="results/local/bench", help="folder for bench.csv and manifest.json")
    options, device = stack.read_options(parser, arguments)
    origin = files.provenance(device)
    print(f"{origin['device']} on {origin['machine']}, torch {origin['versions']['torch']}", flush=True)
    stacks = stack.measure(options.rounds, device)
    print(stack.sentence(stacks), flush=True)
    manifest = {
        "title": "How fast is the stack?",
        "question": "How long does a network take for one training step, against the loop that people write?",
        **origin,
        "made": files.now(),
        "rounds": options.rounds,
    }
    rows = stacks.pop("rows")
    for name, part in (("panel", panel), ("splines", splines)):
        manifest[name] = part.measure(options.rounds)
        print(part.sentence(manifest[name]), flush=True)
    table = pd.DataFrame(rows).to_csv(index=False, float_format="%.4g")
    files.write_whole(Path(options.save) / "bench.csv", table)
    records.write_manifest(options.save, {**manifest, **stacks})
    print(f"saved in {options.save}")


if __name__ == "__main__":
    main()
