"""What the notebooks share. Floor by floor, imports run downward only:

3  panels, grid, browser, plots, gallery, notebooks, batch, bench, bench_panel    what people touch
2  sweep, progress, findings, he_factor, plateaus                                 the studies
1  stack, networks                                                                the machinery
0  activations, initializers, data, config, records                               what varies and what stays
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def work_from_root():
    """Make the repository's own folder the working directory: a notebook in a folder then finds data/ and results/."""
    os.chdir(ROOT)
