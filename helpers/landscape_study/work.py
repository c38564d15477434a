"""A study's plans on the engine: in this process or on a cluster, each result written as it comes."""

import time
from functools import partial

from helpers import lanes
from helpers.progress import Lines, Meter, Progress, Watched


def work_on(study, plans, news, later=0.0):
    """Work on some plans of a study, and write down what they give.

    study  has task(plan), a `lanes.Task`; `there`, its folder, with record_results(plan, results) and `states`;
           worker, device, stop, cluster; settings.plans, all plans, and `left`, those that are not finished
    news   the latest events -> a sentence each, for the line of progress
    later  cost of what comes after them, for the ETA
    """
    by_key = {plan.key: plan for plan in plans}
    tasks = [study.task(plan) for plan in plans]
    here, finished, meter = sum(task.cost for task in tasks), [], Meter(tasks)
    lines, total = Watched(Lines(news, unit="tasks")), len(study.settings.plans)
    done = total - len(study.left)

    def record(event):
        if event.results is not None:
            study.there.record_results(by_key[event.task], event.results)
            finished.append(event.task)

    def watch(event, fraction, eta):
        rest = here * (1 - fraction)
        if later and eta is not None:  # the engine's is of these plans alone, and 0 at their end
            spent, worked = time.perf_counter() - meter.started, meter.total - rest
            eta = spent * (rest + later) / worked if worked > 0 else None
        lines(Progress(event, done + len(finished), total, fraction, eta))

    try:
        run = engine_of(study.cluster)
        run(tasks, study.worker, record, watch, device=study.device, states=study.there.states, stop=study.stop)
    finally:
        lines.close()


def to_make_anew(settings):
    """The keys of the plans that are to be made once more, whatever lies there: all of them with "resume": False."""
    return set() if settings.resume else {plan.key for plan in settings.plans}


def engine_of(cluster):
    """`lanes.run`, or `cluster.run` at an address."""
    if cluster is None:
        return lanes.run
    from helpers import cluster as machines  # Dask takes its time to import

    return partial(machines.run, address=cluster)
