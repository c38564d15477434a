"""results/README.md and one page a study, written from what is on disk: for a reader who has installed nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import packed, records, words
from helpers.gallery.markdown import bullets, code, folded, in_table, link, paragraphs, plain, relative, table
from helpers.gallery.studies import SHORT, read_studies, sentence_of
from helpers.sweep import findings, tables

OVERVIEW = ("accuracy_map", "effect_of_the_factor")  # pictures for the overview; of a study without them, the first one
BEST = 10  # so many combinations are listed as the best
NARROW = 20  # a CSV of at most so many columns, and SHORT rows, is shown in full
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


def find_studies(root="results"):
    """The studies under `root`; one whose page cannot be made shows nothing, and says so under `damaged`."""
    empty = {"manifest": {}, "sweeps": {}, "sections": {}, "csvs": {}}
    return [study if _can_be_written(study) else replace(study, **empty) for study in read_studies(root)]


def _can_be_written(study):
    """Whether a study's page and its part of the overview can be made; where not, `damaged` gets a sentence."""
    try:
        paragraphs([study_page(study, study.page), *_overview_of(study, study.folder.parent / "README.md")]).encode()
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
