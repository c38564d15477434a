"""The questions that published pictures of loss landscapes raise, answered from the numbers of the studies.

    python -m helpers.landscape_study.answers [results/landscapes]

writes answers.csv there, a row a question and study: question, data, answer. Numbers are means and deviations over
seeds, each seed's the mean over its pairs of directions and batches.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import files, words
from helpers.landscape_study import findings
from helpers.landscape_study.log import is_finished, load_study
from helpers.progress import say

ACTIVATION = "relu"  # where activations are not what is compared
SHAPE = ("sharpness", "roughness", "convex_share")  # of a surface


def answers(results):
    """{question: answer} of a StudyResults; a question that the study does not ask is left out."""
    found = {question: answer(results, results.measures) for question, answer in QUESTIONS.items()}
    return {question: " ".join(sentences) for question, sentences in found.items() if sentences}


def compared(measures, by, numbers, **chosen):
    """A sentence a number, those that the study has."""
    found = (findings.side_by_side(measures, number, by, **chosen) for number in numbers)
    return [f"{said}." for said in found if said]


def progress(results, measures):
    numbers = ("centre_loss", *SHAPE, "eigenvalue_1")
    chosen = {"network": main_network(measures), "activation": ACTIVATION}
    return compared(measures, "epoch", numbers, kind="random", **chosen)


def activation(results, measures):
    chosen = {"network": main_network(measures), "epoch": measures.epoch.max()}
    return compared(measures, "activation", ("centre_loss", *SHAPE), kind="random", **chosen)


def architecture(results, measures):
    chosen = {"network": lone_networks(measures), "activation": ACTIVATION, "epoch": measures.epoch.max()}
    return compared(measures, "network", ("centre_loss", *SHAPE), kind="random", **chosen)


def zoom(results, measures):
    kinds = {}
    lone = lone_networks(measures)
    for network in (name for name in measures.network[measures.kind == "zoom"].unique() if name in lone):
        kinds[f"{network}, dropout off"] = {"kind": "zoom", "network": network}
    for network in measures.network[measures.kind == "zoom_dropout"].unique():
        kinds[f"{network}, dropout on"] = {"kind": "zoom_dropout", "network": network}
    return [f"{sentence}." for sentence in findings.noises(results, **kinds)]


def single_layers(results, measures):
    kinds = ["random", "first_layer", "last_layer"]
    chosen = {"network": main_network(measures), "activation": ACTIVATION, "epoch": measures.epoch.max()}
    if not {*kinds} <= {*measures.kind}:
        return []
    return compared(measures, "kind", SHAPE, kind=kinds, **chosen)


def depth(results, measures):
    found, last = [], measures.epoch.max()
    for network in sorted({*measures.network} - {*lone_networks(measures)}):
        chosen = {"network": network, "activation": ACTIVATION, "epoch": last, "kind": "random"}
        for setting in ("layers", "init"):
            found += compared(measures, setting, ("centre_loss", "sharpness", "roughness"), **chosen)
    return found


def chosen_planes(results, measures):
    """How far below the network's own loss a plane goes, and how far above: of random planes and of the Hessian's."""
    near, hessian = (measures[measures.kind == kind] for kind in ("near", "hessian"))
    if near.empty or hessian.empty:
        return []
    falls = [words.mean_of((1 - rows.lowest_loss / rows.centre_loss).to_numpy(), ".3g") for rows in (near, hessian)]
    highest = hessian.groupby("seed").highest_loss.mean() / near.groupby("seed").highest_loss.mean()
    return [
        f"The lowest loss lies below the network's own by this share of it: {falls[0]} in a random plane and "
        f"{falls[1]} in the plane of the Hessian, whose highest loss, with steps as long, is {words.span(highest)} "
        "times that of the random plane."
    ]


def path(results, measures):
    """How much of a training path's variance its plane holds, and how far the true loss is from the plane's there.

    The factor is that of the larger to the smaller, as in `figures.trajectory`: a plane can show too little as well.
    """
    if "trajectory" not in set(measures.kind):
        return []
    shares, off = [], []
    for surface in results.surfaces(kind="trajectory").values():
        way, of_variance, _, losses = findings.path_of(surface)
        shares.append(of_variance[:2].sum())
        off.append(np.abs(np.log(shown_at(surface, way) / losses)))
    return [
        f"Its two main directions hold {words.mean_of(shares, '.3g')} of the variance of a path; the loss that the "
        f"plane shows at a point of the path is off by a factor of up to "
        f"{words.number(np.exp(np.nanmax(np.concatenate(off))))}."
    ]


QUESTIONS = {
    "What does training change?": progress,
    "Does the activation make the surface smooth?": activation,
    "Does the architecture?": architecture,
    "Is it noise, seen from 100 times closer?": zoom,
    "What does a single layer make of it?": single_layers,
    "What do depth and initialisation?": depth,
    "What does a random plane hide?": chosen_planes,
    "Does a training path lie in its plane?": path,
}


def shown_at(surface, way):
    """The loss that a surface shows at points (a, b) of its plane, between grid points linearly: (points,)."""
    from scipy.interpolate import RegularGridInterpolator

    grid = RegularGridInterpolator((surface.steps, surface.steps), surface.loss, bounds_error=False, fill_value=np.nan)
    return grid(way)


def lone_networks(measures):
    """The entries whose networks differ in activation and seed alone, in their order."""
    cells = measures.fillna({"layers": ""}).groupby("network", sort=False)[["init", "layers"]].nunique()
    return [*cells.index[(cells <= 1).all(axis=1)]]


def main_network(measures):
    """The entry that has most activations, among `lone_networks`: the study looks at it where it compares others."""
    rows = measures[measures.network.isin(lone_networks(measures))]
    return rows.groupby("network", sort=False).activation.nunique().idxmax()


def table(folder):
    """All answers of the finished studies in a folder: question, data, answer; questions in their order."""
    rows = []
    for study in sorted(path.parent for path in Path(folder).glob("*/measures.csv")):
        if is_finished(study):
            results = load_study(study)
            data = next(iter(results.surfaces(kind="random").values())).settings["data"]
            rows += [{"question": q, "data": data, "answer": a} for q, a in answers(results).items()]
    order = {question: i for i, question in enumerate(QUESTIONS)}
    return pd.DataFrame(sorted(rows, key=lambda row: order[row["question"]]), columns=["question", "data", "answer"])


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m helpers.landscape_study.answers", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", nargs="?", default="results/landscapes", help="folder of the studies")
    options = parser.parse_args(arguments)
    found = table(options.folder)
    if found.empty:
        parser.error(f"{options.folder} holds no finished landscape study; allowed is a folder with one in it")
    path = Path(options.folder) / "answers.csv"
    files.write_whole(path, found.to_csv(index=False))
    say(f"wrote {path}")


if __name__ == "__main__":
    main()
