"""Chains on densities whose moments are known; what stops them, takes them up again, and is refused.

One small model is compiled: a banana (x0 ~ N(0, 1), x1 | x0 ~ N(x0^2 - 1, 0.5^2)) beside a Gaussian with correlation.
"""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from helpers import files
from helpers.lanes import Stop
from helpers.paths.jax_on_cpu import jnp, on_cpu
from helpers.paths.points import PathError
from helpers.paths.sampling import Chains, Draws, judged, sample, steps_of

MEANS, VARIANCES, CORRELATION = [0, 0, 0, 0], [1, 2.25, 1, 1], 0.8
STARTS = np.random.default_rng(0).standard_normal((4, 4))
NUTS = {"warmup": 600, "draws": 1500, "seed": 1, "target": 0.95, "block": 500}


def log_density(x):
    banana = -0.5 * x[0] ** 2 - 0.5 * ((x[1] - x[0] ** 2 + 1) / 0.5) ** 2
    gaussian = x[2] ** 2 - 2 * CORRELATION * x[2] * x[3] + x[3] ** 2
    return banana - 0.5 * gaussian / (1 - CORRELATION**2)


@pytest.fixture(scope="module")
def nuts():
    return sample(log_density, STARTS, **NUTS)


def batch_means(values, batches=20):
    """(mean, standard error) of correlated draws (chains, n, d): a chain is cut into batches, whose means spread."""
    n = values.shape[1] // batches
    means = values[:, : n * batches].reshape(len(values) * batches, n, -1).mean(1)
    return means.mean(0), means.std(0, ddof=1) / np.sqrt(len(means))


def moments(draws):
    """Those that the model has a formula for: means, variances, E x2 x3."""
    return np.concatenate([draws, draws**2, draws[..., 2:3] * draws[..., 3:4]], -1)


def test_nuts_recovers_moments_within_batch_means_errors(nuts):
    mean, error = batch_means(moments(nuts.draws))
    # x1 has kurtosis 15: errors from the draws, no fixed tolerances. 9 numbers of 80 batches: 1 in 5,000 by chance
    assert (np.abs(mean - [*MEANS, *VARIANCES, CORRELATION]) < 4.5 * error).all()
    assert (error < 0.2).all()


def test_chains_that_agree_converge(nuts):
    assert (nuts.converged, nuts.reason) == (True, "")
    assert nuts.draws.shape == (4, 1500, 4)
    assert (nuts.r_hat <= 1.01).all()
    assert (np.minimum(nuts.ess_bulk, nuts.ess_tail) >= 400).all()
    assert nuts.divergences.shape == (4,)
    assert 0 < nuts.compile_seconds < nuts.seconds
    assert nuts.flat().shape == (6000, 4)
    by_hand = [log_density(x) for x in nuts.draws[2, :5]]
    np.testing.assert_allclose(nuts.log_density[2, :5], by_hand, rtol=1e-12)


def test_killed_between_blocks_it_goes_on_bitwise_the_same(nuts, tmp_path):
    stop, seen = Stop(), []

    def watch(figures):
        seen.append(figures)
        if figures["draws"] == 1000:
            stop.at_step.set()

    stopped = sample(log_density, STARTS, **NUTS, states=tmp_path, stop=stop, watch=watch)
    assert (stopped.converged, stopped.reason.partition(";")[0]) == (False, "stopped after 1000 of 1500 draws")
    assert [figures["draws"] for figures in seen] == [0, 0, 500, 1000]
    assert seen[-1]["r_hat"] > 0
    again = sample(log_density, STARTS, **NUTS, states=str(tmp_path))  # a text is a folder too
    for part in ("draws", "log_density", "divergences"):
        np.testing.assert_array_equal(getattr(again, part), getattr(nuts, part))
    assert again.gradients == nuts.gradients
    assert again.seconds > stopped.seconds
    # a state of other chains, or of another density, is refused
    about = files.read_about(tmp_path / "chains.pt")
    assert about["step"] == steps_of("nuts", 600, 1500, 500) == 4
    other = Chains(log_density, STARTS[:, :3], **NUTS)
    with pytest.raises(ValueError, match="other chains"):
        other.load(files.read_state(tmp_path / "chains.pt")[0])
    warmer = Chains(lambda x: log_density(x) / 2, STARTS, **NUTS)
    with pytest.raises(ValueError, match="another density"):
        warmer.load(files.read_state(tmp_path / "chains.pt")[0])
    assert other.step == warmer.step == -1


def test_the_size_of_blocks_and_thinning_change_no_draw(nuts):
    other = sample(log_density, STARTS, **{**NUTS, "block": 700, "draws": 300, "thin": 5})
    np.testing.assert_allclose(other.draws, nuts.draws[:, 4::5], rtol=1e-9)
    assert other.draws.shape == (4, 300, 4)


@pytest.fixture(scope="module")
def mclmc():
    """(draws without a break, draws from a state after the first block of draws on)"""
    chains = Chains(log_density, STARTS, "mclmc", draws=1500, thin=4, block=2000)
    chains.advance()
    chains.advance()
    state = chains.state()
    whole = []
    for _ in range(2):
        while chains.step < chains.steps:
            chains.advance()
        whole.append(chains.draws())
        chains.load(state)
    return whole


def test_mclmc_says_how_far_it_lies_from_nuts(nuts, mclmc):
    draws, resumed = mclmc
    np.testing.assert_array_equal(draws.draws, resumed.draws)
    assert "no accept step" in draws.note
    # its own bias is of the order of the energy errors: the model's moments within errors and a tenth
    mean, error = batch_means(moments(draws.draws))
    truth = np.array([*MEANS, *VARIANCES, CORRELATION])
    assert (np.abs(mean - truth) < 4.5 * error + 0.1 * np.maximum(truth, 1)).all()
    none, some = nuts.bias_against(nuts), draws.bias_against(nuts)
    assert np.max(np.abs(none)) == 0
    assert some.mean.shape == some.log_variance.shape == (4,)
    wider = Draws(**{**vars(draws), "draws": 1.3 * draws.draws}).bias_against(nuts)
    assert (wider.log_variance > some.log_variance + 2).all()
    assert "standard errors" in str(wider)


def test_tempering_fills_two_ends_that_no_chain_crosses():
    """Modes at -4 and 4 with weights 1/4 and 3/4, times e^2: log Z is 2, as the prior is normalised."""

    def normal(x, mean, sd):
        return -0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd * jnp.sqrt(2 * jnp.pi))

    def ends(x):
        return 2 + jnp.logaddexp(jnp.log(0.25) + normal(x[0], -4, 0.3), jnp.log(0.75) + normal(x[0], 4, 0.3))

    starts = 5 * np.random.default_rng(0).standard_normal((4, 1000, 1))
    draws = sample(ends, starts, "smc", log_prior=lambda x: normal(x[0], 0, 5))
    share = (draws.draws[..., 0] > 0).mean(1)  # a population each
    for values, truth in ((share, 0.75), (draws.log_evidence, 2)):
        assert abs(values.mean() - truth) < 6 * values.std(ddof=1) / 2  # t of 3 degrees of freedom: 1 in 100
    assert draws.converged, draws.reason
    # float32, as networks have it, is taken too
    alone = sample(
        lambda x: ends(x).astype(jnp.float32), np.array([[-4.0], [4.0], [4.1], [3.9]]), warmup=200, draws=200
    )
    assert not alone.converged
    assert alone.reason.startswith("two ends, 1.1 nats apart: no chain crossed (coordinate 0: chain 0 near -")


# ---- what is refused


def made_up(seed=0, chains=4):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((chains, 1000, 2)), rng.standard_normal((chains, 1000)), np.zeros((chains, 1000), bool)


def reason(draws, log_density, divergent, **rest):
    result = judged(draws, log_density, divergent, seconds=1.0, compile_seconds=0.5, **rest)
    assert result.converged == (not result.reason)
    return result.reason


def test_each_reason_is_a_sentence():
    assert reason(*made_up()) == ""
    draws, height, divergent = made_up()
    draws[:2, :, 1] += 20
    height[:2] += 12
    words = "two ends, 12 nats apart: no chain crossed (t: chains 2 and 3 near "
    assert reason(draws, height, divergent, names=["xi", "t"]).startswith(words)
    draws[0, 950:, 1] -= 20
    assert "1 chain crossed" in reason(draws, height, divergent)
    draws, height, divergent = made_up()
    draws[3] = draws[3, :1]
    assert reason(draws, height, divergent).startswith("chain 3 froze")
    draws[:] = draws[:, :1]
    assert reason(draws, height, divergent).startswith("chains 0, 1, 2 and 3 froze")
    draws, height, divergent = made_up()
    draws[..., 0] = 1
    assert reason(draws, height, divergent).startswith("coordinate 0 does not move")
    draws, height, divergent = made_up()
    divergent[2, :50] = True
    assert reason(draws, height, divergent) == "chain 2 diverged in 5.0% of its draws, allowed is up to 1%"
    walk = np.cumsum(draws, 1) / 30
    assert reason(walk, height, divergent).startswith("chain 2 diverged in 5.0%")  # it says why R-hat is large
    assert reason(*made_up(chains=2)).startswith("2 chains cannot show that they agree: take 4 or more")
    draws, height, divergent = made_up()
    draws = np.cumsum(draws, 1) / 30
    words = reason(draws, height, divergent)
    assert "R-hat is" in words
    assert "bulk ESS is" in words
    assert "in coordinate" in words
    draws, height, divergent = made_up()
    assert reason(draws[:, :60], height[:, :60], divergent[:, :60]).startswith("bulk ESS is")
    assert "8 draws or more" in reason(draws[:, :3], height[:, :3], divergent[:, :3])
    draws[1, 1, 1] = np.nan
    assert reason(draws, height, divergent).startswith("R-hat of coordinate 1 is no number")


def test_a_tuner_that_froze_is_left_out_of_the_median():
    from types import SimpleNamespace

    from helpers.paths.sampling import _median

    chains = SimpleNamespace(count=3, notes=[])
    found = SimpleNamespace(
        L=np.array([1.0, 2.0, 1.0]), step_size=np.array([0.5, 0.3, 1e-9]), inverse_mass_matrix=np.ones((3, 2))
    )
    tuned = _median(chains, found, 1000)
    assert (tuned["L"], tuned["step_size"]) == (1.5, 0.4)
    assert chains.notes[0].startswith("MCLMC's tuner froze in chain 2")
    found.step_size = found.step_size * 1e-9
    with pytest.raises(PathError, match="froze in all 3 chains"):
        _median(chains, found, 1000)


def bad(**changes):
    return {"log_density": log_density, "starts": STARTS, **changes}


BAD = {
    "log_density returns float64 of shape (4,); allowed is one real number": bad(log_density=lambda x: x),
    "log_density returns None": bad(log_density=lambda x: None),
    "log_density returns int64 of shape ()": bad(log_density=lambda x: jnp.argmax(x)),
    "JAX cannot compile log_density (TracerArrayConversionError": bad(
        log_density=lambda x: -np.sum(np.asarray(x) ** 2)
    ),
    "JAX cannot compile log_density (TracerBoolConversionError": bad(log_density=lambda x: x[0] if x[0] > 0 else 0.0),
    "JAX cannot compile log_density (TypeError": bad(log_density=lambda x: torch.sum(x)),
    "log_density is not finite at the start of chain 2": bad(
        log_density=lambda x: jnp.log(x[0] + 1) - x[0], starts=[[0.0], [1.0], [-3.0], [2.0]]
    ),
    "the gradient of log_density is not finite at the start of chain 0": bad(
        log_density=lambda x: -jnp.sqrt(x[0]), starts=np.zeros((4, 1))
    ),
    "the start of chain 1 is not finite": bad(starts=[[0.0], [np.nan]]),
    "starts have the shape (4,); allowed is (chains, d)": bad(starts=np.zeros(4)),
    "starts have the shape (0, 4)": bad(starts=np.zeros((0, 4))),
    "the array of starts is 'here'; allowed are numbers": bad(starts="here"),
    "the array of starts is array([[0.+1.j]]); allowed are numbers": bad(starts=np.array([[1j]])),
    "the density has one dimension": bad(sampler="mclmc", starts=np.zeros((4, 1))),
    "sampler: 'NUTS' is not known; did you mean 'nuts'?": bad(sampler="NUTS"),
    "draws is 0; allowed is a whole number from 1 up": bad(draws=0),
    "warmup is 1.5": bad(warmup=1.5),
    "target is 1.2": bad(target=1.2),
    'sampler is "smc"; it needs log_prior': bad(sampler="smc", starts=np.zeros((4, 10, 4))),
    "starts have the shape (4, 4); allowed is (chains, particles, d)": bad(sampler="smc"),
    "states is 3; allowed is a path": bad(states=3),
    "names are 2; allowed are as many as coordinates, 4": bad(names=["t", "xi"]),
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input_is_one_sentence(words):
    with pytest.raises(PathError) as raised:
        sample(**BAD[words])
    assert str(raised.value).startswith(words) or words in str(raised.value)
    assert "\n" not in str(raised.value)


# ---- JAX


CPU_ALONE = """
import os, sys
os.environ.pop("JAX_PLATFORMS", None)
assert "jax" not in sys.modules
from helpers.paths.jax_on_cpu import jax, jnp, on_cpu
assert os.environ["JAX_PLATFORMS"] == "cpu"
assert {device.platform for device in jax.devices()} == {"cpu"}
"""


def test_jax_keeps_to_the_cpu():
    """In a process of its own: here, another test may have imported JAX before."""
    subprocess.run([sys.executable, "-c", CPU_ALONE], check=True)


def test_jax_keeps_its_own_settings():
    with on_cpu():
        assert jnp.ones(1).dtype == jnp.float64
    assert jnp.ones(1).dtype == jnp.float32


@pytest.mark.parametrize("missing", ["jax", "blackjax"])
def test_without_jax_a_sentence_says_what_to_install(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not there
    spec = importlib.util.find_spec("helpers.paths.jax_on_cpu")
    with pytest.raises(PathError, match=f"{missing} is not installed; install them by `make paths`"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
