"""The page of results in a notebook: a frame, and a server that this process keeps."""

import re
from urllib.request import urlopen

import nbformat
import papermill
import pytest

from helpers import ROOT
from helpers.widgets.results_page import results_page

ADDRESS = re.compile(r'<iframe src="(http://127\.0\.0\.1:\d+/)"')


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.html").write_text("<p>here it is</p>")
    return tmp_path


def test_the_frame_shows_the_page(folder):
    address = ADDRESS.search(results_page(folder).data)[1]
    with urlopen(address, timeout=60) as answer:
        assert answer.read() == b"<p>here it is</p>"


def test_a_second_frame_has_the_same_server(folder):
    assert ADDRESS.search(results_page(folder).data)[1] == ADDRESS.search(results_page(folder, height=300).data)[1]


def test_where_there_is_no_page_a_sentence_says_so(tmp_path):
    text = results_page(tmp_path / "<none>").data
    assert "make gallery" in text
    assert "&lt;none&gt;" in text
    assert "iframe" not in text


def test_the_notebook_runs_without_a_front_end(folder, tmp_path):
    files = [str(ROOT / "notebooks" / "browse.ipynb"), str(tmp_path / "executed.ipynb")]
    papermill.execute_notebook(*files, {"RESULTS": str(folder)}, progress_bar=False, kernel_name="python3")
    executed = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    (shown,) = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert ADDRESS.search(shown.data["text/html"])
