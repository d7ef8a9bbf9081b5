"""Does a parametrization keep training alike across shapes? Five updates of a few shapes tell."""

from scaling.parametrizations.coordinate_check.check import (
    CoordinateCheck,
    Finding,
    coordinate_check,
)
from scaling.parametrizations.coordinate_check.measure import Resolve, resolve
from scaling.parametrizations.coordinate_check.plotting import plot_coordinate_check
from scaling.parametrizations.coordinate_check.shapes import AXES, shape_at

__all__ = [
    "AXES",
    "CoordinateCheck",
    "Finding",
    "Resolve",
    "coordinate_check",
    "plot_coordinate_check",
    "resolve",
    "shape_at",
]
