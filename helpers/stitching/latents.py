"""Latents of two networks, row by row of the same images."""

import numpy as np
import torch

from helpers.checks import in_one_sentence


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
    except (TypeError, ValueError) as error:
        raise StitchError(f"{what} are a {type(values).__name__} ({error}); allowed is one number an image") from None
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
    return found.astype(np.int64)


def _as_float64(latents, what):
    """The numbers as a float64 tensor of any shape."""
    if isinstance(latents, torch.Tensor):
        found = latents.detach()
        if found.is_complex():
            raise StitchError(f"{what} are complex numbers; allowed are real ones")
        return (found.cpu() if found.device.type == "mps" else found).to(torch.float64)
    try:
        array = np.asarray(latents)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"numbers of type {array.dtype}")
        # A copy: torch warns of a read-only array and refuses a reversed one.
        return torch.from_numpy(np.array(array, dtype=np.float64, order="C"))
    except (TypeError, ValueError) as error:
        shown = type(latents).__name__
        raise StitchError(
            f"{what} are a {shown} ({error}); allowed are rows of real numbers (images, numbers)"
        ) from None
