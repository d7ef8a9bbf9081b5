"""Laws fitted to runs, forecasts from them, and seals on the forecasts. NumPy, float64.

    law = fit("chinchilla", read_runs("runs.csv"))
    print(law.params, law.intervals, law.predict({"n_params": 7e10, "n_tokens": 1.4e12}))
    plot(law, "law.png")

    fits = fit_all(read_runs("runs.csv"))
    print(forecast(fits, flops=1e20).predictive_interval)

`FORMS` are the laws; those that are no sum of powers take their derivatives from JAX, loaded with the
first of them. In this room N, D, C stand for parameters, training tokens and training FLOPs.
"""

import functools

from scaling.laws.allocation import SIX_N_D, FlopsRelation, optimal
from scaling.laws.approaches.bias import BiasMeter, bias_of, bias_on
from scaling.laws.approaches.envelope import EnvelopeFit
from scaling.laws.approaches.isoflop import IsoflopFit
from scaling.laws.approaches.line import LineFit
from scaling.laws.approaches.parabola import Parabola
from scaling.laws.compete import compete
from scaling.laws.fits import LAWS, LawFits, fit, fit_all
from scaling.laws.fitting.point_fit import FitError, Receipt
from scaling.laws.forecasting import ApproachForecast, Forecast, forecast, seal_payload
from scaling.laws.forms import FORMS
from scaling.laws.holdout import Holdout
from scaling.laws.law_file import read_law, write_law
from scaling.laws.law_fit import LawFit
from scaling.laws.law_fitting import fit_law
from scaling.laws.multiverse import multiverse
from scaling.laws.plotting import plot
from scaling.laws.prediction import Prediction
from scaling.laws.scoreboard import Scoreboard, read_scoreboard
from scaling.laws.seals import Score, TargetScore, read_seal, seal, verify
from scaling.laws.table.runs import RunSet, read_runs, usable_runs
from scaling.laws.table.selection import last_checkpoints, select

fit_isoflop = functools.partial(fit, "isoflop")
fit_chinchilla = functools.partial(fit, "chinchilla")

__all__ = [
    "FORMS", "LAWS", "SIX_N_D", "ApproachForecast", "BiasMeter", "EnvelopeFit", "FitError",
    "FlopsRelation", "Forecast", "Holdout", "IsoflopFit", "LawFit", "LawFits", "LineFit", "Parabola",
    "Prediction", "Receipt", "RunSet", "Score", "Scoreboard", "TargetScore", "bias_of", "bias_on",
    "compete", "fit", "fit_all", "fit_chinchilla", "fit_isoflop", "fit_law", "forecast",
    "last_checkpoints", "multiverse", "optimal", "plot", "read_law", "read_runs", "read_scoreboard",
    "read_seal", "seal", "seal_payload", "select", "usable_runs", "verify", "write_law",
]
