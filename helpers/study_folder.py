"""The folder of a study that writes tables: what is finished there, whether it is believed, and what is left to do.

While a study goes on, each finished task has a file of its own with its rows, state/rows/<task>.json, and the tables
are written from these; a task that is in the manifest alone, as in a folder that is published, has its rows in them.
"""

from collections import Counter
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from helpers import files, lanes, manifests
from helpers.checks import ConfigError, shown
from helpers.landscape_study.log import agrees, as_json
from helpers.landscape_study.work import to_make_anew, work_on
from helpers.progress import Once
from helpers.study_tables import read_rows_of, read_weights, rows_file, weights_file, write_rows_of
from helpers.sweep.folder import explained

KEPT = ("from", "about", "mark", "weights")  # of a finished task, in the manifest; its file of rows has more
MOST_NEWS = 4  # tasks of which a line of progress tells


class StudyFolder:
    """What lies in the folder of a study, and what is written there.

    path      absolute
    settings  has parts, {name: completed settings}, resume, and plans, each with key, needs, columns(table), to_dict()
    data      {name of a data set: its fingerprint}
    layout    the `study_tables.Tables` of this kind of study
    axes      keys of parts that a later start may change
    about     (what a worker is to do) -> plain JSON by which a state is recognised
    covers    (what a task was made for, as plain JSON, plan.to_dict()) -> whether that is enough
    alike     keys in which all rows of a part agree, as no column has them or means are taken over them
    """

    def __init__(self, path, settings, data, layout, axes, about, covers=agrees, alike=()):
        self.path, self.settings, self.data, self.manifest = Path(path), settings, data, {}
        self.layout, self.axes, self.about, self.covers, self.alike = layout, axes, about, covers, alike
        self._say, self._anew = Once(), to_make_anew(settings)
        self._strange = []  # files that hold nothing of this study, to be set aside
        self._decide = {}  # {part that is asked for: the keys that decide what its tasks give}
        for plan in settings.plans:
            self._decide.setdefault(part_of(plan.key), set()).update(made_for(plan.to_dict()))

    @property
    def states(self):
        return self.path / "state"

    # ---- checks before anything is written

    def check(self):
        """Raise ConfigError for a folder that holds another study, or what cannot be read."""
        self.manifest, self._records = manifests.of_study(self.layout.read_manifest, self.path), {}
        for name, own in self.settings.parts.items():
            before = self.manifest.get("parts", {}).get(name, own)
            changed = [key for key in own if key not in self.axes and not agrees(before, {key: own[key]})]
            if changed:
                key = changed[0]
                raise ConfigError(
                    f"{self.path} holds another study: {key} of {self.layout.parts}[{name!r}] is "
                    f"{shown(before.get(key))} there and {shown(own[key])} here; choose another save_dir, or another "
                    f"name in {self.layout.parts}"
                )
        for name, mark in self.manifest.get("data", {}).items():
            if self.data.get(name, mark) != mark and self.settings.resume != "force":
                raise ConfigError(
                    f"{self.path} holds a study of other data: the rows of {name} differ; put the data back, choose "
                    'another save_dir, or continue anyway with CONFIG "resume": "force"'
                )
        self._read_records()

    def _read_records(self):
        """{task: what is known of it} of all finished tasks; `set_aside` is for files of rows that cannot be used."""
        in_tables = self._in_tables()
        damage = self.layout.damage(self.path, self.manifest) if in_tables else None
        self._records = {} if damage else {**in_tables}
        ours, self._strange = {plan.key for plan in self.settings.plans}, []
        for path in sorted((self.states / "rows").glob("*.json")):
            task = path.stem
            try:
                self._records[task] = self._rows_of(path)
            except (ValueError, OSError) as error:
                again = f", and {task} is computed again" if task in ours else ""
                instead = ", and its rows are taken from the tables" if task in self._records else again
                self._say(f"{str(error).split('; ')[0]}; it is set aside{instead}")
                self._strange.append(path)
        if damage:
            lost = {*in_tables} - {*self._records}
            then = "what is known from it alone is computed again" if lost else "nothing is lost, it is written again"
            self._say(f"{damage.removesuffix('; run the study again')}; {then}")

    def _in_tables(self):
        """{task: what the manifest knows of it}, made for what its part is there, but where it says otherwise."""
        parts, found = self.manifest.get("parts", {}), {}
        for task, record in self.manifest.get("tasks", {}).items():
            of = {**parts.get(part_of(task), {}), **record.get("of", {})}
            found[task] = {**record, "of": {"settings": of, "maps": of}}
        return found

    def _for_manifest(self, task, record, parts):
        """KEPT of a task, and what it was made for where `parts`, plain JSON of a manifest, say otherwise."""
        part, of = parts.get(part_of(task), {}), made_for(record.get("of", {}))
        decide = self._decide.get(part_of(task), part)  # a part that is not asked for stays as it is
        other = {key: of[key] for key in of if key in decide and of[key] != part.get(key)}
        return {key: record[key] for key in KEPT} | ({"of": other} if other else {})

    def _rows_of(self, path):
        """What a file of rows holds. Raises DamagedError where it is damaged, or of another study."""
        record, task = read_rows_of(path), path.stem
        parts = {**{name: {} for name in self.layout.shared}, **self.manifest.get("parts", {}), **self.settings.parts}
        of = record.get("of", {})
        part = parts.get(part_of(task))
        if not {*record} >= {*KEPT} or of.get("key", task) != task or (part is None and self.manifest):
            raise files.DamagedError(f"{path} holds no rows of this study")
        own = {key: value for key, value in (part or {}).items() if key not in self.axes}
        if not agrees(of.get("settings", {}), own):
            raise files.DamagedError(f"{path} holds rows of other settings")
        return record

    @property
    def is_tidy(self):
        """Whether no file of rows is to be set aside."""
        return not self._strange

    def set_aside(self):
        """Rename what lies where this study has its files and cannot be used or replaced. Raises OSError."""
        places = [rows_file, weights_file, *self.layout.kept.values()]
        wanted = [place(self.path, plan.key) for plan in self.left for place in places]
        folders = [path for path in wanted if path.is_dir() and path not in self._strange]
        for path in folders:
            self._say(f"{path} is a folder where a file is to be; it is set aside")
        for path in [*self._strange, *folders]:
            files.set_aside(path)
        self._strange = []

    # ---- what is left

    @property
    def left(self):
        """The plans that are not finished, as the folder says now, each after those that it needs."""
        done = {plan.key for plan in self.settings.plans if self._is_done(plan)}
        plans = {plan.key: plan for plan in self.settings.plans}
        needed = set()
        for plan in reversed(self.settings.plans):
            if plan.key in done and plan.key in needed and (why := self.doubt(plan)):
                self._say(f"{why}; {plan.key} is computed again")
                done.discard(plan.key)
            if plan.key not in done:
                needed |= set(plan.needs)
        return [plan for key, plan in plans.items() if key not in done]

    def _is_done(self, plan):
        record = self._records.get(plan.key)
        if record is None or plan.key in self._anew or not self.covers(record.get("of", {}), plan.to_dict()):
            return False
        marks = {need: self.mark_of(need) for need in plan.needs}
        return all(marks[need] in (None, mark) for need, mark in record["from"].items() if need in marks)

    def mark_of(self, task):
        """The checksum of a finished task's weights or of what others take from it; None where it is not known."""
        return self._records.get(task, {}).get("mark")

    def doubt(self, plan):
        """Why the weights of a finished task do not do, as a sentence; an empty text where they do."""
        if not self._records.get(plan.key, {}).get("weights"):
            return ""
        try:
            weights = read_weights(self.path, plan.key)
        except OSError as error:
            return f"{weights_file(self.path, plan.key)} cannot be read ({error.strerror or error})"
        except ValueError as error:
            return str(error).split("; ")[0]
        if checksum_of(weights) != self.mark_of(plan.key):
            return f"{weights_file(self.path, plan.key)} holds other weights than those that were trained"
        return ""

    def known_of(self, task):
        """What a finished task says beside its rows."""
        return self._records[task]["about"]

    def step_of_state(self, plan):
        """The step that the saved state of a plan has reached; -1 where there is none that can be used."""
        if plan.key in self._anew or (there := lanes.about_state(self.states, plan.key, self._say)) is None:
            return -1
        path, here = lanes.state_file(self.states, plan.key), as_json(self.about(self.what(plan)))
        if self.settings.resume == "force":  # which goes on whatever code has made it
            here.pop("code", None)
        if not isinstance(there, dict) or any(there.get(key) != here[key] for key in here):
            self._say(f"{path} was made by other settings, other weights or other code; {plan.key} begins anew")
            return -1
        step = there.get("step", -1)
        return step if isinstance(step, int) else -1

    # ---- writing

    def begin(self, origin):
        """Write the manifest before anything else: what is asked for, and where it comes from.

        origin  versions, device, machine, as `files.provenance` has it
        """
        for folder in (
            self.path,
            self.states,
            *(self.states / name for name in ("rows", "weights")),
            *(place(self.path, "task").parent for place in self.layout.kept.values()),
        ):
            files.remove_parts(folder)
        self.set_aside()
        self._rows_from_tables()
        before = self.manifest
        parts = as_json({**before.get("parts", {}), **self.settings.parts})
        data = {**before.get("data", {}), **self.data}
        manifest = {"tasks": {}, "tables": {}, "started": files.now(), **before, "parts": parts, "data": data}
        # the tables have what was made for the parts as they were before
        manifest["tasks"] = {task: self._for_manifest(task, own, parts) for task, own in self._in_tables().items()}
        manifest["study"] = self.layout.study
        if manifest != before or "versions" not in before or self.left:
            manifest |= {**origin, "finished": None}
        self._write_manifest(manifest)

    def _rows_from_tables(self):
        """Give the tasks that only the tables know files of their own: the tables are written anew from these."""
        lost = [task for task in self._records if not rows_file(self.path, task).exists()]
        tables = {table: self.layout.read_rows(self.path, table) for table in self.layout.own} if lost else {}
        for task in lost:
            rows = {table: those[task] for table, those in tables.items() if task in those}
            write_rows_of(self.path, task, {**self._records[task], "rows": rows})
            self._records[task] = read_rows_of(rows_file(self.path, task))

    def _write_manifest(self, manifest):
        if manifest != self.manifest:
            manifests.write(self.path, manifest)
            self.manifest = manifest

    def what(self, plan):
        """What a worker is to do, plain data and settings."""
        made_from = {need: self.mark_of(need) for need in plan.needs}
        known = {need: self.known_of(need) for need in plan.needs}
        return {"plan": plan, "from": made_from, "known": known}

    def task(self, plan, steps, cost):
        """A plan as a `lanes.Task`, at the step that its saved state has reached."""
        done = self.step_of_state(plan)
        return lanes.Task(plan.key, self.what(plan), cost, steps, done if done <= steps else -1)

    def record_results(self, plan, results):
        """Write what a task has given, and forget its state."""
        for name, place in self.layout.kept.items():
            if results.get(name):
                files.write_npz(place(self.path, plan.key), **results[name])
        weights = results.get("weights")
        if weights:
            files.write_state(weights_file(self.path, plan.key), weights, {"task": plan.key})
        taken = {key: value for key, value in results["about"].items() if key != "seconds"}  # of these nobody takes any
        mark = checksum_of(weights) if weights else files.checksum(repr(sorted(taken.items())))
        record = {"of": plan.to_dict(), "from": self.what(plan)["from"], "about": results["about"], "mark": mark}
        record["weights"] = bool(weights)
        rows = {
            table: [self.layout.cells({**plan.columns(table), **row, "task": plan.key}, table) for row in those]
            for table, those in results["rows"].items()
        }
        write_rows_of(self.path, plan.key, {**record, "rows": rows})
        self._records[plan.key] = read_rows_of(rows_file(self.path, plan.key))
        lanes.state_file(self.states, plan.key).unlink(missing_ok=True)
        self._anew.discard(plan.key)

    @property
    def is_finished(self):
        return bool(self.manifest.get("finished")) and self.layout.damage(self.path, self.manifest) is None

    def write_tables(self, complete):
        """Write all tables from the rows of the finished tasks, and the manifest with their checksums.

        complete  whether all is done
        """
        order = {plan.key: i for i, plan in enumerate(self.settings.plans)}
        unlike = self._unlike(order)
        tasks = sorted({*self._records} - unlike, key=lambda task: (order.get(task, len(order)), task))
        contents = {}
        for table in self.layout.own:
            rows = [row for task in tasks for row in self._records[task].get("rows", {}).get(table, [])]
            contents[table] = self.layout.table_bytes(table, rows)
        marks = {table: files.checksum(content) for table, content in contents.items()}
        self._write_manifest({**self.manifest, "writing": marks})  # by which a kill in between is known
        for table, content in contents.items():
            self.layout.write_table(self.path, table, content)
        manifest = {key: value for key, value in self.manifest.items() if key != "writing"}
        known = {task: self._for_manifest(task, self._records[task], manifest["parts"]) for task in tasks}
        finished = files.now() if complete else None
        self._write_manifest({**manifest, "tasks": as_json(known), "tables": marks, "finished": finished})

    def _unlike(self, asked):
        """The tasks whose rows would be mixed with those of another kind; they stay in their files.

        asked  the tasks that are asked for: these are made anew
        """
        found = {}
        for task in {*self._records} - {*asked}:
            part, of = as_json(self.settings.parts.get(part_of(task), {})), made_for(self._records[task].get("of", {}))
            keys = [key for key in self.alike if key in part and key in of and of[key] != part[key]]
            if keys:
                found.setdefault((part_of(task), keys[0]), []).append(task)
        for (part, key), tasks in sorted(found.items()):
            count = f"{len(tasks)} task{'s' * (len(tasks) > 1)}"
            self._say(
                f"{count} of {self.layout.parts}[{part!r}], asked for no more, had another {key} than "
                f"{shown(self.settings.parts[part][key])}: left out of the tables, kept in {self.states / 'rows'}"
            )
        return {task for tasks in found.values() for task in tasks}


def part_of(task):
    """The name of the part that a task belongs to; of one that all parts share, what such names begin with."""
    return task.partition("--")[0]


def made_for(of):
    """{key: value} of a part as it was asked for when a task was made, from what `plan.to_dict()` said then."""
    return {**of.get("settings", {}), **of.get("maps", {})}


def checksum_of(weights):
    """16 digits of {name: tensor}."""
    arrays = [np.ascontiguousarray(weights[name].numpy()).tobytes() for name in sorted(weights)]
    return files.checksum(b"".join(arrays))


# ---- running a study


def described(study, words):
    """What is asked for and what is finished, in two lines.

    study  as `run` takes it
    words  {what plans `do`: what so many of them are called}
    """
    plans, left = study.settings.plans, study.left
    counts = Counter(plan.do for plan in plans)
    listed = ", ".join(f"{count} {words.get(do, do)}" for do, count in counts.items())
    return f"{len(plans)} tasks ({listed}); {len(plans) - len(left)} of {len(plans)} are finished\n" + lanes.where(
        study.device, study.cluster, len(left)
    )


def run(study, load, phases, smaller, packages=()):
    """Work on what is left of a study, and return it whole, as `load(folder)` gives it.

    study     as `work.work_on` takes it, with `folder` and cost_of(plan); plans have a `phase` from 0 to phases - 1,
              which are worked on one after another
    smaller   what takes less memory, in the words of an error
    packages  those that decide numbers beside `files.VERSIONS`

    Interrupted, it goes on from each task's last step when it is started again. A finished study is only read.
    """
    study.stop.clear()
    there = study.there
    if there.is_finished and not there.left:
        if not there.is_tidy:
            with suppress(OSError, files.LockedError), files.locked(study.folder):
                there.set_aside()
        return load(study.folder)
    with explained("the study", study.folder, "a task", smaller), files.locked(study.folder):
        there.check()
        there.begin(_origin(study.device, packages))
        for phase in range(phases):
            left = there.left
            now, later = ([plan for plan in left if test(plan.phase)] for test in (phase.__eq__, phase.__lt__))
            if now and not study.stop.is_set():
                work_on(study, now, _news, sum(map(study.cost_of, later)))
                there.write_tables(complete=False)
        there.write_tables(complete=not there.left)
    return load(study.folder)


def _origin(device, packages):
    """Versions, device, machine and threads."""
    origin = files.provenance(device)
    versions = {**origin["versions"], **{name: version(name) for name in packages}}
    return {**origin, "versions": versions, "threads": torch.get_num_threads()}


def _news(events):
    """The latest events alone."""
    latest = events[-MOST_NEWS:]
    said = [f"{event.task} {event.step}/{event.steps}" for event in latest]
    figures = [" ".join(f"{key} {value:.4g}" for key, value in event.figures.items()) for event in latest]
    return [" ".join(filter(None, both)) for both in zip(said, figures, strict=True)]
