"""Whether differences decide something, and whether it came out as expected: one way for every comparison."""

import numpy as np
from scipy import stats

from helpers import words

LEVEL = 0.95  # of confidence, at which differences make a verdict (Student's t)
ABOVE, EVEN, BELOW = (f"{where} 0 at {LEVEL:.0%} confidence" for where in ("above", "not apart from", "below"))
ONE = "undecided, fewer than two pairs"
ALIKE = "undecided, all differences are the same"
EXPECTED = {ABOVE: "above 0", EVEN: "no difference", BELOW: "below 0"}


def verdict(differences):
    """Whether the mean of differences lies above or below 0: where its confidence interval leaves 0 out.

    mean +- t sd / sqrt(n), with t the quantile of Student's distribution with n - 1 degrees of freedom. Differences
    that are all the same, as of numbers that were cut off, have no spread to judge by.
    """
    values = np.asarray(differences, float)
    if len(values) < 2:
        return ONE
    if values.any() and np.ptp(values) == 0:
        return ALIKE
    reach = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    if abs(values.mean()) <= reach:
        return EVEN
    return ABOVE if values.mean() > 0 else BELOW


def outcome(differences, expected=None):
    """A verdict beside the one that was expected (ABOVE, EVEN, BELOW; None where nothing was), in words."""
    found = verdict(differences)
    if expected is None or found in (ONE, ALIKE):
        return found
    if found == expected == EVEN:
        return f"not against what was expected, {found}"
    if found == expected:
        return f"as expected, {found}"
    return f"{'undecided,' if found == EVEN else 'not as expected,'} {found} (expected: {EXPECTED[expected]})"


def sentence(what, comparisons, unit="seed"):
    """One sentence of several comparisons: each mean difference, its deviation, how many, and how they came out.

    what         all the differences are of
    comparisons  [(name, differences, expected, left_out)]: the verdict that was expected as in `outcome`, and how many
                 pairs are left out since one of both has not converged; both may be left out
    returns      an empty text for no comparison
    """
    groups = {}
    for name, differences, *more in comparisons:
        expected, left_out, *_ = [*more, None, None][:2]
        values = np.asarray(differences, float)
        values = values[np.isfinite(values)]
        count = words.counted(len(values), unit) + (f"; {left_out} left out, not converged" if left_out else "")
        mean = words.mean_of(values, ".3g") or "not known"
        groups.setdefault(outcome(values, expected), []).append(f"{mean} ({name}, {count})")
    parts = [f"{words.listed(those)}, {came_out}" for came_out, those in groups.items()]
    return f"{what}: {'; '.join(parts)}." if parts else ""
