"""The CONFIG of a sweep as small as can be, for tests of what trains, stops and resumes."""

# Four stacks of three networks: each activation's deep and shallow ones. 200 samples are 6 batches of 32 and one of 8.
TINY = {
    "layers_list": [3, 2, 1],
    "init_types": ["he_normal", "orthogonal"],
    "activations": ["relu", "tanh"],
    "hidden_size": 16,
    "num_epochs": 3,
    "lr": 0.1,
    "batch_size": 32,
    "train_size": 200,
    "test_size": 100,
    "precision": "float64",
    "device": "cpu",
    "stack_size": 3,
}
