"""The study of `notebooks/signal.ipynb`: where in the plane of (sigma_w2, sigma_b2) signals and gradients survive.

`plane` computes q*, chi1 and xi_c over a grid, `predicted` what one point of it does to a signal layer by layer,
`sampled` the same measured on a random network; `trainable_against_scale` reads off a sweep over sigma_w2 and depth how
deep networks train, to be held against multiples of xi_c. `in_training` says whether a network of the plane will leave
its plateau, and `prescription_curve` draws what `theory.prescribe` has tried. The pictures come with their sentences.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import LogNorm, Normalize

from helpers import networks, theory, words
from helpers.activations import phi_of
from helpers.checks import checked, positive, refuse, whole
from helpers.config import ConfigError, Run, SweepConfig
from helpers.figures import COLOURS, STYLE, Picture, grid_of_subplots, legend, log_ticks
from helpers.quadrature import QUICK, expectation
from helpers.sweep.tables import trainable_depth
from helpers.theory.prescribe import INITS

SCALES = (4.5, 6.0)  # multiples of xi_c at which Schoenholz et al. 2017 and later work measured that training ends
TRAINING = {key: whole(1) for key in ("inputs", "hidden_size", "steps", "batch_size")} | {"lr": positive}
ROUNDS = 400  # of the variance map, from which nearly every fixed point is reached


def plane(activation, sigma_w2, sigma_b2):
    """q*, chi1 and xi_c on a grid: {name: (len(sigma_b2), len(sigma_w2)) array}.

    q* is where a signal of variance 1 arrives; infinite where it grows without end, and there chi1 is that of large
    signals. xi_c is that of equal inputs where these stay together, elsewhere of the correlation map's second fixed
    point.
    """
    for key, values in (("sigma_w2", sigma_w2), ("sigma_b2", sigma_b2)):
        if np.ndim(values) != 1 or not np.isfinite(theory.given.variance(key, values)).all():
            refuse(key, values, "a list of finite variances from 0 up")
    w, b = np.meshgrid(np.asarray(sigma_w2, float), np.asarray(sigma_b2, float))
    phi, q = phi_of(activation), np.ones_like(w)
    for _ in range(ROUNDS):
        q = np.minimum(
            w * expectation(lambda u: phi.value(u) ** 2, q, kinks=phi.kinks, nodes=QUICK) + b, theory.GRID[-1]
        )
    endless = q >= theory.GRID[-1]
    slopes = w * expectation(lambda u: phi.slope(u) ** 2, q, kinks=phi.kinks, nodes=QUICK)
    at, distance = np.maximum(q, theory.GRID[0]), np.zeros_like(q)  # a signal that fades away has its slope at 0
    at_c = w * theory.distance_slope(phi, distance, at, QUICK) / at
    chaotic = at_c > 1 + theory.ALIKE
    if chaotic.any():
        found = _second_distances(phi, w[chaotic], q[chaotic])
        slope = theory.distance_slope(phi, found, q[chaotic], QUICK)
        distance[chaotic], at_c[chaotic] = found, w[chaotic] * slope / q[chaotic]
    c = 1 - distance
    with np.errstate(divide="ignore", invalid="ignore"):
        xi_c = np.where(at_c < 1, -1 / np.log(np.minimum(at_c, 1)), np.inf)
    return {"q": np.where(endless, np.inf, q), "chi1": slopes, "xi_c": np.where(endless, np.nan, xi_c), "c": c}


def _second_distances(phi, w, q):
    """The fixed points above 0 of the map of distances, 1 - c, in chaos, by Newton's method from 1: it is concave."""
    distance = np.ones_like(q)
    for _ in range(12):
        before = distance
        step = w * theory.half_distance(phi, 1 - distance, q, nodes=QUICK) / q - distance
        slope = w * theory.distance_slope(phi, distance, q, QUICK) / q
        distance = np.clip(distance - step / (slope - 1), 0, 1)
        if np.abs(distance - before).max() < 1e-10:
            break
    return distance


def published():
    """Values from the literature beside what `theory` computes: a DataFrame."""
    tanh = {sigma_b2: theory.critical_points("tanh", sigma_b2)[0].sigma_w2 for sigma_b2 in (0.05, 2.01e-5)}
    relu, gelu = theory.critical_points("relu", 0.0)[0], theory.critical_line("gelu", (3 + 17**0.5) / 2)
    sigmoid = theory.chi1("sigmoid", theory.fixed_point("sigmoid", 1.0, 0.0).q, 1.0)
    rows = [
        ("relu: critical sigma_w2 at sigma_b2 = 0", 2.0, relu.sigma_w2, "He et al. 2015"),
        ("tanh: critical sigma_w2 at sigma_b2 = 0.05", 1.76, tanh[0.05], "Schoenholz et al. 2017"),
        ("tanh: critical sigma_w2 at sigma_b2 = 2.01e-5", 1.05, tanh[2.01e-5], "Pennington et al. 2017"),
        ("sigmoid: chi1 at sigma_w2 = 1", 0.0557, sigmoid, "Schoenholz et al. 2017"),
        ("gelu: sigma_w2 of the half-stable point", 1.98305826, gelu[0], "Roberts, Yaida & Hanin 2022"),
        ("gelu: sigma_b2 of the half-stable point", 0.17292239, gelu[1], "Roberts, Yaida & Hanin 2022"),
    ]
    return pd.DataFrame(rows, columns=["value", "published", "computed", "source"]).set_index("value")


def critical_table(activations, sigma_b2s):
    """All critical points of some activations: a DataFrame with one row a point, and one for "none"."""
    activations = [activations] if isinstance(activations, str) else activations
    rows = []
    for activation in activations:
        for sigma_b2 in [sigma_b2s] if np.ndim(sigma_b2s) == 0 else sigma_b2s:
            points = theory.critical_points(activation, sigma_b2)
            for p in points:
                stable = "stable" if p.stable else "neutral" if abs(p.chi_parallel - 1) < 1e-6 else "unstable"
                rows.append((activation, sigma_b2, p.sigma_w2, p.q, p.chi_parallel, stable))
            if not points:
                rows.append((activation, sigma_b2, np.nan, np.nan, np.nan, "none"))
    columns = ["activation", "sigma_b2", "sigma_w2", "q", "chi_parallel", "fixed point"]
    return pd.DataFrame(rows, columns=columns).set_index(["activation", "sigma_b2"])


def predicted(activation, sigma_w2, sigma_b2, layers, moments):
    """What becomes of a signal layer by layer, all layers alike: {name: (layers,) array}, as in `theory.signals`."""
    ensemble = theory.Ensemble(activation, sigma_w2, sigma_w2, sigma_b2)
    return {name: values[0] for name, values in theory.signals([ensemble], moments, layers).items()}


def sampled(activation, sigma_w2, sigma_b2, layers, width, inputs, seed=0):
    """What `predicted` says, measured on one network of finite width: {q, distance, backward: (layers,) arrays}.

    inputs  (n, width), at least two
    """
    inputs = theory.given.samples(inputs, what="inputs")[0]
    if inputs.shape[1] != width or len(inputs) < 2:
        raise ConfigError(f"inputs has the shape {tuple(inputs.shape)}; allowed is (n, {width}), with n from 2 up")
    config = SweepConfig.from_dict(
        {
            "activations": [activation],
            "init_types": ["gaussian"],
            "init_params": {"gaussian": {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2}},
            "layers_list": [layers],
            **{"hidden_size": width, "input_size": inputs.shape[1], "output_size": 2},
        }
    )
    net, z = networks.build(config, Run("gaussian", activation, layers, seed), torch.float64), []
    hooks = [layer.register_forward_hook(lambda layer, inputs, out: z.append(out)) for layer in net.hidden]
    logits = net(inputs.double())
    for hook in hooks:
        hook.remove()
    norms = np.array([gradient[0].norm().item() for gradient in torch.autograd.grad(logits[0, 0], z)])
    with torch.no_grad():
        moments = [theory.input_moments(layer) for layer in z]
    squares, products = (np.array([getattr(m, name) for m in moments]) for name in ("square", "product"))
    return {"q": squares, "distance": 1 - products / squares, "backward": norms / norms[-1]}


def scales_in_words(activation, sigma_w2, sigma_b2):
    """Where variance and correlation of a network with all layers alike arrive, and over how many layers."""
    point, scales = (found(activation, sigma_w2, sigma_b2) for found in (theory.fixed_point, theory.depth_scales))
    stable = "stable" if point.stable else "not stable"
    return (
        f"q* = {point.q:.4g} ({stable}, chi_parallel {point.chi_parallel:.4g}); xi_q = {scales.xi_q:.4g}, "
        f"xi_c = {scales.xi_c:.4g}; two inputs arrive at a correlation of {scales.c:.4g}"
    )


def in_training(activation, sigma_w2, sigma_b2, layers, moments, training):
    """(sentence, Outlook): whether a network with all layers alike will leave its plateau, and which limit binds.

    moments   the ClassMoments of the data
    training  inputs, hidden_size, lr, steps, batch_size: of SGD
    """
    if not isinstance(moments, theory.ClassMoments):
        refuse("moments", moments, "the ClassMoments of the data, from theory.class_moments")
    given = checked(training, TRAINING, "training")
    if missing := [key for key in TRAINING if key not in given]:
        raise ConfigError(f"training has no {missing[0]}; it needs {', '.join(TRAINING)}")
    inputs, width = given.pop("inputs"), given.pop("hidden_size")
    known = theory.kernels([theory.Ensemble(activation, sigma_w2, sigma_w2, sigma_b2)], moments, layers, inputs, width)
    numbers = {**known.at(0, layers), **given, "classes": moments.classes, "layers": layers, "momentum": 0.0}
    seen = theory.outlook(numbers)
    signal = predicted(activation, sigma_w2, sigma_b2, layers, theory.InputMoments(moments.square, moments.different))
    profile = {"pre_std": np.sqrt(signal["q"]), "correlation": 1 - signal["distance"], "backward": _shares(signal)}
    cause = theory.forecasts.cause_of(pd.DataFrame(profile))
    verdict, reason = "Fine" if seen.probability >= 0.5 else "No", theory.limits.reason(numbers, seen, cause)
    most = f"; lr at most some {theory.limits.largest_lr(given['lr'], seen):.2g}" if verdict == "Fine" else ""
    return (
        f"{verdict}: {reason} (probability {seen.probability:.2f}: {seen.leaves:.2f} of leaving in time, "
        f"{seen.holds:.2f} of bearing its steps{most})."
    ), seen


def trainable_against_scale(results):
    """How deep networks train, against xi_c: a DataFrame, one row a sigma_w2 of a sweep over variants of `gaussian`.

    depth  the deepest network that learned in every seed, with all shallower ones; 0 for none
    xi_c   of its sigma_w2 and sigma_b2

    Raises ConfigError for a sweep over several activations, or with an init that has no sigma_w2.
    """
    results.check_one_of_each()
    config = results.config
    if len(config["activations"]) > 1:
        raise ConfigError(f"activations is {config['activations']}; depth is held against xi_c of one of them")
    (activation,) = config["activations"]
    params = {init: config["init_params"][init] for init in config["init_types"]}
    without = [init for init, given in params.items() if not {"sigma_w2", "sigma_b2"} <= set(given)]
    if without:
        raise ConfigError(
            f"init_types has {', '.join(without)}, which has no sigma_w2; depth is held against xi_c of gaussian and "
            "variants of it"
        )
    depths = trainable_depth(results).loc[activation]
    rows = []
    for init, given in params.items():
        scales = theory.depth_scales(activation, given["sigma_w2"], given["sigma_b2"])
        rows.append((init, given["sigma_w2"], given["sigma_b2"], scales.xi_c, scales.c, depths[init]))
    columns = ["init", "sigma_w2", "sigma_b2", "xi_c", "c", "depth"]
    return pd.DataFrame(rows, columns=columns).set_index("init").sort_values("sigma_w2")


# ---- pictures, each with its sentence


def plane_maps(activation, sigma_w2, sigma_b2):
    """Three maps over sigma_w2 (across) and sigma_b2 (up): q*, chi1 and xi_c, with the critical line over each.

    The sentence says how much of the plane is ordered and how much chaotic.
    """
    found, line = plane(activation, sigma_w2, sigma_b2), theory.critical_line(activation, theory.GRID)
    names = {
        "q": "fixed point q* of the variance",
        "chi1": "chi1, a layer's factor",
        "xi_c": "depth scale xi_c (layers)",
    }
    figure, subplots = grid_of_subplots(3, 3, width=3.6, height=2.9, sharex=True, sharey=True)
    for axes, (name, label) in zip(subplots, names.items(), strict=True):
        values = np.ma.masked_invalid(found[name])
        norm = LogNorm(0.25, 4) if name == "chi1" else LogNorm(1, 100) if name == "xi_c" else None
        colours = "RdBu_r" if name == "chi1" else "viridis"
        image = axes.pcolormesh(sigma_w2, sigma_b2, values, cmap=colours, norm=norm, shading="nearest", rasterized=True)
        inside = (line[0] >= min(sigma_w2)) & (line[0] <= max(sigma_w2)) & (line[1] <= max(sigma_b2)) & (line[1] >= 0)
        axes.plot(line[0][inside], line[1][inside], color="k", lw=1.5)
        axes.set(xlabel="sigma_w2", xlim=(min(sigma_w2), max(sigma_w2)), ylim=(min(sigma_b2), max(sigma_b2)))
        axes.set_facecolor("0.85")
        axes.grid(False)
        bar = figure.colorbar(image, ax=axes, label=label)
        if norm is not None:
            log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)
    subplots[0].set_ylabel("sigma_b2")
    figure.suptitle(f"{activation}; black: chi1 = 1")
    ordered = (found["chi1"] < 1).mean()
    sentence = (
        f"{activation}: on {ordered:.0%} of this plane chi1 < 1, where gradients vanish and inputs come to look alike "
        "(or as large as the activation lets them); on the rest they explode and inputs drift apart. Between lies the "
        "critical line."
    )
    return Picture("plane", figure, sentence)


def sampled_signals(activation, sigma_w2, sigma_b2, layers, width):
    """Theory against one sampled network each, for several sigma_w2; the sentence says how far the variances differ."""
    inputs = torch.randn(24, width, generator=torch.Generator().manual_seed(0)) + 0.6
    moments, signals, measured = theory.input_moments(inputs), {}, {}
    for w in sigma_w2:
        label = f"sigma_w2 = {w:g}"
        signals[label] = predicted(activation, w, sigma_b2, layers, moments)
        measured[label] = sampled(activation, w, sigma_b2, layers, width, inputs)
    off = max(np.abs(np.log(measured[label]["q"] / signals[label]["q"])).max() for label in signals)
    sentence = (
        f"{activation}, width {width}, sigma_b2 = {sigma_b2:g}: dots are one sampled network each, lines the theory; "
        f"the variance is off by {np.expm1(off):.0%} at most."
    )
    return Picture("profiles", draw_signals(signals, measured), sentence)


def _shares(signal):
    """The gradient's norm in each layer over that of the last one."""
    with np.errstate(over="ignore"):
        share = np.exp(0.5 * np.cumsum(np.log(np.maximum(signal["chi"][:-1][::-1], 1e-300))))[::-1]
    return np.append(share, 1.0)


def draw_signals(signals, measured=None):
    """Three subplots by layer: variance q, correlation of two inputs, and the gradient's share; a line a network.

    signals   {label: arrays from `predicted`}
    measured  {label: arrays from `sampled`}, drawn as dots
    """
    figure, (variance, correlation, gradient) = grid_of_subplots(3, 3, width=3.4, height=2.6, sharex=True)
    for i, (label, signal) in enumerate(signals.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "lw": 1.4}
        variance.plot(signal["q"], label=label, **style)
        correlation.plot(1 - signal["distance"], **style)
        gradient.plot(_shares(signal), **style)
        if measured:
            dots = {"ls": "", "marker": ".", "ms": 4, "color": style["color"]}
            variance.plot(measured[label]["q"], **dots)
            correlation.plot(1 - measured[label]["distance"], **dots)
            gradient.plot(measured[label]["backward"], **dots)
    variance.set(yscale="log", ylabel="variance q of pre-activations", xlabel="layer")
    correlation.set(ylabel="correlation of two inputs", xlabel="layer", ylim=(-0.1, 1.02))
    gradient.set(yscale="log", ylabel="||dL/dz|| over the last layer's", xlabel="layer")
    log_ticks(variance.yaxis, *variance.get_ylim())
    log_ticks(gradient.yaxis, *gradient.get_ylim())
    legend(figure, variance)
    return figure


def depth_map(results, table, multiples=SCALES):
    """Depth against sigma_w2, colour = train accuracy after the last epoch, with multiples of xi_c over it.

    table      from `trainable_against_scale`
    multiples  of xi_c, a curve each

    The sentence compares the trainable depth with xi_c.
    """
    config = results.config
    grid = results.summary.pivot_table(index="layers", columns="init", values="final_train_acc", dropna=False)
    grid = grid.reindex(index=sorted(config["layers_list"]), columns=table.index)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 4.4))
    image = axes.pcolormesh(table.sigma_w2, grid.index, grid, cmap="cividis", norm=Normalize(0, 1), shading="nearest")
    bottom, top = axes.get_ylim()
    for multiple, style in zip(multiples, ("--", "-", ":"), strict=False):
        axes.plot(table.sigma_w2, multiple * table.xi_c, "w", ls=style, lw=2)
        axes.plot(table.sigma_w2, multiple * table.xi_c, COLOURS[1], ls=style, lw=1.4, label=f"{multiple:g} xi_c")
    axes.set(ylim=(bottom, top), xlabel="sigma_w2", ylabel="hidden layers")
    axes.grid(False)
    axes.legend(loc="upper right", frameon=True)
    figure.colorbar(image, ax=axes, label="train accuracy after the last epoch")
    sigma_b2 = ", ".join(f"{value:g}" for value in sorted(set(table.sigma_b2)))
    figure.suptitle(f"{', '.join(config['activations'])}, width {config['hidden_size']}, sigma_b2 = {sigma_b2}")
    return Picture("depth_map", figure, depth_in_scales(table, max(config["layers_list"]), len(config["seeds"])))


def depth_in_scales(table, deepest, seeds=1):
    """How the trainable depth compares with xi_c, where neither end of the map cuts it off, in words.

    seeds  how many networks each point of the map has
    """
    inside = table[(table.depth > 0) & (table.depth < deepest) & np.isfinite(table.xi_c)]
    if len(inside) < 3:
        return "Too few of these networks have a trainable depth inside the map to compare it with xi_c."
    middle, spread = words.median(inside.depth / inside.xi_c, ".1f", "values of sigma_w2")
    rank = inside.depth.rank().corr(inside.xi_c.rank())
    return (
        f"The deepest network that had learned at the last epoch is {middle} xi_c deep ({spread}; "
        f"{words.counted(seeds, 'seed')} each); depth and xi_c rank these alike with a correlation of {rank:.2f}."
    )


# ---- what to set


def prescription_curve(prescription, most=4):
    """The probability of leaving the plateau against the learning rate, a line an init: a Picture.

    prescription  from `theory.prescribe`
    most          inits, those with the highest probability that are not in doubt; the prescribed one is drawn bold, and
                  its learning rate and the range in which its probability is at least 1/2 are marked

    The sentence is the prescription's own.
    """
    if not isinstance(prescription, theory.Prescription):
        refuse("prescription", prescription, "a Prescription, from theory.prescribe")
    p, curve = prescription, prescription.curve
    if (promised := curve.doubt == "").any():
        curve = curve[promised]
    chosen = None if p.init is None else _init_of(p)
    best = curve.groupby("init", sort=False).probability.max().sort_values(ascending=False, kind="stable")
    names = list(dict.fromkeys([*([chosen] if chosen else []), *best.index]))[:most]
    figure, (axes,) = grid_of_subplots(1, 1, width=5.2, height=2.8)
    for i, name in enumerate(names):
        rows = curve[curve.init == name]
        bold = {"lw": 2.6, "zorder": 3} if name == chosen else {"lw": 1.2}
        axes.plot(rows.lr, rows.probability, color=COLOURS[i], label=name, **bold)
    if chosen:
        axes.axvspan(*p.lr_range, color=COLOURS[0], alpha=0.12, lw=0, label="range that should do")
        axes.axvline(p.lr, color=COLOURS[0], ls="--", lw=1.2, label=f"prescribed: lr {p.lr:g}")
    axes.axhline(0.5, color="0.5", ls=":", lw=1)
    likely = curve[curve.init.isin(names) & (curve.probability > 0.01 * max(best.max(), 1e-12))].lr
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="learning rate", ylabel="probability of leaving\nthe plateau")
    if len(likely):
        axes.set_xlim(likely.min(), likely.max())
    axes.set_title(
        f"{p.activation}, {words.counted(p.layers, 'layer')} of {p.hidden_size}, {p.steps:,} steps of {p.batch_size}"
    )
    legend(figure, axes)
    return Picture("prescription", figure, f"{p.activation}: {p.reason}.")


def _init_of(prescription):
    """The name that the prescribed init has among those that were tried."""
    params = {"init": prescription.init, **prescription.init_params}
    return next(name for name, given in INITS.items() if {"init": name, **given} == params)
