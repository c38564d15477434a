"""The parameters of a notebook, from a YAML file or from its own cell tagged `parameters`, and what checks them.

A YAML file names its notebook under `notebook`; everything else in it are parameters. Under `each` it may have
several batches, {name: what differs}, which share the rest; dicts are merged key by key. What the YAML means is said
in plain_yaml.py; papermill is given these values, never the file.
"""

import ast
import os
import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from helpers import checks
from helpers.batch import plain_yaml
from helpers.notebooks import code_cells, read_notebook
from helpers.sources import parsed

REGISTERS = re.compile(r"^[^#\n]*register_activation\(", re.MULTILINE)


class BatchError(ValueError):
    """A notebook, or what it is given, cannot be used; the text is one sentence."""

    _render_traceback_ = checks.in_one_sentence


class Kind(NamedTuple):
    """A kind of notebook, known by the names of its parameters. Functions are given as "module:function".

    check        takes these parameters, in this order, and raises ConfigError for what cannot be run
    save_dir     takes the first of them, and says where results go; the parameter `save_dir` where left out
    is_finished  takes the folder of results, and says whether they are complete; where left out, the executed copy does
    """

    parameters: tuple
    check: str
    save_dir: str | None = None
    is_finished: str | None = None


# One line a kind. Modules are imported when a notebook of that kind comes.
KINDS = (
    Kind(
        ("CONFIG", "NETWORKS", "SURFACES"),
        "helpers.landscape_study.settings:study_settings",
        "helpers.landscape_study.settings:save_dir_of",
        "helpers.landscape_study.log:is_finished",
    ),
    Kind(
        ("CONFIG", "PARTS"),
        "helpers.path_study.settings:study_settings",
        "helpers.path_study.settings:save_dir_of",
        "helpers.path_study.log:is_finished",
    ),
    Kind(
        ("CONFIG", "STITCHES"),
        "helpers.stitching_study.settings:study_settings",
        "helpers.stitching_study.settings:save_dir_of",
        "helpers.stitching_study.log:is_finished",
    ),
    Kind(
        ("CONFIG",), "helpers.config:SweepConfig.from_dict", "helpers.config:save_dir_of", "helpers.records:is_finished"
    ),
    Kind(("COMMON", "EXPERIMENTS", "save_dir"), "helpers.spline_study.experiments:experiments"),
)


def imported(function):
    """The function behind "module:function"."""
    module, _, name = function.partition(":")
    return attrgetter(name)(import_module(module))


def kind_of(values):
    """The Kind of a notebook with these parameters; None for one that no check knows."""
    return next((kind for kind in KINDS if set(kind.parameters) <= set(values)), None)


def check(file, notebook, values):
    """Raise BatchError, one sentence, where the notebook cannot run with these values of its parameters."""
    kind = kind_of(values)
    if kind is None:
        return
    function = imported(kind.check)
    from helpers.config import ConfigError  # takes torch, which the check has imported by now

    try:
        function(*(_without_own_activations(values[name], notebook) for name in kind.parameters))
    except ConfigError as error:
        raise BatchError(f"{file}: {error}") from error


def _without_own_activations(value, notebook):
    """A dict less those of its `activations` that only the notebook itself may know, where it registers some."""
    names = value.get("activations") if isinstance(value, dict) else None
    if not isinstance(names, list) or not any(REGISTERS.search(c["source"]) for c in code_cells(opened(notebook))):
        return value
    from helpers.activations import ACTIVATIONS

    known = [name for name in names if not isinstance(name, str) or name in ACTIVATIONS]
    return {**value, "activations": known or ["relu"]}


def results_folder(notebook, values):
    """Where the results of a notebook with these parameters go: as its kind says, its save_dir, or one of its name."""
    kind = kind_of(values)
    given = imported(kind.save_dir)(values[kind.parameters[0]]) if kind and kind.save_dir else values.get("save_dir")
    if not isinstance(given, str) or not given:
        given = f"results/local/{notebook.stem}"
    try:
        folder = Path(checks.path("save_dir", given))
        os.fsencode(folder)
    except UnicodeEncodeError as error:
        raise BatchError(
            f"save_dir is {given!r}, which cannot be a path where texts are {error.encoding}; set PYTHONUTF8=1"
        ) from error
    except (checks.ConfigError, RuntimeError) as error:
        raise BatchError(str(error)) from error
    return folder


# ---- reading


def read_parameters(file):
    """(name, notebook, parameters) of each batch that a YAML file or a notebook stands for. Raises BatchError.

    file  "parameters.yaml", "parameters.yaml:name" for one of those under its `each`, or "notebook.ipynb"
    """
    path, _, chosen = str(file).partition(".yaml:")
    path = Path(f"{path}.yaml" if chosen else path)
    if not _is_file(path):
        raise BatchError(f"there is no file {path}; allowed is a .yaml file with parameters or a notebook")
    if path.suffix == ".ipynb":
        notebook_parameters(path)
        return [(str(file), path, {})]
    content = _read_yaml(path)
    notebook, each = Path(content.pop("notebook")), content.pop("each", None)
    if not _is_file(notebook):
        raise BatchError(f"{path} names the notebook {notebook}, which is not there")
    batches = {"": content} if each is None else _each(path, content, each)
    known = notebook_parameters(notebook)
    for name in (name for parameters in batches.values() for name in parameters):
        if name not in known:
            raise BatchError(f"{path} gives a parameter {name!r} that {notebook} lacks (it has {', '.join(known)})")
    if chosen and chosen not in batches:
        names = ", ".join(filter(None, batches)) or "no `each`"
        raise BatchError(f"{path} has no batch {chosen!r} under `each` (it has {names})")
    return [
        (f"{path}:{name}" if name else str(file), notebook, parameters)
        for name, parameters in batches.items()
        if name == chosen or not chosen
    ]


def _is_file(path):
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _read_yaml(path):
    try:
        content = plain_yaml.read(path.read_bytes())
    except (plain_yaml.YamlError, OSError) as error:
        raise BatchError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("notebook"), str):
        raise BatchError(f"{path} must be a mapping that names its notebook, as in `notebook: run.ipynb`")
    return content


def _each(path, shared, each):
    """{name: parameters} of the batches under `each`."""
    if not isinstance(each, dict) or not each or not all(isinstance(own, dict) for own in each.values()):
        raise BatchError(
            f"{path}: `each` is a mapping from a name to the parameters that differ, with at least one entry"
        )
    return {name: _merged(shared, own) for name, own in each.items()}


def _merged(shared, own):
    both = {name: {**shared[name], **value} for name, value in own.items() if _are_dicts(shared.get(name), value)}
    return {**shared, **own, **both}


def _are_dicts(*values):
    return all(isinstance(value, dict) for value in values)


def opened(notebook):
    """A notebook, read. Raises BatchError where it cannot be."""
    try:
        return read_notebook(notebook)
    except (ValueError, OSError) as error:
        raise BatchError(str(error)) from error


def notebook_parameters(notebook):
    """{name: value} of a notebook's cell that is tagged `parameters`; values must be literals."""
    for cell in opened(notebook)["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            try:
                assigned = [node for node in parsed(cell["source"]).body if isinstance(node, ast.Assign)]
                return {node.targets[0].id: _literal(node.value) for node in assigned}
            except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError) as error:
                raise BatchError(
                    f"the cell tagged `parameters` of {notebook} must assign plain values (numbers, texts, lists, "
                    f"dicts) to names; it does not: {error}"
                ) from error
    raise BatchError(f"{notebook} has no cell tagged `parameters`")


def _literal(node):
    """The value of a literal. Raises ValueError, also where a dict names a key twice: Python keeps the last."""
    for part in ast.walk(node):
        keys = [key.value for key in part.keys if isinstance(key, ast.Constant)] if isinstance(part, ast.Dict) else []
        twice = [key for i, key in enumerate(keys) if key in keys[:i]]
        if twice:
            raise ValueError(f"line {part.lineno} begins a dict that gives the key {twice[0]!r} twice")
    return ast.literal_eval(node)
