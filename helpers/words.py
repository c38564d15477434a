"""How a computed sentence says its numbers: a mean with its spread, a span, a share, quantiles, a few names.

Numbers that are not known (NaN) are left out. Nothing here conjugates: a sentence says how many, of how many.
"""

import numpy as np

LONGEST = 1e6  # numbers below it are written out


def number(value, form=".3g"):
    """A number in a format; one in significant digits ("g") that is short has no exponent: "2,100", not "2.1e+03".

    A number that is not 0 never reads as one: it has its first digit instead, "0.0003", and no 0 has a sign.
    """
    text = f"{value:{form}}"
    if text.strip("-+0.e") == "":
        sign = "+" if form.startswith("+") else ""
        text = f"{value:{sign}.1g}" if value else text.removeprefix("-")
    if form[-1:] == "g" and "e+" in text and abs(float(text)) < LONGEST:
        return f"{float(text):{form.partition('.')[0]},.0f}"
    return text


def mean(value, deviation, form=".3f", spread=None):
    """ "0.985 +- 0.007", from a mean and its standard deviation; "0.985" where that is not known, as of one seed.

    Where nothing varies it is "0.985 +- 0".

    form    of the mean, and of the deviation where `spread` is left out
    """
    around = number(deviation, spread or form) if deviation > 1e-9 * abs(value) else "0"  # else it is of rounding
    return number(value, form) + (f" +- {around}" if np.isfinite(deviation) else "")


def mean_of(values, form=".3f", spread=None):
    """The same from the values themselves; those that are not known are counted: "0.985 +- 0.007 (1 of 4 diverged)"."""
    values = np.asarray(values, float)
    known = values[~np.isnan(values)]
    parts = [mean(known.mean(), known.std(ddof=1) if len(known) > 1 else np.nan, form, spread)] if len(known) else []
    lost = len(values) - len(known)
    return " ".join(parts + ([f"({lost} of {len(values)} diverged)"] if lost else []))


def span(values, form=".2g"):
    """ "0.1 to 0.9", the least and the greatest; one number where they are equal, an empty text where there is none."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    return " to ".join(dict.fromkeys(number(end, form) for end in (known.min(), known.max()))) if len(known) else ""


def extremes(values, form=".2g"):
    """A span with the names of its ends, of {name: value >= 0}: "1e-09 (normal) to 0.5 (he_normal), exactly 0: zero".

    What is exactly 0, or not known since the run diverged, is listed behind it.
    """
    positive = sorted((value, name) for name, value in values.items() if value > 0)
    ends = dict.fromkeys(positive[:1] + positive[-1:])
    parts = [" to ".join(f"{number(value, form)} ({name})" for value, name in ends)] if ends else []
    zero, lost = [n for n, v in values.items() if v == 0], [n for n, v in values.items() if np.isnan(v)]
    parts += [f"exactly 0: {names(zero)}"] if zero else []
    parts += [f"diverged: {names(lost)}"] if lost else []
    return ", ".join(parts)


def median(values, form=".2f", what=""):
    """("0.98", "median of 14 runs; 10 to 90 %: 0.91 to 1.02"): the median, and where most values lie.

    what  the values are of, as "runs"
    """
    low, middle, high = (number(value, form) for value in np.nanquantile(np.asarray(values, float), [0.1, 0.5, 0.9]))
    return middle, f"median of {' '.join([str(len(values)), what]).strip()}; 10 to 90 %: {low} to {high}"


def share(flags):
    """ "3 of 8": how many are true, of how many."""
    return f"{int(np.sum(flags))} of {len(flags)}"


def counted(count, what):
    """ "1 seed", "3 seeds"."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def over(count, what="seed"):
    """ "mean and deviation over 3 seeds"; "of 1 seed", which has no deviation."""
    return f"mean and deviation over {counted(count, what)}" if count > 1 else f"of {counted(count, what)}"


def listed(names):
    """ "a", "a and b", "a, b and c"; an empty text for none."""
    *first, last = [str(name) for name in names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def names(names, most=3):
    """All of a few names, each once; of many the first, and how many more."""
    names = list(dict.fromkeys(names))
    return listed(names) if len(names) <= most else f"{names[0]} and {len(names) - 1} others"
