"""What every child needs, imported once, in the server that forks them; no thread of torch's is started here."""

import filelock  # noqa: F401
import scipy.interpolate  # noqa: F401
import sklearn.datasets
import sklearn.model_selection
import torch._dynamo  # noqa: F401 - which the first step of an optimiser imports

from helpers import packed  # noqa: F401
from helpers.landscape_study import study, tasks  # noqa: F401
from helpers.spline_study import experiments
from helpers.sweep import Sweep, origin  # noqa: F401

from . import child, table  # noqa: F401

sklearn.datasets.load_digits()
for module in (origin, experiments, tasks):
    module.of_code()  # parses half of helpers, most of the time of a child that had to
"".encode("cp437")  # which zipfile wants later, when a child may no longer read where Python lies
