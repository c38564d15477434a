"""runs.json of a sweep: which runs, and whether the summary, are as they were written, without reading their tables."""

import json
from pathlib import Path

from helpers import files, packed


def write(folder, known, summary=None):
    """Write runs.json, by which a later start knows which runs, and whether the summary, are as they were written.

    known    {name of a run: (checksum of its CSV, number of its last epoch)}, with a third where it is known: the
             fingerprint of what the run was made from
    summary  checksums of the summary that is about to be written and of the one before it, either of which a kill
             may leave; that of the file where left out
    """
    path = Path(folder) / "summary.csv"
    now, before = summary or (packed.checksum(path), None)
    known = {name: list(entry) for name, entry in known.items()}
    known[path.name] = [now, 0] if before in (None, now) else [now, 0, before]
    if known == {name: list(entry) for name, entry in _read_index(folder).items()}:
        return
    known["runs.json"] = [of_content(known), 0]
    lines = [f"{json.dumps(run)}: {json.dumps(known[run])}" for run in sorted(known)]  # a line a run
    files.write_whole(Path(folder) / "runs.json", "{\n" + ",\n".join(lines) + "\n}\n")


def of_run(folder, run):
    """The checksum of the CSV of a run of this name: 16 digits of its sha256. Raises OSError where there is none."""
    return packed.checksum(Path(folder) / "runs" / f"{run}.csv")


def read(folder):
    """{name of a run: (checksum, number of its last epoch, what it was made from if that is known)} from runs.json.

    Empty where it cannot be read.
    """
    known = _read_index(folder)
    known.pop("summary.csv", None)
    return known


def damage_of_summary(folder):
    """What is wrong with a summary.csv that is there, in words; None for nothing, and where no runs.json is known."""
    path = Path(folder) / "summary.csv"
    written, _, *before = _read_index(folder).get(path.name, (None, 0))
    if written is None or not path.is_file() or packed.checksum(path) in (written, *before):
        return None
    return f"{path} is damaged: its checksum is not the one in runs.json"


def vouches_for_all(folder):
    """Whether runs.json is whole and of today's kind, which knows every run before its CSV is there."""
    try:
        known = files.read_json(Path(folder) / "runs.json", "")
    except files.DamagedError:
        return False
    return isinstance(known, dict) and "runs.json" in known and damage_of_index(folder) is None


def damage_of_index(folder):
    """What is wrong with a runs.json that is there, in words; None for nothing."""
    try:
        _checked_index(folder)
    except files.DamagedError as error:
        return str(error)
    return None


def _read_index(folder):
    try:
        return _checked_index(folder)
    except files.DamagedError:  # the runs themselves are read then
        return {}


def _checked_index(folder):
    path = Path(folder) / "runs.json"
    advice = "what it says of the runs is not used"
    known = files.read_json(path, advice)
    if known is None:
        return {}
    own = known.pop(path.name, None) if isinstance(known, dict) else None
    if not isinstance(known, dict) or not all(map(_is_entry, known.values())):
        raise files.DamagedError(f"{path} holds no checksums of runs; {advice}")
    if own is not None and own != [of_content(known), 0]:  # older ones have none of their own
        raise files.DamagedError(f"{path} is damaged: its checksum does not match; {advice}")
    return {run: tuple(entry) for run, entry in known.items()}


def _is_entry(entry):
    kinds = (str, int, str)
    return isinstance(entry, list) and 2 <= len(entry) <= 3 and all(map(isinstance, entry, kinds))


def of_content(content):
    """16 digits of the sha256 of plain data, whatever the order of its keys."""
    return files.checksum(json.dumps(content, sort_keys=True))


def summary_is_known(folder):
    """Whether summary.csv is the one that was written with runs.json."""
    return "summary.csv" in _read_index(folder) and not damage_of_summary(folder)
