"""What the notebooks share, floor by floor: a module imports only what stands before it in FLOORS."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Files and rooms (folders). Imports run downward, and on one floor from right to left; tests/test_floors.py holds them.
FLOORS = (
    # 0: the ground: no study, no network
    "rooms words elsewhere checks trials usual_torch float32_products graphs files sources notebooks packed compiled "
    "progress sections signals meshes quadrature lanes figures vendored",
    # 1: what varies, what stays
    "axes activations initializers data checksums manifests records summaries config",
    # 2: networks and how they train
    "theory networks training loading cluster",
    # 3: the studies
    "sweep he_factor plateaus phase calls scale spline_study landscapes landscape_study "
    "study_tables study_settings study_folder study_answers paths path_study stitching stitching_study prescriptions",
    # 4: what people touch
    "gallery page widgets batch bench",
)


def work_from_root():
    """Make the repository's own folder the working directory: a notebook in a folder then finds data/ and results/."""
    os.chdir(ROOT)


# Whatever is printed, a name or a path, an output that knows only ASCII shows it escaped instead of raising.
if getattr(sys.stdout, "errors", None) == "strict" and hasattr(sys.stdout, "reconfigure"):
    sys.stdout.reconfigure(errors="backslashreplace")
