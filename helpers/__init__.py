"""What the notebooks share. Floor by floor, imports run downward only:

3  panels, grid, browser, canvas, plots, run_plots, theory_plots, gradient_plots, gallery, notebooks, batch, bench,
   bench_panel, bench_splines                                                     what people touch
2  sweep, progress, findings, he_factor, plateaus, phase, reference, gradient_log, spline_study     the studies
1  mean_field, theory, critical, stack, networks                                  the machinery
0  activations, quadrature, spline_kernel, splines, families, initializers, data, config, records
                                                                                  what varies and what stays
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def work_from_root():
    """Make the repository's own folder the working directory: a notebook in a folder then finds data/ and results/."""
    os.chdir(ROOT)
