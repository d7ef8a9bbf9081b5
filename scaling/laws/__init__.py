"""Laws fitted to runs, forecasts from them, and seals on the forecasts. NumPy only, float64.

    fits = fit_all(read_runs("runs.csv"))
    print(forecast(fits, flops=1e20).predictive_interval)

`fit_isoflop` and `fit_chinchilla` take a table as `fit(law, runs)` does.
In this room N, D, C stand for parameters, training tokens and training FLOPs.
"""

import functools

from scaling.laws.allocation import SIX_N_D, FlopsRelation, optimal
from scaling.laws.approaches.isoflop import IsoflopFit
from scaling.laws.approaches.parabola import Parabola
from scaling.laws.approaches.powerlaw import LineFit
from scaling.laws.fits import LAWS, LawFits, fit, fit_all
from scaling.laws.fitting.point_fit import FitError, Receipt
from scaling.laws.forecasting import ApproachForecast, Forecast, forecast, seal_payload
from scaling.laws.forms import FORMS
from scaling.laws.holdout import Holdout
from scaling.laws.law_fit import LawFit, fit_law
from scaling.laws.prediction import Prediction
from scaling.laws.runs import RunSet, read_runs, usable_runs
from scaling.laws.seals import Score, TargetScore, read_seal, seal, verify

fit_isoflop = functools.partial(fit, "isoflop")
fit_chinchilla = functools.partial(fit, "chinchilla")

__all__ = [
    "FORMS", "LAWS", "SIX_N_D", "ApproachForecast", "FitError", "FlopsRelation", "Forecast", "Holdout",
    "IsoflopFit", "LawFit", "LawFits", "LineFit", "Parabola", "Prediction", "Receipt", "RunSet", "Score",
    "TargetScore", "fit", "fit_all", "fit_chinchilla", "fit_isoflop", "fit_law", "forecast", "optimal",
    "read_runs", "read_seal", "seal", "seal_payload", "usable_runs", "verify",
]
