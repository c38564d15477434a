"""Maps against a package and a wrong norm: that each does what its name says, how figures come about, what is written.

What stands in for the package are linear maps by least squares; networks are small and see 8 x 8 digits.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_latents import two_views
from scipy import linalg

from helpers import ROOT
from helpers.bench import measured, page, rivals, stitching
from helpers.config import SweepConfig
from helpers.data import load

needs_package = pytest.mark.skipif(
    not any(rivals.RIVALS.rglob("site-packages/latentis")), reason="`make rivals` installs it"
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Fewer and smaller of everything; the data are 8 x 8 digits."""
    sizes = {"SEEDS": (0, 1), "LATENT": 3, "BASE": 1, "TRAIN": 200, "TEST": 60, "HELD_OUT": 50, "POOL": 120}
    sizes |= {"HIDDEN": 8, "DEPTH": 2, "MLP_EPOCHS": 1, "FITS": 20, "AFFINE_ANCHORS": 20, "SPECTRAL_STEPS": 20}
    sizes |= {"EPOCHS": {"early": 1, "late": 2}, "ANCHORS": (10, 100), "MLP_ANCHORS": (20, 100)}
    for name, value in sizes.items():
        monkeypatch.setattr(stitching, name, value)
    digits = {"dataset": "digits", "train_size": 200, "test_size": 60}
    monkeypatch.setattr(stitching, "mnist", lambda: load(SweepConfig.from_dict(digits)))
    monkeypatch.setattr(stitching.stitched, "__defaults__", ((10, 100),))
    monkeypatch.setattr(stitching.accuracies, "__defaults__", ((20, 100),))


def views(n, d1=4, d2=3):
    return [torch.from_numpy(view) for view in two_views(n, d1, d2)]


# ---- the wrong norm


def norm_by_hand(found, source, target):
    """The largest singular value of what a map leaves."""
    return linalg.norm((found(source) - target).numpy(), 2)


def least_by_hand(source, target):
    """Of the part of the target outside the span of [1, source], by a projection."""
    design = np.column_stack([np.ones(len(source)), source])
    return linalg.norm(target.numpy() - design @ linalg.pinv(design) @ target.numpy(), 2)


@pytest.mark.parametrize("way", [stitching.least_spectral, stitching.spectral_by_adam])
def test_the_spectral_norm_is_minimised(way):
    source, target = views(40)
    found, left = way(source, target, 400)
    least, at_0 = least_by_hand(source, target), linalg.norm(target.numpy(), 2)
    assert left == pytest.approx((norm_by_hand(found, source, target) - least) / (at_0 - least), abs=1e-9)
    assert -1e-9 < left <= 2 * stitching.CLOSE


def test_no_map_reaches_less_and_least_squares_reaches_the_least():
    source, target = views(40)
    least = least_by_hand(source, target)
    assert stitching.Spectral(source, target).least == pytest.approx(least, rel=1e-12)
    assert norm_by_hand(stitching.fit("affine", source, target, 0.0), source, target) == pytest.approx(least, rel=1e-9)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = stitching.fit("affine", source, target + torch.from_numpy(rng.normal(size=target.shape)), 0.0)
        assert norm_by_hand(other, source, target) >= least


def test_with_fewer_anchors_than_latents_nothing_is_left():
    source, target = views(4, 9)
    found, left = stitching.least_spectral(source, target)
    assert left <= stitching.CLOSE
    assert norm_by_hand(found, source, target) <= stitching.CLOSE * linalg.norm(target.numpy(), 2) + 1e-9


# ---- figures


def made_up():
    """Two directions, two draws, 10 anchors: ours has errors 0.02 and 0.03, theirs 0.01 and 0.03 more."""
    rows = []
    for pair, draw, way in [(p, d, w) for p in (0, 1) for d in (0, 1) for w in ("affine", "latentis")]:
        theirs = way == "latentis"
        row = {"pair": pair, "anchors": 10, "draw": draw, "way": way, "seconds": (2 + pair + draw if theirs else 1)}
        row |= {"mse": 0.02 + 0.01 * pair + theirs * (0.01 + 0.02 * pair), "own": 0.02}
        rows.append(row | {"latent_error": 0.5 if theirs else 0.2})
    return pd.DataFrame(rows)


def test_intervals_are_over_directions_and_ratios_within_a_fit():
    ours, theirs = stitching.rows_of("early", made_up())
    assert (ours["mse"], theirs["mse"], ours["over_own"]) == pytest.approx((0.025, 0.045, 1.25))
    assert theirs["minus_affine"] == pytest.approx(0.02)
    reach = 12.7062 * 0.01  # Student's t of one degree of freedom, times 0.02 / sqrt(2) / sqrt(2)
    assert theirs["minus_affine_high"] == pytest.approx(0.02 + reach, rel=1e-4)
    assert theirs["latent_times_affine"] == pytest.approx(2.5)
    ratio = theirs["times_as_long_as_affine"], theirs["ratio_least"], theirs["ratio_most"]
    assert ratio == (3, 2, 4)
    assert (theirs["directions"], theirs["fits"]) == (2, 4)


def test_targets_are_met_or_missed_by_the_numbers(tmp_path):
    at_100 = made_up().assign(anchors=100, mse=lambda t: 0.0215 + 0.01 * (t.way != "affine") + 0.0001 * t.pair)
    rows = stitching.rows_of("early", pd.concat([made_up(), at_100]))
    classes = [{"layer": l, "way": "affine", "anchors": 500, "points_below": 0.6 * l} for l in (1, 2)]
    figures = {"mse_class_means": 0.2, "affine_fits_cpu_seconds": 0.3, "many_seconds": 60, "many_cpu_seconds": 90}
    measured.keep(tmp_path / "here", "stitching", stitching.CPU, rows=rows, **figures)
    measured.keep(tmp_path / "here", "stitching_classes", stitching.CPU, rows=classes)
    found = page.outcomes(measured.read(tmp_path)).set_index("target")
    said = {target: (row.measured, row.met) for target, row in found.iterrows()}

    def of(beginning):
        (one,) = [outcome for target, outcome in said.items() if target.startswith(beginning)]
        return one

    assert of("stitching at or below") == ("1.46x to 1.80x (early)", True)
    assert of("an affine map's fit") == ("3x", False)
    assert of("stitched at 100 anchors within 10 %") == (
        "1.08x (1.05x to 1.11x)".replace("x to", " to").replace("11x", "11"),
        False,
    )
    assert of("stitched at 10 anchors below") == ("0.0250 (-0.0385 to 0.0885), class means 0.2000", True)
    assert of("latent error at 100 anchors") == ("0.40 (latentis)", True)
    assert of("36 affine fits") == ("0.300 CPU s", False)
    assert of("2,000 fits")[1]
    assert of("two classifiers stitched at 500 anchors (affine)") == ("0.60, 1.20 points below at layers 1 to 2", False)
    assert not [target for target in said if target.startswith("stitching below the error of the spectral")]


# ---- the package


class Identity:
    def fit(self, x):
        return self


def stand_in():
    """A package whose maps are least squares, and which records what they were made with."""
    made = []

    class Translator:
        def __init__(self, aligner, **transforms):
            made.append((aligner, sorted(transforms)))

        def fit(self, x, y):
            self.a = torch.linalg.lstsq(x, y).solution
            return self

        def transform(self, x):
            return (x @ self.a).requires_grad_(), None

    return SimpleNamespace(
        Translator=Translator,
        SGDAffineAligner=lambda *given: given,
        MatrixAligner=lambda name, state: name,
        lstsq_align_state=None,
        StandardScaling=Identity,
        Procrustes=lambda: Translator("procrustes"),
        made=made,
    )


def given(monkeypatch, package):
    """Let `measure` find this package."""

    @contextmanager
    def the_package():
        yield package, "9.9" if package else None

    monkeypatch.setattr(stitching, "the_package", the_package)


def test_the_package_is_asked_for_its_defaults():
    package, (source, target) = stand_in(), views(20)
    ways = stitching.ways_of(package)
    for way in stitching.BY_ADAM:
        assert not ways[way](source, target)(source).requires_grad
    scaled = ["x_transform", "y_transform"]
    assert package.made == [((300, 1e-3, 0), []), ((300, 1e-3, 0), scaled)]


@needs_package
def test_the_package_itself():
    """Its least squares are ours at lambda 0; its Adam ends above them."""
    source, target = (view.float() for view in views(40))
    with stitching.the_package() as (package, version):
        assert version == "0.0.8"
        ways = stitching.ways_of(package)
        maps = {way: ways[way](source, target) for way in ways if way.startswith("latentis")}
        found = {way: one(source) for way, one in maps.items()}
    best = stitching.fit("affine", source, target, 0.0)(source)
    torch.testing.assert_close(found["latentis lstsq"], best, atol=1e-4, rtol=1e-4)
    least = (best - target).square().mean()
    assert all((found[way] - target).square().mean() > least for way in stitching.BY_ADAM)
    assert set(found) == {*stitching.BY_ADAM, "latentis lstsq", "latentis Procrustes"}


def test_the_package_is_pinned():
    assert "latentis==0.0.8" in (ROOT / "requirements-rivals.txt").read_text().splitlines()


# ---- the whole


def test_the_command_keeps_what_was_found(monkeypatch, tmp_path, capsys):
    given(monkeypatch, stand_in())
    threads = torch.get_num_threads()
    stitching.main(["--draws", "2", "--save", str(tmp_path / "here")])
    assert torch.get_num_threads() == threads
    (m,) = measured.read(tmp_path)
    table, classes = m.tables["stitching"], m.tables["stitching_classes"]
    late = table[table.models == "late"]
    assert len(table) == 2 * 8 + 2 * 4
    assert set(late.way) == set(stitching.LATE)
    assert (table[table.way == "affine"].minus_affine == 0).all()
    assert (table[["mse", "ms_per_fit", "over_own"]] > 0).all(axis=None)
    assert (m.part("stitching")["counted"], m.part("stitching")["package"]) == (2, "9.9")
    keys = [[layer, way, n] for layer in (1, 2) for way in ("affine", "kernel") for n in (20, 100)]
    assert classes[["layer", "way", "anchors"]].to_numpy().tolist() == keys
    assert classes.points_below.to_numpy() == pytest.approx(100 * (classes.parents - classes.accuracy), abs=0.1)
    assert "20 fits and their errors of 50 images take" in capsys.readouterr().out
    assert "| early | 10 | latentis |" in page._stitching(m)
    assert "| 2 | kernel | 100 |" in page._stitched_classes(m)
    with pytest.raises(SystemExit):
        stitching.main(["--draws", "0"])
    assert "--draws is 0; allowed is a whole number from 1 up" in capsys.readouterr().err


def test_without_the_package_one_sentence_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr(rivals, "RIVALS", tmp_path / "nowhere")
    found = stitching.measure(draws=1)
    assert {row["way"] for row in found["rows"]} == {"affine", "linear", *stitching.SPECTRAL}
    assert "latentis is left out: `make rivals` installs it into .venv-rivals" in list(stitching.remarks(found))
