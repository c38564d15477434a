"""C files compiled for this processor at their first use, and kept beside their source.

One C file is one library. Where there is no C compiler the caller has another way, slower and the same up to rounding.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import threading
import warnings
from functools import cache
from pathlib import Path

from helpers import files

# Without the two -fno no rounding could be done in vectors; neither changes a result.
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]
OPENMP = (["-fopenmp"], ["-fopenmp-simd"], [])  # Apple's compiler has no threads of OpenMP
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
    compiler = [*shlex.split(os.environ.get("CC") or "cc"), *options]
    sources = [source, *sorted(source.parent.glob("*.h"))]
    made_from = (
        b"".join(path.read_bytes() for path in sources)
        + "\n".join([*compiler, *instructions(), *FLAGS, _machine()]).encode()
    )
    name = f"{source.stem}-{hashlib.sha256(made_from).hexdigest()[:16]}.so"
    kept = source.parent / "__pycache__" / name
    if kept.exists():
        return _loaded(kept, source, without)
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, name)
        # the first that works, last of all without the processor's own instructions: not every compiler knows `native`
        for openmp, own in [*((openmp, instructions()) for openmp in OPENMP), ([], [])]:
            try:
                command = [*compiler, *own, *FLAGS, *openmp, str(source), "-o", str(made), "-lm"]
                subprocess.run(command, check=True, capture_output=True, text=True)
                break
            except (OSError, subprocess.CalledProcessError) as error:
                errors.append(getattr(error, "stderr", None) or str(error))
        else:
            return _warn(without, f"{source.name} could not be compiled: {errors[0].strip().splitlines()[0]}")
        try:
            files.write_whole(kept, made.read_bytes())
        except OSError:  # a read-only installation: the compiled file lives as long as this process
            return _loaded(made, source, without)
    return _loaded(kept, source, without)


def _loaded(path, source, without):
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        return _warn(without, f"what was made of {source.name} cannot be loaded: {error}")


def _warn(without, why):
    warnings.warn(f"{without}, since {why}", stacklevel=4)


def _machine():
    """What the compiled file depends on beside its source: Python's own build and the processor's instructions."""
    about = [sys.version, platform.machine(), platform.node()]
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        about += [line for line in lines if line.startswith(("flags", "Features"))][:1]
    return "\n".join(about)
