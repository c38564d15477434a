"""The data of the landscape study's view: loss and accuracy of planes around networks.

A panel is one network of one seed, one kind of plane and one epoch: the mean over its pairs of directions and its
mini-batches, and the standard deviation of its loss over them. All are published; none is thinned.
"""

from pathlib import Path

import numpy as np

from helpers.files import DamagedError
from helpers.landscape_study.log import StudyError, load_study, network_of
from helpers.landscapes.figures import STEPS
from helpers.landscapes.stored import SurfaceError
from helpers.page.packing import folders_of, packed_log, packed_share, rounded
from helpers.progress import say

SAID = 6  # significant digits of what is said in words
OF_NETWORK = ("network", "activation", "init", "layers")


def find(root):
    """The parts that the page shows, see `helpers.page`."""
    found = []
    for folder in folders_of(Path(root), "landscapes"):
        try:
            content = data_of(folder)
        except (StudyError, SurfaceError, DamagedError) as error:
            say(f"left out: {error}")
            continue
        key, title = f"landscapes.{folder.name}", content["data"].partition(" (")[0]
        found.append({"key": key, "study": "landscapes", "kind": "surfaces", "title": title, "content": content})
    return found


def data_of(folder):
    """The data of one landscape study. Raises StudyError, SurfaceError, DamagedError."""
    results = load_study(folder)
    panels, networks, about, steps = [], [], {}, []
    table = results.measures.fillna({"layers": ""})
    for _, rows in table.groupby([*OF_NETWORK, "seed", "kind", "epoch"], sort=False):
        surfaces = [results.surface(key) for key in rows.surface]
        network = {name: rows.iloc[0][name] for name in OF_NETWORK}
        if network not in networks:
            networks.append(network)
        about = about or surfaces[0].settings
        if len(surfaces[0].steps) and (mine := rounded(surfaces[0].steps)) not in steps:
            steps.append(mine)
        panels.append(
            {
                "network": networks.index(network),
                "seed": int(rows.seed.iloc[0]),
                "kind": rows.kind.iloc[0],
                "epoch": int(rows.epoch.iloc[0]),
                "key": network_of(rows.surface.iloc[0]),
                "steps": steps.index(rounded(surfaces[0].steps)),
                **_panel(surfaces),
            }
        )
    return {
        "data": about.get("data", Path(folder).name),
        "images": about.get("images"),
        "unit": STEPS[about.get("normalise", "filter")],
        "networks": networks,
        "kinds": results.kinds,
        "steps": steps,
        "panels": panels,
        "csv": f"landscapes/{Path(folder).name}/measures.csv",
        "logs": f"landscapes/{Path(folder).name}/surfaces.tar.xz",
    }


def _panel(surfaces):
    loss, accuracy = (np.stack([np.asarray(getattr(s, q), float) for s in surfaces]) for q in ("loss", "accuracy"))
    loss[~np.isfinite(loss)] = np.nan
    accuracy[np.isnan(loss)] = np.nan
    found = {"repeats": len(surfaces), "loss": packed_log(loss.mean(0)), "accuracy": packed_share(accuracy.mean(0))}
    for quantity, values in (("loss", loss.mean(0)), ("accuracy", accuracy.mean(0))):
        # what the sentence says, to the digits that the figures' sentences have
        found[quantity] |= {"middle": rounded(values[tuple(n // 2 for n in values.shape)], SAID)}
        known = values[np.isfinite(values)]
        found[quantity] |= {"span": rounded([known.min(), known.max()], SAID) if len(known) else None}
    if len(surfaces) > 1:
        found["spread"] = rounded(np.median(loss.std(0, ddof=1) / loss.mean(0)), 2)
    s = surfaces[0].settings
    if s.get("path"):
        found["path"] = rounded(s["path"], 3)
        found["path_losses"] = rounded(s["path_losses"])
    return found
