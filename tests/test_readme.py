"""The pages that people read: their code runs and gives what they say, their commands exist, their links hold."""

import ast
import math
import re
import subprocess
from functools import cache
from urllib.parse import parse_qs, unquote

import numpy as np
import pandas as pd
import pytest

from helpers import ROOT, calls, records, theory, words
from helpers.config import SweepConfig
from helpers.gallery.pictures import sentence_of
from helpers.notebooks import is_relative, links, read_notebook
from helpers.path_study.settings import DEFAULTS as PATH_DEFAULTS
from helpers.prescriptions.study import load_study
from helpers.stitching_study.settings import DEFAULTS as STITCH_DEFAULTS
from helpers.sweep import findings, tables

pytest_plugins = ["warm_processes"]
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
).stdout.splitlines()
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages():
    """{path: [Markdown]} of every tracked page and notebook."""
    found = {}
    for name in TRACKED:
        path = ROOT / name
        if path.suffix == ".md" and path.is_file():
            found[name] = [path.read_text(encoding="utf-8")]
        elif path.suffix == ".ipynb" and path.is_file():
            found[name] = [c["source"] for c in read_notebook(path)["cells"] if c["cell_type"] == "markdown"]
    return found


PAGES = pages()


def blocks(page, *languages):
    return [code for text in PAGES[page] for language, code in FENCED.findall(text) if language in languages]


def with_code(*languages):
    return [page for page in PAGES if blocks(page, *languages)]


# ---- code


@cache
def run_in_order(run, codes):
    """Run code in a fresh Python, which `run` begins; a line with an expression alone is printed.

    Returns what comes out of each block.
    """
    program = []
    for code in codes:
        lines = []
        for node in ast.parse(code).body:
            text = ast.unparse(node)
            shown = isinstance(node, ast.Expr) and not text.startswith(("print(", "register_activation("))
            lines.append(f"print(repr({text}))" if shown else text)
        program += [
            *lines,
            "print('=' * 9)",
            "if 'CONFIG' in globals(): __import__('helpers.config').config.SweepConfig.from_dict(CONFIG)",
            "if 'PARTS' in globals(): from helpers.path_study.settings import study_settings as s; s(CONFIG, PARTS)",
        ]
    done = run("\n".join(program), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("=========\n")[:-1]


def stated(code):
    """What a block says comes out: the comments behind its expressions, and those that stand alone below a print."""
    return [comment.strip() for comment in re.findall(r"# (.*)$", code, re.MULTILINE)]


@pytest.mark.parametrize("page", with_code("python"))
def test_python_on_a_page_runs_and_every_config_is_allowed(page, warm_python):
    """From top to bottom in the repository's folder; the pages of results name what they import in their text."""
    codes = blocks(page, "python")
    if page.startswith("results/"):
        codes = ["import tarfile, pandas as pd", *codes]
    out = run_in_order(warm_python, tuple(codes))
    assert len(out) == len(codes)


def test_the_readme_states_what_comes_out(warm_python):
    codes = blocks("README.md", "python")
    out = dict(zip(codes, run_in_order(warm_python, tuple(codes)), strict=True))
    (loading,) = (code for code in codes if "load_sweep" in code)
    printed, shape = out[loading].splitlines()
    assert stated(loading) == [printed, f"{shape}: epochs x layers"]
    (theory,) = (code for code in codes if "theory" in code)
    numbers = {name: float(number) for name, number in re.findall(r"(\w+)=(\d[\d.e+-]*)", out[theory])}
    stable = "stable" if numbers["chi_parallel"] < 1 else "unstable"
    assert stated(theory)[1] == f"sigma_w2 = {numbers['sigma_w2']:.2f}, q = {numbers['q']:.2f}, {stable}"


def test_the_line_of_run_ipynb_works_where_it_is_to_be_pasted(warm_python):
    """The own activation, below the cell of imports: alone, and with the imports that stand above it."""
    cells = read_notebook(ROOT / "run.ipynb")["cells"]
    (at,) = (
        i for i, cell in enumerate(cells) if cell["cell_type"] == "markdown" and "register_activation" in cell["source"]
    )
    ((_, code),) = FENCED.findall(cells[at]["source"])
    imports = [cell["source"] for cell in cells[:at] if cell["cell_type"] == "code" and "import" in cell["source"]]
    check = "from helpers.activations import ACTIVATIONS\nassert ACTIVATIONS.pop('mine')"
    last = code.strip().splitlines()[-1]
    programs = [
        [*imports, code, check],
        [code, check],
        [*imports, "from helpers.activations import register_activation", last, check],
    ]
    each = ["\n".join(program) for program in programs]
    program = "\n".join(f"exec({text!r}, {{}})" for text in each)  # with names of its own
    done = warm_python(program, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert last == 'register_activation("mine", lambda z: z * torch.tanh(z))'


def inline(page):
    """The code within sentences."""
    return [code for text in PAGES[page] for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", FENCED.sub("", text))]


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("results/")])
def test_every_make_target_and_module_in_a_sentence_is_there(page):
    targets = set(re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets = {name for names in targets for name in names.split()}
    for code in [*inline(page), *blocks(page, "sh", "bash", "")]:
        for target in re.findall(r"\bmake ([a-z][\w-]*)", code):
            assert target in targets, f"{page}: make {target}"
        for module in re.findall(r"python -m (helpers[\w.]*)", code):
            path = ROOT.joinpath(*module.split("."))
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{page}: {module}"


@pytest.mark.parametrize("page", with_code("sh", "bash"))
def test_commands_of_a_page_can_be_given(page, warm_python):
    """Their parts exist and are allowed: make says what it would do, a batch lists what it would run."""
    for line in "".join(blocks(page, "sh", "bash")).splitlines():
        command = line.split("#")[0].split()
        if command[:1] == ["make"]:
            command = ["make", "--dry-run", *command[1:]]
        elif command[1:3] == ["-m", "helpers.batch"]:
            command = [*command[2:], "--list"]
        else:
            assert not command, f"no test knows {line!r}"
            continue
        done = ended(warm_python, *command)
        assert done.returncode == 0, done.stderr


@cache
def ended(warm_python, *command):
    """How a command of make or a module of ours ends: several pages give the same."""
    if command[0] != "make":
        run = "import runpy, sys; del sys.argv[0]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
        return warm_python(run, *command, cwd=ROOT)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


# ---- numbers


def test_what_was_found_is_what_the_results_say():
    """Found anew in the runs; the page has it from the executed notebooks."""
    text = PAGES["docs/found.md"][0]
    for name, where in (("digits", "digits"), ("mnist", "mnist, 50 epochs")):
        section = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
        said = findings.sentences(records.load_sweep(ROOT / "results" / name))
        shown = [f"- {sentence}\n" in section for sentence in said]
        activations = ("relu: ", "tanh: ", "sigmoid: ", "gelu: ", "Fastest")
        assert shown == [not sentence.startswith(activations) for sentence in said]
        executed = (ROOT / "results" / name / "run.ipynb").read_text()
        right, of = re.search(r"rule of two limits .*? called (\d+) of (\d+) runs right", executed).groups()
        (row,) = re.findall(rf"^\| {where} \| {of} \| (\d+) ", text, re.MULTILINE)
        assert row == right


def test_all_calls_together_are_the_sum():
    table = pd.read_csv(ROOT / "results/signal/calls.csv")
    rules = table[table.set != "mnist, 10 epochs"].groupby("rule")
    (right, of), before = rules[["right", "of"]].sum().loc["fitted elsewhere"], rules.get_group("six depth scales")
    said = (
        f"{right:,.0f} of {of:,.0f} are called right ({right / of:.1%}; six depth scales {before.right.sum() / of:.1%})"
    )
    assert said in PAGES["docs/found.md"][0]


def test_the_calls_on_the_digits_are_those_of_the_results():
    """Counted anew, not read from calls.csv."""
    text = " ".join(PAGES["docs/found.md"][0].split())
    results = records.load_sweep(ROOT / "results/digits")
    expected = theory.forecast({**results.config, "device": "cpu"})
    rule, commonest, depth = tables.baselines(tables.called(expected, results.summary)).itertuples()
    runs = calls.with_outcome(expected, results.summary)
    right = (runs.trainable == runs.left).sum()
    row = [f"{rule.of:g}", f"{right} ({right / rule.of:.1%})", f"{runs.was_trainable.eq(runs.left).mean():.1%}"]
    row += [f"{commonest.share:.1%}", words.mean(100 * depth.share, 100 * depth.share_std, ".1f") + " %"]
    assert f"| digits | {' | '.join(row)} |" in text
    false, missed = runs[runs.trainable & ~runs.left], runs[~runs.trainable & runs.left]
    wrong = f"digits: wrong in {len(false) + len(missed)} of {len(runs)} runs: {len(false)} were expected to leave"
    assert f"{wrong} the plateau and never did, {len(missed)} left it although they were not expected to." in text
    rank, ratio = calls.agreement(runs[runs.left])
    sentence = sentence_of(ROOT / "results/signal/figures/epochs.png")  # which the page has its numbers from
    assert f": digits {rank:.2f}, {ratio:.2f} ({runs.left.sum()} runs)" in sentence
    guess = runs.left.mean() * (1 - runs.left.mean())
    brier = np.mean((runs.probability - runs.left) ** 2)
    said = f"is {brier:.3f} on the digits, where always saying the share that left gives {guess:.3f}"
    assert said in text


def test_epochs_of_leaving_are_as_far_from_the_forecast_as_is_said():
    """Counted anew for the set that is farthest from it: of 50 layers."""
    runs = calls.runs_of(ROOT / "results/splines/fifty_layers")
    rank, ratio = calls.agreement(runs[runs.left & runs["at"].notna()])
    text = PAGES["docs/found.md"][0]
    assert f"have a rank correlation of {rank:.2f} to " in text
    assert f" to {ratio:.2f}; fifty layers has the largest." in text


def test_the_calls_elsewhere_are_those_of_their_runs():
    """By the rule of today, from the kernels of each run."""
    runs = pd.read_csv(ROOT / "results/signal/elsewhere.csv")
    called = theory.outlook(runs.assign(momentum=0.0)).probability >= 0.5
    runs = runs.assign(
        right=called == runs.left_plateau.notna(), before=runs.six_depth_scales == runs.left_plateau.notna()
    )
    text = PAGES["docs/found.md"][0]
    for (name, classes), part in runs.groupby(["set", "classes"]):
        (row,) = re.findall(rf"^\| {re.escape(name)} \| {classes} \|.*$", text, re.MULTILINE)
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[3:5] == [f"{len(part)}", f"{part.right.sum()} ({part.right.mean():.1%})"]
        assert cells[5] == f"{part.before.mean():.1%}"
        left = part.left_plateau.notna().mean()
        assert cells[6] == f"{max(left, 1 - left):.1%}"


def test_the_trial_of_prescriptions_is_what_was_counted():
    text = " ".join(PAGES["docs/found.md"][0].split())
    runs = load_study().runs
    learned = runs.pivot(index="combination", columns="competitor", values="learned").astype(bool)
    ends = {
        name: " to ".join(f"{100 * end:.0f}" for end in calls.wilson(learned[name].sum(), len(learned)))
        for name in learned
    }
    said = {name: f"{learned[name].sum()} ({ends[name]} %)" for name in learned}
    assert f"the prescription trained {said['prescription']} at the first try" in text
    assert (
        f"PyTorch's default init trained {said['default_adam']} with Adam at 1e-3, {said['range_test']} with " in text
    )
    assert f"and {said['default_sgd']} with SGD at 0.01." in text
    rivals = learned.drop(columns="prescription").any(axis=1)
    assert not (rivals & ~learned.prescription).any()
    assert not runs.refused.any()


def test_what_is_said_of_single_cells_is_what_the_results_say():
    text = " ".join(PAGES["docs/found.md"][0].split())
    digits = records.load_sweep(ROOT / "results/digits")
    last = [digits.history(f"orthogonal_tanh_50L_s{seed}").test_acc.tail(10) for seed in range(3)]
    ends = [history.iloc[-1] for history in last]
    low, high = min(map(min, last)), max(map(max, last))
    said = (
        f"{np.mean(ends):.3f} +- {np.std(ends, ddof=1):.3f} there, in its runs {low:.3f} to {high:.3f} over the last 10"
    )
    assert said in text
    accuracies, learned = [], 0
    for name in ("digits", "mnist"):
        rows = records.load_sweep(ROOT / "results/critical" / name)
        rows = rows.select(init="critical", activation="sigmoid", layers=50)
        accuracies += [f"{rows.final_train_acc.min():.2f} to {rows.final_train_acc.max():.2f} on"]
        learned += rows.learned.sum()
        assert len(rows) == 3
    assert (
        f"{learned} of 6 runs of sigmoid at 50 layers have learned with it: their train accuracy at the last epoch is "
        f"{accuracies[0]} " in text
    )
    assert f"handwritten digits and {accuracies[1]} MNIST." in text
    cell = {"layers_list": [50], "init_types": ["critical"], "device": "cpu"}
    (slow,) = theory.forecast({**cell, "activations": ["sigmoid"], "lr": 0.01}).reason
    assert slow.startswith("too slow")
    assert "the forecast calls them too slow, even at the best learning rate" in text
    (large,) = theory.forecast({**cell, "activations": ["gelu"]}).reason
    assert f"The forecast allows {large.removeprefix('steps too large: ').replace('lr ', '')}." in text


def test_the_accuracies_of_the_splines_are_those_of_the_results():
    text = " ".join(PAGES["docs/found.md"][0].split())
    accuracies = pd.read_csv(ROOT / "results/splines/digits/outcomes.csv").groupby("experiment").acc_val
    said = {name: words.mean(group.mean(), group.std()) for name, group in accuracies}
    assert (
        f"the spline {said['spline']} after 300 epochs. After 60 relu has {said['relu_slow']}, a sigmoid with" in text
    )
    calibrated = f"{said['calibrated_sigmoid_slow']} and {said['calibrated_spline_slow']}."
    assert (
        f"slope 1 {said['centred_slow']}, and a sigmoid and a learnable spline calibrated to chi1 = 1 {calibrated}"
        in text
    )
    assert f"the centred one {said['centred_sigmoid']}." in text


def test_the_splines_differ_as_surely_as_is_said():
    """Fisher's exact test of 3 of 5 against 0 of n: the chance that all 3 lie among the 5, and its like."""
    table = (
        pd.read_csv(ROOT / "results/splines/digits/outcomes.csv").groupby("experiment").left_at.agg(["count", "size"])
    )
    assert table.loc["spline_control"].tolist() == [3, 5]
    values = []
    for other in ("spline_smooth", "spline_clipped"):
        left, runs = table.loc[other]
        assert left == 0
        chances = [math.comb(5, k) * math.comb(runs, 3 - k) / math.comb(5 + runs, 3) for k in range(4)]
        values.append(f"{sum(p for p in chances if p <= chances[3] * (1 + 1e-9)):.2f}")
    assert f"(Fisher's exact test, p = {' and '.join(values)})" in PAGES["docs/found.md"][0]


def test_every_key_of_config_is_explained():
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", PAGES["docs/config.md"][0].partition("\n## ")[0], re.MULTILINE)
    defaults = {key: default for keys, default in rows for key in re.findall(r"`(\w+)`", keys)}
    config = SweepConfig.from_dict({}).to_dict()
    assert set(defaults) == set(config)
    for key, default in defaults.items():
        first = re.match(r"`(.*?)`", default)
        if first and "<" not in first[1] and first[1] != "{}":
            assert ast.literal_eval(first[1]) == config[key], key


@pytest.mark.parametrize(("heading", "kinds"), [("Paths", PATH_DEFAULTS), ("Stitching", STITCH_DEFAULTS)])
def test_every_setting_of_a_study_is_explained_once_for_each_kind_of_part(heading, kinds):
    section = PAGES["docs/config.md"][0].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \| (all|[a-z, ]+) \| ", section, re.MULTILINE)
    explained = []
    for keys, default, of in rows:
        names, defaults = re.findall(r"`(\w+)`", keys), re.findall(r"`(.*?)`", default)
        written = [*defaults, *[None] * len(names)]
        explained += [(key, written[i], set(of.split(", "))) for i, key in enumerate(names)]
    for kind, settings in kinds.items():
        there = [(key, written) for key, written, of in explained if of & {"all", kind}]
        assert sorted(key for key, _ in there) == sorted(settings), kind
        for key, written in there:
            if written and "..." not in written and not (kind == "sweep" and settings[key] is None):
                assert ast.literal_eval(written) == settings[key], key


# ---- links


def heading_marks(markdown):
    """The places in a page, as repositories name them after its headings."""
    headings = re.findall(r"^#+ +(.+?)\s*$", FENCED.sub("", markdown), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "") for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_a_tracked_file_and_every_mark_to_a_heading(page):
    folders = {"/".join(name.split("/")[:n]) for name in TRACKED for n in range(name.count("/") + 1)}
    here = (ROOT / page).parent
    for target in [target for text in PAGES[page] for target in links(text)]:
        path, _, mark = target.partition("#")
        if not is_relative(target) and not target.startswith("#"):
            continue
        there = (here / unquote(path)).resolve() if path else ROOT / page
        name = there.relative_to(ROOT.resolve()).as_posix().removeprefix(".")
        assert name in TRACKED or name in folders, f"{page}: {target}"
        if name == "results/index.html" and mark:  # the page of results takes what to show from there
            shown = parse_qs(mark)
            assert shown["study"][0] in shown["part"][0]
            assert f"results/page/data/{shown['part'][0]}.js" in TRACKED, f"{page}: {target}"
        elif mark:
            assert mark in heading_marks("\n\n".join(PAGES[name])), f"{page}: {target}"


def test_links_that_repositories_cannot_follow_are_noticed():
    """Of the two tests above: a link is found in each way of writing one, and none in code."""
    text = 'a [b](c.md) ![d](e.png "f") <img src="g.png"> [`h`](i/)\n[j]: k.md\n`[l](m)`\n```\n[n](o)\n```\n[p](#q)'
    assert links(text) == ["c.md", "e.png", "g.png", "i/", "k.md", "#q"]
    assert heading_marks("# A `b`, c\n## [D](e) f?") == {"a-b-c", "d-f"}
