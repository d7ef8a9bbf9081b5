"""What approaches 1 and 2 end in: N*(C) and D*(C) as lines in logs, and L*(C)."""

import numpy as np

from scaling.laws.approaches.frontier import PowerLawFit
from scaling.laws.approaches.line import LineFit
from scaling.laws.uncertainty.bootstrap import interval


class OptimumLines:
    """For a fit with n_opt and d_opt as `LineFit`, a frontier L*(C) or None, and a level."""

    n_opt: LineFit
    d_opt: LineFit
    frontier: PowerLawFit | None
    level: float

    def optimal(self, flops: float) -> dict:
        """n_opt, d_opt at C with intervals, and L*(C) with its interval where there is one."""
        n, n_interval = self.n_opt.at(flops)
        d, d_interval = self.d_opt.at(flops)
        answer = {
            "flops": float(flops),
            "n_opt": n,
            "n_opt_interval": n_interval,
            "d_opt": d,
            "d_opt_interval": d_interval,
        }
        if self.frontier is not None:
            log_loss, draws = self.frontier.log_loss(flops)
            answer["loss"] = float(np.exp(log_loss))
            answer["interval"] = interval(np.exp(draws), self.level)
        return answer

    @property
    def exponents(self) -> dict:
        """Exponents of N*(C) and D*(C), with intervals."""
        n, d = self.n_opt.to_json(), self.d_opt.to_json()
        return {
            "n_opt": n["params"]["exponent"],
            "n_opt_interval": n["intervals"]["exponent"],
            "d_opt": d["params"]["exponent"],
            "d_opt_interval": d["intervals"]["exponent"],
        }
