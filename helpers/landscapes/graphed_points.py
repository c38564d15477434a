"""Points of a plane on a GPU, each as one captured graph: a pass of hundreds of small kernels costs a single launch."""

import numpy as np
import torch

from helpers import graphs
from helpers.landscapes.losses import finished, loss_and_accuracy
from helpers.landscapes.plain_points import PlainPoints, is_watched, moved
from helpers.lanes import is_out_of_memory
from helpers.progress import say

PLACE = (0.3, -0.2)  # of the point at which a graph is compared with the plain way
CLOSE = 1e-3  # the largest relative difference of its loss


def points(model, x, y, pair, batch_norm):
    """GraphedPoints on a GPU; None elsewhere, where batch norm is recomputed, and where hooks want to be called."""
    if x.device.type != "cuda" or batch_norm != "frozen" or any(map(is_watched, model.modules())):
        return None
    return tried(model, x, y, pair)


def tried(model, x, y, pair):
    """GraphedPoints that give what the plain way gives; None, and a sentence, for a network of which there are none."""
    try:
        found = GraphedPoints(model, x, y, pair)
        a, b = PLACE
        (here,), (plain,) = found.row(a, [b])[0], PlainPoints(model, x, y, pair).row(a, [b])[0]
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        say(f"points are evaluated without a graph: CUDA cannot capture this network ({str(error).splitlines()[0]})")
        return None
    if not np.isclose(here, plain, rtol=CLOSE, atol=0, equal_nan=True):
        say(f"points are evaluated without a graph: it gives {here:.6g} where the network gives {plain:.6g}")
        return None
    return found


class GraphedPoints(PlainPoints):
    """Any nn.Module whose pass can be captured: it fetches no number, and always does the same."""

    def __init__(self, model, x, y, pair, batch_norm="frozen"):
        super().__init__(model, x, y, pair, batch_norm)
        self.left = [p.clone() for p in self.start]
        self.b = torch.zeros((), dtype=torch.float64, device=x.device)
        self.found = torch.zeros(2, dtype=torch.float64, device=x.device)  # (sum of losses, correct) of a point
        with torch.no_grad(), torch.cuda.device_of(x):
            self.graph = graphs.captured(self._pass)

    def row(self, a, bs):
        with torch.no_grad(), torch.cuda.device_of(self.x):  # whichever GPU is the current one
            return self._row(a, bs)

    def _row(self, a, bs):
        for left, w, v in zip(self.left, self.start, self.first, strict=True):
            torch.add(w, v, alpha=float(a), out=left)
        found = self.found.new_empty(len(bs), 2)
        for k, b in enumerate(bs):
            self.b.fill_(float(b))
            self.graph.replay()
            found[k] = self.found
        return finished(*found.T.cpu().numpy(), len(self.y))

    def _pass(self):
        """The point self.left + self.b v2, into self.found."""
        for p, w, v in zip(self.moving.values(), self.left, self.second, strict=True):
            p.copy_(moved(w, v, self.b))
        self._measure()
        parts = zip(self._parts(self.x), self._parts(self.y), strict=True)
        found = [torch.stack(loss_and_accuracy(self.net(x), y)) for x, y in parts]
        self.found.copy_(torch.stack(found).sum(0))
