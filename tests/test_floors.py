"""The house: every file of helpers/ has a place in FLOORS, and imports only what stands before it."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from helpers import FLOORS, ROOT

PLACES = [name for floor in FLOORS for name in floor.split()]


def place_of(path):
    """The file or room of helpers/ that a source file belongs to."""
    return path.relative_to(ROOT / "helpers").parts[0].removesuffix(".py")


def imports_of(path):
    """The modules of ours that a source file imports, wherever in it: {"helpers.sweep.stack", ...}."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; allowed is from helpers..."
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {module_of(name) for name in found if name.startswith("helpers.")} - {"helpers"}


def module_of(name):
    """The module that an imported name lies in: "helpers.words.span" -> "helpers.words"."""
    while not ((file := ROOT / Path(*name.split("."))).is_dir() or file.with_suffix(".py").exists()):
        name = name.rpartition(".")[0]
    return name


SOURCES = sorted((ROOT / "helpers").rglob("*.py"))


def test_every_file_and_room_has_one_place():
    there = {place_of(path) for path in SOURCES} - {"__init__"}
    assert sorted(PLACES) == sorted(there)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downward(path):
    here = place_of(path)
    for module in imports_of(path):
        there = module.split(".")[1]
        assert here != "__init__", "helpers/__init__.py imports nothing of ours"
        assert there == here or PLACES.index(there) < PLACES.index(here), f"{path} imports {module}, which is above it"


def test_no_room_imports_in_circles():
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): imports_of(path) for path in SOURCES}
    try:
        TopologicalSorter({name: found - {name} for name, found in modules.items()}).prepare()
    except CycleError as error:
        pytest.fail(f"imports go in a circle: {' -> '.join(error.args[1])}")


def test_courselib_and_helpers_do_not_know_each_other():
    for folder, other in (("helpers", "courselib"), ("courselib", "helpers")):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                assert other not in {name.split(".")[0] for name in names}, path
