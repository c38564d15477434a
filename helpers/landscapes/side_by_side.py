"""Points of a row, each core some of them: small products side by side are faster than each by all cores."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from helpers.landscapes.losses import own_types


class SideBySide:
    """Points evaluated by as many threads as torch may use, one core each; see `evaluation.points`.

    one    evaluates points: .row(a, bs), and .twin(), which does the same in another thread
    alone  one thread is enough: the work is not done by this processor
    """

    def __init__(self, one, alone=False):
        self.workers, self.alone, self.pool = [one], alone, None

    def at(self, a, b):
        losses, accuracies = self.row(a, [b])
        return float(losses[0]), float(accuracies[0])

    def row(self, a, bs):
        with own_types():
            return self._row(a, bs)

    def _row(self, a, bs):
        bs, threads = np.asarray(bs, float), 1 if self.alone else torch.get_num_threads()
        if threads == 1 or len(bs) < 2 * threads:
            return self.workers[0].row(a, bs)
        self.workers += [self.workers[0].twin() for _ in range(threads - len(self.workers))]
        parts = np.array_split(bs, threads)
        # No sum is made in this thread: those that help with it would spin for a while, on the cores of the others.
        # These stay from row to row, with the memory that they have at hand, and end when nobody has this object.
        if self.pool is None:
            self.pool = ThreadPoolExecutor(initializer=torch.set_num_threads, initargs=(1,), max_workers=threads)
        found = list(self.pool.map(lambda one, some: one.row(a, some), self.workers, parts))
        losses, accuracies = map(np.concatenate, zip(*found, strict=True))
        return losses, accuracies
