import gc
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# Files that take long, the longest first: were one of them the last to begin, the other cores would wait for it.
LONG = (
    "test_notebooks.py",
    "test_cluster.py",
    "gallery/test_pages.py",
    "sweep/test_odd_sweeps.py",
    "sweep/test_folder.py",
    "widgets/test_browser_lab.py",
    "stitching_study/test_study.py",
    "sweep/test_stack.py",
    "widgets/test_browser_stitched.py",
    "path_study/test_study.py",
    "widgets/test_live.py",
    "faults/test_faults.py",
    "paths/test_sampling.py",
    "theory/test_mean_field.py",
    "sweep/test_sweep.py",
    "networks/test_convnets.py",
    "sweep/test_training.py",
    "page/test_browser_page.py",
    "batch/test_run.py",
    "sweep/test_figures.py",
    "tests/test_readme.py",
    "landscapes/test_browser_interactive.py",
    "bench/test_main.py",
    "networks/test_mlp_kernel.py",
    "theory/test_critical.py",
    "activations/test_own.py",
    "bench/test_sweep.py",
    "data/test_folders.py",
    "paths/test_densities.py",
    "spline_study/test_experiments.py",
    "landscapes/test_evaluation.py",
    "activations/test_splines.py",
)

# Test files run side by side. By default a thread that waits for others keeps its core busy, which another file wants:
# small products then cost several times what they do alone. Read when torch and NumPy are loaded, as by the conftest.py
# of a folder.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch and the C files
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy and SciPy, whose threads have no such policy
sys.modules.setdefault("rfc3987_syntax", None)  # see helpers.batch.jobs.import_papermill

# What is compiled is kept, whatever the environment says: pytest takes longer to compile the tests than to load them,
# in each process that runs them, and so does every process that a test starts with what it imports of helpers.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_addoption(parser):
    group = parser.getgroup("other processors")
    group.addoption("--perturb", type=float, default=0.0, help="times 1 + this * noise: every weight that is drawn")
    group.addoption("--perturb-seed", type=int, default=0, help="seed of that noise")


def pytest_xdist_auto_num_workers():
    """One more than cores: of a process that runs tests about a sixth is waiting, for a process, a page or a signal."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_configure(config):
    """What tests start imports this tree, and is interrupted as in a terminal, wherever and however this runs."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a job of a script's background
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    if config.getoption("--perturb"):
        sys.path.insert(0, str(TESTS / "perturb"))
        import perturbed_draws

        perturbed_draws.begin(config.getoption("--perturb"), config.getoption("--perturb-seed"))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported and collected stays until the end: no search for garbage goes through it any more.

    It is most of what there is, a million objects, and a search for garbage takes a second where it counts.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(700, 10, 50)  # for the rest as often as Python does it among so many: once frozen, none count
        gc.enable()


def pytest_collection_modifyitems(items):
    """The long files first."""

    def place(item):
        path = item.path.as_posix()
        return next((i for i, name in enumerate(LONG) if path.endswith(f"/{name}")), len(LONG))

    items.sort(key=place)


@pytest.fixture(autouse=True)
def exact_draws(request, monkeypatch):
    """Tests marked `exact_draws` hold draws against a formula: --perturb leaves them alone."""
    if request.node.get_closest_marker("exact_draws"):
        monkeypatch.setenv("PLUMBLINE_PERTURB", "0")


@pytest.fixture(scope="module")
def one_thread():
    """Small matrices are slower on two threads, and far slower where another program wants the cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def flushes():
    """Whether this processor can take subnormal numbers for 0, asked in a thread whose flag nobody needs."""
    import torch

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.set_flush_denormal, True).result()


@pytest.fixture(scope="session")
def digits():
    """A function, CONFIG's keys -> (config, data): the digits and narrow networks, float64 unless asked otherwise."""
    import torch  # not at the top: --perturb is to be there before anything of helpers is imported

    from helpers import data
    from helpers.config import SweepConfig

    def fitted(**given):
        config = SweepConfig.from_dict({"hidden_size": 16, "precision": "float64", "device": "cpu", **given})
        loaded = data.load(config, dtype=torch.float64 if config.precision == "float64" else torch.float32)
        return config.fitted_to(loaded), loaded

    return fitted


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    """What a test leaves open counts in no other test."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
