"""Routed models by dense size and number of experts (Clark et al. 2022)."""

from comparison import Comparison, compare
from refits import Published, columns_of, refit

from scaling.laws.forms.experts import ROUTED

DATA = "routing"
FILE = "routing_final.csv"
# Table 3, from memory: a, b, c, d, E_start, E_max.
PRINTED = {
    "S-Base": ("-0.082", "-0.108", "0.009", "1.104", "1.847", "314.478"),
    "RL-R": ("-0.083", "-0.126", "0.012", "1.111", "1.880", "469.982"),
    "Hash": ("-0.087", "-0.136", "0.012", "1.157", "4.175", "477.741"),
}
NAMES = ("a", "b", "c", "d", "E_start", "E_max")


def comparisons(published: Published) -> list[Comparison]:
    runs = published.read(FILE)
    used = runs[(runs.routing_frequency == 0.5) & (runs.k == 1) & (runs.seed == 42)]
    rows = []
    for router, printed in PRINTED.items():
        part = used[used.router_type.isin(["Dense", router])]
        law = refit(ROUTED, columns_of(part, "n_params", "num_experts"), part.loss.to_numpy(),
                    replicates=published.replicates, objective="log_squares")
        for name, number in zip(NAMES, printed):
            rows.append(compare(
                DATA, f"{router}, {len(part)} runs", name, number, law.params[name],
                interval=law.interval(name), source="Clark, table 3 (from memory)",
                why="ours minimises squares of the log on the released runs; few digits are printed",
                exponent=name in ("a", "b", "c"),
            ))
    return rows
