"""Notebooks as plain data, read without nbformat, which takes half a second to import."""

import base64
import html
import json
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from helpers import files

# [text](target), ![text](target "title"), [name]: target, <a href="target">, <img src="target">
LINKS = re.compile(r"""(\]\(\s*<?|^\s{0,3}\[[^\]\n]+\]:\s+<?|\b(?:href|src)\s*=\s*["'])([^\s<>()"']+)""", re.MULTILINE)
CODE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[^\n]*$|``.*?``|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def read_notebook(path):
    """A notebook as dicts and lists; every cell has its source as one text, metadata and outputs.

    Raises ValueError, one sentence, for a file that is no notebook of format 4; OSError.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
        notebook = _a(dict, json.loads(text), "it")
        if notebook.get("nbformat") != 4:
            raise ValueError(f"its format is {notebook.get('nbformat')}; allowed is 4")
        if re.search(r"\\u[dD][89a-fA-F]", text):  # half a sign: nobody could write it again
            json.dumps(notebook, ensure_ascii=False).encode()
        metadata = _with_dicts(notebook.get("metadata", {}), "its metadata")
        cells = [_whole_cell(cell, f"cell {n}") for n, cell in enumerate(_a(list, notebook.get("cells"), "its cells"))]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as a notebook: {' '.join(str(error).split())}") from error
    return {**notebook, "metadata": metadata, "cells": cells}


def _whole_cell(cell, what):
    cell = {"metadata": {}, "outputs": [], **_a(dict, cell, what)}
    _a(str, cell.get("cell_type"), f"the type of {what}")
    _a(list, _with_dicts(cell["metadata"], f"the metadata of {what}").get("tags", []), f"the tags of {what}")
    for output in _a(list, cell["outputs"], f"the outputs of {what}"):
        _a(str, _a(dict, output, f"an output of {what}").get("output_type"), f"the type of an output of {what}")
        for form, data in _a(dict, output.get("data", {}), f"the data of an output of {what}").items():
            if form.startswith(("text/", "image/")):
                _joined(data, f"{form} in an output of {what}")
    return {**cell, "source": _joined(cell.get("source"), f"the source of {what}")}


def _with_dicts(metadata, what):
    """Metadata in which what tools have written under their names are dicts."""
    for tool in ("papermill", "plumbline"):
        _a(dict, _a(dict, metadata, what).get(tool, {}), f"{tool!r} in {what}")
    return metadata


def _joined(text, what):
    """A text, as a notebook has it: one, or a list of its lines."""
    lines = [text] if isinstance(text, str) else _a(list, text, what)
    return "".join(_a(str, line, f"a line of {what}") for line in lines)


def _a(kind, value, what):
    if not isinstance(value, kind):
        raise ValueError(f"{what} is {type(value).__name__}, and must be {kind.__name__}")
    return value


def code_cells(notebook):
    """The cells that a run of the notebook executes."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]


# ---- pictures

PICTURES = ("png", "gif")  # kinds of them
MARKDOWN = "text/markdown"
LINKED = re.compile(r"^!\[([^\]\n]*)\]\(([^()\s]+)\)$", re.MULTILINE)  # a line that shows a picture, and nothing else
INLINE = "data:image/png;base64,"  # a picture whose bytes stand where its address would


def folded(pictures, summary):
    """Markdown that shows pictures once its `summary` is clicked, for JupyterLab and a repository's web page alike.

    pictures  of PNG, each (what it shows in a few words, its bytes, the sentence under it)
    """
    shown = [
        f"![{re.sub(r'[][<>&]', ' ', alt)}]({INLINE}{base64.b64encode(png).decode()})\n\n{said}\n"
        for alt, png, said in pictures
    ]
    return "\n".join([f"<details>\n<summary>{html.escape(summary)}</summary>\n", *shown, "</details>"])


def shown_pictures(path, notebook):
    """Every picture that an executed notebook at `path` shows: (index of its cell, its bytes).

    It lies in the notebook, or in a file that an output links, see `link_pictures`. Raises ValueError, OSError.
    """
    for i, cell in enumerate(notebook["cells"]):
        for output in cell["outputs"]:
            data = output.get("data", {})
            yield from ((i, content) for _, content in _held(data))
            for _, target in LINKED.findall("".join(data.get(MARKDOWN, ""))):
                if target.startswith(INLINE):
                    yield i, _inline(target)
                elif is_relative(target) and (file := Path(path).parent / unquote(target)).is_file():
                    yield i, file.read_bytes()


def _inline(target):
    """The bytes of a picture that `folded` wrote. Raises ValueError for what is no base64."""
    return base64.b64decode(target.removeprefix(INLINE), validate=True)


def _held(data):
    """(form, bytes) of every picture that the data of an output hold. Raises ValueError for what is no base64."""
    for form in (f"image/{kind}" for kind in PICTURES):
        if picture := "".join("".join(data.get(form, "")).split()):
            yield form, base64.b64decode(picture, validate=True)


def link_pictures(path):
    """Let an executed notebook link the pictures that lie in a `figures/` below its folder, in place of holding them.

    A picture in a notebook takes a third more than its file. Returns how many were linked. Raises ValueError, one
    sentence, for what is no notebook; OSError.
    """
    path, linked = Path(path), 0
    read_notebook(path)
    notebook = json.loads(path.read_bytes())
    folder = path.parent
    found = sorted(picture.relative_to(folder) for kind in PICTURES for picture in folder.rglob(f"figures/*.{kind}"))
    seen = [picture for picture in found if not any(part[0] == "." for part in picture.parts)]
    by_content = {(folder / picture).read_bytes(): picture for picture in reversed(seen)}

    def link(found):
        nonlocal linked
        alt, target = found.groups()
        if not target.startswith(INLINE) or (content := _inline(target)) not in by_content:
            return found[0]
        linked += 1
        return f"![{alt}]({quote(by_content[content].as_posix())})"

    for data in (output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])):
        try:
            held = list(_held(data))
            if INLINE in (text := "".join(data.get(MARKDOWN, ""))):
                data[MARKDOWN] = LINKED.sub(link, text)
        except ValueError as error:
            raise ValueError(f"{path} cannot be read as a notebook: a picture in it is no base64 ({error})") from error
        for form, content in held:
            if content in by_content and MARKDOWN not in data:
                picture = by_content[content]
                data[MARKDOWN] = f"![{picture.stem.replace('_', ' ')}]({quote(picture.as_posix())})"
                del data[form]
                linked += 1
    if linked:
        files.write_whole(path, json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    return linked


# ---- links


def links(markdown):
    """The targets of the links and pictures in a text of Markdown, as they are written there; code has none."""
    return [found[2] for part in CODE.split(markdown)[::2] for found in LINKS.finditer(part)]


def is_relative(target):
    """Whether a link's target is a path beside the page, no address, place in the page or attachment."""
    return not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:|[/#?]", target)


def moved(markdown, old, new):
    """A text of Markdown as it must be in folder `new`, so that its relative links lead where they do from `old`.

    A target that is not there is left alone.
    """

    def at_new(found):
        path, mark, place = found[2].partition("#")
        if not is_relative(found[2]) or not (Path(old) / unquote(path)).exists():
            return found[0]
        there = Path(os.path.relpath(os.path.realpath(Path(old) / unquote(path)), os.path.realpath(new))).as_posix()
        return f"{found[1]}{quote(there)}{'/' if path.endswith('/') else ''}{mark}{place}"

    parts = CODE.split(markdown)
    return "".join(part if i % 2 else LINKS.sub(at_new, part) for i, part in enumerate(parts))
