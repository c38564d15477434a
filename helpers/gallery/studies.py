"""The studies of results/, read from what is on disk.

A study is a folder of results/ with a sweep, pictures or CSVs in it; `local`, the user's own, is left out. Its pictures
lie in its `figures/`, in those of the folders in it and, where the study has a folder of its own beside results/, in
`<study>/figures/`. They come in the order in which its executed notebook shows them, under that notebook's headings;
the sentence of each is the one that lies in the file, where `figures.save` has put it. Animations are pictures too.
"""

import re
import subprocess
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from helpers import manifests, packed, records
from helpers.gallery import damage, questions
from helpers.gallery.pictures import sentence_of
from helpers.notebooks import PICTURES, read_notebook, shown_pictures

MANIFEST_TEXTS = ("title", "question", "answer", "note", "device", "machine", "finished", "made", "started")
SHORT = 40  # rows of a compressed CSV that are read


@dataclass(frozen=True)
class StudyFolder:
    """One folder of results.

    title            its question in short, as `questions` or its manifest has it; else the heading of its notebook
    question         a longer one, in Markdown: of its manifest, or the first sentence of its notebook; may be empty
    short, answer    what it found, as `questions` computes it: in at most 15 words, and in a sentence or two; `answer`
                     is else its manifest's; both may be empty
    manifest         of the study; where it has none, of its first sweep
    sweeps           {name: SweepResults}
    notebooks        paths
    csvs             {path: its content}; the runs' own CSVs are not among them
    logs             {folder, or archive, of the runs' own CSVs that others can see as well: their names}
    sections         {heading: paths of pictures}
    damaged          a sentence on each file that cannot be read, and so is left out
    """

    name: str
    folder: Path
    title: str
    question: str
    short: str
    answer: str
    manifest: dict
    sweeps: dict
    notebooks: list
    csvs: dict
    logs: dict
    sections: dict
    damaged: list

    @property
    def shows_something(self):
        return bool(self.sweeps or self.sections or self.csvs)

    @property
    def pictures(self):
        return [path for paths in self.sections.values() for path in paths]

    @property
    def page(self):
        return self.folder / "README.md"


def read_studies(root="results"):
    """All studies under `root` that are for others to see: in the order of QUESTIONS, then others, sweeps first."""
    sweeps = records.find_sweeps(root)
    folders = [path for path in sorted(Path(root).iterdir()) if path.is_dir() and path.name != "local"]
    studies = [read_study(folder, sweeps.get(folder.name, {})) for folder in folders if folder.name[0] != "."]
    found = [study for study in studies if study.shows_something or study.damaged]
    order = list(questions.QUESTIONS)
    known = {study.name: order.index(study.name) for study in found if study.name in order}
    return sorted(found, key=lambda study: (known.get(study.name, len(order)), not study.sweeps))


def read_study(folder, sweeps):
    """One study from its folder; `sweeps` are its sweeps' folders by name, as `records.find_sweeps` lists them."""
    drawn = [path.parent for path in sorted(folder.glob("[!.]*/figures"))]
    damaged, homes = [], list(dict.fromkeys([folder, *sorted([*sweeps.values(), *drawn])]))
    beside = folder.resolve().parents[1] / folder.name

    def found(pattern, read, folders):
        return _readable([path for home in folders for path in sorted(home.glob(pattern))], read, damaged)

    notebooks = found("*.ipynb", _read_executed, homes)
    notebooks = {path: content for path, content in notebooks.items() if ".failed" not in path.suffixes}
    csvs = found("*.csv", _read_csv, [*homes, beside]) | found("*.csv.[bg]z*", _read_csv, homes)
    pictures = [path for kind in PICTURES for path in found(f"figures/*.{kind}", sentence_of, [*homes, beside])]
    by_folder = _readable(sweeps.values(), _load_sweep, damaged)
    loaded = {name: by_folder[path] for name, path in sweeps.items() if path in by_folder}
    own = _readable([] if folder in sweeps.values() else [folder], _read_manifest, damaged).get(folder)
    manifest = own or next((results.manifest for results in loaded.values()), {})
    title, question = _title(notebooks.values())
    asked = questions.QUESTIONS.get(folder.name)
    study = StudyFolder(
        name=folder.name,
        folder=folder,
        title=asked.title if asked else manifest.get("title") or title or folder.name,
        question=manifest.get("question") or ("" if asked else question),
        short="",
        answer=manifest.get("answer") or "",
        manifest=manifest,
        sweeps=loaded,
        notebooks=list(notebooks),
        csvs=csvs,
        logs=_readable(filter(_seen_by_others, _logs_of(loaded.values())), _names, damaged),
        sections=_sections(notebooks, pictures),
        damaged=damaged,
    )
    return _answered(study)


def _answered(study):
    """A study with its answer computed; where its files do not hold what that needs, `damaged` gets a sentence."""
    try:
        short, answer = questions.answer_of(study)
    except Exception as error:
        if not damage.of_files(error):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        study.damaged.append(f"{study.folder}: its answer is left out, which its files do not give ({text})")
        return study
    return replace(study, short=short, answer=answer or study.answer)


def _read_executed(path):
    """An executed notebook whose pictures can be read."""
    notebook = read_notebook(path)
    list(shown_pictures(path, notebook))
    return notebook


def _load_sweep(folder):
    results = records.load_sweep(folder)
    _check_manifest(results.manifest, folder)
    return results


def _read_manifest(folder):
    manifest = manifests.read(folder)
    if manifest is not None:
        _check_manifest(manifest, folder)
    return manifest


def _check_manifest(manifest, folder):
    """Raise ValueError where what the pages show of a manifest is not of the form in which it is written."""
    origins = manifest.get("origins", []) if isinstance(manifest, dict) else None
    for part in [manifest, *origins] if isinstance(origins, list) else [None]:
        fits = isinstance(part, dict) and isinstance(part.get("versions", {}), dict)
        texts = (
            [part.get(key) or "" for key in MANIFEST_TEXTS] + list(part.get("versions", {}).values()) if fits else []
        )
        if not fits or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{folder / 'manifest.json'} does not hold what a manifest holds")


def _readable(paths, read, damaged):
    """{path: what `read` makes of it}; of one that cannot be read a sentence goes to `damaged`."""
    contents = {}
    for path in paths:
        try:
            contents[path] = read(path)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            damaged.append(f"{path} is left out: {' '.join(str(error).split())}")
    return contents


def _read_csv(path):
    """The table, of a compressed one its first rows: it is long, and none of it is shown."""
    rows = SHORT + 1 if path.suffix != ".csv" else None
    return pd.read_csv(path, dtype=str, keep_default_na=False, nrows=rows)


def _logs_of(sweeps):
    """Where the runs' own CSVs of some sweeps may lie, in the order of their paths."""
    folders = [results.folder / "runs" for results in sweeps]
    return sorted(path for folder in folders for path in (folder, packed.pack_of(folder)))


def _names(logs):
    """The names of the runs in a folder or an archive."""
    if logs.is_dir():
        return {path.stem for path in logs.glob("*.csv")}
    return {name.removesuffix(".csv") for name in packed.packed_names(packed.folder_of(logs))}


def _seen_by_others(path):
    """Whether something is there and not ignored by git: a link to what is ignored would lead others nowhere."""
    if not path.exists():
        return False
    command = ["git", "-C", str(path.parent), "check-ignore", "--quiet", str(path.resolve())]
    try:
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode != 0  # 128: no repository
    except FileNotFoundError:  # no git on this machine
        return True


def _title(notebooks):
    """(first heading, first sentence under it) of the first notebook that has a heading; empty texts for none."""
    for notebook in notebooks:
        text = "\n\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
        found = re.search(r"^#+ +(.+)\n*((?:.+\n?)*)", text, re.MULTILINE)
        if found:
            under = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(found[2].split()))  # its links lead elsewhere here
            # a full stop ends a sentence, but not after an abbreviation such as et al.
            return found[1].strip(), re.match(r"(.*?(?<!\bal)(?<!\bcf)[.?!](?=\s|$)|.*)", under)[0]
    return "", ""


def _sections(notebooks, pictures):
    """{heading: pictures}: as the notebooks show them, sections that are numbered in their order; then those that none
    shows.
    """
    by_content, sections = {path.read_bytes(): path for path in reversed(pictures)}, {}
    for path, notebook in notebooks.items():
        for heading, content in _shown(path, notebook):
            if content in by_content:
                sections.setdefault(heading, []).append(by_content.pop(content))
    if all(re.match(r"\d+ ", heading) for heading in sections):  # of several notebooks one may lack some
        sections = dict(sorted(sections.items(), key=lambda section: int(section[0].split()[0])))
    shown = {path for paths in sections.values() for path in paths}
    left = [path for path in pictures if path not in shown]
    return {**sections, **({"More pictures" if sections else "Pictures": left} if left else {})}


def _shown(path, notebook):
    """Every picture that an executed notebook shows: (the nearest heading above it, its bytes)."""
    headings = [path.stem]
    for cell in notebook["cells"]:
        found = re.findall(r"^#+ +(.+)", cell["source"], re.MULTILINE) if cell["cell_type"] == "markdown" else []
        headings.append([headings[-1], *found][-1])
    return [(headings[i + 1], content) for i, content in shown_pictures(path, notebook)]
