"""The plan of a sweep: which networks train together, in which order, and what that costs."""

from helpers.lanes import Task
from helpers.records import AXES

# Networks in a stack: on a CPU few, so that a layer's tensors stay in the cache; on a GPU many, to fill it.
STACK_SIZES = {"cpu": 8, "mps": 48, "cuda": 192}
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
    return sum(parameters(config, run.layers) for run in runs)


def plan(config, runs, device):
    """Group runs into stacks: lists of runs of one activation, the costliest stack first.

    Runs of one depth and seed lie together, so that a stack small enough has no ragged edge and one batch for all.
    """
    size = STACK_SIZES[device.type] if config.stack_size == "auto" else config.stack_size
    stacks = []
    for activation in dict.fromkeys(run.activation for run in runs):
        family = deepest_first(run for run in runs if run.activation == activation)
        stacks += [family[i : i + size] for i in range(0, len(family), size)]
    return sorted(stacks, key=lambda stack: -stack_parameters(config, stack))


def deepest_first(runs):
    """Runs in the order in which a stack holds them."""
    return sorted(runs, key=lambda run: (-run.layers, run.seed))


def stack_task(config, runs, done=-1):
    """The task of training some runs as one stack; `done` is the epoch that its saved state has reached."""
    name = f"{runs[0].name}+{len(runs) - 1}"
    return Task(name, {"runs": runs}, stack_parameters(config, runs) * config.num_epochs, config.num_epochs, done)


def fixed_part(config, runs):
    """What of a CONFIG, beside the runs' own names, decides the weights of some runs after an epoch."""
    plain = config.to_dict()
    fixed = {key: value for key, value in plain.items() if key not in (*FREE_KEYS, *AXES.values(), "num_epochs")}
    fixed["lr"] = [run.lr for run in runs]
    fixed["init_params"] = {run.init: plain["init_params"][run.init] for run in runs}
    fixed["activation_params"] = {run.activation: plain["activation_params"].get(run.activation) for run in runs}
    return fixed
