"""What was measured, in words: results/bench/README.md and targets.csv.

python -m helpers.bench.page            write them from results/bench/
python -m helpers.bench.page --check    only say which are stale

The same files give the same bytes.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers import ROOT, files, manifests, words
from helpers.bench import landscapes, measured, panel, paths, splines, stitching
from helpers.gallery import questions
from helpers.gallery.markdown import bullets, in_table, link, paragraphs, plain, table
from helpers.progress import duration

WRITTEN = "*Written by `make gallery` from the files in this folder; what is changed here by hand is overwritten.*"
HOW_TO_READ = (
    "Machines are shared and noisy, so the ways take turns in every round, and ratios within a round tell more than "
    "times. Numbers are medians, with the least and the most in brackets. *The loop that people write* takes the five "
    "layer statistics in every step. The stack takes them once an epoch, as a sweep records them, and its number "
    "includes that. Against JAX and torch.func neither side takes any. A target that is **missed** was measured and "
    "not reached."
)
WAYS = {
    "loop": "the loop that people write",
    "memory": "the same network, data in memory, no hooks",
    "stack": "the stack, float32",
    "stack bf16": "the stack, bf16",
}
RIVALS = {
    "JAX": "JAX, one program on all cores",
    "JAX, core each": "JAX, a process a core",
    "torch.func": "torch.func, all cores",
    "torch.func, core each": "torch.func, a thread a core",
}
NETWORKS = {"mlp": "a 5 x 128 MLP, 784 inputs", "resnet14": "resnet14, 3 x 32 x 32"}
TABLES = ("stack", "rivals", "sweep", "landscapes", "paths", "stitching", "stitching_classes")  # parts that have one
BF16 = "stack bf16"
AHEAD = 1.5  # by which the stack should be ahead of every rival at every shape


# ---- targets: what was asked, and (text, whether it is met) on one processor; None where that was not measured


@dataclass(frozen=True)
class Target:
    """asked, in Markdown; part of the bench that measures it; found(Measured) -> (text, met) or None."""

    asked: str
    part: str
    found: Callable


def value_of(m, part, column, **fixed):
    """One number of a part's table; None where there is no such row, or it has none."""
    rows = m.rows(part, **fixed)
    values = rows[column].dropna() if column in rows else []
    return float(values.iloc[0]) if len(values) == 1 else None


def stack_at_least(least, column, layers, way="stack", form="{:.1f}x"):
    """A figure of the stack's row at one or several depths."""

    def found(m):
        values = [value_of(m, "stack", column, layers=l, way=way) for l in layers]
        if None in values:
            return None
        return ", ".join(form.format(value) for value in values), min(values) >= least

    return found


def ahead_of(way):
    """How many times as long a rival takes, from the shape where that is least to the one where it is most."""

    def found(m):
        ratios = m.rows("rivals", way=way)
        if ratios.empty:
            return None
        ratios = ratios["times_as_long_as_stack"]
        return f"{words.span(ratios, '.2f')}x".replace(" to", "x to"), ratios.min() >= AHEAD

    return found


def surface_ahead_of(package, network, least):
    """How many times as long a package takes for the loss surface of a network."""

    def found(m):
        ratio = value_of(m, "landscapes", "times_as_long_as_surface", network=network, way=package)
        return None if ratio is None else (f"{ratio:.2f}x", ratio >= least)

    return found


def compiled_ahead(least):
    """How many times the gradients of eager PyTorch the compiled log density gives, at four chains and more."""

    def found(m):
        rows = m.rows("paths", way="compiled")
        rows = rows[rows["chains"] >= 4] if len(rows) else rows
        if rows.empty:
            return None
        ratios = rows["times_faster_than_torch"]
        text = ", ".join(f"{ratio:.0f}x at {chains}" for chains, ratio in zip(rows["chains"], ratios, strict=True))
        return text, ratios.min() >= least

    return found


def farther_than_ours(ways, most_equal=True):
    """How many times our error of stitched images others have, over numbers of anchors; most_equal: equal is enough."""

    def found(m):
        rows = m.rows("stitching")
        rows = rows[rows["way"].isin(ways)] if len(rows) else rows
        if rows.empty:
            return None
        ours = m.rows("stitching", way=stitching.OURS).set_index(["models", "anchors"])["mse"]
        times = rows["mse"].to_numpy() / ours.loc[list(zip(rows["models"], rows["anchors"], strict=True))].to_numpy()
        text = [f"{words.span(times[rows['models'] == name], '.2f')}x ({name})" for name in rows["models"].unique()]
        least = rows["minus_affine"].min()
        return f"{', '.join(text)}".replace(" to", "x to"), least > 0 or (most_equal and least == 0)

    return found


def stitches_ahead(m):
    """How many times our CPU seconds the package's fits by Adam take, over numbers of anchors."""
    rows = m.rows("stitching")
    rows = rows[rows["way"].isin(stitching.BY_ADAM)] if len(rows) else rows
    if rows.empty:
        return None
    ratios = rows["times_as_long_as_affine"]
    return f"{words.span(ratios, '.0f')}x".replace(" to", "x to"), ratios.min() >= 20


def within_a_tenth(models):
    """Our error at 100 anchors over the decoder's own, the end of its interval too."""

    def found(m):
        own = [value_of(m, "stitching", f"over_own{end}", **_ours(models, 100)) for end in ("", "_low", "_high")]
        return None if None in own else ("{:.2f}x ({:.2f} to {:.2f})".format(*own), own[2] <= 1.1)

    return found


def below_class_means(models):
    """Our error at 10 anchors, the end of its interval too, against that of the class means."""

    def found(m):
        own = [value_of(m, "stitching", f"mse{end}", **_ours(models, 10)) for end in ("", "_low", "_high")]
        means = m.part("stitching").get("mse_class_means")
        text = "{:.4f} ({:.4f} to {:.4f}), class means {:.4f}"
        return None if None in (*own, means) else (text.format(*own, means), own[2] < means)

    return found


def half_the_latent_error(models):
    """Our error of the latents at 100 anchors as a share of the package's, the better of both."""

    def found(m):
        rows = m.rows("stitching", models=models, anchors=100)
        rows = rows[rows["way"].isin(stitching.BY_ADAM)] if len(rows) else rows
        if rows.empty:
            return None
        shares = dict(zip(rows["way"], 1 / rows["latent_times_affine"], strict=True))
        return ", ".join(f"{share:.2f} ({way})" for way, share in shares.items()), max(shares.values()) <= 0.5

    return found


def _ours(models, anchors):
    return {"models": models, "anchors": anchors, "way": stitching.OURS}


def accurate(way):
    """Points of accuracy below the parents at 500 anchors, at each layer."""

    def found(m):
        rows = m.rows("stitching_classes", way=way, anchors=500)
        if rows.empty:
            return None
        text = ", ".join(f"{points:.2f}" for points in rows["points_below"])
        return f"{text} points below at layers {words.span(rows['layer'], '.0f')}", rows["points_below"].max() <= 1

    return found


def from_part(part, read):
    """What `read` makes of what a part found beside its table."""
    return lambda m: read(m.part(part)) if m.part(part) else None


def _sweep(found):
    return f"{found['ratio']:.2f}x as fast as {found['against']}", found["ratio"] >= 1.5


def _first_epoch(found):
    return f"{found['first_epoch']:.1f} s", found["first_epoch"] <= 10


def _published(precision, hours):
    def found(m):
        seconds = m.part("stack").get("published_sweep_seconds", {}).get(precision)
        if seconds is None or m.manifest.get("device", "cpu") != "cpu":
            return None
        return duration(seconds), seconds <= hours * 3600

    return found


def _published_on_gpu(m):
    seconds = m.part("stack").get("published_sweep_seconds", {}).get("float32")
    if seconds is None or m.manifest.get("device", "cpu") == "cpu":
        return None
    memory = m.part("stack")["peak_gpu_gib"]
    if memory is None:  # not noted: time alone can miss the target, and cannot meet it
        return (duration(seconds), False) if seconds > 60 else None
    return f"{duration(seconds)}, {memory:.1f} GiB", seconds <= 60 and memory <= 8


def _panel(found):
    return f"{found['share']:.1%} of its thread's time, {found['ratio']:.3f} times as long", found["share"] < 0.02


def _splines(fixed):
    """Of the splines that are fixed, or of those that learn: times torch.sigmoid's time."""

    def found(part):
        ways = {way: ratio for way, (_, ratio) in part["ways"].items() if way.startswith("spline") == fixed}
        ways.pop("sigmoid", None)
        return ", ".join(f"{ratio:.1f}x ({way})" for way, ratio in ways.items()), max(ways.values()) <= 3

    return found


def _chain(found):
    ratios = found["chain"].values()
    return ", ".join(f"{ratio:.0f}x at {n} segments" for n, ratio in found["chain"].items()), min(ratios) >= 5


def _forecast(found):
    return f"{found['forecast']:.2f} s", found["forecast"] <= 3


def _published_surfaces(found):
    seconds = found["published_call_seconds"]
    return duration(seconds), seconds <= 55 * 60


def _affine_fits(found):
    seconds = found["affine_fits_cpu_seconds"]
    return f"{seconds:.3f} CPU s", seconds <= 0.2


def _many_fits(found):
    seconds = found["many_seconds"]
    return f"{duration(seconds)}, {duration(found['many_cpu_seconds'])} of CPU", seconds <= 5 * 60


def _memory(found):
    if found["peak_memory_gib"] is None:  # a system that does not count it
        return None
    text = f"{duration(found['seconds'])}, {found['peak_memory_gib']:.2f} GiB"
    return text, found["peak_memory_gib"] * 2**30 < 2e9 and found["seconds"] <= 240


TARGETS = (
    Target("the digits sweep against commit f7ab430: 1.5x as fast (aim 2x)", "sweep", from_part("sweep", _sweep)),
    *(Target(f"ahead of {name}, at every shape: {AHEAD}x", "rivals", ahead_of(way)) for way, name in RIVALS.items()),
    Target("5x the loop at 5 layers", "stack", stack_at_least(5, "times_faster_than_loop", [5])),
    Target("3x the loop at 30 layers", "stack", stack_at_least(3, "times_faster_than_loop", [30])),
    Target(
        "in bf16 6x the loop at 30 layers", "stack", stack_at_least(6, "times_faster_than_loop", [30], "stack bf16")
    ),
    Target(
        "1.4x one network in memory at 5 and 30 layers",
        "stack",
        stack_at_least(1.4, "times_faster_than_memory", [5, 30]),
    ),
    Target(
        "75 % of torch.bmm's rate at 30 layers",
        "stack",
        stack_at_least(0.75, "share_of_float32_matrix_rate", [30], form="{:.0%}"),
    ),
    Target("the published sweep on 2 cores in float32: 3.5 h (forecast)", "stack", _published("float32", 3.5)),
    Target("the published sweep on 2 cores in bf16: 1.5 h (forecast)", "stack", _published("bf16", 1.5)),
    Target("the published sweep on a GPU: 60 s, under 8 GiB (forecast)", "stack", _published_on_gpu),
    Target("the live panel costs less than 2 %", "panel", from_part("panel", _panel)),
    Target("a fixed spline, forward and backward: 3x torch.sigmoid", "splines", from_part("splines", _splines(True))),
    Target("a learnable one, its own gradient included: 3x", "splines", from_part("splines", _splines(False))),
    Target("a spline by index: 5x as fast as the chain of torch.where", "splines", from_part("splines", _chain)),
    Target("the forecast of 192 runs, probabilities included: 3 s", "splines", from_part("splines", _forecast)),
    Target(
        "from a process's start to its first trained epoch, once the C files are compiled: 10 s",
        "sweep",
        from_part("sweep", _first_epoch),
    ),
    *(
        Target(
            f"the loss surface of {NETWORKS[network]}, 41 x 41, 256 samples: {least}x `{landscapes.PACKAGE}`",
            "landscapes",
            surface_ahead_of(landscapes.PACKAGE, network, least),
        )
        for network, least in (("mlp", 2.5), ("resnet14", 1.8))
    ),
    Target(
        "the published call, 41 x 41 x 3 x 3 x 256 images through resnet14, on 2 cores: 55 min (from one surface)",
        "landscapes",
        from_part("landscapes", _published_surfaces),
    ),
    Target(
        "gradients of a tunnel's log density, compiled, a CPU second: 10x eager PyTorch at 4 chains or more",
        "paths",
        compiled_ahead(10),
    ),
    Target(
        f"stitching at or below `{stitching.PACKAGE}`' error (its affine maps) at every number of anchors",
        "stitching",
        farther_than_ours(stitching.BY_ADAM),
    ),
    Target(
        "stitching below the error of the spectral norm's minimisers at every number of anchors",
        "stitching",
        farther_than_ours(stitching.SPECTRAL, most_equal=False),
    ),
    Target(f"an affine map's fit, CPU seconds: 20x `{stitching.PACKAGE}`", "stitching", stitches_ahead),
    *(
        Target(f"{asked}, networks trained {words_of}", "stitching", read(models))
        for models, words_of in (("early", "one epoch"), ("late", "three epochs"))
        for asked, read in (
            ("stitched at 100 anchors within 10 % of the decoder's own error", within_a_tenth),
            ("stitched at 10 anchors below the class means", below_class_means),
            (f"latent error at 100 anchors at most half of `{stitching.PACKAGE}`'", half_the_latent_error),
        )
    ),
    Target("36 affine fits of latent size 50, 500 anchors: 0.2 s", "stitching", from_part("stitching", _affine_fits)),
    Target(
        "2,000 fits with evaluation on 1,000 images, on 2 cores: 5 min", "stitching", from_part("stitching", _many_fits)
    ),
    *(
        Target(
            f"two classifiers stitched at 500 anchors ({way}), at every layer: accuracy within 1 point of the parents'",
            "stitching_classes",
            accurate(way),
        )
        for way in stitching.MLP_MAPS
    ),
    Target("`make bench`: minutes, under 2 GB", "bench", from_part("bench", _memory)),
)


def outcomes(processors):
    """DataFrame, a row a target and processor that it was measured on: target, processor, measured, met, command.

    Figures that a manifest has as noted follow, under the same target where the text is the same.
    """
    rows = []
    for target in TARGETS:
        for m in processors:
            found, command = target.found(m), m.part(target.part).get("command", "")
            rows += [{"target": target.asked, "found": found, "command": command, "processor": m.name}] if found else []
    rows = [{**row, "measured": row["found"][0], "met": row["found"][1]} for row in rows]
    rows += [
        {"processor": m.name, **noted, "met": noted["met"]} for m in processors for noted in m.manifest.get("noted", [])
    ]
    return pd.DataFrame(rows, columns=["target", "processor", "measured", "met", "command"])


def said(row):
    """What was measured, and whether that misses the target."""
    return f"{row.measured}" + ("" if row.met else ", **missed**")


def side_by_side(rows, processors):
    """The outcomes as rows of a table: a target a row, a processor a column, and the commands at its end."""
    asked = dict.fromkeys([*(target.asked for target in TARGETS), *rows["target"]])
    body = []
    for target in asked:
        mine = rows[rows["target"] == target]
        cells = [
            "; ".join(said(row) for row in mine[mine["processor"] == m.name].itertuples()) or "not measured"
            for m in processors
        ]
        commands = "; ".join(f"`{command}`" for command in dict.fromkeys(mine["command"]) if command)
        body.append([in_table(cell) for cell in (target, *cells, commands)])
    return [["target", *(plain(m.name) for m in processors), "command"], *body]


# ---- the page


def page_text(root=ROOT / "results/bench"):
    """results/bench/README.md."""
    root = Path(root)
    page, manifest, processors = root / "README.md", manifests.read(root), measured.read(root)
    parts = [
        f"# bench: {plain(manifest['title'])}",
        link("All studies", root.parent / "README.md", page),
        manifest["question"],
        f"**Answer.** {answer}" if (answer := questions.speed(root)[1]) else "",
        HOW_TO_READ,
        "## In short",
        "How many times as long others take, per network and step (relu, width 128, float32). For JAX and torch.func: "
        "the least and the most of four shapes. On a GPU the loop trains one network at a time, the stack hundreds.",
        in_short(processors),
        "## Processors",
        table([["processor", "machine", "limited by", "numbers"], *(_processor(m, page) for m in processors)]),
        *(f"{plain(m.name)}: {plain(m.manifest['note'])}" for m in processors if "note" in m.manifest),
        "## Targets",
        table(side_by_side(outcomes(processors), processors)),
    ]
    for heading, part, show in (
        ("The stack against the loop that people write", "stack", _stack),
        ("Against JAX and torch.func", "rivals", _rivals),
        ("The digits sweep against an older commit", "sweep", _sweep_table),
        ("The live panel", "panel", panel.sentence),
        ("Splines, and the forecast", "splines", splines.sentence),
        (f"Loss surfaces against {landscapes.PACKAGE}", "landscapes", _landscapes),
        ("Gradients for the chains of a tunnel", "paths", _paths),
        (f"Stitching against {stitching.PACKAGE}, and against the wrong norm", "stitching", _stitching),
        ("Classifiers stitched at a layer", "stitching_classes", _stitched_classes),
    ):
        parts += _section(heading, part, show, [m for m in processors if m.part(part)])
    return paragraphs([*parts, WRITTEN])


def _processor(m, page):
    numbers = [link(plain(path.name), path, page) for path in sorted(m.folder.iterdir())]
    limits = ", ".join(f"`{key}={value}`" for key, value in m.manifest.get("limits", {}).items())
    device, machine = m.manifest.get("device", "cpu"), m.manifest["machine"]
    return [plain(m.name), plain(machine if device == "cpu" else f"{device}; {machine}"), limits, ", ".join(numbers)]


def _section(heading, part, show, processors):
    """One part of the bench: of each processor its table or sentence, and where that comes from."""
    if not processors:
        return
    yield f"## {heading}"
    for m in processors:
        yield f"**{plain(m.name)}.** {_origin(m.part(part))}"
        found = show(m) if part in TABLES else show(m.part(part))
        yield found if found.startswith("|") else f"{plain(found[0].upper() + found[1:])}."


def _origin(part):
    """By which command, at which commit and when: as far as that is known."""
    facts = [f"`{part['command']}`"] if "command" in part else []
    facts += [f"commit {part['commit']}"] if part.get("commit") else []
    facts += [f"torch {part['torch']}"] if "torch" in part else []
    facts += [f"JAX {part['jax']}"] if part.get("jax") else []
    facts += [f"medians of {part['rounds']} rounds"] if "rounds" in part else []
    facts += [part["made"][:10]] if "made" in part else []
    return f"{', '.join(facts)}."


def _cell(row, column, form):
    """A number of a row as text; blank where it has none."""
    value = row.get(column)
    return "" if value is None or pd.isna(value) else form.format(value)


def _stack(m):
    head = ["layers", "way", "ms per network and step", "GFLOP/s", "against the loop", "against memory", "of torch.bmm"]
    columns = {
        "ms_per_network_step": "{:.2f}" if m.manifest.get("device", "cpu") == "cpu" else "{:.3g}",
        "gflops": "{:.0f}",
        "times_faster_than_loop": "{:.1f}x",
        "times_faster_than_memory": "{:.1f}x",
        "share_of_float32_matrix_rate": "{:.0%}",
    }
    rows = [
        [row["layers"], WAYS[row["way"]], *(_cell(row, column, form) for column, form in columns.items())]
        for row in m.tables["stack"].to_dict("records")
    ]
    return table([head, *rows])


def _rivals(m):
    head = ["layers", "batch", "inputs", "way", "networks", "ms per network and step", "times the stack's"]
    rows = []
    for row in m.tables["rivals"].to_dict("records"):
        ms = _with_spread(row, "ms_per_network_step", "ms_least", "ms_most", "{:.2f}")
        ratio = _with_spread(row, "times_as_long_as_stack", "ratio_least", "ratio_most", "{:.2f}x")
        way = RIVALS.get(row["way"], "the stack") + (" (layers a scan)" if row.get("hidden_layers") == "scan" else "")
        rows.append([row["layers"], row["batch"], row["inputs"], way, _cell(row, "networks", "{:.0f}"), ms, ratio])
    return table([head, *rows])


def _with_spread(row, middle, least, most, form):
    ends = [_cell(row, end, form) for end in (least, most)]
    return _cell(row, middle, form) + (f" ({ends[0]} to {ends[1]})" if all(ends) else "")


def _sweep_table(m):
    head = ["round", "seconds here", f"seconds at {m.part('sweep')['against']}", "ratio"]
    rows = m.tables["sweep"].to_dict("records")
    body = [[f"{r['round']:.0f}", f"{r['here']:.1f}", f"{r['there']:.1f}", f"{r['ratio']:.2f}x"] for r in rows]
    return table([head, *body])


def _landscapes(m):
    head = ["network", "way", "rows a turn", "ms a point", "times the surface's"]
    rows = []
    for row in m.tables["landscapes"].to_dict("records"):
        ms = _with_spread(row, "ms_per_point", "ms_least", "ms_most", "{:.2f}")
        ratio = _with_spread(row, "times_as_long_as_surface", "ratio_least", "ratio_most", "{:.2f}x")
        way = "`loss_surface`" if row["way"] == "surface" else f"`{row['way']}`"
        rows.append([NETWORKS[row["network"]], way, row["rows_a_turn"], ms, ratio])
    said = (f"{plain(remark[0].upper() + remark[1:])}." for remark in landscapes.remarks(m.part("landscapes")))
    return paragraphs([table([head, *rows]), bullets(said)]).rstrip("\n")


def _paths(m):
    head = ["chains", "way", "gradients a CPU second", "times eager PyTorch's"]
    rows = []
    for row in m.tables["paths"].to_dict("records"):
        rate = _with_spread(row, "gradients_per_cpu_second", "rate_least", "rate_most", "{:,.0f}")
        ratio = _with_spread(row, "times_faster_than_torch", "ratio_least", "ratio_most", "{:.1f}x")
        rows.append([row["chains"], paths.SAID[row["way"]], rate, ratio])
    return table([head, *rows])


def _stitching(m):
    head = ["networks", "anchors", "way", "error", "over the decoder's own", "minus ours", "latent error", "ms a fit"]
    head += ["times ours"]
    rows = []
    for row in m.tables["stitching"].to_dict("records"):
        cells = [
            _within(row, "mse", "{:.4f}"),
            _within(row, "over_own", "{:.2f}x"),
            _within(row, "minus_affine", "{:.4f}"),
        ]
        ratio = _with_spread(row, "times_as_long_as_affine", "ratio_least", "ratio_most", "{:.2g}x")
        cells += [_within(row, "latent_error", "{:.3f}"), _cell(row, "ms_per_fit", "{:.2f}"), ratio]
        rows.append([row["models"], row["anchors"], row["way"], *cells])
    said = (f"{plain(remark[0].upper() + remark[1:])}." for remark in stitching.remarks(m.part("stitching")))
    return paragraphs([table([head, *rows]), bullets(said)]).rstrip("\n")


def _stitched_classes(m):
    head = ["layer", "way", "anchors", "accuracy", "the parents' mean", "points below"]
    rows = []
    for row in m.tables["stitching_classes"].to_dict("records"):
        accuracy = [_cell(row, name, "{:.1%}") for name in ("accuracy", "parents")]
        rows.append([row["layer"], row["way"], row["anchors"], *accuracy, _within(row, "points_below", "{:.2f}")])
    return table([head, *rows])


def _within(row, middle, form):
    """A mean with the ends of its interval."""
    return _with_spread(row, middle, f"{middle}_low", f"{middle}_high", form)


# ---- in short


def in_short(processors):
    """One small table of ratios, and how many targets are met."""
    rows = []
    for label, read in (
        ("the loop that people write, at 5, 30 and 50 layers", _depths("times_faster_than_loop")),
        ("one network, its data in memory", _depths("times_faster_than_memory")),
        *((f"{name} (four shapes)", _ratios(way)) for way, name in RIVALS.items()),
        ("the digits sweep at an older commit", _older),
        *(
            (f"`{landscapes.PACKAGE}`: the loss surface of {name}", _surfaces(network))
            for network, name in NETWORKS.items()
        ),
        (f"`{stitching.PACKAGE}`: an affine map between latents, {words.span(stitching.ANCHORS)} anchors", _stitches),
    ):
        cells = [read(m) for m in processors]
        rows += [[label, *cells]] if any(cells) else []
    here = [i for i, _ in enumerate(processors) if any(row[i + 1] for row in rows)]  # processors of any ratio
    head = ["", *(plain(processors[i].name) for i in here)]
    rows = [head, *([row[0], *(row[i + 1] for i in here)] for row in rows)]
    met = (
        outcomes(processors).astype({"met": bool}).groupby(["processor", "target"])["met"].all()
    )  # measured twice: one
    counts = [
        f"{plain(m.name)}: {words.share(met[m.name].to_list() if m.name in met else [])} targets are met"
        for m in processors
        if not m.manifest.get("before")  # kept to compare with: the targets are the present code's
    ]
    return paragraphs([table(rows), bullets(counts)]).rstrip("\n")


def _depths(column):
    def read(m):
        values = [value_of(m, "stack", column, layers=l, way="stack") for l in (5, 30, 50)]
        return "" if None in values else ", ".join(f"{value:.1f}x" for value in values)

    return read


def _ratios(way):
    return lambda m: (ahead_of(way)(m) or ("", None))[0]


def _surfaces(network):
    return lambda m: (surface_ahead_of(landscapes.PACKAGE, network, 0)(m) or ("", None))[0]


def _stitches(m):
    return (stitches_ahead(m) or ("", None))[0]


def _older(m):
    found = m.part("sweep")
    return f"{found['ratio']:.2f}x ({found['against']})" if found else ""


def written(root=ROOT):
    """{path: text} of all that this module writes, as it should be now."""
    bench = Path(root) / "results/bench"
    return {
        bench / "README.md": page_text(bench),
        bench / "targets.csv": outcomes(measured.read(bench)).to_csv(index=False),
    }


def main(arguments=None):
    """Write, or check; exit code 1 where the check has found something."""
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.page", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what is stale")
    options = parser.parse_args(arguments)
    stale = {path: text for path, text in written().items() if not path.exists() or path.read_bytes() != text.encode()}
    for path, text in stale.items():
        if not options.check:
            files.write_whole(path, text)
        print(f"{path.relative_to(ROOT)} is stale; make gallery writes it anew" if options.check else f"wrote {path}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
