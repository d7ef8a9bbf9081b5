"""Where the search for an optimum begins."""

import numpy as np

from scaling.laws.forms.coordinates import Centring
from scaling.laws.forms.grammar import Form

_MANY = 1 << 14  # points beyond which starts are run on a part of them
_PART = 1 << 12
_LEAST_SHARE = 1e-4


def draw_starts(form: Form, log_target: np.ndarray, centring: Centring, n: int, seed: int) -> np.ndarray:
    """Centred coordinates (n, p): each term a random share of the typical measurement, the others
    log-uniform (or uniform, where their range holds zero) over the range that their parameter gives."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(max(1, sum(p.kind in ("constant", "coefficient")
                                              for p in form.parameters))), size=n)
    draws, taken = [], 0
    for i, parameter in enumerate(form.parameters):
        if parameter.kind in ("constant", "coefficient"):
            log = np.log(np.maximum(shares[:, taken], _LEAST_SHARE)) + np.median(log_target)
            draws.append(np.exp(log / 2) if parameter.kind == "constant" else log)
            taken += 1
            continue
        low, high = parameter.start
        if low > 0:
            value = np.exp(rng.uniform(np.log(low), np.log(high), size=n))
        else:
            value = rng.uniform(low, high, size=n)
        if parameter.kind == "positive":
            draws.append(np.log(value))
        else:
            draws.append(value / centring.matrix[i, i])
    return np.stack(draws, axis=1)


def thinned(columns: dict[str, np.ndarray], target: np.ndarray) -> np.ndarray | None:
    """Rows of about 4,000 points spread evenly over the columns, whatever the order of rows; None if
    there are not enough points for that to matter."""
    n = len(target)
    if n <= _MANY:
        return None
    order = np.lexsort((target, *reversed(list(columns.values()))))
    return np.sort(order[np.linspace(0, n - 1, _PART).round().astype(int)])
