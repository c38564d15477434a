"""The page's files, read back by `page_reader`, against the CSVs they were made from."""

import math
import shutil

import pytest
from made_up_results import random_histories, write_sweep
from page_reader import data_of, index_of, layers_of, rows_of

from helpers import ROOT, theory
from helpers.config import SweepConfig
from helpers.data import load
from helpers.page import data_files, site
from helpers.page.__main__ import main
from helpers.page.studies import unmarked
from helpers.page.sweeps import shown_epochs

GRID = {
    "dataset": "digits",
    "activations": ["relu", "tanh"],
    "init_types": ["he_normal", "zero"],
    "layers_list": [3, 12],
}
DIGITS_SHARE = 0.101601  # of the commonest class of digits: moments of other data do not count
ODD = 'a "quote" & <b> </script>'
MOST_BYTES, MOST_OF_A_SWEEP, MOST_OF_SWEEPS, MOST_OF_INDEX = 10e6, 1.2e6, 3.5e6, 150e3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two studies: a grid, one run of which diverged; and one with an odd name, whose logs were not kept."""
    root = tmp_path_factory.mktemp("page") / "results"
    diverged = random_histories(diverged=["zero_tanh_12L_s1"])
    write_sweep(root / "grid", {**GRID, "seeds": [0, 1]}, diverged, floor=DIGITS_SHARE)
    write_sweep(root / "odd" / ODD, {**GRID, "lr": [0.01, 0.1]})
    shutil.rmtree(root / "odd" / ODD / "runs")
    assert main([str(root)]) == 0
    return root


@pytest.fixture
def copy(root, tmp_path):
    """The same, to be damaged."""
    return shutil.copytree(root, tmp_path / "results")


@pytest.fixture(scope="module")
def grid(root):
    return data_of(root / "page" / "data" / "grid.js")[1]


def test_the_summary_is_that_of_the_csv(root, grid):
    words = {"True": True, "False": False, "": None}
    for i, row in enumerate(rows_of(root / "grid" / "summary.csv")):
        for column, text in row.items():
            found = grid["summary"][column][i]
            if text in words or isinstance(found, str):
                assert found == words.get(text, text)
            else:
                assert found == pytest.approx(float(text), rel=1e-5)


def test_the_curves_are_those_of_the_runs_to_four_digits(root, grid):
    for i, run in enumerate(grid["summary"]["run"]):
        rows = rows_of(root / "grid" / "runs" / f"{run}.csv")
        for column in ("train_loss", "test_loss", "train_acc", "test_acc"):
            found = grid["curves"][column][i]
            assert len(found) == len(rows)
            for number, row in zip(found, rows, strict=True):
                known = row[column] != ""
                assert (number is not None) == known
                assert not known or number == pytest.approx(float(row[column]), rel=5.1e-4)


def test_the_layers_are_those_of_the_runs(root, grid):
    assert grid["layers"]["epochs"] == [0, 1, 2, 5, 6]
    unknown = 0
    for i, run in enumerate(grid["summary"]["run"]):
        rows = rows_of(root / "grid" / "runs" / f"{run}.csv")
        for stat in ("act_mean", "act_std", "pre_std", "grad_norm"):
            for epoch, numbers in zip(grid["layers"]["epochs"], layers_of(grid, stat, i), strict=True):
                texts = [rows[epoch][f"{stat}_{layer}"] for layer in range(grid["summary"]["layers"][i])]
                assert [number is None for number in numbers] == [text == "" for text in texts]
                unknown += texts.count("")
                largest = max((abs(float(text)) for row in rows for k, text in row.items()
                               if k.startswith(f"{stat}_") and text), default=0)  # fmt: skip
                slack = largest / 200 if stat == "act_mean" else 0
                known = [(number, float(text)) for number, text in zip(numbers, texts, strict=True) if text]
                for number, exact in known:
                    assert number == pytest.approx(exact, rel=2.5e-3, abs=slack)
    assert unknown  # of the run that diverged


def test_the_forecast_is_that_of_the_data_itself(grid):
    """Moments that are kept in a file against the data, loaded."""
    config = SweepConfig.from_dict(grid["config"])
    expected = theory.forecast(config, load(config)).set_index("run")
    for i, run in enumerate(grid["summary"]["run"]):
        row = expected.loc[run]
        for name, exact in (("probability", row.probability), ("epoch", row.leaves_plateau)):
            found = grid["forecast"][name][i]
            assert found == pytest.approx(exact, rel=5.1e-3) if math.isfinite(exact) else found is None
        assert (grid["forecast"]["reason"][i], grid["forecast"]["regime"][i]) == (row.reason, row.regime)


def test_theory_of_a_deep_relu_network_is_the_closed_form(grid):
    """He's relu keeps the squared size of activations, E[relu(z)^2] = q / 2, so pre-activations keep their size."""
    i = grid["summary"]["run"].index("he_normal_relu_12L_s0")
    profile = grid["theory"]["pre_std"][grid["theory"]["run"][i]]
    assert profile == pytest.approx([profile[0]] * 12, rel=5.1e-3)
    assert grid["theory"]["act_std"][grid["theory"]["run"][i]] == pytest.approx(
        [profile[0] * math.sqrt(0.5 - 0.5 / math.pi)] * 12, rel=1e-2
    )


def test_the_index_says_what_there_is(root):
    studies, own = index_of(root / "page" / "studies.js")
    assert not own
    by_key = {study["key"]: study for study in studies}
    (grid,) = by_key["grid"]["sweeps"]
    rows = rows_of(root / "grid" / "summary.csv")
    assert grid["runs"] == len(rows) == 16
    assert grid["learned"] == sum(row["learned"] == "True" for row in rows)
    for study in studies:
        for sweep in study["sweeps"]:
            assert (root / sweep["file"]).is_file()
            assert data_of(root / sweep["file"])[0] == sweep["key"]


def test_a_name_with_quotes_and_html_is_harmless(root):
    studies, _ = index_of(root / "page" / "studies.js")
    (sweep,) = next(study for study in studies if study["key"] == "odd")["sweeps"]
    assert sweep["name"] == ODD
    assert data_of(root / sweep["file"])[1]["folder"] == f"odd/{ODD}"
    for path in [root / "page" / "studies.js", *(root / "page" / "data").iterdir()]:
        _, _, body = path.read_text("ascii").rpartition("\nplumbline")
        assert "<" not in body


def test_logs_that_were_not_kept_are_null(root):
    studies, _ = index_of(root / "page" / "studies.js")
    (sweep,) = next(study for study in studies if study["key"] == "odd")["sweeps"]
    data = data_of(root / sweep["file"])[1]
    assert (data["curves"], data["layers"], data["logs"], data["damaged"]) == (None, None, None, [])
    assert data["axes"]["lr"] == [0.01, 0.1]


def test_the_same_files_give_the_same_bytes(copy, root):
    shutil.rmtree(copy / "page")
    assert main([str(copy)]) == 0
    written = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()} == written


def test_what_is_up_to_date_is_neither_made_nor_written_again(copy, monkeypatch, capsys):
    monkeypatch.setattr(site.sweeps, "sweep_data", None)  # would raise
    assert main([str(copy), "--check"]) == 0
    assert main([str(copy)]) == 0
    assert "the page was up to date" in capsys.readouterr().out


def cut(path):
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("page/data/grid.js", cut),
        ("page/studies.js", cut),
        ("page/moments.json", cut),
        ("page/data/old.js", lambda path: path.write_text("plumbline.data()")),
        ("page/layers.js", lambda path: path.unlink()),
    ],
)
def test_check_says_what_is_stale_and_writing_mends_it(copy, root, name, change, capsys):
    change(copy / name)
    assert main([str(copy), "--check"]) == 1
    assert f"{copy / name} is stale" in capsys.readouterr().out
    assert main([str(copy)]) == 0
    assert (copy / name).exists() == (root / name).exists()
    assert not (root / name).exists() or (copy / name).read_bytes() == (root / name).read_bytes()


def test_of_a_damaged_run_there_is_a_sentence_and_the_others_are_there(copy, capsys):
    run = "he_normal_relu_3L_s0"
    cut(copy / "grid" / "runs" / f"{run}.csv")
    assert main([str(copy)]) == 1
    assert f"{run}.csv" in capsys.readouterr().err
    data = data_of(copy / "page" / "data" / "grid.js")[1]
    lost = [run for run, curve in zip(data["summary"]["run"], data["curves"]["train_loss"], strict=True) if not curve]
    assert lost == [run]
    assert len(data["damaged"]) == 1


@pytest.mark.parametrize("name", ["manifest.json", "summary.csv"])
def test_of_a_damaged_sweep_there_is_a_sentence_and_the_others_are_written(copy, name, capsys):
    cut(copy / "grid" / name)
    assert main([str(copy)]) == 1
    assert str(copy / "grid") in capsys.readouterr().err
    studies, _ = index_of(copy / "page" / "studies.js")
    by_key = {study["key"]: study for study in studies}
    assert by_key["grid"]["sweeps"] == []
    assert any(name in sentence for sentence in by_key["grid"]["damaged"])
    assert len(by_key["odd"]["sweeps"]) == 1


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("last", [1, 2, 8, 20, 50, 300, 500, 12_345, 10**6])
def test_shown_epochs_are_few_and_have_both_ends(last):
    epochs = shown_epochs(last)
    assert epochs == sorted(set(epochs))
    assert epochs[:2] == [0, 1]
    assert epochs[-1] == last
    assert len(epochs) <= 9


def test_file_names_are_safe_and_no_two_keys_share_one():
    keys = ["a", "A", "a/b", "a.b", "../x", "", "é", "x" * 300, "x" * 301, ODD]
    names = [data_files.file_name(key) for key in keys]
    assert len({name.lower() for name in names}) == len(keys)
    assert all(name.isascii() and "/" not in name and not name.startswith(".") and len(name) < 130 for name in names)


# ---- what is published


def test_the_published_page_is_up_to_date():
    assert main([str(ROOT / "results"), "--check"]) == 0, "make gallery writes it anew"


def test_all_that_the_published_page_names_is_there():
    root = ROOT / "results"
    studies, _ = index_of(root / "page" / "studies.js")
    for study in studies:
        drawn = [*(root / study["key"]).glob("**/figures/*.png"), *(ROOT / study["key"]).glob("figures/*.png")]
        pictures = [picture["file"] for picture in study["pictures"]]
        assert bool(pictures) == bool(drawn), f"{study['key']} has {len(drawn)} pictures, the page {len(pictures)}"
        files = [*pictures, *study["csvs"], *study["notebooks"], study["page"]]
        files += [entry["file"] for entry in (*study["sweeps"], *study["parts"])]
        assert [file for file in files if not (root / file).is_file()] == []


def test_the_published_page_is_small():
    folder = ROOT / "results" / "page"
    paths = [ROOT / "results" / "index.html", *(path for path in folder.rglob("*") if path.is_file())]
    sizes = {path: path.stat().st_size for path in paths}
    assert sum(sizes.values()) < MOST_BYTES
    assert sizes[folder / "studies.js"] < MOST_OF_INDEX
    studies, _ = index_of(folder / "studies.js")
    sweeps = [sizes[ROOT / "results" / sweep["file"]] for study in studies for sweep in study["sweeps"]]
    assert max(sweeps) < MOST_OF_A_SWEEP
    assert sum(sweeps) < MOST_OF_SWEEPS


def test_the_published_forecasts_are_those_of_today():
    """Data files are not made again when theory's code changes: `python -m helpers.page --anew` does it."""
    _, data = data_of(ROOT / "results" / "page" / "data" / "digits.js")
    few = {"activations": ["tanh"], "layers_list": [20], "init_types": ["he_normal", "orthogonal"], "seeds": [0]}
    config = SweepConfig.from_dict({**data["config"], **few})
    for row in theory.forecast(config, load(config)).itertuples():
        i = data["summary"]["run"].index(row.run)
        assert data["forecast"]["probability"][i] == pytest.approx(row.probability, rel=2e-3, abs=1e-6)
        assert data["forecast"]["regime"][i] == row.regime


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("Does **width** help, or `relu`?", "Does width help, or relu?"),
        ("*One* of 2 * 3 * 4 `a_b` snake_case_name", "One of 2 * 3 * 4 a_b snake_case_name"),
        (r"50 \* 2 \_x\_ \<b\>", "50 * 2 _x_ <b>"),
        ("", ""),
    ],
)
def test_unmarked_text(markdown, text):
    assert unmarked(markdown) == text
