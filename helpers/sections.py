"""Sections of a notebook that shows one study or another: which are wanted, which have something to show."""

from helpers.progress import say


def chosen(shown, parts, *reasons):
    """A function (section, rows) that says whether a section is wanted and there are rows for it; if not, it says so.

    shown    the numbers of the wanted sections
    parts    the setting that says what the study does, for the sentence
    reasons  more sentences why there may be no rows; empty ones are left out
    """

    def asked(section, rows):
        if section in shown and len(rows) == 0:
            say("; ".join([f"no part of {parts} has anything for this section", *filter(None, reasons)]))
        return section in shown and len(rows) > 0

    return asked


def tell(*sentences):
    """Print sentences, a line each; nothing for an empty one."""
    for sentence in filter(None, sentences):
        say(sentence)
