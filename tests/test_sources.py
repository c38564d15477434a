"""Which files count: planted edits in a small tree, and in a copy of the project's own."""

import ast
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from small_notebooks import write_notebook

from helpers import ROOT, sources
from helpers.batch.jobs import made_from, read_jobs
from helpers.notebooks import code_cells, read_notebook
from helpers.sources import PACKAGES, changed, fingerprints, sources_of

pytest_plugins = ["warm_processes"]

# {file: text} of a tree with everything that an import can look like
TREE = {
    "helpers/__init__.py": "",
    "helpers/plain.py": "from helpers import below",
    "helpers/below.py": "import numpy",
    "helpers/alone.py": "",
    "helpers/inside.py": "def f():\n    if True:\n        import helpers.room.late as late\n    return late",
    "helpers/circle.py": "from helpers import plain, circle",
    "helpers/room/__init__.py": "from helpers.room.first import x",
    "helpers/room/first.py": "from .second import y",
    "helpers/room/second.py": "from ..below import z",
    "helpers/room/late.py": "",
    "helpers/room/kernel.c": "int main;",
    "helpers/lazy/__init__.py": "PUBLIC = {'A': 'one', 'b': 'two'}\ndef __getattr__(name): return ...\n",
    "helpers/later/__init__.py": "M = {'A': 'one'}\n__getattr__, __dir__ = handing_on(__name__, M)\n",
    "helpers/later/one.py": "",
    "helpers/later/two.py": "",
    "helpers/lazy/one.py": "import helpers.alone",
    "helpers/lazy/two.py": "",
    "helpers/lazy/three.py": "",
    "courselib/__init__.py": "",
    "courselib/layers.py": "import math",
}
LAZY = {f"helpers/lazy/{name}.py" for name in ("__init__", "one", "two", "three")}
ROOM = {f"helpers/room/{name}" for name in ("__init__.py", "first.py", "second.py", "kernel.c")} | {"helpers/below.py"}


@pytest.fixture
def tree(tmp_path):
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1 + 1", set()),
        ("import numpy as np\nfrom os import path", set()),
        ("from helpers import plain", {"helpers/plain.py", "helpers/below.py"}),
        ("from helpers.plain import anything", {"helpers/plain.py", "helpers/below.py"}),
        ("import helpers.plain", {"helpers/plain.py", "helpers/below.py"}),
        ("from helpers import circle", {"helpers/circle.py", "helpers/plain.py", "helpers/below.py"}),
        ("def f():\n    from helpers import alone", {"helpers/alone.py"}),
        ("from helpers import room", ROOM),
        ("from helpers.room import x", ROOM),
        ("from helpers import inside", {"helpers/inside.py", "helpers/room/late.py", *ROOM}),
        ("from helpers.lazy import A", {"helpers/lazy/__init__.py", "helpers/lazy/one.py", "helpers/alone.py"}),
        ("from helpers.lazy import b", {"helpers/lazy/__init__.py", "helpers/lazy/two.py"}),
        ("from helpers.lazy import three", {"helpers/lazy/__init__.py", "helpers/lazy/three.py"}),
        ("from helpers.lazy import PUBLIC", {"helpers/lazy/__init__.py"}),
        ("from helpers.later import A", {"helpers/later/__init__.py", "helpers/later/one.py"}),
        ("from helpers import later", {"helpers/later/__init__.py", "helpers/later/one.py"}),
        ("from helpers import lazy", {*LAZY - {"helpers/lazy/three.py"}, "helpers/alone.py"}),
        ("from helpers.lazy import unknown", {*LAZY, "helpers/alone.py"}),
        ("from courselib.layers import Dense", {"courselib/__init__.py", "courselib/layers.py"}),
        ("%matplotlib inline\n!ls\nfrom helpers import alone\nalone?", {"helpers/alone.py"}),
        ("from helpers import alone  # why?", {"helpers/alone.py"}),
        ("await nothing\nfrom helpers import alone", {"helpers/alone.py"}),
        ("x = !ls", set(TREE) - {"helpers/__init__.py"}),
    ],
)
def test_what_counts(tree, code, expected):
    assert set(sources_of([code], tree)) == expected


def test_cells_count_together(tree):
    assert set(sources_of(["import helpers.alone", "import helpers.below"], tree)) == {
        "helpers/alone.py",
        "helpers/below.py",
    }


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project's code, to plant edits in."""
    root = tmp_path_factory.mktemp("project")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def is_stale_after_an_edit(notebook, path, root):
    (job,) = read_jobs(ROOT / notebook)
    before, text = made_from(job, root), (root / path).read_text()
    (root / path).write_text(f"{text}\n")
    after = made_from(job, root)
    (root / path).write_text(text)
    assert made_from(job, root) == before
    return after != before


@pytest.mark.parametrize(
    ("notebook", "path", "stale"),
    [
        ("run.ipynb", "helpers/sweep/stack.py", True),  # by way of a name that is exported lazily
        ("run.ipynb", "helpers/sweep/figures.py", True),
        ("run.ipynb", "helpers/files.py", True),
        ("run.ipynb", "helpers/activations/spline_kernel.c", True),
        ("run.ipynb", "helpers/networks/phi.h", True),
        ("run.ipynb", "courselib/softmax_regression.py", True),
        ("run.ipynb", "helpers/widgets/live.py", False),  # nobody watches a batch
        ("run.ipynb", "helpers/page/own.py", False),
        ("run.ipynb", "helpers/gallery/pages.py", False),
        ("run.ipynb", "helpers/bench/stack.py", False),
        ("run.ipynb", "helpers/batch/run.py", False),
        ("run.ipynb", "helpers/spline_study/outcomes.py", False),
        ("run.ipynb", "helpers/phase.py", False),
        ("notebooks/splines.ipynb", "helpers/spline_study/outcomes.py", True),
        ("notebooks/splines.ipynb", "helpers/phase.py", False),
        ("notebooks/signal.ipynb", "helpers/phase.py", True),
        ("notebooks/signal.ipynb", "helpers/spline_study/outcomes.py", False),
        ("notebooks/browse.ipynb", "helpers/page/server.py", True),
        ("notebooks/browse.ipynb", "helpers/sweep/stack.py", False),
    ],
)
def test_an_edit_makes_stale_what_imports_it(copy, notebook, path, stale):
    assert is_stale_after_an_edit(notebook, path, copy) == stale


@pytest.mark.parametrize("notebook", ["run.ipynb", "notebooks/splines.ipynb", "notebooks/browse.ipynb"])
def test_what_python_imports_is_among_them(notebook, warm_python):
    """The imports of a notebook's cells, really made: no module of ours is loaded that does not count."""
    cells = [cell["source"] for cell in code_cells(read_notebook(ROOT / notebook))]
    nodes = [node for cell in cells for node in ast.parse(cell).body if isinstance(node, ast.Import | ast.ImportFrom)]
    script = "\n".join(map(ast.unparse, nodes)) + "\nimport sys; print(*sys.modules)"
    done = warm_python(script, cwd=ROOT)  # which has none of ours beforehand
    assert done.returncode == 0, done.stderr
    loaded = [name for name in done.stdout.split() if name.split(".")[0] in PACKAGES]
    counted = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in sources_of(cells)}
    panel = sources_of(["import helpers.widgets.accuracy_map"])  # what the panel draws with
    counted |= {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in panel}
    assert set(loaded) - counted <= {"helpers", "helpers.widgets.live"}


def test_the_package_itself_has_nothing_that_could_change_a_result():
    """It does not count, since its table of floors grows with every file."""
    tree = ast.parse((ROOT / "helpers" / "__init__.py").read_text())
    assigned = {node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)}
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert assigned | functions == {"ROOT", "FLOORS", "work_from_root"}


def test_a_file_that_is_gone_or_new_is_a_change(tree):
    path = write_notebook(tree / "one.ipynb", "n = 1", "from helpers import plain, missing")
    (job,) = read_jobs(path)
    before = made_from(job, tree)
    (tree / "helpers" / "missing.py").write_text("")
    assert set(made_from(job, tree)["code"]) - set(before["code"]) == {"helpers/missing.py"}
    (tree / "helpers" / "plain.py").write_text("")
    assert "helpers/below.py" not in made_from(job, tree)["code"]


# ---- what code computes, in a few digits

CODE = {
    "helpers/step.py": "from helpers import below\n\n\ndef step(w, g):\n    return w - 0.1 * g\n",
    "helpers/below.py": "x = 1\n",
    "helpers/kernel.c": 'char *s = "/* not */ a  comment";\nint f(int x) { return x - 1; }\n',
}
# what is changed in a file, and whether it computes something else
CHANGES = [
    ("helpers/step.py", "    return", "    # minus the gradient\n    return", False),
    ("helpers/step.py", "    return", '    """One step."""\n    return', False),
    ("helpers/step.py", "w - 0.1 * g", "(w\n            - 0.1*g)", False),
    ("helpers/step.py", "w - 0.1", "w + 0.1", True),
    ("helpers/step.py", "0.1", "0.2", True),
    ("helpers/step.py", "0.1 * g", "g * 0.1", True),
    ("helpers/below.py", "x = 1", "x = None", True),
    ("helpers/below.py", "x = 1", "x = 1.0", True),
    ("helpers/kernel.c", "int f", "/* f */ int f", False),
    ("helpers/kernel.c", "x - 1;", "x - 1;  // one less\n  /* than\n x */", False),
    ("helpers/kernel.c", "x - 1", "x + 1", True),
    ("helpers/kernel.c", "a  comment", "a comment", True),
]


def code_in(folder, **changed):
    for path, text in (CODE | changed).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    (folder / "helpers" / "__init__.py").touch()
    return fingerprints("helpers.step", root=folder)


@pytest.mark.parametrize(("path", "old", "new", "counts"), CHANGES)
def test_a_fingerprint_is_of_what_is_computed(tmp_path, path, old, new, counts):
    before = code_in(tmp_path)
    assert set(before) == set(CODE)
    after = code_in(tmp_path, **{path: CODE[path].replace(old, new)})
    assert changed(before, after) == (path if counts else "")


def test_files_that_come_and_go_are_changes():
    assert changed({"a": "1", "b": "2"}, {"b": "2", "c": "3"}) == "a, c"
    assert changed(dict.fromkeys("abcde", "1"), {}) == "a, b, c and 2 more"
    assert fingerprints("numpy") == {}


def test_threads_that_parse_wait_for_each_other(monkeypatch):
    """Python up to 3.11.7 fails where two parse at a time (gh-106905); made to do so here whenever they meet."""
    parse, inside = ast.parse, []

    def meets_none(text):
        inside.append(text)
        time.sleep(0.01)
        alone = len(inside) == 1
        inside.pop()
        if not alone:
            raise SystemError("AST constructor recursion depth mismatch")
        return parse(text)

    monkeypatch.setattr(ast, "parse", meets_none)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(sources.parsed, [f"x = {i}" for i in range(16)]))
    assert [tree.body[0].value.value for tree in found] == list(range(16))


def test_what_others_parse_meanwhile_is_outlasted(monkeypatch):
    parse, fails = ast.parse, iter([True] * 5)

    def unlucky(text):
        if next(fails, False):
            raise SystemError("AST constructor recursion depth mismatch")
        return parse(text)

    monkeypatch.setattr(ast, "parse", unlucky)
    assert sources.parsed("x = 7").body[0].value.value == 7
