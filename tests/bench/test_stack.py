import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from helpers import networks
from helpers.bench import stack
from helpers.config import Run


@pytest.mark.parametrize("layers", [1, 5, 30])
def test_step_flops_are_what_torch_counts_in_a_lone_network(layers):
    config = stack.bench_config()
    net = networks.build(config, Run("he_normal", "relu", layers, 0))
    x, y = torch.rand(stack.BATCH, stack.INPUTS), torch.randint(stack.CLASSES, (stack.BATCH,))
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(net(x), y).backward()
    assert stack.step_flops(config, layers) == counter.get_total_flops()


def test_stacks_of_several_seeds_are_timed_as_on_a_gpu():
    config, cpu = stack.bench_config(device="cpu"), torch.device("cpu")
    data = stack.made_up_data(cpu, samples=4 * stack.BATCH)
    runs = [Run("he_normal", "relu", 2, seed, config.lrs[0]) for seed in (0, 1, 2)]
    assert stack.stacks(config, data, [runs], cpu, seconds=0) > 0
