"""The rival in JAX, a program of its own: vmap over the networks, jit, and a scan over the steps.

    .venv-rivals/bin/python helpers/bench/rivals_jax.py [core]

It imports JAX and NumPy alone, which are not in the environment of the rest. It reads requests, a line of JSON each,
and answers each with a line of JSON:

    problem   an .npz: weights and biases, data x (N, D) and y (N,), index (steps, batch), lr
    networks  train the first so many of the problem
    layers    "unrolled", or "scan": the hidden layers are a scan too
    seconds   train for about so long, over and over the steps of `index`: answers {"step": seconds per step}
    losses    instead of `seconds`: train the steps of `index` from the start: answers {"losses": steps x networks}

core  the number of the one core it keeps to; where left out it uses all
"""

import json
import os
import sys
import time

if len(sys.argv) > 1:
    os.sched_setaffinity(0, {int(sys.argv[1])})  # before JAX makes its threads
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def start(arrays, networks, layers):
    """The parameters of the first networks: {"first", "hidden", "output": (weights, biases)}, fresh copies."""
    own = {name: jnp.array(value[:networks]) for name, value in arrays.items() if name[-2:] in ("_w", "_b")}
    p = {name: (own[f"{name}_w"], own[f"{name}_b"]) for name in ("first", "hidden", "output")}
    if layers == "unrolled":
        w, b = p["hidden"]  # (R, L - 1, H, H), (R, L - 1, H)
        p["hidden"] = [(w[:, l], b[:, l]) for l in range(w.shape[1])]
    return p


def logits(p, x, layers):
    """(n, C) of one network."""

    def layer(a, wb):
        return jax.nn.relu(a @ wb[0] + wb[1]), None

    a, _ = layer(x, p["first"])
    if layers == "scan":
        a, _ = lax.scan(layer, a, p["hidden"])
    else:
        for wb in p["hidden"]:
            a, _ = layer(a, wb)
    w, b = p["output"]
    return a @ w + b


def trainer(x, y, lr, layers):
    """(parameters, index) -> (parameters, losses (steps, networks)), compiled; the parameters given are used up."""

    def loss(p, x, y):
        log_p = jax.nn.log_softmax(logits(p, x, layers))
        return -jnp.take_along_axis(log_p, y[:, None], 1).mean()

    gradients = jax.vmap(jax.value_and_grad(loss), in_axes=(0, None, None))

    def step(p, chosen):
        losses, g = gradients(p, x[chosen], y[chosen])
        return jax.tree.map(lambda p, g: p - lr * g, p, g), losses

    return jax.jit(lambda p, index: lax.scan(step, p, index), donate_argnums=0)


def serve(lines, answer):
    """Answer every request; what was compiled for a problem is kept until another one comes."""
    problem, compiled = None, {}
    for line in lines:
        asked = json.loads(line)
        if asked["problem"] != problem:
            problem, compiled = asked["problem"], {}
            with np.load(problem) as file:
                arrays = dict(file)
            x, y, index = jnp.array(arrays["x"]), jnp.array(arrays["y"]), jnp.array(arrays["index"])
        key = asked["networks"], asked["layers"]
        if key not in compiled:
            train = trainer(x, y, float(arrays["lr"]), asked["layers"])
            compiled[key] = [train, start(arrays, *key)]
        if asked.get("losses"):
            train = compiled[key][0]
            answer({"losses": np.asarray(train(start(arrays, *key), index)[1]).tolist()})
        else:
            answer({"step": seconds_per_step(compiled[key], index, asked["seconds"])})


def seconds_per_step(kept, index, seconds):
    """Seconds per step of all networks together; `kept` is [train, parameters], which go on where they were."""
    train, p = kept
    p, losses = train(p, index)
    losses.block_until_ready()
    calls, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or calls == 0:
        p, losses = train(p, index)
        losses.block_until_ready()
        calls += 1
    kept[1] = p
    return elapsed / calls / len(index)


def main():
    print(json.dumps({"jax": jax.__version__, "numpy": np.__version__}), flush=True)
    serve(sys.stdin, lambda content: print(json.dumps(content), flush=True))


if __name__ == "__main__":
    main()
