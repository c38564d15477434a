"""The path study: its settings, its tasks, what it writes, and going on after whatever has happened."""

import itertools
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import files, manifests, study_tables
from helpers.checks import ConfigError
from helpers.networks import gaussian_nll
from helpers.path_study import curves, log, posteriors, solutions, tasks
from helpers.path_study.problems import network_of
from helpers.path_study.settings import Plan, cells_of, study_settings
from helpers.path_study.study import PathStudy
from helpers.paths import BezierPath, sampling, set_vector
from helpers.paths.points import PathError

pytest_plugins = ["warm_processes"]
pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"hidden_size": 6, "layers_list": [1], "ensemble": 3, "steps": 150, "k": [2], "curve_steps": 150, "points": 11}
SMALL |= {
    "temperatures": [1.0, 10.0],
    "warmup": 60,
    "draws": 40,
    "seeds": [0],
    "datasets": ["wave"],
    "samples": 4,
    "activations": ["tanh"],
}
LINE = {"toy": {"what": "posteriors", "spaces": ["line"]}}
TUNNEL = {"toy": {"what": "posteriors", "spaces": ["line", "tunnel"]}}
CURVE = "toy--wave--tanh--1L--s0--k2"
MEMBERS = "toy--wave--tanh--1L--s0--members"


def study_of(folder, parts=TUNNEL, **config):
    return PathStudy({**SMALL, **config, "save_dir": str(folder)}, parts)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The one study whose density is compiled."""
    folder = tmp_path_factory.mktemp("finished") / "study"
    study_of(folder).run()
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A finished study of one's own."""
    return shutil.copytree(finished, tmp_path / "study")


def mtimes(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


# ---- settings


@pytest.mark.parametrize(
    ("config", "parts", "words"),
    [
        ({}, {}, "PARTS is {}; allowed is a dict"),
        ({}, {"a": {"k": [2]}}, "PARTS['a'] is {'k': [2]}; allowed is a dict with 'what'"),
        ({}, {"a": {"what": "curve"}}, "PARTS['a']['what']: 'curve' is not known; did you mean 'curves'?"),
        ({}, {"a": {"what": "curves", "k": [0]}}, "PARTS['a']['k'] is 0; allowed is a whole number from 1 up"),
        ({"temprature": 1}, LINE, "CONFIG has no key 'temprature'; did you mean 'temperatures'?"),
        ({}, {"a": {"what": "curves", "chains": 4}}, "PARTS['a'] has 'chains', which curves do not take"),
        ({"device": "cuda"}, LINE, "device is 'cuda'; allowed is 'cpu'"),
        (
            {"sampler": "smc", "draws": 7},
            TUNNEL,
            "PARTS['toy'] has 7 draws, the particles of each of smc's populations",
        ),
        ({"chains": 3}, LINE, "chains is 3; allowed is a whole number from 4 up"),
        ({}, {"a": {"what": "curves", "save_dir": "x"}}, "has 'save_dir', which is the same for all; it belongs into"),
        ({}, {"a": {"what": "curves", "datasets": ["yatch"]}}, "'yatch' is not known; did you mean 'yacht'?"),
        ({}, {"a": {"what": "posteriors", "k": [1], "spaces": ["tunnel"]}}, "asks for a tunnel around k = 1"),
        ({}, {"a": {"what": "curves", "network": "convnet"}}, "has a convnet for wave, which is a table"),
        ({}, {"a": {"what": "sweep", "sweep": "results/nowhere"}}, "sweep is 'results/nowhere', which cannot be read"),
        (
            {},
            {"a": {"what": "sweep", "sweep": {"epochs": 3}}},
            "PARTS['a']['sweep'] has no key 'epochs'; did you mean 'num_epochs'",
        ),
        ({"sweep": {"epochs": 3}}, {"a": {"what": "sweep"}}, "sweep has no key 'epochs'; did you mean 'num_epochs'"),
        ({}, {"a": {"what": "sweep", "sweep": {"lr": -1}}}, "PARTS['a']['sweep']: lr is -1"),
        ({}, {"a": {"what": "sweep", "sweep": {"seeds": [*range(10**4)]}}}, "PARTS['a']['sweep'] asks for "),
        ({}, {"A": LINE["toy"], "a": LINE["toy"]}, "PARTS names 'A' and 'a'"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_one_sentence(config, parts, words):
    with pytest.raises(ConfigError) as refused:
        study_settings({**SMALL, **config}, parts)
    assert words in str(refused.value)
    assert not ("sweep" in words and "CONFIG" in str(refused.value))


def test_more_training_rows_than_a_table_has_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="train_size is 5,000, but wave has 140 training rows"):
        study_of(tmp_path / "study", train_size=5000)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"what": "posteriors", "datasets": ["digits"], "train_size": 7, "spaces": ["line"]}, "no row of digits"),
        ({"what": "posteriors", "activations": ["learnable_spline"], "spaces": ["tunnel"]}, "in JAX are relu, tanh"),
        ({"what": "posteriors", "activations": ["learnable_spline"], "spaces": ["mile"]}, "in JAX are relu, tanh"),
    ],
)
def test_what_would_fail_after_hours_is_refused_before_anything_is_written(parts, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        study_of(tmp_path / "study", {"a": parts})
    assert not (tmp_path / "study").exists()
    assert study_of(tmp_path / "study", {"a": {**parts, "train_size": 8, "spaces": ["line"]}}).left


def test_every_plan_comes_after_those_that_it_needs():
    parts = {"a": {"what": "posteriors", "k": [2, 3], "spaces": ["mile", "volume"]}, "b": {"what": "sweep"}}
    seen = set()
    for plan in sorted(study_settings(SMALL, parts).plans, key=lambda plan: plan.phase):
        assert set(plan.needs) <= seen
        seen.add(plan.key)


# ---- what is written


def test_tables_agree_with_networks_that_are_looked_at_by_hand(finished):
    study, results = study_of(finished), log.load_study(finished)
    cell = cells_of(study.settings)[0]
    problem, vectors = study.worker.problem(cell), log.read_weights(finished, MEMBERS)["weights"]
    rows = results.posteriors.set_index("space")
    outputs = torch.stack([set_vector(network_of(cell, problem), v)(problem.x_test) for v in vectors]).detach()
    lone = -gaussian_nll(outputs[0], problem.y_test).item()
    assert rows.lppd["solution"] == pytest.approx(lone, rel=1e-4)
    log_p = torch.stack([-gaussian_nll(out, problem.y_test, "none") for out in outputs]).double()
    assert rows.lppd["ensemble"] == pytest.approx((log_p.logsumexp(0) - np.log(3)).mean().item(), rel=1e-4)
    rmse = (outputs[..., 0].mean(0) - problem.y_test[:, 0]).square().mean().sqrt().item()
    assert rows.rmse["ensemble"] == pytest.approx(rmse, rel=1e-4)
    assert rows.rmse_units["ensemble"] == pytest.approx(rmse * problem.table.y_std, rel=1e-4)
    table = results.temperatures
    assert (
        rows.temperature["tunnel"]
        == table.temperature[table.lppd_val.idxmax()]
        == table[table.chosen].temperature.item()
    )
    assert rows.lppd_val["line"] == pytest.approx(table.lppd_val.max(), rel=1e-4)
    assert not rows.converged["tunnel"]
    assert "ESS" in rows.reason["tunnel"] or "R-hat" in rows.reason["tunnel"]


def test_a_curve_ends_at_its_solutions_and_its_barriers_are_those_along_it(finished):
    results = log.load_study(finished)
    path, vectors = results.path(CURVE), log.read_weights(finished, MEMBERS)["weights"]
    assert isinstance(path, BezierPath)
    assert torch.equal(path.path(0.0), vectors[0])
    assert path.path(1.0).square().sum() == pytest.approx(vectors[1].square().sum())  # units have changed places
    row, along = results.curves.iloc[0], results.along
    for line, columns in along.groupby("line"):
        loss, share = columns.train_loss.to_numpy(), columns.arc.to_numpy()
        rise = (loss - ((1 - share) * loss[0] + share * loss[-1])).max()
        assert row[f"barrier_{line}"] == pytest.approx(rise, rel=1e-3, abs=1e-5)
    assert row.length >= row.straight_length
    t = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    assert row.length == pytest.approx(float(path.path(t).double().diff(dim=0).norm(dim=1).sum()), rel=1e-4)


def test_a_square_has_the_losses_along_the_curve_in_its_middle_row(finished):
    arc, offset, loss = study_of(finished).square(CURVE, width=11)
    along = log.load_study(finished).along.query("line == 'curve'")
    np.testing.assert_allclose(arc, along.arc, atol=1e-6)
    assert offset[5] == 0
    np.testing.assert_allclose(loss[5], along.train_loss, rtol=1e-3, atol=1e-4)


def test_bands_of_a_mixture_hold_as_much_as_they_say(finished):
    results, problem = (
        log.load_study(finished),
        study_of(finished).worker.problem(cells_of(study_of(finished).settings)[0]),
    )
    bands = results.bands[results.bands.space == "ensemble"]
    net = network_of(cells_of(study_of(finished).settings)[0], problem).double()
    vectors = log.read_weights(finished, MEMBERS)["weights"].double()
    x = torch.as_tensor((bands.x.to_numpy() - problem.table.x_mean.item()) / problem.table.x_std.item())[:, None]
    outputs = torch.stack([set_vector(net, v)(x) for v in vectors]).detach()
    low, high = (
        torch.as_tensor((bands[name].to_numpy() - problem.table.y_mean) / problem.y_std) for name in ("low", "high")
    )
    normal = torch.distributions.Normal(outputs[..., 0], outputs[..., 1].exp())
    inside = (normal.cdf(high) - normal.cdf(low)).mean(0)
    assert (inside - 0.9).abs().max() < 0.03  # a normal by 20 points


def test_draws_of_data_with_one_input_are_kept(finished):
    results = log.load_study(finished)
    positions = results.draws(f"{CURVE}--tunnel")["positions"]
    assert positions.shape == (4, 40, 2)
    with pytest.raises(log.StudyError, match="there are no draws of"):
        results.draws(f"{CURVE}--volume")


def test_reading_takes_no_torch(finished):
    code = f"import sys; from helpers.path_study.log import load_study; load_study({str(finished)!r}); "
    code += "print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_classes_have_accuracies(tmp_path):
    parts = {
        "digits": {"what": "posteriors", "datasets": ["digits"], "spaces": ["line"], "train_size": 160, "test_size": 50}
    }
    results = study_of(tmp_path / "study", parts, steps=60, curve_steps=20).run()
    assert results.posteriors.accuracy.between(0.2, 1).all()
    assert results.posteriors.rmse.isna().all()
    assert (results.posteriors.train_rows == 140).all()
    assert results.along.train_acc.between(0, 1).all()


def test_runs_of_a_sweep_are_joined_and_dead_ones_named(tmp_path):
    sweep = {"dataset": "digits", "train_size": 300, "layers_list": [1, 4], "init_types": ["he_normal", "zero"]}
    sweep |= {
        "activations": ["relu"],
        "seeds": [0, 1],
        "hidden_size": 16,
        "num_epochs": 15,
        "lr": 0.1,
        "batch_size": 32,
    }
    parts = {"sweep": {"what": "sweep", "sweep": sweep, "pairs": ["seeds", "inits"], "curve_steps": 20}}
    curves = study_of(tmp_path / "study", parts).run().curves
    assert sorted(curves.ends.unique()) == ["two inits", "two seeds"]
    dead = curves[["dead_a", "dead_b"]].to_numpy()
    of_zero = np.array([[run.startswith("zero") for run in (row.run_a, row.run_b)] for row in curves.itertuples()])
    assert (dead[curves.layers == 1] == of_zero[curves.layers == 1]).all()
    assert (curves.dead == dead.any(1)).all()


# ---- going on


class Killed(RuntimeError):
    pass


def without_seconds(folder):
    tables = {
        name: pd.DataFrame([row for rows in log.read_rows(folder, name).values() for row in rows], dtype=str)
        for name in log.TABLES
    }
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in tables.items()}


@pytest.mark.parametrize(
    ("work", "at"), [(solutions.Members, 2), (curves.Curve, 2), (curves.Curve, 3), (posteriors.Line, 1)]
)
def test_a_study_that_was_killed_goes_on_to_the_same_tables(work, at, finished, tmp_path, monkeypatch):
    folder, calls = tmp_path / "study", []
    advance = work.advance

    def killed(self, stop=None):
        calls.append(self.step)
        if len(calls) == at:
            raise Killed
        return advance(self, stop)

    monkeypatch.setattr(tasks.PathWorker, "save_every", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(work, "advance", killed)
        with pytest.raises(Killed):
            study_of(folder, LINE).run()
        reached = calls[-1]
        assert study_of(folder, LINE).left
    calls.clear()
    monkeypatch.setattr(work, "advance", lambda self, stop=None: (calls.append(self.step), advance(self, stop))[1])
    study_of(folder, LINE).run()
    assert calls[0] == reached  # not from the start
    here, there = without_seconds(folder), without_seconds(finished)
    for name, table in here.items():
        mine = there[name][there[name].task != f"{CURVE}--tunnel"].reset_index(drop=True)
        pd.testing.assert_frame_equal(table, mine)


@pytest.mark.parametrize(("resume", "goes_on"), [(True, False), ("force", True)])
def test_a_state_that_other_code_has_made_is_taken_by_force_alone(resume, goes_on, tmp_path, monkeypatch, capsys):
    folder, advance = tmp_path / "study", solutions.Members.advance

    def stopped(self, stop=None):
        if self.step == 1:
            raise Killed
        return advance(self, stop)

    monkeypatch.setattr(tasks.PathWorker, "save_every", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(solutions.Members, "advance", stopped)
        with pytest.raises(Killed):
            study_of(folder, LINE).run()
    monkeypatch.setattr(tasks, "code_mark", lambda: "of other code")
    study = study_of(folder, LINE, resume=resume)
    (plan,) = [plan for plan in study.left if plan.do == "members"]
    assert (study.task(plan).done > 0) is goes_on
    assert ("other code; toy--wave--tanh--1L--s0--members begins anew" in capsys.readouterr().out) is not goes_on


class Chained:
    """Chains that draw nothing, and blow up in their second block."""

    def __init__(self, log_density, starts, sampler, log_prior=None, **settings):
        self.step, self.given = -1, (starts, sampler, log_prior)

    def advance(self, stop=None):
        if self.step == 0:
            raise PathError("a chain blew up")
        self.step += 1
        return {"step": self.step}

    def state(self):
        return {"step": self.step}

    def load(self, state):
        self.step = state["step"]


@pytest.mark.parametrize("do", ["members", "curve", "tunnel"])
def test_seconds_are_those_of_all_starts_together(do, finished, monkeypatch):
    study, ticks = study_of(finished), itertools.count()
    plan = next(plan for plan in study.settings.plans if plan.do == do)
    monkeypatch.setattr(sampling, "Chains", Chained)
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    task = study.task(plan)
    first, second = study.worker.begin(task), study.worker.begin(task)
    first.advance()
    assert first.seconds > 0
    second.load(first.state())
    second.advance()
    assert second.seconds == 2 * first.seconds  # each has made its work, and a step of it
    if do == "tunnel":
        third = study.worker.begin(task)
        third.load(second.state())
        row = third.results()["rows"]["posteriors"][0]
        assert row["reason"] == "a chain blew up"
        assert row["seconds"] > second.seconds


@pytest.mark.parametrize("do", ["tunnel", "volume"])
def test_tempered_populations_start_at_draws_from_their_prior(do, finished, monkeypatch):
    study = study_of(finished)
    cell = cells_of(study.settings)[0]
    smc = replace(cell, settings={**cell.settings, "sampler": "smc", "draws": 64})
    monkeypatch.setattr(sampling, "Chains", Chained)
    given = study.worker.problem(cell), study.worker.network(cell), log.load_path(finished, CURVE), None, 1.0
    work = posteriors.Sampling(Plan(do, smc, 2), *given)
    starts, sampler, log_prior = work.chains.given
    assert (sampler, starts.shape) == ("smc", (4, 64, 2))
    assert log_prior is work.density.log_prior
    assert work.last == sampling.MOST_TEMPERATURES - 1
    normal = starts[..., 1]  # xi of the tunnel, a coordinate of the volume
    assert abs(normal.mean()) < 4 / np.sqrt(256)
    assert abs(normal.var() - 1) < 4 * np.sqrt(2 / 256)
    work.advance()
    work.advance()
    assert work.results()["rows"]["posteriors"][0]["warmup"] is None


def test_a_finished_study_is_only_read(copy):
    before = mtimes(copy)
    results = study_of(copy).run()
    assert mtimes(copy) == before
    assert results.manifest["finished"]


def test_more_k_are_added_and_nothing_is_made_again(copy):
    before = without_seconds(copy)
    study = study_of(copy, LINE, k=[2, 3])
    assert {plan.key for plan in study.left} == {CURVE.replace("k2", "k3"), f"{CURVE.replace('k2', 'k3')}--line"}
    results = study.run()
    assert sorted(results.curves.k) == [2, 3]
    for name, table in without_seconds(copy).items():
        assert not table.duplicated().any()
        old = table[table.task.isin(before[name].task)].reset_index(drop=True)
        pd.testing.assert_frame_equal(old, before[name])


def test_a_published_folder_without_states_opens_and_goes_on(copy):
    shutil.rmtree(copy / "state")
    assert study_of(copy).left == []
    before = without_seconds(copy)
    study = study_of(copy, LINE, k=[2, 3])
    study.run()  # for which the ensemble has to be trained again, and comes out as it was
    table = without_seconds(copy)["posteriors"]
    pd.testing.assert_frame_equal(
        table[table.task.isin(before["posteriors"].task)].reset_index(drop=True), before["posteriors"], check_like=True
    )


def test_other_settings_are_refused_with_what_differs(copy):
    with pytest.raises(
        ConfigError, match=r"holds another study: lr of PARTS\['toy'\] is 0.005 there and 0.1 here; choose"
    ):
        study_of(copy, lr=0.1)


@pytest.mark.parametrize(
    "name", ["posteriors.csv", "manifest.json", f"state/rows/{CURVE}.json", f"state/weights/{CURVE}.pt"]
)
def test_a_damaged_file_is_named_and_what_it_held_is_made_again(name, copy, capsys):
    before = without_seconds(copy)
    path = copy / name
    path.write_bytes(path.read_bytes()[:-20])
    if name == "manifest.json":
        with pytest.raises(ConfigError, match=r"manifest.json is not readable JSON .* get it back, or move it away"):
            study_of(copy)
        path.unlink()
    if name == "posteriors.csv":
        with pytest.raises(log.StudyError, match=r"posteriors.csv is damaged: its checksum"):
            log.load_study(copy)
    if "weights" in name:  # the line, which needs them, is to be made again
        (copy / "state/rows" / f"{CURVE}--line.json").unlink()
        (copy / "temperatures.csv").unlink()
    study_of(copy, LINE).run()
    if name.startswith("state"):
        assert path.name.rpartition(".")[0] in capsys.readouterr().out
    for table, rows in without_seconds(copy).items():
        pd.testing.assert_frame_equal(rows, before[table])


def rows_of_other_settings(path):
    record = study_tables.read_rows_of(path)
    record["of"]["settings"]["lr"] = 0.5
    study_tables.write_rows_of(path.parents[2], path.stem, record)


def a_folder(path):
    path.unlink()
    path.mkdir()
    (path / "something").write_text("else")


STRANGE = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "empty": lambda path: path.write_bytes(b""),
    "of other settings": rows_of_other_settings,
    "a manifest": lambda path: shutil.copy(path.parents[2] / "manifest.json", path),
    "a folder": a_folder,
}


@pytest.mark.parametrize("task", [CURVE, CURVE.replace("s0", "s1"), "other--wave--tanh--1L--s0--k2"])
@pytest.mark.parametrize("strange", STRANGE)
def test_strange_rows_are_named_once_set_aside_and_change_nothing(task, strange, copy, capsys):
    before, path = without_seconds(copy), copy / "state/rows" / f"{task}.json"
    if task != CURVE:
        shutil.copy(copy / "state/rows" / f"{CURVE}.json", path)
    STRANGE[strange](path)
    study_of(copy).run()
    assert f"{path} " in capsys.readouterr().out
    assert not path.exists()
    assert len(list(path.parent.glob(f"{path.name}.aside*"))) == 1
    there = study_of(copy).there
    there.begin({})
    there.write_tables(complete=True)  # anew
    assert path.name not in capsys.readouterr().out
    for table, rows in without_seconds(copy).items():
        pd.testing.assert_frame_equal(rows, before[table])


def test_folders_where_files_are_to_be_are_set_aside(copy, capsys):
    before = without_seconds(copy)
    for name in (f"state/weights/{CURVE}.pt", f"state/rows/{CURVE}.json", f"curves/{CURVE}.npz", "manifest.json"):
        (copy / name).unlink()
        if name != "manifest.json":
            (copy / name).mkdir()
    (copy / "state" / f"{CURVE}.pt").mkdir()
    study_of(copy).run()
    assert f"weights/{CURVE}.pt is a folder where a file is to be; it is set aside" in capsys.readouterr().out
    assert (copy / f"curves/{CURVE}.npz").is_file()
    for table, rows in without_seconds(copy).items():
        pd.testing.assert_frame_equal(rows, before[table])


def test_tables_that_alone_know_what_is_finished_are_kept(copy):
    before = without_seconds(copy)
    shutil.rmtree(copy / "state")
    manifests.write(copy, {**manifests.read(copy), "finished": None})  # as of a study that was stopped
    study_of(copy).run()
    for table, rows in without_seconds(copy).items():
        pd.testing.assert_frame_equal(rows, before[table])


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (f"draws/{CURVE}--tunnel.npz", lambda results: results.draws(f"{CURVE}--tunnel")),
        (f"curves/{CURVE}.npz", lambda results: results.path(CURVE)),
    ],
)
@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04 the beginning of one", None])
def test_damaged_arrays_are_named(name, read, content, copy):
    there = (copy / name).read_bytes()
    (copy / name).write_bytes(there[: len(there) // 2] if content is None else content)
    with pytest.raises(log.StudyError, match=rf"{(copy / name).name} is damaged .* get it back"):
        read(log.load_study(copy))


def test_without_jax_a_sentence_comes_before_any_work_and_the_line_needs_none(tmp_path, warm_python):
    code = (
        "import sys; sys.modules['jax'] = None; from helpers.path_study.study import PathStudy\n"
        f"config = { ({**SMALL, 'save_dir': str(tmp_path / 'study')})!r}\n"
        f"PathStudy(config, {LINE!r})\n"
        f"try: PathStudy(config, {TUNNEL!r})\n"
        "except ValueError as error: print(error)"
    )
    done = warm_python(code)
    assert done.returncode == 0, done.stderr
    assert "sampling needs JAX and BlackJAX, and jax is not installed; install them by" in done.stdout
    assert not (tmp_path / "study").exists()


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(log.StudyError, match="holds no path study"):
        log.load_study(tmp_path)
    assert not log.is_finished(tmp_path)
    files.write_json(tmp_path / "manifest.json", {"config": {}})
    with pytest.raises(ConfigError, match=r"manifest.json is of no path study; choose another save_dir"):
        study_of(tmp_path, LINE)


# ---- data


def test_seeds_parts_and_subsets_may_come_in_another_order(copy):
    assert study_of(copy, LINE, seeds=[1, 0]).left  # the rows of seed 0 are as they were
    small = {"what": "curves", "datasets": ["digits"]}
    both = {"a": {**small, "train_size": 40}, "b": {**small, "train_size": 50}, **TUNNEL}
    assert len(study_of(copy, both).there.data) == 3
    assert study_of(copy, dict(reversed(both.items()))).there.data == study_of(copy, both).there.data


def test_every_part_is_looked_at_before_anything_is_written(tmp_path):
    parts = {**LINE, "more": {"what": "curves", "train_size": 5000}}
    with pytest.raises(ConfigError, match="train_size is 5,000, but wave has 140 training rows"):
        study_of(tmp_path / "study", parts)


def test_chains_are_kept_when_the_line_that_they_take_their_temperature_from_is_made_again(copy):
    (copy / "state/rows" / f"{CURVE}--line.json").unlink()
    (copy / "temperatures.csv").unlink()
    study = study_of(copy)
    assert [plan.do for plan in study.left] == ["line"]
    before = (copy / "state/rows" / f"{CURVE}--tunnel.json").read_bytes()
    study.run()
    assert (copy / "state/rows" / f"{CURVE}--tunnel.json").read_bytes() == before
