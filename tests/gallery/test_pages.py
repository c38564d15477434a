"""The gallery: pages that a Markdown reader reads as meant, whose links all exist, and that are not stale."""

import base64
import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import mistune
import nbformat
import pandas as pd
import pytest
from damaging import changed, damaged
from hypothesis import given, settings
from nbformat import v4
from PIL import Image

from helpers import figures, packed
from helpers.gallery import markdown, pages, studies
from helpers.gallery.__main__ import main
from helpers.notebooks import link_pictures
from helpers.sweep import Sweep

ROOT = Path(__file__).parents[2]
ODD = "he_normal_0.5 *learned* <fast> | 3 [of] 4 for $1 ~~or~~ `more` _x_ # ≥ 1."
CONFIG = {
    "layers_list": [1, 2],
    "init_types": ["he_normal", "zero"],
    "activations": ["relu"],
    "seeds": [0, 1],
    "hidden_size": 8,
    "num_epochs": 1,
    "train_size": 64,
    "test_size": 32,
    "lr": 0.5,
    "stack_size": 8,
}


def draw(folder, name, sentence):
    figure, axes = plt.subplots(figsize=(1, 1))
    axes.set_title(name)  # so that no two pictures have the same bytes
    return figures.save(figures.Picture(name, figure, sentence), folder)


def notebook_showing(path, cells):
    """An executed notebook: a text is a Markdown cell, a list of pictures a code cell that shows them."""

    def shown(picture):
        data = {f"image/{picture.suffix[1:]}": base64.b64encode(picture.read_bytes()).decode()}
        return v4.new_output("display_data", data)

    made = [
        v4.new_markdown_cell(cell) if isinstance(cell, str) else v4.new_code_cell("", outputs=list(map(shown, cell)))
        for cell in cells
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(v4.new_notebook(cells=made), path)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A repository with three studies: a sweep, one that lives in a folder of its own, and one of a CSV alone."""
    root = tmp_path_factory.mktemp("repository") / "results"
    Sweep({**CONFIG, "save_dir": str(root / "wide")}).run(lambda progress: None)
    later, first = draw(root / "wide", "a_later", "A later one."), draw(root / "wide", "z_first", ODD)
    draw(root / "wide", "unshown", "Nobody shows this.")
    question = "Is [depth](other.ipynb) **all**, at 1.5 times? This is not\npart of it."
    notebook_showing(root / "wide/run.ipynb", [f"# How wide?\n\n{question}", "## 1 One", [first], "## 2 Two", [later]])
    notebook_showing(root / "wide/run.failed.ipynb", ["# Failed"])

    Sweep({**CONFIG, "save_dir": str(root / "apart"), "layers_list": [1], "lr": [0.1, 0.5]}).run(lambda progress: None)
    shutil.rmtree(root / "apart/runs")
    draw(root.parent / "apart", "plateau", "It stays.")

    (root / "speeds").mkdir()
    (root / "speeds/ways.csv").write_text("way,ms|step\nloop,2.5\nstack_a,NA\n")
    (root / "speeds/broad.csv").write_text(",".join(f"column{i}" for i in range(30)) + "\n" + "7," * 29 + "7\n")
    manifest = {
        "title": "How fast?",
        "question": "Is it a | b?",
        "answer": "As fast as *that*.",
        "note": "a *note*",
        "device": "cpu",
        "gflops": 1 / 3,
    }
    (root / "speeds/manifest.json").write_text(json.dumps(manifest))
    draw(root / "local", "mine", "Mine.")
    (root / "empty").mkdir()
    assert main([str(root)]) == 0
    return root


class Reader(HTMLParser):
    """What a page is once it is rendered: its tags, links, pictures and text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.pictures, self.texts = set(), [], [], []
        render = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "math"])
        self.feed(render(Path(page).read_text()))

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        attributes = dict(attributes)
        self.links += [unquote(attributes[key]) for key in ("href", "src") if key in attributes]
        self.pictures += [(Path(attributes["src"]).stem, attributes["alt"])] if tag == "img" else []

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def test_every_study_has_a_page_and_the_users_own_has_none(published):
    assert {path.relative_to(published).as_posix() for path in pages.pages(published)} == {
        "README.md",
        "wide/README.md",
        "apart/README.md",
        "speeds/README.md",
    }
    overview = Reader(published / "README.md").text
    assert "wide: How wide? Is depth all, at 1.5 times?" in overview
    assert "part of it" not in overview
    assert "speeds: How fast? Is it a | b?" in overview
    assert "speeds How fast? As fast as *that*." in overview  # in the table
    assert "Note: a *note*." in Reader(published / "speeds/README.md").text
    assert overview.index("apart") < overview.index("wide") < overview.index("speeds")


def test_an_answer_stands_under_its_question(published):
    for page in ("README.md", "speeds/README.md"):
        text = Reader(published / page).text
        assert "Is it a | b? Answer. As fast as *that*." in text
    assert "**Answer.**" not in (published / "wide/README.md").read_text()
    assert "| answer |" not in (published / "speeds/README.md").read_text()  # it is no origin of the numbers


def test_a_table_of_many_columns_is_a_link_alone(published):
    page = (published / "speeds/README.md").read_text()
    assert "[broad.csv](broad.csv)" in page
    assert "column3" not in page
    assert "| way | ms\\|step |" in page


def test_pictures_come_in_the_order_and_under_the_headings_of_the_notebook(published):
    page = Reader(published / "wide/README.md")
    assert [name for name, _ in page.pictures] == ["z_first", "a_later", "unshown"]
    assert all(alt for _, alt in page.pictures)
    order = ["1 One", ODD, "2 Two", "A later one.", "More pictures", "Nobody shows this."]
    found = [page.text.index(part) for part in order]
    assert found == sorted(found)
    assert [name for name, _ in Reader(published / "README.md").pictures] == ["plateau", "z_first"]


def test_pictures_beside_results_belong_to_the_study_of_that_name(published):
    assert "../../apart/figures/plateau.png" in Reader(published / "apart/README.md").links
    assert "../apart/figures/plateau.png" in Reader(published / "README.md").links


def links_that_lead_nowhere(page):
    return [link for link in Reader(page).links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", ["README.md", "wide/README.md", "apart/README.md", "speeds/README.md"])
def test_links_are_relative_and_exist_and_html_is_what_repositories_show(published, page):
    read = Reader(published / page)
    assert read.links
    assert not [link for link in read.links if Path(link).is_absolute() or "://" in link]
    assert not links_that_lead_nowhere(published / page)
    written = set(re.findall(r"</?(\w+)", re.sub(r"`[^`]*`|\\<", "", (published / page).read_text())))
    assert written <= {"details", "summary", "img"}


def test_every_csv_of_a_study_is_linked(published):
    links = {(published / "wide" / link).resolve() for link in Reader(published / "wide/README.md").links}
    files = {path.resolve() for path in (published / "wide").rglob("*.csv")}
    assert len(files) == 1 + 2 * 2 * 2
    assert files < links
    assert not [link for link in links if "failed" in link.name]


def cells_of(page, first):
    """The cells of the row of a page's table that begins with a text."""
    rows = [line.strip("|").split("|") for line in page.read_text().splitlines() if line.startswith("|")]
    return next([cell.strip() for cell in row] for row in rows if row[0].strip() == first)


def test_counts_are_those_of_the_summary(published):
    with open(published / "wide/summary.csv") as file:
        rows = list(csv.DictReader(file))
    for name, some in {
        "**all**": rows,
        "init zero": [row for row in rows if row["init"] == "zero"],
        "layers 2": [row for row in rows if row["layers"] == "2"],
    }.items():
        accuracies = {}
        for row in some:
            accuracies.setdefault((row["init"], row["layers"]), []).append(float(row["final_test_acc"]))
        best = max(sum(values) / len(values) for values in accuracies.values())
        learned = sum(row["learned"] == "True" for row in some)
        left, crashed = (sum(row[name] not in ("", "False") for row in some) for name in ("left_plateau", "crashed"))
        assert cells_of(published / "wide/README.md", name)[1:] == [
            *map(str, (len(some), left, learned, crashed, 0)),
            f"{best:.3f}",
        ]


def test_without_logs_it_is_unknown_who_crashed(published, tmp_path):
    copy = shutil.copytree(published, tmp_path / "results")
    path = copy / "wide/summary.csv"
    (copy / "wide/runs.json").unlink()
    lines = [line.split(",") for line in path.read_text().splitlines()]
    gone = [lines[0].index(name) for name in ("left_plateau", "crashed")]
    path.write_text("".join(",".join(v for i, v in enumerate(line) if i not in gone) + "\n" for line in lines))
    known = pages.pages(copy)[copy / "wide/README.md"]
    assert "| **all** | 8 |" in known
    assert "unknown" not in known
    shutil.rmtree(copy / "wide/runs")
    all_of_it = "| **all** | 8 | unknown | 0 | unknown | 0 |"
    assert all_of_it in pages.pages(copy)[copy / "wide/README.md"]


def test_a_page_says_where_its_numbers_come_from(published):
    wide, apart = (Reader(published / name / "README.md").text for name in ("wide", "apart"))
    manifest = json.loads((published / "wide/manifest.json").read_text())
    for known in (manifest["machine"], manifest["versions"]["torch"], manifest["started"], '"stack_size"'):
        assert known.strip('"') in wide
    assert "digits, 8 runs, seed 0 and 1, 1 epochs, sgd with lr 0.5, batch 32, width 8; trained on" in wide
    assert "8 runs, seed 0 and 1, 1 epochs, sgd with lr 0.1 and 0.5, batch" in apart
    assert cells_of(published / "apart/README.md", "lr 0.5")[1] == "4"
    bench = published / "speeds/README.md"
    assert cells_of(bench, "way")[1] == "ms\\"  # the bar in the name is escaped
    assert cells_of(bench, "stack_a") == ["stack_a", "NA"]
    assert cells_of(bench, "gflops") == ["gflops", "0.333333"]


def test_an_unfinished_sweep_is_marked_as_one(published, tmp_path):
    copy = shutil.copytree(published, tmp_path / "results")
    (copy / "wide/runs.json").unlink()  # which knows the summary
    lines = (copy / "wide/summary.csv").read_text().splitlines(keepends=True)
    (copy / "wide/summary.csv").write_text("".join(lines[:4]))
    assert "digits, only 3 of 8 runs, " in pages.pages(copy)[copy / "wide/README.md"]
    (copy / "wide/summary.csv").write_text(lines[0])
    assert "0 of 8 runs" in pages.pages(copy)[copy / "wide/README.md"]


def test_the_same_files_give_the_same_bytes(published, tmp_path, monkeypatch):
    copy = shutil.copytree(published, tmp_path / "elsewhere")
    shutil.copytree(published.parent / "apart", tmp_path / "apart")
    for path in sorted(copy.rglob("*"), reverse=True):
        os.utime(path, (0, 0))
    there, here = (sorted(texts.items()) for texts in (pages.pages(copy), pages.pages(published)))
    assert [text for _, text in there] == [text for _, text in here]
    monkeypatch.chdir(copy)
    assert sorted(pages.pages(".").values()) == sorted(text for _, text in here)


def test_what_has_changed_is_stale_until_it_is_written(published, tmp_path, capsys):
    copy = shutil.copytree(published.parent, tmp_path / "repository") / "results"
    assert main([str(copy), "--check"]) == 0
    assert "all pages are up to date" in capsys.readouterr().out

    draw(copy / "wide", "z_first", "It has another sentence now.")
    (copy / "speeds/README.md").unlink()
    assert {copy / "wide/README.md", copy / "speeds/README.md"} <= set(pages.stale(copy))
    assert copy / "apart/README.md" not in pages.stale(copy)
    assert main([str(copy), "--check"]) == 1
    assert "wide/README.md is stale" in capsys.readouterr().out
    assert not (copy / "speeds/README.md").exists()

    assert main([str(copy)]) == 0
    assert not pages.stale(copy)
    assert "It has another sentence now." in Reader(copy / "wide/README.md").text


def test_a_picture_without_a_sentence_is_shown_and_reported(published, tmp_path, capsys):
    copy = shutil.copytree(published.parent, tmp_path / "repository") / "results"
    figure, _ = plt.subplots(figsize=(1, 1))
    figure.savefig(copy / "wide/figures/mute.png")
    plt.close(figure)
    assert main([str(copy)]) == 0
    assert "mute" in [name for name, _ in Reader(copy / "wide/README.md").pictures]
    assert pages.silent(pages.find_studies(copy)) == [copy / "wide/figures/mute.png"]
    capsys.readouterr()
    assert main([str(copy), "--check"]) == 1
    assert "mute.png carries no sentence" in capsys.readouterr().out


DAMAGES = {
    "wide/manifest.json": b'{"config',
    "wide/summary.csv": b"",
    "wide/run.ipynb": b'{"cells": [',
    "wide/figures/a_later.png": b"\x89PNG\r\n",
    "speeds/ways.csv": b"\xff\xfe\x00",
    "speeds/manifest.json": b"\xff\xfe",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_reported_and_left_out(published, tmp_path, capsys, name):
    copy = shutil.copytree(published.parent, tmp_path / "repository") / "results"
    (copy / name).write_bytes(DAMAGES[name])
    assert main([str(copy)]) == 1
    errors = capsys.readouterr().err
    assert f"{copy / name}" in errors
    assert "is left out" in errors
    assert "apart" in Reader(copy / "README.md").text
    links = Reader(copy / "README.md").links
    assert name.startswith(("wide/m", "speeds/m")) or not [link for link in links if link.endswith(name)]
    assert main([str(copy), "--check"]) == 1
    assert "is left out" in capsys.readouterr().out


def test_logs_that_git_ignores_are_not_linked(published, tmp_path):
    copy = shutil.copytree(published.parent, tmp_path / "repository") / "results"
    subprocess.run(["git", "init", "--quiet", copy.parent], check=True)
    assert "(runs/)" in pages.pages(copy)[copy / "wide/README.md"]
    (copy.parent / ".gitignore").write_text("/results/wide/runs/\n")
    ignored = pages.pages(copy)
    assert "runs/" not in ignored[copy / "wide/README.md"]
    shutil.rmtree(copy / "wide/runs")
    assert pages.pages(copy) == ignored


def test_packed_runs_are_linked_and_the_line_that_reads_one_does(published, tmp_path, monkeypatch, capsys):
    copy = shutil.copytree(published.parent, tmp_path / "repository") / "results"
    tables = {path.name: pd.read_csv(path) for path in (copy / "wide" / "runs").iterdir()}
    packed.pack(copy / "wide" / "runs")
    main([str(copy)])
    page = copy / "wide" / "README.md"
    assert {"runs.tar.xz"} == {link for link in Reader(page).links if "runs" in link}
    assert not links_that_lead_nowhere(page)
    assert "The CSV of each of 8 runs" in page.read_text()
    monkeypatch.chdir(copy.parent)
    (line,) = re.findall(r"```python\n(.+)\n```", page.read_text())
    name = re.search(r'extractfile\("(.+)"\)', line)[1]
    pd.testing.assert_frame_equal(eval(line, {"pd": pd, "tarfile": tarfile}), tables[name])
    again = copy / "wide" / "runs"
    again.mkdir()
    (again / name).write_bytes(packed.read(again / name))  # beside the archive, as while a sweep grows
    both = pages.pages(copy)[page]
    assert "The CSV of each of 8 runs" in both
    assert "The CSV of 1 of 8 runs" in both
    assert f"runs/{name}" in both
    packed.pack_of(again).write_bytes(b"PK")
    capsys.readouterr()
    assert main([str(copy), "--check"]) == 1
    assert "runs.tar.xz is left out" in capsys.readouterr().out
    (copy.parent / ".gitignore").write_text("/results/wide/runs*\n")
    subprocess.run(["git", "init", "--quiet", copy.parent], check=True)
    assert "runs.tar.xz" not in pages.pages(copy)[page]


def test_a_picture_keeps_its_sentence_wherever_it_goes(tmp_path):
    moved = shutil.copy(draw(tmp_path, "one", ODD), tmp_path / "moved.png")
    assert studies.sentence_of(moved) == ODD


def test_plain_text_reads_as_it_was_written():
    for text in (ODD, "# 1", "a_b_c", "1. one", "\\*", "| a | b |", "<b>", "![x](y)"):
        rendered = mistune.create_markdown(escape=False, plugins=["table", "math"])(markdown.plain(f"x {text}"))
        assert html.unescape(rendered) == f"<p>x {text}</p>\n"


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err


# ---- many pictures, several data sets


@pytest.fixture(scope="module")
def two_data_sets(tmp_path_factory):
    """A study of two folders, digits with twenty pictures and mnist with one, both sections of one notebook."""
    root = tmp_path_factory.mktemp("repository") / "results"
    drawn = [draw(root / "both/digits", f"picture_{i}", f"Number {i}.") for i in range(20)]
    other = draw(root / "both/mnist", "picture_0", "MNIST: another.")
    shown = ["# Both?", "## 1 One", drawn[:18], "## 2 Two", drawn[18:]]
    notebook_showing(root / "both/digits/both.ipynb", shown)
    notebook_showing(root / "both/mnist/both.ipynb", ["# Both?", "## 1 One", [other]])
    assert main([str(root)]) == 0
    return root / "both"


def test_a_page_has_at_most_a_dozen_pictures_of_every_section_and_the_rest_lie_one_link_deeper(two_data_sets):
    page = Reader(two_data_sets / "README.md")
    assert len(page.pictures) == pages.MOST == 12
    assert {"picture_18", "picture_0"} <= {name for name, _ in page.pictures}  # the first of each section and folder
    assert "digits/pictures.md" in page.links
    assert "All 20 pictures" in page.text
    assert not (two_data_sets / "mnist/pictures.md").exists()  # the page shows it whole
    more = Reader(two_data_sets / "digits/pictures.md")
    assert [name for name, _ in more.pictures] == [f"picture_{i}" for i in range(20)]
    assert "../README.md" in more.links
    assert not links_that_lead_nowhere(two_data_sets / "digits/pictures.md")


def test_data_sets_are_told_apart_in_heading_caption_and_alternative_text(two_data_sets):
    text = (two_data_sets / "README.md").read_text()
    digits, mnist = text.index("\n## Handwritten digits\n"), text.index("\n## MNIST\n")
    assert (
        digits < text.index("![both, Handwritten digits: picture 1]") < mnist < text.index("![both, MNIST: picture 0]")
    )
    assert "**Handwritten digits.** Number 0." in text
    assert "\n\nMNIST: another." in text  # which says it by itself


def test_settings_and_counts_stand_with_their_pictures(published, tmp_path):
    copy = shutil.copytree(published.parent, tmp_path / "repository") / "results"
    Sweep({**CONFIG, "save_dir": str(copy / "wide/more"), "layers_list": [3]}).run(lambda progress: None)
    text = pages.pages(copy)[copy / "wide/README.md"]
    first, second = text.split("\n## More, handwritten digits\n")
    assert first.index("\n## Handwritten digits\n") < first.index("digits, 8 runs") < first.index("| **all** | 8 |")
    assert second.index("digits, 4 runs") < second.index("| **all** | 4 |")
    assert "8 runs" not in second
    overview = pages.pages(copy)[copy / "README.md"]
    assert "digits, 8 runs" in overview
    assert "4 runs" not in overview  # the picture there is the other's


# ---- what is published with the repository


@pytest.fixture(scope="module")
def of_the_repository():
    """The studies that are published with the repository."""
    return pages.find_studies(ROOT / "results")


def test_published_pages_are_up_to_date(of_the_repository):
    stale = [path.relative_to(ROOT).as_posix() for path in pages.stale(ROOT / "results", of_the_repository)]
    assert not stale, f"run make gallery: {', '.join(stale)} would be written differently now"


def test_published_links_exist(of_the_repository):
    pages = [ROOT / "results" / "README.md", *(study.page for study in of_the_repository)]
    assert {path: found for path in pages if path.exists() and (found := links_that_lead_nowhere(path))} == {}


def test_published_pages_have_at_most_a_dozen_pictures_and_name_their_data(of_the_repository):
    for study in of_the_repository:
        shown = Reader(study.page).pictures
        assert len(shown) <= 12, study.name
        for part in pages.parts_of(study):
            if part.results:
                assert pages.questions.data_name(part.results).lower() in part.name.lower()
        assert len({alt for _, alt in shown}) == len(shown), study.name


def test_the_overview_begins_with_the_main_study(of_the_repository):
    overview = (ROOT / "results/README.md").read_text()
    places = [overview.index(f"\n## {name}: ") for name in ("digits", "mnist", "critical", "signal")]
    assert places == sorted(places)
    for study in of_the_repository:
        assert study.title.endswith("?")
        assert f"| {markdown.plain(study.title)} | {markdown.plain(study.short)} |" in overview


def test_the_overview_shows_of_each_study_the_picture_that_it_names(of_the_repository):
    text = pages.overview(of_the_repository, ROOT / "results/README.md")
    shown = [Path(target).stem for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)]
    named = [name for study in of_the_repository for name in pages.questions.QUESTIONS[study.name].pictures[:1]]
    assert shown == [Path(name).stem for name in named]


def test_published_pictures_carry_a_sentence(of_the_repository):
    silent = [path.relative_to(ROOT).as_posix() for path in pages.silent(of_the_repository)]
    assert not silent, f"their notebooks must run again: {', '.join(silent)}"


@pytest.mark.parametrize("linked", [False, True])
def test_pictures_of_a_folder_without_a_sweep_are_shown_with_its_notebook(tmp_path, linked):
    """A study may hold folders that are no sweeps, as the gradient logs are."""
    folder = tmp_path / "results" / "logs" / "part"
    picture = draw(folder, "curves", "Curves of a part.")
    frames = [Image.new("L", (9, 9), grey) for grey in (0, 99)]
    moving, mute = (folder / "figures" / f"{name}.gif" for name in ("moving", "mute"))
    frames[0].save(
        moving, save_all=True, append_images=frames[1:], comment="They move \N{RIGHTWARDS ARROW} there.".encode()
    )
    frames[1].save(mute)
    notebook_showing(folder / "part.ipynb", ["# Of parts\n\nWhat are they?", "## 1 Seen", [moving, picture]])
    (folder / "outcomes.csv").write_text("a,b\n1,2\n")
    if linked:
        assert link_pictures(folder / "part.ipynb") == 2
    (study,) = pages.find_studies(tmp_path / "results")
    assert study.sections == {"1 Seen": [moving, picture], "More pictures": [mute]}
    assert pages.silent([study]) == []
    page = pages.pages(tmp_path / "results")[study.page]
    assert "Curves of a part." in page
    assert "part/figures/moving.gif)\n\n**Part.** They move \N{RIGHTWARDS ARROW} there." in page
    assert "part/outcomes.csv" in page


# ---- right form, wrong inside


@pytest.mark.parametrize("name", ["wide/manifest.json", "speeds/manifest.json", "wide/run.ipynb"])
def test_no_wrong_type_in_a_file_ends_the_gallery(published, tmp_path, monkeypatch, name):
    """What is damaged is left out with a sentence; the other studies have their pages."""
    monkeypatch.setattr(studies, "_seen_by_others", Path.exists)  # git would be asked each time
    copy = shutil.copytree(published.parent, tmp_path / "repository") / "results"
    content = json.loads((copy / name).read_text())

    @settings(derandomize=True, deadline=None, max_examples=8, database=None)
    @given(damaged(content))
    def no_damage_ends_it(text):
        (copy / name).write_text(text)
        studies = pages.find_studies(copy)
        written = pages.pages(copy, studies)
        assert copy / "apart/README.md" in written
        for page in written.values():
            page.encode()
        said = [sentence for study in studies for sentence in study.damaged]
        assert all("is left out" in sentence and "\n" not in sentence for sentence in said)

    no_damage_ends_it()


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("wide/manifest.json", ("versions",), ["torch"]),
        ("wide/manifest.json", ("started",), 2026),
        ("wide/manifest.json", ("machine",), {"a": 1}),
        ("wide/manifest.json", ("config",), []),
        ("wide/manifest.json", ("origins",), [3]),
        ("speeds/manifest.json", ("title",), ["How fast?"]),
        ("speeds/manifest.json", ("device",), "\ud800"),
        ("speeds/manifest.json", (), [1, 2]),
        ("wide/run.ipynb", ("cells", 0, "source"), 3),
        ("wide/run.ipynb", ("cells", 2, "outputs", 0, "data", "image/png"), "no base64!"),
        ("wide/run.ipynb", ("cells",), None),
    ],
)
def test_what_is_wrong_inside_is_named(published, tmp_path, capsys, name, at, value):
    copy = shutil.copytree(published.parent, tmp_path / "repository") / "results"
    (copy / name).write_text(json.dumps(changed(json.loads((copy / name).read_text()), at, value)))
    assert main([str(copy), "--check"]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "is left out" in line)
    assert str((copy / name).parent) in line
    assert copy / "apart/README.md" in pages.pages(copy)


def test_pages_are_written_in_utf_8_under_an_ascii_locale(published, tmp_path):
    copy = shutil.copytree(published.parent, tmp_path / "repository") / "results"
    manifest = json.loads((copy / "speeds/manifest.json").read_text())
    (copy / "speeds/manifest.json").write_text(json.dumps({**manifest, "title": "Wie schnell ± größer?"}))
    (copy / "apart/summary.csv").write_bytes(b"")
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "helpers.gallery", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.count(" is left out") == done.stderr.count("\n") == 2  # as a table, and as a sweep
    assert "Wie schnell ± größer?" in (copy / "speeds/README.md").read_text(encoding="utf-8")
    assert subprocess.run([*command, "--check"], capture_output=True, env=env, cwd=ROOT).returncode == 1


def test_a_text_with_backticks_stays_code():
    assert markdown.code('"folder:a"') == '`"folder:a"`'
    assert markdown.code('"`<img>``"') == '```"`<img>``"```'


def test_numbered_sections_of_several_notebooks_come_in_their_order(tmp_path):
    folder = tmp_path / "results" / "logs"
    pictures = [draw(folder / part, name, f"{part} {name}.") for part in ("a", "b") for name in ("one", "two", "ten")]
    notebook_showing(folder / "a" / "a.ipynb", ["# Logs", "## 1 One", pictures[:1], "## 10 Ten", pictures[2:3]])
    shown = ["# Logs", "## 1 One", pictures[3:4], "## 2 Two", pictures[4:5], "## 10 Ten", pictures[5:]]
    notebook_showing(folder / "b" / "b.ipynb", shown)
    (study,) = pages.find_studies(tmp_path / "results")
    assert list(study.sections) == ["1 One", "2 Two", "10 Ten", "More pictures"]
    assert study.sections["10 Ten"] == [pictures[2], pictures[5]]
