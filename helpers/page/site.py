"""The page of a folder of results: its files as they should be now, written or checked.

index.html, page/ (style, scripts, libraries), page/studies.js and page/data/*.js. What is not made any more is removed.
"""

import zlib
from importlib import import_module
from pathlib import Path

from helpers import files, packed
from helpers.gallery.studies import read_studies
from helpers.page import data_files, sweeps
from helpers.page.moments import Moments
from helpers.page.studies import index, key_of

APP = Path(__file__).with_name("app")
INPUTS = (".csv", ".json", ".xz", ".gz", ".bz2", ".zip", ".npz")  # what the data of a study may be read from
WRONG = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, EOFError, zlib.error)
OURS = (".js", ".css", ".txt")  # what is removed where it is not made any more
# Studies with a view of their own: the module that finds its data, `find(root)`: [{key, study, kind, title, content}],
# or {damaged: a sentence} for a folder that cannot be read
PARTS = {"landscapes": "surfaces", "splines": "gradients", "paths": "paths", "stitching": "stitching"}
HERE = Path(__file__).parent
CODE = ("sweeps.py", "layer_numbers.py", "expectations.py", "data_files.py")
# what a sweep's data is made of
LOGS = ("manifest.json", "summary.csv", "runs.json", *(f"runs{kind}" for kind in (packed.ENDING, packed.EARLIER, "")))


class Files:
    """Some files as they should be.

    root     the folder in whose page/ they lie
    moments  `Moments`, whose file is one of them
    texts    {path: its text or bytes; None for a file that is up to date as it is}
    damaged  a sentence on each file of results that cannot be read, and so is left out
    """

    def __init__(self, root, moments):
        self.root, self.moments, self.texts, self.damaged = Path(root), moments, {}, []

    def stale(self):
        """{path: its text or bytes} of what is not as it should be; None for a file that should not be there."""
        differ = {path: text for path, text in self.texts.items() if text is not None and not _holds(path, text)}
        there = sorted(path for path in (self.root / "page").rglob("*") if path.suffix in OURS and path.is_file())
        return differ | {path: None for path in there if path not in self.texts}

    def write(self):
        """Write what is stale, and return the paths. Raises OSError."""
        stale = self.stale()
        for path, text in stale.items():
            if text is None:
                path.unlink()
            elif path == self.moments.path:
                self.moments.write()
            else:
                files.write_whole(path, text)
        return list(stale)


class Site(Files):
    """The page of a folder of results.

    anew  whether all is made again, also of results that have not changed, and data sets are loaded for it
    """

    def __init__(self, root, anew=False):
        super().__init__(root, Moments(root, anew))
        self.anew = anew
        studies = read_studies(root)
        found = {study.name: [*self._sweeps(study)] for study in studies}
        parts = {name: self._parts(name) for name in PARTS if (self.root / name).is_dir()}
        self.damaged += [sentence for study in studies for sentence in study.damaged]
        shown = [study for study in studies if study.shows_something or study.damaged]
        self._keep("page/studies.js", data_files.index_text(index(shown, root, found, parts)))
        self._keep("page/moments.json", self.moments.text())
        for path, content in app_files().items():
            self._keep(path, content)

    def _keep(self, path, content):
        self.texts[self.root / path] = content

    def _sweeps(self, study):
        """The entries of a study's sweeps; their data files go to `texts`."""
        for name, results in study.sweeps.items():
            key = key_of(study.name, name)
            file = f"page/data/{data_files.file_name(key)}"
            try:
                text, entry = sweep_file(results, key, study.name, name, self.root, file, self.moments, anew=self.anew)
            except WRONG as error:
                self.damaged.append(left_out(results.folder, error))
                continue
            self._keep(file, text)
            self.damaged += entry["damaged"]
            yield entry

    def _parts(self, study):
        """The entries of a study's other data; their files go to `texts`."""
        module = PARTS[study]
        inputs = sorted(path for path in (self.root / study).rglob("*") if _is_input(path))
        stamp = data_files.made_from(inputs, code(f"{module}.py", "packing.py", "data_files.py"))
        there = [] if self.anew else sorted((self.root / "page" / "data").glob(f"{study}.*.js"))
        heads = [data_files.read_head(path, stamp) for path in there]
        known = sorted((head for head in heads if head and "place" in head), key=lambda entry: entry["place"])
        if known and known[0]["parts"] == len(known):
            for entry in known:
                self._keep(entry["file"], None)
            return known
        try:
            return [*self._new_parts(import_module(f"helpers.page.{module}").find(self.root), stamp)]
        except WRONG as error:
            self.damaged.append(left_out(self.root / study, error))
            return []

    def _new_parts(self, found, stamp):
        for place, part in enumerate(found):
            if "damaged" in part:  # counted all the same: what has no file is looked for again
                self.damaged.append(part["damaged"])
                continue
            file = f"page/data/{data_files.file_name(part['key'])}"
            entry = {name: part[name] for name in ("key", "kind", "title")}
            entry |= {"file": file, "place": place, "parts": len(found)}
            self._keep(file, data_files.text_of(part["key"], part["content"], entry, stamp))
            yield entry


def sweep_file(results, key, study, name, root, file, moments, data=None, anew=False):
    """(text of a sweep's data file, what the index says of it); None for the text where the file is up to date.

    root     the folder that paths count from, `file` among them
    moments  `Moments`
    data     the Data of the sweep, where it is in memory
    anew     whether it is made also where it is up to date
    """
    known = moments.of(results.manifest, data)
    inputs = [results.folder / part for part in LOGS]
    stamp = data_files.made_from(inputs, f"{key}\n{study}\n{name}\n{file}", repr(known), code(*CODE))
    if not anew and (entry := data_files.read_head(root / file, stamp)) is not None:
        return None, entry
    from helpers.page.expectations import expected  # with torch, which a page that is up to date does without

    every_epoch = study == packed.OWN  # which is not published, and may take more room
    content = sweeps.sweep_data(results, key, study, name, root, known and expected(results, known), every_epoch)
    entry = sweeps.sweep_entry(results, key, name, file) | {"damaged": content["damaged"]}
    return data_files.text_of(key, content, entry, stamp), entry


def app_files():
    """{path: bytes} of the page itself: index.html beside page/, all else in it."""
    found = {path.relative_to(APP).as_posix(): path for path in sorted(APP.rglob("*")) if path.is_file()}
    return {name if name == "index.html" else f"page/{name}": path.read_bytes() for name, path in found.items()}


def code(*names):
    """A checksum of modules of this room, those that are there."""
    return data_files.made_from([HERE / name for name in names])


def _is_input(path):
    hidden = any(part.startswith(".") for part in path.parts)
    return path.is_file() and path.suffix in INPUTS and not hidden


def _holds(path, text):
    content = text.encode() if isinstance(text, str) else text
    return path.is_file() and path.read_bytes() == content


def left_out(place, error):
    return f"{place} is left out of the page: {' '.join(str(error).split()) or type(error).__name__}"
