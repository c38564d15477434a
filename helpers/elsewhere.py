"""What other libraries and habits call the keys of CONFIG, and the values that are names: see `checks.meant`.

{theirs: ours}, without regard to upper case, - and _; () for what is another thing, near as its name is: nothing is
offered for it. Those of activations and inits stand beside their rows; PARAMETERS are those of inits.
"""

KEYS = {
    theirs: ours
    for ours, names in {
        "dataset": "data data_set dataset_name",
        "data_dir": "data_path data_folder data_root root",
        "layers_list": "depth depths layers layer layer_list num_layers n_layers hidden_layers num_hidden_layers "
        "n_hidden_layers",
        "init_types": "init inits init_type initializer initializers initialization initializations weight_init "
        "weight_inits kernel_initializer initialisation initialisations initialiser initialisers",
        "activations": "activation_function activation_functions act nonlinearity nonlinearities phi",
        "init_params": "init_kwargs initializer_params init_args",
        "activation_params": "activation_kwargs activation_args",
        "hidden_size": "width widths hidden hidden_dim hidden_units units n_hidden hidden_sizes num_hidden neurons "
        "hidden_features",
        "input_size": "input_dim in_features n_inputs inputs",
        "output_size": "output_dim out_features n_outputs num_classes n_classes classes",
        "num_epochs": "epochs epoch n_epochs nb_epoch max_epochs max_epoch max_iter n_iter",
        "lr": "learning_rate learning_rates lrs lr_rate learning_rate_init eta step_size",
        "batch_size": "batch bs minibatch mini_batch_size",
        "optimizer": "optim opt optimizers solver nesterov use_nesterov nesterovs_momentum",
        "momentum": "mu",
        "weight_decay": "wd l2 decay weight_regularization l2_penalty",
        "seeds": "seed random_seed random_state num_seeds n_seeds",
        "normalize": "normalise standardize standardise normalization",
        "train_size": "n_train num_train train_samples num_samples n_samples subset subset_size",
        "test_size": "n_test num_test test_samples",
        "device": "gpu cuda use_cuda use_gpu accelerator",
        "precision": "dtype float_type amp",
        "stack_size": "stack networks_at_once",
        "save_dir": "out out_dir output_dir results results_dir save_path log_dir checkpoint_dir",
        "cluster": "dask scheduler_address",
        "resume": "restart continue",
        "keep_state": "save_state keep_states checkpoint checkpoints",
    }.items()
    for theirs in names.split()
}
KEYS |= dict.fromkeys(("hidden_layer_sizes", "layer_sizes", "layer_widths"), ("layers_list", "hidden_size"))
KEYS |= dict.fromkeys(
    ("dropout", "loss", "criterion", "scheduler", "lr_scheduler", "lr_decay", "patience", "callbacks", "beta", "beta1",
     "beta2", "betas", "alpha", "steps", "num_steps", "max_steps", "val_size", "train_split", "test_split"), ()
)  # fmt: skip
PARAMETERS = {
    "stddev": "std", "std_dev": "std", "standard_deviation": "std", "sigma": "std", "loc": "mean", "mu": "mean",
    "low": "a", "lower": "a", "minval": "a", "high": "b", "upper": "b", "maxval": "b", "fan": "mode",
    "scale": ("factor", "gain", "std"), "gain": ("factor", "scale"), "distrib": "distribution",
    **dict.fromkeys(("nonlinearity", "seed", "variance"), ()),
}  # fmt: skip
DATASETS = {
    "optdigits": "digits", "sklearn_digits": "digits", "load_digits": "digits", "fashion": "fashion_mnist",
    "fmnist": "fashion_mnist", "cifar": "cifar10", "tiny_imagenet_200": "tiny_imagenet", "folder": "folder:<path>",
    "image_folder": "folder:<path>", "arrays": "arrays:<file.npz>", "npz": "arrays:<file.npz>",
    "numpy": "arrays:<file.npz>", "npy": "arrays:<file.npz>",
    **dict.fromkeys(("cifar100", "kmnist", "emnist", "qmnist", "imagenet", "svhn", "usps", "notmnist", "mnist1d",
                    "medmnist", "mnist_c", "binarized_mnist", "cifar10_c", "affnist"), ()),
}  # fmt: skip
OPTIMIZERS = {
    "heavy_ball": "momentum", "sgd_momentum": "momentum", "sgdm": "momentum", "momentum_sgd": "momentum",
    "nag": "nesterov", "nesterov_momentum": "nesterov", "sgd_nesterov": "nesterov", "gradient_descent": "sgd",
    "gd": "sgd",
    **dict.fromkeys(("rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam", "amsgrad", "lion", "lbfgs",
                    "asgd", "rprop", "sparse_adam", "adafactor", "signsgd", "adabelief", "adam_mini", "lamb", "lars",
                    "muon"), ()),
}  # fmt: skip
PRECISIONS = {
    "fp32": "float32", "f32": "float32", "single": "float32", "float": "float32", "full": "float32", "32": "float32",
    "fp64": "float64", "f64": "float64", "double": "float64", "64": "float64", "bfloat16": "bf16", "bf16_mixed": "bf16",
    "float16": "bf16", "fp16": "bf16", "half": "bf16", "16": "bf16", "tensorfloat32": "tf32",
}  # fmt: skip
DEVICES = {
    "gpu": "cuda", "nvidia": "cuda", "cuda:0": "cuda", "metal": "mps", "apple": "mps", "cpu:0": "cpu",
    "tpu": (), "xla": (),
}  # fmt: skip
