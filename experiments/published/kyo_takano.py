"""A law of the floor: errors ten times as dear where the law lies above the loss (Kyo and Takano 2024)."""

from comparison import Comparison, compare
from refits import Published, columns_of, refit

from scaling.laws.forms.chinchilla import CHINCHILLA

DATA = "kyo_takano"
FILE = "chinchilla_kyotakano_234.csv"
STORED = {"E": "1.70024083", "A": "184.691517", "B": "1633.478664", "alpha": "0.28900765",
          "beta": "0.35579407"}
DELTA = 1e-6  # absolute errors, rounded off within a millionth of a nat


def comparisons(published: Published) -> list[Comparison]:
    runs = published.read(FILE)
    floor = refit(CHINCHILLA, columns_of(runs, "n_params", "n_tokens"), runs.loss.to_numpy(),
                  delta=DELTA, objective="asymmetric")
    excess = floor.excess({name: float(value) for name, value in STORED.items()})
    return [
        compare(DATA, "asymmetric absolute errors", name, number, floor.params[name], excess=excess,
                source="kyo-takano/chinchilla, examples/llm", exponent=name in ("alpha", "beta"))
        for name, number in STORED.items()
    ]
