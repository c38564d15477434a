"""Points of a plane on a GPU, each as one captured graph: a pass of hundreds of small kernels costs a single launch."""

import torch

from helpers import graphs
from helpers.landscapes.losses import finished, loss_and_accuracy
from helpers.landscapes.plain_points import PlainPoints
from helpers.lanes import is_out_of_memory
from helpers.progress import say


def points(model, x, y, pair, batch_norm):
    """GraphedPoints on a GPU; None elsewhere, where batch norm is recomputed, and for what cannot be captured."""
    if x.device.type != "cuda" or batch_norm != "frozen":
        return None
    try:
        return GraphedPoints(model, x, y, pair)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        say(f"points are evaluated without a graph: CUDA cannot capture this network ({str(error).splitlines()[0]})")
        return None


class GraphedPoints(PlainPoints):
    """Any nn.Module whose pass can be captured: it fetches no number, and always does the same."""

    def __init__(self, model, x, y, pair, batch_norm="frozen"):
        super().__init__(model, x, y, pair, batch_norm)
        self.left = [p.clone() for p in self.start]
        self.b = torch.zeros((), dtype=self.start[0].dtype, device=x.device)
        self.found = torch.zeros(2, dtype=torch.float64, device=x.device)  # (sum of losses, correct) of a point
        with torch.no_grad():
            self.graph = graphs.captured(self._pass)

    @torch.no_grad()
    def row(self, a, bs):
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
            torch.addcmul(w, v, self.b.to(v.dtype), out=p)
        self._measure()
        parts = zip(self._parts(self.x), self._parts(self.y), strict=True)
        found = [torch.stack(loss_and_accuracy(self.net(x), y)) for x, y in parts]
        self.found.copy_(torch.stack(found).sum(0))
