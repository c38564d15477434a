"""Whole or not at all, states with a checksum, the lock."""

import ast
import errno
import io
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import ROOT, files
from helpers.notebooks import code_cells, read_notebook


def replace_fails(source, target):
    raise OSError(errno.EIO, "Input/output error")


class FullFile(io.BytesIO):
    """A file on a full disk: half of what is written gets there."""

    def __init__(self, path, mode):
        super().__init__()
        self.path = Path(path)

    def writelines(self, parts):
        content = b"".join(parts)
        self.path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


FAILURES = {"replace": (os, "replace", replace_fails), "write": (files, "open", FullFile)}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("old", ["old text", None])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, failure, old):
    path = tmp_path / "summary.csv"
    if old is not None:
        files.write_whole(path, old)
    monkeypatch.setattr(*FAILURES[failure], raising=False)
    with pytest.raises(OSError, match=r"\[Errno"):
        files.write_whole(path, "a longer new text")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == (
        [] if old is None else [("summary.csv", old)]
    )


def test_a_file_appears_only_when_it_is_complete(tmp_path, monkeypatch):
    seen = []

    def look_first(source, target):
        seen.append((Path(source).read_text(), Path(target).exists(), Path(source).parent == Path(target).parent))
        Path(source).rename(target)

    monkeypatch.setattr(os, "replace", look_first)
    files.write_whole(tmp_path / "new" / "a.csv", "text")
    assert seen == [("text", False, True)]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.csv"]


def test_texts_bytes_and_arrays_come_back(tmp_path):
    files.write_whole(tmp_path / "a", "τ")
    files.write_whole(tmp_path / "b", b"\x00\xff")
    files.write_npz(tmp_path / "c.npz", a=np.arange(3))
    files.write_json(tmp_path / "d.json", {"a": [1, None]})
    assert (tmp_path / "a").read_text(encoding="utf-8") == "τ"
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert np.load(tmp_path / "c.npz")["a"].tolist() == [0, 1, 2]
    assert files.read_json(tmp_path / "d.json") == {"a": [1, None]}
    assert files.read_json(tmp_path / "nowhere.json") is None


def test_damaged_json_is_one_sentence(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(files.DamagedError, match=r"a\.json is not readable JSON"):
        files.read_json(tmp_path / "a.json")


# ---- states


@pytest.fixture
def state(tmp_path):
    path = tmp_path / "a.pt"
    files.write_state(path, {"weights": [torch.arange(5.0)], "step": 3}, {"step": 3, "runs": [["a", 1]]})
    return path


def test_a_state_comes_back(state):
    found, about = files.read_state(state)
    assert torch.equal(found["weights"][0], torch.arange(5.0))
    assert (found["step"], about) == (3, {"step": 3, "runs": [["a", 1]]})
    assert files.read_about(state) == about


def test_a_state_from_a_gpu_is_read_without_one(tmp_path, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        files.write_state(tmp_path / "a.pt", {"weights": torch.arange(5.0)})
    found, _ = files.read_state(tmp_path / "a.pt")
    assert found["weights"].device.type == "cpu"
    assert torch.equal(found["weights"], torch.arange(5.0))


def test_any_flipped_bit_of_a_state_is_noticed(state):
    content = state.read_bytes()
    for position in range(0, len(content), max(1, len(content) // 200)):
        for bit in (1, 128):
            damaged = bytearray(content)
            damaged[position] ^= bit
            state.write_bytes(damaged)
            with pytest.raises(files.DamagedError, match=r"a\.pt is "):
                files.read_state(state)


@pytest.mark.parametrize("length", [0, 5, 20, 100, -1])
def test_a_state_that_ends_early_is_noticed(state, length):
    state.write_bytes(state.read_bytes()[:length])
    with pytest.raises(files.DamagedError, match=r"a\.pt is "):
        files.read_state(state)


def test_a_state_holds_no_code(tmp_path):
    """`weights_only`: what a pickle could run is refused, even in a file whose checksum is right."""
    files.write_state(tmp_path / "a.pt", {"path": Path("a")})
    with pytest.raises(files.DamagedError, match=r"a\.pt holds no state as it is written today"):
        files.read_state(tmp_path / "a.pt")


# ---- the lock


def test_a_folder_has_one_lock(tmp_path):
    with files.locked(tmp_path / "a"):
        with pytest.raises(files.LockedError, match="another process is training in"), files.locked(tmp_path / "a"):
            pass
        with files.locked(tmp_path / "b"):
            pass
    with files.locked(tmp_path / "a"):
        pass


HOLDER = """
import sys
from helpers import files
for line in sys.stdin:
    try:
        with files.locked(sys.argv[1]):
            print("in", flush=True)
            sys.stdin.readline()
    except files.LockedError:
        print("kept out", flush=True)
    else:
        print("left", flush=True)
"""


def test_a_lock_is_not_lost_when_another_holder_leaves(tmp_path):
    """Open a, lock a, open b, leave a, lock b, open c: c stays out, since the file of the lock stays the same one."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    def told(process):
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], **pipes) as b:
        with files.locked(tmp_path):
            lock = (tmp_path / ".lock").stat().st_ino
            assert told(b) == "kept out"
        assert told(b) == "in"
        assert (tmp_path / ".lock").stat().st_ino == lock
        with pytest.raises(files.LockedError), files.locked(tmp_path):
            pass
        assert told(b) == "left"
        with files.locked(tmp_path / "." / "x" / ".."):
            assert told(b) == "kept out"
        b.stdin.close()


def test_a_lock_is_not_held_twice_in_one_process(tmp_path):
    """Neither by the thread that has it nor by another one, nor by another name of the folder."""
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with files.locked(tmp_path / "a"), ThreadPoolExecutor(1) as pool:

        def enter(folder):
            with pytest.raises(files.LockedError), files.locked(folder):
                pass

        for folder in (tmp_path / "a", tmp_path / "link"):
            enter(folder)
            pool.submit(enter, folder).result()


# ---- folders that go away


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_folder_at_work_that_goes_away_is_not_made_again(tmp_path, how):
    folder = tmp_path / "a"
    with files.locked(folder):
        files.write_whole(folder / "b" / "c", "text")
        folder.rename(tmp_path / "elsewhere")
        if how == "removed":
            shutil.rmtree(tmp_path / "elsewhere")
        if how == "replaced":
            folder.mkdir()
            (folder / ".lock").touch()
        for path in (folder / "d", folder / "b" / "c"):
            with pytest.raises(files.MovedError, match="was renamed or removed while this was writing to it"):
                files.write_whole(path, "text")
        files.write_whole(tmp_path / "beside", "text")
    assert not (folder / "d").exists()
    assert not (folder / "b").exists()
    files.write_whole(folder / "d", "text")  # nobody works there any more


@pytest.mark.parametrize("instead", ["nothing", "a folder", "the same folders", "a file"])
@pytest.mark.parametrize("before", ["the first mkdir", "the second mkdir", "mkdir's look", "open", "replace"])
def test_a_folder_that_goes_away_during_a_write_gets_none_of_it(tmp_path, monkeypatch, before, instead):
    """Threads write while another one moves: at each call of a write, the folder may just have gone."""
    folder, left = tmp_path / "a", []

    def go_away():
        if not left:
            left.append(folder.rename(tmp_path / "elsewhere"))
            if instead == "a folder":
                folder.mkdir()
            elif instead == "the same folders":
                (folder / "b" / "c").mkdir(parents=True)
            elif instead == "a file":
                folder.write_text("another's")

    def goes_away_before(call, where=lambda path: True):
        def called(path, *given, **named):
            if where(str(path)):
                go_away()
            return call(path, *given, **named)

        return called

    with files.locked(folder):
        files.write_whole(folder / "b" / "c" / "d", "text")
        mkdir, is_dir = Path.mkdir, Path.is_dir
        if before == "the first mkdir":
            monkeypatch.setattr(Path, "mkdir", goes_away_before(mkdir, lambda path: path.endswith("b")))
        elif before == "the second mkdir":
            monkeypatch.setattr(Path, "mkdir", goes_away_before(mkdir, lambda path: path.endswith("c")))
        elif before == "mkdir's look":
            monkeypatch.setattr(Path, "is_dir", goes_away_before(is_dir, lambda path: path.endswith("b")))
        elif before == "open":
            monkeypatch.setattr("builtins.open", goes_away_before(open, lambda path: path.endswith(".part")))
        else:
            monkeypatch.setattr(os, "replace", goes_away_before(os.replace))
        with pytest.raises(files.MovedError, match="was renamed or removed while this was writing to it"):
            files.write_whole(folder / "b" / "c" / "d", "new")
        assert left, "the write makes no such call"
        monkeypatch.undo()
    assert not any(path.is_file() for path in folder.rglob("*"))
    assert (tmp_path / "elsewhere" / "b" / "c" / "d").read_text() == "text"


def test_a_relative_folder_is_left_alone_after_a_change_of_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with files.locked("a"):
        monkeypatch.chdir(tmp_path / "other")
        with pytest.raises(files.MovedError, match="or the working directory changed"):
            files.write_whole(Path("a") / "b", "text")
    assert list((tmp_path / "other").iterdir()) == []


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = "import sys, os, signal\nfrom helpers import files\nwith files.locked(sys.argv[1]): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    with files.locked(tmp_path):
        pass


def test_the_ground_needs_no_torch():
    code = "import sys\nfrom helpers import files, progress, quadrature, records\nprint('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_nothing_else_replaces_files():
    """Whole or not at all is written once: no other module has a temporary file of its own."""
    others = [path for path in (ROOT / "helpers").rglob("*.py") if path.name != "files.py"]
    for path in others:
        text = path.read_text()
        assert "os.replace" not in text, path
        assert '.part"' not in text or path.name in ("cluster.py", "config.py"), path  # which know the name alone


# ---- texts


def opened_as_text(text):
    """The lines on which a text of Python opens a file as text, without saying which encoding.

    What an ASCII locale makes of it is another text, or an error.
    """
    lines = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        said = {keyword.arg: keyword.value for keyword in node.keywords}
        if name == "open" and owner not in ("Image", "zipfile", "tarfile", "webbrowser", "os"):
            mode = said.get("mode", next(iter(node.args[0 if isinstance(node.func, ast.Attribute) else 1 :]), None))
            as_text = not isinstance(mode, ast.Constant) or "b" not in str(mode.value)
        else:
            as_text = name in ("read_text", "write_text", "fdopen", "NamedTemporaryFile") and "b" not in str(said)
        if as_text and "encoding" not in said:
            lines.append(node.lineno)
    return lines


def test_every_text_has_an_encoding():
    assert opened_as_text('open(path)\nopen(path, "rb")\npath.open("a")\npath.open("r", encoding="utf-8")') == [1, 3]
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "helpers").rglob("*.py")}
    for path in [*ROOT.glob("*.ipynb"), *ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("sigmoid/*.ipynb")]:
        cells = code_cells(read_notebook(path))
        sources[path] = "\n".join(
            line for cell in cells for line in "".join(cell["source"]).splitlines() if not line.startswith(("%", "!"))
        )
    assert {path: lines for path, text in sources.items() if (lines := opened_as_text(text))} == {}
