"""Tables of a study: rows of finished tasks, each kind of row a CSV, with checksums; torch is not needed to read them.

While a study goes on, each finished task has a file of its own, state/rows/<task>.json; the tables are written from
these. A table begins with the columns that say of what a row is, and ends with `task`, the name of the task that gave
it. One that is long is compressed by bzip2, which leaves three quarters of what gzip does of numbers, and may leave
out what another table says of the same task. Earlier versions wrote `.csv.gz`, which is read where there is no other.
"""

import bz2
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from helpers import checksums, files, manifests
from helpers.checks import in_one_sentence

ADVICE = "get it back, or move it away: what is whole in state/ is then kept, and the rest is computed again"


class StudyError(ValueError):
    """A study that cannot be read, or holds not what is asked for; the text is one sentence."""

    _render_traceback_ = in_one_sentence


@dataclass(frozen=True)
class Tables:
    """What the tables of a kind of study are.

    study   the kind, in words: "path study"
    first   {table: the columns that it begins with}
    own     {table: the columns after those}
    long    {table that is compressed: the table that has its first columns, which it leaves out; None for none}
    texts   columns of texts
    flags   columns of True and False
    parts   what its parts are called in a notebook
    kept    {key of a task's results: (folder, task) -> file}, arrays that are published beside the tables
    shared  what the names of tasks begin with that belong to no part, but to all
    """

    study: str
    first: dict
    own: dict
    long: dict
    texts: tuple
    flags: tuple
    parts: str = "PARTS"
    kept: dict[str, Callable] = field(default_factory=dict)
    shared: tuple = ()

    def columns_of(self, table):
        """The columns of a table; the last one is the task that gave the row."""
        return [*self.first[table], *self.own[table], "task"]

    def cells(self, row, table):
        """A row as texts, {column: cell}. Raises KeyError for a column that the table has not."""
        columns = self.columns_of(table)
        if strange := [name for name in row if name not in columns]:
            raise KeyError(f"{table} has no column {strange[0]!r}")
        return {name: cell(row.get(name)) for name in columns}

    def table_file(self, folder, table):
        """Where a table is written."""
        return Path(folder) / f"{table}.csv{'.bz2' if table in self.long else ''}"

    def written_file(self, folder, table):
        """Where a table lies, also as an earlier version wrote it."""
        now, earlier = self.table_file(folder, table), Path(folder) / f"{table}.csv.gz"
        return earlier if table in self.long and earlier.exists() and not now.exists() else now

    def write_table(self, folder, table, content):
        """Write the bytes of a table, whole."""
        files.write_whole(self.table_file(folder, table), content)
        if table in self.long:
            files.make_way(Path(folder) / f"{table}.csv.gz")

    def table_bytes(self, table, rows):
        """The file of a table of rows, dicts of cells that are texts; the same rows give the same bytes."""
        left_out = self.first[table] if self.long.get(table) else []
        columns = [name for name in self.columns_of(table) if name not in left_out]
        frame = pd.DataFrame(rows, columns=columns, dtype=str).fillna("")
        text = frame.to_csv(index=False, lineterminator="\n").encode()
        return bz2.compress(text) if table in self.long else text

    def read_rows(self, folder, table):
        """{task: [rows, dicts of texts]} of a table. Raises StudyError."""
        path, first = self.written_file(folder, table), self.first[table]
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            raise StudyError(f"{path} cannot be read ({' '.join(str(error).split())}); run the study again") from error
        other = self.long.get(table)
        if missing := [name for name in ("task", *(() if other else first)) if name not in frame]:
            raise StudyError(f"{path} is damaged: it lacks the column {missing[0]}; run the study again")
        if other:
            rows = [those[0] for those in self.read_rows(folder, other).values()]
            beside = pd.DataFrame(rows, columns=self.columns_of(other), dtype=str)
            frame = frame.merge(beside[[*first, "task"]], on="task", how="left")
        # a column that came later is not known
        frame = frame.reindex(columns=self.columns_of(table), fill_value="")
        return {task: rows.to_dict("records") for task, rows in frame.groupby("task", sort=False)}

    def frame(self, folder, table):
        """A table as a DataFrame: texts, numbers, and True or False. Raises StudyError."""
        rows = [row for those in self.read_rows(folder, table).values() for row in those]
        frame = pd.DataFrame(rows, columns=self.columns_of(table), dtype=str)
        for name in frame.columns.difference([*self.texts, "task", *self.flags]):
            frame[name] = pd.to_numeric(frame[name].replace("", None))
        for name in frame.columns.intersection(self.flags):
            frame[name] = frame[name].map({"True": True, "False": False, "": None})
        return frame

    def read_manifest(self, folder):
        """The manifest of a study; None where there is none. Raises DamagedError, StudyError for another thing's."""
        manifest = manifests.read(folder, ADVICE)
        if manifest is None:
            return None
        parts = [manifest.get(part) for part in ("parts", "tasks")] if isinstance(manifest, dict) else [None]
        # a manifest that does not say of which kind it is was written when path studies were the only ones
        if not all(isinstance(part, dict) for part in parts) or manifest.get("study", "path study") != self.study:
            raise StudyError(f"{Path(folder) / 'manifest.json'} is of no {self.study}; choose another save_dir")
        return manifest

    def damage(self, folder, manifest):
        """What is wrong with a table, as a sentence; None for nothing."""
        for table, checksum in manifest.get("tables", {}).items():
            path = self.written_file(folder, table)
            try:
                there = files.checksum(path.read_bytes())
            except OSError as error:
                return f"{path} cannot be read ({error.strerror}); run the study again"
            if there not in (checksum, manifest.get("writing", {}).get(table)):
                return f"{path} is damaged: its checksum is not the one in manifest.json; run the study again"
            if there != checksum:
                return (
                    f"{path} is newer than manifest.json: the study is at work, or was stopped while it wrote its "
                    "tables; run the study again"
                )
        return None

    def load(self, folder):
        """(manifest, {table: DataFrame}) of a study. Raises StudyError, DamagedError, one sentence each."""
        folder = Path(folder)
        manifest = self.read_manifest(folder)
        if manifest is None or not manifest.get("tables"):
            raise StudyError(f"{folder} holds no {self.study}: there is no manifest.json, or no table in it")
        if damage := self.damage(folder, manifest):
            raise StudyError(damage)
        return manifest, {table: self.frame(folder, table) for table in self.own}


def cell(value):
    """A value as a cell of a table: six significant digits, empty where it is not known."""
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int) or type(value).__name__ == "bool_":
        return str(value)
    return "" if value != value else f"{float(value):.6g}"


# ---- what a finished task has given


def weights_file(folder, task):
    return Path(folder) / "state" / "weights" / f"{task}.pt"


def rows_file(folder, task):
    return Path(folder) / "state" / "rows" / f"{task}.json"


def write_rows_of(folder, task, record):
    """Write what a finished task has given, with a checksum."""
    files.write_json(rows_file(folder, task), {"checksum": checksums.of_content(record), **record})


def read_rows_of(path):
    """What `write_rows_of` wrote. Raises DamagedError."""
    record = files.read_json(path, "move it away")
    mark = record.pop("checksum", None) if isinstance(record, dict) else None
    if mark is None or mark != checksums.of_content(record):
        raise files.DamagedError(f"{path} is damaged: its checksum does not match")
    return record


def read_weights(folder, task):
    """What was kept of a task's weights, {name: tensor}. Raises StudyError where there is none, or another task's."""
    path = weights_file(folder, task)
    try:
        weights, about = files.read_state(path)
    except FileNotFoundError as error:
        raise StudyError(
            f"there is no {path}: weights are kept where a study was run, and not published; run it in another save_dir"
        ) from error
    if about.get("task", task) != task:
        raise StudyError(f"{path} holds the weights of {about['task']}; get its own back, or use another save_dir")
    return weights
