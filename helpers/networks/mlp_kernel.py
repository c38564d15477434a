"""Many fully connected networks trained on a CPU by `mlp_kernel.c`, one after another.

What a stack of networks does by batched products of torch, the C file does a network at a time: every layer's weights
are then read from the cache, activation, statistics and the optimiser's step go along with the products, and a step of
all networks is one call, during which other threads of Python run. A network comes out the same, bit for bit, whatever
else is in its stack.
"""

import ctypes
from pathlib import Path

import numpy as np
import torch

from helpers import compiled
from helpers.activations import IN_C
from helpers.records import LAYER_STATS

SOURCE = Path(__file__).with_suffix(".c")
OF_TYPE = {torch.float32: ["-DSINGLE"], torch.float64: []}
STEPS_OF_A_CALL, BYTES_OF_A_CALL = 16, 2**22  # at most: one that stops the training waits for a call's end
RULES = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2, "statistics": 3}
FIELDS = {
    ctypes.c_int64: "networks depth inputs width classes seeds phi rule affine threads n total steps_before "
    "nesterov decoupled",
    ctypes.c_double: "scale shift input_scale mu beta2 epsilon decay",
    ctypes.c_void_p: "layers seed_of weights biases first second lr x y index loss stats correct space",
}


class Call(ctypes.Structure):
    """The C file's `Call`."""

    _fields_ = [(name, kind) for kind, names in FIELDS.items() for name in names.split(" ")]


def library(dtype):
    """The compiled file for a number type; None where there is no compiler, and for other types."""
    if dtype not in OF_TYPE:
        return None
    found = compiled.library(SOURCE, OF_TYPE[dtype], "networks train about twice as long here")
    if found is not None:
        found.space_needed.restype = ctypes.c_int64
    return found


class MlpKernel:
    """The networks of a stack, as the C file sees them.

    in_c      (phi, scale, shift, input_scale) of the activation: see `Activation.in_c`
    layers    (R,) hidden layers of each network
    seed_of   (R,) which row of an index each network reads
    weights   of each place, hidden layers first and the output layer last, (rows, inputs, outputs): network r has row r
    biases    likewise, (rows, 1, outputs)
    rule      a name in RULES
    moments   (first, second), what an optimiser keeps of all weights, then of all biases, in the same order as these
    constants mu, beta2, epsilon, decay of the optimiser, and whether it is nesterov, and its decay decoupled
    """

    def __init__(self, in_c, layers, seed_of, weights, biases, rule, moments=((), ()), **constants):
        self.dtype = weights[0].dtype
        self.library = library(self.dtype)
        self.depth, self.count = len(weights) - 1, len(layers)
        self.layers, self.seed_of = np.array(layers, np.int64), np.array(seed_of, np.int64)
        self.seeds = max(seed_of) + 1
        self.rule = RULES[rule]
        self.kept = [*weights, *biases, *moments[0], *moments[1]]  # what the addresses point at
        if not all(tensor.is_contiguous() and tensor.dtype == self.dtype for tensor in self.kept):
            raise ValueError("the kernel takes contiguous tensors of one number type")
        self.addresses = [self._addresses(tensors) for tensors in (weights, biases, *moments)]
        phi, scale, shift, input_scale = in_c
        self.about = {
            "networks": self.count,
            "depth": self.depth,
            "inputs": weights[0].shape[1],
            "width": weights[0].shape[2],
            "classes": weights[-1].shape[2],
            "phi": IN_C.index(phi),
            "affine": (scale, shift, input_scale) != (1, 0, 1),
            "scale": scale,
            "shift": shift,
            "input_scale": input_scale,
            **constants,
        }
        self.space = torch.empty(0, dtype=self.dtype)

    def _addresses(self, tensors):
        """(parts, R, depth + 1) addresses of each network's own rows; 0 where a network has no such layer."""
        places = self.depth + 1
        found = np.zeros((max(1, len(tensors) // places), self.count, places), np.uintp)
        for k, tensor in enumerate(tensors):
            step = tensor[0].numel() * tensor.element_size()
            rows = np.arange(len(tensor), dtype=np.uintp)
            found[k // places, : len(tensor), k % places] = tensor.data_ptr() + rows * np.uintp(step)
        return found

    def steps_of_a_call(self, batch_size):
        """How many steps `train` should be given at once: a network of few layers then stays in the cache for them."""
        bytes_of_a_step = self.seeds * batch_size * self.about["inputs"] * self.dtype.itemsize
        return max(1, min(STEPS_OF_A_CALL, BYTES_OF_A_CALL // bytes_of_a_step))

    def train(self, x, y, index, n, lr, loss, correct, steps_before=0):
        """A step of every network on each n samples of an index; adds to loss (R,) float64 and correct (R,) int64.

        x, y   (N, inputs) and (N,)
        index  (seeds, total) int64, the samples of each seed; the last batch may be smaller than n
        lr     (R,) float64
        """
        further = {"n": n, "total": index.shape[1], "lr": lr.data_ptr(), "steps_before": steps_before}
        self._run("train", self.rule, x, y, index, loss, correct, **further)

    def evaluate(self, x, y, loss, correct):
        """Adds to loss and correct those of all samples."""
        self._run("evaluate", self.rule, x, y, None, loss, correct, n=len(x), total=len(x))

    def probe(self, x, y):
        """{stat: (R, depth) float64}, NaN where a network has no such layer."""
        stats = np.zeros((len(LAYER_STATS), self.count, self.depth))
        lr = torch.ones(self.count, dtype=torch.float64)
        nothing = torch.zeros(self.count, dtype=torch.float64), torch.zeros(self.count, dtype=torch.int64)
        further = {"n": len(x), "total": len(x), "lr": lr.data_ptr(), "stats": stats.ctypes.data}
        self._run("train", RULES["statistics"], x, y, None, *nothing, **further)
        stats[:, np.arange(self.depth) >= self.layers[:, None]] = np.nan
        return dict(zip(LAYER_STATS, stats, strict=True))

    def _check(self, x, y, index):
        """Raises ValueError, one sentence, for tensors that the C file would misread."""
        inputs, whole = self.about["inputs"], torch.int64
        if not (x.dtype == self.dtype and x.is_contiguous() and x.dim() == 2 and x.shape[1] == inputs):
            raise ValueError(f"samples are {_said(x)}; allowed is contiguous {self.dtype}, {inputs} numbers each")
        if not (y.dtype == whole and y.is_contiguous() and y.shape == x.shape[:1]):
            raise ValueError(f"labels are {_said(y)}; allowed is contiguous {whole}, one a sample")
        if index is not None and not (index.dtype == whole and index.dim() == 2 and len(index) == self.seeds):
            raise ValueError(f"index is {_said(index)}; allowed is {whole}, rows: {self.seeds}, one a seed")

    def _run(self, name, rule, x, y, index, loss, correct, **further):
        index = None if index is None else index.contiguous()
        self._check(x, y, index)
        call = Call(
            **{**self.about, **further},
            seeds=1 if index is None else len(index),
            rule=rule,
            threads=min(torch.get_num_threads(), self.count),
            layers=self.layers.ctypes.data,
            seed_of=self.seed_of.ctypes.data,
            weights=self.addresses[0].ctypes.data,
            biases=self.addresses[1].ctypes.data,
            first=self.addresses[2].ctypes.data,
            second=self.addresses[3].ctypes.data,
            x=x.data_ptr(),
            y=y.data_ptr(),
            index=index.data_ptr() if index is not None else None,
            loss=loss.data_ptr(),
            correct=correct.data_ptr(),
        )
        needed = self.library.space_needed(ctypes.byref(call), name == "evaluate")
        if self.space.numel() < needed:
            self.space = torch.empty(needed, dtype=self.dtype)
        call.space = self.space.data_ptr()
        getattr(self.library, name)(ctypes.byref(call))


def _said(tensor):
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}" + ("" if tensor.is_contiguous() else ", not contiguous")
