"""The accuracy map as widgets, without a page: set and clicked from Python."""

import ipywidgets as widgets
import numpy as np
import pytest

from helpers.config import SweepConfig
from helpers.widgets.accuracy_map import AccuracyGrid


@pytest.fixture
def grid():
    return AccuracyGrid(SweepConfig.from_dict({"layers_list": list(range(1, 20))}))  # 4 x 8 x 19 = 608 cells


def test_only_what_changes_is_sent(grid, monkeypatch):
    sent = []
    original = widgets.Widget.send_state
    monkeypatch.setattr(widgets.Widget, "send_state", lambda self, key=None: (sent.append(self), original(self, key)))
    values = dict.fromkeys(grid.cells, 0.5)
    grid.update(values)
    assert len(sent) <= len(grid.cells) + 2  # one message a cell
    sent.clear()
    chosen = ("relu", "zero", 3)
    grid.update({**values, chosen: 0.7, ("tanh", "zero", 3): 0.5001})
    assert set(sent) == {grid.cells[chosen]}
    assert grid.cells[chosen].description == "0.70"
    assert len(sent) == 1


def test_cells_of_one_accuracy_share_their_models(grid):
    grid.update(dict.fromkeys(grid.cells, 0.5))
    cells = grid.cells.values()
    assert len({cell.style.model_id for cell in cells}) == len({cell.layout.model_id for cell in cells}) == 1


def test_labels_of_the_grid(grid):
    shown = {0.123: "0.12", 0.999: "1.00", 0.0: "0.00", float("nan"): "", None: ""}
    for value, label in shown.items():
        grid.update({("gelu", "normal", 7): value})
        assert grid.cells["gelu", "normal", 7].description.strip() == label
        grid.update({("gelu", "normal", 7): value}, diverged={("gelu", "normal", 7)})
        assert grid.cells["gelu", "normal", 7].description == label + "x"
    with pytest.raises(KeyError):
        grid.update({("gelu", "normal", 70): 0.5})


def test_the_grid_tells_and_marks_one_cell(grid):
    told = []
    grid.on_click(lambda *cell: told.append(cell))
    first, second = ("relu", "zero", 3), ("tanh", "zero", 4)
    for cell in (first, second):
        grid.cells[cell].click()
        grid.mark(cell)
    assert told == [first, second]
    assert [c for c, b in grid.cells.items() if "accuracy-cell-marked" in b._dom_classes] == [second]
    grid.mark(None)
    assert not [c for c, b in grid.cells.items() if "accuracy-cell-marked" in b._dom_classes]


def luminance(colour):
    """Relative luminance of #rrggbb after WCAG 2, by NumPy."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_numbers_can_be_read_on_every_colour(grid):
    cell = ("relu", "zero", 3)
    for value in [None, *np.linspace(0, 1, 101)]:
        grid.update({cell: value})
        style = grid.cells[cell].style
        dark, light = sorted([luminance(style.button_color), luminance(style.text_color)])
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # what WCAG asks of small text
