"""Data of studies with a view of their own: made once, and again when a file of the study has changed."""

import sys
from types import SimpleNamespace

import pytest
from page_reader import data_of, index_of

from helpers.page import site


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A study of one CSV whose view has two parts; `calls` are the times they were looked for."""
    root = tmp_path / "results"
    (root / "toy").mkdir(parents=True)
    (root / "toy" / "numbers.csv").write_text("x\n1\n2\n")
    calls = []

    def find(given):
        calls.append(given)
        numbers = (given / "toy" / "numbers.csv").read_text().split()[1:]
        found = {"study": "toy", "kind": "curves"}
        return [{"key": f"toy.{n}", "title": f"no. {n}", "content": {"x": n}, **found} for n in numbers]

    monkeypatch.setattr(site, "PARTS", {"toy": "toy_view"})
    monkeypatch.setitem(sys.modules, "helpers.page.toy_view", SimpleNamespace(find=find))
    return SimpleNamespace(root=root, calls=calls)


def test_parts_are_in_the_index_in_their_order_and_have_their_data(made):
    (made.root / "toy" / "numbers.csv").write_text("x\n2\n10\n1\n")
    site.Site(made.root).write()
    studies, _ = index_of(made.root / "page" / "studies.js")
    (toy,) = studies
    assert [part["title"] for part in toy["parts"]] == ["no. 2", "no. 10", "no. 1"]
    for part in toy["parts"]:
        key, content = data_of(made.root / part["file"])
        assert (key, part["kind"], content) == (part["key"], "curves", {"x": part["key"].removeprefix("toy.")})


def test_they_are_made_again_only_when_something_has_changed(made):
    site.Site(made.root).write()
    before = (made.root / "page" / "studies.js").read_bytes()
    assert site.Site(made.root).write() == []
    assert len(made.calls) == 1
    assert (made.root / "page" / "studies.js").read_bytes() == before
    (made.root / "page" / "data" / "toy.1.js").unlink()
    assert [path.name for path in site.Site(made.root).write()] == ["toy.1.js"]
    (made.root / "toy" / "numbers.csv").write_text("x\n1\n")
    assert {path.name for path in site.Site(made.root).write()} == {"toy.1.js", "toy.2.js", "studies.js"}
    assert not (made.root / "page" / "data" / "toy.2.js").exists()
    assert len(made.calls) == 3


def test_a_study_that_cannot_be_read_is_one_sentence(made):
    sys.modules["helpers.page.toy_view"].find = lambda root: {}["missing"]
    written = site.Site(made.root)
    written.write()
    (sentence,) = written.damaged
    assert str(made.root / "toy") in sentence
    assert not list((made.root / "page").glob("data/*"))


def test_of_a_folder_that_cannot_be_read_there_is_a_sentence_each_time(made):
    find = sys.modules["helpers.page.toy_view"].find
    sys.modules["helpers.page.toy_view"].find = lambda root: [{"damaged": "toy/b is damaged"}, *find(root)]
    for _ in range(2):
        page = site.Site(made.root)
        page.write()
        assert page.damaged == ["toy/b is damaged"]
        assert len(list((made.root / "page" / "data").iterdir())) == 2
