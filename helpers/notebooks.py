"""Notebooks as plain data, read without nbformat, which takes half a second to import."""

import json
from pathlib import Path


def read_notebook(path):
    """A notebook as dicts and lists; every cell has its source as one text, metadata and outputs.

    Raises ValueError, one sentence, for a file that is no notebook of format 4; OSError.
    """
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        if notebook["nbformat"] != 4:
            raise ValueError(f"its format is {notebook['nbformat']}; allowed is 4")
        cells = [_whole_cell(cell) for cell in notebook["cells"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as a notebook: {' '.join(str(error).split())}") from error
    return {**notebook, "metadata": notebook.get("metadata", {}), "cells": cells}


def _whole_cell(cell):
    defaults = {"metadata": {}, "outputs": []}
    return {**defaults, **cell, "source": "".join(cell["source"])}


def code_cells(notebook):
    """The cells that a run of the notebook executes."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]
