"""Numbers of the page's data files: few digits, few bytes, and nothing that JSON cannot hold.

Null stands for what is not known, infinite or no number.
"""

import numpy as np

PER_DECADE = 1000  # steps of a logarithm: a number is then off by at most 0.12 %
PER_ONE = 1000  # steps of what lies between 0 and 1: off by at most 0.0005


def rounded(values, digits=4):
    """Numbers to significant digits, as nested lists like the array; whole ones as ints."""
    values = np.asarray(values, float)
    if values.ndim:
        return [rounded(part, digits) for part in values]
    if not np.isfinite(values):
        return None
    short = float(f"{values:.{digits}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short


def packed_log(values, per_decade=PER_DECADE):
    """Positive numbers as steps of their log10: {"log10": [...], "per": steps a decade}, each less the one before.

    What lies close together in a picture is then a small number, which gzip makes half as long as its digits. A 0, as
    of a gradient that has underflowed, is false; differences go over it and over null to the last number.
    """
    values = np.asarray(values, float).ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.rint(np.log10(values) * per_decade)
    return {"log10": _differences(steps, np.isfinite(values) & (values > 0), values == 0), "per": per_decade}


def packed_share(values):
    """Numbers from 0 to 1 in the same way: {"share": [...], "per": steps of 1}."""
    values = np.asarray(values, float).ravel()
    return {
        "share": _differences(np.rint(values * PER_ONE), np.isfinite(values), np.zeros(len(values), bool)),
        "per": PER_ONE,
    }


def _differences(steps, known, zero):
    found, last = [], 0
    for step, is_known, is_zero in zip(steps, known, zero, strict=True):
        if is_known:
            found.append(int(step) - last)
            last = int(step)
        else:
            found.append(False if is_zero else None)
    return found


def folders_of(root, study):
    """The folders of a study in the folder of all results, in order."""
    return sorted(path for path in (root / study).glob("*") if path.is_dir() and not path.name.startswith("."))
