import pytest

from helpers.activations import ACTIVATIONS


@pytest.fixture(scope="module", autouse=True)
def own_activations_are_taken_out_again():
    """Studies register a reader's own: files that follow in the same process must not find them."""
    before = set(ACTIVATIONS)
    yield
    for name in set(ACTIVATIONS) - before:
        del ACTIVATIONS[name]
