"""The papers that pages cite, as links."""

import re

# as they are cited: authors and year, without brackets and commas
PAPERS = {
    "He et al. 2015": "https://arxiv.org/abs/1502.01852",
    "Hanin and Nica 2020": "https://arxiv.org/abs/1812.05994",
    "Klambauer et al. 2017": "https://arxiv.org/abs/1706.02515",
    "Li et al. 2018": "https://arxiv.org/abs/1712.09913",
    "Poole et al. 2016": "https://arxiv.org/abs/1606.05340",
    "Saxe et al. 2014": "https://arxiv.org/abs/1312.6120",
    "Schoenholz et al. 2017": "https://arxiv.org/abs/1611.01232",
    "Smith 2017": "https://arxiv.org/abs/1506.01186",
    "Vehtari et al. 2021": "https://arxiv.org/abs/1903.08008",
}
AUTHORS = r"[A-Z][a-z]+(?: et al\.| and [A-Z][a-z]+)?"
CITED = re.compile(rf"(?<![\[\w])({AUTHORS}),? (\()?((?:19|20)\d\d)(?(2)\)|\b)")


def paper(found):
    """The name in PAPERS of what CITED has found."""
    return f"{found[1]} {found[3]}"


def cited(markdown):
    """Markdown whose citations of PAPERS are links."""
    return CITED.sub(
        lambda found: f"[{found[0]}]({PAPERS[paper(found)]})" if paper(found) in PAPERS else found[0], markdown
    )
