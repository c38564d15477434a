"""Files written whole or not at all, states with a checksum, the lock of a folder, and where numbers come from.

Nothing here needs torch at import, so what only reads results starts fast.
"""

import hashlib
import io
import json
import os
import pickle
import platform
import tomllib
import zlib
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from helpers import ROOT, checks

STATE = b"plumbline state 1\n"  # how the file of a state begins
WRONG_KINDS = (LookupError, TypeError, ValueError, AttributeError)  # what data of another form than expected raises
VERSIONS = ("torch", "numpy", "scikit-learn", "pandas")  # the packages that decide numbers


class DamagedError(ValueError):
    """A file that does not hold what was written there; the text is one sentence that names it."""

    _render_traceback_ = checks.in_one_sentence


class LockedError(RuntimeError):
    """A folder in which another process is at work; the text is one sentence."""

    _render_traceback_ = checks.in_one_sentence


class MovedError(OSError):
    """A folder that was renamed or removed while this process worked in it; the text is one sentence."""

    _render_traceback_ = checks.in_one_sentence


# ---- writing


def write_whole(path, *parts):
    """Write texts or bytes through a temporary file beside `path`, so that the file is complete whenever it is there.

    Folders are made where they are missing, but for those that are `held`. Raises OSError, of which MovedError is one;
    the file that was there before is then untouched.
    """
    path = Path(path)
    _check_held(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _make_folder_of(path)
        with open(part, "wb") as file:
            file.writelines(content.encode() if isinstance(content, str) else content for content in parts)
        _check_held(path)  # another folder may lie there since the first look, and `part` in that
        os.replace(part, path)
    except OSError:
        _check_held(path)  # it went away just now: missing, existing or no folder, the system says by turns
        raise
    finally:
        with suppress(NotADirectoryError):  # a file may lie there by now
            part.unlink(missing_ok=True)


def remove_parts(folder):
    """Remove what kills have left of files that were being written in a folder, which is locked. Raises OSError."""
    for path in Path(folder).glob("*.part"):
        if path.suffixes[-2:-1] and path.suffixes[-2][1:].isdigit():
            path.unlink()


def set_aside(path):
    """Rename what lies at `path`, a folder too, so that nothing is lost and the place is free; returns where it is now.

    Raises OSError.
    """
    path, number = Path(path), 1
    while (aside := path.with_name(f"{path.name}.aside{number}")).exists():
        number += 1
    os.replace(path, aside)
    return aside


def make_way(path):
    """Remove a file that is of no use, if it is there; a folder in its place is set aside. Raises OSError."""
    if Path(path).is_dir():
        set_aside(path)
    else:
        Path(path).unlink(missing_ok=True)


def write_json(path, content):
    """Write plain data as JSON, whole."""
    write_whole(path, json.dumps(content, indent=1) + "\n")


def write_npz(path, *, compressed=True, **arrays):
    """Write arrays as an .npz, whole; what is packed later takes less space there if it is not compressed before."""
    import numpy as np

    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    write_whole(path, buffer.getbuffer())


def checksum(content):
    """16 digits for bytes or a text: the first of its sha256, in hexadecimal."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


# ---- states: what interrupted work goes on from


def write_state(path, state, about=None):
    """Write a state, whole, with a checksum: a CRC-32, which costs a third of a sha256 and misses no flipped bit.

    state  tensors and plain data in dicts and lists, as `torch.load(weights_only=True)` reads them back
    about  plain JSON that `read_about` gets without reading the rest: of which work this is, how far it has come
    """
    import torch

    buffer = io.BytesIO()  # torch.save to a full disk raises a RuntimeError that does not say so
    torch.save(state, buffer)
    content = buffer.getbuffer()
    line = json.dumps({"about": about, "crc32": zlib.crc32(content)}).encode()
    write_whole(path, STATE, f"{zlib.crc32(line)} ", line, b"\n", content)


def read_about(path):
    """What `write_state` was given as `about`. Raises DamagedError, FileNotFoundError."""
    with open(path, "rb") as file:
        return _read_head(path, file)["about"]


def read_state(path):
    """(state, about) as `write_state` wrote them, tensors on the CPU. Raises DamagedError, FileNotFoundError."""
    import torch

    with open(path, "rb") as file:
        head = _read_head(path, file)
        content = file.read()
    if zlib.crc32(content) != head["crc32"]:
        raise DamagedError(f"{path} is damaged: its checksum does not match")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), head["about"]
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise DamagedError(f"{path} holds no state as it is written today ({type(error).__name__})") from error


def _read_head(path, file):
    if file.readline() != STATE:
        raise DamagedError(f"{path} is no state as it is written today")
    crc32, _, line = file.readline().rstrip(b"\n").partition(b" ")
    if crc32 != str(zlib.crc32(line)).encode():
        raise DamagedError(f"{path} is damaged: the checksum of its head does not match")
    try:
        head = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is no state as it is written today") from error
    if not isinstance(head, dict) or set(head) != {"about", "crc32"}:
        raise DamagedError(f"{path} is no state as it is written today")
    return head


def read_json(path, advice="move it away to begin anew"):
    """Plain data from a JSON file; None where there is no file. Raises DamagedError, with `advice` on what to do."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror}); {advice}") from error
    except (ValueError, RecursionError) as error:  # not JSON, or not text
        raise DamagedError(f"{path} is not readable JSON ({error}); {advice}") from error


# ---- one process a folder


@contextmanager
def locked(folder):
    """Keep other processes out of a folder, which is made where it is missing.

    Raises LockedError when another one is there, or this process in another place; OSError when the folder cannot be
    written to. A folder that is renamed or removed meanwhile is not made again, see `held`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockedError(
            f"another process is training in {folder}; wait for it, or choose another save_dir"
        ) from error
    try:
        with held(folder, folder / ".lock"):
            yield
    finally:
        lock.release()  # the file stays: whoever removed it could let two others in


HELD = []  # (folder, a file in it, which file that was): where this process is at work


@contextmanager
def held(folder, by):
    """Within, `write_whole` refuses what lies below a folder once another file than now, or none, is at `by`.

    Otherwise a folder that was renamed or removed would be made again, with half of its files.
    """
    entry = (Path(folder), Path(by), _which(by))
    HELD.append(entry)
    try:
        yield
    finally:
        HELD.remove(entry)


def _check_held(path):
    for folder, by, which in list(HELD):
        if path.is_relative_to(folder) and _which(by) != which:
            raise MovedError(
                f"{folder} was renamed or removed while this was writing to it, or the working directory changed"
            )


def _make_folder_of(path):
    """Make the folder of a file with those above it, from a held one down: that itself is never made again."""
    held = [folder for folder, _, _ in list(HELD) if path.is_relative_to(folder)]
    if not held:
        path.parent.mkdir(parents=True, exist_ok=True)
    for above in reversed((path.parent, *path.parent.parents) if held else ()):
        if any(above != folder and above.is_relative_to(folder) for folder in held):
            above.mkdir(exist_ok=True)


def _which(path):
    """What tells a file from any other that has its name later; None where there is none."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino


# ---- where numbers come from


def now():
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance(device):
    """What made these numbers: versions, device (a torch.device) and machine."""
    own = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    packages = {name: version(name) for name in VERSIONS}
    return {
        "versions": {"plumbline": own, "python": platform.python_version(), **packages},
        "device": device_name(device),
        "machine": machine(),
    }


def device_name(device):
    """A torch.device in words."""
    if device.type != "cuda":
        return device.type
    import torch

    return torch.cuda.get_device_name(device)


def machine():
    """The processor of this machine in words: model, cores, memory."""
    model, memory = platform.processor() or platform.machine(), None
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{os.cpu_count()} cores"
    return ", ".join([model, cores] + ([f"{memory:.0f} GiB"] if memory else []))
