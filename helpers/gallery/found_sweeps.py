"""What docs/found.md says of the two main sweeps, and of the forecast of which runs train: Markdown.

Each function takes a study as `studies.read_study` gives it. What theory expects of the published sweeps is not counted
here, as that needs their data: it lies in results/signal and in the executed notebooks.
"""

import re

import numpy as np
import pandas as pd

from helpers import records, words
from helpers.gallery.damage import match, read_table
from helpers.gallery.markdown import bracketed, bullets, plain, table
from helpers.gallery.papers import cited
from helpers.gallery.pictures import sentence_of
from helpers.notebooks import read_notebook
from helpers.sweep import findings, tables

LATE = 10  # epochs; the calls are judged after so many as well
DEEP = ("normal", "trunc_normal", "he_normal", "he_uniform")  # inits of relu at 50 layers: plain ones, then He's


def _bullets(sentences):
    return bullets(map(cited, sentences))


# ---- the two sweeps


def _sentences(study):
    """What the sweep found, without how deep each activation trains (the page says it first) and how fast.

    As its executed notebook has printed it: to read all runs again would take as long as the rest of the page.
    """
    results = study.sweeps[study.name]
    left_out = ("Fastest", *(f"{name}: " for name in results.config["activations"]))
    printed = [line[2:] for line in _printed(study.folder, "findings.sentences(results)").splitlines()]
    said = printed or findings.sentences(results)
    return [plain(sentence) for sentence in said if not sentence.startswith(left_out)]


def _printed(folder, code=""):
    """What the cells with this code have printed in a sweep's executed notebook; an empty text for no notebook."""
    path = folder / "run.ipynb"
    cells = read_notebook(path)["cells"] if path.exists() else []
    outputs = [out for cell in cells if code in cell["source"] for out in cell.get("outputs", [])]
    return "".join(text for out in outputs for text in out.get("text", ""))


def digits(study):
    results = study.sweeps[study.name]
    cell = tables.cells(results).loc[[("tanh", "orthogonal", 50)]]
    said = (
        f"The last epoch is one of many: tanh with orthogonal at 50 layers has a test accuracy of "
        f"{words.mean(*cell[['test_acc', 'test_acc_std']].iloc[0])} there, {findings.within_runs(results, cell)}."
    )
    return _bullets([*_sentences(study), said])


def mnist(study):
    results = study.sweeps[study.name]
    runs = results.summary
    seeds = [words.share(own.learned) for _, own in runs.groupby("seed")]
    late = runs[runs.learned & (runs.left_plateau > LATE)]
    kinds = [
        f"{len(own)} of {activation} at {words.span(own.layers, '.0f')} layers"
        for activation, own in late.groupby("activation", sort=False)
    ]
    deep = tables.cells(results).xs(50, level="layers").loc["relu"]
    reached = [f"{words.mean(*deep.loc[init, ['test_acc', 'test_acc_std']])} with {init}" for init in DEEP]
    simple = runs[(runs.activation == "relu") & (runs.layers == 50) & runs.init.isin(DEEP[:2])]
    sigmoid = tables.cells(results).loc[["sigmoid"]]
    highest = sigmoid.test_acc.idxmax()
    best = words.mean(*sigmoid.loc[highest, ["test_acc", "test_acc_std"]], ".2f")
    return _bullets(
        [
            *_sentences(study),
            f"By seed {words.listed(seeds)} runs learned. Of these {len(late)} left the plateau after epoch {LATE}: "
            f"{words.listed(kinds) or 'none'}.",
            f"relu at 50 layers with {words.listed(DEEP[:2])}: "
            f"{words.share(simple.left_plateau.notna())} runs leave the plateau, and {words.share(simple.learned)} "
            f"have learned at the last epoch. Test accuracy there: {words.listed(reached)}.",
            f"The best sigmoid network has {highest[2]} layers and {highest[1]}: its test accuracy at the last epoch "
            f"is {best}.",
            f"All {len(runs)} networks took {results.manifest['seconds'] / 60:.0f} minutes on "
            f"{plain(results.manifest['device'])}.",
        ]
    )


# ---- the forecast

COLUMNS = {  # of `calls.published`, and what they are called here
    "runs": "runs",
    "right": "right",
    "six depth scales": "six depth scales",
    "commonest": "what is commoner",
    "a depth for each activation": "a depth for each activation",
}


def calls(study):
    from helpers import calls as counted  # torch, which only this needs

    shown = counted.published(study.folder)[[*COLUMNS]]
    rows = [["set", *COLUMNS.values()], *([name, *row] for name, row in shown.iterrows())]
    rules = read_table(study.folder / "calls.csv").set_index("rule")
    rules = rules[~rules["set"].isin(counted.FIRST_EPOCHS)]  # each run once
    right, of = rules.loc["fitted elsewhere", ["right", "of"]].sum()
    before = rules.loc["six depth scales"].right.sum()
    said = {name: _said(study, name) for name in ("calibration", "epochs")}
    brier = {name: (float(own), float(guess)) for name, own, guess in BRIER.findall(said["calibration"])}
    worst = max(brier, key=lambda name: brier[name][0])
    agree = {name: (float(rank), float(ratio)) for name, rank, ratio, _ in EPOCHS.findall(said["epochs"])}
    ranks, ratios = zip(*agree.values(), strict=True)
    latest = max(agree, key=lambda name: agree[name][1])
    lines = [
        f"All runs together, each once: {right:,.0f} of {of:,.0f} are called right ({right / of:.1%}; six depth scales "
        f"{before / of:.1%}).",
        f"The Brier score, 0 for a perfect forecast, is {brier['digits'][0]:.3f} on the digits, where always saying "
        f"the share that left gives {brier['digits'][1]:.3f}. Its worst is {brier[worst][0]:.3f} ({worst}).",
        f"Expected and measured epoch of leaving have a rank correlation of {words.span(ranks, '.2f')} by set. Their "
        f"median ratio is {words.span(ratios, '.2f')}; {latest} has the largest.",
        f"The constants were fitted on {_fitted_on(study):,} runs that are in no row.{_without_logs(study)}",
    ]
    return "\n\n".join([table(rows), bullets(lines)])


def _fitted_on(study):
    from helpers.calls import FITTED_ON

    return sum(len(records.load_sweep(study.folder / "calibration" / name).summary) for name in FITTED_ON)


def _without_logs(study):
    """A sentence on the runs whose logs were not kept; an empty text where there is none."""
    from helpers.calls import JUDGED_ON

    lost = {}
    for name, folders in JUDGED_ON.items():
        for folder in (folders,) if isinstance(folders, str) else folders:
            summary = records.load_sweep(study.folder.parent / folder).summary
            lost[name] = lost.get(name, 0) + int(summary.crashed.isna().sum())
    parts = [f"{count} runs of {name}" for name, count in lost.items() if count]
    if not parts:
        return ""
    return (
        f" Where logs were not kept ({words.listed(parts)}), a run counts as having left where it had learned at the "
        "last epoch."
    )


BRIER = re.compile(r"(?:: |, (?!\d))([^:]*?) ([\d.]+) \(([\d.]+)\)")
EPOCHS = re.compile(r"(?:: |; )([^:;]*?) ([\d.]+), ([\d.]+) \((\d+) runs\)")


def _said(study, name):
    """The sentence that one of a study's pictures carries."""
    (path,) = (path for path in study.pictures if path.stem == name)
    return sentence_of(path)


def wrong(study):
    """Where the calls on the two main sweeps were wrong, as their executed notebooks have counted it."""
    lines = []
    for name, label in (("digits", "digits"), ("mnist", "MNIST, 50 epochs")):
        printed = _printed(study.folder.parent / name)
        counts = match(r"Wrong (in .*? never did, \d+ left it although they were not expected to)", printed)[1]
        lines.append(f"{label}: wrong {counts}.")
    return bullets(lines)


LOOKED_AT = (  # sets whose outcomes were known when the rule was mended
    "breast cancer, standardised",
    "wine, standardised",
    "Fashion-MNIST, two kinds of shirts",
    "breast cancer, raw",
    "Fashion-MNIST",
)


def elsewhere(study):
    from helpers.theory.limits import outlook

    runs = read_table(study.folder / "elsewhere.csv")
    seen = outlook(runs.assign(momentum=0.0))
    runs = runs.assign(left=runs.left_plateau.notna(), trainable=seen.probability >= 0.5, holds=seen.holds)
    judged = pd.DataFrame([_judged(name, own) for name, own in runs.groupby(["set", "classes"], sort=False)])
    known = judged["set"].isin(LOOKED_AT)
    rows = [["set", "classes", *COLUMNS.values()]]
    halves = {"looked at": judged[known], "trained after": judged[~known]}
    for label, those in halves.items():
        rows += [_row(row["set"], row.classes, row) for _, row in those.iterrows()]
        rows.append(_row(f"**these {len(those)}, {label}**", "", those.drop(columns=["set", "classes"]).sum()))
    wrong = runs[runs.trainable != runs.left]
    missed = wrong[wrong.left]
    less = {
        rule: [f"{row['set']} with {row.classes} classes" for _, row in judged[judged[rule] > judged.right].iterrows()]
        for rule in ("commonest", "before")
    }
    several = words.counted(runs.seed.nunique(), "seed")
    lines = [
        f"The runs have {words.listed(runs.activation.unique())}, {words.span(runs.layers, '.0f')} layers, learning "
        f"rates {words.span(runs.lr, '.3g')}, {words.span(runs.steps, '.0f')} steps and {several}.",
        f"Of {len(wrong)} wrong calls {len(missed)} are runs that left although they were not expected to; "
        f"{(missed.holds < 0.5).sum()} of these were called too large a step.",
        f"What is commoner is right more often on {len(less['commonest'])} of {len(judged)} sets"
        f"{bracketed(less['commonest'])}, six depth scales on {len(less['before'])}{bracketed(less['before'])}.",
    ]
    return "\n\n".join([table(rows), bullets(lines)])


def _judged(name, runs):
    """How many runs of a set are called right, by the rule and by what knows less."""
    shares = tables.baselines(runs).set_index("rule").share
    found = {"set": name[0], "classes": name[1], "runs": len(runs), "right": (runs.trainable == runs.left).sum()}
    found["before"] = (runs.six_depth_scales == runs.left).sum()
    return found | {rule: len(runs) * shares[rule] for rule in ("commonest", "depth")}


def _row(name, classes, counts):
    shares = [f"{counts[rule] / counts.runs:.1%}" for rule in ("right", "before", "commonest", "depth")]
    return [name, classes, f"{counts.runs:.0f}", f"{counts.right:.0f} ({shares[0]})", *shares[1:]]


def trial(study):
    from helpers.calls import wilson

    runs = read_table(study.folder / "prescriptions" / "runs.csv")
    drawn = read_table(study.folder / "prescriptions" / "prescriptions.csv").set_index("combination")
    learned = runs.pivot(index="combination", columns="competitor", values="learned").astype(bool)

    def trained(name):
        low, high = (f"{100 * end:.0f}" for end in wilson(learned[name].sum(), len(learned)))
        return f"{learned[name].sum()} ({low} to {high} %)"

    own = runs[runs.competitor == "prescription"].set_index("combination")
    late = (own.left_epoch / drawn.epoch).median()
    beyond = learned.drop(columns="prescription").any(axis=1) & ~learned.prescription
    return _bullets(
        [
            f"Of {len(learned)} combinations the prescription trained {trained('prescription')} at the first try. In "
            "brackets stand intervals of 95 %.",
            f"PyTorch's default init trained {trained('default_adam')} with Adam at 1e-3, {trained('range_test')} with "
            "SGD at the rate of a learning-rate range test (Smith 2017) whose steps count, and "
            f"{trained('default_sgd')} with SGD at 0.01. Rivals trained {beyond.sum()} that the prescription did not.",
            f"A prescription takes {words.number(drawn.seconds.median(), '.1g')} s (median). It refused "
            f"{words.share(own.refused)}{'' if own.refused.any() else ', so the trial says nothing about refusals'}.",
            f"Networks left the plateau {late:.1f} times as late as expected (median, measured to a tenth of the "
            "steps).",
        ]
    )


def critical(study):
    """What the init that theory solves for does where it fails: with sigmoid."""
    from helpers.gallery.questions import data_name

    said, learned = [], []
    for results in study.sweeps.values():
        deepest = max(results.config["layers_list"])
        rows = results.select(init="critical", activation="sigmoid", layers=deepest)
        learned = [*learned, *rows.learned]
        said.append(f"{words.span(rows.final_train_acc)} on {data_name(results)}")
    return bullets(
        [
            f"{words.share(np.array(learned))} runs of sigmoid at {deepest} layers have learned with it: their train "
            f"accuracy at the last epoch is {words.listed(said)}."
        ]
    )
