"""What the notebooks share, floor by floor: a module imports only what stands before it in FLOORS."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Files and rooms (folders). Imports run downward, and on one floor from right to left; tests/test_floors.py holds them.
FLOORS = (
    # 0: imports nothing of ours
    "records quadrature",
    # 1: what varies, what stays
    "activations initializers data config",
    # 2: networks and how they train
    "theory networks stack progress sweep reference",
    # 3: the studies
    "findings canvas plots run_plots theory_plots he_factor plateaus phase gradient_log spline_study gradient_plots",
    # 4: what people touch
    "grid panels browser notebooks batch gallery bench_panel bench_splines bench",
)


def work_from_root():
    """Make the repository's own folder the working directory: a notebook in a folder then finds data/ and results/."""
    os.chdir(ROOT)
