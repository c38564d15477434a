"""A path study on disk, and reading it back without torch; results are written by the process that runs it alone.

    <save_dir>/manifest.json   settings, origin, what is finished
               *.csv           the tables below; six significant digits, an empty cell for what is not known
               along.csv.bz2, bands.csv.bz2    those that are long, without the columns that another table has
               draws/<task>.npz    of data with one input: some draws of each chain, (chains, draws, d), in the
                               sampler's coordinates: of a tunnel logit t, then xi
               curves/<curve>.npz  control points, (K + 1, D), of curves that are small
               state/          weights, rows and states of what is not finished: not published

Every table begins with the columns

    part, data, activation, layers, hidden_size, seed, k, curve

    seed   of the split, the networks and the chains
    k      control points less one; empty in rows that belong to no curve (solution, ensemble, full, mile)
    curve  the name of the curve, the same in all tables, and that which `StudyResults.path` takes

and ends with `task`, the name of the task that gave the row, the same in `StudyResults.draws`. Between them lie, in

`curves.csv`, a row a curve:
    ends, run_a, run_b     which two networks: "two members" of an ensemble, "two seeds" or "two inits" of a sweep
    parameters             D, all parameters of the network
    length, straight_length   of the curve, and of the straight line between its ends, in weight space
    barrier_straight, barrier_aligned, barrier_curve
                           highest rise of the training loss (nats a sample) above the line between its ends' losses: on
                           the straight line before and after the second end is aligned to the first, and on the curve
    train_loss_a, train_loss_b, train_loss_ends   of both ends, and their mean
    loss_mean_along, loss_max_along, test_loss_mean_along   over equal steps of arc length along the curve
    curvature_mean         mean of the curvature over arc length, times the length: the curve's whole turning, radians
    curvature_max          largest curvature times the length
    turning_per_length     mean of the curvature over arc length, radians per unit of weight space
    roughness              of the training loss on a square of the tunnel, arc length x first normal:
                           `landscapes.shape.roughness`; empty for k = 1
    dead                   whether an end has not learned: of classes less than half the way from guessing to 1 in
                           accuracy, of a regression less than a tenth of the target's variance explained; so is a
                           run of a sweep that diverged, whose row has no numbers
    dead_a, dead_b         the same of each end
    lr, steps, seconds     of training the curve

`along.csv`, a row a point of a line:
    line   "straight" from end to end, "aligned" the same after alignment, "curve"
    arc, t, train_loss, test_loss, train_acc, test_acc    arc is the share of the length, in even steps; accuracies are
                           empty for a regression

`temperatures.csv`, a row a curve and temperature, of the exact posterior of the line:
    temperature, lppd_val, log_evidence
    barrier_nats           how deep the log-likelihood over the temperature falls between its two highest modes on the
                           line; 0 where there is one mode
    chosen                 highest lppd_val; that alone is what the validation rows decide

`posteriors.csv`, a row a posterior:
    space        solution (the first end), ensemble, line (exact), tunnel, volume, full, mile (full space, chains that
                 start at the ensemble's members)
    sampler, temperature   the latter is empty for solution and ensemble
    lppd_val     in nats a row of the validation rows; scores that follow are of the test rows
    lppd, lppd_units       in nats a row, of the standardised target and of the target in its own unit
    rmse, rmse_units       of the posterior mean, in standardised units and in the target's
    accuracy     of the mean probability; empty for a regression, as lppd_units, rmse, rmse_units and diversity_target
                 are for classes
    calibration, diversity, diversity_target    see `helpers.paths.predictions.scores`
    log_evidence, barrier_nats, length      of the line alone, as in temperatures.csv; the curve's length
    r_hat_max, ess_bulk_min, ess_tail_min   over all coordinates; these and what follows up to draws: of chains alone
    r_hat_function, r_hat_function_median   R-hat of the predictions, the largest of all test rows and their median
    divergences, chains, warmup, draws
    members      how many weight vectors were scored
    seconds      with warm-up and compiling
    converged, reason, train_rows, test_rows

`bands.csv`, of data with one input, a row a space and input:
    space, x, mean, low, high, low_mean, high_mean   in the data's units: mean of the prediction; the central 90 % of
                 what may be observed, noise included; the central 90 % of the function alone
"""

import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers import manifests, packed
from helpers.study_tables import StudyError, Tables, read_weights

FIRST = ["part", "data", "activation", "layers", "hidden_size", "seed", "k", "curve"]
TABLES = {
    "curves": [
        *("ends", "run_a", "run_b", "parameters", "length", "straight_length"),
        *("barrier_straight", "barrier_aligned", "barrier_curve", "train_loss_a", "train_loss_b", "train_loss_ends"),
        *("loss_mean_along", "loss_max_along", "test_loss_mean_along"),
        *("curvature_mean", "curvature_max", "turning_per_length", "roughness"),
        *("dead", "dead_a", "dead_b", "lr", "steps", "seconds"),
    ],
    "along": ["line", "arc", "t", "train_loss", "test_loss", "train_acc", "test_acc"],
    "temperatures": ["temperature", "lppd_val", "log_evidence", "barrier_nats", "chosen"],
    "posteriors": [
        *("space", "sampler", "temperature", "lppd_val", "lppd", "rmse", "rmse_units", "accuracy", "calibration"),
        *(
            "diversity",
            "lppd_units",
            "diversity_target",
            "r_hat_function_median",
            "log_evidence",
            "barrier_nats",
            "length",
            "r_hat_max",
            "r_hat_function",
            "ess_bulk_min",
        ),
        *("ess_tail_min", "divergences", "chains", "warmup", "draws", "members", "seconds", "converged", "reason"),
        *("train_rows", "test_rows"),
    ],
    "bands": ["space", "x", "mean", "low", "high", "low_mean", "high_mean"],
}
# tables that are long: kept with their own columns and the task alone; the first columns are those of this other table
LONG = {"along": "curves", "bands": "posteriors"}
TEXTS = ("part", "data", "activation", "curve", "ends", "run_a", "run_b", "line", "space", "sampler", "reason")
FLAGS = ("dead", "dead_a", "dead_b", "chosen", "converged")


@dataclass(frozen=True, eq=False)
class StudyResults:
    """A path study read back from its folder. Each table is a DataFrame, without rows where the parts made none."""

    folder: Path
    manifest: dict
    curves: pd.DataFrame
    along: pd.DataFrame
    temperatures: pd.DataFrame
    posteriors: pd.DataFrame
    bands: pd.DataFrame

    def path(self, curve):
        """The trained curve of this name, a `BezierPath`. Raises StudyError where its control points are not kept."""
        return load_path(self.folder, curve)

    def draws(self, task):
        """{"positions": (chains, draws, d)} of a task of `posteriors`. Raises StudyError where they are not stored."""
        try:
            return _arrays(draws_file(self.folder, task), "positions")
        except FileNotFoundError as error:
            raise StudyError(
                f"there are no draws of {task} in {self.folder / 'draws'}, which keeps those of data with one input"
            ) from error


def draws_file(folder, task):
    return Path(folder) / "draws" / f"{task}.npz"


def curve_file(folder, curve):
    return Path(folder) / "curves" / f"{curve}.npz"


def load_path(folder, curve):
    """A trained curve, a `BezierPath`. Raises StudyError where its control points are not kept."""
    from helpers.paths import BezierPath  # takes torch

    try:
        points = _arrays(curve_file(folder, curve), "control_points")["control_points"]
    except FileNotFoundError:
        points = read_weights(folder, curve)["control_points"]
    return BezierPath(points)


def _arrays(path, needed):
    """{name: array} of a file of arrays. Raises FileNotFoundError; StudyError for a damaged one."""
    import numpy as np

    try:
        with np.load(io.BytesIO(Path(path).read_bytes())) as there:  # which leaves no file open where it fails
            arrays = dict(there)
        return {needed: arrays[needed], **arrays}
    except FileNotFoundError:
        raise
    except (LookupError, NotImplementedError, *packed.DAMAGE) as error:
        raise StudyError(
            f"{path} is damaged ({type(error).__name__}); get it back, or run the study in another save_dir"
        ) from error


LAYOUT = Tables(
    "path study",
    dict.fromkeys(TABLES, FIRST),
    TABLES,
    LONG,
    TEXTS,
    FLAGS,
    kept={"arrays": draws_file, "curves": curve_file},
)
cells, read_rows, read_manifest, damage_of_tables = (
    LAYOUT.cells,
    LAYOUT.read_rows,
    LAYOUT.read_manifest,
    LAYOUT.damage,
)


def load_study(folder):
    """Read a study back. Raises StudyError, DamagedError, one sentence each."""
    manifest, tables = LAYOUT.load(folder)
    return StudyResults(Path(folder), manifest, **tables)


def is_finished(folder):
    """Whether a folder holds a study that can be read and is finished."""
    return manifests.is_finished(load_study, folder)
