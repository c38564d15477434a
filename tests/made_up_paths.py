"""The tables of a path study with made-up numbers that are known: pictures and sentences can be held to them."""

import numpy as np
import pandas as pd

ARC = np.linspace(0, 1, 11)
SLOPES = {3: 0.45, 10: 0.6}
REFUSED = "two ends, 12 nats apart: no chain crossed"


def curve(seed=0, k=2, layers=3, activation="relu", part="lengths", **numbers):
    """A row of curves.csv: its length follows K^slope, its barriers grow with the seed."""
    row = {"part": part, "data": "wave", "activation": activation, "layers": layers, "hidden_size": 16, "seed": seed}
    row |= {"k": k, "curve": f"{part}_{activation}_{layers}L_k{k}_s{seed}", "aligned": True, "straight_length": 2.0}
    row |= {"length": 2 * (1 + 0.1 * seed) * (k / 2) ** SLOPES.get(layers, 0.5), "turning_per_length": 0.1 * k}
    row |= {"barrier_straight": 1.0 + seed, "barrier_aligned": 0.5 + seed, "barrier_curve": 0.01 * (1 + seed)}
    row |= {
        "train_loss_ends": 0.1 + 0.01 * seed,
        "loss_mean_along": 0.12 + 0.02 * seed,
        "roughness": 0.3,
        "dead": False,
        "dead_a": False,
        "dead_b": False,
        "ends": "two members",
    }
    return row | numbers


def curves():
    rows = [curve(seed, k, layers) for seed in (0, 1, 2) for k in (2, 4, 8) for layers in (3, 10)]
    rough = {"relu": 0.4, "tanh": 0.1, "elu": 0.2}
    rows += [
        curve(seed, 3, activation=name, part="activations", roughness=value + 0.01 * seed)
        for name, value in rough.items()
        for seed in (0, 1, 2)
    ]
    return pd.DataFrame(rows)


def along():
    """Rows of along.csv of three seeds: a straight line with a barrier of 1 + seed, half of it aligned, and a curve."""
    rows = []
    for seed in (0, 1, 2):
        for line, height in (("straight", 1.0 + seed), ("aligned", 0.5 + seed), ("curve", 0.01 * (1 + seed))):
            for arc in ARC:
                row = {"part": "toy", "data": "wave", "seed": seed, "k": 2, "line": line, "arc": arc, "t": arc}
                loss = 0.1 + height * 4 * arc * (1 - arc)
                rows.append(row | {"train_loss": loss, "test_loss": 1.2 * loss, "test_acc": np.nan})
    return pd.DataFrame(rows)


# mean LPPD of a space with K = 2; with K = 20 it is 0.1 more
LPPD = {
    "solution": 0.8, "line": 1.0, "tunnel": 1.02, "volume": 0.99, "full": 0.9, "ensemble": 1.1, "mile": 1.15
}  # fmt: skip


def posteriors(data=("yacht", "energy"), degrees=(2, 20), seeds=(0, 1, 2, 3, 4)):
    """Rows of posteriors.csv; of seed 0 the volume of K = 20 has not converged, of yacht no full space has."""
    rows = []
    for which in data:
        for seed in seeds:
            for space, mean in LPPD.items():
                for k in degrees if space in ("line", "tunnel", "volume") else (0,):
                    unsure = (space == "volume" and k == 20 and seed == 0) or (space == "full" and which == "yacht")
                    chained = space in ("tunnel", "volume", "full", "mile")
                    row = {"part": "tables", "data": which, "activation": "relu", "layers": 3, "hidden_size": 16}
                    row |= {
                        "seed": seed,
                        "k": k,
                        "space": space,
                        "sampler": "nuts" if chained else "",
                        "temperature": 10.0,
                    }
                    row |= {
                        "lppd": mean + 0.1 * (k == 20) + 0.02 * (seed - 2) * (1 + (space == "tunnel")),
                        "rmse": 0.3 - 0.1 * mean + 0.01 * seed,
                    }
                    row |= {"accuracy": 0.9 + 0.01 * mean, "calibration": 0.05, "diversity": 0.1, "barrier_nats": 12.0}
                    row |= {"log_evidence": 5.0, "r_hat_max": (1.4 if unsure else 1.003) if chained else np.nan}
                    row |= {
                        "r_hat_function": 1.02 if chained else np.nan,
                        "ess_bulk_min": (50.0 if unsure else 900.0) if chained else np.nan,
                    }
                    row |= {
                        "ess_tail_min": (60.0 if unsure else 800.0) if chained else np.nan,
                        "divergences": 0,
                        "seconds": 100.0 if chained else 2.0,
                    }
                    row |= {
                        "converged": not unsure if space not in ("solution", "ensemble") else None,
                        "reason": REFUSED if unsure else "",
                        "rmse_units": 1.0,
                        "curve": f"{which}_k{k}_s{seed}" if k else None,
                        "train_rows": 100,
                    }
                    rows.append(row)
    return pd.DataFrame(rows)


HOT = 100.0  # the highest temperature of the grid


def temperatures(posteriors):
    """Rows of temperatures.csv of those posteriors' curves: of yacht with K = 20 the highest is chosen, else 10."""
    lines = posteriors[posteriors.space == "line"]
    return pd.DataFrame(
        [
            {"data": row.data, "k": row.k, "curve": row.curve, "temperature": temperature}
            | {"chosen": temperature == (HOT if row.data == "yacht" and row.k == 20 else 10.0)}
            for row in lines.itertuples()
            for temperature in (1.0, 10.0, HOT)
        ]
    )


def along_curves(posteriors, rise=0.5):
    """Rows of along.csv of those posteriors' curves, along each of which the training loss rises so far."""
    lines = posteriors[posteriors.space == "line"]
    rows = [
        {"curve": curve, "line": line, "train_loss": factor * rise * arc}
        for curve in lines.curve
        for line, factor in (("straight", 9), ("curve", 1))
        for arc in ARC
    ]
    return pd.DataFrame(rows)


def bands():
    """Rows of bands.csv: wide in the gap between -1 and 1, the tunnel's twice as wide as the line's."""
    rows = []
    for seed in (0, 1):
        for space, width in (("line", 0.1), ("tunnel", 0.2), ("volume", 0.3), ("full", 0.6), ("ensemble", 0.4)):
            for x in np.linspace(-3, 3, 25):
                half = width * (1 + 2 * (abs(x) < 1))
                mean = np.sin(2 * x)
                row = {"part": "toy", "data": "wave", "seed": seed, "k": 2, "space": space, "x": x, "mean": mean}
                rows.append(
                    row
                    | {
                        "low_mean": mean - half,
                        "high_mean": mean + half,
                        "low": mean - half - 0.2,
                        "high": mean + half + 0.2,
                    }
                )
    return pd.DataFrame(rows)
