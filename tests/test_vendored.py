"""The libraries of others: as they were published, with their licence, and named in the package."""

import hashlib
import tomllib

import pytest

from helpers import ROOT, vendored


@pytest.mark.parametrize("library", vendored.LIBRARIES, ids=lambda library: library.package)
def test_a_library_is_the_file_that_was_published_and_has_its_licence(library):
    content = library.path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == library.sha256
    assert f"v{library.version}" in content[:500].decode()
    assert library.licence_path.read_text(encoding="utf-8").startswith(f"{library.licence} License")


def test_every_file_of_the_folder_has_its_row_and_goes_into_a_wheel():
    folder = ROOT / "helpers" / "vendored"
    rows = {path for library in vendored.LIBRARIES for path in (library.path, library.licence_path)}
    assert {path for path in folder.iterdir() if path.is_file()} == rows | {folder / "__init__.py"}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["*"]
    assert all(any(path.match(pattern) for pattern in patterns) for path in rows)
