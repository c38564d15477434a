"""What does the live panel cost? The same sweep with and without it, taking turns, in a notebook's kernel.

    python -m helpers.bench.panel [--rounds 5]

The kernel matters: only there are the panel's changes packed and sent. Two measures: the ratio of the whole sweeps'
times, median over the rounds, which carries the noise of the machine; and the share of the sweep's time that its thread
spent in the panel.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time

import nbformat
from IPython.display import display
from nbclient import NotebookClient

from helpers.progress import person_watches
from helpers.sweep import Sweep
from helpers.widgets.live import SweepPanel

# The digits sweep of run.ipynb, all 192 networks, with fewer epochs: many stacks and many cells, so much to show.
CONFIG = {"num_epochs": 4}


def measure(rounds, config=CONFIG):
    """{"ratio", "share", "rounds", "seconds"}: medians over the rounds, from a kernel of its own."""
    code = f"from helpers.bench import panel\nprint(await panel.take_turns({rounds}, {config!r}))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    headless = os.environ.pop("PLUMBLINE_HEADLESS", None)  # the kernel inherits it
    try:
        NotebookClient(notebook, timeout=3600, extra_arguments=["--IPKernelApp.log_level=40"]).execute()
    finally:
        if headless is not None:
            os.environ["PLUMBLINE_HEADLESS"] = headless
    (text,) = [output.text for output in notebook.cells[0].outputs if output.get("name") == "stdout"]
    return json.loads(text)


async def take_turns(rounds, config):
    """What `measure` runs in the kernel; returns JSON. Who begins changes from round to round."""
    ratios, shares, plain_times = [], [], []
    for i in range(rounds):
        turns = {watched: await _train(config, watched) for watched in ((False, True) if i % 2 else (True, False))}
        (plain, _), (seconds, in_panel) = turns[False], turns[True]
        ratios.append(seconds / plain)
        shares.append(in_panel / seconds)
        plain_times.append(plain)
    found = {"ratio": ratios, "share": shares, "seconds": plain_times}
    return json.dumps({"rounds": rounds, **{name: statistics.median(values) for name, values in found.items()}})


async def _train(config, watched):
    """Train one sweep in a folder that vanishes; returns its seconds, and those that its thread spent in the panel."""
    assert person_watches()
    in_panel = 0.0
    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep({**config, "save_dir": folder})
        panel = SweepPanel(sweep) if watched else None
        if watched:
            display(panel.widget)
            show = panel.show

            def timed(event):
                nonlocal in_panel
                started = time.perf_counter()
                show(event)
                in_panel += time.perf_counter() - started

            panel.show = timed
        started = time.perf_counter()
        if watched:
            await panel.train()
        else:
            await asyncio.get_running_loop().run_in_executor(None, sweep.run, lambda event: None)
        return time.perf_counter() - started, in_panel


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often both take their turn (default 5)")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; allowed is a whole number from 1 up")
    print(sentence(measure(options.rounds)))


def sentence(found):
    """What `measure` found, in words."""
    return (
        f"with the live panel a sweep of {found['seconds']:.0f} s takes {found['ratio']:.3f} times as long (median of "
        f"{found['rounds']} rounds); its thread spends {found['share']:.2%} of the time in the panel"
    )


if __name__ == "__main__":
    main()
