"""What the line of progress says of a sweep: where its stacks are, and how well their networks do."""

import numpy as np


def news_of(events):
    """Texts on the latest event of each stack that had one: the running ones, then those that are finished."""
    parts = [_running(event) for event in events if event.results is None]
    return parts + list(_finished_ones([event for event in events if event.results is not None]))


def _running(event):
    return f"{_depths([event])} epoch {event.step}/{event.steps}, test accuracy {_accuracies([event])}"


def _finished_ones(events):
    """One part an activation, however many stacks of it are finished."""
    families = {}
    for event in events:
        families.setdefault(event.figures["activation"], []).append(event)
    for family in families.values():
        networks = sum(len(event.figures["runs"]) for event in family)
        word = "network" if networks == 1 else "networks"
        yield f"{_depths(family)} finished ({networks} {word}), test accuracy {_accuracies(family)}"


def _depths(events):
    depths = [layers for event in events for layers in event.figures["layers"]]
    span = f"{max(depths)}" if min(depths) == max(depths) else f"{min(depths)} to {max(depths)}"
    return f"{events[0].figures['activation']} {span} layers"


def _accuracies(events):
    values = np.array([accuracy for event in events for accuracy in event.figures["test_acc"]])
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return "none (diverged)"
    low, high = f"{finite.min():.3f}", f"{finite.max():.3f}"
    diverged = len(values) - len(finite)
    return (low if low == high else f"{low} to {high}") + (f" ({diverged} diverged)" if diverged else "")
