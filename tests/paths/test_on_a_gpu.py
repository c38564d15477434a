"""Paths on a GPU in float64 against the same on the CPU; and JAX, which is to leave the GPU's memory alone."""

import copy
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch

from helpers.networks import DeepMLP, GaussianMLP, small_convnet
from helpers.paths import BezierPath, Tunnel, align, line_posterior, losses_along, train_path, vector_of
from helpers.paths.likelihoods import log_likelihoods
from helpers.paths.path_training import losses_at

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
K = 3


def random_vectors(net, count=2):
    generator = torch.Generator().manual_seed(0)
    own = vector_of(net)
    return [own + 0.3 * torch.randn(len(own), generator=generator, dtype=own.dtype) for _ in range(count)]


@cache
def mlp_problem():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    return DeepMLP(3, 8, 4, 2, "tanh").double(), x, torch.randint(4, (40,), generator=generator)


@cache
def convnet_problem():
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(30, 144, generator=generator, dtype=torch.float64)
    return (
        small_convnet("tanh", classes=4, image_shape=(1, 12, 12)).double(),
        x,
        torch.randint(4, (30,), generator=generator),
    )


def trained(problem, device):
    net, x, y = problem
    ends = [vector.to(device) for vector in random_vectors(net)]
    net = copy.deepcopy(net).to(device)
    return net, train_path(net, x.to(device), y.to(device), ends, K, steps=30, samples=4, lr=0.01), ends


@pytest.mark.parametrize("problem", [mlp_problem, convnet_problem])
def test_a_trained_path_is_that_of_the_cpu_and_ends_at_the_solutions_bitwise(problem):
    net, on_gpu, ends = trained(problem(), "cuda")
    _, on_cpu, _ = trained(problem(), "cpu")
    points = on_gpu.path.control_points
    torch.testing.assert_close(points.cpu(), on_cpu.path.control_points, rtol=1e-7, atol=1e-9)
    for t, end in zip((0.0, 1.0), ends, strict=True):
        assert torch.equal(on_gpu.path.path(t).to(end), end)
    _, x, y = problem()
    along = losses_along(net, on_gpu.path, x.to("cuda"), y.to("cuda"), points=7)
    expected = losses_along(copy.deepcopy(net).cpu(), on_cpu.path, x, y, points=7)
    np.testing.assert_allclose(along["loss"], expected["loss"], rtol=1e-6)
    np.testing.assert_allclose(along["arc"], expected["arc"], atol=1e-9)


@pytest.mark.parametrize("problem", [mlp_problem, convnet_problem])
def test_losses_of_a_stack_are_those_of_the_cpu(problem):
    net, x, y = problem()
    vectors = torch.stack(random_vectors(net, 5))
    expected = losses_at(net, vectors, x, y)
    found = losses_at(copy.deepcopy(net).cuda(), vectors.cuda(), x.cuda(), y.cuda())
    for of_gpu, of_cpu in zip(found, expected, strict=True):
        np.testing.assert_allclose(of_gpu, of_cpu, rtol=1e-10)


def test_align_finds_the_same_permutation():
    net, *_ = mlp_problem()
    a, b = (copy.deepcopy(net), copy.deepcopy(net))
    torch.nn.utils.vector_to_parameters(random_vectors(net)[1], b.parameters())
    expected = vector_of(align(a, b)[0])
    assert torch.equal(vector_of(align(a.cuda(), b.cuda())[0]).cpu(), expected)


def test_a_tunnel_of_points_on_the_gpu():
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(K + 1, 6, generator=generator, dtype=torch.float64)
    t, xi = torch.linspace(0.1, 0.9, 5, dtype=torch.float64), torch.randn(5, K - 1, generator=generator).double()
    on_cpu, on_gpu = Tunnel(BezierPath(points), 0.1), Tunnel(BezierPath(points.cuda()), 0.1)
    for name in ("embed", "log_abs_det_jacobian"):
        expected, found = getattr(on_cpu, name)(t, xi), getattr(on_gpu, name)(t.cuda(), xi.cuda())
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-12)


def test_the_exact_line_of_a_likelihood_on_the_gpu():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    y = x.sum(1, keepdim=True)
    net = GaussianMLP(2, 5, 2, "tanh").double()
    path = BezierPath(torch.stack(random_vectors(net, 3)))
    on_cpu = line_posterior(path, log_likelihoods(net, x, y).torch)
    on_gpu = line_posterior(
        BezierPath(path.control_points.cuda()), log_likelihoods(copy.deepcopy(net).cuda(), x.cuda(), y.cuda()).torch
    )
    assert on_gpu.log_evidence == pytest.approx(on_cpu.log_evidence, rel=1e-9)
    assert on_gpu.mean == pytest.approx(on_cpu.mean, rel=1e-7)


TAKES_NOTHING = """
import torch
torch.ones(1, device="cuda")
before = torch.cuda.mem_get_info()[0]
import numpy as np
from helpers.paths.sampling import sample
draws = sample(lambda x: -x @ x / 2, np.random.default_rng(0).normal(size=(4, 2)), warmup=100, draws=100, block=100)
assert draws.draws.shape == (4, 100, 2)
import jax
assert {device.platform for device in jax.devices()} == {"cpu"}
free, whole = torch.cuda.mem_get_info()
assert before - free < whole / 4, (free, before, whole)  # JAX would take three quarters; tests beside this take little
"""


def test_jax_takes_no_memory_of_the_gpu():
    pytest.importorskip("blackjax")
    subprocess.run([sys.executable, "-c", TAKES_NOTHING], check=True)
