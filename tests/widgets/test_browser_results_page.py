"""`notebooks/browse.ipynb` as a person opens it: the page of results in a frame of JupyterLab."""

import shutil

import nbformat
import pytest
from jupyter_lab import RUN_ALL, open_lab, wait_until_idle

from helpers import ROOT
from helpers.page.site import Site

expect = pytest.importorskip("playwright.sync_api").expect
pytest_plugins = ["browser_fixtures"]


def test_the_frame_shows_the_studies(page, serve, found, tmp_path):
    root = shutil.copytree(found, tmp_path / "results")
    Site(root).write()
    notebook = nbformat.read(ROOT / "notebooks" / "browse.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source = f"RESULTS = {str(root)!r}"
    nbformat.write(notebook, tmp_path / "browse.ipynb")
    open_lab(page, serve, tmp_path / "browse.ipynb")
    wait_until_idle(page)
    page.evaluate(RUN_ALL)
    studies = page.frame_locator("iframe[title='The results']").locator("main")
    for study in ("grid", "deep", "rates"):
        expect(studies).to_contain_text(study, timeout=120_000)
    assert not [error for error in page.errors if "/lab" not in error]
