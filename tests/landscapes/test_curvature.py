"""Curvature against Hessians written out by torch, finite differences of the loss, and sums of the diagonal."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from helpers.activations import ACTIVATIONS, register_activation
from helpers.landscapes import CurvatureError, curvature, eigen_plane, hessian_product, top_eigenpairs, trace
from helpers.networks import DeepMLP

pytestmark = pytest.mark.usefixtures("one_thread")
CPU_AND_CUDA = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def tiny(activation="tanh", layers=2, width=5, dtype=torch.float64, device="cpu"):
    torch.manual_seed(0)
    net = DeepMLP(4, width, 3, layers, activation).to(device, dtype)
    x = torch.randn(24, 4, dtype=dtype).to(device)
    return net, x, (x @ torch.randn(4, 3, dtype=dtype).to(device)).argmax(1)


class Convolutional(nn.Module):
    """Batch norm, dropout, pooling, a tied and a frozen parameter, and a counter that each forward pass moves on."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.a, self.b, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.b.weight = self.a.weight
        self.out.bias.requires_grad_(False)
        self.unused = nn.Parameter(torch.ones(2))
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x):
        self.calls += 1
        x = functional.max_pool2d(torch.tanh(self.norm(self.conv(x))), 2).flatten(1)
        return self.out(self.drop(torch.sigmoid(self.b(torch.tanh(self.a(x))))))


def convolutional():
    torch.manual_seed(1)
    net = Convolutional().double()
    net(torch.randn(64, 1, 4, 4).double())  # running statistics of its own
    net.norm.eval()  # flags that differ: training but for the norm
    return net, torch.randn(10, 1, 4, 4).double(), torch.arange(10) % 3


def exact_hessian(net, x, y):
    """(N, N), by torch.autograd.functional on one flat vector of all parameters."""
    names, tensors = zip(*net.named_parameters(), strict=True)
    flags = {m: m.training for m in net.modules()}
    net.eval()

    def loss(flat):
        parts = [p.view_as(t) for p, t in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]
        buffers = {name: b.clone() for name, b in net.named_buffers()}
        outputs = functional_call(net, dict(zip(names, parts, strict=True)) | buffers, (x,))
        return (functional.mse_loss if y.is_floating_point() else functional.cross_entropy)(outputs, y)

    found = torch.autograd.functional.hessian(loss, torch.cat([t.detach().flatten() for t in tensors]))
    for m, training in flags.items():
        m.training = training
    return found.cpu().numpy()


def flat(direction):
    return torch.cat([t.flatten() for t in direction.values()]).cpu().numpy()


def drawn(net, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = {n: torch.randn(p.shape, generator=generator, dtype=torch.float64) for n, p in net.named_parameters()}
    return {name: v.to(dict(net.named_parameters())[name]) for name, v in draw.items()}


def all_of(net):
    """What must stay bitwise: values, requires_grad, grad and the flags of modules."""
    kept = [(n, p.detach().clone(), p.requires_grad, p.grad) for n, p in net.named_parameters()]
    buffers = [(n, b.clone()) for n, b in net.named_buffers()]
    return kept, buffers, [(n, m.training) for n, m in net.named_modules()]


def assert_same(before, after):
    for one, other in zip(itertools.chain(*before), itertools.chain(*after), strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


NETWORKS = {"mlp": tiny, "convolutional": convolutional, "regression": lambda: (*(n := tiny())[:2], n[1][:, :3] ** 2)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_product_is_the_exact_hessians(name, chunk):
    net, x, y = NETWORKS[name]()
    v = drawn(net)
    before = all_of(net)
    found = hessian_product(net, x, y, chunk=chunk)(v)
    assert_same(before, all_of(net))
    assert list(found) == list(v)
    assert all(found[n].shape == p.shape and found[n].dtype == p.dtype for n, p in net.named_parameters())
    np.testing.assert_allclose(flat(found), exact_hessian(net, x, y) @ flat(v), rtol=1e-9, atol=1e-12)


def test_chunks_follow_from_what_the_graph_keeps(monkeypatch):
    net, x, y = tiny()
    whole = curvature._Loss(net, x, y)
    assert whole.chunk >= len(x)
    assert whole.kept is not None
    values = 8 * (4 + 5 + 5 + 3)  # bytes of a sample in and behind each layer: some are kept by two operations
    assert values <= curvature.GRAPH_BYTES / (curvature.GRAPH_FACTOR * whole.chunk) <= 2 * values
    monkeypatch.setattr(curvature, "GRAPH_BYTES", 7 * curvature.GRAPH_BYTES // whole.chunk)  # of about 7 samples
    few = curvature._Loss(net, x, y)
    assert 6 <= few.chunk <= 8
    assert few.kept is None
    v = np.arange(few.n, dtype=float)
    np.testing.assert_allclose(few.product(v), whole.product(v), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("device", CPU_AND_CUDA)
@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
@pytest.mark.parametrize("width", [2, 5])  # 24 parameters, whose Hessian is written out, and 73
def test_eigenpairs_are_the_exact_hessians(which, width, device):
    net, x, y = tiny(width=width, device=device)
    exact, vectors = np.linalg.eigh(exact_hessian(net, x, y))
    order = {"largest": np.argsort(-exact), "smallest": np.argsort(exact), "magnitude": np.argsort(-abs(exact))}[which]
    before = all_of(net)
    values, directions = top_eigenpairs(net, x, y, 3, which=which)
    assert_same(before, all_of(net))
    np.testing.assert_allclose(values, exact[order[:3]], rtol=1e-6, atol=1e-6 * abs(exact).max())
    for i, direction in zip(order, directions, strict=False):
        v = flat(direction)
        assert np.linalg.norm(v) == pytest.approx(1, abs=1e-12)
        assert v[abs(v).argmax()] > 0
        assert abs(v @ vectors[:, i]) == pytest.approx(1, abs=1e-6)


def test_largest_where_the_negative_end_outweighs_it(monkeypatch):
    """A loss turned upside down: its largest eigenvalue lies in the shadow of its smallest."""
    net, x, y = tiny()
    exact = np.linalg.eigvalsh(exact_hessian(net, x, y))
    loss = functional.cross_entropy
    monkeypatch.setattr(curvature.functional, "cross_entropy", lambda z, y: -loss(z, y))
    values, _ = top_eigenpairs(net, x, y, 2, which="largest")
    np.testing.assert_allclose(values, -exact[:2], rtol=1e-6, atol=1e-6 * exact[-1])


class Diagonal:
    """A Hessian with one large eigenvalue and many small ones, close to one another."""

    n, type = 2001, np.float64
    values = np.append(np.linspace(-1, 1, 2000), 3000)
    products = 0

    def product(self, v):
        self.products += 1
        return self.values * v.reshape(-1)


def test_the_end_in_the_shadow_is_as_exact_as_the_spectrum_is_wide():
    hessian = Diagonal()
    (value,), (vector,) = curvature._eigenpairs(hessian, 1, 0, "smallest", 1e-5, 60)
    assert np.linalg.norm(hessian.values * vector - value * vector) < 1.1 * 1e-5 * 3000
    assert value == pytest.approx(-1, abs=0.03)
    assert hessian.products < 150  # about 50; relative to its own size, over 500


def test_eigenvalue_is_the_losses_second_difference_along_its_direction():
    net, x, y = tiny("gelu")
    for which in ("largest", "smallest"):
        (value,), (direction,) = top_eigenpairs(net, x, y, 1, which=which)
        h, losses = 1e-3, []
        for t in (-h, 0, h):
            moved = {name: p.detach() + t * direction[name] for name, p in net.named_parameters()}
            losses.append(functional.cross_entropy(functional_call(net, moved, (x,)), y).item())
        # what the difference leaves out, h^2 / 12 of a fourth derivative, and what rounding leaves: 4 eps / h^2
        assert value == pytest.approx((losses[0] - 2 * losses[1] + losses[2]) / h**2, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("which", ["extremes", "largest", "smallest", "magnitude"])
def test_plane_has_its_eigenvalues(which):
    net, x, y = tiny()
    hessian = exact_hessian(net, x, y)
    exact = np.linalg.eigvalsh(hessian)
    pair, values = eigen_plane(net, x, y, which=which)
    ends = {"extremes": exact[[-1, 0]], "largest": exact[[-1, -2]], "smallest": exact[:2]}
    np.testing.assert_allclose(values, ends.get(which, exact[np.argsort(-abs(exact))[:2]]), rtol=1e-6, atol=1e-8)
    v = np.array([flat(direction) for direction in pair])
    np.testing.assert_allclose(v @ hessian @ v.T, np.diag(values), atol=1e-5 * exact[-1])
    np.testing.assert_allclose(v @ v.T, np.eye(2), atol=1e-5)


def test_float32_agrees_with_float64_and_a_seed_gives_the_same_bits():
    net, x, y = tiny(width=16)
    exact, _ = top_eigenpairs(net, x, y, 3)
    found, directions = top_eigenpairs(net.float(), x.float(), y, 3)
    assert {v.dtype for v in directions[0].values()} == {torch.float32}
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    again, same = top_eigenpairs(net, x.float(), y, 3)
    assert np.array_equal(found, again)
    assert all(np.array_equal(flat(a), flat(b)) for a, b in zip(directions, same, strict=True))


def test_equal_eigenvalues_are_all_found():
    """Zero weights: only the output's biases curve the loss, and softmax over c classes has 1/c, c - 1 times, and 0."""
    net, x, y = tiny("relu", width=8)
    for p in net.parameters():
        p.data.zero_()
    values, directions = top_eigenpairs(net, x, y, 3)
    np.testing.assert_allclose(values, [1 / 3, 1 / 3, 0], atol=1e-9)
    np.testing.assert_allclose([[flat(a) @ flat(b) for a in directions] for b in directions], np.eye(3), atol=1e-9)


class Flat(nn.Module):
    """A loss that its parameters do not curve: zero times a linear network."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(9, 9)

    def forward(self, x):
        return 0 * self.linear(x)


def test_a_loss_without_curvature():
    x = torch.randn(6, 9)
    values, directions = top_eigenpairs(Flat(), x, torch.arange(6), 3)
    assert np.array_equal(values, [0, 0, 0])
    np.testing.assert_allclose([[flat(a) @ flat(b) for a in directions] for b in directions], np.eye(3), atol=1e-6)
    assert trace(Flat(), x, torch.arange(6), 4) == (0, 0)


def test_trace_and_its_error_bar_are_those_of_the_diagonal():
    net, x, y = tiny()
    hessian = exact_hessian(net, x, y)
    variance = 2 * (np.sum(hessian**2) - np.sum(np.diag(hessian) ** 2))
    mean, error = trace(net, x, y, probes=400)
    assert abs(mean - np.trace(hessian)) < 4 * error
    # the spread of a standard deviation of n draws is about sqrt((kurtosis - 1) / 4 n) of it, below 1.5 / sqrt(n)
    assert error == pytest.approx(np.sqrt(variance / 400), rel=4 * 1.5 / 20)
    assert trace(net, x, y, probes=5, seed=3) == trace(net, x, y, probes=5, seed=3)
    assert trace(net, x, y, probes=5, seed=3) != trace(net, x, y, probes=5, seed=4)
    chunked = trace(net, x, y, probes=5, seed=3, chunk=5)
    np.testing.assert_allclose(chunked, trace(net, x, y, probes=5, seed=3), rtol=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_has_its_second_derivative_or_says_so(activation):
    net, x, y = tiny(activation, layers=1)
    v, h = drawn(net), 1e-5
    if "spline" in activation:  # whose slope is a closed form of its own
        with pytest.raises(CurvatureError, match="a backward pass in it cannot be differentiated"):
            hessian_product(net, x, y)
        return
    found = flat(hessian_product(net, x, y)(v))
    gradients = []
    for t in (-h, h):
        moved = {n: (p.detach() + t * v[n]).requires_grad_() for n, p in net.named_parameters()}
        loss = functional.cross_entropy(functional_call(net, moved, (x,)), y)
        gradients.append(flat(dict(enumerate(torch.autograd.grad(loss, list(moved.values()))))))
    np.testing.assert_allclose(found, (gradients[1] - gradients[0]) / (2 * h), atol=1e-6 * abs(found).max())


def test_attention_has_a_hessian_where_its_backward_pass_has_a_derivative():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 2)).double()
    x, y, v = torch.randn(5, 3, 8).double(), torch.arange(5) % 2, drawn(net)
    with sdpa_kernel(SDPBackend.MATH):
        np.testing.assert_allclose(flat(hessian_product(net, x, y)(v)), exact_hessian(net, x, y) @ flat(v), atol=1e-9)
    with pytest.raises(CurvatureError, match=r"cannot be differentiated .*attention"):
        hessian_product(net, x, y)(v)


def test_what_a_notebook_has_set_changes_nothing():
    net, x, y = tiny()
    expected = top_eigenpairs(net, x, y, 1)[0], trace(net, x, y, 3)
    with torch.inference_mode():
        net, x, y = tiny()  # inference tensors
        assert top_eigenpairs(net, x, y, 1)[0] == expected[0]
        assert trace(net, x, y, 3) == expected[1]
        assert hessian_product(net, x, y)(drawn(net)).keys() == dict(net.named_parameters()).keys()
    with torch.no_grad():
        assert trace(net, x, y, 3) == expected[1]


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.bool])
def test_class_numbers_may_be_of_any_integer_type(kind):
    net, x, y = tiny()
    y = y.clamp(max=1)
    assert trace(net, x, y.to(kind), 3) == trace(net, x, y, 3)


# ---- what cannot be


def test_own_slope_that_autograd_does_not_follow_is_refused():
    def f(z):
        return z.detach().clamp(-1, 1)

    register_activation("clamped_here", f, lambda z: (z.abs() < 1).to(z.dtype))
    try:
        net, x, y = tiny("clamped_here")
        before = all_of(net)
        with pytest.raises(
            CurvatureError, match=r"a backward pass in it cannot be differentiated .*once_differentiable"
        ):
            top_eigenpairs(net, x, y)
        assert_same(before, all_of(net))
    finally:
        ACTIVATIONS.pop("clamped_here")


def in_numpy(z):
    return np.tanh(z)


def no_convergence():
    net, x, y = tiny(width=32)
    return top_eigenpairs(net, x, y, 5, which="smallest", restarts=1, tol=1e-14)


def diverged():
    net, *_ = tiny()
    net.hidden[0].weight.data[0, 0] = torch.nan
    return net


NET, X, Y = tiny()
BAD = {
    "no parameters": (lambda: trace(nn.Identity(), X, Y), "the network, 'Identity', has no parameters"),
    "too many": (lambda: top_eigenpairs(NET, X, Y, 74), "k is 74; allowed is a whole number from 1 to 73"),
    "none asked for": (lambda: top_eigenpairs(NET, X, Y, 0), "k is 0"),
    "one probe": (lambda: trace(NET, X, Y, 1), "probes is 1; allowed is a whole number from 2"),
    "no chunk": (lambda: trace(NET, X, Y, chunk=0), "chunk is 0; allowed is a whole number from 1"),
    "other end": (lambda: top_eigenpairs(NET, X, Y, which="LA"), "which is 'LA'; allowed is largest, smallest"),
    "no sample": (lambda: trace(NET, X[:0], Y[:0]), "x has 0 samples and y has 0 targets; allowed are"),
    "lengths": (lambda: trace(NET, X, Y[1:]), "x has 24 samples and y has 23"),
    "images": (
        lambda: trace(NET, torch.randn(24, 5).double(), Y),
        r"x does not fit .* samples of the shape \(5,\)",
    ),
    "classes": (lambda: trace(NET, X, Y + 7), "y holds classes from 7 to 9, and the network has 3 of them"),
    "targets": (lambda: trace(NET, X, X), r"outputs of the shape \(3,\) and y targets of the shape \(4,\)"),
    "no network": (lambda: trace(len, X, Y), "allowed is an nn.Module"),
    "no tensors": (
        lambda: top_eigenpairs(NET, X.numpy(), Y),
        "x and y are 'ndarray' and 'Tensor'; allowed",
    ),
    "no samples at all": (lambda: eigen_plane(NET, X[0, 0], Y), "x has no samples"),
    "complex": (lambda: trace(NET, X, Y * 1j), "allowed are class numbers, or targets in floating point"),
    "elsewhere": (lambda: trace(NET, X.to("meta"), Y), "put them on one device"),
    "no numbers": (lambda: trace(diverged(), X, Y), "hidden.0.weight holds numbers that are not finite"),
    "not finite": (lambda: trace(NET, X * torch.inf, Y), "the loss is nan at these weights"),
    "not finite in chunks": (lambda: trace(NET, X * torch.inf, Y, chunk=5), "the loss is nan at these weights"),
    "NumPy": (lambda: trace(tiny(in_numpy)[0], X, Y), "operations that autograd follows"),
    "no convergence": (no_convergence, r"Lanczos reached \d of 5 smallest eigenvalues of the Hessian to tol = 1e-14"),
    "direction": (lambda: hessian_product(NET, X, Y)({"hidden.0.weight": X}), "the direction has 'hidden.0.weight'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_sentence(name):
    call, words = BAD[name]
    before = all_of(NET)
    with pytest.raises(CurvatureError, match=words) as error:
        call()
    assert_same(before, all_of(NET))
    assert "\n" not in str(error.value)
