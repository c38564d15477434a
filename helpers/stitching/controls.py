"""What a stitched network's numbers are held against: images and latents that know less than network A does.

A stitched error means something below those of a constant, the mean image and the class means; near that of B's latents
mapped to themselves; and far from what the same fit gets out of shuffled anchors, an untrained network, and noise that
carries only the label. The last reaches an accuracy near 1 in a classifier.
"""

import numpy as np
import torch

from helpers.checks import ConfigError, whole
from helpers.stitching.evaluation import Pair, class_means, evaluate_many
from helpers.stitching.latents import StitchError, checked_labels

MEASURES = ("mse", "accuracy", "agreement", "agreement_on_errors", "latent_r2", "latent_r2_within")
STITCHED = {"mse": "mse_stitched", "accuracy": "accuracy_stitched"}  # what `evaluate_many` calls them
SPREAD = 0.1  # of the clusters of `label_noise`, beside the standard deviation 1 of their centres


def control_columns(fit, anchors, held_out, *, untrained=None, seed=0):
    """{measure_control: number}: `image_controls`, and the MEASURES of each of `control_latents`.

    fit        (source, target) -> a map, as functools.partial(stitching.fit, "affine")
    anchors    a `Pair` of the anchors, pair[index]
    held_out   a `Pair` of other images, to measure by
    untrained  a cut of network A before training, or its latents (of the anchors, of the held-out images)

        mse_constant, mse_mean_image, mse_class_means, mse_identity, mse_self, mse_shuffled, mse_untrained,
        mse_label_noise, accuracy_identity, ... latent_r2_within_label_noise

    NaN where a number has no meaning or what it needs was not given.
    """
    latents = control_latents(fit, anchors, held_out, untrained=untrained, seed=seed)
    there = {name: values for name, values in latents.items() if values is not None}
    found = {f"{measure}_{name}": np.nan for measure in MEASURES for name in latents}
    for name, numbers in zip(there, evaluate_many(held_out, list(there.values())), strict=True):
        found |= control_numbers(name, numbers)
    return image_controls(held_out) | found


def control_numbers(name, numbers):
    """{measure_control: number} of a control's dict of `evaluate_many`."""
    return {f"{measure}_{name}": numbers[STITCHED.get(measure, measure)] for measure in MEASURES}


def image_controls(held_out):
    """Errors of pictures that no network makes, and the accuracy of one answer; NaN where they have no meaning.

    mse_constant       the best constant grey: the variance of all pixels
    mse_mean_image     the mean image
    mse_class_means    the mean image of each one's class, which knows the label; NaN without labels
    accuracy_constant  always the commonest class

    Each is fitted on the images held out themselves, the strongest of its kind.
    """
    nothing = float("nan")
    found = dict.fromkeys(("mse_constant", "mse_mean_image", "mse_class_means", "accuracy_constant"), nothing)
    if held_out.kind_2 == "classes":
        return found | {"accuracy_constant": float(held_out.labels.bincount().max()) / len(held_out)}
    images = held_out.x.flatten(1).double()
    found["mse_constant"] = float(images.var(correction=0))
    found["mse_mean_image"] = float(images.var(0, correction=0).mean())
    if held_out.labels is not None:
        found["mse_class_means"] = float((images - class_means(images, held_out.labels)).square().mean())
    return found


@torch.no_grad()
def control_latents(fit, anchors, held_out, *, untrained=None, seed=0):
    """{control: latents (n, d2) of the held-out images for decoder B, or None where it needs what is not given}.

    identity     A's latents as they are, cut or padded with zeros to B's size
    self         fit from B's latents to B's: what the kind of map loses by itself
    shuffled     fit on anchors none of which keeps its partner; None for a single one
    untrained    fit from an untrained network's latents
    label_noise  fit from noise that carries only the label, of A's latent size; None without labels

    Arguments are those of `control_columns`. Many of these together go through one `evaluate_many`.
    """
    _check(fit, anchors, held_out, untrained, seed)
    found = {"identity": identity(held_out), "self": fit(anchors.target, anchors.target)(held_out.target)}
    found |= dict.fromkeys(("shuffled", "untrained", "label_noise"))
    if len(anchors) > 1:
        others = _none_at_its_place(len(anchors), seed).to(anchors.target.device)
        found["shuffled"] = fit(anchors.source, anchors.target[others])(held_out.source)
    if untrained is not None:
        there = hasattr(untrained, "encode")
        known, new = (untrained.encode(part.x) for part in (anchors, held_out)) if there else untrained
        found["untrained"] = fit(known, anchors.target)(new)
    if anchors.labels is not None and held_out.labels is not None:
        size = held_out.source.shape[1]
        known, new = (
            label_noise(part.labels, size, seed=seed, draw=draw).to(part.source)
            for draw, part in enumerate((anchors, held_out))
        )
        found["label_noise"] = fit(known, anchors.target)(new)
    return found


def _check(fit, anchors, held_out, untrained, seed):
    """Raise StitchError for what is none of the arguments of `control_latents`."""
    if not callable(fit):
        raise StitchError(
            f"fit is a {type(fit).__name__}; allowed is a function (source, target) -> a map, as "
            "functools.partial(stitching.fit, 'affine')"
        )
    for what, pair in (("anchors", anchors), ("held_out", held_out)):
        if not isinstance(pair, Pair):
            raise StitchError(f"{what} are a {type(pair).__name__}; allowed is a Pair, as pair[index] gives it")
    if not (
        untrained is None or hasattr(untrained, "encode") or (isinstance(untrained, tuple) and len(untrained) == 2)
    ):
        raise StitchError(f"untrained is a {type(untrained).__name__}; allowed is a cut, or latents of both Pairs")
    _check_whole("seed", seed, 0)


def _check_whole(key, value, least):
    try:
        whole(least)(key, value)
    except ConfigError as error:
        raise StitchError(str(error)) from None


def identity(held_out):
    """A's latents as they are, cut or padded with zeros to B's size: (n, d2), the same for every map of a pair."""
    found, shared = torch.zeros_like(held_out.target), min(held_out.source.shape[1], held_out.target.shape[1])
    found[:, :shared] = held_out.source[:, :shared].to(found)
    return found


def label_noise(labels, size, *, spread=SPREAD, seed=0, draw=0):
    """Clustered noise (n, size), float64, that carries only the label (Smith, Mannering and Marcu 2025).

    z_i = centre of label_i + spread e_i, with centres and e_i from N(0, I). A class has one centre for a seed, whatever
    other classes there are; `draw` changes the noise around the centres alone, as from anchors to images held out.
    """
    labels = checked_labels(labels)
    _check_whole("seed", seed, 0)
    _check_whole("size", size, 1)
    if labels.min(initial=0) < 0:
        raise StitchError(f"labels go down to {labels.min()}; allowed are classes from 0 up")
    classes, own = np.unique(labels, return_inverse=True)
    centres = np.array([np.random.default_rng([seed, 0, int(c)]).standard_normal(size) for c in classes])
    noise = np.random.default_rng([seed, 1, draw]).standard_normal((len(labels), size))
    return torch.from_numpy(centres[own] + spread * noise)


def _none_at_its_place(n, seed):
    """A random order of n things, none of which stays: neighbours on a random ring change places."""
    ring, order = np.random.default_rng(seed).permutation(n), np.empty(n, np.int64)
    order[ring] = np.roll(ring, 1)
    return torch.from_numpy(order)
