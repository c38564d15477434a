"""requirements.txt pins what is imported, and a wheel built from the repository works by itself."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions

import pytest

from helpers import ROOT
from helpers.notebooks import code_cells, read_notebook

OURS = {"helpers", "courselib"} | {path.stem for path in (ROOT / "tests").rglob("*.py")}
NOTEBOOKS = [ROOT / "run.ipynb", *(ROOT / "notebooks").glob("*.ipynb"), ROOT / "sigmoid" / "sigmoid.ipynb"]


RIVALS = ROOT / "helpers/bench/rivals_jax.py"  # has an environment of its own
SAMPLING = ROOT / "helpers/paths/jax_on_cpu.py"  # is what needs requirements-paths.txt


def pinned(file="requirements.txt"):
    """{name: version} as a file of requirements has them."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if not line.startswith("#")]
    pins = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups() for line in lines]
    assert len(dict(pins)) == len(pins), "a package is pinned twice"
    return dict(pins)


def imported():
    """{top name of an import: a file that has it}, of all of our code and notebooks."""
    texts = {
        path: path.read_text() for name in ("helpers", "courselib", "tests") for path in (ROOT / name).rglob("*.py")
    }
    texts |= {path: "\n".join(cell["source"] for cell in code_cells(read_notebook(path))) for path in NOTEBOOKS}
    return imports_in({path: text for path, text in texts.items() if path not in (RIVALS, SAMPLING)})


def imports_in(texts):
    """The same of {file: its text}."""
    found = {}
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.split(".")[0]: path for name in names}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names and name not in OURS}


def test_every_import_is_pinned():
    pins, packages = {name.lower() for name in pinned()}, packages_distributions()
    missing = [
        f"{name} ({path})" for name, path in imported().items() if not pins & set(map(str.lower, packages[name]))
    ]
    assert not missing


def test_every_import_of_the_rival_is_pinned_in_its_own_requirements():
    assert set(imports_in({RIVALS: RIVALS.read_text()})) == {"jax", "numpy"} <= set(pinned("requirements-rivals.txt"))
    assert pinned("requirements-rivals.txt")["numpy"] == pinned()["numpy"]


def test_jax_is_imported_in_one_place_and_pinned_alike_for_all_who_take_it():
    ours, rivals = pinned("requirements-paths.txt"), pinned("requirements-rivals.txt")
    assert {"jax", "blackjax"} == set(imports_in({SAMPLING: SAMPLING.read_text()})) <= set(ours)
    assert {name: ours[name] for name in set(ours) & set(rivals)} == {
        name: rivals[name] for name in ("jax", "jaxlib", "ml_dtypes", "opt_einsum")
    }
    assert not set(ours) & set(pinned())  # who only sweeps installs none of it


# ---- the wheel

# trains a network with learnable splines for one step; argument: where only the wheel's files are
SCRIPT = """
import sys
from pathlib import Path

target = Path(sys.argv[1])
sys.path.insert(0, sys.argv[1])
import torch
import helpers, courselib
from helpers import networks
from helpers.activations import spline_kernel
from helpers.config import Run, SweepConfig

for package in (helpers, courselib):
    assert Path(package.__file__).is_relative_to(target), package.__file__
sizes = {"input_size": 6, "output_size": 3, "input_square": 1.0, "hidden_size": 8, "device": "cpu"}
config = SweepConfig.from_dict({**sizes, "activations": ["learnable_spline"], "layers_list": [3]})
net = networks.build(config, Run("xavier_uniform", "learnable_spline", 3, 0))
optimizer = torch.optim.SGD(net.parameters(), 0.1)
before = [parameter.detach().clone() for parameter in net.parameters()]
x = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
torch.nn.functional.cross_entropy(net(x), torch.arange(16) % 3).backward()
optimizer.step()
changed = {name for (name, new), old in zip(net.named_parameters(), before) if not torch.equal(new, old)}
assert any(name.endswith("shape") for name in changed), changed
print("trained", Path(spline_kernel.__file__).with_suffix(".c").is_file())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the code as it is, built without the network and without leaving anything in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("helpers", "courselib"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip(folder, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (path,) = folder.glob("*.whl")
    return path


def pip(folder, *arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_has_every_file_of_the_packages(wheel):
    there = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    folders = [ROOT / name for name in ("helpers", "courselib")]
    files = [
        path for folder in folders for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert there == {path.relative_to(ROOT).as_posix() for path in files}


def test_what_is_installed_from_the_wheel_trains_a_spline(wheel, tmp_path):
    target, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip(elsewhere, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    command = [sys.executable, "-c", SCRIPT, str(target)]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["trained", "True"]
