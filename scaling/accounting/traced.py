"""Matrix-product FLOPs counted in a traced program: an independent check of the formulas.

XLA's own cost analysis counts the body of a scan once; walking the jaxpr multiplies it by the
scan's length.
"""

import math
from collections.abc import Callable

import jax
from jax.extend import core


def traced_matmul_flops(function: Callable, *args) -> int:
    """FLOPs of every product that `function(*args)` would run (args may be abstract).

    A ragged product counts each row once, with its own group's matrix (see `scaling.models.experts`
    for where XLA does more). Raises `ValueError` on a `while` loop around a product: its trip count
    is not in the program.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += _dot_flops(equation)
            continue
        if equation.primitive.name == "ragged_dot_general":
            total += _ragged_dot_flops(equation)
            continue
        inner = sum(_count(sub) for sub in _subjaxprs(equation.params))
        if equation.primitive.name == "scan":
            inner *= equation.params["length"]
        elif equation.primitive.name == "pallas_call":  # blocks that it skips are in its grid too
            inner *= math.prod(equation.params["grid_mapping"].grid)
        elif equation.primitive.name == "while" and inner:
            raise ValueError("a while loop around a matrix product: its trip count is unknown")
        total += inner
    return total


def _dot_flops(equation) -> int:
    left = equation.invars[0].aval.shape
    (contracted, _), _ = equation.params["dimension_numbers"]
    output = math.prod(equation.outvars[0].aval.shape)
    return 2 * output * math.prod(left[i] for i in contracted)


def _ragged_dot_flops(equation) -> int:
    left, right = (variable.aval.shape for variable in equation.invars[:2])
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (_, contracted), (_, batch) = numbers.dot_dimension_numbers
    shared = {*contracted, *batch, *numbers.rhs_group_dimensions}
    return 2 * math.prod(left) * math.prod(n for i, n in enumerate(right) if i not in shared)


def _subjaxprs(params: dict):
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item
