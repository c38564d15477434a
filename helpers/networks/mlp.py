"""The one readable network of this study, and the probe that looks inside it.

`DeepMLP` is the reference: what `stack.py` computes for many networks at once must be what this one computes alone.
"""

import itertools

import torch
from torch import nn
from torch.nn import functional

from helpers import initializers
from helpers.activations import phi_of
from helpers.checks import ConfigError, name_in
from helpers.config import CHECKS
from helpers.initializers import ELSEWHERE, INITIALIZERS, row_and_params
from helpers.records import LAYER_STATS
from helpers.theory import critical
from helpers.usual_torch import usual_torch


class DeepMLP(nn.Module):
    """L hidden layers of one width: a = phi(W a + b), and a linear output layer.

    Layers are counted from 0 at the input: `hidden[0]` maps the D inputs to H units, `hidden[1:]` H to H, `output` H to
    the C classes.

    activation  a name of the table, or a row; of one that learns, every hidden layer has its own, in `splines`
    """

    def __init__(self, input_size, hidden_size, output_size, layers, activation):
        super().__init__()
        sizes = [input_size] + [hidden_size] * layers
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.output = nn.Linear(hidden_size, output_size)
        row = phi_of(activation)
        self.splines = nn.ModuleList(row.learns.layer(hidden_size) for _ in range(layers if row.learns else 0))
        self.phi = row.f

    @property
    def activations(self):
        """The activation of each hidden layer."""
        return list(self.splines) or [self.phi] * len(self.hidden)

    def forward(self, x):  # (n, D) -> (n, C)
        for layer, phi in zip(self.hidden, self.activations, strict=True):
            x = phi(layer(x))
        return self.output(x)

    def penalty(self):
        """What learnable activations add to the loss; 0 where there are none."""
        return sum(spline.penalty() for spline in self.splines)

    @property
    def linear_layers(self):
        return [*self.hidden, self.output]

    @torch.no_grad()
    def set_weights(self, weights, biases=None, phi_params=()):
        """Copy in L + 1 weights (fan_out, fan_in) and biases (fan_out,); biases are 0 where none are given.

        Activations that learn take over `phi_params`, one a hidden layer; where none are given they start anew.
        """
        for i, spline in enumerate(self.splines):
            if phi_params:
                spline.shape.copy_(phi_params[i])
            else:
                spline.start()
        for i, layer in enumerate(self.linear_layers):
            layer.weight.copy_(weights[i])
            if biases is None:
                layer.bias.zero_()
            else:
                layer.bias.copy_(biases[i])
        return self


def draw_parameters(config, run):
    """(weights, biases) that init and seed give a run, in float64: see `initializers.draw_parameters`."""
    sizes, row = (config.of(run).hidden_size, config.input_size, config.output_size), config.init_rows.get(run.init)
    return initializers.draw_parameters(run.init, critical.params_of(config, run), run.layers, *sizes, run.seed, row)


def free_row(init, given=None, solved_for="a DeepMLP"):
    """(its name, the row, its parameters) of an init, which may be a variant under a name of its own. ConfigError."""
    if not (isinstance(given, dict) and "init" in given):
        name_in(INITIALIZERS, ELSEWHERE)("init", init)
    kind, params = row_and_params(init, CHECKS["init_params"]("init_params", {init: given or {}})[init])
    if INITIALIZERS[kind].solved:
        free = [other for other in INITIALIZERS if not INITIALIZERS[other].solved]
        raise ConfigError(f"init is {init!r}, which is solved for {solved_for} alone; allowed is {', '.join(free)}")
    return kind, INITIALIZERS[kind], params


@usual_torch()
def drawn(net, init="he_normal", init_params=None, seed=0):
    """A DeepMLP, itself, with the weights that a row of the table of initializers and a seed give it.

    init_params  parameters of the row, its defaults where left out
    Raises ConfigError, one sentence, for an init that is unknown or solved for each network, as `critical` is.
    """
    params = free_row(init, init_params, "the runs of a sweep")[2]
    hidden, inputs = net.hidden[0].weight.shape
    sizes = len(net.hidden), hidden, inputs, net.output.out_features
    return net.set_weights(*initializers.draw_parameters(init, params, *sizes, seed))


@usual_torch()
def check_inits(config):
    """Raises ConfigError, one sentence, where a run of the sweep cannot be drawn: `critical` does not suit everyone."""
    for run in config.runs():
        critical.params_of(config, run)
    sizes = [
        shape
        for width in config.values_of("hidden_size")
        for shape in ((width, config.input_size), (width, width), (config.output_size, width))
    ]
    for row in config.init_rows.values():
        if row.measured:  # the reader's own: it was tried on other shapes
            for shape in sizes:
                row.both(shape, initializers.generator_for("check"))


@usual_torch()
def build(config, run, dtype=torch.float32):
    """The network of one run before training, on the CPU: a `DeepMLP` with the weights that init and seed give it."""
    phi, width = config.activation(run.activation), config.of(run).hidden_size
    net = DeepMLP(config.input_size, width, config.output_size, run.layers, phi)
    return net.to(dtype).set_weights(*draw_parameters(config, run))


def probe(net, x, y):
    """Layer statistics of one network on one batch, read through hooks.

    x, y     (p, D) inputs and (p,) classes
    returns  {stat: [one number a hidden layer]}, with z = W a + b, a = phi(z), and the loss averaged over the batch:

    act_mean, act_std  mean and standard deviation of a over samples and units
    pre_std            standard deviation of z
    grad_norm          ||dLoss/dW_i||, the square root of the sum of squares
    grad_mean_abs      mean of |dLoss/dW_i|
    """
    stats = {stat: [] for stat in LAYER_STATS}

    phis = dict(zip(net.hidden, net.activations, strict=True))

    def look(layer, inputs, z):
        a = phis[layer](z)
        stats["pre_std"].append(z.std(correction=0).item())
        stats["act_mean"].append(a.mean().item())
        stats["act_std"].append(a.std(correction=0).item())

    hooks = [layer.register_forward_hook(look) for layer in net.hidden]
    loss = functional.cross_entropy(net(x), y)
    for hook in hooks:
        hook.remove()
    for gradient in torch.autograd.grad(loss, [layer.weight for layer in net.hidden]):
        stats["grad_norm"].append(gradient.norm().item())
        stats["grad_mean_abs"].append(gradient.abs().mean().item())
    return stats
