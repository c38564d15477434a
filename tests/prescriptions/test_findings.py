"""What the study found: intervals and tests against SciPy, counts and sentences on tables made up here."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from helpers.prescriptions import findings
from helpers.prescriptions.findings import NAMES, mcnemar, wilson
from helpers.prescriptions.study import StudyResults
from helpers.prescriptions.trials import COMPETITORS, PRESCRIPTION

# what became of each combination, by competitor: l learned, c crashed, p stayed on the plateau, d diverged, - refused
FATES = {
    PRESCRIPTION: "llllllll-c",
    "default_sgd": "llpppppppd",
    "default_adam": "lllllppplp",
    "range_test": "lcdlppppld",
}


def made_up(fates=FATES):
    rows, prescribed = [], []
    for i in range(10):
        of = {"combination": f"c{i:02d}", "layers": 3 + 5 * i, "steps": 300 + 100 * i, "hidden_size": 64}
        of |= {"activation": "relu", "dataset": "digits", "batch_size": 32, "seed": i}
        for name, fate in fates.items():
            kind = fate[i]
            row = {"competitor": name, "refused": kind == "-", "learned": kind == "l", "crashed": kind == "c"}
            row |= {
                "diverged": kind == "d",
                "left_plateau": 100.0 if kind in "lc" else np.nan,
                "lr": 0.01 if i == 3 else 0.1 * (i + 1),
            }
            row |= {"left_epoch": 2.0 + i if kind in "lc" else np.nan, "test_acc": 0.9 + i / 100, "seconds": 1.0 + i}
            rows.append({**of, **row} if kind != "-" else {**of, "competitor": name, "refused": True})
        lr = 0.1 if fates[PRESCRIPTION][i] != "-" else np.nan
        prescribed.append({**of, "lr": lr, "lr_low": lr / 2, "lr_high": lr * 4, "epoch": 1.0 + i / 2, "seconds": 0.5})
    return StudyResults(None, {}, pd.DataFrame(prescribed), pd.DataFrame(rows), pd.DataFrame())


def test_of_nothing_any_share_is_possible():
    assert wilson(0, 0) == (0.0, 1.0)


def test_mcnemars_exact_p_is_scipys():
    rng = np.random.default_rng(0)
    for share in (0.5, 0.8, 0.95):
        first, second = rng.random(60) < share, rng.random(60) < 0.6
        alone, other, p = mcnemar(first, second)
        assert (alone, other) == (sum(first & ~second), sum(second & ~first))
        assert p == pytest.approx(binomtest(alone, alone + other).pvalue)
    assert mcnemar([True, False], [True, False]) == (0, 0, 1.0)


def test_the_table_counts_each_fate():
    table = findings.table(made_up()).set_index("competitor")
    for name, fate in FATES.items():
        row = table.loc[NAMES[name]]
        counts = (row.learned, row["fell back"], row.diverged, row.refused)
        assert counts == tuple(fate.count(kind) for kind in "lcd-")
        assert row["left the plateau"] == fate.count("l") + fate.count("c")
        assert row.share == fate.count("l") / 10
        assert (row["from"], row["to"]) == wilson(fate.count("l"), 10)
    assert list(table.index) == [NAMES[name] for name in COMPETITORS]


def test_the_verdict_has_the_numbers():
    learned, against, left, refused, epochs, cost = findings.verdict(made_up())
    assert "prescription 8 of 10 (49 % to 94 %), of those that it promised 8 of 9" in learned
    assert "Adam 0.001 6 of 10" in learned
    # against Adam: 5, 6, 7 alone; Adam alone: 8
    assert f"{NAMES['default_adam']} +20 points (it alone 3, the rival alone 1; p 0.62)" in against
    assert f"{NAMES['range_test']} +50 points (it alone 6, the rival alone 1; p 0.12)" in against
    assert against.index("Adam") < against.index("range test")
    assert "prescription 9 of 10" in left
    assert "range test 4 of 10" in left
    assert "refused 1 (c08); of these a rival trained 1" in refused
    assert "Adam 0.001 and PyTorch's init, SGD by a range test" in refused
    # (1 + i / 2) / (2 + i) is one half, but for c08, which was refused
    assert "0.5 (median of 9 runs; 10 to 90 %: 0.5 to 0.5), rank correlation 1.00" in epochs
    assert "0.50 s" in cost
    assert findings.best_rival(made_up()) == "default_adam"


def test_nothing_refused_and_no_epoch_known_is_said_or_left_out():
    results = made_up({**FATES, PRESCRIPTION: "llllllllll"})
    results.prescriptions["epoch"] = np.nan
    sentences = list(findings.verdict(results))
    assert "It refused none." in sentences
    assert not any("Expected epoch" in sentence for sentence in sentences)


def test_the_pictures_say_what_they_show():
    results = made_up()
    who, rates = findings.who_learned(results), findings.rates(results)
    for name, fate in FATES.items():
        assert f"{NAMES[name]} {fate.count('l')} of 10" in who.sentence
    dots = [len(line.get_xdata()) for axes in who.figure.axes for line in axes.lines]
    assert sum(dots) == 40
    # the range test's rate is 0.1 (i + 1), but 0.01 of i = 3; prescribed 0.1, within 0.05 to 0.4; c08 was refused
    assert "in 3 of 9" in rates.sentence
    assert "over the first is 5 (" in rates.sentence
    plt.close("all")
