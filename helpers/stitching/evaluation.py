"""What a stitched network gives, beside its parents on the same images: error, accuracy, agreement, latent R^2.

Accuracy alone shows nothing: noise that carries only the label reaches 1 (`controls.label_noise`). So beside it stand
the agreement with B where B is wrong, and how much of B's latents the map predicts, over all images and within classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from helpers.checks import shown
from helpers.lanes import is_out_of_memory
from helpers.networks.cuts import GIVES, as_numbers
from helpers.stitching.latents import StitchError, checked, checked_cut, checked_labels, positions

KEPT = 0.1  # of the images: the best and the worst
EACH = "where the networks differ, one for each: gives=('classes', 'images'), or cut(net, layer, gives=...)"
MOST_NUMBERS = 4_000_000  # of outputs held at once, 16 MB in float32: on a CPU larger pieces take twice as long


@dataclass(frozen=True)
class Stitched:
    """Encoder A, a map, decoder or head B, as one function of images; of `cut_a.encode`, `map`, `cut_b.decode`."""

    cut_a: object
    map: object
    cut_b: object

    def __post_init__(self):
        checked_cut(self.cut_a, "first", ("encode",))
        checked_cut(self.cut_b, "second", ("decode",))
        _check_map(self.map, "the map")

    @torch.no_grad()
    def __call__(self, x):  # (n, ...) -> what network B gives
        return self.cut_b.decode(self.map(self.cut_a.encode(x)))


@dataclass(frozen=True)
class Pair:
    """Two cut networks on the same n images: what every map between them is fitted on or measured by.

    `pair[index]` is the same of fewer images, as of anchors: `fit("affine", pair[index].source, pair[index].target)`.

    x                   (n, ...) images
    labels              (n,) classes, or None
    source, target      (n, d1), (n, d2) latents of A and of B, in the networks' types, on B's device like all else here
    kind_1, kind_2      what each network gives: "images" or "classes"
    errors_1, errors_2  (n,) of each image, float64: mean squared error of an image, cross-entropy of a class
    answers_1, answers_2  (n,) the class with the largest output, or None
    """

    cut_a: object
    cut_b: object
    x: torch.Tensor
    labels: torch.Tensor | None
    source: torch.Tensor
    target: torch.Tensor
    kind_1: str
    kind_2: str
    errors_1: torch.Tensor
    errors_2: torch.Tensor
    answers_1: torch.Tensor | None
    answers_2: torch.Tensor | None

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        at = torch.from_numpy(positions(index, len(self)))
        rows = ("x", "labels", "source", "target", "errors_1", "errors_2", "answers_1", "answers_2")
        held = {name: getattr(self, name) for name in rows}
        return replace(self, **{name: None if values is None else values[at] for name, values in held.items()})


@torch.no_grad()
def pair_of(cut_a, cut_b, x, labels=None, gives=None):
    """The `Pair` of two cut networks on images x (n, ...) and their classes (n,).

    x      a tensor or an array of floating-point numbers
    gives  what the networks give whose cuts do not say so, as those of our autoencoders and convolutional networks do:
           "images" or "classes" for both, or one for each, as ("classes", "images"), None for one that is left out.
           What is left out gives classes if they are not as many as an image has pixels

    Raises StitchError for latents or outputs that are not finite, for latents of other lengths, for classes without
    labels or with labels beyond the network's outputs, for as many numbers as pixels of which nobody says what they
    are, and where `gives` is not what a cut says itself.
    """
    given = _of_each(gives)
    checked_cut(cut_a, "first")
    checked_cut(cut_b, "second")
    x = as_numbers(x, "the images")
    labels = None if labels is None else torch.from_numpy(checked_labels(labels))
    if labels is not None and len(labels) != len(x):
        raise StitchError(f"there are {len(labels)} labels for {len(x)} images; allowed is one an image")
    found = {}
    for number, cut, what in ((1, cut_a, "first"), (2, cut_b, "second")):
        latents = cut.encode(x)
        if len(checked(latents, f"latents of the {what} network")) != len(x):
            raise StitchError(
                f"the {what} network gave {len(latents)} latents for {len(x)} images; allowed is one row an image"
            )
        output = cut.decode(latents)
        kind = _kind_of(cut, given[number - 1], output, x, what)
        if kind == "images" and output[0].numel() != x[0].numel():
            raise StitchError(
                f"the {what} network gives {output[0].numel()} numbers an image; allowed are the {x[0].numel()} of an "
                f"image, or gives='classes' ({EACH})"
            )
        if kind == "classes":
            _check_classes(labels, output, what)
        errors, answers, bad = _errors(output[None], kind, x, labels)
        if bad[0]:
            raise StitchError(
                f"the {what} network gives outputs that are not finite, or whose squares are not, for {int(bad[0])} of "
                f"{len(x)} images; allowed are finite numbers, so look at the network or leave those images out"
            )
        answers = None if answers is None else answers[0]
        found |= {"source" if number == 1 else "target": latents, f"kind_{number}": kind}
        found |= {f"errors_{number}": errors[0], f"answers_{number}": answers}
    device = found["target"].device
    held = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in found.items()}
    return Pair(cut_a, cut_b, x.to(device), None if labels is None else labels.to(device), **held)


def evaluate(cut_a, map, cut_b, x, labels=None, gives=None):
    """`evaluate_many` of one map, on images x (n, ...) and their classes."""
    return evaluate_many(pair_of(cut_a, cut_b, x, labels, gives), [map])[0]


@torch.no_grad()
def evaluate_many(pair, maps):
    """A dict of numbers for each map from A's latents to B's, decoded together in large batches.

    pair  on the images to measure by, none of which should be an anchor
    maps  functions (n, d1) -> (n, d2), or the latents (m, n, d2) that they give, or a list of both

    Numbers are NaN where they have no meaning, as the accuracy of images, what asks for labels where none are, or R^2
    of a single image. Raises StitchError for latents and outputs that are not finite: their accuracy would be a number.

    mse_1, mse_2, mse_stitched                 mean squared error a pixel, of A, of B, of the stitched network
    accuracy_1, accuracy_2, accuracy_stitched
    agreement                                  share of images to which the stitched network and B give one class
    agreement_on_errors, errors_2              the same of the images that B gets wrong, and how many those are
    latent_r2                                  1 - sum |T(z1) - z2|^2 / sum |z2 - mean z2|^2
    latent_r2_within                           the same beside the class means of z2: at most about 0 where the map
                                               knows the label alone
    error_mean, error_variance                 over images, of their squared errors or cross-entropies
    top_kept_1, top_kept_2                     share of the stitched network's tenth of best images that is among A's,
                                               B's best tenth
    low_kept_1, low_kept_2                     the same of the worst
    classes                                    {number: {class: value}} for errors, accuracies and agreement by class;
                                               {} without labels
    """
    if not isinstance(pair, Pair):
        raise StitchError(f"pair is a {type(pair).__name__}; allowed is a Pair, as pair_of(cut_a, cut_b, x) gives it")
    if not isinstance(maps, list | tuple | torch.Tensor | np.ndarray):
        raise StitchError(
            f"maps are a {type(maps).__name__}; allowed is a list of maps, as [map], or latents (m, n, d)"
        )
    pieces, latents_of = [], _mapped(pair, maps)
    size = max(pair.x[0].numel(), pair.target.shape[1])
    at_once = max(1, MOST_NUMBERS // (len(pair) * size))
    for first in range(0, len(maps), at_once):
        latents = torch.stack([latents_of(i) for i in range(first, min(first + at_once, len(maps)))])
        errors, answers, bad = _errors(pair.cut_b.decode_many(latents), pair.kind_2, pair.x, pair.labels)
        for i in bad.nonzero().flatten().tolist():
            raise StitchError(
                f"map {first + i}: the stitched network gives outputs that are not finite, or whose squares are not, "
                f"for {int(bad[i])} of {len(pair)} images; allowed are latents that network B can decode, as a map "
                "with a larger lambda gives"
            )
        pieces.append((_r2(latents, pair), errors, answers))
    if not pieces:
        return []
    r2 = [np.concatenate(part) for part in zip(*(piece[0] for piece in pieces), strict=True)]
    errors = torch.cat([piece[1] for piece in pieces])  # (m, n)
    answers = None if pair.kind_2 == "images" else torch.cat([piece[2] for piece in pieces])
    return _numbers(pair, r2, errors, answers)


def _mapped(pair, maps):
    """Function i -> latents (n, d2) of map i in B's type, checked."""
    shape = tuple(pair.target.shape)

    def latents_of(i):
        _check_map(maps[i], f"map {i}", (torch.Tensor, np.ndarray))
        try:
            found = maps[i] if isinstance(maps[i], torch.Tensor | np.ndarray) else maps[i](pair.source)
        except RuntimeError as error:  # of torch, where sizes do not fit
            if is_out_of_memory(error):
                raise
            said = " ".join(str(error).split())
            raise StitchError(f"map {i} does not take latents of shape {tuple(pair.source.shape)}: {said}") from None
        found = _numbers_of_map(found, f"map {i}")
        if tuple(found.shape) != shape:
            raise StitchError(
                f"map {i} gives latents of shape {tuple(found.shape)}; allowed is {shape}, as network B's"
            )
        if not torch.isfinite(found).all():
            raise StitchError(
                f"map {i} gives NaN or infinity for {int((~torch.isfinite(found)).any(1).sum())} of {shape[0]} images; "
                "allowed are finite latents, as a map with a larger lambda gives"
            )
        return found.to(pair.target)

    return latents_of


def _check_map(map, what, others=()):
    if not callable(map) and not isinstance(map, others):
        raise StitchError(f"{what} is a {type(map).__name__}; allowed is a map, as stitching.fit gives it")


def _numbers_of_map(found, what):
    """What a map gave, as a tensor of real numbers."""
    try:
        tensor = torch.as_tensor(found)
        if tensor.is_complex():
            raise TypeError("complex numbers")
    except (TypeError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:100]
        raise StitchError(f"{what} gives a {type(found).__name__} ({said}); allowed are latents (n, d2)") from None
    return tensor


def _of_each(gives):
    """What is said of the first network and of the second."""
    if not isinstance(gives, tuple | list):
        _check_gives("gives", gives, ", or one for each network, as ('classes', 'images')")
        return gives, gives
    if len(gives) != 2:
        raise StitchError(
            f"gives has {len(gives)} entries; allowed are two, one for each network, as ('classes', 'images')"
        )
    for number, own in enumerate(gives):
        _check_gives(f"gives[{number}]", own)
    return tuple(gives)


def _check_gives(key, gives, more=""):
    if not (gives is None or (isinstance(gives, str) and gives in GIVES)):
        raise StitchError(f"{key} is {shown(gives)}; allowed is {', '.join(map(repr, GIVES))} or None{more}")


def _kind_of(cut, gives, output, x, what):
    """What a network gives, as its cut or else the caller says: as many classes as pixels look like images."""
    own, outputs = getattr(cut, "gives", None), output[0].numel()
    _check_gives(f"gives of the {what} network", own)
    if own is None and gives is None and outputs == x[0].numel():
        raise StitchError(
            f"the {what} network gives {outputs} numbers an image, as many as an image has pixels; say what they are, "
            f"gives='images' or gives='classes' ({EACH})"
        )
    if own and gives and own != gives:
        raise StitchError(
            f"gives is {gives!r} for the {what} network, and its cut says {own!r}; allowed is what it says ({EACH})"
        )
    return own or gives or "classes"


def _check_classes(labels, output, what):
    outputs = output[0].numel()
    if labels is None:
        raise StitchError(
            f"the {what} network gives {outputs} numbers an image, which are classes, and there are no labels; allowed "
            "is labels=..., the class of each image"
        )
    if labels.min() < 0 or labels.max() >= outputs:
        raise StitchError(
            f"labels go from {int(labels.min())} to {int(labels.max())} and the {what} network has {outputs} classes; "
            f"allowed are images of the classes 0 to {outputs - 1}"
        )


def _errors(outputs, kind, x, labels):
    """Errors (m, n) in float64 of outputs (m, n, ...); the classes (m, n) they name, None of images; and for how many
    images (m,) outputs or errors are not finite, where argmax would still name a class.
    """
    outputs = outputs.flatten(2)
    if kind == "images":
        errors = (outputs - x.flatten(1).to(outputs)).square_().mean(-1).double()
        return errors, None, (~torch.isfinite(errors)).sum(1)
    bad = (~torch.isfinite(outputs)).any(-1).sum(1)
    log_probs = outputs.double().log_softmax(-1)
    own = labels.to(outputs.device).expand(outputs.shape[:2])[..., None]
    return -log_probs.gather(-1, own)[..., 0], outputs.argmax(-1), bad


def _r2(latents, pair):
    """R^2 (m,) over all images and within classes, of latents (m, n, d) against B's; 0 where B's are constant.

    NaN of a single image, and within classes where each has one: nothing can vary there.
    """
    target = pair.target.double()
    left = ((latents.double() - target) ** 2).sum((1, 2)).cpu().numpy()
    within = np.full(len(latents), np.nan)
    if pair.labels is not None and len(pair.labels.unique()) < len(pair):
        within = _share(left, target - class_means(target, pair.labels), target)
    over_all = _share(left, target - target.mean(0), target) if len(pair) > 1 else np.full(len(latents), np.nan)
    return over_all, within


def _share(left, around, target):
    total = float((around**2).sum())
    constant = total <= (4 * torch.finfo(torch.float32).eps) ** 2 * float((target**2).sum())
    return np.zeros_like(left) if constant else 1 - left / total


def class_means(rows, labels):
    """(n, ...) rows, each replaced by the mean over its class."""
    classes, own = labels.unique(return_inverse=True)
    sums = torch.zeros(len(classes), rows.shape[1], dtype=rows.dtype, device=rows.device).index_add_(0, own, rows)
    return (sums / own.bincount()[:, None])[own]


def _numbers(pair, r2, errors, answers):
    """The dicts of `evaluate_many`, from errors (m, n) and answers (m, n)."""
    m, n = errors.shape
    images_1, images_2 = pair.kind_1 == "images", pair.kind_2 == "images"
    nothing = torch.full((m, n), torch.nan, dtype=torch.float64, device=errors.device)
    right = nothing if images_2 else (answers == pair.labels).double()
    same = nothing if images_2 else (answers == pair.answers_2).double()
    by_image = {  # (m, n) each, of which means are taken
        "mse_1": (pair.errors_1 if images_1 else nothing[0]).expand(m, n),
        "mse_2": (pair.errors_2 if images_2 else nothing[0]).expand(m, n),
        "mse_stitched": errors if images_2 else nothing,
        "accuracy_1": (nothing[0] if images_1 else (pair.answers_1 == pair.labels).double()).expand(m, n),
        "accuracy_2": (nothing[0] if images_2 else (pair.answers_2 == pair.labels).double()).expand(m, n),
        "accuracy_stitched": right,
        "agreement": same,
    }
    columns = {name: values.mean(1).cpu().numpy() for name, values in by_image.items()}
    wrong = torch.zeros(n, dtype=bool, device=errors.device) if images_2 else pair.answers_2 != pair.labels
    on_errors = same[:, wrong].mean(1) if wrong.any() else nothing[:, 0]
    columns |= {
        "agreement_on_errors": on_errors.cpu().numpy(),
        "errors_2": np.full(m, np.nan if images_2 else float(wrong.sum())),
        "latent_r2": r2[0],
        "latent_r2_within": r2[1],
        "error_mean": errors.mean(1).cpu().numpy(),
        "error_variance": errors.var(1, correction=0).cpu().numpy(),
    }
    best, worst = _tenths(errors)
    for number, own in ((1, pair.errors_1), (2, pair.errors_2)):
        own_best, own_worst = _tenths(own[None])
        columns[f"top_kept_{number}"] = own_best.expand(m, n)[best].view(m, -1).double().mean(1).cpu().numpy()
        columns[f"low_kept_{number}"] = own_worst.expand(m, n)[worst].view(m, -1).double().mean(1).cpu().numpy()
    rows = [{name: float(values[i]) for name, values in columns.items()} for i in range(m)]
    by_class = [{} for _ in range(m)]
    if pair.labels is not None:
        one_hot = functional.one_hot(own_class := pair.labels.unique(return_inverse=True)[1]).double()
        classes = pair.labels.unique().tolist()
        for name, values in by_image.items():
            means = (values @ one_hot / own_class.bincount()).tolist()
            for i in range(m):
                by_class[i][name] = dict(zip(classes, means[i], strict=True))
    return [row | {"classes": classes} for row, classes in zip(rows, by_class, strict=True)]


def _tenths(errors):
    """Masks (m, n) of the tenth of the images with the smallest errors, and of that with the largest; at least one."""
    kept = max(1, round(KEPT * errors.shape[1]))
    order = errors.argsort(dim=1, stable=True)
    masks = torch.zeros(2, *errors.shape, dtype=bool, device=errors.device)
    masks[0].scatter_(1, order[:, :kept], True)
    masks[1].scatter_(1, order[:, -kept:], True)
    return masks
