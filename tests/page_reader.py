"""A page's data read back without any of its own code: by a regular expression, gzip and JSON."""

import base64
import csv
import gzip
import json
import re

DATA = re.compile(r'^// \{.*\}\nplumbline\.data\(("(?:[^"\\]|\\.)*"), "([A-Za-z0-9+/=]*)"\);\n$')
INDEX = re.compile(r"^plumbline\.studies\((.*?)(, \{own: true\})?\);\n$")


def data_of(path):
    """(key, content) of a data file."""
    key, packed = DATA.match(path.read_text("ascii")).groups()
    return json.loads(key), json.loads(gzip.decompress(base64.b64decode(packed)))


def index_of(path):
    """(studies, whether they are one's own) of a studies.js."""
    studies, own = INDEX.match(path.read_text("ascii")).groups()
    return json.loads(studies), own is not None


def layers_of(data, stat, i):
    """[epoch][layer] of one statistic of run i, None for what is not known: one number after the other."""
    packed = data["layers"][stat][i]
    total, numbers = 0, []
    for step in packed.get("log10") or packed["steps"]:
        if step is None or step is False:
            numbers.append(None if step is None else 0.0)
            continue
        total += step
        numbers.append(10.0 ** (total / data["layers"]["steps"]) if "log10" in packed else total * packed["unit"])
    depth = len(numbers) // len(data["layers"]["epochs"])
    return [numbers[start : start + depth] for start in range(0, len(numbers), depth)]


def rows_of(path):
    """The rows of a CSV as dicts of texts."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
