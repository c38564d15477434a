"""Citations: every paper that a page cites is a link."""

import subprocess

import pytest

from helpers import ROOT
from helpers.gallery.papers import CITED, PAPERS, cited, paper

PAGES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True
).stdout.split()


def bare(text):
    """The citations of a text that are no link."""
    return [found[0] for found in CITED.finditer(text) if paper(found) in PAPERS or " al." in found[0]]


@pytest.mark.parametrize("page", PAGES)
def test_every_citation_of_a_page_is_a_link(page):
    assert bare((ROOT / page).read_text(encoding="utf-8")) == []


def test_citations_become_links_in_every_form():
    at = PAPERS["He et al. 2015"]
    assert cited("He et al. (2015) draw") == f"[He et al. (2015)]({at}) draw"
    assert cited("a rule (He et al., 2015), b") == f"a rule ([He et al., 2015]({at})), b"
    assert cited("as in Nobody et al. 1999, c") == "as in Nobody et al. 1999, c"
    assert bare("as in Nobody et al. 1999") == ["Nobody et al. 1999"]
    assert bare(cited("He et al. 2015 and Smith 2017")) == []
    assert cited("JPEG 2000 and In 2015") == "JPEG 2000 and In 2015"
