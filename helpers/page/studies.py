"""The index of the page: of each study its question, answer, pictures, sweeps and other data, as plain dicts."""

import os
import re
from pathlib import Path

from helpers.gallery.pages import by_weight
from helpers.gallery.studies import sentence_of
from helpers.page.sweeps import relative


def index(studies, root, sweeps, parts):
    """The index of some StudyFolders, in their order.

    root    the folder of all results; every path of the index counts from it
    sweeps  {study: the entries of its sweeps}, parts  {study: those of its other data}
    """
    return [_study(study, Path(root), sweeps.get(study.name, []), parts.get(study.name, [])) for study in studies]


def _study(study, root, sweeps, parts):
    return {
        "key": study.name,
        "title": unmarked(study.title),
        "question": unmarked(study.question),
        "short": unmarked(study.short),
        "answer": unmarked(study.answer),
        "page": relative(study.page, root) if study.page.exists() else None,
        "notebooks": [relative(path, root) for path in study.notebooks],
        "csvs": [_place(path, root) for path in study.csvs],
        "picture": next((_place(path, root) for path, _ in by_weight(study)), None),  # the one that stands for it
        "pictures": [
            {"file": _place(path, root), "section": section, "sentence": sentence_of(path)}
            for section, paths in study.sections.items()
            for path in paths
        ],
        "sweeps": sweeps,
        "parts": parts,
        "damaged": list(study.damaged),
    }


def key_of(study, name):
    """The key of a sweep: its study's name, and its own where it is another. No two sweeps have one key.

    Dots stand between the parts of a name; a dot within a part is "~.", and "~" is "~~".
    """
    parts = [study] if name in (study, f"{study}/.") else [study, *name.split("/")]
    return ".".join(part.replace("~", "~~").replace(".", "~.") for part in parts)


def unmarked(markdown):
    """Markdown as plain text: without its bold, italics, code marks and escapes."""
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", markdown)
    text = re.sub(r"(?<![\w*])\*(?=\S)([^*]+?)(?<=\S)\*(?![\w*])|`+([^`]+)`+", r"\1\2", text)
    return re.sub(r"\\([\\`*_{}\[\]()<>#+.!|$~-])", r"\1", text)


def _place(path, root):
    """A path from a folder, with forward slashes; of a study that has a folder beside it, ../<study>/..."""
    return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()
