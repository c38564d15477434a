"""The optimisers of a stack: each does for R networks at once what its namesake in torch.optim does for one.

`step` takes one layer's share of the backward pass and changes its weights; `step_phi` changes what an activation
learns, `params`, by params.grad and by the gradient of a penalty on it, None without one.

Weight decay is torch's, on everything that is trained, biases too: lambda w is added to the gradient, but `adamw` takes
lr lambda w off the weights themselves. With plain SGD both are the same.
"""

import torch

ADAM_BETA1, ADAM_BETA2, ADAM_EPS = 0.9, 0.999, 1e-8  # Kingma & Ba 2015


class _Sgd:
    """w <- w - lr g, in place: the learning rate is already in dz, through `loss_scale`."""

    def __init__(self, stack):
        self.stack = stack
        self.tensors = []
        self.decay = stack.config.weight_decay
        self.moments_of_all, self.constants = ([], []), {"decay": self.decay, "decoupled": 1}
        self.steps = torch.zeros((), dtype=stack.sum_type, device=stack.device)

    @property
    def loss_scale(self):
        return self.stack.lr

    def before_step(self):
        self.steps += 1

    def step(self, l, pairs):
        stack = self.stack
        weight, bias = stack.weights[l], stack.biases[l]
        self.shrink(weight, bias)
        for rows, a, dz in pairs:
            if l == 0 and stack.wide_first:
                by_unit = dz.mT.reshape(-1, dz.shape[1])  # (R H, batch)
                gradient = stack.wide_product(by_unit, a[0].mT)  # (R H, D)
                weight[rows].mT.view(gradient.shape).sub_(gradient)
            elif stack.working_type == stack.type:
                weight[rows].baddbmm_(a.mT, dz, alpha=-1)
            else:
                weight[rows].sub_(torch.bmm(a.mT, dz))
                stack.working_weights[l][rows].copy_(weight[rows])
            bias[rows].sub_(dz.sum(1, keepdim=True, dtype=stack.type))
            if stack.working_type != stack.type:
                stack.working_biases[l][rows].copy_(bias[rows])

    def step_phi(self, l, params, penalty):
        """`params.grad` came down with dz, and has the learning rate in it; the penalty's gradient has not."""
        self.shrink(params)
        params.sub_(params.grad if penalty is None else params.grad + self.stack.lr_of(params) * penalty)

    def shrink(self, *tensors):
        """w <- (1 - lr lambda) w, before the step: the gradient was taken before."""
        for tensor in tensors if self.decay else ():
            tensor.mul_(1 - self.stack.lr_of(tensor) * self.decay)


class _WithMoments:
    """Optimisers that remember: they form the gradient, and `change` turns it into a step.

    constants  as `mlp_kernel.c` has them
    """

    moments, decoupled = 1, False

    def __init__(self, stack):
        self.stack = stack
        self.decay = stack.config.weight_decay
        self.constants = {"decay": self.decay, "decoupled": self.decoupled, **self.own_constants()}
        self.memory = [
            [torch.zeros_like(p) for _ in range(self.moments)] for p in stack.weights + stack.biases + stack.phi_params
        ]  # fmt: skip
        self.tensors = [moment for moments in self.memory for moment in moments]
        self.steps = torch.zeros((), dtype=stack.sum_type, device=stack.device)
        self.loss_scale = 1.0
        # the first and the second moments of all weights and biases, as `mlp_kernel.c` takes them
        known = self.memory[: 2 * len(stack.weights)]
        self.moments_of_all = [[m[k] for m in known] if k < self.moments else [] for k in range(2)]

    def before_step(self):
        self.steps += 1

    def step(self, l, pairs):
        stack = self.stack
        weight, bias = stack.weights[l], stack.biases[l]
        lr = stack.lr[: len(weight)]
        products = [torch.bmm(a.mT, dz).to(stack.type) for _, a, dz in pairs]
        sums = [dz.sum(1, keepdim=True, dtype=stack.type) for _, _, dz in pairs]
        weight.sub_(self.change(self.decayed(torch.cat(products), weight), self.memory[l]) * lr)
        bias.sub_(self.change(self.decayed(torch.cat(sums), bias), self.memory[len(stack.weights) + l]) * lr)
        if stack.working_type != stack.type:
            stack.working_weights[l].copy_(weight)
            stack.working_biases[l].copy_(bias)

    def step_phi(self, l, params, penalty):
        gradient = params.grad if penalty is None else params.grad + penalty
        memory = self.memory[2 * len(self.stack.weights) + l]
        params.sub_(self.change(self.decayed(gradient, params), memory) * self.stack.lr_of(params))

    def decayed(self, gradient, tensor):
        """The gradient with weight decay in it; where that is decoupled, it is taken off the tensor here instead."""
        if not self.decay:
            return gradient
        if self.decoupled:
            tensor.mul_(1 - self.stack.lr_of(tensor) * self.decay)
            return gradient
        return gradient.add(tensor, alpha=self.decay)


class _Momentum(_WithMoments):
    """v <- mu v + g; w <- w - lr v, as torch.optim.SGD(momentum=mu)."""

    nesterov = False

    def own_constants(self):
        return {"mu": self.stack.config.momentum, "nesterov": self.nesterov}

    def change(self, gradient, memory):
        (v,) = memory
        v.mul_(self.stack.config.momentum).add_(gradient)
        return gradient.add(v, alpha=self.stack.config.momentum) if self.nesterov else v


class _Nesterov(_Momentum):
    """v <- mu v + g; w <- w - lr (g + mu v), as torch.optim.SGD(momentum=mu, nesterov=True)."""

    nesterov = True


class _Adam(_WithMoments):
    """Kingma & Ba 2015, as torch.optim.Adam with its defaults."""

    moments = 2

    def own_constants(self):
        return {"mu": ADAM_BETA1, "beta2": ADAM_BETA2, "epsilon": ADAM_EPS}

    def change(self, gradient, memory):
        m, v = memory
        m.lerp_(gradient, 1 - ADAM_BETA1)
        v.mul_(ADAM_BETA2).addcmul_(gradient, gradient, value=1 - ADAM_BETA2)
        t = self.steps
        root = v.sqrt() / (1 - ADAM_BETA2**t).sqrt().to(v.dtype)
        return m / (1 - ADAM_BETA1**t).to(m.dtype) / root.add_(ADAM_EPS)


class _AdamW(_Adam):
    """Loshchilov & Hutter 2019, as torch.optim.AdamW: weight decay beside the gradient."""

    decoupled = True


STACK_OPTIMIZERS = {"sgd": _Sgd, "momentum": _Momentum, "nesterov": _Nesterov, "adam": _Adam, "adamw": _AdamW}
