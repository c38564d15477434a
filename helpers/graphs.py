"""CUDA graphs: many kernels that are captured once and started by a single launch."""

import threading

import torch

CAPTURING = threading.Lock()  # one capture at a time


def captured(step, after_warm_up=lambda: None):
    """A torch.cuda.CUDAGraph of what `step()` does on this thread's stream; `.replay()` does it again.

    Libraries set themselves up in their first calls, which a capture does not allow: `step` is called twice before, and
    `after_warm_up` may take back what that has changed. Raises RuntimeError for what cannot be captured, as a step that
    fetches a number.
    """
    with CAPTURING:
        for _ in range(2):
            step()
        after_warm_up()
        torch.cuda.synchronize()
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        if stream == torch.cuda.default_stream():
            stream = None  # on which nothing can be captured: torch takes one of its own
        # Of its own accord a capture that fails leaves this thread on the stream that it took.
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            step()
    return graph
