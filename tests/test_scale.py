"""What a large sweep needs: closed forms against counted operations, files on disk and sums term by term."""

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_results import write_sweep
from torch.utils.flop_counter import FlopCounterMode

from helpers import networks, records, scale
from helpers.config import ConfigError, Run, SweepConfig
from helpers.sweep import Sweep

SMALL = {"layers_list": [1, 3], "init_types": ["he_normal"], "activations": ["relu"], "seeds": [0, 1], "device": "cpu"}
SMALL |= {"hidden_size": 16, "num_epochs": 2, "train_size": 200, "test_size": 100, "batch_size": 50}
COSTS = scale.costs(
    0.5,
    pd.Series({"CSVs": 0.01, "summary": 1e-5, "checksums": 2e-6}),
    pd.Series({"seconds": 3e-6}),
    pd.Series({"start": 5.0, "a task": 0.02}),
    8,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Sweep({**SMALL, "save_dir": str(tmp_path_factory.mktemp("sweep"))}).run(lambda progress: None)


def test_operations_are_those_that_torch_counts(digits):
    """But for biases, which are no products, and the gradient of the inputs, which nobody computes."""
    config, data = digits(num_epochs=1, train_size=200, test_size=100)
    net = networks.build(config, Run("he_normal", "relu", 6, 0)).double()

    def forward_and_backward(x):
        net(x).sum().backward()

    with FlopCounterMode(display=False) as counter:
        forward_and_backward(data.x_train)
        forward_and_backward(data.x_train[data.probe])
        with torch.no_grad():
            net(data.x_test)  # after the epoch
            net(data.x_train)  # before it
    weights = [weight for weight in net.parameters() if weight.dim() == 2]
    biases = sum(p.numel() for p in net.parameters()) - sum(weight.numel() for weight in weights)
    samples = len(data.x_train) + len(data.probe)
    more = 2 * samples * weights[0].numel() + biases * (6 * samples + 2 * (len(data.x_train) + len(data.x_test)))
    assert scale.operations(config, data, 6) == counter.get_total_flops() + more


def test_estimates_are_near_what_a_sweep_then_needs(results, tmp_path):
    """The bytes: numbers have 2 to 10 characters, so that 8.5 is off by a third at most where most are statistics."""
    sweep = Sweep({**SMALL, "save_dir": str(tmp_path / "new")})
    estimated, measured = scale.estimated(sweep), scale.measured(results)
    assert not (tmp_path / "new").exists()
    assert measured["bytes of its CSV"] / estimated["bytes of its CSV"] == pytest.approx(1, abs=1 / 3)
    nets = [networks.build(sweep.config, Run("he_normal", "relu", layers, 0)) for layers in (1, 3)]
    assert estimated["bytes of its weights"] == 4 * sum(p.numel() for net in nets for p in net.parameters()) / 2
    assert (estimated > 0).all()


def test_measured_are_the_files_on_disk(results):
    sizes = [len(path.read_bytes()) for path in (results.folder / "runs").glob("*.csv")]
    measured = scale.measured(results)
    assert measured["bytes of its CSV"] * 4 == sum(sizes)
    assert measured["seconds on this machine"] * 4 == pytest.approx(results.manifest["seconds"])
    assert 0 < scale.packed_bytes(results) < measured["bytes of its CSV"]


def test_writing_is_timed_beside_the_sweep_and_leaves_it_alone(results):
    before = {path: path.read_bytes() for path in results.folder.rglob("*") if path.is_file()}
    written = scale.writing(results, rows=200)
    assert (written > 0).all()
    assert {path: path.read_bytes() for path in results.folder.rglob("*") if path.is_file()} == before
    assert records.load_sweep(results.folder).summary.equals(results.summary)


def test_listing_makes_the_list_of_all_runs():
    listed = scale.listing(SweepConfig.from_dict(SMALL), runs=2000)
    assert listed["seconds"] > 0
    assert listed["memory"] > len("he_normal_relu_1L_s0")  # its name at least
    # the manifest names each seed, not each run: of 1000 seeds "0, " to "999, " beside 2000 runs
    assert listed["manifest"] == (sum(len(f"{seed}, ") for seed in range(1000)) - len("0, 1, ")) / 2000


@pytest.mark.parametrize("name", COSTS.index)
def test_hours_are_the_sum_over_stacks(name):
    cost, networks_, size, there, seconds = COSTS.loc[name], 80, 8, 0, 0.0
    for _ in range(networks_ // size):
        there += size
        seconds += cost.seconds * (there if cost.grows == "rewritten" else size)
    assert scale.hours(cost, networks_, size) * 3600 == pytest.approx(seconds)


def test_machines_share_the_training_and_nothing_else():
    ratios = {name: scale.hours(cost, 800, 8) / scale.hours(cost, 800, 8, 5) for name, cost in COSTS.iterrows()}
    assert ratios == {name: pytest.approx(5 if name == "training" else 1) for name in COSTS.index}


def test_at_a_wall_a_cost_takes_as_long_as_the_training():
    walls = scale.walls(COSTS, 1000, 8, 10)
    training = COSTS.loc["training"]
    for name in ("summary", "checksums", "list of runs"):
        there = walls["as long as training at"][name]
        assert scale.hours(COSTS.loc[name], there, 8) == pytest.approx(scale.hours(training, there, 8, 10))
    assert walls["as long as training at"]["CSVs"] == float("inf")  # 0.01 s against 0.05: never
    assert scale.walls(COSTS, 1000, 8, 100)["as long as training at"]["CSVs"] == 0  # 0.01 s against 0.005: always


def test_one_writer_keeps_up_with_so_many_machines():
    """0.5 s of training a network, 0.01 s of writing and 0.02 s of handing over for eight."""
    assert scale.enough_machines(COSTS) == pytest.approx(0.5 / (0.01 + 0.02 / 8))


def test_sentences_say_the_numbers():
    stored = scale.storage(2000.0, 800.0, {"manifest": 3.0, "memory": 500.0}, 4000.0, 1_000_000, 8)
    bill = scale.money(
        scale.hours(COSTS.loc["training"], 1_000_000, 8),
        stored["CSVs, packed"],
        {"machine hour": 0.1, "terabyte month": 20.0},
    )
    assert bill.cost["terabyte month"] == pytest.approx(0.0008 * 20)
    first, *rest = scale.verdict(COSTS, stored, bill, 1_000_000, 8, 10)
    assert first == "1,000,000 networks take 139 machine hours: 13.9 hours on 10 machines, at the prices above 13.9."
    assert rest[0].startswith("Made again at every stack: the summary, 174 hours of one process; from 80,000 networks")
    assert (
        "The first wall is the summary: from 80,000 networks on"
        in scale.against_networks(COSTS, 1_000_000, 8, 10).sentence
    )
    assert "keeps up with 40 machines" in scale.against_machines(COSTS, 1_000_000, 8, 10).sentence


def test_figures_draw_the_hours():
    (axes,) = scale.against_networks(COSTS, 1_000_000, 8, 10).figure.axes
    for line, cost in zip(axes.lines, [cost for _, cost in COSTS.iterrows()], strict=False):
        x, y = line.get_xdata(), line.get_ydata()
        assert (x[0], x[-1]) == pytest.approx((8, 10_000_000))
        assert y[-1] == pytest.approx(scale.hours(cost, 10_000_000, 8, 10))
    (axes,) = scale.against_machines(COSTS, 1_000_000, 8, 10).figure.axes
    training, once, again = axes.lines
    assert training.get_ydata()[0] == pytest.approx(0.5 * 1_000_000 / 3600)
    assert once.get_ydata()[0] == pytest.approx((0.01 + 0.02 / 8) * 1_000_000 / 3600)
    assert again.get_ydata()[0] == pytest.approx(15e-6 * 1_000_000 * 125_001 / 2 / 3600, rel=1e-4)


def test_seeds_make_the_networks():
    assert scale.seeds_for(SMALL, 1000) == 500
    assert scale.seeds_for(SMALL, 1001) == 501


GOOD = (10, 2, {"machine hour": 0.1, "terabyte month": 20})


def test_a_plan_is_kept_as_it_is():
    assert scale.asked(*GOOD) == GOOD
    assert scale.asked(np.int64(10), 2, GOOD[2])[0] == 10


@pytest.mark.parametrize(
    ("at", "value", "word"),
    [
        (0, "1e7", "NETWORKS is '1e7'"),
        (0, 0, "NETWORKS is 0"),
        (0, 2.5, "NETWORKS is 2.5"),
        (0, 10**400, "9,223,372,036,854,775,807"),
        (1, None, "MACHINES is None"),
        (1, float("nan"), "MACHINES is nan"),
        (2, None, "PRICES is None"),
        (2, {"machine hour": 0.1}, "PRICES has no 'terabyte month'"),
        (2, {"machine hour": 0.1, "terabyte month": 1, "beer": 3}, "PRICES has no key 'beer'"),
        (2, {"machine hour": float("inf"), "terabyte month": 1}, "PRICES['machine hour'] is inf"),
        (2, {"machine hour": -1, "terabyte month": 1}, "PRICES['machine hour'] is -1"),
    ],
)
def test_a_plan_that_cannot_be_computed_is_one_sentence(at, value, word):
    with pytest.raises(ConfigError) as error:
        scale.asked(*GOOD[:at], value, *GOOD[at + 1 :])
    assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_of_a_sweep_without_a_finished_run_nothing_is_measured(tmp_path):
    given = {**SMALL, "input_size": 64, "output_size": 10, "lr": [0.1, 0.2]}
    missing = [run.name for run in SweepConfig.from_dict(given).runs()]
    with pytest.raises(ConfigError, match="has no finished run to measure"):
        scale.measured(write_sweep(tmp_path, given, missing=missing))
