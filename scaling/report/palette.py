"""Colours by name, for both schemes: CSS variables on the page, reserved colours in matplotlib.

Matplotlib knows no variables, so a figure is drawn in reserved colours (#0a00xx, one per name)
that are replaced by `var(--name)` afterwards; a plot then follows the reader's colour scheme.
"""

import re

import matplotlib
import numpy as np

_BUDGET_SHADES = 10

# name: (light, dark). Approaches are blue and vermilion of Okabe and Ito 2008, in the dark their
# lighter companions; told apart with any colour vision, and by dashes besides.
_COLOURS = {
    "ink": ("#1c2024", "#e6e8ea"),
    "muted": ("#5c656e", "#a0a9b2"),
    "axis": ("#8c959e", "#737d87"),
    "grid": ("#e7eaed", "#2a3036"),
    "surface": ("#ffffff", "#171b1f"),
    "page": ("#f6f7f8", "#0f1215"),
    "rule": ("#dde1e5", "#2d343b"),
    "link": ("#0b5cad", "#7db8f0"),
    "isoflop": ("#0072b2", "#56b4e9"),
    "chinchilla": ("#d55e00", "#f0a030"),
    "forecast": ("#007a59", "#33c79a"),
    "measured": ("#a3246c", "#f08cc4"),
    "good": ("#0a6e4f", "#45d0a3"),
    "bad": ("#b3261e", "#ff8f85"),
}


def _shades(low: float, high: float) -> list[str]:
    colours = matplotlib.colormaps["viridis"](np.linspace(low, high, _BUDGET_SHADES))
    return [matplotlib.colors.to_hex(c) for c in colours]


# Viridis, cut where it would vanish into either background.
_COLOURS |= {
    f"budget-{i}": pair for i, pair in enumerate(zip(_shades(0.0, 0.68), _shades(0.32, 1.0)))
}
_NAMES = list(_COLOURS)


def reserved(name: str) -> str:
    """The colour to draw with in matplotlib."""
    return f"#0a00{_NAMES.index(name):02x}"


def variable(name: str) -> str:
    """The colour in CSS."""
    return f"var(--{name})"


def budget(index: int, n_budgets: int) -> str:
    """The name of a budget's colour: dark to bright from the smallest to the largest."""
    if n_budgets < 2:
        return "budget-3"
    return f"budget-{round(index * (_BUDGET_SHADES - 1) / (n_budgets - 1))}"


def with_variables(svg: str) -> str:
    """Reserved colours replaced by CSS variables."""
    return re.sub(r"#0a00([0-9a-f]{2})", lambda m: variable(_NAMES[int(m[1], 16)]), svg)


def style_sheet() -> str:
    """The variables, light by default and dark where the reader prefers it."""
    light, dark = (
        "".join(f"--{name}:{pair[i]};" for name, pair in _COLOURS.items()) for i in (0, 1)
    )
    return (f":root{{color-scheme:light dark;{light}}}\n"
            f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
            f"@media print{{:root{{{light}}}}}\n")
