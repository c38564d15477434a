"""What the parts of the bench have measured: one folder a processor, kept and read back.

    results/bench/<label>/manifest.json   machine, limits, versions; under "parts" what each part found, when, from
                                          which commit, with which command; under "noted" figures that have no CSV
    results/bench/<label>/<part>.csv      the table of a part, if it has one

A label stands for one processor under one limit of its instructions, such as `amd_epyc` and `amd_epyc_avx2`.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers import ROOT, files, manifests

# by which processors are kept to older instructions
LIMITS = ("MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE")


@dataclass(frozen=True)
class Measured:
    """All that was measured on one processor.

    tables  {part: DataFrame}
    """

    label: str
    folder: Path
    manifest: dict
    tables: dict

    @property
    def name(self):
        """The processor in words, as a table's head has it: its manifest's `name`, or model and limits."""
        model, limited = self.manifest["machine"].split(",")[0], self.manifest.get("limits", {}).values()
        return self.manifest.get("name", ", ".join([model, *dict.fromkeys(limited)]))

    def part(self, name):
        """What a part found beside its table; {} where it was not measured."""
        return self.manifest.get("parts", {}).get(name, {})

    def rows(self, part, **fixed):
        """The rows of a part's table with these values; an empty table where it was not measured."""
        rows = self.tables.get(part, pd.DataFrame(columns=list(fixed)))
        for column, value in fixed.items():
            rows = rows[rows[column] == value]
        return rows


def read(root="results/bench"):
    """[Measured] of all processors, in alphabetical order.

    Raises files.DamagedError where a manifest cannot be read, ValueError where two processors have one name.
    """
    folders = sorted(path.parent for path in Path(root).glob("*/manifest.json"))
    found = [
        Measured(
            folder.name,
            folder,
            manifests.read(folder),
            {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))},
        )
        for folder in folders
    ]
    names = [m.name for m in found]
    if len(set(names)) < len(names):
        raise ValueError(f"processors are named {names}; allowed is one name each: put a `name` into a manifest.json")
    return found


def keep(folder, part, device, rows=(), **found):
    """Write what a part found on this machine into a folder, beside what other parts have left there.

    rows  of its table, dicts; found  plain data

    Raises ValueError where the folder holds another machine's figures, or the same one's under another limit.
    """
    folder = Path(folder)
    origin = {**files.provenance(device), "limits": limits()}
    manifest = files.read_json(folder / "manifest.json") or {}
    for key in ("device", "machine", "limits"):
        if manifest.get(key, origin[key]) != origin[key]:
            raise ValueError(
                f"{folder} holds figures of {key} {manifest[key]!r}, these are of {origin[key]!r}; "
                "allowed is another folder (--save)"
            )
    if rows:
        table = pd.DataFrame(rows).to_csv(index=False, float_format="%.4g")
        files.write_whole(folder / f"{part}.csv", table)
    made = {"made": files.now(), "commit": commit(), "torch": origin["versions"]["torch"], "command": command()}
    parts = {**manifest.get("parts", {}), part: {**made, **found}}
    files.write_json(folder / "manifest.json", {**manifest, **origin, "parts": parts})


def limits():
    """{variable: value} of the environment variables that keep libraries to older instructions."""
    return {name: os.environ[name] for name in LIMITS if name in os.environ}


def command():
    """The command of this process as one would type it, without --save and with no path of this machine."""
    main = sys.modules["__main__"]
    module = main.__spec__.name.removesuffix(".__main__") if main.__spec__ else Path(sys.argv[0]).name
    typed = " ".join([*(f"{name}={value}" for name, value in limits().items()), "python -m", module, *sys.argv[1:]])
    return re.sub(r"(--against[ =])\S+", r"\1PATH", re.sub(r" --save[ =]\S+", "", typed))


def commit(folder=ROOT):
    """The commit that a checkout is at, with a + where files differ from it; None where git does not say."""
    git = ["git", "-C", str(folder)]
    try:
        found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip() + ("+" if changed.stdout else "")


def peak_gib():
    """The most memory that this process, or the largest of its ended children, has held, in GiB; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(most / (2**30 if sys.platform == "darwin" else 2**20), 2)  # bytes there, KiB elsewhere
