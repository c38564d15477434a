import pytest
from known_sweep import CELLS, sweep_of


@pytest.fixture(scope="session")
def known(tmp_path_factory):
    """A sweep of which the truth is known."""
    return sweep_of(tmp_path_factory.mktemp("sweep"), CELLS)
