"""Numbers of surfaces against closed forms: quadratics, cosines, wells; persistence against a sweep of thresholds."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from helpers.landscapes import (
    ShapeError,
    anisotropy,
    barrier,
    convex_share,
    curvatures,
    diverged,
    measures,
    persistence,
    roughness,
    sharpness,
    table,
    width_at_twice,
)


def surface(function, width=41, reach=1.0, **settings):
    """A stand-in of a Surface: function(a, b) on the grid, a along v1 (rows)."""
    c = width // 2
    steps = (np.arange(width) - c) * (reach / c)
    a, b = np.meshgrid(steps, steps, indexing="ij")
    loss = np.asarray(function(a, b) + np.zeros_like(a))
    return SimpleNamespace(loss=loss, accuracy=np.zeros_like(loss), steps=steps, settings=settings)


def at(made, *points, value=np.inf):
    """The surface with another loss at some (row, column)."""
    for point in points:
        made.loss[point] = value
    return made


def bowl(a, b):
    return 0.5 + 3 * a**2 + 2 * a * b + 1 * b**2 + 0.25 * a


def noise(width=41, seed=0):
    return surface(lambda a, b: np.random.default_rng(seed).random(a.shape), width)


CONSTANTS = {name: surface(lambda a, b, c=c: c + 0 * a, 9) for name, c in (("zero init", np.log(10)), ("zero", 0.0))}
PLANE = surface(lambda a, b: 1 + 0.3 * a - 0.7 * b)


# ---- around the centre


def test_sharpness_of_a_round_bowl_is_its_rise_at_the_radius():
    made = surface(lambda a, b: 0.5 + 4 * (a**2 + b**2))
    for radius in (0.05, 0.25, 0.5, 1.0):
        assert sharpness(made, radius) == pytest.approx(4 * radius**2 / 1.5, rel=1e-12)
    assert sharpness(made) == sharpness(made, 0.5)
    assert sharpness(made.loss, steps=made.steps) == sharpness(made)
    assert sharpness(surface(lambda a, b: 1 - a**2 - b**2)) == 0  # nothing rises


def test_sharpness_where_points_have_diverged():
    made = surface(lambda a, b: a**2 + b**2, 9)
    assert sharpness(at(made, (0, 4)), 0.5) == pytest.approx(0.25)  # outside of the radius
    for value in (np.inf, np.nan):
        assert sharpness(at(surface(lambda a, b: a**2, 9), (2, 4), value=value), 0.5) == np.inf
        assert np.isnan(sharpness(at(surface(lambda a, b: a**2, 9), (4, 4), value=value)))


def test_width_at_twice_the_loss():
    # 1 + |a| / 0.3 reaches 2 at 0.3, and 1 + |b| / 0.7 at 0.7; linear, so that interpolation is exact
    made = surface(lambda a, b: 1 + abs(a) / 0.3 + abs(b) / 0.7)
    np.testing.assert_allclose(width_at_twice(made), (0.3, 0.7), rtol=1e-12)
    skew = surface(lambda a, b: 1 + np.where(a > 0, a / 0.3, -a / 0.5))
    np.testing.assert_allclose(width_at_twice(skew), (0.4, np.inf), rtol=1e-12)
    parabola = width_at_twice(surface(lambda a, b: 1 + (a / 0.33) ** 2 + (b / 0.5) ** 2))
    np.testing.assert_allclose(parabola, (0.33, 0.5), rtol=0.01)
    first = width_at_twice(surface(lambda a, b: 1 + np.where(abs(abs(a) - 0.3) < 0.01, 2, 0) + 2 * (abs(a) > 0.6)))
    assert first[0] == pytest.approx(0.275)  # the first wall, not the second


def test_width_where_points_have_diverged():
    def made():
        return surface(lambda a, b: 1 + abs(a) / 0.3, 9)

    for value in (np.inf, np.nan):
        wall = at(made(), (5, 4), (3, 4), value=value)
        assert width_at_twice(wall) == (0, np.inf)
        assert width_at_twice(at(made(), (7, 4), (1, 4), value=value))[0] == pytest.approx(0.3)  # reached before
        assert np.isnan(width_at_twice(at(made(), (4, 4), value=value))).all()
    assert np.isnan(width_at_twice(at(made(), (4, 4), value=-1))).all()  # twice of it is lower


@pytest.mark.parametrize("width", [3, 5, 41])
@pytest.mark.parametrize("reach", [1.0, 0.01])
def test_curvatures_of_a_quadratic(width, reach):
    made = surface(bowl, width, reach)
    exact = sorted(np.linalg.eigvalsh([[6, 2], [2, 2]]), reverse=True)
    np.testing.assert_allclose(curvatures(made), exact, rtol=1e-7)
    assert anisotropy(made) == pytest.approx(exact[0] / exact[1], rel=1e-7)
    np.testing.assert_allclose(curvatures(surface(lambda a, b: a**2 - 4 * b**2, width, reach)), (-8, 2), rtol=1e-7)


def test_curvatures_where_points_have_diverged():
    made = at(surface(bowl), (18, 18), (19, 21), value=np.nan)
    np.testing.assert_allclose(curvatures(made), curvatures(surface(bowl)), rtol=1e-9)
    few = surface(lambda a, b: a**2, 3)
    few.loss[:2] = np.inf
    assert np.isnan(curvatures(few)).all()
    assert np.isnan(anisotropy(few))
    assert anisotropy(surface(lambda a, b: 7 + a**2)) == np.inf  # a valley
    assert curvatures(PLANE) == (0, 0)
    assert np.isnan(anisotropy(PLANE))


# ---- the whole surface


def test_roughness_is_zero_for_a_quadratic():
    for made in (surface(bowl), surface(lambda a, b: a**2 - 3 * a * b), PLANE):
        assert roughness(made) < 1e-12
    for made in CONSTANTS.values():
        assert roughness(made) == 0


def cubic(a, b):
    """a^3 less its best line, which is orthogonal to every quadratic on the grid."""
    return a**3 - a * (a**4).sum() / (a**2).sum()


def test_roughness_is_the_total_variation_of_what_no_quadratic_fits():
    # 41 columns vary as the cubic does, 41 rows not at all
    made = surface(cubic)
    line = made.loss[:, 0]
    expected = np.abs(np.diff(line)).sum() / 2 / np.ptp(line)
    assert roughness(made) == pytest.approx(expected, rel=1e-10)
    # with a quadratic added, the variation is the same and the range another
    whole = surface(lambda a, b: cubic(a, b) + bowl(a, b))
    assert roughness(whole) == pytest.approx(np.abs(np.diff(line)).sum() / 2 / np.ptp(whole.loss), rel=1e-10)


def test_roughness_of_cosines_counts_their_waves_and_grows_little_with_the_width():
    # cos(pi m a), of a range of 2, goes up and down by 4 m along a column from -1 to 1, and along no row
    for m in (4, 8):
        found = [roughness(surface(lambda a, b, m=m: np.cos(np.pi * m * a), width)) for width in (81, 101)]
        np.testing.assert_allclose(found, 4 * m / 2 / 2, rtol=0.1)
        assert found[0] == pytest.approx(found[1], rel=0.03)


def test_roughness_of_noise():
    """Two uniform numbers differ by 1/3 on average; the mean over 3280 neighbours has an error of about 0.006."""
    assert roughness(noise()) == pytest.approx(40 / 3, rel=0.05)


def test_roughness_does_not_change_with_scale_zoom_or_view():
    made = noise(21)
    expected = roughness(made)
    for loss in (7 * made.loss + 3, made.loss.T, made.loss[::-1], 1e-9 * made.loss, 1e300 * made.loss):
        assert roughness(loss, steps=made.steps) == pytest.approx(expected, rel=1e-6)
    assert roughness(made.loss, steps=made.steps / 100) == expected
    with_bowl = noise(21).loss + 1e-3 * surface(bowl, 21).loss
    assert roughness(with_bowl, steps=made.steps) == pytest.approx(expected, rel=0.02)


def test_roughness_where_points_have_diverged():
    made = surface(lambda a, b: np.cos(np.pi * 8 * a))
    whole = roughness(made)
    made.loss[:, :10] = np.inf
    assert roughness(made) == pytest.approx(whole, rel=0.1)
    made.loss[:] = np.nan
    made.loss[20, 19:22] = 1
    assert np.isnan(roughness(made))


def test_convex_share():
    assert convex_share(surface(bowl)) == 1
    assert convex_share(surface(lambda a, b: -bowl(a, b))) == 0
    assert convex_share(surface(lambda a, b: a**2 - 0.01 * b**2)) == 0
    assert convex_share(surface(lambda a, b: a * b)) == 0  # convex along both axes, but not between them
    # along a valley the smaller eigenvalue is 0, and of a plane both are
    for made in (surface(lambda a, b: 3 + (a + b) ** 2), surface(lambda a, b: a**2), PLANE, *CONSTANTS.values()):
        assert convex_share(made) == 1
    # -cos(pi a) - cos(pi b) is convex where |a| and |b| are below 1/2: of 99 inner points an axis, 51 with the limit
    found = convex_share(surface(lambda a, b: -np.cos(np.pi * a) - np.cos(np.pi * b), 101))
    assert found in ((49 / 99) ** 2, (51 / 99) ** 2)


def test_convexity_is_that_of_any_pair_of_directions_in_the_plane():
    """Sylvester: what v1 and v2 are turned and stretched into has another Hessian with the same signs."""
    for p, q in ((3, 1), (3, -0.1), (-1, -2)):
        made = surface(lambda a, b, p=p, q=q: p * (2 * a + 0.7 * b) ** 2 + q * (0.05 * b - 0.3 * a) ** 2)
        assert convex_share(made) == float(min(p, q) > 0)


def test_convexity_where_points_have_diverged():
    made = at(surface(bowl, 5), (0, 0))  # spoils one of the nine inner points, and the others are convex
    assert convex_share(made) == 1
    half = surface(lambda a, b: a**2 + b**2 * np.sign(b), 5)  # of the inner points b = -0.5 and b = 0 are not convex
    share = convex_share(half)
    assert convex_share(at(half, (0, 4), value=np.nan)) == pytest.approx((9 * share - 1) / 8)
    assert np.isnan(convex_share(at(surface(bowl, 3), (0, 1))))


def test_convexity_counts_rounding_as_flat():
    made = surface(lambda a, b: (1 + a).astype(np.float32))
    assert convex_share(made) < 1
    assert convex_share(made, rounding=np.finfo(np.float32).eps) == 1


# ---- between points


def test_barrier_of_a_double_well():
    t = np.linspace(-1, 1, 41)
    assert barrier((t**2 - 1) ** 2) == pytest.approx(1)
    tilted = (t**2 - 1) ** 2 + 0.3 * t  # the line between the ends takes the tilt with it
    assert barrier(tilted, steps=t) == pytest.approx(1)
    assert barrier(SimpleNamespace(loss=tilted, steps=t)) == pytest.approx(1)
    assert barrier(t**2) == 0  # below the line everywhere
    assert barrier([2, 5]) == 0
    uneven = np.array([0, 0.1, 1])  # 1 above a line from 0 to 10, a tenth of the way
    assert barrier([0, 2, 10], steps=uneven) == pytest.approx(1)


def test_barrier_where_points_have_diverged():
    for value in (np.inf, np.nan):
        assert barrier([0, value, 1]) == np.inf
        assert np.isnan(barrier([value, 0, 1]))
        assert np.isnan(barrier([1, value, value]))


# ---- persistence


def by_thresholds(loss, neighbours):
    """{minimum's place: (birth, death)} by labelling {L <= t} at every level, with the elder rule."""
    structure = np.ones((3, 3)) if neighbours == 8 else None
    alive, found = {}, {}
    levels = np.unique(loss[np.isfinite(loss)])
    for t in levels:
        labels, count = ndimage.label(loss <= t, structure)  # NaN and inf are below no level
        now = {}
        for label in range(1, count + 1):
            inside = [place for place in alive if labels[place] == label]
            if not inside:  # born now
                place = np.argwhere((labels == label) & (loss == t))[0]
                now[tuple(map(int, place))] = t
                continue
            eldest = min(inside, key=lambda place: (alive[place], place))
            now[eldest] = alive[eldest]
            found |= {place: (alive[place], t) for place in inside if place != eldest}
        alive = now
    return found | {place: (birth, np.inf) for place, birth in alive.items()}


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("kind", ["noise", "smooth", "ties", "diverged", "plateaus"])
def test_persistence_is_that_of_a_sweep_of_thresholds(kind, neighbours):
    for seed in range(5):
        loss = np.random.default_rng(seed).random((13, 13))
        if kind == "smooth":
            loss = ndimage.gaussian_filter(loss, 1.0)
        if kind == "ties":
            loss = np.round(loss * 6)
        if kind == "plateaus":
            loss = np.round(ndimage.gaussian_filter(loss, 1.5) * 30)
        if kind == "diverged":
            loss[np.random.default_rng(seed + 9).random(loss.shape) < 0.35] = [np.inf, np.nan][seed % 2]
        basins = persistence(loss, steps=np.arange(13) - 6, neighbours=neighbours)
        expected = by_thresholds(loss, neighbours)
        assert sorted((b.birth, b.death) for b in basins) == sorted(expected.values())
        assert all(loss[b.row, b.column] == b.birth for b in basins)
        if kind == "noise":  # without ties the places are certain
            assert {(b.row, b.column): (b.birth, b.death) for b in basins} == expected
        assert [b.depth for b in basins] == sorted((b.depth for b in basins), reverse=True)


def test_persistence_of_two_wells():
    """(a^2 - 1/4)^2 + 0.02 a + b^2: the shallow well is left by its pass near a = 0."""
    made = surface(lambda a, b: (a**2 - 0.25) ** 2 + 0.02 * a + b**2, 81)
    cut = made.loss[:, 40]
    deep, shallow = persistence(made)
    assert (deep.birth, deep.death) == (cut[:40].min(), np.inf)
    assert (shallow.birth, shallow.death) == (cut[40:].min(), cut[25:55].max())
    assert (shallow.row, shallow.column) == (40 + cut[40:].argmin(), 40)
    found = measures(made)
    assert found["basins"] == 2
    assert found["basin_depth"] == found["basin_depth_inside"] == shallow.depth
    for turned in range(4):  # a saddle has two ways down, to the edge; the shallow one ends at each of the four in turn
        tilted = surface(lambda a, b: a**2 - b**2 + 0.1 * b)
        tilted.loss = np.rot90(tilted.loss, turned)
        found = measures(tilted)
        assert found["basin_depth"] == pytest.approx(0.9, abs=0.01)  # of a pass at 0
        assert found["basin_depth_inside"] == 0
    made.loss[60, 43] -= 0.008  # 0.005 below its neighbours, a third of a hundredth of the range
    assert len(persistence(made)) == 3
    assert measures(made)["basins"] == 2


def test_persistence_is_cut_by_diverged_points():
    made = surface(lambda a, b: 1 + (a - 0.1) ** 2 + b**2, 9)
    made.loss[:, 2] = np.inf
    basins = persistence(made)
    assert [b.death for b in basins] == [np.inf, np.inf]
    assert measures(made)["basin_depth"] == np.inf


# ---- together

NAMES = [
    *("centre_loss", "lowest_loss", "highest_loss", "diverged", "sharpness", "roughness", "convex_share"),
    *("width_twice_1", "width_twice_2", "width_twice", "curvature_1", "curvature_2", "anisotropy"),
    *("barrier", "basins", "basin_depth", "basin_depth_inside"),
]


def test_measures_are_the_functions():
    made = surface(bowl, 11)
    found = measures(made)
    assert list(found) == NAMES
    assert all(type(value) is float for value in found.values())
    assert found["sharpness"] == sharpness(made)
    assert (found["width_twice_1"], found["width_twice_2"]) == width_at_twice(made)
    assert (found["centre_loss"], found["highest_loss"]) == (0.5, made.loss.max())
    assert (found["diverged"], found["barrier"], found["basins"]) == (0, 0, 1)
    wavy = surface(lambda a, b: 1 + np.sin(2 * np.pi * b) ** 2, 41)  # waves along v2 from the centre to the edge
    assert measures(wavy)["barrier"] == pytest.approx(1)


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_surface(name):
    found = measures(CONSTANTS[name])
    width = np.inf if found["centre_loss"] else 0
    expected = dict.fromkeys(NAMES, 0.0) | {"convex_share": 1, "basins": 1, "anisotropy": np.nan}
    expected |= dict.fromkeys(("centre_loss", "lowest_loss", "highest_loss"), CONSTANTS[name].loss[0, 0])
    expected |= dict.fromkeys(("width_twice_1", "width_twice_2", "width_twice"), width)
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_surface_that_has_diverged():
    for value in (np.inf, np.nan):
        found = measures(surface(lambda a, b, v=value: v, 5))
        assert found.pop("diverged") == 1
        assert found.pop("centre_loss") is not None
        assert np.isnan(list(found.values())).all()
        part = at(surface(bowl, 9), *((i, j) for i in range(3) for j in range(9)), value=value)
        assert diverged(part) == pytest.approx(1 / 3)
        assert measures(part)["lowest_loss"] == np.nanmin(np.where(np.isfinite(part.loss), part.loss, np.nan))


def test_table_has_a_row_a_surface():
    made = [
        surface(bowl, 9, init="he_normal", network={"layers": layers}, layers=layers, epoch=e)
        for layers, e in ((5, 0), (50, 9))
    ]
    found = table(made, [{"eigenvalue_1": 3.0}, {"eigenvalue_1": 4.0}])
    assert list(found) == ["init", "network.layers", "layers", "epoch", *NAMES, "eigenvalue_1"]
    assert found["layers"].tolist() == [5, 50]
    assert found["eigenvalue_1"].tolist() == [3, 4]
    assert found.loc[1, "roughness"] == roughness(made[1])
    assert len(table([])) == 0


# ---- what cannot be

FLAT = np.zeros((5, 5))
EVEN = np.arange(5) - 2.0
BAD = {
    "even": (lambda: roughness(np.zeros((4, 4)), steps=np.arange(4)), r"\(4, 4\) points; allowed is a square of odd"),
    "one point": (lambda: persistence([[1.0]], steps=[0]), r"\(1, 1\) points; .* from 3 up"),
    "a line": (lambda: convex_share(np.zeros(5), steps=EVEN), r"\(5,\) points"),
    "no steps": (lambda: sharpness(FLAT), "without steps; give the offsets"),
    "few steps": (lambda: sharpness(FLAT, steps=[0, 1]), r"shape \(2,\); allowed is \(5,\)"),
    "uneven": (lambda: sharpness(FLAT, steps=EVEN**3), "allowed are even steps that grow"),
    "falling": (lambda: sharpness(FLAT, steps=-EVEN), "allowed are even steps that grow"),
    "off centre": (lambda: sharpness(FLAT, steps=EVEN + 1), "steps have 1 in the middle; allowed is 0"),
    "radius": (lambda: sharpness(FLAT, 2.5, steps=EVEN), "radius is 2.5; allowed is from one step .* 1, to .* 2"),
    "no radius": (lambda: sharpness(FLAT, 0.5, steps=EVEN), "radius is 0.5; allowed"),
    "reach": (lambda: curvatures(FLAT, 0, steps=EVEN), "reach is 0; allowed is a whole number"),
    "neighbours": (lambda: persistence(FLAT, steps=EVEN, neighbours=6), "neighbours is 6; allowed is 4 or 8"),
    "barrier's steps": (lambda: barrier([1, 2, 3], steps=[0, 1]), r"losses of shape \(3,\) at steps of shape \(2,\)"),
    "barrier of one": (lambda: barrier([1]), "two or more points"),
    "barrier of a plane": (lambda: barrier(FLAT), "two or more points"),
    "barrier back": (lambda: barrier([1, 2, 3], steps=[0, 2, 1]), "allowed are steps that grow"),
    "further": (lambda: table([surface(bowl, 5)], []), "further has 0 dicts for 1 surfaces"),
    "twice": (lambda: table([surface(bowl, 5, roughness=1)]), "'roughness' is the name of two columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_sentence(name):
    call, words = BAD[name]
    with pytest.raises(ShapeError, match=words) as error:
        call()
    assert "\n" not in str(error.value)
