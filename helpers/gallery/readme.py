"""What the README takes from the results: the parts between its markers `<!-- name -->` and `<!-- /name -->`."""

import re

from helpers.gallery.markdown import link, plain, table
from helpers.gallery.papers import cited
from helpers.gallery.questions import QUESTIONS

MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(\n<!-- /\2 -->)", re.DOTALL)


def parts(studies, readme):
    """{name: text} of what stands between the README's markers.

    answers  the table of questions     speed  how fast the stack is
    """
    known = {study.name: study for study in studies if study.name in QUESTIONS}
    rows = [["notebook", "question", "answer", "minutes"]]
    for name, asked in QUESTIONS.items():
        if name in known and asked.notebook:
            notebook = readme.parent / asked.notebook
            answer = link(cited(plain(known[name].short)), known[name].page, readme)
            rows.append([link(f"`{notebook.name}`", notebook, readme), plain(asked.title), answer, asked.minutes])
    return {"answers": table(rows), "speed": plain(known["bench"].answer) if "bench" in known else ""}


def written(studies, readme):
    """The README's text as it should be now. Raises ValueError where it lacks a marker."""
    text, new = readme.read_text(encoding="utf-8"), parts(studies, readme)
    names = [name for _, name, _ in MARKED.findall(text)]
    if sorted(names) != sorted(new):
        raise ValueError(
            f"{readme} has parts between markers named {', '.join(names) or 'nothing'}; allowed is each of "
            f"{', '.join(new)} once"
        )
    return MARKED.sub(lambda found: f"{found[1]}{new[found[2]]}{found[3]}", text)
