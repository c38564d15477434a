"""A notebook opened in JupyterLab, in a page of `browser_fixtures`."""

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
RUN_ALL = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }"


def open_lab(page, serve, notebook):
    """Open a notebook in a JupyterLab that serves its folder; returns the address of the server."""
    address = serve("jupyterlab", *FLAGS, f"--ServerApp.root_dir={notebook.parent}")
    page.goto(f"{address}/lab/tree/{notebook.name}?reset")
    return address
