"""The engine of `lanes.py` in worker processes, here or on other machines, by Dask.

    cluster.run(tasks, worker, record, watch, address="local", device=device, states=folder)

keeps the contract of `lanes.run`: same tasks, same workers, same events, results written by the calling process alone.
Each task is driven by `lanes.drive` in a worker process; the worker is sent there once, pickled. What comes back is
pickled plain data: events over a topic of the scheduler while the task goes on, the last one, which carries the
results, as the value of the task.

The folder of states must be readable and writable by all worker processes, under the same path. It is what makes a
lost worker cheap: its task goes on elsewhere from the last state. A value is taken once, so no task is recorded twice.
"""

import gc
import hashlib
import os
import pickle
import queue
import signal
import threading
import time
import traceback
import uuid
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import dask
import torch
from distributed import Client, KilledWorker, LocalCluster, get_worker
from distributed.client import FutureCancelledError

from helpers import files, lanes, sources
from helpers.lanes import ClusterError, Ended, Event, Stop
from helpers.progress import say
from helpers.signals import terminable

CONNECT = 20.0  # seconds until a scheduler must have answered, and until it must have a worker
TAKE = 20.0  # seconds within which a value comes, or Dask has made it again after its process was lost
SETTLE = 30.0  # seconds within which workers stop at a batch; then they are left to themselves
ALONE = 300.0  # seconds without any worker after which the work ends
POLL = 0.2  # seconds between two looks at Stop
MOST_WORKERS = 8  # of one core each; more cores make larger workers, up to CORES
CORES = 4
THREADS_OF = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


# ---- the calling process


def workers(address, device):
    """How many tasks go on side by side. Raises ClusterError when no scheduler answers, or it has no worker."""
    if address == "local":
        return _local_workers(device)
    with _connected(address, device, None) as client:
        return _threads(client)


def run(tasks, worker, record, watch=None, *, address, device, states, stop=None, whole=None):
    """Work on all tasks, the costliest first, until they are complete or stopped; see `lanes.run`.

    address  "local" for worker processes on this machine, one a CUDA device or one a few cores; or a scheduler's
             address, like tcp://host:8786. Its workers need this repository and its environment
    device   the torch.device of this process, which decides how many workers "local" has
    states   folder of the saved states, shared by all workers; None for none

    Raises ClusterError when the cluster cannot be used, and for a task that ends every process it goes to.
    """
    if not tasks:
        return
    stop, states = stop or Stop(), states and Path(states).resolve()
    with terminable(), _connected(address, device, len(tasks)) as client, _shared(states) as token:
        crew = Crew(client, worker, states, token, stop, torch.cuda.device_count() if address == "local" else 0)
        with crew.listening():
            lanes.attend(crew, tasks, worker, record, watch, states, stop, whole)


class Crew:
    """The worker processes of a scheduler. As many tasks as they have threads are with them, the others wait here.

    Were all of them there, a process that is lost would cast suspicion on each that waited for it.
    """

    def __init__(self, client, worker, states, token, stop, devices):
        self.client, self.states, self.stop = client, states, stop
        self.run = f"plumbline-{uuid.uuid4().hex}"  # names the topic, and this run among those of a worker process
        self.order = {
            "run": self.run,
            "worker": cloudpickle.dumps(worker),
            "states": states and str(states),
            "token": token and str(token),
            "folder": os.getcwd(),
            "devices": devices,
            "code": _code_of(type(worker).__module__),
        }
        self.happened, self.futures, self.last_step, self.begun = queue.SimpleQueue(), {}, {}, {}
        self.threads, self.looked_at, self.seen_at = 0, float("-inf"), time.monotonic()
        self.messenger = threading.Thread()

    @contextmanager
    def listening(self):
        """Take the events that workers send."""
        self.client.subscribe_topic(self.run, lambda event: self.happened.put(event[1]))
        try:
            yield
        finally:
            self.client.unsubscribe_topic(self.run)
            if self.messenger.ident:
                self.messenger.join(SETTLE)

    def room(self, going):
        self._count()
        return going < max(1, self.threads)

    def _count(self):
        """Look, once a second, how many threads there are: workers may come and go. Raises ClusterError without any."""
        now = time.monotonic()
        if now - self.looked_at > 1.0:
            self.threads, self.looked_at = _threads(self.client), now
            self.seen_at = now if self.threads else self.seen_at
        if now - self.seen_at > ALONE:
            raise ClusterError(
                f"there has been no worker process for {ALONE:.0f} s; what is finished is kept, and states"
            )

    def begin(self, task):
        if self.states and task.done < 0:  # a state of another CONFIG, or one that is not to be used
            lanes.state_file(self.states, task.name).unlink(missing_ok=True)
        self._submit(task)

    def _submit(self, task):
        key = f"{task.name}-{uuid.uuid4().hex}"
        future = self.client.submit(_work, self.order, pickle.dumps(task), pure=False, key=key)
        self.futures[task.name] = future
        future.add_done_callback(partial(self._take, task))

    def _take(self, task, future):
        """Take the value of a task, in a thread of Dask's."""
        try:
            value = future.result(timeout=TAKE)
        except TimeoutError:  # the process is lost that held it, and nobody makes it again: begin at the last state
            future.cancel()
            self._submit(task)
            return
        except Exception as error:
            self.happened.put(Ended(task, _explained(error, task)))
            return
        event, error = _unpacked(value)
        future.release()  # before it is recorded: then its state goes, and nobody could make it again
        if event is not None:
            self.happened.put(event)
        self.happened.put(Ended(task, error))

    def news(self):
        self._pass_stop_on()
        try:
            news = self.happened.get(timeout=POLL)
        except queue.Empty:
            if self.client.status not in ("running", "connecting"):
                raise ClusterError("the scheduler is gone; what is finished is kept, and states") from None
            self._count()
            return None
        if isinstance(news, bytes):
            news = pickle.loads(news)
        if isinstance(news, Begun):
            self._say_where_it_goes_on(news)
            return None
        if isinstance(news, Event):
            # A task that was begun again repeats the steps of which no state had been saved.
            if news.step <= self.last_step.get(news.task, -1) and news.step < news.steps:
                return None
            self.last_step[news.task] = news.step
        return news

    def _say_where_it_goes_on(self, news):
        if self.begun.setdefault(news.task, news.process) != news.process:
            say(f"{news.task} has lost its process; it goes on in another one, after step {news.step}")
            self.begun[news.task] = news.process

    def _pass_stop_on(self):
        """Tell all worker processes, again and again: some may have started since."""
        how = "now" if self.stop.now.is_set() else "at_step" if self.stop.at_step.is_set() else None
        if how and not self.messenger.is_alive():
            self.messenger = threading.Thread(target=self._tell, args=(how,), daemon=True)
            self.messenger.start()

    def _tell(self, how):
        try:
            self.client.run(_halt, self.run, how, on_error="ignore")
            time.sleep(POLL)
        except (OSError, RuntimeError, TimeoutError):  # a process or the scheduler is gone, and needs no message
            pass

    def settle(self):
        until = time.monotonic() + SETTLE
        while time.monotonic() < until and any(future.status == "pending" for future in self.futures.values()):
            self._pass_stop_on()
            time.sleep(0.05)
        self.client.cancel([future for future in self.futures.values() if future.status == "pending"])


def _explained(error, task):
    """The error of a task that did not come from its work."""
    if isinstance(error, KilledWorker):
        return ClusterError(
            f"{task.name} has ended {error.allowed_failures + 1} worker processes, the last one at "
            f"{error.last_worker.address}: too little memory, or a crash; its last state is kept"
        )
    if isinstance(error, FutureCancelledError):
        return ClusterError(f"the scheduler has dropped {task.name}, or is gone; its last state is kept")
    if isinstance(error, ImportError):
        return ClusterError(f"a worker process cannot begin ({error}): it needs this repository and its environment")
    return error


def _unpacked(value):
    """(last Event or None, error or None) of what `_work` has returned."""
    if "error" not in value:
        return pickle.loads(value["event"]), None
    try:
        error = pickle.loads(value["error"])
    except Exception:  # an error that cannot be sent as it is: what it says has come in words as well
        error = (MemoryError if value["memory"] else RuntimeError)(value["words"])
    error.add_note(f"In a worker process:\n{value['traceback']}")
    return None, error


# ---- the cluster


def _local_workers(device):
    """One worker a CUDA device; on a CPU one a core, and with many cores one for a few of them."""
    if device.type == "cuda":
        return torch.cuda.device_count()
    cores = torch.get_num_threads()
    return max(1, cores // min(CORES, max(1, cores // MOST_WORKERS)))


@contextmanager
def _connected(address, device, most):
    """A client of the scheduler at an address, or of a LocalCluster of at most so many workers."""
    if address == "local":
        count = min(_local_workers(device), most)
        with local_cluster(count, torch.get_num_threads() // count) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address} ({type(error).__name__})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT)
        except TimeoutError as error:
            raise ClusterError(
                f"the scheduler at {address} has no workers; start some: dask worker {address}"
            ) from error
        yield client


@contextmanager
def local_cluster(count, cores):
    """A LocalCluster of processes with one thread for tasks and so many cores for their products each.

    The environment of this process is afterwards as it was before: Dask leaves its variables in it.
    """
    before = dict(os.environ)
    settings = {
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(THREADS_OF, max(1, cores)),
        "distributed.deploy.lost-worker-timeout": "30 days",  # or a process that starts slowly is given up
        "distributed.admin.low-level-log-length": 20,  # the scheduler keeps so many events of a topic
    }
    try:
        with (
            dask.config.set(settings),
            LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},  # its port would be fixed
                memory_limit=0,
                preload=[__name__],
                silence_logs="CRITICAL",
            ) as cluster,
        ):
            yield cluster
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _shared(states):
    """A file by which workers see that they share the folder of states; named like what a kill leaves of a state."""
    if states is None:
        yield None
        return
    token = states / f"{uuid.uuid4().hex}.pt.part"
    files.write_whole(token, "")
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def _threads(client):
    """Threads of all workers that a scheduler has now."""
    return sum(client.nthreads().values())


# ---- a worker process


class Begun:
    """A worker process has taken a task, whose state has reached a step."""

    def __init__(self, task, step, process):
        self.task, self.step, self.process = task, step, process


class TaskStop:
    """The Stop of a run, and an event that stops one of its tasks alone."""

    def __init__(self, run):
        self.run, self.own = run, threading.Event()
        self.now = SimpleNamespace(is_set=lambda: self.own.is_set() or run.now.is_set())

    def is_set(self):
        return self.own.is_set() or self.run.is_set()


STOPS = {}  # run -> its Stop; a process may work for several
KEPT = {}  # digest of a pickled worker -> the worker, with the data that it has loaded
LOADING = threading.Lock()


def dask_setup(_):
    """Called in each process of a LocalCluster: Ctrl-C and the end of a terminal reach it, and the caller answers."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _halt(run, how):
    getattr(STOPS.setdefault(run, Stop()), how).set()


def _work(order, task):
    """Drive one task to its end. Returns {"event": the last Event, None when stopped}, or what went wrong."""
    try:
        return {"event": pickle.dumps(_driven(order, pickle.loads(task)))}
    except Exception as error:
        answer = {"words": f"{type(error).__name__}: {error}", "memory": lanes.is_out_of_memory(error)}
        answer |= {"traceback": traceback.format_exc(), "error": _pickled(error)}
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return answer


def _pickled(error):
    try:
        return cloudpickle.dumps(error)
    except Exception:  # it may hold anything: its words must do
        return b""


def _driven(order, task):
    process = get_worker()
    key, last = process.get_current_task(), []
    stop = TaskStop(STOPS.setdefault(order["run"], Stop()))

    def send(message):
        process.log_event(order["run"], pickle.dumps(message))

    def emit(event):
        if event.step == event.steps:
            last.append(event)
        else:
            send(event)
        if key not in process.state.tasks or process.state.tasks[key].state == "cancelled":
            stop.own.set()  # who asked for it is gone

    if os.path.isdir(order["folder"]):
        os.chdir(order["folder"])  # relative paths in CONFIG then mean the same
    if order["devices"]:
        torch.cuda.set_device(int(process.name) % order["devices"])
    states = order["states"] and Path(order["states"])
    if states and not os.path.exists(order["token"]):
        raise ClusterError(f"the worker process at {process.address} does not see {states}; all must share that folder")
    worker = _worker(order["worker"])
    module = type(worker).__module__
    if changed := sources.changed(order["code"], _code_of(module)):
        raise ClusterError(
            f"the worker process at {process.address} has other code than the process that started this: "
            f"{changed}; bring the repository there to the same commit, and restart the worker"
        )
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    task = _as_on_disk(task, states)
    send(Begun(task.name, max(0, task.done), f"{process.address}"))
    with files.held(states, order["token"]) if states else nullcontext():
        _in_a_lane(device, lanes.drive, task, worker, states, stop, emit)
    return last[0] if last else None


def _in_a_lane(device, function, *arguments):
    """What a function returns, or raises, in a thread like those of the other engine.

    This thread is Dask's, and stays as it is. A process that is to end waits for neither of them.
    """
    future, cores = Future(), torch.get_num_threads()

    def lane():
        try:
            lanes.become_lane(device, cores)
            future.set_result(function(*arguments))
        except BaseException as error:  # whatever it is, it is raised where this is waited for
            future.set_exception(error)

    threading.Thread(target=lane, daemon=True).start()
    return future.result()


@cache
def _code_of(module):
    """Fingerprints of the code behind a worker's module, as it was when first asked; {} for none of ours."""
    return sources.fingerprints(module)


def _worker(pickled):
    """The worker, unpickled once a process: tasks that follow find its data loaded."""
    digest = hashlib.sha256(pickled).hexdigest()
    with LOADING:
        if digest not in KEPT:
            KEPT.clear()  # the data of an earlier run
            KEPT[digest] = pickle.loads(pickled)
        return KEPT[digest]


def _as_on_disk(task, states):
    """The task, taken as far as its state: a process that is lost may have brought it further since it was planned."""
    path = states and lanes.state_file(states, task.name)
    if not path or not path.exists():
        return task._replace(done=-1)
    try:
        return task._replace(done=files.read_about(path)["step"])
    except (files.DamagedError, TypeError, LookupError):
        return task  # `drive` reads it again, and says so
