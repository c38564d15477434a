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
    if np.ptp(values) == 0:  # whatever rounding their mean and deviation have
        return of_interval(values[0], values[0], values[0])
    return of_interval(*around(values.mean(), values.std(ddof=1) / np.sqrt(len(values)), len(values)))


def around(mean, error, count):
    """(mean, low, high): an interval by a standard error and Student's t of `count` - 1 degrees of freedom."""
    reach = stats.t.ppf((1 + LEVEL) / 2, count - 1) * error
    return float(mean), float(mean - reach), float(mean + reach)


def of_interval(mean, low, high):
    """The same of a mean whose confidence interval is known; NaN bounds are those of a single pair."""
    if not np.isfinite([mean, low, high]).all():
        return ONE
    if low == high and mean != 0:
        return ALIKE
    return EVEN if low <= 0 <= high else ABOVE if mean > 0 else BELOW


def outcome(differences, expected=None):
    """The verdict of differences beside the one that was expected, in words."""
    return beside(verdict(differences), expected)


def beside(found, expected=None):
    """A verdict beside the one that was expected (ABOVE, EVEN, BELOW; None where nothing was), in words."""
    if expected is None or found in (ONE, ALIKE):
        return found
    if found == expected == EVEN:
        return f"as expected no difference that is seen, {found}"
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
    said = []
    for name, differences, *more in comparisons:
        expected, left_out, *_ = [*more, None, None][:2]
        values = np.asarray(differences, float)
        values = values[np.isfinite(values)]
        count = words.counted(len(values), unit) + (f"; {left_out} left out, not converged" if left_out else "")
        mean = words.mean_of(values, ".3g") or "not known"
        said.append((f"{mean} ({name}, {count})", outcome(values, expected)))
    return together(what, said)


def together(what, said):
    """One sentence of [(a comparison in words, how it came out)]: those that came out alike stand together."""
    groups = {}
    for comparison, came_out in said:
        groups.setdefault(came_out, []).append(comparison)
    parts = [f"{words.listed(those)}, {came_out}" for came_out, those in groups.items()]
    return f"{what}: {'; '.join(parts)}." if parts else ""
