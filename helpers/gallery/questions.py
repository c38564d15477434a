"""The question of each study and its answer, computed from what lies in the study's folder.

The one home of both: the gallery, the README's table and the page of results read them here. Where a manifest has a
longer question or answer, the gallery shows that as well.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from helpers import words
from helpers.gallery import found
from helpers.gallery.damage import match
from helpers.gallery.markdown import plain
from helpers.gallery.pictures import sentence_of
from helpers.sweep.tables import trainable_depth

LARGELY = 0.9  # of all runs, from which on a rule that calls them right is largely right


@dataclass(frozen=True)
class Question:
    """What a study asks.

    title     the question, as short as it goes
    answer    (study) -> (at most 15 words, for a table; a sentence or two with their numbers)
    notebook  where it is worked out, from the repository's root
    pictures  names without ending (or with it) of those that tell most, the most telling first
    """

    title: str
    answer: Callable
    notebook: str
    pictures: tuple = ()


def _yes(flags):
    """ "Yes" where all are true, "No" where none is, else "In part"."""
    return "Yes" if all(flags) else "In part" if any(flags) else "No"


def answer_of(study):
    """(short, long) answers to a study's question; two empty texts for a study that is not among QUESTIONS."""
    return QUESTIONS[study.name].answer(study) if study.name in QUESTIONS else ("", "")


# ---- sweeps of activation, init and depth


def _reach(study):
    """How deep each activation trains."""
    results = next(iter(study.sweeps.values()))
    depths, deepest = trainable_depth(results), max(results.config["layers_list"])
    reached = depths.max(axis=1).sort_values(ascending=False, kind="stable")
    short = ", ".join(f"{name} {depth or 'none'}" for name, depth in reached.items())
    parts = [
        f"{name} down to {depth} layers with {words.names(depths.columns[depths.loc[name] == depth])}"
        if depth
        else f"{name} at no depth and with no init"
        for name, depth in reached.items()
    ]
    rates = words.listed(f"{rate:g}" for rate in results.lrs)
    return f"Layers at lr {rates}, every seed: {short}", (
        f"Of {len(reached)} activations and {len(depths.columns)} inits, at depths up to {deepest}, lr {rates} and "
        f"{results.config['num_epochs']} epochs, these learned with every seed: {'; '.join(parts)}. Other learning "
        f"rates and epochs reach other depths."
    )


def _critical(study):
    """What `critical` trains at the largest depth where no published init does."""
    own, others, said = [], [], []
    for results in study.sweeps.values():
        deepest = max(results.config["layers_list"])
        rows = results.select(activation="gelu", layers=deepest)
        ours = rows[rows.init == "critical"]
        own, others = [*own, *ours.learned], [*others, *rows.learned[rows.init != "critical"]]
        accuracy = words.mean_of(ours.final_test_acc, ".2f")
        said.append(f"{words.share(ours.learned)} seeds on {data_name(results)} (test accuracy {accuracy})")
    rates = words.listed(f"{rate:g}" for rate in sorted({lr for own in study.sweeps.values() for lr in own.lrs}))
    short = f"{_yes(own)} at lr {rates}: {words.share(own)} learned; with the published inits {words.share(others)}"
    return short, (
        f"{_yes(own)}: at lr {rates}, with the init critical, gelu learns at {deepest} layers with "
        f"{words.listed(said)}. With the published inits {words.share(others)} runs learned."
    )


# ---- theory, and single questions about a sweep


def _signal(study):
    from helpers.theory.limits import outlook  # torch, which only this answer needs

    calls, runs = _csv(study, "calls.csv"), _csv(study, "prescriptions/runs.csv")
    rule = calls[(calls.rule == "fitted elsewhere") & (calls.set != "mnist, 10 epochs")]  # once, not at two epochs
    right, of = (pd.to_numeric(rule[name]).sum() for name in ("right", "of"))
    learned = {name: own == "True" for name, own in runs.groupby("competitor").learned}
    ours, adam = learned["prescription"], learned["default_adam"]
    verdict = "Largely" if right >= LARGELY * of else "In part"
    new = pd.read_csv(study.folder / "elsewhere.csv")
    called = (outlook(new.assign(momentum=0.0)).probability >= 0.5) == new.left_plateau.notna()
    short = (
        f"{verdict}: theory calls {right / of:.0%} of runs right, {called.mean():.0%} elsewhere; prescriptions trained "
        f"{words.share(ours)}"
    )
    return short, (
        f"{verdict}: a rule made of theory's numbers calls {right:,.0f} of {of:,.0f} runs right ({right / of:.1%}), in "
        f"sweeps that were there when its form was chosen, and {called.sum():,} of {len(called):,} on other data "
        f"({called.mean():.1%}). "
        f"Turned around, it prescribes an init and a learning rate: {words.share(ours)} networks trained at the first "
        f"try, and {words.share(adam)} with PyTorch's default init and Adam."
    )


def _he_factor(study):
    from helpers.he_factor import fastest, runs_by_factor, verdict  # matplotlib, which only this answer needs

    results = study.sweeps[study.name]
    runs = runs_by_factor(results)
    best = [
        f"{' or '.join(f'{factor:g}' for factor in fastest(own))} at {layers} layers"
        for layers, own in runs.groupby("layers")
    ]
    short = f"Factor {'; '.join(best)}"
    return short, " ".join(verdict(runs))


def _sigmoid(study):
    runs = next(csv for csv in study.csvs.values() if "left" in csv)
    runs = runs.assign(**{name: pd.to_numeric(runs[name]) for name in ("left", "lr", "final_test_acc")})
    said = []
    for rate, own in runs.groupby("lr"):
        left = own[own.left.notna()]
        when = f", after {words.span(left.left, '.0f')} epochs" if len(left) else ""
        said.append(
            f"at lr {rate:g} {len(left)} of {len(own)} inits leave the plateau{when} (best test accuracy "
            f"{own.final_test_acc.max():.3f})"
        )
    seeds, verdict = words.counted(runs.seed.nunique(), "seed"), "Yes" if runs.left.notna().any() else "No"
    first = f", the first after {left.left.min():.0f} epochs" if len(left) else ""
    short = f"{verdict}: {len(left)} of {len(own)} inits at lr {rate:g}{first}"
    return short, f"{verdict} ({seeds}): {'; '.join(said)}."


def _splines(study):
    runs = _csv(study, "digits/outcomes.csv")
    learned = runs.learned == "True"
    names = (
        ("spline", "spline_control"),
        ("centred_sigmoid", "centred_slow"),
        ("calibrated_sigmoid",),
        ("calibrated_sigmoid_slow",),
    )
    published, centred, calibrated, slow = (learned[runs.experiment.isin(those)] for those in names)
    deep = trainable_depth(study.sweeps["fifty_layers"])
    deepest = max(study.sweeps["fifty_layers"].config["layers_list"])
    inits = {name: words.share(row == deepest) for name, row in deep.iterrows()}
    verdict, of = _yes(published), words.share(published)
    short = f"{verdict} ({of} learned); centred sigmoids of slope 1 did in {words.share(centred)}"
    return short, (
        f"{verdict}: the published spline learned in {of} runs. Of affine corrections, sigmoids centred at 0 with "
        f"slope 1 learned in {words.share(centred)}, those calibrated to chi1 = 1 in {words.share(calibrated)} and, at "
        f"the spline's learning rate, in {words.share(slow)}. At {deepest} layers the calibrated sigmoid learned with "
        f"every seed with {inits['calibrated_sigmoid']} inits, the plain one with {inits['sigmoid']}."
    )


def _scale(study):
    (path,) = (path for path in study.pictures if path.stem == "against_networks")
    said = sentence_of(path)
    machines, hours = match(r"networks.* on (\d+) machines.* training takes ([\d.]+)", said).groups()
    wall = match(r"first wall is the ([\w ]+?):", said)[1]
    grown = match(r"from ([\d,]+) networks on", said)[1]
    files, again = match(r"writing their CSVs ([\d.,]+), and all that is written again .*? ([\d.,]+)\.", said).groups()
    return f"Training: {hours} hours on {machines} machines; the first wall is the {wall}", (
        f"Training takes {float(hours) * int(machines):,.0f} hours of two cores, or {hours} hours on {machines} such "
        f"machines, and writing their CSVs {files}. The first wall is the {wall}: from {grown} networks on, rewriting "
        f"it at every stack takes longer than training, and for all of them what is written again takes {again} hours."
    )


# ---- studies with several questions


def _landscapes(study):
    answers = _csv(study, "answers.csv")
    training = answers[answers.question == "What does training change?"]
    deeper, sharper, said = [], [], []
    for row in training.itertuples():
        loss, sharpness = ([*_values(row.answer, what).values()] for what in ("Centre loss", "Sharpness"))
        deeper, sharper = [*deeper, loss[-1] < loss[0]], [*sharper, sharpness[-1] > sharpness[0]]
        said.append(f"{row.data} {loss[0]:.3g} to {loss[-1]:.3g} and {sharpness[0]:.2g} to {sharpness[-1]:.2g}")
    rough = found.roughness(found.measures_of(study))
    short = f"Training deepens the basin on {words.share(deeper)} data sets, and sharpens it on {sum(sharper)}"
    return short, (
        f"Training deepens the basin on {words.share(deeper)} data sets and sharpens it on {words.share(sharper)} "
        f"(loss at the centre, and sharpness, before and after, means over seeds: {'; '.join(said)}). "
        f"{_smoother(rough)}: {found.rougher(rough)}."
    )


def _smoother(rough):
    """Whether smooth activations make smooth surfaces, of `found.roughness`."""
    by_network = {}
    for network, smooth, kinked in rough.values():
        by_network.setdefault(network, set()).add(smooth.mean() > kinked.mean())
    if (everywhere := set.union(*by_network.values())) != {True, False}:
        return f"A smooth activation makes {'no smooth' if everywhere == {True} else 'a smoother'} surface"
    on = "network" if all(len(flags) == 1 for flags in by_network.values()) else "data set"
    return f"Whether a smooth activation makes a smoother surface depends on the {on}"


def _values(answer, what):
    """{where: mean} of a computed sentence such as "Roughness: 0.27 +- 0.03 (init zero), 0.3 (init normal)."."""
    text = match(rf"{what}: (.*?)\.(?= |$)", answer)[1]
    return {where: float(value) for value, where in re.findall(r"(-?[\d.e+-]+)(?: \+- [\d.e+-]+)? \(([^)]+)\)", text)}


def _paths(study):
    curves = _csv(study, "uci/curves.csv")
    straight, bent = (pd.to_numeric(curves[name]) for name in ("barrier_straight", "barrier_curve"))
    answers = _csv(study, "answers.csv")
    (counted,) = answers.answer[
        (answers.question == "Does the tunnel beat the exact line?") & answers.data.str.contains("airfoil")
    ]
    of, above, below = map(
        int, match(r"Of (\d+) comparisons.*?above that of the line in (\d+), below it in (\d+)", counted).groups()
    )
    verdict = {"Yes": "Curves do", "In part": "Curves do in part", "No": "Curves do not"}[_yes(bent < straight)]
    short = f"{verdict} ({words.share(bent < straight)}); a tunnel helps in {above} of {of}, hurts in {below}"
    return short, (
        f"{verdict}: on the UCI tables the barrier along the curve is below that along the straight line for "
        f"{words.share(bent < straight)} curves (medians {bent.median():.2g} and {straight.median():.3g} nats a row). "
        f"With width, in {of} comparisons a tunnel predicts better than the exact line in {above}, worse in "
        f"{below}, and no difference shows in {of - above - below} (95% confidence)."
    )


def _stitching(study):
    said = study.manifest["answer"]
    number = r"(-?[\d.]+) \([^)]*\)"
    (times,) = match(rf"Autoencoders.*?: {number} times B's own error", said).groups()
    (lost,) = match(rf"Classifiers.*?: {number} of accuracy lost", said).groups()
    within = re.findall(rf"within classes {number}, by noise that carries only the label {number}", said)
    more, points = 100 * (float(times) - 1), 100 * float(lost)
    verdict = "Nearly" if points < 1 else "In part"
    short = f"{verdict}: an affine map costs {more:.0f}% more error, {points:.1f} points of accuracy"
    shares = " and ".join(f"{share} against {noise}" for share, noise in within)
    return short, (
        f"{verdict}, of two seeds: behind an affine map an autoencoder has {more:.0f}% more error than by itself, and "
        f"a classifier loses {points:.1f} points of accuracy (mean over the layers at which it is cut). Accuracy alone "
        f"proves little; within classes the map explains a share of B's features (R^2), against that of noise with the "
        f"same labels: {shares}."
    )


def _bench(study):
    return speed(study.folder)


def speed(folder):
    """The answers of the bench, from its folder."""
    ratios = {}
    for path in sorted(folder.glob("*/stack.csv")):
        table = pd.read_csv(path).set_index("way")
        ratios[path.parent.name] = table.get("times_faster_than_loop", pd.Series()).get("stack")
    if not {"amd_epyc", "nvidia_h100"} <= ratios.keys():
        return "", ""
    short = f"The usual loop takes {words.span(ratios['amd_epyc'], '.1f')} times as long on two cores"
    return short, (
        f"{short} (AMD EPYC), and {words.span(ratios['nvidia_h100'], '.0f')} times on an NVIDIA H100, where it trains "
        "one network at a time and the stack hundreds."
    )


def minutes(study, bench):
    """ "3; 16 for 576 networks": what a study takes with its notebook's settings, and for what is published.

    The first on two cores (AMD EPYC), from the bench's folder; the second from the published sweeps, where they say so.
    """
    table = pd.read_csv(bench / "amd_epyc" / "minutes.csv") if bench else pd.DataFrame(columns=["study", "minutes"])
    as_it_comes = [words.number(own, ".2g") for own in table[table.study == study.name].minutes]
    sweeps, networks = study.sweeps.values(), sum(len(results.summary) for results in study.sweeps.values())
    took = sum(map(_seconds, sweeps)) / 60
    devices = {results.manifest.get("device", "cpu") for results in sweeps}
    on = "" if devices <= {"cpu"} else f" on {plain(words.listed(sorted(devices)))}"
    published = [f"{took:.0f}{on}" + (f" for {networks:,} networks" if as_it_comes else "")]
    return "; ".join(as_it_comes + (published if took > 2 else []))


def _seconds(results):
    """How long a sweep took: its clock, or, of one that was resumed by an older version, what its runs took.

    A run's seconds are its share of its stack's, and each core trains a stack.
    """
    machine = re.search(r"(\d+) cores", results.manifest.get("machine", ""))
    cores = int(machine[1]) if machine else 1
    return max(results.manifest.get("seconds") or 0, results.summary.seconds.sum() / cores)


def _csv(study, name):
    """One of a study's CSVs, as texts."""
    return study.csvs[study.folder / name]


# ---- data sets in words

DATA = {
    "digits": "handwritten digits",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "uci": "UCI tables",
}


def data_name(results):
    """The data set of a sweep in words."""
    return DATA.get(results.config["dataset"], results.config["dataset"])


# of a sweep of activations, inits and depths, as run.ipynb draws them
SWEEP = (
    "accuracy_map",
    "accuracy_against_depth",
    "inits_tanh",
    "inits_gelu",
    "activations_he_normal",
    "activations_orthogonal",
    "layer_statistics_tanh",
    "signal_at_birth",
    "gradient_norms_tanh",
    "gradient_norms_gelu",
    "epochs_to_95",
    "calibration",
)
FIFTY = ("accuracy_map", "accuracy_against_depth")
# in the order of the overview
QUESTIONS = {
    "digits": Question("How deep can a network train on handwritten digits?", _reach, "run.ipynb", SWEEP),
    "mnist": Question("How deep can a network train on MNIST?", _reach, "run.ipynb", SWEEP),
    "critical": Question(
        "Can an init made from theory train 50 layers of gelu?",
        _critical,
        "run.ipynb",
        ("accuracy_map", "inits_gelu", "activations_critical", "layer_statistics_gelu", "gradient_norms_gelu"),
    ),
    "signal": Question(
        "Can one know before the first step whether a network will train?",
        _signal,
        "notebooks/signal.ipynb",
        ("plane", "depth_map", "profiles"),
    ),
    "he_factor": Question(
        "Which factor of He's initialisation trains a relu network fastest?",
        _he_factor,
        "notebooks/he_factor.ipynb",
        ("effect_of_the_factor",),
    ),
    "sigmoid": Question(
        "Can a sigmoid network of 5 layers learn, given 500 epochs and large learning rates?",
        _sigmoid,
        "sigmoid/sigmoid.ipynb",
        ("accuracy_map",),
    ),
    "splines": Question(
        "Does a spline mend a deep sigmoid network?",
        _splines,
        "notebooks/splines.ipynb",
        (*FIFTY, "gradients_at_birth", "takeoffs", "tail_maps", "learning_curves", "activations"),
    ),
    "landscapes": Question(
        "What does the loss look like around a network?",
        _landscapes,
        "notebooks/landscapes.ipynb",
        ("progress.png", "activations", "zoom"),
    ),
    "paths": Question(
        "Do curves join trained networks, and does width around a curve help?",
        _paths,
        "notebooks/paths.ipynb",
        ("scores_lppd",),
    ),
    "stitching": Question(
        "Have two networks learned the same thing?",
        _stitching,
        "notebooks/stitching.ipynb",
        (
            "controls",
            "mse_stitched_num_samples",
            "images",
            "accuracy",
            "matrix",
            "layers_ten_10",
            "by_layer_ten_10",
            "architectures",
            "differ",
        ),
    ),
    "scale": Question(
        "What does a sweep of ten million networks need?",
        _scale,
        "notebooks/scale.ipynb",
        ("against_networks",),
    ),
    "bench": Question("How fast is the stack?", _bench, ""),
}
