"""C files compiled for this processor at their first use, and kept beside their source.

One C file is one library. Where there is no C compiler the caller has another way, slower and the same up to rounding.
"""

import ctypes
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from helpers import checks, files

# Without the two -fno no rounding could be done in vectors; neither changes a result.
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]
OPENMP = (["-fopenmp"], ["-fopenmp-simd"], [])  # Apple's compiler has no threads of OpenMP
LIMIT = 120.0  # seconds for a compiler; it takes some 5
COMPILING = threading.Lock()


def library(source, options=(), without=""):
    """The library of a C file as a `ctypes.CDLL`; None, with one warning, where it cannot be had.

    source   the C file
    options  further ones for the compiler, such as definitions; a library of its own for each
    without  what it means to do without, as the beginning of the warning
    """
    with COMPILING:
        return _library(Path(source), tuple(options), without)


def instructions():
    """The compiler's options for the instructions of this processor, or for older ones where torch is kept to them.

    ATEN_CPU_CAPABILITY and MKL_ENABLE_INSTRUCTIONS limit torch's own loops and its products; what is compiled here
    follows, so that an older processor can be tried on a newer one.
    """
    torch_has = os.environ.get("ATEN_CPU_CAPABILITY", "")
    if torch_has == "default":
        return []
    if torch_has == "avx2" or os.environ.get("MKL_ENABLE_INSTRUCTIONS") == "AVX2":
        return ["-march=native", "-mno-avx512f"]
    return ["-march=native"]


@cache
def _library(source, options, without):
    asked = os.environ.get("CC") or "cc"
    try:
        compiler = [*shlex.split(asked), *options]
    except ValueError as error:  # a quote that does not end
        return _warn(without, f"{source.name} could not be compiled: CC is {asked!r}, which is no command ({error})")
    sources = [source, *sorted(source.parent.glob("*.h"))]
    made_from = (
        b"".join(path.read_bytes() for path in sources)
        + "\n".join([*compiler, *instructions(), *FLAGS, _machine()]).encode()
    )
    folder, name = source.parent / "__pycache__", f"{source.stem}-{files.checksum(made_from)}"
    for kept in _whole_ones(folder, name):
        with suppress(OSError):  # of a kind or in a place that cannot be run here: it is compiled anew
            return ctypes.CDLL(str(kept))
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            own = Path(place, f"{name}.so")
            _compile(compiler, source, own)
            content = own.read_bytes()
            kept = folder / f"{name}-{_mark(content)}.so"
            with suppress(OSError):  # a read-only installation: the compiled file lives as long as this process
                files.write_whole(kept, content)
            return _loaded(kept, own)
    except CompilerError as error:
        return _warn(without, f"{source.name} could not be compiled: {error}")
    except OSError as error:  # no room for temporary files, or none from which anything may be run
        return _warn(without, f"what was made of {source.name} cannot be loaded: {error}")


class CompilerError(RuntimeError):
    """A compiler that is not there, fails or hangs; the text is the first line of what it says."""

    _render_traceback_ = checks.in_one_sentence


def _mark(content):
    """The end of a compiled file's name: by it a damaged one is known, which could crash the process or miscount."""
    return files.checksum(content)


def _whole_ones(folder, name):
    """The compiled files of this name that are as they were written; others are removed where that is allowed."""
    for path in sorted(folder.glob(f"{name}-*.so")):
        with suppress(OSError):
            if path.stem.removeprefix(f"{name}-") == _mark(path.read_bytes()):
                yield path
            else:
                path.unlink()


def _loaded(kept, own):
    """The library as it is kept, or, where that cannot be written or run, as it was compiled. Raises OSError."""
    try:
        return ctypes.CDLL(str(kept))
    except OSError:
        return ctypes.CDLL(str(own))


def _compile(compiler, source, made):
    """Let the compiler make a library of a C file. Raises CompilerError."""
    errors, ends = [], time.monotonic() + LIMIT
    # the first that works, last of all without the processor's own instructions: not every compiler knows `native`
    for openmp, own in [*((openmp, instructions()) for openmp in OPENMP), ([], [])]:
        try:
            return _run([*compiler, *own, *FLAGS, *openmp, str(source), "-o", str(made), "-lm"], made.parent, ends)
        except CompilerError as error:
            errors.append(error)
    raise errors[0]


def _run(command, place, ends):
    """Run a compiler to its end, or until its time ends: then it is killed, with all that it has started."""
    said = place / "said"
    with said.open("wb") as file:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in its name
            raise CompilerError(str(error)) from error
        try:
            code = process.wait(max(0.0, ends - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise CompilerError(f"{command[0]} took more than {LIMIT:g} s") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        lines = said.read_text(errors="replace").strip().splitlines()
        raise CompilerError(lines[0] if lines else f"{command[0]} ended with exit code {code}")


def _warn(without, why):
    warnings.warn(f"{without}, since {why}", stacklevel=4)


def _machine():
    """What the compiled file depends on beside its source: Python's own build and the processor's instructions."""
    about = [sys.version, platform.machine(), platform.node()]
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        about += [line for line in lines if line.startswith(("flags", "Features"))][:1]
    return "\n".join(about)
