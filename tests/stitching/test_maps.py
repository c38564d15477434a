"""All kinds of maps alike: number types, files, bad input, the corners of few and strange anchors."""

import json
import re

import numpy as np
import pytest
import torch
from made_up_latents import planted, two_views

from helpers.stitching import KINDS, StitchError, file_name, fit, fit_path, gcv, load, loo
from helpers.stitching.maps import SHAPES

QUICK = {kind: {"steps": 20} if "steps" in row.settings else {} for kind, row in KINDS.items()}


def quick(kind, source, target, lam="gcv"):
    return fit(kind, source, target, lam, **QUICK[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_back_has_the_type_of_what_came(kind):
    source, target = two_views(30, 5, 4)
    found = quick(kind, source, target)
    exact = found(source)
    assert exact.dtype == np.float64
    for type_ in (np.float32, np.float16):
        answer = found(source.astype(type_))
        assert answer.dtype == type_
        np.testing.assert_allclose(answer, exact, atol=30 * np.finfo(type_).eps * np.abs(source).max() * 10)
    for type_ in (torch.float64, torch.float32, torch.bfloat16):
        answer = found(torch.from_numpy(source).to(type_))
        assert isinstance(answer, torch.Tensor)
        assert answer.dtype == type_
    assert (found(torch.from_numpy(source)).numpy() == exact).all()
    np.testing.assert_allclose(found(source[::-1])[::-1], exact, atol=1e-12)
    assert found(np.ones((2, 5), int)).dtype == found([[1, 2, 3, 4, 5]]).dtype == np.float64
    again = quick(kind, torch.from_numpy(source), torch.from_numpy(target))
    assert (again(source) == exact).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_has_a_gradient_in_its_latents(kind):
    found = quick(kind, *two_views(30, 3, 2))
    z = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(found, (z,))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lam", ["gcv", 0.1])
def test_a_file_gives_the_map_back_bitwise(kind, lam, tmp_path):
    source, target = two_views(12, 5, 4)
    found = quick(kind, source, target, lam)
    path = tmp_path / "folder" / file_name(("a", "b"), kind, 12, lam, "random")
    found.save(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    same = load(path)
    for name in ("kind", "lam", "settings", "sizes", "anchors", "note", "history"):
        assert getattr(same, name) == getattr(found, name), name
    assert set(same.arrays) == set(found.arrays)
    assert all((same.arrays[name] == array).all() for name, array in found.arrays.items())
    assert (same(source) == found(source)).all()
    if kind == "decoupled":
        assert (same.backward(target) == found.backward(target)).all()


def test_a_damaged_or_foreign_file_is_one_sentence(tmp_path):
    found, path = fit("affine", *two_views(12, 5, 4)), tmp_path / "map.npz"
    found.save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for content in (b"", b"no zip", *(whole[: len(whole) * part // 8] for part in range(1, 8))):
        path.write_bytes(content)
        with pytest.raises(StitchError, match="holds no map that can be read"):
            load(path)
    for _ in range(150):  # a flipped bit is found, or is in what nobody reads
        bit = rng.integers(8 * len(whole))
        path.write_bytes(bytes(byte ^ (1 << bit % 8) if i == bit // 8 else byte for i, byte in enumerate(whole)))
        try:
            same = load(path)
        except StitchError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert all((same.arrays[name] == found.arrays[name]).all() for name in found.arrays)
    np.savez(path, A=np.eye(3))
    with pytest.raises(StitchError, match="holds no map"):
        load(path)
    with np.load(tmp_path / "map.npz") as stored:
        assert set(stored.files) == {"A"}
    found.save(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    for name, other in (
        ("A", np.eye(3)),
        ("A", arrays["A"] * np.nan),
        ("A", arrays["A"] * 1j),
        ("A", arrays["A"][None]),
        ("about", np.array("{}")),
        ("about", np.array(3)),
    ):
        np.savez(path, **(arrays | {name: other}))
        with pytest.raises(StitchError, match="holds no map"):
            load(path)
    with pytest.raises(StitchError, match="holds no map"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz")


WRONG_ABOUT = {
    "kind": ["affin", 3, None],
    "lam": ["gcv", -1, [1], True],
    "settings": [[], 3, {"seps": 1}],
    "sizes": [[5, 3], [4, 5], [5], [5, 4, 3], ["a", "b"], [5.0, 4.0], 5],
    "anchors": ["many", 0, 2.5],
    "note": [3],
    "history": [["a"], 3],
    "format": ["plumbline map 0"],
    "new": [1],
}


@pytest.mark.parametrize("kind", ["decoupled", "kernel", "adaptive"])
def test_a_file_in_which_anything_is_of_another_kind_is_one_sentence(kind, tmp_path):
    """Whole files, with one array or one word that no fit has written."""
    path = tmp_path / "map.npz"
    quick(kind, *two_views(12, 5, 4)).save(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    about = json.loads(str(arrays.pop("about")))

    def refused(arrays, about):
        np.savez(path, **arrays, **({} if about is None else {"about": np.array(json.dumps(about))}))
        with pytest.raises(StitchError, match=rf"^{re.escape(str(path))} holds no map that can be read: [^\n]*$"):
            load(path)

    for name, array in arrays.items():
        rest = {other: value for other, value in arrays.items() if other != name}
        wrong = [array.astype(np.float32), array * np.nan, array + 1j, array.astype(str), array[None]]
        wrong += [array[:-1], array[:1], array[..., :-1]] if array.ndim else []
        for other in wrong:
            refused({**rest, name: other}, about)
        refused(rest, about)
    refused({**arrays, "B": np.eye(2)}, about)
    refused(arrays, None)
    for name in about.keys() - {"note"}:
        refused(arrays, {key: value for key, value in about.items() if key != name})
    for name, values in WRONG_ABOUT.items():
        for value in values:
            refused(arrays, {**about, name: value})


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_the_name_of_another_kind_or_an_array_of_one_is_one_sentence(kind, tmp_path):
    path, source, target = tmp_path / "map.npz", *two_views(12, 5, 4)
    found = quick(kind, source, target)
    assert found.arrays.keys() == KINDS[kind].arrays
    found.save(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    about = json.loads(str(arrays.pop("about")))
    sizes = {"h": 3, "n": 12, "d1": 5, "d2": 4}
    extra = {name: np.ones([sizes[size] for size in shape]) for name, shape in SHAPES.items() if name not in arrays}
    wrong = [({**arrays, name: array}, about) for name, array in extra.items()]
    wrong += [(arrays, about | {"kind": other}) for other in KINDS if (kind, other) not in ALIKE]
    wrong += [(arrays, about | {"lam": 0.1 if about["lam"] is None else None})]
    if kind == "affine":  # all that an orthogonal map has, but no rotation
        wrong.append(({**arrays, "scale": np.array(1.0)}, about | {"kind": "orthogonal", "lam": None}))
        wrong.append(({**arrays, "scale": np.array(0.0)}, about | {"kind": "orthogonal", "lam": None}))
    for content, said in wrong:
        np.savez(path, **content, about=np.array(json.dumps(said)))
        with pytest.raises(StitchError, match=rf"^{re.escape(str(path))} holds no map that can be read: [^\n]*$"):
            load(path)


ALIKE = {(kind, kind) for kind in KINDS} | {("linear", "affine")}  # a linear map is affine, with an offset of 0


@pytest.mark.parametrize("size", [1e-305, 1e-160, 0.0, 1.0, 1e60])
@pytest.mark.parametrize(("d1", "d2"), [(5, 4), (4, 5)])
def test_orthogonal_maps_of_any_scale_come_back(size, d1, d2, tmp_path):
    source, target = two_views(12, d1, d2)
    found = fit("orthogonal", source, target * size)
    found.save(tmp_path / "map.npz")
    assert (load(tmp_path / "map.npz")(source) == found(source)).all()


def test_names_of_files_are_legal_and_apart():
    words = [
        ("a", "b"),
        ("a>b", "c"),
        ("a", "b>c"),
        ("a:b", "c"),
        ("a?b", "c"),
        ("A", "b"),
        ("a--b", "c"),
        ("a", "b--c"),
    ]
    pairs = [*words, ("ä", "b"), ("a/b", "c"), (".a", "b"), ("x" * 300, "b"), ("x" * 301, "b"), ("con", "nul")]
    names = [
        file_name(pair, "affine", 100, lam, "equally")
        for pair in pairs
        for lam in ("gcv", 0, 0.1, 0.1000001, 1e20, 1e-20, None)
    ]
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9._-]*\.npz", name) and len(name) <= 255 for name in names)
    assert names[2] == "a--b__affine__100__0.1__equally.npz"
    with pytest.raises(StitchError, match="allowed are two names"):
        file_name("ab", "affine", 100, 0.1, "equally")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x, y: fit("afine", x, y), "did you mean 'affine'"),
        (lambda x, y: fit(None, x, y), "the kind of map: None is not known"),
        (lambda x, y: fit("affine", x, y, -1), "lam is -1; allowed is a finite number from 0 up, or 'gcv'"),
        (lambda x, y: fit("affine", x, y, float("nan")), "lam is nan; allowed is a finite number from 0 up, or 'gcv'"),
        (lambda x, y: fit("affine", x, y, "GCV"), "lam is 'GCV'; allowed is a finite number from 0 up, or 'gcv'"),
        (lambda x, y: fit("affine", x, y, None), "lam is None"),
        (lambda x, y: fit("affine", x, y, True), "lam is True"),
        (lambda x, y: fit("orthogonal", x, y, -1), "lam is -1"),
        (lambda x, y: fit_path("affine", x, y, [0.1, -1]), "lam is -1"),
        (lambda x, y: fit_path("mlp", x, y, [0.1]), "allowed here are linear, affine, kernel"),
        (lambda x, y: gcv("affine", x, y, ["gcv"]), "lam is 'gcv'"),
        (lambda x, y: gcv("orthogonal", x, y), "orthogonal is fitted one lambda at a time"),
        (lambda x, y: loo("affine", x[:1], y[:1], 0), "1 of 1 anchors"),
        (lambda x, y: fit("kernel", x, y, lenght=1), "kernel has no key 'lenght'; did you mean 'length'"),
        (lambda x, y: fit("affine", x, y, hidden=3), "affine has no key 'hidden'"),
        (lambda x, y: fit("kernel", x, y, length=0), "length is 0; allowed is a finite number above 0, or 'median'"),
        (lambda x, y: fit("decoupled", x, y, ridge=-1), "ridge is -1"),
        (lambda x, y: fit("mlp", x, y, hidden=0), "hidden is 0"),
        (lambda x, y: fit("mlp", x, y, seed=0.5), "seed is 0.5"),
        (lambda x, y: fit("affine", x * np.nan, y), "source latents hold NaN"),
        (lambda x, y: fit("affine", x, y[:-1]), "latents of different images"),
        (lambda x, y: fit("affine", x[0], y), r"source latents have shape \(5,\)"),
        (lambda x, y: fit("affine", x, y)(y), "latents have 4 numbers an image; this affine map from 5 to 4 takes 5"),
        (lambda x, y: fit("decoupled", x, y).backward(x), "this decoupled map from 5 to 4 takes 4"),
        (lambda x, y: fit("affine", x, y)(x * np.inf), "hold NaN or infinity"),
        (lambda x, y: fit("affine", x, y).backward(y), "only decoupled"),
        (lambda x, y: load(None), "the file of the map is None; allowed is a path"),
        (lambda x, y: fit("affine", x, y).save(""), "the file of the map is ''; allowed is a path"),
        (lambda x, y: file_name(None, "affine", 3, 0.1, "random"), "the pair is None; allowed are two names"),
        (lambda x, y: file_name(("a", "b"), "affine", 3, [0.1], "random"), "lam is"),
        (lambda x, y: fit("kernel", x, y).matrix, "kernel maps are no matrix; allowed are linear, affine, orthogonal"),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(StitchError, match=sentence) as caught:
        call(*two_views(12, 5, 4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_strange_anchors_give_a_finite_map_with_a_note_or_one_sentence(kind, n):
    source, target = two_views(n, 3, 4)
    strange = {
        "usual": source,
        "one point": source * 0 + 0.3,
        "dead latent": source * [1, 0, 1] + [0, 0.3, 0],
        "twice the same": source[:, [0, 1, 0]],
        "tiny": source * 1e-200,
        "large": source * 1e69,
    }
    for name, x in strange.items():
        for lam in (0, 0.1, "gcv"):
            found = quick(kind, x, target, lam)
            assert np.isfinite(found(x)).all(), (name, lam)
            assert found(x).shape == (n, 4)
            if kind != "linear" and name != "large" and (n == 1 or name == "one point"):
                np.testing.assert_allclose(found(x), target.mean(0, keepdims=True).repeat(n, 0), atol=1e-9)
                assert found.note or (kind == "decoupled" and lam == "gcv"), lam
    flat = quick(kind, source, target * 0 + 0.3)(source)
    assert kind == "linear" or np.abs(flat - 0.3).max() < 1e-12
    with pytest.raises(StitchError, match="overflow; allowed are latents and lambdas up to 1e\\+70"):
        quick(kind, source * 1e250, target, 1.0)


def test_the_front_door_of_one_map():
    source, a, offset, _ = planted(40, 6, 3)
    found = fit("affine", source, source @ a + offset)
    assert found.sizes == (6, 3)
    assert found.anchors == 40
    assert found.matrix.shape == (6, 3)
    assert found.offset.shape == (3,)
    table = gcv("affine", source, source @ a + offset)
    assert list(table.columns) == ["lam", "gcv", "degrees_of_freedom"]
    assert table.degrees_of_freedom[0] == pytest.approx(7)
