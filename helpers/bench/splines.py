"""How fast are the splines, and the forecast? Ratios within rounds, as in stack.py.

    python -m helpers.bench.splines [--rounds 9]

Forward and backward through one large float32 tensor: torch.sigmoid, the published spline by index, the same with 400
segments, learnable ones by autograd and as the stack passes through them, and the chain of torch.where that people
write, one cubic a segment. The forecast is that of the published sweep's 192 networks.
"""

import argparse
import ctypes
import statistics
import sys
import time

import torch

from helpers import theory
from helpers.activations import row_of_family
from helpers.activations.families import FAMILIES
from helpers.activations.splines import LearnableSpline, SplineSigmoid
from helpers.activations.table import Activation
from helpers.config import SweepConfig
from helpers.data import Data

NUMBERS, UNITS = 4_000_000, 128
SEGMENTS = (2, 16, 400)
MOST_IN_A_CHAIN = 16  # of 400 segments a chain takes seconds, and all the memory
CHAINED = 4  # a chain keeps some six tensors a segment: it takes every fourth row


def where_chain(spline):
    """The same function as a chain of torch.where over its segments, every cubic taken of every number."""
    edges = torch.from_numpy(spline.knots).float()
    width = 2 * spline.limit / spline.segments
    c = spline.table.float()

    def f(z):
        a = c[0, 0] + c[1, 0] * (z - edges[0]) / width
        for k, edge in enumerate(edges):
            r = (z - edge) / width
            piece = c[0, k + 1] + r * (c[1, k + 1] + r * (c[2, k + 1] + r * c[3, k + 1]))
            a = torch.where(z >= edge, piece, a)
        return a

    return f


def learnable_ways(segments=16):
    """{way: what `_seconds` takes} of a learnable spline, one for all units and one for each."""
    ways = {}
    for per, name in (("layer", ""), ("unit", " per unit")):
        row = row_of_family("learnable_spline", {**FAMILIES["learnable_spline"].defaults, "per": per})
        ways[f"learnable {segments}{name}"] = LearnableSpline(segments=segments, per=per, width=UNITS)
        ways[f"stack {segments}{name}"] = row
    return ways


def measure(rounds=9, numbers=NUMBERS):
    """Medians over rounds, in which everything takes its turn: {way: [milliseconds, ratio to torch.sigmoid]}.

    And "chain": {segments: how many times as long the chain takes as the index}, "forecast": seconds.
    """
    _hold_memory()
    splines = {segments: SplineSigmoid(segments, 4.0, "smooth") for segments in SEGMENTS}
    splines[2] = SplineSigmoid()
    ways = {"sigmoid": torch.sigmoid, **{f"spline {n}": spline for n, spline in splines.items()}, **learnable_ways()}
    few = {n: spline for n, spline in splines.items() if n <= MOST_IN_A_CHAIN}
    chains = {f"{way} {n}": f for n, s in few.items() for way, f in (("spline", s), ("chain", where_chain(s)))}
    rows = max(1, numbers // UNITS)
    z = 2 * torch.randn(rows, UNITS, generator=torch.Generator().manual_seed(0))
    grad = torch.randn_like(z)
    fewer = z[::CHAINED].clone().requires_grad_()
    z.requires_grad_()
    # Chains have rounds of their own: the memory they ask for and give back slows down what comes after them.
    times, against = (
        [{way: _seconds(f, part, grad[: len(part)]) for way, f in turns.items()} for _ in range(rounds + 1)][1:]
        for turns, part in ((ways, z), (chains, fewer))
    )
    found = {
        way: [statistics.median(t[way] for t in times) * 1e3, statistics.median(t[way] / t["sigmoid"] for t in times)]
        for way in ways
    }
    ratios = {n: statistics.median(t[f"chain {n}"] / t[f"spline {n}"] for t in against) for n in few}
    return {"ways": found, "chain": ratios, "forecast": forecast_seconds(), "numbers": z.numel(), "rounds": rounds}


def _hold_memory():
    """Keep glibc from handing large freed tensors back to the system.

    It does so whenever more than two of them are free, and the next ones come anew, page by page: 4 to 30 ms for 16 MB,
    by chance in one way's turn or another's, where 2 to 8 ms are to be measured.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):
        mmap_threshold, trim_threshold = -3, -1  # as <malloc.h> numbers them
        libc.mallopt(mmap_threshold, 2**25)
        libc.mallopt(trim_threshold, 2**30)


def _seconds(f, z, grad):
    """Of one forward and backward pass: by autograd, or of a row of the table as the stack does it."""
    if isinstance(f, Activation):
        kept, out = z.detach().clone()[None], torch.zeros_like(z)[None]
        shape = f.learns.start_of_layer(z.shape[1])[None].to(z.dtype)
        started = time.perf_counter()
        f.forward(kept, out, shape)
        f.backward(grad[None], kept, kept, shape)
        return time.perf_counter() - started
    z.grad = None
    started = time.perf_counter()
    f(z).backward(grad)
    return time.perf_counter() - started


def forecast_seconds():
    """Seconds for the whole forecast of the published sweep's 192 networks; the data, made up, is at hand."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(1000, 784, generator=generator), torch.arange(1000) % 10
    data = Data("made up", x, y, x[:100], y[:100], torch.arange(512), 10)
    config = SweepConfig.from_dict({"dataset": "mnist", "num_epochs": 50, "lr": 0.01, "batch_size": 128})
    started = time.perf_counter()
    theory.forecast(config, data)
    return time.perf_counter() - started


def sentence(measured):
    ways = ", ".join(f"{way} {ms:.1f} ms ({ratio:.2f}x)" for way, (ms, ratio) in measured["ways"].items())
    chains = ", ".join(f"{ratio:.1f}x at {n} segments" for n, ratio in measured["chain"].items())
    return (
        f"forward and backward through {measured['numbers']:,} float32 numbers, over torch.sigmoid, medians of "
        f"{measured['rounds']} rounds: {ways}; the chain of torch.where takes {chains} as long as the index; "
        f"forecast of 192 networks: {measured['forecast']:.2f} s"
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="how often everything takes its turn (default 9)")
    print(sentence(measure(parser.parse_args(arguments).rounds)))


if __name__ == "__main__":
    main()
