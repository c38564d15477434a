"""How fast are the splines, and the forecast? Ratios within rounds, as in stack.py.

    python -m helpers.bench.splines [--rounds 9]

Forward and backward through one large float32 tensor: torch.sigmoid, the published spline by index, the same with 400
segments, a learnable one, and the chain of torch.where that people write, one cubic a segment. The forecast is that of
the published sweep's 192 networks.
"""

import argparse
import statistics
import time

import torch

from helpers import theory
from helpers.activations.splines import LearnableSpline, SplineSigmoid
from helpers.config import SweepConfig

NUMBERS = 4_000_000
SEGMENTS = (2, 16, 400)
MOST_IN_A_CHAIN = 16  # of 400 segments a chain takes seconds, and all the memory


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


def measure(rounds=9, numbers=NUMBERS):
    """Medians over rounds, in which everything takes its turn: {way: [milliseconds, ratio to torch.sigmoid]}.

    And "chain": {segments: how many times as long the chain takes as the index}, "forecast": seconds.
    """
    splines = {segments: SplineSigmoid(segments, 4.0, "smooth") for segments in SEGMENTS}
    splines[2] = SplineSigmoid()
    ways = {"sigmoid": torch.sigmoid, **{f"spline {n}": spline for n, spline in splines.items()}}
    ways["learnable 16"] = LearnableSpline()
    few = {n: spline for n, spline in splines.items() if n <= MOST_IN_A_CHAIN}
    chains = {f"{way} {n}": f for n, s in few.items() for way, f in (("spline", s), ("chain", where_chain(s)))}
    z = 2 * torch.randn(numbers, 1, generator=torch.Generator().manual_seed(0))
    z, grad = z.requires_grad_(), torch.randn_like(z)
    # Chains have rounds of their own: the memory they ask for and give back slows down what comes after them.
    times, against = (
        [{way: _seconds(f, z, grad) for way, f in turns.items()} for _ in range(rounds + 1)][1:]
        for turns in (ways, chains)
    )
    found = {
        way: [statistics.median(t[way] for t in times) * 1e3, statistics.median(t[way] / t["sigmoid"] for t in times)]
        for way in ways
    }
    ratios = {n: statistics.median(t[f"chain {n}"] / t[f"spline {n}"] for t in against) for n in few}
    return {"ways": found, "chain": ratios, "forecast": forecast_seconds(), "numbers": numbers, "rounds": rounds}


def _seconds(f, z, grad):
    z.grad = None
    started = time.perf_counter()
    f(z).backward(grad)
    return time.perf_counter() - started


def forecast_seconds():
    """Seconds for the kernels and regimes of the default sweep's 192 networks; the data is at hand."""
    sizes = {"input_size": 784, "output_size": 10, "input_square": 0.1}
    config = SweepConfig.from_dict(sizes)
    started = time.perf_counter()
    for profile in theory.profiles(config, theory.InputMoments(0.1, 0.04)).values():
        theory.regime_of(profile)
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
