"""Logs as files or packed: `runs.tar.xz` beside the folder `runs/` holds the files of it, byte for byte.

    python -m helpers.packed pack      the logs of all that is published, or of the folders that are named
    python -m helpers.packed unpack    back to files, as tar does

Packed are the CSVs in the `runs/` of a sweep and in the folder of each experiment of the spline study, and of a
landscape study the CSVs of its `networks/` and the `.npz` of its `surfaces/`; who reads a file through `read` gets it
in either form. A file beside the archive is newer than what that holds of it, and is the one that is read: what
goes on in a packed folder reads there what is finished and writes files, and packing takes them in. A kill at any
moment leaves each CSV in one form or in both. All files of a folder are compressed as one, since they say much the
same: surfaces then take half of what each takes alone. A damaged archive is lost as a whole. Earlier versions packed
`runs.zip`, each file for itself: it is read where there is no `runs.tar.xz`, and packing makes one of it.

What is published, which is all of results/ but results/local/, is packed by the batch that has made it: packed it
takes a fifth of the space, and a repository has little. Its executed notebooks then show the pictures that lie in
`figures/` by a link, and no longer hold them a second time. A user's own results stay as they were written.
"""

import argparse
import io
import lzma
import os
import struct
import sys
import tarfile
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

from helpers import ROOT, files
from helpers.notebooks import link_pictures

PUBLISHED = ROOT / "results"
OWN = "local"  # the folder in it that is the user's own
LOGS = ("runs", "networks", "surfaces")  # the folders of logs beside a manifest
KINDS = ("*.csv", "*.npz")
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError, OSError)
DAMAGE += (OverflowError, MemoryError, tarfile.TarError)
ENDING, EARLIER = ".tar.xz", ".zip"
# lp: a float32 begins at every fourth byte, for which surfaces take 4 % less; to CSVs it is all the same
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 2, "pb": 2}]


def pack_of(folder):
    """The archive that holds what is packed of a folder: results/digits/runs.tar.xz of results/digits/runs."""
    return Path(folder).with_name(f"{Path(folder).name}{ENDING}")


def folder_of(pack):
    """The folder whose files an archive holds: the other way round."""
    return Path(pack).with_name(Path(pack).name.removesuffix(ENDING))


def packs_of(folder):
    """The archives that may hold it, the one that counts first; the other is what earlier versions packed."""
    return [pack_of(folder), Path(folder).with_name(f"{Path(folder).name}{EARLIER}")]


def is_packed(folder):
    return any(path.exists() for path in packs_of(folder))


# ---- reading both forms


def read(path):
    """The bytes of a file, plain or packed. Raises FileNotFoundError for neither, DamagedError for damage."""
    path = Path(path)
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        packed = _contents(path.parent)
        return packed[path.name] if path.name in packed else path.read_bytes()  # it may have been unpacked meanwhile


def exists(path):
    """Whether a file is there, plain or packed. Raises DamagedError for a damaged archive."""
    path = Path(path)
    return path.exists() or path.name in _contents(path.parent)


def packed_names(folder):
    """The names of the files of a folder that are packed, in order. Raises DamagedError for a damaged archive."""
    return list(_contents(folder))


def _contents(folder):
    """{name: bytes} of what is packed of a folder, empty where nothing is. Raises DamagedError."""
    for path in packs_of(folder):
        try:
            about = path.stat()
            return _in_memory(path, about.st_mtime_ns, about.st_size, about.st_ino)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (*DAMAGE, NotImplementedError) as error:  # or a link to itself, or a folder that nobody may look into
            raise _damaged(path, error) from error
    return {}


@lru_cache(maxsize=4)
def _in_memory(path, *_):
    """What an archive holds as it is now: the other arguments tell it from what was there before under this name."""
    found = list((_of_zip if path.suffix == EARLIER else _of_tar)(path.read_bytes()))
    if strange := _strange([name for name, _ in found]):
        raise ValueError(f"{strange}, which is not what was packed")
    return dict(found)


def _of_tar(content):
    # the whole at once: its checksum stands at the end, and nothing that it does not vouch for is read
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(content, lzma.FORMAT_XZ)), mode="r:") as file:
        for member in file:
            if not member.isreg():
                raise ValueError(f"it holds {member.name!r}, which is no file")
            yield member.name, file.extractfile(member).read()


def _of_zip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        for info in file.infolist():
            yield info.filename, file.read(info)


def _strange(names):
    """What is wrong with the names of packed files, in words; None for nothing.

    They are plain names, which lead to no other folder, and no two of them are one file on some system.
    """
    seen = {}
    for name in names:
        if name in ("", ".", "..") or any(mark in name for mark in "/\\:\0"):
            return f"it holds {name!r}"
        other = seen.setdefault(name.casefold(), name)
        if other is not name:
            return f"it holds {name!r} twice" if other == name else f"it holds both {other!r} and {name!r}"
    return None


def _damaged(path, error):
    return files.DamagedError(
        f"{path} is damaged ({' '.join(str(error).split()) or type(error).__name__}); get it back, as by "
        "git checkout, or move it away, and what it held is trained again"
    )


def checksum(path):
    """`files.checksum` of a file, plain or packed. Raises what `read` raises."""
    return files.checksum(read(path))


# ---- packing and unpacking


def pack(folder):
    """Pack the logs of a folder, together with what is packed already, and remove them. Returns how many there were.

    The same logs give the same bytes: in the order of their names, with no times. Raises DamagedError, OSError; the
    logs are then all still there. ValueError for two names that some systems take for one.
    """
    folder = Path(folder)
    found = sorted(path for kind in KINDS for path in folder.glob(kind) if path.is_file())
    plain, (_, earlier) = {path.name: path.read_bytes() for path in found}, packs_of(folder)
    if plain or earlier.exists():
        names = sorted({*packed_names(folder), *plain})
        if strange := _strange(names):
            raise ValueError(f"{folder} is not packed: {strange}; rename one of its files")
        content = archive((name, plain[name] if name in plain else read(folder / name)) for name in names)
        files.write_whole(pack_of(folder), content)
        _settle(pack_of(folder))  # before what it stands for is removed
        for name in plain:
            (folder / name).unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        if earlier.exists():
            earlier.unlink()
            return len(names)
    return len(plain)


def archive(contents):
    """The bytes of a .tar.xz of (name, bytes) in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in contents:
            info = tarfile.TarInfo(name)  # of 1970 and nobody, whenever and wherever it is
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return lzma.compress(buffer.getbuffer(), lzma.FORMAT_XZ, filters=FILTERS)


def unpack(folder):
    """Write what is packed of a folder as files, but for those that are there, and remove the archive.

    Returns how many. Raises DamagedError, OSError; the archive is then still there.
    """
    folder = Path(folder)
    missing = [name for name in packed_names(folder) if not (folder / name).exists()]
    for name in missing:
        files.write_whole(folder / name, read(folder / name))
    for name in missing:
        _settle(folder / name)
    for path in reversed(packs_of(folder)):  # what does not count goes first
        path.unlink(missing_ok=True)
    return len(missing)


def _settle(path):
    """Have a file on the disk, and no longer in memory alone. Raises OSError."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def is_published(folder):
    """Whether what lies in a folder is for others to see: in results/, but not in results/local/."""
    folder = Path(folder).resolve()
    return folder.is_relative_to(PUBLISHED) and not folder.is_relative_to(PUBLISHED / OWN)


def logs_below(root):
    """The folders of logs below a folder, packed or not; left out are those that --retrain has set aside."""
    root = Path(root)
    folders = {path.parent / name for path in root.rglob("manifest.json") for name in LOGS}
    folders |= {path.parent for path in root.rglob("experiment.json")}
    return sorted(path for path in folders if _counts(path, root) and (path.is_dir() or is_packed(path)))


def _counts(path, root):
    return not any(part[0] == "." for part in path.relative_to(root).parts)


def pack_below(root):
    """Pack all logs below a folder, and link the pictures of its notebooks. Returns how many logs there were.

    Raises LockedError, DamagedError, OSError, and ValueError for what is no notebook.
    """
    notebooks = sorted(path for path in Path(root).rglob("*.ipynb") if _counts(path, root))
    return _each([*((pack, folder) for folder in logs_below(root)), *((_link, path) for path in notebooks)])


def _link(notebook):
    link_pictures(notebook)
    return 0  # log


def unpack_below(root):
    """The logs of `pack_below` as files again; what a notebook shows is a file already."""
    return _each([(unpack, folder) for folder in logs_below(root)])


def _each(actions):
    """Do each (action, path); the first error is raised when all others are done."""
    done, errors = 0, []
    for action, path in actions:
        try:
            with files.locked(path.parent):  # nobody trains there meanwhile
                done += action(path)
        except (ValueError, files.LockedError, OSError) as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return done


def main(arguments=None):
    """Pack or unpack. Exit code 0: all went well; 1: something could not be read or written."""
    parser = argparse.ArgumentParser(prog="python -m helpers.packed", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("folder", nargs="*", type=Path, help="a folder of results; all that is published if left out")
    given = parser.parse_args(arguments)
    folders = given.folder or [path for path in sorted(PUBLISHED.iterdir()) if path.is_dir() and is_published(path)]
    act = {"pack": pack_below, "unpack": unpack_below}[given.what]
    code = found = 0
    for folder in folders:
        if not folder.is_dir():
            print(f"{folder} is no folder of results", file=sys.stderr)
            code = 1
            continue
        try:
            count = act(folder)
        except (ValueError, files.LockedError, OSError) as error:
            print(error, file=sys.stderr)
            code = 1
        else:
            found += count
            if count:
                print(f"{folder}: {count} files {given.what}ed")
    if not found and not code:
        print(f"there is nothing to {given.what}")
    return code


if __name__ == "__main__":
    sys.exit(main())
