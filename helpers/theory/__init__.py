"""Mean-field theory of wide random networks: its maps, the init `critical`, and the forecast of a sweep."""

from helpers.theory.ensembles import Ensemble, InputMoments, ensemble_of, input_moments, signals
from helpers.theory.forecasts import forecast, profiles, recommend, regime_of, training_numbers
from helpers.theory.kernel import ClassMoments, Kernels, class_moments, kernels
from helpers.theory.limits import FITTED, Constants, Outlook, outlook
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
from helpers.theory.prescribe import Prescription, prescribe

__all__ = [
    "ALIKE",
    "FITTED",
    "GRID",
    "ClassMoments",
    "Constants",
    "CriticalPoint",
    "DepthScales",
    "Ensemble",
    "FixedPoint",
    "InputMoments",
    "Kernels",
    "Outlook",
    "Prescription",
    "chi1",
    "chi_c",
    "chi_parallel",
    "class_moments",
    "correlation_map",
    "critical_limit",
    "critical_line",
    "critical_points",
    "depth_scales",
    "ensemble_of",
    "fixed_point",
    "forecast",
    "half_distance",
    "input_moments",
    "kernels",
    "outlook",
    "prescribe",
    "profiles",
    "recommend",
    "regime_of",
    "signals",
    "training_numbers",
    "variance_map",
]
