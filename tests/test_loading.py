"""What a worker brings along to another process."""

import pickle
import sys

import pytest
import torch

from helpers import ROOT
from helpers.activations import ACTIVATIONS, register_activation
from helpers.config import SweepConfig
from helpers.initializers import INITIALIZERS, register_initializer
from helpers.loading import Loading

pytest_plugins = ["warm_processes"]
THERE = """
import pickle, sys
loading, config = pickle.load(open(sys.argv[1], 'rb'))
from helpers.activations import ACTIVATIONS
from helpers.initializers import INITIALIZERS
print("softer" in ACTIVATIONS, "small" in INITIALIZERS, loading.data_of(config).train_size)
"""


@pytest.fixture
def own():
    register_activation("softer", torch.nn.functional.softsign)
    register_initializer("small", torch_small)
    yield
    del ACTIVATIONS["softer"], INITIALIZERS["small"]


def torch_small(shape, generator):
    return 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)


def test_the_readers_own_functions_reach_another_process_and_data_are_loaded_there(own, warm_python, tmp_path):
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the other process has no such module
    try:
        config = SweepConfig.from_dict({"train_size": 50, "device": "cpu"})
        (tmp_path / "sent").write_bytes(cloudpickle.dumps((Loading(torch.device("cpu")), config)))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    done = warm_python(THERE, tmp_path / "sent", cwd=ROOT)
    assert done.stdout.split() == ["True", "True", "50"], done.stderr


def test_data_are_loaded_once():
    loading = Loading(torch.device("cpu"))
    one, other = (SweepConfig.from_dict({"train_size": n, "device": "cpu"}) for n in (50, 60))
    assert loading.data_of(one) is loading.data_of(one)
    assert loading.data_of(other).train_size == 60
    assert pickle.loads(pickle.dumps(Loading()))._data == {}
