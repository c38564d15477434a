"""The folder of a sweep: whether a CONFIG can go on in it, what is finished or begun there, what is written to it."""

import hashlib
import json
import time
from pathlib import Path

import torch

from helpers import checks, files, lanes, packed, records
from helpers.activations import registered
from helpers.config import ConfigError
from helpers.sweep.plan import FREE_KEYS, PARAMS_OF, fixed_part, stack_task


class SweepError(RuntimeError):
    """A sweep that could not go on; its text says why, and what is kept."""

    _render_traceback_ = checks.in_one_sentence


class SweepFolder:
    """What a sweep has on disk.

    Finished runs may be packed, as those that are published are: they are read there, and new runs are files beside
    the zip, which `packed.pack` takes in.

    config    a SweepConfig whose sizes are known
    floor     the train accuracy of always guessing the commonest class
    rows      {run: its row of the summary}, also of runs that want more epochs
    finished  the runs that are complete

    Raises ConfigError when the folder holds another sweep, or a damaged zip.
    """

    def __init__(self, path, config, floor):
        self.path, self.config, self.floor = Path(path), config, floor
        self.manifest = self._checked_manifest()
        self.rows, self.finished = {}, set()
        # name of a run: (checksum, number of its last epoch). One that does not match is kept until its run is trained
        # again: the next start, finding none, would believe the file.
        self._checksums = records.read_checksums(self.path)
        self._useless = set()  # states that cannot be used; each is named once
        if config.resume:
            try:
                self._find_finished()
            except files.DamagedError as error:  # of a zip: too many runs to train again unasked
                raise ConfigError(str(error)) from error

    @property
    def states(self):
        return self.path / "state"

    @property
    def is_complete(self):
        return len(self.finished) == len(self.config.runs())

    # ---- what is there

    def _checked_manifest(self):
        """The manifest in the folder, if this CONFIG can go on with it; None where there is none."""
        try:
            found = records.read_manifest(self.path)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if found is None:
            runs = self.path / "runs"
            if any(runs.glob("*.csv")) or packed.zip_of(runs).exists():
                raise ConfigError(f"{self.path} holds runs but no manifest.json; choose another save_dir")
            return None
        if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
            raise ConfigError(f"{self.path}/manifest.json holds no config; choose another save_dir, or move it away")
        there, here = found["config"], self.config.to_dict()
        for key in here:
            if not _goes_on(key, there, here):
                raise ConfigError(
                    f"{self.path} holds the results of another CONFIG: {key} is {there.get(key)!r} there and "
                    f"{here[key]!r} here; choose another save_dir, or give {key} the value that is there"
                )
        own = own_activations(self.config)
        for name, fingerprint in found.get("own_activations", {}).items():
            if own.get(name, fingerprint) != fingerprint:
                raise ConfigError(
                    f"{self.path} holds results of another function that was registered as {name!r}; "
                    "choose another save_dir, or register the new one under another name"
                )
        return found

    def _find_finished(self):
        """A run whose CSV is as it was written has its row in the summary; any other is read and judged anew."""
        known, rows = self._checksums, records.read_rows(self.path)
        for run in self.config.runs():
            path = records.run_file(self.path, run)
            if not packed.exists(path):
                continue
            checksum = records.run_checksum(self.path, run.name)
            written, last = known.get(run.name, (checksum, None))
            if written != checksum:
                print(f"{path} is damaged: its checksum is not the one in runs.json; the run is trained again")
                continue
            row = rows.get(run.name)
            if last is None or row is None:
                try:
                    history = records.read_run(path)
                except files.DamagedError:
                    raise
                except ValueError as error:
                    print(f"{error}; the run is trained again")
                    continue
                last, row = len(history) - 1, records.summarise(run, history, self.floor)
            self.rows[run], self._checksums[run.name] = row, (checksum, last)
            if last == self.config.num_epochs:
                self.finished.add(run)

    def begun(self):
        """The stacks that were interrupted, as tasks that go on where they were."""
        named, left, taken, tasks = self.config.named, set(self.config.runs()) - self.finished, set(), []
        for path in sorted(self.states.glob("*.pt")) if self.config.resume else []:
            try:
                about = files.read_about(path)
            except (files.DamagedError, OSError) as error:
                self._set_aside(path, f"{error}; its runs are trained from their start")
                continue
            runs = [named[name] for name in about["runs"] if name in named]
            ours = len(runs) == len(about["runs"]) and about["config"] == _as_json(fixed_part(self.config, runs))
            if not ours or about["step"] > self.config.num_epochs:
                self._set_aside(
                    path, f"{path} belongs to another CONFIG; it is not used, and removed when this sweep is complete"
                )
            elif set(runs) & left and not set(runs) & taken:  # a kill may leave a stack beside the halves made of it
                # A kill while the runs of a stack are written leaves some of them finished; it is taken up as a whole.
                tasks.append(stack_task(self.config, runs, about["step"]))
                taken |= set(runs)
        return tasks

    def _set_aside(self, path, why):
        if path not in self._useless:
            print(why)
        self._useless.add(path)

    def changed_since(self):
        """Whether somebody else has written to the folder after this was read from it, or wrote to it."""
        return _as_json(records.read_manifest(self.path)) != _as_json(self.manifest)

    # ---- what is written

    def claim(self, given, device, data):
        """Write the manifest, which claims the folder for this CONFIG before anything is trained. Raises OSError."""
        before = self.manifest or {}
        self._seconds_before, self._started = before.get("seconds", 0.0), time.perf_counter()
        complete = before.get("finished") and self.is_complete
        origin = files.provenance(device)
        earlier = before.get("origins", [])
        self.manifest = {
            "config_given": given,
            "config": self.config.to_dict(),
            # what trained the runs, not what looked at them afterwards
            **(before if complete else origin),
            "origins": earlier if complete or origin in earlier else [*earlier, origin],
            "own_activations": own_activations(self.config),
            "started": before.get("started", files.now()),
            "finished": before["finished"] if complete else None,
            "seconds": self._seconds_before,
            "runs": len(self.config.runs()),
            "classes": data.classes,
            "commonest_class_share": round(data.commonest_class_share, 6),
        }
        self._write_manifest()
        self._write_summary()

    def keep(self, event):
        """Write the runs of a stack that is complete; its state is removed unless CONFIG keeps it. Raises OSError."""
        trained = [self.config.named[name] for name in event.results]
        for run in trained:
            if run not in self.finished:
                records.write_run(self.path, run, event.results[run.name])
        for run in trained:
            history = records.read_run(records.run_file(self.path, run))
            self.rows[run] = records.summarise(run, history, self.floor)
            self._checksums[run.name] = (records.run_checksum(self.path, run.name), len(history) - 1)
        self.finished.update(trained)
        self._write_summary()
        self._write_manifest()
        if not self.config.keep_state:
            lanes.state_file(self.states, event.task).unlink(missing_ok=True)

    def close(self, device):
        """Note in the manifest that the sweep is complete, if it is, and leave no state behind. Raises OSError."""
        if self.is_complete and not self.config.keep_state:
            for path in self.states.glob("*.pt*"):  # a kill while one is written leaves a .part
                path.unlink()
            if self.states.is_dir() and not any(self.states.iterdir()):
                self.states.rmdir()
        if device.type == "cuda" and self.config.cluster is None:  # other processes have a peak of their own
            self.manifest["peak_gpu_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
        if self.is_complete and not self.manifest["finished"]:
            self.manifest["finished"] = files.now()
            self._write_manifest()

    def _write_summary(self):
        records.write_summary(self.path, [self.rows[run] for run in self.config.runs() if run in self.rows])
        records.write_checksums(self.path, self._checksums)

    def _write_manifest(self):
        seconds = self._seconds_before + time.perf_counter() - self._started
        self.manifest["seconds"] = float(f"{seconds:.6g}")  # digits that count, since a small sweep takes milliseconds
        records.write_manifest(self.path, self.manifest)


def _goes_on(key, there, here):
    """Whether a sweep of the CONFIG `there` can go on as `here`, as far as one key decides: equal, or grown."""
    if key in FREE_KEYS or there.get(key) == here[key]:
        return True
    if key in PARAMS_OF:  # parameters of what is not used do not matter
        return all(there.get(key, {}).get(name) == here[key].get(name) for name in there[PARAMS_OF[key]])
    # an axis may grow: what is there is kept, the rest is trained
    if key in records.AXES.values() and isinstance(there.get(key), list) and isinstance(here[key], list):
        return set(there[key]) <= set(here[key])
    return key == "num_epochs" and there.get(key, 0) < here[key]


def _as_json(content):
    """Plain data as JSON brings it back: tuples are lists."""
    return json.loads(json.dumps(content))


def own_activations(config):
    """{name: fingerprint} of the reader's own activations: their values and slopes on a grid, hashed.

    The bases of variants are among them.
    """
    grid = torch.linspace(-4, 4, 65, dtype=torch.float64)
    params = config.activation_params
    bases = [params[name].get("base") for name in config.activations if name in params]
    rows = {name: row for name, row in sorted(registered().items()) if name in (*config.activations, *bases)}
    values = {name: torch.cat([row.f(grid), row.df(grid)]) for name, row in rows.items()}
    return {name: hashlib.sha256(value.detach().numpy().tobytes()).hexdigest()[:16] for name, value in values.items()}
