"""C files at their first use: whatever is wrong with the compiler or what it made, one warning or the right numbers."""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import warnings

import pytest

from helpers import ROOT, compiled, files

TWICE = "double twice(double x) { return 2 * x; }\n"
needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here")


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    (tmp_path / "twice.c").write_text(TWICE)
    compiled._library.cache_clear()
    yield tmp_path / "twice.c"
    compiled._library.cache_clear()


def twice(source):
    """What the library says of 21, and the warnings on the way; None where there is none."""
    compiled._library.cache_clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = [compiled.library(source, without="slow") for _ in range(2)]
    assert found[0] is found[1]
    texts = [str(one.message) for one in said]
    assert all(text.startswith("slow, since ") and "\n" not in text for text in texts)
    if found[0] is None:
        assert len(texts) == 1  # one, however often it is asked for
        return None, texts[0]
    assert texts == []
    found[0].twice.restype, found[0].twice.argtypes = ctypes.c_double, [ctypes.c_double]
    return found[0].twice(21.0), ""


def compiler(folder, text):
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("exit 3", "exit code 3"),
        ("echo 'twice.c:1: wrong' >&2; echo more; exit 1", "twice.c:1: wrong"),
        ("printf '\\377\\376 no text\\n' >&2; exit 1", "no text"),
        ("exit 0", "No such file"),  # it says that all is well, and has made nothing
        ('while [ "$1" != -o ]; do shift; done; echo "no library" > "$2"', "cannot be loaded"),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_a_compiler_that_fails_is_one_warning(source, monkeypatch, command, word):
    monkeypatch.setenv("CC", compiler(source.parent, command))
    found, said = twice(source)
    assert found is None
    assert word in said


@pytest.mark.parametrize("command", ["no-such-program", "'cc", "   ", "/", "cc --no-such-option"])
def test_a_command_that_is_none_is_one_warning(source, monkeypatch, command):
    monkeypatch.setenv("CC", command)
    found, said = twice(source)
    assert found is None
    assert "could not be compiled" in said


def test_a_compiler_that_hangs_is_ended_with_all_that_it_started(source, monkeypatch):
    """Its child holds what it writes to, and would keep a reader of a pipe waiting."""
    monkeypatch.setattr(compiled, "LIMIT", 0.5)
    monkeypatch.setenv("CC", compiler(source.parent, f"sleep 600 & echo $! >> {source.parent}/children; wait"))
    found, said = twice(source)
    assert found is None
    assert "took more than 0.5 s" in said
    for child in (source.parent / "children").read_text().split():
        state = subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True).stdout.strip()
        assert state[:1] in ("", "Z")  # a second letter says how it is scheduled, as "ZN" under nice


def kept(source):
    return sorted((source.parent / "__pycache__").iterdir())


@needs_a_compiler
@pytest.mark.parametrize("damage", ["a bit", "half", "nothing", "another library", "a folder"])
def test_a_damaged_library_is_compiled_again(source, damage):
    assert twice(source) == (42.0, "")
    (path,) = kept(source)
    content = bytearray(path.read_bytes())
    path.unlink()  # what this process has loaded stays as it is
    content[len(content) // 3] ^= 4
    other = {"a bit": content, "half": content[: len(content) // 2], "nothing": b"", "another library": b"no library"}
    (path.mkdir if damage == "a folder" else lambda: path.write_bytes(other[damage]))()
    assert twice(source) == (42.0, "")
    if damage != "a folder":
        assert files.checksum(path.read_bytes())[:16] in path.name
    assert len(kept(source)) == 1


@needs_a_compiler
def test_a_damaged_library_without_a_compiler_is_one_warning(source, monkeypatch):
    path = compiler(source.parent, 'exec cc "$@"')
    monkeypatch.setenv("CC", path)
    assert twice(source) == (42.0, "")
    (library,) = kept(source)
    os.unlink(path)
    assert twice(source) == (42.0, "")  # what is kept needs none
    library.write_bytes(library.read_bytes()[:-100])
    assert twice(source)[0] is None


@needs_a_compiler
def test_a_place_where_nothing_may_be_run_or_written(source, monkeypatch, tmp_path):
    """As a read-only installation, one on a drive mounted noexec, and no room for temporary files."""
    load, tried = ctypes.CDLL, []

    def not_there(path):
        tried.append(path)
        if "__pycache__" in path:
            raise OSError(errno.EPERM, "failed to map segment from shared object")
        return load(path)

    monkeypatch.setattr(compiled.ctypes, "CDLL", not_there)
    for _ in range(2):
        assert twice(source) == (42.0, "")
    assert len(tried) == 2 + 3

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_whole", full)
    shutil.rmtree(source.parent / "__pycache__")
    assert twice(source) == (42.0, "")
    monkeypatch.setattr(compiled.tempfile, "TemporaryDirectory", full)
    found, said = twice(source)
    assert found is None
    assert "No space left" in said


PROGRAM = """
import ctypes, sys
from helpers import compiled
found = compiled.library(sys.argv[1])
found.twice.restype, found.twice.argtypes = ctypes.c_double, [ctypes.c_double]
assert found.twice(21.0) == 42.0
"""


@needs_a_compiler
def test_several_processes_compile_at_once(source):
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(source)]
    both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in both] == [""] * 3
    assert all(files.checksum(path.read_bytes())[:16] in path.name for path in kept(source))
