"""Latents of two networks, row by row of the same images."""

import numpy as np
import torch

from helpers.checks import MOST_WHOLE, in_one_sentence


class StitchError(ValueError):
    """Latents, maps or networks that cannot be stitched; the text is one sentence."""

    _render_traceback_ = in_one_sentence


def checked(latents, what="latents"):
    """Latents as a float64 tensor (n, d), n and d at least 1, every number finite; raises StitchError.

    A tensor stays on its device (an MPS one moves to the CPU: Metal has no float64); anything else goes through NumPy.
    """
    found = _as_float64(latents, what)
    if found.ndim != 2 or 0 in found.shape:
        raise StitchError(
            f"{what} have shape {tuple(found.shape)}; allowed is (images, numbers), at least 1 of each "
            "(latents.flatten(1) makes rows of feature maps)"
        )
    if not torch.isfinite(found).all():
        bad = (~torch.isfinite(found).all(1)).nonzero().flatten()
        raise StitchError(
            f"{what} hold NaN or infinity in {len(bad)} of {len(found)} rows (first: row {int(bad[0])}); allowed are "
            "finite numbers, so look at the network that made them or leave those images out"
        )
    return found


def checked_pair(source, target):
    """Source (n, d1) and target (n, d2) as float64 tensors on the source's device, a row an image; raises StitchError.

    Row i of both is the same image: nothing in the numbers shows whether that holds, so both are best taken by
    `anchors.paired`, from one index.
    """
    source, target = checked(source, "source latents"), checked(target, "target latents")
    if len(source) != len(target):
        raise StitchError(
            f"source latents are of {len(source)} images and target latents of {len(target)}: latents of different "
            "images; allowed are latents of the same images in the same order (helpers.stitching.paired gives them)"
        )
    return source, target.to(source.device)


def numbers_of(values, what):
    """(n,) whole or real numbers as an array; a tensor comes from any device."""
    try:
        found = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    except UNREADABLE as error:
        said = _in_short(error)
        raise StitchError(f"{what} are a {type(values).__name__} ({said}); allowed is one number an image") from None
    if found.ndim != 1 or found.dtype.kind not in "biuf":
        raise StitchError(f"{what} have shape {found.shape} and type {found.dtype}; allowed is one number an image")
    if not np.isfinite(found).all():
        bad = int((~np.isfinite(found)).sum())
        raise StitchError(f"{what} hold NaN or infinity at {bad} of {len(found)} images; allowed are finite numbers")
    return found


def checked_labels(labels):
    """Classes (n,) as int64; raises StitchError for what is no whole number, as probabilities or one column a class."""
    found = numbers_of(labels, "labels")
    if (found != np.floor(found)).any():
        raise StitchError("labels hold numbers that are not whole; allowed is the class of each image, as 0 to 9")
    if len(found) and max(abs(float(found.min())), abs(float(found.max()))) > MOST_WHOLE:
        raise StitchError(f"labels reach {found.max():.3g}; allowed is the class of each image, as 0 to 9")
    return found.astype(np.int64)


def positions(index, there):
    """Places of images (n,), int64, from 0 to there - 1; a mask of True and False, one an image, gives its places."""
    if isinstance(index, slice):
        index = np.arange(there)[index]
    found = numbers_of(index, "index")
    if found.dtype == bool and len(found) == there:
        found = np.flatnonzero(found)
    if found.dtype.kind not in "iu" or not len(found):
        raise StitchError(
            f"index has {len(found)} entries of type {found.dtype}; allowed are one or more whole numbers, the places "
            f"of images, or {there} of True and False"
        )
    if found.min() < 0 or found.max() >= there:
        raise StitchError(f"index goes from {found.min()} to {found.max()}; allowed is 0 to {there - 1}, one an image")
    return found.astype(np.int64)


def checked_cut(cut, what, halves=("encode", "decode")):
    """Raise StitchError for what has no such halves, as a network that was not cut.

    what  "first" or "second", which network of the two
    """
    if isinstance(cut, str) or not all(callable(getattr(cut, half, None)) for half in halves):
        raise StitchError(
            f"the {what} network is a {type(cut).__name__}; allowed is a network that is cut in two, as "
            "helpers.networks.cut(net, layer) or Cut.of(encode, decode) gives it"
        )


UNREADABLE = (TypeError, ValueError, RuntimeError)  # of NumPy and torch, for what is no array of numbers


def _in_short(error):
    return " ".join(str(error).split())[:100]


def _as_float64(latents, what):
    """The numbers as a float64 tensor of any shape."""
    try:
        if isinstance(latents, torch.Tensor):
            if latents.is_complex() or latents.layout is not torch.strided or latents.is_meta:
                raise TypeError("complex, sparse, or without numbers")
            found = latents.detach()
            return (found.cpu() if found.device.type == "mps" else found).to(torch.float64)
        array = np.asarray(latents)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"numbers of type {array.dtype}")
        if isinstance(latents, np.ma.MaskedArray):
            array = latents.astype(np.float64).filled(np.nan)
        # A copy: torch warns of a read-only array and refuses a reversed one.
        return torch.from_numpy(np.array(array, dtype=np.float64, order="C"))
    except UNREADABLE as error:
        kind, said = type(latents).__name__, _in_short(error)
        raise StitchError(f"{what} are a {kind} ({said}); allowed are rows of real numbers (images, numbers)") from None
