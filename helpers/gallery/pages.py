"""results/README.md and one page a study, written from what is on disk: for a reader who has installed nothing."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import packed, records, words
from helpers.gallery import marked, questions
from helpers.gallery.markdown import bullets, code, folded, in_table, link, paragraphs, plain, quoted, relative, table
from helpers.gallery.papers import cited
from helpers.gallery.pictures import sentence_of
from helpers.gallery.studies import SHORT, read_studies
from helpers.sweep import findings, tables

OVERVIEW = ("accuracy_map", "effect_of_the_factor")  # pictures for the overview; of a study without them, the first one
MOST = 12  # pictures of a page; where a study has more, a part of it has all of its own on a page of their own
BEST = 10  # so many combinations are listed as the best
NARROW = 20  # a CSV of at most so many columns, and SHORT rows, is shown in full
COUNTS = ["runs", "left the plateau", "learned", "crashed", "diverged", "highest test accuracy"]
WORDS = (
    "A *run* is one network, from its initialisation to its last epoch. It has *left the plateau* when its train "
    "accuracy was, after any epoch, at least halfway between always guessing the commonest class and 1, *learned* when "
    "it is so after the last, *crashed* when it had left the plateau and has not learned, and *diverged* when its loss "
    "became infinite or no number. Accuracies are those of the last epoch. Where there are several seeds, they are "
    "means over them, and what follows `+-` is their standard deviation."
)
UNKNOWN = "unknown"  # where the logs of runs that had not learned were not kept
WRITTEN = "*Written by `make gallery` from the files in this folder; what is changed here by hand is overwritten.*"


# ---- the parts of a study


@dataclass(frozen=True)
class Part:
    """What lies in one folder of a study.

    name      in words, with its data set; an empty text for a study that is all in one folder and names none
    home      the folder
    results   its sweep, or None
    sections  {heading: paths of its pictures}
    """

    name: str
    home: Path
    results: records.SweepResults | None
    sections: dict

    @property
    def pictures(self):
        return [path for paths in self.sections.values() for path in paths]


def parts_of(study):
    """The parts of a study: first those with pictures, as its notebooks show them, then sweeps without any."""
    sweeps = {results.folder.resolve(): results for results in study.sweeps.values()}
    beside = study.folder.resolve().parents[1] / study.name  # a study with a folder of its own has its pictures there
    home_of = {path: path.parent.parent for path in study.pictures}
    homes = {home.resolve(): home for home in home_of.values()} | {
        home: results.folder for home, results in sweeps.items() if beside not in map(Path.resolve, home_of.values())
    }
    found = []
    for resolved, home in homes.items():
        sections = {
            heading: [path for path in paths if home_of[path].resolve() == resolved]
            for heading, paths in study.sections.items()
        }
        sections = {heading: paths for heading, paths in sections.items() if paths}
        results = sweeps.get(study.folder.resolve() if resolved == beside else resolved)
        found.append(Part(_name_of(study, home, results), home, results, sections))
    return found


def _name_of(study, home, results):
    """ "MNIST", "Fifty layers, handwritten digits": a part in words."""
    below = home.resolve().relative_to(study.folder.resolve()) if home.is_relative_to(study.folder) else Path()
    names = [questions.DATA.get(name, name.replace("_", " ")) for name in below.parts]
    names += [questions.data_name(results)] if results else []
    names = ", ".join(dict.fromkeys(names))
    return plain(names[:1].upper() + names[1:])


def chosen(study, parts):
    """The pictures of a study's page: all where they are few; else those that `questions` names, then one a section."""
    pictures = [path for part in parts for path in part.pictures]
    if len(pictures) <= MOST:
        return set(pictures)
    named = questions.QUESTIONS[study.name].pictures if study.name in questions.QUESTIONS else ()
    first = [path for name in named for path in pictures if name in (path.stem, path.name)]
    each = [paths[i : i + 1] for i in range(MOST) for part in parts for paths in part.sections.values()]
    return set(list(dict.fromkeys([*first, *(path for paths in each for path in paths)]))[:MOST])


def _picture(path, study, part, page):
    """A picture with its sentence under it, which begins with the name of its part."""
    name = f"{study.name}, {part.name}" if part.name else study.name
    alt, said = plain(f"{name}: {path.stem.replace('_', ' ')}"), sentence_of(path)
    caption = "" if not part.name or said.lower().startswith(part.name.lower()) else f"**{part.name}.** "
    return f"!{link(alt, path, page)}\n\n{caption}{cited(plain(said))}".strip()


def _settings(part):
    """How a part's sweep was trained, and on what."""
    if not part.results:
        return ""
    return f"Settings: {plain(findings.settings(part.results))}; trained on {_origin(part.results.manifest)}"


def _asked(study):
    """The longer question of a study, and its answer."""
    yield cited(study.question)
    yield f"**Answer.** {cited(plain(study.answer))}" if study.answer else ""


def _facts(study, page):
    """Where a study comes from: its notebooks, its CSVs, a note."""
    if _origin(study.manifest) and not study.sweeps:
        yield f"Made on {_origin(study.manifest)}"
    if study.manifest.get("note"):
        yield f"Note: {plain(study.manifest['note'])}."
    if study.notebooks:
        paths = [(relative(path, study.page), path) for path in study.notebooks]
        yield f"Executed notebook: {', '.join(link(plain(name), path, page) for name, path in paths)}"
    yield f"Numbers: {', '.join(link(plain(relative(path, study.page)), path, page) for path in _numbers(study))}"


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
    """results/README.md: of each study its question, its answer, a picture and the way to the rest."""
    rows = [["study", "question", "answer"]]
    for study in studies:
        name, title = link(plain(study.name), study.page, page), cited(plain(study.title))
        rows.append([name, title, cited(plain(study.short or study.answer))])
    sections = [part for study in studies for part in _overview_of(study, page)]
    intro = (
        "The questions and their answers, computed from the results; below, the most telling picture of each study. "
        "Each page has more pictures and the way to every number. A run has *learned* when its train accuracy at the "
        "last epoch is at least halfway between guessing and 1. What follows `+-` is a standard deviation over seeds."
    )
    return paragraphs(["# What was found", intro, table(rows), *sections, WRITTEN])


def by_weight(study):
    """[(path, part)] of a study's pictures, the one that stands for it first."""
    named = questions.QUESTIONS[study.name].pictures[:1] if study.name in questions.QUESTIONS else ()
    pairs = [(path, part) for part in parts_of(study) for path in part.pictures]
    return sorted(pairs, key=lambda pair: not {pair[0].stem, pair[0].name} & {*(named or OVERVIEW)})


def _overview_of(study, page):
    yield f"## {_heading(study)}"
    yield from _asked(study)
    pairs, settings = by_weight(study), []
    for path, part in pairs[:1]:
        yield _picture(path, study, part, page)
        settings = [_settings(part)] if part.results else []
    count = f" with {len(pairs)} pictures" if len(pairs) > 1 else ""
    yield bullets([f"**{link(f'All of {plain(study.name)}', study.page, page)}**{count}", *settings])


def _heading(study):
    return plain(study.name) + ("" if study.title == study.name else f": {plain(study.title)}")


# ---- one study


def study_page(study, page):
    """results/<study>/README.md: its question and answer, at most MOST pictures, and below those of each part its
    settings, the best and the counts; then where the numbers come from, and every CSV.
    """
    parts = parts_of(study)
    some, several = chosen(study, parts), len(parts) > 1
    text = [
        f"# {_heading(study)}",
        link("All studies", page.parents[1] / "README.md", page),
        *_asked(study),
        f"In full: {cited(plain(more))}" if (more := study.manifest.get("answer")) and more != study.answer else "",
        bullets(_facts(study, page)),
        folded("What the words mean", WORDS) if study.sweeps else "",
    ]
    for part in parts:
        text += _part(study, part, some, several, page)
    text += _short_csvs(study, page)
    if not study.sweeps and (rows := _rows_of_manifest(study.manifest or {})):
        text += ["## Where the numbers come from", table([["key", "value"], *rows])]
    return paragraphs([*text, WRITTEN])


def _part(study, part, some, several, page):
    """A part on its study's page; a study of one part has no heading for it."""
    level = "###" if several else "##"
    yield f"## {part.name}" if several else ""
    yield _settings(part)
    if not some.issuperset(part.pictures):
        count = words.counted(len(part.pictures), "picture")
        yield f"**[All {count}]({quoted(_more(study, part), page)})**, in the order of the notebook."
    for heading, paths in part.sections.items():
        shown = [_picture(path, study, part, page) for path in paths if path in some]
        yield from [f"{level} {heading}", *shown] if shown else []
    if part.results:
        yield from [f"{level} The best", *_best(part.results)]
        yield from [f"{level} How many learned", table(_counts_by_axis(part.results))]
        yield from [f"{level} Where the numbers come from", *_provenance(part.results, page)]
        yield from _logs(part.results, study.logs, page)


def _more(study, part):
    """The page with all pictures of a part: beside them, or in the study's folder where they lie beside results/."""
    home = part.home if part.home.is_relative_to(study.folder) else study.folder
    return home / "pictures.md"


def picture_pages(study):
    """{path: text} of the pages with all pictures of a part, where the study's page shows but some."""
    parts = parts_of(study)
    some = chosen(study, parts)
    return {
        _more(study, part): _picture_page(study, part, _more(study, part))
        for part in parts
        if not some.issuperset(part.pictures)
    }


def _picture_page(study, part, page):
    text = [f"# {plain(study.name)}: all pictures", link(_heading(study), study.page, page)]
    text += [f"**{part.name}**" if part.name else "", _settings(part)]
    for heading, paths in part.sections.items():
        text += [f"## {heading}", *(_picture(path, study, part, page) for path in paths)]
    return paragraphs([*text, WRITTEN])


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
    machines = dict.fromkeys(map(_origin, manifest.get("origins", [])))  # each once
    if len(machines) > 1:
        values["trained in parts on"] = "; ".join(machines)
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
            yield table([[cited(plain(cell)) for cell in row] for row in (content.columns, *content.to_numpy())])


# ---- the pages


def find_studies(root="results"):
    """The studies under `root`; one whose page cannot be made shows nothing, and says so under `damaged`."""
    empty = {"manifest": {}, "sweeps": {}, "sections": {}, "csvs": {}, "short": "", "answer": ""}
    return [study if _can_be_written(study) else replace(study, **empty) for study in read_studies(root)]


def _can_be_written(study):
    """Whether a study's page and its part of the overview can be made; where not, `damaged` gets a sentence."""
    try:
        texts = [study_page(study, study.page), *_overview_of(study, study.folder.parent / "README.md")]
        paragraphs([*texts, *picture_pages(study).values()]).encode()
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        study.damaged.append(f"{study.folder} is left out: its files do not hold what a study writes ({text})")
        return False
    return True


def pages(root="results", studies=None):
    """{path: text} of all pages, as they should be now. The same files give the same bytes.

    studies  from `find_studies`, where they have been read already
    """
    studies, first = find_studies(root) if studies is None else studies, Path(root) / "README.md"
    studies = [study for study in studies if study.shows_something]
    written = {first: overview(studies, first)}
    for study in studies:
        if "page_by" not in study.manifest:  # the others' pages have commands of their own
            written |= {study.page: study_page(study, study.page), **picture_pages(study)}
    return written | marked.written(studies, Path(root).resolve().parent)


def stale(root="results", studies=None):
    """{path: text} of the pages that are missing, or differ from what would be written now."""
    written = pages(root, studies)
    return {path: text for path, text in written.items() if not path.exists() or path.read_bytes() != text.encode()}


def silent(studies):
    """The pictures that carry no sentence; an animation need not have one."""
    pictures = (path for study in studies for path in study.pictures if path.suffix == ".png")
    return [path for path in pictures if not sentence_of(path)]
