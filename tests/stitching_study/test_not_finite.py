"""Maps whose latents network B cannot decode: a note in their row, numbers in all others."""

import math
from types import SimpleNamespace

import numpy as np
import torch
from made_up_pairs import Halves, autoencoder, digits

from helpers.stitching import evaluate_many, pair_of
from helpers.stitching_study import stitches

X, Y = digits()


def breaking():
    """An autoencoder whose decoder gives NaN where a latent is above 5."""
    whole = autoencoder(2)
    return Halves(
        whole.encode, lambda z: torch.where((z > 5).any(1, keepdim=True), torch.nan, whole.decode(z)), "images"
    )


def test_each_of_many_maps_has_its_numbers_or_its_sentence():
    pair = pair_of(autoencoder(1), breaking(), X[:30], Y[:30])
    latents = [pair.target * scale for scale in (1, 50, 0.5, 0.2, 50)]
    found = stitches.measured(pair, latents)
    for i in (0, 2, 3):
        assert found[i]["mse_stitched"] == evaluate_many(pair, [latents[i]])[0]["mse_stitched"]
    for i in (1, 4):
        assert str(found[i]).startswith("the stitched network gives outputs that are not finite")


def test_the_row_of_such_a_map_or_control_says_so_and_the_study_goes_on():
    pair = pair_of(autoencoder(1), breaking(), X[:30], Y[:30])
    model = SimpleNamespace(classes=None)
    work = object.__new__(stitches.Stitching)
    work.plan, work.test = SimpleNamespace(model1=model, model2=model), pair
    work.controls, work.as_it_is = {}, {}
    rows = {table: [] for table in ("pairs", "classes", "errors", "images")}
    first = {"sampling": "random", "mapping": "affine", "lambda": "0", "num_samples": 3, "draw": 0, "note": "Few."}
    good, bad = pair.target, pair.target * 50
    work._evaluate([({**first}, {"": good}), ({**first}, {"": bad}), ({**first}, {"": good, "shuffled": bad})], rows)
    right, wrong, beside = rows["pairs"]
    assert right["note"] == "Few."
    assert math.isfinite(right["mse_stitched"])
    assert wrong["note"].startswith("Few. the stitched network gives outputs that are not finite")
    assert "mse_stitched" not in wrong
    assert beside["note"].startswith("Few. No shuffled: the stitched network gives")
    assert np.isfinite(beside["mse_stitched"])
    assert "mse_shuffled" not in beside
    assert len(rows["images"]) == len(rows["errors"]) == 2
