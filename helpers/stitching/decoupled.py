"""Maps of both directions, fitted together with a cycle term, by alternating exact half-steps.

    |Z1 A1 - Z2|^2 + |Z2 A2 - Z1|^2 + lam (|Z1 A1 A2 - Z1|^2 + |Z2 A2 A1 - Z2|^2) + alpha1 |A1|^2 + alpha2 |A2|^2

Z1 (n, d1) and Z2 (n, d2) are centred, A1 is (d1, d2), A2 (d2, d1). Given one of the two, the other is a linear problem.
"""

import torch

from helpers.stitching.ridge import Fit, affine_spectrum, least_gcv

CYCLE = 0.1  # the weight of the cycle term, where it is left open
ENOUGH = 1e-10  # of the objective: a round that lowers it by less is the last


def fit_decoupled(x, y, lam, ridge=None, rounds=1000):
    """Both maps, z -> mean(Y) + (z - mean(X)) A1 and back.

    lam     weight of the cycle term. A number is the objective above with alpha = 0, as it was published; "gcv" takes
            the weight CYCLE and for alpha1, alpha2 those that GCV gives the affine maps of the two directions
    ridge   alpha1 and alpha2 in units of the mean squared singular value of Z1 and Z2, a number or "gcv"; the default
            goes with lam
    rounds  of two half-steps, at most; a note says where they were not enough

    The half-steps begin from the two ridge solutions (of least norm where alpha is 0). No half-step raises the
    objective; what it has been after each is the history.
    """
    open_lam = lam == "gcv"
    ridge = ("gcv" if open_lam else 0.0) if ridge is None else ridge
    lam = CYCLE if open_lam else lam
    n, means = len(x), (x.mean(0), y.mean(0))
    problems = (affine_spectrum(x, y), affine_spectrum(y, x))
    lams = [least_gcv(problem) if ridge == "gcv" else ridge for problem in problems]
    alphas = [own * problem.unit for own, problem in zip(lams, problems, strict=True)]
    maps = [problem.fit(own).arrays["A"] for own, problem in zip(lams, problems, strict=True)]
    sources = _reduced(problems[1].y, problems[0].y)
    history, note = [objective(*sources, *maps, lam, alphas)], ""
    for _ in range(rounds):
        before = history[-1]
        for here in (0, 1):
            there = 1 - here
            moved = list(maps)
            moved[here] = half_step(sources[here], sources[there], maps[there], lam, alphas[here])
            value = objective(*sources, *moved, lam, alphas)
            if value < history[-1]:  # else rounding is all that is left to move
                maps = moved
                history.append(value)
        if before - history[-1] <= ENOUGH * before:
            break
    else:
        note = f"{rounds} rounds still lowered the objective, by {1 - history[-1] / before:.1g} of it in the last"
    loose = [(len(problem.e), problem.full) for problem in problems if len(problem.e) < problem.full]
    if loose and max(lams) == 0:
        note = (
            f"singular: {n} anchors fix {loose[0][0]} of {loose[0][1]} directions, so many pairs of maps fit equally "
            "well and one of small norm is taken; ridge='gcv', or a ridge above 0, makes each half-step unique"
        )
    (mean, target_mean), (a, back) = means, maps
    arrays = {"A": a, "offset": target_mean - mean @ a, "A_back": back, "offset_back": mean - target_mean @ back}
    return Fit(arrays, lam, note, {"ridge": lams, "rounds": len(history) // 2}, tuple(history))


def _reduced(x, y):
    """Rows by which the objective is the same function of the maps: R of [X, Y] = Q R, where there are more images."""
    both = torch.cat([x, y], 1)
    if len(x) > both.shape[1]:
        both = torch.linalg.qr(both, mode="r").R
    return both[:, : x.shape[1]], both[:, x.shape[1] :]


def objective(z1, z2, a1, a2, lam, alphas=(0.0, 0.0)):
    """What the maps are fitted to, for centred latents: a number."""
    there, back = z1 @ a1, z2 @ a2
    parts = [
        (there - z2).square().sum() + (back - z1).square().sum(),
        lam * ((there @ a2 - z1).square().sum() + (back @ a1 - z2).square().sum()),
        alphas[0] * a1.square().sum() + alphas[1] * a2.square().sum(),
    ]
    return float(sum(parts))


def half_step(z1, z2, a2, lam, alpha=0.0):
    """The A1 that minimises the objective given A2: (d1, d2).

    Its gradient is 0 where, with G1 = Z1'Z1, G2 = Z2'Z2,

        G1 A1 (I + lam A2 A2') + (lam A2'G2 A2 + alpha I) A1 = Z1'Z2 + lam (G1 A2' + A2'G2),

    a generalised Sylvester equation. With I + lam A2 A2' = Q diag(b) Q', b >= 1, the columns of A1 Q part, and S with
    S'(G1 + H) S = I, S'G1 S = diag(g), H the second bracket, makes each of them diagonal, with the divisors
    1 + (b - 1) g >= 1. Directions in which G1 and H are both 0 are not in the objective, and A1 is 0 there.
    """
    gram, product, back = z1.T @ z1, z1.T @ z2, z2 @ a2
    held = lam * back.T @ back + alpha * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    right = product + lam * (gram @ a2.T + back.T @ z2)
    b, q = torch.linalg.eigh(lam * a2 @ a2.T)
    p, w = torch.linalg.eigh(gram + held)
    kept = p > len(p) * torch.finfo(p.dtype).eps * p.abs().max()
    whitened = w[:, kept] / p[kept].sqrt()
    g, turn = torch.linalg.eigh(whitened.T @ gram @ whitened)
    s = whitened @ turn
    return s @ ((s.T @ right @ q) / (1 + b.clamp(min=0) * g.clamp(min=0)[:, None])) @ q.T
