"""What theory needs to know of a data set, kept beside the page: with it a forecast needs no data on disk.

`page/moments.json` of a folder of results holds, for each data set and part of it that a sweep there trains on, its
sizes and the moments of its inputs. `python -m helpers.page --anew` computes them from the data; the embedded digits,
and the data of a sweep that has just been trained, need no asking.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from helpers import files

WITHOUT_ASKING = ("digits",)  # embedded: loading it downloads nothing
PATIENCE = 60  # seconds to wait for another process that writes the moments, which takes it milliseconds
ROUNDING = 1e-6  # of shares that are written with six digits


@dataclass(frozen=True)
class Known:
    """What is known of a data set. It stands in for its Data where theory asks for sizes.

    square, product             as in `theory.InputMoments`
    same, different, differ     as in `theory.ClassMoments`
    commonest_class_share       by which a sweep is seen to have been trained on this data
    """

    input_size: int
    output_size: int
    classes: int
    train_size: int
    input_square: float
    commonest_class_share: float
    square: float
    product: float
    class_square: float
    same: float
    different: float
    differ: bool

    @classmethod
    def of(cls, data):
        """What is known of a Data."""
        from helpers import theory  # with torch, which whoever only checks a page does without

        inputs, classes = theory.input_moments(data.x_train), theory.class_moments(data.x_train, data.y_train)
        sizes = {name: getattr(data, name) for name in ("input_size", "output_size", "classes", "train_size")}
        shares = {"input_square": data.input_square, "commonest_class_share": data.commonest_class_share}
        moments = {"square": inputs.square, "product": inputs.product, "class_square": classes.square}
        return cls(**sizes, **shares, **moments, same=classes.same, different=classes.different, differ=classes.differ)

    @property
    def inputs(self):
        from helpers import theory

        return theory.InputMoments(self.square, self.product)

    @property
    def by_class(self):
        from helpers import theory

        return theory.ClassMoments(self.class_square, self.same, self.different, self.classes, self.differ)


class Moments:
    """The moments of a folder of results; `of` gives those of a sweep.

    load    whether every data set is loaded, from the disk or by a download; those that cannot be stay as they are
    beside  another folder of results, whose moments are known as well
    """

    def __init__(self, root, load=False, beside=None):
        self.path, self.load = Path(root) / "page" / "moments.json", load
        self.known, self._loaded = _read(self.path), set()
        self._before = dict(self.known)
        self.others = {} if beside is None else _read(Path(beside) / "page" / self.path.name)

    def of(self, manifest, data=None):
        """What is known of the data of a sweep, or None.

        data  the Data itself, where it is in memory
        """
        config = manifest["config"]
        name = name_of(config)
        if data is not None:
            self.known[name] = Known.of(data)
        elif name not in self._loaded and (self.load or self._is_missing(config, name)):
            self._loaded.add(name)
            self._load(config, name)
        found = self.known.get(name) or self.others.get(name)
        fits = found and abs(found.commonest_class_share - manifest["commonest_class_share"]) <= ROUNDING
        return found if fits else None

    def _is_missing(self, config, name):
        return name not in self.known | self.others and config["dataset"] in WITHOUT_ASKING

    def _load(self, config, name):
        from helpers import data as datasets
        from helpers.config import ConfigError, SweepConfig

        try:
            self.known[name] = Known.of(datasets.load(SweepConfig.from_dict(config)))
        except (datasets.DataError, ConfigError):  # the page then has no forecast of it, or that of the file
            return

    def text(self):
        """The file that keeps them: as it is by now, and what is new here."""
        known = _read(self.path) | {name: one for name, one in self.known.items() if one != self._before.get(name)}
        content = {name: dataclasses.asdict(known[name]) for name in sorted(known)}
        return json.dumps(content, indent=1) + "\n"

    def write(self):
        """Write the file, also where other processes do so: none loses what another has found. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(".lock"), timeout=PATIENCE):
            files.write_whole(self.path, self.text())


def _read(path):
    try:
        return {name: Known(**entry) for name, entry in (files.read_json(path) or {}).items()}
    except (files.DamagedError, TypeError, AttributeError):  # it is written anew, as far as the data are there
        return {}


def name_of(config):
    """The data of a CONFIG in a few words: its data set, and what of it is trained on."""
    size, scaled = config.get("train_size"), config.get("normalize")
    return config["dataset"] + (f", {size} samples" if size else "") + (", normalised" if scaled else "")
