"""What the studies of landscapes, curves, stitching and splines found, for docs/found.md: Markdown bullets.

Each section takes a study as `studies.read_study` gives it and computes its bullets from the tables in its folder: a
number, its spread, how many, and what was expected. How something came out is said by its number, or by a word that is
chosen by it: other results make other sentences, but none that is untrue. Minor numbers stay on the study's own page.
What has no table (surfaces, classes of images) is taken from sentences that the study computed, in answers.csv.
"""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd

from helpers import words
from helpers.gallery.damage import match, read_table
from helpers.gallery.markdown import bracketed, bullets
from helpers.gallery.pictures import sentence_of


def _answer(study, question, data=""):
    """The computed answer to one of a study's questions; of the data set whose name begins so."""
    table = read_table(study.folder / "answers.csv")
    (said,) = table.answer[(table.question == question) & table.data.str.startswith(data)]
    return said


def _numbers(pattern, texts):
    """All numbers that a pattern's group finds in some texts. Raises ValueError where it finds none."""
    found = [float(found) for text in texts for found in re.findall(pattern, text)]
    if not found:
        raise ValueError(f"no text has a number as looked for by {pattern!r}")
    return found


# ---- landscapes

LANDSCAPES = {"cifar10": "CIFAR-10", "digits": "digits", "fashion_mnist": "Fashion-MNIST", "mnist": "MNIST"}
WITHOUT_SHORTCUTS, WITH_SHORTCUTS = "vgg11", "resnet14"


def landscapes(study):
    measures = measures_of(study)
    return bullets(
        [
            _training(measures),
            _smooth(measures),
            _shortcuts(measures),
            _zoom(study),
            _layers_and_paths(study, measures),
            _trust(measures),
        ]
    )


def measures_of(study):
    """{data set: its measures} of the study of landscapes."""
    paths = {name: study.folder / name / "measures.csv" for name in LANDSCAPES}
    return {name: read_table(path, texts=["layers"]) for name, path in paths.items()}  # some have no layers


def _seeds(table, number, **chosen):
    """The mean of a number over planes and batches, a value a seed: of random planes of relu after training.

    chosen  settings that differ from these; the network is otherwise the study's main one
    """
    from helpers.landscape_study import answers  # matplotlib, which only the sections of this page need

    chosen = {"kind": "random", "activation": "relu", "epoch": table.epoch.max(), **chosen}
    chosen.setdefault("network", answers.main_network(table))
    for column, value in chosen.items():
        table = table[table[column] == value]
    return table.replace([np.inf, -np.inf], np.nan).groupby("seed")[number].mean()


def _training(measures):
    deeper, sharper = (
        [sign * (_seeds(of, number).mean() - _seeds(of, number, epoch=0).mean()) > 0 for of in measures.values()]
        for number, sign in (("centre_loss", -1), ("sharpness", 1))
    )
    one, last = measures["cifar10"], measures["cifar10"].epoch.max()
    loss, sharpness = (
        " to ".join(words.mean_of(_seeds(one, number, epoch=epoch), form) for epoch in (0, last))
        for number, form in (("centre_loss", ".3g"), ("sharpness", ".2g"))
    )
    return (
        f"**Training** makes the basin deeper on {words.share(deeper)} data sets and sharper on "
        f"{words.share(sharper)}. For resnet14 with relu on CIFAR-10 the loss at the centre goes from {loss} in {last} "
        f"epochs, and sharpness from {sharpness}."
    )


SMOOTH, KINKED = "tanh", "relu"


def roughness(measures):
    """{data set: (network, values a seed of tanh, of relu)} of the network that the study looks at there."""
    from helpers.landscape_study.answers import main_network

    return {
        name: (main_network(of), *(_seeds(of, "roughness", activation=activation) for activation in (SMOOTH, KINKED)))
        for name, of in measures.items()
    }


def rougher(rough):
    """How often the smooth activation's surface is the rougher one, by network: in words, without a full stop."""
    by_network = {}
    for network, smooth, kinked in rough.values():
        by_network.setdefault(network, []).append(smooth.mean() > kinked.mean())
    counts = [f"{words.share(flags)} data sets around {network}" for network, flags in by_network.items()]
    return f"{SMOOTH}'s is rougher than {KINKED}'s on {words.listed(counts)}"


def _smooth(measures):
    rough = roughness(measures)
    parts = [
        f"{words.mean_of(smooth, '.2f')} against {words.mean_of(kinked, '.2f')} on {LANDSCAPES[name]} ({network})"
        for name, (network, smooth, kinked) in rough.items()
    ]
    return f"**Smooth activations** were expected to make smooth surfaces; {rougher(rough)}: {'; '.join(parts)}."


def _shortcuts(measures):
    both = {
        name: [_seeds(of, "roughness", network=network) for network in (WITHOUT_SHORTCUTS, WITH_SHORTCUTS)]
        for name, of in measures.items()
    }
    apart = [
        f"{LANDSCAPES[name]}, {words.mean_of(plain)} against {words.mean_of(residual)}"
        for name, (plain, residual) in both.items()
        if abs(plain.mean() - residual.mean()) > plain.std() + residual.std()
    ]
    return (
        "**Shortcuts** were expected to make surfaces smoother. VGG11, which has none, and resnet14 differ in "
        f"roughness by more than both deviations together on {len(apart)} of {len(both)} data sets{bracketed(apart)}."
    )


def _zoom(study):
    said = [_answer(study, "Is it noise, seen from 100 times closer?", label) for label in LANDSCAPES.values()]
    off, on = (
        np.multiply(100, _numbers(rf"vgg11, dropout {which}: .*? leaves ([\d.e-]+) of", said))
        for which in ("off", "on")
    )
    return (
        f"**Seen from 100 times closer**, a quadratic function leaves {words.span(off, '.1g')} % of the variance of "
        f"VGG11's surface unexplained, and {words.span(on, '.0f')} % with dropout left on. Of a smooth surface it "
        "leaves next to nothing, of noise nearly all."
    )


def _layers_and_paths(study, measures):
    convex = [_seeds(of, "convex_share", kind="last_layer").eq(1).all() for of in measures.values()]
    said = [_answer(study, "Does a training path lie in its plane?", label) for label in LANDSCAPES.values()]
    factor = max(_numbers(r"by a factor of up to ([\d.]+)\.", said))
    return (
        f"**The last layer alone** is a convex bowl on {words.share(convex)} data sets. The losses that the plane of a "
        f"**training path** shows differ from the true ones by a factor of up to {factor:.2g}."
    )


def _trust(measures):
    from helpers.landscape_study.findings import spreads

    numbers = ["roughness", "sharpness"]
    spread = pd.concat([spreads(of, numbers, kind="random") for of in measures.values()])
    roughness, sharpness = (words.span(100 * spread["over seeds"][number], ".0f") for number in numbers)
    planes = words.span(spread["over pairs"] / spread["over seeds"], ".1f")
    return (
        f"**How far one picture can be trusted**: over seeds roughness varies by {roughness} % and sharpness by "
        f"{sharpness} %, over planes {planes} times as much. Relu networks that compute one function have different "
        "pictures, so sharpness is no property of the function."
    )


# ---- curves


def curves(study):
    own, sweep, uci = (read_table(study.folder / name / "curves.csv") for name in ("curves", "sweep", "uci"))
    return bullets(
        [
            _barriers(own[(own.part == "lengths") & (own.layers == 3)], uci),
            _lengths(own[own.part == "lengths"]),
            _roughness(own[own.part == "activations"]),
            *_width(read_table(study.folder / "uci" / "posteriors.csv")),
            _temperature(read_table(study.folder / "uci" / "temperatures.csv")),
            _images(read_table(study.folder / "mnist" / "posteriors.csv")),
            _joined(sweep[~sweep.dead_a & ~sweep.dead_b]),
        ]
    )


def _barriers(diabetes, uci):
    from helpers.path_study.rows import of_seeds

    straight, aligned = (
        words.mean_of(of_seeds(diabetes, f"barrier_{line}"), ".3g") for line in ("straight", "aligned")
    )
    curve = words.mean_of(of_seeds(diabetes[diabetes.k == 3], "barrier_curve"), ".3g")
    lower = words.share(uci.barrier_curve < uci.barrier_straight)
    return (
        f"**Barriers** on the diabetes table (relu, 3 hidden layers of 16, {diabetes.seed.nunique()} seeds), in nats a "
        f"training row: {straight} along the straight line, {aligned} after alignment and {curve} along a curve of "
        f"K = 3. On the UCI tables the curve's barrier is the lower one in {lower} pairs."
    )


def _lengths(table):
    from helpers.path_study.findings import EARLIER_SLOPES, slopes

    parts = [f"{words.mean_of(of.slope, '.2f')} at {layers}" for layers, of in slopes(table).items()]
    earlier = words.span([EARLIER_SLOPES[layers] for layers in slopes(table)], ".2g")
    return (
        f"**Length** goes with K to a power of {words.listed(parts)} layers. The earlier study has {earlier}, which "
        "was expected here."
    )


def _roughness(table):
    from helpers.path_study import rows
    from helpers.path_study.findings import SMOOTH
    from helpers.path_study.verdicts import ABOVE, verdict

    seeds = rows.first(table, ["part", "data", "layers", "k"]).pivot_table("roughness", "seed", "activation")
    above = [verdict(seeds.relu - seeds[name]) == ABOVE for name in SMOOTH]
    smooth = words.listed(f"{words.mean_of(seeds[name], '.2f')} ({name})" for name in SMOOTH)
    return (
        "**Roughness** around relu's curves was expected to be above that around smooth activations'. At 95 % "
        f"confidence it is for {words.share(above)}: {words.mean_of(seeds.relu, '.2f')} against {smooth}."
    )


def _width(posteriors):
    """Tunnel against line, both against an ensemble, and what became of the larger spaces."""
    from helpers.path_study import rows, scores
    from helpers.paths.figures import converged

    posteriors = rows.apart(posteriors)
    line, tunnel = (_won(scores.comparisons(posteriors, "lppd", space, "ensemble")) for space in ("line", "tunnel"))
    members = posteriors.members[posteriors.space == "ensemble"].max()
    yield (
        f"**Tunnel against line** on the UCI tables (relu, {posteriors.seed.nunique()} seeds), by the mean log "
        f"predictive density at 95 % confidence: the tunnel is {_won(scores.comparisons(posteriors))}. Against a deep "
        f"ensemble of {members:.0f} the line is {line}, the tunnel {tunnel}."
    )
    large = posteriors[posteriors.space.isin(["full", "mile"])]
    best = posteriors.groupby(["data", "space"]).lppd.mean().unstack().idxmax(axis=1).isin(["full", "mile"])
    sure = converged(large)
    yield (
        f"**The full space or MILE** has the best mean on {words.share(best)} tables. {words.share(sure)} of these "
        f"posteriors converged (R-hat of weights {words.span(large.r_hat_max)})"
        f"{'' if all(sure) else ', so nothing is claimed of them'}."
    )


def _won(comparisons):
    """ "better in 1 of 10 comparisons and worse in 1": by verdicts; the others are undecided."""
    from helpers.path_study.verdicts import ABOVE, BELOW

    above, below = ((comparisons.verdict == verdict).sum() for verdict in (ABOVE, BELOW))
    return f"better in {above} of {len(comparisons)} comparisons and worse in {below}"


def _temperature(table):
    highest = table.groupby("curve").temperature.max()
    chosen = table[table.chosen.eq(True)]
    hot = chosen.temperature == chosen.curve.map(highest)
    return (
        f"**Temperature**: the validation rows choose the highest of the grid, {highest.max():.0f}, for "
        f"{words.share(hot)} curves. The hotter, the less the data say about the place on the curve."
    )


def _images(table):
    groups = table.assign(k=table.k.fillna(0)).groupby(["space", "k"])
    accuracy = {both: words.mean_of(of.accuracy) for both, of in groups}
    line = [f"{said} at K = {k:.0f}" for (space, k), said in accuracy.items() if space == "line"]
    return (
        f"**MNIST** with a small convolutional network: accuracy {accuracy['solution', 0]} at one end, "
        f"{words.listed(line)} on the line, and {accuracy['ensemble', 0]} of the ensemble."
    )


def _joined(living):
    from helpers.path_study.findings import NO_BARRIER

    parts = [f"{words.share(of.barrier_curve < NO_BARRIER)} at {layers}" for layers, of in living.groupby("layers")]
    return (
        f"**Runs of the digits sweep** that learned, with other seeds or inits, are joined below {NO_BARRIER:g} nats a "
        f"row in {words.listed(parts)} layers."
    )


# ---- stitching

INITS = ("he_normal to orthogonal", "orthogonal to he_normal")
MIXED = ["lambda"]  # numbers or "gcv"
UP, DOWN = ((10, 30), (10, 50), (30, 50)), ((30, 10), (50, 10), (50, 30))  # sizes of the latent


def stitching(study):
    auto, nine, classifiers, networks = (
        SimpleNamespace(
            pairs=read_table(study.folder / name / "pairs.csv.bz2", texts=MIXED),
            models=read_table(study.folder / name / "models.csv", texts=MIXED),
        )
        for name in ("mnist", "pairs", "classifiers", "architectures")
    )
    runs = SimpleNamespace(
        layers=read_table(study.folder / "sweep" / "layers.csv.bz2", texts=MIXED),
        models=read_table(study.folder / "sweep" / "models.csv", texts=MIXED),
    )
    return bullets(
        [
            *_seeds_and_anchors(auto.pairs),
            _differ(auto, nine),
            _unseen(study),
            _likeness((auto, "differ"), (nine, "pairs"), (classifiers, "differ")),
            _classifiers(classifiers.pairs),
            _architectures(networks.pairs),
            _by_layer(runs),
        ]
    )


def _seeds_and_anchors(pairs):
    """What a stitched error lies between, and how many anchors it takes."""
    from helpers.stitching.spread import mean_over_pairs
    from helpers.stitching_study import rows
    from helpers.stitching_study.findings import CLOSE, from_on, mean

    within = f"{100 * (CLOSE - 1):.0f} %"

    several = rows.usual(rows.apart_by_seed(pairs[pairs.part == "seeds"]), "mapping", "num_samples")
    most = several.num_samples.max()
    seeds = several[(several.mapping == "affine") & (several.num_samples == most)]
    means = {name: mean_over_pairs(seeds, f"mse_{name}") for name in (2, "label_noise", "mean_image", "class_means")}
    untrained = mean_over_pairs(seeds, "mse_untrained") < means["class_means"]
    yield (
        f"**Autoencoders of MNIST that differ in their seed** (latent {seeds.latent1.max():.0f}, {most} anchors): the "
        f"stitched error is {mean(seeds, 'mse_stitched', '.2g')} a pixel where B itself has {means[2]:.2g}, the mean "
        f"image {means['mean_image']:.3f}, and noise that carries only the label {means['label_noise']:.3f}. An "
        f"untrained A has {mean(seeds, 'mse_untrained', '.2g')}, {'below' if untrained else 'above'} the class means "
        f"({means['class_means']:.2g}){', which was not expected' if untrained else ''}."
    )
    errors = several.groupby(["num_samples", "mapping"])[["mse_stitched", "mse_2", "mse_class_means"]].mean()
    times, affine = errors.mse_stitched / errors.mse_2, errors.xs("affine", level="mapping")
    below = from_on(affine.index, affine.index[affine.mse_stitched < affine.mse_class_means])
    close = (times.unstack() <= CLOSE).any(axis=1)
    few = errors.mse_stitched.unstack().loc[: seeds.latent2.max() - 1]
    leads = few.idxmin(axis=1) == "orthogonal"
    yield (
        f"**Anchors**: an affine map's error is below the class means "
        f"{'at none of them' if below is None else f'from {below} anchors on'}, and {times[most, 'affine']:.2f} times "
        f"B's own at {most} (a kernel map's {times[most, 'kernel']:.2f}); some map comes within {within} of B's own at "
        f"{words.share(close)} numbers of anchors. The orthogonal map was expected to be best where anchors are fewer "
        f"than latents, and is so at {words.share(leads)}."
    )


def _differ(auto, nine):
    from helpers.stitching.spread import mean_over_pairs
    from helpers.stitching_study import answers, findings, rows

    def changes(results, part):
        table = answers.affine(results.pairs[results.pairs.part == part])
        return findings.excess(rows.changes(table, results.models))[0]

    changed, sizes = changes(auto, "differ"), changes(nine, "pairs")
    inits = [f"{_within(findings.beyond_seed(changed, 'excess', what, 'change'))} for {what}" for what in INITS]
    activations = changed.replace({"differ": {"activation, seed": "activation"}})
    activation = _within(findings.beyond_seed(activations, "excess", "activation"))
    up, down = (
        words.span([mean_over_pairs(sizes[sizes.change == f"latent {a} to {b}"], "excess") for a, b in those])
        for those in (UP, DOWN)
    )
    return (
        f"**What differs**: beside another seed, another init was expected to cost nothing and costs "
        f"{words.listed(inits)} (of B's own error); another activation, expected to cost more, {activation}. A map to "
        f"a larger latent gives {up} times B's own error, one to a smaller latent {down} times."
    )


def _within(found):
    """ "0.30 (0.21 to 0.39)": a mean with its interval."""
    return f"{words.number(found[0], '.2f')} ({words.span(found[1:], '.2f')})"


def _unseen(study):
    said = _answer(study, "Does it hold on classes that one of them never saw?")
    own, stitched = match(r"that it has not A ([\d.]+) .*?, stitched ([\d.]+) ", said).groups()
    return (
        f"**Classes that A never saw**: an encoder trained on 0 to 4 lets B draw 5 to 9 with an error of {stitched}; "
        f"A's own decoder has {own}. The map's anchors have all classes."
    )


def _likeness(*those):
    from helpers.stitching.figures import in_order, of_same_b
    from helpers.stitching_study import answers, findings

    orders = []
    for results, part in those:
        table, cost = findings.excess(answers.affine(results.pairs[results.pairs.part == part]))
        orders.append({name: in_order(of_same_b(table, name, cost), name, cost) for name in findings.LIKENESS})
    orders = pd.DataFrame(orders)
    angles, others = orders.pop("principal_cosine"), orders
    return (
        "**Likeness without a map** (nearest neighbours in common, Procrustes' distance, CKA) against the loss of the "
        "map, in the order of A's for the same B: rank correlations "
        f"{words.span(others.to_numpy().ravel(), '.2f')} in {len(orders)} sets of pairs. The principal angles were "
        f"expected to do worst, and do so in {words.share(angles < others.min(axis=1))} "
        f"({words.span(angles, '.2f')})."
    )


def _classifiers(pairs):
    from helpers.stitching.spread import mean_over_pairs
    from helpers.stitching_study import answers, rows
    from helpers.stitching_study.findings import mean

    table = answers.affine(rows.apart_by_seed(pairs[pairs.part == "layers"]))
    lost = (table.accuracy_1 + table.accuracy_2) / 2 - table.accuracy_stitched
    points = [words.number(100 * value, ".1f") for value in lost.groupby(table.layer1).mean()]
    accuracy = {name: mean_over_pairs(table, f"accuracy_{name}") for name in ("label_noise", "stitched")}
    agree = {name: mean_over_pairs(table, f"agreement_on_errors_{name}") for name in ("label_noise", "untrained")}
    return (
        f"**Classifiers** (5 x 128, {table.num_samples.max():,} anchors) lose {words.listed(points)} points to their "
        f"parents' mean at layers 0 to {len(points) - 1}. The stitched network has an accuracy of "
        f"{accuracy['stitched']:.3f} and, where B errs, B's answer in a share of "
        f"{mean(table, 'agreement_on_errors', '.2f')}; an untrained A has it in {agree['untrained']:.2f}, and noise "
        f"that carries only the label in {agree['label_noise']:.2f}, with an accuracy of {accuracy['label_noise']:.3f}."
    )


def _architectures(pairs):
    from helpers.stitching.spread import mean_over_pairs
    from helpers.stitching_study import answers

    kinds = answers.affine(pairs).groupby(["network1", "network2"])
    accuracy, within = (
        {both: mean_over_pairs(own, number) for both, own in kinds}
        for number in ("accuracy_stitched", "latent_r2_within")
    )
    alone = {one: own.accuracy_1.mean() for (one, _), own in kinds}
    resnet, vit = "resnet14", "vit"
    return (
        f"**ResNet-14 and a small ViT**: the accuracy is {accuracy[resnet, resnet]:.3f} and "
        f"{accuracy[resnet, vit]:.3f} from ResNet ({alone[resnet]:.3f} by itself), {accuracy[vit, resnet]:.3f} and "
        f"{accuracy[vit, vit]:.3f} from ViT ({alone[vit]:.3f}). Within classes the map explains a share of "
        f"{within[resnet, resnet]:.2f} and {within[vit, vit]:.2f} of B's features within an architecture, "
        f"{within[resnet, vit]:.2f} from ResNet to ViT and {within[vit, resnet]:.2f} the other way."
    )


def _by_layer(results):
    from helpers.path_study.verdicts import EVEN, of_interval
    from helpers.stitching.spread import interval
    from helpers.stitching_study import rows
    from helpers.stitching_study.log import UNLEARNED

    layers = rows.of_runs(results)
    learned = rows.beside_unlearned(rows.living_at_one_depth(layers))
    more = learned.r2_within - learned[[f"r2_within_{control}" for control in UNLEARNED]].max(axis=1)
    learned = learned.assign(more=more, at=learned.layer1.astype(int))

    def said(depth, at):
        found = interval(learned[(learned.depth == depth) & (learned["at"] == at)], "more")
        undecided = "undecided, " if of_interval(*found) == EVEN else ""
        return f"{words.number(found[0], '.2f')} ({undecided}{words.span(found[1:], '.2f')})"

    shallow, deep = learned.depth.min(), learned.depth.max()
    dead = rows.between(layers)
    dead = dead[(dead.layer1 == dead.layer2) & dead.learned_2.astype(bool) & ~dead.learned_1.astype(bool)]
    return (
        f"**Runs of the digits sweep**: R^2 within classes between two runs, less that of the pixels or an untrained "
        f"run, is {said(shallow, 0)} at the first of {shallow} layers, {said(shallow, shallow - 1)} at the last, and "
        f"{said(deep, deep - 1)} at the last of {deep}. Stitched from a run that has not learned, "
        f"the accuracy is {words.mean_of(dead.accuracy, '.2f')}, from the pixels {dead.accuracy_pixels.mean():.2f}."
    )


# ---- splines

PUBLISHED = ["spline", "spline_control"]  # experiments with the spline as it was published, gradients not clipped
SIGMOIDS = ["sigmoid", "sigmoid_control"]
CORRECTED = ["centred_slow", "calibrated_sigmoid_slow", "calibrated_spline_slow"]  # at the spline's learning rate


def splines(study):
    digits, mnist = (
        read_table(study.folder / name / "outcomes.csv").set_index("experiment") for name in ("digits", "mnist")
    )
    return bullets(
        [_at_birth(study, digits), _blow_up(digits), _kin(digits), *_affine(digits), _on_mnist(mnist), _fifty(study)]
    )


def _fate(table, *names):
    """How many runs blew up, and how many took off: "0 of 3" each."""
    return [words.share(table.loc[[*names], column].notna()) for column in ("blown_up_at", "left_at")]


def _at_birth(study, digits):
    (picture,) = (path for path in study.pictures if path.match("digits/figures/activations.png"))
    chi1 = dict(re.findall(r"(\w+) ([\d.]+\d)", sentence_of(picture).partition(": ")[2]))
    reach = digits.reach_at_birth[[*PUBLISHED, "spline_clipped"]] / digits.reach_at_birth[SIGMOIDS].median()
    return (
        f"**At initialisation** chi1 at Xavier's variance is {chi1['spline_sigmoid']}, the sigmoid's "
        f"{chi1['sigmoid']}, and {reach.median():.2f} times as much of the last hidden layer's gradient reaches the "
        f"first ({words.span(reach)} in {len(reach)} runs)."
    )


def _blow_up(digits):
    from helpers.spline_study.outcomes import BLOWN_UP

    runs = digits.loc[PUBLISHED]
    blown, late = runs.blown_up_at.notna(), runs.left_at - runs.blown_up_at
    worst, late = words.span(runs.worst_loss[blown], ".1e"), late[late > 0]
    after = f", {words.span(late, '.0f')} epochs later" if len(late) else ""
    return (
        f"**A loss that blew up**: in {words.share(blown)} runs a batch's loss rose above {BLOWN_UP:g} times that of "
        f"guessing{bracketed([worst] if worst else [])}; {len(late)} then took off{after}. {words.share(runs.learned)} "
        f"learned (validation accuracy {words.span(runs.acc_val, '.2f')})."
    )


def _kin(digits):
    from scipy.stats import fisher_exact

    from helpers.path_study.verdicts import LEVEL

    def p(other):
        left = (digits.left_at[name].notna() for name in ("spline_control", other))
        return fisher_exact([[own.sum(), (~own).sum()] for own in left]).pvalue

    smooth, clipped, (_, left) = (_fate(digits, f"spline_{kind}") for kind in ("smooth", "clipped", "control"))
    chances = p("spline_smooth"), p("spline_clipped")
    shown = [
        what for what, chance in zip(("smooth tails", "clipped gradients"), chances, strict=True) if chance < 1 - LEVEL
    ]
    return (
        f"**Smooth tails and clipped gradients**: with smooth tails {smooth[0]} blew up and {smooth[1]} took off, with "
        f"clipped gradients {clipped[0]} and {clipped[1]}. Of the published spline with the same settings {left} took "
        f"off, which at {LEVEL:.0%} confidence differs from {words.listed(shown) or 'neither'} (Fisher's exact test, "
        f"p = {' and '.join(f'{chance:.2f}' for chance in chances)})."
    )


def _affine(digits):
    accuracy = {name: words.mean_of(of.acc_val) for name, of in digits.groupby(level=0)}
    first, second = (
        words.span(digits.epochs[list(of)], ".0f") for of in (("sigmoid", "spline"), ("relu_slow", *CORRECTED))
    )
    centred, sigmoid, spline = (accuracy[name] for name in CORRECTED)
    yield (
        f"**Affine corrections**: at the spline's learning rate, init and depth the sigmoid reaches "
        f"{accuracy['sigmoid']} and the spline {accuracy['spline']} after {first} epochs. After "
        f"{second} relu has {accuracy['relu_slow']}, a sigmoid with mean 0 and slope 1 {centred}, and a "
        f"sigmoid and a learnable spline calibrated to chi1 = 1 {sigmoid} and {spline}."
    )
    yield (
        f"**At learning rate 1e-3** the calibrated sigmoid reaches {accuracy['calibrated_sigmoid']}, the centred one "
        f"{accuracy['centred_sigmoid']}."
    )


def _on_mnist(mnist):
    means = mnist.acc_val.groupby(level=0).mean()
    spline, clipped, smooth = _fate(mnist, *PUBLISHED), _fate(mnist, "spline_clipped"), _fate(mnist, "spline_smooth")
    return (
        f"**On MNIST** ({mnist.seed.nunique()} seeds, {mnist.epochs.max()} epochs) corrected sigmoids reach "
        f"{words.span(means[CORRECTED], '.3f')}, relu {words.mean_of(mnist.acc_val['relu'])}, the sigmoid "
        f"{words.span(means[SIGMOIDS], '.2f')}. The spline blows up in {spline[0]} runs, with clipped gradients in "
        f"{clipped[0]}, with smooth tails in {smooth[0]}; {spline[1]}, {clipped[1]} and {smooth[1]} take off."
    )


def _fifty(study):
    summary = study.sweeps["fifty_layers"].summary
    always = summary.groupby(["activation", "init"]).learned.all()
    plain, corrected = always["sigmoid"], always["calibrated_sigmoid"]
    calls = read_table(study.folder.parent / "signal" / "calls.csv").set_index(["set", "rule"]).loc["fifty layers"]
    rule, before = (calls.right[name] for name in ("fitted elsewhere", "six depth scales"))
    names = [words.listed(corrected.index[corrected])] if corrected.any() else []
    return (
        f"**50 layers** (SGD, {summary.seed.nunique()} seeds): the plain sigmoid learns in every seed with "
        f"{words.share(plain)} inits, the calibrated one with {words.share(corrected)}{bracketed(names)}. The forecast "
        f"called {rule:.0f} of {len(summary)} of these runs right before training, the rule of six depth scales "
        f"{before:.0f}."
    )
