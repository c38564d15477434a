"""What layers hold, in few bytes: whole steps on a fixed scale, each said as the difference to the one before.

Neighbouring layers are alike, so differences are small, and gzip makes a third less of them than of the numbers.
`app/layers.js` reads them.

    {"log10": [...]}             of what is 0 or more: steps of its log10, STEPS a decade; false stands for 0
    {"unit": u, "steps": [...]}  of what has a sign: steps of u, a hundredth of the decade in which the largest one lies

Null stands for what is not known or not finite; differences reach over it, and over false, to the last number.
"""

import numpy as np

STEPS = 500  # a decade: a number is then off by at most 0.24 %
LEAST, MOST = -300, 300  # decades beyond which nothing is drawn


def packed(values, signed=False):
    """An array of numbers as above, in its own order."""
    values = np.asarray(values, float).ravel()
    known = np.isfinite(values)
    if signed:
        largest = np.abs(values[known]).max(initial=0.0)
        unit = float(f"1e{int(np.floor(np.log10(largest))) - 2}") if largest > 0 else 1.0
        return {"unit": unit, "steps": _differences(np.where(known, values, 0) / unit, known)}
    logs = np.zeros(len(values))
    positive = known & (values > 0)
    logs[positive] = np.log10(values[positive])
    steps = _differences(np.clip(logs, LEAST, MOST) * STEPS, positive)
    return {"log10": [False if zero else step for zero, step in zip(values == 0, steps, strict=True)]}


def _differences(values, known):
    """Of each rounded value that is known the difference to the last one that was; None for the others."""
    steps = np.rint(values[known]).astype(np.int64)
    found = np.full(len(values), None, object)
    found[known] = np.diff(steps, prepend=0).tolist()
    return found.tolist()
