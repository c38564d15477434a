"""The sentences of a stitching study, each from rows of its tables: a number, its spread, and whether it was expected.

Means are over pairs of networks, each the mean over its layers and draws of anchors; their intervals, and those of
differences, leave out one network at a time (`helpers.stitching.spread`). Verdicts are those of
`helpers.path_study.verdicts`.
"""

import numpy as np

from helpers import words
from helpers.path_study.verdicts import ABOVE, BELOW, EVEN, LEVEL, beside, of_interval, together
from helpers.stitching.figures import LIKENESS, control_in_words, in_order, in_words, of_same_b
from helpers.stitching.spread import counted, interval, jackknife, leaves_networks_out, mean_over_pairs
from helpers.stitching_study import rows

CLOSE = 1.1  # of B's own error: "within 10 %"
ALIKE = 1.01  # errors that lambda does not change
ONE_POINT = 0.01  # of accuracy
SIMILARITY_IN_WORDS = {
    "cka": "CKA",
    "principal_cosine": "mean cosine of the principal angles",
    "mutual_neighbours": "nearest neighbours in common",
    "procrustes_distance": "Procrustes distance",
}
PUBLISHED = "Published accuracies: 99.3 % within an architecture, 66.8 to 96.1 % across."  # other data, other sizes


def mean(table, number, form=".3g"):
    """ "0.0241 (0.0236 to 0.0246)": a mean with its confidence interval."""
    return _in_words(interval(table, number), form)


def _in_words(found, form=".3g", beside=()):
    middle, low, high = found
    if not np.isfinite(middle):
        return "not known"
    within = [f"{words.number(low, form)} to {words.number(high, form)}"] if np.isfinite(low) else []
    said = "; ".join([*within, *beside])
    return words.number(middle, form) + (f" ({said})" if said else "")


def _value(table, number):
    return mean_over_pairs(table[np.isfinite(table[number].astype(float))], number)


def _came_out(table, found, expected):
    """How a difference came out; what draws of anchors alone tell is no verdict on other networks."""
    if not np.isfinite(found[1]):
        return "undecided, too few networks to leave one out"
    if not leaves_networks_out(table):
        return f"{of_interval(*found)} over draws, which say nothing of other networks"
    return beside(of_interval(*found), expected)


def compared(what, comparisons):
    """One sentence of several differences: each with its interval, and how it came out.

    comparisons  [(name, rows it is of, (mean, low, high), expected)], with the verdict that was expected or None
    """
    comparisons = [one for one in comparisons if np.isfinite(one[2][0])]
    counts = list(dict.fromkeys(counted(table) for _, table, *_ in comparisons))
    said = []
    for name, table, found, expected in comparisons:
        own = [counted(table)] if len(counts) > 1 else []
        said.append((f"{name} {_in_words(found, beside=own)}", _came_out(table, found, expected)))
    return together(f"{what} ({counts[0]})" if len(counts) == 1 else what, said)


# ---- 1 to 3: controls, anchors, lambda


def controls(table):
    """What a stitched error lies between: B's own, class means, the mean image, no map; and what was expected of it."""
    number = "mse" if table.mse_stitched.notna().any() else "accuracy"
    names = ["2", "self", "class_means", "label_noise", "mean_image", "shuffled", "untrained", "identity"]
    there = [name for name in names if f"{number}_{name}" in table and table[f"{number}_{name}"].notna().any()]
    parts = [f"{control_in_words(name)} {mean(table, f'{number}_{name}')}" for name in there]
    what = {"mse": "Mean squared error a pixel", "accuracy": "Accuracy"}[number]
    said = (
        f"{what} (mean and {LEVEL:.0%} interval): stitched {mean(table, f'{number}_stitched')}; {words.listed(parts)}."
    )
    return f"{said} {_against_controls(table)}".strip() if number == "mse" else said


def _against_controls(table):
    """Differences of errors that section 1 expects to lie above 0, or below."""
    expected = [("stitched", "class_means", BELOW)]
    expected += [(name, "class_means", ABOVE) for name in ("shuffled", "untrained")] + [
        ("identity", "mean_image", ABOVE)
    ]
    found = []
    for one, other, sign in expected:
        a, b = f"mse_{one}", f"mse_{other}"
        if {a, b} <= {*table} and (both := table.assign(gap=table[a] - table[b])).gap.notna().any():
            name = f"{'stitched' if one == 'stitched' else control_in_words(one)} minus {control_in_words(other)}"
            found.append((name, both, interval(both, "gap"), sign))
    return compared("Differences of these", found)


def anchors(table):
    """From how many anchors each map is below the class means, and within 10 % of B's own error."""
    parts = []
    for mapping, own in table.groupby("mapping", sort=False):
        errors = {n: _value(of, "mse_stitched") / _value(of, "mse_2") for n, of in own.groupby("num_samples")}
        below = [
            n for n, of in own.groupby("num_samples") if _value(of, "mse_stitched") < _value(of, "mse_class_means")
        ]
        close = [n for n, ratio in errors.items() if ratio <= CLOSE]
        few, many = min(errors), max(errors)
        parts.append(
            f"{in_words(mapping)} {errors[few]:.2f} times B's own at {few} anchors and {errors[many]:.2f} at {many}; "
            f"below the class means {_from(errors, below)}, within 10 % of B's own {_from(errors, close)}"
        )
    return f"Error of the stitched network: {'. '.join(parts)}." if parts else ""


def _from(numbers, good):
    first = from_on(numbers, good)
    return "at none of them" if first is None else f"from {first} anchors"


def from_on(places, good):
    """The first place from which on all are good; None where the last one is not."""
    found = None
    for place in sorted(places, reverse=True):
        if place not in good:
            break
        found = place
    return found


def maps(table, reference="affine"):
    """Each map against another at each number of anchors: differences of errors, paired.

    What section 2 expects of orthogonal maps is held beside them: lower errors at fewer anchors than latents, higher
    ones at ten times as many.
    """
    number = "mse_stitched" if table.mse_stitched.notna().any() else "accuracy_stitched"
    parts, size = [], table.latent2.max()
    for n, own in table.groupby("num_samples"):
        for_few = BELOW if n < size else ABOVE if n >= 10 * size else None
        gaps = [
            (
                in_words(name),
                gap,
                interval(gap, "gap"),
                for_few if (name, number[:3]) == ("orthogonal", "mse") else None,
            )
            for name in own.mapping.unique()
            if name != reference and len(gap := rows.gaps(own, number, "mapping", name, reference))
        ]
        parts += (
            [compared(f"{number.split('_')[0]} minus {in_words(reference)}'s at {n} anchors", gaps)] if gaps else []
        )
    return parts


def peak(table):
    """At as many anchors as latents, lambda 0 against GCV: the interpolation peak. Of the map of the table's rows."""
    number, sizes = rows.numeric(table), table.latent1
    there = table[(number == 0) & table.num_samples.isin(near(table))]
    if there.empty:
        return ""
    n = int(there.num_samples.iloc[0])
    at = table[table.num_samples == n]
    at = at.assign(chosen=np.where(rows.numeric(at).isna(), "gcv", rows.numeric(at).astype(str)))
    at_zero, at_gcv = at[at.chosen == "0.0"], at[at.chosen == "gcv"]
    said = f"At {n} anchors for {words.span(sizes, '.0f')} latents, lambda 0 gives {mean(at_zero, 'mse_stitched')}"
    said += f" and lambda by GCV {mean(at_gcv, 'mse_stitched')}; the mean image has {mean(at, 'mse_mean_image')}. "
    gap = rows.gaps(at, "mse_stitched", "chosen", "0.0", "gcv")
    return said + compared("Lambda 0 minus GCV", [("error", gap, interval(gap, "gap"), ABOVE)])


def near(table):
    """The numbers of anchors that are nearest to the latent size: where lambda 0 interpolates."""
    size, there = table.latent1.iloc[0], np.sort(table.num_samples.unique())
    return there[np.abs(there - size) == np.abs(there - size).min()][:1]


def lambdas(table):
    """What lambda by GCV costs against the best fixed one, in hindsight: of the map and anchors of the rows."""
    values = rows.numeric(table)
    fixed, chosen = table[values.notna()], table[table["lambda"].astype(str) == "gcv"]
    if fixed.empty or chosen.empty:
        return ""
    parts = []
    for (mapping, n), own in fixed.groupby(["mapping", "num_samples"], sort=False):
        errors = {lam: _value(of, "mse_stitched") for lam, of in own.groupby(rows.numeric(own))}
        gcv = _value(chosen[(chosen.mapping == mapping) & (chosen.num_samples == n)], "mse_stitched")
        best, worst = min(errors, key=errors.get), max(errors, key=errors.get)
        if np.isfinite(gcv):
            fixed_ones = f"the best of {len(errors)} fixed lambdas is {best:g} ({words.number(errors[best])})"
            fixed_ones += f", the worst {worst:g} ({words.number(errors[worst])})"
            if errors[worst] <= ALIKE * errors[best]:
                fixed_ones = f"all {len(errors)} fixed lambdas give {words.number(errors[best])}"
            parts.append(f"{in_words(mapping)} at {n} anchors: {fixed_ones}, GCV has {words.number(gcv)}")
    return "; ".join(parts) + "." if parts else ""


# ---- 4: which anchors


def strategies(table, reference="random"):
    """Each way of choosing anchors against another, at each number of them: differences of errors, paired by draw."""
    number = "mse_stitched" if table.mse_stitched.notna().any() else "accuracy_stitched"
    if reference not in set(table.sampling):
        reference = table.sampling.iloc[0]
    found = []
    for n, own in table.groupby("num_samples"):
        others = [name for name in own.sampling.unique() if name != reference]
        gaps = [(in_words(name), rows.gaps(own, number, "sampling", name, reference)) for name in others]
        if gaps:
            what = f"{number.split('_')[0]} minus that of {in_words(reference)} anchors, at {n}"
            found.append(compared(what, [(name, gap, interval(gap, "gap"), None) for name, gap in gaps]))
    return found


# ---- 5: latents and images of one pair


def latents(row):
    """How much of B's latents the map gives, over all and within classes; of a dict of `evaluate`."""
    return (
        f"The map gives {row['latent_r2']:.1%} of the variance of B's latents on images held out, and "
        f"{row['latent_r2_within']:.1%} of that within classes; the label alone gives about none of the latter."
    )


def images(row):
    """Errors of parents and stitched network on the images held out; of a dict of `evaluate`."""
    return (
        f"Mean squared error a pixel, of all images held out: A {row['mse_1']:.4f}, B {row['mse_2']:.4f}, "
        f"stitched {row['mse_stitched']:.4f}; above each image stands its own."
    )


def turned(a, rotation):
    """How much of a matrix is its rotation part."""
    singular = np.linalg.svd(np.asarray(a, float), compute_uv=False)
    share = (np.asarray(a) * np.asarray(rotation)).sum() ** 2 / (np.square(a).sum() * np.square(rotation).sum())
    return (
        f"Singular values of A from {words.span(singular)}; {share:.1%} of its squared size is a rotation times one "
        "factor."
    )


# ---- 6: classifiers


def accuracies(table):
    """Accuracy with what makes it mean something: agreement on B's errors, held-out R^2, and two controls beside it."""
    parents = (_value(table, "accuracy_1") + _value(table, "accuracy_2")) / 2
    said = (
        f"Accuracy {mean(table, 'accuracy_stitched')}, of the parents {words.number(parents)}; B's answer is given to "
        f"{mean(table, 'agreement_on_errors', '.2f')} of the images that B gets wrong; R^2 of B's latents "
        f"{mean(table, 'latent_r2', '.2f')}."
    )
    if noise := _control(table, "label_noise", "but agrees"):
        said += f" Noise that carries only the label has {noise} (the stitched network's: "
        said += f"{mean(table, 'latent_r2_within', '.2f')})."
    if untrained := _control(table, "untrained", "agrees"):
        said += f" An untrained A has {untrained}."
    return said


def _control(table, name, agrees):
    """The accuracy of a control with what stands beside it; empty where it was not measured."""
    if f"accuracy_{name}" not in table or table[f"accuracy_{name}"].isna().all():
        return ""
    return (
        f"accuracy {mean(table, f'accuracy_{name}')}, {agrees} on B's errors in "
        f"{mean(table, f'agreement_on_errors_{name}', '.2f')}, and its R^2 within classes is "
        f"{mean(table, f'latent_r2_within_{name}', '.2f')}"
    )


def within_a_point(table):
    """From how many anchors each layer is stitched within one point of the parents' mean accuracy."""
    parts = []
    for layers, own in rows.apart_by_layers(table).groupby("layers", sort=False):
        close = [
            n
            for n, of in own.groupby("num_samples")
            if (of.accuracy_1.mean() + of.accuracy_2.mean()) / 2 - of.accuracy_stitched.mean() <= ONE_POINT
        ]
        parts.append(f"{layers} {_from(own.num_samples.unique(), close)}")
    return f"Within one point of the parents' mean accuracy: {words.listed(parts)}."


def in_short(table):
    """What stitching costs, and how much of B's latents within classes the map gives, beside what the label gives."""
    table, cost = excess(table)
    what = {"excess": "times B's own error", "lost": "of accuracy lost"}[cost]
    said = f"{mean(table, cost)} {what}; R^2 within classes {mean(table, 'latent_r2_within', '.2f')}"
    if table.latent_r2_within_label_noise.notna().any():
        said += f", by noise that carries only the label {mean(table, 'latent_r2_within_label_noise', '.2f')}"
    return f"{said}."


# ---- 7: what differs


def excess(table):
    """(the table with what stitching costs, the column's name): `excess` or `lost`.

    excess  of reconstructions: error of the stitched network over B's own
    lost    of classifiers: B's accuracy minus that of the stitched network
    """
    if table.mse_stitched.notna().any():
        return table.assign(excess=table.mse_stitched / table.mse_2), "excess"
    return table.assign(lost=table.accuracy_2 - table.accuracy_stitched), "lost"


def differences(table, by="differ"):
    """What stitching costs where this and that differs between the networks, against seeds alone.

    by  a column that says what differs, "seed" where that is the seed alone
    """
    table, cost = excess(table)
    parts = [f"{what} {mean(own, cost)}" for what, own in table.groupby(by, sort=False)]
    what = {"excess": "Error of the stitched network over B's own", "lost": "B's accuracy minus the stitched one's"}
    said = f"{what[cost]}, where this differs: {'; '.join(parts)}."
    others = [(what, own) for what, own in table.groupby(by, sort=False) if what != "seed"]
    if (table[by] == "seed").any() and others:
        gaps = [(what, own, beyond_seed(table, cost, what, by), _expected(own)) for what, own in others]
        said += " " + compared("Minus the mean between seeds of the same kind of B", gaps)
    return said


def beyond_seed(table, cost, what, by="differ"):
    """(mean, low, high) of a cost where this differs, minus its mean between seeds of the same kinds of B.

    What stitching costs depends on B most: a B that is good by itself makes every ratio to its own error larger. Kinds
    of B without pairs of seeds are left out.

    cost  a column, as `excess` gives it
    what  a value of the column `by`
    """
    kind = table.model2.map(rows.kind_of) + table.layer2.astype(str)
    table = table.assign(_kind=kind)[table[by].isin(["seed", what])]
    table = table[table._kind.isin(table._kind[table[by] == "seed"])]

    def more(of):
        between_seeds = of[of[by] == "seed"].groupby("_kind")[cost].mean()
        own = of[of[by] == what]
        own = own.assign(_more=own[cost] - own._kind.map(between_seeds))
        return np.nan if own._more.isna().any() else mean_over_pairs(own, "_more")

    return jackknife(table, more)


def _expected(table):
    """How much more than a seed it was expected to cost that two networks differ in what they do: see section 7."""
    differs = {word for words in table.differ for word in words.split(", ")} - {"seed"}
    return EVEN if differs == {"init"} else ABOVE if differs & {"activation", "network"} else None


def unseen(classes):
    """The stitched error over B's own on classes that A was trained on, and on those that it never saw."""
    seen, new = (classes[classes.seen_1.astype(bool) == which] for which in (True, False))
    if seen.empty or new.empty:
        return ""
    parts = [
        f"{what} A {mean(own, 'mse_1')}, B {mean(own, 'mse_2')}, stitched {mean(own, 'mse_stitched')}"
        for what, own in (("on classes that A has seen", seen), ("on classes that it has not", new))
    ]
    ratios = [_value(own, "mse_stitched") / _value(own, "mse_2") for own in (seen, new)]
    return f"Mean squared error a pixel {'; '.join(parts)}: {ratios[0]:.2f} and {ratios[1]:.2f} times B's own."


def alike(table):
    """Whether measures without a map order pairs of networks as what stitching costs does; "" for too few pairs."""
    if table.empty:
        return ""
    table, cost = excess(table)
    orders = {}
    for name in (*LIKENESS, "latent_r2_within"):
        one_b = of_same_b(table, name, cost)
        orders[name] = in_order(one_b, name, cost), in_order(table, name, cost)
    of_map = orders.pop("latent_r2_within")
    orders = {name: both for name, both in orders.items() if np.isfinite(both).all()}
    if not orders:
        return ""
    ranked = sorted(orders, key=orders.get, reverse=True)
    parts = [f"{SIMILARITY_IN_WORDS[name]} {orders[name][0]:.2f} ({orders[name][1]:.2f})" for name in ranked]
    what = {"excess": "the error of the stitched network over B's own", "lost": "the accuracy that stitching loses"}
    said = (
        f"Rank correlation of likeness without a map with {what[cost]} (1: the more alike, the less), over "
        f"{rows.pairs_in(table)} ordered pairs, each less the mean of those with the same B (in brackets as they are): "
        f"{words.listed(parts)}"
    )
    if len(orders) == len(LIKENESS):
        said += f", last {'as' if ranked[-1] == 'principal_cosine' else 'not as'} expected (the angles)"
    if np.isfinite(of_map).all():
        said += f"; of the map's own R^2 within classes {of_map[0]:.2f} ({of_map[1]:.2f})"
    return f"{said}."


# ---- 8: layer by layer, beside layer_findings.py


def older(table):
    """A sentence for a table that was made before there were all columns; else an empty one."""
    if len(table) == 0 or len(rows.measured_without_map(table)):
        return ""
    return (
        "This table was made before likeness without a map, and maps from pixels and untrained layers, were measured: "
        'CONFIG "resume": False makes it anew.'
    )


# ---- 9: architectures


def architectures(table):
    """Accuracies within an architecture and across, each direction beside its parents', and what is published."""
    parts = [
        f"{one} to {two} {mean(own, 'accuracy_stitched', '.4f')}, of the parents {own.accuracy_1.mean():.4f} and "
        f"{own.accuracy_2.mean():.4f}, R^2 {mean(own, 'latent_r2', '.2f')}, within classes "
        f"{mean(own, 'latent_r2_within', '.2f')}, B's answer on B's errors {mean(own, 'agreement_on_errors', '.2f')}"
        for (one, two), own in table.groupby(["network1", "network2"], sort=False)
    ]
    said = f"Accuracy of the stitched network: {'; '.join(parts)}."
    table = table.assign(lost=table.accuracy_1 - table.accuracy_stitched)  # no head makes up for what its encoder lacks

    def across_minus_within(of):
        same = of.network1 == of.network2
        return mean_over_pairs(of[~same], "lost") - mean_over_pairs(of[same], "lost")

    gap = jackknife(table, across_minus_within)
    said += " " + compared("A's accuracy minus the stitched network's", [("across minus within", table, gap, ABOVE)])
    return f"{said} {PUBLISHED}"


def four(results):
    """How many rows each of the four tables has, and what a row is."""
    tables = {
        "pairs.csv.bz2": (results.pairs, "a pair, map, lambda, way and number of anchors, and draw"),
        "classes.csv.bz2": (results.classes, "the same and a class"),
        "errors.csv.bz2": (results.errors, "the same: mean and variance over images"),
        "images.csv.bz2": (results.images, "the same: share of the best and worst images that are the parents' too"),
    }
    return [f"{name}: {len(table):,} rows, each of {what}" for name, (table, what) in tables.items()]


def kept(images):
    """Whether the images that are stitched best and worst are those that B does best and worst."""
    by_chance = 0.1
    parts = [
        f"of the tenth of images that it does {what} {mean(images, column, '.2f')}"
        for what, column in (("best", "top_kept_2"), ("worst", "low_kept_2"))
    ]
    return f"Share that B has in common with the stitched network: {'; '.join(parts)} ({by_chance} by chance)."
