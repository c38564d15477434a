"""Mean-field theory of wide random networks: its maps, the init `critical`, and the forecast of a sweep."""

from helpers.theory.forecasts import (
    Ensemble,
    InputMoments,
    ensemble_of,
    forecast,
    input_moments,
    profiles,
    recommend,
    regime_of,
    signals,
)  # fmt: skip
from helpers.theory.mean_field import (
    ALIKE,
    GRID,
    CriticalPoint,
    DepthScales,
    FixedPoint,
    chi1,
    chi_c,
    chi_parallel,
    correlation_map,
    critical_limit,
    critical_line,
    critical_points,
    depth_scales,
    fixed_point,
    half_distance,
    variance_map,
)  # fmt: skip

__all__ = [
    "ALIKE", "GRID", "CriticalPoint", "DepthScales", "Ensemble", "FixedPoint", "InputMoments", "chi1", "chi_c",
    "chi_parallel", "correlation_map", "critical_limit", "critical_line", "critical_points", "depth_scales",
    "ensemble_of", "fixed_point", "forecast", "half_distance", "input_moments", "profiles", "recommend", "regime_of",
    "signals", "variance_map",
]  # fmt: skip
