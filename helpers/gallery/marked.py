"""What pages that are written by hand take from the results: the parts between `<!-- name -->` and `<!-- /name -->`."""

import re

from helpers.gallery import damage, found, found_sweeps
from helpers.gallery.markdown import bullets, link, plain, table
from helpers.gallery.papers import cited
from helpers.gallery.questions import QUESTIONS, minutes

# of docs/found.md, {part: the study that it is of, what writes it}
FOUND = {
    "digits": ("digits", found_sweeps.digits),
    "mnist": ("mnist", found_sweeps.mnist),
    "calls": ("signal", found_sweeps.calls),
    "wrong": ("signal", found_sweeps.wrong),
    "elsewhere": ("signal", found_sweeps.elsewhere),
    "trial": ("signal", found_sweeps.trial),
    "critical": ("critical", found_sweeps.critical),
    "landscapes": ("landscapes", found.landscapes),
    "curves": ("paths", found.curves),
    "stitching": ("stitching", found.stitching),
    "splines": ("splines", found.splines),
}
# from the repository's root: their parts
PAGES = {"README.md": ("answers", "speed"), "docs/found.md": ("sentences", *FOUND)}
MARKED = re.compile(r"(<!-- (\w+) -->\n)(.*?)(\n<!-- /\2 -->)", re.DOTALL)


def parts(studies, root, page):
    """{name: text} of what may stand between the markers of any page.

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


def _found(studies, name):
    """The text of one of FOUND; None where its study is not there, or its files do not give it: `damaged` then says so.

    The page keeps what it has in that case.
    """
    whose, write = FOUND[name]
    study = next((study for study in studies if study.name == whose), None)
    try:
        return study and write(study)
    except Exception as error:
        if not damage.of_files(error):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        study.damaged.append(
            f"{study.folder}: docs/found.md keeps its part {name}, which its files do not give ({text})"
        )
        return None


def written(studies, root):
    """{path: text} of the pages with markers below a repository's root, as they should be now.

    Without those that are not there or have no marker. Raises ValueError where one has some of its parts only.
    """
    new_texts = {}
    for name, wanted in PAGES.items():
        page = root / name
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        old = {part: content for _, part, content, _ in MARKED.findall(text)}
        names = [part for _, part, _, _ in MARKED.findall(text)]
        if names and sorted(names) != sorted(wanted):
            raise ValueError(
                f"{page} has parts between markers named {', '.join(names)}; allowed is each of "
                f"{', '.join(wanted)} once"
            )
        if names:
            new = parts(studies, root, page)
            new |= {part: _found(studies, part) or old[part] for part in wanted if part in FOUND}
            new_texts[page] = MARKED.sub(lambda match, new=new: f"{match[1]}{new[match[2]]}{match[4]}", text)
    return new_texts
