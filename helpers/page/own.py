"""One's own sweeps, below results/local/, in the page: their data lie in results/local/page/, and are never published.

results/index.html loads results/local/page/studies.js where it is there. A sweep that has finished adds its data, and a
batch those of the other studies. The index names what else lies in a folder as well: pictures, CSVs, the executed
notebook.
"""

import zlib
from functools import lru_cache
from importlib import import_module
from itertools import product
from pathlib import Path
from urllib.parse import quote

from helpers import ROOT, files, packed, records
from helpers.gallery.pictures import sentence_of
from helpers.notebooks import PICTURES
from helpers.page import data_files
from helpers.page.moments import Moments
from helpers.page.site import WRONG, Files, app_files, left_out, sweep_file
from helpers.page.studies import key_of
from helpers.page.sweeps import relative

RESULTS = ROOT / "results"
VIEWS = {  # kind of a view: the module that makes its data, and what lies in a folder that has it
    "surfaces": ("surfaces", "measures.csv"),
    "gradients": ("gradients", "*/experiment.json"),
    "paths": ("paths", "along.csv*"),
    "stitching": ("stitching", "models.csv"),
}
NUMBERS = (".csv", ".csv.bz2", ".csv.gz", ".csv.xz")


def is_own(root):
    """Whether a folder is that of one's own sweeps."""
    return Path(root).resolve() == (RESULTS / packed.OWN).resolve()


def is_own_sweep(folder, base=None):
    """Whether a folder lies in that of one's own sweeps."""
    home, folder = (Path(RESULTS if base is None else base) / packed.OWN).resolve(), Path(folder).resolve()
    return folder != home and folder.is_relative_to(home)


class OwnSite(Files):
    """The data of all own sweeps, and the index of them: as `site.Site`, of results/local/.

    root  that folder
    """

    def __init__(self, root, anew=False):
        super().__init__(root, Moments(root, anew, beside=Path(root).parent))
        self.base, entries = self.root.parent, []
        for name, folder in records.find_sweeps(self.base).get(packed.OWN, {}).items():
            try:
                file, text, entry = _file_of(records.load_sweep(folder), self.base, self.moments, anew=anew)
            except WRONG as error:
                self.damaged.append(left_out(self.root / name, error))
                continue
            self.texts[file] = text
            entries.append(entry)
        for folder in sorted({path for depth in ("*", "*/*") for path in self.root.glob(depth) if path.is_dir()}):
            try:
                found = _part_of(folder, self.base)
            except WRONG as error:
                self.damaged.append(left_out(folder, error))
                continue
            if found is not None:
                self.texts[found[0]] = found[1]
                entries.append(found[2])
        self.texts[self.moments.path] = self.moments.text()
        self.texts[self.root / "page" / "studies.js"] = _index(entries, self.base)


def add(results, data=None, base=None):
    """Write the data of an own sweep, and name it in the index. Returns a link to it; None for any other sweep.

    data  the Data it was trained on; without it there may be no forecast
    base  the folder of all results; ours where left out
    """
    base = Path(RESULTS if base is None else base)
    home = (base / packed.OWN).resolve()
    if not is_own_sweep(results.folder, base):
        return None
    moments = Moments(home, beside=base)
    file, text, entry = _file_of(results, base, moments, data)
    if text is not None:
        files.write_whole(file, text)
    moments.write()
    refresh(base)
    for path, content in app_files().items():
        if not (base / path).exists():
            files.write_whole(base / path, content)
    page = (base / "index.html").resolve()
    page = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page
    return f"{page}{_fragment(entry['key'])}"


def add_study(folder, base=None):
    """Write the data of a study of one's own that is no sweep (surfaces, gradients, ...); of other folders nothing."""
    base = Path(RESULTS if base is None else base)
    found = _part_of(Path(folder), base) if is_own_sweep(folder, base) else None
    if found is not None:
        files.write_whole(*found[:2])
        refresh(base)


def _part_of(folder, base):
    """(path of a data file, its text, its entry in the index) of a study that is no sweep; None where it is none."""
    kind = next((kind for kind, (_, sign) in VIEWS.items() if any(folder.glob(sign))), None)
    content = None if kind is None else import_module(f"helpers.page.{VIEWS[kind][0]}").data_of(folder)
    if not content:
        return None
    name = relative(folder, base / packed.OWN)
    key = _key(name, kind)
    file = f"{packed.OWN}/page/data/{data_files.file_name(key)}"
    entry = {"key": key, "name": name, "kind": kind, "title": content.get("data", folder.name), "file": file}
    return base / file, data_files.text_of(key, content, entry, made_from=""), entry


def refresh(base=None):
    """Write the index anew, which names the pictures, CSVs and notebooks that lie in the folders by now."""
    base = Path(RESULTS if base is None else base)
    index, written = base / packed.OWN / "page" / "studies.js", None
    while written != (written := _index_of_all(base)):  # once more where another sweep has added itself meanwhile
        files.write_whole(index, written)


def refresh_if_there():
    """`refresh`, where a sweep has added itself."""
    if (RESULTS / packed.OWN / "page" / "data").is_dir():
        refresh()


def address_of(folder, base=None):
    """Where the page shows a folder of one's own, as a browser and a terminal take it (file://...); None: nowhere."""
    base = Path(RESULTS if base is None else base).resolve()
    if not is_own_sweep(folder, base):
        return None
    key = key_of(packed.OWN, relative(Path(folder), base / packed.OWN))
    if key not in {key_of(packed.OWN, entry["name"]) for entry in _entries(base)}:
        return None
    return f"{(base / 'index.html').as_uri()}{_fragment(key)}"


def files_of(folder):
    """{what: paths} of the files that a study has left in a folder, as a reader wants them.

    Pictures come in the order in which they were drawn, which is that of the notebook. Those that a notebook keeps
    beside its sweep, in <folder>_figures/, are there, too.
    """
    homes = [folder, folder.with_name(f"{folder.name}_figures")]
    found = [path for home in homes for kind in PICTURES for path in home.glob(f"figures/*.{kind}")]
    return {
        "notebooks": [path for path in sorted(folder.glob("*.ipynb")) if ".failed" not in path.suffixes],
        "csvs": [path for home in homes for path in sorted(home.glob("*.csv*")) if path.name.endswith(NUMBERS)],
        "pictures": sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name)),
    }


def _file_of(results, base, moments, data=None, anew=False):
    """(path of an own sweep's data file, its text or None where it is up to date, its entry in the index)."""
    name = relative(results.folder, base / packed.OWN)
    key = _key(name)
    file = f"{packed.OWN}/page/data/{data_files.file_name(key)}"
    return base / file, *sweep_file(results, key, packed.OWN, name, base, file, moments, data, anew)


def _key(name, kind=None):
    """The key of what lies in a folder: of its sweep, or of its view of some kind."""
    key = key_of(packed.OWN, name)
    return key if kind is None else f"{key}~{kind}"  # as no sweep's key has it


def _fragment(key):
    return f"#study={quote(key, safe='')}"


def _entries(base):
    """What the index says of all own sweeps that have a data file, and are still there.

    Of a file that is damaged: {name, lack: a sentence}.
    """
    home, found = base / packed.OWN, {}
    for path in sorted((home / "page" / "data").glob("*.js")):
        entry = _head(path, path.stat().st_mtime_ns, path.stat().st_size) or _lack(path, home)
        if not entry or not (home / entry["name"]).is_dir():
            continue
        what = entry["name"], entry.get("kind")
        if what not in found or entry.get("key") == _key(*what):  # or else it is a file of an earlier key
            found[what] = entry
    return [*found.values()]


@lru_cache(maxsize=4096)
def _head(path, changed, size):  # after every cell of a notebook, which changes few of them
    return data_files.read_head(path)


def _lack(path, home):
    """{name, kind, lack} of a damaged data file: whose it is its own name says; None where that folder is gone."""
    folders = (folder for depth in ("*", "*/*", "*/*/*") for folder in home.glob(depth) if folder.is_dir())
    names = [relative(folder, home) for folder in folders]
    for name, kind in product(names, (None, *VIEWS)):
        if data_files.file_name(_key(name, kind)) == path.name:
            file = f"{packed.OWN}/page/data/{path.name}"
            lack = f"{file} is damaged; `python -m helpers.page results/{packed.OWN}` writes it anew"
            return {"name": name, "lack": lack} | ({} if kind is None else {"kind": kind})
    return None


def _index_of_all(base):
    return _index(_entries(base), base)


def _index(entries, base):
    """The text of the index: a study a folder."""
    names = sorted({entry["name"] for entry in entries}, key=lambda name: key_of(packed.OWN, name))
    studies = [_study(name, [entry for entry in entries if entry["name"] == name], base) for name in names]
    return data_files.index_text(studies, own=True)


def _study(name, entries, base):
    found = files_of(base / packed.OWN / name)
    return {
        "key": key_of(packed.OWN, name),
        "title": name,
        "question": "",
        "answer": "",
        "sweeps": [entry for entry in entries if "lack" not in entry and "kind" not in entry],
        "parts": [entry for entry in entries if "lack" not in entry and "kind" in entry],
        "damaged": [entry["lack"] for entry in entries if "lack" in entry],
        **{what: [relative(path, base) for path in found[what]] for what in ("notebooks", "csvs")},
        "pictures": [
            {"file": relative(path, base), "sentence": said}
            for path in found["pictures"]
            if (said := _said(path)) is not None
        ],
    }


def _said(path):
    """The sentence in a picture; None for one that cannot be read, as while it is written."""
    try:
        return sentence_of(path)
    except (ValueError, OSError, EOFError, zlib.error):
        return None
