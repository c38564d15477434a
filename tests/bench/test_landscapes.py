"""Loss surfaces against a package: that both measure the same, how the figures come about, what is said of the rival.

What stands in for the package draws a plane of its own, regular or not.
"""

import copy
import json
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers import ROOT
from helpers.bench import landscapes, rivals
from helpers.landscapes import filter_normalised_directions
from helpers.networks import DeepMLP

WIDTH = 5
needs_package = pytest.mark.skipif(
    not any(rivals.RIVALS.rglob("site-packages/loss_landscapes")), reason="`make rivals` installs it"
)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(landscapes, "WIDTH", WIDTH)


@pytest.fixture
def problem():
    torch.manual_seed(0)
    net = DeepMLP(6, 8, 3, 2, "relu").eval()
    x, y = torch.rand(10, 6), torch.randint(3, (10,))
    return landscapes.Problem("mlp", "6", net, x, y, *filter_normalised_directions(net, seed=1), WIDTH, WIDTH)


class Wrapped:
    """A network as the package hands it to a metric."""

    def __init__(self, net):
        self.net = net

    def get_module_parameters(self):
        return SimpleNamespace(parameters=list(self.net.parameters()))


def stand_in(aside=0.0, times=1.0, error=None):
    """A package whose even rows lie `aside` steps off, whose losses are `times` the right ones."""

    class Loss:
        def __init__(self, loss, x, y):
            self.loss, self.x, self.y = loss, x, y

        def __call__(self, wrapped):
            return times * self.loss(wrapped.net(self.x), self.y).item()

    def random_plane(net, metric, distance, steps, normalization, deepcopy_model):
        if error is not None and not all(p.any() for p in net.parameters()):
            raise error
        twin, loss = copy.deepcopy(net), np.zeros((steps, steps))
        ((v1, v2),) = filter_normalised_directions(net, seed=2)
        for i in range(steps):
            for j in range(steps) if i % 2 == 0 else reversed(range(steps)):
                a, b = i - steps // 2, j - steps // 2 + (aside if i % 2 == 0 else 0)
                with torch.no_grad():
                    for (name, p), start in zip(twin.named_parameters(), net.parameters(), strict=True):
                        p.copy_(start + 0.1 * (a * v1[name] + b * v2[name]))
                loss[i, j] = metric(Wrapped(twin))
        return loss

    def random_line(net, metric, distance, steps, normalization, deepcopy_model):
        twin = copy.deepcopy(net)
        for _ in range(steps):
            metric(Wrapped(twin))
            with torch.no_grad():
                for p in twin.parameters():
                    p += 1

    return SimpleNamespace(
        random_plane=random_plane,
        random_line=random_line,
        metrics=SimpleNamespace(Loss=Loss),
        model_interface=SimpleNamespace(model_wrapper=SimpleNamespace(wrap_model=Wrapped)),
    )


# ---- what is measured of the package's grid


@pytest.mark.parametrize("aside", [0.0, 1.0])
def test_a_grid_in_skew_coordinates(aside):
    """Points (i - 1.75) u + (j - 2.5) w, even rows one step further; 0 lies between four of them."""
    u, w = np.array([3.0, 1.0]), np.array([-0.2, 0.7])
    i, j = np.indices((5, 5))
    shift = aside * (i % 2 == 0)
    places = (i - 1.75)[..., None] * u + (j - 2.5 + shift)[..., None] * w
    found = landscapes.off_the_grid(places)
    assert found == pytest.approx((np.hypot(0.25, 0.5), aside), abs=1e-12)


def test_points_come_in_turns_of_rows_and_are_put_in_order():
    order = [(i, j if i % 2 == 0 else WIDTH - 1 - j) for i in range(WIDTH) for j in range(WIDTH)]
    grid = landscapes.in_rows(np.array(order))
    assert grid.tolist() == [[[i, j] for j in range(WIDTH)] for i in range(WIDTH)]


def test_a_package_that_draws_it_right_is_not_blamed(problem):
    found = landscapes.drawn_by(stand_in(), problem)
    assert found["zigzag"] < 1e-3
    assert found["nearest"] < 1e-3
    assert found["middle"] == pytest.approx(found["centre"], rel=1e-6)
    assert found["zero_biases"] is None
    assert found["positive"] == 1  # its line goes that way
    assert abs(found["own"] - 0.5) < 0.25  # of 136 Gaussian numbers: 6 standard deviations


def test_a_package_whose_rows_lie_aside_is_measured(problem):
    found = landscapes.drawn_by(stand_in(aside=1.0, error=ZeroDivisionError()), problem)
    assert found["zigzag"] == pytest.approx(1, abs=1e-3)
    assert found["middle"] != pytest.approx(found["centre"], rel=1e-4)
    assert found["zero_biases"] == "ZeroDivisionError"


@needs_package
def test_the_package_itself(problem):
    """It goes back half of WIDTH steps, not of WIDTH - 1, steps before it looks, and turns round in every row."""
    with landscapes.the_package() as (package, version):
        assert version == "3.0.6"
        assert landscapes.difference(package, problem) < 1e-5
        assert landscapes.package_seconds(package, problem, 2) > 0
        found = landscapes.drawn_by(package, problem)
    assert (found["zigzag"], found["nearest"]) == pytest.approx((1, np.sqrt(0.5)), abs=1e-3)
    assert found["positive"] == 1
    assert found["zero_biases"] == "ZeroDivisionError"


# ---- times


def test_seconds_a_point_of_a_share_of_the_surface(problem, monkeypatch):
    """Two rows of 3 s a point, after 50 s that all 25 points share: 2 + 3."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(landscapes.time, "perf_counter", lambda: clock.now)

    def random_plane(net, metric, *_, **__):
        clock.now += 50
        for _ in range(25):
            metric(Wrapped(net))

    def loss(*_):
        def value(wrapped):
            clock.now += 3
            return 1.0

        return value

    package = SimpleNamespace(random_plane=random_plane, metrics=SimpleNamespace(Loss=loss))
    clock.now = 1.0
    assert landscapes.package_seconds(package, problem, 2) == pytest.approx(5)
    assert clock.now == 1 + 50 + 2 * WIDTH * 3  # the other three rows were not drawn


@pytest.mark.parametrize(
    ("rows", "surfaces", "expected"), [(WIDTH, 2, [5, 5]), (2, 1, [2, 2, 1]), (1, 1, [1, 1, 1, 1, 1])]
)
def test_turns_cover_whole_surfaces(problem, monkeypatch, rows, surfaces, expected):
    """A row of ours takes 10 s, so a point takes 2; the package's turn is not counted."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(landscapes.time, "perf_counter", lambda: clock.now)

    def loss_surface(net, x, y, pair, width, watch):
        for done in range(1, width + 1):
            clock.now += 10
            watch(done, width)

    def package_seconds(package, problem, rows):
        clock.now += 1000
        return 6.0

    monkeypatch.setattr(landscapes, "loss_surface", loss_surface)
    monkeypatch.setattr(landscapes, "package_seconds", package_seconds)
    problem = landscapes.Problem(*[getattr(problem, n) for n in ("network", "inputs", "net", "x", "y", "pair")], rows)
    assert landscapes.turns(None, problem, surfaces) == [(n, 2.0, 6.0) for n in expected]


def test_figures_are_medians_and_ratios_within_turns(problem):
    ours, theirs = landscapes.rows_of(problem, [(5, 1e-3, 3e-3), (5, 2e-3, 4e-3), (5, 4e-3, 4e-3)])
    assert (ours["way"], theirs["way"]) == ("surface", landscapes.PACKAGE)
    assert (ours["ms_per_point"], ours["ms_least"], ours["ms_most"]) == pytest.approx((2, 1, 4))
    assert (theirs["ms_per_point"], theirs["ms_least"], theirs["ms_most"]) == pytest.approx((4, 3, 4))
    ratio = theirs["times_as_long_as_surface"], theirs["ratio_least"], theirs["ratio_most"]
    assert ratio == pytest.approx((2, 1, 3))
    assert ours["times_as_long_as_surface"] == 1


# ---- the whole


def given(monkeypatch, package):
    """Let `measure` find this package."""

    @contextmanager
    def the_package():
        yield package, "9.9" if package else None

    monkeypatch.setattr(landscapes, "the_package", the_package)


def test_the_published_call_is_nine_surfaces(problem, monkeypatch):
    given(monkeypatch, stand_in())
    share = landscapes.Problem("resnet14", "6", problem.net, problem.x, problem.y, problem.pair, 2, 1)
    monkeypatch.setattr(landscapes, "turns", lambda package, problem, surfaces: [(2, 3.0, 6.0), (3, 4.0, 8.0)])
    found = landscapes.measure(rounds=1, among=[problem, share])
    assert found["published_call_seconds"] == 9 * WIDTH * (2 * 3.0 + 3 * 4.0)
    assert [row["network"] for row in found["rows"]] == ["mlp", "mlp", "resnet14", "resnet14"]
    assert found["difference"] < 1e-5
    assert found["drawn"]["zigzag"] < 1e-3
    said = landscapes.sentence(found)
    assert "5 x 5 points" in said
    assert "loss-landscapes 9.9 draws every row 0.00 steps aside" in said


def test_who_gives_another_loss_is_refused(problem, monkeypatch):
    given(monkeypatch, stand_in(times=1.01))
    with pytest.raises(RuntimeError, match=r"losses of mlp differ from the package's by 1.0e-02; allowed is 0.0001"):
        landscapes.measure(rounds=1, among=[problem])


def test_without_the_package_it_is_left_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(rivals, "RIVALS", tmp_path / "nowhere")
    landscapes.main(["--save", str(tmp_path / "kept")])
    assert "loss-landscapes is left out: `make rivals` installs it" in capsys.readouterr().out
    assert not (tmp_path / "kept").exists()


def test_the_package_is_imported_from_its_environment_behind_our_own(monkeypatch, tmp_path):
    """A numpy that lies there is not taken; sys.path is afterwards as it was."""
    there = tmp_path / "lib/python3/site-packages"
    for path, text in (
        ("loss_landscapes/__init__.py", "import numpy"),
        ("loss_landscapes/metrics.py", ""),
        ("loss_landscapes-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: loss-landscapes\nVersion: 1.2\n"),
        ("numpy/__init__.py", "raise RuntimeError"),
    ):
        (there / path).parent.mkdir(parents=True, exist_ok=True)
        (there / path).write_text(text)
    monkeypatch.setattr(rivals, "RIVALS", tmp_path)
    others = {name: module for name, module in sys.modules.items() if name.startswith("loss_landscapes")}
    for name in others:
        monkeypatch.delitem(sys.modules, name)
    before = list(sys.path)
    try:
        with landscapes.the_package() as (package, version):
            assert (package.__file__, version) == (str(there / "loss_landscapes/__init__.py"), "1.2")
            assert package.numpy is np
    finally:
        for name in [name for name in sys.modules if name.startswith("loss_landscapes")]:
            del sys.modules[name]
    assert sys.path == before


def test_the_package_is_pinned_and_imported_nowhere_else():
    assert f"{landscapes.PACKAGE}==3.0.6" in (ROOT / "requirements-rivals.txt").read_text().splitlines()


def test_the_two_networks_are_what_is_claimed():
    for problem, parameters in zip(
        landscapes.problems(), (784 * 128 + 128 + 4 * (128 * 128 + 128) + 1290, None), strict=True
    ):
        assert not problem.net.training
        assert len(problem.x) == len(problem.y) == landscapes.SAMPLES
        assert parameters in (None, sum(p.numel() for p in problem.net.parameters()))
        assert all(p.any() for p in problem.net.parameters())
    assert functional.cross_entropy(problem.net(problem.x[:8]), problem.y[:8]).isfinite()


def test_the_command_keeps_what_was_found(monkeypatch, tmp_path, capsys, problem):
    rows = landscapes.rows_of(problem, [(5, 1e-3, 3e-3)])
    found = {"rows": rows, "package": "9.9", "threads": 2, "difference": 1e-7}
    monkeypatch.setattr(landscapes, "measure", lambda rounds: {**found, "threads": rounds})
    landscapes.main(["--rounds", "4", "--save", str(tmp_path)])
    assert "both give the same loss at the same point, to 1e-07; with 4 threads" in capsys.readouterr().out
    assert json.loads((tmp_path / "manifest.json").read_text())["parts"]["landscapes"]["package"] == "9.9"
    assert (tmp_path / "landscapes.csv").read_text().splitlines()[2] == "mlp,6,10,5,loss-landscapes,5,3,3,3,3,3,3,1"
    with pytest.raises(SystemExit):
        landscapes.main(["--rounds", "0"])
    assert "--rounds is 0; allowed is a whole number from 1 up" in capsys.readouterr().err
