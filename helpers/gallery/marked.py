"""What pages that are written by hand take from the results: the parts between `<!-- name -->` and `<!-- /name -->`."""

import re

from helpers.gallery.markdown import bullets, link, plain, table
from helpers.gallery.papers import cited
from helpers.gallery.questions import QUESTIONS, minutes

PAGES = {"README.md": ("answers", "speed"), "docs/found.md": ("sentences",)}  # from the repository's root: their parts
MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(\n<!-- /\2 -->)", re.DOTALL)


def parts(studies, root, page):
    """{name: text} of what may stand between the markers of a page.

    answers    a table: question, short answer, minutes
    sentences  question and answer of each study
    speed      how fast the stack is
    """
    known = {study.name: study for study in studies if study.name in QUESTIONS}
    bench = known["bench"].folder if "bench" in known else None
    rows, sentences = [["notebook", "question", "answer", "minutes"]], []
    for name, asked in QUESTIONS.items():
        if name in known:
            study, notebook = known[name], root / asked.notebook
            answer = link(cited(plain(study.short)), study.page, page)
            if asked.notebook:
                rows.append(
                    [link(f"`{notebook.name}`", notebook, page), plain(asked.title), answer, minutes(study, bench)]
                )
            sentences.append(f"**{link(plain(asked.title), study.page, page)}** {cited(plain(study.answer))}")
    speed = plain(known["bench"].answer) if "bench" in known else ""
    return {"answers": table(rows), "sentences": bullets(sentences), "speed": speed}


def written(studies, root):
    """{path: text} of the pages with markers below a repository's root, as they should be now.

    Without those that are not there or have no marker. Raises ValueError where one has some of its parts only.
    """
    found = {}
    for name, wanted in PAGES.items():
        page = root / name
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        names, new = [name for _, name, _ in MARKED.findall(text)], parts(studies, root, page)
        if names and sorted(names) != sorted(wanted):
            raise ValueError(
                f"{page} has parts between markers named {', '.join(names)}; allowed is each of "
                f"{', '.join(wanted)} once"
            )
        if names:
            found[page] = MARKED.sub(lambda match, new=new: f"{match[1]}{new[match[2]]}{match[3]}", text)
    return found
