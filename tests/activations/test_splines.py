"""Spline activations against SciPy, autograd's own check, plain NumPy, and the published values."""

import os
import shutil
import time

import numpy as np
import pytest
import torch
from hermite import by_scipy, layer_by_scipy
from scipy.interpolate import CubicSpline
from torch.func import functional_call

from helpers import compiled, theory
from helpers.activations import ACTIVATIONS, row_of_family, spline_kernel
from helpers.activations.splines import (
    LearnableSpline,
    PiecewiseCubic,
    SplineShape,
    SplineSigmoid,
    calibration,
    from_hermite,
)

FAMILY = [(2, 2.0, 1.0), (2, 2.0, "smooth"), (1, 1.5, 0.3), (7, 4.0, 0.0), (400, 6.0, "smooth")]
TOLERANCE = {torch.float32: 3e-6, torch.float64: 3e-12}
every_type = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
per_layer_and_unit = pytest.mark.parametrize("per", ["layer", "unit"])


def grid(limit, dtype=torch.float64):
    """Numbers inside, at and beyond the knots, more than a block of the C file."""
    return torch.linspace(-3 * limit, 3 * limit, 16384 + 7, dtype=dtype)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def sigmoid_by_scipy(spline, z, derivative=0):
    """SciPy's clamped spline and two lines."""
    limit, knots = spline.limit, spline.knots
    values = 1 / (1 + np.exp(-knots))
    end = values[-1] * (1 - values[-1])
    inside = CubicSpline(knots, values, bc_type=((1, end), (1, end)))
    slope = end if spline.tail_slope == "smooth" else spline.tail_slope
    tail = np.where(z < 0, values[0] + slope * (z + limit), values[-1] + slope * (z - limit))
    return np.where(np.abs(z) < limit, inside(z, derivative), slope if derivative else tail)


# ---- fixed


def test_the_published_spline_has_its_published_values():
    spline = SplineSigmoid()
    np.testing.assert_allclose(spline.slopes, [0.10499, 0.23310, 0.10499], atol=5e-6)
    z = torch.linspace(-2, 2, 400_001, dtype=torch.float64)
    assert (spline(z) - torch.sigmoid(z)).abs().max().item() == pytest.approx(0.00899, abs=5e-6)
    ends = 1 / (1 + np.exp([2.0, -2.0]))
    assert spline(torch.tensor([-5.0, 5.0])).tolist() == pytest.approx([ends[0] - 3, ends[1] + 3])  # lines of slope 1
    assert spline.df(torch.tensor([-5.0, 5.0])).tolist() == [1, 1]


@pytest.mark.parametrize(("segments", "limit", "tail"), FAMILY)
@every_type
def test_values_and_slopes_are_scipys(segments, limit, tail, dtype):
    spline, z = SplineSigmoid(segments, limit, tail), grid(limit, dtype)
    knots = torch.from_numpy(spline.knots).to(dtype)
    z = z[(z[:, None] - knots).abs().min(1).values > 1e-5]  # a jump of the slope lies on a knot
    wide = z.double().numpy()
    np.testing.assert_allclose(spline(z).double(), sigmoid_by_scipy(spline, wide), atol=TOLERANCE[dtype], rtol=0)
    np.testing.assert_allclose(spline.df(z).double(), sigmoid_by_scipy(spline, wide, 1), atol=TOLERANCE[dtype], rtol=0)


def test_at_a_knot_the_slope_is_that_on_its_right():
    spline = SplineSigmoid(2, 2.0, 0.5)
    knots = torch.from_numpy(spline.knots)
    np.testing.assert_allclose(spline(knots), 1 / (1 + np.exp(-spline.knots)), rtol=1e-14)
    np.testing.assert_allclose(spline.df(knots), [*spline.slopes[:2], 0.5], rtol=1e-14)


def test_any_hermite_data_gives_scipys_cubic():
    shape = random(2, 6)
    z = grid(3.0)
    spline = PiecewiseCubic(from_hermite(*shape, 3.0), 3.0)
    np.testing.assert_allclose(spline(z), by_scipy(shape, 3.0, z.numpy()), atol=1e-12)
    np.testing.assert_allclose(spline.df(z), by_scipy(shape, 3.0, z.numpy(), 1), atol=1e-12)
    other = PiecewiseCubic(from_hermite(*shape, 3.0, tails=(0.25, -2.0)), 3.0)
    beyond = torch.tensor([-5.0, 4.0], dtype=torch.float64)
    expected = [shape[0, 0] - 2 * 0.25, shape[0, -1] - 2.0]
    np.testing.assert_allclose(other(beyond), expected, rtol=1e-14)
    assert other.df(beyond).tolist() == pytest.approx([0.25, -2.0])


def test_several_hermite_splines_at_once_are_each_its_own():
    shapes = random(3, 2, 2, 5)
    tables = from_hermite(shapes[..., 0, :], shapes[..., 1, :], 1.5)
    assert tables.shape == (3, 2, 4, 6)
    assert torch.equal(tables[2, 1], from_hermite(*shapes[2, 1], 1.5))


@pytest.mark.parametrize(("segments", "limit", "tail"), FAMILY[:4])
def test_gradcheck_passes(segments, limit, tail):
    z = torch.linspace(-2.7 * limit, 2.7 * limit, 41, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SplineSigmoid(segments, limit, tail), (z,), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("by", ["C", "torch"])
@every_type
def test_no_number_in_no_number_out(monkeypatch, by, dtype):
    if by == "torch":
        monkeypatch.setattr(spline_kernel, "_library", lambda dtype: None)
    z = torch.tensor([np.nan, 0.0, np.inf, -np.inf, 1e30], dtype=dtype)
    value, slope = SplineSigmoid().value_and_slope(z)
    assert value.isnan().tolist() == slope.isnan().tolist() == [True, False, False, False, False]
    assert value[2:4].tolist() == [np.inf, -np.inf]
    assert value[4].item() == pytest.approx(1e30)
    assert slope[2:].tolist() == [1, 1, 1]
    assert SplineSigmoid()(z).isnan().tolist() == [True, False, False, False, False]


def test_shapes_types_and_empty_tensors():
    spline = SplineSigmoid(3, 2.0, "smooth")
    for shape in ((0,), (0, 3), (), (2, 3, 5)):
        z = torch.zeros(shape, requires_grad=True)
        spline(z).sum().backward()
        assert spline(z).shape == spline.df(z.detach()).shape == z.grad.shape == shape
    turned = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).T
    assert torch.equal(spline(turned), spline(turned.contiguous()))
    assert torch.equal(spline.df(turned), spline.df(turned.contiguous()))


def test_bfloat16_is_rounded_once():
    spline, z = SplineSigmoid(3, 2.0, "smooth"), random(500, dtype=torch.bfloat16)
    for ours, wide in zip(spline.value_and_slope(z), spline.value_and_slope(z.float()), strict=True):
        assert ours.dtype == torch.bfloat16
        assert torch.equal(ours, wide.bfloat16())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_results_go_where_they_are_asked_to_and_may_replace_their_input(dtype, turned):
    spline, z = SplineSigmoid(3, 2.0, "smooth"), random(30, 70, dtype=dtype)
    z = z.T if turned else z
    value, slope = spline.value_and_slope(z)
    given, out = z.clone(), torch.empty_like(z)
    found = spline.value_and_slope(given, out, slope=given)
    assert found[0] is out
    assert found[1] is given
    assert torch.equal(out, value)
    assert torch.equal(given, slope)
    given = z.clone()
    assert spline.value(given, given) is given
    assert torch.equal(given, value)


def test_theory_takes_it_like_any_other():
    """At Xavier's variance the published spline's chi1 is about that of the sigmoid."""
    spline, q = SplineSigmoid(), 0.2647
    assert theory.chi1(spline, q, 1.0) == pytest.approx(theory.chi1("sigmoid", q, 1.0), rel=0.1)
    samples = spline.df(random(2_000_000) * 3.0**0.5) ** 2
    error = samples.std().item() / len(samples) ** 0.5
    assert abs(theory.chi1(spline, 3.0, 1.0) - samples.mean().item()) < 5 * error


def test_limits_far_out_are_no_overflow():
    spline = SplineSigmoid(4, 1000.0, "smooth")
    assert spline(torch.tensor([-2e3, 0.0, 2e3])).tolist() == pytest.approx([0, 0.5, 1])


def test_time_does_not_grow_with_the_number_of_knots():
    """One look-up a number, whatever the segments: a walk over 400 of them would take some 100 times as long as over 2.

    The least of several processor times is free of what others do on the machine.
    """
    z, seconds = random(200_000, dtype=torch.float32), {}
    for segments in (2, 400):
        spline, out = SplineSigmoid(segments, 2.0), torch.empty_like(z)
        spline.value(z, out)
        took = []
        for _ in range(9):
            start = time.process_time()
            spline.value(z, out)
            took.append(time.process_time() - start)
        seconds[segments] = min(took)
    assert seconds[400] < 20 * seconds[2]


# ---- the kernel: compiled C, and torch


def reference(z, tables, limit):
    """(value, slope, segment, powers of s) in plain NumPy, straight from the words of the kernel's head."""
    z, tables = z.double().numpy(), tables.double().numpy()
    members, rows, width = z.shape
    units, segments = tables.shape[1], tables.shape[3] - 2
    s = (z + limit) * segments / (2 * limit)
    segment = np.clip(np.floor(s), -1, segments).astype(int) + 1
    s = s - np.clip(segment - 1, 0, None)
    member, unit = np.arange(members)[:, None, None], np.broadcast_to(np.arange(width) % units, (members, rows, width))
    c = tables[member, unit, :, segment]  # (members, rows, width, 4)
    powers = s[..., None] ** np.arange(4)
    slope = (c[..., 1:] * np.arange(1, 4) * powers[..., :3]).sum(-1) * segments / (2 * limit)
    return (c * powers).sum(-1), slope, (member, unit, segment), powers


def case(members, rows, width, per, segments, dtype, seed=0):
    """(z, tables, limit, grad): random splines, C1 at their knots, and numbers in every segment and both tails.

    No number is so near to a knot that rounding could take it to the other side.
    """
    generator, limit = torch.Generator().manual_seed(seed), 1.7
    whole = torch.randint(-3, segments + 3, (members, rows, width), generator=generator)
    s = whole + 0.02 + 0.96 * torch.rand(whole.shape, dtype=torch.float64, generator=generator)
    shape = random(members, width if per == "unit" else 1, 2, segments + 1, seed=seed)
    tables = from_hermite(shape[..., 0, :], shape[..., 1, :], limit).to(dtype).contiguous()
    z = ((s / segments * 2 - 1) * limit).to(dtype)
    return z, tables, limit, random(*z.shape, seed=seed + 1, dtype=dtype)


# one number; rows that are no multiple of anything; more than one block of 16384 in a row, with a second member; rows
# longer than a part of 128; enough for a second thread; a member shared between two threads; no number
SIZES = [
    *[(1, 1, 1), (3, 7, 5), (2, 33, 129), (2, 1, 16384 + 21), (1, 3, 300), (3, 130, 257), (1, 2101, 128)],
    *[(2, 0, 5), (2, 5, 0)],
]


@pytest.fixture(params=["C on one thread", "C on two threads", "torch"])
def kernel(request, monkeypatch):
    """The kernel by either route."""
    threads = torch.get_num_threads()
    if request.param == "torch":
        monkeypatch.setattr(spline_kernel, "_library", lambda dtype: None)
    else:
        needs_a_compiler()
        torch.set_num_threads(1 if "one" in request.param else 2)
    yield spline_kernel
    torch.set_num_threads(threads)


def needs_a_compiler():
    if shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.skip("no C compiler on this machine")
    assert spline_kernel._library(torch.float64) is not None


@pytest.mark.parametrize("size", SIZES, ids=str)
@per_layer_and_unit
@every_type
def test_the_kernel_does_what_its_head_says(kernel, size, per, dtype):
    z, tables, limit, grad = case(*size, per, 5, dtype)
    expected, expected_slope, where, powers = reference(z, tables, limit)
    near = {"atol": {torch.float32: 1e-4, torch.float64: 1e-12}[dtype], "rtol": 0}  # slopes reach some 10
    value, slope = kernel.value_and_slope(z, tables, limit)
    assert value.dtype == slope.dtype == dtype
    np.testing.assert_allclose(value, expected, **near)
    np.testing.assert_allclose(slope, expected_slope, **near)
    assert torch.equal(kernel.value(z, tables, limit), value)
    np.testing.assert_allclose(kernel.pull_back(grad, z, tables, limit), grad.numpy() * expected_slope, **near)

    (sums, back), by_table = kernel.sums_and_pull_back(grad, z, tables, limit), np.zeros(tables.shape)
    assert torch.equal(back, kernel.pull_back(grad, z, tables, limit))
    wide = grad.double().numpy()
    for j in range(4):
        np.add.at(by_table[:, :, j], where, wide * powers[..., j])
    assert sums.dtype == torch.float64
    assert sums.shape == tables.shape
    # a tail has no s^2 and s^3; each term is a few roundings off, and there are up to 2e4 of them in a sum
    terms = np.zeros(tables.shape[:2] + tables.shape[3:])
    np.add.at(terms, where, np.abs(wide) * powers[..., 1].clip(-3, 3) ** 2 + 1)
    error = 8 * torch.finfo(dtype).eps * (terms.max() if terms.size else 0)
    np.testing.assert_allclose(sums[:, :, :2], by_table[:, :, :2], atol=error, rtol=0)
    np.testing.assert_allclose(sums[..., 1:-1], by_table[..., 1:-1], atol=error, rtol=0)


@pytest.mark.parametrize("size", SIZES, ids=str)
@per_layer_and_unit
def test_two_threads_do_what_one_does_to_the_last_digit(size, per):
    needs_a_compiler()
    threads, found = torch.get_num_threads(), []
    z, tables, limit, grad = case(*size, per, 5, torch.float32)
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(
            [
                *spline_kernel.value_and_slope(z, tables, limit),
                *spline_kernel.sums_and_pull_back(grad, z, tables, limit),
            ]
        )
    torch.set_num_threads(threads)
    assert all(map(torch.equal, *found))


@per_layer_and_unit
@every_type
def test_the_kernel_writes_over_its_input_where_told_to(kernel, per, dtype):
    z, tables, limit, grad = case(3, 130, 257, per, 5, dtype)
    value, slope = kernel.value_and_slope(z, tables, limit)
    given = z.clone()
    assert kernel.value(given, tables, limit, given) is given
    assert torch.equal(given, value)
    given, out = z.clone(), torch.empty_like(z)
    kernel.value_and_slope(given, tables, limit, out, given)
    assert torch.equal(out, value)
    assert torch.equal(given, slope)
    given = z.clone()
    kernel.value_and_slope(given, tables, limit, given, out)
    assert torch.equal(given, value)
    assert torch.equal(out, slope)
    back = kernel.pull_back(grad, z, tables, limit)
    given = z.clone()
    kernel.pull_back(grad, given, tables, limit, given)
    assert torch.equal(given, back)
    given = grad.clone()
    kernel.pull_back(given, z, tables, limit, given)
    assert torch.equal(given, back)
    by_tables, found = kernel.sums_and_pull_back(grad, z, tables, limit)
    assert torch.equal(found, back)
    for over in ("z", "grad"):
        given = {"grad": grad.clone(), "z": z.clone()}
        again, found = kernel.sums_and_pull_back(**given, tables=tables, limit=limit, out=given[over])
        assert found is given[over]
        assert torch.equal(found, back)
        assert torch.equal(again, by_tables)


def test_sums_of_many_numbers_are_as_good_as_each_of_them(kernel):
    """All in one segment, as where the signal has vanished, and of one sign: added up in float32, 300,000 of them would
    be wrong in the fifth digit. s is a power of 2, so that no term is rounded.
    """
    z, grad = torch.full((1, 300_000, 1), 2.0**-4), 1 + random(1, 300_000, 1).abs().float()
    tables = from_hermite(*random(2, 5).float(), 1.0)[None, None]
    by_tables, _ = kernel.sums_and_pull_back(grad, z, tables, 1.0)
    expected = grad.double().sum().item() * 0.125 ** np.arange(4)
    np.testing.assert_allclose(by_tables[0, 0, :, 3], expected, rtol=1e-12)
    others = [segment for segment in range(6) if segment != 3]
    assert not by_tables[..., others].any()


def test_tables_may_lie_in_memory_in_any_way(kernel):
    """`from_hermite` lays the coefficients of a segment side by side, which is what needs no copy."""
    z, tables, limit, grad = case(2, 33, 129, "unit", 5, torch.float32)
    side_by_side = tables.mT.contiguous().mT
    shape = random(3, 2, 5)
    assert from_hermite(shape[:, 0], shape[:, 1], 1.0).mT.is_contiguous()
    assert not side_by_side.is_contiguous()
    assert torch.equal(kernel.value(z, tables, limit), kernel.value(z, side_by_side, limit))
    for ours, theirs in zip(
        kernel.sums_and_pull_back(grad, z, tables, limit),
        kernel.sums_and_pull_back(grad, z, side_by_side, limit),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_no_number_has_no_gradient_and_spoils_no_other(kernel):
    z, tables, limit, grad = case(1, 40, 7, "unit", 5, torch.float32)
    calm, back = kernel.sums_and_pull_back(grad, z, tables, limit)
    z[0, 13, 4] = torch.nan
    wild, found = kernel.sums_and_pull_back(grad, z, tables, limit)
    nans = found.isnan()
    assert nans[0, 13, 4]
    assert nans.sum() == 1
    assert torch.equal(found[~nans], back[~nans])
    others = [unit for unit in range(7) if unit != 4]
    assert torch.equal(wild[:, others], calm[:, others])
    assert wild[0, 4].isnan().any()


def test_a_member_with_no_numbers_disturbs_no_other(kernel):
    z, tables, limit, grad = case(3, 7, 5, "unit", 4, torch.float32)
    calm = kernel.sums_and_pull_back(grad, z, tables, limit)[0]
    z[1], grad[1] = torch.nan, torch.inf
    wild = kernel.sums_and_pull_back(grad, z, tables, limit)[0]
    assert torch.equal(wild[[0, 2]], calm[[0, 2]])
    assert wild[1].isnan().any()


def test_the_compiled_kernel_refuses_what_it_would_misread():
    needs_a_compiler()
    z, tables, limit, _ = case(2, 3, 4, "layer", 4, torch.float32)
    with pytest.raises(ValueError, match="contiguous"):
        spline_kernel.value(z.mT, tables, limit)
    with pytest.raises(ValueError, match="one number type"):
        spline_kernel.value(z.double(), tables, limit)


@pytest.fixture
def uncompiled(tmp_path, monkeypatch):
    """The kernel as it is before its first use: its C file alone in a folder."""
    monkeypatch.setattr(spline_kernel, "SOURCE", tmp_path / "spline_kernel.c")
    shutil.copy(spline_kernel.__file__.removesuffix(".py") + ".c", tmp_path)
    compiled._library.cache_clear()
    yield tmp_path
    compiled._library.cache_clear()


def everything(per="unit"):
    z, tables, limit, grad = case(2, 33, 129, per, 5, torch.float64)
    return [
        *spline_kernel.value_and_slope(z, tables, limit),
        spline_kernel.pull_back(grad, z, tables, limit),
        *spline_kernel.sums_and_pull_back(grad, z, tables, limit),
    ]


def assert_close(some, others):
    for ours, theirs in zip(some, others, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_without_a_compiler_it_warns_once_and_gives_the_same(uncompiled, monkeypatch):
    by_c = everything()
    assert (uncompiled / "__pycache__").exists() == (spline_kernel._library(torch.float64) is not None)
    shutil.rmtree(uncompiled / "__pycache__", ignore_errors=True)
    monkeypatch.setenv("CC", str(uncompiled / "no-such-program"))
    compiled._library.cache_clear()
    with pytest.warns(UserWarning, match=r"spline_kernel.c could not be compiled: .*no-such-program"):
        by_torch = everything()
    assert spline_kernel._library(torch.float64) is None
    assert_close(by_torch, by_c)
    assert_close(everything(), by_c)  # and no second warning, which would be an error here


def test_what_was_compiled_once_is_found_again(uncompiled, monkeypatch):
    """By a compiler that has no OpenMP, as Apple's, that does not know `native`, and is called with an option."""
    needs_a_compiler()
    shutil.rmtree(uncompiled / "__pycache__")
    compiled._library.cache_clear()
    compiler = uncompiled / "compiler"
    compiler.write_text('#!/bin/sh\nfor a; do case $a in -fopenmp|-march=native) exit 1;; esac; done\nexec cc "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", f"{compiler} -DNOTHING")
    first = everything()
    assert len(list((uncompiled / "__pycache__").iterdir())) == 1  # no half-written file is left

    def none(*_, **__):
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiled.subprocess, "Popen", none)
    compiled._library.cache_clear()
    assert all(map(torch.equal, everything(), first))
    assert spline_kernel._library(torch.float64) is not None


def test_another_compiler_other_flags_and_another_number_type_make_another_file(uncompiled, monkeypatch):
    needs_a_compiler()
    kept, dtype = uncompiled / "__pycache__", torch.float64
    for count, change in enumerate((None, "CC", "FLAGS", "type"), 1):
        if change == "CC":
            monkeypatch.setenv("CC", "cc -DNOTHING")
        elif change == "FLAGS":
            monkeypatch.setattr(compiled, "FLAGS", [*compiled.FLAGS, "-DNOTHING"])
        elif change == "type":
            dtype = torch.float32
        compiled._library.cache_clear()
        assert spline_kernel._library(dtype) is not None
        assert len(list(kept.iterdir())) == count


def test_a_folder_that_cannot_be_written_is_no_obstacle(uncompiled):
    (uncompiled / "__pycache__").touch()  # a file, where root as well cannot make a folder
    needs_a_compiler()
    everything()
    assert (uncompiled / "__pycache__").read_bytes() == b""


# ---- calibrated


BASES = ["relu", "tanh", "sigmoid", "gelu", "softplus", "sin", "linear", "spline_sigmoid"]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("input_scale", [0.3, 1.0, 2.5])
def test_calibrated_activations_are_critical(base, input_scale):
    row = row_of_family("calibrated", {"base": base, "input_scale": input_scale})
    assert theory.variance_map(row, 1.0, 1.0, 0.0) == pytest.approx(1, abs=1e-9)
    assert theory.chi1(row, 1.0, 1.0) == pytest.approx(1, abs=1e-9)
    z = random(200_000)
    for samples in (row.f(z) ** 2, row.df(z) ** 2):
        error = samples.std().item() / len(z) ** 0.5
        assert abs(samples.mean().item() - 1) <= 5 * error + 1e-12


@pytest.mark.parametrize("base", BASES)
def test_of_the_two_shifts_calibration_takes_the_smaller(base):
    """Both have the same distance from the mean E phi."""
    _, shift = calibration(base)
    mean = ACTIVATIONS[base].f(random(1_000_000)).mean().item()
    other = 2 * mean - shift
    assert abs(shift) <= abs(other) + 0.01  # a sampling error of 1 / sqrt(1e6), twice, and more


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda z: torch.exp(z * z), "grows beyond all floats"),
        (lambda z: z.abs().sqrt(), "does not stand still"),
        (torch.log, "has no value"),
    ],
    ids=["grows", "a slope without a mean", "NaN"],
)
def test_what_has_no_means_cannot_be_calibrated(f, words):
    with pytest.raises(ValueError, match=words) as error:
        calibration(f)
    assert "cannot be calibrated" in str(error.value)


def test_a_constant_cannot_be_calibrated():
    with pytest.raises(ValueError, match="without a slope"):
        calibration(lambda z: 0 * z + 3)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("segments", "limit"), [(16, 4.0), (5, 1.3)])
def test_a_calibrated_learnable_spline_is_born_critical(base, segments, limit):
    spline = SplineShape(base, segments, limit, calibrated=True).before_training()
    assert theory.variance_map(spline, 1.0, 1.0, 0.0) == pytest.approx(1, abs=1e-9)
    assert theory.chi1(spline, 1.0, 1.0) == pytest.approx(1, abs=1e-9)


# ---- learnable


# sup |phi''''|, by which the error of cubic Hermite interpolation is at most step^4 / 384 times as large
MOST_BENT = {"sin": 1.0, "gelu": 4 / (2 * np.pi) ** 0.5}


@pytest.mark.parametrize("base", MOST_BENT)
@pytest.mark.parametrize(("segments", "limit"), [(16, 4.0), (40, 2.0)])
def test_a_learnable_spline_starts_as_its_base(base, segments, limit):
    z = torch.linspace(-limit, limit, 20_001, dtype=torch.float64)
    spline = SplineShape(base, segments, limit).before_training()
    distance = (spline(z) - ACTIVATIONS[base].f(z)).abs().max().item()
    bound = (2 * limit / segments) ** 4 / 384 * MOST_BENT[base]
    assert 0.8 * bound < distance < bound
    knots = torch.from_numpy(spline.knots[:-1])
    torch.testing.assert_close(spline(knots), ACTIVATIONS[base].f(knots), rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(spline.df(knots), ACTIVATIONS[base].df(knots), rtol=1e-13, atol=1e-14)
    layer = LearnableSpline(base, segments, limit).double()  # its numbers were born in float32
    torch.testing.assert_close(layer(z[:, None])[:, 0], spline(z), rtol=0, atol=8 * 2**-24 * limit)


def test_start_is_exact_in_any_number_type():
    layer = LearnableSpline("sin", per="unit", width=3).double()
    layer.shape.data.normal_()
    layer.start()
    assert torch.equal(layer.shape, layer.recipe.start().expand(3, 2, 17))


def test_values_and_slopes_of_a_learnable_spline_are_continuous():
    """Also where the straight tails begin; s = 1 at the end of a segment, and tails have s^0 and s^1 only."""
    c0, c1, c2, c3 = SplineShape(segments=6, limit=2.5).tables(random(3, 2, 7)).unbind(-2)
    ends, slopes = c0 + c1 + c2 + c3, c1 + 2 * c2 + 3 * c3
    torch.testing.assert_close(ends[:, 1:-1], c0[:, 2:])
    torch.testing.assert_close(slopes[:, 1:-1], c1[:, 2:])
    torch.testing.assert_close(c0[:, 0], c0[:, 1])
    torch.testing.assert_close(c1[:, 0], c1[:, 1])
    assert not c2[:, [0, -1]].any()
    assert not c3[:, [0, -1]].any()


@per_layer_and_unit
@every_type
def test_a_learnable_spline_is_scipys(per, dtype):
    layer = LearnableSpline(segments=5, limit=1.5, per=per, width=4).to(dtype)
    assert layer.shape.shape == (4 if per == "unit" else 1, 2, 6)
    layer.shape.data.copy_(random(*layer.shape.shape))
    z = 2 * random(3, 7, 4, seed=1, dtype=dtype)
    near = {"atol": TOLERANCE[dtype] * 3, "rtol": TOLERANCE[dtype]}
    torch.testing.assert_close(layer(z).detach().double(), layer_by_scipy(layer, z.double()), **near)
    (slope,) = torch.autograd.grad(layer(z.requires_grad_()).sum(), z)
    torch.testing.assert_close(slope.double(), layer_by_scipy(layer, z.detach().double(), 1), **near)
    assert torch.equal(layer(z.mT.contiguous().mT), layer(z))
    assert layer(z[:0]).shape == (0, 7, 4)


@per_layer_and_unit
def test_gradcheck_passes_for_numbers_and_shape(per):
    layer = LearnableSpline(segments=4, limit=1.5, per=per, width=3).double()
    z = torch.linspace(-2.6, 2.6, 24, dtype=torch.float64).view(2, 4, 3).requires_grad_()
    shape = random(*layer.shape.shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda z, shape: functional_call(layer, {"shape": shape}, z), (z, shape))


def test_shape_gradient_is_the_transpose_of_tables():
    recipe, shape = SplineShape(segments=5, limit=1.5), random(3, 2, 2, 6).requires_grad_()
    grad = random(3, 2, 4, 7, seed=1)
    (by_autograd,) = torch.autograd.grad(recipe.tables(shape), shape, grad)
    kept = grad.clone()
    torch.testing.assert_close(recipe.shape_gradient(grad), by_autograd, rtol=1e-12, atol=1e-13)
    assert torch.equal(grad, kept)


def test_variation_is_the_integral_of_the_bending():
    recipe, shapes = SplineShape(segments=6, limit=2.5), random(4, 2, 7)
    z = torch.linspace(-2.5, 2.5, 6 * 4000 + 1, dtype=torch.float64)
    z = ((z[1:] + z[:-1]) / 2).numpy()
    changes = 0
    for shape, variation in zip(shapes, recipe.variation(shapes), strict=True):
        bending = by_scipy(shape, 2.5, z, 2)
        assert variation.item() == pytest.approx(np.abs(bending).mean() * 5, rel=1e-6)
        sides = np.sign(bending.reshape(6, -1)[:, [0, -1]])
        changes += (sides[:, 0] != sides[:, 1]).sum()
    assert 0 < changes < 24  # the two cases of a segment were both there


def test_a_straight_line_does_not_vary():
    recipe = SplineShape("linear", segments=8, limit=2.0, penalty=1.0)
    assert recipe.variation(recipe.start()).item() == 0
    assert not recipe.penalty_gradient(recipe.start()).any()


def test_the_gradient_of_the_penalty_is_its_difference_quotient():
    recipe, shape, h = SplineShape(segments=4, limit=1.5, penalty=0.3), random(2, 2, 5), 1e-6
    expected = torch.empty_like(shape)
    for at in np.ndindex(*shape.shape):
        step = torch.zeros_like(shape)
        step[at] = h
        expected[at] = 0.3 * (recipe.variation(shape + step) - recipe.variation(shape - step)).sum() / (2 * h)
    torch.testing.assert_close(recipe.penalty_gradient(shape), expected, rtol=0, atol=1e-8)
    layer = LearnableSpline(segments=4, limit=1.5, per="unit", width=2, penalty=0.3).double()
    layer.shape.data.copy_(shape)
    assert layer.penalty().item() == pytest.approx(0.3 * recipe.variation(shape).sum().item())


def test_a_spline_for_every_unit_wants_just_so_many():
    with pytest.raises(ValueError, match="z has 4 units, but this layer has 3 splines"):
        LearnableSpline(per="unit", width=3)(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="z has 4 units, but this layer has 1 splines"):
        LearnableSpline(per="unit", width=1)(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="width is None; a spline of its own for every unit needs the number"):
        LearnableSpline(per="unit")
    assert LearnableSpline()(torch.zeros(2, 4)).shape == (2, 4)  # one for all needs no width


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_every_unit_trains_a_spline_of_its_own(kind):
    """Also where numbers are double: their memory is shared by none, neither with each other nor with the birth's."""
    torch.set_default_dtype(torch.float64)
    try:
        layer = LearnableSpline(segments=4, limit=1.5, per="unit", width=3)
        assert layer.shape.dtype == torch.float64
        born = layer.shape.detach().clone()
        (layer(random(50, 3)) * torch.tensor([1.0, -2.0, 0.0])).sum().backward()
        gradient = layer.shape.grad.clone()
        kind(layer.parameters(), lr=0.1).step()
    finally:
        torch.set_default_dtype(torch.float32)
    step = gradient if kind is torch.optim.SGD else gradient.sign()
    torch.testing.assert_close(layer.shape.detach(), born - 0.1 * step, rtol=0, atol=1e-6)
    assert (gradient[:2] != 0).all()
    assert torch.equal(layer.shape[2], born[2])


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (SplineSigmoid, {"segments": 0}, "segments is 0; allowed is a whole number from 1 up"),
        (SplineSigmoid, {"segments": True}, "segments is True"),
        (SplineSigmoid, {"segments": 2.0}, "segments is 2.0"),
        (SplineSigmoid, {"limit": -1.0}, "limit is -1.0; allowed is a finite number above 0"),
        (SplineSigmoid, {"limit": np.inf}, "limit is inf"),
        (SplineSigmoid, {"limit": 10**400}, "limit is 1000"),
        (SplineSigmoid, {"tail_slope": "flat"}, "tail_slope is 'flat'; allowed is a finite number or 'smooth'"),
        (SplineSigmoid, {"tail_slope": True}, "tail_slope is True"),
        (SplineSigmoid, {"tail_slope": np.nan}, "tail_slope is nan"),
        (SplineShape, {"base": "sigmod"}, "'sigmod'; allowed is relu"),
        (SplineShape, {"segments": "4"}, "segments is '4'"),
        (SplineShape, {"limit": 0}, "limit is 0"),
        (SplineShape, {"per": "unti"}, "per is 'unti'; allowed is 'layer' or 'unit'"),
        (SplineShape, {"calibrated": 1}, "calibrated is 1; allowed is True or False"),
        (SplineShape, {"penalty": -0.1}, "penalty is -0.1; allowed is a finite number from 0 up"),
        (SplineShape, {"penalty": True}, "penalty is True"),
        (LearnableSpline, {"penalty": np.nan}, "penalty is nan"),
    ],
)
def test_bad_parameters_are_one_sentence(kind, given, words):
    with pytest.raises(ValueError, match=words) as error:
        kind(**given)
    assert "\n" not in str(error.value)
    assert ". " not in str(error.value)
