"""The folder of a sweep: whether a CONFIG can go on in it, what is finished or begun there, what is written to it."""

import dataclasses
import json
import time
from collections import Counter
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch

from helpers import checks, checksums, files, lanes, manifests, packed, records, sources
from helpers.activations import FAMILIES
from helpers.checks import shown
from helpers.config import ConfigError, SweepConfig, with_later_keys
from helpers.initializers import INITIALIZERS
from helpers.progress import say
from helpers.sweep import origin
from helpers.sweep.plan import FREE_KEYS, PARAMS_OF, fixed_part, kind_of, stack_task

PLACE = ("init", "activation", "layers", "seed")  # of a run in the grid
FORCE = 'CONFIG "resume": "force"'
DEFAULTS = {field.name: getattr(SweepConfig, field.name, {}) for field in dataclasses.fields(SweepConfig)}


class SweepError(RuntimeError):
    """A sweep that could not go on; its text says why, and what is kept."""

    _render_traceback_ = checks.in_one_sentence


@contextmanager
def explained(what, folder, network, smaller):
    """Within, what ends a study is a SweepError: its folder is in use, or cannot be written to; no memory is left.

    what     goes into the folder, as "the log"
    network  a word for what may not fit into memory, as "an experiment"
    smaller  what to choose then, as "fewer layers"
    """
    kept, again = "what is finished is kept", "start again to go on"
    try:
        yield
    except (files.LockedError, files.DamagedError, lanes.ClusterError) as error:
        raise SweepError(str(error)) from error
    except files.MovedError as error:
        raise SweepError(f"{error}; {kept}: put it back, and {again}") from error
    except OSError as error:
        where, why = error.filename or folder, error.strerror or error
        raise SweepError(f"{what} cannot be written to {where} ({why}); {kept}: mend that, and {again}") from error
    except (RuntimeError, MemoryError) as error:
        if not lanes.is_out_of_memory(error):
            raise
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise SweepError(
            f"{network} does not fit into memory ({said}); {kept}: choose {smaller}, and {again}"
        ) from error


class SweepFolder:
    """What a sweep has on disk.

    Finished runs may be packed, as those that are published are: they are read there, and new runs are files beside
    the archive, which `packed.pack` takes in.

    config    a SweepConfig whose sizes are known
    data      the Data that the runs are trained on
    rows      {run: its row of the summary}, also of runs that want more epochs
    finished  the runs that are complete

    What is finished can always be opened. Where something is left to train, it goes on with the code that has trained
    the rest; and data other than those of the manifest are refused in any case, unless CONFIG says "resume": "force".

    With "resume": False every start begins anew. What lies in the folder is replaced run by run, and its states go at
    once; a later start with True goes on from the one that began anew, and trains what that had not replaced.

    Raises ConfigError when the folder holds another sweep, or what cannot be used.
    """

    def __init__(self, path, config, data):
        self.path, self.config, self.floor = Path(path), config, data.commonest_class_share
        self.data = origin.of_data(data, config.normalize)
        # name of a run: (checksum, number of its last epoch, what it was made from where that is known). One that does
        # not match is kept until its run is trained again: the next start, finding none, would believe the file.
        self._checksums = checksums.read(self.path)
        self.manifest = self._checked_manifest()
        self._find_names()
        self.rows, self.finished = {}, set()
        self._useless = set()  # states that cannot be used; each is named once
        if config.resume:
            try:
                self._find_finished()
            except files.DamagedError as error:  # of an archive: too many runs to train again unasked
                raise ConfigError(str(error)) from error
            self._check_what_trained()

    @property
    def states(self):
        return self.path / "state"

    @property
    def is_complete(self):
        return len(self.finished) == len(self.config.runs())

    @property
    def is_finished(self):
        """Whether it is complete, and its manifest says so: then there is nothing left to write."""
        return self.is_complete and bool((self.manifest or {}).get("finished"))

    # ---- whether this CONFIG can go on here

    def _checked_manifest(self):
        """The manifest in the folder, if this CONFIG can go on with it; None where there is none."""
        file = self.path / "manifest.json"
        try:
            found = manifests.read(self.path, self._without_manifest())
        except files.DamagedError as error:
            raise ConfigError(str(error)) from error
        if found is None:
            self._check_runs_alone()
            return None
        if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
            raise ConfigError(f"{file} holds no config; {self._without_manifest()}")
        if wrong := manifests.wrong_kinds(found):
            raise ConfigError(f"{file} is damaged: {wrong}; {self._without_manifest()}")
        there, here = with_later_keys(found["config"]), self.config.to_dict()
        for key in here:
            if not _goes_on(key, there, here):
                raise ConfigError(
                    f"{self.path} holds the results of another CONFIG: {key} is {shown(there.get(key))} there and "
                    f"{shown(here[key])} here; choose another save_dir, or give {key} the value that is there"
                )
        own = origin.own_activations(self.config) | origin.own_inits(self.config)
        for name, fingerprint in {**found.get("own_activations", {}), **found.get("own_inits", {})}.items():
            if own.get(name, fingerprint) != fingerprint:
                raise ConfigError(
                    f"{self.path} holds results of another function that was registered as {name!r}; "
                    "choose another save_dir, or register the new one under another name"
                )
        self._refuse_other_data(found, "holds results of")
        return found

    @property
    def _knows_what_made_runs(self):
        """Whether runs.json is there, as it was written, and says of each run in it what it was made from."""
        there = (self.path / "runs.json").is_file() and checksums.damage_of_index(self.path) is None
        return there and all(len(entry) == 3 for entry in self._checksums.values())

    def _without_manifest(self):
        """What to do without the manifest, in words that hold."""
        if self._knows_what_made_runs:
            return "get it back, or move it away and start again: the runs in runs.json that this CONFIG made are kept"
        return f"get it back, choose another save_dir, or move {self.path} away to train all runs anew"

    def _check_runs_alone(self):
        """Runs without a manifest are taken up where runs.json knows that this CONFIG made them, of the same data."""
        runs = self.path / "runs"
        try:
            names = {path.stem for path in runs.glob("*.csv")} | {Path(name).stem for name in packed.packed_names(runs)}
        except files.DamagedError:
            names = {packed.pack_of(runs).name}
        if not names:
            self._checksums = {}
            return
        named = self.config.named
        if not self._knows_what_made_runs:
            raise ConfigError(f"{self.path} holds runs but no manifest.json; {self._without_manifest()}")
        others = sorted(name for name in names if name not in named or self._is_anothers(named[name]))
        if others:
            raise ConfigError(
                f"{self.path} holds runs but no manifest.json, and {others[0]} is of another CONFIG or of other data; "
                f"choose another save_dir, or move {self.path} away to train all runs anew"
            )
        say(f"{self.path} holds no manifest.json; what this CONFIG made of the same data is taken up")

    def _is_anothers(self, run):
        return run.name in self._checksums and self._checksums[run.name][2:] != (self._made_from(run),)

    def _made_from(self, run):
        """A fingerprint of what decides the numbers of a run beside the code: CONFIG, data, the reader's own functions.

        What is at its default does not count: keys and parameters that come later change nothing.
        """
        fixed = fixed_part(self.config, [run])
        fixed = {key: value for key, value in fixed.items() if value != DEFAULTS.get(key)}
        for key, table, name in (
            ("init_params", INITIALIZERS, self.config.row_of(run.init)),
            ("activation_params", FAMILIES, run.activation),
        ):
            (params,) = fixed.pop(key, {None: None}).values()
            row = table.get((params or {}).get("activation", name))
            usual = getattr(row, "defaults", {})
            fixed[key] = {k: v for k, v in (params or {}).items() if usual.get(k) != v}
        base = fixed["activation_params"].get("base")
        functions, inits = origin.own_activations(self.config), origin.own_inits(self.config)
        own = functions.get(run.activation), functions.get(base), inits.get(self.config.row_of(run.init))
        return origin.digest(json.dumps([run.name, fixed, own, origin.in_short(self.data)]))

    def _refuse_other_data(self, found, what):
        """Raise ConfigError when a manifest, or what a state says of itself, is of other data."""
        changed = origin.data_changed(found["data"], self.data) if isinstance(found.get("data"), dict) else ""
        if changed and self.config.resume != "force":
            raise ConfigError(
                f"{self.path} {what} other data: {changed} differ; put the data back, choose another save_dir, or go "
                f"on all the same with {FORCE}"
            )

    def _check_what_trained(self):
        """Raise ConfigError when other code than today's has trained what there is, and something is left to train."""
        if self.is_complete or self.config.resume == "force":
            return
        states = list(filter(None, map(self._about, sorted(self.states.glob("*.pt")))))
        for state in states:
            self._refuse_other_data(state, "holds a state that was trained on")
        if self.finished or states:
            for found in (self.manifest or {}, *states):
                code = found.get("code")
                changed = sources.changed(code, origin.of_code()) if isinstance(code, dict) else ""
                if changed:
                    raise ConfigError(
                        f"{self.path} was trained by other code: {changed} differs, and "
                        f"{len(self.config.runs()) - len(self.finished)} runs are left to train; choose another "
                        f'save_dir, train all anew with "resume": False, or continue anyway with {FORCE}'
                    )

    # ---- what is there

    def _find_names(self):
        """Note under which name each run lies here: earlier versions called some otherwise, and some pairs alike.

        What the summary says of a name counts; a name of which it says nothing, or two things, is not taken up.
        """
        self._there, owners = {}, {}
        for row in records.read_rows(self.path):
            self._there[row["run"]], place = row, tuple(row[axis] for axis in PLACE)
            if row["run"].startswith("{}_{}_{}L".format(*place)):  # or else the row is damaged, or from today
                owners.setdefault(row["run"], []).append(place)
        runs = self.config.runs()
        own = {run: [tuple(getattr(run, axis) for axis in PLACE)] for run in runs}
        self._earlier = {
            run: run.earlier_name
            for run in runs
            if run.earlier_name != run.name and owners.get(run.earlier_name) == own[run]
        }
        for run, name in self._earlier.items():
            if name in self._checksums:
                self._checksums.setdefault(run.name, self._checksums.pop(name))
        shared = Counter(run.earlier_name for run in runs)
        self._doubtful = {
            run
            for run in runs
            if len(self._checksums.get(run.name, ())) < 3  # today it is known what a run was made from
            and (owners[run.name] != own[run] if run.name in owners else shared[run.name] > 1)
        }

    def _file(self, run):
        """Where the CSV of a run lies now, plain or packed, or would lie. Raises DamagedError for a damaged archive."""
        path = records.run_file(self.path, run)
        if run in self._earlier and not packed.exists(path):
            return path.with_name(f"{self._earlier[run]}.csv")
        return path

    def _find_finished(self):
        """A run whose CSV is as it was written has its row in the summary; any other is read and judged anew."""
        packed.packed_names(self.path / "runs")  # an archive that cannot be read ends it here
        for damage in (checksums.damage_of_index(self.path), checksums.damage_of_summary(self.path)):
            if damage:
                say(f"{damage}; it is written anew from the runs")
        known, self._vouched = checksums.summary_is_known(self.path), checksums.vouches_for_all(self.path)
        again = set((self.manifest or {}).get("again", ()))
        gone = []
        for run in self.config.runs():
            path = self._file(run)
            if run.name in again:
                continue
            try:
                if run in self._doubtful:
                    if packed.exists(path):
                        raise ValueError(f"{path} may be of another run, which an earlier version called the same")
                elif packed.exists(path):
                    self._judge(run, path, self._row_there(path.stem) if known else None)
                elif run.name in self._checksums:
                    gone.append(path)
            except (ValueError, OSError) as error:
                say(f"{_sentence(error, path)}; the run is trained again")
        if again:
            say(f"{len(again)} runs in {self.path} are older than the start with resume False; they are trained again")
        if gone and ((self.path / "runs").exists() or packed.is_packed(self.path / "runs")):
            more = f" and {len(gone) - 1} more are" if len(gone) > 1 else " is"
            say(f"{gone[0]}{more} gone; what is gone is trained again")

    def _row_there(self, name):
        """The row of a run in the summary; None where it has none, or that of an earlier version, which said less."""
        row = self._there.get(name, {})
        return row if row.get("crashed", pd.NA) is not pd.NA else None

    def _judge(self, run, path, row):
        """Note a run with its row. Raises ValueError, OSError when what lies there is not what was written."""
        checksum = packed.checksum(path)
        written, last, *made_from = self._checksums.get(run.name, (checksum, None))
        if written != checksum:
            raise ValueError(f"{path} is damaged: its checksum is not the one in runs.json")
        if run.name not in self._checksums and (self._vouched or self.manifest is None):
            raise ValueError(f"{path} is not known to runs.json")
        if last is None or row is None:
            history = records.read_run(path)
            if list(history) != records.columns(run.layers):
                raise ValueError(f"{path} is damaged: it has not the columns of {run.layers} layers")
            if len(history) - 1 > self.config.num_epochs:
                raise ValueError(f"{path} is damaged: it has {len(history) - 1} epochs, more than num_epochs")
            if last is not None and last != len(history) - 1:
                raise ValueError(f"{path} is damaged: it has {len(history) - 1} epochs, not the {last} of runs.json")
            row = records.summarise(run, history, self.floor)
            if last is None:
                self._hold_against_summary(path, row)
            last = len(history) - 1
        self.rows[run], self._checksums[run.name] = {**row, "run": run.name}, (checksum, last, *made_from)
        if last == self.config.num_epochs:
            self.finished.add(run)

    def _hold_against_summary(self, path, row):
        """Without runs.json the summary is the only other witness. Raises ValueError where it says something else."""
        there = self._there.get(path.stem, {})
        for name in ("final_train_loss", "final_test_loss", "final_train_acc", "final_test_acc"):
            value, other = row[name], there.get(name)
            if isinstance(other, float) and abs(value - other) > 2e-5 * abs(value):  # six digits; NaN is another matter
                raise ValueError(f"{path} is damaged, or summary.csv is: {name} is {value:g} here and {other:g} there")

    def _about(self, path):
        """What a state says of itself; None where it cannot be used, which is said once."""
        try:
            about = files.read_about(path)
            if _names_its_work(about):
                return about
            raise files.DamagedError(f"{path} does not say of which work it is")
        except (files.DamagedError, OSError) as error:
            self._set_aside(path, f"{_sentence(error, path)}; its runs are trained from their start")
        return None

    def begun(self):
        """The stacks that were interrupted, as tasks that go on where they were."""
        return [task for task, _ in self._begun()]

    def _begun(self):
        """[(task, where its state lies now)]."""
        left, taken, tasks = set(self.config.runs()) - self.finished, set(), []
        for path in sorted(self.states.glob("*.pt")) if self.config.resume else []:
            about = self._about(path)
            if about is None:
                continue
            runs = self._runs_of(about)
            if not self._made_by_this(about, runs):
                self._set_aside(
                    path, f"{path} belongs to another CONFIG; it is not used, and removed when this sweep is complete"
                )
            elif set(runs) & left and not set(runs) & taken:  # a kill may leave a stack beside the halves made of it
                # A kill while the runs of a stack are written leaves some of them finished; it is taken up as a whole.
                tasks.append((stack_task(self.config, runs, about["step"]), path))
                taken |= set(runs)
        return tasks

    def _made_by_this(self, about, runs):
        """Whether a state is one of this CONFIG: these are its runs, as one stack trains them."""
        if len(set(runs)) != len(about["runs"]) or len(set(map(kind_of, runs))) != 1:
            return False
        fixed = _as_json(fixed_part(self.config, runs))
        there = {**_known_defaults(fixed), **with_later_keys(about["config"])}
        return there == fixed and about["step"] <= self.config.num_epochs

    def _runs_of(self, about):
        """The runs of a state, as far as this CONFIG has them, also where an earlier version called them otherwise."""
        params = [about["config"].get(key) for key in PARAMS_OF]
        inits, activations = (value if isinstance(value, dict) else {} for value in params)
        runs = []
        for name in about["runs"]:
            named = [run for run in self._called.get(name, ()) if run.init in inits and run.activation in activations]
            runs += named if len(named) == 1 else []
        return runs

    @cached_property
    def _called(self):
        """{name: the runs that it is the name of, today or in an earlier version}."""
        called = {}
        for run in self.config.runs():
            for name in {run.name, run.earlier_name}:
                called.setdefault(name, []).append(run)
        return called

    def _set_aside(self, path, why):
        if path not in self._useless:
            say(why)
        self._useless.add(path)

    def changed_since(self):
        """Whether somebody else has written to the folder after this was read from it, or wrote to it."""
        try:
            return manifests.read(self.path) != _as_json(self.manifest)
        except files.DamagedError:
            return True

    # ---- what is written

    def claim(self, given, device, data):
        """Write the manifest, which claims the folder for this CONFIG before anything is trained. Raises OSError."""
        before = self.manifest or {}
        self._seconds_before, self._started = before.get("seconds", 0.0), time.perf_counter()
        complete = self.is_finished
        made = files.provenance(device)
        made_from = {} if complete else {"data": self.data, "code": origin.of_code()}
        if not complete:
            made |= {"data": origin.in_short(self.data), "code": origin.digest(sorted(origin.of_code().items()))}
        earlier = before.get("origins", [])
        again = before.get("again", []) if self.config.resume else self._runs_there()
        self.manifest = {
            "config_given": given,
            "config": self.config.to_dict(),
            # what trained the runs, not what looked at them afterwards
            **(before if complete else {**made, **made_from}),
            "origins": earlier if complete or made in earlier else [*earlier, made],
            "own_activations": origin.own_activations(self.config),
            "own_inits": origin.own_inits(self.config),
            "started": before.get("started", files.now()),
            "finished": before["finished"] if complete else None,
            "seconds": self._seconds_before,
            "runs": len(self.config.runs()),
            "classes": data.classes,
            "commonest_class_share": round(data.commonest_class_share, 6),
            "again": again,
        }
        if not again:
            del self.manifest["again"]
        if not complete or "data" in before:  # a folder from before there were fingerprints gains them when it goes on
            for run in self.rows:
                self._checksums[run.name] = (*self._checksums[run.name][:2], self._made_from(run))
        manifests.write(self.path, self.manifest)  # as long as it took: nothing is trained yet
        for folder in (self.path, self.path / "runs", self.states):
            files.remove_parts(folder)
        if not self.config.resume:
            for path in self.states.glob("*.pt*"):  # a kill while one is written leaves a .part
                path.unlink()
        self._rename()
        self._write_summary()

    def _rename(self):
        """Give today's names to what an earlier version has called otherwise."""
        for run in filter(self.rows.__contains__, self._earlier):
            before, now = self._file(run), records.run_file(self.path, run)
            if before.exists() and before != now:
                before.rename(now)
            elif before != now:  # packed
                files.write_whole(now, packed.read(before))
        for task, path in self._begun():
            if path != (now := lanes.state_file(self.states, task.name)):
                path.rename(now)

    def _runs_there(self):
        """The names of the runs that lie here and are not of this start."""
        others = [run for run in self.config.runs() if run not in self.finished]
        return [run.name for run in others if packed.exists(records.run_file(self.path, run))]

    def keep(self, event):
        """Write the runs of a stack that is complete; its state is removed unless CONFIG keeps it. Raises OSError.

        A stack that a kill has left with some of its runs written is trained as a whole; those runs stay as they are.
        """
        trained = [self.config.named[name] for name in event.results]
        rows, known, texts = dict(self.rows), dict(self._checksums), {}
        for run in set(trained) - self.finished:
            file, text = records.run_file(self.path, run), records.run_text(run, event.results[run.name])
            history = records.parse_run(text, file)
            texts[file], rows[run] = text, records.summarise(run, history, self.floor)
            known[run.name] = (files.checksum(text), len(history) - 1, self._made_from(run))
        self._write_summary(rows, known, texts)
        self.rows, self._checksums = rows, known
        self.finished.update(trained)
        if "again" in self.manifest:
            names = {run.name for run in trained}
            self.manifest["again"] = [name for name in self.manifest["again"] if name not in names]
            if not self.manifest["again"]:
                del self.manifest["again"]
        self._write_manifest()
        if not self.config.keep_state:
            lanes.state_file(self.states, event.task).unlink(missing_ok=True)

    def close(self, device):
        """Note in the manifest that the sweep is complete, if it is, and leave no state behind.

        Raises OSError, and SweepError when somebody has removed runs meanwhile.
        """
        gone = [run for run in self.finished if not packed.exists(records.run_file(self.path, run))]
        if gone:
            raise SweepError(
                f"{records.run_file(self.path, gone[0])} was removed while this trained, and {len(gone) - 1} more; "
                "start again to train what is gone"
            )
        if self.is_complete and not self.config.keep_state:
            for path in self.states.glob("*.pt*"):  # a kill while one is written leaves a .part
                path.unlink()
            if self.states.is_dir() and not any(self.states.iterdir()):
                self.states.rmdir()
        if device.type == "cuda" and self.config.cluster is None:  # other processes have a peak of their own
            self.manifest["peak_gpu_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
        self._write_summary()
        if self.is_complete and not self.manifest["finished"]:
            self.manifest["finished"] = files.now()
            self._write_manifest()

    def _write_summary(self, rows=None, known=None, texts=None):
        rows = self.rows if rows is None else rows
        ordered = [rows[run] for run in self.config.runs() if run in rows]
        records.write_summary(self.path, ordered, self._checksums if known is None else known, texts)

    def _write_manifest(self):
        seconds = self._seconds_before + time.perf_counter() - self._started
        self.manifest["seconds"] = float(f"{seconds:.6g}")  # digits that count, since a small sweep takes milliseconds
        manifests.write(self.path, self.manifest)


def _goes_on(key, there, here):
    """Whether a sweep of the CONFIG `there` can go on as `here`, as far as one key decides: equal, or grown."""
    found = there.get(key, DEFAULTS.get(key))  # an older one may lack a key that came later
    if key in FREE_KEYS or found == here[key]:
        return True
    try:
        if key in PARAMS_OF:  # parameters of what is not used do not matter
            return all((found or {}).get(name) == here[key].get(name) for name in there[PARAMS_OF[key]])
        # an axis may grow: what is there is kept, the rest is trained
        if key in records.AXES.values() and isinstance(found, list) and isinstance(here[key], list):
            return set(found) <= set(here[key])
        return key == "num_epochs" and found < here[key]
    except files.WRONG_KINDS:  # a manifest that was changed by hand, or damaged
        return False


def _known_defaults(fixed):
    """The keys of a CONFIG at their defaults, as far as a part of one has them."""
    return {key: DEFAULTS[key] for key in fixed if key in DEFAULTS}


def _names_its_work(about):
    """Whether this is what `StackWorker.about` says, and `lanes.drive`."""
    return (
        isinstance(about, dict)
        and isinstance(about.get("runs"), list)
        and all(isinstance(name, str) for name in about["runs"])
        and isinstance(about.get("config"), dict)
        and type(about.get("step")) is int
        and about["step"] >= 0
    )


def _sentence(error, path):
    """What an error about a file says, with its name."""
    text = str(error) if not isinstance(error, OSError) else f"{path} cannot be read ({error.strerror or error})"
    return " ".join(text.split())


def _as_json(content):
    """Plain data as JSON brings it back: tuples are lists."""
    return json.loads(json.dumps(content))
