"""A stitching study on disk, and reading it back without torch; results are written by the process that runs it alone.

    <save_dir>/manifest.json   settings, origin, what is finished
               models.csv      the tables below; six significant digits, an empty cell for what is not known;
               *.csv.bz2        classes, errors and images are without the columns that pairs has of the same task
               state/          weights, rows and states of what is not finished: not published

`models.csv`, a row a network, whatever parts use it:
    dataset, model         its name, the same in all tables
    network, latent, layers, hidden_size, activation, init, seed
    classes                on which it was trained: "all", or "0 1 2 3 4"
    train_size, test_size, num_epochs, lr, batch_size, base, beta, width   as in STITCHES, where it has them
    parameters             all that are trained
    train_loss, test_loss, train_acc, test_acc   after the last epoch, on the classes that it was trained on: mean
                           squared error of autoencoders, cross-entropy of classifiers
    epochs, learned, diverged, seconds

The others begin with the columns

    part, dataset, model1, model2          encoder of the first, decoder or head of the second
    network1, network2, latent1, latent2, activation1, activation2, init1, init2, seed1, seed2
    layer1, layer2                         where they are cut
    differ                                 in what settings they differ: "seed", "activation, seed", or "nothing"
    anchor_classes                         whose images may be anchors: "all", or "shared" by both models' training

The tables `pairs`, `classes`, `errors` and `images` have a row a map, and a class in the second. Maps have

    sampling, num_samples, draw            strategy, number of anchors, and which draw of them
    mapping, lambda, lambda_used           kind of map; "gcv", or the number asked for, empty where it has none; the
                                           one used

`pairs` goes on with mse_1, mse_2, mse_stitched, accuracy_1, ... latent_r2_within as in `stitching.evaluate_many`; how
alike the latents are without a map, on the images held out, the same in every row of two networks and layers: cka,
principal_cosine, mutual_neighbours (of the 10 nearest, or of half of the images where there are fewer than 20),
procrustes_distance, as in `stitching.similarity`; the controls as in `stitching.control_columns` (empty in draws from
`control_draws` on), and `note`: a sentence where the anchors do not fix the map, or why there is none.

`classes` has class, whether either model saw it in its training (seen_1, seen_2), and the numbers of its images.
`errors` has mean and variance of the stitched network's error over images, and its parents'. `images` has the share of
the tenth of images that are best and worst for the stitched network which are the parents' too.

`layers`, of the runs of a sweep, has a row a pair of layers and map: cka, principal_cosine, mutual_neighbours,
procrustes_distance as above; r2, r2_within (of the latents of images held out), accuracy, agreement,
agreement_on_errors of the stitched network; accuracy_1, accuracy_2 of both runs; learned_1, learned_2; and the
controls, cka_pixels, cka_untrained, r2_pixels, ... agreement_on_errors_untrained: the same kind of map on the same
anchors to the same layer2, from what has learned nothing,

    pixels     the images themselves: whatever layer1 is
    untrained  layer1 of the first run before its training

and cka with layer2. A table that was made before there were these columns has them empty.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers import manifests
from helpers.study_tables import StudyError, Tables

MODELS = "models"  # what the names of tasks that train begin with; those of pairs begin with their part
MODEL = ["dataset", "model"]
RECIPE = ["train_size", "test_size", "num_epochs", "lr", "batch_size", "base", "beta", "width"]
FIRST = [
    *(
        "part",
        "dataset",
        "model1",
        "model2",
        "network1",
        "network2",
        "latent1",
        "latent2",
        "activation1",
        "activation2",
    ),
    *("init1", "init2", "seed1", "seed2", "layer1", "layer2", "differ", "anchor_classes"),
]
MAP = ["sampling", "mapping", "lambda", "lambda_used", "num_samples", "draw"]
BY_IMAGE = ["mse_1", "mse_2", "mse_stitched", "accuracy_1", "accuracy_2", "accuracy_stitched", "agreement"]
NUMBERS = [*BY_IMAGE, "agreement_on_errors", "errors_2", "latent_r2", "latent_r2_within"]
SIMILARITY = ["cka", "principal_cosine", "mutual_neighbours", "procrustes_distance"]
MEASURES = ("mse", "accuracy", "agreement", "agreement_on_errors", "latent_r2", "latent_r2_within")
OF_IMAGES = ["mse_constant", "mse_mean_image", "mse_class_means", "accuracy_constant"]
OF_LATENTS = ("identity", "self", "shuffled", "untrained", "label_noise")
CONTROLS = [*OF_IMAGES, *(f"{measure}_{control}" for measure in MEASURES for control in OF_LATENTS)]
OF_LAYERS = ("cka", "r2", "r2_within", "accuracy", "agreement_on_errors")  # what the controls of `layers` have
UNLEARNED = ("pixels", "untrained")
KEPT = ["top_kept_1", "top_kept_2", "low_kept_1", "low_kept_2"]
TABLES = {
    "models": [
        *("network", "latent", "layers", "hidden_size", "activation", "init", "seed", "classes", *RECIPE, "parameters"),
        *("train_loss", "test_loss", "train_acc", "test_acc", "epochs", "learned", "diverged", "seconds"),
    ],
    "pairs": [*MAP, *NUMBERS, *SIMILARITY, *CONTROLS, "note", "seconds"],
    "classes": [*MAP, "class", "seen_1", "seen_2", *BY_IMAGE],
    "errors": [*MAP, *("mean_1", "variance_1", "mean_2", "variance_2", "error_mean", "error_variance")],
    "images": [*MAP, *KEPT],
    "layers": [
        *(*MAP, *SIMILARITY, "r2", "r2_within", "accuracy", "agreement", "agreement_on_errors"),
        *("accuracy_1", "accuracy_2", "learned_1", "learned_2"),
        *(f"{measure}_{control}" for measure in OF_LAYERS for control in UNLEARNED),
        "note",
    ],
}
LONG = {"pairs": None, "classes": "pairs", "errors": "pairs", "images": "pairs", "layers": None}
TEXTS = (
    *("part", "dataset", "model", "model1", "model2", "network", "network1", "network2", "activation", "activation1"),
    *("activation2", "init", "init1", "init2", "layer1", "layer2", "differ", "anchor_classes", "classes"),
    *("sampling", "mapping", "lambda", "note"),
)
FLAGS = ("learned", "diverged", "seen_1", "seen_2", "learned_1", "learned_2")
LAYOUT = Tables(
    "stitching study",
    {table: MODEL if table == "models" else FIRST for table in TABLES},
    TABLES,
    LONG,
    TEXTS,
    FLAGS,
    "STITCHES",
    shared=(MODELS,),
)


@dataclass(frozen=True, eq=False)
class StudyResults:
    """A stitching study read back from its folder. Each table is a DataFrame, without rows where no part made any."""

    folder: Path
    manifest: dict
    models: pd.DataFrame
    pairs: pd.DataFrame
    classes: pd.DataFrame
    errors: pd.DataFrame
    images: pd.DataFrame
    layers: pd.DataFrame


def load_study(folder):
    """Read a study back. Raises StudyError, DamagedError, one sentence each."""
    manifest, tables = LAYOUT.load(folder)
    return StudyResults(Path(folder), manifest, **tables)


def is_finished(folder):
    """Whether a folder holds a study that can be read and is finished."""
    return manifests.is_finished(load_study, folder)


__all__ = ["LAYOUT", "StudyError", "StudyResults", "is_finished", "load_study"]
