"""What a surface, or a line, holds once it is drawn, and the file of it. Reading one needs no torch."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import files, packed
from helpers.checks import in_one_sentence


class SurfaceError(ValueError):
    """A surface that cannot be drawn or read; the text is one sentence."""

    _render_traceback_ = in_one_sentence


@dataclass(frozen=True, eq=False)
class Surface:
    """The loss at theta + steps[i] v1 + steps[j] v2.

    loss, accuracy  (width, width): row i along v1, column j along v2. Points that have diverged are inf or NaN; the
                    accuracy of a regression is NaN
    steps           (width,) of both axes, 0 in the middle
    settings        plain data that it was made from
    """

    loss: np.ndarray
    accuracy: np.ndarray
    steps: np.ndarray
    settings: dict = field(default_factory=dict)

    @property
    def centre(self):
        """The loss of the network itself."""
        c = len(self.steps) // 2
        return float(self.loss[c, c])

    def to_frame(self):
        """A row a point: step_1, step_2, loss, accuracy."""
        first, second = np.meshgrid(self.steps, self.steps, indexing="ij")
        columns = {"step_1": first, "step_2": second, "loss": self.loss, "accuracy": self.accuracy}
        return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


@dataclass(frozen=True, eq=False)
class Line:
    """The loss at theta + steps[i] v: loss, accuracy, steps, all (width,), and settings."""

    loss: np.ndarray
    accuracy: np.ndarray
    steps: np.ndarray
    settings: dict = field(default_factory=dict)

    def to_frame(self):
        """A row a point: step, loss, accuracy."""
        return pd.DataFrame({"step": self.steps, "loss": self.loss, "accuracy": self.accuracy})


# ---- on disk: one file a surface, with its settings


def save_surface(path, surface):
    """Write a surface or a line as .npz, whole: its arrays in their number type, its settings as JSON."""
    arrays = {"loss": surface.loss, "accuracy": surface.accuracy, "steps": surface.steps}
    files.write_npz(path, compressed=False, **arrays, settings=np.array(json.dumps(surface.settings)))


def load_surface(path):
    """A surface, or a line, that was saved, plain or packed. Raises FileNotFoundError; SurfaceError if damaged."""
    path = Path(path)
    content = packed.read(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("loss", "accuracy", "steps", "settings")}
        settings = json.loads(str(arrays.pop("settings")))
    except (KeyError, NotImplementedError, *packed.DAMAGE) as error:
        raise SurfaceError(f"{path} is damaged, and holds no surface that can be read; draw it again") from error
    loss, accuracy, steps = arrays["loss"], arrays["accuracy"], arrays["steps"]
    whole = all(a.dtype.kind == "f" for a in arrays.values()) and loss.ndim in (1, 2) and steps.ndim == 1
    if (
        not whole
        or loss.shape != accuracy.shape
        or loss.shape != (len(steps),) * loss.ndim
        or not isinstance(settings, dict)
    ):
        raise SurfaceError(f"{path} is damaged: its arrays do not belong together; draw it again")
    return (Surface if loss.ndim == 2 else Line)(loss, accuracy, steps, settings)


def save_csv(path, surface):
    """Write a surface or a line as CSV, a row a point, six digits that count."""
    files.write_whole(path, surface.to_frame().to_csv(index=False, float_format="%.6g"))
