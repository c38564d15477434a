"""Tables of a stitching study with made-up numbers that are known: pictures and sentences can be held to them."""

import itertools

import pandas as pd

ANCHORS = (10, 30, 100)
MODELS = ("conv_relu_s0", "conv_relu_s1", "conv_tanh_s0")
PARENTS, MEAN_IMAGE = (0.023, 0.024), 0.064
GAIN = {"affine": 0.3, "orthogonal": 0.35, "linear": 0.4}


def pairs(mappings=("affine", "orthogonal"), lams=("gcv", 0.0, 0.01, 1.0), draws=5, kind="autoencoders"):
    """Rows of `pairs`: the error falls with anchors n as 0.024 + gain / n + 0.001 draw; peaks at 30 with lambda 0."""
    rows = []
    for (one, two), n, mapping, lam, draw in itertools.product(
        itertools.permutations(MODELS, 2), ANCHORS, mappings, lams, range(draws)
    ):
        error = PARENTS[1] + GAIN[mapping] / n + 0.001 * draw
        error += 0.04 if (lam, n) == (0.0, 30) else 0.005 * float(lam != "gcv")
        row = {"part": kind, "dataset": "digits", "model1": one, "model2": two, "latent1": 30, "latent2": 30}
        row |= {"layer1": "latent", "layer2": "latent", "sampling": "equally", "mapping": mapping, "lambda": lam}
        row |= {"num_samples": n, "draw": draw, "latent_r2": 1 - 3 / n, "latent_r2_label_noise": -5.0}
        row |= {"mse_1": PARENTS[0], "mse_2": PARENTS[1], "mse_stitched": error, "mse_mean_image": MEAN_IMAGE}
        row |= {"mse_constant": 0.09, "mse_class_means": 0.052, "mse_self": PARENTS[1] + 0.1 / n}
        row |= dict.fromkeys(("accuracy_1", "accuracy_2", "accuracy_stitched", "agreement_on_errors"), float("nan"))
        row |= {"mse_shuffled": 0.08, "mse_identity": 0.11, "mse_untrained": 0.07, "mse_label_noise": 0.053}
        rows.append(row)
    return pd.DataFrame(rows)


def classified(draws=5):
    """The same of classifiers: accuracies, agreement, and label noise whose accuracy is 1."""
    table = pairs(lams=("gcv",), draws=draws, kind="classifiers")
    table[[name for name in table if name.startswith("mse_")]] = float("nan")
    gone = 1 / table.num_samples
    own = {"accuracy_1": 0.94, "accuracy_2": 0.93, "accuracy_stitched": 0.935 - gone, "agreement": 0.96 - gone}
    own |= {"agreement_on_errors": 0.7 - gone, "accuracy_label_noise": 1.0, "agreement_on_errors_label_noise": 0.1}
    own |= {"latent_r2_within": 0.8, "latent_r2_within_label_noise": -0.5}
    return table.assign(layer1="3", layer2="3", **own)


def classes(seen=(0, 1, 2, 3, 4)):
    """Rows of classes.csv: what A has not seen has ten times the error."""
    rows = []
    for c, draw in itertools.product(range(10), range(5)):
        row = {"part": "unseen", "model1": "conv_0to4_s0", "model2": "conv_relu_s0", "class": c, "draw": draw}
        row |= {"mse_1": 0.02 if c in seen else 0.08, "mse_2": 0.02, "mse_stitched": 0.03 + 0.002 * draw}
        rows.append(row)
    return pd.DataFrame(rows)


def layers(depth=10, dead=False):
    """Rows of `layers`: layers that are as deep as each other are alike."""
    rows = []
    for one, two in itertools.product(range(depth), range(depth)):
        alike = 0.0 if dead and one else 1 - abs(one - two) / depth
        row = {"layer1": str(one), "layer2": str(two), "cka": alike, "r2": alike - 0.2, "accuracy": 0.1 + 0.85 * alike}
        row |= {"accuracy_pixels": 0.9 - 0.02 * two, "accuracy_untrained": 0.85 - 0.05 * one, "accuracy_2": 0.96}
        rows.append(row | {"pair": "nearly dead to living" if dead else "living to living"})
    return pd.DataFrame(rows)
