"""Packed logs: the same bytes come back, in either form; what is damaged is never read as if it were whole."""

import base64
import os
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat import v4

from helpers import ROOT, files, notebooks, packed

NAMES = ["b_2L_s0.csv", "a_10L_s1.csv", "a_10L_s0.csv"]


def content_of(name, rows=40):
    """The bytes of a CSV, no two alike; line ends and a byte that is no text must come back as well."""
    values = np.random.default_rng(list(name.encode())).standard_normal((rows, 3))
    return b"x,y,z\r\n" + "".join(",".join(f"{v:.4g}" for v in row) + "\n" for row in values).encode()


@pytest.fixture
def folder(tmp_path):
    """The `runs/` of a sweep."""
    (tmp_path / "sweep" / "runs").mkdir(parents=True)
    (tmp_path / "sweep" / "manifest.json").write_text("{}")
    for name in NAMES:
        (tmp_path / "sweep" / "runs" / name).write_bytes(content_of(name))
    return tmp_path / "sweep" / "runs"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def test_packed_files_are_read_as_they_were(folder):
    assert [packed.read(folder / name) for name in NAMES] == [content_of(name) for name in NAMES]
    assert packed.pack(folder) == 3
    assert not folder.exists()
    assert [packed.read(folder / name) for name in NAMES] == [content_of(name) for name in NAMES]
    assert packed.packed_names(folder) == sorted(NAMES)
    assert packed.exists(folder / NAMES[0])
    assert not packed.exists(folder / "other.csv")
    for absent in (folder / "other.csv", folder.parent / "nothing" / NAMES[0]):
        with pytest.raises(FileNotFoundError):
            packed.read(absent)


def test_any_other_tool_reads_the_archive(folder, tmp_path):
    packed.pack(folder)
    with tarfile.open(packed.pack_of(folder)) as file:
        file.extractall(tmp_path / "out", filter="data")
        table = pd.read_csv(file.extractfile(NAMES[0]))
    assert contents(tmp_path / "out") == {name: content_of(name) for name in NAMES}
    pd.testing.assert_frame_equal(table, pd.read_csv(tmp_path / "out" / NAMES[0]))


def test_the_same_files_give_the_same_archive_whenever_and_in_whatever_steps(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other" / "runs")
    packed.pack(folder)
    for name in reversed(NAMES):
        path = other / name
        kept = path.read_bytes()
        path.write_bytes(kept)
        os.utime(path, (2e9, 2e9))
        os.chmod(path, 0o600)
    last = other / NAMES[1]
    last.rename(other.parent / "last")
    packed.pack(other)
    other.mkdir()
    (other.parent / "last").rename(last)
    packed.pack(other)
    assert packed.pack_of(other).read_bytes() == packed.pack_of(folder).read_bytes()
    with tarfile.open(packed.pack_of(folder)) as file:
        assert {(info.mtime, info.uid, info.uname, info.mode) for info in file} == {(0, 0, "", 0o644)}
    written = packed.pack_of(folder).stat().st_mtime_ns
    assert packed.pack(folder) == 0
    assert packed.pack_of(folder).stat().st_mtime_ns == written


def test_unpacking_gives_the_same_files_back(folder):
    before = contents(folder)
    packed.pack(folder)
    assert packed.unpack(folder) == 3
    assert contents(folder) == before
    assert not packed.pack_of(folder).exists()
    assert packed.unpack(folder) == 0


def test_a_file_beside_the_archive_is_newer(folder):
    packed.pack(folder)
    files.write_whole(folder / NAMES[0], b"new\n")
    files.write_whole(folder / "c.csv", b"more\n")
    assert packed.read(folder / NAMES[0]) == b"new\n"
    kept = shutil.copy(packed.pack_of(folder), folder.parent / "kept")
    assert packed.unpack(folder) == 2
    new = {NAMES[0]: b"new\n", "c.csv": b"more\n", **{name: content_of(name) for name in NAMES[1:]}}
    assert contents(folder) == new
    for name in NAMES[1:]:
        (folder / name).unlink()
    shutil.move(kept, packed.pack_of(folder))
    assert packed.pack(folder) == 2
    assert {name: packed.read(folder / name) for name in packed.packed_names(folder)} == dict(sorted(new.items()))


def test_an_archive_that_was_replaced_is_read_anew(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other" / "runs")
    packed.pack(folder)
    assert packed.read(folder / NAMES[0]) == content_of(NAMES[0])
    (other / NAMES[0]).write_bytes(b"new\n")
    packed.pack(other)
    os.replace(packed.pack_of(other), packed.pack_of(folder))
    assert packed.read(folder / NAMES[0]) == b"new\n"


def one_sentence(error, path):
    text = str(error.value)
    return text.startswith(f"{path} is damaged (") and "git checkout" in text and "\n" not in text


def test_whatever_byte_is_damaged_no_wrong_one_is_read(folder):
    for name in NAMES:
        (folder / name).write_bytes(content_of(name, rows=3))
    packed.pack(folder)
    path = packed.pack_of(folder)
    whole, noticed = path.read_bytes(), 0

    def read(name):
        packed._in_memory.cache_clear()  # within a tick of the clock nothing tells two archives of one size apart
        try:
            return packed.read(folder / name)
        except (files.DamagedError, FileNotFoundError):  # or its name is another one now
            return None

    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        found = [read(name) for name in NAMES]
        noticed += found.count(None)
        assert all(content in (None, content_of(name, rows=3)) for name, content in zip(NAMES, found, strict=True))
    assert noticed == len(whole) * len(NAMES)


@pytest.mark.parametrize("text", [b"", b"PK", b"version https://git-lfs.github.com/spec/v1\n"])
def test_what_is_no_archive_is_named_and_nothing_is_lost(folder, text):
    packed.pack(folder)
    path = packed.pack_of(folder)
    path.write_bytes(text)
    files.write_whole(folder / "c.csv", b"more\n")
    for action in (lambda: packed.read(folder / NAMES[0]), lambda: packed.pack(folder), lambda: packed.unpack(folder)):
        with pytest.raises(files.DamagedError) as error:
            action()
        assert one_sentence(error, path)
    assert packed.read(folder / "c.csv") == b"more\n"
    assert path.read_bytes() == text


def test_a_full_disk_loses_nothing(folder, monkeypatch):
    before = contents(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_whole", full)
    with pytest.raises(OSError, match="No space"):
        packed.pack(folder)
    assert contents(folder) == before
    monkeypatch.undo()
    packed.pack(folder)
    monkeypatch.setattr(files, "write_whole", full)
    with pytest.raises(OSError, match="No space"):
        packed.unpack(folder)
    assert packed.read(folder / NAMES[0]) == before[NAMES[0]]


def made_pack(folder, *members, earlier=False):
    """An archive of (name, bytes), also of what no packing makes; `earlier`, as earlier versions packed."""
    path = packed.packs_of(folder)[earlier]
    if not earlier:
        path.write_bytes(packed.archive(members))
        return path
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in members:
            file.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["../outside.csv"], "'../outside.csv'"),
        (["/outside.csv"], "'/outside.csv'"),
        (["deep/a.csv"], "'deep/a.csv'"),
        (["deep/"], "'deep/'"),
        ([".."], "'..'"),
        (["..\\outside.csv"], "outside.csv"),
        (["C:outside.csv"], "'C:outside.csv'"),
        (["a.csv", "b.csv", "a.csv"], "'a.csv' twice"),
        (["a.csv", "b.csv", "A.CSV"], "both 'a.csv' and 'A.CSV'"),
    ],
)
@pytest.mark.parametrize("earlier", [False, True])
def test_an_archive_of_other_names_is_damaged_and_leads_nowhere(folder, names, word, earlier):
    path = made_pack(folder, *((name, b"outside\n") for name in names), earlier=earlier)
    before = sorted(folder.parents[1].rglob("*"))
    for action in (packed.packed_names, packed.unpack, packed.pack, lambda folder: packed.read(folder / "a.csv")):
        with pytest.raises(files.DamagedError) as error:
            action(folder)
        assert one_sentence(error, path)
        assert word in str(error.value).replace("\\\\", "\\")
    assert sorted(folder.parents[1].rglob("*")) == before
    assert packed.read(folder / NAMES[0]) == content_of(NAMES[0])


def test_a_link_in_an_archive_leads_nowhere(folder, tmp_path):
    with tarfile.open(packed.pack_of(folder), "w:xz") as file:
        link = tarfile.TarInfo("a.csv")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside.csv")
        file.addfile(link)
    with pytest.raises(files.DamagedError, match=r"it holds 'a\.csv', which is no file"):
        packed.unpack(folder)


def test_what_an_earlier_version_packed_is_read_and_packed_anew(folder):
    before = contents(folder)
    path = made_pack(folder, *before.items(), earlier=True)
    shutil.rmtree(folder)
    assert {name: packed.read(folder / name) for name in NAMES} == before
    files.write_whole(folder / NAMES[0], b"new\n")
    after = {**before, NAMES[0]: b"new\n"}
    assert {name: packed.read(folder / name) for name in NAMES} == after
    assert packed.pack(folder) == 3
    assert not path.exists()
    assert {name: packed.read(folder / name) for name in packed.packed_names(folder)} == after
    packed.unpack(folder)
    made_pack(folder, *before.items(), earlier=True)
    assert packed.unpack(folder) == 0
    assert contents(folder) == after
    assert not path.exists()


def test_names_that_some_systems_take_for_one_are_not_packed(folder):
    (folder / NAMES[0].upper()).write_bytes(b"other\n")
    (folder / NAMES[0].upper()).rename(folder / NAMES[0].replace("L", "l"))
    before = contents(folder)
    with pytest.raises(ValueError, match=r"is not packed: it holds both .*; rename one"):
        packed.pack(folder)
    assert contents(folder) == before


def test_one_damaged_archive_keeps_no_other_folder_from_being_packed(folder):
    for name in ("a", "z"):
        shutil.copytree(folder.parent, folder.parents[1] / name)
    path = packed.pack_of(folder)
    path.write_bytes(b"PK")
    with pytest.raises(files.DamagedError, match="is damaged"):
        packed.pack_below(folder.parents[1])
    assert packs(folder.parents[1]) == ["a/runs.tar.xz", "sweep/runs.tar.xz", "z/runs.tar.xz"]
    assert len(contents(folder)) == 3


def test_an_archive_that_links_to_itself_is_a_sentence(tmp_path):
    path = packed.pack_of(tmp_path / "runs")
    path.symlink_to(path)
    for action in (packed.packed_names, packed.exists, packed.read):
        with pytest.raises(files.DamagedError) as error:
            action(tmp_path / "runs" if action is packed.packed_names else tmp_path / "runs" / "a.csv")
        assert one_sentence(error, path)


def killed_at(line, action, folder):
    """Do something in a process that is killed when it comes to its n-th line; whether it came to its end before."""
    process = os.fork()
    if process == 0:  # pragma: no cover
        left = [line]

        def follow(frame, event, _):
            if frame.f_code.co_filename not in (packed.__file__, files.__file__):
                return None
            if event == "line":
                left[0] -= 1
                if left[0] == 0:
                    os._exit(9)
            return follow

        sys.settrace(follow)
        try:
            action(folder)
        finally:
            sys.settrace(None)
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


# where another test has imported JAX, it warns of every fork; these children compute nothing
@pytest.mark.filterwarnings("ignore:os.fork.* was called:RuntimeWarning")
@pytest.mark.parametrize("what", ["pack", "unpack"])
def test_a_kill_at_any_line_loses_nothing(folder, tmp_path, what):
    """What is left is read as it was, and the next packing or unpacking ends as if there had been no kill."""
    (folder / NAMES[0]).rename(tmp_path / "late.csv")
    packed.pack(folder)
    folder.mkdir()
    (tmp_path / "late.csv").rename(folder / NAMES[0])  # one is a file, two are packed
    action, ended, line = getattr(packed, what), False, 0
    while not ended:
        line += 1
        copy = shutil.copytree(folder.parent, tmp_path / str(line)) / "runs"
        ended = killed_at(line, action, copy)
        assert {name: packed.read(copy / name) for name in NAMES} == {name: content_of(name) for name in NAMES}
        action(copy)
        assert {name: packed.read(copy / name) for name in NAMES} == {name: content_of(name) for name in NAMES}
        assert packed.pack_of(copy).exists() == (what == "pack")
        shutil.rmtree(tmp_path / str(line))
    assert line > 30


# ---- the two commands


@pytest.fixture
def results(folder, monkeypatch):
    """A folder of results with a sweep, an experiment of the spline study, a sweep of the user's and one set aside."""
    root = folder.parents[1] / "results"
    for place in ("a", "b/deep", "local/a", "b/.deep.2026-01-01_000000"):
        shutil.copytree(folder.parent, root / place)
    (root / "b" / "x_s0").mkdir()
    for name in ("metrics.csv", "signals.csv", "experiment.json"):
        (root / "b" / "x_s0" / name).write_text(name)
    (root / "b" / "outcomes.csv").write_text("1\n")
    monkeypatch.setattr(packed, "PUBLISHED", root.resolve())
    return root


def packs(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.tar.xz"))


def test_what_is_published_is_packed_and_unpacked(results, capsys):
    before = {path: path.read_bytes() for path in results.rglob("*.*") if path.is_file()}
    assert packed.main(["pack"]) == 0
    assert packs(results) == ["a/runs.tar.xz", "b/deep/runs.tar.xz", "b/x_s0.tar.xz"]
    assert (results / "b" / "outcomes.csv").exists()
    assert sorted(path.name for path in (results / "b" / "x_s0").iterdir()) == ["experiment.json"]
    assert capsys.readouterr().out == f"{results / 'a'}: 3 files packed\n{results / 'b'}: 5 files packed\n"
    assert packed.main(["pack"]) == 0
    assert capsys.readouterr().out == "there is nothing to pack\n"
    assert packed.main(["unpack", str(results / "a")]) == 0
    assert packs(results) == ["b/deep/runs.tar.xz", "b/x_s0.tar.xz"]
    assert packed.main(["unpack"]) == 0
    after = {path: path.read_bytes() for path in results.rglob("*.*") if path.is_file() and path.name != ".lock"}
    assert after == before
    assert packed.main(["pack", str(results / "local")]) == 0  # whoever asks for it
    assert packs(results) == ["local/a/runs.tar.xz"]


def test_a_folder_in_which_a_sweep_trains_is_left_alone(results, capsys):
    with files.locked(results / "a"):
        assert packed.main(["pack"]) == 1
    assert "another process is training in" in capsys.readouterr().err
    assert packs(results) == ["b/deep/runs.tar.xz", "b/x_s0.tar.xz"]
    assert packed.main(["pack", str(results / "nowhere")]) == 1
    assert capsys.readouterr().err == f"{results / 'nowhere'} is no folder of results\n"


def test_a_published_notebook_links_the_pictures_that_lie_beside_it(results, capsys):
    """It shows the same pictures as before, and holds only those that no file has; the user's own stays as it is."""
    contents = [b"\x89PNG first", b"GIF89a second", b"\x89PNG of no file", b"\x89PNG first"]
    for place in ("b/.deep.2026-01-01_000000", "b/deep", "local/a"):
        (results / place / "figures").mkdir()
        (results / place / "figures" / "a_50%.png").write_bytes(contents[0])
        (results / place / "figures" / "b.gif").write_bytes(contents[1])
    kinds = ("image/png", "image/gif", "image/png", "image/png")
    data = [{kind: base64.b64encode(content).decode()} for kind, content in zip(kinds, contents, strict=True)]
    data += [{"text/markdown": "As ![here](figures/b.gif) is seen."}, {"text/plain": "1"}]
    folded = [("first one", contents[0], "Its sentence."), ("of none", contents[2], "Another.")]
    data += [{"text/markdown": notebooks.folded(folded, "Two more")}]
    cells = [v4.new_markdown_cell("# \N{GREEK SMALL LETTER PHI}")]
    cells += [v4.new_code_cell("", outputs=[v4.new_output("display_data", given)]) for given in data]
    for place in ("b", "local/a"):
        nbformat.write(v4.new_notebook(cells=cells), results / place / "run.ipynb")
    own, path = (results / "local/a/run.ipynb").read_bytes(), results / "b" / "run.ipynb"
    shown = list(notebooks.shown_pictures(path, notebooks.read_notebook(path)))
    assert shown == [*enumerate(contents, 1), (7, contents[0]), (7, contents[2])]
    assert packed.main(["pack"]) == 0
    assert list(notebooks.shown_pictures(path, notebooks.read_notebook(path))) == shown
    after = nbformat.read(path, as_version=4)
    nbformat.validate(after)
    first, second = "![a 50%](deep/figures/a_50%25.png)", "![b](deep/figures/b.gif)"
    linked = [cell.outputs[0].data.get("text/markdown") for cell in after.cells[1:]]
    assert linked[:6] == [first, second, None, first, data[4]["text/markdown"], None]
    begin, end = "<details>\n<summary>Two more</summary>\n\n", "\n\nIts sentence.\n\n![of none](data:image/png;base64,"
    assert linked[6].startswith(f"{begin}![first one](deep/figures/a_50%25.png){end}")
    assert after.cells[3].outputs[0].data == data[2]
    assert [cell.source for cell in after.cells] == [cell.source for cell in cells]
    written = path.stat().st_mtime_ns
    assert packed.main(["pack"]) == 0
    assert path.stat().st_mtime_ns == written
    assert (results / "local/a/run.ipynb").read_bytes() == own
    path.write_text(path.read_text().replace(data[2]["image/png"], "~"))
    capsys.readouterr()
    assert packed.main(["pack"]) == 1
    assert f"{path} cannot be read as a notebook: a picture in it is no base64" in capsys.readouterr().err


def test_what_is_published(results, monkeypatch):
    assert packed.is_published(results / "b" / "deep")
    assert not packed.is_published(results / "local" / "a")
    assert not packed.is_published(results.parent)
    monkeypatch.chdir(results.parent)
    assert packed.is_published("results/not_there_yet")


# ---- what the repository keeps


def test_published_results_stay_small():
    listed = subprocess.run(["git", "ls-files", "-z", "results"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git repository")
    paths = [ROOT / name for name in listed.stdout.split("\0")[:-1]]
    assert sum(path.stat().st_size for path in paths if path.exists()) < 40e6
