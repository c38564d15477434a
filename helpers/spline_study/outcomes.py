"""What the gradient logs of the spline study say: tables, and the two questions it asks, answered in sentences.

1. Does the spline help at initialisation? Theory predicts the gradient of every layer; the logs have it at epoch 0.
2. Was the published gain the accident of a loss that blew up and threw activations into the tails of slope 1? The logs
   have the worst batch of every epoch and the share of pre-activations in the tails of every layer.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from helpers import files, theory, words
from helpers.activations import FAMILIES
from helpers.activations.splines import SMOOTH
from helpers.config import ConfigError, SweepConfig
from helpers.records import halfway
from helpers.spline_study.log import BEYOND, by_name, not_kept, with_parameters
from helpers.sweep.tables import LAST

BLOWN_UP = 100.0  # a batch's loss that many times that of guessing has blown up; relu's ordinary spikes reach some 10
HELPS = 2.0  # a gradient that many times the sigmoid's is called a help
TAKEN_OFF = 1.5  # a run whose training accuracy is at least that many times that of guessing has taken off
# Not "left the plateau", which a run of a sweep has where it comes halfway to 1: these runs seldom get so far.
MEANT = f"training accuracy at least {TAKEN_OFF:g} times that of guessing"


def predicted_gradients(logs, data_of):
    """{experiment: ||dL/dW|| by hidden layer over that of the last one}, by mean-field theory, before training.

    Experiments for which there is no theory, weights being drawn with a mean that is not 0, are left out.

    data_of  (SweepConfig) -> its Data
    """
    found = {}
    for name, (log, *_) in by_name(logs).items():
        config = config_of(log)
        data = data_of(config)
        (profile,) = theory.profiles(config.fitted_to(data), theory.input_moments(data.x_train)).values()
        if profile is not None:
            found[name] = profile.gradient.to_numpy()
    return found


def config_of(log):
    """The SweepConfig of a log's single run."""
    given = {key: value for key, value in log.about["experiment"].items() if key != "clip"}
    activation, init = given["activations"][0], given["init_types"][0]
    given["activation_params"] = {activation: given["activation_params"]} if given["activation_params"] else {}
    given["init_params"] = {init: given["init_params"]}
    return SweepConfig.from_dict(given)


def outcomes_of(logs):
    """What became of each run: a DataFrame, one row a log.

    acc_val     at the end; best, the highest
    left_at     first epoch whose training accuracy is TAKEN_OFF times that of guessing; empty for none
    learned     as everywhere: the final training accuracy lies at least halfway between guessing and 1
    blown_up_at first epoch with a batch whose loss is BLOWN_UP times that of guessing; worst_loss, the largest of all
    tails       share of |z| > 2, mean over hidden layers, at the end of the epoch before left_at, or of the last
    reach       ||dL/dW|| of the first over the last hidden layer: at epoch 0, and in the epoch before left_at
    """
    return pd.DataFrame([_outcome(log) for log in logs])


def _outcome(log):
    epochs, guess = log.epochs, np.log(log.about["classes"])
    worst = _worst_losses(log)
    learned = epochs.acc_train.iloc[-1] >= halfway(1 / log.about["classes"])
    left = _first(epochs.acc_train.iloc[1:] >= TAKEN_OFF / log.about["classes"])
    blown = _first(worst.iloc[1:] > BLOWN_UP * guess)
    before = len(epochs) - 1 if np.isnan(left) else int(left) - 1
    norms = log.gradients("weight", "norm_gradient").to_numpy(float)[:, :-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = norms[:, 0] / norms[:, -1]
    shares = log.signal("share_beyond").mean(axis=1)
    return {
        "experiment": log.name,
        "seed": log.seed,
        "epochs": len(epochs) - 1,
        "acc_val": epochs.acc_val.iloc[-1],
        "best": epochs.acc_val.max(),
        "left_at": left,
        "learned": bool(learned),
        "blown_up_at": blown,
        "worst_loss": worst.iloc[1:].max(),
        "tails": shares.iloc[before],
        "reach_at_birth": reach[0],
        "reach_before": reach[before],
        "diverged": bool(log.about.get("diverged")),
    }


def _worst_losses(log):
    """The largest loss of a batch by epoch; infinite where one was no number."""
    return log.signals.groupby("epoch").worst_loss.first().fillna(np.inf)


def _first(flags):
    hits = flags[flags]
    return float(hits.index[0]) if len(hits) else np.nan


def summary(table):
    """`outcomes_of` by experiment: how many learned and blew up, when, and accuracies as mean and spread."""
    rows = []
    for name, mine in table.groupby("experiment", sort=False):
        rows.append(
            {
                "experiment": name,
                "seeds": len(mine),
                "epochs": mine.epochs.max(),
                "left": int(mine.left_at.notna().sum()),
                "left_at": words.span(mine.left_at, ".0f"),
                "learned": int(mine.learned.sum()),
                "blown_up": int(mine.blown_up_at.notna().sum()),
                "blown_up_at": words.span(mine.blown_up_at, ".0f"),
                "acc_val": words.mean_of(mine.acc_val),
                "reach_at_birth": f"{10 ** np.log10(mine.reach_at_birth.clip(lower=1e-300)).mean():.1e}",
            }
        )
    return pd.DataFrame(rows).set_index("experiment")


def epochs_of(logs):
    """All epochs of all logs: a DataFrame, one row an epoch, with what the signals have on the worst layer."""
    tables = []
    for log in logs:
        signals = log.signals.groupby("epoch").agg(
            {"share_beyond": "mean", "worst_loss": "first", "worst_norm": "first"}
        )
        table = log.epochs.join(signals).reset_index()
        tables.append(table.assign(experiment=log.name, seed=log.seed))
    found = pd.concat(tables, ignore_index=True)
    return found[["experiment", "seed", *(column for column in found if column not in ("experiment", "seed"))]]


def write(logs, folder):
    """Write outcomes.csv and epochs.csv of some logs, whole. Returns the outcomes.

    Their rows of experiments below the folder whose own rows were not kept stay as they are: nothing else has them.
    """
    if not logs:
        raise ConfigError(f"no log of an experiment in {folder} can be read: there is nothing to compare")
    table = outcomes_of(logs)
    for name, found in (("outcomes.csv", table), ("epochs.csv", epochs_of(logs))):
        path = Path(folder) / name
        header, *lines = found.to_csv(index=False, float_format="%.6g").splitlines()
        before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if before[:1] == [header]:
            gone = {(about["name"], str(about["seed"])) for about in not_kept(folder)}
            lines += [line for line in before[1:] if tuple(line.split(",")[:2]) in gone]
        lines.sort(key=lambda line: "_s".join(line.split(",")[:2]))  # by folder, as logs are found
        files.write_whole(path, "".join(f"{line}\n" for line in [header, *lines]))
    return table


def activations_of(experiments):
    """{name: its row} of all activations in some experiments."""
    return {e.run.activation: e.config.activation(e.run.activation) for e in experiments}


def is_sigmoid_like(log):
    """Whether a log is of the sigmoid, of a fixed spline, or of a learnable one that starts uncorrected."""
    given = log.about["experiment"]
    params = given["activation_params"]
    family = params.get("activation", given["activations"][0])
    return family in ("sigmoid", "spline_sigmoid") or (
        family == "learnable_spline" and params["base"] in ("sigmoid", "spline_sigmoid") and not params["calibrated"]
    )


def is_published_spline(log):
    """Whether a log is of the spline as published: two segments, limit 2, tails of slope 1."""
    given = log.about["experiment"]
    params = {key: value for key, value in given["activation_params"].items() if key != "activation"}
    family = given["activation_params"].get("activation", given["activations"][0])
    return family == "spline_sigmoid" and params == FAMILIES["spline_sigmoid"].defaults


# ---- the two questions


def does_it_help(logs):
    """Question 1: whether the spline helps at initialisation; an empty text where it cannot be answered."""
    sigmoid = [first_over_last(log) for log in logs if log.about["experiment"]["activations"] == ["sigmoid"]]
    spline = np.array([first_over_last(log) for log in logs if is_published_spline(log)])
    if len(sigmoid) == 0 or len(spline) == 0:
        return ""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = spline / np.median(sigmoid)
    helped = ratio > HELPS
    verdict = "helps" if helped.all() else "helps some seeds" if helped.any() else "does not help"
    return (
        f"Of the last hidden layer's gradient {np.median(ratio):.2g} times as much reaches the first one with the "
        f"published spline as with the sigmoid ({ratio.min():.2g} to {ratio.max():.2g} in {len(ratio)} runs): at "
        f"initialisation the spline {verdict}."
    )


def first_over_last(log):
    """||dL/dW|| of the first hidden layer over that of the last, before training."""
    norms = log.gradients("weight", "norm_gradient").iloc[0].to_numpy(float)[:-1]
    return norms[0] / norms[-1]


def takeoffs_in_words(logs):
    """What became of the published spline, and of the runs that differ from it in clipping or tails alone."""
    parts = []
    for name, mine in by_name(_published(logs)).items():
        parts.append(_fate(name, mine))
        parts += [_fate(f"the same {_difference(kin[0])} ({other})", kin) for other, kin in _kin(logs, mine).items()]
    if not parts:
        return "None of these logs is of the published spline without clipping."
    return f"{'; '.join(parts)}. Took off: {MEANT}."


def _kin(logs, mine):
    """{experiment: its logs} of those that differ from some of one experiment in clipping or tails alone."""
    return by_name([log for log in logs if _setting(log) == _setting(mine[0]) and _difference(log)])


def was_it_an_accident(logs):
    """Question 2: whether the published spline took off by a blow-up; empty where it cannot be answered.

    That a blow-up came before is no proof where all runs blow up. Fisher's exact test (two-sided) says how surely two
    shares differ: of runs that took off, among those that blew up and those that did not, and with and without
    clipping or smooth tails.
    """
    table = outcomes_of(_published(logs))
    if len(table) == 0:
        return ""
    left, blown = table[table.left_at.notna()], table[table.blown_up_at.notna()]
    after = (left.blown_up_at <= left.left_at).sum()
    text = f"Of {len(table)} runs of the published spline {len(left)} took off, {table.learned.sum()} learned"
    if len(left) == 0:
        return f"{text}: there is no gain here to explain."
    verdict = "compatible with an accident" if after else "no accident"
    verdict = f"at times {verdict}" if 0 < after < len(left) else verdict
    found = [
        f"{text}; of those that took off ({MEANT}), {after} had seen their loss blow up before: the gain is {verdict}.",
        f"{len(blown) - blown.left_at.notna().sum()} blew up and have not taken off.",
    ]
    if len(blown) == len(table):
        found += [f"All {len(table)} blew up, so that a blow-up came before proves little."]
    else:
        calm = table[table.blown_up_at.isna()]
        found += [f"Of those that blew up {_left(blown)} took off, of the others {_left(calm)} ({_p(blown, calm)})."]
    return " ".join([*found, *_beside_kin(logs)])


def _beside_kin(logs):
    for name, mine in by_name(_published(logs)).items():
        own = outcomes_of(mine)
        others = [(_difference(kin[0]), outcomes_of(kin)) for kin in _kin(logs, mine).values()]
        if others:
            parts = [f"{_left(other)} {difference} ({_p(own, other)})" for difference, other in others]
            yield f"Of {name} {_left(own)} took off; of the same {words.listed(parts)}."


def _left(table):
    return words.share(table.left_at.notna())


def _p(some, others):
    """ "p = 0.17": how surely the shares of two groups of runs that took off differ, by Fisher's exact test."""
    counts = [[rows.left_at.notna().sum(), rows.left_at.isna().sum()] for rows in (some, others)]
    return f"Fisher p = {words.number(fisher_exact(counts).pvalue, '.2g')}"


def _published(logs):
    return [log for log in logs if is_published_spline(log) and log.about["experiment"]["clip"] is None]


def _setting(log):
    """What runs of a spline have in common that differ in seed, clipping and tails alone; None for others."""
    given = with_parameters(log.about["experiment"])
    family = given["activation_params"].get("activation", given["activations"][0])
    if family != "spline_sigmoid":
        return None
    shape = {key: given["activation_params"][key] for key in ("segments", "limit")}
    own = ("activations", "activation_params", "seeds", "clip")
    return {**{key: value for key, value in given.items() if key not in own}, **shape}


def _difference(log):
    given = log.about["experiment"]
    slope = given["activation_params"]["tail_slope"]
    parts = ["with smooth tails" if slope == SMOOTH else f"with tails of slope {slope:g}"] if slope != 1 else []
    parts += ["with clipped gradients"] if given["clip"] is not None else []
    return words.listed(parts)


def _fate(name, mine):
    table = outcomes_of(mine)
    blown, left = table[table.blown_up_at.notna()], table[table.left_at.notna()]
    text = f"{name}: in {len(blown)} of {len(table)} runs a batch's loss rose above {BLOWN_UP:g} times that of guessing"
    if len(blown):
        losses = words.span(blown.worst_loss, ".1e")
        text += f" (epoch {words.span(blown.blown_up_at, '.0f')}; the largest {losses})"
    text += f", {len(left)} took off"
    late = (left.left_at - left.blown_up_at).dropna()
    late = late[late >= 0]
    return text + (f" (after {words.span(late, '.0f')} more)" if len(late) else "") + f", {table.learned.sum()} learned"


def tails_in_words(logs):
    """How the share in the tails changes across a blow-up of the published spline."""
    pairs = [_tails_across(log) for log in _published(logs)]
    pairs = np.array([pair for pair in pairs if pair is not None])
    if len(pairs) == 0:
        return "No loss of the published spline without clipping blew up in these runs."
    before, behind = np.median(pairs, axis=0)
    return (
        f"The published spline's loss blew up in {len(pairs)} of its runs without clipping. Of all pre-activations in "
        f"hidden layers {before:.2%} lie beyond +-{BEYOND:g} two epochs before, and up to {behind:.0%} in the three "
        "epochs around it (medians)."
    )


def _tails_across(log):
    """Share in the tails of all hidden layers: two epochs before the blow-up, and most around it; None without one."""
    blown = _first(_worst_losses(log).iloc[1:] > BLOWN_UP * np.log(log.about["classes"]))
    if np.isnan(blown):
        return None
    shares, at = log.signal("share_beyond").mean(axis=1).to_numpy(float), int(blown)
    return shares[max(0, at - 2)], np.nanmax(shares[max(0, at - 1) : at + 2])


def verdicts(logs):
    """The two answers, and what the corrected activations do beside the spline: sentences."""
    others = by_name([log for log in logs if not is_sigmoid_like(log)])
    beside = []
    for name, mine in others.items():
        (row,) = summary(outcomes_of(mine)).itertuples()
        rate = mine[0].about["experiment"]["lr"]
        beside += [f"{name} (lr {rate:g}) learned in {row.learned} of {row.seeds}, {row.acc_val}{_within(mine)}"]
    found = [does_it_help(logs), was_it_an_accident(logs), takeoffs_in_words(logs), tails_in_words(logs)]
    found += [f"Beside it, validation accuracy at the last epoch: {'; '.join(beside)}."] if beside else []
    return [sentence for sentence in found if sentence]


def _within(logs):
    """Between what the validation accuracy moves at the end of some runs, in words that follow the last one."""
    epochs = min(LAST, min(len(log.epochs) - 1 for log in logs) // 2)
    found = np.concatenate([log.epochs.acc_val.to_numpy(float)[-epochs:] for log in logs]) if epochs > 1 else []
    return f" ({words.span(found, '.3f')} over the last {epochs})" if np.isfinite(found).any() else ""
