"""One's own sweeps, below results/local/, in the page: their data lie in results/local/page/, and are never published.

results/index.html loads results/local/page/studies.js where it is there. A sweep that has finished adds its data.
"""

from pathlib import Path
from urllib.parse import quote

from helpers import ROOT, files, packed, records
from helpers.page import data_files
from helpers.page.moments import Moments
from helpers.page.site import WRONG, Files, app_files, left_out, sweep_file
from helpers.page.studies import key_of
from helpers.page.sweeps import relative

RESULTS = ROOT / "results"


def is_own(root):
    """Whether a folder is that of one's own sweeps."""
    return Path(root).resolve() == (RESULTS / packed.OWN).resolve()


class OwnSite(Files):
    """The data of all own sweeps, and the index of them: as `site.Site`, of results/local/.

    root  that folder
    """

    def __init__(self, root, anew=False):
        super().__init__(root)
        self.base, entries = self.root.parent, []
        moments = Moments(root, anew, beside=self.base)
        for name, folder in records.find_sweeps(self.base).get(packed.OWN, {}).items():
            try:
                file, text, entry = _file_of(records.load_sweep(folder), self.base, moments, anew=anew)
            except WRONG as error:
                self.damaged.append(left_out(self.root / name, error))
                continue
            self.texts[file] = text
            entries.append(entry)
        self.texts[moments.path] = moments.text()
        self.texts[self.root / "page" / "studies.js"] = _index(entries)


def add(results, data=None, base=None):
    """Write the data of an own sweep, and name it in the index. Returns a link to it; None for any other sweep.

    data  the Data it was trained on; without it there may be no forecast
    base  the folder of all results; ours where left out
    """
    base = Path(RESULTS if base is None else base)
    home, folder = (base / packed.OWN).resolve(), results.folder.resolve()
    if folder == home or not folder.is_relative_to(home):
        return None
    moments = Moments(home, beside=base)
    file, text, entry = _file_of(results, base, moments, data)
    if text is not None:
        files.write_whole(file, text)
    files.write_whole(moments.path, moments.text())
    index, written = home / "page" / "studies.js", None
    while written != (written := _index_of_all(base)):  # once more where another sweep has added itself meanwhile
        files.write_whole(index, written)
    for path, content in app_files().items():
        if not (base / path).exists():
            files.write_whole(base / path, content)
    page = (base / "index.html").resolve()
    page = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page
    return f"{page}#study={quote(entry['key'], safe='')}"


def _file_of(results, base, moments, data=None, anew=False):
    """(path of an own sweep's data file, its text or None where it is up to date, its entry in the index)."""
    name = relative(results.folder, base / packed.OWN)
    key = key_of(packed.OWN, name)
    file = f"{packed.OWN}/page/data/{data_files.file_name(key)}"
    return base / file, *sweep_file(results, key, packed.OWN, name, base, file, moments, data, anew)


def _index_of_all(base):
    """The index of all own sweeps that have a data file, and are still there."""
    heads = map(data_files.read_head, sorted((base / packed.OWN / "page" / "data").glob("*.js")))
    return _index([entry for entry in heads if entry and (base / packed.OWN / entry["name"]).is_dir()])


def _index(entries):
    """The text of the index: a study a sweep."""
    studies = [
        {"key": entry["key"], "title": entry["name"], "question": "", "answer": "", "sweeps": [entry]}
        for entry in sorted(entries, key=lambda entry: entry["key"])
    ]
    return data_files.index_text(studies, own=True)
