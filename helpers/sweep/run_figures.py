"""The axis of a single run's curves in the live panel."""

import numpy as np

from helpers.figures import MOST, log_ticks


def positive_scale(subplots):
    """One y axis for all subplots, of values above 0: logarithmic where they span a decade."""
    lines = [line.get_ydata() for axes in subplots for line in axes.lines]
    drawn = np.ma.masked_invalid(np.ma.concatenate([[], *lines])).compressed()
    drawn = drawn[drawn > 0]
    low, high = np.clip((drawn.min(), drawn.max()), 1 / MOST, MOST) if len(drawn) else (0.1, 1)
    for axes in subplots:
        if high > 10 * low:
            axes.set(yscale="log", ylim=(low / 1.3, high * 1.3))
            log_ticks(axes.yaxis, low, high)
        else:
            axes.set_ylim(0, 1.1 * high)
