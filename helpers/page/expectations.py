"""What theory expects of a sweep before training: the forecast of each run, and each layer of a wide network."""

from helpers import theory
from helpers.config import ConfigError, SweepConfig
from helpers.quadrature import NotComputed
from helpers.theory.forecasts import cause_of, expectations, numbers_of


def expected(results, known):
    """(forecast, profiles) of a sweep: a DataFrame with a row a run, and {run: its theory layer by layer}.

    known  a `moments.Known` of its data

    None where there is no theory, as of the reader's own functions that are not there now.
    """
    try:
        config = SweepConfig.from_dict(results.config).fitted_to(known)
    except ConfigError:  # a function that is not registered here; what theory itself refuses is a fault of ours
        return None
    try:
        return _expected(config, known)
    except NotComputed:  # a function whose integrals do not exist
        return None


def _expected(config, known):
    profiles = theory.profiles(config, known.inputs)
    numbers = numbers_of(config, known, known.by_class)
    causes = [None if profile is None else cause_of(profile) for profile in profiles.values()]
    regimes = {run.name: "unknown" if p is None else theory.regime_of(p) for run, p in profiles.items()}
    forecast = expectations(numbers, causes)
    return forecast.assign(regime=forecast.index.map(regimes)), profiles
