"""A notebook opened in JupyterLab, in a page of `browser_fixtures`."""

import time

FLAGS = [
    "--no-browser",
    "--allow-root",
    "--expose-app-in-browser",
    "--IdentityProvider.token=",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port={port}",
    "--ServerApp.port_retries=0",
]
OUTPUT = ".jp-OutputArea-output"  # texts and roles also match source cells and the toolbar
KERNEL = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
KERNEL_IDLE = f"{KERNEL}?.status === 'idle'"
PAUSE, LONGEST_PAUSE = 30, 500  # milliseconds between two looks at a page
RUN_ALL = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }"


def open_lab(page, serve, notebook):
    """Open a notebook in a JupyterLab that serves its folder; returns the address of the server."""
    address = serve("jupyterlab", *FLAGS, f"--ServerApp.root_dir={notebook.parent}")
    page.goto(f"{address}/lab/tree/{notebook.name}?reset")
    return address


def comes_true(page, condition, seconds):
    """Wait for a condition, looked at ever less often: who looks takes time from what is waited for. False if in vain.

    Playwright's own `wait_for_function` looks with every frame, and lets the page draw for it.
    """
    end, pause = time.monotonic() + seconds, PAUSE
    while not condition():
        if time.monotonic() > end:
            return False
        page.wait_for_timeout(pause)
        pause = min(1.3 * pause, LONGEST_PAUSE)
    return True


def wait_until_idle(page, seconds=300):
    assert comes_true(page, lambda: page.evaluate(KERNEL_IDLE), seconds), "the kernel is not idle"
