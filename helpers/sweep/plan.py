"""The plan of a sweep: which networks train together, in which order, and what that costs."""

import torch

from helpers.axes import AXES
from helpers.config import PRECISIONS, STACK_SETTINGS
from helpers.lanes import MOST_LANES, Task

STACK_SIZES = {"mps": 48, "cuda": 192}  # networks in a stack on a GPU: many, to fill it
CACHE = 2**20  # bytes of a core's second-level cache that a stack's layer is to stay in
CALLS = 8  # a step's calls outside the hidden layers (batch, loss, output) cost what those of so many layers do
MOST_ON_A_CPU = 32
# CONFIG keys that may change between two starts in one folder: they move time, or rounding, but no result
FREE_KEYS = ("data_dir", "input_square", "device", "stack_size", "save_dir", "resume", "keep_state", "cluster")
# ... and those that hold parameters: only of what is used do they matter
PARAMS_OF = {f"{axis}_params": AXES[axis] for axis in ("init", "activation")}


def parameters(config, layers):
    """Number of weights and biases of a network with L hidden layers."""
    d, h, c = config.input_size, config.hidden_size, config.output_size
    return (d + 1) * h + (layers - 1) * (h + 1) * h + (h + 1) * c


def stack_parameters(config, runs):
    """Number of weights and biases of some runs together; times the samples it is what an epoch of them costs."""
    return sum(parameters(config.of(run), run.layers) for run in runs)


def stack_size(config, layers, device):
    """Networks in a stack whose deepest has so many layers.

    On a CPU as many as keep a layer's weights, pre-activations and activations in the cache,
    CACHE / (bytes (H^2 + 2 batch H)), and more of shallow ones, times 1 + CALLS / L: the time that each call costs
    is shared by the networks of a stack, and shallow networks have more calls a layer.

    The compiled kernel takes one network after another, so that sizes hardly matter to it. By torch, milliseconds a
    network and step with 2, 4, 8, 16 and 32 a stack, H = 128, both cores of an AMD EPYC, and what the
    formula gives:

    batch 32, relu, 5 layers              0.81   0.45   0.33   0.29   0.28    27
                    10                    1.18   0.69   0.60   0.55   0.62    19
                    30                    2.8    2.2    1.8    1.6    1.6     13
                    50                    3.9    3.0    2.9    2.9    2.7     12
    batch 32, gelu, 5 layers              1.06   0.64   0.39   0.40   0.32    27
                    30                    4.0    2.8    2.6    2.0    1.8     13
    batch 32, relu in bf16, 5 layers      0.97   0.56   0.32   0.26   0.23    32
                            30            4.2    2.7    1.7    1.4    1.5     27
    batch 32, relu in float64, 5 layers   0.87   0.66   0.55   0.58   0.59    13
                               30         4.7    3.9    3.6    3.7    4.0      6
    batch 128, 784 inputs, gelu, 5        2.1    2.0    1.6    1.5    1.5     13
                                 30       8.2    6.8    7.2    6.8    7.1      6
    batch 128, 3072 inputs, H = 512, 5   19     19     22     23     22        1

    On an Intel Xeon 5 layers wanted 32 as well, and 30 layers 8.
    """
    if config.stack_size != "auto":
        return config.stack_size
    if device.type != "cpu":
        return STACK_SIZES[device.type]
    numbers = config.hidden_size**2 + 2 * config.batch_size * config.hidden_size
    room = CACHE / (PRECISIONS[config.precision].itemsize * numbers)
    cores = -(-torch.get_num_threads() // MOST_LANES["cpu"])  # of a lane: the kernel has a network on each
    return cores * -(-min(MOST_ON_A_CPU, max(1, int(room * (1 + CALLS / layers)))) // cores)


def plan(config, runs, device, lanes=1):
    """Group runs into stacks: lists of runs of one activation and setting, the costliest stack first.

    lanes  how many stacks train side by side: where sizes are "auto" on a CPU, none costs more than a lane's share of
           all, so that no lane is left without work

    Runs of one depth and seed lie together, so that a stack small enough has no ragged edge and one batch for all.
    """
    shared_out = config.stack_size == "auto" and device.type == "cpu"
    share = stack_parameters(config, runs) / lanes if shared_out else float("inf")
    stacks = []
    families = {}
    for run in runs:
        families.setdefault(kind_of(run), []).append(run)
    for family in map(deepest_first, families.values()):
        taken = 0
        while taken < len(family):
            deepest = family[taken]
            stack = family[taken : taken + stack_size(config.of(deepest), deepest.layers, device)]
            while len(stack) > 1 and stack_parameters(config, stack) > share:
                stack.pop()
            stacks.append(stack)
            taken += len(stack)
    return sorted(stacks, key=lambda stack: -stack_parameters(config, stack))


def kind_of(run):
    """What is the same for all runs of a stack: the activation, the width, the batch size, the optimizer."""
    return run.activation, *(getattr(run, setting) for setting in STACK_SETTINGS)


def deepest_first(runs):
    """Runs in the order in which a stack holds them."""
    return sorted(runs, key=lambda run: (-run.layers, run.seed))


def stack_task(config, runs, done=-1):
    """The task of training some runs as one stack; `done` is the epoch that its saved state has reached."""
    name = f"{runs[0].name}+{len(runs) - 1}"
    return Task(name, {"runs": runs}, stack_parameters(config, runs) * config.num_epochs, config.num_epochs, done)


def fixed_part(config, runs):
    """What of a CONFIG, beside the runs' own names, decides the weights of some runs after an epoch."""
    plain = config.of(runs[0]).to_dict()
    fixed = {key: value for key, value in plain.items() if key not in (*FREE_KEYS, *AXES.values(), "num_epochs")}
    fixed |= {setting: plain[setting] for setting in STACK_SETTINGS}
    fixed["lr"] = [run.lr for run in runs]
    fixed["init_params"] = {run.init: plain["init_params"][run.init] for run in runs}
    fixed["activation_params"] = {run.activation: plain["activation_params"].get(run.activation) for run in runs}
    return fixed
