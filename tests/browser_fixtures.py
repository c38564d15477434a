"""Fixtures of the tests that open a page in headless Chromium: `pytest_plugins = ["browser_fixtures"]` brings them.

Without Chromium these tests skip and say so. `page` reaches nothing but this machine.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import psutil
import pytest
from made_up_results import random_histories, write_sweep

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
LOOPBACK = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "file:")
# What would make a page of JupyterLab differ from one day to the next, or show only the part that is scrolled to.
LAB_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}
JUPYTER_FOLDERS = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "IPYTHONDIR",
)


@pytest.fixture(scope="module")  # Playwright's event loop is not to run beside other modules' own
def browser():
    """A headless Chromium."""
    if not CHROMIUM:
        pytest.skip("no Chromium here (on Debian: apt-get install chromium, or `make test-browser`)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        # Chromium's sandbox refuses to work for root, as which containers run
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page_of_module(browser):
    """A page that the tests of a module share."""
    with _page(browser) as page:
        yield page


@pytest.fixture
def page(browser):
    """A page of a test's own."""
    with _page(browser) as page:
        yield page


@contextmanager
def _page(browser):
    """A page of 1300 x 1600 pixels; requests that would leave this machine are aborted."""
    context = browser.new_context(viewport={"width": 1300, "height": 1600}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(120_000)  # passed only where something is broken, or the machine is very busy
    page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(LOOPBACK) else route.abort())
    page.errors = []  # what its console says, and what no script has caught
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.extend(_errors(message)))
    yield page
    context.close()


def _errors(message):
    """The text of a message of the console if it is an error, and not one on a request that was aborted here."""
    url = message.location.get("url", "")
    if message.type == "error" and (not url or url.startswith(LOOPBACK)):
        yield f"{message.text} ({url})"


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """A function that starts `python -m <command>`, with {port} filled in, and returns its address when it answers.

    The server has Jupyter folders of its own and is stopped after the module's last test. `serve.log(address)` is what
    it has written, `serve.kernels(address)` how many kernels it has.
    """
    started, logs, servers = [], {}, {}

    def start(*command):
        folder = tmp_path_factory.mktemp("server")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", *(part.format(port=port) for part in command)]
        log = folder / "server.log"
        with open(log, "w") as file:
            server = subprocess.Popen(
                command, env=_environment(folder), stdout=file, stderr=file, start_new_session=True
            )
        started.append(server)
        _wait(server, port, log)
        address = f"http://127.0.0.1:{port}"
        logs[address], servers[address] = log, server
        return address

    start.log = lambda address: logs[address].read_text()
    start.kernels = lambda address: _kernels(servers[address].pid)
    yield start
    for server in started:
        server.send_signal(signal.SIGTERM)  # SIGINT asks whether it is meant
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _kernels(pid):
    """How many kernels a server has as its child processes."""
    count = 0
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            count += any("ipykernel" in word for word in process.cmdline())
    return count


def _environment(folder):
    """The environment of a Jupyter server that neither reads nor writes what the user has of his own."""
    for name, settings in LAB_SETTINGS.items():
        file = folder / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    return {**os.environ, **{name: str(folder / name) for name in JUPYTER_FOLDERS}, "PATH": path}


def _wait(server, port, log, seconds=300):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(log.read_text())


# ---- results to look at


@pytest.fixture(scope="session")
def found(tmp_path_factory):
    """A results folder with three studies of made-up numbers, no two runs alike.

    `grid`    2 activations x 2 inits x 2 depths x 2 seeds; stopped before its last cell, one run diverged
    `deep`    two sweeps of one activation, `deep/a` and `deep/b`
    `rates`   one cell over three learning rates, whose logs were not kept
    """
    root = tmp_path_factory.mktemp("results")
    cells = {"activations": ["relu", "tanh"], "init_types": ["he_normal_0.5", "zero"], "layers_list": [3, 12]}
    variant = {"he_normal_0.5": {"init": "he_normal", "factor": 0.5}}
    write_sweep(
        root / "grid",
        {**cells, "init_params": variant, "seeds": [0, 1]},
        random_histories(diverged=["he_normal_0.5_tanh_12L_s1"]),
        missing=["zero_tanh_12L_s0", "zero_tanh_12L_s1"],
    )
    for name, layers in (("a", [2, 4]), ("b", [4, 8])):
        write_sweep(root / "deep" / name, {"activations": ["gelu"], "init_types": ["normal"], "layers_list": layers})
    rates = {"activations": ["sigmoid"], "init_types": ["normal", "zero"], "layers_list": [5], "lr": [0.01, 0.1, 1.0]}
    write_sweep(root / "rates", rates)
    for file in (root / "rates" / "runs").iterdir():
        file.unlink()
    return root
