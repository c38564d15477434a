"""What the line of progress says of a sweep."""

import numpy as np
import pytest

from helpers.lanes import Event
from helpers.sweep.news import news_of


def an_event(step, activation="relu", layers=(3, 1), accuracies=(0.25, 0.5)):
    """A stack of two networks that has completed a step of three."""
    figures = {"activation": activation, "runs": ["a", "b"], "layers": layers, "test_acc": accuracies}
    return Event(f"{activation} {layers}", step, 3, figures, {} if step == 3 else None)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (an_event(2), "relu 1 to 3 layers epoch 2/3, test accuracy 0.250 to 0.500"),
        (an_event(2, layers=(3, 3)), "relu 3 layers epoch 2/3, test accuracy 0.250 to 0.500"),
        (an_event(3), "relu 1 to 3 layers finished (2 networks), test accuracy 0.250 to 0.500"),
        (an_event(2, accuracies=(np.nan, 0.125)), "relu 1 to 3 layers epoch 2/3, test accuracy 0.125 (1 diverged)"),
        (an_event(2, accuracies=(np.nan, np.nan)), "relu 1 to 3 layers epoch 2/3, test accuracy none (diverged)"),
    ],
)
def test_news_says_how_far_and_how_good(event, text):
    assert news_of([event]) == [text]


def test_finished_stacks_of_one_activation_are_named_together():
    finished = [an_event(3, ("relu", "tanh")[i % 2], (i + 1, i + 1)) for i in range(10)]
    texts = news_of([an_event(1), *finished])
    assert texts[0].startswith("relu 1 to 3 layers epoch 1/3")
    assert [text.split(", test")[0] for text in texts[1:]] == [
        "relu 1 to 9 layers finished (10 networks)",
        "tanh 2 to 10 layers finished (10 networks)",
    ]
