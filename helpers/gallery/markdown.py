"""Markdown for the pages of results/: texts, links, tables."""

import os
import re
from pathlib import Path
from urllib.parse import quote


def plain(text):
    """A text on one line, in which no sign means anything to Markdown."""
    return re.sub(r"([\\`*<>\[\]|$~#]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(str(text).split()))


def link(text, target, page):
    """A link from a page to a file or folder, relative to the page."""
    return f"[{text}]({quoted(target, page)})"


def quoted(target, page):
    """The same way, as it stands in a link."""
    return quote(relative(target, page))


def relative(target, page):
    """The way from a page to a file or folder."""
    return Path(os.path.relpath(target, page.parent)).as_posix() + ("/" if target.is_dir() else "")


def table(rows):
    """A Markdown table of rows of texts, the first of them its head."""
    head, *body = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def code(text):
    """A text as code, in which no sign means anything to Markdown: between more backticks than it has itself."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks}{text}{ticks}"


def in_table(markdown):
    """Markdown as it must be written in a cell of a table."""
    return markdown.replace("|", r"\|")


def bracketed(names, between="; "):
    """ " (a; b)", what a count is of; an empty text for none."""
    return f" ({between.join(names)})" if names else ""


def bullets(lines):
    return "\n".join(f"- {line}" for line in lines)


def folded(summary, content):
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"


def paragraphs(parts):
    return "\n\n".join(part for part in parts if part) + "\n"
