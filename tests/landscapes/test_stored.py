"""What a drawn surface holds, and its file."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from helpers import files
from helpers.landscapes import Line, Surface, SurfaceError, load_surface, save_csv, save_surface
from helpers.landscapes.surfaces import steps_of


def made_up(kind=np.float64):
    loss = np.arange(9, dtype=kind).reshape(3, 3)
    loss[0, 0], loss[2, 2] = np.inf, np.nan
    return Surface(loss, loss / 10, steps_of(3, 0.1), {"name": "é", "epoch": 9})


def test_what_is_saved_is_read_back(tmp_path):
    line = Line(np.ones(4, np.float32), np.zeros(4, np.float32), np.linspace(0, 1, 4), {})
    for name, given in {"surface": made_up(np.float32), "line": line}.items():
        path = tmp_path / f"{name}.npz"
        save_surface(path, given)
        found = load_surface(path)
        assert type(found) is type(given)
        assert found.settings == given.settings
        for key in ("loss", "accuracy", "steps"):
            assert getattr(found, key).dtype == getattr(given, key).dtype
            np.testing.assert_array_equal(getattr(found, key), getattr(given, key))


def test_csv_has_a_row_a_point(tmp_path):
    save_csv(tmp_path / "s.csv", made_up())
    table = pd.read_csv(tmp_path / "s.csv")
    assert list(table) == ["step_1", "step_2", "loss", "accuracy"]
    assert table.loc[5].tolist() == [0.0, 0.1, 5.0, 0.5]
    assert np.isinf(table.loss[0])


def test_a_damaged_file_is_refused_in_a_sentence_and_never_half_written(tmp_path, monkeypatch):
    path = tmp_path / "s.npz"
    save_surface(path, made_up())
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-9], b"not a zip", whole[:200] + b"\xff" * 20 + whole[220:]):
        path.write_bytes(content)
        with pytest.raises(SurfaceError, match=r"s\.npz is damaged") as error:
            load_surface(path)
        assert "\n" not in str(error.value)
    save_surface(path, Surface(np.ones((3, 3)), np.ones((3, 2)), np.ones(3), {}))
    with pytest.raises(SurfaceError, match="do not belong together"):
        load_surface(path)
    with pytest.raises(FileNotFoundError):
        load_surface(tmp_path / "none.npz")
    save_surface(path, made_up())

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        save_surface(path, made_up(np.float32))
    assert load_surface(path).loss.dtype == np.float64


def test_what_was_drawn_is_read_and_shown_without_torch(tmp_path):
    save_surface(tmp_path / "s.npz", made_up())
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from helpers.landscapes import figures, interactive, load_surface, measures\n"
        "surface = load_surface(sys.argv[1])\n"
        "measures(surface), figures.maps(surface), interactive.view(surface)\n"
        "print(surface.centre)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "s.npz"], capture_output=True, text=True)
    assert done.stdout == "4.0\n", done.stderr
