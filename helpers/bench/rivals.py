"""How fast is the stack against what one could use instead: JAX, and torch.func? They take turns, round by round.

    python -m helpers.bench.rivals [--rounds 5] [--save results/local/bench]

All train the same relu networks (the losses of their first steps are compared before anything is timed) with plain SGD
in float32 on both cores, and none takes statistics:

stack                 two lanes, a core each, with as many networks in a stack as a sweep puts there
JAX                   vmap over the networks, jit, a scan over the steps, buffers donated, one program on all cores
JAX, core each        the same as one process a core, each with networks of its own
torch.func            vmap of grad over stack_module_state, updated in place, all cores
torch.func, core each the same in lanes, as the stack

A rival trains 8, 16 or 32 networks at once, whichever it does fastest, and JAX's hidden layers are unrolled or a scan,
likewise. JAX has an environment of its own, `make rivals` makes it; without it JAX is left out.
"""

import argparse
import gc
import importlib
import importlib.metadata
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional

from helpers import ROOT, words
from helpers.bench import measured
from helpers.bench.stack import seconds_of_call
from helpers.config import SweepConfig
from helpers.lanes import Lanes
from helpers.sweep.plan import plan
from helpers.sweep.stack import Stack

# layers, batch, inputs: MNIST's and the digits'
SHAPES = ((5, 128, 784), (30, 128, 784), (5, 32, 64), (30, 32, 64))
NETWORKS = (8, 16, 32)  # at once
SAMPLES, STEPS, CLASSES = 1000, 5, 10
SECONDS, TRIAL = 0.5, 0.2  # of a measurement, and of one that only chooses
CPU = torch.device("cpu")
RIVALS = ROOT / ".venv-rivals"
JAX_PYTHON = RIVALS / "bin/python"
CLOSE = 1e-3  # the largest relative difference of two ways' losses that rounding explains after a few steps


# ---- packages that run in this process


@contextmanager
def imported(package, *modules):
    """(its version, a module, ...) of a pure Python package in .venv-rivals; (None,) where it is not installed.

    Within, it finds what it needs in its own environment, behind the packages of this process; what it sets among the
    environment's variables is taken back.
    """
    before = list(sys.path)
    sys.path += [str(folder) for folder in sorted(RIVALS.rglob("site-packages"))]
    try:
        with patch.dict(os.environ):
            if not any(RIVALS.rglob(f"site-packages/{modules[0].split('.')[0]}")):
                yield (None,)
                return
            yield importlib.metadata.version(package), *map(importlib.import_module, modules)
    finally:
        sys.path[:] = before


# ---- the problem that all of them train


def bench_config(layers, batch, inputs):
    """A sweep of as many relu networks of one shape as are ever trained at once: He's init with factors around 2."""
    factors = {f"he_{i}": 1.6 + 0.8 * i / max(NETWORKS) for i in range(max(NETWORKS))}
    return SweepConfig.from_dict(
        {
            "dataset": "mnist" if inputs == 784 else "digits",
            "activations": ["relu"],
            "layers_list": [layers],
            "init_types": list(factors),
            "init_params": {name: {"init": "he_normal", "factor": factor} for name, factor in factors.items()},
            "input_size": inputs,
            "output_size": CLASSES,
            "batch_size": batch,
            "lr": 0.01,
            "device": "cpu",
        }
    )


def noise(inputs):
    """Images x (N, inputs) and classes y (N,) in which there is nothing to be learned, but that cost the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(SAMPLES, inputs, generator=generator), torch.randint(CLASSES, (SAMPLES,), generator=generator)


def batches(batch):
    """Which samples each of a few steps sees: (STEPS, batch)."""
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randperm(SAMPLES, generator=generator)[:batch] for _ in range(STEPS)])


class Problem:
    """One shape: its config, its networks before training, its data and its batches."""

    def __init__(self, layers, batch, inputs):
        self.config = bench_config(layers, batch, inputs)
        self.runs = self.config.runs()
        self.x, self.y = noise(inputs)
        self.index = batches(batch)

    def stack(self, networks):
        return Stack(self.config, self.runs[:networks])

    def save(self, path):
        """Write what `rivals_jax.py` reads."""
        nets = [self.stack(len(self.runs)).network(r) for r in range(len(self.runs))]
        layers = [[(l.weight.detach().T.numpy(), l.bias.detach().numpy()) for l in net.linear_layers] for net in nets]
        arrays = {}
        for i, kind in enumerate("wb"):
            arrays[f"first_{kind}"] = np.stack([net[0][i] for net in layers])
            arrays[f"hidden_{kind}"] = np.stack([np.stack([l[i] for l in net[1:-1]]) for net in layers])
            arrays[f"output_{kind}"] = np.stack([net[-1][i] for net in layers])
        np.savez(path, x=self.x, y=self.y, index=self.index, lr=self.config.lrs[0], **arrays)


# ---- the ways: losses(networks) -> (STEPS, networks), and seconds(seconds, networks) -> per network and step


class Torch:
    """A way in this process.

    steps       (problem, networks) -> (step, last): step(i) is the i-th step of all networks, which go on from call to
                call; last() gives their losses before the last step, (networks,)
    timed_with  what `steps` takes further when it is timed: at_once, how many steps a call does
    """

    settings = tuple({"networks": networks} for networks in NETWORKS)

    def __init__(self, problem, steps, lanes, **timed_with):
        self.problem, self.steps, self.lanes = problem, steps, lanes
        self.timed_with = timed_with
        self._going = None, []  # how many networks, and a step function a lane

    def losses(self, networks):
        step, last = self.steps(self.problem, networks)
        losses = []
        for i in range(STEPS):
            step(i)
            losses.append(last())
        return np.array(losses)

    def seconds(self, seconds, networks):
        lanes = Lanes(CPU, self.lanes)
        barrier = threading.Barrier(lanes.count)
        if self._going[0] != networks:
            self._going = (
                networks,
                [self.steps(self.problem, networks, **self.timed_with)[0] for _ in range(lanes.count)],
            )

        def lane(step):
            i = itertools.cycle(range(STEPS))
            barrier.wait(timeout=300)  # for a lane that failed before it got here
            return seconds_of_call(lambda: step(next(i)), seconds, CPU)

        with lanes as pool:
            each = list(pool.map(lane, self._going[1]))
        return 1 / sum(networks / seconds for seconds in each) / self.timed_with.get("at_once", 1)


def stack_steps(problem, networks, at_once=1):
    """The stack's; a call does as many steps as a sweep hands over at once, beginning with the i-th."""
    stack = problem.stack(networks)
    batch = problem.config.batch_size

    def step(i):
        index = problem.index[torch.arange(i, i + at_once) % STEPS]
        stack.train_batches(problem.x, problem.y, index.flatten()[None], batch)

    return step, lambda: stack.train_figures()[0] / problem.index.shape[1]


def func_steps(problem, networks):
    """torch.func's: the gradient of one network's loss, mapped over all."""
    stack = problem.stack(networks)
    nets = [stack.network(r) for r in range(networks)]
    parameters = {name: values.detach() for name, values in stack_module_state(nets)[0].items()}
    net, lr = nets[0].to("meta"), problem.config.lrs[0]

    def loss(own, x, y):
        return functional.cross_entropy(functional_call(net, own, (x,)), y)

    gradients, losses = vmap(grad_and_value(loss), in_dims=(0, None, None)), None

    def step(i):
        nonlocal losses
        chosen = problem.index[i]
        grads, losses = gradients(parameters, problem.x[chosen], problem.y[chosen])
        for name, values in parameters.items():
            values.sub_(grads[name], alpha=lr)

    return step, lambda: losses.numpy()


class Jax:
    """The way in JAX, in processes of its own.

    children  one on all cores, or one a core
    """

    def __init__(self, path, children):
        self.path, self.children = str(path), children
        self.settings = tuple({"networks": 8, "layers": layers} for layers in ("unrolled", "scan"))

    def losses(self, networks, layers="unrolled"):
        (answer, *_) = self._ask(self.children[:1], networks=networks, layers=layers, losses=True)
        return np.array(answer["losses"])

    def seconds(self, seconds, networks, layers):
        answers = self._ask(self.children, networks=networks, layers=layers, seconds=seconds)
        return 1 / sum(networks / answer["step"] for answer in answers)

    def _ask(self, children, **asked):
        """Ask all at once, then hear all."""
        for child in children:
            child.stdin.write(json.dumps({"problem": self.path, **asked}) + "\n")
            child.stdin.flush()
        return [_answer(child) for child in children]


def _answer(child):
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"rivals_jax.py ended with exit code {child.wait()}")
    return json.loads(line)


@contextmanager
def jax_children():
    """(versions, {"JAX": [a process], "JAX, core each": [a process a core]}); (None, {}) without its environment."""
    if not JAX_PYTHON.exists():
        yield None, {}
        return
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    program = [str(JAX_PYTHON), str(Path(__file__).with_name("rivals_jax.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": limited(os.environ)}
    crews = {"JAX": [[]], "JAX, core each": [[str(core)] for core in cores]}
    with ExitStack() as started:  # which closes the pipes, and with that ends the processes
        crews = {
            way: [started.enter_context(subprocess.Popen(program + core, **pipes)) for core in crew]
            for way, crew in crews.items()
            if crew
        }
        versions, *_ = [_answer(child) for crew in crews.values() for child in crew]
        yield versions, crews


def limited(environment):
    """An environment in which XLA keeps to AVX2 where the libraries of the others are kept to it."""
    if "AVX2" not in {value.upper() for value in measured.limits().values()}:
        return dict(environment)
    return {**environment, "XLA_FLAGS": f"{environment.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip()}


def ways_of(problem, path, crews):
    """{way: an object with `losses`, `seconds` and `settings` to choose from}."""
    planned = len(plan(problem.config, problem.runs, CPU)[0])
    at_once = problem.stack(1).steps_of_a_call(problem.config.batch_size)
    stack = Torch(problem, stack_steps, 8, at_once=at_once)
    stack.settings = ({"networks": planned},)
    return {
        "stack": stack,
        **{way: Jax(path, children) for way, children in crews.items()},
        "torch.func": Torch(problem, func_steps, 1),
        "torch.func, core each": Torch(problem, func_steps, 8),
    }


# ---- measuring


def fastest(way):
    """The settings at which a way is fastest: first those it offers, then, at the best of them, all NETWORKS."""
    best = _best(way, way.settings)
    return best if len(way.settings) == 1 else _best(way, [{**best, "networks": n} for n in NETWORKS])


def _best(way, settings):
    return settings[0] if len(settings) == 1 else min(settings, key=lambda each: way.seconds(TRIAL, **each))


def differences(ways, networks=NETWORKS[0]):
    """{way: the largest relative difference of its losses from the stack's, over some steps}."""
    ours = ways["stack"].losses(networks)
    return {name: float(np.abs(way.losses(networks) / ours - 1).max()) for name, way in ways.items()}


def measure(rounds=5, shapes=SHAPES):
    """{"rows", "jax", "difference", "rounds"}: a row a shape and way, medians over the rounds.

    Raises RuntimeError where a way does not train what the stack trains.
    """
    rows, most = [], 0.0
    with jax_children() as (versions, crews), tempfile.TemporaryDirectory() as folder:
        for shape in shapes:
            problem, path = Problem(*shape), Path(folder) / f"{'_'.join(map(str, shape))}.npz"
            problem.save(path)
            ways = ways_of(problem, path, crews)
            found = differences(ways)
            most = max(most, *found.values())
            if not most < CLOSE:
                raise RuntimeError(f"losses differ from the stack's by {found}; allowed is {CLOSE}")
            settings = {name: fastest(way) for name, way in ways.items()}
            times = [
                {name: way.seconds(SECONDS, **settings[name]) for name, way in ways.items()} for _ in range(rounds)
            ]
            rows += [_row(shape, name, settings[name], times) for name in ways]
            del ways
            gc.collect()  # what a stack refers to refers to it again
    return {"rows": rows, "jax": versions and versions["jax"], "difference": most, "rounds": rounds}


def _row(shape, way, settings, times):
    """A row of the table; `times` are {way: seconds} of the rounds."""
    ratios = [t[way] / t["stack"] for t in times]
    return {
        **dict(zip(("layers", "batch", "inputs"), shape, strict=True)),
        "way": way,
        "networks": settings["networks"],
        "hidden_layers": settings.get("layers", ""),
        "ms_per_network_step": statistics.median(t[way] for t in times) * 1e3,
        "ms_least": min(t[way] for t in times) * 1e3,
        "ms_most": max(t[way] for t in times) * 1e3,
        "times_as_long_as_stack": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "rounds": len(times),
    }


def sentence(found):
    """What `measure` found: its table, and how far the ways' losses lie apart."""
    table = pd.DataFrame(found["rows"]).drop(columns="rounds").round(3).to_string(index=False)
    ways = words.listed(dict.fromkeys(row["way"] for row in found["rows"]))
    lines = [table, f"the losses of {ways} differ by {found['difference']:.1e} at most"]
    return "\n".join(lines + ([] if found["jax"] else ["JAX is left out: `make rivals` installs it"]))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.rivals", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often everything takes its turn (default 5)")
    parser.add_argument("--save", default="results/local/bench", help="folder for rivals.csv and manifest.json")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; allowed is a whole number from 1 up")
    started = time.perf_counter()
    found = measure(options.rounds)
    print(sentence(found), flush=True)
    measured.keep(options.save, "rivals", CPU, seconds=round(time.perf_counter() - started), **found)
    print(f"saved in {options.save}")


if __name__ == "__main__":
    main()
