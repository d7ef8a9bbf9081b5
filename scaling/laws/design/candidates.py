"""What may be run next: (N, D) with its FLOPs."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scaling.errors import UserError
from scaling.laws.law_fit import LawFit

_SIZES = 20
_TRIM = 0.05  # of the runs at either end, whose tokens per parameter are not matched


@dataclasses.dataclass(frozen=True)
class Candidates:
    """n_params, n_tokens, flops: (candidates,)."""

    n_params: np.ndarray
    n_tokens: np.ndarray
    flops: np.ndarray

    def __len__(self) -> int:
        return len(self.flops)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        return {"n_params": self.n_params, "n_tokens": self.n_tokens, "flops": self.flops}

    @classmethod
    def around(
        cls,
        law: LawFit,
        max_flops: float,
        sizes: Sequence[float] | None = None,
        tokens_per_param: tuple[float, float] | None = None,
    ) -> "Candidates":
        """Whole (N, D) near the law's runs, at most `max_flops` each; C by the runs' own relation.

        tokens_per_param: bounds; by default those of the middle 90% of the runs. A design that trusts the
        law goes to the corners, and in the corners of real sweeps laws fit worst. sizes: N; by default
        20 from the smallest run's to the largest that max_flops trains. FLOPs: the `levels` from the
        cheapest run's to max_flops, of which several add up to it.
        """
        check_law(law)
        runs, relation = law.runs, law.relation
        ratio = runs.n_tokens / runs.n_params
        low, high = tokens_per_param or (float(v) for v in np.quantile(ratio, [_TRIM, 1 - _TRIM]))
        if not 0 < low <= high < np.inf:
            raise UserError(f"tokens per parameter from {low:g} to {high:g}: expected 0 < low <= high")
        cheapest = float(runs.flops.min())
        if max_flops < cheapest:
            raise UserError(f"{max_flops:.3g} FLOPs are fewer than the cheapest fitted run had,"
                            f" {cheapest:.3g}")
        if sizes is None:
            largest = (max_flops / (relation.k * low)) ** (1 / (1 + relation.p))
            sizes = np.geomspace(min(float(runs.n_params.min()), largest), largest, _SIZES)
        sizes = np.array(sizes, float)
        if not (len(sizes) and np.isfinite(sizes).all() and (sizes >= 1).all()):
            raise UserError(f"sizes {', '.join(f'{n:g}' for n in sizes)}: expected parameter counts of at"
                            " least 1")
        n, c = (a.ravel() for a in np.meshgrid(np.unique(np.round(sizes)), levels(cheapest, max_flops)))
        d = np.floor(relation.n_tokens(n, c) * (1 + 1e-12))
        kept = (d >= np.maximum(1, n * low * (1 - 1e-6))) & (d <= n * high * (1 + 1e-6))
        if not kept.any():
            raise UserError(f"no candidate of up to {max_flops:.3g} FLOPs has {low:.3g} to {high:.3g}"
                            " tokens per parameter with these sizes")
        return cls(n[kept], d[kept], relation.flops(n, d)[kept])


def check_law(law: LawFit) -> None:
    """Raises `UserError` for a law that is not one of N and D alone."""
    if not law.allocates:
        raise UserError(f"{law.law}: runs are designed for a law of n_params and n_tokens, its columns are"
                        f" {', '.join(law.form.columns)}")


def levels(low: float, high: float) -> np.ndarray:
    """FLOPs of a run from low to high: high, 5/6 and 2/3 of it, and these halved again and again."""
    parts = np.array([part * 2**j for j in range(64) for part in (1, 1.2, 1.5)])
    return high / parts[high / parts >= low * (1 - 1e-9)]
