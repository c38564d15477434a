"""The sweep: all runs of one CONFIG, planned into stacks, trained side by side, saved, resumed.

sweep = Sweep(CONFIG)
print(sweep.describe())
results = sweep.run()
"""

import dataclasses
import time
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from helpers import data as datasets
from helpers import files, lanes, records
from helpers.checks import plain
from helpers.config import SweepConfig, resolve_device
from helpers.networks import check_inits
from helpers.progress import Lines, Progress, Watched, say
from helpers.sweep.folder import SweepError, SweepFolder
from helpers.sweep.news import news_of
from helpers.sweep.plan import plan, stack_parameters, stack_task
from helpers.sweep.training import StackTraining, StackWorker
from helpers.training import data_type, epoch_order
from helpers.usual_torch import usual_torch

MOMENT = 0.05  # seconds of training by which two precisions are compared
WORTH_SAYING = 1.1  # how many times as long it takes in one; less may be noise


class Sweep:
    """All runs of one CONFIG. Making it validates CONFIG, loads the data and looks at what is done already.

    Raises ConfigError or DataError, before anything is written, when CONFIG or the data cannot be used. The folder is
    looked at again when `run` has its lock, and may be refused then: somebody else may have been there.
    """

    @usual_torch()
    def __init__(self, given):
        config = SweepConfig.from_dict(given)
        self.given = plain("CONFIG", given)  # as the manifest holds it
        self.device = resolve_device(config)
        self.folder = Path(config.save_dir).absolute()  # the same, whatever the working directory is later
        self.data = datasets.load(config, self.device, data_type(config))
        self.config = config.fitted_to(self.data)
        check_inits(self.config)
        self._look_at_folder()
        # Set `stop.now` or `stop.at_step`, and the sweep ends: at the next batch, or when every stack has completed the
        # epoch it is in. A second start goes on at each stack's last complete epoch.
        self.stop = lanes.Stop()

    def _look_at_folder(self):
        self.on_disk = SweepFolder(self.folder, self.config, self.data)

    @property
    def finished(self):
        """The runs that are complete."""
        return self.on_disk.finished

    @property
    def rows(self):
        """{run: its row of the summary}."""
        return self.on_disk.rows

    def todo(self):
        """The tasks that are left, costliest first; stacks that were interrupted go on as they were."""
        begun = self.on_disk.begun()
        taken = self.finished.union(*(task.what["runs"] for task in begun))
        left = [run for run in self.config.runs() if run not in taken]
        new = plan(self.config, left, self.device, self.side_by_side(len(left))) if left else []
        new = [stack_task(self.config, runs) for runs in new]
        return sorted([*begun, *new], key=lambda task: -task.cost)

    def describe(self):
        """What will run, on what, and what is done already: a few lines."""
        c, d, todo = self.config, self.data, self.todo()
        resumed = sum(task.done >= 0 for task in todo)
        axes = {"inits": c.init_types, "activations": c.activations, "depths": c.layers_list, "seeds": c.seeds}
        settings = {words: c.values_of(setting) for setting, words in records.SETTINGS.items()}
        axes |= {words: values for words, values in settings.items() if len(values) > 1}
        grid = " x ".join(f"{len(values)} {axis if len(values) > 1 else axis[:-1]}" for axis, values in axes.items())
        left = (
            f"left: {len(todo)} stacks of up to {max(len(task.what['runs']) for task in todo)} networks"
            + (f" ({resumed} go on where they stopped)" if resumed else "")
            + f", {self.side_by_side(len(todo))} at a time, {c.num_epochs} epochs each"
            if todo
            else "nothing is left to train"
        )
        return "\n".join(
            [
                f"{c.dataset}: {d.train_size} training and {d.test_size} test samples, {d.input_size} inputs, "
                f"{d.classes} classes",
                f"{len(c.runs())} runs = {grid}; {len(self.finished)} are finished",
                left,
                f"on {self._where()} in {c.precision}, seeds {', '.join(map(str, c.seeds))}; "
                f"results go to {c.save_dir}",
                *self._doubts(),
            ]
        )

    def _doubts(self):
        """What speaks against these settings on this machine: a list of sentences, mostly empty."""
        if self.bf16_slowdown is None or self.bf16_slowdown < WORTH_SAYING:
            return []
        return [
            f"precision is bf16, in which a training step takes {self.bf16_slowdown:.1f} times as long as in float32, "
            'measured just now on this machine; faster here is "precision": "float32"'
        ]

    @cached_property
    def bf16_slowdown(self):
        """How many times as long as in float32 a training step takes in the bf16 that was asked for, on this CPU.

        Timed, which takes about a second, not looked up: an AMD EPYC with instructions for bf16 took 0.9 to 1.2 times
        as long in MNIST's shape; without them (oneDNN kept to AVX-512 or AVX2) 2.3 and 11 times as long as torch does
        in float32. None where bf16 was not asked for, or nothing is left to train.
        """
        if self.config.precision != "bf16" or self.device.type != "cpu":
            return None
        todo = self.todo()
        if not todo:
            return None
        runs = todo[len(todo) // 2].what["runs"]
        both = [dataclasses.replace(self.config, precision=precision) for precision in ("bf16", "float32")]
        with lanes.Lanes(self.device, len(todo)) as pool:
            timed = [pool.submit(self._time_what_fits, config, runs, MOMENT).result() for config in both * 2]
        paces = [elapsed / cost for cost, elapsed in timed]
        return min(paces[::2]) / min(paces[1::2])  # the shorter of two: other programs only ever add time

    def _where(self):
        """Where stacks train, in words."""
        here = files.device_name(self.device)
        words = {None: here, "local": f"worker processes of this machine ({here})"}
        return words.get(self.config.cluster, f"the workers of {self.config.cluster}")

    def side_by_side(self, stacks):
        """How many of some stacks train at a time. Raises SweepError when a cluster does not answer."""
        if self.config.cluster is None:
            return lanes.Lanes(self.device, stacks).count
        from helpers import cluster  # Dask takes its time to import

        try:
            return min(stacks, cluster.workers(self.config.cluster, self.device))
        except lanes.ClusterError as error:
            raise SweepError(f"{error}; nothing was trained") from error

    def forecast(self, seconds=1.0):
        """How long what is left will take, in seconds, by a few timed steps of a stack of middling depth.

        They are timed here; that each worker of a scheduler is as fast as this machine is an assumption.
        """
        todo = self.todo()
        if not todo:
            return 0.0
        count = self.side_by_side(len(todo))
        share_the_machine = self.config.cluster is None or (self.config.cluster, self.device.type) == ("local", "cpu")
        timed_at_once = lanes.Lanes(self.device, count if share_the_machine else 1)
        runs = todo[len(todo) // 2].what["runs"]
        with timed_at_once as pool:
            timed = [pool.submit(self._time_what_fits, self.config, runs, seconds) for _ in range(timed_at_once.count)]
            timed = [future.result() for future in timed]
        cost, elapsed = (sum(values) for values in zip(*timed, strict=True))
        # An epoch also reads the test set, forward only, which is a third of a step's work, and the probe.
        samples = self.data.train_size + self.data.test_size / 3 + len(self.data.probe)
        left = sum(task.cost * (1 - max(0, task.done) / task.steps) for task in todo)
        return elapsed / cost * left * samples / (timed_at_once.count if share_the_machine else count)

    def _time_what_fits(self, config, runs, seconds):
        """`_time_steps`, of half the runs where all of them do not fit into memory: training halves them, too."""
        try:
            return self._time_steps(config, runs, seconds)
        except (RuntimeError, MemoryError) as error:
            if len(runs) == 1 or not lanes.is_out_of_memory(error):
                raise
            lanes.free(error)
        return self._time_what_fits(config, runs[: len(runs) // 2], seconds)

    def _time_steps(self, config, runs, seconds):
        """Train a throw-away stack for about `seconds`; returns the cost of its steps and how long they took."""
        training = StackTraining(config, self.data, runs, self.device)
        n = len(training.stack.seeds)
        config = training.config
        at_once = training.stack.steps_of_a_call(config.batch_size)
        index = epoch_order(0, 0, self.data.train_size)[: at_once * config.batch_size].expand(n, -1).to(self.device)
        train = training.batch_trainer()
        train(index)
        training.stack.train_figures()  # waits for the device
        steps, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds or steps == 0:
            train(index)
            training.stack.train_figures()
            steps += 1
        return stack_parameters(config, runs) * index.shape[1] * steps, elapsed

    def run(self, progress=None):
        """Train what is left, and return the results read back from the folder.

        progress  called with a `Progress` after every epoch of a stack, in this thread; its `close()`, if it has one,
                  when the sweep ends; an error in either is printed and ends nothing; where left out, `Lines` prints
                  a few lines a minute

        An interrupt ends the sweep at the last complete epoch of every stack. Raises SweepError when results cannot be
        written; what was finished before is kept, and a second start goes on from there. A finished sweep is only read
        where nothing can be written.
        """
        progress = Watched(progress or Lines(news_of))
        self.stop.clear()
        nothing_is_left = self.on_disk.is_finished
        if not self.on_disk.is_complete:
            self.side_by_side(1)  # a cluster that does not answer says so before anything is written
        try:
            with self._locked():
                self._run(progress)
        except SweepError as error:
            if not nothing_is_left or not isinstance(error.__cause__, OSError):
                raise
        finally:
            progress.close()
        return records.load_sweep(self.folder)

    def _run(self, progress):
        tasks, runs = self.todo(), len(self.config.runs())

        def record(event):
            if event.results is not None:
                self.on_disk.keep(event)

        def watch(event, fraction, eta):
            progress(Progress(event, len(self.finished), runs, fraction, eta))

        for doubt in self._doubts():
            say(doubt)
        with self._write_errors_explained():
            self._engine(
                tasks,
                StackWorker(self.config, self.device, self.data),
                record,
                watch,
                device=self.device,
                states=self.on_disk.states,
                stop=self.stop,
                whole=stack_parameters(self.config, self.config.runs()) * self.config.num_epochs,
            )
            self.on_disk.close(self.device)

    def _engine(self, *work, **how):
        """`run` of the engine that CONFIG chooses."""
        if self.config.cluster is None:
            return lanes.run(*work, **how)
        from helpers import cluster

        try:
            return cluster.run(*work, address=self.config.cluster, **how)
        except lanes.ClusterError as error:
            raise SweepError(
                f"{error}; {len(self.finished)} runs are finished and kept, start again to go on"
            ) from error

    @contextmanager
    def _locked(self):
        """Claim the folder, for this process and this CONFIG. Raises SweepError when it cannot be had."""
        try:
            with files.locked(self.folder):
                if self.on_disk.changed_since():
                    self._look_at_folder()
                self.on_disk.claim(self.given, self.device, self.data)
                yield
        except files.LockedError as error:
            raise SweepError(str(error)) from error
        except files.MovedError as error:
            raise self._moved(error) from error
        except OSError as error:
            raise SweepError(
                f"save_dir is {str(self.folder)!r}, which cannot be written to ({error.strerror}); nothing was trained"
            ) from error

    @contextmanager
    def _write_errors_explained(self):
        try:
            yield
        except files.MovedError as error:
            raise self._moved(error) from error
        except OSError as error:
            raise SweepError(
                f"results cannot be written to {self.folder} ({error.strerror or error}); {len(self.finished)} of "
                f"{len(self.config.runs())} runs are finished and kept: mend that, and start again to go on"
            ) from error

    def _moved(self, error):
        return SweepError(
            f"{error}; {len(self.finished)} of {len(self.config.runs())} runs were finished in it: put it back, and "
            "start again to go on"
        )
