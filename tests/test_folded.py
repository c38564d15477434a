"""Pictures that matter less, behind a line that a click opens."""

import matplotlib.pyplot as plt

from helpers import figures, notebooks


def test_folded_pictures_lie_behind_one_line_and_are_found_again(tmp_path, monkeypatch):
    shown, open_before = [], plt.get_fignums()
    monkeypatch.setattr("IPython.display.display", lambda *parts: shown.extend(parts))
    drawn = (figures.Picture(f"a_[{name}]", plt.figure(), f"Of {name}.") for name in ("relu", "gelu"))
    figures.show_folded(drawn, tmp_path, "The same for relu & gelu")
    figures.show_folded([], tmp_path, "nothing")
    (markdown,) = (part.data for part in shown)
    assert markdown.startswith("<details>\n<summary>The same for relu &amp; gelu</summary>\n\n![a  relu ](data:")
    assert markdown.endswith("Of gelu.\n\n</details>")
    outputs = [{"output_type": "display_data", "data": {"text/markdown": markdown}, "metadata": {}}]
    read = {"cells": [{"outputs": []}, {"outputs": outputs}]}
    files = [tmp_path / f"figures/a_[{name}].png" for name in ("relu", "gelu")]
    assert list(notebooks.shown_pictures(tmp_path / "n.ipynb", read)) == [(1, file.read_bytes()) for file in files]
    assert plt.get_fignums() == open_before
