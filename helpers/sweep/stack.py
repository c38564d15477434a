"""Many networks trained as one: the ragged stack.

Networks of a sweep have the same shape but for their depth, so layer l of R networks is one batched matrix product,
(R, batch, H) x (R, H, H). Networks are ordered by depth, deepest first, and layer l works on the first `rows[l]` of
them. Networks of one stack share the activation; each has its own init, seed, depth and learning rate, and since no
product mixes two networks, none can disturb another.

The backward pass is written by hand. With plain SGD it updates in place: the learning rate is folded into the gradient
of the loss, from where the chain rule carries it into every layer, so that W <- W - a' dz is one product and no
gradient is ever stored.

On a CPU, in float32 and float64, `networks/mlp_kernel.c` does the same one network after another, for the activations
that it has: there a layer's weights come from the cache, and batched products have nothing to gain. Elsewhere, and
where there is no C compiler, torch does it.
"""

import weakref

import numpy as np
import torch

from helpers import graphs
from helpers.config import PRECISIONS, STACK_SETTINGS
from helpers.networks import DeepMLP, draw_parameters, mlp_kernel
from helpers.records import LAYER_STATS
from helpers.sweep.optimizers import STACK_OPTIMIZERS
from helpers.sweep.plan import kind_of

# oneDNN's float32 product for one large pair of matrices, which torch calls for its compiled graphs. On the AMD
# processor it was measured on it takes half the time of torch.mm's MKL; the small products of the hidden layers gain
# nothing by it.
ONEDNN_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None

EVALUATED_AT_ONCE = 512  # samples


class Stack:
    """R networks of one activation; each of their tensors has a row a network.

    config  a SweepConfig whose sizes are known (`fitted_to` its data)
    runs    the R runs, in any order, each with its lr; `self.runs` holds them deepest first, as every result does

    weights[l]  (rows[l], fan_in, fan_out), transposed against `torch.nn.Linear`; weights[depth] is the output's
    biases[l]   (rows[l], 1, fan_out)
    phi_params  [(rows[l], ...)], what the activation of layer l learns, each network its own; [] if nothing
    kernel      an MlpKernel that works on these tensors; None where torch does
    """

    def __init__(self, config, runs, device="cpu"):
        for name, values in zip(("activation", *STACK_SETTINGS), zip(*map(kind_of, runs), strict=True), strict=True):
            if len(set(values)) != 1:
                raise ValueError(f"a stack has one {name}; got {sorted(set(values))}")
        config = config.of(runs[0])
        self.config, self.device = config, torch.device(device)
        self.runs = sorted(runs, key=lambda run: (-run.layers, run.seed))
        self.activation = config.activation(runs[0].activation)
        self.depth = self.runs[0].layers
        self.rows = [sum(run.layers > l for run in self.runs) for l in range(self.depth)]
        self.seeds = sorted({run.seed for run in runs})

        # the number type of products and activations, and of the weights themselves
        self.working_type = PRECISIONS[config.precision]
        self.type = torch.float32 if config.precision == "bf16" else self.working_type
        self.sum_type = torch.float32 if self.device.type == "mps" else torch.float64

        self.lr = torch.tensor([run.lr for run in self.runs], dtype=self.type, device=self.device).view(-1, 1, 1)
        self.seed_of = torch.tensor([self.seeds.index(run.seed) for run in self.runs], device=self.device)
        self.blocks = list(_blocks([self.seeds.index(run.seed) for run in self.runs]))
        by_kernel = self._is_for_kernel()
        # By torch on a CPU the first layer of networks that share their batch is one wide product.
        self.wide_first = (
            not by_kernel
            and self.device.type == "cpu"
            and self.working_type == torch.float32
            and ONEDNN_LINEAR is not None
        )
        self._draw()
        self.loss_sum = torch.zeros(len(runs), dtype=self.sum_type, device=self.device)
        self.correct = torch.zeros(len(runs), dtype=torch.int64, device=self.device)
        # By a weak reference, as all that belongs to the stack and looks back at it: a stack that is finished is then
        # freed at once. The collector of cycles, which counts objects and not bytes, would keep several.
        self.optimizer = STACK_OPTIMIZERS[config.optimizer](weakref.proxy(self))
        self.kernel = self._kernel() if by_kernel else None
        self._spaces = {}

    def _is_for_kernel(self):
        """Whether `mlp_kernel.c` does the work: on a CPU, for the activations that it has, where it can be compiled."""
        return (
            self.device.type == "cpu"
            and self.working_type == self.type
            and bool(self.activation.in_c)
            and mlp_kernel.library(self.type) is not None
        )

    def _kernel(self):
        seeds, layers = self.seed_of.tolist(), [run.layers for run in self.runs]
        parts = self.weights, self.biases, self.config.optimizer, self.optimizer.moments_of_all
        return mlp_kernel.MlpKernel(self.activation.in_c, layers, seeds, *parts, **self.optimizer.constants)

    def __len__(self):
        return len(self.runs)

    def lr_of(self, tensor):
        """The learning rates of the networks that a tensor has rows of, to be multiplied with it."""
        return self.lr[: len(tensor)].view(-1, *[1] * (tensor.dim() - 1))

    def _draw(self):
        c = self.config
        self.weights = [
            torch.empty(n, c.input_size if l == 0 else c.hidden_size, c.hidden_size, dtype=self.type)
            for l, n in enumerate(self.rows)
        ]
        self.weights.append(torch.empty(len(self), c.hidden_size, c.output_size, dtype=self.type))
        if self.wide_first:  # lies in memory as (R, H, D), so that its networks are the rows of one matrix
            self.weights[0] = torch.empty(len(self), c.hidden_size, c.input_size, dtype=self.type).mT
        self.biases = [torch.zeros(len(weight), 1, weight.shape[2], dtype=self.type) for weight in self.weights]
        for r, run in enumerate(self.runs):
            for l, weight, bias in zip([*range(run.layers), self.depth], *draw_parameters(c, run), strict=True):
                self.weights[l][r], self.biases[l][r, 0] = weight.T, bias
        self.weights = [weight.to(self.device) for weight in self.weights]
        self.biases = [bias.to(self.device) for bias in self.biases]
        self.phi_params = []
        if self.activation.learns:
            start = self.activation.learns.start_of_layer(c.hidden_size).to(self.device, self.type)
            self.phi_params = [start.repeat(n, *[1] * start.dim()) for n in self.rows]
        self._copy_to_working_type()

    def _copy_to_working_type(self):
        if self.working_type == self.type:
            self.working_weights, self.working_biases = self.weights, self.biases
        else:
            self.working_weights = [weight.to(self.working_type) for weight in self.weights]
            self.working_biases = [bias.to(self.working_type) for bias in self.biases]

    # ---- forward

    def _space(self, n):
        """The buffers for batches of n samples, made once."""
        if n not in self._spaces:
            self._spaces[n] = _Space(weakref.proxy(self), n)
        return self._spaces[n]

    def _affine(self, l, a, z):
        """z = a W_l + b_l for all networks that have a layer l."""
        torch.baddbmm(self.working_biases[l], a, self.working_weights[l], out=z)

    @staticmethod
    def wide_product(a, b, bias=None):
        """a b' + bias of one large pair of matrices, (n, k) and (m, k), by oneDNN."""
        return ONEDNN_LINEAR(a, b, bias, "none", [], "")

    def _affine_first(self, batches, z):
        """The first hidden layer: networks of one seed share their batch, so it is not copied for each."""
        for rows, s in self.blocks if len(batches) > 1 else [(slice(None), 0)]:
            block, weight, bias = z[rows], self.working_weights[0][rows], self.working_biases[0][rows]
            if self.wide_first:
                wide = self.wide_product(batches[s], weight.mT.flatten(0, 1), bias.flatten())  # (n, R H)
                block.copy_(wide.view(len(wide), *bias.shape[::2]).transpose(0, 1))
            else:
                torch.baddbmm(bias, batches[s].expand(len(block), *batches[s].shape), weight, out=block)

    def _phi_params(self, l):
        """What forward and backward of layer l's activation take as a last argument: [phi_params[l]], or []."""
        return self.phi_params[l : l + 1]

    def _forward(self, batches, space, keep=True, look=None):
        """Logits (R, n, C) in float32 or better.

        batches  (n, D), one a seed, or a single one for all
        keep     hold on to what the backward pass reads; without it two buffers take turns
        look     called as look("pre", l, z) and look("act", l, a), after either half of a layer
        """
        a = None
        for l, n in enumerate(self.rows):
            z, out = (space.z[l], space.a[l]) if keep else (space.turns[l % 2][:n],) * 2
            if l == 0:
                self._affine_first(batches, z)
            else:
                self._affine(l, a[:n], z)
            if look:
                look("pre", l, z)
            a = self.activation.forward(z, out, *self._phi_params(l))
            if look:
                look("act", l, a)
            # networks that end here hand their last activations to the output layer
            ending = slice(self.rows[l + 1] if l + 1 < self.depth else 0, n)
            if ending.start < n:
                space.last[ending] = a[ending]
        self._affine(self.depth, space.last, space.logits)
        return space.logits.to(self.type)

    # ---- backward

    def _backward(self, grad_logits, batches, space):
        """Walk from the output layer down and yield (l, pairs): dL/dW_l is the sum of a' dz over samples.

        pairs  [(rows, a, dz)], a (n, batch, fan_in), dz (n, batch, fan_out); one triple, but for the first layer, which
               has one a block of networks with the same seed

        A layer is yielded when its weights are no longer needed, so that the caller may change them in place. By then
        `phi_params[l].grad` has the gradient of what its activation learns.
        """
        every = slice(None)
        # dL/da = dL/dlogits W'. `space.grad` holds dL/da of one layer at a time, a row a network.
        dz = grad_logits.to(self.working_type)  # (R, batch, C)
        torch.bmm(dz, self.working_weights[self.depth].mT, out=space.grad)  # (R, batch, C) x (R, C, H)
        yield self.depth, [(every, space.last, dz)]
        for l in reversed(range(self.depth)):
            n = self.rows[l]  # networks that have a layer l: the first n, since the deepest stand first
            # The trap: two kinds of rows meet in `space.grad`. Those of networks that end at layer l, from rows[l + 1]
            # on, still hold what the output layer sent above; those of deeper ones layer l + 1 has just overwritten.
            grad = space.grad[:n]  # (n, batch, H)
            # dL/dz = dL/da phi'(z). It takes the place of the activations, which nobody reads any more.
            kept = space.a[l] if self.activation.keeps == "output" else space.z[l]  # (n, batch, H)
            dz = self.activation.backward(grad, kept, kept, *self._phi_params(l))
            if l == 0:
                # The inputs are the same for all networks of a seed: (batch, D) stands for (networks, batch, D).
                blocks = self.blocks if len(batches) > 1 else [(every, 0)]
                yield 0, [(rows, batches[s].expand(len(dz[rows]), *batches[s].shape), dz[rows]) for rows, s in blocks]
            else:
                torch.bmm(dz, self.working_weights[l].mT, out=grad)  # before the caller changes the weights
                yield l, [(every, space.a[l - 1][:n], dz)]  # of the layer below, the rows that go on to this one

    def _grad_logits(self, logits, y, scale):
        """Losses (R, n), and the gradient of scale * the sum of them by the logits; y (R, n)."""
        log_p = torch.log_softmax(logits, 2)
        losses = -log_p.gather(2, y[:, :, None])[:, :, 0]
        grad = log_p.exp_()
        grad.scatter_add_(2, y[:, :, None], grad.new_full((), -1.0).expand(*y.shape, 1))
        return losses, grad.mul_(scale)

    # ---- what the sweep calls

    def steps_of_a_call(self, batch_size):
        """How many steps `train_batches` should be given at once."""
        return self.kernel.steps_of_a_call(batch_size) if self.kernel else 1

    def train_batches(self, x, y, index, batch_size):
        """`train_batch` on each batch_size samples of an index, (number of seeds, any number)."""
        if self.kernel:
            lr, before = self.lr.flatten().double(), int(self.optimizer.steps)
            self.kernel.train(x, y, index, batch_size, lr, self.loss_sum, self.correct, before)
            self.optimizer.steps += -(-index.shape[1] // batch_size)
        else:
            for batch in index.split(batch_size, dim=1):
                self._train_batch(x, y, batch)

    def train_batch(self, x, y, index):
        """One optimiser step of every network; adds to `loss_sum` and `correct`.

        x, y   the training data, (N, D) and (N,)
        index  (number of seeds, batch): which samples the networks of each seed see, in the order of `self.seeds`
        """
        self.train_batches(x, y, index, index.shape[1])

    def _train_batch(self, x, y, index):
        space = self._space(index.shape[1])
        batches = [x.index_select(0, i).to(self.working_type) for i in index]
        labels = y[index][self.seed_of]  # (R, batch)
        logits = self._forward(batches, space)
        self.correct += (logits.argmax(2) == labels).sum(1)
        losses, grad = self._grad_logits(logits, labels, self.optimizer.loss_scale / index.shape[1])
        self.loss_sum += losses.sum(1)
        self.optimizer.before_step()
        for l, pairs in self._backward(grad, batches, space):
            self.optimizer.step(l, pairs)
            for params in self._phi_params(l):
                self.optimizer.step_phi(l, params, self.activation.learns.penalty_gradient(params))

    def train_figures(self):
        """Loss and number of correct answers, both summed over the samples since the last call: two (R,) arrays."""
        figures = self.loss_sum.tolist(), self.correct.tolist()
        self.loss_sum.zero_()
        self.correct.zero_()
        return [np.array(figure) for figure in figures]

    @torch.no_grad()
    def evaluate(self, x, y):
        """Mean loss and accuracy of every network on (N, D), (N,): two (R,) arrays."""
        loss = torch.zeros_like(self.loss_sum)
        correct = torch.zeros_like(self.correct)
        if self.kernel:
            self.kernel.evaluate(x, y, loss, correct)
            return loss.numpy() / len(x), correct.numpy() / len(x)
        for part, labels in zip(x.split(EVALUATED_AT_ONCE), y.split(EVALUATED_AT_ONCE), strict=True):
            logits = self._forward([part.to(self.working_type)], self._space(len(part)), keep=False)
            log_p = torch.log_softmax(logits, 2)
            labels = labels.expand(len(self), -1)
            loss -= log_p.gather(2, labels[:, :, None]).sum((1, 2))
            correct += (logits.argmax(2) == labels).sum(1)
        return loss.double().cpu().numpy() / len(x), correct.cpu().numpy() / len(x)

    def probe(self, x, y):
        """Layer statistics of every network on one batch, as `networks.probe` reads them from one.

        returns  {stat: (R, depth) array}, NaN where a network has no such layer
        """
        if self.kernel:
            return self.kernel.probe(x, y)
        space = self._space(len(x))
        stats = torch.full(
            (len(LAYER_STATS), len(self), self.depth), torch.nan, dtype=self.sum_type, device=self.device
        )
        found = dict(zip(LAYER_STATS, stats, strict=True))

        def look(half, l, values):
            mean = values.mean((1, 2), dtype=self.type, keepdim=True)
            centred = (values - mean).flatten(1)
            # Summed in double precision: the squares of a signal that fades over 50 layers underflow in float32.
            deviation = torch.linalg.vector_norm(centred, dim=1, dtype=self.sum_type) / centred.shape[1] ** 0.5
            found[f"{half}_std"][: self.rows[l], l] = deviation
            if half == "act":
                found["act_mean"][: self.rows[l], l] = mean[:, 0, 0].to(self.sum_type)

        batches = [x.to(self.working_type)]
        logits = self._forward(batches, space, look=look)
        _, grad = self._grad_logits(logits, y.expand(len(self), -1), 1 / len(x))
        for l, pairs in self._backward(grad, batches, space):
            if l == self.depth:
                continue
            for rows, a, dz in pairs:
                gradient = torch.bmm(a.mT, dz).flatten(1)
                norm = torch.linalg.vector_norm(gradient, dim=1, dtype=self.sum_type)
                found["grad_norm"][: self.rows[l]][rows, l] = norm
                found["grad_mean_abs"][: self.rows[l]][rows, l] = gradient.abs().mean(1).to(self.sum_type)
        return dict(zip(LAYER_STATS, stats.double().cpu().numpy(), strict=True))

    def freeze(self, r):
        """Take network r out of the race: its weights become 0 and stay so; the others go on untouched."""
        self.lr[r] = 0
        for tensor in self._tensors():
            if r < len(tensor):
                tensor[r] = 0
        self._refresh()

    def network(self, r):
        """Network r as a `DeepMLP` on the CPU."""
        c, run = self.config, self.runs[r]
        net = DeepMLP(c.input_size, c.hidden_size, c.output_size, run.layers, self.activation).to(self.type)
        layers = [*range(run.layers), self.depth]
        weights, biases = [self.weights[l][r].T for l in layers], [self.biases[l][r, 0] for l in layers]
        return net.set_weights(weights, biases, [params[r] for params in self.phi_params[: run.layers]])

    # ---- saving and loading

    def _tensors(self):
        """Everything that training changes and that has one row a network."""
        return [*self.weights, *self.biases, *self.phi_params, *self.optimizer.tensors]

    def _refresh(self):
        if self.working_type != self.type:
            for working, master in zip(
                self.working_weights + self.working_biases, self.weights + self.biases, strict=True
            ):
                working.copy_(master)

    def state(self):
        """What training has changed, copied to the CPU: `load_state` of it goes on where this stack is now."""
        copies = [torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor) for tensor in self._tensors()]
        return {"tensors": copies, "lr": self.lr.cpu().clone(), "steps": int(self.optimizer.steps)}

    def load_state(self, state):
        for tensor, saved in zip(self._tensors(), state["tensors"], strict=True):
            tensor.copy_(saved)
        self.lr.copy_(state["lr"])
        self.optimizer.steps.fill_(state["steps"])
        self._refresh()


class GraphedSteps:
    """`stack.train_batch` as captured CUDA graphs, one a batch size: a step of hundreds of kernels costs one launch.

    Called with an index, as `train_batch` is. The first call with a new batch size captures.
    """

    def __init__(self, stack, x, y):
        self.stack, self.x, self.y = stack, x, y
        self.graphs = {}

    def __call__(self, index):
        size = index.shape[1]
        if size not in self.graphs:
            self.graphs[size] = self._capture(index)
        static_index, graph = self.graphs[size]
        static_index.copy_(index)
        graph.replay()

    def _capture(self, index):
        static_index = index.clone()

        def step():
            self.stack.train_batch(self.x, self.y, static_index)

        # What the calls before the capture train is taken back.
        before = self.stack.state(), self.stack.loss_sum.clone(), self.stack.correct.clone()

        def take_back():
            self.stack.load_state(before[0])
            self.stack.loss_sum.copy_(before[1])
            self.stack.correct.copy_(before[2])

        return static_index, graphs.captured(step, take_back)


class _Space:
    """The buffers of one batch size. Where the activation keeps its output, z and a are the same memory."""

    def __init__(self, stack, n):
        width, kind = stack.config.hidden_size, {"dtype": stack.working_type, "device": stack.device}
        self.n, self.stack, self.kind, self.width = n, stack, kind, width
        self.grad = torch.empty(len(stack), n, width, **kind)  # dL/da, from above
        self.last = torch.empty(len(stack), n, width, **kind)  # each network's last activations
        self.logits = torch.empty(len(stack), n, stack.config.output_size, **kind)
        self._a = self._z = self._turns = None

    def _layers(self):
        return [torch.empty(rows, self.n, self.width, **self.kind) for rows in self.stack.rows]

    @property
    def a(self):
        if self._a is None:
            self._a = self._layers()
        return self._a

    @property
    def z(self):
        if self._z is None:
            self._z = self.a if self.stack.activation.keeps == "output" else self._layers()
        return self._z

    @property
    def turns(self):
        if self._turns is None:
            self._turns = [torch.empty(len(self.stack), self.n, self.width, **self.kind) for _ in range(2)]
        return self._turns


def _blocks(seed_of):
    """Neighbouring networks with the same seed, as (rows, index of the seed)."""
    start = 0
    for r in range(1, len(seed_of) + 1):
        if r == len(seed_of) or seed_of[r] != seed_of[start]:
            yield slice(start, r), seed_of[start]
            start = r
