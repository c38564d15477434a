"""Maps by a small network: alone, on the residuals of the affine map, and where the affine map is uncertain.

    net(z) = scale * (tanh((z - mean) / sd W1 + b1) W2 + b2)

Adam trains it on all anchors at once, beside FOLDS copies that each leave out a part of them. It keeps the weights of
the step at which the copies were best on what they had left out (early stopping). W2 and b2 begin at 0, so that "no
step" is the map without a network. The answer depends on the latents and the seed alone.
"""

import torch

from helpers.stitching.ridge import Fit, affine_spectrum, gcv_scores

FOLDS, LEFT_OUT = 3, 0.2  # copies, and the share of the anchors that each leaves out
FEWEST = 5  # anchors: with fewer nothing is trained
EVERY, PATIENCE = 5, 20  # steps between two looks at what is left out; looks without a better one, and it ends
BETTER = 1e-4  # of the error: less is no better one
CERTAIN = 1e-8  # of the mean squared singular value: the least penalty in a predictive variance, which 0 makes infinite
SETTINGS = {"hidden": 64, "steps": 1000, "lr": 3e-3}


def fit_mlp(x, y, lam, seed, **settings):
    """z -> offset + net(z), the offset the mean of Y.

    lam     weight decay: the loss is mean squared error + lam (|W1|^2 + |W2|^2) / d2 on standardised latents, where the
            mean squared singular value is 1 an image, as for a ridge. "gcv" takes 0: early stopping alone
    hidden  numbers in the hidden layer
    steps   of Adam at the learning rate `lr`, at most; the settings of the map say how many it took
    """
    lam = 0.0 if lam == "gcv" else lam
    arrays, note, taken, _ = _stopped(x, y, _about_mean, lam, seed, SETTINGS | settings)
    return Fit({"offset": y.mean(0), **arrays}, lam, note, taken)


def fit_mlp_linear(x, y, lam, seed, **settings):
    """z -> z A + offset + net(z): the affine map, and a network on its residuals.

    lam is that of the affine map. Each copy takes the residuals of an affine map that has not seen what it leaves out.
    """
    affine = affine_spectrum(x, y)
    fitted = affine.fit(lam)

    def residuals(x, y, part):
        arrays = affine_spectrum(x[part], y[part]).fit(fitted.lam).arrays
        return y - x @ arrays["A"] - arrays["offset"]

    arrays, note, taken, _ = _stopped(x, y, residuals, 0.0, seed, SETTINGS | settings)
    return Fit(fitted.arrays | arrays, fitted.lam, fitted.note or note, taken)


def fit_adaptive(x, y, lam, seed, **settings):
    """z -> c(z) (z A + offset) + (1 - c(z)) (mlp_offset + net(z)): affine where it is certain, a network elsewhere.

    The two are weighed by the inverse of their squared errors,

        c(z) = p_net / (p_affine(z) + p_net),   p_affine(z) = sigma^2 (1 + v(z)),
        v(z) = 1/n + (z - mean)' (X'X + alpha I)^-1 (z - mean)

    sigma^2 (1 + v) is the predictive variance of the ridge; sigma^2 is set so that its mean over the anchors is the GCV
    score a number. p_net is the network's mean squared error on anchors that its copies left out. lam is the affine
    map's. Far from the anchors v grows and c goes to 0.
    """
    affine = affine_spectrum(x, y)
    fitted = affine.fit(lam)
    arrays, note, taken, error = _stopped(x, y, _about_mean, 0.0, seed, SETTINGS | settings)
    n, alpha, mean = len(x), max(fitted.lam, CERTAIN) * affine.unit or 1.0, x.mean(0)
    centred = x - mean
    gram = centred.T @ centred + alpha * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    precision = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    arrays |= {"mlp_offset": y.mean(0), "mean": mean, "precision": precision, "anchors": mean.new_tensor(n)}
    if error is None:  # too few anchors for a network: affine everywhere
        variances = {"sigma2": mean.new_zeros(()), "p_net": mean.new_ones(())}
    else:
        typical = 1 + variance(arrays, x).mean()
        score = mean.new_tensor(gcv_scores(affine, [fitted.lam])[0]) / y.shape[1]
        variances = {"sigma2": score / typical, "p_net": mean.new_tensor(error)}
    return Fit(fitted.arrays | arrays | variances, fitted.lam, fitted.note or note, taken)


def variance(arrays, z):
    """v(z) of `fit_adaptive`: (m,)."""
    centred = z - arrays["mean"]
    return 1 / arrays["anchors"] + ((centred @ arrays["precision"]) * centred).sum(1)


def certainty(arrays, z):
    """c(z) of `fit_adaptive`, the share of the affine map: (m,). 0.5 where neither has an error."""
    p_affine, p_net = arrays["sigma2"] * (1 + variance(arrays, z)), arrays["p_net"]
    both = p_affine + p_net
    return torch.where(both > 0, p_net / both, 0.5)


# ---- the network


def net(arrays, z):
    """What the network gives: (m, d1) -> (m, d2)."""
    standard = (z - arrays["x_mean"]) / arrays["x_sd"]
    return arrays["scale"] * (torch.tanh(standard @ arrays["W1"] + arrays["b1"]) @ arrays["W2"] + arrays["b2"])


def _about_mean(x, y, part):
    return y - y[part].mean(0)


def _stopped(x, y, residuals, lam, seed, settings):
    """(arrays, note, settings, error) of a network trained on `residuals(x, y, part)`, what a map fitted on the images
    `part` leaves of all. The error is the mean square on images left out, None with too few anchors.
    """
    n, generator = len(x), torch.Generator().manual_seed(seed)
    parts = [torch.randperm(n, generator=generator)[round(LEFT_OUT * n) or 1 :].to(x.device) for _ in range(FOLDS)]
    weights = _drawn(x.shape[1], y.shape[1], settings["hidden"], generator)
    sd = x.std(0, correction=0)
    standard = {"x_mean": x.mean(0), "x_sd": torch.where((x == x[0]).all(0) | (sd == 0), 1.0, sd)}
    if n < FEWEST or (x == x[0]).all():
        arrays = standard | {"scale": x.new_ones(()), **{name: w.to(x) for name, w in weights.items()}}
        what = f"{n} anchors are too few for a network, which takes {FEWEST}"
        what = what if n < FEWEST else "the source is the same at all anchors, which teaches a network nothing"
        note = f"{what}: the map is the one without it"
        return arrays, note, settings | {"steps": 0}, None
    left_out = torch.stack(
        [torch.ones(n, dtype=torch.bool, device=x.device).index_fill(0, part, False) for part in parts]
    )
    targets = torch.stack(
        [*(residuals(x, y, part) for part in parts), residuals(x, y, torch.arange(n, device=x.device))]
    )
    scale = float(targets[:-1][left_out].square().mean().sqrt())
    if scale <= torch.finfo(x.dtype).eps * float(y.abs().max()) * n:
        scale = 1.0  # the map without a network is exact
    arrays = standard | {"scale": x.new_tensor(scale)}
    inputs = ((x - standard["x_mean"]) / standard["x_sd"]).float()
    weights, steps, error = _trained(weights, inputs, (targets / scale).float(), left_out, lam, settings)
    arrays |= {name: w.to(x.dtype) for name, w in weights.items()}
    return arrays, "", settings | {"steps": steps}, error * scale**2


def _drawn(d1, d2, hidden, generator):
    bound = d1**-0.5
    return {
        "W1": torch.randn(d1, hidden, generator=generator) * bound,
        "b1": torch.randn(hidden, generator=generator) * 0.1,
        "W2": torch.zeros(hidden, d2),
        "b2": torch.zeros(d2),
    }


def _trained(weights, x, targets, left_out, lam, settings):
    """(weights, steps, error) of the member that sees all, where the others err least on what they left out.

    x (n, d1); targets (members, n, d2), the last member's on all; left_out (members - 1, n). Members have weights of
    their own and one sum of losses, in which none changes another's gradient.
    """
    members, n, d2 = targets.shape
    seen = torch.ones(members, n, 1, device=x.device)
    seen[:-1] -= left_out[..., None].float()
    share = seen / (seen.sum(1, keepdim=True) * d2)
    own = [w.to(x.device).expand(members, *w.shape).clone().requires_grad_() for w in weights.values()]
    optimizer = torch.optim.Adam(own, lr=settings["lr"])
    best, kept, steps = float("inf"), None, 0
    with torch.enable_grad():
        for step in range(settings["steps"] + 1):
            w1, b1, w2, b2 = own
            errors = (torch.tanh(x @ w1 + b1[:, None]) @ w2 + b2[:, None] - targets).square()
            if step % EVERY == 0:
                error = float(errors.detach()[:-1][left_out].mean())
                if error < best * (1 - BETTER):
                    best, kept, steps = error, [w.detach()[-1].clone() for w in own], step
                elif step - steps >= EVERY * PATIENCE:
                    break
            loss = (errors * share).sum() + lam * (w1.square().sum() + w2.square().sum()) / d2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if kept is None:
        return dict(weights), 0, 0.0
    return dict(zip(weights, kept, strict=True)), steps, best
