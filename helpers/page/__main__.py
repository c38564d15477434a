"""The results as a static page: index.html and page/, written from what is on disk.

python -m helpers.page              write the page of results/
python -m helpers.page --check      only say which of its files are stale
python -m helpers.page --anew       make all again, as after a change of theory's code; this loads the data sets
python -m helpers.page results/local    the data of one's own sweeps
"""

import argparse
import sys
from pathlib import Path

from helpers.page import own
from helpers.page.site import Site
from helpers.progress import say


def main(arguments=None):
    """Write the page, or check it.

    Exit code 1: the check has found something, or a file is damaged and was left out; 2: there are no results.
    """
    parser = argparse.ArgumentParser(prog="python -m helpers.page", description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default="results", type=Path, help="a folder of results (default: results)")
    parser.add_argument("--check", action="store_true", help="write nothing; say what is stale")
    parser.add_argument("--anew", action="store_true", help="make all again, with the data sets from data/")
    options = parser.parse_args(arguments)
    if not options.root.is_dir():
        say(f"there is no folder {options.root}; allowed is one with results in it", error=True)
        return 2
    site = (own.OwnSite if own.is_own(options.root) else Site)(options.root, options.anew)
    if options.check:
        found = [f"{path} is stale; make gallery writes it anew" for path in site.stale()]
        say("\n".join(found + site.damaged) or "the page is up to date")
        return 1 if found or site.damaged else 0
    try:
        written = site.write()
    except OSError as error:
        say(f"the page cannot be written to {options.root} ({error.strerror or error})", error=True)
        return 1
    say("\n".join(f"wrote {path}" for path in written) or "the page was up to date")
    say("\n".join(site.damaged), end="\n" if site.damaged else "", error=True)
    return 1 if site.damaged else 0


if __name__ == "__main__":
    sys.exit(main())
