"""What a sweep varies, and what it measures of each run: the names of axes, settings and columns, once."""

# what is measured of hidden layer i; the columns of a run's CSV are f"{stat}_{i}"
LAYER_STATS = ("act_mean", "act_std", "pre_std", "grad_norm", "grad_mean_abs")
EPOCH_COLUMNS = ["epoch", "train_loss", "test_loss", "train_acc", "test_acc", "epoch_time"]

# Settings that may be an axis: mostly CONFIG has one value for all runs, or else a list. What several are called.
SETTINGS = {"lr": "learning rates", "hidden_size": "widths", "batch_size": "batch sizes", "optimizer": "optimizers"}
WITH_MOMENTUM = ("momentum", "nesterov")  # the optimizers that have CONFIG["momentum"]
# The axes of a sweep: field of a Run and column of summary.csv, key of CONFIG. The map stands here only.
AXES = {"activation": "activations", "init": "init_types", "layers": "layers_list", "seed": "seeds"}
AXES |= {setting: setting for setting in SETTINGS}


def axis_values(config, axis):
    """The values of an axis in a CONFIG as a manifest holds it, a list also where it has one value, as SETTINGS may."""
    values = config.get(AXES[axis])
    return values if isinstance(values, list) else [values]


def in_name(value):
    """The value of a setting as names of runs and figures have it: in full, so that no two are one."""
    return str(value).removesuffix(".0")


def columns(layers):
    """The columns of a run with this many hidden layers."""
    return EPOCH_COLUMNS + [f"{stat}_{i}" for i in range(layers) for stat in LAYER_STATS]
