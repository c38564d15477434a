"""Draws from a log density by chains: NUTS, MCLMC, and tempered populations, from BlackJAX on the CPU.

    draws = sample(log_density, starts)     # starts: (chains, d)
    draws.draws, draws.converged, draws.reason

`Chains` is a work of `lanes.py`: a step is a block of draws, of the warm-up at first. So progress, divergences, Stop
and resume are one mechanism. A chain's random numbers depend on the seed, the chain and the number of the draw alone:
neither the size of the blocks nor a resume changes a bit of its draws.

A chain is compiled by itself, and as many chains as torch has threads here (a lane's share of the cores) go on at the
same time: chains that are compiled together wait at each draw for the longest tree among them. XLA keeps a product to
one core unless it is large; large ones it spreads over all cores of the process, whatever the share.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from helpers import checks, words
from helpers.files import DamagedError, checksum, read_about
from helpers.lanes import Stop, Task, drive, state_file
from helpers.paths.diagnostics import bias, ess_bulk, ess_tail, r_hat
from helpers.paths.jax_on_cpu import blackjax, jax, jnp, on_cpu
from helpers.paths.points import PathError, doubles
from helpers.progress import Watched

SAMPLERS = ("nuts", "mclmc", "smc")
WORST_R_HAT = 1.01
LEAST_ESS = 400
LEAST_CHAINS = 4
MOST_DIVERGENT = 0.01  # of a chain's draws
APART = 3.0  # standard deviations within chains, between chains that sit at different ends

FAST, SLOW, LAST_OF_WINDOW, DRAW, SKIP = range(5)  # what a step of NUTS does to its step size and mass matrix

MOST_TEMPERATURES = 200
LEAPFROGS = 10  # of a move of a particle
MOVES = 5  # of each particle, at each temperature
LEAST_ACCEPTED = 0.5  # of the last moves, all at temperature 1
KEPT = 0.8  # of the particles, as an effective number, from a temperature to the next
FROZEN = 1e-3  # step size * steps / L of MCLMC's tuner: about 1 in a healthy chain, below 1e-5 in a frozen one


@dataclass(frozen=True)
class Draws:
    """What chains have drawn.

    draws            (chains, draws, d)
    log_density      (chains, draws)
    r_hat            (d,) rank-normalised split R-hat
    ess_bulk         (d,)
    ess_tail         (d,) effective sample sizes
    divergences      (chains,) how many draws ended in one
    seconds          on the clock, warm-up and compiling included, of all starts
    compile_seconds  of them
    converged        whether the draws may be taken for the density's
    reason           why not, a sentence; "" where they converged
    note             what to know beside it, a sentence: MCLMC has no accept step
    gradients        of the log density, in all
    log_evidence     (chains,) of tempered populations: log of (integral of the density / integral of the prior)
    """

    draws: np.ndarray
    log_density: np.ndarray
    r_hat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray
    divergences: np.ndarray
    seconds: float
    compile_seconds: float
    converged: bool
    reason: str
    note: str = ""
    gradients: int = 0
    log_evidence: np.ndarray | None = None

    def flat(self):
        """(chains * draws, d) the draws of all chains, one after the other."""
        return self.draws.reshape(-1, self.draws.shape[2])

    def bias_against(self, other):
        """How far these draws lie from another sampler's, those of MCLMC from those of NUTS: a Bias."""
        return bias(self.draws, other.draws)


def sample(log_density, starts, sampler="nuts", warmup=1000, draws=1000, seed=0, *, block=250, stop=None, watch=None,
           states=None, **settings):  # fmt: skip
    """Draws from a density by chains. Raises PathError.

    log_density  a function of a position (d,), written with jax.numpy, to a number: the log density up to a constant
    starts       (chains, d), a chain each; smc: (chains, particles, d), drawn from the prior, a population each
    sampler      nuts   with Stan's warm-up
                 mclmc  Langevin without an accept step: its bias against NUTS is to be reported, see Draws.bias_against
                 smc    tempered populations, for ends that no chain crosses; wants log_prior, see Chains. Its draws
                        are its particles, and it has no warm-up
    stop         a lanes.Stop; what is drawn by then is returned, and its reason says so
    watch        called with the figures after each block
    states       a folder, a text or a Path, where each block is saved: the same call goes on there
    settings     see Chains
    """
    worker = _Worker(lambda: Chains(log_density, starts, sampler, warmup, draws, seed, block=block, **settings))
    watch, stop, task = Watched(watch), stop or Stop(), Task("chains", {}, 1.0, worker.chains.steps)
    if states is not None:
        states = _folder(states)
        task = task._replace(done=_saved_step(state_file(states, task.name), worker.about(task)))
    drive(task, worker, states, stop, lambda event: watch(event.figures))
    return worker.chains.draws()


def _folder(states):
    """The folder of the states as a Path. Raises PathError."""
    try:
        return Path(checks.path("states", str(states) if isinstance(states, Path) else states))
    except checks.ConfigError as error:
        raise PathError(str(error)) from error


# ---- the work


def steps_of(sampler, warmup=1000, draws=1000, block=250, thin=1):
    """The number of the last step of Chains: blocks of the warm-up and of the draws are counted from 0."""
    if sampler == "smc":
        return MOST_TEMPERATURES - 1
    return (-(-warmup // block) if sampler == "nuts" else 1) + -(-draws * thin // block) - 1


class Chains:
    """Chains that draw; a work of `lanes.py`. See `sample`.

    thin        of the draws only every so many is kept; `draws` of them are
    target      acceptance rate that NUTS adapts its step size to
    doublings   most of a tree of NUTS: at most 2^doublings - 1 leapfrog steps a draw
    log_prior   of smc: its populations go from this density, whose draws the starts are, to log_density; where it is
                normalised, `log_evidence` is the log of the integral of exp(log_density)
    names       of the coordinates, for the reasons

    A step is a block of draws, of the warm-up at first. A step of smc is a temperature, and `step` is the last one once
    all populations have arrived. Raises PathError.
    """

    def __init__(self, log_density, starts, sampler="nuts", warmup=1000, draws=1000, seed=0, *, block=250, thin=1,
                 target=0.8, doublings=10, log_prior=None, names=None):  # fmt: skip
        started = time.perf_counter()
        self.settings = _settings(sampler, warmup, draws, seed, block, thin, target, doublings)
        self.sampler, self.warmup, self.wanted, self.block = sampler, warmup, draws, block
        self.seed, self.thin, self.names = seed, thin, names
        self.steps = steps_of(sampler, warmup, draws, block, thin)
        self.log_density, self.log_prior = _in_double(log_density), _in_double(log_prior)
        self.starts = _checked_starts(starts, sampler)
        self.count, self.dim = len(self.starts), self.starts.shape[-1]
        if names is not None and len(names) != self.dim:
            raise PathError(f"names are {len(names)}; allowed are as many as coordinates, {self.dim}")
        self.reached, self.seconds, self.compile_seconds = -1, 0.0, 0.0
        self.kept, self.notes, self.gradients = [], [], 0
        self._compiled = {}
        with on_cpu():
            self.first = self._values(log_density, "log_density")
            if sampler == "smc":
                if log_prior is None:
                    raise PathError('sampler is "smc"; it needs log_prior, the density that its starts are drawn from')
                self._values(log_prior, "log_prior")
            self.carry = BEGIN[sampler](self)
        self.seconds = time.perf_counter() - started

    # ---- the log density

    def _values(self, function, name):
        """(log densities, gradients) at the starts. Raises PathError for a function that cannot be compiled there."""
        flat = self.starts.reshape(-1, self.dim)
        try:
            shape = jax.eval_shape(function, jax.ShapeDtypeStruct((self.dim,), float))
            if not hasattr(shape, "shape") or shape.shape != () or not jnp.issubdtype(shape.dtype, jnp.floating):
                came = f"{shape.dtype} of shape {shape.shape}" if hasattr(shape, "shape") else checks.shown(shape)
                raise PathError(f"{name} returns {came}; allowed is one real number for a position ({self.dim},)")
            started = time.perf_counter()
            # one after the other where it is a gradient alone that is asked for: a small program compiles fast
            many = jax.jit(lambda z: jax.lax.map(jax.value_and_grad(function), z))
            values, gradients = (np.asarray(array, float) for array in many(flat))
            self.compile_seconds += time.perf_counter() - started
        except PathError:
            raise
        except Exception as error:  # whatever a stranger's function raises when it is traced
            first = str(error).strip().partition("\n")[0].rstrip(".")
            raise PathError(
                f"JAX cannot compile {name} ({type(error).__name__}: {first[:160]}); allowed is a function of a "
                f"position ({self.dim},) written with jax.numpy: no NumPy or torch of the position, no `if` on it"
            ) from error
        for what, array in (("", values), ("the gradient of ", gradients)):
            wrong = ~np.isfinite(array.reshape(len(flat), -1)).all(1).reshape(self.count, -1).all(1)
            if wrong.any():
                chain = int(np.flatnonzero(wrong)[0])
                raise PathError(
                    f"{what}{name} is not finite at the start of chain {chain}; allowed are starts where it is"
                )
        return values.reshape(self.starts.shape[:-1]), gradients.reshape(self.starts.shape)

    # ---- what the engine asks for

    @property
    def step(self):
        return self.steps if self.sampler == "smc" and bool(np.all(self.carry["arrived"])) else self.reached

    def advance(self, stop=None):
        """Do one block; returns its figures, None when stopped before it."""
        if stop is not None and stop.now.is_set():
            return None
        started = time.perf_counter()
        with on_cpu():
            ADVANCE[self.sampler](self, self.reached + 1)
        self.reached += 1
        self.seconds += time.perf_counter() - started
        return self.figures()

    def figures(self):
        """Plain data: draws so far, divergences, worst R-hat so far (None where there is none)."""
        if self.sampler == "smc":
            return {"step": self.step, "temperature": float(np.min(self.carry["temperature"]))}
        drawn = sum(len(part["divergent"][0]) for part in self.kept)
        figures = {"step": self.step, "draws": drawn, "divergences": 0, "r_hat": None}
        if drawn:
            divergent = np.concatenate([part["divergent"] for part in self.kept], 1)
            figures["divergences"] = int(divergent.sum())
        if drawn >= 8 and self.count > 1:
            worst = np.max(r_hat(np.concatenate([part["positions"] for part in self.kept], 1)))
            figures["r_hat"] = float(worst) if np.isfinite(worst) else None
        return figures

    def state(self):
        with on_cpu():
            leaves = [_as_tensor(leaf) for leaf in jax.tree.leaves(self.carry)]
        kept = [{name: _as_tensor(array) for name, array in part.items()} for part in self.kept]
        plain = {
            "first": _as_tensor(self.first[0]),
            "reached": self.reached,
            "seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
        }
        return {**plain, "gradients": self.gradients, "notes": list(self.notes), "carry": leaves, "kept": kept}

    def load(self, state):
        leaves, structure = jax.tree.flatten(self.carry)
        loaded = [leaf.numpy() for leaf in state["carry"]]
        if [(x.shape, x.dtype) for x in loaded] != [(np.shape(x), np.asarray(x).dtype) for x in leaves]:
            raise ValueError("the state is one of other chains")
        if not np.allclose(state["first"].numpy(), self.first[0], rtol=1e-6):  # another processor rounds otherwise
            raise ValueError("the state is one of another density")
        kept = [{name: tensor.numpy() for name, tensor in part.items()} for part in state["kept"]]
        plain = state["reached"], state["gradients"], state["notes"]
        spent = self.seconds + state["seconds"], self.compile_seconds + state["compile_seconds"]
        self.carry, self.kept = jax.tree.unflatten(structure, loaded), kept
        self.reached, self.gradients, self.notes = plain
        self.seconds, self.compile_seconds = spent

    def results(self):
        """Plain data: arrays of draws and log densities, and what `Draws` says of them."""
        draws = self.draws()
        arrays = ("draws", "log_density", "r_hat", "ess_bulk", "ess_tail", "divergences", "log_evidence")
        plain = ("seconds", "compile_seconds", "converged", "reason", "note", "gradients")
        return {name: getattr(draws, name) for name in arrays + plain}

    def draws(self):
        """What is drawn so far: Draws."""
        return _conclude(self)

    # ---- running

    def compile(self, name, function, *example):
        """A function compiled for arguments like these, once."""
        if name not in self._compiled:
            started = time.perf_counter()
            self._compiled[name] = jax.jit(function).lower(*example).compile()
            self.compile_seconds += time.perf_counter() - started
        return self._compiled[name]

    def side_by_side(self, compiled, arguments):
        """What a compiled function returns, as NumPy, for each chain's arguments, in this thread's share of cores."""

        def one(chain):
            with on_cpu():
                return jax.tree.map(np.asarray, compiled(*arguments[chain]))

        with ThreadPoolExecutor(max(1, min(torch.get_num_threads(), len(arguments)))) as pool:
            return list(pool.map(one, range(len(arguments))))


class _Worker:
    """Of the one task of `sample`."""

    save_every = 0

    def __init__(self, make):
        self.make, self.chains, self.begun = make, make(), False

    def begin(self, task):
        if self.begun:  # what a state was loaded into that turned out to be another's
            self.chains = self.make()
        self.begun = True
        return self.chains

    def about(self, task):
        return {**self.chains.settings, "starts": _fingerprint(self.chains.starts)}

    def halve(self, task, state):
        return None


def _in_double(function):
    """A log density whose values are float64, as the states of the samplers are."""
    return function and (lambda position: jnp.asarray(function(position), float))


def _settings(sampler, warmup, draws, seed, block, thin, target, doublings):
    """The settings as plain data. Raises PathError for one that is not allowed."""
    known = {"sampler": sampler, "warmup": warmup, "draws": draws, "seed": seed, "block": block, "thin": thin}
    known |= {"target": target, "doublings": doublings}
    table = {"sampler": checks.name_in(SAMPLERS), "warmup": checks.whole(1), "draws": checks.whole(1)}
    table |= {"seed": checks.whole(0), "block": checks.whole(1), "thin": checks.whole(1), "target": checks.number}
    table["doublings"] = checks.whole(1, 20)
    try:
        kept = {name: table[name](name, value) for name, value in known.items()}
    except checks.ConfigError as error:
        raise PathError(str(error)) from error
    if not 0 < target < 1:
        raise PathError(f"target is {checks.shown(target)}; allowed is a number between 0 and 1")
    return kept


def _checked_starts(starts, sampler):
    """The starts as a float64 array. Raises PathError."""
    shape = "(chains, particles, d)" if sampler == "smc" else "(chains, d)"
    starts = doubles("the array of starts", starts, f"numbers {shape}").detach().numpy().copy()
    if starts.ndim != (3 if sampler == "smc" else 2) or not starts.size:
        raise PathError(f"starts have the shape {starts.shape}; allowed is {shape}")
    if sampler == "smc" and starts.shape[1] < 8:
        raise PathError(f"starts have {starts.shape[1]} particles in each population; allowed are 8 or more")
    if sampler == "mclmc" and starts.shape[1] < 2:
        raise PathError('sampler is "mclmc" and the density has one dimension; allowed are two or more: take "nuts"')
    wrong = ~np.isfinite(starts.reshape(len(starts), -1)).all(1)
    if wrong.any():
        raise PathError(f"the start of chain {int(np.flatnonzero(wrong)[0])} is not finite; allowed are finite numbers")
    return starts


def _fingerprint(array):
    return checksum(np.ascontiguousarray(array).tobytes())


def _saved_step(path, about):
    """The step that a saved state of the same chains has reached; -1 where there is none."""
    try:
        there = read_about(path)
    except (FileNotFoundError, DamagedError):
        return -1
    if not isinstance(there, dict) or {**there, "step": 0} != {**about, "step": 0}:
        return -1
    return there["step"]


def _as_tensor(leaf):
    return torch.from_numpy(np.array(leaf))


def _of_chain(tree, chain):
    """What a pytree of all chains, with a leading axis of chains, holds of one."""
    return jax.tree.map(lambda leaf: leaf[chain], tree)


def _stacked(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _keys(chains, name):
    """A key for each chain."""
    whole = jax.random.fold_in(jax.random.key(chains.seed), SAMPLERS.index(name))
    return [jax.random.fold_in(whole, chain) for chain in range(chains.count)]


def _keep(chains, first, parts):
    """Keep the draws of a block that are asked for: (positions (n, d), log density, divergent) a chain."""
    positions, values, divergent = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    left = min(positions.shape[1], chains.wanted * chains.thin - first)
    asked = [i for i in range(left) if (first + i + 1) % chains.thin == 0]
    kept = {"positions": positions[:, asked], "log_density": values[:, asked]}
    chains.kept.append({**kept, "divergent": divergent[:, :left]})


# ---- NUTS


def _begin_nuts(chains):
    """Each chain at its start, with a step size of 1 and the unit mass matrix."""
    values, gradients = chains.first
    mass, step_size = blackjax.adaptation.mass_matrix.mass_matrix_adaptation(), _step_sizes(chains.settings["target"])
    adapted = {"step_size": jnp.asarray(1.0), "average": step_size[0](1.0), "mass": mass[0](chains.dim)}
    adapted["inverse_mass"] = adapted["mass"].inverse_mass_matrix
    state = blackjax.mcmc.hmc.HMCState(chains.starts, values, gradients)
    return {"state": state, "adapted": _stacked([adapted] * chains.count)}


def _step_sizes(target):
    return blackjax.adaptation.step_size.dual_averaging_adaptation(target)


def _nuts_block(chains):
    """A block of one chain, compiled once for its warm-up and its draws: (key, stages, first, state, adapted)."""
    kernel = blackjax.nuts.build_kernel()
    _, mass_update, mass_final = blackjax.adaptation.mass_matrix.mass_matrix_adaptation()
    size_begin, size_update, size_final = _step_sizes(chains.settings["target"])

    def adapt(adapted, stage, position, acceptance):
        """Stan's windows: the step size at each step, the mass matrix from the draws of a slow window at its end."""
        average = size_update(adapted["average"], acceptance)
        mass = jax.lax.cond(stage == FAST, lambda: adapted["mass"], lambda: mass_update(adapted["mass"], position))

        def at_the_end():
            final = mass_final(mass)
            return size_begin(size_final(average)), final, final.inverse_mass_matrix

        average, mass, inverse_mass = jax.lax.cond(
            stage == LAST_OF_WINDOW, at_the_end, lambda: (average, mass, adapted["inverse_mass"])
        )
        step_size = jnp.exp(average.log_step_size)
        return {"step_size": step_size, "average": average, "mass": mass, "inverse_mass": inverse_mass}

    def draw(key, stage, state, adapted):
        state, info = kernel(
            key, state, chains.log_density, adapted["step_size"], adapted["inverse_mass"],
            max_num_doublings=chains.settings["doublings"],
        )  # fmt: skip
        adapted = jax.lax.cond(
            stage == DRAW, lambda: adapted, lambda: adapt(adapted, stage, state.position, info.acceptance_rate)
        )
        return state, adapted, info.is_divergent, info.num_integration_steps

    def block(key, stages, first, state, adapted):
        def step(carry, at):
            stage, number = at
            state, adapted = carry
            state, adapted, divergent, leapfrogs = jax.lax.cond(
                stage == SKIP,
                lambda: (state, adapted, False, jnp.zeros((), int)),
                lambda: draw(jax.random.fold_in(key, number), stage, state, adapted),
            )
            return (state, adapted), (state.position, state.logdensity, divergent, leapfrogs)

        numbers = first + jnp.arange(chains.block)
        (state, adapted), drawn = jax.lax.scan(step, (state, adapted), (stages, numbers))
        return state, adapted, drawn

    return block


def _advance_nuts(chains, number):
    """Block `number` of all chains; the blocks of the warm-up come first."""
    of_warmup = -(-chains.warmup // chains.block)
    stages = np.full(chains.block, SKIP)
    if number < of_warmup:
        first = number * chains.block
        window, ends = np.asarray(blackjax.adaptation.window_adaptation.build_schedule(chains.warmup)).T
        planned = (window + ends)[first : first + chains.block]  # FAST 0, SLOW 1, LAST_OF_WINDOW 2
    else:
        drawn = (number - of_warmup) * chains.block
        first = chains.warmup + drawn
        planned = np.full(min(chains.block, chains.wanted * chains.thin - drawn), DRAW)
    stages[: len(planned)] = planned
    keys = _keys(chains, "nuts")
    arguments = [
        (keys[c], stages, np.int64(first), *(_of_chain(chains.carry[part], c) for part in ("state", "adapted")))
        for c in range(chains.count)
    ]
    compiled = chains.compile("block", _nuts_block(chains), *arguments[0])
    states, adapted, parts = zip(*chains.side_by_side(compiled, arguments), strict=True)
    chains.carry = {"state": _stacked(states), "adapted": _stacked(adapted)}
    chains.gradients += int(sum(part[3].sum() for part in parts))
    if number >= of_warmup:
        _keep(chains, drawn, [part[:3] for part in parts])
    elif number == of_warmup - 1:  # the draws take the average of the last window's step sizes
        chains.carry["adapted"]["step_size"] = np.exp(chains.carry["adapted"]["average"].log_step_size_avg)


# ---- MCLMC


def _begin_mclmc(chains):
    """Each chain at its start, in a direction of its own."""
    values, gradients = chains.first
    directions = [
        np.asarray(blackjax.util.generate_unit_vector(jax.random.fold_in(key, 0), start))
        for key, start in zip(_keys(chains, "mclmc"), chains.starts, strict=True)
    ]
    state = blackjax.mcmc.integrators.IntegratorState(chains.starts, np.stack(directions), values, gradients)
    tuned = {"L": np.zeros(()), "step_size": np.zeros(()), "inverse_mass": np.ones(chains.dim)}
    return {"state": state, "tuned": tuned}


def _advance_mclmc(chains, number):
    """Tune (block 0), or draw a block, of all chains."""
    kernel, keys = blackjax.mcmc.mclmc.build_kernel(), _keys(chains, "mclmc")
    states = [_of_chain(chains.carry["state"], c) for c in range(chains.count)]
    if number == 0:
        steps = 3 * chains.warmup  # the tuner spends a third of what it takes for the draws to come

        def tune(key, state):
            state, found, _ = blackjax.mclmc_find_L_and_step_size(
                kernel, steps, state, key, logdensity_fn=chains.log_density
            )
            return state, found

        arguments = [(jax.random.fold_in(key, 1), state) for key, state in zip(keys, states, strict=True)]
        states, found = zip(*chains.side_by_side(chains.compile("tune", tune, *arguments[0]), arguments), strict=True)
        chains.carry = {"state": _stacked(states), "tuned": _median(chains, _stacked(found), steps)}
        chains.gradients += 2 * chains.warmup * chains.count
        return
    first = (number - 1) * chains.block

    def block(key, first, state, tuned):
        def step(state, number):
            state, info = kernel(
                jax.random.fold_in(key, number), state, chains.log_density, tuned["inverse_mass"], tuned["L"],
                tuned["step_size"],
            )  # fmt: skip
            return state, (state.position, state.logdensity, ~info.nonans)

        return jax.lax.scan(step, state, first + jnp.arange(chains.block))

    arguments = [
        (jax.random.fold_in(key, 2), np.int64(first), state, chains.carry["tuned"])
        for key, state in zip(keys, states, strict=True)
    ]
    compiled = chains.compile("block", block, *arguments[0])
    states, parts = zip(*chains.side_by_side(compiled, arguments), strict=True)
    chains.carry = {**chains.carry, "state": _stacked(states)}
    chains.gradients += 2 * chains.block * chains.count
    _keep(chains, first, parts)


def _median(chains, found, steps):
    """The median over chains of what the tuner found, which differs much between them. Raises PathError if it froze.

    A tuner that froze says nothing: it leaves a step size far below L, with which a chain would never get anywhere.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = found.step_size * steps / found.L
    healthy = np.isfinite(ratio) & (ratio > FROZEN) & np.isfinite(found.inverse_mass_matrix).all(1)
    if not healthy.any():
        raise PathError(
            f"MCLMC's tuner froze in all {chains.count} chains (step size {np.nanmedian(found.step_size):.1g}); "
            'allowed are starts where the density is smooth: take others, or "nuts"'
        )
    if not healthy.all():
        chains.notes.append(
            f"MCLMC's tuner froze in {_chains_named(np.flatnonzero(~healthy))}, which is left out of its median"
        )
    tuned = {"L": found.L, "step_size": found.step_size, "inverse_mass": found.inverse_mass_matrix}
    return {name: np.median(values[healthy], 0) for name, values in tuned.items()}


# ---- tempered populations


def _begin_smc(chains):
    """Populations of equal weights at temperature 0, the prior."""
    shape = chains.starts.shape[:2]
    carry = {"particles": chains.starts, "weights": np.full(shape, 1 / shape[1]), "temperature": np.zeros(chains.count)}
    carry["log_step"] = np.full(chains.count, -0.25 * np.log(chains.dim))
    carry["log_evidence"], carry["arrived"] = np.zeros(chains.count), np.zeros(chains.count, bool)
    carry["divergent"], carry["log_density"] = np.zeros((shape[0], shape[1] * MOVES), bool), chains.first[0]
    return carry


def _advance_smc(chains, number):
    """The next temperature of each population that has not arrived.

    Its particles are drawn anew by their weights, moved by Hamiltonian steps at the temperature they are at, in a
    diagonal metric of their own variances, and weighted for the next temperature, which keeps 80 % of them.
    """

    def log_likelihood(position):
        return chains.log_density(position) - chains.log_prior(position)

    hamiltonian = blackjax.hmc.build_kernel()

    def move(key, state, log_density, step_size, inverse_mass):
        key, key_of_size = jax.random.split(key)
        step_size = step_size * jax.random.uniform(key_of_size, (), minval=0.7, maxval=1.3)  # no orbit returns at once
        return hamiltonian(key, state, log_density, step_size, inverse_mass, LEAPFROGS)

    kernel = blackjax.smc.adaptive_tempered.build_kernel(
        chains.log_prior, log_likelihood, move, blackjax.mcmc.hmc.init, blackjax.smc.resampling.systematic, KEPT
    )

    def temper(key, particles, weights, temperature, log_step):
        mean = weights @ particles
        inverse_mass = weights @ (particles - mean) ** 2 + 1e-12
        parameters = {"step_size": jnp.exp(log_step)[None], "inverse_mass": inverse_mass[None]}
        state = blackjax.smc.tempered.TemperedSMCState(particles, weights, temperature)
        state, info = kernel(key, state, MOVES, parameters)
        accepted = jnp.mean(info.update_info.acceptance_rate)
        divergent = info.update_info.is_divergent.reshape(-1)
        # near the largest stable step some moves blow up and all others are accepted: their mean alone says too little
        too_large = jnp.mean(divergent) > MOST_DIVERGENT / 2
        log_step = log_step + jnp.where(too_large, -0.3, 2 * (accepted - chains.settings["target"]))
        temperature = jnp.where(state.tempering_param > 1 - 1e-9, 1.0, state.tempering_param)
        kept = {"particles": state.particles, "weights": state.weights, "temperature": temperature}
        kept |= {"log_step": log_step, "divergent": divergent}
        kept["log_density"] = jax.vmap(chains.log_density)(state.particles)
        return kept, info.log_likelihood_increment, accepted

    going = np.flatnonzero(~chains.carry["arrived"])
    keys, parts = _keys(chains, "smc"), ("particles", "weights", "temperature", "log_step")
    arguments = [
        (jax.random.fold_in(keys[c], number), *(np.asarray(chains.carry[part][c]) for part in parts)) for c in going
    ]
    results = chains.side_by_side(chains.compile("temper", temper, *arguments[0]), arguments)
    carry = {name: array.copy() for name, array in chains.carry.items()}
    for c, (kept, increment, accepted) in zip(going, results, strict=True):
        if not (np.isfinite(kept["temperature"]) and np.isfinite(kept["particles"]).all()):
            raise PathError(f"population {c} left the numbers at temperature {carry['temperature'][c]:.3g}")
        moved = accepted >= LEAST_ACCEPTED and kept["divergent"].mean() <= MOST_DIVERGENT
        carry["arrived"][c] = carry["temperature"][c] == 1 and moved  # at temperature 1 already
        carry["log_evidence"][c] += increment
        for name, value in kept.items():
            carry[name][c] = value
    chains.gradients += len(going) * chains.starts.shape[1] * MOVES * (LEAPFROGS + 1)
    chains.carry = carry


BEGIN = {"nuts": _begin_nuts, "mclmc": _begin_mclmc, "smc": _begin_smc}
ADVANCE = {"nuts": _advance_nuts, "mclmc": _advance_mclmc, "smc": _advance_smc}


# ---- what is concluded


def _conclude(chains):
    """The Draws of chains as far as they are."""
    log_evidence, notes, reasons = None, list(chains.notes), []
    if chains.sampler == "smc":
        positions, values, divergent = (chains.carry[name] for name in ("particles", "log_density", "divergent"))
        log_evidence = chains.carry["log_evidence"]
        if not chains.carry["arrived"].all():
            reasons.append(f"the tempering has come to {np.min(chains.carry['temperature']):.3g} of 1")
    else:
        none = {"positions": np.zeros((chains.count, 0, chains.dim)), "log_density": np.zeros((chains.count, 0))}
        parts = chains.kept or [{**none, "divergent": np.zeros((chains.count, 0), bool)}]
        positions, values, divergent = (
            np.concatenate([part[name] for part in parts], 1) for name in ("positions", "log_density", "divergent")
        )
        if positions.shape[1] < chains.wanted:
            reasons.append(f"stopped after {positions.shape[1]} of {chains.wanted} draws")
    if chains.sampler == "mclmc":
        notes.append("MCLMC has no accept step: R-hat does not see its bias, so hold it against NUTS by bias_against")
    return judged(
        positions, values, divergent, reasons, chains.names, "population" if chains.sampler == "smc" else "chain",
        seconds=chains.seconds, compile_seconds=chains.compile_seconds, note="; ".join(notes),
        gradients=chains.gradients, log_evidence=log_evidence,
    )  # fmt: skip


def judged(draws, log_density, divergent, reasons=(), names=None, chain="chain", **rest):
    """Draws with their diagnostics, and the reasons why they have not converged, if so.

    draws        (chains, draws, d)
    log_density  (chains, draws)
    divergent    (chains, transitions)
    reasons      known beforehand
    """
    n, d = draws.shape[1:]
    if n < 8:
        nothing = np.full(d, np.nan)
        figures = {"r_hat": nothing, "ess_bulk": nothing, "ess_tail": nothing}
        reasons = [*(reasons or [f"there are {n} draws"]), "R-hat needs 8 draws or more"]
    else:
        figures = {"r_hat": r_hat(draws), "ess_bulk": ess_bulk(draws), "ess_tail": ess_tail(draws)}
        reasons = [*reasons, *_reasons(draws, log_density, divergent, figures, names, chain)]
    return Draws(
        draws, log_density, **figures, divergences=divergent.sum(1), converged=not reasons, reason="; ".join(reasons),
        **rest,
    )  # fmt: skip


def _reasons(draws, log_density, divergent, figures, names, chain):
    """Why chains have not converged, the most telling reason first."""
    count, _, d = draws.shape
    names = names or [f"coordinate {i}" for i in range(d)]
    still = (draws[:, 1:] == draws[:, :-1]).all(2).mean(1) > 0.5  # (chains,)
    if still.any():
        where = _chains_named(np.flatnonzero(still), chain)
        yield f"{where} froze: most draws repeat the one before"
    constant = (draws == draws[:, :1]).all(1)  # (chains, d)
    constant = np.flatnonzero(constant[~still].any(0)) if not still.all() else ()
    if len(constant):
        yield f"{names[constant[0]]} does not move in some {chain}"
    apart = _apart(draws, log_density, figures["r_hat"], names, chain) if count > 1 else ""
    if apart:
        yield apart
    shares = divergent.mean(1)
    if (shares > MOST_DIVERGENT).any():
        c = int(np.argmax(shares))
        yield f"{chain} {c} diverged in {shares[c]:.1%} of its draws, allowed is up to {MOST_DIVERGENT:.0%}"
    if count < LEAST_CHAINS:
        yield f"{count} {chain}{'s' * (count > 1)} cannot show that they agree: take {LEAST_CHAINS} or more"
    for what, values, worst, wrong, allowed in (
        ("R-hat", figures["r_hat"], np.argmax, lambda x: x > WORST_R_HAT, f"up to {WORST_R_HAT}"),
        ("bulk ESS", figures["ess_bulk"], np.argmin, lambda x: x < LEAST_ESS, f"{LEAST_ESS} or more"),
        ("tail ESS", figures["ess_tail"], np.argmin, lambda x: x < LEAST_ESS, f"{LEAST_ESS} or more"),
    ):
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < d and not (len(constant) or still.any()):
            yield f"{what} of {names[int(np.flatnonzero(~np.isfinite(values))[0])]} is no number"
        if len(known) and wrong(values[known]).any():
            i = known[worst(values[known])]
            shown = f"{values[i]:.3f}" if what == "R-hat" else f"{values[i]:.0f}"
            yield f"{what} is {shown} in {names[i]}, allowed is {allowed}"


def _apart(draws, log_density, r_hats, names, chain):
    """ "two ends, 12 nats apart: no chain crossed", where chains sit apart in the coordinate of the worst R-hat."""
    known = np.isfinite(r_hats)
    if not known.any() or np.max(r_hats[known]) <= WORST_R_HAT:
        return ""
    i = int(np.flatnonzero(known)[np.argmax(r_hats[known])])
    x = draws[:, :, i]
    means, within = x.mean(1), np.sqrt(x.var(1).mean())
    order = np.argsort(means)
    cuts = np.flatnonzero(np.diff(means[order]) > APART * within)
    if not len(cuts):
        return ""
    ends = np.split(order, cuts + 1)
    middles = [(means[order[cut]] + means[order[cut + 1]]) / 2 for cut in cuts]
    sides = np.searchsorted(middles, x)  # (chains, draws)
    crossed = sum(len(np.unique(sides[c])) > 1 for c in range(len(x)))
    heights = sorted(log_density[end].mean() for end in ends)
    least, most = heights[-1] - heights[-2], heights[-1] - heights[0]
    nats = words.span([least, most])  # of two ends the same number twice
    number = {2: "two", 3: "three", 4: "four"}.get(len(ends), str(len(ends)))
    who = f"{crossed or 'no'} {chain}{'s' * (crossed > 1)} crossed"
    where = ", ".join(f"{_chains_named(np.sort(end), chain)} near {means[end].mean():.3g}" for end in ends)
    return f"{number} ends, {nats} nats apart: {who} ({names[i]}: {where})"


def _chains_named(chains, word="chain"):
    """ "chain 2", "chains 0 and 3" """
    listed = [str(int(c)) for c in chains]
    return f"{word} {listed[0]}" if len(listed) == 1 else f"{word}s {', '.join(listed[:-1])} and {listed[-1]}"
