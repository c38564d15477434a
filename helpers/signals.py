"""SIGTERM and SIGHUP, by which machines are taken back and terminals closed, end work as Ctrl-C does: cleanly."""

import signal
import sys
import threading
from contextlib import contextmanager

from helpers.progress import say

ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows lacks SIGHUP


@contextmanager
def answered(numbers, handler):
    """Let handler(number, frame) answer these signals within.

    What is ignored stays ignored, as SIGHUP under nohup. In another thread than the main one nothing changes.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in numbers}
        before = {number: action for number, action in before.items() if action not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


@contextmanager
def terminable(error=None):
    """End what is done within at SIGTERM or SIGHUP, by an exception; yields a list of the signals that came.

    error  what to raise; where left out, a script ends with exit code 143 or 129 (SystemExit), and the cell of a
           notebook like by its Stop button (KeyboardInterrupt), as a kernel outlives its cells
    """
    came = []

    def end(number, frame):
        came.append(number)
        raise error or (KeyboardInterrupt if _in_a_notebook() else SystemExit(128 + number))

    try:
        with answered(ENDS, end):
            yield came
    finally:
        if came:
            name = signal.Signals(came[0]).name
            say(f"{name} has ended this; what is finished is kept, and the same start goes on where it was")


def _in_a_notebook():
    return "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None
