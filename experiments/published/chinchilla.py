"""The runs of Hoffmann et al. 2022, read off their figure by Besiroglu et al. 2024."""

import numpy as np
from comparison import CONVENTION, DIFFERS, Comparison, compare
from refits import Published, columns_of, refit

from scaling.laws.allocation import exponents
from scaling.laws.forms.chinchilla import CHINCHILLA

DATA = "chinchilla"
FILE = "chinchilla_epoch.csv"
ND = ("n_params", "n_tokens")
PARAMETERS = ("A", "B", "E", "alpha", "beta")

HUBER = dict(zip(PARAMETERS, ("477.84171", "2143.86379", "1.8172355", "0.34731266", "0.36718262")))
HEADLINE = dict(zip(PARAMETERS, ("482.00572", "2085.4342", "1.81686", "0.34781303", "0.36585412")))
DEVIATIONS = dict(zip(PARAMETERS, ("124.52232", "1293.2841", "0.02566", "0.0154", "0.0206")))
FIRST_REPLICATE = dict(zip(PARAMETERS, ("349.556372", "2356.248315", "1.79333", "0.328633", "0.371855")))
HOFFMANN = dict(zip(PARAMETERS, ("406.4", "410.7", "1.6934", "0.3392", "0.2849")))
HEADLINE_DELTA = 1e-3 * np.exp(-12.27)  # the notebook fits residuals / sigma with sigma = exp(-12.27)
NOTEBOOK_REPLICATES = 4000


def comparisons(published: Published) -> list[Comparison]:
    every = published.read(FILE)
    kept = every[~every.dropped_by_epoch]
    columns, loss = columns_of(kept, *ND), kept.loss.to_numpy()
    # The notebook's own 4,000 resamples, so that deviations and the first replicate can be compared.
    resamples = notebook_resamples(len(kept), NOTEBOOK_REPLICATES)
    huber = refit(CHINCHILLA, columns, loss)
    theta, good = huber.point.refit(np.log(loss)[None], resamples)
    values = CHINCHILLA.values(theta)
    rows = []

    def table(fit, where, numbers, ours):
        for name, number in numbers.items():
            rows.append(compare(DATA, fit, name, number, ours[name], source=where,
                                exponent=name in ("alpha", "beta") and "deviations" not in fit))

    intervals = dict(zip(CHINCHILLA.names, np.quantile(values[good], [0.05, 0.95], axis=0).T))
    for name, number in HUBER.items():
        rows.append(compare(DATA, "Huber 1e-3, 240 points", name, number, huber.params[name],
                            interval=intervals[name], excess=huber.excess(_floats(HUBER)),
                            source="Besiroglu, notebook cell 18", exponent=name in ("alpha", "beta")))
    exponent = exponents(huber.point.theta)[0]
    rows.append(compare(
        DATA, "Huber 1e-3, 240 points", "N* ~ C^a", "0.50", exponent,
        interval=np.quantile(exponents(theta[good])[0], [0.05, 0.95]), exponent=True,
        source="Hoffmann, approach 1 (from memory)", why="another approach, on the same runs",
    ))
    for name, number in HEADLINE.items():
        rows.append(compare(
            DATA, "Huber 1e-3, headline values", name, number, huber.params[name],
            interval=intervals[name], source="Besiroglu, notebook cell 25", otherwise=CONVENTION,
            why="the notebook's free scale makes the effective delta 4.7e-9: absolute errors",
        ))
    absolute = refit(CHINCHILLA, columns, loss, delta=HEADLINE_DELTA)
    table("absolute errors (delta 4.7e-9)", "Besiroglu, notebook cell 25", HEADLINE, absolute.params)
    table("bootstrap deviations, 4,000 replicates", "Besiroglu, notebook", DEVIATIONS,
          dict(zip(CHINCHILLA.names, values[good].std(axis=0))))
    table("first bootstrap replicate of the notebook", "Besiroglu, notebook", FIRST_REPLICATE,
          dict(zip(CHINCHILLA.names, values[0])))
    for name, number in HOFFMANN.items():
        excess = huber.excess(_floats(HOFFMANN))
        rows.append(compare(
            DATA, "Huber 1e-3, Hoffmann's own values", name, number, huber.params[name],
            interval=intervals[name], excess=excess, source="Hoffmann's TeX, by TeaPearce's script",
            otherwise=DIFFERS, why=f"the objective is {100 * excess:.0f}% higher at Hoffmann's values",
            exponent=name in ("alpha", "beta"),
        ))
    squares = refit(CHINCHILLA, columns, loss, objective="log_squares")
    table("squares of log residuals", "", dict.fromkeys(PARAMETERS), squares.params)
    with_five = refit(CHINCHILLA, columns_of(every, *ND), every.loss.to_numpy())
    table("Huber 1e-3, all 245 points", "", dict.fromkeys(PARAMETERS), with_five.params)
    return rows


def notebook_resamples(rows: int, replicates: int) -> np.ndarray:
    """How often each row was drawn, (replicates, rows): np.random.seed(42), np.random.choice."""
    rng = np.random.RandomState(42)
    drawn = (np.bincount(rng.choice(rows, rows, True), minlength=rows) for _ in range(replicates))
    return np.array(list(drawn), float)


def _floats(numbers: dict[str, str]) -> dict[str, float]:
    return {name: float(number) for name, number in numbers.items()}
