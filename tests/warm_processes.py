"""Processes that are forked from one that has imported what many need: such a start costs 0.3 s in place of 3.

    pytest_plugins = ["warm_processes"] brings these fixtures:
    warm_kernels  what this process starts as a kernel is such a one, on one thread: small matrices are slower on two
    warm_python   warm_python(code, *arguments) is subprocess.run([sys.executable, "-c", code, *arguments], ...) of them

Nothing of this tree is imported beforehand, and no pyplot, which takes its backend from the kernel. What is to be seen
of a start itself (its imports, its environment) wants a process of its own, and so do kernels now and then:
test_notebooks.py and test_run.py have some by `python -m helpers.batch`.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

IMPORTED = [
    *("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "ipywidgets", "filelock", "yaml"),
    *("torch", "pandas", "scipy.interpolate", "scipy.stats", "sklearn.datasets", "sklearn.model_selection"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg"),
]


class Server:
    """The process that forks others; one line of JSON to it and one back for each question."""

    def __init__(self):
        # The variable is what a kernel sets before it imports matplotlib.
        environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment, start_new_session=True,
        )  # fmt: skip
        self.lock = threading.Lock()

    def ask(self, **question):
        with self.lock:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

    def begin(self, command, env, cwd, out=os.devnull, err=os.devnull):
        env, cwd = dict(os.environ if env is None else env), os.getcwd() if cwd is None else str(cwd)
        return Forked(self, self.ask(command=command, env=env, cwd=cwd, out=str(out), err=str(err)))

    def launch(self, command, *_, env=None, cwd=None, **__):
        """In place of `jupyter_client.launcher.launch_kernel`."""
        return self.begin(command[1:], {**(os.environ if env is None else env), "OMP_NUM_THREADS": "1"}, cwd)

    def run(self, code, *arguments, env=None, cwd=None):
        """In place of `subprocess.run` of a text of code, its outputs captured as text."""
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
            pipes = [Path(folder, name) for name in ("out", "err")]
            for pipe in pipes:
                os.mkfifo(pipe)
            read = [pool.submit(pipe.read_text, encoding="utf-8") for pipe in pipes]
            process = self.begin(["-c", code, *map(str, arguments)], env, cwd, *pipes)
            texts = [text.result() for text in read]
            while process.poll() is None:
                time.sleep(0.01)
        return subprocess.CompletedProcess([code, *arguments], process.returncode, *texts)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Forked:
    """As much of a subprocess.Popen as a manager of kernels asks for."""

    stdin = stdout = stderr = returncode = None

    def __init__(self, server, pid):
        self.server, self.pid = server, pid

    def poll(self):
        if self.returncode is None:
            self.returncode = self.server.ask(poll=self.pid)
        return self.returncode

    def wait(self):
        """A manager polls until there is a code."""
        return self.poll()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)


@pytest.fixture(scope="session")
def warm_server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def warm_kernels(warm_server, monkeypatch):
    from jupyter_client.provisioning import local_provisioner

    monkeypatch.setattr(local_provisioner, "launch_kernel", warm_server.launch)


@pytest.fixture(scope="session")
def warm_python(warm_server):
    return warm_server.run


# ---- the server's process


def serve():
    """Answer what a process is to do with its id, and {"poll": id} with its exit code, or null while it lives."""
    del sys.path[0]  # this file's folder
    for name in IMPORTED:
        __import__(name)
    gc.freeze()  # no fork looks through this for garbage, which would copy it as well
    for line in sys.stdin:
        question = json.loads(line)
        if "poll" in question:
            pid, status = os.waitpid(question["poll"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        elif os.fork() == 0:
            become(**question)


def become(command, env, cwd, out, err):
    """Do what `python -m module ...` or `python -c code ...` does, in a session of its own."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print(os.getpid(), flush=True)
    for number, path in enumerate((os.devnull, out, err)):
        file = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(env, JPY_PARENT_PID=str(os.getppid()))  # a kernel ends when its parent does
    if env.get("OMP_NUM_THREADS") == "1":
        sys.modules["torch"].set_num_threads(1)  # it has read the variable of the server
    os.chdir(cwd)
    given = env.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = ["", *(path for path in given if path and path not in sys.path)]
    how, what, *arguments = command
    code = 0
    try:
        if how == "-m":
            sys.argv = [what, *arguments]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv = [how, *arguments]
            sys.modules["__main__"] = module = types.ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), module.__dict__)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)  # what compiled libraries do at the end would wait for threads that no fork has


if __name__ == "__main__":
    serve()
