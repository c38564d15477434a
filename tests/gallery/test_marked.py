"""The parts of pages that are written between markers."""

import pytest

from helpers import ROOT
from helpers.gallery import marked


def test_only_what_stands_between_markers_changes(tmp_path):
    (tmp_path / "README.md").write_text(
        "above\n<!-- answers -->\nold\n\nold\n<!-- /answers -->\nbetween\n<!-- speed -->\nx\n<!-- /speed -->\nbelow\n"
    )
    ((page, text),) = marked.written([], tmp_path).items()
    assert page == tmp_path / "README.md"
    assert text.startswith("above\n<!-- answers -->\n| notebook |")
    assert text.endswith("<!-- /answers -->\nbetween\n<!-- speed -->\n\n<!-- /speed -->\nbelow\n")
    assert "old" not in text


def test_a_page_with_some_of_its_markers_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("<!-- speed -->\nx\n<!-- /speed -->\n")
    with pytest.raises(ValueError, match="allowed is each of answers, speed once"):
        marked.written([], tmp_path)


def test_a_page_without_markers_stays_as_it_is(tmp_path):
    (tmp_path / "README.md").write_text("mine\n")
    assert marked.written([], tmp_path) == {}


@pytest.mark.parametrize("page", marked.PAGES)
def test_pages_of_the_repository_have_their_markers(page):
    names = [name for _, name, *_ in marked.MARKED.findall((ROOT / page).read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(marked.PAGES[page])
