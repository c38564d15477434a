"""The pages of results/, written from what is on disk.

python -m helpers.gallery            write the pages
python -m helpers.gallery --check    only say which are stale, and which pictures have no sentence
"""

import argparse
import sys
from pathlib import Path

from helpers import files
from helpers.gallery.pages import find_studies, silent, stale
from helpers.progress import say


def main(arguments=None):
    """Write the pages, or check them.

    Exit code 1: the check has found something, or a file is damaged and was left out; 2: there are no results.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default="results", help="the folder of all results (default: results)")
    parser.add_argument("--check", action="store_true", help="write nothing; say what is stale or lacks a sentence")
    options = parser.parse_args(arguments)
    if not Path(options.root).is_dir():
        say(f"there is no folder {options.root}; allowed is one with results in it", error=True)
        return 2
    studies = find_studies(options.root)
    written = stale(options.root, studies)
    damaged = [sentence for study in studies for sentence in study.damaged]
    if options.check:
        found = [f"{path} is stale; make gallery writes it anew" for path in written]
        found += [f"{path} carries no sentence; its notebook must draw it again" for path in silent(studies)]
        say("\n".join(found + damaged) or "all pages are up to date")
        return 1 if found or damaged else 0
    for path, text in written.items():
        files.write_whole(path, text)
    say("\n".join(f"wrote {path}" for path in written) or "all pages were up to date")
    say("\n".join(damaged), end="\n" if damaged else "", error=True)
    return 1 if damaged else 0


if __name__ == "__main__":
    sys.exit(main())
