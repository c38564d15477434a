"""How fast is the stack? Measured against the loop that people write, in one process, taking turns.

    python -m helpers.bench.stack [--rounds 3] [--device auto]

Four ways to train networks of MNIST's shape, batch 128, at 5, 30 and 50 layers:

loop      a DataLoader, one network, forward and backward hooks that take the sweep's five statistics of every layer
          with .item(), in every step
memory    the same network with its data in memory and no hooks
stack     many networks at once in float32, statistics on: loss and accuracy of every step, and the share that one step
          has in the probe of its epoch
stack bf16

The rate of the machine's own matrix products is measured in the same rounds. Machines are noisy: what counts are the
ratios within a round, of which the median is given.
"""

import argparse
import gc
import statistics
import threading
import time

import numpy as np
import pandas as pd
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from helpers import networks
from helpers.config import PUBLISHED_INITS, ConfigError, Run, SweepConfig, resolve_device
from helpers.data import PROBE_SIZE, Data
from helpers.float32_products import float32_products, kind_of
from helpers.lanes import Lanes
from helpers.progress import duration
from helpers.sweep import StackTraining
from helpers.sweep.stack import ONEDNN_LINEAR

DEPTHS = (5, 30, 50)
BATCH, INPUTS, CLASSES, TRAIN, TEST, EPOCHS = 128, 784, 10, 60_000, 10_000, 50
STEPS = -(-TRAIN // BATCH)  # of an epoch of MNIST
SECONDS = 0.6  # of every measurement


def step_flops(config, layers, batch=BATCH):
    """Floating-point operations of one training step of one network: its matrix products, a product-and-sum as two.

    Forward, gradient by the weights, gradient by the input (which the first layer does not need).
    """
    d, h, c = config.input_size, config.hidden_size, config.output_size
    return 2 * batch * (2 * d * h + 3 * (layers - 1) * h * h + 3 * h * c)


def made_up_data(device, samples=6_000):
    """Noise in MNIST's shape: nothing can be learned from it, but it costs the same."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(samples, INPUTS, generator=generator).to(device)
    y = torch.randint(CLASSES, (samples,), generator=generator).to(device)
    return Data("noise", x, y, x[:PROBE_SIZE], y[:PROBE_SIZE], torch.arange(PROBE_SIZE, device=device), CLASSES)


def bench_config(precision="float32", device="auto"):
    given = {"dataset": "mnist", "precision": precision, "device": device}
    return SweepConfig.from_dict({**given, "input_size": INPUTS, "output_size": CLASSES, "batch_size": BATCH})


# ---- what is timed: each returns seconds per network and step, or operations per second


def matrix_rate(device, seconds=SECONDS):
    """GFLOP/s of torch.bmm in float32: batches in lanes, or large ones on all cores, whichever is more."""
    if device.type != "cpu":
        return max(_product_rate(device, shape, seconds / 2) for shape in ((48, 128, 128), (1, 4096, 4096)))
    lanes = Lanes(device, 1_000_000)
    with lanes as pool:
        rates = list(pool.map(lambda _: _product_rate(device, (8, 128, 128), seconds / 2), range(lanes.count)))
    return max(sum(rates), _product_rate(device, (1, 2048, 2048), seconds / 2))


def onednn_rate(device, seconds=SECONDS):
    """GFLOP/s of the float32 product of the stack's wide first layer, on one large square; None off a CPU."""
    if device.type != "cpu" or ONEDNN_LINEAR is None:
        return None
    a, b = (torch.rand(1024, 1024) for _ in range(2))
    return 2 * 1024**3 / seconds_of_call(lambda: ONEDNN_LINEAR(a, b, None, "none", [], ""), seconds, device) / 1e9


def _product_rate(device, shape, seconds):
    n, rows, columns = shape
    a, b, c = (torch.rand(n, rows, columns, device=device) for _ in range(3))
    seconds_each = seconds_of_call(lambda: torch.bmm(a, b, out=c), seconds, device)
    return 2 * n * rows * columns * columns / seconds_each / 1e9


def seconds_of_call(step, seconds, device):
    """Seconds per call of `step`, over as many calls as fit, after one that is not timed."""
    step()
    _wait_for(device)
    calls, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or calls == 0:
        step()
        calls += 1
        if device.type != "cpu" and calls % 20 == 0:
            _wait_for(device)
    _wait_for(device)
    return (time.perf_counter() - started if device.type != "cpu" else elapsed) / calls


def _wait_for(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def usual_loop(config, data, layers, device):
    """The loop that people write: statistics of every layer in every step, fetched one by one."""
    net = networks.build(config, Run("he_normal", "relu", layers, 0)).to(device)
    optimizer = torch.optim.SGD(net.parameters(), config.lrs[0])
    log = {}

    def note_forward(name):
        def hook(layer, inputs, z):
            a = net.phi(z)
            log[f"pre_std_{name}"] = z.std().item()
            log[f"act_mean_{name}"], log[f"act_std_{name}"] = a.mean().item(), a.std().item()

        return hook

    def note_backward(name):
        def hook(gradient):
            log[f"grad_norm_{name}"] = gradient.norm().item()
            log[f"grad_mean_abs_{name}"] = gradient.abs().mean().item()

        return hook

    for i, layer in enumerate(net.hidden):
        layer.register_forward_hook(note_forward(i))
        layer.weight.register_hook(note_backward(i))
    loader = DataLoader(TensorDataset(data.x_train, data.y_train), batch_size=BATCH, shuffle=True, drop_last=True)
    batches = iter(loader)
    total = correct = 0

    def step():
        nonlocal batches, total, correct
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        x, y = (part.to(device) for part in batch)
        optimizer.zero_grad()
        logits = net(x)
        loss = functional.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
        correct += (logits.argmax(1) == y).sum().item()

    return seconds_of_call(step, SECONDS, device)


def in_memory(config, data, layers, device):
    """One network, its data in memory, no hooks, nothing fetched."""
    net = networks.build(config, Run("he_normal", "relu", layers, 0)).to(device)
    optimizer = torch.optim.SGD(net.parameters(), config.lrs[0])
    index = torch.randperm(data.train_size, device=device)[: data.train_size // BATCH * BATCH].split(BATCH)
    i = 0

    def step():
        nonlocal i
        chosen = index[i % len(index)]
        i += 1
        optimizer.zero_grad()
        functional.cross_entropy(net(data.x_train[chosen]), data.y_train[chosen]).backward()
        optimizer.step()

    return seconds_of_call(step, SECONDS, device)


def stacks(config, data, families, device, seconds=SECONDS):
    """Stacks side by side in lanes, each of the runs in one of `families`; seconds per step of all of them together.

    Includes the running loss and accuracy, and a step's share in its epoch's probe.
    """
    barrier = threading.Barrier(len(families))
    lanes = Lanes(device, len(families))

    def lane(runs):
        with float32_products(kind_of(config.precision)):
            return timed(runs)

    def timed(runs):
        training = StackTraining(config, data, runs, device)
        order = torch.randperm(data.train_size, generator=torch.Generator().manual_seed(0))
        train, at_once, i = training.batch_trainer(), training.stack.steps_of_a_call(BATCH), 0
        calls = order[: data.train_size // (at_once * BATCH) * at_once * BATCH].to(device).split(at_once * BATCH)

        def step():
            nonlocal i
            train(calls[i % len(calls)].expand(len(training.stack.seeds), -1))
            i += 1

        step()
        training.stack.probe(data.x_train[data.probe], data.y_train[data.probe])
        barrier.wait(timeout=300)  # for a lane that failed before it got here
        each = seconds_of_call(step, seconds, device) / at_once
        started = time.perf_counter()
        training.stack.probe(data.x_train[data.probe], data.y_train[data.probe])
        return each + (time.perf_counter() - started) / STEPS

    with lanes as pool:
        if lanes.count < len(families):
            raise ValueError(f"{len(families)} stacks side by side, but only {lanes.count} lanes on this device")
        slowest = max(pool.map(lane, families))
    gc.collect()  # a stack and its buffers refer to each other, so they would stay beside the next ones
    return slowest


def stack_of_depth(config, data, layers, device, activation="relu"):
    """Seconds per network and step of as many stacks of one depth as the device trains side by side."""
    lanes = Lanes(device, 1_000_000).count
    seeds = 1 if device.type == "cpu" else 6
    runs = [Run(init, activation, layers, seed, config.lrs[0]) for init in PUBLISHED_INITS for seed in range(seeds)]
    return stacks(config, data, [runs] * lanes, device) / (lanes * len(runs))


# ---- the table and the forecast


def compare(rounds, device):
    """The rows of the table, dicts: one a depth and way, medians over the rounds."""
    data = made_up_data(device)
    plain, bf16 = bench_config(device=device.type), bench_config("bf16", device.type)
    ways = {
        "loop": lambda layers: usual_loop(plain, data, layers, device),
        "memory": lambda layers: in_memory(plain, data, layers, device),
        "stack": lambda layers: stack_of_depth(plain, data, layers, device),
        "stack bf16": lambda layers: stack_of_depth(bf16, data, layers, device),
    }
    rows = []
    for layers in DEPTHS:
        times, rates = [], []
        for _ in range(rounds):  # everything takes its turn in every round
            before = matrix_rate(device)
            times.append({way: seconds(layers) for way, seconds in ways.items()})
            rates.append(max(before, matrix_rate(device)))
        flops = step_flops(plain, layers)
        for way in ways:
            gflops = [flops / t[way] / 1e9 for t in times]
            rows.append(
                {
                    "layers": layers,
                    "way": way,
                    "ms_per_network_step": statistics.median(t[way] for t in times) * 1e3,
                    "gflops": statistics.median(gflops),
                    "matrix_gflops": statistics.median(rates),
                    "share_of_float32_matrix_rate": statistics.median(
                        g / r for g, r in zip(gflops, rates, strict=True)
                    ),
                    "times_faster_than_loop": statistics.median(t["loop"] / t[way] for t in times),
                    "times_faster_than_memory": statistics.median(t["memory"] / t[way] for t in times),
                    "rounds": rounds,
                }
            )
    return rows


def forecast_published(device, precision, repeats=1):
    """Seconds of the published sweep on this device, from timed steps of its stacks: 192 networks, 50 epochs of MNIST.

    repeats  how often each time is taken, for the median

    Every activation is timed at three depths; between them the time of a step is taken as linear in the depth. The test
    set costs a third of a training step a sample, the probe is in the steps.
    """
    config, data = bench_config(precision, device.type), made_up_data(device)
    evaluation = 1 + TEST / 3 / TRAIN
    if device.type == "cuda":  # all networks at once, as the sweep trains them
        one_seed = [run for run in config.runs() if run.seed == config.seeds[0]]
        families = [[run for run in one_seed if run.activation == name] for name in config.activations]
        return stacks(config, data, families, device, seconds=3.0) * STEPS * EPOCHS * evaluation
    total = 0.0
    for activation in config.activations:
        steps = [
            statistics.median(stack_of_depth(config, data, layers, device, activation) for _ in range(repeats))
            for layers in DEPTHS
        ]
        each = np.interp(config.layers_list, DEPTHS, steps).sum() * len(config.init_types)
        total += each * STEPS * EPOCHS * evaluation
    return total


def measure(rounds, device, repeats=1):
    """{"rows", "onednn_gflops", "published_sweep_seconds", "peak_gpu_gib"}; `rows` are those of the table."""
    rows = compare(rounds, device)
    seconds = {precision: round(forecast_published(device, precision, repeats)) for precision in ("float32", "bf16")}
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    return {
        "rows": rows,
        "onednn_gflops": onednn_rate(device),
        "published_sweep_seconds": seconds,
        "peak_gpu_gib": memory,
    }


def sentence(measured):
    """What `measure` found: its table, and a line for each of the rest."""
    table = pd.DataFrame(measured["rows"]).drop(columns="rounds").round(3)
    lines = [table.to_string(index=False)]
    if measured["onednn_gflops"]:
        rate = measured["onednn_gflops"]
        lines.append(f"oneDNN's large float32 products, as in the wide first layer: {rate:.0f} GFLOP/s")
    for precision, seconds in measured["published_sweep_seconds"].items():
        lines.append(f"the published sweep on this device in {precision}: about {duration(seconds)}")
    if measured["peak_gpu_gib"] is not None:
        lines.append(f"peak memory on the device: {measured['peak_gpu_gib']:.2f} GiB")
    return "\n".join(lines)


def add_options(parser):
    """The options that every part of the bench understands which has a device."""
    parser.add_argument("--rounds", type=int, default=3, help="how often everything takes its turn (default 3)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")


def read_options(parser, arguments):
    """(options, torch.device); ends with a sentence where they cannot be used."""
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; allowed is a whole number from 1 up")
    try:
        return options, resolve_device(bench_config(device=options.device))
    except ConfigError as error:
        parser.error(str(error))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.stack", description=__doc__.splitlines()[0])
    add_options(parser)
    options, device = read_options(parser, arguments)
    print(sentence(measure(options.rounds, device)))


if __name__ == "__main__":
    main()
