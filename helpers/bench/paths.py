"""How many gradients of a tunnel's log density does a second of one core give, compiled by JAX and in PyTorch?

    python -m helpers.bench.paths [--rounds 5] [--save results/local/bench]

The tunnel around a curve of K = 20 through the weights of a 3 x 16 MLP, 215 rows of 6 inputs, float64, for 1, 4 and 64
chains at once:

compiled     `tunnel_density` by jit and vmap, many gradients in one program, as the samplers take them
torch        the same formulas in eager PyTorch, one chain after the other
torch.func   the same, all chains at once: their networks by torch.func.vmap, the formulas on arrays of chains

Counted are CPU seconds, of all threads together: the ways take turns in each round. That all three give the same
gradients is looked at first.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from helpers.bench import measured
from helpers.networks.gaussian import GaussianMLP, gaussian_nll
from helpers.networks.mlp import drawn

ROWS, INPUTS, WIDTH, LAYERS, K, RADIUS, TEMPERATURE = 215, 6, 16, 3, 20, 0.1, 10.0
CHAINS = (1, 4, 64)
WAYS = ("compiled", "torch", "torch.func")
SAID = dict(
    zip(WAYS, ("compiled by JAX", "eager PyTorch, chain by chain", "torch.func, all chains at once"), strict=True)
)
CLOSE = 1e-6  # the largest difference of two gradients, as a share of the largest entry, that rounding explains
SECONDS = 0.5  # that a way's turn takes, about
CPU = torch.device("cpu")


def problem():
    """(net, x, y, control points): rows that are made up, and a bent curve between two networks as they are drawn."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, INPUTS, generator=generator, dtype=torch.float64)
    y = torch.sin(x[:, 0]) + 0.3 * x[:, 1] ** 2 + 0.1 * torch.randn(ROWS, generator=generator, dtype=torch.float64)
    nets = [drawn(GaussianMLP(INPUTS, WIDTH, LAYERS, "relu"), seed=seed).double() for seed in (0, 1)]
    ends = [torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in nets]
    share = torch.linspace(0, 1, K + 1, dtype=torch.float64)[:, None]
    bend = torch.randn(K + 1, len(ends[0]), generator=generator, dtype=torch.float64) * (share * (1 - share)) ** 0.5
    return nets[0], x, y, (1 - share) * ends[0] + share * ends[1] + 0.1 * bend


def densities(net, x, y, control_points):
    """(log density in JAX, the same in torch, starts for so many chains)."""
    from helpers.paths import BezierPath, Tunnel
    from helpers.paths.densities import tunnel_density
    from helpers.paths.likelihoods import log_likelihoods

    tunnel = Tunnel(BezierPath(control_points), RADIUS)
    density = tunnel_density(tunnel, log_likelihoods(net, x, y), TEMPERATURE)
    return density.log_density, in_torch(tunnel, net, x, y), lambda chains: density.starts(0, chains)


def in_torch(tunnel, net, x, y):
    """The tunnel's log density as PyTorch has it, of positions (chains, d): the speed weighs in, xi has N(0, I).

    Constants are left out.
    """
    from helpers.paths.bezier import derivative
    from helpers.paths.tunnel import tube_coordinates

    frame, radius = tunnel.arrays()
    frame = type(frame)(*map(torch.as_tensor, frame))
    subspace = tunnel.subspace
    named = {name: p.detach() for name, p in net.named_parameters()}
    sizes = [p.numel() for p in named.values()]

    def loss(weights):
        parts = zip(named.items(), weights.split(sizes), strict=True)
        outputs = torch.func.functional_call(net, {name: part.view_as(p) for (name, p), part in parts}, (x,))
        return gaussian_nll(outputs, y, "sum")

    losses = torch.func.vmap(loss)

    def log_density(positions):
        t, xi = torch.sigmoid(positions[:, 0]), positions[:, 1:]
        weights = subspace.points(tube_coordinates(torch, frame, radius, t, xi))
        speed = derivative(frame.control_points, t, torch).norm(dim=-1)
        prior = -(xi * xi).sum(1) / 2 + torch.log(speed) + torch.log(t * (1 - t))
        return prior - (losses(weights) if len(weights) > 1 else loss(weights[0])) / TEMPERATURE

    return log_density


def ways_of(net, x, y, control_points):
    """({way: a function, positions (chains, d) and how often -> gradients (chains, d) of the last time}, starts)."""
    from helpers.paths.jax_on_cpu import jax, on_cpu

    compiled, eager, starts = densities(net, x, y, control_points)
    programs = {}

    def by_jax(positions, times):
        key = len(positions), times

        def many(z):
            def step(carry, _):
                gradients = jax.vmap(jax.grad(compiled))(carry[0])
                return (carry[0] + 0 * gradients, gradients), None  # nothing is computed once for all

            return jax.lax.scan(step, (z, z), None, times)[0][1]

        with on_cpu():
            programs[key] = programs.get(key) or jax.jit(many).lower(positions).compile()
            return np.asarray(programs[key](positions))

    def together(positions, times):
        for _ in range(times):
            rows = torch.tensor(positions, requires_grad=True)
            (gradients,) = torch.autograd.grad(eager(rows).sum(), rows)
        return gradients.numpy()

    def one_by_one(positions, times):
        return np.concatenate([together(positions[i : i + 1], times) for i in range(len(positions))])

    return dict(zip(WAYS, (by_jax, one_by_one, together), strict=True)), starts


def difference(ways, positions):
    """The largest difference of a way's gradients from those of eager PyTorch, as a share of their largest entry."""
    found = {way: gradients(positions, 1) for way, gradients in ways.items()}
    largest = np.abs(found["torch"]).max()
    return max(float(np.abs(other - found["torch"]).max() / largest) for other in found.values())


def rate(gradients, positions, times):
    """Gradients a CPU second."""
    started = time.process_time()
    gradients(positions, times)
    return len(positions) * times / (time.process_time() - started)


def measure(rounds=5, chains=CHAINS, seconds=SECONDS):
    """What was found: "rows" of the table, "difference", "jax". Raises RuntimeError where the ways do not agree."""
    from helpers.paths.jax_on_cpu import jax

    ways, starts = ways_of(*problem())
    apart = difference(ways, starts(4))
    if not apart < CLOSE:
        raise RuntimeError(f"gradients of the ways differ by {apart:.1e} of the largest; allowed is {CLOSE}")
    threads, rows = torch.get_num_threads(), []
    torch.set_num_threads(1)  # more would cost CPU seconds, for products as small as these
    try:
        for count in chains:
            positions = np.asarray(starts(count))
            times = {}
            for way, gradients in ways.items():
                rate(gradients, positions, 2)  # warm up
                times[way] = max(1, round(rate(gradients, positions, 2) * seconds / count))
                rate(gradients, positions, times[way])  # compile
            found = [{way: rate(ways[way], positions, times[way]) for way in WAYS} for _ in range(rounds)]
            rows += rows_of(count, found)
    finally:
        torch.set_num_threads(threads)
    return {"rows": rows, "rounds": rounds, "difference": apart, "jax": jax.__version__}


def rows_of(chains, found):
    """Rows of the table from [{way: gradients a CPU second}], one dict a round."""
    rows = []
    for way in WAYS:
        rates, ratios = [turn[way] for turn in found], [turn[way] / turn["torch"] for turn in found]
        row = {"chains": chains, "way": way, "gradients_per_cpu_second": statistics.median(rates)}
        row |= {"rate_least": min(rates), "rate_most": max(rates), "times_faster_than_torch": statistics.median(ratios)}
        rows.append(row | {"ratio_least": min(ratios), "ratio_most": max(ratios), "rounds": len(found)})
    return rows


def sentence(found):
    """What `measure` found, in words."""
    lines = [
        f"{row['chains']:3} chains, {row['way']:10}: {row['gradients_per_cpu_second']:8,.0f} gradients a CPU second, "
        f"{row['times_faster_than_torch']:.1f}x eager PyTorch"
        for row in found["rows"]
    ]
    return "\n".join([*lines, f"all ways give the same gradients, to {found['difference']:.0e} of the largest"])


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.paths", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often the ways take turns (default 5)")
    parser.add_argument("--save", default="results/local/bench", help="folder for paths.csv and manifest.json")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; allowed is a whole number from 1 up")
    found = measure(options.rounds)
    print(sentence(found), flush=True)
    measured.keep(options.save, "paths", CPU, **found)
    print(f"saved in {options.save}")


if __name__ == "__main__":
    main()
