"""A landscape study on disk, and reading it back; results are written by the process that runs the study alone.

    <save_dir>/manifest.json          settings, origin, what is known of each network and its curvature
               networks/<network>.csv    a row an epoch of training
               surfaces/<surface>.npz    a surface with its settings
               measures.csv              a row a surface: settings, numbers of its shape, curvature at its centre
               state/                    checkpoints, and states of what is not finished

Of what is published, networks/ and surfaces/ are packed, see packed.py. Nothing here needs torch.
"""

import io
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from helpers import files, manifests, packed, words
from helpers.checks import in_one_sentence
from helpers.landscapes.shape import measures
from helpers.landscapes.stored import Surface, SurfaceError, load_surface, save_surface

HISTORY = ["epoch", "train_loss", "test_loss", "train_acc", "test_acc", "seconds"]
ADVICE = "get it back, or move it away: surfaces that are whole are then kept, and networks trained again where needed"
# the columns of measures.csv that say which surface it is
SETTINGS = ["surface", "network", "activation", "init", "layers", "seed", "kind", "epoch", "pair", "batch", "max_step"]


class StudyError(ValueError):
    """A landscape study that cannot be read, or a question that it does not answer; the text is one sentence."""

    _render_traceback_ = in_one_sentence


# ---- paths


def history_file(folder, network):
    return Path(folder) / "networks" / f"{network}.csv"


def surface_file(folder, surface):
    return Path(folder) / "surfaces" / f"{surface}.npz"


# ---- writing


def write_manifest(folder, manifest):
    manifests.write(folder, manifest)


def network_of(surface):
    """The key of its network, of a surface's."""
    return surface.rpartition("--e")[0].rpartition("--")[0]


def surface_names(folder):
    """The names of all surfaces in a folder, plain or packed, in order. Raises DamagedError."""
    surfaces = Path(folder) / "surfaces"
    names = {path.stem for path in surfaces.glob("*.npz")} | {Path(name).stem for name in packed.packed_names(surfaces)}
    return sorted(names)


def read_manifest(folder):
    """The manifest of a study; None where there is none. Raises DamagedError, StudyError for that of something else."""
    manifest = manifests.read(folder, ADVICE)
    if manifest is None:
        return None
    parts = ("settings", "networks", "curvature")
    if not isinstance(manifest, dict) or not all(isinstance(manifest.get(part), dict) for part in parts):
        raise StudyError(f"{Path(folder) / 'manifest.json'} is of no landscape study; choose another save_dir")
    return manifest


def write_history(folder, network, history):
    """Write the log of a training, six significant digits; returns its checksum."""
    rows = [",".join(f"{row[key]:.6g}" for key in HISTORY) for row in history]
    path = history_file(folder, network)
    files.write_whole(path, "\n".join([",".join(HISTORY), *rows]) + "\n")
    return packed.checksum(path)


def write_surface(folder, key, loss, accuracy, steps, settings):
    """Write a surface in float32, which holds what a float32 network can tell; a float64 network's as it is."""
    kind = "float64" if settings["network"]["precision"] == "float64" else "float32"
    save_surface(surface_file(folder, key), Surface(loss.astype(kind), accuracy.astype(kind), steps, settings))


def write_measures(folder, rows):
    """Write measures.csv. Returns its checksum."""
    text = pd.DataFrame(rows, columns=None if rows else SETTINGS).to_csv(index=False, float_format="%.6g")
    files.write_whole(Path(folder) / "measures.csv", text)
    return files.checksum(text)


def damage_of_measures(folder, manifest):
    """What is wrong with measures.csv, as a sentence; None for nothing."""
    path = Path(folder) / "measures.csv"
    try:
        there = files.checksum(path.read_bytes())
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}); run the study again"
    if there != manifest.get("measures", there):  # a study of an earlier version has no checksum
        return f"{path} is damaged: its checksum is not the one in manifest.json; run the study again"
    return None


def row_of(key, surface, curve):
    """A surface's row of measures.csv.

    curve  what is known of the curvature at its centre, a dict; empty where nothing is
    """
    s, of = surface.settings, surface.settings["network"]
    row = {"surface": key, "network": of["name"], "layers": of.get("layers", ""), "kind": s["kind"]}
    row |= {name: of[name] for name in ("activation", "init", "seed")}
    row |= {name: s[name] for name in ("epoch", "pair", "batch", "max_step")}
    row = {name: row[name] for name in SETTINGS} | measures(surface)
    row |= {f"eigenvalue_{i}": value for i, value in enumerate(curve.get("eigenvalues", []), 1)}
    return row | {name: curve[name] for name in ("trace", "trace_error") if name in curve}


# ---- reading


@dataclass(frozen=True, eq=False)
class StudyResults:
    """A landscape study read back from its folder, without training and without data.

    measures  DataFrame, a row a surface: its settings, and the numbers of its shape
    manifest  dict
    """

    folder: Path
    measures: pd.DataFrame
    manifest: dict

    @cached_property
    def networks(self):
        """DataFrame, a row a network that is trained: its settings, and how its training ended."""
        rows = []
        for key, about in self.manifest["networks"].items():
            keep = {k: v for k, v in about["settings"].items() if not isinstance(v, dict)}
            rows.append({"key": key, **keep, "diverged": about["diverged"], "last_epoch": about["last"]})
        return pd.DataFrame(rows)

    def history(self, network):
        """The log of a training, a DataFrame with a row an epoch. Raises StudyError."""
        return read_history(self.folder, network)

    def surface(self, key):
        """A Surface by its name. Raises SurfaceError, FileNotFoundError."""
        return load_surface(surface_file(self.folder, key))

    def surfaces(self, **chosen):
        """All surfaces with these settings, {name: Surface}: `results.surfaces(network="vgg11", epoch=9)`.

        A list stands for any of its entries. Raises StudyError where there is none, or a name is no setting.
        """
        return {key: self.surface(key) for key in self.rows(**chosen).surface}

    def panels(self, rows, columns, **chosen):
        """{row: {column: [surfaces]}} of two settings, as the figures take it: what is in one panel is repeated.

            results.panels("activation", "epoch", kind="random", network="resnet14", seed=0)

        Raises StudyError as `rows`, and where a panel mixes networks.
        """
        found, mixed = {}, {}
        for row in self.rows(**chosen).itertuples():
            titles = tuple(self._title(name, getattr(row, name)) for name in (rows, columns))
            found.setdefault(titles[0], {}).setdefault(titles[1], []).append(self.surface(row.surface))
            mixed.setdefault(titles, set()).add(network_of(row.surface))
        for titles, those in mixed.items():
            if len(those) > 1:
                raise StudyError(
                    f"the panel {', '.join(titles)} has surfaces of several networks, {', '.join(sorted(those))}; "
                    f"choose one, as by its seed, activation or init (allowed: {', '.join(SETTINGS)})"
                )
        return found

    def _title(self, setting, value):
        """What a panel says of one setting."""
        if setting == "epoch":
            return f"epoch {value}" if value else "before training"
        if setting == "kind":
            return self.kinds.get(value) or kind_in_words(value, {})
        return f"{setting} {value}" if setting in ("seed", "pair", "batch", "layers", "max_step") else str(value)

    @cached_property
    def kinds(self):
        """{kind of surfaces: what is special about it, in words}, no two alike."""
        found = {kind: kind_in_words(kind, own) for kind, own in self.manifest["settings"].get("surfaces", {}).items()}
        often, plain = Counter(found.values()), {kind: kind_in_words(kind, {}) for kind in found}
        return {kind: said if often[said] == 1 else f"{said} ({plain[kind]})" for kind, said in found.items()}

    def rows(self, **chosen):
        """The rows of `measures` with these settings, as in `surfaces`."""
        table = self.measures
        for name, value in chosen.items():
            if name not in SETTINGS:
                raise StudyError(f"{name!r} is no setting of a surface; allowed are {', '.join(SETTINGS)}")
            values = value if isinstance(value, list | tuple | range) else [value]
            here = [*dict.fromkeys(table[name])]
            table = table[table[name].astype(str).isin([str(v) for v in values])]
            if table.empty:
                raise StudyError(
                    f"{self.folder} has no surface with {name} = {value!r}; there {name} is "
                    f"{', '.join(map(str, here[:20]))}"
                )
        return table


FIRST, LAST = ("hidden.0", "conv1", "features.0"), ("output", "fc")  # layers of our networks


def kind_in_words(kind, settings):
    """What is special about a kind of surfaces, from its settings; its name where nothing is.

    settings  of a `settings.SurfacePlan`; empty where they are not known
    """
    s = {"directions": "random", "layers": None, "max_step": 1.0, "dropout": "off", "normalise": "filter", **settings}
    planes = {"hessian": "plane of the Hessian", "trajectory": "plane of the training's path"}
    parts = [planes[s["directions"]]] if s["directions"] in planes else []
    parts += [f"{words.listed(map(_layer_in_words, s['layers']))} alone"] if s["layers"] else []
    parts += {"layer": ["layer-normalised"], "none": ["directions as drawn"]}.get(s["normalise"], [])
    if s["max_step"] != 1 and s["directions"] != "trajectory":  # whose steps are of another length
        closer = s["max_step"] < 1 and s["normalise"] != "none"
        step = s["max_step"]
        parts += [f"{words.number(1 / step)} times closer" if closer else f"steps up to {words.number(step)}"]
    parts += ["dropout on"] if s["dropout"] == "on" else []
    return ", ".join(parts) or kind.replace("_", " ")


def _layer_in_words(layer):
    name = layer.removesuffix(".weight")
    return "the first layer" if name in FIRST else "the last layer" if name in LAST else layer


def load_study(folder):
    """Read a study back. Raises StudyError, DamagedError, one sentence each."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is None or not (folder / "measures.csv").exists():
        raise StudyError(f"{folder} holds no landscape study: there is no manifest.json, or no measures.csv in it")
    if damage := damage_of_measures(folder, manifest):
        raise StudyError(damage)
    try:
        table = pd.read_csv(folder / "measures.csv", dtype=dict.fromkeys(("batch", "layers"), str))
    except (ValueError, OSError) as error:
        raise StudyError(f"{folder / 'measures.csv'} cannot be read ({' '.join(str(error).split())})") from error
    if missing := [name for name in SETTINGS if name not in table]:
        raise StudyError(f"{folder / 'measures.csv'} is damaged: it lacks {', '.join(missing)}; run the study again")
    return StudyResults(folder, table, manifest)


def read_history(folder, network):
    """The log of a training. Raises StudyError where it cannot be read, DamagedError for a damaged archive."""
    path = history_file(folder, network)
    try:
        table = pd.read_csv(io.BytesIO(packed.read(path)))
    except files.DamagedError:
        raise
    except (ValueError, OSError) as error:
        raise StudyError(f"{path} cannot be read ({' '.join(str(error).split())})") from error
    if list(table) != HISTORY or list(table.epoch) != list(range(len(table))):
        raise StudyError(f"{path} is damaged: it is no whole log of a training, a row an epoch")
    return table


def is_finished(folder):
    """Whether a folder holds a study that can be read and is finished."""
    return manifests.is_finished(load_study, folder)


def as_json(content):
    """Plain data as it comes back from a file."""
    return json.loads(json.dumps(content))


def agrees(there, here):
    """Whether what was written says nothing else than what is asked for now, in none of the keys that it has.

    A key that it lacks came later, and was at its default then.
    """
    if isinstance(there, dict) and isinstance(here, dict):
        return all(agrees(there[key], here[key]) for key in here if key in there)
    return as_json(here) == there


def has_surface(folder, key):
    """Whether a surface is there, plain or packed, whatever it holds. Raises DamagedError."""
    return packed.exists(surface_file(folder, key))


def read_surface(folder, key):
    """(a surface, None), (None, why it cannot be used), (None, None) where there is none."""
    try:
        return load_surface(surface_file(folder, key)), None
    except FileNotFoundError:
        return None, None
    except (SurfaceError, files.DamagedError) as error:
        return None, str(error)
