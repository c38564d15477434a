import pytest
import torch

from helpers import data
from helpers.config import SweepConfig


@pytest.fixture(scope="session")
def digits():
    """A function, CONFIG's keys -> (config, data): the digits and narrow networks, float64 unless asked otherwise."""

    def fitted(**given):
        config = SweepConfig.from_dict({"hidden_size": 16, "precision": "float64", "device": "cpu", **given})
        loaded = data.load(config, dtype=torch.float64 if config.precision == "float64" else torch.float32)
        return config.fitted_to(loaded), loaded

    return fitted
