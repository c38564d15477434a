"""manifest.json of a sweep: its CONFIG, versions, device, machine, timings."""

import json
import reprlib
from pathlib import Path

from helpers import checks, checksums, files
from helpers.axes import AXES, axis_values


def write(folder, manifest):
    """Write manifest.json, with a checksum of its own."""
    manifest = json.loads(json.dumps(manifest))  # as it is read: tuples are lists
    files.write_json(Path(folder) / "manifest.json", {"checksum": checksums.of_content(manifest), **manifest})


READER_ADVICE = "get it back, or start its sweep again, which says how to go on"


def read(folder, advice=READER_ADVICE):
    """The manifest of a sweep's folder, or None where there is none.

    Raises DamagedError when it cannot be read, or is not as it was written; `advice` says what to do then. Where there
    is no checksum, as older ones have none, it is taken as it is.
    """
    path = Path(folder) / "manifest.json"
    manifest = files.read_json(path, advice)
    written = manifest.pop("checksum", None) if isinstance(manifest, dict) else None
    if written not in (None, written and checksums.of_content(manifest)):
        raise files.DamagedError(
            f"{path} is damaged: its checksum does not match; {advice}, or where you have edited it yourself, take out "
            "its line with the checksum"
        )
    return manifest


def of_study(read, folder):
    """The manifest of a study's folder as `read(folder)` gives it, {} where there is none. Raises ConfigError."""
    try:
        return read(folder) or {}
    except (ValueError, OSError) as error:
        raise checks.ConfigError(str(error)) from error


def is_finished(load, folder):
    """Whether `load(folder)` gives a study that can be read, and its manifest says that it is finished."""
    try:
        return bool(load(folder).manifest.get("finished"))
    except (ValueError, FileNotFoundError):
        return False


def _list_of(kind):
    return lambda value: isinstance(value, list) and all(isinstance(part, kind) for part in value)


def _number_to(most):
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _kind(*kinds):
    return lambda value: isinstance(value, kinds)


# what a manifest holds under its keys: in words, and whether a value is that
KINDS = {
    "config": ("a dict", _kind(dict)),
    "commonest_class_share": ("a share from 0 to 1", _number_to(1)),
    "seconds": ("a number", _number_to(1e12)),
    "started": ("a time", _kind(str)),
    "finished": ("a time or null", _kind(str, type(None))),
    "origins": ("a list of dicts", _list_of(dict)),
    "own_activations": ("a dict", _kind(dict)),
    "own_inits": ("a dict", _kind(dict)),
    "data": ("a dict", _kind(dict)),
    "code": ("a dict", _kind(dict)),
    "again": ("a list of names", _list_of(str)),
}
# ... and its CONFIG under the axes
AXIS_KINDS = {
    "activations": ("names", str),
    "init_types": ("names", str),
    "layers_list": ("numbers", int),
    "seeds": ("numbers", int),
    "lr": ("numbers", int | float),
}


def wrong_kinds(manifest):
    """The first key of a manifest, or of its CONFIG's axes, that holds something of another kind, in words; or None."""
    for key, (words, fits) in KINDS.items():
        if key in manifest and not fits(manifest[key]):
            return f"{key} is {reprlib.repr(manifest[key])}, where {words} belongs"
    for axis, key in AXES.items():
        words, kind = AXIS_KINDS.get(key, ("values", object))
        values = axis_values(manifest["config"], axis)
        if key in manifest["config"] and not (values and _list_of(kind)(values)):
            return f"{key} is {reprlib.repr(manifest['config'][key])} in its config, where a list of {words} belongs"
    return None
