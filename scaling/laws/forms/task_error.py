"""From loss to the error of a task, a share from 0 to 1, and both steps as one law."""

import dataclasses
from types import SimpleNamespace

from scaling.errors import UserError
from scaling.laws.forms.grammar import (
    Form,
    Parameter,
    SmoothForm,
    coefficient,
    constant,
    positive,
)

EXPONENTIAL = SmoothForm(
    name="task_error_exponential",
    source="Gadre et al. 2024, equation 5",
    formula="error = epsilon - k e^(-gamma L)",
    target="task_error",
    free=(
        # of a model that knows nothing; without its bound, runs of few losses leave a straight line with
        # epsilon and k at infinity
        positive("epsilon", start=(0.3, 1.0), low=1e-6, high=1.0),
        positive("k", start=(0.1, 10.0), low=1e-9, high=1e9),
        positive("gamma", start=(0.2, 5.0), low=1e-4, high=1e3),
    ),
    inputs=("loss",),
    value=lambda p, x, xp: p.epsilon - p.k * xp.exp(-p.gamma * x.loss),
    objective="squares",
)

# Bhagia et al. write the accuracy, a / (1 + e^(-k (L - L_0))) + b with a below 0: the error is 1 minus
# it, so this a is minus theirs and this b is 1 minus theirs.
SIGMOID = SmoothForm(
    name="task_error_sigmoid",
    source="Bhagia et al. 2024 (OLMo ladder)",
    formula="error = b + a / (1 + e^(-k (L - L_0)))",
    target="task_error",
    free=(
        coefficient("a"), constant("b"),
        positive("k", start=(0.5, 20.0), low=1e-4, high=1e4),
        positive("L_0", start=(0.5, 1.5), low=1e-2, high=1e2, unit="loss"),
    ),
    inputs=("loss",),
    value=lambda p, x, xp: p.b + p.a / (1.0 + xp.exp(-p.k * (x.loss - p.L_0))),
    objective="squares",
)


def two_step(loss: Form, error: Form) -> SmoothForm:
    """The task's error straight from the columns of a law of the loss.

    Its parameters are those of both laws, loss first; one that both name is called error_NAME in the
    second. From two fits, the prediction is at the concatenation of their thetas; the form can also be
    fitted in one step. Raises `UserError` if `error` is not a law of the loss.
    """
    if error.columns != ("loss",):
        raise UserError(f"{error.name}: not a law of the loss alone: its columns are"
                        f" {', '.join(error.columns)}")
    renamed = {name: f"error_{name}" if name in loss.names else name for name in error.names}
    held_loss, held_error = dict(loss.fixed), dict(error.fixed)

    def value(p, x, xp):
        p = vars(p)
        inner = loss.value(SimpleNamespace(**held_loss, **{n: p[n] for n in loss.names}), x, xp)
        outer = SimpleNamespace(**held_error, **{n: p[renamed[n]] for n in error.names})
        return error.value(outer, SimpleNamespace(loss=inner), xp)

    def again(parameter: Parameter) -> Parameter:
        """With no share of the loss to start from: its coefficients are found by the first step."""
        return dataclasses.replace(parameter, name=renamed[parameter.name], unit=None)

    return SmoothForm(
        name=f"{error.name}_of_{loss.name}",
        source=f"{error.source}; {loss.source}",
        formula=f"{error.formula}, L = {loss.formula}",
        target=error.target,
        free=(*loss.parameters, *(again(p) for p in error.parameters)),
        inputs=loss.columns,
        value=value,
        objective=error.objective,
    )
