"""results/README.md and one page a study, written from what is on disk: for a reader who has installed nothing.

    python -m helpers.gallery            write the pages
    python -m helpers.gallery --check    only say which are stale, and which pictures have no sentence

A study is a folder of results/ with a sweep, pictures or CSVs in it; `local`, the user's own, is left out. Its pictures
lie in its `figures/`, in those of the folders in it and, where the study has a folder of its own beside results/, in
`<study>/figures/`. They come in the order in which its executed notebook shows them, under that notebook's headings;
the sentence of each is the one that lies in the file, where `figures.save` has put it. Animations are pictures too.
"""

import argparse
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from PIL import Image

from helpers import files, manifests, packed, records, words
from helpers.notebooks import PICTURES, read_notebook, shown_pictures
from helpers.progress import say
from helpers.sweep import findings, tables

OVERVIEW = ("accuracy_map", "effect_of_the_factor")  # pictures for the overview; of a study without them, the first one
MANIFEST_TEXTS = ("title", "question", "answer", "note", "device", "machine", "finished", "made", "started")
BEST = 10  # so many combinations are listed as the best
SHORT, NARROW = 40, 20  # a CSV of at most so many rows and columns is shown in full
COUNTS = ["runs", "left the plateau", "learned", "crashed", "diverged", "highest test accuracy"]
WORDS = (
    "A *run* is one network from birth to its last epoch. It has *left the plateau* when its train accuracy was, after "
    "any epoch, at least halfway between always guessing the commonest class and 1, *learned* when it is so after the "
    "last, *crashed* when it had left the plateau and has not learned, and *diverged* when its loss became infinite or "
    "no number. Accuracies are those of the last epoch. Where there are several seeds, they are means over them, and "
    "what follows `+-` is their standard deviation."
)
UNKNOWN = "unknown"  # where the logs of runs that had not learned were not kept
WRITTEN = "*Written by `make gallery` from the files in this folder; what is changed here by hand is overwritten.*"


@dataclass(frozen=True)
class StudyFolder:
    """One folder of results.

    title, question  what its manifest gives under these names, or the heading of its notebook and the first sentence
                     under it, in Markdown
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
    def heading(self):
        return plain(self.name) + ("" if self.title == self.name else f": {self.title}")

    @property
    def answer(self):
        """What the study found, in a sentence, where its manifest says it."""
        return f"**Found.** {plain(self.manifest['answer'])}" if (self.manifest or {}).get("answer") else ""

    @property
    def page(self):
        return self.folder / "README.md"


# ---- reading what is there


def find_studies(root="results"):
    """All studies under `root` that are for others to see: those with sweeps first, each kind in alphabetical order."""
    sweeps = records.find_sweeps(root)
    folders = [path for path in sorted(Path(root).iterdir()) if path.is_dir() and path.name != "local"]
    studies = [read_study(folder, sweeps.get(folder.name, {})) for folder in folders if folder.name[0] != "."]
    found = [study for study in studies if study.shows_something or study.damaged]
    return sorted(found, key=lambda study: not study.sweeps)


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
    study = StudyFolder(
        name=folder.name,
        folder=folder,
        title=manifest.get("title") or title or folder.name,
        question=manifest.get("question") or question,
        manifest=manifest,
        sweeps=loaded,
        notebooks=list(notebooks),
        csvs=csvs,
        logs=_readable(filter(_seen_by_others, _logs_of(loaded.values())), _names, damaged),
        sections=_sections(notebooks, pictures),
        damaged=damaged,
    )
    return study if _can_be_written(study) else replace(study, manifest={}, sweeps={}, sections={}, csvs={})


def _can_be_written(study):
    """Whether a study's page and its part of the overview can be made; where not, `damaged` gets a sentence."""
    try:
        paragraphs([study_page(study, study.page), *_overview_of(study, study.folder.parent / "README.md")]).encode()
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        study.damaged.append(f"{study.folder} is left out: its files do not hold what a study writes ({text})")
        return False
    return True


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


def sentence_of(picture):
    """The sentence that lies in a PNG or GIF, or an empty text. Raises ValueError, OSError for what is no picture."""
    try:
        with Image.open(picture) as image:
            gif = image.format == "GIF"
            text = image.info.get("comment", b"").decode(errors="replace") if gif else image.info.get("Description", "")
            return text.strip()
    except (SyntaxError, EOFError, zlib.error, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"it is no picture that can be read: {error}") from error


# ---- Markdown


def plain(text):
    """A text on one line, in which no sign means anything to Markdown."""
    return re.sub(r"([\\`*<>\[\]|$~#]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(str(text).split()))


def link(text, target, page):
    """A link from a page to a file or folder, relative to the page."""
    return f"[{text}]({quote(_relative(target, page))})"


def _relative(target, page):
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


def bullets(lines):
    return "\n".join(f"- {line}" for line in lines)


def folded(summary, content):
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"


def paragraphs(parts):
    return "\n\n".join(part for part in parts if part) + "\n"


# ---- what both kinds of page say of a study


def _picture(path, study, page):
    """A picture with its sentence under it."""
    name = plain(f"{study.name}: {path.stem.replace('_', ' ')}")
    return f"!{link(name, path, page)}\n\n{plain(sentence_of(path))}".strip()


def _facts(study, page):
    """Settings and origin of each sweep in a line, then the links to the executed notebooks and to the CSVs."""
    for name, results in study.sweeps.items():
        which = f" of {plain(name)}" if len(study.sweeps) > 1 else ""
        yield f"Settings{which}: {plain(findings.settings(results))}; trained on {_origin(results.manifest)}"
    if _origin(study.manifest) and not study.sweeps:
        yield f"Made on {_origin(study.manifest)}"
    if study.manifest.get("note"):
        yield f"Note: {plain(study.manifest['note'])}."
    if study.notebooks:
        yield f"Executed notebook: {', '.join(link(plain(path.name), path, page) for path in study.notebooks)}"
    yield f"Numbers: {', '.join(link(plain(_relative(path, study.page)), path, page) for path in _numbers(study))}"


def _origin(manifest):
    """Device, machine, torch and date, as far as a manifest has them."""
    torch = f"torch {manifest['versions']['torch']}" if "torch" in manifest.get("versions", {}) else ""
    when = next((manifest[key] for key in ("finished", "made", "started") if manifest.get(key)), "")
    return ", ".join(
        plain(part) for part in (manifest.get("device"), manifest.get("machine"), torch, when[:10]) if part
    )


def _numbers(study):
    """Paths: the CSVs, the manifests, surfaces that are packed, and the folders or archives of the runs' own CSVs."""
    homes = list(dict.fromkeys([study.folder, *(results.folder for results in study.sweeps.values())]))
    more = [home / "manifest.json" for home in homes] + sorted(study.folder.glob(f"**/surfaces{packed.ENDING}"))
    return [*study.csvs, *(path for path in more if path.is_file()), *sorted(study.logs)]


def _counts(sweeps, **fixed):
    """Cells of a table, as named in COUNTS, for the runs with these values; blanks where there is none."""
    runs = [results.select(**fixed) for results in sweeps]
    if not sum(map(len, runs)):
        return [""] * len(COUNTS)
    rows = pd.concat(runs)
    left, learned, diverged = records.has_left(rows), rows.learned.sum(), rows.diverged.sum()
    known = [left.sum(), (left & ~rows.learned).sum()] if left.notna().all() else [UNKNOWN, UNKNOWN]
    cells = pd.concat([tables.cells(results, **fixed) for results in sweeps])
    best = cells.test_acc[cells.diverged == 0].max()
    best = "" if np.isnan(best) else f"{best:.3f}"
    return [len(rows), known[0], learned, known[1], diverged, best]


# ---- the overview


def overview(studies, page):
    """results/README.md: what there is, and of each study its question, one picture and the way to the rest."""
    intro = (
        "Each study below has its question, its most telling picture with a sentence that is computed from the "
        f"results, and the way to every number behind it. {WORDS}"
    )
    rows = [["study", "question", *COUNTS]]
    for study in studies:
        name, question = link(plain(study.name), study.page, page), in_table(study.question)
        rows.append([name, question, *_counts(study.sweeps.values())])
    sections = [part for study in studies for part in _overview_of(study, page)]
    return paragraphs(["# What was found", intro, table(rows), *sections, WRITTEN])


def _overview_of(study, page):
    yield f"## {study.heading}"
    yield study.question
    yield study.answer
    yield from (
        _picture(path, study, page) for path in sorted(study.pictures, key=lambda path: path.stem not in OVERVIEW)[:1]
    )
    count = f" with {len(study.pictures)} pictures" if len(study.pictures) > 1 else ""
    yield bullets([f"**{link(f'All of {plain(study.name)}', study.page, page)}**{count}", *_facts(study, page)])


# ---- one study


def study_page(study, page):
    """results/<study>/README.md: all pictures, the best and the counts, where they come from, and every CSV."""
    parts = [
        f"# {study.heading}",
        link("All studies", page.parents[1] / "README.md", page),
        study.question,
        study.answer,
        bullets(_facts(study, page)),
        WORDS if study.sweeps else "",
    ]
    for heading, paths in study.sections.items():
        parts += [f"## {heading}", *(_picture(path, study, page) for path in paths)]
    for name, results in study.sweeps.items():
        of = f" of {plain(name)}" if len(study.sweeps) > 1 else ""
        parts += [f"## The best{of}", *_best(results)]
        parts += [f"## How many learned{of}", table(_counts_by_axis(results))]
        parts += [f"## Where the numbers{of} come from", *_provenance(results, page)]
        parts += _logs(results, study.logs, page)
    parts += _short_csvs(study, page)
    if not study.sweeps and (rows := _rows_of_manifest(study.manifest or {})):
        parts += ["## Where the numbers come from", table([["key", "value"], *rows])]
    return paragraphs([*parts, WRITTEN])


def _best(results):
    """The combinations with the highest test accuracy, of those that learned in every seed."""
    cells = tables.cells(results)
    always = cells[cells.learned == cells.seeds].sort_values("test_acc", ascending=False, kind="stable")
    if always.empty:
        yield "No combination learned in every seed."
        return
    within = "test accuracy over the last epochs"
    rows = [[*always.index.names, "test accuracy", within, "train accuracy", "epochs to 95 % of own peak"]]
    for axes, cell in list(zip(always.index, always.itertuples(), strict=True))[:BEST]:
        test, train = words.mean(cell.test_acc, cell.test_acc_std), words.mean(cell.train_acc, cell.train_acc_std)
        runs = results.select(**dict(zip(always.index.names, axes, strict=True))).run
        last = tables.last_epochs(results, runs)
        last = "" if last is None else f"{words.span(last, '.3f')} ({last.shape[1]} epochs)"
        rows.append([*map(plain, axes), test, last, train, words.mean(cell.epochs, cell.epochs_std, ".2f")])
    yield (
        f"{len(always)} of {len(cells)} finished combinations learned in every seed; of these the most accurate at the "
        "last epoch:"
    )
    yield table(rows)


def _counts_by_axis(results):
    """Rows of a table: the counts of all runs, and of every value of each axis that has several."""
    rows = [["", *COUNTS], ["**all**", *_counts([results])]]
    for axis in ("activation", "init", "layers", *records.SETTINGS, "seed"):
        values = results.summary[axis].unique() if axis in results.summary else []
        if len(values) > 1:
            rows += [[f"{axis} {plain(value)}", *_counts([results], **{axis: value})] for value in values]
    return rows


def _provenance(results, page):
    """What made the numbers of a sweep, and its CONFIG."""
    yield table([["key", "value"], *_rows_of_manifest(results.manifest)])
    config = [[key, in_table(code(json.dumps(value)))] for key, value in results.config.items()]
    yield folded("CONFIG, completed", table([["key", "value"], *config]))


def _logs(results, logs, page):
    """The CSV of every run: links to files, and how to open what is packed."""
    folder = results.folder / "runs"
    for path in (folder, packed.pack_of(folder)):
        rows = [row for row in results.summary.itertuples() if row.run in logs.get(path, ())]
        some = "each" if len(rows) == len(results.summary) else f"{len(rows)}"
        what = f"The CSV of {some} of {len(results.summary)} runs: a row an epoch, with the statistics of every layer"
        if rows and path == folder:
            yield folded(what, _run_table(results, rows, page))
        elif rows:
            place = path.resolve().relative_to(page.parents[1].resolve().parent)
            yield f"{what}, in {link(path.name, path, page)}; `make unpack` makes files of them, and pandas reads one:"
            yield f"```python\n{one_line(place, rows[0].run)}\n```"


def one_line(pack, run):
    """The line of pandas that reads the CSV of a run out of an archive."""
    return f'pd.read_csv(tarfile.open("{pack.as_posix()}").extractfile("{run}.csv"))'


def _rows_of_manifest(manifest):
    """What a manifest says beside CONFIG, as rows of a table: versions, device, machine, dates."""
    shown = ("note", "title", "question", "answer")  # elsewhere on the page
    values = {key: plain(value) for key, value in manifest.items() if isinstance(value, str | int) and key not in shown}
    values |= {key: f"{value:.6g}" for key, value in manifest.items() if isinstance(value, float)}
    if manifest.get("versions"):
        values["versions"] = plain(", ".join(f"{name} {number}" for name, number in manifest["versions"].items()))
    if len(manifest.get("origins", [])) > 1:
        values["trained in parts on"] = "; ".join(map(_origin, manifest["origins"]))
    return [[key.replace("_", " "), value] for key, value in values.items()]


def _run_table(results, rows, page):
    """Links to runs: a row an activation and init, a column a depth, a link a seed (and learning rate)."""
    depths, links = sorted({row.layers for row in rows}), {}
    for row in rows:
        text = " ".join([f"s{row.seed}", *tables.settings_of(results, row._asdict())])
        by_depth = links.setdefault((row.activation, row.init), {depth: [] for depth in depths})
        by_depth[row.layers].append(link(text, results.run_file(row.run), page))
    body = [[*map(plain, names), *map(" ".join, by_depth.values())] for names, by_depth in links.items()]
    return table([["activation", "init", *(f"{depth} layers" for depth in depths)], *body])


def _short_csvs(study, page):
    """The CSVs that are short and narrow enough, and no sweep's summary, as tables."""
    summaries = [results.folder / "summary.csv" for results in study.sweeps.values()]
    for path, content in study.csvs.items():
        if (
            path.suffix == ".csv"
            and path not in summaries
            and 0 < len(content) <= SHORT
            and len(content.columns) <= NARROW
        ):
            yield f"## {link(plain(path.name), path, page)}"
            yield table([[plain(cell) for cell in row] for row in (content.columns, *content.to_numpy())])


# ---- the pages


def pages(root="results", studies=None):
    """{path: text} of all pages, as they should be now. The same files give the same bytes.

    studies  from `find_studies`, where they have been read already
    """
    studies, first = find_studies(root) if studies is None else studies, Path(root) / "README.md"
    studies = [study for study in studies if study.shows_something]
    ours = [
        study for study in studies if "page_by" not in study.manifest
    ]  # the others' pages have commands of their own
    return {first: overview(studies, first), **{study.page: study_page(study, study.page) for study in ours}}


def stale(root="results", studies=None):
    """{path: text} of the pages that are missing, or differ from what would be written now."""
    written = pages(root, studies)
    return {path: text for path, text in written.items() if not path.exists() or path.read_bytes() != text.encode()}


def silent(studies):
    """The pictures that carry no sentence; an animation need not have one."""
    pictures = (path for study in studies for path in study.pictures if path.suffix == ".png")
    return [path for path in pictures if not sentence_of(path)]


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
    damaged = [sentence for study in studies for sentence in study.damaged]
    written = stale(options.root, studies)
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
